//! Each rule just inside its limit and just beyond it, and what the trading states let through.

use super::*;
use crate::domain::instrument::tests::swap;
use crate::domain::trading::TradingState;
use crate::domain::view::InstMarket;
use crate::domain::{Bar, Candle, OrderId, OrderState, Position, Qty, RunId, Series};
use crate::risk::case::{Brink, Case, NOW, account, brink, d, fine};

/// Passes with the limit at `inside`, and is blocked by this rule alone with it at `beyond`.
#[track_caller]
fn both(rule: Rule, case: Case, inside: &str, beyond: &str) {
    case.clone().limit(rule, inside).expect(&[]);
    case.limit(rule, beyond).expect(&[rule.as_str()]);
}

#[test]
fn each_rule_passes_at_its_brink_and_blocks_beyond_it() {
    for rule in Rule::ALL {
        let Brink { case, inside, beyond } = brink(*rule);
        both(*rule, case, inside, beyond);
    }
}

#[test]
fn nothing_is_wrong_with_the_order_the_others_are_made_from() {
    fine().expect(&[]);
}

#[test]
fn an_order_is_worth_neither_too_much_nor_too_little() {
    both(Rule::OrderNotionalMax, fine(), "500", "499.99");
    both(Rule::OrderNotionalMin, fine(), "500", "500.01");
    fine().exit().holds("trend", "-50").limit(Rule::OrderNotionalMin, "501").expect(&[]);
}

#[test]
fn losses_stop_what_opens_and_never_what_closes() {
    both(Rule::DailyLoss, fine().worth("9500"), "5", "4.99");
    both(Rule::Drawdown, fine().worth("9500"), "5", "4.99");
    fine().worth("9500").exit().holds("trend", "-50").limit(Rule::DailyLoss, "4").expect(&[]);
}

#[test]
fn exposure_counts_what_is_held_what_works_what_is_unknown_and_what_is_just_leaving() {
    both(Rule::Position, fine(), "500", "499");
    both(Rule::Position, fine().holds("other", "10"), "600", "599");
    both(Rule::Position, fine().works("other", Side::Buy, "10", OrderState::Acked), "600", "599");
    both(Rule::Position, fine().works("other", Side::Sell, "10", OrderState::Acked), "500", "499");
    both(Rule::GrossExposure, fine().holds("other", "50"), "10", "9.99");
    both(Rule::NetExposure, fine().holds("other", "50"), "10", "9.99");
    both(Rule::Leverage, fine().holds("other", "950"), "1", "0.99");
    let leaving = |side| InFlight {
        id: "x".into(),
        contender: "o".into(),
        lane: "o".into(),
        inst: swap().id,
        side,
        qty: Qty(d("10")),
    };
    both(Rule::Position, Case { in_flight: vec![leaving(Side::Buy)], ..fine() }, "600", "599");
    both(Rule::Position, Case { in_flight: vec![leaving(Side::Sell)], ..fine() }, "500", "499");
    // What is not ours counts too.
    let mut foreign = fine();
    foreign.orders.foreign.insert(swap().id, Qty(d("10")));
    both(Rule::Position, foreign, "600", "599");
}

#[test]
fn what_makes_a_position_smaller_is_not_held_up_by_how_large_it_is() {
    let out = fine().order(Side::Sell, "50", "100").exit().holds("trend", "950");
    for rule in [Rule::Position, Rule::GrossExposure, Rule::NetExposure, Rule::Leverage] {
        out.clone().limit(rule, "1").expect(&[]);
    }
}

#[test]
fn an_unknown_order_counts_in_full_and_freezes_its_instrument() {
    let unknown = fine().works("other", Side::Buy, "10", OrderState::Unknown).limit(Rule::Position, "599");
    unknown.expect(&["instrument_frozen", "position_notional_max"]);
}

#[test]
fn margin_and_cost_must_be_free() {
    // 500 USD at no more than 20x: 25 USD of margin.
    both(Rule::FreeBalance, fine(), "9975", "9975.01");
    let spot = |side, qty: &str| {
        let mut case = fine().order(side, qty, "100");
        case.inst = Instrument { kind: InstKind::Spot, contract_value: Decimal::ONE, ..swap() };
        case.inst.base = "ETH".into();
        case
    };
    both(Rule::FreeBalance, spot(Side::Buy, "50"), "5000", "5000.01");
    spot(Side::Sell, "5").exit().holds("trend", "5").expect(&[]);
    spot(Side::Sell, "5").exit().holds("trend", "4").expect(&["free_balance"]);
}

