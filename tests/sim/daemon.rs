//! One life of the daemon in a simulation: the real actors over the simulated venue and the
//! database in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alpha_arena::allocation::{Allocator, Ids, SleeveSettings};
use alpha_arena::decision::{Cycle, InstSnapshot, Snapshot};
use alpha_arena::domain::record::{Proposal, Record, RunKind};
use alpha_arena::domain::view::InstMarket;
use alpha_arena::domain::{
    AccountView, Bar, Bps, BreachAction, ContenderId, InstId, InstKind, Instrument, Limits,
    MarketView, Ms, OrdersView, Price, Qty, Quote, Readiness, Release, Restrictions, Rule, RunId,
    Then, TradingState, WorkingPolicy,
};
use alpha_arena::execution::Executor;
use alpha_arena::risk::{
    Command, Gate, GateWork, Memory, PermissionWatch, ProtectForeign, Protecting, Seal,
    TradingSwitch, UnwindTiming,
};
use alpha_arena::runtime::{Actor, Clock, Pulse, RunIds, Shutdown, StageError};
use alpha_arena::store::{Journal, MemoryStore};
use alpha_arena::tracking::{
    AccountSync, BillBook, ReconcileTiming, Reconciler, Tracker, TruthAsk,
};
use rust_decimal::Decimal;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::world::{Chance, Gatehouse, Venue};

/// Instruments traded.
pub const INSTS: [&str; 4] = ["BTC-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USDT", "SOL-USDT"];

