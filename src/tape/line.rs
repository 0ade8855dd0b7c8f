//! One line of a segment.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{Instrument, Ms};

/// First line: what the segment is and the rules under which its numbers hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// `tape/1`.
    pub schema: String,
    pub mode: String,
    pub uid: String,
    pub started_ms: Ms,
    pub instruments: Vec<Instrument>,
}

/// A message of the venue. `data` is its JSON array, byte for byte.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TapeMessage {
    /// Venue time at which it was heard.
    pub at: Ms,
    pub channel: String,
    /// Instrument or kind of instrument; empty where the channel has neither.
    pub subject: String,
    pub data: Box<RawValue>,
}

/// Number of messages before the mark, and the SHA-256 over the head and their lines, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    pub lines: u64,
    pub sha256: String,
    /// Messages that came faster than they could be written and are not on the tape.
    #[serde(default)]
    pub lost: u64,
    /// The last mark of a segment that was closed in good order.
    #[serde(default)]
    pub end: bool,
}

/// Any line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TapeLine {
    Head(Head),
    Heard(TapeMessage),
    Mark(Mark),
}
