//! Market history: downloads that are killed, files that are broken, imports beside a run, the
//! tape.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Daemon, Exchange, command, count, pair, wait_for};

/// A verb's exit code and its output.
fn verb(dir: &std::path::Path, args: &[&str], env: &[(String, String)]) -> (i32, String) {
    let out = command(dir, args)
        .envs(env.iter().map(|(k, v)| (k, v)))
        .output()
        .unwrap();
    let text =
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    (out.status.code().unwrap_or(-1), text)
}

fn rows(dir: &std::path::Path) -> i64 {
    let Ok(db) = rusqlite::Connection::open(dir.join("research.db")) else {
        return 0;
    };
    db.query_row("SELECT COUNT(*) FROM candle_rows", [], |row| row.get(0))
        .unwrap_or(0)
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text.lines().next().unwrap_or("")).unwrap_or_else(|_| panic!("{text}"))
}

/// Nothing is stored twice, and only what is missing is fetched.
#[test]
fn killed_download_resumes_without_gaps() {
    let exchange = Exchange::start(&["--seed", "4"]);
    let slow = json!({"rules": [{"match": {"path": "market/history-candles"}, "action": "delay", "ms": 150}]});
    exchange.http("POST", "/sim/faults", &slow.to_string());
    let dir = tempfile::tempdir().unwrap();
    let env = exchange.env();
    let args = [
        "data",
        "download",
        "--inst",
        "BTC-USDT-SWAP",
        "--bar",
        "1m",
        "--from",
        "2026-05-01",
        "--to",
        "2026-05-03",
        "--json",
    ];
    for kill in 1..=3 {
        let before = rows(dir.path());
        let mut child = command(dir.path(), &args)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("some pages", || rows(dir.path()) >= before + 300);
        child.kill().unwrap();
        child.wait().unwrap();
        println!("kill {kill}: {} rows", rows(dir.path()));
    }
    exchange.http("POST", "/sim/faults", r#"{"rules":[]}"#);
    assert!(rows(dir.path()) < 2880, "it was not killed in the middle");
    let had = rows(dir.path());
    let (code, out) = verb(dir.path(), &args, &env);
    assert_eq!(code, 0, "{out}");
    let done = json_of(&out);
    assert_eq!(
        (done["rows"].as_i64(), done["missing"].as_i64()),
        (Some(2880), Some(0))
    );
    assert_eq!(
        done["fetched"].as_i64(),
        Some(2880 - had),
        "only what was missing is fetched"
    );
    assert_eq!(rows(dir.path()), 2880);
    assert_eq!(verb(dir.path(), &["data", "check"], &env).0, 0);
}

/// The venue lacks 60 of 300 bars: exit 65, and the gap is named.
#[test]
fn missing_bars_are_reported_not_invented() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("short.csv");
    let text: String = (0..600)
        .map(|i| format!("{},100,101,99,100,1\n", 1_767_225_600_000i64 + i * 60_000))
        .collect();
    std::fs::write(&file, format!("ts_ms,open,high,low,close,volume\n{text}")).unwrap();
    let exchange = Exchange::start(&["--candles", file.to_str().unwrap()]);
    // The clock of the daemon is anchored to the venue's, which plays the recording's second half.
    let args = [
        "data",
        "download",
        "--inst",
        "BTC-USDT-SWAP",
        "--bar",
        "1m",
        "--from",
        "2025-12-31T23:00",
        "--to",
        "2026-01-01T04:00",
        "--json",
    ];
    let (code, out) = verb(dir.path(), &args, &exchange.env());
    let done = json_of(&out);
    assert_eq!(
        (code, done["rows"].as_i64(), done["missing"].as_i64()),
        (65, Some(240), Some(60)),
        "{out}"
    );
    assert_eq!(done["gaps"][0]["to_ms"], 1_767_225_600_000i64);
}

const BROKEN: &str = "ts_ms,open,high,low,close,volume\n\
    60000,10,11,9,10,1\n\
    120000,10,11,9,10,1\n\
    120000,10,11,9,10,1\n\
    240000,10,8,12,10,1\n\
    180000,10,11,9,10,1\n\
    480000,10,11,9,10,1\n";

