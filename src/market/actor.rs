//! The ingest task: two streams in, a view out on `watch`, closed bars out on `mpsc`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::bars::{Bars, Pushed};
use crate::domain::view::InstMarket;
use crate::domain::{Bar, Candle, InstId, Instrument, MarketView, Ms, RunId};
use crate::runtime::{Actor, Beat, StageError, Stop, faults};
use crate::venue::{
    CandlePage, Stream, StreamConfig, StreamEvent, Subscription, Venue, VenueError, parse_candles, parse_quote,
};

/// A bar that has closed, in order and without a gap.
#[derive(Clone, Debug)]
pub struct BarClosed {
    /// The run of this start: bars come from nothing we did.
    pub run_id: RunId,
    pub inst: InstId,
    pub candle: Candle,
}

/// The ingest actor.
pub struct Market {
    pub venue: Venue,
    /// `ws…/ws/v5`, and how patient to be.
    pub ws: String,
    pub stream: StreamConfig,
    pub instruments: Vec<Arc<Instrument>>,
    pub bar: Bar,
    pub history_bars: usize,
    pub view: watch::Sender<MarketView>,
    pub closed: mpsc::Sender<BarClosed>,
    /// Closed bars for the research database; replaceable, so dropped when it is behind.
    pub keep: mpsc::Sender<(InstId, Vec<Candle>)>,
    /// History could not be completed; until it is, the view is not live.
    pub behind: bool,
    pub start_run: RunId,
    pub beat: Beat,
}

/// Bars the venue hands out at once.
const PAGE: usize = 300;

impl Actor for Market {
    async fn run(&mut self, stop: Stop) -> Result<(), StageError> {
        let mut bars: BTreeMap<InstId, Bars> =
            self.instruments.iter().map(|i| (i.id.clone(), Bars::new(self.bar, self.history_bars))).collect();
        self.view.send_modify(|view| {
            view.live = false;
            for inst in &self.instruments {
                let fresh = || InstMarket { instrument: Arc::clone(inst), quote: None, history: Arc::default() };
                view.insts.entry(inst.id.clone()).or_insert_with(fresh);
            }
        });
        let mut quotes = self.open("public", "tickers");
        let mut candles = self.open("business", &format!("candle{}", self.bar));
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                event = candles.next() => match event {
                    Some(StreamEvent::Up) => self.catch_up(&mut bars).await?,
                    Some(StreamEvent::Down(_)) => self.view.send_modify(|view| view.live = false),
                    Some(StreamEvent::Push { subject, data, .. }) => self.on_candles(&InstId::new(subject), data.get(), &mut bars).await?,
                    Some(StreamEvent::Refused { code, msg }) => return Err(StageError::Refused(format!("{code} {msg}"))),
                    Some(_) => {}
                    None => return Err(StageError::Gone("the candle stream")),
                },
                event = quotes.next() => match event {
                    Some(StreamEvent::Push { data, .. }) => self.on_quote(data.get()),
                    Some(StreamEvent::Refused { code, msg }) => return Err(StageError::Refused(format!("{code} {msg}"))),
                    Some(_) => {}
                    None => return Err(StageError::Gone("the quote stream")),
                },
                _ = tick.tick() => {}
            }
            if self.behind {
                self.catch_up(&mut bars).await?;
            }
            faults::point("market").await;
            self.beat.tick();
        }
    }
}

