//! Choice of whom to ask, whether anyone may be asked, and with which prompt.

use std::sync::Arc;

use tracing::{debug, info, warn};

use super::{Live, ModelContender, ModelRunner, PendingQuestion, ShowPrompt, ShownPrompt};
use crate::domain::model::{ModelFact, ModelQuestion};
use crate::domain::record::{Record, RunKind};
use crate::domain::{ContenderId, InstId, Ms, Readiness, RunId, TradingState};
use crate::llm::answer::AnswerMode;
use crate::llm::asking::Asking;
use crate::llm::budget::{Room, WorstCost};
use crate::llm::prompt::{Contract, Prompt, PromptFacts, build};
use crate::llm::state::{ModelState, fresh};
use crate::runtime::StageError;

/// A question that may be put.
struct Ready {
    contract: Contract,
    prompt: Prompt,
    close_only: Option<String>,
    from_the_reserve: bool,
}

/// Why no question is put.
enum NotAsked {
    Because(String),
    /// Provider that fails, with the contract that would have been asked otherwise.
    Provider(String, Box<Contract>, Option<String>),
}

impl<T: Into<String>> From<T> for NotAsked {
    fn from(why: T) -> Self {
        NotAsked::Because(why.into())
    }
}

impl ModelRunner {
    /// Starts the next question of an arm, if one waits and the state allows it.
    pub(super) async fn next_question(
        &mut self,
        state: &mut Live,
        index: usize,
    ) -> Result<(), StageError> {
        while !state.seats[index].busy {
            let Some((subject, trigger)) = state.seats[index].waiting.pop_front() else {
                return Ok(());
            };
            match self.prepare(state, index, subject.as_ref(), &trigger) {
                Ok(ready) => self.ask(state, index, subject, ready).await?,
                Err(NotAsked::Because(why)) => self.note_not_asked(state, index, why),
                Err(NotAsked::Provider(why, contract, close_only)) => {
                    // How long it rests changes with every second; that it rests does not.
                    self.note_not_asked(
                        state,
                        index,
                        why.split(';').next().unwrap_or_default().to_owned(),
                    );
                    self.fall_back(state, index, subject, (*contract, close_only))
                        .await?;
                }
            }
        }
        Ok(())
    }

    /// A question has failed, and its provider fails too often: the rule decides at once, not a bar
    /// later.
    pub(super) async fn failed(
        &mut self,
        state: &mut Live,
        pending: &PendingQuestion,
    ) -> Result<(), StageError> {
        let (index, subject) = (pending.player, pending.subject.clone());
        if self.players[index].fallback.is_none() {
            return Ok(());
        }
        let trigger = pending.contract.data.meta.trigger.clone();
        match self.prepare(state, index, subject.as_ref(), &trigger) {
            Err(NotAsked::Provider(_, contract, close_only)) => {
                self.fall_back(state, index, subject, (*contract, close_only))
                    .await
            }
            Ok(_) | Err(NotAsked::Because(_)) => Ok(()),
        }
    }

    /// Told once for each reason: it may last for hours.
    fn note_not_asked(&self, state: &mut Live, index: usize, why: String) {
        let (who, seat) = (&self.players[index].arm.id, &mut state.seats[index]);
        if seat.not_asked.as_ref() != Some(&why) {
            warn!(event = "model_not_asked", contender = %who, %why, "not asked");
        }
        seat.not_asked = Some(why);
    }

    /// Lets the configured rule decide while the provider fails, judged as the model would be.
    /// Without such a rule there is no decision: what is held keeps its stop, its target and its
    /// condition.
    async fn fall_back(
        &mut self,
        state: &mut Live,
        index: usize,
        subject: Option<InstId>,
        (contract, close_only): (Contract, Option<String>),
    ) -> Result<(), StageError> {
        let player = &self.players[index];
        let Some(fallback) = &player.fallback else {
            return Ok(());
        };
        let now = self.clock.now();
        let items = fallback.items(
            &player.arm,
            subject.as_ref(),
            &self.market.borrow(),
            &self.orders.borrow(),
        );
        state.seats[index].note_asked(&player.arm, subject.as_ref(), &self.market.borrow(), now);
        if items.is_empty() {
            return Ok(());
        }
        let run_id = self.ids.next(now);
        let by = format!("rule:{}", fallback.strategy.name);
        let close_only = close_only
            .or_else(|| (!fallback.may_open).then(|| "a fallback may not open".to_owned()));
        info!(event = "model_fallback", %run_id, contender = %player.arm.id, %by, "its provider fails; a rule decides");
        let trigger = format!("{}, by {by}", contract.data.meta.trigger);
        let none = String::new;
        let asked = self.question(index, run_id, subject.as_ref(), &contract, now);
        let asked = ModelQuestion {
            model: by,
            template: none(),
            template_hash: none(),
            prompt_hash: none(),
            ..asked
        };
        self.begin(asked, &trigger).await?;
        let bar_ts = state.last_bar;
        let pending = PendingQuestion {
            player: index,
            run_id,
            bar_ts,
            contract,
            close_only,
            by_rule: true,
            subject,
            tries: false,
        };
        self.act(state, &pending, items, now).await?;
        self.publish(state);
        Ok(())
    }

