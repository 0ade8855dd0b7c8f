//! Trading states: what may leave, for the system, a contender or an instrument, and why.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ContenderId, InstId, Ms, Qty};

/// Kinds of orders that may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TradingState {
    #[default]
    Active,
    /// Only what brings a position nearer to zero, and never past it.
    ReduceOnly,
    /// Only what a permit names: a close by command, a repair of protection.
    Halted,
}

impl TradingState {
    /// The database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            TradingState::Active => "active",
            TradingState::ReduceOnly => "reduce_only",
            TradingState::Halted => "halted",
        }
    }
    /// Reads the database's word.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Active, Self::ReduceOnly, Self::Halted]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

impl fmt::Display for TradingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Scope that a trading state restricts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    System,
    Contender(ContenderId),
    Instrument(InstId),
}

impl Scope {
    /// Reads `system`, `contender:trend` or `instrument:BTC-USDT-SWAP`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            None if text == "system" => Some(Scope::System),
            Some(("contender", id)) if !id.is_empty() => Some(Scope::Contender(id.into())),
            Some(("instrument", id)) if !id.is_empty() => Some(Scope::Instrument(id.into())),
            _ => None,
        }
    }
    /// True if the scope restricts this contender in this instrument.
    pub fn covers(&self, contender: &ContenderId, inst: &InstId) -> bool {
        match self {
            Scope::System => true,
            Scope::Contender(id) => id == contender,
            Scope::Instrument(id) => id == inst,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::System => f.pad("system"),
            Scope::Contender(id) => write!(f, "contender:{id}"),
            Scope::Instrument(id) => write!(f, "instrument:{id}"),
        }
    }
}

/// One reason why a scope is restricted, as long as it is. Latched: it outlives the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restriction {
    pub scope: Scope,
    /// The rule's code, or `kill` for a person's halt.
    pub cause: String,
    pub state: TradingState,
    pub why: String,
    /// Venue time.
    pub since: Ms,
    /// Time at which it ends by itself, venue time; `None`: `resume` ends it.
    pub until: Option<Ms>,
    /// Positions in its scope are to be closed, and have not been seen closed yet.
    pub flatten: bool,
    /// True once the positions that were to be closed have been seen closed: the same reason does
    /// not ask again.
    pub flattened: bool,
}

impl Restriction {
    /// A person's halt of everything.
    pub fn kill(flatten: bool, why: &str, since: Ms) -> Self {
        let (cause, why) = (KILL.to_owned(), why.to_owned());
        Self {
            scope: Scope::System,
            cause,
            state: TradingState::Halted,
            why,
            since,
            until: None,
            flatten,
            flattened: false,
        }
    }

    /// Returns its name on the command line: `system/daily_loss`.
    pub fn id(&self) -> String {
        format!("{}/{}", self.scope, self.cause)
    }
}

/// The cause of a person's halt.
pub const KILL: &str = "kill";

/// All restrictions in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restrictions(pub Vec<Restriction>);

impl Restrictions {
    /// The strictest state for an order of a contender in an instrument, with the restriction that
    /// says so.
    pub fn of(&self, contender: &ContenderId, inst: &InstId) -> Option<&Restriction> {
        let covering = self.0.iter().filter(|r| r.scope.covers(contender, inst));
        // Of two alike the one that is judged on the venue's position.
        covering.max_by_key(|r| (r.state, !matches!(r.scope, Scope::Contender(_))))
    }

    /// The strictest state for a contender as a whole: the system's or its own.
    pub fn of_contender(&self, contender: &ContenderId) -> TradingState {
        self.state(&Scope::System)
            .max(self.state(&Scope::Contender(contender.clone())))
    }

    /// The strictest state of a scope itself.
    pub fn state(&self, scope: &Scope) -> TradingState {
        self.0
            .iter()
            .filter(|r| r.scope == *scope)
            .map(|r| r.state)
            .max()
            .unwrap_or_default()
    }

