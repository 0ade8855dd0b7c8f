//! Cancel-all-after: the venue's dead man's switch.

use super::Exchange;
use super::types::{Rejection, VenueOrder};
use crate::domain::Ms;

/// Timers one account may have, by tag.
const TIMERS_MAX: usize = 20;

impl Exchange {
    /// `trade/cancel-all-after`: cancels every order under `tag` (all orders if it is empty)
    /// `seconds` from now unless asked again before; 0 ends the timer. Returns when it will run
    /// out.
    ///
    /// # Errors
    /// Anything but 0 or 10 to 120 seconds (51000), and a timer too many (51071).
    pub fn cancel_all_after(&mut self, seconds: i64, tag: &str) -> Result<Option<Ms>, Rejection> {
        if seconds != 0 && !(10..=120).contains(&seconds) {
            return Err(Rejection::new("51000", "Parameter timeOut error"));
        }
        self.changes.timers = true;
        if seconds == 0 {
            self.ledger.timers.remove(tag);
            return Ok(None);
        }
        if !self.ledger.timers.contains_key(tag) && self.ledger.timers.len() >= TIMERS_MAX {
            return Err(Rejection::new(
                "51071",
                "The number of cancel-all-after timers has reached the maximum.",
            ));
        }
        let at = self.now.plus(Ms::secs(seconds));
        self.ledger.timers.insert(tag.to_owned(), at);
        Ok(Some(at))
    }

    /// Cancels under every timer that has run out. Algo orders stay.
    pub(super) fn run_timers(&mut self) {
        let over: Vec<String> = self
            .ledger
            .timers
            .iter()
            .filter(|(_, at)| **at <= self.now)
            .map(|(tag, _)| tag.clone())
            .collect();
        for tag in over {
            self.ledger.timers.remove(&tag);
            self.changes.timers = true;
            let under = |o: &&VenueOrder| tag.is_empty() || o.tag == tag;
            let orders: Vec<u64> = self.open_orders().filter(under).map(|o| o.id).collect();
            for id in orders {
                self.cancel_with(id, "20");
            }
        }
    }
}
