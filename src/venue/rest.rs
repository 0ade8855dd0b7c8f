//! REST. Reads share pooled connections and may be asked again; order operations go out once, on a
//! connection of their own, and whatever is not a clear answer is *unknown*.

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

    /// The venue's clock.
    pub async fn server_time(&self) -> Result<Ms, VenueError> {
        self.inner.budgets.wait(RateClass::Read, "time").await;
        let data = self.read_once("/api/v5/public/time", false).await?;
        Self::parsed("public/time", wire::parse_time(&data))
    }

    /// Sets our clock right if it is off the venue's.
    pub async fn check_clock(&self) {
        check_clock(&self.inner.clock, || self.server_time()).await;
    }

    /// Rules of a kind of instrument, with those that cannot be believed.
    pub async fn instrument_rules(&self, kind: InstKind) -> Result<Page<Instrument>, VenueError> {
        let data = self
            .read(
                RateClass::Bulk,
                &format!("/api/v5/public/instruments?instType={}", kind.okx()),
                false,
            )
            .await?;
        Self::parsed("public/instruments", wire::read_instruments(&data))
    }

    /// Instruments of a kind that we could trade.
    pub async fn instruments(&self, kind: InstKind) -> Result<Vec<Instrument>, VenueError> {
        let data = self
            .read(
                RateClass::Bulk,
                &format!("/api/v5/public/instruments?instType={}", kind.okx()),
                false,
            )
            .await?;
        Self::parsed("public/instruments", wire::parse_instruments(&data))
    }

    /// Candles, newest first, with whether each is final.
    pub async fn candles(
        &self,
        inst: &InstId,
        bar: Bar,
        page: CandlePage,
    ) -> Result<Vec<(Candle, bool)>, VenueError> {
        let kind = if page.history {
            "history-candles"
        } else {
            "candles"
        };
        let mut target = format!(
            "/api/v5/market/{kind}?instId={inst}&bar={bar}&limit={}",
            page.limit
        );
        if let Some(after) = page.after {
            target.push_str(&format!("&after={}", after.0));
        }
        if let Some(before) = page.before {
            target.push_str(&format!("&before={}", before.0));
        }
        let data = self.read(RateClass::Bulk, &target, false).await?;
        Self::parsed("market/candles", wire::parse_candles(&data.to_string()))
    }

    /// Funding rates that were paid, newest first: at most 400 older than `after`.
    pub async fn funding_history(
        &self,
        inst: &InstId,
        after: Option<Ms>,
    ) -> Result<Vec<FundingRate>, VenueError> {
        let mut target = format!("/api/v5/public/funding-rate-history?instId={inst}&limit=400");
        if let Some(after) = after {
            target.push_str(&format!("&after={}", after.0));
        }
        let data = self.read(RateClass::Read, &target, false).await?;
        Self::parsed("public/funding-rate-history", wire::parse_funding(&data))
    }

    /// The rate that will be paid next.
    pub async fn funding_rate(&self, inst: &InstId) -> Result<Option<FundingRate>, VenueError> {
        let data = self
            .read(
                RateClass::Read,
                &format!("/api/v5/public/funding-rate?instId={inst}"),
                false,
            )
            .await?;
        Ok(
            Self::parsed("public/funding-rate", wire::parse_funding(&data))?
                .into_iter()
                .next(),
        )
    }

    /// Contracts of a swap that are open, of everybody; `None`: the venue does not say.
    pub async fn open_interest(&self, inst: &InstId) -> Result<Option<Qty>, VenueError> {
        let target = format!("/api/v5/public/open-interest?instType=SWAP&instId={inst}");
        let data = self.read(RateClass::Read, &target, false).await?;
        let rows = Self::parsed("public/open-interest", wire::parse_open_interest(&data))?;
        Ok(rows
            .into_iter()
            .find(|(of, _)| of == inst)
            .map(|(_, contracts)| contracts))
    }

    /// The best levels of the book, whole.
    pub async fn book(&self, inst: &InstId, levels: usize) -> Result<BookPush, VenueError> {
        let target = format!("/api/v5/market/books?instId={inst}&sz={levels}");
        let data = self.read(RateClass::Bulk, &target, false).await?;
        Self::parsed("market/books", wire::parse_book(&data.to_string()))
    }

    /// The newest quote.
    pub async fn quote(&self, inst: &InstId) -> Result<Quote, VenueError> {
        let data = self
            .read(
                RateClass::Bulk,
                &format!("/api/v5/market/ticker?instId={inst}"),
                false,
            )
            .await?;
        Self::parsed("market/ticker", wire::parse_quote(&data.to_string())).map(|(_, quote)| quote)
    }

    /// Reads who we are and how the account is set.
    pub async fn account_config(&self) -> Result<AccountConfig, VenueError> {
        let data = self
            .read(RateClass::Slow, "/api/v5/account/config", true)
            .await?;
        Self::parsed("account/config", wire::parse_config(&data))
    }

    /// Reads the taker fee of this kind of instrument, as a share; negative is paid.
    pub async fn taker_fee(&self, kind: InstKind) -> Result<rust_decimal::Decimal, VenueError> {
        let target = format!("/api/v5/account/trade-fee?instType={}", kind.okx());
        let data = self.read(RateClass::Slow, &target, true).await?;
        Self::parsed("account/trade-fee", wire::parse_taker(&data))
    }

    /// Balances and positions, both read in full or an error.
    pub async fn account(&self) -> Result<AccountView, VenueError> {
        let as_of = self.inner.clock.now();
        let balance = self
            .read(RateClass::Read, "/api/v5/account/balance", true)
            .await?;
        let positions = self
            .read(RateClass::Read, "/api/v5/account/positions", true)
            .await?;
        Self::parsed("account", wire::parse_account(&balance, &positions, as_of))
    }

    /// Bills newer than `cursor`, oldest first; all that the venue keeps if there is none.
    pub async fn bills_since(&self, cursor: Option<&str>) -> Result<Page<Bill>, VenueError> {
        self.newer_than(
            RateClass::Read,
            "/api/v5/account/bills?limit=100",
            cursor,
            wire::read_bills,
        )
        .await
    }

    /// Fills newer than `cursor` (a bill id), oldest first.
    pub async fn fills_since(&self, cursor: Option<&str>) -> Result<Vec<FillReport>, VenueError> {
        let page = self
            .newer_than(
                RateClass::Query,
                "/api/v5/trade/fills?limit=100",
                cursor,
                wire::read_fills,
            )
            .await?;
        self.sift("trade/fills", Ok(page))
    }

    /// The newest fill the venue has, if any.
    pub async fn newest_fill(&self) -> Result<Option<FillReport>, VenueError> {
        let data = self
            .read(RateClass::Query, "/api/v5/trade/fills?limit=1", true)
            .await?;
        Ok(Self::parsed("trade/fills", wire::parse_fills(&data))?
            .into_iter()
            .next())
    }

    /// The newest page of fills, newest first.
    pub async fn newest_fills(&self) -> Result<Vec<FillReport>, VenueError> {
        let data = self
            .read(RateClass::Query, "/api/v5/trade/fills?limit=100", true)
            .await?;
        self.sift("trade/fills", wire::read_fills(&data))
    }

    /// Fills of one order.
    pub async fn fills_of(
        &self,
        inst: &InstId,
        venue_id: &str,
    ) -> Result<Vec<FillReport>, VenueError> {
        let target = format!("/api/v5/trade/fills?limit=100&instId={inst}&ordId={venue_id}");
        let data = self.read(RateClass::Query, &target, true).await?;
        let rows = self.sift("trade/fills", wire::read_fills(&data))?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        // That list forgets after three days; this one after three months.
        let kind = InstKind::named(inst.as_str()).okx();
        let target = format!(
            "/api/v5/trade/fills-history?instType={kind}&limit=100&instId={inst}&ordId={venue_id}"
        );
        let data = self.read(RateClass::Bulk, &target, true).await?;
        self.sift("trade/fills-history", wire::read_fills(&data))
    }

    /// Pages back from the newest row to the cursor: `before` alone would give the newest page
    /// only.
    async fn newer_than<T>(
        &self,
        rate: RateClass,
        base: &str,
        cursor: Option<&str>,
        read: impl Fn(&Value) -> Result<Page<T>, Malformed>,
    ) -> Result<Page<T>, VenueError> {
        let mut all = Page {
            rows: Vec::new(),
            refused: Vec::new(),
        };
        let mut after: Option<String> = None;
        loop {
            let mut target = base.to_owned();
            if let Some(cursor) = cursor {
                target.push_str(&format!("&before={cursor}"));
            }
            if let Some(oldest) = &after {
                target.push_str(&format!("&after={oldest}"));
            }
            let data = self.read(rate, &target, true).await?;
            let page = Self::parsed("a page of the ledger", read(&data))?;
            all.rows.extend(page.rows);
            all.refused.extend(page.refused);
            after = next_page(&data, "billId");
            if after.is_none() {
                all.rows.reverse();
                return Ok(all);
            }
        }
    }

    /// One order by our id, as the venue has it now.
    pub async fn order(&self, inst: &InstId, cl_ord_id: &ClOrdId) -> Result<OrderPush, VenueError> {
        self.one_order(inst, &format!("clOrdId={cl_ord_id}")).await
    }

    /// One order by the venue's id.
    pub async fn order_by_venue_id(
        &self,
        inst: &InstId,
        ord_id: &str,
    ) -> Result<OrderPush, VenueError> {
        self.one_order(inst, &format!("ordId={ord_id}")).await
    }

    async fn one_order(&self, inst: &InstId, id: &str) -> Result<OrderPush, VenueError> {
        let data = self
            .read(
                RateClass::Query,
                &format!("/api/v5/trade/order?instId={inst}&{id}"),
                true,
            )
            .await?;
        let mut rows = Self::parsed("trade/order", wire::parse_orders(&data.to_string()))?;
        rows.pop().ok_or_else(|| VenueError::Strange {
            request: "GET trade/order".into(),
            status: 200,
            body: data.to_string(),
        })
    }

    /// All open orders of the account, ours and others'.
    pub async fn orders_pending(&self) -> Result<Vec<OrderPush>, VenueError> {
        let mut rows: Vec<OrderPush> = Vec::new();
        let mut after = None;
        loop {
            let mut target = "/api/v5/trade/orders-pending?limit=100".to_owned();
            after
                .iter()
                .for_each(|last: &String| target.push_str(&format!("&after={last}")));
            let data = self.read(RateClass::Query, &target, true).await?;
            rows.extend(self.sift("trade/orders-pending", wire::read_orders(&data))?);
            after = next_page(&data, "ordId");
            if after.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Orders of a kind that ended, newest first, one page: the last two hours of a careful trader.
    pub async fn orders_history(&self, kind: InstKind) -> Result<Vec<OrderPush>, VenueError> {
        let target = format!(
            "/api/v5/trade/orders-history?instType={}&limit=100",
            kind.okx()
        );
        let data = self.read(RateClass::Bulk, &target, true).await?;
        self.sift("trade/orders-history", wire::read_orders(&data))
    }

    /// Stops that are alive, all of them.
    pub async fn algos_pending(&self) -> Result<Vec<wire::AlgoPush>, VenueError> {
        let mut rows: Vec<wire::AlgoPush> = Vec::new();
        let mut after = None;
        loop {
            let mut target =
                "/api/v5/trade/orders-algo-pending?ordType=conditional&limit=100".to_owned();
            after
                .iter()
                .for_each(|last: &String| target.push_str(&format!("&after={last}")));
            let data = self.read(RateClass::Bulk, &target, true).await?;
            rows.extend(self.sift("trade/orders-algo-pending", wire::read_algos(&data))?);
            after = next_page(&data, "algoId");
            if after.is_none() {
                return Ok(rows);
            }
        }
    }

    /// One stop by our id.
    pub async fn algo(&self, algo_id: &str) -> Result<wire::AlgoPush, VenueError> {
        let data = self
            .read(
                RateClass::Bulk,
                &format!("/api/v5/trade/order-algo?algoClOrdId={algo_id}"),
                true,
            )
            .await?;
        let rows = Self::parsed("trade/order-algo", wire::parse_algos(&data.to_string()))?;
        rows.into_iter()
            .find(|push| push.algo_id == algo_id)
            .ok_or_else(|| VenueError::Strange {
                request: "GET trade/order-algo".into(),
                status: 200,
                body: data.to_string(),
            })
    }

    /// Stops that ended lately: triggered, cancelled, failed. One page of each.
    pub async fn algos_ended(&self) -> Result<Vec<wire::AlgoPush>, VenueError> {
        let mut rows = Vec::new();
        for state in ["effective", "canceled", "order_failed"] {
            let target = format!(
                "/api/v5/trade/orders-algo-history?ordType=conditional&state={state}&limit=100"
            );
            let data = self.read(RateClass::Bulk, &target, true).await?;
            rows.extend(self.sift("trade/orders-algo-history", wire::read_algos(&data))?);
        }
        Ok(rows)
    }
}

/// After which row the next page begins, if this one is full. Rows that we leave out count: they
/// filled the page.
fn next_page(data: &Value, id: &str) -> Option<String> {
    let rows = data.as_array().filter(|rows| rows.len() >= 100)?;
    rows.last()?[id].as_str().map(str::to_owned)
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
