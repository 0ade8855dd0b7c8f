//! Surroundings of the daemon: clocks, keys, the account's settings, instruments, the
//! configuration. Rows 52, 55 and 68 to 75.

use serde_json::json;

use super::scene::Scene;
use crate::harness::{Daemon, Exchange, command, count, wait_for};
use alpha_arena::domain::Rule;

impl Scene {
    /// The same exchange as another environment's: `okx-demo` or `live`, at the wall's speed.
    fn of_mode(mode: &str, exchange: &[&str]) -> Self {
        let scene =
            Scene::new(&[exchange, &["--speed", "1"]].concat()).with("ALPHA_ARENA__MODE", mode);
        let uid = scene.exchange.text("uid").to_owned();
        scene
            .with("ALPHA_ARENA__VENUE__UID", &uid)
            .with("TRADING_ENABLED", "true")
    }

    fn creates(&self) -> usize {
        self.exchange.ledger()["creates"].as_array().unwrap().len()
    }

    /// A start that must end by itself with this code and these words, without one order.
    #[track_caller]
    fn refuses(&self, code: i32, words: &str) {
        let mut daemon = self.start();
        assert_eq!(daemon.wait_exit().code(), Some(code), "{}", daemon.log());
        assert!(
            daemon.log().contains(words),
            "'{words}' is not in:\n{}",
            daemon.log()
        );
        assert_eq!(self.creates(), 0, "an order left");
    }
}

fn account(exchange: &Exchange, change: serde_json::Value) {
    assert!(
        exchange
            .http("POST", "/sim/account", &change.to_string())
            .contains("\"0\"")
    );
}

fn state(scene: &Scene) -> String {
    let said = command(scene.dir.path(), &["status", "--json"])
        .output()
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
    format!(
        "{} {}",
        body["trading_state"].as_str().unwrap_or(""),
        body["trading_state_why"].as_str().unwrap_or("")
    )
}

/// Waits until the hourly checks have halted trading for this reason.
#[track_caller]
fn wait_for_halt(scene: &Scene, daemon: &Daemon, why: &str) {
    wait_for(why, || {
        state(scene).starts_with("halted") && state(scene).contains(why)
    });
    assert!(daemon.log().contains("trading is halted"));
}

/// NaN, infinite, empty, negative and zero prices are never traded on, and the feed recovers.
#[test]
fn row_50_invalid_prices_are_refused() {
    for text in ["NaN", "Infinity", "", "1e400", "-1", "0"] {
        let scene = Scene::new(&[]).with("ALPHA_ARENA__RISK__QUOTE_AGE_MS_MAX", "20000");
        let daemon = scene.start();
        scene.wait_for_fill();
        let spoil = |channel: &str| {
            json!({"match": {"path": channel}, "action": "spoil", "text": text}).to_string()
        };
        scene.faults(&["push tickers", "push mark-price"].map(spoil).join(","));
        let stale = "SELECT COUNT(*) FROM risk_events WHERE code = 'quote_age'";
        wait_for(
            &format!("'{text}' is refused, and the old quote ages"),
            || count(scene.dir.path(), stale) > 0,
        );
        let log = daemon.log();
        assert!(log.contains("a quote that cannot be right"), "{log}");
        scene.faults("");
        scene.wait_for_fill();
        // Bars that are none are not taken, and read again.
        scene.faults(&spoil("push candle1s"));
        wait_for("candles refused", || {
            daemon
                .log()
                .contains("a candle that cannot be right was not taken")
        });
        scene.faults("");
        scene.wait_for_fill();
        let log = daemon.log();
        assert!(!log.contains("trading is halted"), "{log}");
        daemon.kill();
        scene.is_whole();
    }
}

/// A quote, mark price or candle of the year 2100 does not make what comes after it look old.
#[test]
fn row_50_far_future_times_are_refused() {
    const YEAR_2100: &str = "4102444800000";
    let scene = Scene::new(&[]).with("ALPHA_ARENA__RISK__QUOTE_AGE_MS_MAX", "20000");
    let daemon = scene.start();
    scene.wait_for_fill();
    let spoil = |channel: &str| {
        json!({"match": {"path": format!("push {channel}")}, "action": "spoil", "field": "ts", "text": YEAR_2100})
            .to_string()
    };
    for (channel, what) in [
        ("tickers", "what=quote"),
        ("mark-price", "what=\"mark price\""),
        ("candle1s", "what=candle"),
    ] {
        scene.faults(&spoil(channel));
        let said = || {
            let is_it = |line: &str| {
                line.contains("a time ahead of the venue's clock was refused")
                    && line.contains(what)
            };
            daemon.log().lines().any(is_it)
        };
        wait_for(&format!("{channel} of the year 2100 is refused"), said);
        scene.faults("");
        scene.wait_for_fill();
    }
    daemon.kill();
    scene.is_whole();
}

