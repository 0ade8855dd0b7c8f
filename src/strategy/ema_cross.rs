//! Exponential moving-average cross: the bet of `sma_cross`, sooner in and sooner out, for what is
//! recent weighs more.

use super::indicators::Ema;
use super::position_state::{PositionState, STOP, by_stance, settled};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "ema_cross",
    about: "Long while the fast exponential average is above the slow one, short (or flat on spot) while it is below. Bets that trends persist, and turns sooner than plain averages do; loses to whipsaw in a range.",
    params: &[
        ParamSpec {
            name: "fast",
            default: 20.0,
            min: 2.0,
            max: 500.0,
            about: "bars of the fast average",
        },
        ParamSpec {
            name: "slow",
            default: 100.0,
            min: 3.0,
            max: 2000.0,
            about: "bars of the slow average",
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
        let (fast, slow) = (whole(p, "fast"), whole(p, "slow"));
        let stance = PositionState::new(p, settled(slow), long_only);
        Box::new(EmaCross {
            stance,
            fast: Ema::new(fast),
            slow: Ema::new(slow),
        })
    },
};

struct EmaCross {
    stance: PositionState,
    fast: Ema,
    slow: Ema,
}

impl Strategy for EmaCross {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.fast.push(bar.close);
        self.slow.push(bar.close);
        if let (Some(fast), Some(slow)) = (self.fast.get(), self.slow.get()) {
            self.stance
                .take(i32::from(fast > slow) - i32::from(fast < slow));
        }
    }
    fn reason(&self, tick: f64) -> String {
        let shown = |ema: &Ema| ema.get().unwrap_or(f64::NAN);
        format!(
            "fast {:.4} vs slow {:.4}",
            tick * shown(&self.fast),
            tick * shown(&self.slow)
        )
    }
    by_stance!();
}
