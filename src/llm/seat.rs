//! One arm's memory: what it plans, what it has spent, when it was asked; and what follows from a bar for it. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rust_decimal::Decimal;

use super::budget::Spent;
use super::plan::{Plan, timeframe};
use super::prompt::{Arm, ClosedTrade, atr, mark};
use crate::domain::model::{ModelMemory, ModelTrade};
use crate::domain::record::Proposal;
use crate::domain::{Bar, Bps, InstId, MarketView, Ms, OrdersView, Price};

/// Own trades that are shown again.
const SHOWN_TRADES: usize = 10;
/// Venue time after which an idea that nothing was bought on is forgotten.
const UNFILLED: Ms = Ms::secs(60);

/// When an arm is asked besides the close of its bars.
#[derive(Clone, Debug)]
pub struct Cadence {
    /// Asked at each so many closes of its bar.
    pub every_bars: i64,
    /// The mark has moved so many average true ranges since it was asked; zero: never.
    pub material_atr: Decimal,
    /// Never sooner than this after it was asked last.
    pub least: Ms,
}

/// What an arm remembers.
#[derive(Clone, Debug, Default)]
pub struct Seat {
    pub spent: Spent,
    pub plans: BTreeMap<InstId, Plan>,
    pub history: Vec<ClosedTrade>,
    opens: Vec<Ms>,
    /// Instruments whose plan has been seen to hold something.
    entered: BTreeSet<InstId>,
    /// Why the daemon takes it out, until it is out.
    leaving: BTreeMap<InstId, String>,
    /// When it was asked last, and the mark then; by instrument, or of all.
    asked: BTreeMap<InstId, (Ms, Option<Price>)>,
    pub last_decision: Option<Ms>,
    /// Still to be asked at this instant.
    pub waiting: VecDeque<(Option<InstId>, String)>,
    /// A question is on its way.
    pub busy: bool,
    /// Why it is not asked any more until a restart.
    pub disabled: Option<String>,
}

impl Seat {
    /// What the database remembers of an arm.
    pub fn of(arm: &Arm, memory: &ModelMemory) -> Self {
        let plans = memory.plans.iter().filter_map(|text| serde_json::from_str::<Plan>(text).ok());
        let spent = memory.spent.iter().find(|row| row.contender == arm.id);
        Self {
            spent: spent.map_or_else(Spent::default, |row| Spent {
                day: row.day,
                calls: row.calls,
                tokens: row.tokens,
                cost_usd: row.cost_usd,
            }),
            plans: plans.filter(|plan| plan.contender == arm.id).map(|plan| (plan.inst.clone(), plan)).collect(),
            history: memory.trades.iter().filter(|trade| trade.contender == arm.id).map(shown).collect(),
            opens: memory.opens.iter().filter(|(who, _)| *who == arm.id).map(|(_, at)| *at).collect(),
            ..Self::default()
        }
    }

    /// Positions it has opened on this UTC day.
    pub fn opens_today(&self, now: Ms) -> u32 {
        let today = self.opens.iter().filter(|at| at.utc_day() == now.utc_day()).count();
        u32::try_from(today).unwrap_or(u32::MAX)
    }

    /// A plan holds from now on; `opens`: nothing is held of it yet.
    pub fn adopt(&mut self, plan: Plan, opens: bool) {
        if opens {
            self.entered.remove(&plan.inst);
        }
        self.leaving.remove(&plan.inst);
        self.plans.insert(plan.inst.clone(), plan);
    }

    /// Ideas that are over: what was held is not any more.
    pub fn ended(&mut self, arm: &Arm, market: &MarketView, orders: &OrdersView, now: Ms) -> Vec<ModelTrade> {
        let mut out = Vec::new();
        let plans: Vec<Plan> = self.plans.values().cloned().collect();
        for plan in plans {
            let key = (arm.id.clone(), plan.inst.clone());
            let holds = orders.holdings.get(&key).is_some_and(|held| !held.qty.is_zero());
            if holds {
                if self.entered.insert(plan.inst.clone()) && !self.opens.contains(&plan.opened) {
                    self.opens.retain(|at| at.utc_day() == now.utc_day());
                    self.opens.push(plan.opened);
                }
                continue;
            }
            let working = orders.open.values().any(|order| order.contender == arm.id && order.inst == plan.inst);
            let entered = self.entered.contains(&plan.inst);
            if working || (!entered && now.since(plan.opened) < UNFILLED) {
                continue;
            }
            self.plans.remove(&plan.inst);
            self.entered.remove(&plan.inst);
            let left = self.leaving.remove(&plan.inst);
            if !entered {
                continue;
            }
            let price = mark(market, &plan.inst);
            let stopped = price.is_some_and(|px| if plan.long { px <= plan.stop } else { px >= plan.stop });
            let reason = left.unwrap_or_else(|| if stopped { "stop".to_owned() } else { "closed".to_owned() });
            let at = if stopped { Some(plan.stop) } else { price };
            let trade = ModelTrade {
                run_id: plan.run_id,
                contender: arm.id.clone(),
                inst: plan.inst.clone(),
                r_multiple: at.and_then(|px| plan.r_at(px)),
                held_min: now.since(plan.opened).0 / 60_000,
                reason,
                at: now,
            };
            self.history.push(shown(&trade));
            let extra = self.history.len().saturating_sub(SHOWN_TRADES);
            self.history.drain(..extra);
            out.push(trade);
        }
        out
    }

