//! The permission to send, as it changes: for those who ask outside the gate.

use tokio::sync::watch;

use super::switch::TradingSwitch;
use crate::domain::{Departure, Permission, Readiness, Restrictions};

/// Newest trading switch, readiness and restrictions.
#[derive(Clone, Debug)]
pub struct PermissionWatch {
    pub switch: TradingSwitch,
    pub readiness: watch::Receiver<Readiness>,
    pub restrictions: watch::Receiver<Restrictions>,
}

impl PermissionWatch {
    /// Asks the permission of now.
    pub fn ask<T>(&self, question: impl FnOnce(&Permission<'_>) -> T) -> T {
        let (readiness, restrictions) = (self.readiness.borrow(), self.restrictions.borrow());
        question(&Permission {
            trading_on: self.switch.is_on(),
            readiness: &readiness,
            restrictions: &restrictions,
        })
    }

    /// True if protection or a cancel may leave now.
    pub fn lets(&self, what: Departure) -> bool {
        self.ask(|permission| permission.lets(what))
    }
}
