//! Worlds for the engines' tests: markets made of a few bars or of chance, and a strategy that does
//! as it is told.

pub(super) mod agree;
mod scenes;

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;

use super::margin::Funding;
use super::{BacktestMarket, Contender, Rules};
use crate::data::Columns;
use crate::domain::instrument::tests::swap;
use crate::domain::{Bar, Bps, InstKind, Instrument, Limits, Ms, Price, Qty, WorkingPolicy};
use crate::fills::Costs;
use crate::strategy::{Ohlcv, Params, Strategy, StrategySpec};

/// Wants at each bar what its parameters say: `t0`, `t1` … in percent of its slot; where one is
/// missing, what it wanted before.
static SCRIPT: StrategySpec = StrategySpec {
    name: "script",
    about: "Does as it is told.",
    params: &[],
    validate: |_| Ok(()),
    build: |params, _| {
        Box::new(Script {
            params: params.clone(),
            seen: 0,
            wants: None,
        })
    },
};

struct Script {
    params: Params,
    seen: usize,
    wants: Option<f64>,
}

impl Strategy for Script {
    fn warmup(&self) -> usize {
        0
    }
    fn on_bar(&mut self, _: &Ohlcv) {
        self.wants = self
            .params
            .get(&format!("t{}", self.seen))
            .copied()
            .or(self.wants);
        self.seen += 1;
    }
    fn target(&self) -> Option<Bps> {
        self.wants
            .map(|percent| Bps((percent * 100.0).round() as i32))
    }
    fn reason(&self, _: f64) -> String {
        "told".into()
    }
    fn stop_distance(&self) -> f64 {
        self.params.get("stop_pct").copied().unwrap_or_default() / 100.0
    }
}

/// A swap with ticks of 0.1, lots of 0.1 contracts of 0.1 coin, so that a lot gains 0.001 by a
/// tick; or the same as coins.
fn instrument(kind: InstKind) -> Instrument {
    let (lot, contract) = match kind {
        InstKind::Swap => (Decimal::new(1, 1), Decimal::new(1, 1)),
        InstKind::Spot => (Decimal::new(1, 2), Decimal::ONE),
    };
    let min_size = Qty(lot * Decimal::TWO);
    Instrument {
        kind,
        tick: Price(Decimal::new(1, 1)),
        lot: Qty(lot),
        min_size,
        contract_value: contract,
        ..swap()
    }
}

/// Minutes of (open, high, low, close, volume) in ticks and lots, the first at `start`.
pub(super) fn market(kind: InstKind, start: Ms, bars: &[[i64; 5]], costs: Costs) -> BacktestMarket {
    let inst = instrument(kind);
    let mut columns = Columns::empty(Bar::M1, inst.tick.0, inst.lot.0, bars.len());
    for (i, bar) in bars.iter().enumerate() {
        columns.ts.push(start.0 + i as i64 * 60_000);
        columns.open.push(bar[0] as f64);
        columns.high.push(bar[1] as f64);
        columns.low.push(bar[2] as f64);
        columns.close.push(bar[3] as f64);
        columns.volume.push(bar[4] as f64);
    }
    let otherwise = if kind == InstKind::Swap {
        costs.funding
    } else {
        Decimal::ZERO
    };
    BacktestMarket {
        instrument: Arc::new(inst),
        columns: Arc::new(columns.checked().unwrap()),
        funding: Arc::new(Funding {
            history: Vec::new(),
            otherwise,
        }),
        costs: Arc::new(costs),
    }
}

pub(super) fn contender(wants: impl IntoIterator<Item = (usize, f64)>, stop_pct: f64) -> Contender {
    let mut params: Params = wants
        .into_iter()
        .map(|(bar, percent)| (format!("t{bar}"), percent))
        .collect();
    params.insert("stop_pct".into(), stop_pct);
    Contender {
        id: "told".into(),
        strategy: &SCRIPT,
        params,
        weight: Decimal::ONE,
        markets: vec![0],
        execution: WorkingPolicy::Market { slippage: None },
    }
}

pub(super) fn rules(cash: i64) -> Rules {
    Rules {
        cash: Decimal::from(cash),
        reserve: Decimal::ZERO,
        no_trade_band: Decimal::new(1, 2),
        stop_default: Decimal::new(5, 1),
        limits: Limits::widest(),
        begin: Ms::ZERO,
    }
}

/// By code, how often.
fn counts<N>(outcome: &super::RunOutcome<N>) -> BTreeMap<String, u64> {
    outcome
        .blocks
        .iter()
        .map(|(code, block)| (code.clone(), block.count))
        .collect()
}
