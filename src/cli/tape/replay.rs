//! `tape replay`: recorded messages as the market of an exchange that any OKX client can use.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use tokio::net::TcpListener;

use super::super::exchange::announce;
use super::super::{Failure, Global, output};
use crate::domain::Ms;
use crate::exchange::market::listed_as;
use crate::exchange::{Engine, EngineConfig, FeedEvent, PriceSource, ServerConfig, serve};
use crate::exit::Exit;
use crate::paper::of_recorded;
use crate::tape::Segment;
use crate::telemetry;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alpha-arena tape replay --speed 60 --listen 127.0.0.1:8900 --json\n\nThe exchange's clock starts at the first message and each is shown when its time comes. Orders are matched against\nwhat was recorded. It ends with the tape."
)]
pub(in crate::cli) struct TapeReplayArgs {
    /// Segments; without any, all of the state directory.
    files: Vec<PathBuf>,
    /// Loopback address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDR")]
    listen: SocketAddr,
    /// Recorded seconds per wall second.
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    speed: f64,
    /// Print where it listens and its key as one line of JSON.
    #[arg(long)]
    json: bool,
}

/// A pause in the recording that is jumped over.
const SILENCE: Ms = Ms::secs(60);

pub(super) async fn run(global: &Global, args: TapeReplayArgs) -> Result<Exit, Failure> {
    telemetry::init();
    if !args.speed.is_finite() || !(0.1..=10_000.0).contains(&args.speed) {
        return Err(Failure::new(
            Exit::Usage,
            "--speed must be between 0.1 and 10000",
        ));
    }
    if !args.listen.ip().is_loopback() {
        return Err(Failure::new(
            Exit::Usage,
            format!("--listen {}: only loopback addresses", args.listen),
        ));
    }
    let broken = |error: std::io::Error| Failure::new(Exit::Data, error.to_string());
    let io = |error: std::io::Error| Failure::new(Exit::Io, error.to_string());
    let mut segments = Vec::new();
    for path in super::chosen(global, &args.files)? {
        segments.push(Segment::open(&path).map_err(broken)?);
    }
    let mut instruments = std::collections::BTreeMap::new();
    for inst in segments
        .iter()
        .flat_map(|segment| &segment.head.instruments)
    {
        instruments.insert(inst.id.to_string(), inst.clone());
    }
    let insts: Vec<String> = instruments.keys().cloned().collect();
    let listings = instruments.into_values().map(listed_as).collect();
    let begin = segments[0].head.started_ms;
    let config = EngineConfig {
        speed: args.speed,
        prices: PriceSource::Fed(listings),
        begin: Some(begin),
        ..Default::default()
    };
    let engine = Engine::start(&config).map_err(io)?;
    let listener = TcpListener::bind(args.listen).await.map_err(io)?;
    let stop = engine.ended.clone();
    let (endpoint, server) = serve(
        engine.clone(),
        ServerConfig::default(),
        listener,
        stop.clone(),
    )
    .map_err(io)?;
    announce(&endpoint, args.json);
    let played = async {
        let mut shown = 0u64;
        for heard in segments.into_iter().flatten() {
            let news = of_recorded(&heard.channel, heard.data.get());
            let Ok(news) = news else { continue };
            let ahead = Ms(heard.at.0 - engine.clock.now().0);
            if ahead > SILENCE {
                // Nothing was recorded here: the market is cut, and its time is not waited out.
                for inst in &insts {
                    engine.feed(inst, FeedEvent::Cut).await.ok();
                }
                engine.clock.set(Some(heard.at), args.speed);
            } else {
                tokio::time::sleep(engine.clock.wall_span(ahead)).await;
            }
            for event in news {
                if engine.feed(&heard.subject, event).await.is_err() {
                    return shown;
                }
            }
            shown += 1;
        }
        shown
    };
    tokio::select! {
        served = server => served.map(|()| Exit::Io).map_err(io),
        shown = played => {
            if !args.json {
                output::say(format_args!("the tape is over: {shown} messages"));
            }
            stop.cancel();
            Ok(Exit::Ok)
        }
    }
}