    /// Prepares the question that would be asked now, or returns the reason if none may be.
    fn prepare(
        &self,
        state: &Live,
        index: usize,
        subject: Option<&InstId>,
        trigger: &str,
    ) -> Result<Ready, NotAsked> {
        let (player, seat) = (&self.players[index], &state.seats[index]);
        let now = self.clock.now();
        if let Some(why) = &seat.disabled {
            return Err(why.into());
        }
        if !self.trading {
            return Err("trading is off".into());
        }
        if let Readiness::Reconciling(why) | Readiness::Halted(why) = &*self.readiness.borrow() {
            return Err(why.into());
        }
        let standing = self.standing.borrow().of_contender(&player.arm.id);
        if standing == TradingState::Halted {
            return Err("trading is halted".into());
        }
        self.is_fresh(player, subject, (state.last_bar.plus(self.bar.span()), now))?;
        let about_a_position = ModelState::holds(
            &player.arm,
            subject,
            &self.market.borrow(),
            &self.orders.borrow(),
        );
        let reducing = self.reducing(&player.arm.id);
        if reducing.is_some() && !about_a_position {
            return Err("trading is reduce-only, and nothing is held".into());
        }
        let written = |close_only| self.contract(state, index, subject, trigger, close_only);
        let (contract, prompt) = written(reducing.is_some())?;
        if let Some(Err(why)) = state
            .breakers
            .get(&player.model.provider)
            .map(|breaker| breaker.may(now))
        {
            return Err(NotAsked::Provider(why, Box::new(contract), reducing));
        }
        let model = &player.model;
        let worst =
            WorstCost::of_prompt(&prompt, player.arm.mode, &model.parameters, &model.prices);
        match seat
            .spent(now)
            .room(&player.allowance, about_a_position, worst)?
        {
            Room::Free => Ok(Ready {
                contract,
                prompt,
                close_only: reducing,
                from_the_reserve: false,
            }),
            Room::Reserve(why) => {
                let (contract, prompt) = written(true)?;
                Ok(Ready {
                    contract,
                    prompt,
                    close_only: Some(why),
                    from_the_reserve: true,
                })
            }
        }
    }

    /// Why a contender may only take risk off, if it may.
    fn reducing(&self, who: &ContenderId) -> Option<String> {
        let standing = self.standing.borrow().of_contender(who) == TradingState::ReduceOnly;
        let reducing = standing || matches!(*self.readiness.borrow(), Readiness::ReduceOnly(_));
        reducing.then(|| "trading is reduce-only".to_owned())
    }

    /// No question about data that is old or not whole.
    fn is_fresh(
        &self,
        player: &ModelContender,
        subject: Option<&InstId>,
        (close, now): (Ms, Ms),
    ) -> Result<(), String> {
        let market = self.market.borrow();
        if !market.live {
            return Err("the market is not whole".to_owned());
        }
        for inst in player
            .arm
            .instruments
            .iter()
            .filter(|inst| subject.is_none_or(|only| only == *inst))
        {
            fresh(
                &market,
                inst,
                player.arm.bar,
                player.quote_age,
                (close, now),
            )?;
        }
        match self.account.borrow().is_some() {
            true => Ok(()),
            false => Err("the account is not known yet".to_owned()),
        }
    }

    fn contract(
        &self,
        state: &Live,
        index: usize,
        subject: Option<&InstId>,
        trigger: &str,
        close_only: bool,
    ) -> Result<(Contract, Prompt), String> {
        let (player, seat) = (&self.players[index], &state.seats[index]);
        let now = self.clock.now();
        let account = self
            .account
            .borrow()
            .clone()
            .ok_or("the account is not known yet")?;
        let orders = self.orders.borrow();
        let contract = build(&PromptFacts {
            now,
            trigger,
            last_decision: seat.last_decision,
            symbol: subject,
            arm: &player.arm,
            market: &self.market.borrow(),
            account: &account,
            orders: &orders,
            book: &self.book,
            plans: &seat.plans,
            extras: &self.extras.borrow(),
            history: &seat.history,
            opens_today: seat.opens_today(&player.arm, &self.market.borrow(), &orders, now),
            turnover_today: orders.tally.turnover_of(&player.arm.id, now).0,
            llm_cost_today: seat.spent(now).cost_usd,
            close_only,
        });
        let prompt = player
            .template
            .render(player.arm.mode, &contract)
            .map_err(|error| error.to_string())?;
        Ok((contract, prompt))
    }

