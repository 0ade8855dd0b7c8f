//! The exchange by itself: every endpoint, every fault, slow readers, TLS, recordings.

use std::time::Duration;

use alpha_arena::domain::Ms;
use alpha_arena::runtime::wall_ms;
use alpha_arena::venue::{Secrets, Signer};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::harness::{Exchange, raw, signed, wait_for};

type Socket = WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>;

const SWAP: &str = "BTC-USDT-SWAP";

fn faults(exchange: &Exchange, rules: Value) {
    let reply = exchange.http("POST", "/sim/faults", &json!({"rules": rules}).to_string());
    assert!(reply.contains("rules"), "{reply}");
}

fn order(cl_ord_id: &str) -> String {
    json!({"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "market", "sz": "1", "clOrdId": cl_ord_id})
        .to_string()
}

fn place(exchange: &Exchange, cl_ord_id: &str) -> (u16, Value) {
    signed(exchange, "POST", "/api/v5/trade/order", &order(cl_ord_id))
}

/// Client ids of orders that exist.
fn orders(exchange: &Exchange) -> Vec<String> {
    let ledger = exchange.ledger();
    ledger["orders"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["clOrdId"].as_str().unwrap().to_owned())
        .collect()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

async fn connect(exchange: &Exchange, url: &str, args: Value) -> Socket {
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("{}/{url}", exchange.text("ws")))
            .await
            .unwrap();
    if url == "private" {
        let secrets = Secrets {
            api_key: exchange.text("api_key").to_owned().into(),
            secret: exchange.text("secret").to_owned().into(),
            passphrase: exchange.text("passphrase").to_owned().into(),
        };
        socket
            .send(Message::text(Signer::new(secrets).login(Ms(wall_ms()))))
            .await
            .unwrap();
        assert_eq!(next(&mut socket).await.unwrap()["event"], "login");
    }
    socket
        .send(Message::text(
            json!({"op": "subscribe", "args": args}).to_string(),
        ))
        .await
        .unwrap();
    socket
}

/// The next frame; `None` when the connection is gone or nothing comes for three seconds.
async fn next(socket: &mut Socket) -> Option<Value> {
    let message = tokio::time::timeout(Duration::from_secs(3), socket.next())
        .await
        .ok()??
        .ok()?;
    serde_json::from_str(message.to_text().ok()?).ok()
}

/// The next push of a channel.
async fn push(socket: &mut Socket, channel: &str) -> Option<Value> {
    loop {
        let frame = next(socket).await?;
        if frame["arg"]["channel"] == channel && frame.get("data").is_some() {
            return Some(frame);
        }
    }
}

/// A request that is lost leaves none.
#[test]
fn lost_answer_leaves_the_order() {
    let exchange = Exchange::start(&[]);
    let strike = |action: &str| {
        faults(
            &exchange,
            json!([{"match": {"path": "POST trade/order", "nth": 1}, "action": action}]),
        )
    };
    // (fault, what the client sees, was the order placed?)
    for (action, status, placed) in [
        ("drop_before", 0, false),
        ("drop_after", 0, true),
        ("fail_before", 503, false),
        ("fail_after", 503, true),
        ("html", 502, true),
    ] {
        strike(action);
        let name = action.replace('_', "");
        let (got, _) = place(&exchange, &name);
        assert_eq!(got, status, "{action}");
        assert_eq!(orders(&exchange).contains(&name), placed, "{action}");
        assert_eq!(
            place(&exchange, &format!("{name}2")).0,
            200,
            "only the first is struck"
        );
    }
    strike("cut_body");
    let (status, body) = place(&exchange, "cut");
    assert!(
        status == 200 && body.as_str().is_some_and(|half| !half.is_empty()),
        "half of an answer: {body}"
    );
    assert!(orders(&exchange).contains(&"cut".to_owned()));
    strike("duplicate");
    assert_eq!(place(&exchange, "double").1["data"][0]["sCode"], "0");
    assert_eq!(
        orders(&exchange)
            .iter()
            .filter(|id| *id == "double")
            .count(),
        2,
        "the wire repeated it"
    );
    let hits: Value = serde_json::from_str(&exchange.http("GET", "/sim/faults", "")).unwrap();
    assert_eq!(hits["rules"][0]["hits"], 1);
}

/// As faults of the exchange: old orders and fills are gone, and its clock is a minute off.
#[test]
fn history_purge_and_clock_skew_work() {
    let exchange = Exchange::start(&[]);
    place(&exchange, "old");
    let find = |id: &str| {
        signed(
            &exchange,
            "GET",
            &format!("/api/v5/trade/order?instId={SWAP}&clOrdId={id}"),
            "",
        )
        .1
    };
    assert_eq!(find("old")["code"], "0");
    faults(&exchange, json!([{"action": "purge_history"}]));
    assert_eq!(find("old")["code"], "51603");
    assert_eq!(
        signed(&exchange, "GET", "/api/v5/trade/fills", "").1["data"],
        json!([])
    );
    place(&exchange, "new");
    assert_eq!(find("new")["code"], "0");
    let shown = || {
        let text = exchange.http("GET", "/api/v5/public/time", "");
        serde_json::from_str::<Value>(&text).unwrap()["data"][0]["ts"]
            .as_str()
            .unwrap()
            .parse::<i64>()
            .unwrap()
    };
    faults(&exchange, json!([{"action": "skew", "ms": 60_000}]));
    assert!(shown() - wall_ms() > 50_000);
    assert_eq!(
        find("new")["code"],
        "50102",
        "a signature of the true time is a minute old"
    );
}

/// Pushes can be muted, doubled, swapped, cut off and flooded.
#[test]
fn pushes_can_be_disturbed() {
    let exchange = Exchange::start(&[]);
    let args = json!([{"channel": "orders", "instType": "ANY"}]);
    runtime().block_on(async {
        let mut socket = connect(&exchange, "private", args.clone()).await;
        let strike = |action: &str, ms: i64| {
            faults(&exchange, json!([{"match": {"path": "push orders", "nth": 1}, "action": action, "ms": ms}]))
        };
        // Two orders that rest say one thing each; the first of the two is muted.
        strike("mute", 0);
        for id in ["mute", "loud"] {
            let body = json!({"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": price(&exchange, SWAP, 0.97), "clOrdId": id});
            signed(&exchange, "POST", "/api/v5/trade/order", &body.to_string());
        }
        let heard = push(&mut socket, "orders").await.unwrap();
        assert_eq!(heard["data"][0]["clOrdId"], "loud", "the first push was muted");
        strike("duplicate", 0);
        place(&exchange, "double");
        let one = push(&mut socket, "orders").await.unwrap();
        let two = push(&mut socket, "orders").await.unwrap();
        assert_eq!(one, two);
        strike("flood", 50);
        place(&exchange, "flood");
        let first = push(&mut socket, "orders").await.unwrap();
        for _ in 1..50 {
            assert_eq!(push(&mut socket, "orders").await.unwrap(), first);
        }
        drop(socket); // or the fault would strike the old one
        let mut socket = connect(&exchange, "private", args.clone()).await;
        push(&mut socket, "nothing").await; // until it is quiet
        strike("disconnect", 0);
        place(&exchange, "cut");
        let end = loop {
            match tokio::time::timeout(Duration::from_secs(3), socket.next()).await {
                Ok(Some(Ok(_))) => {}
                Ok(None | Some(Err(_))) => break true,
                Err(_) => break false,
            }
        };
        assert!(end, "the connection is closed, not merely silent");
        let mut socket = connect(&exchange, "private", args).await;
        push(&mut socket, "nothing").await; // until it is quiet
        faults(&exchange, json!([{"match": {"path": "ws private"}, "action": "half_open"}]));
        socket.send(Message::text("ping")).await.unwrap();
        let silent = tokio::time::timeout(Duration::from_secs(2), socket.next()).await;
        assert!(silent.is_err(), "half-open: open, and silent");
        faults(&exchange, json!([{"match": {"path": "connect private"}, "action": "drop_before"}]));
        assert!(tokio_tungstenite::connect_async(format!("{}/private", exchange.text("ws"))).await.is_err());
    });
}

#[test]
fn swapped_push_arrives_after_the_next() {
    let exchange = Exchange::start(&[]);
    runtime().block_on(async {
        let mut socket = connect(&exchange, "private", json!([{"channel": "orders", "instType": "ANY"}])).await;
        next(&mut socket).await;
        faults(&exchange, json!([{"match": {"path": "push orders", "nth": 1}, "action": "reorder"}]));
        let last: f64 = exchange
            .http("GET", &format!("/api/v5/market/ticker?instId={SWAP}"), "")
            .split("\"last\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next()?.parse().ok())
            .unwrap();
        let px = format!("{:.1}", last * 0.97);
        for id in ["first", "second"] {
            let body = json!({"instId": SWAP, "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1", "px": px, "clOrdId": id});
            signed(&exchange, "POST", "/api/v5/trade/order", &body.to_string());
        }
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let frame = push(&mut socket, "orders").await.unwrap();
            heard.push(frame["data"][0]["clOrdId"].as_str().unwrap().to_owned());
        }
        assert_eq!(heard, ["second", "first"]);
    });
}

#[test]
fn a_slow_reader_holds_up_nobody() {
    let exchange = Exchange::start(&["--speed", "500"]);
    runtime().block_on(async {
        let args = |n: usize| {
            let insts = [
                "BTC-USDT",
                "ETH-USDT",
                "SOL-USDT",
                SWAP,
                "ETH-USDT-SWAP",
                "SOL-USDT-SWAP",
            ];
            Value::Array(
                insts
                    .iter()
                    .take(n)
                    .map(|inst| json!({"channel": "books5", "instId": inst}))
                    .collect(),
            )
        };
        // Subscribes to everything and reads nothing.
        let _slow = connect(&exchange, "public", args(6)).await;
        let mut quick = connect(&exchange, "public", args(6)).await;
        let began = std::time::Instant::now();
        let mut heard = 0;
        while heard < 30_000 {
            push(&mut quick, "books5")
                .await
                .expect("the quick reader is served");
            heard += 1;
        }
        // Some 15 MB: far more than the sockets of the one that does not read can hold.
        println!(
            "{heard} pushes in {:?} beside a reader that reads nothing",
            began.elapsed()
        );
        assert_eq!(place(&exchange, "still").0, 200);
    });
}

/// A service notice is pushed with code 64008; the 31st connection gets an error event.
#[test]
fn notice_and_extra_connection_are_announced() {
    let exchange = Exchange::start(&[]);
    runtime().block_on(async {
        let args = json!([{"channel": "orders", "instType": "ANY"}]);
        let mut sockets = Vec::new();
        for n in 1..=31 {
            let mut socket = connect(&exchange, "private", args.clone()).await;
            assert_eq!(next(&mut socket).await.unwrap()["event"], "subscribe");
            let count = next(&mut socket).await.unwrap();
            let event = if n <= 30 {
                "channel-conn-count"
            } else {
                "channel-conn-count-error"
            };
            assert_eq!(
                (&count["event"], &count["connCount"]),
                (&json!(event), &json!(n.to_string()))
            );
            sockets.push(socket);
        }
        exchange.http("POST", "/sim/notice", "");
        assert_eq!(next(&mut sockets[0]).await.unwrap()["code"], "64008");
    });
}

/// Only orders under its tag are cancelled.
#[test]
fn cancel_all_after_respects_its_tag() {
    let exchange = Exchange::start(&["--speed", "20"]);
    let rest = |id: &str, tag: &str| {
        let body = json!({"instId": "SOL-USDT-SWAP", "tdMode": "cross", "side": "buy", "ordType": "limit", "sz": "1",
            "px": price(&exchange, "SOL-USDT-SWAP", 0.97), "clOrdId": id, "tag": tag});
        let reply = signed(&exchange, "POST", "/api/v5/trade/order", &body.to_string()).1;
        assert_eq!(reply["data"][0]["sCode"], "0", "{reply}");
    };
    rest("mine", "ours");
    rest("other", "theirs");
    let arm = |seconds: &str| {
        signed(
            &exchange,
            "POST",
            "/api/v5/trade/cancel-all-after",
            &json!({"timeOut": seconds, "tag": "ours"}).to_string(),
        )
        .1
    };
    assert_ne!(arm("10")["data"][0]["triggerTime"], "0");
    let state = |id: &str| {
        let row = signed(
            &exchange,
            "GET",
            &format!("/api/v5/trade/order?instId=SOL-USDT-SWAP&clOrdId={id}"),
            "",
        )
        .1;
        (
            row["data"][0]["state"].as_str().unwrap_or("").to_owned(),
            row["data"][0]["cancelSource"].clone(),
        )
    };
    wait_for("the timer", || state("mine").0 == "canceled");
    assert_eq!(state("mine").1, "20");
    assert_ne!(state("other").1, "20");
}

fn price(exchange: &Exchange, inst: &str, share: f64) -> String {
    let text = exchange.http("GET", &format!("/api/v5/market/ticker?instId={inst}"), "");
    let reply: Value = serde_json::from_str(&text).unwrap();
    format!(
        "{:.1}",
        reply["data"][0]["last"]
            .as_str()
            .unwrap()
            .parse::<f64>()
            .unwrap()
            * share
    )
}

#[test]
fn exchange_with_certificate_speaks_only_tls() {
    let dir = tempfile::tempdir().unwrap();
    let pem = dir.path().join("ca.pem");
    let exchange = Exchange::start(&["--tls", pem.to_str().unwrap()]);
    assert!(
        exchange.text("rest").starts_with("https://") && exchange.text("ws").starts_with("wss://")
    );
    let plain = exchange.text("rest").replace("https", "http");
    assert_eq!(
        raw(&plain, "GET", "/api/v5/public/time", "", "").0,
        0,
        "no plain text"
    );
    runtime().block_on(async {
        drop(rustls::crypto::ring::default_provider().install_default());
        let certificate = reqwest::Certificate::from_pem(&std::fs::read(&pem).unwrap()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_merge([certificate])
            .build()
            .unwrap();
        let reply = client
            .get(format!("{}/api/v5/public/time", exchange.text("rest")))
            .send()
            .await
            .unwrap();
        assert!(reply.text().await.unwrap().contains(r#""code":"0""#));
    });
}

/// A broken recording is refused with 65 and its line.
#[test]
fn recording_is_played_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("candles.csv");
    let row = |i: i64| {
        format!(
            "{},{},{},{},{},{}\n",
            1_700_000_040_000 + i * 60_000,
            100 + i,
            105 + i,
            95 + i,
            101 + i,
            2
        )
    };
    let text: String = (0..700).map(row).collect();
    std::fs::write(&file, format!("ts_ms,open,high,low,close,volume\n{text}")).unwrap();
    let exchange = Exchange::start(&["--candles", file.to_str().unwrap(), "--speed", "100"]);
    let reply = exchange.http(
        "GET",
        &format!("/api/v5/market/history-candles?instId={SWAP}&limit=200"),
        "",
    );
    let reply: Value = serde_json::from_str(&reply).unwrap();
    let rows = reply["data"].as_array().unwrap();
    assert_eq!(rows.len(), 200);
    for candle in rows {
        let at: i64 = candle[0].as_str().unwrap().parse().unwrap();
        let i = (at - 1_700_000_040_000) / 60_000;
        assert_eq!(
            (&candle[1], &candle[2], &candle[4], &candle[5]),
            (
                &json!((100 + i).to_string()),
                &json!((105 + i).to_string()),
                &json!((101 + i).to_string()),
                &json!("200")
            )
        );
    }
    std::fs::write(
        &file,
        "ts_ms,open,high,low,close,volume\n60000,1,1,1,1,1\n120000,1,1,2,1,1\n",
    )
    .unwrap();
    let out = std::process::Command::new(crate::harness::BIN)
        .args(["exchange", "--candles", file.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&out.stderr).contains("line 3: impossible: high is below low"));
}
