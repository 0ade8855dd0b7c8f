//! The board: every contender's strategies, fed bar by bar, asked together. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use crate::domain::record::Proposal;
use crate::domain::{
    Bar, Bps, Candle, ContenderId, InstId, InstKind, Instrument, MarketView, Ms, Price, Qty, Side,
};
use crate::strategy::{Ohlcv, Params, Signal, Strategy, StrategySpec, feature};

/// A contender's place at the board: what it runs and on what.
#[derive(Clone, Debug)]
pub struct Assignment {
    pub contender: ContenderId,
    pub strategy: &'static StrategySpec,
    pub params: Params,
    pub instruments: Vec<InstId>,
    /// The bar its strategies live on.
    pub bar: Bar,
}

/// One contender's strategy on one instrument.
struct StrategyInstance {
    bar: Bar,
    instrument: Arc<Instrument>,
    strategy: Box<dyn Strategy>,
}

impl StrategyInstance {
    fn hear(&mut self, candle: &Candle) {
        self.strategy.on_bar(&Ohlcv::of(candle, &self.instrument));
    }
    fn signal(&self) -> Option<Signal> {
        self.strategy.signal(feature(self.instrument.tick.0))
    }
}

/// Strategies and the last bar each instrument gave them. Set afresh after a restart, from the
/// history.
pub struct StrategyBoard {
    assignments: Vec<Assignment>,
    instances: BTreeMap<(ContenderId, InstId), StrategyInstance>,
    last: BTreeMap<(InstId, Bar), Candle>,
}

/// A history that is shorter than what a strategy wants to have heard before it speaks, in bars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Short {
    pub contender: ContenderId,
    pub inst: InstId,
    pub have: usize,
    pub need: usize,
}

impl StrategyBoard {
    /// Fresh strategies, warmed up on the history of the market view; and whose history is too
    /// short.
    pub fn set(assignments: &[Assignment], view: &MarketView) -> (Self, Vec<Short>) {
        let mut board = Self {
            assignments: assignments.to_vec(),
            instances: BTreeMap::new(),
            last: BTreeMap::new(),
        };
        let mut short = Vec::new();
        for (inst, market) in &view.insts {
            for (bar, history) in &market.series {
                board.last.extend(
                    history
                        .candles()
                        .last()
                        .map(|newest| ((inst.clone(), *bar), *newest)),
                );
            }
        }
        for assignment in assignments {
            for inst in &assignment.instruments {
                let Some(market) = view.insts.get(inst) else {
                    continue;
                };
                let long_only = market.instrument.kind == InstKind::Spot;
                let strategy = (assignment.strategy.build)(&assignment.params, long_only);
                let mut instance = StrategyInstance {
                    bar: assignment.bar,
                    instrument: market.instrument.clone(),
                    strategy,
                };
                let history = market.history(assignment.bar);
                history.iter().for_each(|bar| instance.hear(bar));
                let (have, need) = (history.len(), instance.strategy.warmup());
                if have < need {
                    short.push(Short {
                        contender: assignment.contender.clone(),
                        inst: inst.clone(),
                        have,
                        need,
                    });
                }
                board
                    .instances
                    .insert((assignment.contender.clone(), inst.clone()), instance);
            }
        }
        (board, short)
    }

