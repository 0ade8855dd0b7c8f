//! The line of venue time as the ledger keeps it, so that venue time never runs back over a restart
//! and goes on over a downtime at the speed it had.

use serde::{Deserialize, Serialize};

use crate::domain::Ms;

/// A point and a slope; `rate` is venue seconds per wall second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockLine {
    pub wall_ms: i64,
    pub venue_ms: i64,
    pub rate: f64,
}

impl ClockLine {
    /// Venue time at wall time `wall_ms`; a wall clock that was set back does not turn it back.
    pub fn at(&self, wall_ms: i64) -> Ms {
        Ms(self.venue_ms + ((wall_ms - self.wall_ms).max(0) as f64 * self.rate) as i64)
    }
}
