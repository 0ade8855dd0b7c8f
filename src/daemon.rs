//! The wiring: makes every channel, starts every actor, and hands them to the supervisor. Start and
//! recovery are the same path: load, reconcile with the venue, then trade.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::allocation::{Allocator, Ids, Sleeve};
use crate::config::{Config, Contender, Mode, OrderTransport, find_secrets};
use crate::decision::{Decision, Seat};
use crate::domain::record::{ContenderRow, Record, RunKind};
use crate::domain::{InstKind, Instrument, MarketView, Ms, OrdersView, Readiness, RunId};
use crate::exchange::{Engine, EngineConfig, ServerConfig, serve};
use crate::execution::{Executor, Line};
use crate::exit::Exit;
use crate::market::Market;
use crate::ops::{control, notify};
use crate::risk::{Gate, Latch, Limits};
use crate::runtime::{Actor, Beat, Clock, Pulse, RestartPolicy, RunIds, StageError, Stop, Supervisor, wall_ms};
use crate::store::{Journal, Opened, Reader, Research, Stamp, StateDir, StoreError, Writer, WriterGuard, keep_candles};
use crate::tracking::{AccountSync, Ledger, Tracker};
use crate::venue::{
    AccountConfig, OrderSocket, Secrets, Signer, StreamConfig, Trading, Venue, VenueConfig, VenueError, sim_clock,
};

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunLimits {
    pub cycles: Option<u64>,
    pub duration: Option<Duration>,
}

/// Why a start failed, and what the process should end with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Venue(#[from] VenueError),
    #[error(transparent)]
    Secret(#[from] crate::config::SecretError),
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Account(String),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl StartError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            StartError::Store(error) => error.exit(),
            StartError::Venue(error) if error.needs_person() => Exit::NoPermission,
            StartError::Venue(_) => Exit::Unavailable,
            StartError::Secret(_) | StartError::Config(_) => Exit::Config,
            StartError::Account(_) => Exit::NoPermission,
            StartError::Io { .. } => Exit::Io,
            StartError::Stage(error) => error.exit(),
        }
    }
}

/// A venue we have reached, whose account we have looked at.
pub struct Reached {
    pub venue: Venue,
    pub clock: Clock,
    pub ws: String,
    pub account: AccountConfig,
    signer: Signer,
    /// The embedded exchange's server, if it runs in this process.
    embedded: Option<Embedded>,
}

struct Embedded {
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    stop: Stop,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
        self.server.abort();
    }
}

/// Reaches the venue of this configuration: starts the embedded exchange if that is the venue, takes
/// its time, and checks that the account is the one we expect.
///
/// A venue that does not answer is asked again for `patience`; what a person must mend ends it at once.
pub async fn reach(config: &Config, state_dir: &Path, patience: Duration) -> Result<Reached, StartError> {
    crate::venue::install_tls();
    let settings = &config.venue;
    let venue_config = |rest: String, demo| VenueConfig { rest, timeout: settings.request_timeout, demo };
    let (rest, ws, clock, secrets, embedded) = match config.mode {
        Mode::Paper => {
            return Err(StartError::Config(
                "mode paper is not built yet: its exchange must be fed by OKX's public data. Use mode sim, or okx-demo with demo keys".into(),
            ));
        }
        Mode::Sim if settings.rest_url.is_empty() => {
            let (endpoint, clock, embedded) = embed(config, state_dir).await?;
            let key = &endpoint.credentials;
            let secrets = Secrets {
                api_key: key.api_key.clone().into(),
                secret: key.secret.clone().into(),
                passphrase: key.passphrase.clone().into(),
            };
            (endpoint.rest, endpoint.ws, clock, secrets, Some(embedded))
        }
        Mode::Sim => {
            let ask = || sim_clock(&settings.rest_url, settings.request_timeout);
            let (now, rate) = patiently(patience, ask).await?;
            let secrets = find_secrets(&config.layers.env)?;
            (settings.rest_url.clone(), settings.ws_url.clone(), Clock::start(now, rate), secrets, None)
        }
        Mode::OkxDemo | Mode::Live => {
            let secrets = find_secrets(&config.layers.env)?;
            let clock = Clock::start(Ms(wall_ms()), 1.0);
            let venue =
                Venue::new(venue_config(settings.rest_url.clone(), config.mode == Mode::OkxDemo), None, clock.clone())?;
            let now = patiently(patience, || venue.server_time()).await?;
            info!(event = "clock", skew_ms = now.since(clock.now()).0, "this machine's clock against the venue's");
            clock.anchor(now);
            (settings.rest_url.clone(), settings.ws_url.clone(), clock, secrets, None)
        }
    };
    let signer = Signer::new(secrets);
    let venue = Venue::new(venue_config(rest, config.mode == Mode::OkxDemo), Some(signer.clone()), clock.clone())?;
    let account = patiently(patience, || venue.account_config()).await?;
    check_account(config, &account)?;
    Ok(Reached { venue, clock, ws, account, signer, embedded })
}

