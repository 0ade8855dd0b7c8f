//! Every statement that writes `trading.db`: one function per kind of fact; those of reconciliation
//! in `truth`.

mod account;
mod model;
mod risk;
mod truth;

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Result, params};
use tracing::warn;

use self::account::{account, bill, contender, instrument};
use super::chain::{Chains, Link};
use super::pack::BodyKind;
use crate::domain::record::{
    AdoptedOrder, Allocation, Breach, ContenderRow, Proposal, Record, Transition,
};
use crate::domain::{AccountView, Bill, Fill, Instrument, Ms, OrderIntent, OrderState, RunId};

/// Writes one fact inside the caller's transaction.
pub(super) fn write(db: &Connection, chains: &mut Chains, record: &Record) -> Result<()> {
    match record {
        Record::Run { run_id, kind, trigger, at, caused_by } => {
            let (id, cause) = (run_id.to_string(), caused_by.map(|id| id.to_string()));
            chains.note_run(&id);
            let link =
                chains.link("runs", &[&id, kind.as_str(), trigger, cause.as_deref().unwrap_or(""), &at.0.to_string()]);
            execute(
                db,
                "INSERT INTO runs VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![id, kind.as_str(), trigger, cause, at.0, link.prev, link.row],
            )
        }
        Record::Snapshot { run_id, as_of, body } => snapshot(db, chains, *run_id, *as_of, body),
        Record::Decisions { run_id, at, proposals } => {
            proposals.iter().try_for_each(|p| decision(db, chains, *run_id, *at, p))
        }
        Record::Allocations { run_id, at, rows } => {
            rows.iter().try_for_each(|row| allocation(db, chains, *run_id, *at, row))
        }
        Record::Intent { intent, expires_at, at } => {
            spell_allocation_out(db, chains, intent)?;
            order(db, intent, OrderState::Intended, Some(*expires_at), *at)?;
            event(db, chains, &first(intent, OrderState::Intended, "gate", "approved", *at))?;
            spell_out(db, chains, intent.run_id)?;
            truth::stop_ahead(db, chains, intent, *at)
        }
        Record::MoveAhead { order_id, run_id, limit, at } => {
            truth::note_within(db, chains, (order_id, *run_id), "gate", &format!("to be moved to {limit}"), *at)
        }
        Record::Moved { order_id, run_id, limit, at } => truth::moved(db, chains, (order_id, *run_id), *limit, *at),
        Record::Stopped { intent, state, breaches, at } => {
            spell_allocation_out(db, chains, intent)?;
            order(db, intent, *state, None, *at)?;
            let why: Vec<&str> = breaches.iter().map(|b| b.code.as_str()).collect();
            event(db, chains, &first(intent, *state, "gate", &why.join(" "), *at))?;
            breaches.iter().try_for_each(|b| {
                risk_event(db, chains, intent.run_id, Some(intent.cl_ord_id.as_str()), intent.inst.as_str(), b, *at)
            })
        }
        Record::RefusedAgain { order, intent, at } => risk::refused_again(db, order, intent, *at),
        Record::Together(rows) => rows.iter().try_for_each(|row| write(db, chains, row)),
        Record::Adopted { order, at } => adopted(db, chains, order, *at),
        Record::Transition(step) => transition(db, chains, step),
        Record::Fill(row) => fill(db, chains, row),
        Record::Corrected(row) => truth::corrected(db, chains, row),
        Record::Resized { order_id, run_id, qty, at } => truth::resized(db, chains, (order_id, *run_id), *qty, *at),
        Record::Algo(step) => truth::algo(db, chains, step),
        Record::Adjusted(row) => truth::adjusted(db, chains, row),
        Record::Transfer { contender, amount, reason, at } => truth::transfer(db, contender, *amount, reason, *at),
        Record::Baseline { subject, amount, at } => truth::baseline(db, subject, *amount, *at),
        Record::Halted { case, run_id } => truth::halted(db, chains, case, *run_id),
        Record::HaltEnded { case, by, run_id, at } => truth::halt_ended(db, chains, case, by, *run_id, *at),
        Record::Account { run_id, view } => account(db, *run_id, view),
        Record::Bills(rows) => rows.iter().try_for_each(|row| bill(db, row)),
        Record::Instruments { rows, at } => rows.iter().try_for_each(|row| instrument(db, row, *at)),
        Record::Contenders { rows, at } => rows.iter().try_for_each(|row| contender(db, row, *at)),
        Record::Config { hash, body, at } => execute(
            db,
            "INSERT INTO config_versions (hash, body, at_ms) SELECT ?1, ?2, ?3 WHERE NOT EXISTS
             (SELECT 1 FROM config_versions WHERE id = (SELECT MAX(id) FROM config_versions) AND hash = ?1)",
            params![hash, body, at.0],
        ),
        Record::TradingState { scope, from, to, who, why, run_id, at } => {
            trading_state(db, chains, [scope, from, to, who, why], *run_id, *at)
        }
        Record::Restricted { restriction, from, who, run_id, at } => {
            risk::restricted(db, chains, restriction, (*from, who), *run_id, *at)
        }
        Record::Released { restriction, to, by, run_id, at } => {
            risk::released(db, chains, restriction, (*to, by), *run_id, *at)
        }
        Record::Equity(book) => risk::equity(db, book),
        Record::RiskEvent { run_id, order_id, scope, breach, at } => {
            risk_event(db, chains, *run_id, order_id.as_ref().map(|id| id.as_str()), scope, breach, *at)
        }
        Record::Model(fact) => model::write(db, chains, fact),
        Record::Inputs(row) => model::inputs(db, chains, row),
        Record::Note { key, value } => note(db, key, value),
        Record::Probe { at } => note(db, "probe_ms", &at.0.to_string()),
    }
}

