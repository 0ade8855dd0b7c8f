//! WebSocket sessions: subscribe, login, order operations, pushes. One task each; a slow reader
//! holds up nobody and is closed when it has fallen too far behind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use super::super::engine::Push;
use super::super::render;
use super::{Failure, Site, auth, trade};
use crate::domain::Bar;

/// The server hangs up on a connection without traffic for this long.
const SILENCE: Duration = Duration::from_secs(30);

/// Upgrades `/ws/v5/{public,private,business}`.
pub(super) async fn upgrade(
    State(site): State<Arc<Site>>,
    Path(kind): Path<String>,
    socket: WebSocketUpgrade,
) -> Response {
    let Some(kind) = Kind::parse(&kind) else {
        return Failure::new(404, "404", "Not Found").into_response();
    };
    socket.on_upgrade(move |socket| async move {
        let number = site.connections.fetch_add(1, Ordering::Relaxed);
        let mut session = Session {
            conn_id: format!("{:08x}", number + 0xa4d3_0000),
            kind,
            logged_in: false,
            subscriptions: BTreeMap::new(),
            site,
        };
        session.run(socket).await;
        session.leave();
    })
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Public,
    Private,
    Business,
}

impl Kind {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "public" => Some(Kind::Public),
            "private" => Some(Kind::Private),
            "business" => Some(Kind::Business),
            _ => None,
        }
    }

    /// Where a channel lives; `None` if there is no such channel.
    fn of(channel: &str) -> Option<Kind> {
        match channel {
            "tickers" | "trades" | "books5" | "bbo-tbt" | "mark-price" => Some(Kind::Public),
            "orders" | "account" | "positions" => Some(Kind::Private),
            "orders-algo" => Some(Kind::Business),
            _ => channel.strip_prefix("candle").and_then(|bar| bar.parse::<Bar>().ok()).map(|_| Kind::Business),
        }
    }
}

struct Session {
    site: Arc<Site>,
    conn_id: String,
    kind: Kind,
    logged_in: bool,
    /// (channel, instrument or type or "") → the argument as the client wrote it.
    subscriptions: BTreeMap<(String, String), Value>,
}

