//! Small scenes, worked out by hand to the last digit: what fills, when, at what price, for what
//! fee.
//!
//! A lot gains 0.001 by a tick. Fees are 0.02 % for makers and 0.05 % for takers, a bar fills a
//! tenth of its volume, there is no spread and no impact unless a scene says so. A fill reads `bar
//! cause side lots@ticks fee`.

use std::fmt::Write as _;

use rust_decimal::Decimal;

use super::agree::compare;
use super::{contender, market, rules};
use crate::backtest::sleeve_sim::{Done, SimOrder, SleeveSim};
use crate::backtest::{Contender, Rules, exact};
use crate::domain::{InstKind, Ms, Side};
use crate::fills::{CostTerms, Costs, Kind, LotSteps, Tier, room};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn plain() -> Costs {
    let tier = Tier {
        volume_30d: Decimal::ZERO,
        maker: d("0.0002"),
        taker: d("0.0005"),
    };
    Costs {
        tiers: vec![tier],
        half_spread: Decimal::ZERO,
        impact: Decimal::ZERO,
        participation: d("0.1"),
        funding: Decimal::ZERO,
        ..Costs::of(InstKind::Swap)
    }
}

fn order(side: Side, kind: Kind, lots: i64) -> SimOrder {
    SimOrder {
        id: 0,
        side,
        kind,
        lots,
        from: 1,
        until: usize::MAX,
        opening: true,
        stop: None,
        target: None,
    }
}

fn buy(lots: i64) -> SimOrder {
    order(Side::Buy, Kind::Market, lots)
}

fn guarded(order: SimOrder, stop: i64, target: i64) -> SimOrder {
    SimOrder {
        stop: Some(stop),
        target: (target > 0).then_some(target),
        ..order
    }
}

fn shown(out: &mut String, bar: usize, done: &Done<Decimal>) {
    let cause = format!("{:?}", done.cause).to_lowercase();
    let maker = if done.fill.maker { " maker" } else { "" };
    let (side, fill) = (done.side.as_str(), &done.fill);
    write!(
        out,
        "{bar} {cause} {side} {}@{} {}{maker}; ",
        fill.lots,
        fill.ticks,
        fill.fee.normalize()
    )
    .unwrap();
}

/// One order, decided at the end of bar 0, through bars of (open, high, low, close, volume).
#[track_caller]
fn scene(costs: Costs, order: SimOrder, bars: &[[i64; 5]], expected: &str) {
    let (mut sleeve, mut out, mut done) = (SleeveSim::default(), String::new(), Vec::new());
    let market = market(InstKind::Swap, Ms(0), bars, costs);
    let terms = CostTerms::<Decimal>::of(&market.costs, market.costs.tiers[0], &market.instrument);
    sleeve.place(order);
    for (index, bar) in bars.iter().enumerate().map(|(i, bar)| (i + 1, bar)) {
        let &[open, high, low, close, volume] = bar;
        let bar = LotSteps {
            open,
            high,
            low,
            close,
            volume,
        };
        let mut left = room(&bar, &terms);
        sleeve.pass((index, &bar), &mut left, None, &terms, &mut done);
        done.drain(..)
            .for_each(|done| shown(&mut out, index, &done));
    }
    let left = if sleeve.is_busy() { "works on" } else { "" };
    assert_eq!(
        format!("{out}{left}").trim_end_matches([' ', ';']),
        expected
    );
}

/// A bar around one price.
const fn flat(price: i64, volume: i64) -> [i64; 5] {
    [price, price + 20, price - 20, price, volume]
}

#[test]
fn market_orders() {
    // 30 × 20 000 × 0.001 = 600, of which 0.05 % are 0.3.
    scene(
        plain(),
        buy(30),
        &[flat(20_000, 1000)],
        "1 order buy 30@20000 0.3",
    );
    // Three bars fill 100, 100 and the last 50.
    let bars = [flat(20_000, 1000), flat(20_010, 1000), flat(20_020, 1000)];
    scene(
        plain(),
        buy(250),
        &bars,
        "1 order buy 100@20000 1; 2 order buy 100@20010 1.0005; 3 order buy 50@20020 0.5005",
    );
    // A bar without volume fills nothing, one of 25 lots two.
    let bars = [flat(20_000, 0), flat(20_000, 25), flat(20_000, 1000)];
    scene(
        plain(),
        buy(10),
        &bars,
        "2 order buy 2@20000 0.02; 3 order buy 8@20000 0.08",
    );
    // What is not filled goes on.
    scene(
        plain(),
        buy(150),
        &[flat(20_000, 1000)],
        "1 order buy 100@20000 1; works on",
    );
}

