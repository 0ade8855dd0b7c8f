//! Performance of a run: what it earned, and what it took to earn it.
//!
//! `r` are returns per period, `n` their number, `P` periods a year (365 days; of bars as many as a
//! year of 365 days has).
//!
//! | figure | formula | source |
//! | --- | --- | --- |
//! | total return | `E_end / E_start − 1` | |
//! | CAGR | `(E_end / E_start)^(1 / years) − 1`, years of 365 days | |
//! | volatility | `s(r)·√P`, with n − 1 | |
//! | Sharpe | `mean(r) / s(r)·√P`, the risk-free rate being zero | Sharpe 1994 |
//! | Sortino | `mean(r) / √(mean(min(r, 0)²))·√P` | Sortino and Price 1994 |
//! | Calmar | CAGR ÷ largest drawdown | Young 1991 |
//! | Omega | `Σ max(r, 0) / Σ max(−r, 0)` | Keating and Shadwick 2002 |
//! | drawdown | `max(1 − E / max E before)`, by bars; its length from the peak until it is reached again | |
//! | exposure | mean of positions without sign ÷ equity, by bars | |
//! | turnover | value of all fills ÷ mean equity, per year | |
//! | VaR, CVaR | the 5 % quantile of r without its sign, and the mean of what is at or below it | Rockafellar and Uryasev 2000 |
//! | tail ratio | 95 % quantile of r ÷ 5 % quantile, without sign | |
//! | alpha, beta | of r on the returns of buy and hold: `β = cov / var`, `α = (mean(r) − β·mean(b))·P` | Jensen 1968 |
//! | profit factor | `Σ gains / Σ losses` of trades; their profits are after fees and before funding | |
//! | expectancy | mean profit of a trade | |

use serde::Serialize;

use super::moments::{Moments, quantile};

/// A year, ms.
pub const YEAR_MS: f64 = 365.0 * 86_400_000.0;
const DAY_MS: i64 = 86_400_000;

/// Equity over time.
#[derive(Clone, Copy, Debug)]
pub struct Curve<'a> {
    /// Equity before the first bar.
    pub start: f64,
    /// Closes of bars, ms.
    pub at: &'a [i64],
    pub equity: &'a [f64],
    /// Positions without sign.
    pub exposure: &'a [f64],
    /// Price of what buy and hold would hold: before the first bar, and at each close.
    pub first_price: f64,
    pub benchmark: &'a [f64],
    /// Length of a bar, ms.
    pub bar_ms: i64,
    /// Of market time, of 365 days.
    pub years: f64,
}

/// One trade: from flat to flat, or to the other side.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Trip {
    pub opened: i64,
    pub closed: i64,
    pub long: bool,
    /// Value bought or sold in all on the way in.
    pub value: f64,
    /// After fees.
    pub profit: f64,
    pub fees: f64,
    /// Average prices, in ticks or money.
    pub entry: f64,
    pub exit: f64,
    /// Still open at the end, valued at the last close.
    pub open: bool,
}

/// Figures of trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct TradeStats {
    pub trades: usize,
    pub wins: usize,
    pub hit_rate: Option<f64>,
    /// `None` without losses.
    pub profit_factor: Option<f64>,
    pub expectancy: Option<f64>,
    pub average_win: Option<f64>,
    pub average_loss: Option<f64>,
    pub average_hours: Option<f64>,
    /// Share of all gains that the best trade made.
    pub best_share: Option<f64>,
}

/// Figures of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Performance {
    /// Period of the returns: `day`, or `bar` for a run of fewer than twenty days.
    pub period: &'static str,
    pub periods: usize,
    /// Periods in a year of 365 days.
    pub periods_per_year: f64,
    pub years: f64,
    pub total_return: f64,
    pub cagr: Option<f64>,
    pub volatility: f64,
    pub sharpe: f64,
    /// By bars, whatever the period.
    pub sharpe_bars: f64,
    pub sortino: Option<f64>,
    pub calmar: Option<f64>,
    pub omega: Option<f64>,
    pub max_drawdown: f64,
    /// From a peak until it was reached again, or the end.
    pub max_drawdown_days: f64,
    pub exposure: f64,
    pub turnover: f64,
    pub skew: f64,
    pub kurtosis: f64,
    pub var_95: f64,
    pub cvar_95: f64,
    pub tail_ratio: Option<f64>,
    pub alpha: Option<f64>,
    pub beta: Option<f64>,
    pub buy_and_hold: f64,
    /// Probability that the true Sharpe ratio is above zero.
    pub psr: Option<f64>,
    /// Days after which a Sharpe ratio like this is above zero with 95 %.
    pub min_track_record_days: Option<f64>,
    pub trades: TradeStats,
    /// Returns by period.
    #[serde(skip)]
    pub returns: Vec<f64>,
}

