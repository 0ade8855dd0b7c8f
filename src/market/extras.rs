//! Data that is not on a stream and changes slowly: book depth, funding, open interest. Read now
//! and then for those who use it; a read that fails leaves the old data, until it is too old.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::watch;
use tracing::debug;

use crate::domain::{Extras, InstId, InstKind, Instrument, Ms, Price, Qty};
use crate::runtime::{Actor, Beat, Clock, Shutdown, StageError};
use crate::venue::Venue;

/// Between two rounds, wall time.
const EVERY: Duration = Duration::from_secs(15);
/// Time without a read after which data counts as unknown.
const OLD: Duration = Duration::from_secs(120);
const LEVELS: usize = 100;

/// The actor that reads them.
pub struct ExtrasReader {
    pub venue: Venue,
    pub clock: Clock,
    pub instruments: Vec<Arc<Instrument>>,
    pub view: watch::Sender<BTreeMap<InstId, Extras>>,
    pub beat: Beat,
}

impl Actor for ExtrasReader {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let mut read_at: BTreeMap<InstId, tokio::time::Instant> = BTreeMap::new();
        let mut interest: BTreeMap<InstId, ExtrasInterest> = BTreeMap::new();
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = self.beat.while_waiting(tick.tick()) => {}
            }
            for inst in self.instruments.clone() {
                self.beat.tick();
                if let Some((mut extras, contracts)) =
                    self.beat.while_waiting(self.read(&inst)).await
                {
                    let now = self.clock.now();
                    extras.open_interest_24h = contracts.and_then(|read| {
                        interest.entry(inst.id.clone()).or_default().note(now, read)
                    });
                    read_at.insert(inst.id.clone(), tokio::time::Instant::now());
                    self.view.send_modify(|all| {
                        all.insert(inst.id.clone(), extras);
                    });
                } else if read_at.get(&inst.id).is_none_or(|at| at.elapsed() > OLD) {
                    self.view.send_modify(|all| {
                        all.remove(&inst.id);
                    });
                }
            }
        }
    }
}

impl ExtrasReader {
    /// Reads the current extras, and the number of open contracts.
    async fn read(&self, inst: &Instrument) -> Option<(Extras, Option<Qty>)> {
        let failed = |error: crate::venue::VenueError| debug!(event = "extras", inst = %inst.id, %error, "not read");
        let book = self
            .venue
            .book(&inst.id, LEVELS)
            .await
            .map_err(failed)
            .ok()?;
        let (funding, contracts) = match inst.kind {
            InstKind::Swap => (
                // What cannot be read is not known; the book is worth showing without it.
                self.venue
                    .funding_rate(&inst.id)
                    .await
                    .map_err(failed)
                    .ok()
                    .flatten(),
                self.venue
                    .open_interest(&inst.id)
                    .await
                    .map_err(failed)
                    .ok()
                    .flatten(),
            ),
            InstKind::Spot => (None, None),
        };
        let now = self.clock.now();
        let mid = book
            .bids
            .first()
            .zip(book.asks.first())
            .map(|(bid, ask)| Price((bid.0.0 + ask.0.0) / Decimal::TWO));
        let extras = Extras {
            depth_usd: depth(inst, &book.bids, &book.asks),
            funding_rate: funding.as_ref().map(|rate| rate.rate),
            funding_every: funding.as_ref().and_then(|rate| rate.every),
            next_funding: funding.map(|rate| rate.at).filter(|at: &Ms| *at > now),
            open_interest_usd: contracts
                .zip(mid)
                .and_then(|(qty, mid)| inst.notional(qty, mid))
                .map(|usd| usd.0),
            open_interest_24h: None,
        };
        Some((extras, contracts))
    }
}

/// Contracts that were open, a sample every quarter of an hour for a day.
#[derive(Debug, Default)]
struct ExtrasInterest(VecDeque<(Ms, Qty)>);

impl ExtrasInterest {
    const SAMPLE: Ms = Ms::secs(900);

    /// Notes a reading; the change over a day as a share, if it has been followed for so long
    /// without a gap.
    fn note(&mut self, now: Ms, contracts: Qty) -> Option<Decimal> {
        if self
            .0
            .back()
            .is_none_or(|(at, _)| now.since(*at) >= Self::SAMPLE)
        {
            self.0.push_back((now, contracts));
        }
        let day = now.plus(Ms(-Ms::days(1).0));
        // The newest that is a day old stays.
        while self.0.get(1).is_some_and(|(at, _)| *at <= day) {
            self.0.pop_front();
        }
        let (at, then) = *self.0.front()?;
        let is_a_day = at <= day && day.since(at) < Ms(2 * Self::SAMPLE.0);
        (contracts.0 - then.0)
            .checked_div(then.0)
            .filter(|_| is_a_day)
    }
}

/// Dollars on both sides within ten hundredths of a percent of the mid.
fn depth(inst: &Instrument, bids: &[(Price, Qty)], asks: &[(Price, Qty)]) -> Option<Decimal> {
    let mid = (bids.first()?.0.0 + asks.first()?.0.0) / Decimal::TWO;
    let reach = mid * Decimal::new(1, 3);
    let near = bids
        .iter()
        .chain(asks)
        .filter(|(price, _)| (price.0 - mid).abs() <= reach);
    near.map(|(price, qty)| inst.notional(*qty, *price).map(|usd| usd.0))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;

    /// Compared with the sample of 24 hours ago; after a gap there is none.
    #[test]
    fn open_interest_change_needs_a_day() {
        let mut interest = ExtrasInterest::default();
        let mut note = |minutes: i64, contracts: i64| {
            interest.note(Ms(minutes * 60_000), Qty(Decimal::from(contracts)))
        };
        for quarter in 0..96 {
            assert_eq!(note(quarter * 15, 100 + quarter), None, "less than a day");
        }
        assert_eq!(note(24 * 60, 150), Some("0.5".parse().unwrap()));
        assert_eq!(
            note(24 * 60 + 5, 120),
            Some("0.2".parse().unwrap()),
            "against the sample of a day ago"
        );
        assert_eq!(
            note(24 * 60 + 15, 101),
            Some(Decimal::ZERO),
            "against the next"
        );
        assert_eq!(note(60 * 60, 101), None, "after a gap nothing is a day old");
    }

    #[test]
    fn depth_sums_within_ten_basis_points() {
        let level = |price: &str, qty: &str| (price.parse().unwrap(), qty.parse().unwrap());
        let bids = [
            level("99.95", "1"),
            level("99.90", "2"),
            level("99.85", "100"),
        ];
        let asks = [level("100.05", "1"), level("100.15", "100")];
        // Ten contracts to the coin: (99.95 + 99.90 × 2 + 100.05) × 0.1.
        let expected: Decimal = "39.98".parse().unwrap();
        assert_eq!(
            depth(&swap(), &bids, &asks).map(|usd| usd.normalize()),
            Some(expected)
        );
        assert_eq!(depth(&swap(), &[], &asks), None);
    }
}
