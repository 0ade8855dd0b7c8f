//! `backtest run`: one strategy on one instrument.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::super::{Failure, Global, output};
use super::contender::{ExecutionArg, PlayerArgs, params, spec};
use super::market::{CostArgs, HistoryArgs, market};
use super::shown;
use crate::backtest::ideal::{Ideal, IdealCurve};
use crate::backtest::kernel::Streamed;
use crate::backtest::report::{Report, Stress, judge, stress};
use crate::backtest::{BacktestMarket, Contender, Rules, RunOutcome, exact, html, ideal, kernel};
use crate::exit::Exit;
use crate::fills::Number;
use crate::runtime::wall_ms;
use crate::stats::{Curve, performance};

/// Fill model of orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fills {
    /// Everything: whole ticks and lots, a share of the bar's volume, spread, impact, stops,
    /// margin, funding, the gate.
    Bar,
    /// The next open, all of it, in any fraction; long or flat, all cash, taker fee and half the
    /// spread.
    NextOpen,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena backtest run --strategy sma_cross -p fast=20 -p slow=100 --inst BTC-USDT-SWAP --bar 1m\n  alpha-arena backtest run --strategy donchian --candles btc-1m.csv.gz --inst BTC-USDT-SWAP --bar 15m --html donchian.html\n  alpha-arena backtest run --strategy sma_cross --candles btc.csv --fills next-open --taker-bps 10 --half-spread-bps 5 --json\n\nWhat the fill model assumes is in the module docs of `fills`; every cost is a key of [backtest] in the configuration."
)]
pub(in crate::cli) struct BacktestRunArgs {
    #[command(flatten)]
    contender: PlayerArgs,
    #[command(flatten)]
    history: HistoryArgs,
    #[command(flatten)]
    costs: CostArgs,
    /// Fill model of orders.
    #[arg(long, value_enum, default_value_t = Fills::Bar)]
    fills: Fills,
    /// Run the daemon's own allocator and gate in decimals: the same fills, hundreds of times
    /// slower.
    #[arg(long)]
    exact: bool,
    /// Seed of the intervals' resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write a report as one HTML file that needs no network.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write every fill as CSV.
    #[arg(long, value_name = "FILE")]
    fills_csv: Option<PathBuf>,
    /// JSON for scripts, every number in full.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &BacktestRunArgs) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    let spec = spec(&args.contender.strategy)?;
    let params = params(spec, &args.contender.params)?;
    let market = market(global, &config, &args.history, &args.costs)?;
    let contender = args.contender.terms.contender(spec, params)?;
    let rules = args.contender.terms.rules(&config)?;
    if args.fills == Fills::NextOpen {
        if args.html.is_some() || args.fills_csv.is_some() || args.exact {
            let why = "--fills next-open has no orders to show: --exact, --html and --fills-csv are for --fills bar";
            return Err(Failure::new(Exit::Usage, why));
        }
        refuse_unused(args)?;
        next_open(&market, &contender, &rules, args.json);
        return Ok(Exit::Ok);
    }
    if args.exact {
        let run = || {
            exact::run(
                std::slice::from_ref(&market),
                std::slice::from_ref(&contender),
                &rules,
            )
            .0
        };
        told(args, &market, &contender, &rules, run)
    } else {
        told(args, &market, &contender, &rules, || {
            kernel::run(&market, &contender, &rules)
        })
    }
}

/// The ideal world has no use for these: what is given and not heeded would be believed.
fn refuse_unused(args: &BacktestRunArgs) -> Result<(), Failure> {
    let (terms, costs) = (&args.contender.terms, &args.costs);
    let given = [
        (terms.account.weight != Decimal::ONE, "--weight"),
        (terms.execution != ExecutionArg::Market, "--execution"),
        (costs.maker_bps.is_some(), "--maker-bps"),
        (costs.impact_bps.is_some(), "--impact-bps"),
        (costs.participation_pct.is_some(), "--participation-pct"),
        (costs.latency_bars.is_some(), "--latency-bars"),
        (
            args.contender
                .params
                .iter()
                .any(|p| p.starts_with("stop_pct") && !p.ends_with("=0")),
            "-p stop_pct",
        ),
    ];
    match given.iter().find(|(given, _)| *given) {
        Some((_, name)) => Err(Failure::new(
            Exit::Usage,
            format!("{name} has no meaning for --fills next-open; it is for --fills bar"),
        )),
        None => Ok(()),
    }
}

/// Costs that every run is repeated with.
const FACTORS: [Decimal; 2] = [Decimal::ZERO, Decimal::TWO];

