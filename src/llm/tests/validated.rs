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

/// A weight change that is not worth its cost sends no order; a tighter stop given with it still
/// applies.
#[test]
fn small_change_only_tightens_the_stop() {
    // Weight 0.5 with a stop at 98 comes to 150 / 2.2 × 100 = 6,818 dollars; contracts are of 10
    // dollars here.
    let holding = |contracts: &str| {
        let mut scene = Scene::new(AnswerMode::Portfolio).holding(contracts);
        scene.plans.insert(swap().id, plan());
        scene
    };
    let said =
        |contracts: &str| verdict_of(&holding(contracts), weight("ETH-USDT-SWAP", "0.5", "98"));
    let kept = said("650");
    assert_eq!(
        (kept.code, kept.proposal.target),
        (Code::Accepted, None),
        "{}",
        kept.detail
    );
    assert!(
        kept.detail.starts_with("kept: a change of 318"),
        "{}",
        kept.detail
    );
    assert!(
        said("715").proposal.target.is_none(),
        "smaller by less than a twentieth"
    );
    assert!(said("640").proposal.target.is_some(), "larger by more");
    assert!(said("720").proposal.target.is_some(), "smaller by more");
    // Three round trips of 4.1 % are more than a twentieth of 2,459 dollars.
    let mut dear = holding("230");
    dear.profile.swap_fees = [d("0.02"), d("0")];
    assert!(
        verdict_of(&dear, weight("ETH-USDT-SWAP", "0.5", "98"))
            .detail
            .starts_with("kept"),
        "2,300 are near enough"
    );
    let tighter = verdict_of(&holding("700"), weight("ETH-USDT-SWAP", "0.5", "98.05"));
    assert_eq!(
        (tighter.proposal.target, tighter.tightened),
        (None, Some(px("98.05"))),
        "{}",
        tighter.detail
    );
    assert_eq!(
        tighter
            .plan
            .map(|plan| (plan.stop, plan.first_stop, plan.worth_usd)),
        Some((px("98.05"), px("98"), d("2272")))
    );
}

