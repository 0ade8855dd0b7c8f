//! Halting, and ending a halt: every case has a name, a row, and a command that ends it.

use std::collections::BTreeMap;

use tracing::{error, info, warn};

use super::{Effect, Now, PrivateFeed, Reconciler};
use crate::domain::record::Record;
use crate::domain::{
    Incident, IncidentKind, InstId, InstKind, OrderId, OrderState, Price, Readiness, RunId,
};

impl Reconciler {
    /// Returns the open incidents.
    pub fn cases(&self) -> &[Incident] {
        &self.cases
    }

    /// Halts an instrument, or everything. A case that is open already stays as it is.
    pub(super) fn halt(
        &mut self,
        kind: IncidentKind,
        subject: String,
        scope: Option<InstId>,
        why: String,
        now: Now,
    ) {
        self.open_incident(Incident {
            kind,
            subject,
            scope,
            why,
            opened: now.venue,
            orders: Vec::new(),
        });
    }

    /// Opens an incident. One of its kind and subject that is open already stays as it is; what it
    /// does not name is found again once it is accepted.
    pub(super) fn open_incident(&mut self, case: Incident) {
        let same = |open: &Incident| open.kind == case.kind && open.subject == case.subject;
        if self.cases.iter().any(same) {
            return;
        }
        let kind = case.kind;
        let inst = case.scope.as_ref().map(|inst| inst.as_str());
        if kind.lets_reduce() {
            warn!(event = "halt", case = case.id(), inst, why = %case.why, cure = kind.cure(), "nothing opens");
        } else {
            error!(event = "halt", case = case.id(), inst, why = %case.why, cure = kind.cure(), "trading is halted");
        }
        self.acts.push(Effect::Keep(vec![Record::Halted {
            case: case.clone(),
            run_id: self.run_id,
        }]));
        self.acts.push(Effect::Show);
        self.cases.push(case);
    }

    /// The venue's word no longer supports a case of this kind.
    pub(super) fn end_passing(&mut self, kind: IncidentKind, now: Now) {
        debug_assert!(kind.passes(), "{kind} needs a person");
        self.end_those(now, |case| case.kind == kind);
    }

    pub(super) fn end_those(&mut self, now: Now, over: impl Fn(&Incident) -> bool) {
        let (ended, open): (Vec<Incident>, Vec<Incident>) =
            std::mem::take(&mut self.cases).into_iter().partition(over);
        self.cases = open;
        for case in ended {
            self.note_end(case, "venue", self.run_id, now);
        }
    }

    fn note_end(&mut self, case: Incident, by: &str, run_id: RunId, now: Now) {
        info!(
            event = "halt_ended",
            case = case.id(),
            by,
            "a halt has ended"
        );
        self.acts.push(Effect::Keep(vec![Record::HaltEnded {
            case,
            by: by.to_owned(),
            run_id,
            at: now.venue,
        }]));
        self.acts.push(Effect::Show);
    }

    /// Checks that this incident can be accepted now; the error says why not. A position or a
    /// balance is accepted as the venue has it, so it must have been read since the last thing that
    /// moved it.
    pub fn acceptable(&self, id: &str) -> Result<(), String> {
        let Some(case) = self.cases.iter().find(|case| case.id() == id) else {
            let open: Vec<String> = self.cases.iter().map(Incident::id).collect();
            let open = if open.is_empty() {
                "none is open".to_owned()
            } else {
                format!("open are: {}", open.join(", "))
            };
            return Err(format!("there is no case '{id}'; {open}"));
        };
        let fresh = match case.kind {
            IncidentKind::Position | IncidentKind::Cash => self.is_readable(&case.subject),
            _ => true,
        };
        if fresh {
            Ok(())
        } else {
            Err(
                "the account has not been read since something moved there; try again in a moment"
                    .into(),
            )
        }
    }

