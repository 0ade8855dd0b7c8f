//! One WebSocket connection, kept up: connect, log in, subscribe, ping, watch for silence,
//! reconnect.
//!
//! Every (re)connect ends in [`StreamEvent::Up`] once all subscriptions are acknowledged; whoever
//! listens catches up by REST then, because what was pushed in between is lost.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tracing::{Instrument, debug, info, warn};

use super::sequence::{Sequence, SequenceVerdict};
use super::sign::Signer;
use crate::domain::InstId;
use crate::runtime::Clock;

/// A channel and what it is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription {
    pub channel: String,
    /// `instId`, or `instType` when `by_type`; empty for channels without a subject.
    pub subject: String,
    pub by_type: bool,
    /// Data must keep coming on it; silence longer than the stream's limit means reconnect.
    pub must_flow: bool,
}

impl Subscription {
    /// A channel of one instrument that never falls silent.
    pub fn market(channel: impl Into<String>, inst: &str) -> Self {
        Self {
            channel: channel.into(),
            subject: inst.to_owned(),
            by_type: false,
            must_flow: true,
        }
    }
    /// A channel of one instrument that may be silent for long.
    pub fn quiet(channel: impl Into<String>, inst: &str) -> Self {
        Self {
            must_flow: false,
            ..Self::market(channel, inst)
        }
    }
    /// A private channel; it speaks only when something happens.
    pub fn private(channel: &str, inst_type: &str) -> Self {
        Self::of_type(channel, inst_type)
    }
    /// A channel of all instruments of a type, which speaks only when something happens.
    pub fn of_type(channel: &str, inst_type: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            subject: inst_type.to_owned(),
            by_type: true,
            must_flow: false,
        }
    }
    fn arg(&self) -> Value {
        let mut arg = serde_json::json!({"channel": self.channel});
        if !self.subject.is_empty() {
            arg[if self.by_type { "instType" } else { "instId" }] =
                Value::from(self.subject.clone());
        }
        arg
    }
}

/// Settings of a connection.
#[derive(Clone, Debug)]
pub struct StreamConfig {
    /// Full URL, e.g. `wss://ws.okx.com:8443/ws/v5/public`.
    pub url: String,
    pub subscriptions: Vec<Subscription>,
    /// Logs in when given.
    pub signer: Option<Signer>,
    /// Send `ping` after this much silence; must be below the venue's 30 s.
    pub ping_after: Duration,
    /// Reconnect when nothing answers a ping for this long, or a connect takes longer.
    pub answer_within: Duration,
    /// Reconnect when a channel that must flow is silent for this long.
    pub silence: Duration,
    /// Hears every push as it came, before anybody acts on it.
    pub tap: Option<Tap>,
}

impl StreamConfig {
    /// The same, for every one of `channels` of every one of `insts` on one of the URLs under `ws`,
    /// without a login.
    pub fn of_market<'a>(
        &self,
        ws: &str,
        url: &str,
        insts: impl Iterator<Item = &'a InstId>,
        channels: &[String],
    ) -> StreamConfig {
        let of = |inst: &'a InstId| {
            channels
                .iter()
                .map(move |channel| Subscription::market(channel, inst.as_str()))
        };
        StreamConfig {
            url: format!("{ws}/{url}"),
            subscriptions: insts.flat_map(of).collect(),
            signer: None,
            ..self.clone()
        }
    }
}

/// Listener on the side of a stream: gets channel, subject, data. Must not wait.
#[derive(Clone)]
pub struct Tap(pub Arc<Ear>);

/// Function a tap calls with each push.
pub type Ear = dyn Fn(&str, &str, &RawValue) + Send + Sync;

impl std::fmt::Debug for Tap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tap")
    }
}

/// Events from the connection to its listener.
#[derive(Debug)]
pub enum StreamEvent {
    /// Connected, logged in, every subscription acknowledged.
    Up,
    /// The connection is gone; what was in flight is unknown.
    Down(String),
    /// One push; `data` is the raw JSON array.
    Push {
        channel: String,
        subject: String,
        data: Box<RawValue>,
    },
    /// Number of connections of this account that listen to a channel, as the venue counts.
    ConnCount { channel: String, count: u64 },
    /// The answer to an order operation, whole.
    Reply(String),
    /// The venue refuses the login or a channel for good.
    Refused { code: String, msg: String },
}

