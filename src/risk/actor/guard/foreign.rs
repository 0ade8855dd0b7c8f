//! Positions that nobody here has made: guarded under `_foreign`.

use super::*;

impl Gate {
    pub(super) fn protects_foreign(&self, inst: &Instrument) -> bool {
        self.protecting.foreign == ProtectForeign::Protect && inst.kind == InstKind::Swap
    }

    /// Decides where a position that is not ours is to be stopped, once for as long as it stands:
    /// as far from the worse of its entry and the price of now as a stop is put for a strategy that
    /// names none. A decision like any other, with its rows.
    pub(super) async fn guard_foreign(&mut self, inst: &InstId) -> Result<(), StageError> {
        let held = self
            .orders
            .borrow()
            .foreign
            .get(inst)
            .copied()
            .unwrap_or(Qty::ZERO);
        let side = Side::of(held);
        if held.is_zero() {
            self.work.guarding.foreign.remove(inst);
            return Ok(());
        }
        if self
            .work
            .guarding
            .foreign
            .get(inst)
            .is_some_and(|guard| guard.side == side)
        {
            return Ok(());
        }
        let shown = self.market.borrow().insts.get(inst).cloned();
        let Some(shown) = shown.filter(|shown| self.protects_foreign(&shown.instrument)) else {
            return Ok(());
        };
        let nobody = ContenderId::foreign();
        let known = {
            let orders = self.orders.borrow();
            let its = |s: &&ShownStop| {
                s.stop.inst == *inst && s.stop.contender == nobody && s.stop.side == side.opposite()
            };
            orders.stops.iter().find(its).map(|s| Guard {
                entry: s.stop.parent.clone(),
                run_id: s.stop.run_id,
                side,
                trigger: Some(s.stop.trigger),
            })
        };
        if let Some(guard) = known {
            self.work.guarding.foreign.insert(inst.clone(), guard);
            return Ok(());
        }
        let position = self
            .account
            .borrow()
            .as_ref()
            .and_then(|account| account.positions.get(inst).cloned());
        let prices = [
            position.as_ref().and_then(|p| p.average),
            shown.mark_or_mid(),
        ];
        let worse = prices.into_iter().flatten().reduce(|a, b| {
            if side == Side::Buy {
                a.min(b)
            } else {
                a.max(b)
            }
        });
        let Some(base) = worse else { return Ok(()) };
        let trigger = crate::risk::protect::default_trigger(
            &shown.instrument,
            side,
            base,
            self.protecting.stop_default,
        );
        let Some(trigger) = trigger else {
            return Ok(());
        };
        let now = self.clock.now();
        let run_id = self.seal.ids.next(now);
        warn!(event = "foreign_guarded", %run_id, %inst, qty = %held, %trigger,
            "a position that is not ours gets a stop; risk.protection.foreign = \"ignore\" leaves it alone");
        let why = format!(
            "{held} of it are not ours; the venue's net position is protected, whoever made it"
        );
        let qty = shown.instrument.floor_lot(held.abs());
        let intent = OrderIntent {
            cl_ord_id: self.name(run_id, &nobody, inst, Purpose::Entry, 0),
            run_id,
            contender: nobody.clone(),
            inst: inst.clone(),
            side,
            ord_type: OrdType::Market,
            qty,
            limit: None,
            purpose: Purpose::Entry,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: base,
            decided_at: now,
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            good_for: None,
        };
        let entry = OrderId::from(&intent.cl_ord_id);
        let (stop, target) = (Some(trigger), None);
        let proposal = Proposal {
            contender: nobody.clone(),
            inst: inst.clone(),
            target,
            stop,
            reason: why.clone(),
            good_for: None,
        };
        let allocation = Allocation {
            contender: nobody,
            inst: inst.clone(),
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            current: held,
            target: held,
            cl_ord_id: Some(intent.cl_ord_id.clone()),
            reason: "not ours: protected, never traded".to_owned(),
        };
        let body: Arc<str> = serde_json::json!({"protect": why, "position": position})
            .to_string()
            .into();
        let (trigger_words, caused_by) =
            (format!("protect {inst}: {why}"), Some(self.seal.start_run));
        let rows = vec![
            Record::Run {
                run_id,
                kind: RunKind::Command,
                trigger: trigger_words,
                at: now,
                caused_by,
            },
            Record::Snapshot {
                run_id,
                as_of: now,
                body,
            },
            Record::Decisions {
                run_id,
                at: now,
                proposals: vec![proposal],
            },
            Record::Allocations {
                run_id,
                at: now,
                rows: vec![allocation],
            },
            // What its stop hangs on: an order that nobody sent.
            Record::Stopped {
                intent: Arc::new(intent),
                state: OrderState::Suppressed,
                breaches: Vec::new(),
                at: now,
            },
        ];
        self.journal.post(Record::Together(rows)).await?;
        self.work.guarding.foreign.insert(
            inst.clone(),
            Guard {
                entry,
                run_id,
                side,
                trigger: Some(trigger),
            },
        );
        Ok(())
    }
}
