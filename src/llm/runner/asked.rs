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
    /// Starts the next question of an profile, if one waits and the live allows it.
    pub(super) async fn next_question(
        &mut self,
        live: &mut Live,
        index: usize,
    ) -> Result<(), StageError> {
        while !live.states[index].busy {
            let Some((subject, trigger)) = live.states[index].waiting.pop_front() else {
                return Ok(());
            };
            match self.prepare(live, index, subject.as_ref(), &trigger) {
                Ok(ready) => self.ask(live, index, subject, ready).await?,
                Err(NotAsked::Because(why)) => self.note_not_asked(live, index, why),
                Err(NotAsked::Provider(why, contract, close_only)) => {
                    // How long it rests changes with every second; that it rests does not.
                    self.note_not_asked(
                        live,
                        index,
                        why.split(';').next().unwrap_or_default().to_owned(),
                    );
                    self.fall_back(live, index, subject, (*contract, close_only))
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
        live: &mut Live,
        pending: &PendingQuestion,
    ) -> Result<(), StageError> {
        let (index, subject) = (pending.contender, pending.subject.clone());
        if self.contenders[index].fallback.is_none() {
            return Ok(());
        }
        let trigger = pending.contract.data.meta.trigger.clone();
        match self.prepare(live, index, subject.as_ref(), &trigger) {
            Err(NotAsked::Provider(_, contract, close_only)) => {
                self.fall_back(live, index, subject, (*contract, close_only))
                    .await
            }
            Ok(_) | Err(NotAsked::Because(_)) => Ok(()),
        }
    }

    /// Told once for each reason: it may last for hours.
    fn note_not_asked(&self, live: &mut Live, index: usize, why: String) {
        let (who, state) = (&self.contenders[index].profile.id, &mut live.states[index]);
        if state.not_asked.as_ref() != Some(&why) {
            warn!(event = "model_not_asked", contender = %who, %why, "not asked");
        }
        state.not_asked = Some(why);
    }

    /// Lets the configured rule decide while the provider fails, judged as the model would be.
    /// Without such a rule there is no decision: what is held keeps its stop, its target and its
    /// condition.
    async fn fall_back(
        &mut self,
        live: &mut Live,
        index: usize,
        subject: Option<InstId>,
        (contract, close_only): (Contract, Option<String>),
    ) -> Result<(), StageError> {
        let contender = &self.contenders[index];
        let Some(fallback) = &contender.fallback else {
            return Ok(());
        };
        let now = self.clock.now();
        let items = fallback.items(
            &contender.profile,
            subject.as_ref(),
            &self.market.borrow(),
            &self.orders.borrow(),
        );
        live.states[index].note_asked(
            &contender.profile,
            subject.as_ref(),
            &self.market.borrow(),
            now,
        );
        if items.is_empty() {
            return Ok(());
        }
        let run_id = self.ids.next(now);
        let by = format!("rule:{}", fallback.strategy.name);
        let close_only = close_only
            .or_else(|| (!fallback.may_open).then(|| "a fallback may not open".to_owned()));
        info!(event = "model_fallback", %run_id, contender = %contender.profile.id, %by, "its provider fails; a rule decides");
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
        let bar_ts = live.last_bar;
        let pending = PendingQuestion {
            contender: index,
            run_id,
            bar_ts,
            contract,
            close_only,
            by_rule: true,
            subject,
            tries: false,
        };
        self.act(live, &pending, items, now).await?;
        self.publish(live);
        Ok(())
    }

    /// Prepares the question that would be asked now, or returns the reason if none may be.
    fn prepare(
        &self,
        live: &Live,
        index: usize,
        subject: Option<&InstId>,
        trigger: &str,
    ) -> Result<Ready, NotAsked> {
        let (contender, state) = (&self.contenders[index], &live.states[index]);
        let now = self.clock.now();
        if let Some(why) = &state.disabled {
            return Err(why.into());
        }
        if !self.trading {
            return Err("trading is off".into());
        }
        if let Readiness::Reconciling(why) | Readiness::Halted(why) = &*self.readiness.borrow() {
            return Err(why.into());
        }
        let restrictions = self
            .restrictions
            .borrow()
            .of_contender(&contender.profile.id);
        if restrictions == TradingState::Halted {
            return Err("trading is halted".into());
        }
        self.is_fresh(
            contender,
            subject,
            (live.last_bar.plus(self.bar.span()), now),
        )?;
        let about_a_position = ModelState::holds(
            &contender.profile,
            subject,
            &self.market.borrow(),
            &self.orders.borrow(),
        );
        let reducing = self.reducing(&contender.profile.id);
        if reducing.is_some() && !about_a_position {
            return Err("trading is reduce-only, and nothing is held".into());
        }
        let written = |close_only| self.contract(live, index, subject, trigger, close_only);
        let (contract, prompt) = written(reducing.is_some())?;
        if let Some(Err(why)) = live
            .breakers
            .get(&contender.model.provider)
            .map(|breaker| breaker.may(now))
        {
            return Err(NotAsked::Provider(why, Box::new(contract), reducing));
        }
        let model = &contender.model;
        let worst = WorstCost::of_prompt(
            &prompt,
            contender.profile.mode,
            &model.parameters,
            &model.prices,
        );
        match state
            .spent(now)
            .room(&contender.allowance, about_a_position, worst)?
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
        let restrictions = self.restrictions.borrow().of_contender(who) == TradingState::ReduceOnly;
        let reducing = restrictions || matches!(*self.readiness.borrow(), Readiness::ReduceOnly(_));
        reducing.then(|| "trading is reduce-only".to_owned())
    }

    /// No question about data that is old or not whole.
    fn is_fresh(
        &self,
        contender: &ModelContender,
        subject: Option<&InstId>,
        (close, now): (Ms, Ms),
    ) -> Result<(), String> {
        let market = self.market.borrow();
        if !market.live {
            return Err("the market is not whole".to_owned());
        }
        for inst in contender
            .profile
            .instruments
            .iter()
            .filter(|inst| subject.is_none_or(|only| only == *inst))
        {
            fresh(
                &market,
                inst,
                contender.profile.bar,
                contender.quote_age,
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
        live: &Live,
        index: usize,
        subject: Option<&InstId>,
        trigger: &str,
        close_only: bool,
    ) -> Result<(Contract, Prompt), String> {
        let (contender, state) = (&self.contenders[index], &live.states[index]);
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
            last_decision: state.last_decision,
            symbol: subject,
            profile: &contender.profile,
            market: &self.market.borrow(),
            account: &account,
            orders: &orders,
            book: &self.book,
            plans: &state.plans,
            extras: &self.extras.borrow(),
            history: &state.history,
            opens_today: state.opens_today(&contender.profile, &self.market.borrow(), &orders, now),
            turnover_today: orders.tally.turnover_of(&contender.profile.id, now).0,
            llm_cost_today: state.spent(now).cost_usd,
            close_only,
        });
        let prompt = contender
            .template
            .render(contender.profile.mode, &contract)
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
        let contender = &self.contenders[index];
        ModelQuestion {
            run_id,
            contender: contender.profile.id.clone(),
            mode: contender.profile.mode.as_str().to_owned(),
            inst: subject.cloned(),
            model: contender.model.id.clone(),
            template: contender.template.name.clone(),
            template_hash: contender.template.hash.clone(),
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
        live: &mut Live,
        index: usize,
        subject: Option<InstId>,
        ready: Ready,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let run_id = self.ids.next(now);
        let contender = &self.contenders[index];
        let state = &mut live.states[index];
        (state.busy, state.not_asked) = (true, None);
        state.note_asked(
            &contender.profile,
            subject.as_ref(),
            &self.market.borrow(),
            now,
        );
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
        debug!(event = "model_asked", %run_id, contender = %contender.profile.id, "asked");
        let asking = Asking {
            model: Arc::clone(&contender.model),
            run_id,
            contender: contender.profile.id.clone(),
            mode: contender.profile.mode,
            snap: meta.snap.clone(),
            prompt: ready.prompt,
            allowance: contender.allowance.clone(),
            from_the_reserve: ready.from_the_reserve,
            stop: self.stop.clone(),
            journal: self.journal.clone(),
            clock: self.clock.clone(),
        };
        let breaker = live
            .breakers
            .entry(self.contenders[index].model.provider.clone())
            .or_default();
        let pending = PendingQuestion {
            contender: index,
            run_id,
            bar_ts: live.last_bar,
            contract: ready.contract,
            close_only: ready.close_only,
            by_rule: false,
            subject,
            tries: breaker.asked(index, now),
        };
        let spent = Arc::clone(&live.states[index].spent);
        live.asking
            .spawn(async move { (pending, asking.put(&spent).await) });
        Ok(())
    }

    pub(super) fn show(&self, live: &Live, wanted: &ShowPrompt) -> Result<ShownPrompt, String> {
        let known: Vec<&str> = self
            .contenders
            .iter()
            .map(|contender| contender.profile.id.as_str())
            .collect();
        let index = self
            .contenders
            .iter()
            .position(|contender| contender.profile.id == wanted.contender)
            .ok_or_else(|| {
                format!(
                    "no contender '{}' is a model; there are: {}",
                    wanted.contender,
                    known.join(", ")
                )
            })?;
        let contender = &self.contenders[index];
        let subject = match (contender.profile.mode, &wanted.inst) {
            (AnswerMode::Portfolio, _) => None,
            (AnswerMode::Single, Some(inst)) if contender.profile.instruments.contains(inst) => {
                Some(inst.clone())
            }
            (AnswerMode::Single, Some(inst)) => {
                return Err(format!("{} does not trade {inst}", wanted.contender));
            }
            (AnswerMode::Single, None) => contender.profile.instruments.first().cloned(),
        };
        // As if its bar had just closed: what would be asked, or why nobody would be and what it
        // would have been.
        let (contract, prompt, not_asked) = match self.prepare(live, index, subject.as_ref(), "bar")
        {
            Ok(ready) => (ready.contract, ready.prompt, None),
            Err(NotAsked::Because(why) | NotAsked::Provider(why, ..)) => {
                let reducing = self.reducing(&contender.profile.id).is_some();
                let (contract, prompt) =
                    self.contract(live, index, subject.as_ref(), "bar", reducing)?;
                (contract, prompt, Some(why))
            }
        };
        Ok(ShownPrompt {
            not_asked,
            model: contender.model.id.clone(),
            template: contender.template.name.clone(),
            template_hash: contender.template.hash.clone(),
            prompt,
            data: contract.text,
        })
    }
}
