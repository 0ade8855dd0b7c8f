//! The gate's task over a real store: what it blocks, what it writes, what it lets out. Time stands
//! still.

use rust_decimal::Decimal;

use super::*;
use crate::domain::BreachAction;
use crate::domain::record::{Allocation, Proposal, RunKind};
use crate::domain::view::Guard;
use crate::risk::case::{Brink, Case, NOW, brink, fine, undivided};
use crate::runtime::Pulse;
use crate::store::{MemoryStore, Stamp};

/// Outcome of one order.
struct Judged {
    approved: bool,
    /// `code` and `value` of the order's rows in `risk_events`, in their order.
    events: Vec<(String, String)>,
    /// State of the order's row; empty: no row.
    state: String,
    restrictions: Restrictions,
}

/// Puts the intent of a case through the gate's task, with its decision and allocation written as a
/// cycle would.
async fn through_the_gate(case: Case) -> Judged {
    let stamp = Stamp {
        mode: "sim".into(),
        uid: "1".into(),
    };
    let store = MemoryStore::new(&stamp, "epoch").unwrap();
    let (journal, writer) = store.journal().unwrap();
    let writer = tokio::spawn(writer.serve(|| Duration::ZERO));
    let run_id = case.intent.run_id;
    let inst = Arc::new(case.inst.clone());
    journal
        .append(Record::Run {
            run_id,
            kind: RunKind::Cycle,
            trigger: "t".into(),
            at: NOW,
            caused_by: None,
        })
        .await
        .unwrap();
    journal
        .append(Record::Instruments {
            rows: vec![inst],
            at: NOW,
        })
        .await
        .unwrap();
    journal
        .append(Record::Snapshot {
            run_id,
            as_of: NOW,
            body: "{}".into(),
        })
        .await
        .unwrap();
    let intent = Arc::new(case.intent.clone());
    let (contender, on) = (intent.contender.clone(), intent.inst.clone());
    let proposal = Proposal {
        contender: contender.clone(),
        inst: on.clone(),
        target: None,
        stop: None,
        reason: "t".into(),
        good_for: None,
    };
    journal
        .append(Record::Decisions {
            run_id,
            at: NOW,
            proposals: vec![proposal],
        })
        .await
        .unwrap();
    let row = Allocation {
        contender,
        inst: on,
        sleeve: intent.sleeve,
        weight: intent.weight,
        current: Qty::ZERO,
        target: intent.qty,
        cl_ord_id: Some(intent.cl_ord_id.clone()),
        reason: "t".into(),
    };
    journal
        .append(Record::Allocations {
            run_id,
            at: NOW,
            rows: vec![row],
        })
        .await
        .unwrap();

    let clock = Clock::start(NOW, 1.0);
    let (batches_tx, batches) = mpsc::channel(1);
    let (verdicts_tx, mut verdicts) = mpsc::channel(8);
    let (commands_tx, commands) = mpsc::channel(1);
    let (market_tx, market) = watch::channel(case.market());
    let (account_tx, account) = watch::channel(case.account.clone().map(Arc::new));
    let (orders_tx, orders) = watch::channel(case.orders.clone());
    let (readiness_tx, readiness) = watch::channel(case.readiness.clone());
    let (standing_tx, restrictions) = watch::channel(Restrictions::default());
    let mut gate = Gate {
        seal: Seal {
            env: 's',
            uid: "1".into(),
            install_epoch: "epoch".into(),
            ids: Arc::new(RunIds::seeded(1)),
            start_run: run_id,
        },
        commands,
        cancels: mpsc::channel(8).0,
        limits: case.limits.clone(),
        protecting: Protecting {
            stop_default: Decimal::new(5, 2),
            unprotected_max: Ms::secs(10),
            foreign: ProtectForeign::Protect,
        },
        tempo: UnwindTiming::default(),
        switch: TradingSwitch::new(true),
        clock,
        journal,
        batches,
        market,
        account,
        orders,
        readiness,
        read_account: Arc::default(),
        verdicts: verdicts_tx,
        restrictions: standing_tx,
        shields: watch::channel(BTreeMap::new()).0,
        levels: watch::channel(BTreeMap::new()).1,
        memory: Memory {
            restrictions: case.restrictions.clone(),
            book: case.book.clone(),
            recent: case.recent.clone(),
        },
        in_flight: case.in_flight.clone(),
        work: GateWork::default(),
        beat: Pulse::default().beat("gate", true),
    };
    batches_tx
        .send(IntentBatch {
            run_id,
            intents: vec![intent],
        })
        .await
        .unwrap();
    drop(batches_tx);
    gate.run(Shutdown::default()).await.unwrap();
    let approved = loop {
        match verdicts.recv().await.expect("a verdict on the order") {
            Verdict::Approved(_) => break true,
            Verdict::Denied(_) => break false,
            Verdict::Stop(_) => {}
        }
    };
    drop((
        gate,
        commands_tx,
        market_tx,
        account_tx,
        orders_tx,
        readiness_tx,
    )); // the last journal goes with the gate
    writer.await.unwrap().unwrap();
    let db = store.db();
    let mut rows = db
        .prepare(
            "SELECT code, value, run_id FROM risk_events WHERE order_id IS NOT NULL ORDER BY id",
        )
        .unwrap();
    let events = rows.query_map([], |row| {
        assert_eq!(
            row.get::<_, String>(2).unwrap(),
            run_id.to_string(),
            "the run that caused it"
        );
        Ok((row.get(0)?, row.get(1)?))
    });
    let events = events.unwrap().map(Result::unwrap).collect();
    let state = db
        .query_row("SELECT state FROM orders", [], |row| row.get(0))
        .unwrap_or_default();
    let restrictions = restrictions.borrow().clone();
    Judged {
        approved,
        events,
        state,
        restrictions,
    }
}