#[test]
fn spread_and_impact() {
    let spread = || Costs {
        half_spread: d("0.0005"),
        ..plain()
    };
    // Half a spread of 0.05 % is ten ticks.
    scene(
        spread(),
        buy(10),
        &[flat(20_000, 1000)],
        "1 order buy 10@20010 0.10005",
    );
    let sell = order(Side::Sell, Kind::Market, 10);
    scene(
        spread(),
        sell,
        &[flat(20_000, 1000)],
        "1 order sell 10@19990 0.09995",
    );
    // 0.1 % × √(100 ÷ 1000) = 0.0316 % are 6.32 ticks, so 7.
    let impact = Costs {
        impact: d("0.001"),
        ..plain()
    };
    scene(
        impact,
        buy(100),
        &[flat(20_000, 1000)],
        "1 order buy 100@20007 1.00035",
    );
    // Nobody traded above 20 004: six ticks of ten lots are paid as a fee of 0.06.
    let bar = [20_000, 20_004, 19_900, 20_000, 1000];
    scene(spread(), buy(10), &[bar], "1 order buy 10@20004 0.16002");
}

#[test]
fn limits() {
    let limit = |kind| order(Side::Buy, kind, 30);
    // Immediate or cancel: the bar opens beyond the limit, and it is gone.
    scene(
        plain(),
        limit(Kind::Ioc(19_990)),
        &[flat(20_000, 1000), flat(19_900, 1000)],
        "",
    );
    // Part of it, and the rest is gone.
    scene(
        plain(),
        limit(Kind::Ioc(20_010)),
        &[flat(20_000, 200), flat(20_000, 200)],
        "1 order buy 20@20000 0.2",
    );
    // It rests: a touch of 19 980 is not enough, one tick below is.
    let bars = [flat(20_000, 1000), [20_000, 20_010, 19_979, 20_000, 1000]];
    scene(
        plain(),
        limit(Kind::PostOnly(19_980)),
        &bars,
        "2 order buy 30@19980 0.11988 maker",
    );
    // It would have taken.
    scene(
        plain(),
        limit(Kind::PostOnly(20_000)),
        &[flat(20_000, 1000), flat(19_000, 1000)],
        "",
    );
    // An ordinary limit takes then, at the open.
    scene(
        plain(),
        limit(Kind::Limit(20_005)),
        &[flat(20_000, 1000)],
        "1 order buy 30@20000 0.3",
    );
    // The market falls past it: it was first in line at its price, but nobody traded there, so at
    // the highest of the bar.
    let bars = [flat(20_000, 1000), [19_000, 19_050, 18_900, 19_000, 1000]];
    scene(
        plain(),
        limit(Kind::PostOnly(19_900)),
        &bars,
        "2 order buy 30@19050 0.1143 maker",
    );
    // Its time is over before its price comes.
    let late = SimOrder {
        until: 2,
        ..limit(Kind::PostOnly(19_900))
    };
    scene(plain(), late, &[flat(20_000, 1000), flat(19_000, 1000)], "");
    // Latency: the bar after next is the first.
    let slow = SimOrder { from: 2, ..buy(10) };
    scene(
        plain(),
        slow,
        &[flat(20_000, 1000), flat(20_100, 1000)],
        "2 order buy 10@20100 0.1005",
    );
}

#[test]
fn stops_and_targets() {
    let long = |target| guarded(buy(10), 19_900, target);
    let bought = "1 order buy 10@20000 0.1; ";
    let calm = flat(20_000, 1000);
    let then = |bars: &[[i64; 5]], target, expected: &str| {
        let bars: Vec<_> = std::iter::once(calm).chain(bars.iter().copied()).collect();
        scene(
            plain(),
            long(target),
            &bars,
            format!("{bought}{expected}").trim_end_matches("; "),
        );
    };
    // Inside the bar: at the trigger.
    then(
        &[[20_000, 20_000, 19_890, 20_000, 1000]],
        0,
        "2 stop sell 10@19900 0.0995",
    );
    // The bar opens below: at the open.
    then(
        &[[19_800, 19_950, 19_790, 19_900, 1000]],
        0,
        "2 stop sell 10@19800 0.099",
    );
    // Stop and target in one bar: the stop.
    then(
        &[[20_000, 20_300, 19_890, 20_000, 1000]],
        20_200,
        "2 stop sell 10@19900 0.0995",
    );
    // The target alone, by a market order from there; touched only, nobody knows.
    then(
        &[[20_000, 20_300, 19_950, 20_000, 1000]],
        20_200,
        "2 target sell 10@20200 0.101",
    );
    then(&[[20_000, 20_200, 19_950, 20_000, 1000]], 20_200, "");
    // The bar opens beyond the target, whatever it does later.
    then(
        &[[20_250, 20_260, 19_890, 20_000, 1000]],
        20_200,
        "2 target sell 10@20250 0.10125",
    );
    // Volume for six only: the rest at the next open.
    let bars = [[20_000, 20_000, 19_890, 19_950, 60], flat(19_940, 1000)];
    then(
        &bars,
        0,
        "2 stop sell 6@19900 0.0597; 3 stop sell 4@19940 0.03988",
    );
    // In the bar of the entry: the low may have come after it.
    scene(
        plain(),
        long(0),
        &[[20_000, 20_010, 19_880, 20_000, 1000]],
        &format!("{bought}1 stop sell 10@19900 0.0995"),
    );
    // A short one's stop is above.
    let short = guarded(order(Side::Sell, Kind::Market, 10), 20_100, 0);
    let bars = [calm, [20_150, 20_160, 20_000, 20_100, 1000]];
    scene(
        plain(),
        short,
        &bars,
        "1 order sell 10@20000 0.1; 2 stop buy 10@20150 0.10075",
    );
}

