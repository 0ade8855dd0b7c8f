//! The fast engine: one strategy on one instrument, in floats over columns.
//!
//! A repetition in floats of what the allocator (`allocation/sizing.rs`) and the gate (`risk/rules.rs`)
//! compute in decimals; sizes and prices are whole steps in both, so a difference would be a
//! different fill. Tests hold the two together.

mod gate;
mod size;

use self::gate::{Judged, SimGate};
use self::size::Sizing;
use super::margin::{Exposed, liquidated_at, liquidation};
use super::sleeve_sim::{Cause, Done, SimOrder, SleeveSim, signed};
use super::{BacktestMarket, Contender, FillRecord, Halt, Rules, RunOutcome, Tape};
use crate::data::Columns;
use crate::domain::{Ms, Side};
use crate::fills::{CostTerms, Number, room};
use crate::strategy::{NO_OPINION, Strategy};

/// Targets a strategy wants after each bar.
pub trait Wishes {
    /// Share of the slot after the bar of this index, in hundredths of a percent; `None`: no
    /// opinion. Asked for each bar in order.
    fn after(&mut self, index: usize) -> Option<i32>;
    /// Distance of an entry's stop as a share; zero: none of its own.
    fn stop_distance(&self) -> f64;
}

/// A strategy over columns, a block of bars at a time.
pub struct Streamed<'a> {
    strategy: Box<dyn Strategy>,
    columns: &'a Columns,
    block: Box<[i32; BLOCK]>,
}

/// Bars swept at once: what they take stays near.
const BLOCK: usize = 1024;

impl<'a> Streamed<'a> {
    /// A fresh strategy over columns.
    pub fn new(strategy: Box<dyn Strategy>, columns: &'a Columns) -> Self {
        Self {
            strategy,
            columns,
            block: Box::new([NO_OPINION; BLOCK]),
        }
    }
}

impl Wishes for Streamed<'_> {
    #[inline]
    fn after(&mut self, index: usize) -> Option<i32> {
        if index.is_multiple_of(BLOCK) {
            let count = BLOCK.min(self.columns.len() - index);
            self.strategy
                .sweep(self.columns, index, &mut self.block[..count]);
        }
        let wanted = self.block[index % BLOCK];
        (wanted != NO_OPINION).then_some(wanted)
    }
    fn stop_distance(&self) -> f64 {
        self.strategy.stop_distance()
    }
}

/// Runs one contender on its only market and keeps everything.
///
/// # Panics
/// If the contender trades more or less than one market: that is the exact engine's work.
pub fn run(market: &BacktestMarket, contender: &Contender, rules: &Rules) -> RunOutcome<f64> {
    let wishes = Streamed::new(contender.build(market), &market.columns);
    let mut outcome = RunOutcome::new(0.0, market.columns.len());
    let end = drive(market, contender, rules, wishes, &mut outcome);
    end.into(outcome)
}

/// State at the end of a run, besides its tape.
#[derive(Clone, Copy, Debug)]
pub struct End {
    pub cash: f64,
    pub held: i64,
    pub funding: f64,
    pub uncovered: f64,
    pub liquidations: u32,
    pub orders: u32,
}

impl End {
    fn into(self, outcome: RunOutcome<f64>) -> RunOutcome<f64> {
        RunOutcome {
            cash: self.cash,
            funding: self.funding,
            uncovered: self.uncovered,
            liquidations: self.liquidations,
            orders: self.orders,
            held: [((0, 0), self.held)].into(),
            ..outcome
        }
    }
}

