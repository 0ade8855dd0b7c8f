//! Models: where they are asked and what they cost, and what a contender that is one may do.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::{Map, Number, Value};

use super::address::is_local;
use super::reader::Section;
use super::rule::read_rule;
use crate::domain::Ms;
use crate::strategy::{Params, StrategySpec};

/// Ways of asking for JSON, best first.
const FORMATS: [&str; 4] = ["json_schema", "json_object_schema", "json_object", "none"];

/// A rule that decides while a model's provider fails.
#[derive(Clone, Debug)]
pub struct RuleFallback {
    pub strategy: &'static StrategySpec,
    pub params: Params,
    /// Otherwise it may only reduce and hold.
    pub may_open: bool,
}

/// One `[[model]]`.
#[derive(Clone, Debug)]
pub struct ModelEndpoint {
    /// Name contenders use for the model.
    pub id: String,
    /// Up to and without `/chat/completions`.
    pub base_url: String,
    /// Name the server uses for the model.
    pub model: String,
    /// `None`: left out.
    pub temperature: Option<Number>,
    /// Server's key for the token limit: newer models use another one.
    pub max_tokens_key: String,
    pub max_tokens: u32,
    /// `json_schema`, `json_object_schema`, `json_object` or `none`: what is tried first.
    pub response_format: String,
    /// Further keys of each request.
    pub extra: Map<String, Value>,
    /// Wall time after which an answer is not acted on, and after which nobody listens.
    pub deadline: Duration,
    pub listen: Duration,
    pub calls_per_minute: NonZeroU32,
    /// Dollars per million tokens: prompt, cached prompt, completion; and what the list is called.
    pub prices: [Decimal; 3],
    pub price_version: String,
    /// Day that its training data ends with, `YYYY-MM-DD`; what lies before it proves nothing.
    pub training_cutoff: Option<String>,
}

/// A contender that is a model.
#[derive(Clone, Debug)]
pub struct ModelSettings {
    pub model: String,
    /// `single` or `portfolio`.
    pub mode: String,
    /// A file instead of the built-in prompt.
    pub prompt: Option<PathBuf>,
    pub every_bars: i64,
    pub material_atr: Decimal,
    pub least: Ms,
    pub risk_per_trade: Decimal,
    pub risk_budget: Decimal,
    pub leverage: Decimal,
    pub cluster: Decimal,
    pub positions: u32,
    pub opens_per_day: u32,
    pub reward_risk: Decimal,
    pub deviation_bps: u16,
    pub ttl: Ms,
    pub cooldown: Ms,
    pub calls_per_day: u32,
    pub tokens_per_day: u64,
    pub usd_per_day: Decimal,
    /// Share of the day's allowance that only questions about open positions may use.
    pub reserve: Decimal,
    /// Rule that decides while the model's provider fails.
    pub fallback: Option<RuleFallback>,
}

pub(super) fn read_model(s: &mut Section<'_>) -> ModelEndpoint {
    let id = s.text("id");
    let base_url = s.text("base_url").trim_end_matches('/').to_owned();
    if !base_url.starts_with("https://") && !is_local(&base_url, "http://") {
        s.problem(
            "base_url",
            "must begin with https://: a key never travels in clear text, except to this machine",
        );
    }
    if base_url.ends_with("/chat/completions") {
        s.problem(
            "base_url",
            "is what stands before /chat/completions, e.g. https://api.example.com/v1",
        );
    }
    // Some models refuse every temperature: "none" leaves it out.
    let temperature = match s.take("temperature") {
        Value::Null => Some(Number::from(0)),
        Value::String(text) if text == "none" => None,
        Value::Number(number) => Some(number),
        Value::String(text) if text.parse::<Number>().is_ok() => text.parse().ok(),
        other => {
            s.problem(
                "temperature",
                format!("must be a number or \"none\", is {other}"),
            );
            None
        }
    };
    if temperature
        .as_ref()
        .and_then(Number::as_f64)
        .is_some_and(|t| !(0.0..=2.0).contains(&t))
    {
        s.problem("temperature", "must be between 0 and 2");
    }
    let max_tokens_key = s.text_or("max_tokens_key", "max_tokens");
    if !["max_tokens", "max_completion_tokens"].contains(&max_tokens_key.as_str()) {
        s.problem(
            "max_tokens_key",
            format!("must be max_tokens or max_completion_tokens, is '{max_tokens_key}'"),
        );
    }
    let extra = match s.take("extra") {
        Value::Object(map) => map,
        Value::Null => Map::new(),
        other => {
            s.problem("extra", format!("must be a table, is {other}"));
            Map::new()
        }
    };
    for key in [
        "model",
        "messages",
        "stream",
        "response_format",
        "tools",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
    ]
    .iter()
    .filter(|key| extra.contains_key(**key))
    {
        s.problem("extra", format!("may not set {key}"));
    }
    let response_format = s.text_or("response_format", "json_schema");
    if !FORMATS.contains(&response_format.as_str()) {
        s.problem(
            "response_format",
            format!(
                "must be one of {}, is '{response_format}'",
                FORMATS.join(", ")
            ),
        );
    }
    let deadline = s.int_or("deadline_ms", 60_000, 100, 600_000);
    let listen = s.int_or("listen_ms", deadline.saturating_add(60_000), 100, 1_800_000);
    if listen < deadline {
        s.problem("listen_ms", "must not be less than deadline_ms");
    }
    let price = |s: &mut Section<'_>, name| {
        s.decimal_or(name, Decimal::ZERO, Decimal::ZERO, Decimal::from(100_000))
    };
    let prices = [
        price(s, "input_usd_per_mtok"),
        price(s, "cached_usd_per_mtok"),
        price(s, "output_usd_per_mtok"),
    ];
    if base_url.starts_with("https://") && (prices[0].is_zero() || prices[2].is_zero()) {
        s.problem(
            "input_usd_per_mtok",
            "a hosted model needs its prices (input and output), or the day's dollars bind nothing; \
            for one that is free give 0.000001",
        );
    }
    let training_cutoff = Some(s.text_or("training_cutoff", "")).filter(|day| !day.is_empty());
    if training_cutoff
        .as_ref()
        .is_some_and(|day| day.parse::<chrono::NaiveDate>().is_err())
    {
        s.problem("training_cutoff", "must be a day, YYYY-MM-DD");
    }
    ModelEndpoint {
        id,
        base_url,
        model: s.text("model"),
        temperature,
        max_tokens_key,
        max_tokens: u32::try_from(s.int_or("max_tokens", 1024, 16, 200_000)).unwrap_or(1024),
        response_format,
        extra,
        deadline: Duration::from_millis(deadline.unsigned_abs()),
        listen: Duration::from_millis(listen.unsigned_abs()),
        calls_per_minute: u32::try_from(s.int_or("calls_per_minute", 30, 1, 10_000))
            .ok()
            .and_then(NonZeroU32::new)
            .unwrap_or(NonZeroU32::MIN),
        prices,
        price_version: s.text_or("price_version", "unnamed"),
        training_cutoff,
    }
}

