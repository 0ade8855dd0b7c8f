//! Market ingest: closed bars without gaps, the newest quotes, and how old they are.
//!
//! Only bars the venue calls final are believed; a gap is repaired from REST before anything after
//! it is passed on; no bar is ever invented.

mod actor;
mod bars;
mod extras;

pub use actor::{BarClosed, Market, ahead_limit};
pub use bars::{Bars, Pushed};
pub use extras::ExtrasReader;
