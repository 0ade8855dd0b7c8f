//! From nothing to fills that can be traced, and the verbs that show them.

use crate::harness::{
    Daemon, Exchange, assert_creates_are_intents, command, count, pair, wait_for,
};

/// A newcomer sees decisions, orders and fills; one statement joins a fill to all that led to it.
#[test]
fn first_run_records_every_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(dir.path(), &["run", "--speed", "10"], &[]);
    daemon.wait_log("ready: reconciled");
    daemon.wait_log(" filled run=");
    let status = command(dir.path(), &["status", "--json"]).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["trading_state"], "active", "{status:#}");
    let health = || command(dir.path(), &["health", "--json"]).output().unwrap();
    wait_for("health to find nothing wrong", || {
        health().status.code() == Some(0)
    });
    let synced = command(dir.path(), &["sync-account", "--json"])
        .output()
        .unwrap();
    assert!(synced.status.success());
    let log = daemon.log();
    let pid = daemon.pid();
    let db = daemon.db();
    assert_eq!(daemon.stop().code(), Some(0), "{log}");

    // One statement joins a fill to everything that led to it, all under one run.
    let whole: i64 = db
        .query_row(
            "SELECT COUNT(*) FROM fills f
             JOIN orders o USING (order_id)
             JOIN order_lifecycle_events e ON e.order_id = o.order_id AND e.run_id = f.run_id
             JOIN allocations a ON a.run_id = f.run_id AND a.contender_id = o.contender_id AND a.inst_id = o.inst_id
             JOIN decisions d ON d.run_id = f.run_id AND d.contender_id = o.contender_id AND d.inst_id = o.inst_id
             JOIN snapshots s ON s.run_id = f.run_id
             JOIN snapshot_bodies b ON b.run_id = f.run_id
             JOIN runs r ON r.run_id = f.run_id AND r.kind = 'cycle'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert!(whole > 0);
    let orphans = count(
        dir.path(),
        "SELECT COUNT(*) FROM fills WHERE run_id NOT IN (SELECT run_id FROM allocations)",
    );
    assert_eq!(orphans, 0);

    // The verbs read it all without a daemon.
    for verb in ["orders", "fills", "positions", "balances", "decisions"] {
        let out = command(dir.path(), &[verb, "--json"]).output().unwrap();
        let body: serde_json::Value =
            serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{verb}"));
        assert_eq!(body["schema"], format!("{verb}/1"));
        assert!(
            verb == "positions" || !body["rows"].as_array().unwrap().is_empty(),
            "{verb}"
        );
        assert!(
            command(dir.path(), &[verb])
                .output()
                .unwrap()
                .status
                .success()
        );
    }
    let health = command(dir.path(), &["health"]).output().unwrap();
    assert_eq!(
        health.status.code(),
        Some(1),
        "the daemon (pid {pid}) is gone, and health says so"
    );
}

/// Orders are recorded as suppressed, and nothing reaches the venue.
#[test]
fn trading_off_suppresses_every_order() {
    let exchange = Exchange::start(&["--speed", "10"]);
    let dir = tempfile::tempdir().unwrap();
    let mut env = exchange.env();
    env.push(pair("TRADING_ENABLED", "false"));
    let daemon = Daemon::start(dir.path(), &["run"], &env);
    let suppressed = "SELECT COUNT(*) FROM orders WHERE state = 'suppressed'";
    wait_for("orders that are suppressed", || {
        count(dir.path(), suppressed) > 5
    });
    assert_eq!(daemon.stop().code(), Some(0));
    assert_eq!(
        count(dir.path(), suppressed),
        count(dir.path(), "SELECT COUNT(*) FROM orders")
    );
    assert_eq!(exchange.ledger()["creates"].as_array().unwrap().len(), 0);
}

#[test]
fn orders_travel_over_websocket_too() {
    let exchange = Exchange::start(&["--speed", "10"]);
    let dir = tempfile::tempdir().unwrap();
    let mut env = exchange.env();
    env.push(pair("ALPHA_ARENA__VENUE__ORDER_TRANSPORT", "websocket"));
    let daemon = Daemon::start(dir.path(), &["run"], &env);
    let by_code = |c: &serde_json::Value| c["body"]["instIdCode"].is_i64();
    let named = || {
        exchange.ledger()["creates"]
            .as_array()
            .unwrap()
            .iter()
            .any(by_code)
    };
    wait_for("a create that names its instrument by code", named);
    wait_for("a fill", || {
        count(dir.path(), "SELECT COUNT(*) FROM fills") > 0
    });
    let db = daemon.db();
    assert_eq!(daemon.stop().code(), Some(0));
    assert_creates_are_intents(&exchange.ledger(), &db);
}

/// The second instance is refused with 75.
#[test]
fn second_instance_learns_the_first_pid() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = Daemon::start(dir.path(), &["run"], &[]);
    first.wait_log("ready: reconciled");
    let second = command(dir.path(), &["run", "--once"]).output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    assert!(String::from_utf8_lossy(&second.stderr).contains(&format!("pid {}", first.pid())));
}
