//! Sleeves and stops as a trader writes them, and what is to be done.

use super::*;
use crate::domain::instrument::tests::swap;
use crate::domain::{AlgoState, RunId, StopOrder};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Sleeves `who held@trigger`, stops `phase who qty@trigger` (sell if the qty is written with `-`),
/// the last price; then `covered/needed` and the acts.
#[track_caller]
fn check(sleeves: &str, stops: &str, last: &str, expected: &str) {
    doubted(true, sleeves, stops, last, expected);
}

/// The same, with our books sure or in doubt. A sleeve `who*` has an order under way; `late` is a
/// stop that has triggered and whose order has not been seen for as long as it is waited for.
#[track_caller]
fn doubted(sure: bool, sleeves: &str, stops: &str, last: &str, expected: &str) {
    under(&swap(), sure, sleeves, stops, last, expected);
}

/// The same under an instrument's rules.
#[track_caller]
fn under(inst: &Instrument, sure: bool, sleeves: &str, stops: &str, last: &str, expected: &str) {
    let pairs = |text: &str| -> Vec<(String, String, String)> {
        text.split(", ")
            .filter(|t| !t.is_empty())
            .map(|t| {
                let (who, rest) = t.rsplit_once(' ').unwrap();
                let (qty, at) = rest.split_once('@').unwrap();
                (who.to_owned(), qty.to_owned(), at.to_owned())
            })
            .collect()
    };
    // `who qty@none`: no entry of ours has made it.
    let bare: Vec<ContenderId> = pairs(sleeves)
        .iter()
        .filter(|(_, _, at)| at == "none")
        .map(|(who, ..)| who.as_str().into())
        .collect();
    let held: Vec<(ContenderId, Qty, Guard)> = pairs(sleeves)
        .into_iter()
        .map(|(who, qty, at)| {
            let qty = Qty(d(&qty));
            let side = if qty > Qty::ZERO {
                Side::Buy
            } else {
                Side::Sell
            };
            let trigger = (at != "-" && at != "none").then(|| at.parse().unwrap());
            (
                who.as_str().into(),
                qty,
                Guard {
                    entry: OrderId::new(format!("e{who}")),
                    run_id: RunId(uuid::Uuid::nil()),
                    side,
                    trigger,
                },
            )
        })
        .collect();
    let sleeves: Vec<ProtectedSleeve<'_>> = held
        .iter()
        .map(|(contender, qty, guard)| ProtectedSleeve {
            contender,
            held: *qty,
            average: Price(d("100")),
            guard: Some(guard).filter(|_| !bare.contains(contender)),
            busy: contender.as_str().ends_with('*'),
        })
        .collect();
    let shown: Vec<ShownStop> = pairs(stops)
        .into_iter()
        .enumerate()
        .map(|(i, (who, qty, at))| {
            let (phase, who) = who.split_once(' ').unwrap();
            let qty = d(&qty);
            let late = phase == "late";
            let phase = match phase {
                "live" => StopPhase::Live,
                "coming" => StopPhase::Coming,
                "undead" => StopPhase::Undead,
                _ => StopPhase::Closing,
            };
            let stop = StopOrder {
                id: format!("s{i}"),
                venue_id: None,
                parent: "e".into(),
                run_id: RunId(uuid::Uuid::nil()),
                contender: who.into(),
                inst: inst.id.clone(),
                side: if qty.is_sign_negative() {
                    Side::Sell
                } else {
                    Side::Buy
                },
                trigger: at.parse().unwrap(),
                qty: Some(Qty(qty.abs())),
                standalone: true,
                created: Ms(0),
                state: AlgoState::Live,
                child: None,
                triggered: (phase == StopPhase::Closing).then_some(if late {
                    Ms(-10_000)
                } else {
                    Ms(0)
                }),
                shaped_at: None,
            };
            ShownStop { stop, phase }
        })
        .collect();
    let shown: Vec<&ShownStop> = shown.iter().collect();
    let overdue = |id: &str| id == "s9";
    let terms = ProtectionTerms {
        default: d("0.05"),
        sure,
        now: Ms(0),
        child_wait: Ms::secs(10),
        overdue: &overdue,
    };
    let cover = plan(inst, Some(last.parse().unwrap()), &sleeves, &shown, &terms);
    let acts: Vec<String> = cover
        .acts
        .iter()
        .map(|act| match act {
            GuardAction::Place {
                contender,
                side,
                qty,
                trigger,
                ..
            } => {
                format!("place {contender} {} {qty}@{trigger}", side.as_str())
            }
            GuardAction::Amend { id, qty, trigger } => format!("amend {id} {qty}@{trigger}"),
            GuardAction::Clear { contender } => format!("clear {contender}"),
            GuardAction::Cancel { id } => format!("cancel {id}"),
            GuardAction::Exit {
                contender,
                side,
                qty,
                ..
            } => format!("exit {contender} {} {qty}", side.as_str()),
        })
        .collect();
    assert_eq!(
        format!("{}/{} {}", cover.covered, cover.needed, acts.join(", ")).trim(),
        expected
    );
}

