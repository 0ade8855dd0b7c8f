//! Calibration of a model's probabilities: which of its ideas reached their target first, and how
//! often that happens at the probability it states. Pure.
//!
//! An idea is scored once, by what it said when it was accepted and by closed bars that begin after
//! that: it has come true if its target is touched before its stop and within its horizon. Both in
//! one bar count against it; so does a horizon that ends with neither. Where a bar is missing
//! nobody knows what came first, and it is not scored. The Brier score is the mean of `(p −
//! outcome)²` (Brier 1950): 0 is perfect, 0.25 is what always saying one half earns. The skill is
//! `1 − score / reference`, the reference being what always saying the base rate would have earned.

use rust_decimal::Decimal;
use serde::Serialize;

use super::plan::TradePlan;
use crate::domain::{Bar, Candle, Ms};

/// Outcome of an idea.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    TargetFirst,
    StopFirst,
    /// Neither within the horizon.
    Neither,
}

/// Scores an idea; `None`: the bars do not reach far enough yet, one is missing, none lies within
/// its horizon, or it named no target, horizon or probability.
pub fn ending(plan: &TradePlan, bar: Bar, candles: &[Candle]) -> Option<Ending> {
    let (target, minutes) = (plan.target?, plan.horizon_min?);
    plan.p_target_first?;
    let until = plan.opened.plus(Ms(i64::from(minutes) * 60_000));
    let from = Ms(plan.opened.0 + bar.span().0 - 1).floor(bar.span());
    let after = &candles[candles.partition_point(|candle| candle.ts < from)..];
    let mut next = from;
    for candle in after
        .iter()
        .take_while(|candle| candle.ts.plus(bar.span()) <= until)
    {
        if candle.ts != next {
            return None;
        }
        next = candle.ts.plus(bar.span());
        let (stopped, reached) = if plan.long {
            (candle.low <= plan.stop, candle.high >= target)
        } else {
            (candle.high >= plan.stop, candle.low <= target)
        };
        if stopped {
            return Some(Ending::StopFirst);
        }
        if reached {
            return Some(Ending::TargetFirst);
        }
    }
    (next > from && next.plus(bar.span()) > until).then_some(Ending::Neither)
}

/// One row of a reliability table: ideas whose probability lies in `[from, to)`; the last row has
/// its upper end as well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bin {
    pub from: Decimal,
    pub to: Decimal,
    pub ideas: u32,
    /// Mean of what was said.
    pub said: Decimal,
    /// Share that came true.
    pub came: Decimal,
    /// 95 % interval of that share (Wilson 1927).
    pub least: Decimal,
    pub most: Decimal,
}

/// Comparison of a model's probabilities with what happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Calibration {
    pub ideas: u32,
    pub target_first: u32,
    pub stop_first: u32,
    pub neither: u32,
    /// `None` without any idea.
    pub brier: Option<Decimal>,
    /// Score that the base rate alone would have earned.
    pub reference: Option<Decimal>,
    /// `None` too where all came to the same.
    pub skill: Option<Decimal>,
    pub bins: Vec<Bin>,
}

/// Rows of the table.
const BINS: u32 = 5;

