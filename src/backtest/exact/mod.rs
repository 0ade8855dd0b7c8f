//! The exact engine: the daemon's own allocator and gate, in decimals, for any number of contenders
//! on one account.

mod money;
mod orders;
pub(super) mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use self::views::candle;
use super::margin::{Exposed, liquidated_at, liquidation};
use super::record::{Decided, Halt};
use super::sleeve_sim::{Done, SimOrder, SleeveSim, signed};
use super::{BacktestMarket, Contender, FillRecord, Rules, RunOutcome, Tape};
use crate::allocation::{Ids, SleeveSettings, World, allocate};
use crate::decision::stop_price;
use crate::domain::books::Holding;
use crate::domain::record::{Breach, Proposal};
use crate::domain::tally::Counted;
use crate::domain::view::{Guard, OpenOrder};
use crate::domain::{
    AccountView, Candle, ContenderId, EquityBook, InstId, MarketView, Ms, OrdType, OrderId,
    OrderIntent, OrderState, OrdersView, Price, Purpose, Qty, Readiness, Restrictions, Rule, RunId,
    Scope, Side, Usd, WorkingPolicy,
};
use crate::fills::{CostTerms, Kind, Number, room};
use crate::risk::{Recent, Sent, View, assess, check, consequence, scope_of};
use crate::strategy::{Ohlcv, Signal, Strategy};

/// Advisor whose proposals depend on what is held: asked at each close, after the strategies.
pub trait Advisor {
    /// Returns the advice after the bars that have just closed.
    fn advise(&mut self, now: Ms, account: &AccountView, orders: &OrdersView) -> Advice;
}

/// Proposals and stop moves wanted by an advisor.
#[derive(Clone, Debug, Default)]
pub struct Advice {
    pub proposals: Vec<Proposal>,
    /// Stop prices in force from now on; they may only move nearer to the price.
    pub stops: Vec<(ContenderId, InstId, Price)>,
}

/// The run that what is decided at an instant belongs to.
pub fn run_at(now: Ms) -> RunId {
    RunId(uuid::Uuid::from_u128(
        u128::from(now.0.unsigned_abs()) << 64,
    ))
}

/// Runs contenders on their markets, on one account. With the outcome every wish and what became of
/// it.
pub fn run(
    markets: &[BacktestMarket],
    contenders: &[Contender],
    rules: &Rules,
) -> (RunOutcome<Decimal>, Vec<Decided>) {
    run_advised(markets, contenders, rules, None)
}

/// The same with an advisor for contenders that have no strategy ([`super::plan::ADVISED`]).
pub fn run_advised<'a>(
    markets: &'a [BacktestMarket],
    contenders: &'a [Contender],
    rules: &'a Rules,
    advisor: Option<&'a mut (dyn Advisor + 'a)>,
) -> (RunOutcome<Decimal>, Vec<Decided>) {
    let spans: BTreeSet<Ms> = markets
        .iter()
        .map(|market| market.columns.bar.span())
        .collect();
    assert!(
        spans.len() <= 1,
        "all markets have bars of one size: an instant is one close"
    );
    let bars = markets
        .iter()
        .map(|market| market.columns.len())
        .max()
        .unwrap_or_default();
    let mut run = ExactRun::new(markets, contenders, rules, bars);
    run.advisor = advisor;
    let instants: BTreeSet<i64> = markets
        .iter()
        .flat_map(|market| market.columns.ts.iter().copied())
        .collect();
    for ts in instants {
        run.bar(ts);
    }
    run.end()
}

/// One who in one market.
struct ExactSleeve {
    who: usize,
    market: usize,
    contender: ContenderId,
    strategy: Box<dyn Strategy>,
    sleeve: SleeveSim,
    /// Last order placed, as the views show it while it works, and again while its stop is being
    /// filled.
    shown: Option<OpenOrder>,
    decided: i64,
    stop_decided: i64,
    /// When its strategy has seen its last bar.
    heard: i64,
}

