//! An order as we know it: what we did, and the join of everything the venue ever said of it.
//!
//! Venue reports may come late, twice and in any order. Joining them is commutative, associative
//! and idempotent: quantities only grow, a final state absorbs, fills are a set. Two different
//! final states, or more filled than was ordered, cannot be joined: that is an error which stops
//! trading.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::units::quotient;
use super::{
    AlgoState, ContenderId, IllegalMove, InstId, Ms, OrdType, OrderId, OrderIntent, OrderState,
    Price, Purpose, Qty, RunId, Side, TradeId, VenueOrdId,
};

/// Liquidity side of a fill: it added to the book or took from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Liquidity {
    #[serde(rename = "M")]
    Maker,
    #[serde(rename = "T")]
    Taker,
}

impl Liquidity {
    /// OKX's `execType`.
    pub const fn okx(self) -> &'static str {
        match self {
            Liquidity::Maker => "M",
            Liquidity::Taker => "T",
        }
    }
}

/// One execution. Keyed by (instrument, trade id, order).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fill {
    pub inst: InstId,
    pub trade_id: TradeId,
    pub order_id: OrderId,
    pub venue_id: VenueOrdId,
    pub contender: ContenderId,
    pub run_id: RunId,
    pub side: Side,
    pub price: Price,
    /// Base units (spot) or contracts (swap).
    pub qty: Qty,
    /// In `fee_ccy`; negative is paid, positive a rebate, as OKX signs it.
    pub fee: Decimal,
    pub fee_ccy: String,
    pub liquidity: Liquidity,
    pub at: Ms,
}

/// Status of an order, as the venue reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VenueStatus {
    Live,
    PartiallyFilled,
    Filled,
    Canceled,
}

/// One statement of the venue about one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VenueReport {
    pub venue_id: VenueOrdId,
    pub status: VenueStatus,
    /// Filled so far, in base units or contracts.
    pub filled: Qty,
    pub average: Option<Price>,
    /// The venue's reason for a cancel (`cancelSource`), if it gave one.
    pub cancel_source: Option<String>,
    pub at: Ms,
}

/// Everything known about one order.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: OrderId,
    pub run_id: RunId,
    pub contender: ContenderId,
    pub inst: InstId,
    pub side: Side,
    pub ord_type: OrdType,
    pub qty: Qty,
    pub limit: Option<Price>,
    /// Price at which it may rest instead, while a move is not answered.
    pub moving: Option<Price>,
    pub purpose: Purpose,
    pub reduce_only: bool,
    /// Stop price of the position it makes.
    pub stop: Option<Price>,
    pub reference: Price,
    /// Venue time of the intent.
    pub created_at: Ms,
    pub ttl: Option<Ms>,
    /// The request dies at the venue after this instant.
    pub expires_at: Option<Ms>,
    pub venue_id: Option<VenueOrdId>,
    pub filled: Qty,
    pub average: Option<Price>,
    /// State reached on our side alone, before the venue reported anything.
    local: OrderState,
    venue: Option<VenueStatus>,
    cancel_requested: bool,
    /// A person or a close asked for its cancel.
    unwanted: bool,
    cancel_source: Option<String>,
    fills: BTreeMap<TradeId, BookedFill>,
}

/// Facts reported about one execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FillFacts {
    pub qty: Qty,
    pub price: Price,
    /// As in [`Fill::fee`].
    pub fee: Decimal,
}

impl FillFacts {
    /// Returns the facts of a fill.
    pub fn of(fill: &Fill) -> Self {
        Self {
            qty: fill.qty,
            price: fill.price,
            fee: fill.fee,
        }
    }
}

/// Source of an execution report. The venue's list is its ledger; a push is a message that may be
/// corrupted on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    Push,
    List,
}

/// An execution as it is booked, and whether the venue's list has told of it.
#[derive(Clone, Debug)]
struct BookedFill {
    facts: FillFacts,
    listed: bool,
}

/// Effect of an execution report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FillNews {
    /// Booked already, as it is told.
    Known,
    /// Not heard of before.
    New,
    /// Booked otherwise, and the list is believed: it was so before.
    Corrected { was: FillFacts },
    /// Booked otherwise, and a push is not believed over that: ask for the list.
    Doubtful { booked: FillFacts },
}