#[test]
fn a_price_may_not_be_far_from_either_reference() {
    both(Rule::PriceCollar, fine().order(Side::Buy, "50", "101"), "1", "0.99");
    both(Rule::PriceCollar, fine().order(Side::Sell, "50", "99"), "1", "0.99");
    both(Rule::MarkCollar, fine().order(Side::Buy, "50", "101"), "1", "0.99");
    // A passive price costs nothing.
    fine().order(Side::Buy, "50", "90").limit(Rule::PriceCollar, "1").limit(Rule::MarkCollar, "1").expect(&[]);
    let mark = |price: &str, age| Some((price.parse().unwrap(), Ms(NOW.0 - age)));
    both(Rule::MarkCollar, Case { mark: mark("98", 0), ..fine() }, "3", "2");
    // No mark, or an old one: nobody opens on a swap.
    Case { mark: None, ..fine() }.expect(&["mark_collar"]);
    Case { mark: mark("100", 1_800_001), ..fine() }.expect(&["mark_collar"]);
    Case { mark: None, ..fine() }.exit().holds("trend", "-50").expect(&[]);
    both(Rule::PriceJump, Case { close: Some("80"), ..fine() }, "25", "24");
    Case { close: Some("10"), ..fine() }.exit().holds("trend", "-50").limit(Rule::PriceJump, "1").expect(&[]);
}

#[test]
fn an_anomalous_print_is_not_traded_on() {
    // Row 51 of the fault catalogue: everything the venue shows is a hundred times what the last bar closed at.
    let quote = fine().quote.map(|q| Quote { bid: "9995".parse().unwrap(), ask: "10005".parse().unwrap(), ..q });
    let mark = Some(("10000".parse().unwrap(), NOW));
    let mut mad = Case { quote, mark, ..fine() }.order(Side::Buy, "0.5", "10010").limit(Rule::PriceJump, "20");
    mad.intent.reference = "10000".parse().unwrap();
    mad.expect(&["price_jump"]);
    // The book alone, while the venue marks as before.
    let quote = fine().quote.map(|q| Quote { bid: "9995".parse().unwrap(), ask: "10005".parse().unwrap(), ..q });
    let mut mad = Case { quote, ..fine() }.order(Side::Buy, "0.5", "10010").limit(Rule::PriceJump, "20");
    mad.intent.reference = "10000".parse().unwrap();
    mad.limit(Rule::MarkCollar, "3").expect(&["mark_collar", "price_jump"]);
}

#[test]
fn stale_inputs_are_refused() {
    let old = |age: i64| Case { quote: fine().quote.map(|q| Quote { at: Ms(NOW.0 - age), ..q }), ..fine() };
    both(Rule::QuoteAge, old(1000), "1000", "999");
    both(Rule::QuoteAge, old(-1000), "1000", "999");
    let mut read = fine();
    read.account.as_mut().unwrap().as_of = Ms(NOW.0 - 5000);
    both(Rule::AccountAge, read, "5000", "4999");
    let mut late = fine();
    late.intent.decided_at = Ms(NOW.0 - 1000);
    both(Rule::DecisionAge, late, "1000", "999");
    Case { quote: None, ..fine() }.expect(&["quote_missing"]);
    Case { account: None, ..fine() }.expect(&["account_unknown"]);
}

#[test]
fn rates_are_counted_with_the_new_order() {
    let busy = fine().sent(59_999, Side::Sell, "1").sent(30_000, Side::Sell, "2");
    both(Rule::OrderRate, busy.clone(), "3", "2");
    both(Rule::OrdersPerDay, busy, "3", "2");
    both(Rule::OrderRate, fine().sent(60_000, Side::Sell, "1"), "1", "0");
    let mut moved = fine().works("trend", Side::Buy, "50", OrderState::Acked);
    both(Rule::OpenOrders, moved.clone(), "2", "1");
    moved.intent.moves = Some("w0".into());
    moved.limit(Rule::OpenOrders, "1").expect(&[]);
}

#[test]
fn the_same_order_of_another_decision_is_a_duplicate_for_a_while() {
    both(Rule::Duplicate, fine().sent(500, Side::Buy, "50"), "500", "501");
    fine().sent(1, Side::Buy, "51").sent(1, Side::Sell, "50").limit(Rule::Duplicate, "501").expect(&[]);
    let mut again = fine().sent(1, Side::Buy, "50");
    again.intent.run_id = RunId(uuid::Uuid::max());
    again.limit(Rule::Duplicate, "501").expect(&[]); // the next try of the same decision
}

