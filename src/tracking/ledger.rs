//! Orders, fills and sleeves, folded from events. Pure: an event in, records to keep out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::domain::books::Holding;
use crate::domain::order::{Contradiction, Step};
use crate::domain::record::{AdoptedOrder, AlgoRow, Record, Transition};
use crate::domain::view::{IdleStop, OpenOrder, OrdersView};
use crate::domain::{
    ContenderId, Fill, InstId, Instrument, Ms, OrdType, Order, OrderId, OrderIntent, OrderState, Price, Purpose, Qty,
    Side, VenueOrdId,
};
use crate::store::{Opened, StopOf};
use crate::venue::{AlgoPush, CreateOutcome, FillReport, OrderPush, RawFill};

/// Ended orders kept in memory, so that a late word on one is recognised.
const ENDED_KEPT: usize = 10_000;

/// What an event leads to: records to keep, in order.
pub type Outcome = Result<Vec<Record>, Contradiction>;

/// An order at the venue that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Somebody else's: a person's, by hand.
    Stranger,
    /// It carries our prefix and we do not know it: our database is not the one that made it.
    OursUnknown,
}

/// All we know of orders, fills and what the contenders hold.
#[derive(Debug, Default)]
pub struct Ledger {
    orders: BTreeMap<OrderId, Order>,
    by_venue: BTreeMap<VenueOrdId, OrderId>,
    holdings: BTreeMap<(ContenderId, InstId), Holding>,
    /// Stops that may be alive, by their algo id, and those asked to cancel.
    stops: BTreeMap<String, StopOf>,
    stops_asked: BTreeSet<String>,
    latest: BTreeMap<(ContenderId, InstId), OrderId>,
    instruments: BTreeMap<InstId, Arc<Instrument>>,
    /// (instrument or everything, why).
    pub halts: Vec<(Option<InstId>, String)>,
    /// The environment's prefix of our client order ids.
    prefix: String,
}

impl Ledger {
    /// Takes up what the database remembers. Orders that were on their way out when the last process
    /// ended may or may not have left: they become unknown.
    pub fn open(
        opened: Opened,
        instruments: BTreeMap<InstId, Arc<Instrument>>,
        env: char,
        now: Ms,
    ) -> (Self, Vec<Record>) {
        let mut ledger = Self {
            instruments,
            prefix: format!("{}{env}", crate::domain::ids::CLIENT_ID_PREFIX),
            stops: opened.stops,
            ..Self::default()
        };
        let mut records = Vec::new();
        for fill in &opened.fills {
            ledger.book(fill);
        }
        for mut order in opened.orders {
            if matches!(order.state(), OrderState::Intended | OrderState::Sent)
                && let Ok(Some(step)) = order.local_step(OrderState::Unknown)
            {
                records.push(transition(&order, step, "restart", "the process ended before an answer was stored", now));
            }
            if let Some(venue) = &order.venue_id {
                ledger.by_venue.insert(venue.clone(), order.id.clone());
            }
            ledger.latest.insert((order.contender.clone(), order.inst.clone()), order.id.clone());
            ledger.orders.insert(order.id.clone(), order);
        }
        // Stops of orders that ended without a fill were never made.
        let barren = |o: &&Order| o.state().is_final() && o.filled.is_zero();
        let barren: Vec<OrderId> = ledger.orders.values().filter(barren).map(|o| o.id.clone()).collect();
        for id in barren {
            records.extend(ledger.end_stops_of(&id, now));
        }
        (ledger, records)
    }

    /// An order of this id.
    pub fn get(&self, id: &OrderId) -> Option<&Order> {
        self.orders.get(id)
    }

    /// Orders that may be alive at the venue.
    pub fn live(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(|o| o.state().may_be_live())
    }

