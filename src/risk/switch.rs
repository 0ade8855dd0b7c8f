//! The trading latch. At run time it can only go off; on needs configuration and a restart (P5).
//!
//! A halt has three ways to be durable, so that there is one at any moment: the gate's row and the
//! manifest; the file `HALT`; and a byte that the signal's handler itself appends to
//! `halt.signals`, which needs no thread, no memory and no new descriptor.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by decision, gate and executor; each reads it for itself.
#[derive(Clone, Debug)]
pub struct TradingSwitch(Arc<AtomicBool>);

impl TradingSwitch {
    /// As configured at start.
    pub fn new(enabled: bool) -> Self {
        Self(Arc::new(AtomicBool::new(enabled)))
    }
    /// True while orders may be sent at all.
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
    /// From now on nothing leaves. There is no way back.
    pub fn off(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One clone switching it off does so for all, and nothing switches it on again.
    #[test]
    fn latch_off_is_shared_and_final() {
        let latch = TradingSwitch::new(true);
        let other = latch.clone();
        assert!(latch.is_on() && other.is_on());
        other.off();
        assert!(!latch.is_on() && !other.is_on());
        other.off();
        assert!(!latch.is_on());
        assert!(!TradingSwitch::new(false).is_on());
    }
}