/// Figures of a curve and its trades; `value` is that of all fills.
pub fn performance(curve: &Curve<'_>, trips: &[Trip], value: f64) -> Performance {
    let bars_per_year = YEAR_MS / curve.bar_ms as f64;
    let days = by_day(curve.at, curve.equity);
    let by_days = days.len() >= 20;
    let returns = if by_days {
        changes(curve.start, &days)
    } else {
        changes(curve.start, curve.equity)
    };
    let (period, per_year) = if by_days {
        ("day", 365.0)
    } else {
        ("bar", bars_per_year)
    };
    let moments = Moments::of(&returns);
    let first_price = curve.first_price;
    let market = match by_days {
        true => changes(first_price, &by_day(curve.at, curve.benchmark)),
        false => changes(first_price, curve.benchmark),
    };
    let end = curve.equity.last().copied().unwrap_or(curve.start);
    let years = curve.years;
    let total_return = end / curve.start - 1.0;
    let cagr =
        (years >= 1.0 / 365.0 && end > 0.0).then(|| (end / curve.start).powf(1.0 / years) - 1.0);
    let (max_drawdown, max_drawdown_days) = drawdown(curve);
    let down = (returns.iter().map(|r| r.min(0.0).powi(2)).sum::<f64>()
        / returns.len().max(1) as f64)
        .sqrt();
    let (gains, losses) = returns.iter().fold((0.0, 0.0), |(up, down), r| {
        (up + r.max(0.0), down - r.min(0.0))
    });
    let mut sorted = returns.clone();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (quantile(&sorted, 0.05), quantile(&sorted, 0.95));
    let tail: Vec<f64> = sorted.iter().copied().take_while(|r| *r <= low).collect();
    let (alpha, beta) = against(&returns, &market, per_year).unzip();
    let mean_equity = curve.equity.iter().sum::<f64>() / curve.equity.len().max(1) as f64;
    let invested = curve
        .exposure
        .iter()
        .zip(curve.equity)
        .filter(|(_, e)| **e > 0.0)
        .map(|(x, e)| x / e);
    let annual = per_year.sqrt();
    Performance {
        period,
        periods: returns.len(),
        periods_per_year: per_year,
        years,
        total_return,
        cagr,
        volatility: moments.deviation * annual,
        sharpe: moments.sharpe() * annual,
        sharpe_bars: Moments::of(&changes(curve.start, curve.equity)).sharpe()
            * bars_per_year.sqrt(),
        sortino: (down > 0.0).then(|| moments.mean / down * annual),
        calmar: cagr
            .filter(|_| max_drawdown > 0.0)
            .map(|cagr| cagr / max_drawdown),
        omega: (losses > 0.0).then(|| gains / losses),
        max_drawdown,
        max_drawdown_days,
        exposure: invested.sum::<f64>() / curve.equity.len().max(1) as f64,
        turnover: if years > 0.0 && mean_equity > 0.0 {
            value / mean_equity / years
        } else {
            0.0
        },
        skew: moments.skew,
        kurtosis: moments.kurtosis,
        var_95: (-low).max(0.0),
        cvar_95: (-(tail.iter().sum::<f64>() / tail.len().max(1) as f64)).max(0.0),
        tail_ratio: (low < 0.0).then(|| high.abs() / low.abs()),
        alpha,
        beta,
        buy_and_hold: curve.benchmark.last().copied().unwrap_or(f64::NAN) / first_price - 1.0,
        psr: super::probabilistic(&moments, 0.0),
        min_track_record_days: super::min_track_record(&moments, 0.0, 0.95)
            .map(|n| n / per_year * 365.0),
        trades: trade_stats(trips),
        returns,
    }
}

