//! The rules of the risk gate: a closed list, each with its code, unit, key, default, bounds and
//! what a breach leads to. DESIGN's list; what each compares is in `risk/`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::Ms;

/// Unit a limit is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Usd,
    /// Hundredths.
    Percent,
    Count,
    /// Milliseconds of the venue's clock.
    Ms,
    /// Multiples of equity.
    Times,
}

/// Consequence of a breach besides the denial of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreachAction {
    /// The order is refused, and nothing else.
    Block,
    /// No more opening orders.
    ReduceOnly,
    /// Only orders that a permit names are sent from then on.
    Halt,
    /// Halted, and made flat.
    Flatten,
}

/// When the state that a breach has led to ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    NextUtcDay,
    /// A person names it in `resume`.
    Manual,
}

/// Subject of a rule, and so the scope that a breach of it restricts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    System,
    Contender,
    Instrument,
}

macro_rules! words {
    ($type:ident { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// All of them.
            pub const ALL: &'static [$type] = &[$($type::$variant),+];
            /// Returns its name in the configuration and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $($type::$variant => $word),+ }
            }
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
        impl FromStr for $type {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let known: Vec<&str> = Self::ALL.iter().map(|word| word.as_str()).collect();
                Self::ALL.iter().copied().find(|word| word.as_str() == text)
                    .ok_or_else(|| format!("must be one of {}, is '{text}'", known.join(", ")))
            }
        }
    };
}

words!(Unit { Usd => "USD", Percent => "%", Count => "", Ms => "ms", Times => "x" });
words!(BreachAction { Block => "block", ReduceOnly => "reduce_only", Halt => "halt", Flatten => "flatten" });
words!(Release { NextUtcDay => "next_utc_day", Manual => "manual" });
words!(Reach { System => "system", Contender => "contender", Instrument => "instrument" });

/// Built-in definition of a rule, before any configuration.
#[derive(Clone, Copy, Debug)]
pub struct RuleSpec {
    /// Key in `[risk]`, which ends in its unit and bound.
    pub key: &'static str,
    pub unit: Unit,
    /// The least and the most a configuration may say; compiled in.
    pub bounds: (i64, i64),
    pub action: BreachAction,
    pub release: Release,
    pub reach: Reach,
    /// Description of the compared quantity, for people.
    pub about: &'static str,
}

macro_rules! rules {
    ($($variant:ident $code:literal $key:literal $unit:ident $least:literal..=$most:literal
        $action:ident $release:ident $reach:ident $about:literal;)+) => {
        /// A rule of the gate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Rule { $($variant),+ }
        words!(Rule { $($variant => $code),+ });
        impl Rule {
            /// Key, unit, bounds and what a breach leads to if nobody says otherwise.
            pub const fn spec(self) -> RuleSpec {
                match self {
                    $(Rule::$variant => RuleSpec {
                        key: $key, unit: Unit::$unit, bounds: ($least, $most), action: BreachAction::$action,
                        release: Release::$release, reach: Reach::$reach, about: $about,
                    }),+
                }
            }
        }
    };
}

