//! The closed list of facts that get persisted. Stages write these; only the store knows SQL.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::inputs::RunInputs;
use super::model::ModelFact;
use super::{
    AccountView, AlgoState, Bill, Bps, ContenderId, EquityBook, Fill, GoodFor, Incident, InstId,
    Instrument, Ms, OrderId, OrderIntent, OrderState, Price, Qty, Restriction, RunId, StopOrder,
    TradingState, Usd, VenueOrdId,
};

/// Event that began a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunKind {
    /// The daemon started.
    Start,
    /// A bar closed and contenders were asked.
    Cycle,
    /// Account and orders were compared with the venue.
    Sync,
    /// A person asked for something.
    Command,
}

impl RunKind {
    /// The database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            RunKind::Start => "start",
            RunKind::Cycle => "cycle",
            RunKind::Sync => "sync",
            RunKind::Command => "command",
        }
    }
}

/// Target that one contender wants in one instrument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub contender: ContenderId,
    pub inst: InstId,
    /// Share of the sleeve to hold, signed, 10 000 = all of it long. `None`: no opinion, keep.
    pub target: Option<Bps>,
    /// Protective stop for a new entry.
    pub stop: Option<Price>,
    pub reason: String,
    /// Conditions that an entry must meet until it has been sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good_for: Option<GoodFor>,
}

/// Result of the allocator for one proposal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    pub contender: ContenderId,
    pub inst: InstId,
    pub sleeve: Usd,
    pub weight: Decimal,
    /// Held now by this contender.
    pub current: Qty,
    pub target: Qty,
    /// The child order it leads to, if any.
    pub cl_ord_id: Option<super::ClOrdId>,
    /// Why there is no order, or what the order is for.
    pub reason: String,
}

/// One rule that an intent broke.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Breach {
    /// Stable code, e.g. `notional_max`.
    pub code: String,
    pub limit: String,
    pub value: String,
}

/// A change of an order's state, with what caused it and what proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    pub order_id: OrderId,
    pub run_id: RunId,
    /// `None` for the first row of an order.
    pub from: Option<OrderState>,
    pub to: OrderState,
    /// Source of the step: `gate`, `executor`, `venue`, `reconcile`.
    pub cause: &'static str,
    /// The words it rests on: the venue's code and message, the channel, the proof.
    pub evidence: String,
    pub venue_id: Option<VenueOrdId>,
    pub filled: Qty,
    pub average: Option<Price>,
    /// When it was known here, venue time.
    pub at: Ms,
}

/// State change of a stop, with its cause and its proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlgoStep {
    /// As it is now.
    pub stop: StopOrder,
    /// `None` for its first row.
    pub from: Option<AlgoState>,
    /// Source of the step: `gate`, `venue`, `descent`, `reconcile`.
    pub cause: &'static str,
    pub evidence: String,
    pub at: Ms,
}

/// Change of a sleeve's holdings without a trade of its contender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adjustment {
    pub contender: ContenderId,
    pub inst: InstId,
    /// Signed change, in base units or contracts.
    pub qty: Qty,
    /// The price it is booked at.
    pub price: Price,
    /// `close`, `liquidation` or `accepted`.
    pub kind: &'static str,
    /// The order or case behind it.
    pub reference: String,
    pub run_id: RunId,
    pub at: Ms,
}

/// An order that is ours by descent: the child of one of our stops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptedOrder {
    pub order_id: OrderId,
    pub parent: OrderId,
    pub venue_id: VenueOrdId,
    pub intent: OrderIntent,
}

/// A fill that was told wrongly first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// As the venue's list has it.
    pub fill: Fill,
    /// As it was booked.
    pub was: super::order::FillFacts,
    pub at: Ms,
}

