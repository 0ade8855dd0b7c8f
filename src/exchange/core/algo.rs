//! Orders that wait: stops and targets, attached or alone, triggers and trailing stops. Triggered
//! by the last price; orphaned when there is nothing left for them to reduce.

use rust_decimal::Decimal;

use super::orders::{check_legs, check_steps};
use super::types::*;
use super::{Event, Exchange, unknown_instrument};
use crate::domain::{InstKind, OrdType, Side};

impl Exchange {
    /// `trade/order-algo`.
    pub fn place_algo(&mut self, new: NewAlgo) -> Result<u64, Rejection> {
        let size = self.check_algo(&new)?;
        let last = self.last(&new.inst);
        let algo = Algo {
            id: self.next_id(),
            cl_ord_id: new.cl_ord_id,
            tag: new.tag,
            rising: new.stop.as_ref().is_some_and(|leg| leg.trigger >= last),
            inst: new.inst,
            td_mode: new.td_mode,
            side: new.side,
            kind: new.kind,
            whole: new.size.is_none(),
            size,
            reduce_only: new.reduce_only,
            stop: new.stop,
            target: new.target,
            trail: new.trail,
            status: AlgoStatus::Live,
            parent: 0,
            child: None,
            fail_code: String::new(),
            triggered: None,
            actual_side: String::new(),
            actual_size: Decimal::ZERO,
            created: self.now,
            updated: self.now,
        };
        let id = algo.id;
        self.live_algos.insert(id);
        self.put_algo(algo);
        Ok(id)
    }

    fn check_algo(&self, new: &NewAlgo) -> Result<Decimal, Rejection> {
        let listed = self
            .market
            .get(&new.inst)
            .ok_or_else(|| unknown_instrument(&new.inst))?;
        let inst = self.rules(&listed.listing.inst);
        let bad = |name: &str| Err(Rejection::new("51000", format!("Parameter {name} error")));
        match (inst.kind, new.td_mode.as_str()) {
            (InstKind::Spot, "cash") | (InstKind::Swap, "cross") => {}
            _ => {
                return Err(Rejection::new(
                    "51010",
                    "You can't complete this request under your current account mode.",
                ));
            }
        }
        if new.cl_ord_id.len() > 32 || !new.cl_ord_id.chars().all(|c| c.is_ascii_alphanumeric()) {
            return bad("algoClOrdId");
        }
        if !new.cl_ord_id.is_empty() && self.live_algos().any(|a| a.cl_ord_id == new.cl_ord_id) {
            return Err(Rejection::new("51065", "algoClOrdId already exists."));
        }
        let complete = match new.kind {
            AlgoKind::Conditional => new.stop.is_some() != new.target.is_some(),
            AlgoKind::Oco => new.stop.is_some() && new.target.is_some(),
            AlgoKind::Trigger => new.stop.is_some(),
            AlgoKind::Trailing => new
                .trail
                .as_ref()
                .is_some_and(|t| t.ratio.is_some() != t.spread.is_some()),
        };
        if !complete {
            return bad("triggerPx");
        }
        check_steps(inst, new.stop.as_ref(), new.target.as_ref())?;
        if let Some(trail) = &new.trail {
            if trail
                .ratio
                .is_some_and(|ratio| ratio < Decimal::new(1, 3) || ratio > Decimal::ONE)
            {
                return bad("callbackRatio");
            }
            if trail.spread.is_some_and(|spread| spread < inst.tick.0) {
                return bad("callbackSpread");
            }
        }
        if matches!(new.kind, AlgoKind::Conditional | AlgoKind::Oco) {
            check_legs(
                new.side,
                self.last(&new.inst),
                new.stop.as_ref(),
                new.target.as_ref(),
            )?;
        }
        let held = self
            .ledger
            .positions
            .get(&new.inst)
            .map_or(Decimal::ZERO, |p| p.qty);
        let Some(size) = new.size else {
            return if held.is_zero() {
                Err(Rejection::new("51023", "Position doesn't exist."))
            } else {
                Ok(held.abs())
            };
        };
        if size < inst.min_size.0 {
            return Err(Rejection::new(
                "51020",
                "Your order should meet or exceed the minimum order amount.",
            ));
        }
        if !(size % inst.lot.0).is_zero() {
            return Err(Rejection::new(
                "51121",
                "Order quantity must be a multiple of the lot size.",
            ));
        }
        if size > inst.max_limit_size.0 {
            return Err(Rejection::new("51101", "Order amount exceeds the maximum."));
        }
        Ok(size)
    }

