//! `backtest batch`: many parameters × instruments × bars × windows, on all cores, resumable.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::{Failure, Global, data as data_cli, duration, output};
use super::contender::{TermArgs, spec};
use super::market::{CostArgs, HistoryArgs, market};
use crate::backtest::run_summary::run_summary;
use crate::backtest::search::{Axis, MOST, grid, random, windows};
use crate::backtest::{BacktestMarket, Contender, Rules};
use crate::domain::{Bar, Ms};
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::{BatchRow, Research, RunRow, StateDir};
use crate::strategy::{self, Params};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena backtest batch --strategy sma_cross --axis fast=5:43:2 --axis slow=50:240:10 --inst BTC-USDT-SWAP\n  alpha-arena backtest batch --strategy all --random 20 --inst BTC-USDT-SWAP --inst ETH-USDT-SWAP --bar 15m --bar 1H\n  alpha-arena backtest batch --strategy donchian --axis entry=20,55,100 --inst BTC-USDT-SWAP --shard 2/8\n\nThe same command is the same batch: started again it goes on where it was interrupted, and a run that is there is not run\nagain. Results do not depend on the number of threads. Then: `backtest rank`, `backtest summary`, `backtest walkforward`."
)]
pub(in crate::cli) struct BatchArgs {
    /// A strategy, or all of them. May be repeated.
    #[arg(long = "strategy", value_name = "NAME", required = true)]
    strategies: Vec<String>,
    /// Values of a parameter: NAME=A,B,C or NAME=FROM:TO:STEP. May be repeated; a grid of them.
    #[arg(long = "axis", value_name = "AXIS")]
    axes: Vec<String>,
    /// Draw so many combinations of each strategy from its ranges instead; --axis narrows what is
    /// drawn from.
    #[arg(long, value_name = "N")]
    random: Option<usize>,
    /// Of what is drawn.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// An instrument with stored history. May be repeated.
    #[arg(long = "inst", value_name = "INST")]
    insts: Vec<String>,
    /// A candle file instead of stored history; --inst says what it is.
    #[arg(long, value_name = "FILE")]
    candles: Option<PathBuf>,
    /// State directory whose history is read. Default: this one's.
    #[arg(long, value_name = "DIR")]
    history_dir: Option<PathBuf>,
    /// Base units in one contract, of swaps that are not listed by the embedded exchange.
    #[arg(long, value_name = "VALUE")]
    contract_value: Option<rust_decimal::Decimal>,
    /// A bar. May be repeated. Default: 1m, or that of the file.
    #[arg(long = "bar", value_name = "BAR", value_parser = data_cli::bar)]
    bars: Vec<Bar>,
    /// First moment (UTC). Default: the beginning.
    #[arg(long, value_name = "TIME", value_parser = data_cli::instant)]
    from: Option<Ms>,
    /// Before this moment (UTC). Default: the end.
    #[arg(long, value_name = "TIME", value_parser = data_cli::instant)]
    to: Option<Ms>,
    /// Run on windows of this length instead of all of it, e.g. 30d.
    #[arg(long, value_name = "LENGTH", value_parser = duration)]
    window: Option<std::time::Duration>,
    /// Between two windows' beginnings. Default: the window's length.
    #[arg(long, value_name = "LENGTH", value_parser = duration)]
    step: Option<std::time::Duration>,
    #[command(flatten)]
    terms: TermArgs,
    #[command(flatten)]
    costs: CostArgs,
    /// Only every n-th run, beginning with the i-th: I/N. Other machines do the others; `backtest
    /// merge` joins them.
    #[arg(long, value_name = "I/N", value_parser = shard)]
    shard: Option<(usize, usize)>,
    /// Threads. Default: one for each core.
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

/// `2/8` → (2, 8).
fn shard(text: &str) -> Result<(usize, usize), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    parsed
        .filter(|(i, n)| (1..=*n).contains(i))
        .ok_or_else(|| format!("'{text}' is no shard; the second of eight is 2/8"))
}

/// Search of a batch, as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct BatchSpec {
    pub strategies: Vec<String>,
    pub axes: Vec<String>,
    pub random: Option<usize>,
    pub seed: u64,
    pub markets: Vec<(String, String)>,
    pub windows: Vec<(i64, i64)>,
    pub weight: String,
    pub cash: String,
    pub execution: String,
    pub limits: String,
}

/// One run to do.
struct Job {
    number: usize,
    /// Index of the market's window.
    market: usize,
    contender: usize,
}

/// All runs of a search.
struct Batch {
    id: String,
    row: BatchRow,
    /// Cut where they are run: many windows are not held at once.
    markets: Vec<Windowed>,
    contenders: Vec<Contender>,
    rules: Rules,
}

impl Batch {
    fn jobs(&self) -> impl Iterator<Item = Job> + '_ {
        let contenders = self.contenders.len();
        (0..self.markets.len() * contenders).map(move |number| Job {
            number,
            market: number / contenders,
            contender: number % contenders,
        })
    }
}

