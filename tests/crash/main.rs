//! The crash matrix: the real binary against the exchange as a process of its own, killed with
//! SIGKILL at named points of the order path and at its n-th disk sync, started again, and in the
//! end compared with the exchange's ledger.
//!
//! `CRASH_KILLS=1000 cargo test --release --test crash -- --nocapture kills` runs the whole matrix
//! and prints the table. Without it a short run takes a fresh seed and prints it. The exchange's
//! clock runs 60 times faster, and with it the proofs of absence: that factor is printed too.
//! Recovery at the default timings has a test of its own.

#[path = "../it/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "../it/reckoning.rs"]
mod reckoning;

mod power;
mod rows;
mod shim;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use harness::{Daemon, Exchange, busy_config, count, open_db, pair, wait_for};

/// Points at which the process is killed, and in which pass at the latest.
const POINTS: [(&str, u64); 26] = [
    ("start_loaded", 1),
    ("start_restored", 1),
    ("sweep", 4),
    ("sweep_joined", 4),
    ("decision", 400),
    ("allocator", 60),
    ("gate", 30),
    ("intent_before", 40),
    ("writer", 400),
    ("before_commit", 400),
    ("after_commit", 400),
    ("intent_durable", 40),
    ("executor", 400),
    ("executor_send", 40),
    ("executor_answered", 40),
    ("executor_cancelled", 8),
    ("move_ahead", 4),
    ("stop_before", 4),
    ("stop_durable", 4),
    ("stop_answered", 4),
    ("tracker", 1200),
    ("tracker_keep", 300),
    ("tracker_kept", 300),
    ("account", 40),
    ("account_read", 3),
    ("market", 600),
];
/// Speed of the venue's clock, as a multiple of wall time; the proofs of absence run with it.
const SPEED: &str = "60";
/// Kills between two comparisons with the ledger.
const CHAIN: usize = 5;

