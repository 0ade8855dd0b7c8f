//! Tracking: the one truth of orders and fills, and the account beside it.
//!
//! `ledger` believes events, `desk` decides what to make of them and when to ask, `sweep` asks the
//! venue for all of them; start, reconnect and the periodic audit are the same path.

mod account_sync;
mod desk;
mod ledger;
mod sweep;
mod tracker;

pub use account_sync::{
    AccountSync, Accounts, BillBook, SyncAsk, SyncReport, keep_account, sync_once,
};
pub use desk::{Act, Answer, Ask, Desk, Feed, Heard, Now, Patience};
pub use ledger::{Foreign, Ledger, Outcome};
pub use sweep::{Everywhere, Inquire, Question, Sweep, Wanted};
pub use tracker::{Tracker, TruthAsk, VenueWire, Wire};
