//! Worst-case holdings of the account: every order that may be alive filled in full on its side,
//! unknown and in-flight ones included. Pure.

use rust_decimal::Decimal;

use super::view::{InFlight, View};
use crate::domain::{
    InstId, InstKind, Instrument, MarketView, OrderIntent, OrdersView, Price, Qty, Side, Usd,
};

/// The most and the least of an instrument that the account may come to hold, those on their way
/// included.
pub fn worst_case(
    inst: &InstId,
    orders: &OrdersView,
    in_flight: &[InFlight],
) -> (Decimal, Decimal) {
    let (most, least) = orders.worst_case(inst);
    let leaving = |side: Side| -> Decimal {
        in_flight
            .iter()
            .filter(|o| o.inst == *inst && o.side == side)
            .map(|o| o.qty.0)
            .sum()
    };
    (
        most.0.saturating_add(leaving(Side::Buy)),
        least.0.saturating_sub(leaving(Side::Sell)),
    )
}

/// The instrument's exposure on the order's side, with the order.
pub struct WorstExposure {
    /// True if the order makes the exposure larger.
    pub grows: bool,
    pub value: Usd,
}

/// Size, without sign, on the order's side before and after it.
fn sides(intent: &OrderIntent, view: &View<'_>) -> (Decimal, Decimal) {
    let (most, least) = worst_case(&intent.inst, view.orders, view.in_flight);
    // A move of a resting order is counted already.
    let added = if intent.moves.is_some() {
        Decimal::ZERO
    } else {
        intent.qty.0
    };
    let (before, after) = match intent.side {
        Side::Buy => (most, most.saturating_add(added)),
        Side::Sell => (-least, (-least).saturating_add(added)),
    };
    (before.max(Decimal::ZERO), after.max(Decimal::ZERO))
}

/// The instrument's worst case on the order's side, valued at its worst price. `None`: it
/// overflows.
pub fn worst_after(intent: &OrderIntent, view: &View<'_>) -> Option<WorstExposure> {
    let (before, after) = sides(intent, view);
    let price = price_of(view.instrument, view.market)
        .unwrap_or(intent.reference)
        .max(intent.limit.unwrap_or(intent.reference));
    Some(WorstExposure {
        grows: after > before,
        value: view.instrument.notional(Qty(after), price)?,
    })
}

fn price_of(inst: &Instrument, market: &MarketView) -> Option<Price> {
    let shown = market.insts.get(&inst.id)?;
    shown
        .quote
        .as_ref()
        .map(|quote| quote.mid())
        .or_else(|| shown.mark.map(|(price, _)| price))
}

/// Worst-case values of every instrument, in dollars, with the order in its own.
pub struct Values {
    /// True if the order makes its instrument's value larger.
    pub grows: bool,
    each: Vec<Each>,
}

struct Each {
    kind: InstKind,
    /// If everything on the buying, on the selling side fills.
    long: Decimal,
    short: Decimal,
}

impl Values {
    /// Sum without sign.
    pub fn gross(&self) -> Decimal {
        self.each
            .iter()
            .map(|v| v.long.abs().max(v.short.abs()))
            .sum()
    }
    /// Sum with sign, if everything on one side fills.
    pub fn net(&self, side: Side) -> Decimal {
        let sum: Decimal = match side {
            Side::Buy => self.each.iter().map(|v| v.long).sum(),
            Side::Sell => -self.each.iter().map(|v| v.short).sum::<Decimal>(),
        };
        sum.max(Decimal::ZERO)
    }
    /// Sum without sign of what is held on margin.
    pub fn swaps(&self) -> Decimal {
        let swaps = self.each.iter().filter(|v| v.kind == InstKind::Swap);
        swaps.map(|v| v.long.abs().max(v.short.abs())).sum()
    }
}

