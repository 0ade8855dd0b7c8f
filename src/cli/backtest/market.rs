//! Source of a backtest's history, and the costs of trading it.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rust_decimal::Decimal;

use super::super::{Failure, Global, data as data_cli};
use crate::backtest::BacktestMarket;
use crate::backtest::margin::Funding;
use crate::config::Config;
use crate::data::{self, Columns};
use crate::domain::{Bar, InstId, InstKind, InstState, Instrument, Ms, Price, Qty};
use crate::exchange::market::listings;
use crate::exit::Exit;
use crate::fills::{Costs, Tier};
use crate::runtime::wall_ms;
use crate::store::{Research, StateDir};

/// Which history.
#[derive(Clone, Debug, Args)]
pub(super) struct HistoryArgs {
    /// Instrument whose stored history is run on (`alpha-arena data list`); with --candles only a
    /// name that says what it is.
    #[arg(long, value_name = "INST")]
    pub inst: Option<String>,
    /// A candle file instead: ts_ms,open,high,low,close,volume in base units, plain or gzip.
    #[arg(long, value_name = "FILE")]
    pub candles: Option<PathBuf>,
    /// State directory whose history is read. Default: this one's.
    #[arg(long, value_name = "DIR")]
    pub history_dir: Option<PathBuf>,
    /// Base units in one contract, of a swap that is not listed by the embedded exchange.
    #[arg(long, value_name = "VALUE")]
    pub contract_value: Option<Decimal>,
    /// The bar. Default: that of the file, or 1m.
    #[arg(long, value_name = "BAR", value_parser = data_cli::bar)]
    pub bar: Option<Bar>,
    /// First moment (UTC). Default: the beginning.
    #[arg(long, value_name = "TIME", value_parser = data_cli::instant)]
    pub from: Option<Ms>,
    /// Before this moment (UTC). Default: the end.
    #[arg(long, value_name = "TIME", value_parser = data_cli::instant)]
    pub to: Option<Ms>,
}

/// Costs that differ from `[backtest]` in the configuration.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct CostArgs {
    /// Maker fee in basis points, for any volume.
    #[arg(long, value_name = "BPS", allow_negative_numbers = true)]
    pub maker_bps: Option<Decimal>,
    /// Taker fee in basis points, for any volume.
    #[arg(long, value_name = "BPS", allow_negative_numbers = true)]
    pub taker_bps: Option<Decimal>,
    /// Half the spread in basis points.
    #[arg(long, value_name = "BPS")]
    pub half_spread_bps: Option<Decimal>,
    /// Slippage of an order as large as the bar's volume, in basis points.
    #[arg(long, value_name = "BPS")]
    pub impact_bps: Option<Decimal>,
    /// Percent of a bar's volume that may be filled.
    #[arg(long, value_name = "PCT")]
    pub participation_pct: Option<Decimal>,
    /// Bars between a decision and its first fill, beyond the next.
    #[arg(long, value_name = "N")]
    pub latency_bars: Option<u32>,
    /// Everything that is paid, times this.
    #[arg(long, value_name = "FACTOR")]
    pub costs: Option<Decimal>,
}

impl CostArgs {
    /// Over what is configured.
    pub(super) fn over(&self, costs: &Costs) -> Result<Costs, Failure> {
        let share = |name: &str, value: Option<Decimal>, parts: i64, most: i64| match value {
            Some(value) if value.abs() > Decimal::from(most) => Err(Failure::new(
                Exit::Usage,
                format!("--{name} must be at most {most}, is {value}"),
            )),
            value => Ok(value.map(|value| value / Decimal::from(parts))),
        };
        let mut costs = costs.clone();
        let maker = share("maker-bps", self.maker_bps, 10_000, 1000)?;
        let taker = share("taker-bps", self.taker_bps, 10_000, 1000)?;
        if maker.is_some() || taker.is_some() {
            let first = costs.tier(Decimal::ZERO);
            let (maker, taker) = (maker.unwrap_or(first.maker), taker.unwrap_or(first.taker));
            costs.tiers = vec![Tier {
                volume_30d: Decimal::ZERO,
                maker,
                taker,
            }];
        }
        costs.half_spread = share("half-spread-bps", self.half_spread_bps, 10_000, 1000)?
            .unwrap_or(costs.half_spread);
        costs.impact =
            share("impact-bps", self.impact_bps, 10_000, 10_000)?.unwrap_or(costs.impact);
        costs.participation = share("participation-pct", self.participation_pct, 100, 100)?
            .unwrap_or(costs.participation);
        if costs.participation <= Decimal::ZERO
            || costs.half_spread < Decimal::ZERO
            || costs.impact < Decimal::ZERO
        {
            let why = "--participation-pct must be more than 0; spread and impact are not negative";
            return Err(Failure::new(Exit::Usage, why));
        }
        costs.latency_bars = self.latency_bars.unwrap_or(costs.latency_bars);
        Ok(match self.costs {
            Some(factor) if factor < Decimal::ZERO || factor > Decimal::ONE_HUNDRED => {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("--costs must be between 0 and 100, is {factor}"),
                ));
            }
            Some(factor) => costs.times(factor),
            None => costs,
        })
    }
}

