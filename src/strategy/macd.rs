//! MACD: bets that a trend which gathers pace goes on while it does. Faster than a cross of
//! averages, and wrong more often.

use super::indicators::Macd;
use super::position_state::{PositionState, STOP, by_stance, settled};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "macd",
    about: "Long while the difference of two exponential averages is above its own average, short (or flat on spot) while it is below. Bets that a move which speeds up goes on; loses when the pace changes at every turn.",
    params: &[
        ParamSpec {
            name: "fast",
            default: 12.0,
            min: 2.0,
            max: 300.0,
            about: "bars of the fast average",
        },
        ParamSpec {
            name: "slow",
            default: 26.0,
            min: 3.0,
            max: 1000.0,
            about: "bars of the slow average",
        },
        ParamSpec {
            name: "signal",
            default: 9.0,
            min: 2.0,
            max: 300.0,
            about: "bars of the difference's average",
        },
        STOP,
    ],
    validate: |p| {
        if p["fast"] < p["slow"] {
            Ok(())
        } else {
            Err("fast must be less than slow".into())
        }
    },
    build: |p, long_only| {
        let (fast, slow, signal) = (whole(p, "fast"), whole(p, "slow"), whole(p, "signal"));
        let stance = PositionState::new(p, settled(slow) + settled(signal), long_only);
        Box::new(MacdTrend {
            stance,
            macd: Macd::new(fast, slow, signal),
        })
    },
};

struct MacdTrend {
    stance: PositionState,
    macd: Macd,
}

impl Strategy for MacdTrend {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.macd.push(bar.close);
        if let Some((line, signal)) = self.macd.get() {
            self.stance
                .take(i32::from(line > signal) - i32::from(line < signal));
        }
    }
    fn reason(&self, tick: f64) -> String {
        let (line, signal) = self.macd.get().unwrap_or((f64::NAN, f64::NAN));
        format!("macd {:.4} vs {:.4}", tick * line, tick * signal)
    }
    by_stance!();
}
