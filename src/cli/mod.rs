//! The command line: one file per verb. Global flags may stand before or after the verb.

mod backtest;
mod calibration;
mod config;
mod data;
mod db;
mod decisions;
mod exchange;
mod halt;
mod health;
mod list;
mod output;
mod preflight;
mod prompt;
mod reconcile;
mod replay;
mod risk;
mod run;
mod status;
mod strategies;
mod sync_account;
mod tape;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, Layers, Overrides, Problems};
use crate::exit::Exit;
use crate::telemetry;

/// Strategies trade an OKX account under one allocator and one risk gate.
///
/// Without a verb it runs: in the default mode on the embedded exchange, without network or keys.
#[derive(Debug, Parser)]
#[command(name = "alpha-arena", version, propagate_version = true)]
#[command(
    after_help = "Examples:\n  alpha-arena                              run on the embedded exchange\n  alpha-arena run --for 60s --speed 60     an hour of market time in a minute\n  alpha-arena --config config/live.toml config check\n  alpha-arena health --json                for cron and monitors; exit code 0, 1 or 2"
)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Clone, Debug, Args)]
struct Global {
    /// Configuration file, over the built-in defaults; also $ALPHA_ARENA_CONFIG.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Directory of databases, ledger and control socket; else $STATE_DIRECTORY, else ./var/<mode>.
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon until it is stopped (the default).
    Run(run::RunArgs),
    /// Run the embedded exchange alone, for any OKX client.
    Exchange(exchange::ExchangeArgs),
    /// Read balances and positions from the venue now, and keep them.
    SyncAccount(sync_account::SyncArgs),
    /// Activity of the running daemon.
    Status(OutputArgs),
    /// One verdict on database, daemon, feeds and trading state; exit code 0, 1 or 2.
    Health(OutputArgs),
    /// The checks before trading, with a cure for each failure; exit code 0, 1 or 2.
    Preflight(OutputArgs),
    /// Orders, newest first.
    Orders(list::OrdersArgs),
    /// Fills, newest first.
    Fills(list::ListArgs),
    /// Positions of the last complete read.
    Positions(OutputArgs),
    /// Balances of the last complete read.
    Balances(OutputArgs),
    /// Decisions of contenders and what became of them, newest first.
    Decisions(decisions::DecisionsArgs),
    /// Make decisions again from what they were made from, and compare byte for byte.
    Replay(replay::ReplayArgs),
    /// Calibration of models' probabilities: a reliability table and a Brier score each.
    Calibration(calibration::CalibrationArgs),
    /// Prompts sent to models.
    Prompt {
        #[command(subcommand)]
        verb: prompt::PromptVerb,
    },
    /// Incidents that halt trading and what ends them; accept one, or compare with the venue now.
    Reconcile(reconcile::ReconcileArgs),
    /// Make an instrument flat, or all of them; works while trading is halted.
    Close(reconcile::CloseArgs),
    /// Cancel orders of ours.
    Cancel(reconcile::CancelArgs),
    /// The kill switch: stop trading, cancel, make flat if asked, verify; latched until `resume`.
    Halt(halt::HaltArgs),
    /// End a restriction while the daemon is stopped, or tell what is restricted.
    Resume(halt::ResumeArgs),
    /// The gate's rules, what they have blocked, and changes of the trading state.
    Risk {
        #[command(subcommand)]
        verb: risk::RiskVerb,
    },
    /// The record as a whole: take what is here as it, after a loss.
    Db {
        #[command(subcommand)]
        verb: db::DbVerb,
    },
    /// Market history: download, import, check, list, export.
    Data {
        #[command(subcommand)]
        verb: data::DataVerb,
    },
    /// Record of what the venue said: list, verify, replay.
    Tape {
        #[command(subcommand)]
        verb: tape::TapeVerb,
    },
    /// Strategies over history: run, judge.
    Backtest {
        #[command(subcommand)]
        verb: backtest::BacktestVerb,
    },
    /// The strategies there are, with their parameters and ranges.
    Strategies(OutputArgs),
    /// Check the configuration, or show it with the source of each value.
    Config {
        #[command(subcommand)]
        verb: config::ConfigVerb,
    },
}

#[derive(Clone, Copy, Debug, Args)]
struct OutputArgs {
    /// JSON for scripts instead of a table for people.
    #[arg(long)]
    json: bool,
}

/// Error to print on stderr, and the exit code to end with.
#[derive(Debug)]
pub struct Failure {
    message: String,
    exit: Exit,
}

impl Failure {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            exit,
        }
    }
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        let count = problems.0.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        Self::new(
            Exit::Config,
            format!("{count} {noun} in the configuration:\n{problems}"),
        )
    }
}

