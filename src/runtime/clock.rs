//! Venue time: a line through (this process's monotonic clock, venue time) whose slope is the
//! speed.
//!
//! Against the real OKX the slope is one and the line is re-anchored from `public/time`; in `sim`
//! the exchange owns the line and may run faster. Candles, order deadlines and limits live on this
//! time; HTTP, ping and watchdog deadlines live on the wall's (see `Beat`, tokio timers).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::domain::Ms;

/// The system's wall clock in epoch milliseconds. Only where a process needs an anchor.
pub fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// Off by no more than this, the clock is left alone.
const CLOCK_OFF: Ms = Ms(500);
/// Off by more than this, the venue is asked twice before it is believed.
pub const CLOCK_FAR: Ms = Ms::secs(60);

/// Shared venue time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Arc<ClockInner>);

#[derive(Debug)]
struct ClockInner {
    started: Instant,
    /// Venue time at `started` and venue seconds per wall second.
    line: RwLock<(f64, f64)>,
    version: AtomicU64,
}

impl Clock {
    /// Starts at `venue` now and runs at `rate`.
    pub fn start(venue: Ms, rate: f64) -> Self {
        let line = RwLock::new((venue.0 as f64, rate));
        Self(Arc::new(ClockInner {
            started: Instant::now(),
            line,
            version: AtomicU64::new(0),
        }))
    }

    /// Venue time now.
    pub fn now(&self) -> Ms {
        let (base, rate) = self.line();
        Ms((base + self.elapsed_ms() * rate) as i64)
    }

    /// Venue seconds per wall second.
    pub fn rate(&self) -> f64 {
        self.line().1
    }

    /// Converts a span of venue time into wall time.
    pub fn wall_span(&self, span: Ms) -> Duration {
        Duration::from_secs_f64((span.0.max(0) as f64 / 1000.0) / self.rate())
    }

    /// Converts a span of wall time into venue time.
    pub fn venue_span(&self, span: Duration) -> Ms {
        Ms((span.as_secs_f64() * 1000.0 * self.rate()) as i64)
    }

    /// From now on run at `rate`, and be at `now` if that is later than we are.
    pub fn set(&self, now: Option<Ms>, rate: f64) {
        let at = self.now().max(now.unwrap_or(Ms::ZERO));
        self.put(at, rate);
    }

    /// The venue says it is `venue`; keep the rate. May move back: order deadlines are the venue's.
    pub fn anchor(&self, venue: Ms) {
        self.put(venue, self.rate());
    }

    /// Returns how far our clock is off, if the venue answered `told` to a question asked at
    /// `before` and now it is later: the answer was made somewhere in between. Zero: within that
    /// uncertainty.
    pub fn off(&self, before: Ms, told: Ms) -> Ms {
        let after = self.now();
        let off = if told < before {
            told.since(before)
        } else {
            told.since(after).max(Ms::ZERO)
        };
        let slack = CLOCK_OFF.0.max(after.since(before).0);
        if off.0.abs() > slack { off } else { Ms::ZERO }
    }

    /// Grows each time the line is changed.
    pub fn version(&self) -> u64 {
        self.0.version.load(Ordering::Acquire)
    }

    fn put(&self, at: Ms, rate: f64) {
        let line = (at.0 as f64 - self.elapsed_ms() * rate, rate);
        *self
            .0
            .line
            .write()
            .expect("no holder of this lock can panic") = line;
        self.0.version.fetch_add(1, Ordering::AcqRel);
    }

    fn line(&self) -> (f64, f64) {
        *self
            .0
            .line
            .read()
            .expect("no holder of this lock can panic")
    }

    fn elapsed_ms(&self) -> f64 {
        self.0.started.elapsed().as_secs_f64() * 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock at 60x shortens waits on the wall clock; setting an earlier time does not move it
    /// back.
    #[test]
    fn clock_change_never_runs_backwards() {
        let clock = Clock::start(Ms(1_000_000), 60.0);
        assert_eq!(clock.wall_span(Ms::secs(60)), Duration::from_secs(1));
        let before = clock.now();
        clock.set(Some(Ms(0)), 1.0);
        assert!(clock.now() >= before);
    }
}
