//! Candles of any bar, folded from the same seconds that the book and the trades come from.

use rust_decimal::Decimal;

use super::{Listed, PriceFeed};
use crate::domain::{Bar, Candle, Ms, Price, Qty};

/// A bar in whole ticks and lots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawCandle {
    /// Open time in Unix seconds.
    pub second: i64,
    pub open: i64,
    pub high: i64,
    pub low: i64,
    pub close: i64,
    pub lots: i64,
}

impl Listed {
    /// The bars whose open times are `from`, `from + bar` … before `to` (Unix seconds, aligned).
    ///
    /// A second opens with a trade at its own price and closes with one at the next second's, so
    /// bars join without a gap and a bar's high and low are those of the seconds it spans.
    pub fn candles(&self, bar: Bar, from: i64, to: i64) -> Vec<RawCandle> {
        let path = match &self.source {
            PriceFeed::Seeded(path) => path,
            PriceFeed::Recorded(recording) => return recording.candles(bar, from, to),
            PriceFeed::Fed => return Vec::new(),
        };
        let span = bar.span().0 / 1000;
        let mut done = Vec::with_capacity(((to - from) / span).max(0) as usize);
        let mut open: Option<RawCandle> = None;
        path.walk(from, to, |second, price| {
            let ticks = self.to_ticks(price);
            if let Some(bar) = &mut open {
                bar.high = bar.high.max(ticks);
                bar.low = bar.low.min(ticks);
                bar.close = ticks;
                bar.lots += self.lots(second - 1, 1);
            }
            if (second - from) % span == 0 {
                done.extend(open.take());
                if second < to {
                    open = Some(RawCandle {
                        second,
                        open: ticks,
                        high: ticks,
                        low: ticks,
                        close: ticks,
                        lots: 0,
                    });
                }
            }
            if let Some(bar) = &mut open {
                bar.lots += self.lots(second, 0);
            }
        });
        done
    }

    /// A raw bar in the venue's units.
    pub fn candle(&self, raw: &RawCandle) -> Candle {
        let price = |ticks| Price(Decimal::from(ticks) * self.listing.inst.tick.0);
        Candle {
            ts: Ms::secs(raw.second),
            open: price(raw.open),
            high: price(raw.high),
            low: price(raw.low),
            close: price(raw.close),
            volume: Qty(Decimal::from(raw.lots) * self.listing.inst.lot.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::SimMarket;
    use super::*;

    /// Each second opens at the close of the one before.
    #[test]
    fn long_bars_aggregate_short_ones() {
        let market = SimMarket::new(3);
        let listed = market.get("BTC-USDT-SWAP").unwrap();
        let from = 1_780_000_200; // a multiple of 60
        let minutes = listed.candles(Bar::M1, from, from + 300);
        let seconds = listed.candles(Bar::S1, from, from + 300);
        assert_eq!((minutes.len(), seconds.len()), (5, 300));
        for (minute, part) in minutes.iter().zip(seconds.chunks(60)) {
            assert_eq!(minute.open, part[0].open);
            assert_eq!(minute.close, part[59].close);
            assert_eq!(minute.high, part.iter().map(|c| c.high).max().unwrap());
            assert_eq!(minute.low, part.iter().map(|c| c.low).min().unwrap());
            assert_eq!(minute.lots, part.iter().map(|c| c.lots).sum::<i64>());
            assert!(listed.candle(minute).is_sane());
        }
        assert!(seconds.windows(2).all(|w| w[0].close == w[1].open));
    }

    /// Two day bars from four years ago, the second opening at the close of the first.
    #[test]
    fn day_bar_years_back_is_available() {
        let market = SimMarket::new(3);
        let listed = market.get("ETH-USDT").unwrap();
        let from = 1_640_995_200;
        let days = listed.candles(Bar::D1, from, from + 2 * 86_400);
        assert_eq!(days.len(), 2);
        assert_eq!(days[0].close, days[1].open);
    }
}
