//! Checks that OKX makes before it accepts an order, and cancelling.

use rust_decimal::Decimal;

use super::types::*;
use super::{Exchange, unknown_instrument};
use crate::domain::{InstKind, Instrument, OrdType, Side};

/// Pending orders allowed per instrument and per account.
const PENDING_PER_INSTRUMENT: usize = 500;
const PENDING_PER_ACCOUNT: usize = 4000;
/// Largest distance of a limit price beyond the last price, as a share of it (OKX's band for large
/// coins is of this size).
const PRICE_BAND: Decimal = Decimal::from_parts(5, 0, 0, false, 2);

impl Exchange {
    /// `trade/order`: checks, then matches. `Ok` means accepted, not filled.
    pub fn place(&mut self, new: NewOrder) -> Result<u64, Rejection> {
        let size = self.check(&new)?;
        let id = self.insert_order(&new, "normal", None);
        self.ledger.orders.get_mut(&id).expect("just inserted").size = size;
        self.match_incoming(id);
        if self.ledger.orders[&id].status.is_open() {
            self.note_resting(id);
        }
        Ok(id)
    }

    /// `trade/cancel-order`. 51400 covers filled, cancelled and never existed alike.
    pub fn cancel(&mut self, inst: &str, ord_id: &str, cl_ord_id: &str) -> Result<u64, Rejection> {
        if ord_id.is_empty() && cl_ord_id.is_empty() {
            return Err(Rejection::new(
                "51003",
                "Either client order ID or order ID is required.",
            ));
        }
        match self.find_order(inst, ord_id, cl_ord_id) {
            Some(order) if order.status.is_open() => {
                let id = order.id;
                self.cancel_with(id, "1");
                Ok(id)
            }
            _ => Err(Rejection::new(
                "51400",
                "Order cancellation failed as the order has been filled, canceled or does not exist.",
            )),
        }
    }

    pub(super) fn cancel_with(&mut self, id: u64, source: &str) {
        self.finish(id, Status::Canceled, source);
    }

    pub(super) fn finish(&mut self, id: u64, status: Status, cancel_source: &str) {
        let now = self.now;
        let order = self
            .ledger
            .orders
            .get_mut(&id)
            .expect("finishing an order of the ledger");
        order.status = status;
        order.cancel_source = cancel_source.to_owned();
        order.updated = now;
        let name = order.cl_ord_id.clone();
        self.open.remove(&id);
        // The name may stand for another order by now; only its own entry goes.
        if self.pending_ids.get(&name) == Some(&id) {
            self.pending_ids.remove(&name);
        }
        self.touch(id);
        self.attach_stops(id);
    }

    pub(super) fn insert_order(
        &mut self,
        new: &NewOrder,
        category: &str,
        algo: Option<&Algo>,
    ) -> u64 {
        let id = self.next_id();
        let order = VenueOrder {
            id,
            cl_ord_id: new.cl_ord_id.clone(),
            tag: new.tag.clone(),
            inst: new.inst.clone(),
            td_mode: new.td_mode.clone(),
            side: new.side,
            ord_type: new.ord_type,
            all_or_none: new.all_or_none,
            shown_as: new.shown_as.clone(),
            stp: new.stp,
            size: new.size,
            asked: new.size,
            size_in_quote: new.size_in_quote,
            price: new.price,
            slippage: new.slippage,
            // On spot there is no position that an order could be held to.
            reduce_only: new.reduce_only && !self.is_spot(&new.inst),
            attached: new.attached.clone(),
            status: Status::Live,
            filled: Decimal::ZERO,
            value: Decimal::ZERO,
            fee: Decimal::ZERO,
            fee_ccy: String::new(),
            pnl: Decimal::ZERO,
            last_fill: None,
            queue_ahead: Decimal::ZERO,
            category: category.to_owned(),
            source: algo.map_or("", |a| a.kind.source()).to_owned(),
            cancel_source: String::new(),
            algo_id: algo.map(|a| a.id),
            algo_cl_ord_id: algo.map(|a| a.cl_ord_id.clone()).unwrap_or_default(),
            created: self.now,
            updated: self.now,
        };
        if !order.cl_ord_id.is_empty() {
            self.pending_ids.insert(order.cl_ord_id.clone(), id);
        }
        self.open.insert(id);
        self.ledger.orders.insert(id, order);
        self.changes.orders.insert(id);
        id
    }

