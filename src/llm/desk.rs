//! The desk that models are asked from: at each close it looks after what they hold, asks who is due, and turns answers into cycles.
//! Nobody waits for a model: a question is a task of its own, and an answer is judged on the state of the moment it comes in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};

use super::answer::Mode;
use super::asking::{Asking, Model, Outcome};
use super::breaker::Breaker;
use super::budget::{Allowance, Worst};
use super::code::Code;
use super::judge::{Moment, Verdict, judge};
use super::parse::{Item, Refused};
use super::plan::{Plan, held};
use super::prompt::{Arm, Contract, Facts, Prompt, Template, build};
use super::seat::{Cadence, Seat};
use super::seen::{Seen, written};
use crate::decision::{Cycle, Due, InstSnapshot, Snapshot};
use crate::domain::inputs::{RunInputs, Stage};
use crate::domain::model::{ModelFact, ModelItem, ModelMemory, Question};
use crate::domain::record::{Proposal, Record, RunKind};
use crate::domain::{
    AccountView, Bar, ContenderId, Extras, InstId, MarketView, Ms, OrdersView, Price, Readiness, RunId, Side, Standing,
    TradingState,
};
use crate::runtime::{Actor, Beat, Clock, RunIds, StageError, Stop, faults};
use crate::store::Journal;

/// How long a provider that fails is left alone, venue time.
const REST: Ms = Ms::secs(300);

/// A contender that is a model, and all it is asked with.
pub struct Player {
    pub arm: Arm,
    pub cadence: Cadence,
    pub model: Arc<Model>,
    pub template: Template,
    pub allowance: Allowance,
    /// Quotes older than this are not shown to anybody.
    pub quote_age: Ms,
}

/// Somebody wants to see what a contender would be asked now.
pub struct ShowPrompt {
    pub contender: ContenderId,
    pub inst: Option<InstId>,
    pub reply: oneshot::Sender<Result<ShownPrompt, String>>,
}

/// What it would be asked.
#[derive(Debug)]
pub struct ShownPrompt {
    pub model: String,
    pub template: String,
    pub template_hash: String,
    pub prompt: Prompt,
    pub data: String,
}

/// Where the stop of a sleeve on this side is to be, as its model has said since it opened.
pub type Levels = BTreeMap<(ContenderId, InstId), (Side, Price)>;

/// The levels that plans ask for.
pub fn levels<'a>(plans: impl IntoIterator<Item = &'a Plan>) -> Levels {
    let side = |plan: &Plan| if plan.long { Side::Buy } else { Side::Sell };
    plans.into_iter().map(|plan| ((plan.contender.clone(), plan.inst.clone()), (side(plan), plan.stop))).collect()
}

/// Plans that the database remembers; those that cannot be read are told of.
pub fn remembered(memory: &ModelMemory) -> Vec<Plan> {
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
pub struct Desk {
    pub clock: Clock,
    pub ids: Arc<RunIds>,
    pub journal: Journal,
    pub players: Vec<Player>,
    pub memory: ModelMemory,
    /// What it knows beyond that, if it has run before.
    pub kept: Kept,
    /// Levels of those who take part no more and may still hold something.
    pub retired: Levels,
    /// The bar that cycles are counted in.
    pub bar: Bar,
    pub start_run: RunId,
    pub due: mpsc::Receiver<Due>,
    pub shows: mpsc::Receiver<ShowPrompt>,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub readiness: watch::Receiver<Readiness>,
    pub standing: watch::Receiver<Standing>,
    pub extras: watch::Receiver<BTreeMap<InstId, Extras>>,
    pub levels: watch::Sender<Levels>,
    /// Is trading on?
    pub trading: bool,
    pub cycles: mpsc::Sender<Cycle>,
    /// Ends what still listens.
    pub stop: Stop,
    pub beat: Beat,
}

/// A question on its way.
struct Pending {
    player: usize,
    run_id: RunId,
    bar_ts: Ms,
    contract: Contract,
    /// Why nothing may open, as it was when it was asked.
    close_only: Option<String>,
}

type Done = (Pending, Result<Outcome, StageError>);

/// What outlives a desk that is started again.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    seats: Vec<Seat>,
    breakers: BTreeMap<String, Breaker>,
}

