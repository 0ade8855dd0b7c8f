//! Allocation: targets become child orders, one per contender and instrument, each in its own sleeve.

mod actor;
mod sizing;

pub use actor::{Allocator, IntentBatch};
pub use sizing::{Ids, Plan, Sleeve, World, allocate};