struct ExactRun<'a> {
    advisor: Option<&'a mut (dyn Advisor + 'a)>,
    markets: &'a [BacktestMarket],
    contenders: &'a [Contender],
    rules: &'a Rules,
    sims: Vec<ExactSleeve>,
    sleeves: BTreeMap<ContenderId, SleeveSettings>,
    retired: SleeveSettings,
    ids: Ids,
    terms: Vec<CostTerms<Decimal>>,
    volume: Vec<Option<super::kernel::Volume>>,
    /// Index of the next bar of each market, and the last candle there was.
    next: Vec<usize>,
    last: Vec<Option<Candle>>,
    funded: Vec<Ms>,
    /// By market, as bills: negative is paid.
    funding: BTreeMap<InstId, Decimal>,
    orders: OrdersView,
    book: EquityBook,
    restrictions: Restrictions,
    recent: Recent,
    outcome: RunOutcome<Decimal>,
    decisions: Vec<Decided>,
}

impl<'a> ExactRun<'a> {
    fn new(
        markets: &'a [BacktestMarket],
        contenders: &'a [Contender],
        rules: &'a Rules,
        bars: usize,
    ) -> Self {
        let sim = |who: usize, market: usize| ExactSleeve {
            who,
            market,
            contender: contenders[who].id.clone(),
            strategy: contenders[who].build(&markets[market]),
            sleeve: SleeveSim::default(),
            shown: None,
            decided: 0,
            stop_decided: 0,
            heard: i64::MIN,
        };
        let sims = contenders
            .iter()
            .enumerate()
            .flat_map(|(p, who)| who.markets.iter().map(move |m| (p, *m)));
        let sleeve = |who: &Contender| SleeveSettings {
            weight: who.weight,
            instruments: who
                .markets
                .iter()
                .map(|m| markets[*m].instrument.id.clone())
                .collect(),
            execution: who.execution,
        };
        let retired = SleeveSettings {
            weight: Decimal::ZERO,
            instruments: Vec::new(),
            execution: WorkingPolicy::Market { slippage: None },
        };
        Self {
            advisor: None,
            markets,
            contenders,
            rules,
            sims: sims.map(|(p, m)| sim(p, m)).collect(),
            sleeves: contenders
                .iter()
                .map(|who| (who.id.clone(), sleeve(who)))
                .collect(),
            retired,
            ids: Ids {
                env: 'b',
                uid: "backtest".into(),
                install_epoch: "0".into(),
            },
            terms: markets
                .iter()
                .map(|m| CostTerms::of(&m.costs, m.costs.tier(Decimal::ZERO), &m.instrument))
                .collect(),
            volume: markets
                .iter()
                .map(|m| super::kernel::Volume::new(&m.costs))
                .collect(),
            next: vec![0; markets.len()],
            last: vec![None; markets.len()],
            funded: markets.iter().map(|m| Ms(m.columns.ts[0])).collect(),
            funding: BTreeMap::new(),
            orders: OrdersView::default(),
            book: EquityBook::default(),
            restrictions: Restrictions::default(),
            recent: Recent::default(),
            outcome: RunOutcome::new(rules.cash, bars),
            decisions: Vec::new(),
        }
    }

    fn end(mut self) -> (RunOutcome<Decimal>, Vec<Decided>) {
        self.outcome.held = self
            .sims
            .iter()
            .map(|sim| ((sim.who, sim.market), sim.sleeve.held))
            .collect();
        (self.outcome, self.decisions)
    }

    /// All bars that opened at an instant.
    fn bar(&mut self, ts: i64) {
        let current: Vec<(usize, usize)> = (0..self.markets.len())
            .filter(|m| self.markets[*m].columns.ts.get(self.next[*m]) == Some(&ts))
            .map(|m| (m, self.next[m]))
            .collect();
        let span = self
            .markets
            .iter()
            .map(|m| m.columns.bar.span())
            .min()
            .unwrap_or(Ms::ZERO);
        let now = Ms(ts).plus(span);
        for (market, index) in &current {
            self.pass(*market, *index, now);
        }
        self.check_margin(&current, now);
        if self.outcome.cash < Decimal::ZERO && self.sims.iter().all(|sim| sim.sleeve.held == 0) {
            // Liquidated, or a stop has filled far beyond its price: no account goes below nothing.
            self.outcome.uncovered -= self.outcome.cash;
            self.outcome.cash = Decimal::ZERO;
        }
        for (market, index) in &current {
            self.pay_funding(*market, *index, now);
            self.last[*market] = Some(candle(&self.markets[*market], *index));
            self.next[*market] = index + 1;
        }
        let (equity, exposure) = self.worth();
        self.outcome.equity(now, equity, exposure);
        let account = self.account(now, equity, exposure);
        self.look(now, &account);
        self.decide(&current, now, account);
    }

