//! A record that is gone is no first start, a file that was taken away is no file, and a lock that
//! was removed is a lock.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use super::scene::Scene;
use crate::harness::{Daemon, command, count, wait_for};

/// Damage done to the record while no daemon runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoilt {
    Emptied,
    WithoutLog,
    Deleted,
    /// Only the database itself: its neighbours are still there.
    DeletedAlone,
    Older,
    Another,
    Cut,
    ManifestDeleted,
    ManifestEmptied,
}

fn files(dir: &Path) -> Vec<String> {
    ["trading.db", "trading.db-wal", "trading.db-shm"]
        .map(str::to_owned)
        .into_iter()
        .filter(|f| dir.join(f).exists())
        .collect()
}

fn copy(from: &Path, to: &Path) {
    for file in ["trading.db", "trading.db-wal", "trading.db-shm"] {
        drop(std::fs::remove_file(to.join(file)));
        if from.join(file).exists() {
            std::fs::copy(from.join(file), to.join(file)).unwrap();
        }
    }
}

/// Counts the commits in a copy of these files.
fn commits<F: AsRef<str>>(dir: &Path, files: &[F]) -> i64 {
    let copy = tempfile::tempdir().unwrap();
    for file in files.iter().map(AsRef::as_ref) {
        std::fs::copy(dir.join(file), copy.path().join(file)).unwrap();
    }
    count(
        copy.path(),
        "SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'commits'",
    )
}

fn creates(scene: &Scene) -> usize {
    scene.exchange.ledger()["creates"].as_array().unwrap().len()
}

fn verb(scene: &Scene, args: &[&str]) -> Output {
    let all: Vec<&str> = [&["--config", scene.config.as_str()], args].concat();
    command(scene.dir.path(), &all)
        .envs(scene.env.clone())
        .output()
        .unwrap()
}

fn latched(scene: &Scene) -> bool {
    count(
        scene.dir.path(),
        "SELECT COUNT(*) FROM restrictions WHERE cause = 'kill'",
    ) > 0
}

/// Trades, halts, is killed; then the record is spoilt, and no start sends anything until a person
/// has spoken.
#[track_caller]
fn refused(how: Spoilt) {
    let scene = Scene::new(&[]);
    let dir = scene.dir.path();
    let daemon = scene.start();
    scene.wait_for_fill();
    let old = tempfile::tempdir().unwrap();
    if how == Spoilt::Older {
        daemon.kill();
        copy(dir, old.path());
        let daemon = scene.start();
        scene.wait_for_fill();
        halt_and_kill(&scene, daemon);
    } else {
        halt_and_kill(&scene, daemon);
    }
    match how {
        Spoilt::Emptied => std::fs::File::create(dir.join("trading.db"))
            .map(drop)
            .unwrap(),
        Spoilt::WithoutLog => {}
        Spoilt::Deleted => files(dir)
            .iter()
            .for_each(|f| std::fs::remove_file(dir.join(f)).unwrap()),
        Spoilt::DeletedAlone => std::fs::remove_file(dir.join("trading.db")).unwrap(),
        Spoilt::Older => copy(old.path(), dir),
        Spoilt::Another => {
            let other = Scene::new(&[]);
            let daemon = other.start();
            other.wait_for_fill();
            daemon.kill();
            copy(other.dir.path(), dir);
        }
        Spoilt::Cut => {
            drop(std::fs::remove_file(dir.join("trading.db-wal")));
            drop(std::fs::remove_file(dir.join("trading.db-shm")));
            let file = std::fs::OpenOptions::new()
                .write(true)
                .open(dir.join("trading.db"))
                .unwrap();
            file.set_len(8192).unwrap();
        }
        Spoilt::ManifestDeleted => std::fs::remove_file(dir.join("manifest")).unwrap(),
        Spoilt::ManifestEmptied => std::fs::File::create(dir.join("manifest"))
            .map(drop)
            .unwrap(),
    }
    if how == Spoilt::WithoutLog && commits(dir, &["trading.db"]) == commits(dir, &files(dir)) {
        return; // it had been folded back to the last of it: nothing was lost
    }
    if how == Spoilt::WithoutLog {
        ["trading.db-wal", "trading.db-shm"]
            .iter()
            .for_each(|f| drop(std::fs::remove_file(dir.join(f))));
    }
    let known = creates(&scene);
    let mut refused = scene.start();
    refused.checked = false;
    let ended = refused.wait_exit();
    assert!(
        matches!(ended.code(), Some(65 | 78)),
        "{how:?}: {ended:?}: {}",
        refused.log()
    );
    if how != Spoilt::Cut {
        assert!(
            refused.log().contains("db adopt"),
            "{how:?} names the way out: {}",
            refused.log()
        );
    }
    assert_eq!(creates(&scene), known, "{how:?}: nothing was sent");
    if how == Spoilt::Cut {
        return;
    }
    // A person speaks: the next start is up, and halted.
    let adopted = verb(&scene, &["db", "adopt", "--reason", "a test"]);
    assert_eq!(
        adopted.status.code(),
        Some(0),
        "{how:?}: {}",
        String::from_utf8_lossy(&adopted.stderr)
    );
    let mut daemon = scene.start();
    daemon.checked = false;
    wait_for("the halt", || {
        assert!(daemon.ended().is_none(), "{how:?}: {}", daemon.log());
        latched(&scene)
    });
    assert_eq!(
        creates_that_open(&scene, known),
        0,
        "{how:?}: nothing was opened"
    );
}

