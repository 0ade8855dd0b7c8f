//! The trading latch. At run time it can only go off; on needs configuration and a restart (P5).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Shared by decision, gate and executor; each reads it for itself.
#[derive(Clone, Debug)]
pub struct Latch(Arc<AtomicBool>);

impl Latch {
    /// As configured at start.
    pub fn new(enabled: bool) -> Self {
        Self(Arc::new(AtomicBool::new(enabled)))
    }
    /// May anything leave at all?
    pub fn is_on(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
    /// From now on nothing leaves. There is no way back.
    pub fn off(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}
