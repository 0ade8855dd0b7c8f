//! Problems a new user meets: typos, missing databases, help, exit codes.

use crate::harness::command;

fn run(dir: &std::path::Path, args: &[&str]) -> (Option<i32>, String, String) {
    let out = command(dir, args).output().unwrap();
    (
        out.status.code(),
        String::from_utf8_lossy(&out.stdout).into(),
        String::from_utf8_lossy(&out.stderr).into(),
    )
}

/// Three mistakes are three messages, each with its key, and exit 78.
#[test]
fn every_configuration_mistake_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.toml");
    std::fs::write(
        &file,
        "mode = \"sim\"\n[risk]\nopen_order_max = 5\norder_notional_max = \"-3\"\n[market]\nbar = \"7m\"\n",
    )
    .unwrap();
    let (code, _, err) = run(dir.path(), &["--config", file.to_str().unwrap(), "run"]);
    assert_eq!(code, Some(78));
    for words in [
        "risk.open_order_max",
        "did you mean 'open_orders_max'",
        "risk.order_notional_max",
        "market.bar",
        "3 problems",
    ] {
        assert!(err.contains(words), "'{words}' is not in:\n{err}");
    }
}

#[test]
fn invalid_toml_is_shown_with_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.toml");
    std::fs::write(&file, "mode = \"sim\"\n[risk\n").unwrap();
    let (code, _, err) = run(
        dir.path(),
        &["--config", file.to_str().unwrap(), "config", "check"],
    );
    assert_eq!(code, Some(78));
    assert!(
        err.contains("broken.toml") && err.contains("line 2"),
        "{err}"
    );
    let (code, _, err) = run(dir.path(), &["--config", "missing.toml", "config", "check"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("missing.toml"), "{err}");
}

#[test]
fn misspelt_trading_switch_exits_78() {
    let dir = tempfile::tempdir().unwrap();
    let out = command(dir.path(), &["run", "--once"])
        .env("TRADING_ENABLED", "yes")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&out.stderr).contains("TRADING_ENABLED"));
}

/// A usage error (64) that names the verb meant; --help is no error.
#[test]
fn misspelt_verb_gets_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = run(dir.path(), &["statsu"]);
    assert_eq!(code, Some(64));
    assert!(err.contains("status"), "{err}");
    let (code, out, _) = run(dir.path(), &["--help"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("Examples:"));
}

#[test]
fn verbs_without_a_database_say_so() {
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = run(dir.path(), &["orders"]);
    assert_eq!(code, Some(69));
    assert!(err.contains("nothing has run there yet"), "{err}");
    let (code, out, _) = run(dir.path(), &["health"]);
    assert_eq!(code, Some(2), "{out}");
    let (code, ..) = run(dir.path(), &["status"]);
    assert_eq!(code, Some(69));
}

#[test]
fn config_show_names_each_source() {
    let dir = tempfile::tempdir().unwrap();
    let out = command(dir.path(), &["config", "show", "--json"])
        .env("ALPHA_ARENA__RISK__OPEN_ORDERS_MAX", "7")
        .output()
        .unwrap();
    let body: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(body["sources"]["risk.open_orders_max"], "environment");
    assert_eq!(body["sources"]["market.bar"], "default");
}

/// A failed read changes nothing and shows no secret.
#[test]
fn sync_account_needs_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(dir.path(), &["sync-account", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let body: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(body["balances"]["USDT"]["cash"], "100000");
    let (_, before, _) = run(dir.path(), &["balances", "--json"]);
    let exchange = crate::harness::Exchange::start(&[]);
    for (change, code) in [
        (("ALPHA_ARENA__VENUE__REST_URL", "http://127.0.0.1:9"), 69),
        (("OKX_SECRET", "wrong"), 77),
    ] {
        let mut command = command(dir.path(), &["sync-account"]);
        let failed = command
            .envs(exchange.env())
            .env(change.0, change.1)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert_eq!(failed.status.code(), Some(code), "{said}");
        assert!(
            !said.contains(exchange.text("passphrase")) && !said.contains("wrong"),
            "{said}"
        );
    }
    let rows =
        |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap()["rows"].clone();
    let (_, after, _) = run(dir.path(), &["balances", "--json"]);
    assert_eq!(rows(&before), rows(&after));
}

/// Without a source the start exits with 78 and says so.
#[test]
fn paper_mode_needs_a_source() {
    let dir = tempfile::tempdir().unwrap();
    let out = command(dir.path(), &["run", "--once"])
        .env("ALPHA_ARENA__MODE", "paper")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&out.stderr).contains("paper"));
}

/// A database of another mode exits with 78, a damaged one with 65.
#[test]
fn wrong_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["sync-account"]).0, Some(0));
    let db = rusqlite::Connection::open(dir.path().join("trading.db")).unwrap();
    db.execute("UPDATE meta SET value = 'live' WHERE key = 'mode'", [])
        .unwrap();
    drop(db);
    let (code, _, err) = run(dir.path(), &["run", "--once"]);
    assert_eq!(code, Some(78), "{err}");
    assert!(err.contains("belongs to mode 'live'"), "{err}");
    std::fs::write(dir.path().join("trading.db"), vec![42u8; 65_536]).unwrap();
    let (code, _, err) = run(dir.path(), &["run", "--once"]);
    assert_eq!(code, Some(65), "{err}");
}