fn told<N: Number + std::fmt::Display + Send>(
    args: &BacktestRunArgs,
    market: &BacktestMarket,
    contender: &Contender,
    rules: &Rules,
    run: impl FnOnce() -> RunOutcome<N> + Send,
) -> Result<Exit, Failure> {
    let judged = || {
        let outcome = run();
        let report = judge(
            std::slice::from_ref(market),
            contender,
            rules,
            &outcome,
            (1, args.seed),
        );
        (outcome, report)
    };
    let ((outcome, mut report), mut stress) =
        rayon::join(judged, || stress(market, contender, rules, &FACTORS));
    stress.insert(1, Stress::of(Decimal::ONE, &report.performance));
    report.stress = stress;
    let outcome = &outcome;
    let io = |path: &PathBuf| {
        let path = path.display().to_string();
        move |error: std::io::Error| Failure::new(Exit::Io, format!("{path}: {error}"))
    };
    if let Some(path) = &args.fills_csv {
        std::fs::write(path, shown::fills_csv(market, outcome)).map_err(io(path))?;
    }
    if let Some(path) = &args.html {
        std::fs::write(path, html::page(market, contender, rules, outcome, &report))
            .map_err(io(path))?;
    }
    if args.json {
        output::say(told_json(args, market, contender, &report, outcome));
        return Ok(Exit::Ok);
    }
    shown::run(std::slice::from_ref(market), contender, &report, outcome);
    for path in args.html.iter().chain(&args.fills_csv) {
        output::say(format_args!("wrote {}", path.display()));
    }
    Ok(Exit::Ok)
}

fn told_json<N: Number + std::fmt::Display>(
    args: &BacktestRunArgs,
    market: &BacktestMarket,
    contender: &Contender,
    report: &Report,
    outcome: &RunOutcome<N>,
) -> Value {
    let mut body = about(market, contender);
    let more = json!({
        "fills_model": "bar",
        "engine": if args.exact { "exact" } else { "kernel" },
        "seed": args.seed,
        "costs": *market.costs,
        "report": report,
        "halts": outcome.halts,
        "blocks": outcome.blocks,
        "liquidations": outcome.liquidations,
        "held_lots": outcome.held.values().sum::<i64>(),
        "cash_end": outcome.cash.float(),
    });
    join(&mut body, more);
    body
}

/// Describes the inputs a result is made of.
fn about(market: &BacktestMarket, contender: &Contender) -> Value {
    let columns = &*market.columns;
    json!({
        "schema": "backtest run/1",
        "as_of_ms": wall_ms(),
        "build": env!("ARENA_BUILD"),
        "data": columns.hash(),
        "inst": market.instrument.id,
        "bar": columns.bar.okx(),
        "bars": columns.len(),
        "from_ms": columns.ts[0],
        "to_ms": columns.closes(columns.len() - 1).0,
        "strategy": contender.strategy.name,
        "params": contender.params,
    })
}

fn join(body: &mut Value, more: Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        body.extend(more);
    }
}

/// Equity and exposure of the ideal world.
struct IdealRun {
    equity: Vec<f64>,
    bought: u32,
    fees: f64,
    value: f64,
}

impl IdealCurve for IdealRun {
    fn equity(&mut self, _: usize, equity: f64) {
        self.equity.push(equity);
    }
    fn fill(&mut self, _: usize, qty: f64, price: f64, fee: f64) {
        self.bought += u32::from(qty > 0.0);
        self.fees += fee;
        self.value += qty.abs() * price;
    }
}

fn next_open(market: &BacktestMarket, contender: &Contender, rules: &Rules, json_wanted: bool) {
    let columns = &*market.columns;
    let fee = f64::of(market.costs.tier(Decimal::ZERO).taker);
    let terms = Ideal {
        cash: f64::of(rules.cash),
        fee,
        slippage: f64::of(market.costs.half_spread),
    };
    let wishes = Streamed::new(contender.build(market), columns);
    let mut kept = IdealRun {
        equity: Vec::with_capacity(columns.len()),
        bought: 0,
        fees: 0.0,
        value: 0.0,
    };
    let orders = ideal::drive(columns, terms, wishes, &mut kept);
    let at: Vec<i64> = (0..columns.len())
        .map(|index| columns.closes(index).0)
        .collect();
    let curve = Curve {
        start: terms.cash,
        at: &at,
        equity: &kept.equity,
        exposure: &[],
        first_price: columns.open[0],
        benchmark: &columns.close,
        bar_ms: columns.bar.span().0,
        years: market.years(),
    };
    let p = performance(&curve, &[], kept.value);
    let equity = kept.equity.last().copied().unwrap_or(terms.cash);
    if json_wanted {
        let mut body = about(market, contender);
        let more = json!({
            "fills_model": "next-open", "taker_fee": terms.fee, "slippage": terms.slippage,
            "equity_start": terms.cash, "equity_end": equity, "orders": orders, "buys": kept.bought, "fees": kept.fees,
            "total_return": p.total_return, "sharpe_bars": p.sharpe_bars, "sharpe": p.sharpe, "period": p.period,
            "max_drawdown": p.max_drawdown, "buy_and_hold": p.buy_and_hold,
        });
        join(&mut body, more);
        output::say(body);
        return;
    }
    shown::head(std::slice::from_ref(market), contender);
    output::say(format_args!(
        "next open, long or flat, {} % fee, {} % slippage: {orders} orders, {:.2} → {equity:.2} ({:+.2} %), buy and hold {:+.2} %",
        100.0 * terms.fee,
        100.0 * terms.slippage,
        terms.cash,
        100.0 * p.total_return,
        100.0 * p.buy_and_hold
    ));
    output::say(format_args!(
        "Sharpe {:.3} by bars, drawdown {:.2} %",
        p.sharpe_bars,
        100.0 * p.max_drawdown
    ));
}
