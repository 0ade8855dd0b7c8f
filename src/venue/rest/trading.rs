//! Requests that change something at the venue: sent once, never again.

use reqwest::Method;
use serde_json::Value;

use super::*;

/// The part of the client that changes things. Only the executor holds one.
#[derive(Debug)]
pub struct Trading {
    venue: Venue,
}

impl Trading {
    /// Takes the power to trade over this venue.
    pub fn over(venue: Venue) -> Self {
        Self { venue }
    }

    /// Waits for room in the budget of new orders. Apart from [`Trading::create`], so that the
    /// deadline of the order is stamped after the wait and the last look at the latch comes after
    /// it too.
    pub async fn room_to_create(&self, inst: &InstId) {
        self.venue
            .inner
            .budgets
            .wait(RateClass::Create, inst.as_str())
            .await;
    }

    /// Sends a create, once.
    pub async fn create(
        &self,
        intent: &OrderIntent,
        inst: &Instrument,
        expires_at: Ms,
    ) -> CreateOutcome {
        let body = match wire::create_body(intent, inst, OrderTransportKind::Rest) {
            Ok(body) => body.to_string(),
            Err(error) => {
                return CreateOutcome::Rejected {
                    code: "local".into(),
                    msg: error.to_string(),
                    stop: false,
                };
            }
        };
        match self
            .post("/api/v5/trade/order", body, Some(expires_at))
            .await
        {
            Ok(reply) => judge_create(intent.cl_ord_id.as_str(), &reply),
            Err(error) => CreateOutcome::Unknown(format!("no answer: {error}")),
        }
    }

    /// Waits for room in the budget of cancels.
    pub async fn room_to_cancel(&self, inst: &InstId) {
        self.venue
            .inner
            .budgets
            .wait(RateClass::Cancel, inst.as_str())
            .await;
    }

    /// Asks for a cancel, by our id or, of what the venue has made itself, by its own. Wait for
    /// room first.
    pub async fn cancel(&self, inst: &InstId, id: &str) -> CancelOutcome {
        let (key, name) = wire::name_of(id);
        let body = serde_json::json!({"instId": inst, key: name}).to_string();
        match self.post("/api/v5/trade/cancel-order", body, None).await {
            Ok(reply) => judge_cancel(wire::asked(id), &reply),
            Err(error) => CancelOutcome::Again(error.to_string()),
        }
    }

    /// Asks for a resting order's move to another price, once.
    pub async fn amend(
        &self,
        inst: &InstId,
        id: &str,
        limit: Price,
        request: &ClOrdId,
        expires_at: Ms,
    ) -> CancelOutcome {
        let body =
            serde_json::json!({"instId": inst, "clOrdId": id, "newPx": limit, "reqId": request})
                .to_string();
        match self
            .post("/api/v5/trade/amend-order", body, Some(expires_at))
            .await
        {
            Ok(reply) => judge_cancel(OrderRef::ours(id), &reply),
            Err(error) => CancelOutcome::Again(error.to_string()),
        }
    }

    /// Makes the venue cancel every order under our tag `seconds` from now, unless asked again
    /// before; stops stay. Returns when that would be.
    pub async fn cancel_all_after(&self, seconds: i64) -> Result<Ms, VenueError> {
        let request = || "POST trade/cancel-all-after".to_owned();
        let body =
            serde_json::json!({"timeOut": seconds.to_string(), "tag": wire::TAG}).to_string();
        let sent = self
            .post("/api/v5/trade/cancel-all-after", body, None)
            .await;
        let text = sent.map_err(|source| VenueError::Transport {
            request: request(),
            source,
        })?;
        let strange = || VenueError::Strange {
            request: request(),
            status: 200,
            body: excerpt(&text),
        };
        let reply: Value = serde_json::from_str(&text).map_err(|_| strange())?;
        match reply["code"].as_str() {
            Some("0") => {
                let at = reply["data"][0]["triggerTime"]
                    .as_str()
                    .and_then(|at| at.parse().ok());
                at.map(Ms).ok_or_else(strange)
            }
            Some(code) => Err(VenueError::Refused {
                request: request(),
                code: code.to_owned(),
                msg: reply["msg"].as_str().unwrap_or("").to_owned(),
            }),
            None => Err(strange()),
        }
    }

    /// Waits for room in the budget of new stops.
    pub async fn room_to_stop(&self, inst: &InstId) {
        self.venue
            .inner
            .budgets
            .wait(RateClass::CreateAlgo, inst.as_str())
            .await;
    }

    /// Places a stop that stands alone, once. Wait for room first. The venue takes no deadline for
    /// one.
    pub async fn place_stop(&self, stop: &StopOrder, inst: &Instrument) -> CreateOutcome {
        match self
            .post(
                "/api/v5/trade/order-algo",
                wire::stop_body(stop, inst).to_string(),
                None,
            )
            .await
        {
            Ok(reply) => judge_create(&stop.id, &reply),
            Err(error) => CreateOutcome::Unknown(format!("no answer: {error}")),
        }
    }

    /// Asks for a stop's new size and trigger, by our id.
    pub async fn amend_stop(
        &self,
        inst: &InstId,
        algo_id: &str,
        qty: Qty,
        trigger: Price,
    ) -> CancelOutcome {
        self.venue
            .inner
            .budgets
            .wait(RateClass::AmendAlgo, inst.as_str())
            .await;
        let body = serde_json::json!({"instId": inst, "algoClOrdId": algo_id, "newSz": qty.to_string(),
            "newSlTriggerPx": trigger.to_string(), "newSlOrdPx": "-1"});
        match self
            .post("/api/v5/trade/amend-algos", body.to_string(), None)
            .await
        {
            Ok(reply) => judge_cancel(OrderRef::ours(algo_id), &reply),
            Err(error) => CancelOutcome::Again(error.to_string()),
        }
    }

    /// Asks for a stop's cancel, by our id.
    pub async fn cancel_algo(&self, inst: &InstId, algo_id: &str) -> CancelOutcome {
        self.venue
            .inner
            .budgets
            .wait(RateClass::CancelAlgo, inst.as_str())
            .await;
        let body = serde_json::json!([{"instId": inst, "algoClOrdId": algo_id}]).to_string();
        match self.post("/api/v5/trade/cancel-algos", body, None).await {
            Ok(reply) => judge_cancel(OrderRef::ours(algo_id), &reply),
            Err(error) => CancelOutcome::Again(error.to_string()),
        }
    }

    async fn post(
        &self,
        target: &str,
        body: String,
        expires_at: Option<Ms>,
    ) -> Result<String, reqwest::Error> {
        let inner = &self.venue.inner;
        let builder = inner
            .orders
            .post(format!("{}{target}", inner.config.rest))
            .header("content-type", "application/json");
        let builder = self.venue.sign(builder, &Method::POST, target, &body);
        let builder = match expires_at {
            Some(at) => builder.header("expTime", at.0.to_string()),
            None => builder,
        };
        let response = self
            .venue
            .environment(builder)
            .body(body)
            .send()
            .await
            .map_err(reqwest::Error::without_url)?;
        response.text().await.map_err(reqwest::Error::without_url)
    }
}
