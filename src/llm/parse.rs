//! A reply's text → an answer, or the code that says why not. Pure.
//!
//! The only cleaning is taking off one code fence or white space around it. Numbers, quotes and
//! cut-off text are never mended, and the reasoning of a model is never read.

use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::answer::{
    Action, AnswerMode, ITEM_REASON, NUMBER, Plain, Portfolio, Predicate, REASON, Single, Target,
    VERSION,
};
use super::code::Code;
use crate::domain::InstId;

/// Longest text that is looked at, bytes.
pub const LONGEST: usize = 64 * 1024;

/// Why a reply is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedAnswer {
    pub code: Code,
    /// Exact cause, in few words.
    pub detail: String,
}

impl RefusedAnswer {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

/// Action wanted for a symbol, however it was stated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Want {
    Hold,
    Close,
    TightenStop,
    /// Share of the sleeve to lose at the stop.
    Open {
        long: bool,
        risk: Decimal,
    },
    /// Share of the risk budget, signed and not zero.
    Weight(Decimal),
}

/// One symbol of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerItem {
    pub inst: InstId,
    pub want: Want,
    pub stop: Option<Decimal>,
    pub target: Option<Decimal>,
    pub deviation_bps: Option<u16>,
    pub horizon_min: Option<u32>,
    pub p_target_first: Option<Decimal>,
    pub invalidation: Option<Predicate>,
    pub evidence: Vec<String>,
    pub reason: String,
}

/// Reads the answer to the question `snap` out of a reply's text.
///
/// # Errors
/// The first thing that is wrong with it, in the order syntax, schema.
pub fn parse(mode: AnswerMode, text: &str, snap: &str) -> Result<Vec<AnswerItem>, RefusedAnswer> {
    if text.len() > LONGEST {
        return Err(RefusedAnswer::new(
            Code::TooLong,
            format!("{} bytes; at most {LONGEST}", text.len()),
        ));
    }
    let bare = unfenced(text.trim());
    if bare.is_empty() {
        return Err(RefusedAnswer::new(Code::Empty, "nothing in it"));
    }
    if !bare.starts_with('{') {
        let shown: String = bare.chars().take(40).collect();
        return Err(RefusedAnswer::new(
            Code::Syntax,
            format!("not a JSON object: {shown:?}"),
        ));
    }
    let (echoed, items) = match mode {
        AnswerMode::Single => {
            let answer: Single = read(bare)?;
            length(&answer.reason, REASON)?;
            (answer.snap.clone(), vec![single(answer)])
        }
        AnswerMode::Portfolio => {
            let answer: Portfolio = read(bare)?;
            length(&answer.reason, REASON)?;
            answer
                .targets
                .iter()
                .try_for_each(|target| length(&target.reason, ITEM_REASON))?;
            let sum: Decimal = answer
                .targets
                .iter()
                .map(|target| target.weight.0.abs())
                .sum();
            if sum > Decimal::ONE {
                return Err(RefusedAnswer::new(
                    Code::RiskSize,
                    format!("the weights sum to {sum}; at most 1"),
                ));
            }
            (
                answer.snap,
                answer.targets.into_iter().map(of_target).collect(),
            )
        }
    };
    if echoed != snap {
        return Err(RefusedAnswer::new(
            Code::Snap,
            format!("answers {echoed:.20}, asked {snap}"),
        ));
    }
    Ok(items)
}

/// Takes one code fence off, if it is around everything.
fn unfenced(text: &str) -> &str {
    let inner = text
        .strip_prefix("```")
        .and_then(|rest| rest.strip_suffix("```"));
    let Some(inner) = inner else { return text };
    let inner = inner.strip_prefix("json").unwrap_or(inner);
    if inner.contains("```") {
        text
    } else {
        inner.trim()
    }
}

/// JSON first, then its form: a text that is no JSON says nothing about what its keys were to be.
fn read<T: DeserializeOwned>(text: &str) -> Result<T, RefusedAnswer> {
    let refused = |code, error: serde_json::Error| {
        RefusedAnswer::new(
            code,
            error.to_string().chars().take(200).collect::<String>(),
        )
    };
    serde_json::from_str::<serde::de::IgnoredAny>(text)
        .map_err(|error| refused(Code::Syntax, error))?;
    serde_json::from_str(text).map_err(|error| {
        let said = error.to_string();
        let known = [
            ("duplicate field", Code::DuplicateKey),
            ("unknown field", Code::UnknownKey),
            ("missing field", Code::MissingKey),
            (NUMBER, Code::NumberFormat),
            (VERSION, Code::Version),
        ];
        let code = known
            .into_iter()
            .find(|(begins, _)| said.starts_with(begins))
            .map_or(Code::BadValue, |(_, code)| code);
        refused(code, error)
    })
}

fn length(reason: &str, most: usize) -> Result<(), RefusedAnswer> {
    let count = reason.chars().count();
    if count > most {
        Err(RefusedAnswer::new(
            Code::BadValue,
            format!("a reason of {count} characters; at most {most}"),
        ))
    } else {
        Ok(())
    }
}

fn plain(value: Option<Plain>) -> Option<Decimal> {
    value.map(|plain| plain.0)
}

fn single(answer: Single) -> AnswerItem {
    // An opening without a size is one of nothing; the judge says so.
    let risk = plain(answer.risk_pct).unwrap_or_default() / Decimal::ONE_HUNDRED;
    AnswerItem {
        inst: InstId::new(answer.symbol),
        want: match answer.action {
            Action::OpenLong => Want::Open { long: true, risk },
            Action::OpenShort => Want::Open { long: false, risk },
            Action::Hold => Want::Hold,
            Action::Close => Want::Close,
            Action::TightenStop => Want::TightenStop,
        },
        stop: plain(answer.stop_px),
        target: plain(answer.target_px),
        deviation_bps: answer.max_entry_deviation_bps,
        horizon_min: answer.horizon_min,
        p_target_first: plain(answer.p_target_first),
        invalidation: answer.invalidation,
        evidence: answer.evidence,
        reason: answer.reason,
    }
}

fn of_target(target: Target) -> AnswerItem {
    AnswerItem {
        inst: InstId::new(target.symbol),
        want: if target.weight.0.is_zero() {
            Want::Close
        } else {
            Want::Weight(target.weight.0)
        },
        stop: plain(target.stop_px),
        target: plain(target.target_px),
        deviation_bps: None,
        horizon_min: target.horizon_min,
        p_target_first: plain(target.p_target_first),
        invalidation: target.invalidation,
        evidence: Vec::new(),
        reason: target.reason,
    }
}