impl Market {
    /// Completes every instrument's history; while that fails, for want of the venue, the view is not live.
    async fn catch_up(&mut self, bars: &mut BTreeMap<InstId, Bars>) -> Result<(), StageError> {
        for inst in self.instruments.clone() {
            match self.repair(&inst.id, bars).await {
                Ok(()) => {}
                Err(StageError::Venue(why)) => {
                    warn!(event = "backfill_failed", inst = %inst.id, %why, "history is incomplete; no decisions until it is");
                    self.behind = true;
                    self.view.send_modify(|view| view.live = false);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.behind = false;
        self.view.send_modify(|view| view.live = true);
        info!(event = "market_live", bar = %self.bar, instruments = self.instruments.len(), "history is complete; following closed bars");
        Ok(())
    }

    fn open(&self, kind: &str, channel: &str) -> Stream {
        let subscriptions = self.instruments.iter().map(|i| Subscription::market(channel, i.id.as_str())).collect();
        let config =
            StreamConfig { url: format!("{}/{kind}", self.ws), subscriptions, signer: None, ..self.stream.clone() };
        Stream::open(config, self.venue.clock().clone())
    }

    fn on_quote(&self, data: &str) {
        match parse_quote(data) {
            Ok((inst, quote)) => {
                self.view.send_if_modified(|view| match view.insts.get_mut(&inst) {
                    // A ticker that is older than the one we have came late; it is not news.
                    Some(market) if market.quote.is_none_or(|old| quote.at >= old.at) => {
                        market.quote = Some(quote);
                        true
                    }
                    _ => false,
                });
            }
            Err(error) => warn!(event = "quote_refused", %error, "a quote that cannot be right; the old one ages"),
        }
    }

    async fn on_candles(
        &mut self,
        inst: &InstId,
        data: &str,
        bars: &mut BTreeMap<InstId, Bars>,
    ) -> Result<(), StageError> {
        let rows = match parse_candles(data) {
            Ok(rows) => rows,
            Err(error) => {
                warn!(event = "candle_refused", %inst, %error, "a candle that cannot be right was not taken");
                return Ok(());
            }
        };
        for (candle, confirmed) in rows {
            if !confirmed || !self.view.borrow().live {
                continue; // while the past is being read, REST will bring this one too
            }
            let Some(series) = bars.get_mut(inst) else { continue };
            match series.push(candle) {
                Pushed::Next => self.publish(inst, series, vec![candle]).await?,
                Pushed::Known => {}
                Pushed::Gap { from, to } => {
                    warn!(event = "candle_gap", %inst, from_ms = from.0, to_ms = to.0, "bars are missing; reading them again");
                    match self.repair(inst, bars).await {
                        Ok(()) => {}
                        Err(StageError::Venue(why)) => {
                            warn!(event = "backfill_failed", %inst, %why, "history is incomplete; no decisions until it is");
                            self.behind = true;
                            self.view.send_modify(|view| view.live = false);
                            return Ok(());
                        }
                        Err(error) => return Err(error),
                    }
                    // REST may lag behind the push by this very bar.
                    let series = bars.get_mut(inst).expect("one series per instrument");
                    if series.push(candle) == Pushed::Next {
                        self.publish(inst, series, vec![candle]).await?;
                    }
                }
                Pushed::Misplaced => {
                    warn!(event = "candle_refused", %inst, ts_ms = candle.ts.0, "a candle off its grid was not taken");
                }
            }
        }
        Ok(())
    }

    /// Reads what is missing up to now from REST, and passes it on in order.
    async fn repair(&self, inst: &InstId, bars: &mut BTreeMap<InstId, Bars>) -> Result<(), StageError> {
        let series = bars.get_mut(inst).expect("one series per instrument");
        let missing = match series.last() {
            None => self.history_bars,
            Some(last) => {
                let now = self.venue.clock().now();
                usize::try_from(now.since(last).0 / self.bar.span().0).unwrap_or(0) + 1
            }
        };
        if missing > self.history_bars {
            // Further behind than we keep: what was before no longer matters.
            series.clear();
        }
        let fetched = self.fetch(inst, missing.min(self.history_bars)).await?;
        let mut news = Vec::new();
        for candle in fetched {
            match series.push(candle) {
                Pushed::Next => news.push(candle),
                Pushed::Known => {}
                Pushed::Gap { from, to } => {
                    return Err(StageError::Venue(format!(
                        "{inst}: the venue has no bars from {} to {} ms; nothing is invented in their place",
                        from.0, to.0
                    )));
                }
                Pushed::Misplaced => {
                    return Err(StageError::Venue(format!("{inst}: a bar at {} is off its grid", candle.ts)));
                }
            }
        }
        debug!(event = "backfilled", %inst, bars = news.len(), "history read");
        self.publish(inst, series, news).await
    }

    /// The newest `count` closed bars, oldest first.
    async fn fetch(&self, inst: &InstId, count: usize) -> Result<Vec<Candle>, VenueError> {
        let mut newest_first: Vec<Candle> = Vec::with_capacity(count);
        let mut after: Option<Ms> = None;
        let mut tries = 0;
        while newest_first.len() < count {
            let page = CandlePage { after, limit: PAGE.min(count - newest_first.len() + 1), history: after.is_some() };
            let rows = match self.beat.while_waiting(self.venue.candles(inst, self.bar, page)).await {
                Ok(rows) => rows,
                Err(error) if tries < 3 && !error.needs_person() => {
                    tries += 1;
                    warn!(event = "backfill_retry", %inst, %error, "reading history failed; trying again");
                    tokio::time::sleep(Duration::from_millis(500 * tries)).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let Some((oldest, _)) = rows.last() else { break };
            after = Some(oldest.ts);
            newest_first.extend(rows.into_iter().filter(|(_, confirmed)| *confirmed).map(|(candle, _)| candle));
        }
        newest_first.truncate(count);
        newest_first.reverse();
        Ok(newest_first)
    }

    async fn publish(&self, inst: &InstId, series: &Bars, news: Vec<Candle>) -> Result<(), StageError> {
        self.view.send_modify(|view| {
            if let Some(market) = view.insts.get_mut(inst) {
                market.history = series.history();
            }
        });
        if self.view.borrow().live {
            for candle in &news {
                let event = BarClosed { run_id: self.start_run, inst: inst.clone(), candle: *candle };
                self.closed.send(event).await.map_err(|_| StageError::Gone("decision"))?;
            }
        }
        // Research is never in the way of trading; what is dropped here can be downloaded again.
        if !news.is_empty() && self.keep.try_send((inst.clone(), news)).is_err() {
            debug!(event = "research_behind", %inst, "candles were not kept");
        }
        Ok(())
    }
}
