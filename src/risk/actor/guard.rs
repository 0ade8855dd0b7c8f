//! Protection, carried out: `protect::plan` says what is to be done, here it is handed to the
//! executor, and the time a position is without a stop is measured.
//!
//! A position that somebody else has made is guarded under a contender of its own, `_foreign`: an
//! order that is suppressed is the parent of its stop, and what the stop fills is settled there, so
//! that no sleeve of ours has a part in it.

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

    fn protects_foreign(&self, inst: &Instrument) -> bool {
        self.protecting.foreign == ProtectForeign::Protect && inst.kind == InstKind::Swap
    }

    /// Decides where a position that is not ours is to be stopped, once for as long as it stands:
    /// as far from the worse of its entry and the price of now as a stop is put for a strategy that
    /// names none. A decision like any other, with its rows.
    async fn guard_foreign(&mut self, inst: &InstId) -> Result<(), StageError> {
        let held = self
            .orders
            .borrow()
            .foreign
            .get(inst)
            .copied()
            .unwrap_or(Qty::ZERO);
        let side = Side::of(held);
        if held.is_zero() {
            self.work.guarding.foreign.remove(inst);
            return Ok(());
        }
        if self
            .work
            .guarding
            .foreign
            .get(inst)
            .is_some_and(|guard| guard.side == side)
        {
            return Ok(());
        }
        let shown = self.market.borrow().insts.get(inst).cloned();
        let Some(shown) = shown.filter(|shown| self.protects_foreign(&shown.instrument)) else {
            return Ok(());
        };
        let nobody = ContenderId::foreign();
        let known = {
            let orders = self.orders.borrow();
            let its = |s: &&ShownStop| {
                s.stop.inst == *inst && s.stop.contender == nobody && s.stop.side == side.opposite()
            };
            orders.stops.iter().find(its).map(|s| Guard {
                entry: s.stop.parent.clone(),
                run_id: s.stop.run_id,
                side,
                trigger: Some(s.stop.trigger),
            })
        };
        if let Some(guard) = known {
            self.work.guarding.foreign.insert(inst.clone(), guard);
            return Ok(());
        }
        let position = self
            .account
            .borrow()
            .as_ref()
            .and_then(|account| account.positions.get(inst).cloned());
        let prices = [
            position.as_ref().and_then(|p| p.average),
            shown.mark_or_mid(),
        ];
        let worse = prices.into_iter().flatten().reduce(|a, b| {
            if side == Side::Buy {
                a.min(b)
            } else {
                a.max(b)
            }
        });
        let Some(base) = worse else { return Ok(()) };
        let trigger = crate::risk::protect::default_trigger(
            &shown.instrument,
            side,
            base,
            self.protecting.stop_default,
        );
        let Some(trigger) = trigger else {
            return Ok(());
        };
        let now = self.clock.now();
        let run_id = self.seal.ids.next(now);
        warn!(event = "foreign_guarded", %run_id, %inst, qty = %held, %trigger,
            "a position that is not ours gets a stop; risk.protection.foreign = \"ignore\" leaves it alone");
        let why = format!(
            "{held} of it are not ours; the venue's net position is protected, whoever made it"
        );
        let qty = shown.instrument.floor_lot(held.abs());
        let intent = OrderIntent {
            cl_ord_id: self.name(run_id, &nobody, inst, Purpose::Entry, 0),
            run_id,
            contender: nobody.clone(),
            inst: inst.clone(),
            side,
            ord_type: OrdType::Market,
            qty,
            limit: None,
            purpose: Purpose::Entry,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: base,
            decided_at: now,
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            good_for: None,
        };
        let entry = OrderId::from(&intent.cl_ord_id);
        let (stop, target) = (Some(trigger), None);
        let proposal = Proposal {
            contender: nobody.clone(),
            inst: inst.clone(),
            target,
            stop,
            reason: why.clone(),
            good_for: None,
        };
        let allocation = Allocation {
            contender: nobody,
            inst: inst.clone(),
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            current: held,
            target: held,
            cl_ord_id: Some(intent.cl_ord_id.clone()),
            reason: "not ours: protected, never traded".to_owned(),
        };
        let body: Arc<str> = serde_json::json!({"protect": why, "position": position})
            .to_string()
            .into();
        let (trigger_words, caused_by) =
            (format!("protect {inst}: {why}"), Some(self.seal.start_run));
        let rows = vec![
            Record::Run {
                run_id,
                kind: RunKind::Command,
                trigger: trigger_words,
                at: now,
                caused_by,
            },
            Record::Snapshot {
                run_id,
                as_of: now,
                body,
            },
            Record::Decisions {
                run_id,
                at: now,
                proposals: vec![proposal],
            },
            Record::Allocations {
                run_id,
                at: now,
                rows: vec![allocation],
            },
            // What its stop hangs on: an order that nobody sent.
            Record::Stopped {
                intent: Arc::new(intent),
                state: OrderState::Suppressed,
                breaches: Vec::new(),
                at: now,
            },
        ];
        self.journal.post(Record::Together(rows)).await?;
        self.work.guarding.foreign.insert(
            inst.clone(),
            Guard {
                entry,
                run_id,
                side,
                trigger: Some(trigger),
            },
        );
        Ok(())
    }

    async fn carry_out(
        &mut self,
        inst: &InstId,
        act: GuardAction,
        wall: Ms,
    ) -> Result<(), StageError> {
        let key = match &act {
            GuardAction::Place { contender, .. } => format!("place {inst} {contender}"),
            GuardAction::Exit { contender, .. } => format!("exit {inst} {contender}"),
            GuardAction::Clear { contender } => format!("clear {inst} {contender}"),
            GuardAction::Amend { id, qty, trigger } => format!("{id} {qty} {trigger}"),
            GuardAction::Cancel { id } => id.clone(),
        };
        let asked = self.work.guarding.asked.get(&key).copied();
        let times = match asked {
            Some((at, n)) if wall.since(at) < Ms(AGAIN.0 << n.min(DOUBLINGS)) => return Ok(()), // a moment ago
            Some((_, n)) => n + 1,
            None => 0,
        };
        self.work.guarding.asked.insert(key, (wall, times));
        let (inst, run_id) = (inst.clone(), self.seal.start_run);
        let work = match act {
            GuardAction::Exit {
                contender,
                side,
                qty,
                why,
            } => return self.take_out(inst, contender, side, qty, why).await,
            GuardAction::Clear { contender } => return self.clear(&inst, &contender).await,
            GuardAction::Amend { id, qty, trigger } => StopWork::Amend {
                inst,
                id,
                qty,
                trigger,
                run_id,
            },
            GuardAction::Cancel { id } => StopWork::Cancel { inst, id, run_id },
            GuardAction::Place {
                contender,
                entry,
                run_id: of_entry,
                side,
                qty,
                trigger,
            } => {
                self.work.guarding.placed += 1;
                // Named by this start, so that no two processes give the same name.
                let id = self.name(
                    run_id,
                    &contender,
                    &inst,
                    Purpose::Stop,
                    self.work.guarding.placed,
                );
                let stop = StopOrder {
                    id: id.as_str().to_owned(),
                    venue_id: None,
                    parent: entry,
                    run_id: of_entry,
                    contender,
                    inst,
                    side,
                    trigger,
                    qty: Some(qty),
                    standalone: true,
                    created: self.clock.now(),
                    state: AlgoState::Intended,
                    child: None,
                    triggered: None,
                    shaped_at: None,
                };
                StopWork::Place(Box::new(Placing {
                    stop,
                    _permit: Permit::issue(),
                }))
            }
        };
        self.send(Verdict::Stop(work)).await
    }

    /// Takes back what works for a sleeve that is to be taken out.
    async fn clear(&mut self, inst: &InstId, contender: &ContenderId) -> Result<(), StageError> {
        let run_id = self.seal.start_run;
        let due: Vec<CancelAsk> = {
            let orders = self.orders.borrow();
            let its = |o: &&OpenOrder| {
                o.inst == *inst && o.contender == *contender && !o.protective && !o.state.is_final()
            };
            let ask = |o: &OpenOrder| CancelAsk {
                inst: o.inst.clone(),
                order: o.id.clone(),
                run_id,
            };
            orders.open.values().filter(its).map(ask).collect()
        };
        for ask in due {
            self.cancels
                .send(ask)
                .await
                .map_err(|_| StageError::Gone("the executor"))?;
        }
        Ok(())
    }

    /// The venue would not protect a position: nothing opens there for a while.
    async fn rest(&mut self, inst: &InstId) -> Result<(), StageError> {
        let now = self.clock.now();
        let restriction = Restriction {
            scope: Scope::Instrument(inst.clone()),
            cause: "unprotected".to_owned(),
            state: TradingState::ReduceOnly,
            why: "a position had to be taken out because no stop could be placed in time"
                .to_owned(),
            since: now,
            until: Some(now.plus(UNPROTECTED_REST)),
            flatten: false,
            flattened: false,
        };
        self.restrict(restriction, "gate", self.seal.start_run, now)
            .await
            .map(drop)
    }

    fn name(
        &self,
        run_id: RunId,
        contender: &ContenderId,
        inst: &InstId,
        purpose: Purpose,
        leg: u32,
    ) -> crate::domain::ClOrdId {
        let seed = ClientIdSeed {
            env: self.seal.env,
            uid: &self.seal.uid,
            install_epoch: &self.seal.install_epoch,
            run_id,
            contender,
            inst,
            purpose,
            leg,
            attempt: 0,
        };
        seed.client_order_id()
    }

    /// Takes a sleeve out by an order of its own, with a permit: a decision of the gate, recorded
    /// like any other.
    async fn take_out(
        &mut self,
        inst: InstId,
        contender: ContenderId,
        side: Side,
        wanted: Qty,
        why: String,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let shown = self
            .market
            .borrow()
            .insts
            .get(&inst)
            .map(|m| (Arc::clone(&m.instrument), m.quote));
        let Some((instrument, quote)) = shown else {
            return Ok(());
        };
        let key = (contender.clone(), inst.clone());
        let current = self
            .orders
            .borrow()
            .holdings
            .get(&key)
            .map_or(Qty::ZERO, |held| held.qty);
        let run_id = self.seal.ids.next(now);
        let intent = OrderIntent {
            cl_ord_id: self.name(run_id, &contender, &inst, Purpose::Repair, 0),
            run_id,
            contender: contender.clone(),
            inst: inst.clone(),
            side,
            ord_type: OrdType::Market,
            qty: wanted,
            limit: None,
            purpose: Purpose::Repair,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: quote.map(|quote| quote.mid()).unwrap_or_default(),
            decided_at: now,
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            good_for: None,
        };
        let Some(intent) = self.held_to_position(intent, &instrument) else {
            return Ok(());
        };
        warn!(event = "take_out", %run_id, %contender, %inst, side = side.as_str(), qty = %intent.qty, %why, "taking a sleeve out");
        let target = Some(Bps(0));
        let proposal = Proposal {
            contender: contender.clone(),
            inst: inst.clone(),
            target,
            stop: None,
            reason: why.clone(),
            good_for: None,
        };
        let allocation = Allocation {
            contender,
            inst: inst.clone(),
            sleeve: Usd::ZERO,
            weight: Decimal::ZERO,
            current,
            target: Qty(current.0.saturating_add(side.signed(intent.qty).0)),
            cl_ord_id: Some(intent.cl_ord_id.clone()),
            reason: format!("repair {} {}", side.as_str(), intent.qty),
        };
        let body: Arc<str> = serde_json::json!({"protect": why, "quote": quote})
            .to_string()
            .into();
        let trigger = format!("protect {inst}: {why}");
        let caused_by = Some(self.seal.start_run);
        let rows = vec![
            Record::Run {
                run_id,
                kind: RunKind::Command,
                trigger,
                at: now,
                caused_by,
            },
            Record::Snapshot {
                run_id,
                as_of: now,
                body,
            },
            Record::Decisions {
                run_id,
                at: now,
                proposals: vec![proposal],
            },
            Record::Allocations {
                run_id,
                at: now,
                rows: vec![allocation],
            },
        ];
        self.journal.post(Record::Together(rows)).await?;
        match check_permitted(Arc::new(intent), &instrument) {
            Ok(approved) => self.let_out(approved).await,
            Err(Denied { intent, breaches }) => {
                error!(event = "take_out_blocked", %run_id, %inst, "a sleeve could not be taken out");
                self.stop(intent, OrderState::Blocked, breaches).await
            }
        }
    }

    /// While trading is restricted, or not in good order, no more than the venue's position leaves.
    /// The venue holds it to that wherever there is as much.
    fn held_to_position(&self, intent: OrderIntent, inst: &Instrument) -> Option<OrderIntent> {
        let room = self.venue_room(&intent, inst);
        let free = *self.readiness.borrow() == Readiness::Ready
            && self
                .memory
                .restrictions
                .of(&intent.contender, &intent.inst)
                .is_none();
        let qty = if free {
            intent.qty
        } else {
            intent.qty.min(inst.floor_lot(room))
        };
        let reduce_only = inst.kind == crate::domain::InstKind::Swap && qty <= room;
        (qty >= inst.min_size && !qty.is_zero()).then_some(OrderIntent {
            qty,
            reduce_only,
            ..intent
        })
    }

    /// Tells how long positions were bare, at the end.
    pub(super) fn sum_up(&self) {
        for (inst, shield) in &self.work.guarding.shields {
            info!(event = "protection", %inst, unprotected_ms = shield.total_ms, longest_ms = shield.longest_ms,
                "time without a stop at the venue");
        }
    }
}
