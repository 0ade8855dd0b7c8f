//! A market that comes from outside: what the feed has said, and what of it meets our orders.
//!
//! Nothing of ours trades at a price the feed has not shown, and nothing trades while the feed is
//! cut.

use std::collections::{BTreeMap, HashSet, VecDeque};

use rust_decimal::Decimal;

use super::super::market::{Level, SyntheticBook, Trade};
use super::types::{Rejection, VenueOrder};
use super::{Event, Exchange};
use crate::domain::{Bar, Candle, Ms};

/// Trades and bars that are kept for those who ask.
const TRADES_KEPT: usize = 500;
const BARS_KEPT: usize = 3000;

/// Greatest age at which news from the source is still matched; anything older was delayed on the
/// way or in a queue.
const LAG_MAX: Ms = Ms::secs(5);

/// One instrument as its feed shows it.
#[derive(Debug, Default)]
pub struct Fed {
    /// Prices are coming; `false` from the moment the feed is cut until its next book.
    pub live: bool,
    pub last: Decimal,
    /// The source's time of the present book.
    book_at: Ms,
    pub trades: VecDeque<Trade>,
    pub closed: BTreeMap<Bar, BTreeMap<Ms, Candle>>,
    pub forming: BTreeMap<Bar, Candle>,
    /// Funding rates by the time they are paid.
    pub funding: BTreeMap<Ms, Decimal>,
    /// Resting orders whose own limit the feed has shown since they came.
    shown: HashSet<u64>,
}

/// News of one instrument.
#[derive(Clone, Debug)]
pub enum FeedEvent {
    /// The whole visible book, best first.
    /// `at` is the source's time of it.
    Book {
        bids: Vec<Level>,
        asks: Vec<Level>,
        at: Ms,
    },
    Trades(Vec<Trade>),
    /// The last price, where no trade said it.
    Last(Decimal),
    /// Bars of one size, each with whether it is final.
    Candles(Bar, Vec<(Candle, bool)>),
    /// The rate that will be paid at this time.
    Funding(Ms, Decimal),
    /// Loss of the feed: nothing is known of this instrument until its next book.
    Cut,
}

impl Exchange {
    /// Takes news of `inst`; unknown instruments are ignored.
    pub fn feed(&mut self, inst: &str, news: FeedEvent) {
        if !self.fed.contains_key(inst) {
            return;
        }
        match news {
            FeedEvent::Book { bids, asks, at } => self.feed_book(inst, bids, asks, at),
            FeedEvent::Trades(trades) => trades
                .into_iter()
                .for_each(|trade| self.feed_trade(inst, trade)),
            FeedEvent::Last(last) => self.feed_last(inst, last),
            FeedEvent::Candles(bar, rows) => self.feed_candles(inst, bar, rows),
            FeedEvent::Funding(at, rate) => {
                self.fed_mut(inst).funding.insert(at, rate);
            }
            FeedEvent::Cut => {
                let fed = self.fed_mut(inst);
                fed.live = false;
                fed.shown.clear();
                // A price that nobody vouches for is none: the book is empty until the feed is
                // back.
                let last = fed.last;
                self.books.insert(
                    inst.to_owned(),
                    SyntheticBook {
                        last,
                        ..Default::default()
                    },
                );
            }
        }
    }

    /// Checks that this instrument can trade now. In a market of our own it always can.
    pub(super) fn check_feed(&self, inst: &str) -> Result<(), Rejection> {
        match self.fed.get(inst) {
            Some(fed) if !fed.live => Err(Rejection::new(
                "51022",
                format!("{inst} is suspended: its price feed is cut."),
            )),
            _ => Ok(()),
        }
    }

    fn fed_mut(&mut self, inst: &str) -> &mut Fed {
        self.fed.get_mut(inst).expect("checked by feed")
    }

    fn feed_book(&mut self, inst: &str, bids: Vec<Level>, asks: Vec<Level>, at: Ms) {
        // One that was long on its way is not the market; one that is older than ours even less.
        if self.now.since(at) > LAG_MAX || at < self.fed_mut(inst).book_at {
            return;
        }
        self.fed_mut(inst).book_at = at;
        self.consumed.retain(|(of, ..), _| of != inst);
        self.showing += 1;
        let fed = self.fed_mut(inst);
        fed.live = true;
        if fed.last.is_zero() {
            fed.last = bids
                .first()
                .or(asks.first())
                .map_or(Decimal::ZERO, |level| level.price);
        }
        let book = SyntheticBook {
            bids,
            asks,
            last: fed.last,
        };
        self.books.insert(inst.to_owned(), book.clone());
        self.note_shown(inst, |price| {
            book.asks
                .iter()
                .chain(&book.bids)
                .any(|level| level.price == price)
        });
        self.meet_book(inst);
        self.trigger_stops();
        self.liquidate_if_broke();
        self.events.push(Event::Book(inst.to_owned()));
    }

