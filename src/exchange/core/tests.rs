//! Stories and properties of the core: what money may never do, whatever is asked.

use std::sync::Arc;

use proptest::prelude::*;
use rust_decimal::Decimal;

use super::super::market::{SimMarket, listed_as};
use super::*;
use crate::domain::instrument::tests::swap as fed_swap;
use crate::domain::{OrdType, Side};

const SPOT: &str = "SOL-USDT";
const SWAP: &str = "SOL-USDT-SWAP";
const START: i64 = 1_780_000_000;

fn exchange() -> Exchange {
    let mut x = Exchange::new(
        Arc::new(SimMarket::new(6)),
        VenueLedger::default(),
        Ms::secs(START),
    );
    x.deposit("USDT", Decimal::from(100_000));
    x.advance(Ms::secs(START));
    x
}

fn d(n: i64) -> Decimal {
    Decimal::from(n)
}

fn swap(side: Side, ord_type: OrdType, size: Decimal, price: Option<Decimal>) -> NewOrder {
    NewOrder {
        ord_type,
        price,
        ..NewOrder::market(SWAP, side, size)
    }
}

/// It fills the levels within its slippage; the rest is canceled with source 14.
#[test]
fn market_order_stops_at_its_slippage() {
    let mut x = exchange();
    let asks = x.book(SWAP).asks;
    let (touch, third) = (asks[0].price, asks[2].price);
    let size: Decimal = asks[..5].iter().map(|level| level.size).sum();
    let slippage = Some(third / touch - Decimal::ONE);
    let id = x
        .place(NewOrder {
            slippage,
            ..swap(Side::Buy, OrdType::Market, size, None)
        })
        .unwrap();
    let reached: Decimal = asks[..3].iter().map(|level| level.size).sum();
    let order = &x.ledger.orders[&id];
    assert_eq!(
        (order.filled, order.cancel_source.as_str()),
        (reached, "14")
    );
    assert!(x.ledger.executions.values().all(|fill| fill.price <= third));
}

fn held(x: &Exchange) -> Decimal {
    x.ledger
        .positions
        .get(SWAP)
        .map_or(Decimal::ZERO, |p| p.qty)
}

fn state(x: &Exchange, id: u64) -> (Status, String, Decimal) {
    let order = &x.ledger.orders[&id];
    (order.status, order.cancel_source.clone(), order.filled)
}

/// Amending one to a larger size is refused, and two amended to cross never flip the position.
#[test]
fn reduce_only_never_grows_a_position() {
    let mut x = exchange();
    x.place(swap(Side::Buy, OrdType::Market, d(5), None))
        .unwrap();
    let above = x.book(SWAP).asks.last().unwrap().price;
    let rest = |x: &mut Exchange| {
        let close = NewOrder {
            reduce_only: true,
            ..swap(Side::Sell, OrdType::Limit, d(5), Some(above))
        };
        x.place(close).unwrap()
    };
    let (one, two) = (rest(&mut x), rest(&mut x));
    let bid = x.book(SWAP).bids[5].price;
    let larger = Amend {
        size: Some(d(500)),
        price: Some(bid),
        ..Default::default()
    };
    assert_eq!(
        x.amend(SWAP, &one.to_string(), "", &larger)
            .unwrap_err()
            .code,
        "51170"
    );
    let across = Amend {
        price: Some(bid),
        ..Default::default()
    };
    x.amend(SWAP, &one.to_string(), "", &across).unwrap();
    assert_eq!(held(&x), Decimal::ZERO);
    let refused = x.amend(SWAP, &two.to_string(), "", &across);
    assert!(refused.is_err(), "there is nothing left to reduce");
    assert_eq!(held(&x), Decimal::ZERO);
}

