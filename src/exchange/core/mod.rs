//! The matching engine and the account behind it: a pure core. Time is an argument, nothing waits,
//! nothing is written; what changed is noted in [`Changes`] for the log and in `pushes` for
//! subscribers.

mod account;
mod algo;
mod amend;
mod bars;
mod depth;
mod fed;
mod matching;
mod orders;
mod shown;
mod terms;
mod timers;
mod types;

pub use account::MAINTENANCE;
pub use depth::DepthChange;
pub use fed::FeedEvent;
pub use shown::{Day, closed_candles, volumes};
pub use terms::{NewRules, Settings};
pub use types::{
    Algo, AlgoKind, AlgoStatus, Amend, Attached, BillLine, CreateSeen, Execution, Leg, LegChange,
    NewAlgo, NewOrder, Pos, Rejection, Status, Stp, Trail, VenueLedger, VenueOrder, round,
};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use rust_decimal::Decimal;

use super::market::{SimMarket, SyntheticBook, Trade};
use crate::domain::{Bar, Candle, Ms, Side};

/// Keys of what changed since the log was last written.
#[derive(Debug, Default)]
pub struct Changes {
    pub orders: BTreeSet<u64>,
    pub executions: BTreeSet<u64>,
    pub algos: BTreeSet<u64>,
    pub bills: BTreeSet<u64>,
    pub cash: BTreeSet<String>,
    pub positions: BTreeSet<String>,
    pub leverage: bool,
    pub creates: usize,
    pub shifts: bool,
    pub timers: bool,
}

impl Changes {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.orders.is_empty()
            && self.executions.is_empty()
            && self.algos.is_empty()
            && self.bills.is_empty()
            && self.cash.is_empty()
            && self.positions.is_empty()
            && !self.leverage
            && self.creates == 0
            && !self.shifts
            && !self.timers
    }
}

/// Event for subscribers, frozen at the moment it happened.
#[derive(Debug, Clone)]
pub enum Event {
    Order(Box<VenueOrder>, Option<Box<Execution>>),
    /// An amendment took effect; the text is the client's name for the request.
    Amended(Box<VenueOrder>, String),
    Algo(Box<Algo>),
    /// Cash or a position changed; subscribers get the account as it is when told.
    Account,
    Position(String),
    /// The order book changed since it was last shown.
    Depth(String, DepthChange),
    /// A feed's book changed.
    Book(String),
    /// A trade that a feed has told of.
    Trade(String, Trade),
    /// A feed's bar, and whether it is final.
    Bar(String, Bar, Candle, bool),
    /// An instrument has new rules.
    Rules(String),
}

/// The exchange: market, ledger, and what hangs between two steps.
#[derive(Debug)]
pub struct Exchange {
    pub market: Arc<SimMarket>,
    pub ledger: VenueLedger,
    pub changes: Changes,
    pub events: Vec<Event>,
    books: HashMap<String, SyntheticBook>,
    /// Size taken from this second's book, by (instrument, side of the book, price).
    consumed: HashMap<(String, Side, Decimal), Decimal>,
    /// Ids of open orders, so that a step need not look at history.
    open: BTreeSet<u64>,
    live_algos: BTreeSet<u64>,
    pending_ids: HashMap<String, u64>,
    /// Instruments whose prices come from outside.
    fed: BTreeMap<String, fed::Fed>,
    /// The books that subscribers have been shown.
    depth: HashMap<String, depth::Depth>,
    days: shown::Days,
    /// Rules that are not those of the listing any more.
    changed_rules: BTreeMap<String, crate::domain::Instrument>,
    pub settings: terms::Settings,
    /// The execution that no push has told of yet.
    untold: Option<u64>,
    /// Orders are filled by whole bars of this size, not by the book.
    by_bar: Option<crate::domain::Bar>,
    /// Number of the present showing of whole books; ascends.
    showing: i64,
    /// Venue time.
    now: Ms,
}

impl Exchange {
    /// Takes up a ledger where it was left. Call [`Exchange::advance`] before anything else.
    pub fn new(market: Arc<SimMarket>, ledger: VenueLedger, now: Ms) -> Self {
        let open: BTreeSet<u64> = ledger
            .orders
            .values()
            .filter(|o| o.status.is_open())
            .map(|o| o.id)
            .collect();
        let pending_ids = open
            .iter()
            .map(|id| (ledger.orders[id].cl_ord_id.clone(), *id))
            .filter(|(name, _)| !name.is_empty())
            .collect();
        let fed = market
            .all()
            .filter(|l| l.is_fed())
            .map(|l| (l.listing.inst.id.to_string(), fed::Fed::default()));
        let fed = fed.collect();
        let live_algos = ledger
            .algos
            .values()
            .filter(|a| a.status == AlgoStatus::Live)
            .map(|a| a.id)
            .collect();
        Self {
            market,
            ledger,
            changes: Changes::default(),
            events: Vec::new(),
            books: HashMap::new(),
            consumed: HashMap::new(),
            open,
            live_algos,
            pending_ids,
            fed,
            depth: HashMap::new(),
            days: shown::Days::default(),
            changed_rules: BTreeMap::new(),
            settings: terms::Settings::default(),
            untold: None,
            by_bar: None,
            showing: now.0,
            now,
        }
    }

