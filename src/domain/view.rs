//! What the later stages see of the world: the newest market, the newest orders, and whether we may trade.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::books::Holding;
use super::{Bar, Candle, ContenderId, InstId, Instrument, Ms, OrderId, OrderState, Price, Qty, RunId, Series, Side};

/// Best bid and ask, with the venue's own time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    pub bid: Price,
    pub bid_qty: Qty,
    pub ask: Price,
    pub ask_qty: Qty,
    pub last: Price,
    pub at: Ms,
}

impl Quote {
    /// Half way between bid and ask.
    pub fn mid(&self) -> Price {
        Price((self.bid.0 + self.ask.0) / Decimal::TWO)
    }
    /// Positive, and bid below ask.
    pub fn is_sane(&self) -> bool {
        self.bid > Price::ZERO && self.bid < self.ask && self.last > Price::ZERO
    }
}

/// One instrument's market.
#[derive(Clone, Debug)]
pub struct InstMarket {
    pub instrument: Arc<Instrument>,
    pub quote: Option<Quote>,
    /// The last closed bars of each size that is followed, oldest first, without a gap.
    pub series: BTreeMap<Bar, Series>,
}

impl InstMarket {
    /// The last closed bars of one size, oldest first; empty if that size is not followed.
    pub fn history(&self, bar: Bar) -> &[Candle] {
        self.series.get(&bar).map_or(&[], Series::candles)
    }
}

/// The market as last heard.
#[derive(Clone, Debug, Default)]
pub struct MarketView {
    pub insts: BTreeMap<InstId, InstMarket>,
    /// Are all streams up and every instrument backfilled?
    pub live: bool,
}

/// One of our orders that may be alive at the venue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOrder {
    pub id: OrderId,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub inst: InstId,
    pub side: Side,
    pub state: OrderState,
    /// Still to be filled.
    pub leaves: Qty,
    /// Worst price it may fill at: its limit, else the decision's reference.
    pub price: Price,
    /// Cancel it after this instant, venue time.
    pub cancel_after: Option<Ms>,
    pub opening: bool,
}

/// A stop that protects nothing any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdleStop {
    pub inst: InstId,
    pub algo_id: String,
    /// The run whose entry made it.
    pub run_id: RunId,
}

/// Orders and sleeves as the tracker knows them.
#[derive(Clone, Debug, Default)]
pub struct OrdersView {
    pub open: BTreeMap<OrderId, OpenOrder>,
    /// What each contender holds, by our own fills.
    pub holdings: BTreeMap<(ContenderId, InstId), Holding>,
    /// Why each halted instrument, or everything (`None`), is halted.
    pub halts: Vec<(Option<InstId>, String)>,
    /// The newest order of each contender and instrument that has arrived here, whatever became of
    /// it: tells the allocator that what it handed on is no longer on its way.
    pub latest: BTreeMap<(ContenderId, InstId), OrderId>,
    /// Stops that protect nothing any more and are to be cancelled.
    pub idle_stops: Vec<IdleStop>,
}

impl OrdersView {
    /// Orders whose outcome is not proven.
    pub fn unknown(&self) -> impl Iterator<Item = &OpenOrder> {
        self.open.values().filter(|order| order.state == OrderState::Unknown)
    }
    /// Is the instrument frozen: an unknown order in it, or a halt on it or on everything?
    pub fn frozen(&self, inst: &InstId) -> Option<String> {
        if let Some(order) = self.unknown().find(|order| order.inst == *inst) {
            return Some(format!("the outcome of order {} is not known yet", order.id));
        }
        if let Some(order) = self.open.values().find(|order| order.inst == *inst && order.state.is_final()) {
            return Some(format!("fills of order {} are still being fetched", order.id));
        }
        self.halts.iter().find(|(on, _)| on.as_ref().is_none_or(|on| on == inst)).map(|(_, why)| why.clone())
    }
}

/// May opening orders leave? Set by the tracker and the supervisor, read by the gate and the executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Not reconciled with the venue (yet, or any more).
    Reconciling(String),
    Ready,
    /// Something contradicts our books; a person must look.
    Halted(String),
}