/// An import refuses it as a whole; with --repair it drops the wrong rows.
#[test]
fn broken_file_is_reported_by_row() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("broken.csv");
    std::fs::write(&file, BROKEN).unwrap();
    let path = file.to_str().unwrap();
    let (code, out) = verb(dir.path(), &["data", "check", path], &[]);
    assert_eq!(code, 65);
    for words in [
        "line 4        1970-01-01T00:02:00.000Z  duplicate of line 3",
        "line 5        1970-01-01T00:04:00.000Z  impossible: high is below low",
        "line 6        1970-01-01T00:03:00.000Z  out of order",
        "line 7        1970-01-01T00:08:00.000Z  gap: 3 bars before it are missing",
    ] {
        assert!(out.contains(words), "'{words}' is missing in:\n{out}");
    }
    let (code, out) = verb(dir.path(), &["data", "import", path, "--inst", "X-Y"], &[]);
    assert!(
        code == 65 && out.contains("3 of 6 rows are wrong; nothing was imported"),
        "{out}"
    );
    assert_eq!(rows(dir.path()), 0);
    let (code, out) = verb(
        dir.path(),
        &[
            "data", "import", path, "--inst", "X-Y", "--repair", "--json",
        ],
        &[],
    );
    let done = json_of(&out);
    assert_eq!(
        (
            code,
            done["rows"].as_i64(),
            done["dropped"].as_i64(),
            done["missing"].as_i64()
        ),
        (0, Some(4), Some(2), Some(4)),
        "{out}"
    );
    // What is stored says so too, comes back as a file, and is the same when read again.
    assert_eq!(
        verb(dir.path(), &["data", "check"], &[]).0,
        65,
        "the gap stays a gap"
    );
    let back = dir.path().join("back.csv.gz");
    assert_eq!(
        verb(
            dir.path(),
            &[
                "data",
                "export",
                "--inst",
                "X-Y",
                "--bar",
                "1m",
                "--out",
                back.to_str().unwrap()
            ],
            &[]
        )
        .0,
        0
    );
    let (code, out) = verb(
        dir.path(),
        &[
            "data",
            "import",
            back.to_str().unwrap(),
            "--inst",
            "A-B",
            "--json",
        ],
        &[],
    );
    assert_eq!((code, json_of(&out)["rows"].as_i64()), (0, Some(4)));
}

#[test]
fn import_does_not_disturb_a_run() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("big.csv");
    let text: String = (0..300_000i64)
        .map(|i| {
            format!(
                "{},{}.5,{}.5,{}.5,{}.5,{i}\n",
                i * 60_000,
                100 + i % 50,
                200 + i % 50,
                50 + i % 10,
                101 + i % 40
            )
        })
        .collect();
    std::fs::write(&file, format!("ts_ms,open,high,low,close,volume\n{text}")).unwrap();
    let config = crate::harness::busy_config(dir.path());
    let mut daemon = Daemon::start(
        dir.path(),
        &["--config", &config, "run", "--speed", "20"],
        &[],
    );
    daemon.wait_log("ready: reconciled");
    wait_for("cycles", || {
        count(dir.path(), "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'") > 20
    });
    let before = count(dir.path(), "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'");
    for name in ["P-A", "P-B"] {
        let (code, out) = verb(
            dir.path(),
            &[
                "data",
                "import",
                file.to_str().unwrap(),
                "--inst",
                name,
                "--json",
            ],
            &[],
        );
        assert_eq!(
            (code, json_of(&out)["rows"].as_i64()),
            (0, Some(300_000)),
            "{out}"
        );
    }
    wait_for("more cycles", || {
        count(dir.path(), "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'") > before
    });
    let log = daemon.log();
    assert_eq!(daemon.stop().code(), Some(0), "{log}");
    for words in ["is locked", " busy", "SQLITE_BUSY", "candles were not kept"] {
        assert!(!log.contains(words), "'{words}' in:\n{log}");
    }
}

