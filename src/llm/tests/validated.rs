//! Each check on its own: what turns a sound answer into one that is refused, and what a sound one
//! comes to.

use serde_json::{Value, json};

use super::{NOW, Scene, coin, d, portfolio, px, single};
use crate::domain::instrument::tests::swap;
use crate::domain::view::OpenOrder;
use crate::domain::{
    Bar, Bps, Extras, GoodFor, Ms, OrderId, OrderState, Position, Qty, Series, Side,
};
use crate::llm::answer::AnswerMode;
use crate::llm::code::Code;
use crate::llm::plan::TradePlan;
use crate::llm::validate::ItemVerdict;

fn with(base: Value, changes: Value) -> Value {
    let (Value::Object(mut base), Value::Object(changes)) = (base, changes) else {
        unreachable!()
    };
    base.extend(changes);
    Value::Object(base)
}

#[track_caller]
fn check(scene: &Scene, changes: Value, expected: Code) {
    let answer = with(single(), changes);
    let (code, detail) = scene.code(&answer.to_string());
    assert_eq!(code, expected, "{detail}: {answer}");
}

#[test]
fn valid_answer_gives_target_stop_and_plan() {
    let scene = Scene::new(AnswerMode::Single);
    let asked = scene.asked();
    let text = single().to_string().replace("SNAP", &asked.data.meta.snap);
    let items = crate::llm::parse::parse(AnswerMode::Single, &text, &asked.data.meta.snap).unwrap();
    let verdicts = scene.judged(&asked, items);
    let verdict = &verdicts[0];
    assert_eq!(verdict.code, Code::Accepted, "{}", verdict.detail);
    // Half a percent of 10,000 is 50 dollars; lost per coin: 2 to the stop, 0.2 in costs (0.05 %
    // twice and a spread of 0.1 %). 50 / 2.2 × 100 = 2,272.7 dollars, of a slot of 5,000.
    assert_eq!(verdict.proposal.target, Some(Bps(4545)));
    assert_eq!(verdict.proposal.stop, Some(px("98")));
    let plan = verdict.plan.as_ref().unwrap();
    assert_eq!(
        (plan.entry, plan.stop, plan.target),
        (px("100"), px("98"), Some(px("105")))
    );
    assert_eq!(plan.risk_usd.round_dp(2), d("50"));
    // (5 − 0.2) / 2.2 won with 48 %, all that is risked lost with 52 %: told, and nothing is sized
    // by it.
    assert_eq!(
        verdict.detail,
        "by its own probability it expects 0.53 of what it risks"
    );
    assert_eq!(asked.verified(&verdict.item.evidence), (1, 1));
}

