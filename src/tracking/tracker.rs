//! The order tracker's task: the single owner of order truth. Hears the executor and the venue's own
//! stream, asks by REST at start, after each reconnect and on a rhythm, and writes every transition.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::ledger::{Foreign, Ledger, Outcome};
use super::sweep::{Question, Sweep, Wanted, look_everywhere, sweep};
use crate::domain::record::Record;
use crate::domain::{ClOrdId, InstKind, MarketView, Ms, Order, OrderId, OrdersView, Readiness, RunId};
use crate::execution::{News, Report};
use crate::runtime::{Actor, Beat, Clock, StageError, Stop, faults};
use crate::store::Journal;
use crate::venue::{
    OrderPush, Stream, StreamConfig, StreamEvent, Subscription, Venue, VenueError, parse_algos, parse_orders,
};

/// The tracker.
pub struct Tracker {
    pub venue: Venue,
    pub clock: Clock,
    pub ws: String,
    pub stream: StreamConfig,
    pub journal: Journal,
    pub ledger: Ledger,
    pub fills_cursor: Option<String>,
    /// The run of this start: what reconciliation does is booked to it.
    pub start_run: RunId,
    pub orders_every: Ms,
    pub fills_every: Ms,
    /// "Not found" counts as proof only this long after an order's expiry.
    pub absent_after: Ms,
    pub reports: mpsc::Receiver<Report>,
    pub market: watch::Receiver<MarketView>,
    pub view: watch::Sender<OrdersView>,
    pub readiness: watch::Sender<Readiness>,
    /// Told when fills arrive, so that the account is read soon.
    pub nudge: watch::Sender<u64>,
    pub beat: Beat,
}

/// Between two passes of a proof of absence, venue time.
const PASSES_APART: Ms = Ms::secs(5);
/// The first questions about an unknown order, wall time; then every 2.5 s.
const ASK_AT: [u64; 4] = [300, 600, 1200, 2400];
const ASK_EVERY: Duration = Duration::from_millis(2500);
/// After the executor has gone, wait this long for orders that do not rest to end.
const LINGER: Duration = Duration::from_secs(3);
/// How often a sweep may fail in a row before a person is told.
const SWEEPS_FAILED: u32 = 5;

/// An answer that was asked for on the side, so that nothing waits for the network.
enum Answer {
    Sweep(Result<Sweep, VenueError>),
    Order { id: OrderId, pass: bool, result: Result<Option<OrderPush>, VenueError> },
    Fills { id: OrderId, result: Result<Vec<crate::venue::FillReport>, VenueError> },
}

/// When to ask about an unknown order next, and how far its proof of absence is.
#[derive(Debug, Clone)]
struct Inquiry {
    asked: usize,
    next: Instant,
    in_flight: bool,
    /// Venue time of the first pass that found it nowhere.
    first_pass: Option<Ms>,
}

#[derive(Default)]
struct Work {
    answers: JoinSet<Answer>,
    inquiries: BTreeMap<OrderId, Inquiry>,
    fills_asked: BTreeMap<OrderId, Instant>,
    sweeping: bool,
    /// Grows each time a private stream comes up or goes down: a sweep that began before proves nothing after.
    epoch: u64,
    failed: u32,
    last_sweep: Option<Instant>,
    private_up: bool,
}

impl Actor for Tracker {
    async fn run(&mut self, _stop: Stop) -> Result<(), StageError> {
        let mut work = Work::default();
        let mut private = self.open("private", "orders", "ANY");
        let mut business = self.open("business", "orders-algo", "ANY");
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut leaving: Option<Instant> = None;
        self.publish();
        loop {
            tokio::select! {
                biased;
                report = self.reports.recv(), if leaving.is_none() => match report {
                    Some(report) => self.on_report(report).await?,
                    None => leaving = Some(Instant::now() + LINGER),
                },
                event = private.next() => self.on_private(event, &mut work).await?,
                event = business.next() => self.on_business(event, &mut work).await?,
                Some(answer) = work.answers.join_next() => match answer {
                    Ok(answer) => self.on_answer(answer, &mut work).await?,
                    Err(lost) => return Err(StageError::Venue(format!("a question was lost: {lost}"))),
                },
                _ = tick.tick() => self.on_tick(&mut work),
            }
            faults::point("tracker").await;
            self.beat.tick();
            if leaving.is_some_and(|until| Instant::now() >= until || self.only_resting()) {
                return Ok(());
            }
        }
    }
}

