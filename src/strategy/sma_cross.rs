//! Moving-average cross: bets that a move which has lifted the short average over the long one goes
//! on. Earns in long trends, pays the spread over and over in a range.

use super::indicators::Sma;
use super::position_state::STOP;
use super::{NO_OPINION, Ohlcv, ParamSpec, Strategy, StrategySpec, whole};
use crate::data::Columns;
use crate::domain::Bps;

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "sma_cross",
    about: "Long while the fast simple moving average is above the slow one, short (or flat on spot) while it is below. Bets that trends persist; loses to whipsaw in a range.",
    params: &[
        ParamSpec {
            name: "fast",
            default: 20.0,
            min: 2.0,
            max: 500.0,
            about: "bars of the fast average",
        },
        ParamSpec {
            name: "slow",
            default: 100.0,
            min: 3.0,
            max: 2000.0,
            about: "bars of the slow average",
        },
        STOP,
    ],
    validate: |p| {
        if p["fast"] < p["slow"] {
            Ok(())
        } else {
            Err("fast must be less than slow".into())
        }
    },
    build: |p, long_only| {
        let (fast, slow) = (whole(p, "fast"), whole(p, "slow"));
        Box::new(SmaCross {
            fast: Sma::new(fast),
            slow: Sma::new(slow),
            warmup: slow,
            stop: p["stop_pct"] / 100.0,
            long_only,
            swept: 0,
        })
    },
};

struct SmaCross {
    fast: Sma,
    slow: Sma,
    warmup: usize,
    stop: f64,
    long_only: bool,
    /// Bars that were swept over, of the columns' own sums.
    swept: usize,
}

impl Strategy for SmaCross {
    fn warmup(&self) -> usize {
        self.warmup
    }
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.fast.push(bar.close);
        self.slow.push(bar.close);
    }
    fn target(&self) -> Option<Bps> {
        let side = self.fast.side_of(&self.slow)?;
        Some(Bps(10_000 * if self.long_only { side.max(0) } else { side }))
    }
    fn reason(&self, tick: f64) -> String {
        let shown = |sma: &Sma| sma.get().unwrap_or(f64::NAN);
        format!(
            "fast {:.4} vs slow {:.4}",
            tick * shown(&self.fast),
            tick * shown(&self.slow)
        )
    }
    fn stop_distance(&self) -> f64 {
        self.stop
    }
    fn sweep(&mut self, columns: &Columns, from: usize, out: &mut [i32]) {
        let (fast, slow) = (self.fast.len(), self.slow.len());
        // Only what has seen all bars so far knows what the sums of columns know.
        let Some(sums) = columns.sums().filter(|_| self.swept == from) else {
            for (offset, wanted) in out.iter_mut().enumerate() {
                self.on_bar(&Ohlcv::at(columns, from + offset));
                *wanted = self.target().map_or(NO_OPINION, |target| target.0);
            }
            return;
        };
        self.swept = from + out.len();
        let silent = slow.saturating_sub(from + 1).min(out.len());
        out[..silent].fill(NO_OPINION);
        let (first, count) = (from + silent + 1, out.len() - silent);
        if count == 0 {
            return;
        }
        let short = if self.long_only { 0 } else { -10_000 };
        let (fast_n, slow_n) = (fast as f64, slow as f64);
        let now = &sums[first..first + count];
        let (ago_fast, ago_slow) = (
            &sums[first - fast..first - fast + count],
            &sums[first - slow..first - slow + count],
        );
        for (i, wanted) in out[silent..].iter_mut().enumerate() {
            // Compared without dividing, as `Sma::side_of` does: of whole numbers, those that tie
            // do tie.
            let (quick, lazy) = (
                (now[i] - ago_fast[i]) * slow_n,
                (now[i] - ago_slow[i]) * fast_n,
            );
            *wanted = if quick > lazy {
                10_000
            } else if quick < lazy {
                short
            } else {
                0
            };
        }
    }
}
