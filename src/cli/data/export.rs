//! `data export`: a stored series as a candle file.

use std::path::PathBuf;

use clap::Args;
use rust_decimal::Decimal;

use super::super::{Failure, Global, output};
use crate::data;
use crate::domain::InstKind;
use crate::domain::{Bar, Candle, InstId, Ms, Qty};
use crate::exit::Exit;

#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  alpha-arena data export --inst BTC-USDT-SWAP --bar 1H --from 2026-01-01 --contract-value 0.01 --out btc-1h.csv.gz\n\nA bar that is not stored is folded from the longest stored one that divides it; an hour of which a minute is\nmissing is left out."
)]
pub(in crate::cli) struct CandleExportArgs {
    /// The instrument.
    #[arg(long, value_name = "INST")]
    inst: String,
    /// The bar.
    #[arg(long, value_name = "BAR", value_parser = super::bar)]
    bar: Bar,
    /// First moment (UTC). Default: the beginning.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    from: Option<Ms>,
    /// Before this moment (UTC). Default: the end.
    #[arg(long, value_name = "TIME", value_parser = super::instant)]
    to: Option<Ms>,
    /// Base units in one contract: a swap's volumes are stored as contracts and written as base
    /// units.
    #[arg(long, value_name = "VALUE")]
    contract_value: Option<Decimal>,
    /// The file to write; .gz is written as gzip.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(global: &Global, args: &CandleExportArgs) -> Result<Exit, Failure> {
    let research = super::research(global)?;
    let inst = InstId::new(args.inst.as_str());
    let (from, to) = (
        args.from.unwrap_or(Ms::ZERO),
        args.to.unwrap_or(Ms(i64::MAX)),
    );
    let Some(series) = research.history(&inst, args.bar, from, to)? else {
        let why = format!(
            "no history of {inst} that {} can be made of; see `alpha-arena data list`",
            args.bar
        );
        return Err(Failure::new(Exit::Data, why));
    };
    let value = args.contract_value.unwrap_or(Decimal::ONE);
    let candles = series.candles().iter().map(|c| Candle {
        volume: Qty(c.volume.0 * value),
        ..*c
    });
    let count = data::write_candles(&args.out, candles)
        .map_err(|error| Failure::new(Exit::Io, error.to_string()))?;
    let gaps = series.gaps().len();
    output::say(format_args!(
        "{}: {count} rows of {inst} {}, {gaps} gaps",
        args.out.display(),
        args.bar
    ));
    if InstKind::named(&args.inst) == InstKind::Swap && args.contract_value.is_none() {
        output::say(
            "volumes are contracts; --contract-value writes base units, as `exchange --candles` reads them",
        );
    }
    Ok(Exit::Ok)
}
