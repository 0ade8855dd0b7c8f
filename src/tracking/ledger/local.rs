//! What we did with an order, and what we make of an answer or the lack of one.

use super::*;

impl Ledger {
    /// A durable intent; bytes may follow.
    pub fn intended(&mut self, order: Order, intent: &OrderIntent) {
        self.note_latest(intent);
        // Its row was written with the intent's.
        if let Some(stop) = StopOrder::ahead(intent) {
            self.stops.insert(stop.id.clone(), stop);
        }
        self.orders.insert(order.id.clone(), order);
        self.forget_old();
    }

    /// An intent that ended before the executor.
    pub fn note_latest(&mut self, intent: &OrderIntent) {
        let key = (intent.owner(), intent.inst.clone());
        self.latest.insert(key, OrderId::from(&intent.cl_ord_id));
    }

    /// The attempt to send begins.
    pub fn sending(&mut self, id: &OrderId, now: Ms) -> Outcome {
        self.local(id, OrderState::Sent, "executor", "sending", now)
    }

    /// A resting order may be moved from now on.
    pub fn moving(&mut self, id: &OrderId, limit: Price) {
        if let Some(order) = self.orders.get_mut(id) {
            order.moving_to(limit);
        }
    }

    /// A move did not leave us, or was refused: it rests where it was.
    pub fn not_moved(&mut self, id: &OrderId) {
        if let Some(order) = self.orders.get_mut(id) {
            order.moving = None;
        }
    }

    /// Marks an order as unwanted if another run than its own asks for its cancel.
    pub fn give_up(&mut self, id: &OrderId, asked_by: crate::domain::RunId) {
        if let Some(order) = self.orders.get_mut(id).filter(|o| o.run_id != asked_by) {
            order.give_up();
        }
    }

    /// A person says that the fills we hold are all there are, whatever the venue counts.
    pub fn believe_only_fills(&mut self, id: &OrderId, now: Ms) -> Vec<Record> {
        if let Some(order) = self.orders.get_mut(id) {
            order.believe_only_fills();
        }
        self.set_aside(id, now)
    }

    /// A person has set an order aside: the row that a later start knows it by.
    pub fn set_aside(&self, id: &OrderId, now: Ms) -> Vec<Record> {
        let Some(order) = self.orders.get(id) else {
            return Vec::new();
        };
        let step = StateChange {
            from: order.state(),
            to: order.state(),
        };
        vec![transition(order, step, "command", SET_ASIDE, now)]
    }

    /// Marks an order as not sent.
    pub fn not_sent(&mut self, id: &OrderId, why: &str, now: Ms) -> Outcome {
        self.local(
            id,
            OrderState::Expired,
            "executor",
            &format!("not sent: {why}"),
            now,
        )
    }

    /// The venue's answer to the create.
    pub fn answered(&mut self, id: &OrderId, outcome: &CreateOutcome, now: Ms) -> Outcome {
        match outcome {
            // One name at the venue is one order for ever.
            CreateOutcome::Accepted(venue_id)
                if self.by_venue.get(venue_id).is_some_and(|other| other != id) =>
            {
                let why = format!(
                    "the answer names {venue_id}, which is order {}",
                    self.by_venue[venue_id]
                );
                self.local(id, OrderState::Unknown, "executor", &why, now)
            }
            CreateOutcome::Accepted(venue_id) => {
                let Some(order) = self.orders.get_mut(id) else {
                    return Ok(Vec::new());
                };
                // An acknowledgement says that it exists, and nothing of how far it got.
                let report = crate::domain::VenueReport {
                    venue_id: venue_id.clone(),
                    status: crate::domain::VenueStatus::Live,
                    filled: order.filled,
                    average: None,
                    cancel_source: None,
                    at: now,
                };
                let step = order.merge(&report)?;
                self.by_venue.insert(venue_id.clone(), id.clone());
                let order = &self.orders[id];
                Ok(step
                    .map(|step| transition(order, step, "executor", "accepted", now))
                    .into_iter()
                    .collect())
            }
            CreateOutcome::Rejected { code, msg, .. } => self.local(
                id,
                OrderState::Rejected,
                "venue",
                &format!("{code} {msg}"),
                now,
            ),
            CreateOutcome::Unknown(why) => {
                self.local(id, OrderState::Unknown, "executor", why, now)
            }
        }
    }

    /// A cancel was asked for.
    pub fn cancel_asked(&mut self, id: &OrderId, evidence: &str, now: Ms) -> Vec<Record> {
        let Some(order) = self.orders.get_mut(id) else {
            return Vec::new();
        };
        let step = order.ask_cancel();
        let order = &self.orders[id];
        step.map(|step| transition(order, step, "executor", evidence, now))
            .into_iter()
            .collect()
    }

    /// The venue does not know an order that we believed alive: its outcome is open again.
    pub fn lost(&mut self, id: &OrderId, now: Ms) -> Outcome {
        self.local(
            id,
            OrderState::Unknown,
            "reconcile",
            "the venue does not know it any more",
            now,
        )
    }

    /// Proven to be nowhere: never reached the book, or ended without a fill and was forgotten.
    pub fn absent(
        &mut self,
        id: &OrderId,
        cause: &'static str,
        evidence: &str,
        now: Ms,
    ) -> Outcome {
        let Some(order) = self.orders.get_mut(id) else {
            return Ok(Vec::new());
        };
        let step = order.forgotten()?;
        let order = &self.orders[id];
        let mut records: Vec<Record> = step
            .map(|step| transition(order, step, cause, evidence, now))
            .into_iter()
            .collect();
        if order.state().is_final() && order.filled.is_zero() {
            records.extend(self.end_stops_of(id, now));
        }
        Ok(records)
    }

    pub(super) fn local(
        &mut self,
        id: &OrderId,
        to: OrderState,
        cause: &'static str,
        evidence: &str,
        now: Ms,
    ) -> Outcome {
        let Some(order) = self.orders.get_mut(id) else {
            return Ok(Vec::new());
        };
        let step = order.local_step(to)?;
        let order = &self.orders[id];
        let mut records: Vec<Record> = step
            .map(|step| transition(order, step, cause, evidence, now))
            .into_iter()
            .collect();
        // A late word of the executor on an order that has filled is no word on its stop.
        if order.state().is_final() && order.filled.is_zero() {
            records.extend(self.end_stops_of(id, now));
        }
        Ok(records)
    }
}
