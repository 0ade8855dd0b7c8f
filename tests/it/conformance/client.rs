//! The client's parsers against captured messages: every file of an endpoint it uses, the number of
//! rows and values of the first, as `tests/data/fixture_values.py` read them without the client.

use alpha_arena::domain::{Ms, Side, VenueStatus};
use alpha_arena::venue::{
    CancelOutcome, CreateOutcome, OrderRef, judge_cancel, judge_create, parse_account, parse_algos,
    parse_bills, parse_book, parse_candles, parse_config, parse_fills, parse_funding,
    parse_instruments, parse_open_interest, parse_orders, parse_positions, parse_quote, parse_time,
    parse_trades,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::{fixtures, index, rows};

fn number(value: Decimal) -> String {
    value.normalize().to_string()
}

fn or_dash(text: &str) -> String {
    if text.is_empty() {
        "-".into()
    } else {
        text.to_owned()
    }
}

fn side(side: Side) -> String {
    side.as_str().to_owned()
}

fn status(status: VenueStatus) -> &'static str {
    match status {
        VenueStatus::Live => "live",
        VenueStatus::PartiallyFilled => "partially_filled",
        VenueStatus::Filled => "filled",
        VenueStatus::Canceled => "canceled",
    }
}

/// Returns the client's reading of `data`: the count of rows where there can be several, then the
/// first row.
fn read(reader: &str, data: Vec<Value>) -> Result<Vec<String>, String> {
    let value = Value::Array(data);
    let text = value.to_string();
    let broken = |error: alpha_arena::venue::Malformed| error.to_string();
    Ok(match reader {
        "time" => vec![parse_time(&value).map_err(broken)?.0.to_string()],
        "instruments" => {
            let all = parse_instruments(&value).map_err(broken)?;
            let mut out = vec![all.len().to_string()];
            if let Some(i) = all.first() {
                out.extend([
                    i.id.to_string(),
                    number(i.tick.0),
                    number(i.lot.0),
                    number(i.min_size.0),
                ]);
            }
            out
        }
        "candles" => {
            let all = parse_candles(&text).map_err(broken)?;
            let (c, confirmed) = all[0];
            let prices = [c.open, c.high, c.low, c.close].map(|p| number(p.0));
            let mut out = vec![all.len().to_string(), c.ts.0.to_string()];
            out.extend(prices);
            out.extend([number(c.volume.0), u8::from(confirmed).to_string()]);
            out
        }
        "quote" => {
            let (inst, q) = parse_quote(&text).map_err(broken)?;
            vec![
                inst.to_string(),
                number(q.bid.0),
                number(q.ask.0),
                number(q.last.0),
                q.at.0.to_string(),
            ]
        }
        "book" => {
            let b = parse_book(&text).map_err(broken)?;
            let (bid, ask) = (b.bids[0], b.asks[0]);
            vec![
                b.bids.len().to_string(),
                number(bid.0.0),
                number(ask.0.0),
                number(bid.1.0),
                b.at.0.to_string(),
            ]
        }
        "trades" => {
            let all = parse_trades(&text).map_err(broken)?;
            let t = &all[0];
            let (id, count) = (t.id.to_string(), all.len().to_string());
            vec![
                count,
                t.inst.to_string(),
                id,
                number(t.price.0),
                number(t.qty.0),
                side(t.side),
            ]
        }
        "funding" => {
            let all = parse_funding(&value).map_err(broken)?;
            let f = &all[0];
            vec![
                all.len().to_string(),
                f.inst.to_string(),
                number(f.rate),
                f.at.0.to_string(),
            ]
        }
        "interest" => {
            let all = parse_open_interest(&value).map_err(broken)?;
            vec![
                all.len().to_string(),
                all[0].0.to_string(),
                number(all[0].1.0),
            ]
        }
        "config" => {
            let c = parse_config(&value).map_err(broken)?;
            vec![c.uid, c.level, c.position_mode, c.permissions]
        }
        "balance" | "balance_detail" => {
            let whole = if reader == "balance" {
                value.clone()
            } else {
                json!([{"totalEq": "1", "details": value}])
            };
            let a = parse_account(&whole, &json!([]), Ms(0)).map_err(broken)?;
            let first = whole[0]["details"][0]["ccy"].as_str().unwrap_or("");
            let b = &a.balances[first];
            let mut out = vec![a.balances.len().to_string()];
            out.extend((reader == "balance").then(|| number(a.equity.0)));
            out.extend([
                b.ccy.clone(),
                number(b.cash),
                number(b.equity),
                number(b.equity_usd.0),
            ]);
            out
        }
        "positions" => {
            let (_, p) = parse_positions(&value, Ms(0)).map_err(broken)?.remove(0);
            let (average, mark) = (p.average.unwrap(), p.mark.unwrap());
            vec![
                p.inst.to_string(),
                number(p.qty.0),
                number(average.0),
                number(mark.0),
                number(p.unrealised),
            ]
        }
        "bills" => {
            let all = parse_bills(&value).map_err(broken)?;
            let b = &all[0];
            let (id, at) = (b.bill_id.clone(), b.at.0.to_string());
            vec![
                all.len().to_string(),
                id,
                b.ccy.clone(),
                number(b.change),
                b.kind.clone(),
                at,
            ]
        }
        "orders" => {
            let all = parse_orders(&text).map_err(broken)?;
            let o = &all[0];
            let name = or_dash(&o.cl_ord_id);
            let mut out = vec![
                all.len().to_string(),
                o.inst.to_string(),
                o.report.venue_id.to_string(),
                name,
            ];
            out.extend([
                side(o.side),
                status(o.report.status).into(),
                number(o.report.filled.0),
            ]);
            out.push(o.report.at.0.to_string());
            out
        }
        "fills" => {
            let all = parse_fills(&value).map_err(broken)?;
            let f = &all[0];
            let mut out = vec![
                all.len().to_string(),
                f.inst.to_string(),
                f.fill.trade_id.to_string(),
            ];
            out.extend([
                f.venue_id.to_string(),
                number(f.fill.price.0),
                number(f.fill.qty.0),
                number(f.fill.fee),
            ]);
            out.push(f.fill.fee_ccy.clone());
            out
        }
        "algos" => {
            let all = parse_algos(&text).map_err(broken)?;
            let a = &all[0];
            let state = a.state.ok_or("a state nobody knows")?;
            vec![
                all.len().to_string(),
                a.venue_id.clone(),
                or_dash(&a.algo_id),
                state.to_string(),
            ]
        }
        "created" => {
            let body = json!({"code": "0", "msg": "", "data": value}).to_string();
            let name = ["clOrdId", "algoClOrdId"]
                .iter()
                .filter_map(|key| value[0][*key].as_str())
                .find(|id| !id.is_empty());
            match judge_create(name.unwrap_or_default(), &body) {
                CreateOutcome::Accepted(id) => vec!["accepted".into(), id.to_string(), "0".into()],
                CreateOutcome::Rejected { code, .. } => vec!["refused".into(), "-".into(), code],
                CreateOutcome::Unknown(why) => return Err(why),
            }
        }
        "cancelled" => {
            let body = json!({"code": "0", "msg": "", "data": value}).to_string();
            let id = value[0]["ordId"]
                .as_str()
                .or_else(|| value[0]["algoId"].as_str())
                .unwrap_or("-");
            match judge_cancel(OrderRef::default(), &body) {
                CancelOutcome::Accepted => vec!["accepted".into(), id.to_owned(), "0".into()],
                other => return Err(format!("{other:?}")),
            }
        }
        other => return Err(format!("no reader '{other}'")),
    })
}

