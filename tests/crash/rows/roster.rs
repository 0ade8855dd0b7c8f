//! A changed configuration with positions open: removed, renamed, reweighted, switched off, an
//! instrument gone.

use serde_json::Value;

use super::scene::Scene;
use crate::harness::{command, count, wait_for};

const SWAP: &str = "BTC-USDT-SWAP";
const SPOT: &str = "BTC-USDT";

fn contender(id: &str, weight: &str, stage: &str, insts: &[&str]) -> String {
    format!(
        "[[contender]]\nid = \"{id}\"\nkind = \"rule\"\nstrategy = \"sma_cross\"\nstage = \"{stage}\"\nweight = \"{weight}\"\n\
         instruments = {insts:?}\nparams = {{ fast = 20, slow = 60, stop_pct = 3.0 }}\nexecution = {{ policy = \"market\" }}\n"
    )
}

fn config(scene: &Scene, retired: &str, insts: &[&str], contenders: &[String]) {
    let listed: String = insts
        .iter()
        .map(|inst| format!("[[instrument]]\nid = \"{inst}\"\n"))
        .collect();
    let text = format!(
        "[allocation]\nretired = \"{retired}\"\n[risk]\norder_notional_min = \"1\"\nquote_age_ms_max = 60000\ndecision_age_ms_max = 60000\n\
         [venue]\norder_expiry_ms = 60000\n{listed}{}",
        contenders.join("\n")
    );
    std::fs::write(&scene.config, text).unwrap();
}

fn held(scene: &Scene, contender: &str, inst: &str) -> f64 {
    let dir = scene.dir.path();
    let Ok(db) = rusqlite::Connection::open(dir.join("trading.db")) else {
        return 0.0;
    };
    let sum = "SELECT COALESCE(SUM(CAST(qty_change AS REAL)), 0) FROM sleeve_ledger WHERE contender_id = ?1 AND inst_id = ?2";
    db.query_row(sum, [contender, inst], |row| row.get(0))
        .unwrap_or(0.0)
}

/// A scene in which `a` holds something of the swap, stopped.
fn with_position() -> Scene {
    let scene = Scene::new(&[]);
    let all = [
        contender("a", "0.2", "live", &[SWAP]),
        contender("b", "0.2", "live", &[SPOT]),
    ];
    config(&scene, "hold", &[SWAP, SPOT], &all);
    let daemon = scene.start();
    wait_for("a position", || held(&scene, "a", SWAP).abs() > 0.05);
    daemon.kill();
    scene
}

fn against_db(scene: &Scene) -> Value {
    let args = [
        "--config",
        &scene.config,
        "config",
        "check",
        "--against-db",
        "--json",
    ];
    let output = command(scene.dir.path(), &args)
        .envs(scene.env.clone())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn told(changes: &Value, what: &str, effect: &str) -> bool {
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or("").to_owned();
    changes["changes"]
        .as_array()
        .unwrap()
        .iter()
        .any(|c| text(c, "what").contains(what) && text(c, "effect").contains(effect))
}

#[test]
fn removed_and_held_then_closed() {
    let scene = with_position();
    let last = count(
        scene.dir.path(),
        "SELECT MAX(created_ms) FROM orders WHERE contender_id = 'a'",
    );
    config(
        &scene,
        "hold",
        &[SWAP, SPOT],
        &[contender("b", "0.2", "live", &[SPOT])],
    );
    let changes = against_db(&scene);
    assert!(
        told(&changes, "contender a is gone", "retiring"),
        "{changes}"
    );
    let mut daemon = scene.start();
    daemon.wait_log("held by one who trades it no more");
    daemon.wait_log("ready: reconciled");
    wait_for("some cycles", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM decisions WHERE contender_id = 'a' AND reason LIKE 'retired%'",
        ) > 20
    });
    daemon.kill();
    // Its stop may have closed it, and what it had sent before may have filled meanwhile; nothing
    // of after adds to it.
    let entries = format!(
        "SELECT COUNT(*) FROM orders WHERE contender_id = 'a' AND purpose = 'entry' AND created_ms > {last}"
    );
    assert_eq!(count(scene.dir.path(), &entries), 0);
    config(
        &scene,
        "close",
        &[SWAP, SPOT],
        &[contender("b", "0.2", "live", &[SPOT])],
    );
    let daemon = scene.start();
    wait_for("it is closed", || held(&scene, "a", SWAP).abs() < 1e-9);
    daemon.kill();
}

