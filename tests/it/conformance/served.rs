//! The exchange's replies and pushes against captured ones: every key of a captured row is there,
//! with the same JSON type. What differs is listed here, with the reason, and the list is kept
//! true.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::{fixtures, rows};
use crate::harness::{Exchange, raw, signed};

/// (captured file, keys that ours lacks or has as another type, reason).
const DIFFERENCES: [(&str, &[&str], &str); 3] = [
    (
        "nautilus/http_balance_detail_old_fields.json",
        &["clSpotInUse", "maxSpotInUse", "spotInUse"],
        "older names; OKX sends clSpotInUseAmt, maxSpotInUseAmt and spotInUseAmt now, and so do we",
    ),
    (
        "nautilus/http_get_trade_fee_response.json",
        &["uly"],
        "the newer capture of this endpoint has no uly",
    ),
    (
        "okxnet/ws_AdvancedAlgoOrder.json",
        &["count", "pTime"],
        "fields of iceberg and TWAP orders, which are not served",
    ),
];

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    }
}

/// Keys of `captured` that `ours` lacks or has as something else, as paths.
fn differences(captured: &Value, ours: &Value, path: &str, out: &mut BTreeSet<String>) {
    match (captured, ours) {
        (Value::Object(captured), Value::Object(ours)) => {
            for (key, value) in captured {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                match ours.get(key) {
                    Some(ours) => differences(value, ours, &path, out),
                    None => drop(out.insert(path)),
                }
            }
        }
        // Lists of the same things: compared by their first; rows of columns: column by column.
        (Value::Array(captured), Value::Array(ours)) => {
            let is_row = path.is_empty() || path.ends_with("[]");
            let columns = is_row && captured.iter().all(Value::is_string);
            if columns && captured.len() != ours.len() {
                out.insert(format!("{path}[{}]", captured.len()));
            } else if let (false, Some(captured), Some(ours)) =
                (columns, captured.first(), ours.first())
            {
                differences(captured, ours, &format!("{path}[]"), out);
            }
        }
        (captured, ours) if kind(captured) != kind(ours) => drop(out.insert(path.to_owned())),
        _ => {}
    }
}

