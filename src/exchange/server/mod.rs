//! OKX v5 over HTTP and WebSocket, on one loopback port, in front of the engine.

mod auth;
mod limits;
mod rest;
mod sim;
mod trade;
mod ws;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Engine;

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
            let digest = Sha256::digest(format!("{what} {} {}", engine.identity.seed, engine.identity.uid));
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

/// How the server behaves.
#[derive(Clone, Debug, Default)]
pub struct ServerConfig {
    /// Play OKX's demo site: `x-simulated-trading: 1` is required.
    pub demo: bool,
}

/// Where it listens and what opens it; the first line of `exchange --json`.
#[derive(Clone, Debug, Serialize)]
pub struct Endpoint {
    pub rest: String,
    pub ws: String,
    #[serde(flatten)]
    pub credentials: Credentials,
}

/// What every request handler needs.
#[derive(Debug)]
pub(super) struct Site {
    engine: Engine,
    credentials: Credentials,
    config: ServerConfig,
    limits: limits::Limits,
    orders_subscribers: std::sync::atomic::AtomicUsize,
    connections: std::sync::atomic::AtomicU64,
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
) -> std::io::Result<(Endpoint, impl Future<Output = std::io::Result<()>> + Send + 'static)> {
    let address: SocketAddr = listener.local_addr()?;
    let credentials = Credentials::of(&engine);
    let endpoint = Endpoint {
        rest: format!("http://{address}"),
        ws: format!("ws://{address}/ws/v5"),
        credentials: credentials.clone(),
    };
    let site = Arc::new(Site {
        engine,
        credentials,
        config,
        limits: limits::Limits::default(),
        orders_subscribers: Default::default(),
        connections: Default::default(),
    });
    let router = Router::new()
        .route("/ws/v5/{kind}", axum::routing::get(ws::upgrade))
        .fallback(any)
        .with_state(Arc::clone(&site));
    let closing = stop.clone();
    let server = async move {
        tokio::select! {
            biased;
            () = closing.cancelled() => Ok(()),
            served = axum::serve(listener, router) => served,
        }
    };
    Ok((endpoint, server))
}

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
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }
}

/// Code and message with an HTTP status: how OKX answers when there is no data.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    code: String,
    msg: String,
}

impl Failure {
    fn new(status: u16, code: &str, msg: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code: code.to_owned(), msg: msg.into() }
    }
}

impl From<super::engine::Unavailable> for Failure {
    fn from(why: super::engine::Unavailable) -> Self {
        match why {
            super::engine::Unavailable::Busy => Failure::new(429, "50013", "Systems are busy. Please try again later."),
            super::engine::Unavailable::Stopped => Failure::new(503, "50001", "Service temporarily unavailable."),
        }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        json_response(self.status, serde_json::json!({"msg": self.msg, "code": self.code}).to_string())
    }
}

fn json_response(status: StatusCode, body: String) -> Response {
    (status, [("content-type", "application/json")], body).into_response()
}

async fn any(State(site): State<Arc<Site>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let params = axum::extract::Query::<std::collections::BTreeMap<String, String>>::try_from_uri(&uri)
        .map(|q| q.0)
        .unwrap_or_default();
    let target = uri.path_and_query().map_or_else(|| uri.path().to_owned(), |pq| pq.as_str().to_owned());
    let request = Request { method, path: uri.path().to_owned(), target, params, headers, body };
    let answer = if request.path.starts_with("/sim/") {
        sim::handle(&site, &request).await
    } else {
        rest::handle(&site, &request).await
    };
    match answer {
        Ok(body) => json_response(StatusCode::OK, body),
        Err(failure) => failure.into_response(),
    }
}
