//! The risk gate: the one door to the executor. It names every rule an intent breaks.

mod actor;
mod flatten;
mod latch;
mod rules;

pub use actor::{CancelAsk, CloseAsk, Closed, Gate, Seal, Verdict};
pub use flatten::{Closing, Flat, flatten, to_close};
pub use latch::Latch;
pub use rules::{Approved, Limits, Permit, Refused, View, check, check_flatten};
