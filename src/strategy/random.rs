//! Random: the baseline of no skill. It bets on nothing, changes its mind at a set rhythm, and so
//! shows what costs alone do to an account. The same seed and the same bars give the same sides,
//! wherever it is started.

use super::position_state::{PositionState, STOP, by_stance};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};
use crate::domain::Ms;

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "random",
    about: "Long, short (flat on spot) or out, drawn anew every `hold` bars from a seed and the clock. A baseline without any skill: a strategy that is not distinguishable from it has none either.",
    params: &[
        ParamSpec {
            name: "seed",
            default: 1.0,
            min: 0.0,
            max: 1_000_000.0,
            about: "of the draws",
        },
        ParamSpec {
            name: "hold",
            default: 20.0,
            min: 1.0,
            max: 10_000.0,
            about: "bars between two draws",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        Box::new(Random {
            stance: PositionState::new(p, 2, long_only),
            seed: whole(p, "seed") as u64,
            hold: whole(p, "hold") as i64,
            last: None,
            draw: 0,
        })
    },
};

struct Random {
    stance: PositionState,
    seed: u64,
    hold: i64,
    last: Option<Ms>,
    draw: i64,
}

/// Steele, Lea and Flood's SplitMix64 (2014): one well-mixed word for each number.
const fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Strategy for Random {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        // The bar's length is what lies between two of them; a gap only draws later.
        if let Some(last) = self.last {
            let span = bar.ts.since(last).0.max(1);
            self.draw = bar.ts.0.div_euclid(span.saturating_mul(self.hold));
            let word = mixed(mixed(self.seed) ^ self.draw.unsigned_abs());
            self.stance.take((word % 3) as i32 - 1);
        }
        self.last = Some(bar.ts);
    }
    fn reason(&self, _: f64) -> String {
        format!("draw {} of seed {}", self.draw, self.seed)
    }
    by_stance!();
}
