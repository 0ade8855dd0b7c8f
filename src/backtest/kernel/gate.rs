//! The rules of `risk/rules.rs` for one sleeve in one instrument, in floats. A rule without an arm
//! does not compile.

use std::collections::VecDeque;

use super::super::sleeve_sim::{Done, SimOrder, SleeveSim};
use super::super::{BacktestMarket, Halt, Rules};
use crate::domain::{BreachAction, Ms, Release, Rule, Side, TradingState};
use crate::fills::{Kind, Number};

/// Codes that are no rules, in the order of their bits from [`FIRST_OTHER`] on.
const OTHERS: [&str; 4] = ["size_step", "size_max", "trading_halted", "reduce_only"];
/// After the rules' own bits.
const FIRST_OTHER: usize = Rule::ALL.len();

/// Bits of the rules that an order breaks, each rule's own lines one after the other: a loop would
/// jump to them by a table.
macro_rules! broken {
    ($gate:expr, $told:expr, $($index:literal)*) => {{
        const { assert!([$($index),*].len() == Rule::ALL.len(), "every rule is asked") };
        0 $(| if $gate.is_broken(Rule::ALL[$index], $told) { bit(Rule::ALL[$index]) } else { 0 })*
    }};
}

/// A rule's bit.
const fn bit(rule: Rule) -> u64 {
    1 << rule as u32
}

const fn other(index: usize) -> u64 {
    1 << (FIRST_OTHER + index)
}

/// Every code in the order of the bits.
pub(super) fn codes() -> impl Iterator<Item = &'static str> {
    Rule::ALL.iter().map(|rule| rule.as_str()).chain(OTHERS)
}

/// Verdict on an order.
pub(super) enum Judged {
    Fine,
    /// Of a turn only what closes passes; a bit for each code that the rest has broken.
    Cut(u64),
    /// A bit for each code.
    Refused(u64),
}

/// The gate's memory.
pub(super) struct SimGate {
    limits: [f64; Rule::ALL.len()],
    actions: [(BreachAction, Release); Rule::ALL.len()],
    /// Since when a rule's breach restricts, and until when.
    restricted: [Option<Option<Ms>>; Rule::ALL.len()],
    any_restricted: bool,
    /// Rules whose breach would restrict something that is not restricted yet.
    armed: u64,
    unit: f64,
    lot: f64,
    least: i64,
    most_limit: i64,
    most_market: i64,
    most_worth: f64,
    swap: bool,
    /// Worth of a unit of the account, as `domain/equity.rs` counts.
    start: f64,
    nav: f64,
    peak: f64,
    open: f64,
    day: i64,
    midnight: Ms,
    books: SleeveBooks,
    sent: VecDeque<SentOrder>,
    sent_day: i64,
    sent_today: u64,
}

struct SentOrder {
    at: i64,
    side: Side,
    lots: i64,
    opening: bool,
}

/// Counters of one sleeve, the same that `domain/tally.rs` keeps.
#[derive(Default)]
struct SleeveBooks {
    held: i64,
    average: f64,
    day: i64,
    trades: u32,
    turnover: f64,
    adding: Option<u32>,
    open_profit: f64,
    streak: (i64, u32),
    last_fill: Option<i64>,
    last_loss: Option<i64>,
}

