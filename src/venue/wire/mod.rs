//! Messages as OKX spells them, and what they are to us. Every number is an optional decimal string;
//! an unknown word is an error of that row, never a panic.

mod account;
mod market;
mod orders;

pub use account::{AccountConfig, parse_account, parse_bills, parse_config, parse_positions, parse_taker};
pub use market::{
    BookPush, FundingRate, TradePush, parse_book, parse_candles, parse_funding, parse_instruments, parse_mark,
    parse_open_interest, parse_quote, parse_time, parse_trades,
};
pub use orders::{
    AlgoPush, FillReport, Op, OrderPush, RawFill, TAG, create_body, name_of, parse_algos, parse_fills, parse_orders,
    stop_body,
};

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer};

use crate::domain::Ms;
use crate::domain::units::parse_decimal;

/// A row that cannot be what the venue means.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}")]
pub struct Malformed {
    pub what: &'static str,
    pub why: String,
}

fn malformed(what: &'static str) -> impl Fn(String) -> Malformed {
    move |why| Malformed { what, why }
}

/// `""` is no number; anything else must be one.
fn decimal<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Decimal>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    parse_decimal(&text).map(Some).map_err(|_| serde::de::Error::custom(format!("'{text}' is not a decimal")))
}

fn time<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Ms>, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(|ms| Some(Ms(ms))).map_err(|_| serde::de::Error::custom(format!("'{text}' is not a time")))
}
