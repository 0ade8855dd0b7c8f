//! Execution: a durable intent, one last look at the latch, and the bytes, once.

mod actor;
mod last_look;

pub use actor::{Executor, Line, News, Report};
pub use last_look::reason_not_to_send;
