//! Units as types. Every amount of money is a checked decimal; floats never enter here.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

macro_rules! decimal_unit {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Decimal);

        impl $name {
            /// Zero.
            pub const ZERO: Self = Self(Decimal::ZERO);
            /// True if it is exactly zero.
            pub fn is_zero(self) -> bool { self.0.is_zero() }
            /// Magnitude without sign.
            pub fn abs(self) -> Self { Self(self.0.abs()) }
            /// `None` on overflow: the caller decides what that means, we never wrap.
            pub fn checked_add(self, other: Self) -> Option<Self> { self.0.checked_add(other.0).map(Self) }
            /// `None` on overflow.
            pub fn checked_sub(self, other: Self) -> Option<Self> { self.0.checked_sub(other.0).map(Self) }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { fmt::Display::fmt(&self.0.normalize(), f) }
        }
        impl FromStr for $name {
            type Err = rust_decimal::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> { parse_decimal(text).map(Self) }
        }
        impl From<Decimal> for $name {
            fn from(value: Decimal) -> Self { Self(value) }
        }
    };
}

decimal_unit! {
    /// Quote currency per unit of base.
    Price
}
decimal_unit! {
    /// Size as the venue counts it: base units for spot, contracts for swaps. Signed where it is a
    /// position.
    Qty
}
decimal_unit! {
    /// Value in US dollars; USDT counts as one dollar.
    Usd
}

/// Hundredths of a percent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bps(pub i32);

impl Bps {
    /// As a plain fraction: 10 000 bps = 1.
    pub fn fraction(self) -> Decimal {
        Decimal::new(i64::from(self.0), 4)
    }
}

impl fmt::Display for Bps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bps", self.0)
    }
}

/// A quotient that is always a number: what is divided by nothing, or by next to nothing, is as
/// large as a decimal can be, so that whatever is compared with a limit is beyond it; nothing
/// divided by nothing is nothing.
pub fn quotient(value: Decimal, by: Decimal) -> Decimal {
    value.checked_div(by).unwrap_or_else(|| {
        match (
            value.is_zero(),
            value.is_sign_negative() == by.is_sign_negative(),
        ) {
            (true, _) => Decimal::ZERO,
            (false, true) => Decimal::MAX,
            (false, false) => Decimal::MIN,
        }
    })
}

/// Parse a decimal as the venue writes it: plain digits, any number of trailing zeros, no exponent.
///
/// A value with more digits than a 96-bit decimal holds is refused, except that superfluous
/// trailing zeros of the fraction are cut first (OKX pads some fields with sixteen of them).
pub fn parse_decimal(text: &str) -> Result<Decimal, rust_decimal::Error> {
    match Decimal::from_str_exact(text) {
        Ok(value) => Ok(value),
        Err(_) if text.contains('.') => {
            Decimal::from_str_exact(text.trim_end_matches('0').trim_end_matches('.'))
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(
            parse_decimal(text)
                .ok()
                .map(|d| d.normalize().to_string())
                .as_deref(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn a_quotient_is_always_a_number() {
        let d = |text: &str| text.parse::<Decimal>().unwrap();
        assert_eq!(quotient(d("6"), d("4")), d("1.5"));
        assert_eq!(
            (quotient(d("0"), d("0")), quotient(d("1"), d("0"))),
            (Decimal::ZERO, Decimal::MAX)
        );
        assert_eq!(
            quotient(d("-10000000000"), d("0.0000000000000000000000000001")),
            Decimal::MIN
        );
    }

    /// Long runs of trailing zeros are accepted; exponents, NaN, infinity and empty text are not.
    #[test]
    fn venue_decimals_parse() {
        check("9999999999.0000000000000000", Some("9999999999"));
        check(
            "99999999999999.0000000000000000000000000",
            Some("99999999999999"),
        );
        check("-0.001", Some("-0.001"));
        check("", None);
        check("1e5", None);
        check("NaN", None);
        check("Infinity", None);
        check("1.2.3", None);
        check("0x10", None);
    }
}
