//! VWAP reversion: bets that a price far from what was paid on average, weighted by volume, is drawn back to it.

use std::collections::VecDeque;

use super::stance::{STOP, Stance, by_stance};
use super::{ParamSpec, Spec, Strategy, close, feature, whole};
use crate::domain::Candle;

pub(super) static SPEC: Spec = Spec {
    name: "vwap_reversion",
    about: "Buys when the close is `entry_pct` below the rolling volume-weighted average price, sells (or goes flat on spot) as far above, lets go at the average. Bets that large orders are worked around the average; loses when the market has learnt something.",
    params: &[
        ParamSpec { name: "period", default: 60.0, min: 2.0, max: 5000.0, about: "bars of the average" },
        ParamSpec { name: "entry_pct", default: 0.5, min: 0.01, max: 50.0, about: "percent from the average" },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let period = whole(p, "period");
        Box::new(VwapReversion {
            stance: Stance::new(p, period, long_only),
            bars: VecDeque::with_capacity(period + 1),
            period,
            reach: p["entry_pct"] / 100.0,
            seen: 0.0,
        })
    },
};

struct VwapReversion {
    stance: Stance,
    /// (typical price, volume) of each bar.
    bars: VecDeque<(f64, f64)>,
    period: usize,
    reach: f64,
    seen: f64,
}

impl VwapReversion {
    /// Summed afresh, so nothing drifts. Bars without volume have no say; if none has any, all have the same.
    fn average(&self) -> Option<f64> {
        (self.bars.len() == self.period).then_some(())?;
        let volume: f64 = self.bars.iter().map(|(_, volume)| volume).sum();
        if volume > 0.0 {
            return Some(self.bars.iter().map(|(price, volume)| price * volume).sum::<f64>() / volume);
        }
        Some(self.bars.iter().map(|(price, _)| price).sum::<f64>() / self.period as f64)
    }
}

impl Strategy for VwapReversion {
    fn on_bar(&mut self, bar: &Candle) {
        self.stance.tick();
        self.seen = close(bar);
        let typical = (feature(bar.high.0) + feature(bar.low.0) + self.seen) / 3.0;
        self.bars.push_back((typical, feature(bar.volume.0)));
        if self.bars.len() > self.period {
            self.bars.pop_front();
        }
        if let Some(average) = self.average() {
            let lines = (average * (1.0 - self.reach), average, average * (1.0 + self.reach));
            self.stance.revert(self.seen, lines);
        }
    }
    fn reason(&self) -> String {
        format!("close {:.4}, volume-weighted average {:.4}", self.seen, self.average().unwrap_or(f64::NAN))
    }
    by_stance!();
}
