//! A run of which only figures and daily returns are kept: what batches are made of.

use serde::{Deserialize, Serialize};

use super::kernel::{self, Streamed};
use super::{BacktestMarket, Contender, FillRecord, Halt, Rules, RunOutcome, Tape, round_trips};
use crate::domain::Ms;
use crate::fills::Number;
use crate::stats::{Curve, performance};

/// Figures of one run, as batches store them; what each means is in `stats::performance`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    pub equity_end: f64,
    pub total_return: f64,
    pub buy_and_hold: f64,
    pub cagr: Option<f64>,
    pub volatility: f64,
    pub sharpe: f64,
    pub sortino: Option<f64>,
    pub calmar: Option<f64>,
    pub omega: Option<f64>,
    pub max_drawdown: f64,
    pub max_drawdown_days: f64,
    pub exposure: f64,
    pub turnover: f64,
    pub skew: f64,
    pub kurtosis: f64,
    pub cvar_95: f64,
    pub alpha: Option<f64>,
    pub beta: Option<f64>,
    pub psr: Option<f64>,
    pub trades: usize,
    pub hit_rate: Option<f64>,
    pub profit_factor: Option<f64>,
    pub expectancy: Option<f64>,
    pub best_share: Option<f64>,
    pub orders: u32,
    pub blocked: u64,
    pub halts: usize,
    pub liquidations: u32,
    pub fees: f64,
    pub funding: f64,
    pub days: usize,
}

impl Figures {
    /// Figures that a ranking may go by. Larger is better in all of them.
    pub const METRICS: [&str; 9] = [
        "sharpe",
        "total_return",
        "cagr",
        "sortino",
        "calmar",
        "omega",
        "profit_factor",
        "psr",
        "drawdown",
    ];

    /// One of them by its name; what cannot be computed is the worst there is.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let or = |value: Option<f64>| value.unwrap_or(f64::NEG_INFINITY);
        Some(match name {
            "sharpe" => self.sharpe,
            "total_return" => self.total_return,
            "cagr" => or(self.cagr),
            "sortino" => or(self.sortino),
            "calmar" => or(self.calmar),
            "omega" => or(self.omega),
            "profit_factor" => or(self.profit_factor),
            "psr" => or(self.psr),
            "drawdown" => -self.max_drawdown,
            _ => return None,
        })
    }
}

/// Days, and what bars alone can tell.
struct Daily {
    outcome: RunOutcome<f64>,
    prices: Vec<f64>,
    peak: f64,
    peak_at: i64,
    deepest: f64,
    longest: i64,
    invested: f64,
    bars: f64,
}

const DAY_MS: i64 = 86_400_000;

/// The UTC day that a close belongs to: one at midnight to the day that it ends.
const fn day(at: i64) -> i64 {
    (at - 1).div_euclid(DAY_MS)
}

impl Tape<f64> for Daily {
    fn equity(&mut self, at: Ms, equity: f64, exposure: f64) {
        match self.outcome.at.last() {
            Some(last) if day(*last) == day(at.0) => {
                let index = self.outcome.at.len() - 1;
                (self.outcome.at[index], self.outcome.equity[index]) = (at.0, equity);
            }
            _ => self.outcome.equity(at, equity, exposure),
        }
        if equity >= self.peak {
            (self.peak, self.peak_at) = (equity, at.0);
        } else {
            self.deepest = self.deepest.max(1.0 - equity / self.peak);
            self.longest = self.longest.max(at.0 - self.peak_at);
        }
        self.invested += if equity > 0.0 { exposure / equity } else { 0.0 };
        self.bars += 1.0;
    }
    fn fill(&mut self, row: FillRecord<f64>) {
        self.outcome.fill(row);
    }
    fn blocked(&mut self, code: &str, count: u64, first: Ms) {
        self.outcome.blocked(code, count, first);
    }
    fn halted(&mut self, halt: Halt) {
        self.outcome.halted(halt);
    }
}

