//! Bollinger reversion: bets that a close outside the band comes back to the middle. The other side
//! of the breakout.

use super::indicators::Spread;
use super::position_state::{PositionState, STOP, by_stance};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "bollinger_reversion",
    about: "Buys when the close is below the lower Bollinger band, sells (or goes flat on spot) above the upper one, lets go at the middle. Bets that rare moves are overdone; loses when one is the start of a trend.",
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
        Box::new(BollingerReversion {
            stance: PositionState::new(p, 3 * period, long_only),
            spread: Spread::new(period),
            width: p["width"],
            seen: 0.0,
        })
    },
};

struct BollingerReversion {
    stance: PositionState,
    spread: Spread,
    width: f64,
    seen: f64,
}

impl Strategy for BollingerReversion {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.seen = bar.close;
        self.spread.push(self.seen);
        if let Some((mean, deviation)) = self.spread.get() {
            let reach = self.width * deviation;
            self.stance
                .revert(self.seen, (mean - reach, mean, mean + reach));
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
