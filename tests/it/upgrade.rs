//! A state directory written by an older build: it opens, replays and reconciles.
//!
//! `tests/data/state-2026-12` was written on 2026-12-01 by the last build before the types were
//! renamed: two lives with a kill -9 between them, two rule contenders and one model on the
//! embedded exchange, a halt at the end.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::harness::{Daemon, Exchange, command, wait_for};

/// Unpacks the state directory: its path and that of the configuration.
fn unpack(dir: &Path) -> (PathBuf, String) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/state-2026-12");
    let state = dir.join("state");
    std::fs::create_dir_all(&state).unwrap();
    for name in ["trading.db", "manifest"] {
        let packed = std::fs::read(fixture.join(format!("{name}.zst"))).unwrap();
        std::fs::write(
            state.join(name),
            zstd::decode_all(packed.as_slice()).unwrap(),
        )
        .unwrap();
    }
    (state, fixture.join("config.toml").display().to_string())
}

fn answer(state: &Path, args: &[&str]) -> Value {
    let out = command(state, args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}\n{out:?}"))
}

#[test]
fn older_state_opens_replays_and_reconciles() {
    let dir = tempfile::tempdir().unwrap();
    let (state, config) = unpack(dir.path());
    let verb = |args: &[&str]| {
        answer(
            &state,
            &[&["--config", &config], args, &["--json"]].concat(),
        )
    };

    let replayed = verb(&["replay", "--all"]);
    assert_eq!(
        (replayed["runs"].as_u64(), &replayed["same"]),
        (Some(97), &replayed["runs"])
    );
    let orders = verb(&["orders", "--limit", "1000"]);
    let rows = orders["rows"].as_array().unwrap();
    assert!(rows.len() > 50, "{} orders", rows.len());
    let filled = rows.iter().find(|row| row["state"] == "filled").unwrap();
    let id = filled["order_id"].as_str().unwrap();
    let story = verb(&["orders", "show", id]);
    assert_eq!(
        (&story["order"]["order_id"], &story["order"]["state"]),
        (&json!(id), &json!("filled"))
    );
    assert!(!story["fills"].as_array().unwrap().is_empty(), "{story:#}");
    let states = verb(&["risk", "states"]);
    let last = &states["rows"][0];
    assert_eq!(
        (&last["scope"], &last["to_state"]),
        (&json!("system"), &json!("halted")),
        "{last:#}"
    );

    // The same account (its seed), and an exchange that has forgotten every position.
    let exchange = Exchange::start(&["--speed", "20", "--seed", "7"]);
    let mut daemon = Daemon::start(&state, &["--config", &config, "run"], &exchange.env());
    daemon.wait_log("ready");
    wait_for("the halt of the older build", || {
        let status = verb_or_null(&state, &["--config", &config, "status", "--json"]);
        status["trading_state"] == json!("halted")
    });
    assert_eq!(verb(&["reconcile"])["schema"], json!("reconcile/1"));
    assert!(daemon.stop().success());
}

/// Its answer, or null while there is none.
fn verb_or_null(state: &Path, args: &[&str]) -> Value {
    let out = command(state, args).output().unwrap();
    serde_json::from_slice(&out.stdout).unwrap_or_default()
}
