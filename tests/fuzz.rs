//! Messages of the venue with any value in any place: nothing panics. Each is read as the client
//! reads it, and what is believed of it goes on to the pure code that would use it: the tracker's
//! mind, equity, exposure, sizes.
//!
//! `FUZZ_RUNS=5000000 cargo test --release --test fuzz -- --nocapture` runs so many in all;
//! `FUZZ_SEED=17 …` begins elsewhere. Without either a short run takes a fresh seed and prints it.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use alpha_arena::domain::equity::{Believed, marked};
use alpha_arena::domain::view::InstMarket;
use alpha_arena::domain::{
    AccountView, EquityBook, InstId, Instrument, MarketView, Ms, OrdType, Order, OrderIntent,
    Price, Purpose, Qty, RunId, Side, Usd,
};
use alpha_arena::exchange::market::SimMarket;
use alpha_arena::execution::{ExecutionReport, OrderEvent};
use alpha_arena::store::Opened;
use alpha_arena::tracking::{
    Answer, Effect, MassStatus, Now, PrivateFeed, ReconcileTiming, Reconciler, TruthEvent,
    VenueQuery,
};
use alpha_arena::venue::{
    CreateOutcome, OrderRef, judge_cancel, judge_create, parse_account, parse_algos, parse_book,
    parse_candles, parse_fills, parse_funding, parse_instruments, parse_mark, parse_open_interest,
    parse_orders, parse_quote, parse_time, parse_trades, read_bills,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};

const INST: &str = "BTC-USDT-SWAP";
const ID: &str = "asAAAAAAAAAAAAAAAAAAAAAAAAAA";
const NOW: i64 = 1_790_000_000_000;

struct Chance(u64);

impl Chance {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        (self.word() % n.max(1) as u64) as usize
    }
}

/// Values that have hurt somebody.
const ODD: &[&str] = &[
    "79228162514264337593543950335",
    "-79228162514264337593543950335",
    "0.0000000000000000000000000001",
    "0",
    "-0",
    "-1",
    "1e5",
    "nan",
    "inf",
    "",
    " ",
    "1000000000000000",
    "-1000000000000000",
    "10000000000",
    "0.000000000001",
    "999999999999999.999999999999",
    "4102444800000",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
    "0x10",
    "1.2.3",
    "٣",
    "\u{0}",
    "net",
    "live",
    "filled",
    "canceled",
    "buy",
    "sell",
    "BTC-USDT-SWAP",
    "BTC-USDT",
    "USDT",
    "BTC",
    "1000000000",
    "0.5",
    "3",
];

/// Puts something else in a few places.
fn spoil(value: &mut Value, chance: &mut Chance) {
    let leaves = count(value);
    for _ in 0..1 + chance.below(3) {
        let mut at = chance.below(leaves);
        replace(value, &mut at, chance);
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(count).sum::<usize>().max(1),
        Value::Object(map) => map.values().map(count).sum::<usize>().max(1),
        _ => 1,
    }
}

fn replace(value: &mut Value, at: &mut usize, chance: &mut Chance) -> bool {
    match value {
        Value::Array(items) if !items.is_empty() => {
            items.iter_mut().any(|item| replace(item, at, chance))
        }
        Value::Object(map) if !map.is_empty() => {
            map.values_mut().any(|item| replace(item, at, chance))
        }
        leaf => {
            if *at > 0 {
                *at -= 1;
                return false;
            }
            *leaf = match chance.below(12) {
                0 => Value::Null,
                1 => json!(chance.word()),
                2 => json!([]),
                3 => json!({}),
                4 => json!(format!("{}.{}", chance.word(), chance.word())),
                5 => json!(format!("-{}", chance.word() as f64 / 1e9)),
                _ => json!(ODD[chance.below(ODD.len())]),
            };
            true
        }
    }
}

fn instruments() -> BTreeMap<InstId, Arc<Instrument>> {
    let market = SimMarket::new(1);
    let of = |name: &str| Arc::new(market.get(name).unwrap().listing.inst.clone());
    [INST, "BTC-USDT"]
        .into_iter()
        .map(|name| (name.into(), of(name)))
        .collect()
}

