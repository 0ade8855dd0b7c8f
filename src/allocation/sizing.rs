//! From targets to orders. Pure: (proposals, sleeves, holdings, prices) → allocations and intents.
//!
//! Quantities are rounded toward zero. An exit is sized from what the sleeve holds, never from what
//! was once ordered.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::decision::Snapshot;
use crate::domain::ids::ClientIdSeed;
use crate::domain::record::{Allocation, Proposal};
use crate::domain::units::quotient;
use crate::domain::{
    ContenderId, GoodFor, InstId, InstKind, Instrument, Ms, OrdType, OrderId, OrderIntent,
    OrdersView, Price, Purpose, Qty, Quote, RunId, Side, StopSpec, Then, Usd, WorkingPolicy,
};

/// A contender's capital and how its orders are worked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SleeveSettings {
    pub weight: Decimal,
    /// Instruments it trades; its capital is split evenly among them.
    pub instruments: Vec<InstId>,
    pub execution: WorkingPolicy,
}

/// Parts of client order ids besides the decision itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ids {
    pub env: char,
    pub uid: String,
    pub install_epoch: String,
}

/// All the allocator looks at.
pub struct World<'a> {
    pub run_id: RunId,
    pub snapshot: &'a Snapshot,
    pub sleeves: &'a BTreeMap<ContenderId, SleeveSettings>,
    /// Sleeve settings for closing what retired contenders hold.
    pub retired: &'a SleeveSettings,
    pub orders: &'a OrdersView,
    /// The last order we handed on for each (contender, instrument), until the tracker has seen it.
    pub on_the_way: &'a BTreeMap<(ContenderId, InstId), OrderId>,
    pub ids: &'a Ids,
    pub no_trade_band: Decimal,
    pub reserve: Decimal,
    /// Distance of the default stop from the price, as a share, for an entry whose strategy names
    /// no stop.
    pub stop_default: Decimal,
}

/// Result of a cycle.
#[derive(Clone, Debug, Default)]
pub struct AllocationPlan {
    pub allocations: Vec<Allocation>,
    pub intents: Vec<OrderIntent>,
}

/// Turns every proposal into an allocation, and those worth it into a child order.
pub fn allocate(world: &World<'_>, proposals: &[Proposal]) -> AllocationPlan {
    let mut plan = AllocationPlan::default();
    for proposal in proposals {
        let sleeve = world
            .sleeves
            .get(&proposal.contender)
            .filter(|s| s.instruments.contains(&proposal.inst));
        let sleeve = sleeve.unwrap_or(world.retired);
        let Some(shown) = world.snapshot.market.get(&proposal.inst) else {
            continue;
        };
        let equity = Usd(world
            .snapshot
            .equity
            .0
            .saturating_mul(Decimal::ONE - world.reserve)
            .saturating_mul(sleeve.weight));
        let key = (proposal.contender.clone(), proposal.inst.clone());
        let current = world.orders.holdings.get(&key).map_or(Qty::ZERO, |h| h.qty);
        let mut row = Allocation {
            contender: proposal.contender.clone(),
            inst: proposal.inst.clone(),
            sleeve: Usd(equity.0.round_dp(8)),
            weight: sleeve.weight,
            current,
            target: current,
            cl_ord_id: None,
            reason: String::new(),
        };
        match child(
            world,
            proposal,
            sleeve,
            &shown.instrument,
            shown.quote.as_ref(),
            equity,
            current,
        ) {
            Ok((target, mut intent)) => {
                intent.sleeve = row.sleeve;
                row.target = target;
                row.cl_ord_id = Some(intent.cl_ord_id.clone());
                row.reason = format!(
                    "{} {} {}",
                    intent.purpose.as_str(),
                    intent.side.as_str(),
                    intent.qty
                );
                plan.intents.push(intent);
            }
            Err((target, why)) => {
                row.target = target;
                row.reason = why;
            }
        }
        plan.allocations.push(row);
    }
    plan
}

type Refusal = (Qty, String);

