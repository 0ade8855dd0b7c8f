//! Attached stops: born when their order ends with fills, triggered by the last price, orphaned when
//! there is nothing left to protect.

use rust_decimal::Decimal;

use super::types::*;
use super::{Event, Exchange};
use crate::domain::{InstKind, OrdType, Side};

impl Exchange {
    /// The order has ended; what it filled is now protected by the stops it carried.
    pub(super) fn attach_stops(&mut self, id: u64) {
        let order = self.ledger.orders[&id].clone();
        if order.filled.is_zero() {
            return;
        }
        for stop in &order.attached {
            let algo = Algo {
                id: self.next_id(),
                cl_ord_id: stop.algo_cl_ord_id.clone(),
                inst: order.inst.clone(),
                td_mode: order.td_mode.clone(),
                side: order.side.opposite(),
                size: order.filled,
                trigger: stop.trigger,
                status: AlgoStatus::Live,
                parent: order.id,
                child: None,
                created: self.now,
                updated: self.now,
            };
            self.live_algos.insert(algo.id);
            self.put_algo(algo);
        }
        self.orphan_stops(&order.inst);
    }

    /// The last price reached a trigger: the stop becomes a market order that may only reduce.
    pub(super) fn trigger_stops(&mut self) {
        let hit: Vec<u64> = self
            .live_algos()
            .filter(|algo| {
                let last = self.last(&algo.inst);
                if algo.side == Side::Sell { last <= algo.trigger } else { last >= algo.trigger }
            })
            .map(|algo| algo.id)
            .collect();
        for id in hit {
            // One that an earlier stop of this very step left nothing to reduce for is gone already.
            if !self.live_algos.remove(&id) {
                continue;
            }
            let mut algo = self.ledger.algos[&id].clone();
            self.free_coins_for(&algo);
            let size = algo.size.min(self.reducible(&algo));
            algo.updated = self.now;
            if size.is_zero() {
                algo.status = AlgoStatus::OrderFailed;
                self.put_algo(algo);
                continue;
            }
            algo.status = AlgoStatus::Effective;
            let child = NewOrder {
                inst: algo.inst.clone(),
                td_mode: algo.td_mode.clone(),
                side: algo.side,
                ord_type: OrdType::Market,
                all_or_none: false,
                size,
                size_in_quote: false,
                price: None,
                cl_ord_id: String::new(),
                tag: String::new(),
                reduce_only: true,
                attached: Vec::new(),
            };
            let child = self.insert_order(&child, "normal", Some(&algo));
            algo.child = Some(child);
            self.put_algo(algo);
            self.touch(child);
            self.match_incoming(child);
        }
    }

    /// `trade/cancel-algos`, by id or by client id.
    pub fn cancel_algo(&mut self, algo_id: &str, cl_ord_id: &str) -> Result<u64, Refusal> {
        let wanted = |algo: &&Algo| {
            if algo_id.is_empty() { algo.cl_ord_id == cl_ord_id } else { algo.id.to_string() == algo_id }
        };
        let Some(id) = self.live_algos().find(wanted).map(|algo| algo.id) else {
            return Err(Refusal::new(
                "51400",
                "Order cancellation failed as the order has been filled, canceled or does not exist.",
            ));
        };
        self.live_algos.remove(&id);
        let mut algo = self.ledger.algos[&id].clone();
        algo.status = AlgoStatus::Canceled;
        algo.updated = self.now;
        self.put_algo(algo);
        Ok(id)
    }

    /// Stops that no longer reduce anything are cancelled by the venue.
    pub(super) fn orphan_stops(&mut self, inst: &str) {
        let orphans: Vec<u64> = self
            .live_algos()
            .filter(|algo| algo.inst == inst && self.reducible(algo).is_zero())
            .map(|algo| algo.id)
            .collect();
        for id in orphans {
            self.live_algos.remove(&id);
            let mut algo = self.ledger.algos[&id].clone();
            algo.status = AlgoStatus::Canceled;
            algo.updated = self.now;
            self.put_algo(algo);
        }
    }

    /// A spot stop sells coins that a resting sell of ours may hold: the stop goes first.
    fn free_coins_for(&mut self, algo: &Algo) {
        if self.market.get(&algo.inst).is_none_or(|l| l.listing.inst.kind != InstKind::Spot) {
            return;
        }
        let holding = |o: &&Order| o.inst == algo.inst && o.side == algo.side;
        let resting: Vec<u64> = self.open_orders().filter(holding).map(|o| o.id).collect();
        for id in resting {
            self.cancel_with(id, "2");
        }
    }

    fn reducible(&self, algo: &Algo) -> Decimal {
        let listed = &self.market.get(&algo.inst).expect("listed").listing.inst;
        let held = match listed.kind {
            InstKind::Swap => self.ledger.positions.get(&algo.inst).map_or(Decimal::ZERO, |p| p.qty),
            InstKind::Spot => {
                let cash = self.ledger.cash.get(&listed.base).copied().unwrap_or_default();
                (cash / listed.lot.0).trunc() * listed.lot.0
            }
        };
        let reducible = if algo.side == Side::Sell { held } else { -held };
        reducible.max(Decimal::ZERO)
    }

    fn put_algo(&mut self, algo: Algo) {
        self.changes.algos.insert(algo.id);
        self.events.push(Event::Algo(Box::new(algo.clone())));
        self.ledger.algos.insert(algo.id, algo);
    }
}
