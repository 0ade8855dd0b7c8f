//! OKX v5 over HTTP and WebSocket, on one loopback port, in front of the engine.

mod account;
mod auth;
mod endpoints;
mod faults;
mod limits;
mod lists;
mod parse;
mod public;
mod rest;
mod sim;
mod tls;
mod trade;
mod ws;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use self::faults::{FaultAction, Rule};
use super::Engine;
use crate::domain::Ms;

pub use tls::self_signed;

/// The key that opens the one account. Not a secret: it opens nothing but this simulation.
#[derive(Clone, Debug, Serialize)]
pub struct Credentials {
    pub api_key: String,
    pub secret: String,
    pub passphrase: String,
    pub uid: String,
}

impl Credentials {
    /// Derived from the exchange's identity, so that a restart keeps the key.
    pub fn of(engine: &Engine) -> Self {
        let derive = |what: &str| {
            let digest = Sha256::digest(format!(
                "{what} {} {}",
                engine.identity.seed, engine.identity.uid
            ));
            data_encoding::HEXLOWER.encode(&digest[..16])
        };
        Self {
            api_key: derive("key"),
            secret: derive("secret"),
            passphrase: derive("passphrase"),
            uid: engine.identity.uid.clone(),
        }
    }
}

/// Settings of the server.
#[derive(Clone, Default)]
pub struct ServerConfig {
    /// Play OKX's demo site: `x-simulated-trading: 1` is required.
    pub demo: bool,
    /// Speak TLS with this certificate.
    pub tls: Option<tokio_rustls::TlsAcceptor>,
}

/// Addresses on which the server listens, and the credentials for them; the first line of `exchange
/// --json`.
#[derive(Clone, Debug, Serialize)]
pub struct ServerAddress {
    pub rest: String,
    pub ws: String,
    #[serde(flatten)]
    pub credentials: Credentials,
}

/// State that every request handler needs.
pub(super) struct Site {
    engine: Engine,
    credentials: Credentials,
    demo: bool,
    limits: limits::RequestLimits,
    faults: faults::Faults,
    channel_counts: ws::ChannelCounts,
    connections: std::sync::atomic::AtomicU64,
    /// Cancelled to tell every connection that the service will be upgraded.
    notices: tokio::sync::broadcast::Sender<()>,
}

impl Site {
    /// The venue's time as it shows it, which a fault may have put off.
    fn now(&self) -> Ms {
        self.faults.skewed(self.engine.clock.now())
    }
}

/// Serves `engine` on `listener` until `stop`.
///
/// # Errors
/// When the listener's address cannot be read.
pub fn serve(
    engine: Engine,
    config: ServerConfig,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<(
    ServerAddress,
    impl Future<Output = std::io::Result<()>> + Send + 'static,
)> {
    let address: SocketAddr = listener.local_addr()?;
    let credentials = Credentials::of(&engine);
    let letter = if config.tls.is_some() { "s" } else { "" };
    let endpoint = ServerAddress {
        rest: format!("http{letter}://{address}"),
        ws: format!("ws{letter}://{address}/ws/v5"),
        credentials: credentials.clone(),
    };
    let site = Arc::new(Site {
        engine,
        credentials,
        demo: config.demo,
        limits: limits::RequestLimits::default(),
        faults: faults::Faults::default(),
        channel_counts: Default::default(),
        connections: Default::default(),
        notices: tokio::sync::broadcast::channel(4).0,
    });
    let router = Router::new()
        .route("/ws/v5/{kind}", axum::routing::get(ws::upgrade))
        .fallback(any)
        .with_state(Arc::clone(&site));
    let server = async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            served = accept(listener, router, config.tls) => served,
        }
    };
    Ok((endpoint, server))
}

/// Takes connections for ever; each has a task of its own, and all end with this one.
async fn accept(
    listener: TcpListener,
    router: Router,
    tls: Option<tokio_rustls::TlsAcceptor>,
) -> std::io::Result<()> {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: neither is the end of the
                    // venue.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        // Small frames, each of which somebody waits for.
        drop(stream.set_nodelay(true));
        let (router, tls) = (router.clone(), tls.clone());
        connections.spawn(async move {
            match tls {
                None => converse(stream, router).await,
                // A failed handshake is the client's to report.
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        converse(stream, router).await;
                    }
                }
            }
        });
    }
}

/// Serves one connection to its end. A dropped answer ends it without a word.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service =
        hyper::service::service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let mut router = router.clone();
            async move {
                let response = match router.call(request.map(Body::new)).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                match response.extensions().get::<Dropped>() {
                    Some(Dropped) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset)),
                    None => Ok(response),
                }
            }
        });
    let connection = hyper::server::conn::http1::Builder::new()
        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
        .with_upgrades();
    // Whatever ends a connection ends only that connection.
    drop(connection.await);
}

/// Marks a response that is never sent: the connection ends instead.
#[derive(Clone, Copy)]
struct Dropped;

/// A request as the handlers see it; `target` and `body` are the exact bytes that were signed.
pub(super) struct Request {
    method: Method,
    path: String,
    target: String,
    params: std::collections::BTreeMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    /// A query parameter; absent and empty are the same to OKX.
    fn param(&self, name: &str) -> &str {
        self.params.get(name).map_or("", String::as_str)
    }
    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or("")
    }
    /// A copy of what was asked that can go to the engine's thread.
    fn for_engine(&self) -> Request {
        Request {
            method: self.method.clone(),
            path: String::new(),
            target: String::new(),
            params: self.params.clone(),
            headers: Default::default(),
            body: Default::default(),
        }
    }
}