/// A running connection. Dropping it ends it.
#[derive(Debug)]
pub struct Stream {
    events: mpsc::Receiver<StreamEvent>,
    commands: mpsc::Sender<String>,
    task: JoinHandle<()>,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Events that may wait for a slow listener; the socket is not read beyond it.
const BACKLOG: usize = 4096;

impl Stream {
    /// Starts connecting.
    pub fn open(config: StreamConfig, clock: Clock) -> Self {
        let (tell, events) = mpsc::channel(BACKLOG);
        let (commands, orders) = mpsc::channel(64);
        let task = tokio::spawn(keep_up(config, clock, tell, orders).in_current_span());
        Self {
            events,
            commands,
            task,
        }
    }

    /// A stream of what somebody else makes up, for simulations.
    #[cfg(feature = "sabotage")]
    pub fn of(events: mpsc::Receiver<StreamEvent>) -> Self {
        let (commands, _) = mpsc::channel(1);
        Self {
            events,
            commands,
            task: tokio::spawn(async {}),
        }
    }

    /// The next event; `None` only if the connection's task was lost.
    pub async fn next(&mut self) -> Option<StreamEvent> {
        self.events.recv().await
    }

    /// A handle to send frames with.
    pub(super) fn commands(&self) -> mpsc::Sender<String> {
        self.commands.clone()
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn keep_up(
    config: StreamConfig,
    clock: Clock,
    tell: mpsc::Sender<StreamEvent>,
    mut orders: mpsc::Receiver<String>,
) {
    // Doubling from a third of a second (OKX allows three connections a second) to thirty.
    let mut pause = Duration::from_millis(350);
    loop {
        let began = Instant::now();
        let why = match timeout(config.answer_within, connect_async(&config.url)).await {
            Ok(Ok((socket, _))) => {
                while orders.try_recv().is_ok() {}
                let mut connection = Connection::new(&config, &clock, &tell, socket);
                match connection.run(&mut orders).await {
                    StreamEnd::Lost(why) => why,
                    StreamEnd::Refused { code, msg } => {
                        if tell
                            .send(StreamEvent::Refused {
                                code: code.clone(),
                                msg: msg.clone(),
                            })
                            .await
                            .is_err()
                        {
                            return;
                        }
                        format!("{code} {msg}")
                    }
                    StreamEnd::NobodyListens => return,
                }
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "connecting took too long".to_owned(),
        };
        warn!(event = "stream_down", url = %config.url, %why, "a stream is down; reconnecting");
        if tell.send(StreamEvent::Down(why)).await.is_err() {
            return;
        }
        // Frames that were meant for the connection that is gone must not go out on the next one.
        while orders.try_recv().is_ok() {} // and again below, just before the next connection
        if began.elapsed() > Duration::from_secs(60) {
            pause = Duration::from_millis(350);
        }
        let jitter = Duration::from_millis(clock.now().0.unsigned_abs() % 150);
        tokio::time::sleep(pause + jitter).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

enum StreamEnd {
    Lost(String),
    Refused { code: String, msg: String },
    NobodyListens,
}

struct Connection<'a> {
    config: &'a StreamConfig,
    clock: &'a Clock,
    tell: &'a mpsc::Sender<StreamEvent>,
    socket: Socket,
    /// Subscriptions without an acknowledgement.
    waiting: usize,
    up: bool,
    began: Instant,
    last_frame: Instant,
    pinged: Option<Instant>,
    /// Last data on each channel that must flow.
    flows: HashMap<(String, String), Instant>,
    sequences: HashMap<(String, String), Sequence>,
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(default)]
    event: Option<&'a str>,
    #[serde(default, borrow)]
    arg: Option<Arg<'a>>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    code: Option<&'a str>,
    #[serde(default, borrow)]
    msg: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    channel: Option<&'a str>,
    #[serde(default, rename = "connCount")]
    conn_count: Option<&'a str>,
    #[serde(default)]
    op: Option<&'a str>,
    #[serde(default)]
    id: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg<'a> {
    channel: &'a str,
    #[serde(default)]
    inst_id: Option<&'a str>,
    #[serde(default)]
    inst_type: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Numbered {
    seq_id: Option<i64>,
    prev_seq_id: Option<i64>,
}

impl<'a> Connection<'a> {
    fn new(
        config: &'a StreamConfig,
        clock: &'a Clock,
        tell: &'a mpsc::Sender<StreamEvent>,
        socket: Socket,
    ) -> Self {
        Self {
            config,
            clock,
            tell,
            socket,
            waiting: config.subscriptions.len(),
            up: false,
            began: Instant::now(),
            last_frame: Instant::now(),
            pinged: None,
            flows: HashMap::new(),
            sequences: HashMap::new(),
        }
    }

    async fn run(&mut self, orders: &mut mpsc::Receiver<String>) -> StreamEnd {
        let first = match &self.config.signer {
            Some(signer) => signer.login(self.clock.now()),
            None => self.subscribe_frame(),
        };
        if let Err(ended) = self.send(first).await {
            return ended;
        }
        if self.config.signer.is_none() && self.waiting == 0 {
            self.up = true;
        }
        loop {
            let deadline = self.deadline();
            let step = tokio::select! {
                biased;
                frame = self.socket.next() => match frame {
                    Some(Ok(Message::Text(text))) => self.on_text(text.as_str()).await,
                    Some(Ok(Message::Close(frame))) => Err(StreamEnd::Lost(format!("closed by the venue: {frame:?}"))),
                    Some(Ok(_)) => Ok(()),
                    Some(Err(error)) => Err(StreamEnd::Lost(error.to_string())),
                    None => Err(StreamEnd::Lost("closed by the venue".to_owned())),
                },
                Some(frame) = orders.recv(), if self.up => self.send(frame).await,
                () = sleep_until(deadline) => self.on_deadline().await,
            };
            if let Err(ended) = step {
                return ended;
            }
        }
    }

    async fn send(&mut self, frame: String) -> Result<(), StreamEnd> {
        match timeout(
            self.config.answer_within,
            self.socket.send(Message::text(frame)),
        )
        .await
        {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(StreamEnd::Lost(error.to_string())),
            Err(_) => Err(StreamEnd::Lost("the socket takes no more data".to_owned())),
        }
    }

    fn subscribe_frame(&self) -> String {
        let args: Vec<Value> = self
            .config
            .subscriptions
            .iter()
            .map(Subscription::arg)
            .collect();
        serde_json::json!({"op": "subscribe", "args": args}).to_string()
    }

    /// When something must be done even if nothing comes.
    fn deadline(&self) -> Instant {
        let quiet = match self.pinged {
            Some(at) => at + self.config.answer_within,
            None => self.last_frame + self.config.ping_after,
        };
        // One quiet instrument is no fault; silence on all channels that must flow is.
        let silent = self
            .flows
            .values()
            .max()
            .map(|at| *at + self.config.silence);
        let coming_up = (!self.up).then(|| self.began + self.config.answer_within);
        [Some(quiet), silent, coming_up]
            .into_iter()
            .flatten()
            .min()
            .expect("one of them is always set")
    }

    async fn on_deadline(&mut self) -> Result<(), StreamEnd> {
        let now = Instant::now();
        if !self.up && now.duration_since(self.began) >= self.config.answer_within {
            return Err(StreamEnd::Lost(
                "login or subscription was not acknowledged".to_owned(),
            ));
        }
        if self
            .flows
            .values()
            .max()
            .is_some_and(|at| now.duration_since(*at) >= self.config.silence)
        {
            return Err(StreamEnd::Lost(
                "no data though the connection answers".to_owned(),
            ));
        }
        match self.pinged {
            Some(at) if now.duration_since(at) >= self.config.answer_within => {
                Err(StreamEnd::Lost("no pong: half-open".to_owned()))
            }
            Some(_) => Ok(()),
            None => {
                self.pinged = Some(now);
                self.send("ping".to_owned()).await
            }
        }
    }

    async fn on_text(&mut self, text: &str) -> Result<(), StreamEnd> {
        self.last_frame = Instant::now();
        self.pinged = None;
        if text == "pong" {
            return Ok(());
        }
        let frame: Frame<'_> = match serde_json::from_str(text) {
            Ok(frame) => frame,
            Err(error) => {
                warn!(event = "frame_unreadable", %error, "a frame that is not OKX's was dropped");
                return Ok(());
            }
        };
        if frame.op.is_some() && frame.id.is_some() {
            return self.tell(StreamEvent::Reply(text.to_owned())).await;
        }
        match frame.event {
            None => self.on_push(frame).await,
            Some("login") => {
                let subscribe = self.subscribe_frame();
                if self.waiting == 0 {
                    self.come_up().await
                } else {
                    self.send(subscribe).await
                }
            }
            Some("subscribe") => {
                self.waiting = self.waiting.saturating_sub(1);
                if self.waiting == 0 && !self.up {
                    self.come_up().await
                } else {
                    Ok(())
                }
            }
            Some("error") => {
                let (code, mut msg) = (
                    frame.code.unwrap_or("").to_owned(),
                    frame.msg.unwrap_or_default().into_owned(),
                );
                if msg.starts_with("Invalid request") {
                    // The venue repeats the frame it did not like, and a login frame holds the key.
                    msg.truncate("Invalid request".len());
                }
                match super::codes::class(&code) {
                    super::Class::Stop | super::Class::Reject if !self.up => {
                        Err(StreamEnd::Refused { code, msg })
                    }
                    _ if self.up => {
                        warn!(event = "stream_error", %code, %msg, "the venue reports an error on a stream");
                        self.tell(StreamEvent::Reply(text.to_owned())).await
                    }
                    _ => Err(StreamEnd::Lost(format!("{code} {msg}"))),
                }
            }
            Some("notice") => {
                // 64008: the venue is about to close this connection for an upgrade; a new one is
                // served.
                let code = frame.code.unwrap_or("");
                info!(event = "stream_notice", %code, "the venue announces an upgrade; reconnecting");
                Err(StreamEnd::Lost(format!("notice {code}")))
            }
            Some("channel-conn-count-error") => Err(StreamEnd::Lost(format!(
                "too many connections listen to {}",
                frame.channel.unwrap_or("")
            ))),
            Some("channel-conn-count") => {
                let count = frame.conn_count.and_then(|n| n.parse().ok()).unwrap_or(0);
                self.tell(StreamEvent::ConnCount {
                    channel: frame.channel.unwrap_or("").to_owned(),
                    count,
                })
                .await
            }
            Some(other) => {
                debug!(
                    event = "frame_ignored",
                    kind = other,
                    "a kind of frame we do not use"
                );
                Ok(())
            }
        }
    }

    async fn come_up(&mut self) -> Result<(), StreamEnd> {
        self.up = true;
        let now = Instant::now();
        let flowing = self.config.subscriptions.iter().filter(|s| s.must_flow);
        self.flows = flowing
            .map(|s| ((s.channel.clone(), s.subject.clone()), now))
            .collect();
        info!(event = "stream_up", url = %self.config.url, channels = self.config.subscriptions.len(), "a stream is up");
        self.tell(StreamEvent::Up).await
    }

    async fn on_push(&mut self, frame: Frame<'_>) -> Result<(), StreamEnd> {
        let (Some(arg), Some(data)) = (frame.arg, frame.data) else {
            return Ok(());
        };
        let (channel, subject) = (
            arg.channel.to_owned(),
            arg.inst_id.or(arg.inst_type).unwrap_or("").to_owned(),
        );
        let key = (channel, subject);
        if let Some(at) = self.flows.get_mut(&key) {
            *at = Instant::now();
        }
        if let Some(tap) = &self.config.tap {
            (tap.0)(&key.0, &key.1, &data);
        }
        if is_book(&key.0)
            && let Ok(rows) = serde_json::from_str::<Vec<Numbered>>(data.get())
        {
            for row in rows {
                let Some(seq) = row.seq_id else { continue };
                match self
                    .sequences
                    .entry(key.clone())
                    .or_default()
                    .next(row.prev_seq_id, seq)
                {
                    SequenceVerdict::Apply => {}
                    SequenceVerdict::Keep | SequenceVerdict::Stale => return Ok(()),
                    // A fresh connection is the simplest way to a fresh snapshot.
                    SequenceVerdict::Gap => {
                        return Err(StreamEnd::Lost(format!("a gap in {} {}", key.0, key.1)));
                    }
                }
            }
        }
        let (channel, subject) = key;
        self.tell(StreamEvent::Push {
            channel,
            subject,
            data,
        })
        .await
    }

    async fn tell(&self, event: StreamEvent) -> Result<(), StreamEnd> {
        self.tell
            .send(event)
            .await
            .map_err(|_| StreamEnd::NobodyListens)
    }
}

fn is_book(channel: &str) -> bool {
    channel.starts_with("books") || channel == "bbo-tbt"
}
