//! The executor's task: the only holder of the power to trade.
//!
//! For each approved intent: write it ahead (receipt), tell the tracker, wait for room, look at the
//! switch and at readiness once more, send. Whatever is not a clear answer is reported as unknown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::last_look::{Leaving, reason_not_to_send};
use super::line::{Move, OrderLine};
use super::report::{ExecutionReport, OrderEvent};
use super::stops::StopTask;
use crate::domain::record::Record;
use crate::domain::{
    Departure, InstKind, MarketView, Ms, Order, OrderId, OrderIntent, OrderState, OrdersView, RunId,
};
use crate::risk::{Approved, CancelAsk, PermissionWatch, StopWork, Verdict};
use crate::runtime::sabotage::{self, Promise};
use crate::runtime::{Actor, Beat, Clock, Shutdown, StageError, faults};
use crate::store::{IntentReceipt, Journal};
use crate::venue::CreateOutcome;

/// The executor.
pub struct Executor<L> {
    pub line: Arc<L>,
    pub permission: PermissionWatch,
    pub clock: Clock,
    pub journal: Journal,
    /// The venue drops a create that arrives later than this after its intent.
    pub expiry: Ms,
    /// Older decisions do not leave: as the gate says, once more.
    pub decision_age: Ms,
    pub verdicts: mpsc::Receiver<Verdict>,
    pub cancels: mpsc::Receiver<CancelAsk>,
    pub market: watch::Receiver<MarketView>,
    pub orders: watch::Receiver<OrdersView>,
    pub reports: mpsc::Sender<ExecutionReport>,
    pub beat: Beat,
}

/// Ask again for a cancel that has not taken effect after this long.
const CANCEL_AGAIN: Duration = Duration::from_secs(2);

impl<L: OrderLine> Actor for Executor<L> {
    async fn run(&mut self, _stop: Shutdown) -> Result<(), StageError> {
        let mut sends: JoinSet<Result<(), StageError>> = JoinSet::new();
        let mut asked: BTreeMap<String, Instant> = BTreeMap::new();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                biased;
                verdict = self.verdicts.recv() => match verdict {
                    Some(Verdict::Approved(approved)) => self.dispatch(&approved, &mut sends),
                    Some(Verdict::Stop(work)) => self.stop(work, &mut sends),
                    Some(Verdict::Denied(intent)) => self.report(intent.run_id, OrderEvent::Stopped(intent)).await?,
                    None => break,
                },
                Some(done) = sends.join_next() => done.map_err(lost)??,
                Some(ask) = self.cancels.recv() => self.cancel(ask, &mut sends),
                _ = tick.tick() => self.tidy_up(&mut sends, &mut asked),
            }
            faults::point("executor").await;
            self.beat.tick();
        }
        // What was begun is brought to an answer before we go.
        loop {
            tokio::select! {
                done = sends.join_next() => match done {
                    Some(done) => done.map_err(lost)??,
                    None => return Ok(()),
                },
                _ = tick.tick() => self.beat.tick(),
            }
        }
    }
}

fn lost(error: tokio::task::JoinError) -> StageError {
    StageError::Venue(format!("a send was lost: {error}"))
}

impl<L: OrderLine> Executor<L> {
    async fn report(&self, run_id: RunId, news: OrderEvent) -> Result<(), StageError> {
        self.reports
            .send(ExecutionReport { run_id, news })
            .await
            .map_err(|_| StageError::Gone("the tracker"))
    }

    fn cancel(&self, ask: CancelAsk, sends: &mut JoinSet<Result<(), StageError>>) {
        if self.permission.lets(Departure::Cancel) {
            sends.spawn(cancel(
                (Arc::clone(&self.line), self.permission.clone()),
                self.reports.clone(),
                self.market.clone(),
                ask,
            ));
        }
    }

    /// Carries out what protects: places, moves and cancels of stops. Off means that nothing leaves
    /// at all.
    fn stop(&self, work: StopWork, sends: &mut JoinSet<Result<(), StageError>>) {
        let Some(instrument) = self
            .market
            .borrow()
            .insts
            .get(work.inst())
            .map(|m| Arc::clone(&m.instrument))
        else {
            return;
        };
        if self.permission.lets(Departure::Protect) {
            let errand = StopTask {
                instrument,
                line: Arc::clone(&self.line),
                permission: self.permission.clone(),
                clock: self.clock.clone(),
                journal: self.journal.clone(),
                reports: self.reports.clone(),
            };
            sends.spawn(errand.run(work));
        }
    }

    fn dispatch(&self, approved: &Approved, sends: &mut JoinSet<Result<(), StageError>>) {
        let intent = approved.intent();
        let Some(instrument) = self
            .market
            .borrow()
            .insts
            .get(&intent.inst)
            .map(|m| Arc::clone(&m.instrument))
        else {
            return; // the gate has just seen it; an instrument is never removed while running
        };
        let send = SubmitTask {
            intent: Arc::clone(intent),
            permitted: approved.is_permitted(),
            instrument,
            line: Arc::clone(&self.line),
            permission: self.permission.clone(),
            clock: self.clock.clone(),
            journal: self.journal.clone(),
            expiry: self.expiry,
            decision_age: self.decision_age,
            market: self.market.clone(),
            reports: self.reports.clone(),
        };
        sends.spawn(send.run());
    }