/// Just inside a limit the order passes without an event; beyond it it is denied, recorded, and
/// restricts as the rule says.
#[tokio::test(start_paused = true)]
async fn gate_blocks_and_records_each_rule() {
    for rule in Rule::ALL {
        let Brink {
            case,
            inside,
            beyond,
        } = brink(*rule);
        let within = through_the_gate(case.clone().limit(*rule, inside)).await;
        assert!(within.approved, "{rule} at {inside}: {:?}", within.events);
        assert!(
            within.events.is_empty() && within.restrictions.0.is_empty(),
            "{rule}"
        );
        let over = through_the_gate(case.limit(*rule, beyond)).await;
        assert!(!over.approved, "{rule} at {beyond}");
        assert_eq!(over.state, "blocked", "{rule}");
        let row = over.events.iter().find(|(code, _)| code == rule.as_str());
        assert!(
            row.is_some_and(|(_, value)| !value.is_empty()),
            "{rule}: {:?}",
            over.events
        );
        // And it leads to what the rule says.
        let spec = rule.spec();
        let led = over.restrictions.0.iter().any(|r| r.cause == rule.as_str());
        assert_eq!(
            led,
            spec.action != BreachAction::Block,
            "{rule}: {:?}",
            over.restrictions
        );
    }
}

#[tokio::test(start_paused = true)]
async fn every_breach_gets_its_own_row() {
    let case = undivided()
        .limit(Rule::OrderNotionalMax, "1")
        .limit(Rule::Position, "1")
        .limit(Rule::PriceCollar, "0");
    let judged = through_the_gate(Case { mark: None, ..case }).await;
    let codes: Vec<&str> = judged
        .events
        .iter()
        .map(|(code, _)| code.as_str())
        .collect();
    assert_eq!(
        codes,
        ["order_notional_max", "position_notional_max", "mark_collar"]
    );
}

