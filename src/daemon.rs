//! The wiring: makes every channel, starts every actor, and hands them to the supervisor. Start and
//! recovery are the same path: load, reconcile with the venue, then trade.

mod listener;
pub mod models;
pub mod preflight;
mod reach;
pub mod resume;
mod roster;
mod taping;
mod watch;

pub use reach::{PublicSide, Reached, StartError, reach, reach_public};

use self::models::{ModelPorts, RunnerViews, model_contenders};
use self::preflight::{Hourly, Preflight, before_start};
use self::reach::{chosen, listed, refuse_if_known};
pub use self::roster::{Remembered, remembered};
use self::roster::{assignment, contender_row, entrant, sleeve};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc, watch as views};
use tracing::info;

use self::listener::Listener;
use self::taping::start_tape;
use self::watch::{
    ExchangeWatch, KillWatch, Probe, Views, WriterWatch, announce_ready, catch_usr1, hear_signals,
};
use crate::allocation::{Allocator, Ids, SleeveSettings};
use crate::config::{Config, OrderTransport};
use crate::decision::Decision;
use crate::domain::record::{Record, RunKind};
use crate::domain::{
    Bps, Instrument, MarketView, Ms, OrdersView, Readiness, Restrictions, Rule, RunId,
    WorkingPolicy,
};
use crate::execution::{DeadMan, Executor, VenueLine};
use crate::exit::Exit;
use crate::llm::runner::{levels, remembered as remembered_plans};
use crate::market::{Market, ahead_limit};
use crate::ops::control::Door;
use crate::ops::{control, killfile, notify};
use crate::paper::PaperFeed;
use crate::risk::{
    Gate, GateWork, Memory, PermissionWatch, Protecting, Seal, TradingSwitch, UnwindTiming,
};
use crate::runtime::faults;
use crate::runtime::{Beat, Clock, Pulse, RestartPolicy, RunIds, Shutdown, StageError, Supervisor};
use crate::store::{
    Found, Journal, Manifest, Opened, Reader, Research, Stamp, StateDir, Writer, WriterGuard,
    examine, keep_candles,
};
use crate::tracking::{AccountSync, BillBook, ReconcileTiming, Reconciler, Tracker, VenueWire};
use crate::venue::{OrderSocket, StreamConfig, Tap, Trading};

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunLimits {
    pub cycles: Option<u64>,
    pub duration: Option<Duration>,
}

/// A database open for writing, and its writer's thread.
pub struct Ledgered {
    pub journal: Journal,
    pub opened: Opened,
    pub guard: WriterGuard,
}

/// Opens `trading.db` of a held state directory for this account, and loads what it remembers.
pub fn open_store(
    config: &Config,
    reached: &Reached,
    dir: &Path,
    beat: Beat,
) -> Result<Ledgered, StartError> {
    let stamp = Stamp {
        mode: config.mode.to_string(),
        uid: reached.account.uid.clone(),
    };
    let epoch = uuid::Uuid::new_v4().to_string();
    let (writer, journal) = Writer::open(dir, &stamp, &epoch, reached.clock.now().0)?;
    let opened = Reader::open(dir)?.opened()?;
    Ok(Ledgered {
        journal,
        opened,
        guard: writer.start(beat),
    })
}

/// Bars the paper exchange holds beyond what the daemon asks of it, so that a page never ends
/// early.
const FEED_SPARE_BARS: usize = 50;

/// Time the preflight checks of a start wait for a venue that was there a moment ago.
const PREFLIGHT_PATIENCE: Duration = Duration::from_secs(20);

/// Time a start waits for a venue that does not answer, below the unit's TimeoutStartSec.
const START_PATIENCE: Duration = Duration::from_secs(90);