/// Creates since then that add to a position.
fn creates_that_open(scene: &Scene, known: usize) -> usize {
    let ledger = scene.exchange.ledger();
    let new = ledger["creates"].as_array().unwrap()[known..].to_vec();
    new.iter()
        .filter(|create| create["body"]["reduceOnly"] != Value::Bool(true))
        .count()
}

fn halt_and_kill(scene: &Scene, daemon: Daemon) {
    let halted = verb(scene, &["halt"]);
    assert!(
        matches!(halted.status.code(), Some(0 | 1)),
        "{}",
        String::from_utf8_lossy(&halted.stderr)
    );
    wait_for("the latch", || latched(scene));
    let mut daemon = daemon;
    daemon.checked = false;
    daemon.kill();
}

#[test]
fn emptied_database_is_no_first_start() {
    refused(Spoilt::Emptied);
}

#[test]
fn database_without_log_is_refused() {
    refused(Spoilt::WithoutLog);
}

#[test]
fn deleted_database_is_no_first_start() {
    refused(Spoilt::Deleted);
    refused(Spoilt::DeletedAlone);
}

#[test]
fn an_older_copy_is_refused() {
    refused(Spoilt::Older);
}

#[test]
fn another_directorys_database_is_refused() {
    refused(Spoilt::Another);
}

#[test]
fn a_database_cut_short_is_refused() {
    refused(Spoilt::Cut);
}

/// A manifest that was deleted or emptied keeps the next start from sending anything.
#[test]
fn missing_manifest_is_refused() {
    refused(Spoilt::ManifestDeleted);
    refused(Spoilt::ManifestEmptied);
}

/// An account that shows our orders does not start on an empty directory: exit 78, and nothing is
/// sent.
#[test]
fn known_account_needs_its_database() {
    let scene = Scene::new(&[]);
    let daemon = scene.start();
    scene.wait_for_fill();
    daemon.kill();
    let known = creates(&scene);
    for entry in std::fs::read_dir(scene.dir.path())
        .unwrap()
        .map(Result::unwrap)
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_file() && !name.ends_with(".toml") && name != "test.log" {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let mut refused = scene.start();
    refused.checked = false;
    assert_eq!(refused.wait_exit().code(), Some(78), "{}", refused.log());
    assert!(refused.log().contains("db adopt"), "{}", refused.log());
    assert_eq!(creates(&scene), known, "nothing was sent");
}

/// The process ends like on a broken disk before another order leaves.
#[track_caller]
fn ends_at_once(take: impl Fn(&Path)) {
    ends_at_once_with(&[], take);
}

#[track_caller]
fn ends_at_once_with(set: &[(&str, &str)], take: impl Fn(&Path)) {
    let scene = set.iter().fold(Scene::new(&[]), |scene, (name, value)| {
        scene.with(name, value)
    });
    let mut daemon = scene.start();
    daemon.checked = false;
    scene.wait_for_fill();
    take(scene.dir.path());
    let known = creates(&scene);
    let ended = daemon.wait_exit();
    assert_eq!(ended.code(), Some(74), "{}", daemon.log());
    assert!(
        daemon.log().contains("while it was in use"),
        "{}",
        daemon.log()
    );
    // One may have been durable the moment before.
    assert!(
        creates(&scene) <= known + 4,
        "{} creates after it was gone",
        creates(&scene) - known
    );
}

/// The database is deleted, or replaced by a copy, while it is in use.
#[test]
fn removed_database_ends_the_process() {
    ends_at_once(|dir| {
        files(dir)
            .iter()
            .for_each(|f| std::fs::remove_file(dir.join(f)).unwrap())
    });
    ends_at_once(|dir| {
        let old = tempfile::tempdir_in(dir).unwrap();
        copy(dir, old.path());
        for file in files(old.path()) {
            std::fs::rename(old.path().join(&file), dir.join(&file)).unwrap();
        }
    });
}

/// The database's log, the manifest or the lock is removed while it is in use.
#[test]
fn removed_file_ends_the_process() {
    for file in ["trading.db-wal", "manifest", "lock"] {
        ends_at_once(|dir| std::fs::remove_file(dir.join(file)).unwrap());
    }
}

#[test]
fn removed_tape_ends_the_process() {
    ends_at_once_with(&[("ALPHA_ARENA__TAPE__RECORD", "true")], |dir| {
        for entry in std::fs::read_dir(dir.join("tape"))
            .unwrap()
            .map(Result::unwrap)
        {
            std::fs::remove_file(entry.path()).unwrap();
        }
    });
}

/// A second instance ends before it is ready.
#[test]
fn removed_lock_admits_nobody_else() {
    let scene = Scene::new(&[]);
    let mut daemon = scene.start();
    daemon.checked = false;
    scene.wait_for_fill();
    std::fs::remove_file(scene.dir.path().join("lock")).unwrap();
    let mut second = scene.start();
    second.checked = false;
    let ended = second.wait_exit();
    assert!(
        matches!(ended.code(), Some(74 | 75)),
        "{ended:?} {}",
        second.log()
    );
    assert!(
        !second.log().contains("ready: reconciled"),
        "{}",
        second.log()
    );
}
