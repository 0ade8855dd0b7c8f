//! The `books` channel: a book that subscribers keep themselves, change by change, in sequence.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::super::market::{Level, SyntheticBook};
use super::{Event, Exchange};

/// The book as it was last shown, and the number of that showing.
#[derive(Debug, Default)]
pub struct Depth {
    seq: i64,
    book: SyntheticBook,
}

/// Changes of a book since it was last shown; size 0 deletes a level.
#[derive(Clone, Debug, Default)]
pub struct DepthChange {
    pub prev_seq: i64,
    pub seq: i64,
    pub bids: Vec<Level>,
    pub asks: Vec<Level>,
}

impl Exchange {
    /// The book as subscribers have it after every change so far, with its sequence number.
    pub fn depth_snapshot(&mut self, inst: &str) -> (i64, SyntheticBook) {
        self.show_depth(inst);
        self.depth
            .get(inst)
            .map_or_else(Default::default, |shown| (shown.seq, shown.book.clone()))
    }

    /// Brings what was shown to the present; a change becomes an event.
    pub fn show_depth(&mut self, inst: &str) {
        let book = self.book(inst);
        // Sequence numbers are venue-wide marks, not counts: gaps between them mean nothing.
        let start = self.now.0.div_euclid(1000);
        let shown = self.depth.entry(inst.to_owned()).or_insert_with(|| Depth {
            seq: start,
            ..Default::default()
        });
        let (bids, asks) = (
            changed(&shown.book.bids, &book.bids),
            changed(&shown.book.asks, &book.asks),
        );
        shown.book = book;
        if bids.is_empty() && asks.is_empty() {
            return;
        }
        let prev_seq = shown.seq;
        shown.seq += 1;
        let change = DepthChange {
            prev_seq,
            seq: shown.seq,
            bids,
            asks,
        };
        self.events.push(Event::Depth(inst.to_owned(), change));
    }
}

fn changed(old: &[Level], new: &[Level]) -> Vec<Level> {
    let was: BTreeMap<Decimal, Decimal> = old.iter().map(|l| (l.price, l.size)).collect();
    let is: BTreeMap<Decimal, Decimal> = new.iter().map(|l| (l.price, l.size)).collect();
    let gone = was
        .keys()
        .filter(|price| !is.contains_key(price))
        .map(|price| Level {
            price: *price,
            size: Decimal::ZERO,
        });
    let news = is
        .iter()
        .filter(|(price, size)| was.get(price) != Some(size));
    gone.chain(news.map(|(price, size)| Level {
        price: *price,
        size: *size,
    }))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::market::SimMarket;
    use super::super::VenueLedger;
    use super::*;
    use crate::domain::Ms;

    /// Snapshot plus every change over 200 seconds equals the book, with unbroken sequence numbers.
    #[test]
    fn depth_changes_rebuild_the_book() {
        let mut x = Exchange::new(
            Arc::new(SimMarket::new(3)),
            VenueLedger::default(),
            Ms::secs(1_780_000_000),
        );
        x.advance(Ms::secs(1_780_000_000));
        let inst = "BTC-USDT-SWAP";
        let (mut seq, book) = x.depth_snapshot(inst);
        let side = |levels: &[Level]| {
            levels
                .iter()
                .map(|l| (l.price, l.size))
                .collect::<BTreeMap<_, _>>()
        };
        let (mut bids, mut asks) = (side(&book.bids), side(&book.asks));
        x.events.clear();
        for second in 1..200 {
            x.advance(Ms::secs(1_780_000_000 + second));
            x.show_depth(inst);
            for event in std::mem::take(&mut x.events) {
                let Event::Depth(_, change) = event else {
                    continue;
                };
                assert_eq!(change.prev_seq, seq);
                seq = change.seq;
                for (mine, news) in [(&mut bids, &change.bids), (&mut asks, &change.asks)] {
                    for level in news {
                        mine.insert(level.price, level.size);
                    }
                    mine.retain(|_, size| !size.is_zero());
                }
            }
            let now = x.book(inst);
            assert_eq!((&bids, &asks), (&side(&now.bids), &side(&now.asks)));
        }
        assert!(seq > 1_780_000_150, "the book hardly moved");
    }
}
