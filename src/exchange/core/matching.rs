//! Price-time matching: our orders against the synthetic book, and the market's trades against
//! ours.

use rust_decimal::Decimal;

use super::types::*;
use super::{Exchange, Side};
use crate::domain::{InstKind, OrdType};

/// A taker may meet at most this many makers; the rest is cancelled (cancelSource 33).
const MAKERS_MAX: usize = 1000;

impl Exchange {
    /// A new order meets the book: it takes what it crosses, then rests, is cancelled or is refused
    /// by its kind.
    pub(super) fn match_incoming(&mut self, id: u64) {
        if self.by_bar.is_some() {
            // Whatever its kind, its bar fills it.
            return self.touch(id);
        }
        let order = self.ledger.orders[&id].clone();
        let mut fillable = self.fillable(&order);
        let meets_own =
            order.stp != Stp::CancelMaker && self.stop_before_own(&order, &mut fillable);
        let reach: Decimal = fillable.iter().map(|(_, size)| *size).sum();
        match order.ord_type {
            OrdType::PostOnly if reach > Decimal::ZERO => return self.cancel_with(id, "31"),
            _ if order.all_or_none && reach < order.size => return self.cancel_with(id, "13"),
            _ if meets_own => {}
            // What will rest must not cross our own; what only takes meets them no deeper than it
            // reaches.
            OrdType::Limit | OrdType::PostOnly => self.cancel_own_opposite(&order, order.price),
            OrdType::Ioc | OrdType::Market => {
                self.cancel_own_opposite(&order, fillable.last().map(|(price, _)| *price))
            }
        }
        let displaced = match order.ord_type {
            OrdType::PostOnly => false,
            _ => self.take(id, &fillable),
        };
        let order = &self.ledger.orders[&id];
        if order.filled == order.size {
            return self.finish(id, Status::Filled, "");
        }
        if displaced || meets_own {
            return self.cancel_with(id, if displaced { "2" } else { "32" });
        }
        match order.ord_type {
            OrdType::Ioc | OrdType::Market => self.cancel_with(id, "14"),
            OrdType::Limit | OrdType::PostOnly => {
                self.join_queue(id);
                self.touch(id);
            }
        }
    }

    /// Takes the last place at its price.
    pub(super) fn join_queue(&mut self, id: u64) {
        let order = &self.ledger.orders[&id];
        let ahead = self.resting_at(&order.inst, order.side, order.price.unwrap_or_default());
        self.ledger
            .orders
            .get_mut(&id)
            .expect("read above")
            .queue_ahead = ahead;
    }

    /// Self-trade prevention where the taker goes: it fills what stands before our own best order
    /// on the other side, and ends there. `true`: it would have met that order; under `cancel_both`
    /// that one is gone too.
    fn stop_before_own(
        &mut self,
        order: &VenueOrder,
        fillable: &mut Vec<(Decimal, Decimal)>,
    ) -> bool {
        let limit = order
            .price
            .or_else(|| fillable.last().map(|(price, _)| *price));
        let own = self.own_opposite(order, limit);
        let price_of = |id: &u64| self.ledger.orders[id].price.unwrap_or_default();
        let prices = own.iter().map(price_of);
        let Some(best) = (if order.side == Side::Buy {
            prices.min()
        } else {
            prices.max()
        }) else {
            return false;
        };
        let before = |price: Decimal| {
            if order.side == Side::Buy {
                price < best
            } else {
                price > best
            }
        };
        let reach: Decimal = fillable
            .iter()
            .filter(|(price, _)| before(*price))
            .map(|(_, size)| *size)
            .sum();
        if reach >= order.size - order.filled {
            return false;
        }
        fillable.retain(|(price, _)| before(*price));
        if order.stp == Stp::CancelBoth {
            let met: Vec<u64> = own.into_iter().filter(|id| price_of(id) == best).collect();
            met.into_iter().for_each(|id| self.cancel_with(id, "32"));
        }
        true
    }

