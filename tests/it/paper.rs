//! Paper trading on a market that another exchange shows, and demo trading.

use std::collections::BTreeSet;

use alpha_arena::exchange::market::SimMarket;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::harness::{Daemon, Exchange, busy_config, command, count, pair, wait_for};

const SEED: u64 = 21;

fn source() -> Exchange {
    Exchange::start(&["--seed", &SEED.to_string()])
}

fn env(source: &Exchange) -> Vec<(String, String)> {
    let mut env = source.env();
    env.retain(|(name, _)| !name.starts_with("OKX_"));
    env.extend([
        pair("ALPHA_ARENA__MODE", "paper"),
        pair("ALPHA_ARENA__VENUE__SILENCE_MS", "3000"),
    ]);
    env
}

fn fills(dir: &std::path::Path) -> i64 {
    count(dir, "SELECT COUNT(*) FROM fills")
}

fn decisions(dir: &std::path::Path) -> i64 {
    count(dir, "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'")
}

/// Prices the source showed of `inst` in the seconds around `at_ms`: the five best levels of each
/// side and every trade.
fn shown(market: &SimMarket, inst: &str, at_ms: i64) -> BTreeSet<Decimal> {
    let listed = market.get(inst).unwrap();
    let second = at_ms.div_euclid(1000);
    let mut prices = BTreeSet::new();
    for s in second - 4..=second + 1 {
        let book = listed.book(s, 0);
        prices.extend(
            book.bids
                .iter()
                .take(5)
                .chain(book.asks.iter().take(5))
                .map(|level| level.price.normalize()),
        );
        prices.extend(
            listed
                .trades(s, 0)
                .iter()
                .map(|trade| trade.price.normalize()),
        );
    }
    prices
}

/// While the feed is cut there is no decision and no fill.
#[test]
fn paper_fills_only_at_shown_prices() {
    let source = source();
    let dir = tempfile::tempdir().unwrap();
    let config = busy_config(dir.path());
    let mut daemon = Daemon::start(dir.path(), &["--config", &config, "run"], &env(&source));
    daemon.wait_log("the price feed is complete");
    daemon.wait_log("ready: reconciled");
    wait_for("fills", || fills(dir.path()) >= 40);

    // Cut: the source lets nobody in and sends everybody away.
    let cut = json!({"rules": [{"match": {"path": "connect *"}, "action": "drop_before"},
        {"match": {"path": "push *"}, "action": "disconnect"}]});
    source.http("POST", "/sim/faults", &cut.to_string());
    daemon.wait_log("the price feed is cut: nothing is matched until it is back run=");
    wait_for("the stream to be down", || {
        daemon.log().matches("feed is cut").count() >= 3
    });
    wait_for("health to name the feed", || {
        let out = command(dir.path(), &["health", "--json"])
            .envs(env(&source))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        out.status.code() == Some(2) && text.contains("BTC-USDT-SWAP: quote")
    });
    // Decided before the cut: refused or done by now. From here on nothing moves while the account
    // is read on and on.
    let (had, decided) = (fills(dir.path()), decisions(dir.path()));
    let reads = || count(dir.path(), "SELECT COUNT(*) FROM equity_snapshots");
    let read = reads();
    wait_for("three reads of the account", || reads() >= read + 3);
    assert_eq!(fills(dir.path()), had, "a fill while the feed was cut");
    assert_eq!(
        decisions(dir.path()),
        decided,
        "a decision while the feed was cut"
    );

    // Back: it decides and fills again by itself.
    source.http("POST", "/sim/faults", r#"{"rules":[]}"#);
    wait_for("fills after the cut", || fills(dir.path()) > had + 5);

    // kill -9: the paper book is there again.
    let before = positions(&daemon);
    daemon.kill();
    let mut daemon = Daemon::start(dir.path(), &["--config", &config, "run"], &{
        let mut env = env(&source);
        env.push(pair("TRADING_ENABLED", "false"));
        env
    });
    daemon.wait_log("ready: reconciled");
    assert_eq!(positions(&daemon).is_empty(), before.is_empty());
    assert!(
        daemon
            .log()
            .contains("orders and fills agree with the venue"),
        "{}",
        daemon.log()
    );

    let market = SimMarket::new(SEED);
    let db = daemon.db();
    let mut query = db
        .prepare("SELECT inst_id, price, at_ms FROM fills")
        .unwrap();
    let rows = query
        .query_map([], |row| {
            Ok((
                row.get::<_, String>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })
        .unwrap();
    let mut checked = 0;
    for row in rows {
        let (inst, price, at) = row.unwrap();
        let price: Decimal = price.parse().unwrap();
        let prices = shown(&market, &inst, at);
        assert!(
            prices.contains(&price.normalize()),
            "{inst} filled at {price} at {at}: the source showed {prices:?}"
        );
        checked += 1;
    }
    println!("seed {SEED}: {checked} fills, each at a price the source showed");
    assert!(checked > 40);
}

fn positions(daemon: &Daemon) -> Vec<Value> {
    let out = command(&daemon.dir, &["positions", "--json"])
        .env("ALPHA_ARENA__MODE", "paper")
        .output()
        .unwrap();
    let value: Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    value["rows"].as_array().cloned().unwrap_or_default()
}

/// A key of the other environment ends the start with 77, before any order.
#[test]
fn demo_trades_only_on_demo() {
    let (demo, live) = (
        Exchange::start(&["--demo", "--speed", "5"]),
        Exchange::start(&["--speed", "5"]),
    );
    // (venue, mode, does it come up?)
    for (venue, mode, comes_up) in [
        (&demo, "okx-demo", true),
        (&live, "okx-demo", false),
        (&demo, "live", false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut env = venue.env();
        env.extend([
            pair("ALPHA_ARENA__MODE", mode),
            pair("TRADING_ENABLED", "true"),
            pair("ALPHA_ARENA__VENUE__UID", venue.text("uid")),
        ]);
        let before = venue.ledger()["creates"].as_array().unwrap().len();
        let mut daemon = Daemon::start(dir.path(), &["run", "--for", "4s"], &env);
        let status = daemon.wait_exit();
        let log = daemon.log();
        if comes_up {
            assert_eq!(status.code(), Some(0), "{log}");
            assert!(log.contains("ready: reconciled"), "{log}");
        } else {
            assert_eq!(status.code(), Some(77), "{mode}: {log}");
            assert!(log.contains("50101"), "{mode}: {log}");
            assert_eq!(
                venue.ledger()["creates"].as_array().unwrap().len(),
                before,
                "an order was sent"
            );
        }
    }
    assert!(
        live.ledger()["creates"].as_array().unwrap().is_empty(),
        "nothing was sent to live"
    );
}
