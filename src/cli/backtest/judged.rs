//! `backtest list`, `rank`, `summary`, `walkforward`, `export`, `merge`: what is made of stored
//! batches.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use comfy_table::CellAlignment;
use serde_json::json;

use super::super::output::{say, sheet};
use super::super::{Failure, Global};
use super::files;
use super::shown::percent;
use crate::backtest::rank::{Candidate, rank};
use crate::backtest::run_summary::Figures;
use crate::backtest::walk::{Folds, walk};
use crate::domain::Ms;
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::{BatchRow, PeriodRow, Research, StateDir};

/// Which batch.
#[derive(Clone, Debug, Args)]
pub(super) struct WhichArgs {
    /// The batch (`alpha-arena backtest list`). Default: the newest.
    #[arg(long, value_name = "ID")]
    batch: Option<String>,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alpha-arena backtest rank --by sharpe --top 10\n\nThe deflated Sharpe ratio is the chance that a run's true ratio is above what the best of as many trials would show without\nany skill (Bailey and López de Prado 2014); the probability of overfitting is how often the best of one half of the time is no\nbetter than the median in the other (Bailey et al. 2017). Intervals are of a stationary block bootstrap."
)]
pub(in crate::cli) struct RankArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// sharpe, total_return, cagr, sortino, calmar, omega, profit_factor, psr or drawdown.
    #[arg(long, value_name = "METRIC", default_value = "sharpe")]
    by: String,
    /// Rows shown.
    #[arg(long, value_name = "N", default_value_t = 10)]
    top: usize,
    /// Seed of the intervals' resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    Csv,
    Parquet,
}

#[derive(Debug, Args)]
#[command(
    group = clap::ArgGroup::new("every").required(true).args(["daily", "weekly"]),
    after_help = "Examples:\n  alpha-arena backtest summary --weekly\n  alpha-arena backtest summary --daily --out days.parquet\n\nThe rows are stored in research.db (backtest_summaries) too. Weeks begin on Monday, UTC."
)]
pub(in crate::cli) struct SummaryArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// A row for each UTC day.
    #[arg(long)]
    daily: bool,
    /// A row for each week.
    #[arg(long)]
    weekly: bool,
    /// Periods shown, the newest.
    #[arg(long, value_name = "N", default_value_t = 14)]
    last: usize,
    /// Write all rows to a file.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Format of the file. Default: by its name, .parquet or .csv.
    #[arg(long, value_enum)]
    format: Option<ExportFormat>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alpha-arena backtest walkforward --train 60 --test 20 --purge 1\n\nOn each fold the run with the best Sharpe ratio of the training days is chosen, and judged by the test days after them."
)]
pub(in crate::cli) struct WalkArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// Days to choose on.
    #[arg(long, value_name = "DAYS", default_value_t = 60)]
    train: usize,
    /// Days between, that count for neither.
    #[arg(long, value_name = "DAYS", default_value_t = 1)]
    purge: usize,
    /// Days to be judged by.
    #[arg(long, value_name = "DAYS", default_value_t = 20)]
    test: usize,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:\n  alpha-arena backtest export --out runs.csv")]