/// One changed field at a time, at the bound and just past it, gives the expected code.
#[test]
fn each_check_refuses_its_own_case() {
    let scene = Scene::new(AnswerMode::Single);
    for (changes, expected) in [
        (json!({"symbol": "ETH-USDT"}), Code::UnknownSymbol),
        (json!({"symbol": "DOGE-USDT-SWAP"}), Code::UnknownSymbol),
        (json!({"action": "hold"}), Code::Accepted),
        (json!({"action": "close"}), Code::ActionState),
        (json!({"action": "tighten_stop"}), Code::ActionState),
        (json!({"risk_pct": null}), Code::RiskSize),
        (json!({"risk_pct": "0"}), Code::RiskSize),
        (json!({"risk_pct": "-1"}), Code::RiskSize),
        (json!({"risk_pct": "1"}), Code::Accepted),
        (json!({"risk_pct": "1.01"}), Code::RiskSize),
        (json!({"stop_px": null}), Code::StopMissing),
        (json!({"stop_px": "0"}), Code::StopSide),
        (json!({"stop_px": "-98"}), Code::StopSide),
        (json!({"stop_px": "100"}), Code::StopSide),
        (json!({"stop_px": "101"}), Code::StopSide),
        (json!({"stop_px": "99.75"}), Code::StopDistance),
        (
            json!({"stop_px": "99.7", "target_px": "101"}),
            Code::Accepted,
        ),
        (
            json!({"stop_px": "94", "target_px": "110", "invalidation": null}),
            Code::Accepted,
        ),
        (
            json!({"stop_px": "93.95", "target_px": "110", "invalidation": null}),
            Code::StopDistance,
        ),
        (json!({"target_px": null}), Code::TargetMissing),
        (json!({"target_px": "100"}), Code::TargetSide),
        (json!({"target_px": "99"}), Code::TargetSide),
        (json!({"target_px": "120"}), Code::Accepted),
        (json!({"target_px": "120.05"}), Code::TargetFar),
        (json!({"p_target_first": null}), Code::Probability),
        (json!({"p_target_first": "1.01"}), Code::Probability),
        (json!({"p_target_first": "-0.1"}), Code::Probability),
        (json!({"horizon_min": null}), Code::Probability),
        (json!({"horizon_min": 0}), Code::Probability),
        (
            json!({"invalidation": {"tf": "2m", "field": "close", "op": "lt", "value": "97"}}),
            Code::Predicate,
        ),
        (
            json!({"invalidation": {"tf": "1m", "field": "close", "op": "gt", "value": "97"}}),
            Code::Predicate,
        ),
        // After costs of 0.2 there and back: (2.4 − 0.2) / (2 + 0.2) = 1.
        (json!({"target_px": "102.4"}), Code::Accepted),
        (json!({"target_px": "102.35"}), Code::RewardRisk),
        (
            json!({"action": "open_short", "stop_px": "102", "target_px": "95", "invalidation": null}),
            Code::Accepted,
        ),
        (
            json!({"action": "open_short", "invalidation": null}),
            Code::StopSide,
        ),
        (
            json!({"action": "open_short", "stop_px": "102", "target_px": "105", "invalidation": null}),
            Code::TargetSide,
        ),
        (json!({"risk_pct": "0.0001"}), Code::TooSmall),
    ] {
        check(&scene, changes, expected);
    }
}

#[test]
fn position_held_decides_allowed_actions() {
    let long = || Scene::new(AnswerMode::Single).holding("10");
    check(&long(), json!({"action": "close"}), Code::Accepted);
    check(&long(), json!({}), Code::ActionState);
    check(
        &long(),
        json!({"action": "open_short", "stop_px": "102", "target_px": "95"}),
        Code::Flip,
    );
    check(
        &long(),
        json!({"action": "tighten_stop", "stop_px": "99"}),
        Code::ActionState,
    );
    let planned = |plan: TradePlan, qty: &str| {
        let mut scene = Scene::new(AnswerMode::Single).holding(qty);
        scene.plans.insert(swap().id, plan);
        scene
    };
    let long = planned(plan(), "10");
    check(
        &long,
        json!({"action": "tighten_stop", "stop_px": null}),
        Code::StopMissing,
    );
    check(
        &long,
        json!({"action": "tighten_stop", "stop_px": "100"}),
        Code::StopSide,
    );
    // Behind the mark, but not behind the bid: it would go off at once.
    check(
        &long,
        json!({"action": "tighten_stop", "stop_px": "99.95"}),
        Code::StopSide,
    );
    check(
        &long,
        json!({"action": "tighten_stop", "stop_px": "98"}),
        Code::StopLooser,
    );
    check(
        &long,
        json!({"action": "tighten_stop", "stop_px": "98.05"}),
        Code::Accepted,
    );
    let short = planned(
        TradePlan {
            long: false,
            stop: px("102"),
            ..plan()
        },
        "-10",
    );
    check(
        &short,
        json!({"action": "tighten_stop", "stop_px": "101"}),
        Code::Accepted,
    );
    check(
        &short,
        json!({"action": "tighten_stop", "stop_px": "99"}),
        Code::StopSide,
    );
    let leaving = planned(
        TradePlan {
            leaving: Some("target 105 reached".into()),
            ..plan()
        },
        "10",
    );
    check(
        &leaving,
        json!({"action": "tighten_stop", "stop_px": "99"}),
        Code::ActionState,
    );
    check(&leaving, json!({"action": "close"}), Code::Accepted);
}

/// Returns the code of an answer made in one scene and judged in another.
fn carried(asked: &Scene, now: &Scene, answer: &Value) -> Code {
    let contract = asked.asked();
    let text = answer.to_string().replace("SNAP", &contract.data.meta.snap);
    let items =
        crate::llm::parse::parse(now.profile.mode, &text, &contract.data.meta.snap).unwrap();
    now.judged(&contract, items)[0].code
}

