//! Moving-average cross: bets that a move which has lifted the short average over the long one goes on.
//! Earns in long trends, pays the spread over and over in a range.

use super::indicators::Sma;
use super::stance::STOP;
use super::{Ohlcv, ParamSpec, Spec, Strategy, whole};
use crate::domain::Bps;

pub(super) static SPEC: Spec = Spec {
    name: "sma_cross",
    about: "Long while the fast simple moving average is above the slow one, short (or flat on spot) while it is below. Bets that trends persist; loses to whipsaw in a range.",
    params: &[
        ParamSpec { name: "fast", default: 20.0, min: 2.0, max: 500.0, about: "bars of the fast average" },
        ParamSpec { name: "slow", default: 100.0, min: 3.0, max: 2000.0, about: "bars of the slow average" },
        STOP,
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
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.fast.push(bar.close);
        self.slow.push(bar.close);
    }
    fn target(&self) -> Option<Bps> {
        let side = self.fast.side_of(&self.slow)?;
        Some(Bps(10_000 * if self.long_only { side.max(0) } else { side }))
    }
    fn reason(&self, tick: f64) -> String {
        let shown = |sma: &Sma| sma.get().unwrap_or(f64::NAN);
        format!("fast {:.4} vs slow {:.4}", tick * shown(&self.fast), tick * shown(&self.slow))
    }
    fn stop_distance(&self) -> f64 {
        self.stop
    }
}