/// The stop has the size of the sleeve; one that is there or under way is not doubled.
#[test]
fn each_sleeve_gets_one_full_stop() {
    check("a 5@95", "", "100", "0/5 place a sell 5@95");
    check("a -5@105", "", "100", "0/5 place a buy 5@105");
    check("a 5@-", "", "100", "0/5 place a sell 5@95");
    check("a 5@95", "live a -5@95", "100", "5/5");
    check("a 5@95", "coming a -5@95", "100", "0/5");
    check("", "", "100", "0/0");
}

/// Size and trigger are amended; a stop on the wrong side goes only after the right one is live.
#[test]
fn stops_follow_the_position() {
    check("a 7@95", "live a -5@95", "100", "5/7 amend s0 7@95");
    check("a 3@95", "live a -5@95", "100", "3/3 amend s0 3@95");
    check("a 5@97", "live a -5@95", "100", "5/5 amend s0 5@97");
    check("", "live a -5@95", "100", "0/0 cancel s0");
    // A stop on the wrong side goes only after the right one is there.
    check("a -5@105", "live a -5@95", "100", "0/5 place a buy 5@105");
    check(
        "a -5@105",
        "live a -5@95, live a 5@105",
        "100",
        "5/5 cancel s0",
    );
}

/// New stops come before old ones go; two of the right trigger that add up to the size stay.
#[test]
fn duplicate_stops_merge_into_one() {
    check(
        "a 7@95",
        "live a -5@94, live a -2@95",
        "100",
        "7/7 amend s0 7@95",
    );
    check(
        "a 7@95",
        "live a -7@95, live a -2@95",
        "100",
        "7/7 cancel s1",
    );
    check(
        "a 7@95, b 2@90",
        "live a -7@95, live a -2@95",
        "100",
        "9/9 place b sell 2@90, cancel s1",
    );
    // Two of the right trigger that make the size together are left alone.
    check("a 7@95", "live a -5@95, live a -2@95", "100", "7/7");
    check("", "undead a -5@95", "100", "0/0 cancel s0");
}

/// Sleeves of either sign: the nearest stop is covered first, and nothing beyond the net.
#[test]
fn stops_cover_only_the_net_position() {
    check(
        "a 5@95, b 3@90",
        "",
        "100",
        "0/8 place a sell 5@95, place b sell 3@90",
    );
    check(
        "a -5@105, b -3@110",
        "",
        "100",
        "0/8 place a buy 5@105, place b buy 3@110",
    );
    check("a 5@95, b -2@110", "", "100", "0/3 place a sell 3@95");
    check("a 2@95, b -5@110", "", "100", "0/3 place b buy 3@110");
    check("a 5@95, b -5@110", "", "100", "0/0");
    // The nearest is covered first.
    check(
        "a 5@90, c 4@95, b -6@110",
        "",
        "100",
        "0/3 place c sell 3@95",
    );
    check("a 5@95, b -5@110", "live a -5@95", "100", "0/0 cancel s0");
}

/// A sleeve that can have no stop leaves the net to those that can.
#[test]
fn net_goes_to_sleeves_with_stops() {
    check(
        "a 8.6@none, b -8.6@110, c 3.4@90",
        "",
        "100",
        "0/3.4 place c sell 3.4@90",
    );
    check("a 1@none, c 3@90", "", "100", "0/4 place c sell 3@90");
    check("a 1@none, c 3@90", "live c -3@90", "100", "3/4");
    check("a 1@none", "", "100", "0/1");
}

/// Quantity counts as unprotected only if it was so all through the window.
#[test]
fn only_quantity_unprotected_throughout_counts() {
    let mut bare = Bare::since(Ms(0));
    let mut at = |wall: i64, open: &str| {
        bare.all_through(Qty(d(open)), Ms(wall), Ms(100))
            .map(|qty| qty.to_string())
    };
    assert_eq!(at(0, "0.1"), None);
    assert_eq!(at(50, "3.4"), None, "it has grown");
    assert_eq!(at(99, "3.4"), None);
    assert_eq!(
        at(100, "3.4").as_deref(),
        Some("0.1"),
        "what came since has its stop on the way"
    );
    assert_eq!(
        at(101, "3.4").as_deref(),
        Some("3.4"),
        "now all of it has been bare for as long"
    );
    assert_eq!(at(150, "2").as_deref(), Some("2"));
    assert_eq!(at(160, "5").as_deref(), Some("2"));
    assert_eq!(at(251, "5").as_deref(), Some("5"));
}

