//! Orders whose outcome is not known: when to ask, what proves that they never were, when a person
//! is called.

use std::collections::BTreeSet;

use tracing::warn;

use super::{Effect, Now, Reconciler, VenueQuery};
use crate::domain::OrderName;
use crate::domain::{ClOrdId, IncidentKind, InstId, InstKind, Ms, Order, OrderId, OrderState};
use crate::tracking::mass_status::{Everywhere, OrderQuery};
use crate::venue::OrderPush;

/// When to ask about an unknown order next, and how far its proof of absence is.
#[derive(Clone, Debug)]
pub(super) struct InFlightCheck {
    asked: usize,
    /// Wall time.
    next: Ms,
    in_flight: bool,
    /// Venue time: since when nobody knows, and of the first pass that found it nowhere.
    since: Ms,
    first_pass: Option<Ms>,
}

impl Reconciler {
    /// Asks about orders whose outcome is not proven.
    pub(super) fn inquire(&mut self, now: Now) {
        // At a start the comparison itself asks about each of them; asking twice only makes it
        // slower.
        if self.sweeping && self.sweeps == 0 && self.failed == 0 {
            return;
        }
        let unknown: Vec<Order> = self
            .ledger
            .live()
            .filter(|o| o.state() == OrderState::Unknown)
            .cloned()
            .collect();
        self.inquiries
            .retain(|id, _| unknown.iter().any(|o| o.id == *id));
        for order in unknown {
            let inquiry = self
                .inquiries
                .entry(order.id.clone())
                .or_insert(InFlightCheck {
                    asked: 0,
                    next: now
                        .wall
                        .plus(self.patience.ask_at.first().copied().unwrap_or(Ms::ZERO)),
                    in_flight: false,
                    since: now.venue,
                    first_pass: None,
                });
            if inquiry.in_flight || now.wall < inquiry.next {
                continue;
            }
            inquiry.in_flight = true;
            inquiry.asked += 1;
            // A create counts from when the venue would have dropped it; what had rested there for
            // long, from when it was not known any more: the venue may not show for a moment what
            // it has.
            let doubted = order
                .expires_at
                .unwrap_or(order.created_at)
                .max(inquiry.since);
            let expired = doubted.plus(self.patience.absent_after);
            let pause = self
                .patience
                .ask_at
                .get(inquiry.asked)
                .copied()
                .unwrap_or(self.patience.ask_every);
            // Not later than the moment from which an absence counts.
            let left = expired.since(now.venue).plus(Ms(1));
            inquiry.next = now.wall.plus(if left > Ms::ZERO {
                pause.min(left)
            } else {
                pause
            });
            let kind = self
                .ledger
                .instrument(&order.inst)
                .map_or(InstKind::Spot, |inst| inst.kind);
            self.acts.push(Effect::Ask(if now.venue > expired {
                VenueQuery::Everywhere(question(&order), kind, self.fills_cursor.clone())
            } else {
                VenueQuery::Order(question(&order))
            }));
        }
    }

    /// Asks about one order that we believe alive, because something about it is odd.
    pub(super) fn ask_about(&mut self, id: &OrderId) {
        let Some(order) = self.ledger.get(id).filter(|o| o.state().may_be_live()) else {
            return;
        };
        if order.state() != OrderState::Unknown && self.asked_about.insert(id.clone()) {
            self.acts
                .push(Effect::Ask(VenueQuery::Order(question(order))));
        }
    }

    pub(super) fn on_order_answer(
        &mut self,
        id: &OrderId,
        result: Result<Option<OrderPush>, String>,
        now: Now,
    ) {
        if self.asked_about.remove(id) {
            match result {
                Ok(Some(push)) => self.on_order(&push, "trade/order", now),
                Ok(None) => {
                    let outcome = self.ledger.lost(id, now.venue);
                    self.keep(outcome, None, now);
                }
                Err(_) => {} // the next cancel asks again
            }
            return;
        }
        let Some(inquiry) = self.inquiries.get_mut(id) else {
            return;
        };
        inquiry.in_flight = false;
        match result {
            Ok(Some(push)) => self.on_order(&push, "trade/order", now),
            // Too early to mean anything.
            Ok(None) => {}
            Err(error) => self.inquiry_failed(id, &error),
        }
    }

