//! Read-only access to `trading.db`: what a start needs to take up where it was, and what verbs
//! show.

mod bodies;
pub(super) mod decode;
mod model;
mod replay;
mod risk;

pub use self::model::RunStory;
pub use self::replay::{KeptCall, KeptInputs, KeptOrder, KeptQuestion, KeptRefusal, KeptRun};

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{OpenFlags, OptionalExtension, Row, params};
use rust_decimal::Decimal;
use serde_json::Value;

use self::decode::{
    ReadFail, case_of, contender_of, fill_of, instrument_of, json, order_of, run_of, stop_of, text,
    value,
};
use super::StoreError;
use crate::domain::model::ModelMemory;
use crate::domain::order::FillFacts;
use crate::domain::record::{Adjustment, ContenderRow};
use crate::domain::view::Guard;
use crate::domain::{
    Bill, ContenderId, EquityBook, Fill, Incident, InstId, Instrument, Ms, Order, OrderId,
    Restrictions, StopOrder, TradeId,
};

/// The body under this hash as text.
pub(super) fn body_text(db: &rusqlite::Connection, hash: &[u8]) -> Result<String, ReadFail> {
    bodies::Bodies::of(db)?.text(hash)
}

/// A pool of read-only connections.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: Pool<SqliteConnectionManager>,
}

/// State that the database remembers, for a start.
#[derive(Debug, Default)]
pub struct Opened {
    /// Orders that may be alive at the venue, and the last few thousand that have ended: a late
    /// word on one of those is not a stranger's.
    pub orders: Vec<Order>,
    /// All fills, in the order they were booked.
    pub fills: Vec<Fill>,
    /// Moves between sleeves, each with how many fills were booked before it.
    pub adjustments: Vec<(usize, Adjustment)>,
    /// Stops that may be alive, or whose children may still come, by our name of them.
    pub stops: BTreeMap<String, StopOrder>,
    /// Protection of each sleeve, by the newest order that added to it.
    pub guards: Vec<((ContenderId, InstId), Guard)>,
    /// Halts in force.
    pub halts: Vec<Incident>,
    /// Orders that a person has set aside.
    pub set_aside: std::collections::BTreeSet<OrderId>,
    /// Holdings at the venue that are not ours; `None`: never compared.
    pub baselines: Option<BTreeMap<String, Decimal>>,
    /// Sum of the bills that are not trades, by currency; and of the transfers among them.
    pub other_bills: BTreeMap<String, Decimal>,
    pub transfers: BTreeMap<String, Decimal>,
    /// Sum of funding by instrument.
    pub funding: BTreeMap<InstId, Decimal>,
    /// Contenders of the last start.
    pub contenders: Vec<ContenderRow>,
    /// Every instrument ever traded, with the rules it had last.
    pub instruments: Vec<Instrument>,
    pub models: ModelMemory,
    /// Restrictions in force.
    pub restrictions: Restrictions,
    /// Value of a unit of the account; empty before the first read.
    pub book: EquityBook,
    /// Since when each contender's repeats are counted, by its id, where a person has said so.
    pub repeats_after: BTreeMap<String, Ms>,
    /// The same of losses in a row.
    pub streak_after: BTreeMap<String, Ms>,
    /// UTC day of the newest order, and how many orders were let out on it.
    pub orders_of_day: (i64, u64),
    /// Newest bill and newest fill read from the venue's lists.
    pub bills_cursor: Option<String>,
    pub fills_cursor: Option<String>,
    pub install_epoch: String,
}

/// Rows for people and scripts.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Value>>,
}

/// Everything that is known of one order.
#[derive(Clone, Debug)]
pub struct OrderStory {
    /// One row.
    pub order: Table,
    pub events: Table,
    pub fills: Table,
    pub stops: Table,
}