rules! {
    DailyLoss "daily_loss" "daily_loss_pct_max" Percent 0..=50 ReduceOnly NextUtcDay System
        "loss of equity since the UTC day began, flows taken out";
    Drawdown "drawdown" "drawdown_pct_max" Percent 0..=90 Halt Manual System
        "fall of equity from its highest, flows taken out";
    OrderNotionalMax "order_notional_max" "order_notional_max" Usd 1..=1_000_000 Block Manual Contender
        "value of one order at its worst price";
    OrderNotionalMin "order_notional_min" "order_notional_min" Usd 0..=1_000_000 Block Manual Contender
        "value of one opening order";
    OpenOrders "open_orders_max" "open_orders_max" Count 1..=400 Block Manual System
        "orders of ours that may be alive, with the new one";
    Position "position_notional_max" "position_notional_max" Usd 1..=10_000_000 Block Manual Instrument
        "value of the instrument's position if every order that may be alive fills on its side";
    GrossExposure "gross_exposure_max" "gross_exposure_pct_max" Percent 1..=2000 Block Manual System
        "sum of all positions without sign, worst case, over equity";
    NetExposure "net_exposure_max" "net_exposure_pct_max" Percent 1..=2000 Block Manual System
        "sum of all positions with sign, worst case, over equity";
    Leverage "leverage_max" "leverage_times_max" Times 1..=20 Block Manual System
        "value of all swap positions, worst case, over equity";
    FreeBalance "free_balance" "free_balance_min" Usd 0..=10_000_000 Block Manual System
        "what must stay free after the order's margin or cost";
    PriceCollar "price_collar" "price_collar_pct_max" Percent 0..=50 Block Manual Instrument
        "worst price of the order beyond the mid, on the losing side";
    MarkCollar "mark_collar" "mark_collar_pct_max" Percent 0..=50 Block Manual Instrument
        "worst price of the order beyond the venue's mark price (spot: the last close), on the losing side";
    PriceJump "price_jump" "price_jump_pct_max" Percent 1..=100 Block Manual Instrument
        "distance of the mid from the last closed bar, either way";
    QuoteAge "quote_age" "quote_age_ms_max" Ms 100..=600_000 Block Manual Instrument
        "age of the quote, either way";
    AccountAge "account_age" "account_age_ms_max" Ms 1000..=3_600_000 Block Manual System
        "age of the last complete read of the account";
    DecisionAge "decision_age" "decision_age_ms_max" Ms 100..=600_000 Block Manual Contender
        "age of the snapshot that was decided on";
    OrderRate "orders_per_minute" "orders_per_minute_max" Count 1..=3000 Block Manual System
        "orders of the last 60 s, with the new one";
    OrdersPerDay "orders_per_day" "orders_per_day_max" Count 1..=1_000_000 Block Manual System
        "orders of the UTC day, with the new one";
    Duplicate "duplicate" "duplicate_ms_min" Ms 0..=600_000 Block Manual Contender
        "time since an order of another decision, same contender, instrument, side and size";
    Repeats "repeats" "repeats_per_hour_max" Count 1..=100_000 ReduceOnly Manual Contender
        "opening orders of a contender in one instrument on one side in the last hour, with the new one";
    TradesPerDay "trades_per_day" "trades_per_day_max" Count 1..=1_000_000 Block Manual Contender
        "orders that added to a sleeve in the UTC day, with the new one";
    Turnover "turnover" "turnover_pct_max" Percent 1..=1_000_000 Block Manual System
        "value of all fills of the UTC day, with the new order, over equity";
    LossStreak "loss_streak" "loss_streak_max" Count 1..=1000 ReduceOnly NextUtcDay Contender
        "trades of a contender closed at a loss one after the other in the UTC day";
    CooldownLoss "cooldown_loss" "cooldown_loss_ms_min" Ms 0..=604_800_000 Block Manual Contender
        "time since the contender closed a trade at a loss in this instrument";
    CooldownTrade "cooldown_trade" "cooldown_trade_ms_min" Ms 0..=604_800_000 Block Manual Contender
        "time since the contender's last fill in this instrument";
}

/// One rule as configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub value: Decimal,
    pub action: BreachAction,
    pub release: Release,
}

/// Every rule as configured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits(BTreeMap<Rule, Limit>);

impl Limits {
    /// One limit for each rule, from whoever knows them.
    pub fn from_each(mut limit: impl FnMut(Rule) -> Limit) -> Self {
        Self(Rule::ALL.iter().map(|rule| (*rule, limit(*rule))).collect())
    }
    /// As wide as the bounds allow: for measurements and tests of something else.
    pub fn widest() -> Self {
        Self::from_each(|rule| {
            let spec = rule.spec();
            let bound = if spec.key.ends_with("_min") {
                spec.bounds.0
            } else {
                spec.bounds.1
            };
            Limit {
                value: Decimal::from(bound),
                action: spec.action,
                release: spec.release,
            }
        })
    }
    /// A rule's limit.
    pub fn of(&self, rule: Rule) -> &Limit {
        self.0.get(&rule).expect("made with one for each rule")
    }
    /// A rule's number, in its unit.
    pub fn value(&self, rule: Rule) -> Decimal {
        self.of(rule).value
    }
    /// A rule's number as a share: 2 % is 0.02.
    pub fn share(&self, rule: Rule) -> Decimal {
        self.value(rule) / Decimal::ONE_HUNDRED
    }
    /// A rule's number as a time.
    pub fn ms(&self, rule: Rule) -> Ms {
        Ms(i64::try_from(self.value(rule).trunc()).unwrap_or(i64::MAX))
    }
    /// The same with one number changed.
    #[must_use]
    pub fn with(mut self, rule: Rule, value: impl Into<Decimal>) -> Self {
        self.0
            .get_mut(&rule)
            .expect("made with one for each rule")
            .value = value.into();
        self
    }
    /// The same with another consequence.
    #[must_use]
    pub fn leading_to(mut self, rule: Rule, action: BreachAction, release: Release) -> Self {
        let limit = self.0.get_mut(&rule).expect("made with one for each rule");
        (limit.action, limit.release) = (action, release);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes are unique and parse back, lower bounds lie below upper ones, and a misspelt code gets
    /// a suggestion.
    #[test]
    fn every_rule_has_code_key_and_bounds() {
        let mut seen = std::collections::BTreeSet::new();
        for rule in Rule::ALL {
            let spec = rule.spec();
            assert!(
                seen.insert(rule.as_str()) && seen.insert(spec.key) | (rule.as_str() == spec.key),
                "{rule}"
            );
            assert!(spec.bounds.0 < spec.bounds.1, "{rule}");
            assert_eq!(rule.as_str().parse(), Ok(*rule));
        }
        assert!("daily".parse::<Rule>().unwrap_err().contains("daily_loss"));
    }
}