    /// Every check of OKX's that a well-meant order can fail; returns the size to work.
    fn check(&self, new: &NewOrder) -> Result<Decimal, Rejection> {
        let listed = self
            .market
            .get(&new.inst)
            .ok_or_else(|| unknown_instrument(&new.inst))?;
        let inst = self.rules(&listed.listing.inst);
        self.check_feed(&new.inst)?;
        Self::check_live(inst)?;
        match (inst.kind, new.td_mode.as_str()) {
            (InstKind::Spot, "cash") | (InstKind::Swap, "cross") => {}
            (_, "cash" | "cross") => {
                return Err(Rejection::new(
                    "51010",
                    "You can't complete this request under your current account mode.",
                ));
            }
            _ => return Err(Rejection::new("51000", "Parameter tdMode error")),
        }
        if !new.cl_ord_id.is_empty() {
            if new.cl_ord_id.len() > 32 || !new.cl_ord_id.chars().all(|c| c.is_ascii_alphanumeric())
            {
                return Err(Rejection::new("51000", "Parameter clOrdId error"));
            }
            if self.pending_ids.contains_key(&new.cl_ord_id) {
                return Err(Rejection::new("51016", "Client order ID already exists."));
            }
        }
        if new.tag.len() > 16 || !new.tag.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(Rejection::new("51000", "Parameter tag error"));
        }
        let price = self.check_price(
            inst,
            new.side,
            new.price.filter(|_| new.ord_type != OrdType::Market),
            new.ord_type,
        )?;
        if new.size <= Decimal::ZERO {
            return Err(Rejection::new("51000", "Parameter sz error"));
        }
        let size = if new.size_in_quote {
            // The quantity a market buy in quote currency can reach at the last price, rounded
            // down.
            ((new.size / price) / inst.lot.0).trunc() * inst.lot.0
        } else {
            new.size
        };
        if !(size % inst.lot.0).is_zero() {
            return Err(Rejection::new(
                "51121",
                "Order quantity must be a multiple of the lot size.",
            ));
        }
        if size < inst.min_size.0 {
            return Err(Rejection::new(
                "51020",
                "Your order should meet or exceed the minimum order amount.",
            ));
        }
        let most = match new.ord_type {
            OrdType::Market => inst.most_at_market(crate::domain::Price(price)),
            _ => inst.max_limit_size,
        };
        if size > most.0 {
            let code = if new.ord_type == OrdType::Market {
                "51202"
            } else {
                "51101"
            };
            return Err(Rejection::new(code, "Order amount exceeds the maximum."));
        }
        let pending_here = self.open_orders().filter(|o| o.inst == new.inst).count();
        if pending_here >= PENDING_PER_INSTRUMENT || self.open.len() >= PENDING_PER_ACCOUNT {
            return Err(Rejection::new(
                "51103",
                "The number of pending orders has reached the maximum.",
            ));
        }
        for attached in &new.attached {
            if attached.algo_cl_ord_id.len() > 32
                || !attached
                    .algo_cl_ord_id
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric())
            {
                return Err(Rejection::new("51000", "Parameter attachAlgoClOrdId error"));
            }
            check_steps(inst, attached.stop.as_ref(), attached.target.as_ref())?;
            check_legs(
                new.side.opposite(),
                price,
                attached.stop.as_ref(),
                attached.target.as_ref(),
            )?;
        }
        if new.reduce_only && inst.kind == InstKind::Swap {
            let held = self
                .ledger
                .positions
                .get(&new.inst)
                .map_or(Decimal::ZERO, |p| p.qty);
            let reduces = (held > Decimal::ZERO && new.side == Side::Sell)
                || (held < Decimal::ZERO && new.side == Side::Buy);
            if !reduces {
                return Err(Rejection::new(
                    "51170",
                    "Failed to place order: reduce-only orders can't increase a position.",
                ));
            }
            return Ok(size.min(held.abs()));
        }
        self.check_funds(&new.inst, new.side, size, price, None)?;
        Ok(size)
    }

    /// A price on the tick and inside the band; the last price for orders that name none.
    pub(super) fn check_price(
        &self,
        inst: &Instrument,
        side: Side,
        price: Option<Decimal>,
        ord_type: OrdType,
    ) -> Result<Decimal, Rejection> {
        let last = self.last(inst.id.as_str());
        if last <= Decimal::ZERO {
            return Err(Rejection::new(
                "51022",
                format!("{} is suspended: it has no price.", inst.id),
            ));
        }
        let price = match (ord_type, price) {
            (OrdType::Market, _) => return Ok(last),
            (_, Some(price)) if price > Decimal::ZERO && (price % inst.tick.0).is_zero() => price,
            _ => return Err(Rejection::new("51000", "Parameter px error")),
        };
        let (low, high) = self.price_limits(inst);
        if (side == Side::Buy && price > high) || (side == Side::Sell && price < low) {
            let why = format!(
                "Order price is not within the price limit (Maximum buy price: {high}, minimum sell price: {low})"
            );
            return Err(Rejection::new("51006", why));
        }
        Ok(price)
    }

    pub(super) fn is_spot(&self, inst: &str) -> bool {
        self.market
            .get(inst)
            .is_some_and(|l| l.listing.inst.kind == InstKind::Spot)
    }

    /// Lowest price a sell and highest price a buy may name now.
    pub fn price_limits(&self, inst: &Instrument) -> (Decimal, Decimal) {
        let (last, tick) = (self.last(inst.id.as_str()), inst.tick.0);
        let on_tick = |price: Decimal| (price / tick).round() * tick;
        (
            on_tick(last * (Decimal::ONE - PRICE_BAND)),
            on_tick(last * (Decimal::ONE + PRICE_BAND)),
        )
    }

    /// `trade/close-position`: the whole position, at market. With `auto_cancel`, resting orders
    /// that would close it go first; without, they are in the way (51115).
    pub fn close_position(
        &mut self,
        inst: &str,
        cl_ord_id: &str,
        tag: &str,
        auto_cancel: bool,
    ) -> Result<u64, Rejection> {
        if self.market.get(inst).is_none() {
            return Err(unknown_instrument(inst));
        }
        let held = self
            .ledger
            .positions
            .get(inst)
            .map_or(Decimal::ZERO, |p| p.qty);
        if held.is_zero() {
            return Err(Rejection::new("51023", "Position doesn't exist."));
        }
        let side = if held > Decimal::ZERO {
            Side::Sell
        } else {
            Side::Buy
        };
        let closing = |o: &&VenueOrder| o.inst == inst && o.side == side;
        let resting: Vec<u64> = self.open_orders().filter(closing).map(|o| o.id).collect();
        if !resting.is_empty() && !auto_cancel {
            return Err(Rejection::new(
                "51115",
                "Cancel all pending close orders before liquidation.",
            ));
        }
        let close = NewOrder {
            cl_ord_id: cl_ord_id.to_owned(),
            tag: tag.to_owned(),
            reduce_only: true,
            ..NewOrder::market(inst, side, held.abs())
        };
        self.check(&close)?;
        resting
            .into_iter()
            .for_each(|id| self.cancel_with(id, "17"));
        self.place(close)
    }
}

