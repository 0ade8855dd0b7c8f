//! The venue and the network of a simulation: the exchange's own core behind a line that drops,
//! delays, repeats, reorders, cuts and lies as its seed says. Bytes that have left a daemon arrive
//! whether it lives or not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use alpha_arena::domain::{
    AccountView, Bill, ClOrdId, InstId, InstKind, Instrument, Ms, OrderIntent, Price, Qty,
    Readiness, Restrictions, Scope, Side, StopOrder, TradingState,
};
use alpha_arena::exchange::core::{
    AlgoStatus, CreateSeen, Event, Exchange, LegChange, VenueLedger,
};
use alpha_arena::exchange::market::SimMarket;
use alpha_arena::exchange::{parse_algo, parse_order, render};
use alpha_arena::execution::{Move, OrderLine};
use alpha_arena::runtime::Clock;
use alpha_arena::store::MemoryStore;
use alpha_arena::tracking::{Accounts, Inquire, PrivateFeed, Wire};
use alpha_arena::venue::{
    AlgoPush, CancelOutcome, CreateOutcome, FillReport, OrderPush, OrderRef, OrderTransportKind,
    Page, Stream, StreamEvent, VenueError, create_body, judge_cancel, judge_create, parse_account,
    parse_algos, parse_fills, parse_orders, read_bills, stop_body,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

/// Chance, from a seed.
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5851_F42D_4C95_7F2D)
    }
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    /// From `0` to `n - 1`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.word() % n.max(1)
    }
    /// True in `percent` of a hundred cases.
    pub fn hits(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    pub fn ms(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.below(most - least + 1))
    }
}

/// Fault rates, in percent of cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Weather {
    pub request_lost: u64,
    pub answer_lost: u64,
    pub slow: u64,
    pub server_error: u64,
    pub ambiguous: u64,
    pub read_fails: u64,
    pub push_lost: u64,
    pub push_twice: u64,
    pub push_late: u64,
    /// Time the venue may hide a new order from queries, in milliseconds.
    pub lag_ms: u64,
    /// Stops that stand alone and are refused, and attached ones that are gone as soon as they are
    /// made.
    pub stop_refused: u64,
    /// Answers that are another question's, given before.
    pub mistaken: u64,
    /// Pushes with a number or a time that cannot be.
    pub odd: u64,
    /// Pushes that tell a fill's price or fee a little wrongly.
    pub wrong: u64,
}

impl Weather {
    /// Fair, mixed or foul, as the seed says.
    pub fn of(chance: &mut Chance) -> Self {
        let scale = [0, 1, 1, 2, 4][chance.below(5) as usize];
        let mut up_to = |n: u64| chance.below(n * scale + 1);
        Self {
            request_lost: up_to(4),
            answer_lost: up_to(5),
            slow: up_to(6),
            server_error: up_to(5),
            ambiguous: up_to(5),
            read_fails: up_to(6),
            push_lost: up_to(6),
            push_twice: up_to(8),
            push_late: up_to(10),
            lag_ms: up_to(3000),
            stop_refused: up_to(4),
            mistaken: up_to(3),
            odd: up_to(3),
            wrong: up_to(3),
        }
    }
}

/// The venue, what connects it, and the notes of an impartial observer.
pub struct World {
    pub exchange: Exchange,
    pub chance: Chance,
    pub weather: Weather,
    pub clock: Clock,
    pub store: MemoryStore,
    feeds: BTreeMap<PrivateFeed, mpsc::Sender<StreamEvent>>,
    /// Orders that queries do not show yet, and until when.
    hidden: BTreeMap<String, Ms>,
    pub creates: BTreeMap<String, u64>,
    pub violations: Vec<String>,
    pub counts: BTreeMap<String, u64>,
    /// Time each unknown order stayed so, in milliseconds of the venue.
    pub waits: Vec<u64>,
    pub trace: Option<Vec<String>>,
    pub digest: u64,
    /// Permissions of the daemon that lives now; `None` between two lives.
    pub gate: Option<Gatehouse>,
    /// Since when each swap position has been without full cover, by the exchange's own books; and
    /// the longest.
    pub bare: BTreeMap<String, Ms>,
    pub bare_longest: i64,
    /// Beyond this it is a violation; `None`: nobody looks.
    pub bare_max: Option<i64>,
    seen: BTreeSet<u64>,
    /// Answers of late, whosever they were.
    answers: Vec<String>,
    /// Orders of which a query has truly said that they are not there.
    pub denied: BTreeSet<String>,
}

