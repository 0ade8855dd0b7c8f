//! The life of an order: thirteen states and the moves between them.
//!
//! [`OrderState::next`] is the whole table. The database holds the same pairs in `order_transitions`, with a
//! trigger that refuses any other (a test compares the two), so a bug cannot write an illegal step.

use serde::{Deserialize, Serialize};

/// Where an order is in its life.
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

    /// Nothing more can happen, except that a cancelled order may still learn of a late fill.
    pub const fn is_final(self) -> bool {
        matches!(self, Suppressed | Blocked | Filled | Canceled | Rejected | Expired)
    }

    /// May it be alive at the venue, as far as we know?
    pub const fn may_be_live(self) -> bool {
        matches!(self, Intended | Sent | Unknown | Acked | PartiallyFilled | CancelRequested)
    }

    /// Where it may go from here.
    pub const fn next(self) -> &'static [OrderState] {
        match self {
            Created => &[Suppressed, Blocked, Intended, Expired],
            Intended => &[
                Sent,
                Unknown,
                Suppressed,
                Acked,
                PartiallyFilled,
                CancelRequested,
                Filled,
                Canceled,
                Rejected,
                Expired,
            ],
            Sent => &[Acked, PartiallyFilled, CancelRequested, Filled, Canceled, Rejected, Unknown, Expired],
            Unknown => &[Acked, PartiallyFilled, CancelRequested, Filled, Canceled, Rejected, Expired],
            Acked => &[PartiallyFilled, Filled, CancelRequested, Canceled, Unknown],
            PartiallyFilled => &[Filled, CancelRequested, Canceled, Unknown],
            CancelRequested => &[Acked, PartiallyFilled, Filled, Canceled, Unknown],
            Suppressed | Blocked | Filled | Canceled | Rejected | Expired => &[],
        }
    }

    /// One step, or why not.
    pub fn go(self, to: OrderState) -> Result<OrderState, IllegalMove> {
        if self.next().contains(&to) { Ok(to) } else { Err(IllegalMove { from: self, to }) }
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

    #[test]
    fn final_states_lead_nowhere_and_all_others_lead_somewhere() {
        for state in OrderState::ALL {
            assert_eq!(state.next().is_empty(), state.is_final(), "{state}");
            assert_eq!(OrderState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn every_pair_that_is_not_in_the_table_is_refused() {
        let mut legal = 0;
        for from in OrderState::ALL {
            for to in OrderState::ALL {
                match from.go(to) {
                    Ok(_) => legal += 1,
                    Err(refused) => assert_eq!(refused, IllegalMove { from, to }),
                }
            }
        }
        assert_eq!(legal, 43, "the table changed: change order_transitions in a new migration too");
    }

    #[test]
    fn nothing_is_rejected_once_the_venue_has_it() {
        for state in [Acked, PartiallyFilled, CancelRequested] {
            assert!(state.go(Rejected).is_err() && state.go(Expired).is_err(), "{state}");
        }
    }
}
