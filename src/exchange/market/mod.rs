//! The seeded market: prices, candles, books and trades as pure functions of (seed, instrument,
//! second).
//!
//! Nothing is stored. Any second of any year can be asked for in any order, and the same seed gives
//! the same market on every run, which is what lets the exchange serve years of history at once and
//! go on over a downtime without a gap. `f64` is used for the shape of the path only; what leaves
//! this folder is whole ticks and lots.

mod book;
mod candles;
mod listing;
mod path;
mod recorded;

pub use book::{Level, SyntheticBook, Trade};
pub use candles::RawCandle;
pub use listing::{Listing, listed_as, listings};
pub use path::Path;
pub use recorded::{RecordedMarket, fold};

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use crate::domain::{InstKind, Ms};

/// All listed instruments with their paths.
#[derive(Debug)]
pub struct SimMarket {
    insts: BTreeMap<String, Listed>,
    /// Seed of the whole market.
    pub seed: u64,
}

/// One instrument and where its prices come from.
#[derive(Debug)]
pub struct Listed {
    pub listing: Listing,
    source: PriceFeed,
    seed: u64,
}

/// Source of prices.
#[derive(Debug)]
enum PriceFeed {
    /// Noise of a seed.
    Seeded(Path),
    /// Candles of a file.
    Recorded(RecordedMarket),
    /// Another exchange, as it happens; the core keeps what it said.
    Fed,
}

impl SimMarket {
    /// The standard listings under `seed`.
    pub fn new(seed: u64) -> Self {
        let insts = listings()
            .into_iter()
            .map(|listing| {
                // A swap follows the coin it is written on, so both share one path.
                let path = Path::new(
                    mix(seed, hash_text(&listing.inst.base)),
                    listing.sigma,
                    listing.base_price,
                );
                let own = mix(seed, hash_text(listing.inst.id.as_str()));
                (
                    listing.inst.id.to_string(),
                    Listed {
                        listing,
                        source: PriceFeed::Seeded(path),
                        seed: own,
                    },
                )
            })
            .collect();
        Self { insts, seed }
    }

    /// A market that plays recordings and lists nothing else.
    pub fn recorded(seed: u64, recordings: Vec<(Listing, RecordedMarket)>) -> Self {
        let listed = recordings.into_iter().map(|(listing, recording)| {
            let own = mix(seed, hash_text(listing.inst.id.as_str()));
            (
                listing.inst.id.to_string(),
                Listed {
                    listing,
                    source: PriceFeed::Recorded(recording),
                    seed: own,
                },
            )
        });
        Self {
            insts: listed.collect(),
            seed,
        }
    }

    /// A market whose prices are fed from outside.
    pub fn fed(listings: Vec<Listing>) -> Self {
        let listed = listings.into_iter().map(|listing| {
            (
                listing.inst.id.to_string(),
                Listed {
                    listing,
                    source: PriceFeed::Fed,
                    seed: 0,
                },
            )
        });
        Self {
            insts: listed.collect(),
            seed: 0,
        }
    }

    /// First and last second that every recording has; `None` for a market without an end.
    pub fn range(&self) -> Option<(i64, i64)> {
        let ranges = self
            .insts
            .values()
            .filter_map(|listed| match &listed.source {
                PriceFeed::Recorded(recording) => Some(recording.range()),
                _ => None,
            });
        ranges.reduce(|a, b| (a.0.max(b.0), a.1.min(b.1)))
    }

    /// Seconds of the longest recorded bar: history is counted in it.
    pub fn recorded_span(&self) -> i64 {
        let spans = self
            .insts
            .values()
            .filter_map(|listed| match &listed.source {
                PriceFeed::Recorded(recording) => Some(recording.span()),
                _ => None,
            });
        spans.max().unwrap_or(1)
    }

    /// The instrument of this name.
    pub fn get(&self, inst: &str) -> Option<&Listed> {
        self.insts.get(inst)
    }

    /// All of them, by name.
    pub fn all(&self) -> impl Iterator<Item = &Listed> {
        self.insts.values()
    }
}

impl Listed {
    /// Last traded price in whole ticks at the start of `second` (Unix seconds).
    pub fn ticks_at(&self, second: i64) -> i64 {
        match &self.source {
            PriceFeed::Seeded(path) => self.to_ticks(path.price_at(second)),
            PriceFeed::Recorded(recording) => recording.ticks_at(second),
            PriceFeed::Fed => 0,
        }
    }

    /// True if the market's prices are fed from outside.
    pub fn is_fed(&self) -> bool {
        matches!(self.source, PriceFeed::Fed)
    }

    /// A whole number of ticks of this instrument; `None` if the price is off the tick or out of
    /// range.
    pub fn whole_ticks(&self, price: Decimal) -> Option<i64> {
        let ticks = price.checked_div(self.listing.inst.tick.0)?;
        (ticks.fract().is_zero()).then(|| i64::try_from(ticks).ok())?
    }

    fn to_ticks(&self, price: f64) -> i64 {
        (price / self.listing.tick_f64).round().max(1.0) as i64
    }

    /// A number of ticks as a price.
    pub fn price(&self, ticks: i64) -> Decimal {
        Decimal::from(ticks) * self.listing.inst.tick.0
    }

    /// A number of lots as a size.
    pub fn size(&self, lots: i64) -> Decimal {
        Decimal::from(lots) * self.listing.inst.lot.0
    }

    /// Funding rate paid by longs to shorts at this boundary; within ±0.01 %. Zero for spot.
    pub fn funding_rate(&self, boundary: Ms) -> Decimal {
        if self.listing.inst.kind != InstKind::Swap {
            return Decimal::ZERO;
        }
        let draw = mix(self.seed ^ 0xF0_0D, boundary.0 as u64) % 2001;
        Decimal::new(draw as i64 - 1000, 7)
    }
}

/// SplitMix64's finaliser over two words: a hash good enough for noise (Steele, Lea, Flood 2014).
pub(super) fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// FNV-1a over a name, so that adding an instrument leaves the others' paths alone.
fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3)
    })
}
