//! What a compiler cannot check inside one crate: who may name whom, where SQL, floats and clocks
//! may stand, and that the crates the project is built on are used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Module → modules it may name. Anything not listed is not allowed.
const MAY_NAME: [(&str, &[&str]); 26] = [
    ("domain", &[]),
    ("exit", &[]),
    ("telemetry", &[]),
    ("runtime", &["domain", "exit"]),
    ("data", &["domain"]),
    ("fills", &["domain"]),
    ("stats", &[]),
    ("exchange", &["domain", "runtime", "data", "fills"]),
    ("tape", &["domain", "runtime"]),
    ("paper", &["domain", "runtime", "exchange", "venue"]),
    ("venue", &["domain", "runtime"]),
    ("strategy", &["domain", "data"]),
    ("store", &["domain", "runtime", "data", "exit"]),
    ("market", &["domain", "runtime", "venue"]),
    (
        "decision",
        &["domain", "runtime", "market", "strategy", "store"],
    ),
    (
        "llm",
        &["domain", "runtime", "strategy", "decision", "store"],
    ),
    ("allocation", &["domain", "runtime", "decision", "store"]),
    ("risk", &["domain", "runtime", "allocation", "store"]),
    (
        "execution",
        &["domain", "runtime", "risk", "venue", "store"],
    ),
    (
        "tracking",
        &["domain", "runtime", "execution", "venue", "store"],
    ),
    (
        "backtest",
        &[
            "domain",
            "data",
            "fills",
            "strategy",
            "decision",
            "allocation",
            "risk",
            "llm",
            "stats",
        ],
    ),
    ("replay", &["domain", "allocation", "risk", "llm", "store"]),
    ("config", &["domain", "strategy", "venue", "fills", "risk"]),
    (
        "ops",
        &[
            "domain",
            "runtime",
            "llm",
            "risk",
            "tracking",
            "store",
            "exit",
            "telemetry",
        ],
    ),
    (
        "daemon",
        &[
            "domain",
            "runtime",
            "exchange",
            "venue",
            "market",
            "decision",
            "allocation",
            "risk",
            "execution",
            "tracking",
            "llm",
            "backtest",
            "fills",
            "store",
            "config",
            "ops",
            "paper",
            "tape",
            "exit",
        ],
    ),
    (
        "cli",
        &[
            "domain",
            "runtime",
            "data",
            "exchange",
            "paper",
            "tape",
            "config",
            "daemon",
            "strategy",
            "fills",
            "backtest",
            "stats",
            "tracking",
            "llm",
            "replay",
            "store",
            "ops",
            "exit",
            "telemetry",
            "venue",
        ],
    ),
];

/// Of the store, a stage may name what it hands facts to and what it is handed; nothing that speaks
/// SQL.
const STORE_FOR_STAGES: [&str; 3] = ["Journal", "IntentReceipt", "Opened"];

/// Files that decide: no runtime, no socket, no clock, no chance inside.
const PURE: [&str; 48] = [
    "allocation/seen.rs",
    "risk/seen.rs",
    "llm/answer.rs",
    "llm/breaker.rs",
    "llm/budget.rs",
    "llm/calibration.rs",
    "llm/chat.rs",
    "llm/code.rs",
    "llm/format.rs",
    "llm/judge/",
    "llm/parse.rs",
    "llm/plan.rs",
    "llm/prompt/",
    "llm/seat.rs",
    "llm/seen.rs",
    "replay.rs",
    "allocation/sizing.rs",
    "allocation/working.rs",
    "decision/barrier.rs",
    "decision/roster.rs",
    "decision/snapshot.rs",
    "decision/table.rs",
    "execution/last_look.rs",
    "market/bars.rs",
    "risk/exposure.rs",
    "risk/flatten.rs",
    "risk/protect.rs",
    "risk/recent.rs",
    "risk/restrict.rs",
    "risk/rules.rs",
    "risk/unwind.rs",
    "tracking/desk/",
    "tracking/ledger.rs",
    "tracking/ledger/",
    "venue/codes.rs",
    "venue/sequence.rs",
    "venue/wire/",
    "ops/health.rs",
    "ops/preflight.rs",
    "domain/",
    "exchange/core/",
    "data/check.rs",
    "data/columns.rs",
    "fills/",
    "backtest/",
    "stats/",
    "data/resample.rs",
    "paper/news.rs",
];

fn sources() -> Vec<(PathBuf, String)> {
    files("src")
}

/// Rust files under a directory of this repository, by their paths in it.
fn files(under: &str) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, out: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(under);
    let mut out = Vec::new();
    walk(&root, &mut out);
    out.into_iter()
        .map(|(path, text)| (path.strip_prefix(&root).unwrap().to_owned(), text))
        .collect()
}

/// Code without comments and without the test module at the end of a file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let text = text.split("#[cfg(test)]\npub mod tests").next().unwrap();
    text.lines()
        .map(|line| line.split("//").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

fn module(path: &Path) -> String {
    path.components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .trim_end_matches(".rs")
        .to_owned()
}

fn names_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let word = |rest: &'a str| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or("")
    };
    text.match_indices(prefix)
        .map(|(at, _)| word(&text[at + prefix.len()..]))
        .filter(|w| !w.is_empty())
        .collect()
}

