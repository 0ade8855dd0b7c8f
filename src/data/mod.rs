//! Market history as data: files of candles, what can be wrong with a series, and longer bars made
//! of shorter ones. Pure but for opening a file; `store` keeps series, this room judges them.

mod check;
mod columns;
mod file;
mod resample;

pub use check::{CandleFault, CandleFinding, Repaired, check, infer_bar, repair};
pub use columns::{Columns, ColumnsError};
pub use file::{FileError, HEADER, Read, Row, read_candles, write_candles};
pub use resample::{in_bars_of, resample};
