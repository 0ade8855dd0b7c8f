//! The tracker's mind: what it hears goes in, what is to be done comes out. Pure: time is an
//! argument, the network and the database are somebody else's.
//!
//! Start, recovery and reconnect are one path: listen, ask the venue for everything, join it,
//! settle what is unknown, open the gate. `inquiry` settles unknown orders, `audit` compares what
//! we hold, `cases` halts and ends halts.

mod audit;
mod foreign;
mod in_flight;
mod incidents;
mod pushes;
mod together;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::{error, info, warn};

use self::audit::Audit;
use self::in_flight::InFlightCheck;
use super::ledger::{Foreign, Ledger, Odd, OddKind, Outcome};
use super::mass_status::{Everywhere, MassStatus, OrderQuery, StatusRequest};
use super::wire::PrivateFeed;
use crate::domain::order::Contradiction;
use crate::domain::record::Record;
use crate::domain::view::Stray;
use crate::domain::{
    AccountView, Incident, IncidentKind, InstId, InstKind, Ms, OrderId, OrderState, OrdersView,
    Price, Readiness, RunId,
};
use crate::execution::{ExecutionReport, OrderEvent};
use crate::store::Opened;
use crate::venue::{AlgoPush, CancelOutcome, CreateOutcome, FillReport, OrderPush};

/// Timings and limits of reconciliation.
#[derive(Clone, Debug)]
pub struct ReconcileTiming {
    /// Between comparisons of open orders and of fills, wall time.
    pub orders_every: Ms,
    /// When to ask about an unknown order after it became one, then every so often; wall time.
    pub ask_at: Vec<Ms>,
    pub ask_every: Ms,
    /// "Not found" counts as proof only this long after an order's expiry, venue time.
    pub absent_after: Ms,
    /// Between the two passes of a proof of absence, and of a mismatch; venue time.
    pub passes_apart: Ms,
    /// Unknown for longer than this is a case for a person, venue time.
    pub unknown_max: Ms,
    /// Instruments with an unknown order beyond which nothing opens anywhere.
    pub unknown_instruments_max: usize,
    /// Complete comparisons that may end in disagreement before a start is given up.
    pub rounds_max: u32,
    /// Time another connection that listens to our orders may be a dead one of our own, wall time.
    pub rival_max: Ms,
    /// Maximum time a timestamp may be ahead of the venue's clock, venue time.
    pub ahead_max: Ms,
    /// Cash that may be unexplained, in dollars.
    pub cash_tolerance: rust_decimal::Decimal,
}

/// Two clocks: the venue's, and one of this process that only goes forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    pub venue: Ms,
    pub wall: Ms,
}

/// Event the tracker hears.
#[derive(Debug)]
pub enum TruthEvent {
    Report(ExecutionReport),
    Up(PrivateFeed),
    Down(PrivateFeed, String),
    Orders(Vec<OrderPush>),
    Stops(Vec<AlgoPush>),
    /// A push that cannot be read.
    Garbled(PrivateFeed, String),
    /// Number of connections that listen to the account's orders, as the venue counts.
    Connections(u64),
    Answer(Answer),
    /// A complete read of the account.
    Account(Arc<AccountView>),
    /// A person accepts a case; prices to book moves at.
    Accept {
        case: String,
        run_id: RunId,
        prices: BTreeMap<InstId, Price>,
    },
    /// A person wants everything compared now.
    Compare,
    Tick,
}

/// The venue's answer to a question, or why there is none: that is never an empty one.
#[derive(Debug)]
pub enum Answer {
    Sweep(Result<MassStatus, String>),
    Order {
        id: OrderId,
        result: Result<Option<OrderPush>, String>,
    },
    Everywhere {
        id: OrderId,
        result: Result<Everywhere, String>,
    },
    Fills {
        id: OrderId,
        result: Result<Vec<FillReport>, String>,
    },
}

