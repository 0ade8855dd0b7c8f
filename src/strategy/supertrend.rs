//! Supertrend: bets that a trend lasts until the price has come back by several true ranges. A
//! trailing line that only moves with the trend decides.

use super::indicators::Atr;
use super::position_state::{PositionState, STOP, by_stance, settled_wilder};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "supertrend",
    about: "Long while the close is above a line that trails `multiple` average true ranges below the bars and never falls in a rise, short (or flat on spot) while it is below the one above them. Bets that trends end by more than a usual swing.",
    params: &[
        ParamSpec {
            name: "period",
            default: 10.0,
            min: 2.0,
            max: 500.0,
            about: "bars of the true range",
        },
        ParamSpec {
            name: "multiple",
            default: 3.0,
            min: 0.5,
            max: 20.0,
            about: "true ranges from the bar's middle",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let period = whole(p, "period");
        let stance = PositionState::new(p, settled_wilder(period), long_only);
        Box::new(Supertrend {
            stance,
            range: Atr::new(period),
            multiple: p["multiple"],
            lines: None,
            last: 0.0,
            rising: None,
        })
    },
};

struct Supertrend {
    stance: PositionState,
    range: Atr,
    multiple: f64,
    /// (below, above), each moved with its trend only.
    lines: Option<(f64, f64)>,
    last: f64,
    /// `None` until a line was crossed: before that there is no trend to speak of.
    rising: Option<bool>,
}

impl Strategy for Supertrend {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        let (high, low, price) = (bar.high, bar.low, bar.close);
        self.range.push(high, low, price);
        if let Some(range) = self.range.get() {
            let (middle, reach) = ((high + low) / 2.0, self.multiple * range);
            let (mut below, mut above) = (middle - reach, middle + reach);
            if let Some((old_below, old_above)) = self.lines {
                // A line gives way only where the last close was beyond it.
                below = if self.last >= old_below {
                    below.max(old_below)
                } else {
                    below
                };
                above = if self.last <= old_above {
                    above.min(old_above)
                } else {
                    above
                };
                if price > old_above.min(above) {
                    self.rising = Some(true);
                } else if price < old_below.max(below) {
                    self.rising = Some(false);
                }
            }
            self.lines = Some((below, above));
            if let Some(rising) = self.rising {
                self.stance.take(if rising { 1 } else { -1 });
            }
        }
        self.last = price;
    }
    fn reason(&self, tick: f64) -> String {
        let (below, above) = self.lines.unwrap_or((f64::NAN, f64::NAN));
        let line = if self.rising == Some(false) {
            above
        } else {
            below
        };
        format!(
            "close {:.4}, trailing line {:.4}",
            tick * self.last,
            tick * line
        )
    }
    by_stance!();
}
