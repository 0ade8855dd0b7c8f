//! A daemon, an exchange, and what is done to them.

use serde_json::Value;

use crate::harness::{Daemon, Exchange, count, pair, wait_for};
use crate::{scaled_config, settle};

/// The stage of one row.
pub struct Scene {
    pub exchange: Exchange,
    pub dir: tempfile::TempDir,
    pub config: String,
    pub env: Vec<(String, String)>,
}

impl Scene {
    /// An exchange at 20 times the wall's speed, a busy configuration, short waits.
    pub fn new(exchange: &[&str]) -> Self {
        let given = exchange.contains(&"--speed");
        let speed: &[&str] = if given { &[] } else { &["--speed", "20"] };
        let exchange = Exchange::start(&[speed, exchange].concat());
        let dir = tempfile::tempdir().unwrap();
        let config = scaled_config(dir.path());
        let mut env = exchange.env();
        env.extend([
            pair("ALPHA_ARENA__VENUE__REQUEST_TIMEOUT_MS", "1500"),
            pair("ALPHA_ARENA__VENUE__PING_AFTER_MS", "500"),
            pair("ALPHA_ARENA__VENUE__SILENCE_MS", "1500"),
        ]);
        Self {
            exchange,
            dir,
            config,
            env,
        }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push(pair(name, value));
        self
    }

    pub fn start(&self) -> Daemon {
        Daemon::start(
            self.dir.path(),
            &["--config", &self.config, "run"],
            &self.env,
        )
    }

    pub fn start_with(&self, more: &[(String, String)]) -> Daemon {
        let env: Vec<_> = self.env.iter().chain(more).cloned().collect();
        Daemon::start(self.dir.path(), &["--config", &self.config, "run"], &env)
    }

    pub fn fills(&self) -> i64 {
        count(self.dir.path(), "SELECT COUNT(*) FROM fills")
    }

    /// One text out of the database.
    #[track_caller]
    pub fn words(&self, statement: &str) -> String {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = rusqlite::Connection::open_with_flags(self.dir.path().join("trading.db"), flags)
            .unwrap();
        db.query_row(statement, [], |row| row.get(0)).unwrap()
    }

    /// Counts the transitions that match this condition.
    pub fn steps(&self, like: &str) -> i64 {
        count(
            self.dir.path(),
            &format!("SELECT COUNT(*) FROM order_lifecycle_events WHERE {like}"),
        )
    }

    pub fn wait_for_fill(&self) {
        let before = self.fills();
        wait_for("a fill", || self.fills() > before);
    }

    /// The venue's time, in milliseconds.
    pub fn venue_now(&self) -> i64 {
        let clock: Value =
            serde_json::from_str(&self.exchange.http("GET", "/sim/clock", "")).unwrap();
        clock["now_ms"].as_i64().unwrap()
    }

    /// So much of the venue's time passes: room for a mistake to show itself.
    #[track_caller]
    pub fn let_pass(&self, venue_ms: i64) {
        let until = self.venue_now() + venue_ms;
        wait_for("the venue's time to pass", || self.venue_now() >= until);
    }

    pub fn faults(&self, rules: &str) {
        let said = self
            .exchange
            .http("POST", "/sim/faults", &format!(r#"{{"rules":[{rules}]}}"#));
        assert!(
            !said.contains("\"51000\"") && !said.contains("\"50002\""),
            "{said}"
        );
    }

    /// True once all rules have struck.
    pub fn struck(&self) -> bool {
        let script: Value =
            serde_json::from_str(&self.exchange.http("GET", "/sim/faults", "")).unwrap();
        script["rules"]
            .as_array()
            .unwrap()
            .iter()
            .all(|rule| rule["hits"].as_u64().unwrap_or(0) > 0)
    }

    /// Trades, has the rules strike, trades on, comes to rest; then everything must be as the
    /// exchange says.
    #[track_caller]
    pub fn survives(self, rules: &str) {
        let daemon = self.start();
        self.wait_for_fill();
        self.faults(rules);
        wait_for("the fault", || self.struck());
        wait_for("no clear answer", || {
            daemon.log().contains("no clear answer")
        });
        self.faults("");
        self.wait_for_fill();
        daemon.kill();
        self.is_whole();
    }

    #[track_caller]
    pub fn is_whole(&self) {
        let wrong = settle(&self.exchange, self.dir.path());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
