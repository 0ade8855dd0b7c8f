//! Rate limits on our requests: a bucket per endpoint and one for the sub-account's orders, each
//! below OKX's own limit so that we never meet 50011. Cancels have buckets of their own: whatever
//! else goes on, there is room to cancel orders.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::DefaultClock;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

/// OKX counts in windows of two seconds.
const WINDOW: Duration = Duration::from_secs(2);

type Keyed = RateLimiter<String, DefaultKeyedStateStore<String>, DefaultClock>;
type Direct = governor::DefaultDirectRateLimiter;

/// Which allowance a request draws on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RateClass {
    /// Account reads and other slow endpoints: 5 per window.
    Slow,
    /// Most reads: 10 per window.
    Read,
    /// Candles, history: 20 per window.
    Bulk,
    /// Order queries: 60 per window and instrument.
    Query,
    /// New orders: 60 per window and instrument, 1,000 per window in all.
    Create,
    /// Cancels: 60 per window and instrument.
    Cancel,
    /// New stops: 20 per window and instrument.
    CreateAlgo,
    /// Moves of stops: 20 per window and instrument.
    AmendAlgo,
    /// Cancels of stops: 20 per window and instrument.
    CancelAlgo,
}

/// All buckets of one account.
#[derive(Debug)]
pub(super) struct Budgets {
    slow: Keyed,
    read: Keyed,
    bulk: Keyed,
    query: Keyed,
    create: Keyed,
    cancel: Keyed,
    create_algo: Keyed,
    amend_algo: Keyed,
    cancel_algo: Keyed,
    orders: Direct,
}

/// Nine tenths of what the venue allows: its window need not begin where ours does.
fn quota(per_window: u32) -> Quota {
    let allowed = (per_window * 9 / 10).max(1);
    let burst = NonZeroU32::new((allowed / 2).max(1)).expect("at least one");
    // Half at once and the rest spread over the window: never more than `allowed` in any two
    // seconds.
    let period = WINDOW / (allowed - allowed / 2).max(1);
    Quota::with_period(period)
        .expect("the period is not zero")
        .allow_burst(burst)
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            slow: RateLimiter::keyed(quota(5)),
            read: RateLimiter::keyed(quota(10)),
            bulk: RateLimiter::keyed(quota(20)),
            query: RateLimiter::keyed(quota(60)),
            create: RateLimiter::keyed(quota(60)),
            cancel: RateLimiter::keyed(quota(60)),
            create_algo: RateLimiter::keyed(quota(20)),
            amend_algo: RateLimiter::keyed(quota(20)),
            cancel_algo: RateLimiter::keyed(quota(20)),
            orders: RateLimiter::direct(quota(1000)),
        }
    }
}

impl Budgets {
    /// Waits until a request of this rate and key may go.
    pub(super) async fn wait(&self, rate: RateClass, key: &str) {
        let key = key.to_owned();
        match rate {
            RateClass::Slow => self.slow.until_key_ready(&key).await,
            RateClass::Read => self.read.until_key_ready(&key).await,
            RateClass::Bulk => self.bulk.until_key_ready(&key).await,
            RateClass::Query => self.query.until_key_ready(&key).await,
            RateClass::Cancel => self.cancel.until_key_ready(&key).await,
            RateClass::CreateAlgo => self.create_algo.until_key_ready(&key).await,
            RateClass::AmendAlgo => self.amend_algo.until_key_ready(&key).await,
            RateClass::CancelAlgo => self.cancel_algo.until_key_ready(&key).await,
            RateClass::Create => {
                self.orders.until_ready().await;
                self.create.until_key_ready(&key).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full order bucket leaves room for cancels.
    #[test]
    fn cancels_have_their_own_budget() {
        let budgets = Budgets::default();
        let key = "BTC-USDT".to_owned();
        let sent = (0..100)
            .take_while(|_| budgets.create.check_key(&key).is_ok())
            .count();
        assert_eq!(sent, 27, "half of nine tenths of sixty at once");
        assert!(budgets.cancel.check_key(&key).is_ok());
    }
}
