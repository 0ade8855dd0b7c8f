//! Numbers as the venue writes them, each held to what its kind can plausibly be. A decimal has 28
//! digits; what passes here can be multiplied, summed and divided further on without leaving them,
//! and what does not pass is refused where it came in.
//!
//! Bounds are orders of magnitude beyond what OKX lists: its dearest coins cost some 10⁵ dollars,
//! its largest positions are some 10¹² units of its cheapest coin, its contract values lie between
//! 10⁻⁴ and 10⁷ units.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};

use crate::domain::Ms;
use crate::domain::units::parse_decimal;

/// Plausible range of a kind of number, bounds included.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plausible {
    what: &'static str,
    least: Decimal,
    most: Decimal,
}

const fn whole(n: i64) -> Decimal {
    Decimal::from_parts(n as u32, (n >> 32) as u32, 0, false, 0)
}
const fn minus(n: i64) -> Decimal {
    Decimal::from_parts(n as u32, (n >> 32) as u32, 0, true, 0)
}
const fn fraction(scale: u32) -> Decimal {
    Decimal::from_parts(1, 0, 0, false, scale)
}

const BILLION: i64 = 1_000_000_000;

/// Quote currency per unit of base.
pub(super) const PRICE: Plausible = Plausible {
    what: "price",
    least: Decimal::ZERO,
    most: whole(10 * BILLION),
};
/// Base units or contracts, with the sign of a position.
pub(super) const SIZE: Plausible = Plausible {
    what: "size",
    least: minus(BILLION * 1_000_000),
    most: whole(BILLION * 1_000_000),
};
/// An amount of one currency: a balance, a fee, a change.
pub(super) const AMOUNT: Plausible = Plausible {
    what: "amount",
    least: minus(BILLION * 1_000_000),
    most: whole(BILLION * 1_000_000),
};
/// An amount of dollars.
pub(super) const DOLLARS: Plausible = Plausible {
    what: "amount of dollars",
    least: minus(BILLION * 10_000),
    most: whole(BILLION * 10_000),
};
/// A step of prices or sizes, or a smallest size.
pub(super) const STEP: Plausible = Plausible {
    what: "step",
    least: fraction(12),
    most: whole(BILLION),
};
/// Base units in a contract, or its multiplier.
pub(super) const CONTRACT: Plausible = Plausible {
    what: "contract value",
    least: fraction(9),
    most: whole(BILLION),
};
/// A rate as a share: a fee, a funding payment.
pub(super) const RATE: Plausible = Plausible {
    what: "rate",
    least: minus(10),
    most: whole(10),
};
/// Times the margin.
pub(super) const LEVERAGE: Plausible = Plausible {
    what: "leverage",
    least: Decimal::ZERO,
    most: whole(1000),
};

impl Plausible {
    /// The largest.
    pub(super) const fn most(self) -> Decimal {
        self.most
    }

    /// Reads a number of this kind.
    ///
    /// # Errors
    /// What is wrong with it, the text included.
    pub(super) fn read(self, text: &str) -> Result<Decimal, String> {
        let value = parse_decimal(text).map_err(|_| format!("'{}' is not a decimal", cut(text)))?;
        if value < self.least || value > self.most {
            return Err(format!(
                "{} is no plausible {} ({} to {})",
                cut(text),
                self.what,
                self.least,
                self.most
            ));
        }
        Ok(value)
    }

    fn field<'de, D: Deserializer<'de>>(self, from: D) -> Result<Option<Decimal>, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        if text.is_empty() {
            return Ok(None);
        }
        self.read(&text).map(Some).map_err(serde::de::Error::custom)
    }
}

/// So much of a text as an error should repeat.
fn cut(text: &str) -> &str {
    text.char_indices()
        .nth(40)
        .map_or(text, |(at, _)| &text[..at])
}

macro_rules! fields {
    ($($name:ident $range:ident),*) => {$(
        /// `""` is no number; anything else must be one of its kind.
        pub(super) fn $name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Decimal>, D::Error> {
            $range.field(from)
        }
    )*};
}
fields!(price PRICE, size SIZE, amount AMOUNT, dollars DOLLARS, rate RATE, leverage LEVERAGE);

/// The years a time of the venue can be in: 2001 to 2286, that is ten to thirteen digits of
/// milliseconds.
const TIMES: std::ops::RangeInclusive<i64> = 0..=9_999_999_999_999;

/// Reads epoch milliseconds.
///
/// # Errors
/// What is wrong with them, the text included.
pub(super) fn read_time(text: &str) -> Result<Ms, String> {
    match text.parse::<i64>() {
        Ok(ms) if TIMES.contains(&ms) => Ok(Ms(ms)),
        _ => Err(format!("'{}' is not a time in milliseconds", cut(text))),
    }
}

/// `""` is no time; anything else must be one.
pub(super) fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ms>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    read_time(&text).map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_bounds() {
        let largest = "79228162514264337593543950335";
        for range in [PRICE, SIZE, AMOUNT, DOLLARS, STEP, CONTRACT, RATE, LEVERAGE] {
            assert!(
                range.read(largest).is_err() && range.read(&format!("-{largest}")).is_err(),
                "{range:?}"
            );
            assert_eq!(range.read(&range.most.to_string()), Ok(range.most));
            assert_eq!(range.read(&range.least.to_string()), Ok(range.least));
            let beyond = range.most + Decimal::ONE;
            assert!(
                range
                    .read(&beyond.to_string())
                    .unwrap_err()
                    .contains(range.what),
                "{range:?}"
            );
        }
        assert!(
            PRICE.read("-0.1").is_err() && SIZE.read("-0.1").is_ok() && STEP.read("0").is_err()
        );
        assert!(STEP.read("0.0000000000000000000000000001").is_err());
        assert!(
            PRICE
                .read("nan")
                .unwrap_err()
                .contains("'nan' is not a decimal")
        );
    }

    /// Products and quotients of two numbers at their bounds do not overflow.
    #[test]
    fn boundary_products_stay_decimals() {
        let (price, size, contract) = (PRICE.most, SIZE.most, CONTRACT.most);
        // Not all three together: that is for `Instrument::notional`, which is checked.
        for (a, b) in [
            (price, size),
            (size, contract),
            (price, contract),
            (AMOUNT.most, PRICE.most),
        ] {
            assert!(a.checked_mul(b).is_some(), "{a} × {b}");
        }
        for (a, b) in [(price, STEP.least), (size, STEP.least)] {
            assert!(a.checked_div(b).is_some(), "{a} / {b}");
        }
    }

    #[test]
    fn times_are_milliseconds_of_our_age() {
        assert_eq!(read_time("1764547200000"), Ok(Ms(1_764_547_200_000)));
        for odd in [
            "-1",
            "9223372036854775807",
            "10000000000000",
            "1e12",
            "soon",
        ] {
            assert!(read_time(odd).is_err(), "{odd}");
        }
    }
}
