//! Candle files as the market of the exchange: read, judged, and put into whole ticks and lots.

use std::io;
use std::path::PathBuf;

use rust_decimal::Decimal;

use super::market::{Listing, RawCandle, RecordedMarket, SimMarket, listings};
use crate::data;
use crate::domain::{Bar, InstKind, Ms};

/// A file and the instrument it is the history of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandleFile {
    pub inst: String,
    pub path: PathBuf,
}

/// Instrument assumed for a candle file that names none.
pub const DEFAULT_INST: &str = "BTC-USDT-SWAP";

/// Bars that lie before the venue's clock starts, so that clients find a history.
const WARM_UP: i64 = 300;

impl std::str::FromStr for CandleFile {
    type Err = std::convert::Infallible;
    /// `FILE` or `INSTRUMENT=FILE`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = text
            .split_once('=')
            .filter(|(inst, _)| !inst.contains('/') && inst.contains('-'));
        let (inst, path) = named.unwrap_or((DEFAULT_INST, text));
        Ok(Self {
            inst: inst.to_owned(),
            path: path.into(),
        })
    }
}

/// Reads every file; a broken one is refused with its first faults, by line.
pub(super) fn market(seed: u64, files: &[CandleFile]) -> io::Result<SimMarket> {
    let mut recordings = Vec::new();
    for file in files {
        let known = listings()
            .into_iter()
            .find(|listing| listing.inst.id.as_str() == file.inst);
        let listing = known.ok_or_else(|| {
            let names: Vec<String> = listings().iter().map(|l| l.inst.id.to_string()).collect();
            invalid(format!(
                "{} is not listed; recordings may play {}",
                file.inst,
                names.join(", ")
            ))
        })?;
        if recordings
            .iter()
            .any(|(of, _): &(Listing, RecordedMarket)| of.inst.id == listing.inst.id)
        {
            return Err(invalid(format!(
                "two candle files for {}; join them into one",
                file.inst
            )));
        }
        recordings.push(read(file, listing)?);
    }
    let market = SimMarket::recorded(seed, recordings);
    match market.range() {
        Some((first, end)) if first >= end => {
            Err(invalid("the candle files have no time in common".into()))
        }
        _ => Ok(market),
    }
}

fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn read(file: &CandleFile, listing: Listing) -> io::Result<(Listing, RecordedMarket)> {
    let read = data::read_candles(&file.path).map_err(|error| invalid(error.to_string()))?;
    let (rows, name) = (read.rows, file.path.display());
    let bar = data::infer_bar(&rows).filter(|bar| *bar >= Bar::M1);
    let bar = bar.ok_or_else(|| {
        invalid(format!(
            "{name}: the rows are not a minute or another known bar apart"
        ))
    })?;
    let findings = data::check(&rows, bar);
    let faults = findings
        .iter()
        .filter(|f| !matches!(f.fault, data::CandleFault::Gap { .. }));
    let faults: Vec<_> = read.unreadable.iter().chain(faults).collect();
    if !faults.is_empty() {
        let first: Vec<String> = faults
            .iter()
            .take(3)
            .map(|f| format!("line {}: {}", f.line, f.fault))
            .collect();
        let more = if faults.len() > 3 {
            format!(" and {} more", faults.len() - 3)
        } else {
            String::new()
        };
        return Err(invalid(format!(
            "{name}: {}{more}; see `alpha-arena data check {name}`",
            first.join("; ")
        )));
    }
    let missing: i64 = findings
        .iter()
        .map(|f| {
            if let data::CandleFault::Gap { missing } = f.fault {
                missing
            } else {
                0
            }
        })
        .sum();
    if missing > 0 {
        tracing::warn!(event = "recording_gaps", file = %name, missing, "missing bars are played flat at the last close");
    }
    let listing = fitted(listing, &rows);
    let bars = rows.iter().map(|row| {
        in_steps(row, &listing).map_err(|why| invalid(format!("{name}, line {}: {why}", row.line)))
    });
    let bars = bars.collect::<io::Result<Vec<_>>>()?;
    let recording =
        RecordedMarket::new(bar, bars).ok_or_else(|| invalid(format!("{name}: no rows")))?;
    Ok((listing, recording))
}

