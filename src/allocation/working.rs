//! Working an order after its first try: again, moved, or across the book. Each try is a new intent that passes the gate
//! like any other, sized from what is left to the target by then. Pure.

use crate::domain::ids::ClientIdSeed;
use crate::domain::view::OpenOrder;
use crate::domain::{
    Instrument, Ms, OrderId, OrderIntent, OrderState, OrdersView, Price, Purpose, Qty, Quote, Side, StopSpec, Then,
    WorkingPolicy,
};

use super::sizing::{Ids, protects, worked};

/// A decision that is being worked.
#[derive(Clone, Debug)]
pub struct Work {
    /// Its first intent.
    pub first: OrderIntent,
    pub policy: WorkingPolicy,
    /// What the sleeve is to hold in the end.
    pub target: Qty,
    /// Tries so far, moves included.
    pub tries: u32,
    /// The order it is working with now.
    pub current: OrderId,
    /// When it was sent or last moved, venue time.
    pub since: Ms,
}

/// What is to be done about a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Its order is on its way or works.
    Wait,
    /// Filled, given up, or out of tries.
    Over,
    /// Another try.
    Try(Box<OrderIntent>),
}

impl Work {
    /// A decision whose first order is on its way.
    pub fn begun(first: &OrderIntent, policy: WorkingPolicy, target: Qty, now: Ms) -> Self {
        let current = OrderId::from(&first.cl_ord_id);
        Self { first: first.clone(), policy, target, tries: 1, current, since: now }
    }

    /// What is to be done now.
    pub fn next(&self, orders: &OrdersView, inst: &Instrument, quote: Option<&Quote>, now: Ms, ids: &Ids) -> Next {
        let key = (self.first.contender.clone(), self.first.inst.clone());
        let Some(latest) = orders.latest.get(&key).filter(|latest| latest.id == self.current) else {
            return Next::Wait;
        };
        if let Some(open) = orders.open.get(&self.current).filter(|open| !open.state.is_final()) {
            return self.move_to_touch(open, inst, quote, now, ids);
        }
        let spent = matches!(latest.state, OrderState::Canceled | OrderState::Filled);
        if !spent || latest.given_up {
            return Next::Over; // blocked, suppressed, refused, or never left: the next decision may think again
        }
        if !latest.settled {
            return Next::Wait;
        }
        let Some(quote) = quote.filter(|_| self.tries < self.policy.tries()) else { return Next::Over };
        let held = orders.holdings.get(&key).map_or(Qty::ZERO, |h| h.qty);
        let delta = Qty(self.target.0 - held.0);
        let qty = inst.floor_lot(delta.abs());
        if Side::of(delta) != self.first.side || qty < inst.min_size || orders.frozen(&self.first.inst).is_some() {
            return Next::Over;
        }
        let policy = match self.policy {
            // Its time has come to take what is there.
            WorkingPolicy::PostOnly { then: Then::Cross, collar, .. } => WorkingPolicy::IocLimit { collar, tries: 1 },
            other => other,
        };
        let (ord_type, limit, ttl) = worked(policy, self.first.side, inst, quote);
        if !self.stop_still_protects(limit.unwrap_or_else(|| quote.mid())) {
            return Next::Over; // the market is where it was to be stopped
        }
        Next::Try(Box::new(OrderIntent { qty, ord_type, limit, ttl, ..self.again(quote, now, ids) }))
    }

    /// A resting order whose time is over follows the touch, if that is the policy and the touch has moved.
    fn move_to_touch(&self, open: &OpenOrder, inst: &Instrument, quote: Option<&Quote>, now: Ms, ids: &Ids) -> Next {
        let WorkingPolicy::PostOnly { ttl, then: Then::Reprice, .. } = self.policy else { return Next::Wait };
        let rests = matches!(open.state, OrderState::Acked | OrderState::PartiallyFilled);
        let due = now.since(self.since) >= ttl && self.tries < self.policy.tries();
        let Some(quote) = quote.filter(|_| rests && due) else { return Next::Wait };
        let (_, limit, _) = worked(self.policy, self.first.side, inst, quote);
        if limit.is_none_or(|limit| Some(limit) == open.limit) {
            return Next::Wait; // it is there already
        }
        let again = self.again(quote, now, ids);
        if !self.stop_still_protects(limit.unwrap_or(again.reference)) {
            return Next::Wait;
        }
        let moves = Some(self.current.clone());
        Next::Try(Box::new(OrderIntent { qty: open.leaves, limit, moves, stop: None, ..again }))
    }

    /// Would the stop of the decision still be on the losing side of an entry at this price?
    fn stop_still_protects(&self, price: Price) -> bool {
        self.first.stop.as_ref().is_none_or(|stop| protects(self.first.side, stop.trigger, price))
    }

    /// The next try, but for what it is to be.
    fn again(&self, quote: &Quote, now: Ms, ids: &Ids) -> OrderIntent {
        let attempt = self.tries;
        let seed = ClientIdSeed {
            env: ids.env,
            uid: &ids.uid,
            install_epoch: &ids.install_epoch,
            run_id: self.first.run_id,
            contender: &self.first.contender,
            inst: &self.first.inst,
            purpose: self.first.purpose,
            leg: self.first.leg,
            attempt,
        };
        let stop = self.first.stop.as_ref().map(|stop| StopSpec {
            algo_id: ClientIdSeed { purpose: Purpose::Stop, ..seed }.client_order_id(),
            trigger: stop.trigger,
            attached: stop.attached,
        });
        OrderIntent {
            cl_ord_id: seed.client_order_id(),
            attempt,
            stop,
            // What else has happened since is not known here.
            reduce_only: false,
            reference: quote.mid(),
            decided_at: now,
            ..self.first.clone()
        }
    }