fn intent() -> OrderIntent {
    OrderIntent {
        cl_ord_id: ID.into(),
        run_id: RunId(uuid::Uuid::nil()),
        contender: "trend".into(),
        inst: INST.into(),
        side: Side::Buy,
        ord_type: OrdType::Limit,
        qty: Qty(Decimal::from(5)),
        limit: Some(Price(Decimal::from(100))),
        purpose: Purpose::Entry,
        leg: 0,
        attempt: 0,
        reduce_only: false,
        stop: None,
        reference: Price(Decimal::from(100)),
        decided_at: Ms(NOW),
        ttl: Some(Ms(1000)),
        slippage: None,
        moves: None,
        sleeve: Usd::ZERO,
        weight: Decimal::ONE,
        good_for: None,
    }
}

/// Everything that a message can reach.
struct Reach {
    reconciler: Reconciler,
    book: EquityBook,
    account: Option<Arc<AccountView>>,
    market: MarketView,
    heard: u64,
}

impl Reach {
    fn new() -> Self {
        let patience = ReconcileTiming {
            orders_every: Ms::secs(10),
            ask_at: vec![Ms(300)],
            ask_every: Ms(2500),
            absent_after: Ms::secs(15),
            passes_apart: Ms::secs(5),
            unknown_max: Ms::secs(600),
            unknown_instruments_max: 1,
            rounds_max: 3,
            rival_max: Ms::secs(60),
            ahead_max: Ms(5000),
            cash_tolerance: Decimal::ONE,
        };
        let run = RunId(uuid::Uuid::nil());
        let (reconciler, _) = Reconciler::open(
            Opened::default(),
            instruments(),
            's',
            run,
            patience,
            Ms(NOW),
        );
        let shown = |inst: &Arc<Instrument>| InstMarket {
            instrument: Arc::clone(inst),
            quote: None,
            mark: None,
            series: BTreeMap::new(),
        };
        let insts = instruments()
            .iter()
            .map(|(id, inst)| (id.clone(), shown(inst)))
            .collect();
        let market = MarketView {
            insts,
            live: true,
            ..MarketView::default()
        };
        let mut reach = Self {
            reconciler,
            book: EquityBook::default(),
            account: None,
            market,
            heard: 0,
        };
        reach.hear(TruthEvent::Up(PrivateFeed::Orders));
        let order = Order::intended(&intent(), Ms(NOW), None);
        let news = OrderEvent::Intended(Box::new(order), Arc::new(intent()));
        reach.hear(TruthEvent::Report(ExecutionReport { run_id: run, news }));
        let news = OrderEvent::Answered(ID.into(), CreateOutcome::Accepted("9".into()));
        reach.hear(TruthEvent::Report(ExecutionReport { run_id: run, news }));
        reach
    }

    fn hear(&mut self, heard: TruthEvent) {
        self.heard += 1;
        let now = Now {
            venue: Ms(NOW),
            wall: Ms(self.heard as i64),
        };
        let mut acts = self.reconciler.hear(heard, now);
        // A sweep that is asked for is answered with nothing, so that the next may begin.
        while let Some(at) = acts
            .iter()
            .position(|act| matches!(act, Effect::Ask(VenueQuery::Sweep(_))))
        {
            let Effect::Ask(VenueQuery::Sweep(wanted)) = acts.remove(at) else {
                unreachable!()
            };
            let nothing = MassStatus {
                began: Ms(NOW),
                pending: Vec::new(),
                asked: Vec::new(),
                nameless: Vec::new(),
                fills: Vec::new(),
                algos: Vec::new(),
                gone: Vec::new(),
                refused: Vec::new(),
                epoch: wanted.epoch,
            };
            let more = self
                .reconciler
                .hear(TruthEvent::Answer(Answer::Sweep(Ok(nothing))), now);
            // Those that this one asks for are left: they would be the same for ever.
            acts.extend(
                more.into_iter()
                    .filter(|act| !matches!(act, Effect::Ask(VenueQuery::Sweep(_)))),
            );
        }
    }

    /// Uses what is known now, as other stages do.
    fn use_it(&mut self) {
        let view = self.reconciler.view();
        let believed = Believed {
            now: Ms(NOW),
            age: Ms(60_000),
            jump: Decimal::ONE,
        };
        if let Some(account) = &self.account {
            let equity = marked(account, &self.market, &believed);
            self.book.observe(account);
            self.book.daily_loss(equity, Ms(NOW));
            self.book.drawdown(equity);
        }
        for (id, shown) in &self.market.insts {
            let (most, least) = view.worst_case(id);
            let price = shown.quote.map_or(Price(Decimal::ONE), |quote| quote.mid());
            let inst = &shown.instrument;
            for qty in [most, least] {
                inst.notional(qty, price);
                inst.floor_lot(qty);
            }
            inst.size_for(Usd(Decimal::from(25_000)), price);
            inst.most_at_market(price);
            inst.ceil_tick(price);
            inst.floor_tick(price);
            for held in view.holdings.values() {
                held.unrealised(inst, price);
            }
        }
    }
}

