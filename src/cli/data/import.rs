//! `data import`: a candle file into the research database. A broken file is refused, or mended if
//! asked; nothing is invented.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rust_decimal::Decimal;
use serde_json::json;

use super::super::{Failure, Global, output};
use crate::data::{self, CandleFault, FileError, Row};
use crate::domain::InstKind;
use crate::domain::{Bar, Candle, InstId, Ms, Qty};
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::OnConflict;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena data import btc-1m.csv.gz --inst BTC-USDT-SWAP --contract-value 0.01\n  alpha-arena data import broken.csv --inst ETH-USDT --repair\n\nColumns: ts_ms,open,high,low,close,volume; ts_ms is the bar's open time in UTC. --repair sorts, drops repeats and\nimpossible rows, and leaves gaps as gaps. Exit codes: 0 imported; 65 the file is broken and was not touched."
)]
pub(in crate::cli) struct ImportArgs {
    /// The file; .gz is read as gzip.
    file: PathBuf,
    /// The instrument it is the history of.
    #[arg(long, value_name = "INST")]
    inst: String,
    /// The bar; found in the file if not given.
    #[arg(long, value_name = "BAR", value_parser = super::bar)]
    bar: Option<Bar>,
    /// Price step of a new series; found in the file if not given.
    #[arg(long, value_name = "STEP")]
    tick: Option<Decimal>,
    /// Volume step of a new series; found in the file if not given.
    #[arg(long, value_name = "STEP")]
    lot: Option<Decimal>,
    /// Base units in one contract: volumes in the file are base units and are kept as contracts.
    #[arg(long, value_name = "VALUE")]
    contract_value: Option<Decimal>,
    /// Overwrite bars that are there already.
    #[arg(long)]
    replace: bool,
    /// Mend what can be mended without inventing anything.
    #[arg(long)]
    repair: bool,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

/// Rows written in one transaction: short enough that nobody who shares the database waits for it.
const BATCH: usize = 5000;

pub(super) fn run(global: &Global, args: &ImportArgs) -> Result<Exit, Failure> {
    let broken = |error: FileError| match error {
        FileError::Io { .. } => Failure::new(Exit::Usage, error.to_string()),
        _ => Failure::new(Exit::Data, error.to_string()),
    };
    let data::Read { rows, unreadable } = data::read_candles(&args.file).map_err(broken)?;
    let bar = args.bar.or_else(|| data::infer_bar(&rows)).ok_or_else(|| {
        Failure::new(
            Exit::Data,
            format!(
                "{}: the rows are no known bar apart; give --bar",
                args.file.display()
            ),
        )
    })?;
    let findings = data::check(&rows, bar);
    let faults = findings
        .iter()
        .filter(|f| !matches!(f.fault, CandleFault::Gap { .. }));
    let mut broken: Vec<_> = unreadable.iter().chain(faults).cloned().collect();
    broken.sort_by_key(|finding| finding.line);
    if !broken.is_empty() && !args.repair {
        super::show_findings(&broken, 20);
        let lines: std::collections::BTreeSet<u64> = broken.iter().map(|f| f.line).collect();
        let why = format!(
            "{}: {} of {} rows are wrong; nothing was imported (--repair mends or drops them)",
            args.file.display(),
            lines.len(),
            rows.len() + unreadable.len()
        );
        return Err(Failure::new(Exit::Data, why));
    }
    let mut mended = data::repair(&rows, bar);
    mended.dropped.splice(0..0, unreadable);
    let candles = in_contracts(mended.candles, args.contract_value)?;
    let research = super::research(global)?;
    let inst = InstId::new(args.inst.as_str());
    let (tick, lot) = steps(&rows, args, &candles);
    let series = research.make_series(&inst, bar, tick, lot)?;
    // What cannot be kept is found before the first row is written.
    research
        .would_fit(&series, &candles)
        .map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    let mut research = research;
    let style = ProgressStyle::with_template(
        "{prefix:>20} {wide_bar} {pos}/{len} rows  {per_sec}  {eta} left",
    );
    let progress = if args.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(candles.len() as u64)
    };
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    progress.set_prefix(format!("{inst} {bar}"));
    let conflict = if args.replace {
        OnConflict::Replace
    } else {
        OnConflict::Keep
    };
    let mut written = 0;
    for batch in candles.chunks(BATCH) {
        written += research.put_with(&series, batch, conflict)?;
        progress.inc(batch.len() as u64);
    }
    progress.finish_and_clear();
    let missing: i64 = mended
        .gaps
        .iter()
        .map(|f| {
            if let CandleFault::Gap { missing } = f.fault {
                missing
            } else {
                0
            }
        })
        .sum();
    if args.json {
        let span = candles
            .first()
            .zip(candles.last())
            .map(|(a, b)| [a.ts.0, b.ts.0]);
        output::say(
            json!({"schema": "data import/1", "as_of_ms": wall_ms(), "inst": inst, "bar": bar.okx(),
            "rows": candles.len(), "dropped": mended.dropped.len(), "gaps": mended.gaps.len(), "missing": missing,
            "written": written, "span_ms": span}),
        );
    } else {
        super::show_findings(&mended.dropped, 20);
        let at = |c: Option<&Candle>| c.map_or_else(String::new, |c: &Candle| Ms(c.ts.0).iso());
        output::say(format_args!(
            "{inst} {bar}: {} rows from {} to {}, {} dropped, {missing} bars missing in {} gaps",
            candles.len(),
            at(candles.first()),
            at(candles.last()),
            mended.dropped.len(),
            mended.gaps.len()
        ));
        if written < candles.len() {
            let kept = candles.len() - written;
            output::say(format_args!(
                "{kept} bars were there already and stay as they are (--replace overwrites them)"
            ));
        }
        if InstKind::named(&args.inst) == InstKind::Swap && args.contract_value.is_none() {
            output::say(
                "volumes are kept as they are; a swap's are contracts (--contract-value divides base units)",
            );
        }
    }
    Ok(Exit::Ok)
}

fn in_contracts(candles: Vec<Candle>, value: Option<Decimal>) -> Result<Vec<Candle>, Failure> {
    let Some(value) = value else {
        return Ok(candles);
    };
    if value <= Decimal::ZERO {
        return Err(Failure::new(
            Exit::Usage,
            "--contract-value must be positive",
        ));
    }
    Ok(candles
        .into_iter()
        .map(|c| Candle {
            volume: Qty((c.volume.0 / value).round_dp(12)),
            ..c
        })
        .collect())
}

/// Steps of a new series: given, or the finest that the file uses.
fn steps(rows: &[Row], args: &ImportArgs, candles: &[Candle]) -> (Decimal, Decimal) {
    let finest = |values: &mut dyn Iterator<Item = Decimal>| {
        Decimal::new(1, values.map(|v| v.normalize().scale()).max().unwrap_or(0))
    };
    let mut prices = rows.iter().flat_map(|r| {
        [
            r.candle.open.0,
            r.candle.high.0,
            r.candle.low.0,
            r.candle.close.0,
        ]
    });
    let mut volumes = candles.iter().map(|c| c.volume.0);
    let tick = args
        .tick
        .filter(|t| *t > Decimal::ZERO)
        .unwrap_or_else(|| finest(&mut prices));
    (
        tick,
        args.lot
            .filter(|l| *l > Decimal::ZERO)
            .unwrap_or_else(|| finest(&mut volumes)),
    )
}