/// Runs the daemon until it is asked to stop, a limit is reached, or an actor that must not end
/// ends.
pub async fn run(
    config: Config,
    dir: &Path,
    limits: RunLimits,
    began: Instant,
) -> Result<Exit, StartError> {
    let state = StateDir::hold(dir)?;
    // From here on a halt is latched whatever comes: by signal, by file, over the socket.
    killfile::arm(dir).map_err(|source| StartError::Io {
        what: "arming SIGUSR1",
        source,
    })?;
    let usr1 = std::sync::Mutex::new(catch_usr1());
    let (door, socket) = control::open(dir, StateDir::socket(dir)).map_err(no_socket(dir))?;
    faults::point("start_held").await;
    let found = examine(dir)?;
    let remembered = remembered(dir)?;
    let reached = reach(
        &config,
        dir,
        &remembered.instruments(&config),
        START_PATIENCE,
    )
    .await?;
    if matches!(found, Found::Fresh) && reached.embedded.is_none() {
        refuse_if_known(&reached, config.mode.letter()).await?;
    }
    faults::point("start_reached").await;
    let pulse = Pulse::default();
    let store = open_store(&config, &reached, dir, pulse.beat("writer", true))?;
    let known = store.opened.instruments.clone();
    let instruments = chosen(
        &config,
        &remembered.instruments(&config),
        &listed(&reached.venue).await?,
    )?;
    remembered.announce(&config);
    let (stop, ids) = (Shutdown::new(), Arc::new(RunIds::random()));
    let start_run = ids.next(reached.clock.now());
    let span = tracing::info_span!("daemon", run_id = %start_run);
    let held = store.journal.held();
    let tape = config
        .tape
        .record
        .then(|| start_tape(&config, &reached, &instruments, dir, held))
        .transpose()?;
    let (tap, recording) = tape.unzip();
    let preflight = Preflight {
        wanted: config.instruments.clone(),
        config: Arc::new(config.clone()),
        dir: dir.to_owned(),
        venue: reached.venue.clone(),
        embedded: reached.embedded.is_some(),
        remembered: known,
        shields: None,
    };
    let wiring = Wiring {
        usr1,
        door,
        preflight,
        config,
        reached,
        instruments,
        pulse,
        stop: stop.clone(),
        ids,
        start_run,
        began,
        tap,
    };
    let life = async {
        before_start(&wiring.preflight, PREFLIGHT_PATIENCE).await?;
        let (supervisor, views) = wiring.start(store, dir, limits).await?;
        notify::start_watchdog(wiring.pulse.clone(), wiring.config.supervision.freeze);
        tokio::spawn(announce_ready(views, wiring.began, wiring.clock().clone()));
        tokio::spawn(hear_signals(stop.clone(), limits.duration));
        let exit = supervisor
            .run(stop.clone(), wiring.config.supervision.stop)
            .await;
        info!(event = "stopped", exit = exit.code(), "stopped");
        Ok(exit)
    };
    let exit = tracing::Instrument::instrument(life, span).await;
    if let Some(recording) = recording {
        // A matter of milliseconds: the last mark and its sync.
        tokio::task::block_in_place(|| recording.finish());
    }
    faults::point("stopped").await;
    drop(socket);
    drop(wiring.reached.embedded); // the venue outlives everybody who may still ask it
    drop(state);
    exit
}

/// Why there can be no control socket, and what to do.
fn no_socket(dir: &Path) -> impl FnOnce(std::io::Error) -> StartError {
    let path = StateDir::socket(dir);
    move |error| {
        StartError::Config(format!(
            "the control socket {} cannot be made ({error}), and without it nobody could halt this daemon by the verb; a path of up \
             to 107 bytes is possible: use a shorter --state-dir",
            path.display()
        ))
    }
}

