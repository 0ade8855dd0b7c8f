//! Carries out a plan of protection: stops placed, moved and cancelled, and what stays bare taken out.

use super::*;

impl Gate {
    pub(super) async fn carry_out(
        &mut self,
        inst: &InstId,
        act: GuardAction,
        wall: Ms,
    ) -> Result<(), StageError> {
        let key = match &act {
            GuardAction::Place { contender, .. } => format!("place {inst} {contender}"),
            GuardAction::Exit { contender, .. } => format!("exit {inst} {contender}"),
            GuardAction::Clear { contender } => format!("clear {inst} {contender}"),
            GuardAction::Amend { id, qty, trigger } => format!("{id} {qty} {trigger}"),
            GuardAction::Cancel { id } => id.clone(),
        };
        let asked = self.work.guarding.asked.get(&key).copied();
        let times = match asked {
            Some((at, n)) if wall.since(at) < Ms(AGAIN.0 << n.min(DOUBLINGS)) => return Ok(()), // a moment ago
            Some((_, n)) => n + 1,
            None => 0,
        };
        self.work.guarding.asked.insert(key, (wall, times));
        let (inst, run_id) = (inst.clone(), self.seal.start_run);
        let work = match act {
            GuardAction::Exit {
                contender,
                side,
                qty,
                why,
            } => return self.take_out(inst, contender, side, qty, why).await,
            GuardAction::Clear { contender } => return self.clear(&inst, &contender).await,
            GuardAction::Amend { id, qty, trigger } => StopWork::Amend {
                inst,
                id,
                qty,
                trigger,
                run_id,
            },
            GuardAction::Cancel { id } => StopWork::Cancel { inst, id, run_id },
            GuardAction::Place {
                contender,
                entry,
                run_id: of_entry,
                side,
                qty,
                trigger,
            } => {
                self.work.guarding.placed += 1;
                // Named by this start, so that no two processes give the same name.
                let id = self.name(
                    run_id,
                    &contender,
                    &inst,
                    Purpose::Stop,
                    self.work.guarding.placed,
                );
                let stop = StopOrder {
                    id: id.as_str().to_owned(),
                    venue_id: None,
                    parent: entry,
                    run_id: of_entry,
                    contender,
                    inst,
                    side,
                    trigger,
                    qty: Some(qty),
                    standalone: true,
                    created: self.clock.now(),
                    state: AlgoState::Intended,
                    child: None,
                    triggered: None,
                    shaped_at: None,
                };
                StopWork::Place(Box::new(Placing {
                    stop,
                    _permit: Permit::issue(),
                }))
            }
        };
        self.send(Verdict::Stop(work)).await
    }

    /// Takes back what works for a sleeve that is to be taken out.
    pub(super) async fn clear(
        &mut self,
        inst: &InstId,
        contender: &ContenderId,
    ) -> Result<(), StageError> {
        let run_id = self.seal.start_run;
        let due: Vec<CancelAsk> = {
            let orders = self.orders.borrow();
            let its = |o: &&OpenOrder| {
                o.inst == *inst && o.contender == *contender && !o.protective && !o.state.is_final()
            };
            let ask = |o: &OpenOrder| CancelAsk {
                inst: o.inst.clone(),
                order: o.id.clone(),
                run_id,
            };
            orders.open.values().filter(its).map(ask).collect()
        };
        for ask in due {
            self.cancels
                .send(ask)
                .await
                .map_err(|_| StageError::Gone("the executor"))?;
        }
        Ok(())
    }

    /// The venue would not protect a position: nothing opens there for a while.
    pub(super) async fn rest(&mut self, inst: &InstId) -> Result<(), StageError> {
        let now = self.clock.now();
        let restriction = Restriction {
            scope: Scope::Instrument(inst.clone()),
            cause: "unprotected".to_owned(),
            state: TradingState::ReduceOnly,
            why: "a position had to be taken out because no stop could be placed in time"
                .to_owned(),
            since: now,
            until: Some(now.plus(UNPROTECTED_REST)),
            flatten: false,
            flattened: false,
        };
        self.restrict(restriction, "gate", self.seal.start_run, now)
            .await
            .map(drop)
    }

