//! Course of an order after its first try.

use super::*;
use crate::domain::books::Holding;
use crate::domain::instrument::tests::swap;
use crate::domain::intent::tests::entry;
use crate::domain::view::Latest;
use crate::domain::{Bps, Price};
use rust_decimal::Decimal;

fn d(n: i64) -> Decimal {
    Decimal::from(n)
}

fn quote() -> Quote {
    let p = |text: &str| -> Price { text.parse().unwrap() };
    Quote {
        bid: p("99.9"),
        bid_qty: Qty(d(1)),
        ask: p("100.1"),
        ask_qty: Qty(d(1)),
        last: p("100"),
        at: Ms(0),
    }
}

fn work(policy: WorkingPolicy) -> WorkedDecision {
    let first = OrderIntent {
        limit: Some(Price(d(99))),
        ..entry()
    };
    WorkedDecision::begun(&first, policy, Qty(d(10)), Ms(0))
}

/// The first order is in `state` and `held` is held; at `now`, what next?
#[track_caller]
fn check(policy: WorkingPolicy, state: OrderState, held: i64, now: i64, expected: &str) {
    let work = work(policy);
    let key = (work.first.contender.clone(), work.first.inst.clone());
    let mut orders = OrdersView::default();
    let latest = Latest {
        id: work.current.clone(),
        state,
        filled: Qty(d(held)),
        settled: state.is_final(),
        given_up: false,
    };
    orders.latest.insert(key.clone(), latest);
    orders.holdings.insert(
        key,
        Holding {
            qty: Qty(d(held)),
            ..Holding::default()
        },
    );
    if state.may_be_live() {
        let open = OpenOrder {
            id: work.current.clone(),
            run_id: work.first.run_id,
            contender: work.first.contender.clone(),
            inst: work.first.inst.clone(),
            side: Side::Buy,
            state,
            leaves: Qty(d(10 - held)),
            price: Price(d(99)),
            limit: Some(Price(d(99))),
            created_at: Ms(0),
            cancel_after: None,
            opening: true,
            protective: false,
        };
        orders.open.insert(open.id.clone(), open);
    }
    let ids = Ids {
        env: 's',
        uid: "1".into(),
        install_epoch: "e".into(),
    };
    let shown = match work.next(&orders, &swap(), Some(&quote()), Ms(now), &ids) {
        NextTry::Wait => "wait".to_owned(),
        NextTry::Over => "over".to_owned(),
        NextTry::Try(i) => {
            assert_ne!(
                i.cl_ord_id, work.first.cl_ord_id,
                "a try has a name of its own"
            );
            let moved = if i.moves.is_some() {
                "move"
            } else {
                i.ord_type.okx()
            };
            format!("{moved} {} at {}", i.qty, i.limit.unwrap())
        }
    };
    assert_eq!(shown, expected);
}

const IOC: WorkingPolicy = WorkingPolicy::IocLimit {
    collar: Bps(10),
    tries: 2,
};

fn post_only(then: Then) -> WorkingPolicy {
    WorkingPolicy::PostOnly {
        ttl: Ms(1000),
        then,
        collar: Bps(10),
        tries: 3,
    }
}

/// After a partial fill and cancel; not while it is in flight, nor when filled, rejected, blocked
/// or out of tries.
#[test]
fn ioc_is_retried_for_the_remainder() {
    check(IOC, OrderState::Sent, 0, 0, "wait");
    check(IOC, OrderState::Canceled, 4, 0, "ioc 6 at 100.2");
    check(IOC, OrderState::Filled, 10, 0, "over");
    check(IOC, OrderState::Rejected, 0, 0, "over");
    check(IOC, OrderState::Blocked, 0, 0, "over");
    check(
        WorkingPolicy::IocLimit {
            collar: Bps(10),
            tries: 1,
        },
        OrderState::Canceled,
        4,
        0,
        "over",
    );
    check(IOC, OrderState::Canceled, 12, 0, "over");
}

/// Until its TTL is over, or while a cancel is in flight, it waits. With then = cross it waits for
/// the cancel first.
#[test]
fn order_past_ttl_is_repriced_or_crossed() {
    check(post_only(Then::Reprice), OrderState::Acked, 0, 999, "wait");
    check(
        post_only(Then::Reprice),
        OrderState::PartiallyFilled,
        3,
        1000,
        "move 7 at 99.9",
    );
    check(
        post_only(Then::Reprice),
        OrderState::CancelRequested,
        3,
        5000,
        "wait",
    );
    check(post_only(Then::Cross), OrderState::Acked, 0, 1000, "wait");
    check(
        post_only(Then::Cross),
        OrderState::Canceled,
        3,
        1000,
        "ioc 7 at 100.2",
    );
    check(
        post_only(Then::Reprice),
        OrderState::Canceled,
        3,
        1000,
        "post_only 7 at 99.9",
    );
}

