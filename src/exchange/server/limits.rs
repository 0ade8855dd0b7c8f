//! Rate limits on the venue's clock: a sliding window per endpoint and key, as the reference lists them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use crate::domain::Ms;

/// Length of nearly all of OKX's windows.
const WINDOW: Ms = Ms::secs(2);
/// New and amended orders of one sub-account in a window (50061 beyond); cancels and spot are exempt.
const SUB_ACCOUNT_ORDERS: usize = 1000;

/// When requests came, by endpoint and key.
#[derive(Debug, Default)]
pub(super) struct Limits(Mutex<HashMap<String, VecDeque<Ms>>>);

/// Requests per window of each endpoint, and whether the window is per instrument.
fn allowance(endpoint: &str) -> (usize, bool) {
    match endpoint {
        "trade/order" | "trade/cancel-order" | "trade/amend-order" | "trade/get-order" => (60, true),
        "trade/fills" | "trade/orders-pending" => (60, false),
        "trade/orders-history" | "market/candles" | "market/books" => (40, false),
        "market/trades" => (100, false),
        "account/config" | "account/trade-fee" => (5, false),
        "account/balance" | "account/positions" | "account/bills" | "trade/fills-history" | "public/time" => {
            (10, false)
        }
        "public/mark-price" | "public/funding-rate" => (10, true),
        _ => (20, false),
    }
}

impl Limits {
    /// Counts one request; `false` when the window is full.
    pub(super) fn admit(&self, endpoint: &str, inst: &str, now: Ms) -> bool {
        let (most, by_inst) = allowance(endpoint);
        let key = if by_inst { format!("{endpoint} {inst}") } else { endpoint.to_owned() };
        self.count(key, most, now)
    }

    /// Counts one new order against the sub-account.
    pub(super) fn admit_order(&self, now: Ms) -> bool {
        self.count("sub-account".to_owned(), SUB_ACCOUNT_ORDERS, now)
    }

    fn count(&self, key: String, most: usize, now: Ms) -> bool {
        let mut windows = self.0.lock().expect("no holder of this lock can panic");
        let window = windows.entry(key).or_default();
        while window.front().is_some_and(|at| now.since(*at) >= WINDOW) {
            window.pop_front();
        }
        if window.len() >= most {
            return false;
        }
        window.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_slides_and_instruments_count_apart() {
        let limits = Limits::default();
        for i in 0..60 {
            assert!(limits.admit("trade/order", "A", Ms(i)));
        }
        assert!(!limits.admit("trade/order", "A", Ms(1999)));
        assert!(limits.admit("trade/order", "B", Ms(1999)));
        assert!(limits.admit("trade/order", "A", Ms(2000)));
        assert!(!limits.admit("trade/order", "A", Ms(2000)));
    }
}