    pub(super) fn name(
        &self,
        run_id: RunId,
        contender: &ContenderId,
        inst: &InstId,
        purpose: Purpose,
        leg: u32,
    ) -> crate::domain::ClOrdId {
        let seed = ClientIdSeed {
            env: self.seal.env,
            uid: &self.seal.uid,
            install_epoch: &self.seal.install_epoch,
            run_id,
            contender,
            inst,
            purpose,
            leg,
            attempt: 0,
        };
        seed.client_order_id()
    }

    /// Takes a sleeve out by an order of its own, with a permit: a decision of the gate, recorded
    /// like any other.
    pub(super) async fn take_out(
        &mut self,
        inst: InstId,
        contender: ContenderId,
        side: Side,
        wanted: Qty,
        why: String,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let shown = self
            .market
            .borrow()
            .insts
            .get(&inst)
            .map(|m| (Arc::clone(&m.instrument), m.quote));
        let Some((instrument, quote)) = shown else {
            return Ok(());
        };
        let key = (contender.clone(), inst.clone());
        let current = self
            .orders
            .borrow()
            .holdings
            .get(&key)
            .map_or(Qty::ZERO, |held| held.qty);
        let run_id = self.seal.ids.next(now);
        let intent = OrderIntent {
            cl_ord_id: self.name(run_id, &contender, &inst, Purpose::Repair, 0),
            run_id,
            contender: contender.clone(),
            inst: inst.clone(),
            side,
            ord_type: OrdType::Market,
            qty: wanted,
            limit: None,
            purpose: Purpose::Repair,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: quote.map(|quote| quote.mid()).unwrap_or_default(),
            decided_at: now,
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            good_for: None,
        };
        let Some(intent) = self.held_to_position(intent, &instrument) else {
            return Ok(());
        };
        warn!(event = "take_out", %run_id, %contender, %inst, side = side.as_str(), qty = %intent.qty, %why, "taking a sleeve out");
        let target = Some(Bps(0));
        let proposal = Proposal {
            contender: contender.clone(),
            inst: inst.clone(),
            target,
            stop: None,
            reason: why.clone(),
            good_for: None,
        };
        let allocation = Allocation {
            contender,
            inst: inst.clone(),
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            current,
            target: Qty(current.0.saturating_add(side.signed(intent.qty).0)),
            cl_ord_id: Some(intent.cl_ord_id.clone()),
            reason: format!("repair {} {}", side.as_str(), intent.qty),
        };
        let body: Arc<str> = serde_json::json!({"protect": why, "quote": quote})
            .to_string()
            .into();
        let trigger = format!("protect {inst}: {why}");
        let caused_by = Some(self.seal.start_run);
        let rows = vec![
            Record::Run {
                run_id,
                kind: RunKind::Command,
                trigger,
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
        ];
        self.journal.post(Record::Together(rows)).await?;
        match check_permitted(Arc::new(intent), &instrument) {
            Ok(approved) => self.let_out(approved).await,
            Err(Denied { intent, breaches }) => {
                error!(event = "take_out_blocked", %run_id, %inst, "a sleeve could not be taken out");
                self.stop(intent, OrderState::Blocked, breaches).await
            }
        }
    }

    /// While trading is restricted, or not in good order, no more than the venue's position leaves.
    /// The venue holds it to that wherever there is as much.
    pub(super) fn held_to_position(
        &self,
        intent: OrderIntent,
        inst: &Instrument,
    ) -> Option<OrderIntent> {
        let room = self.venue_room(&intent, inst);
        let free = *self.readiness.borrow() == Readiness::Ready
            && self
                .memory
                .restrictions
                .of(&intent.contender, &intent.inst)
                .is_none();
        let qty = if free {
            intent.qty
        } else {
            intent.qty.min(inst.floor_lot(room))
        };
        let reduce_only = inst.kind == crate::domain::InstKind::Swap && qty <= room;
        (qty >= inst.min_size && !qty.is_zero()).then_some(OrderIntent {
            qty,
            reduce_only,
            ..intent
        })
    }
}