/// Runs a contender by the fast engine; figures, and the return of each UTC day.
pub fn run_summary(
    market: &BacktestMarket,
    contender: &Contender,
    rules: &Rules,
) -> (Figures, Vec<(i32, f64)>) {
    let cash = f64::of(rules.cash);
    let columns = &*market.columns;
    let mut daily = Daily {
        outcome: RunOutcome::new(cash, 400),
        prices: Vec::new(),
        peak: cash,
        peak_at: columns.ts[0],
        deepest: 0.0,
        longest: 0,
        invested: 0.0,
        bars: 0.0,
    };
    let end = kernel::drive(
        market,
        contender,
        rules,
        Streamed::new(contender.build(market), columns),
        &mut daily,
    );
    let ends = (0..columns.len()).filter(|i| {
        *i + 1 == columns.len() || day(columns.closes(*i).0) != day(columns.closes(*i + 1).0)
    });
    daily.prices.extend(ends.map(|i| columns.close[i]));
    let outcome = &daily.outcome;
    let all = round_trips(outcome, std::slice::from_ref(market));
    let curve = Curve {
        start: cash,
        at: &outcome.at,
        equity: &outcome.equity,
        exposure: &[],
        first_price: columns.open[0],
        benchmark: &daily.prices,
        bar_ms: DAY_MS,
        years: market.years(),
    };
    let value = outcome.fills.iter().map(|fill| fill.value).sum();
    let p = performance(&curve, &all, value);
    let figures = Figures {
        equity_end: outcome.equity.last().copied().unwrap_or(cash),
        total_return: p.total_return,
        buy_and_hold: p.buy_and_hold,
        cagr: p.cagr,
        volatility: p.volatility,
        sharpe: p.sharpe,
        sortino: p.sortino,
        calmar: p
            .cagr
            .filter(|_| daily.deepest > 0.0)
            .map(|cagr| cagr / daily.deepest),
        omega: p.omega,
        max_drawdown: daily.deepest,
        max_drawdown_days: daily.longest as f64 / DAY_MS as f64,
        exposure: daily.invested / daily.bars.max(1.0),
        turnover: p.turnover,
        skew: p.skew,
        kurtosis: p.kurtosis,
        cvar_95: p.cvar_95,
        alpha: p.alpha,
        beta: p.beta,
        psr: p.psr,
        trades: p.trades.trades,
        hit_rate: p.trades.hit_rate,
        profit_factor: p.trades.profit_factor,
        expectancy: p.trades.expectancy,
        best_share: p.trades.best_share,
        orders: end.orders,
        blocked: outcome.blocks.values().map(|block| block.count).sum(),
        halts: outcome.halts.len(),
        liquidations: end.liquidations,
        fees: outcome.fills.iter().map(|fill| fill.fee).sum(),
        funding: end.funding,
        days: outcome.at.len(),
    };
    let returns = outcome
        .at
        .iter()
        .map(|at| day(*at) as i32)
        .zip(p.returns)
        .collect();
    (figures, returns)
}

#[cfg(test)]
mod tests {
    use super::super::report::figures;
    use super::super::tests::{contender, market, rules};
    use super::*;
    use crate::domain::InstKind;
    use crate::fills::Costs;

    /// 43,200 minute bars: Sharpe, drawdown, exposure, CAGR, beta and trades are those of the full
    /// report.
    #[test]
    fn brief_run_matches_full_run_figures() {
        // Thirty days of minutes would be slow to make by hand: 43,200 of a wave.
        let price = |i: i64| 20_000 + (2_000.0 * (i as f64 / 900.0).sin()) as i64 + (i * 37) % 50;
        let bars: Vec<[i64; 5]> = (0..43_200)
            .map(|i| {
                [
                    price(i),
                    price(i).max(price(i + 1)) + 5,
                    price(i).min(price(i + 1)) - 5,
                    price(i + 1),
                    900,
                ]
            })
            .collect();
        let market = market(InstKind::Swap, Ms(0), &bars, Costs::of(InstKind::Swap));
        let told = contender(
            (0..43_200)
                .step_by(1500)
                .map(|bar| (bar, if bar % 3000 == 0 { 100.0 } else { -60.0 })),
            3.0,
        );
        let rules = rules(5000);
        let (short, returns) = run_summary(&market, &told, &rules);
        let (long, _) = figures(
            std::slice::from_ref(&market),
            &kernel::run(&market, &told, &rules),
            5000.0,
        );
        let near =
            |a: f64, b: f64| assert!((a - b).abs() < 1e-9 * b.abs().max(1.0), "{a} is not {b}");
        assert_eq!(
            (long.period, returns.len(), short.trades),
            ("day", 30, long.trades.trades)
        );
        near(short.sharpe, long.sharpe);
        near(short.max_drawdown, long.max_drawdown);
        near(short.max_drawdown_days, long.max_drawdown_days);
        near(short.exposure, long.exposure);
        near(short.cagr.unwrap(), long.cagr.unwrap());
        near(short.beta.unwrap(), long.beta.unwrap());
        assert!(short.trades > 20 && short.funding.abs() > 0.0);
    }
}
