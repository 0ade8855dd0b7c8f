//! The fast engine makes the exact one's fills, and both keep their books.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::{contender, counts, market, rules};
use crate::backtest::{BacktestMarket, Contender, FillRecord, Rules, RunOutcome, exact, kernel};
use crate::domain::{
    Bps, BreachAction, InstKind, Limits, Ms, Release, Rule, Side, Then, WorkingPolicy,
};
use crate::fills::{Costs, Number, Tier};

/// A walk of so many minutes, quiet or wild, with volume that sometimes fails.
fn walk() -> impl Strategy<Value = Vec<[i64; 5]>> {
    let step = (
        -40i64..=40,
        0i64..30,
        0i64..30,
        -20i64..=20,
        prop_oneof![1 => Just(0i64), 6 => 1i64..5000],
    );
    (
        prop::collection::vec(step, 30..160),
        prop_oneof![3 => Just(1i64), 1 => Just(40i64), 1 => Just(150i64)],
        20_000i64..60_000,
    )
        .prop_map(|(steps, wild, start)| {
            let mut last = start;
            let bar = |(gap, up, down, change, volume): (i64, i64, i64, i64, i64)| {
                let open = (last + gap * wild / 8).max(100);
                let close = (open + change * wild).max(100);
                let (high, low) = (
                    open.max(close) + up * wild,
                    (open.min(close) - down * wild).max(50),
                );
                last = close;
                [open, high, low, close, volume]
            };
            steps.into_iter().map(bar).collect()
        })
}

fn wants() -> impl Strategy<Value = Vec<(usize, f64)>> {
    let percent = prop_oneof![
        Just(100.0),
        Just(0.0),
        Just(-100.0),
        Just(300.0),
        Just(-900.0),
        Just(900.0),
        (-150i32..150).prop_map(f64::from)
    ];
    prop::collection::vec((0usize..160, percent), 1..40)
}

fn costs(kind: InstKind) -> impl Strategy<Value = Costs> {
    let share = |most: i64| (0..most).prop_map(|parts| Decimal::new(parts, 5));
    let tiers = prop_oneof![
        1 => Just(vec![]),
        1 => prop::collection::vec((1i64..200_000, 0i64..60), 1..3),
    ];
    (
        share(50),
        share(300),
        1i64..=100,
        0u32..3,
        share(100),
        tiers,
    )
        .prop_map(
            move |(half_spread, impact, participation, latency_bars, funding, tiers)| {
                let mut costs = Costs::of(kind);
                let tier = |(volume, bps): (i64, i64)| Tier {
                    volume_30d: Decimal::from(volume),
                    maker: Decimal::new(bps / 2, 5),
                    taker: Decimal::new(bps, 5),
                };
                costs.tiers.extend(tiers.into_iter().map(tier));
                costs.tiers.sort_by_key(|tier| tier.volume_30d);
                let participation = Decimal::new(participation, 2);
                Costs {
                    half_spread,
                    impact,
                    participation,
                    latency_bars,
                    funding,
                    ..costs
                }
            },
        )
}

fn policy() -> impl Strategy<Value = WorkingPolicy> {
    prop_oneof![
        3 => Just(WorkingPolicy::Market { slippage: None }),
        1 => (1i32..100).prop_map(|bps| WorkingPolicy::IocLimit { collar: Bps(bps), tries: 1 }),
        1 => (1i64..5).prop_map(|bars| WorkingPolicy::PostOnly {
            ttl: Ms(bars * 60_000),
            then: Then::Cancel,
            collar: Bps(20),
            tries: 1
        }),
    ]
}

