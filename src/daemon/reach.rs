//! Reaching the venue: whose time we live on, with which key, and whether the account is the one we
//! expect.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::config::{Config, Mode, find_secrets};
use crate::domain::{ClOrdId, InstId, InstKind, Instrument, Ms};
use crate::exchange::market::listed_as;
use crate::exchange::{Engine, EngineConfig, PriceSource, ServerAddress, ServerConfig, serve};
use crate::exit::Exit;
use crate::runtime::{Clock, Shutdown, StageError, wall_ms};
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
    /// A check before trading failed.
    #[error("the checks before trading failed:\n{what}")]
    Preflight { what: String, exit: Exit },
    /// Name given by a person that does not exist.
    #[error("{0}")]
    Unnamed(String),
    #[error("{what}: {source}")]
    Io {
        what: &'static str,
        source: std::io::Error,
    },
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
            StartError::Unnamed(_) => Exit::Usage,
            StartError::Preflight { exit, .. } => *exit,
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
    pub(super) stop: Shutdown,
    pub(super) engine: Engine,
    /// Source of the embedded exchange's market, in mode paper.
    pub(super) source: Option<PublicVenue>,
}

/// Another venue's public side.
pub(super) struct PublicVenue {
    pub(super) venue: Venue,
    pub(super) instruments: Vec<Arc<Instrument>>,
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.stop.cancel();
        self.server.abort();
    }
}

/// Reaches the venue of this configuration, and checks that the account is the one we expect.
///
/// # Errors
/// As [`reach_whoever`], and when it is another account or one that is not set as it must be.
pub async fn reach(
    config: &Config,
    state_dir: &Path,
    retiring: &[InstId],
    patience: Duration,
) -> Result<Reached, StartError> {
    let reached = reach_whoever(config, state_dir, retiring, patience).await?;
    check_account(config, &reached.account)?;
    Ok(reached)
}

/// Reaches the venue of this configuration, whoever's account it is: starts the embedded exchange
/// if that is the venue, and takes its time.
///
/// Instruments that are `retiring` are followed though no longer configured. A venue that does not
/// answer is asked again for `patience`; what a person must mend ends it at once.
pub(super) async fn reach_whoever(
    config: &Config,
    state_dir: &Path,
    retiring: &[InstId],
    patience: Duration,
) -> Result<Reached, StartError> {
    crate::venue::install_tls();
    let settings = &config.venue;
    let venue_config = |rest: String, demo| VenueConfig {
        rest,
        timeout: settings.request_timeout,
        demo,
    };
    let (rest, ws, clock, secrets, embedded) = match config.mode {
        Mode::Sim | Mode::Paper if config.mode == Mode::Paper || settings.rest_url.is_empty() => {
            let source = match config.mode {
                Mode::Paper => Some(
                    find_source(
                        config,
                        venue_config(settings.rest_url.clone(), false),
                        retiring,
                        patience,
                    )
                    .await?,
                ),
                _ => None,
            };
            let (endpoint, clock, embedded) = embed(config, Some(state_dir), source).await?;
            let key = &endpoint.credentials;
            let secrets = Secrets {
                api_key: key.api_key.clone().into(),
                secret: key.secret.clone().into(),
                passphrase: key.passphrase.clone().into(),
            };
            (endpoint.rest, endpoint.ws, clock, secrets, Some(embedded))
        }
        Mode::Sim | Mode::Paper => {
            let ask = || sim_clock(&settings.rest_url, settings.request_timeout);
            let (now, rate) = patiently(patience, ask).await?;
            let secrets = find_secrets(&config.layers.env)?;
            (
                settings.rest_url.clone(),
                settings.ws_url.clone(),
                Clock::start(now, rate),
                secrets,
                None,
            )
        }
        Mode::OkxDemo | Mode::Live => {
            let secrets = find_secrets(&config.layers.env)?;
            let clock = Clock::start(Ms(wall_ms()), 1.0);
            let venue = Venue::new(
                venue_config(settings.rest_url.clone(), config.mode == Mode::OkxDemo),
                None,
                clock.clone(),
            )?;
            let now = patiently(patience, || venue.server_time()).await?;
            info!(
                event = "clock",
                skew_ms = now.since(clock.now()).0,
                "this machine's clock against the venue's"
            );
            clock.anchor(now);
            (
                settings.rest_url.clone(),
                settings.ws_url.clone(),
                clock,
                secrets,
                None,
            )
        }
    };
    let signer = Signer::new(secrets);
    let venue = Venue::new(
        venue_config(rest, config.mode == Mode::OkxDemo),
        Some(signer.clone()),
        clock.clone(),
    )?;
    let account = patiently(patience, || venue.account_config()).await?;
    Ok(Reached {
        venue,
        clock,
        ws,
        account,
        signer,
        embedded,
    })
}