    /// Fills of one market's bar.
    fn pass(&mut self, market: usize, index: usize, now: Ms) {
        let of = &self.markets[market];
        let bar = of.steps(index);
        if let Some(tier) = self.volume[market]
            .as_mut()
            .and_then(|volume| volume.roll(now, &of.costs))
        {
            self.terms[market] = CostTerms::of(&of.costs, tier, &of.instrument);
        }
        let mut left = if bar.volume == 0 {
            0
        } else {
            room(&bar, &self.terms[market])
        };
        let mut done = Vec::new();
        for sim in 0..self.sims.len() {
            if self.sims[sim].market != market {
                continue;
            }
            let purse = (!of.is_swap()).then_some(self.outcome.cash);
            self.sims[sim].sleeve.pass(
                (index, &bar),
                &mut left,
                purse,
                &self.terms[market],
                &mut done,
            );
            for done in done.drain(..) {
                self.book(sim, index, now, done);
            }
            self.show(sim);
        }
    }

    fn book(&mut self, sim: usize, index: usize, now: Ms, done: Done<Decimal>) {
        let sim = &mut self.sims[sim];
        let market = &self.markets[sim.market];
        let (inst, fill) = (&market.instrument, &done.fill);
        self.outcome.cash -= if done.side == Side::Buy {
            fill.value
        } else {
            -fill.value
        };
        self.outcome.cash -= fill.fee;
        if done.cause == super::sleeve_sim::Cause::Order {
            sim.stop_decided = sim.decided;
            if let Some(shown) = sim.shown.as_ref().filter(|shown| shown.opening) {
                let guard = Guard {
                    entry: shown.id.clone(),
                    run_id: shown.run_id,
                    side: shown.side,
                    trigger: None,
                };
                self.orders
                    .guards
                    .insert((sim.contender.clone(), inst.id.clone()), guard);
            }
        }
        let decided = if done.cause == super::sleeve_sim::Cause::Order {
            sim.decided
        } else {
            sim.stop_decided
        };
        let key = (sim.contender.clone(), inst.id.clone());
        let holding = self.orders.holdings.entry(key).or_default();
        let before = holding.clone();
        let qty = Qty(inst.lot.0 * Decimal::from(signed(done.side, fill.lots)));
        holding.shift(inst, qty, Price(inst.tick.0 * Decimal::from(fill.ticks)));
        holding.fees -= fill.fee;
        let held = (holding.qty.0 / inst.lot.0).to_i64().unwrap_or_default();
        let size = |h: &Holding| {
            if h.qty.abs() < inst.min_size {
                Decimal::ZERO
            } else {
                h.qty.0
            }
        };
        let worth = |h: &Holding| h.realised + h.fees;
        self.orders.tally.count(&Counted {
            contender: &sim.contender,
            inst: &inst.id,
            order: &order_id(done.order),
            value: Usd(fill.value),
            profit: worth(holding) - worth(&before),
            fee: holding.fees - before.fees,
            purpose: Some(purpose_of(done.cause)),
            held: (size(&before), size(holding)),
            at: now,
        });
        self.outcome.fill(FillRecord {
            contender: sim.who,
            market: sim.market,
            bar: index,
            ts: market.columns.ts[index],
            decided,
            order: done.order,
            cause: done.cause,
            side: done.side,
            lots: fill.lots,
            ticks: fill.ticks,
            value: fill.value,
            fee: fill.fee,
            maker: fill.maker,
            held,
        });
        let market_index = sim.market;
        if let Some(volume) = &mut self.volume[market_index]
            && let Some(tier) = volume.add(now, fill.value.float(), &market.costs)
        {
            self.terms[market_index] = CostTerms::of(&market.costs, tier, inst);
        }
    }

