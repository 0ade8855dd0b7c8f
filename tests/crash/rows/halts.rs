//! Halt → command → trading, with the real binary: what a person did by hand in the venue's app,
//! what the venue refuses, what nobody knows.

use std::process::Output;

use serde_json::{Value, json};

use super::scene::Scene;
use crate::harness::{Daemon, command, count, pair, signed, wait_for, wait_for_count};

const INST: &str = "BTC-USDT-SWAP";

/// One contender that holds a position most of the time and trades rarely.
fn holder() -> Scene {
    crossing(20, 60)
}

/// The same, with averages of these lengths: shorter ones trade more often.
fn crossing(fast: u32, slow: u32) -> Scene {
    let scene = Scene::new(&[]);
    let text = format!(
        "[risk]\nquote_age_ms_max = 60000\ndecision_age_ms_max = 60000\n[venue]\norder_expiry_ms = 60000\n[truth]\nask_at_ms = [\"60\"]\n\
         ask_every_ms = 100\n[[instrument]]\nid = \"{INST}\"\n[[contender]]\nid = \"holder\"\nkind = \"rule\"\nstrategy = \"sma_cross\"\n\
         stage = \"live\"\nweight = \"0.1\"\ninstruments = [\"{INST}\"]\nparams = {{ fast = {fast}, slow = {slow} }}\n\
         execution = {{ policy = \"market\" }}\n"
    );
    std::fs::write(&scene.config, text).unwrap();
    scene
}

fn verb(scene: &Scene, args: &[&str]) -> Output {
    let all: Vec<&str> = [&["--config", scene.config.as_str()], args].concat();
    command(scene.dir.path(), &all)
        .envs(scene.env.clone())
        .output()
        .unwrap()
}

fn position(scene: &Scene) -> f64 {
    let ledger = scene.exchange.ledger();
    let of = ledger["positions"]
        .as_array()
        .unwrap()
        .iter()
        .find(|p| p["instId"] == INST)
        .cloned();
    of.and_then(|p| p["pos"].as_str().and_then(|pos| pos.parse().ok()))
        .unwrap_or(0.0)
}

fn wait_for_case(scene: &Scene, daemon: &mut Daemon, kind: &str) {
    wait_for(kind, || {
        assert!(daemon.ended().is_none(), "{}", daemon.log());
        count(
            scene.dir.path(),
            &format!("SELECT COUNT(*) FROM halts WHERE kind = '{kind}'"),
        ) > 0
    });
}

/// The case is listed, accepted, gone, and trading goes on.
#[track_caller]
fn accept(scene: &Scene, case: &str) {
    let listed = verb(scene, &["reconcile", "--json"]);
    assert_eq!(listed.status.code(), Some(1), "something is halted");
    let body: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let named = body["halts"]
        .as_array()
        .unwrap()
        .iter()
        .any(|c| c["case"] == case);
    assert!(named, "{body}");
    let nonsense = verb(scene, &["reconcile", "--accept", "position:NOTHING"]);
    assert_eq!(nonsense.status.code(), Some(64));
    assert!(
        String::from_utf8_lossy(&nonsense.stderr).contains(case),
        "it tells what is open"
    );
    let accepted = verb(scene, &["reconcile", "--accept", case]);
    assert_eq!(
        accepted.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&accepted.stderr)
    );
    wait_for("the end of the halt", || {
        let ended = format!(
            "SELECT COUNT(*) FROM trading_state_events WHERE from_state = 'halted' AND why LIKE '{case}%'"
        );
        count(scene.dir.path(), &ended) > 0
    });
    // What else was odd because of it (cash) is accepted too.
    let rest = "SELECT COUNT(*) FROM halts";
    wait_for("no halt is left", || {
        if count(scene.dir.path(), rest) > 0 {
            drop(verb(scene, &["reconcile", "--accept", "cash:USDT"]));
        }
        count(scene.dir.path(), rest) == 0
    });
    scene.wait_for_fill();
}

#[track_caller]
fn by_hand(change: impl Fn(&Scene)) {
    let scene = holder();
    let mut daemon = scene.start();
    scene.wait_for_fill();
    change(&scene);
    wait_for_case(&scene, &mut daemon, "position");
    accept(&scene, &format!("position:{INST}"));
    assert!(daemon.ended().is_none());
}