    fn feed_trade(&mut self, inst: &str, trade: Trade) {
        let fresh = self.now.since(trade.at) <= LAG_MAX;
        let fed = self.fed_mut(inst);
        if fed
            .trades
            .back()
            .is_some_and(|newest| trade.id <= newest.id)
        {
            return; // told twice, or too late
        }
        fed.last = trade.price;
        let live = fed.live && fresh;
        fed.trades.push_back(trade.clone());
        if fed.trades.len() > TRADES_KEPT {
            fed.trades.pop_front();
        }
        if let Some(book) = self.books.get_mut(inst) {
            book.last = trade.price;
        }
        if live {
            self.note_shown(inst, |price| price == trade.price);
            self.match_trade(inst, trade.side, trade.price, trade.size);
            self.trigger_stops();
        }
        self.events.push(Event::Trade(inst.to_owned(), trade));
    }

    fn feed_last(&mut self, inst: &str, last: Decimal) {
        self.fed_mut(inst).last = last;
        if let Some(book) = self.books.get_mut(inst) {
            book.last = last;
        }
        if self.fed_mut(inst).live {
            self.trigger_stops();
        }
    }

    fn feed_candles(&mut self, inst: &str, bar: Bar, rows: Vec<(Candle, bool)>) {
        for (candle, confirmed) in &rows {
            let fed = self.fed_mut(inst);
            if *confirmed {
                let closed = fed.closed.entry(bar).or_default();
                closed.insert(candle.ts, *candle);
                if closed.len() > BARS_KEPT {
                    closed.pop_first();
                }
                fed.forming
                    .retain(|of, forming| *of != bar || forming.ts > candle.ts);
            } else {
                fed.forming.insert(bar, *candle);
            }
            self.events
                .push(Event::Bar(inst.to_owned(), bar, *candle, *confirmed));
        }
    }

    /// Notes which of our resting orders have seen their own price since they came.
    fn note_shown(&mut self, inst: &str, shows: impl Fn(Decimal) -> bool) {
        let at_shown = |o: &&VenueOrder| o.inst == inst && o.price.is_some_and(&shows);
        let seen: Vec<u64> = self.open_orders().filter(at_shown).map(|o| o.id).collect();
        self.fed_mut(inst).shown.extend(seen);
    }

    /// An order has come to rest: has its price been shown already?
    pub(super) fn note_resting(&mut self, id: u64) {
        let order = &self.ledger.orders[&id];
        let (inst, limit) = (order.inst.clone(), order.price);
        let Some(fed) = self.fed.get_mut(&inst) else {
            return;
        };
        let book = self.books.get(&inst).cloned().unwrap_or_default();
        if book
            .asks
            .iter()
            .chain(&book.bids)
            .any(|level| Some(level.price) == limit)
        {
            fed.shown.insert(id);
        }
    }

    /// Returns the fill price of a resting order when `shown` reaches it: its own limit if the feed
    /// has ever shown that price to it, else the price the feed shows. Outside a fed market always
    /// its own limit.
    pub(super) fn maker_price(&self, id: u64, shown: Decimal) -> Decimal {
        let order = &self.ledger.orders[&id];
        let limit = order.price.unwrap_or(shown);
        match self.fed.get(&order.inst) {
            Some(fed) if !fed.shown.contains(&id) => shown,
            _ => limit,
        }
    }