    /// Venue time.
    pub fn now(&self) -> Ms {
        self.now
    }

    /// Grows whenever cash or a position has changed: every change is a bill or an execution.
    pub fn cash_version(&self) -> usize {
        self.ledger.bills.len() + self.ledger.executions.len()
    }

    /// Number of the present showing of whole books.
    pub fn showing(&self) -> i64 {
        self.showing
    }

    /// True if there is a market in this instrument now. A feed that is cut shows none.
    pub fn is_shown(&self, inst: &str) -> bool {
        self.fed.get(inst).is_none_or(|fed| fed.live)
    }

    /// Moves venue time to `now` and the market with it, second by second: resting orders are
    /// matched, stops triggered, funding paid, positions liquidated. After a downtime this is where
    /// it happens, at most [`STRIDE`] seconds at a time; `true`: there.
    pub fn advance(&mut self, now: Ms) -> bool {
        let target = now.0.div_euclid(1000);
        if now <= self.now && !self.books.is_empty() {
            return true;
        }
        if self.ledger.matched_to == 0 {
            self.ledger.matched_to = target - 1;
        }
        let stride = target.min(self.ledger.matched_to + STRIDE);
        let mut second = self.ledger.matched_to + 1;
        while second <= stride {
            if self.is_idle() {
                second = target; // nothing of ours is exposed to the seconds between
            }
            self.now = Ms::secs(second);
            self.step(second, second == target);
            self.ledger.matched_to = second;
            second += 1;
        }
        if self.ledger.matched_to < target {
            return false;
        }
        if self.books.is_empty() && self.by_bar.is_none() {
            self.refresh_books(self.ledger.matched_to);
        }
        self.now = self.now.max(now);
        true
    }

    /// The book as it is this second, with what was taken from it gone.
    pub fn book(&self, inst: &str) -> SyntheticBook {
        let mut book = self.books.get(inst).cloned().unwrap_or_default();
        for (side, levels) in [(Side::Buy, &mut book.bids), (Side::Sell, &mut book.asks)] {
            for level in levels.iter_mut() {
                level.size -= self.consumed_at(inst, side, level.price);
            }
            levels.retain(|level| level.size > Decimal::ZERO);
        }
        book
    }

    /// Last traded price, which is also the mark price here.
    pub fn last(&self, inst: &str) -> Decimal {
        self.books.get(inst).map_or(Decimal::ZERO, |book| book.last)
    }

    /// Ticks to add to an instrument's path at `second`.
    pub fn shift(&self, inst: &str, second: i64) -> i64 {
        shown::shift_at(&self.ledger.shifts, inst, second)
    }

    /// Puts the instrument's price at `price` from now on (`/sim/market`); the path goes on from
    /// there.
    pub fn set_price(&mut self, inst: &str, price: Decimal) -> Result<(), Rejection> {
        let listed = self
            .market
            .get(inst)
            .ok_or_else(|| unknown_instrument(inst))?;
        if price > Decimal::from(1_000_000_000_000i64) || price.scale() > 12 {
            return Err(Rejection::new("51000", "Parameter px error"));
        }
        if listed.is_fed() || self.by_bar.is_some() {
            return Err(Rejection::new(
                "51000",
                format!("{inst} has the prices of its feed or its bars; they cannot be set"),
            ));
        }
        let second = self.now.0.div_euclid(1000);
        let ticks = (price / listed.listing.inst.tick.0).round();
        let bad = || Rejection::new("51000", "Parameter px error");
        let ticks = i64::try_from(ticks)
            .ok()
            .filter(|ticks| *ticks < 1_000_000_000_000)
            .ok_or_else(bad)?;
        self.ledger
            .shifts
            .push((second, inst.to_owned(), ticks - listed.ticks_at(second)));
        self.changes.shifts = true;
        // The second's trades and funding have been; only what hangs on the price is looked at
        // again.
        self.refresh_books(second);
        self.trigger_stops();
        self.liquidate_if_broke();
        Ok(())
    }

    fn is_idle(&self) -> bool {
        self.ledger.timers.is_empty()
            && self.open.is_empty()
            && self.live_algos.is_empty()
            && self.ledger.positions.values().all(|p| p.qty.is_zero())
    }

    fn consumed_at(&self, inst: &str, side: Side, price: Decimal) -> Decimal {
        self.consumed
            .get(&(inst.to_owned(), side, price))
            .copied()
            .unwrap_or_default()
    }

    /// A new second brings a new book; what a feed shows stays taken until it shows another.
    fn forget_consumed(&mut self) {
        let fed = &self.fed;
        self.consumed.retain(|(inst, ..), _| fed.contains_key(inst));
    }