/// Values of all instruments with the order. `None`: something cannot be valued, or overflows.
pub fn values(intent: &OrderIntent, view: &View<'_>) -> Option<Values> {
    let (before, after) = sides(intent, view);
    let mut each = Vec::new();
    for (id, shown) in &view.market.insts {
        let (mut most, mut least) = worst_case(id, view.orders, view.in_flight);
        if *id == intent.inst && intent.moves.is_none() {
            match intent.side {
                Side::Buy => most = most.saturating_add(intent.qty.0),
                Side::Sell => least = least.saturating_sub(intent.qty.0),
            }
        }
        if most.is_zero() && least.is_zero() {
            continue;
        }
        let own = (*id == intent.inst).then_some(intent.reference);
        // The account's own mark is better than none; nothing is worth nothing only because nobody
        // quotes it.
        let marked = view
            .account
            .and_then(|account| account.positions.get(id)?.mark);
        let price = price_of(&shown.instrument, view.market)
            .or(own)
            .or(marked)?;
        let value = |qty: Decimal| {
            let signed = shown.instrument.notional(Qty(qty), price)?.0;
            Some(if qty.is_sign_negative() {
                -signed
            } else {
                signed
            })
        };
        each.push(Each {
            kind: shown.instrument.kind,
            long: value(most)?,
            short: value(least)?,
        });
    }
    // What the account holds and nobody here follows: the venue's own value of it, or nothing
    // opens.
    let strangers = view
        .account
        .into_iter()
        .flat_map(|account| account.positions.values());
    for position in
        strangers.filter(|p| !p.qty.is_zero() && !view.market.insts.contains_key(&p.inst))
    {
        let value = position.notional?.0;
        let signed = if position.qty < Qty::ZERO {
            -value
        } else {
            value
        };
        each.push(Each {
            kind: InstKind::Swap,
            long: signed,
            short: signed,
        });
    }
    Some(Values {
        grows: after > before,
        each,
    })
}

/// Returns how much free balance the order takes, and how much is free: for a swap the margin in
/// dollars, for a spot purchase its cost, for a spot sale the coins, valued. `None`: it takes
/// nothing, or nothing is known.
pub fn spendable(
    intent: &OrderIntent,
    view: &View<'_>,
    leverage_max: Decimal,
) -> Option<(Decimal, Decimal)> {
    let account = view.account?;
    let inst = view.instrument;
    let price = intent.limit.unwrap_or(intent.reference);
    let value = inst.notional(intent.qty, price)?.0;
    let (before, after) = sides(intent, view);
    match inst.kind {
        InstKind::Swap => {
            let added = inst
                .notional(Qty((after - before).max(Decimal::ZERO)), price)?
                .0;
            let told = account
                .positions
                .get(&inst.id)
                .and_then(|p| p.leverage)
                .filter(|l| *l >= Decimal::ONE);
            let margin = added.checked_div(told.unwrap_or(leverage_max).min(leverage_max))?;
            intent.is_opening().then_some((
                margin.saturating_add(committed(view, leverage_max)?),
                account.available.0,
            ))
        }
        InstKind::Spot if intent.side == Side::Buy => {
            let free = account
                .balances
                .get(&inst.quote)
                .map_or(Decimal::ZERO, |b| b.available);
            Some((value.saturating_add(committed(view, leverage_max)?), free))
        }
        InstKind::Spot => {
            // What we have sold since the account was read may be missing there: our own books know
            // it.
            let there = account
                .balances
                .get(&inst.base)
                .map_or(Decimal::ZERO, |b| b.cash);
            Some((
                intent.qty.0.saturating_mul(price.0),
                there.max(view.orders.net(&inst.id)).saturating_mul(price.0),
            ))
        }
    }
}

/// Returns the balance bound by orders sent since the account was read, which it does not show yet.
fn committed(view: &View<'_>, leverage_max: Decimal) -> Option<Decimal> {
    let since = view.account?.as_of;
    let leaving = view.in_flight.iter().map(|o| (&o.inst, o.side, o.qty));
    let young = view
        .orders
        .open
        .values()
        .filter(|o| o.opening && o.created_at >= since)
        .map(|o| (&o.inst, o.side, o.leaves));
    let mut sum = Decimal::ZERO;
    for (inst, side, qty) in leaving.chain(young) {
        let Some(shown) = view.market.insts.get(inst) else {
            continue;
        };
        let Some(price) = price_of(&shown.instrument, view.market) else {
            continue;
        };
        let value = shown.instrument.notional(qty, price)?.0;
        sum = sum.saturating_add(match shown.instrument.kind {
            InstKind::Swap => value.checked_div(leverage_max)?,
            InstKind::Spot if side == Side::Buy => value,
            InstKind::Spot => Decimal::ZERO,
        });
    }
    Some(sum)
}
