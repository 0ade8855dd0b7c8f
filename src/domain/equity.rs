//! Equity for limits: marked to market, and counted like a fund's. Pure.
//!
//! Money that comes in or goes out buys or sells units at the value of the moment, so the value of
//! one unit (`nav`) moves by profit and loss alone: a deposit cannot hide a loss, a withdrawal
//! cannot fake one. (Unit accounting, as funds do for time-weighted returns.)

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::units::quotient;
use super::{AccountView, InstKind, MarketView, Ms, Usd};

/// Decimals kept of units and their value.
const SCALE: u32 = 16;

/// The account's worth over time, in units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EquityBook {
    /// Units outstanding; zero before the first read.
    pub units: Decimal,
    /// The UTC day, with what a unit was worth as it began, at its lowest and highest, and at the
    /// last read.
    pub day: i64,
    pub open: Decimal,
    pub low: Decimal,
    pub high: Decimal,
    pub nav: Decimal,
    /// The most a unit was ever worth, or since a person released a drawdown.
    pub peak: Decimal,
    /// Transfers in and out that are booked, by currency, and what each currency was worth last:
    /// one that is gone has no price any more.
    pub flows: BTreeMap<String, Decimal>,
    pub prices: BTreeMap<String, Decimal>,
    pub updated: Ms,
}

impl EquityBook {
    /// Books one complete read of the account. `false`: it is not newer than the last, or worth
    /// nothing that can be booked.
    pub fn observe(&mut self, account: &AccountView) -> bool {
        if account.as_of <= self.updated && !self.units.is_zero() {
            return false;
        }
        let equity = account.equity.0;
        if self.units.is_zero() {
            return self.begin(account);
        }
        let flow = self.flow(account);
        let before = equity.saturating_sub(flow);
        let closed_at = self.nav;
        self.nav = settle(quotient(before, self.units));
        if equity <= Decimal::ZERO && flow < Decimal::ZERO {
            // All of it was taken out: that is no loss. What comes in next buys units at what they
            // were worth.
            (self.nav, self.units) = (closed_at, Decimal::ZERO);
        } else if !flow.is_zero() && self.nav > Decimal::ZERO {
            self.units = settle(quotient(equity, self.nav));
        }
        let day = account.as_of.utc_day();
        if day != self.day {
            // The day begins with what the last one ended with: what happened while nobody looked
            // is this day's.
            (self.day, self.open, self.low, self.high) = (day, closed_at, closed_at, closed_at);
        }
        self.low = self.low.min(self.nav);
        self.high = self.high.max(self.nav);
        self.peak = self.peak.max(self.nav);
        self.note(account);
        true
    }

    /// The first read, or the first after everything was taken out.
    fn begin(&mut self, account: &AccountView) -> bool {
        let equity = account.equity.0;
        if equity <= Decimal::ZERO {
            return false;
        }
        if self.nav <= Decimal::ZERO {
            self.nav = Decimal::ONE;
            (self.open, self.low, self.high, self.peak) = (self.nav, self.nav, self.nav, self.nav);
        }
        if account.as_of.utc_day() != self.day {
            (self.day, self.open, self.low, self.high) =
                (account.as_of.utc_day(), self.nav, self.nav, self.nav);
        }
        self.units = settle(quotient(equity, self.nav));
        self.note(account);
        true
    }

    fn note(&mut self, account: &AccountView) {
        self.flows.clone_from(&account.transfers);
        self.updated = account.as_of;
        let known = account.transfers.keys().chain(account.balances.keys());
        for ccy in known {
            if let Some(price) = account.price_of(ccy).filter(|price| !price.is_zero()) {
                self.prices.insert(ccy.clone(), price);
            }
        }
    }

    /// Dollars that came in (or went out) since the last read.
    fn flow(&self, account: &AccountView) -> Decimal {
        account
            .transfers
            .iter()
            .map(|(ccy, sum)| {
                let moved = (*sum).saturating_sub(self.flows.get(ccy).copied().unwrap_or_default());
                let now = account.price_of(ccy).filter(|price| !price.is_zero());
                moved.saturating_mul(
                    now.or_else(|| self.prices.get(ccy).copied())
                        .unwrap_or_default(),
                )
            })
            .sum()
    }