impl SimGate {
    pub(super) fn new(market: &BacktestMarket, rules: &Rules, cash: f64) -> Self {
        let inst = &market.instrument;
        let limit = |rule: &Rule| {
            let value = f64::of(rules.limits.value(*rule));
            if rule.spec().unit == crate::domain::rule::Unit::Percent {
                value / 100.0
            } else {
                value
            }
        };
        let lots = |size: rust_decimal::Decimal| Number::floor(size / inst.lot.0);
        let mut limits = [0.0; Rule::ALL.len()];
        let mut actions = [(BreachAction::Block, Release::Manual); Rule::ALL.len()];
        for rule in Rule::ALL {
            limits[*rule as usize] = limit(rule);
            let of = rules.limits.of(*rule);
            actions[*rule as usize] = (of.action, of.release);
        }
        Self {
            limits,
            actions,
            restricted: [None; Rule::ALL.len()],
            any_restricted: false,
            armed: armed(&actions, &[None; Rule::ALL.len()]),
            unit: f64::of(inst.tick.0 * inst.lot.0 * inst.contract_value),
            lot: f64::of(inst.lot.0),
            least: Number::ceil(inst.min_size.0 / inst.lot.0).max(1),
            most_limit: lots(
                inst.max_limit_size
                    .0
                    .min(rust_decimal::Decimal::from(i64::MAX)),
            ),
            most_market: lots(
                inst.max_market_size
                    .0
                    .min(rust_decimal::Decimal::from(i64::MAX)),
            ),
            most_worth: f64::of(inst.max_market_size.0),
            swap: market.is_swap(),
            start: cash,
            nav: 1.0,
            peak: 1.0,
            open: 1.0,
            day: i64::MIN,
            midnight: Ms(i64::MIN),
            books: SleeveBooks::default(),
            sent: VecDeque::new(),
            sent_day: i64::MIN,
            sent_today: 0,
        }
    }

    pub(super) const fn held(&self) -> i64 {
        self.books.held
    }

    fn limit(&self, rule: Rule) -> f64 {
        self.limits[rule as usize]
    }

    /// A bar has closed: what is over ends, equity is counted, the account's own rules are judged.
    #[inline]
    pub(super) fn look(&mut self, now: Ms, equity: f64) -> Vec<Halt> {
        let before = self.nav;
        self.nav = equity / self.start;
        if now >= self.midnight {
            let first = self.day == i64::MIN;
            self.day = now.utc_day();
            self.midnight = now.next_utc_day();
            self.open = if first { self.nav } else { before };
            self.expire(now);
        }
        if self.nav > self.peak {
            self.peak = self.nav;
        }
        let daily = self.nav < self.open * (1.0 - self.limit(Rule::DailyLoss));
        let deep = self.nav < self.peak * (1.0 - self.limit(Rule::Drawdown));
        if daily || deep {
            let codes = if daily { bit(Rule::DailyLoss) } else { 0 }
                | if deep { bit(Rule::Drawdown) } else { 0 };
            return self.consequences(now, codes);
        }
        Vec::new()
    }

    #[cold]
    fn expire(&mut self, now: Ms) {
        for restricted in &mut self.restricted {
            if restricted.is_some_and(|until| until.is_some_and(|until| now >= until)) {
                *restricted = None;
            }
        }
        self.any_restricted = self.restricted.iter().any(Option::is_some);
        self.armed = armed(&self.actions, &self.restricted);
    }

    /// Applies what breaches lead to besides the denial, as far as it is new, and returns the
    /// halts.
    #[inline]
    pub(super) fn consequences(&mut self, now: Ms, codes: u64) -> Vec<Halt> {
        if codes & self.armed == 0 {
            Vec::new()
        } else {
            self.restrict(now, codes)
        }
    }

    #[cold]
    fn restrict(&mut self, now: Ms, codes: u64) -> Vec<Halt> {
        let mut halts = Vec::new();
        for rule in Rule::ALL.iter().filter(|rule| codes & bit(**rule) != 0) {
            let (action, release) = self.actions[*rule as usize];
            if action == BreachAction::Block || self.restricted[*rule as usize].is_some() {
                continue;
            }
            let until = (release == Release::NextUtcDay).then(|| now.next_utc_day());
            self.restricted[*rule as usize] = Some(until);
            self.any_restricted = true;
            let state = state_of(action).as_str().to_owned();
            let flatten = action == BreachAction::Flatten;
            halts.push(Halt {
                at: now,
                rule: rule.as_str().to_owned(),
                state,
                until,
                flatten,
            });
        }
        self.armed = armed(&self.actions, &self.restricted);
        halts
    }

    fn strictest(&self) -> TradingState {
        let states = self
            .restricted
            .iter()
            .zip(&self.actions)
            .filter(|(restricted, _)| restricted.is_some());
        states
            .map(|(_, (action, _))| state_of(*action))
            .max()
            .unwrap_or_default()
    }