/// What changes from bar to bar.
struct State {
    seats: Vec<Seat>,
    breakers: BTreeMap<String, Breaker>,
    asking: JoinSet<Done>,
    last_bar: Ms,
}

impl Actor for Desk {
    async fn run(&mut self, stop: Stop) -> Result<(), StageError> {
        if self.kept.seats.is_empty() {
            let plans = remembered(&self.memory);
            self.kept.seats = self.players.iter().map(|player| Seat::of(&player.arm, &self.memory, &plans)).collect();
        }
        let Kept { mut seats, breakers } = self.kept.clone();
        seats.iter_mut().for_each(Seat::begin);
        let mut state = State { seats, breakers, asking: JoinSet::new(), last_bar: Ms::ZERO };
        self.stop = stop.clone();
        self.publish(&state);
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(done) = state.asking.join_next() => match done {
                    Ok((pending, outcome)) => self.answered(&mut state, pending, outcome?).await?,
                    // A task of its own that panicked: nobody knows whose it was, so everybody may ask again.
                    Err(lost) => {
                        error!(event = "question_lost", %lost, "a question was lost");
                        state.asking.abort_all();
                        while state.asking.join_next().await.is_some() {}
                        state.seats.iter_mut().for_each(Seat::begin);
                    }
                },
                due = self.due.recv() => match due {
                    Some(due) => self.on_bar(&mut state, due).await?,
                    // Decision has ended: nobody counts cycles any more.
                    None => return Ok(()),
                },
                Some(show) = self.shows.recv() => {
                    let shown = self.show(&state, &show);
                    drop(show.reply.send(shown));
                }
                _ = tick.tick() => {}
            }
            self.kept = Kept { seats: state.seats.clone(), breakers: state.breakers.clone() };
            faults::point("models").await;
            self.beat.tick();
        }
    }
}

impl Desk {
    /// A bar has closed: what is over is noted, what is to be left is left, who is due is asked.
    async fn on_bar(&mut self, state: &mut State, due: Due) -> Result<(), StageError> {
        let now = self.clock.now();
        state.last_bar = due.bar_ts;
        let close = due.bar_ts.plus(self.bar.span());
        let mut facts = Vec::new();
        let mut exits = Vec::new();
        {
            let (market, orders) = (self.market.borrow(), self.orders.borrow());
            for (player, seat) in self.players.iter().zip(&mut state.seats) {
                facts.extend(
                    seat.ended(&player.arm, (self.bar, &market), &orders, now).into_iter().map(ModelFact::Trade),
                );
                exits.extend(seat.exits(&player.arm, (self.bar, &market), &orders, now));
                let single = player.arm.mode == Mode::Single;
                let subjects = seat.due(&player.arm, &player.cadence, close, &market, single);
                if !subjects.is_empty() && (seat.busy || !seat.waiting.is_empty()) {
                    debug!(event = "model_busy", contender = %player.arm.id, "still thinking about an earlier bar");
                    continue;
                }
                seat.waiting.extend(subjects);
            }
        }
        for fact in facts {
            self.journal.post(Record::Model(Box::new(fact))).await?;
        }
        if !exits.is_empty() {
            self.leave(state, exits, now).await?;
        }
        self.publish(state);
        for index in 0..self.players.len() {
            self.next_question(state, index).await?;
        }
        Ok(())
    }

    /// Takes out what is to be left without asking.
    async fn leave(&self, state: &State, exits: Vec<Proposal>, now: Ms) -> Result<(), StageError> {
        let Some(account) = self.account.borrow().clone() else { return Ok(()) };
        let run_id = self.ids.next(now);
        for exit in &exits {
            info!(event = "model_exit", %run_id, contender = %exit.contender, inst = %exit.inst, why = %exit.reason, "leaving without asking");
        }
        let trigger = format!("plans on {} bar {}", self.bar, state.last_bar.0);
        self.journal
            .post(Record::Run { run_id, kind: RunKind::Cycle, trigger, at: now, caused_by: Some(self.start_run) })
            .await?;
        self.decide(run_id, state.last_bar, &account, exits, Vec::new(), now).await
    }

