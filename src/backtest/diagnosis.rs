//! Automatic diagnosis: reasons to doubt a run. Pure.

use serde::Serialize;

use super::{BacktestMarket, RunOutcome};
use crate::domain::Ms;
use crate::fills::Number;
use crate::stats::{Performance, Trip};

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Worth knowing.
    Note,
    /// The result may not mean what it seems to.
    Warning,
    /// The result means nothing.
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    pub code: &'static str,
    pub weight: Weight,
    pub text: String,
}

/// Inputs of a diagnosis.
pub struct DiagnosisInputs<'a, N> {
    pub markets: &'a [BacktestMarket],
    pub outcome: &'a RunOutcome<N>,
    pub performance: &'a Performance,
    pub trips: &'a [Trip],
    /// Bars before the first opinion.
    pub warmup: usize,
    /// Parameters that were chosen, and how many combinations they were chosen from.
    pub parameters: usize,
    pub trials: usize,
}

/// Fewer trades than this say nothing of a hit rate.
const FEW_TRADES: usize = 30;
/// Trades that a chosen parameter needs.
const TRADES_PER_PARAMETER: usize = 10;

/// Everything that is found, worst first.
pub fn diagnose<N: Number>(case: &DiagnosisInputs<'_, N>) -> Vec<Diagnosis> {
    let mut found = Vec::new();
    let mut add = |code, weight, text: String| found.push(Diagnosis { code, weight, text });
    let DiagnosisInputs {
        outcome,
        performance: p,
        trips,
        ..
    } = case;
    let trades = trips.len();
    impossible(case, &mut add);
    if trades == 0 {
        add(
            "no_trades",
            Weight::Error,
            "not one trade: there is nothing to judge".into(),
        );
    } else if trades < FEW_TRADES {
        let text = format!(
            "{trades} trades; below {FEW_TRADES} neither a hit rate nor an average means much"
        );
        add("few_trades", Weight::Warning, text);
    }
    let gained: f64 = trips.iter().map(|trip| trip.profit).sum();
    let best = trips.iter().map(|trip| trip.profit).fold(0.0, f64::max);
    if trades > 1 && gained > 0.0 && best >= gained {
        let text =
            format!("one trade made {best:.2} of {gained:.2}: without it there is no profit");
        add("one_trade", Weight::Warning, text);
    } else if trades > 4 && gained > 0.0 && best > gained / 2.0 {
        let text = format!(
            "one trade made {:.0} % of the profit",
            100.0 * best / gained
        );
        add("one_trade", Weight::Warning, text);
    }
    if trades > 0 && trades < TRADES_PER_PARAMETER * case.parameters {
        let text = format!(
            "{} parameters on {trades} trades: fewer than {TRADES_PER_PARAMETER} trades for each",
            case.parameters
        );
        add("more_parameters_than_evidence", Weight::Warning, text);
    }
    let bars = outcome.equity.len();
    let moved = outcome.equity.windows(2).filter(|w| w[0] != w[1]).count();
    if trades > 0 && moved * 20 < bars {
        let text =
            format!("equity moved in {moved} of {bars} bars: it is flat nearly all of the time");
        add("flat_equity", Weight::Warning, text);
    }
    if case.warmup * 5 > bars {
        let text = format!("{} of {bars} bars went into the warm-up", case.warmup);
        add("short_history", Weight::Warning, text);
    }
    if let Some(psr) = p.psr.filter(|psr| *psr < 0.95 && p.total_return > 0.0) {
        let needed = p.min_track_record_days.map_or_else(String::new, |days| {
            format!("; {days:.0} days would be needed")
        });
        let text = format!(
            "the chance that its true Sharpe ratio is above zero is {:.0} %{needed}",
            100.0 * psr
        );
        add("not_distinguishable", Weight::Note, text);
    }
    let fees: f64 = outcome.fills.iter().map(|fill| fill.fee.float()).sum();
    if gained < 0.0 && gained + fees > 0.0 {
        let text = format!(
            "costs of {fees:.2} turn a gross profit of {:.2} into a loss",
            gained + fees
        );
        add("eaten_by_costs", Weight::Note, text);
    }
    for halt in &outcome.halts {
        if halt.until.is_none() {
            let text = format!(
                "{} since {}: {} would have called a person",
                halt.state,
                halt.at.iso(),
                halt.rule
            );
            add("halted", Weight::Warning, text);
        }
    }
    let passing = outcome
        .halts
        .iter()
        .filter(|halt| halt.until.is_some())
        .count();
    if passing > 0 {
        add(
            "restricted",
            Weight::Note,
            format!("{passing} times trading was restricted for the rest of a day"),
        );
    }
    let blocked: u64 = outcome.blocks.values().map(|block| block.count).sum();
    if blocked > 0 {
        let mut codes: Vec<_> = outcome.blocks.iter().collect();
        codes.sort_by_key(|(_, block)| std::cmp::Reverse(block.count));
        let named: Vec<String> = codes
            .iter()
            .take(4)
            .map(|(code, block)| format!("{code} {}", block.count))
            .collect();
        add(
            "blocked",
            Weight::Note,
            format!("the gate refused orders: {}", named.join(", ")),
        );
    }
    if outcome.liquidations > 0 {
        add(
            "liquidated",
            Weight::Error,
            format!("{} times all of it was liquidated", outcome.liquidations),
        );
    }
    found.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    found
}

/// Fills that no market made, and those that came late because bars are missing.
fn impossible<N: Number>(
    case: &DiagnosisInputs<'_, N>,
    add: &mut impl FnMut(&'static str, Weight, String),
) {
    let (mut wrong, mut stale, mut first) = (0, 0, None);
    for fill in &case.outcome.fills {
        let market = &case.markets[fill.market];
        let bar = market.steps(fill.bar);
        if !(bar.low..=bar.high).contains(&fill.ticks)
            || fill.lots > bar.volume
            || fill.ts < fill.decided
        {
            (wrong, first) = (wrong + 1, first.or(Some(fill.ts)));
        }
        let span = market.columns.bar.span().0;
        if fill.bar > 0 && fill.ts - market.columns.ts[fill.bar - 1] > 3 * span {
            stale += 1;
        }
    }
    if let Some(first) = first {
        let at = Ms(first).iso();
        let text = format!(
            "{wrong} fills that no market made (outside the bar, beyond its volume, before their decision), first {at}"
        );
        add("impossible_fills", Weight::Error, text);
    }
    if stale > 0 {
        let text = format!(
            "{stale} fills right after missing bars: decided on a price that was long gone"
        );
        add("stale_fills", Weight::Warning, text);
    }
    for market in case.markets {
        let (gaps, missing) = market.columns.gaps();
        if missing > 0 {
            let text = format!(
                "{}: {missing} bars are missing in {gaps} gaps",
                market.instrument.id
            );
            add("gaps", Weight::Note, text);
        }
    }
}
