//! The risk gate's task: sole owner of the limits. Decides with `rules::check`, nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::flatten::{Closing, Flat, flatten, to_close};
use super::latch::Latch;
use super::rules::{Approved, Limits, Refused, View, check, check_flatten};
use crate::allocation::IntentBatch;
use crate::domain::record::{Breach, Record, RunKind};
use crate::domain::{
    AccountView, ContenderId, InstId, Instrument, MarketView, OrderId, OrderIntent, OrderState, OrdersView, Readiness,
    RunId,
};
use crate::runtime::{Actor, Beat, Clock, RunIds, StageError, Stop, faults};
use crate::store::Journal;

/// What the gate says of one intent; the executor carries out the first and passes on the second.
#[derive(Debug)]
pub enum Verdict {
    Approved(Approved),
    /// Recorded, and ended here: blocked or suppressed.
    Stopped(Arc<OrderIntent>),
}

/// What is to be cancelled, and for which run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelAsk {
    pub inst: InstId,
    /// Our name of the order.
    pub order: OrderId,
    pub run_id: RunId,
}

/// A person wants positions closed.
#[derive(Debug)]
pub struct CloseAsk {
    /// One instrument, or all that hold anything.
    pub inst: Option<InstId>,
    pub done: oneshot::Sender<Result<Closed, String>>,
}

/// What a close has begun.
#[derive(Clone, Debug)]
pub struct Closed {
    pub run_id: RunId,
    /// For each instrument, the order that was handed on, or why there is none.
    pub orders: Vec<(InstId, Option<OrderId>, String)>,
}

/// What goes into client order ids besides the decision itself, and the source of run ids.
#[derive(Clone, Debug)]
pub struct Seal {
    pub env: char,
    pub uid: String,
    pub install_epoch: String,
    pub ids: Arc<RunIds>,
}

/// The gate.
pub struct Gate {
    pub seal: Seal,
    pub closes: mpsc::Receiver<CloseAsk>,
    pub cancels: mpsc::Sender<CancelAsk>,
    pub limits: Limits,
    pub latch: Latch,
    pub clock: Clock,
    pub journal: Journal,
    pub batches: mpsc::Receiver<IntentBatch>,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub readiness: watch::Receiver<Readiness>,
    pub verdicts: mpsc::Sender<Verdict>,
    /// Approved, and not yet seen by the tracker.
    pub in_flight: Vec<((ContenderId, InstId), OrderId)>,
    pub beat: Beat,
}

impl Actor for Gate {
    async fn run(&mut self, _stop: Stop) -> Result<(), StageError> {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                batch = self.batches.recv() => match batch {
                    Some(batch) => self.on_batch(batch).await?,
                    None => return Ok(()),
                },
                Some(ask) = self.closes.recv() => self.on_close(ask).await?,
                _ = tick.tick() => {}
            }
            faults::point("gate").await;
            self.beat.tick();
        }
    }
}

impl Gate {
    async fn on_batch(&mut self, batch: IntentBatch) -> Result<(), StageError> {
        for intent in batch.intents {
            let seen = self.orders.borrow().latest.clone();
            self.in_flight.retain(|(key, id)| seen.get(key).map(|latest| &latest.id) != Some(id));
            match self.judge(Arc::clone(&intent), self.in_flight.len()) {
                // Created in full, recorded, never sent.
                Ok(_) if !self.latch.is_on() => {
                    let off = Breach { code: "trading_off".into(), limit: "on".into(), value: "off".into() };
                    info!(event = "order_suppressed", run_id = %batch.run_id, cl_ord_id = %intent.cl_ord_id, inst = %intent.inst,
                        side = intent.side.as_str(), qty = %intent.qty, "trading is off: recorded, not sent");
                    self.stop(intent, OrderState::Suppressed, vec![off]).await?;
                }
                Ok(approved) => {
                    let key = (intent.contender.clone(), intent.inst.clone());
                    if intent.moves.is_none() {
                        self.in_flight.push((key, OrderId::from(&intent.cl_ord_id)));
                    }
                    self.send(Verdict::Approved(approved)).await?;
                }
                Err(Refused { intent, breaches }) => {
                    let codes: Vec<&str> = breaches.iter().map(|b| b.code.as_str()).collect();
                    warn!(event = "order_blocked", run_id = %batch.run_id, cl_ord_id = %intent.cl_ord_id, inst = %intent.inst,
                        contender = %intent.contender, codes = codes.join(" "), "the risk gate blocked an order");
                    self.stop(intent, OrderState::Blocked, breaches).await?;
                }
            }
        }
        Ok(())
    }

