//! The risk gate's task: sole owner of the limits. Decides with `rules::check`, nothing else.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use super::latch::Latch;
use super::rules::{Approved, Limits, Refused, View, check};
use crate::allocation::IntentBatch;
use crate::domain::record::{Breach, Record};
use crate::domain::{
    AccountView, ContenderId, InstId, MarketView, OrderId, OrderIntent, OrderState, OrdersView, Readiness,
};
use crate::runtime::{Actor, Beat, Clock, StageError, Stop, faults};
use crate::store::Journal;

/// What the gate says of one intent; the executor carries out the first and passes on the second.
#[derive(Debug)]
pub enum Verdict {
    Approved(Approved),
    /// Recorded, and ended here: blocked or suppressed.
    Stopped(Arc<OrderIntent>),
}

/// The gate.
pub struct Gate {
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
            self.in_flight.retain(|(key, id)| seen.get(key) != Some(id));
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
                    self.in_flight.push((key, OrderId::from(&intent.cl_ord_id)));
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
