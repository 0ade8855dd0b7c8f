//! The account: settings, balances and positions, bills, fills.

use super::orders::next_page;
use super::*;

impl Venue {
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
    pub(super) async fn newer_than<T>(
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
}
