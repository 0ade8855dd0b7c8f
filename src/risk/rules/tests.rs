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

mod exposure;
mod properties;
mod reduce;
