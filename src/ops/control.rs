//! The control socket: a Unix socket in the state directory, guarded by file permission. HTTP over
//! it, so that `curl --unix-socket` works too. Nothing here can enable trading.
//!
//! It is there from the moment the state directory is held until the process ends. Before the
//! actors are up, and after they have ended, it answers for them: a halt is latched for whoever
//! comes next.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use super::doorway::{self, Doorway};
use super::killfile;
use super::preflight::Checked;
use crate::domain::record::{Record, RunKind};
use crate::domain::{
    AccountView, Departure, Incident, InstId, MarketView, Ms, OrdersView, Restriction,
    Restrictions, Shield,
};
use crate::llm::runner::ShowPrompt;
use crate::risk::{Answer, CancelAsk, Command, Flatten, PermissionWatch};
use crate::runtime::{Actor, Beat, Clock, Pulse, RunIds, Shutdown, StageError};
use crate::store::Journal;
use crate::tracking::{SyncAsk, TruthAsk};

/// State the socket can report and channels it can ask.
#[derive(Clone)]
pub struct Shared {
    pub mode: String,
    pub uid: String,
    pub state_dir: PathBuf,
    pub started: Instant,
    pub clock: Clock,
    pub permission: PermissionWatch,
    pub trading_off_by: Option<String>,
    /// Oldest read of the account on which the gate still lets orders out; venue time.
    pub account_age_max: Ms,
    pub pulse: Pulse,
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub orders: watch::Receiver<OrdersView>,
    pub sync: mpsc::Sender<SyncAsk>,
    pub truth: mpsc::Sender<TruthAsk>,
    pub commands: mpsc::Sender<Command>,
    pub shields: watch::Receiver<BTreeMap<InstId, Shield>>,
    pub cancels: mpsc::Sender<CancelAsk>,
    /// Asks for the checks before trading.
    pub preflight: mpsc::Sender<oneshot::Sender<Vec<Checked>>>,
    /// Asks what a model would be asked now; `None`: no contender is a model.
    pub prompts: Option<mpsc::Sender<ShowPrompt>>,
    pub ids: Arc<RunIds>,
    pub journal: Journal,
}

/// The running daemon behind the socket: opens it to the actors, and closes it when they are to
/// stop.
pub struct Control {
    pub door: Door,
    pub shared: Shared,
    pub beat: Beat,
}

/// A sync that takes longer than this is answered with an error; it goes on by itself.
const SYNC_WAIT: Duration = Duration::from_secs(30);

/// A close or a halt gives up by itself before this.
const COMMAND_WAIT: Duration = Duration::from_secs(90);

impl Actor for Control {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        self.door
            .inside
            .send_replace(Inside::Running(Box::new(self.shared.clone())));
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = tick.tick() => self.beat.tick(),
            }
        }
        // Whoever still holds a line to the actors would keep them from ending.
        self.door.inside.send_replace(Inside::Stopping);
        Ok(())
    }
}

/// Daemon state behind the socket.
#[derive(Clone)]
enum Inside {
    Starting,
    Running(Box<Shared>),
    Stopping,
}

/// The socket's near end: who is behind it changes, the socket does not.
#[derive(Clone)]
pub struct Door {
    dir: PathBuf,
    inside: Arc<watch::Sender<Inside>>,
}

/// The open socket; it is gone with this.
pub struct OpenSocket {
    path: PathBuf,
    _serving: doorway::Serving,
}

impl Drop for OpenSocket {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

/// Opens the socket of a state directory that is held.
///
/// # Errors
/// When it cannot be bound: the path is too long, or the directory cannot be written.
pub fn open(dir: &Path, path: PathBuf) -> std::io::Result<(Door, OpenSocket)> {
    // We hold the state directory's lock: a socket that is there is a dead process's.
    drop(std::fs::remove_file(&path));
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let door = Door {
        dir: dir.to_owned(),
        inside: Arc::new(watch::Sender::new(Inside::Starting)),
    };
    let router = Router::new()
        .route("/status", get(shown_status))
        .route("/sync", post(sync))
        .route("/reconcile", post(reconcile))
        .route("/close", post(close))
        .route("/cancel", post(cancel))
        .route("/halt", post(halt))
        .route("/preflight", post(preflight))
        .route("/prompt", post(prompt))
        .with_state(door.clone());
    let serving = Doorway::new(listener, router).serve();
    Ok((
        door,
        OpenSocket {
            path,
            _serving: serving,
        },
    ))
}

/// The running daemon, for what only it can answer.
struct RunningDaemon(Shared);

impl FromRequestParts<Door> for RunningDaemon {
    type Rejection = Answered;

