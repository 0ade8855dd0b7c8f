//! The control socket: a Unix socket in the state directory, guarded by file permission. HTTP over it,
//! so that `curl --unix-socket` works too. Nothing here can enable trading.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};

use crate::domain::{AccountView, MarketView, OrdersView, Readiness};
use crate::risk::Latch;
use crate::runtime::{Actor, Beat, Clock, Pulse, StageError, Stop};
use crate::tracking::SyncAsk;

/// What the socket can tell and ask.
#[derive(Clone)]
pub struct Shared {
    pub mode: String,
    pub uid: String,
    pub state_dir: PathBuf,
    pub started: Instant,
    pub clock: Clock,
    pub latch: Latch,
    pub trading_off_by: Option<String>,
    pub pulse: Pulse,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub readiness: watch::Receiver<Readiness>,
    pub sync: mpsc::Sender<SyncAsk>,
}

/// The socket's actor.
pub struct Control {
    pub path: PathBuf,
    pub shared: Shared,
    pub beat: Beat,
}

/// A sync that takes longer than this is answered with an error; it goes on by itself.
const SYNC_WAIT: Duration = Duration::from_secs(30);

impl Actor for Control {
    async fn run(&mut self, stop: Stop) -> Result<(), StageError> {
        // We hold the state directory's lock: a socket that is there is a dead process's.
        drop(std::fs::remove_file(&self.path));
        let failed = |error: std::io::Error| StageError::Store(format!("the control socket: {error}"));
        let listener = UnixListener::bind(&self.path).map_err(failed)?;
        std::fs::set_permissions(&self.path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let router = Router::new()
            .route("/status", get(|State(s): State<Shared>| async move { Json(status(&s)) }))
            .route("/sync", post(sync))
            .with_state(self.shared.clone());
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        let server = async { axum::serve(listener, router).await };
        tokio::pin!(server);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                served = &mut server => return served.map_err(failed),
                _ = tick.tick() => self.beat.tick(),
            }
        }
        drop(std::fs::remove_file(&self.path));
        Ok(())
    }
}

/// Everything about the running daemon, as `status --json` prints it.
pub fn status(s: &Shared) -> Value {
    let now = s.clock.now();
    let (state, why) = match &*s.readiness.borrow() {
        Readiness::Reconciling(why) => ("reconciling", why.clone()),
        Readiness::Ready => ("active", String::new()),
        Readiness::Halted(why) => ("halted", why.clone()),
    };
    let market = s.market.borrow();
    let feeds: Vec<Value> = market
        .insts
        .iter()
        .map(|(inst, m)| {
            let bars: Vec<Value> = m
                .series
                .iter()
                .map(|(bar, closed)| {
                    let closed = closed.candles().last().map(|c| c.ts.plus(bar.span()));
                    json!({"bar": bar.okx(), "span_ms": bar.span().0, "closed_ms": closed.map(|at| at.0),
                        "age_ms": closed.map(|at| now.since(at).0)})
                })
                .collect();
            json!({"inst": inst, "quote_age_ms": m.quote.map(|q| now.since(q.at).0), "bars": bars})
        })
        .collect();
    let orders = s.orders.borrow();
    let actors: Vec<Value> = s
        .pulse
        .all()
        .iter()
        .map(|b| json!({"actor": b.name, "critical": b.critical, "beat_age_ms": b.age().as_millis() as u64, "restarts": b.restarts()}))
        .collect();
    let account = s.account.borrow();
    json!({
        "schema": "status/1", "as_of_ms": now.0, "mode": s.mode, "uid": s.uid, "state_dir": s.state_dir,
        "pid": std::process::id(), "uptime_s": s.started.elapsed().as_secs(), "trading_enabled": s.latch.is_on(),
        "trading_off_by": s.trading_off_by, "trading_state": state, "trading_state_why": why,
        "market_live": market.live, "feeds": feeds, "account_age_ms": account.as_ref().map(|a| now.since(a.as_of).0),
        "equity": account.as_ref().map(|a| a.equity), "open_orders": orders.open.len(),
        "unknown_orders": orders.unknown().count(), "actors": actors,
    })
}

async fn sync(State(s): State<Shared>) -> (StatusCode, Json<Value>) {
    let (done, answer) = oneshot::channel();
    let failed = |why: String| (StatusCode::BAD_GATEWAY, Json(json!({"error": why})));
    if s.sync.send(SyncAsk { done }).await.is_err() {
        return failed("the daemon is stopping".to_owned());
    }
    match tokio::time::timeout(SYNC_WAIT, answer).await {
        Ok(Ok(Ok((run_id, view)))) => (StatusCode::OK, Json(json!({"run_id": run_id, "account": &*view}))),
        Ok(Ok(Err(why))) => failed(why),
        Ok(Err(_)) => failed("account sync ended before it answered".to_owned()),
        Err(_) => failed(format!("no answer within {} s", SYNC_WAIT.as_secs())),
    }
}

/// The other end: a verb that asks a running daemon.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
}

impl Client {
    /// A client of the socket at `path`; `None` if there is no socket.
    pub fn of(path: &Path) -> Option<Self> {
        if !path.exists() {
            return None;
        }
        let http = reqwest::Client::builder().unix_socket(path).no_proxy().timeout(SYNC_WAIT * 2).build().ok()?;
        Some(Self { http })
    }

    /// The daemon's status; `None` if nobody answers.
    pub async fn status(&self) -> Option<Value> {
        let text = self.http.get("http://daemon/status").send().await.ok()?.text().await.ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Has the daemon read the account now. `None`: nobody answers.
    pub async fn sync(&self) -> Option<Result<Value, String>> {
        let reply = self.http.post("http://daemon/sync").send().await.ok()?;
        let good = reply.status().is_success();
        let body: Value = serde_json::from_str(&reply.text().await.ok()?).ok()?;
        Some(if good { Ok(body) } else { Err(body["error"].as_str().unwrap_or("failed").to_owned()) })
    }
}
