//! The decision task: closed bars in, one cycle's proposals out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::barrier::{Barrier, Release};
use super::snapshot::{InstSnapshot, Snapshot};
use crate::domain::record::{Proposal, Record, RunKind};
use crate::domain::{
    AccountView, Bar, Candle, ContenderId, InstId, InstKind, Instrument, MarketView, Ms, OrdersView, Price, RunId, Side,
};
use crate::market::BarClosed;
use crate::runtime::{Actor, Beat, Clock, RunIds, StageError, Stop, faults};
use crate::store::Journal;
use crate::strategy::{Params, Signal, Spec, Strategy};

/// A contender's place at the table: what it runs and on what.
#[derive(Clone, Debug)]
pub struct Seat {
    pub contender: ContenderId,
    pub strategy: &'static Spec,
    pub params: Params,
    pub instruments: Vec<InstId>,
}

/// One cycle: the snapshot and what everybody proposed on it.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub run_id: RunId,
    pub snapshot: Arc<Snapshot>,
    pub proposals: Vec<Proposal>,
}

/// The decision actor.
pub struct Decision {
    pub clock: Clock,
    pub ids: Arc<RunIds>,
    pub journal: Journal,
    pub seats: Vec<Seat>,
    pub bar: Bar,
    pub every_bars: i64,
    pub barrier: Ms,
    /// End after this many cycles.
    pub cycles_left: Option<u64>,
    pub closed: mpsc::Receiver<BarClosed>,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub cycles: mpsc::Sender<Cycle>,
    pub beat: Beat,
}

/// Strategies and the last bar each instrument gave them. Built afresh after a restart, from the history.
struct Table {
    strategies: BTreeMap<(ContenderId, InstId), Box<dyn Strategy>>,
    last: BTreeMap<InstId, Candle>,
}

impl Actor for Decision {
    async fn run(&mut self, stop: Stop) -> Result<(), StageError> {
        if !self.wait_for_market(&stop).await {
            return Ok(());
        }
        let mut table = self.set_table();
        let mut barrier = Barrier::new(table.last.keys().cloned(), self.barrier);
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        while self.cycles_left != Some(0) {
            let deadline = barrier.deadline().map(|at| self.clock.wall_span(at.since(self.clock.now())));
            let releases = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                bar = self.closed.recv() => match bar {
                    Some(bar) => {
                        if !self.on_bar(&mut table, &bar) {
                            table = self.set_table();
                        }
                        barrier.arrive(&bar.inst, bar.candle.ts, self.clock.now())
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep(deadline.unwrap_or(Duration::MAX)), if deadline.is_some() => {
                    barrier.elapse(self.clock.now()).into_iter().collect()
                }
                _ = tick.tick() => Vec::new(),
            };
            faults::point("decision").await;
            self.beat.tick();
            for release in releases {
                self.on_release(&table, release).await?;
            }
        }
        info!(event = "cycles_done", "the cycles asked for are done");
        Ok(())
    }
}

impl Decision {
    /// Waits until history is there. `false`: asked to stop first.
    async fn wait_for_market(&mut self, stop: &Stop) -> bool {
        loop {
            self.beat.tick();
            let wait = self.market.wait_for(|view| view.live);
            tokio::select! {
                biased;
                () = stop.cancelled() => return false,
                live = tokio::time::timeout(Duration::from_millis(500), wait) => match live {
                    Ok(Ok(_)) => return true,
                    Ok(Err(_)) => return false,
                    Err(_) => {}
                },
            }
        }
    }

    /// Fresh strategies, warmed up on the history of the market view.
    fn set_table(&self) -> Table {
        let view = self.market.borrow().clone();
        let mut table = Table { strategies: BTreeMap::new(), last: BTreeMap::new() };
        for (inst, market) in &view.insts {
            table.last.extend(market.history.last().map(|bar| (inst.clone(), *bar)));
        }
        for seat in &self.seats {
            for inst in &seat.instruments {
                let Some(market) = view.insts.get(inst) else { continue };
                let long_only = market.instrument.kind == InstKind::Spot;
                let mut strategy = (seat.strategy.build)(&seat.params, long_only);
                market.history.iter().for_each(|bar| strategy.on_bar(bar));
                if market.history.len() < strategy.warmup() {
                    warn!(event = "warmup_short", contender = %seat.contender, %inst, have = market.history.len(),
                        need = strategy.warmup(), "history is shorter than the warm-up; raise market.history_bars");
                }
                table.strategies.insert((seat.contender.clone(), inst.clone()), strategy);
            }
        }
        table
    }