/// Everything the start has gathered and every actor is made from.
struct Wiring {
    /// Taken by the kill switch.
    usr1: std::sync::Mutex<Option<tokio::signal::unix::Signal>>,
    /// The control socket, which answers already.
    door: Door,
    preflight: Preflight,
    config: Config,
    reached: Reached,
    instruments: Vec<Arc<Instrument>>,
    pulse: Pulse,
    stop: Shutdown,
    ids: Arc<RunIds>,
    start_run: RunId,
    began: Instant,
    /// Puts what the streams hear on the tape.
    tap: Option<Tap>,
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
            tap: self.tap.clone(),
        }
    }

    /// First rows of this start: the run, the configuration, who takes part, what is traded.
    async fn introduce(&self, journal: &Journal) -> Result<(), StageError> {
        let at = self.clock().now();
        let trigger = format!("{} {}", env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        journal
            .post(Record::Run {
                run_id: self.start_run,
                kind: RunKind::Start,
                trigger,
                at,
                caused_by: None,
            })
            .await?;
        let body = self.config.layers.tree.to_string();
        let hash = {
            use sha2::{Digest, Sha256};
            data_encoding::HEXLOWER.encode(&Sha256::digest(&body))
        };
        journal.post(Record::Config { hash, body, at }).await?;
        journal
            .append(Record::Instruments {
                rows: self.instruments.clone(),
                at,
            })
            .await
    }

    async fn start(
        &self,
        store: Ledgered,
        dir: &Path,
        limits: RunLimits,
    ) -> Result<(Supervisor, Views), StartError> {
        let Ledgered {
            journal,
            opened,
            guard,
        } = store;
        let config = &self.config;
        self.introduce(&journal).await?;
        let (restartable, critical) = (
            RestartPolicy::restartable(config.supervision.freeze),
            RestartPolicy::critical(config.supervision.freeze),
        );

        // Forward edges are bounded queues: a full one makes its sender wait, and nothing is
        // dropped.
        let (closed_tx, closed_rx) = mpsc::channel(1024); // bars: a burst after a gap is repaired
        let (cycles_tx, cycles_rx) = mpsc::channel(8); // a decision that waits grows stale: keep few
        let (intents_tx, intents_rx) = mpsc::channel(8);
        let (verdicts_tx, verdicts_rx) = mpsc::channel(256); // one cycle of many contenders
        let (reports_tx, reports_rx) = mpsc::channel(4096); // never dropped: each is part of an order's life
        let (sync_tx, sync_rx) = mpsc::channel(8); // people, here and in the next three
        let (truth_tx, truth_rx) = mpsc::channel(8);
        let (commands_tx, commands_rx) = mpsc::channel(8);
        let (preflight_tx, preflight_rx) = mpsc::channel(8);
        let (due_tx, due_rx) = mpsc::channel(64); // bars: after a gap many close at once
        let (prompts_tx, prompts_rx) = mpsc::channel(8);
        let (cancels_tx, cancels_rx) = mpsc::channel(1024); // every open order at once
        // Views go back on `watch`: the latest value, never full.
        let (market_tx, market) = views::channel(MarketView::default());
        let (account_tx, account) = views::channel(None);
        let (orders_tx, orders) = views::channel(OrdersView::default());
        let (readiness_tx, readiness) = views::channel(Readiness::Reconciling("starting".into()));
        let (nudge_tx, nudge) = views::channel(0u64);
        let (restrictions_tx, restrictions) = views::channel(Restrictions::default());
        let (shields_tx, shields) = views::channel(BTreeMap::new());
        // Stops stay where models have put them, whoever still takes part.
        let (levels_tx, levels) = views::channel(levels(&remembered_plans(&opened.models)));
        let read_account = Arc::new(Notify::new());
        let contenders = model_contenders(config, &opened.models)?;
        let retired = models::retired(&contenders, &opened.models);
        let asks = !contenders.is_empty() || !retired.is_empty();

        let switch = TradingSwitch::new(config.trading_enabled);
        let permission = PermissionWatch {
            switch: switch.clone(),
            readiness: readiness.clone(),
            restrictions: restrictions.clone(),
        };
        let clock = self.clock().clone();
        let now = clock.now();
        let by_id: BTreeMap<_, _> = self
            .instruments
            .iter()
            .map(|i| (i.id.clone(), Arc::clone(i)))
            .collect();
        let install_epoch = opened.install_epoch.clone();
        let bills = BillBook::of(&opened);
        let before = opened.contenders.clone();
        let (models, book) = (opened.models.clone(), opened.book.clone());
        let mut memory = Memory::of(&opened, now);
        let patience = patience(config, &clock);
        // A file that is there before the gate is holds from the first moment.
        let killed = killfile::asked(dir);
        let kept = Manifest::peek(dir).and_then(|sheet| sheet.halt);
        let asked = killed
            .as_ref()
            .map(|asked| (asked.flatten, asked.why.clone()));
        if let Some((flatten, why)) = asked.or(kept.map(|why| (false, why)))
            && let Some(record) = memory.kill(flatten, &why, self.start_run, now)
        {
            journal.append(record).await?;
        }
        let (reconciler, restored) = Reconciler::open(
            opened,
            by_id,
            config.mode.letter(),
            self.start_run,
            patience,
            now,
        );
        faults::point("start_loaded").await;
        for record in restored {
            journal.append(record).await?;
        }
        faults::point("start_restored").await;
        let research = Research::open(dir, now.0)?;
        let keep = keep_candles(research, &self.instruments, &config.bars())?;
        let mut supervisor = Supervisor::default();
        let beat = |name, critical| self.pulse.beat(name, critical);

        let writer = WriterWatch { guard };
        let writer_beat = self
            .pulse
            .all()
            .into_iter()
            .find(|b| b.name == "writer")
            .expect("made with the store");
        supervisor.start(writer, writer_beat, critical, self.stop.clone());
        let probe = Probe {
            journal: journal.clone(),
            clock: clock.clone(),
            beat: beat("probe", true),
        };
        supervisor.start_with(probe, |a| a.beat.clone(), critical, &self.stop);

        let paper = self
            .reached
            .embedded
            .as_ref()
            .is_some_and(|embedded| embedded.source.is_some());
        let market_actor = Market {
            venue: self.reached.venue.clone(),
            ws: self.reached.ws.clone(),
            // In paper the tape hears the source itself, not what the embedded exchange makes of
            // it.
            stream: StreamConfig {
                tap: self.tap.clone().filter(|_| !paper),
                ..self.stream()
            },
            instruments: self.instruments.clone(),
            bars: config.bars(),
            history_bars: config.history_bars,
            view: market_tx,
            closed: closed_tx,
            keep,
            behind: None,
            holes: BTreeMap::new(),
            start_run: self.start_run,
            ahead_max: config.time_ahead,
            doubt: None,
            rules_again: None,
            beat: beat("market", false),
        };
        supervisor.start_with(market_actor, |a| a.beat.clone(), restartable, &self.stop);
        let account_actor = AccountSync {
            venue: self.reached.venue.clone(),
            clock: clock.clone(),
            ids: Arc::clone(&self.ids),
            journal: journal.clone(),
            every: config.sync.account,
            bills,
            asks: sync_rx,
            nudge,
            wanted: Arc::clone(&read_account),
            view: account_tx,
            beat: beat("account", false),
        };
        supervisor.start_with(account_actor, |a| a.beat.clone(), restartable, &self.stop);
        let decision = Decision {
            clock: clock.clone(),
            ids: Arc::clone(&self.ids),
            journal: journal.clone(),
            assignments: config.live_contenders().filter_map(assignment).collect(),
            entrants: config.contenders.iter().map(entrant).collect(),
            retire: config.allocation.retire,
            before: Some(before),
            roster: config.contenders.iter().map(contender_row).collect(),
            bar: config.bar,
            every_bars: config.every_bars,
            barrier: config.barrier,
            start_run: self.start_run,
            seatings: 0,
            cycles_left: limits.cycles,
            closed: closed_rx,
            market: market.clone(),
            account: account.clone(),
            orders: orders.clone(),
            cycles: cycles_tx.clone(),
            due: asks.then_some(due_tx),
            beat: beat("decision", false),
        };
        supervisor.start_with(decision, |a| a.beat.clone(), restartable, &self.stop);
        let prompts = asks.then_some(prompts_tx);
        let seen = RunnerViews {
            market: market.clone(),
            account: account.clone(),
            orders: orders.clone(),
            readiness: readiness.clone(),
            restrictions: restrictions.clone(),
        };
        let lines = ModelPorts {
            due: due_rx,
            shows: prompts_rx,
            levels: levels_tx,
            cycles: cycles_tx,
        };
        self.start_models(
            &mut supervisor,
            (contenders, retired),
            (models, book),
            lines,
            (journal.clone(), seen),
        );
        let allocator = Allocator {
            sleeves: config.live_contenders().map(sleeve).collect(),
            retired: RETIRED,
            clock: clock.clone(),
            market: market.clone(),
            ids: Ids {
                env: config.mode.letter(),
                uid: self.reached.account.uid.clone(),
                install_epoch: install_epoch.clone(),
            },
            no_trade_band: config.allocation.no_trade_band,
            reserve: config.allocation.reserve,
            stop_default: config.protection.stop_default,
            journal: journal.clone(),
            cycles: cycles_rx,
            orders: orders.clone(),
            intents: intents_tx,
            beat: beat("allocator", true),
        };
        supervisor.start_with(allocator, |a| a.beat.clone(), critical, &self.stop);
        let gate = Gate {
            seal: Seal {
                env: config.mode.letter(),
                uid: self.reached.account.uid.clone(),
                install_epoch,
                ids: Arc::clone(&self.ids),
                start_run: self.start_run,
            },
            commands: commands_rx,
            cancels: cancels_tx.clone(),
            limits: config.risk.clone(),
            protecting: protecting(config),
            tempo: UnwindTiming::default(),
            switch: switch.clone(),
            clock: clock.clone(),
            journal: journal.clone(),
            batches: intents_rx,
            market: market.clone(),
            account: account.clone(),
            orders: orders.clone(),
            readiness: readiness.clone(),
            read_account,
            verdicts: verdicts_tx,
            restrictions: restrictions_tx,
            shields: shields_tx,
            levels,
            memory,
            in_flight: Vec::new(),
            work: GateWork::default(),
            beat: beat("gate", true),
        };
        supervisor.start_with(gate, |a| a.beat.clone(), critical, &self.stop);
        let executor = Executor {
            line: Arc::new(self.line()),
            permission: permission.clone(),
            clock: clock.clone(),
            journal: journal.clone(),
            expiry: config.venue.order_expiry,
            decision_age: config.risk.ms(Rule::DecisionAge),
            verdicts: verdicts_rx,
            cancels: cancels_rx,
            market: market.clone(),
            orders: orders.clone(),
            reports: reports_tx,
            beat: beat("executor", true),
        };
        supervisor.start_with(executor, |a| a.beat.clone(), critical, &self.stop);
        let wire = VenueWire {
            venue: self.reached.venue.clone(),
            ws: self.reached.ws.clone(),
            stream: self.stream(),
        };
        let tracker = Tracker {
            wire,
            clock: clock.clone(),
            ids: Arc::clone(&self.ids),
            journal: journal.clone(),
            reconciler,
            reports: reports_rx,
            asks: truth_rx,
            account: account.clone(),
            market: market.clone(),
            view: orders_tx,
            readiness: readiness_tx,
            nudge: nudge_tx,
            reload: {
                let dir = dir.to_owned();
                Arc::new(move || {
                    Reader::open(&dir)
                        .and_then(|reader| reader.opened())
                        .map_err(|error| error.to_string())
                })
            },
            beat: beat("tracker", true),
        };
        supervisor.start_with(tracker, |a| a.beat.clone(), critical, &self.stop);
        if let Some((after, every)) = config.truth.deadman {
            let deadman = DeadMan {
                line: Trading::over(self.reached.venue.clone()),
                permission: permission.clone(),
                clock: clock.clone(),
                pulse: self.pulse.clone(),
                after,
                every,
                patience: config.supervision.freeze / 2,
                commands: commands_tx.clone(),
                beat: beat("deadman", false),
            };
            supervisor.start_with(deadman, |a| a.beat.clone(), restartable, &self.stop);
        }
        if self.tap.is_some() {
            let listener = Listener {
                ws: self.reached.ws.clone(),
                stream: self.stream(),
                signer: self.reached.signer.clone(),
                clock: clock.clone(),
                instruments: if paper {
                    Vec::new()
                } else {
                    self.instruments.clone()
                },
                beat: beat("tape", false),
            };
            supervisor.start_with(listener, |a| a.beat.clone(), restartable, &self.stop);
        }
        let kill = KillWatch {
            dir: dir.to_owned(),
            commands: commands_tx.clone(),
            usr1: self.usr1.lock().ok().and_then(|mut usr1| usr1.take()),
            seen: killed,
            beat: beat("kill", false),
        };
        supervisor.start_with(kill, |a| a.beat.clone(), restartable, &self.stop);
        let hourly = Hourly {
            preflight: Preflight {
                shields: Some(shields.clone()),
                ..self.preflight.clone()
            },
            commands: commands_tx.clone(),
            asks: preflight_rx,
            every: config.sync.preflight,
            beat: beat("preflight", false),
        };
        supervisor.start_with(hourly, |a| a.beat.clone(), restartable, &self.stop);
        let control = control::Control {
            door: self.door.clone(),
            shared: control::Shared {
                mode: config.mode.to_string(),
                uid: self.reached.account.uid.clone(),
                state_dir: dir.to_owned(),
                started: self.began,
                clock,
                permission,
                trading_off_by: config.trading_off_by.clone(),
                account_age_max: config.risk.ms(Rule::AccountAge),
                pulse: self.pulse.clone(),
                market: market.clone(),
                account: account.clone(),
                orders,
                sync: sync_tx,
                truth: truth_tx,
                commands: commands_tx,
                preflight: preflight_tx,
                prompts,
                shields,
                cancels: cancels_tx,
                ids: Arc::clone(&self.ids),
                journal,
            },
            beat: beat("control", false),
        };
        supervisor.start_with(control, |a| a.beat.clone(), restartable, &self.stop);
        if let Some(embedded) = &self.reached.embedded {
            let watch = ExchangeWatch {
                ended: embedded.stop.clone(),
                market_ends: embedded.engine.market_ends(),
                clock: self.clock().clone(),
                beat: beat("exchange", true),
            };
            supervisor.start_with(watch, |a| a.beat.clone(), critical, &self.stop);
            if let Some(source) = &embedded.source {
                let feed = PaperFeed {
                    source: source.venue.clone(),
                    ws: config.venue.ws_url.clone(),
                    stream: self.stream(),
                    engine: embedded.engine.clone(),
                    instruments: source.instruments.clone(),
                    bars: config.bars(),
                    history_bars: config.history_bars + FEED_SPARE_BARS,
                    closed: BTreeMap::new(),
                    beat: beat("feed", false),
                };
                supervisor.start_with(feed, |a| a.beat.clone(), restartable, &self.stop);
            }
        }
        Ok((
            supervisor,
            Views {
                market,
                account,
                readiness,
                restrictions,
            },
        ))
    }

    fn line(&self) -> VenueLine {
        let socket = (self.config.venue.order_transport == OrderTransport::WebSocket).then(|| {
            let config = StreamConfig {
                url: format!("{}/private", self.reached.ws),
                signer: Some(self.reached.signer.clone()),
                ..self.stream()
            };
            OrderSocket::open(
                config,
                self.clock().clone(),
                self.config.venue.request_timeout,
            )
        });
        VenueLine {
            rest: Trading::over(self.reached.venue.clone()),
            socket,
        }
    }
}