impl Tracker {
    fn open(&self, kind: &str, channel: &str, inst_type: &str) -> Stream {
        let config = StreamConfig {
            url: format!("{}/{kind}", self.ws),
            subscriptions: vec![Subscription::private(channel, inst_type)],
            signer: self.venue.signer().cloned(),
            ..self.stream.clone()
        };
        Stream::open(config, self.clock.clone())
    }

    /// Nothing is on its way any more; what rests may rest.
    fn only_resting(&self) -> bool {
        self.ledger.live().all(|o| o.ttl.is_some() && o.venue_id.is_some())
    }

    fn publish(&self) {
        self.view.send_replace(self.ledger.view());
    }

    async fn keep(&mut self, outcome: Outcome) -> Result<(), StageError> {
        let records = match outcome {
            Ok(records) => records,
            // Starting again would meet the same contradiction: stay up, trade nothing, call a person.
            Err(contradiction) => return self.halt(None, contradiction.to_string()).await,
        };
        let mut filled = false;
        for record in records {
            match &record {
                Record::Fill(fill) => {
                    filled = true;
                    info!(event = "fill", run_id = %fill.run_id, cl_ord_id = %fill.order_id, contender = %fill.contender,
                        inst = %fill.inst, side = fill.side.as_str(), qty = %fill.qty, price = %fill.price, fee = %fill.fee,
                        fee_ccy = %fill.fee_ccy, "filled");
                }
                Record::Transition(step) if step.to.is_final() => {
                    info!(event = "order_ended", run_id = %step.run_id, cl_ord_id = %step.order_id, state = %step.to,
                        filled = %step.filled, evidence = %step.evidence, "an order has ended");
                }
                _ => {}
            }
            self.journal.post(record).await?;
        }
        self.publish();
        if filled {
            self.nudge.send_modify(|n| *n += 1);
        }
        Ok(())
    }

    async fn on_report(&mut self, report: Report) -> Result<(), StageError> {
        let now = self.clock.now();
        let outcome = match report.news {
            News::Intended(order, intent) => Ok(self.ledger.intended(*order, &intent, now)),
            News::Stopped(intent) => {
                self.ledger.note_latest(&intent);
                Ok(Vec::new())
            }
            News::Sending(id) => self.ledger.sending(&id, now),
            News::NotSent(id, why) => self.ledger.not_sent(&id, &why, now),
            News::Answered(id, outcome) => {
                let stop = matches!(&outcome, crate::venue::CreateOutcome::Rejected { stop: true, .. });
                if stop {
                    self.halt(None, format!("the venue refuses orders: {outcome:?}")).await?;
                }
                self.ledger.answered(&id, &outcome, now)
            }
            News::CancelAsked(id, outcome) => Ok(self.ledger.cancel_asked(&id, &format!("{outcome:?}"), now)),
            News::StopCancelAsked(algo) => {
                self.ledger.stop_cancel_asked(&algo);
                Ok(Vec::new())
            }
        };
        self.keep(outcome).await
    }

    async fn on_private(&mut self, event: Option<StreamEvent>, work: &mut Work) -> Result<(), StageError> {
        match event {
            Some(StreamEvent::Up) => {
                work.private_up = true;
                work.epoch += 1;
                self.begin_sweep(work);
            }
            Some(StreamEvent::Down(why)) => {
                work.private_up = false;
                work.epoch += 1;
                self.set_readiness(Readiness::Reconciling(format!("the private stream is down: {why}"))).await?;
            }
            Some(StreamEvent::Push { data, .. }) => match parse_orders(data.get()) {
                Ok(pushes) => {
                    for push in pushes {
                        self.on_order(&push, "orders channel").await?;
                    }
                }
                // What we cannot read may be a fill: ask for everything.
                Err(problem) => {
                    warn!(event = "push_refused", %problem, "an order push that cannot be read; asking by REST");
                    self.begin_sweep(work);
                }
            },
            Some(StreamEvent::ConnCount { channel, count }) if count > 1 => {
                warn!(event = "second_listener", %channel, count, "another connection of this account listens to its orders; a second bot?");
            }
            Some(StreamEvent::Refused { code, msg }) => return Err(StageError::Refused(format!("{code} {msg}"))),
            Some(_) => {}
            None => return Err(StageError::Gone("the private stream")),
        }
        Ok(())
    }

