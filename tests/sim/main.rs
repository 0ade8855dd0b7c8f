//! Order truth under faults, simulated: the real tracker, executor, gate, allocator, account sync
//! and database statements, against the core of the exchange, on a seeded clock. One thread, no
//! sockets, no real time: a seed is a story, and the same seed is the same story to the last byte.
//!
//! `SIM_SEEDS=10000 cargo test --release --test sim -- --nocapture` runs the whole proof and prints
//! a table; `SIM_SEED=17 …` plays one seed and prints what happened. Without either a short run
//! takes a fresh seed and prints it.

mod checks;
mod daemon;
#[path = "../it/oracle.rs"]
mod oracle;
mod signs;
mod story;
mod world;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use story::{Outcome, play};

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs seeds from `first` on as many threads as there are cores. Returns the sums and the
/// violations.
fn run(first: u64, count: u64, progress: bool) -> (BTreeMap<String, u64>, Vec<u64>, Vec<String>) {
    let next = AtomicU64::new(first);
    let sums: Mutex<BTreeMap<String, u64>> = Mutex::default();
    let wrong: Mutex<Vec<String>> = Mutex::default();
    let all_waits: Mutex<Vec<u64>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || wrong.lock().unwrap().len() > 20 {
                        return;
                    }
                    let Outcome {
                        counts,
                        violations,
                        waits,
                        calm,
                        ..
                    } = play(seed, false);
                    if calm {
                        all_waits.lock().unwrap().extend(waits);
                    }
                    let mut sums = sums.lock().unwrap();
                    for (name, n) in counts {
                        *sums.entry(name).or_default() += n;
                    }
                    *sums.entry("seeds".into()).or_default() += 1;
                    let done = sums["seeds"];
                    drop(sums);
                    for violation in &violations {
                        eprintln!("seed {seed}: {violation}");
                    }
                    wrong
                        .lock()
                        .unwrap()
                        .extend(violations.into_iter().map(|v| format!("seed {seed}: {v}")));
                    if progress && done.is_multiple_of(500) {
                        eprintln!("{done} of {count} seeds, {} s", began.elapsed().as_secs());
                    }
                }
            });
        }
    });
    (
        sums.into_inner().unwrap(),
        all_waits.into_inner().unwrap(),
        wrong.into_inner().unwrap(),
    )
}

fn table(sums: &BTreeMap<String, u64>, seconds: f64) {
    println!("{:<44}{:>12}", "simulated order lifecycles", "");
    for (name, n) in sums {
        println!("{name:<44}{n:>12}");
    }
    println!("{:<44}{seconds:>12.1}", "seconds");
}

/// Nor is one imagined, whatever the faults.
#[test]
fn no_order_is_lost_or_doubled() {
    if let Some(seed) = env("SIM_SEED") {
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(false)
            .without_time()
            .with_target(false)
            .init();
        let outcome = play(seed, true);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        println!("digest {:016x}", outcome.digest);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}:\n{}",
            outcome.violations.join("\n")
        );
        return;
    }
    let count = env("SIM_SEEDS").unwrap_or(60);
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let first = env("SIM_FIRST").unwrap_or(if count >= 1000 {
        1
    } else {
        fresh % 1_000_000_000
    });
    println!(
        "seeds {first} to {} (SIM_FIRST={first} SIM_SEEDS={count} repeats them)",
        first + count - 1
    );
    let began = Instant::now();
    let (sums, mut waits, wrong) = run(first, count, count >= 1000);
    table(&sums, began.elapsed().as_secs_f64());
    waits.sort_unstable();
    let at = |share: usize| {
        waits
            .get((waits.len() * share / 1000).min(waits.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0)
    };
    println!(
        "an unknown order is settled after, while reads are answered, at the default timings, s: p50 {:.1}, p90 {:.1}, p99 {:.1}, of {}",
        at(500) as f64 / 1e3,
        at(900) as f64 / 1e3,
        at(990) as f64 / 1e3,
        waits.len()
    );
    assert!(
        wrong.is_empty(),
        "{} violations:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    if count >= 10_000 {
        assert!(sums["creates"] >= 200_000, "too few lifecycles");
        assert!(at(990) <= 30_000, "an unknown order waits too long");
    }
    assert!(
        sums["creates"] >= count * 10,
        "too little happened to prove anything"
    );
}

/// Entries while the venue refuses one stop in ten: each position is protected, or closed, in time.
#[test]
fn positions_survive_one_stop_in_ten_refused() {
    let seeds = env("SIM_STOPS").unwrap_or(24);
    let weather = world::Weather {
        stop_refused: 10,
        ..Default::default()
    };
    // What is not protected for ten seconds is closed; an order takes a moment.
    let limit = 10_000 + 3_000;
    let (mut entries, mut refused, mut total, mut longest) = (0, 0, 0, 0);
    for seed in 1..=seeds {
        let outcome = story::play_in(seed, weather, limit);
        assert!(
            outcome.violations.is_empty(),
            "seed {seed}:\n{}",
            outcome.violations.join("\n")
        );
        let count = |name: &str| outcome.counts.get(name).copied().unwrap_or(0);
        entries += count("creates");
        refused += count("stops refused") + count("attached stops gone");
        total += count("milliseconds of bare positions");
        longest = longest.max(outcome.bare_longest);
    }
    println!(
        "{entries} creates, {refused} stops refused or gone: without a stop at the longest {:.1} s, in all {:.1} s (limit {:.1} s)",
        longest as f64 / 1e3,
        total as f64 / 1e3,
        limit as f64 / 1e3
    );
    assert!(
        entries >= 500 && refused >= 30,
        "too little happened: {entries} creates, {refused} refused"
    );
}

/// Two runs of a seed are the same to the last byte.
#[test]
fn same_seed_gives_the_same_trace() {
    let mut told = 0;
    for seed in 1..=8 {
        let (one, two) = (play(seed, true), play(seed, true));
        let differs = one.trace.iter().zip(&two.trace).position(|(a, b)| a != b);
        if let Some(at) = differs {
            panic!(
                "seed {seed} differs at line {at}:\n{}\n{}",
                one.trace[at], two.trace[at]
            );
        }
        assert_eq!(
            (one.trace.len(), one.digest),
            (two.trace.len(), two.digest),
            "seed {seed}"
        );
        told += one.trace.len();
    }
    println!("{told} lines");
    assert!(told > 500, "the seeds told nothing: {told} lines");
}

/// Each promise switched off in turn: the harness must see it.
#[test]
fn harness_fails_on_broken_promises() {
    let me = std::env::current_exe().unwrap();
    for promise in ["p1", "p2", "p3", "p4", "p5"] {
        let output = std::process::Command::new(&me)
            .args(["--exact", "no_order_is_lost_or_doubled", "--nocapture"])
            .env("ALPHA_ARENA_SABOTAGE", promise)
            .env("SIM_SEEDS", "60")
            .env("SIM_FIRST", "1")
            .env_remove("SIM_SEED")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said
            .lines()
            .find(|line| line.starts_with("seed "))
            .unwrap_or("")
            .to_owned();
        println!("{promise} broken: {first}");
        assert!(
            !output.status.success(),
            "{promise} is broken and nobody noticed"
        );
        assert!(
            said.contains("violations:"),
            "{promise}: it failed for another reason:\n{said}"
        );
    }
}
