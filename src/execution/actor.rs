//! The executor's task: the only holder of the power to trade.
//!
//! For each approved intent: write it ahead (receipt), tell the tracker, wait for room, look at the
//! latch and at readiness once more, send. Whatever is not a clear answer is reported as unknown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::last_look::reason_not_to_send;
use crate::domain::view::{IdleStop, OpenOrder};
use crate::domain::{MarketView, Ms, Order, OrderId, OrderIntent, OrderState, OrdersView, Readiness, RunId};
use crate::risk::{Latch, Verdict};
use crate::runtime::{Actor, Beat, Clock, StageError, Stop, faults};
use crate::store::{IntentReceipt, Journal};
use crate::venue::{CancelOutcome, CreateOutcome, OrderSocket, Trading};

/// What the executor tells the tracker, in the order it happened to each order.
#[derive(Debug)]
pub struct Report {
    /// The run that made the order.
    pub run_id: RunId,
    pub news: News,
}

/// One piece of news about an order.
#[derive(Debug)]
pub enum News {
    /// Durable; bytes may follow.
    Intended(Box<Order>, Arc<OrderIntent>),
    /// Recorded and ended without the executor: blocked, suppressed, or carried out before.
    Stopped(Arc<OrderIntent>),
    /// The attempt to send begins.
    Sending(OrderId),
    /// It did not leave us, for this reason.
    NotSent(OrderId, String),
    /// The venue's answer to the create, or the lack of one.
    Answered(OrderId, CreateOutcome),
    /// A cancel was asked for, with what the venue said.
    CancelAsked(OrderId, CancelOutcome),
    /// A stop's cancel was asked for.
    StopCancelAsked(String),
}

/// How order operations travel.
pub struct Line {
    pub rest: Trading,
    /// Used while it is up, if configured.
    pub socket: Option<OrderSocket>,
}

/// The executor.
pub struct Executor {
    pub line: Arc<Line>,
    pub latch: Latch,
    pub clock: Clock,
    pub journal: Journal,
    /// The venue drops a create that arrives later than this after its intent.
    pub expiry: Ms,
    pub verdicts: mpsc::Receiver<Verdict>,
    pub market: watch::Receiver<MarketView>,
    pub orders: watch::Receiver<OrdersView>,
    pub readiness: watch::Receiver<Readiness>,
    pub reports: mpsc::Sender<Report>,
    pub beat: Beat,
}

/// Ask again for a cancel that has not taken effect after this long.
const CANCEL_AGAIN: Duration = Duration::from_secs(2);

