//! The exchange at work: one blocking thread owns the core. Requests are closures over it; whatever
//! they changed is synced to the log before any of them is answered and before anybody is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::{broadcast, oneshot};

use super::clock::ClockLine;
use super::core::{AlgoKind, Event, Exchange, FeedEvent};
use super::log::{Identity, Log};
use super::market::{Listing, SimMarket};
use super::recorded::{self, CandleFile};
use super::render;
use crate::domain::{Bar, Ms};
use crate::runtime::{Clock, Shutdown, wall_ms};

/// Requests that may wait; beyond it the exchange answers 50013, systems busy.
const QUEUE: usize = 4096;
/// Pushes a slow subscriber may lag behind before its connection is closed.
const PUSH_BACKLOG: usize = 16_384;
/// Seconds of trades that are pushed after a stall; REST has the rest.
const TRADES_BEHIND: i64 = 600;
/// Requests answered with one sync of the log.
const BATCH: usize = 256;

type Reply = Box<dyn FnOnce() + Send>;
type Job = Box<dyn FnOnce(&mut Exchange) -> Reply + Send>;

/// Settings with which an exchange starts.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    pub seed: u64,
    /// Venue seconds per wall second.
    pub speed: f64,
    /// So many ended orders, fills, bills and the like are kept, the newest; `None`: all of them.
    /// What is open stays.
    pub keep: Option<usize>,
    /// Path of the ledger; `None` keeps nothing.
    pub state: Option<PathBuf>,
    /// USDT in the account when it is new.
    pub deposit: Decimal,
    pub prices: PriceSource,
    /// Orders are filled by whole bars (those of the recording, else minutes), as backtests fill
    /// them.
    pub by_bar: bool,
    /// Venue time at the first start; the present if none is given. A recording begins where it
    /// begins.
    pub begin: Option<Ms>,
}

/// Source of the market's prices.
#[derive(Clone, Debug, Default)]
pub enum PriceSource {
    /// Noise of the seed: the standard listings, any time, for ever.
    #[default]
    Seeded,
    /// Recorded candles, played from their beginning to their end; only these are listed.
    Recorded(Vec<CandleFile>),
    /// Another exchange, through [`Engine::feed`]; these instruments are listed.
    Fed(Vec<Listing>),
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            speed: 1.0,
            keep: None,
            state: None,
            deposit: Decimal::from(100_000),
            prices: PriceSource::Seeded,
            by_bar: false,
            begin: None,
        }
    }
}

/// One message for subscribers: which channel and instrument, and the JSON array of its `data`.
#[derive(Debug)]
pub struct Push {
    pub channel: String,
    pub inst_type: &'static str,
    pub inst: String,
    pub data: String,
    /// Number of a change of the `books` channel.
    pub seq: Option<i64>,
}

/// Handle to a running exchange.
#[derive(Debug, Clone)]
pub struct Engine {
    jobs: SyncSender<Job>,
    pub market: Arc<SimMarket>,
    pub clock: Clock,
    pub identity: Identity,
    /// Cancelled when the thread has ended, however it ended.
    pub ended: Shutdown,
    pushes: broadcast::Sender<Arc<Push>>,
    interest: Arc<Interest>,
}

/// Number of subscribers to each (channel, instrument); market data without subscribers is not
/// rendered.
#[derive(Debug, Default)]
pub struct Interest(Mutex<BTreeMap<(String, String), usize>>);

impl Interest {
    fn change(&self, channel: &str, inst: &str, up: bool) {
        let mut counts = self.0.lock().expect("no holder of this lock can panic");
        let count = counts
            .entry((channel.to_owned(), inst.to_owned()))
            .or_default();
        *count = if up {
            *count + 1
        } else {
            count.saturating_sub(1)
        };
        counts.retain(|_, count| *count > 0);
    }
    /// Channels wanted of one instrument.
    fn of(&self, inst: &str) -> std::collections::BTreeSet<String> {
        self.list()
            .into_iter()
            .filter(|(_, of)| of == inst)
            .map(|(channel, _)| channel)
            .collect()
    }
    fn list(&self) -> Vec<(String, String)> {
        self.0
            .lock()
            .expect("no holder of this lock can panic")
            .keys()
            .cloned()
            .collect()
    }
}

/// Why the engine did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    #[error("the exchange is busy")]
    Busy,
    #[error("the exchange has stopped")]
    Stopped,
}

