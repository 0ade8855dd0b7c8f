//! Tests of the state that a downtime, a funding boundary and a taker's limit must leave unchanged.

use super::*;
use crate::domain::InstKind;
use crate::domain::OrdType;

const START: Ms = Ms::secs(1_780_000_000);

fn order(
    inst: &str,
    side: Side,
    ord_type: OrdType,
    size: &str,
    price: Option<Decimal>,
    stop: Option<Decimal>,
) -> NewOrder {
    let leg = |trigger| Leg {
        trigger,
        price: None,
    };
    let trigger = |trigger| Attached {
        algo_cl_ord_id: "stop".into(),
        stop: Some(leg(trigger)),
        target: None,
        size: None,
    };
    NewOrder {
        inst: inst.into(),
        td_mode: if InstKind::named(inst) == InstKind::Swap {
            "cross".into()
        } else {
            "cash".into()
        },
        side,
        ord_type,
        all_or_none: false,
        size: size.parse().unwrap(),
        size_in_quote: false,
        price,
        cl_ord_id: String::new(),
        tag: String::new(),
        reduce_only: false,
        attached: stop.map(trigger).into_iter().collect(),
        ..NewOrder::market(inst, side, Decimal::ONE)
    }
}

fn fills(x: &Exchange) -> Vec<(String, Decimal, Decimal, bool, Ms)> {
    x.ledger
        .executions
        .values()
        .map(|f| (f.inst.clone(), f.price, f.size, f.maker, f.at))
        .collect()
}

/// Nine hours in strides give the same fills, cash, position and funding as second by second.
#[test]
fn catch_up_matches_uninterrupted_run() {
    let market = Arc::new(SimMarket::new(5));
    let mut up = Exchange::new(Arc::clone(&market), VenueLedger::default(), START);
    up.deposit("USDT", Decimal::from(100_000));
    up.advance(START);
    let swap = "BTC-USDT-SWAP";
    let last = up.last(swap);
    let stop = ((last * Decimal::new(997, 3)) / Decimal::new(1, 1)).round() * Decimal::new(1, 1);
    up.place(order(
        swap,
        Side::Buy,
        OrdType::Market,
        "5",
        None,
        Some(stop),
    ))
    .unwrap();
    for step in 1..=40 {
        let price = up.book("SOL-USDT").bids[0].price - Decimal::new(step * 5, 2);
        up.place(order(
            "SOL-USDT",
            Side::Buy,
            OrdType::PostOnly,
            "3",
            Some(price),
            None,
        ))
        .unwrap();
    }
    let mut down = Exchange::new(Arc::clone(&market), up.ledger.clone(), START);
    // Nine hours: a funding boundary lies between, and several strides.
    let end = START.plus(Ms::secs(9 * 3600));
    let mut now = START;
    while now < end {
        now = now.plus(Ms::secs(1));
        assert!(up.advance(now));
    }
    let mut strides = 0;
    while !down.advance(end) {
        strides += 1;
    }
    assert!(strides > 10, "caught up in {strides} strides");
    assert!(
        fills(&up).len() > 10,
        "the market met only {} fills",
        fills(&up).len()
    );
    assert_eq!(fills(&up), fills(&down));
    assert_eq!(up.ledger.cash, down.ledger.cash);
    assert_eq!(
        up.ledger.positions.get(swap),
        down.ledger.positions.get(swap)
    );
    let funding = |x: &Exchange| x.ledger.bills.values().filter(|b| b.kind == 8).count();
    assert_eq!(funding(&up), funding(&down));
}

/// On the open position only: size times last price times rate.
#[test]
fn funding_is_paid_once_per_boundary() {
    let market = Arc::new(SimMarket::new(5));
    let boundary = Ms(START.0 / 28_800_000 * 28_800_000 + 28_800_000);
    let mut x = Exchange::new(
        Arc::clone(&market),
        VenueLedger::default(),
        boundary.plus(Ms::secs(-5)),
    );
    x.deposit("USDT", Decimal::from(100_000));
    x.advance(boundary.plus(Ms::secs(-5)));
    x.place(order(
        "BTC-USDT-SWAP",
        Side::Buy,
        OrdType::Market,
        "5",
        None,
        None,
    ))
    .unwrap();
    x.advance(boundary.plus(Ms::secs(-1)));
    let before = x.ledger.cash["USDT"];
    x.advance(boundary);
    let rate = market.get("BTC-USDT-SWAP").unwrap().funding_rate(boundary);
    // Five contracts of 0.01 coin; longs pay a positive rate (OKX, "Funding fee").
    let owed = round(-Decimal::new(5, 2) * x.last("BTC-USDT-SWAP") * rate);
    assert!(!owed.is_zero());
    assert_eq!(x.ledger.cash["USDT"], (before + owed).normalize());
    x.advance(boundary.plus(Ms::secs(60)));
    assert_eq!(x.ledger.bills.values().filter(|b| b.kind == 8).count(), 1);
}

/// 300 IOC orders: cash is always the sum of the bills, and no fill is outside its limit.
#[test]
fn cash_equals_bills_and_limits_hold() {
    let market = Arc::new(SimMarket::new(9));
    let mut x = Exchange::new(market, VenueLedger::default(), START);
    x.deposit("USDT", Decimal::from(100_000));
    for second in 0..300 {
        x.advance(START.plus(Ms::secs(second)));
        let (side, book) = (
            if second % 2 == 0 {
                Side::Buy
            } else {
                Side::Sell
            },
            x.book("ETH-USDT-SWAP"),
        );
        let limit = if side == Side::Buy {
            book.asks[3].price
        } else {
            book.bids[3].price
        };
        let id = x
            .place(order(
                "ETH-USDT-SWAP",
                side,
                OrdType::Ioc,
                "60",
                Some(limit),
                None,
            ))
            .unwrap();
        let own = x.ledger.executions.values().filter(|f| f.order == id);
        for fill in own {
            assert!(if side == Side::Buy {
                fill.price <= limit
            } else {
                fill.price >= limit
            });
        }
        let billed: Decimal = x.ledger.bills.values().map(|b| b.change).sum();
        assert_eq!(billed.normalize(), x.ledger.cash["USDT"].normalize());
    }
    assert!(
        x.ledger
            .orders
            .values()
            .any(|o| o.status == Status::Canceled && o.filled > Decimal::ZERO),
        "no partial fill"
    );
}
