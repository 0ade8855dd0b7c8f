//! Backtests against a fused loop, as bars per second and ratios of one run: `cargo bench --bench
//! backtest`.
//!
//! W1  SMA(20/100) cross, long or flat, all in, 525,600 minutes: ideal fills, and the full engine
//! with every cost and rule W2  400 (fast, slow) pairs of it on all cores, with return, Sharpe and
//! drawdown of each, ranked W3  10 instruments × 5 strategies
//!
//! and that time is linear in bars (1×, 4×, 16×) and in runs. Nothing here asserts a time.

mod common;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use common::sized;

use alpha_arena::backtest::ideal::{Brief, Ideal, drive};
use alpha_arena::backtest::kernel::{self, Streamed};
use alpha_arena::backtest::margin::Funding;
use alpha_arena::backtest::{BacktestMarket, Contender, Rules};
use alpha_arena::data::Columns;
use alpha_arena::domain::{Bar, InstKind, Limits, Ms, Price, Qty, Rule, WorkingPolicy};
use alpha_arena::exchange::market::listings;
use alpha_arena::fills::Costs;
use alpha_arena::strategy::{Params, find};
use rayon::prelude::*;
use rust_decimal::Decimal;

/// Minutes of a run.
fn year() -> usize {
    sized(525_600, 43_200)
}

fn main() {
    if std::env::args().any(|arg| arg == "--list" || arg == "--test") {
        return;
    }
    let columns = walk(1, year());
    println!("{} threads", rayon::current_num_threads());
    w1(&columns);
    w2(&columns);
    w3();
    linear();
    println!("peak memory {:.0} MiB", peak_mib());
}

/// A walk of so many minutes, the same for a seed.
fn walk(seed: u64, bars: usize) -> Columns {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut columns = Columns::empty(Bar::M1, Decimal::new(1, 1), Decimal::new(1, 2), bars);
    let mut close: f64 = 400_000.0;
    for i in 0..bars {
        let open = close;
        let noise = next() + next() + next() + next() - 2.0;
        close = (open * (1.0 + 0.0008 * noise))
            .round()
            .clamp(50_000.0, 3_000_000.0);
        columns.ts.push(i as i64 * 60_000);
        columns.open.push(open);
        columns
            .high
            .push(open.max(close) + (next() * 200.0).round());
        columns.low.push(open.min(close) - (next() * 200.0).round());
        columns.close.push(close);
        columns.volume.push((next() * 400_000.0).round());
    }
    columns.checked().unwrap()
}

/// The least of so many times, in seconds, and the last result.
fn timed<T>(times: usize, mut work: impl FnMut() -> T) -> (f64, T) {
    let mut best = f64::MAX;
    let mut result = None;
    for _ in 0..times {
        let began = Instant::now();
        result = Some(black_box(work()));
        best = best.min(began.elapsed().as_secs_f64());
    }
    (best, result.unwrap())
}

fn params(pairs: &[(&str, f64)]) -> Params {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .chain([("stop_pct".to_owned(), 0.0)])
        .collect()
}

const IDEAL: Ideal = Ideal {
    cash: 10_000.0,
    fee: 0.001,
    slippage: 0.0005,
};

/// Baseline for measuring the engines: the whole of W1 in one loop over two arrays.
fn fused(columns: &Columns, fast: usize, slow: usize) -> (f64, u32, f64, f64) {
    let (open, close) = (&columns.open, &columns.close);
    let (mut quick, mut lazy) = (0.0, 0.0);
    let (mut cash, mut held, mut orders, mut wanted) = (IDEAL.cash, 0.0, 0u32, false);
    let (mut last, mut sum, mut squares, mut peak, mut fall) =
        (IDEAL.cash, 0.0, 0.0, IDEAL.cash, 0.0f64);
    for i in 0..close.len() {
        if wanted != (held > 0.0) {
            orders += 1;
            if wanted {
                held = cash / (open[i] * (1.0 + IDEAL.slippage) * (1.0 + IDEAL.fee));
                cash = 0.0;
            } else {
                cash = held * open[i] * (1.0 - IDEAL.slippage) * (1.0 - IDEAL.fee);
                held = 0.0;
            }
        }
        let equity = cash + held * close[i];
        let change = equity / last - 1.0;
        last = equity;
        sum += change;
        squares += change * change;
        peak = if equity > peak { equity } else { peak };
        fall = fall.max(1.0 - equity / peak);
        quick += close[i];
        lazy += close[i];
        if i >= fast {
            quick -= close[i - fast];
        }
        if i >= slow {
            lazy -= close[i - slow];
        }
        if i + 1 >= slow {
            wanted = quick * slow as f64 > lazy * fast as f64;
        }
    }
    let n = close.len() as f64;
    let mean = sum / n;
    (
        last,
        orders,
        mean / ((squares / n - mean * mean).max(1e-300)).sqrt(),
        fall,
    )
}

