//! REST: what each path answers.

use serde_json::{Value, json};

use super::super::core::{AlgoStatus, Order};
use super::super::render;
use super::{Failure, Request, Site, auth, trade};
use crate::domain::{Bar, Ms};

/// Answers one request with the body to send under HTTP 200, or a failure.
pub(super) async fn handle(site: &Site, request: &Request) -> Result<String, Failure> {
    let Some(endpoint) = request.path.strip_prefix("/api/v5/") else { return Err(not_found(request)) };
    let now = site.engine.clock.now();
    let (method, private) = match endpoint {
        "public/time"
        | "public/instruments"
        | "public/mark-price"
        | "public/funding-rate"
        | "market/ticker"
        | "market/tickers"
        | "market/books"
        | "market/candles"
        | "market/history-candles"
        | "market/trades"
        | "system/status" => ("GET", false),
        "account/config"
        | "account/balance"
        | "account/positions"
        | "account/bills"
        | "account/trade-fee"
        | "account/leverage-info"
        | "account/instruments"
        | "trade/orders-pending"
        | "trade/orders-history"
        | "trade/fills"
        | "trade/fills-history"
        | "trade/orders-algo-pending"
        | "trade/orders-algo-history" => ("GET", true),
        "trade/order" => (if request.method == "GET" { "GET" } else { "POST" }, true),
        "trade/cancel-order" | "trade/cancel-algos" | "account/set-leverage" => ("POST", true),
        _ => return Err(not_found(request)),
    };
    if request.method != method {
        return Err(Failure::new(405, "50115", "Invalid request method."));
    }
    if private {
        auth::check(site, request, now)?;
    }
    let body = if method == "POST" { parse_body(request)? } else { Value::Null };
    let inst = match body["instId"].as_str() {
        Some(inst) => inst.to_owned(),
        None => request.param("instId").to_owned(),
    };
    let limit_key = if endpoint == "trade/order" && method == "GET" { "trade/get-order" } else { endpoint };
    if !site.limits.admit(limit_key, &inst, now) {
        return Err(Failure::new(429, "50011", "Too Many Requests"));
    }
    match endpoint {
        "trade/order" if method == "POST" => return trade::place(site, request.header("expTime"), body).await,
        "trade/cancel-order" => return trade::cancel(site, body).await,
        "trade/cancel-algos" => return trade::cancel_algos(site, body).await,
        _ => {}
    }
    let data = match endpoint {
        "public/time" => json!([{"ts": now.0.to_string()}]),
        "system/status" => json!([]),
        "public/instruments" | "account/instruments" => instruments(site, request)?,
        "market/candles" => candles(site, request, true).await?,
        "market/history-candles" => candles(site, request, false).await?,
        _ if endpoint.starts_with("market/") || endpoint.starts_with("public/") => {
            market(site, request, endpoint.to_owned()).await?
        }
        "account/set-leverage" => set_leverage(site, body).await?,
        _ => private_read(site, request, endpoint.to_owned()).await?,
    };
    Ok(format!(r#"{{"code":"0","msg":"","data":{data}}}"#))
}

fn not_found(request: &Request) -> Failure {
    // OKX's 404 has a number where all others have a string; ours keeps the status and the words.
    Failure::new(404, "404", format!("Not Found: {}", request.path))
}

fn parse_body(request: &Request) -> Result<Value, Failure> {
    if !request.header("content-type").starts_with("application/json") {
        return Err(Failure::new(400, "50006", "Invalid Content-Type, must be application/json"));
    }
    if request.body.is_empty() {
        return Err(Failure::new(400, "50000", "Body for POST request can not be empty."));
    }
    serde_json::from_slice(&request.body).map_err(|_| Failure::new(400, "50002", "JSON syntax error"))
}

fn bad(name: &str) -> Failure {
    Failure::new(400, "51000", format!("Parameter {name} error"))
}

fn unknown(inst: &str) -> Failure {
    Failure::new(200, "51001", format!("Instrument ID or Spread ID {inst} doesn't exist."))
}

fn instruments(site: &Site, request: &Request) -> Result<Value, Failure> {
    let kind = request.param("instType");
    if !["SPOT", "SWAP", "FUTURES", "OPTION", "MARGIN"].contains(&kind) {
        return Err(bad("instType"));
    }
    let wanted = request.param("instId");
    let rows =
        site.engine.market.all().filter(|l| {
            l.listing.inst.kind.okx() == kind && (wanted.is_empty() || wanted == l.listing.inst.id.as_str())
        });
    Ok(rows.map(render::instrument).collect())
}

async fn candles(site: &Site, request: &Request, recent: bool) -> Result<Value, Failure> {
    let inst = request.param("instId").to_owned();
    if site.engine.market.get(&inst).is_none() {
        return Err(unknown(&inst));
    }
    let bar: Bar = match request.param("bar") {
        "" => Bar::M1,
        bar => bar.parse().map_err(|_| bad("bar"))?,
    };
    let time = |name: &str| match request.param(name) {
        "" => Ok(None),
        text => match text.parse() {
            Ok(ms @ 0..=9_999_999_999_999) => Ok(Some(Ms(ms))),
            _ => Err(bad(name)),
        },
    };
    let limit = match request.param("limit") {
        "" => 100,
        text => text.parse::<usize>().map_err(|_| bad("limit"))?.clamp(1, 300),
    };
    let (after, before) = (time("after")?, time("before")?);
    let rows = site
        .engine
        .ask(move |x| {
            let oldest = recent.then(|| Ms(x.now().floor(bar.span()).0 - 1440 * bar.span().0));
            let page = render::CandlePage { after, before, limit, with_forming: recent, oldest };
            let market = std::sync::Arc::clone(&x.market);
            market.get(&inst).map(|listed| render::candles(x, listed, bar, page))
        })
        .await?;
    Ok(Value::Array(rows.unwrap_or_default()))
}

async fn market(site: &Site, request: &Request, endpoint: String) -> Result<Value, Failure> {
    let inst = request.param("instId").to_owned();
    let kind = request.param("instType").to_owned();
    let all = endpoint == "market/tickers" || (endpoint == "public/mark-price" && inst.is_empty());
    if !all && site.engine.market.get(&inst).is_none() {
        return Err(unknown(&inst));
    }
    let depth = request.param("sz").parse().unwrap_or(1usize).clamp(1, 400);
    let rows = site
        .engine
        .ask(move |x| {
            let market = std::sync::Arc::clone(&x.market);
            let chosen = market
                .all()
                .filter(|l| if all { l.listing.inst.kind.okx() == kind } else { l.listing.inst.id.as_str() == inst });
            chosen
                .map(|listed| match endpoint.as_str() {
                    "market/books" => render::book(x, listed, depth),
                    "market/ticker" | "market/tickers" => render::ticker(x, listed),
                    "public/funding-rate" => {
                        let next = Ms(x.now().floor(Ms::secs(28_800)).0 + 28_800_000);
                        json!({"instType": "SWAP", "instId": listed.listing.inst.id, "method": "current_period",
                            "fundingRate": listed.funding_rate(next).to_string(), "fundingTime": next.0.to_string(),
                            "nextFundingRate": "", "nextFundingTime": (next.0 + 28_800_000).to_string(),
                            "ts": x.now().0.to_string()})
                    }
                    channel => render::market(x, listed, channel.rsplit('/').next().unwrap_or(""))
                        .and_then(|data| serde_json::from_str::<Value>(&data).ok())
                        .and_then(|data| data.as_array().and_then(|rows| rows.first().cloned()))
                        .unwrap_or(Value::Null),
                })
                .collect::<Vec<_>>()
        })
        .await?;
    Ok(Value::Array(rows))
}

async fn set_leverage(site: &Site, body: Value) -> Result<Value, Failure> {
    let inst = body["instId"].as_str().unwrap_or("").to_owned();
    let text = body["lever"].as_str().map_or_else(|| body["lever"].to_string(), str::to_owned);
    let leverage = text.parse::<rust_decimal::Decimal>().map_err(|_| bad("lever"))?;
    let echo = json!([{"lever": text, "mgnMode": "cross", "instId": inst, "posSide": ""}]);
    let done = site.engine.ask(move |x| x.set_leverage(&inst, leverage)).await?;
    done.map(|()| echo).map_err(|r| Failure::new(200, r.code, r.msg))
}

/// A page of a list that is kept oldest first: newest first, `after` older than, `before` newer than.
fn page<'a, T: 'a>(
    request: &Request,
    newest_first: impl Iterator<Item = (u64, &'a T)>,
    render: impl Fn(&T) -> Value,
) -> Vec<Value> {
    let id = |name: &str| request.param(name).parse::<u64>().ok();
    let (after, before) = (id("after"), id("before"));
    let limit = request.param("limit").parse::<usize>().unwrap_or(100).clamp(1, 100);
    newest_first
        .filter(|(key, _)| after.is_none_or(|a| *key < a) && before.is_none_or(|b| *key > b))
        .take(limit)
        .map(|(_, row)| render(row))
        .collect()
}

async fn private_read(site: &Site, request: &Request, endpoint: String) -> Result<Value, Failure> {
    let uid = site.credentials.uid.clone();
    // The closure runs on the engine's thread: it takes its own copy of what was asked.
    let request = Request {
        method: request.method.clone(),
        path: String::new(),
        target: String::new(),
        params: request.params.clone(),
        headers: Default::default(),
        body: Default::default(),
    };
    site.engine
        .ask(move |x| {
            let wanted = |name: &str, value: &str| request.param(name).is_empty() || request.param(name) == value;
            let by_inst = |inst: &str| wanted("instId", inst) && wanted("instType", render::inst_type(inst));
            Ok(Value::Array(match endpoint.as_str() {
                "account/config" => vec![json!({
                    "uid": uid, "mainUid": uid, "acctLv": "2", "posMode": "net_mode", "acctStpMode": "cancel_maker",
                    "autoLoan": false, "ctIsoMode": "automatic", "enableSpotBorrow": false, "feeType": "0",
                    "greeksType": "PA", "ip": "127.0.0.1", "perm": "read_only,trade", "level": "Lv1", "levelTmp": "",
                    "label": "simulation", "kycLv": "3", "type": "0", "roleType": "0", "opAuth": "1",
                    "mgnIsoMode": "automatic", "liquidationGear": "-1", "spotOffsetType": "", "settleCcy": "USDT",
                })],
                "account/balance" => vec![render::balance(x)],
                "account/positions" => {
                    let open = x.ledger.positions.iter().filter(|(inst, p)| !p.qty.is_zero() && by_inst(inst));
                    open.map(|(inst, _)| render::position(x, inst)).collect()
                }
                "account/leverage-info" => vec![json!({"instId": request.param("instId"), "mgnMode": "cross",
                    "posSide": "net", "ccy": "", "lever": x.leverage(request.param("instId")).to_string()})],
                "account/trade-fee" => {
                    let swap = request.param("instType") == "SWAP";
                    let (maker, taker) = if swap { ("-0.0002", "-0.0005") } else { ("-0.0008", "-0.001") };
                    vec![json!({"level": "Lv1", "instType": request.param("instType"), "maker": maker, "taker": taker,
                        "makerU": if swap { maker } else { "" }, "takerU": if swap { taker } else { "" },
                        "feeGroup": [{"groupId": if swap { "4" } else { "1" }, "maker": maker, "taker": taker}],
                        "ts": x.now().0.to_string()})]
                }
                "account/bills" => {
                    let rows = x
                        .ledger
                        .bills
                        .iter()
                        .rev()
                        .filter(|(_, b)| wanted("type", &b.kind.to_string()) && wanted("ccy", &b.ccy));
                    page(&request, rows.map(|(id, b)| (*id, b)), render::bill)
                }
                "trade/order" => {
                    let found = x.find_order(request.param("instId"), request.param("ordId"), request.param("clOrdId"));
                    match found.filter(|order| !forgotten(x, order)) {
                        Some(order) => vec![render_order(x, order)],
                        None => return Err(Failure::new(200, "51603", "Order does not exist")),
                    }
                }
                "trade/orders-pending" => {
                    let mut open: Vec<&Order> = x.open_orders().filter(|o| by_inst(&o.inst)).collect();
                    open.reverse();
                    page(&request, open.into_iter().map(|o| (o.id, o)), |o| render_order(x, o))
                }
                "trade/orders-history" => {
                    if request.param("instType").is_empty() {
                        return Err(bad("instType"));
                    }
                    let ended = x.ledger.orders.iter().rev().filter(|(_, o)| {
                        !o.status.is_open() && by_inst(&o.inst) && wanted("state", o.status.okx()) && !forgotten(x, o)
                    });
                    page(&request, ended.map(|(id, o)| (*id, o)), |o| render_order(x, o))
                }
                "trade/fills" | "trade/fills-history" => {
                    let rows = x
                        .ledger
                        .executions
                        .iter()
                        .rev()
                        .filter(|(_, f)| by_inst(&f.inst) && wanted("ordId", &f.order.to_string()));
                    page(&request, rows.map(|(id, f)| (*id, f)), render::execution)
                }
                "trade/orders-algo-pending" => {
                    let rows =
                        x.ledger.algos.iter().rev().filter(|(_, a)| a.status == AlgoStatus::Live && by_inst(&a.inst));
                    page(&request, rows.map(|(id, a)| (*id, a)), render::algo)
                }
                "trade/orders-algo-history" => {
                    let rows = x.ledger.algos.iter().rev().filter(|(_, a)| {
                        a.status != AlgoStatus::Live
                            && by_inst(&a.inst)
                            && wanted("state", a.status.okx())
                            && wanted("algoId", &a.id.to_string())
                    });
                    page(&request, rows.map(|(id, a)| (*id, a)), render::algo)
                }
                _ => Vec::new(),
            }))
        })
        .await?
}

/// As REST has it: the last fill's price and size, but not its fee or side of the book, which only the
/// stream and the fill list tell.
fn render_order(x: &super::super::core::Exchange, order: &Order) -> Value {
    let mut row = render::order(order, order.last_fill.and_then(|id| x.ledger.executions.get(&id)));
    if let Some(fields) = row.as_object_mut() {
        for only_pushed in
            ["fillFee", "fillFeeCcy", "execType", "fillPnl", "notionalUsd", "amendResult", "reqId", "code", "msg"]
        {
            fields.remove(only_pushed);
        }
    }
    row
}

/// Two hours after it ended without a fill, an order is as if it had never been.
fn forgotten(x: &super::super::core::Exchange, order: &Order) -> bool {
    !order.status.is_open() && order.filled.is_zero() && x.now().since(order.updated) > Ms::secs(7200)
}