/// An entry is refused if the position changed since the prompt or an order is pending; close and
/// tighten_stop still pass.
#[test]
fn changed_position_or_pending_order_blocks_entry() {
    let flat = || Scene::new(AnswerMode::Single);
    let held = || Scene::new(AnswerMode::Single).holding("10");
    assert_eq!(
        carried(&held(), &flat(), &single()),
        Code::ActionState,
        "it was stopped out meanwhile"
    );
    assert_eq!(carried(&flat(), &held(), &single()), Code::ActionState);
    assert_eq!(
        carried(&held(), &flat(), &with(single(), json!({"action": "hold"}))),
        Code::Accepted
    );
    // Accepted a moment ago, and nothing has been bought yet: its order may be anywhere.
    let mut pending = flat();
    pending.plans.insert(swap().id, plan());
    check(&pending, json!({}), Code::Repeated);
    check(
        &pending,
        json!({"action": "open_short", "stop_px": "102", "target_px": "95"}),
        Code::Repeated,
    );
    // An order that rests, or whose outcome nobody knows: whatever is added comes on top of it.
    for state in [OrderState::Acked, OrderState::Unknown, OrderState::Sent] {
        let mut working = Scene::new(AnswerMode::Single).holding("10");
        working.plans.insert(swap().id, plan());
        let order = OpenOrder {
            id: OrderId::from("as1"),
            run_id: plan().run_id,
            contender: working.profile.id.clone(),
            inst: swap().id,
            side: Side::Sell,
            state,
            leaves: Qty(d("10")),
            price: px("100"),
            limit: Some(px("100")),
            created_at: NOW,
            cancel_after: None,
            opening: false,
            protective: false,
        };
        working.orders.open.insert(order.id.clone(), order);
        let asked = |answer: Value| working.code(&with(single(), answer).to_string()).0;
        assert_eq!(asked(json!({})), Code::Repeated, "{state:?}");
        assert_eq!(
            asked(json!({"action": "tighten_stop", "stop_px": "99"})),
            Code::Accepted,
            "{state:?}: it only protects"
        );
        assert_eq!(
            asked(json!({"action": "close"})),
            Code::Accepted,
            "{state:?}: the allocator waits for the order"
        );
    }
    // It counts as open for the others.
    let mut portfolio = Scene::new(AnswerMode::Portfolio);
    portfolio.profile.limits.positions = 1;
    portfolio.plans.insert(
        coin().id,
        TradePlan {
            inst: coin().id,
            ..plan()
        },
    );
    assert_eq!(
        portfolio.code(&super::portfolio().to_string()).0,
        Code::MaxPositions
    );
    // Dust that cannot be sold is nothing.
    check(
        &Scene::new(AnswerMode::Single).holding("0.05"),
        json!({}),
        Code::Accepted,
    );
    check(
        &Scene::new(AnswerMode::Single).holding("0.05"),
        json!({"action": "close"}),
        Code::ActionState,
    );
}

#[test]
fn restated_weight_cannot_loosen_a_stop() {
    let target = |symbol: &str, weight: &str, stop: &str| {
        json!({"symbol": symbol, "weight": weight, "stop_px": stop, "target_px": null, "horizon_min": null, "p_target_first": null,
            "invalidation": null, "reason": "r"})
    };
    let mut scene = Scene::new(AnswerMode::Portfolio).holding("10");
    scene.plans.insert(
        swap().id,
        TradePlan {
            stop: px("99"),
            ..plan()
        },
    );
    let code = |scene: &Scene, item: Value| {
        scene
            .code(&with(portfolio(), json!({"targets": [item]})).to_string())
            .0
    };
    assert_eq!(
        code(&scene, target("ETH-USDT-SWAP", "0.5", "98")),
        Code::StopLooser
    );
    assert_eq!(
        code(&scene, target("ETH-USDT-SWAP", "0.5", "99")),
        Code::Accepted
    );
}

/// A target of a portfolio.
fn weight(symbol: &str, weight: &str, stop: &str) -> Value {
    json!({"symbol": symbol, "weight": weight, "stop_px": stop, "target_px": null, "horizon_min": null, "p_target_first": null,
        "invalidation": null, "reason": "r"})
}

