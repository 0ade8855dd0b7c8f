//! Everything that knows OKX's dialect. Past this folder nobody sees a string where a number is meant.

mod budget;
mod codes;
mod ops;
mod rest;
mod sequence;
mod sign;
mod stream;
mod wire;

pub use codes::{CancelOutcome, Class, CreateOutcome, class, judge_cancel, judge_create};
pub use ops::OrderSocket;
pub use rest::{AccountConfig, CandlePage, Trading, Venue, VenueConfig, VenueError, sim_clock};
pub use sequence::{Sequence, Verdict};
pub use sign::{Secrets, SignedHeaders, Signer};
pub use stream::{Stream, StreamConfig, StreamEvent, Subscription};
pub use wire::{
    AlgoPush, FillReport, Op, OrderPush, RawFill, create_body, parse_algos, parse_candles, parse_orders, parse_quote,
};

/// Installs the TLS provider of this process. A second call finds it installed, which is as good.
pub fn install_tls() {
    drop(rustls::crypto::ring::default_provider().install_default());
}