/// The venue's stop closes its part; only the rest of the sleeve is exited here.
#[test]
fn triggered_stop_is_left_to_close() {
    check("a 5@95", "closing a -5@95", "94", "5/5");
    // The venue takes three, the other two of the sleeve are taken out here.
    check(
        "a 5@95, b -2@110",
        "closing a -3@95",
        "94",
        "3/3 exit a sell 2",
    );
    check(
        "a 5@95, b -2@110",
        "live a -3@95",
        "94",
        "3/3 exit a sell 2",
    );
    check("a 2@95, b -2@110", "", "94", "0/0 exit a sell 2");
    check("a 2@95, b -2@110", "", "111", "0/0 exit b buy 2");
}

/// The price passed the trigger before the stop could be placed; a stop still under way may fire
/// itself.
#[test]
fn stop_already_passed_becomes_an_exit() {
    check("a 5@95", "", "95", "0/5 exit a sell 5");
    check("a -5@105", "", "105", "0/5 exit a buy 5");
    check("a 5@95", "live a -2@95", "94", "2/5 exit a sell 3");
    // The venue waits at another price than the sleeve's own.
    check("a 5@99", "live a -5@95", "98", "5/5 exit a sell 5");
    // One that is being made may fire on its own.
    check("a 5@95", "coming a -5@95", "94", "0/5");
    check("a 5@95, _system -2@105", "", "200", "0/3 place a sell 3@95");
}

/// A short at 100 without a trigger gets its stop at 105, the default distance from the entry.
#[test]
fn default_stop_is_on_losing_side() {
    check("a -5@-", "", "100", "0/5 place a buy 5@105");
}

/// Its order never showed at the venue: another stop is placed, or the sleeve is exited.
#[test]
fn stop_never_seen_stops_counting() {
    check("a 5@95", "late a -5@95", "100", "0/5 place a sell 5@95");
    check("a 5@95", "late a -5@95", "94", "0/5 exit a sell 5");
}

#[test]
fn other_sleeves_stops_do_not_count() {
    check(
        "a 5@95, b 3@95",
        "live b -3@95",
        "100",
        "3/8 place a sell 5@95",
    );
    check("a 5@95", "live b -5@95", "100", "5/5 place a sell 5@95");
}

/// Only the rest gets a stop, if it is no smaller than the smallest order.
#[test]
fn closing_part_needs_no_second_stop() {
    check("a 5@95", "closing a -3@95", "100", "3/5 place a sell 2@95");
    check(
        "a 5@95",
        "closing a -4.9@95",
        "100",
        "4.9/5 place a sell 0.1@95",
    );
    check("a 5@95", "closing a -4.95@95", "100", "4.95/5");
}

/// Two stops of the right trigger cover the sleeve together; a third of another trigger goes.
#[test]
fn wrong_trigger_stop_is_cancelled() {
    check(
        "a 7@95",
        "live a -5@95, live a -2@95, live a -3@90",
        "100",
        "7/7 cancel s2",
    );
    // While another sleeve's is missing, too.
    let stops = "live a -5@95, live a -2@95, live a -3@90";
    check(
        "a 7@95, b 2@90",
        stops,
        "100",
        "9/9 place b sell 2@90, cancel s2",
    );
}

/// While in doubt nothing is cancelled, reduced or exited; missing size is added.
#[test]
fn in_doubt_stops_only_grow() {
    doubted(false, "a 7@95", "live a -5@95", "100", "5/7 amend s0 7@95");
    doubted(false, "a 3@95", "live a -5@95", "100", "3/3");
    doubted(false, "a 5@97", "live a -5@95", "100", "5/5");
    doubted(false, "", "live a -5@95", "100", "0/0");
    doubted(false, "a 5@95", "", "94", "0/5");
    check("a 5@97", "live a -5@95", "100", "5/5 amend s0 5@97");
}

/// A sleeve with an order in flight is cleared before its exit; its stop is placed regardless.
#[test]
fn busy_sleeve_is_cleared_before_exit() {
    check("a* 5@95", "", "94", "0/5 clear a*");
    check("a* 5@95", "", "100", "0/5 place a* sell 5@95");
}

/// A live stop at its own trigger is left to fire; another sleeve's stop does not serve this one.
#[test]
fn short_sleeve_exits_at_own_stop() {
    check("a -5@105", "live a 5@105", "106", "5/5");
    check("a -5@101", "live a 5@105", "102", "5/5 exit a buy 5");
    check(
        "b 5@90, a -2@105",
        "",
        "106",
        "0/3 place b sell 3@90, exit a buy 2",
    );
    // What another sleeve's stop does is not this one's.
    check(
        "a 2@90, c 4@95, b -3@110",
        "live c -3@95",
        "89",
        "3/3 exit a sell 2, exit c sell 1",
    );
    check("b 5@95, a 2@95", "live b -5@95", "94", "5/7 exit a sell 2");
}

