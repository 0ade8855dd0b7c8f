//! Orders, fills and sleeves, folded from events. Pure: an event in, records to keep out. `stops`
//! and `sleeves` are the other halves of it.

mod belief;
mod local;
mod sleeves;
mod stops;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::belief::mistaken;
use crate::domain::books::{Books, Holding};
use crate::domain::order::{Contradiction, StateChange, Teller};
use crate::domain::record::{Adjustment, Record, Transition};
use crate::domain::view::{Guard, Latest, OpenOrder, OrdersView};
use crate::domain::{
    ClOrdId, ContenderId, Fill, InstId, Instrument, Ms, Order, OrderId, OrderIntent, OrderState,
    Price, Purpose, Qty, Side, StopOrder, Tally, VenueOrdId,
};
use crate::store::Opened;
use crate::venue::{CreateOutcome, FillReport, OrderPush, RawFill};

/// Ended orders kept in memory, so that a late word on one is recognised.
const ENDED_KEPT: usize = 3_000;

/// The evidence by which a start knows an order that a person has set aside.
pub(crate) const SET_ASIDE: &str = "set aside by a person";

/// Result of an event: records to keep, in order.
pub type Outcome = Result<Vec<Record>, Contradiction>;

/// An order at the venue that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Order of somebody else: placed by a person, by hand.
    Stranger,
    /// Order with our prefix that we do not know: our database is not the one that made it.
    OursUnknown,
    /// Order with the venue's id of one of ours but other facts: an answer or push about another
    /// order.
    Mistaken(Contradiction),
    /// Statement that cannot be true of that order, whatever else is: no number is taken from it.
    Unbelievable(String),
}

/// Odd fact that was booked as told and that a person should know of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    pub inst: InstId,
    pub what: OddKind,
    pub why: String,
}

/// Kinds of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OddKind {
    /// An order of ours is larger at the venue than we made it.
    Enlarged,
    /// A fill was told otherwise before.
    Corrected,
    /// A push tells a fill otherwise than it is booked: the venue's list decides.
    Doubtful,
}

/// All we know of orders, fills and what the contenders hold.
#[derive(Debug, Default)]
pub struct Ledger {
    orders: BTreeMap<OrderId, Order>,
    by_venue: BTreeMap<VenueOrdId, OrderId>,
    holdings: BTreeMap<(ContenderId, InstId), Holding>,
    tally: Tally,
    /// Stops that may be alive, and ended ones whose child may still come, by our name of them.
    stops: BTreeMap<String, StopOrder>,
    /// Stops that were believed never made and live at the venue.
    undead: BTreeSet<String>,
    /// Stops that lived and that the venue did not know any more.
    buried: BTreeSet<String>,
    /// Protection wanted for each sleeve.
    guards: BTreeMap<(ContenderId, InstId), Guard>,
    latest: BTreeMap<(ContenderId, InstId), OrderId>,
    instruments: BTreeMap<InstId, Arc<Instrument>>,
    /// The account as our fills make it.
    books: Books,
    /// The environment's letter in our client order ids.
    env: char,
    /// Booked, and told since; see [`Ledger::take_odd`].
    odd: Vec<Odd>,
}

impl Ledger {
    /// Takes up what the database remembers. Orders that were on their way out when the last
    /// process ended may or may not have left: they become unknown.
    pub fn open(
        opened: Opened,
        instruments: BTreeMap<InstId, Arc<Instrument>>,
        env: char,
        now: Ms,
    ) -> (Self, Vec<Record>) {
        // Those no longer traded keep their fills, under the rules they had.
        let mut known: BTreeMap<InstId, Arc<Instrument>> = opened
            .instruments
            .iter()
            .map(|inst| (inst.id.clone(), Arc::new(inst.clone())))
            .collect();
        known.extend(instruments);
        let mut ledger = Self {
            instruments: known,
            env,
            // Such as lived and were not known any more: if one shows again it must go.
            buried: opened
                .stops
                .values()
                .filter(|stop| stop.state == crate::domain::AlgoState::Canceled)
                .map(|stop| stop.id.clone())
                .collect(),
            stops: opened.stops,
            ..Self::default()
        };
        let mut records = Vec::new();
        ledger.fold(&opened.fills, &opened.adjustments, &opened.streak_after);
        for (key, guard) in opened.guards {
            let held = ledger.holdings.get(&key).map_or(Qty::ZERO, |held| held.qty);
            if guard.side.signed(held) >= Qty::ZERO {
                ledger.guards.insert(key, guard); // the newest on the side that is held
            }
        }
        for mut order in opened.orders {
            if matches!(order.state(), OrderState::Intended | OrderState::Sent)
                && let Ok(Some(step)) = order.local_step(OrderState::Unknown)
            {
                records.push(transition(
                    &order,
                    step,
                    "restart",
                    "the process ended before an answer was stored",
                    now,
                ));
            }
            if let Some(venue) = &order.venue_id {
                ledger.by_venue.insert(venue.clone(), order.id.clone());
            }
            let owner = crate::domain::intent::owner(order.purpose, &order.contender);
            ledger
                .latest
                .insert((owner, order.inst.clone()), order.id.clone());
            ledger.orders.insert(order.id.clone(), order);
        }
        // Stops of orders that ended without a fill were never made.
        let barren = |o: &&Order| o.state().is_final() && o.filled.is_zero();
        let barren: Vec<OrderId> = ledger
            .orders
            .values()
            .filter(barren)
            .map(|o| o.id.clone())
            .collect();
        for id in barren {
            records.extend(ledger.end_stops_of(&id, now));
        }
        (ledger, records)
    }