/// Asks again, with growing pauses, until `patience` is over or the answer is one that asking cannot change.
async fn patiently<T, F: Future<Output = Result<T, VenueError>>>(
    patience: Duration,
    ask: impl Fn() -> F,
) -> Result<T, VenueError> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(500);
    loop {
        match ask().await {
            Err(error) if !error.needs_person() && began.elapsed() + pause < patience => {
                warn!(event = "venue_unreachable", %error, "the venue cannot be reached; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
            other => return other,
        }
    }
}

async fn embed(config: &Config, state_dir: &Path) -> Result<(crate::exchange::Endpoint, Clock, Embedded), StartError> {
    let io = |what| move |source| StartError::Io { what, source };
    let engine = Engine::start(&EngineConfig {
        seed: config.exchange.seed,
        speed: config.exchange.speed,
        state: Some(StateDir::exchange_log(state_dir)),
        deposit: config.exchange.deposit,
    })
    .map_err(io("starting the embedded exchange"))?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.map_err(io("listening on loopback"))?;
    let (clock, stop) = (engine.clock.clone(), engine.ended.clone());
    let (endpoint, server) =
        serve(engine, ServerConfig::default(), listener, stop.clone()).map_err(io("starting the embedded exchange"))?;
    Ok((endpoint, clock, Embedded { server: tokio::spawn(server), stop }))
}

fn check_account(config: &Config, account: &AccountConfig) -> Result<(), StartError> {
    let wrong = |what: String| Err(StartError::Account(what));
    if let Some(pinned) = &config.venue.uid
        && *pinned != account.uid
    {
        return wrong(format!("the key belongs to account {}, venue.uid pins {pinned}: nothing was sent", account.uid));
    }
    if account.position_mode != "net_mode" {
        return wrong(format!(
            "the account's position mode is {}; set it to net mode (Settings, Position mode)",
            account.position_mode
        ));
    }
    if account.level != "2" {
        return wrong(format!("the account's level is {}; this release trades futures mode (acctLv 2)", account.level));
    }
    let may = |what: &str| account.permissions.split(',').any(|p| p.trim() == what);
    if !may("trade") {
        return wrong("the key may not trade; make one with the Trade permission".into());
    }
    if may("withdraw") && config.mode == Mode::Live {
        return wrong("the key may withdraw; make one that may only read and trade".into());
    }
    Ok(())
}

/// A database open for writing, and its writer's thread.
pub struct Ledgered {
    pub journal: Journal,
    pub opened: Opened,
    pub guard: WriterGuard,
}

/// Opens `trading.db` of a held state directory for this account, and loads what it remembers.
pub fn open_store(config: &Config, reached: &Reached, dir: &Path, beat: Beat) -> Result<Ledgered, StartError> {
    let stamp = Stamp { mode: config.mode.to_string(), uid: reached.account.uid.clone() };
    let epoch = uuid::Uuid::new_v4().to_string();
    let (writer, journal) = Writer::open(dir, &stamp, &epoch, reached.clock.now().0)?;
    let opened = Reader::open(dir)?.opened()?;
    Ok(Ledgered { journal, opened, guard: writer.start(beat) })
}

/// Reads the instruments of the configuration from the venue.
async fn instruments(config: &Config, venue: &Venue) -> Result<Vec<Arc<Instrument>>, StartError> {
    let mut listed = venue.instruments(InstKind::Spot).await?;
    listed.extend(venue.instruments(InstKind::Swap).await?);
    let find = |id: &crate::domain::InstId| {
        listed.iter().find(|i| i.id == *id).cloned().map(Arc::new).ok_or_else(|| {
            StartError::Config(format!("instrument {id}: the venue does not list it, or not as something we trade"))
        })
    };
    config.instruments.iter().map(find).collect()
}

/// How long a start waits for a venue that does not answer, below the unit's TimeoutStartSec.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// Runs the daemon until it is asked to stop, a limit is reached, or an actor that must not end ends.
pub async fn run(config: Config, dir: &Path, limits: RunLimits, began: Instant) -> Result<Exit, StartError> {
    let state = StateDir::hold(dir)?;
    let reached = reach(&config, dir, START_PATIENCE).await?;
    let pulse = Pulse::default();
    let store = open_store(&config, &reached, dir, pulse.beat("writer", true))?;
    let instruments = instruments(&config, &reached.venue).await?;
    let (stop, ids) = (Stop::new(), Arc::new(RunIds::random()));
    let start_run = ids.next(reached.clock.now());
    let span = tracing::info_span!("daemon", run_id = %start_run);
    let wiring = Wiring { config, reached, instruments, pulse, stop: stop.clone(), ids, start_run, began };
    let life = async {
        let (supervisor, views) = wiring.start(store, dir, limits).await?;
        notify::start_watchdog(wiring.pulse.clone(), wiring.config.supervision.freeze);
        tokio::spawn(announce_ready(views, wiring.began, wiring.clock().clone()));
        tokio::spawn(hear_signals(stop.clone(), limits.duration));
        let exit = supervisor.run(stop.clone(), wiring.config.supervision.stop).await;
        info!(event = "stopped", exit = exit.code(), "stopped");
        Ok(exit)
    };
    let exit = tracing::Instrument::instrument(life, span).await;
    drop(wiring.reached.embedded); // the venue outlives everybody who may still ask it
    drop(state);
    exit
}

/// What the start has gathered; everything an actor needs is made from it.
struct Wiring {
    config: Config,
    reached: Reached,
    instruments: Vec<Arc<Instrument>>,
    pulse: Pulse,
    stop: Stop,
    ids: Arc<RunIds>,
    start_run: RunId,
    began: Instant,
}

/// What readiness is judged by.
struct Views {
    market: watch::Receiver<MarketView>,
    account: watch::Receiver<Option<Arc<crate::domain::AccountView>>>,
    readiness: watch::Receiver<Readiness>,
}

impl Wiring {
    fn clock(&self) -> &Clock {
        &self.reached.clock
    }

    fn stream(&self) -> StreamConfig {
        StreamConfig {
            url: String::new(),
            subscriptions: Vec::new(),
            signer: None,
            ping_after: self.config.venue.ping_after,
            answer_within: self.config.venue.request_timeout,
            silence: self.config.venue.silence,
        }
    }

    /// First rows of this start: the run, the configuration, who takes part, what is traded.
    async fn introduce(&self, journal: &Journal) -> Result<(), StageError> {
        let at = self.clock().now();
        let trigger = format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        journal
            .post(Record::Run { run_id: self.start_run, kind: RunKind::Start, trigger, at, caused_by: None })
            .await?;
        let body = self.config.layers.tree.to_string();
        let hash = {
            use sha2::{Digest, Sha256};
            data_encoding::HEXLOWER.encode(&Sha256::digest(&body))
        };
        journal.post(Record::Config { hash, body, at }).await?;
        let rows = self.config.contenders.iter().map(contender_row).collect();
        journal.post(Record::Contenders { rows, at }).await?;
        journal.append(Record::Instruments { rows: self.instruments.clone(), at }).await
    }

    async fn start(&self, store: Ledgered, dir: &Path, limits: RunLimits) -> Result<(Supervisor, Views), StartError> {
        let Ledgered { journal, opened, guard } = store;
        let config = &self.config;
        self.introduce(&journal).await?;
        let (restartable, critical) =
            (RestartPolicy::restartable(config.supervision.freeze), RestartPolicy::critical(config.supervision.freeze));

        // Forward edges are bounded queues: a full one makes its sender wait, and nothing is dropped.
        let (closed_tx, closed_rx) = mpsc::channel(1024); // bars: a burst after a gap is repaired
        let (cycles_tx, cycles_rx) = mpsc::channel(8); // a decision that waits grows stale: keep few
        let (intents_tx, intents_rx) = mpsc::channel(8);
        let (verdicts_tx, verdicts_rx) = mpsc::channel(256); // one cycle of many contenders
        let (reports_tx, reports_rx) = mpsc::channel(4096); // never dropped: each is part of an order's life
        let (sync_tx, sync_rx) = mpsc::channel(8); // people
        // Views go back on `watch`: the latest value, never full.
        let (market_tx, market) = watch::channel(MarketView::default());
        let (account_tx, account) = watch::channel(None);
        let (orders_tx, orders) = watch::channel(OrdersView::default());
        let (readiness_tx, readiness) = watch::channel(Readiness::Reconciling("starting".into()));
        let (nudge_tx, nudge) = watch::channel(0u64);

        let latch = Latch::new(config.trading_enabled);
        let clock = self.clock().clone();
        let now = clock.now();
        let by_id: BTreeMap<_, _> = self.instruments.iter().map(|i| (i.id.clone(), Arc::clone(i))).collect();
        let (install_epoch, bills_cursor) = (opened.install_epoch.clone(), opened.bills_cursor.clone());
        let fills_cursor = opened.fills_cursor.clone();
        let (ledger, restored) = Ledger::open(opened, by_id, config.mode.letter(), now);
        for record in restored {
            journal.append(record).await?;
        }
        let research = Research::open(dir, now.0)?;
        let keep = keep_candles(research, &self.instruments, config.bar)?;
        let mut supervisor = Supervisor::default();
        let beat = |name, critical| self.pulse.beat(name, critical);

        let writer = WriterWatch { guard };
        let writer_beat = self.pulse.all().into_iter().find(|b| b.name == "writer").expect("made with the store");
        supervisor.start(writer, writer_beat, critical, self.stop.clone());
        let probe = Probe { journal: journal.clone(), clock: clock.clone(), beat: beat("probe", true) };
        supervisor.start_with(probe, |a| a.beat.clone(), critical, &self.stop);

        let market_actor = Market {
            venue: self.reached.venue.clone(),
            ws: self.reached.ws.clone(),
            stream: self.stream(),
            instruments: self.instruments.clone(),
            bar: config.bar,
            history_bars: config.history_bars,
            view: market_tx,
            closed: closed_tx,
            keep,
            behind: false,
            beat: beat("market", false),
        };
        supervisor.start_with(market_actor, |a| a.beat.clone(), restartable, &self.stop);
        let account_actor = AccountSync {
            venue: self.reached.venue.clone(),
            clock: clock.clone(),
            ids: Arc::clone(&self.ids),
            journal: journal.clone(),
            every: config.sync.account,
            bills_cursor,
            asks: sync_rx,
            nudge,
            view: account_tx,
            beat: beat("account", false),
        };
        supervisor.start_with(account_actor, |a| a.beat.clone(), restartable, &self.stop);
        let decision = Decision {
            clock: clock.clone(),
            ids: Arc::clone(&self.ids),
            journal: journal.clone(),
            seats: config.live_contenders().map(seat).collect(),
            bar: config.bar,
            every_bars: config.every_bars,
            barrier: config.barrier,
            cycles_left: limits.cycles,
            closed: closed_rx,
            market: market.clone(),
            account: account.clone(),
            orders: orders.clone(),
            cycles: cycles_tx,
            beat: beat("decision", false),
        };
        supervisor.start_with(decision, |a| a.beat.clone(), restartable, &self.stop);
        let allocator = Allocator {
            sleeves: config.live_contenders().map(sleeve).collect(),
            ids: Ids { env: config.mode.letter(), uid: self.reached.account.uid.clone(), install_epoch },
            no_trade_band: config.allocation.no_trade_band,
            reserve: config.allocation.reserve,
            journal: journal.clone(),
            cycles: cycles_rx,
            orders: orders.clone(),
            intents: intents_tx,
            beat: beat("allocator", true),
        };
        supervisor.start_with(allocator, |a| a.beat.clone(), critical, &self.stop);
        let gate = Gate {
            limits: gate_limits(config),
            latch: latch.clone(),
            clock: clock.clone(),
            journal: journal.clone(),
            batches: intents_rx,
            market: market.clone(),
            account: account.clone(),
            orders: orders.clone(),
            readiness: readiness.clone(),
            verdicts: verdicts_tx,
            in_flight: Vec::new(),
            beat: beat("gate", true),
        };
        supervisor.start_with(gate, |a| a.beat.clone(), critical, &self.stop);
        let executor = Executor {
            line: Arc::new(self.line()),
            latch: latch.clone(),
            clock: clock.clone(),
            journal: journal.clone(),
            expiry: config.venue.order_expiry,
            verdicts: verdicts_rx,
            market: market.clone(),
            orders: orders.clone(),
            readiness: readiness.clone(),
            reports: reports_tx,
            beat: beat("executor", true),
        };
        supervisor.start_with(executor, |a| a.beat.clone(), critical, &self.stop);
        let tracker = Tracker {
            venue: self.reached.venue.clone(),
            clock: clock.clone(),
            ws: self.reached.ws.clone(),
            stream: self.stream(),
            journal,
            ledger,
            fills_cursor,
            start_run: self.start_run,
            orders_every: config.sync.orders,
            fills_every: config.sync.fills,
            absent_after: config.venue.absent_after,
            reports: reports_rx,
            market: market.clone(),
            view: orders_tx,
            readiness: readiness_tx,
            nudge: nudge_tx,
            beat: beat("tracker", true),
        };
        supervisor.start_with(tracker, |a| a.beat.clone(), critical, &self.stop);
        let control = control::Control {
            path: StateDir::socket(dir),
            shared: control::Shared {
                mode: config.mode.to_string(),
                uid: self.reached.account.uid.clone(),
                state_dir: dir.to_owned(),
                started: self.began,
                clock,
                latch,
                trading_off_by: config.trading_off_by.clone(),
                pulse: self.pulse.clone(),
                market: market.clone(),
                account: account.clone(),
                orders,
                readiness: readiness.clone(),
                sync: sync_tx,
            },
            beat: beat("control", false),
        };
        supervisor.start_with(control, |a| a.beat.clone(), restartable, &self.stop);
        if let Some(embedded) = &self.reached.embedded {
            let watch = ExchangeWatch { ended: embedded.stop.clone(), beat: beat("exchange", true) };
            supervisor.start_with(watch, |a| a.beat.clone(), critical, &self.stop);
        }
        Ok((supervisor, Views { market, account, readiness }))
    }

    fn line(&self) -> Line {
        let socket = (self.config.venue.order_transport == OrderTransport::WebSocket).then(|| {
            let config = StreamConfig {
                url: format!("{}/private", self.reached.ws),
                signer: Some(self.reached.signer.clone()),
                ..self.stream()
            };
            OrderSocket::open(config, self.clock().clone(), self.config.venue.request_timeout)
        });
        Line { rest: Trading::over(self.reached.venue.clone()), socket }
    }
}

fn seat(contender: &Contender) -> Seat {
    Seat {
        contender: contender.id.clone(),
        strategy: contender.strategy,
        params: contender.params.clone(),
        instruments: contender.instruments.clone(),
    }
}

fn sleeve(contender: &Contender) -> (crate::domain::ContenderId, Sleeve) {
    let sleeve =
        Sleeve { weight: contender.weight, slots: contender.instruments.len(), execution: contender.execution };
    (contender.id.clone(), sleeve)
}

fn contender_row(contender: &Contender) -> ContenderRow {
    ContenderRow {
        id: contender.id.clone(),
        kind: "rule".into(),
        strategy: contender.strategy.name.into(),
        stage: if contender.stage == crate::config::Stage::Live { "live".into() } else { "off".into() },
        weight: contender.weight,
        params: contender.exact_params(),
    }
}

fn gate_limits(config: &Config) -> Limits {
    let risk = &config.risk;
    Limits {
        order_notional_max: risk.order_notional_max,
        order_notional_min: risk.order_notional_min,
        open_orders_max: risk.open_orders_max,
        quote_age_max: risk.quote_age_max,
        account_age_max: risk.account_age_max,
        decision_age_max: risk.decision_age_max,
        price_collar: risk.price_collar,
    }
}

/// Stands for the writer's thread among the actors: it ends after the last journal is dropped, or when the disk fails.
struct WriterWatch {
    guard: WriterGuard,
}

impl Actor for WriterWatch {
    async fn run(&mut self, _stop: Stop) -> Result<(), StageError> {
        self.guard.ended().await.map_err(StageError::Store)
    }
}

/// Stands for the embedded exchange among the actors: when its ledger cannot be written it ends, and we with it.
struct ExchangeWatch {
    ended: Stop,
    beat: Beat,
}

impl Actor for ExchangeWatch {
    async fn run(&mut self, stop: Stop) -> Result<(), StageError> {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = self.ended.cancelled() => return Err(StageError::Store("the embedded exchange has ended".into())),
                _ = tick.tick() => self.beat.tick(),
            }
        }
    }
}