/// Not below the smallest order and not above the largest.
#[test]
fn exit_size_stays_within_order_bounds() {
    check("a 0.1@95", "", "94", "0/0.1 exit a sell 0.1");
    check("a 0.05@95", "", "94", "0/0");
    check("a 10001@95", "", "94", "0/10001 exit a sell 10000");
    let coarse = Instrument {
        min_size: Qty(d("1")),
        ..swap()
    };
    under(&coarse, true, "a 1@95", "", "94", "0/1 exit a sell 1");
    under(&coarse, true, "a 5@95", "closing a -4.5@95", "94", "4.5/5");
    under(&coarse, true, "a 5@95", "closing a -4.5@95", "100", "4.5/5");
    under(&coarse, true, "a 0.5@95", "", "94", "0/0");
}

/// After too long without a stop, and no more than the unprotected quantity.
#[test]
fn unprotected_sleeves_exit_largest_first() {
    let inst = swap();
    let given = |sleeves: &[(&str, &str)], bare: &str| -> String {
        let held: Vec<(ContenderId, Qty)> = sleeves
            .iter()
            .map(|(who, qty)| ((*who).into(), Qty(d(qty))))
            .collect();
        let sleeves: Vec<ProtectedSleeve<'_>> = held
            .iter()
            .map(|(contender, held)| ProtectedSleeve {
                contender,
                held: *held,
                average: Price(d("100")),
                guard: None,
                busy: contender.as_str().ends_with('*'),
            })
            .collect();
        let acts = give_up(&inst, &sleeves, Qty(d(bare)));
        let words = acts.iter().map(|act| match act {
            GuardAction::Exit {
                contender,
                side,
                qty,
                ..
            } => format!("{} {contender} {qty}", side.as_str()),
            GuardAction::Clear { contender } => format!("clear {contender}"),
            other => panic!("{other:?}"),
        });
        words.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(given(&[("a", "3"), ("b", "5")], "8"), "sell b 5, sell a 3");
    assert_eq!(given(&[("a", "3"), ("b", "5")], "6"), "sell b 5, sell a 1");
    assert_eq!(given(&[("a", "3"), ("b", "5")], "4"), "sell b 4");
    assert_eq!(given(&[("a", "-3"), ("b", "-5")], "6"), "buy b 5, buy a 1");
    assert_eq!(given(&[("a", "8"), ("b", "-5")], "3"), "sell a 3");
    assert_eq!(given(&[("a", "3"), ("b*", "5")], "8"), "clear b*, sell a 3");
    assert_eq!(given(&[("_system", "5"), ("a", "3")], "6"), "sell a 3");
}

#[test]
fn spot_short_cannot_be_protected() {
    use crate::domain::InstKind;
    let spot = Instrument {
        kind: InstKind::Spot,
        ..swap()
    };
    for (inst, net, expected) in [
        (&swap(), "1", true),
        (&swap(), "-1", true),
        (&swap(), "0", true),
        (&spot, "1", true),
        (&spot, "0", false),
        (&spot, "-1", false),
    ] {
        assert_eq!(can_protect(inst, d(net)), expected, "{:?} {net}", inst.kind);
    }
}

/// And only if it was named for the side that is held.
#[test]
fn later_level_counts_only_if_tighter() {
    let guard = |side: Side, trigger: Option<&str>| Guard {
        entry: crate::domain::OrderId::new("e"),
        run_id: RunId(uuid::Uuid::nil()),
        side,
        trigger: trigger.map(|text| Price(d(text))),
    };
    let with = |guard: &Guard, side: Side, level: &str| {
        tightened(guard, Some((side, Price(d(level)))))
            .trigger
            .map(|price| price.to_string())
    };
    let long = guard(Side::Buy, Some("95"));
    assert_eq!(with(&long, Side::Buy, "99").as_deref(), Some("99"));
    assert_eq!(
        with(&long, Side::Buy, "90").as_deref(),
        Some("95"),
        "never looser"
    );
    assert_eq!(
        with(&long, Side::Sell, "102").as_deref(),
        Some("95"),
        "a short's level is none of a long's"
    );
    let short = guard(Side::Sell, Some("105"));
    assert_eq!(with(&short, Side::Sell, "101").as_deref(), Some("101"));
    assert_eq!(with(&short, Side::Sell, "110").as_deref(), Some("105"));
    assert_eq!(with(&short, Side::Buy, "99").as_deref(), Some("105"));
    assert_eq!(
        with(&guard(Side::Buy, None), Side::Buy, "99").as_deref(),
        Some("99")
    );
    assert_eq!(tightened(&long, None), long);
}