/// Sleeve that closes retired positions: at once, up to the collar from the touch, again if
/// something is left.
const RETIRED: SleeveSettings = SleeveSettings {
    weight: rust_decimal::Decimal::ZERO,
    instruments: Vec::new(),
    execution: WorkingPolicy::IocLimit {
        collar: Bps(50),
        tries: 3,
    },
};

/// Returns reconciliation's timings at this speed of the venue's clock.
fn patience(config: &Config, clock: &Clock) -> ReconcileTiming {
    let wall = |span: Ms| Ms(i64::try_from(clock.wall_span(span).as_millis()).unwrap_or(i64::MAX));
    let truth = config.truth.clone();
    ReconcileTiming {
        orders_every: wall(config.sync.orders),
        ask_at: truth.ask_at,
        ask_every: truth.ask_every,
        absent_after: truth.absent_after,
        passes_apart: truth.passes_apart,
        unknown_max: truth.unknown_max,
        unknown_instruments_max: truth.unknown_instruments_max,
        rounds_max: truth.rounds_max,
        rival_max: truth.rival_max,
        ahead_max: ahead_limit(config.time_ahead, clock),
        cash_tolerance: truth.cash_tolerance,
    }
}

fn protecting(config: &Config) -> Protecting {
    let unprotected_max =
        Ms(i64::try_from(config.protection.unprotected_max.as_millis()).unwrap_or(i64::MAX));
    let settings = &config.protection;
    Protecting {
        stop_default: settings.stop_default,
        unprotected_max,
        foreign: settings.foreign,
    }
}
