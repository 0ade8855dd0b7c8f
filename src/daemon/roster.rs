//! Comparison of what the database remembers with the configuration: who is retiring, and what a
//! change leads to.

use std::collections::BTreeSet;
use std::path::Path;

use tracing::{info, warn};

use super::StartError;
use crate::allocation::SleeveSettings;
use crate::config::{Config, ContenderSettings, Plays, Stage};
use crate::decision::{Assignment, Change, Entrant, Held, changes, retiring};
use crate::domain::record::ContenderRow;
use crate::domain::{ContenderId, InstId};
use crate::store::{self, StateDir};
use crate::tracking::Ledger;

/// Contenders and holdings left by the last run.
#[derive(Debug, Default)]
pub struct Remembered {
    contenders: Vec<ContenderRow>,
    held: Held,
}

/// Reads what the database of this directory remembers; nothing if there is none.
///
/// # Errors
/// When there is a database that cannot be read.
pub fn remembered(dir: &Path) -> Result<Remembered, StartError> {
    if !StateDir::trading_db(dir).exists() {
        return Ok(Remembered::default());
    }
    match store::remembered(dir)? {
        Some(opened) => {
            let contenders = opened.contenders.clone();
            Ok(Remembered {
                contenders,
                held: Ledger::held(opened),
            })
        }
        None => Ok(Remembered::default()),
    }
}

impl Remembered {
    /// Instruments that are not configured any more and still hold something or have an order.
    pub fn instruments(&self, config: &Config) -> Vec<InstId> {
        let gone: BTreeSet<&InstId> = self
            .held
            .keys()
            .map(|(_, inst)| inst)
            .filter(|inst| !config.instruments.contains(inst))
            .collect();
        gone.into_iter().cloned().collect()
    }

    /// Returns the changes since the last start, each with its effect.
    pub fn changes(&self, config: &Config) -> Vec<Change> {
        let entrants: Vec<Entrant> = config.contenders.iter().map(entrant).collect();
        let mut out = changes(
            &self.contenders,
            &entrants,
            &self.held,
            config.allocation.retire,
        );
        for inst in self.instruments(config) {
            out.push(Change {
                what: format!("instrument {inst} is gone from the configuration"),
                effect: "still followed, reconciled and protected until nothing of it is held"
                    .into(),
            });
        }
        out
    }

    /// Says so at a start.
    pub(super) fn announce(&self, config: &Config) {
        for change in self.changes(config) {
            info!(
                event = "config_change",
                what = change.what,
                effect = change.effect,
                "the configuration has changed"
            );
        }
        let entrants: Vec<Entrant> = config.contenders.iter().map(entrant).collect();
        for ((contender, inst), qty) in retiring(&entrants, &self.held) {
            warn!(event = "retiring", %contender, %inst, %qty, policy = ?config.allocation.retire,
                "held by one who trades it no more");
        }
    }
}

pub(super) fn entrant(contender: &ContenderSettings) -> Entrant {
    Entrant {
        id: contender.id.clone(),
        live: contender.stage == Stage::Live,
        weight: contender.weight,
        instruments: contender.instruments.clone(),
    }
}

/// A rule's place at the board; a model has none there.
pub(super) fn assignment(contender: &ContenderSettings) -> Option<Assignment> {
    let Plays::Rule { strategy, params } = &contender.plays else {
        return None;
    };
    Some(Assignment {
        contender: contender.id.clone(),
        strategy,
        params: params.clone(),
        instruments: contender.instruments.clone(),
        bar: contender.bar,
    })
}

pub(super) fn sleeve(contender: &ContenderSettings) -> (ContenderId, SleeveSettings) {
    let (instruments, execution) = (contender.instruments.clone(), contender.execution);
    let sleeve = SleeveSettings {
        weight: contender.weight,
        instruments,
        execution,
    };
    (contender.id.clone(), sleeve)
}

pub(super) fn contender_row(contender: &ContenderSettings) -> ContenderRow {
    ContenderRow {
        id: contender.id.clone(),
        kind: contender.kind().into(),
        strategy: contender.played(),
        stage: if contender.stage == Stage::Live {
            "live".into()
        } else {
            "off".into()
        },
        weight: contender.weight,
        params: contender.exact_params(),
    }
}