    /// Folds what each contender holds, and the books of the account, from all fills and moves
    /// there are.
    fn fold(
        &mut self,
        fills: &[Fill],
        adjustments: &[(usize, Adjustment)],
        forgiven: &BTreeMap<String, Ms>,
    ) {
        self.tally.forgive(
            forgiven
                .iter()
                .map(|(who, until)| (who.as_str().into(), *until)),
        );
        let mut moved = adjustments.iter().peekable();
        for (booked, fill) in fills.iter().enumerate() {
            while let Some((_, row)) = moved.next_if(|(after, _)| *after <= booked) {
                self.shift(row);
            }
            self.book(fill);
        }
        moved.for_each(|(_, row)| self.shift(row));
    }

    /// Folds everything anew from the record, after a fill in it was corrected: averages depend on
    /// all that came after it.
    pub fn refold(&mut self, opened: &Opened) {
        (self.holdings, self.tally, self.books) = Default::default();
        self.fold(&opened.fills, &opened.adjustments, &opened.streak_after);
    }

    /// Takes what was booked although it is odd, since the last call.
    pub fn take_odd(&mut self) -> Vec<Odd> {
        std::mem::take(&mut self.odd)
    }

    /// Returns what each contender holds, or has an order for, as the database remembers it; dust
    /// below the smallest order counts as nothing.
    pub fn held(opened: Opened) -> BTreeMap<(ContenderId, InstId), Qty> {
        let rules: BTreeMap<InstId, Arc<Instrument>> = opened
            .instruments
            .iter()
            .map(|inst| (inst.id.clone(), Arc::new(inst.clone())))
            .collect();
        let (ledger, _) = Self::open(opened, rules.clone(), '-', Ms::ZERO);
        let worth = |inst: &InstId, qty: Qty| {
            rules
                .get(inst)
                .is_some_and(|rules| qty.abs() >= rules.min_size)
        };
        let mut held: BTreeMap<(ContenderId, InstId), Qty> = ledger
            .holdings
            .iter()
            .filter(|((_, inst), holding)| worth(inst, holding.qty))
            .map(|(key, holding)| (key.clone(), holding.qty))
            .collect();
        for order in ledger.live() {
            held.entry((order.contender.clone(), order.inst.clone()))
                .or_default();
        }
        held
    }

    /// An order of this id.
    pub fn get(&self, id: &OrderId) -> Option<&Order> {
        self.orders.get(id)
    }

    /// Every order that is remembered.
    pub fn all(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// Size and entry price of every sleeve in an instrument.
    pub fn entries(
        &self,
        inst: &InstId,
    ) -> impl Iterator<Item = (rust_decimal::Decimal, rust_decimal::Decimal)> {
        self.holdings
            .iter()
            .filter(move |((_, on), _)| on == inst)
            .map(|(_, held)| (held.qty.0, held.average.0))
    }

    /// Orders that may be alive at the venue.
    pub fn live(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(|o| o.state().may_be_live())
    }

    /// An instrument that we trade or once traded.
    pub fn instrument(&self, inst: &InstId) -> Option<&Arc<Instrument>> {
        self.instruments.get(inst)
    }

    /// Every instrument that we trade or once traded.
    pub fn instruments(&self) -> impl Iterator<Item = &Arc<Instrument>> {
        self.instruments.values()
    }

    /// The account as our fills make it.
    pub fn books(&self) -> &Books {
        &self.books
    }

    /// The venue's names of all orders we know.
    pub fn venue_ids(&self) -> impl Iterator<Item = String> + '_ {
        self.by_venue.keys().map(|id| id.as_str().to_owned())
    }

    /// Orders of which the venue counts more filled than we hold fills for.
    pub fn missing_fills(&self) -> impl Iterator<Item = &Order> {
        self.orders
            .values()
            .filter(|o| o.venue_id.is_some() && o.filled_by_fills() < o.filled)
    }