    async fn on_business(&mut self, event: Option<StreamEvent>, work: &mut Work) -> Result<(), StageError> {
        match event {
            // What happened to stops while nobody listened is in the lists.
            Some(StreamEvent::Up) => {
                work.epoch += 1;
                self.begin_sweep(work);
                Ok(())
            }
            Some(StreamEvent::Push { data, .. }) => match parse_algos(data.get()) {
                Ok(pushes) => {
                    let now = self.clock.now();
                    let records = pushes.iter().filter_map(|push| self.ledger.on_algo(push, now)).collect();
                    self.keep(Ok(records)).await
                }
                Err(problem) => {
                    warn!(event = "push_refused", %problem, "a stop's push that cannot be read");
                    Ok(())
                }
            },
            Some(StreamEvent::Refused { code, msg }) => Err(StageError::Refused(format!("{code} {msg}"))),
            Some(_) => Ok(()),
            None => Err(StageError::Gone("the business stream")),
        }
    }

    async fn on_order(&mut self, push: &OrderPush, channel: &str) -> Result<(), StageError> {
        match self.ledger.on_order(push, channel, self.clock.now()) {
            Ok(outcome) => self.keep(outcome).await,
            Err(foreign) => self.on_foreign(foreign, &push.cl_ord_id, push.report.venue_id.as_str()).await,
        }
    }

    async fn on_foreign(&mut self, foreign: Foreign, cl_ord_id: &str, venue_id: &str) -> Result<(), StageError> {
        match foreign {
            Foreign::Stranger => {
                info!(event = "foreign_order", venue_id, "an order that is not ours; left alone");
                Ok(())
            }
            Foreign::OursUnknown => {
                self.halt(None, format!("order {cl_ord_id} ({venue_id}) carries our prefix and is not in this database: was it restored from a backup?")).await
            }
        }
    }

    async fn halt(&mut self, inst: Option<crate::domain::InstId>, why: String) -> Result<(), StageError> {
        if self.ledger.halts.iter().any(|(on, known)| *on == inst && *known == why) {
            return Ok(());
        }
        error!(event = "halt", %why, "trading is halted; a person must look");
        self.ledger.halts.push((inst.clone(), why.clone()));
        self.publish();
        if inst.is_none() {
            self.set_readiness(Readiness::Halted(why)).await?;
        }
        Ok(())
    }

    async fn set_readiness(&mut self, next: Readiness) -> Result<(), StageError> {
        let name = |r: &Readiness| match r {
            Readiness::Reconciling(_) => "reconciling",
            Readiness::Ready => "active",
            Readiness::Halted(_) => "halted",
        };
        let last = self.readiness.borrow().clone();
        if last == next || (matches!(last, Readiness::Halted(_)) && !matches!(next, Readiness::Halted(_))) {
            return Ok(());
        }
        let why = match &next {
            Readiness::Reconciling(why) | Readiness::Halted(why) => why.clone(),
            Readiness::Ready => "reconciled with the venue".to_owned(),
        };
        info!(event = "trading_state", from = name(&last), to = name(&next), %why, "trading state");
        let record = Record::TradingState {
            scope: "system".into(),
            from: name(&last).into(),
            to: name(&next).into(),
            who: "tracker".into(),
            why,
            run_id: self.start_run,
            at: self.clock.now(),
        };
        self.readiness.send_replace(next);
        self.journal.append(record).await
    }

    fn begin_sweep(&mut self, work: &mut Work) {
        if work.sweeping {
            return;
        }
        work.sweeping = true;
        work.last_sweep = Some(Instant::now());
        let wanted = Wanted {
            questions: self.ledger.live().map(question).collect(),
            fills_cursor: self.fills_cursor.clone(),
            known: self.ledger.venue_ids().collect::<BTreeSet<String>>(),
            stops: self.ledger.expected_stops(),
            epoch: work.epoch,
        };
        let venue = self.venue.clone();
        work.answers.spawn(async move { Answer::Sweep(sweep(&venue, wanted).await) });
    }

