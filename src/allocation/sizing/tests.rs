//! Child orders that targets lead to, as a trader reads them.

use super::*;
use crate::decision::test_snapshot;
use crate::domain::books::Holding;
use crate::domain::instrument::tests::swap;
use crate::domain::view::{Latest, OpenOrder};
use crate::domain::{Bps, OrderState};

/// A sleeve of 10 000 USD on one swap at 100 (contracts of 0.1 coin: 1000 of them), nothing held,
/// nothing on its way.
struct Stage {
    inst: Instrument,
    target: Option<Bps>,
    stop: Option<Price>,
    good_for: Option<GoodFor>,
    reserve: &'static str,
    instruments: usize,
    execution: WorkingPolicy,
    orders: OrdersView,
    on_the_way: BTreeMap<(ContenderId, InstId), OrderId>,
}

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn stage(holds: &str, target: i32) -> Stage {
    let mut stage = Stage {
        inst: swap(),
        target: Some(Bps(target)),
        stop: None,
        good_for: None,
        reserve: "0",
        instruments: 1,
        execution: WorkingPolicy::IocLimit {
            collar: Bps(10),
            tries: 1,
        },
        orders: OrdersView::default(),
        on_the_way: BTreeMap::new(),
    };
    stage.holds("trend", holds);
    stage
}

impl Stage {
    fn holds(&mut self, who: &str, qty: &str) {
        let held = Holding {
            qty: qty.parse().unwrap(),
            ..Default::default()
        };
        self.orders
            .holdings
            .insert((who.into(), self.inst.id.clone()), held);
    }

    /// An order that works, of this contender in this instrument.
    fn works(&mut self, who: &str, inst: &str, side: Side) {
        let id = OrderId::new(format!("w{}", self.orders.open.len()));
        let order = OpenOrder {
            id: id.clone(),
            run_id: RunId(uuid::Uuid::nil()),
            contender: who.into(),
            inst: inst.into(),
            side,
            state: OrderState::Acked,
            leaves: Qty(Decimal::ONE),
            price: Price(Decimal::ONE_HUNDRED),
            limit: None,
            created_at: Ms(0),
            cancel_after: None,
            opening: true,
            protective: false,
        };
        self.orders.open.insert(id, order);
    }

    fn plan(&self) -> AllocationPlan {
        let snapshot = test_snapshot(self.inst.clone(), "99.95", "100.05", "20000");
        let contender = ContenderId::from("trend");
        let others = (1..self.instruments).map(|n| InstId::new(format!("OTHER-{n}")));
        let instruments = std::iter::once(self.inst.id.clone())
            .chain(others)
            .collect();
        let sleeve = SleeveSettings {
            weight: Decimal::new(5, 1),
            instruments,
            execution: self.execution,
        };
        let retired = SleeveSettings {
            weight: Decimal::ZERO,
            instruments: Vec::new(),
            execution: self.execution,
        };
        let ids = Ids {
            env: 's',
            uid: "1".into(),
            install_epoch: "e".into(),
        };
        let world = World {
            run_id: RunId(uuid::Uuid::nil()),
            snapshot: &snapshot,
            sleeves: &BTreeMap::from([(contender.clone(), sleeve)]),
            retired: &retired,
            orders: &self.orders,
            on_the_way: &self.on_the_way,
            ids: &ids,
            no_trade_band: Decimal::new(5, 2),
            reserve: d(self.reserve),
            stop_default: Decimal::new(5, 2),
        };
        let (inst, target, stop) = (self.inst.id.clone(), self.target, self.stop);
        let good_for = self.good_for;
        allocate(
            &world,
            &[Proposal {
                contender,
                inst,
                target,
                stop,
                reason: String::new(),
                good_for,
            }],
        )
    }

    /// The child order in words, or why there is none.
    #[track_caller]
    fn expect(&self, expected: &str) {
        let plan = self.plan();
        let shown = match plan.intents.first() {
            Some(i) => {
                let limit = i
                    .limit
                    .map_or("market".to_owned(), |limit| limit.to_string());
                let held = if i.reduce_only { " reduce-only" } else { "" };
                format!(
                    "{} {} {} at {limit}{held}",
                    i.purpose.as_str(),
                    i.side.as_str(),
                    i.qty
                )
            }
            None => plan.allocations[0].reason.clone(),
        };
        assert_eq!(shown, expected);
    }

    #[track_caller]
    fn intent(&self) -> OrderIntent {
        self.plan().intents.pop().expect("an order")
    }
}

#[track_caller]
fn check(holds: &str, target: i32, expected: &str) {
    stage(holds, target).expect(expected);
}

/// The order is the difference between target and holding: entry, exit or flip; at target or
/// without a target there is none.
#[test]
fn targets_become_orders() {
    check("0", 10_000, "entry buy 1000 at 100.15");
    check("0", -5_000, "entry sell 500 at 99.9");
    check("1000", 0, "exit sell 1000 at 99.9 reduce-only");
    check("1000", 5_000, "exit sell 500 at 99.9 reduce-only");
    check("1000", -10_000, "entry sell 2000 at 99.9");
    check("1000", -5_000, "entry sell 1500 at 99.9");
    check("-1000", 5_000, "entry buy 1500 at 100.15");
    check("1000", 10_000, "at target");
    let mut none = stage("1000", 0);
    none.target = None;
    none.expect("keep");
}

