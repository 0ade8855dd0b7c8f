//! May this leave? One table over the trading switch, readiness and restrictions, for each kind of
//! departure. The gate, the last look, the guard, the executor, the control socket and `status` ask
//! it (P5).
//!
//! | | switch off | ready | doubt: reconciling or reduce-only | restricted: reduce-only | halted |
//! | --- | --- | --- | --- | --- | --- |
//! | open | no | yes | no | what reduces | no |
//! | reduce | no | yes | within the venue's position | within what is restricted | no |
//! | protect | no | yes | yes | yes | yes |
//! | cancel | no | yes | yes | yes | yes |

use std::fmt;

use super::{ContenderId, InstId, Readiness, Restriction, Restrictions, Scope, TradingState};

/// Kind of request that is to leave for the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// An order that may enlarge a position.
    Open,
    /// An order that only takes off.
    Reduce,
    /// A stop order, or an order with a permit: a close by name, a repair.
    Protect,
    /// Taking back an order, or renewing what does so.
    Cancel,
}

/// State that decides what may leave.
#[derive(Clone, Copy, Debug)]
pub struct Permission<'a> {
    /// True while the trading switch is on.
    pub trading_on: bool,
    pub readiness: &'a Readiness,
    pub restrictions: &'a Restrictions,
}