/// The next try of a work whose first order was cancelled with `held` of 10 held.
fn next_try(work: &WorkedDecision, held: i64, quote: &Quote, now: i64) -> NextTry {
    let key = (work.first.contender.clone(), work.first.inst.clone());
    let mut orders = OrdersView::default();
    let id = work.current.clone();
    let (state, filled) = (OrderState::Canceled, Qty(d(held)));
    orders.latest.insert(
        key.clone(),
        Latest {
            id,
            state,
            filled,
            settled: true,
            given_up: false,
        },
    );
    orders.holdings.insert(
        key,
        Holding {
            qty: Qty(d(held)),
            ..Holding::default()
        },
    );
    let ids = Ids {
        env: 's',
        uid: "1".into(),
        install_epoch: "e".into(),
    };
    work.next(&orders, &swap(), Some(quote), Ms(now), &ids)
}

fn with_stop(mut work: WorkedDecision, trigger: &str) -> WorkedDecision {
    work.first.stop = Some(StopSpec {
        algo_id: "st1".into(),
        trigger: trigger.parse().unwrap(),
        attached: true,
    });
    work.first.reduce_only = true;
    work
}

/// Next try: it has a new id and a new stop id, the reference price and time of now, and is not tried beyond
/// its own stop.
#[test]
fn retry_is_a_new_intent() {
    let work = with_stop(work(post_only(Then::Reprice)), "95");
    let now = Quote {
        bid: Price(d(199)),
        ask: Price(d(201)),
        ..quote()
    };
    let NextTry::Try(again) = next_try(&work, 4, &now, 7000) else {
        panic!("a try")
    };
    let stop = again.stop.clone().expect("the decision's stop");
    assert_eq!((stop.trigger, stop.attached), ("95".parse().unwrap(), true));
    assert_ne!(stop.algo_id, "st1".into(), "never a name again");
    assert_ne!(stop.algo_id, again.cl_ord_id);
    assert_eq!((again.attempt, again.reduce_only), (1, false));
    assert_eq!(
        (again.reference, again.decided_at),
        (Price(d(200)), Ms(7000)),
        "the mid and the moment of now"
    );
    assert_eq!(
        again.ttl,
        Some(Ms(3000)),
        "three times to live: it follows the touch"
    );
    // Where it was to be stopped nobody buys any more.
    assert_eq!(
        next_try(&with_stop(work.clone(), "99.95"), 4, &quote(), 0),
        NextTry::Over
    );
}

/// A reprice never goes to where the stop would trigger, and out of tries the order stays. It keeps
/// its order id; a retry gets a new one.
#[test]
fn reprice_leaves_the_attached_stop_alone() {
    let work = with_stop(work(post_only(Then::Reprice)), "95");
    let key = (work.first.contender.clone(), work.first.inst.clone());
    let open = OpenOrder {
        id: work.current.clone(),
        run_id: work.first.run_id,
        contender: work.first.contender.clone(),
        inst: work.first.inst.clone(),
        side: Side::Buy,
        state: OrderState::Acked,
        leaves: Qty(d(10)),
        price: Price(d(99)),
        limit: Some(Price(d(99))),
        created_at: Ms(0),
        cancel_after: None,
        opening: true,
        protective: false,
    };
    let mut orders = OrdersView::default();
    let id = work.current.clone();
    let latest = Latest {
        id,
        state: OrderState::Acked,
        filled: Qty::ZERO,
        settled: false,
        given_up: false,
    };
    orders.latest.insert(key, latest);
    orders.open.insert(open.id.clone(), open);
    let ids = Ids {
        env: 's',
        uid: "1".into(),
        install_epoch: "e".into(),
    };
    let next = |work: &WorkedDecision| work.next(&orders, &swap(), Some(&quote()), Ms(1000), &ids);
    let NextTry::Try(moved) = next(&work) else {
        panic!("a move")
    };
    assert_eq!(
        (moved.stop.clone(), moved.moves.clone()),
        (None, Some(work.current.clone()))
    );
    assert_eq!(
        next(&with_stop(work.clone(), "99.9")),
        NextTry::Wait,
        "not to where it would be stopped"
    );
    // Out of tries it stays where it is.
    let tired = WorkedDecision {
        tries: 3,
        ..work.clone()
    };
    assert_eq!(next(&tired), NextTry::Wait);
    // What was handed on is remembered: a move keeps the order, another try has its own.
    let mut going = work.clone();
    going.handed_on(&moved, Ms(1000));
    assert_eq!(
        (going.tries, going.since, going.current.clone()),
        (2, Ms(1000), work.current.clone())
    );
    let NextTry::Try(again) = next_try(&work, 4, &quote(), 0) else {
        panic!("a try")
    };
    going.handed_on(&again, Ms(2000));
    assert_eq!((going.tries, going.since), (3, Ms(2000)));
    assert_eq!(going.current, OrderId::from(&again.cl_ord_id));
}

/// A remainder of exactly the minimum size is retried, less is not.
#[test]
fn retry_needs_at_least_minimum_size() {
    let mut work = work(IOC);
    work.target = Qty("10.1".parse().unwrap());
    assert!(
        matches!(next_try(&work, 10, &quote(), 0), NextTry::Try(again) if again.qty == swap().min_size)
    );
    work.target = Qty("10.09".parse().unwrap());
    assert_eq!(next_try(&work, 10, &quote(), 0), NextTry::Over);
}
