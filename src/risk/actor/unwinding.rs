//! Commands of people: closes and halts. `Unwind` decides the steps; here they are carried out.

use std::collections::BTreeSet;
use std::sync::Arc;

use tracing::{error, info};

use super::{Answer, CancelAsk, Command, Gate};
use crate::domain::record::{Record, RunKind};
use crate::domain::{InstId, Ms, OrderState, Readiness, Restriction, RunId, Scope};
use crate::risk::flatten::{Closing, Flatten, flatten};
use crate::risk::rules::{Denied, check_permitted};
use crate::risk::unwind::{Unwind, UnwindReport, UnwindStep, UnwindView};
use crate::runtime::StageError;

/// A making-flat under way, and who waits for it.
#[derive(Debug)]
pub(super) struct Unwinding {
    unwind: Unwind,
    waiting: Vec<Answer>,
    /// The latch that asked for it: it stays in force, but is seen flat when this ends well.
    latched: bool,
}

impl Unwinding {
    pub(super) fn covers(&self, inst: &InstId) -> bool {
        self.unwind.covers(inst)
    }
    pub(super) fn trigger(&self) -> &str {
        &self.unwind.trigger
    }
}

/// After a flattening that left something, before the next.
const FLATTEN_PAUSE: Ms = Ms::secs(10);

impl Gate {
    pub(super) async fn on_command(&mut self, command: Command) -> Result<(), StageError> {
        match command {
            Command::Close { inst, scope, done } => self.on_close(inst, scope, done).await,
            Command::Restrict { cause, why } => {
                let now = self.clock.now();
                let restriction = Restriction {
                    cause: cause.clone(),
                    ..Restriction::kill(false, &why, now)
                };
                self.restrict(restriction, &cause, self.seal.start_run, now)
                    .await
                    .map(drop)
            }
            Command::Halt {
                flatten,
                scope,
                who,
                why,
                done,
            } => self.on_halt((flatten, scope), &who, why, done).await,
        }
    }

    async fn on_close(
        &mut self,
        inst: Option<InstId>,
        scope: Flatten,
        done: Answer,
    ) -> Result<(), StageError> {
        let refusal = if !self.protects() {
            Some("trading is off: nothing leaves, not even a close".to_owned())
        } else {
            self.work
                .unwinding
                .as_ref()
                .map(|u| format!("'{}' is under way; wait for it", u.trigger()))
        };
        if let Some(why) = refusal {
            drop(done.send(Err(why))); // whoever asked may have gone
            return Ok(());
        }
        let trigger = inst
            .as_ref()
            .map_or("close --all".to_owned(), |inst| format!("close {inst}"));
        let insts: BTreeSet<InstId> = match inst {
            Some(inst) => [inst].into(),
            None => self.market.borrow().insts.keys().cloned().collect(),
        };
        self.begin_unwind(
            trigger,
            (insts.clone(), scope),
            Some(insts),
            vec![done],
            false,
        )
        .await
    }

    async fn on_halt(
        &mut self,
        (flatten, scope): (bool, Flatten),
        who: &str,
        why: String,
        done: Option<Answer>,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let restriction = Restriction::kill(flatten, &why, now);
        let run_id = self.seal.start_run;
        self.restrict(restriction, who, run_id, now).await?;
        if !self.protects() {
            let answer = Err(
                "halted; but trading is off, so nothing leaves: neither cancels nor closes"
                    .to_owned(),
            );
            drop(done.map(|done| done.send(answer)));
            return Ok(());
        }
        if let Some(other) = self.work.unwinding.take() {
            for waiting in other.waiting {
                drop(waiting.send(Err("a halt took over".to_owned())));
            }
        }
        let trigger = format!(
            "halt{} by {who}: {why}",
            if flatten { " --flatten" } else { "" }
        );
        let insts = if flatten {
            self.market.borrow().insts.keys().cloned().collect()
        } else {
            BTreeSet::new()
        };
        self.begin_unwind(
            trigger,
            (insts, scope),
            None,
            done.into_iter().collect(),
            flatten,
        )
        .await?;
        self.unwind().await
    }

