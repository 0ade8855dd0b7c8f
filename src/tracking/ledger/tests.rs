//! Stories of the ledger.

use super::*;
use crate::domain::instrument::tests::swap;
use crate::domain::view::StopPhase;
use crate::domain::{
    AlgoState, ClOrdId, OrdType, Price, RunId, StopSpec, TradeId, VenueReport, VenueStatus,
};
use crate::venue::AlgoPush;
use rust_decimal::Decimal;

const ID: &str = "as12345678901234567890123456";

fn ledger(opened: Opened) -> (Ledger, Vec<Record>) {
    let inst = Arc::new(swap());
    Ledger::open(
        opened,
        BTreeMap::from([(inst.id.clone(), inst)]),
        's',
        Ms(0),
    )
}

fn intent() -> OrderIntent {
    OrderIntent {
        cl_ord_id: ID.into(),
        run_id: RunId(uuid::Uuid::nil()),
        contender: "trend".into(),
        inst: swap().id,
        side: Side::Buy,
        ord_type: OrdType::Ioc,
        qty: Qty(Decimal::from(5)),
        limit: None,
        purpose: Purpose::Entry,
        leg: 0,
        attempt: 0,
        reduce_only: false,
        stop: Some(StopSpec {
            attached: true,
            algo_id: ClOrdId::from("astop"),
            trigger: Price(Decimal::from(90)),
        }),
        reference: Price(Decimal::from(100)),
        decided_at: Ms(0),
        ttl: None,
        slippage: None,
        moves: None,
        sleeve: Default::default(),
        weight: Decimal::ONE,
        good_for: None,
    }
}

/// A ledger with one order on its way out.
fn sent() -> Ledger {
    let (mut ledger, _) = ledger(Opened::default());
    ledger.intended(Order::intended(&intent(), Ms(0), Some(Ms(5000))), &intent());
    ledger.sending(&ID.into(), Ms(1)).unwrap();
    ledger
}

fn push(
    cl_ord_id: &str,
    algo: &str,
    venue: &str,
    side: Side,
    status: VenueStatus,
    fill: Option<(&str, i64)>,
    filled: i64,
) -> OrderPush {
    let raw = |(trade, qty): (&str, i64)| RawFill {
        trade_id: TradeId::from(trade),
        price: Price(Decimal::from(100)),
        qty: Qty(Decimal::from(qty)),
        fee: Decimal::ZERO,
        fee_ccy: "USDT".into(),
        liquidity: crate::domain::Liquidity::Taker,
        at: Ms(2),
    };
    let qty = Qty(Decimal::from(5));
    OrderPush {
        inst: swap().id,
        cl_ord_id: cl_ord_id.into(),
        algo_id: algo.into(),
        side,
        qty: Some(qty),
        venue_algo_id: String::new(),
        limit: None,
        category: "normal".into(),
        report: VenueReport {
            venue_id: venue.into(),
            status,
            filled: Qty(Decimal::from(filled)),
            average: None,
            cancel_source: None,
            at: Ms(2),
        },
        fill: fill.map(raw),
    }
}

fn held(ledger: &Ledger) -> Decimal {
    ledger.view().holdings.values().map(|h| h.qty.0).sum()
}

#[test]
fn duplicate_push_is_booked_once() {
    let mut ledger = sent();
    let told = push(
        ID,
        "",
        "9",
        Side::Buy,
        VenueStatus::Filled,
        Some(("t1", 5)),
        5,
    );
    assert_eq!(
        ledger.on_order(&told, "x", Ms(2)).unwrap().unwrap().len(),
        2
    );
    assert_eq!(
        ledger.on_order(&told, "x", Ms(3)).unwrap().unwrap().len(),
        0
    );
    assert_eq!(held(&ledger), Decimal::from(5));
}