/// A statement that cannot be true together with what we know. Trading stops; a person looks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    #[error("order {order} is {known:?} at the venue and now said to be {said:?}")]
    TwoEnds {
        order: OrderId,
        known: VenueStatus,
        said: VenueStatus,
    },
    #[error("order {order} over {qty} is said to have filled {filled}")]
    Overfill {
        order: OrderId,
        qty: Qty,
        filled: Qty,
    },
    #[error("order {order} is known as {known} and now called {said}")]
    TwoNames {
        order: OrderId,
        known: VenueOrdId,
        said: VenueOrdId,
    },
    #[error("the venue's order {venue_id} is {order} and is now said to be {said}")]
    OtherOrder {
        order: OrderId,
        venue_id: VenueOrdId,
        /// Instrument, side and name as told.
        said: String,
        /// The order that was named instead, if any was.
        named: Option<OrderId>,
    },
    #[error("order {order}: {source}")]
    Move { order: OrderId, source: IllegalMove },
    #[error("order {order} is {known} and is said to have filled {filled}")]
    FilledAfterAll {
        order: OrderId,
        known: OrderState,
        filled: Qty,
    },
    #[error("stop {stop} is {known} and now said to be {said}")]
    TwoStopEnds {
        stop: String,
        known: AlgoState,
        said: AlgoState,
    },
}

impl Contradiction {
    /// Orders that it is about.
    pub fn orders(&self) -> Vec<OrderId> {
        match self {
            Contradiction::TwoEnds { order, .. }
            | Contradiction::Overfill { order, .. }
            | Contradiction::TwoNames { order, .. }
            | Contradiction::Move { order, .. }
            | Contradiction::FilledAfterAll { order, .. } => vec![order.clone()],
            Contradiction::OtherOrder { order, named, .. } => {
                [order.clone()].into_iter().chain(named.clone()).collect()
            }
            Contradiction::TwoStopEnds { .. } => Vec::new(),
        }
    }
}

/// A change of state worth a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateChange {
    pub from: OrderState,
    pub to: OrderState,
}

/// A market order does not fill at so many times its reference, or at a so-manieth of it.
const FAR: Decimal = Decimal::from_parts(3, 0, 0, false, 0);

impl Order {
    /// An order that is durable and about to be sent.
    pub fn intended(intent: &OrderIntent, created_at: Ms, expires_at: Option<Ms>) -> Self {
        Self {
            id: OrderId::from(&intent.cl_ord_id),
            run_id: intent.run_id,
            contender: intent.contender.clone(),
            inst: intent.inst.clone(),
            side: intent.side,
            ord_type: intent.ord_type,
            qty: intent.qty,
            limit: intent.limit,
            moving: None,
            purpose: intent.purpose,
            reduce_only: intent.reduce_only,
            stop: intent.stop.as_ref().map(|stop| stop.trigger),
            reference: intent.reference,
            created_at,
            ttl: intent.ttl,
            expires_at,
            venue_id: None,
            filled: Qty::ZERO,
            average: None,
            local: OrderState::Intended,
            venue: None,
            cancel_requested: false,
            unwanted: false,
            cancel_source: None,
            fills: BTreeMap::new(),
        }
    }

    /// The same order as the database remembers it, in `state`, with the fills it has.
    pub fn remembered(
        mut self,
        state: OrderState,
        fills: impl IntoIterator<Item = (TradeId, FillFacts)>,
    ) -> Self {
        self.fills = fills
            .into_iter()
            .map(|(trade, facts)| {
                (
                    trade,
                    BookedFill {
                        facts,
                        listed: false,
                    },
                )
            })
            .collect();
        self.cancel_requested = state == OrderState::CancelRequested;
        self.venue = match state {
            OrderState::Acked | OrderState::CancelRequested => Some(VenueStatus::Live),
            OrderState::PartiallyFilled => Some(VenueStatus::PartiallyFilled),
            OrderState::Filled => Some(VenueStatus::Filled),
            OrderState::Canceled => Some(VenueStatus::Canceled),
            local => {
                self.local = local;
                None
            }
        };
        self
    }

    /// Returns the current state, derived from all we know.
    pub fn state(&self) -> OrderState {
        match self.venue {
            None => self.local,
            Some(VenueStatus::Filled) => OrderState::Filled,
            Some(VenueStatus::Canceled) => OrderState::Canceled,
            Some(_) if self.local == OrderState::Unknown => OrderState::Unknown,
            Some(_) if self.cancel_requested => OrderState::CancelRequested,
            Some(_) if self.filled > Qty::ZERO => OrderState::PartiallyFilled,
            Some(_) => OrderState::Acked,
        }
    }

    /// The worst price it may fill at: its limit, or the one it is being moved to; else the
    /// decision's reference.
    pub fn worst_price(&self) -> Price {
        match (self.limit, self.moving, self.side) {
            (Some(limit), Some(moving), Side::Buy) => limit.max(moving),
            (Some(limit), Some(moving), Side::Sell) => limit.min(moving),
            (Some(limit), None, _) => limit,
            (None, ..) => self.reference,
        }
    }

    /// Still to be filled.
    pub fn leaves(&self) -> Qty {
        Qty((self.qty.0 - self.filled.0).max(Decimal::ZERO))
    }

