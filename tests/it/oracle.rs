//! Rules for every create that ever reached an exchange, judged by the exchange's own books and by
//! an arithmetic that shares nothing with the gate: floats, fills replayed in their order, and the
//! configuration as the database has it. The harness checks them at the end of each daemon's life,
//! the simulation at the end of each seed.

use std::collections::BTreeMap;

use rusqlite::Connection;
use serde_json::Value;

/// Limits in force from a moment of the venue's clock.
#[derive(Clone, Debug)]
struct Bounds {
    from: i64,
    notional_max: f64,
    position_max: f64,
    gross_max: f64,
    equity: f64,
    open_max: usize,
    per_minute_max: usize,
    per_day_max: usize,
}

#[derive(Clone, Debug)]
struct Rules {
    tick: f64,
    lot: f64,
    least: f64,
    contract: f64,
    swap: bool,
}

/// Facts the daemon recorded about itself: what each order was for, the limits, the instruments,
/// who was restricted when.
#[derive(Debug)]
pub struct Facts {
    purposes: BTreeMap<String, (String, String)>,
    rules: BTreeMap<String, Rules>,
    bounds: Vec<Bounds>,
    /// (venue time, scope, state).
    states: Vec<(i64, String, String)>,
    /// Venue milliseconds of one second of the wall: so late an entry may still arrive after a
    /// restriction.
    second: i64,
}

fn number(value: &Value) -> f64 {
    match value {
        Value::String(text) => text.parse().unwrap_or(f64::NAN),
        other => other.as_f64().unwrap_or(f64::NAN),
    }
}

impl Facts {
    /// Reads them; `rate` is the venue's seconds per second of the wall.
    pub fn of(db: &Connection, rate: f64) -> rusqlite::Result<Self> {
        let mut facts = Self {
            purposes: BTreeMap::new(),
            rules: BTreeMap::new(),
            bounds: Vec::new(),
            states: Vec::new(),
            second: (1000.0 * rate) as i64,
        };
        let mut rows = db.prepare(
            "SELECT cl_ord_id, purpose, contender_id FROM orders WHERE cl_ord_id IS NOT NULL",
        )?;
        let orders = rows.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
        facts.purposes = orders.collect::<Result<_, _>>()?;
        let mut rows = db.prepare("SELECT rules FROM instruments")?;
        for text in rows.query_map([], |row| row.get::<_, String>(0))? {
            let rule: Value = serde_json::from_str(&text?).unwrap();
            let of = |name: &str| number(&rule[name]);
            let (tick, lot, least, contract) =
                (of("tick"), of("lot"), of("min_size"), of("contract_value"));
            let swap = rule["kind"] == "SWAP";
            facts.rules.insert(
                rule["id"].as_str().unwrap().to_owned(),
                Rules {
                    tick,
                    lot,
                    least,
                    contract,
                    swap,
                },
            );
        }
        let mut rows = db.prepare("SELECT body, at_ms FROM config_versions ORDER BY at_ms")?;
        for row in rows.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))
        })? {
            let (body, from) = row?;
            let config: Value = serde_json::from_str(&body).unwrap();
            let risk = &config["risk"];
            let count = |name: &str| number(&risk[name]) as usize;
            facts.bounds.push(Bounds {
                from,
                notional_max: number(&risk["order_notional_max"]),
                position_max: number(&risk["position_notional_max"]),
                gross_max: number(&risk["gross_exposure_pct_max"]) / 100.0,
                equity: number(&config["exchange"]["deposit_usdt"]),
                open_max: count("open_orders_max"),
                per_minute_max: count("orders_per_minute_max"),
                per_day_max: count("orders_per_day_max"),
            });
        }
        let mut rows =
            db.prepare("SELECT at_ms, scope, to_state FROM trading_state_events ORDER BY id")?;
        let states = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        facts.states = states.collect::<Result<_, _>>()?;
        Ok(facts)
    }

    /// The state a scope has been in for all of the last second of the wall; a restart forgives
    /// nothing.
    fn settled(&self, scope: &str, at: i64) -> &str {
        let mut state = "active";
        for (since, of, to) in &self.states {
            if of == scope && *since < at - self.second {
                state = to;
            } else if of == scope && *since <= at && to == "active" {
                state = "active";
            }
        }
        state
    }
}

#[derive(Debug)]
struct Fill {
    inst: String,
    order: String,
    at: i64,
    /// With its sign.
    qty: f64,
    price: f64,
}

