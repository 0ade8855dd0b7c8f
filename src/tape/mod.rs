//! The tape: what the venue said, as it came, in segments of one day at most.
//!
//! A segment is lines of JSON under zstd: a head that says what it is, the messages in the order
//! they were heard, and each second a mark with the count and the hash of everything before it.
//! What a crash cuts off is at most what came after the last mark; a byte that was changed later
//! shows at the next one.

mod line;
mod reader;
mod recorder;

pub use line::{Head, Mark, TapeLine, TapeMessage};
pub use reader::{Segment, TapeVerdict, segments, verify};
pub use recorder::{RecorderConfig, Recording, record};
