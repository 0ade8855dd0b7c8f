//! Inputs of a stage's decision, kept so that the decision can be made again and compared byte for
//! byte.
//!
//! Decisions are kept as CBOR of what was looked at: tuples as keys, decimals as text, no schema of
//! its own.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Ms, RunId};

/// Which decision it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InputStage {
    /// The history that rules are set up on.
    Seating,
    /// Targets the rules want.
    Rules,
    /// Part of a model's answer that is acted on.
    Answer,
    /// Targets into orders.
    Allocation,
    /// The next try of an order that has ended or rests where nobody comes.
    Working,
    /// Check whether an order may be sent.
    Gate,
}

impl InputStage {
    /// The database's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            InputStage::Seating => "seating",
            InputStage::Rules => "rules",
            InputStage::Answer => "answer",
            InputStage::Allocation => "allocation",
            InputStage::Working => "working",
            InputStage::Gate => "gate",
        }
    }
    /// Reads the database's word.
    pub fn parse(text: &str) -> Option<Self> {
        use InputStage as S;
        let all = [
            S::Seating,
            S::Rules,
            S::Answer,
            S::Allocation,
            S::Working,
            S::Gate,
        ];
        all.into_iter().find(|stage| stage.as_str() == text)
    }
}

/// One decision of a run: all it was made from, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunInputs {
    pub run_id: RunId,
    pub stage: InputStage,
    /// The order it was about; empty: the run as a whole.
    pub subject: String,
    /// CBOR of what was seen.
    pub seen: Vec<u8>,
    /// Canonical JSON of what came of it.
    pub output: String,
    pub at: Ms,
}

impl RunInputs {
    /// Packs what was seen.
    pub fn new<T: Serialize>(
        (run_id, stage): (RunId, InputStage),
        subject: impl Into<String>,
        seen: &T,
        output: String,
        at: Ms,
    ) -> Self {
        let mut bytes = Vec::new();
        ciborium::into_writer(seen, &mut bytes).expect("writing to memory does not fail");
        Self {
            run_id,
            stage,
            subject: subject.into(),
            seen: bytes,
            output,
            at,
        }
    }
}

/// Unpacks what was seen.
///
/// # Errors
/// Other bytes than were packed, or of a build that saw other things.
pub fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    ciborium::from_reader(bytes).map_err(|error| error.to_string())
}