    /// Starts the next question of an arm, if one waits and the state allows it.
    async fn next_question(&mut self, state: &mut State, index: usize) -> Result<(), StageError> {
        while !state.seats[index].busy {
            let Some((subject, trigger)) = state.seats[index].waiting.pop_front() else { return Ok(()) };
            match self.prepare(state, index, subject.as_ref(), &trigger) {
                Ok(ready) => self.ask(state, index, subject, ready).await?,
                Err(why) => {
                    let who = &self.players[index].arm.id;
                    // Once for each reason: it may last for hours.
                    let seat = &mut state.seats[index];
                    if seat.not_asked.as_ref() != Some(&why) {
                        warn!(event = "model_not_asked", contender = %who, %why, "not asked");
                    }
                    seat.not_asked = Some(why);
                }
            }
        }
        Ok(())
    }

    /// What would be asked now; the reason, if nothing may be.
    fn prepare(&self, state: &State, index: usize, subject: Option<&InstId>, trigger: &str) -> Result<Ready, String> {
        let (player, seat) = (&self.players[index], &state.seats[index]);
        let now = self.clock.now();
        if let Some(why) = &seat.disabled {
            return Err(why.clone());
        }
        if !self.trading {
            return Err("trading is off".to_owned());
        }
        if let Readiness::Reconciling(why) | Readiness::Halted(why) = &*self.readiness.borrow() {
            return Err(why.clone());
        }
        if self.standing.borrow().of_contender(&player.arm.id) == TradingState::Halted {
            return Err("trading is halted".to_owned());
        }
        state.breakers.get(&player.model.id).map_or(Ok(()), |breaker| breaker.may(now))?;
        self.is_fresh(player, subject, now)?;
        let about_a_position = Seat::holds(&player.arm, subject, &self.market.borrow(), &self.orders.borrow());
        let rough = |close_only| self.contract(state, index, subject, trigger, close_only);
        let (contract, prompt) = rough(false)?;
        let bytes: usize = prompt.messages.iter().map(|message| message.content.len() * 2 + 200).sum();
        let schema = player.arm.mode.schema().to_string().len() + 1000;
        let worst = Worst::of(bytes + schema, player.model.parameters.max_tokens, &player.model.prices);
        let spent = seat.spent(now);
        match spent.may(&player.allowance, false, worst) {
            Ok(()) => Ok(Ready { contract, prompt, close_only: None }),
            Err(why) if !about_a_position => Err(why),
            Err(why) => {
                spent.may(&player.allowance, true, worst)?;
                let (contract, prompt) = rough(true)?;
                Ok(Ready { contract, prompt, close_only: Some(why) })
            }
        }
    }

    /// No question about data that is old or not whole.
    fn is_fresh(&self, player: &Player, subject: Option<&InstId>, now: Ms) -> Result<(), String> {
        let market = self.market.borrow();
        if !market.live {
            return Err("the market is not whole".to_owned());
        }
        for inst in player.arm.instruments.iter().filter(|inst| subject.is_none_or(|only| only == *inst)) {
            let quote = market.insts.get(inst).and_then(|shown| shown.quote);
            let age = quote.map(|quote| now.since(quote.at));
            if age.is_none_or(|age| age > player.quote_age) {
                return Err(format!("{inst} has no fresh quote"));
            }
        }
        match self.account.borrow().is_some() {
            true => Ok(()),
            false => Err("the account is not known yet".to_owned()),
        }
    }

