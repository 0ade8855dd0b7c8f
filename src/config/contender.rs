//! Contenders as configured: who takes part, with what, on which bars.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use rust_decimal::Decimal;

use super::llm::{ModelEndpoint, ModelSettings, read_model_seat};
use super::reader::Section;
use super::rule::read_rule;
use crate::domain::{Bar, Bps, ContenderId, InstId, Ms, Then, WorkingPolicy};
use crate::strategy::{Params, StrategySpec};

/// Stage a contender has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Off,
    Live,
}

impl FromStr for Stage {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Stage::Off),
            "live" => Ok(Stage::Live),
            other => Err(format!("must be off or live, is '{other}'")),
        }
    }
}

/// Source of a contender's decisions.
#[derive(Clone, Debug)]
pub enum Plays {
    Rule {
        strategy: &'static StrategySpec,
        params: Params,
    },
    Model(Box<ModelSettings>),
}

/// One contender as configured.
#[derive(Clone, Debug)]
pub struct ContenderSettings {
    pub id: ContenderId,
    pub plays: Plays,
    pub stage: Stage,
    pub weight: Decimal,
    pub instruments: Vec<InstId>,
    /// The bar its strategy lives on: the market's own, or one of its longer ones.
    pub bar: Bar,
    pub execution: WorkingPolicy,
}

impl ContenderSettings {
    /// The parameters as decimals, for the record; a model has none.
    pub fn exact_params(&self) -> BTreeMap<String, Decimal> {
        let exact = |value: &f64| Decimal::try_from(*value).unwrap_or_default();
        match &self.plays {
            Plays::Rule { params, .. } => params
                .iter()
                .map(|(name, value)| (name.clone(), exact(value)))
                .collect(),
            Plays::Model(_) => BTreeMap::new(),
        }
    }

    /// `rule` or `llm`.
    pub const fn kind(&self) -> &'static str {
        match self.plays {
            Plays::Rule { .. } => "rule",
            Plays::Model(_) => "llm",
        }
    }

    /// The strategy's name, or the model's and how it is asked.
    pub fn played(&self) -> String {
        match &self.plays {
            Plays::Rule { strategy, .. } => strategy.name.to_owned(),
            Plays::Model(settings) => format!("{} {}", settings.model, settings.mode),
        }
    }
}

/// Reads one, judged against the instruments and bars that are followed.
pub(super) fn read_contender(
    s: &mut Section<'_>,
    known: &[InstId],
    (base, longer): (Bar, &[Bar]),
    models: &[ModelEndpoint],
) -> Option<ContenderSettings> {
    let id = s.text("id");
    if id.is_empty()
        || id.starts_with('_')
        || !id
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    {
        s.problem(
            "id",
            "must be letters, digits, - or _, and not begin with _",
        );
    }
    let kind = s.text("kind");
    if kind != "rule" && kind != "llm" {
        s.problem("kind", format!("must be rule or llm, is '{kind}'"));
    }
    let stage = s.parse("stage", Stage::Off);
    let weight = s.decimal("weight", Decimal::ZERO, Decimal::ONE);
    let instruments: Vec<InstId> = s
        .texts("instruments")
        .into_iter()
        .map(InstId::new)
        .collect();
    for inst in instruments.iter().filter(|inst| !known.contains(inst)) {
        s.problem(
            "instruments",
            format!("'{inst}' is not among [[instrument]]"),
        );
    }
    if instruments.is_empty() {
        s.problem("instruments", "at least one is needed");
    }
    if instruments.iter().collect::<BTreeSet<_>>().len() < instruments.len() {
        s.problem("instruments", "names one instrument twice");
    }
    let bar = match s.take("bar") {
        serde_json::Value::Null => base,
        given => match given.as_str().and_then(|word| word.parse().ok()) {
            Some(bar) if bar == base || longer.contains(&bar) => bar,
            _ => {
                s.problem(
                    "bar",
                    format!("must be market.bar ({base}) or one of market.more_bars, is {given}"),
                );
                base
            }
        },
    };
    let plays = match kind.as_str() {
        "llm" => Some(Plays::Model(Box::new(read_model_seat(s, models)))),
        _ => read_rule(s).map(|(strategy, params)| Plays::Rule { strategy, params }),
    };
    let execution = s.table("execution", read_execution);
    Some(ContenderSettings {
        id: ContenderId::new(id),
        plays: plays?,
        stage,
        weight,
        instruments,
        bar,
        execution,
    })
}

/// Reads how a contender's orders are worked. Only the policy must be named; the rest has defaults.
fn read_execution(s: &mut Section<'_>) -> WorkingPolicy {
    let policy = s.text("policy");
    let bps = |s: &mut Section<'_>, name, default| {
        Bps(i32::try_from(s.int_or(name, default, 0, 500)).unwrap_or(0))
    };
    match policy.as_str() {
        "ioc_limit" => WorkingPolicy::IocLimit {
            collar: bps(s, "collar_bps", 5),
            tries: tries(s, 1),
        },
        "post_only" => {
            let ttl = Ms(s.int_or("ttl_ms", 20_000, 500, 86_400_000));
            let then = match s.take("then") {
                serde_json::Value::Null => Then::Cancel,
                word => match word.as_str() {
                    Some("cancel") => Then::Cancel,
                    Some("reprice") => Then::Reprice,
                    Some("cross") => Then::Cross,
                    _ => {
                        s.problem(
                            "then",
                            format!("must be cancel, reprice or cross, is {word}"),
                        );
                        Then::Cancel
                    }
                },
            };
            let collar = bps(s, "collar_bps", 5);
            let default = if then == Then::Cancel { 1 } else { 3 };
            WorkingPolicy::PostOnly {
                ttl,
                then,
                collar,
                tries: tries(s, default),
            }
        }
        "market" => {
            let given = s.take("slippage_bps");
            let slippage = match (
                given.is_null(),
                given.as_i64().or_else(|| given.as_str()?.parse().ok()),
            ) {
                (true, _) => None,
                (false, Some(bps)) if (1..=500).contains(&bps) => i32::try_from(bps).ok().map(Bps),
                _ => {
                    s.problem(
                        "slippage_bps",
                        format!("must be between 1 and 500, is {given}"),
                    );
                    None
                }
            };
            WorkingPolicy::Market { slippage }
        }
        other => {
            s.problem(
                "policy",
                format!("must be ioc_limit, post_only or market, is '{other}'"),
            );
            WorkingPolicy::Market { slippage: None }
        }
    }
}

fn tries(s: &mut Section<'_>, default: i64) -> u32 {
    u32::try_from(s.int_or("tries", default, 1, 20)).unwrap_or(1)
}

/// Checks the contenders for errors that only all of them together can make.
pub(super) fn check_contenders(root: &mut Section<'_>, contenders: &[ContenderSettings]) {
    let mut seen = BTreeSet::new();
    for contender in contenders {
        if !seen.insert(&contender.id) {
            root.problem(
                "contender",
                format!("two contenders are called '{}'", contender.id),
            );
        }
    }
    let total: Decimal = contenders
        .iter()
        .filter(|c| c.stage == Stage::Live)
        .map(|c| c.weight)
        .sum();
    if total > Decimal::ONE {
        root.problem(
            "contender",
            format!("the weights of live contenders sum to {total}; at most 1"),
        );
    }
}
