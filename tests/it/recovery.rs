//! kill -9 and start again: nothing lost, nothing doubled, no halt.

use std::time::Duration;

use crate::harness::{Daemon, Exchange, assert_creates_are_intents, busy_config, count, wait_for};

const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn after_kill_9_with_open_orders_and_a_position_it_comes_up_reconciled_and_trades_on() {
    let exchange = Exchange::start(&["--speed", "10"]);
    let dir = tempfile::tempdir().unwrap();
    let config = busy_config(dir.path());
    let args = ["--config", config.as_str(), "run"];
    for round in 0..3 {
        let fills_before = count(dir.path(), "SELECT COUNT(*) FROM fills");
        let mut daemon = Daemon::start(dir.path(), &args, &exchange.env());
        daemon.wait_log("ready: reconciled", LIMIT);
        wait_for("fills and an open order at the venue", LIMIT, || {
            let ledger = exchange.ledger();
            let live = |o: &serde_json::Value| matches!(o["state"].as_str(), Some("live" | "partially_filled"));
            count(dir.path(), "SELECT COUNT(*) FROM fills") > fills_before
                && ledger["orders"].as_array().unwrap().iter().any(live)
                && ledger["positions"].as_array().unwrap().iter().any(|p| p["pos"] != "0")
        });
        let log = daemon.log();
        assert!(!log.contains("halted"), "round {round}:\n{log}");
        daemon.kill();
    }
    let mut daemon = Daemon::start(dir.path(), &args, &exchange.env());
    let fills_before = count(dir.path(), "SELECT COUNT(*) FROM fills");
    wait_for("it trades on", LIMIT, || count(dir.path(), "SELECT COUNT(*) FROM fills") > fills_before);
    daemon.wait_log("ready: reconciled", LIMIT);
    assert_creates_are_intents(&exchange.ledger(), &daemon.db());
    assert!(!daemon.log().contains("halted"), "{}", daemon.log());
    assert_eq!(count(dir.path(), "SELECT COUNT(*) FROM pragma_quick_check WHERE quick_check <> 'ok'"), 0);
}

#[test]
fn the_embedded_exchange_keeps_its_ledger_and_its_clock_over_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let config = busy_config(dir.path());
    let args = ["--config", config.as_str(), "run", "--speed", "10"];
    let mut first = Daemon::start(dir.path(), &args, &[]);
    first.wait_log(" filled run=", LIMIT);
    first.kill();
    let last = count(dir.path(), "SELECT MAX(at_ms) FROM fills");
    let mut again = Daemon::start(dir.path(), &args, &[]);
    wait_for("it trades on", LIMIT, || {
        count(dir.path(), &format!("SELECT COUNT(*) FROM fills WHERE at_ms > {last}")) > 0
    });
    again.wait_log("ready: reconciled", LIMIT);
    assert!(!again.log().contains("halted"), "{}", again.log());
    assert_eq!(again.stop().code(), Some(0));
}
