//! Allocation: targets become child orders, one per contender and instrument, each in its own
//! sleeve.

mod actor;
mod inputs;
mod sizing;
mod working;

pub use actor::{Allocator, IntentBatch};
pub use inputs::{AllocationInputs, Tried};
pub use sizing::{AllocationPlan, Ids, SleeveSettings, World, allocate};
pub use working::{NextTry, WorkedDecision};
