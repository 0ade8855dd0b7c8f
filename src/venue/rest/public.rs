//! Public market data: rules, candles, funding, books.

use super::*;

impl Venue {
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
}
