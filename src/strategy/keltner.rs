//! Keltner channel: the bet of the Bollinger breakout with true range in place of deviation, so
//! that one large bar does not widen the channel as much.

use super::indicators::{Atr, Ema};
use super::position_state::{PositionState, STOP, by_stance, settled, settled_wilder};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "keltner",
    about: "Long when the close is `width` average true ranges above its exponential average, short (or flat on spot) as far below, out when it comes back to the average. Bets that breaks out of the usual range run on.",
    params: &[
        ParamSpec {
            name: "period",
            default: 20.0,
            min: 2.0,
            max: 1000.0,
            about: "bars of the average",
        },
        ParamSpec {
            name: "range",
            default: 14.0,
            min: 2.0,
            max: 500.0,
            about: "bars of the true range",
        },
        ParamSpec {
            name: "width",
            default: 2.0,
            min: 0.1,
            max: 20.0,
            about: "true ranges from the average",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let (period, range) = (whole(p, "period"), whole(p, "range"));
        let warmup = settled(period).max(settled_wilder(range));
        let stance = PositionState::new(p, warmup, long_only);
        Box::new(Keltner {
            stance,
            middle: Ema::new(period),
            range: Atr::new(range),
            width: p["width"],
            seen: 0.0,
        })
    },
};

struct Keltner {
    stance: PositionState,
    middle: Ema,
    range: Atr,
    width: f64,
    seen: f64,
}

impl Strategy for Keltner {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        self.seen = bar.close;
        self.middle.push(self.seen);
        self.range.push(bar.high, bar.low, self.seen);
        if let (Some(middle), Some(range)) = (self.middle.get(), self.range.get()) {
            let reach = self.width * range;
            self.stance
                .break_out(self.seen, (middle - reach, middle, middle + reach));
        }
    }
    fn reason(&self, tick: f64) -> String {
        let shown = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let reach = tick * self.width * shown(self.range.get());
        format!(
            "close {:.4} in {:.4} ± {reach:.4}",
            tick * self.seen,
            tick * shown(self.middle.get())
        )
    }
    by_stance!();
}
