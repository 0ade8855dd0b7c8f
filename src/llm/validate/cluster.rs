//! Cap on what an profile holds in one direction of correlated instruments: those that move together
//! are one bet. Pure.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::super::code::Code;
use super::super::parse::RefusedAnswer;
use super::{Moment, Taken, refuse};
use crate::domain::{Candle, InstId, Ms};

/// Returns that two histories must share before anything can be said of them.
const LEAST: usize = 20;
/// The square of the correlation from which on two instruments count as one: 0.7.
const TOGETHER: Decimal = Decimal::from_parts(49, 0, 0, false, 2);

/// Relation between the moves of two instruments, as far as known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pair {
    Together,
    Against,
    /// Neither.
    Apart,
}

/// Checks that with this much of the instrument (dollars; short is negative) the profile holds no more
/// in one direction than it may.
pub(super) fn bearable(
    moment: &Moment<'_>,
    taken: &Taken,
    (inst, wanted): (&InstId, Decimal),
    sleeve: Decimal,
) -> Result<(), RefusedAnswer> {
    // Kept by a build that did not look.
    if moment.profile.limits.cluster.is_zero() {
        return Ok(());
    }
    let bar = moment.profile.bar;
    let history = |of: &InstId| {
        moment
            .market
            .insts
            .get(of)
            .map_or(&[][..], |shown| shown.history(bar))
    };
    let mut sum = wanted;
    let mut with = Vec::new();
    for (other, worth) in taken
        .positions
        .iter()
        .filter(|(other, worth)| *other != inst && !worth.is_zero())
    {
        let sign = match pair(history(inst), history(other)) {
            Pair::Together => Decimal::ONE,
            Pair::Against => Decimal::NEGATIVE_ONE,
            Pair::Apart => continue,
        };
        sum += sign * *worth;
        with.push(other.as_str());
    }
    let most = sleeve * moment.profile.limits.cluster;
    // What lies the other way hedges it, and is no reason to refuse.
    if with.is_empty() || sum.is_sign_negative() != wanted.is_sign_negative() || sum.abs() <= most {
        return Ok(());
    }
    let (sum, most) = (
        sum.abs().round_dp(0).normalize(),
        most.round_dp(0).normalize(),
    );
    refuse(
        Code::Cluster,
        format!(
            "{sum} USD one way with {}, which moves with it; at most {most}",
            with.join(", ")
        ),
    )
}

/// Compares the moves of two histories, by the returns of bars that both have. Too few in common:
/// together, as most coins move.
pub(super) fn pair(a: &[Candle], b: &[Candle]) -> Pair {
    let (a, b) = (returns(a), returns(b));
    let common: Vec<(Decimal, Decimal)> = a
        .iter()
        .filter_map(|(ts, x)| Some((*x, *b.get(ts)?)))
        .collect();
    if common.len() < LEAST {
        return Pair::Together;
    }
    let n = Decimal::from(common.len());
    let mean = |of: fn(&(Decimal, Decimal)) -> Decimal| common.iter().map(of).sum::<Decimal>() / n;
    let (mean_a, mean_b) = (mean(|pair| pair.0), mean(|pair| pair.1));
    let (mut both, mut only_a, mut only_b) = (Decimal::ZERO, Decimal::ZERO, Decimal::ZERO);
    for (x, y) in &common {
        let (x, y) = (*x - mean_a, *y - mean_b);
        both += x * y;
        only_a += x * x;
        only_b += y * y;
    }
    // Pearson's r² = cov² ÷ (var × var), without a root.
    let bound = TOGETHER * only_a * only_b;
    match bound.is_zero() || both * both < bound {
        true => Pair::Apart,
        false if both.is_sign_negative() => Pair::Against,
        false => Pair::Together,
    }
}

/// Returns of each bar over the one before, in percent so that their products keep their digits.
fn returns(history: &[Candle]) -> BTreeMap<Ms, Decimal> {
    let one = |pair: &[Candle]| {
        let change = (pair[1].close.0 - pair[0].close.0).checked_div(pair[0].close.0)?;
        // A jump that no market makes would outgrow the digits.
        let change = change.clamp(Decimal::NEGATIVE_ONE, Decimal::TEN);
        Some((pair[1].ts, (change * Decimal::ONE_HUNDRED).round_dp(8)))
    };
    history.windows(2).filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Price, Qty};

    /// A history whose closes move by these hundredths of a percent.
    fn history(moves: impl IntoIterator<Item = i64>) -> Vec<Candle> {
        let mut close = Decimal::ONE_HUNDRED;
        let candle = |(i, step): (usize, i64)| {
            close += close * Decimal::new(step, 4);
            let price = Price(close.round_dp(6));
            Candle {
                ts: Ms::secs(i as i64),
                open: price,
                high: price,
                low: price,
                close: price,
                volume: Qty::ZERO,
            }
        };
        moves.into_iter().enumerate().map(candle).collect()
    }

    /// A flat instrument counts as apart, a history too short to tell as together.
    #[test]
    fn pairs_move_together_against_or_apart() {
        let wave = |i: i64| if i % 3 == 0 { 20 } else { -10 };
        let other = |i: i64| if i % 4 < 2 { 15 } else { -15 };
        let base = history((0..60).map(wave));
        assert_eq!(
            pair(&base, &history((0..60).map(|i| wave(i) * 2 + i % 2))),
            Pair::Together
        );
        assert_eq!(
            pair(&base, &history((0..60).map(|i| -wave(i)))),
            Pair::Against
        );
        assert_eq!(pair(&base, &history((0..60).map(other))), Pair::Apart);
        assert_eq!(
            pair(&base, &history((0..60).map(|_| 0))),
            Pair::Apart,
            "one that stands still"
        );
        assert_eq!(
            pair(&base, &history((0..10).map(other))),
            Pair::Together,
            "too short to tell"
        );
    }

    #[test]
    fn correlation_bound_is_seven_tenths() {
        // y = x where they agree, and its opposite in k of 40 bars: r = 1 - k / 20 for moves of one
        // size.
        let with = |k: i64| {
            let x = |i: i64| if i % 2 == 0 { 10 } else { -10 };
            let y = |i: i64| {
                if i < 2 * k && i % 2 == 0 {
                    -10
                } else if i < 2 * k {
                    10
                } else {
                    x(i)
                }
            };
            pair(&history((0..41).map(x)), &history((0..41).map(y)))
        };
        assert_eq!((with(2), with(4)), (Pair::Together, Pair::Apart));
    }
}