impl From<crate::daemon::StartError> for Failure {
    fn from(error: crate::daemon::StartError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

impl From<crate::store::StoreError> for Failure {
    fn from(error: crate::store::StoreError) -> Self {
        Self::new(error.exit(), error.to_string())
    }
}

impl Global {
    fn load(&self, speed: Option<f64>) -> Result<Config, Failure> {
        // A value that is not text is kept in some form, so that a broken switch is a problem and
        // not absent.
        let env: HashMap<String, String> = std::env::vars_os()
            .map(|(name, value)| {
                (
                    name.to_string_lossy().into_owned(),
                    value.to_string_lossy().into_owned(),
                )
            })
            .collect();
        let overrides = Overrides {
            config: self.config.clone(),
            speed,
        };
        Ok(Config::check(
            Layers::read(&overrides, env).map_err(Problems::from)?,
        )?)
    }

    fn state_dir(&self, config: &Config) -> PathBuf {
        self.named_dir()
            .unwrap_or_else(|| PathBuf::from("var").join(config.mode.as_str()))
    }

    /// The state directory, even of a configuration that has become wrong since, where it is named.
    fn state_dir_anyhow(&self) -> Result<PathBuf, Failure> {
        match self.named_dir() {
            Some(dir) => Ok(dir),
            None => Ok(self.state_dir(&self.load(None)?)),
        }
    }

    fn named_dir(&self) -> Option<PathBuf> {
        let given = self.state_dir.clone();
        // systemd may name several, colon-separated; ours is the first.
        let from_systemd = || {
            let dirs = std::env::var("STATE_DIRECTORY").ok()?;
            dirs.split(':')
                .next()
                .filter(|dir| !dir.is_empty())
                .map(PathBuf::from)
        };
        given.or_else(from_systemd)
    }
}

/// Runs the command line and says how the process should end.
pub fn main() -> Exit {
    let began = std::time::Instant::now();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and clap prints them to stdout.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            return if error.print().is_err() && exit == Exit::Ok {
                Exit::Io
            } else {
                exit
            };
        }
    };
    if matches!(cli.verb, None | Some(Verb::Run(_))) {
        // Before a signal is caught: one that comes until then ends the process, and is never
        // swallowed.
        run::with_one_heap();
    }
    crate::ops::killfile::catch_early();
    crate::venue::install_tls();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            telemetry::tell(format_args!(
                "alpha-arena: the runtime cannot be started: {error}"
            ));
            return Exit::Software;
        }
    };
    let result = runtime.block_on(dispatch(cli, began));
    // Threads that still wait for a socket are not waited for.
    runtime.shutdown_timeout(Duration::from_millis(500));
    let exit = match result {
        Ok(exit) => exit,
        Err(failure) => {
            telemetry::tell(format_args!("alpha-arena: {}", failure.message));
            failure.exit
        }
    };
    let exit = match output::failure() {
        None => exit,
        Some(error) => {
            // Whoever closed his end (`| head`) knows; anything else is news.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                telemetry::tell(format_args!(
                    "alpha-arena: the output cannot be written: {error}"
                ));
            }
            // Half of an answer is none, whatever it would have said.
            Exit::Io
        }
    };
    telemetry::finish();
    exit
}

async fn dispatch(cli: Cli, began: std::time::Instant) -> Result<Exit, Failure> {
    let global = &cli.global;
    match cli.verb.unwrap_or(Verb::Run(run::RunArgs::default())) {
        Verb::Run(args) => run::run(global, args, began).await,
        Verb::Exchange(args) => exchange::run(args).await,
        Verb::SyncAccount(args) => sync_account::run(global, args).await,
        Verb::Status(args) => status::run(global, args.json).await,
        Verb::Health(args) => health::run(global, args.json).await,
        Verb::Preflight(args) => preflight::run(global, args).await,
        Verb::Orders(args) => list::orders(global, &args),
        Verb::Fills(args) => list::fills(global, &args),
        Verb::Positions(args) => list::positions(global, args.json),
        Verb::Balances(args) => list::balances(global, args.json),
        Verb::Decisions(args) => decisions::run(global, &args),
        Verb::Replay(args) => replay::run(global, &args),
        Verb::Calibration(args) => calibration::run(global, &args),
        Verb::Prompt { verb } => prompt::run(global, verb).await,
        Verb::Reconcile(args) => reconcile::reconcile(global, args).await,
        Verb::Close(args) => reconcile::close(global, args).await,
        Verb::Cancel(args) => reconcile::cancel(global, args).await,
        Verb::Halt(args) => halt::halt(global, args).await,
        Verb::Resume(args) => halt::resume(global, args).await,
        Verb::Risk { verb } => risk::run(global, &verb),
        Verb::Db { verb } => db::run(global, &verb),
        Verb::Data { verb } => data::run(global, verb).await,
        Verb::Tape { verb } => tape::run(global, verb).await,
        Verb::Backtest { verb } => backtest::run(global, verb),
        Verb::Strategies(args) => strategies::run(args.json),
        Verb::Config { verb } => config::run(global, &verb),
    }
}

/// `90`, `90s`, `15m`, `24h`, `250ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let scale = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err(format!("unknown unit '{unit}'; use ms, s, m, h or d")),
    };
    let number: f64 = number
        .parse()
        .map_err(|_| format!("'{text}' is not a duration; try 60s"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_read_as_people_write_them() {
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert!(
            duration("soon").is_err() && duration("5 parsecs").is_err() && duration("-1s").is_err()
        );
    }

    /// A global flag is accepted both before and after the verb.
    #[test]
    fn global_flags_work_around_the_verb() {
        for line in [
            ["alpha-arena", "--state-dir", "x", "status"],
            ["alpha-arena", "status", "--state-dir", "x"],
        ] {
            assert_eq!(
                Cli::try_parse_from(line).unwrap().global.state_dir,
                Some(PathBuf::from("x"))
            );
        }
    }
}
