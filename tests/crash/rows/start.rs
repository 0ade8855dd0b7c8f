//! Duration of a start when the last life left fifty orders behind: half of them live at the venue,
//! half never arrived.

use std::time::{Duration, Instant};

use serde_json::json;

use super::scene::Scene;
use crate::harness::{Daemon, count, signed, wait_for};

const INST: &str = "BTC-USDT-SWAP";
const ORDERS: usize = 50;

/// The 25 that are at the venue are adopted; the others stay unknown until their absence is proven.
#[test]
fn start_is_ready_with_fifty_open_orders() {
    let scene = Scene::new(&["--speed", "1"]);
    let off = std::fs::read_to_string(&scene.config)
        .unwrap()
        .replace("stage = \"live\"", "stage = \"off\"");
    // Questions at their default pace.
    let off: String = off
        .lines()
        .filter(|line| !line.starts_with("ask_"))
        .map(|line| format!("{line}\n"))
        .collect();
    std::fs::write(&scene.config, off).unwrap();
    let mut first = scene.start();
    first.wait_log("ready: reconciled");
    assert_eq!(first.stop().code(), Some(0));
    let name = |n: usize| format!("as{n:026}");
    let ticker = scene
        .exchange
        .http("GET", &format!("/api/v5/market/ticker?instId={INST}"), "");
    let ticker: serde_json::Value = serde_json::from_str(&ticker).unwrap();
    let last: f64 = ticker["data"][0]["last"].as_str().unwrap().parse().unwrap();
    let db = rusqlite::Connection::open(scene.dir.path().join("trading.db")).unwrap();
    db.pragma_update(None, "foreign_keys", "OFF").unwrap();
    let now = count(scene.dir.path(), "SELECT MAX(at_ms) FROM runs");
    for n in 0..ORDERS {
        let row = format!(
            "INSERT INTO orders (order_id, cl_ord_id, run_id, contender_id, inst_id, side, ord_type, purpose, qty, limit_px, reference_px,
                reduce_only, sleeve_usd, weight, leg, attempt, ttl_ms, state, filled, created_ms, expires_ms, updated_ms)
             VALUES ('{id}', '{id}', (SELECT run_id FROM runs LIMIT 1), 'maker', '{INST}', 'buy', 'limit', 'entry', '1', '{px:.1}', '{last}',
                0, '0', '0', 0, 0, 3600000, 'sent', '0', {now}, {now}, {now});
             INSERT INTO order_lifecycle_events (order_id, run_id, to_state, cause, evidence, filled, at_ms, prev_hash, row_hash)
             VALUES ('{id}', (SELECT run_id FROM runs LIMIT 1), 'sent', 'test', '', '0', {now}, x'00', x'00');",
            id = name(n),
            px = last * 0.97
        );
        db.execute_batch(&row).unwrap();
        if n % 2 == 0 {
            let body = json!({"instId": INST, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1",
                "px": format!("{:.1}", last * 0.97), "clOrdId": name(n)});
            let (_, reply) = signed(
                &scene.exchange,
                "POST",
                "/api/v5/trade/order",
                &body.to_string(),
            );
            assert_eq!(reply["code"], "0", "{reply}");
        }
    }
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(db);
    let mut took: Vec<Duration> = Vec::new();
    for _ in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        for file in ["trading.db", "manifest"] {
            std::fs::copy(scene.dir.path().join(file), dir.path().join(file)).unwrap();
        }
        let began = Instant::now();
        let mut daemon = Daemon::start(dir.path(), &["--config", &scene.config, "run"], &scene.env);
        daemon.wait_log("ready");
        took.push(began.elapsed());
        let adopted = "SELECT COUNT(*) FROM orders WHERE state = 'acked'";
        wait_for("those at the venue are known", || {
            count(dir.path(), adopted) == 25
        });
        assert_eq!(
            count(
                dir.path(),
                "SELECT COUNT(*) FROM orders WHERE state = 'unknown'"
            ),
            25,
            "no proof yet, no belief"
        );
        daemon.kill();
    }
    took.sort();
    println!(
        "start to READY with {ORDERS} orders: p50 {:?}, worst of {} {:?}",
        took[took.len() / 2],
        took.len(),
        took[took.len() - 1]
    );
}
