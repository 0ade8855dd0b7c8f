//! The life of an order: thirteen states and the moves between them.
//!
//! [`OrderState::on`] is the whole table: (state, event) → state. The database holds the same pairs
//! in `order_transitions`, with a trigger that refuses any other (a test compares the two), so a
//! bug cannot write an illegal step.

use serde::{Deserialize, Serialize};

/// Life-cycle state of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Proposed, nothing durable behind it yet.
    Created,
    /// Trading was off: kept in full, never sent. Final.
    Suppressed,
    /// The risk gate said no. Final.
    Blocked,
    /// Durable; may be on the wire.
    Intended,
    /// Bytes were written, or the attempt began.
    Sent,
    /// The outcome is not proven. Only the venue can say.
    Unknown,
    /// The venue has it.
    Acked,
    /// Part of it is filled, the rest works.
    PartiallyFilled,
    /// We asked for a cancel; the venue has not said how it ended.
    CancelRequested,
    /// Filled in full. Final.
    Filled,
    /// Cancelled, perhaps after fills. Final.
    Canceled,
    /// The venue refused it. Final.
    Rejected,
    /// Never reached the book: not sent, too late, or proven absent. Final.
    Expired,
}

use OrderState::*;

/// A step the table does not have, with both halves in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an order cannot go from {from} to {to}")]
pub struct IllegalMove {
    pub from: OrderState,
    pub to: OrderState,
}

impl OrderState {
    /// All of them, in the order of a life.
    pub const ALL: [OrderState; 13] = [
        Created,
        Suppressed,
        Blocked,
        Intended,
        Sent,
        Unknown,
        Acked,
        PartiallyFilled,
        CancelRequested,
        Filled,
        Canceled,
        Rejected,
        Expired,
    ];

    /// The database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Created => "created",
            Suppressed => "suppressed",
            Blocked => "blocked",
            Intended => "intended",
            Sent => "sent",
            Unknown => "unknown",
            Acked => "acked",
            PartiallyFilled => "partially_filled",
            CancelRequested => "cancel_requested",
            Filled => "filled",
            Canceled => "canceled",
            Rejected => "rejected",
            Expired => "expired",
        }
    }

    /// Reads the database's word.
    pub fn parse(text: &str) -> Option<OrderState> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// True if nothing more can happen, except that a cancelled order may still learn of a late
    /// fill.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Suppressed | Blocked | Filled | Canceled | Rejected | Expired
        )
    }

    /// True if the order may be alive at the venue, as far as we know.
    pub const fn may_be_live(self) -> bool {
        matches!(
            self,
            Intended | Sent | Unknown | Acked | PartiallyFilled | CancelRequested
        )
    }

    /// Returns the state of an order after an event: the whole transition table.
    ///
    /// # Errors
    /// When it cannot happen in this state: somebody's word contradicts what we know.
    pub const fn on(self, event: Happened) -> Result<OrderState, IllegalMove> {
        use Happened as H;
        let to = event.leads_to();
        let legal = match (self, event) {
            (Created, H::Suppressed | H::Blocked | H::Intended | H::Lapsed) => true,
            (Created, _) => false,
            // A latch that went off between the gate and the first byte.
            (Intended, H::Suppressed | H::Sent) => true,
            // On its way out, or out with an outcome nobody has told us: all is possible.
            (Intended | Sent, H::Doubted) => true,
            (
                Intended | Sent | Unknown,
                H::Lapsed
                | H::Refused
                | H::Shown
                | H::PartFilled
                | H::CancelAsked
                | H::Filled
                | H::Canceled,
            ) => true,
            // Once the venue has it, it is never refused and never lapses.
            (Acked, H::PartFilled | H::CancelAsked | H::Filled | H::Canceled | H::Doubted) => true,
            (PartiallyFilled, H::CancelAsked | H::Filled | H::Canceled | H::Doubted) => true,
            // A cancel may be refused, or lose against fills.
            (CancelRequested, H::Shown | H::PartFilled | H::Filled | H::Canceled | H::Doubted) => {
                true
            }
            (Intended | Sent | Unknown | Acked | PartiallyFilled | CancelRequested, _) => false,
            (Suppressed | Blocked | Filled | Canceled | Rejected | Expired, _) => false,
        };
        if legal {
            Ok(to)
        } else {
            Err(IllegalMove { from: self, to })
        }
    }

    /// Returns the states that may follow this one.
    pub fn next(self) -> impl Iterator<Item = OrderState> {
        Happened::ALL
            .into_iter()
            .filter_map(move |event| self.on(event).ok())
    }

    /// One step, or why not.
    ///
    /// # Errors
    /// When nothing that can happen in this state leads there.
    pub fn go(self, to: OrderState) -> Result<OrderState, IllegalMove> {
        match Happened::ALL
            .into_iter()
            .find(|event| event.leads_to() == to)
        {
            Some(event) => self.on(event),
            None => Err(IllegalMove { from: self, to }),
        }
    }
}