/// Stop distance, reward/risk and close-only bind increases only; reductions are judged before
/// openings.
#[test]
fn reducing_weight_skips_entry_checks() {
    let scene = |stop: &str| {
        let mut scene = Scene::new(AnswerMode::Portfolio).holding("650");
        scene.plans.insert(
            swap().id,
            TradePlan {
                stop: px(stop),
                target: Some(px("100.1")),
                ..plan()
            },
        );
        scene.close_only = Some("the budget is spent".into());
        scene
    };
    // 150 dollars × 0.1 over a stop 0.2 away and costs of 0.2: 3,750 of 6,500 stay. No opening may
    // have a stop so near, nor so little to win, nor be thought of while nothing may open.
    let near = verdict_of(
        &scene("99.8"),
        with(
            weight("ETH-USDT-SWAP", "0.05", "99.8"),
            json!({"target_px": "100.1"}),
        ),
    );
    assert_eq!(near.code, Code::Accepted, "{}", near.detail);
    assert_eq!(near.proposal.target, Some(Bps(7500)), "of a slot of 5,000");
    let plan_of = |verdict: &ItemVerdict| {
        verdict
            .plan
            .as_ref()
            .map(|plan| (plan.stop, plan.target, plan.worth_usd))
            .unwrap()
    };
    assert_eq!(plan_of(&near), (px("99.8"), Some(px("100.1")), d("3750")));
    // A looser stop is not taken, a target that cannot be meant leaves the one before, and no
    // target is none.
    let looser = verdict_of(
        &scene("99"),
        with(
            weight("ETH-USDT-SWAP", "0.1", "98"),
            json!({"target_px": "90"}),
        ),
    );
    assert_eq!(
        (looser.code, looser.tightened),
        (Code::Accepted, Some(px("99"))),
        "{}",
        looser.detail
    );
    assert_eq!(plan_of(&looser).1, Some(px("100.1")));
    assert_eq!(
        plan_of(&verdict_of(
            &scene("98"),
            weight("ETH-USDT-SWAP", "0.1", "98")
        ))
        .1,
        None
    );
    // More of it is another matter.
    assert_eq!(
        verdict_of(&scene("98"), weight("ETH-USDT-SWAP", "0.9", "98")).code,
        Code::CloseOnly
    );
    // And it comes before what opens, in whatever order it was said: only then is there room for
    // the other.
    let mut both = Scene::new(AnswerMode::Portfolio).holding("1900");
    both.plans.insert(swap().id, plan());
    let asked = both.asked();
    let targets =
        json!({"targets": [weight("ETH-USDT", "0.2", "98"), weight("ETH-USDT-SWAP", "0.5", "98")]});
    let text = with(portfolio(), targets)
        .to_string()
        .replace("SNAP", &asked.data.meta.snap);
    let items =
        crate::llm::parse::parse(AnswerMode::Portfolio, &text, &asked.data.meta.snap).unwrap();
    let verdicts = both.judged(&asked, items);
    assert_eq!(
        verdicts[0].item.inst,
        swap().id,
        "what is made smaller comes first"
    );
    assert_eq!(verdicts[1].code, Code::Accepted, "{}", verdicts[1].detail);
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
fn risk_budget_counts_positions_not_plans() {
    // 3 % of 10,000 may be lost, half of it by this answer. The coin is planned to risk 10 dollars;
    // what is held of it loses 1.3 dollars apiece at its stop, costs included.
    let small = TradePlan {
        inst: coin().id,
        risk_usd: d("10"),
        stop: px("99"),
        ..plan()
    };
    let open = |held: &str| {
        let mut scene = Scene::new(AnswerMode::Portfolio);
        let holding = Scene::new(AnswerMode::Portfolio)
            .holding(held)
            .orders
            .holdings
            .into_values()
            .next()
            .unwrap();
        scene
            .orders
            .holdings
            .insert((scene.profile.id.clone(), coin().id), holding);
        scene.plans = [(coin().id, small.clone())].into();
        scene.profile.limits.leverage = d("20");
        scene.profile.limits.cluster = d("20");
        verdict_of(&scene, weight("ETH-USDT-SWAP", "0.5", "98")).code
    };
    assert_eq!(open("115"), Code::Accepted);
    assert_eq!(open("116"), Code::RiskSize);
}

#[test]
fn what_moves_alike_is_one_bet() {
    let scene = |held: &str, contrary: bool| {
        let mut scene = Scene::new(AnswerMode::Portfolio);
        for (inst, sign) in [(swap().id, 1), (coin().id, if contrary { -1 } else { 1 })] {
            let shown = scene.market.insts.get_mut(&inst).unwrap();
            let mut candles = shown.history(Bar::M1).to_vec();
            for (i, candle) in candles.iter_mut().enumerate() {
                let step = [7, -3, 5, -9, 0][i % 5] * sign;
                candle.close = px("100").max(crate::domain::Price(
                    d("100") + rust_decimal::Decimal::new(step, 2),
                ));
                if step < 0 {
                    candle.close =
                        crate::domain::Price(d("100") + rust_decimal::Decimal::new(step, 2));
                }
            }
            candles.last_mut().unwrap().close = px("100");
            shown.series.insert(Bar::M1, Series::new(Bar::M1, candles));
        }
        let holding = crate::domain::books::Holding {
            qty: Qty(d(held)),
            average: px("100"),
            ..Default::default()
        };
        scene
            .orders
            .holdings
            .insert((scene.profile.id.clone(), coin().id), holding);
        scene.profile.limits.leverage = d("5");
        scene
    };
    // Weight 0.5: 6,818 dollars of the swap, beside what is held of its coin; 15,000 one way is the
    // most.
    let code = |scene: &Scene, w: &str, stop: &str| {
        verdict_of(scene, weight("ETH-USDT-SWAP", w, stop)).code
    };
    assert_eq!(code(&scene("80", false), "0.5", "98"), Code::Accepted);
    assert_eq!(code(&scene("83", false), "0.5", "98"), Code::Cluster);
    assert_eq!(
        code(&scene("83", false), "-0.5", "102"),
        Code::Accepted,
        "the other way takes off"
    );
    assert_eq!(
        code(&scene("83", true), "0.5", "98"),
        Code::Accepted,
        "it moves against it"
    );
    assert_eq!(code(&scene("83", true), "-0.5", "102"), Code::Cluster);
    let mut unknown = scene("83", true);
    let shown = unknown.market.insts.get_mut(&coin().id).unwrap();
    let few = shown.history(Bar::M1)[50..].to_vec();
    shown.series.insert(Bar::M1, Series::new(Bar::M1, few));
    assert_eq!(
        code(&unknown, "0.5", "98"),
        Code::Cluster,
        "what cannot be told counts as alike"
    );
    assert_eq!(
        code(&Scene::new(AnswerMode::Portfolio), "0.9", "98"),
        Code::Accepted,
        "alone it is bound by other limits"
    );
}

/// Each funding payment due within the horizon counts against the side that pays it.
#[test]
fn due_funding_reduces_the_reward() {
    let scene = |rate: &str, next_min: i64| {
        let mut scene = Scene::new(AnswerMode::Single);
        let extras = scene.extras.get_mut(&swap().id).unwrap();
        (extras.funding_rate, extras.next_funding) =
            (Some(d(rate)), Some(NOW.plus(Ms(next_min * 60_000))));
        scene
    };
    // Accepted with nothing to spare: (2.4 − 0.2) / (2 + 0.2) = 1. Twelve hours.
    let edge = json!({"target_px": "102.4"});
    check(&scene("0", 10), edge.clone(), Code::Accepted);
    check(&scene("0.0001", 10), edge.clone(), Code::RewardRisk);
    check(&scene("0.0001", 721), edge.clone(), Code::Accepted);
    check(&scene("-0.0001", 10), edge, Code::Accepted);
    let short = json!({"action": "open_short", "stop_px": "102", "target_px": "97.6", "invalidation": null});
    check(&scene("-0.0001", 10), short.clone(), Code::RewardRisk);
    check(&scene("0.0001", 10), short, Code::Accepted);
    // Every hour: twelve times.
    let mut hourly = scene("0.0001", 10);
    hourly.extras.get_mut(&swap().id).unwrap().funding_every = Some(Ms(3_600_000));
    check(&hourly, json!({"target_px": "102.45"}), Code::RewardRisk);
    check(
        &scene("0.0001", 10),
        json!({"target_px": "102.45"}),
        Code::Accepted,
    );
    // Twice within twelve hours: 0.12 a payment, (2.7 − 0.2 − 0.24) / (2.2 + 0.24) < 1 < (2.7 − 0.2
    // − 0.12) / (2.2 + 0.12).
    check(
        &scene("0.0012", 10),
        json!({"target_px": "102.7"}),
        Code::RewardRisk,
    );
    check(
        &scene("0.0012", 300),
        json!({"target_px": "102.7"}),
        Code::Accepted,
    );
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

/// Budget, opens per day, cooldown, positions and depth deny an opening; a close always passes.
#[test]
fn contender_limits_bind_only_openings() {
    let close = json!({"action": "close"});
    let mut spent = Scene::new(AnswerMode::Single);
    spent.close_only = Some("the day's calls are made".into());
    check(&spent, json!({}), Code::CloseOnly);
    let mut spent = spent.holding("10");
    check(&spent, close.clone(), Code::Accepted);
    spent.opens_today = 99;
    check(&spent, close, Code::Accepted);
    let mut often = Scene::new(AnswerMode::Single);
    often.opens_today = 5;
    check(&often, json!({}), Code::OpensPerDay);
    let mut sore = Scene::new(AnswerMode::Single);
    sore.profile.limits.cooldown = Ms(60_000);
    let order = OrderId::new("o");
    let mut ended = |profit: &str, at: i64| {
        sore.orders.tally.count(&crate::domain::tally::Counted {
            contender: &sore.profile.id,
            inst: &swap().id,
            order: &order,
            value: crate::domain::Usd(d("100")),
            profit: d(profit),
            fee: d("-1"),
            purpose: Some(crate::domain::Purpose::Exit),
            held: (d("1"), d("0")),
            at: Ms(NOW.0 - at),
        });
        sore.code(&single().to_string()).0
    };
    assert_eq!(ended("-5", 60_000), Code::Accepted, "a minute ago");
    assert_eq!(ended("5", 1000), Code::Accepted, "no loss");
    assert_eq!(ended("-5", 59_999), Code::Cooldown);
    let mut full = Scene::new(AnswerMode::Single);
    full.profile.limits.positions = 1;
    let held = crate::domain::books::Holding {
        qty: Qty(d("1")),
        average: px("100"),
        ..Default::default()
    };
    full.orders
        .holdings
        .insert((full.profile.id.clone(), coin().id), held);
    check(&full, json!({}), Code::MaxPositions);
    let mut thin = Scene::new(AnswerMode::Single);
    thin.extras.insert(
        swap().id,
        Extras {
            depth_usd: Some(d("4000")),
            ..Extras::default()
        },
    );
    check(&thin, json!({}), Code::Depth);
    thin.extras.insert(
        swap().id,
        Extras {
            depth_usd: Some(d("5000")),
            ..Extras::default()
        },
    );
    check(&thin, json!({}), Code::Accepted);
    thin.extras.clear();
    check(&thin, json!({}), Code::Depth);
    let mut near = Scene::new(AnswerMode::Single);
    let position = Position {
        inst: swap().id,
        qty: Qty(d("100")),
        average: None,
        mark: None,
        unrealised: d("0"),
        notional: None,
        liquidation: Some(px("97.8")),
        leverage: None,
        at: NOW,
    };
    near.account.positions.insert(swap().id, position);
    check(&near, json!({}), Code::StopLiquidation);
    check(&near, json!({"stop_px": "98.5"}), Code::Accepted);
}

#[test]
fn leverage_is_derived_and_capped() {
    // A stop 0.3 away risks 1 % of 10,000 at a value of 20,000: twice the sleeve, whatever the
    // model risks more.
    let target = |leverage: &str, stop: &str| {
        let mut scene = Scene::new(AnswerMode::Single);
        scene.profile.limits.leverage = d(leverage);
        let asked = scene.asked();
        let answer = with(single(), json!({"risk_pct": "1", "stop_px": stop}));
        let text = answer.to_string().replace("SNAP", &asked.data.meta.snap);
        let items =
            crate::llm::parse::parse(AnswerMode::Single, &text, &asked.data.meta.snap).unwrap();
        scene.judged(&asked, items)[0].proposal.target.unwrap().0
    };
    assert_eq!(
        target("5", "99.7"),
        40_000,
        "100 / 0.5 × 100 = 20,000 dollars, four slots of 5,000"
    );
    assert_eq!(
        target("1.5", "99.7"),
        30_000,
        "at most one and a half sleeves"
    );
    assert_eq!(target("5", "98"), 9090, "100 / 2.2 × 100 = 4,545 dollars");
}

/// Each target is judged by itself; a close comes first wherever it stands in the answer.
#[test]
fn portfolio_closes_come_before_openings() {
    let scene = Scene::new(AnswerMode::Portfolio).holding("10");
    let target = |symbol: &str, weight: &str, stop: &str, aim: &str| {
        json!({"symbol": symbol, "weight": weight, "stop_px": stop, "target_px": aim, "horizon_min": 60, "p_target_first": "0.5",
            "invalidation": null, "reason": "r"})
    };
    let closing = json!({"symbol": "ETH-USDT-SWAP", "weight": "0", "stop_px": null, "target_px": null, "horizon_min": null,
        "p_target_first": null, "invalidation": null, "reason": "out"});
    let judged = |targets: Value| {
        let asked = scene.asked();
        let answer = with(portfolio(), json!({"targets": targets}))
            .to_string()
            .replace("SNAP", &asked.data.meta.snap);
        let items = crate::llm::parse::parse(AnswerMode::Portfolio, &answer, &asked.data.meta.snap)
            .unwrap();
        let verdicts = scene.judged(&asked, items);
        verdicts
            .iter()
            .map(|v| format!("{} {} {}", v.item.inst, v.item.action(), v.code))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        judged(json!([target("ETH-USDT", "0.3", "98", "105"), closing])),
        ["ETH-USDT-SWAP close accepted", "ETH-USDT weight accepted"]
    );
    assert_eq!(
        judged(json!([target("ETH-USDT-SWAP", "-0.3", "102", "95")])),
        ["ETH-USDT-SWAP weight flip"]
    );
    assert_eq!(
        judged(json!([target("ETH-USDT", "-0.3", "102", "95")])),
        ["ETH-USDT weight not_allowed"]
    );
    assert_eq!(
        judged(json!([
            target("ETH-USDT", "0.3", "98", "105"),
            target("ETH-USDT", "0.4", "98", "105")
        ])),
        [
            "ETH-USDT weight symbol_twice",
            "ETH-USDT weight symbol_twice"
        ]
    );
    assert_eq!(
        judged(json!([])),
        Vec::<String>::new(),
        "nothing is asked for, and nothing done"
    );
    let whole = |weight: &str| {
        scene
            .code(
                &with(
                    portfolio(),
                    json!({"targets": [target("ETH-USDT", weight, "98", "105"),
        target("ETH-USDT-SWAP", "0.5", "98", "105")]}),
                )
                .to_string(),
            )
            .0
    };
    assert_eq!(whole("0.5"), Code::Accepted);
    assert_eq!(whole("0.51"), Code::RiskSize);
}