/// A daemon that lives.
pub struct Daemon {
    tasks: JoinSet<(&'static str, Result<(), StageError>)>,
    pub view: watch::Receiver<OrdersView>,
    /// Requests from a person to the tracker.
    pub truth: mpsc::Sender<TruthAsk>,
    pub readiness: watch::Receiver<Readiness>,
    pub switch: TradingSwitch,
    pub trades: watch::Sender<bool>,
    pub commands: mpsc::Sender<Command>,
    pub restrictions: watch::Receiver<Restrictions>,
    /// Decisions that are not whims.
    pub script: mpsc::Sender<Vec<Proposal>>,
}

pub fn instruments(venue: &Venue) -> BTreeMap<InstId, Arc<Instrument>> {
    let world = venue.lock();
    let of = |name: &str| {
        Arc::new(
            world
                .exchange
                .market
                .get(name)
                .unwrap()
                .listing
                .inst
                .clone(),
        )
    };
    INSTS
        .iter()
        .map(|name| (InstId::from(*name), of(name)))
        .collect()
}

pub fn patience() -> ReconcileTiming {
    ReconcileTiming {
        orders_every: Ms::secs(10),
        ask_at: vec![Ms(300), Ms(600), Ms(1200), Ms(2400)],
        ask_every: Ms(2500),
        absent_after: Ms::secs(15),
        passes_apart: Ms::secs(5),
        unknown_max: Ms::secs(600),
        unknown_instruments_max: 1,
        rounds_max: 40,
        rival_max: Ms::secs(60),
        ahead_max: Ms(5000),
        cash_tolerance: Decimal::new(1, 6),
    }
}

/// As wide as the bounds allow, and nothing latches: what is tried here is the truth of orders.
pub fn limits() -> Limits {
    Rule::ALL.iter().fold(Limits::widest(), |limits, rule| {
        limits.leading_to(*rule, BreachAction::Block, Release::Manual)
    })
}

fn sleeves() -> BTreeMap<ContenderId, SleeveSettings> {
    let collar = Bps(3);
    let rest = |then| WorkingPolicy::PostOnly {
        ttl: Ms(3000),
        then,
        collar,
        tries: 3,
    };
    [
        ("ioc", WorkingPolicy::IocLimit { collar, tries: 3 }),
        ("follow", rest(Then::Reprice)),
        ("cross", rest(Then::Cross)),
        ("market", WorkingPolicy::Market { slippage: None }),
    ]
    .map(|(name, execution)| {
        let instruments = INSTS.iter().map(|inst| InstId::from(*inst)).collect();
        (
            ContenderId::from(name),
            SleeveSettings {
                weight: Decimal::new(2, 1),
                instruments,
                execution,
            },
        )
    })
    .into()
}

impl Daemon {
    /// The ordinary start, which is also the recovery.
    /// `resume`: a person has ended every restriction meanwhile.
    pub async fn start(
        venue: &Venue,
        store: &MemoryStore,
        clock: &Clock,
        seed: u64,
        (enabled, resume): (bool, bool),
    ) -> Self {
        let mut tasks = JoinSet::new();
        let (journal, writer) = store.journal().unwrap();
        let mut disk = Chance::new(seed ^ 77);
        let slow = disk.hits(10);
        tasks.spawn(async move {
            let result = writer
                .serve(move || {
                    if slow {
                        disk.ms(20, 200)
                    } else {
                        disk.ms(1, 15)
                    }
                })
                .await;
            ("writer", result.map_err(StageError::Store))
        });
        let ids = Arc::new(RunIds::seeded(seed));
        let start_run = ids.next(clock.now());
        let at = clock.now();
        let run = Record::Run {
            run_id: start_run,
            kind: RunKind::Start,
            trigger: "sim".into(),
            at,
            caused_by: None,
        };
        let opened = store.opened().unwrap();
        let instruments = instruments(venue);
        journal.append(run).await.unwrap();
        journal
            .append(Record::Instruments {
                rows: instruments.values().cloned().collect(),
                at,
            })
            .await
            .unwrap();
        let install_epoch = opened.install_epoch.clone();
        let bills = BillBook::of(&opened);
        let mut memory = Memory::of(&opened, at);
        if resume {
            for restriction in std::mem::take(&mut memory.restrictions).0 {
                let (to, by) = (TradingState::Active, "resume".to_owned());
                let ended = Record::Released {
                    restriction,
                    to,
                    by,
                    run_id: start_run,
                    at,
                };
                journal.append(ended).await.unwrap();
            }
        }
        let (reconciler, restored) =
            Reconciler::open(opened, instruments.clone(), 's', start_run, patience(), at);
        for record in restored {
            journal.append(record).await.unwrap();
        }
        let switch = TradingSwitch::new(enabled);
        let (cycles_tx, cycles) = mpsc::channel(8);
        let (intents_tx, intents) = mpsc::channel(8);
        let (verdicts_tx, verdicts) = mpsc::channel(256);
        let (reports_tx, reports) = mpsc::channel(4096);
        let (asks_tx, asks) = mpsc::channel(8);
        let (truth_tx, truth) = mpsc::channel(8);
        let truth_held = truth_tx.clone();
        let (commands_tx, commands) = mpsc::channel(8);
        let (cancels_tx, cancels) = mpsc::channel(64);
        let (market_tx, market) = watch::channel(MarketView::default());
        let (account_tx, account) = watch::channel(None);
        let (view_tx, view) = watch::channel(OrdersView::default());
        let (readiness_tx, readiness) = watch::channel(Readiness::Reconciling("starting".into()));
        let (nudge_tx, nudge) = watch::channel(0);
        let (restrictions_tx, restrictions) = watch::channel(Restrictions::default());
        let wanted = Arc::new(Notify::new());
        let (trades, trading) = watch::channel(true);
        let (script, scripts) = mpsc::channel(8);
        let pulse = Pulse::default();
        let line = Arc::new(venue.clone());
        let seal = Seal {
            env: 's',
            uid: "1".into(),
            install_epoch: install_epoch.clone(),
            ids: Arc::clone(&ids),
            start_run,
        };
        let tracker = Tracker {
            wire: venue.clone(),
            clock: clock.clone(),
            ids: Arc::clone(&ids),
            journal: journal.clone(),
            reconciler,
            reports,
            asks: truth,
            account: account.clone(),
            market: market.clone(),
            view: view_tx,
            readiness: readiness_tx,
            nudge: nudge_tx,
            reload: {
                let store = store.clone();
                Arc::new(move || store.opened().map_err(|error| error.to_string()))
            },
            beat: pulse.beat("tracker", true),
        };
        let executor = Executor {
            line,
            permission: PermissionWatch {
                switch: switch.clone(),
                readiness: readiness.clone(),
                restrictions: restrictions.clone(),
            },
            clock: clock.clone(),
            journal: journal.clone(),
            expiry: Ms::secs(5),
            decision_age: limits().ms(Rule::DecisionAge),
            verdicts,
            cancels,
            market: market.clone(),
            orders: view.clone(),
            reports: reports_tx,
            beat: pulse.beat("executor", true),
        };
        let gate = Gate {
            seal,
            commands,
            cancels: cancels_tx,
            limits: limits(),
            protecting: Protecting {
                stop_default: Decimal::new(5, 2),
                unprotected_max: Ms::secs(10),
                foreign: ProtectForeign::Protect,
            },
            tempo: UnwindTiming::default(),
            switch: switch.clone(),
            clock: clock.clone(),
            journal: journal.clone(),
            batches: intents,
            market: market.clone(),
            account: account.clone(),
            orders: view.clone(),
            readiness: readiness.clone(),
            read_account: Arc::clone(&wanted),
            verdicts: verdicts_tx,
            restrictions: restrictions_tx,
            shields: watch::channel(BTreeMap::new()).0,
            levels: watch::channel(BTreeMap::new()).1,
            memory,
            in_flight: Vec::new(),
            work: GateWork::default(),
            beat: pulse.beat("gate", true),
        };
        let execution = WorkingPolicy::Market { slippage: None };
        let allocator = Allocator {
            sleeves: sleeves(),
            retired: SleeveSettings {
                weight: Decimal::ZERO,
                instruments: Vec::new(),
                execution,
            },
            clock: clock.clone(),
            market: market.clone(),
            ids: Ids {
                env: 's',
                uid: "1".into(),
                install_epoch,
            },
            no_trade_band: Decimal::new(1, 2),
            reserve: Decimal::ZERO,
            stop_default: Decimal::new(5, 2),
            journal: journal.clone(),
            cycles,
            orders: view.clone(),
            intents: intents_tx,
            beat: pulse.beat("allocator", true),
        };
        let accounts = AccountSync {
            venue: venue.clone(),
            clock: clock.clone(),
            ids: Arc::clone(&ids),
            journal: journal.clone(),
            every: Ms::secs(30),
            bills,
            asks,
            nudge,
            wanted,
            view: account_tx,
            beat: pulse.beat("account", false),
        };
        act(&mut tasks, "tracker", tracker);
        act(&mut tasks, "executor", executor);
        act(&mut tasks, "gate", gate);
        act(&mut tasks, "allocator", allocator);
        act(&mut tasks, "account", accounts);
        let trader = Trader {
            venue: venue.clone(),
            clock: clock.clone(),
            ids,
            journal,
            start_run,
            instruments,
            market: market_tx,
            account: account.clone(),
            orders: view.clone(),
            cycles: cycles_tx,
            trading,
            scripts,
            chance: Chance::new(seed ^ 1234),
        };
        tasks.spawn(async move {
            // Kept open, as a control socket would.
            let people = (asks_tx, truth_held);
            let result = trader.run().await;
            drop(people);
            ("trader", result)
        });
        let gate = Gatehouse {
            readiness: readiness.clone(),
            switch: switch.clone(),
            restrictions: restrictions.clone(),
            shut: None,
        };
        venue.lock().gate = Some(gate);
        Self {
            tasks,
            view,
            truth: truth_tx,
            readiness,
            switch,
            trades,
            commands: commands_tx,
            restrictions,
            script,
        }
    }

