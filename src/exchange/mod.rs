//! The embedded exchange: a simulated OKX.
//!
//! `market` makes the market, `core` matches and keeps the account, `log` keeps the ledger, `engine`
//! runs them on one thread, `server` speaks OKX v5 over HTTP and WebSocket. Its ledger is the oracle
//! the daemon is tested against, so nothing here uses the daemon's own arithmetic.
//!
//! Known differences from the real venue:
//! - the market does not remember our trades: what we take from the book is back a second later, and
//!   candles and the public tape show only the trades of others;
//! - mark and index price are the last price; there is one fee tier; leverage is the same for all sizes;
//! - spot market buys by quote amount are turned into a base quantity at the last price;
//! - a liquidation closes the whole position at the mark price;
//! - books are pushed whole, once a second, with `checksum` 0.

mod clock;
pub mod core;
mod engine;
mod log;
pub mod market;
mod render;
mod server;

pub use engine::{Engine, EngineConfig};
pub use server::{Credentials, Endpoint, ServerConfig, serve};