fn sma(columns: &Columns, fast: usize, slow: usize) -> Brief {
    let params = params(&[("fast", fast as f64), ("slow", slow as f64)]);
    let strategy = (find("sma_cross").unwrap().build)(&params, true);
    let mut brief = Brief::new(IDEAL.cash);
    drive(columns, IDEAL, Streamed::new(strategy, columns), &mut brief);
    brief
}

fn rate(bars: usize, seconds: f64) -> String {
    format!(
        "{:.2} ms, {:.0} M bars/s",
        seconds * 1e3,
        bars as f64 / seconds / 1e6
    )
}

fn market(columns: Columns) -> BacktestMarket {
    let mut inst = listings()
        .into_iter()
        .map(|l| l.inst)
        .find(|i| i.id.as_str() == "BTC-USDT-SWAP")
        .unwrap();
    (inst.tick, inst.lot) = (Price(columns.tick), Qty(columns.lot));
    let costs = Costs::of(InstKind::Swap);
    BacktestMarket {
        instrument: Arc::new(inst),
        columns: Arc::new(columns),
        funding: Arc::new(Funding {
            history: Vec::new(),
            otherwise: costs.funding,
        }),
        costs: Arc::new(costs),
    }
}

fn contender(strategy: &str, params: Params) -> Contender {
    Contender {
        id: strategy.into(),
        strategy: find(strategy).unwrap(),
        params,
        weight: Decimal::ONE,
        markets: vec![0],
        execution: WorkingPolicy::Market { slippage: None },
    }
}

fn rules() -> Rules {
    Rules {
        cash: Decimal::from(100_000),
        reserve: Decimal::ZERO,
        no_trade_band: Decimal::new(5, 2),
        stop_default: Decimal::new(5, 2),
        // Wide, so that it trades to the end whatever it loses; judged all the same.
        limits: Limits::widest()
            .with(Rule::Drawdown, 100)
            .with(Rule::DailyLoss, 100),
        begin: Ms::ZERO,
    }
}

fn w1(columns: &Columns) {
    let (loop_s, (equity, orders, ..)) = timed(15, || fused(columns, 20, 100));
    println!(
        "W1 fused loop           {}, {orders} orders, ends with {equity:.2}",
        rate(year(), loop_s)
    );
    columns.sums();
    let (ideal_s, brief) = timed(15, || sma(columns, 20, 100));
    println!(
        "W1 ideal fills          {}, {:.2} × the loop",
        rate(year(), ideal_s),
        ideal_s / loop_s
    );
    let off = (brief.equity() / equity - 1.0).abs();
    assert!(
        off < 1e-9 && brief.orders() == orders,
        "the same run: {} {equity}",
        brief.equity()
    );
    let (market, rules) = (market(columns.part(0..columns.len())), rules());
    let told = contender("sma_cross", params(&[("fast", 20.0), ("slow", 100.0)]));
    let (full_s, outcome) = timed(9, || kernel::run(&market, &told, &rules));
    let fills = outcome.fills.len();
    println!(
        "W1 full engine          {}, {:.2} × the loop, {} orders, {fills} fills, ends with {:.2}, refused {:?}",
        rate(year(), full_s),
        full_s / loop_s,
        outcome.orders,
        outcome.equity.last().unwrap(),
        outcome
            .blocks
            .iter()
            .map(|(code, block)| (code, block.count))
            .collect::<Vec<_>>()
    );
}