impl Reader {
    /// Opens a pool over `trading.db` in `dir`. The file must exist.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let path = super::StateDir::trading_db(dir);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let manager = SqliteConnectionManager::file(&path)
            .with_flags(flags)
            .with_init(|db| {
                db.execute_batch(
                "PRAGMA query_only = ON; PRAGMA busy_timeout = 5000; PRAGMA trusted_schema = OFF;
                 PRAGMA cache_size = -512;",
            )
            });
        let pool = Pool::builder()
            .max_size(2)
            .min_idle(Some(0))
            .connection_timeout(Duration::from_secs(5))
            .build(manager)
            .map_err(|error| StoreError::Pool(error.to_string()))?;
        Ok(Self { pool })
    }

    fn with<T>(
        &self,
        what: &'static str,
        read: impl FnOnce(&rusqlite::Connection) -> Result<T, ReadFail>,
    ) -> Result<T, StoreError> {
        let db = self
            .pool
            .get()
            .map_err(|error| StoreError::Pool(error.to_string()))?;
        read(&db).map_err(|fail| match fail {
            ReadFail::Sql(source) => StoreError::Sql { what, source },
            ReadFail::Value(text) => StoreError::Value(text),
        })
    }

    /// Everything a start needs, from one read transaction.
    pub fn opened(&self) -> Result<Opened, StoreError> {
        self.with("loading orders and fills", opened)
    }

    /// Bills that are not trades, oldest first.
    pub fn bills(&self) -> Result<Vec<Bill>, StoreError> {
        self.with("reading bills", |db| {
            db.prepare("SELECT bill_id, kind, ccy, change, at_ms FROM bills WHERE kind <> '2' ORDER BY at_ms, bill_id")?
                .query_map([], |row| {
                    Ok((|| {
                        Ok(Bill {
                            bill_id: text(row, 0)?,
                            kind: text(row, 1)?,
                            ccy: text(row, 2)?,
                            change: value(row, 3)?,
                            inst: None,
                            venue_id: None,
                            trade_id: None,
                            at: Ms(row.get(4)?),
                        })
                    })())
                })?
                .map(|row| row?)
                .collect()
        })
    }

    /// One stored value of `meta`.
    pub fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        self.with("reading meta", |db| {
            Ok(db
                .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
                    row.get(0)
                })
                .optional()?)
        })
    }

    /// `PRAGMA quick_check`: "ok", or the first thing wrong.
    pub fn quick_check(&self) -> Result<String, StoreError> {
        self.with("checking the database", |db| {
            Ok(db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?)
        })
    }

    /// Orders, newest first; `open` shows only those that may be alive.
    pub fn orders(&self, open: bool, limit: usize) -> Result<Table, StoreError> {
        let filter = if open {
            "WHERE state IN ('intended', 'sent', 'unknown', 'acked', 'partially_filled', 'cancel_requested')"
        } else {
            ""
        };
        self.table(
            &format!(
                "SELECT created_ms AS at_ms, order_id, contender_id AS contender, inst_id AS inst, side, ord_type AS type,
                    purpose, qty, limit_px AS limit_px, state, filled, average_px, venue_id, run_id
                 FROM orders {filter} ORDER BY created_ms DESC, order_id LIMIT ?1"
            ),
            limit,
        )
    }

    /// Orders that a run made.
    pub fn orders_of_run(&self, run_id: &str) -> Result<Table, StoreError> {
        self.by(
            "SELECT order_id, inst_id AS inst, side, qty, state, filled, average_px FROM orders WHERE run_id = ?1
             ORDER BY inst_id, order_id",
            run_id,
        )
    }

    /// Our names of orders that may be alive.
    pub fn open_order_ids(&self) -> Result<std::collections::BTreeSet<String>, StoreError> {
        let open = self.orders(true, usize::MAX)?;
        let id = open
            .columns
            .iter()
            .position(|name| name == "order_id")
            .unwrap_or(1);
        Ok(open
            .rows
            .into_iter()
            .filter_map(|row| row[id].as_str().map(str::to_owned))
            .collect())
    }

    /// One order, its transitions with times, causes and evidence, its fills, and the stop that
    /// hangs on it with the stop's own. `id` may be ours, the venue's, or the beginning of one.
    pub fn order(&self, id: &str) -> Result<Option<OrderStory>, StoreError> {
        let found = self.by(
            "SELECT order_id, cl_ord_id, venue_id, parent_id, run_id, contender_id AS contender, inst_id AS inst, side,
                ord_type AS type, purpose, qty, limit_px, reference_px, reduce_only, attempt, ttl_ms, stop_px, state, filled,
                average_px, created_ms, expires_ms FROM orders
             WHERE order_id = ?1 OR venue_id = ?1 OR (LENGTH(?1) >= 6 AND SUBSTR(order_id, 1, LENGTH(?1)) = ?1) LIMIT 2",
            id,
        )?;
        let [row] = found.rows.as_slice() else {
            return Ok(None);
        };
        let order_id = row[0].as_str().unwrap_or_default().to_owned();
        let events = "SELECT at_ms, from_state AS 'from', to_state AS 'to', cause, filled, average_px, evidence
            FROM order_lifecycle_events WHERE order_id = ?1 ORDER BY seq";
        let stops = "SELECT e.at_ms, e.algo_id, e.from_state AS 'from', e.to_state AS 'to', e.cause, a.trigger_px, e.child_id,
            e.evidence FROM algo_order_events e JOIN algo_orders a USING (algo_id) WHERE a.parent_id = ?1 ORDER BY e.seq";
        let fills =
            "SELECT at_ms, side, qty, price, fee, fee_ccy, liquidity, trade_id FROM fills_now WHERE order_id = ?1
            ORDER BY seq";
        Ok(Some(OrderStory {
            events: self.by(events, &order_id)?,
            fills: self.by(fills, &order_id)?,
            stops: self.by(stops, &order_id)?,
            order: found,
        }))
    }

    /// Fills, newest first.
    pub fn fills(&self, limit: usize) -> Result<Table, StoreError> {
        let fills = self.with("reading rows", fills_now)?;
        self.table(
            &format!(
                "SELECT at_ms, contender_id AS contender, inst_id AS inst, side, qty, price, fee, fee_ccy, liquidity,
                    trade_id, order_id, run_id FROM {fills} ORDER BY seq DESC LIMIT ?1"
            ),
            limit,
        )
    }

    /// Positions of the newest complete read.
    pub fn positions(&self) -> Result<Table, StoreError> {
        self.table(
            "SELECT inst_id AS inst, qty, average_px, mark_px, unrealised, leverage, liq_px, as_of_ms FROM positions
             ORDER BY inst_id LIMIT ?1",
            1000,
        )
    }

    /// Balances of the newest complete read.
    pub fn balances(&self) -> Result<Table, StoreError> {
        self.table(
            "SELECT ccy, cash, equity, available, frozen, equity_usd, as_of_ms FROM balances ORDER BY ccy LIMIT ?1",
            1000,
        )
    }

    /// Decisions, newest first.
    pub fn decisions(&self, limit: usize) -> Result<Table, StoreError> {
        self.table(
            // An allocation that says the same as the row before it is not written again.
            "SELECT d.at_ms, d.contender_id AS contender, d.inst_id AS inst, d.target_bps, a.current_qty, a.target_qty,
                CASE a.run_id WHEN d.run_id THEN a.cl_ord_id END AS order_id, d.reason, a.reason AS allocation, d.run_id
             FROM decisions d LEFT JOIN allocations a ON a.contender_id = d.contender_id AND a.inst_id = d.inst_id
                AND a.run_id = (SELECT l.run_id FROM allocations l WHERE l.contender_id = d.contender_id
                    AND l.inst_id = d.inst_id AND l.run_id <= d.run_id ORDER BY l.run_id DESC LIMIT 1)
             ORDER BY d.run_id DESC, d.contender_id, d.inst_id LIMIT ?1",
            limit,
        )
    }

    /// Counts and newest times, for `status` and `health`.
    pub fn summary(&self) -> Result<Table, StoreError> {
        let counted = self.with("reading rows", |db| has(db, "refusals"))?;
        let again = if counted {
            "(SELECT COALESCE(SUM(again), 0) FROM refusals)"
        } else {
            "0"
        };
        self.table(
            &format!(
                "SELECT (SELECT COUNT(*) FROM runs WHERE kind = 'cycle') AS cycles,
                (SELECT COUNT(*) FROM decisions) AS decisions,
                (SELECT COUNT(*) FROM orders) AS orders,
                (SELECT COUNT(*) FROM fills) AS fills,
                (SELECT COUNT(*) FROM orders WHERE state = 'unknown') AS unknown_orders,
                (SELECT COUNT(*) FROM orders WHERE state IN
                    ('intended', 'sent', 'unknown', 'acked', 'partially_filled', 'cancel_requested')) AS open_orders,
                (SELECT COUNT(*) FROM orders WHERE state = 'blocked') + {again} AS blocked_orders,
                (SELECT at_ms FROM fills ORDER BY seq DESC LIMIT 1) AS last_fill_ms,
                (SELECT MAX(as_of_ms) FROM equity_snapshots) AS last_sync_ms,
                (SELECT equity FROM equity_snapshots ORDER BY as_of_ms DESC LIMIT 1) AS equity,
                CASE WHEN EXISTS (SELECT 1 FROM halts WHERE scope IS NULL) THEN 'halted' ELSE (SELECT to_state
                    FROM trading_state_events WHERE scope = 'system' ORDER BY id DESC LIMIT 1) END AS trading_state,
                (SELECT why FROM trading_state_events WHERE scope = 'system' ORDER BY id DESC LIMIT 1)
                    AS trading_state_why,
                (SELECT value FROM meta WHERE key = 'mode') AS mode,
                (SELECT value FROM meta WHERE key = 'uid') AS uid,
                (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) AS bytes
             LIMIT ?1"
            ),
            1,
        )
    }

    fn table(&self, statement: &str, limit: usize) -> Result<Table, StoreError> {
        self.by(statement, i64::try_from(limit).unwrap_or(i64::MAX))
    }

    fn by(&self, statement: &str, key: impl rusqlite::ToSql) -> Result<Table, StoreError> {
        self.with("reading rows", |db| table_of(db, statement, params![key]))
    }
}

