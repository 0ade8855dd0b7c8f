//! `replay`: decisions made again from what was kept of them.

use std::io::IsTerminal;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::list::reader;
use super::{Failure, Global, output};
use crate::domain::{Ms, RunId};
use crate::exit::Exit;
use crate::replay::{Replay, ReplayOutcome, Replayed};
use crate::runtime::wall_ms;
use crate::store::{Reader, StoreError};

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena replay 0190…              one run\n  alpha-arena replay --all --since 24h   every run of the last day\n\nEverything but the model itself is made again from what was kept when it was decided: what each rule wanted, warmed up and fed the\nbars it had heard; what of an answer is acted on, from the reply as it came; the allocation; each verdict of the gate. Exit code 0: all of it comes out the same to the byte; 65: something does not."
)]
pub(super) struct ReplayArgs {
    /// The run.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    run_id: Option<String>,
    /// Every run.
    #[arg(long)]
    all: bool,
    /// Of the last so long, by the venue's time of the newest run; all there is otherwise.
    #[arg(long, value_name = "SPAN", value_parser = super::duration, requires = "all")]
    since: Option<std::time::Duration>,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

/// Result of replaying one run.
struct ReplayedRun {
    id: RunId,
    decisions: Vec<Replayed>,
    /// Reason why the record cannot be read.
    unreadable: Option<String>,
}

impl ReplayedRun {
    fn of(reader: &Reader, replay: &mut Replay, id: RunId) -> Result<Self, Failure> {
        let made = reader.kept_run(id).and_then(|kept| {
            if let Some(start) = replay.lacks(&kept) {
                reader.heard_before(start, id, &mut |stage, subject, seen| {
                    replay.hear(start, stage, subject, seen)
                })?;
            }
            Ok(replay.replay(&kept))
        });
        match made {
            Ok(decisions) => Ok(Self {
                id,
                decisions,
                unreadable: None,
            }),
            // Bytes that are not what they were: that is what this is for.
            Err(StoreError::Value(why)) => Ok(Self {
                id,
                decisions: Vec::new(),
                unreadable: Some(why),
            }),
            Err(error) => Err(error.into()),
        }
    }
    fn is_same(&self) -> bool {
        self.unreadable.is_none()
            && !self.is_bare()
            && self
                .decisions
                .iter()
                .all(|decision| decision.outcome == ReplayOutcome::Same)
    }
    /// True if nothing of the run was kept: its process ended first.
    fn is_bare(&self) -> bool {
        self.unreadable.is_none() && self.decisions.is_empty()
    }
}

pub(super) fn run(global: &Global, args: &ReplayArgs) -> Result<Exit, Failure> {
    let reader = reader(global)?;
    let ids = match &args.run_id {
        Some(text) => {
            let id = uuid::Uuid::parse_str(text).map(RunId).ok();
            match id {
                Some(id) if reader.has_run(id)? => vec![id],
                _ => {
                    let why = format!(
                        "there is no run '{text}'; see the last column of `alpha-arena decisions`"
                    );
                    return Err(Failure::new(Exit::Usage, why));
                }
            }
        }
        None => {
            let since =
                match args.since {
                    None => Ms::ZERO,
                    Some(span) => Ms(reader.newest_inputs()?.0
                        - i64::try_from(span.as_millis()).unwrap_or(i64::MAX)),
                };
            reader.replayable(since)?
        }
    };
    let bar = if ids.len() > 200 && std::io::stderr().is_terminal() {
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} runs, {eta} left")
            .expect("a fixed template");
        ProgressBar::new(ids.len() as u64).with_style(style)
    } else {
        ProgressBar::hidden()
    };
    let mut runs = Vec::with_capacity(ids.len());
    let mut replay = Replay::default();
    for id in ids {
        runs.push(ReplayedRun::of(&reader, &mut replay, id)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let same = runs.iter().filter(|run| run.is_same()).count();
    let bare = runs.iter().filter(|run| run.is_bare()).count();
    if let ([run], Some(_)) = (&runs[..], &args.run_id)
        && run.is_bare()
    {
        let why = format!(
            "nothing was decided in the run {}, or its process ended before it was kept",
            run.id
        );
        return Err(Failure::new(Exit::Usage, why));
    }
    let exit = if same + bare == runs.len() {
        Exit::Ok
    } else {
        Exit::Data
    };
    if args.json {
        output::say(as_json(&runs, same, bare));
    } else {
        page(&runs, same, bare, args.run_id.is_some());
    }
    Ok(exit)
}

fn told(outcome: &ReplayOutcome) -> (&'static str, String) {
    match outcome {
        ReplayOutcome::Same => ("same", String::new()),
        ReplayOutcome::Different { at, kept, now } => (
            "different",
            format!("from byte {at} on: kept …{kept}…, now …{now}…"),
        ),
        ReplayOutcome::Broken(why) => ("broken", why.clone()),
    }
}

fn as_json(runs: &[ReplayedRun], same: usize, bare: usize) -> serde_json::Value {
    let each: Vec<_> = runs
        .iter()
        .map(|run| {
            let decisions: Vec<_> = run
                .decisions
                .iter()
                .map(|d| {
                    let (outcome, detail) = told(&d.outcome);
                    json!({"stage": d.stage, "subject": d.subject, "outcome": outcome, "detail": detail,
                        "other_build": d.other_build})
                })
                .collect();
            json!({"run_id": run.id, "same": run.is_same(), "unreadable": run.unreadable, "decisions": decisions})
        })
        .collect();
    json!({"schema": "replay/1", "as_of_ms": wall_ms(), "runs": runs.len(), "same": same, "bare": bare, "details": each})
}

fn page(runs: &[ReplayedRun], same: usize, bare: usize, one: bool) {
    let mut table = output::sheet(&["run", "stage", "about", "", "detail"]);
    let mut rows = 0;
    for run in runs {
        if let Some(why) = &run.unreadable {
            table.add_row([
                run.id.to_string(),
                String::new(),
                String::new(),
                "unreadable".to_owned(),
                why.clone(),
            ]);
            rows += 1;
        }
        for decision in run
            .decisions
            .iter()
            .filter(|d| one || d.outcome != ReplayOutcome::Same)
        {
            let (word, mut detail) = told(&decision.outcome);
            if decision.other_build && decision.outcome != ReplayOutcome::Same {
                detail = format!("made by another build; {detail}");
            }
            let about = decision.subject.clone();
            table.add_row([
                run.id.to_string(),
                decision.stage.to_owned(),
                about,
                word.to_owned(),
                detail,
            ]);
            rows += 1;
        }
    }
    if rows > 0 {
        output::say(table);
    }
    let decisions: usize = runs.iter().map(|run| run.decisions.len()).sum();
    output::say(format_args!(
        "{} runs with {decisions} decisions made again: {same} the same to the byte",
        runs.len()
    ));
    if bare > 0 {
        output::say(format_args!(
            "{bare} decided something that was not kept: their process ended first"
        ));
    }
}
