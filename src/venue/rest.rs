//! REST. Reads share pooled connections and may be asked again; order operations go out once, on a
//! connection of their own, and whatever is not a clear answer is *unknown*.

mod account;
mod orders;
mod public;
mod trading;

pub use self::trading::Trading;

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Client, Method, redirect};
use serde_json::Value;
use tracing::{debug, warn};

use super::budget::{Budgets, RateClass};
use super::codes::{
    CancelOutcome, Class, CreateOutcome, OrderRef, class, excerpt, judge_cancel, judge_create,
};
use super::sign::Signer;
use super::wire::{
    self, AccountConfig, BookPush, FillReport, FundingRate, Malformed, OrderPush,
    OrderTransportKind, Page, RefusedRow,
};
use crate::domain::{
    AccountView, Bar, Bill, Candle, ClOrdId, InstId, InstKind, Instrument, Ms, OrderIntent, Price,
    Qty, Quote, StopOrder,
};
use crate::runtime::{CLOCK_FAR, Clock, StageError};

/// Why a read failed. None of these means "empty" or "flat".
#[derive(Debug, thiserror::Error)]
pub enum VenueError {
    #[error("{request}: no answer ({source})")]
    Transport {
        request: String,
        source: reqwest::Error,
    },
    #[error("{request}: OKX says {code} {msg}")]
    Refused {
        request: String,
        code: String,
        msg: String,
    },
    #[error("{request}: an answer that is not OKX's (HTTP {status}): {body}")]
    Strange {
        request: String,
        status: u16,
        body: String,
    },
    #[error("{request}: {source}")]
    Malformed { request: String, source: Malformed },
}

impl VenueError {
    /// True if it is certain that asking again will not help until a person does something.
    pub fn needs_person(&self) -> bool {
        matches!(self, VenueError::Refused { code, .. } if class(code) == Class::Stop)
    }
    /// True if the venue rejects the question itself, so that asking again cannot help.
    pub fn is_reject(&self) -> bool {
        matches!(self, VenueError::Refused { code, .. } if class(code) == Class::Reject)
    }
    /// True if the venue says it does not know the order (51603). Right after sending that proves
    /// nothing.
    pub fn is_not_found(&self) -> bool {
        matches!(self, VenueError::Refused { code, .. } if code == "51603")
    }
    /// True if our clock is off (50102).
    pub fn is_clock(&self) -> bool {
        matches!(self, VenueError::Refused { code, .. } if class(code) == Class::Resync)
    }
}

impl From<VenueError> for StageError {
    fn from(error: VenueError) -> Self {
        if error.needs_person() {
            StageError::Refused(error.to_string())
        } else {
            StageError::Venue(error.to_string())
        }
    }
}

/// Address of the venue and how to reach it.
#[derive(Clone, Debug)]
pub struct VenueConfig {
    /// `https://host`, without a path.
    pub rest: String,
    /// Wall time after which a request counts as unanswered.
    pub timeout: Duration,
    /// Demo trading: every request carries `x-simulated-trading: 1`.
    pub demo: bool,
}

/// A page of candles: those older than `after` and newer than `before`.
#[derive(Clone, Copy, Debug)]
pub struct CandlePage {
    pub after: Option<Ms>,
    pub before: Option<Ms>,
    pub limit: usize,
    /// `history-candles` instead of `candles`.
    pub history: bool,
}

/// The venue's REST side. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Venue {
    inner: Arc<VenueInner>,
}

#[derive(Debug)]
struct VenueInner {
    config: VenueConfig,
    reads: Client,
    orders: Client,
    signer: Option<Signer>,
    clock: Clock,
    budgets: Budgets,
    /// Rows of lists that could not be believed, since somebody last asked.
    refused: Mutex<Vec<RefusedRow>>,
}

/// Refused rows that are remembered at most; a page has a hundred.
const REFUSED_MAX: usize = 1000;

