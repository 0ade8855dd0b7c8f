//! World as the later stages see it: the newest market, the newest orders, and whether we may
//! trade.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::books::Holding;
use super::units::quotient;
use super::{
    Bar, Candle, ContenderId, Incident, InstId, Instrument, Ms, OrderId, OrderState, Price, Qty,
    RunId, Series, Side, StopOrder, Tally,
};

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
        Price(quotient(
            self.bid.0.saturating_add(self.ask.0),
            Decimal::TWO,
        ))
    }
    /// Positive, and bid below ask.
    pub fn is_sane(&self) -> bool {
        self.bid > Price::ZERO && self.bid < self.ask && self.last > Price::ZERO
    }
}

/// One instrument's market.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstMarket {
    pub instrument: Arc<Instrument>,
    pub quote: Option<Quote>,
    /// Mark price of the venue, and since when; swaps only.
    pub mark: Option<(Price, Ms)>,
    /// The last closed bars of each size that is followed, oldest first, without a gap.
    pub series: BTreeMap<Bar, Series>,
}

impl InstMarket {
    /// Returns the price that values a position: the venue's mark, else the mid.
    pub fn mark_or_mid(&self) -> Option<Price> {
        self.mark
            .map(|(price, _)| price)
            .or_else(|| self.quote.map(|quote| quote.mid()))
    }

    /// The last closed bars of one size, oldest first; empty if that size is not followed.
    pub fn history(&self, bar: Bar) -> &[Candle] {
        self.series.get(&bar).map_or(&[], Series::candles)
    }
}

/// The market as last heard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct MarketView {
    pub insts: BTreeMap<InstId, InstMarket>,
    /// True while all streams are up and every instrument is backfilled.
    pub live: bool,
    /// Messages refused because their time was ahead of the venue's clock: how often, and when
    /// last.
    #[serde(skip)]
    pub ahead: BTreeMap<InstId, (u64, Ms)>,
}

/// Market data read now and then, beside the streams.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras {
    /// Dollars on both sides of the book within ten hundredths of a percent of the mid.
    pub depth_usd: Option<Decimal>,
    /// Of the running interval, as a share of notional; swaps only.
    pub funding_rate: Option<Decimal>,
    pub next_funding: Option<Ms>,
    /// Between two payments; `None`: not known.
    #[serde(default)]
    pub funding_every: Option<Ms>,
    /// Dollars in all open contracts, and the change of their number over a day as a share; swaps
    /// only.
    #[serde(default)]
    pub open_interest_usd: Option<Decimal>,
    #[serde(default)]
    pub open_interest_24h: Option<Decimal>,
}

/// One of our orders that may be alive at the venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenOrder {
    pub id: OrderId,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub inst: InstId,
    pub side: Side,
    pub state: OrderState,
    /// Still to be filled.
    pub leaves: Qty,
    /// Worst price it may fill at: its limit, or one it may have been moved to; else the decision's
    /// reference.
    pub price: Price,
    /// Price at which it rests, as the venue reported last.
    pub limit: Option<Price>,
    /// Venue time of its intent.
    pub created_at: Ms,
    /// Cancel it after this instant, venue time.
    pub cancel_after: Option<Ms>,
    pub opening: bool,
    /// A close by command or a repair of protection.
    pub protective: bool,
}

/// Protection of a sleeve, defined by the entry that made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guard {
    /// The newest order that added to the sleeve.
    pub entry: OrderId,
    /// Run of that order: whatever its stop does is booked to it.
    pub run_id: RunId,
    /// The side of that order: the sleeve's direction.
    pub side: Side,
    /// Stop price that its decision wanted; `None`: it named none.
    pub trigger: Option<Price>,
}

/// Phase of a stop of ours, which decides how much it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopPhase {
    /// On its way, or about to be made by the venue: its order has just ended.
    Coming,
    /// The venue shows it.
    Live,
    /// Triggered, with its order working.
    Closing,
    /// Believed never made, and alive at the venue after all: to be cancelled.
    Undead,
}

/// A stop that counts, or may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownStop {
    pub stop: StopOrder,
    pub phase: StopPhase,
}

