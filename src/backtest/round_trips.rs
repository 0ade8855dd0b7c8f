//! Fills → trades: from flat to flat, or to the other side.

use std::collections::BTreeMap;

use super::sleeve_sim::signed;
use super::{BacktestMarket, FillRecord, RunOutcome};
use crate::fills::Number;
use crate::stats::Trip;

/// Trades of a run, in the order they ended; what is open at the end is valued at its market's last
/// close.
pub fn round_trips<N: Number>(outcome: &RunOutcome<N>, markets: &[BacktestMarket]) -> Vec<Trip> {
    let mut open: BTreeMap<(usize, usize), OpenTrip> = BTreeMap::new();
    let mut done = Vec::new();
    for row in &outcome.fills {
        let market = &markets[row.market];
        let closes = row.ts + market.columns.bar.span().0;
        let of = open.entry((row.contender, row.market)).or_default();
        let (lots, before) = (signed(row.side, row.lots), of.held);
        let leaving = if before.signum() * lots.signum() < 0 {
            lots.abs().min(before.abs())
        } else {
            0
        };
        let share = |part: i64| part as f64 / row.lots as f64;
        if leaving > 0 {
            of.take(row, share(leaving), leaving);
            of.held += leaving * lots.signum();
            if of.held == 0 {
                done.push(of.trip(closes, false));
                *of = OpenTrip::default();
            }
        }
        let entering = row.lots - leaving;
        if entering > 0 {
            if of.held == 0 {
                *of = OpenTrip {
                    opened: row.ts,
                    long: lots > 0,
                    ..OpenTrip::default()
                };
            }
            of.add(row, share(entering), entering);
            of.held += entering * lots.signum();
        }
    }
    for ((_, market), mut of) in open.into_iter().filter(|(_, of)| of.held != 0) {
        let market = &markets[market];
        let last = market.columns.len() - 1;
        let unit = crate::strategy::feature(market.instrument.tick.0 * market.instrument.lot.0)
            * crate::strategy::feature(market.instrument.contract_value);
        let lots = of.held.abs();
        of.left += lots as f64 * market.columns.close[last] * unit;
        of.out += lots as f64 * market.columns.close[last];
        of.gone += lots;
        done.push(of.trip(market.columns.closes(last).0, true));
    }
    done
}

/// A trade that is not over.
#[derive(Clone, Copy, Default)]
struct OpenTrip {
    held: i64,
    long: bool,
    opened: i64,
    /// Value, lots × ticks and lots on the way in, and on the way out.
    entered: f64,
    into: f64,
    come: i64,
    left: f64,
    out: f64,
    gone: i64,
    fees: f64,
}

impl OpenTrip {
    fn add<N: Number>(&mut self, row: &FillRecord<N>, share: f64, lots: i64) {
        self.entered += row.value.float() * share;
        self.into += lots as f64 * row.ticks as f64;
        self.come += lots;
        self.fees += row.fee.float() * share;
    }
    fn take<N: Number>(&mut self, row: &FillRecord<N>, share: f64, lots: i64) {
        self.left += row.value.float() * share;
        self.out += lots as f64 * row.ticks as f64;
        self.gone += lots;
        self.fees += row.fee.float() * share;
    }
    fn trip(&self, closed: i64, open: bool) -> Trip {
        let long = self.long;
        let gross = if long {
            self.left - self.entered
        } else {
            self.entered - self.left
        };
        Trip {
            opened: self.opened,
            closed,
            long,
            value: self.entered,
            profit: gross - self.fees,
            fees: self.fees,
            entry: self.into / self.come.max(1) as f64,
            exit: self.out / self.gone.max(1) as f64,
            open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{contender, market, rules};
    use super::*;
    use crate::domain::{InstKind, Ms};
    use crate::fills::Costs;

    /// The profits of all round trips add up to the change in equity before funding.
    #[test]
    fn flip_is_two_round_trips() {
        let bars: Vec<[i64; 5]> = (0..40i64)
            .map(|i| [20_000 + i * i, 20_100 + i * i, 19_900, 20_050 + i * i, 900])
            .collect();
        let market = market(InstKind::Swap, Ms(0), &bars, Costs::of(InstKind::Swap));
        let told = contender(
            [(0, 100.0), (8, -150.0), (16, -50.0), (24, 0.0), (30, 80.0)],
            0.0,
        );
        let rules = rules(5000);
        let outcome = super::super::kernel::run(&market, &told, &rules);
        let trips = round_trips(&outcome, std::slice::from_ref(&market));
        let sides: Vec<(bool, bool)> = trips.iter().map(|trip| (trip.long, trip.open)).collect();
        assert_eq!(sides, [(true, false), (false, false), (true, true)]);
        let profit: f64 = trips.iter().map(|trip| trip.profit).sum();
        let gained = outcome.equity.last().unwrap() - 5000.0 + outcome.funding;
        assert!((profit - gained).abs() < 1e-9, "{profit} {gained}");
        assert!(trips[0].entry > 20_000.0 && trips[0].exit > trips[0].entry);
    }
}
