//! Our own books against the exchange's ledger, to the last digit.

use std::collections::{BTreeMap, BTreeSet};

use alpha_arena::domain::books::Books;
use alpha_arena::domain::{Fill, Instrument};
use alpha_arena::store::Reader;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::harness::{Daemon, Exchange, assert_creates_are_intents, busy_config, count, wait_for};

/// Some are refused by the venue; so that 2,000 reach its book.
const ORDERS: i64 = 2100;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap()
}

fn decimal(value: &Value, name: &str) -> Decimal {
    text(value, name).parse().unwrap()
}

/// After 2,000 orders our fills, fees and funding make the exchange's balances and positions, to
/// the last digit.
#[test]
fn books_match_the_exchange() {
    let exchange = Exchange::start(&["--speed", "60"]);
    // Twenty minutes of market time before a funding boundary: it falls into the middle of the run.
    let clock: Value = serde_json::from_str(&exchange.http("GET", "/sim/clock", "")).unwrap();
    let eight_hours = 8 * 3_600_000;
    let boundary = (clock["now_ms"].as_i64().unwrap() / eight_hours + 1) * eight_hours;
    let put = exchange.http(
        "POST",
        "/sim/clock",
        &format!(r#"{{"now_ms":{}}}"#, boundary - 1_200_000),
    );
    assert!(put.contains("now_ms"), "{put}");
    let dir = tempfile::tempdir().unwrap();
    let config = busy_config(dir.path());
    let mut daemon = Daemon::start(dir.path(), &["--config", &config, "run"], &exchange.env());
    daemon.wait_log("ready: reconciled");
    let sent = "SELECT COUNT(*) FROM orders WHERE state NOT IN ('blocked', 'suppressed')";
    wait_for("2,000 orders", || count(dir.path(), sent) >= ORDERS);
    assert_eq!(daemon.stop().code(), Some(0));

    // A second start, in which nothing new passes the gate, takes back what still rests: then both
    // are at rest. The exchange's time goes on, and a stop of ours may go off there when nobody of
    // ours is up any more: then there is one more start. What stays missing is lost.
    let mut tries = 0;
    let (settle, ledger) = loop {
        let mut settle =
            Daemon::start(dir.path(), &["--config", &config, "run", "--for", "8s"], &{
                let mut env = exchange.env();
                env.push(("ALPHA_ARENA__RISK__ORDER_NOTIONAL_MAX".into(), "1".into()));
                env
            });
        assert_eq!(settle.wait_exit().code(), Some(0), "{}", settle.log());
        let ledger = exchange.ledger();
        tries += 1;
        let known: BTreeSet<String> = Reader::open(dir.path())
            .unwrap()
            .opened()
            .unwrap()
            .fills
            .iter()
            .map(|f| f.venue_id.to_string())
            .collect();
        let heard = |fill: &Value| known.contains(text(fill, "ordId"));
        if tries == 5 || ledger["fills"].as_array().unwrap().iter().all(heard) {
            break (settle, ledger);
        }
    };
    assert_creates_are_intents(&ledger, &settle.db());
    let open = |o: &&Value| matches!(text(o, "state"), "live" | "partially_filled");
    assert_eq!(
        ledger["orders"]
            .as_array()
            .unwrap()
            .iter()
            .filter(open)
            .count(),
        0,
        "orders still rest"
    );

    let reader = Reader::open(dir.path()).unwrap();
    let opened = reader.opened().unwrap();
    compare_fills(&opened.fills, &ledger);
    compare_orders(dir.path(), &ledger);
    let mut parts: BTreeMap<&str, usize> = BTreeMap::new();
    for fill in ledger["fills"].as_array().unwrap() {
        *parts.entry(text(fill, "ordId")).or_default() += 1;
    }
    let in_parts = |o: &&Value| {
        let filled = decimal(o, "accFillSz");
        parts.get(text(o, "ordId")).is_some_and(|n| *n > 1)
            || (filled > Decimal::ZERO && filled < decimal(o, "sz"))
    };
    let partial = ledger["orders"]
        .as_array()
        .unwrap()
        .iter()
        .filter(in_parts)
        .count();
    assert!(partial > 200, "only {partial} orders were filled in parts");

    let instruments = instruments(dir.path());
    let mut fills: Vec<&Fill> = opened.fills.iter().collect();
    fills.sort_by_key(|f| f.trade_id.as_str().parse::<u64>().unwrap());
    let mut books = Books::default();
    for fill in &fills {
        books.fill(&instruments[fill.inst.as_str()], fill);
    }
    let bills = reader.bills().unwrap();
    let paid = ledger["bills"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|b| text(b, "type") == "8")
        .count();
    // Whether a position is open in that very second is the strategies' affair; that funding is
    // booked right is shown for certain in exchange/core.
    assert_eq!(
        bills.iter().filter(|bill| bill.kind == "8").count(),
        paid,
        "funding that we did not hear of"
    );
    for bill in &bills {
        books.bill(bill);
    }
    for balance in ledger["balances"].as_array().unwrap() {
        let ours = books
            .cash
            .get(text(balance, "ccy"))
            .copied()
            .unwrap_or_default();
        assert_eq!(
            ours,
            decimal(balance, "cashBal"),
            "{}",
            text(balance, "ccy")
        );
    }
    for position in ledger["positions"].as_array().unwrap() {
        let ours = books
            .positions
            .get(text(position, "instId"))
            .cloned()
            .unwrap_or_default();
        assert_eq!(
            ours.qty.0,
            decimal(position, "pos"),
            "{}",
            text(position, "instId")
        );
        let average = position["avgPx"]
            .as_str()
            .filter(|s| !s.is_empty())
            .map_or(Decimal::ZERO, |s| s.parse().unwrap());
        assert_eq!(ours.average.0, average, "{}", text(position, "instId"));
    }
    let orders = ledger["orders"].as_array().unwrap().len();
    let stops = ledger["algo_orders"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|a| text(a, "state") == "effective")
        .count();
    println!(
        "{orders} orders, {partial} filled in parts, {} fills, {stops} stops triggered, {} other bills, {paid} of them funding: equal to the last digit",
        fills.len(),
        bills.len()
    );
}

fn instruments(dir: &std::path::Path) -> BTreeMap<String, Instrument> {
    let db = crate::harness::open_db(dir);
    let mut query = db
        .prepare("SELECT inst_id, rules FROM instruments")
        .unwrap();
    let rows = query
        .query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .unwrap();
    rows.map(|row| row.unwrap())
        .map(|(id, rules)| (id, serde_json::from_str(&rules).unwrap()))
        .collect()
}

fn compare_fills(ours: &[Fill], ledger: &Value) {
    let ours: BTreeSet<(String, String, Decimal, Decimal, Decimal)> = ours
        .iter()
        .map(|f| {
            (
                f.venue_id.to_string(),
                f.trade_id.to_string(),
                f.price.0,
                f.qty.0,
                f.fee.normalize(),
            )
        })
        .collect();
    let theirs: BTreeSet<_> = ledger["fills"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            (
                text(f, "ordId").to_owned(),
                text(f, "tradeId").to_owned(),
                decimal(f, "fillPx"),
                decimal(f, "fillSz"),
                decimal(f, "fee"),
            )
        })
        .collect();
    let missing: Vec<_> = theirs.difference(&ours).collect();
    let invented: Vec<_> = ours.difference(&theirs).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "missing {missing:?}\ninvented {invented:?}"
    );
}

fn compare_orders(dir: &std::path::Path, ledger: &Value) {
    let db = crate::harness::open_db(dir);
    let mut query = db
        .prepare("SELECT state, filled FROM orders WHERE venue_id = ?1")
        .unwrap();
    for order in ledger["orders"].as_array().unwrap() {
        let (state, filled): (String, String) = query
            .query_row([text(order, "ordId")], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap_or_else(|e| panic!("{order}: {e}"));
        assert_eq!(state, text(order, "state"), "{order}");
        assert_eq!(
            filled.parse::<Decimal>().unwrap(),
            decimal(order, "accFillSz"),
            "{order}"
        );
    }
}