    /// What is to be left now, without asking: a target that was reached, an idea that has turned out wrong.
    pub fn exits(&mut self, arm: &Arm, base: Bar, market: &MarketView, orders: &OrdersView) -> Vec<Proposal> {
        let mut out = Vec::new();
        for plan in self.plans.values() {
            let key = (arm.id.clone(), plan.inst.clone());
            let held = orders.holdings.get(&key).is_some_and(|held| !held.qty.is_zero());
            let Some(shown) = market.insts.get(&plan.inst).filter(|_| held) else { continue };
            // Bars that had begun before the idea was acted on say nothing about it.
            let Some(last) = shown.history(base).last().filter(|bar| bar.ts >= plan.opened) else { continue };
            let history = |name: &str| {
                let bar = timeframe(name, shown.series.keys().copied())?;
                let candles = shown.history(bar);
                candles.last().filter(|c| c.ts.plus(bar.span()) > plan.opened).map(|_| candles.to_vec())
            };
            let why = self.leaving.get(&plan.inst).cloned().or_else(|| plan.exit(last, history));
            let Some(why) = why else { continue };
            self.leaving.insert(plan.inst.clone(), why.clone());
            out.push(Proposal {
                contender: arm.id.clone(),
                inst: plan.inst.clone(),
                target: Some(Bps(0)),
                stop: None,
                reason: why,
            });
        }
        out
    }

    /// Whom to ask at this close, and why: by the bar, or because much has changed. `single`: each instrument for itself.
    pub fn due(
        &mut self,
        arm: &Arm,
        cadence: &Cadence,
        close: Ms,
        market: &MarketView,
        single: bool,
    ) -> Vec<(Option<InstId>, String)> {
        let bar_closed = close.floor(arm.bar.span()) == close && (close.0 / arm.bar.span().0) % cadence.every_bars == 0;
        let subjects: Vec<Option<InstId>> =
            if single { arm.instruments.iter().cloned().map(Some).collect() } else { vec![None] };
        let mut out = Vec::new();
        for subject in subjects {
            let key = subject.clone().unwrap_or_else(|| InstId::new(""));
            let last = self.asked.get(&key).copied();
            if last.is_some_and(|(at, _)| close.since(at) < cadence.least) {
                continue;
            }
            if bar_closed {
                out.push((subject, "bar".to_owned()));
                continue;
            }
            let Some((_, Some(then))) = last.filter(|_| cadence.material_atr > Decimal::ZERO) else { continue };
            let watched = subject.clone().or_else(|| arm.instruments.first().cloned());
            let moved = watched.as_ref().and_then(|inst| {
                let range = atr(market.insts.get(inst)?.history(arm.bar))?;
                Some((mark(market, inst)?.0 - then.0).abs() / range)
            });
            if let Some(moved) = moved.filter(|moved| *moved >= cadence.material_atr) {
                out.push((subject, format!("moved {} average true ranges", moved.round_dp(1).normalize())));
            }
        }
        out
    }

    /// Notes that it is asked now.
    pub fn note_asked(&mut self, arm: &Arm, subject: Option<&InstId>, market: &MarketView, now: Ms) {
        let watched = subject.or_else(|| arm.instruments.first());
        let price = watched.and_then(|inst| mark(market, inst));
        let key = subject.cloned().unwrap_or_else(|| InstId::new(""));
        self.asked.insert(key, (now, price));
    }

    /// Does it hold anything of what it would be asked about?
    pub fn holds(&self, arm: &Arm, subject: Option<&InstId>, orders: &OrdersView) -> bool {
        orders
            .holdings
            .iter()
            .any(|((who, inst), held)| *who == arm.id && !held.qty.is_zero() && subject.is_none_or(|only| only == inst))
    }
}

fn shown(trade: &ModelTrade) -> ClosedTrade {
    ClosedTrade {
        symbol: trade.inst.clone(),
        r_multiple: trade.r_multiple,
        held_min: trade.held_min,
        exit_reason: trade.reason.clone(),
    }
}
