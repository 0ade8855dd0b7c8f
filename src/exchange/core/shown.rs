//! Market data that the exchange shows, whatever the market is made of.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

use rust_decimal::Decimal;

use super::super::market::{Listed, RawCandle, Trade, fold};
use super::Exchange;
use crate::domain::{Bar, Candle, Ms};

/// The last 24 hours of an instrument.
#[derive(Clone, Copy, Debug, Default)]
pub struct Day {
    pub open: Decimal,
    pub high: Decimal,
    pub low: Decimal,
    pub volume: Decimal,
    /// Open of the present day in UTC and in UTC+8.
    pub sod_utc0: Decimal,
    pub sod_utc8: Decimal,
}

/// Cache of what costs a walk over its seconds: closed hours of the last day, and forming bars with
/// the second up to which they were seen.
#[derive(Debug, Default)]
pub struct Days {
    hours: RefCell<HashMap<String, VecDeque<Candle>>>,
    forming: RefCell<HashMap<(String, Bar), (i64, RawCandle)>>,
}

impl Exchange {
    /// Closed bars with `from <= ts < to`, oldest first. The caller keeps `to` out of the future.
    pub fn candles(&self, listed: &Listed, bar: Bar, from: Ms, to: Ms) -> Vec<Candle> {
        let inst = listed.listing.inst.id.as_str();
        if from >= to {
            return Vec::new();
        }
        match self.fed.get(inst) {
            Some(fed) => fed.closed.get(&bar).map_or_else(Vec::new, |rows| {
                rows.range(from..to).map(|(_, c)| *c).collect()
            }),
            None => closed_candles(listed, &self.ledger.shifts, bar, from, to),
        }
    }

    /// The bar that is forming now, from what has been seen of it.
    pub fn forming(&self, listed: &Listed, bar: Bar) -> Option<Candle> {
        let inst = listed.listing.inst.id.as_str();
        if let Some(fed) = self.fed.get(inst) {
            return fed.forming.get(&bar).copied();
        }
        let now = self.now.0.div_euclid(1000);
        let span = bar.span().0 / 1000;
        let open = now.div_euclid(span) * span;
        let mut kept = self.days.forming.borrow_mut();
        let (seen_to, raw) = match kept.remove(&(inst.to_owned(), bar)) {
            Some((to, raw)) if raw.second == open && to <= now => (to, Some(raw)),
            _ => (open, None),
        };
        // A bar that has just opened has one trade; a longer one is folded from the seconds it has
        // seen.
        let fresh = listed.candles(Bar::S1, seen_to, now);
        let raw = fold(open, &raw.into_iter().chain(fresh).collect::<Vec<_>>());
        match raw {
            Some(raw) => {
                kept.insert((inst.to_owned(), bar), (now, raw));
                Some(self.shifted(listed, &raw))
            }
            None => {
                let first = listed.candles(Bar::S1, open, open + 1).first().copied()?;
                let at = first.open;
                Some(self.shifted(
                    listed,
                    &RawCandle {
                        high: at,
                        low: at,
                        close: at,
                        ..first
                    },
                ))
            }
        }
    }

    /// True once the market of this instrument has ended (a recording that was played to its last
    /// bar).
    pub fn is_over(&self) -> bool {
        self.market
            .range()
            .is_some_and(|(_, end)| self.now.0.div_euclid(1000) >= end)
    }

    fn shifted(&self, listed: &Listed, raw: &RawCandle) -> Candle {
        moved(
            listed,
            raw,
            self.shift(listed.listing.inst.id.as_str(), raw.second),
        )
    }

