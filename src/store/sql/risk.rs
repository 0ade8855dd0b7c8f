//! State that the risk gate remembers: restrictions and the value of a unit.

use rusqlite::{Connection, Result, params};

use super::super::chain::Chains;
use super::{execute, trading_state};
use crate::domain::{EquityBook, Ms, OrderId, OrderIntent, Restriction, RunId, TradingState};

/// Author of the note that what had to be flattened is flat.
const SEEN_FLAT: &str = "seen flat";

pub(super) fn restricted(
    db: &Connection,
    chains: &mut Chains,
    r: &Restriction,
    (from, who): (TradingState, &str),
    run_id: RunId,
    at: Ms,
) -> Result<()> {
    let scope = r.scope.to_string();
    execute(
        db,
        "INSERT OR REPLACE INTO restrictions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            scope,
            r.cause,
            r.state.as_str(),
            r.why,
            r.since.0,
            r.until.map(|at| at.0),
            i64::from(r.flatten) + 2 * i64::from(r.flattened),
            run_id.to_string()
        ],
    )?;
    if who == SEEN_FLAT {
        return Ok(()); // a wish fulfilled is no change of state
    }
    let to = from.max(r.state);
    trading_state(
        db,
        chains,
        [
            &scope,
            from.as_str(),
            to.as_str(),
            who,
            &format!("{}: {}", r.cause, r.why),
        ],
        run_id,
        at,
    )
}

pub(super) fn released(
    db: &Connection,
    chains: &mut Chains,
    r: &Restriction,
    (to, by): (TradingState, &str),
    run_id: RunId,
    at: Ms,
) -> Result<()> {
    let scope = r.scope.to_string();
    execute(
        db,
        "DELETE FROM restrictions WHERE scope = ?1 AND cause = ?2",
        params![scope, r.cause],
    )?;
    let why = format!("{} has ended", r.cause);
    trading_state(
        db,
        chains,
        [&scope, r.state.max(to).as_str(), to.as_str(), by, &why],
        run_id,
        at,
    )
}

pub(super) fn equity(db: &Connection, book: &EquityBook) -> Result<()> {
    let flows = serde_json::to_string(&(&book.flows, &book.prices))
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    execute(
        db,
        "INSERT OR REPLACE INTO equity_days VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            book.day,
            book.open.to_string(),
            book.low.to_string(),
            book.high.to_string(),
            book.nav.to_string(),
            book.peak.to_string(),
            book.units.to_string(),
            flows,
            book.updated.0
        ],
    )
}

/// One more of a refusal that has a row.
pub(super) fn refused_again(
    db: &Connection,
    order: &OrderId,
    intent: &OrderIntent,
    at: Ms,
) -> Result<()> {
    execute(
        db,
        "INSERT INTO refusals VALUES (?1, ?2, ?3, ?4, 1, ?5, ?5, ?6) ON CONFLICT (order_id) DO UPDATE SET
         again = again + 1, last_ms = excluded.last_ms, last_run_id = excluded.last_run_id",
        params![
            order.as_str(),
            intent.contender.as_str(),
            intent.inst.as_str(),
            intent.side.as_str(),
            at.0,
            intent.run_id.to_string()
        ],
    )
}
