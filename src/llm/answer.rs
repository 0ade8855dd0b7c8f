//! Answers a model may give. Schema, description and validator all come from these types.

use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

/// A number as text: digits with at most one point, perhaps a minus before them. No exponent, no
/// separators, no words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Plain(pub Decimal);

/// Digits before and after the point that a [`Plain`] may have: what is longer is no price.
const DIGITS: usize = 12;

impl Plain {
    /// Reads one; `None` if it is written in any other way.
    pub fn read(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let digits = |part: &str| {
            (1..=DIGITS).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        let sound = match unsigned.split_once('.') {
            Some((whole, fraction)) => digits(whole) && digits(fraction),
            None => digits(unsigned),
        };
        sound
            .then(|| {
                Decimal::from_str_exact(text)
                    .ok()
                    .map(|value| Self(value.normalize()))
            })
            .flatten()
    }
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::read(&text).ok_or_else(|| de::Error::custom(format!("{NUMBER}{text:.40}")))
    }
}

/// Prefixes of the errors of [`Plain`] and of versions, by which [`super::parse`] tells them apart.
pub(super) const NUMBER: &str = "number: ";
pub(super) const VERSION: &str = "version: ";

impl JsonSchema for Plain {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Decimal".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^-?[0-9]{1,12}(\\.[0-9]{1,12})?$" })
    }
}

macro_rules! version {
    ($name:ident, $word:literal) => {
        /// The version of an answer: one word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name;
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                (text == $word).then_some(Self).ok_or_else(|| de::Error::custom(format!("{VERSION}{text:.40}")))
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$word] })
            }
        }
    };
}

version!(SingleV1, "single.v1");
version!(PortfolioV1, "portfolio.v1");

/// A key that must be there, even if it is null.
fn required<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

/// What to do about the one symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Action {
    OpenLong,
    OpenShort,
    Hold,
    Close,
    TightenStop,
}

/// What a condition looks at, on closed bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Field {
    Close,
    Rsi14,
    #[serde(rename = "ema20_dist_bps")]
    Ema20DistBps,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Op {
    Lt,
    Gt,
}

/// A condition on a closed bar under which the idea is wrong: the position is then closed, without
/// asking again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Predicate {
    /// One of the timeframes in series.
    pub tf: String,
    pub field: Field,
    pub op: Op,
    pub value: Plain,
}

/// The answer about one symbol.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Single {
    pub schema: SingleV1,
    /// meta.snap, copied.
    pub snap: String,
    /// The symbol asked about.
    pub symbol: String,
    pub action: Action,
    /// Percent of account.sleeve_usd to lose at the stop; null unless opening.
    #[serde(deserialize_with = "required")]
    pub risk_pct: Option<Plain>,
    /// Price at which the position is closed at a loss; null for hold and close.
    #[serde(deserialize_with = "required")]
    pub stop_px: Option<Plain>,
    /// Price at which the position is closed at a gain; null unless opening.
    #[serde(deserialize_with = "required")]
    pub target_px: Option<Plain>,
    /// How far the mark price may move from now until the order leaves; null: as configured.
    #[serde(deserialize_with = "required")]
    pub max_entry_deviation_bps: Option<u16>,
    /// Minutes within which stop or target should be reached; null unless opening.
    #[serde(deserialize_with = "required")]
    pub horizon_min: Option<u32>,
    /// Probability from 0 to 1 that target_px is reached before stop_px and within horizon_min; it
    /// is scored. Null unless opening.
    #[serde(deserialize_with = "required")]
    pub p_target_first: Option<Plain>,
    /// Condition under which the idea is wrong; null: only the stop.
    #[serde(deserialize_with = "required")]
    pub invalidation: Option<Predicate>,
    /// What in the data it rests on, each as path=value, e.g. market.BTC-USDT-SWAP.last=64000.1;
    /// they are checked.
    pub evidence: Vec<String>,
    /// At most 400 characters.
    pub reason: String,
}

/// What becomes of symbols that are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Unlisted {
    Keep,
}