/// Orders and sleeves as the tracker knows them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct OrdersView {
    pub open: BTreeMap<OrderId, OpenOrder>,
    /// Holdings of each contender, by our own fills.
    pub holdings: BTreeMap<(ContenderId, InstId), Holding>,
    /// Activity of each contender, counted from its fills.
    pub tally: Tally,
    /// Why what is halted is halted.
    pub halts: Vec<Incident>,
    /// The newest order of each contender and instrument that has arrived here, whatever became of
    /// it: tells the allocator that what it handed on is no longer on its way, and how it ended.
    pub latest: BTreeMap<(ContenderId, InstId), Latest>,
    /// Protection of each sleeve.
    pub guards: BTreeMap<(ContenderId, InstId), Guard>,
    /// Stops of ours that live at the venue, or may, or are closing.
    pub stops: Vec<ShownStop>,
    /// Orders under our prefix that we do not know: to be cancelled.
    pub strays: Vec<Stray>,
    /// Holdings of each instrument at the venue that are not ours.
    pub foreign: BTreeMap<InstId, Qty>,
    /// Instruments in which the last read of the account does not fit our fills, until it does or
    /// is a case.
    pub doubts: BTreeMap<InstId, String>,
}

/// The newest order of a contender in an instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latest {
    pub id: OrderId,
    pub state: OrderState,
    pub filled: Qty,
    /// Ended, and all its fills are booked.
    pub settled: bool,
    /// True if somebody wanted it gone: a person, a close, the venue's own page. Nobody tries it
    /// again.
    pub given_up: bool,
}

/// An order under our prefix that we do not know.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stray {
    pub inst: InstId,
    pub cl_ord_id: String,
}

impl OrdersView {
    /// Orders whose outcome is not proven.
    pub fn unknown(&self) -> impl Iterator<Item = &OpenOrder> {
        self.open
            .values()
            .filter(|order| order.state == OrderState::Unknown)
    }
    /// Returns why the instrument is frozen: an unknown order in it, a halt on it, or a doubt about
    /// its holdings. Halts of everything are in [`Readiness`].
    pub fn frozen(&self, inst: &InstId) -> Option<String> {
        if let Some(order) = self.unknown().find(|order| order.inst == *inst) {
            return Some(format!(
                "the outcome of order {} is not known yet",
                order.id
            ));
        }
        if let Some(order) = self
            .open
            .values()
            .find(|order| order.inst == *inst && order.state.is_final())
        {
            return Some(format!(
                "fills of order {} are still being fetched",
                order.id
            ));
        }
        self.halts
            .iter()
            .find(|case| case.scope.as_ref() == Some(inst))
            .map(|case| format!("{}: {}", case.id(), case.why))
            .or_else(|| self.doubts.get(inst).cloned())
    }

    /// Returns the net holdings of all sleeves in an instrument.
    pub fn net(&self, inst: &InstId) -> Decimal {
        self.holdings
            .iter()
            .filter(|((_, on), _)| on == inst)
            .map(|(_, held)| held.qty.0)
            .sum()
    }

    /// The most and the least the account may come to hold of an instrument if every order that may
    /// be alive fills in full on its side: worst case for exposure, unknown orders included. What
    /// is not ours counts too.
    pub fn worst_case(&self, inst: &InstId) -> (Qty, Qty) {
        let net = self
            .net(inst)
            .saturating_add(self.foreign.get(inst).map_or(Decimal::ZERO, |qty| qty.0));
        let leaves = |side: Side| -> Decimal {
            self.open
                .values()
                .filter(|o| o.inst == *inst && o.side == side)
                .map(|o| o.leaves.0)
                .sum()
        };
        (
            Qty(net.saturating_add(leaves(Side::Buy))),
            Qty(net.saturating_sub(leaves(Side::Sell))),
        )
    }
}

/// Readiness to send opening orders. Set by the tracker and the supervisor, read by the gate and
/// the executor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Readiness {
    /// Not reconciled with the venue (yet, or any more).
    Reconciling(String),
    Ready,
    /// No opening orders; orders that take risk off may be sent.
    ReduceOnly(String),
    /// Contradiction with our books; a person must look.
    Halted(String),
}

impl Readiness {
    /// Returns its name in the database and for people.
    pub const fn name(&self) -> &'static str {
        match self {
            Readiness::Reconciling(_) => "reconciling",
            Readiness::Ready => "active",
            Readiness::ReduceOnly(_) => "reduce_only",
            Readiness::Halted(_) => "halted",
        }
    }
    /// Why it is not ready.
    pub fn why(&self) -> Option<&str> {
        match self {
            Readiness::Reconciling(why) | Readiness::ReduceOnly(why) | Readiness::Halted(why) => {
                Some(why)
            }
            Readiness::Ready => None,
        }
    }
}