/// A real commit each second, so that the writer's progress can be seen even when nobody trades.
struct Probe {
    journal: Journal,
    clock: Clock,
    beat: Beat,
}

impl Actor for Probe {
    async fn run(&mut self, stop: Stop) -> Result<(), StageError> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = tick.tick() => self.journal.append(Record::Probe { at: self.clock.now() }).await?,
            }
            self.beat.tick();
        }
    }
}

/// Tells systemd and the log when everything is in place: reconciled, history complete, account known.
async fn announce_ready(mut views: Views, began: Instant, clock: Clock) {
    let ready = async {
        // Halted is a state to stay up in, not a failed start.
        views.readiness.wait_for(|r| !matches!(r, Readiness::Reconciling(_))).await.ok()?;
        views.market.wait_for(|m| m.live).await.ok()?;
        views.account.wait_for(Option::is_some).await.ok()?;
        Some(())
    };
    if ready.await.is_some() {
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match &*views.readiness.borrow() {
            Readiness::Halted(why) => warn!(event = "ready", after_ms = ms, %why, "up, but halted: nothing opens"),
            _ => {
                let venue_time = clock.now().iso();
                info!(event = "ready", after_ms = ms, venue_time, "ready: reconciled and trading as configured");
            }
        }
        notify::tell(notify::Word::Ready);
    }
}

/// Stops on SIGTERM, Ctrl-C or when the time is up.
async fn hear_signals(stop: Stop, duration: Option<Duration>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        warn!(event = "signals", "signals cannot be heard; stop with the control of your system");
        return;
    };
    let why = tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "Ctrl-C",
        () = tokio::time::sleep(duration.unwrap_or(Duration::MAX)), if duration.is_some() => "the time is up",
    };
    info!(event = "stopping", why, "stopping: no new decisions; what is on its way is brought to an end");
    stop.cancel();
    notify::tell(notify::Word::Stopping);
}
