//! The book and the trades that the rest of the market makes in one second.

use rust_decimal::Decimal;

use super::{Listed, PriceFeed, mix};
use crate::domain::{Ms, Side};

/// Levels on each side.
const LEVELS: i64 = 25;

/// Price and size at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    pub price: Decimal,
    pub size: Decimal,
}

/// One second's book, best level first on both sides. Never crossed.
#[derive(Clone, Debug, Default)]
pub struct SyntheticBook {
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
    /// Last traded price.
    pub last: Decimal,
}

/// A trade of others; `side` is the taker's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Ascends with time within an instrument.
    pub id: i64,
    pub price: Decimal,
    pub size: Decimal,
    pub side: Side,
    pub at: Ms,
}

impl Listed {
    /// The book during `second`, around the path's price shifted by `shift` ticks.
    pub fn book(&self, second: i64, shift: i64) -> SyntheticBook {
        let last = (self.ticks_at(second) + shift).max(LEVELS * 4);
        let draw = mix(self.seed ^ 0xB00C, second as u64);
        let spread = self.listing.spread + (draw % 3) as i64;
        // The last trade touched one side of the book; that side is where it printed.
        let (bid, ask) = match self.taker_side(second) {
            Side::Buy => (last - spread, last),
            Side::Sell => (last, last + spread),
        };
        let step = (self.listing.spread / 2).max(1);
        let side = |best: i64, direction: i64, salt: u64| {
            (0..LEVELS)
                .map(|i| {
                    let noise = mix(draw ^ salt, i as u64) % 1400 + 300;
                    let lots = self.listing.depth * noise as i64 / 1000 * (2 + i) / 2;
                    Level {
                        price: self.price((best + direction * i * step).max(1)),
                        size: self.size(lots.max(1)),
                    }
                })
                .collect()
        };
        SyntheticBook {
            bids: side(bid, -1, 0xB1D),
            asks: side(ask, 1, 0xA5C),
            last: self.price(last),
        }
    }

    /// The two trades around the turn to `second`: the last of the second before it, which already
    /// printed at the new price, and the first of this one.
    ///
    /// `id` ascends with time: two numbers for each second, used or not.
    pub fn trades(&self, second: i64, shift: i64) -> Vec<Trade> {
        let price = self.price((self.ticks_at(second) + shift).max(LEVELS * 4));
        let side = self.taker_side(second);
        let at = Ms::secs(second);
        // A recorded second keeps its trades to itself: its bar must have them.
        let ((before, which), first) = match self.source {
            PriceFeed::Recorded(_) => ((second, 1), at),
            _ => ((second - 1, 1), Ms(at.0 - 1)),
        };
        let trade = |id, lots, at| Trade {
            id,
            price,
            size: self.size(lots),
            side,
            at,
        };
        let two = [
            trade(second * 2, self.lots(before, which), first),
            trade(second * 2 + 1, self.lots(second, 0), at),
        ];
        two.into_iter()
            .filter(|trade| !trade.size.is_zero())
            .collect()
    }

    fn taker_side(&self, second: i64) -> Side {
        if mix(self.seed ^ 0x51DE, second as u64) & 1 == 0 {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    /// Lots of the first (0) or last (1) trade of a second.
    pub(super) fn lots(&self, second: i64, which: u64) -> i64 {
        if let PriceFeed::Recorded(recording) = &self.source {
            return recording.lots(second, which);
        }
        let noise = mix(self.seed ^ (0x512E + which), second as u64) % 1000 + 50;
        (self.listing.depth * noise as i64 / 1500).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::SimMarket;
    use super::*;

    /// Every level has a positive size, and trades happen at the touch.
    #[test]
    fn books_are_sorted_and_never_crossed() {
        let market = SimMarket::new(3);
        for listed in market.all() {
            for second in 1_780_000_000..1_780_000_300 {
                let book = listed.book(second, 0);
                assert!(
                    book.bids[0].price < book.asks[0].price,
                    "{} at {second}",
                    listed.listing.inst.id
                );
                assert!(book.bids.windows(2).all(|w| w[0].price > w[1].price));
                assert!(book.asks.windows(2).all(|w| w[0].price < w[1].price));
                assert!(
                    book.bids
                        .iter()
                        .chain(&book.asks)
                        .all(|l| l.size > Decimal::ZERO)
                );
                let trades = listed.trades(second, 0);
                let trade = trades.last().unwrap();
                assert!(trade.price == book.bids[0].price || trade.price == book.asks[0].price);
            }
        }
    }
}