/// Permissions of the daemon that lives now.
pub struct Gatehouse {
    pub readiness: watch::Receiver<Readiness>,
    pub switch: alpha_arena::risk::TradingSwitch,
    pub restrictions: watch::Receiver<Restrictions>,
    /// Since when nothing may open, as far as this world has noticed.
    pub shut: Option<Ms>,
}

/// An order may be under way when a halt comes: this long, and no longer.
const HALT_GRACE: Ms = Ms(1000);

/// Shared by everybody in the simulation.
#[derive(Clone)]
pub struct Venue(pub Arc<Mutex<World>>);

/// The venue's clock begins here.
pub const BEGIN: Ms = Ms(1_760_000_000_000);
/// Time an HTTP client waits for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);

impl World {
    pub fn new(seed: u64, store: MemoryStore, clock: Clock, trace: bool) -> Self {
        let mut chance = Chance::new(seed);
        let weather = Weather::of(&mut chance);
        let mut exchange = Exchange::new(
            Arc::new(SimMarket::new(seed % 97 + 1)),
            VenueLedger::default(),
            BEGIN,
        );
        exchange.deposit("USDT", Decimal::from(100_000));
        while !exchange.advance(BEGIN) {}
        exchange.events.clear();
        Self {
            exchange,
            chance,
            weather,
            clock,
            store,
            feeds: BTreeMap::new(),
            hidden: BTreeMap::new(),
            creates: BTreeMap::new(),
            violations: Vec::new(),
            counts: BTreeMap::new(),
            waits: Vec::new(),
            trace: trace.then(Vec::new),
            digest: 0xcbf2_9ce4_8422_2325,
            gate: None,
            bare: BTreeMap::new(),
            bare_longest: 0,
            bare_max: None,
            seen: BTreeSet::new(),
            answers: Vec::new(),
            denied: BTreeSet::new(),
        }
    }

    pub fn note(&mut self, line: String) {
        let line = format!("{} {line}", self.clock.now().0 - BEGIN.0);
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if let Some(trace) = &mut self.trace {
            trace.push(line);
        }
    }

    pub fn count(&mut self, name: &str) {
        *self.counts.entry(name.to_owned()).or_default() += 1;
    }

    pub fn violation(&mut self, what: String) {
        self.note(format!("VIOLATION {what}"));
        self.violations.push(what);
    }

    fn advance(&mut self) {
        let now = self.clock.now();
        while !self.exchange.advance(now) {}
    }

    /// Looks at what is restricted and at what is without a stop.
    fn look(&mut self) {
        let now = self.clock.now();
        if let Some(gate) = &mut self.gate {
            let restricted =
                gate.restrictions.borrow().state(&Scope::System) != TradingState::Active;
            gate.shut = restricted.then(|| gate.shut.unwrap_or(now));
        }
        let mut bare = BTreeMap::new();
        for (inst, position) in &self.exchange.ledger.positions {
            let out = if position.qty > Decimal::ZERO {
                Side::Sell
            } else {
                Side::Buy
            };
            let covers = |a: &&alpha_arena::exchange::core::Algo| {
                a.inst == *inst && a.side == out && a.status == AlgoStatus::Live
            };
            let covered: Decimal = self
                .exchange
                .ledger
                .algos
                .values()
                .filter(covers)
                .map(|a| a.size)
                .sum();
            if covered < position.qty.abs() {
                bare.insert(inst.clone(), self.bare.get(inst).copied().unwrap_or(now));
            }
        }
        self.bare = bare;
        let longest = self
            .bare
            .values()
            .map(|since| now.since(*since).0)
            .max()
            .unwrap_or(0);
        *self
            .counts
            .entry("milliseconds of bare positions".into())
            .or_default() += 250 * self.bare.len() as u64;
        self.bare_longest = self.bare_longest.max(longest);
        if self.bare_max.is_some_and(|max| longest > max) {
            self.violation(format!(
                "P6: a position has had no stop for {longest} ms: {:?}",
                self.bare
            ));
            self.bare_max = None;
        }
    }

    /// A create is about to leave: is it written ahead, with its stop?
    fn observe_send(&mut self, id: &str) {
        let durable: bool = {
            let db = self.store.db();
            db.query_row(
                "SELECT EXISTS (SELECT 1 FROM orders WHERE cl_ord_id = ?1)",
                [id],
                |row| row.get(0),
            )
            .unwrap()
        };
        if !durable {
            self.violation(format!("P1: {id} left before its intent was durable"));
        }
    }