    /// Series that have a history: these are waited for.
    pub fn series(&self) -> impl Iterator<Item = (InstId, Bar)> + '_ {
        self.last.keys().cloned()
    }

    /// The bar of an instrument that closed at `close`; `None` if it is late.
    pub fn closed_at(&self, inst: &InstId, bar: Bar, close: Ms) -> Option<Candle> {
        self.last
            .get(&(inst.clone(), bar))
            .copied()
            .filter(|c| c.ts.plus(bar.span()) == close)
    }

    /// Feeds one bar. `false`: it does not follow the last one; the board must be set again.
    #[must_use]
    pub fn on_bar(&mut self, inst: &InstId, bar: Bar, candle: Candle) -> bool {
        let key = (inst.clone(), bar);
        match self.last.get(&key) {
            Some(last) if candle.ts <= last.ts => return true, // warmed up on it already
            Some(last) if candle.ts != last.ts.plus(bar.span()) => return false,
            _ => {}
        }
        let concerned = self
            .instances
            .iter_mut()
            .filter(|((_, on), instance)| on == inst && instance.bar == bar);
        concerned.for_each(|(_, instance)| instance.hear(&candle));
        self.last.insert(key, candle);
        true
    }

    /// Returns the proposals of every contender whose bar closes together with the bar of this size
    /// that opened at `ts`.
    pub fn propose(&self, (bar, ts): (Bar, Ms)) -> Vec<Proposal> {
        let close = ts.plus(bar.span());
        let asked = self
            .assignments
            .iter()
            .filter(|assignment| close.floor(assignment.bar.span()) == close);
        asked
            .flat_map(|assignment| {
                assignment
                    .instruments
                    .iter()
                    .map(move |inst| self.one(assignment, inst, bar, close))
            })
            .collect()
    }

    fn one(&self, assignment: &Assignment, inst: &InstId, bar: Bar, close: Ms) -> Proposal {
        let said = |target: Option<Bps>, stop: Option<Price>, reason: &str| Proposal {
            contender: assignment.contender.clone(),
            inst: inst.clone(),
            target,
            stop,
            reason: reason.to_owned(),
            good_for: None,
        };
        let (shown, own) = (
            self.closed_at(inst, bar, close),
            self.closed_at(inst, assignment.bar, close),
        );
        let (Some(shown), Some(_)) = (shown, own) else {
            return said(None, None, "its bar is late");
        };
        let instance = self
            .instances
            .get(&(assignment.contender.clone(), inst.clone()));
        let Some((instance, signal)) =
            instance.and_then(|instance| Some((instance, instance.signal()?)))
        else {
            return said(None, None, "warming up");
        };
        let stop = stop_price(
            signal.target,
            signal.stop_distance,
            &instance.instrument,
            shown.close,
        );
        said(Some(signal.target), stop, &signal.reason)
    }

    /// Returns every strategy's current signal, whenever its bar closes: `contender/instrument` and
    /// the share it wants.
    pub fn signals(&self) -> BTreeMap<String, Option<Bps>> {
        let said = |instance: &StrategyInstance| instance.strategy.target();
        self.instances
            .iter()
            .map(|((contender, inst), instance)| (format!("{contender}/{inst}"), said(instance)))
            .collect()
    }
}

/// A stop's trigger from its distance to the last close, on the tick that is nearer to the price.
/// `None`: none is wanted.
pub fn stop_price(target: Bps, distance: f64, inst: &Instrument, close: Price) -> Option<Price> {
    let distance = Decimal::try_from(distance)
        .ok()
        .filter(|d| *d > Decimal::ZERO)?
        .round_dp(6);
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

    fn assignment(name: &str, bar: Bar) -> Assignment {
        let strategy = crate::strategy::find("sma_cross").unwrap();
        let params = [("fast", 2.0), ("slow", 3.0), ("stop_pct", 0.0)]
            .map(|(k, v)| (k.to_owned(), v))
            .into();
        Assignment {
            contender: name.into(),
            strategy,
            params,
            instruments: vec![swap().id],
            bar,
        }
    }

    /// Between the closes of its 5-minute bar it is not asked; if that bar is missing at its close,
    /// it is reported late.
    #[test]
    fn longer_bar_contender_decides_at_its_close() {
        let inst = swap();
        let series = [(Bar::M1, 60), (Bar::M5, 12)].map(|(bar, n)| {
            (
                bar,
                Series::new(bar, (0..n).map(|i| candle(bar, i)).collect()),
            )
        });
        let market = InstMarket {
            instrument: Arc::new(inst.clone()),
            quote: None,
            mark: None,
            series: series.into(),
        };
        let view = MarketView {
            insts: BTreeMap::from([(inst.id.clone(), market)]),
            live: true,
            ..MarketView::default()
        };
        let assignments = [assignment("minutes", Bar::M1), assignment("fives", Bar::M5)];
        let (mut board, short) = StrategyBoard::set(&assignments, &view);
        assert!(short.is_empty());
        let mut asked = |minute: i64, five: Option<i64>| {
            assert!(board.on_bar(&inst.id, Bar::M1, candle(Bar::M1, minute)));
            if let Some(five) = five {
                assert!(board.on_bar(&inst.id, Bar::M5, candle(Bar::M5, five)));
            }
            let shown = |p: Proposal| {
                format!(
                    "{} {}",
                    p.contender,
                    if p.target.is_some() {
                        "decides"
                    } else {
                        &p.reason
                    }
                )
            };
            board
                .propose((Bar::M1, Ms(minute * 60_000)))
                .into_iter()
                .map(shown)
                .collect::<Vec<_>>()
        };
        assert_eq!(asked(60, None), ["minutes decides"]);
        for minute in 61..64 {
            asked(minute, None);
        }
        assert_eq!(asked(64, Some(12)), ["minutes decides", "fives decides"]);
        for minute in 65..69 {
            assert_eq!(asked(minute, None), ["minutes decides"]);
        }
        assert_eq!(
            asked(69, None),
            ["minutes decides", "fives its bar is late"]
        );
    }
}