    /// A person accepts a case: what that means depends on its kind.
    pub(super) fn accept(
        &mut self,
        id: &str,
        run_id: RunId,
        prices: &BTreeMap<InstId, Price>,
        now: Now,
    ) {
        let Some(at) = self.cases.iter().position(|case| case.id() == id) else {
            return;
        };
        let case = self.cases.remove(at);
        self.note_end(case.clone(), "reconcile --accept", run_id, now);
        match case.kind {
            IncidentKind::Contradiction => {
                // What is told of these orders from now on is not believed; the audit of positions
                // goes on.
                let known = |order: &&OrderId| self.ledger.all().any(|o| o.id == **order);
                let orders: Vec<OrderId> = case.orders.iter().filter(known).cloned().collect();
                for order in orders {
                    let outcome =
                        self.ledger
                            .absent(&order, "command", "ended by a person", now.venue);
                    self.keep(outcome, None, now);
                    self.keep(Ok(self.ledger.set_aside(&order, now.venue)), None, now);
                    self.set_aside.insert(order);
                }
            }
            IncidentKind::Stray => self.strays.retain(|stray| stray.cl_ord_id != case.subject),
            IncidentKind::UnknownLong => {
                let order = OrderId::from(case.subject.as_str());
                let outcome = self.ledger.absent(
                    &order,
                    "command",
                    "a person says that it is not at the venue",
                    now.venue,
                );
                self.keep(outcome, None, now);
            }
            IncidentKind::UnknownMany => {
                let unknown = self
                    .ledger
                    .live()
                    .filter(|o| o.state() == OrderState::Unknown);
                self.unknown_accepted.extend(unknown.map(|o| o.id.clone()));
            }
            IncidentKind::Unconverged => {
                // The fills we hold are all there are; if not, the position is odd and says so.
                let missing: Vec<OrderId> =
                    self.ledger.missing_fills().map(|o| o.id.clone()).collect();
                for order in missing {
                    let rows = self.ledger.believe_only_fills(&order, now.venue);
                    self.keep(Ok(rows), None, now);
                    self.set_aside.insert(order);
                }
                self.rounds = 0;
            }
            IncidentKind::Position => self.accept_position(&case, run_id, prices, now),
            IncidentKind::Cash => self.accept_cash(&case.subject, now),
            IncidentKind::SecondInstance => {
                self.rival = None;
                self.acts.push(Effect::Reopen(PrivateFeed::Orders));
            }
            IncidentKind::Refused | IncidentKind::Enlarged | IncidentKind::Corrected => {}
        }
        self.begin_sweep(now);
        self.acts.push(Effect::ReadAccount);
    }

    fn accept_position(
        &mut self,
        case: &Incident,
        run_id: RunId,
        prices: &BTreeMap<InstId, Price>,
        now: Now,
    ) {
        let inst = InstId::from(case.subject.as_str());
        let Some(instrument) = self.ledger.instrument(&inst).cloned() else {
            return;
        };
        let Some((venue, foreign)) = self.audit.claim(&self.ledger, &instrument) else {
            return;
        };
        // Without a price the move is booked at the average entry: no profit is invented.
        let price = prices
            .get(&inst)
            .copied()
            .unwrap_or_else(|| self.ledger.average_entry(&inst));
        let by = (case.id(), run_id, now.venue);
        let rows =
            self.ledger
                .accept_position(&instrument, venue, foreign, price, (&by.0, by.1, by.2));
        self.keep(Ok(rows), None, now);
        let subject = if instrument.kind == InstKind::Spot {
            instrument.base.clone()
        } else {
            inst.to_string()
        };
        let mut records = vec![self.audit.rebase(&self.ledger, &subject, venue, now.venue)];
        // What the trade has cost or brought is accepted with it.
        let settle = if instrument.kind == InstKind::Spot {
            &instrument.quote
        } else {
            instrument.settle()
        };
        if let Some(cash) = self.audit.cash_seen(&self.ledger, settle) {
            records.push(self.audit.rebase(&self.ledger, settle, cash, now.venue));
        }
        self.acts.push(Effect::Keep(records));
        self.acts.push(Effect::Show);
    }

    fn accept_cash(&mut self, ccy: &str, now: Now) {
        if let Some(venue) = self.audit.cash_seen(&self.ledger, ccy) {
            let record = self.audit.rebase(&self.ledger, ccy, venue, now.venue);
            self.acts.push(Effect::Keep(vec![record]));
        }
    }

    /// Tells the others whether they may trade, if that has changed.
    pub(super) fn say(&mut self, now: Now) {
        let rival = self
            .rival
            .is_some()
            .then(|| "another connection listens to this account's orders".to_owned());
        let system = |reducing: bool| {
            self.cases
                .iter()
                .find(|case| case.scope.is_none() && case.kind.lets_reduce() == reducing)
                .map(|case| format!("{}: {}", case.id(), case.why))
        };
        let next = match (system(false), self.apart.clone().or(rival), system(true)) {
            (Some(why), ..) => Readiness::Halted(why),
            (None, Some(why), _) => Readiness::Reconciling(why),
            (None, None, Some(why)) => Readiness::ReduceOnly(why),
            (None, None, None) => Readiness::Ready,
        };
        if next == self.said {
            return;
        }
        let (from, to) = (self.said.name(), next.name());
        let why = next.why().unwrap_or("reconciled with the venue").to_owned();
        if from != to {
            info!(event = "trading_state", from, to, %why, "trading state");
            // Halts have rows of their own.
            let ours = |name: &str| matches!(name, "active" | "reconciling");
            if ours(to) || ours(from) {
                self.acts.push(Effect::Keep(vec![Record::TradingState {
                    scope: "system".into(),
                    from: from.into(),
                    to: to.into(),
                    who: "tracker".into(),
                    why,
                    run_id: self.run_id,
                    at: now.venue,
                }]));
            }
        }
        self.said = next.clone();
        self.acts.push(Effect::Readiness(next));
    }
}