    /// A create has arrived: is it the first of its name, and was it written ahead?
    fn observe_create(&mut self, body: &Value) {
        let id = body["clOrdId"].as_str().unwrap_or("").to_owned();
        let times = self.creates.entry(id.clone()).or_default();
        *times += 1;
        if *times > 1 {
            self.violation(format!("P2: {id} was created twice"));
        }
        let durable: bool = {
            let db = self.store.db();
            db.query_row(
                "SELECT EXISTS (SELECT 1 FROM orders WHERE cl_ord_id = ?1)",
                [&id],
                |row| row.get(0),
            )
            .unwrap()
        };
        if !durable {
            self.violation(format!(
                "P1: {id} reached the venue before its intent was durable"
            ));
        }
        let seen = CreateSeen {
            cl_ord_id: id,
            recv_ms: self.clock.now().0,
            body: body.to_string(),
        };
        self.exchange.ledger.creates.push(seen);
        self.count("creates");
    }

    fn observe_stop(&mut self, id: &str) {
        let times = self.creates.entry(id.to_owned()).or_default();
        *times += 1;
        if *times > 1 {
            self.violation(format!("P2: stop {id} was placed twice"));
        }
        let durable: bool = {
            let db = self.store.db();
            db.query_row(
                "SELECT EXISTS (SELECT 1 FROM algo_orders WHERE algo_id = ?1)",
                [id],
                |row| row.get(0),
            )
            .unwrap()
        };
        if !durable {
            self.violation(format!(
                "P1: stop {id} reached the venue before it was durable"
            ));
        }
        self.count("stops placed");
    }

    /// A push on its way, which may come to harm.
    fn spoil(&mut self, feed: PrivateFeed, mut row: Value) -> Value {
        const BIG: &str = "79228162514264337593543950335";
        let weather = self.weather;
        if self.chance.hits(weather.odd) {
            let fields: &[&str] = match feed {
                PrivateFeed::Orders => &[
                    "fillPx",
                    "fillSz",
                    "fillFee",
                    "accFillSz",
                    "avgPx",
                    "px",
                    "sz",
                    "uTime",
                    "fillTime",
                ],
                PrivateFeed::Stops => &["sz", "slTriggerPx", "uTime"],
            };
            let field = fields[self.chance.below(fields.len() as u64) as usize];
            let odd = [BIG, "-1", "1e9", "nan"][self.chance.below(4) as usize];
            let odd = if field.ends_with("Time") && odd == BIG {
                "4102444800000"
            } else {
                odd
            };
            row[field] = json!(odd);
            self.count("pushes with an impossible number or time");
        }
        let told = |name: &str| {
            row[name]
                .as_str()
                .and_then(|text| text.parse::<Decimal>().ok())
        };
        if self.chance.hits(weather.wrong) && told("fillSz").is_some_and(|size| !size.is_zero()) {
            let field = if self.chance.hits(50) {
                "fillPx"
            } else {
                "fillFee"
            };
            if let Some(value) = told(field) {
                row[field] = json!((value * Decimal::new(9, 1)).to_string());
                self.count("pushes that tell a fill wrongly");
            }
        }
        row
    }

    /// Makes an order of ours larger, as somebody would by hand.
    pub fn enlarge(&mut self) {
        let open: Vec<(String, String, Decimal)> = self
            .exchange
            .open_orders()
            .filter(|o| !o.cl_ord_id.is_empty())
            .map(|o| (o.inst.clone(), o.cl_ord_id.clone(), o.size))
            .collect();
        if open.is_empty() {
            return;
        }
        let (inst, id, size) = open[self.chance.below(open.len() as u64) as usize].clone();
        let larger = alpha_arena::exchange::core::Amend {
            size: Some(size * Decimal::TWO),
            ..Default::default()
        };
        if self.exchange.amend(&inst, "", &id, &larger).is_ok() {
            self.note(format!("somebody doubles {id}"));
            self.count("orders enlarged by hand");
        }
    }

    fn hidden(&self, cl_ord_id: &str) -> bool {
        self.hidden
            .get(cl_ord_id)
            .is_some_and(|until| self.clock.now() < *until)
    }
}