fn pairs() -> Vec<(usize, usize)> {
    (0..20)
        .flat_map(|f| (0..20).map(move |s| (5 + 2 * f, 50 + 10 * s)))
        .collect()
}

fn w2(columns: &Columns) {
    let pairs = pairs();
    let bars = pairs.len() * year();
    let (loop_s, _) = timed(2, || {
        pairs
            .par_iter()
            .map(|(f, s)| fused(columns, *f, *s).0)
            .collect::<Vec<f64>>()
    });
    println!("W2 fused loops          {}", rate(bars, loop_s));
    let (ours, ranked) = timed(3, || {
        let mut all: Vec<_> = pairs
            .par_iter()
            .map(|(f, s)| ((*f, *s), sma(columns, *f, *s)))
            .collect();
        all.sort_by(|a, b| b.1.sharpe().total_cmp(&a.1.sharpe()));
        all
    });
    let ((fast, slow), best) = &ranked[0];
    println!(
        "W2 400 pairs            {}, {:.2} × the loops; best {fast}/{slow}: Sharpe per bar {:.5}, drawdown {:.1} %",
        rate(bars, ours),
        ours / loop_s,
        best.sharpe(),
        100.0 * best.drawdown()
    );
}

fn w3() {
    let all: Vec<Columns> = (0..10).map(|seed| walk(seed + 10, year())).collect();
    let kinds: [(&str, &[(&str, f64)]); 5] = [
        ("sma_cross", &[("fast", 20.0), ("slow", 100.0)]),
        ("ema_cross", &[("fast", 20.0), ("slow", 100.0)]),
        (
            "rsi_reversion",
            &[("period", 14.0), ("low", 30.0), ("high", 70.0)],
        ),
        ("bollinger_reversion", &[("period", 20.0), ("width", 2.0)]),
        ("donchian", &[("entry", 55.0), ("exit", 20.0)]),
    ];
    let jobs: Vec<(&Columns, &str, Params)> = all
        .iter()
        .flat_map(|c| {
            kinds
                .iter()
                .map(move |(name, given)| (c, *name, params(given)))
        })
        .collect();
    let bars = jobs.len() * year();
    let run = |(columns, name, params): &(&Columns, &str, Params)| {
        let strategy = (find(name).unwrap().build)(params, true);
        let mut brief = Brief::new(IDEAL.cash);
        drive(columns, IDEAL, Streamed::new(strategy, columns), &mut brief);
        brief.sharpe()
    };
    let (seconds, _) = timed(3, || jobs.par_iter().map(run).collect::<Vec<f64>>());
    println!("W3 10 × 5               {}", rate(bars, seconds));
    for (name, given) in kinds {
        let job = (&all[0], name, params(given));
        let (seconds, _) = timed(3, || run(&job));
        println!("   {name:<21} {}", rate(year(), seconds));
    }
}

fn linear() {
    let quarter = sized(131_400, 13_140);
    let rules = rules();
    let told = contender("sma_cross", params(&[("fast", 20.0), ("slow", 100.0)]));
    let mut first = None;
    for times in [1, 4, 16] {
        let market = market(walk(3, quarter * times));
        let (seconds, _) = timed(3, || kernel::run(&market, &told, &rules).fills.len());
        let one = *first.get_or_insert(seconds);
        println!(
            "full engine, bars × {times:<3} {}, {:.2} × the first",
            rate(quarter * times, seconds),
            seconds / one
        );
    }
    let columns = walk(4, quarter);
    let mut first = None;
    for times in [25, 100, 400] {
        let pairs = &pairs()[..times];
        let (seconds, _) = timed(3, || {
            pairs
                .par_iter()
                .map(|(f, s)| sma(&columns, *f, *s).sharpe())
                .sum::<f64>()
        });
        let one = *first.get_or_insert(seconds);
        println!(
            "ideal fills, {times:>3} runs   {:.2} × the first",
            seconds / one
        );
    }
}

/// Most memory that this process ever held.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}