pub(in crate::cli) struct ResultExportArgs {
    #[command(flatten)]
    which: WhichArgs,
    /// The file: .csv, .parquet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alpha-arena --state-dir var/all backtest merge var/shard-1 var/shard-2\n\nEach directory holds the research.db of a shard. Runs that are there already must be the same; what is missing in the end is\nsaid with the shard that would do it."
)]
pub(in crate::cli) struct MergeArgs {
    /// State directories of the shards.
    #[arg(required = true, value_name = "DIR")]
    from: Vec<PathBuf>,
    /// Number of shards there were, to say which are missing.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(1..))]
    shards: Option<i64>,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

fn open(global: &Global) -> Result<Research, Failure> {
    let dir = global.state_dir(&global.load(None)?);
    if !StateDir::research_db(&dir).exists() {
        let why = format!(
            "no research.db in {}; run `alpha-arena backtest batch` first",
            dir.display()
        );
        return Err(Failure::new(Exit::Data, why));
    }
    Ok(Research::open(&dir, wall_ms())?)
}

fn chosen(research: &Research, which: &WhichArgs) -> Result<BatchRow, Failure> {
    let all = research.batches()?;
    let found = match &which.batch {
        Some(id) => all
            .into_iter()
            .find(|batch| batch.id.starts_with(id.as_str())),
        None => all.into_iter().next(),
    };
    found.ok_or_else(|| {
        let why = match &which.batch {
            Some(id) => format!("no batch {id}; see `alpha-arena backtest list`"),
            None => "no batch yet; run `alpha-arena backtest batch` first".to_owned(),
        };
        Failure::new(Exit::Data, why)
    })
}

fn candidates(research: &Research, batch: &BatchRow) -> Result<Vec<Candidate>, Failure> {
    let rows = research.runs(&batch.id)?;
    let candidate = |row: crate::store::RunRow| {
        let figures: Figures = serde_json::from_str(&row.result).map_err(|error| {
            Failure::new(
                Exit::Data,
                format!("run {} of {}: {error}", row.number, batch.id),
            )
        })?;
        Ok(Candidate {
            number: row.number,
            strategy: row.strategy,
            params: row.params,
            inst: row.inst,
            bar: row.bar,
            span: (row.from_ms, row.to_ms),
            figures,
            returns: row.returns,
        })
    };
    let all = rows
        .into_iter()
        .map(candidate)
        .collect::<Result<Vec<_>, Failure>>()?;
    if all.len() < batch.runs as usize {
        crate::telemetry::tell(format_args!(
            "alpha-arena: {} of {} runs of batch {} are there",
            all.len(),
            batch.runs,
            batch.id
        ));
    }
    Ok(all)
}

pub(super) fn list(global: &Global, json_wanted: bool) -> Result<Exit, Failure> {
    let all = open(global)?.batches()?;
    if json_wanted {
        let row = |b: &BatchRow| {
            json!({"batch": b.id, "runs": b.runs, "done": b.done, "created_ms": b.created_ms, "data": b.data_hash,
                "config": b.config_hash, "build": b.build,
                "spec": serde_json::from_str::<serde_json::Value>(&b.spec).unwrap_or_default()})
        };
        let rows: Vec<_> = all.iter().map(row).collect();
        say(json!({"schema": "backtest list/1", "as_of_ms": wall_ms(), "rows": rows}));
        return Ok(Exit::Ok);
    }
    let mut table = sheet(&["batch", "runs", "done", "created", "strategies", "markets"]);
    for b in &all {
        let spec: Option<super::batch::BatchSpec> = serde_json::from_str(&b.spec).ok();
        let (strategies, markets) = spec.map_or_else(Default::default, |s| {
            (
                s.strategies.join(" "),
                s.markets
                    .iter()
                    .map(|(inst, bar)| format!("{inst} {bar}"))
                    .collect::<Vec<_>>()
                    .join(", "),
            )
        });
        table.add_row([
            b.id.clone(),
            b.runs.to_string(),
            b.done.to_string(),
            Ms(b.created_ms).iso(),
            strategies,
            markets,
        ]);
    }
    say(table);
    Ok(Exit::Ok)
}

/// Parameters without those that say nothing.
fn short(params: &str) -> String {
    let parsed: BTreeMap<String, f64> = serde_json::from_str(params).unwrap_or_default();
    let shown = |(name, value): (&String, &f64)| {
        (name != "stop_pct" || *value > 0.0).then(|| format!("{name}={value}"))
    };
    parsed
        .iter()
        .filter_map(shown)
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn ranked(global: &Global, args: &RankArgs) -> Result<Exit, Failure> {
    let research = open(global)?;
    let batch = chosen(&research, &args.which)?;
    let all = candidates(&research, &batch)?;
    let ranking = rank(
        &all,
        &args.by,
        args.top,
        (batch.runs.unsigned_abs() as usize, args.seed),
    )
    .map_err(|why| Failure::new(Exit::Usage, why))?;
    if args.which.json {
        say(
            json!({"schema": "backtest rank/1", "as_of_ms": wall_ms(), "batch": batch.id, "build": batch.build,
            "data": batch.data_hash, "ranking": ranking}),
        );
        return Ok(Exit::Ok);
    }
    say(format_args!(
        "batch {}: {} trials over {} days; by {}",
        batch.id, ranking.trials, ranking.days, ranking.metric
    ));
    let heads = [
        "",
        "strategy",
        "parameters",
        "market",
        "return",
        "Sharpe",
        "95 % interval",
        "deflated",
        "drawdown",
        "trades",
    ];
    let mut table = sheet(&heads);
    for row in &ranking.rows {
        let f = &row.figures;
        table.add_row([
            row.place.to_string(),
            row.strategy.clone(),
            short(&row.params),
            format!("{} {}", row.inst, row.bar),
            percent(f.total_return),
            format!("{:.2}", f.sharpe),
            format!("{:.2} to {:.2}", row.sharpe.low, row.sharpe.high),
            row.deflated
                .map_or_else(|| "-".into(), |dsr| format!("{:.1} %", 100.0 * dsr)),
            percent(f.max_drawdown),
            f.trades.to_string(),
        ]);
    }
    for column in [0, 4, 5, 6, 7, 8, 9] {
        table
            .column_mut(column)
            .expect("ten columns")
            .set_cell_alignment(CellAlignment::Right);
    }
    say(table);
    say(format_args!(
        "Sharpe ratios of all trials spread by {:.2}; the best of {} without skill would show {:.2}. Probability of overfitting (choosing by Sharpe): {}",
        ranking.spread,
        ranking.trials,
        ranking.expected_best,
        ranking.pbo.map_or_else(
            || "not enough runs or days".into(),
            |pbo| format!("{:.0} % ({} runs)", 100.0 * pbo, ranking.pbo_runs)
        )
    ));
    say(&ranking.verdict);
    Ok(Exit::Ok)
}

/// First day of the week of a UTC day: 1 January 1970 was a Thursday.
const fn monday(day: i32) -> i32 {
    day - (day + 3).rem_euclid(7)
}

/// Returns the results of each run in each period, with its place in that period.
fn periods(all: &[Candidate], weekly: bool) -> Vec<PeriodRow> {
    let mut found: BTreeMap<i32, Vec<(i64, f64, f64)>> = BTreeMap::new();
    for run in all {
        let mut total = 1.0;
        let mut own: BTreeMap<i32, (f64, f64)> = BTreeMap::new();
        for (day, ret) in &run.returns {
            total *= 1.0 + ret;
            let of = own
                .entry(if weekly { monday(*day) } else { *day })
                .or_insert((1.0, 1.0));
            *of = (of.0 * (1.0 + ret), total);
        }
        for (start, (product, total)) in own {
            found
                .entry(start)
                .or_default()
                .push((run.number, product - 1.0, total - 1.0));
        }
    }
    let mut rows = Vec::new();
    for (start, mut runs) in found {
        runs.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        rows.extend(
            runs.into_iter()
                .enumerate()
                .map(|(index, (number, ret, total))| PeriodRow {
                    start_ms: i64::from(start) * 86_400_000,
                    number,
                    ret,
                    total,
                    place: index as i64 + 1,
                }),
        );
    }
    rows
}

pub(super) fn summary(global: &Global, args: &SummaryArgs) -> Result<Exit, Failure> {
    let mut research = open(global)?;
    let batch = chosen(&research, &args.which)?;
    let all = candidates(&research, &batch)?;
    let every = if args.weekly { "week" } else { "day" };
    let rows = periods(&all, args.weekly);
    research.keep_summary(&batch.id, every, &rows)?;
    let by_number: BTreeMap<i64, &Candidate> = all.iter().map(|c| (c.number, c)).collect();
    if let Some(path) = &args.out {
        let parquet = args.format.map_or_else(
            || path.extension().is_some_and(|e| e == "parquet"),
            |f| f == ExportFormat::Parquet,
        );
        files::summary(path, parquet, every, &rows, &by_number)
            .map_err(|why| Failure::new(Exit::Io, why))?;
    }
    if args.which.json {
        let row = |r: &PeriodRow| json!({"start_ms": r.start_ms, "number": r.number, "return": r.ret, "total": r.total, "place": r.place});
        let rows: Vec<_> = rows.iter().map(row).collect();
        say(
            json!({"schema": "backtest summary/1", "as_of_ms": wall_ms(), "batch": batch.id, "every": every, "rows": rows}),
        );
        return Ok(Exit::Ok);
    }
    let mut table = sheet(&[
        every,
        "runs",
        "positive",
        "best",
        "its return",
        "median",
        "worst",
        "best so far",
        "its total",
    ]);
    let mut starts: Vec<i64> = rows.iter().map(|row| row.start_ms).collect();
    starts.dedup();
    for start in starts.iter().rev().take(args.last).rev() {
        let of: Vec<&PeriodRow> = rows.iter().filter(|row| row.start_ms == *start).collect();
        let named = |number: i64| {
            by_number.get(&number).map_or_else(String::new, |c| {
                format!("{} {} {}", c.strategy, short(&c.params), c.inst)
            })
        };
        let Some(leader) = of
            .iter()
            .max_by(|a, b| a.total.total_cmp(&b.total).then(b.number.cmp(&a.number)))
        else {
            continue;
        };
        table.add_row([
            Ms(*start).iso()[..10].to_owned(),
            of.len().to_string(),
            of.iter().filter(|row| row.ret > 0.0).count().to_string(),
            named(of[0].number),
            percent(of[0].ret),
            percent(of[of.len() / 2].ret),
            percent(of[of.len() - 1].ret),
            named(leader.number),
            percent(leader.total),
        ]);
    }
    for column in [1, 2, 4, 5, 6, 8] {
        table
            .column_mut(column)
            .expect("nine columns")
            .set_cell_alignment(CellAlignment::Right);
    }
    say(table);
    say(format_args!(
        "{} rows of batch {} are kept in research.db (backtest_summaries)",
        rows.len(),
        batch.id
    ));
    if let Some(path) = &args.out {
        say(format_args!("wrote {}", path.display()));
    }
    Ok(Exit::Ok)
}

/// Instrument, bar and window: what runs must have in common to be compared.
type Ground = (String, String, (i64, i64));

pub(super) fn walk_forward(global: &Global, args: &WalkArgs) -> Result<Exit, Failure> {
    let research = open(global)?;
    let batch = chosen(&research, &args.which)?;
    let all = candidates(&research, &batch)?;
    let mut groups: BTreeMap<Ground, Vec<&Candidate>> = BTreeMap::new();
    for c in &all {
        groups
            .entry((c.inst.clone(), c.bar.clone(), c.span))
            .or_default()
            .push(c);
    }
    let folds = Folds {
        train: args.train,
        purge: args.purge,
        test: args.test,
    };
    let (mut told, mut failed) = (Vec::new(), false);
    for ((inst, bar, span), runs) in &groups {
        let found = match walk(runs, folds) {
            Ok(found) => found,
            Err(why) => {
                crate::telemetry::tell(format_args!("alpha-arena: {inst} {bar}: {why}"));
                failed = true;
                continue;
            }
        };
        if args.which.json {
            told.push(json!({"inst": inst, "bar": bar, "from_ms": span.0, "to_ms": span.1, "walk": found}));
            continue;
        }
        let day = |day: i32| Ms(i64::from(day) * 86_400_000).iso()[..10].to_owned();
        say(format_args!(
            "{inst} {bar}: {} runs, {} days to choose, {} between, {} to judge",
            found.runs, args.train, args.purge, args.test
        ));
        let mut table = sheet(&[
            "test from",
            "to",
            "chosen",
            "Sharpe before",
            "Sharpe then",
            "return",
            "place",
        ]);
        for f in &found.folds {
            table.add_row([
                day(f.test_from),
                day(f.test_to),
                short(&f.params),
                format!("{:.2}", f.train_sharpe),
                format!("{:.2}", f.test_sharpe),
                percent(f.test_return),
                format!("{} of {}", f.test_place, found.runs),
            ]);
        }
        for column in [3, 4, 5, 6] {
            table
                .column_mut(column)
                .expect("seven columns")
                .set_cell_alignment(CellAlignment::Right);
        }
        say(table);
        say(format_args!(
            "out of sample: {}, Sharpe {:.2}; of the Sharpe ratio that was promised {}",
            percent(found.test_return),
            found.test_sharpe,
            match found.efficiency {
                None => "nothing was promised".to_owned(),
                Some(kept) if kept <= 0.0 => "less than nothing was kept".to_owned(),
                Some(kept) => format!("{:.0} % was kept", 100.0 * kept),
            }
        ));
    }
    if args.which.json {
        say(
            json!({"schema": "backtest walkforward/1", "as_of_ms": wall_ms(), "batch": batch.id, "folds": folds, "markets": told}),
        );
    }
    Ok(if failed { Exit::Data } else { Exit::Ok })
}

pub(super) fn export(global: &Global, args: &ResultExportArgs) -> Result<Exit, Failure> {
    let research = open(global)?;
    let batch = chosen(&research, &args.which)?;
    let rows = research.runs(&batch.id)?;
    let parquet = args.out.extension().is_some_and(|e| e == "parquet");
    files::runs(&args.out, parquet, &rows).map_err(|why| Failure::new(Exit::Io, why))?;
    if args.which.json {
        say(
            json!({"schema": "backtest export/1", "as_of_ms": wall_ms(), "batch": batch.id, "rows": rows.len(), "file": args.out}),
        );
    } else {
        say(format_args!(
            "{}: {} runs of batch {}",
            args.out.display(),
            rows.len(),
            batch.id
        ));
    }
    Ok(Exit::Ok)
}

pub(super) fn merge(global: &Global, args: &MergeArgs) -> Result<Exit, Failure> {
    let dir = global.state_dir(&global.load(None)?);
    StateDir::make(&dir)?;
    let mut research = Research::open(&dir, wall_ms())?;
    let mut merged = std::collections::BTreeSet::new();
    for from in &args.from {
        if !StateDir::research_db(from).exists() {
            return Err(Failure::new(
                Exit::Usage,
                format!("no research.db in {}", from.display()),
            ));
        }
        let other = Research::open(from, wall_ms())?;
        for batch in other.batches()? {
            research.begin_batch(&batch)?;
            merged.insert(batch.id.clone());
            for rows in other.runs(&batch.id)?.chunks(256) {
                research.keep_runs(&batch.id, rows)?;
            }
        }
    }
    let mut whole = true;
    let mut told = Vec::new();
    // Of others that lie here nothing was promised.
    for batch in research
        .batches()?
        .into_iter()
        .filter(|batch| merged.contains(&batch.id))
    {
        let done = research.runs_done(&batch.id)?;
        let missing: Vec<i64> = (0..batch.runs)
            .filter(|number| done.binary_search(number).is_err())
            .collect();
        whole &= missing.is_empty();
        let lost: std::collections::BTreeSet<i64> = args
            .shards
            .into_iter()
            .flat_map(|n| missing.iter().map(move |number| number % n + 1))
            .collect();
        if args.json {
            told.push(json!({"batch": batch.id, "runs": batch.runs, "done": done.len(), "missing": missing, "lost_shards": lost}));
        } else if missing.is_empty() {
            say(format_args!(
                "batch {}: all {} runs are there",
                batch.id, batch.runs
            ));
        } else {
            say(format_args!(
                "batch {}: {} of {} runs are missing, the first is {}",
                batch.id,
                missing.len(),
                batch.runs,
                missing[0]
            ));
            for shard in &lost {
                say(format_args!(
                    "  run again: --shard {shard}/{}",
                    args.shards.unwrap_or(1)
                ));
            }
        }
    }
    if args.json {
        say(
            json!({"schema": "backtest merge/1", "as_of_ms": wall_ms(), "batches": told, "whole": whole}),
        );
    }
    Ok(if whole { Exit::Ok } else { Exit::Data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_begin_on_monday() {
        // 5 January 1970 was a Monday.
        assert_eq!([3, 4, 5, 10, 11].map(monday), [-3, 4, 4, 4, 11]);
    }
}