impl Venue {
    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The market goes on; what happens in it is pushed.
    pub async fn live(self) {
        loop {
            tokio::time::sleep(Duration::from_millis(250)).await;
            self.lock().advance();
            self.lock().look();
            self.tell();
        }
    }

    /// Pushes what has happened, each in its own good time.
    pub fn tell(&self) {
        let mut world = self.lock();
        let events = std::mem::take(&mut world.exchange.events);
        for event in events {
            let (feed, row) = match event {
                Event::Order(order, fill) => {
                    if let Some(fill) = &fill {
                        world.note(format!(
                            "fill {} {} {} {}",
                            fill.inst, fill.trade_id, fill.size, fill.price
                        ));
                    }
                    (PrivateFeed::Orders, render::order(&order, fill.as_deref()))
                }
                Event::Amended(order, request) => {
                    (PrivateFeed::Orders, render::order_amended(&order, &request))
                }
                Event::Algo(algo) => {
                    let attached = algo.parent != 0
                        && algo.status == AlgoStatus::Live
                        && algo.created == algo.updated;
                    let share = world.weather.stop_refused;
                    if attached && world.chance.hits(share) {
                        world.count("attached stops gone");
                        drop(world.exchange.cancel_algo("", &algo.cl_ord_id));
                    }
                    (PrivateFeed::Stops, render::algo(&algo))
                }
                _ => continue,
            };
            let weather = world.weather;
            let Some(to) = world.feeds.get(&feed).cloned() else {
                continue;
            };
            let data = format!("[{}]", world.spoil(feed, row));
            let mut times = 1;
            if world.chance.hits(weather.push_lost) {
                world.count("pushes lost");
                times = 0;
            } else if world.chance.hits(weather.push_twice) {
                world.count("pushes repeated");
                times = 2;
            }
            for _ in 0..times {
                let late = world.chance.hits(weather.push_late);
                let after = if late {
                    world.chance.ms(100, 4000)
                } else {
                    Duration::from_millis(5)
                };
                if late {
                    world.count("pushes late, out of order");
                }
                let (to, data) = (to.clone(), data.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    let data = serde_json::value::RawValue::from_string(data).unwrap();
                    let push = StreamEvent::Push {
                        channel: "x".into(),
                        subject: String::new(),
                        data,
                    };
                    // A listener that has gone, or a backlog that is full, loses it: as a socket
                    // does.
                    drop(to.try_send(push));
                });
            }
        }
    }

    /// Cuts a stream; it comes back by itself.
    pub fn cut(&self, feed: PrivateFeed) {
        let mut world = self.lock();
        let Some(to) = world.feeds.remove(&feed) else {
            return;
        };
        let pause = world.chance.ms(300, 6000);
        world.count("streams cut");
        world.note(format!("cut {feed:?}"));
        drop(to.try_send(StreamEvent::Down("cut".into())));
        let venue = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // Somebody else may listen by now.
            let mut world = venue.lock();
            if let std::collections::btree_map::Entry::Vacant(slot) = world.feeds.entry(feed) {
                let up = to.try_send(StreamEvent::Up);
                if up.is_ok() {
                    slot.insert(to);
                }
            }
        });
    }

    /// Drops all listeners: the daemon is dead.
    pub fn deaf(&self) {
        self.lock().feeds.clear();
    }

    /// One operation: it travels, happens or not, and its answer travels back or not. `None`: no
    /// answer ever.
    async fn operate(
        &self,
        what: &'static str,
        act: impl FnOnce(&mut World) -> Value + Send + 'static,
    ) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        let venue = self.clone();
        tokio::spawn(async move {
            let (there, back, fate) = {
                let mut world = venue.lock();
                let w = world.weather;
                let slow = world.chance.hits(w.slow);
                let there = if slow {
                    world.chance.ms(200, 8000)
                } else {
                    world.chance.ms(2, 40)
                };
                let late = world.chance.hits(w.slow);
                let back = if late {
                    world.chance.ms(200, 30_000)
                } else {
                    world.chance.ms(2, 40)
                };
                let dice = world.chance.below(100);
                let bounds = [w.request_lost, w.answer_lost, w.server_error, w.ambiguous];
                let mut upper = 0;
                let fate = bounds.iter().position(|p| {
                    upper += p;
                    dice < upper
                });
                (there, back, fate)
            };
            tokio::time::sleep(there).await;
            let reply = {
                let mut world = venue.lock();
                world.advance();
                // Before or after it happened is all the same to who asked.
                let happens = !matches!(fate, Some(0))
                    && (!matches!(fate, Some(2 | 3)) || world.chance.hits(50));
                let reply = happens.then(|| act(&mut world).to_string());
                if let Some(reply) = &reply {
                    if world.answers.len() >= 8 {
                        world.answers.remove(0);
                    }
                    world.answers.push(reply.clone());
                }
                let others = world.answers.len() as u64;
                let mistaken = world.weather.mistaken;
                let reply = if others > 1 && world.chance.hits(mistaken) {
                    world.count("answers that are another question's");
                    let at = world.chance.below(others) as usize;
                    Some(world.answers[at].clone())
                } else {
                    reply
                };
                world.note(format!(
                    "{what} {}",
                    reply.as_deref().unwrap_or("did not happen")
                ));
                match fate {
                    None => reply,
                    Some(0) => {
                        world.count("requests lost");
                        None
                    }
                    Some(1) => {
                        world.count("answers lost");
                        None
                    }
                    Some(2) => {
                        world.count("answers that are not the venue's");
                        Some("<html>502 Bad Gateway</html>".to_owned())
                    }
                    Some(_) => {
                        world.count("ambiguous codes");
                        let code = ["50001", "50004", "50026", "51054", "51149"]
                            [world.chance.below(5) as usize];
                        Some(
                            json!({"code": "1", "msg": "", "data": [{"sCode": code, "sMsg": "", "ordId": ""}]})
                                .to_string(),
                        )
                    }
                }
            };
            venue.tell();
            tokio::time::sleep(back).await;
            if let Some(reply) = reply {
                drop(answer.send(reply));
            } else {
                tokio::time::sleep(TIMEOUT * 4).await;
            }
        });
        tokio::time::timeout(TIMEOUT, answered).await.ok()?.ok()
    }

    /// One read: time passes, and it may fail.
    async fn read<T>(
        &self,
        what: &'static str,
        look: impl FnOnce(&mut World) -> Result<T, VenueError>,
    ) -> Result<T, VenueError> {
        let (there, back, fails) = {
            let mut world = self.lock();
            let fails = world.weather.read_fails;
            (
                world.chance.ms(2, 60),
                world.chance.ms(2, 60),
                world.chance.hits(fails),
            )
        };
        tokio::time::sleep(there).await;
        let seen = {
            let mut world = self.lock();
            world.advance();
            if fails {
                world.count("reads failed");
                Err(VenueError::Strange {
                    request: what.into(),
                    status: 503,
                    body: "sorry".into(),
                })
            } else {
                look(&mut world)
            }
        };
        self.tell();
        tokio::time::sleep(back).await;
        seen
    }
}

