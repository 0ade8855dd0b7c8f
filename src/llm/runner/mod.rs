//! The runner that models are asked from: at each close it looks after what they hold, asks who is
//! due, and turns answers into cycles. Nobody waits for a model: a question is a task of its own,
//! and an answer is judged on the live of the moment it comes in.
//!
//! A model is asked by a runner of its own, beside the decision actor: nobody waits for it, a
//! question is a task, and an answer is judged on the state of the moment at which it arrives, with
//! a snapshot frozen then.
//!
//! A close that a model has asked for is carried on like the daemon's own exits until nothing is
//! held: an order may be denied or fill in part. What a contender has left that no longer takes
//! part is watched to its end by a model state that nobody asks.

mod answered;
mod asked;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, info};

use crate::decision::{Cycle, Due, InstSnapshot, Snapshot};
use crate::domain::model::{ModelFact, ModelItem, ModelMemory};
use crate::domain::record::{Proposal, Record, RunKind};
use crate::domain::{
    AccountView, Bar, ContenderId, EquityBook, Extras, InstId, MarketView, Ms, OrdersView, Price,
    Readiness, Restrictions, RunId, Side,
};
use crate::llm::answer::AnswerMode;
use crate::llm::asking::{AskOutcome, Model};
use crate::llm::breaker::Breaker;
use crate::llm::budget::Allowance;
use crate::llm::fallback::Fallback;
use crate::llm::plan::TradePlan;
use crate::llm::prompt::{Contract, ModelProfile, Prompt, Template};
use crate::llm::state::{Cadence, ModelState};
use crate::runtime::{Actor, Beat, Clock, RunIds, Shutdown, StageError, faults};
use crate::store::Journal;

/// Time for which a failing provider is left alone, venue time.
const REST: Ms = Ms::secs(300);

/// A contender that is a model, and all it is asked with.
pub struct ModelContender {
    pub profile: ModelProfile,
    pub cadence: Cadence,
    pub model: Arc<Model>,
    pub template: Template,
    pub allowance: Allowance,
    /// Rule that decides in the model's place while its provider fails; `None`: no decision is
    /// made.
    pub fallback: Option<Fallback>,
    /// Quotes older than this are not shown to anybody.
    pub quote_age: Ms,
}

/// Request to see what a contender would be asked now.
pub struct ShowPrompt {
    pub contender: ContenderId,
    pub inst: Option<InstId>,
    pub reply: oneshot::Sender<Result<ShownPrompt, String>>,
}

/// Question that the contender would be asked.
#[derive(Debug)]
pub struct ShownPrompt {
    pub model: String,
    pub template: String,
    pub template_hash: String,
    pub prompt: Prompt,
    pub data: String,
    /// Why nobody would be asked it now.
    pub not_asked: Option<String>,
}

/// Stop price of each sleeve, with its side, as set by its model since the position opened.
pub type Levels = BTreeMap<(ContenderId, InstId), (Side, Price)>;

/// The levels that plans ask for.
pub fn levels<'a>(plans: impl IntoIterator<Item = &'a TradePlan>) -> Levels {
    let side = |plan: &TradePlan| if plan.long { Side::Buy } else { Side::Sell };
    plans
        .into_iter()
        .map(|plan| {
            (
                (plan.contender.clone(), plan.inst.clone()),
                (side(plan), plan.stop),
            )
        })
        .collect()
}

/// Plans that the database remembers; those that cannot be read are told of.
pub fn remembered(memory: &ModelMemory) -> Vec<TradePlan> {
    let read = |text: &String| match serde_json::from_str(text) {
        Ok(plan) => Some(plan),
        Err(error) => {
            error!(event = "plan_unreadable", %error, plan = %text, "a plan cannot be read: its position keeps its first stop");
            None
        }
    };
    memory.plans.iter().filter_map(read).collect()
}

/// The actor.
pub struct ModelRunner {
    pub clock: Clock,
    pub ids: Arc<RunIds>,
    pub journal: Journal,
    pub contenders: Vec<ModelContender>,
    pub memory: ModelMemory,
    /// Unit value of the account, followed read by read as the gate does.
    pub book: EquityBook,
    /// Further live kept by the runner, if it has run before.
    pub kept: RunnerMemory,
    /// Plans of those who take part no more and may still hold something: watched to their end, and
    /// nobody is asked.
    pub retired: Vec<TradePlan>,
    /// The bar that cycles are counted in.
    pub bar: Bar,
    pub start_run: RunId,
    pub due: mpsc::Receiver<Due>,
    pub shows: mpsc::Receiver<ShowPrompt>,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub readiness: watch::Receiver<Readiness>,
    pub restrictions: watch::Receiver<Restrictions>,
    pub extras: watch::Receiver<BTreeMap<InstId, Extras>>,
    pub levels: watch::Sender<Levels>,
    /// True if trading is on.
    pub trading: bool,
    pub cycles: mpsc::Sender<Cycle>,
    /// Ends what still listens.
    pub stop: Shutdown,
    pub beat: Beat,
}

