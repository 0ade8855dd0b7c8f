//! Donchian breakout: bets that a price beyond everything seen for a while is the start of something.
//! Many small losses, a few long runs.

use super::indicators::Extremes;
use super::stance::STOP;
use super::{ParamSpec, Spec, Strategy, close, feature, whole};
use crate::domain::{Bps, Candle};

pub(super) static SPEC: Spec = Spec {
    name: "donchian",
    about: "Long when the close breaks the highest high of the last `entry` bars, short (or flat on spot) when it breaks the lowest low, out when it crosses the opposite extreme of the last `exit` bars. Bets that breakouts run.",
    params: &[
        ParamSpec { name: "entry", default: 55.0, min: 2.0, max: 2000.0, about: "bars of the channel that is broken" },
        ParamSpec { name: "exit", default: 20.0, min: 1.0, max: 1000.0, about: "bars of the channel that ends a run" },
        STOP,
    ],
    validate: |p| if p["exit"] <= p["entry"] { Ok(()) } else { Err("exit must not be more than entry".into()) },
    build: |p, long_only| {
        Box::new(Donchian {
            entry: Extremes::new(whole(p, "entry")),
            exit: Extremes::new(whole(p, "exit")),
            warmup: whole(p, "entry") + 1,
            stop: p["stop_pct"] / 100.0,
            long_only,
            held: None,
            seen: (0.0, 0.0, 0.0),
        })
    },
};

struct Donchian {
    entry: Extremes,
    exit: Extremes,
    warmup: usize,
    stop: f64,
    long_only: bool,
    /// `None` until the channel is full.
    held: Option<i32>,
    /// Close, and the channel it was compared with.
    seen: (f64, f64, f64),
}

impl Strategy for Donchian {
    fn warmup(&self) -> usize {
        self.warmup
    }
    fn on_bar(&mut self, bar: &Candle) {
        let price = close(bar);
        // Compared with the bars before this one: a bar cannot break its own high.
        if let (Some((high, low)), Some((exit_high, exit_low))) = (self.entry.get(), self.exit.get()) {
            let held = self.held.unwrap_or(0);
            let next = if price > high {
                1
            } else if price < low {
                if self.long_only { 0 } else { -1 }
            } else if (held > 0 && price < exit_low) || (held < 0 && price > exit_high) {
                0
            } else {
                held
            };
            self.held = Some(next);
            self.seen = (price, low, high);
        }
        self.entry.push(feature(bar.high.0), feature(bar.low.0));
        self.exit.push(feature(bar.high.0), feature(bar.low.0));
    }
    fn target(&self) -> Option<Bps> {
        Some(Bps(10_000 * self.held?))
    }
    fn reason(&self) -> String {
        let (price, low, high) = self.seen;
        format!("close {price:.4} in {low:.4} to {high:.4}")
    }
    fn stop_distance(&self) -> f64 {
        self.stop
    }
}
