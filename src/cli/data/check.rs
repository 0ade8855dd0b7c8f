//! `data check`: what is wrong with a file or with what is stored.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::super::{Failure, Global, output};
use crate::data::{self, CandleFault, CandleFinding, Row};
use crate::domain::{Bar, InstId, Ms};
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::Research;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena data check btc-1m.csv.gz\n  alpha-arena data check                    every stored series\n  alpha-arena data check --inst BTC-USDT-SWAP --bar 1m --json\n\nExit codes: 0 nothing is wrong; 65 something is. Gaps of a stored series are filled by `data download`."
)]
pub(in crate::cli) struct CheckArgs {
    /// A candle file; without one the stored series are checked.
    file: Option<PathBuf>,
    /// Only this instrument.
    #[arg(long, value_name = "INST")]
    inst: Option<String>,
    /// Only this bar; for a file, the bar it has.
    #[arg(long, value_name = "BAR", value_parser = super::bar)]
    bar: Option<Bar>,
    /// Show at most this many findings of each.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: usize,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, args: &CheckArgs) -> Result<Exit, Failure> {
    let wrong = match &args.file {
        Some(file) => {
            let data::Read { rows, unreadable } =
                data::read_candles(file).map_err(|error| match error {
                    data::FileError::Io { .. } => Failure::new(Exit::Usage, error.to_string()),
                    _ => Failure::new(Exit::Data, error.to_string()),
                })?;
            let bar = args.bar.or_else(|| data::infer_bar(&rows)).ok_or_else(|| {
                Failure::new(
                    Exit::Data,
                    format!(
                        "{}: the rows are no known bar apart; give --bar",
                        file.display()
                    ),
                )
            })?;
            let mut findings = data::check(&rows, bar);
            findings.extend(unreadable);
            findings.sort_by_key(|finding| finding.line);
            report(
                &file.display().to_string(),
                bar,
                rows.len(),
                &findings,
                args,
            )
        }
        None => stored(&super::research(global)?, args)?,
    };
    Ok(if wrong { Exit::Data } else { Exit::Ok })
}

fn stored(research: &Research, args: &CheckArgs) -> Result<bool, Failure> {
    let (mut wrong, mut any) = (false, false);
    for row in research.all_series()? {
        let bar: Bar = row
            .bar
            .parse()
            .map_err(|e: crate::domain::candle::UnknownBar| {
                Failure::new(Exit::Data, e.to_string())
            })?;
        if args.inst.as_ref().is_some_and(|inst| *inst != row.inst)
            || args.bar.is_some_and(|b| b != bar)
        {
            continue;
        }
        any = true;
        let Some(series) = research.find_series(&InstId::new(row.inst.as_str()), bar)? else {
            continue;
        };
        let candles = research.read(&series, Ms::ZERO, Ms(i64::MAX))?;
        let rows: Vec<Row> = (1u64..)
            .zip(candles)
            .map(|(line, candle)| Row { line, candle })
            .collect();
        wrong |= report(
            &format!("{} {bar}", row.inst),
            bar,
            rows.len(),
            &data::check(&rows, bar),
            args,
        );
    }
    if !any && !args.json {
        output::say("no series is stored yet; see `alpha-arena data download --help`");
    }
    Ok(wrong)
}

/// Says what was found; `true` if anything was.
fn report(what: &str, bar: Bar, rows: usize, findings: &[CandleFinding], args: &CheckArgs) -> bool {
    let missing: i64 = findings
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
        let list: Vec<_> = findings
            .iter()
            .map(|f| json!({"line": f.line, "ts_ms": f.ts.0, "fault": f.fault.to_string(), "mendable": f.fault.is_mendable()}))
            .collect();
        output::say(
            json!({"schema": "data check/1", "as_of_ms": wall_ms(), "what": what, "bar": bar.okx(), "rows": rows,
            "missing": missing, "findings": list}),
        );
    } else if findings.is_empty() {
        output::say(format_args!("{what}: {rows} rows of {bar}, nothing wrong"));
    } else {
        output::say(format_args!(
            "{what}: {rows} rows of {bar}, {} findings, {missing} bars missing",
            findings.len()
        ));
        super::show_findings(findings, args.limit);
    }
    !findings.is_empty()
}