#[test]
fn no_module_names_one_it_may_not() {
    let table: BTreeMap<&str, &[&str]> = MAY_NAME.into_iter().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let own = module(&path);
        if matches!(own.as_str(), "main" | "lib") {
            continue;
        }
        let allowed = table
            .get(own.as_str())
            .unwrap_or_else(|| panic!("{own} is not in the table"));
        for named in names_after(&code(&text), "crate::") {
            if named != own && !allowed.contains(&named) {
                wrong.push(format!("{} names crate::{named}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stages_hand_facts_to_the_store_and_know_nothing_else_of_it() {
    for (path, text) in sources() {
        let stage = [
            "decision",
            "allocation",
            "risk",
            "execution",
            "tracking",
            "ops",
        ]
        .contains(&module(&path).as_str());
        if !stage || path.ends_with("tests.rs") {
            continue;
        }
        let text = code(&text);
        for line in text.lines().filter(|l| l.contains("crate::store::")) {
            let named = line.split("crate::store::").nth(1).unwrap();
            for name in named
                .split(|c: char| !c.is_alphanumeric())
                .filter(|n| !n.is_empty())
            {
                assert!(
                    STORE_FOR_STAGES.contains(&name),
                    "{}: {line}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn sql_floats_and_sockets_stay_in_their_rooms() {
    let rooms: [(&str, &[&str]); 6] = [
        ("rusqlite::", &["store/"]),
        ("r2d2", &["store/"]),
        ("tokio_tungstenite::", &["venue/"]),
        ("reqwest::", &["venue/", "llm/client.rs", "ops/control.rs"]),
        ("hmac::", &["venue/sign.rs", "exchange/server/auth.rs"]),
        // Amounts are decimals. Floats are for features, the shape of a simulated path, and speeds.
        (
            "f64",
            &[
                "strategy/",
                "llm/prompt/series.rs",
                // The fast engine and statistics; what is exact is held to decimals by its tests.
                "data/columns.rs",
                "store/research/columns.rs",
                "store/research/batches.rs",
                "fills/number.rs",
                "backtest/",
                "stats/",
                "exchange/",
                "runtime/clock.rs",
                "config/",
                "decision/table.rs",
                "cli/",
                "venue/rest.rs",
                "domain/",
            ],
        ),
    ];
    for (path, text) in sources() {
        let text = code(&text);
        let shown = path.display().to_string();
        for (word, allowed) in rooms {
            let here = allowed.iter().any(|room| shown.starts_with(room));
            assert!(
                here || !text.contains(word),
                "{shown} uses {word}, which belongs in {allowed:?}"
            );
        }
        if shown.starts_with("domain/") {
            assert!(!text.contains("f64"), "{shown}: money is never a float");
        }
    }
}

#[test]
fn pure_files_read_no_clock_draw_no_chance_and_do_no_io() {
    let banned = [
        "tokio",
        "std::fs",
        "std::net",
        "SystemTime",
        "Instant::now",
        "new_v4",
        "rand::",
        "std::env",
        "async ",
    ];
    for (path, text) in sources() {
        let shown = path.display().to_string();
        if !PURE.iter().any(|pure| shown.starts_with(pure)) {
            continue;
        }
        let text = code(&text);
        for word in banned {
            assert!(
                !text.contains(word),
                "{shown} is pure and must not use {word}"
            );
        }
    }
}

#[test]
fn the_eleven_crates_are_used() {
    let all: String = sources().into_iter().map(|(_, text)| code(&text)).collect();
    for name in [
        "tokio",
        "tokio_tungstenite",
        "reqwest",
        "rusqlite",
        "r2d2",
        "serde",
        "tracing",
        "governor",
        "config",
        "uuid",
        "chrono",
    ] {
        assert!(all.contains(&format!("{name}::")), "{name} is not used");
    }
}

/// Each test that is named after a row of the fault catalogue is in it, and each test that it names
/// is where it says.
#[test]
fn the_fault_catalogue_names_its_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("tests/CATALOGUE.md")).unwrap();
    let parts: Vec<&str> = text.split('`').collect();
    let named: BTreeSet<(String, String)> = parts
        .windows(2)
        .filter_map(|pair| Some((pair[0], pair[1].strip_prefix(" (")?.split_once(')')?.0)))
        .filter(|(_, path)| path.ends_with(".rs"))
        .map(|(name, path)| (name.to_owned(), path.to_owned()))
        .collect();
    let there = |name: &str, path: &str| {
        std::fs::read_to_string(root.join(path))
            .is_ok_and(|text| text.contains(&format!("fn {name}(")))
    };
    let lost: Vec<_> = named
        .iter()
        .filter(|(name, path)| !there(name, path))
        .collect();
    assert!(
        lost.is_empty(),
        "the catalogue names tests that are not there: {lost:?}"
    );
    let mut rows = 0;
    for under in ["src", "tests"] {
        for (path, text) in files(under) {
            for name in names_after(&text, "fn row_") {
                let row = (format!("row_{name}"), format!("{under}/{}", path.display()));
                assert!(named.contains(&row), "{row:?} is not in tests/CATALOGUE.md");
                rows += 1;
            }
        }
    }
    assert!(rows > 80, "{rows} tests with a row's number");
}

#[test]
fn files_stay_small_enough_to_hold_in_the_head() {
    let long: BTreeSet<String> = sources()
        .into_iter()
        .filter(|(_, text)| text.lines().count() > 1_200)
        .map(|(path, text)| format!("{} has {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:?}");
}