/// A question for the venue, to be asked on the side.
#[derive(Debug)]
pub enum VenueQuery {
    Sweep(StatusRequest),
    Order(OrderQuery),
    Everywhere(OrderQuery, InstKind, Option<String>),
    Fills(OrderId, InstId, String),
}

/// Action for the tracker, carried out in this order.
#[derive(Debug)]
pub enum Effect {
    /// One transaction.
    Keep(Vec<Record>),
    Ask(VenueQuery),
    Readiness(Readiness),
    /// Publish the changed view to the other stages.
    Show,
    /// Read the account soon.
    ReadAccount,
    /// Close and open a stream: its subscription tells how many listen.
    Reopen(PrivateFeed),
    /// Fold everything anew from the record, which has been corrected, once all pending records are
    /// kept.
    Refold,
}

/// Everything the tracker knows and is about to do.
#[derive(Debug)]
pub struct Reconciler {
    ledger: Ledger,
    patience: ReconcileTiming,
    fills_cursor: Option<String>,
    /// The run of this start: what reconciliation does is booked to it.
    run_id: RunId,
    cases: Vec<Incident>,
    strays: BTreeSet<Stray>,
    /// Live stops that the venue did not know when it was asked by name, since when; venue time.
    gone: BTreeMap<String, Ms>,
    /// Instruments of which the venue's last lists said something that cannot be believed, and
    /// what.
    unreadable: BTreeMap<InstId, String>,
    /// Orders about which nothing more is believed, because a person said so.
    set_aside: BTreeSet<OrderId>,
    audit: Audit,
    inquiries: BTreeMap<OrderId, InFlightCheck>,
    /// Orders that are being asked about for another reason.
    asked_about: BTreeSet<OrderId>,
    /// Since when fills of an order are missing, and when to ask for them next; wall time.
    fills_asked: BTreeMap<OrderId, (Ms, Ms)>,
    /// Unknown orders that a person has accepted as such.
    unknown_accepted: BTreeSet<OrderId>,
    up: BTreeSet<PrivateFeed>,
    /// Grows each time a private stream comes up or goes down: a sweep that began before proves
    /// nothing after.
    epoch: u64,
    sweeping: bool,
    sweep_again: bool,
    last_sweep: Option<Ms>,
    /// Complete sweeps so far, and those in a row that failed or ended in disagreement.
    sweeps: u64,
    failed: u32,
    rounds: u32,
    /// Why the gate is shut, while it is.
    apart: Option<String>,
    /// Orders and fills have been found to agree since the streams last changed.
    swept: bool,
    said: Readiness,
    /// Since when others listen to our orders, and when we last looked again; wall time.
    rival: Option<(Ms, Ms)>,
    acts: Vec<Effect>,
}

/// Evidence of what came on the stream of orders.
const PUSHED: &str = "orders channel";
/// The same of stops.
const STOPS_PUSHED: &str = "orders-algo channel";
/// Number of sweeps that may fail in a row before the gate shuts.
const SWEEPS_FAILED: u32 = 5;
/// Between questions for the fills of one order, wall time.
const FILLS_EVERY: Ms = Ms(500);
/// Between looks at whether a rival is still there, wall time.
const RIVAL_LOOK: Ms = Ms::secs(10);
/// Sweeps no faster than this, whatever the speed of the venue's clock; wall time.
const SWEEP_PAUSE: Ms = Ms::secs(1);

