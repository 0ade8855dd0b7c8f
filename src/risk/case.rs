//! The world of one judgement, for the tests of the rules and of the gate.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::recent::{Recent, Sent};
use super::rules::{Approved, Denied, check};
use super::view::{InFlight, View};
use crate::domain::books::Holding;
use crate::domain::instrument::tests::swap;
use crate::domain::intent::tests::entry;
use crate::domain::tally::Counted;
use crate::domain::trading::{Restriction, Scope, TradingState};
use crate::domain::view::{InstMarket, OpenOrder};
use crate::domain::{
    AccountView, Balance, Bar, Candle, ContenderId, EquityBook, InstId, InstKind, Instrument,
    Limits, MarketView, Ms, OrderId, OrderIntent, OrderState, OrdersView, Price, Purpose, Qty,
    Quote, Readiness, Restrictions, Rule, RunId, Series, Side, Usd,
};

pub(super) fn d(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// The world of one judgement: 10 000 USD, one swap at 100 with contracts of 0.1 coin (10 USD
/// each), nothing held.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) intent: OrderIntent,
    pub(super) inst: Instrument,
    pub(super) quote: Option<Quote>,
    pub(super) mark: Option<(Price, Ms)>,
    pub(super) close: Option<&'static str>,
    pub(super) account: Option<AccountView>,
    pub(super) book: EquityBook,
    pub(super) orders: OrdersView,
    pub(super) readiness: Readiness,
    pub(super) restrictions: Restrictions,
    pub(super) recent: Recent,
    pub(super) in_flight: Vec<InFlight>,
    pub(super) limits: Limits,
    /// Another swap beside it, at the same price.
    pub(super) beside: Option<InstId>,
}

pub(super) const NOW: Ms = Ms(100_000_000);

pub(super) fn intent(side: Side, qty: &str, limit: &str) -> OrderIntent {
    let limit = Some(limit.parse().unwrap());
    OrderIntent {
        side,
        qty: qty.parse().unwrap(),
        limit,
        decided_at: NOW,
        ..entry()
    }
}

pub(super) fn account(equity: &str) -> AccountView {
    let balance = Balance {
        ccy: "USDT".into(),
        cash: d(equity),
        equity: d(equity),
        available: d(equity),
        frozen: Decimal::ZERO,
        equity_usd: Usd(d(equity)),
    };
    AccountView {
        as_of: NOW,
        equity: Usd(d(equity)),
        available: Usd(d(equity)),
        balances: [("USDT".to_owned(), balance)].into(),
        ..AccountView::default()
    }
}

pub(super) fn fine() -> Case {
    let quote = Quote {
        bid: "99.95".parse().unwrap(),
        bid_qty: Qty(Decimal::ONE),
        ask: "100.05".parse().unwrap(),
        ask_qty: Qty(Decimal::ONE),
        last: "100".parse().unwrap(),
        at: NOW,
    };
    let mut book = EquityBook::default();
    book.observe(&account("10000"));
    Case {
        intent: intent(Side::Buy, "50", "100"),
        inst: swap(),
        quote: Some(quote),
        mark: Some((Price(Decimal::ONE_HUNDRED), NOW)),
        close: Some("100"),
        account: Some(account("10000")),
        book,
        orders: OrdersView::default(),
        readiness: Readiness::Ready,
        restrictions: Restrictions::default(),
        recent: Recent::default(),
        in_flight: Vec::new(),
        limits: Limits::widest(),
        beside: None,
    }
}

impl Case {
    /// Returns the market view of the case.
    pub(super) fn market(&self) -> MarketView {
        let mut series = std::collections::BTreeMap::new();
        if let Some(close) = self.close {
            let close: Price = close.parse().unwrap();
            let bar = Candle {
                ts: Ms(0),
                open: close,
                high: close,
                low: close,
                close,
                volume: Qty(Decimal::ONE),
            };
            series.insert(Bar::M1, Series::new(Bar::M1, vec![bar]));
        }
        let shown = InstMarket {
            instrument: Arc::new(self.inst.clone()),
            quote: self.quote,
            mark: self.mark,
            series,
        };
        let mut insts: std::collections::BTreeMap<InstId, InstMarket> =
            [(self.inst.id.clone(), shown)].into();
        if let Some(id) = &self.beside {
            let instrument = Arc::new(Instrument {
                id: id.clone(),
                ..swap()
            });
            let mark = Some((Price(Decimal::ONE_HUNDRED), NOW));
            let beside = InstMarket {
                instrument,
                quote: None,
                mark,
                series: std::collections::BTreeMap::new(),
            };
            insts.insert(id.clone(), beside);
        }
        MarketView {
            insts,
            live: true,
            ..MarketView::default()
        }
    }

