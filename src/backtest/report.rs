//! One run, judged: what it was made of, what it earned, how sure that is, what should make one
//! doubt it.

use rayon::prelude::*;
use rust_decimal::Decimal;
use serde::Serialize;

use super::diagnosis::{Diagnosis, DiagnosisInputs, diagnose};
use super::{BacktestMarket, Contender, Rules, RunOutcome, kernel, round_trips};
use crate::fills::Number;
use crate::stats::moments::Moments;
use crate::stats::{Curve, Interval, Performance, Trip, intervals, performance};

/// Results by another factor of costs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Stress {
    pub factor: Decimal,
    pub total_return: f64,
    pub sharpe: f64,
    pub max_drawdown: f64,
    pub trades: usize,
}

impl Stress {
    /// Returns the results of a run with costs times this factor.
    pub const fn of(factor: Decimal, p: &Performance) -> Self {
        let trades = p.trades.trades;
        Self {
            factor,
            total_return: p.total_return,
            sharpe: p.sharpe,
            max_drawdown: p.max_drawdown,
            trades,
        }
    }
}

/// Costs paid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Paid {
    pub fees: f64,
    pub funding: f64,
    /// Value of all fills.
    pub value: f64,
    /// Losses that the venue bore in liquidations.
    pub uncovered: f64,
}

/// Ninety-five percent intervals, by stationary block bootstrap of returns.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Intervals {
    pub sharpe: Interval,
    pub annual_return: Interval,
    pub volatility: Interval,
}

/// A run of one contender, judged.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub performance: Performance,
    pub intervals: Option<Intervals>,
    pub paid: Paid,
    pub orders: u32,
    pub fills: usize,
    pub equity_start: f64,
    pub equity_end: f64,
    pub findings: Vec<Diagnosis>,
    pub stress: Vec<Stress>,
    #[serde(skip)]
    pub trips: Vec<Trip>,
}

/// Resamples behind an interval.
const RESAMPLES: usize = 1000;

/// Figures of an outcome on its markets.
pub fn figures<N: Number>(
    markets: &[BacktestMarket],
    outcome: &RunOutcome<N>,
    cash: f64,
) -> (Performance, Vec<Trip>) {
    let (equity, exposure) = (N::floats(&outcome.equity), N::floats(&outcome.exposure));
    let trips = round_trips(outcome, markets);
    let value = outcome.fills.iter().map(|fill| fill.value.float()).sum();
    let bar_ms = markets[0].columns.bar.span().0;
    let basket;
    let (first_price, benchmark, years) = match markets {
        [one] => (one.columns.open[0], &one.columns.close, one.years()),
        several => {
            basket = held_alike(several, &outcome.at);
            let years =
                outcome.at.len() as f64 * bar_ms as f64 / crate::stats::performance::YEAR_MS;
            (1.0, &basket, years)
        }
    };
    let (at, equity, exposure) = (&outcome.at, &equity, &exposure);
    let curve = Curve {
        start: cash,
        at,
        equity,
        exposure,
        first_price,
        benchmark,
        bar_ms,
        years,
    };
    (performance(&curve, &trips, value), trips)
}

/// Returns the value at each close of one unit spread equally over the markets; the part of a
/// market that has not begun yet is held as cash.
fn held_alike(markets: &[BacktestMarket], at: &[i64]) -> Vec<f64> {
    let mut next = vec![0; markets.len()];
    let worth = |at: &i64| {
        let parts = markets.iter().zip(&mut next).map(|(market, next)| {
            let columns = &*market.columns;
            while *next < columns.len() && columns.closes(*next).0 <= *at {
                *next += 1;
            }
            next.checked_sub(1)
                .map_or(1.0, |last| columns.close[last] / columns.open[0])
        });
        parts.sum::<f64>() / markets.len() as f64
    };
    at.iter().map(worth).collect()
}

/// Judges a run of one contender on its markets. `trials`: how many combinations its parameters were
/// chosen from; `seed`: of the bootstrap.
pub fn judge<N: Number>(
    markets: &[BacktestMarket],
    contender: &Contender,
    rules: &Rules,
    outcome: &RunOutcome<N>,
    (trials, seed): (usize, u64),
) -> Report {
    let cash = f64::of(rules.cash);
    let (performance, trips) = figures(markets, outcome, cash);
    let findings = diagnose(&DiagnosisInputs {
        markets,
        outcome,
        performance: &performance,
        trips: &trips,
        warmup: contender.build(&markets[0]).warmup(),
        parameters: contender
            .strategy
            .params
            .iter()
            .filter(|p| p.name != "stop_pct" && p.name != "seed")
            .count(),
        trials,
    });
    let sum = |of: fn(&super::FillRecord<N>) -> N| {
        outcome
            .fills
            .iter()
            .map(|fill| of(fill).float())
            .sum::<f64>()
    };
    let paid = Paid {
        fees: sum(|fill| fill.fee),
        value: sum(|fill| fill.value),
        funding: outcome.funding.float(),
        uncovered: outcome.uncovered.float(),
    };
    let annual = performance.periods_per_year;
    let statistics = |returns: &[f64]| {
        let m = Moments::of(returns);
        [
            m.sharpe() * annual.sqrt(),
            m.mean * annual,
            m.deviation * annual.sqrt(),
        ]
    };
    let enough = performance.period == "day";
    let intervals = enough.then(|| {
        let [sharpe, annual_return, volatility] =
            intervals(&performance.returns, statistics, (RESAMPLES, 0.95, seed));
        Intervals {
            sharpe,
            annual_return,
            volatility,
        }
    });
    Report {
        intervals,
        paid,
        orders: outcome.orders,
        fills: outcome.fills.len(),
        equity_start: cash,
        equity_end: outcome.equity.last().map_or(cash, |equity| equity.float()),
        findings,
        stress: Vec::new(),
        performance,
        trips,
    }
}

/// The same run with costs times each factor, by the fast engine, on all cores.
pub fn stress(
    market: &BacktestMarket,
    contender: &Contender,
    rules: &Rules,
    factors: &[Decimal],
) -> Vec<Stress> {
    let run = |factor: &Decimal| {
        let mut funding = (*market.funding).clone();
        funding.otherwise *= *factor;
        funding
            .history
            .iter_mut()
            .for_each(|(_, rate)| *rate *= *factor);
        let costs = market.costs.times(*factor);
        let dearer = BacktestMarket {
            costs: costs.into(),
            funding: funding.into(),
            ..market.clone()
        };
        let outcome = kernel::run(&dearer, contender, rules);
        Stress::of(
            *factor,
            &figures(std::slice::from_ref(&dearer), &outcome, f64::of(rules.cash)).0,
        )
    };
    factors.par_iter().map(run).collect()
}