impl Reconciler {
    /// Takes up what the database remembers; with the rows that come of it.
    pub fn open(
        opened: Opened,
        instruments: BTreeMap<InstId, Arc<crate::domain::Instrument>>,
        env: char,
        run_id: RunId,
        patience: ReconcileTiming,
        now: Ms,
    ) -> (Self, Vec<Record>) {
        // Fills before our time are not ours; but a database that has orders has had a time.
        let fills_cursor = opened
            .fills_cursor
            .clone()
            .or_else(|| (!opened.orders.is_empty()).then(|| "0".to_owned()));
        let audit = Audit::remembered(opened.baselines.clone());
        let set_aside = opened.set_aside.clone();
        // What passes by itself is judged anew; what needs a person has waited for one.
        let (passing, cases): (Vec<Incident>, Vec<Incident>) = opened
            .halts
            .clone()
            .into_iter()
            .partition(|c| c.kind.passes());
        let (ledger, mut records) = Ledger::open(opened, instruments, env, now);
        let ended = |case| Record::HaltEnded {
            case,
            by: "start".into(),
            run_id,
            at: now,
        };
        records.extend(passing.into_iter().map(ended));
        let reconciler = Self {
            ledger,
            patience,
            fills_cursor,
            run_id,
            cases,
            strays: BTreeSet::new(),
            gone: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            set_aside,
            audit,
            inquiries: BTreeMap::new(),
            asked_about: BTreeSet::new(),
            fills_asked: BTreeMap::new(),
            unknown_accepted: BTreeSet::new(),
            up: BTreeSet::new(),
            epoch: 0,
            sweeping: false,
            sweep_again: false,
            last_sweep: None,
            sweeps: 0,
            failed: 0,
            rounds: 0,
            apart: Some("starting".to_owned()),
            swept: false,
            said: Readiness::Reconciling("starting".to_owned()),
            rival: None,
            acts: Vec::new(),
        };
        (reconciler, records)
    }

    /// Returns the view for the other stages.
    pub fn view(&self) -> OrdersView {
        let strays = self.strays.iter().cloned().collect();
        let mut doubts = self.audit.doubts(&self.ledger);
        doubts.extend(self.unreadable.clone());
        OrdersView {
            halts: self.cases.clone(),
            strays,
            foreign: self.audit.foreign(),
            doubts,
            ..self.ledger.view()
        }
    }

    /// Returns what is believed about orders.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// True if nothing is in flight any more; resting orders may rest.
    pub fn only_resting(&self) -> bool {
        self.ledger
            .live()
            .all(|o| o.ttl.is_some() && o.venue_id.is_some())
    }

    /// One thing heard; what is to be done about it.
    pub fn hear(&mut self, heard: TruthEvent, now: Now) -> Vec<Effect> {
        match heard {
            TruthEvent::Report(report) => self.on_report(report, now),
            TruthEvent::Up(feed) => {
                self.epoch += 1;
                self.swept = false;
                self.up.insert(feed);
                // What happened while nobody listened is in the lists.
                self.begin_sweep(now);
            }
            TruthEvent::Down(feed, why) => {
                self.epoch += 1;
                self.swept = false;
                self.up.remove(&feed);
                if feed == PrivateFeed::Orders {
                    self.apart = Some(format!("the private stream is down: {why}"));
                }
            }
            TruthEvent::Orders(pushes) => pushes
                .iter()
                .for_each(|push| self.on_order(push, PUSHED, now)),
            TruthEvent::Stops(pushes) => self.on_stops(&pushes, STOPS_PUSHED, now),
            TruthEvent::Garbled(feed, problem) => {
                // What we cannot read may be a fill: ask for everything.
                warn!(event = "push_refused", ?feed, %problem, "a push that cannot be read; asking by REST");
                self.begin_sweep(now);
            }
            TruthEvent::Connections(count) => self.on_connections(count, now),
            TruthEvent::Answer(answer) => self.on_answer(answer, now),
            TruthEvent::Account(view) => self.on_account(view, now),
            TruthEvent::Accept {
                case,
                run_id,
                prices,
            } => self.accept(&case, run_id, &prices, now),
            TruthEvent::Compare => {
                self.begin_sweep(now);
                self.acts.push(Effect::ReadAccount);
            }
            TruthEvent::Tick => self.on_tick(now),
        }
        for odd in self.ledger.take_odd() {
            self.on_odd(odd, now);
        }
        self.say(now);
        std::mem::take(&mut self.acts)
    }