/// Triggers and prices must be positive multiples of the tick.
pub(super) fn check_steps(
    inst: &Instrument,
    stop: Option<&Leg>,
    target: Option<&Leg>,
) -> Result<(), Rejection> {
    let prices = stop
        .into_iter()
        .chain(target)
        .flat_map(|leg| [Some(leg.trigger), leg.price])
        .flatten();
    for price in prices {
        if price <= Decimal::ZERO || !(price % inst.tick.0).is_zero() {
            return Err(Rejection::new("51000", "Parameter triggerPx error"));
        }
    }
    Ok(())
}

/// A stop must lie on the losing side of `price` and a target on the winning one, for an exit on
/// `exit`.
pub(super) fn check_legs(
    exit: Side,
    price: Decimal,
    stop: Option<&Leg>,
    target: Option<&Leg>,
) -> Result<(), Rejection> {
    let below = |leg: &Leg| leg.trigger < price;
    let above = |leg: &Leg| leg.trigger > price;
    let legs = stop.into_iter().chain(target);
    if legs
        .into_iter()
        .any(|leg| leg.trigger <= Decimal::ZERO || leg.price.is_some_and(|p| p <= Decimal::ZERO))
    {
        return Err(Rejection::new("51000", "Parameter triggerPx error"));
    }
    let (stop_fits, target_fits) = match exit {
        Side::Sell => (stop.is_none_or(below), target.is_none_or(above)),
        Side::Buy => (stop.is_none_or(above), target.is_none_or(below)),
    };
    if !stop_fits {
        let code = if exit == Side::Sell { "51053" } else { "51052" };
        return Err(Rejection::new(
            code,
            "Stop loss trigger price is on the wrong side of the price.",
        ));
    }
    if !target_fits {
        let code = if exit == Side::Sell { "51051" } else { "51050" };
        return Err(Rejection::new(
            code,
            "Take profit trigger price is on the wrong side of the price.",
        ));
    }
    Ok(())
}
