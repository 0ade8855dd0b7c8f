//! The last look, just before the bytes. Pure: what has changed since the gate approved it?

use crate::domain::{Departure, GoodFor, Leave, Ms, Price};

/// Facts the last look knows about the order itself.
#[derive(Clone, Debug)]
pub struct Leaving {
    pub opening: bool,
    /// A resting order's move: while reconciliation is in doubt it takes nothing more than it did.
    pub is_move: bool,
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

impl Leaving {
    /// Kind of request that it is to the permission.
    pub fn departure(&self) -> Departure {
        match (self.opening, self.permitted) {
            (true, _) => Departure::Open,
            (false, true) => Departure::Protect,
            (false, false) => Departure::Reduce,
        }
    }
}

/// Why an approved order must not leave after all; `None`: send it. `leave` is the permission of now
/// for its [`Leaving::departure`].
pub fn reason_not_to_send(
    leave: &Leave<'_>,
    Leaving {
        opening,
        is_move,
        reduce_only,
        permitted,
        decided: (decided_at, oldest),
        good_for,
        unfit,
    }: Leaving,
    now: Ms,
    expires_at: Ms,
) -> Option<String> {
    match leave {
        Leave::Yes => {}
        Leave::No(objections) => return objections.first().map(ToString::to_string),
        // A contender's restriction is judged on its sleeve; the others on the venue's position, and
        // the venue holds the order to that.
        Leave::Reducing(held_to) => {
            let by_venue = held_to.at_venue().filter(|_| held_to.venue || !is_move);
            let why = match opening {
                true => held_to.objections.first(),
                false => by_venue.filter(|_| !reduce_only),
            };
            if why.is_some() {
                return why.map(ToString::to_string);
            }
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
    use crate::domain::{
        Bps, InstState, Instrument, Permission, Readiness, Restriction, Restrictions, Scope,
        TradingState,
    };

    const YOUNG: (Ms, Ms) = (Ms(0), Ms(1000));

    /// The last look under a permission.
    fn reason(
        trading_on: bool,
        readiness: &Readiness,
        restrictions: Restrictions,
        leaving: Leaving,
        (now, expires_at): (i64, i64),
    ) -> Option<String> {
        let permission = Permission {
            trading_on,
            readiness,
            restrictions: &restrictions,
        };
        let leave = permission.leave(leaving.departure(), &"us".into(), &"BTC-USDT-SWAP".into());
        reason_not_to_send(&leave, leaving, Ms(now), Ms(expires_at))
    }

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
            is_move: false,
            reduce_only: !opening,
            permitted,
            decided: YOUNG,
            good_for: None,
            unfit: None,
        };
        let reason = reason(on, &readiness, Restrictions::default(), leaving, (now, 100));
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

    /// An exit that the venue does not hold to the position waits while in doubt; the move of one
    /// that rests does not.
    #[test]
    fn doubt_needs_reduce_only_at_the_venue() {
        for doubt in [
            Readiness::Reconciling("x".into()),
            Readiness::ReduceOnly("x".into()),
        ] {
            for (is_move, reduce_only, sent) in [
                (false, false, false),
                (false, true, true),
                (true, false, true),
            ] {
                let leaving = Leaving {
                    opening: false,
                    is_move,
                    reduce_only,
                    permitted: false,
                    decided: YOUNG,
                    good_for: None,
                    unfit: None,
                };
                let reason = reason(true, &doubt, Restrictions::default(), leaving, (99, 100));
                assert_eq!(
                    reason.is_none(),
                    sent,
                    "{doubt:?} {is_move} {reduce_only}: {reason:?}"
                );
            }
        }
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
                is_move: false,
                reduce_only: !opening,
                permitted: false,
                decided: YOUNG,
                good_for,
                unfit: None,
            };
            let reason = reason(
                true,
                &Readiness::Ready,
                Restrictions::default(),
                leaving,
                (now, 100),
            );
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
                is_move: false,
                reduce_only: !opening,
                permitted,
                decided,
                good_for: None,
                unfit: None,
            };
            let reason = reason(
                true,
                &Readiness::Ready,
                Restrictions::default(),
                leaving,
                (now, i64::MAX),
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
                    is_move: false,
                    reduce_only: !opening,
                    permitted,
                    decided: YOUNG,
                    good_for: None,
                    unfit,
                };
                let reason = reason(
                    true,
                    &Readiness::Ready,
                    Restrictions::default(),
                    leaving,
                    (0, 100),
                );
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
                is_move: false,
                reduce_only,
                permitted,
                decided: YOUNG,
                good_for: None,
                unfit: None,
            };
            let reason = reason(
                true,
                &Readiness::Ready,
                Restrictions(vec![restriction]),
                leaving,
                (0, 100),
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