impl Engine {
    /// Opens the ledger and starts the thread. It ends when every handle is gone, or on an IO error
    /// of the log (`Unavailable::Stopped` from then on: nothing is answered that is not on disk).
    pub fn start(config: &EngineConfig) -> std::io::Result<Self> {
        let (mut log, recovered) = Log::open(config.state.as_deref())?;
        let identity = recovered.identity.clone().unwrap_or_else(|| Identity {
            seed: config.seed,
            uid: format!("{}", 440_000_000_000_000_000u64 + config.seed % 1_000_000),
        });
        let wall = wall_ms();
        let market = Arc::new(match &config.prices {
            PriceSource::Seeded => SimMarket::new(identity.seed),
            PriceSource::Recorded(files) => recorded::market(identity.seed, files)?,
            PriceSource::Fed(listings) => SimMarket::fed(listings.clone()),
        });
        // Never back, whatever the wall clock did: not before the last second that was matched.
        let matched = Ms::secs(recovered.ledger.matched_to);
        let begin = recorded::first_moment(&market)
            .or(config.begin)
            .unwrap_or(Ms(wall));
        // A feed has its own time; everything else goes on over the downtime at the speed it had.
        let went_on = recovered
            .clock
            .filter(|_| !matches!(config.prices, PriceSource::Fed(_)));
        let venue = went_on.map_or(begin, |line| line.at(wall)).max(matched);
        log.stamp(
            &identity,
            ClockLine {
                wall_ms: wall,
                venue_ms: venue.0,
                rate: config.speed,
            },
        )?;
        let clock = Clock::start(venue, config.speed);
        if let Some(unlisted) = recovered
            .ledger
            .in_use()
            .into_iter()
            .find(|inst| market.get(inst).is_none())
        {
            let why = format!(
                "the ledger has an open order, a stop or a position in {unlisted}, which is not listed now; \
                 list it again until it is closed"
            );
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, why));
        }
        let mut exchange = Exchange::new(Arc::clone(&market), recovered.ledger, venue);
        if config.by_bar {
            let span = market.recorded_span().max(60);
            let bar = Bar::ALL
                .into_iter()
                .find(|bar| bar.span() == Ms::secs(span))
                .unwrap_or(Bar::M1);
            exchange.fill_by_bars(bar);
        }
        if exchange.ledger.cash.is_empty() {
            exchange.deposit("USDT", config.deposit);
        }
        let (jobs, inbox) = sync_channel(QUEUE);
        let (pushes, _) = broadcast::channel(PUSH_BACKLOG);
        let interest = Arc::new(Interest::default());
        let engine = Self {
            jobs,
            market,
            clock: clock.clone(),
            identity,
            ended: Shutdown::new(),
            pushes,
            interest,
        };
        let shop = Shop {
            exchange,
            log,
            clock,
            inbox,
            identity: engine.identity.clone(),
            pushes: engine.pushes.clone(),
            interest: Arc::clone(&engine.interest),
            shown_to: venue.0.div_euclid(1000),
            told_cash: 0,
            keep: config.keep,
        };
        // Cancels on drop: also when the thread panics.
        let ended = engine.ended.clone().drop_guard();
        std::thread::Builder::new()
            .name("exchange".into())
            .spawn(move || {
                let _ended = ended;
                if let Err(error) = shop.run() {
                    tracing::error!(%error, "the exchange's ledger cannot be written; it stops");
                }
            })?;
        Ok(engine)
    }

    /// Runs `work` on the core and returns its result once all it changed is durable.
    pub async fn ask<R: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Exchange) -> R + Send + 'static,
    ) -> Result<R, Unavailable> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |exchange| {
            let result = work(exchange);
            Box::new(move || drop(answer.send(result)))
        });
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Unavailable::Busy,
            TrySendError::Disconnected(_) => Unavailable::Stopped,
        })?;
        answered.await.map_err(|_| Unavailable::Stopped)
    }

    /// Venue time at which the market ends, if it plays a recording.
    pub fn market_ends(&self) -> Option<Ms> {
        self.market.range().map(|(_, end)| Ms::secs(end))
    }

    /// Hands the market news from outside; the core takes it in order with everything else.
    pub async fn feed(&self, inst: &str, news: FeedEvent) -> Result<(), Unavailable> {
        let inst = inst.to_owned();
        self.ask(move |x| x.feed(&inst, news)).await
    }

    /// Everything pushed from now on.
    pub fn listen(&self) -> broadcast::Receiver<Arc<Push>> {
        self.pushes.subscribe()
    }

    /// Adds (or removes) a subscriber of a market channel.
    pub fn want(&self, channel: &str, inst: &str, wanted: bool) {
        self.interest.change(channel, inst, wanted);
    }

    /// Changes the speed, durably.
    pub async fn set_speed(&self, now: Option<Ms>, rate: f64) -> Result<(), Unavailable> {
        let clock = self.clock.clone();
        // Inside the engine's thread, so that the line in the log is the one in force.
        self.ask(move |_| clock.set(now, rate)).await
    }
}

