//! Rows 31, 33, 34, 37 to 49 and 53: what the venue says of orders, in whatever order it says it,
//! told to the tracker's mind directly. Also every halt that no exchange can be made to cause, with
//! the command that ends it.

use std::collections::BTreeMap;
use std::sync::Arc;

use alpha_arena::domain::record::Record;
use alpha_arena::domain::{
    AccountView, Instrument, Ms, OrdType, Order, OrderId, OrderIntent, OrderState, Price, Purpose,
    Qty, Readiness, RunId, Side, Usd,
};
use alpha_arena::exchange::market::SimMarket;
use alpha_arena::execution::{ExecutionReport, OrderEvent};
use alpha_arena::store::Opened;
use alpha_arena::tracking::{
    Answer, Effect, Everywhere, MassStatus, Now, PrivateFeed, ReconcileTiming, Reconciler,
    TruthEvent, VenueQuery,
};
use alpha_arena::venue::{
    CancelOutcome, CreateOutcome, FillReport, judge_create, parse_fills, parse_orders,
};
use rust_decimal::Decimal;
use serde_json::{Value, json};

const INST: &str = "BTC-USDT-SWAP";
const ID: &str = "asAAAAAAAAAAAAAAAAAAAAAAAAAA";
const OTHER: &str = "asBBBBBBBBBBBBBBBBBBBBBBBBBB";

fn d(n: i64) -> Decimal {
    Decimal::from(n)
}

/// The tracker's mind, a clock, and everything it asked and kept.
struct Story {
    reconciler: Reconciler,
    now: i64,
    asks: Vec<VenueQuery>,
    kept: Vec<Record>,
    readiness: Readiness,
}

fn instruments() -> BTreeMap<alpha_arena::domain::InstId, Arc<Instrument>> {
    let market = SimMarket::new(1);
    let of = |name: &str| Arc::new(market.get(name).unwrap().listing.inst.clone());
    [INST, "ETH-USDT-SWAP"]
        .into_iter()
        .map(|name| (name.into(), of(name)))
        .collect()
}

fn patience() -> ReconcileTiming {
    ReconcileTiming {
        orders_every: Ms::secs(10),
        ask_at: vec![Ms(300)],
        ask_every: Ms(2500),
        absent_after: Ms::secs(15),
        passes_apart: Ms::secs(5),
        unknown_max: Ms::secs(600),
        unknown_instruments_max: 1,
        rounds_max: 3,
        rival_max: Ms::secs(60),
        ahead_max: Ms(5000),
        cash_tolerance: Decimal::ONE,
    }
}

fn run_id() -> RunId {
    RunId(uuid::Uuid::from_u128(7))
}

fn account(pos: i64, cash: i64, at: i64) -> AccountView {
    let balance = json!([{"totalEq": cash.to_string(), "details": [{"ccy": "USDT", "cashBal": cash.to_string(), "eq": cash.to_string(),
        "availEq": cash.to_string(), "availBal": cash.to_string(), "frozenBal": "0", "eqUsd": cash.to_string()}]}]);
    let positions = json!([{"instId": INST, "instType": "SWAP", "pos": pos.to_string(), "posSide": "net", "avgPx": "100", "markPx": "100",
        "upl": "0", "liqPx": "", "lever": "3", "mgnMode": "cross", "uTime": at.to_string()}]);
    alpha_arena::venue::parse_account(&balance, &positions, Ms(at)).unwrap()
}

fn sweep(epoch: u64) -> MassStatus {
    MassStatus {
        began: Ms(0),
        pending: Vec::new(),
        asked: Vec::new(),
        nameless: Vec::new(),
        fills: Vec::new(),
        algos: Vec::new(),
        gone: Vec::new(),
        refused: Vec::new(),
        epoch,
    }
}

/// One order as the venue tells it.
fn row(id: &str, ord: &str, state: &str, acc: i64, fill: Option<(&str, i64)>) -> Value {
    let (trade, size) = fill.unwrap_or(("", 0));
    json!({"instType": "SWAP", "instId": INST, "ordId": ord, "clOrdId": id, "side": "buy", "state": state, "sz": "5",
        "accFillSz": acc.to_string(), "avgPx": "100", "px": "100", "fillPx": if trade.is_empty() { "" } else { "100" },
        "fillSz": size.to_string(), "fillFee": "-1", "fillFeeCcy": "USDT", "tradeId": trade, "execType": "T",
        "fillTime": "5", "cancelSource": if state == "canceled" { "33" } else { "" }, "category": "normal", "uTime": "5"})
}