    /// `trade/amend-algos`: new size, new triggers, new prices; `None` leaves as it is.
    pub fn amend_algo(
        &mut self,
        algo_id: &str,
        cl_ord_id: &str,
        size: Option<Decimal>,
        (stop, target): (LegChange, LegChange),
    ) -> Result<u64, Rejection> {
        let gone =
            "Order modification failed as the order has been filled, canceled or does not exist.";
        let mut algo = self
            .live_algo(algo_id, cl_ord_id)
            .cloned()
            .ok_or_else(|| Rejection::new("51503", gone))?;
        let inst = self.rules(
            &self
                .market
                .get(&algo.inst)
                .expect("algo orders are in listed instruments")
                .listing
                .inst,
        );
        if let Some(size) = size {
            if size < inst.min_size.0
                || size > inst.max_limit_size.0
                || !(size % inst.lot.0).is_zero()
            {
                return Err(Rejection::new(
                    "51121",
                    "Order quantity must be a multiple of the lot size.",
                ));
            }
            algo.size = size;
        }
        for (leg, change) in [(&mut algo.stop, stop), (&mut algo.target, target)] {
            match leg {
                Some(leg) => {
                    leg.trigger = change.trigger.unwrap_or(leg.trigger);
                    leg.price = change.price.unwrap_or(leg.price);
                }
                None => {
                    *leg = change.trigger.map(|trigger| Leg {
                        trigger,
                        price: change.price.flatten(),
                    });
                }
            }
        }
        check_steps(inst, algo.stop.as_ref(), algo.target.as_ref())?;
        if matches!(algo.kind, AlgoKind::Conditional | AlgoKind::Oco) {
            check_legs(
                algo.side,
                self.last(&algo.inst),
                algo.stop.as_ref(),
                algo.target.as_ref(),
            )?;
        }
        algo.rising = algo
            .stop
            .as_ref()
            .is_some_and(|leg| leg.trigger >= self.last(&algo.inst));
        algo.updated = self.now;
        let id = algo.id;
        self.put_algo(algo);
        Ok(id)
    }

    /// The order has ended; what it filled is now protected by the stops it carried.
    pub(super) fn attach_stops(&mut self, id: u64) {
        let order = self.ledger.orders[&id].clone();
        if order.filled.is_zero() {
            return;
        }
        for attached in &order.attached {
            let both = attached.stop.is_some() && attached.target.is_some();
            let algo = Algo {
                id: self.next_id(),
                cl_ord_id: attached.algo_cl_ord_id.clone(),
                tag: order.tag.clone(),
                inst: order.inst.clone(),
                td_mode: order.td_mode.clone(),
                side: order.side.opposite(),
                kind: if both {
                    AlgoKind::Oco
                } else {
                    AlgoKind::Conditional
                },
                size: attached.size.unwrap_or(order.filled).min(order.filled),
                whole: false,
                reduce_only: true,
                stop: attached.stop.clone(),
                target: attached.target.clone(),
                trail: None,
                rising: false,
                status: AlgoStatus::Live,
                parent: order.id,
                child: None,
                fail_code: String::new(),
                triggered: None,
                actual_side: String::new(),
                actual_size: Decimal::ZERO,
                created: self.now,
                updated: self.now,
            };
            self.live_algos.insert(algo.id);
            self.put_algo(algo);
        }
        self.orphan_stops(&order.inst);
    }

    /// The last price reached a trigger: the algo order becomes an order.
    pub(super) fn trigger_stops(&mut self) {
        self.follow_trails();
        let hit: Vec<(u64, Hit)> = self
            .live_algos()
            .filter(|algo| self.is_shown(&algo.inst))
            .filter_map(|algo| triggered(algo, self.last(&algo.inst)).map(|hit| (algo.id, hit)))
            .collect();
        for (id, hit) in hit {
            // One that an earlier stop of this very step left nothing to reduce for is gone
            // already.
            if self.live_algos.remove(&id) {
                self.trigger(id, hit);
            }
        }
    }

    /// Sets a stop or target off whatever the price; the market order it has become, if there was
    /// something to do.
    pub(super) fn set_off(&mut self, id: u64, side: &'static str) -> Option<u64> {
        self.live_algos
            .remove(&id)
            .then(|| self.trigger(id, Hit { side, price: None }));
        self.ledger
            .algos
            .get(&id)?
            .child
            .filter(|child| self.ledger.orders[child].status.is_open())
    }