/// A contender with 1000 dollars through the whole of both engines; fills, then cash at the end.
#[track_caller]
fn run(
    kind: InstKind,
    costs: Costs,
    (contender, rules, start): (Contender, Rules, i64),
    bars: &[[i64; 5]],
    expected: &str,
) {
    let market = market(kind, Ms(start), bars, costs);
    compare(&market, &contender, &rules);
    let (outcome, _) = exact::run(std::slice::from_ref(&market), &[contender], &rules);
    let mut out = String::new();
    for row in &outcome.fills {
        let (cause, side) = (format!("{:?}", row.cause).to_lowercase(), row.side.as_str());
        write!(
            out,
            "{} {cause} {side} {}@{} {}; ",
            row.bar,
            row.lots,
            row.ticks,
            row.fee.normalize()
        )
        .unwrap();
    }
    assert_eq!(format!("{out}cash {}", outcome.cash.normalize()), expected);
}

/// What is below the minimum size is not ordered at all.
#[test]
fn sizes_round_down_to_the_lot() {
    let bars = [flat(20_003, 1000); 4];
    // 1000 ÷ 20.003 = 49.99 lots, so 49: 980.147 and a fee of 0.4900735.
    let all = (contender([(0, 100.0)], 0.0), rules(1000), 0);
    run(
        InstKind::Swap,
        plain(),
        all,
        &bars,
        "1 order buy 49@20003 0.4900735; cash 19.3629265",
    );
    // One lot is below the smallest order of two.
    let crumb = (contender([(0, 3.0)], 0.0), rules(1000), 0);
    run(InstKind::Swap, plain(), crumb, &bars, "cash 1000");
}

/// Size is cut by a lot so that price with spread plus fee is covered.
#[test]
fn spot_buy_fits_the_cash() {
    // 50 lots at 20.02 and a fee of 0.05 % would be 1001.5005 of 1000: so 49.
    let costs = Costs {
        half_spread: d("0.001"),
        ..plain()
    };
    let all = (contender([(0, 100.0)], 0.0), rules(1000), 0);
    let bars = [flat(20_000, 1000); 3];
    run(
        InstKind::Spot,
        costs,
        all,
        &bars,
        "1 order buy 49@20020 0.49049; cash 18.52951",
    );
}

#[test]
fn fees_fall_with_what_was_traded() {
    let tier = Tier {
        volume_30d: d("900"),
        maker: Decimal::ZERO,
        taker: d("0.0001"),
    };
    let mut costs = plain();
    costs.tiers.push(tier);
    let turns = (
        contender([(0, 50.0), (1, 0.0), (2, 50.0)], 0.0),
        rules(1000),
        0,
    );
    let bars = [flat(20_000, 1000); 5];
    // 500 bought and 500 sold at 0.05 %: from then on 0.01 %.
    let expected = "1 order buy 25@20000 0.25; 2 order sell 25@20000 0.25; 3 order buy 24@20000 0.048; cash 519.452";
    run(InstKind::Swap, costs, turns, &bars, expected);
}

/// The rate is positive; a funding boundary lies within the bars.
#[test]
fn longs_pay_funding_shorts_receive_it() {
    // Bars of 07:57 to 08:01; the one that closes at 08:00 pays 0.01 % of 50 × 20 000 × 0.001 =
    // 1000.
    let costs = || Costs {
        funding: d("0.0001"),
        ..plain()
    };
    let start = 8 * 3_600_000 - 3 * 60_000;
    let bars = [flat(20_000, 1000); 5];
    let long = (contender([(0, 100.0)], 0.0), rules(1000), start);
    run(
        InstKind::Swap,
        costs(),
        long,
        &bars,
        "1 order buy 50@20000 0.5; cash -0.6",
    );
    let short = (contender([(0, -100.0)], 0.0), rules(1000), start);
    run(
        InstKind::Swap,
        costs(),
        short,
        &bars,
        "1 order sell 50@20000 0.5; cash 1999.6",
    );
}

#[test]
fn what_lacks_margin_is_liquidated() {
    // Five times 1000: 250 lots at 20 000, cash 1000 − 5000 − 2.5. With 0.4 % maintenance it ends
    // where −4002.5 + 0.25 p = 0.004 × 0.25 p: at 16 074.297, so 16 074 and a fee of 0.55 % of
    // 4018.5.
    let bars = [
        flat(20_000, 5000),
        flat(20_000, 5000),
        [20_000, 20_000, 15_000, 15_500, 5000],
        flat(15_500, 5000),
    ];
    let five = (
        contender([(0, 500.0), (2, 0.0)], 0.0),
        Rules {
            stop_default: d("0.9"),
            ..rules(1000)
        },
        0,
    );
    let expected =
        "1 order buy 250@20000 2.5; 2 liquidation sell 250@16074 22.10175; cash -6.10175";
    let expected = expected.replace("cash -6.10175", "cash 0");
    run(InstKind::Swap, plain(), five, &bars, &expected);
}