/// An exchange on which everything that can be asked about has happened.
fn busy_exchange() -> Exchange {
    let exchange = Exchange::start(&["--seed", "3"]);
    let post = |path: &str, body: Value| {
        let (status, reply) = signed(
            &exchange,
            "POST",
            &format!("/api/v5/{path}"),
            &body.to_string(),
        );
        assert_eq!(
            (status, &reply["code"]),
            (200, &json!("0")),
            "{path}: {reply}"
        );
        reply
    };
    let last: f64 = ticker(&exchange, "BTC-USDT-SWAP")["last"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let price = |share: f64| format!("{:.1}", last * share);
    let swap = json!({"instId": "BTC-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "3"});
    let with = |more: Value| {
        let mut body = swap.clone();
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    post("trade/order", swap.clone());
    post(
        "trade/order",
        json!({"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "market", "sz": "500"}),
    );
    let stops = json!([{"attachAlgoClOrdId": "att", "slTriggerPx": price(0.8), "slOrdPx": "-1", "tpTriggerPx": price(1.2), "tpOrdPx": "-1"}]);
    post(
        "trade/order",
        with(
            json!({"ordType": "limit", "px": price(0.97), "clOrdId": "rests", "attachAlgoOrds": stops}),
        ),
    );
    post(
        "trade/order-algo",
        with(
            json!({"ordType": "conditional", "side": "sell", "slTriggerPx": price(0.9), "slOrdPx": "-1", "reduceOnly": "true"}),
        ),
    );
    post(
        "trade/order-algo",
        with(
            json!({"ordType": "trigger", "triggerPx": price(0.9), "orderPx": "-1", "algoClOrdId": "trig"}),
        ),
    );
    let gone = post(
        "trade/order-algo",
        with(json!({"ordType": "trigger", "triggerPx": price(0.9), "orderPx": "-1"})),
    );
    post(
        "trade/cancel-algos",
        json!([{"instId": "BTC-USDT-SWAP", "algoId": gone["data"][0]["algoId"]}]),
    );
    exchange
}

fn ticker(exchange: &Exchange, inst: &str) -> Value {
    let text = exchange.http("GET", &format!("/api/v5/market/ticker?instId={inst}"), "");
    serde_json::from_str::<Value>(&text).unwrap()["data"][0].take()
}

/// Endpoint, as the index of captures names it → the request whose answer stands for it.
fn requests(rests: &str, algo: &str) -> Vec<(String, String, Value)> {
    let get = |target: &str| {
        (
            format!("GET /api/v5/{target}"),
            format!("/api/v5/{target}"),
            Value::Null,
        )
    };
    let of = |name: &str, target: &str| {
        (
            format!("GET /api/v5/{name}"),
            format!("/api/v5/{target}"),
            Value::Null,
        )
    };
    let post = |target: &str, body: Value| {
        (
            format!("POST /api/v5/{target}"),
            format!("/api/v5/{target}"),
            body,
        )
    };
    let order = json!({"instId": "ETH-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"});
    let swap = |more: Value| {
        let mut body = json!({"instId": "BTC-USDT-SWAP"});
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        body
    };
    let trigger = json!({"tdMode": "cross", "side": "buy", "ordType": "trigger", "sz": "1", "triggerPx": "1000", "orderPx": "-1"});
    let trailing = json!({"tdMode": "cross", "side": "sell", "ordType": "move_order_stop", "sz": "1", "callbackRatio": "0.1"});
    vec![
        get("public/time"),
        get("public/instruments?instType=SPOT"),
        get("public/instruments?instType=SWAP"),
        of("public/instruments", "account/instruments?instType=SWAP"),
        of(
            "public/mark-price",
            "public/mark-price?instType=SWAP&instId=BTC-USDT-SWAP",
        ),
        of(
            "public/price-limit",
            "public/price-limit?instId=BTC-USDT-SWAP",
        ),
        of(
            "public/funding-rate",
            "public/funding-rate?instId=BTC-USDT-SWAP",
        ),
        of(
            "public/funding-rate-history",
            "public/funding-rate-history?instId=BTC-USDT-SWAP",
        ),
        of(
            "public/open-interest",
            "public/open-interest?instType=SWAP&instId=BTC-USDT-SWAP",
        ),
        of(
            "public/position-tiers",
            "public/position-tiers?instType=SWAP&tdMode=cross&instFamily=BTC-USDT",
        ),
        of("market/ticker", "market/ticker?instId=BTC-USDT-SWAP"),
        of("market/tickers", "market/tickers?instType=SWAP"),
        of("market/candles", "market/candles?instId=BTC-USDT"),
        of(
            "market/history-candles",
            "market/history-candles?instId=BTC-USDT",
        ),
        of(
            "market/mark-price-candles",
            "market/mark-price-candles?instId=BTC-USDT",
        ),
        of("market/books", "market/books?instId=BTC-USDT&sz=5"),
        of("market/trades", "market/trades?instId=BTC-USDT"),
        of(
            "market/history-trades",
            "market/history-trades?instId=BTC-USDT",
        ),
        get("account/config"),
        get("account/balance"),
        get("account/positions"),
        of(
            "account/leverage-info",
            "account/leverage-info?instId=BTC-USDT-SWAP&mgnMode=cross",
        ),
        of(
            "account/trade-fee",
            "account/trade-fee?instType=SPOT&instId=BTC-USDT",
        ),
        of(
            "account/max-size",
            "account/max-size?instId=BTC-USDT&tdMode=cash",
        ),
        of(
            "account/max-avail-size",
            "account/max-avail-size?instId=BTC-USDT&tdMode=cash",
        ),
        get("account/bills"),
        get("account/bills-archive"),
        of(
            "trade/order",
            "trade/order?instId=BTC-USDT-SWAP&clOrdId=rests",
        ),
        get("trade/orders-pending"),
        of("trade/orders-history", "trade/orders-history?instType=SPOT"),
        of(
            "trade/orders-history-archive",
            "trade/orders-history-archive?instType=SPOT",
        ),
        get("trade/fills"),
        of("trade/fills-history", "trade/fills-history?instType=SPOT"),
        of("trade/order-algo", "trade/order-algo?algoClOrdId=trig"),
        of(
            "trade/orders-algo-pending",
            "trade/orders-algo-pending?ordType=trigger",
        ),
        of(
            "trade/orders-algo-history",
            "trade/orders-algo-history?ordType=trigger&state=canceled",
        ),
        get("trade/account-rate-limit"),
        post(
            "account/set-leverage",
            swap(json!({"lever": "6", "mgnMode": "cross"})),
        ),
        post("account/set-position-mode", json!({"posMode": "net_mode"})),
        post("trade/order", order.clone()),
        post("trade/batch-orders", json!([order.clone(), order])),
        post(
            "trade/amend-order",
            swap(json!({"ordId": rests, "newSz": "2"})),
        ),
        post(
            "trade/amend-batch-orders",
            json!([swap(json!({"ordId": rests, "newSz": "4"}))]),
        ),
        post("trade/cancel-order", swap(json!({"ordId": rests}))),
        post(
            "trade/cancel-batch-orders",
            json!([swap(json!({"ordId": rests}))]),
        ),
        post(
            "trade/amend-algos",
            swap(json!({"algoId": algo, "newSz": "1"})),
        ),
        post("trade/cancel-algos", json!([swap(json!({"algoId": algo}))])),
        post(
            "trade/cancel-advance-algos",
            json!([swap(json!({"algoId": algo}))]),
        ),
        post("trade/order-algo", swap(trigger)),
        post("trade/order-algo", swap(trailing)),
        post("trade/cancel-all-after", json!({"timeOut": "30"})),
        post(
            "trade/close-position",
            json!({"instId": "ETH-USDT-SWAP", "mgnMode": "cross"}),
        ),
    ]
}

/// Returns the index's name of an endpoint or channel, without its remarks: `GET /api/v5/…` or `WS
/// channel`.
fn name_of(endpoint: &str) -> String {
    let bare = endpoint
        .split(" (")
        .next()
        .unwrap_or(endpoint)
        .split(',')
        .next()
        .unwrap_or(endpoint);
    let bare = bare
        .split(" rejected")
        .next()
        .unwrap_or(bare)
        .split(" recorded")
        .next()
        .unwrap_or(bare);
    match bare.split_once("channel ") {
        Some((_, channel)) if channel.starts_with("candle") => "WS candle1m".into(),
        Some((_, channel)) if channel.starts_with("mark-price-candle") => {
            "WS mark-price-candle1m".into()
        }
        Some((_, channel)) => format!("WS {channel}"),
        None => bare.to_owned(),
    }
}

/// URL and subscription argument of every channel.
fn channels() -> Vec<(&'static str, Value)> {
    let of = |channel: &str, inst: &str| json!({"channel": channel, "instId": inst});
    let mut all: Vec<(&str, Value)> = [
        "tickers",
        "trades",
        "books",
        "books5",
        "bbo-tbt",
        "mark-price",
        "price-limit",
    ]
    .map(|channel| ("public", of(channel, "BTC-USDT")))
    .into();
    all.push(("public", of("funding-rate", "BTC-USDT-SWAP")));
    all.push((
        "public",
        json!({"channel": "instruments", "instType": "SWAP"}),
    ));
    for channel in ["candle1m", "mark-price-candle1m", "trades-all"] {
        all.push(("business", of(channel, "BTC-USDT")));
    }
    for (url, channel) in [
        ("business", "orders-algo"),
        ("business", "algo-advance"),
        ("private", "positions"),
        ("private", "orders"),
    ] {
        all.push((url, json!({"channel": channel, "instType": "ANY"})));
    }
    for channel in ["account", "balance_and_position"] {
        all.push(("private", json!({"channel": channel})));
    }
    all
}

/// The first push of each channel of `url`, while something trades.
async fn pushes(exchange: &Exchange, url: &str) -> BTreeMap<String, Value> {
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("{}/{url}", exchange.text("ws")))
            .await
            .unwrap();
    if url != "public" {
        let secrets = alpha_arena::venue::Secrets {
            api_key: exchange.text("api_key").to_owned().into(),
            secret: exchange.text("secret").to_owned().into(),
            passphrase: exchange.text("passphrase").to_owned().into(),
        };
        let login = alpha_arena::venue::Signer::new(secrets)
            .login(alpha_arena::domain::Ms(alpha_arena::runtime::wall_ms()));
        socket.send(Message::text(login)).await.unwrap();
        socket.next().await.unwrap().unwrap();
    }
    let args: Vec<Value> = channels()
        .into_iter()
        .filter(|(of, _)| *of == url)
        .map(|(_, arg)| arg)
        .collect();
    let wanted: BTreeSet<String> = args
        .iter()
        .map(|arg| arg["channel"].as_str().unwrap().to_owned())
        .collect();
    socket
        .send(Message::text(
            json!({"op": "subscribe", "args": args}).to_string(),
        ))
        .await
        .unwrap();
    let mut heard = BTreeMap::new();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(15);
    let mut acted = false;
    while heard.len() < wanted.len() {
        if !acted && url != "public" {
            acted = true;
            let body = json!({"instId": "SOL-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1"});
            signed(exchange, "POST", "/api/v5/trade/order", &body.to_string());
            let stop = json!({"instId": "SOL-USDT-SWAP", "tdMode": "cross", "side": "sell", "ordType": "trigger", "sz": "1", "triggerPx": "1", "orderPx": "-1"});
            signed(
                exchange,
                "POST",
                "/api/v5/trade/order-algo",
                &stop.to_string(),
            );
            let trail = json!({"instId": "SOL-USDT-SWAP", "tdMode": "cross", "side": "sell", "ordType": "move_order_stop", "sz": "1", "callbackRatio": "0.1"});
            signed(
                exchange,
                "POST",
                "/api/v5/trade/order-algo",
                &trail.to_string(),
            );
        }
        let message = tokio::time::timeout_at(deadline, socket.next()).await;
        let message = message
            .unwrap_or_else(|_| panic!("{url}: only {:?} of {wanted:?} spoke", heard.keys()))
            .unwrap()
            .unwrap();
        let frame: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
        assert_ne!(frame["event"], "error", "{frame}");
        if let (Some(channel), Some(row)) = (frame["arg"]["channel"].as_str(), frame["data"].get(0))
        {
            heard
                .entry(channel.to_owned())
                .or_insert_with(|| row.clone());
        }
    }
    heard
}

/// One row of every reply and channel that is served, by the name the index gives it.
fn samples() -> BTreeMap<String, Vec<Value>> {
    let exchange = busy_exchange();
    let (_, order) = signed(
        &exchange,
        "GET",
        "/api/v5/trade/order?instId=BTC-USDT-SWAP&clOrdId=rests",
        "",
    );
    let (_, algo) = signed(
        &exchange,
        "GET",
        "/api/v5/trade/order-algo?algoClOrdId=trig",
        "",
    );
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_else(|| panic!("{order} {algo}"))
            .to_owned()
    };
    let (rests, algo) = (
        text(&order["data"][0]["ordId"]),
        text(&algo["data"][0]["algoId"]),
    );
    let mut samples: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (name, target, body) in requests(&rests, &algo) {
        let (method, body) = if body.is_null() {
            ("GET", String::new())
        } else {
            ("POST", body.to_string())
        };
        let (status, reply) = signed(&exchange, method, &target, &body);
        assert!(
            status == 200 && reply["data"][0] != Value::Null,
            "{target}: {status} {reply}"
        );
        samples
            .entry(name)
            .or_default()
            .push(reply["data"][0].clone());
    }
    let detail = samples["GET /api/v5/account/balance"][0]["details"][0].clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for url in ["public", "business", "private"] {
        for (channel, row) in runtime.block_on(pushes(&exchange, url)) {
            samples.insert(format!("WS {channel}"), vec![row]);
        }
    }
    for (op, rest) in [
        ("order", "order"),
        ("batch-orders", "batch-orders"),
        ("cancel-order", "cancel-order"),
        ("batch-cancel-orders", "cancel-batch-orders"),
        ("amend-order", "amend-order"),
        ("batch-amend-orders", "amend-batch-orders"),
    ] {
        // One function answers both; its envelope over the socket is checked by the clients'
        // scripts.
        let row = samples[&format!("POST /api/v5/trade/{rest}")].clone();
        samples.insert(format!("WS op {op}"), row);
    }
    let (status, refused) = raw(
        exchange.text("rest"),
        "GET",
        "/api/v5/account/balance",
        "",
        "OK-ACCESS-KEY: x\r\nOK-ACCESS-PASSPHRASE: x\r\nOK-ACCESS-TIMESTAMP: x\r\nOK-ACCESS-SIGN: x\r\n",
    );
    assert_eq!(status, 401);
    samples.insert(
        "any private GET with an unknown key".into(),
        vec![serde_json::from_str(&refused).unwrap()],
    );
    let hasty = (0..30)
        .map(|_| signed(&exchange, "GET", "/api/v5/account/config", ""))
        .find(|(status, _)| *status == 429);
    samples.insert(
        "any REST".into(),
        vec![hasty.expect("the limit is five in two seconds").1],
    );
    samples.insert("GET /api/v5/account/balance details".into(), vec![detail]);
    samples
}

/// Keys and types of a value, for a file that people can read: `{"px":"text"}`.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| (key.clone(), shape(value)))
            .collect(),
        Value::Array(rows) => rows.first().map_or(json!([]), |row| json!([shape(row)])),
        other => json!(kind(other)),
    }
}

/// Without the captures this still holds every reply to the shape it had when it was compared with
/// them. `UPDATE=1 cargo test --test it shape` writes the file anew.
#[test]
fn replies_and_pushes_keep_their_shape() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/shapes.json");
    let now: BTreeMap<String, Value> = samples()
        .iter()
        .map(|(name, rows)| (name.clone(), shape(&rows[0])))
        .collect();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, serde_json::to_string_pretty(&now).unwrap() + "\n").unwrap();
    }
    let kept: BTreeMap<String, Value> =
        serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    assert_eq!(
        kept.keys().collect::<Vec<_>>(),
        now.keys().collect::<Vec<_>>()
    );
    for (name, kept) in &kept {
        assert_eq!(kept, &now[name], "{name}");
    }
    println!("{} replies and channels keep their shape", kept.len());
}