    async fn from_request_parts(_: &mut Parts, door: &Door) -> Result<Self, Answered> {
        let inside = door.inside.borrow().clone();
        match inside {
            Inside::Running(shared) => Ok(RunningDaemon(*shared)),
            Inside::Starting => Err(refused(StatusCode::SERVICE_UNAVAILABLE, STARTING)),
            Inside::Stopping => Err(refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING)),
        }
    }
}

async fn shown_status(State(door): State<Door>) -> Json<Value> {
    let why = match &*door.inside.borrow() {
        Inside::Running(shared) => return Json(status(shared)),
        Inside::Starting => STARTING,
        Inside::Stopping => STOPPING,
    };
    Json(json!({
        "schema": "status/1", "as_of_ms": crate::runtime::wall_ms(), "state_dir": door.dir, "pid": std::process::id(),
        "trading_state": "reconciling", "trading_state_why": why, "market_live": false, "trading_enabled": true, "feeds": [],
        "open_orders": 0, "unknown_orders": 0, "halts": [], "restrictions": [], "protection": {}, "exposure": {}, "actors": [],
    }))
}

/// Everything about the running daemon, as `status --json` prints it.
pub fn status(s: &Shared) -> Value {
    let now = s.clock.now();
    let (trading_on, (state, why), restricted) = s
        .permission
        .ask(|p| (p.trading_on, p.state(), restrictions(p.restrictions)));
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
                        "age_ms": closed.map(|at| now.since(at).0.max(0))})
                })
                .collect();
            let (ahead, last) = market.ahead.get(inst).copied().unwrap_or_default();
            json!({"inst": inst, "quote_age_ms": m.quote.map(|q| now.since(q.at).0.max(0)), "bars": bars,
                "times_ahead": ahead, "time_ahead_age_ms": (ahead > 0).then(|| now.since(last).0.max(0))})
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
    // What the account may come to hold if everything that may be alive fills: unknown orders count
    // in full.
    let exposure: serde_json::Map<String, Value> = market
        .insts
        .keys()
        .map(|inst| {
            let (most, least) = orders.worst_case(inst);
            (
                inst.to_string(),
                json!({"most": most, "least": least, "frozen": orders.frozen(inst)}),
            )
        })
        .collect();
    json!({
        "schema": "status/1", "as_of_ms": now.0, "mode": s.mode, "uid": s.uid, "state_dir": s.state_dir,
        "pid": std::process::id(), "uptime_s": s.started.elapsed().as_secs(), "trading_enabled": trading_on,
        "trading_off_by": s.trading_off_by, "trading_state": state, "trading_state_why": why,
        "market_live": market.live, "feeds": feeds, "account_age_ms": account.as_ref().map(|a| now.since(a.as_of).0.max(0)),
        "account_age_ms_max": s.account_age_max.0,
        "equity": account.as_ref().map(|a| a.equity), "open_orders": orders.open.len(),
        "unknown_orders": orders.unknown().count(), "halts": cases(&orders.halts),
        "protection": *s.shields.borrow(), "restrictions": restricted, "exposure": exposure, "actors": actors,
    })
}

/// Lists the gate's restrictions, each with what ends it.
fn restrictions(restrictions: &Restrictions) -> Vec<Value> {
    let ends = |r: &Restriction| match r.until {
        Some(at) => format!("by itself at {}", at.iso()),
        None => format!("stop the daemon, then `alpha-arena resume {}`", r.id()),
    };
    let row = |r: &Restriction| {
        json!({"restriction": r.id(), "scope": r.scope.to_string(), "cause": r.cause, "state": r.state, "why": r.why,
            "since_ms": r.since.0, "until_ms": r.until.map(|at| at.0), "to_be_flattened": r.flatten, "ends": ends(r)})
    };
    restrictions.0.iter().map(row).collect()
}

