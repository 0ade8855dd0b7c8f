//! The feed task: the source's streams in, the exchange's market out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::news::{self, of_book};
use crate::domain::{Bar, InstId, InstKind, Instrument, Ms};
use crate::exchange::{Engine, FeedEvent, Unavailable};
use crate::runtime::{Actor, Beat, Shutdown, StageError, faults};
use crate::venue::{Stream, StreamConfig, StreamEvent, Venue, VenueError, newest_closed};

/// Interval at which the coming funding rate is read.
const FUNDING_EVERY: Duration = Duration::from_secs(300);
/// Pause before history is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// The feed actor.
pub struct PaperFeed {
    /// Source of the market: OKX, or an exchange that simulates it. Public endpoints only.
    pub source: Venue,
    /// `ws…/ws/v5` of the source.
    pub ws: String,
    pub stream: StreamConfig,
    pub engine: Engine,
    pub instruments: Vec<Arc<Instrument>>,
    pub bars: Vec<Bar>,
    /// Closed bars of each size to begin with.
    pub history_bars: usize,
    /// The last closed bar that was handed on, by instrument and size.
    pub closed: BTreeMap<(InstId, Bar), Ms>,
    pub beat: Beat,
}

/// Which of the two streams are up, and whether history is complete since they are.
#[derive(Default)]
struct Connected {
    public: bool,
    business: bool,
    caught_up: bool,
}

impl Actor for PaperFeed {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let mut connected = Connected::default();
        self.cut("starting").await?;
        let mut public = self.open("public", &["books5".to_owned(), "trades".to_owned()]);
        let channels: Vec<String> = self.bars.iter().map(|bar| format!("candle{bar}")).collect();
        let mut business = self.open("business", &channels);
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        let mut funding = tokio::time::interval(FUNDING_EVERY);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                event = business.next() => {
                    let up = self.on_event(event, &mut connected).await?;
                    connected.business = up.unwrap_or(connected.business);
                }
                event = public.next() => {
                    let up = self.on_event(event, &mut connected).await?;
                    connected.public = up.unwrap_or(connected.public);
                }
                _ = funding.tick() => self.read_funding(),
                _ = tick.tick() => {}
            }
            if connected.public && connected.business && !connected.caught_up {
                connected.caught_up = tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    done = self.catch_up() => done?,
                };
            }
            faults::point("feed").await;
            self.beat.tick();
        }
    }
}

impl PaperFeed {
    fn open(&self, url: &str, channels: &[String]) -> Stream {
        let insts = self.instruments.iter().map(|inst| &inst.id);
        let config = self.stream.of_market(&self.ws, url, insts, channels);
        Stream::open(config, self.source.clock().clone())
    }

    /// Takes one event; `Some` if the stream came up or went down.
    async fn on_event(
        &mut self,
        event: Option<StreamEvent>,
        now: &mut Connected,
    ) -> Result<Option<bool>, StageError> {
        match event {
            Some(StreamEvent::Up) => Ok(Some(true)),
            Some(StreamEvent::Down(why)) => {
                now.caught_up = false;
                self.cut(&why).await?;
                Ok(Some(false))
            }
            Some(StreamEvent::Push {
                channel,
                subject,
                data,
            }) => {
                // What comes before history is complete would be a market without a past.
                if now.caught_up {
                    match news::of_push(&channel, data.get()) {
                        Ok(Some(news)) => {
                            now.caught_up = self.pass_on(&InstId::new(subject), news).await?
                        }
                        Ok(None) => {}
                        Err(why) => {
                            warn!(event = "feed_refused", %channel, inst = %subject, %why, "a message that cannot be right was not taken")
                        }
                    }
                }
                Ok(None)
            }
            Some(StreamEvent::Refused { code, msg }) => {
                Err(StageError::Refused(format!("{code} {msg}")))
            }
            Some(_) => Ok(None),
            None => Err(StageError::Gone("the feed's stream")),
        }
    }

    /// Tells the exchange that nothing is known any more.
    async fn cut(&self, why: &str) -> Result<(), StageError> {
        warn!(event = "feed_cut", %why, "the price feed is cut: nothing is matched until it is back");
        for inst in &self.instruments {
            self.hand(&inst.id, FeedEvent::Cut).await?;
        }
        Ok(())
    }

