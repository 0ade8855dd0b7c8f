//! Orders as they hear of themselves, in whatever order.

use super::*;
use proptest::prelude::*;

fn order() -> Order {
    let intent = OrderIntent {
        cl_ord_id: "as1".into(),
        run_id: RunId(uuid::Uuid::nil()),
        contender: "trend".into(),
        inst: "BTC-USDT".into(),
        side: Side::Buy,
        ord_type: OrdType::Limit,
        qty: Qty(Decimal::from(5)),
        limit: Some(Price(Decimal::from(100))),
        purpose: Purpose::Entry,
        leg: 0,
        attempt: 0,
        reduce_only: false,
        stop: None,
        reference: Price(Decimal::from(100)),
        decided_at: Ms(0),
        ttl: None,
        slippage: None,
        moves: None,
        sleeve: Default::default(),
        weight: Decimal::ONE,
        good_for: None,
    };
    Order::intended(&intent, Ms(0), Some(Ms(5000)))
}

fn report(status: VenueStatus, filled: i64) -> VenueReport {
    VenueReport {
        venue_id: "9".into(),
        status,
        filled: Qty(Decimal::from(filled)),
        average: None,
        cancel_source: None,
        at: Ms(1),
    }
}

fn facts(qty: i64, price: i64) -> FillFacts {
    FillFacts {
        qty: Qty(Decimal::from(qty)),
        price: Price(Decimal::from(price)),
        fee: Decimal::ZERO,
    }
}

/// Runs a story such as `sent; live; part 3; cancel 3` and compares the end.
#[track_caller]
fn check(story: &str, expected: &str) {
    let mut order = order();
    let mut end = String::new();
    for word in story.split("; ") {
        let mut parts = word.split(' ');
        let (verb, n) = (
            parts.next().unwrap(),
            parts.next().map_or(0, |n| n.parse().unwrap()),
        );
        let result = match verb {
            "sent" => order.local_step(OrderState::Sent).map(drop),
            "unknown" => order.local_step(OrderState::Unknown).map(drop),
            "rejected" => order.local_step(OrderState::Rejected).map(drop),
            "expired" => order.local_step(OrderState::Expired).map(drop),
            "ask_cancel" => {
                order.ask_cancel();
                Ok(())
            }
            "live" => order.merge(&report(VenueStatus::Live, 0)).map(drop),
            "part" => order
                .merge(&report(VenueStatus::PartiallyFilled, n))
                .map(drop),
            "filled" => order.merge(&report(VenueStatus::Filled, 5)).map(drop),
            "cancel" => order.merge(&report(VenueStatus::Canceled, n)).map(drop),
            "fill" => {
                order.add_fill(
                    TradeId::from(format!("t{n}").as_str()),
                    facts(n, 100),
                    Teller::Push,
                );
                Ok(())
            }
            other => panic!("no such word: {other}"),
        };
        if let Err(error) = result {
            end = format!("stop: {error}");
            break;
        }
    }
    if end.is_empty() {
        end = format!("{} {}", order.state(), order.filled);
    }
    assert_eq!(end, expected, "{story}");
}

#[test]
fn a_fill_may_beat_the_ack() {
    check("sent; part 3; live", "partially_filled 3");
}
/// The venue already reported the order live: it stays acked.
#[test]
fn late_reject_changes_nothing() {
    check("sent; live; rejected", "acked 0");
}
/// From unknown it may become acked, filled or expired.
#[test]
fn timeout_is_unknown_until_venue_reports() {
    check("sent; unknown", "unknown 0");
    check("sent; unknown; live", "acked 0");
    check("sent; unknown; filled", "filled 5");
    check("sent; unknown; expired", "expired 0");
}
/// A partial fill during the cancel is kept, and a full fill wins over it.
#[test]
fn cancel_keeps_fills_that_beat_it() {
    check("sent; live; ask_cancel", "cancel_requested 0");
    check("sent; live; ask_cancel; part 2; cancel 2", "canceled 2");
    check("sent; live; ask_cancel; filled", "filled 5");
}
/// The repeated fill adds nothing.
#[test]
fn fill_after_cancel_counts_once() {
    check("sent; live; cancel 2; fill 2; fill 2", "canceled 2");
}
#[test]
fn two_different_ends_stop_trading() {
    check(
        "sent; filled; cancel 2",
        "stop: order as1 is Filled at the venue and now said to be Canceled",
    );
}
#[test]
fn an_overfill_counts_whole() {
    check("sent; live; fill 3; fill 4", "partially_filled 7");
    check("sent; live; part 7", "partially_filled 7");
}