    /// Self-trade prevention, `cancel_maker`: our own resting orders that this one would hit go
    /// first.
    fn cancel_own_opposite(&mut self, order: &VenueOrder, worst: Option<Decimal>) {
        for id in self.own_opposite(order, worst) {
            self.cancel_with(id, "32");
        }
    }

    /// Our own resting orders on the other side, down to `worst`.
    fn own_opposite(&self, order: &VenueOrder, worst: Option<Decimal>) -> Vec<u64> {
        self.open_orders()
            .filter(|o| o.id != order.id && o.inst == order.inst && o.side != order.side)
            .filter(|o| match (worst, o.price) {
                (None, _) | (_, None) => false,
                (Some(ours), Some(theirs)) => match order.side {
                    Side::Buy => ours >= theirs,
                    Side::Sell => ours <= theirs,
                },
            })
            .map(|o| o.id)
            .collect()
    }

    /// Levels an order reaches, best first, with what is left of each, up to its size.
    pub(super) fn fillable(&self, order: &VenueOrder) -> Vec<(Decimal, Decimal)> {
        let book = self.book(&order.inst);
        let levels = if order.side == Side::Buy {
            book.asks
        } else {
            book.bids
        };
        let mut left = order.size - order.filled;
        // A market order with a slippage limit ends there, as one with a price would.
        let touch = levels.first().map(|level| level.price);
        let worst = order
            .slippage
            .zip(touch)
            .map(|(share, touch)| match order.side {
                Side::Buy => touch * (Decimal::ONE + share),
                Side::Sell => touch * (Decimal::ONE - share),
            });
        let mut reached = Vec::new();
        for level in levels.into_iter().take(MAKERS_MAX) {
            let crosses = match (order.price.or(worst), order.side) {
                (None, _) => true,
                (Some(limit), Side::Buy) => level.price <= limit,
                (Some(limit), Side::Sell) => level.price >= limit,
            };
            if !crosses || left <= Decimal::ZERO {
                break;
            }
            let size = level.size.min(left);
            left -= size;
            reached.push((level.price, size));
        }
        reached
    }

    /// Fills level by level. `true`: a reduce-only order had nothing left to reduce.
    fn take(&mut self, id: u64, fillable: &[(Decimal, Decimal)]) -> bool {
        let order = &self.ledger.orders[&id];
        let (inst, side, total) = (order.inst.clone(), order.side, order.size);
        for (price, size) in fillable {
            *self
                .consumed
                .entry((inst.clone(), side.opposite(), *price))
                .or_default() += *size;
            let reducing = self.reduce_only_cap(id, *size);
            if reducing.is_zero() {
                return true;
            }
            let size = self.affordable(id, *price, reducing);
            if size.is_zero() {
                return false;
            }
            self.execute(id, *price, size, false);
            if self.ledger.orders[&id].filled < total {
                self.touch(id);
            }
        }
        false
    }

    /// A spot market order was let in at the last price; deeper levels may cost more than there is.
    fn affordable(&self, id: u64, price: Decimal, size: Decimal) -> Decimal {
        let order = &self.ledger.orders[&id];
        let inst = &self.market.get(&order.inst).expect("listed").listing.inst;
        if inst.kind != InstKind::Spot || order.side != Side::Buy || order.price.is_some() {
            return size;
        }
        // What others of ours hold is not ours to spend; what this order itself holds is.
        let sheet = self.balance_sheet();
        let line = sheet.get(&inst.quote).cloned().unwrap_or_default();
        let cash = (line.cash - line.imr - line.frozen + self.hold(order).1).max(Decimal::ZERO);
        if price * size <= cash {
            size
        } else {
            ((cash / price) / inst.lot.0).trunc() * inst.lot.0
        }
    }

    fn resting_at(&self, inst: &str, side: Side, price: Decimal) -> Decimal {
        let book = self.book(inst);
        let levels = if side == Side::Buy {
            book.bids
        } else {
            book.asks
        };
        levels
            .iter()
            .find(|level| level.price == price)
            .map_or(Decimal::ZERO, |level| level.size)
    }