/// A tape cut short by a kill is valid, holds what was heard and can be played.
#[test]
fn tape_survives_a_kill_and_replays() {
    let dir = tempfile::tempdir().unwrap();
    let env = [
        pair("ALPHA_ARENA__TAPE__RECORD", "true"),
        pair("ALPHA_ARENA__EXCHANGE__SPEED", "5"),
    ];
    let mut daemon = Daemon::start(dir.path(), &["run"], &env);
    daemon.wait_log("ready: reconciled");
    let messages = || {
        let (_, out) = verb(dir.path(), &["tape", "ls", "--json"], &env);
        serde_json::from_str::<Value>(&out)
            .ok()
            .and_then(|v| v["rows"][0]["messages"].as_i64())
            .unwrap_or(0)
    };
    wait_for("a tape", || messages() > 200);
    daemon.kill();
    let (code, out) = verb(dir.path(), &["tape", "verify"], &env);
    assert!(code == 0 && out.contains("ok, not closed"), "{out}");
    let mut again = Daemon::start(dir.path(), &["run", "--for", "3s"], &env);
    assert_eq!(again.wait_exit().code(), Some(0));
    let (code, out) = verb(dir.path(), &["tape", "verify"], &env);
    assert!(
        code == 0 && out.lines().count() == 2 && out.trim_end().ends_with(" ok"),
        "{out}"
    );
    // A changed byte is found.
    let segment = std::fs::read_dir(dir.path().join("tape"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .min()
        .unwrap();
    let whole = std::fs::read(&segment).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 3;
    changed[middle] ^= 0x10;
    std::fs::write(&segment, &changed).unwrap();
    assert_eq!(verb(dir.path(), &["tape", "verify"], &env).0, 65);
    std::fs::write(&segment, &whole).unwrap();
    // The exchange that plays it shows what was recorded, and it ends with the tape.
    let mut player = std::process::Command::new(crate::harness::BIN)
        .args([
            "tape",
            "replay",
            "--speed",
            "20",
            "--json",
            segment.to_str().unwrap(),
        ])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(
        &mut std::io::BufReader::new(player.stdout.as_mut().unwrap()),
        &mut line,
    )
    .unwrap();
    let rest = serde_json::from_str::<Value>(&line).unwrap()["rest"]
        .as_str()
        .unwrap()
        .to_owned();
    let ticker = || {
        crate::harness::raw(
            &rest,
            "GET",
            "/api/v5/market/ticker?instId=BTC-USDT-SWAP",
            "",
            "",
        )
        .1
    };
    wait_for("a price of the tape", || {
        serde_json::from_str::<Value>(&ticker()).is_ok_and(|v| {
            v["data"][0]["bidPx"]
                .as_str()
                .is_some_and(|px| !px.is_empty())
        })
    });
    wait_for("the end of the tape", || {
        player.try_wait().unwrap().is_some()
    });
    assert_eq!(player.wait().unwrap().code(), Some(0));
}

/// The import keeps every row: an export equals the file.
#[test]
fn real_candles_are_imported_and_traded() {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data/btc-perp-1m-2022-01.csv.gz");
    if !file.exists() {
        println!("skipped: the recorded candles (../shared/data) are not here");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (code, out) = verb(
        dir.path(),
        &[
            "data",
            "import",
            file.to_str().unwrap(),
            "--inst",
            "BTC-PERP",
            "--contract-value",
            "0.01",
            "--json",
        ],
        &[],
    );
    let done = json_of(&out);
    assert_eq!(
        (
            code,
            done["rows"].as_i64(),
            done["missing"].as_i64(),
            done["dropped"].as_i64()
        ),
        (0, Some(45_031), Some(0), Some(0)),
        "{out}"
    );
    // What was imported is what the file says, to the last digit.
    let back = dir.path().join("back.csv");
    let args = [
        "data",
        "export",
        "--inst",
        "BTC-PERP",
        "--bar",
        "1m",
        "--contract-value",
        "0.01",
        "--out",
        back.to_str().unwrap(),
    ];
    assert_eq!(verb(dir.path(), &args, &[]).0, 0);
    let read = |path: &std::path::Path| alpha_arena::data::read_candles(path).unwrap().rows;
    assert_eq!(read(&back), read(&file));
    // The month is traded from its beginning; the whole of it takes twenty minutes.
    std::fs::copy(&file, dir.path().join("btc-perp-1m.csv.gz")).unwrap();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/config/replay.toml");
    let mut daemon = Daemon::start(
        dir.path(),
        &["--config", config, "run", "--cycles", "300"],
        &[],
    );
    assert_eq!(daemon.wait_exit().code(), Some(0), "{}", daemon.log());
    assert_eq!(
        count(dir.path(), "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'"),
        300
    );
    assert!(
        count(dir.path(), "SELECT COUNT(*) FROM fills") > 0,
        "{}",
        daemon.log()
    );
}