struct Shop {
    exchange: Exchange,
    log: Log,
    clock: Clock,
    inbox: Receiver<Job>,
    identity: Identity,
    pushes: broadcast::Sender<Arc<Push>>,
    interest: Arc<Interest>,
    /// Last second whose market was shown to subscribers.
    shown_to: i64,
    /// State of cash and positions that subscribers were told of last.
    told_cash: usize,
    keep: Option<usize>,
}

/// Bytes after which a ledger that forgets is rewritten.
const COMPACT_AT: u64 = 24 << 20;

impl Shop {
    fn run(mut self) -> std::io::Result<()> {
        let mut version = self.clock.version();
        self.catch_up()?;
        loop {
            let first = match self.inbox.recv_timeout(self.until_next_second()) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            self.catch_up()?;
            let jobs = first.into_iter().chain(self.inbox.try_iter().take(BATCH));
            let replies: Vec<Reply> = jobs.map(|job| job(&mut self.exchange)).collect();
            let changes = std::mem::take(&mut self.exchange.changes);
            self.log.append(&self.exchange.ledger, &changes)?;
            if let Some(keep) = self.keep {
                self.exchange.ledger.forget(keep);
                let line = ClockLine {
                    wall_ms: wall_ms(),
                    venue_ms: self.clock.now().0,
                    rate: self.clock.rate(),
                };
                self.log
                    .compact(COMPACT_AT, &self.identity, line, &self.exchange.ledger)?;
            }
            if self.clock.version() != version {
                version = self.clock.version();
                let line = ClockLine {
                    wall_ms: wall_ms(),
                    venue_ms: self.clock.now().0,
                    rate: self.clock.rate(),
                };
                self.log.stamp(&self.identity, line)?;
            }
            replies.into_iter().for_each(|reply| reply());
            self.tell();
            self.show_market();
        }
    }

    /// Brings the market to the present before anybody is answered, writing as it goes.
    fn catch_up(&mut self) -> std::io::Result<()> {
        while !self.exchange.advance(self.clock.now()) {
            let changes = std::mem::take(&mut self.exchange.changes);
            self.log.append(&self.exchange.ledger, &changes)?;
        }
        Ok(())
    }

    fn until_next_second(&self) -> Duration {
        let left = 1000 - self.clock.now().0.rem_euclid(1000);
        let wall = left as f64 / self.clock.rate().max(1e-6);
        Duration::from_micros((wall * 1000.0).clamp(200.0, 1_000_000.0) as u64)
    }

    /// Private pushes, in the order things happened.
    fn tell(&mut self) {
        let (mut account, mut traded) = (false, Vec::new());
        // Telling may find more to tell: a book that was shown on the way.
        let mut news: std::collections::VecDeque<Event> =
            std::mem::take(&mut self.exchange.events).into();
        while let Some(event) = news.pop_front() {
            match event {
                Event::Order(order, fill) => {
                    traded.extend(fill.as_deref().cloned());
                    self.push_row(
                        "orders",
                        &order.inst,
                        render::order(&order, fill.as_deref()),
                    );
                }
                Event::Amended(order, req_id) => {
                    self.push_row(
                        "orders",
                        &order.inst,
                        render::order_amended(&order, &req_id),
                    );
                }
                Event::Algo(algo) => {
                    let trailing = algo.kind == AlgoKind::Trailing;
                    let channel = if trailing {
                        "algo-advance"
                    } else {
                        "orders-algo"
                    };
                    self.push_row(channel, &algo.inst, render::algo(&algo));
                }
                Event::Depth(inst, change) => {
                    let data = format!("[{}]", render::depth(&self.exchange, &change));
                    let inst_type = render::inst_type(&inst);
                    self.send(Push {
                        channel: "books".into(),
                        inst_type,
                        inst,
                        data,
                        seq: Some(change.seq),
                    });
                }
                Event::Book(inst) => self.show_fed_book(&inst),
                Event::Trade(inst, trade) => {
                    let market = Arc::clone(&self.exchange.market);
                    if let Some(listed) = market.get(&inst) {
                        for channel in ["trades", "trades-all"] {
                            self.push_row(channel, &inst, render::pushed_trade(listed, &trade));
                        }
                    }
                }
                Event::Bar(inst, bar, candle, confirmed) => {
                    let market = Arc::clone(&self.exchange.market);
                    if let Some(listed) = market.get(&inst) {
                        let row = render::bar_row(listed, &candle, confirmed);
                        self.push_row(&format!("candle{bar}"), &inst, row);
                    }
                }
                Event::Rules(inst) => {
                    if let Some(listed) = self.exchange.market.get(&inst) {
                        let row = render::instrument(self.exchange.rules(&listed.listing.inst));
                        let inst_type = render::inst_type(&inst);
                        // Its subscribers name a type of instrument, not one.
                        self.push("instruments", inst_type, String::new(), format!("[{row}]"));
                    }
                }
                Event::Position(inst) => {
                    let row = render::position(&self.exchange, &inst);
                    self.push_row("positions", &inst, row);
                }
                Event::Account => account = true,
            }
            news.extend(std::mem::take(&mut self.exchange.events));
        }
        if account {
            let data = format!("[{}]", render::balance(&self.exchange, &[]));
            self.push("account", "", String::new(), data);
            let moved = self.exchange.cash_version();
            if moved != self.told_cash {
                self.told_cash = moved;
                let event = if traded.is_empty() {
                    "transferred"
                } else {
                    "filled"
                };
                let data = format!(
                    "[{}]",
                    render::balance_and_position(&self.exchange, event, &traded)
                );
                self.push("balance_and_position", "", String::new(), data);
            }
        }
    }

