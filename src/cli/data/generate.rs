//! `data generate`: made-up history, the embedded exchange's own, for trying things out.

use std::path::PathBuf;

use clap::Args;

use super::super::{Failure, Global, output};
use crate::data;
use crate::domain::{Bar, Candle, Ms, Qty};
use crate::exchange::market::SimMarket;
use crate::exit::Exit;
use crate::store::OnConflict;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena data generate --inst BTC-USDT-SWAP --bar 1m --bars 525600 --from 2025-01-01\n  alpha-arena data generate --inst BTC-USDT-SWAP --bars 525600 --out year.csv.gz\n\nA year of the market that the embedded exchange makes of a seed: a random walk with bursts, without any memory a strategy\ncould live on. What earns money there earns it by luck."
)]
pub(in crate::cli) struct GenerateArgs {
    /// One of the embedded exchange's instruments.
    #[arg(long, value_name = "INST", default_value = "BTC-USDT-SWAP")]
    inst: String,
    /// The bar.
    #[arg(long, value_name = "BAR", default_value = "1m", value_parser = super::bar)]
    bar: Bar,
    /// Number of bars.
    #[arg(long, value_name = "N", default_value_t = 525_600)]
    bars: i64,
    /// First moment (UTC).
    #[arg(long, value_name = "TIME", default_value = "2025-01-01", value_parser = super::instant)]
    from: Ms,
    /// Another seed is another market.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Write over bars that are there already.
    #[arg(long)]
    replace: bool,
    /// Write a candle file (base units) instead of storing it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(global: &Global, args: &GenerateArgs) -> Result<Exit, Failure> {
    let usage = |why: String| Failure::new(Exit::Usage, why);
    if !(1..=20_000_000).contains(&args.bars) {
        return Err(usage(format!(
            "--bars must be between 1 and 20000000, is {}",
            args.bars
        )));
    }
    let market = SimMarket::new(args.seed);
    let listed = market.get(&args.inst).ok_or_else(|| {
        let all: Vec<String> = market
            .all()
            .map(|listed| listed.listing.inst.id.to_string())
            .collect();
        usage(format!(
            "the embedded exchange does not list {}; it lists {}",
            args.inst,
            all.join(", ")
        ))
    })?;
    let span = args.bar.span().0 / 1000;
    let first = args.from.floor(args.bar.span()).0 / 1000;
    let raw = listed.candles(args.bar, first, first + span * args.bars);
    let candles: Vec<Candle> = raw.iter().map(|raw| listed.candle(raw)).collect();
    let inst = &listed.listing.inst;
    let what = format!(
        "{} bars of {} {} from {}, seed {}",
        candles.len(),
        inst.id,
        args.bar,
        Ms::secs(first).iso(),
        args.seed
    );
    if let Some(path) = &args.out {
        let value = inst.contract_value;
        let rows = candles.iter().map(|c| Candle {
            volume: Qty((c.volume.0 * value).normalize()),
            ..*c
        });
        data::write_candles(path, rows)
            .map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
        output::say(format_args!("{}: {what}", path.display()));
        return Ok(Exit::Ok);
    }
    let mut research = super::research(global)?;
    let series = research.series(inst, args.bar)?;
    let (begin, end) = (Ms::secs(first), Ms::secs(first + span * args.bars));
    if !args.replace && research.has_any(&series, begin, end)? {
        let why = format!(
            "there is history of {} {} in that time already; what is made up would be mixed with it (--replace writes over it, --out \
             FILE and another --state-dir leave it alone)",
            inst.id, args.bar
        );
        return Err(Failure::new(Exit::Usage, why));
    }
    research
        .would_fit(&series, &candles)
        .map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    for batch in candles.chunks(5000) {
        research.put_with(&series, batch, OnConflict::Replace)?;
    }
    output::say(format_args!("stored {what}"));
    Ok(Exit::Ok)
}