fn fill_row(id: &str, ord: &str, trade: &str, size: i64) -> FillReport {
    let row = json!([{"instType": "SWAP", "instId": INST, "tradeId": trade, "ordId": ord, "clOrdId": id, "billId": trade,
        "fillPx": "100", "fillSz": size.to_string(), "side": "buy", "execType": "T", "feeCcy": "USDT", "fee": "-1", "fillTime": "5",
        "ts": "5"}]);
    parse_fills(&row).unwrap().remove(0)
}

impl Story {
    fn new() -> Self {
        let (reconciler, _) = Reconciler::open(
            Opened::default(),
            instruments(),
            's',
            run_id(),
            patience(),
            Ms(0),
        );
        let readiness = Readiness::Reconciling(String::new());
        let mut story = Self {
            reconciler,
            now: 1000,
            asks: Vec::new(),
            kept: Vec::new(),
            readiness,
        };
        story.hear(TruthEvent::Up(PrivateFeed::Orders));
        story.answer_sweep();
        story.hear(TruthEvent::Account(Arc::new(account(0, 1000, 900))));
        story.answer_sweep();
        assert_eq!(story.readiness, Readiness::Ready);
        story
    }

    fn hear(&mut self, heard: TruthEvent) {
        let now = Now {
            venue: Ms(self.now),
            wall: Ms(self.now),
        };
        for act in self.reconciler.hear(heard, now) {
            match act {
                Effect::Ask(ask) => self.asks.push(ask),
                Effect::Keep(records) => self.kept.extend(records),
                Effect::Readiness(next) => self.readiness = next,
                Effect::Show | Effect::ReadAccount | Effect::Reopen(_) | Effect::Refold => {}
            }
        }
    }

    /// Answers the sweep that is being asked for, with nothing new.
    fn answer_sweep(&mut self) {
        while let Some(at) = self
            .asks
            .iter()
            .position(|ask| matches!(ask, VenueQuery::Sweep(_)))
        {
            let VenueQuery::Sweep(wanted) = self.asks.remove(at) else {
                unreachable!()
            };
            self.hear(TruthEvent::Answer(Answer::Sweep(Ok(sweep(wanted.epoch)))));
        }
    }

    fn wait(&mut self, ms: i64) {
        self.now += ms;
        self.hear(TruthEvent::Tick);
    }

    fn send_as(&mut self, id: &str, inst: &str) {
        let intent = OrderIntent {
            cl_ord_id: id.into(),
            run_id: run_id(),
            contender: "trend".into(),
            inst: inst.into(),
            side: Side::Buy,
            ord_type: OrdType::Limit,
            qty: Qty(d(5)),
            limit: Some(Price(d(100))),
            purpose: Purpose::Entry,
            leg: 0,
            attempt: 0,
            reduce_only: false,
            stop: None,
            reference: Price(d(100)),
            decided_at: Ms(self.now),
            ttl: None,
            slippage: None,
            moves: None,
            sleeve: Usd::ZERO,
            weight: Decimal::ONE,
            good_for: None,
        };
        let order = Order::intended(&intent, Ms(self.now), Some(Ms(self.now + 5000)));
        self.report(OrderEvent::Intended(Box::new(order), Arc::new(intent)));
        self.report(OrderEvent::Sending(id.into()));
    }

    fn sent() -> Self {
        let mut story = Self::new();
        story.send_as(ID, INST);
        story
    }

    fn report(&mut self, news: OrderEvent) {
        self.hear(TruthEvent::Report(ExecutionReport {
            run_id: run_id(),
            news,
        }));
    }

    fn say(&mut self, rows: &[Value]) {
        match parse_orders(&Value::Array(rows.to_vec()).to_string()) {
            Ok(pushes) => self.hear(TruthEvent::Orders(pushes)),
            Err(problem) => self.hear(TruthEvent::Garbled(
                PrivateFeed::Orders,
                problem.to_string(),
            )),
        }
    }

    fn state(&self) -> String {
        let order = self.reconciler.ledger().get(&OrderId::from(ID)).unwrap();
        format!("{} {}", order.state(), order.filled)
    }

    fn fills(&self) -> usize {
        self.kept
            .iter()
            .filter(|record| matches!(record, Record::Fill(_)))
            .count()
    }

    fn cases(&self) -> Vec<String> {
        self.reconciler
            .cases()
            .iter()
            .map(|case| case.id())
            .collect()
    }

    fn held(&self) -> Decimal {
        self.reconciler
            .view()
            .holdings
            .values()
            .map(|held| held.qty.0)
            .sum()
    }

    /// Answers every question about the order with a look at every place: nowhere, this account.
    fn nowhere(&mut self, view: &AccountView, fills: &[FillReport]) {
        for ask in std::mem::take(&mut self.asks) {
            let id = match ask {
                VenueQuery::Everywhere(question, ..) => question.id,
                VenueQuery::Order(question) => {
                    self.hear(TruthEvent::Answer(Answer::Order {
                        id: question.id,
                        result: Ok(None),
                    }));
                    continue;
                }
                other => {
                    self.asks.push(other);
                    continue;
                }
            };
            let found = Everywhere {
                order: None,
                fills: fills.to_vec(),
                account: view.clone(),
            };
            self.hear(TruthEvent::Answer(Answer::Everywhere {
                id,
                result: Ok(found),
            }));
        }
    }

