//! Order operations over WebSocket: one connection of its own, replies matched by id. When it
//! drops, every unanswered create is unknown; nothing is ever sent again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::Instrument as _;

use super::codes::{CancelOutcome, CreateOutcome, OrderRef, judge_cancel, judge_create};
use super::stream::{Stream, StreamConfig, StreamEvent};
use super::wire::{OrderTransportKind, create_body};
use crate::domain::{ClOrdId, Instrument, Ms, OrderIntent, Price};
use crate::runtime::Clock;

/// A connection for order operations. Cheap to clone.
#[derive(Clone, Debug)]
pub struct OrderSocket {
    asks: mpsc::Sender<SocketRequest>,
    /// Numbers cancels, so that no two in flight share a name.
    count: Arc<AtomicU64>,
    up: watch::Receiver<bool>,
    timeout: Duration,
}

#[derive(Debug)]
struct SocketRequest {
    id: String,
    frame: String,
    answer: oneshot::Sender<String>,
}

impl OrderSocket {
    /// Starts connecting; `config` should have no subscriptions and a signer.
    pub fn open(config: StreamConfig, clock: Clock, timeout: Duration) -> Self {
        let (asks, inbox) = mpsc::channel(256);
        let (tell_up, up) = watch::channel(false);
        tokio::spawn(relay(Stream::open(config, clock), inbox, tell_up).in_current_span());
        Self {
            asks,
            count: Arc::default(),
            up,
            timeout,
        }
    }

    /// True while the connection is logged in. If not, nothing would be sent: use REST.
    pub fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    /// Sends a create, once.
    pub async fn create(
        &self,
        intent: &OrderIntent,
        inst: &Instrument,
        expires_at: Ms,
    ) -> CreateOutcome {
        let arg = match create_body(intent, inst, OrderTransportKind::WebSocket) {
            Ok(arg) => arg,
            Err(error) => {
                return CreateOutcome::Rejected {
                    code: "local".into(),
                    msg: error.to_string(),
                    stop: false,
                };
            }
        };
        let id = intent.cl_ord_id.as_str();
        let frame =
            json!({"id": id, "op": "order", "expTime": expires_at.0.to_string(), "args": [arg]});
        match self.ask(id.to_owned(), &frame).await {
            Some(reply) => judge_create(intent.cl_ord_id.as_str(), &reply),
            None => CreateOutcome::Unknown("no answer on the WebSocket".to_owned()),
        }
    }

    /// Asks for a cancel, by our id.
    pub async fn cancel(&self, inst: &Instrument, cl_ord_id: &str) -> CancelOutcome {
        let Some(code) = inst.code else {
            return CancelOutcome::Again("the instrument has no code".to_owned());
        };
        let id = format!("c{}", self.count.fetch_add(1, Ordering::Relaxed));
        let (key, id_there) = super::wire::name_of(cl_ord_id);
        let frame =
            json!({"id": id, "op": "cancel-order", "args": [{"instIdCode": code, key: id_there}]});
        match self.ask(id, &frame).await {
            Some(reply) => judge_cancel(super::wire::asked(cl_ord_id), &reply),
            None => CancelOutcome::Again("no answer on the WebSocket".to_owned()),
        }
    }

    /// Asks for a resting order's move to another price, once.
    pub async fn amend(
        &self,
        inst: &Instrument,
        id: &str,
        limit: Price,
        request: &ClOrdId,
        expires_at: Ms,
    ) -> CancelOutcome {
        let Some(code) = inst.code else {
            return CancelOutcome::Again("the instrument has no code".to_owned());
        };
        let arg = json!({"instIdCode": code, "clOrdId": id, "newPx": limit, "reqId": request});
        let expires = expires_at.0.to_string();
        let frame = json!({"id": request, "op": "amend-order", "expTime": expires, "args": [arg]});
        match self.ask(request.as_str().to_owned(), &frame).await {
            Some(reply) => judge_cancel(OrderRef::ours(id), &reply),
            None => CancelOutcome::Again("no answer on the WebSocket".to_owned()),
        }
    }

    async fn ask(&self, id: String, frame: &Value) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.asks
            .send(SocketRequest {
                id,
                frame: frame.to_string(),
                answer,
            })
            .await
            .ok()?;
        tokio::time::timeout(self.timeout, answered)
            .await
            .ok()?
            .ok()
    }
}

async fn relay(
    mut stream: Stream,
    mut inbox: mpsc::Receiver<SocketRequest>,
    up: watch::Sender<bool>,
) {
    let commands = stream.commands();
    let mut waiting: HashMap<String, oneshot::Sender<String>> = HashMap::new();
    loop {
        tokio::select! {
            biased;
            event = stream.next() => match event {
                Some(StreamEvent::Up) => {
                    up.send_replace(true);
                }
                Some(StreamEvent::Down(_) | StreamEvent::Refused { .. }) => {
                    up.send_replace(false);
                    waiting.clear(); // dropped senders answer `None`: unknown
                }
                Some(StreamEvent::Reply(text)) => {
                    let id = serde_json::from_str::<Value>(&text).ok().and_then(|v| v["id"].as_str().map(str::to_owned));
                    if let Some(answer) = id.and_then(|id| waiting.remove(&id)) {
                        drop(answer.send(text));
                    }
                }
                Some(_) => {}
                None => return,
            },
            ask = inbox.recv() => match ask {
                // Nothing may leave later than it was asked for: not while down, not at the next
                // connection.
                Some(_) if !*up.borrow() => {}
                Some(ask) => {
                    waiting.retain(|_, answer| !answer.is_closed());
                    waiting.insert(ask.id, ask.answer);
                    if commands.send(ask.frame).await.is_err() {
                        return;
                    }
                }
                None => return,
            },
        }
    }
}