fn word(seed: u64, salt: u64) -> u64 {
    let mut z = seed.wrapping_add(salt.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Counts in a row of the table.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    kills: usize,
    by_hand: usize,
    orders: i64,
    fills: i64,
    unknown: i64,
}

/// Kills a daemon again and again on one state directory, then lets it come to rest and compares.
fn chain(point: &str, most: u64, seed: u64, kills: usize) -> (Tally, Vec<String>) {
    let exchange = Exchange::start(&["--speed", SPEED, "--seed", &(seed % 1000 + 1).to_string()]);
    let dir = tempfile::tempdir().unwrap();
    let config = scaled_config(dir.path());
    let args = ["--config", config.as_str(), "run"];
    let mut tally = Tally::default();
    for kill in 0..kills {
        let pass = 1 + word(seed, kill as u64) % most;
        let mut env = exchange.env();
        if point == "sync" {
            let at = 1 + word(seed, kill as u64) % 120;
            env.extend(shim::disk(&[("SHIM_KILL_AT", &at.to_string())]));
        } else {
            env.push(pair("ALPHA_ARENA_FAULT", &format!("{point}=kill@{pass}")));
        }
        let mut daemon = Daemon::start(dir.path(), &args, &env);
        let began = Instant::now();
        let mut ready = None;
        // A point that is not reached in time is a kill by hand, at whatever moment that is. The
        // time is that of a daemon at work: a busy machine may take long to start one.
        let died = loop {
            if daemon.ended().is_some() {
                break true;
            }
            if ready.is_none() && daemon.log().contains("ready: reconciled") {
                ready = Some(Instant::now());
            }
            let spent = |since: Instant, limit| since.elapsed() > Duration::from_millis(limit);
            if ready.is_some_and(|since| spent(since, 4000)) || spent(began, 20_000) {
                break false;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        if !died {
            daemon.kill();
            tally.by_hand += 1;
        }
        tally.kills += 1;
    }
    for case in reckoning::cases(&open_db(dir.path())) {
        println!("{point}: {case}");
    }
    tally.orders = count(
        dir.path(),
        "SELECT COUNT(*) FROM orders WHERE state NOT IN ('blocked', 'suppressed')",
    );
    tally.fills = count(dir.path(), "SELECT COUNT(*) FROM fills");
    let wrong = settle(&exchange, dir.path());
    tally.unknown = count(
        dir.path(),
        "SELECT COUNT(*) FROM order_lifecycle_events WHERE to_state = 'unknown' AND from_state <> 'unknown'",
    );
    (tally, wrong)
}

/// The busy configuration, with questions at the pace of the fast clock and an order that follows
/// the touch.
fn scaled_config(dir: &Path) -> String {
    let path = busy_config(dir);
    let text = std::fs::read_to_string(&path)
        .unwrap()
        .replace("ttl_ms = 4000", "ttl_ms = 4000, then = \"reprice\"")
        .replace("collar_bps = 3 ", "collar_bps = 1, tries = 3 ")
        .replace(
            "policy = \"market\"",
            "policy = \"market\", slippage_bps = 50",
        );
    let crosser = "\n[[contender]]\nid = \"crosser\"\nkind = \"rule\"\nstrategy = \"rsi_reversion\"\nstage = \"live\"\nweight = \"0.1\"\n\
        instruments = [\"ETH-USDT-SWAP\"]\nparams = { period = 4, low = 40, high = 60 }\n\
        execution = { policy = \"post_only\", ttl_ms = 2000, then = \"cross\" }\n";
    let text = text + crosser;
    let truth =
        "\n[truth]\nask_at_ms = [\"60\"]\nask_every_ms = 100\nunknown_instruments_max = 100\n";
    std::fs::write(
        &path,
        text.replacen("[[contender]]", &format!("{truth}[[contender]]"), 1),
    )
    .unwrap();
    path
}

/// Starts once more with all contenders off, waits until nothing is open, and compares.
fn settle(exchange: &Exchange, dir: &Path) -> Vec<String> {
    let busy = std::fs::read_to_string(scaled_config(dir)).unwrap();
    let calm = dir.join("calm.toml");
    std::fs::write(&calm, busy.replace("stage = \"live\"", "stage = \"off\"")).unwrap();
    let calm = calm.display().to_string();
    let mut daemon = Daemon::start(dir, &["--config", &calm, "run"], &exchange.env());
    let began = Instant::now();
    let limit = Duration::from_secs(90);
    let open = "SELECT COUNT(*) FROM orders WHERE state IN
        ('intended', 'sent', 'unknown', 'acked', 'partially_filled', 'cancel_requested')";
    let mut wrong = vec!["it never came to rest".to_owned()];
    while began.elapsed() < limit {
        if let Some(how) = daemon.ended() {
            return vec![format!(
                "the last start ended by itself ({how:?}):\n{}",
                daemon.log()
            )];
        }
        // What an earlier life has found wrong may end by the venue's word; what this one does is
        // wrong.
        let halted = daemon.log().contains("trading is halted");
        if halted || (daemon.log().contains("ready: reconciled") && count(dir, open) == 0) {
            wrong = reckoning::differences(&exchange.ledger(), &open_db(dir));
            if halted {
                wrong.push(format!("halted:\n{}", daemon.log()));
            }
            if wrong.is_empty() || halted {
                break;
            }
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    if !wrong.is_empty() {
        // Whoever reads this has nothing but these lines: which orders, how they came there, what
        // the venue has.
        wrong.extend(reckoning::unfinished(&exchange.ledger(), &open_db(dir)));
        wrong.extend(reckoning::cases(&open_db(dir)));
        let log = daemon.log();
        // At sixty times the speed bars are late whenever the machine is busy.
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| !line.contains("a bar that is late"))
            .collect();
        wrong.push(lines[lines.len().saturating_sub(30)..].join("\n"));
    }
    wrong.extend(reckoning::damage(&open_db(dir)));
    wrong
}

/// Killed at each fault point: no order is lost, doubled or imagined, and no position is wrong.
#[test]
fn kills_at_every_point_lose_nothing() {
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seed = number("CRASH_SEED").unwrap_or(fresh % 1_000_000_000);
    let points: Vec<(&str, u64)> = POINTS.iter().copied().chain([("sync", 1)]).collect();
    let wanted = number("CRASH_KILLS").unwrap_or(points.len() as u64 * 2) as usize;
    let each = wanted.div_ceil(points.len());
    println!(
        "seed {seed}: {each} kills at each of {} points (CRASH_SEED={seed} CRASH_KILLS={wanted} repeats it)",
        points.len()
    );
    println!("the venue's clock and the proofs of absence run {SPEED} times faster than the wall");
    let jobs: Vec<(&str, u64, u64, usize)> = points
        .iter()
        .flat_map(|(point, most)| {
            let chains = each.div_ceil(CHAIN);
            (0..chains).map(move |i| {
                let kills = CHAIN.min(each - i * CHAIN);
                (
                    *point,
                    *most,
                    word(seed, i as u64 * 1000 + point.len() as u64),
                    kills,
                )
            })
        })
        .collect();
    let next = AtomicUsize::new(0);
    let table: Mutex<BTreeMap<&str, Tally>> = Mutex::default();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    let began = Instant::now();
    std::thread::scope(|scope| {
        // Killed and waiting most of the time: more than there are cores.
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some((point, most, seed, kills)) =
                    jobs.get(next.fetch_add(1, Ordering::Relaxed)).copied()
                {
                    let (tally, found) = chain(point, most, seed, kills);
                    let mut table = table.lock().unwrap();
                    let row = table.entry(point).or_default();
                    row.kills += tally.kills;
                    row.by_hand += tally.by_hand;
                    row.orders += tally.orders;
                    row.fills += tally.fills;
                    row.unknown += tally.unknown;
                    drop(table);
                    wrong.lock().unwrap().extend(
                        found
                            .into_iter()
                            .map(|w| format!("{point} (seed {seed}): {w}")),
                    );
                }
            });
        }
    });
    let (table, wrong) = (table.into_inner().unwrap(), wrong.into_inner().unwrap());
    let sum = |of: fn(&Tally) -> i64| table.values().map(of).sum::<i64>();
    println!(
        "{:<20}{:>8}{:>12}{:>10}{:>10}{:>10}",
        "killed at", "kills", "of them late", "orders", "fills", "unknown"
    );
    for (point, t) in &table {
        println!(
            "{point:<20}{:>8}{:>12}{:>10}{:>10}{:>10}",
            t.kills, t.by_hand, t.orders, t.fills, t.unknown
        );
    }
    let kills = sum(|t| t.kills as i64);
    let late = sum(|t| t.by_hand as i64);
    println!(
        "{:<20}{kills:>8}{late:>12}{:>10}{:>10}{:>10}",
        "all",
        sum(|t| t.orders),
        sum(|t| t.fills),
        sum(|t| t.unknown)
    );
    let of = |word: &str| wrong.iter().filter(|w| w.contains(word)).count();
    println!(
        "lost {}, doubled {}, imagined {}, wrong {}, other {} in {:.0} s",
        of(": lost:"),
        of(": doubled:"),
        of(": imagined:"),
        of(": wrong:"),
        wrong.len() - of(": lost:") - of(": doubled:") - of(": imagined:") - of(": wrong:"),
        began.elapsed().as_secs_f64()
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(
        sum(|t| t.orders) > 0,
        "no order was ever sent: this proves nothing"
    );
    assert!(late * 2 < kills, "most points were never reached");
    let missed: Vec<&&str> = table
        .iter()
        .filter(|(_, t)| t.by_hand >= t.kills)
        .map(|(point, _)| point)
        .collect();
    assert!(each < 20 || missed.is_empty(), "never reached: {missed:?}");
}

/// At the default timings and the venue's own speed: an order that was swallowed by a crash is
/// proven absent.
#[test]
fn order_lost_in_a_crash_expires() {
    let exchange = Exchange::start(&["--speed", "60"]);
    let dir = tempfile::tempdir().unwrap();
    let config = harness::busy_config(dir.path());
    let args = ["--config", config.as_str(), "run"];
    let mut env = exchange.env();
    env.push(pair("ALPHA_ARENA__VENUE__ORDER_EXPIRY_MS", "5000"));
    // Warm: history and decisions come sixty times faster; then the venue's clock becomes the
    // wall's.
    let mut first = env.clone();
    first.push(pair("ALPHA_ARENA_FAULT", "executor_send=kill@3"));
    let mut daemon = Daemon::start(dir.path(), &args, &first);
    daemon.wait_exit();
    exchange.http("POST", "/sim/clock", r#"{"rate": 1.0}"#);
    let again = Daemon::start(dir.path(), &args, &env);
    let settled = "SELECT COUNT(*) FROM order_lifecycle_events WHERE from_state = 'unknown' AND to_state = 'expired'";
    let began = Instant::now();
    wait_for("the proof of absence", || count(&again.dir, settled) > 0);
    println!(
        "settled {:.1} s after the start",
        began.elapsed().as_secs_f64()
    );
    assert!(
        !again.log().contains("trading is halted: contradiction"),
        "{}",
        again.log()
    );
}