    /// One pass of the proof that an order never reached the book, or is gone with what it filled.
    pub(super) fn on_everywhere(
        &mut self,
        id: &OrderId,
        result: Result<Everywhere, String>,
        now: Now,
    ) {
        let Some(inquiry) = self.inquiries.get_mut(id) else {
            return;
        };
        inquiry.in_flight = false;
        let found = match result {
            Ok(found) => found,
            Err(error) => return self.inquiry_failed(id, &error),
        };
        for row in &found.fills {
            self.on_fill(row, now);
        }
        if let Some(push) = &found.order {
            return self.on_order(push, "trade/order", now);
        }
        // The venue may have spoken of it while it was looked for.
        let Some(order) = self
            .ledger
            .get(id)
            .filter(|o| o.state() == OrderState::Unknown)
            .cloned()
        else {
            return;
        };
        // Nowhere, and yet the account has moved: then it is somewhere.
        if let Some(odd) = self
            .audit
            .odd_position(&self.ledger, &order.inst, &found.account)
        {
            warn!(event = "absence_doubted", order = %id, %odd, "not found, but the position is not what our fills make it");
            if let Some(inquiry) = self.inquiries.get_mut(id) {
                inquiry.first_pass = None;
            }
            return;
        }
        let Some(inquiry) = self.inquiries.get_mut(id) else {
            return;
        };
        match inquiry.first_pass {
            Some(first) if now.venue.since(first) >= self.patience.passes_apart => {
                let evidence = format!(
                    "proven absent: not known, pending, in history or in fills, and the position as before, at {} and {}",
                    first.0, now.venue.0
                );
                let outcome = self.ledger.absent(id, "reconcile", &evidence, now.venue);
                self.keep(outcome, None, now);
            }
            Some(_) => {}
            None => {
                inquiry.first_pass = Some(now.venue);
                inquiry.next = inquiry.next.min(now.wall.plus(self.patience.passes_apart));
            }
        }
    }

    /// A failed call proves nothing, and what was half proven is begun again.
    fn inquiry_failed(&mut self, id: &OrderId, error: &str) {
        warn!(event = "inquiry_failed", order = %id, %error, "the venue could not be asked about an unknown order");
        if let Some(inquiry) = self.inquiries.get_mut(id) {
            inquiry.first_pass = None;
        }
    }

    /// Too many unknown orders, or one for too long, is a case; both pass when the venue has
    /// answered.
    pub(super) fn judge_unknown(&mut self, now: Now) {
        let unknown: Vec<(OrderId, InstId)> = self
            .ledger
            .live()
            .filter(|o| o.state() == OrderState::Unknown)
            .map(|o| (o.id.clone(), o.inst.clone()))
            .collect();
        self.unknown_accepted
            .retain(|id| unknown.iter().any(|(open, _)| open == id));
        let new = unknown
            .iter()
            .filter(|(id, _)| !self.unknown_accepted.contains(id));
        let instruments: BTreeSet<&InstId> = new.map(|(_, inst)| inst).collect();
        let shown: Vec<&str> = instruments.iter().map(|inst| inst.as_str()).collect();
        // While the gate is shut the venue is being asked about them already.
        if self.apart.is_none() && instruments.len() > self.patience.unknown_instruments_max {
            let why = format!(
                "the outcome of orders in {} is unknown at once",
                shown.join(", ")
            );
            self.halt(IncidentKind::UnknownMany, String::new(), None, why, now);
        } else if instruments.len() <= self.patience.unknown_instruments_max {
            self.end_passing(IncidentKind::UnknownMany, now);
        }
        let stale: Vec<(OrderId, Ms)> = self
            .inquiries
            .iter()
            .filter(|(id, _)| unknown.iter().any(|(open, _)| open == *id))
            .filter(|(_, inquiry)| now.venue.since(inquiry.since) > self.patience.unknown_max)
            .map(|(id, inquiry)| (id.clone(), inquiry.since))
            .collect();
        for (id, since) in &stale {
            let why = format!("the outcome of order {id} is unknown since {}", since.iso());
            self.halt(IncidentKind::UnknownLong, id.to_string(), None, why, now);
        }
        self.end_those(now, |case| {
            case.kind == IncidentKind::UnknownLong
                && !unknown.iter().any(|(id, _)| id.as_str() == case.subject)
        });
    }
}

pub(super) fn question(order: &Order) -> OrderQuery {
    let named = matches!(order.id.name(), OrderName::Ours(_));
    OrderQuery {
        id: order.id.clone(),
        inst: order.inst.clone(),
        cl_ord_id: named.then(|| ClOrdId::new(order.id.as_str())),
        venue_id: order.venue_id.as_ref().map(|id| id.as_str().to_owned()),
    }
}