    fn accept(&mut self, case: &str) {
        self.hear(TruthEvent::Accept {
            case: case.to_owned(),
            run_id: run_id(),
            prices: BTreeMap::new(),
        });
        self.answer_sweep();
    }
}

/// A reply with code 0 above an item with sCode 51008 is a rejection.
#[test]
fn row_31_item_code_decides() {
    let reply = r#"{"code":"0","msg":"","data":[{"ordId":"","clOrdId":"a","sCode":"51008","sMsg":"no money"}]}"#;
    assert!(
        matches!(judge_create("a", reply), CreateOutcome::Rejected { code, .. } if code == "51008")
    );
}

/// The venue does not find the order for twelve seconds, then shows it: unknown until then, never
/// expired.
#[test]
fn row_33_not_found_is_no_proof() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    let flat = account(0, 1000, 2000);
    for _ in 0..6 {
        story.wait(2500);
        story.nowhere(&flat, &[]);
        assert_eq!(story.state(), "unknown 0", "at {} ms", story.now);
    }
    story.wait(2500);
    let id = OrderId::from(ID);
    let found = parse_orders(&json!([row(ID, "9", "live", 0, None)]).to_string())
        .unwrap()
        .remove(0);
    story.hear(TruthEvent::Answer(Answer::Order {
        id,
        result: Ok(Some(found)),
    }));
    assert_eq!(story.state(), "acked 0");
}

/// An order that has rested for an hour and is not shown for some seconds stays unknown until it is
/// shown again.
#[test]
fn row_33c_resting_order_is_not_written_off() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Accepted("9".into()),
    ));
    story.say(&[row(ID, "9", "live", 0, None)]);
    story.wait(3_600_000);
    let flat = account(0, 1000, 3_600_000);
    // A sweep does not find it: its create has expired an hour ago, and that says nothing about
    // now.
    let asked = |story: &mut Story| {
        while let Some(at) = story
            .asks
            .iter()
            .position(|ask| matches!(ask, VenueQuery::Sweep(_)))
        {
            let VenueQuery::Sweep(wanted) = story.asks.remove(at) else {
                unreachable!()
            };
            let lost = MassStatus {
                asked: vec![(OrderId::from(ID), true, None)],
                ..sweep(wanted.epoch)
            };
            story.hear(TruthEvent::Answer(Answer::Sweep(Ok(lost))));
        }
    };
    story.wait(10_000);
    asked(&mut story);
    assert_eq!(story.state(), "unknown 0");
    for _ in 0..5 {
        story.wait(2500);
        story.nowhere(&flat, &[]);
        assert_eq!(
            story.state(),
            "unknown 0",
            "after {} ms",
            story.now - 3_611_000
        );
    }
    story.say(&[row(ID, "9", "live", 0, None)]);
    assert_eq!(story.state(), "acked 0", "there it is");
}

/// Missing once it still counts as live, missing twice it covers nothing; if it shows again it is
/// to be cancelled.
#[test]
fn stop_missing_twice_no_longer_covers() {
    use alpha_arena::domain::AlgoState;
    use alpha_arena::domain::view::StopPhase;
    use alpha_arena::venue::AlgoPush;
    let mut story = Story::new();
    let stop = alpha_arena::domain::StopOrder {
        id: "asSTOP".into(),
        venue_id: None,
        parent: ID.into(),
        run_id: run_id(),
        contender: "trend".into(),
        inst: INST.into(),
        side: Side::Sell,
        trigger: Price(d(90)),
        qty: Some(Qty(d(5))),
        standalone: true,
        state: AlgoState::Intended,
        created: Ms(1000),
        shaped_at: None,
        triggered: None,
        child: None,
    };
    story.report(OrderEvent::StopIntended(Box::new(stop)));
    story.report(OrderEvent::StopAnswered(
        "asSTOP".into(),
        CreateOutcome::Accepted("77".into()),
    ));
    let phase = |story: &Story| {
        story
            .reconciler
            .view()
            .stops
            .first()
            .map(|shown| shown.phase)
    };
    assert_eq!(phase(&story), Some(StopPhase::Live));
    let look = |story: &mut Story, algos: Vec<AlgoPush>| {
        story.wait(10_000);
        while let Some(at) = story
            .asks
            .iter()
            .position(|ask| matches!(ask, VenueQuery::Sweep(_)))
        {
            let VenueQuery::Sweep(wanted) = story.asks.remove(at) else {
                unreachable!()
            };
            let gone = if algos.is_empty() {
                vec!["asSTOP".to_owned()]
            } else {
                Vec::new()
            };
            let found = MassStatus {
                algos: algos.clone(),
                gone,
                ..sweep(wanted.epoch)
            };
            story.hear(TruthEvent::Answer(Answer::Sweep(Ok(found))));
        }
    };
    look(&mut story, Vec::new());
    assert_eq!(
        phase(&story),
        Some(StopPhase::Live),
        "once may be a venue that does not show it"
    );
    look(&mut story, Vec::new());
    assert_eq!(
        phase(&story),
        None,
        "the sleeve is bare, and what guards it sees that"
    );
    let again = AlgoPush {
        algo_id: "asSTOP".into(),
        venue_id: "77".into(),
        state: Some(AlgoState::Live),
        qty: None,
        trigger: None,
        at: None,
    };
    look(&mut story, vec![again]);
    assert_eq!(
        phase(&story),
        Some(StopPhase::Undead),
        "to be cancelled: another stands in its place"
    );
}

