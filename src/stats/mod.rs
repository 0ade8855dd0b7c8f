//! Statistics of returns: what a track record is worth, and how much of it may be luck. Pure, in
//! floats.
//!
//! Returns are simple returns per period (day or bar). A year has 365 days: crypto has no holidays.

pub mod bootstrap;
pub mod moments;
pub mod overfit;
pub mod performance;
pub mod sharpe;

pub use bootstrap::{Interval, block_length, intervals};
pub use moments::Moments;
pub use overfit::{Overfit, cscv};
pub use performance::{Curve, Performance, TradeStats, Trip, drawdown, performance};
pub use sharpe::{deflated, expected_max, min_track_record, probabilistic};