/// The fee is covered as well, and reduce-only is ignored on spot.
#[test]
fn full_spot_buy_leaves_no_debt() {
    let mut x = exchange();
    let all = NewOrder {
        td_mode: "cash".into(),
        size_in_quote: true,
        reduce_only: true,
        ..NewOrder::market(SPOT, Side::Buy, d(100_000))
    };
    let id = x.place(all).unwrap();
    assert!(
        x.ledger.cash["USDT"] >= Decimal::ZERO,
        "owes {}",
        x.ledger.cash["USDT"]
    );
    assert!(!x.ledger.orders[&id].reduce_only);
    assert!(x.ledger.orders[&id].filled > Decimal::ZERO);
}

/// Maker, taker or both; levels before our own order still fill, and an order that would not reach
/// it is unaffected.
#[test]
fn self_trade_prevention_cancels_by_mode() {
    for (stp, maker, taker) in [
        (Stp::CancelMaker, Status::Canceled, Status::Filled),
        (Stp::CancelTaker, Status::Live, Status::Canceled),
        (Stp::CancelBoth, Status::Canceled, Status::Canceled),
    ] {
        let mut x = exchange();
        let asks = x.book(SWAP).asks;
        let ours = x
            .place(swap(Side::Sell, OrdType::Limit, d(1), Some(asks[3].price)))
            .unwrap();
        let size = asks.iter().take(6).map(|l| l.size).sum();
        let buy = NewOrder {
            stp,
            ..swap(Side::Buy, OrdType::Market, size, None)
        };
        let id = x.place(buy).unwrap();
        assert_eq!(
            (state(&x, ours).0, state(&x, id).0),
            (maker, taker),
            "{stp:?}"
        );
        if stp != Stp::CancelMaker {
            let before: Decimal = asks.iter().take(3).map(|l| l.size).sum();
            assert_eq!(
                (state(&x, id).1.as_str(), state(&x, id).2),
                ("32", before),
                "it takes what stands before our own"
            );
        }
        // One that would not reach our own order is none of its business.
        let mut x = exchange();
        let asks = x.book(SWAP).asks;
        x.place(swap(Side::Sell, OrdType::Limit, d(1), Some(asks[9].price)))
            .unwrap();
        let id = x
            .place(NewOrder {
                stp,
                ..swap(Side::Buy, OrdType::Ioc, d(1), Some(asks[12].price))
            })
            .unwrap();
        assert_eq!(state(&x, id).0, Status::Filled, "{stp:?}");
    }
}

/// A bad id or an open order in the way is refused and the order stays live; with auto-cancel it
/// closes.
#[test]
fn failed_close_position_changes_nothing() {
    let mut x = exchange();
    x.place(swap(Side::Buy, OrdType::Market, d(5), None))
        .unwrap();
    let above = x.book(SWAP).asks.last().unwrap().price;
    let rest = x
        .place(swap(Side::Sell, OrdType::Limit, d(1), Some(above)))
        .unwrap();
    assert_eq!(
        x.close_position(SWAP, "not-a-name", "", true)
            .unwrap_err()
            .code,
        "51000"
    );
    assert_eq!(
        x.close_position(SWAP, "", "", false).unwrap_err().code,
        "51115"
    );
    assert_eq!(state(&x, rest).0, Status::Live);
    x.close_position(SWAP, "", "", true).unwrap();
    assert_eq!(
        (held(&x), state(&x, rest).1.as_str()),
        (Decimal::ZERO, "17")
    );
}

/// The margin check adds up all working orders of one side: two sells fit, the third is refused.
#[test]
fn working_orders_share_the_margin() {
    let mut x = exchange();
    x.set_leverage(SWAP, Decimal::ONE).unwrap();
    let last = x.last(SWAP);
    let most = (d(45_000) / last).trunc();
    x.place(swap(Side::Buy, OrdType::Market, most, None))
        .unwrap();
    let above = x.book(SWAP).asks.last().unwrap().price;
    let sell = || swap(Side::Sell, OrdType::Limit, most, Some(above));
    x.place(sell()).unwrap();
    x.place(sell()).unwrap();
    assert_eq!(
        x.place(sell()).unwrap_err().code,
        "51008",
        "a third would turn the position too far"
    );
}

