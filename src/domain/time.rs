//! Time is a number that somebody handed in: UTC epoch milliseconds, on the venue's clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// UTC epoch milliseconds, or a span of them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Ms(pub i64);

impl Ms {
    /// The epoch, or no time at all.
    pub const ZERO: Self = Self(0);

    /// From whole seconds.
    pub const fn secs(seconds: i64) -> Self {
        Self(seconds * 1000)
    }
    /// From whole days.
    pub const fn days(days: i64) -> Self {
        Self(days * 86_400_000)
    }
    /// The number of the UTC day, counted from the epoch.
    pub const fn utc_day(self) -> i64 {
        self.0.div_euclid(86_400_000)
    }
    /// When the UTC day after this instant begins.
    pub const fn next_utc_day(self) -> Self {
        Self::days(self.utc_day() + 1)
    }
    /// `self - earlier`; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0 - earlier.0)
    }
    /// This instant moved forward.
    pub const fn plus(self, span: Self) -> Self {
        Self(self.0 + span.0)
    }
    /// The start of the interval of length `step` that contains this instant.
    pub const fn floor(self, step: Self) -> Self {
        Self(self.0.div_euclid(step.0) * step.0)
    }
    /// ISO-8601 with exactly three decimals and `Z`, the form OKX signs.
    pub fn iso(self) -> String {
        chrono::DateTime::from_timestamp_millis(self.0)
            .map(|at| at.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string())
            .unwrap_or_else(|| format!("{}ms", self.0))
    }
}

impl fmt::Display for Ms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_has_three_decimals_and_z() {
        assert_eq!(Ms(1_607_418_537_715).iso(), "2020-12-08T09:08:57.715Z");
        assert_eq!(Ms(0).iso(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn floor_rounds_down_before_the_epoch() {
        assert_eq!(Ms(-1).floor(Ms(1000)), Ms(-1000));
        assert_eq!(Ms(1999).floor(Ms(1000)), Ms(1000));
    }
}
