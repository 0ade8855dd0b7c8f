//! Stops: which are ours, which should be alive, which protect nothing any more, and the orders
//! they make.

use super::belief::Descendant;
use super::{Foreign, Ledger, Outcome};
use crate::domain::order::Contradiction;
use crate::domain::record::{AdoptedOrder, AlgoStep, Record};
use crate::domain::view::{ShownStop, StopPhase};
use crate::domain::{
    AlgoState, ContenderId, Ms, OrdType, Order, OrderId, OrderIntent, OrderState, Purpose, Qty,
    RunId, Side, StopOrder,
};
use crate::venue::{AlgoPush, CreateOutcome, OrderPush};

impl Ledger {
    /// Stops that protect, or may.
    pub(super) fn shown_stops(&self) -> Vec<ShownStop> {
        self.stops
            .values()
            .filter_map(|stop| {
                Some(ShownStop {
                    phase: self.phase(stop)?,
                    stop: self.sized(stop),
                })
            })
            .collect()
    }

    fn phase(&self, stop: &StopOrder) -> Option<StopPhase> {
        match stop.state {
            AlgoState::Live => Some(StopPhase::Live),
            // What hangs on an order is made when that has ended.
            AlgoState::Intended => {
                (stop.standalone || self.is_made(stop)).then_some(StopPhase::Coming)
            }
            AlgoState::Effective => {
                let works =
                    |id: &OrderId| self.orders.get(id).is_some_and(|order| !order.is_settled());
                let closing = stop.child.as_ref().map_or(stop.triggered.is_some(), works);
                closing.then_some(StopPhase::Closing)
            }
            AlgoState::Unborn | AlgoState::Canceled if self.undead.contains(&stop.id) => {
                Some(StopPhase::Undead)
            }
            AlgoState::Unborn
            | AlgoState::Canceled
            | AlgoState::OrderFailed
            | AlgoState::PartiallyFailed => None,
        }
    }

    fn is_made(&self, stop: &StopOrder) -> bool {
        self.orders
            .get(&stop.parent)
            .is_some_and(|o| o.is_settled() && !o.filled.is_zero())
    }

    fn sized(&self, stop: &StopOrder) -> StopOrder {
        let qty = stop
            .qty
            .or_else(|| self.orders.get(&stop.parent).map(|order| order.filled));
        StopOrder {
            qty,
            ..stop.clone()
        }
    }

    /// A stop that stands alone is durable.
    pub fn stop_intended(&mut self, stop: StopOrder) {
        self.stops.insert(stop.id.clone(), stop);
    }

    /// The venue's answer to a stop that stands alone. No clear answer changes nothing: the lists
    /// will tell.
    pub fn stop_answered(&mut self, id: &str, outcome: &CreateOutcome, now: Ms) -> Outcome {
        match outcome {
            CreateOutcome::Accepted(venue_id) => {
                let (venue_id, state) = (venue_id.as_str().to_owned(), Some(AlgoState::Live));
                let said = AlgoPush {
                    algo_id: id.to_owned(),
                    venue_id,
                    state,
                    qty: None,
                    trigger: None,
                    at: Some(now),
                };
                self.on_algo(&said, "accepted", now)
            }
            CreateOutcome::Rejected { code, msg, .. } => {
                Ok(self.stop_unborn(id, "venue", &format!("{code} {msg}"), now))
            }
            CreateOutcome::Unknown(_) => Ok(Vec::new()),
        }
    }

    /// Marks a stop as never made.
    pub fn stop_unborn(
        &mut self,
        id: &str,
        cause: &'static str,
        evidence: &str,
        now: Ms,
    ) -> Vec<Record> {
        let Some(stop) = self
            .stops
            .get_mut(id)
            .filter(|stop| stop.state == AlgoState::Intended)
        else {
            return Vec::new();
        };
        stop.state = AlgoState::Unborn;
        // Kept: its request may still arrive.
        let (stop, evidence) = (stop.clone(), evidence.to_owned());
        vec![Record::Algo(Box::new(AlgoStep {
            from: Some(AlgoState::Intended),
            stop,
            cause,
            evidence,
            at: now,
        }))]
    }

