//! Why trading is halted: a closed list of reasons, each with the command that ends it.

use serde::{Deserialize, Serialize};

use super::{InstId, Ms, OrderId};

/// A reason to halt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentKind {
    /// The venue said two things of one order that cannot both be true.
    Contradiction,
    /// An order with our prefix that this database did not make.
    Stray,
    /// The venue refuses our orders for a reason that only a person can mend.
    Refused,
    /// The outcome of an order has been unknown for too long.
    UnknownLong,
    /// Too many instruments have an order whose outcome is unknown.
    UnknownMany,
    /// Comparing with the venue again and again did not end in agreement.
    Unconverged,
    /// The venue's position is not the one our fills make.
    Position,
    /// The venue's cash is not what our fills and the venue's bills make.
    Cash,
    /// Another connection of this account listens to its orders: a second bot.
    SecondInstance,
    /// An order of ours that somebody has enlarged at the venue.
    Enlarged,
    /// A fill was booked as it was told first, and the venue's list tells it otherwise.
    Corrected,
}

impl IncidentKind {
    /// All of them.
    pub const ALL: [IncidentKind; 11] = [
        IncidentKind::Contradiction,
        IncidentKind::Stray,
        IncidentKind::Refused,
        IncidentKind::UnknownLong,
        IncidentKind::UnknownMany,
        IncidentKind::Unconverged,
        IncidentKind::Position,
        IncidentKind::Cash,
        IncidentKind::SecondInstance,
        IncidentKind::Enlarged,
        IncidentKind::Corrected,
    ];

    /// Returns its name in incident ids and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            IncidentKind::Contradiction => "contradiction",
            IncidentKind::Stray => "stray",
            IncidentKind::Refused => "refused",
            IncidentKind::UnknownLong => "unknown-long",
            IncidentKind::UnknownMany => "unknown-many",
            IncidentKind::Unconverged => "unconverged",
            IncidentKind::Position => "position",
            IncidentKind::Cash => "cash",
            IncidentKind::SecondInstance => "second-instance",
            IncidentKind::Enlarged => "enlarged",
            IncidentKind::Corrected => "corrected",
        }
    }

    /// Reads the database's word.
    pub fn parse(text: &str) -> Option<IncidentKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// True if orders that take risk off may still be sent while it lasts.
    pub const fn lets_reduce(self) -> bool {
        matches!(
            self,
            IncidentKind::UnknownLong
                | IncidentKind::UnknownMany
                | IncidentKind::Unconverged
                | IncidentKind::Corrected
        )
    }

    /// True if it ends without a person once the venue's reports no longer support it.
    pub const fn passes(self) -> bool {
        use IncidentKind as T;
        matches!(
            self,
            T::UnknownLong | T::UnknownMany | T::Unconverged | T::SecondInstance | T::Corrected
        )
    }

    /// Returns what a person does about it, and what accepting the incident means.
    pub const fn cure(self) -> &'static str {
        match self {
            IncidentKind::Contradiction => {
                "look at the order on the venue's page; `reconcile --accept` keeps what we hold of it and goes on, \
                 the audit of positions tells if that was wrong; `close` makes the instrument flat first"
            }
            IncidentKind::Stray => {
                "it is being cancelled; was a backup restored, or does another bot use this key with our prefix? Stop it, \
                 then `reconcile --accept`: what that order filled is counted as not ours"
            }
            IncidentKind::Refused => {
                "mend what the venue complains of (key, permission, account), then `reconcile --accept`"
            }
            IncidentKind::UnknownLong => {
                "ends by itself when the venue answers; if its page shows that the order does not exist, `reconcile --accept` \
                 writes it off as proven by you"
            }
            IncidentKind::UnknownMany => {
                "ends by itself when the venue answers; `reconcile --accept` lifts it for the orders open now"
            }
            IncidentKind::Unconverged => {
                "`reconcile --accept` counts anew; look at the named orders on the venue's page"
            }
            IncidentKind::Position => {
                "somebody else traded here: `reconcile --accept` takes the venue's position as it is (what is missing is taken \
                 from the sleeves, what is too much is counted as not ours); or `close` makes the instrument flat"
            }
            IncidentKind::Cash => {
                "look at the venue's bills; `reconcile --accept` takes the venue's balance as it is"
            }
            IncidentKind::SecondInstance => {
                "stop the other one; ends by itself once we listen alone, `reconcile --accept` looks again"
            }
            IncidentKind::Enlarged => {
                "somebody amended our order at the venue: what it fills is counted and protected; find out who did, then \
                 `reconcile --accept` goes on with it as it is, or `cancel` takes it back"
            }
            IncidentKind::Corrected => {
                "the fill is booked as the venue's list has it; ends by itself when the account agrees with that, \
                 `reconcile --accept` ends it at once"
            }
        }
    }
}

impl std::fmt::Display for IncidentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One reason why something is halted, as long as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    pub kind: IncidentKind,
    /// Subject of the incident: an order, an instrument, a currency.
    pub subject: String,
    /// The instrument that is halted; `None`: everything.
    pub scope: Option<InstId>,
    pub why: String,
    /// Venue time.
    pub opened: Ms,
    /// Orders that the venue contradicts itself about: set aside once the incident is accepted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderId>,
}

impl Incident {
    /// Returns its name on the command line: `position:BTC-USDT-SWAP`.
    pub fn id(&self) -> String {
        if self.subject.is_empty() {
            self.kind.to_string()
        } else {
            format!("{}:{}", self.kind, self.subject)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each one's name parses back, and its cure names `reconcile --accept`.
    #[test]
    fn every_reason_names_its_cure() {
        for kind in IncidentKind::ALL {
            assert_eq!(IncidentKind::parse(kind.as_str()), Some(kind));
            assert!(kind.cure().contains("reconcile --accept"), "{kind}");
        }
    }
}