#[test]
fn repeats_trades_and_turnover_are_bounded() {
    let repeated = fine().sent(3_599_999, Side::Buy, "1").sent(1000, Side::Buy, "2");
    both(Rule::Repeats, repeated, "3", "2");
    both(Rule::Repeats, fine().sent(3_600_000, Side::Buy, "1"), "1", "0");
    both(Rule::TradesPerDay, fine().traded(1000, "1"), "2", "1");
    // Twice 500 USD, and the order's 500.
    both(Rule::Turnover, fine().traded(1000, "1"), "15", "14.99");
    fine().traded(90_000_000, "1").limit(Rule::TradesPerDay, "1").limit(Rule::Turnover, "5").expect(&[]);
}

#[test]
fn losing_and_trading_are_followed_by_a_pause() {
    both(Rule::CooldownLoss, fine().traded(1000, "-1"), "1000", "1001");
    fine().traded(1000, "1").limit(Rule::CooldownLoss, "5000").expect(&[]);
    both(Rule::CooldownTrade, fine().traded(1000, "1"), "1000", "1001");
    both(Rule::LossStreak, fine().traded(2000, "-1").traded(1000, "-1"), "3", "2");
    fine().traded(2000, "-1").traded(1000, "1").limit(Rule::LossStreak, "1").expect(&[]);
    let out = fine().traded(1000, "-1").exit().holds("trend", "-50");
    out.limit(Rule::CooldownLoss, "5000").limit(Rule::CooldownTrade, "5000").limit(Rule::LossStreak, "1").expect(&[]);
}

#[test]
fn an_exit_is_cut_to_what_one_order_may_be_and_never_refused_for_its_size_or_number() {
    let out = || fine().order(Side::Sell, "50", "100").exit().holds("trend", "80");
    let qty = |case: Case| case.judged().unwrap().intent().qty;
    assert_eq!(qty(out().limit(Rule::OrderNotionalMax, "200")), Qty(d("20")));
    let mut small = out();
    small.inst.max_limit_size = Qty(d("30"));
    assert_eq!(qty(small), Qty(d("30")));
    let busy = out().sent(1, Side::Sell, "50").works("x", Side::Buy, "1", OrderState::Acked);
    let busy = busy.limit(Rule::OpenOrders, "1").limit(Rule::OrderRate, "1").limit(Rule::Duplicate, "600000");
    busy.expect(&[]);
    fine().order(Side::Buy, "200000", "100").expect(&[
        "size_max",
        "order_notional_max",
        "gross_exposure_max",
        "net_exposure_max",
        "leverage_max",
        "free_balance",
    ]);
}

#[test]
fn steps_hold() {
    fine().order(Side::Buy, "50.05", "100").expect(&["size_step"]);
    fine().order(Side::Buy, "50", "100.01").expect(&["price_step"]);
    fine().order(Side::Buy, "0", "100").expect(&["size_step"]);
}

#[test]
fn nothing_opens_before_reconciliation_and_nothing_at_all_after_a_halt() {
    let waiting = Case { readiness: Readiness::Reconciling("starting".into()), ..fine() };
    waiting.clone().expect(&["not_reconciled"]);
    waiting.exit().holds("trend", "-50").expect(&[]);
    fine().exit().order(Side::Sell, "50", "100").exit().holds("trend", "80").expect(&[]);
    let doubt = Case { readiness: Readiness::ReduceOnly("x".into()), ..fine() };
    // The venue holds the net of all, and no more of that leaves.
    let exit = doubt.order(Side::Sell, "50", "100").exit().holds("trend", "80").holds("other", "-60");
    assert_eq!(exit.judged().unwrap().intent().qty, Qty(d("20")));
    exit.holds("other", "-80").expect(&["reduce_only"]);
    let halted = Case { readiness: Readiness::Halted("x".into()), ..fine() };
    halted.exit().holds("trend", "-50").expect(&["halted"]);
    Case { readiness: Readiness::ReduceOnly("x".into()), ..fine() }.expect(&["reduce_only"]);
}

#[test]
fn every_breach_is_reported_together() {
    let mut case = fine().order(Side::Buy, "500", "101").limit(Rule::OrderNotionalMax, "1000");
    case = case.limit(Rule::PriceCollar, "0").limit(Rule::OpenOrders, "0").limit(Rule::Position, "10");
    case.inst.state = InstState::Other("suspend".into());
    case.expect(&[
        "instrument_not_live",
        "order_notional_max",
        "open_orders_max",
        "position_notional_max",
        "price_collar",
    ]);
}