    /// A live stop is not known to the venue any more: from now on it covers nothing. If it shows
    /// again it must go.
    pub fn stop_gone(&mut self, id: &str, evidence: &str, now: Ms) -> Vec<Record> {
        let Some(stop) = self
            .stops
            .get_mut(id)
            .filter(|stop| stop.state == AlgoState::Live)
        else {
            return Vec::new();
        };
        stop.state = AlgoState::Canceled;
        self.buried.insert(id.to_owned());
        let (stop, evidence) = (stop.clone(), evidence.to_owned());
        let step = AlgoStep {
            from: Some(AlgoState::Live),
            stop,
            cause: "reconcile",
            evidence,
            at: now,
        };
        vec![Record::Algo(Box::new(step))]
    }

    /// Stops that stand alone, were asked for before `until`, and have not been heard of since.
    pub fn unheard_stops(&self, until: Ms) -> Vec<String> {
        let unheard =
            |s: &&StopOrder| s.standalone && s.state == AlgoState::Intended && s.created < until;
        self.stops
            .values()
            .filter(unheard)
            .map(|stop| stop.id.clone())
            .collect()
    }

    /// Stops that should be alive at the venue: those that stand alone, and those of orders that
    /// have ended with fills.
    pub fn expected_stops(&self) -> Vec<String> {
        let waits =
            |stop: &&StopOrder| !stop.state.is_final() && (stop.standalone || self.is_made(stop));
        self.stops
            .values()
            .filter(waits)
            .map(|stop| stop.id.clone())
            .collect()
    }

    /// The order ended without a fill: its stops were never made.
    pub(super) fn end_stops_of(&mut self, id: &OrderId, now: Ms) -> Vec<Record> {
        let ended: Vec<String> = self
            .stops
            .values()
            .filter(|stop| stop.parent == *id && stop.state == AlgoState::Intended)
            .map(|stop| stop.id.clone())
            .collect();
        let mut out = Vec::new();
        for name in ended {
            if let Some(mut stop) = self.stops.remove(&name) {
                stop.state = AlgoState::Unborn;
                let evidence = "its order ended without a fill".to_owned();
                let step = AlgoStep {
                    from: Some(AlgoState::Intended),
                    stop,
                    cause: "descent",
                    evidence,
                    at: now,
                };
                out.push(Record::Algo(Box::new(step)));
            }
        }
        out
    }

    /// A statement of the venue about one of our stops.
    pub fn on_algo(&mut self, push: &AlgoPush, channel: &str, now: Ms) -> Outcome {
        let Some(stop) = self.stops.get_mut(&push.algo_id) else {
            return Ok(Vec::new());
        };
        let Some(said) = push.state else {
            return Ok(Vec::new());
        };
        if !push.venue_id.is_empty() {
            stop.venue_id = Some(push.venue_id.clone());
        }
        let from = stop.state;
        // Believed never made, and there it is: nothing of ours protects by it, and it must go.
        if from == AlgoState::Unborn || self.buried.contains(&push.algo_id) {
            match said {
                AlgoState::Live => self.undead.insert(push.algo_id.clone()),
                _ => self.undead.remove(&push.algo_id),
            };
            return Ok(Vec::new());
        }
        let news = stop.merge(said)?;
        let shaped = said == AlgoState::Live && stop.shaped(push.qty, push.trigger, push.at);
        if !news && !shaped {
            return Ok(Vec::new());
        }
        if said == AlgoState::Effective {
            stop.triggered = Some(now);
        }
        let evidence = match stop.qty {
            Some(qty) => format!("{channel}: {qty} at {}", stop.trigger),
            None => channel.to_owned(),
        };
        let step = AlgoStep {
            stop: stop.clone(),
            from: Some(from),
            cause: "venue",
            evidence,
            at: push.at.unwrap_or(now),
        };
        Ok(vec![Record::Algo(Box::new(step))])
    }

