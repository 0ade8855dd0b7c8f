//! One recorded market through the real actors and through the backtest: the same decisions, the
//! same fills, to the last digit.
//!
//! The daemon trades three swaps on an exchange that fills by bars (`exchange --fills bar`), which
//! calls the backtest's own fill function. Then the exact engine runs over the same candles.
//! `PARITY_FILLS=540 cargo test --test parity` is the long run.

#[path = "it/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use alpha_arena::backtest::margin::Funding;
use alpha_arena::backtest::{BacktestMarket, Contender, Rules, exact};
use alpha_arena::config::{Config, Layers, Overrides};
use alpha_arena::data::{Columns, read_candles};
use alpha_arena::domain::{
    Bar, Candle, ContenderId, InstKind, Limits, Ms, Qty, Rule, WorkingPolicy,
};
use alpha_arena::exchange::market::listings;
use alpha_arena::fills::Costs;
use alpha_arena::strategy::find;
use harness::{Daemon, Exchange, LIMIT, WIDE, command, count, wait_for, wait_within};
use rust_decimal::Decimal;

/// Instruments, a price each, and of the contender that trades it the seed, how many bars it keeps
/// its mind, its stop in %, and its weight. The one whose stop goes off often trades what one bar
/// fills: while an entry takes several, the daemon covers its parts with stops of their own, which
/// a backtest does not.
const SWAPS: [(&str, i64, u32, u32, &str, &str); 3] = [
    ("BTC-USDT-SWAP", 880_000, 1, 1, "0", "0.25"),
    ("ETH-USDT-SWAP", 300_000, 2, 1, "0.4", "0.25"),
    ("SOL-USDT-SWAP", 12_500, 3, 8, "0.1", "0.02"),
];
const SPEED: &str = "120";
/// Five hours before a midnight: trading begins with it, and there are eight hours until funding is
/// paid, which a backtest counts before it decides and the daemon reads after.
const START: i64 = 1_750_032_000_000 - 300 * 60_000;

fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Minutes of a seeded walk with volumes that fill an order of ours in one to six of them. Prices
/// in ticks.
fn write_walk(
    path: &Path,
    (price, seed): (i64, u64),
    bars: usize,
    (tick, contract): (Decimal, Decimal),
) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = |most: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as i64 % most
    };
    let mut text = String::from("ts_ms,open,high,low,close,volume\n");
    let mut close = price;
    for i in 0..bars as i64 {
        let open = (close + next(price / 4000 + 2) - price / 8000).max(10);
        close = (open + next(price / 500 + 2) - price / 1000).max(10);
        let (high, low) = (
            open.max(close) + next(price / 2000 + 1),
            open.min(close) - next(price / 2000 + 1),
        );
        // 40 to 240 thousand dollars a minute, a few minutes nothing.
        let dollars = if next(25) == 0 {
            0
        } else {
            40_000 + next(200_000)
        };
        let contracts =
            (Decimal::from(dollars) / (Decimal::from(open) * tick * contract)).round_dp(2);
        let ts = START + i * 60_000;
        let px = |ticks: i64| (Decimal::from(ticks) * tick).normalize();
        let volume = (contracts * contract).normalize();
        writeln!(
            text,
            "{ts},{},{},{},{},{volume}",
            px(open),
            px(high),
            px(low),
            px(close)
        )
        .unwrap();
    }
    std::fs::write(path, text).unwrap();
}