    /// A making-flat is a run with a record of what was known, like any decision.
    async fn begin_unwind(
        &mut self,
        trigger: String,
        (insts, scope): (BTreeSet<InstId>, Flatten),
        cancel: Option<BTreeSet<InstId>>,
        waiting: Vec<Answer>,
        latched: bool,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let run_id = self.seal.ids.next(now);
        info!(event = "unwind", %run_id, %trigger, "cancelling what works, and making flat what is to be flat");
        let account = self.account.borrow().clone();
        let body: Arc<str> = serde_json::json!({"command": trigger, "account": account.as_deref()})
            .to_string()
            .into();
        let run = Record::Run {
            run_id,
            kind: RunKind::Command,
            trigger: trigger.clone(),
            at: now,
            caused_by: None,
        };
        self.journal
            .post(Record::Together(vec![
                run,
                Record::Snapshot {
                    run_id,
                    as_of: now,
                    body,
                },
            ]))
            .await?;
        let unwind = Unwind::begin(
            (run_id, trigger),
            (insts, scope),
            cancel,
            self.tempo,
            self.wall(),
        );
        self.work.unwinding = Some(Unwinding {
            unwind,
            waiting,
            latched,
        });
        Ok(())
    }

    /// Carries out what is next of a making-flat, or begins one that a latch still asks for.
    pub(super) async fn unwind(&mut self) -> Result<(), StageError> {
        self.land();
        let Some(mut unwinding) = self.work.unwinding.take() else {
            return self.flatten_as_latched().await;
        };
        let steps = {
            let (orders, account, market) = (
                self.orders.borrow(),
                self.account.borrow(),
                self.market.borrow(),
            );
            let in_flight = |inst: &InstId| self.in_flight.iter().any(|o| o.inst == *inst);
            let seen = UnwindView {
                orders: &orders,
                account: account.as_deref(),
                market: &market,
                in_flight: &in_flight,
                leaving: !self.in_flight.is_empty(),
                now: self.clock.now(),
                wall: self.wall(),
            };
            unwinding.unwind.next(&seen)
        };
        let run_id = unwinding.unwind.run_id;
        for step in steps {
            match step {
                UnwindStep::Cancel(inst, order) => {
                    let ask = CancelAsk {
                        inst,
                        order,
                        run_id,
                    };
                    self.cancels
                        .send(ask)
                        .await
                        .map_err(|_| StageError::Gone("the executor"))?;
                }
                UnwindStep::ReadAccount => self.read_account.notify_one(),
                UnwindStep::Close(inst, attempt) => {
                    self.close(&inst, attempt, run_id, unwinding.unwind.scope())
                        .await?
                }
                UnwindStep::Over(report) => return self.unwound(unwinding, report).await,
            }
        }
        self.work.unwinding = Some(unwinding);
        Ok(())
    }

    async fn close(
        &mut self,
        inst: &InstId,
        attempt: u32,
        run_id: RunId,
        scope: Flatten,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let (orders, account) = (self.orders.borrow().clone(), self.account.borrow().clone());
        let Some(account) = account else {
            return Ok(());
        };
        let shown = self
            .market
            .borrow()
            .insts
            .get(inst)
            .map(|m| (Arc::clone(&m.instrument), m.quote));
        let Some((instrument, quote)) = shown else {
            return Ok(());
        };
        let closing = Closing {
            run_id,
            now,
            env: self.seal.env,
            uid: &self.seal.uid,
            install_epoch: &self.seal.install_epoch,
            account: &account,
            orders: &orders,
            scope,
        };
        let flat = flatten(&instrument, quote.as_ref(), &closing, attempt);
        if attempt == 0 {
            let rows = vec![
                Record::Decisions {
                    run_id,
                    at: now,
                    proposals: vec![flat.proposal],
                },
                Record::Allocations {
                    run_id,
                    at: now,
                    rows: vec![flat.allocation],
                },
            ];
            self.journal.post(Record::Together(rows)).await?;
        }
        let Some(intent) = flat.intent.map(Arc::new) else {
            return Ok(());
        };
        match check_permitted(intent, &instrument) {
            Ok(approved) if self.protects() => self.let_out(approved).await,
            Ok(approved) => {
                self.stop(
                    Arc::clone(approved.intent()),
                    OrderState::Suppressed,
                    Vec::new(),
                )
                .await
            }
            Err(Denied { intent, breaches }) => {
                self.stop(intent, OrderState::Blocked, breaches).await
            }
        }
    }

