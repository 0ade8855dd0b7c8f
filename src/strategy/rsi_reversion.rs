//! RSI mean reversion: bets that a move which has run too far too fast comes back part of the way.
//! Earns small and often in a range, loses when a trend does not stop.

use super::indicators::Rsi;
use super::position_state::{PositionState, STOP, by_stance, settled_wilder};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "rsi_reversion",
    about: "Buys when Wilder's RSI falls below `low`, sells (or goes short) when it rises above `high`, and lets go half way. Bets that extremes revert; loses in a runaway trend.",
    params: &[
        ParamSpec {
            name: "period",
            default: 14.0,
            min: 2.0,
            max: 500.0,
            about: "changes in the RSI",
        },
        ParamSpec {
            name: "low",
            default: 30.0,
            min: 1.0,
            max: 49.0,
            about: "buy below",
        },
        ParamSpec {
            name: "high",
            default: 70.0,
            min: 51.0,
            max: 99.0,
            about: "sell above",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        Box::new(RsiReversion {
            stance: PositionState::new(p, settled_wilder(whole(p, "period")), long_only),
            rsi: Rsi::new(whole(p, "period")),
            low: p["low"],
            high: p["high"],
        })
    },
};

struct RsiReversion {
    stance: PositionState,
    rsi: Rsi,
    low: f64,
    high: f64,
}

impl Strategy for RsiReversion {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.rsi.push(bar.close);
        if let Some(rsi) = self.rsi.get() {
            self.stance.revert(rsi, (self.low, 50.0, self.high));
        }
    }
    fn reason(&self, _: f64) -> String {
        format!(
            "rsi {:.1} of {} to {}",
            self.rsi.get().unwrap_or(f64::NAN),
            self.low,
            self.high
        )
    }
    by_stance!();
}
