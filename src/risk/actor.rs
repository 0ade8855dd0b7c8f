//! The risk gate's task: sole owner of the limits, of the equity they are judged by, and of the
//! trading states. Decides with `inputs::judge`, `rules::assess` and `Unwind`, nothing else.

mod guard;
mod restrictions;
mod unwinding;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use self::guard::Guarding;
pub use self::guard::{Placing, ProtectForeign, Protecting, StopWork};
use self::unwinding::Unwinding;
use super::flatten::Flatten;
use super::inputs::{GateInputs, PendingActivity, judge, written};
use super::recent::{Recent, Sent};
use super::restrict::room_at_venue;
use super::rules::{Approved, Denied};
use super::switch::TradingSwitch;
use super::unwind::{UnwindReport, UnwindTiming};
use super::view::{InFlight, View};
use crate::allocation::IntentBatch;
use crate::domain::Qty;
use crate::domain::equity::{Believed, marked};
use crate::domain::inputs::{InputStage, RunInputs};
use crate::domain::record::{Breach, Record};
use crate::domain::{
    AccountView, ContenderId, Departure, EquityBook, InstId, Instrument, Limits, MarketView, Ms,
    OrderId, OrderIntent, OrderState, OrdersView, Permission, Price, Readiness, Restriction,
    Restrictions, Rule, RunId, Scope, Shield, Side, Usd,
};
use crate::runtime::is_told;
use crate::runtime::{Actor, Beat, Clock, RunIds, Shutdown, StageError, faults};
use crate::store::{Journal, Opened};

/// Decision of the gate on one intent; the executor carries out the first kind and passes on the
/// second.
#[derive(Debug)]
pub enum Verdict {
    Approved(Approved),
    /// Recorded, and ended here: blocked or suppressed.
    Denied(Arc<OrderIntent>),
    /// Work on the stops that protect positions.
    Stop(StopWork),
}

/// Request to cancel an order, and the run it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CancelAsk {
    pub inst: InstId,
    /// Our name of the order.
    pub order: OrderId,
    pub run_id: RunId,
}

/// Commands that a person may give a running gate. None of them can let more through.
#[derive(Debug)]
pub enum Command {
    /// Make an instrument flat, or all of them.
    Close {
        inst: Option<InstId>,
        scope: Flatten,
        done: Answer,
    },
    /// Stop trading until a person resumes it; cancel what is ours, and make flat if asked.
    Halt {
        flatten: bool,
        scope: Flatten,
        who: String,
        why: String,
        done: Option<Answer>,
    },
    /// Restricts trading because something outside the gate is not as it must be: only orders that
    /// a permit names are sent, until a person resumes trading.
    Restrict { cause: String, why: String },
}

/// Channel for the outcome of a command.
pub type Answer = oneshot::Sender<Result<UnwindReport, String>>;

/// Parts of client order ids besides the decision itself, and the source of run ids.
#[derive(Clone, Debug)]
pub struct Seal {
    pub env: char,
    pub uid: String,
    pub install_epoch: String,
    pub ids: Arc<RunIds>,
    /// The run of this start, which causes what no decision does.
    pub start_run: RunId,
}

/// State that the gate keeps over a restart.
#[derive(Debug, Default)]
pub struct Memory {
    pub restrictions: Restrictions,
    pub book: EquityBook,
    pub recent: Recent,
}

impl Memory {
    /// Restores the gate's memory from the database.
    pub fn of(opened: &Opened, now: Ms) -> Self {
        let mut recent = Recent::default();
        let forgotten = |sent: &Sent| {
            opened
                .repeats_after
                .get(sent.contender.as_str())
                .is_some_and(|at| sent.at <= *at)
        };
        let mut sent: Vec<Sent> = opened.orders.iter().filter_map(Sent::remembered).collect();
        sent.iter_mut()
            .for_each(|sent| sent.opening &= !forgotten(sent));
        sent.sort_by_key(|sent| sent.at);
        sent.into_iter()
            .filter(|sent| sent.at.utc_day() == now.utc_day())
            .for_each(|sent| recent.note(sent));
        // More than are loaded one by one.
        recent.at_least(opened.orders_of_day.0, opened.orders_of_day.1);
        Self {
            restrictions: opened.restrictions.clone(),
            book: opened.book.clone(),
            recent,
        }
    }

    /// Halts before anything begins. `None`: it is halted already.
    pub fn kill(&mut self, flatten: bool, why: &str, run_id: RunId, at: Ms) -> Option<Record> {
        let from = self.restrictions.state(&Scope::System);
        let restriction = Restriction::kill(flatten, why, at);
        let new = self.restrictions.latch(restriction.clone());
        new.then(|| Record::Restricted {
            restriction,
            from,
            who: "file".into(),
            run_id,
            at,
        })
    }
}