    /// Cancels what has rested too long, and what is ours by name only.
    fn tidy_up(
        &self,
        sends: &mut JoinSet<Result<(), StageError>>,
        asked: &mut BTreeMap<String, Instant>,
    ) {
        let now = self.clock.now();
        asked.retain(|_, at| at.elapsed() < CANCEL_AGAIN);
        // Off means that nothing leaves at all, not even a cancel.
        if !self.permission.lets(Departure::Cancel) {
            return;
        }
        let orders = self.orders.borrow();
        let due = orders.open.values().filter(|o| {
            matches!(
                o.state,
                OrderState::Acked | OrderState::PartiallyFilled | OrderState::CancelRequested
            ) && (o.state == OrderState::CancelRequested
                || o.cancel_after.is_some_and(|at| now >= at))
        });
        for order in due {
            if asked.contains_key(order.id.as_str()) {
                continue;
            }
            asked.insert(order.id.as_str().to_owned(), Instant::now());
            let ask = CancelAsk {
                inst: order.inst.clone(),
                order: order.id.clone(),
                run_id: order.run_id,
            };
            sends.spawn(cancel(
                (Arc::clone(&self.line), self.permission.clone()),
                self.reports.clone(),
                self.market.clone(),
                ask,
            ));
        }
        for stray in &orders.strays {
            if asked.contains_key(&stray.cl_ord_id) {
                continue;
            }
            asked.insert(stray.cl_ord_id.clone(), Instant::now());
            let (line, permission, stray) = (
                Arc::clone(&self.line),
                self.permission.clone(),
                stray.clone(),
            );
            sends.spawn(async move {
                line.room_to_cancel(&stray.inst).await;
                if !permission.lets(Departure::Cancel) {
                    return Ok(());
                }
                let outcome = line.cancel(&stray.inst, None, &stray.cl_ord_id).await;
                warn!(event = "stray_cancel", cl_ord_id = stray.cl_ord_id, inst = %stray.inst, ?outcome, "cancelling an order that we do not know");
                Ok(())
            });
        }
    }
}

async fn cancel<L: OrderLine>(
    (line, permission): (Arc<L>, PermissionWatch),
    reports: mpsc::Sender<ExecutionReport>,
    market: watch::Receiver<MarketView>,
    ask: CancelAsk,
) -> Result<(), StageError> {
    let CancelAsk {
        order,
        inst,
        run_id,
    } = ask;
    let instrument = market
        .borrow()
        .insts
        .get(&inst)
        .map(|m| Arc::clone(&m.instrument));
    line.room_to_cancel(&inst).await;
    if !permission.lets(Departure::Cancel) {
        return Ok(()); // off since: nothing leaves at all
    }
    let outcome = line
        .cancel(&inst, instrument.as_deref(), order.as_str())
        .await;
    faults::point("executor_cancelled").await;
    info!(event = "cancel_asked", %run_id, cl_ord_id = %order, %inst, ?outcome, "asked the venue to cancel");
    reports
        .send(ExecutionReport {
            run_id,
            news: OrderEvent::CancelAsked(order, outcome),
        })
        .await
        .map_err(|_| StageError::Gone("the tracker"))
}

/// One order on its way out.
struct SubmitTask<L> {
    intent: Arc<OrderIntent>,
    permitted: bool,
    /// As it was when the gate approved.
    instrument: Arc<crate::domain::Instrument>,
    line: Arc<L>,
    permission: PermissionWatch,
    clock: Clock,
    journal: Journal,
    expiry: Ms,
    decision_age: Ms,
    market: watch::Receiver<MarketView>,
    reports: mpsc::Sender<ExecutionReport>,
}