fn read_fallback(s: &mut Section<'_>) -> Option<RuleFallback> {
    let rule = read_rule(s);
    let may_open = s.truth_or("may_open", false);
    rule.map(|(strategy, params)| RuleFallback {
        strategy,
        params,
        may_open,
    })
}

pub(super) fn read_model_seat(s: &mut Section<'_>, models: &[ModelEndpoint]) -> ModelSettings {
    let model = s.text("model");
    if models.iter().all(|known| known.id != model) {
        let known: Vec<&str> = models.iter().map(|known| known.id.as_str()).collect();
        s.problem(
            "model",
            format!(
                "no [[model]] is called '{model}'; there are: {}",
                known.join(", ")
            ),
        );
    }
    let mode = s.text_or("mode", "single");
    if mode != "single" && mode != "portfolio" {
        s.problem("mode", format!("must be single or portfolio, is '{mode}'"));
    }
    let prompt = Some(s.text_or("prompt", ""))
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    let hundred = Decimal::ONE_HUNDRED;
    let count = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
    ModelSettings {
        model,
        mode,
        prompt,
        every_bars: s.int_or("every_bars", 1, 1, 1440),
        material_atr: s.decimal_or("material_atr", Decimal::from(3), Decimal::ZERO, hundred),
        least: Ms(s.int_or("least_ms", 30_000, 0, 86_400_000)),
        risk_per_trade: s.decimal_or(
            "risk_per_trade_pct",
            Decimal::ONE,
            Decimal::new(1, 2),
            Decimal::TEN,
        ) / hundred,
        risk_budget: s.decimal_or(
            "risk_budget_pct",
            Decimal::from(3),
            Decimal::new(1, 2),
            Decimal::from(30),
        ) / hundred,
        leverage: s.decimal_or(
            "leverage_max",
            Decimal::from(2),
            Decimal::new(1, 1),
            Decimal::from(20),
        ),
        cluster: s.decimal_or(
            "correlated_max",
            Decimal::new(15, 1),
            Decimal::new(1, 1),
            Decimal::from(20),
        ),
        positions: count(s.int_or("positions_max", 4, 1, 100)),
        opens_per_day: count(s.int_or("opens_per_day_max", 20, 1, 10_000)),
        reward_risk: s.decimal_or(
            "reward_risk_min",
            Decimal::new(12, 1),
            Decimal::ZERO,
            Decimal::TEN,
        ),
        deviation_bps: u16::try_from(s.int_or("deviation_bps_max", 20, 1, 1000)).unwrap_or(20),
        ttl: Ms(s.int_or("ttl_ms", 90_000, 100, 86_400_000)),
        cooldown: Ms(s.int_or("cooldown_ms", 0, 0, 604_800_000)),
        calls_per_day: count(s.int_or("calls_per_day_max", 2000, 1, 1_000_000)),
        tokens_per_day: s
            .int_or("tokens_per_day_max", 20_000_000, 1000, 100_000_000_000)
            .unsigned_abs(),
        usd_per_day: s.decimal_or(
            "usd_per_day_max",
            Decimal::from(5),
            Decimal::ZERO,
            Decimal::from(100_000),
        ),
        reserve: s.decimal_or(
            "reserve_pct",
            Decimal::from(20),
            Decimal::ZERO,
            Decimal::from(90),
        ) / hundred,
        fallback: match s.has("rule_fallback") {
            true => s.table("rule_fallback", read_fallback),
            false => None,
        },
    }
}