/// The gate.
pub struct Gate {
    pub seal: Seal,
    pub commands: mpsc::Receiver<Command>,
    pub cancels: mpsc::Sender<CancelAsk>,
    pub limits: Limits,
    pub protecting: Protecting,
    pub tempo: UnwindTiming,
    pub switch: TradingSwitch,
    pub clock: Clock,
    pub journal: Journal,
    pub batches: mpsc::Receiver<IntentBatch>,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub readiness: watch::Receiver<Readiness>,
    /// Signal to have the account read soon.
    pub read_account: Arc<Notify>,
    pub verdicts: mpsc::Sender<Verdict>,
    /// Restrictions in force, for those that check once more.
    pub restrictions: watch::Sender<Restrictions>,
    /// Stop coverage of each position at the venue.
    pub shields: watch::Sender<BTreeMap<InstId, Shield>>,
    /// Stop levels that contenders have named for their sleeves since entry.
    pub levels: watch::Receiver<BTreeMap<(ContenderId, InstId), (Side, Price)>>,
    pub memory: Memory,
    /// Approved, and not yet seen by the tracker.
    pub in_flight: Vec<InFlight>,
    pub work: GateWork,
    pub beat: Beat,
}

/// Work the gate has under way.
#[derive(Debug)]
pub struct GateWork {
    began: Instant,
    unwinding: Option<Unwinding>,
    /// When a flattening that a latch asks for may be tried again, wall time.
    flatten_at: Ms,
    guarding: Guarding,
    /// The account as equity was last counted by.
    account: Option<Arc<AccountView>>,
    /// Restricted orders that were asked to be cancelled, and when; wall time.
    cancelled: BTreeMap<OrderId, Ms>,
    refusals: Refusals,
}

impl Default for GateWork {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            unwinding: None,
            flatten_at: Ms::ZERO,
            guarding: Guarding::default(),
            account: None,
            cancelled: BTreeMap::new(),
            refusals: Refusals::default(),
        }
    }
}

/// Last denial of each contender in each instrument.
#[derive(Debug, Default)]
struct Refusals(BTreeMap<(ContenderId, InstId), RepeatedDenial>);

#[derive(Debug)]
struct RepeatedDenial {
    order: OrderId,
    side: Side,
    codes: Vec<String>,
    times: u64,
}

impl Refusals {
    /// Returns the order of the last denial and how often it has now occurred, if this one is the
    /// same again.
    fn repeats(&mut self, refused: &Denied) -> Option<(OrderId, u64)> {
        let intent = &refused.intent;
        let last = self
            .0
            .get_mut(&(intent.contender.clone(), intent.inst.clone()))?;
        let same = last
            .codes
            .iter()
            .eq(refused.breaches.iter().map(|breach| &breach.code));
        if last.side != intent.side || !same {
            return None;
        }
        last.times += 1;
        Some((last.order.clone(), last.times))
    }

    /// Notes what became of an intent.
    fn note(&mut self, intent: &OrderIntent, refused: Option<&Denied>) {
        let key = (intent.contender.clone(), intent.inst.clone());
        let Some(refused) = refused else {
            self.0.remove(&key);
            return;
        };
        let codes = refused
            .breaches
            .iter()
            .map(|breach| breach.code.clone())
            .collect();
        self.0.insert(
            key,
            RepeatedDenial {
                order: OrderId::from(&intent.cl_ord_id),
                side: intent.side,
                codes,
                times: 1,
            },
        );
    }
}

/// Between looks at equity, latches and what is being made flat.
const LOOK: Duration = Duration::from_millis(100);

impl Actor for Gate {
    async fn run(&mut self, _stop: Shutdown) -> Result<(), StageError> {
        self.restrictions
            .send_replace(self.memory.restrictions.clone());
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                biased; // people before work
                Some(command) = self.commands.recv() => self.on_command(command).await?,
                batch = self.batches.recv() => match batch {
                    Some(batch) => self.on_batch(batch).await?,
                    None => {
                        self.sum_up();
                        return Ok(());
                    }
                },
                _ = tick.tick() => {
                    self.look().await?;
                    self.take_back().await?;
                    self.unwind().await?;
                    self.guard().await?;
                }
            }
            faults::point("gate").await;
            self.beat.tick();
        }
    }
}