async fn sync(RunningDaemon(s): RunningDaemon) -> (StatusCode, Json<Value>) {
    let (done, answer) = oneshot::channel();
    let failed = |why: String| (StatusCode::BAD_GATEWAY, Json(json!({"error": why})));
    if s.sync.send(SyncAsk { done }).await.is_err() {
        return failed("the daemon is stopping".to_owned());
    }
    match tokio::time::timeout(SYNC_WAIT, answer).await {
        Ok(Ok(Ok((run_id, view)))) => (
            StatusCode::OK,
            Json(json!({"run_id": run_id, "account": &*view})),
        ),
        Ok(Ok(Err(why))) => failed(why),
        Ok(Err(_)) => failed("account sync ended before it answered".to_owned()),
        Err(_) => failed(format!("no answer within {} s", SYNC_WAIT.as_secs())),
    }
}

/// Open cases, each with the command that ends it.
fn cases(open: &[Incident]) -> Vec<Value> {
    open.iter()
        .map(|case| {
            json!({"case": case.id(), "kind": case.kind, "inst": case.scope, "why": case.why, "opened_ms": case.opened.0, "orders": case.orders,
                "ends_by_itself": case.kind.passes(), "cure": case.kind.cure()})
        })
        .collect()
}

type Answered = (StatusCode, Json<Value>);

fn refused(status: StatusCode, why: impl Into<String>) -> Answered {
    (status, Json(json!({"error": why.into()})))
}

const STOPPING: &str = "the daemon is stopping";
const STARTING: &str = "the daemon is starting";

/// `{"accept": "position:BTC-USDT"}`, `{"compare": true}`, or nothing: what is halted.
async fn reconcile(RunningDaemon(s): RunningDaemon, Json(body): Json<Value>) -> Answered {
    let Some(case) = body["accept"].as_str().map(str::to_owned) else {
        let (done, answer) = oneshot::channel();
        let compare = body["compare"].as_bool().unwrap_or(false);
        if s.truth
            .send(TruthAsk::Cases { compare, done })
            .await
            .is_err()
        {
            return refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
        }
        return match tokio::time::timeout(SYNC_WAIT, answer).await {
            Ok(Ok(open)) => (StatusCode::OK, Json(json!({"halts": cases(&open)}))),
            _ => refused(StatusCode::GATEWAY_TIMEOUT, "the tracker did not answer"),
        };
    };
    let (done, answer) = oneshot::channel();
    if s.truth
        .send(TruthAsk::Accept {
            case: case.clone(),
            done,
        })
        .await
        .is_err()
    {
        return refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
    }
    match tokio::time::timeout(SYNC_WAIT, answer).await {
        Ok(Ok(Ok(run_id))) => (
            StatusCode::OK,
            Json(json!({"accepted": case, "run_id": run_id})),
        ),
        Ok(Ok(Err(why))) => refused(StatusCode::NOT_FOUND, why),
        _ => refused(StatusCode::GATEWAY_TIMEOUT, "the tracker did not answer"),
    }
}

/// `{"inst": "BTC-USDT-SWAP"}`, or nothing: all that hold something.
async fn close(RunningDaemon(s): RunningDaemon, Json(body): Json<Value>) -> Answered {
    let inst = body["inst"].as_str().map(InstId::from);
    if let Some(inst) = inst
        .as_ref()
        .filter(|inst| !s.market.borrow().insts.contains_key(*inst))
    {
        let known: Vec<String> = s
            .market
            .borrow()
            .insts
            .keys()
            .map(ToString::to_string)
            .collect();
        let why = format!("{inst} is not traded here; there are: {}", known.join(", "));
        return refused(StatusCode::NOT_FOUND, why);
    }
    let scope = Flatten {
        everything: body["everything"].as_bool().unwrap_or(false),
        ours_only: body["ours_only"].as_bool().unwrap_or(false),
    };
    command(&s, |done| Command::Close { inst, scope, done }).await
}

