//! The database against the exchange's ledger, which knows everything: what is different is lost,
//! doubled or imagined.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use rust_decimal::Decimal;
use serde_json::Value;

fn text<'a>(row: &'a Value, name: &str) -> &'a str {
    row[name].as_str().unwrap_or("")
}

fn number(text: &str) -> Decimal {
    text.parse::<Decimal>().unwrap_or_default().normalize()
}

/// Our name of a venue's order or fill.
fn name(row: &Value) -> String {
    match text(row, "clOrdId") {
        "" => format!("v{}", text(row, "ordId")),
        id => id.to_owned(),
    }
}

fn rows(db: &Connection, statement: &str) -> Vec<Vec<String>> {
    let mut query = db.prepare(statement).unwrap();
    let width = query.column_count();
    let cell = |row: &rusqlite::Row<'_>, i| match row.get_ref(i).unwrap() {
        rusqlite::types::ValueRef::Null => String::new(),
        rusqlite::types::ValueRef::Integer(n) => n.to_string(),
        other => other.as_str().unwrap_or("").to_owned(),
    };
    query
        .query_map([], |row| Ok((0..width).map(|i| cell(row, i)).collect()))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Everything that is not the same on both sides. Empty: no order lost, doubled or imagined, no
/// wrong position.
pub fn differences(ledger: &Value, db: &Connection) -> Vec<String> {
    let mut wrong = Vec::new();
    let created: BTreeSet<&str> = ledger["creates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| text(c, "clOrdId"))
        .collect();
    let mut creates: BTreeMap<&str, u64> = BTreeMap::new();
    for create in ledger["creates"].as_array().unwrap() {
        *creates.entry(text(create, "clOrdId")).or_default() += 1;
    }
    let ours: BTreeMap<String, Vec<String>> =
        rows(db, "SELECT order_id, state, filled, cl_ord_id FROM orders")
            .into_iter()
            .map(|row| (row[0].clone(), row))
            .collect();
    for (id, times) in creates {
        if times > 1 {
            wrong.push(format!("doubled: {id} was created {times} times"));
        }
        if !ours.contains_key(id) {
            wrong.push(format!("lost: {id} was created and is not in the database"));
        }
    }
    let theirs: BTreeMap<String, &Value> = ledger["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|order| (name(order), order))
        .collect();
    for id in theirs.keys().filter(|id| !ours.contains_key(*id)) {
        wrong.push(format!("lost: order {id} is not in the database"));
    }
    for (id, row) in &ours {
        let there = theirs
            .get(id)
            .map_or("nowhere", |order| text(order, "state"));
        let fits: &[&str] = match there {
            "nowhere" if created.contains(id.as_str()) => &["rejected", "expired"],
            "nowhere" => &["blocked", "suppressed", "rejected", "expired"],
            "filled" => &["filled"],
            "canceled" => &["canceled"],
            "live" => &["acked", "cancel_requested"],
            _ => &["partially_filled", "cancel_requested"],
        };
        if !fits.contains(&row[1].as_str()) {
            wrong.push(format!(
                "wrong: order {id} is {} here and {there} there",
                row[1]
            ));
        }
        let filled = theirs
            .get(id)
            .map_or(Decimal::ZERO, |order| number(text(order, "accFillSz")));
        if number(&row[2]) != filled {
            wrong.push(format!(
                "wrong: order {id} has filled {} here and {filled} there",
                row[2]
            ));
        }
    }
    let fills = rows(
        db,
        "SELECT inst_id, trade_id, order_id, qty, price, fee FROM fills_now",
    );
    let shown = |inst: &str, trade: &str, order: &str, rest: [&str; 3]| {
        format!(
            "{inst} {trade} {order} {} {} {}",
            number(rest[0]),
            number(rest[1]),
            number(rest[2])
        )
    };
    let here: BTreeSet<String> = fills
        .iter()
        .map(|r| shown(&r[0], &r[1], &r[2], [&r[3], &r[4], &r[5]]))
        .collect();
    let there: BTreeSet<String> = ledger["fills"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| {
            let rest = [text(f, "fillSz"), text(f, "fillPx"), text(f, "fee")];
            shown(text(f, "instId"), text(f, "tradeId"), &name(f), rest)
        })
        .collect();
    if fills.len() != here.len() {
        wrong.push("doubled: a fill is booked twice".to_owned());
    }
    wrong.extend(
        there
            .difference(&here)
            .map(|fill| format!("lost: fill {fill}")),
    );
    wrong.extend(
        here.difference(&there)
            .map(|fill| format!("imagined: fill {fill}")),
    );

    let mut positions: BTreeMap<String, Decimal> = BTreeMap::new();
    for row in rows(
        db,
        "SELECT inst_id, side, qty FROM fills WHERE inst_id LIKE '%-SWAP'",
    ) {
        let signed = if row[1] == "buy" {
            number(&row[2])
        } else {
            -number(&row[2])
        };
        *positions.entry(row[0].clone()).or_default() += signed;
    }
    for position in ledger["positions"].as_array().unwrap() {
        let held = positions
            .remove(text(position, "instId"))
            .unwrap_or_default();
        if held != number(text(position, "pos")) {
            wrong.push(format!(
                "wrong: position {} is {held} here and {} there",
                text(position, "instId"),
                text(position, "pos")
            ));
        }
    }
    wrong.extend(
        positions
            .iter()
            .filter(|(_, q)| !q.is_zero())
            .map(|(inst, q)| format!("imagined: position {inst} {q}")),
    );
    wrong
}

/// Orders that have not ended here, each with how it came there and what the venue has of it.
pub fn unfinished(ledger: &Value, db: &Connection) -> Vec<String> {
    let open = "SELECT order_id, inst_id, contender_id, state, filled, updated_ms FROM orders WHERE state IN
        ('intended', 'sent', 'unknown', 'acked', 'partially_filled', 'cancel_requested')";
    let story = |id: &str| {
        let events = format!(
            "SELECT at_ms, to_state, cause, evidence FROM order_lifecycle_events WHERE order_id = '{id}' ORDER BY seq"
        );
        rows(db, &events)
            .iter()
            .map(|event| event.join(" "))
            .collect::<Vec<_>>()
            .join("; ")
    };
    let there = |id: &str| {
        let rows = ledger["orders"].as_array().into_iter().flatten();
        rows.filter(|order| name(order) == id)
            .map(Value::to_string)
            .collect::<String>()
    };
    rows(db, open)
        .iter()
        .map(|row| {
            format!(
                "unfinished: {}: {}; there: {}",
                row.join(" "),
                story(&row[0]),
                there(&row[0])
            )
        })
        .collect()
}

/// Cases that halted trading or held it back, each with what opened it and what ended it.
pub fn cases(db: &Connection) -> Vec<String> {
    let rows = rows(db, "SELECT * FROM halts");
    rows.iter()
        .map(|row| format!("case: {}", row.join(" ")))
        .collect()
}

/// Lists damage to the database: pages, keys, illegal steps, broken chains of the append-only
/// tables.
pub fn damage(db: &Connection) -> Vec<String> {
    let mut wrong: Vec<String> = rows(
        db,
        "SELECT * FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
    )
    .into_iter()
    .map(|row| format!("integrity: {}", row[0]))
    .collect();
    wrong.extend(
        rows(db, "SELECT \"table\", rowid FROM pragma_foreign_key_check")
            .into_iter()
            .map(|r| format!("foreign key: {r:?}")),
    );
    let illegal = "SELECT order_id, from_state, to_state FROM order_lifecycle_events e WHERE from_state <> to_state
        AND NOT EXISTS (SELECT 1 FROM order_transitions t WHERE t.from_state = e.from_state AND t.to_state = e.to_state)";
    wrong.extend(
        rows(db, illegal)
            .into_iter()
            .map(|row| format!("illegal step: {row:?}")),
    );
    // Where an order is must be where its last event left it.
    let torn =
        "SELECT o.order_id, o.state, (SELECT to_state FROM order_lifecycle_events e WHERE e.order_id = o.order_id
        ORDER BY seq DESC LIMIT 1) AS last FROM orders o WHERE last IS NOT o.state";
    wrong.extend(
        rows(db, torn)
            .into_iter()
            .map(|row| format!("torn: {row:?}")),
    );
    wrong
}
