//! Decisions made again: everything after the model (or the strategy), from what was kept, compared byte for byte. Pure.

use crate::domain::inputs::{Stage, unpack};
use crate::store::{KeptInputs, KeptRun};
use crate::{allocation, llm, risk};

/// How a decision compares with what was kept of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Same,
    /// Something else comes of it now; from this byte on.
    Different {
        at: usize,
        kept: String,
        now: String,
    },
    /// It cannot be made again.
    Broken(String),
}

/// One decision, made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    pub stage: Stage,
    pub subject: String,
    /// Was it made by another build?
    pub other_build: bool,
    pub outcome: Outcome,
}

/// Makes every decision of a run again.
pub fn replay(run: &KeptRun) -> Vec<Replayed> {
    let one = |kept: &KeptInputs| Replayed {
        stage: kept.stage,
        subject: kept.subject.clone(),
        other_build: kept.build != env!("ARENA_BUILD"),
        outcome: match again(kept, run) {
            Ok(now) => compared(&kept.output, now),
            Err(why) => Outcome::Broken(why),
        },
    };
    run.inputs.iter().map(one).collect()
}

fn again(kept: &KeptInputs, run: &KeptRun) -> Result<String, String> {
    match kept.stage {
        Stage::Allocation => Ok(unpack::<allocation::seen::Seen>(&kept.seen)?.again()),
        Stage::Gate => unpack::<risk::seen::Seen>(&kept.seen)?
            .again()
            .ok_or_else(|| "its instrument is not in the market kept".to_owned()),
        Stage::Answer => {
            let (Some(data), Some(reply)) = (&run.data, &run.reply) else {
                return Err("what was asked or answered is not there any more".to_owned());
            };
            unpack::<llm::seen::Seen>(&kept.seen)?.again(data, reply)
        }
    }
}

fn compared(kept: &str, now: String) -> Outcome {
    if kept == now {
        return Outcome::Same;
    }
    let at = kept.bytes().zip(now.bytes()).position(|(a, b)| a != b).unwrap_or(kept.len().min(now.len()));
    let near = |text: &str| {
        let bytes = text.as_bytes();
        String::from_utf8_lossy(&bytes[at.saturating_sub(30).min(bytes.len())..(at + 40).min(bytes.len())]).into_owned()
    };
    Outcome::Different { at, kept: near(kept), now: near(&now) }
}