fn trading_state(
    db: &Connection,
    chains: &mut Chains,
    [scope, from, to, who, why]: [&str; 5],
    run_id: RunId,
    at: Ms,
) -> Result<()> {
    let id = run_id.to_string();
    let link = chains.link(
        "trading_state_events",
        &[&id, scope, from, to, who, why, &at.0.to_string()],
    );
    execute(
        db,
        "INSERT INTO trading_state_events
         (run_id, scope, from_state, to_state, who, why, at_ms, prev_hash, row_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![id, scope, from, to, who, why, at.0, link.prev, link.row],
    )
}

/// Keeps the heads of the chains next to the rows that moved them, and counts the transaction.
/// Returns what moved.
pub(super) fn keep_heads(
    db: &Connection,
    chains: &mut Chains,
) -> Result<Vec<(&'static str, String)>> {
    let moved = chains.take_moved();
    moved
        .iter()
        .try_for_each(|(table, head)| note(db, &format!("head:{table}"), head))?;
    note(db, "commits", &chains.next_commit().to_string())?;
    Ok(moved)
}

/// Notes that the database has a manifest beside it.
pub(super) fn note_manifest(db: &Connection) -> Result<()> {
    note(db, "manifest", "made")
}

fn execute(db: &Connection, statement: &str, values: impl rusqlite::Params) -> Result<()> {
    db.prepare_cached(statement)?.execute(values).map(drop)
}

fn note(db: &Connection, key: &str, value: &str) -> Result<()> {
    execute(
        db,
        "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value
         WHERE value <> excluded.value",
        params![key, value],
    )
}

fn snapshot(
    db: &Connection,
    chains: &mut Chains,
    run_id: RunId,
    as_of: Ms,
    body: &Arc<str>,
) -> Result<()> {
    let id = run_id.to_string();
    let body_hash = model::body(db, chains, BodyKind::Snapshot, body.as_bytes())?;
    let link = chains.link(
        "snapshots",
        &[
            &id,
            &as_of.0.to_string(),
            &data_encoding::HEXLOWER.encode(&body_hash),
        ],
    );
    execute(
        db,
        "INSERT INTO snapshots VALUES (?1, ?2, ?3, ?4, ?5)",
        params![id, as_of.0, body_hash, link.prev, link.row],
    )
}

/// The snapshot that an order was decided on is kept as text too, for whoever reads with SQL alone.
fn spell_out(db: &Connection, chains: &Chains, run_id: RunId) -> Result<()> {
    let id = run_id.to_string();
    let sql = "SELECT body_hash FROM snapshots WHERE run_id = ?1
        AND NOT EXISTS (SELECT 1 FROM snapshot_bodies WHERE run_id = ?1)";
    let hash = db
        .prepare_cached(sql)?
        .query_row([&id], |row| row.get::<_, [u8; 32]>(0))
        .optional()?;
    let Some(hash) = hash else { return Ok(()) };
    let text = match chains.packer.newest(BodyKind::Snapshot, hash) {
        Some(body) => String::from_utf8_lossy(body).into_owned(),
        // A model has thought for a while.
        None => match super::read::body_text(db, &hash) {
            Ok(text) => text,
            Err(error) => {
                warn!(event = "snapshot_unreadable", run_id = %run_id, ?error, "the snapshot of a decision cannot be read back");
                return Ok(());
            }
        },
    };
    execute(
        db,
        "INSERT INTO snapshot_bodies (run_id, body) VALUES (?1, ?2)",
        params![id, text],
    )
}

fn decision(
    db: &Connection,
    chains: &mut Chains,
    run_id: RunId,
    at: Ms,
    p: &Proposal,
) -> Result<()> {
    let (id, target, stop) = (
        run_id.to_string(),
        p.target.map(|t| t.0),
        p.stop.map(|s| s.to_string()),
    );
    let fields = [
        id.as_str(),
        p.contender.as_str(),
        p.inst.as_str(),
        &target.map(|t| t.to_string()).unwrap_or_default(),
        stop.as_deref().unwrap_or(""),
        &p.reason,
        &at.0.to_string(),
    ];
    let link = chains.link("decisions", &fields);
    execute(
        db,
        "INSERT INTO decisions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            id,
            p.contender.as_str(),
            p.inst.as_str(),
            target,
            stop,
            p.reason,
            at.0,
            link.prev,
            link.row
        ],
    )
}

