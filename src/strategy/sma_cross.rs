//! Moving-average cross: bets that a move which has lifted the short average over the long one goes on.
//! Earns in long trends, pays the spread over and over in a range.

use super::indicators::Sma;
use super::{ParamSpec, Signal, Spec, Strategy, close, whole};
use crate::domain::{Bps, Candle};

pub(super) static SPEC: Spec = Spec {
    name: "sma_cross",
    about: "Long while the fast simple moving average is above the slow one, short (or flat on spot) while it is below. Bets that trends persist; loses to whipsaw in a range.",
    params: &[
        ParamSpec { name: "fast", default: 20.0, min: 2.0, max: 500.0, about: "bars of the fast average" },
        ParamSpec { name: "slow", default: 100.0, min: 3.0, max: 2000.0, about: "bars of the slow average" },
        ParamSpec {
            name: "stop_pct",
            default: 0.0,
            min: 0.0,
            max: 50.0,
            about: "stop distance in percent; 0 for none",
        },
    ],
    validate: |p| if p["fast"] < p["slow"] { Ok(()) } else { Err("fast must be less than slow".into()) },
    build: |p, long_only| {
        let (fast, slow) = (whole(p, "fast"), whole(p, "slow"));
        Box::new(SmaCross {
            fast: Sma::new(fast),
            slow: Sma::new(slow),
            warmup: slow,
            stop: p["stop_pct"] / 100.0,
            long_only,
        })
    },
};

struct SmaCross {
    fast: Sma,
    slow: Sma,
    warmup: usize,
    stop: f64,
    long_only: bool,
}

impl Strategy for SmaCross {
    fn warmup(&self) -> usize {
        self.warmup
    }
    fn on_bar(&mut self, bar: &Candle) {
        self.fast.push(close(bar));
        self.slow.push(close(bar));
    }
    fn signal(&self) -> Option<Signal> {
        let (fast, slow) = (self.fast.get()?, self.slow.get()?);
        let target = if fast > slow {
            Bps(10_000)
        } else if fast < slow && !self.long_only {
            Bps(-10_000)
        } else {
            Bps(0)
        };
        Some(Signal { target, stop_distance: self.stop, reason: format!("fast {fast:.4} vs slow {slow:.4}") })
    }
}
