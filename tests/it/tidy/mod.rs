//! Rules a compiler cannot check inside one crate: who may name whom, where SQL, floats and clocks
//! may stand, and that the crates the project is built on are used.

mod measures;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use self::source::{Source, circles, files, sources};

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
    (
        "replay",
        &["domain", "decision", "allocation", "risk", "llm", "store"],
    ),
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

/// Files that touch the world: tasks, channels, sockets, disks, clocks, chance, the log. A path that
/// ends with `/` is a folder. All other files are pure: values in, values out.
const SHELL: [&str; 78] = [
    "allocation/actor.rs",
    "cli/",
    "config/layers.rs",
    "config/secrets.rs",
    "daemon.rs",
    "daemon/listener.rs",
    "daemon/models.rs",
    "daemon/preflight.rs",
    "daemon/reach.rs",
    "daemon/resume.rs",
    "daemon/roster.rs",
    "daemon/watch.rs",
    "data/file.rs",
    "decision/actor.rs",
    "exchange/engine.rs",
    "exchange/log.rs",
    "exchange/recorded.rs",
    "exchange/server/account.rs",
    "exchange/server/lists.rs",
    "exchange/server/mod.rs",
    "exchange/server/public.rs",
    "exchange/server/rest.rs",
    "exchange/server/sim.rs",
    "exchange/server/tls.rs",
    "exchange/server/trade.rs",
    "exchange/server/ws/mod.rs",
    "execution/actor.rs",
    "execution/deadman.rs",
    "execution/line.rs",
    "execution/stops.rs",
    "exit.rs",
    "llm/asking.rs",
    "llm/client.rs",
    "llm/runner/answered.rs",
    "llm/runner/asked.rs",
    "llm/runner/mod.rs",
    "main.rs",
    "market/actor.rs",
    "market/extras.rs",
    "ops/control.rs",
    "ops/doorway.rs",
    "ops/killfile.rs",
    "ops/notify.rs",
    "paper/feed.rs",
    "risk/actor.rs",
    "risk/actor/guard.rs",
    "risk/actor/guard/",
    "risk/actor/restrictions.rs",
    "risk/actor/unwinding.rs",
    "risk/permission.rs",
    "runtime/beat.rs",
    "runtime/clock.rs",
    "runtime/faults.rs",
    "runtime/held.rs",
    "runtime/ids.rs",
    "runtime/sabotage.rs",
    "runtime/supervisor.rs",
    "store/",
    "tape/reader.rs",
    "tape/recorder.rs",
    "telemetry/journal.rs",
    "telemetry/mod.rs",
    "telemetry/queue.rs",
    "tracking/account_sync.rs",
    "tracking/mass_status.rs",
    "tracking/reconcile/audit.rs",
    "tracking/reconcile/in_flight.rs",
    "tracking/reconcile/incidents.rs",
    "tracking/reconcile/mod.rs",
    "tracking/reconcile/together.rs",
    "tracking/tracker.rs",
    "tracking/wire.rs",
    "venue/budget.rs",
    "venue/history.rs",
    "venue/ops.rs",
    "venue/rest.rs",
    "venue/rest/",
    "venue/stream.rs",
];

/// Words that have no place in a pure file.
const IMPURE: [&[&str]; 19] = [
    &["tokio"],
    &["tracing"],
    &["reqwest"],
    &["rusqlite"],
    &["tokio_tungstenite"],
    &["hyper"],
    &["std", "fs"],
    &["std", "net"],
    &["std", "env"],
    &["std", "thread"],
    &["std", "process"],
    &["SystemTime"],
    &["Instant"],
    &["new_v4"],
    &["thread_rng"],
    &["OsRng"],
    &["async"],
    &["println"],
    &["eprintln"],
];

fn is_shell(path: &str) -> bool {
    SHELL
        .iter()
        .any(|shell| path == *shell || shell.ends_with('/') && path.starts_with(shell))
}

/// The files of the program without test modules.
fn product() -> Vec<Source> {
    sources()
        .into_iter()
        .filter(|source| !source.is_test)
        .collect()
}

