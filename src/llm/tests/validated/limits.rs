//! The contender's limits: risk, leverage, positions, and what may only tighten.

use super::*;

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
