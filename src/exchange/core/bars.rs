//! Fills by whole bars, by the backtest's own model (`--fills bar`): what a backtest would have
//! filled, the daemon is filled.
//!
//! The market stands still at a close. Half way through each bar everything that the whole of it
//! fills is filled at once, in the order the backtest does it, and the market goes to the bar's own
//! close: whoever decides when the bar has closed knows what it did. An order that comes in the
//! first half of a bar is one of that bar, as if it had come with its open; one in the second half
//! is one of the next. Only swaps pay what slippage takes beyond a bar's range; a market order's
//! own slippage limit is not looked at.
//!
//! In `--fills bar` everything that a whole bar fills is filled half way through it, and the market
//! then shows that bar's close: whoever decides when the bar has closed has had time to hear of it.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::Exchange;
use super::types::*;
use crate::domain::{Bar, InstKind, Instrument, Ms, OrdType, Side};
use crate::exchange::market::{Level, Listing, SyntheticBook};
use crate::fills::{
    CostTerms, Costs, Guarded, Kind, LotSteps, PartFill, Tier, Trigger, room, taker, through,
    triggered,
};

/// Size of the one level on each side: never in the way.
const PLENTY: i64 = 1_000_000;

/// One instrument's bar while it is filled.
struct Passing {
    inst: String,
    bar: LotSteps,
    opened: Ms,
    terms: CostTerms<Decimal>,
    /// Lots that may still be filled.
    left: i64,
}

/// Returns the costs of an instrument's fills by bars here: the backtest's defaults at the
/// listing's own fees.
fn terms(listing: &Listing) -> CostTerms<Decimal> {
    let tier = Tier {
        volume_30d: Decimal::ZERO,
        maker: -listing.maker,
        taker: -listing.taker,
    };
    CostTerms::of(&Costs::of(listing.inst.kind), tier, &listing.inst)
}

impl Exchange {
    /// From now on fills are made by bars of this size.
    pub fn fill_by_bars(&mut self, bar: Bar) {
        self.by_bar = Some(bar);
    }

    /// One second of a market that is filled by bars.
    pub(super) fn step_by_bar(&mut self, bar: Bar, second: i64) {
        let span = bar.span().0 / 1000;
        let (opened, at) = (second - second.rem_euclid(span), second.rem_euclid(span));
        if self.books.is_empty() {
            let before = if at < span / 2 { opened - span } else { opened };
            self.show_close(bar, before);
        }
        self.run_timers();
        if at == span / 2 {
            self.show_close(bar, opened);
            let exposed = self.exposed();
            for inst in exposed {
                self.pass_bar(bar, &inst, opened);
            }
            self.liquidate_if_broke();
        }
        if second % super::FUNDING_SECONDS == 0 {
            self.pay_funding(Ms::secs(second));
        }
    }

    /// Every book around the close of the bar that opened then: a tick to each side.
    fn show_close(&mut self, bar: Bar, opened: i64) {
        self.forget_consumed();
        self.showing = self.showing.max(opened * 1000) + 1;
        for listed in self.market.all() {
            let inst = &listed.listing.inst;
            let Some(candle) = candle(listed, bar, opened) else {
                continue;
            };
            let price = |ticks: i64| (inst.tick.0 * Decimal::from(ticks)).normalize();
            let level = |ticks: i64| {
                vec![Level {
                    price: price(ticks),
                    size: inst.lot.0 * Decimal::from(PLENTY),
                }]
            };
            let (bids, asks) = (level(candle.close - 1), level(candle.close + 1));
            let book = SyntheticBook {
                bids,
                asks,
                last: price(candle.close),
            };
            self.books.insert(inst.id.to_string(), book);
        }
    }

    /// Everything that one bar fills in one instrument.
    fn pass_bar(&mut self, bar: Bar, inst: &str, opened: i64) {
        let Some(listed) = self.market.get(inst) else {
            return;
        };
        let Some(steps) = candle(listed, bar, opened) else {
            return;
        };
        let terms = terms(&listed.listing);
        let left = if steps.volume == 0 {
            0
        } else {
            room(&steps, &terms)
        };
        let mut at = Passing {
            inst: inst.to_owned(),
            bar: steps,
            opened: Ms::secs(opened),
            terms,
            left,
        };
        let before: Vec<u64> = self
            .open_orders()
            .filter(|o| o.inst == inst)
            .map(|o| o.id)
            .collect();
        self.stops_of_bar(&mut at, true);
        let half = bar.span().0 / 2;
        for id in before {
            if self.ledger.orders[&id].status.is_open() {
                self.order_of_bar(id, half, bar, &mut at);
            }
        }
        self.stops_of_bar(&mut at, false);
    }

