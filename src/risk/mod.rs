//! The risk gate: the one door to the executor. It names every rule an intent breaks.

mod actor;
mod latch;
mod rules;

pub use actor::{Gate, Verdict};
pub use latch::Latch;
pub use rules::{Approved, Limits, Refused, View, check};