    /// Judges an order, and makes it smaller where it may only reduce or where only its closing
    /// part may leave.
    pub(super) fn judge(
        &mut self,
        now: Ms,
        order: &mut SimOrder,
        sleeve: &SleeveSim,
        equity: f64,
        close: f64,
    ) -> Judged {
        let asked = *order;
        let codes = self.judge_whole(now, order, sleeve, equity, close);
        if codes == 0 {
            return Judged::Fine;
        }
        let held = if order.side == Side::Sell {
            sleeve.held
        } else {
            -sleeve.held
        };
        let lots = held.min(asked.lots);
        if asked.opening && lots >= self.least {
            let mut exit = SimOrder {
                lots,
                opening: false,
                stop: None,
                ..asked
            };
            if self.judge_whole(now, &mut exit, sleeve, equity, close) == 0 {
                *order = exit;
                return Judged::Cut(codes);
            }
        }
        Judged::Refused(codes)
    }

    /// A bit for each code that the order breaks, once it is cut to what one may be.
    fn judge_whole(
        &mut self,
        now: Ms,
        order: &mut SimOrder,
        sleeve: &SleeveSim,
        equity: f64,
        close: f64,
    ) -> u64 {
        let mut codes = 0;
        if self.any_restricted {
            match self.strictest() {
                TradingState::Active => {}
                TradingState::Halted => codes |= other(2),
                TradingState::ReduceOnly => {
                    let room = if order.side == Side::Sell {
                        sleeve.held
                    } else {
                        -sleeve.held
                    }
                    .max(0);
                    if room < self.least {
                        codes |= other(3);
                    } else {
                        *order = SimOrder {
                            lots: order.lots.min(room),
                            opening: false,
                            stop: None,
                            ..*order
                        };
                    }
                }
            }
        }
        let limit = match order.kind {
            Kind::Market => None,
            Kind::Ioc(limit) | Kind::Limit(limit) | Kind::PostOnly(limit) => Some(limit as f64),
        };
        let worst_price = limit.map_or(close, |limit| limit.max(close));
        let most = match (limit, self.swap) {
            (Some(_), _) => self.most_limit,
            (None, true) => self.most_market,
            // In the quote currency; a quotient that is whole stays so.
            (None, false) => {
                (self.most_worth / (worst_price * self.unit) * (1.0 + 1e-12)).floor() as i64
            }
        };
        self.cut_to_one_order(order, worst_price, most);
        let held = if order.side == Side::Sell {
            sleeve.held
        } else {
            -sleeve.held
        };
        if order.opening && order.lots <= held && order.lots >= self.least {
            *order = SimOrder {
                opening: false,
                stop: None,
                ..*order
            };
        }
        codes |= if order.lots < self.least { other(0) } else { 0 };
        codes |= if order.lots > most { other(1) } else { 0 };
        let told = RuleInputs::new(
            now,
            order,
            (sleeve.held, equity, close),
            (limit, worst_price),
            self.unit,
        );
        codes |=
            broken!(self, &told, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24);
        codes
    }

    /// An order larger than one may be is cut to the limit, never refused for its size.
    fn cut_to_one_order(&self, order: &mut SimOrder, worst_price: f64, most: i64) {
        let worth = Number::floor(self.limit(Rule::OrderNotionalMax) / (worst_price * self.unit));
        let lots = order.lots.min(most).min(worth);
        if lots != order.lots && lots >= self.least {
            order.lots = lots;
        }
    }

