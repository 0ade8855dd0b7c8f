//! Decisions made again from what was kept: what rules wanted, what a reply says, what of an answer
//! was acted on, the allocation, each further try, each verdict of the gate. Compared byte for
//! byte; and each stage with the one before it and with the rows that came of it. Pure.

mod links;

use serde_json::Value;

use crate::domain::RunId;
use crate::domain::inputs::{InputStage, unpack};
use crate::llm::answer::AnswerMode;
use crate::store::{KeptCall, KeptInputs, KeptRun};
use crate::{allocation, decision, llm, risk};

/// Comparison of a replayed decision with its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplayOutcome {
    Same,
    /// Different result now, from this byte on.
    Different {
        at: usize,
        kept: String,
        now: String,
    },
    /// Decision that cannot be made again, or that does not fit what came before or after it.
    Broken(String),
}

/// One decision, made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The stage, `reply` or `rows`.
    pub stage: &'static str,
    pub subject: String,
    /// True if the decision was made by another build.
    pub other_build: bool,
    pub outcome: ReplayOutcome,
}

impl Replayed {
    fn broken(stage: &'static str, subject: impl Into<String>, why: String) -> Self {
        Self {
            stage,
            subject: subject.into(),
            other_build: false,
            outcome: ReplayOutcome::Broken(why),
        }
    }
}

/// Whoever makes runs again, oldest first: strategies remember what they have heard.
#[derive(Default)]
pub struct Replay {
    rules: decision::RulesReplay,
}

impl Replay {
    /// The start whose seating and cycles before this run must be heard first, by [`Replay::hear`];
    /// `None`: the run can be made again as it is.
    pub fn lacks(&self, run: &KeptRun) -> Option<RunId> {
        let cycle = run
            .inputs
            .iter()
            .find(|kept| kept.stage == InputStage::Rules)?;
        self.rules.lacks(&cycle.seen).ok().flatten()
    }

    /// Takes in what was seen in a seating or cycle before a run, without checking its result.
    pub fn hear(&mut self, start: RunId, stage: InputStage, subject: &str, seen: &[u8]) {
        // What cannot be heard is missed by the run that needs it.
        let _ = match stage {
            InputStage::Seating => self.rules.assignment(start, subject, seen),
            _ => self.rules.ask(seen),
        };
    }

    /// Makes every decision of a run again.
    pub fn replay(&mut self, run: &KeptRun) -> Vec<Replayed> {
        let mut made: Vec<Replayed> = run
            .calls
            .iter()
            .filter_map(|call| read_again(call, run))
            .collect();
        for kept in &run.inputs {
            let outcome = match replay_stage(&mut self.rules, kept, run) {
                Ok(now) => compared(&kept.output, now),
                Err(why) => ReplayOutcome::Broken(why),
            };
            let other_build = kept.build != env!("ARENA_BUILD");
            made.push(Replayed {
                stage: kept.stage.as_str(),
                subject: kept.subject.clone(),
                other_build,
                outcome,
            });
        }
        // What does not fit together says so itself, whether or not each part comes out the same.
        made.extend(links::broken(run));
        made
    }
}

fn replay_stage(
    rules: &mut decision::RulesReplay,
    kept: &KeptInputs,
    run: &KeptRun,
) -> Result<String, String> {
    match kept.stage {
        InputStage::Seating => rules.assignment(run.run_id, &kept.subject, &kept.seen),
        InputStage::Rules => rules.ask(&kept.seen),
        InputStage::Allocation => Ok(unpack::<allocation::AllocationInputs>(&kept.seen)?.replay()),
        InputStage::Working => Ok(unpack::<allocation::Tried>(&kept.seen)?.replay()),
        InputStage::Gate => unpack::<risk::inputs::GateInputs>(&kept.seen)?
            .replay()
            .ok_or_else(|| "its instrument is not in the market kept".to_owned()),
        InputStage::Answer => {
            let Some(question) = &run.question else {
                return Err("what was asked is not there any more".to_owned());
            };
            let answer = run
                .calls
                .iter()
                .rfind(|call| call.outcome == llm::Code::Accepted.as_str());
            let reply = answer
                .and_then(|call| call.reply.as_deref())
                .map(String::from_utf8_lossy);
            unpack::<llm::inputs::ValidationInputs>(&kept.seen)?
                .replay(&question.data, reply.as_deref())
        }
    }
}

/// Reads a reply again; `None`: there was none.
fn read_again(call: &KeptCall, run: &KeptRun) -> Option<Replayed> {
    let subject = format!("request {}", call.attempt);
    let (status, body, question) = (call.status?, call.reply.as_ref()?, run.question.as_ref()?);
    let Some(mode) = AnswerMode::parse(&question.mode) else {
        return Some(Replayed::broken(
            "reply",
            subject,
            format!("there is no mode '{}'", question.mode),
        ));
    };
    let reply = llm::reply::read(status, body, mode, &question.snap);
    let outcome = llm::reply::otherwise(&call.outcome, &call.detail, &reply, status);
    let outcome = outcome.map_or(ReplayOutcome::Same, ReplayOutcome::Broken);
    Some(Replayed {
        stage: "reply",
        subject,
        other_build: false,
        outcome,
    })
}

fn compared(kept: &str, now: String) -> ReplayOutcome {
    if kept == now {
        return ReplayOutcome::Same;
    }
    let at = kept
        .bytes()
        .zip(now.bytes())
        .position(|(a, b)| a != b)
        .unwrap_or(kept.len().min(now.len()));
    let near = |text: &str| {
        let bytes = text.as_bytes();
        String::from_utf8_lossy(
            &bytes[at.saturating_sub(30).min(bytes.len())..(at + 40).min(bytes.len())],
        )
        .into_owned()
    };
    ReplayOutcome::Different {
        at,
        kept: near(kept),
        now: near(&now),
    }
}

/// Returns the recorded result of a decision.
fn output(kept: &KeptInputs) -> Value {
    serde_json::from_str(&kept.output).unwrap_or_default()
}