/// A question on its way.
struct PendingQuestion {
    contender: usize,
    run_id: RunId,
    bar_ts: Ms,
    contract: Contract,
    /// Why nothing may open, as it was when it was asked.
    close_only: Option<String>,
    /// A rule answers in the model's place.
    by_rule: bool,
    subject: Option<InstId>,
    /// True if it tries a provider that has failed.
    tries: bool,
}

type Done = (PendingQuestion, Result<AskOutcome, StageError>);

/// State that outlives a restart of the runner.
#[derive(Clone, Debug, Default)]
pub struct RunnerMemory {
    states: Vec<ModelState>,
    retired: BTreeMap<ContenderId, ModelState>,
    /// By provider.
    breakers: BTreeMap<String, Breaker>,
}

/// State that changes from bar to bar.
struct Live {
    states: Vec<ModelState>,
    /// Of those who are not asked any more.
    retired: BTreeMap<ContenderId, ModelState>,
    breakers: BTreeMap<String, Breaker>,
    asking: JoinSet<Done>,
    last_bar: Ms,
}

impl Actor for ModelRunner {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        if self.kept.states.is_empty() {
            let plans = remembered(&self.memory);
            let state = |who: &ContenderId| ModelState::of(who, &self.memory, &plans);
            self.kept.states = self
                .contenders
                .iter()
                .map(|contender| state(&contender.profile.id))
                .collect();
            let retired = self
                .retired
                .iter()
                .map(|plan| (plan.contender.clone(), state(&plan.contender)));
            self.kept.retired = retired.collect();
        }
        let RunnerMemory {
            mut states,
            retired,
            mut breakers,
        } = self.kept.clone();
        states.iter_mut().for_each(ModelState::begin);
        breakers.values_mut().for_each(Breaker::over);
        let mut live = Live {
            states,
            retired,
            breakers,
            asking: JoinSet::new(),
            last_bar: Ms::ZERO,
        };
        self.stop = stop.clone();
        self.close_books().await?;
        self.publish(&live);
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(done) = live.asking.join_next() => match done {
                    Ok((pending, outcome)) => self.answered(&mut live, pending, outcome?).await?,
                    // A task of its own that panicked: nobody knows whose it was, so everybody may
                    // ask again.
                    Err(lost) => {
                        error!(event = "question_lost", %lost, "a question was lost");
                        live.asking.abort_all();
                        while live.asking.join_next().await.is_some() {}
                        live.states.iter_mut().for_each(ModelState::begin);
                        live.breakers.values_mut().for_each(Breaker::over);
                    }
                },
                due = self.due.recv() => match due {
                    Some(due) => self.on_bar(&mut live, due).await?,
                    // Decision has ended: nobody counts cycles any more.
                    None => return Ok(()),
                },
                Some(show) = self.shows.recv() => {
                    let shown = self.show(&live, &show);
                    drop(show.reply.send(shown));
                }
                _ = tick.tick() => {}
            }
            self.kept = RunnerMemory {
                states: live.states.clone(),
                retired: live.retired.clone(),
                breakers: live.breakers.clone(),
            };
            faults::point("models").await;
            self.beat.tick();
        }
    }
}

impl ModelRunner {
    /// A bar has closed: what is over is noted, what is to be left is left, who is due is asked.
    async fn on_bar(&mut self, live: &mut Live, due: Due) -> Result<(), StageError> {
        let now = self.clock.now();
        live.last_bar = due.bar_ts;
        if let Some(account) = &*self.account.borrow() {
            self.book.observe(account);
        }
        let close = due.bar_ts.plus(self.bar.span());
        let mut facts = Vec::new();
        let mut exits = Vec::new();
        {
            let (market, orders) = (self.market.borrow(), self.orders.borrow());
            for (contender, state) in self.contenders.iter().zip(&mut live.states) {
                let who = &contender.profile.id;
                facts.extend(
                    state
                        .ended(who, &market, &orders, now)
                        .into_iter()
                        .map(ModelFact::Trade),
                );
                exits.extend(state.exits(who, (self.bar, &market), &orders, now));
                let single = contender.profile.mode == AnswerMode::Single;
                let subjects = state.due(
                    &contender.profile,
                    &contender.cadence,
                    close,
                    &market,
                    single,
                );
                if !subjects.is_empty() && (state.busy || !state.waiting.is_empty()) {
                    debug!(event = "model_busy", contender = %contender.profile.id, "still thinking about an earlier bar");
                    continue;
                }
                state.waiting.extend(subjects);
            }
            for (who, state) in &mut live.retired {
                facts.extend(
                    state
                        .ended(who, &market, &orders, now)
                        .into_iter()
                        .map(ModelFact::Trade),
                );
                exits.extend(state.exits(who, (self.bar, &market), &orders, now));
            }
        }
        for fact in facts {
            self.journal.post(Record::Model(Box::new(fact))).await?;
        }
        if !exits.is_empty() {
            self.leave(live, exits, now).await?;
        }
        let states = live.states.iter_mut().chain(live.retired.values_mut());
        for plan in states.flat_map(ModelState::leaving).collect::<Vec<_>>() {
            self.keep_leaving(&plan, now).await?;
        }
        self.publish(live);
        // Who has not tried a provider that rests for longest is the first to try it.
        let mut turns: Vec<usize> = (0..self.contenders.len()).collect();
        turns.sort_by_key(|index| {
            live.breakers
                .get(&self.contenders[*index].model.provider)
                .and_then(|b| b.tried(*index))
        });
        for index in turns {
            self.next_question(live, index).await?;
        }
        Ok(())
    }

