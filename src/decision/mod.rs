//! Decision: wait for the bars of an instant, freeze one snapshot, ask every contender on the same
//! one.

mod actor;
mod barrier;
mod board;
mod inputs;
mod roster;
mod snapshot;

pub use actor::{Cycle, Decision, Due};
pub use barrier::{BarRelease, Barrier};
pub use board::{Assignment, Short, StrategyBoard, stop_price};
pub use inputs::{BoardId, BoardInputs, CycleInputs, HeardCycle, Notes, RulesReplay};
pub use roster::{Change, Entrant, Held, changes, retiring, transfers};
pub use snapshot::{InstSnapshot, Snapshot};

#[cfg(test)]
pub(crate) use snapshot::test_snapshot;