/// Puts scored probabilities together.
pub fn calibration(scored: &[(Decimal, Ending)]) -> Calibration {
    let count = |wanted: Ending| {
        u32::try_from(scored.iter().filter(|(_, e)| *e == wanted).count()).unwrap_or(u32::MAX)
    };
    let came = |ending: Ending| {
        if ending == Ending::TargetFirst {
            Decimal::ONE
        } else {
            Decimal::ZERO
        }
    };
    let total = Decimal::from(scored.len());
    let mean =
        |values: &mut dyn Iterator<Item = Decimal>| values.sum::<Decimal>().checked_div(total);
    let brier = mean(
        &mut scored
            .iter()
            .map(|(p, e)| (*p - came(*e)) * (*p - came(*e))),
    );
    let base = mean(&mut scored.iter().map(|(_, e)| came(*e)));
    let reference = base.map(|base| base * (Decimal::ONE - base));
    let skill = brier
        .zip(reference)
        .and_then(|(score, reference)| Some(Decimal::ONE - score.checked_div(reference)?));
    let width = Decimal::ONE / Decimal::from(BINS);
    let bins = (0..BINS).filter_map(|n| {
        let (from, to) = (width * Decimal::from(n), width * Decimal::from(n + 1));
        let inside = |p: Decimal| p >= from && (p < to || n + 1 == BINS);
        let here: Vec<(Decimal, Decimal)> = scored
            .iter()
            .filter(|(p, _)| inside(*p))
            .map(|(p, e)| (*p, came(*e)))
            .collect();
        let ideas = Decimal::from(here.len());
        let said = here
            .iter()
            .map(|(p, _)| *p)
            .sum::<Decimal>()
            .checked_div(ideas)?;
        let rate = here.iter().map(|(_, c)| *c).sum::<Decimal>() / ideas;
        let (least, most) = wilson(rate, ideas);
        let round = |value: Decimal| value.round_dp(4).normalize();
        let ideas = u32::try_from(here.len()).unwrap_or(u32::MAX);
        Some(Bin {
            from,
            to,
            ideas,
            said: round(said),
            came: round(rate),
            least: round(least),
            most: round(most),
        })
    });
    let round = |value: Option<Decimal>| value.map(|value| value.round_dp(6).normalize());
    Calibration {
        ideas: u32::try_from(scored.len()).unwrap_or(u32::MAX),
        target_first: count(Ending::TargetFirst),
        stop_first: count(Ending::StopFirst),
        neither: count(Ending::Neither),
        brier: round(brier),
        reference: round(reference),
        skill: round(skill),
        bins: bins.collect(),
    }
}