    /// A position is being left: whoever is here after this process goes on with it.
    async fn keep_leaving(&self, plan: &TradePlan, now: Ms) -> Result<(), StageError> {
        let place = self
            .market
            .borrow()
            .insts
            .keys()
            .position(|inst| *inst == plan.inst);
        let row = ModelItem {
            run_id: plan.run_id,
            contender: plan.contender.clone(),
            // Beside the items of the answer that opened it.
            ordinal: u32::try_from(place.unwrap_or_default())
                .unwrap_or_default()
                .saturating_add(1000),
            inst: plan.inst.clone(),
            action: "leave".to_owned(),
            code: "accepted".to_owned(),
            detail: plan.leaving.clone().unwrap_or_default(),
            said: "{}".to_owned(),
            plan: Some(serde_json::to_string(plan).expect("a plan is JSON")),
            evidence: (0, 0),
            at: now,
        };
        self.journal
            .post(Record::Model(Box::new(ModelFact::Items(vec![row]))))
            .await
    }

    /// Takes out what is to be left without asking.
    async fn leave(&self, live: &Live, exits: Vec<Proposal>, now: Ms) -> Result<(), StageError> {
        let Some(account) = self.account.borrow().clone() else {
            return Ok(());
        };
        let run_id = self.ids.next(now);
        for exit in &exits {
            info!(event = "model_exit", %run_id, contender = %exit.contender, inst = %exit.inst, why = %exit.reason, "leaving without asking");
        }
        let trigger = format!("plans on {} bar {}", self.bar, live.last_bar.0);
        self.journal
            .post(Record::Run {
                run_id,
                kind: RunKind::Cycle,
                trigger,
                at: now,
                caused_by: Some(self.start_run),
            })
            .await?;
        self.decide(run_id, live.last_bar, &account, exits, Vec::new(), now)
            .await
    }

    /// Freezes the moment, writes it with the decisions, and hands them to the allocator.
    async fn decide(
        &self,
        run_id: RunId,
        bar_ts: Ms,
        account: &AccountView,
        proposals: Vec<Proposal>,
        kept: Vec<Record>,
        now: Ms,
    ) -> Result<(), StageError> {
        let market = frozen(&self.market.borrow(), self.bar, bar_ts);
        let holdings = self.orders.borrow().holdings.clone();
        let snapshot = Arc::new(Snapshot::freeze(
            now,
            (self.bar, bar_ts),
            market,
            account,
            &holdings,
        ));
        let proposals: Vec<Proposal> = proposals
            .into_iter()
            .filter(|p| snapshot.market.contains_key(&p.inst))
            .collect();
        let mut rows = vec![
            Record::Snapshot {
                run_id,
                as_of: now,
                body: snapshot.canonical(),
            },
            Record::Decisions {
                run_id,
                at: now,
                proposals: proposals.clone(),
            },
        ];
        rows.extend(kept);
        self.journal.post(Record::Together(rows)).await?;
        if proposals.iter().all(|p| p.target.is_none()) {
            return Ok(());
        }
        self.cycles
            .send(Cycle {
                run_id,
                snapshot,
                proposals,
            })
            .await
            .map_err(|_| StageError::Gone("the allocator"))
    }

    /// Tells the gate where stops are to be.
    fn publish(&self, live: &Live) {
        let levels = levels(
            live.states
                .iter()
                .chain(live.retired.values())
                .flat_map(|state| state.plans.values()),
        );
        self.levels.send_if_modified(|now| {
            let changed = *now != levels;
            *now = levels;
            changed
        });
    }
}

/// The market as the allocator is to see it.
fn frozen(market: &MarketView, base: Bar, bar_ts: Ms) -> BTreeMap<InstId, InstSnapshot> {
    let close = bar_ts.plus(base.span());
    market
        .insts
        .iter()
        .map(|(inst, shown)| {
            let closed = |bar: Bar| {
                shown
                    .history(bar)
                    .last()
                    .copied()
                    .filter(|c| c.ts.plus(bar.span()) == close)
            };
            let longer = shown.series.keys().filter(|bar| **bar != base);
            let longer = longer
                .filter_map(|bar| Some((*bar, closed(*bar)?)))
                .collect();
            let instrument = Arc::clone(&shown.instrument);
            (
                inst.clone(),
                InstSnapshot {
                    instrument,
                    bar: closed(base),
                    longer,
                    quote: shown.quote,
                },
            )
        })
        .collect()
}
