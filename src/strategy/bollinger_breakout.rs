//! Bollinger breakout: bets that a close outside the band is a move that has begun, not one that
//! has ended.

use super::indicators::Spread;
use super::position_state::{PositionState, STOP, by_stance};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "bollinger_breakout",
    about: "Long when the close is above the upper Bollinger band, short (or flat on spot) below the lower one, out when it comes back to the middle. Bets that rare moves run on; loses when they are all there was.",
    params: &[
        ParamSpec {
            name: "period",
            default: 20.0,
            min: 3.0,
            max: 2000.0,
            about: "bars of the band",
        },
        ParamSpec {
            name: "width",
            default: 2.0,
            min: 0.1,
            max: 10.0,
            about: "standard deviations from the middle",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let period = whole(p, "period");
        Box::new(BollingerBreakout {
            stance: PositionState::new(p, 3 * period, long_only),
            spread: Spread::new(period),
            width: p["width"],
            seen: 0.0,
        })
    },
};

struct BollingerBreakout {
    stance: PositionState,
    spread: Spread,
    width: f64,
    seen: f64,
}

impl Strategy for BollingerBreakout {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.seen = bar.close;
        self.spread.push(self.seen);
        if let Some((mean, deviation)) = self.spread.get() {
            let reach = self.width * deviation;
            self.stance
                .break_out(self.seen, (mean - reach, mean, mean + reach));
        }
    }
    fn reason(&self, tick: f64) -> String {
        let (mean, deviation) = self.spread.get().unwrap_or((f64::NAN, f64::NAN));
        format!(
            "close {:.4} in {:.4} ± {:.4}",
            tick * self.seen,
            tick * mean,
            tick * self.width * deviation
        )
    }
    by_stance!();
}
