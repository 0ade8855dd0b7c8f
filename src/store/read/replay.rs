//! Records from which runs are replayed.

use std::collections::BTreeMap;

use rusqlite::Connection;
use rust_decimal::Decimal;

use super::bodies::Bodies;
use super::decode::{ReadFail, optional, run_of, text, value};
use super::{Reader, has};
use crate::domain::inputs::InputStage;
use crate::domain::{Ms, RunId};
use crate::store::StoreError;

/// Decisions of the same start that must have been kept after a run before it is believed that
/// nothing of it is still on its way to the database.
const BEHIND: i64 = 100;

/// One decision as it was kept.
#[derive(Clone, Debug)]
pub struct KeptInputs {
    pub stage: InputStage,
    /// When it was decided, venue time.
    pub at: Ms,
    /// For what plans orders: when the gate first judged an order of a run that began later. The
    /// gate takes orders in turn, so by then it had judged all that was planned here. `None`: it
    /// did not in the life of this process.
    pub passed: Option<Ms>,
    pub subject: String,
    pub build: String,
    /// CBOR.
    pub seen: Vec<u8>,
    /// Canonical JSON.
    pub output: String,
}

/// One request to a model.
#[derive(Clone, Debug)]
pub struct KeptCall {
    pub attempt: u32,
    pub status: Option<u16>,
    /// `accepted`, or the code of what is wrong, with its detail.
    pub outcome: String,
    pub detail: String,
    /// The body as it came.
    pub reply: Option<Vec<u8>>,
}

/// Question that a model was asked.
#[derive(Clone, Debug)]
pub struct KeptQuestion {
    pub mode: String,
    pub snap: String,
    /// Canonical JSON of what it was shown.
    pub data: String,
}

/// An order as it is in the database.
#[derive(Clone, Debug)]
pub struct KeptOrder {
    pub contender: String,
    pub inst: String,
    pub side: String,
    pub ord_type: String,
    pub purpose: String,
    pub qty: Decimal,
    pub limit: Option<Decimal>,
    pub stop: Option<Decimal>,
    pub state: String,
    /// True if the order later rested at another price.
    pub moved: bool,
    /// True if the order came from a contender's decision, and so had to pass the gate.
    pub by_decision: bool,
}

/// A refusal that was met again and again.
#[derive(Clone, Debug)]
pub struct KeptRefusal {
    pub contender: String,
    pub inst: String,
    pub side: String,
    /// Of the order that has the row, and of the last that was counted on it; venue time.
    pub first: Ms,
    pub last: Ms,
}

/// All that a run can be made again from, and the rows that came of it.
#[derive(Clone, Debug)]
pub struct KeptRun {
    pub run_id: RunId,
    /// True if everything that is kept now was already kept by then.
    pub kept_since: bool,
    /// True if its process went on long enough for all of the run to be on disk.
    pub went_on: bool,
    /// True for a cycle of contenders. An action of the gate's own is a command, and is not kept
    /// for replay.
    pub is_cycle: bool,
    pub inputs: Vec<KeptInputs>,
    pub question: Option<KeptQuestion>,
    pub calls: Vec<KeptCall>,
    /// By client order id.
    pub orders: BTreeMap<String, KeptOrder>,
    /// Refusals from this run on that were counted on the row of their first, and have none of
    /// their own.
    pub refused_again: Vec<KeptRefusal>,
    /// Decisions, by instrument and contender: the target and the stop.
    pub decisions: BTreeMap<(String, String), (Option<i64>, Option<Decimal>)>,
}

