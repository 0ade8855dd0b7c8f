//! Plan of a run: the market, the contenders and the rules.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::margin::Funding;
use crate::data::Columns;
use crate::domain::{Bps, ContenderId, InstKind, Instrument, Limits, Ms, WorkingPolicy};
use crate::fills::{Costs, LotSteps};
use crate::strategy::{Ohlcv, Params, Strategy, StrategySpec};

/// One instrument's history, with what trading it costs.
#[derive(Clone, Debug)]
pub struct BacktestMarket {
    /// Instrument; its tick and lot are those of the columns.
    pub instrument: Arc<Instrument>,
    pub columns: Arc<Columns>,
    pub funding: Arc<Funding>,
    pub costs: Arc<Costs>,
}

impl BacktestMarket {
    /// A bar in whole steps.
    #[inline]
    pub fn steps(&self, index: usize) -> LotSteps {
        let c = &*self.columns;
        LotSteps {
            open: c.open[index] as i64,
            high: c.high[index] as i64,
            low: c.low[index] as i64,
            close: c.close[index] as i64,
            volume: c.volume[index] as i64,
        }
    }

    /// Returns the total length of the bars, in years of 365 days.
    pub fn years(&self) -> f64 {
        self.columns.len() as f64 * self.columns.bar.span().0 as f64
            / crate::stats::performance::YEAR_MS
    }

    /// True if there are bars between two instants.
    pub fn has_bars(&self, from: Ms, to: Ms) -> bool {
        let ts = &self.columns.ts;
        ts.get(ts.partition_point(|at| *at < from.0))
            .is_some_and(|at| *at < to.0)
    }

    /// The same market between two instants.
    ///
    /// `None`: there are no bars.
    pub fn between(&self, from: Ms, to: Ms) -> Option<Self> {
        let columns = self.columns.between(from, to).checked().ok()?;
        Some(Self {
            columns: Arc::new(columns),
            ..self.clone()
        })
    }

    /// True if the instrument is held on margin.
    pub fn is_swap(&self) -> bool {
        self.instrument.kind == InstKind::Swap
    }
}

/// A contender.
#[derive(Clone, Debug)]
pub struct Contender {
    pub id: ContenderId,
    pub strategy: &'static StrategySpec,
    pub params: Params,
    /// Share of equity.
    pub weight: Decimal,
    /// Which of the markets it trades; its capital is split evenly among them.
    pub markets: Vec<usize>,
    pub execution: WorkingPolicy,
}

impl Contender {
    /// Builds a fresh instance of the contender's strategy for one of the markets.
    pub fn build(&self, market: &BacktestMarket) -> Box<dyn Strategy> {
        (self.strategy.build)(&self.params, !market.is_swap())
    }
}

/// Strategy of a contender that decides by none: an advisor speaks for it.
pub static ADVISED: StrategySpec = StrategySpec {
    name: "model",
    about: "Decides by what a model answers.",
    params: &[],
    validate: |_| Ok(()),
    build: |_, _| Box::new(Silent),
};

/// A strategy that never says anything.
struct Silent;

impl Strategy for Silent {
    fn warmup(&self) -> usize {
        0
    }
    fn on_bar(&mut self, _: &Ohlcv) {}
    fn target(&self) -> Option<Bps> {
        None
    }
    fn reason(&self, _: f64) -> String {
        String::new()
    }
    fn stop_distance(&self) -> f64 {
        0.0
    }
}

/// Rules that hold for all contenders.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Dollars there are in the beginning.
    pub cash: Decimal,
    /// Share of equity that no sleeve uses.
    pub reserve: Decimal,
    /// A change of size below this share of the slot is not worth its costs.
    pub no_trade_band: Decimal,
    /// Default stop distance of an entry whose strategy names none, as a share of its price.
    pub stop_default: Decimal,
    pub limits: Limits,
    /// Before this close nothing is decided: strategies only warm up.
    pub begin: Ms,
}