    /// Puts a restriction in force. `false`: one of its name, at least as strict, is already.
    pub fn latch(&mut self, new: Restriction) -> bool {
        if let Some(old) = self
            .0
            .iter_mut()
            .find(|r| r.scope == new.scope && r.cause == new.cause)
        {
            // For ever is longer than until any day.
            let ends = |r: &Restriction| r.until.map_or(i64::MAX, |until| until.0);
            let flatten = new.flatten && !old.flatten && !old.flattened;
            let stricter = new.state > old.state || flatten || ends(&new) > ends(old);
            if stricter {
                let until = if ends(&new) > ends(old) {
                    new.until
                } else {
                    old.until
                };
                let (state, flatten) = (new.state.max(old.state), flatten || old.flatten);
                *old = Restriction {
                    since: old.since,
                    state,
                    until,
                    flatten,
                    flattened: old.flattened,
                    ..new
                };
            }
            return stricter;
        }
        self.0.push(new);
        true
    }

    /// Takes out what has ended by itself.
    pub fn expire(&mut self, now: Ms) -> Vec<Restriction> {
        let over = |r: &Restriction| r.until.is_some_and(|until| now >= until);
        let (ended, kept) = std::mem::take(&mut self.0).into_iter().partition(over);
        self.0 = kept;
        ended
    }
}