/// Up to four rules at numbers that bind.
fn limits() -> impl Strategy<Value = Limits> {
    let action = prop_oneof![
        Just(BreachAction::Block),
        Just(BreachAction::ReduceOnly),
        Just(BreachAction::Halt),
        Just(BreachAction::Flatten)
    ];
    let release = prop_oneof![Just(Release::Manual), Just(Release::NextUtcDay)];
    let one = (0..Rule::ALL.len(), 0.0f64..1.0, action, release);
    prop::collection::vec(one, 0..5).prop_map(|chosen| {
        chosen
            .into_iter()
            .fold(Limits::widest(), |limits, (at, part, action, release)| {
                let rule = Rule::ALL[at];
                let (least, most) = match rule {
                    Rule::OrderNotionalMax | Rule::Position => (1_000.0, 30_000.0),
                    Rule::OrderNotionalMin => (10.0, 3_000.0),
                    Rule::FreeBalance => (0.0, 5_000.0),
                    Rule::OpenOrders | Rule::OrderRate => (0.0, 2.0),
                    Rule::GrossExposure | Rule::NetExposure => (20.0, 400.0),
                    Rule::Leverage => (1.0, 4.0),
                    Rule::PriceCollar | Rule::MarkCollar => (0.0, 1.0),
                    Rule::Repeats | Rule::TradesPerDay | Rule::OrdersPerDay => (1.0, 8.0),
                    Rule::LossStreak => (1.0, 4.0),
                    Rule::Turnover => (50.0, 1_000.0),
                    Rule::DailyLoss | Rule::Drawdown => (1.0, 20.0),
                    Rule::Duplicate | Rule::CooldownLoss | Rule::CooldownTrade => (0.0, 900_000.0),
                    Rule::PriceJump | Rule::QuoteAge | Rule::AccountAge | Rule::DecisionAge => {
                        return limits;
                    }
                };
                let value = Decimal::from((least + part * (most - least)) as i64);
                limits.with(rule, value).leading_to(rule, action, release)
            })
    })
}

fn world() -> impl Strategy<Value = (BacktestMarket, Contender, Rules)> {
    let kind = prop_oneof![Just(InstKind::Swap), Just(InstKind::Spot)];
    kind.prop_flat_map(|kind| {
        let stop = prop_oneof![Just(0.0), 0.1f64..3.0];
        let start = prop_oneof![Just(0i64), Just(86_400_000 - 30 * 60_000)];
        (
            walk(),
            wants(),
            (costs(kind), policy(), limits()),
            (stop, start, 5_000i64..20_000),
        )
            .prop_map(
                move |(bars, wants, (costs, policy, limits), (stop, start, cash))| {
                    let stop_default = Decimal::new(if cash % 2 == 0 { 2 } else { 60 }, 2);
                    let contender = Contender {
                        execution: policy,
                        ..contender(wants, stop)
                    };
                    let rules = Rules {
                        limits,
                        stop_default,
                        ..rules(cash)
                    };
                    (market(kind, Ms(start), &bars, costs), contender, rules)
                },
            )
    })
}

/// Returns the fields of a fill that must be the same to the last digit.
fn steps<N: Copy>(row: &FillRecord<N>) -> impl PartialEq + std::fmt::Debug + use<N> {
    (
        row.bar,
        row.decided,
        row.order,
        row.cause,
        row.side,
        row.lots,
        row.ticks,
        row.maker,
        row.held,
    )
}

fn close(fast: f64, exact: Decimal, scale: f64) -> bool {
    (fast - exact.to_f64().unwrap()).abs() <= 1e-9 * scale
}

/// Every fill once and within its bar, and money that neither comes from nowhere nor goes there.
fn is_sound(market: &BacktestMarket, outcome: &RunOutcome<Decimal>, rules: &Rules) {
    let mut filled: BTreeMap<usize, i64> = BTreeMap::new();
    let mut cash = rules.cash - outcome.funding + outcome.uncovered;
    let mut held = 0;
    for row in &outcome.fills {
        let bar = market.steps(row.bar);
        assert!(
            (bar.low..=bar.high).contains(&row.ticks),
            "outside its bar: {row:?} {bar:?}"
        );
        assert!(row.ts >= row.decided, "before it was decided: {row:?}");
        let later = row.decided + 60_000 * i64::from(market.costs.latency_bars);
        assert!(
            row.cause != crate::backtest::sleeve_sim::Cause::Order || row.ts >= later,
            "no latency: {row:?}"
        );
        if row.cause != crate::backtest::sleeve_sim::Cause::Liquidation {
            *filled.entry(row.bar).or_default() += row.lots;
        }
        cash -= if row.side == Side::Buy {
            row.value
        } else {
            -row.value
        };
        cash -= row.fee;
        held += super::super::sleeve_sim::signed(row.side, row.lots);
        assert_eq!(held, row.held);
    }
    for (bar, lots) in filled {
        let cap = market.costs.participation * Decimal::from(market.steps(bar).volume);
        assert!(
            Decimal::from(lots) <= cap,
            "{lots} lots of bar {bar}, the cap is {cap}"
        );
    }
    assert_eq!(cash, outcome.cash, "cash is what the fills make it");
    let last = market.steps(market.columns.len() - 1).close;
    let unit =
        market.instrument.tick.0 * market.instrument.lot.0 * market.instrument.contract_value;
    let equity = cash + Decimal::from(held) * Decimal::from(last) * unit;
    assert_eq!(
        *outcome.equity.last().unwrap(),
        equity,
        "equity is cash and positions at the close"
    );
}

