//! Venue time: a line through (wall time, venue time) whose slope is the speed.
//!
//! The line is kept in the ledger, so venue time never runs back over a restart and goes on over a
//! downtime at the speed it had. While running it follows the monotonic clock: a wall clock that is
//! set back does not move it.

use std::sync::RwLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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
    /// Venue time at wall time `wall_ms`.
    pub fn at(&self, wall_ms: i64) -> Ms {
        Ms(self.venue_ms + ((wall_ms - self.wall_ms).max(0) as f64 * self.rate) as i64)
    }
}

/// Venue time, shared by the engine, the server and (in `sim`) the daemon.
#[derive(Debug)]
pub struct VenueClock {
    started: Instant,
    /// Venue time at `started` and the rate since.
    line: RwLock<(f64, f64)>,
    version: AtomicU64,
}

/// The system's wall clock in epoch milliseconds.
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

impl VenueClock {
    /// Starts at `venue` now and runs at `rate`.
    pub fn start(venue: Ms, rate: f64) -> Self {
        Self { started: Instant::now(), line: RwLock::new((venue.0 as f64, rate)), version: AtomicU64::new(0) }
    }

    /// Venue time now.
    pub fn now(&self) -> Ms {
        let (base, rate) = *self.line.read().expect("no holder of this lock can panic");
        Ms((base + self.started.elapsed().as_secs_f64() * 1000.0 * rate) as i64)
    }

    /// Venue seconds per wall second.
    pub fn rate(&self) -> f64 {
        self.line.read().expect("no holder of this lock can panic").1
    }

    /// Grows each time the line is changed.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// From now on run at `rate`, and be at `now` if that is later than we are.
    pub fn set(&self, now: Option<Ms>, rate: f64) {
        let at = self.now().max(now.unwrap_or(Ms::ZERO));
        let elapsed = self.started.elapsed().as_secs_f64() * 1000.0;
        *self.line.write().expect("no holder of this lock can panic") = (at.0 as f64 - elapsed * rate, rate);
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}
