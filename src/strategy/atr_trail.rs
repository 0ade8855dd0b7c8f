//! ATR-trailing trend: bets that a new high is followed by higher ones, and gives a run as much
//! room as the market usually moves. In on a breakout, out by a stop that trails the best close.

use super::indicators::{Atr, Extremes};
use super::position_state::{PositionState, STOP, by_stance, settled_wilder};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "atr_trail",
    about: "Long when the close is above every high of the last `entry` bars, short (or flat on spot) below every low, out when the close is `multiple` average true ranges from the best close since. Bets that breakouts run, and lets the market's own range say when one is over.",
    params: &[
        ParamSpec {
            name: "entry",
            default: 50.0,
            min: 2.0,
            max: 2000.0,
            about: "bars that are broken out of",
        },
        ParamSpec {
            name: "period",
            default: 14.0,
            min: 2.0,
            max: 500.0,
            about: "bars of the true range",
        },
        ParamSpec {
            name: "multiple",
            default: 3.0,
            min: 0.5,
            max: 20.0,
            about: "true ranges given back at most",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let (entry, period) = (whole(p, "entry"), whole(p, "period"));
        let warmup = settled_wilder(period).max(entry + 1);
        Box::new(AtrTrail {
            stance: PositionState::new(p, warmup, long_only),
            channel: Extremes::new(entry),
            range: Atr::new(period),
            multiple: p["multiple"],
            highest: f64::MIN,
            lowest: f64::MAX,
            seen: 0.0,
        })
    },
};

struct AtrTrail {
    stance: PositionState,
    channel: Extremes,
    range: Atr,
    multiple: f64,
    /// Of the closes since it is in, or of all it has seen.
    highest: f64,
    lowest: f64,
    seen: f64,
}

impl Strategy for AtrTrail {
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        let (high, low, price) = (bar.high, bar.low, bar.close);
        self.range.push(high, low, price);
        self.seen = price;
        if let (Some((top, bottom)), Some(range)) = (self.channel.get(), self.range.get()) {
            let (before, room) = (self.stance.side(), self.multiple * range);
            (self.highest, self.lowest) = (self.highest.max(price), self.lowest.min(price));
            // Compared with the bars before this one: a bar cannot break its own high.
            if price > top {
                self.stance.take(1);
            } else if price < bottom {
                self.stance.take(-1);
            } else {
                self.stance
                    .let_go(price < self.highest - room, price > self.lowest + room);
            }
            if self.stance.side() != before {
                (self.highest, self.lowest) = (price, price);
            }
        }
        self.channel.push(high, low);
    }
    fn reason(&self, tick: f64) -> String {
        let room = tick * self.multiple * self.range.get().unwrap_or(f64::NAN);
        format!(
            "close {:.4} after {:.4} to {:.4}, room {room:.4}",
            tick * self.seen,
            tick * self.lowest,
            tick * self.highest
        )
    }
    by_stance!();
}