/// True if the database has a table or view of this name. A read verb may meet a schema that its
/// writer has not brought up to date yet.
pub(super) fn has(db: &rusqlite::Connection, name: &str) -> Result<bool, ReadFail> {
    let known =
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type IN ('table', 'view') AND name = ?1)";
    Ok(db.query_row(known, [name], |row| row.get(0))?)
}

/// Open incidents, oldest first; a schema from before they kept their orders has none.
fn incidents(db: &rusqlite::Connection) -> Result<Vec<Incident>, ReadFail> {
    let known = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('halts') WHERE name = 'orders')";
    let orders = match db.query_row(known, [], |row| row.get(0))? {
        true => "orders",
        false => "'[]'",
    };
    let sql = format!(
        "SELECT kind, subject, scope, why, opened_ms, {orders} FROM halts ORDER BY opened_ms"
    );
    rows(db, &sql, case_of)
}

/// Returns the table or view that holds the fills as they are believed now: a schema from before
/// there were corrections has only the plain table.
pub(super) fn fills_now(db: &rusqlite::Connection) -> Result<&'static str, ReadFail> {
    Ok(if has(db, "fills_now")? {
        "fills_now"
    } else {
        "fills"
    })
}

/// All rows of a statement.
fn table_of(
    db: &rusqlite::Connection,
    statement: &str,
    values: impl rusqlite::Params,
) -> Result<Table, ReadFail> {
    let mut query = db.prepare(statement)?;
    let columns: Vec<String> = query
        .column_names()
        .into_iter()
        .map(str::to_owned)
        .collect();
    let width = columns.len();
    let rows = query
        .query_map(values, |row| {
            (0..width)
                .map(|i| row.get_ref(i).map(json))
                .collect::<Result<Vec<Value>, _>>()
        })?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Table { columns, rows })
}