#[test]
fn modules_name_only_what_they_may() {
    let table: BTreeMap<&str, &[&str]> = MAY_NAME.into_iter().collect();
    let mut wrong = Vec::new();
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for source in product() {
        let own = source.stage().to_owned();
        if matches!(own.as_str(), "" | "main") {
            continue;
        }
        let Some(allowed) = table.get(own.as_str()) else {
            wrong.push(format!("{own} is not in the table"));
            continue;
        };
        for named in source
            .named()
            .into_iter()
            .filter_map(|path| path.into_iter().next())
        {
            if named != own && !allowed.contains(&named.as_str()) {
                wrong.push(format!("{} names crate::{named}", source.path));
            }
            used.entry(own.clone()).or_default().insert(named);
        }
    }
    for (module, allowed) in MAY_NAME {
        let there = used.get(module);
        let stale = allowed
            .iter()
            .filter(|name| !there.is_some_and(|there| there.contains(**name)));
        wrong.extend(stale.map(|name| format!("{module} may name {name} and does not: strike it")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// They hand facts to the store and name nothing else of it.
#[test]
fn stages_know_only_store_facts() {
    const STAGES: [&str; 6] = [
        "decision",
        "allocation",
        "risk",
        "execution",
        "tracking",
        "ops",
    ];
    for source in product()
        .iter()
        .filter(|source| STAGES.contains(&source.stage()))
    {
        for path in source.named().iter().filter(|path| path[0] == "store") {
            let Some(name) = path.get(1).map(String::as_str) else {
                continue;
            };
            assert!(
                STORE_FOR_STAGES.contains(&name),
                "{}: {}",
                source.path,
                path.join("::")
            );
        }
    }
}

#[test]
fn modules_of_a_stage_do_not_name_each_other_in_circles() {
    let circles = circles(&sources());
    assert!(circles.is_empty(), "{circles:#?}");
}

/// Each is used only in the modules listed for it.
#[test]
fn sql_floats_and_sockets_stay_confined() {
    let rooms: [(&str, &[&str]); 6] = [
        ("rusqlite", &["store/"]),
        ("r2d2", &["store/"]),
        ("tokio_tungstenite", &["venue/"]),
        ("reqwest", &["venue/", "llm/client.rs", "ops/control.rs"]),
        ("hmac", &["venue/sign.rs", "exchange/server/auth.rs"]),
        // Amounts are decimals. Floats are for features, the shape of a simulated path, and speeds.
        (
            "f64",
            &[
                "strategy/",
                "llm/series.rs",
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
                "decision/board.rs",
                "cli/",
                "venue/rest.rs",
                "domain/",
            ],
        ),
    ];
    for source in product() {
        let has = |word: &str| source.tokens.iter().any(|token| token == word);
        for (word, allowed) in rooms {
            let here = allowed.iter().any(|room| source.path.starts_with(room));
            assert!(
                here || !has(word),
                "{} uses {word}, which belongs in {allowed:?}",
                source.path
            );
        }
        if source.stage() == "domain" {
            assert!(!has("f64"), "{}: money is never a float", source.path);
        }
    }
}

/// They read no clock and draw no random numbers either.
#[test]
fn pure_files_do_no_io_and_log_nothing() {
    let mut wrong = Vec::new();
    let mut idle: BTreeSet<&str> = SHELL.into_iter().collect();
    for source in product() {
        let words = IMPURE.iter().filter(|word| source.uses(word));
        let words: Vec<String> = words.map(|word| word.join("::")).collect();
        if !is_shell(&source.path) && !words.is_empty() {
            wrong.push(format!("{} uses {}", source.path, words.join(", ")));
        }
        if !words.is_empty() {
            idle.retain(|shell| !source.path.starts_with(shell));
        }
    }
    wrong.extend(
        idle.iter()
            .map(|shell| format!("{shell} is pure: strike it from the list")),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_eleven_crates_are_used() {
    let all: BTreeSet<String> = product()
        .into_iter()
        .flat_map(|source| source.tokens)
        .collect();
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
        assert!(all.contains(name), "{name} is not used");
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

/// No source file has more than 1,200 lines.
#[test]
fn files_stay_readable() {
    let long: BTreeSet<String> = sources()
        .into_iter()
        .filter(|source| source.text.lines().count() > 750)
        .map(|source| format!("{} has {} lines", source.path, source.text.lines().count()))
        .collect();
    assert!(long.is_empty(), "{long:?}");
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