/// It stays open and its instrument frozen until then; afterwards its stop counts.
#[test]
fn ended_order_freezes_until_fills_booked() {
    let mut ledger = sent();
    let rest = push(ID, "", "9", Side::Buy, VenueStatus::Filled, None, 5);
    ledger
        .on_order(&rest, "trade/order", Ms(2))
        .unwrap()
        .unwrap();
    let view = ledger.view();
    assert_eq!(view.open.len(), 1);
    assert!(view.frozen(&swap().id).unwrap().contains("fills of order"));
    assert!(view.stops.is_empty(), "not yet made, as far as we know");
    let late = push(
        ID,
        "",
        "9",
        Side::Buy,
        VenueStatus::Filled,
        Some(("t1", 5)),
        5,
    );
    ledger.on_order(&late, "orders", Ms(3)).unwrap().unwrap();
    let view = ledger.view();
    assert!(view.open.is_empty() && view.frozen(&swap().id).is_none());
    assert_eq!(
        phases(&ledger),
        [(StopPhase::Coming, Some(Qty(Decimal::from(5))))]
    );
}

/// Its fill makes the sleeve flat; the same push again changes nothing.
#[test]
fn stop_child_is_adopted() {
    let mut ledger = sent();
    ledger
        .on_order(
            &push(
                ID,
                "",
                "9",
                Side::Buy,
                VenueStatus::Filled,
                Some(("t1", 5)),
                5,
            ),
            "x",
            Ms(2),
        )
        .unwrap()
        .unwrap();
    let child = push(
        "",
        "astop",
        "10",
        Side::Sell,
        VenueStatus::Filled,
        Some(("t2", 5)),
        5,
    );
    let records = ledger.on_order(&child, "x", Ms(3)).unwrap().unwrap();
    assert!(matches!(records[0], Record::Adopted { .. }), "{records:?}");
    assert!(matches!(&records[1], Record::Algo(step) if step.stop.state == AlgoState::Effective));
    assert!(matches!(records.last(), Some(Record::Fill(fill)) if fill.order_id.as_str() == "v10"));
    assert_eq!(held(&ledger), Decimal::ZERO);
    assert_eq!(
        ledger.on_order(&child, "x", Ms(4)).unwrap().unwrap().len(),
        0
    );
}

/// The next believable push adopts the child.
#[test]
fn impossible_child_push_leaves_no_trace() {
    let mut ledger = sent();
    let filled = push(
        ID,
        "",
        "9",
        Side::Buy,
        VenueStatus::Filled,
        Some(("t1", 5)),
        5,
    );
    ledger.on_order(&filled, "x", Ms(2)).unwrap().unwrap();
    let before = phases(&ledger);
    let impossible = push(
        "",
        "astop",
        "10",
        Side::Sell,
        VenueStatus::Filled,
        Some(("t2", 9)),
        5,
    );
    assert!(matches!(
        ledger.on_order(&impossible, "x", Ms(3)),
        Err(Foreign::Unbelievable(_))
    ));
    assert_eq!(phases(&ledger), before, "its stop is as it was");
    let child = push(
        "",
        "astop",
        "10",
        Side::Sell,
        VenueStatus::Filled,
        Some(("t2", 5)),
        5,
    );
    let records = ledger.on_order(&child, "x", Ms(4)).unwrap().unwrap();
    assert!(
        matches!(records[0], Record::Adopted { .. }),
        "the database hears of it first: {records:?}"
    );
    assert_eq!(held(&ledger), Decimal::ZERO);
}

fn phases(ledger: &Ledger) -> Vec<(StopPhase, Option<Qty>)> {
    ledger
        .view()
        .stops
        .iter()
        .map(|shown| (shown.phase, shown.stop.qty))
        .collect()
}

fn said(state: AlgoState, qty: Option<i64>) -> AlgoPush {
    let qty = qty.map(|qty| Qty(Decimal::from(qty)));
    AlgoPush {
        algo_id: "astop".into(),
        venue_id: "7".into(),
        state: Some(state),
        qty,
        trigger: None,
        at: None,
    }
}

