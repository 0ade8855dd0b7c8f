//! Rows 57 to 64: the disk and the database.

use std::time::Duration;

use super::scene::Scene;
use crate::harness::{Daemon, count, wait_for};
use crate::shim;

/// The process ends with 74, and the next start finds everything as the exchange says.
#[track_caller]
fn ends_and_recovers(fault: &[(&str, &str)]) {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    daemon.kill();
    let mut struck = scene.start_with(&shim::disk(fault));
    let ended = struck.wait_exit();
    assert_eq!(ended.code(), Some(74), "{fault:?}: {}", struck.log());
    let daemon = scene.start();
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// The process ends with 74, and the next start finds everything as the exchange has it.
#[test]
fn row_57_full_disk_loses_nothing() {
    for after in ["30", "90"] {
        ends_and_recovers(&[("SHIM_FULL_AFTER", after)]);
    }
}

/// A file system that turns read-only ends the process with 74, and so does an unwritable state
/// directory.
#[test]
fn row_58_read_only_disk_loses_nothing() {
    ends_and_recovers(&[("SHIM_FULL_AFTER", "60"), ("SHIM_READ_ONLY", "1")]);
    let scene = Scene::new(&[]);
    let args = [
        "--state-dir",
        "/proc/alpha-arena",
        "--config",
        &scene.config,
        "run",
    ];
    let output = std::process::Command::new(crate::harness::BIN)
        .args(args)
        .envs(scene.env.clone())
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(74),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A disk sync fails, in the log or when it is folded back: exit 74, and the next start agrees with
/// the exchange.
#[test]
fn row_59_failed_sync_ends_the_process() {
    for at in ["12", "25", "60"] {
        ends_and_recovers(&[("SHIM_EIO_AT", at)]);
    }
    // When the log is folded back into the database, where SQLite by itself would go on without a
    // word.
    ends_and_recovers(&[("SHIM_EIO_AT", "1"), ("SHIM_NOT", "-wal")]);
}

/// Another process holds the database's lock: exit 74, and the next start trades.
#[test]
fn row_60_locked_database_ends_the_process() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    scene.wait_for_fill();
    let db = rusqlite::Connection::open(scene.dir.path().join("trading.db")).unwrap();
    db.busy_timeout(Duration::from_secs(5)).unwrap();
    db.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(daemon.wait_exit().code(), Some(74), "{}", daemon.log());
    drop(db);
    let daemon = scene.start();
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// A flipped page is found at the start (exit 65), before anything is sent.
#[test]
fn row_61_corrupt_page_is_refused() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    assert_eq!(daemon.stop().code(), Some(0)); // folds the log back into the file
    let path = scene.dir.path().join("trading.db");
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(&path, bytes).unwrap();
    let creates = scene.exchange.ledger()["creates"].as_array().unwrap().len();
    let mut refused = scene.start();
    assert_eq!(refused.wait_exit().code(), Some(65), "{}", refused.log());
    assert_eq!(
        scene.exchange.ledger()["creates"].as_array().unwrap().len(),
        creates
    );
}

/// A database from an old backup meets orders that it does not know: halted, and no create is sent.
#[test]
fn row_62_restored_backup_is_noticed() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    assert_eq!(daemon.stop().code(), Some(0));
    let (path, backup) = (
        scene.dir.path().join("trading.db"),
        scene.dir.path().join("old.db"),
    );
    std::fs::copy(&path, &backup).unwrap();
    // Orders of a life that the backup does not know.
    let newest = count(scene.dir.path(), "SELECT MAX(created_ms) FROM orders");
    let daemon = scene.start();
    let fresh = format!(
        "SELECT COUNT(*) FROM fills JOIN orders USING (order_id) WHERE created_ms > {newest} AND cl_ord_id IS NOT NULL"
    );
    wait_for("a fill of a new order", || {
        count(scene.dir.path(), &fresh) > 0
    });
    daemon.kill();
    for side in ["trading.db-wal", "trading.db-shm"] {
        drop(std::fs::remove_file(scene.dir.path().join(side)));
    }
    std::fs::copy(&backup, &path).unwrap();
    let mut restored = scene.start();
    restored.checked = false; // its database is not the one that made them
    restored.wait_log("carries our prefix and is not in this database");
    wait_for("the halt", || {
        count(
            scene.dir.path(),
            "SELECT COUNT(*) FROM halts WHERE kind IN ('stray', 'position')",
        ) > 0
    });
    let creates = || scene.exchange.ledger()["creates"].as_array().unwrap().len();
    let before = creates();
    scene.let_pass(20_000);
    assert_eq!(
        creates(),
        before,
        "it trades on a database that is not its own"
    );
}

/// With 200 ms for each disk sync decisions may go stale, and nothing worse happens.
#[test]
fn row_63_slow_disk_loses_nothing() {
    let scene = Scene::new(&[]);
    let daemon = scene.start_with(&shim::disk(&[("SHIM_DELAY_MS", "200")]));
    scene.wait_for_fill();
    scene.wait_for_fill();
    daemon.kill();
    scene.is_whole();
}

/// A migration that was changed or a newer schema ends the start with 78.
#[test]
fn row_64_wrong_schema_is_refused() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    daemon.wait_log("ready: reconciled");
    assert_eq!(daemon.stop().code(), Some(0));
    for change in [
        "INSERT INTO schema_migrations VALUES (99, 'next', '', 0)",
        "DELETE FROM schema_migrations WHERE version = 99; UPDATE schema_migrations SET sha256 = 'x' WHERE version = 2",
    ] {
        rusqlite::Connection::open(scene.dir.path().join("trading.db"))
            .unwrap()
            .execute_batch(change)
            .unwrap();
        let mut refused = Daemon::start(
            scene.dir.path(),
            &["--config", &scene.config, "run"],
            &scene.env,
        );
        assert_eq!(
            refused.wait_exit().code(),
            Some(78),
            "{change}: {}",
            refused.log()
        );
    }
}
