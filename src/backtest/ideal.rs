//! The simplest world: a wish after the close of a bar is filled at the open of the next, all of
//! it, in any fraction, at a fixed slippage and fee. For comparisons with other engines and for
//! searching wide before testing true.
//!
//! Long: all cash buys at `open × (1 + slippage)`, the fee inside it. Flat: all is sold at `open ×
//! (1 − slippage)`. Short wishes count as flat. The end is valued at the last close.

use super::kernel::Wishes;
use crate::data::Columns;

/// Starting cash, and costs as shares.
#[derive(Clone, Copy, Debug)]
pub struct Ideal {
    pub cash: f64,
    pub fee: f64,
    pub slippage: f64,
}

/// Receiver of the results, bar by bar.
pub trait IdealCurve {
    /// Equity at a bar's close.
    fn equity(&mut self, index: usize, equity: f64);
    /// A fill at a bar's open: quantity (sold: negative), price, fee.
    fn fill(&mut self, index: usize, qty: f64, price: f64, fee: f64);
}

/// A curve of which only figures are kept.
#[derive(Clone, Copy, Debug)]
pub struct Brief {
    last: f64,
    n: f64,
    sum: f64,
    squares: f64,
    peak: f64,
    fall: f64,
    orders: u32,
}

impl Brief {
    /// Of a run that begins with so much.
    pub const fn new(cash: f64) -> Self {
        Self {
            last: cash,
            n: 0.0,
            sum: 0.0,
            squares: 0.0,
            peak: cash,
            fall: 0.0,
            orders: 0,
        }
    }
    /// At the end.
    pub const fn equity(&self) -> f64 {
        self.last
    }
    /// Mean over deviation of returns per bar (with n).
    pub fn sharpe(&self) -> f64 {
        let mean = self.sum / self.n;
        let variance = self.squares / self.n - mean * mean;
        if variance > 0.0 {
            mean / variance.sqrt()
        } else {
            0.0
        }
    }
    /// The deepest fall from a peak, as a share of it.
    pub const fn drawdown(&self) -> f64 {
        self.fall
    }
    /// Fills.
    pub const fn orders(&self) -> u32 {
        self.orders
    }
}

impl IdealCurve for Brief {
    #[inline]
    fn equity(&mut self, _: usize, equity: f64) {
        let change = equity / self.last - 1.0;
        self.last = equity;
        self.n += 1.0;
        self.sum += change;
        self.squares += change * change;
        self.peak = if equity > self.peak {
            equity
        } else {
            self.peak
        };
        let fall = 1.0 - equity / self.peak;
        self.fall = if fall > self.fall { fall } else { self.fall };
    }
    fn fill(&mut self, _: usize, _: f64, _: f64, _: f64) {
        self.orders += 1;
    }
}

/// Runs wishes; the number of orders.
pub fn drive(
    columns: &Columns,
    ideal: Ideal,
    mut wishes: impl Wishes,
    curve: &mut impl IdealCurve,
) -> u32 {
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
