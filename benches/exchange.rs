//! The embedded exchange under load, and what an import does to a run beside it: `cargo bench`.
//!
//! 6. orders and market messages per second of one core of the exchange's own time
//! 7. from a bar's close to its decision, with and without imports into the same state directory
//!
//! Nothing here asserts a time.

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::sized;

use alpha_arena::domain::Ms;
use alpha_arena::venue::{Secrets, Signer};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

const BIN: &str = env!("CARGO_BIN_EXE_alpha-arena");
/// Fast enough that no rate limit of the venue's clock is met.
const SPEED: &str = "1000";

fn main() {
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return;
    }
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(orders());
    runtime.block_on(messages());
    import_beside_a_run();
}

struct Running {
    child: Child,
    info: Value,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Running {
    fn exchange() -> Self {
        let mut child = Command::new(BIN)
            .args(["exchange", "--json", "--speed", SPEED])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self {
            child,
            info: serde_json::from_str(&line).unwrap(),
        }
    }

    fn text(&self, name: &str) -> &str {
        self.info[name].as_str().unwrap()
    }

    /// Processor seconds it has used (proc_pid_stat(5): fields 14 and 15, in hundredths).
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let after = stat.rsplit(')').next().unwrap();
        let fields: Vec<f64> = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|f| f.parse().unwrap())
            .collect();
        (fields[0] + fields[1]) / 100.0
    }
}

async fn socket(
    exchange: &Running,
    url: &str,
) -> tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>> {
    tokio_tungstenite::connect_async(format!("{}/{url}", exchange.text("ws")))
        .await
        .unwrap()
        .0
}

async fn orders() {
    let batches = sized(1000, 50);
    let exchange = Running::exchange();
    let mut socket = socket(&exchange, "private").await;
    let secrets = Secrets {
        api_key: exchange.text("api_key").to_owned().into(),
        secret: exchange.text("secret").to_owned().into(),
        passphrase: exchange.text("passphrase").to_owned().into(),
    };
    // The venue's clock has run ahead; log in by it.
    let clock: Value = reqwest::get(format!("{}/sim/clock", exchange.text("rest")))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    socket
        .send(Message::text(
            Signer::new(secrets).login(Ms(clock["now_ms"].as_i64().unwrap())),
        ))
        .await
        .unwrap();
    let login = socket.next().await.unwrap().unwrap();
    assert!(
        login.to_text().unwrap().contains(r#""code":"0""#),
        "{login}"
    );
    let (began, cpu) = (Instant::now(), exchange.cpu());
    let mut done = 0;
    for n in 0..batches {
        // Far below the market: each is checked, entered, and ends unfilled.
        let place: Vec<Value> = (0..20)
            .map(|i| json!({"instIdCode": 12, "tdMode": "cash", "side": "buy", "ordType": "ioc", "sz": "1", "px": "20.00", "clOrdId": format!("b{n}x{i}")}))
            .collect();
        socket
            .send(Message::text(
                json!({"id": n.to_string(), "op": "batch-orders", "args": place}).to_string(),
            ))
            .await
            .unwrap();
        let reply: Value =
            serde_json::from_str(socket.next().await.unwrap().unwrap().to_text().unwrap()).unwrap();
        done += reply["data"].as_array().map_or(0, Vec::len);
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), exchange.cpu() - cpu);
    println!(
        "6. exchange: {done} orders in batches of 20 over WebSocket, {:.0} orders/s, {:.0} per second of one core",
        done as f64 / wall,
        done as f64 / cpu
    );
}

