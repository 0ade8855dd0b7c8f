//! Tracking: the one truth of orders and fills, and the account beside it.
//!
//! `ledger` believes events, `reconciler` decides what to make of them and when to ask, `sweep` asks the
//! venue for all of them; start, reconnect and the periodic audit are the same path.

mod account_sync;
mod ledger;
mod mass_status;
mod reconcile;
mod tracker;
mod wire;

pub use account_sync::{
    AccountSync, Accounts, BillBook, SyncAsk, SyncReport, keep_account, sync_once,
};
pub use ledger::{Foreign, Ledger, Outcome};
pub use mass_status::{Everywhere, MassStatus, OrderQuery, StatusRequest};
pub use reconcile::{Answer, Effect, Now, ReconcileTiming, Reconciler, TruthEvent, VenueQuery};
pub use tracker::{Tracker, TruthAsk};
pub use wire::{Inquire, PrivateFeed, VenueWire, Wire};
