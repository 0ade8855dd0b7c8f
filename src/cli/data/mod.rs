//! `data`: market history on disk: get it, judge it, look at it, hand it on.

mod check;
mod download;
mod export;
mod generate;
mod import;
mod list;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use clap::Subcommand;

use super::{Failure, Global};
use crate::data::CandleFinding;
use crate::domain::Ms;
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::{Research, StateDir};

#[derive(Debug, Subcommand)]
pub(super) enum DataVerb {
    /// Fetch candles and funding from the venue; goes on where it was interrupted.
    Download(download::DownloadArgs),
    /// Make up history: a seeded market's.
    Generate(generate::GenerateArgs),
    /// Take candles from a CSV file, plain or gzip.
    Import(import::ImportArgs),
    /// Say what is wrong with a file or a stored series, row by row.
    Check(check::CheckArgs),
    /// Stored series: rows, first, last, missing.
    List(super::OutputArgs),
    /// Write a stored series as CSV, in any bar it can be folded into.
    Export(export::CandleExportArgs),
}

pub(super) async fn run(global: &Global, verb: DataVerb) -> Result<Exit, Failure> {
    match verb {
        DataVerb::Download(args) => download::run(global, args).await,
        DataVerb::Generate(args) => generate::run(global, &args),
        DataVerb::Import(args) => import::run(global, &args),
        DataVerb::Check(args) => check::run(global, &args),
        DataVerb::List(args) => list::run(global, args.json),
        DataVerb::Export(args) => export::run(global, &args),
    }
}

/// The research database of the state directory, made if there is none.
fn research(global: &Global) -> Result<Research, Failure> {
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    StateDir::make(&dir)?;
    Ok(Research::open(&dir, wall_ms())?)
}

/// `2026-01-31`, `2026-01-31T12:00`, `2026-01-31T12:00:00Z` or epoch milliseconds; UTC.
pub(super) fn instant(text: &str) -> Result<Ms, String> {
    if let Ok(ms) = text.parse::<i64>() {
        return (0..=9_999_999_999_999)
            .contains(&ms)
            .then_some(Ms(ms))
            .ok_or_else(|| format!("{ms} is not a time in ms"));
    }
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(Ms(at.timestamp_millis()));
    }
    if let Ok(at) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M") {
        return Ok(Ms(at.and_utc().timestamp_millis()));
    }
    match NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        Ok(day) => Ok(Ms(day
            .and_time(chrono::NaiveTime::MIN)
            .and_utc()
            .timestamp_millis())),
        Err(_) => Err(format!(
            "'{text}' is not a time; try 2026-01-31 or 2026-01-31T12:00"
        )),
    }
}

/// Findings for people: at most `most` of them, and how many more there are.
fn show_findings(findings: &[CandleFinding], most: usize) {
    for f in findings.iter().take(most) {
        super::output::say(format_args!(
            "line {:<8} {}  {}",
            f.line,
            f.ts.iso(),
            f.fault
        ));
    }
    if findings.len() > most {
        super::output::say(format_args!(
            "… and {} more (--limit)",
            findings.len() - most
        ));
    }
}

/// A bar as it is written on the command line.
pub(super) fn bar(text: &str) -> Result<crate::domain::Bar, String> {
    text.parse()
        .map_err(|error: crate::domain::candle::UnknownBar| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_people_write_them() {
        assert_eq!(instant("1970-01-02"), Ok(Ms(86_400_000)));
        assert_eq!(instant("1970-01-01T00:01"), Ok(Ms(60_000)));
        assert_eq!(instant("1970-01-01T00:01:00Z"), Ok(Ms(60_000)));
        assert_eq!(instant("60000"), Ok(Ms(60_000)));
        assert!(instant("tomorrow").is_err() && instant("-5").is_err());
    }
}
