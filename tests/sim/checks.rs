//! The reckoning: the database against the exchange's own ledger, which knows everything.

use std::collections::{BTreeMap, BTreeSet};

use alpha_arena::domain::{OrdersView, Restrictions, Side};
use alpha_arena::exchange::core::{AlgoStatus, Status};
use alpha_arena::exchange::render;
use alpha_arena::store::MemoryStore;
use rust_decimal::Decimal;

use crate::oracle::{Facts, judge};
use crate::world::Venue;

type Rows = Vec<Vec<String>>;

fn rows(store: &MemoryStore, statement: &str) -> Rows {
    let db = store.db();
    let mut query = db.prepare(statement).unwrap();
    let width = query.column_count();
    let text = |row: &rusqlite::Row<'_>, i| match row.get_ref(i).unwrap() {
        rusqlite::types::ValueRef::Null => String::new(),
        rusqlite::types::ValueRef::Integer(n) => n.to_string(),
        other => other.as_str().unwrap().to_owned(),
    };
    query
        .query_map([], |row| Ok((0..width).map(|i| text(row, i)).collect()))
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// Compares everything; differences are violations.
pub fn reckon(venue: &Venue, store: &MemoryStore, view: &OrdersView) {
    let mut wrong = Vec::new();
    let ours = rows(
        store,
        "SELECT order_id, state, filled, venue_id, qty FROM orders",
    );
    let fills = rows(
        store,
        "SELECT inst_id, trade_id, order_id, qty, price, fee FROM fills_now",
    );
    let stops = rows(
        store,
        "SELECT algo_id, a.state, o.state FROM algo_orders a JOIN orders o ON o.order_id = a.parent_id",
    );
    let lost = rows(
        store,
        "SELECT order_id FROM order_lifecycle_events WHERE evidence LIKE 'the venue does not know it%'",
    );
    let poor = rows(
        store,
        "SELECT run_id FROM equity_snapshots WHERE equity = '0'",
    );
    let waits = rows(
        store,
        "SELECT (SELECT MIN(n.at_ms) FROM order_lifecycle_events n WHERE n.order_id = e.order_id AND n.seq > e.seq) - e.at_ms
         FROM order_lifecycle_events e WHERE e.to_state = 'unknown' AND e.from_state <> 'unknown'",
    );
    let integrity = rows(store, "PRAGMA integrity_check");
    let mut world = venue.lock();
    let ledger = &world.exchange.ledger;
    if integrity != [["ok"]] {
        wrong.push(format!("integrity: {integrity:?}"));
    }

    // A read that failed is no answer: neither "not there" nor "nothing left".
    let imagined = lost.iter().filter(|row| !world.denied.contains(&row[0]));
    wrong.extend(imagined.map(|row| {
        format!(
            "P4: {} was given up though the venue never denied it",
            row[0]
        )
    }));
    wrong.extend(
        poor.iter()
            .map(|row| format!("P4: run {} believed that the account is empty", row[0])),
    );

    // Orders: each one's end is the venue's; what the venue never had is said never to have been.
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    let by_id: BTreeMap<String, &alpha_arena::exchange::core::VenueOrder> = ledger
        .orders
        .values()
        .map(|o| {
            (
                if o.cl_ord_id.is_empty() {
                    format!("v{}", o.id)
                } else {
                    o.cl_ord_id.clone()
                },
                o,
            )
        })
        .collect();
    for row in &ours {
        *states.entry(row[1].clone()).or_default() += 1;
        let theirs = by_id.get(&row[0]);
        let expected = match theirs.map(|o| o.status) {
            None => vec!["blocked", "suppressed", "rejected", "expired"],
            Some(Status::Filled) => vec!["filled"],
            Some(Status::Canceled) => vec!["canceled"],
            Some(Status::Live) => vec!["acked", "cancel_requested"],
            Some(Status::PartiallyFilled) => vec!["partially_filled", "cancel_requested"],
        };
        if !expected.contains(&row[1].as_str()) {
            wrong.push(format!(
                "order {} is {} here, {:?} there",
                row[0],
                row[1],
                theirs.map(|o| o.status)
            ));
        }
        if let Some(o) = theirs
            && row[2].parse::<Decimal>().unwrap() != o.filled
        {
            wrong.push(format!(
                "order {} filled {} here, {} there",
                row[0], row[2], o.filled
            ));
        }
    }
    let known: BTreeSet<&String> = ours.iter().map(|row| &row[0]).collect();
    wrong.extend(
        by_id
            .keys()
            .filter(|id| !known.contains(id))
            .map(|id| format!("order {id} is not in the database")),
    );

    // Fills: the same set, to the last digit.
    let mine: BTreeSet<String> = fills
        .iter()
        .map(|r| {
            let d = |i: usize| r[i].parse::<Decimal>().unwrap().normalize();
            format!("{} {} {} {} {} {}", r[0], r[1], r[2], d(3), d(4), d(5))
        })
        .collect();
    let theirs: BTreeSet<String> = ledger
        .executions
        .values()
        .map(|x| {
            let name = if x.cl_ord_id.is_empty() {
                format!("v{}", x.order)
            } else {
                x.cl_ord_id.clone()
            };
            let n = |d: Decimal| d.normalize();
            format!(
                "{} {} {} {} {} {}",
                x.inst,
                x.trade_id,
                name,
                n(x.size),
                n(x.price),
                n(x.fee)
            )
        })
        .collect();
    if fills.len() != mine.len() {
        wrong.push("a fill is booked twice".to_owned());
    }
    wrong.extend(theirs.difference(&mine).map(|x| format!("fill lost: {x}")));
    wrong.extend(
        mine.difference(&theirs)
            .map(|x| format!("fill imagined: {x}")),
    );

    // Positions: what the sleeves hold is what the account holds.
    for (inst, pos) in &ledger.positions {
        let held: Decimal = view
            .holdings
            .iter()
            .filter(|((_, on), _)| on.as_str() == inst)
            .map(|(_, h)| h.qty.0)
            .sum();
        if held != pos.qty {
            wrong.push(format!("position {inst}: {held} here, {} there", pos.qty));
        }
    }
    for ((_, inst), held) in &view.holdings {
        if inst.as_str().ends_with("-SWAP")
            && !held.qty.is_zero()
            && !ledger.positions.contains_key(inst.as_str())
        {
            wrong.push(format!("position {inst}: {} here, none there", held.qty));
        }
    }

    // Sleeves: each holds what its own orders have filled, coins less the fees that were taken in
    // them.
    let mut sums: BTreeMap<(String, String), Decimal> = BTreeMap::new();
    for row in rows(
        store,
        "SELECT contender_id, inst_id, side, qty, fee, fee_ccy FROM fills_now",
    ) {
        let qty = row[3].parse::<Decimal>().unwrap();
        let coin = row[1]
            .strip_suffix("-USDT")
            .is_some_and(|base| base == row[5]);
        let fee = if coin {
            row[4].parse::<Decimal>().unwrap()
        } else {
            Decimal::ZERO
        };
        *sums.entry((row[0].clone(), row[1].clone())).or_default() +=
            if row[2] == "buy" { qty } else { -qty } + fee;
    }
    // What a close by command took from them is a row of its own.
    for row in rows(
        store,
        "SELECT contender_id, inst_id, qty FROM sleeve_adjustments",
    ) {
        *sums.entry((row[0].clone(), row[1].clone())).or_default() +=
            row[2].parse::<Decimal>().unwrap();
    }
    for ((contender, inst), held) in &view.holdings {
        let sum = sums
            .get(&(contender.to_string(), inst.to_string()))
            .copied()
            .unwrap_or_default();
        if sum != held.qty.0 {
            wrong.push(format!(
                "sleeve {contender} {inst}: {} held, its fills make {sum}",
                held.qty
            ));
        }
    }
    // Coins: what all sleeves hold is what the account has.
    for (inst, base) in [("BTC-USDT", "BTC"), ("SOL-USDT", "SOL")] {
        let held: Decimal = view
            .holdings
            .iter()
            .filter(|((_, on), _)| on.as_str() == inst)
            .map(|(_, h)| h.qty.0)
            .sum();
        let there = ledger.cash.get(base).copied().unwrap_or_default();
        if held != there {
            wrong.push(format!("coins {base}: {held} here, {there} there"));
        }
    }

    // Stops: one that waits there waits here, and the other way round.
    let live: BTreeSet<&str> = ledger
        .algos
        .values()
        .filter(|a| a.status == AlgoStatus::Live)
        .map(|a| a.cl_ord_id.as_str())
        .collect();
    for row in &stops {
        // One that hangs on a resting order is made when that has ended, not at its first fill.
        let rests = ["acked", "partially_filled", "cancel_requested"].contains(&row[2].as_str());
        let waits = row[1] == "live" || (row[1] == "intended" && !rests);
        if waits != live.contains(row[0].as_str()) {
            let id = &row[0];
            let story = rows(
                store,
                &format!(
                    "SELECT 'order', at_ms, from_state, to_state, cause, evidence, filled FROM order_lifecycle_events WHERE
                     order_id = (SELECT parent_id FROM algo_orders WHERE algo_id = '{id}')
                     UNION ALL SELECT 'stop', at_ms, from_state, to_state, cause, evidence, '' FROM algo_order_events
                     WHERE algo_id = '{id}'"
                ),
            );
            wrong.push(format!(
                "stop {id} is {} here, live there: {}; {story:?}",
                row[1], !waits
            ));
        }
    }
    wrong.extend(
        view.halts
            .iter()
            .map(|case| format!("halted for no reason: {} {}", case.id(), case.why)),
    );

    let filled = ledger.executions.len() as u64;
    let triggered = ledger
        .algos
        .values()
        .filter(|a| a.status == AlgoStatus::Effective)
        .count() as u64;
    wrong.into_iter().for_each(|what| world.violation(what));
    world.waits = waits.iter().filter_map(|row| row[0].parse().ok()).collect();
    for (state, n) in states {
        *world.counts.entry(format!("orders {state}")).or_default() += n;
    }
    *world.counts.entry("fills".into()).or_default() += filled;
    *world.counts.entry("stops triggered".into()).or_default() += triggered;
}