/// The order's push arrives while the second query is under way: its empty answer does not expire
/// the order.
#[test]
fn row_33d_earlier_query_proves_no_absence() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    let flat = account(0, 1000, 2000);
    story.wait(100);
    story.wait(21_000);
    story.nowhere(&flat, &[]);
    story.wait(5500);
    // The second look is under way when its push comes.
    let look = story
        .asks
        .iter()
        .any(|ask| matches!(ask, VenueQuery::Everywhere(..)));
    assert!(look, "{:?}", story.asks);
    story.say(&[row(ID, "9", "live", 0, None)]);
    story.nowhere(&flat, &[]);
    assert_eq!(story.state(), "acked 0");
}

/// The fill of an order that was proven absent is booked, and the contradiction halts.
#[test]
fn fill_after_proven_absence_halts() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    let flat = account(0, 1000, 2000);
    for _ in 0..3 {
        story.wait(21_000);
        story.nowhere(&flat, &[]);
    }
    assert_eq!(story.state(), "expired 0");
    story.wait(60_000);
    while let Some(at) = story
        .asks
        .iter()
        .position(|ask| matches!(ask, VenueQuery::Sweep(_)))
    {
        let VenueQuery::Sweep(wanted) = story.asks.remove(at) else {
            unreachable!()
        };
        let found = MassStatus {
            fills: vec![fill_row(ID, "9", "t1", 2)],
            ..sweep(wanted.epoch)
        };
        story.hear(TruthEvent::Answer(Answer::Sweep(Ok(found))));
    }
    assert_eq!((story.held(), story.fills()), (d(2), 1), "it is there");
    assert_eq!(story.cases(), [format!("contradiction:{INST}")]);
}

/// Two full queries at least five seconds apart expire an order, but not while the position has
/// moved.
#[test]
fn row_33b_two_full_queries_prove_absence() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    let (flat, moved) = (account(0, 1000, 2000), account(5, 1000, 2000));
    story.wait(100);
    story.wait(21_000);
    story.nowhere(&moved, &[]);
    story.wait(6000);
    story.nowhere(&moved, &[]);
    story.wait(6000);
    story.nowhere(&moved, &[]);
    assert_eq!(
        story.state(),
        "unknown 0",
        "the position has moved: it is somewhere"
    );
    story.wait(2500);
    story.nowhere(&flat, &[]);
    story.wait(2500);
    story.nowhere(&flat, &[]);
    assert_eq!(
        story.state(),
        "unknown 0",
        "two looks less than five seconds apart"
    );
    story.wait(3000);
    story.nowhere(&flat, &[]);
    assert_eq!(story.state(), "expired 0");
}

/// After ten minutes of 503 the order is still unknown and an incident calls a person; accepting it
/// expires the order.
#[test]
fn row_34_failing_queries_freeze_the_instrument() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    for _ in 0..260 {
        story.wait(2500);
        for ask in std::mem::take(&mut story.asks) {
            let error = || Err("503".to_owned());
            let answer = match ask {
                VenueQuery::Order(q) => Answer::Order {
                    id: q.id,
                    result: error(),
                },
                VenueQuery::Everywhere(q, ..) => Answer::Everywhere {
                    id: q.id,
                    result: Err("503".into()),
                },
                VenueQuery::Fills(id, ..) => Answer::Fills {
                    id,
                    result: Err("503".into()),
                },
                VenueQuery::Sweep(_) => Answer::Sweep(Err("503".into())),
            };
            story.hear(TruthEvent::Answer(answer));
        }
    }
    assert_eq!(story.state(), "unknown 0");
    assert_eq!(story.cases(), [format!("unknown-long:{ID}")]);
    assert!(story.reconciler.view().frozen(&INST.into()).is_some());
    assert_ne!(story.readiness, Readiness::Ready);
    // The command: a person has looked at the venue's page.
    story.accept(&format!("unknown-long:{ID}"));
    assert_eq!(story.state(), "expired 0");
    story.wait(2000);
    story.answer_sweep();
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0)
    );
}