/// A coarser lot size holds at once; a suspended instrument is not traded while the others are.
#[test]
fn row_52_new_rules_hold_at_once() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    scene.wait_for_fill();
    let coarse = json!({"instId": "BTC-USDT-SWAP", "lotSz": "0.1", "minSz": "0.1"}).to_string();
    scene.exchange.http("POST", "/sim/instrument", &coarse);
    daemon.wait_log("the venue has changed an instrument's rules");
    // They hold once they are told. What was written down after that is looked at once more under
    // them before it leaves; the margin is for the difference between the two clocks.
    let since: i64 = scene.venue_now() + 2000;
    let sent = format!(
        "FROM orders WHERE inst_id = 'BTC-USDT-SWAP' AND created_ms > {since} AND cl_ord_id IS NOT NULL
        AND order_id IN (SELECT order_id FROM order_lifecycle_events WHERE to_state = 'sent')"
    );
    wait_for("orders under the new rules", || {
        count(scene.dir.path(), &format!("SELECT COUNT(*) {sent}")) > 3
    });
    let off = format!("{sent} AND CAST(ROUND(qty * 100) AS INTEGER) % 10 <> 0");
    let which = format!(
        "SELECT COALESCE(GROUP_CONCAT(order_id || ' ' || purpose || ' ' || qty || ' ' || state || ' ' || created_ms - {since}), '') {off}"
    );
    assert_eq!(scene.words(&which), "", "an order of the old steps left");
    scene.exchange.http(
        "POST",
        "/sim/instrument",
        r#"{"instId": "BTC-USDT-SWAP", "state": "suspend"}"#,
    );
    let blocked = "SELECT COUNT(*) FROM risk_events WHERE code = 'instrument_not_live'";
    wait_for("orders blocked there", || {
        count(scene.dir.path(), blocked) > 0
    });
    // The others trade on.
    scene.wait_for_fill();
    scene.exchange.http(
        "POST",
        "/sim/instrument",
        r#"{"instId": "BTC-USDT-SWAP", "state": "live"}"#,
    );
    let fills = "SELECT COUNT(*) FROM fills WHERE inst_id = 'BTC-USDT-SWAP'";
    let before = count(scene.dir.path(), fills);
    wait_for("trading there again", || {
        count(scene.dir.path(), fills) > before
    });
    daemon.kill();
}

/// An order that waits to be sent while its instrument is suspended is recorded as not sent.
#[test]
fn row_52_suspension_stops_a_waiting_order() {
    let scene = Scene::new(&[]);
    let held = scene.dir.path().join("hold");
    std::fs::write(&held, "").unwrap();
    let fault = [
        (
            "ALPHA_ARENA_FAULT".to_owned(),
            "intent_durable=hold@3".to_owned(),
        ),
        (
            "ALPHA_ARENA_FAULT_HOLD".to_owned(),
            held.display().to_string(),
        ),
    ];
    let mut daemon = scene.start_with(&fault);
    wait_for("an order at the point", || {
        std::fs::read_to_string(&held).is_ok_and(|text| !text.is_empty())
    });
    let insts = ["BTC-USDT-SWAP", "ETH-USDT-SWAP", "BTC-USDT", "SOL-USDT"];
    for inst in insts {
        scene.exchange.http(
            "POST",
            "/sim/instrument",
            &json!({"instId": inst, "state": "suspend"}).to_string(),
        );
    }
    let told = || {
        daemon
            .log()
            .matches("the venue has changed an instrument's rules")
            .count()
    };
    wait_for("the daemon knows of all of them", || told() == insts.len());
    std::fs::remove_file(&held).unwrap();
    daemon.wait_log("stopped at the last moment");
    let kept =
        "SELECT COUNT(*) FROM order_lifecycle_events WHERE evidence LIKE '%is not live: suspend%'";
    wait_for("the order is written down as not sent", || {
        count(scene.dir.path(), kept) > 0
    });
    daemon.kill();
}

/// A clock a minute off, either way, is refused at the start; at run time it halts.
#[test]
fn row_55_wrong_clock_is_noticed() {
    let scene = Scene::of_mode("okx-demo", &["--demo"]);
    for off in [60_000, -60_000] {
        scene.faults(&json!({"match": {"path": "*"}, "action": "skew", "ms": off}).to_string());
        scene.refuses(78, "set this machine's clock");
    }
    scene.faults("");
    let scene = scene.with("ALPHA_ARENA__SYNC__PREFLIGHT_MS", "1000");
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    // While it runs: requests die (50102), ours follows the venue's clock again, and the checks
    // halt.
    scene.faults(&json!({"match": {"path": "*"}, "action": "skew", "ms": 60_000}).to_string());
    wait_for_halt(&scene, &daemon, "preflight:clock");
    daemon.kill();
}