/// Reads a market.
pub(super) fn market(
    global: &Global,
    config: &Config,
    history: &HistoryArgs,
    costs: &CostArgs,
) -> Result<BacktestMarket, Failure> {
    let (instrument, columns, funding) = match (&history.candles, &history.inst) {
        (Some(_), _) => from_file(history)?,
        (None, Some(inst)) => from_store(global, config, inst, history)?,
        (None, None) => {
            let why = "no history: give --inst of a stored series (`alpha-arena data list`), or --candles FILE";
            return Err(Failure::new(Exit::Usage, why));
        }
    };
    let factor = costs.costs.unwrap_or(Decimal::ONE);
    let costs = costs.over(config.backtest.costs(instrument.kind))?;
    let history = funding
        .into_iter()
        .map(|(at, rate)| (at, rate * factor))
        .collect();
    let funding = Funding {
        history,
        otherwise: costs.funding,
    };
    Ok(BacktestMarket {
        instrument: Arc::new(instrument),
        columns: Arc::new(columns),
        funding: Arc::new(funding),
        costs: Arc::new(costs),
    })
}

type Found = (Instrument, Columns, Vec<(i64, Decimal)>);

/// The rules of an instrument that is listed, or of one that is only known by its history.
fn listed(inst: &str) -> Option<Instrument> {
    listings()
        .into_iter()
        .map(|listing| listing.inst)
        .find(|listed| listed.id.as_str() == inst)
}

fn unlisted(
    inst: &str,
    tick: Decimal,
    contract_value: Option<Decimal>,
) -> Result<Instrument, Failure> {
    if InstKind::named(inst) == InstKind::Swap && contract_value.is_none() {
        let why = format!(
            "{inst} is not among the embedded exchange's instruments, so what one contract is worth is not known; say it with \
             --contract-value (the venue's ctVal × ctMult)"
        );
        return Err(Failure::new(Exit::Usage, why));
    }
    let contract_value = contract_value.unwrap_or(Decimal::ONE);
    if contract_value <= Decimal::ZERO {
        return Err(Failure::new(
            Exit::Usage,
            "--contract-value must be positive",
        ));
    }
    let mut names = inst.split('-');
    let kind = InstKind::named(inst);
    let lot = Decimal::new(1, 6);
    Ok(Instrument {
        id: InstId::new(inst),
        kind,
        base: names.next().unwrap_or("COIN").to_owned(),
        quote: names.next().unwrap_or("USDT").to_owned(),
        tick: Price(tick),
        lot: Qty(lot),
        min_size: Qty(lot),
        max_limit_size: Qty(Decimal::from(1_000_000_000)),
        max_market_size: Qty(Decimal::from(1_000_000_000)),
        contract_value,
        max_leverage: if kind == InstKind::Swap {
            Decimal::from(50)
        } else {
            Decimal::ONE
        },
        code: None,
        state: InstState::Live,
    })
}

