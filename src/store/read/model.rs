//! Remembered state of models, and their decisions as shown to people.

use std::cell::RefCell;

use super::bodies::Bodies;
use super::decode::{ReadFail, optional, run_of, text, value};
use super::{Reader, Table, rows, table_of};
use crate::domain::model::{ModelCall, ModelFormat, ModelMemory, ModelSpent, ModelTrade};
use crate::domain::{InstId, Ms, RunId};
use crate::store::StoreError;
use rusqlite::{Connection, OptionalExtension, params};

/// Ideas that are over, of which models are shown the last.
const TRADES: i64 = 10;

/// True if the table exists yet. Remembered state is read before the schema is brought up to date.
fn has_table(db: &Connection, name: &str) -> Result<bool, ReadFail> {
    Ok(db.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?1)",
        [name],
        |row| row.get(0),
    )?)
}

/// Reads the model state that a start needs; empty for a database from before there were models.
pub(super) fn memory(db: &Connection) -> Result<ModelMemory, ReadFail> {
    if !has_table(db, "llm_items")? {
        return Ok(ModelMemory::default());
    }
    let bodies = RefCell::new(Bodies::of(db)?);
    Ok(ModelMemory {
        plans: rows(
            db,
            "SELECT plan FROM llm_items i WHERE plan IS NOT NULL
             AND id = (SELECT MAX(id) FROM llm_items WHERE contender_id = i.contender_id AND inst_id = i.inst_id
                AND plan IS NOT NULL)
             AND NOT EXISTS (SELECT 1 FROM llm_trades t WHERE t.contender_id = i.contender_id AND t.inst_id = i.inst_id
                AND t.at_ms >= i.at_ms)",
            |row| text(row, 0),
        )?,
        spent: rows(
            db,
            "SELECT contender_id, utc_day, calls, tokens, cost_usd FROM llm_spent s WHERE utc_day =
                (SELECT MAX(utc_day) FROM llm_spent WHERE contender_id = s.contender_id)",
            |row| {
                Ok(ModelSpent {
                    contender: text(row, 0)?.as_str().into(),
                    day: row.get(1)?,
                    calls: row.get(2)?,
                    tokens: row.get::<_, i64>(3)?.unsigned_abs(),
                    cost_usd: value(row, 4)?,
                })
            },
        )?,
        trades: rows(
            db,
            &format!(
                "SELECT run_id, contender_id, inst_id, r_multiple, held_min, reason, at_ms FROM (SELECT *, ROW_NUMBER() OVER
                    (PARTITION BY contender_id ORDER BY id DESC) AS n FROM llm_trades) WHERE n <= {TRADES} ORDER BY id"
            ),
            |row| {
                Ok(ModelTrade {
                    run_id: run_of(&text(row, 0)?)?,
                    contender: text(row, 1)?.as_str().into(),
                    inst: InstId::new(text(row, 2)?),
                    r_multiple: optional(row, 3)?,
                    held_min: row.get(4)?,
                    reason: text(row, 5)?,
                    at: Ms(row.get(6)?),
                })
            },
        )?,
        opens: rows(
            db,
            // A plan that names its own run was opened by it; a restated weight keeps the run that
            // did.
            "SELECT DISTINCT contender_id, inst_id, json_extract(plan, '$.opened') FROM llm_items WHERE code = 'accepted' AND plan IS NOT NULL
             AND json_extract(plan, '$.run_id') = run_id
             AND at_ms >= (SELECT COALESCE(MAX(at_ms), 0) FROM llm_items) - 86400000",
            |row| Ok((text(row, 0)?.as_str().into(), InstId::new(text(row, 1)?), Ms(row.get(2)?))),
        )?,
        formats: rows(
            db,
            "SELECT c.model, q.mode, c.run_id, c.format, c.status, c.sent_ms FROM llm_calls c JOIN llm_questions q USING (run_id)
             WHERE c.status IS NOT NULL AND c.id > (SELECT COALESCE(MAX(id), 0) FROM llm_calls) - 20000
             AND c.sent_ms >= (SELECT sent_ms FROM llm_calls ORDER BY id DESC LIMIT 1) - 86400000 ORDER BY c.id",
            |row| {
                Ok(ModelFormat {
                    model: text(row, 0)?,
                    mode: text(row, 1)?,
                    run_id: run_of(&text(row, 2)?)?,
                    format: text(row, 3)?,
                    status: row.get(4)?,
                    at: Ms(row.get(5)?),
                })
            },
        )?,
        under_way: if !has_table(db, "llm_requests")? { Vec::new() } else { rows(
            db,
            "SELECT r.run_id, r.contender_id, r.attempt, r.model, r.format, r.price_version, r.sent_ms, r.request_hash
             FROM llm_requests r
             WHERE NOT EXISTS (SELECT 1 FROM llm_calls c WHERE c.run_id = r.run_id AND c.attempt = r.attempt)
             ORDER BY r.sent_ms, r.run_id, r.attempt",
            |row| {
                let names = (text(row, 3)?, text(row, 4)?, text(row, 5)?);
                let whose = (run_of(&text(row, 0)?)?, text(row, 1)?.as_str().into());
                let request = bodies.borrow_mut().text(&row.get::<_, Vec<u8>>(7)?)?.into();
                Ok(ModelCall::leaving(whose, row.get(2)?, names, request, Ms(row.get(6)?)))
            },
        )? },
        unanswered: rows(
            db,
            "SELECT run_id, contender_id FROM llm_questions q
             WHERE NOT EXISTS (SELECT 1 FROM llm_items i WHERE i.run_id = q.run_id)
             AND NOT EXISTS (SELECT 1 FROM llm_calls c WHERE c.run_id = q.run_id AND c.outcome = 'accepted')
             ORDER BY at_ms, run_id",
            |row| Ok((run_of(&text(row, 0)?)?, text(row, 1)?.as_str().into())),
        )?,
    })
}

