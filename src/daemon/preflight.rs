//! Gathers what the checks before trading look at: at a start, each hour, and when a person asks.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::StartError;
use super::reach::{Reached, listed, reach_whoever};
use crate::config::{Config, Mode};
use crate::domain::{InstId, InstKind, Instrument, Ms, Shield};
use crate::exit::Exit;
use crate::ops::health::HealthVerdict;
use crate::ops::preflight::{AccountFacts, Checked, FileFacts, PreflightFacts, judge};
use crate::risk::Command;
use crate::runtime::{Actor, Beat, Shutdown, StageError, wall_ms};
use crate::store::{Reader, StateDir, StoreError};
use crate::venue::{AccountConfig, Venue, VenueError};

/// Limits that nobody should leave to us where money is real.
const OWN_LIMITS: [&str; 5] = [
    "order_notional_max",
    "open_orders_max",
    "position_notional_max",
    "daily_loss_pct_max",
    "drawdown_pct_max",
];

/// Preflight facts that do not change while a process runs, and the means to ask for the rest.
#[derive(Clone)]
pub struct Preflight {
    pub config: Arc<Config>,
    pub dir: std::path::PathBuf,
    pub venue: Venue,
    pub embedded: bool,
    pub wanted: Vec<InstId>,
    /// The rules the database knew when this process began.
    pub remembered: Vec<Instrument>,
    pub shields: Option<watch::Receiver<BTreeMap<InstId, Shield>>>,
}

impl Preflight {
    /// Looks at everything.
    pub async fn check(&self) -> Vec<Checked> {
        judge(&self.facts().await)
    }

    async fn facts(&self) -> PreflightFacts {
        let config = &self.config;
        let shields = self
            .shields
            .as_ref()
            .map(|shields| shields.borrow().clone());
        let follows = matches!(config.mode, Mode::Sim | Mode::Paper);
        PreflightFacts {
            live: config.mode == Mode::Live,
            embedded: self.embedded,
            mode: config.mode.to_string(),
            skew: if follows {
                Ok(None)
            } else {
                said(self.skew().await).map(Some)
            },
            account: said(self.venue.account_config().await).map(account),
            pinned_uid: config.venue.uid.clone(),
            instruments: said(listed(&self.venue).await),
            wanted: self.wanted.clone(),
            remembered: self.remembered.clone(),
            fees: said(self.fees().await),
            disk_free: disk_free(&self.dir),
            files: files(config, &self.dir),
            database: {
                let dir = self.dir.clone();
                let checked = tokio::task::spawn_blocking(move || database(&dir)).await;
                checked.unwrap_or_else(|error| error.to_string())
            },
            other_holder: None, // whoever gathers holds the directory, or is told by who does
            file_unchanged: file_unchanged(config),
            default_limits: default_limits(config),
            trading_on: config.trading_enabled,
            shields,
        }
    }

    /// Returns how far this machine's clock is off, with half the round trip taken out.
    async fn skew(&self) -> Result<Ms, VenueError> {
        let before = wall_ms();
        let venue = self.venue.server_time().await?;
        Ok(Ms(i64::midpoint(before, wall_ms()) - venue.0))
    }

    async fn fees(&self) -> Result<BTreeMap<InstId, rust_decimal::Decimal>, VenueError> {
        let mut rates = BTreeMap::new();
        for inst in &self.wanted {
            let kind = InstKind::named(inst.as_str());
            if !rates.contains_key(kind.okx()) {
                rates.insert(kind.okx(), self.venue.taker_fee(kind).await?);
            }
        }
        let rate = |inst: &InstId| InstKind::named(inst.as_str());
        Ok(self
            .wanted
            .iter()
            .filter_map(|inst| Some((inst.clone(), *rates.get(rate(inst).okx())?)))
            .collect())
    }
}

fn said<T>(answer: Result<T, VenueError>) -> Result<T, String> {
    answer.map_err(|error| error.to_string())
}

fn account(said: AccountConfig) -> AccountFacts {
    let list = |text: &str| -> Vec<String> {
        text.split(',')
            .map(|word| word.trim().to_owned())
            .filter(|word| !word.is_empty())
            .collect()
    };
    AccountFacts {
        permissions: list(&said.permissions),
        addresses: list(&said.addresses),
        uid: said.uid,
        level: said.level,
        position_mode: said.position_mode,
        auto_loan: said.auto_loan,
    }
}

fn disk_free(dir: &Path) -> Result<u64, String> {
    let found = rustix::fs::statvfs(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn files(config: &Config, dir: &Path) -> Vec<FileFacts> {
    let env = &config.layers.env;
    let mut paths: Vec<(std::path::PathBuf, bool)> = vec![(dir.to_owned(), false)];
    paths.extend(config.layers.file.clone().map(|path| (path, false)));
    paths.push((".env".into(), true));
    for name in ["OKX_API_KEY_FILE", "OKX_SECRET_FILE", "OKX_PASSPHRASE_FILE"] {
        paths.extend(env.get(name).map(|path| (path.into(), true)));
    }
    // Root may own what systemd or an administrator put there; others may not.
    let me = uid();
    paths
        .into_iter()
        .filter_map(|(path, secret)| {
            let symlink =
                std::fs::symlink_metadata(&path).is_ok_and(|meta| meta.file_type().is_symlink());
            let meta = std::fs::metadata(&path).ok()?;
            let ours = meta.uid() == me || meta.uid() == 0;
            let mode = meta.permissions().mode() & 0o777;
            Some(FileFacts {
                path: path.display().to_string(),
                mode,
                ours,
                symlink,
                secret,
            })
        })
        .collect()
}

/// Returns our user id, the owner of the files we make.
fn uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid())
}

