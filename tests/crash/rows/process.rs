//! Rows 1 to 20: the process dies, stops, freezes, or is not alone.

use std::process::Command;

use super::proxy::{Deed, Proxy};
use super::scene::Scene;
use crate::harness::{Daemon, command, count, pair, wait_for};
use crate::{chain, power, shim};

#[track_caller]
fn killed_at(point: &str, most: u64, seed: u64, kills: usize) {
    let (tally, wrong) = chain(point, most, seed, kills);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tally.by_hand < tally.kills, "{point} was never reached");
}

#[test]
fn row_01_kill_before_intent_commit() {
    killed_at("intent_before", 6, 1, 4);
}

/// The process is killed at each disk sync of the commit; no order is lost or doubled.
#[test]
fn row_02_kill_during_commit() {
    killed_at("sync", 1, 2, 8);
}

#[test]
fn row_03_kill_between_commit_and_send() {
    killed_at("executor_send", 6, 3, 4);
}

/// The request is cut after 1, 120 or 400 bytes; no order is lost or doubled.
#[test]
fn row_04_kill_during_the_request() {
    for bytes in [1, 120, 400] {
        let scene = Scene::new(&[]);
        let proxy = Proxy::start(scene.exchange.text("rest"), Deed::CutRequest(bytes));
        let scene = scene.with("ALPHA_ARENA__VENUE__REST_URL", &proxy.url);
        let daemon = scene.start();
        scene.wait_for_fill();
        proxy.armed.store(true, std::sync::atomic::Ordering::SeqCst);
        wait_for("the cut", || {
            proxy.done.load(std::sync::atomic::Ordering::SeqCst) > 0
        });
        daemon.kill();
        scene.is_whole();
    }
}

/// The venue has accepted the order; the next start adopts it.
#[test]
fn row_05_kill_before_answer_is_read() {
    for seed in 0..3 {
        let scene = Scene::new(&[]);
        let daemon = scene.start();
        scene.wait_for_fill();
        scene.faults(
            r#"{"match":{"path":"POST trade/order","nth":1},"action":"delay_reply","ms":3000}"#,
        );
        wait_for("the venue has it", || scene.struck());
        daemon.kill();
        scene.faults("");
        let wrong = crate::settle(&scene.exchange, scene.dir.path());
        assert!(wrong.is_empty(), "round {seed}: {}", wrong.join("\n"));
    }
    killed_at("executor_answered", 6, 5, 3);
}

#[test]
fn row_06_kill_before_answer_is_stored() {
    killed_at("tracker_keep", 40, 6, 4);
}

#[test]
fn row_07_kill_before_fill_is_stored() {
    killed_at("before_commit", 200, 7, 4);
}

#[test]
fn row_08_kill_after_cancel_is_sent() {
    killed_at("executor_cancelled", 2, 8, 3);
}

/// The process is killed five times in a row at each point of the recovery; nothing is lost or
/// doubled.
#[test]
fn row_09_kill_during_recovery() {
    for point in ["start_loaded", "start_restored", "sweep", "sweep_joined"] {
        killed_at(point, 2, 9, 5);
    }
}

/// No acknowledged intent is lost.
#[test]
fn row_10_power_loss_after_commit() {
    let (_, acked, lost) = power::outages(3, "");
    assert!(acked > 0 && lost == 0, "{lost} of {acked} lost");
}

/// At any moment of a cycle the process exits with 0 and leaves no order as intended.
#[test]
fn row_11_sigterm_during_a_cycle() {
    let scene = Scene::new(&[]);
    for later in [0, 2_600, 7_400] {
        let daemon = scene.start();
        scene.wait_for_fill();
        scene.let_pass(later); // any moment of a cycle
        assert_eq!(daemon.stop().code(), Some(0));
        assert_eq!(
            count(
                scene.dir.path(),
                "SELECT COUNT(*) FROM orders WHERE state = 'intended'"
            ),
            0
        );
    }
    scene.is_whole();
}

/// Killed at each disk sync it leaves the old schema or the new one; the next start becomes ready.
#[test]
fn row_12_kill_during_a_migration() {
    for sync in 1..=5 {
        let scene = Scene::new(&[]);
        let dir = tempfile::tempdir().unwrap();
        let env: Vec<_> = scene
            .env
            .iter()
            .cloned()
            .chain(shim::disk(&[("SHIM_KILL_AT", &sync.to_string())]))
            .collect();
        let mut dead = Daemon::start(dir.path(), &["--config", &scene.config, "run"], &env);
        dead.wait_exit();
        let mut again = Daemon::start(dir.path(), &["--config", &scene.config, "run"], &scene.env);
        again.wait_log("ready: reconciled");
        assert_eq!(again.stop().code(), Some(0), "killed at sync {sync}");
    }
}