    /// Shows the allocator and the gate what is working, and nothing that has ended.
    fn show(&mut self, sim: usize) {
        let sim = &mut self.sims[sim];
        let inst = &self.markets[sim.market].instrument;
        let Some(shown) = &mut sim.shown else { return };
        match (sim.sleeve.order, sim.sleeve.is_busy()) {
            (Some(order), _) => shown.leaves = Qty(inst.lot.0 * Decimal::from(order.lots)),
            // A way out goes on over bars.
            (None, true) => {
                let out = if sim.sleeve.held > 0 {
                    Side::Sell
                } else {
                    Side::Buy
                };
                (shown.side, shown.opening) = (out, false);
                shown.leaves = Qty(inst.lot.0 * Decimal::from(sim.sleeve.held.abs()));
            }
            (None, false) => {
                self.orders.open.remove(&shown.id);
                return;
            }
        }
        self.orders.open.insert(shown.id.clone(), shown.clone());
    }

    /// Every strategy whose bar has closed is asked on one snapshot; what is wanted goes through
    /// allocator and gate.
    fn decide(&mut self, current: &[(usize, usize)], now: Ms, account: AccountView) {
        let mut proposals = Vec::new();
        for sim in &mut self.sims {
            let Some((_, index)) = current.iter().find(|(market, _)| *market == sim.market) else {
                continue;
            };
            let market = &self.markets[sim.market];
            sim.strategy.on_bar(&Ohlcv::at(&market.columns, *index));
            sim.heard = market.columns.ts[*index];
            let tick = crate::strategy::feature(market.instrument.tick.0);
            let Some(Signal {
                target,
                stop_distance,
                reason,
            }) = sim.strategy.signal(tick)
            else {
                continue;
            };
            let close = candle(market, *index).close;
            proposals.push(Proposal {
                contender: sim.contender.clone(),
                inst: market.instrument.id.clone(),
                target: Some(target),
                stop: stop_price(target, stop_distance, &market.instrument, close),
                reason,
                good_for: None,
            });
        }
        if let Some(advisor) = &mut self.advisor {
            let advice = advisor.advise(now, &account, &self.orders);
            proposals.extend(advice.proposals);
            for (contender, inst, stop) in advice.stops {
                let markets = self.markets;
                let at = |sim: &&mut ExactSleeve| {
                    sim.contender == contender && markets[sim.market].instrument.id == inst
                };
                if let Some(sim) = self.sims.iter_mut().find(at) {
                    let ticks = (stop.0 / markets[sim.market].instrument.tick.0).to_i64();
                    sim.sleeve.tighten(ticks.unwrap_or_default());
                }
            }
        }
        if proposals.is_empty() || now < self.rules.begin {
            return;
        }
        let market = self.view(now);
        let snapshot = self.snapshot(now, &market, &account);
        let nobody = BTreeMap::new();
        let world = World {
            run_id: run_at(now),
            snapshot: &snapshot,
            sleeves: &self.sleeves,
            retired: &self.retired,
            orders: &self.orders,
            on_the_way: &nobody,
            ids: &self.ids,
            no_trade_band: self.rules.no_trade_band,
            reserve: self.rules.reserve,
            stop_default: self.rules.stop_default,
        };
        let plan = allocate(&world, &proposals);
        let mut intents = plan.intents.into_iter().peekable();
        for (row, proposal) in plan.allocations.into_iter().zip(&proposals) {
            let mut order = Err(row.reason);
            if let Some(intent) =
                intents.next_if(|intent| row.cl_ord_id.as_ref() == Some(&intent.cl_ord_id))
            {
                order = self.judge(Arc::new(intent), &market, &account, now);
            }
            let target = proposal.target.map_or(0, |target| target.0);
            let (contender, inst) = (proposal.contender.clone(), proposal.inst.clone());
            self.decisions.push(Decided {
                at: now,
                contender,
                inst,
                target,
                order,
            });
        }
    }
}

const fn purpose_of(cause: super::sleeve_sim::Cause) -> Purpose {
    use super::sleeve_sim::Cause;
    match cause {
        Cause::Order | Cause::Target => Purpose::Exit,
        Cause::Stop => Purpose::Stop,
        Cause::Liquidation => Purpose::Liquidation,
    }
}

fn order_id(id: u32) -> OrderId {
    OrderId::from(format!("b{id}").as_str())
}
