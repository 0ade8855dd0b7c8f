//! Rows that reconciliation writes: stops, halts, baselines, moves between sleeves.
//!
//! A fill that was reported wrongly stays in `fills`; a row in `fill_corrections` stands over it,
//! and the view `fills_now` is what is believed. Holdings, sleeves and counts are folded anew from
//! there, never patched.

use rusqlite::{Connection, OptionalExtension, Result, params};
use rust_decimal::Decimal;

use super::super::chain::Chains;
use super::{event, execute, trading_state};
use crate::domain::record::{Adjustment, AlgoStep, Correction, Transition};
use crate::domain::{
    AlgoState, ContenderId, Incident, Ms, OrderId, OrderIntent, OrderState, Price, Qty, RunId,
    StopOrder, Usd,
};

/// The stop that hangs on an order is written ahead in the same transaction as the order.
pub(super) fn stop_ahead(
    db: &Connection,
    chains: &mut Chains,
    intent: &OrderIntent,
    at: Ms,
) -> Result<()> {
    let Some(stop) = StopOrder::ahead(intent) else {
        return Ok(());
    };
    let evidence = "attached to its order".to_owned();
    algo(
        db,
        chains,
        &AlgoStep {
            stop,
            from: None,
            cause: "gate",
            evidence,
            at,
        },
    )
}

pub(super) fn algo(db: &Connection, chains: &mut Chains, step: &AlgoStep) -> Result<()> {
    let stop = &step.stop;
    let (run, trigger) = (stop.run_id.to_string(), stop.trigger.to_string());
    let (venue, child) = (
        stop.venue_id.as_deref(),
        stop.child.as_ref().map(|id| id.as_str()),
    );
    execute(
        db,
        "INSERT INTO algo_orders (algo_id, venue_id, parent_id, run_id, contender_id, inst_id, trigger_px, state, child_id,
            created_ms, updated_ms, qty, standalone, side)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10, ?11, ?12, ?13)
         ON CONFLICT (algo_id) DO UPDATE SET state = excluded.state, updated_ms = excluded.updated_ms,
            trigger_px = excluded.trigger_px, qty = COALESCE(excluded.qty, qty),
            venue_id = COALESCE(excluded.venue_id, venue_id), child_id = COALESCE(excluded.child_id, child_id)",
        params![stop.id, venue, stop.parent.as_str(), run, stop.contender.as_str(), stop.inst.as_str(), trigger,
            stop.state.as_str(), child, step.at.0, stop.qty.map(|qty| qty.to_string()), stop.standalone, stop.side.as_str()],
    )?;
    let from = step.from.map(AlgoState::as_str);
    let fields = [
        stop.id.as_str(),
        &run,
        from.unwrap_or(""),
        stop.state.as_str(),
        step.cause,
        &step.evidence,
        venue.unwrap_or(""),
        child.unwrap_or(""),
        &step.at.0.to_string(),
    ];
    let link = chains.link("algo_order_events", &fields);
    execute(
        db,
        "INSERT INTO algo_order_events (algo_id, run_id, from_state, to_state, cause, evidence, venue_id, child_id, at_ms,
            prev_hash, row_hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![stop.id, run, from, stop.state.as_str(), step.cause, step.evidence, venue, child, step.at.0, link.prev,
            link.row],
    )
}

pub(super) fn adjusted(db: &Connection, chains: &mut Chains, row: &Adjustment) -> Result<()> {
    let (run, qty, price) = (
        row.run_id.to_string(),
        row.qty.to_string(),
        row.price.to_string(),
    );
    let fields = [
        row.contender.as_str(),
        row.inst.as_str(),
        &qty,
        &price,
        row.kind,
        &row.reference,
        &run,
        &row.at.0.to_string(),
    ];
    let link = chains.link("sleeve_adjustments", &fields);
    execute(
        db,
        "INSERT INTO sleeve_adjustments (after_fill, contender_id, inst_id, qty, price, kind, reference, run_id, at_ms,
            prev_hash, row_hash)
         VALUES ((SELECT COALESCE(MAX(seq), 0) FROM fills), ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            row.contender.as_str(),
            row.inst.as_str(),
            qty,
            price,
            row.kind,
            row.reference,
            run,
            row.at.0,
            link.prev,
            link.row
        ],
    )?;
    execute(
        db,
        "INSERT INTO sleeve_ledger (contender_id, inst_id, kind, ref, ccy, change, qty_change, at_ms)
         VALUES (?1, ?2, ?3, ?4, '', '0', ?5, ?6)",
        params![row.contender.as_str(), row.inst.as_str(), row.kind, row.reference, qty, row.at.0],
    )
}

pub(super) fn transfer(
    db: &Connection,
    contender: &ContenderId,
    amount: Usd,
    why: &str,
    at: Ms,
) -> Result<()> {
    execute(
        db,
        "INSERT INTO sleeve_ledger (contender_id, inst_id, kind, ref, ccy, change, qty_change, at_ms)
         VALUES (?1, '', 'transfer', ?2, 'USD', ?3, '0', ?4)",
        params![contender.as_str(), why, amount.to_string(), at.0],
    )
}

pub(super) fn baseline(db: &Connection, subject: &str, amount: Decimal, at: Ms) -> Result<()> {
    execute(
        db,
        "INSERT INTO baselines VALUES (?1, ?2, ?3)
         ON CONFLICT (subject) DO UPDATE SET amount = excluded.amount, at_ms = excluded.at_ms",
        params![subject, amount.normalize().to_string(), at.0],
    )
}