    /// Takes up the record as it is now: a fill in it was corrected.
    pub fn refold(&mut self, opened: &Opened) {
        self.ledger.refold(opened);
    }

    /// Keeps what an event led to, or halts because it cannot be true.
    fn keep(&mut self, outcome: Outcome, inst: Option<InstId>, now: Now) {
        let records = match outcome {
            Ok(records) => records,
            // Starting again would meet the same contradiction: stay up, trade nothing, call a
            // person.
            Err(contradiction) => {
                let subject = inst.map_or_else(String::new, |inst| inst.to_string());
                return self.open_incident(Incident {
                    kind: IncidentKind::Contradiction,
                    subject,
                    scope: None,
                    why: contradiction.to_string(),
                    opened: now.venue,
                    orders: contradiction.orders(),
                });
            }
        };
        if records.is_empty() {
            return;
        }
        for record in &records {
            match record {
                Record::Fill(fill) => {
                    self.audit.moved(&fill.inst, now.venue);
                    self.acts.push(Effect::ReadAccount);
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
        }
        let nobodys: Vec<(InstId, Price, RunId)> = records
            .iter()
            .filter_map(|record| match record {
                Record::Fill(fill) if fill.contender.is_nobodys() => {
                    Some((fill.inst.clone(), fill.price, fill.run_id))
                }
                _ => None,
            })
            .collect();
        self.acts.push(Effect::Keep(records));
        self.acts.push(Effect::Show);
        for (inst, price, run_id) in nobodys {
            self.settle_foreign(&inst, price, run_id, now);
        }
    }

    fn on_report(&mut self, report: ExecutionReport, now: Now) {
        let (at, run_id) = (now.venue, report.run_id);
        let outcome = match report.news {
            OrderEvent::Intended(order, intent) => {
                self.ledger.intended(*order, &intent);
                Ok(Vec::new())
            }
            OrderEvent::Stopped(intent) => {
                // A move that was stopped leaves the order where it is.
                if intent.moves.is_none() {
                    self.ledger.note_latest(&intent);
                }
                Ok(Vec::new())
            }
            OrderEvent::Sending(id) => self.ledger.sending(&id, at),
            OrderEvent::Moving(id, limit) => {
                self.ledger.moving(&id, limit);
                Ok(Vec::new())
            }
            OrderEvent::NotSent(id, why) => self.ledger.not_sent(&id, &why, at),
            OrderEvent::Answered(id, outcome) => {
                if let CreateOutcome::Rejected {
                    stop: true,
                    code,
                    msg,
                } = &outcome
                {
                    error!(event = "refused", %run_id, %code, %msg, "the venue refuses orders");
                    let why = format!("the venue refuses orders: {code} {msg}");
                    self.halt(IncidentKind::Refused, code.clone(), None, why, now);
                }
                self.ledger.answered(&id, &outcome, at)
            }
            OrderEvent::CancelAsked(id, outcome) => {
                // Filled, cancelled or never there: the venue knows which.
                if matches!(outcome, CancelOutcome::Ask(_)) {
                    self.ask_about(&id);
                }
                self.ledger.give_up(&id, run_id);
                Ok(self.ledger.cancel_asked(&id, &format!("{outcome:?}"), at))
            }
            OrderEvent::MoveAsked(id, limit, outcome) => {
                info!(event = "move_asked", %run_id, cl_ord_id = %id, %limit, ?outcome, "asked the venue to move an order");
                match outcome {
                    CancelOutcome::Ask(_) => {
                        self.ledger.not_moved(&id);
                        self.ask_about(&id);
                    }
                    // Where it rests is told by the venue's next word on it.
                    CancelOutcome::Accepted | CancelOutcome::Again(_) => {}
                }
                Ok(Vec::new())
            }
            OrderEvent::NotMoved(id) => {
                self.ledger.not_moved(&id);
                Ok(Vec::new())
            }
            OrderEvent::StopIntended(stop) => {
                self.ledger.stop_intended(*stop);
                Ok(Vec::new())
            }
            OrderEvent::StopAnswered(id, outcome) => {
                if matches!(outcome, CreateOutcome::Unknown(_)) {
                    self.begin_sweep(now);
                }
                self.ledger.stop_answered(&id, &outcome, at)
            }
            OrderEvent::StopAsked(_, outcome) => {
                // Gone, triggered or never there: the lists know.
                if matches!(outcome, CancelOutcome::Ask(_)) {
                    self.begin_sweep(now);
                }
                Ok(Vec::new())
            }
        };
        self.acts.push(Effect::Show);
        self.keep(outcome, None, now);
    }

    fn on_answer(&mut self, answer: Answer, now: Now) {
        match answer {
            Answer::Sweep(Ok(found)) => {
                self.sweeping = false;
                self.failed = 0;
                self.join(found, now);
                if self.sweep_again {
                    self.begin_sweep(now);
                }
            }
            Answer::Sweep(Err(error)) => {
                self.sweeping = false;
                self.failed += 1;
                warn!(event = "sweep_failed", attempt = self.failed, %error, "the venue could not be asked; nothing is assumed");
                if self.failed >= SWEEPS_FAILED {
                    self.apart = Some(format!("the venue cannot be asked: {error}"));
                }
            }
            Answer::Order { id, result } => self.on_order_answer(&id, result, now),
            Answer::Everywhere { id, result } => self.on_everywhere(&id, result, now),
            Answer::Fills { id, result } => match result {
                Ok(rows) => {
                    rows.iter().for_each(|row| self.on_fill(row, now));
                    if self.apart.is_some() {
                        self.begin_sweep(now);
                    }
                }
                Err(error) => {
                    warn!(event = "fills_failed", order = %id, %error, "fills could not be asked for; asking again");
                }
            },
        }
    }

    fn on_tick(&mut self, now: Now) {
        // While the gate is shut, or the last one failed, there is nothing better to do.
        let every = match (&self.apart, self.failed) {
            (Some(_), _) | (None, 1..) => SWEEP_PAUSE,
            (None, 0) => self.patience.orders_every.max(SWEEP_PAUSE),
        };
        let due = self.last_sweep.is_none_or(|at| now.wall.since(at) >= every);
        if self.up.contains(&PrivateFeed::Orders) && due {
            self.begin_sweep(now);
        }
        self.inquire(now);
        self.ask_for_fills(now);
        self.watch_rival(now);
        self.judge_unknown(now);
    }

    fn ask_for_fills(&mut self, now: Now) {
        let missing: Vec<(OrderId, InstId, Option<String>)> = self
            .ledger
            .missing_fills()
            .map(|o| {
                (
                    o.id.clone(),
                    o.inst.clone(),
                    o.venue_id.as_ref().map(|id| id.as_str().to_owned()),
                )
            })
            .collect();
        self.fills_asked
            .retain(|id, _| missing.iter().any(|(missing, ..)| missing == id));
        for (id, inst, venue_id) in missing {
            let (since, next) = self
                .fills_asked
                .get(&id)
                .copied()
                .unwrap_or((now.wall, now.wall));
            let waited = now.wall.since(since);
            if waited > self.patience.unknown_max {
                let why = format!(
                    "the venue counts more filled of order {id} than its lists show since {} s",
                    waited.0 / 1000
                );
                self.halt(IncidentKind::Unconverged, String::new(), None, why, now);
            }
            let Some(venue_id) = venue_id.filter(|_| now.wall >= next) else {
                continue;
            };
            // Twice as long each time, to ten seconds: a list that is days behind is not hammered.
            let pause = FILLS_EVERY.max(Ms(waited.0.min(10_000)));
            self.fills_asked
                .insert(id.clone(), (since, now.wall.plus(pause)));
            self.acts
                .push(Effect::Ask(VenueQuery::Fills(id, inst, venue_id)));
        }
    }
}
