//! An answer has come, or the reason why there is none: what is kept of it, and what it leads to.

use rust_decimal::Decimal;
use tracing::{error, info, warn};

use super::{Live, ModelRunner, PendingQuestion, REST};
use crate::domain::inputs::{InputStage, RunInputs};
use crate::domain::model::{ModelCall, ModelFact, ModelItem};
use crate::domain::record::{Proposal, Record};
use crate::domain::{ContenderId, InstId, Ms, RunId};
use crate::llm::answer::AnswerMode;
use crate::llm::asking::AskOutcome;
use crate::llm::breaker::Breaker;
use crate::llm::code::Code;
use crate::llm::inputs::{ValidationInputs, written};
use crate::llm::parse::{AnswerItem, RefusedAnswer};
use crate::llm::plan::{TradePlan, held};
use crate::llm::prompt::ModelProfile;
use crate::llm::validate::{ItemVerdict, Moment, validate};
use crate::runtime::StageError;

/// Questions in a row that a server refuses as no question of its: then it is not asked any more. A
/// model it does not know, for one, is a 400 with some.
const REJECTED: u32 = 3;

impl ModelRunner {
    /// An answer has come, or the reason why there is none.
    pub(super) async fn answered(
        &mut self,
        live: &mut Live,
        pending: PendingQuestion,
        outcome: AskOutcome,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let index = pending.contender;
        let (who, provider) = (
            self.contenders[index].profile.id.clone(),
            self.contenders[index].model.provider.clone(),
        );
        let breaker = live.breakers.entry(provider.clone()).or_default();
        if pending.tries {
            breaker.over();
        }
        for worked in &outcome.worked {
            if breaker.note(*worked, now, REST) {
                error!(
                    event = "breaker_open",
                    provider,
                    "the provider fails too often: left alone for {} s",
                    REST.0 / 1000
                );
            }
        }
        let state = &mut live.states[index];
        state.busy = false;
        match outcome.answer {
            Err(refused) => {
                warn!(event = "model_failed", run_id = %pending.run_id, contender = %who, code = %refused.code,
                    detail = %refused.detail, "no answer: no new risk");
                state.rejected = if refused.code == Code::Rejected {
                    state.rejected + 1
                } else {
                    0
                };
                if refused.code == Code::Forbidden || state.rejected >= REJECTED {
                    error!(event = "model_disabled", contender = %who, detail = %refused.detail,
                        "key, model or request are refused: not asked again until a restart");
                    state.disabled = Some(refused.detail.clone());
                }
                self.keep_failure(pending.run_id, &who, &refused, now)
                    .await?;
                if live.breakers.get(&provider).is_some_and(Breaker::is_open) {
                    self.failed(live, &pending).await?;
                }
            }
            Ok(items) => {
                state.rejected = 0;
                self.act(live, &pending, items, now).await?;
            }
        }
        self.publish(live);
        self.next_question(live, index).await
    }