/// An empty tag cancels all. Under ten seconds is refused, and renewed or ended in time it does
/// nothing.
#[test]
fn cancel_all_timer_respects_tags() {
    for (tag, left) in [("a", 1), ("", 0), ("c", 2)] {
        let mut x = exchange();
        let low = x.book(SWAP).bids.last().unwrap().price - d(3);
        for own in ["a", "b"] {
            x.place(NewOrder {
                tag: own.into(),
                ..swap(Side::Buy, OrdType::PostOnly, d(1), Some(low))
            })
            .unwrap();
        }
        assert_eq!(x.cancel_all_after(5, tag).unwrap_err().code, "51000");
        x.cancel_all_after(10, tag).unwrap();
        x.advance(Ms::secs(START + 9));
        assert_eq!(x.open_orders().count(), 2);
        x.advance(Ms::secs(START + 10));
        assert_eq!(x.open_orders().count(), left, "'{tag}'");
        assert!(
            x.ledger
                .orders
                .values()
                .all(|o| o.status.is_open() || o.cancel_source == "20")
        );
        // Renewed or ended in time it does nothing.
        x.cancel_all_after(10, "").unwrap();
        x.cancel_all_after(0, "").unwrap();
        x.advance(Ms::secs(START + 30));
        assert_eq!(x.open_orders().count(), left);
    }
}

/// The algo order is effective, names stop or target, and the position is closed.
#[test]
fn oco_reports_which_leg_triggered() {
    for (share, side) in [(97, "sl"), (103, "tp")] {
        let mut x = exchange();
        x.place(swap(Side::Buy, OrdType::Market, d(5), None))
            .unwrap();
        let tick = Decimal::new(1, 2);
        let at = |percent: i64| ((x.last(SWAP) * Decimal::new(percent, 2)) / tick).round() * tick;
        let leg = |percent| {
            Some(Leg {
                trigger: at(percent),
                price: None,
            })
        };
        let (stop, target) = (leg(98), leg(102));
        let id = x
            .place_algo(NewAlgo {
                cl_ord_id: String::new(),
                tag: String::new(),
                inst: SWAP.into(),
                td_mode: "cross".into(),
                side: Side::Sell,
                kind: AlgoKind::Oco,
                size: Some(d(5)),
                reduce_only: true,
                stop,
                target,
                trail: None,
            })
            .unwrap();
        let price = ((x.last(SWAP) * Decimal::new(share, 2)) / tick).round() * tick;
        x.set_price(SWAP, price).unwrap();
        let algo = &x.ledger.algos[&id];
        assert_eq!(
            (algo.status, algo.actual_side.as_str(), algo.actual_size),
            (AlgoStatus::Effective, side, d(5))
        );
        assert_eq!(held(&x), Decimal::ZERO);
    }
}

/// It triggers two percent below the best price; a negative ratio is refused.
#[test]
fn trailing_stop_never_moves_back() {
    let mut x = exchange();
    x.place(swap(Side::Buy, OrdType::Market, d(5), None))
        .unwrap();
    let trail = Trail {
        ratio: Some(Decimal::new(2, 2)),
        spread: None,
        active: None,
        best: None,
    };
    let new = NewAlgo {
        cl_ord_id: "trail".into(),
        tag: String::new(),
        inst: SWAP.into(),
        td_mode: "cross".into(),
        side: Side::Sell,
        kind: AlgoKind::Trailing,
        size: Some(d(5)),
        reduce_only: true,
        stop: None,
        target: None,
        trail: Some(trail),
    };
    assert_eq!(
        x.place_algo(NewAlgo {
            trail: Some(Trail {
                ratio: Some(d(-5)),
                spread: None,
                active: None,
                best: None
            }),
            ..new.clone()
        })
        .unwrap_err()
        .code,
        "51000"
    );
    let id = x.place_algo(new).unwrap();
    let start = x.last(SWAP);
    let tick = Decimal::new(1, 2);
    let at = |percent: i64| ((start * Decimal::new(percent, 3)) / tick).round() * tick;
    for percent in [1010, 1030, 1020, 1012] {
        x.set_price(SWAP, at(percent)).unwrap();
        assert_eq!(x.ledger.algos[&id].status, AlgoStatus::Live, "at {percent}");
    }
    x.set_price(SWAP, at(1005)).unwrap();
    assert_eq!(
        x.ledger.algos[&id].status,
        AlgoStatus::Effective,
        "two percent below the best"
    );
}

