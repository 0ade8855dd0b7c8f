//! Venue statements that should not occur: facts that change, orders of strangers, another
//! listener.

use super::*;

impl Reconciler {
    /// Handles an odd fact that was booked as it is and that a person should know of.
    pub(super) fn on_odd(&mut self, Odd { inst, what, why }: Odd, now: Now) {
        warn!(event = "odd_fill", %inst, what = ?what, %why, "the venue tells something otherwise than we knew it");
        match what {
            OddKind::Enlarged => self.halt(
                IncidentKind::Enlarged,
                inst.to_string(),
                Some(inst),
                why,
                now,
            ),
            OddKind::Corrected => {
                self.acts.push(Effect::Refold);
                self.audit.moved(&inst, now.venue);
                self.halt(
                    IncidentKind::Corrected,
                    inst.to_string(),
                    Some(inst),
                    why,
                    now,
                );
                self.acts.push(Effect::ReadAccount);
            }
            OddKind::Doubtful => self.begin_sweep(now),
        }
    }

    /// A row that cannot be what the venue means: nothing of it is booked. A push is asked about by
    /// REST; what the venue's own lists keep saying is a contradiction.
    pub(super) fn on_unbelieved(&mut self, inst: &InstId, why: String, now: Now) {
        warn!(event = "row_doubted", %inst, %why, "what the venue says of an order cannot be right; nothing of it is booked");
        self.unreadable.insert(inst.clone(), why);
        self.acts.push(Effect::Show);
        self.begin_sweep(now);
    }

    /// A fill of an order that was never to have been in the book: it is booked, for it is there,
    /// and somebody must look.
    pub(super) fn on_fill_after_all(&mut self, row: &FillReport, now: Now) {
        let order = self
            .ledger
            .get(&OrderId::from(row.cl_ord_id.as_str()))
            .filter(|_| !self.is_set_aside(&row.cl_ord_id));
        let dead = order
            .filter(|order| matches!(order.state(), OrderState::Expired | OrderState::Rejected));
        if let Some(order) = dead.filter(|order| !order.has_fill(&row.fill.trade_id)) {
            let (id, known, inst) = (order.id.clone(), order.state(), order.inst.clone());
            let contradiction = Contradiction::FilledAfterAll {
                order: id,
                known,
                filled: row.fill.qty,
            };
            self.keep(Err(contradiction), Some(inst), now);
        }
    }

    pub(super) fn on_foreign(
        &mut self,
        foreign: Foreign,
        (inst, cl_ord_id, venue_id): (&InstId, &str, &str),
        now: Now,
    ) {
        match foreign {
            Foreign::Stranger => {
                info!(event = "foreign_order", %inst, venue_id, "an order that is not ours; left alone");
            }
            Foreign::OursUnknown => {
                let why = format!(
                    "order {cl_ord_id} ({venue_id}) carries our prefix and is not in this database: was it restored from a backup?"
                );
                self.strays.insert(Stray {
                    inst: inst.clone(),
                    cl_ord_id: cl_ord_id.to_owned(),
                });
                self.halt(IncidentKind::Stray, cl_ord_id.to_owned(), None, why, now);
            }
            Foreign::Mistaken(contradiction) => {
                self.keep(Err(contradiction), Some(inst.clone()), now)
            }
            Foreign::Unbelievable(why) => self.on_unbelieved(inst, why, now),
        }
    }

    pub(super) fn on_connections(&mut self, count: u64, now: Now) {
        if count <= 1 {
            self.rival = None;
            self.end_passing(IncidentKind::SecondInstance, now);
            return;
        }
        let (since, _) = self.rival.unwrap_or((now.wall, now.wall));
        if self.rival.is_none() {
            warn!(
                event = "second_listener",
                count, "another connection of this account listens to its orders; a second bot?"
            );
        }
        self.rival = Some((since, now.wall));
    }

    pub(super) fn watch_rival(&mut self, now: Now) {
        let Some((since, looked)) = self.rival else {
            return;
        };
        if now.wall.since(since) >= self.patience.rival_max {
            let why = "another connection of this account keeps listening to its orders".to_owned();
            self.halt(IncidentKind::SecondInstance, String::new(), None, why, now);
        }
        if now.wall.since(looked) >= RIVAL_LOOK {
            self.rival = Some((since, now.wall));
            self.up.remove(&PrivateFeed::Orders);
            self.acts.push(Effect::Reopen(PrivateFeed::Orders));
        }
    }
}