    /// The venue's names of all orders we know.
    pub fn venue_ids(&self) -> impl Iterator<Item = String> + '_ {
        self.by_venue.keys().map(|id| id.as_str().to_owned())
    }

    /// Orders of which the venue counts more filled than we hold fills for.
    pub fn missing_fills(&self) -> impl Iterator<Item = &Order> {
        self.orders.values().filter(|o| o.venue_id.is_some() && o.filled_by_fills() < o.filled)
    }

    /// What the other stages may see. An order that has ended but whose fills are not all booked is
    /// still open to them: until then nobody knows what its contender holds.
    pub fn view(&self) -> OrdersView {
        let open =
            self.orders.values().filter(|o| o.state().may_be_live() || o.filled_by_fills() < o.filled).map(|o| {
                let row = OpenOrder {
                    id: o.id.clone(),
                    run_id: o.run_id,
                    contender: o.contender.clone(),
                    inst: o.inst.clone(),
                    side: o.side,
                    state: o.state(),
                    leaves: o.leaves(),
                    price: o.limit.unwrap_or(o.reference),
                    cancel_after: o.ttl.map(|ttl| o.created_at.plus(ttl)),
                    opening: o.purpose == Purpose::Entry,
                };
                (o.id.clone(), row)
            });
        OrdersView {
            open: open.collect(),
            holdings: self.holdings.clone(),
            halts: self.halts.clone(),
            latest: self.latest.clone(),
            idle_stops: self.idle_stops(),
        }
    }

    /// Stops whose contender no longer holds what they protect.
    fn idle_stops(&self) -> Vec<IdleStop> {
        let idle = |stop: &StopOf| {
            // Not known, or not all of it: keep the stop.
            let Some(parent) = self.orders.get(&stop.parent).filter(|o| o.is_settled()) else { return false };
            let held = self.holdings.get(&(stop.contender.clone(), stop.inst.clone())).map_or(Qty::ZERO, |h| h.qty);
            match parent.side {
                Side::Buy => held <= Qty::ZERO,
                Side::Sell => held >= Qty::ZERO,
            }
        };
        let live = self.stops.iter().filter(|(id, stop)| !self.stops_asked.contains(*id) && idle(stop));
        live.map(|(id, stop)| IdleStop { inst: stop.inst.clone(), algo_id: id.clone(), run_id: stop.run_id }).collect()
    }

    /// A durable intent; bytes may follow.
    pub fn intended(&mut self, order: Order, intent: &OrderIntent, now: Ms) -> Vec<Record> {
        self.note_latest(intent);
        let mut records = Vec::new();
        if let Some(stop) = &intent.stop {
            let of = StopOf {
                parent: order.id.clone(),
                run_id: order.run_id,
                contender: order.contender.clone(),
                inst: order.inst.clone(),
                trigger: stop.trigger,
            };
            records.push(Record::Algo(algo_row(stop.algo_id.as_str(), &of, "intended", now)));
            self.stops.insert(stop.algo_id.as_str().to_owned(), of);
        }
        self.orders.insert(order.id.clone(), order);
        self.forget_old();
        records
    }

    /// An intent that ended before the executor.
    pub fn note_latest(&mut self, intent: &OrderIntent) {
        let key = (intent.contender.clone(), intent.inst.clone());
        self.latest.insert(key, OrderId::from(&intent.cl_ord_id));
    }

    /// The attempt to send begins.
    pub fn sending(&mut self, id: &OrderId, now: Ms) -> Outcome {
        self.local(id, OrderState::Sent, "executor", "sending", now)
    }

    /// It did not leave us.
    pub fn not_sent(&mut self, id: &OrderId, why: &str, now: Ms) -> Outcome {
        self.local(id, OrderState::Expired, "executor", &format!("not sent: {why}"), now)
    }

    /// The venue's answer to the create.
    pub fn answered(&mut self, id: &OrderId, outcome: &CreateOutcome, now: Ms) -> Outcome {
        match outcome {
            CreateOutcome::Accepted(venue_id) => {
                let Some(order) = self.orders.get_mut(id) else { return Ok(Vec::new()) };
                // An acknowledgement says that it exists, and nothing of how far it got.
                let report = crate::domain::VenueReport {
                    venue_id: venue_id.clone(),
                    status: crate::domain::VenueStatus::Live,
                    filled: order.filled,
                    average: None,
                    cancel_source: None,
                    at: now,
                };
                let step = order.merge(&report)?;
                self.by_venue.insert(venue_id.clone(), id.clone());
                let order = &self.orders[id];
                Ok(step.map(|step| transition(order, step, "executor", "accepted", now)).into_iter().collect())
            }
            CreateOutcome::Rejected { code, msg, .. } => {
                self.local(id, OrderState::Rejected, "venue", &format!("{code} {msg}"), now)
            }
            CreateOutcome::Unknown(why) => self.local(id, OrderState::Unknown, "executor", why, now),
        }
    }

    /// A cancel was asked for.
    pub fn cancel_asked(&mut self, id: &OrderId, evidence: &str, now: Ms) -> Vec<Record> {
        let Some(order) = self.orders.get_mut(id) else { return Vec::new() };
        let step = order.ask_cancel();
        let order = &self.orders[id];
        step.map(|step| transition(order, step, "executor", evidence, now)).into_iter().collect()
    }

    /// A stop's cancel was asked for; it is not asked for again until the venue says it lives.
    pub fn stop_cancel_asked(&mut self, algo_id: &str) {
        self.stops_asked.insert(algo_id.to_owned());
    }

    /// The venue does not know an order that we believed alive: its outcome is open again.
    pub fn lost(&mut self, id: &OrderId, now: Ms) -> Outcome {
        self.local(id, OrderState::Unknown, "reconcile", "the venue does not know it any more", now)
    }

    /// Proven to be nowhere: never reached the book, or ended without a fill and was forgotten.
    pub fn absent(&mut self, id: &OrderId, evidence: &str, now: Ms) -> Outcome {
        let Some(order) = self.orders.get_mut(id) else { return Ok(Vec::new()) };
        let step = order.forgotten()?;
        let order = &self.orders[id];
        let mut records: Vec<Record> =
            step.map(|step| transition(order, step, "reconcile", evidence, now)).into_iter().collect();
        if order.state().is_final() && order.filled.is_zero() {
            records.extend(self.end_stops_of(id, now));
        }
        Ok(records)
    }

    fn local(&mut self, id: &OrderId, to: OrderState, cause: &'static str, evidence: &str, now: Ms) -> Outcome {
        let Some(order) = self.orders.get_mut(id) else { return Ok(Vec::new()) };
        let step = order.local_step(to)?;
        let order = &self.orders[id];
        let mut records: Vec<Record> =
            step.map(|step| transition(order, step, cause, evidence, now)).into_iter().collect();
        if order.state().is_final() {
            records.extend(self.end_stops_of(id, now));
        }
        Ok(records)
    }

    /// The order ended without a fill: its stops were never made.
    fn end_stops_of(&mut self, id: &OrderId, now: Ms) -> Vec<Record> {
        let ended: Vec<String> =
            self.stops.iter().filter(|(_, s)| s.parent == *id).map(|(name, _)| name.clone()).collect();
        let row =
            |name: String| self.stops.remove(&name).map(|stop| Record::Algo(algo_row(&name, &stop, "canceled", now)));
        ended.into_iter().filter_map(row).collect()
    }

    /// Whose is it? Adopts the child of one of our stops on the way.
    fn identify(&mut self, push: &OrderPush, now: Ms) -> Result<(OrderId, Vec<Record>), Foreign> {
        if let Some(id) = self.by_venue.get(&push.report.venue_id) {
            return Ok((id.clone(), Vec::new()));
        }
        if !push.cl_ord_id.is_empty() {
            let id = OrderId::from(push.cl_ord_id.as_str());
            if self.orders.contains_key(&id) {
                return Ok((id, Vec::new()));
            }
            let ours = push.cl_ord_id.len() == 28 && push.cl_ord_id.starts_with(&self.prefix);
            return Err(if ours { Foreign::OursUnknown } else { Foreign::Stranger });
        }
        let stop = self.stops.get(&push.algo_id).cloned().ok_or(Foreign::Stranger)?;
        let qty = push.qty.ok_or(Foreign::Stranger)?;
        let id = OrderId::new(format!("v{}", push.report.venue_id));
        let intent = OrderIntent {
            cl_ord_id: crate::domain::ClOrdId::new(id.as_str()),
            run_id: stop.run_id,
            contender: stop.contender.clone(),
            inst: push.inst.clone(),
            side: push.side,
            ord_type: OrdType::Market,
            qty,
            limit: None,
            purpose: Purpose::Stop,
            leg: 0,
            attempt: 0,
            reduce_only: true,
            stop: None,
            reference: stop.trigger,
            decided_at: now,
            ttl: None,
            sleeve: Default::default(),
            weight: Default::default(),
        };
        let mut order = Order::intended(&intent, now, None).remembered(OrderState::Acked, []);
        order.venue_id = Some(push.report.venue_id.clone());
        self.orders.insert(id.clone(), order);
        self.by_venue.insert(push.report.venue_id.clone(), id.clone());
        self.stops.remove(&push.algo_id);
        let adopted =
            AdoptedOrder { order_id: id.clone(), parent: stop.parent, venue_id: push.report.venue_id.clone(), intent };
        Ok((id, vec![Record::Adopted { order: Box::new(adopted), at: now }]))
    }

    /// A statement of the venue about an order, from the stream or from a query.
    pub fn on_order(&mut self, push: &OrderPush, channel: &str, now: Ms) -> Result<Outcome, Foreign> {
        let (id, mut records) = self.identify(push, now)?;
        Ok(self.join(&id, push, channel, now).map(|more| {
            records.extend(more);
            records
        }))
    }

    fn join(&mut self, id: &OrderId, push: &OrderPush, channel: &str, now: Ms) -> Outcome {
        let mut records = Vec::new();
        let order = self.orders.get_mut(id).expect("identified above");
        let (state, filled) = (order.state(), order.filled);
        order.merge(&push.report)?;
        let mut fresh = None;
        if let Some(raw) = &push.fill
            && order.add_fill(raw.trade_id.clone(), raw.qty)?
        {
            fresh = Some(raw.clone());
        }
        self.by_venue.insert(push.report.venue_id.clone(), id.clone());
        let order = &self.orders[id];
        if order.state() != state || order.filled != filled {
            let mut evidence = channel.to_owned();
            if let Some(source) = &push.report.cancel_source {
                evidence.push_str(&format!(" cancelSource {source}"));
            }
            let step = Step { from: state, to: order.state() };
            records.push(transition(order, step, "venue", &evidence, now));
        }
        let barren = order.state().is_final() && order.filled.is_zero();
        if let Some(raw) = fresh {
            records.extend(self.add_fill(id, raw, push.side));
        }
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
        let Some(order) = self.orders.get_mut(&id) else {
            let ours = report.cl_ord_id.len() == 28 && report.cl_ord_id.starts_with(&self.prefix);
            return Err(if ours { Foreign::OursUnknown } else { Foreign::Stranger });
        };
        let (state, filled) = (order.state(), order.filled);
        Ok(match order.add_fill(report.fill.trade_id.clone(), report.fill.qty) {
            Err(contradiction) => Err(contradiction),
            Ok(false) => Ok(Vec::new()),
            Ok(true) => {
                order.venue_id.get_or_insert_with(|| report.venue_id.clone());
                self.by_venue.insert(report.venue_id.clone(), id.clone());
                let order = &self.orders[&id];
                let mut records = Vec::new();
                if order.filled != filled {
                    records.push(transition(
                        order,
                        Step { from: state, to: order.state() },
                        "venue",
                        "trade/fills",
                        now,
                    ));
                }
                records.extend(self.add_fill(&id, report.fill.clone(), report.side));
                Ok(records)
            }
        })
    }

    fn add_fill(&mut self, id: &OrderId, raw: RawFill, side: Side) -> Option<Record> {
        let order = self.orders.get(id)?;
        let venue = order.venue_id.clone().unwrap_or_else(|| VenueOrdId::from(""));
        let fill = raw.of(&order.inst, side, id, &venue, &order.contender, order.run_id);
        self.book(&fill);
        Some(Record::Fill(Box::new(fill)))
    }

    fn book(&mut self, fill: &Fill) {
        // An instrument that is no longer configured keeps its fills; its sleeve is not valued here.
        if let Some(inst) = self.instruments.get(&fill.inst) {
            self.holdings.entry((fill.contender.clone(), fill.inst.clone())).or_default().apply(inst, fill);
        }
    }

    /// A statement of the venue about one of our stops.
    pub fn on_algo(&mut self, push: &AlgoPush, now: Ms) -> Option<Record> {
        let stop = self.stops.get(&push.algo_id)?;
        let state = push.state?;
        let row = algo_row(&push.algo_id, stop, state, push.at.unwrap_or(now));
        if state == "live" {
            self.stops_asked.remove(&push.algo_id);
        }
        if matches!(state, "canceled" | "order_failed" | "partially_failed") {
            self.stops.remove(&push.algo_id);
            self.stops_asked.remove(&push.algo_id);
        }
        Some(Record::Algo(row))
    }

    /// Stops that should be alive at the venue: made by an order that has ended with fills.
    pub fn expected_stops(&self) -> Vec<String> {
        let made = |stop: &StopOf| self.orders.get(&stop.parent).is_some_and(|o| o.is_settled() && !o.filled.is_zero());
        self.stops.iter().filter(|(_, stop)| made(stop)).map(|(id, _)| id.clone()).collect()
    }

    fn forget_old(&mut self) {
        if self.orders.len() <= ENDED_KEPT + ENDED_KEPT / 10 {
            return;
        }
        let parents: BTreeSet<&OrderId> = self.stops.values().map(|stop| &stop.parent).collect();
        let mut ended: Vec<(Ms, OrderId)> = self
            .orders
            .values()
            .filter(|o| o.is_settled() && !parents.contains(&o.id))
            .map(|o| (o.created_at, o.id.clone()))
            .collect();
        ended.sort();
        let surplus = self.orders.len() - ENDED_KEPT;
        for (_, id) in ended.iter().take(surplus) {
            if let Some(venue) = self.orders.remove(id).and_then(|o| o.venue_id) {
                self.by_venue.remove(&venue);
            }
        }
    }
}

fn transition(order: &Order, step: Step, cause: &'static str, evidence: &str, at: Ms) -> Record {
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

fn algo_row(algo_id: &str, stop: &StopOf, state: &'static str, at: Ms) -> AlgoRow {
    AlgoRow {
        algo_id: algo_id.to_owned(),
        parent: stop.parent.clone(),
        run_id: stop.run_id,
        contender: stop.contender.clone(),
        inst: stop.inst.clone(),
        trigger: Price(stop.trigger.0),
        state,
        at,
    }
}

#[cfg(test)]
mod tests;
