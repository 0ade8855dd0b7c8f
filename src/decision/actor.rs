//! The decision task: closed bars in, one cycle's proposals out.
//!
//! Decisions are made at every n-th bar (`decision.every_bars`), while strategies see every bar:
//! short bars show a newcomer something within seconds without a row for every second of the day.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::barrier::{BarRelease, Barrier, Series};
use super::board::{Assignment, Short, StrategyBoard};
use super::inputs::{BoardId, CycleInputs, Notes};
use super::roster::{Entrant, transfers};
use super::snapshot::{InstSnapshot, Snapshot};
use crate::domain::record::{ContenderRow, Proposal, Record, RunKind};
use crate::domain::{
    AccountView, Bar, Bps, Candle, ContenderId, InstId, MarketView, Ms, OrdersView, Retire, RunId,
    Usd,
};
use crate::market::BarClosed;
use crate::runtime::{Actor, Beat, Clock, RunIds, Shutdown, StageError, faults};
use crate::store::Journal;

/// Longest delay past its barrier at which a bar is still decided on.
const STALE_AFTER: Ms = Ms::secs(10);

/// One cycle: the snapshot and what everybody proposed on it.
#[derive(Clone, Debug)]
pub struct Cycle {
    pub run_id: RunId,
    pub snapshot: Arc<Snapshot>,
    pub proposals: Vec<Proposal>,
}

/// The bar of an instant has closed everywhere, or is late: models are asked, and what they hold is
/// looked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// When the bar opened.
    pub bar_ts: Ms,
}

/// The decision actor.
pub struct Decision {
    pub clock: Clock,
    pub ids: Arc<RunIds>,
    pub journal: Journal,
    pub assignments: Vec<Assignment>,
    /// Contenders that take part, and what happens to what others still hold.
    pub entrants: Vec<Entrant>,
    pub retire: Retire,
    /// Contenders as the database has them, until who takes part now is written over them, with
    /// what that moves.
    pub before: Option<Vec<ContenderRow>>,
    pub roster: Vec<ContenderRow>,
    pub bar: Bar,
    pub every_bars: i64,
    pub barrier: Ms,
    /// The run of this start, which caused every cycle.
    pub start_run: RunId,
    /// Tables that have been set since, also by this actor before it was started again.
    pub seatings: u32,
    /// End after this many cycles.
    pub cycles_left: Option<u64>,
    pub closed: mpsc::Receiver<BarClosed>,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub cycles: mpsc::Sender<Cycle>,
    /// Whoever asks models, if anybody does.
    pub due: Option<mpsc::Sender<Due>>,
    pub beat: Beat,
}

impl Actor for Decision {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        if !self.wait_for_market(&stop).await {
            return Ok(());
        }
        let mut round = self.assignment();
        let mut barrier = Barrier::new(round.board.series(), self.bar, self.barrier);
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        while self.cycles_left != Some(0) {
            let deadline = barrier
                .deadline()
                .map(|at| self.clock.wall_span(at.since(self.clock.now())));
            let release = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                bar = self.closed.recv() => match bar {
                    Some(BarClosed { inst, bar, candle, .. }) => {
                        let series = (inst, bar);
                        // An instant that was still waited for is decided on what was known then.
                        if let Some(older) = barrier.overtake(&series, candle.ts) {
                            self.on_release(&mut round, older).await?;
                        }
                        if !round.hear(&series, candle) {
                            round = Round { told: round.told, ..self.assignment() };
                        }
                        barrier.arrive(series, candle.ts, self.clock.now())
                    }
                    None => return Ok(()),
                },
                () = tokio::time::sleep(deadline.unwrap_or(Duration::MAX)), if deadline.is_some() => {
                    barrier.elapse(self.clock.now())
                }
                _ = tick.tick() => None,
            };
            faults::point("decision").await;
            self.beat.tick();
            if let Some(release) = release {
                self.on_release(&mut round, release).await?;
            }
        }
        info!(event = "cycles_done", "the cycles asked for are done");
        Ok(())
    }
}

/// The rules at work: who sits where, what is taken down of it, and what was last told of whom.
struct Round {
    board: StrategyBoard,
    notes: Notes,
    told: BTreeMap<(ContenderId, InstId), Bps>,
}

impl Round {
    /// A bar was heard. `false`: it does not follow the last one, or nothing has been decided for
    /// so long that it is shorter to begin anew; everybody must be seated again.
    fn hear(&mut self, (inst, bar): &Series, candle: Candle) -> bool {
        self.notes.heard(inst, *bar, candle);
        self.board.on_bar(inst, *bar, candle) && !self.notes.are_long()
    }
}