/// Everything that is known of one run.
#[derive(Clone, Debug, Default)]
pub struct RunStory {
    /// One row.
    pub run: Table,
    /// Canonical JSON of what the rules were shown.
    pub snapshot: Option<String>,
    /// At most one row.
    pub question: Table,
    /// Canonical JSON of what the model was shown.
    pub data: Option<String>,
    pub calls: Table,
    /// Bodies of each call: the request, and the reply if there was one.
    pub bodies: Vec<(String, Option<String>)>,
    pub items: Table,
    pub decisions: Table,
    pub allocations: Table,
    pub orders: Table,
    pub risk: Table,
    pub fills: Table,
}

impl Reader {
    /// The story of a run; `None`: there is none of this id.
    pub fn run_story(&self, run_id: RunId) -> Result<Option<RunStory>, StoreError> {
        self.with("reading a run", |db| story(db, &run_id.to_string()))
    }
}

impl Reader {
    /// Ideas as they were when they were acted on first, oldest first: the configuration's word for
    /// the model, the contender, and the plan as JSON. One that is restated or left is not another,
    /// and what it says then it says with hindsight.
    pub fn ideas(&self) -> Result<Vec<(String, String, String)>, StoreError> {
        self.with("reading ideas", |db| {
            rows(
                db,
                "SELECT q.model, i.contender_id, i.plan FROM llm_items i JOIN llm_questions q USING (run_id)
                 WHERE i.code = 'accepted' AND i.plan IS NOT NULL AND json_extract(i.plan, '$.run_id') = i.run_id
                 AND i.action IN ('open_long', 'open_short', 'weight')
                 AND q.model NOT LIKE 'rule:%' ORDER BY i.id",
                |row| Ok((text(row, 0)?, text(row, 1)?, text(row, 2)?)),
            )
        })
    }

    /// Returns the reply to a request of this hash, and whether it came too late to be acted on;
    /// `None`: it was never asked, or got no answer.
    pub fn reply_to(&self, request: [u8; 32]) -> Result<Option<(String, bool)>, StoreError> {
        self.with("looking for a reply", |db| {
            let sql = "SELECT c.reply_hash, c.outcome = 'late' FROM llm_calls c WHERE c.reply_hash IS NOT NULL
                AND c.request_hash = ?1 AND c.status = 200 ORDER BY c.outcome = 'late', c.id LIMIT 1";
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let found: Option<(Vec<u8>, bool)> = db.query_row(sql, [&request[..]], read).optional()?;
            found.map(|(reply, late)| Ok((Bodies::of(db)?.text(&reply)?, late))).transpose()
        })
    }

    /// True if there is a run of this id.
    pub fn has_run(&self, run_id: RunId) -> Result<bool, StoreError> {
        self.with("looking for a run", |db| {
            let sql = "SELECT EXISTS (SELECT 1 FROM runs WHERE run_id = ?1)";
            Ok(db.query_row(sql, [run_id.to_string()], |row| row.get(0))?)
        })
    }
}