/// Every create that reached the exchange, judged by the oracle of all tests.
pub fn creates(venue: &Venue, store: &MemoryStore) {
    let mut world = venue.lock();
    // What travels may take seconds here.
    let facts = Facts::of(&store.db(), 10.0).unwrap();
    let (wrong, judged) = judge(&render::ledger(&world.exchange), &facts);
    wrong
        .into_iter()
        .for_each(|what| world.violation(format!("oracle: {what}")));
    *world
        .counts
        .entry("creates judged by the oracle".into())
        .or_default() += judged as u64;
}

/// At rest every swap position has stops of its size, and what was to be made flat is.
pub fn protected(venue: &Venue, view: &OrdersView, restrictions: &Restrictions, enabled: bool) {
    let mut world = venue.lock();
    let mut wrong = Vec::new();
    let flatten = restrictions.0.iter().any(|r| r.flatten);
    if !enabled {
        return; // nothing may leave, not even a stop
    }
    if flatten {
        wrong.push(format!(
            "it was to be made flat and was not: {restrictions:?}"
        ));
    }
    let ledger = &world.exchange.ledger;
    for (inst, position) in &ledger.positions {
        let out = if position.qty > Decimal::ZERO {
            Side::Sell
        } else {
            Side::Buy
        };
        let live = ledger
            .algos
            .values()
            .filter(|a| a.inst == *inst && a.status == AlgoStatus::Live);
        let (right, other): (Vec<_>, Vec<_>) = live.partition(|a| a.side == out);
        let covered: Decimal = right.iter().map(|a| a.size).sum();
        if covered != position.qty.abs() || !other.is_empty() {
            let shown: Vec<String> = view
                .stops
                .iter()
                .filter(|s| s.stop.inst.as_str() == inst)
                .map(|s| format!("{s:?}"))
                .collect();
            wrong.push(format!(
                "P6: {inst} holds {}, its stops cover {covered}, {} are on the other side; {restrictions:?}; sleeves: {:?}; guards: {:?}; here: {}",
                position.qty,
                other.len(),
                view.holdings.iter().filter(|((_, on), _)| on.as_str() == inst).map(|((who, _), h)| (who, h.qty)).collect::<Vec<_>>(),
                view.guards.iter().filter(|((_, on), _)| on.as_str() == inst).map(|((who, _), g)| (who, g)).collect::<Vec<_>>(),
                shown.join("; ")
            ));
        }
    }
    wrong.into_iter().for_each(|what| world.violation(what));
}
