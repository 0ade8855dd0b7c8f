//! The exchange's own nouns. They are apart from `domain` on purpose: the ledger is the oracle that
//! the daemon's books are compared with, so it must not share their arithmetic.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::domain::{Ms, OrdType, Side};

/// OKX refuses: a code and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub msg: String,
}

impl Refusal {
    /// A refusal with OKX's code.
    pub fn new(code: &'static str, msg: impl Into<String>) -> Self {
        Self { code, msg: msg.into() }
    }
}

/// A create as it came in, all values parsed.
#[derive(Clone, Debug)]
pub struct NewOrder {
    pub inst: String,
    pub td_mode: String,
    pub side: Side,
    pub ord_type: OrdType,
    /// OKX also knows fill-or-kill; it is an `ioc` that must fill in full.
    pub all_or_none: bool,
    pub size: Decimal,
    /// Spot market buys count their size in quote currency unless told otherwise.
    pub size_in_quote: bool,
    pub price: Option<Decimal>,
    pub cl_ord_id: String,
    pub tag: String,
    pub reduce_only: bool,
    pub attached: Vec<AttachedStop>,
}

/// A stop-loss attached to an order (`attachAlgoOrds`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttachedStop {
    pub algo_cl_ord_id: String,
    pub trigger: Decimal,
}

/// States of an order at the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Live,
    PartiallyFilled,
    Filled,
    Canceled,
}

impl Status {
    /// OKX's `state`.
    pub const fn okx(self) -> &'static str {
        match self {
            Status::Live => "live",
            Status::PartiallyFilled => "partially_filled",
            Status::Filled => "filled",
            Status::Canceled => "canceled",
        }
    }
    /// Can it still trade?
    pub const fn is_open(self) -> bool {
        matches!(self, Status::Live | Status::PartiallyFilled)
    }
}

/// One order in the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub id: u64,
    pub cl_ord_id: String,
    pub tag: String,
    pub inst: String,
    pub td_mode: String,
    pub side: Side,
    pub ord_type: OrdType,
    pub all_or_none: bool,
    /// As requested; quote currency when `size_in_quote`.
    pub size: Decimal,
    pub size_in_quote: bool,
    pub price: Option<Decimal>,
    pub reduce_only: bool,
    pub attached: Vec<AttachedStop>,
    pub status: Status,
    /// Base units or contracts.
    pub filled: Decimal,
    /// Σ price × size over fills.
    pub value: Decimal,
    pub fee: Decimal,
    pub fee_ccy: String,
    pub pnl: Decimal,
    pub last_fill: Option<u64>,
    /// Sizes of others that stand before us at our price.
    pub queue_ahead: Decimal,
    pub category: String,
    pub source: String,
    pub cancel_source: String,
    pub algo_id: Option<u64>,
    pub algo_cl_ord_id: String,
    pub created: Ms,
    pub updated: Ms,
}

impl Order {
    /// Volume-weighted fill price.
    pub fn average(&self) -> Option<Decimal> {
        (!self.filled.is_zero()).then(|| round(self.value / self.filled))
    }
}

/// One execution.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Execution {
    /// `billId` of the fill, also its place in history.
    pub id: u64,
    pub trade_id: u64,
    pub order: u64,
    pub cl_ord_id: String,
    pub inst: String,
    pub side: Side,
    pub price: Decimal,
    pub size: Decimal,
    pub fee: Decimal,
    pub fee_ccy: String,
    pub pnl: Decimal,
    pub maker: bool,
    pub at: Ms,
}

/// A line of the ledger of one currency.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BillLine {
    pub id: u64,
    /// 1 transfer, 2 trade, 5 liquidation, 8 funding.
    pub kind: u32,
    pub sub: u32,
    pub ccy: String,
    pub change: Decimal,
    pub balance: Decimal,
    pub inst: String,
    pub order: Option<u64>,
    pub trade_id: Option<u64>,
    pub size: Decimal,
    pub price: Decimal,
    pub fee: Decimal,
    pub pnl: Decimal,
    pub at: Ms,
}

/// A swap position in net mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pos {
    pub id: u64,
    pub qty: Decimal,
    pub avg: Decimal,
    pub realised: Decimal,
    pub fee: Decimal,
    pub funding: Decimal,
    pub last_trade: u64,
    pub created: Ms,
    pub updated: Ms,
}

/// States of an algo order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlgoStatus {
    Live,
    Effective,
    Canceled,
    OrderFailed,
}

impl AlgoStatus {
    /// OKX's `state`.
    pub const fn okx(self) -> &'static str {
        match self {
            AlgoStatus::Live => "live",
            AlgoStatus::Effective => "effective",
            AlgoStatus::Canceled => "canceled",
            AlgoStatus::OrderFailed => "order_failed",
        }
    }
}

/// A stop that waits for its trigger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Algo {
    pub id: u64,
    pub cl_ord_id: String,
    pub inst: String,
    pub td_mode: String,
    pub side: Side,
    pub size: Decimal,
    pub trigger: Decimal,
    pub status: AlgoStatus,
    /// The order that carried it.
    pub parent: u64,
    pub child: Option<u64>,
    pub created: Ms,
    pub updated: Ms,
}

/// A create request that reached the exchange, whatever became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateSeen {
    #[serde(rename = "clOrdId")]
    pub cl_ord_id: String,
    pub recv_ms: i64,
    pub body: serde_json::Value,
}

/// Everything that must survive: written to the log whenever a part of it changed.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub orders: BTreeMap<u64, Order>,
    pub executions: BTreeMap<u64, Execution>,
    pub algos: BTreeMap<u64, Algo>,
    pub bills: BTreeMap<u64, BillLine>,
    pub cash: BTreeMap<String, Decimal>,
    pub positions: BTreeMap<String, Pos>,
    pub leverage: BTreeMap<String, Decimal>,
    pub creates: Vec<CreateSeen>,
    /// Next order, trade and bill id.
    pub next_id: u64,
    /// The last second that was matched, and price shifts by (second, instrument, ticks).
    pub matched_to: i64,
    pub shifts: Vec<(i64, String, i64)>,
}

/// Half-even to twelve decimals: how the exchange rounds averages, fees and profits.
pub fn round(value: Decimal) -> Decimal {
    value.round_dp_with_strategy(12, RoundingStrategy::MidpointNearestEven).normalize()
}