/// The system clock jumps an hour back and an hour ahead; trading and account reads go on.
#[test]
fn row_56_clock_jump_moves_no_deadline() {
    let scene = Scene::new(&[]);
    let off = scene.dir.path().join("clock");
    let shim = crate::shim::disk(&[("SHIM_CLOCK", off.to_str().unwrap())]);
    let mut daemon = scene.start_with(&shim);
    scene.wait_for_fill();
    for jump in ["-3600", "3600"] {
        std::fs::write(&off, jump).unwrap();
        scene.wait_for_fill();
        let rows = || count(scene.dir.path(), "SELECT COUNT(*) FROM equity_snapshots");
        let seen = rows();
        wait_for("the account is read on", || rows() > seen);
        assert!(daemon.ended().is_none(), "{}", daemon.log());
    }
    let log = daemon.log();
    let hours: std::collections::BTreeSet<&str> =
        log.lines().filter_map(|line| line.get(..2)).collect();
    assert!(hours.len() >= 3, "the clock did not jump: {hours:?}");
    // What is written down stays in order: it lives on the venue's time.
    let back = "SELECT COUNT(*) FROM (SELECT at_ms, LAG(at_ms) OVER (ORDER BY seq) AS before
        FROM order_lifecycle_events WHERE order_id IN (SELECT order_id FROM orders)) WHERE at_ms < before - 60000";
    assert_eq!(count(scene.dir.path(), back), 0);
    daemon.kill();
    scene.is_whole();
}

/// A typo, an unknown key or a missing file ends the start with 78 and is named.
#[test]
fn row_68_bad_configuration_is_refused() {
    let scene = Scene::new(&[]);
    let text = std::fs::read_to_string(&scene.config).unwrap();
    let spoilt = [
        (
            "[risk]\n",
            "[risk]\nquote_age_max = 5\n",
            "risk.quote_age_max: unknown key; did you mean",
        ),
        (
            "order_notional_min = \"1\"",
            "order_notional_min = \"one\"",
            "risk.order_notional_min",
        ),
        ("[risk]\n", "[risk\n", "line "),
        (
            "strategy = \"sma_cross\"",
            "strategy = \"sma_crosss\"",
            "sma_cross",
        ),
    ];
    for (old, new, words) in spoilt {
        assert!(text.contains(old), "{old}");
        std::fs::write(&scene.config, text.replacen(old, new, 1)).unwrap();
        scene.refuses(78, words);
    }
    std::fs::remove_file(&scene.config).unwrap();
    scene.refuses(78, &scene.config);
}

/// No configuration sets a limit outside its compiled bounds: exit 78, and the key is named.
#[test]
fn row_69_limits_keep_their_ceilings() {
    let dir = tempfile::tempdir().unwrap();
    for rule in Rule::ALL {
        let spec = rule.spec();
        for (value, fine) in [
            ((spec.bounds.1).to_string(), true),
            ((spec.bounds.1 + 1).to_string(), false),
            ((spec.bounds.0 - 1).to_string(), false),
            ("1000000000000".to_owned(), false),
        ] {
            let name = format!("ALPHA_ARENA__RISK__{}", spec.key.to_uppercase());
            // Its counterpart out of the way: the two are compared.
            let most = ("ALPHA_ARENA__RISK__ORDER_NOTIONAL_MAX", "1000000");
            let said = command(dir.path(), &["config", "check"])
                .envs([most])
                .env(name, &value)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&said.stderr).into_owned();
            assert_eq!(
                said.status.code() == Some(0),
                fine,
                "{rule} = {value}: {text}"
            );
            assert!(
                fine || text.contains(&format!("risk.{}", spec.key)),
                "{rule} = {value}: {text}"
            );
            assert!(fine || said.status.code() == Some(78), "{rule}");
        }
    }
}

/// The log says that the file has changed; the new limit holds only after a restart.
#[test]
fn row_70_edited_file_needs_a_restart() {
    let scene = Scene::new(&[]).with("ALPHA_ARENA__SYNC__PREFLIGHT_MS", "1000");
    let mut daemon = scene.start();
    scene.wait_for_fill();
    let text = std::fs::read_to_string(&scene.config).unwrap();
    // It would forbid every order.
    std::fs::write(
        &scene.config,
        text.replacen(
            "order_notional_min = \"1\"",
            "order_notional_max = \"10\"",
            1,
        ),
    )
    .unwrap();
    daemon.wait_log("the file has changed since this process read it");
    scene.wait_for_fill();
    assert_eq!(
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM risk_events WHERE bound = '10 USD'"
        ),
        0
    );
    daemon.kill();
    let daemon = scene.start();
    wait_for("the new limit", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM risk_events WHERE bound = '10 USD'",
        ) > 0
    });
    daemon.kill();
    std::fs::write(&scene.config, text).unwrap();
    scene.is_whole();
}