impl Reader {
    /// Runs that decided something since then, oldest first; those from before anything was kept
    /// are left out.
    pub fn replayable(&self, since: Ms) -> Result<Vec<RunId>, StoreError> {
        self.with("looking for runs", |db| {
            let sql = "SELECT run_id FROM runs r WHERE at_ms >= MAX(?1, (SELECT MIN(r.at_ms) FROM run_inputs i JOIN runs r USING (run_id)))
                AND (EXISTS (SELECT 1 FROM run_inputs i WHERE i.run_id = r.run_id)
                    OR kind = 'cycle' AND EXISTS (SELECT 1 FROM decisions d WHERE d.run_id = r.run_id)
                    OR EXISTS (SELECT 1 FROM llm_calls c WHERE c.run_id = r.run_id)) ORDER BY at_ms, run_id";
            let mut query = db.prepare(sql)?;
            let ids = query.query_map([since.0], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
            ids.iter().map(|id| run_of(id)).collect()
        })
    }

    /// When the newest decision was made that can be made again; zero: there is none.
    pub fn newest_inputs(&self) -> Result<Ms, StoreError> {
        self.with("looking for runs", |db| {
            Ok(db
                .query_row(
                    "SELECT COALESCE(MAX(at_ms), 0) FROM run_inputs",
                    [],
                    |row| row.get(0),
                )
                .map(Ms)?)
        })
    }

    /// Passes to `hear` what the rules of a start were seated on and heard in the cycles before
    /// this run, in order: the stage, the subject and what was seen.
    pub fn heard_before(
        &self,
        start: RunId,
        run_id: RunId,
        hear: &mut dyn FnMut(InputStage, &str, &[u8]),
    ) -> Result<(), StoreError> {
        self.with("reading what rules have heard", |db| {
            let mut bodies = Bodies::of(db)?;
            let mut query = db.prepare(
                "SELECT i.stage, i.subject, i.seen_hash FROM run_inputs i
                 WHERE i.id < (SELECT MIN(id) FROM run_inputs WHERE run_id = ?2 AND stage = 'rules') AND (i.run_id = ?1 AND
                 i.stage = 'seating' OR i.stage = 'rules' AND i.run_id IN (SELECT run_id FROM runs WHERE caused_by = ?1))
                 ORDER BY i.id",
            )?;
            let mut cursor = query.query([start.to_string(), run_id.to_string()])?;
            while let Some(row) = cursor.next()? {
                let stage = text(row, 0)?;
                let stage = InputStage::parse(&stage).ok_or(ReadFail::Value(stage))?;
                hear(stage, &text(row, 1)?, &bodies.get(&row.get::<_, Vec<u8>>(2)?)?);
            }
            Ok(())
        })
    }

    /// Reads what a run was made from. Bodies that are missing or do not match their hashes are an
    /// error.
    pub fn kept_run(&self, run_id: RunId) -> Result<KeptRun, StoreError> {
        self.with("reading what a run was made from", |db| kept(db, run_id))
    }
}

fn kept(db: &Connection, run_id: RunId) -> Result<KeptRun, ReadFail> {
    let id = run_id.to_string();
    let (kept_since, went_on, is_cycle) = db.query_row(
        "SELECT at_ms >= COALESCE((SELECT MIN(at_ms) FROM run_inputs WHERE stage = 'rules'), at_ms + 1),
            (SELECT COUNT(*) FROM (SELECT 1 FROM run_inputs i JOIN runs o USING (run_id) WHERE o.caused_by = r.caused_by
                AND i.id > COALESCE((SELECT MAX(id) FROM run_inputs WHERE run_id = r.run_id),
                    (SELECT MAX(id) FROM run_inputs p WHERE p.at_ms <= r.at_ms), 0) LIMIT ?2)) = ?2,
            kind = 'cycle'
         FROM runs r WHERE run_id = ?1",
        rusqlite::params![id, BEHIND],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    let mut bodies = Bodies::of(db)?;
    Ok(KeptRun {
        run_id,
        kept_since,
        went_on,
        is_cycle,
        inputs: inputs(db, &mut bodies, &id)?,
        question: question(db, &mut bodies, &id)?,
        calls: calls(db, &mut bodies, &id)?,
        orders: orders(db, &id)?,
        refused_again: refused_again(db, &id)?,
        decisions: decisions(db, &id)?,
    })
}

fn refused_again(db: &Connection, id: &str) -> Result<Vec<KeptRefusal>, ReadFail> {
    if !has(db, "refusals")? {
        return Ok(Vec::new());
    }
    let mut query = db.prepare(
        "SELECT f.contender_id, f.inst_id, f.side, o.created_ms, f.last_ms FROM refusals f JOIN orders o USING (order_id)
         WHERE f.last_ms >= (SELECT at_ms FROM runs WHERE run_id = ?1)",
    )?;
    let rows = query.query_map([id], |row| {
        Ok(KeptRefusal {
            contender: row.get(0)?,
            inst: row.get(1)?,
            side: row.get(2)?,
            first: Ms(row.get(3)?),
            last: Ms(row.get(4)?),
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn inputs(db: &Connection, bodies: &mut Bodies<'_>, id: &str) -> Result<Vec<KeptInputs>, ReadFail> {
    let mut query = db.prepare(
        "SELECT stage, subject, build, seen_hash, output_hash, at_ms,
            CASE WHEN stage IN ('allocation', 'working') THEN (SELECT g.at_ms FROM run_inputs g JOIN runs o USING (run_id)
                WHERE g.id > i.id AND g.stage = 'gate' AND o.at_ms > i.at_ms
                AND o.caused_by = (SELECT caused_by FROM runs WHERE run_id = ?1) ORDER BY g.id LIMIT 1) END
         FROM run_inputs i WHERE run_id = ?1 ORDER BY id",
    )?;
    let mut cursor = query.query([id])?;
    let mut inputs = Vec::new();
    while let Some(row) = cursor.next()? {
        let stage = text(row, 0)?;
        inputs.push(KeptInputs {
            stage: InputStage::parse(&stage).ok_or(ReadFail::Value(stage))?,
            subject: text(row, 1)?,
            build: text(row, 2)?,
            seen: bodies.get(&row.get::<_, Vec<u8>>(3)?)?,
            output: bodies.text(&row.get::<_, Vec<u8>>(4)?)?,
            at: Ms(row.get(5)?),
            passed: row.get::<_, Option<i64>>(6)?.map(Ms),
        });
    }
    Ok(inputs)
}

fn question(
    db: &Connection,
    bodies: &mut Bodies<'_>,
    id: &str,
) -> Result<Option<KeptQuestion>, ReadFail> {
    let sql = "SELECT mode, snap, data_hash FROM llm_questions WHERE run_id = ?1";
    let mut query = db.prepare(sql)?;
    let mut cursor = query.query([id])?;
    let Some(row) = cursor.next()? else {
        return Ok(None);
    };
    let data = bodies.text(&row.get::<_, Vec<u8>>(2)?)?;
    Ok(Some(KeptQuestion {
        mode: text(row, 0)?,
        snap: text(row, 1)?,
        data,
    }))
}

/// The requests of a run. What was asked is read too: a body that has changed is found here.
fn calls(db: &Connection, bodies: &mut Bodies<'_>, id: &str) -> Result<Vec<KeptCall>, ReadFail> {
    let mut query = db.prepare(
        "SELECT attempt, status, outcome, detail, request_hash, reply_hash FROM llm_calls WHERE run_id = ?1 ORDER BY id",
    )?;
    let mut cursor = query.query([id])?;
    let mut calls = Vec::new();
    while let Some(row) = cursor.next()? {
        bodies.get(&row.get::<_, Vec<u8>>(4)?)?;
        let reply: Option<Vec<u8>> = row.get(5)?;
        calls.push(KeptCall {
            attempt: row.get(0)?,
            status: row.get(1)?,
            outcome: text(row, 2)?,
            detail: text(row, 3)?,
            reply: reply.map(|hash| bodies.get(&hash)).transpose()?,
        });
    }
    Ok(calls)
}

fn orders(db: &Connection, id: &str) -> Result<BTreeMap<String, KeptOrder>, ReadFail> {
    let mut query = db.prepare(
        "SELECT cl_ord_id, contender_id, inst_id, side, ord_type, purpose, qty, limit_px, stop_px, state,
            EXISTS (SELECT 1 FROM order_lifecycle_events e WHERE e.order_id = o.order_id AND e.evidence LIKE 'rests at %'),
            contender_id <> '_system' AND parent_id IS NULL AND purpose IN ('entry', 'exit')
         FROM orders o WHERE run_id = ?1 AND cl_ord_id IS NOT NULL",
    )?;
    let mut cursor = query.query([id])?;
    let mut orders = BTreeMap::new();
    while let Some(row) = cursor.next()? {
        let order = KeptOrder {
            contender: text(row, 1)?,
            inst: text(row, 2)?,
            side: text(row, 3)?,
            ord_type: text(row, 4)?,
            purpose: text(row, 5)?,
            qty: value(row, 6)?,
            limit: optional(row, 7)?,
            stop: optional(row, 8)?,
            state: text(row, 9)?,
            moved: row.get(10)?,
            by_decision: row.get(11)?,
        };
        orders.insert(text(row, 0)?, order);
    }
    Ok(orders)
}

type Decisions = BTreeMap<(String, String), (Option<i64>, Option<Decimal>)>;

fn decisions(db: &Connection, id: &str) -> Result<Decisions, ReadFail> {
    let mut query = db.prepare(
        "SELECT inst_id, contender_id, target_bps, stop_px FROM decisions WHERE run_id = ?1",
    )?;
    let mut cursor = query.query([id])?;
    let mut decisions = BTreeMap::new();
    while let Some(row) = cursor.next()? {
        decisions.insert(
            (text(row, 0)?, text(row, 1)?),
            (row.get(2)?, optional(row, 3)?),
        );
    }
    Ok(decisions)
}
