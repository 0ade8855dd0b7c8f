//! Orders that a trading state lets through: all, only those that bring a position nearer to zero,
//! or none. Pure.

use rust_decimal::Decimal;

use super::view::{InFlight, View};
use crate::domain::record::Breach;
use crate::domain::{
    BreachAction, ContenderId, Departure, InstKind, Leave, Limits, Ms, Objection, OrderIntent, Qty,
    Reach, Release, Restriction, Rule, Scope, Side, TradingState,
};

/// Part of an order that may be sent.
pub enum Reducible {
    Free,
    /// No more than this, which only reduces; `at_venue`: of the venue's position, which the venue
    /// is to hold it to.
    Clamped {
        qty: Qty,
        at_venue: bool,
    },
    /// Every objection.
    Refused(Vec<Breach>),
}

/// Judges an intent by the states of the system, its instrument and its contender. A contender's is
/// judged on its sleeve, the others on the venue's position.
pub fn reducible(intent: &OrderIntent, view: &View<'_>) -> Reducible {
    let departure = match intent.is_opening() {
        true => Departure::Open,
        false => Departure::Reduce,
    };
    let held_to = match view
        .permission()
        .leave(departure, &intent.contender, &intent.inst)
    {
        Leave::Yes => return Reducible::Free,
        Leave::No(objections) => {
            return Reducible::Refused(objections.iter().map(breach).collect());
        }
        Leave::Reducing(held_to) => held_to,
    };
    let is_move = intent.moves.is_some();
    if intent.is_opening() && is_move {
        return Reducible::Refused(held_to.objections.iter().map(breach).collect());
    }
    // A move of an order that rests takes nothing more than it did.
    let at_venue = held_to.venue || held_to.doubt && !is_move;
    if !at_venue && !held_to.sleeve {
        return Reducible::Free;
    }
    let there = at_venue.then(|| room_at_venue(intent, view));
    let own = held_to
        .sleeve
        .then(|| room_in_sleeve(&intent.contender, intent, view));
    let room = there.into_iter().chain(own).min().unwrap_or_default();
    let room = view.instrument.floor_lot(Qty(room.max(Decimal::ZERO)));
    if room < view.instrument.min_size || room.is_zero() {
        let (code, limit) = ("reduce_only".to_owned(), "an order that reduces".to_owned());
        let value = match held_to.venue || held_to.sleeve {
            true => held_to
                .objections
                .first()
                .map(Objection::why)
                .unwrap_or_default(),
            false => "nothing at the venue to reduce, and not all is reconciled".to_owned(),
        };
        return Reducible::Refused(vec![Breach { code, limit, value }]);
    }
    Reducible::Clamped {
        qty: intent.qty.min(room),
        at_venue,
    }
}

fn breach(objection: &Objection<'_>) -> Breach {
    let (code, limit) = objection.code();
    Breach {
        code: code.to_owned(),
        limit: limit.to_owned(),
        value: objection.why(),
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