fn verdict_of(scene: &Scene, item: Value) -> ItemVerdict {
    let asked = scene.asked();
    let text = with(portfolio(), json!({"targets": [item]}))
        .to_string()
        .replace("SNAP", &asked.data.meta.snap);
    let items =
        crate::llm::parse::parse(AnswerMode::Portfolio, &text, &asked.data.meta.snap).unwrap();
    scene.judged(&asked, items).remove(0)
}

/// Whether or not its order fills, later open_long and tighten_stop are refused.
#[test]
fn accepted_close_ends_the_plan() {
    let mut scene = Scene::new(AnswerMode::Single).holding("10");
    scene.plans = [(swap().id, plan())].into();
    let asked = scene.asked();
    let text = with(single(), json!({"action": "close"}))
        .to_string()
        .replace("SNAP", &asked.data.meta.snap);
    let items = crate::llm::parse::parse(AnswerMode::Single, &text, &asked.data.meta.snap).unwrap();
    let verdict = &scene.judged(&asked, items)[0];
    assert_eq!(
        (verdict.code, verdict.proposal.target),
        (Code::Accepted, Some(Bps(0))),
        "{}",
        verdict.detail
    );
    assert_eq!(
        verdict.plan.as_ref().unwrap().leaving.as_deref(),
        Some(crate::llm::validate::CLOSED)
    );
    // From then on nothing else is done with it, whatever the model says next.
    scene.plans = [(swap().id, verdict.plan.clone().unwrap())].into();
    for action in ["open_long", "tighten_stop"] {
        check(&scene, json!({"action": action}), Code::ActionState);
    }
}

#[test]
fn entry_carries_expiry_and_price_tolerance() {
    let scene = Scene::new(AnswerMode::Single);
    let asked = scene.asked();
    let text = single().to_string().replace("SNAP", &asked.data.meta.snap);
    let items = crate::llm::parse::parse(AnswerMode::Single, &text, &asked.data.meta.snap).unwrap();
    let good_for = scene.judged(&asked, items)[0].proposal.good_for;
    assert_eq!(
        good_for,
        Some(GoodFor {
            until: NOW.plus(Ms(90_000)),
            price: px("100"),
            within: Bps(15)
        })
    );
}

pub(super) fn plan() -> TradePlan {
    TradePlan {
        contender: "llm".into(),
        inst: swap().id,
        run_id: crate::domain::RunId(uuid::Uuid::nil()),
        long: true,
        entry: px("100"),
        stop: px("98"),
        target: Some(px("105")),
        horizon_min: Some(60),
        p_target_first: Some(d("0.5")),
        invalidation: None,
        thesis: "t".into(),
        opened: Ms(0),
        risk_usd: d("50"),
        worth_usd: d("2272"),
        first_stop: px("98"),
        funding_before: None,
        leaving: None,
    }
}

/// A late answer, a moved mark or a missing quote is judged by the state now, not by the state in
/// the prompt.
#[test]
fn current_state_decides_not_prompt_state() {
    let later = |ms: i64| {
        let mut scene = Scene::new(AnswerMode::Single);
        scene.now = NOW.plus(Ms(ms));
        scene
    };
    check(&later(90_000), json!({}), Code::Accepted);
    check(&later(90_001), json!({}), Code::Stale);
    let moved = |mark: &str| {
        let scene = Scene::new(AnswerMode::Single);
        let asked = scene.asked();
        let mut now = Scene::new(AnswerMode::Single);
        now.market.insts.get_mut(&swap().id).unwrap().mark = Some((px(mark), NOW));
        let text = single().to_string().replace("SNAP", &asked.data.meta.snap);
        let items =
            crate::llm::parse::parse(AnswerMode::Single, &text, &asked.data.meta.snap).unwrap();
        now.judged(&asked, items)[0].code
    };
    assert_eq!(
        moved("100.15"),
        Code::Accepted,
        "fifteen basis points, as the answer allows"
    );
    assert_eq!(moved("100.20"), Code::Moved);
    let mut blind = Scene::new(AnswerMode::Single);
    blind.market.insts.get_mut(&swap().id).unwrap().quote = None;
    check(&blind, json!({}), Code::NoMarket);
}

mod limits;
