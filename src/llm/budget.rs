//! Daily budget of a contender for questions (UTC day), and what it has spent. Pure.
//!
//! The worst a question can cost is written down before it is sent, and corrected when the server
//! has counted: a process that dies in between has spent too much on paper, never too little.

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::answer::AnswerMode;
use super::chat::{Parameters, Usage};
use super::prompt::Prompt;
use crate::domain::Ms;

/// Dollars per million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPrices {
    /// Name of the provider's price list, for the record.
    pub version: String,
    pub input: Decimal,
    /// Of prompt tokens that came from the provider's cache.
    pub cached: Decimal,
    /// Reasoning counts as output.
    pub output: Decimal,
}

impl TokenPrices {
    /// Returns the cost of these tokens, in dollars.
    pub fn cost(&self, usage: Usage) -> Decimal {
        let of =
            |tokens: u64, price: Decimal| Decimal::from(tokens) * price / Decimal::from(1_000_000);
        let cached = usage.cached.min(usage.prompt);
        (of(usage.prompt - cached, self.input)
            + of(cached, self.cached)
            + of(usage.completion, self.output))
        .normalize()
    }
}

/// Most of each in a day; of each a share is kept for questions about what is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    pub calls: u32,
    pub tokens: u64,
    pub cost_usd: Decimal,
    /// Share of all three that only questions about open positions may use.
    pub reserve: Decimal,
}

/// Amounts spent in a day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// The UTC day, since 1970.
    pub day: i64,
    pub calls: u32,
    pub tokens: u64,
    pub cost_usd: Decimal,
}

/// The most one call may come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorstCost {
    pub tokens: u64,
    pub cost_usd: Decimal,
}

impl WorstCost {
    /// Of a question in these words, before it is written out as a request: more than its bytes can
    /// be.
    pub fn of_prompt(
        prompt: &Prompt,
        mode: AnswerMode,
        parameters: &Parameters,
        prices: &TokenPrices,
    ) -> Self {
        let bytes: usize = prompt
            .messages
            .iter()
            .map(|message| message.content.len() * 2 + 200)
            .sum();
        Self::of(
            bytes + mode.schema().to_string().len() + 1000,
            parameters.max_tokens,
            prices,
        )
    }

    /// Of a request of so many bytes: no tokenizer makes more tokens than bytes of text.
    pub fn of(bytes: usize, max_tokens: u32, prices: &TokenPrices) -> Self {
        let usage = Usage {
            prompt: bytes as u64,
            completion: u64::from(max_tokens),
            ..Usage::default()
        };
        Self {
            tokens: usage.prompt + usage.completion,
            cost_usd: prices.cost(usage),
        }
    }
}

/// Part of the budget a question may be paid from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    Free,
    /// Only from what is kept for what is held, for this reason: nothing may open.
    Reserve(String),
}

impl Spent {
    /// Checks whether a question with this worst case may be put, and returns what it is paid from.
    ///
    /// # Errors
    /// What is spent, in words.
    pub fn room(
        &self,
        allowance: &Allowance,
        about_a_position: bool,
        worst: WorstCost,
    ) -> Result<Room, String> {
        match self.may(allowance, false, worst) {
            Ok(()) => Ok(Room::Free),
            Err(why) if about_a_position => self
                .may(allowance, true, worst)
                .map(|()| Room::Reserve(why)),
            Err(why) => Err(why),
        }
    }

    /// As of this day: what was spent on another is over.
    #[must_use]
    pub fn on(self, now: Ms) -> Self {
        let day = now.utc_day();
        if self.day == day {
            self
        } else {
            Self {
                day,
                ..Self::default()
            }
        }
    }

    /// Checks whether a call with this worst case may be made.
    ///
    /// # Errors
    /// What is spent, in words.
    pub fn may(
        &self,
        allowance: &Allowance,
        about_a_position: bool,
        worst: WorstCost,
    ) -> Result<(), String> {
        let share = if about_a_position {
            Decimal::ONE
        } else {
            Decimal::ONE - allowance.reserve
        };
        let part = |most: Decimal| most * share;
        if Decimal::from(self.calls + 1) > part(Decimal::from(allowance.calls)) {
            return Err(format!(
                "{} of {} calls are made today",
                self.calls, allowance.calls
            ));
        }
        if Decimal::from(self.tokens.saturating_add(worst.tokens))
            > part(Decimal::from(allowance.tokens))
        {
            return Err(format!(
                "{} of {} tokens are spent today",
                self.tokens, allowance.tokens
            ));
        }
        if self.cost_usd + worst.cost_usd > part(allowance.cost_usd) {
            return Err(format!(
                "{} of {} USD are spent today",
                self.cost_usd.normalize(),
                allowance.cost_usd.normalize()
            ));
        }
        Ok(())
    }

    /// With a call about to be made.
    #[must_use]
    pub fn reserved(self, worst: WorstCost) -> Self {
        let (calls, tokens) = (
            self.calls.saturating_add(1),
            self.tokens.saturating_add(worst.tokens),
        );
        Self {
            calls,
            tokens,
            cost_usd: self.cost_usd + worst.cost_usd,
            ..self
        }
    }