fn database(dir: &Path) -> String {
    if !StateDir::trading_db(dir).exists() {
        return "ok".to_owned();
    }
    match Reader::open(dir).and_then(|reader| reader.quick_check()) {
        Ok(verdict) => verdict,
        Err(error) => error.to_string(),
    }
}

/// An edited file has no effect until a restart; that it waits is told.
fn file_unchanged(config: &Config) -> Result<bool, String> {
    let Some(path) = &config.layers.file else {
        return Ok(true);
    };
    let now = std::fs::read_to_string(path)
        .map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    Ok(now == config.layers.file_text)
}

fn default_limits(config: &Config) -> Vec<&'static str> {
    let source = |key: &&str| {
        config
            .layers
            .sources
            .get(&format!("risk.{key}"))
            .map(String::as_str)
    };
    OWN_LIMITS
        .into_iter()
        .filter(|key| source(key).is_none_or(|source| source == "default"))
        .collect()
}

/// Checks before a start: what fails ends it, with a code that says what kind of person is needed.
/// A venue that does not answer is asked again for `patience`.
pub(super) async fn before_start(
    preflight: &Preflight,
    patience: Duration,
) -> Result<(), StartError> {
    let began = tokio::time::Instant::now();
    let checks = loop {
        let checks = preflight.check().await;
        let mute = checks
            .iter()
            .any(|c| c.verdict == HealthVerdict::Fail && c.exit == Exit::Unavailable);
        if !mute || began.elapsed() >= patience {
            break checks;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    for check in checks.iter().filter(|c| c.verdict == HealthVerdict::Warn) {
        let (found, fix) = (&check.found, &check.fix);
        warn!(
            event = "preflight",
            check = check.check,
            found,
            fix,
            "a warning before trading"
        );
    }
    let failed: Vec<&Checked> = checks
        .iter()
        .filter(|c| c.verdict == HealthVerdict::Fail)
        .collect();
    let Some(first) = failed.first() else {
        info!(
            event = "preflight_ok",
            checks = checks.len(),
            "the checks before trading passed"
        );
        return Ok(());
    };
    let lines: Vec<String> = failed
        .iter()
        .map(|c| format!("{}: {}; {}", c.check, c.found, c.fix))
        .collect();
    Err(StartError::Preflight {
        what: lines.join("\n"),
        exit: first.exit,
    })
}

/// The same each hour. What fails then halts trading until a person resumes it.
pub(super) struct Hourly {
    pub preflight: Preflight,
    pub commands: mpsc::Sender<Command>,
    /// People ask.
    pub asks: mpsc::Receiver<oneshot::Sender<Vec<Checked>>>,
    pub every: Duration,
    pub beat: Beat,
}

impl Actor for Hourly {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let mut next = tokio::time::Instant::now() + self.every;
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                Some(done) = self.asks.recv() => {
                    let checks = self.beat.clone().while_waiting(self.preflight.check()).await;
                    drop(done.send(checks)); // whoever asked may have gone
                }
                _ = tick.tick() => self.beat.tick(),
            }
            if tokio::time::Instant::now() < next {
                continue;
            }
            next = tokio::time::Instant::now() + self.every;
            let checks = self
                .beat
                .clone()
                .while_waiting(self.preflight.check())
                .await;
            for check in checks {
                if check.verdict == HealthVerdict::Warn {
                    let (found, fix) = (&check.found, &check.fix);
                    warn!(
                        event = "preflight",
                        check = check.check,
                        found,
                        fix,
                        "a warning while trading"
                    );
                }
                // A venue that does not answer now is somebody else's watch: feeds and account age.
                let passing = matches!(check.exit, Exit::Unavailable);
                if check.verdict == HealthVerdict::Fail && !passing {
                    let why = format!("{}: {}; {}", check.check, check.found, check.fix);
                    let halt = Command::Restrict {
                        cause: format!("preflight:{}", check.check.replace(' ', "_")),
                        why,
                    };
                    self.commands
                        .send(halt)
                        .await
                        .map_err(|_| StageError::Gone("the gate"))?;
                }
            }
        }
    }
}

/// The checks as a verb: without a daemon, holding the directory meanwhile. What keeps them from
/// being made is a finding, too.
pub async fn alone(config: Config, dir: &Path) -> Result<Vec<Checked>, StartError> {
    let failed = |check, found: String, fix: &str, exit| {
        let fix = fix.to_owned();
        Ok(vec![Checked {
            check,
            verdict: HealthVerdict::Fail,
            found,
            fix,
            exit,
        }])
    };
    let _held = match StateDir::hold(dir) {
        Ok(held) => held,
        Err(error @ StoreError::Locked { .. }) => {
            let fix = "ask the daemon that holds it (it did not answer), stop it, or use another --state-dir";
            return failed("second instance", error.to_string(), fix, Exit::Busy);
        }
        Err(error) => return Err(error.into()),
    };
    let remembered = if StateDir::trading_db(dir).exists() {
        Reader::open(dir)?.opened()?.instruments
    } else {
        Vec::new()
    };
    let config = Arc::new(config);
    let reached: Reached = match reach_whoever(&config, dir, &[], Duration::ZERO).await {
        Ok(reached) => reached,
        Err(StartError::Venue(error)) => {
            let fix = "see that the venue can be reached and that the key is of this environment";
            return failed("venue", error.to_string(), fix, Exit::Unavailable);
        }
        Err(error) => return Err(error),
    };
    let preflight = Preflight {
        wanted: config.instruments.clone(),
        config,
        dir: dir.to_owned(),
        venue: reached.venue.clone(),
        embedded: reached.embedded.is_some(),
        remembered,
        shields: None,
    };
    Ok(preflight.check().await)
}
