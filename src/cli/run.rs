//! `run`: the daemon.
//!
//! The daemon restarts itself once with glibc's heaps limited to one: a heap for each thread cost a
//! third of its memory.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Failure, Global, duration};
use crate::config::{Config, Mode, Stage};
use crate::daemon::{self, RunLimits};
use crate::exit::Exit;
use crate::telemetry;

#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena run --for 60s\n  alpha-arena run --cycles 100 --speed 60\n  TRADING_ENABLED=false alpha-arena run --once"
)]
pub(super) struct RunArgs {
    /// Stop after this many decision cycles.
    #[arg(long, value_name = "N", conflicts_with_all = ["once"])]
    cycles: Option<u64>,
    /// Stop after this long, wall time: 60s, 15m, 24h.
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    duration: Option<Duration>,
    /// One decision cycle, then stop.
    #[arg(long)]
    once: bool,
    /// Venue seconds per wall second of the embedded exchange.
    #[arg(long, value_name = "R")]
    speed: Option<f64>,
}

/// glibc gives each thread a heap of its own and hands little of it back; with one heap for all of
/// them the daemon stays a third smaller. It reads that when a process begins, so this one begins
/// anew, under the same pid; where it cannot, it goes on as it is. Source: mallopt(3),
/// `M_ARENA_MAX`, `M_MMAP_THRESHOLD`.
pub(super) fn with_one_heap() {
    const HEAPS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(HEAPS).is_some() {
        return;
    }
    // What is large has pages of its own, which are given back at once.
    let large = [
        ("MALLOC_MMAP_THRESHOLD_", "131072"),
        ("MALLOC_TRIM_THRESHOLD_", "262144"),
    ];
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut words = std::env::args_os();
    let name = words
        .next()
        .unwrap_or_else(|| program.clone().into_os_string());
    drop(
        Command::new(program)
            .arg0(name)
            .args(words)
            .env(HEAPS, "1")
            .envs(large)
            .exec(),
    );
}

pub(super) async fn run(global: &Global, args: RunArgs, began: Instant) -> Result<Exit, Failure> {
    let config = global.load(args.speed)?;
    let dir = global.state_dir(&config);
    telemetry::init();
    banner(&config, &dir);
    let limits = RunLimits {
        cycles: if args.once { Some(1) } else { args.cycles },
        duration: args.duration,
    };
    Ok(daemon::run(config, &dir, limits, began).await?)
}

fn banner(config: &Config, dir: &std::path::Path) {
    let venue = match (config.mode, config.venue.rest_url.as_str()) {
        (Mode::Sim, "") => {
            format!(
                "embedded exchange, seed {}, speed ×{}",
                config.exchange.seed, config.exchange.speed
            )
        }
        (_, url) => url.to_owned(),
    };
    let instruments: Vec<&str> = config.instruments.iter().map(|i| i.as_str()).collect();
    let trading = match &config.trading_off_by {
        None => "ON".to_owned(),
        Some(why) => format!("OFF ({why}); orders are recorded as suppressed, nothing is sent"),
    };
    crate::telemetry::tell(format_args!("Alpha Arena {}", env!("CARGO_PKG_VERSION")));
    crate::telemetry::tell(format_args!("  mode         {} ({venue})", config.mode));
    crate::telemetry::tell(format_args!("  state        {}", dir.display()));
    crate::telemetry::tell(format_args!(
        "  instruments  {} on {} bars, a cycle every {}",
        instruments.join(" "),
        config.bar,
        config.every_bars
    ));
    for contender in &config.contenders {
        let on: Vec<&str> = contender.instruments.iter().map(|i| i.as_str()).collect();
        let stage = if contender.stage == Stage::Live {
            "live"
        } else {
            "off"
        };
        crate::telemetry::tell(format_args!(
            "  contender    {} ({}, {stage}, weight {}) on {}",
            contender.id,
            contender.played(),
            contender.weight,
            on.join(" ")
        ));
    }
    crate::telemetry::tell(format_args!("  trading      {trading}"));
}