/// One reason against a departure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection<'a> {
    SwitchedOff,
    Restricted(&'a Restriction),
    Reconciling(&'a str),
    ReduceOnly(&'a str),
    Halted(&'a str),
}

/// Answer to a departure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave<'a> {
    Yes,
    /// An order that reduces, within what there is to reduce.
    Reducing(Reducing<'a>),
    /// Everything that forbids it by itself, a restriction first.
    No(Vec<Objection<'a>>),
}

/// Holdings that an order must stay within, and the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reducing<'a> {
    /// Reconciliation is in doubt: within the venue's position.
    pub doubt: bool,
    /// The system or the instrument is restricted: within the venue's position.
    pub venue: bool,
    /// The contender is restricted: within its sleeve.
    pub sleeve: bool,
    pub objections: Vec<Objection<'a>>,
}

impl<'a> Permission<'a> {
    /// Answers for an order, a stop or a cancel of a contender in an instrument.
    pub fn leave(&self, what: Departure, contender: &ContenderId, inst: &InstId) -> Leave<'a> {
        if let Some(leave) = self.by_switch(what) {
            return leave;
        }
        let covering = self
            .restrictions
            .0
            .iter()
            .filter(|r| r.scope.covers(contender, inst));
        let reduce_only = covering.filter(|r| r.state == TradingState::ReduceOnly);
        let (own, shared): (Vec<_>, Vec<_>) =
            reduce_only.partition(|r| matches!(r.scope, Scope::Contender(_)));
        let restricted = self.restrictions.of(contender, inst);
        let restricted = restricted.filter(|r| r.state != TradingState::Active);
        let doubt = self.doubt();
        // What forbids it by itself; the rest only holds it to what there is to reduce.
        let halted = restricted.filter(|r| r.state == TradingState::Halted);
        let forbids = |doubt: &Objection<'_>| {
            what == Departure::Open || matches!(doubt, Objection::Halted(_))
        };
        let against: Vec<_> = halted
            .map(Objection::Restricted)
            .into_iter()
            .chain(doubt.filter(|doubt| forbids(doubt)))
            .collect();
        if !against.is_empty() {
            return Leave::No(against);
        }
        let objections: Vec<_> = restricted
            .map(Objection::Restricted)
            .into_iter()
            .chain(doubt)
            .collect();
        if objections.is_empty() {
            return Leave::Yes;
        }
        Leave::Reducing(Reducing {
            doubt: doubt.is_some(),
            venue: !shared.is_empty(),
            sleeve: !own.is_empty(),
            objections,
        })
    }

    /// True if protection or a cancel may leave, whosever it is.
    pub fn lets(&self, what: Departure) -> bool {
        debug_assert!(
            matches!(what, Departure::Protect | Departure::Cancel),
            "{what:?}"
        );
        self.by_switch(what) == Some(Leave::Yes)
    }

    /// The answer where the switch alone decides.
    fn by_switch(&self, what: Departure) -> Option<Leave<'a>> {
        match (self.trading_on, what) {
            (false, _) => Some(Leave::No(vec![Objection::SwitchedOff])),
            (true, Departure::Protect | Departure::Cancel) => Some(Leave::Yes),
            (true, Departure::Open | Departure::Reduce) => None,
        }
    }

    /// True if an order of a contender may go on resting at the venue. What reduces is taken back
    /// only by a restriction that halts: an incident leaves it to a person.
    pub fn rests(&self, opening: bool, contender: &ContenderId, inst: &InstId) -> bool {
        let state = self
            .restrictions
            .of(contender, inst)
            .map(|r| r.state)
            .unwrap_or_default();
        match (state, self.readiness) {
            (TradingState::Halted, _) => false,
            (TradingState::ReduceOnly, _) => !opening,
            // While reconciling nothing is known that speaks against it.
            (TradingState::Active, Readiness::Ready | Readiness::Reconciling(_)) => true,
            (TradingState::Active, Readiness::ReduceOnly(_) | Readiness::Halted(_)) => !opening,
        }
    }

    /// State of the system as a whole for people, and its reason: the stricter of what
    /// reconciliation and what the restrictions say.
    pub fn state(&self) -> (&'static str, String) {
        let system = self
            .restrictions
            .0
            .iter()
            .filter(|r| r.scope == Scope::System);
        let system = system.max_by_key(|r| r.state);
        let by_restriction = match self.readiness {
            Readiness::Halted(_) => None,
            Readiness::Reconciling(_) => system.filter(|r| r.state == TradingState::Halted),
            Readiness::Ready | Readiness::ReduceOnly(_) => system,
        };
        match by_restriction {
            Some(r) => (r.state.as_str(), format!("{}: {}", r.id(), r.why)),
            None => (
                self.readiness.name(),
                self.readiness.why().unwrap_or_default().to_owned(),
            ),
        }
    }

    fn doubt(&self) -> Option<Objection<'a>> {
        match self.readiness {
            Readiness::Ready => None,
            Readiness::Reconciling(why) => Some(Objection::Reconciling(why)),
            Readiness::ReduceOnly(why) => Some(Objection::ReduceOnly(why)),
            Readiness::Halted(why) => Some(Objection::Halted(why)),
        }
    }
}

impl<'a> Reducing<'a> {
    /// Objection of the venue's position: a restriction before doubt. `None`: only the sleeve
    /// limits it.
    pub fn at_venue(&self) -> Option<&Objection<'a>> {
        match (self.venue, self.doubt) {
            (true, _) => self.objections.first(),
            (false, true) => self.objections.last(),
            (false, false) => None,
        }
    }
}

impl Objection<'_> {
    /// Code of the breach, and what the limit is.
    pub const fn code(&self) -> (&'static str, &'static str) {
        match self {
            Objection::SwitchedOff => ("trading_off", "on"),
            Objection::Restricted(r) => match r.state {
                TradingState::Halted => ("trading_halted", "active or reduce_only"),
                TradingState::ReduceOnly | TradingState::Active => {
                    ("reduce_only", "an order that reduces")
                }
            },
            Objection::Reconciling(_) => ("not_reconciled", "ready"),
            Objection::ReduceOnly(_) => ("reduce_only", "ready"),
            Objection::Halted(_) => ("halted", "ready"),
        }
    }

    /// Reason without the kind of the objection, for a breach.
    pub fn why(&self) -> String {
        match self {
            Objection::SwitchedOff => "off".to_owned(),
            Objection::Restricted(r) => format!("{} {}: {}", r.state, r.id(), r.why),
            Objection::Reconciling(why) | Objection::ReduceOnly(why) | Objection::Halted(why) => {
                (*why).to_owned()
            }
        }
    }
}