impl Gate {
    async fn on_batch(&mut self, batch: IntentBatch) -> Result<(), StageError> {
        self.look().await?;
        for intent in batch.intents {
            self.land();
            let (judged, inputs) = self.judge(Arc::clone(&intent));
            if let Err(refused) = &judged
                && let Some(first) = self.work.refusals.repeats(refused)
            {
                self.refused_again(first, refused).await?;
                continue;
            }
            if let Some(inputs) = inputs {
                self.journal.post(Record::Inputs(Box::new(inputs))).await?;
            }
            self.work.refusals.note(&intent, judged.as_ref().err());
            match judged {
                // Created in full, recorded, never sent.
                Ok(approved) if !self.protects() => {
                    let intent = Arc::clone(approved.intent());
                    let off = Breach {
                        code: "trading_off".into(),
                        limit: "on".into(),
                        value: "off".into(),
                    };
                    info!(event = "order_suppressed", run_id = %batch.run_id, cl_ord_id = %intent.cl_ord_id, inst = %intent.inst,
                        side = intent.side.as_str(), qty = %intent.qty, "trading is off: recorded, not sent");
                    self.stop(intent, OrderState::Suppressed, vec![off]).await?;
                }
                Ok(approved) => {
                    let without = approved.without().to_vec();
                    if !without.is_empty() {
                        let codes: Vec<&str> = without.iter().map(|b| b.code.as_str()).collect();
                        warn!(event = "turn_cut", run_id = %batch.run_id, cl_ord_id = %intent.cl_ord_id, inst = %intent.inst,
                            contender = %intent.contender, codes = codes.join(" "), asked = %intent.qty, qty = %approved.intent().qty,
                            "a turn may not open; what closes the sleeve leaves");
                    } else if approved.intent().qty != intent.qty {
                        info!(event = "order_clamped", run_id = %batch.run_id, cl_ord_id = %intent.cl_ord_id, asked = %intent.qty,
                            qty = %approved.intent().qty, "made smaller: no more than one order may be, or than there is to reduce");
                    }
                    self.let_out(approved).await?;
                    self.consequences(&intent, &without).await?;
                }
                Err(Denied { intent, breaches }) => {
                    let codes: Vec<&str> = breaches.iter().map(|b| b.code.as_str()).collect();
                    warn!(event = "order_blocked", run_id = %batch.run_id, cl_ord_id = %intent.cl_ord_id, inst = %intent.inst,
                        contender = %intent.contender, codes = codes.join(" "), "the risk gate blocked an order");
                    self.stop(Arc::clone(&intent), OrderState::Blocked, breaches.clone())
                        .await?;
                    self.consequences(&intent, &breaches).await?;
                }
            }
        }
        Ok(())
    }

    /// The same again, refused in the same way: a count on the row that there is.
    async fn refused_again(
        &mut self,
        first: (OrderId, u64),
        refused: &Denied,
    ) -> Result<(), StageError> {
        let ((order, times), intent) = (first, Arc::clone(&refused.intent));
        let at = self.clock.now();
        // The first ten are told one by one, then each ten times as many.
        if times < 10 || is_told(times) {
            let codes: Vec<&str> = refused.breaches.iter().map(|b| b.code.as_str()).collect();
            warn!(event = "order_blocked", run_id = %intent.run_id, first = %order, times, inst = %intent.inst,
                contender = %intent.contender, codes = codes.join(" "), "the risk gate blocked the same order again");
        }
        self.journal
            .post(Record::RefusedAgain {
                order,
                intent: Arc::clone(&intent),
                at,
            })
            .await?;
        self.send(Verdict::Denied(Arc::clone(&intent))).await?;
        self.consequences(&intent, &refused.breaches).await
    }

    /// Judges an order, and takes down what it was judged by.
    fn judge(&self, intent: Arc<OrderIntent>) -> (Result<Approved, Denied>, Option<RunInputs>) {
        let market = self.market.borrow();
        let Some(shown) = market.insts.get(&intent.inst) else {
            let value = intent.inst.to_string();
            let unknown = Breach {
                code: "instrument_unknown".into(),
                limit: "listed".into(),
                value,
            };
            return (
                Err(Denied {
                    intent,
                    breaches: vec![unknown],
                }),
                None,
            );
        };
        // The read that the units were counted with: money that has moved since is not profit or
        // loss.
        let account = self.work.account.clone();
        let (orders, readiness) = (self.orders.borrow(), self.readiness.borrow());
        let view = self.view(
            &shown.instrument,
            &market,
            account.as_deref(),
            &orders,
            &readiness,
        );
        let same = |contender: &ContenderId, inst: &InstId| {
            (contender, inst) == (&intent.contender, &intent.inst)
        };
        let closing = self
            .work
            .unwinding
            .as_ref()
            .filter(|u| u.covers(&intent.inst));
        let activity = PendingActivity {
            repairing: orders
                .open
                .values()
                .any(|o| o.protective && same(&o.contender, &o.inst))
                || self
                    .in_flight
                    .iter()
                    .any(|o| o.owner != o.contender && same(&o.contender, &o.inst)),
            closing: closing.map(|closing| closing.trigger().to_owned()),
        };
        let judged = judge(Arc::clone(&intent), &view, &self.limits, &activity);
        let seen = GateInputs::of(&intent, &view, &self.limits, &activity);
        let output = written(&judged);
        debug_assert_eq!(
            seen.replay().as_ref(),
            Some(&output),
            "what is taken down is all that was looked at"
        );
        let about = (intent.run_id, InputStage::Gate);
        let inputs = RunInputs::new(about, intent.cl_ord_id.as_str(), &seen, output, view.now);
        (judged, Some(inputs))
    }