    /// Returns the value of a unit at this equity, if no money has moved since the last read.
    fn nav_at(&self, equity: Usd) -> Option<Decimal> {
        (!self.units.is_zero()).then(|| quotient(equity.0, self.units))
    }

    /// Loss since the UTC day of `now` began, as a share of what there was; never negative.
    pub fn daily_loss(&self, equity: Usd, now: Ms) -> Option<Decimal> {
        let open = if now.utc_day() == self.day {
            self.open
        } else {
            self.nav
        };
        fall(open, self.nav_at(equity)?)
    }

    /// Fall from the highest, as a share of it; never negative.
    pub fn drawdown(&self, equity: Usd) -> Option<Decimal> {
        fall(self.peak, self.nav_at(equity)?)
    }

    /// A person has released a daily loss: it is counted from here.
    pub fn forget_day(&mut self) {
        self.open = self.nav;
    }

    /// A person has released a drawdown: it is counted from here.
    pub fn forget_peak(&mut self) {
        self.peak = self.nav;
    }
}

fn fall(from: Decimal, to: Decimal) -> Option<Decimal> {
    (from > Decimal::ZERO).then(|| ((from - to) / from).max(Decimal::ZERO))
}

fn settle(value: Decimal) -> Decimal {
    value.round_dp(SCALE).normalize()
}

/// Which prices are believed when equity is marked to market.
#[derive(Clone, Copy, Debug)]
pub struct Believed {
    pub now: Ms,
    /// No quote older than this.
    pub age: Ms,
    /// No mid further from the last closed bar, as a share.
    pub jump: Decimal,
}

