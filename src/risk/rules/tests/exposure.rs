//! Exposure, leverage and balance, on the worst case.

use super::*;

/// Positions (also foreign), working, unknown and in-flight orders count; the opposite side's
/// orders offset nothing.
#[test]
fn exposure_includes_orders_and_in_flight() {
    both(Rule::Position, fine(), "500", "499");
    both(Rule::Position, fine().holds("other", "10"), "600", "599");
    both(
        Rule::Position,
        fine().works("other", Side::Buy, "10", OrderState::Acked),
        "600",
        "599",
    );
    both(
        Rule::Position,
        fine().works("other", Side::Sell, "10", OrderState::Acked),
        "500",
        "499",
    );
    both(
        Rule::GrossExposure,
        fine().holds("other", "50"),
        "10",
        "9.99",
    );
    both(Rule::NetExposure, fine().holds("other", "50"), "10", "9.99");
    both(Rule::Leverage, fine().holds("other", "950"), "1", "0.99");
    both(Rule::Position, fine().leaves(Side::Buy, "10"), "600", "599");
    both(
        Rule::Position,
        fine().leaves(Side::Sell, "10"),
        "500",
        "499",
    );
    // What is not ours counts too.
    let mut foreign = fine();
    foreign.orders.foreign.insert(swap().id, Qty(d("10")));
    both(Rule::Position, foreign, "600", "599");
}

/// An impossible or an old mid is ignored, and the account's own figure stays.
#[test]
fn equity_is_marked_at_believable_mids() {
    use crate::domain::equity::{Believed, marked};
    let believed = |now| Believed {
        now,
        age: Ms(5000),
        jump: d("0.2"),
    };
    let mut account = account("10000");
    let position = Position {
        inst: swap().id,
        qty: Qty(d("-20")),
        average: None,
        mark: Some(Price(d("100"))),
        unrealised: Decimal::ZERO,
        notional: None,
        liquidation: None,
        leverage: None,
        at: NOW,
    };
    account.positions.insert(swap().id, position);
    let market = |mid: &str| {
        let quote = fine().quote.map(|q| Quote {
            bid: mid.parse().unwrap(),
            ask: mid.parse().unwrap(),
            ..q
        });
        let close: Price = "100".parse().unwrap();
        let bar = Candle {
            ts: Ms(0),
            open: close,
            high: close,
            low: close,
            close,
            volume: Qty(Decimal::ONE),
        };
        let series = [(Bar::M1, Series::new(Bar::M1, vec![bar]))].into();
        let shown = InstMarket {
            instrument: Arc::new(swap()),
            quote,
            mark: None,
            series,
        };
        MarketView {
            insts: [(swap().id, shown)].into(),
            live: true,
            ..MarketView::default()
        }
    };
    // Short 20 contracts of 0.1 coin: two dollars for each dollar of price.
    assert_eq!(
        marked(&account, &market("110"), &believed(NOW)),
        Usd(d("9980"))
    );
    assert_eq!(
        marked(&account, &market("10000"), &believed(NOW)),
        Usd(d("10000")),
        "an impossible price"
    );
    assert_eq!(
        marked(&account, &market("110"), &believed(Ms(NOW.0 + 5001))),
        Usd(d("10000")),
        "an old one"
    );
}

#[test]
fn sells_are_judged_like_buys() {
    let sell = || fine().order(Side::Sell, "50", "100");
    both(
        Rule::Position,
        sell().holds("other", "-10"),
        "600",
        "599.99",
    );
    both(Rule::Position, sell().holds("other", "10"), "400", "399.99");
    both(
        Rule::GrossExposure,
        sell().holds("other", "-50"),
        "10",
        "9.99",
    );
    both(
        Rule::NetExposure,
        sell().holds("other", "-50"),
        "10",
        "9.99",
    );
    both(Rule::Leverage, sell().holds("other", "-950"), "1", "0.99");
}

/// Positions in other instruments; coins count towards exposure but bind no margin.
#[test]
fn net_is_signed_gross_is_not() {
    both(Rule::GrossExposure, fine().holds_beside("-30"), "8", "7.99");
    both(Rule::NetExposure, fine().holds_beside("-30"), "2", "1.99");
    both(Rule::NetExposure, fine().holds_beside("30"), "8", "7.99");
    both(Rule::Leverage, fine().holds_beside("-950"), "1", "0.99");
    let sell = || fine().order(Side::Sell, "50", "100");
    both(Rule::NetExposure, sell().holds_beside("30"), "2", "1.99");
    // Coins count, and are held without margin.
    both(Rule::GrossExposure, fine().spot(), "50", "49.99");
    both(Rule::NetExposure, fine().spot(), "50", "49.99");
    fine()
        .order(Side::Buy, "50", "100")
        .spot()
        .limit(Rule::Leverage, "0.01")
        .expect(&[]);
}