    fn view<'a>(
        &'a self,
        instrument: &'a Instrument,
        market: &'a MarketView,
        account: Option<&'a AccountView>,
        orders: &'a OrdersView,
        readiness: &'a Readiness,
    ) -> View<'a> {
        View {
            now: self.clock.now(),
            instrument,
            market,
            account,
            equity: account.map(|account| self.equity(account, market)),
            book: &self.memory.book,
            orders,
            readiness,
            restrictions: &self.memory.restrictions,
            recent: &self.memory.recent,
            in_flight: &self.in_flight,
        }
    }

    /// Returns how much an order may take off the venue's position.
    fn venue_room(&self, intent: &OrderIntent, inst: &Instrument) -> Qty {
        let (market, account) = (self.market.borrow(), self.account.borrow());
        let (orders, readiness) = (self.orders.borrow(), self.readiness.borrow());
        Qty(room_at_venue(
            intent,
            &self.view(inst, &market, account.as_deref(), &orders, &readiness),
        ))
    }

    fn equity(&self, account: &AccountView, market: &MarketView) -> Usd {
        let believed = Believed {
            now: self.clock.now(),
            age: self.limits.ms(Rule::QuoteAge),
            jump: self.limits.share(Rule::PriceJump),
        };
        marked(account, market, &believed)
    }

    /// Forgets what has landed: the tracker has seen it, or a later one of the same contender and
    /// instrument.
    fn land(&mut self) {
        let orders = self.orders.borrow();
        self.in_flight.retain(|o| !orders.open.contains_key(&o.id));
        for ((contender, inst), latest) in &orders.latest {
            let of = |o: &InFlight| (&o.owner, &o.inst) == (contender, inst);
            if let Some(at) = self
                .in_flight
                .iter()
                .position(|o| of(o) && o.id == latest.id)
            {
                let mut index = 0;
                self.in_flight.retain(|o| {
                    index += 1;
                    !of(o) || index > at + 1
                });
            }
        }
    }

    async fn let_out(&mut self, approved: Approved) -> Result<(), StageError> {
        let intent = Arc::clone(approved.intent());
        if intent.moves.is_none() {
            self.in_flight.push(InFlight {
                id: OrderId::from(&intent.cl_ord_id),
                contender: intent.contender.clone(),
                owner: intent.owner(),
                inst: intent.inst.clone(),
                side: intent.side,
                qty: intent.qty,
            });
            self.memory.recent.note(Sent::of(&intent, self.clock.now()));
        }
        self.send(Verdict::Approved(approved)).await
    }

    async fn stop(
        &self,
        intent: Arc<OrderIntent>,
        state: OrderState,
        breaches: Vec<Breach>,
    ) -> Result<(), StageError> {
        let at = self.clock.now();
        self.journal
            .post(Record::Stopped {
                intent: Arc::clone(&intent),
                state,
                breaches,
                at,
            })
            .await?;
        self.send(Verdict::Denied(intent)).await
    }

    async fn send(&self, verdict: Verdict) -> Result<(), StageError> {
        self.verdicts
            .send(verdict)
            .await
            .map_err(|_| StageError::Gone("the executor"))
    }

    /// What may leave now.
    fn permission<'a>(&'a self, readiness: &'a Readiness) -> Permission<'a> {
        Permission {
            trading_on: self.switch.is_on(),
            readiness,
            restrictions: &self.memory.restrictions,
        }
    }

    /// True if protection and cancels may leave now.
    fn protects(&self) -> bool {
        let readiness = self.readiness.borrow();
        let permission = self.permission(&readiness);
        permission.lets(Departure::Protect) && permission.lets(Departure::Cancel)
    }

    /// Wall time of this process, which only goes forward.
    fn wall(&self) -> Ms {
        Ms(i64::try_from(self.work.began.elapsed().as_millis()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests;
