//! Opening-range breakout: bets that the first move out of the day's first range sets the day's
//! direction. Every day is a UTC day; nothing is carried over midnight.

use super::position_state::{PositionState, STOP};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec};
use crate::domain::{Bps, Ms};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "opening_range",
    about: "Waits for the range of the UTC day's first `minutes`, then long when the close is above it, short (or flat on spot) when it is below, and out at midnight. Bets that the day goes where it first breaks to; loses on days that break both ways.",
    params: &[
        ParamSpec {
            name: "minutes",
            default: 60.0,
            min: 1.0,
            max: 720.0,
            about: "of the day that make the range",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        Box::new(OpeningRange {
            stance: PositionState::new(p, 2, long_only),
            opening: Ms((p["minutes"] * 60_000.0).round() as i64),
            day: None,
            range: None,
            whole: false,
            last: None,
            span: None,
            seen: 0.0,
        })
    },
};

struct OpeningRange {
    stance: PositionState,
    /// Length of the day's first part.
    opening: Ms,
    day: Option<i64>,
    /// (lowest, highest) of the day's first part.
    range: Option<(f64, f64)>,
    /// True if all of the day's first part was seen. A day that is joined in the middle has no
    /// range.
    whole: bool,
    last: Option<Ms>,
    /// Length of a bar: the least that ever lay between two.
    span: Option<Ms>,
    seen: f64,
}

impl Strategy for OpeningRange {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        let (high, low) = (bar.high, bar.low);
        self.seen = bar.close;
        let day = bar.ts.utc_day();
        let of_day = bar.ts.since(Ms::days(day));
        if self.day != Some(day) {
            (self.day, self.range, self.whole) = (Some(day), None, of_day == Ms::ZERO);
            self.stance.take(0);
        }
        if let Some(last) = self.last.replace(bar.ts) {
            let between = bar.ts.since(last);
            self.span = Some(self.span.map_or(between, |span| span.min(between)));
        }
        if of_day < self.opening {
            let (lowest, highest) = self.range.unwrap_or((low, high));
            self.range = Some((lowest.min(low), highest.max(high)));
        } else if let (true, Some((lowest, highest))) = (self.whole, self.range) {
            if self.seen > highest {
                self.stance.take(1);
            } else if self.seen < lowest {
                self.stance.take(-1);
            }
        }
        // The day's last bar closes at midnight: nothing is held over it.
        if of_day.plus(self.span.unwrap_or_default()) >= Ms::days(1) {
            self.stance.take(0);
        }
    }
    fn reason(&self, tick: f64) -> String {
        let (lowest, highest) = self.range.unwrap_or((f64::NAN, f64::NAN));
        format!(
            "close {:.4}, the day opened in {:.4} to {:.4}",
            tick * self.seen,
            tick * lowest,
            tick * highest
        )
    }
    fn warmup(&self) -> usize {
        self.stance.warmup()
    }
    fn target(&self) -> Option<Bps> {
        // Joined in the middle of a day: what is held since its range is not known, and is kept.
        self.stance.target().filter(|_| self.whole)
    }
    fn stop_distance(&self) -> f64 {
        self.stance.stop()
    }
}
