//! Making flat, step by step, until the venue says so: cancel what works, wait until nothing does,
//! read the account, close what it shows, read again. Pure: what is seen goes in, what is to be
//! done comes out.
//!
//! A close is sized only from a read of the account that began after the last of our orders there
//! had ended, so it can neither double one that is on its way nor miss what one has just filled.
//!
//! The kill switch and a close are one machine (`risk/unwind.rs`), which believes only reads of the
//! account that began after its last order there had ended.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::flatten::{Flatten, held};
use crate::domain::view::StopPhase;
use crate::domain::{AccountView, InstId, MarketView, Ms, OrderId, OrdersView, Qty, RunId, Side};

/// Pace of a flattening: its intervals and limits.
#[derive(Clone, Copy, Debug)]
pub struct UnwindTiming {
    /// Between cancels of the same order, and between reads of the account; wall time.
    pub again: Ms,
    /// After this long it is given up; wall time.
    pub give_up: Ms,
    /// Closes of one instrument, a refused one counts.
    pub tries: u32,
}

impl Default for UnwindTiming {
    fn default() -> Self {
        Self {
            again: Ms(1000),
            give_up: Ms::secs(60),
            tries: 8,
        }
    }
}

/// Time without any working order before a flattening is over; wall time.
const IDLE: Ms = Ms(500);

/// Next step of a flattening.
#[derive(Debug, PartialEq, Eq)]
pub enum UnwindStep {
    Cancel(InstId, OrderId),
    ReadAccount,
    /// Close what the account shows of it; the how-manieth try.
    Close(InstId, u32),
    Over(UnwindReport),
}

/// Outcome in one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Left {
    pub inst: InstId,
    /// Quantity that the last read of the account shows, signed; below the smallest order it cannot
    /// be closed.
    pub held: Qty,
    pub flat: bool,
    /// Orders of ours that still work there.
    pub working: Vec<OrderId>,
    pub tries: u32,
    /// `false`: nobody here has traded it.
    pub ours: bool,
    /// Of it, what live stops of ours cover.
    pub covered: Qty,
    pub why: String,
}

/// Outcome of a flattening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UnwindReport {
    pub run_id: RunId,
    pub trigger: String,
    /// Cancels asked for, each order once.
    pub cancelled: usize,
    pub closes: u32,
    pub left: Vec<Left>,
    /// Venue time of the read of the account that this rests on.
    pub verified_at: Option<Ms>,
    pub took_ms: i64,
}

impl UnwindReport {
    /// True if no order of ours is working, and nothing of ours is held where it was to be made
    /// flat.
    pub fn ours_are_flat(&self) -> bool {
        self.left
            .iter()
            .filter(|left| left.ours)
            .all(|left| left.flat && left.working.is_empty())
    }
    /// True if no order is working any more, and everything that was to be flat is.
    pub fn is_done(&self) -> bool {
        self.left
            .iter()
            .all(|left| left.flat && left.working.is_empty())
    }
}

/// One making-flat under way.
#[derive(Debug)]
pub struct Unwind {
    pub run_id: RunId,
    pub trigger: String,
    /// Instruments to make flat; empty: only cancel.
    flatten: BTreeSet<InstId>,
    scope: Flatten,
    /// Instruments to cancel in; `None`: all.
    cancel: Option<BTreeSet<InstId>>,
    tempo: UnwindTiming,
    began: Ms,
    asked: BTreeMap<OrderId, Ms>,
    cancelled: BTreeSet<OrderId>,
    /// Since when nothing of ours works in an instrument, venue time, as the read that is to be
    /// waited for must be newer.
    quiet: BTreeMap<InstId, Ms>,
    tries: BTreeMap<InstId, u32>,
    read_asked: Option<Ms>,
    /// Since when nothing works and nothing is on its way, wall time.
    idle_since: Option<Ms>,
}

/// Inputs of a step.
pub struct UnwindView<'a> {
    pub orders: &'a OrdersView,
    pub account: Option<&'a AccountView>,
    pub market: &'a MarketView,
    /// A close of ours was handed on and has not been seen by the tracker yet.
    pub in_flight: &'a dyn Fn(&InstId) -> bool,
    /// Any order was.
    pub leaving: bool,
    /// Venue time, and wall time that only goes forward.
    pub now: Ms,
    pub wall: Ms,
}