    /// So much is held of another swap.
    pub(super) fn holds_beside(mut self, qty: &str) -> Self {
        let other = InstId::from("BTC-USDT-SWAP");
        let held = Holding {
            qty: qty.parse().unwrap(),
            ..Holding::default()
        };
        self.orders
            .holdings
            .insert(("trend".into(), other.clone()), held);
        Self {
            beside: Some(other),
            ..self
        }
    }

    /// An order that was let out and that the tracker has not seen yet.
    pub(super) fn leaves(mut self, side: Side, qty: &str) -> Self {
        let id = OrderId::new(format!("l{}", self.in_flight.len()));
        let (contender, owner) = (ContenderId::from("o"), ContenderId::from("o"));
        self.in_flight.push(InFlight {
            id,
            contender,
            owner,
            inst: swap().id,
            side,
            qty: qty.parse().unwrap(),
        });
        self
    }

    /// The order is a move of one that rests.
    pub(super) fn moves(mut self, side: Side, leaves: &str) -> Self {
        self = self.works("trend", side, leaves, OrderState::Acked);
        self.intent.moves = Some("w0".into());
        self
    }

    /// Makes the case one about coins.
    pub(super) fn spot(mut self) -> Self {
        self.inst = Instrument {
            kind: InstKind::Spot,
            contract_value: Decimal::ONE,
            base: "ETH".into(),
            ..swap()
        };
        self
    }

    pub(super) fn judged(&self) -> Result<Approved, Denied> {
        let market = self.market();
        let view = View {
            now: NOW,
            instrument: &self.inst,
            market: &market,
            account: self.account.as_ref(),
            equity: self.account.as_ref().map(|a| a.equity),
            book: &self.book,
            orders: &self.orders,
            readiness: &self.readiness,
            restrictions: &self.restrictions,
            recent: &self.recent,
            in_flight: &self.in_flight,
        };
        check(Arc::new(self.intent.clone()), &view, &self.limits)
    }

    #[track_caller]
    pub(super) fn expect(self, codes: &[&str]) {
        let got: Vec<String> = match self.judged() {
            Ok(_) => Vec::new(),
            Err(refused) => refused.breaches.into_iter().map(|b| b.code).collect(),
        };
        assert_eq!(got, codes);
    }

    pub(super) fn limit(mut self, rule: Rule, value: &str) -> Self {
        self.limits = self.limits.with(rule, d(value));
        self
    }

    pub(super) fn order(mut self, side: Side, qty: &str, limit: &str) -> Self {
        self.intent = intent(side, qty, limit);
        self
    }

    pub(super) fn exit(mut self) -> Self {
        self.intent.purpose = Purpose::Exit;
        self
    }

    pub(super) fn holds(mut self, who: &str, qty: &str) -> Self {
        let held = Holding {
            qty: qty.parse().unwrap(),
            ..Holding::default()
        };
        self.orders.holdings.insert((who.into(), swap().id), held);
        self
    }

    pub(super) fn worth(mut self, equity: &str) -> Self {
        self.account = Some(account(equity));
        self
    }

    pub(super) fn works(mut self, who: &str, side: Side, leaves: &str, state: OrderState) -> Self {
        let id = OrderId::new(format!("w{}", self.orders.open.len()));
        let order = OpenOrder {
            id: id.clone(),
            run_id: RunId(uuid::Uuid::nil()),
            contender: who.into(),
            inst: swap().id,
            side,
            state,
            leaves: leaves.parse().unwrap(),
            price: Price(Decimal::ONE_HUNDRED),
            limit: None,
            created_at: Ms(0),
            cancel_after: None,
            opening: true,
            protective: false,
        };
        self.orders.open.insert(id, order);
        self
    }

    pub(super) fn restricted(mut self, scope: &str, state: TradingState) -> Self {
        let (scope, why) = (Scope::parse(scope).unwrap(), "w".to_owned());
        let cause = "kill".to_owned();
        self.restrictions.latch(Restriction {
            scope,
            cause,
            state,
            why,
            since: NOW,
            until: None,
            flatten: false,
            flattened: false,
        });
        self
    }

