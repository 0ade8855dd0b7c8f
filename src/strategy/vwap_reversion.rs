//! VWAP reversion: bets that a price far from what was paid on average, weighted by volume, is
//! drawn back to it.

use super::indicators::Sma;
use super::position_state::{PositionState, STOP, by_stance};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "vwap_reversion",
    about: "Buys when the close is `entry_pct` below the rolling volume-weighted average price, sells (or goes flat on spot) as far above, lets go at the average. Bets that large orders are worked around the average; loses when the market has learnt something.",
    params: &[
        ParamSpec {
            name: "period",
            default: 60.0,
            min: 2.0,
            max: 5000.0,
            about: "bars of the average",
        },
        ParamSpec {
            name: "entry_pct",
            default: 0.5,
            min: 0.01,
            max: 50.0,
            about: "percent from the average",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let period = whole(p, "period");
        Box::new(VwapReversion {
            stance: PositionState::new(p, 3 * period, long_only),
            value: Sma::new(period),
            volume: Sma::new(period),
            plain: Sma::new(period),
            reach: p["entry_pct"] / 100.0,
            seen: 0.0,
        })
    },
};

struct VwapReversion {
    stance: PositionState,
    /// Typical price times volume, volume, and typical price alone.
    value: Sma,
    volume: Sma,
    plain: Sma,
    reach: f64,
    seen: f64,
}

impl VwapReversion {
    /// Bars without volume have no say; if none has any, all have the same.
    fn average(&self) -> Option<f64> {
        let (value, volume) = (self.value.get()?, self.volume.get()?);
        if volume > 0.0 {
            Some(value / volume)
        } else {
            self.plain.get()
        }
    }
}

impl Strategy for VwapReversion {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.seen = bar.close;
        let typical = (bar.high + bar.low + self.seen) / 3.0;
        self.value.push(typical * bar.volume);
        self.volume.push(bar.volume);
        self.plain.push(typical);
        if let Some(average) = self.average() {
            let lines = (
                average * (1.0 - self.reach),
                average,
                average * (1.0 + self.reach),
            );
            self.stance.revert(self.seen, lines);
        }
    }
    fn reason(&self, tick: f64) -> String {
        format!(
            "close {:.4}, volume-weighted average {:.4}",
            tick * self.seen,
            tick * self.average().unwrap_or(f64::NAN)
        )
    }
    by_stance!();
}
