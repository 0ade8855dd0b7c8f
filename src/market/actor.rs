//! The ingest task: two streams in, a view out on `watch`, closed bars out on `mpsc`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::bars::{Bars, Pushed};
use crate::domain::view::InstMarket;
use crate::domain::{
    Bar, Candle, InstId, InstKind, InstState, Instrument, MarketView, Ms, Qty, RunId,
};
use crate::runtime::is_told;
use crate::runtime::{Actor, Beat, Clock, Shutdown, StageError, faults};
use crate::venue::{
    Page, Stream, StreamConfig, StreamEvent, Subscription, Venue, newest_closed, parse_candles,
    parse_mark, parse_quote, read_instruments,
};

/// A bar that has closed, in order and without a gap.
#[derive(Clone, Debug)]
pub struct BarClosed {
    /// The run of this start: bars come from nothing we did.
    pub run_id: RunId,
    pub inst: InstId,
    pub bar: Bar,
    pub candle: Candle,
}

/// Pause before history is asked for again.
const RETRY: Duration = Duration::from_secs(1);
/// Times the venue must show the same hole before it is believed.
const HOLE_TRIES: u32 = 5;

/// One instrument's bars of one size.
type Key = (InstId, Bar);

/// The ingest actor.
pub struct Market {
    pub venue: Venue,
    /// `ws…/ws/v5`, and how patient to be.
    pub ws: String,
    pub stream: StreamConfig,
    pub instruments: Vec<Arc<Instrument>>,
    /// Every bar size that is followed.
    pub bars: Vec<Bar>,
    pub history_bars: usize,
    pub view: watch::Sender<MarketView>,
    pub closed: mpsc::Sender<BarClosed>,
    /// Closed bars for the research database; replaceable, so dropped when it is behind.
    pub keep: mpsc::Sender<(InstId, Bar, Vec<Candle>)>,
    /// History could not be completed; until it is, the view is not live. When to try again.
    pub behind: Option<Instant>,
    /// Times the venue has shown the same hole in a series.
    pub holes: BTreeMap<(InstId, Bar), u32>,
    pub start_run: RunId,
    /// Limit on how far ahead of the venue's clock a time may be, venue time.
    pub ahead_max: Ms,
    /// Time of the next clock check, after a time too far ahead was seen: the clock itself may be
    /// off.
    pub doubt: Option<Instant>,
    /// Rules of an instrument that could not be believed are asked for again then.
    pub rules_again: Option<Instant>,
    pub beat: Beat,
}

impl Actor for Market {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let keys = self
            .instruments
            .iter()
            .flat_map(|i| self.bars.iter().map(|bar| (i.id.clone(), *bar)));
        let mut bars: BTreeMap<Key, Bars> = keys
            .map(|key| (key.clone(), Bars::new(key.1, self.history_bars)))
            .collect();
        self.view.send_modify(|view| {
            view.live = false;
            for inst in &self.instruments {
                let fresh = || InstMarket {
                    instrument: Arc::clone(inst),
                    quote: None,
                    mark: None,
                    series: BTreeMap::new(),
                };
                view.insts.entry(inst.id.clone()).or_insert_with(fresh);
            }
        });
        let mut quotes = self.open_quotes();
        let channels: Vec<String> = self.bars.iter().map(|bar| format!("candle{bar}")).collect();
        let mut candles = self.open("business", &channels);
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                event = candles.next() => match event {
                    Some(StreamEvent::Up) => self.catch_up(&mut bars).await?,
                    Some(StreamEvent::Down(_)) => {
                        // What REST would say now is not followed by pushes: it is read when the
                        // stream is up.
                        self.behind = None;
                        self.view.send_modify(|view| view.live = false);
                    }
                    Some(StreamEvent::Push { channel, subject, data }) => {
                        if let Some(bar) = channel.strip_prefix("candle").and_then(|bar| bar.parse().ok()) {
                            self.on_candles(&(InstId::new(subject), bar), data.get(), &mut bars).await?;
                        }
                    }
                    Some(StreamEvent::Refused { code, msg }) => return Err(StageError::Refused(format!("{code} {msg}"))),
                    Some(_) => {}
                    None => return Err(StageError::Gone("the candle stream")),
                },
                event = quotes.next() => match event {
                    Some(StreamEvent::Push { channel, data, .. }) => match channel.as_str() {
                        "mark-price" => self.on_mark(data.get()),
                        "instruments" => self.on_rules(data.get()),
                        _ => self.on_quote(data.get()),
                    },
                    Some(StreamEvent::Refused { code, msg }) => return Err(StageError::Refused(format!("{code} {msg}"))),
                    Some(_) => {}
                    None => return Err(StageError::Gone("the quote stream")),
                },
                _ = tick.tick() => self.look_for_overdue(&bars),
            }
            if self.behind.is_some_and(|at| Instant::now() >= at) {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return Ok(()),
                    done = self.catch_up(&mut bars) => done?,
                }
            }
            if self.doubt.is_some_and(|at| Instant::now() >= at) {
                self.doubt = None;
                let venue = self.venue.clone();
                let beat = self.beat.clone();
                beat.while_waiting(venue.check_clock()).await;
            }
            if self.rules_again.is_some_and(|at| Instant::now() >= at) {
                self.rules_again = None;
                self.ask_for_rules().await;
            }
            faults::point("market").await;
            self.beat.tick();
        }
    }
}