impl<L: OrderLine> SubmitTask<L> {
    async fn run(self) -> Result<(), StageError> {
        if let Some(order) = &self.intent.moves {
            return self.move_order(order).await;
        }
        let id = OrderId::from(&self.intent.cl_ord_id);
        let now = self.clock.now();
        let expires_at = now.plus(self.expiry);
        faults::point("intent_before").await;
        let Some(receipt) = self
            .journal
            .intend(Arc::clone(&self.intent), expires_at, now)
            .await?
        else {
            warn!(event = "order_duplicate", cl_ord_id = %id, "this decision was carried out before; not sent again");
            return self.report(OrderEvent::Stopped(self.intent.clone())).await;
        };
        faults::point("intent_durable").await;
        let order = Order::intended(&self.intent, now, Some(expires_at));
        // The tracker must know the order before the venue can speak of it.
        self.report(OrderEvent::Intended(
            Box::new(order),
            Arc::clone(&self.intent),
        ))
        .await?;
        self.line.room_to_create(&self.intent.inst).await;
        if let Some(why) = self.reason_to_stop(expires_at) {
            warn!(event = "order_not_sent", cl_ord_id = %id, %why, "stopped at the last moment");
            return self.report(OrderEvent::NotSent(id, why)).await;
        }
        self.report(OrderEvent::Sending(id.clone())).await?;
        faults::point("executor_send").await;
        let outcome = self.create(receipt, expires_at).await;
        faults::point("executor_answered").await;
        match &outcome {
            CreateOutcome::Accepted(venue_id) => {
                info!(event = "order_accepted", run_id = %self.intent.run_id, cl_ord_id = %id, %venue_id, inst = %self.intent.inst,
                    side = self.intent.side.as_str(), qty = %self.intent.qty, "the venue has it");
            }
            CreateOutcome::Rejected { code, msg, .. } => {
                warn!(event = "order_rejected", run_id = %self.intent.run_id, cl_ord_id = %id, inst = %self.intent.inst, %code, %msg, "the venue refused it");
            }
            CreateOutcome::Unknown(why) => {
                warn!(event = "order_unknown", run_id = %self.intent.run_id, cl_ord_id = %id, inst = %self.intent.inst, %why, "no clear answer; asking the venue");
            }
        }
        self.report(OrderEvent::Answered(id, outcome)).await
    }

    /// The instrument under the rules of now; they may have changed while the order waited.
    fn instrument(&self) -> Arc<crate::domain::Instrument> {
        let market = self.market.borrow();
        market.insts.get(&self.intent.inst).map_or_else(
            || Arc::clone(&self.instrument),
            |m| Arc::clone(&m.instrument),
        )
    }

    fn reason_to_stop(&self, expires_at: Ms) -> Option<String> {
        if sabotage::breaks(Promise::P5) {
            return None;
        }
        let price = || {
            self.market
                .borrow()
                .insts
                .get(&self.intent.inst)?
                .mark_or_mid()
        };
        let instrument = self.instrument();
        let leaving = Leaving {
            opening: self.intent.is_opening(),
            is_move: self.intent.moves.is_some(),
            reduce_only: self.intent.reduce_only || instrument.kind == InstKind::Spot,
            permitted: self.permitted,
            decided: (self.intent.decided_at, self.decision_age),
            good_for: self.intent.good_for.map(|good_for| (good_for, price())),
            unfit: instrument.why_unfit(self.intent.qty, self.intent.limit),
        };
        let (contender, inst) = (&self.intent.contender, &self.intent.inst);
        self.permission.ask(|permission| {
            let leave = permission.leave(leaving.departure(), contender, inst);
            reason_not_to_send(&leave, leaving, self.clock.now(), expires_at)
        })
    }

    /// Moves a resting order to another price: written ahead, looked at once more, asked for once.
    /// Whatever comes back, the venue's next word on the order says where it rests.
    async fn move_order(&self, order: &OrderId) -> Result<(), StageError> {
        let Some(limit) = self.intent.limit else {
            return Ok(());
        };
        let now = self.clock.now();
        let expires_at = now.plus(self.expiry);
        let ahead = Record::MoveAhead {
            order_id: order.clone(),
            run_id: self.intent.run_id,
            limit,
            at: now,
        };
        self.journal.append(ahead).await?;
        faults::point("move_ahead").await;
        self.report(OrderEvent::Moving(order.clone(), limit))
            .await?;
        self.line.room_to_create(&self.intent.inst).await;
        if let Some(why) = self.reason_to_stop(expires_at) {
            warn!(event = "move_not_sent", cl_ord_id = %order, %why, "stopped at the last moment");
            return self.report(OrderEvent::NotMoved(order.clone())).await;
        }
        let asked = Move {
            order: order.clone(),
            limit,
            request: self.intent.cl_ord_id.clone(),
        };
        let outcome = self
            .line
            .amend(&self.instrument(), &asked, expires_at)
            .await;
        self.report(OrderEvent::MoveAsked(order.clone(), limit, outcome))
            .await
    }

    async fn report(&self, news: OrderEvent) -> Result<(), StageError> {
        let report = ExecutionReport {
            run_id: self.intent.run_id,
            news,
        };
        self.reports
            .send(report)
            .await
            .map_err(|_| StageError::Gone("the tracker"))
    }

    /// Sends it. Consumes the receipt: there is no second time.
    async fn create(&self, receipt: IntentReceipt, expires_at: Ms) -> CreateOutcome {
        assert_eq!(
            receipt.cl_ord_id(),
            &self.intent.cl_ord_id,
            "a receipt stands for its own intent only"
        );
        let outcome = self
            .line
            .create(&self.intent, &self.instrument(), expires_at)
            .await;
        match outcome {
            CreateOutcome::Unknown(_) if sabotage::breaks(Promise::P2) => {
                self.line
                    .create(&self.intent, &self.instrument(), expires_at)
                    .await
            }
            CreateOutcome::Unknown(why) if sabotage::breaks(Promise::P3) => {
                CreateOutcome::Rejected {
                    code: "sabotage".into(),
                    msg: why,
                    stop: false,
                }
            }
            outcome => outcome,
        }
    }
}
