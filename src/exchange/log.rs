//! The ledger on disk: one JSON line per batch of changes, synced before any reply that rests on
//! it.
//!
//! A line holds the rows that changed, whole; reading the file from top to bottom and letting later
//! rows replace earlier ones gives the ledger. A torn last line was never answered for and is
//! dropped. At each start the file is rewritten without what was replaced.
//!
//! The embedded exchange keeps its ledger as a log of JSON lines, not in SQLite: SQL stays in
//! `store/`, and a synced line is the simplest thing that is durable before each reply.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::clock::ClockLine;
use super::core::{Algo, BillLine, Changes, CreateSeen, Execution, Pos, VenueLedger, VenueOrder};
use crate::domain::Ms;
use crate::runtime::HeldFile;

/// Identity of the exchange, apart from its ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    pub seed: u64,
    pub uid: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogLine {
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<Identity>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clock: Option<ClockLine>,
    next_id: u64,
    matched_to: i64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    orders: Vec<VenueOrder>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    executions: Vec<Execution>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    algos: Vec<Algo>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bills: Vec<BillLine>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cash: Vec<(String, Decimal)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    positions: Vec<(String, Pos)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    leverage: Vec<(String, Decimal)>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    creates: Vec<CreateSeen>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    shifts: Vec<(i64, String, i64)>,
    /// All timers, whenever one changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    timers: Option<BTreeMap<String, Ms>>,
}

impl LogLine {
    fn of(ledger: &VenueLedger, changes: &Changes) -> Self {
        let new_creates = ledger.creates.len() - changes.creates;
        LogLine {
            next_id: ledger.next_id,
            matched_to: ledger.matched_to,
            orders: changes
                .orders
                .iter()
                .map(|id| ledger.orders[id].clone())
                .collect(),
            executions: changes
                .executions
                .iter()
                .map(|id| ledger.executions[id].clone())
                .collect(),
            algos: changes
                .algos
                .iter()
                .map(|id| ledger.algos[id].clone())
                .collect(),
            bills: changes
                .bills
                .iter()
                .map(|id| ledger.bills[id].clone())
                .collect(),
            cash: changes
                .cash
                .iter()
                .map(|ccy| (ccy.clone(), ledger.cash[ccy]))
                .collect(),
            positions: changes
                .positions
                .iter()
                .map(|i| (i.clone(), ledger.positions[i].clone()))
                .collect(),
            leverage: if changes.leverage {
                ledger.leverage.clone().into_iter().collect()
            } else {
                Vec::new()
            },
            creates: ledger.creates[new_creates..].to_vec(),
            shifts: if changes.shifts {
                ledger.shifts.clone()
            } else {
                Vec::new()
            },
            timers: changes.timers.then(|| ledger.timers.clone()),
            ..Default::default()
        }
    }

    fn all(ledger: &VenueLedger) -> Self {
        Self::of(
            ledger,
            &Changes {
                orders: ledger.orders.keys().copied().collect(),
                executions: ledger.executions.keys().copied().collect(),
                algos: ledger.algos.keys().copied().collect(),
                bills: ledger.bills.keys().copied().collect(),
                cash: ledger.cash.keys().cloned().collect(),
                positions: ledger.positions.keys().cloned().collect(),
                leverage: true,
                creates: ledger.creates.len(),
                shifts: true,
                timers: true,
            },
        )
    }

    fn apply(self, ledger: &mut VenueLedger) {
        ledger.next_id = ledger.next_id.max(self.next_id);
        ledger.matched_to = ledger.matched_to.max(self.matched_to);
        ledger
            .orders
            .extend(self.orders.into_iter().map(|o| (o.id, o)));
        ledger
            .executions
            .extend(self.executions.into_iter().map(|x| (x.id, x)));
        ledger
            .algos
            .extend(self.algos.into_iter().map(|a| (a.id, a)));
        ledger
            .bills
            .extend(self.bills.into_iter().map(|b| (b.id, b)));
        ledger.cash.extend(self.cash);
        ledger.positions.extend(self.positions);
        ledger.leverage.extend(self.leverage);
        ledger.creates.extend(self.creates);
        if !self.shifts.is_empty() {
            ledger.shifts = self.shifts;
        }
        if let Some(timers) = self.timers {
            ledger.timers = timers;
        }
    }
}

/// The open log; without a path nothing is kept (tests, benches).
#[derive(Debug)]
pub struct Log {
    file: Option<File>,
    /// The file that its name must go on leading to.
    held: Option<HeldFile>,
    path: Option<PathBuf>,
    /// Bytes since it was last rewritten.
    grown: u64,
}

/// Contents of a log when it was opened.
#[derive(Debug)]
pub struct Recovered {
    pub identity: Option<Identity>,
    pub clock: Option<ClockLine>,
    pub ledger: VenueLedger,
}