    /// Hands news on; a closed bar that does not follow the last one is not. `false`: history must
    /// be read again first.
    async fn pass_on(&mut self, inst: &InstId, news: FeedEvent) -> Result<bool, StageError> {
        if let FeedEvent::Candles(bar, rows) = &news {
            for (candle, _) in rows.iter().filter(|(_, confirmed)| *confirmed) {
                let last = self.closed.entry((inst.clone(), *bar)).or_insert(candle.ts);
                if candle.ts > last.plus(bar.span()) {
                    warn!(event = "feed_gap", %inst, %bar, from_ms = last.plus(bar.span()).0, to_ms = candle.ts.0, "bars are missing; reading them again");
                    return Ok(false);
                }
                *last = candle.ts.max(*last);
            }
        }
        self.hand(inst, news).await?;
        Ok(true)
    }

    /// History of every instrument and bar since the streams came up, and then all books together:
    /// the market is back at one moment. `false`: not yet.
    async fn catch_up(&mut self) -> Result<bool, StageError> {
        match self.read_market().await {
            Ok(news) => {
                for (inst, news) in news {
                    self.hand(&inst, news).await?;
                }
                self.read_funding();
                info!(
                    event = "feed_live",
                    instruments = self.instruments.len(),
                    "the price feed is complete; books may come"
                );
                Ok(true)
            }
            Err(error) if error.needs_person() || error.is_reject() => {
                Err(StageError::Refused(error.to_string()))
            }
            Err(error) => {
                warn!(event = "feed_behind", %error, "the source's market cannot be read; trying again");
                tokio::time::sleep(RETRY).await;
                Ok(false)
            }
        }
    }

    /// Everything there is to know, in the order in which it is handed on: history, last prices,
    /// books.
    async fn read_market(&mut self) -> Result<Vec<(InstId, FeedEvent)>, VenueError> {
        // The machine may have slept: venue time is the source's.
        let now = self.beat.while_waiting(self.source.server_time()).await?;
        self.source.clock().anchor(now);
        self.engine.clock.set(Some(now), 1.0);
        let mut news = Vec::new();
        for inst in &self.instruments {
            for bar in &self.bars {
                let reading = newest_closed(&self.source, &inst.id, *bar, self.history_bars);
                let candles = self.beat.while_waiting(reading).await?;
                if let Some(newest) = candles.last() {
                    self.closed.insert((inst.id.clone(), *bar), newest.ts);
                }
                let rows = candles.into_iter().map(|candle| (candle, true)).collect();
                news.push((inst.id.clone(), FeedEvent::Candles(*bar, rows)));
            }
            let quote = self.beat.while_waiting(self.source.quote(&inst.id)).await?;
            news.push((inst.id.clone(), FeedEvent::Last(quote.last.0)));
        }
        for inst in &self.instruments {
            // A quiet book says nothing until it changes: the present one is asked for.
            let book = self
                .beat
                .while_waiting(self.source.book(&inst.id, 5))
                .await?;
            news.push((inst.id.clone(), of_book(book)));
        }
        Ok(news)
    }

    /// Reads the coming funding rate of each swap, beside everything else. Without an answer
    /// nothing will be paid for that time.
    fn read_funding(&self) {
        for inst in self
            .instruments
            .iter()
            .filter(|inst| inst.kind == InstKind::Swap)
        {
            let (source, engine, inst) =
                (self.source.clone(), self.engine.clone(), inst.id.clone());
            tokio::spawn(async move {
                match source.funding_rate(&inst).await {
                    Ok(Some(rate)) => {
                        let _ = engine.feed(inst.as_str(), news::of_funding(rate)).await;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        warn!(event = "funding_unread", %inst, %error, "the funding rate cannot be read")
                    }
                }
            });
        }
    }

    async fn hand(&self, inst: &InstId, news: FeedEvent) -> Result<(), StageError> {
        loop {
            match self.engine.feed(inst.as_str(), news.clone()).await {
                Ok(()) => return Ok(()),
                Err(Unavailable::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(Unavailable::Stopped) => return Err(StageError::Gone("the embedded exchange")),
            }
        }
    }
}