/// Writes an allocation, unless it says the same as the row before it and asks for no order.
fn allocation(
    db: &Connection,
    chains: &mut Chains,
    run_id: RunId,
    at: Ms,
    row: &Allocation,
) -> Result<()> {
    if row.cl_ord_id.is_none() && chains.allocated.is_told(run_id, at, row) {
        return Ok(());
    }
    insert_allocation(db, chains, run_id, at, row)
}

/// An order stands on the allocation of its run, whatever that says.
fn spell_allocation_out(db: &Connection, chains: &mut Chains, intent: &OrderIntent) -> Result<()> {
    match chains
        .allocated
        .untold(intent.run_id, &intent.contender, &intent.inst)
    {
        Some((at, row)) => insert_allocation(db, chains, intent.run_id, at, &row),
        None => Ok(()),
    }
}

fn insert_allocation(
    db: &Connection,
    chains: &mut Chains,
    run_id: RunId,
    at: Ms,
    row: &Allocation,
) -> Result<()> {
    chains.allocated.tell(row);
    let id = run_id.to_string();
    let (sleeve, weight) = (row.sleeve.to_string(), row.weight.to_string());
    let (current, target) = (row.current.to_string(), row.target.to_string());
    let order = row.cl_ord_id.as_ref().map(|o| o.as_str());
    let fields = [
        id.as_str(),
        row.contender.as_str(),
        row.inst.as_str(),
        &sleeve,
        &weight,
        &current,
        &target,
        order.unwrap_or(""),
        &row.reason,
        &at.0.to_string(),
    ];
    let link = chains.link("allocations", &fields);
    execute(
        db,
        "INSERT INTO allocations VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            id,
            row.contender.as_str(),
            row.inst.as_str(),
            sleeve,
            weight,
            current,
            target,
            order,
            row.reason,
            at.0,
            link.prev,
            link.row
        ],
    )
}

