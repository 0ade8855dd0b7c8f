//! The table: every contender's strategies, fed bar by bar, asked together. Pure.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use tracing::warn;

use super::snapshot::{InstSnapshot, Snapshot};
use crate::domain::record::Proposal;
use crate::domain::{Bar, Candle, ContenderId, InstId, InstKind, MarketView, Price, Qty, Side};
use crate::strategy::{Params, Signal, Spec, Strategy};

/// A contender's place at the table: what it runs and on what.
#[derive(Clone, Debug)]
pub struct Seat {
    pub contender: ContenderId,
    pub strategy: &'static Spec,
    pub params: Params,
    pub instruments: Vec<InstId>,
}

/// Strategies and the last bar each instrument gave them. Set afresh after a restart, from the history.
pub struct Table {
    bar: Bar,
    strategies: BTreeMap<(ContenderId, InstId), Box<dyn Strategy>>,
    last: BTreeMap<InstId, Candle>,
}

impl Table {
    /// Fresh strategies, warmed up on the history of the market view.
    pub fn set(seats: &[Seat], view: &MarketView, bar: Bar) -> Self {
        let mut table = Self { bar, strategies: BTreeMap::new(), last: BTreeMap::new() };
        for (inst, market) in &view.insts {
            table.last.extend(market.history.last().map(|bar| (inst.clone(), *bar)));
        }
        for seat in seats {
            for inst in &seat.instruments {
                let Some(market) = view.insts.get(inst) else { continue };
                let long_only = market.instrument.kind == InstKind::Spot;
                let mut strategy = (seat.strategy.build)(&seat.params, long_only);
                market.history.iter().for_each(|bar| strategy.on_bar(bar));
                if market.history.len() < strategy.warmup() {
                    warn!(event = "warmup_short", contender = %seat.contender, %inst, have = market.history.len(),
                        need = strategy.warmup(), "history is shorter than the warm-up; raise market.history_bars");
                }
                table.strategies.insert((seat.contender.clone(), inst.clone()), strategy);
            }
        }
        table
    }

    /// Instruments that have a history.
    pub fn instruments(&self) -> impl Iterator<Item = InstId> + '_ {
        self.last.keys().cloned()
    }

    /// The newest bar of an instrument.
    pub fn last(&self, inst: &InstId) -> Option<Candle> {
        self.last.get(inst).copied()
    }

    /// Feeds one bar. `false`: it does not follow the last one; the table must be set again.
    #[must_use]
    pub fn on_bar(&mut self, inst: &InstId, candle: Candle) -> bool {
        match self.last.get(inst) {
            Some(last) if candle.ts <= last.ts => return true, // warmed up on it already
            Some(last) if candle.ts != last.ts.plus(self.bar.span()) => return false,
            _ => {}
        }
        for ((_, on), strategy) in &mut self.strategies {
            if on == inst {
                strategy.on_bar(&candle);
            }
        }
        self.last.insert(inst.clone(), candle);
        true
    }

    /// What every contender wants, on the same snapshot.
    pub fn propose(&self, seats: &[Seat], snapshot: &Snapshot) -> Vec<Proposal> {
        let mut out = Vec::new();
        for seat in seats {
            for inst in &seat.instruments {
                let key = (seat.contender.clone(), inst.clone());
                let keep = |reason: &str| Proposal {
                    contender: seat.contender.clone(),
                    inst: inst.clone(),
                    target: None,
                    stop: None,
                    reason: reason.to_owned(),
                };
                out.push(match (self.strategies.get(&key).and_then(|s| s.signal()), snapshot.market.get(inst)) {
                    (_, Some(InstSnapshot { bar: None, .. })) => keep("its bar is late"),
                    (None, _) | (_, None) => keep("warming up"),
                    (Some(signal), Some(shown)) => Proposal {
                        target: Some(signal.target),
                        stop: stop_price(&signal, shown),
                        reason: signal.reason,
                        ..keep("")
                    },
                });
            }
        }
        out
    }
}

/// The stop's trigger from its distance to the last close, on the tick that is nearer to the price.
fn stop_price(signal: &Signal, shown: &InstSnapshot) -> Option<Price> {
    let distance = Decimal::try_from(signal.stop_distance).ok().filter(|d| *d > Decimal::ZERO)?.round_dp(6);
    let close = shown.bar?.close.0;
    if signal.target.0 == 0 {
        return None;
    }
    Some(match Side::of(Qty(Decimal::from(signal.target.0))) {
        Side::Buy => shown.instrument.ceil_tick(Price(close * (Decimal::ONE - distance))),
        Side::Sell => shown.instrument.floor_tick(Price(close * (Decimal::ONE + distance))),
    })
}