    fn contract(
        &self,
        state: &State,
        index: usize,
        subject: Option<&InstId>,
        trigger: &str,
        close_only: bool,
    ) -> Result<(Contract, Prompt), String> {
        let (player, seat) = (&self.players[index], &state.seats[index]);
        let now = self.clock.now();
        let account = self.account.borrow().clone().ok_or("the account is not known yet")?;
        let orders = self.orders.borrow();
        let contract = build(&Facts {
            now,
            trigger,
            last_decision: seat.last_decision,
            symbol: subject,
            arm: &player.arm,
            market: &self.market.borrow(),
            account: &account,
            orders: &orders,
            plans: &seat.plans,
            extras: &self.extras.borrow(),
            history: &seat.history,
            opens_today: seat.opens_today(now),
            turnover_today: orders.tally.turnover_of(&player.arm.id, now).0,
            llm_cost_today: seat.spent(now).cost_usd,
            close_only,
        });
        let prompt = player.template.render(player.arm.mode, &contract).map_err(|error| error.to_string())?;
        Ok((contract, prompt))
    }

    async fn ask(
        &mut self,
        state: &mut State,
        index: usize,
        subject: Option<InstId>,
        ready: Ready,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let run_id = self.ids.next(now);
        let player = &self.players[index];
        let seat = &mut state.seats[index];
        (seat.busy, seat.not_asked) = (true, None);
        seat.note_asked(&player.arm, subject.as_ref(), &self.market.borrow(), now);
        let data = &ready.contract.data;
        let trigger = format!("{}: {}", player.arm.id, data.meta.trigger);
        self.journal
            .post(Record::Run { run_id, kind: RunKind::Cycle, trigger, at: now, caused_by: Some(self.start_run) })
            .await?;
        let question = Question {
            run_id,
            contender: player.arm.id.clone(),
            mode: player.arm.mode.as_str().to_owned(),
            inst: subject,
            model: player.model.id.clone(),
            template: player.template.name.clone(),
            template_hash: player.template.hash.clone(),
            prompt_hash: ready.prompt.hash.clone(),
            snap: data.meta.snap.clone(),
            data: ready.contract.text.as_str().into(),
            at: now,
        };
        self.journal.post(Record::Model(Box::new(ModelFact::Question(question)))).await?;
        debug!(event = "model_asked", %run_id, contender = %player.arm.id, "asked");
        let asking = Asking {
            model: Arc::clone(&player.model),
            run_id,
            contender: player.arm.id.clone(),
            mode: player.arm.mode,
            snap: data.meta.snap.clone(),
            prompt: ready.prompt,
            allowance: player.allowance.clone(),
            from_the_reserve: ready.close_only.is_some(),
            stop: self.stop.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
        };
        let pending = Pending {
            player: index,
            run_id,
            bar_ts: state.last_bar,
            contract: ready.contract,
            close_only: ready.close_only,
        };
        let spent = Arc::clone(&state.seats[index].spent);
        state.asking.spawn(async move { (pending, asking.put(&spent).await) });
        Ok(())
    }

    /// An answer has come, or the reason why there is none.
    async fn answered(&mut self, state: &mut State, pending: Pending, outcome: Outcome) -> Result<(), StageError> {
        let now = self.clock.now();
        let index = pending.player;
        let (who, model) = (self.players[index].arm.id.clone(), self.players[index].model.id.clone());
        let breaker = state.breakers.entry(model.clone()).or_default();
        for worked in &outcome.worked {
            if breaker.note(*worked, now, REST) {
                error!(
                    event = "breaker_open",
                    model,
                    "the provider fails too often: left alone for {} s",
                    REST.0 / 1000
                );
            }
        }
        let seat = &mut state.seats[index];
        seat.busy = false;
        match outcome.answer {
            Err(refused) => {
                warn!(event = "model_failed", run_id = %pending.run_id, contender = %who, code = %refused.code,
                    detail = %refused.detail, "no answer: no new risk");
                if refused.code == Code::Forbidden {
                    error!(event = "model_disabled", contender = %who, detail = %refused.detail,
                        "key or model are refused: not asked again until a restart");
                    seat.disabled = Some(refused.detail.clone());
                }
                self.keep_failure(&pending, &who, &refused, now).await?;
            }
            Ok(items) => self.act(state, &pending, items, now).await?,
        }
        self.publish(state);
        self.next_question(state, index).await
    }

