//! `backtest` with the real binary: results do not depend on threads, kills or shards, and say what
//! they are made of.

#[path = "it/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use harness::{command, wait_for};

/// A directory with so many generated minutes.
fn history(dir: &Path, bars: &str) -> PathBuf {
    let of = dir.join("history");
    std::fs::create_dir_all(&of).unwrap();
    said(
        &of,
        &[
            "data",
            "generate",
            "--inst",
            "BTC-USDT-SWAP",
            "--bars",
            bars,
        ],
    );
    of
}

/// Runs a verb that must succeed and returns what it prints.
#[track_caller]
fn said(dir: &Path, args: &[&str]) -> String {
    std::fs::create_dir_all(dir).unwrap();
    let out = command(dir, args).output().unwrap();
    assert!(
        out.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

#[track_caller]
fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&said(dir, args)).unwrap()
}

const SEARCH: [&str; 11] = [
    "backtest",
    "batch",
    "--strategy",
    "sma_cross",
    "--axis",
    "fast=5:25:5",
    "--axis",
    "slow=40:100:20",
    "--inst",
    "BTC-USDT-SWAP",
    "--json",
];

fn search<'a>(history: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&SEARCH[..], &["--history-dir", history], more].concat()
}

/// All runs of the newest batch, to the last digit.
fn runs(dir: &Path) -> String {
    said(dir, &["backtest", "export", "--out", "runs.csv"]);
    std::fs::read_to_string(dir.join("runs.csv")).unwrap()
}

/// One thread, two threads, a kill and a resume, or three merged shards give the same runs; a
/// missing shard is named.
#[test]
fn batch_survives_threads_kills_and_shards() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path(), "20000");
    let history = history.to_str().unwrap();
    let at = |name: &str| dir.path().join(name);
    let one = json(&at("one"), &search(history, &["--threads", "1"]));
    assert_eq!(
        (one["runs"].as_i64(), one["done"].as_i64()),
        (Some(20), Some(20))
    );
    let expected = runs(&at("one"));
    assert!(
        expected.lines().count() == 21 && expected.contains("\"\"sharpe\"\""),
        "{expected}"
    );
    let two = json(&at("two"), &search(history, &["--threads", "2"]));
    assert_eq!(
        two["batch"], one["batch"],
        "the same search is the same batch"
    );
    assert_eq!(runs(&at("two")), expected);
    let again = json(&at("two"), &search(history, &[]));
    assert_eq!(again["run_now"], 0, "what is there is not run again");

    // Killed once something is kept, and started again.
    let killed = at("killed");
    std::fs::create_dir_all(&killed).unwrap();
    let mut child = command(&killed, &search(history, &["--threads", "1"]))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let kept = || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = rusqlite::Connection::open_with_flags(killed.join("research.db"), flags).ok()?;
        db.query_row("SELECT COUNT(*) FROM backtest_runs", [], |row| {
            row.get::<_, i64>(0)
        })
        .ok()
    };
    wait_for("runs that are kept", || {
        kept().unwrap_or(0) > 0 || child.try_wait().unwrap().is_some()
    });
    drop(child.kill());
    child.wait().unwrap();
    let before = kept().unwrap();
    let resumed = json(&killed, &search(history, &["--threads", "2"]));
    assert_eq!(resumed["run_now"].as_i64(), Some(20 - before));
    println!("killed with {before} of 20 runs kept");
    assert_eq!(runs(&killed), expected);

    // Three shards, one of them lost at first.
    for shard in ["1/3", "3/3"] {
        json(&at(&shard[..1]), &search(history, &["--shard", shard]));
    }
    let (first, third) = (at("1"), at("3"));
    let merge = |from: &[&Path]| {
        let mut args = vec!["backtest", "merge", "--json", "--shards", "3"];
        args.extend(from.iter().map(|path| path.to_str().unwrap()));
        std::fs::create_dir_all(at("all")).unwrap();
        let out = command(&at("all"), &args).output().unwrap();
        (
            out.status.code(),
            serde_json::from_slice::<Value>(&out.stdout).unwrap(),
        )
    };
    let (code, lost) = merge(&[&first, &third]);
    assert_eq!(
        (code, &lost["batches"][0]["lost_shards"]),
        (Some(65), &serde_json::json!([2]))
    );
    json(&at("2"), &search(history, &["--shard", "2/3"]));
    let (code, whole) = merge(&[&at("2")]);
    assert_eq!((code, &whole["whole"]), (Some(0), &Value::Bool(true)));
    assert_eq!(runs(&at("all")), expected);
}