/// The same over a connection at hand.
#[cfg(feature = "sabotage")]
pub(super) fn read_all(db: &rusqlite::Connection) -> Result<Opened, StoreError> {
    opened(db).map_err(|fail| match fail {
        ReadFail::Sql(source) => StoreError::Sql {
            what: "loading orders and fills",
            source,
        },
        ReadFail::Value(text) => StoreError::Value(text),
    })
}

/// Reads what a database remembers before its writer has opened it; `None` if it has an older
/// schema.
///
/// # Errors
/// When it is damaged or cannot be read.
pub fn remembered(dir: &Path) -> Result<Option<Opened>, StoreError> {
    let path = super::StateDir::trading_db(dir);
    let wrong = |fail: ReadFail| match fail {
        ReadFail::Sql(source) => match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase | rusqlite::ErrorCode::DatabaseCorrupt) => {
                StoreError::Damaged {
                    path: path.display().to_string(),
                    detail: source.to_string(),
                }
            }
            _ => StoreError::Sql {
                what: "reading what is remembered",
                source,
            },
        },
        ReadFail::Value(text) => StoreError::Value(text),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let read = || {
        let db = rusqlite::Connection::open_with_flags(&path, flags)?;
        let current: bool = db.query_row(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'sleeve_adjustments')",
            [],
            |row| row.get(0),
        )?;
        if current {
            opened(&db).map(Some)
        } else {
            Ok(None)
        }
    };
    match read() {
        // A rollback journal waits to be played back: the database died while it was being made,
        // before it had anything to remember. Its writer plays it back.
        Err(ReadFail::Sql(source))
            if source.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) =>
        {
            Ok(None)
        }
        other => other.map_err(wrong),
    }
}