/// Runs wishes of any kind and writes to any tape.
///
/// # Panics
/// As [`run`].
pub fn drive(
    market: &BacktestMarket,
    contender: &Contender,
    rules: &Rules,
    mut wishes: impl Wishes,
    tape: &mut impl Tape<f64>,
) -> End {
    assert_eq!(
        contender.markets.len(),
        1,
        "one instrument: others are the exact engine's work"
    );
    let (columns, costs) = (&*market.columns, &*market.costs);
    let cash = f64::of(rules.cash);
    let sizing = Sizing::of(market, contender, rules);
    let mut run = KernelRun {
        market,
        terms: CostTerms::of(
            costs,
            costs.tier(rust_decimal::Decimal::ZERO),
            &market.instrument,
        ),
        sleeve: SleeveSim::default(),
        end: End {
            cash,
            held: 0,
            funding: 0.0,
            uncovered: 0.0,
            liquidations: 0,
            orders: 0,
        },
        gate: SimGate::new(market, rules, cash),
        volume: Volume::new(costs),
        done: Vec::with_capacity(4),
        decided: [0; 2],
        blocked: [(0, Ms::ZERO); 64],
    };
    let swap = market.is_swap();
    let maintenance = f64::of(costs.maintenance);
    let span = columns.bar.span();
    let mut funding_at = market.funding.next(Ms(columns.ts[0]));
    let mut last_close = Ms(columns.ts[0]);
    for index in 0..columns.len() {
        let now = Ms(columns.ts[index]).plus(span);
        let (low, high, close) = (
            columns.low[index],
            columns.high[index],
            columns.close[index],
        );
        if !run.sleeve.is_quiet(low as i64, high as i64) {
            run.pass(index, now, tape);
        }
        if swap {
            if run.sleeve.held != 0 {
                run.check_margin(index, now, maintenance, tape);
            }
            if run.sleeve.held == 0 && run.end.cash < 0.0 {
                // A stop has filled far beyond its price: no account goes below nothing.
                run.end.uncovered -= run.end.cash;
                run.end.cash = 0.0;
            }
        }
        if now >= funding_at {
            if run.sleeve.held != 0
                && let Some(rate) = market.funding.due(last_close, now)
            {
                let paid = run.sleeve.held as f64 * close * run.terms.unit * f64::of(rate);
                run.end.cash -= paid;
                run.end.funding += paid;
            }
            funding_at = market.funding.next(now);
        }
        last_close = now;
        let exposure = run.sleeve.held as f64 * close * run.terms.unit;
        let equity = run.end.cash + exposure;
        tape.equity(now, equity, exposure.abs());
        for halt in run.gate.look(now, equity) {
            run.halt(index, now, halt, tape);
        }
        let Some(target) = wishes.after(index) else {
            continue;
        };
        if (target == 0 && run.sleeve.held == 0) || now < rules.begin {
            continue;
        }
        if let Some(order) =
            sizing.child(&run.sleeve, target, wishes.stop_distance(), equity, close)
        {
            run.judge(index, now, (order, equity, close), tape);
        }
    }
    for (code, (count, first)) in gate::codes()
        .zip(run.blocked)
        .filter(|(_, (count, _))| *count > 0)
    {
        tape.blocked(code, count, first);
    }
    run.end.held = run.sleeve.held;
    run.end
}

struct KernelRun<'a> {
    market: &'a BacktestMarket,
    terms: CostTerms<f64>,
    sleeve: SleeveSim,
    end: End,
    gate: SimGate,
    volume: Option<Volume>,
    done: Vec<Done<f64>>,
    /// When the working order was decided on, and the one whose stop is in force.
    decided: [i64; 2],
    /// By bit of the gate's codes: how many orders were refused with it, and when the first.
    blocked: [(u64, Ms); 64],
}

