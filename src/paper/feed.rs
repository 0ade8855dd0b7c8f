//! The feed task: the source's streams in, the exchange's market out.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::news;
use crate::domain::{Bar, InstId, InstKind, Instrument};
use crate::exchange::{Engine, FeedEvent, Unavailable};
use crate::runtime::{Actor, Beat, StageError, Stop, faults};
use crate::venue::{Stream, StreamConfig, StreamEvent, Venue, newest_closed};

/// How often the coming funding rate is read.
const FUNDING_EVERY: Duration = Duration::from_secs(300);
/// Pause before history is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// The feed actor.
pub struct Feed {
    /// Where the market is: OKX, or an exchange that plays it. Public endpoints only.
    pub source: Venue,
    /// `ws…/ws/v5` of the source.
    pub ws: String,
    pub stream: StreamConfig,
    pub engine: Engine,
    pub instruments: Vec<Arc<Instrument>>,
    pub bars: Vec<Bar>,
    /// Closed bars of each size to begin with.
    pub history_bars: usize,
    pub beat: Beat,
}

/// Which of the two streams are up, and whether history is complete since they are.
#[derive(Default)]
struct Connected {
    public: bool,
    business: bool,
    caught_up: bool,
}

impl Actor for Feed {
    async fn run(&mut self, stop: Stop) -> Result<(), StageError> {
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
                _ = funding.tick() => self.read_funding().await?,
                _ = tick.tick() => {}
            }
            if connected.public && connected.business && !connected.caught_up {
                connected.caught_up = self.catch_up().await?;
            }
            faults::point("feed").await;
            self.beat.tick();
        }
    }
}

impl Feed {
    fn open(&self, url: &str, channels: &[String]) -> Stream {
        let insts = self.instruments.iter().map(|inst| &inst.id);
        let config = self.stream.of_market(&self.ws, url, insts, channels);
        Stream::open(config, self.source.clock().clone())
    }

    /// Takes one event; `Some` if the stream came up or went down.
    async fn on_event(&self, event: Option<StreamEvent>, now: &mut Connected) -> Result<Option<bool>, StageError> {
        match event {
            Some(StreamEvent::Up) => Ok(Some(true)),
            Some(StreamEvent::Down(why)) => {
                now.caught_up = false;
                self.cut(&why).await?;
                Ok(Some(false))
            }
            Some(StreamEvent::Push { channel, subject, data }) => {
                // What comes before history is complete would be a market without a past.
                if now.caught_up {
                    match news::of_push(&channel, data.get()) {
                        Ok(Some(news)) => self.hand(&InstId::new(subject), news).await?,
                        Ok(None) => {}
                        Err(why) => {
                            warn!(event = "feed_refused", %channel, inst = %subject, %why, "a message that cannot be right was not taken")
                        }
                    }
                }
                Ok(None)
            }
            Some(StreamEvent::Refused { code, msg }) => Err(StageError::Refused(format!("{code} {msg}"))),
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

    /// History of every instrument and bar since the streams came up. `false`: not yet.
    async fn catch_up(&self) -> Result<bool, StageError> {
        for inst in &self.instruments {
            for bar in &self.bars {
                let reading = newest_closed(&self.source, &inst.id, *bar, self.history_bars);
                match self.beat.while_waiting(reading).await {
                    Ok(rows) => {
                        let rows = rows.into_iter().map(|candle| (candle, true)).collect();
                        self.hand(&inst.id, FeedEvent::Candles(*bar, rows)).await?;
                    }
                    Err(error) => {
                        warn!(event = "feed_behind", inst = %inst.id, %bar, %error, "the source's history cannot be read; trying again");
                        tokio::time::sleep(RETRY).await;
                        return Ok(false);
                    }
                }
            }
            match self.beat.while_waiting(self.source.quote(&inst.id)).await {
                Ok(quote) => self.hand(&inst.id, FeedEvent::Last(quote.last.0)).await?,
                Err(error) => {
                    warn!(event = "feed_behind", inst = %inst.id, %error, "the source's price cannot be read; trying again");
                    tokio::time::sleep(RETRY).await;
                    return Ok(false);
                }
            }
        }
        self.read_funding().await?;
        // A quiet book says nothing until it changes: the present one is asked for.
        for inst in &self.instruments {
            match self.beat.while_waiting(self.source.book(&inst.id, 5)).await {
                Ok(book) => self.hand(&inst.id, news::of_book(book)).await?,
                Err(error) => {
                    warn!(event = "feed_behind", inst = %inst.id, %error, "the source's book cannot be read; trying again");
                    tokio::time::sleep(RETRY).await;
                    return Ok(false);
                }
            }
        }
        info!(event = "feed_live", instruments = self.instruments.len(), "the price feed is complete; books may come");
        Ok(true)
    }

    /// The coming funding rate of each swap. Without an answer nothing will be paid for that time.
    async fn read_funding(&self) -> Result<(), StageError> {
        for inst in self.instruments.iter().filter(|inst| inst.kind == InstKind::Swap) {
            match self.beat.while_waiting(self.source.funding_rate(&inst.id)).await {
                Ok(Some(rate)) => self.hand(&inst.id, news::of_funding(rate)).await?,
                Ok(None) => {}
                Err(error) => {
                    warn!(event = "funding_unread", inst = %inst.id, %error, "the funding rate cannot be read")
                }
            }
        }
        Ok(())
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
