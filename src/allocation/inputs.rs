//! Inputs of an allocation, kept so that it can be made again. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::sizing::{AllocationPlan, Ids, SleeveSettings, World, allocate};
use super::working::{NextTry, WorkedDecision};
use crate::decision::{InstSnapshot, Snapshot};
use crate::domain::record::Proposal;
use crate::domain::{
    AccountView, Bar, ContenderId, InstId, Instrument, Ms, OrderId, OrderIntent, OrdersView, Quote,
    RunId, Usd,
};

/// Everything [`allocate`] is a function of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AllocationInputs {
    run_id: RunId,
    as_of: Ms,
    equity: Usd,
    market: BTreeMap<InstId, (Instrument, Option<Quote>)>,
    sleeves: BTreeMap<ContenderId, SleeveSettings>,
    retired: SleeveSettings,
    orders: OrdersView,
    on_the_way: BTreeMap<(ContenderId, InstId), OrderId>,
    ids: Ids,
    no_trade_band: Decimal,
    reserve: Decimal,
    stop_default: Decimal,
    proposals: Vec<Proposal>,
}

impl AllocationInputs {
    /// Takes down what is looked at.
    pub fn of(world: &World<'_>, proposals: &[Proposal]) -> Self {
        let concerned = |inst: &InstId| proposals.iter().any(|p| p.inst == *inst);
        let market = world
            .snapshot
            .market
            .iter()
            .filter(|(inst, _)| concerned(inst));
        Self {
            run_id: world.run_id,
            as_of: world.snapshot.as_of_ms,
            equity: world.snapshot.equity,
            market: market
                .map(|(inst, shown)| (inst.clone(), ((*shown.instrument).clone(), shown.quote)))
                .collect(),
            sleeves: world.sleeves.clone(),
            retired: world.retired.clone(),
            orders: world.orders.clone(),
            on_the_way: world.on_the_way.clone(),
            ids: world.ids.clone(),
            no_trade_band: world.no_trade_band,
            reserve: world.reserve,
            stop_default: world.stop_default,
            proposals: proposals.to_vec(),
        }
    }

    /// Returns the proposals the allocation was made from.
    pub fn proposals(&self) -> &[Proposal] {
        &self.proposals
    }

    /// Allocates again.
    pub fn replay(&self) -> String {
        let market = self.market.iter().map(|(inst, (instrument, quote))| {
            let instrument = Arc::new(instrument.clone());
            (
                inst.clone(),
                InstSnapshot {
                    instrument,
                    bar: None,
                    longer: BTreeMap::new(),
                    quote: *quote,
                },
            )
        });
        let account = AccountView {
            equity: self.equity,
            ..AccountView::default()
        };
        let none = BTreeMap::new();
        let snapshot = Snapshot::freeze(
            self.as_of,
            (Bar::S1, Ms::ZERO),
            market.collect(),
            &account,
            &none,
        );
        let world = World {
            run_id: self.run_id,
            snapshot: &snapshot,
            sleeves: &self.sleeves,
            retired: &self.retired,
            orders: &self.orders,
            on_the_way: &self.on_the_way,
            ids: &self.ids,
            no_trade_band: self.no_trade_band,
            reserve: self.reserve,
            stop_default: self.stop_default,
        };
        written(&allocate(&world, &self.proposals))
    }
}

/// Everything that a further try is a function of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Tried {
    work: WorkedDecision,
    orders: OrdersView,
    instrument: Instrument,
    quote: Option<Quote>,
    now: Ms,
    ids: Ids,
}

impl Tried {
    /// Takes down what is looked at.
    pub fn of(
        work: &WorkedDecision,
        orders: &OrdersView,
        instrument: &Instrument,
        quote: Option<Quote>,
        now: Ms,
        ids: &Ids,
    ) -> Self {
        let (work, orders, instrument, ids) = (
            work.clone(),
            orders.clone(),
            instrument.clone(),
            ids.clone(),
        );
        Self {
            work,
            orders,
            instrument,
            quote,
            now,
            ids,
        }
    }

    /// Tries again.
    pub fn replay(&self) -> String {
        let next = self.work.next(
            &self.orders,
            &self.instrument,
            self.quote.as_ref(),
            self.now,
            &self.ids,
        );
        match next {
            NextTry::Try(intent) => tried(&intent),
            NextTry::Wait | NextTry::Over => "null".to_owned(),
        }
    }
}

/// A further try as canonical JSON.
pub fn tried(intent: &OrderIntent) -> String {
    serde_json::to_string(intent).expect("an order has only text keys")
}

/// A plan as canonical JSON.
pub fn written(plan: &AllocationPlan) -> String {
    serde_json::to_string(&(&plan.allocations, &plan.intents)).expect("a plan has only text keys")
}