/// Everything a start needs, from one read transaction.
pub(super) fn opened(db: &rusqlite::Connection) -> Result<Opened, ReadFail> {
    let tx = db.unchecked_transaction()?;
    let fills = tx
        .prepare(&format!(
            "SELECT inst_id, trade_id, order_id, venue_id, run_id, contender_id, side, price, qty, fee, fee_ccy,
                liquidity, at_ms FROM {} ORDER BY seq",
            fills_now(&tx)?
        ))?
        .query_map([], |row| Ok(fill_of(row)))?
        .map(|row| row?)
        .collect::<Result<Vec<Fill>, ReadFail>>()?;
    let mut by_order: BTreeMap<&OrderId, Vec<(TradeId, FillFacts)>> = BTreeMap::new();
    for fill in &fills {
        by_order
            .entry(&fill.order_id)
            .or_default()
            .push((fill.trade_id.clone(), FillFacts::of(fill)));
    }
    let mut orders = Vec::new();
    let mut statement = tx.prepare(
        "SELECT order_id, venue_id, run_id, contender_id, inst_id, side, ord_type, purpose, qty, limit_px,
            reference_px, reduce_only, ttl_ms, state, filled, average_px, created_ms, expires_ms, leg, attempt, stop_px
         FROM orders WHERE state NOT IN ('created', 'blocked', 'suppressed') AND (
            state IN ('intended', 'sent', 'unknown', 'acked', 'partially_filled', 'cancel_requested')
            OR order_id IN (SELECT parent_id FROM algo_orders WHERE state IN ('intended', 'live')
                OR (state = 'effective' AND child_id IS NULL))
            OR created_ms >= COALESCE((SELECT created_ms FROM orders ORDER BY created_ms DESC LIMIT 1 OFFSET 3000), 0))
         ORDER BY created_ms, order_id",
    )?;
    let mut cursor = statement.query([])?;
    while let Some(row) = cursor.next()? {
        let order = order_of(row)?;
        let fills = by_order.remove(&order.0.id).unwrap_or_default();
        orders.push(order.0.remembered(order.1, fills));
    }
    drop(cursor);
    let stops = tx
        .prepare(&format!(
            "SELECT a.algo_id, a.parent_id, a.run_id, a.contender_id, a.inst_id, a.trigger_px, a.venue_id, a.state,
                a.child_id, o.side, {}, a.created_ms
            FROM algo_orders a JOIN orders o ON o.order_id = a.parent_id
            WHERE a.state IN ('intended', 'live') OR (a.state = 'effective' AND a.parent_id IN
                (SELECT order_id FROM orders ORDER BY created_ms DESC LIMIT 3000))
                OR (a.state = 'canceled' AND EXISTS (SELECT 1 FROM algo_order_events e WHERE e.algo_id = a.algo_id
                AND e.to_state = 'canceled' AND e.evidence LIKE 'the venue does not know it%'))",
            risk::stop_columns(&tx)?
        ))?
        .query_map([], |row| Ok(stop_of(row)))?
        .map(|row| row?)
        .collect::<Result<BTreeMap<String, StopOrder>, ReadFail>>()?;
    let meta = |key: &str| {
        tx.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| {
            row.get::<_, String>(0)
        })
        .optional()
    };
    Ok(Opened {
        bills_cursor: meta("bills_cursor")?,
        fills_cursor: meta("fills_cursor")?,
        install_epoch: meta("install_epoch")?.unwrap_or_default(),
        adjustments: adjustments(&tx, fills.len())?,
        halts: incidents(&tx)?,
        baselines: baselines(&tx)?,
        other_bills: bills(&tx, "kind <> '2'")?,
        transfers: bills(&tx, "kind = '1'")?,
        funding: funding(&tx)?,
        restrictions: Restrictions(risk::restrictions(&tx)?),
        repeats_after: risk::marks(&tx, "repeats_after")?,
        streak_after: risk::marks(&tx, "streak_after")?,
        orders_of_day: risk::orders_of_day(&tx)?,
        book: risk::book(&tx)?,
        contenders: rows(
            &tx,
            "SELECT contender_id, kind, strategy, stage, weight FROM contenders WHERE updated_ms =
                (SELECT MAX(updated_ms) FROM contenders) ORDER BY contender_id",
            contender_of,
        )?,
        set_aside: rows(
            &tx,
            "SELECT DISTINCT order_id FROM order_lifecycle_events WHERE cause = 'command' AND evidence LIKE 'set aside%'",
            |row| Ok(OrderId::new(text(row, 0)?)),
        )?
        .into_iter()
        .collect(),
        instruments: rows(&tx, "SELECT rules FROM instruments ORDER BY inst_id", instrument_of)?,
        guards: risk::guards(&tx)?,
        models: model::memory(&tx)?,
        orders,
        fills,
        stops,
    })
}