fn order(
    db: &Connection,
    intent: &OrderIntent,
    state: OrderState,
    expires: Option<Ms>,
    at: Ms,
) -> Result<()> {
    insert_order(
        db,
        intent,
        intent.cl_ord_id.as_str(),
        Some(intent.cl_ord_id.as_str()),
        None,
        None,
        state,
        expires,
        at,
    )
}

#[allow(clippy::too_many_arguments)]
fn insert_order(
    db: &Connection,
    intent: &OrderIntent,
    order_id: &str,
    cl_ord_id: Option<&str>,
    venue_id: Option<&str>,
    parent: Option<&str>,
    state: OrderState,
    expires: Option<Ms>,
    at: Ms,
) -> Result<()> {
    execute(
        db,
        "INSERT INTO orders (order_id, cl_ord_id, venue_id, parent_id, run_id, contender_id, inst_id, side, ord_type,
            purpose, qty, limit_px, reference_px, reduce_only, sleeve_usd, weight, leg, attempt, ttl_ms, stop_px,
            state, filled, average_px, created_ms, expires_ms, updated_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, '0',
            NULL, ?22, ?23, ?22)",
        params![
            order_id,
            cl_ord_id,
            venue_id,
            parent,
            intent.run_id.to_string(),
            intent.contender.as_str(),
            intent.inst.as_str(),
            intent.side.as_str(),
            intent.ord_type.okx(),
            intent.purpose.as_str(),
            intent.qty.to_string(),
            intent.limit.map(|p| p.to_string()),
            intent.reference.to_string(),
            intent.reduce_only,
            intent.sleeve.to_string(),
            intent.weight.to_string(),
            intent.leg,
            intent.attempt,
            intent.ttl.map(|t| t.0),
            intent.stop.as_ref().map(|s| s.trigger.to_string()),
            state.as_str(),
            at.0,
            expires.map(|t| t.0),
        ],
    )
}

fn first(
    intent: &OrderIntent,
    to: OrderState,
    cause: &'static str,
    evidence: &str,
    at: Ms,
) -> Transition {
    Transition {
        order_id: (&intent.cl_ord_id).into(),
        run_id: intent.run_id,
        from: None,
        to,
        cause,
        evidence: evidence.to_owned(),
        venue_id: None,
        filled: Default::default(),
        average: None,
        at,
    }
}

fn adopted(db: &Connection, chains: &mut Chains, order: &AdoptedOrder, at: Ms) -> Result<()> {
    let id = order.order_id.as_str();
    spell_allocation_out(db, chains, &order.intent)?;
    insert_order(
        db,
        &order.intent,
        id,
        None,
        Some(order.venue_id.as_str()),
        Some(order.parent.as_str()),
        OrderState::Acked,
        None,
        at,
    )?;
    let evidence = format!("child of the stop of {}", order.parent);
    let step = Transition {
        order_id: order.order_id.clone(),
        venue_id: Some(order.venue_id.clone()),
        ..first(&order.intent, OrderState::Acked, "descent", &evidence, at)
    };
    event(db, chains, &step)
}

fn transition(db: &Connection, chains: &mut Chains, step: &Transition) -> Result<()> {
    event(db, chains, step)?;
    execute(
        db,
        "UPDATE orders SET state = ?2, venue_id = COALESCE(?3, venue_id), filled = ?4,
            average_px = COALESCE(?5, average_px), updated_ms = ?6 WHERE order_id = ?1",
        params![
            step.order_id.as_str(),
            step.to.as_str(),
            step.venue_id.as_ref().map(|id| id.as_str()),
            step.filled.to_string(),
            step.average.map(|p| p.to_string()),
            step.at.0
        ],
    )
}