/// One symbol of a portfolio.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Target {
    pub symbol: String,
    /// Signed share of the risk budget, -1 to 1; 0 closes.
    pub weight: Plain,
    /// Price at which the position is closed at a loss; null only with weight 0.
    #[serde(deserialize_with = "required")]
    pub stop_px: Option<Plain>,
    /// Price at which the position is closed at a gain; null: none.
    #[serde(deserialize_with = "required")]
    pub target_px: Option<Plain>,
    /// Minutes within which stop or target should be reached; null with weight 0.
    #[serde(deserialize_with = "required")]
    pub horizon_min: Option<u32>,
    /// Probability from 0 to 1 that target_px is reached before stop_px and within horizon_min; it
    /// is scored.
    #[serde(deserialize_with = "required")]
    pub p_target_first: Option<Plain>,
    /// Condition under which the idea is wrong; null: only the stop.
    #[serde(deserialize_with = "required")]
    pub invalidation: Option<Predicate>,
    /// At most 200 characters.
    pub reason: String,
}

/// The answer about all symbols together.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Portfolio {
    pub schema: PortfolioV1,
    /// meta.snap, copied.
    pub snap: String,
    /// The sum of the weights without sign is at most 1.
    pub targets: Vec<Target>,
    pub unlisted: Unlisted,
    /// At most 400 characters.
    pub reason: String,
}

/// Longest reasons that are kept; a longer one is refused.
pub const REASON: usize = 400;
pub const ITEM_REASON: usize = 200;

/// Scope of a contender's questions: one symbol at a time, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AnswerMode {
    Single,
    Portfolio,
}

impl AnswerMode {
    /// Returns the mode's name in the configuration and in the version of its answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            AnswerMode::Single => "single",
            AnswerMode::Portfolio => "portfolio",
        }
    }

    /// Reads its word.
    pub fn parse(text: &str) -> Option<Self> {
        [AnswerMode::Single, AnswerMode::Portfolio]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }

    /// The JSON Schema of its answer, strict: every key required, no others.
    pub fn schema(self) -> Value {
        let generator =
            schemars::generate::SchemaSettings::draft2020_12().with(|s| s.meta_schema = None);
        let schema = match self {
            AnswerMode::Single => generator.into_generator().into_root_schema_for::<Single>(),
            AnswerMode::Portfolio => generator
                .into_generator()
                .into_root_schema_for::<Portfolio>(),
        };
        let mut value = schema.to_value();
        strict(&mut value);
        value
    }
}

/// Makes every property of every object required.
fn strict(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(names) = map.get("properties").and_then(Value::as_object) {
                let names: Vec<Value> = names
                    .keys()
                    .map(|name| Value::String(name.clone()))
                    .collect();
                map.insert("required".to_owned(), Value::Array(names));
            }
            map.values_mut().for_each(strict);
        }
        Value::Array(items) => items.iter_mut().for_each(strict),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exponents, separators, signs, spaces, other digits and overlong numbers are refused.
    #[test]
    fn only_plain_decimals_are_numbers() {
        let shown = |text: &str| Plain::read(text).map(|plain| plain.0.to_string());
        for (text, expected) in [
            ("1", "1"),
            ("0.50", "0.5"),
            ("-12.5", "-12.5"),
            ("000.1", "0.1"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(expected), "{text}");
        }
        let refused = "|1e5|1,000|+1| 1|1 |.5|5.|--1|1.2.3|0x10|NaN|inf|１２|一|~100k|1_000|1234567890123|0.1234567890123|½|1\u{a0}";
        for text in refused.split('|') {
            assert_eq!(shown(text), None, "{text:?}");
        }
    }

    /// Every object requires all its properties and allows no others, and there is no `$ref`.
    #[test]
    fn answer_schema_is_strict_throughout() {
        fn objects(value: &Value, found: &mut usize) {
            if let Some(names) = value.get("properties").and_then(Value::as_object) {
                *found += 1;
                assert_eq!(
                    value["required"].as_array().unwrap().len(),
                    names.len(),
                    "{value}"
                );
                assert_eq!(value["additionalProperties"], false, "{value}");
            }
            match value {
                Value::Object(map) => map.values().for_each(|value| objects(value, found)),
                Value::Array(items) => items.iter().for_each(|value| objects(value, found)),
                _ => {}
            }
        }
        for (mode, expected) in [(AnswerMode::Single, 2), (AnswerMode::Portfolio, 3)] {
            let (schema, mut found) = (mode.schema(), 0);
            objects(&schema, &mut found);
            assert_eq!(found, expected, "{schema:#}");
            assert!(
                !schema.to_string().contains("$ref"),
                "servers that know no references must read it: {schema:#}"
            );
        }
    }
}
