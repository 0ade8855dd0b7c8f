//! The embedded exchange: a simulated OKX.
//!
//! `market` makes the market, `core` matches and keeps the account, `log` keeps the ledger,
//! `engine` runs them on one thread, `server` speaks OKX v5 over HTTP and WebSocket. Its ledger is
//! the oracle the daemon is tested against, so nothing here uses the daemon's own arithmetic.
//!
//! Known differences from the real venue:
//! - the market does not remember our trades: what we take from the book is back a second later,
//!   and candles and the public tape show only the trades of others;
//! - mark and index price are the last price; there is one fee tier; leverage is the same for all
//!   sizes;
//! - spot market buys by quote amount are turned into a base quantity at the last price;
//! - open interest is a third of the last day's volume, and in a fed market not known;
//! - a liquidation closes the whole position at the mark price;
//! - `books5` and `bbo-tbt` are pushed whole, once a second; `books` has at most 25 levels a side
//!   and `checksum` 0;
//! - net position mode, cross margin and `acctLv` 2 only; there is no funding account and nothing
//!   to transfer;
//! - a recording's gaps are played flat without volume, and its second-by-second path is made up
//!   inside each bar;
//! - `account` is pushed whole, and a subscription by `instFamily` or `ccy` hears everything of its
//!   kind;
//! - funding is paid every eight hours whatever the instrument, in a fed market only where the rate
//!   is known;
//! - in a fed market a resting order whose own price the feed never showed fills at the price it
//!   showed, and funding that fell due while the exchange was down is not paid.
//!
//! The exchange has its own arithmetic for positions and fees, apart from `domain/books.rs`, so
//! that its ledger can be the oracle.

mod clock;
pub mod core;
mod engine;
mod log;
pub mod market;
mod recorded;
pub mod render;
mod server;

pub use core::FeedEvent;
pub use engine::{Engine, EngineConfig, PriceSource, Push, Unavailable};
pub use recorded::{CandleFile, DEFAULT_INST};
pub use server::{
    Credentials, ServerAddress, ServerConfig, parse_algo, parse_order, self_signed, serve,
};