impl KernelRun<'_> {
    fn pass(&mut self, index: usize, now: Ms, tape: &mut impl Tape<f64>) {
        let bar = self.market.steps(index);
        if let Some(tier) = self
            .volume
            .as_mut()
            .and_then(|volume| volume.roll(now, &self.market.costs))
        {
            self.terms = CostTerms::of(&self.market.costs, tier, &self.market.instrument);
        }
        let mut left = room(&bar, &self.terms);
        if bar.volume == 0 {
            left = 0;
        }
        let purse = (!self.market.is_swap()).then_some(self.end.cash);
        self.sleeve
            .pass((index, &bar), &mut left, purse, &self.terms, &mut self.done);
        self.settle(index, now, tape);
    }

    fn check_margin(&mut self, index: usize, now: Ms, maintenance: f64, tape: &mut impl Tape<f64>) {
        let columns = &*self.market.columns;
        let held = self.sleeve.held as f64 * self.terms.unit;
        let worst = held
            * if held > 0.0 {
                columns.low[index]
            } else {
                columns.high[index]
            };
        // What no bar of this size can bring near is not looked at closer.
        if self.end.cash + worst > 2.0 * maintenance * worst.abs() {
            return;
        }
        let bar = self.market.steps(index);
        let exposed = Exposed {
            held: self.sleeve.held,
            bar,
            unit: self.terms.unit,
            maintenance,
        };
        let Some(way) = liquidated_at(self.end.cash, &[exposed]) else {
            return;
        };
        let fee = self.terms.taker + f64::of(self.market.costs.liquidation_fee);
        self.sleeve
            .liquidate(liquidation(&exposed, way, fee), &mut self.done);
        self.end.liquidations += 1;
        self.settle(index, now, tape);
    }

    /// Books what a bar has done.
    fn settle(&mut self, index: usize, now: Ms, tape: &mut impl Tape<f64>) {
        let mut held = self.gate.held();
        for done in std::mem::take(&mut self.done) {
            let fill = &done.fill;
            let lots = signed(done.side, fill.lots);
            self.end.cash -= if lots > 0 { fill.value } else { -fill.value };
            self.end.cash -= fill.fee;
            held += lots;
            let decided = self.decided[usize::from(done.cause != Cause::Order)];
            if done.cause == Cause::Order {
                self.decided[1] = decided;
            }
            self.gate.fill(now, &done, held);
            tape.fill(FillRecord {
                contender: 0,
                market: 0,
                bar: index,
                ts: self.market.columns.ts[index],
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
            if let Some(volume) = &mut self.volume
                && let Some(tier) = volume.add(now, fill.value, &self.market.costs)
            {
                self.terms = CostTerms::of(&self.market.costs, tier, &self.market.instrument);
            }
        }
    }

    /// Trading is restricted; what is held leaves if the rule says so.
    #[cold]
    fn halt(&mut self, index: usize, now: Ms, halt: Halt, tape: &mut impl Tape<f64>) {
        if halt.flatten && self.sleeve.held != 0 {
            self.sleeve.close(
                self.end.orders,
                index + 1 + self.market.costs.latency_bars as usize,
            );
            self.end.orders += 1;
            self.decided[0] = now.0;
        }
        tape.halted(halt);
    }

    fn judge(
        &mut self,
        index: usize,
        now: Ms,
        (mut order, equity, close): (SimOrder, f64, f64),
        tape: &mut impl Tape<f64>,
    ) {
        let (passes, codes) = match self
            .gate
            .judge(now, &mut order, &self.sleeve, equity, close)
        {
            Judged::Fine => (true, 0),
            Judged::Cut(codes) => (true, codes),
            Judged::Refused(codes) => (false, codes),
        };
        if passes {
            order.id = self.end.orders;
            order.from = index + 1 + self.market.costs.latency_bars as usize;
            order.until = order.until.saturating_add(order.from);
            self.end.orders += 1;
            self.decided[0] = now.0;
            self.gate.let_out(now, &order);
            self.sleeve.place(order);
        }
        let mut left = codes;
        while left != 0 {
            let (count, first) = &mut self.blocked[left.trailing_zeros() as usize];
            *first = if *count == 0 { now } else { *first };
            *count += 1;
            left &= left - 1;
        }
        for halt in self.gate.consequences(now, codes) {
            self.halt(index, now, halt, tape);
        }
    }
}

/// Value filled within the last thirty days, for fee tiers.
#[derive(Debug)]
pub(super) struct Volume {
    days: std::collections::VecDeque<(i64, f64)>,
    sum: f64,
}

impl Volume {
    /// `None` where all fees are the same.
    pub(super) fn new(costs: &crate::fills::Costs) -> Option<Self> {
        (costs.tiers.len() > 1).then(|| Self {
            days: std::collections::VecDeque::new(),
            sum: 0.0,
        })
    }

    /// Adds a fill; the tier that holds from now on.
    pub(super) fn add(
        &mut self,
        now: Ms,
        value: f64,
        costs: &crate::fills::Costs,
    ) -> Option<crate::fills::Tier> {
        let day = now.utc_day();
        match self.days.back_mut() {
            Some((last, sum)) if *last == day => *sum += value,
            _ => self.days.push_back((day, value)),
        }
        self.sum += value;
        self.forget(day);
        self.tier(costs)
    }

    /// A bar begins to be filled: what was traded more than thirty days ago counts no more. The
    /// tier, if that may change it.
    pub(super) fn roll(
        &mut self,
        now: Ms,
        costs: &crate::fills::Costs,
    ) -> Option<crate::fills::Tier> {
        self.forget(now.utc_day())
            .then(|| self.tier(costs))
            .flatten()
    }

    /// Drops days that are too old; true if there were any.
    fn forget(&mut self, day: i64) -> bool {
        let before = self.days.len();
        while let Some((_, old)) = self.days.pop_front_if(|(old, _)| *old <= day - 30) {
            self.sum -= old;
        }
        self.days.len() < before
    }

    fn tier(&self, costs: &crate::fills::Costs) -> Option<crate::fills::Tier> {
        rust_decimal::Decimal::try_from(self.sum.max(0.0))
            .ok()
            .map(|sum| costs.tier(sum))
    }
}

/// The side of a signed number of lots.
pub(super) const fn side_of(lots: i64) -> Side {
    if lots < 0 { Side::Sell } else { Side::Buy }
}