/// After SIGSTOP for a minute of the venue's time no order is sent on a decision older than the
/// limit.
#[test]
fn row_13_stale_decisions_are_not_sent() {
    let scene = Scene::new(&[])
        .with("ALPHA_ARENA__RISK__QUOTE_AGE_MS_MAX", "5000")
        .with("ALPHA_ARENA__RISK__DECISION_AGE_MS_MAX", "5000");
    let daemon = scene.start();
    scene.wait_for_fill();
    let signal = |name: &str| {
        assert!(
            Command::new("kill")
                .args([name, &daemon.pid().to_string()])
                .status()
                .unwrap()
                .success()
        )
    };
    signal("-STOP");
    scene.let_pass(60_000);
    signal("-CONT");
    scene.wait_for_fill();
    // Nothing was sent on a decision older than the limit, which is five seconds here.
    let age = "SELECT MAX(o.created_ms - r.at_ms) FROM orders o JOIN runs r USING (run_id)
        WHERE o.attempt = 0 AND o.parent_id IS NULL AND EXISTS
            (SELECT 1 FROM order_lifecycle_events e WHERE e.order_id = o.order_id AND e.to_state = 'sent')";
    let oldest = count(scene.dir.path(), age);
    assert!(
        (0..=6000).contains(&oldest),
        "an order was sent {oldest} ms after its decision"
    );
    let stale = "SELECT COUNT(*) FROM trading_state_events WHERE to_state = 'halted'";
    assert_eq!(count(scene.dir.path(), stale), 0);
    daemon.kill();
    scene.is_whole();
}

/// The kernel kills the process at any moment (out of memory); the next start agrees with the
/// exchange.
#[test]
fn row_14_kill_at_any_moment() {
    let scene = Scene::new(&[]);
    for later in [1_000, 8_000, 18_000] {
        let daemon = scene.start();
        scene.let_pass(later);
        daemon.kill();
    }
    let daemon = scene.start();
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// A second instance on the same state directory ends with 75.
#[test]
fn row_19_second_instance_is_refused() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    let second = command(scene.dir.path(), &["--config", &scene.config, "run"])
        .envs(scene.env.clone())
        .output()
        .unwrap();
    assert_eq!(
        second.status.code(),
        Some(75),
        "{}",
        String::from_utf8_lossy(&second.stderr)
    );
}

/// A second bot with the same key sends nothing; its halt ends when it is alone.
#[test]
fn row_20_second_bot_does_not_trade() {
    let scene = Scene::new(&[]);
    let mut first = scene.start();
    first.wait_log("ready: reconciled");
    scene.wait_for_fill();
    let other = tempfile::tempdir().unwrap();
    // An account that shows orders of ours is no fresh one: a person has to say that this is meant.
    let mut unasked = Daemon::start(
        other.path(),
        &["--config", &scene.config, "run"],
        &scene.env,
    );
    unasked.checked = false;
    assert_eq!(unasked.wait_exit().code(), Some(78), "{}", unasked.log());
    let adopt = [
        "--config",
        scene.config.as_str(),
        "db",
        "adopt",
        "--reason",
        "a second bot",
    ];
    let adopted = command(other.path(), &adopt)
        .envs(scene.env.clone())
        .output()
        .unwrap();
    assert_eq!(
        adopted.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&adopted.stderr)
    );
    let env: Vec<_> = scene
        .env
        .iter()
        .cloned()
        .chain([pair("ALPHA_ARENA__TRUTH__RIVAL_MS_MAX", "1000")])
        .collect();
    let mut second = Daemon::start(other.path(), &["--config", &scene.config, "run"], &env);
    second.checked = false; // the exchange has the first one's creates as well
    second.wait_log("case=second-instance");
    assert_eq!(
        count(
            other.path(),
            "SELECT COUNT(*) FROM orders WHERE state NOT IN ('blocked', 'suppressed')"
        ),
        0
    );
    first.kill();
    // It looks again every ten seconds, and is alone.
    second.wait_log("a halt has ended");
}