pub(super) fn halted(
    db: &Connection,
    chains: &mut Chains,
    case: &Incident,
    run_id: RunId,
) -> Result<()> {
    let scope = case.scope.as_ref().map(|inst| inst.as_str());
    execute(
        db,
        "INSERT OR REPLACE INTO halts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            case.kind.as_str(),
            case.subject,
            scope,
            case.why,
            run_id.to_string(),
            case.opened.0,
            serde_json::to_string(&case.orders).expect("ids are text")
        ],
    )?;
    let why = format!("{}: {}", case.id(), case.why);
    trading_state(
        db,
        chains,
        [
            scope.unwrap_or("system"),
            "active",
            "halted",
            "tracker",
            &why,
        ],
        run_id,
        case.opened,
    )
}

pub(super) fn halt_ended(
    db: &Connection,
    chains: &mut Chains,
    case: &Incident,
    by: &str,
    run_id: RunId,
    at: Ms,
) -> Result<()> {
    execute(
        db,
        "DELETE FROM halts WHERE kind = ?1 AND subject = ?2",
        params![case.kind.as_str(), case.subject],
    )?;
    let scope = case.scope.as_ref().map_or("system", |inst| inst.as_str());
    trading_state(
        db,
        chains,
        [
            scope,
            "halted",
            "active",
            by,
            &format!("{} has ended", case.id()),
        ],
        run_id,
        at,
    )
}

/// A row about an order that changes nothing of its state.
pub(super) fn note_within(
    db: &Connection,
    chains: &mut Chains,
    (order_id, run_id): (&OrderId, RunId),
    cause: &'static str,
    evidence: &str,
    at: Ms,
) -> Result<()> {
    let row = db
        .prepare_cached("SELECT state, filled FROM orders WHERE order_id = ?1")?
        .query_row([order_id.as_str()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    let Some((state, filled)) = row else {
        return Ok(());
    };
    let Some(state) = OrderState::parse(&state) else {
        return Ok(());
    };
    let step = Transition {
        order_id: order_id.clone(),
        run_id,
        from: Some(state),
        to: state,
        cause,
        evidence: evidence.to_owned(),
        venue_id: None,
        filled: Qty(filled.parse().unwrap_or_default()),
        average: None,
        at,
    };
    event(db, chains, &step)
}

pub(super) fn moved(
    db: &Connection,
    chains: &mut Chains,
    order: (&OrderId, RunId),
    limit: Price,
    at: Ms,
) -> Result<()> {
    note_within(db, chains, order, "venue", &format!("rests at {limit}"), at)?;
    execute(
        db,
        "UPDATE orders SET limit_px = ?2, updated_ms = ?3 WHERE order_id = ?1",
        params![order.0.as_str(), limit.to_string(), at.0],
    )
}

/// The venue shows an order larger than we made it.
pub(super) fn resized(
    db: &Connection,
    chains: &mut Chains,
    order: (&OrderId, RunId),
    qty: Qty,
    at: Ms,
) -> Result<()> {
    note_within(
        db,
        chains,
        order,
        "venue",
        &format!("its size is {qty} there"),
        at,
    )?;
    execute(
        db,
        "UPDATE orders SET qty = ?2, updated_ms = ?3 WHERE order_id = ?1",
        params![order.0.as_str(), qty.to_string(), at.0],
    )
}

/// The fill stays as it was written; this row stands over it from now on.
pub(super) fn corrected(db: &Connection, chains: &mut Chains, row: &Correction) -> Result<()> {
    let (f, was) = (&row.fill, &row.was);
    let (run, price, qty, fee) = (
        f.run_id.to_string(),
        f.price.to_string(),
        f.qty.to_string(),
        f.fee.normalize().to_string(),
    );
    let (price_was, qty_was, fee_was) = (
        was.price.to_string(),
        was.qty.to_string(),
        was.fee.normalize().to_string(),
    );
    let (fill_at, at) = (f.at.0.to_string(), row.at.0.to_string());
    let fields = [
        f.inst.as_str(),
        f.trade_id.as_str(),
        f.order_id.as_str(),
        &run,
        &price,
        &qty,
        &fee,
        &f.fee_ccy,
        &fill_at,
        &price_was,
        &qty_was,
        &fee_was,
        &at,
    ];
    let link = chains.link("fill_corrections", &fields);
    execute(
        db,
        "INSERT INTO fill_corrections (inst_id, trade_id, order_id, run_id, price, qty, fee, fee_ccy, fill_ms, price_was,
            qty_was, fee_was, at_ms, prev_hash, row_hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        params![f.inst.as_str(), f.trade_id.as_str(), f.order_id.as_str(), run, price, qty, fee, f.fee_ccy, f.at.0,
            price_was, qty_was, fee_was, row.at.0, link.prev, link.row],
    )?;
    // The sleeve's ledger shows what the correction changes, and sums up to what is held.
    let change = f.fee - was.fee;
    let moved = f.side.signed(Qty(f.qty.0 - was.qty.0));
    execute(
        db,
        "INSERT INTO sleeve_ledger (contender_id, inst_id, kind, ref, ccy, change, qty_change, at_ms)
         VALUES (?1, ?2, 'correction', ?3, ?4, ?5, ?6, ?7)",
        params![
            f.contender.as_str(),
            f.inst.as_str(),
            f.trade_id.as_str(),
            f.fee_ccy,
            change.to_string(),
            moved.to_string(),
            row.at.0
        ],
    )
}
