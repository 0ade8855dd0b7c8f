//! Services that every actor needs and none should rewrite: time, ids, heartbeats, supervision,
//! fault points.

mod beat;
mod clock;
pub mod faults;
mod held;
mod ids;
pub mod sabotage;
mod supervisor;

pub use beat::{Beat, Pulse};
pub use clock::{CLOCK_FAR, Clock, wall_ms};
pub use held::{HeldFile, HeldFiles};
pub use ids::RunIds;
pub use supervisor::{Actor, ActorEnd, RestartPolicy, StageError, Supervisor};
pub use tokio_util::sync::CancellationToken as Shutdown;

/// True if the n-th repeat is worth a log line: the first is, then each time there are ten times as
/// many.
pub fn is_told(count: u64) -> bool {
    count > 0 && 10u64.pow(count.ilog10()) == count
}
