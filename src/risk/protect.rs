//! Protection of what is held: which stops there should be at the venue, and what is to be done
//! about those there are. Pure.
//!
//! The venue holds one net position per instrument, so its stops together are as large as that net:
//! each sleeve on the net's side has one of its own, those nearest to the price first, until the
//! net is covered. What a sleeve has beyond that is offset by sleeves on the other side; its stop
//! is watched here, and it is taken out by an order of its own.
//!
//! Protection is several stops per instrument that together equal the net position, not one of the
//! net's size: each sleeve keeps its own level, and what a stop fills is booked to the sleeve it
//! belongs to.
//!
//! A model's stop moves one way. Levels named since the entry travel to the gate on `watch`, with
//! their side, and only a tighter one counts; they survive a kill, and a contender that is switched
//! off.

use std::collections::VecDeque;

use rust_decimal::Decimal;

use crate::domain::view::{Guard, ShownStop, StopPhase};
use crate::domain::{ContenderId, InstKind, Instrument, Ms, OrderId, Price, Qty, RunId, Side};

/// One sleeve in the instrument.
#[derive(Clone, Copy, Debug)]
pub struct ProtectedSleeve<'a> {
    pub contender: &'a ContenderId,
    /// Signed.
    pub held: Qty,
    pub average: Price,
    pub guard: Option<&'a Guard>,
    /// An order of it is on its way or works: what it holds is about to change.
    pub busy: bool,
}

/// Action to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GuardAction {
    Place {
        contender: ContenderId,
        entry: OrderId,
        run_id: RunId,
        side: Side,
        qty: Qty,
        trigger: Price,
    },
    Amend {
        id: String,
        qty: Qty,
        trigger: Price,
    },
    Cancel {
        id: String,
    },
    /// Take back what works for the sleeve: it is to be taken out, and nothing else may trade it
    /// meanwhile.
    Clear {
        contender: ContenderId,
    },
    /// Take the sleeve out: its stop is hit, and the venue has none that does it.
    Exit {
        contender: ContenderId,
        side: Side,
        qty: Qty,
        why: String,
    },
}

/// Stop coverage required at the venue, and present there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cover {
    /// Net of all sleeves, without sign, in whole lots; zero if it is below the smallest order.
    pub needed: Qty,
    /// Of that, what live or closing stops cover.
    pub covered: Qty,
    pub acts: Vec<GuardAction>,
}

/// Returns the trigger of a sleeve's stop: as its entry's decision said, else the default distance
/// from its average entry price.
pub fn trigger(inst: &Instrument, sleeve: &ProtectedSleeve<'_>, default: Decimal) -> Price {
    let long = sleeve.held > Qty::ZERO;
    let side = if long { Side::Buy } else { Side::Sell };
    let named = sleeve
        .guard
        .filter(|guard| guard.side == side)
        .and_then(|guard| guard.trigger);
    named.unwrap_or_else(|| away(inst, side, sleeve.average, default))
}

/// So far from a price on the losing side of a position, rounded toward it: never further away than
/// configured.
fn away(inst: &Instrument, side: Side, price: Price, share: Decimal) -> Price {
    match side {
        Side::Buy => inst.ceil_tick(Price(price.0.saturating_mul(Decimal::ONE - share))),
        Side::Sell => inst.floor_tick(Price(price.0.saturating_mul(Decimal::ONE + share))),
    }
}

/// Returns the stop price of a position for which nobody has named a level. `None`: there is no
/// such price.
pub fn default_trigger(
    inst: &Instrument,
    side: Side,
    price: Price,
    share: Decimal,
) -> Option<Price> {
    Some(away(inst, side, price, share)).filter(|trigger| *trigger > Price::ZERO)
}

/// A guard with the level that its contender has named since, for a position on that side: only a
/// tighter one counts.
pub fn tightened(guard: &Guard, level: Option<(Side, Price)>) -> Guard {
    let level = level
        .filter(|(side, _)| *side == guard.side)
        .map(|(_, price)| price);
    let trigger = match (guard.trigger, level, guard.side) {
        (Some(now), Some(level), Side::Buy) => Some(now.max(level)),
        (Some(now), Some(level), Side::Sell) => Some(now.min(level)),
        (now, level, _) => now.or(level),
    };
    Guard {
        trigger,
        ..guard.clone()
    }
}