/// Each change as a share of what was there before; nothing comes of nothing.
fn changes(start: f64, values: &[f64]) -> Vec<f64> {
    let mut last = start;
    let change = |value: &f64| {
        let share = if last > 0.0 { value / last - 1.0 } else { 0.0 };
        last = *value;
        share
    };
    values.iter().map(change).collect()
}

/// The last value of each UTC day. A close at midnight is the day's that it ends.
fn by_day(at: &[i64], values: &[f64]) -> Vec<f64> {
    let day = |at: i64| (at - 1).div_euclid(DAY_MS);
    let last = |i: usize| i + 1 == at.len() || day(at[i]) != day(at[i + 1]);
    (0..at.len())
        .filter(|i| last(*i))
        .map(|i| values[i])
        .collect()
}

/// The deepest fall from a peak, as a share of it, and the longest time below one, in days.
pub fn drawdown(curve: &Curve<'_>) -> (f64, f64) {
    let (mut peak, mut deepest, mut longest) = (curve.start, 0.0f64, 0i64);
    let mut since = curve.at.first().map_or(0, |at| at - curve.bar_ms);
    for (equity, at) in curve.equity.iter().zip(curve.at) {
        if *equity >= peak {
            (peak, since) = (*equity, *at);
        } else {
            deepest = deepest.max(1.0 - equity / peak);
            longest = longest.max(at - since);
        }
    }
    (deepest, longest as f64 / DAY_MS as f64)
}