    /// One order's turn.
    fn order_of_bar(&mut self, id: u64, half: i64, bar: Bar, at: &mut Passing) {
        let order = &self.ledger.orders[&id];
        let inst = self
            .market
            .get(&at.inst)
            .expect("listed")
            .listing
            .inst
            .clone();
        let ticks = |price: Decimal| (price / inst.tick.0).to_i64().unwrap_or_default();
        let limit = order.price.map(ticks).unwrap_or_default();
        let kind = match order.ord_type {
            OrdType::Market => Kind::Market,
            OrdType::Ioc => Kind::Ioc(limit),
            OrdType::Limit => Kind::Limit(limit),
            OrdType::PostOnly => Kind::PostOnly(limit),
        };
        // Those of the last bar had their turn half a bar before this one opened.
        let fresh = order.created > Ms(at.opened.0 + half - bar.span().0);
        let (side, size, filled) = (order.side, order.size, order.filled);
        let capped = self.reduce_only_cap(id, size - filled);
        if capped.is_zero() {
            return self.cancel_with(id, "2");
        }
        let lots = (capped / inst.lot.0).to_i64().unwrap_or_default();
        let matched = through(&at.bar, (side, kind), lots, fresh, at.left, &at.terms);
        if let Some(fill) = matched.fill {
            self.book_part(id, &inst, &fill, at);
        }
        let order = &self.ledger.orders[&id];
        if order.status.is_open() && matched.over {
            self.cancel_with(
                id,
                if matches!(kind, Kind::PostOnly(_)) {
                    "31"
                } else {
                    "14"
                },
            );
        }
    }

    fn book_part(
        &mut self,
        id: u64,
        inst: &Instrument,
        fill: &PartFill<Decimal>,
        at: &mut Passing,
    ) {
        at.left -= fill.lots;
        let price = (inst.tick.0 * Decimal::from(fill.ticks)).normalize();
        let size = (inst.lot.0 * Decimal::from(fill.lots)).normalize();
        let fee = (inst.kind == InstKind::Swap).then_some(-fill.fee);
        self.execute_at(id, price, size, fill.maker, fee);
        let order = &self.ledger.orders[&id];
        if order.filled == order.size {
            self.finish(id, Status::Filled, "")
        } else {
            self.touch(id)
        }
    }

    /// Stops and targets that the bar sets off: those there when it opened, if it opened beyond
    /// them; then all, wherever it went.
    fn stops_of_bar(&mut self, at: &mut Passing, at_open: bool) {
        let inst = self
            .market
            .get(&at.inst)
            .expect("listed")
            .listing
            .inst
            .clone();
        let hit = |algo: &Algo| {
            let ticks = |leg: &Leg| (leg.trigger / inst.tick.0).to_i64().unwrap_or_default();
            let guarded = Guarded {
                long: algo.side == Side::Sell,
                stop: algo.stop.as_ref().map(ticks),
                target: algo.target.as_ref().map(ticks),
            };
            let there = algo.created < at.opened;
            triggered(&at.bar, &guarded, there && at_open)
                .filter(|(_, base)| !at_open || (there && *base == at.bar.open))
        };
        let hits: Vec<(u64, Trigger, i64)> = self
            .live_algos()
            .filter(|algo| algo.inst == at.inst)
            .filter_map(|algo| hit(algo).map(|(what, base)| (algo.id, what, base)))
            .collect();
        for (algo, what, base) in hits {
            let Some(child) = self.set_off(algo, if what == Trigger::Stop { "sl" } else { "tp" })
            else {
                continue;
            };
            let (side, size) = (
                self.ledger.orders[&child].side,
                self.ledger.orders[&child].size,
            );
            let lots = (self.reduce_only_cap(child, size) / inst.lot.0)
                .to_i64()
                .unwrap_or_default()
                .min(at.left);
            if lots > 0 {
                let fill = taker(&at.bar, side, base, lots, &at.terms);
                self.book_part(child, &inst, &fill, at);
            }
        }
    }
}

/// A bar of an instrument, in whole steps.
fn candle(listed: &crate::exchange::market::Listed, bar: Bar, opened: i64) -> Option<LotSteps> {
    let raw = listed
        .candles(bar, opened, opened + bar.span().0 / 1000)
        .into_iter()
        .next()?;
    Some(LotSteps {
        open: raw.open,
        high: raw.high,
        low: raw.low,
        close: raw.close,
        volume: raw.lots,
    })
}
