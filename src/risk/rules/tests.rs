//! Each rule just inside its limit and just beyond it, and what the trading states let through.

use super::*;
use crate::domain::instrument::tests::swap;
use crate::domain::trading::TradingState;
use crate::domain::view::InstMarket;
use crate::domain::{
    Bar, Bps, Candle, GoodFor, MarketView, OrderId, OrderState, Position, Qty, Quote, Readiness,
    RunId, Series,
};
use crate::risk::case::{Brink, Case, NOW, account, brink, d, fine, undivided};

/// Passes with the limit at `inside`, and is blocked by this rule alone with it at `beyond`.
#[track_caller]
fn both(rule: Rule, case: Case, inside: &str, beyond: &str) {
    case.clone().limit(rule, inside).expect(&[]);
    case.limit(rule, beyond).expect(&[rule.as_str()]);
}

/// And blocks just beyond it.
#[test]
fn each_rule_passes_at_its_limit() {
    for rule in Rule::ALL {
        let Brink {
            case,
            inside,
            beyond,
        } = brink(*rule);
        both(*rule, case, inside, beyond);
    }
}

/// The order that the other tests are made from.
#[test]
fn baseline_order_breaks_no_rule() {
    fine().expect(&[]);
}

/// Notional at its maximum and minimum; an exit below the minimum passes.
#[test]
fn order_value_has_both_bounds() {
    both(Rule::OrderNotionalMax, undivided(), "500", "499.99");
    both(Rule::OrderNotionalMin, fine(), "500", "500.01");
    fine()
        .exit()
        .holds("trend", "-50")
        .limit(Rule::OrderNotionalMin, "501")
        .expect(&[]);
}

#[test]
fn loss_limits_block_only_openings() {
    both(Rule::DailyLoss, fine().worth("9500"), "5", "4.99");
    both(Rule::Drawdown, fine().worth("9500"), "5", "4.99");
    fine()
        .worth("9500")
        .exit()
        .holds("trend", "-50")
        .limit(Rule::DailyLoss, "4")
        .expect(&[]);
}

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

#[test]
fn reducing_is_never_blocked_by_size() {
    let out = fine()
        .order(Side::Sell, "50", "100")
        .exit()
        .holds("trend", "950");
    for rule in [
        Rule::Position,
        Rule::GrossExposure,
        Rule::NetExposure,
        Rule::Leverage,
    ] {
        out.clone().limit(rule, "1").expect(&[]);
    }
}