    async fn keep_failure(
        &self,
        run_id: RunId,
        who: &ContenderId,
        refused: &RefusedAnswer,
        now: Ms,
    ) -> Result<(), StageError> {
        let row = ModelItem {
            run_id,
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
        self.journal
            .post(Record::Model(Box::new(ModelFact::Items(vec![row]))))
            .await
    }

    /// Writes down what an earlier process, did not live to hear the end of: a failure like others.
    pub(super) async fn close_books(&mut self) -> Result<(), StageError> {
        let now = self.clock.now();
        let lost = RefusedAnswer::new(Code::Lost, "its process ended before there was an answer");
        for call in std::mem::take(&mut self.memory.under_way) {
            let row = ModelCall {
                outcome: lost.code.to_string(),
                detail: lost.detail.clone(),
                ..call
            };
            self.journal
                .post(Record::Model(Box::new(ModelFact::Call(row))))
                .await?;
        }
        for (run_id, who) in std::mem::take(&mut self.memory.unanswered) {
            warn!(event = "question_lost", %run_id, contender = %who, "a question was under way when its process ended");
            self.keep_failure(run_id, &who, &lost, now).await?;
        }
        Ok(())
    }

    /// Judges an answer on what is known now, writes what came of it, and hands it on.
    pub(super) async fn act(
        &mut self,
        live: &mut Live,
        pending: &PendingQuestion,
        items: Vec<AnswerItem>,
        now: Ms,
    ) -> Result<(), StageError> {
        let index = pending.contender;
        let Some(account) = self.account.borrow().clone() else {
            let unjudged = RefusedAnswer::new(
                Code::NoMarket,
                "the account was not known when the answer came",
            );
            return self
                .keep_failure(
                    pending.run_id,
                    &self.contenders[index].profile.id,
                    &unjudged,
                    now,
                )
                .await;
        };
        // A rule names weights and no targets, whatever the model is asked for.
        let profile = match pending.by_rule {
            true => ModelProfile {
                mode: AnswerMode::Portfolio,
                ..self.contenders[index].profile.clone()
            },
            false => self.contenders[index].profile.clone(),
        };
        let (verdicts, seen) = {
            let state = &live.states[index];
            let moment = Moment {
                now,
                run_id: pending.run_id,
                profile: &profile,
                asked: &pending.contract,
                market: &self.market.borrow(),
                account: &account,
                orders: &self.orders.borrow(),
                plans: &state.plans,
                extras: &self.extras.borrow(),
                opens_today: state.opens_today(
                    &profile,
                    &self.market.borrow(),
                    &self.orders.borrow(),
                    now,
                ),
                close_only: pending.close_only.as_deref(),
            };
            let seen = ValidationInputs::of(&moment, pending.by_rule.then_some(&items[..]));
            (validate(&moment, items), seen)
        };
        let inputs = RunInputs::new(
            (pending.run_id, InputStage::Answer),
            "",
            &seen,
            written(&verdicts),
            now,
        );
        let state = &mut live.states[index];
        if !pending.by_rule {
            state.last_decision = Some(now);
        }
        let mut rows = Vec::new();
        for (ordinal, verdict) in verdicts.iter().enumerate() {
            let profile = &verdict.proposal.contender;
            let held = !held(
                &self.orders.borrow(),
                &self.market.borrow(),
                profile,
                &verdict.item.inst,
            )
            .is_zero();
            let plan = match (&verdict.plan, verdict.tightened) {
                (Some(plan), _) => Some(plan.clone()),
                (None, Some(stop)) => state.plans.get(&verdict.item.inst).map(|plan| TradePlan {
                    stop,
                    ..plan.clone()
                }),
                (None, None) => None,
            };
            if let Some(plan) = &plan {
                state.adopt(plan.clone(), verdict.plan.is_some() && !held, now);
            }
            rows.push(item_row(pending, verdict, ordinal, plan.as_ref(), now));
            let (run_id, code, inst) = (pending.run_id, verdict.code, &verdict.item.inst);
            info!(event = "model_said", %run_id, contender = %verdict.proposal.contender, %inst, action = verdict.item.action(),
                %code, detail = %verdict.detail, "an item of an answer");
        }
        let mut proposals: Vec<Proposal> = Vec::new();
        for verdict in verdicts {
            let known = self.contenders[index]
                .profile
                .instruments
                .contains(&verdict.item.inst);
            if known
                && proposals
                    .iter()
                    .all(|other| other.inst != verdict.item.inst)
            {
                proposals.push(verdict.proposal);
            }
        }
        let kept = vec![
            Record::Inputs(Box::new(inputs)),
            Record::Model(Box::new(ModelFact::Items(rows))),
        ];
        self.decide(
            pending.run_id,
            pending.bar_ts,
            &account,
            proposals,
            kept,
            now,
        )
        .await
    }
}

fn item_row(
    pending: &PendingQuestion,
    verdict: &ItemVerdict,
    ordinal: usize,
    plan: Option<&TradePlan>,
    now: Ms,
) -> ModelItem {
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
