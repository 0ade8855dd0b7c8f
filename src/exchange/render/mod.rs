//! The exchange's nouns in OKX's spelling: all numbers as decimal strings, `""` where a value does
//! not apply.

mod account;
mod market;
mod orders;

pub use account::{account_config, balance, balance_and_position, bill, fee_rates, position, tier};
pub use market::{
    CandleRows, bar_row, book, candle_pushes, candle_range, candle_rows, depth, funding,
    instrument, mark_candle_pushes, mark_price, open_interest, price_limit, push, pushed_trade,
    ticker, trades, trades_of,
};
pub use orders::{algo, execution, order, order_amended, order_queried};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::core::Exchange;
use crate::domain::InstKind;
use crate::domain::Ms;

fn text(value: Decimal) -> String {
    value.normalize().to_string()
}

fn opt(value: Option<Decimal>) -> String {
    value.map(text).unwrap_or_default()
}

fn ms(at: Option<Ms>) -> String {
    at.map(|at| at.0.to_string()).unwrap_or_default()
}

/// `SPOT` or `SWAP`, by the name.
pub fn inst_type(inst: &str) -> &'static str {
    InstKind::named(inst).okx()
}

/// Adds fields that OKX sends and this account never has a value for.
fn with_empty(mut row: Value, names: &[&str]) -> Value {
    if let Some(fields) = row.as_object_mut() {
        for name in names {
            fields
                .entry((*name).to_owned())
                .or_insert_with(|| Value::String(String::new()));
        }
    }
    row
}

/// Everything that happened, as `/sim/ledger` shows it.
pub fn ledger(x: &Exchange) -> Value {
    let book = &x.ledger;
    json!({
        "orders": book.orders.values().map(|o| order(o, None)).collect::<Vec<_>>(),
        "fills": book.executions.values().map(execution).collect::<Vec<_>>(),
        "algo_orders": book.algos.values().map(algo).collect::<Vec<_>>(),
        "balances": balance(x, &[])["details"],
        "positions": book.positions.keys().map(|inst| position(x, inst)).collect::<Vec<_>>(),
        "bills": book.bills.values().map(bill).collect::<Vec<_>>(),
        "creates": book.creates,
    })
}