fn trade(scene: &Scene, share: f64, reduce: bool) {
    let held = position(scene);
    let size = (held.abs() * share).max(0.1);
    let side = if (held > 0.0) == reduce {
        "sell"
    } else {
        "buy"
    };
    let body = json!({"instId": INST, "tdMode": "cross", "side": side, "ordType": "market", "sz": format!("{size:.1}")});
    let (_, reply) = signed(
        &scene.exchange,
        "POST",
        "/api/v5/trade/order",
        &body.to_string(),
    );
    assert_eq!(reply["code"], "0", "{reply}");
}

#[test]
fn a_position_closed_by_hand() {
    by_hand(|scene| {
        let body = json!({"instId": INST, "mgnMode": "cross"}).to_string();
        let (_, reply) = signed(
            &scene.exchange,
            "POST",
            "/api/v5/trade/close-position",
            &body,
        );
        assert_eq!(reply["code"], "0", "{reply}");
    });
}

#[test]
fn a_position_half_closed_by_hand() {
    by_hand(|scene| trade(scene, 0.5, true));
}

#[test]
fn a_position_increased_by_hand() {
    by_hand(|scene| trade(scene, 0.5, false));
}

/// The order of the close command is sent, reduce-only, and the venue is flat after it.
#[test]
fn close_command_works_while_halted() {
    let scene = holder();
    let mut daemon = scene.start();
    scene.wait_for_fill();
    trade(&scene, 0.5, false);
    wait_for_case(&scene, &mut daemon, "position");
    let closed = verb(&scene, &["close", INST, "--json"]);
    assert_eq!(
        closed.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&closed.stdout)
    );
    wait_for("flat at the venue", || position(&scene) == 0.0);
    let purpose = "SELECT COUNT(*) FROM orders WHERE purpose = 'flatten' AND contender_id = '_system' AND state = 'filled'";
    assert_eq!(count(scene.dir.path(), purpose), 1);
    let reduce = scene.exchange.ledger()["orders"]
        .as_array()
        .unwrap()
        .iter()
        .any(|o| o["reduceOnly"] == "true");
    assert!(reduce, "a close is reduce-only");
}

#[test]
fn the_venue_refuses_our_orders() {
    let scene = holder();
    let mut daemon = scene.start();
    scene.faults(r#"{"match":{"path":"POST trade/order"},"action":"fail_before","status":200,"code":"50110"}"#);
    wait_for_case(&scene, &mut daemon, "refused");
    scene.faults("");
    accept(&scene, "refused:50110");
}

/// An order unknown for too long raises an incident, which ends by itself when the venue answers.
#[test]
fn long_unknown_order_blocks_openings() {
    let scene = crossing(5, 15).with("ALPHA_ARENA__TRUTH__UNKNOWN_MS_MAX", "2000");
    let mut daemon = scene.start();
    scene.wait_for_fill();
    scene.faults(
        r#"{"match":{"path":"POST trade/order","nth":1},"action":"drop_before"},
           {"match":{"path":"GET trade/*"},"action":"fail_before","status":503,"code":"50001"}"#,
    );
    wait_for_case(&scene, &mut daemon, "unknown-long");
    let health = verb(&scene, &["health", "--json"]);
    assert_eq!(
        health.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&health.stdout)
    );
    scene.faults("");
    wait_for("no halt is left", || {
        count(scene.dir.path(), "SELECT COUNT(*) FROM halts") == 0
    });
    scene.wait_for_fill();
}

