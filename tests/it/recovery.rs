//! kill -9 and start again: nothing lost, nothing doubled, no halt.

use crate::harness::{
    Daemon, Exchange, assert_creates_are_intents, busy_config, count, wait_for, wait_for_count,
};

/// The process is killed with open orders and a position; the next one comes up reconciled.
#[test]
fn kill_9_recovery_reconciles_and_trades() {
    let exchange = Exchange::start(&["--speed", "10"]);
    let dir = tempfile::tempdir().unwrap();
    let config = busy_config(dir.path());
    let args = ["--config", config.as_str(), "run"];
    for round in 0..3 {
        let fills_before = count(dir.path(), "SELECT COUNT(*) FROM fills");
        let mut daemon = Daemon::start(dir.path(), &args, &exchange.env());
        daemon.wait_log("ready: reconciled");
        wait_for("fills and an open order at the venue", || {
            let ledger = exchange.ledger();
            let live = |o: &serde_json::Value| {
                matches!(o["state"].as_str(), Some("live" | "partially_filled"))
            };
            count(dir.path(), "SELECT COUNT(*) FROM fills") > fills_before
                && ledger["orders"].as_array().unwrap().iter().any(live)
                && ledger["positions"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|p| p["pos"] != "0")
        });
        let log = daemon.log();
        assert!(!log.contains("halted"), "round {round}:\n{log}");
        daemon.kill();
    }
    let mut daemon = Daemon::start(dir.path(), &args, &exchange.env());
    let fills_before = count(dir.path(), "SELECT COUNT(*) FROM fills");
    wait_for("it trades on", || {
        count(dir.path(), "SELECT COUNT(*) FROM fills") > fills_before
    });
    daemon.wait_log("ready: reconciled");
    assert_creates_are_intents(&exchange.ledger(), &daemon.db());
    assert!(!daemon.log().contains("halted"), "{}", daemon.log());
    assert_eq!(
        count(
            dir.path(),
            "SELECT COUNT(*) FROM pragma_quick_check WHERE quick_check <> 'ok'"
        ),
        0
    );
}

/// It keeps its ledger and its clock.
#[test]
fn embedded_exchange_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let config = busy_config(dir.path());
    let args = ["--config", config.as_str(), "run", "--speed", "10"];
    let mut first = Daemon::start(dir.path(), &args, &[]);
    first.wait_log(" filled run=");
    first.kill();
    let last = count(dir.path(), "SELECT MAX(at_ms) FROM fills");
    let mut again = Daemon::start(dir.path(), &args, &[]);
    wait_for("it trades on", || {
        count(
            dir.path(),
            &format!("SELECT COUNT(*) FROM fills WHERE at_ms > {last}"),
        ) > 0
    });
    again.wait_log("ready: reconciled");
    assert!(!again.log().contains("halted"), "{}", again.log());
    assert_eq!(again.stop().code(), Some(0));
}

/// The order it became is adopted, with its fills, once.
#[test]
fn stop_triggered_while_down_is_booked() {
    let exchange = Exchange::start(&["--speed", "10"]);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("one.toml");
    let text = "[[instrument]]\nid = \"BTC-USDT-SWAP\"\n[[contender]]\nid = \"holder\"\nkind = \"rule\"\nstrategy = \"sma_cross\"\n\
        stage = \"live\"\nweight = \"0.2\"\ninstruments = [\"BTC-USDT-SWAP\"]\nparams = { fast = 100, slow = 300, stop_pct = 3.0 }\n\
        execution = { policy = \"market\" }\n";
    std::fs::write(&config, text).unwrap();
    let config = config.display().to_string();
    let args = ["--config", config.as_str(), "run"];
    let mut daemon = Daemon::start(dir.path(), &args, &exchange.env());
    daemon.wait_log(" filled run=");
    let live = |state: &str| {
        let ledger = exchange.ledger();
        ledger["algo_orders"]
            .as_array()
            .unwrap()
            .iter()
            .find(|a| a["state"] == state)
            .cloned()
    };
    wait_for("a live stop", || live("live").is_some());
    let stop = live("live").unwrap();
    daemon.kill();
    let trigger: f64 = stop["slTriggerPx"].as_str().unwrap().parse().unwrap();
    let beyond = if stop["side"] == "sell" {
        trigger * 0.99
    } else {
        trigger * 1.01
    };
    exchange.http(
        "POST",
        "/sim/market",
        &format!(r#"{{"instId":"BTC-USDT-SWAP","px":"{beyond:.1}"}}"#),
    );
    wait_for("the stop has triggered", || live("effective").is_some());

    for round in 0..2 {
        let mut again = Daemon::start(dir.path(), &args, &exchange.env());
        again.wait_log("ready: reconciled");
        assert!(
            !again.log().contains("halted"),
            "round {round}:\n{}",
            again.log()
        );
        let children =
            "SELECT COUNT(*) FROM orders WHERE purpose = 'stop' AND parent_id IS NOT NULL";
        wait_for("the child is ours", || count(dir.path(), children) == 1);
        let theirs = exchange.ledger();
        let of_stop = |f: &&serde_json::Value| f["clOrdId"] == "";
        let expected = theirs["fills"]
            .as_array()
            .unwrap()
            .iter()
            .filter(of_stop)
            .count() as i64;
        let booked =
            "SELECT COUNT(*) FROM fills f JOIN orders o USING (order_id) WHERE o.purpose = 'stop'";
        assert!(expected > 0);
        wait_for_count("the child's fills", dir.path(), booked, expected);
        again.kill();
    }
}