    async fn unwound(
        &mut self,
        unwinding: Unwinding,
        report: UnwindReport,
    ) -> Result<(), StageError> {
        let left: Vec<String> = report
            .left
            .iter()
            .filter(|l| !l.flat || !l.working.is_empty())
            .map(|l| format!("{}: {}", l.inst, l.why))
            .collect();
        if report.is_done() {
            info!(event = "unwound", run_id = %report.run_id, trigger = report.trigger, cancelled = report.cancelled,
                closes = report.closes, took_ms = report.took_ms, "done, and verified against the venue");
        } else {
            error!(event = "unwound", run_id = %report.run_id, trigger = report.trigger, left = left.join("; "),
                "something is left; see `alpha-arena positions` and the venue's page");
        }
        if unwinding.latched && report.ours_are_flat() {
            self.seen_flat(&unwinding).await?;
        }
        self.work.flatten_at = self.wall().plus(FLATTEN_PAUSE);
        for waiting in unwinding.waiting {
            drop(waiting.send(Ok(report.clone())));
        }
        Ok(())
    }

    /// Records that the positions to be made flat are flat: the restrictions stay, without the
    /// request to flatten.
    async fn seen_flat(&mut self, unwinding: &Unwinding) -> Result<(), StageError> {
        let all = self
            .market
            .borrow()
            .insts
            .keys()
            .all(|inst| unwinding.covers(inst));
        let fulfilled = |r: &Restriction| match &r.scope {
            Scope::Instrument(inst) => unwinding.covers(inst),
            Scope::System | Scope::Contender(_) => all,
        };
        let mut flat = Vec::new();
        for restriction in self
            .memory
            .restrictions
            .0
            .iter_mut()
            .filter(|r| r.flatten && fulfilled(r))
        {
            (restriction.flatten, restriction.flattened) = (false, true);
            flat.push(restriction.clone());
        }
        let (at, run_id) = (self.clock.now(), self.seal.start_run);
        for restriction in flat {
            let from = restriction.state;
            let who = "seen flat".to_owned();
            self.journal
                .append(Record::Restricted {
                    restriction,
                    from,
                    who,
                    run_id,
                    at,
                })
                .await?;
        }
        self.restrictions
            .send_replace(self.memory.restrictions.clone());
        Ok(())
    }

    /// A latch that asks for flat, from a rule or from before a crash, is obeyed until it is.
    async fn flatten_as_latched(&mut self) -> Result<(), StageError> {
        let wanted = self
            .memory
            .restrictions
            .0
            .iter()
            .find(|r| r.flatten)
            .cloned();
        let Some(restriction) = wanted else {
            return Ok(());
        };
        let reconciled = !matches!(*self.readiness.borrow(), Readiness::Reconciling(_));
        if !reconciled || !self.protects() || self.wall() < self.work.flatten_at {
            return Ok(());
        }
        let all: BTreeSet<InstId> = self.market.borrow().insts.keys().cloned().collect();
        let insts = match &restriction.scope {
            Scope::Instrument(inst) => [inst.clone()].into(),
            Scope::System | Scope::Contender(_) => all,
        };
        let cancel = matches!(restriction.scope, Scope::Instrument(_)).then(|| insts.clone());
        let scope = Flatten {
            ours_only: true,
            ..Flatten::default()
        };
        self.begin_unwind(
            format!("flatten: {}", restriction.id()),
            (insts, scope),
            cancel,
            Vec::new(),
            true,
        )
        .await
    }
}
