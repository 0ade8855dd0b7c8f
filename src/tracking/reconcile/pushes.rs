//! The venue's word on orders, stops and fills, pushed or asked for.

use super::*;

impl Reconciler {
    pub(super) fn on_order(&mut self, push: &OrderPush, channel: &str, now: Now) {
        if self.is_set_aside(&push.cl_ord_id) {
            return; // nothing that is told of it is believed; its fills, if there are more, come by their list
        }
        let latest = push
            .fill
            .as_ref()
            .map_or(push.report.at, |fill| fill.at.max(push.report.at));
        if let Some(why) = self.is_ahead(latest, now) {
            return self.on_unbelieved(
                &push.inst,
                format!("order {}: {why}", push.report.venue_id),
                now,
            );
        }
        match self.ledger.on_order(push, channel, now.venue) {
            Ok(outcome) => self.keep(outcome, Some(push.inst.clone()), now),
            Err(Foreign::Mistaken(contradiction)) if channel == PUSHED => {
                self.on_unbelieved(&push.inst, contradiction.to_string(), now);
            }
            Err(foreign) => self.on_foreign(
                foreign,
                (&push.inst, &push.cl_ord_id, push.report.venue_id.as_str()),
                now,
            ),
        }
    }

    /// A time that the venue's clock has not reached is not believed, nor is what it comes with.
    pub(super) fn is_ahead(&self, at: Ms, now: Now) -> Option<String> {
        let ahead = at.since(now.venue);
        (ahead > self.patience.ahead_max)
            .then(|| format!("its time is {ahead} ahead of the venue's clock"))
    }

    pub(super) fn is_set_aside(&self, cl_ord_id: &str) -> bool {
        self.set_aside.contains(&OrderId::from(cl_ord_id))
    }

    pub(super) fn on_stops(&mut self, pushes: &[AlgoPush], channel: &str, now: Now) {
        let believed = |push: &&AlgoPush| push.at.is_none_or(|at| self.is_ahead(at, now).is_none());
        let (pushes, ahead): (Vec<AlgoPush>, Vec<AlgoPush>) = {
            let (yes, no): (Vec<&AlgoPush>, Vec<&AlgoPush>) = pushes.iter().partition(believed);
            (
                yes.into_iter().cloned().collect(),
                no.into_iter().cloned().collect(),
            )
        };
        // A list is asked for again by itself.
        if let Some(push) = ahead.first().filter(|_| channel == STOPS_PUSHED) {
            warn!(
                event = "row_doubted",
                algo_id = push.algo_id,
                "a push about a stop has a time ahead of the venue's clock"
            );
            self.begin_sweep(now);
        }
        let pushes = &pushes[..];
        let (records, wrong) = self.ledger.on_algos(pushes, channel, now.venue);
        self.keep(Ok(records), None, now);
        if let Some(contradiction) = wrong {
            self.keep(Err(contradiction), None, now);
        }
    }

    pub(super) fn on_fill(&mut self, row: &FillReport, now: Now) {
        if let Some(why) = self.is_ahead(row.fill.at, now) {
            return self.on_unbelieved(
                &row.inst,
                format!("fill {}: {why}", row.fill.trade_id),
                now,
            );
        }
        self.on_fill_after_all(row, now);
        match self.ledger.on_fill(row, now.venue) {
            Ok(Err(contradiction)) if self.is_set_aside(&row.cl_ord_id) => {
                warn!(event = "set_aside", %contradiction, "about an order that a person has set aside");
            }
            Ok(outcome) => self.keep(outcome, Some(row.inst.clone()), now),
            Err(foreign @ (Foreign::Mistaken(_) | Foreign::Unbelievable(_))) => {
                self.on_foreign(
                    foreign,
                    (&row.inst, &row.cl_ord_id, row.venue_id.as_str()),
                    now,
                );
            }
            Err(foreign) => {
                self.audit.not_ours(row, now.venue);
                self.on_foreign(
                    foreign,
                    (&row.inst, &row.cl_ord_id, row.venue_id.as_str()),
                    now,
                );
            }
        }
    }
}
