//! Decisions made again from what was kept: what rules wanted, what of a model's answer was acted on, the allocation, each
//! verdict of the gate. Compared byte for byte. Pure.

use rust_decimal::Decimal;
use serde_json::Value;

use crate::domain::RunId;
use crate::domain::inputs::{Stage, unpack};
use crate::store::{KeptInputs, KeptRun};
use crate::{allocation, decision, llm, risk};

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

/// Whoever makes runs again, oldest first: strategies remember what they have heard.
#[derive(Default)]
pub struct Replay {
    rules: decision::Again,
}

impl Replay {
    /// The start whose seating and cycles before this run must be heard first, by [`Replay::hear`]; `None`: the run can be
    /// made again as it is.
    pub fn lacks(&self, run: &KeptRun) -> Option<RunId> {
        let cycle = run.inputs.iter().find(|kept| kept.stage == Stage::Rules)?;
        self.rules.lacks(&cycle.seen).ok().flatten()
    }

    /// What was seen in a seating or cycle before a run, without asking what came of it.
    pub fn hear(&mut self, start: RunId, stage: Stage, subject: &str, seen: &[u8]) {
        // What cannot be heard is missed by the run that needs it.
        let _ = match stage {
            Stage::Seating => self.rules.seat(start, subject, seen),
            _ => self.rules.ask(seen),
        };
    }

    /// Makes every decision of a run again.
    pub fn again(&mut self, run: &KeptRun) -> Vec<Replayed> {
        let one = |kept: &KeptInputs| Replayed {
            stage: kept.stage,
            subject: kept.subject.clone(),
            other_build: kept.build != env!("ARENA_BUILD"),
            outcome: match again(&mut self.rules, kept, run) {
                Ok(now) => match (compared(&kept.output, now), contradicted(kept, run)) {
                    (Outcome::Same, Some(why)) => Outcome::Broken(why),
                    (outcome, _) => outcome,
                },
                Err(why) => Outcome::Broken(why),
            },
        };
        run.inputs.iter().map(one).collect()
    }
}

fn again(rules: &mut decision::Again, kept: &KeptInputs, run: &KeptRun) -> Result<String, String> {
    match kept.stage {
        Stage::Seating => rules.seat(run.run_id, &kept.subject, &kept.seen),
        Stage::Rules => rules.ask(&kept.seen),
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
        Stage::Seating => None,
        Stage::Rules => output.as_array()?.iter().find_map(|proposal| otherwise(proposal, run)),
        Stage::Answer => {
            let accepted = output.as_array()?.iter().filter(|verdict| verdict["code"] == "accepted");
            accepted.map(|verdict| &verdict["proposal"]).find_map(|proposal| otherwise(proposal, run))
        }
        // What it wants is the gate's subject, and what it was given is in the decisions.
        Stage::Allocation => output.get(0)?.as_array()?.iter().find_map(|row| {
            let key = (row["inst"].as_str()?.to_owned(), row["contender"].as_str()?.to_owned());
            (!run.decisions.contains_key(&key))
                .then(|| format!("there is no decision of {} about {} in the database", key.1, key.0))
        }),
    }
}

/// What the row of a decision says if it is not what was proposed.
fn otherwise(proposal: &Value, run: &KeptRun) -> Option<String> {
    let (inst, contender) = (proposal["inst"].as_str()?, proposal["contender"].as_str()?);
    let stop_of = |text: &str| text.parse::<Decimal>().ok();
    let wanted = (proposal["target"].as_i64(), proposal["stop"].as_str().and_then(stop_of));
    let row = run.decisions.get(&(inst.to_owned(), contender.to_owned()))?;
    let same = wanted == (row.0, row.1.as_deref().and_then(stop_of));
    (!same).then(|| format!("the decision of {contender} about {inst} in the database is another: {row:?}"))
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