/// Endpoints and channels of the client, as the index names them (before any remark in brackets).
fn is_used(endpoint: &str) -> bool {
    let bare = endpoint
        .split(" (")
        .next()
        .unwrap_or(endpoint)
        .split(" rejected")
        .next()
        .unwrap_or(endpoint);
    let used = [
        "GET /api/v5/public/time",
        "GET /api/v5/public/instruments?instType=SPOT",
        "GET /api/v5/public/instruments?instType=SWAP",
        "GET /api/v5/market/candles",
        "GET /api/v5/market/history-candles",
        "GET /api/v5/market/ticker",
        "GET /api/v5/market/books",
        "GET /api/v5/public/funding-rate",
        "GET /api/v5/public/funding-rate-history",
        "GET /api/v5/public/open-interest",
        "GET /api/v5/account/config",
        "GET /api/v5/account/balance",
        "GET /api/v5/account/positions",
        "GET /api/v5/account/bills",
        "GET /api/v5/trade/order",
        "GET /api/v5/trade/orders-pending",
        "GET /api/v5/trade/orders-history",
        "GET /api/v5/trade/fills",
        "GET /api/v5/trade/orders-algo-pending",
        "GET /api/v5/trade/orders-algo-history",
        "POST /api/v5/trade/order",
        "POST /api/v5/trade/cancel-order",
        "POST /api/v5/trade/cancel-algos",
        "WS op order",
        "WS op cancel-order",
        "WS channel tickers",
        "WS public channel tickers",
        "WS channel trades",
        "WS public channel trades",
        "WS channel candle1D",
        "WS business channel candle1D",
        "WS channel orders",
        "WS private channel orders",
        "WS channel orders-algo",
        "WS business channel orders-algo",
    ];
    used.contains(&bare)
}