    #[inline(always)]
    fn is_broken(&self, rule: Rule, told: &RuleInputs<'_>) -> bool {
        let &RuleInputs {
            now,
            order,
            equity,
            close,
            limit,
            after,
            grows,
            value,
            gross,
            ..
        } = told;
        let bound = self.limit(rule);
        let opening = order.opening;
        match rule {
            Rule::DailyLoss => opening && self.nav < self.open * (1.0 - bound),
            Rule::Drawdown => opening && self.nav < self.peak * (1.0 - bound),
            Rule::OrderNotionalMax => value > bound,
            Rule::OrderNotionalMin => opening && value < bound,
            Rule::OpenOrders => opening && 1.0 > bound,
            Rule::Position => {
                let price = close.max(limit.unwrap_or(close));
                grows && after as f64 * price * self.unit > bound
            }
            Rule::GrossExposure => grows && equity > 0.0 && gross > bound * equity,
            Rule::NetExposure => {
                grows && equity > 0.0 && after as f64 * close * self.unit > bound * equity
            }
            Rule::Leverage => self.swap && grows && equity > 0.0 && gross > bound * equity,
            Rule::FreeBalance => self.is_too_dear(told, bound),
            // The bid and the ask are a tick from the close, and what the venue marks by is the
            // close.
            Rule::PriceCollar | Rule::MarkCollar => {
                let price = limit.unwrap_or(close);
                let worse = if order.side == Side::Buy {
                    price - close
                } else {
                    close - price
                };
                let counts = rule == Rule::PriceCollar || opening;
                counts && worse > bound * close
            }
            // The price is the last close, quote and account are of now, and what is decided is
            // judged at once.
            Rule::PriceJump | Rule::QuoteAge | Rule::AccountAge | Rule::DecisionAge => false,
            Rule::OrderRate => {
                let minute = self.since(now, 60_000).count() + 1;
                opening && minute as f64 > bound
            }
            Rule::OrdersPerDay => {
                let today = if self.sent_day == self.day {
                    self.sent_today
                } else {
                    0
                };
                opening && (today + 1) as f64 > bound
            }
            Rule::Duplicate => {
                let twin = |s: &SentOrder| s.side == order.side && s.lots == order.lots;
                opening
                    && self
                        .sent
                        .iter()
                        .rev()
                        .take_while(|s| ((now.0 - s.at) as f64) < bound)
                        .any(twin)
            }
            Rule::Repeats => {
                let again = self
                    .since(now, 3_600_000)
                    .filter(|s| s.opening && s.side == order.side)
                    .count()
                    + 1;
                opening && again as f64 > bound
            }
            Rule::TradesPerDay => opening && f64::from(self.books.today(self.day).0 + 1) > bound,
            Rule::Turnover => {
                opening && equity > 0.0 && self.books.today(self.day).1 + value > bound * equity
            }
            Rule::LossStreak => {
                let (day, streak) = self.books.streak;
                opening && f64::from(if day == self.day { streak } else { 0 }) >= bound
            }
            Rule::CooldownLoss => {
                opening
                    && self
                        .books
                        .last_loss
                        .is_some_and(|at| ((now.0 - at) as f64) < bound)
            }
            Rule::CooldownTrade => {
                opening
                    && self
                        .books
                        .last_fill
                        .is_some_and(|at| ((now.0 - at) as f64) < bound)
            }
        }
    }

    fn is_too_dear(&self, told: &RuleInputs<'_>, bound: f64) -> bool {
        let price = told.limit.unwrap_or(told.close);
        let leverage = self.limit(Rule::Leverage);
        let held = told.held.abs() as f64 * told.close * self.unit;
        match (self.swap, told.order.side) {
            (true, _) if !told.order.opening => false,
            (true, _) => {
                let margin =
                    (told.after - told.before).max(0) as f64 * price * self.unit / leverage;
                told.equity - held / leverage - margin < bound
            }
            (false, Side::Buy) => {
                let least = if told.order.opening { bound } else { 0.0 };
                told.equity - held - told.order.lots as f64 * price * self.unit < least
            }
            (false, Side::Sell) => told.order.lots > told.held,
        }
    }

    fn since(&self, now: Ms, window: i64) -> impl Iterator<Item = &SentOrder> {
        self.sent
            .iter()
            .rev()
            .take_while(move |sent| now.0 - sent.at < window)
    }

    /// Notes an order that is let out.
    pub(super) fn let_out(&mut self, now: Ms, order: &SimOrder) {
        if now.utc_day() != self.sent_day {
            (self.sent_day, self.sent_today) = (now.utc_day(), 0);
        }
        self.sent_today += 1;
        while self
            .sent
            .front()
            .is_some_and(|old| now.0 - old.at > 3_600_000)
        {
            self.sent.pop_front();
        }
        self.sent.push_back(SentOrder {
            at: now.0,
            side: order.side,
            lots: order.lots,
            opening: order.opening,
        });
    }