    /// Returns the actors that have ended by themselves, if any. None may.
    pub fn ended(&mut self) -> Option<String> {
        let mut ended = Vec::new();
        while let Some(end) = self.tasks.try_join_next() {
            ended.push(match end {
                Ok((name, result)) => format!("{name} ended by itself: {result:?}"),
                Err(error) => format!("an actor panicked: {error}"),
            });
        }
        (!ended.is_empty()).then(|| ended.join("; "))
    }

    /// kill -9: nothing is finished, nothing is flushed.
    pub async fn kill(mut self, venue: &Venue) {
        self.tasks.abort_all();
        while self.tasks.join_next().await.is_some() {}
        venue.deaf();
        venue.lock().gate = None;
    }
}

fn act(
    tasks: &mut JoinSet<(&'static str, Result<(), StageError>)>,
    name: &'static str,
    mut actor: impl Actor,
) {
    tasks.spawn(async move { (name, actor.run(Shutdown::new()).await) });
}

/// Stands for market data and decisions: quotes every half second, whims every few.
struct Trader {
    venue: Venue,
    clock: Clock,
    ids: Arc<RunIds>,
    journal: Journal,
    start_run: RunId,
    instruments: BTreeMap<InstId, Arc<Instrument>>,
    market: watch::Sender<MarketView>,
    account: watch::Receiver<Option<Arc<AccountView>>>,
    orders: watch::Receiver<OrdersView>,
    cycles: mpsc::Sender<Cycle>,
    trading: watch::Receiver<bool>,
    scripts: mpsc::Receiver<Vec<Proposal>>,
    chance: Chance,
}

impl Trader {
    async fn run(mut self) -> Result<(), StageError> {
        let mut wait = 4;
        loop {
            self.market.send_replace(self.look());
            wait -= 1;
            if wait == 0 {
                wait = 2 + self.chance.below(5);
                if *self.trading.borrow() {
                    let whims = self.whims();
                    self.decide(whims).await?;
                }
            }
            while let Ok(script) = self.scripts.try_recv() {
                self.decide(script).await?;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    fn look(&self) -> MarketView {
        let world = self.venue.lock();
        let mut view = MarketView {
            live: true,
            ..MarketView::default()
        };
        for (id, inst) in &self.instruments {
            let book = world.exchange.book(id.as_str());
            let (Some(bid), Some(ask)) = (book.bids.first(), book.asks.first()) else {
                continue;
            };
            let quote = Quote {
                bid: Price(bid.price),
                bid_qty: Qty(bid.size),
                ask: Price(ask.price),
                ask_qty: Qty(ask.size),
                last: Price(world.exchange.last(id.as_str())),
                at: self.clock.now(),
            };
            let market = InstMarket {
                instrument: Arc::clone(inst),
                quote: Some(quote),
                mark: Some((quote.last, quote.at)),
                series: BTreeMap::new(),
            };
            view.insts.insert(id.clone(), market);
        }
        view
    }

    fn whims(&mut self) -> Vec<Proposal> {
        let market = self.frozen();
        let mut proposals = Vec::new();
        for contender in sleeves().into_keys() {
            for (id, shown) in &market {
                if !self.chance.hits(12) {
                    continue;
                }
                let target = [-10_000, -5_000, 0, 0, 4_000, 10_000][self.chance.below(6) as usize];
                let near = shown.quote.map(|q| q.mid().0).unwrap_or_default();
                // A stop so near that some of them trigger.
                let away = Decimal::ONE + Decimal::new(if target > 0 { -15 } else { 15 }, 4);
                let swap = shown.instrument.kind == InstKind::Swap;
                let stop = (swap && target != 0 && self.chance.hits(60))
                    .then(|| shown.instrument.floor_tick(Price(near * away)));
                proposals.push(Proposal {
                    contender: contender.clone(),
                    inst: id.clone(),
                    target: Some(Bps(target)),
                    stop,
                    reason: "whim".into(),
                    good_for: None,
                });
            }
        }
        proposals
    }

    fn frozen(&self) -> BTreeMap<InstId, InstSnapshot> {
        let market = self.market.borrow();
        let shown = |(id, m): (&InstId, &InstMarket)| {
            let instrument = Arc::clone(&m.instrument);
            (
                id.clone(),
                InstSnapshot {
                    instrument,
                    bar: None,
                    longer: BTreeMap::new(),
                    quote: m.quote,
                },
            )
        };
        market.insts.iter().map(shown).collect()
    }

    async fn decide(&mut self, proposals: Vec<Proposal>) -> Result<(), StageError> {
        let Some(account) = self.account.borrow().clone() else {
            return Ok(());
        };
        let now = self.clock.now();
        self.venue.lock().count("cycles");
        let run_id = self.ids.next(now);
        let market = self.frozen();
        let holdings = self.orders.borrow().holdings.clone();
        let snapshot = Arc::new(Snapshot::freeze(
            now,
            (Bar::S1, now),
            market,
            &account,
            &holdings,
        ));
        let run = Record::Run {
            run_id,
            kind: RunKind::Cycle,
            trigger: "whim".into(),
            at: now,
            caused_by: Some(self.start_run),
        };
        self.journal.post(run).await?;
        self.journal
            .post(Record::Snapshot {
                run_id,
                as_of: now,
                body: "{}".into(),
            })
            .await?;
        self.journal
            .post(Record::Decisions {
                run_id,
                at: now,
                proposals: proposals.clone(),
            })
            .await?;
        self.cycles
            .send(Cycle {
                run_id,
                snapshot,
                proposals,
            })
            .await
            .map_err(|_| StageError::Gone("the allocator"))
    }
}