impl fmt::Display for Objection<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Objection::SwitchedOff => f.write_str("trading was switched off"),
            Objection::Restricted(r) => write!(f, "{} by {}: {}", r.state, r.id(), r.why),
            Objection::Reconciling(why) => write!(f, "not reconciled: {why}"),
            Objection::ReduceOnly(why) => write!(f, "reduce-only: {why}"),
            Objection::Halted(why) => write!(f, "halted: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Ms;
    use TradingState::{Active, Halted, ReduceOnly};

    const DEPARTURES: [Departure; 4] = [
        Departure::Open,
        Departure::Reduce,
        Departure::Protect,
        Departure::Cancel,
    ];

    fn restriction(scope: Scope, state: TradingState) -> Restriction {
        Restriction {
            scope,
            state,
            ..Restriction::kill(false, "why", Ms(1))
        }
    }

    fn scopes() -> [Scope; 5] {
        let (us, here) = (ContenderId::from("us"), InstId::new("BTC-USDT-SWAP"));
        let (others, there) = (ContenderId::from("others"), InstId::new("ETH-USDT-SWAP"));
        [
            Scope::System,
            Scope::Instrument(here),
            Scope::Contender(us),
            Scope::Instrument(there),
            Scope::Contender(others),
        ]
    }

    fn ready() -> [Readiness; 4] {
        let why = || "why".to_owned();
        [
            Readiness::Ready,
            Readiness::Reconciling(why()),
            Readiness::ReduceOnly(why()),
            Readiness::Halted(why()),
        ]
    }

    /// Strictness of an answer, and the venue, sleeve and doubt it is held to.
    fn told(leave: &Leave<'_>) -> (&'static str, [bool; 3]) {
        match leave {
            Leave::Yes => ("yes", [false; 3]),
            Leave::Reducing(r) => ("reducing", [r.doubt, r.venue, r.sleeve]),
            Leave::No(_) => ("no", [false; 3]),
        }
    }

    /// Every switch, readiness, departure and pair of restrictions: what each may and may not.
    #[test]
    fn table_holds_for_every_combination() {
        let (us, here) = (ContenderId::from("us"), InstId::new("BTC-USDT-SWAP"));
        let states = [Active, ReduceOnly, Halted];
        let mut seen = 0;
        let all: Vec<Restriction> = scopes()
            .into_iter()
            .flat_map(|scope| states.map(|state| restriction(scope.clone(), state)))
            .collect();
        for (a, b) in all.iter().flat_map(|a| all.iter().map(move |b| (a, b))) {
            let restrictions = Restrictions(vec![a.clone(), b.clone()]);
            let ours = |r: &&Restriction| r.scope.covers(&us, &here);
            let strictest = [a, b].into_iter().filter(ours).map(|r| r.state).max();
            let strictest = strictest.unwrap_or_default();
            for readiness in &ready() {
                for (trading_on, what) in [true, false]
                    .into_iter()
                    .flat_map(|on| DEPARTURES.map(|what| (on, what)))
                {
                    seen += 1;
                    let permission = Permission {
                        trading_on,
                        readiness,
                        restrictions: &restrictions,
                    };
                    let leave = permission.leave(what, &us, &here);
                    let doubt = !matches!(readiness, Readiness::Ready);
                    let expected = match (trading_on, what) {
                        (false, _) => "no",
                        (true, Departure::Protect | Departure::Cancel) => "yes",
                        (true, _) if strictest == Halted => "no",
                        (true, _) if matches!(readiness, Readiness::Halted(_)) => "no",
                        (true, Departure::Open) if doubt => "no",
                        (true, _) if doubt || strictest == ReduceOnly => "reducing",
                        (true, _) => "yes",
                    };
                    assert_eq!(told(&leave).0, expected, "{permission:?} {what:?}");
                    if let Leave::Reducing(held) = &leave {
                        let limits = |scope: fn(&Scope) -> bool| {
                            let of = |r: &&Restriction| r.state == ReduceOnly && scope(&r.scope);
                            [a, b].into_iter().filter(ours).any(|r| of(&r))
                        };
                        let own = |scope: &Scope| matches!(scope, Scope::Contender(_));
                        assert_eq!(held.doubt, doubt);
                        assert_eq!(held.sleeve, limits(own));
                        assert_eq!(
                            held.venue,
                            limits(|scope| !matches!(scope, Scope::Contender(_)))
                        );
                        assert!(!held.objections.is_empty());
                    }
                    // Whoever may open may reduce, whoever may reduce may protect and cancel.
                    let order = |what| match told(&permission.leave(what, &us, &here)).0 {
                        "yes" => 2,
                        "reducing" => 1,
                        _ => 0,
                    };
                    let may = DEPARTURES.map(order);
                    assert!(
                        may[0] <= may[1] && may[1] <= may[2] && may[2] == may[3],
                        "{may:?}"
                    );
                    for what in [Departure::Protect, Departure::Cancel] {
                        let leaves = permission.leave(what, &us, &here) == Leave::Yes;
                        assert_eq!(permission.lets(what), leaves);
                    }
                    // What may leave may rest.
                    for (what, opening) in [(Departure::Open, true), (Departure::Reduce, false)] {
                        let leaves = permission.leave(what, &us, &here) == Leave::Yes;
                        assert!(!leaves || permission.rests(opening, &us, &here));
                    }
                }
            }
        }
        assert_eq!(seen, 15 * 15 * 4 * 8);
    }

    /// Resting orders that open go on any doubt or restriction; those that close go only on a halt.
    #[test]
    fn doubt_cancels_resting_entries_not_exits() {
        let (us, here) = (ContenderId::from("us"), InstId::new("BTC-USDT-SWAP"));
        let [ready, reconciling, reduce_only, halted] = ready();
        for (state, readiness, opening, expected) in [
            (Active, &ready, true, true),
            (Active, &reconciling, true, true),
            (Active, &reduce_only, true, false),
            (Active, &halted, true, false),
            (Active, &halted, false, true),
            (ReduceOnly, &ready, true, false),
            (ReduceOnly, &halted, false, true),
            (Halted, &ready, false, false),
        ] {
            let restrictions = Restrictions(vec![restriction(Scope::System, state)]);
            let permission = Permission {
                trading_on: true,
                readiness,
                restrictions: &restrictions,
            };
            let rests = permission.rests(opening, &us, &here);
            assert_eq!(rests, expected, "{state:?} {readiness:?} {opening}");
        }
    }

    /// The stricter one is told; an incident's halt before a restriction, a restriction's halt
    /// before a start that is not reconciled yet.
    #[test]
    fn state_tells_the_stricter_reason() {
        let [ready, reconciling, reduce_only, halted] = ready();
        for (state, readiness, expected) in [
            (Active, &ready, "active"),
            (Active, &reconciling, "reconciling"),
            (Active, &halted, "halted"),
            (ReduceOnly, &ready, "reduce_only"),
            (ReduceOnly, &reconciling, "reconciling"),
            (ReduceOnly, &reduce_only, "reduce_only"),
            (ReduceOnly, &halted, "halted"),
            (Halted, &ready, "halted"),
            (Halted, &reconciling, "halted"),
        ] {
            let restrictions = match state {
                Active => Restrictions::default(),
                state => Restrictions(vec![restriction(Scope::System, state)]),
            };
            let permission = Permission {
                trading_on: true,
                readiness,
                restrictions: &restrictions,
            };
            assert_eq!(permission.state().0, expected, "{state:?} {readiness:?}");
        }
    }
}
