//! Decision: wait for the bars of an instant, freeze one snapshot, ask every contender on the same one.

mod actor;
mod barrier;
mod snapshot;

pub use actor::{Cycle, Decision, Seat};
pub use barrier::{Barrier, Release};
pub use snapshot::Snapshot;

#[cfg(test)]
pub(crate) use snapshot::test_snapshot;