/// Further inputs of a plan.
pub struct ProtectionTerms<'a> {
    /// Distance of the default stop, as a share of the entry, for a sleeve that names none.
    pub default: Decimal,
    /// True if the holdings are known to the last order, so that something may be taken away, too.
    pub sure: bool,
    /// Venue time.
    pub now: Ms,
    /// A stop that has triggered counts this long although its order has not been seen; venue time.
    pub child_wait: Ms,
    /// True for a stop that has been in flight for too long to wait for.
    pub overdue: &'a dyn Fn(&str) -> bool,
}

/// Compares what should be with what is. `stops` are this instrument's; `last` is what the venue
/// triggers by.
pub fn plan(
    inst: &Instrument,
    last: Option<Price>,
    sleeves: &[ProtectedSleeve<'_>],
    stops: &[&ShownStop],
    terms: &ProtectionTerms<'_>,
) -> Cover {
    let &ProtectionTerms {
        default,
        sure,
        now,
        child_wait,
        overdue,
    } = terms;
    let whole = |qty: Decimal| inst.floor_lot(Qty(qty.abs()));
    let net: Decimal = sleeves.iter().map(|s| s.held.0).sum();
    let needed = Some(whole(net))
        .filter(|qty| *qty >= inst.min_size)
        .unwrap_or(Qty::ZERO);
    let out = if net > Decimal::ZERO {
        Side::Sell
    } else {
        Side::Buy
    };
    let closing = |s: &&&ShownStop| {
        s.phase == StopPhase::Closing
            && (s.stop.child.is_some()
                || s.stop
                    .triggered
                    .is_some_and(|at| now.since(at) < child_wait))
    };
    let size = |s: &ShownStop| s.stop.qty.unwrap_or_default().0;
    let covers = |s: &&&ShownStop| s.stop.side == out && (s.phase == StopPhase::Live || closing(s));
    let covered = stops
        .iter()
        .filter(covers)
        .map(|s| size(s))
        .sum::<Decimal>()
        .min(needed.0);
    let mut acts = Vec::new();

    // Nearest to the price first: they are hit first. A sleeve that no stop can be placed for (it
    // was not made by an entry of ours) comes last: it must not use up what the others' stops are
    // to cover.
    let can_have = |s: &ProtectedSleeve<'_>| {
        s.guard.is_some()
            || stops
                .iter()
                .any(|shown| shown.stop.contender == *s.contender && shown.stop.side == out)
    };
    let mut wanted: Vec<(&ProtectedSleeve<'_>, Price)> = sleeves
        .iter()
        .filter(|s| !s.held.is_zero() && s.held.0.is_sign_negative() == net.is_sign_negative())
        .map(|s| (s, trigger(inst, s, default)))
        .collect();
    wanted.sort_by(|a, b| {
        if out == Side::Sell {
            b.1.cmp(&a.1)
        } else {
            a.1.cmp(&b.1)
        }
    });
    wanted.sort_by_key(|(sleeve, _)| !can_have(sleeve));
    let mut left = needed.0;
    let mut settled = true;
    let (mut keep, mut extra): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (sleeve, trigger) in &wanted {
        let qty = inst.floor_lot(Qty(sleeve.held.0.abs().min(left)));
        let own: Vec<&&ShownStop> = stops
            .iter()
            .filter(|s| s.stop.contender == *sleeve.contender && s.stop.side == out)
            .collect();
        let closing: Decimal = own.iter().filter(|s| closing(s)).map(|s| size(s)).sum();
        let live: Vec<&&&ShownStop> = own.iter().filter(|s| s.phase == StopPhase::Live).collect();
        let coming = own
            .iter()
            .any(|s| s.phase == StopPhase::Coming && !overdue(&s.stop.id));
        left = left.saturating_sub(qty.0);
        let hit = last.is_some_and(|last| {
            if out == Side::Sell {
                last <= *trigger
            } else {
                last >= *trigger
            }
        });
        // What has triggered needs no second stop.
        let wants = inst.floor_lot(Qty((qty.0 - closing).max(Decimal::ZERO)));
        if wants < inst.min_size || wants.is_zero() {
            continue;
        }
        let right = |s: &&&&&ShownStop| s.stop.trigger == *trigger;
        // Several stops of the right trigger that make the size together are as good as one.
        let together: Decimal = live.iter().filter(right).map(|s| size(s)).sum();
        let exact = live
            .iter()
            .find(|s| s.stop.trigger == *trigger && s.stop.qty == Some(wants));
        if let Some(one) = exact {
            keep.push(&one.stop.id);
            extra.extend(
                live.iter()
                    .filter(|s| s.stop.id != one.stop.id)
                    .map(|s| s.stop.id.as_str()),
            );
            continue;
        }
        if together == wants.0 {
            keep.extend(live.iter().filter(right).map(|s| s.stop.id.as_str()));
            extra.extend(
                live.iter()
                    .filter(|s| s.stop.trigger != *trigger)
                    .map(|s| s.stop.id.as_str()),
            );
            continue;
        }
        match live.iter().max_by_key(|s| size(s)) {
            Some(s) => {
                // Hit is hit: the venue does what its stop says, and a move of it would come too
                // late.
                settled = false;
                keep.push(&s.stop.id);
                let grows = s.stop.qty.is_none_or(|has| has < wants);
                if !hit && (sure || grows) {
                    acts.push(GuardAction::Amend {
                        id: s.stop.id.clone(),
                        qty: wants,
                        trigger: *trigger,
                    });
                }
            }
            None if coming => settled = false,
            None if hit => {
                settled = false;
                if closing.is_zero() {
                    exit(
                        (inst, last),
                        sleeve,
                        wants,
                        format!("its stop {trigger} is hit"),
                        sure,
                        &mut acts,
                    );
                }
            }
            None => {
                // Without one nothing of ours made it; the audit of positions speaks of that.
                let Some(guard) = sleeve.guard else { continue };
                settled = false;
                let (entry, run_id) = (guard.entry.clone(), guard.run_id);
                let (contender, trigger) = (sleeve.contender.clone(), *trigger);
                acts.push(GuardAction::Place {
                    contender,
                    entry,
                    run_id,
                    side: out,
                    qty: wants,
                    trigger,
                });
            }
        }
    }
    // New before old: what is too much goes when what is needed is there.
    let of_no_use = |s: &&&ShownStop| {
        let id = s.stop.id.as_str();
        let live = s.phase == StopPhase::Live && !keep.contains(&id);
        s.phase == StopPhase::Undead || (live && sure && (settled || extra.contains(&id)))
    };
    acts.extend(stops.iter().filter(of_no_use).map(|s| GuardAction::Cancel {
        id: s.stop.id.clone(),
    }));
    // What the venue's stops do not take out of a sleeve whose stop is hit.
    for sleeve in sleeves.iter().filter(|s| !s.held.is_zero()) {
        let side = if sleeve.held > Qty::ZERO {
            Side::Sell
        } else {
            Side::Buy
        };
        let at = trigger(inst, sleeve, default);
        let hit = last.is_some_and(|last| {
            if side == Side::Sell {
                last <= at
            } else {
                last >= at
            }
        });
        let venues: Decimal = stops
            .iter()
            .filter(|s| s.stop.contender == *sleeve.contender && s.stop.side == side)
            .filter(|s| match s.phase {
                StopPhase::Closing => closing(s),
                StopPhase::Coming => !overdue(&s.stop.id),
                // One that waits elsewhere does nothing about this.
                StopPhase::Live => last.is_some_and(|last| {
                    if side == Side::Sell {
                        last <= s.stop.trigger
                    } else {
                        last >= s.stop.trigger
                    }
                }),
                StopPhase::Undead => false,
            })
            .map(|s| size(s))
            .sum();
        let rest = inst.floor_lot(Qty((sleeve.held.0.abs() - venues).max(Decimal::ZERO)));
        let already = acts
            .iter()
            .any(|act| matches!(act, GuardAction::Exit { contender, .. } if contender == sleeve.contender));
        if hit && !already {
            exit(
                (inst, last),
                sleeve,
                rest,
                format!("its stop {at} is hit, and the venue's position is not its own"),
                sure,
                &mut acts,
            );
        }
    }
    Cover {
        needed,
        covered: Qty(covered),
        acts,
    }
}

fn exit(
    (inst, last): (&Instrument, Option<Price>),
    sleeve: &ProtectedSleeve<'_>,
    qty: Qty,
    why: String,
    sure: bool,
    acts: &mut Vec<GuardAction>,
) {
    if sleeve.contender.is_nobodys() || !sure || qty < inst.min_size || qty.is_zero() {
        return;
    }
    if sleeve.busy {
        let clear = GuardAction::Clear {
            contender: sleeve.contender.clone(),
        };
        if !acts.contains(&clear) {
            acts.push(clear);
        }
        return;
    }
    let side = if sleeve.held > Qty::ZERO {
        Side::Sell
    } else {
        Side::Buy
    };
    acts.push(GuardAction::Exit {
        contender: sleeve.contender.clone(),
        side,
        qty: qty.min(inst.floor_lot(qty.min(inst.most_at_market(last.unwrap_or(sleeve.average))))),
        why,
    });
}

/// Size of a position that has been without a stop lately.
#[derive(Debug)]
pub struct Bare {
    since: Ms,
    /// Sizes within the window that may be its least, oldest and smallest first.
    least: VecDeque<(Ms, Qty)>,
}

impl Bare {
    /// Starts at `wall`, with nothing observed yet.
    pub fn since(wall: Ms) -> Self {
        Self {
            since: wall,
            least: VecDeque::new(),
        }
    }

    /// Notes what is bare now. The size that has been bare all through the last `window`; `None`:
    /// it has not been for so long. Sizes that came since the window began do not count: their
    /// stops are on the way.
    pub fn all_through(&mut self, open: Qty, wall: Ms, window: Ms) -> Option<Qty> {
        while self.least.back().is_some_and(|(_, qty)| *qty >= open) {
            self.least.pop_back();
        }
        self.least.push_back((wall, open));
        while self
            .least
            .front()
            .is_some_and(|(at, _)| wall.since(*at) > window)
        {
            self.least.pop_front();
        }
        let least = self.least.front().map(|(_, qty)| *qty);
        least.filter(|_| wall.since(self.since) >= window)
    }
}

/// Sleeves to be taken out because the venue would not protect them in time: those on the net's
/// side, largest first, as much as has been bare all the while.
pub fn give_up(inst: &Instrument, sleeves: &[ProtectedSleeve<'_>], bare: Qty) -> Vec<GuardAction> {
    let net: Decimal = sleeves.iter().map(|s| s.held.0).sum();
    let mut open = bare.0;
    let mut acts = Vec::new();
    let mut on_side: Vec<&ProtectedSleeve<'_>> = sleeves
        .iter()
        .filter(|s| s.held.0.is_sign_negative() == net.is_sign_negative())
        .collect();
    on_side.sort_by_key(|s| std::cmp::Reverse(s.held.abs()));
    for sleeve in on_side {
        let qty = inst.floor_lot(Qty(sleeve.held.0.abs().min(open)));
        let before = acts.len();
        exit(
            (inst, None),
            sleeve,
            qty,
            "no stop could be placed in time".into(),
            true,
            &mut acts,
        );
        if acts.len() > before {
            open = open.saturating_sub(qty.0);
        }
    }
    acts
}

/// True if a stop makes sense here at all. On spot only what is bought can be sold again.
pub fn can_protect(inst: &Instrument, net: Decimal) -> bool {
    inst.kind == InstKind::Swap || net > Decimal::ZERO
}

#[cfg(test)]
mod tests;