fn not_found() -> VenueError {
    VenueError::Refused {
        request: "GET trade/order".into(),
        code: "51603".into(),
        msg: "Order does not exist".into(),
    }
}

fn orders(rows: Vec<Value>) -> Result<Vec<OrderPush>, VenueError> {
    parse_orders(&Value::Array(rows).to_string()).map_err(|source| VenueError::Malformed {
        request: "orders".into(),
        source,
    })
}

fn fills(
    world: &World,
    keep: impl Fn(&alpha_arena::exchange::core::Execution) -> bool,
) -> Result<Vec<FillReport>, VenueError> {
    let shown = world
        .exchange
        .ledger
        .executions
        .values()
        .filter(|x| keep(x) && !world.hidden(&x.cl_ord_id));
    let rows: Vec<Value> = shown.map(render::execution).collect();
    parse_fills(&Value::Array(rows)).map_err(|source| VenueError::Malformed {
        request: "fills".into(),
        source,
    })
}

fn algos(world: &World, live: bool) -> Result<Vec<AlgoPush>, VenueError> {
    let of = |a: &&alpha_arena::exchange::core::Algo| {
        (a.status == alpha_arena::exchange::core::AlgoStatus::Live) == live
    };
    let rows: Vec<Value> = world
        .exchange
        .ledger
        .algos
        .values()
        .filter(of)
        .map(render::algo)
        .collect();
    parse_algos(&Value::Array(rows).to_string()).map_err(|source| VenueError::Malformed {
        request: "algos".into(),
        source,
    })
}