    /// With what the call really came to in place of its worst, which was reserved on this UTC day.
    #[must_use]
    pub fn settled(self, (day, worst): (i64, WorstCost), tokens: u64, cost_usd: Decimal) -> Self {
        // What was reserved before midnight was of a day that is over.
        if self.day != day {
            return self;
        }
        let tokens = self
            .tokens
            .saturating_add(tokens)
            .saturating_sub(worst.tokens);
        Self {
            tokens,
            cost_usd: (self.cost_usd + cost_usd - worst.cost_usd).max(Decimal::ZERO),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn prices() -> TokenPrices {
        TokenPrices {
            version: "v".into(),
            input: d("3"),
            cached: d("0.3"),
            output: d("15"),
        }
    }

    /// More cached than prompt tokens counts as all of them cached.
    #[test]
    fn cached_is_cheaper_reasoning_is_output() {
        let usage = Usage {
            prompt: 1_000_000,
            cached: 400_000,
            completion: 100_000,
            reasoning: 90_000,
        };
        assert_eq!(
            prices().cost(usage),
            d("3.42"),
            "0.6 × 3 + 0.4 × 0.3 + 0.1 × 15"
        );
        let strange = Usage {
            prompt: 10,
            cached: 20,
            ..Usage::default()
        };
        assert_eq!(
            prices().cost(strange),
            d("0.000003"),
            "more cached than there was counts as all"
        );
    }

    /// Other calls stop short of it, in calls and tokens. A new day starts at zero and ignores late
    /// settlements.
    #[test]
    fn reserve_is_kept_for_open_positions() {
        let allowance = Allowance {
            calls: 10,
            tokens: 1000,
            cost_usd: d("1"),
            reserve: d("0.2"),
        };
        let spent = Spent {
            day: 1,
            calls: 8,
            tokens: 0,
            cost_usd: Decimal::ZERO,
        };
        let worst = WorstCost {
            tokens: 1,
            cost_usd: Decimal::ZERO,
        };
        assert_eq!(
            spent.may(&allowance, false, worst),
            Err("8 of 10 calls are made today".into())
        );
        assert_eq!(spent.may(&allowance, true, worst), Ok(()));
        let spent = Spent {
            tokens: 700,
            calls: 0,
            ..spent
        };
        assert!(
            spent
                .may(
                    &allowance,
                    false,
                    WorstCost {
                        tokens: 100,
                        ..worst
                    }
                )
                .is_ok()
        );
        assert!(
            spent
                .may(
                    &allowance,
                    false,
                    WorstCost {
                        tokens: 101,
                        ..worst
                    }
                )
                .is_err()
        );
        assert!(
            spent
                .may(
                    &allowance,
                    true,
                    WorstCost {
                        tokens: 300,
                        ..worst
                    }
                )
                .is_ok()
        );
        assert!(
            spent
                .may(
                    &allowance,
                    true,
                    WorstCost {
                        tokens: 301,
                        ..worst
                    }
                )
                .is_err()
        );
        let settled = spent
            .on(Ms(2 * 86_400_000))
            .settled((spent.day, worst), 1, Decimal::ONE);
        assert_eq!(
            (settled.tokens, settled.cost_usd),
            (0, Decimal::ZERO),
            "of a day that is over"
        );
        let next = spent.on(Ms(2 * 86_400_000));
        assert_eq!((next.day, next.tokens), (2, 0), "a new day");
    }

    proptest! {
        /// However calls come and end, or the process dies between, no day's allowance is ever
        /// exceeded by what was counted.
        #[test]
        fn day_never_exceeds_its_allowance(calls in proptest::collection::vec((0..5000usize, 0..400u64, any::<bool>(), any::<bool>()), 1..60)) {
            let allowance = Allowance { calls: 30, tokens: 60_000, cost_usd: d("0.5"), reserve: d("0.1") };
            let mut spent = Spent { day: 5, ..Spent::default() };
            let mut real = (0u64, Decimal::ZERO);
            for (bytes, completion, about, dies) in calls {
                let worst = WorstCost::of(bytes, 400, &prices());
                if spent.may(&allowance, about, worst).is_err() {
                    continue;
                }
                spent = spent.reserved(worst);
                let usage = Usage { prompt: bytes as u64 / 3, completion, ..Usage::default() };
                let (tokens, cost) = (usage.prompt + usage.completion, prices().cost(usage));
                real = (real.0 + tokens, real.1 + cost);
                if !dies {
                    spent = spent.settled((spent.day, worst), tokens, cost);
                }
                prop_assert!(real.0 <= spent.tokens && real.1 <= spent.cost_usd, "never less than it was");
            }
            prop_assert!(spent.calls <= allowance.calls && real.0 <= allowance.tokens && real.1 <= allowance.cost_usd);
        }
    }
}