fn config(dir: &Path) -> String {
    let mut text = format!(
        "[market]\nbar = \"1m\"\nbarrier_ms = 20000\n[decision]\nevery_bars = 1\n[allocation]\nreserve_pct = \"0\"\nno_trade_band_pct = \"5\"\n\
         [sync]\naccount_ms = 3000\n{}[venue]\norder_expiry_ms = 60000\n",
        // The exchange shows a new price once a minute.
        WIDE.replace("quote_age_ms_max = 60000", "quote_age_ms_max = 600000")
    );
    for (inst, ..) in SWAPS {
        writeln!(text, "[[instrument]]\nid = \"{inst}\"").unwrap();
    }
    for (inst, _, seed, hold, stop, weight) in SWAPS {
        writeln!(
            text,
            "[[contender]]\nid = \"on-{seed}\"\nkind = \"rule\"\nstrategy = \"random\"\nstage = \"live\"\nweight = \"{weight}\"\n\
             instruments = [\"{inst}\"]\nparams = {{ seed = {seed}, hold = {hold}, stop_pct = {stop} }}\nexecution = {{ policy = \"market\" }}"
        )
        .unwrap();
    }
    let path = dir.join("parity.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// The limits that the daemon reads.
fn limits(file: &str) -> Limits {
    let overrides = Overrides {
        config: Some(file.into()),
        speed: None,
    };
    Config::check(Layers::read(&overrides, std::collections::HashMap::new()).unwrap())
        .unwrap()
        .risk
}

/// The same market for the backtest.
fn market(path: &Path, inst: &str) -> BacktestMarket {
    let inst = listings()
        .into_iter()
        .map(|listing| listing.inst)
        .find(|i| i.id.as_str() == inst)
        .unwrap();
    let rows = read_candles(path).unwrap().rows;
    let contracts = |c: Candle| Candle {
        volume: Qty(c.volume.0 / inst.contract_value),
        ..c
    };
    let candles: Vec<Candle> = rows.into_iter().map(|row| contracts(row.candle)).collect();
    let columns = Columns::of(Bar::M1, &candles, inst.tick.0, inst.lot.0).unwrap();
    BacktestMarket {
        instrument: Arc::new(inst),
        columns: Arc::new(columns),
        funding: Arc::new(Funding::default()),
        costs: Arc::new(Costs::of(InstKind::Swap)),
    }
}

fn contender(index: usize) -> Contender {
    let (_, _, seed, hold, stop, weight) = SWAPS[index];
    let params = [
        ("seed", f64::from(seed)),
        ("hold", f64::from(hold)),
        ("stop_pct", stop.parse().unwrap()),
    ];
    Contender {
        id: ContenderId::new(format!("on-{seed}")),
        strategy: find("random").unwrap(),
        params: params.map(|(name, value)| (name.to_owned(), value)).into(),
        weight: d(weight),
        markets: vec![index],
        execution: WorkingPolicy::Market { slippage: None },
    }
}

/// (bar that filled it, instrument, contender, what) in the order they happened.
type Row = (i64, String, String, String);

fn daemon_fills(daemon: &Daemon) -> Vec<Row> {
    let db = daemon.db();
    let mut query = db
        .prepare("SELECT at_ms, inst_id, contender_id, side, qty, price, fee, liquidity FROM fills ORDER BY at_ms, seq")
        .unwrap();
    let rows = query.query_map([], |row| {
        let text = |at: usize| row.get::<_, String>(at);
        let number = |at: usize| text(at).map(|text| d(&text).normalize().to_string());
        let what = format!(
            "{} {} @ {} fee {} {}",
            text(3)?,
            number(4)?,
            number(5)?,
            number(6)?,
            text(7)?
        );
        Ok((
            row.get::<_, i64>(0)?.div_euclid(60_000) * 60_000,
            text(1)?,
            text(2)?,
            what,
        ))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// Reads what every contender wanted at each close, and what came of it.
fn daemon_decisions(daemon: &Daemon) -> Vec<Row> {
    let db = daemon.db();
    let mut query = db
        .prepare(
            "SELECT s.as_of_ms, d.inst_id, d.contender_id, d.target_bps, a.reason, o.side, o.qty, o.state
             FROM decisions d JOIN snapshots s USING (run_id) JOIN allocations a
                ON a.contender_id = d.contender_id AND a.inst_id = d.inst_id AND a.run_id = (SELECT l.run_id FROM allocations l
                    WHERE l.contender_id = d.contender_id AND l.inst_id = d.inst_id AND l.run_id <= d.run_id
                    ORDER BY l.run_id DESC LIMIT 1)
             LEFT JOIN orders o ON o.cl_ord_id = a.cl_ord_id AND a.run_id = d.run_id",
        )
        .unwrap();
    let rows = query.query_map([], |row| {
        let target: Option<i64> = row.get(3)?;
        let (reason, side): (String, Option<String>) = (row.get(4)?, row.get(5)?);
        let made = match side {
            Some(_) if row.get::<_, String>(7)? == "blocked" => "blocked".to_owned(),
            Some(side) => format!("{side} {}", d(&row.get::<_, String>(6)?).normalize()),
            None => plain(&reason),
        };
        let what = format!("{} → {made}", target.unwrap_or_default());
        // Our clock may be a little behind the venue's whose close it was.
        let close = (row.get::<_, i64>(0)? + 10_000).div_euclid(60_000) * 60_000;
        Ok((close, row.get(1)?, row.get(2)?, what))
    });
    rows.unwrap().map(Result::unwrap).collect()
}

/// A reason without the name of an order in it.
fn plain(reason: &str) -> String {
    let refused = reason.split(' ').all(|word| word.parse::<Rule>().is_ok());
    match reason {
        _ if reason.contains("still on its way") => "on its way".to_owned(),
        _ if refused => "blocked".to_owned(),
        _ => reason.to_owned(),
    }
}

/// They make the same decisions and the same fills.
#[test]
fn daemon_and_backtest_agree() {
    let wanted: i64 = std::env::var("PARITY_FILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(150);
    let dir = tempfile::tempdir().unwrap();
    let mut files = BTreeMap::new();
    let mut args = vec![
        "--fills".to_owned(),
        "bar".to_owned(),
        "--speed".to_owned(),
        SPEED.to_owned(),
    ];
    for (inst, price, seed, ..) in SWAPS {
        let listed = listings()
            .into_iter()
            .map(|l| l.inst)
            .find(|i| i.id.as_str() == inst)
            .unwrap();
        let path = dir.path().join(format!("{inst}.csv"));
        let steps = (listed.tick.0, listed.contract_value);
        write_walk(
            &path,
            (price, u64::from(seed)),
            500 + wanted as usize,
            steps,
        );
        args.extend(["--candles".to_owned(), format!("{inst}={}", path.display())]);
        files.insert(inst, path);
    }
    let exchange = Exchange::start(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let state = dir.path().join("state");
    let config = config(dir.path());
    let mut daemon = Daemon::start(&state, &["--config", &config, "run"], &exchange.env());
    // The oracle judges by a book that is not what fills here.
    daemon.checked = false;
    let fills = || count(&state, "SELECT COUNT(*) FROM fills");
    let pace =
        |rate: &str| drop(exchange.http("POST", "/sim/clock", &format!("{{\"rate\":{rate}}}")));
    let clock = || {
        let clock: serde_json::Value =
            serde_json::from_str(&exchange.http("GET", "/sim/clock", "")).unwrap();
        clock["now_ms"].as_i64().unwrap()
    };
    let cycles = || count(&state, "SELECT COUNT(*) FROM runs WHERE kind = 'cycle'");
    // Orders that the exchange has not answered yet.
    let leaving = || {
        count(
            &state,
            "SELECT COUNT(*) FROM orders WHERE state IN ('created', 'intended', 'sent')",
        ) > 0
    };
    daemon.wait_log("ready: reconciled");
    let (mut half, mut begun) = (clock() / 60_000, cycles());
    let limit = LIMIT + Duration::from_secs(wanted.unsigned_abs() * 2);
    wait_within(limit, "enough fills", || {
        assert!(daemon.ended().is_none(), "{}", daemon.log());
        let now = clock();
        if now % 60_000 > 31_000 && now / 60_000 > half {
            // A backtest sizes by what there is at the close, the daemon by its last read of the
            // account: time stands still until it has read what the bar has filled. At this speed
            // its own rhythm is slower than the bars.
            pace("0.001");
            half = now / 60_000;
            begun = cycles();
            let read = || {
                command(&state, &["sync-account"])
                    .output()
                    .unwrap()
                    .status
                    .success()
            };
            wait_for("a read of the account", read);
            pace(SPEED);
        } else if now % 60_000 < 20_000 && cycles() > begun && leaving() {
            // And until its orders are there: those of one bar are filled by it.
            pace("0.001");
            wait_for("the orders of a bar", || !leaving());
            pace(SPEED);
        }
        fills() >= wanted
    });
    let (told, made) = (daemon_decisions(&daemon), daemon_fills(&daemon));
    // Up to a close that is complete in both tables: what was decided last is not filled yet.
    let first = told.iter().map(|row| row.0).min().unwrap();
    let end = told.iter().map(|row| row.0).max().unwrap() - 2 * 60_000;
    daemon.kill();

    let markets: Vec<BacktestMarket> = SWAPS
        .iter()
        .map(|(inst, ..)| market(&files[inst], inst))
        .collect();
    let contenders: Vec<Contender> = (0..SWAPS.len()).map(contender).collect();
    let rules = Rules {
        cash: d("100000"),
        reserve: Decimal::ZERO,
        no_trade_band: d("0.05"),
        stop_default: d("0.05"),
        limits: limits(&config),
        begin: Ms(first),
    };
    let (outcome, decisions) = exact::run(&markets, &contenders, &rules);
    let name = |market: usize| SWAPS[market].0.to_owned();
    let mut ours: Vec<Row> = outcome
        .fills
        .iter()
        .map(|row| {
            let inst = &markets[row.market].instrument;
            let (qty, price) = (
                inst.lot.0 * Decimal::from(row.lots),
                inst.tick.0 * Decimal::from(row.ticks),
            );
            let liquidity = if row.maker { "M" } else { "T" };
            let what = format!(
                "{} {} @ {} fee {} {liquidity}",
                row.side.as_str(),
                qty.normalize(),
                price.normalize(),
                (-row.fee).normalize()
            );
            (
                row.ts,
                name(row.market),
                format!("on-{}", SWAPS[row.contender].2),
                what,
            )
        })
        .collect();
    let mut wished: Vec<Row> = decisions
        .iter()
        .map(|row| {
            let made = row.order.as_ref().map_or_else(
                |why| plain(why),
                |(side, qty)| format!("{} {}", side.as_str(), d(qty).normalize()),
            );
            (
                row.at.0,
                row.inst.to_string(),
                row.contender.to_string(),
                format!("{} → {made}", row.target),
            )
        })
        .collect();
    let until = |rows: &mut Vec<Row>, end: i64| {
        rows.retain(|row| row.0 >= first && row.0 <= end);
        rows.sort();
    };
    let (mut told, mut made) = (told, made);
    until(&mut told, end);
    until(&mut wished, end);
    until(&mut made, end);
    until(&mut ours, end);
    // Fills first: what differs in a fill differs in the next decision.
    compare("fill", &made, &ours);
    compare("decision", &told, &wished);
    // A part is a fill that was not the whole of its order.
    let mut of_order: BTreeMap<u32, usize> = BTreeMap::new();
    let of_orders = outcome.fills.iter().filter(|row| {
        row.ts <= end && row.cause == alpha_arena::backtest::sleeve_sim::Cause::Order
    });
    of_orders.for_each(|row| *of_order.entry(row.order).or_default() += 1);
    let partial: usize = of_order.values().filter(|count| **count > 1).sum();
    let stops = outcome
        .fills
        .iter()
        .filter(|row| row.ts <= end && row.cause != alpha_arena::backtest::sleeve_sim::Cause::Order)
        .count();
    println!(
        "{} decisions and {} fills ({partial} of them parts of an order, {stops} of stops) are equal, over {} minutes",
        told.len(),
        made.len(),
        (end - first) / 60_000
    );
    assert!(
        made.len() as i64 >= wanted - 40 && partial * 4 >= made.len(),
        "{} fills, {partial} partial",
        made.len()
    );
    assert!(stops as i64 * 50 >= wanted, "{stops} fills of stops");
}

#[track_caller]
fn compare(what: &str, daemon: &[Row], backtest: &[Row]) {
    let different = daemon.iter().zip(backtest).position(|(a, b)| a != b);
    let at = different.unwrap_or(daemon.len().min(backtest.len()));
    let near = |rows: &[Row]| {
        rows[at.saturating_sub(4)..(at + 5).min(rows.len())]
            .iter()
            .map(|r| format!("  {r:?}"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert!(
        different.is_none() && daemon.len() == backtest.len(),
        "{what} {at} of {} and {} differs\ndaemon\n{}\nbacktest\n{}",
        daemon.len(),
        backtest.len(),
        near(daemon),
        near(backtest)
    );
}