/// An order under our prefix that the database does not know, as after a restored backup.
#[test]
fn stray_order_is_cancelled_and_accepted() {
    let scene = holder();
    let mut daemon = scene.start();
    daemon.checked = false; // somebody else sends under our prefix
    scene.wait_for_fill();
    // As if a backup had been restored: an order under our prefix that this database has not made.
    let stray = "asQQQQQQQQQQQQQQQQQQQQQQQQQQ";
    let ledger = scene.exchange.ledger();
    let last: f64 = ledger["fills"][0]["fillPx"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let body = json!({"instId": INST, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "0.1", "px": format!("{:.1}", last * 0.97),
        "clOrdId": stray});
    let (_, reply) = signed(
        &scene.exchange,
        "POST",
        "/api/v5/trade/order",
        &body.to_string(),
    );
    assert_eq!(reply["code"], "0", "{reply}");
    wait_for_case(&scene, &mut daemon, "stray");
    wait_for("it is cancelled", || {
        let ledger = scene.exchange.ledger();
        ledger["orders"]
            .as_array()
            .unwrap()
            .iter()
            .any(|o| o["clOrdId"] == stray && o["state"] == "canceled")
    });
    accept(&scene, &format!("stray:{stray}"));
}

/// `cancel --all` takes back what rests; after a kill the venue's dead man's switch does.
#[test]
fn cancel_command_and_deadman_clear_orders() {
    // A contender that rests far longer than this test lasts.
    let scene = Scene::new(&[]).with("ALPHA_ARENA__TRUTH__DEADMAN_MS", "120000");
    let text = std::fs::read_to_string(&scene.config)
        .unwrap()
        .replace("ttl_ms = 4000", "ttl_ms = 3600000")
        .replace("then = \"reprice\"", "then = \"cancel\"");
    std::fs::write(&scene.config, text).unwrap();
    let mut daemon = scene.start();
    let open = "SELECT COUNT(*) FROM orders WHERE state IN ('acked', 'partially_filled') AND ord_type = 'post_only'";
    wait_for("something rests", || count(scene.dir.path(), open) > 0);
    let source = |wanted: &str| {
        scene.exchange.ledger()["orders"]
            .as_array()
            .unwrap()
            .iter()
            .any(|o| o["cancelSource"] == wanted)
    };
    // What rests may fill before the command comes; then the next one is taken back.
    wait_for("a cancel by command", || {
        let cancelled = verb(&scene, &["cancel", "--all", "--json"]);
        assert_eq!(
            cancelled.status.code(),
            Some(0),
            "{}",
            String::from_utf8_lossy(&cancelled.stderr)
        );
        source("1")
    });
    daemon.wait_log("the venue cancels what rests if we fall silent");
    // Under our tag and far from the market: nothing but the switch ends it.
    let fill = &scene.exchange.ledger()["fills"][0];
    let (inst, last) = (
        fill["instId"].as_str().unwrap(),
        fill["fillPx"].as_str().unwrap().parse::<f64>().unwrap(),
    );
    let mode = if inst.ends_with("SWAP") {
        "cross"
    } else {
        "cash"
    };
    let body = json!({"instId": inst, "tdMode": mode, "side": "buy", "ordType": "limit", "sz": "0.1", "tag": "alphaarena",
        "px": format!("{:.1}", last * 0.97)});
    let (_, reply) = signed(
        &scene.exchange,
        "POST",
        "/api/v5/trade/order",
        &body.to_string(),
    );
    assert_eq!(reply["code"], "0", "{reply}");
    daemon.kill();
    let rests = |scene: &Scene| {
        let ledger = scene.exchange.ledger();
        ledger["orders"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|o| o["state"] == "live" || o["state"] == "partially_filled")
            .count()
    };
    wait_for("the venue cancels", || rests(&scene) == 0);
    assert!(source("20"), "by the dead man's switch");
    let again = scene.start_with(&[pair("ALPHA_ARENA__TRADING__ENABLED", "false")]);
    wait_for("the database knows", || count(scene.dir.path(), open) == 0);
    drop(again);
}

/// A halt left by a dead process that the venue no longer confirms is reported, ends, and the
/// daemon is ready.
#[test]
fn settled_incident_ends_after_a_restart() {
    let scene = holder();
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    daemon.kill();
    {
        let db = rusqlite::Connection::open(scene.dir.path().join("trading.db")).unwrap();
        let sql = "INSERT INTO halts (kind, subject, scope, why, run_id, opened_ms) SELECT 'cash', 'USDT', NULL, 'found by a process that is dead', run_id, 1 FROM runs LIMIT 1";
        assert_eq!(db.execute(sql, []).unwrap(), 1);
    }
    let mut daemon = scene.start();
    daemon.wait_log("to=halted");
    daemon.wait_log("a halt has ended");
    // Whether or not it had told before that it was up and halted.
    daemon.wait_log("ready: reconciled");
    wait_for_count(
        "no halt is kept",
        scene.dir.path(),
        "SELECT COUNT(*) FROM halts",
        0,
    );
}