/// Stop coverage of a position at the venue, and how long it was missing; wall time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Shield {
    /// Net of all sleeves, without sign.
    pub needed: Qty,
    /// Of that, what stops at the venue cover.
    pub covered: Qty,
    /// Since when some of it is bare, of the gate's own clock.
    #[serde(skip)]
    pub bare_since: Option<Ms>,
    /// Milliseconds without full cover: in all, and the longest.
    pub total_ms: i64,
    pub longest_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restriction(
        scope: &str,
        cause: &str,
        state: TradingState,
        until: Option<i64>,
    ) -> Restriction {
        let scope = Scope::parse(scope).unwrap();
        let until = until.map(Ms);
        Restriction {
            scope,
            cause: cause.into(),
            state,
            why: String::new(),
            since: Ms(1),
            until,
            flatten: false,
            flattened: false,
        }
    }

    /// Only restrictions that cover the order's contender or instrument count.
    #[test]
    fn strictest_applicable_restriction_wins() {
        let mut restrictions = Restrictions::default();
        assert!(restrictions.latch(restriction(
            "contender:a",
            "repeats",
            TradingState::ReduceOnly,
            None
        )));
        assert!(restrictions.latch(restriction(
            "instrument:X",
            "kill",
            TradingState::Halted,
            None
        )));
        let of =
            |who: &str, inst: &str| restrictions.of(&who.into(), &inst.into()).map(|r| r.state);
        assert_eq!(of("a", "X"), Some(TradingState::Halted));
        assert_eq!(of("a", "Y"), Some(TradingState::ReduceOnly));
        assert_eq!(of("b", "Y"), None);
    }

    /// Repeats change nothing, it never gets laxer or shorter, and flatten is not asked again once
    /// seen flat.
    #[test]
    fn latch_only_tightens_until_it_expires() {
        let mut restrictions = Restrictions::default();
        let daily = || restriction("system", "daily_loss", TradingState::ReduceOnly, Some(100));
        assert!(restrictions.latch(daily()) && !restrictions.latch(daily()));
        assert!(restrictions.latch(Restriction {
            state: TradingState::Halted,
            ..daily()
        }));
        assert!(!restrictions.latch(daily()), "never laxer");
        let manual = restriction("contender:a", "repeats", TradingState::ReduceOnly, None);
        assert!(restrictions.latch(manual.clone()));
        assert!(
            !restrictions.latch(Restriction {
                until: Some(Ms(500)),
                ..manual.clone()
            }),
            "for ever stays for ever"
        );
        assert!(restrictions.latch(Restriction {
            flatten: true,
            ..manual.clone()
        }));
        (restrictions.0[1].flatten, restrictions.0[1].flattened) = (false, true);
        assert!(
            !restrictions.latch(Restriction {
                flatten: true,
                ..manual
            }),
            "seen flat once is enough"
        );
        assert_eq!(restrictions.state(&Scope::System), TradingState::Halted);
        assert!(restrictions.expire(Ms(99)).is_empty());
        assert_eq!(restrictions.expire(Ms(100)).len(), 1);
        assert_eq!(restrictions.state(&Scope::System), TradingState::Active);
    }

    /// Merging keeps the start, the stricter state, the later end and an open flatten. Another
    /// cause or scope is a separate latch.
    #[test]
    fn merged_latch_keeps_start_and_strictest() {
        let put = |old: Restriction, new: Restriction| {
            let mut restrictions = Restrictions::default();
            restrictions.latch(old);
            let grown = restrictions.latch(new);
            (grown, restrictions.0.pop().unwrap())
        };
        let of = |state, until| restriction("system", "daily_loss", state, until);
        let (reduce, halt) = (TradingState::ReduceOnly, TradingState::Halted);
        // Longer, but laxer: the state stays, the end moves.
        let longer = Restriction {
            since: Ms(50),
            why: "again".into(),
            ..of(reduce, Some(300))
        };
        let (grown, kept) = put(of(halt, Some(100)), longer);
        assert!(grown);
        assert_eq!(
            (kept.state, kept.since, kept.until, kept.why.as_str()),
            (halt, Ms(1), Some(Ms(300)), "again")
        );
        // Stricter, but shorter: the end stays.
        let (grown, kept) = put(of(reduce, Some(300)), of(halt, Some(100)));
        assert_eq!((grown, kept.state, kept.until), (true, halt, Some(Ms(300))));
        let (grown, kept) = put(of(reduce, Some(300)), of(reduce, None));
        assert_eq!((grown, kept.until), (true, None));
        // As strict and as long: nothing new.
        assert!(!put(of(reduce, Some(300)), of(reduce, Some(300))).0);
        // A wish to be flat is kept until it was seen, and what was seen stays seen.
        let flat = |until| Restriction {
            flatten: true,
            ..of(halt, until)
        };
        assert!(put(flat(Some(100)), of(halt, Some(300))).1.flatten);
        let (grown, kept) = put(of(halt, Some(300)), flat(Some(300)));
        assert!(grown && kept.flatten && !kept.flattened);
        let seen = Restriction {
            flattened: true,
            ..of(halt, Some(100))
        };
        let (grown, kept) = put(seen, flat(Some(300)));
        assert!(grown && !kept.flatten && kept.flattened);
        // Another cause or scope is a latch of its own.
        let mut two = Restrictions::default();
        two.latch(of(reduce, None));
        assert!(two.latch(restriction("system", "drawdown", reduce, None)) && two.0.len() == 2);
        assert!(
            two.latch(restriction("contender:a", "daily_loss", reduce, None)) && two.0.len() == 3
        );
    }

    /// Of two equally strict ones the system's decides, since it is judged on the venue's position.
    #[test]
    fn system_restriction_wins_a_tie() {
        let mut restrictions = Restrictions::default();
        restrictions.latch(restriction(
            "system",
            "daily_loss",
            TradingState::ReduceOnly,
            None,
        ));
        restrictions.latch(restriction(
            "contender:a",
            "repeats",
            TradingState::ReduceOnly,
            None,
        ));
        assert_eq!(
            restrictions
                .of(&"a".into(), &"X".into())
                .map(Restriction::id),
            Some("system/daily_loss".to_owned())
        );
    }

    #[test]
    fn states_read_as_they_are_written() {
        for (state, word) in [
            (TradingState::Active, "active"),
            (TradingState::ReduceOnly, "reduce_only"),
            (TradingState::Halted, "halted"),
        ] {
            assert_eq!(
                (state.as_str(), TradingState::parse(word)),
                (word, Some(state))
            );
        }
        assert_eq!(TradingState::parse("open"), None);
    }

    #[test]
    fn scopes_read_as_they_are_written() {
        for text in ["system", "contender:trend", "instrument:BTC-USDT"] {
            assert_eq!(Scope::parse(text).unwrap().to_string(), text);
        }
        assert!(
            Scope::parse("instrument:").is_none()
                && Scope::parse("contender:").is_none()
                && Scope::parse("all").is_none()
        );
    }
}