    /// Cancels what works in the instruments, then sends what makes them flat. Each close is a run with its own record
    /// of what was known, like any decision.
    async fn on_close(&mut self, ask: CloseAsk) -> Result<(), StageError> {
        let answer = if self.latch.is_on() {
            match self.account.borrow().clone() {
                Some(account) => Ok(account),
                None => Err("the account has not been read yet; try again in a moment".to_owned()),
            }
        } else {
            Err("trading is off: nothing leaves, not even a close".to_owned())
        };
        let account = match answer {
            Ok(account) => account,
            Err(why) => {
                drop(ask.done.send(Err(why)));
                return Ok(());
            }
        };
        let (now, orders) = (self.clock.now(), self.orders.borrow().clone());
        let closing =
            |inst: &InstId| orders.open.values().any(|o| o.inst == *inst && o.contender == ContenderId::system());
        let insts = to_close(ask.inst.as_ref(), &orders, &account);
        if let Some(inst) = insts.iter().find(|inst| closing(inst)) {
            drop(ask.done.send(Err(format!("a close of {inst} is under way"))));
            return Ok(());
        }
        let run_id = self.seal.ids.next(now);
        let closing = Closing {
            run_id,
            now,
            env: self.seal.env,
            uid: &self.seal.uid,
            install_epoch: &self.seal.install_epoch,
            account: &account,
            orders: &orders,
        };
        let mut flats: Vec<(Flat, Arc<Instrument>)> = Vec::new();
        for inst in &insts {
            let market = self.market.borrow();
            if let Some(shown) = market.insts.get(inst) {
                flats.push((flatten(&shown.instrument, shown.quote.as_ref(), &closing), Arc::clone(&shown.instrument)));
            }
        }
        let trigger = ask.inst.as_ref().map_or("close --all".to_owned(), |inst| format!("close {inst}"));
        let body: Arc<str> = serde_json::json!({"command": trigger, "account": &*account}).to_string().into();
        let rows = vec![
            Record::Run { run_id, kind: RunKind::Command, trigger, at: now, caused_by: None },
            Record::Snapshot { run_id, as_of: now, body },
            Record::Decisions { run_id, at: now, proposals: flats.iter().map(|(f, _)| f.proposal.clone()).collect() },
            Record::Allocations { run_id, at: now, rows: flats.iter().map(|(f, _)| f.allocation.clone()).collect() },
        ];
        self.journal.post(Record::Together(rows)).await?;
        for order in orders.open.values().filter(|o| insts.contains(&o.inst) && !o.state.is_final()) {
            let wish = CancelAsk { inst: order.inst.clone(), order: order.id.clone(), run_id };
            self.cancels.send(wish).await.map_err(|_| StageError::Gone("the executor"))?;
        }
        let mut closed = Closed { run_id, orders: Vec::new() };
        for (flat, instrument) in flats {
            let (inst, why) = (flat.allocation.inst.clone(), flat.allocation.reason.clone());
            let Some(intent) = flat.intent.map(Arc::new) else {
                closed.orders.push((inst, None, why));
                continue;
            };
            closed.orders.push((inst, Some(OrderId::from(&intent.cl_ord_id)), why));
            match check_flatten(intent, &instrument) {
                Ok(approved) => self.send(Verdict::Approved(approved)).await?,
                Err(Refused { intent, breaches }) => self.stop(intent, OrderState::Blocked, breaches).await?,
            }
        }
        drop(ask.done.send(Ok(closed))); // whoever asked may have gone
        Ok(())
    }

    fn judge(&self, intent: Arc<OrderIntent>, in_flight: usize) -> Result<Approved, Refused> {
        let market = self.market.borrow();
        let Some(shown) = market.insts.get(&intent.inst) else {
            let breach =
                Breach { code: "instrument_unknown".into(), limit: "listed".into(), value: intent.inst.to_string() };
            return Err(Refused { intent, breaches: vec![breach] });
        };
        let view = View {
            now: self.clock.now(),
            instrument: &shown.instrument,
            quote: shown.quote.as_ref(),
            account_as_of: self.account.borrow().as_ref().map(|a| a.as_of),
            orders: &self.orders.borrow(),
            readiness: &self.readiness.borrow(),
            in_flight,
        };
        check(intent, &view, &self.limits)
    }

    async fn stop(&self, intent: Arc<OrderIntent>, state: OrderState, breaches: Vec<Breach>) -> Result<(), StageError> {
        let at = self.clock.now();
        self.journal.post(Record::Stopped { intent: Arc::clone(&intent), state, breaches, at }).await?;
        self.send(Verdict::Stopped(intent)).await
    }

    async fn send(&self, verdict: Verdict) -> Result<(), StageError> {
        self.verdicts.send(verdict).await.map_err(|_| StageError::Gone("the executor"))
    }
}