/// How much of a sell of 50 leaves in this state, with these holdings of `trend` and of another?
#[track_caller]
fn reduced(scope: &str, state: TradingState, own: &str, other: &str, expected: &str) {
    let case = fine().order(Side::Sell, "50", "100").exit().holds("trend", own).holds("other", other);
    let shown = match case.restricted(scope, state).judged() {
        Ok(approved) => {
            let at_venue = !scope.starts_with("contender");
            assert_eq!(approved.intent().reduce_only, at_venue, "what the venue is told");
            approved.intent().qty.to_string()
        }
        Err(refused) => refused.breaches[0].code.clone(),
    };
    assert_eq!(shown, expected, "{scope} {own} {other}");
}

#[test]
fn reduce_only_is_clamped_to_the_position_and_refused_from_flat() {
    use TradingState::{Halted, ReduceOnly};
    reduced("system", ReduceOnly, "80", "0", "50");
    reduced("system", ReduceOnly, "30", "0", "30");
    reduced("system", ReduceOnly, "0", "0", "reduce_only");
    reduced("system", ReduceOnly, "-30", "0", "reduce_only");
    // The venue's position is the net of all: the system's state is judged by that, a contender's by its sleeve.
    reduced("system", ReduceOnly, "80", "-60", "20");
    reduced("instrument:ETH-USDT-SWAP", ReduceOnly, "80", "-80", "reduce_only");
    reduced("contender:trend", ReduceOnly, "30", "-80", "30");
    reduced("contender:trend", ReduceOnly, "0", "80", "reduce_only");
    reduced("contender:other", ReduceOnly, "0", "0", "50");
    reduced("system", Halted, "80", "0", "trading_halted");
    reduced("contender:trend", Halted, "80", "0", "trading_halted");
}

#[test]
fn what_works_on_the_same_side_is_taken_off_what_may_still_be_reduced() {
    let case = || fine().order(Side::Sell, "50", "100").exit().holds("trend", "80");
    let clamped = |case: Case| case.restricted("system", TradingState::ReduceOnly).judged().unwrap().intent().qty;
    assert_eq!(clamped(case().works("trend", Side::Sell, "60", OrderState::Acked)), Qty(d("20")));
    assert_eq!(clamped(case().works("trend", Side::Buy, "60", OrderState::Acked)), Qty(d("50")));
    let leaving = InFlight {
        id: "x".into(),
        contender: "o".into(),
        lane: "o".into(),
        inst: swap().id,
        side: Side::Sell,
        qty: Qty(d("70")),
    };
    assert_eq!(clamped(Case { in_flight: vec![leaving], ..case() }), Qty(d("10")));
}

#[test]
fn an_entry_that_would_open_is_refused_while_reduce_only_and_one_that_reduces_is_cut_to_the_position() {
    let flip = fine().order(Side::Sell, "50", "100").holds("trend", "30");
    let approved = flip.restricted("system", TradingState::ReduceOnly).judged().unwrap();
    let cut = approved.intent();
    assert_eq!((cut.qty, cut.reduce_only, cut.purpose), (Qty(d("30")), true, Purpose::Exit));
    fine().restricted("system", TradingState::ReduceOnly).expect(&["reduce_only"]);
}

#[test]
fn equity_is_revalued_at_the_mids_of_now_but_not_at_an_impossible_one() {
    use crate::domain::equity::{Believed, marked};
    let believed = |now| Believed { now, age: Ms(5000), jump: d("0.2") };
    let mut account = account("10000");
    let position = Position {
        inst: swap().id,
        qty: Qty(d("-20")),
        average: None,
        mark: Some(Price(d("100"))),
        unrealised: Decimal::ZERO,
        liquidation: None,
        leverage: None,
        at: NOW,
    };
    account.positions.insert(swap().id, position);
    let market = |mid: &str| {
        let quote = fine().quote.map(|q| Quote { bid: mid.parse().unwrap(), ask: mid.parse().unwrap(), ..q });
        let close: Price = "100".parse().unwrap();
        let bar = Candle { ts: Ms(0), open: close, high: close, low: close, close, volume: Qty(Decimal::ONE) };
        let series = [(Bar::M1, Series::new(Bar::M1, vec![bar]))].into();
        let shown = InstMarket { instrument: Arc::new(swap()), quote, mark: None, series };
        MarketView { insts: [(swap().id, shown)].into(), live: true }
    };
    // Short 20 contracts of 0.1 coin: two dollars for each dollar of price.
    assert_eq!(marked(&account, &market("110"), &believed(NOW)), Usd(d("9980")));
    assert_eq!(marked(&account, &market("10000"), &believed(NOW)), Usd(d("10000")), "an impossible price");
    assert_eq!(marked(&account, &market("110"), &believed(Ms(NOW.0 + 5001))), Usd(d("10000")), "an old one");
}

mod properties;
