//! Growth of a running daemon: the default configuration on the embedded exchange at a hundred
//! times the wall's speed, what `trading.db` grows by and what the process holds in memory.
//!
//! `GROWTH_MINUTES=15 cargo test --release --test growth -- --nocapture` is a day of market time
//! and prints both every minute, and the database by table. Without it a few seconds say what a
//! decision cycle costs; memory is then only printed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// Bytes that a day of market time may cost.
const DAY: u64 = 100_000_000;
/// Decision cycles of the default configuration in a day: one every five seconds.
const CYCLES: u64 = 86_400 / 5;
/// Resident bytes.
const MEMORY: u64 = 40 << 20;
/// Resident bytes more in each minute after the tenth.
const MORE: u64 = 1 << 19;

struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn db(dir: &Path) -> Option<Connection> {
    Connection::open_with_flags(dir.join("trading.db"), OpenFlags::SQLITE_OPEN_READ_ONLY).ok()
}

fn number(db: &Connection, sql: &str) -> u64 {
    db.query_row(sql, [], |row| row.get::<_, i64>(0))
        .map_or(0, i64::unsigned_abs)
}

/// Bytes of the database, and cycles in it.
fn kept(dir: &Path) -> (u64, u64) {
    let Some(db) = db(dir) else { return (0, 0) };
    let bytes = number(
        &db,
        "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
    );
    (
        bytes,
        number(&db, "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'"),
    )
}

fn resident(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn by_table(dir: &Path) {
    let db = db(dir).unwrap();
    let Ok(mut query) =
        db.prepare("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC LIMIT 20")
    else {
        return println!("this SQLite has no dbstat");
    };
    let rows = query
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })
        .unwrap();
    println!("{:<36}{:>10}", "table or index", "MiB");
    for (name, bytes) in rows.map(Result::unwrap) {
        println!("{name:<36}{:>10.2}", mib(bytes.unsigned_abs()));
    }
}

/// A day adds at most 100 MB to the database; the long run holds at most 40 MiB in memory.
#[test]
fn disk_and_memory_stay_bounded() {
    let minutes: Option<u64> = std::env::var("GROWTH_MINUTES")
        .ok()
        .and_then(|text| text.parse().ok());
    let dir = tempfile::tempdir().unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_alpha-arena"))
        .args([
            "--state-dir",
            &dir.path().display().to_string(),
            "run",
            "--speed",
            "100",
        ])
        .current_dir(dir.path())
        .env_clear()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut run = Run(child);
    // What the first cycles cost (schema, instruments, warm-up) is no growth.
    let mut waited = 0;
    while kept(dir.path()).1 < 50 {
        assert!(
            run.0.try_wait().unwrap().is_none() && waited < 600,
            "it does not trade"
        );
        std::thread::sleep(Duration::from_millis(100));
        waited += 1;
    }
    let began = kept(dir.path());
    let mut memory = Vec::new();
    match minutes {
        Some(minutes) => {
            println!(
                "{:>6}{:>12}{:>12}{:>10}",
                "minute", "memory MiB", "db MiB", "cycles"
            );
            for minute in 1..=minutes {
                std::thread::sleep(Duration::from_secs(60));
                memory.push(resident(run.0.id()));
                let (bytes, cycles) = kept(dir.path());
                println!(
                    "{minute:>6}{:>12.1}{:>12.1}{cycles:>10}",
                    mib(memory[memory.len() - 1]),
                    mib(bytes)
                );
            }
        }
        None => {
            while kept(dir.path()).1 < began.1 + 200 {
                assert!(run.0.try_wait().unwrap().is_none(), "it has ended");
                std::thread::sleep(Duration::from_millis(100));
            }
            println!("resident {:.1} MiB", mib(resident(run.0.id())));
        }
    }
    let ended = kept(dir.path());
    by_table(dir.path());
    let cycle = (ended.0 - began.0) / (ended.1 - began.1).max(1);
    println!(
        "{cycle} bytes a cycle, {:.1} MB a day",
        (cycle * CYCLES) as f64 / 1e6
    );
    assert!(
        cycle * CYCLES <= DAY,
        "{cycle} bytes a cycle are {} a day",
        cycle * CYCLES
    );
    let most = memory.iter().copied().max().unwrap_or(0);
    assert!(most <= MEMORY, "{:.1} MiB resident", mib(most));
    if memory.len() > 10 {
        let after = u64::try_from(memory.len() - 10).unwrap();
        let more = memory[memory.len() - 1].saturating_sub(memory[9]) / after;
        println!("{:.2} MiB more in each minute after the tenth", mib(more));
        assert!(more <= MORE, "{:.2} MiB more in each minute", mib(more));
    }
}