    pub(super) fn sent(mut self, ago: i64, side: Side, qty: &str) -> Self {
        let sent = Sent {
            id: "s".into(),
            run_id: RunId(uuid::Uuid::max()),
            contender: "trend".into(),
            inst: swap().id,
            side,
            qty: qty.parse().unwrap(),
            opening: true,
            at: Ms(NOW.0 - ago),
        };
        self.recent.note(sent);
        self
    }

    /// A trade of `trend`, closed with this profit so long ago.
    pub(super) fn traded(mut self, ago: i64, profit: &str) -> Self {
        let (contender, inst) = (ContenderId::from("trend"), InstId::from(swap().id.as_str()));
        for (held, profit) in [(("0", "5"), "0"), (("5", "0"), profit)] {
            let order = OrderId::new(format!("t{ago}{}", held.0));
            self.orders.tally.count(&Counted {
                contender: &contender,
                inst: &inst,
                order: &order,
                value: Usd(d("500")),
                profit: d(profit),
                fee: Decimal::ZERO,
                purpose: None,
                held: (d(held.0), d(held.1)),
                at: Ms(NOW.0 - ago),
            });
        }
        self
    }
}

/// Passes with the limit at `inside`, and is blocked by this rule with it at `beyond`.
pub(super) struct Brink {
    pub(super) case: Case,
    pub(super) inside: &'static str,
    pub(super) beyond: &'static str,
}

/// The order of [`fine`] where no smaller one is taken: what is too large cannot be made smaller.
pub(super) fn undivided() -> Case {
    let mut case = fine();
    case.inst.min_size = case.intent.qty;
    case
}

/// A scene at the brink of each rule: a rule without one does not compile.
pub(super) fn brink(rule: Rule) -> Brink {
    let old_quote = || Case {
        quote: fine().quote.map(|q| Quote {
            at: Ms(NOW.0 - 1000),
            ..q
        }),
        ..fine()
    };
    let (case, inside, beyond) = match rule {
        Rule::DailyLoss | Rule::Drawdown => (fine().worth("9500"), "5", "4.99"),
        Rule::OrderNotionalMax => (undivided(), "500", "499.99"),
        Rule::OrderNotionalMin => (fine(), "500", "500.01"),
        Rule::OpenOrders => (
            fine().works("other", Side::Buy, "10", OrderState::Acked),
            "2",
            "1",
        ),
        Rule::Position => (fine().holds("other", "10"), "600", "599.99"),
        Rule::GrossExposure | Rule::NetExposure => (fine().holds("other", "50"), "10", "9.99"),
        Rule::Leverage => (fine().holds("other", "950"), "1", "0.99"),
        // 500 USD at no more than 20x: 25 USD of margin.
        Rule::FreeBalance => (fine(), "9975", "9975.01"),
        Rule::PriceCollar | Rule::MarkCollar => (fine().order(Side::Buy, "50", "101"), "1", "0.99"),
        Rule::PriceJump => (
            Case {
                close: Some("80"),
                ..fine()
            },
            "25",
            "24.99",
        ),
        Rule::QuoteAge => (old_quote(), "1000", "999"),
        Rule::AccountAge => {
            let mut read = fine();
            read.account.as_mut().expect("a read").as_of = Ms(NOW.0 - 5000);
            (read, "5000", "4999")
        }
        Rule::DecisionAge => {
            let mut late = fine();
            late.intent.decided_at = Ms(NOW.0 - 1000);
            (late, "1000", "999")
        }
        Rule::OrderRate | Rule::OrdersPerDay => (fine().sent(30_000, Side::Sell, "2"), "2", "1"),
        Rule::Duplicate => (fine().sent(500, Side::Buy, "50"), "500", "501"),
        Rule::Repeats => (fine().sent(1000, Side::Buy, "2"), "2", "1"),
        Rule::TradesPerDay => (fine().traded(1000, "1"), "2", "1"),
        // Twice 500 USD, and the order's 500.
        Rule::Turnover => (fine().traded(1000, "1"), "15", "14.99"),
        Rule::LossStreak => (fine().traded(2000, "-1").traded(1000, "-1"), "3", "2"),
        Rule::CooldownLoss => (fine().traded(1000, "-1"), "1000", "1001"),
        Rule::CooldownTrade => (fine().traded(1000, "1"), "1000", "1001"),
    };
    Brink {
        case,
        inside,
        beyond,
    }
}