/// `{"flatten": true, "why": "…", "who": "…"}`: stops trading until a person resumes it while the
/// daemon is stopped. Whatever becomes of the rest, it is latched when this answers.
async fn halt(State(door): State<Door>, Json(body): Json<Value>) -> Answered {
    let flatten = body["flatten"].as_bool().unwrap_or(false);
    let scope = Flatten {
        everything: body["everything"].as_bool().unwrap_or(false),
        ours_only: body["ours_only"].as_bool().unwrap_or(false),
    };
    let text = |name: &str, otherwise: &str| {
        body[name]
            .as_str()
            .unwrap_or(otherwise)
            .chars()
            .take(400)
            .collect()
    };
    let (who, why): (String, String) = (text("who", "control socket"), text("why", "asked for"));
    let inside = door.inside.borrow().clone();
    let state = match inside {
        Inside::Running(shared) => {
            let reason = why.clone();
            match command(&shared, |done| Command::Halt {
                flatten,
                scope,
                who,
                why,
                done: Some(done),
            })
            .await
            {
                (StatusCode::SERVICE_UNAVAILABLE, _) => {
                    return latch(&door.dir, flatten, &reason, STOPPING);
                }
                (StatusCode::GATEWAY_TIMEOUT, _) => {
                    return latch(
                        &door.dir,
                        flatten,
                        &reason,
                        "the gate did not answer in time; it goes on by itself",
                    );
                }
                answer => return answer,
            }
        }
        Inside::Starting => STARTING,
        Inside::Stopping => STOPPING,
    };
    latch(&door.dir, flatten, &why, state)
}

/// Latches a halt for whoever can carry it out: the gate that is about to start, or the next one.
fn latch(dir: &Path, flatten: bool, why: &str, state: &str) -> Answered {
    match killfile::leave(dir, flatten, why) {
        Ok(()) => {
            info!(
                event = "halt_latched",
                state, why, "a halt is latched for the gate"
            );
            let body = json!({"done": false, "latched": true, "state": state, "file": killfile::path(dir), "cancelled": 0,
                "closes": 0, "took_ms": 0, "left": []});
            (StatusCode::OK, Json(body))
        }
        Err(error) => {
            let why = format!(
                "{state}, and {} cannot be written: {error}",
                killfile::path(dir).display()
            );
            warn!(
                event = "halt_not_latched",
                why, "a halt could not be latched by file"
            );
            refused(StatusCode::INTERNAL_SERVER_ERROR, why)
        }
    }
}

/// The checks before trading, made now.
async fn preflight(RunningDaemon(s): RunningDaemon) -> Answered {
    let (done, answer) = oneshot::channel();
    if s.preflight.send(done).await.is_err() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
    }
    match tokio::time::timeout(SYNC_WAIT, answer).await {
        Ok(Ok(checks)) => (StatusCode::OK, Json(json!({"checks": checks}))),
        _ => refused(StatusCode::GATEWAY_TIMEOUT, "the checks took too long"),
    }
}

/// `{"contender": "…", "inst": "…"}`: what its model would be asked now.
async fn prompt(RunningDaemon(s): RunningDaemon, Json(body): Json<Value>) -> Answered {
    let Some(prompts) = &s.prompts else {
        return refused(
            StatusCode::NOT_FOUND,
            "no live contender is a model (kind = \"llm\")",
        );
    };
    let (reply, answer) = oneshot::channel();
    let contender = crate::domain::ContenderId::new(body["contender"].as_str().unwrap_or_default());
    let inst = body["inst"].as_str().map(InstId::from);
    if prompts
        .send(ShowPrompt {
            contender,
            inst,
            reply,
        })
        .await
        .is_err()
    {
        return refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
    }
    match tokio::time::timeout(SYNC_WAIT, answer).await {
        Ok(Ok(Ok(shown))) => {
            let messages = &shown.prompt.messages;
            let body = json!({"model": shown.model, "template": shown.template, "template_hash": shown.template_hash,
                "prompt_hash": shown.prompt.hash, "messages": messages, "data": shown.data, "not_asked": shown.not_asked});
            (StatusCode::OK, Json(body))
        }
        Ok(Ok(Err(why))) => refused(StatusCode::NOT_FOUND, why),
        _ => refused(
            StatusCode::GATEWAY_TIMEOUT,
            "the desk did not answer in time",
        ),
    }
}

/// Hands a command to the gate and waits for what it came to.
async fn command(s: &Shared, make: impl FnOnce(Answer) -> Command) -> Answered {
    let (done, answer) = oneshot::channel();
    if s.commands.send(make(done)).await.is_err() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
    }
    match tokio::time::timeout(COMMAND_WAIT, answer).await {
        Ok(Ok(Ok(report))) => {
            let mut body = serde_json::to_value(&report).unwrap_or_default();
            body["done"] = report.is_done().into();
            (StatusCode::OK, Json(body))
        }
        Ok(Ok(Err(why))) => refused(StatusCode::CONFLICT, why),
        _ => refused(
            StatusCode::GATEWAY_TIMEOUT,
            "the gate did not answer in time; it goes on by itself",
        ),
    }
}

