//! Records of the risk gate: restrictions, events, changes of state.

use std::collections::BTreeMap;

use rusqlite::OptionalExtension;

use super::decode::{ReadFail, equity_of, optional, restriction_of, run_of, text, word};
use super::{Reader, Table, rows};
use crate::domain::view::Guard;
use crate::domain::{ContenderId, EquityBook, InstId, Ms, OrderId, Restriction, Side};
use crate::store::{Stamp, StoreError};

/// Since when something of each contender is counted anew, by its id.
pub(super) fn marks(db: &rusqlite::Connection, of: &str) -> Result<BTreeMap<String, Ms>, ReadFail> {
    let statement = format!("SELECT key, value FROM meta WHERE key LIKE '{of}:%'");
    let marks = rows(db, &statement, |row| {
        let (key, at) = (text(row, 0)?, text(row, 1)?);
        Ok((key, Ms(at.parse().map_err(|_| ReadFail::Value(at))?)))
    })?;
    Ok(marks
        .into_iter()
        .filter_map(|(key, at)| Some((key.split_once(':')?.1.to_owned(), at)))
        .collect())
}

/// UTC day of the newest order, and how many orders were let out on it.
pub(super) fn orders_of_day(db: &rusqlite::Connection) -> Result<(i64, u64), ReadFail> {
    let statement = "SELECT COALESCE(MAX(created_ms) / 86400000, 0), COUNT(*) FROM orders
        WHERE created_ms >= (SELECT MAX(created_ms) FROM orders) / 86400000 * 86400000
            AND state NOT IN ('created', 'blocked', 'suppressed') AND purpose NOT IN ('stop', 'liquidation')";
    Ok(db.query_row(statement, [], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
    })?)
}

/// A database of before the gate remembered anything has none of its tables; its writer makes them.
fn remembers(db: &rusqlite::Connection) -> Result<bool, ReadFail> {
    let known = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'restrictions')";
    Ok(db.query_row(known, [], |row| row.get(0))?)
}

/// Size of a stop and whether it stands alone; before there were such, neither.
pub(super) fn stop_columns(db: &rusqlite::Connection) -> Result<&'static str, ReadFail> {
    Ok(if remembers(db)? {
        "COALESCE(a.side, ''), a.qty, a.standalone"
    } else {
        "'', NULL, 0"
    })
}

pub(super) fn restrictions(db: &rusqlite::Connection) -> Result<Vec<Restriction>, ReadFail> {
    if !remembers(db)? {
        return Ok(Vec::new());
    }
    let statement = "SELECT scope, cause, state, why, since_ms, until_ms, flatten FROM restrictions
        ORDER BY since_ms, scope, cause";
    rows(db, statement, restriction_of)
}

/// A sleeve and what guards it.
type NamedGuard = ((ContenderId, InstId), Guard);

/// The newest order that added to each sleeve on each side, oldest first, and where its decision
/// wanted it stopped. Which of the two guards what is held only the fills say: an entry against a
/// position may have filled in part.
pub(super) fn guards(db: &rusqlite::Connection) -> Result<Vec<NamedGuard>, ReadFail> {
    // Of a group the row with the largest of MAX is shown.
    let statement =
        "SELECT contender_id, inst_id, order_id, side, stop_px, run_id, MAX(created_ms) AS newest FROM orders
        WHERE purpose = 'entry' AND CAST(filled AS REAL) > 0 GROUP BY contender_id, inst_id, side ORDER BY newest";
    rows(db, statement, |row| {
        let key = (text(row, 0)?.as_str().into(), text(row, 1)?.as_str().into());
        let entry = OrderId::new(text(row, 2)?);
        let (side, trigger) = (word(row, 3, Side::parse)?, optional(row, 4)?);
        Ok((
            key,
            Guard {
                entry,
                run_id: run_of(&text(row, 5)?)?,
                side,
                trigger,
            },
        ))
    })
}

/// Returns the latest value of a unit of the account; empty if it was never counted.
pub(super) fn book(db: &rusqlite::Connection) -> Result<EquityBook, ReadFail> {
    if !remembers(db)? {
        return Ok(EquityBook::default());
    }
    let statement =
        "SELECT utc_day, open_nav, low_nav, high_nav, nav, peak_nav, units, flows, updated_ms
        FROM equity_days ORDER BY utc_day DESC LIMIT 1";
    Ok(rows(db, statement, equity_of)?.pop().unwrap_or_default())
}

impl Reader {
    /// Returns the restrictions in force, oldest first.
    pub fn restrictions(&self) -> Result<Vec<Restriction>, StoreError> {
        self.with("reading restrictions", restrictions)
    }

    /// Returns the mode and account that the database belongs to.
    pub fn stamp(&self) -> Result<Stamp, StoreError> {
        self.with("reading whose database this is", |db| {
            let meta = |key: &str| {
                db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                    row.get::<_, String>(0)
                })
                .optional()
            };
            Ok(Stamp {
                mode: meta("mode")?.unwrap_or_default(),
                uid: meta("uid")?.unwrap_or_default(),
            })
        })
    }

    /// Returns the risk events, newest first: what was blocked or latched.
    pub fn risk_events(&self, limit: usize) -> Result<Table, StoreError> {
        self.table(
            "SELECT e.at_ms, e.scope, e.code, e.bound AS 'limit', e.value, o.contender_id AS contender, o.side, o.qty,
                e.order_id, e.run_id
             FROM risk_events e LEFT JOIN orders o USING (order_id) ORDER BY e.id DESC LIMIT ?1",
            limit,
        )
    }

    /// Changes of the trading state, newest first.
    pub fn trading_states(&self, limit: usize) -> Result<Table, StoreError> {
        self.table(
            "SELECT at_ms, scope, from_state, to_state, who, why, run_id FROM trading_state_events
             ORDER BY id DESC LIMIT ?1",
            limit,
        )
    }
}
