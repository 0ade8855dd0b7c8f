//! Donchian breakout: bets that a price beyond everything seen for a while is the start of
//! something. Many small losses, a few long runs.

use super::indicators::Extremes;
use super::position_state::{PositionState, STOP, by_stance};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "donchian",
    about: "Long when the close breaks the highest high of the last `entry` bars, short (or flat on spot) when it breaks the lowest low, out when it crosses the opposite extreme of the last `exit` bars. Bets that breakouts run.",
    params: &[
        ParamSpec {
            name: "entry",
            default: 55.0,
            min: 2.0,
            max: 2000.0,
            about: "bars of the channel that is broken",
        },
        ParamSpec {
            name: "exit",
            default: 20.0,
            min: 1.0,
            max: 1000.0,
            about: "bars of the channel that ends a run",
        },
        STOP,
    ],
    validate: |p| {
        if p["exit"] <= p["entry"] {
            Ok(())
        } else {
            Err("exit must not be more than entry".into())
        }
    },
    build: |p, long_only| {
        let (entry, exit) = (whole(p, "entry"), whole(p, "exit"));
        Box::new(Donchian {
            stance: PositionState::new(p, entry + 1, long_only),
            entry: Extremes::new(entry),
            exit: Extremes::new(exit),
            seen: (0.0, 0.0, 0.0),
        })
    },
};

struct Donchian {
    stance: PositionState,
    entry: Extremes,
    exit: Extremes,
    /// Close, and the channel it was compared with.
    seen: (f64, f64, f64),
}

impl Strategy for Donchian {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        let price = bar.close;
        // Compared with the bars before this one: a bar cannot break its own high.
        if let (Some((high, low)), Some((exit_high, exit_low))) =
            (self.entry.get(), self.exit.get())
        {
            if price > high {
                self.stance.take(1);
            } else if price < low {
                self.stance.take(-1);
            } else {
                self.stance.let_go(price < exit_low, price > exit_high);
            }
            self.seen = (price, low, high);
        }
        self.entry.push(bar.high, bar.low);
        self.exit.push(bar.high, bar.low);
    }
    fn reason(&self, tick: f64) -> String {
        let (price, low, high) = self.seen;
        format!(
            "close {:.4} in {:.4} to {:.4}",
            tick * price,
            tick * low,
            tick * high
        )
    }
    by_stance!();
}