    /// The book moved to a new second: resting orders it crossed are hit, then the second's trades
    /// are matched by price and time.
    pub(super) fn match_resting(&mut self, second: i64) {
        let names: Vec<String> = {
            let mut names: Vec<String> = self.open_orders().map(|o| o.inst.clone()).collect();
            names.sort_unstable();
            names.dedup();
            names
        };
        for inst in names {
            if self.fed.contains_key(&inst) {
                continue; // met when the feed speaks, not when the clock does
            }
            self.meet_book(&inst);
            let shift = self.shift(&inst, second);
            let trades = self
                .market
                .get(&inst)
                .expect("listed")
                .trades(second, shift);
            for trade in trades {
                self.match_trade(&inst, trade.side, trade.price, trade.size);
            }
        }
    }

    /// Resting orders that the present book crosses are hit by it.
    pub(super) fn meet_book(&mut self, inst: &str) {
        for side in [Side::Buy, Side::Sell] {
            for id in self.queue(inst, side) {
                let fillable = self.fillable(&self.ledger.orders[&id].clone());
                for (price, size) in fillable {
                    if !self.ledger.orders[&id].status.is_open() {
                        break;
                    }
                    *self
                        .consumed
                        .entry((inst.to_owned(), side.opposite(), price))
                        .or_default() += size;
                    // The newcomer is the taker: we get the price we named.
                    let ours = self.maker_price(id, price);
                    self.fill_maker(id, ours, size);
                }
            }
        }
    }

    /// Our open orders on one side, best price first, oldest first at a price.
    fn queue(&self, inst: &str, side: Side) -> Vec<u64> {
        let mut queue: Vec<&VenueOrder> = self
            .open_orders()
            .filter(|o| o.inst == inst && o.side == side && o.price.is_some())
            .collect();
        queue.sort_by(|a, b| match side {
            Side::Buy => b.price.cmp(&a.price).then(a.id.cmp(&b.id)),
            Side::Sell => a.price.cmp(&b.price).then(a.id.cmp(&b.id)),
        });
        queue.into_iter().map(|o| o.id).collect()
    }

    pub(super) fn match_trade(&mut self, inst: &str, taker: Side, price: Decimal, size: Decimal) {
        let mut left = size;
        for id in self.queue(inst, taker.opposite()) {
            let order = &self.ledger.orders[&id];
            let ours = order.price.expect("queued orders have a price");
            let better = if taker == Side::Sell {
                ours > price
            } else {
                ours < price
            };
            if left.is_zero() || !(better || ours == price) {
                return;
            }
            if !better {
                // Time priority: those who stood at this price before us are served first.
                let ahead = order.queue_ahead.min(left);
                left -= ahead;
                self.ledger.orders.get_mut(&id).expect("queued").queue_ahead -= ahead;
                self.changes.orders.insert(id);
            }
            let order = &self.ledger.orders[&id];
            let lot = self.market.get(inst).expect("listed").listing.inst.lot.0;
            let size = (left.min(order.size - order.filled) / lot).trunc() * lot;
            if size > Decimal::ZERO {
                left -= size;
                let ours = self.maker_price(id, price);
                self.fill_maker(id, ours, size);
            }
        }
    }

    fn fill_maker(&mut self, id: u64, price: Decimal, size: Decimal) {
        let size = self.reduce_only_cap(id, size);
        if size.is_zero() {
            return self.cancel_with(id, "2");
        }
        self.execute(id, price, size, true);
        let order = &self.ledger.orders[&id];
        if order.filled == order.size {
            self.finish(id, Status::Filled, "")
        } else {
            self.touch(id)
        }
    }

    pub(super) fn reduce_only_cap(&self, id: u64, size: Decimal) -> Decimal {
        let order = &self.ledger.orders[&id];
        if !order.reduce_only {
            return size;
        }
        let held = self
            .ledger
            .positions
            .get(&order.inst)
            .map_or(Decimal::ZERO, |p| p.qty);
        let reducible = if order.side == Side::Sell {
            held
        } else {
            -held
        };
        size.min(reducible.max(Decimal::ZERO))
    }
}
