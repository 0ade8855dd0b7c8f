//! Working an order after its first try: again, moved, or across the book. Each try is a new intent
//! that passes the gate like any other, sized from what is left to the target by then. Pure.

use serde::{Deserialize, Serialize};

use crate::domain::ids::ClientIdSeed;
use crate::domain::view::OpenOrder;
use crate::domain::{
    Instrument, Ms, OrderId, OrderIntent, OrderState, OrdersView, Price, Purpose, Qty, Quote, Side,
    StopSpec, Then, WorkingPolicy,
};

use super::sizing::{Ids, protects, within, worked};

/// A decision that is being worked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkedDecision {
    /// First intent of the decision.
    pub first: OrderIntent,
    pub policy: WorkingPolicy,
    /// Quantity the sleeve is to hold in the end.
    pub target: Qty,
    /// Tries so far, moves included.
    pub tries: u32,
    /// The order it is working with now.
    pub current: OrderId,
    /// When it was sent or last moved, venue time.
    pub since: Ms,
}

/// Next step of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextTry {
    /// Order in flight or working.
    Wait,
    /// Filled, given up, or out of tries.
    Over,
    /// Another try.
    Try(Box<OrderIntent>),
}

impl WorkedDecision {
    /// A decision whose first order is on its way.
    pub fn begun(first: &OrderIntent, policy: WorkingPolicy, target: Qty, now: Ms) -> Self {
        let current = OrderId::from(&first.cl_ord_id);
        Self {
            first: first.clone(),
            policy,
            target,
            tries: 1,
            current,
            since: now,
        }
    }

    /// Returns the step to take now.
    pub fn next(
        &self,
        orders: &OrdersView,
        inst: &Instrument,
        quote: Option<&Quote>,
        now: Ms,
        ids: &Ids,
    ) -> NextTry {
        let key = (self.first.contender.clone(), self.first.inst.clone());
        let Some(latest) = orders
            .latest
            .get(&key)
            .filter(|latest| latest.id == self.current)
        else {
            return NextTry::Wait;
        };
        if let Some(open) = orders
            .open
            .get(&self.current)
            .filter(|open| !open.state.is_final())
        {
            return self.move_to_touch(open, inst, quote, now, ids);
        }
        let spent = matches!(latest.state, OrderState::Canceled | OrderState::Filled);
        if !spent || latest.given_up {
            return NextTry::Over; // blocked, suppressed, refused, or never left: the next decision may think again
        }
        if !latest.settled {
            return NextTry::Wait;
        }
        let Some(quote) = quote.filter(|_| self.tries < self.policy.tries()) else {
            return NextTry::Over;
        };
        let held = orders.holdings.get(&key).map_or(Qty::ZERO, |h| h.qty);
        let delta = Qty(self.target.0.saturating_sub(held.0));
        let qty = inst.floor_lot(delta.abs());
        if Side::of(delta) != self.first.side
            || qty < inst.min_size
            || orders.frozen(&self.first.inst).is_some()
        {
            return NextTry::Over;
        }
        let policy = match self.policy {
            // Its time has come to take what is there.
            WorkingPolicy::PostOnly {
                then: Then::Cross,
                collar,
                ..
            } => WorkingPolicy::IocLimit { collar, tries: 1 },
            other => other,
        };
        let (ord_type, limit, ttl) = worked(policy, self.first.side, inst, quote);
        let ttl = within(ttl, self.first.good_for, now);
        if !self.stop_still_protects(limit.unwrap_or_else(|| quote.mid())) {
            return NextTry::Over; // the market is where it was to be stopped
        }
        NextTry::Try(Box::new(OrderIntent {
            qty,
            ord_type,
            limit,
            ttl,
            ..self.again(quote, now, ids)
        }))
    }

    /// A resting order whose time is over follows the touch, if that is the policy and the touch
    /// has moved.
    fn move_to_touch(
        &self,
        open: &OpenOrder,
        inst: &Instrument,
        quote: Option<&Quote>,
        now: Ms,
        ids: &Ids,
    ) -> NextTry {
        let WorkingPolicy::PostOnly {
            ttl,
            then: Then::Reprice,
            ..
        } = self.policy
        else {
            return NextTry::Wait;
        };
        let rests = matches!(open.state, OrderState::Acked | OrderState::PartiallyFilled);
        let due = now.since(self.since) >= ttl && self.tries < self.policy.tries();
        let Some(quote) = quote.filter(|_| rests && due) else {
            return NextTry::Wait;
        };
        let (_, limit, _) = worked(self.policy, self.first.side, inst, quote);
        if limit.is_none_or(|limit| Some(limit) == open.limit) {
            return NextTry::Wait; // it is there already
        }
        let again = self.again(quote, now, ids);
        if !self.stop_still_protects(limit.unwrap_or(again.reference)) {
            return NextTry::Wait;
        }
        let moves = Some(self.current.clone());
        NextTry::Try(Box::new(OrderIntent {
            qty: open.leaves,
            limit,
            moves,
            stop: None,
            ..again
        }))
    }

    /// True if the decision's stop would still be on the losing side of an entry at this price.
    fn stop_still_protects(&self, price: Price) -> bool {
        self.first
            .stop
            .as_ref()
            .is_none_or(|stop| protects(self.first.side, stop.trigger, price))
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
            algo_id: ClientIdSeed {
                purpose: Purpose::Stop,
                ..seed
            }
            .client_order_id(),
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
mod tests;