    /// Builds the record kept of a question, without the hash of its prompt.
    fn question(
        &self,
        index: usize,
        run_id: RunId,
        subject: Option<&InstId>,
        contract: &Contract,
        now: Ms,
    ) -> ModelQuestion {
        let player = &self.players[index];
        ModelQuestion {
            run_id,
            contender: player.arm.id.clone(),
            mode: player.arm.mode.as_str().to_owned(),
            inst: subject.cloned(),
            model: player.model.id.clone(),
            template: player.template.name.clone(),
            template_hash: player.template.hash.clone(),
            prompt_hash: String::new(),
            snap: contract.data.meta.snap.clone(),
            data: contract.text.as_str().into(),
            at: now,
        }
    }

    /// A run begins with its question.
    async fn begin(&self, question: ModelQuestion, trigger: &str) -> Result<(), StageError> {
        let (run_id, at) = (question.run_id, question.at);
        let trigger = format!("{}: {trigger}", question.contender);
        let run = Record::Run {
            run_id,
            kind: RunKind::Cycle,
            trigger,
            at,
            caused_by: Some(self.start_run),
        };
        self.journal.post(run).await?;
        self.journal
            .post(Record::Model(Box::new(ModelFact::Question(question))))
            .await
    }

    async fn ask(
        &mut self,
        state: &mut Live,
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
        let meta = &ready.contract.data.meta;
        let asked = self.question(index, run_id, subject.as_ref(), &ready.contract, now);
        self.begin(
            ModelQuestion {
                prompt_hash: ready.prompt.hash.clone(),
                ..asked
            },
            &meta.trigger,
        )
        .await?;
        debug!(event = "model_asked", %run_id, contender = %player.arm.id, "asked");
        let asking = Asking {
            model: Arc::clone(&player.model),
            run_id,
            contender: player.arm.id.clone(),
            mode: player.arm.mode,
            snap: meta.snap.clone(),
            prompt: ready.prompt,
            allowance: player.allowance.clone(),
            from_the_reserve: ready.from_the_reserve,
            stop: self.stop.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
        };
        let breaker = state
            .breakers
            .entry(self.players[index].model.provider.clone())
            .or_default();
        let pending = PendingQuestion {
            player: index,
            run_id,
            bar_ts: state.last_bar,
            contract: ready.contract,
            close_only: ready.close_only,
            by_rule: false,
            subject,
            tries: breaker.asked(index, now),
        };
        let spent = Arc::clone(&state.seats[index].spent);
        state
            .asking
            .spawn(async move { (pending, asking.put(&spent).await) });
        Ok(())
    }

    pub(super) fn show(&self, state: &Live, wanted: &ShowPrompt) -> Result<ShownPrompt, String> {
        let known: Vec<&str> = self
            .players
            .iter()
            .map(|player| player.arm.id.as_str())
            .collect();
        let index = self
            .players
            .iter()
            .position(|player| player.arm.id == wanted.contender)
            .ok_or_else(|| {
                format!(
                    "no contender '{}' is a model; there are: {}",
                    wanted.contender,
                    known.join(", ")
                )
            })?;
        let player = &self.players[index];
        let subject = match (player.arm.mode, &wanted.inst) {
            (AnswerMode::Portfolio, _) => None,
            (AnswerMode::Single, Some(inst)) if player.arm.instruments.contains(inst) => {
                Some(inst.clone())
            }
            (AnswerMode::Single, Some(inst)) => {
                return Err(format!("{} does not trade {inst}", wanted.contender));
            }
            (AnswerMode::Single, None) => player.arm.instruments.first().cloned(),
        };
        // As if its bar had just closed: what would be asked, or why nobody would be and what it
        // would have been.
        let (contract, prompt, not_asked) =
            match self.prepare(state, index, subject.as_ref(), "bar") {
                Ok(ready) => (ready.contract, ready.prompt, None),
                Err(NotAsked::Because(why) | NotAsked::Provider(why, ..)) => {
                    let reducing = self.reducing(&player.arm.id).is_some();
                    let (contract, prompt) =
                        self.contract(state, index, subject.as_ref(), "bar", reducing)?;
                    (contract, prompt, Some(why))
                }
            };
        Ok(ShownPrompt {
            not_asked,
            model: player.model.id.clone(),
            template: player.template.name.clone(),
            template_hash: player.template.hash.clone(),
            prompt,
            data: contract.text,
        })
    }
}
