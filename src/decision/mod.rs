//! Decision: wait for the bars of an instant, freeze one snapshot, ask every contender on the same
//! one.

mod actor;
mod barrier;
mod roster;
mod seen;
mod snapshot;
mod table;

pub use actor::{Cycle, Decision, Due};
pub use barrier::{Barrier, Release};
pub use roster::{Change, Entrant, Held, changes, retiring, transfers};
pub use seen::{Again, Asked, Heard, Notes, Seating, SeatingId};
pub use snapshot::{InstSnapshot, Snapshot};
pub use table::{Seat, Short, Table, stop_price};

#[cfg(test)]
pub(crate) use snapshot::test_snapshot;