pub(super) fn run(global: &Global, args: &BatchArgs) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    StateDir::make(&dir)?;
    let batch = plan(global, args)?;
    let mut research = Research::open(&dir, wall_ms())?;
    research.begin_batch(&batch.row)?;
    let done: BTreeSet<i64> = research.runs_done(&batch.id)?.into_iter().collect();
    let (shard, shards) = args.shard.unwrap_or((1, 1));
    let mine = |job: &Job| job.number % shards == shard - 1;
    let all = batch.jobs().filter(mine).count();
    let pending: Vec<Job> = batch
        .jobs()
        .filter(|job| mine(job) && !done.contains(&(job.number as i64)))
        .collect();
    let begun = std::time::Instant::now();
    let bars: usize = pending
        .iter()
        .map(|job| batch.markets[job.market].0.columns.len())
        .sum();
    work(&batch, &pending, &mut research, args)?;
    let seconds = begun.elapsed().as_secs_f64();
    let there = research.runs_done(&batch.id)?.len();
    if args.json {
        output::say(
            json!({"schema": "backtest batch/1", "as_of_ms": wall_ms(), "batch": batch.id, "runs": batch.row.runs,
            "mine": all, "run_now": pending.len(), "done": there, "data": batch.row.data_hash, "build": batch.row.build,
            "seconds": seconds, "bars": bars}),
        );
    } else {
        output::say(format_args!(
            "batch {}: {} runs, {} of them now ({} were there), {bars} bars in {seconds:.1} s",
            batch.id,
            batch.row.runs,
            pending.len(),
            all - pending.len()
        ));
        if there < batch.row.runs as usize {
            output::say(format_args!(
                "{} runs are missing here; run their shards, then `backtest merge`",
                batch.row.runs as usize - there
            ));
        } else {
            output::say(format_args!(
                "next: alpha-arena backtest rank --batch {}",
                batch.id
            ));
        }
    }
    Ok(Exit::Ok)
}

