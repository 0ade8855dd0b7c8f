//! One profile's memory: what it plans, what it has spent, when it was asked; and what follows from a
//! bar for it. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use rust_decimal::Decimal;

use super::budget::Spent;
use super::plan::{TradePlan, held, timeframe, works};
use super::prompt::{ClosedTrade, ModelProfile, mark};
use super::series::atr;
use crate::domain::model::{ModelMemory, ModelTrade};
use crate::domain::record::Proposal;
use crate::domain::{Bar, Bps, ContenderId, InstId, MarketView, Ms, OrdersView, Price, Purpose};

/// Own trades that are shown again.
const SHOWN_TRADES: usize = 10;
/// Venue time after which an idea that nothing was bought on is forgotten.
const UNFILLED: Ms = Ms::secs(60);

/// Venue time between two attempts to leave.
const AGAIN: Ms = Ms::secs(5);

/// When an profile is asked besides the close of its bars.
#[derive(Clone, Debug)]
pub struct Cadence {
    /// Asked at each so many closes of its bar.
    pub every_bars: i64,
    /// The mark has moved so many average true ranges since it was asked; zero: never.
    pub material_atr: Decimal,
    /// Never sooner than this after it was asked last.
    pub least: Ms,
}

/// Memory of one profile.
#[derive(Clone, Debug, Default)]
pub struct ModelState {
    /// Shared with the question on its way: what it reserves stays spent whatever becomes of the
    /// runner.
    pub spent: Arc<Mutex<Spent>>,
    pub plans: BTreeMap<InstId, TradePlan>,
    pub history: Vec<ClosedTrade>,
    /// Instruments the profile has opened, and when.
    opens: Vec<(InstId, Ms)>,
    /// Instruments whose plan has been seen to hold something.
    entered: BTreeSet<InstId>,
    /// When the daemon last tried to take it out.
    tried: BTreeMap<InstId, Ms>,
    /// Close of the last bar of each size that was looked at for an exit; nothing after a start:
    /// then all since it was opened are. Each size for itself: a longer bar may come after the
    /// shorter one that closes with it.
    watched: BTreeMap<(InstId, Bar), Ms>,
    /// Those whose leaving has been written down.
    told: BTreeSet<InstId>,
    /// When it was asked last, by what it was asked about, and the marks then.
    asked: BTreeMap<Option<InstId>, (Ms, BTreeMap<InstId, Price>)>,
    pub last_decision: Option<Ms>,
    /// Still to be asked at this instant.
    pub waiting: VecDeque<(Option<InstId>, String)>,
    /// A question is on its way.
    pub busy: bool,
    /// Why it was not asked last.
    pub not_asked: Option<String>,
    /// Questions in a row that its server would not take in any way of asking.
    pub rejected: u32,
    /// Why it is not asked any more until a restart.
    pub disabled: Option<String>,
}

impl ModelState {
    /// Restores what the database remembers of an profile.
    pub fn of(who: &ContenderId, memory: &ModelMemory, plans: &[TradePlan]) -> Self {
        let spent = memory.spent.iter().find(|row| row.contender == *who);
        Self {
            spent: Arc::new(Mutex::new(spent.map_or_else(Spent::default, |row| Spent {
                day: row.day,
                calls: row.calls,
                tokens: row.tokens,
                cost_usd: row.cost_usd,
            }))),
            told: plans
                .iter()
                .filter(|plan| plan.contender == *who && plan.leaving.is_some())
                .map(|plan| plan.inst.clone())
                .collect(),
            plans: plans
                .iter()
                .filter(|plan| plan.contender == *who)
                .map(|plan| (plan.inst.clone(), plan.clone()))
                .collect(),
            history: memory
                .trades
                .iter()
                .filter(|trade| trade.contender == *who)
                .map(shown)
                .collect(),
            opens: memory
                .opens
                .iter()
                .filter(|(of, ..)| of == who)
                .map(|(_, inst, at)| (inst.clone(), *at))
                .collect(),
            ..Self::default()
        }
    }