/// A push that differs from what is booked is only doubtful; the fill list overrides it.
#[test]
fn list_corrects_push_never_reverse() {
    let (mut order, trade) = (order(), TradeId::from("t1"));
    assert_eq!(
        order.add_fill(trade.clone(), facts(2, 90), Teller::Push),
        FillNews::New
    );
    let doubt = FillNews::Doubtful {
        booked: facts(2, 90),
    };
    assert_eq!(
        order.add_fill(trade.clone(), facts(2, 91), Teller::Push),
        doubt
    );
    let corrected = FillNews::Corrected { was: facts(2, 90) };
    assert_eq!(
        order.add_fill(trade.clone(), facts(3, 91), Teller::List),
        corrected
    );
    assert_eq!(order.filled_by_fills(), Qty(Decimal::from(3)));
    assert_eq!(
        order.add_fill(trade.clone(), facts(3, 91), Teller::Push),
        FillNews::Known
    );
    let doubt = FillNews::Doubtful {
        booked: facts(3, 91),
    };
    assert_eq!(order.add_fill(trade, facts(2, 90), Teller::Push), doubt);
}

/// A push reported 5, the fill list says 3: the order ends with 3 filled.
#[test]
fn overstated_fill_is_corrected_down() {
    let (mut order, trade) = (order(), TradeId::from("t1"));
    order.add_fill(trade.clone(), facts(5, 90), Teller::Push);
    assert_eq!(order.filled, Qty(Decimal::from(5)));
    order.add_fill(trade, facts(3, 90), Teller::List);
    assert_eq!(
        (order.filled, order.filled_by_fills()),
        (Qty(Decimal::from(3)), Qty(Decimal::from(3)))
    );
}

/// A fill beyond the limit, or implausibly far from the reference price, is not accepted.
#[test]
fn fill_must_respect_the_limit() {
    let order = order();
    let may = |price: i64| order.may_fill_at(Price(Decimal::from(price)));
    assert!(may(100) && may(90) && !may(101) && !may(0) && !may(33));
    let market = Order {
        limit: None,
        side: Side::Sell,
        ..order
    };
    let may = |price: i64| market.may_fill_at(Price(Decimal::from(price)));
    assert!(may(34) && may(300) && !may(301) && !may(33));
}

proptest! {
    /// Reports in any order and repeated end in the same state and filled quantity.
    #[test]
    fn order_reports_commute(
        indices in proptest::collection::vec(0usize..4, 1..24),
    ) {
        let reports = [
            report(VenueStatus::Live, 0),
            report(VenueStatus::PartiallyFilled, 1),
            report(VenueStatus::PartiallyFilled, 3),
            report(VenueStatus::Canceled, 3),
        ];
        let mut shuffled = order();
        for &index in &indices {
            shuffled.merge(&reports[index]).unwrap();
        }
        let mut sorted_indices = indices.clone();
        sorted_indices.sort_unstable();
        sorted_indices.dedup();
        let mut sorted = order();
        for index in sorted_indices {
            sorted.merge(&reports[index]).unwrap();
        }
        prop_assert_eq!(shuffled.state(), sorted.state());
        prop_assert_eq!(shuffled.filled, sorted.filled);
    }
}

/// An answer about another order names both; a stop is no order.
#[test]
fn contradiction_names_its_orders() {
    let (order, venue_id) = (OrderId::new("a"), VenueOrdId::new("7"));
    let other = |named: Option<OrderId>| Contradiction::OtherOrder {
        order: order.clone(),
        venue_id: venue_id.clone(),
        said: "b of BTC-USDT-SWAP, buy".to_owned(),
        named,
    };
    assert_eq!(
        other(Some(OrderId::new("b"))).orders(),
        [order.clone(), OrderId::new("b")]
    );
    assert_eq!(other(None).orders(), vec![order]);
    let (known, said) = (AlgoState::Live, AlgoState::Canceled);
    let ends = Contradiction::TwoStopEnds {
        stop: "s".to_owned(),
        known,
        said,
    };
    assert!(ends.orders().is_empty());
}
