//! Inputs that an answer was judged by, so that it can be judged again from the stored reply. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::chat::content;
use super::parse::{AnswerItem, parse};
use super::plan::TradePlan;
use super::prompt::{Contract, ModelProfile};
use super::validate::{ItemVerdict, Moment, validate};
use crate::domain::{AccountView, Extras, InstId, MarketView, Ms, OrdersView, RunId};

/// Everything [`judge`] is a function of, besides what was asked and what was answered: those are
/// kept by themselves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ValidationInputs {
    now: Ms,
    run_id: RunId,
    #[serde(rename = "arm")]
    profile: ModelProfile,
    market: MarketView,
    account: AccountView,
    orders: OrdersView,
    plans: BTreeMap<InstId, TradePlan>,
    extras: BTreeMap<InstId, Extras>,
    opens_today: u32,
    close_only: Option<String>,
    /// Items that a rule named in the model's place: then there is no reply to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    by_rule: Option<Vec<AnswerItem>>,
}

impl ValidationInputs {
    /// Takes down what is looked at: of the market only what the profile trades.
    pub fn of(moment: &Moment<'_>, by_rule: Option<&[AnswerItem]>) -> Self {
        let traded = |inst: &InstId| moment.profile.instruments.contains(inst);
        let insts = moment.market.insts.iter().filter(|(inst, _)| traded(inst));
        Self {
            now: moment.now,
            run_id: moment.run_id,
            profile: moment.profile.clone(),
            market: MarketView {
                insts: insts
                    .map(|(inst, shown)| (inst.clone(), shown.clone()))
                    .collect(),
                live: moment.market.live,
                ..MarketView::default()
            },
            account: moment.account.clone(),
            orders: moment.orders.clone(),
            plans: moment.plans.clone(),
            extras: moment.extras.clone(),
            opens_today: moment.opens_today,
            close_only: moment.close_only.map(str::to_owned),
            by_rule: by_rule.map(<[AnswerItem]>::to_vec),
        }
    }

    /// Judges again: `data` is what was asked, `reply` the body as it came.
    ///
    /// # Errors
    /// In words, if the two are not what can have been judged.
    pub fn replay(&self, data: &str, reply: Option<&str>) -> Result<String, String> {
        let asked = Contract::read(data)?;
        let items = match (&self.by_rule, reply) {
            (Some(items), _) => items.clone(),
            (None, Some(reply)) => self.read(&asked, reply)?,
            (None, None) => return Err("what was answered is not there any more".to_owned()),
        };
        let moment = Moment {
            now: self.now,
            run_id: self.run_id,
            profile: &self.profile,
            asked: &asked,
            market: &self.market,
            account: &self.account,
            orders: &self.orders,
            plans: &self.plans,
            extras: &self.extras,
            opens_today: self.opens_today,
            close_only: self.close_only.as_deref(),
        };
        Ok(written(&validate(&moment, items)))
    }

    /// Instruments that are traded by what came of it.
    pub fn trades(&self, inst: &InstId) -> bool {
        self.profile.instruments.contains(inst)
    }

    fn read(&self, asked: &Contract, reply: &str) -> Result<Vec<AnswerItem>, String> {
        let body: Value = serde_json::from_str(reply)
            .map_err(|error| format!("the reply is no JSON: {error}"))?;
        let text = content(&body)
            .map_err(|refused| format!("the reply: {} {}", refused.code, refused.detail))?;
        parse(self.profile.mode, text, &asked.data.meta.snap)
            .map_err(|refused| format!("the answer: {} {}", refused.code, refused.detail))
    }
}

/// Verdicts as canonical JSON.
pub fn written(verdicts: &[ItemVerdict]) -> String {
    let each: Vec<Value> = verdicts
        .iter()
        .map(|v| {
            json!({"action": v.item.action(), "code": v.code.as_str(), "detail": v.detail, "proposal": v.proposal, "plan": v.plan,
                "tightened": v.tightened})
        })
        .collect();
    Value::Array(each).to_string()
}