/// Asks again, with growing pauses, until `patience` is over or the answer is one that asking
/// cannot change.
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

/// Reaches the venue whose market paper trading uses: its time and the rules of our instruments.
async fn find_source(
    config: &Config,
    at: VenueConfig,
    retiring: &[InstId],
    patience: Duration,
) -> Result<PublicVenue, StartError> {
    let clock = Clock::start(Ms(wall_ms()), 1.0);
    let venue = Venue::new(at, None, clock.clone())?;
    clock.anchor(patiently(patience, || venue.server_time()).await?);
    let instruments = patiently(patience, || listed(&venue)).await?;
    Ok(PublicVenue {
        instruments: chosen(config, retiring, &instruments)?,
        venue,
    })
}

/// Every instrument the venue lists that we could trade.
pub(super) async fn listed(venue: &Venue) -> Result<Vec<Instrument>, VenueError> {
    let mut listed = venue.instruments(InstKind::Spot).await?;
    listed.extend(venue.instruments(InstKind::Swap).await?);
    Ok(listed)
}

/// A state directory that has never kept anything, on an account where this program has traded
/// lately: its record is somewhere else, or lost. Starting beside what it left would take it for
/// somebody else's.
pub(super) async fn refuse_if_known(reached: &Reached, env: char) -> Result<(), StartError> {
    let venue = &reached.venue;
    let ours = |name: &str| ClOrdId::is_ours(name, env);
    let mut found: Option<String> = None;
    for push in venue.orders_pending().await? {
        found = found.or_else(|| {
            ours(&push.cl_ord_id).then(|| format!("the open order {}", push.cl_ord_id))
        });
    }
    for push in venue.algos_pending().await? {
        found = found
            .or_else(|| ours(&push.algo_id).then(|| format!("the live stop {}", push.algo_id)));
    }
    for kind in [InstKind::Spot, InstKind::Swap] {
        for push in venue.orders_history(kind).await? {
            found = found.or_else(|| {
                ours(&push.cl_ord_id)
                    .then(|| format!("order {} of {}", push.cl_ord_id, push.report.at.iso()))
            });
        }
    }
    for fill in venue.newest_fills().await? {
        found = found.or_else(|| {
            ours(&fill.cl_ord_id).then(|| {
                format!(
                    "a fill of order {} at {}",
                    fill.cl_ord_id,
                    fill.fill.at.iso()
                )
            })
        });
    }
    match found {
        None => Ok(()),
        Some(what) => Err(StartError::Config(format!(
            "this state directory has no record, and account {} shows {what}, which this program made: its record is kept in another \
             directory, or lost. Use the --state-dir that made it; or, if that is lost, begin a new record beside what \
             it left: `alpha-arena db adopt --reason TEXT`; trading stays halted until `resume`. Nothing was sent",
            reached.account.uid
        ))),
    }
}

/// Currencies that are counted as dollars.
const DOLLARS: [&str; 3] = ["USDT", "USDC", "USD"];

/// Limits and equity are in dollars; what is quoted in anything else would be counted as if it
/// were.
fn in_dollars(inst: &Instrument) -> Result<(), StartError> {
    match DOLLARS.contains(&inst.quote.as_str()) {
        true => Ok(()),
        false => Err(StartError::Config(format!(
            "instrument {} is quoted in {}; limits are counted in dollars, so only {} can be traded",
            inst.id,
            inst.quote,
            DOLLARS.join(", ")
        ))),
    }
}

/// Those of the configuration, in its order, and those that are retiring.
pub(super) fn chosen(
    config: &Config,
    retiring: &[InstId],
    listed: &[Instrument],
) -> Result<Vec<Arc<Instrument>>, StartError> {
    let find = |id: &InstId| {
        listed
            .iter()
            .find(|i| i.id == *id)
            .cloned()
            .map(Arc::new)
            .ok_or_else(|| {
                StartError::Config(format!(
                    "instrument {id}: the venue does not list it, or not as something we trade"
                ))
            })
    };
    let mut all = config
        .instruments
        .iter()
        .map(find)
        .collect::<Result<Vec<_>, _>>()?;
    all.iter().try_for_each(|inst| in_dollars(inst))?;
    for inst in retiring {
        match find(inst) {
            Ok(found) => all.push(found),
            // It cannot be followed or closed here; the audit still compares what we hold of it.
            Err(_) => {
                warn!(event = "delisted", %inst, "something is held of an instrument that the venue does not list")
            }
        }
    }
    Ok(all)
}