fn child(
    world: &World<'_>,
    proposal: &Proposal,
    sleeve: &SleeveSettings,
    inst: &Instrument,
    quote: Option<&Quote>,
    equity: Usd,
    current: Qty,
) -> Result<(Qty, OrderIntent), Refusal> {
    let Some(share) = proposal.target else {
        return Err((current, "keep".into()));
    };
    let Some(quote) = quote else {
        return Err((current, "no quote".into()));
    };
    let mid = quote.mid();
    let slot = Usd(quotient(
        equity.0,
        Decimal::from(sleeve.instruments.len().max(1)),
    ));
    let share = if inst.kind == InstKind::Spot {
        share.fraction().max(Decimal::ZERO)
    } else {
        share.fraction()
    };
    let magnitude = inst.size_for(Usd(slot.0.saturating_mul(share.abs())), mid);
    let target = if share < Decimal::ZERO {
        Qty(-magnitude.0)
    } else {
        magnitude
    };
    let delta = Qty(target.0.saturating_sub(current.0));
    if let Some(order) = busy(world, proposal) {
        return Err((target, format!("order {order} is still on its way")));
    }
    let qty = inst.floor_lot(delta.abs());
    let change = inst
        .notional(qty, mid)
        .ok_or_else(|| (target, "the amount overflows".to_owned()))?;
    if qty < inst.min_size {
        return Err((target, "at target".into()));
    }
    // An exit is always worth it; a change of size must pay for its costs.
    if !target.is_zero() && change.0 < world.no_trade_band.saturating_mul(slot.0) {
        return Err((
            target,
            format!(
                "change of {} USD is inside the no-trade band",
                change.0.round_dp(2).normalize()
            ),
        ));
    }
    let side = Side::of(delta);
    let same_direction = current.0.saturating_mul(target.0) >= Decimal::ZERO;
    let purpose = if same_direction && target.abs() < current.abs() {
        Purpose::Exit
    } else {
        Purpose::Entry
    };
    let (ord_type, limit, ttl) = worked(sleeve.execution, side, inst, quote);
    let slippage = match sleeve.execution {
        WorkingPolicy::Market { slippage } => slippage,
        WorkingPolicy::IocLimit { .. } | WorkingPolicy::PostOnly { .. } => None,
    };
    let seed = ClientIdSeed {
        env: world.ids.env,
        uid: &world.ids.uid,
        install_epoch: &world.ids.install_epoch,
        run_id: world.run_id,
        contender: &proposal.contender,
        inst: &proposal.inst,
        purpose,
        leg: 0,
        attempt: 0,
    };
    // Whatever the strategy says, an entry on a swap leaves with a stop: the venue makes it, even
    // if we have died.
    let price = limit.unwrap_or(mid);
    let sized_by_its_stop = purpose == Purpose::Entry && proposal.good_for.is_some();
    if let Some(trigger) = proposal
        .stop
        .filter(|trigger| sized_by_its_stop && !protects(side, *trigger, price))
    {
        return Err((
            target,
            format!("the market is beyond its stop at {trigger}"),
        )); // under another it is another bet
    }
    let stop = proposal
        .stop
        .filter(|trigger| protects(side, *trigger, price))
        .or_else(|| default_stop(inst, side, price, world.stop_default))
        .filter(|_| purpose == Purpose::Entry)
        .map(|trigger| StopSpec {
            algo_id: ClientIdSeed {
                purpose: Purpose::Stop,
                ..seed
            }
            .client_order_id(),
            trigger,
            attached: inst.kind == InstKind::Swap,
        });
    let good_for = proposal.good_for.filter(|_| purpose == Purpose::Entry);
    let ttl = within(ttl, good_for, world.snapshot.as_of_ms);
    let intent = OrderIntent {
        cl_ord_id: seed.client_order_id(),
        run_id: world.run_id,
        contender: proposal.contender.clone(),
        inst: proposal.inst.clone(),
        side,
        ord_type,
        qty,
        limit,
        purpose,
        leg: 0,
        attempt: 0,
        reduce_only: purpose == Purpose::Exit
            && inst.kind == InstKind::Swap
            && reduces(world.orders, inst, side, qty),
        stop,
        reference: mid,
        decided_at: world.snapshot.as_of_ms,
        ttl,
        slippage,
        moves: None,
        sleeve: equity,
        weight: sleeve.weight,
        good_for,
    };
    Ok((target, intent))
}