fn event(db: &Connection, chains: &mut Chains, step: &Transition) -> Result<()> {
    let (run, from) = (step.run_id.to_string(), step.from.map(OrderState::as_str));
    let (filled, average) = (step.filled.to_string(), step.average.map(|p| p.to_string()));
    let venue = step.venue_id.as_ref().map(|id| id.as_str());
    let fields = [
        step.order_id.as_str(),
        &run,
        from.unwrap_or(""),
        step.to.as_str(),
        step.cause,
        &step.evidence,
        venue.unwrap_or(""),
        &filled,
        average.as_deref().unwrap_or(""),
        &step.at.0.to_string(),
    ];
    let Link { prev, row } = chains.link("order_lifecycle_events", &fields);
    execute(
        db,
        "INSERT INTO order_lifecycle_events (order_id, run_id, from_state, to_state, cause, evidence, venue_id, filled,
            average_px, at_ms, prev_hash, row_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        params![
            step.order_id.as_str(),
            run,
            from,
            step.to.as_str(),
            step.cause,
            step.evidence,
            venue,
            filled,
            average,
            step.at.0,
            prev,
            row
        ],
    )
}

fn fill(db: &Connection, chains: &mut Chains, f: &Fill) -> Result<()> {
    let (run, price, qty, fee) = (
        f.run_id.to_string(),
        f.price.to_string(),
        f.qty.to_string(),
        f.fee.normalize().to_string(),
    );
    let fields = [
        f.inst.as_str(),
        f.trade_id.as_str(),
        f.order_id.as_str(),
        f.venue_id.as_str(),
        &run,
        f.contender.as_str(),
        f.side.as_str(),
        &price,
        &qty,
        &fee,
        &f.fee_ccy,
        f.liquidity.okx(),
        &f.at.0.to_string(),
    ];
    let link = chains.link("fills", &fields);
    execute(
        db,
        "INSERT INTO fills VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
            (SELECT COALESCE(MAX(seq), 0) + 1 FROM fills), ?14, ?15)",
        params![
            f.inst.as_str(),
            f.trade_id.as_str(),
            f.order_id.as_str(),
            f.venue_id.as_str(),
            run,
            f.contender.as_str(),
            f.side.as_str(),
            price,
            qty,
            fee,
            f.fee_ccy,
            f.liquidity.okx(),
            f.at.0,
            link.prev,
            link.row
        ],
    )?;
    let signed = f.side.signed(f.qty);
    execute(
        db,
        "INSERT INTO sleeve_ledger (contender_id, inst_id, kind, ref, ccy, change, qty_change, at_ms)
         VALUES (?1, ?2, 'fill', ?3, ?4, ?5, ?6, ?7)",
        params![f.contender.as_str(), f.inst.as_str(), f.trade_id.as_str(), f.fee_ccy, fee, signed.to_string(), f.at.0],
    )
}

#[allow(clippy::too_many_arguments)]
fn risk_event(
    db: &Connection,
    chains: &mut Chains,
    run_id: RunId,
    order: Option<&str>,
    scope: &str,
    b: &Breach,
    at: Ms,
) -> Result<()> {
    let id = run_id.to_string();
    let fields = [
        id.as_str(),
        order.unwrap_or(""),
        scope,
        &b.code,
        &b.limit,
        &b.value,
        &at.0.to_string(),
    ];
    let link = chains.link("risk_events", &fields);
    execute(
        db,
        "INSERT INTO risk_events (run_id, order_id, scope, code, bound, value, at_ms, prev_hash, row_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![id, order, scope, b.code, b.limit, b.value, at.0, link.prev, link.row],
    )
}
