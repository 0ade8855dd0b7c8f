//! The allocator task: sole owner of what is on its way to the tracker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rust_decimal::Decimal;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::sizing::{Ids, Sleeve, World, allocate};
use crate::decision::{Cycle, Snapshot};
use crate::domain::record::Record;
use crate::domain::{ContenderId, InstId, OrderId, OrderIntent, OrdersView, RunId};
use crate::runtime::{Actor, Beat, StageError, Stop, faults};
use crate::store::Journal;

/// The child orders of one cycle.
#[derive(Clone, Debug)]
pub struct IntentBatch {
    pub run_id: RunId,
    pub snapshot: Arc<Snapshot>,
    pub intents: Vec<Arc<OrderIntent>>,
}

/// The allocator actor.
pub struct Allocator {
    pub sleeves: BTreeMap<ContenderId, Sleeve>,
    pub ids: Ids,
    pub no_trade_band: Decimal,
    pub reserve: Decimal,
    pub journal: Journal,
    pub cycles: mpsc::Receiver<Cycle>,
    pub orders: watch::Receiver<OrdersView>,
    pub intents: mpsc::Sender<IntentBatch>,
    pub beat: Beat,
}

impl Actor for Allocator {
    async fn run(&mut self, _stop: Stop) -> Result<(), StageError> {
        let mut on_the_way: BTreeMap<(ContenderId, InstId), OrderId> = BTreeMap::new();
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                // Ends when decision has ended and the last cycle is through: shutdown follows the data.
                cycle = self.cycles.recv() => match cycle {
                    Some(cycle) => self.on_cycle(cycle, &mut on_the_way).await?,
                    None => return Ok(()),
                },
                _ = tick.tick() => {}
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
    ) -> Result<(), StageError> {
        let plan = {
            let orders = self.orders.borrow();
            let world = World {
                run_id: cycle.run_id,
                snapshot: &cycle.snapshot,
                sleeves: &self.sleeves,
                orders: &orders,
                on_the_way,
                ids: &self.ids,
                no_trade_band: self.no_trade_band,
                reserve: self.reserve,
            };
            allocate(&world, &cycle.proposals)
        };
        let at = cycle.snapshot.as_of_ms;
        self.journal.post(Record::Allocations { run_id: cycle.run_id, at, rows: plan.allocations }).await?;
        if plan.intents.is_empty() {
            return Ok(());
        }
        let intents: Vec<Arc<OrderIntent>> = plan.intents.into_iter().map(Arc::new).collect();
        for intent in &intents {
            on_the_way.insert((intent.contender.clone(), intent.inst.clone()), OrderId::from(&intent.cl_ord_id));
            info!(event = "intent", run_id = %cycle.run_id, cl_ord_id = %intent.cl_ord_id, contender = %intent.contender,
                inst = %intent.inst, side = intent.side.as_str(), qty = %intent.qty, purpose = intent.purpose.as_str(),
                "wants an order");
        }
        let batch = IntentBatch { run_id: cycle.run_id, snapshot: cycle.snapshot, intents };
        self.intents.send(batch).await.map_err(|_| StageError::Gone("the risk gate"))
    }
}