    async fn on_answer(&mut self, answer: Answer, work: &mut Work) -> Result<(), StageError> {
        match answer {
            Answer::Sweep(Ok(found)) => {
                work.sweeping = false;
                work.failed = 0;
                self.apply(found, work).await
            }
            Answer::Sweep(Err(error)) => {
                work.sweeping = false;
                work.failed += 1;
                if error.needs_person() {
                    return Err(error.into());
                }
                warn!(event = "sweep_failed", attempt = work.failed, %error, "the venue could not be asked; nothing is assumed");
                if work.failed >= SWEEPS_FAILED {
                    self.set_readiness(Readiness::Reconciling(format!("the venue cannot be asked: {error}"))).await?;
                }
                Ok(())
            }
            Answer::Order { id, pass, result } => self.on_order_answer(id, pass, result, work).await,
            Answer::Fills { id, result } => match result {
                Ok(rows) => {
                    for row in rows {
                        if let Ok(outcome) = self.ledger.on_fill(&row, self.clock.now()) {
                            self.keep(outcome).await?;
                        }
                    }
                    if !matches!(*self.readiness.borrow(), Readiness::Ready | Readiness::Halted(_)) {
                        self.begin_sweep(work);
                    }
                    Ok(())
                }
                Err(error) => {
                    warn!(event = "fills_failed", order = %id, %error, "fills could not be asked for; asking again");
                    Ok(())
                }
            },
        }
    }

    async fn apply(&mut self, found: Sweep, work: &mut Work) -> Result<(), StageError> {
        for push in &found.pending {
            self.on_order(push, "orders-pending").await?;
        }
        for (id, named, push) in &found.asked {
            match push {
                Some(push) => self.on_order(push, "trade/order").await?,
                // Not known to the venue: no proof yet. Its outcome is open until there is one.
                None if !named => {} // on its way out: the answer to its create will come
                None => {
                    let outcome = self.ledger.lost(id, self.clock.now());
                    self.keep(outcome).await?;
                }
            }
        }
        for push in &found.nameless {
            self.on_order(push, "trade/order").await?;
        }
        // A database that has never read fills begins after the newest: what was before is not its own.
        let first_ever = self.fills_cursor.is_none();
        let mut cursor = first_ever.then(|| "0".to_owned());
        for row in &found.fills {
            cursor = Some(row.bill_id.clone());
            if first_ever {
                continue;
            }
            match self.ledger.on_fill(row, self.clock.now()) {
                Ok(outcome) => self.keep(outcome).await?,
                Err(foreign) => self.on_foreign(foreign, &row.cl_ord_id, row.venue_id.as_str()).await?,
            }
        }
        let now = self.clock.now();
        let algos: Vec<Record> = found.algos.iter().filter_map(|push| self.ledger.on_algo(push, now)).collect();
        self.keep(Ok(algos)).await?;
        if let Some(cursor) = cursor {
            self.journal.post(Record::Note { key: "fills_cursor".into(), value: cursor.clone() }).await?;
            self.fills_cursor = Some(cursor);
        }
        if found.epoch != work.epoch {
            self.begin_sweep(work); // the stream changed under this sweep
            return Ok(());
        }
        let complete = self.ledger.missing_fills().next().is_none();
        if work.private_up && complete && !matches!(*self.readiness.borrow(), Readiness::Ready | Readiness::Halted(_)) {
            let unknown = self.ledger.view().unknown().count();
            info!(
                event = "reconciled",
                began_ms = found.began.0,
                pending = found.pending.len(),
                fills = found.fills.len(),
                unknown,
                "orders and fills agree with the venue"
            );
            self.set_readiness(Readiness::Ready).await?;
        }
        Ok(())
    }

