//! Making flat as it is watched: what works, what the account shows, what is done next.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::*;
use crate::domain::books::Holding;
use crate::domain::instrument::tests::swap;
use crate::domain::view::{InstMarket, OpenOrder};
use crate::domain::{Instrument, OrderState, Position, Price, Side};

/// One swap, what is seen of it, and a making-flat under way. Wall and venue time go together.
struct Scene {
    unwind: Unwind,
    orders: OrdersView,
    account: Option<AccountView>,
    market: MarketView,
    in_flight: bool,
}

fn run() -> RunId {
    RunId(uuid::Uuid::nil())
}

fn scene(flatten: bool) -> Scene {
    let inst = Instrument {
        min_size: Qty(Decimal::ONE),
        ..swap()
    };
    let id = inst.id.clone();
    let shown = InstMarket {
        instrument: Arc::new(inst),
        quote: None,
        mark: None,
        series: BTreeMap::new(),
    };
    let insts: BTreeSet<InstId> = if flatten {
        [id.clone()].into()
    } else {
        BTreeSet::new()
    };
    Scene {
        unwind: Unwind::begin(
            (run(), "t".into()),
            (insts, Flatten::default()),
            None,
            UnwindTiming::default(),
            Ms(0),
        ),
        orders: OrdersView::default(),
        account: None,
        market: MarketView {
            insts: [(id, shown)].into(),
            live: true,
            ..MarketView::default()
        },
        in_flight: false,
    }
}

impl Scene {
    fn works(mut self, id: &str, state: OrderState, run_id: RunId) -> Self {
        let order = OpenOrder {
            id: id.into(),
            run_id,
            contender: "a".into(),
            inst: swap().id,
            side: Side::Buy,
            state,
            leaves: Qty(Decimal::ONE),
            price: Price(Decimal::ONE),
            limit: None,
            created_at: Ms(0),
            cancel_after: None,
            opening: true,
            protective: false,
        };
        self.orders.open.insert(id.into(), order);
        self
    }

    fn alone(mut self, id: &str, state: OrderState) -> Self {
        self.orders.open.clear();
        self.works(id, state, RunId(uuid::Uuid::max()))
    }

    /// A complete read of the account that began at `as_of`.
    fn reads(&mut self, as_of: i64, held: &str) {
        let position = Position {
            inst: swap().id,
            qty: held.parse().unwrap(),
            average: None,
            mark: None,
            unrealised: Decimal::ZERO,
            notional: None,
            liquidation: None,
            leverage: None,
            at: Ms(as_of),
        };
        let positions = [(swap().id, position)].into();
        self.account = Some(AccountView {
            as_of: Ms(as_of),
            positions,
            ..AccountView::default()
        });
    }

    /// Returns what is done at this moment: `cancel x`, `read`, `close 0`, or how it ended.
    fn at(&mut self, now: i64) -> String {
        let leaving = self.in_flight;
        let in_flight = move |_: &InstId| leaving;
        let seen = UnwindView {
            orders: &self.orders,
            account: self.account.as_ref(),
            market: &self.market,
            in_flight: &in_flight,
            leaving,
            now: Ms(now),
            wall: Ms(now),
        };
        let said: Vec<String> = self
            .unwind
            .next(&seen)
            .into_iter()
            .map(|step| match step {
                UnwindStep::Cancel(_, order) => format!("cancel {order}"),
                UnwindStep::ReadAccount => "read".into(),
                UnwindStep::Close(_, attempt) => format!("close {attempt}"),
                UnwindStep::Over(report) => {
                    let left: Vec<&str> =
                        report.left.iter().map(|left| left.why.as_str()).collect();
                    let how = if report.is_done() { "done" } else { "left" };
                    format!(
                        "{how}: {} cancelled, {} closes; {}",
                        report.cancelled,
                        report.closes,
                        left.join(", ")
                    )
                }
            })
            .collect();
        said.join(", ")
    }
}

/// Asked again each second; after the last order is gone one more look follows before it is done.
#[test]
fn cancels_repeat_until_nothing_works() {
    let mut scene = scene(false).works("x", OrderState::Acked, RunId(uuid::Uuid::max()));
    assert_eq!(scene.at(0), "cancel x");
    assert_eq!(scene.at(999), "");
    assert_eq!(scene.at(1000), "cancel x");
    scene.orders.open.clear();
    assert_eq!(
        scene.at(1100),
        "",
        "what passed the last look may show a moment later"
    );
    assert_eq!(scene.at(1599), "");
    assert_eq!(scene.at(1600), "done: 1 cancelled, 0 closes; ");
}

/// It has already ended at the venue.
#[test]
fn order_awaiting_fills_is_not_cancelled() {
    let mut scene = scene(false).alone("x", OrderState::Filled);
    assert_eq!(scene.at(0), "");
    assert_eq!(scene.at(500), "done: 0 cancelled, 0 closes; ");
}

/// The unwind is not done while an order is in flight.
#[test]
fn in_flight_order_delays_the_end() {
    let mut scene = scene(false);
    scene.in_flight = true;
    assert_eq!((scene.at(0), scene.at(600)), (String::new(), String::new()));
    scene.in_flight = false;
    assert_eq!((scene.at(700).as_str(), scene.at(1199).as_str()), ("", ""));
    assert_eq!(scene.at(1200), "done: 0 cancelled, 0 closes; ");
}

