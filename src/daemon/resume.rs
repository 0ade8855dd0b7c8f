//! The way back from a restriction: a person names it while no daemon runs.

use std::path::Path;

use super::StartError;
use crate::domain::record::{Record, RunKind};
use crate::domain::{ContenderId, Ms, Restriction, Rule, Scope};
use crate::ops::killfile;
use crate::runtime::{Pulse, RunIds, StageError, wall_ms};
use crate::store::{Manifest, Reader, StateDir, Writer};

/// Restrictions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Named(String),
    All,
    /// Only tell what is restricted.
    Nothing,
}

/// Restrictions that have ended and those that have not.
#[derive(Debug, Default)]
pub struct Resumed {
    pub ended: Vec<Restriction>,
    pub left: Vec<Restriction>,
    pub file_removed: bool,
}

/// The note from when on something of a contender is counted anew.
fn anew(what: &str, contender: &ContenderId, after: Option<Ms>) -> Record {
    Record::Note {
        key: format!("{what}_after:{contender}"),
        value: after.unwrap_or_default().0.to_string(),
    }
}

/// True if a halt waits for the next start, by file, by signal or in the manifest.
pub fn waits(dir: &Path) -> bool {
    killfile::asked(dir).is_some() || Manifest::peek(dir).is_some_and(|sheet| sheet.halt.is_some())
}

/// Takes away what would halt the next start.
fn clear(dir: &Path) -> Result<bool, StartError> {
    let waited = waits(dir);
    killfile::remove(dir).map_err(|source| StartError::Io {
        what: "taking away HALT from the state directory (remove it by hand, or the next start is halted again)",
        source,
    })?;
    if let Some(manifest) = Manifest::open(dir)?
        && manifest.sheet().halt.is_some()
    {
        let io = |source| StartError::Io {
            what: "writing the manifest",
            source,
        };
        manifest.change(|sheet| sheet.halt = None).map_err(io)?;
    }
    Ok(waited)
}

/// Ends restrictions in the database of a directory that no daemon holds.
///
/// # Errors
/// When a daemon holds it, the restriction does not exist, or the database cannot be written.
pub async fn resume(dir: &Path, wanted: &Wanted, why: &str) -> Result<Resumed, StartError> {
    if *wanted == Wanted::Nothing {
        let left = if StateDir::trading_db(dir).exists() {
            Reader::open(dir)?.restrictions()?
        } else {
            Vec::new()
        };
        return Ok(Resumed {
            left,
            ..Resumed::default()
        });
    }
    let _held = StateDir::hold(dir)?;
    if !StateDir::trading_db(dir).exists() {
        return Ok(Resumed {
            file_removed: clear(dir)?,
            ..Resumed::default()
        });
    }
    let reader = Reader::open(dir)?;
    let opened = reader.opened()?;
    let (ended, left): (Vec<Restriction>, Vec<Restriction>) = opened
        .restrictions
        .0
        .iter()
        .cloned()
        .partition(|r| match wanted {
            Wanted::Named(id) => r.id() == *id,
            Wanted::All => true,
            Wanted::Nothing => false,
        });
    let kill_file = waits(dir);
    if let Wanted::Named(id) = wanted
        && ended.is_empty()
        && !(kill_file && id == "system/kill")
    {
        let there: Vec<String> = left.iter().map(Restriction::id).collect();
        let there = if there.is_empty() {
            "none".to_owned()
        } else {
            there.join(", ")
        };
        return Err(StartError::Unnamed(format!(
            "nothing named {id} is restricted; in force: {there}"
        )));
    }
    // The venue's clock is not known here; nothing that is recorded may be younger than what it
    // follows.
    let known = ended
        .iter()
        .map(|r| r.since)
        .chain(opened.orders.iter().map(|o| o.created_at))
        .max();
    let now = Ms(wall_ms()).max(known.unwrap_or_default());
    let (writer, journal) = Writer::open(dir, &reader.stamp()?, &opened.install_epoch, now.0)?;
    let mut guard = writer.start(Pulse::default().beat("writer", true));
    let run_id = RunIds::random().next(now);
    let trigger = format!("resume: {why}");
    let mut rows = vec![Record::Run {
        run_id,
        kind: RunKind::Command,
        trigger,
        at: now,
        caused_by: None,
    }];
    let mut restrictions = opened.restrictions.clone();
    let mut book = opened.book.clone();
    for restriction in &ended {
        restrictions.0.retain(|r| r.id() != restriction.id());
        match (restriction.cause.parse::<Rule>(), &restriction.scope) {
            (Ok(Rule::Drawdown), _) => book.forget_peak(),
            (Ok(Rule::DailyLoss), _) => book.forget_day(),
            (Ok(Rule::Repeats), Scope::Contender(contender)) => {
                rows.push(anew(
                    "repeats",
                    contender,
                    opened.orders.iter().map(|o| o.created_at).max(),
                ));
            }
            (Ok(Rule::LossStreak), Scope::Contender(contender)) => {
                rows.push(anew(
                    "streak",
                    contender,
                    opened.fills.iter().map(|fill| fill.at).max(),
                ));
            }
            _ => {}
        }
        let (to, by) = (restrictions.state(&restriction.scope), "resume".to_owned());
        rows.push(Record::Released {
            restriction: restriction.clone(),
            to,
            by,
            run_id,
            at: now,
        });
    }
    if book != opened.book {
        rows.push(Record::Equity(Box::new(book)));
    }
    journal.append(Record::Together(rows)).await?;
    drop(journal);
    guard.ended().await.map_err(StageError::Store)?;
    let kills = ended
        .iter()
        .any(|r| r.cause == crate::domain::trading::KILL);
    let named = *wanted == Wanted::All || *wanted == Wanted::Named("system/kill".into());
    let file_removed = (kills || named) && clear(dir)?;
    Ok(Resumed {
        ended,
        left,
        file_removed,
    })
}