/// A fact to be kept.
#[derive(Clone, Debug)]
pub enum Record {
    Run {
        run_id: RunId,
        kind: RunKind,
        trigger: String,
        at: Ms,
        caused_by: Option<RunId>,
    },
    /// `body` is canonical JSON of all that the contenders were shown.
    Snapshot {
        run_id: RunId,
        as_of: Ms,
        body: Arc<str>,
    },
    Decisions {
        run_id: RunId,
        at: Ms,
        proposals: Vec<Proposal>,
    },
    Allocations {
        run_id: RunId,
        at: Ms,
        rows: Vec<Allocation>,
    },
    /// The write-ahead intent. Its acknowledgement is the receipt without which nothing is sent.
    Intent {
        intent: Arc<OrderIntent>,
        expires_at: Ms,
        at: Ms,
    },
    /// A resting order is about to be moved to another price.
    MoveAhead {
        order_id: OrderId,
        run_id: RunId,
        limit: Price,
        at: Ms,
    },
    /// The venue shows a resting order at another price.
    Moved {
        order_id: OrderId,
        run_id: RunId,
        limit: Price,
        at: Ms,
    },
    /// An order that ends here: blocked by the gate, or suppressed because trading is off.
    Stopped {
        intent: Arc<OrderIntent>,
        state: OrderState,
        breaches: Vec<Breach>,
        at: Ms,
    },
    /// The same was refused again, in the same way as this order.
    RefusedAgain {
        order: OrderId,
        intent: Arc<OrderIntent>,
        at: Ms,
    },
    /// Facts of one event: all in one transaction, or none.
    Together(Vec<Record>),
    Adopted {
        order: Box<AdoptedOrder>,
        at: Ms,
    },
    Transition(Transition),
    Fill(Box<Fill>),
    /// A fill was booked as it was told; the venue's list tells it otherwise.
    Corrected(Box<Correction>),
    /// The venue shows an order larger than we made it.
    Resized {
        order_id: OrderId,
        run_id: RunId,
        qty: Qty,
        at: Ms,
    },
    Algo(Box<AlgoStep>),
    Adjusted(Adjustment),
    /// A change of weights moves money between sleeves.
    Transfer {
        contender: ContenderId,
        /// Dollars into the sleeve; negative: out of it.
        amount: Usd,
        reason: String,
        at: Ms,
    },
    /// Part of a position (`BTC-USDT-SWAP`) or a currency (`USDT`) at the venue that is not ours.
    Baseline {
        subject: String,
        amount: Decimal,
        at: Ms,
    },
    Halted {
        case: Incident,
        run_id: RunId,
    },
    HaltEnded {
        case: Incident,
        /// Party that ended it: `venue`, or the command.
        by: String,
        run_id: RunId,
        at: Ms,
    },
    /// A complete, successful read of the account.
    Account {
        run_id: RunId,
        view: Arc<AccountView>,
    },
    Bills(Vec<Bill>),
    Instruments {
        rows: Vec<Arc<Instrument>>,
        at: Ms,
    },
    Contenders {
        rows: Vec<ContenderRow>,
        at: Ms,
    },
    Config {
        hash: String,
        body: String,
        at: Ms,
    },
    TradingState {
        scope: String,
        from: String,
        to: String,
        who: String,
        why: String,
        run_id: RunId,
        at: Ms,
    },
    /// A scope's trading state has become stricter, or what it rests on has changed.
    Restricted {
        restriction: Restriction,
        /// The scope's state before.
        from: TradingState,
        who: String,
        run_id: RunId,
        at: Ms,
    },
    /// A restriction has ended.
    Released {
        restriction: Restriction,
        /// The scope's state from now on.
        to: TradingState,
        by: String,
        run_id: RunId,
        at: Ms,
    },
    /// Value of a unit of the account.
    Equity(Box<EquityBook>),
    RiskEvent {
        run_id: RunId,
        order_id: Option<OrderId>,
        scope: String,
        breach: Breach,
        at: Ms,
    },
    Model(Box<ModelFact>),
    /// Inputs of a decision.
    Inputs(Box<RunInputs>),
    /// Small durable values: cursors, the account's id.
    Note {
        key: String,
        value: String,
    },
    /// Record with nothing to keep; acknowledged after a real commit. Proves that the writer works.
    Probe {
        at: Ms,
    },
}

/// A contender as configured at this start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContenderRow {
    pub id: ContenderId,
    pub kind: String,
    pub strategy: String,
    pub stage: String,
    pub weight: Decimal,
    pub params: BTreeMap<String, Decimal>,
}
