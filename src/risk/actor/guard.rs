//! Protection, carried out: `protect::plan` says what is to be done, here it is handed to the
//! executor, and the time a position is without a stop is measured.
//!
//! A position that somebody else has made is guarded under a contender of its own, `_foreign`: an
//! order that is suppressed is the parent of its stop, and what the stop fills is settled there, so
//! that no sleeve of ours has a part in it.

mod carry;
mod foreign;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tracing::{error, info, warn};

use super::{CancelAsk, Gate, Verdict};
use crate::domain::ids::ClientIdSeed;
use crate::domain::record::{Allocation, Proposal, Record, RunKind};
use crate::domain::view::{Guard, OpenOrder, ShownStop, StopPhase};
use crate::domain::{
    AlgoState, Bps, ContenderId, InstId, InstKind, Instrument, Ms, OrdType, OrderId, OrderIntent,
    OrderState, Price, Purpose, Qty, Readiness, Restriction, Rule, RunId, Scope, Shield, Side,
    StopOrder, TradingState, Usd,
};
use crate::risk::protect::{
    Bare, Cover, GuardAction, ProtectedSleeve, ProtectionTerms, can_protect, give_up, plan,
    tightened,
};
use crate::risk::rules::{Denied, Permit, check_permitted};
use crate::runtime::StageError;

/// A stop that risk wants placed; only risk makes one.
#[derive(Debug)]
pub struct Placing {
    stop: StopOrder,
    _permit: Permit,
}

impl Placing {
    /// The stop.
    pub fn stop(&self) -> &StopOrder {
        &self.stop
    }
}

/// Instructions to the executor about stops.
#[derive(Debug)]
pub enum StopWork {
    Place(Box<Placing>),
    Amend {
        inst: InstId,
        id: String,
        qty: Qty,
        trigger: Price,
        run_id: RunId,
    },
    Cancel {
        inst: InstId,
        id: String,
        run_id: RunId,
    },
}

impl StopWork {
    /// The instrument it is about.
    pub fn inst(&self) -> &InstId {
        match self {
            StopWork::Place(placing) => &placing.stop.inst,
            StopWork::Amend { inst, .. } | StopWork::Cancel { inst, .. } => inst,
        }
    }
}

/// Settings for the protection of positions.
#[derive(Clone, Copy, Debug)]
pub struct Protecting {
    /// Distance of the default stop, as a share of the entry, for a sleeve whose strategy names
    /// none.
    pub stop_default: Decimal,
    /// A position without a stop for longer is closed, wall time.
    pub unprotected_max: Ms,
    /// Protection of positions in our instruments that are not ours.
    pub foreign: ProtectForeign,
}

/// Treatment of a position that nobody here has traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectForeign {
    /// Stop placed as for any other position: the venue has one net position, whoever made it.
    Protect,
    Ignore,
}

impl std::str::FromStr for ProtectForeign {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "protect" => Ok(ProtectForeign::Protect),
            "ignore" => Ok(ProtectForeign::Ignore),
            other => Err(format!("must be protect or ignore, is '{other}'")),
        }
    }
}

/// State of protection that the gate keeps while it runs.
#[derive(Debug, Default)]
pub(super) struct Guarding {
    /// Recent requests, with their time and how often in a row; wall time.
    asked: BTreeMap<String, (Ms, u32)>,
    /// Stops on their way, and since when; wall time.
    coming: BTreeMap<String, Ms>,
    /// Positions that could have been protected and were not.
    failing: BTreeMap<InstId, Bare>,
    /// Stops placed by this process so far: each has a name of its own.
    placed: u32,
    shields: BTreeMap<InstId, Shield>,
    measured: Option<Ms>,
    /// Protection of positions that are not ours, once it has been decided on.
    foreign: BTreeMap<InstId, Guard>,
}

