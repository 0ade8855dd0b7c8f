//! RSI mean reversion: bets that a move which has run too far too fast comes back part of the way.
//! Earns small and often in a range, loses when a trend does not stop.

use super::indicators::Rsi;
use super::stance::STOP;
use super::{ParamSpec, Spec, Strategy, close, whole};
use crate::domain::{Bps, Candle};

pub(super) static SPEC: Spec = Spec {
    name: "rsi_reversion",
    about: "Buys when Wilder's RSI falls below `low`, sells (or goes short) when it rises above `high`, and lets go half way. Bets that extremes revert; loses in a runaway trend.",
    params: &[
        ParamSpec { name: "period", default: 14.0, min: 2.0, max: 500.0, about: "changes in the RSI" },
        ParamSpec { name: "low", default: 30.0, min: 1.0, max: 49.0, about: "buy below" },
        ParamSpec { name: "high", default: 70.0, min: 51.0, max: 99.0, about: "sell above" },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        Box::new(RsiReversion {
            rsi: Rsi::new(whole(p, "period")),
            warmup: whole(p, "period") + 1,
            low: p["low"],
            high: p["high"],
            stop: p["stop_pct"] / 100.0,
            long_only,
            held: 0,
        })
    },
};

struct RsiReversion {
    rsi: Rsi,
    warmup: usize,
    low: f64,
    high: f64,
    stop: f64,
    long_only: bool,
    /// What it wants to hold: -1, 0 or 1. Kept between the bounds, so that it lets go only half way.
    held: i32,
}

impl Strategy for RsiReversion {
    fn warmup(&self) -> usize {
        self.warmup
    }
    fn on_bar(&mut self, bar: &Candle) {
        self.rsi.push(close(bar));
        let Some(rsi) = self.rsi.get() else { return };
        if rsi < self.low {
            self.held = 1;
        } else if rsi > self.high {
            self.held = if self.long_only { 0 } else { -1 };
        } else if (self.held > 0 && rsi > 50.0) || (self.held < 0 && rsi < 50.0) {
            self.held = 0;
        }
    }
    fn target(&self) -> Option<Bps> {
        self.rsi.get().map(|_| Bps(10_000 * self.held))
    }
    fn reason(&self) -> String {
        format!("rsi {:.1} of {} to {}", self.rsi.get().unwrap_or(f64::NAN), self.low, self.high)
    }
    fn stop_distance(&self) -> f64 {
        self.stop
    }
}
