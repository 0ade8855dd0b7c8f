//! Effects of a bar on an profile: who is asked, what is exited without asking, what has ended.

use rust_decimal::Decimal;

use super::validated::plan;
use super::{NOW, Scene, coin, d, px};
use crate::domain::instrument::tests::swap;
use crate::domain::model::ModelMemory;
use crate::domain::tally::Counted;
use crate::domain::{Bar, Bps, Candle, Ms, OrderId, Purpose, Qty, Series, Usd};
use crate::llm::answer::{AnswerMode, Field, Op, Plain, Predicate};
use crate::llm::plan::TradePlan;
use crate::llm::state::{Cadence, ModelState, fresh};
use crate::llm::validate::CLOSED;

fn cadence() -> Cadence {
    Cadence {
        every_bars: 2,
        material_atr: d("3"),
        least: Ms(30_000),
    }
}

fn minute(n: i64) -> Ms {
    Ms(n * 60_000)
}

/// The scene after one more bar with this range and close.
fn after(mut scene: Scene, low: &str, high: &str, close: &str) -> Scene {
    let market = scene.market.insts.get_mut(&swap().id).unwrap();
    let mut candles = market.history(Bar::M1).to_vec();
    let ts = candles.last().unwrap().ts.plus(Ms(60_000));
    candles.push(Candle {
        ts,
        open: px("100"),
        high: px(high),
        low: px(low),
        close: px(close),
        volume: Qty(Decimal::TEN),
    });
    market.series.insert(Bar::M1, Series::new(Bar::M1, candles));
    market.mark = Some((px(close), ts));
    scene
}

