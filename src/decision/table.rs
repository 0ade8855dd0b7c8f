//! The table: every contender's strategies, fed bar by bar, asked together. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use tracing::warn;

use super::snapshot::{InstSnapshot, Snapshot};
use crate::domain::record::Proposal;
use crate::domain::{Bar, Bps, Candle, ContenderId, InstId, InstKind, Instrument, MarketView, Ms, Price, Qty, Side};
use crate::strategy::{Ohlcv, Params, Signal, Spec, Strategy, feature};

/// A contender's place at the table: what it runs and on what.
#[derive(Clone, Debug)]
pub struct Seat {
    pub contender: ContenderId,
    pub strategy: &'static Spec,
    pub params: Params,
    pub instruments: Vec<InstId>,
    /// The bar its strategies live on.
    pub bar: Bar,
}

/// One contender's strategy on one instrument.
struct Player {
    bar: Bar,
    instrument: Arc<Instrument>,
    strategy: Box<dyn Strategy>,
}

impl Player {
    fn hear(&mut self, candle: &Candle) {
        self.strategy.on_bar(&Ohlcv::of(candle, &self.instrument));
    }
    fn signal(&self) -> Option<Signal> {
        self.strategy.signal(feature(self.instrument.tick.0))
    }
}

/// Strategies and the last bar each instrument gave them. Set afresh after a restart, from the history.
pub struct Table {
    players: BTreeMap<(ContenderId, InstId), Player>,
    last: BTreeMap<(InstId, Bar), Candle>,
}

impl Table {
    /// Fresh strategies, warmed up on the history of the market view.
    pub fn set(seats: &[Seat], view: &MarketView) -> Self {
        let mut table = Self { players: BTreeMap::new(), last: BTreeMap::new() };
        for (inst, market) in &view.insts {
            for (bar, history) in &market.series {
                table.last.extend(history.candles().last().map(|newest| ((inst.clone(), *bar), *newest)));
            }
        }
        for seat in seats {
            for inst in &seat.instruments {
                let Some(market) = view.insts.get(inst) else { continue };
                let long_only = market.instrument.kind == InstKind::Spot;
                let strategy = (seat.strategy.build)(&seat.params, long_only);
                let mut player = Player { bar: seat.bar, instrument: market.instrument.clone(), strategy };
                let history = market.history(seat.bar);
                history.iter().for_each(|bar| player.hear(bar));
                if history.len() < player.strategy.warmup() {
                    warn!(event = "warmup_short", contender = %seat.contender, %inst, have = history.len(),
                        need = player.strategy.warmup(), "history is shorter than the warm-up; raise market.history_bars");
                }
                table.players.insert((seat.contender.clone(), inst.clone()), player);
            }
        }
        table
    }

    /// Series that have a history: these are waited for.
    pub fn series(&self) -> impl Iterator<Item = (InstId, Bar)> + '_ {
        self.last.keys().cloned()
    }

    /// The bar of an instrument that closed at `close`; `None` if it is late.
    pub fn closed_at(&self, inst: &InstId, bar: Bar, close: Ms) -> Option<Candle> {
        self.last.get(&(inst.clone(), bar)).copied().filter(|c| c.ts.plus(bar.span()) == close)
    }

    /// Feeds one bar. `false`: it does not follow the last one; the table must be set again.
    #[must_use]
    pub fn on_bar(&mut self, inst: &InstId, bar: Bar, candle: Candle) -> bool {
        let key = (inst.clone(), bar);
        match self.last.get(&key) {
            Some(last) if candle.ts <= last.ts => return true, // warmed up on it already
            Some(last) if candle.ts != last.ts.plus(bar.span()) => return false,
            _ => {}
        }
        let concerned = self.players.iter_mut().filter(|((_, on), player)| on == inst && player.bar == bar);
        concerned.for_each(|(_, player)| player.hear(&candle));
        self.last.insert(key, candle);
        true
    }

    /// What every contender wants whose bar closes at the snapshot's instant, on the same snapshot.
    pub fn propose(&self, seats: &[Seat], snapshot: &Snapshot) -> Vec<Proposal> {
        let mut out = Vec::new();
        let close = snapshot.bar_ts.plus(snapshot.bar.span());
        for seat in seats.iter().filter(|seat| close.floor(seat.bar.span()) == close) {
            for inst in &seat.instruments {
                let key = (seat.contender.clone(), inst.clone());
                let keep = |reason: &str| Proposal {
                    contender: seat.contender.clone(),
                    inst: inst.clone(),
                    target: None,
                    stop: None,
                    reason: reason.to_owned(),
                    good_for: None,
                };
                out.push(match (self.players.get(&key).and_then(Player::signal), snapshot.market.get(inst)) {
                    (_, Some(InstSnapshot { bar: None, .. })) => keep("its bar is late"),
                    _ if self.closed_at(inst, seat.bar, close).is_none() => keep("its bar is late"),
                    (None, _) | (_, None) => keep("warming up"),
                    (Some(signal), Some(shown)) => Proposal {
                        target: Some(signal.target),
                        stop: shown.bar.and_then(|bar| {
                            stop_price(signal.target, signal.stop_distance, &shown.instrument, bar.close)
                        }),
                        reason: signal.reason,
                        ..keep("")
                    },
                });
            }
        }
        out
    }
}