    /// An order without our name that is ours by descent: the child of one of our stops, or the
    /// venue's own against our position. A row with its parent, booked to the sleeve it belongs to.
    pub(super) fn descent(&self, push: &OrderPush, now: Ms) -> Result<Descendant, Foreign> {
        let qty = push
            .qty
            .filter(|qty| *qty > Qty::ZERO)
            .ok_or(Foreign::Stranger)?;
        let by_venue = |stop: &&StopOrder| {
            !push.venue_algo_id.is_empty() && stop.venue_id.as_ref() == Some(&push.venue_algo_id)
        };
        let stop = self
            .stops
            .get(&push.algo_id)
            .or_else(|| self.stops.values().find(by_venue))
            .cloned();
        if let Some(stop) = stop {
            let by = (stop.run_id, stop.contender.clone(), Purpose::Stop);
            let mut adoption =
                descendant(push, qty, by, Some(stop.trigger), stop.parent.clone(), now);
            let (from, mut stop) = (stop.state, stop);
            stop.child = Some(adoption.order.id.clone());
            // A child proves that it has triggered, unless the venue has said so already or said
            // how it failed.
            if !from.is_final() {
                stop.state = AlgoState::Effective;
                stop.triggered = Some(now);
            }
            let evidence = format!("its order {} appeared", push.report.venue_id);
            let step = AlgoStep {
                stop: stop.clone(),
                from: Some(from),
                cause: "descent",
                evidence,
                at: now,
            };
            adoption.records.push(Record::Algo(Box::new(step)));
            adoption.stop = Some(stop);
            return Ok(adoption);
        }
        let forced = matches!(
            push.category.as_str(),
            "full_liquidation" | "partial_liquidation" | "adl" | "delivery"
        );
        // The newest order of a sleeve that it closes is its parent; without one it is not against
        // anything of ours.
        let closes = |held: rust_decimal::Decimal| {
            !held.is_zero() && held.is_sign_negative() == (push.side == Side::Buy)
        };
        let bearer = self
            .sleeves(&push.inst)
            .into_iter()
            .filter(|(_, held)| closes(*held))
            .max_by_key(|(_, q)| q.abs());
        let parent = bearer.and_then(|(who, _)| self.latest.get(&(who, push.inst.clone())));
        let parent = parent
            .and_then(|latest| self.orders.get(latest))
            .map(|o| (o.id.clone(), o.run_id, o.contender.clone()));
        match parent {
            Some((parent, run_id, bearer)) if forced => {
                let by = (run_id, bearer, Purpose::Liquidation);
                Ok(descendant(push, qty, by, None, parent, now))
            }
            _ => Err(Foreign::Stranger),
        }
    }

    /// Joins what the venue says in a list: a contradiction in one of them does not hide the
    /// others.
    pub fn on_algos(
        &mut self,
        pushes: &[AlgoPush],
        channel: &str,
        now: Ms,
    ) -> (Vec<Record>, Option<Contradiction>) {
        let (mut records, mut wrong) = (Vec::new(), None);
        for push in pushes {
            match self.on_algo(push, channel, now) {
                Ok(more) => records.extend(more),
                Err(contradiction) => wrong = Some(contradiction),
            }
        }
        (records, wrong)
    }
}

/// An order that the venue has made on our behalf, as it is first known.
fn descendant(
    push: &OrderPush,
    qty: Qty,
    (run_id, contender, purpose): (RunId, ContenderId, Purpose),
    trigger: Option<crate::domain::Price>,
    parent: OrderId,
    now: Ms,
) -> Descendant {
    let id = OrderId::adopted(&push.report.venue_id);
    let intent = OrderIntent {
        cl_ord_id: crate::domain::ClOrdId::new(id.as_str()),
        run_id,
        contender,
        inst: push.inst.clone(),
        side: push.side,
        ord_type: OrdType::Market,
        qty,
        limit: None,
        purpose,
        leg: 0,
        attempt: 0,
        reduce_only: true,
        stop: None,
        reference: trigger.or(push.report.average).unwrap_or_default(),
        decided_at: now,
        ttl: None,
        slippage: None,
        moves: None,
        sleeve: Default::default(),
        weight: Default::default(),
        good_for: None,
    };
    let mut order = Order::intended(&intent, now, None).remembered(OrderState::Acked, []);
    order.venue_id = Some(push.report.venue_id.clone());
    let venue_id = push.report.venue_id.clone();
    let row = AdoptedOrder {
        order_id: id,
        parent,
        venue_id: venue_id.clone(),
        intent,
    };
    let records = vec![Record::Adopted {
        order: Box::new(row),
        at: now,
    }];
    Descendant {
        order,
        venue_id,
        stop: None,
        records,
    }
}