/// Everything that would be run, and its name.
fn plan(global: &Global, args: &BatchArgs) -> Result<Batch, Failure> {
    let config = global.load(None)?;
    let usage = |why: String| Failure::new(Exit::Usage, why);
    let axes = args
        .axes
        .iter()
        .map(|text| Axis::parse(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(usage)?;
    let every = args.strategies.iter().any(|name| name == "all");
    let specs = match every {
        true => strategy::all().to_vec(),
        false => {
            let named: BTreeSet<&String> = args.strategies.iter().collect();
            named
                .into_iter()
                .map(|name| spec(name))
                .collect::<Result<Vec<_>, _>>()?
        }
    };
    if let Some(axis) = axes.iter().find(|a| {
        !specs
            .iter()
            .any(|spec| spec.params.iter().any(|p| p.name == a.name))
    }) {
        return Err(usage(format!(
            "none of the strategies has a parameter '{}'; see `alpha-arena strategies`",
            axis.name
        )));
    }
    if args.step.is_some() && args.window.is_none() {
        return Err(usage(
            "--step is between windows: give --window too".to_owned(),
        ));
    }
    let mut contenders = Vec::new();
    for spec in &specs {
        // Of several strategies each takes the axes it knows.
        let own: Vec<Axis> = axes
            .iter()
            .filter(|a| specs.len() == 1 || spec.params.iter().any(|p| p.name == a.name))
            .cloned()
            .collect();
        let combinations: Vec<Params> = match args.random {
            Some(count) => random(spec, &own, count, args.seed),
            None => grid(spec, &own),
        }
        .map_err(usage)?;
        for params in combinations {
            contenders.push(args.terms.contender(spec, params)?);
        }
    }
    let (markets, whole) = markets(global, args)?;
    let runs = markets.len() * contenders.len();
    if runs > MOST {
        return Err(usage(format!("{runs} runs; {MOST} at most")));
    }
    let rules = args.terms.rules(&config)?;
    let mut data = Sha256::new();
    whole
        .iter()
        .for_each(|market| data.update(market.columns.hash()));
    let data_hash = data_encoding::HEXLOWER.encode(&data.finalize()[..16]);
    // All that is configured and changes a result.
    let configured = json!({
        "costs": whole.iter().map(|m| &*m.costs).collect::<Vec<_>>(),
        "funding": whole.iter().map(|m| &m.funding.history).collect::<Vec<_>>(),
        "reserve": rules.reserve, "band": rules.no_trade_band, "stop": rules.stop_default,
        "limits": format!("{:?}", rules.limits),
    });
    let config_hash = data_encoding::HEXLOWER.encode(&Sha256::digest(configured.to_string())[..16]);
    let spec = BatchSpec {
        strategies: specs.iter().map(|spec| spec.name.to_owned()).collect(),
        axes: args.axes.clone(),
        random: args.random,
        seed: args.seed,
        markets: whole
            .iter()
            .map(|m| (m.instrument.id.to_string(), m.columns.bar.okx().to_owned()))
            .collect(),
        windows: markets
            .iter()
            .map(|(m, part)| part.map_or_else(|| ends(m), |(from, to)| (from.0, to.0)))
            .collect(),
        weight: args.terms.account.weight.to_string(),
        cash: rules.cash.to_string(),
        execution: format!("{:?}", args.terms.execution).to_lowercase(),
        limits: format!("{:?}", args.terms.account.limits).to_lowercase(),
    };
    let spec = serde_json::to_string(&spec)
        .map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    let build = env!("ARENA_BUILD");
    let name = Sha256::digest(
        [
            spec.as_str(),
            data_hash.as_str(),
            config_hash.as_str(),
            build,
        ]
        .join("\n"),
    );
    let id = data_encoding::HEXLOWER.encode(&name[..6]);
    let row = BatchRow {
        id: id.clone(),
        spec,
        config_hash,
        data_hash,
        build: build.to_owned(),
        seed: i64::try_from(args.seed).unwrap_or(i64::MAX),
        runs: runs as i64,
        created_ms: wall_ms(),
        done: 0,
    };
    Ok(Batch {
        id,
        row,
        markets,
        contenders,
        rules,
    })
}

/// When its first bar opens and its last one closes, ms.
fn ends(market: &BacktestMarket) -> (i64, i64) {
    (
        market.columns.ts[0],
        market.columns.closes(market.columns.len() - 1).0,
    )
}

/// A market, and the window of it that is run on; `None` for all of it.
type Windowed = (BacktestMarket, Option<(Ms, Ms)>);

/// Every window of every market, and the markets whole.
fn markets(
    global: &Global,
    args: &BatchArgs,
) -> Result<(Vec<Windowed>, Vec<BacktestMarket>), Failure> {
    let config = global.load(None)?;
    let insts: Vec<Option<String>> = match args.insts.is_empty() {
        true => vec![None],
        false => args.insts.iter().cloned().map(Some).collect(),
    };
    if args.candles.is_some() && insts.len() > 1 {
        return Err(Failure::new(
            Exit::Usage,
            "--candles is one instrument's: give --inst once",
        ));
    }
    let bars: Vec<Option<Bar>> = if args.bars.is_empty() {
        vec![None]
    } else {
        args.bars.iter().copied().map(Some).collect()
    };
    let millis =
        |length: Option<std::time::Duration>| length.map(|length| Ms(length.as_millis() as i64));
    let (mut cut, mut whole) = (Vec::new(), Vec::new());
    for (inst, bar) in insts
        .iter()
        .flat_map(|inst| bars.iter().map(move |bar| (inst.clone(), *bar)))
    {
        let history = HistoryArgs {
            inst,
            candles: args.candles.clone(),
            history_dir: args.history_dir.clone(),
            contract_value: args.contract_value,
            bar,
            from: args.from,
            to: args.to,
        };
        let of = market(global, &config, &history, &args.costs)?;
        let (first, last) = (
            Ms(of.columns.ts[0]),
            of.columns.closes(of.columns.len() - 1),
        );
        for (from, to) in windows((first, last), millis(args.window), millis(args.step)) {
            let part = ((from, to) != (first, last)).then_some((from, to));
            if part.is_none_or(|(from, to)| of.has_bars(from, to)) {
                cut.push((of.clone(), part));
            }
        }
        whole.push(of);
    }
    Ok((cut, whole))
}

/// Runs what is to be run and keeps it, a chunk at a time: whatever was kept is not lost.
fn work(
    batch: &Batch,
    pending: &[Job],
    research: &mut Research,
    args: &BatchArgs,
) -> Result<(), Failure> {
    let threads = args.threads.unwrap_or(0);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    let style = ProgressStyle::with_template(
        "{prefix:>20} {wide_bar} {pos}/{len} runs  {per_sec}  {eta} left",
    );
    let progress = if args.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(pending.len() as u64)
    };
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.set_prefix(format!("batch {}", batch.id));
    for chunk in pending.chunks(8 * pool.current_num_threads()) {
        let rows: Vec<RunRow> = pool.install(|| {
            chunk
                .par_iter()
                .map(|job| {
                    let row = one(batch, job);
                    progress.inc(1);
                    row
                })
                .collect()
        });
        research.keep_runs(&batch.id, &rows)?;
    }
    progress.finish_and_clear();
    Ok(())
}

fn one(batch: &Batch, job: &Job) -> RunRow {
    let ((whole, part), contender) = (&batch.markets[job.market], &batch.contenders[job.contender]);
    let market = &part
        .and_then(|(from, to)| whole.between(from, to))
        .unwrap_or_else(|| whole.clone());
    let (figures, returns) = run_summary(market, contender, &batch.rules);
    let columns = Arc::clone(&market.columns);
    let params: serde_json::Map<String, serde_json::Value> = contender
        .params
        .iter()
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    RunRow {
        number: job.number as i64,
        strategy: contender.strategy.name.to_owned(),
        params: serde_json::Value::Object(params).to_string(),
        inst: market.instrument.id.to_string(),
        bar: columns.bar.okx().to_owned(),
        from_ms: columns.ts[0],
        to_ms: columns.closes(columns.len() - 1).0,
        result: serde_json::to_string(&figures).expect("figures are numbers"),
        returns,
    }
}
