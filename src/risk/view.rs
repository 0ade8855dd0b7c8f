//! Everything the gate looks at when it judges an order, and orders that the tracker has not seen yet.

use serde::{Deserialize, Serialize};

use super::recent::Recent;
use crate::domain::{
    AccountView, ContenderId, EquityBook, InstId, InstKind, Instrument, MarketView, Ms, OrderId,
    OrdersView, Permission, Price, Qty, Quote, Readiness, Restrictions, Side, Usd,
};

use crate::runtime::sabotage::{self, Promise};

/// Inputs of the gate's check.
pub struct View<'a> {
    pub now: Ms,
    pub instrument: &'a Instrument,
    pub market: &'a MarketView,
    pub account: Option<&'a AccountView>,
    /// Equity, marked to market.
    pub equity: Option<Usd>,
    pub book: &'a EquityBook,
    pub orders: &'a OrdersView,
    pub readiness: &'a Readiness,
    pub restrictions: &'a Restrictions,
    pub recent: &'a Recent,
    /// Approved by us and perhaps not yet seen by the tracker.
    pub in_flight: &'a [InFlight],
}

impl View<'_> {
    /// What may leave, as if the trading switch were on: what is judged while it is off is recorded,
    /// and suppressed.
    pub fn permission(&self) -> Permission<'_> {
        let readiness = match sabotage::breaks(Promise::P5) {
            true => &Readiness::Ready,
            false => self.readiness,
        };
        Permission {
            trading_on: true,
            readiness,
            restrictions: self.restrictions,
        }
    }

    pub(super) fn quote(&self) -> Option<&Quote> {
        self.market
            .insts
            .get(&self.instrument.id)
            .and_then(|shown| shown.quote.as_ref())
    }

    /// Close of the last closed bar, of the shortest size that has one.
    pub(super) fn close(&self) -> Option<Price> {
        let shown = self.market.insts.get(&self.instrument.id)?;
        shown
            .series
            .values()
            .find_map(|series| series.candles().last())
            .map(|bar| bar.close)
    }

    /// The second reference: what the venue marks positions by, on spot the last close.
    pub(super) fn mark(&self, age_max: Ms) -> Option<Price> {
        match self.instrument.kind {
            InstKind::Swap => {
                let (price, at) = self.market.insts.get(&self.instrument.id)?.mark?;
                // The venue speaks of it less often than of quotes (OKX: every 10 s if it has not
                // moved).
                (self.now.since(at).0 <= age_max.0.saturating_mul(3)).then_some(price)
            }
            InstKind::Spot => self.close(),
        }
    }
}

/// An order that was approved and has not been seen by the tracker yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    pub id: OrderId,
    pub contender: ContenderId,
    /// Under whose name the tracker tells its progress.
    #[serde(rename = "lane")]
    pub owner: ContenderId,
    pub inst: InstId,
    pub side: Side,
    pub qty: Qty,
}