/// Between two looks at the venue's clock, or at rules, that something gave reason to.
const DOUBT_EVERY: Duration = Duration::from_secs(5);

impl Market {
    /// True if a time is too far ahead of the venue's clock. Such a time is counted and not taken:
    /// it would make everything that comes after it old.
    fn is_ahead(&mut self, inst: &InstId, what: &str, at: Ms) -> bool {
        let now = self.venue.clock().now();
        let ahead = at.since(now);
        if ahead <= ahead_limit(self.ahead_max, self.venue.clock()) {
            return false;
        }
        let mut count = 0u64;
        self.view.send_modify(|view| {
            let entry = view.ahead.entry(inst.clone()).or_insert((0, now));
            *entry = (entry.0 + 1, now);
            count = entry.0;
        });
        // Said once, and then each time it has become ten times as much.
        if is_told(count) {
            warn!(event = "time_ahead", %inst, what, at_ms = at.0, ahead_ms = ahead.0, count,
                "a time ahead of the venue's clock was refused");
        }
        self.doubt
            .get_or_insert_with(|| Instant::now() + DOUBT_EVERY);
        true
    }

    /// Reads the rules of our instruments again.
    async fn ask_for_rules(&mut self) {
        let kinds: BTreeSet<&'static str> = self
            .instruments
            .iter()
            .map(|inst| inst.kind.okx())
            .collect();
        for kind in kinds {
            let kind = if kind == InstKind::Spot.okx() {
                InstKind::Spot
            } else {
                InstKind::Swap
            };
            let (venue, beat) = (self.venue.clone(), self.beat.clone());
            match beat.while_waiting(venue.instrument_rules(kind)).await {
                Ok(page) => self.take_rules(page),
                Err(error) => {
                    warn!(event = "rules_refused", %error, "rules of instruments could not be read; the old ones stay");
                    self.rules_again = Some(Instant::now() + DOUBT_EVERY);
                }
            }
        }
    }

    /// The view is not live until history is complete; the next try is a moment away.
    fn fall_behind(&mut self) {
        self.behind = Some(Instant::now() + RETRY);
        self.view.send_modify(|view| view.live = false);
    }

    /// A bar that should have closed a while ago and has not come: its channel may be dead among
    /// live ones.
    fn look_for_overdue(&mut self, bars: &BTreeMap<Key, Bars>) {
        if !self.view.borrow().live || self.behind.is_some() {
            return;
        }
        let now = self.venue.clock().now();
        // A minute of wall time, whatever the speed, is not a venue that is merely slow.
        let grace = Ms((60_000.0 * self.venue.clock().rate()) as i64);
        let overdue = bars.iter().find(|((_, bar), series)| {
            series
                .last()
                .is_some_and(|last| now > last.plus(bar.span()).plus(bar.span()).plus(grace))
        });
        if let Some(((inst, bar), _)) = overdue {
            warn!(event = "bar_overdue", %inst, %bar, "a bar has not come though its stream is up; reading history");
            self.behind = Some(Instant::now());
        }
    }

