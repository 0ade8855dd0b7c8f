//! Money in two kinds of number: decimals for what must be exact, floats for what must be fast.

use std::borrow::Cow;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub, SubAssign};

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, MathematicalOps};

/// Number type in which the fill model and the engine compute money.
pub trait Number:
    Copy
    + PartialOrd
    + std::fmt::Debug
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
{
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// A whole number of steps.
    fn whole(value: i64) -> Self;
    /// A configured value.
    fn of(value: Decimal) -> Self;
    /// Square root of something not negative.
    #[must_use]
    fn root(self) -> Self;
    /// The next whole number not below. What a float misses by its last bits counts as whole.
    fn ceil(self) -> i64;
    /// The next whole number not above.
    fn floor(self) -> i64;
    /// For statistics.
    fn float(self) -> f64;
    /// Many of them; floats are what they are.
    fn floats(values: &[Self]) -> Cow<'_, [f64]>;
}

impl Number for Decimal {
    const ZERO: Self = Decimal::ZERO;
    const ONE: Self = Decimal::ONE;
    fn whole(value: i64) -> Self {
        Decimal::from(value)
    }
    fn of(value: Decimal) -> Self {
        value
    }
    fn root(self) -> Self {
        self.sqrt().unwrap_or_default()
    }
    fn ceil(self) -> i64 {
        Decimal::ceil(&self).to_i64().unwrap_or(i64::MAX)
    }
    fn floor(self) -> i64 {
        Decimal::floor(&self).to_i64().unwrap_or(i64::MAX)
    }
    fn float(self) -> f64 {
        self.to_f64().unwrap_or(f64::NAN)
    }
    fn floats(values: &[Self]) -> Cow<'_, [f64]> {
        values.iter().map(|value| value.float()).collect()
    }
}

impl Number for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    fn whole(value: i64) -> Self {
        value as f64
    }
    fn of(value: Decimal) -> Self {
        value.to_f64().unwrap_or(f64::NAN)
    }
    fn root(self) -> Self {
        self.sqrt()
    }
    fn ceil(self) -> i64 {
        (self - slack(self)).ceil() as i64
    }
    fn floor(self) -> i64 {
        (self + slack(self)).floor() as i64
    }
    fn float(self) -> f64 {
        self
    }
    fn floats(values: &[Self]) -> Cow<'_, [f64]> {
        Cow::Borrowed(values)
    }
}

/// Returns the most that a few roundings may have added to or taken from a whole number.
fn slack(value: f64) -> f64 {
    (value.abs() * 4e-15).clamp(1e-9, 1e-2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Decimal and f64 products round up and down to the same whole number.
        #[test]
        fn both_number_kinds_round_alike(ticks in 1i64..100_000_000, bps in 0i64..10_000) {
            let share = Decimal::new(bps, 5);
            let exact = Decimal::from(ticks) * (Decimal::ONE + share);
            let fast = ticks as f64 * (1.0 + f64::of(share));
            prop_assert_eq!(Number::ceil(exact), Number::ceil(fast));
            prop_assert_eq!(Number::floor(exact), Number::floor(fast));
        }
    }
}