/// A position in an instrument not followed here; without a notional nothing may open.
#[test]
fn untracked_position_uses_venue_notional() {
    let stranger = |qty: &str, notional: Option<&str>| {
        let mut case = fine();
        let position = Position {
            inst: "XRP-USDT-SWAP".into(),
            qty: qty.parse().unwrap(),
            average: None,
            mark: None,
            unrealised: Decimal::ZERO,
            notional: notional.map(|value| Usd(d(value))),
            liquidation: None,
            leverage: None,
            at: NOW,
        };
        case.account
            .as_mut()
            .unwrap()
            .positions
            .insert(position.inst.clone(), position);
        case
    };
    both(
        Rule::GrossExposure,
        stranger("-7", Some("300")),
        "8",
        "7.99",
    );
    both(Rule::NetExposure, stranger("-7", Some("300")), "2", "1.99");
    both(Rule::NetExposure, stranger("7", Some("300")), "8", "7.99");
    both(Rule::Leverage, stranger("7", Some("9500")), "1", "0.99");
    stranger("7", None).expect(&["gross_exposure_max", "net_exposure_max", "leverage_max"]);
    stranger("0", None).expect(&[]);
}

#[test]
fn moving_a_resting_order_adds_nothing() {
    let moved = || fine().moves(Side::Buy, "50");
    for rule in [
        Rule::Position,
        Rule::GrossExposure,
        Rule::NetExposure,
        Rule::Leverage,
    ] {
        moved().limit(rule, "0.01").expect(&[]);
    }
    fine()
        .moves(Side::Buy, "50")
        .sent(1, Side::Buy, "50")
        .limit(Rule::Duplicate, "1000")
        .expect(&[]);
    fine()
        .moves(Side::Buy, "50")
        .sent(1, Side::Buy, "50")
        .limit(Rule::Repeats, "1")
        .expect(&[]);
}

/// Without a quote the order's own price is used, and the missing quote is the breach.
#[test]
fn exposure_uses_the_market_price() {
    let quote = fine().quote.map(|q| Quote {
        bid: "109.95".parse().unwrap(),
        ask: "110.05".parse().unwrap(),
        ..q
    });
    both(Rule::Position, Case { quote, ..fine() }, "550", "549.99");
    Case {
        quote: None,
        mark: None,
        ..fine()
    }
    .expect(&["quote_missing", "mark_collar"]);
    Case {
        quote: None,
        ..fine()
    }
    .expect(&["quote_missing"]);
}

/// Orders sent since the last account read bind money that the read does not show yet.
#[test]
fn unread_orders_bind_free_balance() {
    // 1 000 USD each at 20x: 50 USD of margin beside the order's own 25.
    both(
        Rule::FreeBalance,
        fine().leaves(Side::Buy, "100"),
        "9925",
        "9925.01",
    );
    both(
        Rule::FreeBalance,
        fine().leaves(Side::Buy, "100").leaves(Side::Sell, "100"),
        "9875",
        "9875.01",
    );
    let young = |at: i64, opening: bool| {
        let mut case = fine().works("other", Side::Buy, "100", OrderState::Acked);
        let order = case.orders.open.get_mut(&OrderId::from("w0")).unwrap();
        (order.created_at, order.opening) = (Ms(at), opening);
        case
    };
    both(Rule::FreeBalance, young(NOW.0, true), "9925", "9925.01");
    both(Rule::FreeBalance, young(NOW.0 - 1, true), "9975", "9975.01");
    both(Rule::FreeBalance, young(NOW.0, false), "9975", "9975.01");
    // Coins are paid for in full, and what is sold binds nothing.
    both(
        Rule::FreeBalance,
        fine().spot().leaves(Side::Buy, "10"),
        "4000",
        "4000.01",
    );
    both(
        Rule::FreeBalance,
        fine().spot().leaves(Side::Sell, "10"),
        "5000",
        "5000.01",
    );
}

/// A leverage of zero is ignored, and none counts beyond the limit.
#[test]
fn margin_uses_the_venues_leverage() {
    let told = |leverage: &str| {
        let mut case = fine();
        let position = Position {
            inst: swap().id,
            qty: Qty::ZERO,
            average: None,
            mark: None,
            unrealised: Decimal::ZERO,
            notional: None,
            liquidation: None,
            leverage: Some(d(leverage)),
            at: NOW,
        };
        case.account
            .as_mut()
            .unwrap()
            .positions
            .insert(swap().id, position);
        case
    };
    both(Rule::FreeBalance, told("5"), "9900", "9900.01");
    both(Rule::FreeBalance, told("1"), "9500", "9500.01");
    both(Rule::FreeBalance, told("0"), "9975", "9975.01");
    both(Rule::FreeBalance, told("50"), "9975", "9975.01");
}

#[test]
fn margin_and_cost_must_be_free() {
    // 500 USD at no more than 20x: 25 USD of margin.
    both(Rule::FreeBalance, fine(), "9975", "9975.01");
    let spot = |side, qty: &str| fine().order(side, qty, "100").spot();
    both(Rule::FreeBalance, spot(Side::Buy, "50"), "5000", "5000.01");
    spot(Side::Sell, "5").exit().holds("trend", "5").expect(&[]);
    spot(Side::Sell, "5")
        .exit()
        .holds("trend", "4")
        .expect(&["free_balance"]);
}