/// Wilson's score interval at 95 %.
fn wilson(rate: Decimal, n: Decimal) -> (Decimal, Decimal) {
    use rust_decimal::MathematicalOps;
    let z = Decimal::new(1_959_964, 6);
    let (z2, one) = (z * z, Decimal::ONE);
    let middle = rate + z2 / (Decimal::TWO * n);
    let root = (rate * (one - rate) / n + z2 / (Decimal::from(4) * n * n))
        .sqrt()
        .unwrap_or_default();
    let scale = one + z2 / n;
    (
        ((middle - z * root) / scale).max(Decimal::ZERO),
        ((middle + z * root) / scale).min(one),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Price, Qty, RunId};

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn plan(long: bool) -> TradePlan {
        let (stop, target) = if long { ("98", "104") } else { ("102", "96") };
        TradePlan {
            contender: "llm".into(),
            inst: "X".into(),
            run_id: RunId(uuid::Uuid::nil()),
            long,
            entry: Price(d("100")),
            stop: Price(d(stop)),
            target: Some(Price(d(target))),
            horizon_min: Some(3),
            p_target_first: Some(d("0.5")),
            invalidation: None,
            thesis: String::new(),
            opened: Ms(30_000),
            risk_usd: Decimal::ONE,
            worth_usd: Decimal::ONE,
            first_stop: Price(d(stop)),
            funding_before: None,
            leaving: None,
        }
    }

    /// Bars of a minute with these lows and highs.
    fn bars(ranges: &[(&str, &str)]) -> Vec<Candle> {
        let one = |(n, (low, high)): (usize, &(&str, &str))| Candle {
            ts: Ms(n as i64 * 60_000),
            open: Price(d("100")),
            high: Price(d(high)),
            low: Price(d(low)),
            close: Price(d("100")),
            volume: Qty(Decimal::ONE),
        };
        ranges.iter().enumerate().map(one).collect()
    }

    #[track_caller]
    fn check(long: bool, ranges: &[(&str, &str)], expected: Option<Ending>) {
        assert_eq!(ending(&plan(long), Bar::M1, &bars(ranges)), expected);
    }

    /// Touched before the stop and within the horizon; if a bar is missing before the decision
    /// there is no verdict.
    #[test]
    fn idea_succeeds_if_target_is_first() {
        let quiet = ("99", "101");
        // The bar it was thought in says nothing: it had begun before.
        check(
            true,
            &[("90", "110"), quiet, ("99", "104")],
            Some(Ending::TargetFirst),
        );
        check(
            true,
            &[quiet, ("98", "101"), ("99", "104")],
            Some(Ending::StopFirst),
        );
        check(true, &[quiet, ("98", "104")], Some(Ending::StopFirst));
        check(true, &[quiet, quiet], None);
        check(true, &[quiet, quiet, quiet], Some(Ending::Neither));
        check(
            true,
            &[quiet, quiet, quiet, ("99", "110")],
            Some(Ending::Neither),
        );
        check(false, &[quiet, ("96", "101")], Some(Ending::TargetFirst));
        check(false, &[quiet, ("99", "102")], Some(Ending::StopFirst));
        // A bar is missing: the target may have been touched in it, or the stop.
        let mut torn = bars(&[quiet, quiet, quiet, quiet]);
        torn.remove(1);
        assert_eq!(ending(&plan(true), Bar::M1, &torn), None);
        let mut torn = bars(&[quiet, quiet, quiet, ("99", "104"), quiet]);
        torn.remove(2);
        assert_eq!(
            ending(
                &TradePlan {
                    horizon_min: Some(60),
                    ..plan(true)
                },
                Bar::M1,
                &torn
            ),
            None
        );
        // What is decided before the hole is decided.
        let mut torn = bars(&[quiet, ("99", "104"), quiet, quiet]);
        torn.remove(2);
        assert_eq!(
            ending(&plan(true), Bar::M1, &torn),
            Some(Ending::TargetFirst)
        );
        // No whole bar lies within a minute that begins in the middle of one.
        let short = TradePlan {
            horizon_min: Some(1),
            ..plan(true)
        };
        assert_eq!(ending(&short, Bar::M1, &bars(&[quiet, quiet, quiet])), None);
        let silent = TradePlan {
            p_target_first: None,
            ..plan(true)
        };
        assert_eq!(
            ending(&silent, Bar::M1, &bars(&[quiet, ("99", "104")])),
            None
        );
    }

    /// Brier score, skill and bins of four ideas; Wilson interval of 8 of 10 (Newcombe 1998).
    #[test]
    fn calibration_matches_hand_calculation() {
        use Ending::{Neither, StopFirst, TargetFirst};
        let scored = [
            (d("0.9"), TargetFirst),
            (d("0.8"), StopFirst),
            (d("0.3"), Neither),
            (d("0.2"), TargetFirst),
        ];
        let found = calibration(&scored);
        // (0.01 + 0.64 + 0.09 + 0.64) / 4, and half of them came true.
        assert_eq!(
            (found.brier, found.reference, found.skill),
            (Some(d("0.345")), Some(d("0.25")), Some(d("-0.38")))
        );
        assert_eq!(
            (found.target_first, found.stop_first, found.neither),
            (2, 1, 1)
        );
        let rows: Vec<(u32, Decimal, Decimal)> = found
            .bins
            .iter()
            .map(|bin| (bin.ideas, bin.said, bin.came))
            .collect();
        assert_eq!(rows, [(2, d("0.25"), d("0.5")), (2, d("0.85"), d("0.5"))]);
        assert_eq!(calibration(&[]), Calibration::default());
        // Wilson's interval of 8 of 10: 0.4901 to 0.9433 (Newcombe 1998 has 0.490 to 0.943).
        let many: Vec<_> = (0..10)
            .map(|n| (d("0.7"), if n < 8 { TargetFirst } else { StopFirst }))
            .collect();
        let bin = &calibration(&many).bins[0];
        assert_eq!(
            (bin.least.round_dp(3), bin.most.round_dp(3)),
            (d("0.490"), d("0.943"))
        );
    }
}
