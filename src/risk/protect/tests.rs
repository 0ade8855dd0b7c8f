//! Sleeves and stops as a trader writes them, and what is to be done.

use super::*;
use crate::domain::instrument::tests::swap;
use crate::domain::{AlgoState, RunId, Stop};

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Sleeves `who held@trigger`, stops `phase who qty@trigger` (sell if the qty is written with `-`), the last price; then
/// `covered/needed` and the acts.
#[track_caller]
fn check(sleeves: &str, stops: &str, last: &str, expected: &str) {
    let inst = swap();
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
    let held: Vec<(ContenderId, Qty, Guard)> = pairs(sleeves)
        .into_iter()
        .map(|(who, qty, at)| {
            let qty = Qty(d(&qty));
            let side = if qty > Qty::ZERO { Side::Buy } else { Side::Sell };
            let trigger = (at != "-").then(|| at.parse().unwrap());
            (
                who.as_str().into(),
                qty,
                Guard { entry: OrderId::new(format!("e{who}")), run_id: RunId(uuid::Uuid::nil()), side, trigger },
            )
        })
        .collect();
    let sleeves: Vec<Sleeve<'_>> = held
        .iter()
        .map(|(contender, qty, guard)| Sleeve {
            contender,
            held: *qty,
            average: Price(d("100")),
            guard: Some(guard),
            busy: false,
        })
        .collect();
    let shown: Vec<ShownStop> = pairs(stops)
        .into_iter()
        .enumerate()
        .map(|(i, (who, qty, at))| {
            let (phase, who) = who.split_once(' ').unwrap();
            let qty = d(&qty);
            let phase = match phase {
                "live" => StopPhase::Live,
                "coming" => StopPhase::Coming,
                "undead" => StopPhase::Undead,
                _ => StopPhase::Closing,
            };
            let stop = Stop {
                id: format!("s{i}"),
                venue_id: None,
                parent: "e".into(),
                run_id: RunId(uuid::Uuid::nil()),
                contender: who.into(),
                inst: inst.id.clone(),
                side: if qty.is_sign_negative() { Side::Sell } else { Side::Buy },
                trigger: at.parse().unwrap(),
                qty: Some(Qty(qty.abs())),
                standalone: true,
                created: Ms(0),
                state: AlgoState::Live,
                child: None,
                triggered: (phase == StopPhase::Closing).then_some(Ms(0)),
                shaped_at: None,
            };
            ShownStop { stop, phase }
        })
        .collect();
    let shown: Vec<&ShownStop> = shown.iter().collect();
    let overdue = |id: &str| id == "s9";
    let terms = Terms { default: d("0.05"), sure: true, now: Ms(0), child_wait: Ms::secs(10), overdue: &overdue };
    let cover = plan(&inst, Some(last.parse().unwrap()), &sleeves, &shown, &terms);
    let acts: Vec<String> = cover
        .acts
        .iter()
        .map(|act| match act {
            Act::Place { contender, side, qty, trigger, .. } => {
                format!("place {contender} {} {qty}@{trigger}", side.as_str())
            }
            Act::Amend { id, qty, trigger } => format!("amend {id} {qty}@{trigger}"),
            Act::Clear { contender } => format!("clear {contender}"),
            Act::Cancel { id } => format!("cancel {id}"),
            Act::Exit { contender, side, qty, .. } => format!("exit {contender} {} {qty}", side.as_str()),
        })
        .collect();
    assert_eq!(format!("{}/{} {}", cover.covered, cover.needed, acts.join(", ")).trim(), expected);
}

#[test]
fn one_sleeve_has_one_stop_of_its_size() {
    check("a 5@95", "", "100", "0/5 place a sell 5@95");
    check("a -5@105", "", "100", "0/5 place a buy 5@105");
    check("a 5@-", "", "100", "0/5 place a sell 5@95");
    check("a 5@95", "live a -5@95", "100", "5/5");
    check("a 5@95", "coming a -5@95", "100", "0/5");
    check("", "", "100", "0/0");
}

#[test]
fn it_is_kept_in_step_with_what_is_held() {
    check("a 7@95", "live a -5@95", "100", "5/7 amend s0 7@95");
    check("a 3@95", "live a -5@95", "100", "3/3 amend s0 3@95");
    check("a 5@97", "live a -5@95", "100", "5/5 amend s0 5@97");
    check("", "live a -5@95", "100", "0/0 cancel s0");
    // A stop on the wrong side goes only after the right one is there.
    check("a -5@105", "live a -5@95", "100", "0/5 place a buy 5@105");
    check("a -5@105", "live a -5@95, live a 5@105", "100", "5/5 cancel s0");
}

#[test]
fn several_stops_of_one_sleeve_become_one_and_new_comes_before_old() {
    check("a 7@95", "live a -5@94, live a -2@95", "100", "7/7 amend s0 7@95");
    check("a 7@95", "live a -7@95, live a -2@95", "100", "7/7 cancel s1");
    check("a 7@95, b 2@90", "live a -7@95, live a -2@95", "100", "9/9 place b sell 2@90, cancel s1");
    // Two of the right trigger that make the size together are left alone.
    check("a 7@95", "live a -5@95, live a -2@95", "100", "7/7");
    check("", "undead a -5@95", "100", "0/0 cancel s0");
}

#[test]
fn the_venue_covers_the_net_and_no_more_whatever_the_signs() {
    check("a 5@95, b 3@90", "", "100", "0/8 place a sell 5@95, place b sell 3@90");
    check("a -5@105, b -3@110", "", "100", "0/8 place a buy 5@105, place b buy 3@110");
    check("a 5@95, b -2@110", "", "100", "0/3 place a sell 3@95");
    check("a 2@95, b -5@110", "", "100", "0/3 place b buy 3@110");
    check("a 5@95, b -5@110", "", "100", "0/0");
    // The nearest is covered first.
    check("a 5@90, c 4@95, b -6@110", "", "100", "0/3 place c sell 3@95");
    check("a 5@95, b -5@110", "live a -5@95", "100", "0/0 cancel s0");
}

#[test]
fn what_has_triggered_is_left_to_close() {
    check("a 5@95", "closing a -5@95", "94", "5/5");
    // The venue takes three, the other two of the sleeve are taken out here.
    check("a 5@95, b -2@110", "closing a -3@95", "94", "3/3 exit a sell 2");
    check("a 5@95, b -2@110", "live a -3@95", "94", "3/3 exit a sell 2");
    check("a 2@95, b -2@110", "", "94", "0/0 exit a sell 2");
    check("a 2@95, b -2@110", "", "111", "0/0 exit b buy 2");
}

#[test]
fn a_stop_that_was_hit_before_it_could_be_placed_is_an_exit() {
    check("a 5@95", "", "95", "0/5 exit a sell 5");
    check("a -5@105", "", "105", "0/5 exit a buy 5");
    check("a 5@95", "live a -2@95", "94", "2/5 exit a sell 3");
    // The venue waits at another price than the sleeve's own.
    check("a 5@99", "live a -5@95", "98", "5/5 exit a sell 5");
    // One that is being made may fire on its own.
    check("a 5@95", "coming a -5@95", "94", "0/5");
    check("a 5@95, _system -2@105", "", "200", "0/3 place a sell 3@95");
}