impl Inquire for Venue {
    fn now(&self) -> Ms {
        self.lock().clock.now()
    }
    async fn orders_pending(&self) -> Result<Vec<OrderPush>, VenueError> {
        self.read("orders-pending", |w| {
            let open = w.exchange.open_orders().filter(|o| !w.hidden(&o.cl_ord_id));
            orders(
                open.map(|o| render::order_queried(&w.exchange, o))
                    .collect(),
            )
        })
        .await
    }
    async fn order(&self, inst: &InstId, id: &ClOrdId) -> Result<OrderPush, VenueError> {
        let (inst, id) = (inst.to_string(), id.to_string());
        self.read("order", move |w| {
            let found = w
                .exchange
                .find_order(&inst, "", &id)
                .filter(|o| !w.hidden(&o.cl_ord_id));
            let row = found.map(|o| render::order_queried(&w.exchange, o));
            let mistaken = w.weather.mistaken;
            if w.chance.hits(mistaken)
                && let Some(other) = w.exchange.ledger.orders.values().next_back()
            {
                let row = render::order_queried(&w.exchange, other);
                w.count("answers that are another question's");
                return Ok(orders(vec![row])?.remove(0));
            }
            if row.is_none() {
                w.denied.insert(id);
            }
            Ok(orders(vec![row.ok_or_else(not_found)?])?.remove(0))
        })
        .await
    }
    async fn order_by_venue_id(&self, inst: &InstId, id: &str) -> Result<OrderPush, VenueError> {
        let (inst, id) = (inst.to_string(), id.to_owned());
        self.read("order", move |w| {
            let found = w.exchange.find_order(&inst, &id, "");
            let row = found
                .map(|o| render::order_queried(&w.exchange, o))
                .ok_or_else(not_found)?;
            Ok(orders(vec![row])?.remove(0))
        })
        .await
    }
    async fn orders_history(&self, kind: InstKind) -> Result<Vec<OrderPush>, VenueError> {
        self.read("orders-history", move |w| {
            let ended = w.exchange.ledger.orders.values().rev();
            let ended =
                ended.filter(|o| !o.status.is_open() && render::inst_type(&o.inst) == kind.okx());
            let shown = ended.filter(|o| !w.hidden(&o.cl_ord_id)).take(100);
            orders(
                shown
                    .map(|o| render::order_queried(&w.exchange, o))
                    .collect(),
            )
        })
        .await
    }
    async fn fills_since(&self, cursor: Option<&str>) -> Result<Vec<FillReport>, VenueError> {
        let after: u64 = cursor.and_then(|c| c.parse().ok()).unwrap_or(0);
        // A list that is complete up to its end: what is hidden hides what came after it.
        self.read("fills", move |w| {
            let all = fills(w, |x| x.id > after)?;
            let first = w
                .exchange
                .ledger
                .executions
                .values()
                .filter(|x| x.id > after && w.hidden(&x.cl_ord_id))
                .map(|x| x.id)
                .min();
            Ok(all
                .into_iter()
                .filter(|row| {
                    first.is_none_or(|f| row.bill_id.parse::<u64>().is_ok_and(|id| id < f))
                })
                .collect())
        })
        .await
    }
    async fn newest_fill(&self) -> Result<Option<FillReport>, VenueError> {
        self.read("fills", |w| Ok(fills(w, |_| true)?.pop())).await
    }
    async fn fills_of(&self, _: &InstId, id: &str) -> Result<Vec<FillReport>, VenueError> {
        let id: u64 = id.parse().unwrap_or(0);
        self.read("fills", move |w| fills(w, |x| x.order == id))
            .await
    }
    async fn algos_pending(&self) -> Result<Vec<AlgoPush>, VenueError> {
        self.read("algos", |w| algos(w, true)).await
    }
    async fn algos_ended(&self) -> Result<Vec<AlgoPush>, VenueError> {
        self.read("algos", |w| algos(w, false)).await
    }
    async fn algo(&self, id: &str) -> Result<AlgoPush, VenueError> {
        let id = id.to_owned();
        self.read("order-algo", move |w| {
            let both = algos(w, true)?.into_iter().chain(algos(w, false)?);
            both.into_iter()
                .find(|push| push.algo_id == id)
                .ok_or_else(not_found)
        })
        .await
    }
    async fn account(&self) -> Result<AccountView, VenueError> {
        account(self).await
    }
}