    async fn keep_failure(
        &self,
        pending: &Pending,
        who: &ContenderId,
        refused: &Refused,
        now: Ms,
    ) -> Result<(), StageError> {
        let row = ModelItem {
            run_id: pending.run_id,
            contender: who.clone(),
            ordinal: 0,
            inst: InstId::new(""),
            action: "none".to_owned(),
            code: refused.code.as_str().to_owned(),
            detail: refused.detail.clone(),
            said: "{}".to_owned(),
            plan: None,
            evidence: (0, 0),
            at: now,
        };
        self.journal.post(Record::Model(Box::new(ModelFact::Items(vec![row])))).await
    }

    /// Judges an answer on what is known now, writes what came of it, and hands it on.
    async fn act(&mut self, state: &mut State, pending: &Pending, items: Vec<Item>, now: Ms) -> Result<(), StageError> {
        let index = pending.player;
        let Some(account) = self.account.borrow().clone() else { return Ok(()) };
        let (verdicts, seen) = {
            let seat = &state.seats[index];
            let moment = Moment {
                now,
                run_id: pending.run_id,
                arm: &self.players[index].arm,
                asked: &pending.contract,
                market: &self.market.borrow(),
                account: &account,
                orders: &self.orders.borrow(),
                plans: &seat.plans,
                extras: &self.extras.borrow(),
                opens_today: seat.opens_today(now),
                close_only: pending.close_only.as_deref(),
            };
            (judge(&moment, items), Seen::of(&moment))
        };
        let inputs = RunInputs::new((pending.run_id, Stage::Answer), "", &seen, written(&verdicts), now);
        self.journal.post(Record::Inputs(Box::new(inputs))).await?;
        let seat = &mut state.seats[index];
        seat.last_decision = Some(now);
        let mut rows = Vec::new();
        for (ordinal, verdict) in verdicts.iter().enumerate() {
            let arm = &verdict.proposal.contender;
            let held = !held(&self.orders.borrow(), &self.market.borrow(), arm, &verdict.item.inst).is_zero();
            let plan = match (&verdict.plan, verdict.tightened) {
                (Some(plan), _) => Some(plan.clone()),
                (None, Some(stop)) => seat.plans.get(&verdict.item.inst).map(|plan| Plan { stop, ..plan.clone() }),
                (None, None) => None,
            };
            if let Some(plan) = &plan {
                seat.adopt(plan.clone(), verdict.plan.is_some() && !held);
            }
            rows.push(item_row(pending, verdict, ordinal, plan.as_ref(), now));
            let (run_id, code, inst) = (pending.run_id, verdict.code, &verdict.item.inst);
            info!(event = "model_said", %run_id, contender = %verdict.proposal.contender, %inst, action = verdict.item.action(),
                %code, detail = %verdict.detail, "an item of an answer");
        }
        let mut proposals: Vec<Proposal> = Vec::new();
        for verdict in verdicts {
            let known = self.players[index].arm.instruments.contains(&verdict.item.inst);
            if known && proposals.iter().all(|other| other.inst != verdict.item.inst) {
                proposals.push(verdict.proposal);
            }
        }
        self.decide(pending.run_id, pending.bar_ts, &account, proposals, rows, now).await
    }

    /// Freezes the moment, writes it with the decisions, and hands them to the allocator.
    async fn decide(
        &self,
        run_id: RunId,
        bar_ts: Ms,
        account: &AccountView,
        proposals: Vec<Proposal>,
        items: Vec<ModelItem>,
        now: Ms,
    ) -> Result<(), StageError> {
        let market = frozen(&self.market.borrow(), self.bar, bar_ts);
        let holdings = self.orders.borrow().holdings.clone();
        let snapshot = Arc::new(Snapshot::freeze(now, (self.bar, bar_ts), market, account, &holdings));
        let proposals: Vec<Proposal> =
            proposals.into_iter().filter(|p| snapshot.market.contains_key(&p.inst)).collect();
        self.journal
            .post(Record::Together(vec![
                Record::Snapshot { run_id, as_of: now, body: snapshot.canonical() },
                Record::Decisions { run_id, at: now, proposals: proposals.clone() },
                Record::Model(Box::new(ModelFact::Items(items))),
            ]))
            .await?;
        if proposals.iter().all(|p| p.target.is_none()) {
            return Ok(());
        }
        self.cycles.send(Cycle { run_id, snapshot, proposals }).await.map_err(|_| StageError::Gone("the allocator"))
    }