/// The restarted exchange keeps position and equity; with the feed cut there is no funding,
/// liquidation or trigger.
#[test]
fn restart_without_prices_liquidates_nobody() {
    const INST: &str = "ETH-USDT-SWAP";
    let market = || Arc::new(SimMarket::fed(vec![listed_as(fed_swap())]));
    let mut x = Exchange::new(market(), VenueLedger::default(), Ms::secs(START));
    x.deposit("USDT", d(1_000));
    x.advance(Ms::secs(START));
    let level = |price: i64| {
        vec![super::super::market::Level {
            price: d(price),
            size: d(1000),
        }]
    };
    x.feed(
        INST,
        FeedEvent::Book {
            bids: level(99),
            asks: level(100),
            at: Ms::secs(START),
        },
    );
    x.place(NewOrder::market(INST, Side::Buy, d(200))).unwrap();
    let equity = x.balance_sheet()["USDT"].equity();
    // A trailing buy stop would be met by a price of nothing.
    let trail = Trail {
        ratio: None,
        spread: Some(d(10)),
        active: None,
        best: None,
    };
    x.place_algo(NewAlgo {
        cl_ord_id: "trail".into(),
        tag: String::new(),
        inst: INST.into(),
        td_mode: "cross".into(),
        side: Side::Buy,
        kind: AlgoKind::Trailing,
        size: Some(d(1)),
        reduce_only: false,
        stop: None,
        target: None,
        trail: Some(trail),
    })
    .unwrap();
    let mut again = Exchange::new(market(), x.ledger.clone(), Ms::secs(START));
    for second in 1..30_000 {
        again.advance(Ms::secs(START + second));
    }
    assert_eq!(
        again.ledger.positions[INST].qty,
        d(200),
        "it was liquidated at a price nobody showed"
    );
    assert!(
        (again.balance_sheet()["USDT"].equity() - equity).abs() < d(250),
        "{}",
        again.balance_sheet()["USDT"].equity()
    );
    assert!(
        again.ledger.bills.values().all(|bill| bill.kind != 8),
        "funding without a price"
    );
    // A price that is told while there is no market is not one to be judged by.
    again.feed(INST, FeedEvent::Last(d(1)));
    again.advance(Ms::secs(START + 30_001));
    assert_eq!(
        again.ledger.positions[INST].qty,
        d(200),
        "liquidated while the feed is cut"
    );
    again.feed(
        INST,
        FeedEvent::Book {
            bids: level(99),
            asks: level(100),
            at: again.now(),
        },
    );
    assert_eq!(
        again.live_algos().count(),
        1,
        "the trailing stop still waits"
    );
}