/// The cancel is answered 51400 after the fill: the order is filled, with one fill.
#[test]
fn row_37_fill_beats_cancel() {
    let mut story = Story::sent();
    story.say(&[row(ID, "9", "live", 0, None)]);
    story.say(&[row(ID, "9", "filled", 5, Some(("t1", 5)))]);
    story.report(OrderEvent::CancelAsked(
        ID.into(),
        CancelOutcome::Ask("51400".into()),
    ));
    assert_eq!((story.state().as_str(), story.fills()), ("filled 5", 1));
}

/// A fill that is pushed three times is one row.
#[test]
fn row_38_repeated_fill_is_booked_once() {
    let mut story = Story::sent();
    for _ in 0..3 {
        story.say(&[row(ID, "9", "partially_filled", 2, Some(("t1", 2)))]);
    }
    assert_eq!(
        (story.state().as_str(), story.fills(), story.held()),
        ("partially_filled 2", 1, d(2))
    );
}

/// Filled, live and partially filled, pushed in each of the six orders, end as filled with two
/// fills.
#[test]
fn row_39_out_of_order_pushes_converge() {
    let rows = [
        row(ID, "9", "filled", 5, Some(("t2", 3))),
        row(ID, "9", "live", 0, None),
        row(ID, "9", "partially_filled", 2, Some(("t1", 2))),
    ];
    for order in [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ] {
        let mut story = Story::sent();
        order
            .iter()
            .for_each(|at| story.say(std::slice::from_ref(&rows[*at])));
        assert_eq!(
            (story.state().as_str(), story.fills(), story.held()),
            ("filled 5", 2, d(5)),
            "{order:?}"
        );
    }
}

/// The instrument is frozen until the fill has been fetched.
#[test]
fn row_40_lost_fill_push_is_fetched() {
    let mut story = Story::sent();
    story.say(&[row(ID, "9", "filled", 5, None)]);
    assert!(
        story.reconciler.view().frozen(&INST.into()).is_some(),
        "nobody knows what is held"
    );
    story.wait(100);
    let asked = story
        .asks
        .iter()
        .any(|ask| matches!(ask, VenueQuery::Fills(id, ..) if id.as_str() == ID));
    assert!(asked, "{:?}", story.asks);
    story.hear(TruthEvent::Answer(Answer::Fills {
        id: ID.into(),
        result: Ok(vec![fill_row(ID, "9", "t1", 5)]),
    }));
    assert_eq!((story.fills(), story.held()), (1, d(5)));
    assert!(story.reconciler.view().frozen(&INST.into()).is_none());
}

/// A partial fill arrives before the acknowledgement, which does not take it back.
#[test]
fn row_41_fill_before_acknowledgement_is_kept() {
    let mut story = Story::sent();
    story.say(&[row(ID, "9", "partially_filled", 2, Some(("t1", 2)))]);
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Accepted("9".into()),
    ));
    assert_eq!(
        (story.state().as_str(), story.fills()),
        ("partially_filled 2", 1)
    );
}

/// A push says filled without size or trade id; the fill list completes it.
#[test]
fn row_42_fill_details_are_completed() {
    let mut story = Story::sent();
    let mut bare = row(ID, "9", "filled", 5, None);
    bare["fillSz"] = json!("0");
    story.say(&[bare]);
    assert_eq!((story.state().as_str(), story.fills()), ("filled 5", 0));
    story.hear(TruthEvent::Answer(Answer::Fills {
        id: ID.into(),
        result: Ok(vec![fill_row(ID, "9", "t1", 5)]),
    }));
    assert_eq!((story.fills(), story.held()), (1, d(5)));
}

#[test]
fn row_43_venue_cancel_reason_is_kept() {
    let mut story = Story::sent();
    story.say(&[row(ID, "9", "canceled", 0, None)]);
    let said = story.kept.iter().any(|r| matches!(r, Record::Transition(t) if t.to == OrderState::Canceled && t.evidence.contains("cancelSource 33")));
    assert!(said, "{:?}", story.kept);
}

/// Partly filled and gone from the order lists after an outage: its fills prove what happened.
#[test]
fn row_44_fills_settle_a_forgotten_order() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    let view = account(2, 1000, 2000);
    let fills = [fill_row(ID, "9", "t1", 2)];
    story.wait(100);
    story.wait(21_000);
    story.nowhere(&view, &fills);
    story.wait(6000);
    story.nowhere(&view, &fills);
    assert_eq!(
        (story.state().as_str(), story.fills(), story.held()),
        ("canceled 2", 1, d(2))
    );
}