impl Log {
    /// Reads `path` if it exists and opens it for appending, rewritten to its present content.
    pub fn open(path: Option<&Path>) -> io::Result<(Self, Recovered)> {
        let mut recovered = Recovered {
            identity: None,
            clock: None,
            ledger: VenueLedger::default(),
        };
        let Some(path) = path else {
            return Ok((
                Self {
                    file: None,
                    held: None,
                    path: None,
                    grown: 0,
                },
                recovered,
            ));
        };
        if path.exists() {
            let mut reader = BufReader::new(File::open(path)?);
            let (mut text, mut number) = (Vec::new(), 0usize);
            while reader.read_until(b'\n', &mut text)? > 0 {
                number += 1;
                match serde_json::from_slice::<LogLine>(&text) {
                    Ok(line) if text.ends_with(b"\n") => {
                        recovered.identity = line.identity.clone().or(recovered.identity);
                        recovered.clock = line.clock.or(recovered.clock);
                        line.apply(&mut recovered.ledger);
                    }
                    // Torn at the end: it was never acknowledged. Broken though whole: the disk
                    // lied, or it is no ledger.
                    _ if !text.ends_with(b"\n") => break,
                    _ => {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            format!(
                                "{}: line {number} cannot be read; restore the file or remove it",
                                path.display()
                            ),
                        ));
                    }
                }
                text.clear();
            }
        }
        let mut log = Self {
            file: None,
            held: None,
            path: Some(path.to_owned()),
            grown: 0,
        };
        log.rewrite(
            recovered.identity.as_ref(),
            recovered.clock,
            &recovered.ledger,
        )?;
        Ok((log, recovered))
    }

    /// Writes the file anew without what was replaced; durable on return.
    fn rewrite(
        &mut self,
        identity: Option<&Identity>,
        clock: Option<ClockLine>,
        ledger: &VenueLedger,
    ) -> io::Result<()> {
        let Some(path) = self.path.clone() else {
            return Ok(());
        };
        let fresh = path.with_extension("new");
        // What the old name leads to is checked once more: a file that was taken away is not made
        // again.
        self.held.take().map_or(Ok(()), |held| held.check())?;
        self.file = Some(
            OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&fresh)?,
        );
        self.write(&LogLine {
            identity: identity.cloned(),
            clock,
            ..LogLine::all(ledger)
        })?;
        fs::rename(&fresh, &path)?;
        sync_dir(&path)?;
        self.file = Some(OpenOptions::new().append(true).open(&path)?);
        self.held = Some(HeldFile::at(&path)?);
        self.grown = 0;
        Ok(())
    }

    /// Rewrites a file that has grown by so many bytes since it was last rewritten.
    pub fn compact(
        &mut self,
        beyond: u64,
        identity: &Identity,
        clock: ClockLine,
        ledger: &VenueLedger,
    ) -> io::Result<()> {
        if self.grown <= beyond {
            Ok(())
        } else {
            self.rewrite(Some(identity), Some(clock), ledger)
        }
    }

    /// Says who we are and what time it is; durable on return.
    pub fn stamp(&mut self, identity: &Identity, clock: ClockLine) -> io::Result<()> {
        self.write(&LogLine {
            identity: Some(identity.clone()),
            clock: Some(clock),
            ..Default::default()
        })
    }

    /// Writes what changed; durable on return.
    pub fn append(&mut self, ledger: &VenueLedger, changes: &Changes) -> io::Result<()> {
        if changes.is_empty() || self.file.is_none() {
            return Ok(());
        }
        self.write(&LogLine::of(ledger, changes))
    }

    fn write(&mut self, line: &LogLine) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut bytes = serde_json::to_vec(line).map_err(io::Error::other)?;
        bytes.push(b'\n');
        file.write_all(&bytes)?;
        file.sync_data()?;
        self.grown += bytes.len() as u64;
        // What nobody will find was not written.
        self.held.as_ref().map_or(Ok(()), HeldFile::check)
    }
}

fn sync_dir(path: &Path) -> io::Result<()> {
    let dir: PathBuf = path
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    File::open(if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &dir
    })?
    .sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two lines as the first release wrote them: a stop was its trigger alone, and much was not
    /// kept yet.
    const FIRST_RELEASE: &str = concat!(
        r#"{"identity":{"seed":1,"uid":"440000000000000001"},"clock":{"wall_ms":5,"venue_ms":5,"rate":1.0},"next_id":0,"matched_to":0}"#,
        "\n",
        r#"{"next_id":9,"matched_to":1780000000,"orders":[{"id":2000000000000000002,"cl_ord_id":"a1","tag":"t","inst":"BTC-USDT-SWAP","td_mode":"cross","side":"buy","ord_type":"market","all_or_none":false,"size":"3","size_in_quote":false,"price":null,"reduce_only":false,"attached":[{"algo_cl_ord_id":"s1","trigger":"80000.5"}],"status":"filled","filled":"3","value":"270000","fee":"-1","fee_ccy":"USDT","pnl":"0","last_fill":null,"queue_ahead":"0","category":"normal","source":"","cancel_source":"","algo_id":null,"algo_cl_ord_id":"","created":1780000000000,"updated":1780000000000}],"algos":[{"id":2000000000000000005,"cl_ord_id":"s1","inst":"BTC-USDT-SWAP","td_mode":"cross","side":"sell","size":"3","trigger":"80000.5","status":"live","parent":2000000000000000002,"child":null,"created":1780000000000,"updated":1780000000000}]}"#,
        "\n"
    );

    /// It is rewritten on opening and loads again with the same stop, order and identity.
    #[test]
    fn first_release_ledger_still_loads() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("exchange.log");
        fs::write(&path, FIRST_RELEASE).unwrap();
        for _ in 0..2 {
            let (log, recovered) = Log::open(Some(&path)).unwrap();
            drop(log);
            let algo = recovered.ledger.algos.values().next().unwrap();
            let stop = algo.stop.as_ref().unwrap();
            assert_eq!(
                (stop.trigger.to_string().as_str(), stop.price),
                ("80000.5", None)
            );
            assert!(algo.reduce_only && algo.kind == super::super::core::AlgoKind::Conditional);
            let order = recovered.ledger.orders.values().next().unwrap();
            assert_eq!(order.attached[0].stop.as_ref(), Some(stop));
            assert_eq!(recovered.identity.unwrap().seed, 1);
        }
    }
}