    /// Sum of the fills we hold. Less than `filled` means some are missing.
    pub fn filled_by_fills(&self) -> Qty {
        Qty(self.fills.values().map(|told| told.facts.qty.0).sum())
    }

    /// True if a report with this instrument, side and client order id (empty: none is given) is
    /// about this order.
    pub fn is_told_of(&self, inst: &InstId, side: Side, cl_ord_id: &str) -> bool {
        // What the venue has made itself has no name of ours to compare.
        let nameless = matches!(self.purpose, Purpose::Stop | Purpose::Liquidation);
        let named = cl_ord_id.is_empty() || nameless || cl_ord_id == self.id.as_str();
        self.inst == *inst && self.side == side && named
    }

    /// True if an execution at this price is possible. A price worse than the order's limit is not,
    /// nor is one far from any market price at the time of the decision.
    pub fn may_fill_at(&self, price: Price) -> bool {
        let limit = self.limit.map(|_| self.worst_price());
        let within = limit.is_none_or(|limit| {
            if self.side == Side::Buy {
                price <= limit
            } else {
                price >= limit
            }
        });
        let near = |price: Price| {
            let reference = self.reference.0;
            reference.is_zero()
                || (price.0 >= quotient(reference, FAR) && price.0 <= reference.saturating_mul(FAR))
        };
        price > Price::ZERO && within && near(price)
    }

    /// Checks whether a push agrees with itself: the fills we hold and the one it reports make the
    /// size and the average that it reports. Only where they are all the fills there are; `None`:
    /// it does not report enough.
    pub fn adds_up(
        &self,
        trade: &TradeId,
        told: &FillFacts,
        filled: Qty,
        average: Option<Price>,
    ) -> Option<bool> {
        let others = self
            .fills
            .iter()
            .filter(|(id, _)| *id != trade)
            .map(|(_, told)| &told.facts);
        let mut sums = Some((Decimal::ZERO, Decimal::ZERO));
        for facts in others.chain([told]) {
            sums = sums.and_then(|(qty, value): (Decimal, Decimal)| {
                let worth = facts.qty.0.checked_mul(facts.price.0)?;
                Some((qty.checked_add(facts.qty.0)?, value.checked_add(worth)?))
            });
        }
        let Some((qty, value)) = sums else {
            return Some(false);
        };
        if qty > filled.max(self.filled).0 {
            return Some(false);
        }
        if filled < self.filled || qty < filled.0 {
            return None; // it is older than what we hold, or others are missing
        }
        let made = value.checked_div(qty)?;
        let off = (made - average?.0).abs().checked_div(made)?;
        // The venue rounds its averages.
        Some(off <= Decimal::new(1, 5))
    }

    /// Enlarges the order, as somebody has done at the venue. `false`: it is as large already.
    pub fn enlarge(&mut self, qty: Qty) -> bool {
        let larger = qty > self.qty;
        self.qty = self.qty.max(qty);
        larger
    }

    /// True if we hold this fill already.
    pub fn has_fill(&self, trade: &TradeId) -> bool {
        self.fills.contains_key(trade)
    }

    /// Takes a word on an execution. One that fills more than was ordered counts all the same: it
    /// is there.
    pub fn add_fill(&mut self, trade: TradeId, facts: FillFacts, by: Teller) -> FillNews {
        let listed = by == Teller::List;
        let news = match self.fills.get_mut(&trade) {
            Some(told) if told.facts == facts => {
                told.listed |= listed;
                return FillNews::Known;
            }
            Some(told) if !listed => {
                return FillNews::Doubtful {
                    booked: told.facts.clone(),
                };
            }
            Some(told) => {
                let was = std::mem::replace(&mut told.facts, facts.clone());
                told.listed = true;
                // What was told too much was counted too much.
                let less = was.qty.0.saturating_sub(facts.qty.0).max(Decimal::ZERO);
                self.filled = Qty(self.filled.0.saturating_sub(less));
                FillNews::Corrected { was }
            }
            None => {
                self.fills.insert(trade, BookedFill { facts, listed });
                FillNews::New
            }
        };
        let total = self.filled_by_fills();
        self.filled = self.filled.max(total);
        self.enlarge(total);
        news
    }

    /// Proven absent at the venue, which may have known it once and forgotten it: an order that
    /// ended without a fill is forgotten after two hours. Its fills, if any, were booked before.
    pub fn forgotten(&mut self) -> Result<Option<StateChange>, Contradiction> {
        let from = self.state();
        if from.is_final() {
            return Ok(None);
        }
        // Fills prove that it was there, whatever the venue still knows of it.
        let end = match () {
            () if self.filled == self.qty => Some(VenueStatus::Filled),
            () if self.venue.is_some() || self.venue_id.is_some() || self.filled > Qty::ZERO => {
                Some(VenueStatus::Canceled)
            }
            () => None,
        };
        let to = match end {
            Some(VenueStatus::Filled) => OrderState::Filled,
            Some(_) => OrderState::Canceled,
            None => OrderState::Expired,
        };
        from.go(to).map_err(|source| Contradiction::Move {
            order: self.id.clone(),
            source,
        })?;
        self.venue = end;
        self.local = if to == OrderState::Expired {
            to
        } else {
            OrderState::Intended
        };
        Ok(Some(StateChange { from, to }))
    }