/// The old name is closed and retires; the new one trades on its own.
#[test]
fn renamed_contender_starts_from_nothing() {
    let scene = with_position();
    config(
        &scene,
        "close",
        &[SWAP, SPOT],
        &[
            contender("z", "0.2", "live", &[SWAP]),
            contender("b", "0.2", "live", &[SPOT]),
        ],
    );
    let changes = against_db(&scene);
    assert!(
        told(&changes, "contender a is gone", "closed")
            && told(&changes, "contender z is new", "20 %"),
        "{changes}"
    );
    let daemon = scene.start();
    wait_for("the old name is flat", || {
        held(&scene, "a", SWAP).abs() < 1e-9
    });
    wait_for("the new name trades", || {
        held(&scene, "z", SWAP).abs() > 0.05
    });
    daemon.kill();
}

#[test]
fn reweighted_a_transfer_is_booked() {
    let scene = with_position();
    config(
        &scene,
        "hold",
        &[SWAP, SPOT],
        &[
            contender("a", "0.3", "live", &[SWAP]),
            contender("b", "0.1", "live", &[SPOT]),
        ],
    );
    let changes = against_db(&scene);
    assert!(
        told(
            &changes,
            "contender a has weight 0.3",
            "10 % of equity moves into"
        ),
        "{changes}"
    );
    let daemon = scene.start();
    let booked = "SELECT COUNT(*) FROM sleeve_ledger WHERE kind = 'transfer'";
    wait_for("two transfers", || count(scene.dir.path(), booked) == 2);
    let sum = "SELECT CAST(ROUND(SUM(CAST(change AS REAL))) AS INTEGER) FROM sleeve_ledger WHERE kind = 'transfer'";
    assert_eq!(
        count(scene.dir.path(), sum),
        0,
        "what one loses the other gains"
    );
    daemon.kill();
    let daemon = scene.start();
    scene.wait_for_fill();
    assert_eq!(count(scene.dir.path(), booked), 2, "once");
    daemon.kill();
}

/// A contender and its instrument are gone from the configuration: the position is still followed
/// and closed.
#[test]
fn removed_instrument_is_followed_until_closed() {
    let scene = with_position();
    config(
        &scene,
        "close",
        &[SPOT],
        &[contender("b", "0.2", "live", &[SPOT])],
    );
    let changes = against_db(&scene);
    assert!(
        told(
            &changes,
            "instrument BTC-USDT-SWAP is gone",
            "still followed"
        ),
        "{changes}"
    );
    let daemon = scene.start();
    wait_for("it is closed", || held(&scene, "a", SWAP).abs() < 1e-9);
    daemon.kill();
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    let changes = against_db(&scene);
    assert!(
        !told(&changes, "instrument", "followed"),
        "nothing is held of it any more: {changes}"
    );
    daemon.kill();
}

/// Its position is closed; switched on again, it trades.
#[test]
fn switched_off_contender_is_closed() {
    let scene = with_position();
    let all = |stage: &str| {
        [
            contender("a", "0.2", stage, &[SWAP]),
            contender("b", "0.2", "live", &[SPOT]),
        ]
    };
    config(&scene, "close", &[SWAP, SPOT], &all("off"));
    let changes = against_db(&scene);
    assert!(
        told(
            &changes,
            "contender a is switched off",
            "closed at the next decision"
        ),
        "{changes}"
    );
    let daemon = scene.start();
    wait_for("it is closed", || held(&scene, "a", SWAP).abs() < 1e-9);
    daemon.kill();
    config(&scene, "close", &[SWAP, SPOT], &all("live"));
    assert!(told(
        &against_db(&scene),
        "contender a is switched on",
        "20 %"
    ));
    let daemon = scene.start();
    wait_for("it trades again", || held(&scene, "a", SWAP).abs() > 0.05);
    daemon.kill();
}