/// Ranking gives a verdict on luck and the probability of overfitting; summaries are written as CSV
/// and Parquet.
#[test]
fn batch_is_ranked_summarised_and_walked_forward() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path(), "43200");
    let history = history.to_str().unwrap();
    let of = dir.path().join("batch");
    json(&of, &search(history, &["--limits", "off"]));
    let ranking = json(&of, &["backtest", "rank", "--json", "--top", "3"]);
    let ranking = &ranking["ranking"];
    assert_eq!(
        (
            ranking["trials"].as_i64(),
            ranking["rows"].as_array().unwrap().len()
        ),
        (Some(20), 3)
    );
    assert!(
        ranking["verdict"]
            .as_str()
            .unwrap()
            .contains("distinguishable from luck"),
        "{ranking}"
    );
    assert!(
        ranking["pbo"]
            .as_f64()
            .is_some_and(|pbo| (0.0..=1.0).contains(&pbo))
    );
    assert!(said(&of, &["backtest", "rank"]).contains("Probability of overfitting"));
    let unknown = command(&of, &["backtest", "rank", "--by", "luck"])
        .output()
        .unwrap();
    assert_eq!(unknown.status.code(), Some(64));

    let weekly = json(
        &of,
        &[
            "backtest",
            "summary",
            "--weekly",
            "--json",
            "--out",
            "weeks.parquet",
        ],
    );
    assert_eq!(
        weekly["rows"].as_array().unwrap().len(),
        20 * 5,
        "thirty days from a Wednesday touch five weeks"
    );
    said(
        &of,
        &["backtest", "summary", "--daily", "--out", "days.csv"],
    );
    let days = std::fs::read_to_string(of.join("days.csv")).unwrap();
    assert_eq!(days.lines().count(), 1 + 20 * 30);
    assert_eq!(
        &std::fs::read(of.join("weeks.parquet")).unwrap()[..4],
        b"PAR1"
    );

    let walk = json(
        &of,
        &[
            "backtest",
            "walkforward",
            "--train",
            "12",
            "--test",
            "6",
            "--purge",
            "1",
            "--json",
        ],
    );
    assert_eq!(
        walk["markets"][0]["walk"]["folds"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

/// W1 of the benchmarks in one loop, over the numbers as they stand in the file: (equity at the
/// end, orders).
fn by_hand(rows: &[(f64, f64)], fast: usize, slow: usize) -> (f64, u64) {
    let ticks: Vec<i64> = rows
        .iter()
        .map(|(_, close)| (close * 1e8).round() as i64)
        .collect();
    let (mut cash, mut held, mut orders, mut wanted) = (10_000.0, 0.0, 0, false);
    for (i, (open, close)) in rows.iter().enumerate() {
        if wanted != (held > 0.0) {
            orders += 1;
            if wanted {
                held = cash / (open * 1.0005 * 1.001);
                cash = 0.0;
            } else {
                cash = held * open * 0.9995 * 0.999;
                held = 0.0;
            }
        }
        if i + 1 >= slow {
            let sum = |n: usize| {
                ticks[i + 1 - n..=i]
                    .iter()
                    .map(|t| i128::from(*t))
                    .sum::<i128>()
            };
            wanted = sum(fast) * slow as i128 > sum(slow) * fast as i128;
        }
        if i + 1 == rows.len() {
            return (cash + held * close, orders);
        }
    }
    (cash, orders)
}

/// On the rows of a file, filled at the next open with costs: the same orders, and a final equity
/// within 1e-11.
#[test]
fn next_open_backtest_matches_a_plain_loop() {
    let dir = tempfile::tempdir().unwrap();
    let generated = dir.path().join("walk.csv");
    said(
        dir.path(),
        &["data", "generate", "--bars", "20000", "--out", "walk.csv"],
    );
    let real =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/btc-perp-1m-2022-01.csv.gz");
    let mut files = vec![generated];
    if real.exists() {
        files.push(real);
    } else {
        println!("skipped: real candles are not here");
    }
    for file in files {
        let rows: Vec<(f64, f64)> = alpha_arena::data::read_candles(&file)
            .unwrap()
            .rows
            .iter()
            .map(|row| {
                (
                    row.candle.open.to_string().parse().unwrap(),
                    row.candle.close.to_string().parse().unwrap(),
                )
            })
            .collect();
        let name = file.to_str().unwrap();
        for (fast, slow) in [(20, 100), (5, 50)] {
            let (quick, lazy) = (format!("fast={fast}"), format!("slow={slow}"));
            let args = [
                "backtest",
                "run",
                "--strategy",
                "sma_cross",
                "-p",
                &quick,
                "-p",
                &lazy,
                "--candles",
                name,
            ];
            let costs = [
                "--fills",
                "next-open",
                "--taker-bps",
                "10",
                "--half-spread-bps",
                "5",
                "--json",
            ];
            let told = json(dir.path(), &[&args[..], &costs[..]].concat());
            let (equity, orders) = by_hand(&rows, fast, slow);
            assert_eq!(
                told["orders"].as_u64(),
                Some(orders),
                "{name} {fast}/{slow}"
            );
            let off = told["equity_end"].as_f64().unwrap() / equity - 1.0;
            assert!(
                off.abs() < 1e-11,
                "{name} {fast}/{slow}: {} is not {equity}",
                told["equity_end"]
            );
            println!(
                "{} bars of {name}, {fast}/{slow}: {orders} orders, equity off by {off:.1e}",
                rows.len()
            );
        }
    }
}

/// A run names build, data, bars, parameters and costs; the fast and the exact engine give the same
/// fills.
#[test]
fn backtest_names_its_inputs_and_engines_agree() {
    let dir = tempfile::tempdir().unwrap();
    let history = history(dir.path(), "5000");
    let args = [
        "backtest",
        "run",
        "--strategy",
        "donchian",
        "-p",
        "entry=30",
        "-p",
        "exit=10",
        "-p",
        "stop_pct=0.5",
    ];
    let args = [&args[..], &["--inst", "BTC-USDT-SWAP", "--json"]].concat();
    let fast = json(
        &history,
        &[
            &args[..],
            &["--fills-csv", "fast.csv", "--html", "run.html"],
        ]
        .concat(),
    );
    let exact = json(
        &history,
        &[&args[..], &["--fills-csv", "exact.csv", "--exact"]].concat(),
    );
    for made_of in ["build", "data", "inst", "bars", "params", "costs"] {
        assert_eq!(fast[made_of], exact[made_of], "{made_of}");
        assert!(!fast[made_of].is_null(), "{made_of}");
    }
    let rows = |name: &str| {
        let text = std::fs::read_to_string(history.join(name)).unwrap();
        let row = |line: &str| {
            line.split(',')
                .take(7)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        text.lines().map(row).collect::<Vec<_>>()
    };
    assert!(rows("fast.csv").len() > 50);
    assert_eq!(
        rows("fast.csv"),
        rows("exact.csv"),
        "bar, decision, order, cause, side, size and price"
    );
    assert!(
        std::fs::read_to_string(history.join("run.html"))
            .unwrap()
            .contains("</html>")
    );
    let typo = command(
        &history,
        &[
            "backtest",
            "run",
            "--strategy",
            "donchain",
            "--inst",
            "BTC-USDT-SWAP",
        ],
    )
    .output()
    .unwrap();
    assert_eq!(typo.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&typo.stderr).contains("did you mean donchian?"));
    let missing = command(
        &history,
        &[
            "backtest",
            "run",
            "--strategy",
            "donchian",
            "--inst",
            "DOGE-USDT",
        ],
    )
    .output()
    .unwrap();
    assert_eq!(
        missing.status.code(),
        Some(65),
        "{}",
        String::from_utf8_lossy(&missing.stderr)
    );
}
