//! Writes of facts about models.

use rusqlite::{Connection, Result, params};
use sha2::{Digest, Sha256};

use super::super::chain::Chains;
use super::execute;
use crate::domain::inputs::RunInputs;
use crate::domain::model::{
    ModelCall, ModelFact, ModelItem, ModelQuestion, ModelSpent, ModelTrade,
};
use crate::store::pack::BodyKind;

/// Compression level of bodies: a prompt shrinks to a tenth in well under a millisecond.
const LEVEL: i32 = 3;

pub(super) fn write(db: &Connection, chains: &mut Chains, fact: &ModelFact) -> Result<()> {
    match fact {
        ModelFact::Question(row) => question(db, chains, row),
        ModelFact::Request(row) => leaving(db, chains, row),
        ModelFact::Call(row) => call(db, chains, row),
        ModelFact::Items(rows) => rows.iter().try_for_each(|row| item(db, chains, row)),
        ModelFact::Spent(row) => spent(db, row),
        ModelFact::Trade(row) => trade(db, row),
    }
}

/// Keeps a body under its hash, told by the one of its kind before it.
pub(super) fn body(
    db: &Connection,
    chains: &mut Chains,
    kind: BodyKind,
    body: &[u8],
) -> Result<[u8; 32]> {
    let hash: [u8; 32] = Sha256::digest(body).into();
    if db
        .prepare_cached("SELECT 1 FROM blobs WHERE hash = ?1")?
        .exists([hash])?
    {
        return Ok(hash);
    }
    let packed = chains.packer.pack(kind, hash, body);
    let packed = packed.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    execute(
        db,
        "INSERT INTO blobs (hash, size, body, base) VALUES (?1, ?2, ?3, ?4)",
        params![
            hash,
            i64::try_from(body.len()).unwrap_or(i64::MAX),
            packed.bytes,
            packed.base
        ],
    )?;
    Ok(hash)
}

/// Keeps a body under its hash.
fn blob(db: &Connection, body: &[u8]) -> Result<[u8; 32]> {
    let hash: [u8; 32] = Sha256::digest(body).into();
    let packed = zstd::bulk::compress(body, LEVEL)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    execute(
        db,
        "INSERT INTO blobs (hash, size, body) VALUES (?1, ?2, ?3) ON CONFLICT (hash) DO NOTHING",
        params![hash, i64::try_from(body.len()).unwrap_or(i64::MAX), packed],
    )?;
    Ok(hash)
}

fn hex(hash: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(hash)
}

fn question(db: &Connection, chains: &mut Chains, row: &ModelQuestion) -> Result<()> {
    let data = blob(db, row.data.as_bytes())?;
    let (id, inst) = (
        row.run_id.to_string(),
        row.inst.as_ref().map(|inst| inst.as_str()),
    );
    let fields = [
        id.as_str(),
        row.contender.as_str(),
        &row.mode,
        inst.unwrap_or(""),
        &row.model,
        &row.template,
        &row.template_hash,
        &row.prompt_hash,
        &row.snap,
        &hex(&data),
        &row.at.0.to_string(),
    ];
    let link = chains.link("llm_questions", &fields);
    execute(
        db,
        "INSERT INTO llm_questions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        params![
            id,
            row.contender.as_str(),
            row.mode,
            inst,
            row.model,
            row.template,
            row.template_hash,
            row.prompt_hash,
            row.snap,
            data,
            row.at.0,
            link.prev,
            link.row
        ],
    )
}

fn leaving(db: &Connection, chains: &mut Chains, row: &ModelCall) -> Result<()> {
    let request = blob(db, row.request.as_bytes())?;
    let (id, attempt, sent) = (
        row.run_id.to_string(),
        row.attempt.to_string(),
        row.sent.0.to_string(),
    );
    let who = row.contender.as_str();
    let fields = [
        &*id,
        &*attempt,
        who,
        &*row.model,
        &*row.format,
        &*hex(&request),
        &*row.price_version,
        &*sent,
    ];
    let link = chains.link("llm_requests", &fields);
    execute(
        db,
        "INSERT INTO llm_requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            id,
            row.attempt,
            who,
            row.model,
            row.format,
            request,
            row.price_version,
            row.sent.0,
            link.prev,
            link.row
        ],
    )
}