/// The same is asked for again only after this long, wall time, and twice as long each time, to a
/// minute and a half.
const AGAIN: Ms = Ms(1500);
const DOUBLINGS: u32 = 6;
/// A stop that is on its way for longer is not waited for, wall time.
const COMING_MAX: Ms = Ms(3000);
/// A stop that has triggered counts this long although its order has not been seen, wall time.
const CHILD_WAIT: Duration = Duration::from_secs(10);
/// After a position had to be taken out for want of a stop nothing opens there for this long, venue
/// time.
const UNPROTECTED_REST: Ms = Ms::secs(600);

impl Gate {
    /// Compares what is held with the stops there are, and has done what is missing.
    pub(super) async fn guard(&mut self) -> Result<(), StageError> {
        let wall = self.wall();
        let pause = |n: u32| Ms(AGAIN.0 << n.min(DOUBLINGS));
        self.work
            .guarding
            .asked
            .retain(|_, (at, n)| wall.since(*at) < Ms(pause(*n).0.saturating_mul(2)));
        {
            let orders = self.orders.borrow();
            let on_way = |id: &String| {
                orders
                    .stops
                    .iter()
                    .any(|s| s.phase == StopPhase::Coming && s.stop.id == *id)
            };
            self.work.guarding.coming.retain(|id, _| on_way(id));
            for shown in orders.stops.iter().filter(|s| s.phase == StopPhase::Coming) {
                self.work
                    .guarding
                    .coming
                    .entry(shown.stop.id.clone())
                    .or_insert(wall);
            }
        }
        let known = !matches!(*self.readiness.borrow(), Readiness::Reconciling(_));
        let insts: BTreeSet<InstId> = {
            let orders = self.orders.borrow();
            let held = orders
                .holdings
                .iter()
                .filter(|(_, held)| !held.qty.is_zero())
                .map(|((_, inst), _)| inst);
            let stops = orders.stops.iter().map(|s| &s.stop.inst);
            held.chain(stops)
                .chain(orders.foreign.keys())
                .cloned()
                .collect()
        };
        self.work.guarding.shields.retain(|inst, shield| {
            let gone = !insts.contains(inst);
            if gone {
                shield.bare_since = None;
                (shield.needed, shield.covered) = (Qty::ZERO, Qty::ZERO);
            }
            !gone || shield.total_ms > 0
        });
        for inst in insts {
            let closing = self
                .work
                .unwinding
                .as_ref()
                .is_some_and(|u| u.covers(&inst));
            // Trading off: nothing leaves, and what is bare is an error for people to see.
            let able = known && self.protects() && !closing;
            if able {
                self.guard_foreign(&inst).await?;
            }
            let Some((cover, rescue)) = self.cover(&inst, able, wall) else {
                continue;
            };
            let rescued = !rescue.is_empty();
            for act in cover.acts.into_iter().chain(rescue) {
                // Where something is made flat, what protects nothing any more still goes.
                let goes = matches!(act, GuardAction::Cancel { .. }) && known && self.protects();
                if able || goes {
                    self.carry_out(&inst, act, wall).await?;
                }
            }
            if rescued {
                self.rest(&inst).await?;
            }
        }
        self.work.guarding.measured = Some(wall);
        let shields = &self.work.guarding.shields;
        self.shields.send_if_modified(|shown| {
            let new = *shown != *shields;
            if new {
                shown.clone_from(shields);
            }
            new
        });
        Ok(())
    }