/// Two orders at the venue under one client order id halt until a person accepts it.
#[test]
fn row_45_duplicate_client_order_id_halts() {
    let mut story = Story::sent();
    story.say(&[row(ID, "9", "live", 0, None)]);
    story.say(&[row(ID, "10", "live", 0, None)]);
    assert_eq!(story.cases(), [format!("contradiction:{INST}")]);
    assert!(matches!(story.readiness, Readiness::Halted(_)));
    story.accept(&format!("contradiction:{INST}"));
    story.say(&[row(ID, "10", "live", 0, None)]);
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0),
        "set aside by a person"
    );
}

/// Canceled after filled halts and changes nothing; an overfill is booked and reported.
#[test]
fn row_45b_contradictory_ends_halt() {
    let mut story = Story::sent();
    story.say(&[row(ID, "9", "filled", 5, Some(("t1", 5)))]);
    story.say(&[row(ID, "9", "canceled", 3, None)]);
    assert_eq!(
        (story.state().as_str(), story.cases().len()),
        ("filled 5", 1)
    );
    let mut story = Story::sent();
    story.say(&[row(ID, "9", "partially_filled", 3, Some(("t1", 3)))]);
    story.say(&[row(ID, "9", "partially_filled", 7, Some(("t2", 4)))]);
    assert_eq!(
        (story.state().as_str(), story.fills(), story.held()),
        ("partially_filled 7", 2, d(7))
    );
    assert_eq!(story.cases(), [format!("enlarged:{INST}")]);
}

/// An order with our prefix that we do not know is handed over to be cancelled, and halts until
/// accepted.
#[test]
fn row_46_stray_order_is_cancelled() {
    let mut story = Story::new();
    story.say(&[row(OTHER, "77", "live", 0, None)]);
    assert_eq!(story.cases(), [format!("stray:{OTHER}")]);
    assert_eq!(
        story.reconciler.view().strays.len(),
        1,
        "the executor is to cancel it"
    );
    assert!(matches!(story.readiness, Readiness::Halted(_)));
    story.accept(&format!("stray:{OTHER}"));
    assert_eq!(
        (
            story.readiness.clone(),
            story.reconciler.view().strays.len()
        ),
        (Readiness::Ready, 0)
    );
}

/// An order placed by hand is left alone; a position opened by hand counts as exposure.
#[test]
fn row_47_manual_trading_is_left_alone() {
    let (reconciler, _) = Reconciler::open(
        Opened::default(),
        instruments(),
        's',
        run_id(),
        patience(),
        Ms(0),
    );
    let readiness = Readiness::Reconciling(String::new());
    let mut story = Story {
        reconciler,
        now: 1000,
        asks: Vec::new(),
        kept: Vec::new(),
        readiness,
    };
    story.hear(TruthEvent::Up(PrivateFeed::Orders));
    story.answer_sweep();
    story.hear(TruthEvent::Account(Arc::new(account(3, 1000, 900))));
    story.answer_sweep();
    story.say(&[row("", "77", "live", 0, None)]);
    let view = story.reconciler.view();
    assert_eq!(
        (
            story.readiness.clone(),
            story.cases().len(),
            view.open.len()
        ),
        (Readiness::Ready, 0, 0)
    );
    assert_eq!(
        view.worst_case(&INST.into()).0,
        Qty(d(3)),
        "it counts as exposure"
    );
}

/// After a gap in the sequence numbers nothing is applied until a whole book comes.
#[test]
fn row_48_order_book_gap_is_noticed() {
    use alpha_arena::venue::{Sequence, SequenceVerdict};
    let mut sequence = Sequence::default();
    assert_eq!(sequence.next(Some(-1), 10), SequenceVerdict::Apply);
    assert_eq!(sequence.next(Some(10), 11), SequenceVerdict::Apply);
    assert_eq!(sequence.next(Some(13), 14), SequenceVerdict::Gap);
    assert_eq!(
        sequence.next(Some(14), 15),
        SequenceVerdict::Gap,
        "until a whole book comes"
    );
    assert_eq!(sequence.next(Some(-1), 20), SequenceVerdict::Apply);
}

/// An unknown order state is asked about; on an order that is not ours it is ignored.
#[test]
fn row_53_unknown_values_never_panic() {
    let mut story = Story::sent();
    let mut strange = row(ID, "9", "hibernating", 0, None);
    strange["newField"] = json!({"deep": [1, 2]});
    story.say(&[strange.clone()]);
    assert!(
        story
            .asks
            .iter()
            .any(|ask| matches!(ask, VenueQuery::Sweep(_))),
        "what cannot be read may be a fill"
    );
    strange["clOrdId"] = json!("");
    story.say(&[strange]);
    assert_eq!(story.state(), "sent 0");
}

