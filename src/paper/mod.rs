//! Paper trading: another venue's public market, handed to the embedded exchange as it happens.
//!
//! Between the two stands one actor. It believes nothing it has not heard since the connection came
//! up: when a stream is lost the exchange is told at once that the market is cut, and the market is
//! back only with complete history and a fresh book.

mod feed;
mod news;

pub use feed::PaperFeed;
pub use news::of_recorded;