    /// Returns what should be done in an instrument and, if that has not helped for too long, what
    /// takes the position out.
    fn cover(&mut self, inst: &InstId, able: bool, wall: Ms) -> Option<(Cover, Vec<GuardAction>)> {
        let (orders, market) = (self.orders.borrow(), self.market.borrow());
        let shown = market.insts.get(inst)?;
        let rules: &Instrument = &shown.instrument;
        let busy = |who: &ContenderId| {
            orders
                .open
                .values()
                .any(|o| o.inst == *inst && o.contender == *who)
                || self
                    .in_flight
                    .iter()
                    .any(|o| o.inst == *inst && o.contender == *who)
        };
        let guards: BTreeMap<&ContenderId, Guard> = {
            let levels = self.levels.borrow();
            let here = orders.guards.iter().filter(|((_, on), _)| on == inst);
            here.map(|(key, guard)| (&key.0, tightened(guard, levels.get(key).copied())))
                .collect()
        };
        let nobody = ContenderId::foreign();
        let mut sleeves: Vec<ProtectedSleeve<'_>> = orders
            .holdings
            .iter()
            .filter(|((_, on), held)| on == inst && !held.qty.is_zero())
            .map(|((contender, _), held)| ProtectedSleeve {
                contender,
                held: held.qty,
                average: held.average,
                guard: guards.get(contender),
                busy: busy(contender),
            })
            .collect();
        let stranger = orders
            .foreign
            .get(inst)
            .filter(|_| self.protects_foreign(rules));
        if let Some(held) = stranger {
            let guard = self.work.guarding.foreign.get(inst);
            let average = guard.and_then(|guard| guard.trigger).unwrap_or_default();
            sleeves.push(ProtectedSleeve {
                contender: &nobody,
                held: *held,
                average,
                guard,
                busy: false,
            });
        }
        let net: Decimal = sleeves.iter().map(|s| s.held.0).sum();
        if !can_protect(rules, net) && !sleeves.is_empty() {
            return None;
        }
        let stops: Vec<&ShownStop> = orders
            .stops
            .iter()
            .filter(|s| s.stop.inst == *inst)
            .collect();
        // While our books are in doubt nothing is taken away or closed by them; a stop more does no
        // harm.
        let sure = orders.frozen(inst).is_none()
            && !matches!(*self.readiness.borrow(), Readiness::Halted(_));
        let now = self.clock.now();
        let age = self.limits.ms(Rule::QuoteAge);
        let fresh = shown
            .quote
            .filter(|quote| now.since(quote.at).0.abs() <= age.0);
        let coming = &self.work.guarding.coming;
        let overdue = |id: &str| {
            coming
                .get(id)
                .is_some_and(|since| wall.since(*since) >= COMING_MAX)
        };
        let child_wait = self.clock.venue_span(CHILD_WAIT);
        let terms = ProtectionTerms {
            default: self.protecting.stop_default,
            sure,
            now,
            child_wait,
            overdue: &overdue,
        };
        let cover = plan(
            rules,
            fresh.map(|quote| quote.last),
            &sleeves,
            &stops,
            &terms,
        );
        // Fractions of lots that no order can be made of are not bare.
        let open = Qty(cover.needed.0.saturating_sub(cover.covered.0));
        let bare = open >= rules.min_size && !open.is_zero();
        let before = self.work.guarding.measured.unwrap_or(wall);
        let shield = self.work.guarding.shields.entry(inst.clone()).or_default();
        (shield.needed, shield.covered) = (cover.needed, cover.covered);
        match (bare, shield.bare_since) {
            (true, None) => shield.bare_since = Some(wall),
            (true, Some(since)) => {
                shield.total_ms = shield.total_ms.saturating_add(wall.since(before).0);
                shield.longest_ms = shield.longest_ms.max(wall.since(since).0);
            }
            (false, _) => shield.bare_since = None,
        }
        // The time in which nothing could be done does not count against the position.
        let failing = &mut self.work.guarding.failing;
        if !(bare && able) {
            failing.remove(inst);
        }
        let late = if bare && able {
            let failing = failing
                .entry(inst.clone())
                .or_insert_with(|| Bare::since(wall));
            failing.all_through(open, wall, self.protecting.unprotected_max)
        } else {
            None
        };
        let rescue = late
            .filter(|_| sure)
            .map_or(Vec::new(), |qty| give_up(rules, &sleeves, qty));
        Some((cover, rescue))
    }

    /// Tells how long positions were bare, at the end.
    pub(super) fn sum_up(&self) {
        for (inst, shield) in &self.work.guarding.shields {
            info!(event = "protection", %inst, unprotected_ms = shield.total_ms, longest_ms = shield.longest_ms,
                "time without a stop at the venue");
        }
    }
}
