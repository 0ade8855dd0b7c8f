//! The allocator task: sole owner of what is on its way to the tracker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::inputs::{AllocationInputs, Tried, tried, written};
use super::sizing::{Ids, SleeveSettings, World, allocate};
use super::working::{NextTry, WorkedDecision};
use crate::decision::Cycle;
use crate::domain::inputs::{InputStage, RunInputs};
use crate::domain::record::Record;
use crate::domain::{ContenderId, InstId, MarketView, OrderId, OrderIntent, OrdersView, RunId};
use crate::runtime::{Actor, Beat, Clock, Shutdown, StageError, faults};
use crate::store::Journal;

/// The child orders of one cycle.
#[derive(Clone, Debug)]
pub struct IntentBatch {
    pub run_id: RunId,
    pub intents: Vec<Arc<OrderIntent>>,
}

/// The allocator actor.
pub struct Allocator {
    pub sleeves: BTreeMap<ContenderId, SleeveSettings>,
    /// Sleeve settings for closing what retired contenders hold.
    pub retired: SleeveSettings,
    pub clock: Clock,
    pub market: watch::Receiver<MarketView>,
    pub ids: Ids,
    pub no_trade_band: Decimal,
    pub reserve: Decimal,
    pub stop_default: Decimal,
    pub journal: Journal,
    pub cycles: mpsc::Receiver<Cycle>,
    pub orders: watch::Receiver<OrdersView>,
    pub intents: mpsc::Sender<IntentBatch>,
    pub beat: Beat,
}

impl Actor for Allocator {
    async fn run(&mut self, _stop: Shutdown) -> Result<(), StageError> {
        let mut on_the_way: BTreeMap<(ContenderId, InstId), OrderId> = BTreeMap::new();
        let mut works: BTreeMap<(ContenderId, InstId), WorkedDecision> = BTreeMap::new();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                biased;
                // Ends when decision has ended and the last cycle is through: shutdown follows the
                // data.
                cycle = self.cycles.recv() => match cycle {
                    Some(cycle) => self.on_cycle(cycle, &mut on_the_way, &mut works).await?,
                    None => return Ok(()),
                },
                _ = tick.tick() => self.work_on(&mut on_the_way, &mut works).await?,
            }
            faults::point("allocator").await;
            self.beat.tick();
        }
    }
}

impl Allocator {
    async fn on_cycle(
        &mut self,
        cycle: Cycle,
        on_the_way: &mut BTreeMap<(ContenderId, InstId), OrderId>,
        works: &mut BTreeMap<(ContenderId, InstId), WorkedDecision>,
    ) -> Result<(), StageError> {
        let (plan, seen) = {
            let orders = self.orders.borrow();
            let world = World {
                run_id: cycle.run_id,
                snapshot: &cycle.snapshot,
                sleeves: &self.sleeves,
                retired: &self.retired,
                orders: &orders,
                on_the_way,
                ids: &self.ids,
                no_trade_band: self.no_trade_band,
                reserve: self.reserve,
                stop_default: self.stop_default,
            };
            (
                allocate(&world, &cycle.proposals),
                AllocationInputs::of(&world, &cycle.proposals),
            )
        };
        let at = cycle.snapshot.as_of_ms;
        let output = written(&plan);
        debug_assert_eq!(
            seen.replay(),
            output,
            "what is taken down is all that was looked at"
        );
        let inputs = RunInputs::new(
            (cycle.run_id, InputStage::Allocation),
            "",
            &seen,
            output,
            at,
        );
        self.journal.post(Record::Inputs(Box::new(inputs))).await?;
        for (intent, row) in plan.intents.iter().filter_map(|i| {
            let row = plan
                .allocations
                .iter()
                .find(|row| row.cl_ord_id.as_ref() == Some(&i.cl_ord_id))?;
            Some((i, row))
        }) {
            let policy = self
                .sleeves
                .get(&intent.contender)
                .unwrap_or(&self.retired)
                .execution;
            // A new decision ends the work on the one before.
            let key = (intent.contender.clone(), intent.inst.clone());
            works.insert(key, WorkedDecision::begun(intent, policy, row.target, at));
        }
        self.journal
            .post(Record::Allocations {
                run_id: cycle.run_id,
                at,
                rows: plan.allocations,
            })
            .await?;
        if plan.intents.is_empty() {
            return Ok(());
        }
        let intents: Vec<Arc<OrderIntent>> = plan.intents.into_iter().map(Arc::new).collect();
        for intent in &intents {
            on_the_way.insert(
                (intent.contender.clone(), intent.inst.clone()),
                OrderId::from(&intent.cl_ord_id),
            );
            info!(event = "intent", run_id = %cycle.run_id, cl_ord_id = %intent.cl_ord_id, contender = %intent.contender,
                inst = %intent.inst, side = intent.side.as_str(), qty = %intent.qty, purpose = intent.purpose.as_str(),
                "wants an order");
        }
        self.hand_on(IntentBatch {
            run_id: cycle.run_id,
            intents,
        })
        .await
    }

    async fn hand_on(&self, batch: IntentBatch) -> Result<(), StageError> {
        self.intents
            .send(batch)
            .await
            .map_err(|_| StageError::Gone("the risk gate"))
    }

    /// Orders that have ended with something left, or rest where nobody comes: the next try, if
    /// there is one.
    async fn work_on(
        &mut self,
        on_the_way: &mut BTreeMap<(ContenderId, InstId), OrderId>,
        works: &mut BTreeMap<(ContenderId, InstId), WorkedDecision>,
    ) -> Result<(), StageError> {
        let now = self.clock.now();
        let mut tries: Vec<(OrderIntent, RunInputs)> = Vec::new();
        {
            let (orders, market) = (self.orders.borrow(), self.market.borrow());
            works.retain(|(_, inst), work| {
                let Some(shown) = market.insts.get(inst) else {
                    return false;
                };
                let before = work.clone();
                match work.next(
                    &orders,
                    &shown.instrument,
                    shown.quote.as_ref(),
                    now,
                    &self.ids,
                ) {
                    NextTry::Wait => true,
                    NextTry::Over => false,
                    NextTry::Try(intent) => {
                        work.handed_on(&intent, now);
                        let seen = Tried::of(
                            &before,
                            &orders,
                            &shown.instrument,
                            shown.quote,
                            now,
                            &self.ids,
                        );
                        debug_assert_eq!(
                            seen.replay(),
                            tried(&intent),
                            "what is taken down is all that was looked at"
                        );
                        let about = (intent.run_id, InputStage::Working);
                        let inputs = RunInputs::new(
                            about,
                            intent.cl_ord_id.as_str(),
                            &seen,
                            tried(&intent),
                            now,
                        );
                        tries.push((*intent, inputs));
                        true
                    }
                }
            });
        }
        for (intent, inputs) in tries {
            self.journal.post(Record::Inputs(Box::new(inputs))).await?;
            if intent.moves.is_none() {
                on_the_way.insert(
                    (intent.contender.clone(), intent.inst.clone()),
                    OrderId::from(&intent.cl_ord_id),
                );
            }
            info!(event = "intent", run_id = %intent.run_id, cl_ord_id = %intent.cl_ord_id, contender = %intent.contender,
                inst = %intent.inst, side = intent.side.as_str(), qty = %intent.qty, attempt = intent.attempt,
                moves = intent.moves.is_some(), "tries again");
            self.hand_on(IntentBatch {
                run_id: intent.run_id,
                intents: vec![Arc::new(intent)],
            })
            .await?;
        }
        Ok(())
    }
}