/// Once for each close of its own interval; a move of three ATR asks earlier, but not before the
/// minimum pause.
#[test]
fn asked_at_bar_closes_and_large_moves() {
    let scene = Scene::new(AnswerMode::Single);
    let mut state = ModelState::default();
    let asked = |state: &mut ModelState, scene: &Scene, at: Ms| {
        let due = state.due(&scene.profile, &cadence(), at, &scene.market, true);
        due.into_iter()
            .map(|(inst, why)| format!("{} {why}", inst.unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        asked(&mut state, &scene, minute(61)),
        Vec::<String>::new(),
        "every second close"
    );
    assert_eq!(
        asked(&mut state, &scene, minute(62)),
        ["ETH-USDT-SWAP bar", "ETH-USDT bar"]
    );
    assert_eq!(
        asked(&mut state, &scene, minute(62).plus(Ms(1000))),
        Vec::<String>::new(),
        "no close at all"
    );
    state.note_asked(&scene.profile, Some(&swap().id), &scene.market, minute(62));
    assert_eq!(
        asked(&mut state, &scene, minute(62)),
        ["ETH-USDT bar"],
        "not twice for one close"
    );
    // Three average true ranges within a minute: it is asked before its bar closes.
    let moved = after(Scene::new(AnswerMode::Single), "95", "100", "95.5");
    let found = asked(&mut state, &moved, minute(63));
    assert!(
        found.len() == 1 && found[0].starts_with("ETH-USDT-SWAP ETH-USDT-SWAP moved 3"),
        "{found:?}"
    );
    let soon = asked(&mut state, &moved, minute(62).plus(Ms(20_000)));
    assert_eq!(soon, Vec::<String>::new(), "but never sooner than allowed");
}

#[test]
fn portfolio_asked_when_any_instrument_moves() {
    let mut state = ModelState::default();
    let mut scene = Scene::new(AnswerMode::Portfolio);
    scene.profile.instruments.reverse();
    assert_eq!(
        scene.profile.instruments[0],
        coin().id,
        "the one that moves is not the first"
    );
    state.note_asked(&scene.profile, None, &scene.market, minute(62));
    let asked = |state: &mut ModelState, scene: &Scene| {
        state.due(&scene.profile, &cadence(), minute(63), &scene.market, false)
    };
    assert_eq!(asked(&mut state, &scene), []);
    let moved = after(scene, "95", "100", "95.5");
    let found = asked(&mut state, &moved);
    assert!(
        matches!(&found[..], [(None, why)] if why.starts_with("ETH-USDT-SWAP moved 3")),
        "{found:?}"
    );
}

/// The 5m bar arrives after the 1m bar that closes with it; its invalidation still triggers the
/// exit.
#[test]
fn late_longer_bar_is_still_checked() {
    let condition = Predicate {
        tf: "5m".into(),
        field: Field::Close,
        op: Op::Lt,
        value: Plain(d("99.8")),
    };
    let (mut state, mut scene) = held(TradePlan {
        target: None,
        invalidation: Some(condition),
        opened: Ms(59 * 60_000),
        ..plan()
    });
    let five = |scene: &mut Scene, closes: &[&str]| {
        let at = |(n, close): (usize, &&str)| Candle {
            ts: Ms(n as i64 * 300_000),
            open: px("100"),
            high: px("101"),
            low: px("99"),
            close: px(close),
            volume: Qty(Decimal::TEN),
        };
        let candles = closes.iter().enumerate().map(at).collect();
        scene
            .market
            .insts
            .get_mut(&swap().id)
            .unwrap()
            .series
            .insert(Bar::M5, Series::new(Bar::M5, candles));
    };
    five(&mut scene, &["100"; 12]);
    let mut exits = |scene: &Scene| {
        let found = state.exits(
            &scene.profile.id,
            (Bar::M1, &scene.market),
            &scene.orders,
            NOW.plus(Ms(600_000)),
        );
        found.into_iter().map(|p| p.reason).collect::<Vec<_>>()
    };
    // The minutes to 65 have closed, and with the last of them the five minutes, which are late.
    for _ in 0..5 {
        scene = after(scene, "99.5", "100.5", "100");
        assert_eq!(exits(&scene), Vec::<String>::new());
    }
    let mut closes = vec!["100"; 12];
    closes.push("99");
    five(&mut scene, &closes);
    let scene = after(scene, "99.5", "100.5", "100");
    assert_eq!(exits(&scene), ["invalidated: 5m close < 99.8"]);
}

/// A close by the model is repeated after five seconds while anything is held, also after a
/// restart.
#[test]
fn model_close_repeats_until_flat() {
    let (mut state, scene) = held(TradePlan {
        opened: Ms(59 * 60_000),
        ..plan()
    });
    let closed = TradePlan {
        leaving: Some(CLOSED.to_owned()),
        ..state.plans.values().next().unwrap().clone()
    };
    state.adopt(closed.clone(), false, NOW);
    assert_eq!(state.leaving(), [], "it is written down with the answer");
    let exits = |state: &mut ModelState, at: Ms| {
        let found = state.exits(
            &scene.profile.id,
            (Bar::M1, &scene.market),
            &scene.orders,
            at,
        );
        found
            .into_iter()
            .map(|p| (p.target, p.reason))
            .collect::<Vec<_>>()
    };
    let again = vec![(Some(Bps(0)), CLOSED.to_owned())];
    assert_eq!(
        exits(&mut state, NOW.plus(Ms(4999))),
        [],
        "its own order has just left"
    );
    assert_eq!(exits(&mut state, NOW.plus(Ms(5000))), again);
    let memory = ModelMemory {
        plans: vec![serde_json::to_string(&closed).unwrap()],
        ..ModelMemory::default()
    };
    let mut other = ModelState::of(
        &scene.profile.id,
        &memory,
        &crate::llm::runner::remembered(&memory),
    );
    assert_eq!(exits(&mut other, NOW), again);
}

/// A late bar, an old quote or too short a history: the model is not asked.
#[test]
fn stale_or_incomplete_data_blocks_calls() {
    let scene = Scene::new(AnswerMode::Single);
    let asked = |scene: &Scene, bar: Bar, close: i64, now: Ms| {
        fresh(
            &scene.market,
            &swap().id,
            bar,
            Ms(1000),
            (Ms(close * 60_000), now),
        )
        .map_err(|why| why.replace("ETH-USDT-SWAP", "it"))
    };
    assert_eq!(asked(&scene, Bar::M1, 60, NOW), Ok(()));
    assert_eq!(
        asked(&scene, Bar::M1, 61, NOW),
        Err("the last 1m bar of it is late".to_owned()),
        "everybody else's has come"
    );
    assert_eq!(
        asked(&scene, Bar::M1, 60, NOW.plus(Ms(501))),
        Err("it has no fresh quote".to_owned())
    );
    assert_eq!(
        asked(&scene, Bar::M5, 60, NOW),
        Err("it has too short a history of 5m bars".to_owned())
    );
    let mut longer = scene.clone();
    let five = |n: i64| Candle {
        ts: Ms(n * 300_000),
        ..scene.market.insts[&swap().id].history(Bar::M1)[0]
    };
    let series = Series::new(Bar::M5, (0..12).chain(100..112).map(five).collect());
    longer
        .market
        .insts
        .get_mut(&swap().id)
        .unwrap()
        .series
        .insert(Bar::M5, series);
    // Between two closes of its own bar the last one is as new as can be.
    for (close, expected) in [(560, true), (561, true), (564, true), (565, false)] {
        let found = asked(&longer, Bar::M5, close, NOW);
        assert_eq!(found.is_ok(), expected, "{close}: {found:?}");
    }
}

fn opens(state: &ModelState, scene: &Scene) -> u32 {
    state.opens_today(&scene.profile, &scene.market, &scene.orders, NOW)
}

/// One answer opens two instruments; each counts towards the opens per day as soon as it is filled.
#[test]
fn each_fill_counts_as_one_opening() {
    let mut state = ModelState::default();
    let mut scene = Scene::new(AnswerMode::Portfolio).holding("10");
    let both = [swap().id, coin().id].map(|inst| TradePlan {
        inst,
        opened: NOW,
        ..plan()
    });
    both.into_iter()
        .for_each(|plan| state.adopt(plan, true, NOW));
    assert_eq!(
        opens(&state, &scene),
        1,
        "one is filled, and no bar has closed since"
    );
    let coins = scene.orders.holdings.values().next().unwrap().clone();
    scene
        .orders
        .holdings
        .insert((scene.profile.id.clone(), coin().id), coins);
    assert_eq!(opens(&state, &scene), 2);
    assert_eq!(
        state.ended(&scene.profile.id, &scene.market, &scene.orders, NOW),
        []
    );
    assert_eq!(opens(&state, &scene), 2, "the same two, seen by a bar");
    assert_eq!(
        state.opens_today(
            &scene.profile,
            &scene.market,
            &scene.orders,
            NOW.plus(Ms::days(1))
        ),
        0
    );
}

/// After a restart the bars missed meanwhile are checked for targets and invalidations.
#[test]
fn exit_is_reported_once_across_restarts() {
    let opened = || TradePlan {
        opened: Ms(59 * 60_000),
        ..plan()
    };
    let exits = |state: &mut ModelState, scene: &Scene| {
        let found = state.exits(
            &scene.profile.id,
            (Bar::M1, &scene.market),
            &scene.orders,
            NOW.plus(Ms(600_000)),
        );
        found.into_iter().map(|p| p.reason).collect::<Vec<_>>()
    };
    let (mut state, scene) = held(opened());
    assert_eq!(state.leaving(), []);
    let scene = after(scene, "99.5", "105", "100");
    assert_eq!(exits(&mut state, &scene), ["target 105 reached"]);
    let told = state.leaving();
    assert_eq!(
        told.iter()
            .map(|plan| plan.leaving.as_deref())
            .collect::<Vec<_>>(),
        [Some("target 105 reached")]
    );
    assert_eq!(state.leaving(), [], "once");
    // The process dies; the next one remembers, whatever the market does by then.
    let memory = ModelMemory {
        plans: vec![serde_json::to_string(&told[0]).unwrap()],
        ..ModelMemory::default()
    };
    let mut again = ModelState::of(
        &scene.profile.id,
        &memory,
        &crate::llm::runner::remembered(&memory),
    );
    let scene = after(scene, "99.5", "100.5", "100");
    assert_eq!(
        (exits(&mut again, &scene), again.leaving()),
        (vec!["target 105 reached".to_owned()], vec![])
    );
    // Nobody was here when it was touched: the bars tell.
    let (mut late, _) = held(opened());
    assert_eq!(
        exits(&mut late, &after(scene.clone(), "99.5", "100.5", "100")),
        ["target 105 reached"]
    );
    let condition = Predicate {
        tf: "1m".into(),
        field: Field::Close,
        op: Op::Lt,
        value: Plain(d("99.8")),
    };
    let (mut late, _) = held(TradePlan {
        target: None,
        invalidation: Some(condition),
        ..opened()
    });
    let dipped = after(
        after(
            Scene::new(AnswerMode::Single).holding("10"),
            "99",
            "100",
            "99.7",
        ),
        "99.5",
        "100.5",
        "100",
    );
    assert_eq!(exits(&mut late, &dipped), ["invalidated: 1m close < 99.8"]);
}

fn held(plan: TradePlan) -> (ModelState, Scene) {
    let mut state = ModelState::default();
    state.adopt(plan, true, NOW);
    (state, Scene::new(AnswerMode::Single).holding("10"))
}

/// Needs no model call, and is repeated until nothing is held.
#[test]
fn target_or_invalidation_exits_until_flat() {
    let opened = |ms: i64| TradePlan {
        opened: Ms(ms),
        ..plan()
    };
    let mut clock = 0;
    let mut exits = |state: &mut ModelState, scene: &Scene| {
        clock += 60_000;
        let at = NOW.plus(Ms(clock));
        let found = state.exits(
            &scene.profile.id,
            (Bar::M1, &scene.market),
            &scene.orders,
            at,
        );
        found
            .into_iter()
            .map(|p| format!("{:?} {}", p.target.map(|t| t.0), p.reason))
            .collect::<Vec<_>>()
    };
    let (mut state, scene) = held(opened(59 * 60_000));
    let scene = after(scene, "99.5", "105", "100");
    assert_eq!(exits(&mut state, &scene), ["Some(0) target 105 reached"]);
    let scene = after(scene, "99.5", "100.5", "100");
    assert_eq!(
        exits(&mut state, &scene),
        ["Some(0) target 105 reached"],
        "again, as long as something is held"
    );
    let at_once = state.exits(
        &scene.profile.id,
        (Bar::M1, &scene.market),
        &scene.orders,
        NOW.plus(Ms(2 * 60_000 + 4999)),
    );
    assert_eq!(at_once, [], "but not at every bar");
    // A bar that had begun before the idea was acted on says nothing about it.
    let (mut state, scene) = held(opened(60 * 60_000 + 1));
    let scene = after(scene, "99.5", "105", "100");
    assert_eq!(exits(&mut state, &scene), Vec::<String>::new());
    let condition = Predicate {
        tf: "1m".into(),
        field: Field::Close,
        op: Op::Lt,
        value: Plain(d("99.8")),
    };
    let (mut state, scene) = held(TradePlan {
        invalidation: Some(condition),
        ..opened(59 * 60_000)
    });
    assert_eq!(exits(&mut state, &scene), Vec::<String>::new());
    let scene = after(scene, "99.5", "100.5", "99.7");
    assert_eq!(
        exits(&mut state, &scene),
        ["Some(0) invalidated: 1m close < 99.8"]
    );
    let short = TradePlan {
        long: false,
        stop: px("102"),
        target: Some(px("99")),
        ..opened(59 * 60_000)
    };
    let (mut state, scene) = held(short);
    let scene = after(scene, "99", "100.5", "100");
    assert_eq!(exits(&mut state, &scene), ["Some(0) target 99 reached"]);
}

/// A plan that never filled is forgotten; a filled one that ended is reported once with its R
/// multiple.
#[test]
fn ended_plans_are_dropped_or_reported() {
    let mut state = ModelState::default();
    let scene = Scene::new(AnswerMode::Single);
    state.adopt(
        TradePlan {
            opened: NOW,
            ..plan()
        },
        true,
        NOW,
    );
    let ended = |state: &mut ModelState, scene: &Scene, now: Ms| {
        state.ended(&scene.profile.id, &scene.market, &scene.orders, now)
    };
    assert_eq!(
        ended(&mut state, &scene, NOW.plus(Ms(59_000))),
        [],
        "its order may still be on its way"
    );
    assert_eq!(state.plans.len(), 1);
    assert_eq!(ended(&mut state, &scene, NOW.plus(Ms(61_000))), []);
    assert_eq!(
        (state.plans.len(), opens(&state, &scene)),
        (0, 0),
        "nothing was opened"
    );
    let (mut state, scene) = held(TradePlan {
        opened: NOW,
        ..plan()
    });
    assert_eq!(ended(&mut state, &scene, NOW), []);
    assert_eq!(ended(&mut state, &scene, NOW), []);
    assert_eq!(opens(&state, &scene), 1, "counted once");
    // Nobody of ours sold it.
    let flat = after(Scene::new(AnswerMode::Single), "97", "100", "98");
    let trade = ended(&mut state, &flat, NOW.plus(Ms(180_000))).remove(0);
    assert_eq!(
        (trade.reason.as_str(), trade.r_multiple, trade.held_min),
        ("taken away", Some(d("-1")), 3)
    );
    assert_eq!(state.history.len(), 1);
    assert_eq!(ended(&mut state, &flat, NOW.plus(Ms(240_000))), []);
}

/// The scene after a trade that was opened with the plan and closed by such an order two minutes
/// later.
fn traded(profit: &str, purpose: Purpose) -> Scene {
    let mut scene = Scene::new(AnswerMode::Single);
    let fills = [
        ("0", "10", "-1", Purpose::Entry, 1000),
        ("10", "0", profit, purpose, 120_000),
    ];
    for (n, (before, after, profit, purpose, at)) in fills.into_iter().enumerate() {
        let order = OrderId::new(format!("o{n}"));
        scene.orders.tally.count(&Counted {
            contender: &scene.profile.id,
            inst: &swap().id,
            order: &order,
            value: Usd(d("100")),
            profit: d(profit),
            fee: d("-1"),
            purpose: Some(purpose),
            held: (d(before), d(after)),
            at: NOW.plus(Ms(at)),
        });
    }
    scene
}

/// Also when the position opened and closed unobserved; fills from before the plan do not count.
#[test]
fn ended_trade_result_comes_from_fills() {
    let plan = || TradePlan {
        opened: NOW,
        ..plan()
    };
    let told = |plan: TradePlan, scene: &Scene| {
        let mut state = ModelState::default();
        state.adopt(plan, true, NOW);
        let trade = state
            .ended(
                &scene.profile.id,
                &scene.market,
                &scene.orders,
                NOW.plus(Ms(3_600_000)),
            )
            .remove(0);
        assert_eq!(opens(&state, scene), 1, "it was opened");
        format!(
            "{} {} after {}",
            trade.reason,
            trade.r_multiple.unwrap(),
            trade.held_min
        )
    };
    // Fifty dollars were risked.
    assert_eq!(
        told(plan(), &traded("-54", Purpose::Stop)),
        "stop -1.1 after 2"
    );
    assert_eq!(
        told(plan(), &traded("76", Purpose::Exit)),
        "closed 1.5 after 2"
    );
    assert_eq!(
        told(plan(), &traded("1", Purpose::Flatten)),
        "flattened 0 after 2"
    );
    let leaving = || TradePlan {
        leaving: Some("target 105 reached".into()),
        ..plan()
    };
    assert_eq!(
        told(leaving(), &traded("101", Purpose::Exit)),
        "target 105 reached 2 after 2"
    );
    assert_eq!(
        told(leaving(), &traded("-51", Purpose::Stop)),
        "stop -1.04 after 2",
        "the stop was first"
    );
    // A trade of before says nothing of this idea.
    let mut state = ModelState::default();
    state.adopt(
        TradePlan {
            opened: NOW.plus(Ms(130_000)),
            ..plan()
        },
        true,
        NOW,
    );
    let scene = traded("-54", Purpose::Stop);
    assert_eq!(
        state.ended(
            &scene.profile.id,
            &scene.market,
            &scene.orders,
            NOW.plus(Ms(131_000))
        ),
        []
    );
}

#[test]
fn restart_restores_plans_budgets_and_trades() {
    let scene = Scene::new(AnswerMode::Single);
    let other = TradePlan {
        contender: "other".into(),
        ..plan()
    };
    let memory = ModelMemory {
        plans: [plan(), other]
            .iter()
            .map(|plan| serde_json::to_string(plan).unwrap())
            .collect(),
        spent: vec![crate::domain::model::ModelSpent {
            contender: scene.profile.id.clone(),
            day: 7,
            calls: 3,
            tokens: 9,
            cost_usd: d("0.5"),
        }],
        trades: Vec::new(),
        opens: vec![
            (scene.profile.id.clone(), swap().id, NOW),
            ("other".into(), swap().id, NOW),
        ],
        ..ModelMemory::default()
    };
    let state = ModelState::of(
        &scene.profile.id,
        &memory,
        &crate::llm::runner::remembered(&memory),
    );
    assert_eq!(state.plans.values().collect::<Vec<_>>(), [&plan()]);
    let spent = *state.spent.lock().unwrap();
    assert_eq!((spent.day, spent.calls), (7, 3));
    assert_eq!(opens(&state, &scene), 1);
}
