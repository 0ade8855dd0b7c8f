//! WebSocket sessions: subscribe, login, order operations, pushes. One task each; a slow reader
//! holds up nobody and is closed when it has fallen too far behind.

mod channels;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use self::channels::{
    CONNECTIONS_MAX, Url, extra, first_words, home, is_counted, is_private, needs_higher_tier,
    needs_instrument, subject,
};
use super::super::engine::Push;
use super::faults::{FaultAction, Rule, spoiled};
use super::trade::{self, TradeOp};
use super::{Site, VenueFailure, auth};

pub(super) use channels::ChannelCounts;

/// The server hangs up on a connection without traffic for this long.
const SILENCE: Duration = Duration::from_secs(30);
/// Interval at which account and positions are pushed even if nothing happened.
const REGULAR: Duration = Duration::from_secs(5);
/// Bytes of one request.
const FRAME_MAX: usize = 64 * 1024;
/// Subscribe, unsubscribe and login requests of a connection in an hour.
const REQUESTS_MAX: usize = 480;

/// Upgrades `/ws/v5/{public,private,business}`.
pub(super) async fn upgrade(
    State(site): State<Arc<Site>>,
    Path(url): Path<String>,
    headers: HeaderMap,
    socket: WebSocketUpgrade,
) -> Response {
    let Some(url) = Url::parse(&url) else {
        return VenueFailure::new(404, "404", "Not Found").into_response();
    };
    if let Some(rule) = site.faults.strike(&format!("connect {}", url.name())) {
        match rule.action {
            FaultAction::Delay => {
                tokio::time::sleep(Duration::from_millis(rule.ms.max(0).unsigned_abs())).await
            }
            _ => return super::dropped(),
        }
    }
    let demo = headers.get("x-simulated-trading").map(|value| value == "1");
    socket
        .max_message_size(FRAME_MAX * 4)
        .on_upgrade(move |socket| async move {
            let number = site.connections.fetch_add(1, Ordering::Relaxed);
            let mut session = Session {
                conn_id: format!("{:08x}", number + 0xa4d3_0000),
                url,
                demo,
                logged_in: false,
                requests: 0,
                requests_since: Instant::now(),
                subscriptions: BTreeMap::new(),
                site,
            };
            session.run(socket).await;
            session.leave();
        })
}

/// Action that follows a frame or a push.
enum FrameReply {
    Say(Vec<String>),
    /// The connection ends.
    End,
    /// The connection stays open and says nothing more.
    Silence,
}

/// The pause a rule names.
async fn wait(rule: &Rule) {
    tokio::time::sleep(Duration::from_millis(rule.ms.max(0).unsigned_abs())).await;
}

/// Half-open: hears everything, answers nothing, until the peer gives up.
async fn silent(mut input: futures_util::stream::SplitStream<WebSocket>) {
    while let Some(Ok(_)) = input.next().await {}
}

/// One subscription of a session.
struct ChannelSubscription {
    /// The argument as the client wrote it.
    arg: Value,
    /// For `books`: the showing the client has; older changes are not for it.
    seq: i64,
    /// Wants no regular push.
    events_only: bool,
}

struct Session {
    site: Arc<Site>,
    conn_id: String,
    url: Url,
    demo: Option<bool>,
    logged_in: bool,
    requests: usize,
    requests_since: Instant,
    /// By (channel, instrument or type or "").
    subscriptions: BTreeMap<(String, String), ChannelSubscription>,
}