/// (alpha a year, beta).
fn against(returns: &[f64], market: &[f64], per_year: f64) -> Option<(f64, f64)> {
    let n = returns.len();
    if n < 3 || market.len() != n {
        return None;
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
    let (own, theirs) = (mean(returns), mean(market));
    let covariance: f64 = returns
        .iter()
        .zip(market)
        .map(|(r, b)| (r - own) * (b - theirs))
        .sum();
    let variance: f64 = market.iter().map(|b| (b - theirs).powi(2)).sum();
    let beta = (variance > 0.0).then(|| covariance / variance)?;
    Some(((own - beta * theirs) * per_year, beta))
}

fn trade_stats(trips: &[Trip]) -> TradeStats {
    let trades = trips.len();
    let gains: Vec<f64> = trips
        .iter()
        .map(|t| t.profit)
        .filter(|p| *p > 0.0)
        .collect();
    let losses: Vec<f64> = trips
        .iter()
        .map(|t| t.profit)
        .filter(|p| *p <= 0.0)
        .collect();
    let (won, lost): (f64, f64) = (gains.iter().sum(), -losses.iter().sum::<f64>());
    let mean = |sum: f64, n: usize| (n > 0).then(|| sum / n as f64);
    TradeStats {
        trades,
        wins: gains.len(),
        hit_rate: mean(gains.len() as f64, trades),
        profit_factor: (lost > 0.0).then(|| won / lost),
        expectancy: mean(won - lost, trades),
        average_win: mean(won, gains.len()),
        average_loss: mean(-lost, losses.len()),
        average_hours: mean(
            trips
                .iter()
                .map(|t| (t.closed - t.opened) as f64 / 3_600_000.0)
                .sum(),
            trades,
        ),
        best_share: (won > 0.0).then(|| gains.iter().copied().fold(0.0, f64::max) / won),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp)] // what is exact is compared exactly
    use super::*;

    /// Days of these closes.
    fn of(equity: &[f64], benchmark: &[f64], trips: &[Trip]) -> Performance {
        let at: Vec<i64> = (1..=equity.len() as i64).map(|day| day * DAY_MS).collect();
        let exposure: Vec<f64> = equity.iter().map(|e| e / 2.0).collect();
        let first_price = benchmark[0];
        let years = equity.len() as f64 / 365.0;
        let curve = Curve {
            start: 100.0,
            at: &at,
            equity,
            exposure: &exposure,
            first_price,
            benchmark,
            bar_ms: DAY_MS,
            years,
        };
        performance(&curve, trips, 1000.0)
    }

    fn near(value: f64, expected: f64) {
        assert!(
            (value - expected).abs() < 1e-12 * expected.abs().max(1.0),
            "{value} is not {expected}"
        );
    }

    #[test]
    fn figures_of_four_days_by_hand() {
        // +10 %, −20 %, +25 %, 0 %: mean 0.0375.
        let p = of(&[110.0, 88.0, 110.0, 110.0], &[50.0, 40.0, 50.0, 50.0], &[]);
        near(p.total_return, 0.1);
        near(p.cagr.unwrap(), 1.1f64.powf(365.0 / 4.0) - 1.0);
        let squares: f64 = [0.0625f64, -0.2375, 0.2125, -0.0375]
            .map(|d| d * d)
            .iter()
            .sum();
        let s = (squares / 3.0).sqrt();
        near(p.volatility, s * 365f64.sqrt());
        near(p.sharpe, 0.0375 / s * 365f64.sqrt());
        near(
            p.sortino.unwrap(),
            0.0375 / (0.04f64 / 4.0).sqrt() * 365f64.sqrt(),
        );
        near(p.omega.unwrap(), 0.35 / 0.2);
        near(p.max_drawdown, 0.2);
        near(p.max_drawdown_days, 1.0);
        near(p.calmar.unwrap(), p.cagr.unwrap() / 0.2);
        near(p.exposure, 0.5);
        near(p.turnover, 1000.0 / 104.5 / (4.0 / 365.0));
        // Sorted −0.2 0 0.1 0.25: the 5 % quantile is −0.2 + 0.15 × 0.2.
        near(p.var_95, 0.17);
        near(p.cvar_95, 0.2);
        near(p.tail_ratio.unwrap(), (0.1 + 0.85 * 0.15) / 0.17);
        // The market's: 0, −20 %, +25 %, 0.
        let b = [0.0, -0.2, 0.25, 0.0];
        let (own, market) = (
            [0.1, -0.2, 0.25, 0.0].map(|r| r - 0.0375),
            b.map(|r| r - 0.0125),
        );
        let beta = own.iter().zip(&market).map(|(a, b)| a * b).sum::<f64>()
            / market.iter().map(|b| b * b).sum::<f64>();
        near(p.beta.unwrap(), beta);
        near(p.alpha.unwrap(), (0.0375 - beta * 0.0125) * 365.0);
        assert_eq!(p.period, "bar", "four days are too few to judge by days");
    }

    #[test]
    fn figures_of_trades_by_hand() {
        let trip = |profit: f64| Trip {
            opened: 0,
            closed: 7_200_000,
            long: true,
            value: 100.0,
            profit,
            fees: 1.0,
            entry: 1.0,
            exit: 1.0,
            open: false,
        };
        let t = of(
            &[100.0],
            &[1.0],
            &[trip(30.0), trip(-10.0), trip(10.0), trip(-10.0)],
        )
        .trades;
        assert_eq!((t.trades, t.wins, t.hit_rate), (4, 2, Some(0.5)));
        assert_eq!((t.profit_factor, t.expectancy), (Some(2.0), Some(5.0)));
        assert_eq!(
            (t.average_win, t.average_loss, t.average_hours),
            (Some(20.0), Some(-10.0), Some(2.0))
        );
        assert_eq!(t.best_share, Some(0.75));
    }

    /// Thirty days are enough to be judged by days.
    #[test]
    fn daily_returns_end_at_midnight() {
        let hour = 3_600_000;
        let at: Vec<i64> = (1..=30 * 24).map(|h| h * hour).collect();
        let equity: Vec<f64> = at.iter().map(|at| 100.0 + (*at / hour) as f64).collect();
        let curve = Curve {
            start: 100.0,
            at: &at,
            equity: &equity,
            exposure: &equity,
            first_price: 100.0,
            benchmark: &equity,
            bar_ms: hour,
            years: 30.0 / 365.0,
        };
        let p = performance(&curve, &[], 0.0);
        assert_eq!((p.period, p.periods), ("day", 30));
        near(p.returns[0], 0.24);
        near(p.returns[29], 820.0 / 796.0 - 1.0);
        assert_eq!(p.max_drawdown, 0.0);
        near(p.beta.unwrap(), 1.0);
    }
}
