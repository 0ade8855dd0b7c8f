//! Orders and stops, alive and ended.

use super::*;

impl Venue {
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

    pub(super) async fn one_order(&self, inst: &InstId, id: &str) -> Result<OrderPush, VenueError> {
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
pub(super) fn next_page(data: &Value, id: &str) -> Option<String> {
    let rows = data.as_array().filter(|rows| rows.len() >= 100)?;
    rows.last()?[id].as_str().map(str::to_owned)
}
