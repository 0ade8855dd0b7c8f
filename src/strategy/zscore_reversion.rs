//! Rolling z-score reversion: bets that a price many deviations from its own mean comes nearer to
//! it. Lets go before the mean, where most of the way back is done.

use super::indicators::Spread;
use super::position_state::{PositionState, STOP, by_stance};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "zscore_reversion",
    about: "Buys when the close is `entry` standard deviations below its rolling mean, sells (or goes flat on spot) when it is as many above, lets go within `exit`. Bets that distance from the mean shrinks; loses when the mean follows the price instead.",
    params: &[
        ParamSpec {
            name: "period",
            default: 100.0,
            min: 3.0,
            max: 5000.0,
            about: "bars of mean and deviation",
        },
        ParamSpec {
            name: "entry",
            default: 2.0,
            min: 0.5,
            max: 10.0,
            about: "deviations at which it begins",
        },
        ParamSpec {
            name: "exit",
            default: 0.5,
            min: 0.0,
            max: 5.0,
            about: "deviations at which it lets go",
        },
        STOP,
    ],
    validate: |p| {
        if p["exit"] < p["entry"] {
            Ok(())
        } else {
            Err("exit must be less than entry".into())
        }
    },
    build: |p, long_only| {
        let period = whole(p, "period");
        let stance = PositionState::new(p, 3 * period, long_only);
        Box::new(ZscoreReversion {
            stance,
            spread: Spread::new(period),
            entry: p["entry"],
            exit: p["exit"],
            z: 0.0,
        })
    },
};

struct ZscoreReversion {
    stance: PositionState,
    spread: Spread,
    entry: f64,
    exit: f64,
    z: f64,
}

impl Strategy for ZscoreReversion {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.spread.push(bar.close);
        let Some((mean, deviation)) = self.spread.get() else {
            return;
        };
        // A price that never moves is nowhere but at its mean.
        self.z = if deviation > 0.0 {
            (bar.close - mean) / deviation
        } else {
            0.0
        };
        if self.z < -self.entry {
            self.stance.take(1);
        } else if self.z > self.entry {
            self.stance.take(-1);
        } else {
            self.stance
                .let_go(self.z >= -self.exit, self.z <= self.exit);
        }
    }
    fn reason(&self, _: f64) -> String {
        format!(
            "{:.2} deviations from the mean, in at {}, out at {}",
            self.z, self.entry, self.exit
        )
    }
    by_stance!();
}