/// `{"order": "as…"}`, `{"inst": "…"}`, or nothing: every order of ours that works.
async fn cancel(RunningDaemon(s): RunningDaemon, Json(body): Json<Value>) -> Answered {
    if !s.permission.lets(Departure::Cancel) {
        return refused(
            StatusCode::CONFLICT,
            "trading is off: nothing leaves, not even a cancel",
        );
    }
    let (order, inst) = (body["order"].as_str(), body["inst"].as_str());
    let wanted: Vec<(InstId, crate::domain::OrderId)> = s
        .orders
        .borrow()
        .open
        .values()
        .filter(|o| {
            order.is_none_or(|id| o.id.as_str() == id)
                && inst.is_none_or(|id| o.inst.as_str() == id)
        })
        .filter(|o| !o.state.is_final())
        .map(|o| (o.inst.clone(), o.id.clone()))
        .collect();
    if let Some(inst) =
        inst.filter(|inst| !s.market.borrow().insts.contains_key(&InstId::from(*inst)))
    {
        return refused(StatusCode::NOT_FOUND, format!("{inst} is not traded here"));
    }
    if let Some(id) = order.filter(|_| wanted.is_empty()) {
        return refused(
            StatusCode::NOT_FOUND,
            format!("order {id} is not open; see `alpha-arena orders --open`"),
        );
    }
    let now = s.clock.now();
    let run_id = s.ids.next(now);
    let run = Record::Run {
        run_id,
        kind: RunKind::Command,
        trigger: format!("cancel {body}"),
        at: now,
        caused_by: None,
    };
    if s.journal.append(run).await.is_err() {
        return refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
    }
    for (inst, order) in wanted.clone() {
        if s.cancels
            .send(CancelAsk {
                inst,
                order,
                run_id,
            })
            .await
            .is_err()
        {
            return refused(StatusCode::SERVICE_UNAVAILABLE, STOPPING);
        }
    }
    let asked: Vec<String> = wanted
        .into_iter()
        .map(|(_, order)| order.to_string())
        .collect();
    (
        StatusCode::OK,
        Json(json!({"run_id": run_id, "asked": asked})),
    )
}

/// The other end: a verb that asks a running daemon.
#[derive(Debug)]
pub struct ControlClient {
    http: reqwest::Client,
}

impl ControlClient {
    /// A client of the socket at `path`; `None` if there is no socket.
    pub fn of(path: &Path) -> Option<Self> {
        if !path.exists() {
            return None;
        }
        let http = reqwest::Client::builder()
            .unix_socket(path)
            .no_proxy()
            .timeout(COMMAND_WAIT + SYNC_WAIT)
            .build()
            .ok()?;
        Some(Self { http })
    }

    /// The daemon's status; `None` if nobody answers.
    pub async fn status(&self) -> Option<Value> {
        let text = self
            .http
            .get("http://daemon/status")
            .send()
            .await
            .ok()?
            .text()
            .await
            .ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Asks for something to be done. `None`: nobody answers.
    /// A refusal comes with what kind it is: `true` if what was named is not there.
    pub async fn ask(&self, what: &str, body: &Value) -> Option<Result<Value, (bool, String)>> {
        let reply = self
            .http
            .post(format!("http://daemon/{what}"))
            .json(body)
            .send()
            .await
            .ok()?;
        let (good, unnamed) = (
            reply.status().is_success(),
            reply.status() == StatusCode::NOT_FOUND,
        );
        let body: Value = serde_json::from_str(&reply.text().await.ok()?).ok()?;
        Some(if good {
            Ok(body)
        } else {
            Err((
                unnamed,
                body["error"].as_str().unwrap_or("failed").to_owned(),
            ))
        })
    }

    /// Makes the daemon read the account now. `None`: no daemon answers.
    pub async fn sync(&self) -> Option<Result<Value, String>> {
        let reply = self.http.post("http://daemon/sync").send().await.ok()?;
        let good = reply.status().is_success();
        let body: Value = serde_json::from_str(&reply.text().await.ok()?).ok()?;
        Some(if good {
            Ok(body)
        } else {
            Err(body["error"].as_str().unwrap_or("failed").to_owned())
        })
    }
}