/// Two reads of the account, far enough apart, with complete comparisons between.
fn twice(story: &mut Story, pos: i64, cash: i64) {
    for _ in 0..4 {
        story.now += 8000;
        story.hear(TruthEvent::Account(Arc::new(account(
            pos,
            cash,
            story.now - 10,
        ))));
        story.answer_sweep();
    }
}

/// A position of `bought` by our fills.
fn holding(bought: i64) -> Story {
    let mut story = Story::sent();
    story.say(&[row(
        ID,
        "9",
        if bought == 5 { "filled" } else { "canceled" },
        bought,
        Some(("t1", bought)),
    )]);
    story
}

#[track_caller]
fn by_hand(left: i64, sleeve: i64, foreign: i64) {
    let mut story = holding(5);
    twice(&mut story, 5, 999);
    assert!(story.cases().is_empty(), "agreed: {:?}", story.cases());
    // Cash moves with the position, so that only the position is odd: 0.01 BTC a contract at 100.
    twice(&mut story, left, 999 + (left - 5));
    assert!(
        story.cases().contains(&format!("position:{INST}")),
        "{:?}",
        story.cases()
    );
    assert!(story.reconciler.view().frozen(&INST.into()).is_some());
    story.accept(&format!("position:{INST}"));
    assert_eq!(story.held(), d(sleeve));
    let theirs = story
        .reconciler
        .view()
        .foreign
        .get(&INST.into())
        .map_or(Decimal::ZERO, |qty| qty.0);
    assert_eq!(theirs, d(foreign));
    if story.cases().contains(&"cash:USDT".to_owned()) {
        story.accept("cash:USDT");
    }
    twice(&mut story, left, 999 + (left - 5));
    assert_eq!(
        (story.readiness.clone(), story.cases()),
        (Readiness::Ready, Vec::<String>::new())
    );
}

/// The halt ends when a person accepts it.
#[test]
fn position_closed_by_hand_halts() {
    by_hand(0, 0, 0);
}

/// The halt ends when a person accepts it; what is left stays ours.
#[test]
fn position_half_closed_by_hand_halts() {
    by_hand(2, 2, 0);
}

/// The halt ends when a person accepts it; the part that was added is not ours.
#[test]
fn position_increased_by_hand_halts() {
    by_hand(8, 5, 3);
}

/// The halt ends when a person accepts it; what is held then is not ours.
#[test]
fn position_reversed_by_hand_halts() {
    by_hand(-4, 0, -4);
}

/// Cash that nobody can explain halts; a difference within the tolerance does not.
#[test]
fn unexplained_cash_halts_until_accepted() {
    let mut story = Story::new();
    twice(&mut story, 0, 1001);
    assert!(
        story.cases().is_empty(),
        "within the tolerance: {:?}",
        story.cases()
    );
    twice(&mut story, 0, 900);
    assert_eq!(story.cases(), ["cash:USDT"]);
    assert!(matches!(story.readiness, Readiness::Halted(_)));
    story.accept("cash:USDT");
    twice(&mut story, 0, 900);
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0)
    );
}

/// A difference that is seen twice halts, and the halt ends when the venue agrees again.
#[test]
fn passing_difference_does_not_halt() {
    let mut story = Story::new();
    story.now += 8000;
    story.hear(TruthEvent::Account(Arc::new(account(
        0,
        900,
        story.now - 10,
    ))));
    story.answer_sweep();
    twice(&mut story, 0, 1000);
    assert!(story.cases().is_empty());
    twice(&mut story, 0, 900);
    assert_eq!(story.cases().len(), 1);
    twice(&mut story, 0, 1000);
    assert!(story.cases().is_empty(), "the venue agrees again");
}

/// A start whose fills stay missing halts and names the order; it becomes ready when they are
/// there.
#[test]
fn unconverged_start_halts_and_names_orders() {
    let mut story = Story::sent();
    story.hear(TruthEvent::Down(PrivateFeed::Orders, "cut".into()));
    story.hear(TruthEvent::Up(PrivateFeed::Orders));
    story.say(&[row(ID, "9", "filled", 5, None)]);
    for _ in 0..6 {
        story.answer_sweep();
        story.wait(1500);
    }
    assert_eq!(story.cases(), ["unconverged"]);
    assert!(story.reconciler.cases()[0].why.contains(ID));
    story.hear(TruthEvent::Answer(Answer::Fills {
        id: ID.into(),
        result: Ok(vec![fill_row(ID, "9", "t1", 5)]),
    }));
    story.answer_sweep();
    story.wait(1500);
    story.answer_sweep();
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0)
    );
}