    /// Clears questions in flight or waiting: whoever asked is gone.
    pub fn begin(&mut self) {
        self.busy = false;
        self.waiting.clear();
    }

    /// Returns what has been spent on this UTC day.
    pub fn spent(&self, now: Ms) -> Spent {
        self.spent
            .lock()
            .expect("nobody panics while counting")
            .on(now)
    }

    /// Positions it has opened on this UTC day: those that a bar has seen, and those that have been
    /// filled since.
    pub fn opens_today(
        &self,
        profile: &ModelProfile,
        market: &MarketView,
        orders: &OrdersView,
        now: Ms,
    ) -> u32 {
        let is_today = |at: &Ms| at.utc_day() == now.utc_day();
        let seen = self.opens.iter().filter(|(_, at)| is_today(at)).count();
        let fresh = self.plans.values().filter(|plan| {
            let known = self
                .opens
                .iter()
                .any(|(inst, at)| *inst == plan.inst && *at == plan.opened);
            !known
                && is_today(&plan.opened)
                && !held(orders, market, &profile.id, &plan.inst).is_zero()
        });
        u32::try_from(seen + fresh.count()).unwrap_or(u32::MAX)
    }

    /// A plan holds from now on, and is written down with the answer; `opens`: nothing is held of
    /// it yet.
    pub fn adopt(&mut self, plan: TradePlan, opens: bool, now: Ms) {
        if opens {
            self.entered.remove(&plan.inst);
        }
        if plan.leaving.is_some() {
            self.told.insert(plan.inst.clone());
            self.tried.insert(plan.inst.clone(), now);
        }
        self.plans.insert(plan.inst.clone(), plan);
    }

    /// Plans that the daemon has begun to leave since it was asked last: to be written down, so
    /// that another process goes on.
    pub fn leaving(&mut self) -> Vec<TradePlan> {
        let begun: Vec<TradePlan> = self
            .plans
            .values()
            .filter(|p| p.leaving.is_some() && !self.told.contains(&p.inst))
            .cloned()
            .collect();
        self.told = self
            .plans
            .values()
            .filter(|p| p.leaving.is_some())
            .map(|p| p.inst.clone())
            .collect();
        begun
    }

    /// Ideas that are over: what was held is not any more.
    pub fn ended(
        &mut self,
        who: &ContenderId,
        market: &MarketView,
        orders: &OrdersView,
        now: Ms,
    ) -> Vec<ModelTrade> {
        let mut out = Vec::new();
        let insts: Vec<InstId> = self.plans.keys().cloned().collect();
        for inst in insts {
            let plan = self.plans.get_mut(&inst).expect("its key");
            let key = (who.clone(), inst.clone());
            let holds = !held(orders, market, who, &inst).is_zero();
            let over = orders
                .tally
                .of(who, &inst)
                .and_then(|counts| counts.last_over);
            let over = over.filter(|over| !holds && over.at >= plan.opened);
            // An entry that was filled leaves a guard, and its end a count, even if all of it is
            // gone before the next bar or while nobody was here.
            let guarded = orders
                .guards
                .get(&key)
                .is_some_and(|guard| guard.run_id == plan.run_id);
            let bought = holds || over.is_some() || guarded;
            if bought && self.entered.insert(inst.clone()) {
                if !self
                    .opens
                    .iter()
                    .any(|(of, at)| *of == inst && *at == plan.opened)
                {
                    self.opens.retain(|(_, at)| at.utc_day() == now.utc_day());
                    self.opens.push((inst.clone(), plan.opened));
                }
                let average = orders
                    .holdings
                    .get(&key)
                    .map(|held| held.average)
                    .filter(|price| *price > Price::ZERO);
                plan.entry = average.filter(|_| holds).unwrap_or(plan.entry);
            }
            let entered = self.entered.contains(&inst);
            if holds || works(orders, who, &inst) || (!entered && now.since(plan.opened) < UNFILLED)
            {
                continue;
            }
            let plan = self.plans.remove(&inst).expect("its key");
            self.entered.remove(&inst);
            self.tried.remove(&inst);
            self.watched.retain(|(of, _), _| *of != inst);
            if !entered {
                continue;
            }
            // By its fills; where somebody else took it away, by the price.
            let (r_multiple, why, until) = match over {
                Some(over) => {
                    let r = over
                        .profit
                        .checked_div(plan.risk_usd)
                        .map(|r| r.round_dp(2).normalize());
                    (r, over.by.map_or("closed", ended_by), over.at)
                }
                None => (
                    mark(market, &inst).and_then(|px| plan.r_at(px)),
                    "taken away",
                    now,
                ),
            };
            let trade = ModelTrade {
                run_id: plan.run_id,
                contender: who.clone(),
                inst,
                r_multiple,
                held_min: until.since(plan.opened).0 / 60_000,
                // What the daemon wanted says more than the order that did it, unless another was
                // first.
                reason: match (&plan.leaving, why) {
                    (Some(leaving), "closed") => leaving.clone(),
                    _ => why.to_owned(),
                },
                at: now,
            };
            self.history.push(shown(&trade));
            let extra = self.history.len().saturating_sub(SHOWN_TRADES);
            self.history.drain(..extra);
            out.push(trade);
        }
        out
    }

