//! The last look, just before the bytes. Pure: what has changed since the gate approved it?

use crate::domain::{GoodFor, Ms, Price, Readiness, Restriction, Scope, TradingState};

/// Facts the last look knows about the order itself.
#[derive(Clone, Debug)]
pub struct Leaving {
    pub opening: bool,
    /// The venue, or the lack of anything to open with (spot sales), holds it to what there is.
    pub reduce_only: bool,
    /// Risk has permitted it by name.
    pub permitted: bool,
    /// When it was decided, and how old a decision may be.
    pub decided: (Ms, Ms),
    /// Time and price bounds on an order that opens, and the current price.
    pub good_for: Option<(GoodFor, Option<Price>)>,
    /// Why the instrument's rules of now have no room for it; they may have changed since the gate
    /// approved it.
    pub unfit: Option<String>,
}

/// Why an approved order must not leave after all; `None`: send it. While halted only what risk has
/// permitted by name leaves, and nothing that opens.
pub fn reason_not_to_send(
    trading_on: bool,
    readiness: &Readiness,
    restriction: Option<&Restriction>,
    Leaving {
        opening,
        reduce_only,
        permitted,
        decided: (decided_at, oldest),
        good_for,
        unfit,
    }: Leaving,
    now: Ms,
    expires_at: Ms,
) -> Option<String> {
    if !trading_on {
        return Some("trading was switched off".to_owned());
    }
    match readiness {
        Readiness::Halted(why) if opening || !permitted => return Some(format!("halted: {why}")),
        Readiness::Reconciling(why) if opening => return Some(format!("not reconciled: {why}")),
        Readiness::ReduceOnly(why) if opening || !(reduce_only || permitted) => {
            return Some(format!("reduce-only: {why}"));
        }
        Readiness::Halted(_)
        | Readiness::Reconciling(_)
        | Readiness::ReduceOnly(_)
        | Readiness::Ready => {}
    }
    if let Some(restriction) = restriction.filter(|_| opening || !permitted) {
        let why = || {
            Some(format!(
                "{} by {}: {}",
                restriction.state,
                restriction.id(),
                restriction.why
            ))
        };
        match restriction.state {
            TradingState::Halted => return why(),
            TradingState::ReduceOnly if opening => return why(),
            // A contender's is judged on its sleeve; the others on the venue's position, and the
            // venue holds it to that.
            TradingState::ReduceOnly
                if !reduce_only && !matches!(restriction.scope, Scope::Contender(_)) =>
            {
                return why();
            }
            TradingState::ReduceOnly | TradingState::Active => {}
        }
    }
    if unfit.is_some() {
        return unfit;
    }
    // The gate has looked at this; but a process may be stopped between the two, for any time.
    let age = now.since(decided_at);
    if !permitted && age > oldest {
        return Some(format!("it was decided {age} ago; at most {oldest}"));
    }
    if let Some(why) = good_for
        .filter(|_| opening)
        .and_then(|(good_for, price)| good_for.over(now, price))
    {
        return Some(why);
    }
    (now >= expires_at).then(|| "its time was over before there was room to send it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Bps, InstState, Instrument};

    const YOUNG: (Ms, Ms) = (Ms(0), Ms(1000));

    #[track_caller]
    fn look(
        on: bool,
        readiness: Readiness,
        (opening, permitted): (bool, bool),
        now: i64,
        expected: Option<&str>,
    ) {
        let leaving = Leaving {
            opening,
            reduce_only: !opening,
            permitted,
            decided: YOUNG,
            good_for: None,
            unfit: None,
        };
        let reason = reason_not_to_send(on, &readiness, None, leaving, Ms(now), Ms(100));
        match expected {
            None => assert_eq!(reason, None),
            Some(words) => assert!(reason.unwrap().contains(words)),
        }
    }

    #[track_caller]
    fn check(on: bool, readiness: Readiness, opening: bool, now: i64, expected: Option<&str>) {
        look(on, readiness, (opening, false), now, expected);
    }

    /// Switched off, halted or past its deadline since the gate; not reconciled and reduce-only
    /// block entries only.
    #[test]
    fn last_look_blocks_on_changed_state() {
        check(true, Readiness::Ready, true, 99, None);
        check(false, Readiness::Ready, false, 99, Some("switched off"));
        check(
            true,
            Readiness::Halted("x".into()),
            false,
            99,
            Some("halted"),
        );
        check(
            true,
            Readiness::Reconciling("x".into()),
            true,
            99,
            Some("not reconciled"),
        );
        check(true, Readiness::Reconciling("x".into()), false, 99, None);
        check(true, Readiness::Ready, true, 100, Some("time was over"));
        check(
            true,
            Readiness::ReduceOnly("x".into()),
            true,
            99,
            Some("reduce-only"),
        );
        check(true, Readiness::ReduceOnly("x".into()), false, 99, None);
    }

    /// Its good-for time is over or the price moved too far; an exit is still sent.
    #[test]
    fn stale_entry_is_not_sent() {
        let price = |text: &str| Some(text.parse::<Price>().unwrap());
        let good_for = GoodFor {
            until: Ms(50),
            price: price("100").unwrap(),
            within: Bps(10),
        };
        let check = |opening: bool, now: i64, at: Option<Price>, expected: Option<&str>| {
            let good_for = Some((good_for, at));
            let leaving = Leaving {
                opening,
                reduce_only: !opening,
                permitted: false,
                decided: YOUNG,
                good_for,
                unfit: None,
            };
            let reason =
                reason_not_to_send(true, &Readiness::Ready, None, leaving, Ms(now), Ms(100));
            assert_eq!(reason.as_deref(), expected);
        };
        check(true, 50, price("100.1"), None);
        check(true, 51, price("100.1"), Some("its time was over 1 ms ago"));
        check(
            true,
            50,
            price("100.2"),
            Some("the price has moved 20 bps since; at most 10"),
        );
        check(false, 51, price("110"), None);
    }

    /// Entry or exit decided too long ago, as after the process was stopped; a permitted protective
    /// order still goes.
    #[test]
    fn row_13_stale_decision_is_not_sent() {
        let check = |opening: bool, permitted: bool, now: i64, expected: Option<&str>| {
            let decided = (Ms(10), Ms(50));
            let leaving = Leaving {
                opening,
                reduce_only: !opening,
                permitted,
                decided,
                good_for: None,
                unfit: None,
            };
            let reason = reason_not_to_send(
                true,
                &Readiness::Ready,
                None,
                leaving,
                Ms(now),
                Ms(i64::MAX),
            );
            assert_eq!(reason.as_deref(), expected);
        };
        check(true, false, 60, None);
        check(
            true,
            false,
            61,
            Some("it was decided 51 ms ago; at most 50 ms"),
        );
        check(
            false,
            false,
            60_000,
            Some("it was decided 59990 ms ago; at most 50 ms"),
        );
        check(false, true, 60_000, None);
    }

    /// A permitted protective order is sent during a halt; an entry is not, nor is anything while
    /// trading is off.
    #[test]
    fn permit_passes_a_halt_only() {
        let halted = || Readiness::Halted("x".into());
        look(true, halted(), (false, true), 99, None);
        look(true, halted(), (true, true), 99, Some("halted"));
        look(false, halted(), (false, true), 99, Some("switched off"));
    }

    /// Size off the lot, price off the tick or a suspended instrument: not sent, be it entry, exit
    /// or permitted.
    #[test]
    fn row_52_current_venue_rules_apply() {
        let rules = crate::domain::instrument::tests::swap();
        let check = |qty: &str, limit: Option<&str>, state: &InstState, expected: Option<&str>| {
            let rules = Instrument {
                state: state.clone(),
                ..rules.clone()
            };
            let unfit = rules.why_unfit(qty.parse().unwrap(), limit.map(|px| px.parse().unwrap()));
            for (opening, permitted) in [(true, false), (false, false), (false, true)] {
                let unfit = unfit.clone();
                let leaving = Leaving {
                    opening,
                    reduce_only: !opening,
                    permitted,
                    decided: YOUNG,
                    good_for: None,
                    unfit,
                };
                let reason =
                    reason_not_to_send(true, &Readiness::Ready, None, leaving, Ms(0), Ms(100));
                assert_eq!(reason.as_deref(), expected);
            }
        };
        let suspended = InstState::Other("suspend".into());
        check("0.2", Some("100.05"), &InstState::Live, None);
        check("0.2", None, &InstState::Live, None);
        check(
            "0.25",
            None,
            &InstState::Live,
            Some("its size of 0.25 is not at least 0.1 in steps of 0.1"),
        );
        check(
            "0.05",
            None,
            &InstState::Live,
            Some("its size of 0.05 is not at least 0.1 in steps of 0.1"),
        );
        check(
            "0.2",
            Some("100.07"),
            &InstState::Live,
            Some("its price of 100.07 is not above 0 in steps of 0.05"),
        );
        check(
            "0.2",
            Some("0"),
            &InstState::Live,
            Some("its price of 0 is not above 0 in steps of 0.05"),
        );
        check(
            "0.2",
            None,
            &suspended,
            Some("ETH-USDT-SWAP is not live: suspend"),
        );
    }

    /// Halted blocks all but a permitted exit; reduce-only blocks entries and any exit neither
    /// reduce-only nor permitted.
    #[test]
    fn row_85_restriction_after_the_gate_holds() {
        let check = |state, opening, reduce_only, permitted, expected: Option<&str>| {
            let (why, cause) = ("w".to_owned(), "c".to_owned());
            let restriction = Restriction {
                scope: Scope::System,
                cause,
                state,
                why,
                since: Ms(0),
                until: None,
                flatten: false,
                flattened: false,
            };
            let leaving = Leaving {
                opening,
                reduce_only,
                permitted,
                decided: YOUNG,
                good_for: None,
                unfit: None,
            };
            let reason = reason_not_to_send(
                true,
                &Readiness::Ready,
                Some(&restriction),
                leaving,
                Ms(0),
                Ms(100),
            );
            assert_eq!(reason.as_deref(), expected);
        };
        let (halted, reduce) = (
            Some("halted by system/c: w"),
            Some("reduce_only by system/c: w"),
        );
        check(TradingState::Halted, true, false, false, halted);
        check(TradingState::Halted, false, true, false, halted);
        check(TradingState::Halted, false, true, true, None);
        check(TradingState::Halted, true, false, true, halted);
        check(TradingState::ReduceOnly, true, false, false, reduce);
        check(TradingState::ReduceOnly, false, true, false, None);
        check(TradingState::ReduceOnly, false, false, false, reduce);
        check(TradingState::ReduceOnly, false, false, true, None);
    }
}
