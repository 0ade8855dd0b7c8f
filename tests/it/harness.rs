//! Starts the binary and the exchange as processes, waits for conditions, reads what they left.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

#[path = "oracle.rs"]
pub mod oracle;

use oracle::{Facts, judge};

/// The binary under test.
pub const BIN: &str = env!("CARGO_BIN_EXE_alpha-arena");

/// The one limit of every wait: far beyond what a busy machine needs, so that it is reached only by
/// what never comes.
pub const LIMIT: Duration = Duration::from_secs(240);

thread_local! {
    /// Logs of the daemons that this test has started, for whoever waits in vain.
    static LOGS: RefCell<Vec<PathBuf>> = const { RefCell::new(Vec::new()) };
}

/// The last lines of every daemon's log of this test.
fn logs() -> String {
    let last = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!(
            "--- {}\n{}\n",
            path.display(),
            lines[lines.len().saturating_sub(60)..].join("\n")
        )
    };
    LOGS.with_borrow(|logs| logs.iter().map(last).collect())
}

/// Waits until `met` says so; at the limit fails with what was waited for and the logs.
#[track_caller]
pub fn wait_for(what: &str, met: impl FnMut() -> bool) {
    wait_within(LIMIT, what, met);
}

/// The same for what takes its time by its very size.
#[track_caller]
pub fn wait_within(limit: Duration, what: &str, mut met: impl FnMut() -> bool) {
    let began = Instant::now();
    while !met() {
        assert!(
            began.elapsed() < limit,
            "waited {limit:?} in vain for: {what}\n{}",
            logs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a statement counts exactly this many; at the limit fails with what it counts instead
/// and the logs.
#[track_caller]
pub fn wait_for_count(what: &str, dir: &Path, statement: &str, wanted: i64) {
    let began = Instant::now();
    loop {
        let counted = count(dir, statement);
        if counted == wanted {
            return;
        }
        assert!(
            began.elapsed() < LIMIT,
            "waited {LIMIT:?} for {wanted}, counted {counted}: {what}\n{}",
            logs()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// `alpha-arena exchange` as its own process.
pub struct Exchange {
    child: Child,
    pub info: Value,
}

impl Exchange {
    /// Starts one on a free port.
    pub fn start(args: &[&str]) -> Self {
        let mut child = Command::new(BIN)
            .args(["exchange", "--json"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the exchange starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        let info = serde_json::from_str(&line).expect("the first line is JSON");
        Self { child, info }
    }

    /// The exchange goes away, as its machine would.
    #[allow(dead_code)] // for the fault rows
    pub fn end(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    pub fn text(&self, name: &str) -> &str {
        self.info[name].as_str().unwrap()
    }

    /// A plain HTTP request; the body of the answer.
    pub fn http(&self, method: &str, path: &str, body: &str) -> String {
        let host = self.text("rest").trim_start_matches("http://").to_owned();
        let mut socket = TcpStream::connect(&host).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
            .split_once("\r\n\r\n")
            .map(|(_, body)| body.to_owned())
            .unwrap_or_default()
    }

    /// Everything that happened at the exchange.
    pub fn ledger(&self) -> Value {
        serde_json::from_str(&self.http("GET", "/sim/ledger", "")).unwrap()
    }

    /// The environment a daemon needs to trade here.
    pub fn env(&self) -> Vec<(String, String)> {
        [
            ("ALPHA_ARENA__VENUE__REST_URL", self.text("rest")),
            ("ALPHA_ARENA__VENUE__WS_URL", self.text("ws")),
            ("OKX_API_KEY", self.text("api_key")),
            ("OKX_SECRET", self.text("secret")),
            ("OKX_PASSPHRASE", self.text("passphrase")),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .to_vec()
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// No order was ever created twice, and none the database does not know (P1, P2).
#[track_caller]
pub fn assert_creates_are_intents(ledger: &Value, db: &Connection) {
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for create in ledger["creates"].as_array().unwrap() {
        *seen.entry(create["clOrdId"].as_str().unwrap()).or_default() += 1;
    }
    for (id, times) in seen {
        assert_eq!(times, 1, "{id} was created {times} times");
        let known: bool = db
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM orders WHERE cl_ord_id = ?1)",
                [id],
                |row| row.get(0),
            )
            .unwrap();
        assert!(known, "{id} was sent without an intent in the database");
    }
    let unborn: i64 = db
        .query_row(
            "SELECT COUNT(*) FROM orders o WHERE NOT EXISTS
             (SELECT 1 FROM order_lifecycle_events e WHERE e.order_id = o.order_id AND e.from_state IS NULL)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(unborn, 0, "orders without a first event");
}

/// A daemon process with its own state directory.
pub struct Daemon {
    child: Child,
    pub dir: PathBuf,
    log: PathBuf,
    /// Offset at which this process's part of the log begins.
    from: usize,
    /// The exchange it talks to; empty: its own.
    venue: String,
    /// At its end: was each create sent once, and written ahead? Off where a test takes the
    /// database away.
    pub checked: bool,
}

impl Daemon {
    /// Starts `alpha-arena` with these arguments and environment on `dir`.
    pub fn start(dir: &Path, args: &[&str], env: &[(String, String)]) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let log = dir.join("test.log");
        let from = std::fs::read_to_string(&log).map_or(0, |text| text.len());
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = command(dir, args)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the daemon starts");
        LOGS.with_borrow_mut(|logs| {
            if !logs.contains(&log) {
                logs.push(log.clone());
            }
        });
        let venue = env
            .iter()
            .rev()
            .find(|(name, _)| name == "ALPHA_ARENA__VENUE__REST_URL");
        let venue = venue.map(|(_, url)| url.clone()).unwrap_or_default();
        Self {
            child,
            dir: dir.to_owned(),
            log,
            from,
            venue,
            checked: true,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log)
            .unwrap_or_default()
            .split_off(self.from)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line in the log.
    #[track_caller]
    pub fn wait_log(&mut self, words: &str) {
        let began = Instant::now();
        loop {
            if self.log().contains(words) {
                return;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none(),
                "the daemon ended ({ended:?}) before '{words}':\n{}",
                self.log()
            );
            assert!(
                began.elapsed() < LIMIT,
                "waited {LIMIT:?} in vain for '{words}' in:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns the exit status, if the process has ended.
    #[allow(dead_code)] // for the crash matrix
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// kill -9.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and how it ended.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .unwrap()
                .success()
        );
        self.wait_exit()
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                began.elapsed() < LIMIT,
                "it did not end within {LIMIT:?}:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn db(&self) -> Connection {
        open_db(&self.dir)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if self.checked && !std::thread::panicking() {
            check_creates(&self.venue, &self.dir);
        }
    }
}

/// Over every test that trades: no name was created twice, each create is a durable intent, and
/// each was allowed, as an oracle of its own finds in the exchange's books.
fn check_creates(venue: &str, dir: &Path) {
    let own = dir.join("exchange.log").exists();
    let (ledger, rate) = if own || venue.is_empty() {
        (logged(&dir.join("exchange.log")), 100.0)
    } else {
        let ask =
            |path: &'static str| std::panic::catch_unwind(|| raw(venue, "GET", path, "", "").1);
        let (Ok(ledger), Ok(clock)) = (ask("/sim/ledger"), ask("/sim/clock")) else {
            return;
        };
        let rate = serde_json::from_str::<Value>(&clock)
            .ok()
            .and_then(|clock| clock["rate"].as_f64());
        (
            serde_json::from_str(&ledger).unwrap_or(Value::Null),
            rate.unwrap_or(100.0),
        )
    };
    let Ok(db) =
        Connection::open_with_flags(dir.join("trading.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)
    else {
        return;
    };
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for create in ledger["creates"].as_array().into_iter().flatten() {
        let id = create["clOrdId"].as_str().unwrap_or_default();
        // Ours by their form; what a test sends by hand has names of its own.
        if id.len() == 28 && id.starts_with('a') {
            *seen.entry(id).or_default() += 1;
            assert_eq!(seen[id], 1, "{id} was created twice");
        }
    }
    // A database that a test has spoilt tells nothing.
    let Ok(facts) = Facts::of(&db, rate) else {
        return;
    };
    let (wrong, judged) = judge(&ledger, &facts);
    println!("oracle: {judged} creates");
    assert!(
        wrong.is_empty(),
        "{} creates that should not have been:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
}

/// The embedded exchange's log as one ledger: the newest word on each order, every fill, every
/// create.
fn logged(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let (mut orders, mut fills, mut creates) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    for line in text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
    {
        let rows = |name: &str| line[name].as_array().cloned().unwrap_or_default();
        orders.extend(
            rows("orders")
                .into_iter()
                .map(|order| (order["id"].as_u64(), order)),
        );
        fills.extend(
            rows("executions")
                .into_iter()
                .map(|fill| (fill["id"].as_u64(), fill)),
        );
        creates.extend(rows("creates"));
    }
    let (orders, fills): (Vec<_>, Vec<_>) = (
        orders.into_values().collect(),
        fills.into_values().collect(),
    );
    serde_json::json!({"orders": orders, "fills": fills, "creates": creates})
}

/// A command on a state directory, away from anybody's environment and `.env`.
pub fn command(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(BIN);
    command
        .arg("--state-dir")
        .arg(dir)
        .args(args)
        .current_dir(dir)
        .env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command
}

/// Read-only, as a person with `sqlite3` would.
pub fn open_db(dir: &Path) -> Connection {
    Connection::open_with_flags(dir.join("trading.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}

/// One number out of the database; zero while the database or its table is not there yet. Any other
/// error fails the test: a statement with a mistake in it would count nothing for ever.
#[track_caller]
pub fn count(dir: &Path, statement: &str) -> i64 {
    let Ok(db) =
        Connection::open_with_flags(dir.join("trading.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)
    else {
        return 0;
    };
    match db.query_row(statement, [], |row| row.get::<_, Option<i64>>(0)) {
        Ok(number) => number.unwrap_or(0),
        Err(error) if error.to_string().contains("no such table") => 0,
        Err(error) if error.sqlite_error_code().is_some_and(is_passing) => 0,
        Err(error) => panic!("{statement}: {error}"),
    }
}

/// The database is being made, or folds its log back, or a test spoils it: a moment later it may be
/// read.
fn is_passing(code: rusqlite::ErrorCode) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, NotADatabase, SystemIoFailure,
    };
    matches!(
        code,
        CannotOpen
            | DatabaseBusy
            | DatabaseCorrupt
            | DatabaseLocked
            | NotADatabase
            | SystemIoFailure
    )
}

pub fn pair(key: &str, value: &str) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// Limits that stand in nobody's way: for tests of something else.
pub const WIDE: &str = "[risk]\norder_notional_min = \"1\"\nquote_age_ms_max = 60000\ndecision_age_ms_max = 60000\n\
    position_notional_max = \"10000000\"\ngross_exposure_pct_max = \"2000\"\nnet_exposure_pct_max = \"2000\"\n\
    leverage_times_max = \"20\"\nfree_balance_min = \"0\"\norders_per_minute_max = 3000\norders_per_day_max = 1000000\n\
    duplicate_ms_min = 0\nrepeats_per_hour_max = 100000\ntrades_per_day_max = 1000000\nturnover_pct_max = \"1000000\"\n\
    loss_streak_max = 1000\ndaily_loss_pct_max = \"50\"\ndrawdown_pct_max = \"90\"\nprice_jump_pct_max = \"100\"\n";

/// A configuration that trades at nearly every bar on every instrument, written to `dir`.
pub fn busy_config(dir: &Path) -> String {
    std::fs::create_dir_all(dir).unwrap();
    let path = dir.join("busy.toml");
    let contender = |id: &str, strategy: &str, insts: &str, params: &str, execution: &str| {
        format!(
            "[[contender]]\nid = \"{id}\"\nkind = \"rule\"\nstrategy = \"{strategy}\"\nstage = \"live\"\nweight = \"0.2\"\n\
             instruments = [{insts}]\nparams = {{ {params} }}\nexecution = {{ {execution} }}\n"
        )
    };
    let swaps = r#""BTC-USDT-SWAP", "ETH-USDT-SWAP""#;
    let spots = r#""BTC-USDT", "SOL-USDT""#;
    let text = [
        format!("[decision]\nevery_bars = 1\n{WIDE}[venue]\norder_expiry_ms = 60000\n"),
        contender(
            "fast",
            "sma_cross",
            swaps,
            "fast = 2, slow = 3, stop_pct = 0.02",
            r#"policy = "ioc_limit", collar_bps = 3"#,
        ),
        contender(
            "spot",
            "sma_cross",
            spots,
            "fast = 2, slow = 4",
            r#"policy = "ioc_limit", collar_bps = 5"#,
        ),
        contender(
            "maker",
            "rsi_reversion",
            swaps,
            "period = 3, low = 45, high = 55",
            r#"policy = "post_only", ttl_ms = 4000"#,
        ),
        contender(
            "taker",
            "sma_cross",
            swaps,
            "fast = 5, slow = 40",
            r#"policy = "market""#,
        ),
    ]
    .join("\n");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// A signed request, as any OKX client makes it: status and body.
pub fn signed(exchange: &Exchange, method: &str, target: &str, body: &str) -> (u16, Value) {
    let secrets = alpha_arena::venue::Secrets {
        api_key: exchange.text("api_key").to_owned().into(),
        secret: exchange.text("secret").to_owned().into(),
        passphrase: exchange.text("passphrase").to_owned().into(),
    };
    let now =
        serde_json::from_str::<Value>(&exchange.http("GET", "/sim/clock", "")).unwrap()["now_ms"]
            .as_i64()
            .unwrap();
    let headers = alpha_arena::venue::Signer::new(secrets).headers(
        alpha_arena::domain::Ms(now),
        method,
        target,
        body,
    );
    let extra = format!(
        "OK-ACCESS-KEY: {}\r\nOK-ACCESS-PASSPHRASE: {}\r\nOK-ACCESS-TIMESTAMP: {}\r\nOK-ACCESS-SIGN: {}\r\n",
        headers.key, headers.passphrase, headers.timestamp, headers.signature
    );
    let (status, text) = raw(exchange.text("rest"), method, target, body, &extra);
    (
        status,
        serde_json::from_str(&text).unwrap_or(Value::String(text)),
    )
}

/// A plain HTTP/1.1 request over a connection of its own.
pub fn raw(rest: &str, method: &str, target: &str, body: &str, headers: &str) -> (u16, String) {
    let host = rest.trim_start_matches("http://").to_owned();
    let mut socket = TcpStream::connect(&host).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // A connection that is cut ends the answer where it is.
    drop(socket.read_to_end(&mut answer));
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0);
    let body = answer
        .split_once("\r\n\r\n")
        .map(|(_, body)| body.to_owned())
        .unwrap_or_default();
    (status, body)
}
