//! `exchange`: the embedded exchange alone.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{Failure, output};
use crate::exchange::{
    CandleFile, Engine, EngineConfig, PriceSource, ServerAddress, ServerConfig, self_signed, serve,
};
use crate::exit::Exit;
use crate::telemetry;

/// Source of fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FillsBy {
    /// Level by level, as they come.
    Book,
    /// Half way through each bar, what a backtest would fill of it.
    Bar,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena exchange --listen 127.0.0.1:8900 --seed 7 --speed 60 --json\n  alpha-arena exchange --candles btc-1m.csv.gz --speed 600\n\nThe first line of --json holds {\"rest\",\"ws\",\"api_key\",\"secret\",\"passphrase\",\"uid\"}.\nGET /sim/ledger shows everything that happened, POST /sim/market moves a price,\nPOST /sim/faults makes it fail: {\"rules\":[{\"match\":{\"path\":\"trade/order\",\"nth\":2},\"action\":\"drop_after\"}]}."
)]
pub(super) struct ExchangeArgs {
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Seed of the market; a state file keeps the one it was made with.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Venue seconds per wall second.
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    speed: f64,
    /// Play recorded candles instead of a seeded market: ts_ms,open,high,low,close,volume, plain or
    /// .gz. Repeatable; the instrument is BTC-USDT-SWAP unless named.
    #[arg(long, value_name = "[INST=]FILE")]
    candles: Vec<CandleFile>,
    /// Source of fills: the book, or whole bars by the backtest's own model.
    #[arg(long, value_enum, default_value_t = FillsBy::Book)]
    fills: FillsBy,
    /// Play the demo site: every signed request needs `x-simulated-trading: 1`.
    #[arg(long)]
    demo: bool,
    /// Speak TLS with a fresh self-signed certificate, written to PEM for clients to trust.
    #[arg(long, value_name = "PEM", num_args = 0..=1, default_missing_value = "exchange-ca.pem")]
    tls: Option<PathBuf>,
    /// Keep the ledger in this file; without it nothing outlives the process.
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Print where it listens and its key as one line of JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: ExchangeArgs) -> Result<Exit, Failure> {
    telemetry::init();
    if !args.listen.ip().is_loopback() {
        return Err(Failure::new(
            Exit::Usage,
            format!(
                "--listen {}: only loopback addresses; the simulation has no real security",
                args.listen
            ),
        ));
    }
    if !args.speed.is_finite() || !(0.1..=10_000.0).contains(&args.speed) {
        return Err(Failure::new(
            Exit::Usage,
            "--speed must be between 0.1 and 10000",
        ));
    }
    let io = |error: std::io::Error| {
        Failure::new(Exit::Io, format!("the exchange cannot start: {error}"))
    };
    let prices = if args.candles.is_empty() {
        PriceSource::Seeded
    } else {
        PriceSource::Recorded(args.candles)
    };
    let by_bar = args.fills == FillsBy::Bar;
    let config = EngineConfig {
        seed: args.seed,
        speed: args.speed,
        state: args.state,
        prices,
        by_bar,
        ..Default::default()
    };
    let engine = Engine::start(&config).map_err(|error| match error.kind() {
        std::io::ErrorKind::InvalidData => Failure::new(Exit::Data, error.to_string()),
        _ => io(error),
    })?;
    let tls = args
        .tls
        .as_deref()
        .map(self_signed)
        .transpose()
        .map_err(io)?;
    let listener = tokio::net::TcpListener::bind(args.listen)
        .await
        .map_err(io)?;
    let stop = engine.ended.clone();
    let (endpoint, server) = serve(
        engine,
        ServerConfig {
            demo: args.demo,
            tls,
        },
        listener,
        stop.clone(),
    )
    .map_err(io)?;
    announce(&endpoint, args.json);
    std::io::stdout().flush().map_err(io)?;
    tokio::select! {
        // The server ends by itself only with the engine, and the engine only when its ledger
        // fails.
        served = server => served.map(|()| Exit::Io).map_err(io),
        () = asked_to_stop() => {
            stop.cancel();
            Ok(Exit::Ok)
        }
    }
}

/// Says where an exchange listens and what opens it.
pub(super) fn announce(endpoint: &ServerAddress, json: bool) {
    if json {
        output::say(serde_json::to_string(endpoint).expect("an endpoint is plain text"));
        return;
    }
    output::say(format_args!("REST        {}", endpoint.rest));
    output::say(format_args!(
        "WebSocket   {}/{{public,private,business}}",
        endpoint.ws
    ));
    output::say(format_args!("key         {}", endpoint.credentials.api_key));
    output::say(format_args!("secret      {}", endpoint.credentials.secret));
    output::say(format_args!(
        "passphrase  {}",
        endpoint.credentials.passphrase
    ));
    output::say(format_args!("uid         {}", endpoint.credentials.uid));
}

async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) {
        (Ok(mut term), Ok(mut int)) => {
            tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}