fn story(db: &Connection, id: &str) -> Result<Option<RunStory>, ReadFail> {
    let of = |sql: &str| table_of(db, sql, params![id]);
    let run = of("SELECT run_id, kind, trigger, caused_by, at_ms FROM runs WHERE run_id = ?1")?;
    if run.rows.is_empty() {
        return Ok(None);
    }
    let mut bodies = Bodies::of(db)?;
    let hash = |sql: &str| {
        db.query_row(sql, [id], |row| row.get::<_, Vec<u8>>(0))
            .optional()
    };
    let snapshot = snapshot(db, &mut bodies, id)?;
    let data = hash("SELECT data_hash FROM llm_questions WHERE run_id = ?1")?;
    let data = data.map(|hash| bodies.text(&hash)).transpose()?;
    let calls = {
        let mut query = db.prepare(
            "SELECT request_hash, reply_hash FROM llm_calls WHERE run_id = ?1 ORDER BY id",
        )?;
        let mut cursor = query.query([id])?;
        let mut calls = Vec::new();
        while let Some(row) = cursor.next()? {
            let reply: Option<Vec<u8>> = row.get(1)?;
            let request = bodies.text(&row.get::<_, Vec<u8>>(0)?)?;
            calls.push((request, reply.map(|hash| bodies.text(&hash)).transpose()?));
        }
        calls
    };
    Ok(Some(RunStory {
        run,
        snapshot,
        data,
        bodies: calls,
        question: of("SELECT contender_id AS contender, mode, inst_id AS inst, model, template, template_hash, prompt_hash, snap
            FROM llm_questions WHERE run_id = ?1")?,
        calls: of("SELECT attempt, format, status, outcome, detail, model_returned, finish_reason, tokens_prompt, tokens_completion,
            cost_usd, sent_ms, first_byte_ms AS \"ms to first byte\", done_ms AS \"ms to last\" FROM llm_calls WHERE run_id = ?1 ORDER BY id")?,
        items: of("SELECT inst_id AS inst, action, code, detail, evidence_true, evidence_all, said FROM llm_items
            WHERE run_id = ?1 ORDER BY ordinal")?,
        decisions: of("SELECT contender_id AS contender, inst_id AS inst, target_bps, stop_px AS stop, reason FROM decisions
            WHERE run_id = ?1 ORDER BY contender_id, inst_id")?,
        // One that says the same as the row before it is not written again.
        allocations: of("SELECT d.contender_id AS contender, d.inst_id AS inst, a.sleeve_usd, a.current_qty AS held,
            a.target_qty AS wanted, a.reason
            FROM decisions d JOIN allocations a ON a.contender_id = d.contender_id AND a.inst_id = d.inst_id AND a.run_id = (
                SELECT l.run_id FROM allocations l WHERE l.contender_id = d.contender_id AND l.inst_id = d.inst_id
                AND l.run_id <= d.run_id ORDER BY l.run_id DESC LIMIT 1)
            WHERE d.run_id = ?1 ORDER BY d.contender_id, d.inst_id")?,
        orders: of("SELECT order_id, contender_id AS contender, inst_id AS inst, side, purpose, qty, limit_px AS 'limit', stop_px AS stop,
            state, filled, average_px AS average FROM orders WHERE run_id = ?1 ORDER BY created_ms, order_id")?,
        risk: of("SELECT scope, code, bound, value FROM risk_events WHERE run_id = ?1 ORDER BY id")?,
        fills: of(&format!(
            "SELECT order_id, inst_id AS inst, side, price, qty, fee, fee_ccy, liquidity, at_ms FROM {}
            WHERE run_id = ?1 ORDER BY seq",
            super::fills_now(db)?
        ))?,
    }))
}

/// The snapshot of a run: kept with the other bodies; before those were told by each other, as
/// text.
fn snapshot(
    db: &Connection,
    bodies: &mut Bodies<'_>,
    id: &str,
) -> Result<Option<String>, ReadFail> {
    let text = "SELECT body FROM snapshot_bodies WHERE run_id = ?1";
    if let Some(text) = db
        .query_row(text, [id], |row| row.get::<_, String>(0))
        .optional()?
    {
        return Ok(Some(text));
    }
    let hash = "SELECT body_hash FROM snapshots WHERE run_id = ?1";
    let hash = db
        .query_row(hash, [id], |row| row.get::<_, Vec<u8>>(0))
        .optional()?;
    hash.map(|hash| bodies.text(&hash)).transpose()
}
