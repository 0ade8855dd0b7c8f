//! The exchange's own nouns. They are apart from `domain` on purpose: the ledger is the oracle that
//! the daemon's books are compared with, so it must not share their arithmetic.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, RoundingStrategy};
use serde::{Deserialize, Serialize};

use crate::domain::{Ms, OrdType, Side};

/// OKX refuses: a code and its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub code: &'static str,
    pub msg: String,
}

impl Rejection {
    /// A refusal with OKX's code.
    pub fn new(code: &'static str, msg: impl Into<String>) -> Self {
        Self {
            code,
            msg: msg.into(),
        }
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
    /// OKX's name of the kind where `ord_type` does not say it (`fok`, `optimal_limit_ioc`), else
    /// empty.
    pub shown_as: String,
    pub size: Decimal,
    /// Spot market buys count their size in quote currency unless told otherwise.
    pub size_in_quote: bool,
    pub price: Option<Decimal>,
    pub cl_ord_id: String,
    pub tag: String,
    pub reduce_only: bool,
    pub stp: Stp,
    /// Largest distance from the touch at which a market order may fill, as a share of it
    /// (`slippagePct`).
    pub slippage: Option<Decimal>,
    pub attached: Vec<Attached>,
}

impl NewOrder {
    /// A plain market order, the start of others.
    pub fn market(inst: &str, side: Side, size: Decimal) -> Self {
        Self {
            inst: inst.to_owned(),
            td_mode: "cross".into(),
            side,
            ord_type: OrdType::Market,
            all_or_none: false,
            shown_as: String::new(),
            size,
            size_in_quote: false,
            price: None,
            cl_ord_id: String::new(),
            tag: String::new(),
            reduce_only: false,
            stp: Stp::CancelMaker,
            slippage: None,
            attached: Vec::new(),
        }
    }
}

/// Self-trade prevention: who goes when our orders would meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stp {
    #[default]
    CancelMaker,
    CancelTaker,
    CancelBoth,
}

impl Stp {
    /// OKX's `stpMode`.
    pub const fn okx(self) -> &'static str {
        match self {
            Stp::CancelMaker => "cancel_maker",
            Stp::CancelTaker => "cancel_taker",
            Stp::CancelBoth => "cancel_both",
        }
    }
    /// From OKX's `stpMode`; empty is the account's default.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "" | "cancel_maker" => Some(Stp::CancelMaker),
            "cancel_taker" => Some(Stp::CancelTaker),
            "cancel_both" => Some(Stp::CancelBoth),
            _ => None,
        }
    }
}

/// A trigger and what becomes of it: a limit order at `price`, or a market order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "LegText")]
pub struct Leg {
    pub trigger: Decimal,
    pub price: Option<Decimal>,
}

/// Ledgers of the first release wrote a leg as its trigger alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum LegText {
    Trigger(Decimal),
    Full {
        trigger: Decimal,
        price: Option<Decimal>,
    },
}

impl From<LegText> for Leg {
    fn from(text: LegText) -> Self {
        match text {
            LegText::Trigger(trigger) => Leg {
                trigger,
                price: None,
            },
            LegText::Full { trigger, price } => Leg { trigger, price },
        }
    }
}

/// Stop-loss and take-profit attached to an order (`attachAlgoOrds`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    pub algo_cl_ord_id: String,
    #[serde(alias = "trigger")]
    pub stop: Option<Leg>,
    #[serde(default)]
    pub target: Option<Leg>,
    /// Part of the fill that it covers; `None`: all of it.
    #[serde(default)]
    pub size: Option<Decimal>,
}

/// Amendment of an algo order, per leg; `None` leaves a value unchanged.
#[derive(Clone, Copy, Debug, Default)]
pub struct LegChange {
    pub trigger: Option<Decimal>,
    /// `Some(None)`: a market order from now on.
    pub price: Option<Option<Decimal>>,
}

/// Amendment of an order; `None` leaves a value unchanged.
#[derive(Clone, Debug, Default)]
pub struct Amend {
    /// Total size, what is filled included.
    pub size: Option<Decimal>,
    pub price: Option<Decimal>,
    /// Cancel the order if it cannot be amended.
    pub cancel_on_fail: bool,
    pub req_id: String,
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
    /// True if the order can still trade.
    pub const fn is_open(self) -> bool {
        matches!(self, Status::Live | Status::PartiallyFilled)
    }
}

/// One order in the ledger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VenueOrder {
    pub id: u64,
    pub cl_ord_id: String,
    pub tag: String,
    pub inst: String,
    pub td_mode: String,
    pub side: Side,
    pub ord_type: OrdType,
    pub all_or_none: bool,
    #[serde(default)]
    pub shown_as: String,
    #[serde(default)]
    pub stp: Stp,
    /// Base units or contracts.
    pub size: Decimal,
    /// True if the size was requested in quote currency; `asked` is then the requested size.
    pub size_in_quote: bool,
    #[serde(default)]
    pub asked: Decimal,
    pub price: Option<Decimal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slippage: Option<Decimal>,
    pub reduce_only: bool,
    pub attached: Vec<Attached>,
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

impl VenueOrder {
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

/// Kinds of algo orders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlgoKind {
    /// One stop or one target.
    #[default]
    Conditional,
    /// A stop and a target; the first to trigger ends the other.
    Oco,
    /// An order that waits for a price from either side.
    Trigger,
    /// A stop that follows the best price at a distance.
    Trailing,
}