    fn trigger(&mut self, id: u64, Hit { side, price }: Hit) {
        let mut algo = self.ledger.algos[&id].clone();
        algo.actual_side = side.to_owned();
        if algo.reduce_only {
            self.free_coins_for(&algo);
        }
        let reducible = self.reducible(&algo);
        let size = match (algo.whole, algo.reduce_only) {
            (true, _) => reducible,
            (false, true) => algo.size.min(reducible),
            (false, false) => algo.size,
        };
        algo.updated = self.now;
        algo.triggered = Some(self.now);
        let child = NewOrder {
            td_mode: algo.td_mode.clone(),
            ord_type: if price.is_some() {
                OrdType::Limit
            } else {
                OrdType::Market
            },
            price,
            tag: algo.tag.clone(),
            reduce_only: algo.reduce_only || algo.whole,
            ..NewOrder::market(&algo.inst, algo.side, size)
        };
        let at = price.unwrap_or_else(|| self.last(&algo.inst));
        let affordable = if child.reduce_only {
            Ok(())
        } else {
            self.check_funds(&algo.inst, algo.side, size, at, None)
        };
        if size.is_zero() || affordable.is_err() {
            algo.status = AlgoStatus::OrderFailed;
            algo.fail_code = affordable
                .err()
                .map_or("51023", |refusal| refusal.code)
                .to_owned();
            return self.put_algo(algo);
        }
        algo.status = AlgoStatus::Effective;
        algo.actual_size = size;
        let child = self.insert_order(&child, "normal", Some(&algo));
        algo.child = Some(child);
        self.put_algo(algo);
        self.touch(child);
        self.match_incoming(child);
    }

    /// Moves trailing stops after the best price.
    fn follow_trails(&mut self) {
        let trailing: Vec<u64> = self
            .live_algos()
            .filter(|a| a.trail.is_some())
            .map(|a| a.id)
            .collect();
        for id in trailing {
            let mut algo = self.ledger.algos[&id].clone();
            let last = self.last(&algo.inst);
            if last.is_zero() || !self.is_shown(&algo.inst) {
                continue;
            }
            let Some(trail) = &mut algo.trail else {
                continue;
            };
            let better = |a: Decimal, b: Decimal| {
                if algo.side == Side::Sell {
                    a.max(b)
                } else {
                    a.min(b)
                }
            };
            let begun = trail.best.is_some()
                || trail
                    .active
                    .is_none_or(|active| better(last, active) == last);
            let best = trail.best.map_or(last, |best| better(best, last));
            if !begun || trail.best == Some(best) {
                continue;
            }
            trail.best = Some(best);
            let distance = trail
                .spread
                .unwrap_or_else(|| round(best * trail.ratio.unwrap_or_default()));
            let trigger = if algo.side == Side::Sell {
                best - distance
            } else {
                best + distance
            };
            algo.stop = Some(Leg {
                trigger,
                price: None,
            });
            self.put_algo(algo);
        }
    }

    /// `trade/cancel-algos`, by id or by client id.
    pub fn cancel_algo(&mut self, algo_id: &str, cl_ord_id: &str) -> Result<u64, Rejection> {
        let gone =
            "Order cancellation failed as the order has been filled, canceled or does not exist.";
        let id = self
            .live_algo(algo_id, cl_ord_id)
            .map(|algo| algo.id)
            .ok_or_else(|| Rejection::new("51400", gone))?;
        self.end_algo(id);
        Ok(id)
    }

    fn live_algo(&self, algo_id: &str, cl_ord_id: &str) -> Option<&Algo> {
        self.live_algos().find(|algo| match (algo_id, cl_ord_id) {
            ("", "") => false,
            ("", name) => algo.cl_ord_id == name,
            (id, _) => algo.id.to_string() == id,
        })
    }

    fn end_algo(&mut self, id: u64) {
        self.live_algos.remove(&id);
        let mut algo = self.ledger.algos[&id].clone();
        algo.status = AlgoStatus::Canceled;
        algo.updated = self.now;
        self.put_algo(algo);
    }

    /// Stops that no longer reduce anything are cancelled by the venue.
    pub(super) fn orphan_stops(&mut self, inst: &str) {
        let orphaned =
            |algo: &&Algo| algo.inst == inst && algo.reduce_only && self.reducible(algo).is_zero();
        let orphans: Vec<u64> = self
            .live_algos()
            .filter(orphaned)
            .map(|algo| algo.id)
            .collect();
        for id in orphans {
            self.end_algo(id);
        }
    }