/// Events in the life of an order. Each leads to one state, if it can happen at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happened {
    /// Trading is off: kept, not sent.
    Suppressed,
    /// The gate said no.
    Blocked,
    /// Written ahead.
    Intended,
    /// The attempt to send it began.
    Sent,
    /// No clear answer came, or the process ended before one was stored.
    Doubted,
    /// The venue shows it working, nothing filled.
    Shown,
    /// The venue shows it working, part of it filled.
    PartFilled,
    /// We asked for a cancel.
    CancelAsked,
    /// All of it is filled.
    Filled,
    /// The venue ended it before all was filled.
    Canceled,
    /// The venue said no, in so many words.
    Refused,
    /// Never sent, too late, or proven not to exist at the venue.
    Lapsed,
}

impl Happened {
    /// All of them.
    pub const ALL: [Happened; 12] = {
        use Happened as H;
        [
            H::Suppressed,
            H::Blocked,
            H::Intended,
            H::Sent,
            H::Doubted,
            H::Shown,
            H::PartFilled,
            H::CancelAsked,
            H::Filled,
            H::Canceled,
            H::Refused,
            H::Lapsed,
        ]
    };

    /// The state that an order is in afterwards.
    pub const fn leads_to(self) -> OrderState {
        use Happened as H;
        match self {
            H::Suppressed => Suppressed,
            H::Blocked => Blocked,
            H::Intended => Intended,
            H::Sent => Sent,
            H::Doubted => Unknown,
            H::Shown => Acked,
            H::PartFilled => PartiallyFilled,
            H::CancelAsked => CancelRequested,
            H::Filled => Filled,
            H::Canceled => Canceled,
            H::Refused => Rejected,
            H::Lapsed => Expired,
        }
    }
}

impl std::fmt::Display for OrderState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state's name parses back.
    #[test]
    fn only_final_states_have_no_transitions() {
        for state in OrderState::ALL {
            assert_eq!(state.next().count() == 0, state.is_final(), "{state}");
            assert_eq!(OrderState::parse(state.as_str()), Some(state));
        }
    }

    /// The table has 43 legal pairs; a change needs a migration of order_transitions too.
    #[test]
    fn unlisted_transitions_are_refused() {
        let mut legal = 0;
        for from in OrderState::ALL {
            for to in OrderState::ALL {
                match from.go(to) {
                    Ok(_) => legal += 1,
                    Err(refused) => assert_eq!(refused, IllegalMove { from, to }),
                }
            }
        }
        assert_eq!(
            legal, 43,
            "the table changed: change order_transitions in a new migration too"
        );
    }

    /// Nor does it expire, in any of the three states in which the venue has it.
    #[test]
    fn acknowledged_order_is_never_rejected() {
        for state in [Acked, PartiallyFilled, CancelRequested] {
            assert!(
                state.go(Rejected).is_err() && state.go(Expired).is_err(),
                "{state}"
            );
        }
    }
}