impl AlgoKind {
    /// OKX's `ordType`.
    pub const fn okx(self) -> &'static str {
        match self {
            AlgoKind::Conditional => "conditional",
            AlgoKind::Oco => "oco",
            AlgoKind::Trigger => "trigger",
            AlgoKind::Trailing => "move_order_stop",
        }
    }
    /// OKX's `source` of an order that such an algo order made.
    pub const fn source(self) -> &'static str {
        match self {
            AlgoKind::Conditional | AlgoKind::Oco => "7",
            AlgoKind::Trigger => "6",
            AlgoKind::Trailing => "25",
        }
    }
    /// From OKX's `ordType`.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Conditional, Self::Oco, Self::Trigger, Self::Trailing]
            .into_iter()
            .find(|kind| kind.okx() == text)
    }
}

/// Trailing of a stop: its distance, activation and best price.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trail {
    /// Share of the best price, or `None` for a fixed distance.
    pub ratio: Option<Decimal>,
    /// Distance in quote currency.
    pub spread: Option<Decimal>,
    /// Activation price: the stop follows only once the last price has been here.
    pub active: Option<Decimal>,
    /// Best price since it became active.
    pub best: Option<Decimal>,
}

/// A request for an algo order, parsed.
#[derive(Clone, Debug)]
pub struct NewAlgo {
    pub cl_ord_id: String,
    pub tag: String,
    pub inst: String,
    pub td_mode: String,
    pub side: Side,
    pub kind: AlgoKind,
    /// `None`: all of the position (`closeFraction` 1).
    pub size: Option<Decimal>,
    pub reduce_only: bool,
    pub stop: Option<Leg>,
    pub target: Option<Leg>,
    pub trail: Option<Trail>,
}

/// An order that waits for its trigger.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Algo {
    pub id: u64,
    pub cl_ord_id: String,
    #[serde(default)]
    pub tag: String,
    pub inst: String,
    pub td_mode: String,
    pub side: Side,
    #[serde(default)]
    pub kind: AlgoKind,
    pub size: Decimal,
    /// All of the position, whatever it is when the trigger comes.
    #[serde(default)]
    pub whole: bool,
    #[serde(default = "yes")]
    pub reduce_only: bool,
    #[serde(alias = "trigger")]
    pub stop: Option<Leg>,
    #[serde(default)]
    pub target: Option<Leg>,
    #[serde(default)]
    pub trail: Option<Trail>,
    /// For [`AlgoKind::Trigger`]: does it wait for the price to rise to it?
    #[serde(default)]
    pub rising: bool,
    pub status: AlgoStatus,
    /// The order that carried it; 0 if it came alone.
    pub parent: u64,
    pub child: Option<u64>,
    #[serde(default)]
    pub fail_code: String,
    #[serde(default)]
    pub triggered: Option<Ms>,
    /// Which leg triggered (`sl` or `tp`), and for how much.
    #[serde(default)]
    pub actual_side: String,
    #[serde(default)]
    pub actual_size: Decimal,
    pub created: Ms,
    pub updated: Ms,
}

fn yes() -> bool {
    true
}

/// A create request that reached the exchange, whatever became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateSeen {
    #[serde(rename = "clOrdId")]
    pub cl_ord_id: String,
    pub recv_ms: i64,
    /// The request as JSON. As text it takes a fifth of the memory that a tree of it would.
    #[serde(with = "json_text")]
    pub body: String,
}

/// JSON that is kept as its text.
mod json_text {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::Value;

    pub(super) fn serialize<S: Serializer>(text: &str, to: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<Value>(text)
            .map_err(serde::ser::Error::custom)?
            .serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
        Value::deserialize(from).map(|value| value.to_string())
    }
}

/// Everything that must survive: written to the log whenever a part of it changed.
#[derive(Clone, Debug, Default)]
pub struct VenueLedger {
    pub orders: BTreeMap<u64, VenueOrder>,
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
    /// Cancel-all-after: tag → when everything under it is cancelled; the empty tag is all.
    pub timers: BTreeMap<String, Ms>,
}

/// The newest `keep` of what may go, in the order of its ids.
fn newest<T>(rows: &mut BTreeMap<u64, T>, keep: usize, may_go: impl Fn(&T) -> bool) {
    // In strides: one by one it would cost more than it saves.
    if rows.len() <= keep + keep / 4 {
        return;
    }
    let surplus = rows.len() - keep;
    let old: Vec<u64> = rows
        .iter()
        .filter(|(_, row)| may_go(row))
        .map(|(id, _)| *id)
        .take(surplus)
        .collect();
    old.iter().for_each(|id| drop(rows.remove(id)));
}

impl VenueLedger {
    /// Forgets what ended long ago, as OKX does: all but the newest `keep` of each kind. What is
    /// open, held or owed stays.
    pub fn forget(&mut self, keep: usize) {
        newest(&mut self.orders, keep, |order| !order.status.is_open());
        newest(&mut self.executions, keep, |_| true);
        newest(&mut self.algos, keep, |algo| {
            algo.status != AlgoStatus::Live
        });
        newest(&mut self.bills, keep, |_| true);
        if self.creates.len() > keep + keep / 4 {
            self.creates.drain(..self.creates.len() - keep);
        }
    }

    /// Instruments in which something can still happen.
    pub fn in_use(&self) -> std::collections::BTreeSet<String> {
        let orders = self
            .orders
            .values()
            .filter(|o| o.status.is_open())
            .map(|o| &o.inst);
        let algos = self
            .algos
            .values()
            .filter(|a| a.status == AlgoStatus::Live)
            .map(|a| &a.inst);
        let held = self
            .positions
            .iter()
            .filter(|(_, p)| !p.qty.is_zero())
            .map(|(inst, _)| inst);
        orders.chain(algos).chain(held).cloned().collect()
    }
}

/// Half-even to twelve decimals: how the exchange rounds averages, fees and profits.
pub fn round(value: Decimal) -> Decimal {
    value
        .round_dp_with_strategy(12, RoundingStrategy::MidpointNearestEven)
        .normalize()
}