fn from_file(history: &HistoryArgs) -> Result<Found, Failure> {
    let path = history.candles.as_ref().expect("asked for a file");
    let data = |why: String| Failure::new(Exit::Data, why);
    let read = data::read_candles(path).map_err(|error| match error {
        data::FileError::Io { .. } => Failure::new(Exit::Usage, error.to_string()),
        _ => data(error.to_string()),
    })?;
    let shown = path.display();
    let bar = data::infer_bar(&read.rows)
        .ok_or_else(|| data(format!("{shown}: the rows are no known bar apart")))?;
    let broken = |f: &&data::CandleFinding| !matches!(f.fault, data::CandleFault::Gap { .. });
    let findings = data::check(&read.rows, bar);
    if let Some(first) = read
        .unreadable
        .iter()
        .chain(findings.iter().filter(broken))
        .next()
    {
        let why = format!("line {}: {}", first.line, first.fault);
        return Err(data(format!(
            "{shown}: {why}; see `alpha-arena data check`, or import it with --repair"
        )));
    }
    let candles: Vec<_> = read.rows.iter().map(|row| row.candle).collect();
    let finest = candles
        .iter()
        .flat_map(|c| [c.open, c.high, c.low, c.close])
        .map(|p| p.0.normalize().scale())
        .max();
    let finest = Decimal::new(1, finest.unwrap_or(0));
    let name = history.inst.as_deref().unwrap_or("COIN-USDT");
    let mut inst = match listed(name) {
        Some(listed) => listed,
        None => unlisted(name, finest, history.contract_value)?,
    };
    // Files are in base units, swaps trade in contracts.
    let value = inst.contract_value;
    let candles: Vec<_> = candles
        .into_iter()
        .map(|c| crate::domain::Candle {
            volume: Qty(c.volume.0 / value),
            ..c
        })
        .collect();
    let fits = |tick: Decimal| {
        candles.iter().all(|c| {
            [c.open, c.high, c.low, c.close]
                .iter()
                .all(|p| (p.0 % tick).is_zero())
        })
    };
    if !fits(inst.tick.0) {
        inst.tick = Price(finest);
    }
    let series = crate::domain::Series::new(bar, candles);
    let wanted = history.bar.unwrap_or(bar);
    let series = data::in_bars_of(&series, wanted).ok_or_else(|| {
        data(format!(
            "{shown}: {wanted} cannot be made of its bars of {bar}"
        ))
    })?;
    let columns = Columns::of(wanted, series.candles(), inst.tick.0, inst.lot.0)
        .map_err(|e| data(format!("{shown}: {e}")))?;
    let columns = cut(columns, history)?;
    Ok((inst, columns, Vec::new()))
}

fn from_store(
    global: &Global,
    config: &Config,
    name: &str,
    history: &HistoryArgs,
) -> Result<Found, Failure> {
    let dir = history
        .history_dir
        .clone()
        .unwrap_or_else(|| global.state_dir(config));
    let none = |bar: Bar| {
        let why = format!(
            "no history of {name} {bar} in {}; see `alpha-arena data list`, get it with `alpha-arena data download` or `data import`",
            dir.display()
        );
        Failure::new(Exit::Data, why)
    };
    let bar = history.bar.unwrap_or(Bar::M1);
    if !StateDir::research_db(&dir).exists() {
        return Err(none(bar));
    }
    let research = match &history.history_dir {
        Some(theirs) => Research::open_read_only(theirs)?,
        None => Research::open(&dir, wall_ms())?,
    };
    let id = InstId::new(name);
    let mut inst = match listed(name) {
        Some(listed) => listed,
        None => unlisted(name, Decimal::new(1, 2), history.contract_value)?,
    };
    let range = (
        history.from.unwrap_or(Ms::ZERO),
        history.to.unwrap_or(Ms(i64::MAX)),
    );
    // Of the stored series the one that covers most: a few bars of this size do not hide a year of
    // shorter ones.
    let direct = match research.best_series(&id, bar, range.0, range.1)? {
        Some(series) if series.bar == bar => {
            research.columns(&series, range, (inst.tick.0, inst.lot.0))?
        }
        Some(_) | None => None,
    };
    let columns = match direct {
        Some(columns) => columns,
        None => {
            let series = research
                .history(&id, bar, range.0, range.1)?
                .ok_or_else(|| none(bar))?;
            let fold = |tick: Decimal| Columns::of(bar, series.candles(), tick, inst.lot.0);
            let finest = series
                .candles()
                .iter()
                .map(|c| c.close.0.normalize().scale())
                .max()
                .unwrap_or(0);
            let made = fold(inst.tick.0).or_else(|_| fold(Decimal::new(1, finest.max(8))));
            made.map_err(|error| Failure::new(Exit::Data, error.to_string()))?
        }
    };
    inst.tick = Price(columns.tick);
    let first = Ms(columns.ts[0]);
    let last = columns.closes(columns.len() - 1);
    let rates = research.funding(&id, first, last.plus(Ms(1)))?;
    Ok((
        inst,
        columns,
        rates.into_iter().map(|(at, rate)| (at.0, rate)).collect(),
    ))
}

fn cut(columns: Columns, history: &HistoryArgs) -> Result<Columns, Failure> {
    if history.from.is_none() && history.to.is_none() {
        return Ok(columns);
    }
    let part = columns.between(
        history.from.unwrap_or(Ms::ZERO),
        history.to.unwrap_or(Ms(i64::MAX)),
    );
    part.checked()
        .map_err(|_| Failure::new(Exit::Data, "no bars between --from and --to"))
}
