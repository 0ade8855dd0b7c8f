//! Buy and hold: the baseline that everything else must beat. It bets that the market as a whole
//! goes up, and pays costs once.

use super::position_state::{PositionState, STOP, by_stance};
use super::{Ohlcv, Strategy, StrategySpec};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "buy_and_hold",
    about: "Long from the first bar and for ever. The baseline: what cannot beat it after costs is not worth running.",
    params: &[STOP],
    validate: |_| Ok(()),
    build: |p, long_only| {
        Box::new(BuyAndHold {
            stance: PositionState::new(p, 1, long_only),
        })
    },
};

struct BuyAndHold {
    stance: PositionState,
}

impl Strategy for BuyAndHold {
    fn on_bar(&mut self, _: &Ohlcv) {
        self.stance.tick();
        self.stance.take(1);
    }
    fn reason(&self, _: f64) -> String {
        "held since the first bar".to_owned()
    }
    by_stance!();
}