/// Only an account read that began after all orders had ended sizes a close, also after a first
/// close.
#[test]
fn close_size_needs_a_later_read() {
    let mut scene = scene(true).works("x", OrderState::Acked, RunId(uuid::Uuid::max()));
    scene.reads(0, "7");
    assert_eq!(scene.at(100), "cancel x");
    scene.orders.open.clear();
    assert_eq!(scene.at(200), "read", "the read of before proves nothing");
    assert_eq!(scene.at(700), "", "asked a moment ago");
    scene.reads(200, "7");
    assert_eq!(
        scene.at(1199),
        "",
        "nor does one that began at that very moment"
    );
    assert_eq!(scene.at(1200), "read");
    scene.reads(1300, "7");
    assert_eq!(scene.at(1400), "close 0");
    // Its own close is left to close, and the next look waits for a read after it.
    scene = scene.works("c", OrderState::Acked, run());
    assert_eq!(scene.at(1500), "");
    scene.orders.open.clear();
    assert_eq!(scene.at(2600), "read");
    scene.reads(2700, "3");
    assert_eq!(scene.at(2800), "close 1", "what it left");
    assert_eq!(scene.at(3700), "read");
    scene.reads(3800, "0");
    assert_eq!(
        scene.at(3900),
        "done: 1 cancelled, 2 closes; flat, as the venue says"
    );
}

#[test]
fn close_in_flight_is_awaited() {
    let mut scene = scene(true);
    scene.reads(1, "7");
    scene.in_flight = true;
    assert_eq!(scene.at(100), "");
    scene.in_flight = false;
    assert_eq!(scene.at(200), "read");
}

#[test]
fn missing_fills_are_awaited() {
    let mut scene = scene(true).alone("x", OrderState::Filled);
    scene.reads(1, "0");
    assert_eq!(scene.at(100), "");
    assert_eq!(scene.at(800), "");
    scene.orders.open.clear();
    scene.reads(900, "0");
    assert_eq!(
        scene.at(850),
        "done: 0 cancelled, 0 closes; flat, as the venue says"
    );
}

/// Below the smallest order; a position of exactly that size is closed.
#[test]
fn dust_counts_as_flat() {
    let outcome = |held: &str| {
        let mut scene = scene(true);
        scene.at(0);
        scene.reads(1, held);
        scene.at(1000)
    };
    assert_eq!(
        outcome("0.9"),
        "done: 0 cancelled, 0 closes; flat: 0.9 is below the smallest order"
    );
    assert_eq!(outcome("1"), "close 0");
    assert_eq!(outcome("-1"), "close 0");
    assert_eq!(
        outcome("0"),
        "done: 0 cancelled, 0 closes; flat, as the venue says"
    );
}

/// After its number of tries or at its time limit.
#[test]
fn unwind_gives_up_and_reports_rest() {
    let mut tries = scene(true);
    tries.unwind.tempo.tries = 2;
    tries.at(0);
    for (now, expected) in [
        (1, "close 0"),
        (3, "close 1"),
        (5, "left: 0 cancelled, 2 closes; 7 left after 2 closes"),
    ] {
        tries.at(now * 1000);
        tries.reads(now * 1000 + 1, "7");
        assert_eq!(tries.at(now * 1000 + 2), expected);
    }
    let mut least = scene(true);
    least.unwind.tempo.tries = 1;
    least.at(0);
    least.reads(1, "1");
    assert_eq!(least.at(1000), "close 0");
    least.at(2000);
    least.reads(2001, "1");
    assert_eq!(
        least.at(2600),
        "left: 0 cancelled, 1 closes; 1 left after 1 closes"
    );
    let late = |scene: &mut Scene| (scene.at(59_999), scene.at(60_000));
    let mut working = scene(true).works("x", OrderState::Unknown, RunId(uuid::Uuid::max()));
    working.at(0);
    assert_eq!(
        late(&mut working),
        (
            "cancel x".into(),
            "left: 1 cancelled, 0 closes; 1 of ours still work".into()
        )
    );
    let mut unread = scene(true);
    unread.at(0);
    let why =
        "left: 0 cancelled, 0 closes; the account could not be read since the last order ended";
    assert_eq!(late(&mut unread), ("read".into(), why.into()));
    let mut old = scene(true);
    old.at(0);
    old.reads(0, "0");
    assert_eq!(
        late(&mut old),
        ("read".into(), why.into()),
        "a read that began as it became quiet proves nothing"
    );
    // Only cancelling, and something still works.
    let mut resting = scene(false).works("x", OrderState::Acked, RunId(uuid::Uuid::max()));
    resting.at(0);
    assert_eq!(
        late(&mut resting).1,
        "left: 1 cancelled, 0 closes; 1 of ours still work"
    );
}

#[test]
fn unwind_acts_only_where_asked() {
    let mut scene = scene(true).works("x", OrderState::Acked, RunId(uuid::Uuid::max()));
    scene.unwind.cancel = Some([InstId::from("OTHER")].into());
    assert_eq!(scene.at(0), "");
    assert!(scene.unwind.covers(&swap().id) && !scene.unwind.covers(&"OTHER".into()));
}

/// We hold ten in the books and the account has none: flat.
#[test]
fn spot_close_looks_at_our_coins() {
    let mut scene = scene(true);
    let spot = Instrument {
        kind: crate::domain::InstKind::Spot,
        min_size: Qty(Decimal::ONE),
        ..swap()
    };
    scene.market.insts.get_mut(&swap().id).unwrap().instrument = Arc::new(spot);
    scene.orders.holdings.insert(
        ("a".into(), swap().id),
        Holding {
            qty: Qty(Decimal::TEN),
            ..Holding::default()
        },
    );
    scene.at(0);
    scene.account = Some(AccountView {
        as_of: Ms(1),
        ..AccountView::default()
    });
    assert_eq!(
        scene.at(1000),
        "done: 0 cancelled, 0 closes; flat, as the venue says",
        "none are there"
    );
}