    /// Returns the exits to make now, without asking: a target was reached, or an idea has turned
    /// out wrong.
    pub fn exits(
        &mut self,
        who: &ContenderId,
        (base, market): (Bar, &MarketView),
        orders: &OrdersView,
        now: Ms,
    ) -> Vec<Proposal> {
        let mut out = Vec::new();
        for plan in self.plans.values_mut() {
            if held(orders, market, who, &plan.inst).is_zero() {
                continue;
            }
            let Some(shown) = market.insts.get(&plan.inst) else {
                continue;
            };
            let from = |bar: Bar| {
                self.watched
                    .get(&(plan.inst.clone(), bar))
                    .copied()
                    .unwrap_or(plan.opened)
            };
            if plan.leaving.is_none() {
                // Bars that had begun before the idea was acted on say nothing about it.
                let bars = shown
                    .history(base)
                    .iter()
                    .filter(|bar| bar.ts >= plan.opened);
                let reached = bars
                    .filter(|bar| bar.ts.plus(base.span()) > from(base))
                    .find_map(|bar| plan.reached(bar));
                plan.leaving = reached.or_else(|| {
                    let bar = timeframe(
                        &plan.invalidation.as_ref()?.tf,
                        shown.series.keys().copied(),
                    )?;
                    let candles = shown.history(bar);
                    let fresh =
                        |at: &usize| candles[*at].ts.plus(bar.span()) > from(bar).max(plan.opened);
                    (0..candles.len())
                        .filter(fresh)
                        .find_map(|at| plan.invalidated(&candles[..=at]))
                });
            }
            for (bar, series) in &shown.series {
                let last = series
                    .candles()
                    .last()
                    .map(|last| ((plan.inst.clone(), *bar), last.ts.plus(bar.span())));
                self.watched.extend(last);
            }
            let Some(why) = plan.leaving.clone() else {
                continue;
            };
            // Again as long as something is held, but not at every bar.
            let soon = self
                .tried
                .get(&plan.inst)
                .is_some_and(|at| now.since(*at) < AGAIN);
            if soon || works(orders, who, &plan.inst) {
                continue;
            }
            self.tried.insert(plan.inst.clone(), now);
            out.push(Proposal {
                contender: who.clone(),
                inst: plan.inst.clone(),
                target: Some(Bps(0)),
                stop: None,
                reason: why,
                good_for: None,
            });
        }
        out
    }

