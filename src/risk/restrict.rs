//! Orders that a trading state lets through: all, only those that bring a position nearer to zero,
//! or none. Pure.

use rust_decimal::Decimal;

use super::view::{InFlight, View};
use crate::domain::record::Breach;
use crate::domain::{
    BreachAction, ContenderId, InstKind, Limits, Ms, OrderIntent, Qty, Reach, Readiness, Release,
    Restriction, Rule, Scope, Side, TradingState,
};
use crate::runtime::sabotage::{self, Promise};

/// Part of an order that may be sent.
pub enum Reducible {
    Free,
    /// No more than this, which only reduces; `at_venue`: of the venue's position, which the venue
    /// is to hold it to.
    Clamped {
        qty: Qty,
        at_venue: bool,
    },
    Refused {
        code: &'static str,
        state: &'static str,
        why: String,
    },
}

/// Judges an intent by the states of the system, its instrument and its contender. A contender's is
/// judged on its sleeve, the others on the venue's position.
pub fn restriction(intent: &OrderIntent, view: &View<'_>) -> Reducible {
    let doubtful = match view.readiness {
        Readiness::ReduceOnly(_) | Readiness::Reconciling(_) => !sabotage::breaks(Promise::P5),
        Readiness::Ready | Readiness::Halted(_) => false,
    };
    let Some(strictest) = view.restrictions.of(&intent.contender, &intent.inst) else {
        return if doubtful && !intent.is_opening() && intent.moves.is_none() {
            within_position(intent, view)
        } else {
            Reducible::Free
        };
    };
    let why = || format!("{} {}: {}", strictest.state, strictest.id(), strictest.why);
    let refused = |code, state| Reducible::Refused {
        code,
        state,
        why: why(),
    };
    match strictest.state {
        TradingState::Active => return Reducible::Free,
        TradingState::Halted => return refused("trading_halted", "active or reduce_only"),
        TradingState::ReduceOnly => {}
    }
    if intent.is_opening() && intent.moves.is_some() {
        return refused("reduce_only", "an order that reduces");
    }
    let covering = view
        .restrictions
        .0
        .iter()
        .filter(|r| r.scope.covers(&intent.contender, &intent.inst));
    let (mut room, mut at_venue): (Option<Decimal>, bool) = (None, false);
    for restriction in covering.filter(|r| r.state == TradingState::ReduceOnly) {
        let own = match &restriction.scope {
            Scope::Contender(contender) => room_in_sleeve(contender, intent, view),
            Scope::System | Scope::Instrument(_) => {
                at_venue = true;
                room_at_venue(intent, view)
            }
        };
        room = Some(room.map_or(own, |least| least.min(own)));
    }
    // While not all is reconciled nothing opens at the venue either, whatever the sleeve holds.
    if doubtful && intent.moves.is_none() {
        at_venue = true;
        let there = room_at_venue(intent, view);
        room = Some(room.map_or(there, |least| least.min(there)));
    }
    let room = view
        .instrument
        .floor_lot(Qty(room.unwrap_or_default().max(Decimal::ZERO)));
    if room < view.instrument.min_size || room.is_zero() {
        return refused("reduce_only", "an order that reduces");
    }
    Reducible::Clamped {
        qty: intent.qty.min(room),
        at_venue,
    }
}

/// True if an order may go on resting in this state. `doubtful`: the tracker has found something
/// that forbids opening orders.
pub fn may_rest(state: Option<TradingState>, doubtful: bool, opening: bool) -> bool {
    match state {
        Some(TradingState::Halted) => false,
        Some(TradingState::ReduceOnly) => !opening,
        Some(TradingState::Active) | None => !(doubtful && opening),
    }
}

/// Returns the scope that a breach of a rule by this order restricts.
pub fn scope_of(rule: Rule, intent: &OrderIntent) -> Scope {
    match rule.spec().reach {
        Reach::System => Scope::System,
        Reach::Contender => Scope::Contender(intent.contender.clone()),
        Reach::Instrument => Scope::Instrument(intent.inst.clone()),
    }
}