    async fn on_order_answer(
        &mut self,
        id: OrderId,
        pass: bool,
        result: Result<Option<OrderPush>, VenueError>,
        work: &mut Work,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let Some(inquiry) = work.inquiries.get_mut(&id) else { return Ok(()) };
        inquiry.in_flight = false;
        match result {
            Ok(Some(push)) => {
                work.inquiries.remove(&id);
                self.on_order(&push, "trade/order").await
            }
            Ok(None) if pass => match inquiry.first_pass {
                Some(first) if now.since(first) >= PASSES_APART => {
                    work.inquiries.remove(&id);
                    let evidence = format!(
                        "proven absent: not known, pending, in history or in fills at {} and {}",
                        first.0, now.0
                    );
                    let outcome = self.ledger.absent(&id, &evidence, now);
                    self.keep(outcome).await
                }
                Some(_) => Ok(()),
                None => {
                    inquiry.first_pass = Some(now);
                    Ok(())
                }
            },
            Ok(None) => Ok(()),
            Err(error) => {
                // A failed call proves nothing, and what was half proven is begun again.
                inquiry.first_pass = None;
                warn!(event = "inquiry_failed", order = %id, %error, "the venue could not be asked about an unknown order");
                Ok(())
            }
        }
    }

    fn on_tick(&mut self, work: &mut Work) {
        let due = |every: Ms, last: Option<Instant>| {
            // Never faster than once a wall second, whatever the speed of the venue's clock.
            let pause = self.clock.wall_span(every).max(Duration::from_secs(1));
            last.is_none_or(|at| at.elapsed() >= pause)
        };
        if work.private_up && due(self.orders_every.min(self.fills_every), work.last_sweep) {
            self.begin_sweep(work);
        }
        self.inquire(work);
        let missing: Vec<(OrderId, Question)> =
            self.ledger.missing_fills().map(|o| (o.id.clone(), question(o))).collect();
        for (id, question) in missing {
            if work.fills_asked.get(&id).is_some_and(|at| at.elapsed() < Duration::from_millis(500)) {
                continue;
            }
            work.fills_asked.insert(id.clone(), Instant::now());
            let Some(venue_id) = question.venue_id else { continue };
            let venue = self.venue.clone();
            work.answers.spawn(async move {
                let result = venue.fills_of(&question.inst, &venue_id).await;
                Answer::Fills { id, result }
            });
        }
        work.fills_asked.retain(|id, _| self.ledger.get(id).is_some_and(|o| o.filled_by_fills() < o.filled));
    }

    /// Asks about orders whose outcome is not proven.
    fn inquire(&mut self, work: &mut Work) {
        let unknown: Vec<Order> =
            self.ledger.live().filter(|o| o.state() == crate::domain::OrderState::Unknown).cloned().collect();
        work.inquiries.retain(|id, _| unknown.iter().any(|o| o.id == *id));
        for order in unknown {
            let inquiry = work.inquiries.entry(order.id.clone()).or_insert_with(Inquiry::now);
            if inquiry.in_flight || Instant::now() < inquiry.next {
                continue;
            }
            inquiry.in_flight = true;
            inquiry.next =
                Instant::now() + ASK_AT.get(inquiry.asked).map_or(ASK_EVERY, |ms| Duration::from_millis(*ms));
            inquiry.asked += 1;
            let expired = order.expires_at.unwrap_or(order.created_at).plus(self.absent_after);
            let pass = self.clock.now() > expired;
            let kind = self.market.borrow().insts.get(&order.inst).map_or(InstKind::Spot, |m| m.instrument.kind);
            let (venue, question, cursor) = (self.venue.clone(), question(&order), self.fills_cursor.clone());
            work.answers.spawn(async move {
                let result = if pass {
                    look_everywhere(&venue, &question, kind, cursor).await
                } else {
                    super::sweep::ask(&venue, &question).await
                };
                Answer::Order { id: question.id, pass, result }
            });
        }
    }
}

impl Inquiry {
    fn now() -> Self {
        Self { asked: 0, next: Instant::now(), in_flight: false, first_pass: None }
    }
}

fn question(order: &Order) -> Question {
    let named = !order.id.as_str().starts_with('v');
    Question {
        id: order.id.clone(),
        inst: order.inst.clone(),
        cl_ord_id: named.then(|| ClOrdId::new(order.id.as_str())),
        venue_id: order.venue_id.as_ref().map(|id| id.as_str().to_owned()),
    }
}
