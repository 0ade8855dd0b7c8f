//! Rate limits on the venue's clock: a sliding window per endpoint and key, as the table lists
//! them.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use super::endpoints::{EndpointRow, Per, find, single_of};
use crate::domain::Ms;

/// New and amended orders of one sub-account in two seconds (50061 beyond); cancels and spot are
/// exempt.
const SUB_ACCOUNT_ORDERS: usize = 1000;
const SUB_ACCOUNT_WINDOW: Ms = Ms::secs(2);

/// When requests came, by endpoint and key.
#[derive(Debug, Default)]
pub(super) struct RequestLimits(Mutex<HashMap<String, VecDeque<Ms>>>);

impl RequestLimits {
    /// Counts one request; `false` when the window is full.
    pub(super) fn admit(&self, endpoint: &EndpointRow, inst: &str, now: Ms) -> bool {
        self.admit_many(endpoint, inst, 1, now)
    }

    /// Counts a batch of `orders` on one instrument, all or none. A batch of one is a single.
    pub(super) fn admit_batch(&self, path: &str, inst: &str, orders: usize, now: Ms) -> bool {
        let path = if orders == 1 { single_of(path) } else { path };
        find(path, "POST").is_ok_and(|endpoint| self.admit_many(endpoint, inst, orders, now))
    }

    fn admit_many(&self, endpoint: &EndpointRow, inst: &str, count: usize, now: Ms) -> bool {
        let scope = if endpoint.per == Per::Instrument {
            inst
        } else {
            ""
        };
        let key = format!("{} {} {scope}", endpoint.method, endpoint.path);
        self.count(key, count, (endpoint.limit, Ms(endpoint.window_ms)), now)
    }

    /// Counts one new order against the sub-account.
    pub(super) fn admit_order(&self, now: Ms) -> bool {
        self.count(
            "sub-account".to_owned(),
            1,
            (SUB_ACCOUNT_ORDERS, SUB_ACCOUNT_WINDOW),
            now,
        )
    }

    fn count(&self, key: String, count: usize, (most, span): (usize, Ms), now: Ms) -> bool {
        let mut windows = self.0.lock().expect("no holder of this lock can panic");
        let window = windows.entry(key).or_default();
        while window.front().is_some_and(|at| now.since(*at) >= span) {
            window.pop_front();
        }
        if window.len() + count > most {
            return false;
        }
        window.extend(std::iter::repeat_n(now, count));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 60 orders in two seconds each; the 61st is refused until the window has moved on.
    #[test]
    fn window_slides_per_instrument() {
        let limits = RequestLimits::default();
        let order = find("trade/order", "POST").unwrap();
        for i in 0..60 {
            assert!(limits.admit(order, "A", Ms(i)));
        }
        assert!(!limits.admit(order, "A", Ms(1999)));
        assert!(limits.admit(order, "B", Ms(1999)));
        assert!(limits.admit(order, "A", Ms(2000)));
        assert!(!limits.admit(order, "A", Ms(2000)));
    }

    /// A batch of one counts toward the limit for single orders.
    #[test]
    fn batch_counts_each_order() {
        let limits = RequestLimits::default();
        for i in 0..15 {
            assert!(limits.admit_batch("trade/batch-orders", "A", 20, Ms(i)));
        }
        assert!(
            !limits.admit_batch("trade/batch-orders", "A", 2, Ms(20)),
            "300 orders are in"
        );
        for i in 0..60 {
            assert!(limits.admit_batch("trade/batch-orders", "A", 1, Ms(i)));
        }
        assert!(!limits.admit(find("trade/order", "POST").unwrap(), "A", Ms(100)));
    }
}