impl Unwind {
    /// Begins. `flatten` empty: only what works is cancelled.
    pub fn begin(
        (run_id, trigger): (RunId, String),
        (flatten, scope): (BTreeSet<InstId>, Flatten),
        cancel: Option<BTreeSet<InstId>>,
        tempo: UnwindTiming,
        wall: Ms,
    ) -> Self {
        Self {
            run_id,
            trigger,
            flatten,
            scope,
            cancel,
            tempo,
            began: wall,
            asked: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            quiet: BTreeMap::new(),
            tries: BTreeMap::new(),
            read_asked: None,
            idle_since: None,
        }
    }

    /// Returns the positions that it covers.
    pub fn scope(&self) -> Flatten {
        self.scope
    }

    /// True if this instrument is being made flat.
    pub fn covers(&self, inst: &InstId) -> bool {
        self.flatten.contains(inst)
    }

    /// Returns the steps to take now.
    pub fn next(&mut self, seen: &UnwindView<'_>) -> Vec<UnwindStep> {
        let mut steps = Vec::new();
        let here = |inst: &InstId| {
            self.cancel
                .as_ref()
                .is_none_or(|insts| insts.contains(inst))
        };
        let working: Vec<(InstId, OrderId)> = seen
            .orders
            .open
            .values()
            .filter(|o| here(&o.inst) && !o.state.is_final())
            .map(|o| (o.inst.clone(), o.id.clone()))
            .collect();
        for (inst, order) in &working {
            // What was sent to close is left to close.
            let closing = seen
                .orders
                .open
                .get(order)
                .is_some_and(|o| o.run_id == self.run_id);
            let due = self
                .asked
                .get(order)
                .is_none_or(|at| seen.wall.since(*at) >= self.tempo.again);
            if due && !closing {
                self.asked.insert(order.clone(), seen.wall);
                self.cancelled.insert(order.clone());
                steps.push(UnwindStep::Cancel(inst.clone(), order.clone()));
            }
        }
        let mut over = working.is_empty();
        let mut read = false;
        for inst in self.flatten.clone() {
            // An order that has ended and whose fills are still missing is open, too.
            let busy = seen.orders.open.values().any(|o| o.inst == inst) || (seen.in_flight)(&inst);
            if busy {
                self.quiet.remove(&inst);
                over = false;
                continue;
            }
            let since = *self.quiet.entry(inst.clone()).or_insert(seen.now);
            let Some(account) = seen.account.filter(|account| account.as_of > since) else {
                (over, read) = (false, true);
                continue;
            };
            let Some(shown) = seen.market.insts.get(&inst) else {
                continue;
            };
            let tries = self.tries.entry(inst.clone()).or_default();
            let size = held(&shown.instrument, seen.orders, account, self.scope).abs();
            if size < shown.instrument.min_size || size.is_zero() || *tries >= self.tempo.tries {
                continue;
            }
            over = false;
            steps.push(UnwindStep::Close(inst.clone(), *tries));
            *tries += 1;
            // The next look waits for a read after this close.
            self.quiet.remove(&inst);
        }
        if read
            && self
                .read_asked
                .is_none_or(|at| seen.wall.since(at) >= self.tempo.again)
        {
            self.read_asked = Some(seen.wall);
            steps.push(UnwindStep::ReadAccount);
        }
        // What passed the last look just before may show a moment later.
        let idle = working.is_empty() && !seen.leaving;
        self.idle_since = idle.then(|| self.idle_since.unwrap_or(seen.wall));
        over &= self
            .idle_since
            .is_some_and(|at| seen.wall.since(at) >= IDLE);
        if over || seen.wall.since(self.began) >= self.tempo.give_up {
            steps = vec![UnwindStep::Over(self.report(seen, &working))];
        }
        steps
    }