    /// Tells the gate where stops are to be.
    fn publish(&self, state: &State) {
        let mut levels = levels(state.seats.iter().flat_map(|seat| seat.plans.values()));
        levels.extend(self.retired.clone());
        self.levels.send_if_modified(|now| {
            let changed = *now != levels;
            *now = levels;
            changed
        });
    }

    fn show(&self, state: &State, wanted: &ShowPrompt) -> Result<ShownPrompt, String> {
        let known: Vec<&str> = self.players.iter().map(|player| player.arm.id.as_str()).collect();
        let index = self.players.iter().position(|player| player.arm.id == wanted.contender).ok_or_else(|| {
            format!("no contender '{}' is a model; there are: {}", wanted.contender, known.join(", "))
        })?;
        let player = &self.players[index];
        let subject = match (player.arm.mode, &wanted.inst) {
            (Mode::Portfolio, _) => None,
            (Mode::Single, Some(inst)) if player.arm.instruments.contains(inst) => Some(inst.clone()),
            (Mode::Single, Some(inst)) => return Err(format!("{} does not trade {inst}", wanted.contender)),
            (Mode::Single, None) => player.arm.instruments.first().cloned(),
        };
        let (contract, prompt) = self.contract(state, index, subject.as_ref(), "bar", false)?;
        Ok(ShownPrompt {
            model: player.model.id.clone(),
            template: player.template.name.clone(),
            template_hash: player.template.hash.clone(),
            prompt,
            data: contract.text,
        })
    }
}

/// A question that may be put.
struct Ready {
    contract: Contract,
    prompt: Prompt,
    close_only: Option<String>,
}

fn item_row(pending: &Pending, verdict: &Verdict, ordinal: usize, plan: Option<&Plan>, now: Ms) -> ModelItem {
    let item = &verdict.item;
    let number = |value: Option<Decimal>| value.map(|value| value.to_string());
    let said = serde_json::json!({
        "want": format!("{:?}", item.want), "stop_px": number(item.stop), "target_px": number(item.target),
        "horizon_min": item.horizon_min, "p_target_first": number(item.p_target_first),
        "max_entry_deviation_bps": item.deviation_bps, "invalidation": item.invalidation, "evidence": item.evidence,
        "reason": item.reason,
    });
    let (right, all) = pending.contract.verified(&item.evidence);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ModelItem {
        run_id: pending.run_id,
        contender: verdict.proposal.contender.clone(),
        ordinal: count(ordinal),
        inst: item.inst.clone(),
        action: item.action().to_owned(),
        code: verdict.code.as_str().to_owned(),
        detail: verdict.detail.clone(),
        said: said.to_string(),
        plan: plan.map(|plan| serde_json::to_string(plan).expect("a plan is JSON")),
        evidence: (count(right), count(all)),
        at: now,
    }
}

/// The market as the allocator is to see it.
fn frozen(market: &MarketView, base: Bar, bar_ts: Ms) -> BTreeMap<InstId, InstSnapshot> {
    let close = bar_ts.plus(base.span());
    market
        .insts
        .iter()
        .map(|(inst, shown)| {
            let closed = |bar: Bar| shown.history(bar).last().copied().filter(|c| c.ts.plus(bar.span()) == close);
            let longer = shown.series.keys().filter(|bar| **bar != base);
            let longer = longer.filter_map(|bar| Some((*bar, closed(*bar)?))).collect();
            let instrument = Arc::clone(&shown.instrument);
            (inst.clone(), InstSnapshot { instrument, bar: closed(base), longer, quote: shown.quote })
        })
        .collect()
}