/// An entry carries its good-for and rests no longer than that; an exit carries none and keeps its
/// full TTL. A flip counts as an entry.
#[test]
fn entry_ttl_is_capped_by_good_for() {
    let asked = |holds: &str, target: i32, until: i64| {
        let mut stage = stage(holds, target);
        let as_of = test_snapshot(swap(), "99.95", "100.05", "20000").as_of_ms;
        stage.good_for = Some(GoodFor {
            until: as_of.plus(Ms(until)),
            price: Price(Decimal::ONE_HUNDRED),
            within: Bps(20),
        });
        stage.execution = WorkingPolicy::PostOnly {
            ttl: Ms(1000),
            then: Then::Cancel,
            collar: Bps(10),
            tries: 1,
        };
        let intent = stage.intent();
        (intent.good_for.is_some(), intent.ttl)
    };
    assert_eq!(asked("0", 10_000, 5000), (true, Some(Ms(1000))));
    assert_eq!(asked("0", 10_000, 400), (true, Some(Ms(400))));
    assert_eq!(
        asked("0", 10_000, -400),
        (true, Some(Ms(1))),
        "over: the gate says so"
    );
    assert_eq!(asked("1000", 0, 400), (false, Some(Ms(1000))));
    assert_eq!(
        asked("1000", -10_000, 400),
        (true, Some(Ms(400))),
        "a turn opens"
    );
}

/// The sleeve is then split evenly among its instruments.
#[test]
fn sleeve_is_weight_of_equity_less_reserve() {
    let mut reserved = stage("0", 10_000);
    reserved.reserve = "0.1";
    reserved.expect("entry buy 900 at 100.15");
    assert_eq!(reserved.plan().allocations[0].sleeve, Usd(d("9000")));
    let mut split = stage("0", 10_000);
    split.instruments = 4;
    split.expect("entry buy 250 at 100.15");
}

/// A change smaller than the no-trade band is skipped; an exit to zero is sent however small it is,
/// down to one lot.
#[test]
fn no_trade_band_never_blocks_an_exit() {
    check(
        "980",
        10_000,
        "change of 200 USD is inside the no-trade band",
    );
    check(
        "950.1",
        10_000,
        "change of 499 USD is inside the no-trade band",
    );
    check("950", 10_000, "entry buy 50 at 100.15");
    check("2", 0, "exit sell 2 at 99.9 reduce-only");
    check("1000.07", 0, "exit sell 1000 at 99.9 reduce-only");
    check("0.1", 0, "exit sell 0.1 at 99.9 reduce-only");
    check("0.05", 0, "at target");
}

/// A spot exit needs no reduce-only, and the stop of a spot entry is not attached: it is placed
/// once there are coins.
#[test]
fn spot_is_never_sold_short() {
    let spot = |holds: &str, target| {
        let mut stage = stage(holds, target);
        stage.inst.kind = InstKind::Spot;
        stage
    };
    spot("0", -5_000).expect("at target");
    spot("1000", -5_000).expect("exit sell 1000 at 99.9");
    assert!(
        !spot("0", 10_000).intent().stop.expect("a stop").attached,
        "one on spot is placed when there are coins"
    );
}

/// The stop has an id of its own, and the strategy's stop is used only on the losing side. An exit
/// carries none.
#[test]
fn only_entries_carry_a_stop() {
    let intent = stage("0", 10_000).intent();
    let stop = intent.stop.expect("a stop");
    // 5 % below the limit of 100.15, rounded toward it.
    assert_eq!(
        (stop.trigger, stop.attached),
        ("95.15".parse().unwrap(), true)
    );
    assert_ne!(stop.algo_id, intent.cl_ord_id);
    let short = stage("0", -10_000).intent().stop.expect("a stop");
    assert_eq!(
        short.trigger,
        "104.85".parse().unwrap(),
        "5 % above 99.9, rounded toward it"
    );
    assert_eq!(stage("1000", 0).intent().stop, None);
    // The strategy's own is taken if it is on the losing side.
    let mut named = stage("0", 10_000);
    for (stop, expected) in [("97", "97"), ("100.15", "95.15"), ("103", "95.15")] {
        named.stop = Some(stop.parse().unwrap());
        assert_eq!(
            named.intent().stop.unwrap().trigger,
            expected.parse().unwrap(),
            "{stop}"
        );
    }
    // What was sized by its stop has no other.
    named.good_for = Some(GoodFor {
        until: Ms(9000),
        price: Price(d("100")),
        within: Bps(50),
    });
    named.expect("the market is beyond its stop at 103");
    named.stop = Some("97".parse().unwrap());
    assert_eq!(named.intent().stop.unwrap().trigger, "97".parse().unwrap());
}