/// A stop's trigger from its distance to the last close, on the tick that is nearer to the price. `None`: none is wanted.
pub fn stop_price(target: Bps, distance: f64, inst: &Instrument, close: Price) -> Option<Price> {
    let distance = Decimal::try_from(distance).ok().filter(|d| *d > Decimal::ZERO)?.round_dp(6);
    if target.0 == 0 {
        return None;
    }
    Some(match Side::of(Qty(Decimal::from(target.0))) {
        Side::Buy => inst.ceil_tick(Price(close.0 * (Decimal::ONE - distance))),
        Side::Sell => inst.floor_tick(Price(close.0 * (Decimal::ONE + distance))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::test_snapshot;
    use crate::domain::instrument::tests::swap;
    use crate::domain::view::InstMarket;
    use crate::domain::{Ms, Series};

    fn candle(bar: Bar, n: i64) -> Candle {
        let p = |v: i64| Price(Decimal::from(v));
        Candle {
            ts: Ms(n * bar.span().0),
            open: p(100),
            high: p(101),
            low: p(99),
            close: p(100 + n % 2),
            volume: Qty(Decimal::ONE),
        }
    }

    fn seat(name: &str, bar: Bar) -> Seat {
        let strategy = crate::strategy::find("sma_cross").unwrap();
        let params = [("fast", 2.0), ("slow", 3.0), ("stop_pct", 0.0)].map(|(k, v)| (k.to_owned(), v)).into();
        Seat { contender: name.into(), strategy, params, instruments: vec![swap().id], bar }
    }

    #[test]
    fn a_contender_on_longer_bars_is_asked_only_when_one_closes_and_late_if_it_has_not_come() {
        let inst = swap();
        let series = [(Bar::M1, 60), (Bar::M5, 12)]
            .map(|(bar, n)| (bar, Series::new(bar, (0..n).map(|i| candle(bar, i)).collect())));
        let market = InstMarket { instrument: Arc::new(inst.clone()), quote: None, mark: None, series: series.into() };
        let view = MarketView { insts: BTreeMap::from([(inst.id.clone(), market)]), live: true };
        let seats = [seat("minutes", Bar::M1), seat("fives", Bar::M5)];
        let mut table = Table::set(&seats, &view);
        let mut asked = |minute: i64, five: Option<i64>| {
            assert!(table.on_bar(&inst.id, Bar::M1, candle(Bar::M1, minute)));
            if let Some(five) = five {
                assert!(table.on_bar(&inst.id, Bar::M5, candle(Bar::M5, five)));
            }
            let mut snapshot = test_snapshot(inst.clone(), "99", "101", "1000");
            (snapshot.bar, snapshot.bar_ts) = (Bar::M1, Ms(minute * 60_000));
            snapshot.market.get_mut(&inst.id).unwrap().bar = Some(candle(Bar::M1, minute));
            let shown =
                |p: Proposal| format!("{} {}", p.contender, if p.target.is_some() { "decides" } else { &p.reason });
            table.propose(&seats, &snapshot).into_iter().map(shown).collect::<Vec<_>>()
        };
        assert_eq!(asked(60, None), ["minutes decides"]);
        for minute in 61..64 {
            asked(minute, None);
        }
        assert_eq!(asked(64, Some(12)), ["minutes decides", "fives decides"]);
        for minute in 65..69 {
            assert_eq!(asked(minute, None), ["minutes decides"]);
        }
        assert_eq!(asked(69, None), ["minutes decides", "fives its bar is late"]);
    }
}