    /// Our own step: sent, unknown, rejected, expired. A step that would contradict what the venue
    /// already said is dropped: its word is newer than ours, whatever the order of arrival.
    pub fn local_step(&mut self, to: OrderState) -> Result<Option<StateChange>, Contradiction> {
        let from = self.state();
        if from == to || from.is_final() {
            return Ok(None);
        }
        if self.venue.is_some() && to != OrderState::Unknown {
            return Ok(None);
        }
        if to == OrderState::Sent && from != OrderState::Intended {
            return Ok(None);
        }
        from.go(to).map_err(|source| Contradiction::Move {
            order: self.id.clone(),
            source,
        })?;
        self.local = to;
        Ok(Some(StateChange { from, to }))
    }

    /// We asked the venue to cancel.
    pub fn ask_cancel(&mut self) -> Option<StateChange> {
        let from = self.state();
        if self.cancel_requested || !from.may_be_live() {
            return None;
        }
        self.cancel_requested = true;
        let to = self.state();
        (from != to).then_some(StateChange { from, to })
    }

    /// Marks the order as unwanted by somebody who did not make it.
    pub fn give_up(&mut self) {
        self.unwanted = true;
    }

    /// True if the order was ended on somebody's request; our own cancel, to let it rest no longer,
    /// does not count. OKX: cancelSource 1 is the user, 20 the dead man's switch.
    pub fn is_given_up(&self) -> bool {
        let by_hand = matches!(self.cancel_source.as_deref(), Some("1" | "20"));
        self.unwanted || (by_hand && !self.cancel_requested)
    }

    /// Notes a move in flight: until the venue answers, the order may rest at the worst of all the
    /// prices it was moved to.
    pub fn moving_to(&mut self, limit: Price) {
        self.moving = Some(match (self.moving, self.side) {
            (Some(other), Side::Buy) => other.max(limit),
            (Some(other), Side::Sell) => other.min(limit),
            (None, _) => limit,
        });
    }

    /// Stops counting what the venue reports as filled beyond our fills.
    pub fn believe_only_fills(&mut self) {
        self.filled = self.filled_by_fills();
    }

    /// Join one statement of the venue. `None`: it said nothing new.
    pub fn merge(&mut self, report: &VenueReport) -> Result<Option<StateChange>, Contradiction> {
        if let Some(known) = &self.venue_id
            && *known != report.venue_id
        {
            return Err(Contradiction::TwoNames {
                order: self.id.clone(),
                known: known.clone(),
                said: report.venue_id.clone(),
            });
        }
        let from = self.state();
        let joined = match (self.venue, report.status) {
            (Some(VenueStatus::Filled), VenueStatus::Canceled)
            | (Some(VenueStatus::Canceled), VenueStatus::Filled) => {
                return Err(Contradiction::TwoEnds {
                    order: self.id.clone(),
                    known: self.venue.expect("matched as Some"),
                    said: report.status,
                });
            }
            (Some(end @ (VenueStatus::Filled | VenueStatus::Canceled)), _) => end,
            (Some(VenueStatus::PartiallyFilled), VenueStatus::Live) => VenueStatus::PartiallyFilled,
            (_, said) => said,
        };
        // Judged on a copy: a statement that cannot be joined leaves what we know as it was.
        let mut next = self.clone();
        next.venue_id = Some(report.venue_id.clone());
        next.enlarge(report.filled);
        if report.filled >= next.filled {
            next.filled = report.filled;
            if report.average.is_some() {
                next.average = report.average;
            }
        }
        next.venue = Some(joined);
        if report.cancel_source.is_some() {
            next.cancel_source.clone_from(&report.cancel_source);
        }
        // The venue's word ends our doubt.
        next.local = OrderState::Intended;
        let to = next.state();
        if from != to {
            from.go(to).map_err(|source| Contradiction::Move {
                order: self.id.clone(),
                source,
            })?;
        }
        *self = next;
        Ok((from != to).then_some(StateChange { from, to }))
    }

    /// True if no further report can change it. A cancelled order may miss fills the venue counted.
    pub fn is_settled(&self) -> bool {
        self.state().is_final() && self.filled_by_fills() == self.filled
    }
}

#[cfg(test)]
mod tests;
