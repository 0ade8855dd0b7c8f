//! Speed, as ratios and percentiles of one run: `cargo bench`. Nothing here asserts a time.
//!
//! 1. frame → parsed → decision → allocation → gate → signed request bytes, without the disk
//! 2. a durable intent against a raw 4 KiB append + fdatasync on the same disk
//! 3. candle rows into the store
//! 4. start to ready of the release binary
//! 5. resident memory of the daemon, the exchange being its own process

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::sized;

use alpha_arena::allocation::{Ids, SleeveSettings, World, allocate};
use alpha_arena::decision::{Assignment, InstSnapshot, Snapshot, StrategyBoard};
use alpha_arena::domain::equity::{Believed, marked};
use alpha_arena::domain::record::{Allocation, Proposal, Record, RunKind};
use alpha_arena::domain::view::InstMarket;
use alpha_arena::domain::*;
use alpha_arena::exchange::market::SimMarket;
use alpha_arena::risk::{Recent, View, check};
use alpha_arena::runtime::{Pulse, RunIds};
use alpha_arena::store::{Research, Stamp, Writer};
use alpha_arena::venue::{OrderTransportKind, Secrets, Signer, create_body, parse_candles};
use rust_decimal::Decimal;

const BIN: &str = env!("CARGO_BIN_EXE_alpha-arena");