async fn account(venue: &Venue) -> Result<AccountView, VenueError> {
    let as_of = venue.lock().clock.now();
    let balance = venue
        .read("balance", |w| {
            Ok(json!([render::balance(&w.exchange, &[])]))
        })
        .await?;
    let positions = venue
        .read("positions", |w| {
            let held = w
                .exchange
                .ledger
                .positions
                .iter()
                .filter(|(_, p)| !p.qty.is_zero());
            Ok(Value::Array(
                held.map(|(inst, _)| render::position(&w.exchange, inst))
                    .collect(),
            ))
        })
        .await?;
    parse_account(&balance, &positions, as_of).map_err(|source| VenueError::Malformed {
        request: "account".into(),
        source,
    })
}

impl Accounts for Venue {
    async fn account(&self) -> Result<AccountView, VenueError> {
        account(self).await
    }
    async fn bills_since(&self, cursor: Option<&str>) -> Result<Page<Bill>, VenueError> {
        let after: u64 = cursor.and_then(|c| c.parse().ok()).unwrap_or(0);
        self.read("bills", move |w| {
            let rows = w
                .exchange
                .ledger
                .bills
                .values()
                .filter(|b| b.id > after)
                .map(render::bill)
                .collect();
            read_bills(&Value::Array(rows)).map_err(|source| VenueError::Malformed {
                request: "bills".into(),
                source,
            })
        })
        .await
    }
    async fn server_time(&self) -> Result<Ms, VenueError> {
        Ok(self.lock().clock.now())
    }
}

impl Wire for Venue {
    fn listen(&self, feed: PrivateFeed) -> Stream {
        let (to, events) = mpsc::channel(4096);
        let pause = self.lock().chance.ms(5, 400);
        let venue = self.clone();
        let up = to.clone();
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            let mut world = venue.lock();
            if up.try_send(StreamEvent::Up).is_ok() {
                world.feeds.insert(feed, up);
            }
        });
        // Held open by the task above until it is up, by the world afterwards.
        let hold = to;
        tokio::spawn(async move { hold.closed().await });
        Stream::of(events)
    }
}

impl OrderLine for Venue {
    async fn room_to_create(&self, _: &InstId) {
        let pause = self.lock().chance.ms(0, 20);
        tokio::time::sleep(pause).await;
    }

    async fn create(
        &self,
        intent: &OrderIntent,
        inst: &Instrument,
        expires_at: Ms,
    ) -> CreateOutcome {
        {
            let mut world = self.lock();
            let now = world.clock.now();
            let may = world
                .gate
                .as_ref()
                .map(|gate| (gate.readiness.borrow().clone(), gate.switch.is_on()));
            let shut = world
                .gate
                .as_ref()
                .and_then(|gate| gate.shut)
                .is_some_and(|at| now.since(at) > HALT_GRACE);
            if shut && intent.is_opening() {
                world.violation(
                    "P5: an opening create left more than a second after trading was restricted"
                        .into(),
                );
            }
            if shut && !intent.is_opening() {
                world.count("protective creates while restricted");
            }
            if let Some((readiness, on)) = may
                && intent.is_opening()
                && (!on || readiness != Readiness::Ready)
            {
                let why = if on { readiness.name() } else { "off" };
                world.violation(format!(
                    "P5: an opening create left while trading was {why}"
                ));
            }
        }
        let body = create_body(intent, inst, OrderTransportKind::Rest).unwrap();
        let id = intent.cl_ord_id.to_string();
        // As the bytes leave, not as they arrive.
        self.lock().observe_send(&id);
        let reply = self
            .operate("create", move |w| {
                w.observe_create(&body);
                let outcome = if w.clock.now() > expires_at {
                    Err(("50036".to_owned(), "too late".to_owned()))
                } else {
                    parse_order(&body).and_then(|new| w.exchange.place(new)).map_err(|r| (r.code.to_string(), r.msg))
                };
                let lag = w.weather.lag_ms;
                let until = w.clock.now().plus(Ms(w.chance.below(lag + 1) as i64));
                w.hidden.insert(id.clone(), until);
                match outcome {
                    Ok(ord) => {
                        w.seen.insert(ord);
                        json!({"code": "0", "msg": "", "data": [{"sCode": "0", "sMsg": "", "ordId": ord.to_string(), "clOrdId": id}]})
                    }
                    Err((code, msg)) => {
                        w.count("creates refused");
                        json!({"code": "1", "msg": "", "data": [{"sCode": code, "sMsg": msg, "ordId": "", "clOrdId": id}]})
                    }
                }
            })
            .await;
        match reply {
            Some(reply) => judge_create(intent.cl_ord_id.as_str(), &reply),
            None => CreateOutcome::Unknown("no answer".into()),
        }
    }

