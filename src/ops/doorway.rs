//! Serves HTTP on a Unix socket so that nobody can shut others out: idle connections end soon, the
//! oldest of them at once when there are too many, and when the process has no descriptor left one
//! that was kept back lets the next caller in.
//!
//! The control socket has an accept loop of its own: a framework's would neither turn anybody away
//! nor survive the last descriptor.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tower_service::Service;
use tracing::warn;

/// Connections at once.
const MOST: usize = 32;
/// Bytes of a request.
const BODY_MAX: usize = 1 << 20;
/// A connection that has not sent its request's head within this ends; nor may the rest of it take
/// longer.
const HEAD_WAIT: Duration = Duration::from_secs(3);
/// Longest time any request here takes.
const ANSWER_WAIT: Duration = Duration::from_secs(150);
/// Time that somebody has to say what he wants, when descriptors are gone.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pause after a failure to accept.
const AGAIN: Duration = Duration::from_millis(50);

/// A socket that is about to be served.
pub struct Doorway {
    listener: UnixListener,
    router: Router,
    guests: VecDeque<Guest>,
    /// A descriptor kept back for when there is none left.
    reserve: Option<File>,
}

/// One connection.
struct Guest {
    task: AbortHandle,
    since: Instant,
    /// True while a request of this connection is being answered.
    asks: Arc<AtomicBool>,
}

/// The serving; it ends with this.
pub struct Serving(AbortHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Doorway {
    /// A socket and what answers behind it.
    pub fn new(listener: UnixListener, router: Router) -> Self {
        Self {
            listener,
            router,
            guests: VecDeque::new(),
            reserve: File::open("/dev/null").ok(),
        }
    }

    /// Serves until what this returns is dropped.
    pub fn serve(self) -> Serving {
        Serving(tokio::spawn(self.run()).abort_handle())
    }

    async fn run(mut self) {
        let mut failing = false;
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    self.welcome(stream);
                    failing = false;
                }
                Err(error) => {
                    // Out of descriptors, which Linux says also when nobody waits: the one kept
                    // back lets in whoever comes.
                    if !failing {
                        warn!(event = "control_accept", %error, "the control socket cannot take a connection; using the reserve");
                    }
                    failing = true;
                    if self.reserve.take().is_none() {
                        self.make_room(PATIENCE);
                    }
                    if let Ok(Ok((stream, _))) =
                        tokio::time::timeout(AGAIN, self.listener.accept()).await
                    {
                        self.welcome(stream);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
            if self.reserve.is_none() {
                self.reserve = File::open("/dev/null").ok();
            }
        }
    }

    fn welcome(&mut self, stream: UnixStream) {
        self.guests.retain(|guest| !guest.task.is_finished());
        if self.guests.len() >= MOST {
            self.make_room(Duration::ZERO);
        }
        if self.guests.len() >= MOST {
            return; // all of them are being answered; whoever comes now is turned away
        }
        let asks = Arc::new(AtomicBool::new(false));
        let (router, told) = (self.router.clone(), Arc::clone(&asks));
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let (mut router, told) = (router.clone(), Arc::clone(&told));
            async move {
                let (head, body) = request.into_parts();
                let whole = tokio::time::timeout(
                    HEAD_WAIT,
                    axum::body::to_bytes(Body::new(body), BODY_MAX),
                )
                .await;
                let Ok(Ok(bytes)) = whole else {
                    let late = axum::http::StatusCode::REQUEST_TIMEOUT;
                    return Ok::<_, Infallible>(late.into_response());
                };
                // Whoever has said all that he wants is answered.
                told.store(true, Ordering::Relaxed);
                let answer = router
                    .call(hyper::Request::from_parts(head, Body::from(bytes)))
                    .await;
                Ok(answer.unwrap_or_else(|never: Infallible| match never {}))
            }
        });
        let talk = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_WAIT)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        let task = tokio::spawn(async move {
            // Whoever hangs up, or is too slow, is nobody's trouble.
            drop(tokio::time::timeout(ANSWER_WAIT, talk).await);
        });
        self.guests.push_back(Guest {
            task: task.abort_handle(),
            since: Instant::now(),
            asks,
        });
    }

    /// Sends the oldest away who has been here for longer than this and has not asked anything.
    fn make_room(&mut self, patience: Duration) {
        let idle = |guest: &Guest| {
            !guest.asks.load(Ordering::Relaxed) && guest.since.elapsed() >= patience
        };
        let idle = self.guests.iter().position(idle);
        if let Some(guest) = idle.and_then(|at| self.guests.remove(at)) {
            guest.task.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as Plain;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn idle_connections_shut_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let router = Router::new().route("/", axum::routing::get(|| async { "here" }));
        let serving = Doorway::new(UnixListener::bind(&path).unwrap(), router).serve();
        let ask = tokio::task::spawn_blocking(move || {
            let idle: Vec<Plain> = (0..3 * MOST)
                .map(|_| Plain::connect(&path).unwrap())
                .collect();
            let mut one = Plain::connect(&path).unwrap();
            one.write_all(b"GET / HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
            let mut answer = String::new();
            one.read_to_string(&mut answer).unwrap();
            // Who says nothing is hung up on.
            let mut last = idle.into_iter().next_back().unwrap();
            last.read_to_end(&mut Vec::new()).unwrap();
            answer
        });
        assert!(ask.await.unwrap().ends_with("here"));
        drop(serving);
    }
}
