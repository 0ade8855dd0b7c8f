//! Rows back into values of the domain: what cannot be read is an error that shows the text.

use std::collections::BTreeMap;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::ValueRef;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::domain::record::ContenderRow;
use crate::domain::trading::TradingState;
use crate::domain::{
    AlgoState, ClOrdId, EquityBook, Fill, Incident, IncidentKind, InstId, Instrument, Liquidity,
    Ms, OrdType, Order, OrderId, OrderIntent, OrderName, OrderState, Purpose, Restriction, RunId,
    Scope, Side, StopOrder,
};

pub(super) fn stop_of(row: &Row<'_>) -> Result<(String, StopOrder), ReadFail> {
    let id = text(row, 0)?;
    let stop = StopOrder {
        id: id.clone(),
        parent: OrderId::new(text(row, 1)?),
        run_id: run_of(&text(row, 2)?)?,
        contender: text(row, 3)?.as_str().into(),
        inst: text(row, 4)?.as_str().into(),
        // One of before this was kept does the opposite of the order it hangs on.
        side: match text(row, 10)?.as_str() {
            "" => word(row, 9, Side::parse)?.opposite(),
            _ => word(row, 10, Side::parse)?,
        },
        trigger: value(row, 5)?,
        qty: optional(row, 11)?,
        standalone: row.get(12)?,
        created: Ms(row.get(13)?),
        triggered: None,
        shaped_at: None,
        venue_id: row.get(6)?,
        state: word(row, 7, AlgoState::parse)?,
        child: row.get::<_, Option<String>>(8)?.map(OrderId::new),
    };
    Ok((id, stop))
}

pub(super) fn case_of(row: &Row<'_>) -> Result<Incident, ReadFail> {
    let (kind, why) = (word(row, 0, IncidentKind::parse)?, text(row, 3)?);
    let orders = text(row, 5)?;
    let mut orders: Vec<OrderId> = serde_json::from_str(&orders)
        .map_err(|error| ReadFail::Value(format!("orders of an incident: {error}")))?;
    // Rows from before orders were kept name them in the sentence only.
    if kind == IncidentKind::Contradiction && orders.is_empty() {
        orders = why
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter_map(order_named)
            .collect();
    }
    Ok(Incident {
        kind,
        subject: text(row, 1)?,
        scope: row.get::<_, Option<String>>(2)?.map(InstId::new),
        why,
        opened: Ms(row.get(4)?),
        orders,
    })
}

/// An order id, if this word of a sentence is one.
fn order_named(word: &str) -> Option<OrderId> {
    let env = word.chars().nth(1)?;
    let ours = ClOrdId::is_ours(word, env);
    let is_id = ours || matches!(OrderName::of(word), OrderName::Adopted(_));
    is_id.then(|| OrderId::new(word))
}

pub(super) fn instrument_of(row: &Row<'_>) -> Result<Instrument, ReadFail> {
    let rules = text(row, 0)?;
    serde_json::from_str(&rules)
        .map_err(|error| ReadFail::Value(format!("rules of an instrument: {error}")))
}

pub(super) fn contender_of(row: &Row<'_>) -> Result<ContenderRow, ReadFail> {
    Ok(ContenderRow {
        id: text(row, 0)?.as_str().into(),
        kind: text(row, 1)?,
        strategy: text(row, 2)?,
        stage: text(row, 3)?,
        weight: value(row, 4)?,
        params: BTreeMap::new(),
    })
}

#[derive(Debug)]
pub(in crate::store) enum ReadFail {
    Sql(rusqlite::Error),
    Value(String),
}

impl From<rusqlite::Error> for ReadFail {
    fn from(source: rusqlite::Error) -> Self {
        ReadFail::Sql(source)
    }
}

pub(super) fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null | ValueRef::Blob(_) => Value::Null,
        ValueRef::Integer(n) => Value::from(n),
        ValueRef::Real(x) => Value::from(x),
        ValueRef::Text(bytes) => Value::from(String::from_utf8_lossy(bytes)),
    }
}

pub(super) fn text(row: &Row<'_>, index: usize) -> Result<String, ReadFail> {
    Ok(row.get(index)?)
}

pub(super) fn value<T: FromStr>(row: &Row<'_>, index: usize) -> Result<T, ReadFail> {
    let text = text(row, index)?;
    text.parse().map_err(|_| ReadFail::Value(text))
}

pub(super) fn optional<T: FromStr>(row: &Row<'_>, index: usize) -> Result<Option<T>, ReadFail> {
    match row.get::<_, Option<String>>(index)? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| ReadFail::Value(text)),
    }
}

