//! Hash chains of the append-only tables: each row's hash covers the row and the hash before it, so
//! an edited, removed or inserted row is found by walking the table.

use std::collections::{BTreeSet, HashMap};

use rusqlite::Connection;
use sha2::{Digest, Sha256};

use super::StoreError;
use super::pack::Packer;
use super::repeats::Allocated;

/// A row's place in its chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub prev: [u8; 32],
    pub row: [u8; 32],
}

/// The newest hash of each chain, and which have moved since they were last kept.
#[derive(Debug, Default)]
pub(super) struct Chains {
    heads: HashMap<&'static str, [u8; 32]>,
    moved: BTreeSet<&'static str>,
    /// Transactions committed so far, the one under way included.
    commits: u64,
    /// The newest run.
    run: Option<String>,
    /// Bodies as they follow each other.
    pub(super) packer: Packer,
    /// Allocations as they follow each other.
    pub(super) allocated: Allocated,
}

/// The chained tables.
pub(super) const CHAINED: [&str; 16] = [
    "runs",
    "snapshots",
    "decisions",
    "llm_questions",
    "llm_requests",
    "llm_calls",
    "llm_items",
    "run_inputs",
    "allocations",
    "order_lifecycle_events",
    "fills",
    "risk_events",
    "trading_state_events",
    "algo_order_events",
    "sleeve_adjustments",
    "fill_corrections",
];

impl Chains {
    /// Reads the head of each chain.
    pub(super) fn load(db: &Connection) -> Result<Self, StoreError> {
        let mut heads = HashMap::new();
        for table in CHAINED {
            let head: Option<Vec<u8>> = db
                .prepare(&format!(
                    "SELECT value FROM meta WHERE key = 'head:{table}'"
                ))
                .and_then(|mut q| q.query_row([], |row| row.get::<_, String>(0)))
                .map(|hex| data_encoding::HEXLOWER.decode(hex.as_bytes()).ok())
                .or_else(|error| {
                    if error == rusqlite::Error::QueryReturnedNoRows {
                        Ok(None)
                    } else {
                        Err(error)
                    }
                })
                .map_err(StoreError::sql("reading the head of a hash chain"))?;
            if let Some(Ok(head)) = head.map(<[u8; 32]>::try_from) {
                heads.insert(table, head);
            }
        }
        let commits = db
            .query_row("SELECT value FROM meta WHERE key = 'commits'", [], |row| {
                row.get::<_, String>(0)
            })
            .map(|text| text.parse().unwrap_or(0))
            .or_else(|error| {
                if error == rusqlite::Error::QueryReturnedNoRows {
                    Ok(0)
                } else {
                    Err(error)
                }
            })
            .map_err(StoreError::sql("reading how many transactions there were"))?;
        Ok(Self {
            heads,
            commits,
            ..Self::default()
        })
    }

    /// One more transaction: its number.
    pub(super) fn next_commit(&mut self) -> u64 {
        self.commits += 1;
        self.commits
    }

    /// Transactions committed so far.
    pub(super) fn commits(&self) -> u64 {
        self.commits
    }

    /// Notes the newest run.
    pub(super) fn note_run(&mut self, run: &str) {
        self.run = Some(run.to_owned());
    }

    /// The newest run since this was last asked.
    pub(super) fn take_run(&mut self) -> Option<String> {
        self.run.take()
    }

    /// Every head there is, as (table, hex).
    pub(super) fn heads(&self) -> Vec<(&'static str, String)> {
        self.heads
            .iter()
            .map(|(table, head)| (*table, data_encoding::HEXLOWER.encode(head)))
            .collect()
    }

    /// Appends a row of these fields to the table's chain.
    pub(super) fn link(&mut self, table: &'static str, fields: &[&str]) -> Link {
        let prev = self.heads.get(table).copied().unwrap_or_default();
        let mut hash = Sha256::new();
        hash.update(prev);
        for field in fields {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field.as_bytes());
        }
        let row: [u8; 32] = hash.finalize().into();
        self.heads.insert(table, row);
        self.moved.insert(table);
        Link { prev, row }
    }

    /// Heads that moved, as (table, hex), to be kept with the batch that moved them.
    pub(super) fn take_moved(&mut self) -> Vec<(&'static str, String)> {
        let moved = std::mem::take(&mut self.moved);
        moved
            .into_iter()
            .map(|table| (table, data_encoding::HEXLOWER.encode(&self.heads[table])))
            .collect()
    }
}