/// Keys and types are the captured ones, except for the listed differences.
#[test]
fn replies_and_pushes_match_the_captures() {
    let Some(dir) = fixtures() else { return };
    let samples = samples();
    let detail = &samples["GET /api/v5/account/balance details"][0];
    let (mut compared, mut found, mut unserved) = (0, BTreeSet::new(), 0);
    for (file, endpoint) in super::index(&dir) {
        let text = std::fs::read_to_string(dir.join(&file)).unwrap();
        let Some(captured) = rows(&text, file.ends_with(".jsonl")).into_iter().next() else {
            continue;
        };
        // One file of orders is filed under algo orders; its frame says what it is.
        let is_order = endpoint.ends_with("orders-algo") && captured.get("accFillSz").is_some();
        let name = if is_order {
            "WS orders".to_owned()
        } else {
            name_of(&endpoint)
        };
        let Some(ours) = samples.get(&name) else {
            unserved += 1;
            continue;
        };
        let ours = if endpoint.contains("details[]") {
            detail
        } else {
            ours.iter()
                .find(|row| !misses(&captured, row))
                .unwrap_or(&ours[0])
        };
        let mut out = BTreeSet::new();
        differences(&captured, ours, "", &mut out);
        found.extend(out.into_iter().map(|path| (file.clone(), path)));
        compared += 1;
    }
    println!(
        "{compared} captured messages compared with {} replies and channels, {} keys differ; {unserved} are of what is not served",
        samples.len(),
        found.len()
    );
    let listed: BTreeSet<(String, String)> = DIFFERENCES
        .iter()
        .flat_map(|(file, keys, _)| {
            keys.iter()
                .map(|key| ((*file).to_owned(), (*key).to_owned()))
        })
        .collect();
    let new: Vec<_> = found.difference(&listed).collect();
    let stale: Vec<_> = listed.difference(&found).collect();
    assert!(
        new.is_empty() && stale.is_empty(),
        "not listed: {new:#?}\nlisted but the same: {stale:#?}"
    );
    assert!(compared > 90, "only {compared}");
}

/// True if `ours` lacks anything that was captured.
fn misses(captured: &Value, ours: &Value) -> bool {
    let mut out = BTreeSet::new();
    differences(captured, ours, "", &mut out);
    !out.is_empty()
}