fn call(db: &Connection, chains: &mut Chains, row: &ModelCall) -> Result<()> {
    let request = blob(db, row.request.as_bytes())?;
    let reply = row.reply.as_ref().map(|body| blob(db, body)).transpose()?;
    let (id, cost) = (row.run_id.to_string(), row.cost_usd.normalize().to_string());
    let usage = |at: usize| {
        row.usage
            .map(|counts| i64::try_from(counts[at]).unwrap_or(i64::MAX))
    };
    let said = serde_json::json!([
        row.model_returned,
        row.fingerprint,
        row.finish_reason,
        row.usage,
        row.status
    ]);
    let fields = [
        id.as_str(),
        row.contender.as_str(),
        &row.attempt.to_string(),
        &row.model,
        &row.format,
        &hex(&request),
        &reply.as_ref().map(|hash| hex(hash)).unwrap_or_default(),
        &row.outcome,
        &row.detail,
        &said.to_string(),
        &cost,
        &row.price_version,
        &row.sent.0.to_string(),
    ];
    let link = chains.link("llm_calls", &fields);
    execute(
        db,
        "INSERT INTO llm_calls (run_id, contender_id, attempt, model, format, request_hash, reply_hash, status, outcome, detail,
         model_returned, fingerprint, finish_reason, tokens_prompt, tokens_cached, tokens_completion, tokens_reasoning, cost_usd,
         price_version, sent_ms, first_byte_ms, done_ms, prev_hash, row_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24)",
        params![
            id,
            row.contender.as_str(),
            row.attempt,
            row.model,
            row.format,
            request,
            reply,
            row.status,
            row.outcome,
            row.detail,
            row.model_returned,
            row.fingerprint,
            row.finish_reason,
            usage(0),
            usage(1),
            usage(2),
            usage(3),
            cost,
            row.price_version,
            row.sent.0,
            row.first_byte_ms,
            row.done_ms,
            link.prev,
            link.row
        ],
    )
}

fn item(db: &Connection, chains: &mut Chains, row: &ModelItem) -> Result<()> {
    let id = row.run_id.to_string();
    let (ordinal, at) = (row.ordinal.to_string(), row.at.0.to_string());
    let evidence = format!("{}/{}", row.evidence.0, row.evidence.1);
    let fields = [
        id.as_str(),
        &ordinal,
        row.contender.as_str(),
        row.inst.as_str(),
        &row.action,
        &row.code,
        &row.detail,
        &row.said,
        row.plan.as_deref().unwrap_or(""),
        &evidence,
        &at,
    ];
    let link = chains.link("llm_items", &fields);
    execute(
        db,
        "INSERT INTO llm_items (run_id, ordinal, contender_id, inst_id, action, code, detail, said, plan, evidence_true,
         evidence_all, at_ms, prev_hash, row_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            id,
            row.ordinal,
            row.contender.as_str(),
            row.inst.as_str(),
            row.action,
            row.code,
            row.detail,
            row.said,
            row.plan,
            row.evidence.0,
            row.evidence.1,
            row.at.0,
            link.prev,
            link.row
        ],
    )
}

pub(super) fn inputs(db: &Connection, chains: &mut Chains, row: &RunInputs) -> Result<()> {
    let seen = body(db, chains, BodyKind::Seen(row.stage), &row.seen)?;
    let output = body(
        db,
        chains,
        BodyKind::Output(row.stage),
        row.output.as_bytes(),
    )?;
    let (id, build, at) = (
        row.run_id.to_string(),
        env!("ARENA_BUILD"),
        row.at.0.to_string(),
    );
    let fields = [
        id.as_str(),
        row.stage.as_str(),
        &row.subject,
        build,
        &hex(&seen),
        &hex(&output),
        &at,
    ];
    let link = chains.link("run_inputs", &fields);
    execute(
        db,
        "INSERT INTO run_inputs (run_id, stage, subject, build, seen_hash, output_hash, at_ms, prev_hash, row_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![id, row.stage.as_str(), row.subject, build, seen, output, row.at.0, link.prev, link.row],
    )
}

fn spent(db: &Connection, row: &ModelSpent) -> Result<()> {
    execute(
        db,
        "INSERT INTO llm_spent VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (contender_id, utc_day) DO UPDATE SET
         calls = excluded.calls, tokens = excluded.tokens, cost_usd = excluded.cost_usd",
        params![
            row.contender.as_str(),
            row.day,
            row.calls,
            i64::try_from(row.tokens).unwrap_or(i64::MAX),
            row.cost_usd.normalize().to_string()
        ],
    )
}

fn trade(db: &Connection, row: &ModelTrade) -> Result<()> {
    execute(
        db,
        "INSERT INTO llm_trades (run_id, contender_id, inst_id, r_multiple, held_min, reason, at_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            row.run_id.to_string(),
            row.contender.as_str(),
            row.inst.as_str(),
            row.r_multiple.map(|r| r.to_string()),
            row.held_min,
            row.reason,
            row.at.0
        ],
    )
}
