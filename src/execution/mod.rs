//! Execution: a durable intent, one last look at the switch, and the bytes, once.

mod actor;
mod deadman;
mod last_look;
mod line;
mod report;
mod stops;

pub use actor::Executor;
pub use deadman::DeadMan;
pub use last_look::reason_not_to_send;
pub use line::{Move, OrderLine, VenueLine};
pub use report::{ExecutionReport, OrderEvent};