    /// A try has been handed on.
    pub fn handed_on(&mut self, intent: &OrderIntent, now: Ms) {
        self.tries += 1;
        self.since = now;
        if intent.moves.is_none() {
            self.current = OrderId::from(&intent.cl_ord_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::books::Holding;
    use crate::domain::instrument::tests::swap;
    use crate::domain::view::Latest;
    use crate::domain::{Bps, OrdType, Price, RunId, Usd};
    use rust_decimal::Decimal;

    fn d(n: i64) -> Decimal {
        Decimal::from(n)
    }

    fn quote() -> Quote {
        let p = |text: &str| -> Price { text.parse().unwrap() };
        Quote { bid: p("99.9"), bid_qty: Qty(d(1)), ask: p("100.1"), ask_qty: Qty(d(1)), last: p("100"), at: Ms(0) }
    }

    fn work(policy: WorkingPolicy) -> Work {
        let first = OrderIntent {
            cl_ord_id: "as1".into(),
            run_id: RunId(uuid::Uuid::nil()),
            contender: "trend".into(),
            inst: swap().id,
            side: Side::Buy,
            ord_type: OrdType::Ioc,
            qty: Qty(d(10)),
            limit: Some(Price(d(99))),
            purpose: Purpose::Entry,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: Price(d(100)),
            decided_at: Ms(0),
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ONE,
        };
        Work::begun(&first, policy, Qty(d(10)), Ms(0))
    }

    /// The first order is in `state` and `held` is held; at `now`, what next?
    #[track_caller]
    fn check(policy: WorkingPolicy, state: OrderState, held: i64, now: i64, expected: &str) {
        let work = work(policy);
        let key = (work.first.contender.clone(), work.first.inst.clone());
        let mut orders = OrdersView::default();
        let latest = Latest {
            id: work.current.clone(),
            state,
            filled: Qty(d(held)),
            settled: state.is_final(),
            given_up: false,
        };
        orders.latest.insert(key.clone(), latest);
        orders.holdings.insert(key, Holding { qty: Qty(d(held)), ..Holding::default() });
        if state.may_be_live() {
            let open = OpenOrder {
                id: work.current.clone(),
                run_id: work.first.run_id,
                contender: work.first.contender.clone(),
                inst: work.first.inst.clone(),
                side: Side::Buy,
                state,
                leaves: Qty(d(10 - held)),
                price: Price(d(99)),
                limit: Some(Price(d(99))),
                created_at: Ms(0),
                cancel_after: None,
                opening: true,
                protective: false,
            };
            orders.open.insert(open.id.clone(), open);
        }
        let ids = Ids { env: 's', uid: "1".into(), install_epoch: "e".into() };
        let shown = match work.next(&orders, &swap(), Some(&quote()), Ms(now), &ids) {
            Next::Wait => "wait".to_owned(),
            Next::Over => "over".to_owned(),
            Next::Try(i) => {
                assert_ne!(i.cl_ord_id, work.first.cl_ord_id, "a try has a name of its own");
                let moved = if i.moves.is_some() { "move" } else { i.ord_type.okx() };
                format!("{moved} {} at {}", i.qty, i.limit.unwrap())
            }
        };
        assert_eq!(shown, expected);
    }

    const IOC: WorkingPolicy = WorkingPolicy::IocLimit { collar: Bps(10), tries: 2 };

    fn post_only(then: Then) -> WorkingPolicy {
        WorkingPolicy::PostOnly { ttl: Ms(1000), then, collar: Bps(10), tries: 3 }
    }

    #[test]
    fn what_an_immediate_order_left_is_tried_again_over_what_is_left() {
        check(IOC, OrderState::Sent, 0, 0, "wait");
        check(IOC, OrderState::Canceled, 4, 0, "ioc 6 at 100.2");
        check(IOC, OrderState::Filled, 10, 0, "over");
        check(IOC, OrderState::Rejected, 0, 0, "over");
        check(IOC, OrderState::Blocked, 0, 0, "over");
        check(WorkingPolicy::IocLimit { collar: Bps(10), tries: 1 }, OrderState::Canceled, 4, 0, "over");
        check(IOC, OrderState::Canceled, 12, 0, "over");
    }

    #[test]
    fn a_resting_order_whose_time_is_over_is_left_moved_or_crossed() {
        check(post_only(Then::Reprice), OrderState::Acked, 0, 999, "wait");
        check(post_only(Then::Reprice), OrderState::PartiallyFilled, 3, 1000, "move 7 at 99.9");
        check(post_only(Then::Reprice), OrderState::CancelRequested, 3, 5000, "wait");
        check(post_only(Then::Cross), OrderState::Acked, 0, 1000, "wait");
        check(post_only(Then::Cross), OrderState::Canceled, 3, 1000, "ioc 7 at 100.2");
        check(post_only(Then::Reprice), OrderState::Canceled, 3, 1000, "post_only 7 at 99.9");
    }
}