impl Actor for Executor {
    async fn run(&mut self, _stop: Stop) -> Result<(), StageError> {
        let mut sends: JoinSet<Result<(), StageError>> = JoinSet::new();
        let mut asked: BTreeMap<String, Instant> = BTreeMap::new();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                biased;
                verdict = self.verdicts.recv() => match verdict {
                    Some(Verdict::Approved(approved)) => self.dispatch(approved.intent(), &mut sends),
                    Some(Verdict::Stopped(intent)) => self.report(intent.run_id, News::Stopped(intent)).await?,
                    None => break,
                },
                Some(done) = sends.join_next() => done.map_err(lost)??,
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

impl Executor {
    async fn report(&self, run_id: RunId, news: News) -> Result<(), StageError> {
        self.reports.send(Report { run_id, news }).await.map_err(|_| StageError::Gone("the tracker"))
    }

    fn dispatch(&self, intent: &Arc<OrderIntent>, sends: &mut JoinSet<Result<(), StageError>>) {
        let Some(instrument) = self.market.borrow().insts.get(&intent.inst).map(|m| Arc::clone(&m.instrument)) else {
            return; // the gate has just seen it; an instrument is never removed while running
        };
        let send = Send {
            intent: Arc::clone(intent),
            instrument,
            line: Arc::clone(&self.line),
            latch: self.latch.clone(),
            clock: self.clock.clone(),
            journal: self.journal.clone(),
            expiry: self.expiry,
            readiness: self.readiness.clone(),
            reports: self.reports.clone(),
        };
        sends.spawn(send.run());
    }

    /// Cancels what has rested too long, and stops that protect nothing any more.
    fn tidy_up(&self, sends: &mut JoinSet<Result<(), StageError>>, asked: &mut BTreeMap<String, Instant>) {
        let now = self.clock.now();
        asked.retain(|_, at| at.elapsed() < CANCEL_AGAIN);
        // Off means that nothing leaves at all, not even a cancel.
        if !self.latch.is_on() {
            return;
        }
        let reconciled = *self.readiness.borrow() == Readiness::Ready;
        let orders = self.orders.borrow();
        let due = orders.open.values().filter(|o| {
            matches!(o.state, OrderState::Acked | OrderState::PartiallyFilled | OrderState::CancelRequested)
                && o.cancel_after.is_some_and(|at| now >= at)
        });
        for order in due {
            if asked.contains_key(order.id.as_str()) {
                continue;
            }
            asked.insert(order.id.as_str().to_owned(), Instant::now());
            sends.spawn(cancel(Arc::clone(&self.line), self.reports.clone(), self.market.clone(), order.clone()));
        }
        for stop in orders.idle_stops.iter().filter(|_| reconciled) {
            if asked.contains_key(&stop.algo_id) {
                continue;
            }
            asked.insert(stop.algo_id.clone(), Instant::now());
            sends.spawn(cancel_stop(Arc::clone(&self.line), self.reports.clone(), stop.clone()));
        }
    }
}

async fn cancel_stop(line: Arc<Line>, reports: mpsc::Sender<Report>, stop: IdleStop) -> Result<(), StageError> {
    let IdleStop { inst, algo_id, run_id } = stop;
    if let CancelOutcome::Again(why) = line.rest.cancel_algo(&inst, &algo_id).await {
        warn!(event = "stop_cancel_failed", %run_id, %inst, algo_id, %why, "a stop could not be cancelled; asking again");
        return Ok(());
    }
    let report = Report { run_id, news: News::StopCancelAsked(algo_id) };
    reports.send(report).await.map_err(|_| StageError::Gone("the tracker"))
}

async fn cancel(
    line: Arc<Line>,
    reports: mpsc::Sender<Report>,
    market: watch::Receiver<MarketView>,
    order: OpenOrder,
) -> Result<(), StageError> {
    let OpenOrder { id: order, inst, run_id, .. } = order;
    let instrument = market.borrow().insts.get(&inst).map(|m| Arc::clone(&m.instrument));
    line.rest.room_to_cancel(&inst).await;
    let outcome = match (&line.socket, instrument) {
        (Some(socket), Some(instrument)) if socket.is_up() => socket.cancel(&instrument, order.as_str()).await,
        _ => line.rest.cancel(&inst, order.as_str()).await,
    };
    info!(event = "cancel_asked", %run_id, cl_ord_id = %order, %inst, ?outcome, "asked the venue to cancel");
    reports
        .send(Report { run_id, news: News::CancelAsked(order, outcome) })
        .await
        .map_err(|_| StageError::Gone("the tracker"))
}

/// One order on its way out.
struct Send {
    intent: Arc<OrderIntent>,
    instrument: Arc<crate::domain::Instrument>,
    line: Arc<Line>,
    latch: Latch,
    clock: Clock,
    journal: Journal,
    expiry: Ms,
    readiness: watch::Receiver<Readiness>,
    reports: mpsc::Sender<Report>,
}

impl Send {
    async fn run(self) -> Result<(), StageError> {
        let id = OrderId::from(&self.intent.cl_ord_id);
        let now = self.clock.now();
        let expires_at = now.plus(self.expiry);
        let Some(receipt) = self.journal.intend(Arc::clone(&self.intent), expires_at, now).await? else {
            warn!(event = "order_duplicate", cl_ord_id = %id, "this decision was carried out before; not sent again");
            return self.report(News::Stopped(self.intent.clone())).await;
        };
        let order = Order::intended(&self.intent, now, Some(expires_at));
        // The tracker must know the order before the venue can speak of it.
        self.report(News::Intended(Box::new(order), Arc::clone(&self.intent))).await?;
        self.line.rest.room_to_create(&self.intent.inst).await;
        let why = reason_not_to_send(
            self.latch.is_on(),
            &self.readiness.borrow(),
            self.intent.is_opening(),
            self.clock.now(),
            expires_at,
        );
        if let Some(why) = why {
            warn!(event = "order_not_sent", cl_ord_id = %id, %why, "stopped at the last moment");
            return self.report(News::NotSent(id, why)).await;
        }
        self.report(News::Sending(id.clone())).await?;
        faults::point("executor_send").await;
        let outcome = self.create(receipt, expires_at).await;
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
        self.report(News::Answered(id, outcome)).await
    }

    async fn report(&self, news: News) -> Result<(), StageError> {
        let report = Report { run_id: self.intent.run_id, news };
        self.reports.send(report).await.map_err(|_| StageError::Gone("the tracker"))
    }

    /// Sends it. Consumes the receipt: there is no second time.
    async fn create(&self, receipt: IntentReceipt, expires_at: Ms) -> CreateOutcome {
        assert_eq!(receipt.cl_ord_id(), &self.intent.cl_ord_id, "a receipt stands for its own intent only");
        match &self.line.socket {
            Some(socket) if socket.is_up() => socket.create(&self.intent, &self.instrument, expires_at).await,
            _ => self.line.rest.create(&self.intent, &self.instrument, expires_at).await,
        }
    }
}
