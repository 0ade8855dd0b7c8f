//! One scene for all: a market of sixty minutes around 100, an average true range of 1, a sleeve of
//! 10,000 dollars.

mod corpus;
mod portfolio;
mod prompted;
mod state;
mod validated;

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use uuid::Uuid;

use super::answer::AnswerMode;
use super::code::Code;
use super::parse::{AnswerItem, parse};
use super::plan::TradePlan;
use super::prompt::{Contract, ModelProfile, ProfileLimits, PromptFacts, build};
use super::validate::{ItemVerdict, Moment, validate};
use crate::domain::books::Holding;
use crate::domain::instrument::tests::swap;
use crate::domain::view::InstMarket;
use crate::domain::{
    AccountView, Bar, Candle, EquityBook, Extras, InstId, InstKind, Instrument, MarketView, Ms,
    OrdersView, Price, Qty, Quote, RunId, Series, Usd,
};

pub(super) fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

pub(super) fn px(text: &str) -> Price {
    text.parse().unwrap()
}

/// The instruments of the scene: a swap, and its coin on spot.
pub(super) fn coin() -> Instrument {
    let spot = Instrument {
        id: InstId::from("ETH-USDT"),
        kind: InstKind::Spot,
        contract_value: Decimal::ONE,
        max_leverage: Decimal::ONE,
        ..swap()
    };
    Instrument {
        lot: "0.001".parse().unwrap(),
        min_size: "0.001".parse().unwrap(),
        ..spot
    }
}

pub(super) const NOW: Ms = Ms(60 * 60_000 + 500);

/// All that an answer is judged by.
#[derive(Clone)]
pub(super) struct Scene {
    pub profile: ModelProfile,
    pub market: MarketView,
    pub account: AccountView,
    pub orders: OrdersView,
    pub book: EquityBook,
    pub plans: BTreeMap<InstId, TradePlan>,
    pub extras: BTreeMap<InstId, Extras>,
    pub opens_today: u32,
    pub close_only: Option<String>,
    pub now: Ms,
}

fn shown(instrument: Instrument) -> InstMarket {
    let candle = |i: i64| Candle {
        ts: Ms(i * 60_000),
        open: px("100"),
        high: px("100.5"),
        low: px("99.5"),
        close: px("100"),
        volume: Qty(Decimal::TEN),
    };
    let quote = Quote {
        bid: px("99.95"),
        bid_qty: "10".parse().unwrap(),
        ask: px("100.05"),
        ask_qty: "10".parse().unwrap(),
        last: px("100"),
        at: Ms(60 * 60_000),
    };
    let mark = (instrument.kind == InstKind::Swap).then_some((px("100"), Ms(60 * 60_000)));
    let series = BTreeMap::from([(Bar::M1, Series::new(Bar::M1, (0..60).map(candle).collect()))]);
    InstMarket {
        instrument: Arc::new(instrument),
        quote: Some(quote),
        mark,
        series,
    }
}

impl Scene {
    pub(super) fn new(mode: AnswerMode) -> Self {
        let profile = ModelProfile {
            id: "llm".into(),
            mode,
            instruments: vec![swap().id, coin().id],
            bar: Bar::M1,
            share: Decimal::new(1, 1),
            limits: ProfileLimits {
                risk_per_trade: d("0.01"),
                risk_budget: d("0.03"),
                leverage: d("2"),
                cluster: d("1.5"),
                positions: 2,
                opens_per_day: 5,
                reward_risk: d("1"),
                stop_atr: [d("0.3"), d("6")],
                target_atr: d("20"),
                deviation_bps: 20,
                ttl: Ms(90_000),
                cooldown: Ms(0),
                daily_loss: d("0.05"),
                gross_exposure: d("2"),
                depth_times: d("2"),
                position_usd: d("1000000"),
            },
            spot_fees: [d("0.001"), d("0.0008")],
            swap_fees: [d("0.0005"), d("0.0002")],
        };
        let insts = [swap(), coin()].map(|inst| (inst.id.clone(), shown(inst)));
        let account = AccountView {
            equity: Usd(d("100000")),
            available: Usd(d("90000")),
            as_of: NOW,
            ..AccountView::default()
        };
        Self {
            profile,
            market: MarketView {
                insts: insts.into(),
                live: true,
                ..MarketView::default()
            },
            account,
            orders: OrdersView::default(),
            book: EquityBook::default(),
            plans: BTreeMap::new(),
            extras: [swap().id, coin().id]
                .map(|inst| {
                    (
                        inst,
                        Extras {
                            depth_usd: Some(d("1000000")),
                            ..Extras::default()
                        },
                    )
                })
                .into(),
            opens_today: 0,
            close_only: None,
            now: NOW,
        }
    }