/// A distance of zero, or one that gives a price of zero, gives no stop.
#[test]
fn default_stop_is_on_the_losing_side() {
    let at = |side, share: &str| default_stop(&swap(), side, Price(Decimal::ONE_HUNDRED), d(share));
    assert_eq!(at(Side::Buy, "0.05"), Some(Price(d("95"))));
    assert_eq!(at(Side::Sell, "0.05"), Some(Price(d("105"))));
    assert_eq!(at(Side::Buy, "0"), None);
    assert_eq!(at(Side::Sell, "0"), None);
    assert_eq!(at(Side::Buy, "1"), None, "a price of zero is none");
    for (side, trigger, expected) in [
        (Side::Buy, "99", true),
        (Side::Buy, "100", false),
        (Side::Buy, "101", false),
        (Side::Sell, "99", false),
        (Side::Sell, "100", false),
        (Side::Sell, "101", true),
    ] {
        assert_eq!(
            protects(side, Price(d(trigger)), Price(Decimal::ONE_HUNDRED)),
            expected,
            "{side:?} {trigger}"
        );
    }
}

#[test]
fn policy_sets_type_limit_and_ttl() {
    let quote = Quote {
        bid: Price(d("99.95")),
        bid_qty: Qty(Decimal::ONE),
        ask: Price(d("100.05")),
        ask_qty: Qty(Decimal::ONE),
        last: Price(d("100")),
        at: Ms(0),
    };
    let of = |policy, side| worked(policy, side, &swap(), &quote);
    let rest = |then| WorkingPolicy::PostOnly {
        ttl: Ms(1000),
        then,
        collar: Bps(10),
        tries: 3,
    };
    assert_eq!(
        of(WorkingPolicy::Market { slippage: None }, Side::Buy),
        (OrdType::Market, None, None)
    );
    assert_eq!(
        of(rest(Then::Cancel), Side::Buy),
        (OrdType::PostOnly, Some(Price(d("99.95"))), Some(Ms(1000)))
    );
    assert_eq!(
        of(rest(Then::Cross), Side::Sell),
        (OrdType::PostOnly, Some(Price(d("100.05"))), Some(Ms(1000)))
    );
    assert_eq!(
        of(rest(Then::Reprice), Side::Sell),
        (OrdType::PostOnly, Some(Price(d("100.05"))), Some(Ms(3000)))
    );
}

/// Reduce-only is set only if the venue's net position covers the exit and no other working order
/// on that side could take it first.
#[test]
fn exit_reduces_only_an_existing_position() {
    let check = |others: &str, foreign: &str, qty: &str, expected: bool| {
        let mut stage = stage("10", 0);
        stage.holds("b", others);
        stage.orders.foreign.insert(swap().id, Qty(d(foreign)));
        assert_eq!(
            reduces(&stage.orders, &swap(), Side::Sell, Qty(d(qty))),
            expected,
            "{others} {foreign} {qty}"
        );
    };
    check("0", "0", "10", true);
    check("5", "0", "10", true);
    check("-4", "0", "10", false);
    check("-4", "0", "6", true);
    check("-10", "0", "1", false);
    check("0", "-4", "10", false);
    check("0", "-4", "6", true);
    check("-4", "4", "10", true);
    // Not while something else could take it first: on the same side, in the same instrument.
    let mut stage = stage("10", 0);
    let reduced = |stage: &Stage| reduces(&stage.orders, &swap(), Side::Sell, Qty(d("5")));
    stage.works("b", "OTHER-1", Side::Sell);
    stage.works("b", swap().id.as_str(), Side::Buy);
    assert!(reduced(&stage));
    stage.works("b", swap().id.as_str(), Side::Sell);
    assert!(!reduced(&stage));
}

/// Not even one that happens to reduce the venue's net position.
#[test]
fn entry_is_never_reduce_only() {
    let mut stage = stage("0", -5_000);
    stage.holds("b", "2000");
    stage.expect("entry sell 500 at 99.9");
}

/// An order handed on but not yet seen by the tracker counts too; other contenders and other
/// instruments do not block.
#[test]
fn one_order_per_sleeve_at_a_time() {
    let own = swap().id;
    let mut other = stage("0", 10_000);
    other.works("b", own.as_str(), Side::Buy);
    other.works("trend", "OTHER-1", Side::Buy);
    other.expect("entry buy 1000 at 100.15");
    let mut working = stage("0", 10_000);
    working.works("trend", own.as_str(), Side::Buy);
    working.expect("order w0 is still on its way");
    // Handed on, and not seen by the tracker yet.
    let key = (ContenderId::from("trend"), own);
    let mut leaving = stage("0", 10_000);
    leaving.on_the_way.insert(key.clone(), "x1".into());
    leaving.expect("order x1 is still on its way");
    let latest = |id: &str| Latest {
        id: id.into(),
        state: OrderState::Filled,
        filled: Qty::ZERO,
        settled: true,
        given_up: false,
    };
    leaving.orders.latest.insert(key.clone(), latest("x0"));
    leaving.expect("order x1 is still on its way");
    leaving.orders.latest.insert(key, latest("x1"));
    leaving.expect("entry buy 1000 at 100.15");
}
