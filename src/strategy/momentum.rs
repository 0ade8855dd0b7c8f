//! Time-series momentum with volatility targeting: bets that what has risen over the look-back goes
//! on rising, with more of the slot when the market is calm and less when it is wild (Moskowitz,
//! Ooi and Pedersen, Time series momentum, 2012).

use std::collections::VecDeque;

use super::indicators::Spread;
use super::position_state::{PositionState, STOP};
use super::{Ohlcv, ParamSpec, Strategy, StrategySpec, whole};
use crate::domain::{Bps, Ms};

pub(super) static SPEC: StrategySpec = StrategySpec {
    name: "momentum",
    about: "Long if the price is higher than `lookback` bars ago, short (or flat on spot) if lower, with that share of the slot at which the position's volatility would be `volatility_pct` a year, never more than all of it. Bets that returns persist; loses at turns.",
    params: &[
        ParamSpec {
            name: "lookback",
            default: 240.0,
            min: 2.0,
            max: 20_000.0,
            about: "bars between the two prices",
        },
        ParamSpec {
            name: "window",
            default: 60.0,
            min: 5.0,
            max: 5000.0,
            about: "returns in the volatility",
        },
        ParamSpec {
            name: "volatility_pct",
            default: 40.0,
            min: 1.0,
            max: 500.0,
            about: "volatility a year aimed at",
        },
        STOP,
    ],
    validate: |_| Ok(()),
    build: |p, long_only| {
        let (lookback, window) = (whole(p, "lookback"), whole(p, "window"));
        Box::new(Momentum {
            stance: PositionState::new(p, lookback.max(window) + 1, long_only),
            prices: VecDeque::with_capacity(lookback + 1),
            lookback,
            returns: Spread::new(window),
            aim: p["volatility_pct"] / 100.0,
            last: None,
            span: 0,
        })
    },
};

/// Milliseconds of a year of 365 days: crypto has no holidays.
const YEAR_MS: f64 = 365.0 * 86_400_000.0;

struct Momentum {
    stance: PositionState,
    prices: VecDeque<f64>,
    lookback: usize,
    returns: Spread,
    aim: f64,
    last: Option<(Ms, f64)>,
    /// Milliseconds of one bar.
    span: i64,
}

impl Momentum {
    /// Volatility of a year, from that of a bar.
    fn volatility(&self) -> Option<f64> {
        let (_, deviation) = self.returns.get()?;
        Some(deviation * (YEAR_MS / self.span.max(1) as f64).sqrt())
    }
    /// The share of the slot at which the aim is met, in whole percents: smaller steps are not
    /// worth their costs.
    fn share(&self) -> f64 {
        let wanted = match self.volatility() {
            Some(volatility) if volatility > 0.0 => (self.aim / volatility).min(1.0),
            // A market that does not move at all is no reason to hold anything of it.
            _ => 0.0,
        };
        (wanted * 100.0).floor() / 100.0
    }
    fn change(&self) -> Option<f64> {
        (self.prices.len() > self.lookback)
            .then(|| self.prices[self.lookback] / self.prices[0] - 1.0)
    }
}

impl Strategy for Momentum {
    fn warmup(&self) -> usize {
        self.stance.warmup()
    }
    fn on_bar(&mut self, bar: &Ohlcv) {
        self.stance.tick();
        let price = bar.close;
        if let Some((at, last)) = self.last {
            self.span = bar.ts.since(at).0;
            self.returns.push((price / last).ln());
        }
        self.last = Some((bar.ts, price));
        self.prices.push_back(price);
        if self.prices.len() > self.lookback + 1 {
            self.prices.pop_front();
        }
        if let Some(change) = self.change() {
            self.stance
                .take(i32::from(change > 0.0) - i32::from(change < 0.0));
        }
    }
    fn target(&self) -> Option<Bps> {
        let whole = self.stance.target()?;
        Some(Bps((f64::from(whole.0) * self.share()).round() as i32))
    }
    fn reason(&self, _: f64) -> String {
        let percent = |share: Option<f64>| 100.0 * share.unwrap_or(f64::NAN);
        format!(
            "{:+.2} % over the look-back, volatility {:.0} % a year",
            percent(self.change()),
            percent(self.volatility())
        )
    }
    fn stop_distance(&self) -> f64 {
        self.stance.stop()
    }
}
