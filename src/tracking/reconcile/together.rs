//! Asking the venue for everything and joining it: the one path of start, recovery, reconnect and
//! audit. The gate opens when orders, fills and the account agree.

use tracing::{info, warn};

use super::{Effect, Now, PrivateFeed, Reconciler, VenueQuery, in_flight};
use crate::domain::record::Record;
use crate::domain::{IncidentKind, Ms, OrderState};
use crate::tracking::mass_status::{MassStatus, StatusRequest};

impl Reconciler {
    pub(super) fn begin_sweep(&mut self, now: Now) {
        if self.sweeping {
            self.sweep_again = true;
            return;
        }
        self.sweeping = true;
        self.sweep_again = false;
        self.last_sweep = Some(now.wall);
        let wanted = StatusRequest {
            questions: self.ledger.live().map(in_flight::question).collect(),
            fills_cursor: self.fills_cursor.clone(),
            known: self.ledger.venue_ids().collect(),
            stops: self.ledger.expected_stops(),
            epoch: self.epoch,
        };
        self.acts.push(Effect::Ask(VenueQuery::Sweep(wanted)));
    }

    /// Joins a complete answer of the venue with what we know.
    pub(super) fn join(&mut self, found: MassStatus, now: Now) {
        // Until a list says otherwise: what was refused in one before may be right in this.
        let again = self.sweep_again;
        self.unreadable = found
            .refused
            .iter()
            .map(|row| (row.inst(), row.to_string()))
            .collect();
        found
            .pending
            .iter()
            .for_each(|push| self.on_order(push, "orders-pending", now));
        for (id, named, push) in &found.asked {
            match push {
                Some(push) => self.on_order(push, "trade/order", now),
                // Not known to the venue: no proof yet. Its outcome is open until there is one.
                None if !named => {} // on its way out: the answer to its create will come
                None => {
                    let outcome = self.ledger.lost(id, now.venue);
                    self.keep(outcome, None, now);
                }
            }
        }
        found
            .nameless
            .iter()
            .for_each(|push| self.on_order(push, "trade/order", now));
        // A database that has never read fills begins after the newest: what was before is not its
        // own.
        let first_ever = self.fills_cursor.is_none();
        let mut cursor = first_ever.then(|| "0".to_owned());
        for row in &found.fills {
            cursor = Some(row.bill_id.clone());
            if !first_ever {
                self.on_fill(row, now);
            }
        }
        // What the lists themselves say and cannot be right is asked about at the next regular
        // look, not at once and for ever.
        self.sweep_again = again;
        self.on_stops(&found.algos, "algo lists", now);
        // A stop that was asked for long before this look and is in none of the lists was never
        // made.
        let until = Ms(found.began.0 - self.patience.absent_after.0);
        for id in self.ledger.unheard_stops(until) {
            if found.algos.iter().all(|push| push.algo_id != id) {
                let records =
                    self.ledger
                        .stop_unborn(&id, "reconcile", "in no list of the venue", now.venue);
                self.keep(Ok(records), None, now);
            }
        }
        self.bury(&found.gone, now);
        // A stray that is no longer open needs no cancel.
        self.strays.retain(|stray| {
            found
                .pending
                .iter()
                .any(|push| push.cl_ord_id == stray.cl_ord_id)
        });
        // What was refused of the fills is asked for again.
        let complete = first_ever
            || found.refused.iter().all(|row| row.what != "fill") && self.unreadable.is_empty();
        if let Some(cursor) = cursor.filter(|_| complete) {
            let note = Record::Note {
                key: "fills_cursor".into(),
                value: cursor.clone(),
            };
            self.acts.push(Effect::Keep(vec![note]));
            self.fills_cursor = Some(cursor);
        }
        if found.epoch != self.epoch || !self.up.contains(&PrivateFeed::Orders) {
            self.sweep_again = self.up.contains(&PrivateFeed::Orders); // the stream changed under this sweep
            return;
        }
        self.sweeps += 1;
        self.agree(&found, now);
    }

    /// Stops that lived and that the venue does not know any more: twice is enough to protect what
    /// they covered anew.
    fn bury(&mut self, gone: &[String], now: Now) {
        self.gone.retain(|id, _| gone.contains(id));
        for id in gone {
            let first = *self.gone.entry(id.clone()).or_insert(now.venue);
            if now.venue.since(first) >= self.patience.passes_apart {
                let evidence = format!(
                    "the venue does not know it, at {} and {}",
                    first.0, now.venue.0
                );
                let records = self.ledger.stop_gone(id, &evidence, now.venue);
                if !records.is_empty() {
                    warn!(
                        event = "stop_gone",
                        algo_id = id,
                        "a live stop is not known to the venue any more: it protects nothing"
                    );
                }
                self.keep(Ok(records), None, now);
            }
        }
    }

    /// After a complete comparison: are we of one mind with the venue?
    fn agree(&mut self, found: &MassStatus, now: Now) {
        let missing: Vec<String> = self
            .ledger
            .missing_fills()
            .map(|o| o.id.to_string())
            .collect();
        if missing.is_empty() {
            self.rounds = 0;
            self.swept = true;
            self.end_passing(IncidentKind::Unconverged, now);
            if let Some(view) = self.audit.unused() {
                self.compare(&view, now);
            }
            if !self.audit.is_fresh() {
                // What is not ours must be known before anything of ours can be mistaken for it.
                self.apart = Some("the account has not been compared since the start".to_owned());
                self.acts.push(Effect::ReadAccount);
                return;
            }
            if self.apart.take().is_some() {
                let unknown = self
                    .ledger
                    .live()
                    .filter(|o| o.state() == OrderState::Unknown)
                    .count();
                info!(
                    event = "reconciled",
                    began_ms = found.began.0,
                    pending = found.pending.len(),
                    fills = found.fills.len(),
                    unknown,
                    "orders and fills agree with the venue"
                );
            }
            return;
        }
        if self.apart.is_none() {
            return; // fills of the last seconds: asked for on the side
        }
        self.rounds += 1;
        if self.rounds >= self.patience.rounds_max {
            let why = format!(
                "{} comparisons with the venue did not end in agreement; fills are missing of: {}",
                self.rounds,
                missing.join(", ")
            );
            self.halt(IncidentKind::Unconverged, String::new(), None, why, now);
        }
    }
}