fn main() {
    // `cargo test --benches` and tools that list benches pass flags; there is one thing to run.
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return;
    }
    let dir = std::env::temp_dir().join(format!("alpha-arena-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    pipeline();
    durable_intent(&dir);
    candle_rows(&dir);
    start_to_ready(&dir);
    memory(&dir);
    std::fs::remove_dir_all(&dir).ok();
}

/// p50 and p99 in microseconds.
fn percentiles(mut samples: Vec<Duration>) -> (f64, f64) {
    samples.sort_unstable();
    let at =
        |share: f64| samples[((samples.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
    (at(0.50), at(0.99))
}

fn assignments(insts: &[InstId]) -> Vec<Assignment> {
    ["sma_cross", "rsi_reversion", "donchian"]
        .into_iter()
        .map(|name| {
            let spec = alpha_arena::strategy::find(name).unwrap();
            Assignment {
                contender: name.into(),
                strategy: spec,
                params: spec
                    .params
                    .iter()
                    .map(|p| (p.name.to_owned(), p.default))
                    .collect(),
                instruments: insts.to_vec(),
                bar: Bar::S1,
            }
        })
        .collect()
}

fn pipeline() {
    let market = SimMarket::new(1);
    let listed = market.get("BTC-USDT-SWAP").unwrap();
    let inst = Arc::new(listed.listing.inst.clone());
    let raw = listed.candles(
        Bar::S1,
        1_780_000_000,
        1_780_000_000 + sized(12_000, 4_000) as i64,
    );
    let candles: Vec<Candle> = raw.iter().map(|r| listed.candle(r)).collect();
    let (past, future) = candles.split_at(2000);
    let frames: Vec<String> = future
        .iter()
        .map(|c| {
            format!(
                r#"[["{}","{}","{}","{}","{}","{}","0","0","1"]]"#,
                c.ts.0, c.open, c.high, c.low, c.close, c.volume
            )
        })
        .collect();
    let mut view = MarketView::default();
    let shown = InstMarket {
        instrument: Arc::clone(&inst),
        quote: None,
        mark: None,
        series: std::collections::BTreeMap::from([(Bar::S1, Series::new(Bar::S1, past.to_vec()))]),
    };
    view.insts.insert(inst.id.clone(), shown);
    let assignments = assignments(std::slice::from_ref(&inst.id));
    let sleeves: BTreeMap<ContenderId, SleeveSettings> = assignments
        .iter()
        .map(|s| {
            (
                s.contender.clone(),
                SleeveSettings {
                    weight: Decimal::new(2, 1),
                    instruments: vec![inst.id.clone()],
                    execution: WorkingPolicy::IocLimit {
                        collar: Bps(5),
                        tries: 1,
                    },
                },
            )
        })
        .collect();
    let retired = SleeveSettings {
        weight: Decimal::ZERO,
        instruments: Vec::new(),
        execution: WorkingPolicy::Market { slippage: None },
    };
    let mut board = StrategyBoard::set(&assignments, &view).0;
    let mut account = AccountView {
        other_bills: BTreeMap::new(),
        transfers: BTreeMap::new(),
        funding: BTreeMap::new(),
        as_of: past[1999].ts,
        equity: Usd(Decimal::from(100_000)),
        available: Usd(Decimal::from(100_000)),
        balances: BTreeMap::new(),
        positions: BTreeMap::new(),
        unreadable: BTreeMap::new(),
    };
    let limits = Limits::widest();
    let (mut book, restrictions, recent) = (
        EquityBook::default(),
        Restrictions::default(),
        Recent::default(),
    );
    book.observe(&account);
    let signer = Signer::new(Secrets {
        api_key: "k".into(),
        secret: "s".into(),
        passphrase: "p".into(),
    });
    let ids = Ids {
        env: 's',
        uid: "1".into(),
        install_epoch: "bench".into(),
    };
    let (run_ids, orders, nobody) = (RunIds::seeded(1), OrdersView::default(), BTreeMap::new());
    let mut samples = Vec::with_capacity(frames.len());
    let mut bytes = 0usize;
    let mut requests = 0usize;
    for frame in &frames {
        let began = Instant::now();
        let (candle, _) = parse_candles(frame).unwrap()[0];
        assert!(board.on_bar(&inst.id, Bar::S1, candle));
        let now = candle.ts.plus(Ms(1001));
        account.as_of = now;
        let tick = inst.tick.0;
        let quote = Quote {
            bid: Price(candle.close.0 - tick),
            bid_qty: Qty(Decimal::ONE),
            ask: Price(candle.close.0 + tick),
            ask_qty: Qty(Decimal::ONE),
            last: candle.close,
            at: now,
        };
        let shown = InstSnapshot {
            instrument: Arc::clone(&inst),
            bar: Some(candle),
            longer: Default::default(),
            quote: Some(quote),
        };
        let snapshot = Snapshot::freeze(
            now,
            (Bar::S1, candle.ts),
            BTreeMap::from([(inst.id.clone(), shown)]),
            &account,
            &orders.holdings,
        );
        bytes += snapshot.canonical().len();
        let proposals = board.propose((snapshot.bar, snapshot.bar_ts));
        let world = World {
            run_id: run_ids.next(now),
            snapshot: &snapshot,
            sleeves: &sleeves,
            retired: &retired,
            orders: &orders,
            on_the_way: &nobody,
            ids: &ids,
            no_trade_band: Decimal::ZERO,
            reserve: Decimal::ZERO,
            stop_default: Decimal::new(5, 2),
        };
        if let Some(shown) = view.insts.get_mut(&inst.id) {
            (shown.quote, shown.mark) = (Some(quote), Some((candle.close, now)));
        }
        for intent in allocate(&world, &proposals).intents {
            let gate = View {
                now,
                instrument: &inst,
                market: &view,
                account: Some(&account),
                equity: Some(marked(
                    &account,
                    &view,
                    &Believed {
                        now,
                        age: Ms(5000),
                        jump: Decimal::ONE,
                    },
                )),
                book: &book,
                orders: &orders,
                readiness: &Readiness::Ready,
                restrictions: &restrictions,
                recent: &recent,
                in_flight: &[],
            };
            let approved = check(Arc::new(intent), &gate, &limits).expect("within all limits");
            let body = create_body(approved.intent(), &inst, OrderTransportKind::Rest)
                .unwrap()
                .to_string();
            bytes += signer
                .headers(now, "POST", "/api/v5/trade/order", &body)
                .signature
                .len()
                + body.len();
            requests += 1;
        }
        samples.push(began.elapsed());
    }
    let (p50, p99) = percentiles(samples);
    println!(
        "1. frame to request bytes ({} frames, 3 contenders, {requests} requests, {bytes} bytes): p50 {p50:.1} µs, p99 {p99:.1} µs (aims 30, 150)",
        frames.len()
    );
}

fn durable_intent(dir: &std::path::Path) {
    let n = sized(1000, 100);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (ours, raw) = runtime.block_on(async {
        let stamp = Stamp {
            mode: "sim".into(),
            uid: "1".into(),
        };
        let (writer, journal) = Writer::open(dir, &stamp, "bench", 0).unwrap();
        let mut guard = writer.start(Pulse::default().beat("writer", true));
        let (run_id, at) = (RunIds::seeded(1).next(Ms(1)), Ms(1));
        let (contender, inst) = (ContenderId::from("c"), InstId::from("BTC-USDT"));
        journal
            .post(Record::Run {
                run_id,
                kind: RunKind::Cycle,
                trigger: "bench".into(),
                at,
                caused_by: None,
            })
            .await
            .unwrap();
        journal
            .post(Record::Snapshot {
                run_id,
                as_of: at,
                body: "{}".into(),
            })
            .await
            .unwrap();
        let proposal = Proposal {
            contender: contender.clone(),
            inst: inst.clone(),
            target: None,
            stop: None,
            reason: String::new(),
            good_for: None,
        };
        journal
            .post(Record::Decisions {
                run_id,
                at,
                proposals: vec![proposal],
            })
            .await
            .unwrap();
        let row = Allocation {
            contender: contender.clone(),
            inst: inst.clone(),
            sleeve: Usd::ZERO,
            weight: Decimal::ONE,
            current: Qty::ZERO,
            target: Qty::ZERO,
            cl_ord_id: None,
            reason: String::new(),
        };
        journal
            .append(Record::Allocations {
                run_id,
                at,
                rows: vec![row],
            })
            .await
            .unwrap();
        let mut file = std::fs::File::create(dir.join("raw")).unwrap();
        let block = vec![7u8; 4096];
        let (mut ours, mut raw) = (Vec::with_capacity(n), Vec::with_capacity(n));
        for i in 0..n {
            let intent = Arc::new(OrderIntent {
                cl_ord_id: ClOrdId::new(format!("as{i:026}")),
                run_id,
                contender: contender.clone(),
                inst: inst.clone(),
                side: Side::Buy,
                ord_type: OrdType::Ioc,
                qty: Qty(Decimal::ONE),
                limit: Some(Price(Decimal::from(88_000))),
                purpose: Purpose::Entry,
                leg: 0,
                attempt: 0,
                reduce_only: false,
                stop: None,
                reference: Price(Decimal::from(88_000)),
                decided_at: at,
                ttl: None,
                slippage: None,
                moves: None,
                sleeve: Usd::ZERO,
                weight: Decimal::ONE,
                good_for: None,
            });
            // In turn, so that both meet the same disk.
            let began = Instant::now();
            journal
                .intend(intent, Ms(5001), at)
                .await
                .unwrap()
                .expect("a fresh id");
            ours.push(began.elapsed());
            let began = Instant::now();
            file.write_all(&block).unwrap();
            file.sync_data().unwrap();
            raw.push(began.elapsed());
        }
        drop(journal);
        guard.ended().await.unwrap();
        (percentiles(ours), percentiles(raw))
    });
    println!(
        "2. durable intent: p50 {:.0} µs, p99 {:.0} µs; raw 4 KiB append + fdatasync: p50 {:.0} µs, p99 {:.0} µs; ratio of p50 {:.2} (aim 1.5)",
        ours.0,
        ours.1,
        raw.0,
        raw.1,
        ours.0 / raw.0
    );
}

fn candle_rows(dir: &std::path::Path) {
    let market = SimMarket::new(1);
    let listed = market.get("BTC-USDT-SWAP").unwrap();
    let from = 1_750_000_020;
    let raw = listed.candles(Bar::M1, from, from + sized(525_600, 50_000) as i64 * 60);
    let candles: Vec<Candle> = raw.iter().map(|r| listed.candle(r)).collect();
    let mut research = Research::open(dir, 0).unwrap();
    let series = research.series(&listed.listing.inst, Bar::M1).unwrap();
    let began = Instant::now();
    for chunk in candles.chunks(65_536) {
        research.put(&series, chunk).unwrap();
    }
    let wrote = began.elapsed().as_secs_f64();
    let began = Instant::now();
    let read = research.read(&series, Ms(0), Ms(i64::MAX)).unwrap().len();
    let rate = |n: usize, seconds: f64| n as f64 / seconds / 1e6;
    println!(
        "3. candle rows into the store: {:.2} M rows/s (aim 1); read back {:.2} M rows/s ({read} rows)",
        rate(candles.len(), wrote),
        rate(read, began.elapsed().as_secs_f64())
    );
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn until_ready(command: &mut Command) -> (Running, Duration) {
    let began = Instant::now();
    let mut child = Running(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let log = BufReader::new(child.0.stderr.take().unwrap());
    let mut lines = log.lines();
    while let Some(Ok(line)) = lines.next() {
        if line.contains("ready: reconciled") {
            let took = began.elapsed();
            // Keep reading, or the daemon would wait for us.
            std::thread::spawn(move || lines.for_each(drop));
            return (child, took);
        }
    }
    panic!("the daemon ended before it was ready");
}

fn start_to_ready(dir: &std::path::Path) {
    let samples: Vec<Duration> = (0..sized(5, 2))
        .map(|i| {
            until_ready(
                Command::new(BIN)
                    .arg("--state-dir")
                    .arg(dir.join(format!("start{i}")))
                    .arg("run"),
            )
            .1
        })
        .collect();
    let (p50, worst) = percentiles(samples);
    println!(
        "4. start to ready, first start on an empty state directory: median {:.0} ms, worst {:.0} ms (must be under 5000)",
        p50 / 1000.0,
        worst / 1000.0
    );
}

fn memory(dir: &std::path::Path) {
    let mut exchange = Command::new(BIN)
        .args(["exchange", "--json", "--speed", "10"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(exchange.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let exchange = Running(exchange);
    let info: serde_json::Value = serde_json::from_str(&line).unwrap();
    let text = |name: &str| info[name].as_str().unwrap().to_owned();
    let mut command = Command::new(BIN);
    command
        .arg("--state-dir")
        .arg(dir.join("memory"))
        .arg("run")
        .envs([
            ("ALPHA_ARENA__VENUE__REST_URL", text("rest")),
            ("ALPHA_ARENA__VENUE__WS_URL", text("ws")),
            ("OKX_API_KEY", text("api_key")),
            ("OKX_SECRET", text("secret")),
            ("OKX_PASSPHRASE", text("passphrase")),
        ]);
    let (daemon, _) = until_ready(&mut command);
    let seconds = sized(30, 2);
    std::thread::sleep(Duration::from_secs(seconds as u64));
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let kib: f64 = status
        .lines()
        .find_map(|l| l.strip_prefix("VmRSS:"))
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap();
    println!(
        "5. resident memory after {seconds} s of trading at 10 times the market's pace: {:.1} MiB (aim 40)",
        kib / 1024.0
    );
    drop((daemon, exchange));
}
