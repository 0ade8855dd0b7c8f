//! Orders that are cut: to what there is to reduce, and to the largest order.

use super::*;

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

/// A reduce-only restriction cuts an opening order to what it reduces; in doubt it is denied, and
/// only the closing part of a reversal leaves, within the venue's position.
#[test]
fn doubt_denies_entries_under_a_restriction() {
    let turn = || {
        fine()
            .order(Side::Sell, "80", "100")
            .holds("trend", "30")
            .restricted("system", TradingState::ReduceOnly)
    };
    let cut = turn().judged().unwrap();
    assert_eq!((cut.intent().qty, cut.without().len()), (Qty(d("30")), 0));
    for doubt in [
        Readiness::Reconciling("x".into()),
        Readiness::ReduceOnly("x".into()),
    ] {
        let case = Case {
            readiness: doubt.clone(),
            ..turn()
        };
        let exit = case.judged().unwrap();
        assert_eq!(exit.intent().qty, Qty(d("30")), "{doubt:?}");
        assert!(
            !exit.intent().is_opening() && exit.intent().reduce_only,
            "{doubt:?}"
        );
        let codes: Vec<&str> = exit.without().iter().map(|b| b.code.as_str()).collect();
        assert!(
            codes.contains(&"not_reconciled") || codes.contains(&"reduce_only"),
            "{codes:?}"
        );
        // Nothing of the sleeve to close: the same order would reduce what another holds.
        let entry = Case {
            readiness: doubt,
            ..fine()
        }
        .order(Side::Sell, "50", "100")
        .holds("other", "80")
        .restricted("system", TradingState::ReduceOnly);
        assert!(entry.judged().is_err());
    }
    // Under a halt it is told what forbids it, and no more.
    let mut halted = turn();
    halted.readiness = Readiness::Halted("x".into());
    halted.expect(&["halted"]);
}