/// Equity now: the last read, with what is held revalued, swaps at the venue's mark if it is fresh,
/// the rest at mids. Where no price is believed the read's own value stands; each coin is revalued
/// once.
pub fn marked(account: &AccountView, market: &MarketView, believed: &Believed) -> Usd {
    let mut equity = account.equity.0;
    let mut revalued = std::collections::BTreeSet::new();
    let fresh = |at: Ms| believed.now.since(at).0.abs() <= believed.age.0;
    for (id, shown) in &market.insts {
        let inst = &shown.instrument;
        let mid = shown
            .quote
            .filter(|quote| fresh(quote.at))
            .map(|quote| quote.mid().0);
        let mark = shown
            .mark
            .filter(|(_, at)| inst.kind == InstKind::Swap && fresh(*at))
            .map(|(price, _)| price.0);
        let Some(price) = mark.or(mid) else { continue };
        let close = shown
            .series
            .values()
            .find_map(|series| series.candles().last())
            .map(|bar| bar.close.0);
        if close.is_some_and(|close| (price - close).abs() > believed.jump.saturating_mul(close)) {
            continue;
        }
        let change = match inst.kind {
            InstKind::Swap => account.positions.get(id).and_then(|position| {
                let then = position.mark?.0;
                (price - then)
                    .checked_mul(position.qty.0)?
                    .checked_mul(inst.contract_value)
            }),
            InstKind::Spot if !revalued.insert(inst.base.clone()) => None,
            InstKind::Spot => account.balances.get(&inst.base).and_then(|balance| {
                let then = account.price_of(&inst.base)?;
                (price - then).checked_mul(balance.equity)
            }),
        };
        equity = equity
            .checked_add(change.unwrap_or_default())
            .unwrap_or(equity);
    }
    Usd(equity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(at: i64, equity: i64, transfers: i64) -> AccountView {
        let transfers = [("USDT".to_owned(), Decimal::from(transfers))].into();
        AccountView {
            as_of: Ms(at),
            equity: Usd(Decimal::from(equity)),
            transfers,
            ..AccountView::default()
        }
    }

    /// Reads `equity/transfers` one minute apart, `|` is midnight; then the daily loss and the
    /// drawdown in percent.
    #[track_caller]
    fn check(story: &str, expected: &str) {
        let (mut book, mut at, mut equity) = (EquityBook::default(), 1000, 0);
        for word in story.split(' ') {
            if word == "|" {
                at = Ms(at).next_utc_day().0;
                continue;
            }
            let (worth, moved) = word.split_once('/').unwrap();
            equity = worth.parse().unwrap();
            assert!(book.observe(&read(at, equity, moved.parse().unwrap())));
            at += 60_000;
        }
        let percent = |share: Option<Decimal>| {
            (share.unwrap() * Decimal::ONE_HUNDRED)
                .round_dp(4)
                .normalize()
        };
        let (equity, now) = (Usd(Decimal::from(equity)), Ms(at));
        assert_eq!(
            format!(
                "{} {}",
                percent(book.daily_loss(equity, now)),
                percent(book.drawdown(equity))
            ),
            expected
        );
    }

    /// The daily loss is measured from the start of the day, the drawdown from the peak.
    #[test]
    fn losses_count_from_day_start_and_peak() {
        check("1000/0 950/0", "5 5");
        check("1000/0 1100/0 1045/0", "0 5");
        check("1000/0 950/0 | 950/0 931/0", "2 6.9");
        check("1000/0 950/0 | 931/0", "2 6.9");
    }

    /// A deposit cannot hide a loss, a withdrawal cannot fake one; after a deposit a loss is a
    /// share of the whole.
    #[test]
    fn transfers_neither_hide_nor_fake_losses() {
        check("1000/0 950/0 10950/10000", "5 5");
        check("1000/0 950/0 450/-500", "5 5");
        check("1000/0 100/-900", "0 0");
        check("1000/0 11000/10000", "0 0");
        // After a deposit a loss is a share of all there is.
        check("1000/0 11000/10000 10450/10000", "5 5");
    }

    /// All is withdrawn and part comes back: the loss counts as before, and an empty account has no
    /// drawdown.
    #[test]
    fn full_withdrawal_keeps_the_loss() {
        check("1000/0 950/0 0/-950 500/-450", "5 5");
        let mut book = EquityBook::default();
        book.observe(&read(1, 1000, 0));
        book.observe(&read(2, 0, -1000));
        assert_eq!(book.drawdown(Usd::ZERO), None, "nothing there to lose");
    }

    /// The last coin leaves the account: it counts at its last known value, so there is no loss.
    #[test]
    fn withdrawn_coin_keeps_its_last_value() {
        let with = |at: i64, coins: i64, moved: i64| {
            let (d, dollars) = (Decimal::from(coins), Usd(Decimal::from(coins * 50_000)));
            let balance = crate::domain::Balance {
                ccy: "BTC".into(),
                cash: d,
                equity: d,
                available: d,
                frozen: Decimal::ZERO,
                equity_usd: dollars,
            };
            let mut view = read(at, 50_000 + coins * 50_000, 0);
            view.transfers.insert("BTC".into(), Decimal::from(moved));
            if coins > 0 {
                view.balances.insert("BTC".into(), balance);
            }
            view
        };
        let mut book = EquityBook::default();
        book.observe(&with(1, 1, 0));
        book.observe(&with(2, 0, -1));
        assert_eq!(
            book.drawdown(Usd(Decimal::from(50_000))),
            Some(Decimal::ZERO)
        );
    }

    /// Losing everything is a full drawdown, and a deposit after that buys no units at a worthless
    /// price.
    #[test]
    fn stale_or_worthless_reads_change_nothing() {
        let mut book = EquityBook::default();
        assert!(!book.observe(&read(1, 0, 0)), "nothing to begin with");
        assert!(book.observe(&read(2, 1000, 0)));
        assert!(!book.observe(&read(2, 500, 0)) && !book.observe(&read(1, 500, 0)));
        assert_eq!(book.drawdown(Usd(Decimal::from(1000))), Some(Decimal::ZERO));
        // Everything lost, and nothing taken out: that is a loss, whole.
        assert!(book.observe(&read(3, 0, 0)));
        assert_eq!(book.drawdown(Usd::ZERO), Some(Decimal::ONE));
        // And what comes in then buys no units at a worthless price.
        assert!(book.observe(&read(4, 500, 500)));
        assert_eq!(
            book.drawdown(Usd(Decimal::from(500))),
            Some(Decimal::new(5, 1))
        );
    }

    /// The account is emptied but transfers explain only 900 of 1000; once 500 come back there is
    /// no drawdown.
    #[test]
    fn unexplained_remainder_is_no_loss() {
        let mut book = EquityBook::default();
        book.observe(&read(1, 1000, 0));
        book.observe(&read(2, 0, -900));
        book.observe(&read(3, 500, -400));
        assert_eq!(book.drawdown(Usd(Decimal::from(500))), Some(Decimal::ZERO));
    }

    /// The price rose by a fifth and a coin came in: the unit value rose by a fifth.
    #[test]
    fn deposited_coins_count_at_current_price() {
        let with = |at: i64, coins: i64, price: i64, moved: i64| {
            let (coins, dollars) = (Decimal::from(coins), Usd(Decimal::from(coins * price)));
            let mut view = read(at, coins.try_into().unwrap(), 0);
            view.equity = dollars;
            let balance = crate::domain::Balance {
                ccy: "BTC".into(),
                cash: coins,
                equity: coins,
                available: coins,
                frozen: Decimal::ZERO,
                equity_usd: dollars,
            };
            view.balances.insert("BTC".into(), balance);
            view.transfers.insert("BTC".into(), Decimal::from(moved));
            view
        };
        let mut book = EquityBook::default();
        book.observe(&with(1, 1, 50_000, 0));
        // A fifth up, and another coin comes in: the unit is worth a fifth more.
        book.observe(&with(2, 2, 60_000, 1));
        assert_eq!(book.nav, Decimal::new(12, 1));
    }

    /// A fall from zero is undefined, and a rise is a fall of zero.
    #[test]
    fn empty_book_has_no_drawdown() {
        assert_eq!(EquityBook::default().drawdown(Usd::ZERO), None);
        assert_eq!(fall(Decimal::ZERO, Decimal::ONE), None);
        assert_eq!(fall(Decimal::TWO, Decimal::ONE), Some(Decimal::new(5, 1)));
        assert_eq!(fall(Decimal::ONE, Decimal::TWO), Some(Decimal::ZERO));
    }

    /// The loss before the release no longer counts.
    #[test]
    fn released_daily_loss_restarts_at_zero() {
        let mut book = EquityBook::default();
        book.observe(&read(1, 1000, 0));
        book.observe(&read(2, 700, 0));
        let loss = |book: &EquityBook| book.daily_loss(Usd(Decimal::from(700)), Ms(2)).unwrap();
        assert_eq!(loss(&book), Decimal::new(3, 1));
        book.forget_day();
        assert_eq!(loss(&book), Decimal::ZERO);
    }

    /// 10 000 USD read, with a position of 20 contracts of 0.1 coin at a mark of 100, and 3 coins
    /// at 100 each; what is it worth when the swap's mark, its mid and the coin's mid are these
    /// (`-`: not known), the last bars closed at 100?
    #[track_caller]
    fn worth(kind: &str, mark: &str, mid: &str, age: i64, jump: i64, expected: i64) {
        use crate::domain::instrument::tests::swap;
        use crate::domain::view::InstMarket;
        use crate::domain::{
            Balance, Bar, Candle, Instrument, Position, Price, Qty, Quote, Series,
        };
        let now = Ms(1_000_000);
        let kind = if kind == "swap" {
            InstKind::Swap
        } else {
            InstKind::Spot
        };
        let inst = Instrument { kind, ..swap() };
        let quote = mid.parse().ok().map(|mid: Price| Quote {
            bid: mid,
            bid_qty: Qty(Decimal::ONE),
            ask: mid,
            ask_qty: Qty(Decimal::ONE),
            last: mid,
            at: Ms(now.0 - age),
        });
        let mark = mark.parse().ok().map(|mark: Price| (mark, now));
        let close: Price = "100".parse().unwrap();
        let bar = Candle {
            ts: Ms(0),
            open: close,
            high: close,
            low: close,
            close,
            volume: Qty(Decimal::ONE),
        };
        let series = [(Bar::M1, Series::new(Bar::M1, vec![bar]))].into();
        let shown = |inst: &Instrument| InstMarket {
            instrument: std::sync::Arc::new(inst.clone()),
            quote,
            mark,
            series: std::collections::BTreeMap::clone(&series),
        };
        // Coins traded against two currencies are the same coins: the first price that is believed
        // counts.
        let twin = Instrument {
            id: "ETH-USDC".into(),
            ..inst.clone()
        };
        let other = |quote: Quote| Quote {
            bid: Price(105.into()),
            ask: Price(105.into()),
            ..quote
        };
        let mut insts: BTreeMap<_, _> = [(inst.id.clone(), shown(&inst))].into();
        if kind == InstKind::Spot {
            insts.insert(
                twin.id.clone(),
                InstMarket {
                    quote: quote.map(other),
                    ..shown(&twin)
                },
            );
        }
        let mut account = read(1, 10_000, 0);
        let position = Position {
            inst: inst.id.clone(),
            qty: Qty(Decimal::from(20)),
            average: None,
            mark: Some(close),
            unrealised: Decimal::ZERO,
            notional: None,
            liquidation: None,
            leverage: None,
            at: now,
        };
        account.positions.insert(inst.id.clone(), position);
        let coins = Decimal::from(3);
        let balance = Balance {
            ccy: inst.base.clone(),
            cash: coins,
            equity: coins,
            available: coins,
            frozen: Decimal::ZERO,
            equity_usd: Usd(Decimal::from(300)),
        };
        account.balances.insert(inst.base.clone(), balance);
        let believed = Believed {
            now,
            age: Ms(5000),
            jump: Decimal::new(jump, 2),
        };
        let market = MarketView {
            insts,
            live: true,
            ..MarketView::default()
        };
        assert_eq!(
            marked(&account, &market, &believed),
            Usd(Decimal::from(expected))
        );
    }

    /// Swaps at mark before mid, spot at mid; a stale price or one more than 20 % off is ignored.
    #[test]
    fn holdings_are_revalued_at_plausible_prices() {
        worth("swap", "-", "110", 0, 20, 10_020);
        worth("swap", "90", "110", 0, 20, 9_980); // the venue's mark before the mid
        worth("swap", "-", "-", 0, 20, 10_000);
        worth("swap", "-", "110", 5000, 20, 10_020);
        worth("swap", "-", "110", 5001, 20, 10_000);
        worth("swap", "-", "120", 0, 20, 10_040); // just as far as believed
        worth("swap", "-", "121", 0, 20, 10_000);
        worth("swap", "-", "80", 0, 20, 9_960);
        worth("swap", "-", "79", 0, 20, 10_000);
        // Coins at their mid, once, whatever the venue marks.
        worth("spot", "-", "110", 0, 20, 10_015);
        worth("spot", "90", "110", 0, 20, 10_015);
        worth("spot", "90", "-", 0, 20, 10_000);
    }

    #[test]
    fn a_released_drawdown_is_counted_anew() {
        let mut book = EquityBook::default();
        book.observe(&read(1, 1000, 0));
        book.observe(&read(2, 700, 0));
        book.forget_peak();
        assert_eq!(book.drawdown(Usd(Decimal::from(700))), Some(Decimal::ZERO));
    }

    proptest! {
        /// Whatever comes in and goes out, only profit and loss move the value of a unit.
        #[test]
        fn flows_never_move_the_unit_value(steps in proptest::collection::vec((-900i64..2000, -50i64..50), 1..40)) {
            let mut book = EquityBook::default();
            let (mut equity, mut transfers, mut worth) = (Decimal::from(1000), Decimal::ZERO, Decimal::ONE);
            let view = |at: i64, equity: Decimal, transfers: Decimal| AccountView {
                as_of: Ms(at),
                equity: Usd(equity),
                transfers: [("USDT".to_owned(), transfers)].into(),
                ..AccountView::default()
            };
            book.observe(&view(1, equity, transfers));
            for (at, (flow, profit)) in steps.into_iter().enumerate() {
                let profit = Decimal::new(profit, 3);
                let flow = Decimal::from(flow).max(-equity * Decimal::new(9, 1));
                worth *= Decimal::ONE + profit;
                equity = equity * (Decimal::ONE + profit) + flow;
                transfers += flow;
                prop_assume!(equity > Decimal::ONE && worth > Decimal::new(1, 3) && worth < Decimal::from(1000));
                book.observe(&view(at as i64 + 2, equity, transfers));
                prop_assert!((book.nav - worth).abs() < Decimal::new(1, 8) * worth, "{} {}", book.nav, worth);
            }
        }
    }
}
