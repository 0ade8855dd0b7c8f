//! Closed bars as a model sees them: scale-free figures, oldest first. Figures, not amounts:
//! floats.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use crate::domain::{Bar, Candle, Instrument, Ms, Price};
use crate::strategy::indicators::{Atr, Ema, Macd, Rsi};

/// Closed bars of one size. Scale-free, so that no coin rounds to flat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesData {
    pub bar_close_ms: Vec<Ms>,
    pub close: Vec<Price>,
    pub volume_usd: Vec<Decimal>,
    pub atr14_pct: Vec<Option<Decimal>>,
    pub rsi14: Vec<Option<Decimal>>,
    pub ema20_dist_bps: Vec<Option<Decimal>>,
    pub ema50_dist_bps: Vec<Option<Decimal>>,
    /// In units of the average true range.
    pub macd_hist_atr: Vec<Option<Decimal>>,
    /// Of the last twenty returns, a year of 365 days.
    pub realised_vol_pct: Vec<Option<Decimal>>,
}

/// Points of each series that are shown.
pub const POINTS: usize = 20;

const YEAR_MS: f64 = 365.0 * 86_400_000.0;

/// The last bars of a history, with figures that were warmed up on all of it.
pub fn series(history: &[Candle], bar: Bar, inst: &Instrument) -> SeriesData {
    let shown = history.len().saturating_sub(POINTS);
    let mut out = SeriesData {
        bar_close_ms: Vec::new(),
        close: Vec::new(),
        volume_usd: Vec::new(),
        atr14_pct: Vec::new(),
        rsi14: Vec::new(),
        ema20_dist_bps: Vec::new(),
        ema50_dist_bps: Vec::new(),
        macd_hist_atr: Vec::new(),
        realised_vol_pct: Vec::new(),
    };
    let mut walk = Indicators::default();
    let mut closes: Vec<f64> = Vec::with_capacity(history.len());
    for (index, candle) in history.iter().enumerate() {
        let close = float(candle.close);
        closes.push(close);
        walk.push(float(candle.high), float(candle.low), close);
        if index < shown {
            continue;
        }
        out.bar_close_ms.push(candle.ts.plus(bar.span()));
        out.close.push(candle.close);
        let volume = inst
            .notional(candle.volume, candle.close)
            .map_or(Decimal::ZERO, |usd| usd.0.round_dp(0));
        out.volume_usd.push(volume);
        let share = |value: Option<f64>, scale: f64| {
            value.and_then(|value| short(scale * value / close, 5))
        };
        out.atr14_pct.push(share(walk.atr.get(), 100.0));
        out.rsi14.push(walk.rsi.get().and_then(|rsi| short(rsi, 1)));
        let from = |ema: &Ema| share(ema.get().map(|mean| close - mean), 10_000.0);
        out.ema20_dist_bps.push(from(&walk.ema20));
        out.ema50_dist_bps.push(from(&walk.ema50));
        let histogram = walk.macd.get().map(|(line, signal)| line - signal);
        let in_atr = histogram
            .zip(walk.atr.get().filter(|atr| *atr > 0.0))
            .and_then(|(h, atr)| short(h / atr, 3));
        out.macd_hist_atr.push(in_atr);
        out.realised_vol_pct
            .push(volatility(&closes, bar).and_then(|share| short(100.0 * share, 1)));
    }
    out
}

/// Average true range at the end of a history, in the price's own units; `None` while it is short.
pub fn atr(history: &[Candle]) -> Option<Decimal> {
    let mut atr = Atr::new(14);
    history
        .iter()
        .for_each(|c| atr.push(float(c.high), float(c.low), float(c.close)));
    atr.get()
        .and_then(|value| Decimal::try_from(value).ok())
        .filter(|value| *value > Decimal::ZERO)
}

/// Return over a span that ends with the last bar, percent.
pub fn past_return(history: &[Candle], bar: Bar, span_ms: i64) -> Option<Decimal> {
    let bars = usize::try_from(span_ms / bar.span().0)
        .ok()
        .filter(|bars| *bars > 0)?;
    let last = history.last()?.close.0;
    let then = history.get(history.len().checked_sub(bars + 1)?)?.close.0;
    last.checked_div(then).map(|ratio| {
        ((ratio - Decimal::ONE) * Decimal::ONE_HUNDRED)
            .round_dp(3)
            .normalize()
    })
}

/// The figures a condition may look at, of the last bar.
pub fn latest(history: &[Candle]) -> Option<(Price, Option<Decimal>, Option<Decimal>)> {
    let last = history.last()?;
    let mut walk = Indicators::default();
    history
        .iter()
        .for_each(|c| walk.push(float(c.high), float(c.low), float(c.close)));
    let close = float(last.close);
    let distance = walk
        .ema20
        .get()
        .and_then(|mean| short(10_000.0 * (close - mean) / close, 3));
    Some((
        last.close,
        walk.rsi.get().and_then(|rsi| short(rsi, 1)),
        distance,
    ))
}

struct Indicators {
    atr: Atr,
    rsi: Rsi,
    ema20: Ema,
    ema50: Ema,
    macd: Macd,
}

impl Default for Indicators {
    fn default() -> Self {
        Self {
            atr: Atr::new(14),
            rsi: Rsi::new(14),
            ema20: Ema::new(20),
            ema50: Ema::new(50),
            macd: Macd::new(12, 26, 9),
        }
    }
}

impl Indicators {
    fn push(&mut self, high: f64, low: f64, close: f64) {
        self.atr.push(high, low, close);
        self.rsi.push(close);
        self.ema20.push(close);
        self.ema50.push(close);
        self.macd.push(close);
    }
}

fn float(price: Price) -> f64 {
    price.0.to_f64().expect("a decimal has a nearest float")
}

/// A figure in so many decimals, as a decimal: floats are not canonical text.
fn short(value: f64, decimals: u32) -> Option<Decimal> {
    Decimal::try_from(value)
        .ok()
        .map(|value| value.round_dp(decimals).normalize())
}

fn volatility(closes: &[f64], bar: Bar) -> Option<f64> {
    let last = closes.get(closes.len().checked_sub(21)?..)?;
    let returns: Vec<f64> = last
        .windows(2)
        .map(|pair| (pair[1] / pair[0]).ln())
        .collect();
    let mean = returns.iter().sum::<f64>() / returns.len() as f64;
    let variance =
        returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / (returns.len() - 1) as f64;
    Some((variance * YEAR_MS / bar.span().0 as f64).sqrt())
}
