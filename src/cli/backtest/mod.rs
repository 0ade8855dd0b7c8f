//! `backtest`: strategies over history: run, searched, judged, checked.

mod batch;
mod checks;
mod contender;
mod files;
mod judged;
mod market;
mod model;
mod run;
mod shown;

use clap::Subcommand;

use super::{Failure, Global, OutputArgs};
use crate::exit::Exit;

#[derive(Debug, Subcommand)]
pub(super) enum BacktestVerb {
    /// One strategy on one instrument: fills, figures, intervals, doubts.
    Run(Box<run::BacktestRunArgs>),
    /// A contender that is a model, by replies that were recorded; what is missing is told.
    Model(Box<model::ModelArgs>),
    /// Many parameters × instruments × bars × windows, on all cores; goes on where it was
    /// interrupted.
    Batch(Box<batch::BatchArgs>),
    /// Batches that are stored.
    List(OutputArgs),
    /// The best runs of a batch, and whether the winner is distinguishable from luck.
    Rank(judged::RankArgs),
    /// Results of each run by day or week.
    Summary(judged::SummaryArgs),
    /// Choose on one stretch of days, judge by the next.
    Walkforward(judged::WalkArgs),
    /// A batch's runs as CSV or Parquet.
    Export(judged::ResultExportArgs),
    /// Join the shards of a batch.
    Merge(judged::MergeArgs),
    /// Check whether a strategy sees the future: history is cut off and its opinions compared.
    Lookahead(checks::HonestyArgs),
    /// Check whether a strategy's opinions depend on where history begins.
    Warmup(checks::HonestyArgs),
}

pub(super) fn run(global: &Global, verb: BacktestVerb) -> Result<Exit, Failure> {
    match verb {
        BacktestVerb::Run(args) => run::run(global, &args),
        BacktestVerb::Model(args) => model::run(global, &args),
        BacktestVerb::Batch(args) => batch::run(global, &args),
        BacktestVerb::List(args) => judged::list(global, args.json),
        BacktestVerb::Rank(args) => judged::ranked(global, &args),
        BacktestVerb::Summary(args) => judged::summary(global, &args),
        BacktestVerb::Walkforward(args) => judged::walk_forward(global, &args),
        BacktestVerb::Export(args) => judged::export(global, &args),
        BacktestVerb::Merge(args) => judged::merge(global, &args),
        BacktestVerb::Lookahead(args) => checks::lookahead(global, &args),
        BacktestVerb::Warmup(args) => checks::warmup(global, &args),
    }
}