type Target = (&'static str, fn() -> Value, fn(&Value, &mut Reach));

fn order_row() -> Value {
    json!({"instType": "SWAP", "instId": INST, "ordId": "9", "clOrdId": ID, "algoClOrdId": "", "algoId": "", "side": "buy", "state": "partially_filled",
        "sz": "5", "accFillSz": "2", "avgPx": "100", "px": "100", "fillPx": "100", "fillSz": "2", "fillFee": "-0.1", "fillFeeCcy": "USDT",
        "tradeId": "1", "execType": "T", "fillTime": NOW.to_string(), "cancelSource": "", "category": "normal", "uTime": NOW.to_string()})
}

fn fill_row() -> Value {
    json!({"instType": "SWAP", "instId": INST, "tradeId": "1", "ordId": "9", "clOrdId": ID, "billId": "1", "fillPx": "100", "fillSz": "2",
        "side": "buy", "execType": "T", "feeCcy": "USDT", "fee": "-0.1", "fillTime": NOW.to_string(), "ts": NOW.to_string()})
}

fn account_rows() -> Value {
    json!({"balance": [{"totalEq": "100000", "details": [
            {"ccy": "USDT", "eq": "90000", "cashBal": "90000", "availEq": "80000", "availBal": "80000", "frozenBal": "0", "eqUsd": "90000"},
            {"ccy": "BTC", "eq": "0.1", "cashBal": "0.1", "availEq": "0.1", "availBal": "0.1", "frozenBal": "0", "eqUsd": "10000"}]}],
        "positions": [{"instId": INST, "posSide": "net", "pos": "2", "avgPx": "100", "markPx": "101", "upl": "2", "notionalUsd": "202",
            "liqPx": "50", "lever": "3", "uTime": NOW.to_string()}]})
}

/// Each kind of message: a good one, and who reads it.
const TARGETS: &[Target] = &[
    (
        "ticker",
        || json!([{"instId": INST, "last": "100", "askPx": "101", "askSz": "1", "bidPx": "99", "bidSz": "1", "ts": NOW.to_string()}]),
        |v, r| {
            if let Ok((inst, quote)) = parse_quote(&v.to_string())
                && let Some(shown) = r.market.insts.get_mut(&inst)
            {
                shown.quote = Some(quote);
            }
        },
    ),
    (
        "mark price",
        || json!([{"instId": INST, "markPx": "100", "ts": NOW.to_string()}]),
        |v, r| {
            if let Ok((inst, price, at)) = parse_mark(&v.to_string())
                && let Some(shown) = r.market.insts.get_mut(&inst)
            {
                shown.mark = Some((price, at));
            }
        },
    ),
    (
        "candle",
        || {
            json!([[
                NOW.to_string(),
                "100",
                "102",
                "99",
                "101",
                "5",
                "5",
                "500",
                "1"
            ]])
        },
        |v, _| drop(parse_candles(&v.to_string())),
    ),
    (
        "book",
        || json!([{"asks": [["101", "1", "0", "1"]], "bids": [["99", "1", "0", "1"]], "ts": NOW.to_string()}]),
        |v, _| drop(parse_book(&v.to_string())),
    ),
    (
        "trade",
        || json!([{"instId": INST, "tradeId": "1", "px": "100", "sz": "1", "side": "buy", "ts": NOW.to_string()}]),
        |v, _| drop(parse_trades(&v.to_string())),
    ),
    (
        "instrument",
        || {
            json!([{"instId": INST, "instType": "SWAP", "baseCcy": "", "quoteCcy": "", "settleCcy": "USDT", "ctValCcy": "BTC",
        "ctType": "linear", "ctVal": "0.01", "ctMult": "1", "tickSz": "0.1", "lotSz": "0.01", "minSz": "0.01", "maxLmtSz": "1000000",
        "maxMktSz": "10000", "lever": "100", "state": "live", "instIdCode": 1}])
        },
        |v, r| {
            for inst in parse_instruments(v).unwrap_or_default() {
                if let Some(shown) = r.market.insts.get_mut(&inst.id) {
                    shown.instrument = Arc::new(inst);
                }
            }
        },
    ),
    (
        "order",
        || json!([order_row()]),
        |v, r| {
            if let Ok(pushes) = parse_orders(&v.to_string()) {
                r.hear(TruthEvent::Orders(pushes));
            }
        },
    ),
    (
        "fill",
        || json!([fill_row()]),
        |v, r| {
            if let Ok(rows) = parse_fills(v) {
                r.hear(TruthEvent::Answer(Answer::Fills {
                    id: ID.into(),
                    result: Ok(rows),
                }));
            }
        },
    ),
    (
        "algo order",
        || json!([{"algoId": "7", "algoClOrdId": "asS", "state": "live", "sz": "2", "slTriggerPx": "90", "uTime": NOW.to_string()}]),
        |v, r| {
            if let Ok(pushes) = parse_algos(&v.to_string()) {
                r.hear(TruthEvent::Stops(pushes));
            }
        },
    ),
    ("account", account_rows, |v, r| {
        if let Ok(view) = parse_account(&v["balance"], &v["positions"], Ms(NOW + r.heard as i64)) {
            let view = Arc::new(view);
            r.account = Some(Arc::clone(&view));
            r.hear(TruthEvent::Account(view));
        }
    }),
    (
        "bill",
        || json!([{"billId": "1", "type": "1", "ccy": "USDT", "balChg": "5", "instId": "", "ordId": "", "tradeId": "", "ts": NOW.to_string()}]),
        |v, r| {
            let Ok(page) = read_bills(v) else { return };
            let Some(account) = r.account.clone() else {
                return;
            };
            let mut account = AccountView::clone(&account);
            for bill in page.rows {
                *account.transfers.entry(bill.ccy.clone()).or_default() += bill.change;
                *account.other_bills.entry(bill.ccy).or_default() += bill.change;
            }
            account.as_of = Ms(NOW + r.heard as i64);
            let account = Arc::new(account);
            r.account = Some(Arc::clone(&account));
            r.hear(TruthEvent::Account(account));
        },
    ),
    (
        "funding",
        || json!([{"instId": INST, "fundingRate": "0.0001", "realizedRate": "0.0001", "fundingTime": NOW.to_string(), "nextFundingTime": NOW.to_string()}]),
        |v, _| drop(parse_funding(v)),
    ),
    (
        "open interest",
        || json!([{"instId": INST, "oi": "1000"}]),
        |v, _| drop(parse_open_interest(v)),
    ),
    (
        "time",
        || json!([{"ts": NOW.to_string()}]),
        |v, _| drop(parse_time(v)),
    ),
    (
        "answer",
        || json!({"code": "0", "msg": "", "data": [{"ordId": "9", "clOrdId": ID, "sCode": "0", "sMsg": ""}]}),
        |v, _| {
            drop(judge_create(ID, &v.to_string()));
            drop(judge_cancel(OrderRef::ours(ID), &v.to_string()));
        },
    ),
];

#[test]
fn no_message_makes_anything_panic() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let fresh = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64;
    let seed = number("FUZZ_SEED").unwrap_or(fresh % 1_000_000_000);
    let runs = number("FUZZ_RUNS").unwrap_or(30_000);
    println!("seed {seed}, {runs} messages (FUZZ_SEED={seed} FUZZ_RUNS={runs} repeats them)");
    let each = runs.div_ceil(TARGETS.len() as u64);
    let mut wrong = Vec::new();
    std::panic::set_hook(Box::new(|_| {}));
    for (name, good, read) in TARGETS {
        let mut chance = Chance(seed ^ name.len() as u64);
        let mut reach = Reach::new();
        for run in 0..each {
            let mut message = good();
            spoil(&mut message, &mut chance);
            let read = catch_unwind(AssertUnwindSafe(|| {
                read(&message, &mut reach);
                reach.use_it();
            }));
            if let Err(panic) = read {
                let what = panic.downcast_ref::<String>().cloned();
                let what = what
                    .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                    .unwrap_or_default();
                wrong.push(format!("{name}, message {run}: {what}: {message}"));
                reach = Reach::new();
            }
            // Cases and holdings pile up: begin anew now and then.
            if run % 2000 == 1999 {
                reach = Reach::new();
            }
        }
        println!("{name:<16}{each:>10} messages");
    }
    drop(std::panic::take_hook());
    assert!(
        wrong.is_empty(),
        "{} panics:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(10)].join("\n")
    );
}