    /// A spot stop sells coins that a resting sell of ours may hold: the stop goes first.
    fn free_coins_for(&mut self, algo: &Algo) {
        if self
            .market
            .get(&algo.inst)
            .is_none_or(|l| l.listing.inst.kind != InstKind::Spot)
        {
            return;
        }
        let holding = |o: &&VenueOrder| o.inst == algo.inst && o.side == algo.side;
        let resting: Vec<u64> = self.open_orders().filter(holding).map(|o| o.id).collect();
        for id in resting {
            self.cancel_with(id, "2");
        }
    }

    fn reducible(&self, algo: &Algo) -> Decimal {
        let listed = &self.market.get(&algo.inst).expect("listed").listing.inst;
        let held = match listed.kind {
            InstKind::Swap => self
                .ledger
                .positions
                .get(&algo.inst)
                .map_or(Decimal::ZERO, |p| p.qty),
            InstKind::Spot => {
                let cash = self
                    .ledger
                    .cash
                    .get(&listed.base)
                    .copied()
                    .unwrap_or_default();
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

/// Leg that triggered: `sl` or `tp`, with the order's price, `None` for a market order.
#[derive(Clone, Copy, Debug)]
struct Hit {
    side: &'static str,
    price: Option<Decimal>,
}

/// Returns the leg of this algo order that `last` triggers, if any.
fn triggered(algo: &Algo, last: Decimal) -> Option<Hit> {
    if last.is_zero() {
        return None;
    }
    let falls = |leg: &&Leg| last <= leg.trigger;
    let rises = |leg: &&Leg| last >= leg.trigger;
    let (stop, target) = (algo.stop.as_ref(), algo.target.as_ref());
    let (stop, target) = match (algo.kind, algo.side) {
        (AlgoKind::Trigger, _) if algo.rising => (stop.filter(rises), None),
        (AlgoKind::Trigger, _) => (stop.filter(falls), None),
        (_, Side::Sell) => (stop.filter(falls), target.filter(rises)),
        (_, Side::Buy) => (stop.filter(rises), target.filter(falls)),
    };
    let side = if stop.is_some() { "sl" } else { "tp" };
    stop.or(target).map(|leg| Hit {
        side,
        price: leg.price,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn algo(
        kind: AlgoKind,
        side: Side,
        stop: Option<i64>,
        target: Option<i64>,
        rising: bool,
    ) -> Algo {
        let leg = |at: i64| Leg {
            trigger: Decimal::from(at),
            price: None,
        };
        Algo {
            id: 1,
            cl_ord_id: String::new(),
            tag: String::new(),
            inst: String::new(),
            td_mode: String::new(),
            side,
            kind,
            size: Decimal::ONE,
            whole: false,
            reduce_only: true,
            stop: stop.map(leg),
            target: target.map(leg),
            trail: None,
            rising,
            status: AlgoStatus::Live,
            parent: 0,
            child: None,
            fail_code: String::new(),
            triggered: None,
            actual_side: String::new(),
            actual_size: Decimal::ZERO,
            created: Default::default(),
            updated: Default::default(),
        }
    }

    /// Prices from 80 to 120 at which it triggers, as (lowest, highest) runs.
    #[track_caller]
    fn check(algo: Algo, expected: &[(i64, i64)]) {
        let hits: Vec<i64> = (80..=120)
            .filter(|p| triggered(&algo, Decimal::from(*p)).is_some())
            .collect();
        let mut runs: Vec<(i64, i64)> = Vec::new();
        for p in hits {
            match runs.last_mut() {
                Some(run) if run.1 + 1 == p => run.1 = p,
                _ => runs.push((p, p)),
            }
        }
        assert_eq!(runs, expected);
    }

    #[test]
    fn each_kind_triggers_on_its_side() {
        use AlgoKind::*;
        check(
            algo(Conditional, Side::Sell, Some(90), None, false),
            &[(80, 90)],
        );
        check(
            algo(Conditional, Side::Buy, Some(110), None, false),
            &[(110, 120)],
        );
        check(
            algo(Conditional, Side::Sell, None, Some(110), false),
            &[(110, 120)],
        );
        check(
            algo(Oco, Side::Sell, Some(90), Some(110), false),
            &[(80, 90), (110, 120)],
        );
        check(
            algo(Oco, Side::Buy, Some(110), Some(90), false),
            &[(80, 90), (110, 120)],
        );
        check(
            algo(Trigger, Side::Buy, Some(110), None, true),
            &[(110, 120)],
        );
        check(algo(Trigger, Side::Buy, Some(90), None, false), &[(80, 90)]);
        check(algo(Trailing, Side::Sell, None, None, false), &[]);
    }
}