async fn messages() {
    let wanted = sized(100_000, 5_000);
    let exchange = Running::exchange();
    let mut socket = socket(&exchange, "public").await;
    let insts = [
        "BTC-USDT",
        "ETH-USDT",
        "SOL-USDT",
        "BTC-USDT-SWAP",
        "ETH-USDT-SWAP",
        "SOL-USDT-SWAP",
    ];
    let args: Vec<Value> = insts
        .iter()
        .flat_map(|inst| {
            ["tickers", "trades", "books5", "bbo-tbt"]
                .map(|channel| json!({"channel": channel, "instId": inst}))
        })
        .collect();
    socket
        .send(Message::text(
            json!({"op": "subscribe", "args": args}).to_string(),
        ))
        .await
        .unwrap();
    let (began, cpu) = (Instant::now(), exchange.cpu());
    let (mut heard, mut bytes) = (0, 0);
    while heard < wanted {
        bytes += socket.next().await.unwrap().unwrap().len();
        heard += 1;
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), exchange.cpu() - cpu);
    println!(
        "   exchange: {heard} market messages of {} bytes, {:.0}/s, {:.0} per second of one core",
        bytes / heard,
        heard as f64 / wall,
        heard as f64 / cpu
    );
}

fn import_beside_a_run() {
    let dir = std::env::temp_dir().join(format!("alpha-arena-bench-import-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("big.csv");
    let size = sized(500_000, 20_000);
    let rows: String = (0..size as i64)
        .map(|i| format!("{},100.5,200.5,50.5,101.5,{i}\n", i * 60_000))
        .collect();
    std::fs::write(&file, format!("ts_ms,open,high,low,close,volume\n{rows}")).unwrap();
    let mut child = Command::new(BIN)
        .arg("--state-dir")
        .arg(&dir)
        .args(["run", "--speed", "10"])
        .env("ALPHA_ARENA__DECISION__EVERY_BARS", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
    while !log.next().unwrap().unwrap().contains("ready: reconciled") {}
    let noise = std::thread::spawn(move || {
        log.map_while(Result::ok)
            .filter(|l| l.contains("locked") || l.contains("BUSY"))
            .count()
    });
    let pause = Duration::from_secs(sized(12, 3) as u64);
    std::thread::sleep(pause);
    let alone = mark(&dir);
    let (began, mut imports) = (Instant::now(), 0);
    while began.elapsed() < pause {
        let done = Command::new(BIN)
            .arg("--state-dir")
            .arg(&dir)
            .args(["data", "import", "--json", "--inst", "X-Y"])
            .arg(&file)
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(done.success());
        imports += 1;
    }
    let beside = mark(&dir);
    child.kill().unwrap();
    child.wait().unwrap();
    let busy = noise.join().unwrap();
    let quiet = latencies(&dir, 0, alone);
    let loaded = latencies(&dir, alone, beside);
    println!(
        "7. bar close to decision: p50 {:.2} ms alone, {:.2} ms beside {imports} imports of {size} rows; ratio {:.2}; p99 {:.2} and {:.2} ms; SQLITE_BUSY seen: {busy}",
        quiet.0,
        loaded.0,
        loaded.0 / quiet.0,
        quiet.1,
        loaded.1
    );
    std::fs::remove_dir_all(&dir).ok();
}

/// Venue time of the newest cycle.
fn mark(dir: &std::path::Path) -> i64 {
    let db = rusqlite::Connection::open(dir.join("trading.db")).unwrap();
    db.query_row(
        "SELECT MAX(at_ms) FROM runs WHERE kind = 'cycle'",
        [],
        |row| row.get(0),
    )
    .unwrap()
}

/// p50 and p99 of (decision's time − close of its bar) in wall milliseconds; ten venue seconds are
/// one.
fn latencies(dir: &std::path::Path, from: i64, to: i64) -> (f64, f64) {
    let db = rusqlite::Connection::open(dir.join("trading.db")).unwrap();
    let mut query = db
        .prepare(
            "SELECT at_ms, trigger FROM runs WHERE kind = 'cycle' AND at_ms > ?1 AND at_ms <= ?2",
        )
        .unwrap();
    let rows = query
        .query_map([from, to], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
        })
        .unwrap();
    let mut late: Vec<f64> = rows
        .map(|row| {
            let (at, trigger) = row.unwrap();
            let open: i64 = trigger.rsplit(' ').next().unwrap().parse().unwrap();
            (at - open - 1000) as f64 / 10.0
        })
        .collect();
    late.sort_by(f64::total_cmp);
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}