    /// Returns the view for the other stages. An order that has ended but whose fills are not all
    /// booked is still open in it: until then nobody knows what its contender holds.
    pub fn view(&self) -> OrdersView {
        let open = self
            .orders
            .values()
            .filter(|o| o.state().may_be_live() || o.filled_by_fills() < o.filled)
            .map(|o| {
                let row = OpenOrder {
                    id: o.id.clone(),
                    run_id: o.run_id,
                    contender: o.contender.clone(),
                    inst: o.inst.clone(),
                    side: o.side,
                    state: o.state(),
                    leaves: o.leaves(),
                    price: o.worst_price(),
                    limit: o.limit,
                    created_at: o.created_at,
                    cancel_after: o.ttl.map(|ttl| o.created_at.plus(ttl)),
                    opening: o.purpose == Purpose::Entry,
                    protective: !matches!(o.purpose, Purpose::Entry | Purpose::Exit),
                };
                (o.id.clone(), row)
            });
        let latest = self.latest.iter().map(|(key, id)| {
            let order = self.orders.get(id);
            let latest = Latest {
                id: id.clone(),
                // One that ended before the executor is not kept here.
                state: order.map_or(OrderState::Blocked, Order::state),
                filled: order.map_or(Qty::ZERO, |o| o.filled),
                settled: order.is_none_or(Order::is_settled),
                given_up: order.is_some_and(Order::is_given_up),
            };
            (key.clone(), latest)
        });
        OrdersView {
            open: open.collect(),
            holdings: self.holdings.clone(),
            tally: self.tally.clone(),
            latest: latest.collect(),
            guards: self.guards.clone(),
            stops: self.shown_stops(),
            ..OrdersView::default()
        }
    }

    /// A statement of the venue about an order, from the stream or from a query.
    pub fn on_order(
        &mut self,
        push: &OrderPush,
        channel: &str,
        now: Ms,
    ) -> Result<Outcome, Foreign> {
        let whose = self.identify(push, now)?;
        self.believable(self.order_of(&whose), push)?;
        let (id, mut records) = self.take_in(whose);
        Ok(self.join(&id, push, channel, now).map(|more| {
            records.extend(more);
            records
        }))
    }

    fn join(&mut self, id: &OrderId, push: &OrderPush, channel: &str, now: Ms) -> Outcome {
        let mut records = Vec::new();
        let order = self.orders.get_mut(id).expect("identified above");
        let (state, filled, qty) = (order.state(), order.filled, order.qty);
        order.merge(&push.report)?;
        // Of an order whose size is counted in the quote currency the venue's `sz` says nothing
        // here; ours never are.
        order.enlarge(push.qty.unwrap_or(qty));
        let enlarged = order.qty > qty;
        if let Some(limit) = push
            .limit
            .filter(|limit| order.limit.is_some_and(|known| known != *limit))
        {
            order.limit = Some(limit);
            let (order_id, run_id) = (order.id.clone(), order.run_id);
            records.push(Record::Moved {
                order_id,
                run_id,
                limit,
                at: now,
            });
        }
        if order.moving == order.limit {
            order.moving = None;
        }
        self.by_venue
            .insert(push.report.venue_id.clone(), id.clone());
        if enlarged {
            records.extend(self.enlarged(id, qty, now));
        }
        let fills = push
            .fill
            .as_ref()
            .map_or(Vec::new(), |raw| self.take_fill(id, raw, Teller::Push, now));
        let order = &self.orders[id];
        if order.state() != state || order.filled != filled {
            let mut evidence = channel.to_owned();
            if let Some(source) = &push.report.cancel_source {
                evidence.push_str(&format!(" cancelSource {source}"));
            }
            let step = StateChange {
                from: state,
                to: order.state(),
            };
            records.push(transition(order, step, "venue", &evidence, now));
        }
        let barren = order.state().is_final() && order.filled.is_zero();
        records.extend(fills);
        if barren {
            records.extend(self.end_stops_of(id, now));
        }
        Ok(records)
    }