impl Venue {
    /// A client; without a signer only public endpoints work.
    ///
    /// # Errors
    /// When the TLS stack cannot be set up.
    pub fn new(
        config: VenueConfig,
        signer: Option<Signer>,
        clock: Clock,
    ) -> Result<Self, VenueError> {
        let base = || {
            Client::builder()
                .timeout(config.timeout)
                .connect_timeout(config.timeout)
                // Neither a redirect nor a proxy from the environment may carry a signed request
                // elsewhere.
                .redirect(redirect::Policy::none())
                .no_proxy()
                .tcp_nodelay(true)
        };
        let failed = |source| VenueError::Transport {
            request: "setting up the client".into(),
            source,
        };
        let reads = base().build().map_err(failed)?;
        // One connection per order operation and no retry inside the stack: what was written once
        // is never written again by anybody but us (P2).
        let orders = base()
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(0)
            .http1_only()
            .build()
            .map_err(failed)?;
        let inner = VenueInner {
            config,
            reads,
            orders,
            signer,
            clock,
            budgets: Budgets::default(),
            refused: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Venue time.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The signer, for the WebSocket login.
    pub fn signer(&self) -> Option<&Signer> {
        self.inner.signer.as_ref()
    }

    async fn read(&self, rate: RateClass, target: &str, signed: bool) -> Result<Value, VenueError> {
        let endpoint = target.split('?').next().unwrap_or(target);
        self.inner.budgets.wait(rate, endpoint).await;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.read_once(target, signed).await {
                // Once: our clock was off.
                Err(error) if error.is_clock() && tries == 1 => {
                    let now = self.server_time().await?;
                    self.inner.clock.anchor(now);
                }
                Err(VenueError::Refused { code, .. })
                    if class(&code) == Class::Backoff && tries <= 3 =>
                {
                    debug!(event = "rate_limited", %target, "backing off for a window");
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
                other => return other,
            }
        }
    }

    async fn read_once(&self, target: &str, signed: bool) -> Result<Value, VenueError> {
        let request = || format!("GET {}", target.split('?').next().unwrap_or(target));
        let builder = self
            .inner
            .reads
            .get(format!("{}{target}", self.inner.config.rest));
        let builder = if signed {
            self.sign(builder, &Method::GET, target, "")
        } else {
            builder
        };
        let transport = |source: reqwest::Error| VenueError::Transport {
            request: request(),
            source: source.without_url(),
        };
        let response = self.environment(builder).send().await.map_err(transport)?;
        let status = response.status().as_u16();
        let body = response.text().await.map_err(transport)?;
        let mut reply: Value = serde_json::from_str(&body).map_err(|_| VenueError::Strange {
            request: request(),
            status,
            body: excerpt(&body),
        })?;
        match reply["code"].as_str() {
            Some("0") if reply["data"].is_array() => Ok(reply["data"].take()),
            Some(code) if code != "0" => Err(VenueError::Refused {
                request: request(),
                code: code.to_owned(),
                msg: reply["msg"].as_str().unwrap_or("").to_owned(),
            }),
            _ => Err(VenueError::Strange {
                request: request(),
                status,
                body: excerpt(&body),
            }),
        }
    }

    fn sign(
        &self,
        builder: reqwest::RequestBuilder,
        method: &Method,
        target: &str,
        body: &str,
    ) -> reqwest::RequestBuilder {
        let Some(signer) = &self.inner.signer else {
            return builder;
        };
        let headers = signer.headers(self.inner.clock.now(), method.as_str(), target, body);
        builder
            .header("OK-ACCESS-KEY", headers.key)
            .header("OK-ACCESS-PASSPHRASE", headers.passphrase)
            .header("OK-ACCESS-TIMESTAMP", headers.timestamp)
            .header("OK-ACCESS-SIGN", headers.signature)
    }

    fn environment(&self, builder: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        if self.inner.config.demo {
            builder.header("x-simulated-trading", "1")
        } else {
            builder
        }
    }

    fn parsed<T>(what: &str, result: Result<T, Malformed>) -> Result<T, VenueError> {
        result.map_err(|source| VenueError::Malformed {
            request: what.to_owned(),
            source,
        })
    }

    /// Rows of lists of orders, fills and stops that could not be believed since this was last
    /// asked. They are missing from the lists, which says nothing of what they are about.
    pub fn take_refused(&self) -> Vec<RefusedRow> {
        std::mem::take(
            &mut *self
                .inner
                .refused
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The rows of a list that can be believed; the others are told and remembered.
    fn sift<T>(
        &self,
        request: &str,
        page: Result<Page<T>, Malformed>,
    ) -> Result<Vec<T>, VenueError> {
        let page = Self::parsed(request, page)?;
        for row in &page.refused {
            warn!(
                event = "row_refused",
                request,
                what = row.what,
                subject = row.subject,
                id = row.id,
                why = row.why,
                "the venue's list has a row that cannot be right; it is asked for again"
            );
        }
        let mut refused = self
            .inner
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let room = REFUSED_MAX.saturating_sub(refused.len());
        refused.extend(page.refused.into_iter().take(room));
        Ok(page.rows)
    }
}

/// Sets a clock to the venue's if it is off. A difference of minutes is believed only when the
/// venue says it twice: one wrong answer would make everything else old, or of the future.
pub async fn check_clock<F: Future<Output = Result<Ms, VenueError>>>(
    clock: &Clock,
    ask: impl Fn() -> F,
) {
    let mut far: Option<Ms> = None;
    for _ in 0..2 {
        let before = clock.now();
        let Ok(told) = ask().await else { return };
        let off = clock.off(before, told);
        if off == Ms::ZERO {
            return;
        }
        let same = far.is_some_and(|far| off.since(far).0.abs() <= CLOCK_FAR.0);
        if off.0.abs() <= clock.venue_span(Duration::from_secs(1)).0.max(CLOCK_FAR.0) || same {
            warn!(
                event = "clock_off",
                off_ms = off.0,
                "our clock was off the venue's; set right"
            );
            clock.anchor(told);
            return;
        }
        warn!(
            event = "clock_doubted",
            off_ms = off.0,
            "the venue tells a time far from ours; asking once more"
        );
        far = Some(off);
    }
}

/// Asks a simulated exchange for its clock: (now, rate). Not OKX's.
pub async fn sim_clock(rest: &str, timeout: Duration) -> Result<(Ms, f64), VenueError> {
    let failed = |source: reqwest::Error| VenueError::Transport {
        request: "GET /sim/clock".into(),
        source,
    };
    let client = Client::builder()
        .timeout(timeout)
        .no_proxy()
        .build()
        .map_err(failed)?;
    let text = client
        .get(format!("{rest}/sim/clock"))
        .send()
        .await
        .map_err(failed)?
        .text()
        .await
        .map_err(failed)?;
    let reply: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
    match (reply["now_ms"].as_i64(), reply["rate"].as_f64()) {
        (Some(now), Some(rate)) if rate > 0.0 => Ok((Ms(now), rate)),
        _ => Err(VenueError::Strange {
            request: "GET /sim/clock".into(),
            status: 200,
            body: excerpt(&text),
        }),
    }
}

#[cfg(test)]
mod tests;