impl Decision {
    /// Waits until history is there. `false`: asked to stop first.
    async fn wait_for_market(&mut self, stop: &Shutdown) -> bool {
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

    /// Seats everybody on the history that is there now.
    fn assignment(&mut self) -> Round {
        let id = BoardId {
            start: self.start_run,
            nth: self.seatings,
        };
        self.seatings += 1;
        let market = self.market.borrow().clone();
        let (board, short) = StrategyBoard::set(&self.assignments, &market);
        for Short {
            contender,
            inst,
            have,
            need,
        } in short
        {
            warn!(event = "warmup_short", %contender, %inst, have, need,
                "history is shorter than the warm-up; raise market.history_bars");
        }
        Round {
            notes: Notes::begun(id, &self.assignments, &market, &board),
            board,
            told: BTreeMap::new(),
        }
    }

    async fn on_release(
        &mut self,
        round: &mut Round,
        release: BarRelease,
    ) -> Result<(), StageError> {
        if !release.late.is_empty() {
            let late: Vec<String> = release
                .late
                .iter()
                .map(|(inst, bar)| format!("{inst} {bar}"))
                .collect();
            warn!(
                event = "bar_late",
                ts_ms = release.ts.0,
                late = late.join(", "),
                "going on without a bar that is late"
            );
        }
        let asked = (release.ts.0 / self.bar.span().0 + 1) % self.every_bars == 0;
        if !asked && self.due.is_none() {
            return Ok(());
        }
        // A bar that comes long after its close, or while the market is not whole, is history: it
        // has warmed the strategies up, but nobody decides on it.
        let late = self.clock.now().since(release.ts.plus(self.bar.span()));
        if late > self.barrier.plus(self.bar.span()).plus(STALE_AFTER) || !self.market.borrow().live
        {
            debug!(
                event = "cycle_skipped",
                bar_ts = release.ts.0,
                late_ms = late.0,
                "the bar is not fresh"
            );
            return Ok(());
        }
        if let Some(due) = &self.due {
            due.send(Due { bar_ts: release.ts })
                .await
                .map_err(|_| StageError::Gone("whoever asks models"))?;
        }
        if !asked || self.cycles_left == Some(0) {
            return Ok(());
        }
        let Some(account) = self.account.borrow().clone() else {
            debug!(event = "cycle_skipped", "the account is not known yet");
            return Ok(());
        };
        let now = self.clock.now();
        if let Some(before) = self.before.take() {
            self.enter(&before, account.equity, now).await?;
        }
        let run_id = self.ids.next(now);
        let market = self.freeze_market(&round.board, release.ts);
        let holdings = self.orders.borrow().holdings.clone();
        let snapshot = Arc::new(Snapshot::freeze(
            now,
            (self.bar, release.ts),
            market,
            &account,
            &holdings,
        ));
        let asked = CycleInputs {
            bar: (self.bar, release.ts),
            entrants: self.entrants.clone(),
            held: holdings
                .iter()
                .map(|(key, held)| (key.clone(), held.qty))
                .collect(),
            retire: self.retire,
            market: snapshot.market.keys().cloned().collect(),
        };
        let proposals = asked.decide(&round.board);
        debug!(event = "cycle", %run_id, bar_ts = release.ts.0, proposals = proposals.len(), "a cycle");
        for p in &proposals {
            let Some(target) = p.target else { continue };
            // Only changes of mind: every decision is in the database, the log is for people.
            if round
                .told
                .insert((p.contender.clone(), p.inst.clone()), target)
                != Some(target)
            {
                info!(event = "decided", %run_id, contender = %p.contender, inst = %p.inst, target = %target, why = %p.reason, "decided");
            }
        }
        let trigger = format!("{} bar {}", self.bar, release.ts.0);
        // One commit: a cycle is there with all it was made from, or not at all.
        let mut rows = vec![
            Record::Run {
                run_id,
                kind: RunKind::Cycle,
                trigger,
                at: now,
                caused_by: Some(self.start_run),
            },
            Record::Snapshot {
                run_id,
                as_of: now,
                body: snapshot.canonical(),
            },
            Record::Decisions {
                run_id,
                at: now,
                proposals: proposals.clone(),
            },
        ];
        let kept = round.notes.cycle(run_id, asked, &proposals, now);
        rows.extend(
            kept.into_iter()
                .map(|inputs| Record::Inputs(Box::new(inputs))),
        );
        self.journal.post(Record::Together(rows)).await?;
        let cycle = Cycle {
            run_id,
            snapshot,
            proposals,
        };
        self.cycles
            .send(cycle)
            .await
            .map_err(|_| StageError::Gone("the allocator"))?;
        self.cycles_left = self.cycles_left.map(|left| left.saturating_sub(1));
        Ok(())
    }

    /// Writes who takes part, together with the money that changed weights move: a process that
    /// ends before has changed neither, and the next start sees the same difference.
    async fn enter(&self, before: &[ContenderRow], equity: Usd, at: Ms) -> Result<(), StageError> {
        let mut rows = vec![Record::Contenders {
            rows: self.roster.clone(),
            at,
        }];
        for (contender, amount, reason) in transfers(before, &self.entrants, equity) {
            info!(event = "transfer", %contender, %amount, reason, "a changed weight moves money between sleeves");
            rows.push(Record::Transfer {
                contender,
                amount,
                reason,
                at,
            });
        }
        self.journal.post(Record::Together(rows)).await
    }

    fn freeze_market(&self, board: &StrategyBoard, ts: Ms) -> BTreeMap<InstId, InstSnapshot> {
        let view = self.market.borrow();
        let close = ts.plus(self.bar.span());
        view.insts
            .iter()
            .map(|(inst, market)| {
                let bar = board.closed_at(inst, self.bar, close);
                let sizes = market.series.keys().filter(|bar| **bar != self.bar);
                let longer = sizes
                    .filter_map(|bar| Some((*bar, board.closed_at(inst, *bar, close)?)))
                    .collect();
                let instrument = Arc::clone(&market.instrument);
                (
                    inst.clone(),
                    InstSnapshot {
                        instrument,
                        bar,
                        longer,
                        quote: market.quote,
                    },
                )
            })
            .collect()
    }
}