/// Returns the restriction that a breach leads to besides the denial; `None`: none.
pub fn consequence(
    rule: Rule,
    scope: Scope,
    breach: &Breach,
    limits: &Limits,
    now: Ms,
) -> Option<Restriction> {
    let limit = *limits.of(rule);
    let state = match limit.action {
        BreachAction::Block => return None,
        BreachAction::ReduceOnly => TradingState::ReduceOnly,
        BreachAction::Halt | BreachAction::Flatten => TradingState::Halted,
    };
    Some(Restriction {
        scope,
        cause: rule.as_str().to_owned(),
        state,
        why: format!(
            "{} is {}, the limit is {}",
            rule.spec().about,
            breach.value,
            breach.limit
        ),
        since: now,
        until: (limit.release == Release::NextUtcDay).then(|| now.next_utc_day()),
        flatten: limit.action == BreachAction::Flatten,
        flattened: false,
    })
}

/// While reconciliation is in doubt an exit is held to the venue's position; what opens is refused
/// elsewhere.
fn within_position(intent: &OrderIntent, view: &View<'_>) -> Reducible {
    let room = view.instrument.floor_lot(Qty(room_at_venue(intent, view)));
    if room < view.instrument.min_size || room.is_zero() {
        let why = "nothing at the venue to reduce, and not all is reconciled".to_owned();
        return Reducible::Refused {
            code: "reduce_only",
            state: "an order that reduces",
            why,
        };
    }
    Reducible::Clamped {
        qty: intent.qty.min(room),
        at_venue: true,
    }
}

/// Returns how much an order on this side may still take from a position, if everything working on
/// its side fills first.
fn room(position: Decimal, side: Side, working: Decimal) -> Decimal {
    let held = match side {
        Side::Sell => position,
        Side::Buy => -position,
    };
    (held.max(Decimal::ZERO) - working).max(Decimal::ZERO)
}

fn room_in_sleeve(contender: &ContenderId, intent: &OrderIntent, view: &View<'_>) -> Decimal {
    let key = (contender.clone(), intent.inst.clone());
    let held = view
        .orders
        .holdings
        .get(&key)
        .map_or(Decimal::ZERO, |h| h.qty.0);
    room(held, intent.side, working(intent, view, Some(contender)))
}

pub(super) fn room_at_venue(intent: &OrderIntent, view: &View<'_>) -> Decimal {
    let ours = view.orders.net(&intent.inst);
    let position = match view.instrument.kind {
        InstKind::Swap => ours.saturating_add(
            view.orders
                .foreign
                .get(&intent.inst)
                .map_or(Decimal::ZERO, |qty| qty.0),
        ),
        // Coins that are not ours are not ours to sell.
        InstKind::Spot => ours.max(Decimal::ZERO),
    };
    room(position, intent.side, working(intent, view, None))
}

/// Returns the quantity that may still fill on the order's side: of everybody, or of one contender.
fn working(intent: &OrderIntent, view: &View<'_>, of: Option<&ContenderId>) -> Decimal {
    let open = view
        .orders
        .open
        .values()
        .filter(|o| o.inst == intent.inst && o.side == intent.side);
    let open: Decimal = open
        .filter(|o| of.is_none_or(|who| o.contender == *who))
        .map(|o| o.leaves.0)
        .sum();
    let leaving = |o: &&InFlight| {
        o.inst == intent.inst && o.side == intent.side && of.is_none_or(|who| o.contender == *who)
    };
    let leaving: Decimal = view.in_flight.iter().filter(leaving).map(|o| o.qty.0).sum();
    // An order that is moved is among them itself.
    let own = intent
        .moves
        .as_ref()
        .and_then(|id| view.orders.open.get(id))
        .map_or(Decimal::ZERO, |o| o.leaves.0);
    open.saturating_add(leaving).saturating_sub(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resting orders that open go on any doubt or restriction; those that close go only on a halt.
    #[test]
    fn doubt_cancels_resting_entries_not_exits() {
        use TradingState::{Active, Halted, ReduceOnly};
        for (state, doubtful, opening, expected) in [
            (None, false, true, true),
            (None, true, true, false),
            (None, true, false, true),
            (Some(Active), true, true, false),
            (Some(ReduceOnly), false, true, false),
            (Some(ReduceOnly), true, false, true),
            (Some(Halted), false, false, false),
        ] {
            assert_eq!(
                may_rest(state, doubtful, opening),
                expected,
                "{state:?} {doubtful} {opening}"
            );
        }
    }
}
