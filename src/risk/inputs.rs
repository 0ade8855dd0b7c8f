//! Inputs of a gate decision, kept so that it can be made again. Pure.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::recent::Recent;
use super::rules::{Approved, Denied, check};
use super::view::{InFlight, View};
use crate::domain::record::Breach;
use crate::domain::view::InstMarket;
use crate::domain::{
    AccountView, EquityBook, Limits, MarketView, Ms, OrderIntent, OrdersView, Readiness,
    Restrictions, Series, Usd,
};

/// Work under way in the order's instrument, beside what the rules look at.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingActivity {
    /// An order that protects the sleeve is under way.
    pub repairing: bool,
    /// The instrument is being made flat: for this reason.
    pub closing: Option<String>,
}

/// Judges an order by the rules and by what is under way.
pub fn judge(
    intent: Arc<OrderIntent>,
    view: &View<'_>,
    limits: &Limits,
    activity: &PendingActivity,
) -> Result<Approved, Denied> {
    let judged = check(Arc::clone(&intent), view, limits);
    let mut first = Vec::new();
    if activity.repairing {
        let value = "an order that protects it is under way".to_owned();
        first.push(Breach {
            code: "repairing".into(),
            limit: "nothing else trades the sleeve".into(),
            value,
        });
    } else if let Some(trigger) = &activity.closing {
        // Where something is being made flat nobody else trades: an exit beside a close would sell
        // twice.
        let (limit, value) = ("nothing is being made flat".to_owned(), trigger.clone());
        first.push(Breach {
            code: "closing".into(),
            limit,
            value,
        });
    }
    if first.is_empty() {
        return judged;
    }
    first.extend(judged.map_or_else(|refused| refused.breaches, |_| Vec::new()));
    Err(Denied {
        intent,
        breaches: first,
    })
}

/// Everything [`judge`] is a function of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GateInputs {
    intent: OrderIntent,
    now: Ms,
    market: MarketView,
    account: Option<AccountView>,
    equity: Option<Usd>,
    book: EquityBook,
    orders: OrdersView,
    readiness: Readiness,
    #[serde(rename = "standing")]
    restrictions: Restrictions,
    recent: Recent,
    in_flight: Vec<InFlight>,
    limits: Limits,
    #[serde(rename = "around")]
    activity: PendingActivity,
}

impl GateInputs {
    /// Takes down what is looked at. Of each series only the last bar is: the rules know no other.
    pub fn of(
        intent: &OrderIntent,
        view: &View<'_>,
        limits: &Limits,
        activity: &PendingActivity,
    ) -> Self {
        let last = |series: &Series| {
            let newest = series.candles().last().copied();
            Series::new(series.bar, newest.into_iter().collect())
        };
        let trimmed = |shown: &InstMarket| InstMarket {
            series: shown
                .series
                .iter()
                .map(|(bar, series)| (*bar, last(series)))
                .collect(),
            ..shown.clone()
        };
        let insts = view
            .market
            .insts
            .iter()
            .map(|(inst, shown)| (inst.clone(), trimmed(shown)))
            .collect();
        Self {
            intent: intent.clone(),
            now: view.now,
            market: MarketView {
                insts,
                live: view.market.live,
                ..MarketView::default()
            },
            account: view.account.cloned(),
            equity: view.equity,
            book: view.book.clone(),
            orders: view.orders.clone(),
            readiness: view.readiness.clone(),
            restrictions: view.restrictions.clone(),
            recent: view.recent.clone(),
            in_flight: view.in_flight.to_vec(),
            limits: limits.clone(),
            activity: activity.clone(),
        }
    }

    /// Returns the intent that was checked.
    pub fn asked(&self) -> &OrderIntent {
        &self.intent
    }

    /// Judges again. An instrument that is not in the market cannot be judged.
    pub fn replay(&self) -> Option<String> {
        let shown = self.market.insts.get(&self.intent.inst)?;
        let view = View {
            now: self.now,
            instrument: &shown.instrument,
            market: &self.market,
            account: self.account.as_ref(),
            equity: self.equity,
            book: &self.book,
            orders: &self.orders,
            readiness: &self.readiness,
            restrictions: &self.restrictions,
            recent: &self.recent,
            in_flight: &self.in_flight,
        };
        Some(written(&judge(
            Arc::new(self.intent.clone()),
            &view,
            &self.limits,
            &self.activity,
        )))
    }
}

/// A verdict as canonical JSON.
pub fn written(judged: &Result<Approved, Denied>) -> String {
    let body = match judged {
        Ok(approved) if !approved.without().is_empty() => {
            serde_json::json!({"approved": **approved.intent(), "without": approved.without()})
        }
        Ok(approved) => serde_json::json!({"approved": **approved.intent()}),
        Err(refused) => {
            serde_json::json!({"refused": *refused.intent, "breaches": refused.breaches})
        }
    };
    body.to_string()
}