    /// A row of the venue's fill list. `Ok(Err)`: not ours.
    pub fn on_fill(&mut self, report: &FillReport, now: Ms) -> Result<Outcome, Foreign> {
        let id = match self.by_venue.get(&report.venue_id) {
            Some(id) => id.clone(),
            None if report.cl_ord_id.is_empty() => return Err(Foreign::Stranger),
            None => OrderId::from(report.cl_ord_id.as_str()),
        };
        let Some(order) = self.orders.get(&id) else {
            let ours = ClOrdId::is_ours(&report.cl_ord_id, self.env);
            return Err(if ours {
                Foreign::OursUnknown
            } else {
                Foreign::Stranger
            });
        };
        if !order.is_told_of(&report.inst, report.side, &report.cl_ord_id) {
            return Err(mistaken(
                order,
                &report.venue_id,
                (&report.inst, report.side, &report.cl_ord_id),
            ));
        }
        if let Some(known) = order
            .venue_id
            .as_ref()
            .filter(|known| **known != report.venue_id)
        {
            let (known, said) = (known.clone(), report.venue_id.clone());
            return Ok(Err(Contradiction::TwoNames {
                order: id,
                known,
                said,
            }));
        }
        self.fill_believable(order, &report.fill)?;
        let order = self.orders.get_mut(&id).expect("looked up above");
        let (state, filled) = (order.state(), order.filled);
        order
            .venue_id
            .get_or_insert_with(|| report.venue_id.clone());
        self.by_venue.insert(report.venue_id.clone(), id.clone());
        let fills = self.take_fill(&id, &report.fill, Teller::List, now);
        let order = &self.orders[&id];
        let mut records = Vec::new();
        if order.filled != filled || order.state() != state {
            let step = StateChange {
                from: state,
                to: order.state(),
            };
            records.push(transition(order, step, "venue", "trade/fills", now));
        }
        records.extend(fills);
        Ok(Ok(records))
    }

    fn fill(&mut self, id: &OrderId, raw: RawFill, side: Side) -> Vec<Record> {
        let Some(order) = self.orders.get(id) else {
            return Vec::new();
        };
        let order = order.clone();
        let (venue, purpose) = (
            order
                .venue_id
                .clone()
                .unwrap_or_else(|| VenueOrdId::from("")),
            order.purpose,
        );
        let fill = raw.of(
            &order.inst,
            side,
            id,
            &venue,
            &order.contender,
            order.run_id,
        );
        self.book(&fill);
        let key = (fill.contender.clone(), fill.inst.clone());
        let held = self.holdings.get(&key).map_or(Qty::ZERO, |held| held.qty);
        let newest = self
            .guards
            .get(&key)
            .and_then(|guard| self.orders.get(&guard.entry))
            .map(|o| o.created_at);
        // A flip that has filled in part has not made what is held; a late fill is not the newest
        // word.
        let makes =
            side.signed(held) > Qty::ZERO && newest.is_none_or(|newest| order.created_at >= newest);
        if purpose == Purpose::Entry && makes {
            let guard = Guard {
                entry: id.clone(),
                run_id: order.run_id,
                side,
                trigger: order.stop,
            };
            self.guards
                .insert((fill.contender.clone(), fill.inst.clone()), guard);
        }
        let moved = match purpose {
            Purpose::Flatten => self.hand_down(&fill, "close"),
            Purpose::Liquidation => self.hand_down(&fill, "liquidation"),
            Purpose::Entry | Purpose::Exit | Purpose::Stop | Purpose::Repair => Vec::new(),
        };
        std::iter::once(Record::Fill(Box::new(fill)))
            .chain(moved)
            .collect()
    }

    fn forget_old(&mut self) {
        if self.orders.len() <= ENDED_KEPT + ENDED_KEPT / 10 {
            return;
        }
        // Ended stops are kept as long as the order they hung on, so that a late child is
        // recognised.
        let orders = &self.orders;
        self.stops
            .retain(|_, stop| !stop.state.is_final() || orders.contains_key(&stop.parent));
        let waits = self.stops.values().filter(|stop| !stop.state.is_final());
        let parents: BTreeSet<&OrderId> = waits.map(|stop| &stop.parent).collect();
        let mut ended: Vec<(Ms, OrderId)> = self
            .orders
            .values()
            .filter(|o| o.is_settled() && !parents.contains(&o.id))
            .map(|o| (o.created_at, o.id.clone()))
            .collect();
        ended.sort();
        let surplus = self.orders.len().saturating_sub(ENDED_KEPT);
        for (_, id) in ended.iter().take(surplus) {
            if let Some(venue) = self.orders.remove(id).and_then(|o| o.venue_id) {
                self.by_venue.remove(&venue);
            }
        }
    }
}

fn transition(
    order: &Order,
    step: StateChange,
    cause: &'static str,
    evidence: &str,
    at: Ms,
) -> Record {
    Record::Transition(Transition {
        order_id: order.id.clone(),
        run_id: order.run_id,
        from: Some(step.from),
        to: step.to,
        cause,
        evidence: evidence.chars().take(400).collect(),
        venue_id: order.venue_id.clone(),
        filled: order.filled,
        average: order.average,
        at,
    })
}

#[cfg(test)]
mod tests;