/// It counts from its entry's fill on; an entry cancelled without fills never had a stop.
#[test]
fn stop_counts_until_its_child_fills() {
    let mut ledger = sent();
    ledger
        .on_order(
            &push(ID, "", "9", Side::Buy, VenueStatus::Canceled, None, 0),
            "x",
            Ms(2),
        )
        .unwrap()
        .unwrap();
    assert_eq!(
        phases(&ledger),
        [],
        "an order without fills never had a stop"
    );
    let mut ledger = sent();
    let filled = push(
        ID,
        "",
        "9",
        Side::Buy,
        VenueStatus::Filled,
        Some(("t1", 5)),
        5,
    );
    ledger.on_order(&filled, "x", Ms(2)).unwrap().unwrap();
    assert_eq!(
        phases(&ledger),
        [(StopPhase::Coming, Some(Qty(Decimal::from(5))))]
    );
    ledger
        .on_algo(&said(AlgoState::Live, None), "x", Ms(3))
        .unwrap();
    assert_eq!(
        phases(&ledger),
        [(StopPhase::Live, Some(Qty(Decimal::from(5))))]
    );
    // The venue has moved it.
    assert_eq!(
        ledger
            .on_algo(&said(AlgoState::Live, Some(3)), "x", Ms(4))
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        ledger
            .on_algo(&said(AlgoState::Live, Some(3)), "x", Ms(4))
            .unwrap()
            .len(),
        0
    );
    assert_eq!(
        phases(&ledger),
        [(StopPhase::Live, Some(Qty(Decimal::from(3))))]
    );
    ledger
        .on_algo(&said(AlgoState::Effective, None), "x", Ms(5))
        .unwrap();
    assert_eq!(
        phases(&ledger),
        [(StopPhase::Closing, Some(Qty(Decimal::from(3))))]
    );
    let child = push(
        "",
        "astop",
        "10",
        Side::Sell,
        VenueStatus::Filled,
        Some(("t2", 3)),
        3,
    );
    ledger.on_order(&child, "x", Ms(6)).unwrap().unwrap();
    assert_eq!(phases(&ledger), []);
    assert_eq!(
        ledger.view().guards.len(),
        1,
        "what is left knows how it is to be protected"
    );
}

/// Accepted makes it live, unknown leaves it coming, rejected ends it; one that reappears later
/// must go.
#[test]
fn standalone_stop_waits_for_the_answer() {
    use crate::venue::CreateOutcome;
    let alone = |state| StopOrder {
        id: "alone".into(),
        venue_id: None,
        parent: ID.into(),
        run_id: RunId(uuid::Uuid::nil()),
        contender: "trend".into(),
        inst: swap().id,
        side: Side::Sell,
        trigger: Price::ZERO,
        qty: Some(Qty(Decimal::ONE)),
        standalone: true,
        created: Ms(1),
        state,
        child: None,
        triggered: None,
        shaped_at: None,
    };
    let answered = |outcome: CreateOutcome, expected: &[StopPhase]| {
        let mut ledger = Ledger::default();
        ledger.stop_intended(alone(AlgoState::Intended));
        assert_eq!(phases(&ledger)[0].0, StopPhase::Coming);
        ledger.stop_answered("alone", &outcome, Ms(2)).unwrap();
        assert_eq!(
            phases(&ledger)
                .iter()
                .map(|(phase, _)| *phase)
                .collect::<Vec<_>>(),
            expected
        );
        assert_eq!(
            ledger.unheard_stops(Ms(5)).len(),
            usize::from(expected == [StopPhase::Coming])
        );
    };
    answered(CreateOutcome::Accepted("7".into()), &[StopPhase::Live]);
    answered(CreateOutcome::Unknown("x".into()), &[StopPhase::Coming]);
    answered(
        CreateOutcome::Rejected {
            code: "51000".into(),
            msg: String::new(),
            stop: false,
        },
        &[],
    );
    // One that was not known any more and shows again must go, also for a process that only
    // remembers it.
    let stops = [("alone".to_owned(), alone(AlgoState::Canceled))].into();
    let (mut again, _) = ledger(Opened {
        stops,
        ..Opened::default()
    });
    assert_eq!(phases(&again), []);
    again
        .on_algo(
            &AlgoPush {
                algo_id: "alone".into(),
                ..said(AlgoState::Live, None)
            },
            "algo lists",
            Ms(9),
        )
        .unwrap();
    assert_eq!(phases(&again)[0].0, StopPhase::Undead);
}