/// The fills of a filled order are in no list: halted until a person accepts it, which later starts
/// know.
#[test]
fn unlisted_fills_need_a_person() {
    let mut story = Story::sent();
    story.hear(TruthEvent::Down(PrivateFeed::Orders, "cut".into()));
    story.hear(TruthEvent::Up(PrivateFeed::Orders));
    story.say(&[row(ID, "9", "filled", 5, None)]);
    for _ in 0..6 {
        story.answer_sweep();
        story.wait(1500);
    }
    assert_eq!(story.cases(), ["unconverged"]);
    story.accept("unconverged");
    story.wait(1500);
    story.answer_sweep();
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0)
    );
    let set_aside = story
        .kept
        .iter()
        .any(|r| matches!(r, Record::Transition(t) if t.cause == "command" && t.filled.is_zero()));
    assert!(set_aside, "a later start must know it");
    story.say(&[row(ID, "9", "filled", 5, None)]);
    assert!(story.cases().is_empty());
}

/// One unknown order freezes its instrument; unknown orders in two make all reduce-only until the
/// venue answers.
#[test]
fn many_unknown_orders_block_openings() {
    let mut story = Story::sent();
    story.report(OrderEvent::Answered(
        ID.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    story.wait(100);
    assert_eq!(
        story.readiness,
        Readiness::Ready,
        "one unknown order freezes its own instrument"
    );
    story.send_as(OTHER, "ETH-USDT-SWAP");
    story.report(OrderEvent::Answered(
        OTHER.into(),
        CreateOutcome::Unknown("timeout".into()),
    ));
    story.wait(100);
    assert_eq!(story.cases(), ["unknown-many"]);
    assert!(
        matches!(story.readiness, Readiness::ReduceOnly(_)),
        "what takes risk off may leave"
    );
    story.accept("unknown-many");
    story.wait(100);
    assert!(story.cases().is_empty(), "accepted for these orders");
    story.say(&[row(ID, "9", "live", 0, None)]);
    story.wait(100);
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0)
    );
}

/// A second session with our key closes the gate at once and halts after a minute; it ends when the
/// session is gone.
#[test]
fn second_session_closes_the_gate() {
    let mut story = Story::new();
    story.hear(TruthEvent::Connections(2));
    assert!(matches!(story.readiness, Readiness::Reconciling(_)));
    story.wait(61_000);
    assert_eq!(story.cases(), ["second-instance"]);
    assert!(matches!(story.readiness, Readiness::Halted(_)));
    story.accept("second-instance");
    story.hear(TruthEvent::Up(PrivateFeed::Orders));
    story.hear(TruthEvent::Connections(2));
    assert!(
        matches!(story.readiness, Readiness::Reconciling(_)),
        "it looks again, and is not alone"
    );
    story.hear(TruthEvent::Connections(1));
    story.answer_sweep();
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0)
    );
}

/// A create refused with 50110 (address not allowed) is rejected and halts until a person accepts
/// it.
#[test]
fn venue_refusal_halts_until_accepted() {
    let mut story = Story::sent();
    let refused = CreateOutcome::Rejected {
        code: "50110".into(),
        msg: "ip".into(),
        stop: true,
    };
    story.report(OrderEvent::Answered(ID.into(), refused));
    assert_eq!(
        (story.state().as_str(), story.cases()),
        ("rejected 0", vec!["refused:50110".to_owned()])
    );
    story.accept("refused:50110");
    assert_eq!(
        (story.readiness.clone(), story.cases().len()),
        (Readiness::Ready, 0)
    );
}

/// A halt that needs a person is still there after the state has been loaded again.
#[test]
fn halt_survives_a_restart() {
    let mut story = Story::new();
    twice(&mut story, 0, 900);
    let halts = story.reconciler.cases().to_vec();
    let opened = Opened {
        halts,
        ..Opened::default()
    };
    let (reconciler, _) = Reconciler::open(opened, instruments(), 's', run_id(), patience(), Ms(0));
    assert_eq!(reconciler.cases().len(), 1);
}

/// A liquidation is adopted under the order whose position it closed; told twice, it is booked
/// once.
#[test]
fn liquidation_is_booked_to_its_sleeves() {
    let mut story = holding(5);
    let mut forced = row("", "88", "filled", 5, Some(("t9", 5)));
    forced["side"] = json!("sell");
    forced["category"] = json!("full_liquidation");
    story.say(&[forced.clone()]);
    let adopted = story.kept.iter().any(|r| matches!(r, Record::Adopted { order, .. } if order.intent.purpose == Purpose::Liquidation && order.parent.as_str() == ID));
    assert!(adopted && story.held().is_zero(), "{:?}", story.held());
    story.say(&[forced]);
    assert_eq!(story.fills(), 2);
}