/// True if the order takes from the venue's position, which is the net of all sleeves and of what
/// is not ours, and no more than there is. Then the venue may hold it to reduce-only. An exit of
/// one sleeve may well open at the venue, if others hold the opposite.
fn reduces(orders: &OrdersView, inst: &Instrument, side: Side, qty: Qty) -> bool {
    let ours: Decimal = orders
        .holdings
        .iter()
        .filter(|((_, on), _)| *on == inst.id)
        .map(|(_, h)| h.qty.0)
        .sum();
    let net = ours.saturating_add(
        orders
            .foreign
            .get(&inst.id)
            .map_or(Decimal::ZERO, |qty| qty.0),
    );
    // Nothing else may be on its way that could have taken it first.
    let others = orders
        .open
        .values()
        .any(|o| o.inst == inst.id && o.side == side);
    !others && side == Side::of(Qty(-net)) && qty.0 <= net.abs()
}

/// An order of this contender in this instrument that has not ended, or that the tracker has not
/// seen yet.
fn busy(world: &World<'_>, proposal: &Proposal) -> Option<OrderId> {
    let working = world
        .orders
        .open
        .values()
        .find(|o| o.contender == proposal.contender && o.inst == proposal.inst);
    let key = (proposal.contender.clone(), proposal.inst.clone());
    working.map(|o| o.id.clone()).or_else(|| {
        let handed_on = world.on_the_way.get(&key)?;
        (world.orders.latest.get(&key).map(|latest| &latest.id) != Some(handed_on))
            .then(|| handed_on.clone())
    })
}

/// Type, limit and time to live of an order under a policy.
pub(super) fn worked(
    policy: WorkingPolicy,
    side: Side,
    inst: &Instrument,
    quote: &Quote,
) -> (OrdType, Option<Price>, Option<Ms>) {
    match policy {
        WorkingPolicy::Market { .. } => (OrdType::Market, None, None),
        WorkingPolicy::IocLimit { collar, .. } => {
            let limit = match side {
                Side::Buy => quote.ask.0.saturating_mul(Decimal::ONE + collar.fraction()),
                Side::Sell => quote.bid.0.saturating_mul(Decimal::ONE - collar.fraction()),
            };
            (
                OrdType::Ioc,
                Some(inst.limit_tick(side, Price(limit))),
                None,
            )
        }
        WorkingPolicy::PostOnly {
            ttl, then, tries, ..
        } => {
            let limit = if side == Side::Buy {
                quote.bid
            } else {
                quote.ask
            };
            // One that follows the touch lives through all its moves.
            let lives = if then == Then::Reprice {
                ttl.0.saturating_mul(i64::from(tries))
            } else {
                ttl.0
            };
            (OrdType::PostOnly, Some(limit), Some(Ms(lives)))
        }
    }
}

/// Caps the time to live of a resting order at the validity of its decision.
pub(super) fn within(ttl: Option<Ms>, good_for: Option<GoodFor>, now: Ms) -> Option<Ms> {
    let left = good_for.map(|good_for| good_for.until.since(now).max(Ms(1)));
    ttl.map(|ttl| left.map_or(ttl, |left| ttl.min(left)))
}

/// So far from the price on the losing side, rounded toward it. `None`: there is no such price.
fn default_stop(inst: &Instrument, side: Side, price: Price, share: Decimal) -> Option<Price> {
    let trigger = match side {
        Side::Buy => inst.ceil_tick(Price(price.0.saturating_mul(Decimal::ONE - share))),
        Side::Sell => inst.floor_tick(Price(price.0.saturating_mul(Decimal::ONE + share))),
    };
    (trigger > Price::ZERO && protects(side, trigger, price)).then_some(trigger)
}

pub(super) fn protects(side: Side, trigger: Price, entry: Price) -> bool {
    if side == Side::Buy {
        trigger < entry
    } else {
        trigger > entry
    }
}

#[cfg(test)]
mod tests;
