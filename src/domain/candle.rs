//! Candles and their bar sizes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Ms, Price, Qty};

/// Bar sizes we trade on: those of OKX that are aligned to UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bar {
    S1,
    M1,
    M3,
    M5,
    M15,
    M30,
    H1,
    H2,
    H4,
    H6,
    H12,
    D1,
}

impl Bar {
    /// Every size, shortest first.
    pub const ALL: [Bar; 12] = [
        Bar::S1,
        Bar::M1,
        Bar::M3,
        Bar::M5,
        Bar::M15,
        Bar::M30,
        Bar::H1,
        Bar::H2,
        Bar::H4,
        Bar::H6,
        Bar::H12,
        Bar::D1,
    ];

    /// OKX's spelling; six hours and more in the `utc` form, which is aligned to midnight UTC.
    pub const fn okx(self) -> &'static str {
        match self {
            Bar::S1 => "1s",
            Bar::M1 => "1m",
            Bar::M3 => "3m",
            Bar::M5 => "5m",
            Bar::M15 => "15m",
            Bar::M30 => "30m",
            Bar::H1 => "1H",
            Bar::H2 => "2H",
            Bar::H4 => "4H",
            Bar::H6 => "6Hutc",
            Bar::H12 => "12Hutc",
            Bar::D1 => "1Dutc",
        }
    }

    /// Length of one bar.
    pub const fn span(self) -> Ms {
        Ms::secs(match self {
            Bar::S1 => 1,
            Bar::M1 => 60,
            Bar::M3 => 180,
            Bar::M5 => 300,
            Bar::M15 => 900,
            Bar::M30 => 1800,
            Bar::H1 => 3600,
            Bar::H2 => 7200,
            Bar::H4 => 14_400,
            Bar::H6 => 21_600,
            Bar::H12 => 43_200,
            Bar::D1 => 86_400,
        })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.okx())
    }
}

/// A bar size nobody knows; the message lists the ones we do.
#[derive(Debug, thiserror::Error)]
#[error("unknown bar '{0}'; known are 1s 1m 3m 5m 15m 30m 1H 2H 4H 6Hutc 12Hutc 1Dutc")]
pub struct UnknownBar(pub String);

impl FromStr for Bar {
    type Err = UnknownBar;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Bar::ALL
            .into_iter()
            .find(|bar| bar.okx() == text)
            .ok_or_else(|| UnknownBar(text.to_owned()))
    }
}

impl Serialize for Bar {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.okx())
    }
}

impl<'de> Deserialize<'de> for Bar {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// One closed bar. `ts` is its open time; `volume` is base units for spot, contracts for swaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candle {
    pub ts: Ms,
    pub open: Price,
    pub high: Price,
    pub low: Price,
    pub close: Price,
    pub volume: Qty,
}

impl Candle {
    /// True if the bar is possible at all: positive prices, high and low around open and close,
    /// volume not negative.
    pub fn is_sane(&self) -> bool {
        self.low > Price::ZERO
            && self.low <= self.open.min(self.close)
            && self.high >= self.open.max(self.close)
            && self.volume >= Qty::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_reads_back_as_itself() {
        for bar in Bar::ALL {
            assert_eq!(bar.okx().parse::<Bar>().unwrap(), bar);
        }
        assert!(
            "7m".parse::<Bar>()
                .unwrap_err()
                .to_string()
                .contains("1Dutc")
        );
    }
}
