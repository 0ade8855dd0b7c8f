//! `data download`: only what is missing is fetched, page by page; each page is kept at once, so
//! that an interrupted download goes on where it was.

use std::time::Duration;

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::json;

use super::super::{Failure, Global, output};
use crate::config::Config;
use crate::daemon::reach_public;
use crate::domain::{Bar, InstId, InstKind, Instrument, Ms};
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::{Range, Research, SeriesKey, StateDir};
use crate::venue::{Venue, VenueError, WINDOW, history_window};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena data download --from 2026-01-01\n  alpha-arena data download --inst BTC-USDT-SWAP --bar 1m --bar 1H --from 2025-01-01 --to 2026-01-01 --funding\n\nOnly what is missing is fetched; interrupted, the same command goes on. Exit codes: 0 complete; 65 the venue has\nno bars for some of the time; 69 the venue cannot be reached."
)]
pub(in crate::cli) struct DownloadArgs {
    /// Instrument; repeatable. Default: those of the configuration.
    #[arg(long, value_name = "INST")]
    inst: Vec<String>,
    /// Bar; repeatable. Default: those of the configuration.
    #[arg(long, value_name = "BAR", value_parser = super::bar)]
    bar: Vec<Bar>,
    /// First moment (UTC).
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    from: Ms,
    /// Before this moment (UTC). Default: now.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    to: Option<Ms>,
    /// Funding rates of swaps too.
    #[arg(long)]
    funding: bool,
    /// One line of JSON for each series instead of progress bars.
    #[arg(long)]
    json: bool,
}

/// Result of one series.
struct DownloadOutcome {
    rows: i64,
    fetched: i64,
    missing: Vec<Range>,
}

pub(super) async fn run(global: &Global, args: DownloadArgs) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    let side = reach_public(&config, Duration::from_secs(30)).await?;
    let dir = global.state_dir(&config);
    StateDir::make(&dir)?;
    let mut research = Research::open(&dir, wall_ms())?;
    let wanted = wanted(&config, &args, &side.venue).await?;
    let now = side.venue.clock().now();
    let bars = if args.bar.is_empty() {
        config.bars()
    } else {
        args.bar.clone()
    };
    let progress = if args.json {
        MultiProgress::with_draw_target(indicatif::ProgressDrawTarget::hidden())
    } else {
        MultiProgress::new()
    };
    let mut exit = Exit::Ok;
    for inst in &wanted {
        for bar in &bars {
            let (from, to) = (
                args.from.floor(bar.span()),
                args.to.unwrap_or(now).min(now).floor(bar.span()),
            );
            if from >= to {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("--from {} is not before {}", args.from.iso(), to.iso()),
                ));
            }
            let series = research.series(inst, *bar)?;
            let outcome = fetch(
                &mut research,
                &series,
                (inst, from, to),
                &side.venue,
                &progress,
            )
            .await?;
            let missing: i64 = outcome.missing.iter().map(|range| range.bars(*bar)).sum();
            if missing > 0 {
                exit = Exit::Data;
            }
            if args.json {
                let holes: Vec<_> = outcome
                    .missing
                    .iter()
                    .map(|r| json!({"from_ms": r.from.0, "to_ms": r.to.0}))
                    .collect();
                output::say(
                    json!({"schema": "data download/1", "as_of_ms": now.0, "inst": inst.id, "bar": bar.okx(),
                    "rows": outcome.rows, "fetched": outcome.fetched, "missing": missing, "gaps": holes}),
                );
            } else {
                let line = format!(
                    "{} {bar}: {} rows, {} of them new, {missing} missing",
                    inst.id, outcome.rows, outcome.fetched
                );
                output::say(line);
                for gap in outcome.missing.iter().take(10) {
                    output::say(format_args!(
                        "  the venue has no bars from {} to {}",
                        gap.from.iso(),
                        gap.to.iso()
                    ));
                }
            }
        }
        if args.funding && inst.kind == InstKind::Swap {
            let count = funding(&mut research, &side.venue, &inst.id, args.from).await?;
            if !args.json {
                output::say(format_args!("{} funding: {count} rates", inst.id));
            }
        }
    }
    Ok(exit)
}

async fn wanted(
    config: &Config,
    args: &DownloadArgs,
    venue: &Venue,
) -> Result<Vec<Instrument>, Failure> {
    let mut listed = venue
        .instruments(InstKind::Spot)
        .await
        .map_err(unreachable)?;
    listed.extend(
        venue
            .instruments(InstKind::Swap)
            .await
            .map_err(unreachable)?,
    );
    let names: Vec<InstId> = if args.inst.is_empty() {
        config.instruments.clone()
    } else {
        args.inst.iter().map(|i| InstId::new(i.as_str())).collect()
    };
    let find = |name: &InstId| {
        listed
            .iter()
            .find(|inst| inst.id == *name)
            .cloned()
            .ok_or_else(|| {
                Failure::new(
                    Exit::Usage,
                    format!("the venue does not list {name}, or not as something we trade"),
                )
            })
    };
    names.iter().map(find).collect()
}

fn unreachable(error: VenueError) -> Failure {
    Failure::new(Exit::Unavailable, error.to_string())
}

/// Fills every hole of the series, newest first within each: what OKX's paging gives.
async fn fetch(
    research: &mut Research,
    series: &SeriesKey,
    (inst, from, to): (&Instrument, Ms, Ms),
    venue: &Venue,
    progress: &MultiProgress,
) -> Result<DownloadOutcome, Failure> {
    let bar = series.bar;
    let whole = Range { from, to }.bars(bar);
    let holes = research.missing(series, from, to)?;
    let there = whole - holes.iter().map(|hole| hole.bars(bar)).sum::<i64>();
    let style = ProgressStyle::with_template(
        "{prefix:>20} {wide_bar} {pos}/{len} bars  {per_sec}  {eta} left",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar());
    let shown = progress.add(ProgressBar::new(whole.unsigned_abs()).with_style(style));
    shown.set_prefix(format!("{} {bar}", inst.id));
    shown.set_position(there.unsigned_abs());
    let mut fetched = 0;
    for hole in holes {
        let mut end = hole.to;
        while end > hole.from {
            let start = hole.from.max(Ms(end.0 - WINDOW * bar.span().0));
            let page = history_window(venue, &inst.id, bar, start, end)
                .await
                .map_err(unreachable)?;
            end = start;
            research.put(series, &page)?;
            fetched += page.len() as i64;
            shown.inc(page.len() as u64);
            crate::runtime::faults::point("download").await;
        }
    }
    shown.finish_and_clear();
    let missing = research.missing(series, from, to)?;
    let rows = whole - missing.iter().map(|hole| hole.bars(bar)).sum::<i64>();
    Ok(DownloadOutcome {
        rows,
        fetched,
        missing,
    })
}

async fn funding(
    research: &mut Research,
    venue: &Venue,
    inst: &InstId,
    from: Ms,
) -> Result<usize, Failure> {
    let (mut after, mut count) = (None, 0);
    loop {
        let page = venue
            .funding_history(inst, after)
            .await
            .map_err(unreachable)?;
        let rates: Vec<(Ms, _)> = page
            .iter()
            .filter(|rate| rate.at >= from)
            .map(|rate| (rate.at, rate.rate))
            .collect();
        research.put_funding(inst, &rates)?;
        count += rates.len();
        match page.last() {
            Some(oldest) if oldest.at > from => after = Some(oldest.at),
            _ => return Ok(count),
        }
    }
}
