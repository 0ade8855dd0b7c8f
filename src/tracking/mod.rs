//! Tracking: the one truth of orders and fills, and the account beside it.
//!
//! `ledger` believes events, `desk` decides what to make of them and when to ask, `sweep` asks the
//! venue for all of them; start, reconnect and the periodic audit are the same path.

mod account_sync;
mod desk;
mod ledger;
mod sweep;
mod tracker;
mod wire;

pub use account_sync::{
    AccountSync, Accounts, BillBook, SyncAsk, SyncReport, keep_account, sync_once,
};
pub use desk::{Act, Answer, Ask, Desk, Heard, Now, Patience};
pub use ledger::{Foreign, Ledger, Outcome};
pub use sweep::{Everywhere, Question, Sweep, Wanted};
pub use tracker::{Tracker, TruthAsk};
pub use wire::{Feed, Inquire, VenueWire, Wire};
