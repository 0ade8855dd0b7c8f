//! Allocation: targets become child orders, one per contender and instrument, each in its own
//! sleeve.

mod actor;
mod seen;
mod sizing;
mod working;

pub use actor::{Allocator, IntentBatch};
pub use seen::{Seen, Tried};
pub use sizing::{Ids, Plan, Sleeve, World, allocate};
pub use working::{Next, Work};
