//! Fills that one bar would have made: the fill model that backtests and the embedded exchange's
//! `--fills bar` share. Pure.
//!
//! Prices are whole ticks and sizes whole lots, so the exact path ([`Decimal`]) and the fast one
//! (`f64`) of one source agree on every fill; only money is computed in one or the other.
//!
//! | what | how, and on whose side the doubt falls |
//! | --- | --- |
//! | market order | from the open of its first bar, worse by half the spread and by impact |
//! | impact | `impact × √(size ÷ the bar's volume)`: the square-root law (Almgren, Thum, Hauptmann and Li, "Direct Estimation of Equity Market Impact", 2005, find an exponent of 0.6; Tóth et al. 2011 a half) |
//! | how much | no more than a share of the bar's volume for all orders together; the rest goes on in the next bar |
//! | resting order | at its limit, once a price **beyond** it has traded: a touch fills nobody, for others were there before |
//! | post-only that would take | refused, as the venue does |
//! | stop | at its trigger less slippage; at the open if the bar begins beyond it |
//! | stop and target in one bar | the stop, unless the bar opens beyond the target |
//! | price outside the bar | never: what slippage would take beyond the bar's range is paid as a fee |
//!
//! [`Decimal`]: rust_decimal::Decimal

mod bar;
mod costs;
mod number;

pub use bar::{
    Guarded, Kind, LotSteps, Matched, PartFill, Trigger, room, taker, through, triggered,
};
pub use costs::{CostTerms, Costs, Tier};
pub use number::Number;
