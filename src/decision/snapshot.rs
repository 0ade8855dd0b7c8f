//! The frozen snapshot: what every contender of a cycle is shown, and the canonical JSON of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::domain::books::Holding;
use crate::domain::{AccountView, Bar, Candle, ContenderId, InstId, Instrument, Ms, Quote, Usd};

/// One instrument in a snapshot.
#[derive(Clone, Debug, Serialize)]
pub struct InstSnapshot {
    #[serde(skip)]
    pub instrument: Arc<Instrument>,
    /// The bar that closed; `None` if it was late.
    pub bar: Option<Candle>,
    /// Longer bars that closed at the same instant.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub longer: BTreeMap<Bar, Candle>,
    pub quote: Option<Quote>,
}

/// The world at one instant. Does not name the run or the mode: the same state gives the same
/// bytes.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    pub schema: &'static str,
    pub as_of_ms: Ms,
    pub bar: Bar,
    pub bar_ts: Ms,
    pub market: BTreeMap<InstId, InstSnapshot>,
    pub equity: Usd,
    pub available: Usd,
    pub account_as_of_ms: Ms,
    /// `contender/instrument` → what it holds.
    pub holdings: BTreeMap<String, Holding>,
}

impl Snapshot {
    /// Puts a snapshot together from what is known now.
    pub fn freeze(
        as_of: Ms,
        (bar, bar_ts): (Bar, Ms),
        market: BTreeMap<InstId, InstSnapshot>,
        account: &AccountView,
        holdings: &BTreeMap<(ContenderId, InstId), Holding>,
    ) -> Self {
        let open = holdings.iter().filter(|(_, h)| !h.qty.is_zero());
        Self {
            schema: "snapshot/1",
            as_of_ms: as_of,
            bar,
            bar_ts,
            market,
            equity: account.equity,
            available: account.available,
            account_as_of_ms: account.as_of,
            holdings: open
                .map(|((c, i), h)| (format!("{c}/{i}"), h.clone()))
                .collect(),
        }
    }

    /// Canonical JSON: ordered keys, decimals as strings.
    pub fn canonical(&self) -> Arc<str> {
        serde_json::to_string(self)
            .expect("a snapshot has only text keys")
            .into()
    }
}

/// A snapshot of one instrument, for the tests of the stages that follow.
#[cfg(test)]
pub(crate) fn test_snapshot(inst: Instrument, bid: &str, ask: &str, equity: &str) -> Snapshot {
    let quote = Quote {
        bid: bid.parse().unwrap(),
        bid_qty: "10".parse().unwrap(),
        ask: ask.parse().unwrap(),
        ask_qty: "10".parse().unwrap(),
        last: bid.parse().unwrap(),
        at: Ms(1000),
    };
    let shown = InstSnapshot {
        instrument: Arc::new(inst.clone()),
        bar: None,
        longer: BTreeMap::new(),
        quote: Some(quote),
    };
    Snapshot {
        schema: "snapshot/1",
        as_of_ms: Ms(1000),
        bar: Bar::S1,
        bar_ts: Ms(0),
        market: BTreeMap::from([(inst.id, shown)]),
        equity: equity.parse().unwrap(),
        available: equity.parse().unwrap(),
        account_as_of_ms: Ms(1000),
        holdings: BTreeMap::new(),
    }
}