/// A demo key on live and a live key on demo end the start with 77, before any order.
#[test]
fn row_71_wrong_environment_key_is_refused() {
    for (mode, exchange) in [("live", &["--demo"][..]), ("okx-demo", &[][..])] {
        let scene = Scene::of_mode(mode, exchange);
        scene.refuses(77, "50101");
    }
}

/// The key is valid, but its account is not the one that venue.uid pins.
#[test]
fn row_72_another_accounts_key_is_refused() {
    for mode in ["sim", "okx-demo", "live"] {
        let demo: &[&str] = if mode == "okx-demo" { &["--demo"] } else { &[] };
        let scene = Scene::of_mode(mode, demo).with("ALPHA_ARENA__VENUE__UID", "1234567");
        scene.refuses(77, "venue.uid pins 1234567");
    }
}

/// On live a key that may withdraw or is bound to no address ends the start with 77; on demo it is
/// a warning.
#[test]
fn row_73_unsafe_key_is_refused() {
    let scene = Scene::of_mode("live", &[]);
    account(&scene.exchange, json!({"perm": "read_only,withdraw,trade"}));
    scene.refuses(77, "may withdraw");
    account(
        &scene.exchange,
        json!({"perm": "read_only,trade", "ip": ""}),
    );
    scene.refuses(77, "bind the key to this machine's address");
    account(
        &scene.exchange,
        json!({"perm": "read_only", "ip": "127.0.0.1"}),
    );
    scene.refuses(77, "may not trade");
    // On demo a warning.
    let scene = Scene::of_mode("okx-demo", &["--demo"]);
    account(
        &scene.exchange,
        json!({"perm": "read_only,withdraw,trade", "ip": ""}),
    );
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    assert_eq!(
        daemon.log().matches("a warning before trading").count(),
        2,
        "{}",
        daemon.log()
    );
    daemon.kill();
}

/// A key revoked or its address removed while trading: halted, and no create is sent any more.
#[test]
fn row_74_revoked_key_halts() {
    for code in ["50110", "50111", "60032"] {
        let scene = Scene::new(&[]);
        let mut daemon = scene.start();
        scene.wait_for_fill();
        let dead = json!({"match": {"path": "POST trade/*"}, "action": "fail_before", "status": 401, "code": code});
        scene.faults(&dead.to_string());
        daemon.wait_log(&format!("refused:{code}"));
        let since = scene.venue_now();
        scene.let_pass(20_000);
        // Stops that trigger make orders of their own; what is counted is what came from us.
        let ledger = scene.exchange.ledger();
        let creates = ledger["creates"].as_array().unwrap().iter();
        let opened = creates
            .filter(|create| create["recv_ms"].as_i64().unwrap() > since)
            .count();
        assert_eq!(opened, 0);
        let health = command(scene.dir.path(), &["health"]).output().unwrap();
        assert_eq!(health.status.code(), Some(2));
        scene.faults("");
        daemon.kill();
    }
}

/// Account level, position mode or auto-borrow change while trading: halted, a restart is refused,
/// a person ends it.
#[test]
fn row_75_changed_account_settings_halt() {
    let changes = [
        (
            json!({"acctLv": "3"}),
            json!({"acctLv": "2"}),
            "preflight:account_level",
        ),
        (
            json!({"posMode": "long_short_mode"}),
            json!({"posMode": "net_mode"}),
            "preflight:position_mode",
        ),
        (
            json!({"autoLoan": true}),
            json!({"autoLoan": false}),
            "preflight:auto-borrow",
        ),
    ];
    for (change, back, why) in changes {
        let scene = Scene::new(&[]).with("ALPHA_ARENA__SYNC__PREFLIGHT_MS", "1000");
        let daemon = scene.start();
        scene.wait_for_fill();
        account(&scene.exchange, change);
        wait_for_halt(&scene, &daemon, why);
        daemon.kill();
        let mut again = scene.start();
        assert_eq!(again.wait_exit().code(), Some(77), "{}", again.log());
        drop(again);
        account(&scene.exchange, back);
        // Only a person ends it.
        let mut daemon = scene.start();
        daemon.wait_log("ready: reconciled");
        assert!(state(&scene).starts_with("halted"), "{}", state(&scene));
        daemon.kill();
    }
}
