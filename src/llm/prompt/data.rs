//! The data contract of a prompt. The same state gives the same bytes: it names neither the run nor
//! the contender nor the mode.
//!
//! Times are UTC ms, prices and money decimals as strings; every series is of closed bars, oldest
//! first. What is not known is null, and `missing` says why.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{InstId, Ms, Price, Qty};
use crate::llm::answer::Predicate;
use crate::llm::series::SeriesData;

/// Version of the contract.
pub const SCHEMA: &str = "prompt/2";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub schema: String,
    /// First twelve hex digits of the hash of everything else.
    pub snap: String,
    pub as_of_ms: Ms,
    /// `bar`, or what has changed.
    pub trigger: String,
    pub minutes_since_last_decision: Option<i64>,
    /// The symbol asked about; null: all of them.
    pub symbol: Option<InstId>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostData {
    pub taker_bps: BTreeMap<InstId, Decimal>,
    pub maker_bps: BTreeMap<InstId, Decimal>,
    /// Half the spread now.
    pub est_slippage_bps: BTreeMap<InstId, Decimal>,
    pub llm_cost_today_usd: Decimal,
    /// Of this contender's fills; negative: rebates.
    #[serde(default)]
    pub fees_today_usd: Decimal,
    /// Of this contender's fills.
    pub turnover_today_times_sleeve: Decimal,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LimitData {
    pub max_risk_per_trade_pct: Decimal,
    pub risk_budget_pct: Decimal,
    pub max_leverage: Decimal,
    /// Value one way in instruments that move alike, over the sleeve.
    #[serde(default)]
    pub max_correlated_exposure: Decimal,
    pub max_positions: u32,
    /// Of the whole account, times its equity.
    pub max_gross_exposure: Decimal,
    /// Dollars that the account may still lose today before nothing may open; null before its
    /// equity is known.
    pub daily_loss_left_usd: Option<Decimal>,
    pub min_reward_risk: Decimal,
    /// The bars whose average true range distances are counted in, and that range in price; null
    /// while history is short.
    pub atr_tf: String,
    pub atr14_px: BTreeMap<InstId, Option<Decimal>>,
    pub stop_atr: [Decimal; 2],
    pub target_atr_max: Decimal,
    pub opens_left_today: u32,
    /// Answers allowed for each symbol now.
    pub allowed: BTreeMap<InstId, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub equity_usd: Decimal,
    pub available_margin_usd: Decimal,
    pub used_margin_pct: Option<Decimal>,
    /// Of the account, transfers taken out; null before its equity is known.
    pub return_since_start_pct: Option<Decimal>,
    pub drawdown_pct: Option<Decimal>,
    /// This contender's capital.
    pub sleeve_usd: Decimal,
    pub as_of_ms: Ms,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PositionData {
    pub symbol: InstId,
    pub side: String,
    pub contracts: Qty,
    pub notional_usd: Option<Decimal>,
    pub entry_px: Price,
    pub mark_px: Option<Price>,
    pub upnl_usd: Option<Decimal>,
    /// In units of what was risked.
    pub upnl_r: Option<Decimal>,
    pub liq_px: Option<Price>,
    pub stop_px: Option<Price>,
    pub target_px: Option<Price>,
    pub opened_ms: Option<Ms>,
    pub held_min: Option<i64>,
    /// Since it was opened; negative: received.
    #[serde(default)]
    pub funding_paid_usd: Option<Decimal>,
    /// The model's own words, quoted.
    pub thesis: Option<String>,
    pub invalidation: Option<Predicate>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderData {
    pub symbol: InstId,
    /// `order` or `stop`.
    pub kind: String,
    pub side: String,
    pub px: Option<Price>,
    /// Null: of a stop that hangs on an order, as much as that fills.
    pub contracts: Option<Qty>,
    pub age_s: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MarketData {
    pub last: Option<Price>,
    pub mark: Option<Price>,
    /// Half way between bid and ask.
    #[serde(default)]
    pub mid: Option<Price>,
    pub spread_bps: Option<Decimal>,
    /// Both sides within ten hundredths of a percent of the mid.
    pub depth_usd: Option<Decimal>,
    pub funding_rate_bps: Option<Decimal>,
    pub next_funding_ms: Option<Ms>,
    #[serde(default)]
    pub open_interest_usd: Option<Decimal>,
    #[serde(default)]
    pub open_interest_24h_pct: Option<Decimal>,
    pub data_age_ms: Option<i64>,
}

/// Return of the benchmark; null where the history is shorter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Benchmark {
    pub symbol: InstId,
    pub return_1h_pct: Option<Decimal>,
    pub return_24h_pct: Option<Decimal>,
    pub return_7d_pct: Option<Decimal>,
}

/// One of the contender's own trades that are over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClosedTrade {
    pub symbol: InstId,
    pub r_multiple: Option<Decimal>,
    pub held_min: i64,
    pub exit_reason: String,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptData {
    pub meta: Meta,
    pub costs: CostData,
    pub limits: LimitData,
    pub account: Account,
    pub positions: Vec<PositionData>,
    pub orders: Vec<OrderData>,
    pub market: BTreeMap<InstId, MarketData>,
    pub series: BTreeMap<InstId, BTreeMap<String, SeriesData>>,
    pub benchmark: Option<Benchmark>,
    pub history: Vec<ClosedTrade>,
    /// Values that are null, and why.
    pub missing: Vec<String>,
}

/// The data with its canonical text.
#[derive(Clone, Debug)]
pub struct Contract {
    pub data: PromptData,
    /// Canonical JSON.
    pub text: String,
}

impl Contract {
    /// Hashes the data, gives it its name and writes it down.
    pub fn seal(mut data: PromptData) -> Self {
        let write = |data: &PromptData| serde_json::to_string(data).expect("it has only text keys");
        data.meta.snap = String::new();
        let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(write(&data)));
        data.meta.snap = hash[..12].to_owned();
        let text = write(&data);
        Self { data, text }
    }

    /// The data of a text that was sealed before.
    ///
    /// # Errors
    /// Another text.
    pub fn read(text: &str) -> Result<Self, String> {
        let data: PromptData =
            serde_json::from_str(text).map_err(|error| format!("the prompt's data: {error}"))?;
        Ok(Self {
            data,
            text: text.to_owned(),
        })
    }

    /// Counts these claims, each `path=value`: first those that match the data, then all of them.
    pub fn verified(&self, evidence: &[String]) -> (usize, usize) {
        let tree: serde_json::Value = serde_json::from_str(&self.text).expect("we wrote it");
        let holds = |claim: &String| {
            let (path, value) = claim.split_once('=')?;
            let found = at(&tree, path.trim())?;
            let value = value.trim();
            let same = match found {
                serde_json::Value::String(text) => {
                    text == value
                        || matches!((text.parse::<Decimal>(), value.parse::<Decimal>()), (Ok(a), Ok(b)) if a == b)
                }
                serde_json::Value::Null => value == "null",
                other => value
                    .parse::<serde_json::Value>()
                    .is_ok_and(|claimed| claimed == *other),
            };
            same.then_some(())
        };
        (
            evidence
                .iter()
                .filter(|claim| holds(claim).is_some())
                .count(),
            evidence.len(),
        )
    }
}

/// Finds the value at `a.b[2].c`, or at `a.b.-1`, which counts from the end.
fn at<'a>(tree: &'a serde_json::Value, path: &str) -> Option<&'a serde_json::Value> {
    let path = path.replace('[', ".").replace(']', "");
    path.split('.').try_fold(tree, |value, key| match value {
        serde_json::Value::Array(items) => {
            let index: i64 = key.parse().ok()?;
            let index = if index < 0 {
                items.len() as i64 + index
            } else {
                index
            };
            items.get(usize::try_from(index).ok()?)
        }
        other => other.get(key),
    })
}
