//! Everything that knows OKX's dialect. Past this folder nobody sees a string where a number is
//! meant.

mod budget;
mod codes;
mod history;
mod ops;
mod rest;
mod sequence;
mod sign;
mod stream;
mod wire;

pub use codes::{CancelOutcome, Class, CreateOutcome, OrderRef, class, judge_cancel, judge_create};
pub use history::{WINDOW, history_window, newest_closed};
pub use ops::OrderSocket;
pub use rest::{CandlePage, Trading, Venue, VenueConfig, VenueError, check_clock, sim_clock};
pub use sequence::{Sequence, SequenceVerdict};
pub use sign::{Secrets, SignedHeaders, Signer};
pub use stream::{Stream, StreamConfig, StreamEvent, Subscription, Tap};
pub use wire::{
    AccountConfig, AlgoPush, BookPush, FillReport, FundingRate, Malformed, OrderPush,
    OrderTransportKind, Page, RawFill, RefusedRow, TradePush, create_body, parse_account,
    parse_algos, parse_bills, parse_book, parse_candles, parse_config, parse_fills, parse_funding,
    parse_instruments, parse_mark, parse_open_interest, parse_orders, parse_positions, parse_quote,
    parse_time, parse_trades, read_bills, read_instruments, stop_body,
};

/// Installs the TLS provider of this process. A second call finds it installed, which is as good.
pub fn install_tls() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
