//! Tracking: the one truth of orders and fills, and the account beside it.
//!
//! `ledger` believes events, `sweep` asks the venue for all of them; start, reconnect and the
//! periodic audit are the same path.

mod account_sync;
mod ledger;
mod sweep;
mod tracker;

pub use account_sync::{AccountSync, SyncAsk, SyncReport, keep_account, sync_once};
pub use ledger::{Foreign, Ledger, Outcome};
pub use tracker::Tracker;
