//! Messages as OKX spells them, and what they are to us. Every number is an optional decimal
//! string; an unknown word is an error of that row, never a panic.

mod account;
mod market;
mod number;
mod orders;
mod page;

pub use account::{
    AccountConfig, parse_account, parse_bills, parse_config, parse_positions, parse_taker,
    read_bills,
};
pub use market::{
    BookPush, FundingRate, TradePush, parse_book, parse_candles, parse_funding, parse_instruments,
    parse_mark, parse_open_interest, parse_quote, parse_time, parse_trades, read_instruments,
};
pub use orders::{
    AlgoPush, FillReport, OrderPush, OrderTransportKind, RawFill, TAG, asked, create_body, name_of,
    parse_algos, parse_fills, parse_orders, read_algos, read_fills, read_orders, stop_body,
};
pub use page::{Page, RefusedRow};

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

/// JSON text that must be a list of rows.
fn list(what: &'static str, data: &str) -> Result<serde_json::Value, Malformed> {
    serde_json::from_str(data).map_err(|error| malformed(what)(error.to_string()))
}

/// One row of a kind that is read whole: its errors name the field.
fn row<'de, R: serde::Deserialize<'de>>(
    what: &'static str,
    data: &'de str,
) -> Result<R, Malformed> {
    let mut from = serde_json::Deserializer::from_str(data);
    serde_path_to_error::deserialize(&mut from).map_err(|error| malformed(what)(error.to_string()))
}