    /// Counts a fill, after which so much is held.
    pub(super) fn fill(&mut self, now: Ms, done: &Done<f64>, held: i64) {
        let real = |lots: i64| {
            if (lots.abs() as f64) * self.lot < self.least as f64 * self.lot {
                0
            } else {
                lots
            }
        };
        let sizes = (real(self.books.held), real(held));
        self.books.count(now, done, held, sizes, self.unit);
    }
}

/// Rules that lead to something and have not yet.
fn armed(actions: &[(BreachAction, Release)], restricted: &[Option<Option<Ms>>]) -> u64 {
    let each = actions.iter().zip(restricted).enumerate();
    each.filter(|(_, ((action, _), held))| *action != BreachAction::Block && held.is_none())
        .map(|(at, _)| 1 << at)
        .sum()
}

/// Inputs of a rule.
struct RuleInputs<'a> {
    now: Ms,
    order: &'a SimOrder,
    held: i64,
    equity: f64,
    close: f64,
    limit: Option<f64>,
    /// Lots on the order's side now, and once all of it has filled.
    before: i64,
    after: i64,
    grows: bool,
    /// Worth of the order at the worse of its price and the last.
    value: f64,
    /// Worth of whichever side of the instrument is larger once all has filled.
    gross: f64,
}

impl<'a> RuleInputs<'a> {
    fn new(
        now: Ms,
        order: &'a SimOrder,
        (held, equity, close): (i64, f64, f64),
        (limit, worst_price): (Option<f64>, f64),
        unit: f64,
    ) -> Self {
        let (before, after, most, least) = match order.side {
            Side::Buy => (
                held.max(0),
                (held + order.lots).max(0),
                held + order.lots,
                held,
            ),
            Side::Sell => (
                (-held).max(0),
                (order.lots - held).max(0),
                held,
                held - order.lots,
            ),
        };
        Self {
            now,
            order,
            held,
            equity,
            close,
            limit,
            before,
            after,
            grows: after > before,
            value: order.lots as f64 * worst_price * unit,
            gross: most.abs().max(least.abs()) as f64 * close * unit,
        }
    }
}

const fn state_of(action: BreachAction) -> TradingState {
    match action {
        BreachAction::Block => TradingState::Active,
        BreachAction::ReduceOnly => TradingState::ReduceOnly,
        BreachAction::Halt | BreachAction::Flatten => TradingState::Halted,
    }
}

impl SleeveBooks {
    /// Trades and turnover of a day.
    fn today(&self, day: i64) -> (u32, f64) {
        if self.day == day {
            (self.trades, self.turnover)
        } else {
            (0, 0.0)
        }
    }

    fn count(
        &mut self,
        now: Ms,
        done: &Done<f64>,
        held: i64,
        (before, after): (i64, i64),
        unit: f64,
    ) {
        let day = now.utc_day();
        if day > self.day {
            (self.day, self.trades, self.turnover) = (day, 0, 0.0);
        }
        self.turnover += done.fill.value;
        self.last_fill = Some(now.0);
        let (price, lots) = (done.fill.ticks as f64, held - self.held);
        let mut profit = -done.fill.fee;
        if self.held == 0 || (self.held > 0) == (lots > 0) {
            self.average = (self.average * self.held as f64 + price * lots as f64) / held as f64;
        } else {
            let closed = self.held.abs().min(lots.abs()) as f64;
            let direction = if self.held > 0 { 1.0 } else { -1.0 };
            profit += (price - self.average) * closed * unit * direction;
            if lots.abs() > self.held.abs() {
                self.average = price;
            }
        }
        self.held = held;
        let adds = after.abs() > before.abs() || before.signum() * after.signum() < 0;
        if adds && self.adding != Some(done.order) {
            self.trades += 1;
            self.adding = Some(done.order);
        }
        self.open_profit += profit;
        if before != 0 && (after == 0 || before.signum() * after.signum() < 0) {
            if day > self.streak.0 {
                self.streak = (day, 0);
            }
            if self.open_profit < 0.0 {
                self.streak.1 += 1;
                self.last_loss = Some(now.0);
            } else {
                self.streak.1 = 0;
            }
            self.open_profit = 0.0;
        }
    }
}