/// A venue's public side, for as long as it is held.
pub struct PublicSide {
    pub venue: Venue,
    _embedded: Option<Embedded>,
}

/// Reaches the public side of the configured venue: without keys, without a state directory. In
/// `sim` without an address an exchange of the configuration's seed or recording is started for it.
///
/// # Errors
/// When the venue does not answer within `patience`.
pub async fn reach_public(config: &Config, patience: Duration) -> Result<PublicSide, StartError> {
    crate::venue::install_tls();
    let settings = &config.venue;
    let at = |rest| VenueConfig {
        rest,
        timeout: settings.request_timeout,
        demo: config.mode == Mode::OkxDemo,
    };
    if config.mode == Mode::Sim && settings.rest_url.is_empty() {
        let (endpoint, clock, embedded) = embed(config, None, None).await?;
        return Ok(PublicSide {
            venue: Venue::new(at(endpoint.rest), None, clock)?,
            _embedded: Some(embedded),
        });
    }
    let clock = Clock::start(Ms(wall_ms()), 1.0);
    let venue = Venue::new(at(settings.rest_url.clone()), None, clock.clone())?;
    clock.anchor(patiently(patience, || venue.server_time()).await?);
    Ok(PublicSide {
        venue,
        _embedded: None,
    })
}

/// Rows of each kind that the embedded exchange remembers of what has ended: hours at any speed,
/// and no more than the daemon asks about.
const LEDGER_ROWS: usize = 1000;

async fn embed(
    config: &Config,
    state_dir: Option<&Path>,
    source: Option<PublicVenue>,
) -> Result<(ServerAddress, Clock, Embedded), StartError> {
    let io = |what| move |source| StartError::Io { what, source };
    let candles = || {
        config
            .exchange
            .candles
            .iter()
            .filter_map(|file| file.parse().ok())
            .collect()
    };
    let (prices, begin, speed) = match &source {
        Some(source) => {
            let listings = source
                .instruments
                .iter()
                .map(|inst| listed_as(Instrument::clone(inst)))
                .collect();
            // The source's market moves at its own pace, which is the wall clock's.
            (
                PriceSource::Fed(listings),
                Some(source.venue.clock().now()),
                1.0,
            )
        }
        None if config.exchange.candles.is_empty() => {
            (PriceSource::Seeded, None, config.exchange.speed)
        }
        None => (
            PriceSource::Recorded(candles()),
            None,
            config.exchange.speed,
        ),
    };
    let engine = Engine::start(&EngineConfig {
        seed: config.exchange.seed,
        speed,
        keep: Some(LEDGER_ROWS),
        state: state_dir.map(StateDir::exchange_log),
        deposit: config.exchange.deposit,
        prices,
        by_bar: config.exchange.by_bar,
        begin,
    })
    .map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => {
            StartError::Config(format!("the embedded exchange cannot start: {error}"))
        }
        _ => io("starting the embedded exchange")(error),
    })?;
    if let Some(source) = &source {
        engine.clock.set(Some(source.venue.clock().now()), 1.0);
    }
    let held = engine.clone();
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .map_err(io("listening on loopback"))?;
    let (clock, stop) = (engine.clock.clone(), engine.ended.clone());
    let (endpoint, server) = serve(engine, ServerConfig::default(), listener, stop.clone())
        .map_err(io("starting the embedded exchange"))?;
    Ok((
        endpoint,
        clock,
        Embedded {
            server: tokio::spawn(server),
            stop,
            engine: held,
            source,
        },
    ))
}

fn check_account(config: &Config, account: &AccountConfig) -> Result<(), StartError> {
    let wrong = |what: String| Err(StartError::Account(what));
    if let Some(pinned) = &config.venue.uid
        && *pinned != account.uid
    {
        return wrong(format!(
            "the key belongs to account {}, venue.uid pins {pinned}: nothing was sent",
            account.uid
        ));
    }
    if account.position_mode != "net_mode" {
        return wrong(format!(
            "the account's position mode is {}; set it to net mode (Settings, Position mode)",
            account.position_mode
        ));
    }
    if account.level != "2" {
        return wrong(format!(
            "the account's level is {}; this release trades futures mode (acctLv 2)",
            account.level
        ));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;

    /// An instrument quoted in EUR is a configuration error that names the currency.
    #[test]
    fn non_dollar_quote_is_refused() {
        assert!(in_dollars(&swap()).is_ok());
        let said = in_dollars(&Instrument {
            quote: "EUR".into(),
            ..swap()
        })
        .unwrap_err();
        assert_eq!(said.exit(), Exit::Config);
        assert!(said.to_string().contains("quoted in EUR"), "{said}");
    }
}