/// A position is guarded by an entry of its own side, not by a partly filled flip.
#[test]
fn start_picks_guard_of_held_side() {
    let guard = |id: &str, side: Side, trigger: i64| {
        let trigger = Some(Price(Decimal::from(trigger)));
        (
            ("trend".into(), swap().id),
            Guard {
                entry: id.into(),
                run_id: intent().run_id,
                side,
                trigger,
            },
        )
    };
    let fill = |side: Side, qty: i64| {
        let raw = push(
            ID,
            "",
            "9",
            side,
            VenueStatus::Filled,
            Some(("t", qty)),
            qty,
        )
        .fill
        .unwrap();
        raw.of(
            &swap().id,
            side,
            &ID.into(),
            &"9".into(),
            &"trend".into(),
            intent().run_id,
        )
    };
    let held_by = |fills: Vec<crate::domain::Fill>| {
        let guards = vec![
            guard("bought", Side::Buy, 98),
            guard("flipped", Side::Sell, 103),
        ];
        let (ledger, _) = ledger(Opened {
            fills,
            guards,
            ..Opened::default()
        });
        ledger
            .view()
            .guards
            .into_values()
            .next()
            .map(|guard| guard.entry.to_string())
    };
    assert_eq!(
        held_by(vec![fill(Side::Buy, 5), fill(Side::Sell, 2)]).as_deref(),
        Some("bought")
    );
    assert_eq!(
        held_by(vec![fill(Side::Buy, 5), fill(Side::Sell, 7)]).as_deref(),
        Some("flipped")
    );
    assert_eq!(
        held_by(Vec::new()).as_deref(),
        Some("flipped"),
        "the newest of what is over"
    );
}

/// An unknown order with an id of our form is reported as ours.
#[test]
fn foreign_orders_are_left_alone() {
    let mut ledger = sent();
    let by_hand = push("", "", "77", Side::Buy, VenueStatus::Live, None, 0);
    assert_eq!(
        ledger.on_order(&by_hand, "x", Ms(2)).unwrap_err(),
        Foreign::Stranger
    );
    let other_bot = push("banana", "", "78", Side::Buy, VenueStatus::Live, None, 0);
    assert_eq!(
        ledger.on_order(&other_bot, "x", Ms(2)).unwrap_err(),
        Foreign::Stranger
    );
    let ours = push(
        "asABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "",
        "79",
        Side::Buy,
        VenueStatus::Live,
        None,
        0,
    );
    assert_eq!(
        ledger.on_order(&ours, "x", Ms(2)).unwrap_err(),
        Foreign::OursUnknown
    );
}

/// Its instrument is frozen as well.
#[test]
fn crash_leaves_in_flight_order_unknown() {
    let opened = Opened {
        orders: vec![Order::intended(&intent(), Ms(0), None)],
        ..Default::default()
    };
    let (ledger, records) = ledger(opened);
    assert!(matches!(&records[0], Record::Transition(t) if t.to == OrderState::Unknown));
    assert!(ledger.view().frozen(&swap().id).is_some());
}

/// Cancelled if the venue had accepted it, expired if it may never have arrived.
#[test]
fn absent_order_ends_cancelled_or_expired() {
    let mut known = sent();
    known
        .answered(&ID.into(), &CreateOutcome::Accepted("9".into()), Ms(2))
        .unwrap();
    known.lost(&ID.into(), Ms(3)).unwrap();
    assert_eq!(known.get(&ID.into()).unwrap().state(), OrderState::Unknown);
    known
        .absent(&ID.into(), "reconcile", "proof", Ms(4))
        .unwrap();
    assert_eq!(known.get(&ID.into()).unwrap().state(), OrderState::Canceled);
    let mut never = sent();
    never
        .answered(&ID.into(), &CreateOutcome::Unknown("timeout".into()), Ms(2))
        .unwrap();
    never
        .absent(&ID.into(), "reconcile", "proof", Ms(4))
        .unwrap();
    assert_eq!(never.get(&ID.into()).unwrap().state(), OrderState::Expired);
}
