//! Execution: a durable intent, one last look at the latch, and the bytes, once.

mod actor;

pub use actor::{Executor, Line, News, Report};