/// The listing with a tick that every price of the recording lies on: its own, or the finest
/// decimal the file uses. The spread stays what it was in money.
fn fitted(mut listing: Listing, rows: &[data::Row]) -> Listing {
    let prices = || {
        rows.iter().flat_map(|r| {
            [
                r.candle.open.0,
                r.candle.high.0,
                r.candle.low.0,
                r.candle.close.0,
            ]
        })
    };
    let tick = listing.inst.tick.0;
    if prices().all(|price| (price % tick).is_zero()) {
        return listing;
    }
    let finest = Decimal::new(
        1,
        prices()
            .map(|price| price.normalize().scale())
            .max()
            .unwrap_or(0),
    )
    .min(tick);
    let finer = i64::try_from((tick / finest).trunc()).unwrap_or(1).max(1);
    listing.inst.tick = crate::domain::Price(finest);
    listing.spread *= finer;
    listing.tick_f64 /= finer as f64;
    listing
}

/// Prices must lie on the tick. Volume is base units in the file and whole lots here, rounded down.
fn in_steps(row: &data::Row, listing: &Listing) -> Result<RawCandle, String> {
    let (c, inst) = (&row.candle, &listing.inst);
    let ticks = |price: Decimal| {
        let ticks = price / inst.tick.0;
        if ticks.fract().is_zero() {
            i64::try_from(ticks).map_err(|_| format!("price {price} is out of range"))
        } else {
            Err(format!(
                "price {price} is not a multiple of {}'s tick {}",
                inst.id, inst.tick
            ))
        }
    };
    let per_lot = if inst.kind == InstKind::Swap {
        inst.contract_value * inst.lot.0
    } else {
        inst.lot.0
    };
    let lots = (c.volume.0 / per_lot).trunc();
    Ok(RawCandle {
        second: c.ts.0.div_euclid(1000),
        open: ticks(c.open.0)?,
        high: ticks(c.high.0)?,
        low: ticks(c.low.0)?,
        close: ticks(c.close.0)?,
        lots: i64::try_from(lots).map_err(|_| format!("volume {} is out of range", c.volume))?,
    })
}

/// Venue time at which a recorded market starts to be played: after enough bars for a history, but
/// never after its middle.
pub(super) fn first_moment(market: &SimMarket) -> Option<Ms> {
    let (first, end) = market.range()?;
    Some(Ms::secs(
        (first + WARM_UP * market.recorded_span()).min(first + (end - first) / 2),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_name_its_instrument() {
        let parse = |text: &str| text.parse::<CandleFile>().unwrap();
        assert_eq!(parse("a/b.csv").inst, DEFAULT_INST);
        assert_eq!(parse("ETH-USDT=a/b.csv").inst, "ETH-USDT");
        assert_eq!(
            parse("/odd=name/x.csv").path,
            PathBuf::from("/odd=name/x.csv")
        );
    }

    fn start(text: &str) -> io::Result<SimMarket> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.csv");
        std::fs::write(&path, format!("ts_ms,open,high,low,close,volume\n{text}")).unwrap();
        market(
            1,
            &[CandleFile {
                inst: DEFAULT_INST.into(),
                path,
            }],
        )
    }

    /// Volume in coins is converted to contracts; prices stay the same.
    #[test]
    fn recorded_volume_becomes_contracts() {
        let market =
            start("60000,100,101,99.5,100.1,49.6025\n120000,100.1,102,100,101,1\n").unwrap();
        let listed = market.get(DEFAULT_INST).unwrap();
        let bar = listed.candle(&listed.candles(Bar::M1, 60, 120)[0]);
        assert_eq!(
            (
                bar.low.to_string().as_str(),
                bar.volume.to_string().as_str()
            ),
            ("99.5", "4960.25")
        );
    }

    /// A file from which no bar length can be told is refused too.
    #[test]
    fn broken_recording_names_its_line() {
        let why = |text: &str| start(text).unwrap_err().to_string();
        assert!(
            why("60000,1,1,1,1,1\n120000,1,1,2,1,1\n")
                .contains("line 3: impossible: high is below low")
        );
        assert!(why("60000,1,1,1,1,1\n").contains("a minute or another known bar apart"));
    }

    /// Prices with more decimals than the listing get a smaller tick; the spread stays at least a
    /// dollar.
    #[test]
    fn finer_recording_refines_the_tick() {
        let market = start("60000,100,101,99.5,100.125,1\n120000,100,102,100,101,1\n").unwrap();
        let listed = market.get(DEFAULT_INST).unwrap();
        assert_eq!(listed.listing.inst.tick.to_string(), "0.001");
        assert_eq!(
            listed
                .candle(&listed.candles(Bar::M1, 60, 120)[0])
                .close
                .to_string(),
            "100.125"
        );
        let book = listed.book(60, 0);
        assert!(
            book.asks[0].price - book.bids[0].price >= Decimal::ONE,
            "the spread stays a dollar"
        );
    }
}