    async fn amend(&self, inst: &Instrument, to: &Move, expires_at: Ms) -> CancelOutcome {
        let (inst, to) = (inst.id.to_string(), to.clone());
        let asked = to.order.clone();
        let reply = self
            .operate("amend", move |w| {
                w.count("amends");
                let amend = alpha_arena::exchange::core::Amend {
                    price: Some(to.limit.0),
                    ..Default::default()
                };
                let done = if w.clock.now() > expires_at {
                    Err("50036".to_owned())
                } else {
                    w.exchange
                        .amend(&inst, "", to.order.as_str(), &amend)
                        .map_err(|r| r.code.to_string())
                };
                answer(to.order.as_str(), done)
            })
            .await;
        reply.map_or(CancelOutcome::Again("no answer".into()), |reply| {
            judge_cancel(OrderRef::ours(asked.as_str()), &reply)
        })
    }

    async fn room_to_cancel(&self, _: &InstId) {}

    async fn cancel(&self, inst: &InstId, _: Option<&Instrument>, id: &str) -> CancelOutcome {
        let (inst, name) = (inst.to_string(), id.to_owned());
        let reply = self
            .operate("cancel", move |w| {
                w.count("cancels");
                answer(
                    &name,
                    w.exchange
                        .cancel(&inst, "", &name)
                        .map_err(|r| r.code.to_string()),
                )
            })
            .await;
        reply.map_or(CancelOutcome::Again("no answer".into()), |reply| {
            judge_cancel(OrderRef::ours(id), &reply)
        })
    }

    async fn room_to_stop(&self, _: &InstId) {}

    async fn place_stop(&self, stop: &StopOrder, inst: &Instrument) -> CreateOutcome {
        let (body, id) = (stop_body(stop, inst), stop.id.clone());
        let reply = self
            .operate("place-stop", move |w| {
                w.observe_stop(&id);
                if w.chance.hits(w.weather.stop_refused) {
                    w.count("stops refused");
                    return json!({"code": "1", "msg": "", "data": [{"sCode": "51280", "sMsg": "no", "algoId": "", "algoClOrdId": id}]});
                }
                let done = parse_algo(&body).and_then(|new| w.exchange.place_algo(new));
                match done {
                    Ok(algo) => json!({"code": "0", "msg": "", "data": [{"sCode": "0", "sMsg": "", "algoId": algo.to_string(), "algoClOrdId": id}]}),
                    Err(r) => json!({"code": "1", "msg": "", "data": [{"sCode": r.code, "sMsg": r.msg, "algoId": "", "algoClOrdId": id}]}),
                }
            })
            .await;
        reply.map_or(CreateOutcome::Unknown("no answer".into()), |reply| {
            judge_create(&stop.id, &reply)
        })
    }

    async fn amend_stop(&self, _: &InstId, id: &str, qty: Qty, trigger: Price) -> CancelOutcome {
        let name = id.to_owned();
        let reply = self
            .operate("amend-stop", move |w| {
                w.count("stops moved");
                let stop = LegChange {
                    trigger: Some(trigger.0),
                    price: None,
                };
                let done =
                    w.exchange
                        .amend_algo("", &name, Some(qty.0), (stop, LegChange::default()));
                answer(&name, done.map_err(|r| r.code.to_string()))
            })
            .await;
        reply.map_or(CancelOutcome::Again("no answer".into()), |reply| {
            judge_cancel(OrderRef::ours(id), &reply)
        })
    }

    async fn cancel_algo(&self, _: &InstId, id: &str) -> CancelOutcome {
        let name = id.to_owned();
        let reply = self
            .operate("cancel-algo", move |w| {
                answer(
                    &name,
                    w.exchange
                        .cancel_algo("", &name)
                        .map_err(|r| r.code.to_string()),
                )
            })
            .await;
        reply.map_or(CancelOutcome::Again("no answer".into()), |reply| {
            judge_cancel(OrderRef::ours(id), &reply)
        })
    }
}

fn answer(name: &str, done: Result<u64, String>) -> Value {
    match done {
        Ok(_) => {
            json!({"code": "0", "msg": "", "data": [{"sCode": "0", "sMsg": "", "clOrdId": name}]})
        }
        Err(code) => {
            json!({"code": "1", "msg": "", "data": [{"sCode": code, "sMsg": "no", "clOrdId": name}]})
        }
    }
}