pub(super) fn compare(
    market: &BacktestMarket,
    contender: &Contender,
    rules: &Rules,
) -> (usize, usize) {
    let (exact, _) = exact::run(
        std::slice::from_ref(market),
        std::slice::from_ref(contender),
        rules,
    );
    is_sound(market, &exact, rules);
    let fast = kernel::run(market, contender, rules);
    let rows = |all: &[FillRecord<Decimal>]| all.iter().map(steps).collect::<Vec<_>>();
    let fast_rows: Vec<_> = fast.fills.iter().map(steps).collect();
    for (at, (one, other)) in rows(&exact.fills).iter().zip(&fast_rows).enumerate() {
        assert!(
            format!("{one:?}") == format!("{other:?}"),
            "fill {at}: exact {one:?}, fast {other:?}"
        );
    }
    assert_eq!(exact.fills.len(), fast.fills.len());
    assert_eq!(counts(&exact), counts(&fast), "what the gate refused");
    assert_eq!(exact.halts, fast.halts);
    assert_eq!(
        (exact.orders, exact.liquidations, &exact.held),
        (fast.orders, fast.liquidations, &fast.held)
    );
    let scale = rules.cash.float();
    for (at, (one, other)) in exact.equity.iter().zip(&fast.equity).enumerate() {
        assert!(
            close(*other, *one, scale),
            "equity after bar {at}: exact {one}, fast {other}"
        );
    }
    assert!(close(fast.cash, exact.cash, scale) && close(fast.funding, exact.funding, scale));
    (
        exact.fills.len(),
        exact
            .blocks
            .values()
            .map(|block| block.count as usize)
            .sum(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]
    /// Fast and full engine on random worlds make the same fills and keep the same books.
    #[test]
    fn both_engines_agree((market, contender, rules) in world()) {
        compare(&market, &contender, &rules);
    }
}

/// 400 random worlds give many fills of at least three causes, halts, and denials by every rule
/// that can apply in a backtest.
#[test]
fn comparison_worlds_exercise_every_rule() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut fills, mut blocks, mut halts, mut codes) = (0, 0, 0, BTreeMap::<String, u64>::new());
    let mut causes = BTreeMap::new();
    for _ in 0..400 {
        let (market, contender, rules) = world().new_tree(&mut runner).unwrap().current();
        let (of_fills, of_blocks) = compare(&market, &contender, &rules);
        (fills, blocks) = (fills + of_fills, blocks + of_blocks);
        let fast = kernel::run(&market, &contender, &rules);
        halts += fast.halts.len();
        counts(&fast)
            .into_iter()
            .for_each(|(code, n)| *codes.entry(code).or_default() += n);
        fast.fills
            .iter()
            .for_each(|row| *causes.entry(row.cause).or_insert(0) += 1);
    }
    println!("{fills} fills {causes:?}, {blocks} orders refused {codes:?}, {halts} halts");
    assert!(
        fills > 2_000 && halts > 20 && causes.len() >= 3,
        "{fills} {causes:?} {halts}"
    );
    for rule in Rule::ALL {
        let never = [
            Rule::PriceJump,
            Rule::QuoteAge,
            Rule::AccountAge,
            Rule::DecisionAge,
        ]
        .contains(rule);
        // What is too large for one order is cut, and only where no smaller one is taken refused.
        assert!(
            codes.contains_key(rule.as_str()) != never || *rule == Rule::OrderNotionalMax,
            "{rule}"
        );
    }
}