/// A level set after the entry is used, but never one further away than the entry's own stop.
#[tokio::test(start_paused = true)]
async fn stop_uses_the_contenders_tighter_level() {
    let trigger = async |level: Option<(Side, &str)>| {
        let case = fine();
        let store = MemoryStore::new(
            &Stamp {
                mode: "sim".into(),
                uid: "1".into(),
            },
            "epoch",
        )
        .unwrap();
        let (journal, writer) = store.journal().unwrap();
        let writer = tokio::spawn(writer.serve(|| Duration::ZERO));
        let run_id = case.intent.run_id;
        let run = Record::Run {
            run_id,
            kind: RunKind::Cycle,
            trigger: "t".into(),
            at: NOW,
            caused_by: None,
        };
        journal.append(run).await.unwrap();
        let key = (case.intent.contender.clone(), case.inst.id.clone());
        let price = case.market().insts[&case.inst.id].quote.unwrap().bid;
        let at = |share: &str| {
            case.inst
                .floor_tick(Price(price.0 * share.parse::<Decimal>().unwrap()))
        };
        let mut orders = OrdersView::default();
        let held = crate::domain::books::Holding {
            qty: Qty(case.inst.min_size.0 * Decimal::TEN),
            average: price,
            ..Default::default()
        };
        orders.holdings.insert(key.clone(), held);
        let entry = OrderId::new("entry");
        orders.guards.insert(
            key.clone(),
            Guard {
                entry,
                run_id,
                side: Side::Buy,
                trigger: Some(at("0.95")),
            },
        );
        let levels = level
            .map(|(side, share)| (key.clone(), (side, at(share))))
            .into_iter()
            .collect();
        let (verdicts_tx, mut verdicts) = mpsc::channel(8);
        let mut gate = Gate {
            seal: Seal {
                env: 's',
                uid: "1".into(),
                install_epoch: "epoch".into(),
                ids: Arc::new(RunIds::seeded(1)),
                start_run: run_id,
            },
            commands: mpsc::channel(1).1,
            cancels: mpsc::channel(8).0,
            limits: case.limits.clone(),
            protecting: Protecting {
                stop_default: Decimal::new(5, 2),
                unprotected_max: Ms::secs(10),
                foreign: ProtectForeign::Protect,
            },
            tempo: UnwindTiming::default(),
            switch: TradingSwitch::new(true),
            clock: Clock::start(NOW, 1.0),
            journal,
            batches: mpsc::channel(1).1,
            market: watch::channel(case.market()).1,
            account: watch::channel(None).1,
            orders: watch::channel(orders).1,
            readiness: watch::channel(Readiness::Ready).1,
            read_account: Arc::default(),
            verdicts: verdicts_tx,
            restrictions: watch::channel(Restrictions::default()).0,
            shields: watch::channel(BTreeMap::new()).0,
            levels: watch::channel(levels).1,
            memory: Memory {
                restrictions: case.restrictions.clone(),
                book: case.book.clone(),
                recent: case.recent.clone(),
            },
            in_flight: Vec::new(),
            work: GateWork::default(),
            beat: Pulse::default().beat("gate", true),
        };
        gate.guard().await.unwrap();
        let placed = match verdicts.try_recv() {
            Ok(Verdict::Stop(StopWork::Place(placing))) => placing.stop().trigger,
            other => panic!("no stop is placed: {other:?}"),
        };
        drop(gate);
        writer.abort();
        [at("0.95"), at("0.98")]
            .iter()
            .position(|price| *price == placed)
    };
    assert_eq!(trigger(None).await, Some(0));
    assert_eq!(trigger(Some((Side::Buy, "0.98"))).await, Some(1), "tighter");
    assert_eq!(trigger(Some((Side::Buy, "0.90"))).await, Some(0), "looser");
    assert_eq!(
        trigger(Some((Side::Sell, "0.98"))).await,
        Some(0),
        "of the other side"
    );
}
