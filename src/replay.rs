//! Decisions made again: everything after the model (or the strategy), from what was kept, compared byte for byte. Pure.

use rust_decimal::Decimal;
use serde_json::Value;

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
            Ok(now) => match (compared(&kept.output, now), contradicted(kept, run)) {
                (Outcome::Same, Some(why)) => Outcome::Broken(why),
                (outcome, _) => outcome,
            },
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
            let Some(data) = &run.data else { return Err("what was asked is not there any more".to_owned()) };
            unpack::<llm::seen::Seen>(&kept.seen)?.again(data, run.reply.as_deref())
        }
    }
}

/// Rows that say something else than what came of the decision.
fn contradicted(kept: &KeptInputs, run: &KeptRun) -> Option<String> {
    let output: Value = serde_json::from_str(&kept.output).ok()?;
    match kept.stage {
        Stage::Gate => {
            let approved = output.get("approved")?;
            let (side, qty) = (approved["side"].as_str()?, approved["qty"].as_str()?.parse::<Decimal>().ok()?);
            match run.orders.get(kept.subject.as_str()) {
                Some((theirs, size)) if theirs == side && *size == qty => None,
                Some((theirs, size)) => {
                    Some(format!("approved {side} {qty}, and the order in the database is {theirs} {size}"))
                }
                None => Some(format!("approved {side} {qty}, and there is no such order in the database")),
            }
        }
        Stage::Answer => output.as_array()?.iter().find_map(|verdict| {
            let proposal = &verdict["proposal"];
            let (inst, contender) = (proposal["inst"].as_str()?, proposal["contender"].as_str()?);
            let wanted =
                (proposal["target"].as_i64(), proposal["stop"].as_str().and_then(|stop| stop.parse::<Decimal>().ok()));
            let row = run.decisions.get(&(inst.to_owned(), contender.to_owned()))?;
            let stop = row.1.as_ref().and_then(|stop| stop.parse::<Decimal>().ok());
            let same = verdict["code"] != "accepted" || wanted == (row.0, stop);
            (!same).then(|| format!("the decision about {inst} in the database is another: {row:?}"))
        }),
        // What it wants is the gate's subject, and what it was given is in the decisions.
        Stage::Allocation => output.get(0)?.as_array()?.iter().find_map(|row| {
            let key = (row["inst"].as_str()?.to_owned(), row["contender"].as_str()?.to_owned());
            (!run.decisions.contains_key(&key))
                .then(|| format!("there is no decision of {} about {} in the database", key.1, key.0))
        }),
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