    /// Trades of others with ids below `below`, newest first, at most `limit` of them.
    pub fn trades(&self, listed: &Listed, below: Option<i64>, limit: usize) -> Vec<Trade> {
        let inst = listed.listing.inst.id.as_str();
        if let Some(fed) = self.fed.get(inst) {
            let older = fed
                .trades
                .iter()
                .rev()
                .filter(|trade| below.is_none_or(|id| trade.id < id));
            return older.take(limit).cloned().collect();
        }
        let mut out = Vec::with_capacity(limit);
        let now = self.now.0.div_euclid(1000);
        let mut second = below.map_or(now, |id| now.min(id.div_euclid(2)));
        // Not for ever: a recording has nothing before its start.
        let oldest = second - 4 * limit as i64 - 600;
        while out.len() < limit && second > oldest {
            let trades = listed.trades(second, self.shift(inst, second));
            out.extend(
                trades
                    .into_iter()
                    .rev()
                    .filter(|trade| below.is_none_or(|id| trade.id < id)),
            );
            second -= 1;
        }
        out.truncate(limit);
        out
    }

    /// The last day, in closed hours and the present price.
    pub fn day(&self, listed: &Listed) -> Day {
        let inst = listed.listing.inst.id.as_str();
        let last = self.last(inst);
        let hour = self.now.floor(Bar::H1.span());
        let mut days = self.days.hours.borrow_mut();
        let hours = days.entry(inst.to_owned()).or_default();
        let from = hours.back().map_or(hour.plus(Ms(-24 * 3_600_000)), |c| {
            c.ts.plus(Bar::H1.span())
        });
        let from = from.max(hour.plus(Ms(-24 * 3_600_000)));
        hours.extend(self.candles(listed, Bar::H1, from, hour));
        while hours.len() > 24
            || hours
                .front()
                .is_some_and(|c| c.ts < hour.plus(Ms(-24 * 3_600_000)))
        {
            hours.pop_front();
        }
        let open_at = |at: Ms| hours.iter().find(|c| c.ts == at).map_or(last, |c| c.open.0);
        let eight = Ms(8 * 3_600_000);
        let day = Bar::D1.span();
        Day {
            open: hours.front().map_or(last, |c| c.open.0),
            high: hours
                .iter()
                .map(|c| c.high.0)
                .max()
                .unwrap_or(last)
                .max(last),
            low: hours
                .iter()
                .map(|c| c.low.0)
                .min()
                .unwrap_or(last)
                .min(last),
            volume: hours.iter().map(|c| c.volume.0).sum(),
            sod_utc0: open_at(self.now.floor(day)),
            sod_utc8: open_at(self.now.plus(eight).floor(day).plus(Ms(-eight.0))),
        }
    }
}

fn moved(listed: &Listed, raw: &RawCandle, shift: i64) -> Candle {
    let moved = |ticks: i64| (ticks + shift).max(1);
    let raw = RawCandle {
        open: moved(raw.open),
        high: moved(raw.high),
        low: moved(raw.low),
        close: moved(raw.close),
        ..*raw
    };
    listed.candle(&raw)
}

/// Closed bars of a market of our own, shifted as the ledger says. Needs no exchange: long
/// stretches are walked beside it.
pub fn closed_candles(
    listed: &Listed,
    shifts: &[(i64, String, i64)],
    bar: Bar,
    from: Ms,
    to: Ms,
) -> Vec<Candle> {
    let inst = listed.listing.inst.id.as_str();
    let rows = listed.candles(bar, from.0.div_euclid(1000), to.0.div_euclid(1000));
    rows.iter()
        .map(|raw| moved(listed, raw, shift_at(shifts, inst, raw.second)))
        .collect()
}

/// Ticks to add to an instrument's path at `second`.
pub(super) fn shift_at(shifts: &[(i64, String, i64)], inst: &str, second: i64) -> i64 {
    shifts
        .iter()
        .rev()
        .find(|(at, on, _)| on == inst && *at <= second)
        .map_or(0, |(_, _, ticks)| *ticks)
}

/// A bar's volume in base units, and in quote units at its close (`volCcy`, `volCcyQuote`).
pub fn volumes(listed: &Listed, candle: &Candle) -> (Decimal, Decimal) {
    let base = candle.volume.0 * listed.listing.inst.contract_value;
    (base, (base * candle.close.0).round_dp(8))
}