    /// Feeds one bar. `false`: it does not follow the last one; the table must be set again.
    fn on_bar(&self, table: &mut Table, bar: &BarClosed) -> bool {
        let span = self.bar.span();
        match table.last.get(&bar.inst) {
            Some(last) if bar.candle.ts <= last.ts => return true, // warmed up on it already
            Some(last) if bar.candle.ts != last.ts.plus(span) => return false,
            _ => {}
        }
        for ((_, inst), strategy) in &mut table.strategies {
            if *inst == bar.inst {
                strategy.on_bar(&bar.candle);
            }
        }
        table.last.insert(bar.inst.clone(), bar.candle);
        true
    }

    async fn on_release(&mut self, table: &Table, release: Release) -> Result<(), StageError> {
        if !release.late.is_empty() {
            let late: Vec<&str> = release.late.iter().map(InstId::as_str).collect();
            warn!(
                event = "bar_late",
                ts_ms = release.ts.0,
                late = late.join(" "),
                "going on without a bar that is late"
            );
        }
        if (release.ts.0 / self.bar.span().0 + 1) % self.every_bars != 0 {
            return Ok(());
        }
        let Some(account) = self.account.borrow().clone() else {
            debug!(event = "cycle_skipped", "the account is not known yet");
            return Ok(());
        };
        let now = self.clock.now();
        let run_id = self.ids.next(now);
        let market = self.freeze_market(table, release.ts);
        let holdings = self.orders.borrow().holdings.clone();
        let snapshot = Arc::new(Snapshot::freeze(now, (self.bar, release.ts), market, &account, &holdings));
        let proposals = propose(table, &self.seats, &snapshot);
        let wanted = proposals.iter().filter(|p| p.target.is_some()).count();
        debug!(event = "decided", %run_id, bar_ts = release.ts.0, proposals = proposals.len(), wanted, "a cycle");
        let trigger = format!("{} bar {}", self.bar, release.ts.0);
        self.journal.post(Record::Run { run_id, kind: RunKind::Cycle, trigger, at: now, caused_by: None }).await?;
        self.journal.post(Record::Snapshot { run_id, as_of: now, body: snapshot.canonical() }).await?;
        self.journal.post(Record::Decisions { run_id, at: now, proposals: proposals.clone() }).await?;
        let cycle = Cycle { run_id, snapshot, proposals };
        self.cycles.send(cycle).await.map_err(|_| StageError::Gone("the allocator"))?;
        self.cycles_left = self.cycles_left.map(|left| left - 1);
        Ok(())
    }

    fn freeze_market(&self, table: &Table, ts: Ms) -> BTreeMap<InstId, InstSnapshot> {
        let view = self.market.borrow();
        view.insts
            .iter()
            .map(|(inst, market)| {
                let bar = table.last.get(inst).filter(|bar| bar.ts == ts).copied();
                (inst.clone(), InstSnapshot { instrument: Arc::clone(&market.instrument), bar, quote: market.quote })
            })
            .collect()
    }
}

/// What every contender wants, on the same snapshot. Pure.
fn propose(table: &Table, seats: &[Seat], snapshot: &Snapshot) -> Vec<Proposal> {
    let mut out = Vec::new();
    for seat in seats {
        for inst in &seat.instruments {
            let key = (seat.contender.clone(), inst.clone());
            let shown = snapshot.market.get(inst);
            let keep = |reason: &str| Proposal {
                contender: seat.contender.clone(),
                inst: inst.clone(),
                target: None,
                stop: None,
                reason: reason.to_owned(),
            };
            let proposal = match (table.strategies.get(&key).and_then(|s| s.signal()), shown) {
                (_, Some(InstSnapshot { bar: None, .. })) => keep("its bar is late"),
                (None, _) | (_, None) => keep("warming up"),
                (Some(signal), Some(shown)) => Proposal {
                    target: Some(signal.target),
                    stop: stop_price(&signal, shown),
                    reason: signal.reason,
                    ..keep("")
                },
            };
            out.push(proposal);
        }
    }
    out
}

/// The stop's trigger from its distance to the last close, on the tick that is nearer to the price.
fn stop_price(signal: &Signal, shown: &InstSnapshot) -> Option<Price> {
    let distance = Decimal::try_from(signal.stop_distance).ok().filter(|d| *d > Decimal::ZERO)?.round_dp(6);
    let close = shown.bar?.close.0;
    let instrument: &Instrument = &shown.instrument;
    match Side::of(crate::domain::Qty(Decimal::from(signal.target.0))) {
        Side::Buy => Some(instrument.ceil_tick(Price(close * (Decimal::ONE - distance)))),
        Side::Sell => Some(instrument.floor_tick(Price(close * (Decimal::ONE + distance)))),
    }
    .filter(|_| signal.target.0 != 0)
}
