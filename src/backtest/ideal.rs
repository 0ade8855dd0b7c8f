//! The simplest world: a wish after the close of a bar is filled at the open of the next, all of it, in any fraction, at a
//! fixed slippage and fee. For comparisons with other engines and for searching wide before testing true.
//!
//! Long: all cash buys at `open × (1 + slippage)`, the fee inside it. Flat: all is sold at `open × (1 − slippage)`. Short
//! wishes count as flat. The end is valued at the last close.

use super::kernel::Wishes;
use crate::data::Columns;

/// Its costs, as shares.
#[derive(Clone, Copy, Debug)]
pub struct Ideal {
    pub cash: f64,
    pub fee: f64,
    pub slippage: f64,
}

/// What comes of it, bar by bar.
pub trait Curve {
    /// Equity at a bar's close.
    fn equity(&mut self, index: usize, equity: f64);
    /// A fill at a bar's open: quantity (sold: negative), price, fee.
    fn fill(&mut self, index: usize, qty: f64, price: f64, fee: f64);
}

/// Runs wishes; the number of orders.
pub fn drive(columns: &Columns, ideal: Ideal, mut wishes: impl Wishes, curve: &mut impl Curve) -> u32 {
    let tick = crate::strategy::feature(columns.tick);
    let (mut cash, mut held, mut orders) = (ideal.cash, 0.0, 0);
    let mut wanted = false;
    for index in 0..columns.len() {
        if wanted != (held > 0.0) {
            let open = columns.open[index] * tick;
            orders += 1;
            if wanted {
                let price = open * (1.0 + ideal.slippage);
                held = cash / (price * (1.0 + ideal.fee));
                let fee = held * price * ideal.fee;
                cash = 0.0;
                curve.fill(index, held, price, fee);
            } else {
                let price = open * (1.0 - ideal.slippage);
                let value = held * price;
                cash += value - value * ideal.fee;
                curve.fill(index, -held, price, value * ideal.fee);
                held = 0.0;
            }
        }
        curve.equity(index, cash + held * columns.close[index] * tick);
        if let Some(target) = wishes.after(index) {
            wanted = target > 0;
        }
    }
    orders
}