fn rows<T>(
    db: &rusqlite::Connection,
    statement: &str,
    read: impl Fn(&Row<'_>) -> Result<T, ReadFail>,
) -> Result<Vec<T>, ReadFail> {
    db.prepare(statement)?
        .query_map([], |row| Ok(read(row)))?
        .map(|row| row?)
        .collect()
}

/// Moves between sleeves in the order they were booked, each with how many of `fills` came before
/// it.
fn adjustments(
    db: &rusqlite::Connection,
    fills: usize,
) -> Result<Vec<(usize, Adjustment)>, ReadFail> {
    let statement =
        "SELECT after_fill, contender_id, inst_id, qty, price, kind, reference, run_id, at_ms
        FROM sleeve_adjustments ORDER BY id";
    rows(db, statement, |row| {
        let kind = text(row, 5)?;
        let kinds = ["close", "liquidation", "accepted"];
        let after: i64 = row.get(0)?;
        let adjustment = Adjustment {
            contender: text(row, 1)?.as_str().into(),
            inst: text(row, 2)?.as_str().into(),
            qty: value(row, 3)?,
            price: value(row, 4)?,
            kind: kinds
                .into_iter()
                .find(|k| *k == kind)
                .ok_or(ReadFail::Value(kind))?,
            reference: text(row, 6)?,
            run_id: run_of(&text(row, 7)?)?,
            at: Ms(row.get(8)?),
        };
        // Fills are numbered from one without a hole.
        Ok((usize::try_from(after).unwrap_or(0).min(fills), adjustment))
    })
}

fn baselines(db: &rusqlite::Connection) -> Result<Option<BTreeMap<String, Decimal>>, ReadFail> {
    let compared: bool = db.query_row(
        "SELECT EXISTS (SELECT 1 FROM meta WHERE key = 'compared_ms')",
        [],
        |row| row.get(0),
    )?;
    let all = rows(db, "SELECT subject, amount FROM baselines", |row| {
        Ok((text(row, 0)?, value(row, 1)?))
    })?;
    Ok(compared.then(|| all.into_iter().collect()))
}

fn funding(db: &rusqlite::Connection) -> Result<BTreeMap<InstId, Decimal>, ReadFail> {
    let mut sums: BTreeMap<InstId, Decimal> = BTreeMap::new();
    let statement = "SELECT inst_id, change FROM bills WHERE kind = '8' AND inst_id IS NOT NULL";
    for (inst, change) in rows(db, statement, |row| {
        Ok((text(row, 0)?, value::<Decimal>(row, 1)?))
    })? {
        *sums.entry(InstId::new(inst)).or_default() += change;
    }
    Ok(sums)
}

fn bills(db: &rusqlite::Connection, which: &str) -> Result<BTreeMap<String, Decimal>, ReadFail> {
    let mut sums: BTreeMap<String, Decimal> = BTreeMap::new();
    let statement = format!("SELECT ccy, change FROM bills WHERE {which}");
    for (ccy, change) in rows(db, &statement, |row| {
        Ok((text(row, 0)?, value::<Decimal>(row, 1)?))
    })? {
        *sums.entry(ccy).or_default() += change;
    }
    Ok(sums)
}