    /// Completes every instrument's history; while that fails, for want of the venue, the view is
    /// not live.
    async fn catch_up(&mut self, bars: &mut BTreeMap<Key, Bars>) -> Result<(), StageError> {
        let keys: Vec<Key> = bars.keys().cloned().collect();
        for key in keys {
            match self.repair(&key, bars).await {
                Ok(()) => {}
                Err(StageError::Venue(why)) => {
                    warn!(event = "backfill_failed", inst = %key.0, bar = %key.1, %why, "history is incomplete; no decisions until it is");
                    self.fall_behind();
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.behind = None;
        self.view.send_modify(|view| view.live = true);
        let sizes: Vec<&str> = self.bars.iter().map(|bar| bar.okx()).collect();
        info!(
            event = "market_live",
            bars = sizes.join(" "),
            instruments = self.instruments.len(),
            "history is complete; following closed bars"
        );
        Ok(())
    }

    fn open(&self, kind: &str, channels: &[String]) -> Stream {
        let insts = self.instruments.iter().map(|inst| &inst.id);
        let config = self.stream.of_market(&self.ws, kind, insts, channels);
        Stream::open(config, self.venue.clock().clone())
    }

    /// Quotes of everything, what the venue marks swaps by, and the rules orders are held to.
    fn open_quotes(&self) -> Stream {
        let insts = self.instruments.iter().map(|inst| &inst.id);
        let mut config = self
            .stream
            .of_market(&self.ws, "public", insts, &["tickers".to_owned()]);
        let swaps = self
            .instruments
            .iter()
            .filter(|inst| inst.kind == InstKind::Swap);
        config
            .subscriptions
            .extend(swaps.map(|inst| Subscription::market("mark-price", inst.id.as_str())));
        let kinds: BTreeSet<&str> = self
            .instruments
            .iter()
            .map(|inst| inst.kind.okx())
            .collect();
        config.subscriptions.extend(
            kinds
                .into_iter()
                .map(|kind| Subscription::of_type("instruments", kind)),
        );
        Stream::open(config, self.venue.clock().clone())
    }

    fn on_mark(&mut self, data: &str) {
        match parse_mark(data) {
            Ok((inst, _, at)) if self.is_ahead(&inst, "mark price", at) => {}
            Ok((inst, price, at)) => {
                self.view
                    .send_if_modified(|view| match view.insts.get_mut(&inst) {
                        Some(market) if market.mark.is_none_or(|(_, old)| at >= old) => {
                            market.mark = Some((price, at));
                            true
                        }
                        _ => false,
                    });
            }
            Err(error) => {
                warn!(event = "mark_refused", %error, "a mark price that cannot be right; the old one ages")
            }
        }
    }

    /// New rules are in force at once: the gate and the allocator read them from the view.
    fn on_rules(&mut self, data: &str) {
        let page = serde_json::from_str(data)
            .map_err(|e| e.to_string())
            .and_then(|rows| read_instruments(&rows).map_err(|error| error.to_string()));
        match page {
            Ok(page) => self.take_rules(page),
            Err(error) => {
                warn!(
                    event = "rules_refused",
                    error, "rules of instruments that cannot be read; the old ones stay"
                );
                self.rules_again
                    .get_or_insert_with(|| Instant::now() + DOUBT_EVERY);
            }
        }
    }

    fn take_rules(&mut self, page: Page<Instrument>) {
        for refused in page.refused {
            let inst = refused.inst();
            if !self.view.borrow().insts.contains_key(&inst) {
                continue;
            }
            // Whatever they are, they are not what we know: nothing opens there until they can be
            // read.
            self.rules_again
                .get_or_insert_with(|| Instant::now() + DOUBT_EVERY);
            self.view.send_modify(|view| {
                if let Some(market) = view.insts.get_mut(&inst) {
                    let state =
                        InstState::Other(format!("its rules cannot be right: {}", refused.why));
                    market.instrument = Arc::new(Instrument {
                        state,
                        ..Instrument::clone(&market.instrument)
                    });
                }
            });
            warn!(event = "rules_refused", %inst, why = refused.why, "rules of an instrument that cannot be right; asking again");
        }
        for new in page.rows {
            let mut changed = None;
            self.view.send_if_modified(|view| {
                let Some(market) = view.insts.get_mut(&new.id) else {
                    return false;
                };
                let rules = Arc::new(new_rules(&market.instrument, new));
                if market.instrument == rules {
                    return false;
                }
                let old = std::mem::replace(&mut market.instrument, Arc::clone(&rules));
                changed = Some((old, rules));
                true
            });
            // Said once they hold: whoever reads the line can count on them.
            if let Some((old, rules)) = changed {
                warn!(event = "rules_changed", inst = %rules.id, tick = %rules.tick, lot = %rules.lot, least = %rules.min_size,
                    state = ?rules.state, before = format!("tick {} lot {} least {} {:?}", old.tick, old.lot, old.min_size, old.state),
                    "the venue has changed an instrument's rules");
            }
        }
    }

    fn on_quote(&mut self, data: &str) {
        match parse_quote(data) {
            Ok((inst, quote)) if self.is_ahead(&inst, "quote", quote.at) => {}
            Ok((inst, quote)) => {
                self.view
                    .send_if_modified(|view| match view.insts.get_mut(&inst) {
                        // A ticker that is older than the one we have came late; it is not news.
                        Some(market) if market.quote.is_none_or(|old| quote.at >= old.at) => {
                            market.quote = Some(quote);
                            true
                        }
                        _ => false,
                    });
            }
            Err(error) => {
                warn!(event = "quote_refused", %error, "a quote that cannot be right; the old one ages")
            }
        }
    }

    async fn on_candles(
        &mut self,
        key: &Key,
        data: &str,
        bars: &mut BTreeMap<Key, Bars>,
    ) -> Result<(), StageError> {
        let inst = &key.0;
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
            // A closed bar has ended by now.
            if self.is_ahead(inst, "candle", candle.ts.plus(key.1.span())) {
                continue;
            }
            let Some(series) = bars.get_mut(key) else {
                continue;
            };
            match series.push(candle) {
                Pushed::Next => self.publish(key, series, vec![candle]).await?,
                Pushed::Known => {}
                Pushed::Gap { from, to } => {
                    warn!(event = "candle_gap", %inst, from_ms = from.0, to_ms = to.0, "bars are missing; reading them again");
                    match self.repair(key, bars).await {
                        Ok(()) => {}
                        Err(StageError::Venue(why)) => {
                            warn!(event = "backfill_failed", %inst, %why, "history is incomplete; no decisions until it is");
                            self.fall_behind();
                            return Ok(());
                        }
                        Err(error) => return Err(error),
                    }
                    // REST may lag behind the push by this very bar.
                    let series = bars.get_mut(key).expect("one series per key");
                    if series.push(candle) == Pushed::Next {
                        self.publish(key, series, vec![candle]).await?;
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
    async fn repair(
        &mut self,
        key: &Key,
        bars: &mut BTreeMap<Key, Bars>,
    ) -> Result<(), StageError> {
        let (inst, bar) = (&key.0, key.1);
        let series = bars.get_mut(key).expect("one series per key");
        let missing = match series.last() {
            None => self.history_bars,
            Some(last) => {
                let now = self.venue.clock().now();
                usize::try_from(now.since(last).0 / bar.span().0).unwrap_or(0) + 1
            }
        };
        if missing > self.history_bars {
            // Further behind than we keep: what was before no longer matters.
            series.clear();
        }
        let reading = newest_closed(&self.venue, inst, bar, missing.min(self.history_bars));
        let fetched = self.beat.while_waiting(reading).await?;
        let mut news = Vec::new();
        let limit = self
            .venue
            .clock()
            .now()
            .plus(ahead_limit(self.ahead_max, self.venue.clock()));
        for candle in fetched {
            if candle.ts.plus(bar.span()) > limit {
                return Err(StageError::Venue(format!(
                    "{inst}: the venue has a closed {bar} bar of the future, at {}",
                    candle.ts.iso()
                )));
            }
            match series.push(candle) {
                Pushed::Next => news.push(candle),
                Pushed::Known => {}
                Pushed::Gap { from, to } => {
                    let seen = self.holes.entry(key.clone()).or_default();
                    *seen += 1;
                    if *seen < HOLE_TRIES {
                        return Err(StageError::Venue(format!(
                            "{inst}: the venue has no {bar} bars from {} to {}; asking again",
                            from.iso(),
                            to.iso()
                        )));
                    }
                    // The venue means it. Nothing is invented: the series begins anew after the
                    // hole.
                    warn!(event = "history_hole", %inst, %bar, from_ms = from.0, to_ms = to.0, "the venue has no bars there; history begins after them");
                    series.clear();
                    news.clear();
                    if series.push(candle) == Pushed::Next {
                        news.push(candle);
                    }
                }
                Pushed::Misplaced => {
                    return Err(StageError::Venue(format!(
                        "{inst}: a bar at {} is off its grid",
                        candle.ts
                    )));
                }
            }
        }
        self.holes.remove(key);
        debug!(event = "backfilled", %inst, %bar, bars = news.len(), "history read");
        self.publish(key, series, news).await
    }

    async fn publish(&self, key: &Key, series: &Bars, news: Vec<Candle>) -> Result<(), StageError> {
        let (inst, bar) = (&key.0, key.1);
        self.view.send_modify(|view| {
            if let Some(market) = view.insts.get_mut(inst) {
                market.series.insert(bar, series.history());
            }
        });
        if self.view.borrow().live {
            for candle in &news {
                let event = BarClosed {
                    run_id: self.start_run,
                    inst: inst.clone(),
                    bar,
                    candle: *candle,
                };
                self.closed
                    .send(event)
                    .await
                    .map_err(|_| StageError::Gone("decision"))?;
            }
        }
        // Research is never in the way of trading; what is dropped here can be downloaded again.
        if !news.is_empty() && self.keep.try_send((inst.clone(), bar, news)).is_err() {
            debug!(event = "research_behind", %inst, "candles were not kept");
        }
        Ok(())
    }
}

/// Returns the limit on how far ahead of the venue's clock a time may be: as configured, and never
/// less than a second of wall time, which messages take when that clock runs fast.
pub fn ahead_limit(configured: Ms, clock: &Clock) -> Ms {
    configured.max(clock.venue_span(Duration::from_secs(1)))
}

/// The rules that hold from now on. A contract that is worth something else makes every size we
/// know mean something else: nothing is traded there until a restart has read it all anew.
fn new_rules(old: &Instrument, new: Instrument) -> Instrument {
    if (new.contract_value, &new.base, &new.quote) == (old.contract_value, &old.base, &old.quote) {
        // What a row leaves out is not news: without its code no order could be cancelled, and no
        // size would be too large.
        let told = |new: Qty, old: Qty| if new == Qty(Decimal::MAX) { old } else { new };
        return Instrument {
            code: new.code.or(old.code),
            max_limit_size: told(new.max_limit_size, old.max_limit_size),
            max_market_size: told(new.max_market_size, old.max_market_size),
            ..new
        };
    }
    let state = InstState::Other(format!(
        "contract value {} became {}: restart",
        old.contract_value, new.contract_value
    ));
    Instrument {
        state,
        ..old.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::instrument::tests::swap;

    /// New minimum sizes and steps hold at once; another contract value suspends trading there.
    #[test]
    fn new_sizes_apply_contract_change_suspends() {
        let old = swap();
        let finer = Instrument {
            min_size: "5".parse().unwrap(),
            ..old.clone()
        };
        assert_eq!(new_rules(&old, finer.clone()), finer);
        let bare = Qty(Decimal::MAX);
        let poor = Instrument {
            code: None,
            max_limit_size: bare,
            max_market_size: bare,
            ..finer.clone()
        };
        assert_eq!(
            new_rules(&old, poor),
            finer,
            "what a row leaves out is kept"
        );
        let larger = new_rules(
            &old,
            Instrument {
                contract_value: "10".parse().unwrap(),
                ..old.clone()
            },
        );
        assert_eq!(larger.contract_value, old.contract_value);
        assert!(matches!(larger.state, InstState::Other(_)));
    }
}