    /// Returns the questions due at this close, and why: the bar closed, or much has changed.
    /// `single`: one question for each instrument.
    pub fn due(
        &mut self,
        profile: &ModelProfile,
        cadence: &Cadence,
        close: Ms,
        market: &MarketView,
        single: bool,
    ) -> Vec<(Option<InstId>, String)> {
        let bar_closed = close.floor(profile.bar.span()) == close
            && (close.0 / profile.bar.span().0) % cadence.every_bars == 0;
        let subjects: Vec<Option<InstId>> = if single {
            profile.instruments.iter().cloned().map(Some).collect()
        } else {
            vec![None]
        };
        let mut out = Vec::new();
        for subject in subjects {
            let last = self.asked.get(&subject);
            if last.is_some_and(|(at, _)| close.since(*at) < cadence.least) {
                continue;
            }
            if bar_closed {
                out.push((subject, "bar".to_owned()));
                continue;
            }
            let Some((_, then)) = last.filter(|_| cadence.material_atr > Decimal::ZERO) else {
                continue;
            };
            let moved = |(inst, then): (&InstId, &Price)| {
                let range = atr(market.insts.get(inst)?.history(profile.bar))?;
                Some((
                    (mark(market, inst)?.0 - then.0).abs().checked_div(range)?,
                    inst.clone(),
                ))
            };
            if let Some((ranges, inst)) = then
                .iter()
                .filter_map(moved)
                .max()
                .filter(|m| m.0 >= cadence.material_atr)
            {
                out.push((
                    subject,
                    format!(
                        "{inst} moved {} average true ranges",
                        ranges.round_dp(1).normalize()
                    ),
                ));
            }
        }
        out
    }

    /// Notes that it is asked now.
    pub fn note_asked(
        &mut self,
        profile: &ModelProfile,
        subject: Option<&InstId>,
        market: &MarketView,
        now: Ms,
    ) {
        let about = profile
            .instruments
            .iter()
            .filter(|inst| subject.is_none_or(|only| only == *inst));
        let marks = about
            .filter_map(|inst| Some((inst.clone(), mark(market, inst)?)))
            .collect();
        self.asked.insert(subject.cloned(), (now, marks));
    }

    /// True if the profile holds any of what it would be asked about.
    pub fn holds(
        profile: &ModelProfile,
        subject: Option<&InstId>,
        market: &MarketView,
        orders: &OrdersView,
    ) -> bool {
        let about = profile
            .instruments
            .iter()
            .filter(|inst| subject.is_none_or(|only| only == *inst));
        about
            .into_iter()
            .any(|inst| !held(orders, market, &profile.id, inst).is_zero())
    }
}

/// Checks that an instrument may be asked about at this close: not if its data is old or
/// incomplete.
///
/// # Errors
/// Why not, in words.
pub fn fresh(
    market: &MarketView,
    inst: &InstId,
    bar: Bar,
    quote_age: Ms,
    (close, now): (Ms, Ms),
) -> Result<(), String> {
    let shown = market.insts.get(inst);
    // Nothing could be said of its prices: stops and targets are judged in average true ranges.
    let Some(shown) = shown.filter(|shown| atr(shown.history(bar)).is_some()) else {
        return Err(format!("{inst} has too short a history of {bar} bars"));
    };
    // Its own bar may be the one that everybody else did not wait for.
    let last = shown
        .history(bar)
        .last()
        .map(|last| last.ts.plus(bar.span()));
    if last.is_none_or(|last| close.since(last) >= bar.span()) {
        return Err(format!("the last {bar} bar of {inst} is late"));
    }
    match shown
        .quote
        .is_some_and(|quote| now.since(quote.at) <= quote_age)
    {
        true => Ok(()),
        false => Err(format!("{inst} has no fresh quote")),
    }
}

/// Names how a trade ended, by the order that closed it.
const fn ended_by(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Entry | Purpose::Exit => "closed",
        Purpose::Stop => "stop",
        Purpose::Flatten => "flattened",
        Purpose::Repair => "left for want of a stop",
        Purpose::Liquidation => "liquidated",
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
