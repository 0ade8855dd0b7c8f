//! Backtests: the same strategies, allocator, risk rules and fill model as the daemon, over
//! history.
//!
//! Two engines make the same fills. [`exact`] asks the daemon's own allocator and gate, in
//! decimals, for any number of contenders and instruments on one account. [`kernel`] runs one
//! strategy on one instrument in floats over columns, hundreds of times as fast; property tests
//! hold it to the exact one, fill for fill. [`ideal`] is a third, simpler world for comparisons
//! with other engines: fractions of coins, all of it filled at the next open.
//!
//! Within a bar, in this order: what opens beyond its stop leaves, orders that were decided before
//! fill, stops and targets go off, what lacks margin is liquidated, funding is paid, all is valued
//! at the close, the strategy sees the bar, and what it wants is ordered for the next bar, or later
//! if there is latency.
//!
//! Known differences from the daemon on the venue: spot fees are counted in the quote currency; an
//! order that rests is not moved, it ends and is decided on anew; a stop is placed when its entry
//! has ended; liquidation is of everything at once.
//!
//! Backtests have two engines: the exact one asks the daemon's own allocator and gate, the fast one
//! repeats their arithmetic in floats. Sizes and prices are whole steps in both, so a property test
//! can ask for the same fills, not for nearly the same equity.

pub mod checks;
pub mod diagnosis;
pub mod exact;
pub mod html;
pub mod ideal;
pub mod kernel;
pub mod margin;
pub mod model_replay;
pub mod months;
mod plan;
pub mod rank;
mod record;
pub mod report;
mod round_trips;
pub mod run_summary;
pub mod search;
pub mod sleeve_sim;
#[cfg(test)]
mod tests;
pub mod walk;

pub use plan::{ADVISED, BacktestMarket, Contender, Rules};
pub use record::{Block, Decided, FillRecord, Halt, RunOutcome, Tape};
pub use round_trips::round_trips;