struct Life {
    inst: String,
    buy: bool,
    size: f64,
    created: i64,
    ended: i64,
}

/// The exchange's books as `/sim/ledger` shows them, or as its log keeps them.
fn books(ledger: &Value) -> (Vec<Fill>, BTreeMap<String, Life>) {
    let text = |row: &Value, names: [&str; 2]| {
        names
            .iter()
            .find_map(|name| row[*name].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let pick = |row: &Value, names: [&str; 2]| {
        let found = names
            .iter()
            .map(|name| &row[*name])
            .find(|value| !value.is_null());
        found.map_or(f64::NAN, number)
    };
    let mut fills: Vec<Fill> = Vec::new();
    for row in ledger["fills"].as_array().into_iter().flatten() {
        let size = pick(row, ["fillSz", "size"]);
        fills.push(Fill {
            inst: text(row, ["instId", "inst"]),
            order: text(row, ["clOrdId", "cl_ord_id"]),
            at: pick(row, ["ts", "at"]) as i64,
            qty: if row["side"] == "buy" { size } else { -size },
            price: pick(row, ["fillPx", "price"]),
        });
    }
    fills.sort_by_key(|fill| fill.at);
    let mut orders = BTreeMap::new();
    for row in ledger["orders"].as_array().into_iter().flatten() {
        let ended = matches!(
            text(row, ["state", "status"]).as_str(),
            "filled" | "canceled"
        );
        let life = Life {
            inst: text(row, ["instId", "inst"]),
            buy: row["side"] == "buy",
            size: pick(row, ["sz", "size"]),
            created: pick(row, ["cTime", "created"]) as i64,
            ended: if ended {
                pick(row, ["uTime", "updated"]) as i64
            } else {
                i64::MAX
            },
        };
        orders.insert(text(row, ["clOrdId", "cl_ord_id"]), life);
    }
    (fills, orders)
}

/// Judges every create of ours: what was wrong, and how many were looked at.
pub fn judge(ledger: &Value, facts: &Facts) -> (Vec<String>, usize) {
    let (fills, orders) = books(ledger);
    let mut creates: Vec<(i64, String, &Value)> = Vec::new();
    for create in ledger["creates"].as_array().into_iter().flatten() {
        let id = create["clOrdId"].as_str().unwrap_or_default().to_owned();
        // Ours by form and tag; what a test sends by hand has names of its own, or no tag.
        if id.len() == 28 && id.starts_with('a') && create["body"]["tag"] == "alphaarena" {
            creates.push((create["recv_ms"].as_i64().unwrap(), id, &create["body"]));
        }
    }
    creates.sort_by_key(|(at, ..)| *at);
    let mut wrong = Vec::new();
    for (index, (at, id, body)) in creates.iter().enumerate() {
        let mut say = |what: String| wrong.push(format!("create {id} at {at}: {what}; {body}"));
        let Some((purpose, contender)) = facts.purposes.get(id) else {
            say("no order of the database has this name".into());
            continue;
        };
        let inst = body["instId"].as_str().unwrap_or_default();
        let Some(rules) = facts.rules.get(inst) else {
            say("an instrument that is not followed".into());
            continue;
        };
        let whole = |value: f64, step: f64| {
            let steps = value / step;
            (steps - steps.round()).abs() < 1e-6 && steps.round() > 0.0
        };
        let (size, limit) = (number(&body["sz"]), body.get("px").map(number));
        if !whole(size, rules.lot) || size < rules.least * (1.0 - 1e-9) {
            say(format!(
                "size {size} is no multiple of {} from {}",
                rules.lot, rules.least
            ));
        }
        if limit.is_some_and(|px| !whole(px, rules.tick)) {
            say(format!("price {limit:?} is no multiple of {}", rules.tick));
        }
        if body["tdMode"] != if rules.swap { "cross" } else { "cash" } {
            say("the wrong tdMode".into());
        }
        let buy = body["side"] == "buy";
        let entry = purpose == "entry";
        // The price it was worth: its limit, else what was traded there last.
        let last = fills
            .iter()
            .rev()
            .find(|fill| fill.inst == inst && fill.at <= *at)
            .map(|fill| fill.price);
        let own = fills
            .iter()
            .find(|fill| fill.order == *id)
            .map(|fill| fill.price);
        let Some(price) = limit.or(own).or(last) else {
            continue;
        };
        let value = |qty: f64| qty.abs() * rules.contract * price;
        let stop = body["attachAlgoOrds"][0]["slTriggerPx"]
            .as_str()
            .map(|text| text.parse::<f64>().unwrap());
        match stop {
            Some(trigger) if (buy && trigger >= price) || (!buy && trigger <= price) => say(
                format!("its stop {trigger} is on the winning side of {price}"),
            ),
            None if entry && rules.swap => say("an entry on a swap without a stop".into()),
            Some(_) if !entry => say("what closes carries a stop".into()),
            _ => {}
        }
        for scope in [
            "system".to_owned(),
            format!("contender:{contender}"),
            format!("instrument:{inst}"),
        ] {
            match (facts.settled(&scope, *at), purpose.as_str()) {
                ("halted" | "reduce_only", "entry") | ("halted", "exit") => say(format!(
                    "{purpose} although {scope} has been restricted for more than a second"
                )),
                _ => {}
            }
        }
        let Some(bounds) = facts.bounds.iter().rev().find(|bounds| bounds.from <= *at) else {
            continue;
        };
        // What takes risk off is held up by no limit on size or number, but one order is never
        // larger than allowed.
        let named = matches!(purpose.as_str(), "flatten" | "repair");
        if !named && value(size) > bounds.notional_max * 1.01 {
            say(format!(
                "worth {:.2} USD, one order may be {}",
                value(size),
                bounds.notional_max
            ));
        }
        if !entry {
            continue;
        }
        // What it fills itself is none of what was there before it: the exchange dates a fill by
        // its last step of the market, which may have been a moment before the create came in.
        let before = |f: &&Fill| f.order != *id && f.at < *at;
        let position = |inst: &str| -> f64 {
            fills
                .iter()
                .filter(|f| f.inst == inst)
                .filter(before)
                .map(|f| f.qty)
                .sum()
        };
        let alive = |life: &&Life| life.created < *at && life.ended > *at;
        let working: f64 = orders
            .iter()
            .filter(|(other, life)| {
                *other != id && life.inst == inst && life.buy == buy && alive(life)
            })
            .map(|(other, life)| {
                let filled: f64 = fills
                    .iter()
                    .filter(|f| f.order == *other && f.at < *at)
                    .map(|f| f.qty.abs())
                    .sum();
                life.size - filled
            })
            .sum();
        let held = if buy { position(inst) } else { -position(inst) };
        let worst = (held + working + size).max(0.0);
        if worst > held.max(0.0) && value(worst) > bounds.position_max * 1.02 {
            say(format!(
                "a position of {:.2} USD if all fills, allowed is {}",
                value(worst),
                bounds.position_max
            ));
        }
        // A position may stand at another price than when it was let in, and equity may have moved:
        // a tenth of leeway.
        let gross: f64 = facts
            .rules
            .iter()
            .map(|(name, rules)| {
                let last = fills
                    .iter()
                    .rev()
                    .find(|f| f.inst == *name && f.at <= *at)
                    .map_or(0.0, |f| f.price);
                let held = if name == inst {
                    worst
                } else {
                    position(name).abs()
                };
                held * rules.contract * if name == inst { price } else { last }
            })
            .sum();
        if bounds.equity > 0.0 && gross > bounds.gross_max * bounds.equity * 1.1 {
            say(format!(
                "gross exposure of {gross:.2} USD, allowed is {} of {}",
                bounds.gross_max, bounds.equity
            ));
        }
        let open = orders.values().filter(alive).count() + 1;
        if open > bounds.open_max {
            say(format!(
                "{open} orders at once, allowed are {}",
                bounds.open_max
            ));
        }
        // Orders come with the delays of the wire: a sixth of leeway in the window.
        let since = |ms: i64| {
            creates[..=index]
                .iter()
                .filter(|(other, ..)| at - other < ms)
                .count()
        };
        if since(50_000) > bounds.per_minute_max {
            say(format!(
                "{} orders within 50 s, allowed are {} a minute",
                since(50_000),
                bounds.per_minute_max
            ));
        }
        let today = creates[..=index]
            .iter()
            .filter(|(other, ..)| other.div_euclid(86_400_000) == at.div_euclid(86_400_000));
        if today.clone().count() > bounds.per_day_max {
            say(format!(
                "{} orders of the day, allowed are {}",
                today.count(),
                bounds.per_day_max
            ));
        }
    }
    (wrong, creates.len())
}