/// (file, reader, values) of a table of expected values.
fn expected(text: &str) -> Vec<(String, String, Vec<String>)> {
    let line = |line: &str| {
        let mut cells = line.split('\t').map(str::to_owned);
        (
            cells.next().unwrap(),
            cells.next().unwrap(),
            cells.collect(),
        )
    };
    text.lines().map(line).collect()
}

#[test]
fn client_parses_every_captured_message() {
    let Some(dir) = fixtures() else { return };
    let table = expected(include_str!("../../data/fixture_values.tsv"));
    let mut parsed = 0;
    for (file, reader, values) in &table {
        let text = std::fs::read_to_string(dir.join(file)).unwrap();
        let got = read(reader, rows(&text, file.ends_with(".jsonl")))
            .unwrap_or_else(|why| panic!("{file}: {why}"));
        assert_eq!(&got, values, "{file}");
        parsed += 1;
    }
    let all = index(&dir);
    let used: Vec<&String> = all
        .iter()
        .filter(|(_, endpoint)| is_used(endpoint))
        .map(|(file, _)| file)
        .collect();
    let unread: Vec<_> = used
        .iter()
        .filter(|file| !table.iter().any(|(read, ..)| read == **file))
        .collect();
    assert!(
        unread.is_empty(),
        "captured, used by the client and not read: {unread:?}"
    );
    println!(
        "{} captured files: {parsed} read by the client, {} of endpoints it does not use",
        all.len(),
        all.len() - parsed
    );
    assert!(parsed >= 60, "only {parsed}");
}

#[test]
fn golden_messages_are_understood() {
    let table = expected(include_str!("../../data/golden.tsv"));
    let golden: Value = serde_json::from_str(include_str!("../../data/golden.json")).unwrap();
    for (name, reader, values) in &table {
        let data = golden[name]
            .as_array()
            .unwrap_or_else(|| panic!("no golden message {name}"))
            .clone();
        assert_eq!(
            &read(reader, data).unwrap_or_else(|why| panic!("{name}: {why}")),
            values,
            "{name}"
        );
    }
    println!("{} golden messages", table.len());
    assert_eq!(table.len(), golden.as_object().unwrap().len());
}

/// Every ticker and trade of a recorded day is read.
#[test]
fn recorded_frames_are_all_parsed() {
    let Some(dir) = fixtures() else { return };
    let text =
        std::fs::read_to_string(dir.join("cryptofeed/ws_public_2022_btcusdt_and_future.jsonl"))
            .unwrap();
    let (mut tickers, mut trades) = (0, 0);
    for line in text.lines() {
        let frame: Value = serde_json::from_str::<Value>(line).unwrap()["frame"].take();
        let data = frame["data"].to_string();
        match frame["arg"]["channel"].as_str() {
            Some("tickers") if frame["data"].is_array() => {
                parse_quote(&data).unwrap();
                tickers += 1;
            }
            Some("trades") if frame["data"].is_array() => {
                trades += parse_trades(&data).unwrap().len();
            }
            _ => {}
        }
    }
    println!("recorded in 2022: {tickers} tickers, {trades} trades");
    assert!(tickers > 3 && trades > 3);
}