impl Session {
    async fn run(&mut self, socket: WebSocket) {
        let (mut out, mut input) = socket.split();
        let mut pushes = self.site.engine.listen();
        let mut quiet_until = Instant::now() + SILENCE;
        loop {
            let mut frames = Vec::new();
            tokio::select! {
                biased;
                message = input.next() => match message {
                    Some(Ok(Message::Text(text))) => frames = self.on_frame(text.as_str()).await,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                push = pushes.recv() => match push {
                    Ok(push) => frames.extend(self.on_push(&push)),
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                },
                () = sleep_until(quiet_until) => return,
            }
            if !frames.is_empty() {
                quiet_until = Instant::now() + SILENCE;
            }
            for frame in frames {
                if out.send(Message::Text(frame.into())).await.is_err() {
                    return;
                }
            }
        }
    }

    fn leave(&mut self) {
        for (channel, inst) in std::mem::take(&mut self.subscriptions).into_keys() {
            self.unwant(&channel, &inst);
        }
    }

    fn unwant(&self, channel: &str, inst: &str) {
        self.site.engine.want(channel, inst, false);
        if channel == "orders" {
            self.site.orders_subscribers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn error(&self, code: &str, msg: &str, id: &Value) -> String {
        let mut frame = json!({"event": "error", "code": code, "msg": msg, "connId": self.conn_id});
        if !id.is_null() {
            frame["id"] = id.clone();
        }
        frame.to_string()
    }

    async fn on_frame(&mut self, text: &str) -> Vec<String> {
        if text == "ping" {
            return vec!["pong".to_owned()];
        }
        let frame: Value = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(_) => return vec![self.error("60012", &format!("Invalid request: {text}"), &Value::Null)],
        };
        let id = &frame["id"];
        let empty = Vec::new();
        let args = frame["args"].as_array().unwrap_or(&empty);
        match frame["op"].as_str().unwrap_or("") {
            "login" => vec![self.login(args.first().unwrap_or(&Value::Null))],
            "subscribe" => {
                let mut frames = Vec::new();
                for arg in args {
                    frames.extend(self.subscribe(arg, id).await);
                }
                frames
            }
            "unsubscribe" => args.iter().map(|arg| self.unsubscribe(arg, id)).collect(),
            op @ ("order" | "cancel-order") => vec![self.operate(op, &frame, args).await],
            _ => vec![self.error("60012", &format!("Invalid request: {text}"), id)],
        }
    }

    fn login(&mut self, args: &Value) -> String {
        if self.kind == Kind::Public {
            return self.error("60018", "Login is not supported on this URL", &Value::Null);
        }
        if self.logged_in {
            return self.error("60031", "The connection is already logged in", &Value::Null);
        }
        match auth::check_login(&self.site, args, self.site.engine.clock.now()) {
            Ok(()) => {
                self.logged_in = true;
                json!({"event": "login", "code": "0", "msg": "", "connId": self.conn_id}).to_string()
            }
            Err((code, msg)) => self.error(code, msg, &Value::Null),
        }
    }

    async fn subscribe(&mut self, arg: &Value, id: &Value) -> Vec<String> {
        let channel = arg["channel"].as_str().unwrap_or("").to_owned();
        let Some(home) = Kind::of(&channel) else {
            return vec![self.error("60018", &format!("Wrong URL or channel:{channel} doesn't exist."), id)];
        };
        if home != self.kind {
            let code = if home == Kind::Business { "64001" } else { "60018" };
            return vec![self.error(code, &format!("Channel {channel} is not served on this URL."), id)];
        }
        let private = matches!(channel.as_str(), "orders" | "account" | "positions" | "orders-algo");
        if private && !self.logged_in {
            return vec![self.error("60011", "Please log in", id)];
        }
        let inst = subject(arg).to_owned();
        if !private && self.site.engine.market.get(&inst).is_none() {
            return vec![self.error(
                "60018",
                &format!("Wrong URL or channel:{channel},instId:{inst} doesn't exist."),
                id,
            )];
        }
        let mut ack = json!({"event": "subscribe", "arg": arg, "connId": self.conn_id});
        if !id.is_null() {
            ack["id"] = id.clone();
        }
        let mut frames = vec![ack.to_string()];
        if self.subscriptions.insert((channel.clone(), inst.clone()), arg.clone()).is_none() {
            self.site.engine.want(&channel, &inst, true);
            if channel == "orders" {
                let count = self.site.orders_subscribers.fetch_add(1, Ordering::Relaxed) + 1;
                frames.push(
                    json!({"event": "channel-conn-count", "channel": "orders", "connCount": count.to_string(),
                        "connId": self.conn_id})
                    .to_string(),
                );
            }
        }
        frames.extend(self.first_push(&channel, &inst, arg).await);
        frames
    }

    /// What a channel says at once: the account and positions as they are, the market as it is.
    async fn first_push(&self, channel: &str, inst: &str, arg: &Value) -> Option<String> {
        let (channel, inst) = (channel.to_owned(), inst.to_owned());
        let snapshot = matches!(channel.as_str(), "account" | "positions");
        let data = self
            .site
            .engine
            .ask(move |x| match channel.as_str() {
                "account" => Some(format!("[{}]", render::balance(x))),
                "positions" => {
                    let open = x.ledger.positions.iter().filter(|(_, p)| !p.qty.is_zero());
                    let rows: Vec<String> = open.map(|(inst, _)| render::position(x, inst).to_string()).collect();
                    Some(format!("[{}]", rows.join(",")))
                }
                "orders" | "orders-algo" => None,
                _ => {
                    let market = Arc::clone(&x.market);
                    market.get(&inst).and_then(|listed| render::market(x, listed, &channel))
                }
            })
            .await
            .ok()??;
        let kind = if snapshot { r#""eventType":"snapshot","curPage":1,"lastPage":true,"# } else { "" };
        Some(format!(r#"{{"arg":{arg},{kind}"data":{data}}}"#))
    }

    fn unsubscribe(&mut self, arg: &Value, id: &Value) -> String {
        let key = (arg["channel"].as_str().unwrap_or("").to_owned(), subject(arg).to_owned());
        if self.subscriptions.remove(&key).is_some() {
            self.unwant(&key.0, &key.1);
        }
        let mut ack = json!({"event": "unsubscribe", "arg": arg, "connId": self.conn_id});
        if !id.is_null() {
            ack["id"] = id.clone();
        }
        ack.to_string()
    }

    async fn operate(&self, op: &str, frame: &Value, args: &[Value]) -> String {
        let id = &frame["id"];
        if self.kind != Kind::Private {
            return self.error("60018", "Order operations are not served on this URL", id);
        }
        if !self.logged_in {
            return self.error("60011", "Please log in", id);
        }
        let (Some(id_text), [arg]) = (id.as_str(), args) else {
            return self.error("60013", "Invalid args", id);
        };
        // WebSocket operations name the instrument by its code; a given instId is ignored.
        let Some(code) = arg["instIdCode"].as_i64() else {
            return self.error("60013", "Parameter instIdCode can not be empty", id);
        };
        let Some(inst) = self
            .site
            .engine
            .market
            .all()
            .find(|l| l.listing.inst.code == Some(code))
            .map(|l| l.listing.inst.id.clone())
        else {
            return self.error("60013", "Invalid instIdCode", id);
        };
        let mut body = arg.clone();
        body["instId"] = json!(inst);
        let received = self.site.engine.clock.now();
        let endpoint = if op == "order" { "trade/order" } else { "trade/cancel-order" };
        if !self.site.limits.admit(endpoint, inst.as_str(), received) {
            return json!({"id": id_text, "op": op, "code": "50011", "msg": "Too Many Requests", "data": [],
                "inTime": "", "outTime": ""})
            .to_string();
        }
        let item = if op == "order" {
            let exp = frame["expTime"]
                .as_str()
                .map_or_else(|| frame["expTime"].as_i64().map(|n| n.to_string()).unwrap_or_default(), str::to_owned);
            trade::place_one(&self.site, &exp, body, received).await
        } else {
            trade::cancel_one(&self.site, body).await
        };
        match item {
            Ok(item) => {
                let mut reply: Value =
                    serde_json::from_str(&trade::envelope(received, item, &self.site)).unwrap_or(Value::Null);
                reply["id"] = json!(id_text);
                reply["op"] = json!(op);
                reply.to_string()
            }
            Err(failure) => self.error(&failure.code, &failure.msg, id),
        }
    }

    fn on_push(&self, push: &Push) -> Vec<String> {
        let wanted = self.subscriptions.iter().filter(|((channel, subject), _)| {
            *channel == push.channel
                && (subject.is_empty() || subject == "ANY" || *subject == push.inst || subject == push.inst_type)
        });
        let event = if matches!(push.channel.as_str(), "account" | "positions") {
            r#""eventType":"event_update","#
        } else {
            ""
        };
        wanted.map(|(_, arg)| format!(r#"{{"arg":{arg},{event}"data":{}}}"#, push.data)).collect()
    }
}

/// What a subscription is about: an instrument, else a type of instrument, else everything.
fn subject(arg: &Value) -> &str {
    arg["instId"].as_str().or_else(|| arg["instType"].as_str()).unwrap_or("")
}