/// Code and message with an HTTP status: how OKX answers when there is no data.
#[derive(Debug)]
pub(super) struct VenueFailure {
    status: StatusCode,
    code: String,
    msg: String,
}

impl VenueFailure {
    fn new(status: u16, code: &str, msg: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            code: code.to_owned(),
            msg: msg.into(),
        }
    }
}

impl From<super::engine::Unavailable> for VenueFailure {
    fn from(why: super::engine::Unavailable) -> Self {
        match why {
            super::engine::Unavailable::Busy => {
                VenueFailure::new(429, "50013", "Systems are busy. Please try again later.")
            }
            super::engine::Unavailable::Stopped => {
                VenueFailure::new(503, "50001", "Service temporarily unavailable.")
            }
        }
    }
}

impl IntoResponse for VenueFailure {
    fn into_response(self) -> Response {
        // OKX's 404 is the one answer with a number for a code and an object for data.
        let body = if self.status == StatusCode::NOT_FOUND {
            serde_json::json!({"msg": self.msg, "code": 404, "data": {}})
        } else {
            serde_json::json!({"msg": self.msg, "code": self.code})
        };
        json_response(self.status, body.to_string())
    }
}

fn json_response(status: StatusCode, body: String) -> Response {
    (status, [("content-type", "application/json")], body).into_response()
}

async fn any(
    State(site): State<Arc<Site>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let params =
        axum::extract::Query::<std::collections::BTreeMap<String, String>>::try_from_uri(&uri)
            .map(|q| q.0)
            .unwrap_or_default();
    let target = uri
        .path_and_query()
        .map_or_else(|| uri.path().to_owned(), |pq| pq.as_str().to_owned());
    let request = Request {
        method,
        path: uri.path().to_owned(),
        target,
        params,
        headers,
        body,
    };
    if request.path.starts_with("/sim/") {
        return answered(sim::handle(&site, &request).await);
    }
    let name = request
        .path
        .strip_prefix("/api/v5/")
        .unwrap_or(&request.path);
    match site.faults.strike(&format!("{} {name}", request.method)) {
        None => answered(rest::handle(&site, &request).await),
        // On its own task: a client that has gone away does not call back what it sent.
        Some(rule) => tokio::spawn(async move { struck(&site, &request, rule).await })
            .await
            .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response()),
    }
}

fn answered(answer: Result<String, VenueFailure>) -> Response {
    match answer {
        Ok(body) => json_response(StatusCode::OK, body),
        Err(failure) => failure.into_response(),
    }
}

/// Answers a request that a fault has struck.
async fn struck(site: &Site, request: &Request, rule: Rule) -> Response {
    let wait = Duration::from_millis(rule.ms.max(0).unsigned_abs());
    let failure = || {
        let (status, code) = (
            if rule.status == 0 { 503 } else { rule.status },
            rule.code.as_str(),
        );
        VenueFailure::new(
            status,
            if code.is_empty() { "50001" } else { code },
            "Service temporarily unavailable.",
        )
    };
    match rule.action {
        FaultAction::DropBefore | FaultAction::Disconnect => return dropped(),
        FaultAction::FailBefore => return failure().into_response(),
        FaultAction::Delay => tokio::time::sleep(wait).await,
        FaultAction::HalfOpen => std::future::pending::<()>().await,
        _ => {}
    }
    if rule.action == FaultAction::Duplicate {
        drop(rest::handle(site, request).await);
    }
    let answer = rest::handle(site, request).await;
    match rule.action {
        FaultAction::DropAfter => dropped(),
        FaultAction::FailAfter => failure().into_response(),
        FaultAction::Html => {
            let page = "<html><head><title>502 Bad Gateway</title></head><body>502 Bad Gateway</body></html>";
            (
                StatusCode::BAD_GATEWAY,
                [("content-type", "text/html")],
                page,
            )
                .into_response()
        }
        FaultAction::CutBody => cut(answer),
        FaultAction::DelayReply => {
            tokio::time::sleep(wait).await;
            answered(answer)
        }
        _ => answered(answer),
    }
}

fn dropped() -> Response {
    let mut response = StatusCode::OK.into_response();
    response.extensions_mut().insert(Dropped);
    response
}

/// Promises the whole body and sends half of it.
fn cut(answer: Result<String, VenueFailure>) -> Response {
    let body = answer.unwrap_or_else(|failure| failure.msg);
    let half = Bytes::copy_from_slice(&body.as_bytes()[..body.len() / 2]);
    // The half is on its way before the connection goes.
    let cut = futures_util::stream::once(async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset))
    });
    let parts = futures_util::stream::once(std::future::ready(Ok(half))).chain(cut);
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("content-length", body.len().to_string()),
    ];
    (StatusCode::OK, headers, Body::from_stream(parts)).into_response()
}

/// A create's body, read as the server reads it.
///
/// # Errors
/// With the venue's code, when it cannot be an order.
pub fn parse_order(
    item: &serde_json::Value,
) -> Result<super::core::NewOrder, super::core::Rejection> {
    parse::order(item)
}

/// Reads one item of a new algo order, as the server does.
pub fn parse_algo(
    item: &serde_json::Value,
) -> Result<super::core::NewAlgo, super::core::Rejection> {
    parse::algo(item)
}