/// It also counts in full towards the position limit.
#[test]
fn unknown_order_freezes_its_instrument() {
    let unknown = fine()
        .works("other", Side::Buy, "10", OrderState::Unknown)
        .limit(Rule::Position, "599");
    unknown.expect(&["instrument_frozen", "position_notional_max"]);
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

/// The quote and the mark; a swap entry without a fresh mark is denied, a passive price or an exit
/// passes.
#[test]
fn price_must_stay_near_both_references() {
    both(
        Rule::PriceCollar,
        fine().order(Side::Buy, "50", "101"),
        "1",
        "0.99",
    );
    both(
        Rule::PriceCollar,
        fine().order(Side::Sell, "50", "99"),
        "1",
        "0.99",
    );
    both(
        Rule::MarkCollar,
        fine().order(Side::Buy, "50", "101"),
        "1",
        "0.99",
    );
    // A passive price costs nothing.
    fine()
        .order(Side::Buy, "50", "90")
        .limit(Rule::PriceCollar, "1")
        .limit(Rule::MarkCollar, "1")
        .expect(&[]);
    let mark = |price: &str, age| Some((price.parse().unwrap(), Ms(NOW.0 - age)));
    both(
        Rule::MarkCollar,
        Case {
            mark: mark("98", 0),
            ..fine()
        },
        "3",
        "2",
    );
    // No mark, or an old one: nobody opens on a swap.
    Case {
        mark: None,
        ..fine()
    }
    .expect(&["mark_collar"]);
    Case {
        mark: mark("100", 1_800_001),
        ..fine()
    }
    .expect(&["mark_collar"]);
    Case {
        mark: None,
        ..fine()
    }
    .exit()
    .holds("trend", "-50")
    .expect(&[]);
    both(
        Rule::PriceJump,
        Case {
            close: Some("80"),
            ..fine()
        },
        "25",
        "24",
    );
    Case {
        close: Some("10"),
        ..fine()
    }
    .exit()
    .holds("trend", "-50")
    .limit(Rule::PriceJump, "1")
    .expect(&[]);
}

/// Quotes a hundred times the last close, with a mark that agrees or one that does not.
#[test]
fn row_51_anomalous_print_is_denied() {
    // Everything the venue shows is a hundred times what the last bar closed at.
    let quote = fine().quote.map(|q| Quote {
        bid: "9995".parse().unwrap(),
        ask: "10005".parse().unwrap(),
        ..q
    });
    let mark = Some(("10000".parse().unwrap(), NOW));
    let mut mad = Case {
        quote,
        mark,
        ..fine()
    }
    .order(Side::Buy, "0.5", "10010")
    .limit(Rule::PriceJump, "20");
    mad.intent.reference = "10000".parse().unwrap();
    mad.expect(&["price_jump"]);
    // The book alone, while the venue marks as before.
    let quote = fine().quote.map(|q| Quote {
        bid: "9995".parse().unwrap(),
        ask: "10005".parse().unwrap(),
        ..q
    });
    let mut mad = Case { quote, ..fine() }
        .order(Side::Buy, "0.5", "10010")
        .limit(Rule::PriceJump, "20");
    mad.intent.reference = "10000".parse().unwrap();
    mad.limit(Rule::MarkCollar, "3")
        .expect(&["mark_collar", "price_jump"]);
}

#[test]
fn stale_inputs_are_refused() {
    let old = |age: i64| Case {
        quote: fine().quote.map(|q| Quote {
            at: Ms(NOW.0 - age),
            ..q
        }),
        ..fine()
    };
    both(Rule::QuoteAge, old(1000), "1000", "999");
    // A little ahead of our clock is as young as can be; and no exit waits for a younger price.
    old(-1000).limit(Rule::QuoteAge, "1").expect(&[]);
    old(100_000)
        .limit(Rule::QuoteAge, "1000")
        .exit()
        .holds("trend", "-50")
        .expect(&[]);
    let mut read = fine();
    read.account.as_mut().unwrap().as_of = Ms(NOW.0 - 5000);
    both(Rule::AccountAge, read, "5000", "4999");
    let mut late = fine();
    late.intent.decided_at = Ms(NOW.0 - 1000);
    both(Rule::DecisionAge, late, "1000", "999");
    Case {
        quote: None,
        ..fine()
    }
    .expect(&["quote_missing"]);
    Case {
        account: None,
        ..fine()
    }
    .expect(&["account_unknown"]);
}

/// Orders per minute, per day and open orders; moving a resting order adds no open order.
#[test]
fn rates_include_the_new_order() {
    let busy = fine()
        .sent(59_999, Side::Sell, "1")
        .sent(30_000, Side::Sell, "2");
    both(Rule::OrderRate, busy.clone(), "3", "2");
    both(Rule::OrdersPerDay, busy, "3", "2");
    both(
        Rule::OrderRate,
        fine().sent(60_000, Side::Sell, "1"),
        "1",
        "0",
    );
    let mut moved = fine().works("trend", Side::Buy, "50", OrderState::Acked);
    both(Rule::OpenOrders, moved.clone(), "2", "1");
    moved.intent.moves = Some("w0".into());
    moved.limit(Rule::OpenOrders, "1").expect(&[]);
}

/// Same side and size from another decision within the window; a retry of the same decision passes.
#[test]
fn same_order_again_is_a_duplicate() {
    both(
        Rule::Duplicate,
        fine().sent(500, Side::Buy, "50"),
        "500",
        "501",
    );
    fine()
        .sent(1, Side::Buy, "51")
        .sent(1, Side::Sell, "50")
        .limit(Rule::Duplicate, "501")
        .expect(&[]);
    let mut again = fine().sent(1, Side::Buy, "50");
    again.intent.run_id = RunId(uuid::Uuid::max());
    again.limit(Rule::Duplicate, "501").expect(&[]); // the next try of the same decision
}

#[test]
fn repeats_trades_and_turnover_are_bounded() {
    let repeated = fine()
        .sent(3_599_999, Side::Buy, "1")
        .sent(1000, Side::Buy, "2");
    both(Rule::Repeats, repeated, "3", "2");
    both(
        Rule::Repeats,
        fine().sent(3_600_000, Side::Buy, "1"),
        "1",
        "0",
    );
    both(Rule::TradesPerDay, fine().traded(1000, "1"), "2", "1");
    // Twice 500 USD, and the order's 500.
    both(Rule::Turnover, fine().traded(1000, "1"), "15", "14.99");
    fine()
        .traded(90_000_000, "1")
        .limit(Rule::TradesPerDay, "1")
        .limit(Rule::Turnover, "5")
        .expect(&[]);
}

/// Also a loss streak; an exit passes during each of them.
#[test]
fn cooldowns_follow_losses_and_trades() {
    both(
        Rule::CooldownLoss,
        fine().traded(1000, "-1"),
        "1000",
        "1001",
    );
    fine()
        .traded(1000, "1")
        .limit(Rule::CooldownLoss, "5000")
        .expect(&[]);
    both(
        Rule::CooldownTrade,
        fine().traded(1000, "1"),
        "1000",
        "1001",
    );
    both(
        Rule::LossStreak,
        fine().traded(2000, "-1").traded(1000, "-1"),
        "3",
        "2",
    );
    fine()
        .traded(2000, "-1")
        .traded(1000, "1")
        .limit(Rule::LossStreak, "1")
        .expect(&[]);
    let out = fine().traded(1000, "-1").exit().holds("trend", "-50");
    out.limit(Rule::CooldownLoss, "5000")
        .limit(Rule::CooldownTrade, "5000")
        .limit(Rule::LossStreak, "1")
        .expect(&[]);
}

/// Nor is an exit denied for its rate, the open orders or as a duplicate.
#[test]
fn oversized_exit_is_cut_not_denied() {
    let out = || {
        fine()
            .order(Side::Sell, "50", "100")
            .exit()
            .holds("trend", "80")
    };
    let qty = |case: Case| case.judged().unwrap().intent().qty;
    assert_eq!(
        qty(out().limit(Rule::OrderNotionalMax, "200")),
        Qty(d("20"))
    );
    let mut small = out();
    small.inst.max_limit_size = Qty(d("30"));
    assert_eq!(qty(small), Qty(d("30")));
    let busy = out()
        .sent(1, Side::Sell, "50")
        .works("x", Side::Buy, "1", OrderState::Acked);
    let busy = busy
        .limit(Rule::OpenOrders, "1")
        .limit(Rule::OrderRate, "1")
        .limit(Rule::Duplicate, "600000");
    busy.expect(&[]);
    fine().order(Side::Buy, "200000", "100").expect(&[
        "gross_exposure_max",
        "net_exposure_max",
        "leverage_max",
        "free_balance",
    ]);
}

/// Cut to the largest single order; denied if it cannot be made smaller.
#[test]
fn oversized_entry_is_cut() {
    let qty = |case: Case| case.judged().unwrap().intent().qty;
    assert_eq!(
        qty(fine().limit(Rule::OrderNotionalMax, "200")),
        Qty(d("20"))
    );
    let mut small = fine();
    small.inst.max_limit_size = Qty(d("30"));
    assert_eq!(qty(small), Qty(d("30")));
    undivided()
        .limit(Rule::OrderNotionalMax, "200")
        .expect(&["order_notional_max"]);
}

/// A flip that may not open leaves as a reduce-only exit of what is held.
#[test]
fn denied_flip_still_exits() {
    // Long 30, wants to be short 50: a sell of 80.
    let turn = || fine().order(Side::Sell, "80", "100").holds("trend", "30");
    let leaves = |case: Case| {
        let approved = case.judged().unwrap();
        let without: Vec<String> = approved.without().iter().map(|b| b.code.clone()).collect();
        let intent = approved.intent();
        (
            intent.qty.to_string(),
            intent.is_opening(),
            intent.reduce_only,
            without.join(" "),
        )
    };
    assert_eq!(
        leaves(turn()),
        ("80".into(), true, false, String::new()),
        "nothing holds it up"
    );
    let whole = (
        "30".to_owned(),
        false,
        true,
        "position_notional_max".to_owned(),
    );
    assert_eq!(leaves(turn().limit(Rule::Position, "400")), whole);
    assert_eq!(
        leaves(turn().worth("9000").limit(Rule::DailyLoss, "5")).0,
        "30"
    );
    // Cut to what one order may be, a turn closes first.
    assert_eq!(
        leaves(turn().limit(Rule::OrderNotionalMax, "200")),
        ("20".into(), false, true, String::new())
    );
    assert_eq!(
        leaves(turn().limit(Rule::OrderNotionalMax, "600")),
        ("60".into(), true, false, String::new())
    );
    let both = turn()
        .limit(Rule::OrderNotionalMax, "200")
        .limit(Rule::Position, "0");
    assert_eq!(
        (leaves(both.clone()).0, leaves(both).1),
        ("20".into(), false)
    );
    // What cannot leave at all does not.
    let mut halted = turn();
    halted.readiness = Readiness::Halted("x".into());
    halted.expect(&["halted"]);
    // The sleeve is held by another: no turn.
    fine()
        .order(Side::Sell, "80", "100")
        .holds("other", "30")
        .limit(Rule::Position, "400")
        .expect(&["position_notional_max"]);
}

#[test]
fn steps_hold() {
    fine()
        .order(Side::Buy, "50.05", "100")
        .expect(&["size_step"]);
    fine()
        .order(Side::Buy, "50", "100.01")
        .expect(&["price_step"]);
    fine().order(Side::Buy, "0", "100").expect(&["size_step"]);
}

/// Before reconciliation exits pass; after a halt nothing does.
#[test]
fn unreconciled_opens_nothing_halted_sends_nothing() {
    let waiting = Case {
        readiness: Readiness::Reconciling("starting".into()),
        ..fine()
    };
    waiting.clone().expect(&["not_reconciled"]);
    waiting.exit().holds("trend", "-50").expect(&[]);
    fine()
        .exit()
        .order(Side::Sell, "50", "100")
        .exit()
        .holds("trend", "80")
        .expect(&[]);
    let doubt = Case {
        readiness: Readiness::ReduceOnly("x".into()),
        ..fine()
    };
    // The venue holds the net of all, and no more of that leaves.
    let exit = doubt
        .order(Side::Sell, "50", "100")
        .exit()
        .holds("trend", "80")
        .holds("other", "-60");
    assert_eq!(exit.judged().unwrap().intent().qty, Qty(d("20")));
    // A restriction of the contender does not loosen that.
    let both = exit
        .clone()
        .restricted("contender:trend", TradingState::ReduceOnly);
    assert_eq!(both.judged().unwrap().intent().qty, Qty(d("20")));
    exit.clone()
        .holds("other", "-80")
        .restricted("contender:trend", TradingState::ReduceOnly)
        .expect(&["reduce_only"]);
    exit.holds("other", "-80").expect(&["reduce_only"]);
    let halted = Case {
        readiness: Readiness::Halted("x".into()),
        ..fine()
    };
    halted.exit().holds("trend", "-50").expect(&["halted"]);
    Case {
        readiness: Readiness::ReduceOnly("x".into()),
        ..fine()
    }
    .expect(&["reduce_only"]);
}

/// Past its time or price tolerance an entry is denied at each attempt; an exit passes.
#[test]
fn expired_entry_is_denied_on_retry() {
    let held_to = |until: i64, price: &str, case: Case| {
        let good_for = GoodFor {
            until: Ms(NOW.0 + until),
            price: price.parse().unwrap(),
            within: Bps(20),
        };
        Case {
            intent: OrderIntent {
                good_for: Some(good_for),
                ..case.intent.clone()
            },
            ..case
        }
    };
    held_to(0, "100", fine()).expect(&[]);
    held_to(-1, "100", fine()).expect(&["entry_over"]);
    held_to(0, "100.2", fine()).expect(&[]);
    held_to(0, "100.3", fine()).expect(&["entry_over"]);
    held_to(0, "99.7", fine()).expect(&["entry_over"]);
    let again = Case {
        intent: OrderIntent {
            attempt: 1,
            ..fine().intent
        },
        ..fine()
    };
    held_to(0, "99.7", again).expect(&["entry_over"]);
    // Where a restriction makes an exit of it, it may leave: it only takes off.
    held_to(-1, "100", fine().exit().holds("trend", "-50")).expect(&[]);
    let blind = Case {
        mark: None,
        quote: None,
        ..fine()
    };
    assert!(
        held_to(0, "100", blind)
            .judged()
            .is_err_and(|refused| refused.breaches.iter().any(|b| b.code == "entry_over"))
    );
}

#[test]
fn every_breach_is_reported_together() {
    let mut case = fine()
        .order(Side::Buy, "500", "101")
        .limit(Rule::OrderNotionalMax, "1000");
    case.inst.min_size = Qty(d("500"));
    case = case
        .limit(Rule::PriceCollar, "0")
        .limit(Rule::OpenOrders, "0")
        .limit(Rule::Position, "10");
    case.inst.state = InstState::Other("suspend".into());
    case.expect(&[
        "instrument_not_live",
        "order_notional_max",
        "open_orders_max",
        "position_notional_max",
        "price_collar",
    ]);
}

/// Checks how much of a sell of 50 is let through in this state, with these holdings of `trend` and
/// of another.
#[track_caller]
fn reduced(scope: &str, state: TradingState, own: &str, other: &str, expected: &str) {
    let case = fine()
        .order(Side::Sell, "50", "100")
        .exit()
        .holds("trend", own)
        .holds("other", other);
    let shown = match case.restricted(scope, state).judged() {
        Ok(approved) => {
            let at_venue = !scope.starts_with("contender");
            assert_eq!(
                approved.intent().reduce_only,
                at_venue,
                "what the venue is told"
            );
            approved.intent().qty.to_string()
        }
        Err(refused) => refused.breaches[0].code.clone(),
    };
    assert_eq!(shown, expected, "{scope} {own} {other}");
}

/// From flat it is denied; the system scope goes by the net, a contender's by its sleeve.
#[test]
fn reduce_only_clamps_to_the_position() {
    use TradingState::{Halted, ReduceOnly};
    reduced("system", ReduceOnly, "80", "0", "50");
    reduced("system", ReduceOnly, "30", "0", "30");
    reduced("system", ReduceOnly, "0", "0", "reduce_only");
    reduced("system", ReduceOnly, "-30", "0", "reduce_only");
    // The venue's position is the net of all: the system's state is judged by that, a contender's
    // by its sleeve.
    reduced("system", ReduceOnly, "80", "-60", "20");
    reduced(
        "instrument:ETH-USDT-SWAP",
        ReduceOnly,
        "80",
        "-80",
        "reduce_only",
    );
    reduced("contender:trend", ReduceOnly, "30", "-80", "30");
    reduced("contender:trend", ReduceOnly, "0", "80", "reduce_only");
    reduced("contender:other", ReduceOnly, "0", "0", "50");
    reduced("system", Halted, "80", "0", "trading_halted");
    reduced("contender:trend", Halted, "80", "0", "trading_halted");
}

/// Working and in-flight orders of the same side are deducted from what may still be reduced.
#[test]
fn working_orders_shrink_reduce_only_room() {
    let case = || {
        fine()
            .order(Side::Sell, "50", "100")
            .exit()
            .holds("trend", "80")
    };
    let clamped = |case: Case| {
        case.restricted("system", TradingState::ReduceOnly)
            .judged()
            .unwrap()
            .intent()
            .qty
    };
    assert_eq!(
        clamped(case().works("trend", Side::Sell, "60", OrderState::Acked)),
        Qty(d("20"))
    );
    assert_eq!(
        clamped(case().works("trend", Side::Buy, "60", OrderState::Acked)),
        Qty(d("50"))
    );
    assert_eq!(clamped(case().leaves(Side::Sell, "70")), Qty(d("10")));
}

/// A flip is cut to the position held; an entry that would only open is denied.
#[test]
fn reduce_only_turns_flip_into_exit() {
    let flip = fine().order(Side::Sell, "50", "100").holds("trend", "30");
    let approved = flip
        .restricted("system", TradingState::ReduceOnly)
        .judged()
        .unwrap();
    let cut = approved.intent();
    assert_eq!(
        (cut.qty, cut.reduce_only, cut.purpose),
        (Qty(d("30")), true, Purpose::Exit)
    );
    fine()
        .restricted("system", TradingState::ReduceOnly)
        .expect(&["reduce_only"]);
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

/// An order below the minimum, off the lot step or in a suspended instrument gets none.
#[test]
fn permit_needs_a_valid_order() {
    let judge = |qty: &str, state: InstState| {
        let mut order = fine().intent;
        (order.purpose, order.qty) = (Purpose::Repair, qty.parse().unwrap());
        let inst = Instrument {
            state,
            min_size: Qty(d("2")),
            ..swap()
        };
        match check_permitted(Arc::new(order), &inst) {
            Ok(approved) => format!("permitted {}", approved.is_permitted()),
            Err(refused) => refused
                .breaches
                .into_iter()
                .map(|b| b.code)
                .collect::<Vec<_>>()
                .join(" "),
        }
    };
    assert_eq!(judge("2", InstState::Live), "permitted true");
    assert_eq!(judge("1.9", InstState::Live), "size_step");
    assert_eq!(judge("2.05", InstState::Live), "size_step");
    assert_eq!(
        judge("1", InstState::Other("suspend".into())),
        "size_step instrument_not_live"
    );
    assert!(
        !fine().judged().unwrap().is_permitted(),
        "an ordinary order has none"
    );
}

/// Cut to a reduction, an order needs no stop; and an order of the smallest size passes.
#[test]
fn reduced_flip_drops_its_stop() {
    fine().order(Side::Buy, "0.1", "100").expect(&[]);
    let stop = crate::domain::StopSpec {
        algo_id: "st".into(),
        trigger: "95".parse().unwrap(),
        attached: true,
    };
    let mut flip = fine().order(Side::Sell, "50", "100").holds("trend", "30");
    flip.intent.stop = Some(stop);
    let cut = flip
        .restricted("system", TradingState::ReduceOnly)
        .judged()
        .unwrap();
    assert_eq!(cut.intent().stop, None, "what closes needs no stop");
}

/// If the cut would fall below the smallest order, the exit stays whole and the rules deny it.
#[test]
fn exit_below_minimum_is_not_cut() {
    let out = || {
        fine()
            .order(Side::Sell, "50", "100")
            .exit()
            .holds("trend", "80")
    };
    let least = |least: &str| {
        let mut case = out().limit(Rule::OrderNotionalMax, "10");
        case.inst.min_size = Qty(d(least));
        case
    };
    assert_eq!(
        least("1").judged().unwrap().intent().qty,
        Qty(d("1")),
        "the smallest order"
    );
    least("1.1").expect(&["order_notional_max"]);
    out()
        .limit(Rule::OrderNotionalMax, "0")
        .expect(&["order_notional_max"]);
}

/// Exactly the smallest order can still be reduced; less, or nothing at all, cannot.
#[test]
fn reduction_below_minimum_is_denied() {
    let case = |least: &str, room: &str| {
        let mut case = fine()
            .order(Side::Sell, "50", "100")
            .exit()
            .holds("trend", room);
        case.inst.min_size = Qty(d(least));
        case
    };
    for (least, expected) in [("2", true), ("2.1", false)] {
        let restricted = case(least, "2").restricted("system", TradingState::ReduceOnly);
        assert_eq!(restricted.judged().is_ok(), expected, "{least}");
        let doubt = Case {
            readiness: Readiness::ReduceOnly("x".into()),
            ..case(least, "2")
        };
        assert_eq!(doubt.judged().is_ok(), expected, "{least} in doubt");
    }
    // A listing without a least size: nothing is still nothing.
    case("0", "0")
        .restricted("system", TradingState::ReduceOnly)
        .expect(&["reduce_only"]);
    Case {
        readiness: Readiness::ReduceOnly("x".into()),
        ..case("0", "0")
    }
    .expect(&["reduce_only"]);
}

/// Of the same contender, instrument and side; the order being moved is not deducted.
#[test]
fn room_deducts_only_own_orders() {
    let qty = |case: Case| {
        case.restricted("contender:trend", TradingState::ReduceOnly)
            .judged()
            .unwrap()
            .intent()
            .qty
    };
    let case = || {
        fine()
            .order(Side::Sell, "50", "100")
            .exit()
            .holds("trend", "60")
    };
    assert_eq!(qty(case()), Qty(d("50")));
    assert_eq!(
        qty(case().leaves(Side::Sell, "40")),
        Qty(d("50")),
        "somebody else's"
    );
    let mut own = case().leaves(Side::Sell, "40");
    own.in_flight[0].contender = "trend".into();
    assert_eq!(qty(own.clone()), Qty(d("20")));
    own.in_flight[0].side = Side::Buy;
    assert_eq!(qty(own.clone()), Qty(d("50")), "the other side");
    (own.in_flight[0].side, own.in_flight[0].inst) = (Side::Sell, "BTC-USDT-SWAP".into());
    assert_eq!(qty(own), Qty(d("50")), "another instrument");
    // What is moved is among what works itself.
    let mut moved = case().works("trend", Side::Sell, "50", OrderState::Acked);
    moved.intent.moves = Some("w0".into());
    assert_eq!(qty(moved), Qty(d("50")));
}

/// A last close (spot) or mark (swap) far away denies an entry, never an exit.
#[test]
fn mark_collar_never_blocks_exits() {
    let moved = || {
        Case {
            close: Some("80"),
            ..fine()
        }
        .spot()
        .limit(Rule::MarkCollar, "1")
    };
    moved().expect(&["mark_collar"]);
    moved().order(Side::Buy, "50", "100").exit().expect(&[]);
    // Nor does a swap's mark: it may be frozen.
    let swap = || {
        Case {
            mark: Some(("80".parse().unwrap(), NOW)),
            ..fine()
        }
        .limit(Rule::MarkCollar, "1")
    };
    swap().expect(&["mark_collar"]);
    swap().exit().holds("trend", "-50").expect(&[]);
}

/// They are assessed from equity alone, and breach texts carry their units.
#[test]
fn account_rules_need_no_order() {
    let limits = Limits::widest()
        .with(Rule::DailyLoss, d("4"))
        .with(Rule::Drawdown, d("5"));
    let found = assess(Usd(d("9500")), &fine().book, &limits, NOW);
    let shown: Vec<(Rule, &str, &str)> = found
        .iter()
        .map(|(r, b)| (*r, b.limit.as_str(), b.value.as_str()))
        .collect();
    assert_eq!(shown, [(Rule::DailyLoss, "4 %", "5 %")]);
    let refused = undivided()
        .limit(Rule::OrderNotionalMax, "499.5")
        .judged()
        .unwrap_err();
    assert_eq!(
        (
            refused.breaches[0].limit.as_str(),
            refused.breaches[0].value.as_str()
        ),
        ("499.5 USD", "500 USD")
    );
}

#[test]
fn worthless_account_opens_nothing() {
    let mut broke = fine().worth("0");
    broke.book = EquityBook::default();
    broke.expect(&[
        "gross_exposure_max",
        "net_exposure_max",
        "leverage_max",
        "free_balance",
    ]);
}

mod properties;