    fn refresh_books(&mut self, second: i64) {
        self.forget_consumed();
        self.showing = self.showing.max(second * 1000) + 1;
        let names: Vec<String> = self
            .market
            .all()
            .map(|l| l.listing.inst.id.to_string())
            .collect();
        for name in names {
            self.refresh_book(&name, second);
        }
    }

    fn refresh_book(&mut self, name: &str, second: i64) {
        let shift = self.shift(name, second);
        let listed = self
            .market
            .get(name)
            .expect("named by the market or a checked ledger");
        if listed.is_fed() {
            self.books.entry(name.to_owned()).or_default();
        } else {
            self.books
                .insert(name.to_owned(), listed.book(second, shift));
        }
    }

    /// Instruments in which something of ours can happen.
    fn exposed(&self) -> BTreeSet<String> {
        let orders = self.open_orders().map(|o| o.inst.clone());
        let stops = self.live_algos().map(|a| a.inst.clone());
        let held = self
            .ledger
            .positions
            .iter()
            .filter(|(_, p)| !p.qty.is_zero())
            .map(|(inst, _)| inst.clone());
        orders.chain(stops).chain(held).collect()
    }

    /// One second. `full`: it is the present, and every book will be looked at.
    fn step(&mut self, second: i64, full: bool) {
        if let Some(bar) = self.by_bar {
            return self.step_by_bar(bar, second);
        }
        if full || self.books.is_empty() {
            self.refresh_books(second);
        } else {
            self.forget_consumed();
            for name in self.exposed() {
                self.refresh_book(&name, second);
            }
        }
        self.run_timers();
        self.match_resting(second);
        self.trigger_stops();
        if second % FUNDING_SECONDS == 0 {
            self.pay_funding(Ms::secs(second));
        }
        self.liquidate_if_broke();
    }

    fn next_id(&mut self) -> u64 {
        self.ledger.next_id += 1;
        // OKX's order ids are 19 digits; ours keep the shape and sort by time.
        2_000_000_000_000_000_000 + self.ledger.next_id
    }

    /// Tells of an order, with the execution that nobody has been told of yet, if there is one.
    fn touch(&mut self, order: u64) {
        self.changes.orders.insert(order);
        let order = self.ledger.orders[&order].clone();
        let fresh = self
            .untold
            .take_if(|id| self.ledger.executions[id].order == order.id);
        let fill = fresh.map(|id| Box::new(self.ledger.executions[&id].clone()));
        self.events.push(Event::Order(Box::new(order), fill));
        self.events.push(Event::Account);
    }

    /// All open orders, oldest first.
    pub fn open_orders(&self) -> impl Iterator<Item = &VenueOrder> {
        self.open.iter().map(|id| &self.ledger.orders[id])
    }

    /// All live stops.
    pub fn live_algos(&self) -> impl Iterator<Item = &Algo> {
        self.live_algos.iter().map(|id| &self.ledger.algos[id])
    }

    /// The order of this id or client id; the latest one if the client id was used twice.
    pub fn find_order(&self, inst: &str, ord_id: &str, cl_ord_id: &str) -> Option<&VenueOrder> {
        let order = if ord_id.is_empty() {
            match self.pending_ids.get(cl_ord_id) {
                Some(id) => self.ledger.orders.get(id),
                None => self
                    .ledger
                    .orders
                    .values()
                    .rev()
                    .find(|o| o.cl_ord_id == cl_ord_id && !cl_ord_id.is_empty()),
            }
        } else {
            ord_id
                .parse()
                .ok()
                .and_then(|id: u64| self.ledger.orders.get(&id))
        };
        order.filter(|o| o.inst == inst)
    }
}

/// Seconds of market that are caught up in one go, before the ledger is written.
const STRIDE: i64 = 2000;

/// OKX pays funding of most swaps each eight hours, at 00:00, 08:00 and 16:00 UTC.
pub const FUNDING_SECONDS: i64 = 8 * 3600;

pub(super) fn unknown_instrument(inst: &str) -> Rejection {
    Rejection::new(
        "51001",
        format!("Instrument ID or Spread ID {inst} doesn't exist."),
    )
}

/// Balances and margin of one currency, derived.
#[derive(Clone, Debug, Default)]
pub struct BalanceLine {
    pub cash: Decimal,
    pub upl: Decimal,
    pub frozen: Decimal,
    pub imr: Decimal,
    pub usd_price: Decimal,
}

impl BalanceLine {
    /// Cash plus unrealised profit.
    pub fn equity(&self) -> Decimal {
        self.cash + self.upl
    }
    /// Returns the amount that may back a new order.
    pub fn available(&self) -> Decimal {
        (self.equity() - self.frozen - self.imr).max(Decimal::ZERO)
    }
}

/// By currency.
pub type BalanceSheet = BTreeMap<String, BalanceLine>;

#[cfg(test)]
mod downtime;
#[cfg(test)]
mod tests;