/// A thing a client may ask for.
#[derive(Clone, Debug)]
enum Ask {
    Place {
        spot: bool,
        buy: bool,
        kind: u8,
        size: i64,
        offset: i64,
        reduce_only: bool,
        stp: u8,
    },
    Amend {
        nth: usize,
        size: i64,
        offset: i64,
    },
    Cancel {
        nth: usize,
    },
    Close,
    Wait(i64),
    Shock(i64),
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        6 => (any::<bool>(), any::<bool>(), 0..4u8, 1..4000i64, -30..30i64, any::<bool>(), 0..3u8).prop_map(
            |(spot, buy, kind, size, offset, reduce_only, stp)| Ask::Place { spot, buy, kind, size, offset, reduce_only, stp }
        ),
        3 => (0..8usize, 1..4000i64, -30..30i64).prop_map(|(nth, size, offset)| Ask::Amend { nth, size, offset }),
        1 => (0..8usize).prop_map(|nth| Ask::Cancel { nth }),
        1 => Just(Ask::Close),
        2 => (1..200i64).prop_map(Ask::Wait),
        1 => (980..1020i64).prop_map(Ask::Shock),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    /// Spot cash never negative, cash equal to the bills, reduce-only only reduces, nothing
    /// overfilled.
    #[test]
    fn random_requests_keep_account_invariants(asks in prop::collection::vec(ask(), 1..60)) {
        let mut x = exchange();
        let mut now = START;
        for ask in asks {
            let before = held(&x);
            let mut reducing = false;
            match ask {
                Ask::Place { spot, buy, kind, size, offset, reduce_only, stp } => {
                    let inst = if spot { SPOT } else { SWAP };
                    let side = if buy { Side::Buy } else { Side::Sell };
                    let tick = Decimal::new(1, 2);
                    let price = x.last(inst) + d(offset) * tick;
                    let ord_type = [OrdType::Limit, OrdType::Ioc, OrdType::PostOnly, OrdType::Market][kind as usize];
                    reducing = reduce_only && !spot;
                    drop(x.place(NewOrder {
                        td_mode: if spot { "cash".into() } else { "cross".into() },
                        ord_type,
                        price: (ord_type != OrdType::Market).then_some(price),
                        reduce_only,
                        stp: [Stp::CancelMaker, Stp::CancelTaker, Stp::CancelBoth][stp as usize],
                        ..NewOrder::market(inst, side, d(size))
                    }));
                }
                Ask::Amend { nth, size, offset } => {
                    let target = x.open_orders().nth(nth).map(|o| (o.inst.clone(), o.id, o.reduce_only));
                    if let Some((inst, id, reduce_only)) = target {
                        reducing = reduce_only;
                        let price = x.last(&inst) + d(offset) * Decimal::new(1, 2);
                        drop(x.amend(&inst, &id.to_string(), "", &Amend { size: Some(d(size)), price: Some(price), ..Default::default() }));
                    }
                }
                Ask::Cancel { nth } => {
                    let target = x.open_orders().nth(nth).map(|o| (o.inst.clone(), o.id));
                    if let Some((inst, id)) = target {
                        x.cancel(&inst, &id.to_string(), "").unwrap();
                    }
                }
                Ask::Close => drop(x.close_position(SWAP, "", "", true)),
                Ask::Wait(seconds) => {
                    now += seconds;
                    x.advance(Ms::secs(now));
                }
                Ask::Shock(share) => {
                    let price = ((x.last(SPOT) * Decimal::new(share, 3)) / Decimal::new(1, 2)).round() * Decimal::new(1, 2);
                    x.set_price(SPOT, price).unwrap();
                }
            }
            if reducing {
                prop_assert!(held(&x).abs() <= before.abs() && held(&x) * before >= Decimal::ZERO, "{before} became {}", held(&x));
            }
            prop_assert!(x.ledger.cash.get("SOL").copied().unwrap_or_default() >= Decimal::ZERO);
            for (ccy, cash) in &x.ledger.cash {
                let billed: Decimal = x.ledger.bills.values().filter(|b| b.ccy == *ccy).map(|b| b.change).sum();
                prop_assert_eq!(billed.normalize(), cash.normalize());
            }
            for order in x.ledger.orders.values() {
                prop_assert!(order.filled <= order.size, "order {} overfilled", order.id);
            }
        }
    }
}
