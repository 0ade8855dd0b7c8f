//! Reaching the venue: whose time we live on, with which key, and whether the account is the one we expect.

use std::path::Path;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::{Config, Mode, find_secrets};
use crate::domain::Ms;
use crate::exchange::{Endpoint, Engine, EngineConfig, ServerConfig, serve};
use crate::exit::Exit;
use crate::runtime::{Clock, StageError, Stop, wall_ms};
use crate::store::{StateDir, StoreError};
use crate::venue::{AccountConfig, Secrets, Signer, Venue, VenueConfig, VenueError, sim_clock};

/// Why a start failed, and what the process should end with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Venue(#[from] VenueError),
    #[error(transparent)]
    Secret(#[from] crate::config::SecretError),
    #[error("{0}")]
    Config(String),
    #[error("{0}")]
    Account(String),
    #[error("{what}: {source}")]
    Io { what: &'static str, source: std::io::Error },
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl StartError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            StartError::Store(error) => error.exit(),
            StartError::Venue(error) if error.needs_person() => Exit::NoPermission,
            StartError::Venue(_) => Exit::Unavailable,
            StartError::Secret(_) | StartError::Config(_) => Exit::Config,
            StartError::Account(_) => Exit::NoPermission,
            StartError::Io { .. } => Exit::Io,
            StartError::Stage(error) => error.exit(),
        }
    }
}

/// A venue we have reached, whose account we have looked at.
pub struct Reached {
    pub venue: Venue,
    pub clock: Clock,
    pub ws: String,
    pub account: AccountConfig,
    pub(super) signer: Signer,
    /// The embedded exchange's server, if it runs in this process.
    pub(super) embedded: Option<Embedded>,
}

pub(super) struct Embedded {
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    pub(super) stop: Stop,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
        self.server.abort();
    }
}

/// Reaches the venue of this configuration: starts the embedded exchange if that is the venue, takes
/// its time, and checks that the account is the one we expect.
///
/// A venue that does not answer is asked again for `patience`; what a person must mend ends it at once.
pub async fn reach(config: &Config, state_dir: &Path, patience: Duration) -> Result<Reached, StartError> {
    crate::venue::install_tls();
    let settings = &config.venue;
    let venue_config = |rest: String, demo| VenueConfig { rest, timeout: settings.request_timeout, demo };
    let (rest, ws, clock, secrets, embedded) = match config.mode {
        Mode::Paper => {
            return Err(StartError::Config(
                "mode paper is not built yet: its exchange must be fed by OKX's public data. Use mode sim, or okx-demo with demo keys".into(),
            ));
        }
        Mode::Sim if settings.rest_url.is_empty() => {
            let (endpoint, clock, embedded) = embed(config, state_dir).await?;
            let key = &endpoint.credentials;
            let secrets = Secrets {
                api_key: key.api_key.clone().into(),
                secret: key.secret.clone().into(),
                passphrase: key.passphrase.clone().into(),
            };
            (endpoint.rest, endpoint.ws, clock, secrets, Some(embedded))
        }
        Mode::Sim => {
            let ask = || sim_clock(&settings.rest_url, settings.request_timeout);
            let (now, rate) = patiently(patience, ask).await?;
            let secrets = find_secrets(&config.layers.env)?;
            (settings.rest_url.clone(), settings.ws_url.clone(), Clock::start(now, rate), secrets, None)
        }
        Mode::OkxDemo | Mode::Live => {
            let secrets = find_secrets(&config.layers.env)?;
            let clock = Clock::start(Ms(wall_ms()), 1.0);
            let venue =
                Venue::new(venue_config(settings.rest_url.clone(), config.mode == Mode::OkxDemo), None, clock.clone())?;
            let now = patiently(patience, || venue.server_time()).await?;
            info!(event = "clock", skew_ms = now.since(clock.now()).0, "this machine's clock against the venue's");
            clock.anchor(now);
            (settings.rest_url.clone(), settings.ws_url.clone(), clock, secrets, None)
        }
    };
    let signer = Signer::new(secrets);
    let venue = Venue::new(venue_config(rest, config.mode == Mode::OkxDemo), Some(signer.clone()), clock.clone())?;
    let account = patiently(patience, || venue.account_config()).await?;
    check_account(config, &account)?;
    Ok(Reached { venue, clock, ws, account, signer, embedded })
}

/// Asks again, with growing pauses, until `patience` is over or the answer is one that asking cannot change.
async fn patiently<T, F: Future<Output = Result<T, VenueError>>>(
    patience: Duration,
    ask: impl Fn() -> F,
) -> Result<T, VenueError> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(500);
    loop {
        match ask().await {
            Err(error) if !error.needs_person() && began.elapsed() + pause < patience => {
                warn!(event = "venue_unreachable", %error, "the venue cannot be reached; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(10));
            }
            other => return other,
        }
    }
}

async fn embed(config: &Config, state_dir: &Path) -> Result<(Endpoint, Clock, Embedded), StartError> {
    let io = |what| move |source| StartError::Io { what, source };
    let engine = Engine::start(&EngineConfig {
        seed: config.exchange.seed,
        speed: config.exchange.speed,
        state: Some(StateDir::exchange_log(state_dir)),
        deposit: config.exchange.deposit,
    })
    .map_err(io("starting the embedded exchange"))?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.map_err(io("listening on loopback"))?;
    let (clock, stop) = (engine.clock.clone(), engine.ended.clone());
    let (endpoint, server) =
        serve(engine, ServerConfig::default(), listener, stop.clone()).map_err(io("starting the embedded exchange"))?;
    Ok((endpoint, clock, Embedded { server: tokio::spawn(server), stop }))
}

fn check_account(config: &Config, account: &AccountConfig) -> Result<(), StartError> {
    let wrong = |what: String| Err(StartError::Account(what));
    if let Some(pinned) = &config.venue.uid
        && *pinned != account.uid
    {
        return wrong(format!("the key belongs to account {}, venue.uid pins {pinned}: nothing was sent", account.uid));
    }
    if account.position_mode != "net_mode" {
        return wrong(format!(
            "the account's position mode is {}; set it to net mode (Settings, Position mode)",
            account.position_mode
        ));
    }
    if account.level != "2" {
        return wrong(format!("the account's level is {}; this release trades futures mode (acctLv 2)", account.level));
    }
    let may = |what: &str| account.permissions.split(',').any(|p| p.trim() == what);
    if !may("trade") {
        return wrong("the key may not trade; make one with the Trade permission".into());
    }
    if may("withdraw") && config.mode == Mode::Live {
        return wrong("the key may withdraw; make one that may only read and trade".into());
    }
    Ok(())
}