    /// A feed's book is shown when it comes.
    fn show_fed_book(&mut self, inst: &str) {
        let market = Arc::clone(&self.exchange.market);
        let Some(listed) = market.get(inst) else {
            return;
        };
        let wanted = self.interest.of(inst);
        for channel in ["tickers", "books5", "bbo-tbt", "mark-price"]
            .into_iter()
            .filter(|c| wanted.contains(*c))
        {
            if let Some(data) = render::push(&self.exchange, listed, channel) {
                self.push(
                    channel,
                    listed.listing.inst.kind.okx(),
                    inst.to_owned(),
                    data,
                );
            }
        }
        if wanted.contains("books") {
            self.exchange.show_depth(inst);
        }
    }

    /// Public pushes for each second that has passed.
    fn show_market(&mut self) {
        let now = self.exchange.now().0.div_euclid(1000);
        if now <= self.shown_to {
            return;
        }
        // After a long stall only the last stretch is worth telling; REST has the rest.
        let from = self.shown_to.max(now - 3600);
        let mut depths = Vec::new();
        for (channel, inst) in self.interest.list() {
            let Some(listed) = self.exchange.market.get(&inst) else {
                continue;
            };
            let inst_type = listed.listing.inst.kind.okx();
            if listed.is_fed() && !matches!(channel.as_str(), "funding-rate" | "price-limit") {
                continue;
            }
            if channel == "books" {
                depths.push(inst);
                continue;
            }
            if matches!(channel.as_str(), "funding-rate" | "price-limit")
                && now.div_euclid(60) == self.shown_to.div_euclid(60)
            {
                continue; // once a minute is what OKX does at most
            }
            if let Some(bar) = channel
                .strip_prefix("candle")
                .and_then(|bar| bar.parse::<Bar>().ok())
            {
                for data in render::candle_pushes(&self.exchange, listed, bar, from, now) {
                    self.push(&channel, inst_type, inst.clone(), data);
                }
            } else if let Some(bar) = channel
                .strip_prefix("mark-price-candle")
                .and_then(|bar| bar.parse::<Bar>().ok())
            {
                for data in render::mark_candle_pushes(&self.exchange, listed, bar, from, now) {
                    self.push(&channel, inst_type, inst.clone(), data);
                }
            } else if matches!(channel.as_str(), "trades" | "trades-all") {
                // Every second's, also those that passed since the last look.
                for second in self.shown_to.max(now - TRADES_BEHIND) + 1..=now {
                    if let Some(data) = render::trades_of(&self.exchange, listed, second) {
                        self.push(&channel, inst_type, inst.clone(), data);
                    }
                }
            } else if !self.exchange.is_over()
                && let Some(data) = render::push(&self.exchange, listed, &channel)
            {
                self.push(&channel, inst_type, inst.clone(), data);
            }
        }
        self.shown_to = now;
        depths
            .iter()
            .for_each(|inst| self.exchange.show_depth(inst));
        self.tell();
    }

    fn push_row(&self, channel: &str, inst: &str, row: serde_json::Value) {
        self.push(
            channel,
            render::inst_type(inst),
            inst.to_owned(),
            format!("[{row}]"),
        );
    }

    fn push(&self, channel: &str, inst_type: &'static str, inst: String, data: String) {
        self.send(Push {
            channel: channel.to_owned(),
            inst_type,
            inst,
            data,
            seq: None,
        });
    }

    fn send(&self, push: Push) {
        // No receiver is no error: nobody is connected.
        drop(self.pushes.send(Arc::new(push)));
    }
}