impl Session {
    async fn run(&mut self, socket: WebSocket) {
        let (mut out, mut input) = socket.split();
        let mut pushes = self.site.engine.listen();
        let mut notices = self.site.notices.subscribe();
        let mut quiet_until = Instant::now() + SILENCE;
        let mut regular = Instant::now() + REGULAR;
        // A push that a fault has put behind the next one.
        let mut held: Vec<String> = Vec::new();
        loop {
            let mut frames = Vec::new();
            tokio::select! {
                biased;
                message = input.next() => match message {
                    Some(Ok(Message::Text(text))) => match self.heard(text.as_str()).await {
                        FrameReply::Say(said) => frames = said,
                        FrameReply::End => return,
                        FrameReply::Silence => return silent(input).await,
                    },
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
                push = pushes.recv() => match push {
                    Ok(push) => match self.pushed(&push, &mut held).await {
                        FrameReply::Say(pushed) => frames = pushed,
                        FrameReply::End => return,
                        FrameReply::Silence => return silent(input).await,
                    },
                    Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                },
                Ok(()) = notices.recv() => frames.extend(self.notice()),
                () = sleep_until(regular) => {
                    regular = Instant::now() + REGULAR;
                    frames = self.regular().await;
                }
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
        while let Some(((channel, inst), _)) = self.subscriptions.pop_first() {
            self.unwant(&channel, &inst);
        }
    }

    fn unwant(&self, channel: &str, inst: &str) {
        self.site.engine.want(channel, inst, false);
        if is_counted(channel) && !self.subscriptions.keys().any(|(other, _)| other == channel) {
            self.site.channel_counts.leave(channel);
        }
    }

    fn error(&self, code: &str, msg: &str, id: &Value) -> String {
        let mut frame = json!({"event": "error", "code": code, "msg": msg, "connId": self.conn_id});
        if !id.is_null() {
            frame["id"] = id.clone();
        }
        frame.to_string()
    }

    /// The notice before maintenance; on the public and private URLs only.
    fn notice(&self) -> Option<String> {
        let msg = "The connection will soon be closed for a service upgrade. Please reconnect.";
        let frame = json!({"event": "notice", "code": "64008", "msg": msg, "connId": self.conn_id});
        (self.url != Url::Business).then(|| frame.to_string())
    }

    /// A frame of the client, after whatever fault strikes the connection.
    async fn heard(&mut self, text: &str) -> FrameReply {
        let Some(rule) = self.site.faults.strike(&format!("ws {}", self.url.name())) else {
            return self.on_frame(text).await;
        };
        match rule.action {
            FaultAction::Mute => FrameReply::Say(Vec::new()),
            FaultAction::HalfOpen => FrameReply::Silence,
            FaultAction::Delay => {
                wait(&rule).await;
                self.on_frame(text).await
            }
            FaultAction::DropAfter => {
                self.on_frame(text).await;
                FrameReply::End
            }
            _ => FrameReply::End,
        }
    }

    async fn on_frame(&mut self, text: &str) -> FrameReply {
        let say = |frame: String| FrameReply::Say(vec![frame]);
        if text == "ping" {
            return say("pong".to_owned());
        }
        if text.len() > FRAME_MAX {
            return say(self.error("60019", "The request is too large", &Value::Null));
        }
        let frame: Value = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(_) => {
                return say(self.error("60012", &format!("Invalid request: {text}"), &Value::Null));
            }
        };
        let id = &frame["id"];
        let empty = Vec::new();
        let args = frame["args"].as_array().unwrap_or(&empty);
        let op = frame["op"].as_str().unwrap_or("");
        if matches!(op, "login" | "subscribe" | "unsubscribe") {
            if self.requests_since.elapsed() > Duration::from_secs(3600) {
                (self.requests, self.requests_since) = (0, Instant::now());
            }
            self.requests += 1;
            if self.requests > REQUESTS_MAX {
                return say(self.error("60014", "Requests too frequent", id));
            }
        }
        match op {
            "login" => say(self.login(args.first().unwrap_or(&Value::Null))),
            "subscribe" => {
                let mut frames = Vec::new();
                for arg in args {
                    frames.extend(self.subscribe(arg, id).await);
                }
                FrameReply::Say(frames)
            }
            "unsubscribe" => {
                FrameReply::Say(args.iter().map(|arg| self.unsubscribe(arg, id)).collect())
            }
            op => match TradeOp::parse(op) {
                Some((kind, batch)) => self.operate(op, (kind, batch), &frame, args).await,
                None => say(self.error("60012", &format!("Invalid request: {text}"), id)),
            },
        }
    }

    fn login(&mut self, args: &Value) -> String {
        if self.url == Url::Public {
            return self.error("60018", "Login is not supported on this URL", &Value::Null);
        }
        if self.logged_in {
            return self.error("60031", "The connection is already logged in", &Value::Null);
        }
        match auth::check_login(&self.site, args, self.demo, self.site.now()) {
            Ok(()) => {
                self.logged_in = true;
                json!({"event": "login", "code": "0", "msg": "", "connId": self.conn_id})
                    .to_string()
            }
            Err((code, msg)) => self.error(code, msg, &Value::Null),
        }
    }

    /// Why this argument cannot be subscribed to.
    fn refusal(&self, channel: &str, inst: &str) -> Option<(&'static str, String)> {
        let Some(home) = home(channel) else {
            return Some((
                "60018",
                format!("Wrong URL or channel:{channel} doesn't exist."),
            ));
        };
        if home != self.url {
            let code = match (home, self.url) {
                (Url::Business, _) => "64001",
                (_, Url::Business) => "64002",
                _ => "60018",
            };
            return Some((
                code,
                format!("Channel {channel} is not served on this URL."),
            ));
        }
        if is_private(channel) && !self.logged_in {
            return Some(("60011", "Please log in".to_owned()));
        }
        if needs_higher_tier(channel) {
            return Some((
                "64003",
                format!("Your trading fee tier doesn't meet the requirement of channel {channel}."),
            ));
        }
        let unknown = needs_instrument(channel) && self.site.engine.market.get(inst).is_none();
        unknown.then(|| {
            (
                "60018",
                format!("Wrong URL or channel:{channel},instId:{inst} doesn't exist."),
            )
        })
    }

    async fn subscribe(&mut self, arg: &Value, id: &Value) -> Vec<String> {
        let channel = arg["channel"].as_str().unwrap_or("").to_owned();
        let inst = subject(arg).to_owned();
        if let Some((code, why)) = self.refusal(&channel, &inst) {
            return vec![self.error(code, &why, id)];
        }
        let mut ack = json!({"event": "subscribe", "arg": arg, "connId": self.conn_id});
        if !id.is_null() {
            ack["id"] = id.clone();
        }
        let mut frames = vec![ack.to_string()];
        let key = (channel.clone(), inst.clone());
        let events_only = extra(arg, "updateInterval").as_deref() == Some("0");
        let subscription = ChannelSubscription {
            arg: arg.clone(),
            seq: i64::MAX,
            events_only,
        };
        if self
            .subscriptions
            .insert(key.clone(), subscription)
            .is_none()
        {
            self.site.engine.want(&channel, &inst, true);
            let first = self
                .subscriptions
                .keys()
                .filter(|(other, _)| *other == channel)
                .count()
                == 1;
            if is_counted(&channel) && first {
                let count = self.site.channel_counts.join(&channel);
                let over = count > CONNECTIONS_MAX;
                let event = if over {
                    "channel-conn-count-error"
                } else {
                    "channel-conn-count"
                };
                frames.push(
                    json!({"event": event, "channel": channel, "connCount": count.to_string(), "connId": self.conn_id})
                        .to_string(),
                );
                if over {
                    self.subscriptions.remove(&key);
                    self.unwant(&channel, &inst);
                    return frames;
                }
            }
        }
        let (asked, of) = (channel.clone(), inst.clone());
        let words = self
            .site
            .engine
            .ask(move |x| first_words(x, &asked, &of))
            .await
            .ok()
            .flatten();
        if words.is_none() && channel == "books" {
            // A book without its snapshot is of no use to anybody.
            self.subscriptions.remove(&key);
            self.unwant(&channel, &inst);
            return vec![self.error("60023", "The book cannot be shown now; subscribe again", id)];
        }
        if let Some(subscription) = self.subscriptions.get_mut(&key) {
            subscription.seq = words.as_ref().and_then(|(_, seq)| *seq).unwrap_or(0);
        }
        frames.extend(
            words.map(|(words, _)| format!(r#"{{"arg":{},{words}}}"#, self.shown(arg, &channel))),
        );
        frames
    }

    /// The argument as pushes repeat it: private channels add the account.
    fn shown(&self, arg: &Value, channel: &str) -> String {
        let mut arg = arg.clone();
        if is_private(channel) {
            arg["uid"] = json!(self.site.credentials.uid);
        }
        arg.to_string()
    }

    fn unsubscribe(&mut self, arg: &Value, id: &Value) -> String {
        let key = (
            arg["channel"].as_str().unwrap_or("").to_owned(),
            subject(arg).to_owned(),
        );
        if self.subscriptions.remove(&key).is_some() {
            self.unwant(&key.0, &key.1);
        }
        let mut ack = json!({"event": "unsubscribe", "arg": arg, "connId": self.conn_id});
        if !id.is_null() {
            ack["id"] = id.clone();
        }
        ack.to_string()
    }

    async fn operate(
        &self,
        op: &str,
        (kind, batch): (TradeOp, bool),
        frame: &Value,
        args: &[Value],
    ) -> FrameReply {
        let id = &frame["id"];
        let say = |frame: String| FrameReply::Say(vec![frame]);
        if self.url != Url::Private {
            return say(self.error("60018", "Order operations are not served on this URL", id));
        }
        if !self.logged_in {
            return say(self.error("60011", "Please log in", id));
        }
        if id.as_str().is_none_or(|id| id.is_empty() || id.len() > 32) {
            return say(self.error("60013", "Parameter id error", id));
        }
        if args.is_empty() || (!batch && args.len() != 1) {
            return say(self.error("60013", "Invalid args", id));
        }
        let mut items = Vec::with_capacity(args.len());
        for arg in args {
            match self.named(arg) {
                Ok(item) => items.push(item),
                Err(why) => return say(self.error("60013", why, id)),
            }
        }
        let work = async |items| self.carry_out(op, (kind, batch), frame, items).await;
        let Some(rule) = self.site.faults.strike(&format!("op {op}")) else {
            return say(work(items).await);
        };
        let failed = || {
            let code = if rule.code.is_empty() {
                "64007"
            } else {
                &rule.code
            };
            FrameReply::Say(vec![self.error(code, "Internal error", id)])
        };
        match rule.action {
            FaultAction::DropBefore | FaultAction::Disconnect => return FrameReply::End,
            FaultAction::HalfOpen => return FrameReply::Silence,
            FaultAction::FailBefore => return failed(),
            FaultAction::Delay => wait(&rule).await,
            _ => {}
        }
        let again = (rule.action == FaultAction::Duplicate).then(|| items.clone());
        let reply = work(items).await;
        match (rule.action, again) {
            (FaultAction::DropAfter, _) => FrameReply::End,
            (FaultAction::Mute, _) => FrameReply::Say(Vec::new()),
            (FaultAction::FailAfter, _) => failed(),
            (FaultAction::CutBody, _) => say(reply.chars().take(reply.len() / 2).collect()),
            (_, Some(items)) => FrameReply::Say(vec![reply, work(items).await]),
            (FaultAction::DelayReply, _) => {
                wait(&rule).await;
                say(reply)
            }
            _ => say(reply),
        }
    }

    /// Carries an operation out and words the reply.
    async fn carry_out(
        &self,
        op: &str,
        kind: (TradeOp, bool),
        frame: &Value,
        items: Vec<Value>,
    ) -> String {
        let expiry = match &frame["expTime"] {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => String::new(),
        };
        let id = &frame["id"];
        match trade::operate(&self.site, kind, &expiry, items).await {
            Ok(mut reply) => {
                reply["id"] = id.clone();
                reply["op"] = json!(op);
                // Over the socket only the items say what went wrong.
                reply["msg"] = json!("");
                reply.to_string()
            }
            Err(f) => {
                json!({"id": id, "op": op, "code": f.code, "msg": f.msg, "data": [], "inTime": "", "outTime": ""})
                    .to_string()
            }
        }
    }

    /// WebSocket operations name the instrument by its code; a given instId is ignored.
    fn named(&self, arg: &Value) -> Result<Value, &'static str> {
        let code = arg["instIdCode"]
            .as_i64()
            .ok_or("Parameter instIdCode can not be empty")?;
        let listed = self
            .site
            .engine
            .market
            .all()
            .find(|l| l.listing.inst.code == Some(code));
        let mut item = arg.clone();
        item["instId"] = json!(listed.ok_or("Invalid instIdCode")?.listing.inst.id);
        Ok(item)
    }

    /// Frames of one push, after whatever faults strike it.
    async fn pushed(&self, push: &Push, held: &mut Vec<String>) -> FrameReply {
        let mut frames = self.on_push(push);
        if frames.is_empty() {
            return FrameReply::Say(frames);
        }
        let Some(rule) = self.site.faults.strike(&format!("push {}", push.channel)) else {
            frames.append(held);
            return FrameReply::Say(frames);
        };
        FrameReply::Say(match rule.action {
            FaultAction::Mute => Vec::new(),
            FaultAction::Delay => {
                wait(&rule).await;
                frames
            }
            FaultAction::Duplicate => frames.iter().chain(&frames).cloned().collect(),
            FaultAction::Flood => {
                let times = if rule.ms > 0 {
                    rule.ms.unsigned_abs() as usize
                } else {
                    1000
                };
                frames
                    .iter()
                    .cycle()
                    .take(times * frames.len())
                    .cloned()
                    .collect()
            }
            // One waits for the next; two that would wait change places.
            FaultAction::Reorder if held.is_empty() => {
                held.extend(frames);
                Vec::new()
            }
            FaultAction::Reorder => {
                frames.append(held);
                frames
            }
            FaultAction::CutBody => frames
                .iter()
                .map(|f| f.chars().take(f.len() / 2).collect())
                .collect(),
            FaultAction::Spoil => frames
                .iter()
                .map(|frame| spoiled(frame, &rule.field, &rule.text))
                .collect(),
            FaultAction::HalfOpen => return FrameReply::Silence,
            _ => return FrameReply::End,
        })
    }

    fn on_push(&self, push: &Push) -> Vec<String> {
        let wanted = self
            .subscriptions
            .iter()
            .filter(|((channel, subject), subscription)| {
                *channel == push.channel
                    && (subject.is_empty()
                        || subject == "ANY"
                        || *subject == push.inst
                        || subject == push.inst_type
                        || matches!(channel.as_str(), "account"))
                    && push.seq.is_none_or(|seq| seq > subscription.seq)
            });
        let extra = match push.channel.as_str() {
            "account" | "positions" => r#""eventType":"event_update","#,
            "books" => r#""action":"update","#,
            _ => "",
        };
        wanted
            .map(|((channel, _), s)| {
                format!(
                    r#"{{"arg":{},{extra}"data":{}}}"#,
                    self.shown(&s.arg, channel),
                    push.data
                )
            })
            .collect()
    }

    /// Account and positions though nothing happened, as OKX pushes them every few seconds.
    async fn regular(&self) -> Vec<String> {
        let mut frames = Vec::new();
        for ((channel, inst), subscription) in &self.subscriptions {
            if !matches!(channel.as_str(), "account" | "positions") || subscription.events_only {
                continue;
            }
            // A fault that silences the channel silences this too.
            if self
                .site
                .faults
                .strike(&format!("push {channel}"))
                .is_some_and(|rule| rule.action == FaultAction::Mute)
            {
                continue;
            }
            let (asked, of) = (channel.clone(), inst.clone());
            let words = self
                .site
                .engine
                .ask(move |x| first_words(x, &asked, &of))
                .await
                .ok()
                .flatten();
            frames.extend(words.map(|(words, _)| {
                let words = words.replacen("snapshot", "interval_update", 1);
                format!(
                    r#"{{"arg":{},{words}}}"#,
                    self.shown(&subscription.arg, channel)
                )
            }));
        }
        frames
    }
}