    fn report(&self, seen: &UnwindView<'_>, working: &[(InstId, OrderId)]) -> UnwindReport {
        let mut insts = self.flatten.clone();
        insts.extend(working.iter().map(|(inst, _)| inst.clone()));
        let mut left: Vec<Left> = insts
            .into_iter()
            .map(|inst| {
                let shown = seen.market.insts.get(&inst);
                let fresh = seen
                    .account
                    .filter(|account| self.quiet.get(&inst).is_some_and(|at| account.as_of > *at));
                let size = match (shown, seen.account) {
                    (Some(shown), Some(account)) => {
                        held(&shown.instrument, seen.orders, account, self.scope)
                    }
                    _ => Qty::ZERO,
                };
                let least = shown.map_or(Qty::ZERO, |shown| shown.instrument.min_size);
                let working: Vec<OrderId> = working
                    .iter()
                    .filter(|(on, _)| *on == inst)
                    .map(|(_, order)| order.clone())
                    .collect();
                let tries = self.tries.get(&inst).copied().unwrap_or(0);
                let wanted = self.flatten.contains(&inst);
                let small = size.is_zero() || size.abs() < least;
                let flat = !wanted || (fresh.is_some() && small);
                let why = match (flat, working.is_empty(), fresh.is_some()) {
                    (true, true, _) if wanted && !size.is_zero() => {
                        format!("flat: {size} is below the smallest order")
                    }
                    (true, true, _) if wanted => "flat, as the venue says".to_owned(),
                    (_, false, _) => format!("{} of ours still work", working.len()),
                    (false, true, true) => format!("{size} left after {tries} closes"),
                    (_, true, _) => {
                        "the account could not be read since the last order ended".to_owned()
                    }
                };
                let covered = covered(seen.orders, &inst, size);
                Left {
                    inst,
                    held: size,
                    flat,
                    working,
                    tries,
                    ours: true,
                    covered,
                    why,
                }
            })
            .collect();
        left.extend(self.strangers(seen));
        UnwindReport {
            run_id: self.run_id,
            trigger: self.trigger.clone(),
            cancelled: self.cancelled.len(),
            closes: self.tries.values().sum(),
            left,
            verified_at: seen.account.map(|account| account.as_of),
            took_ms: seen.wall.since(self.began).0,
        }
    }
}

impl Unwind {
    /// Returns what the venue holds beside our positions: in the instruments that are made flat
    /// and, when all of them are, anywhere.
    fn strangers(&self, seen: &UnwindView<'_>) -> Vec<Left> {
        let Some(account) = seen.account.filter(|_| !self.flatten.is_empty()) else {
            return Vec::new();
        };
        let all = seen
            .market
            .insts
            .keys()
            .all(|inst| self.flatten.contains(inst));
        let mut out = Vec::new();
        for (inst, position) in &account.positions {
            let traded = seen.market.insts.get(inst);
            let (rest, cure) = match traded {
                Some(_) if !self.flatten.contains(inst) => continue,
                Some(shown) => {
                    let ours = held(&shown.instrument, seen.orders, account, self.scope);
                    (
                        Qty(position.qty.0.saturating_sub(ours.0)),
                        "`--everything` closes it, too",
                    )
                }
                None if !all => continue,
                None => (
                    position.qty,
                    "it is not traded here: close it on the venue's page",
                ),
            };
            if rest.is_zero() {
                continue;
            }
            let covered = covered(seen.orders, inst, rest);
            let stops = match covered {
                Qty(none) if none.is_zero() => "no stop of ours covers it".to_owned(),
                covered if covered >= rest.abs() => "stops of ours cover it".to_owned(),
                covered => format!("stops of ours cover {covered} of it"),
            };
            let why = format!("not ours: {rest} stand at the venue, and {stops}; {cure}");
            let flat = self.scope.ours_only;
            out.push(Left {
                inst: inst.clone(),
                held: rest,
                flat,
                working: Vec::new(),
                tries: 0,
                ours: false,
                covered,
                why,
            });
        }
        out
    }
}

/// Returns how much of a position of this size live stops of ours cover.
fn covered(orders: &OrdersView, inst: &InstId, position: Qty) -> Qty {
    let out = Side::of(position).opposite();
    let live = orders
        .stops
        .iter()
        .filter(|s| s.stop.inst == *inst && s.stop.side == out && s.phase == StopPhase::Live);
    let sum = live.fold(Qty::ZERO, |sum, s| {
        Qty(sum.0.saturating_add(s.stop.qty.unwrap_or_default().0))
    });
    sum.min(position.abs())
}

#[cfg(test)]
mod tests;