    /// Rate of this instrument's swap at `boundary`.
    pub fn funding_rate(&self, inst: &str, boundary: Ms) -> Decimal {
        match self.fed.get(inst) {
            Some(fed) => fed.funding.get(&boundary).copied().unwrap_or_default(),
            None => self
                .market
                .get(inst)
                .map_or(Decimal::ZERO, |listed| listed.funding_rate(boundary)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::super::market::{SimMarket, listed_as};
    use super::super::{NewOrder, Status, VenueLedger};
    use super::*;
    use crate::domain::instrument::tests::swap;
    use crate::domain::{OrdType, Side};

    const INST: &str = "ETH-USDT-SWAP";

    fn d(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    fn exchange() -> Exchange {
        let market = Arc::new(SimMarket::fed(vec![listed_as(swap())]));
        let mut x = Exchange::new(market, VenueLedger::default(), Ms::secs(1_780_000_000));
        x.deposit("USDT", Decimal::from(1_000_000));
        x.advance(Ms::secs(1_780_000_000));
        x
    }

    fn book(bid: &str, ask: &str) -> FeedEvent {
        let level = |price| {
            vec![Level {
                price: d(price),
                size: d("10"),
            }]
        };
        FeedEvent::Book {
            bids: level(bid),
            asks: level(ask),
            at: Ms::secs(1_780_000_000),
        }
    }

    fn trade(id: i64, price: &str, side: Side) -> FeedEvent {
        let at = Ms::secs(1_780_000_000);
        FeedEvent::Trades(vec![Trade {
            id,
            price: d(price),
            size: d("10"),
            side,
            at,
        }])
    }

    fn buy(x: &mut Exchange, ord_type: OrdType, price: &str) -> Result<u64, Rejection> {
        x.place(NewOrder {
            inst: INST.into(),
            td_mode: "cross".into(),
            ord_type,
            size: d("1"),
            price: Some(d(price)),
            ..NewOrder::market(INST, Side::Buy, d("1"))
        })
    }

    fn fills(x: &Exchange) -> Vec<String> {
        x.ledger
            .executions
            .values()
            .map(|f| f.price.normalize().to_string())
            .collect()
    }

    /// Before the first book and while the feed is cut, orders are refused and none fills; a cancel
    /// still works.
    #[test]
    fn nothing_fills_without_a_live_feed() {
        let mut x = exchange();
        assert_eq!(buy(&mut x, OrdType::Ioc, "100").unwrap_err().code, "51022");
        x.feed(INST, book("99", "100"));
        let resting = buy(&mut x, OrdType::Limit, "98").unwrap();
        x.feed(INST, FeedEvent::Cut);
        x.feed(INST, trade(1, "90", Side::Sell));
        for second in 1..100 {
            x.advance(Ms::secs(1_780_000_000 + second));
        }
        assert_eq!(buy(&mut x, OrdType::Ioc, "100").unwrap_err().code, "51022");
        assert_eq!(fills(&x), Vec::<String>::new());
        x.cancel(INST, &resting.to_string(), "").unwrap();
        assert_eq!(
            x.ledger.orders[&resting].status,
            Status::Canceled,
            "a cancel is always taken"
        );
    }

    /// A taker gets only the levels of the current book, each once until the next book.
    #[test]
    fn each_shown_level_fills_once() {
        let mut x = exchange();
        x.feed(INST, book("99", "100"));
        for _ in 0..12 {
            buy(&mut x, OrdType::Ioc, "103").unwrap();
        }
        assert_eq!(fills(&x), ["100"; 10], "the book showed ten");
        x.feed(INST, book("99", "101"));
        buy(&mut x, OrdType::Ioc, "103").unwrap();
        assert_eq!(fills(&x).last().unwrap(), "101");
    }

    /// A trade older than the last one, or news that took six seconds to arrive, fills no resting
    /// order.
    #[test]
    fn stale_trades_are_not_matched() {
        let mut x = exchange();
        x.feed(INST, book("99", "100"));
        buy(&mut x, OrdType::Limit, "98").unwrap();
        x.feed(INST, trade(5, "98.5", Side::Sell));
        x.feed(INST, trade(4, "90", Side::Sell));
        assert_eq!(
            fills(&x),
            Vec::<String>::new(),
            "an older trade comes too late"
        );
        x.advance(Ms::secs(1_780_000_006));
        x.feed(INST, trade(6, "90", Side::Sell));
        x.feed(INST, book("80", "81"));
        assert_eq!(fills(&x), Vec::<String>::new(), "six seconds are too long");
    }

    /// It fills at a price the feed showed, be it a trade or the best bid, not at a limit never
    /// shown.
    #[test]
    fn resting_order_fills_at_shown_price() {
        let mut x = exchange();
        x.feed(INST, book("99", "100"));
        buy(&mut x, OrdType::Limit, "98.5").unwrap();
        x.feed(INST, trade(1, "97", Side::Sell));
        assert_eq!(fills(&x), ["97"], "98.5 was never shown");
        buy(&mut x, OrdType::Limit, "99").unwrap();
        x.feed(INST, book("99", "100"));
        x.feed(INST, book("97", "98"));
        assert_eq!(
            fills(&x),
            ["97", "99"],
            "99 was the best bid: it fills there"
        );
    }
}
