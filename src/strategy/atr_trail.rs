//! ATR-trailing trend: bets that a new high is followed by higher ones, and gives a run as much room as the market usually
//! moves. In on a breakout, out by a stop that trails the best close.

use super::indicators::{Atr, Extremes};
use super::stance::{STOP, Stance, by_stance, settled_wilder};
use super::{ParamSpec, Spec, Strategy, close, feature, whole};
use crate::domain::Candle;

pub(super) static SPEC: Spec = Spec {
    name: "atr_trail",
    about: "Long when the close is above every high of the last `entry` bars, short (or flat on spot) below every low, out when the close is `multiple` average true ranges from the best close since. Bets that breakouts run, and lets the market's own range say when one is over.",
    params: &[
        ParamSpec { name: "entry", default: 50.0, min: 2.0, max: 2000.0, about: "bars that are broken out of" },
        ParamSpec { name: "period", default: 14.0, min: 2.0, max: 500.0, about: "bars of the true range" },
        ParamSpec { name: "multiple", default: 3.0, min: 0.5, max: 20.0, about: "true ranges given back at most" },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let (entry, period) = (whole(p, "entry"), whole(p, "period"));
        let warmup = settled_wilder(period).max(entry + 1);
        Box::new(AtrTrail {
            stance: Stance::new(p, warmup, long_only),
            channel: Extremes::new(entry),
            range: Atr::new(period),
            multiple: p["multiple"],
            best: 0.0,
            seen: 0.0,
        })
    },
};

struct AtrTrail {
    stance: Stance,
    channel: Extremes,
    range: Atr,
    multiple: f64,
    /// The best close since it is in.
    best: f64,
    seen: f64,
}

impl Strategy for AtrTrail {
    fn on_bar(&mut self, bar: &Candle) {
        self.stance.tick();
        let (high, low, price) = (feature(bar.high.0), feature(bar.low.0), close(bar));
        self.range.push(high, low, price);
        self.seen = price;
        if let (Some((highest, lowest)), Some(range)) = (self.channel.get(), self.range.get()) {
            let (before, room) = (self.stance.side(), self.multiple * range);
            self.best = match before {
                1 => self.best.max(price),
                -1 => self.best.min(price),
                _ => price,
            };
            // Compared with the bars before this one: a bar cannot break its own high.
            if price > highest {
                self.stance.take(1);
            } else if price < lowest {
                self.stance.take(-1);
            } else if (before > 0 && price < self.best - room) || (before < 0 && price > self.best + room) {
                self.stance.take(0);
            }
            if self.stance.side() != before {
                self.best = price;
            }
        }
        self.channel.push(high, low);
    }
    fn reason(&self) -> String {
        let room = self.multiple * self.range.get().unwrap_or(f64::NAN);
        format!("close {:.4}, best {:.4}, room {room:.4}", self.seen, self.best)
    }
    by_stance!();
}