pub(super) fn word<T>(
    row: &Row<'_>,
    index: usize,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<T, ReadFail> {
    let text = text(row, index)?;
    parse(&text).ok_or(ReadFail::Value(text))
}

pub(super) fn run_of(text: &str) -> Result<RunId, ReadFail> {
    text.parse()
        .map(RunId)
        .map_err(|_| ReadFail::Value(text.to_owned()))
}

pub(super) fn fill_of(row: &Row<'_>) -> Result<Fill, ReadFail> {
    Ok(Fill {
        inst: text(row, 0)?.as_str().into(),
        trade_id: text(row, 1)?.as_str().into(),
        order_id: text(row, 2)?.as_str().into(),
        venue_id: text(row, 3)?.as_str().into(),
        run_id: run_of(&text(row, 4)?)?,
        contender: text(row, 5)?.as_str().into(),
        side: word(row, 6, Side::parse)?,
        price: value(row, 7)?,
        qty: value(row, 8)?,
        fee: value::<Decimal>(row, 9)?,
        fee_ccy: text(row, 10)?,
        liquidity: if text(row, 11)? == "M" {
            Liquidity::Maker
        } else {
            Liquidity::Taker
        },
        at: Ms(row.get(12)?),
    })
}

pub(super) fn order_of(row: &Row<'_>) -> Result<(Order, OrderState), ReadFail> {
    let ttl: Option<i64> = row.get(12)?;
    let expires: Option<i64> = row.get(17)?;
    let intent = OrderIntent {
        cl_ord_id: ClOrdId::new(text(row, 0)?),
        run_id: run_of(&text(row, 2)?)?,
        contender: text(row, 3)?.as_str().into(),
        inst: text(row, 4)?.as_str().into(),
        side: word(row, 5, Side::parse)?,
        ord_type: word(row, 6, OrdType::parse)?,
        qty: value(row, 8)?,
        limit: optional(row, 9)?,
        purpose: word(row, 7, Purpose::parse)?,
        leg: row.get(18)?,
        attempt: row.get(19)?,
        reduce_only: row.get(11)?,
        stop: None,
        reference: value(row, 10)?,
        decided_at: Ms(row.get(16)?),
        ttl: ttl.map(Ms),
        slippage: None,
        moves: None,
        sleeve: Default::default(),
        weight: Decimal::ZERO,
        good_for: None,
    };
    let mut order = Order::intended(&intent, Ms(row.get(16)?), expires.map(Ms));
    order.venue_id = row
        .get::<_, Option<String>>(1)?
        .map(|id| id.as_str().into());
    order.filled = value(row, 14)?;
    order.average = optional(row, 15)?;
    order.stop = optional(row, 20)?;
    Ok((order, word(row, 13, OrderState::parse)?))
}

pub(super) fn restriction_of(row: &Row<'_>) -> Result<Restriction, ReadFail> {
    Ok(Restriction {
        scope: word(row, 0, Scope::parse)?,
        cause: text(row, 1)?,
        state: word(row, 2, TradingState::parse)?,
        why: text(row, 3)?,
        since: Ms(row.get(4)?),
        until: row.get::<_, Option<i64>>(5)?.map(Ms),
        flatten: row.get::<_, i64>(6)? & 1 != 0,
        flattened: row.get::<_, i64>(6)? & 2 != 0,
    })
}

pub(super) fn equity_of(row: &Row<'_>) -> Result<EquityBook, ReadFail> {
    let kept = text(row, 7)?;
    let (flows, prices) = serde_json::from_str(&kept).map_err(|_| ReadFail::Value(kept))?;
    Ok(EquityBook {
        day: row.get(0)?,
        open: value(row, 1)?,
        low: value(row, 2)?,
        high: value(row, 3)?,
        nav: value(row, 4)?,
        peak: value(row, 5)?,
        units: value(row, 6)?,
        flows,
        prices,
        updated: Ms(row.get(8)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows from before an incident kept its orders name them in the sentence only.
    #[test]
    fn old_incidents_name_orders_in_words() {
        let ours = "as3WJRIZQQHXCO22Z2RVDW7XTL23";
        let why =
            format!("the venue's order 12 is {ours} and is now said to be v2000000000000000931");
        let db = rusqlite::Connection::open_in_memory().unwrap();
        let read = |kind: &str, orders: &str| {
            let sql = "SELECT ?1, 'BTC-USDT-SWAP', NULL, ?2, 5, ?3";
            let mut query = db.prepare(sql).unwrap();
            let mut rows = query.query([kind, why.as_str(), orders]).unwrap();
            case_of(rows.next().unwrap().unwrap())
                .map(|case| case.orders)
                .map_err(|_| ())
        };
        let both = vec![OrderId::new(ours), OrderId::new("v2000000000000000931")];
        assert_eq!(read("contradiction", "[]"), Ok(both));
        assert_eq!(
            read("contradiction", r#"["asOTHER"]"#),
            Ok(vec![OrderId::new("asOTHER")])
        );
        assert_eq!(
            read("unknown-long", "[]"),
            Ok(Vec::new()),
            "it has its order as its subject"
        );
        assert!(read("contradiction", "no list").is_err());
    }
}