    /// With so much held of the swap.
    pub(super) fn holding(mut self, qty: &str) -> Self {
        let holding = Holding {
            qty: qty.parse().unwrap(),
            average: px("100"),
            ..Holding::default()
        };
        self.orders
            .holdings
            .insert((self.profile.id.clone(), swap().id), holding);
        self
    }

    pub(super) fn asked(&self) -> Contract {
        let single = swap().id;
        build(&PromptFacts {
            now: NOW,
            trigger: "bar",
            last_decision: None,
            symbol: (self.profile.mode == AnswerMode::Single).then_some(&single),
            profile: &self.profile,
            market: &self.market,
            account: &self.account,
            orders: &self.orders,
            book: &self.book,
            plans: &self.plans,
            extras: &self.extras,
            history: &[],
            opens_today: self.opens_today,
            turnover_today: Decimal::ZERO,
            llm_cost_today: Decimal::ZERO,
            close_only: self.close_only.is_some(),
        })
    }

    pub(super) fn judged(&self, asked: &Contract, items: Vec<AnswerItem>) -> Vec<ItemVerdict> {
        let moment = Moment {
            now: self.now,
            run_id: RunId(Uuid::nil()),
            profile: &self.profile,
            asked,
            market: &self.market,
            account: &self.account,
            orders: &self.orders,
            plans: &self.plans,
            extras: &self.extras,
            opens_today: self.opens_today,
            close_only: self.close_only.as_deref(),
        };
        validate(&moment, items)
    }

    /// The code that a text comes to: of the answer as a whole, or of its first item that is not
    /// accepted.
    pub(super) fn code(&self, text: &str) -> (Code, String) {
        let asked = self.asked();
        match parse(
            self.profile.mode,
            &text.replace("SNAP", &asked.data.meta.snap),
            &asked.data.meta.snap,
        ) {
            Err(refused) => (refused.code, refused.detail),
            Ok(items) => {
                let verdicts = self.judged(&asked, items);
                let bad = verdicts
                    .into_iter()
                    .find(|verdict| verdict.code != Code::Accepted);
                bad.map_or((Code::Accepted, String::new()), |verdict| {
                    (verdict.code, verdict.detail)
                })
            }
        }
    }
}

/// A sound answer to the single question: a long with a stop two average true ranges away.
pub(super) fn single() -> serde_json::Value {
    serde_json::json!({
        "schema": "single.v1", "snap": "SNAP", "symbol": "ETH-USDT-SWAP", "action": "open_long", "risk_pct": "0.5",
        "stop_px": "98", "target_px": "105", "max_entry_deviation_bps": 15, "horizon_min": 720, "p_target_first": "0.48",
        "invalidation": {"tf": "1m", "field": "close", "op": "lt", "value": "97"},
        "evidence": ["market.ETH-USDT-SWAP.last=100"], "reason": "a range that holds"
    })
}

/// A sound answer to the portfolio question.
pub(super) fn portfolio() -> serde_json::Value {
    serde_json::json!({
        "schema": "portfolio.v1", "snap": "SNAP", "unlisted": "keep", "reason": "balanced",
        "targets": [{
            "symbol": "ETH-USDT-SWAP", "weight": "-0.5", "stop_px": "102", "target_px": "95", "horizon_min": 1440,
            "p_target_first": "0.4", "invalidation": null, "reason": "it falls"
        }]
    })
}
