//! Power loss: what was not synced is gone. A process writes intents and says each one that was
//! acknowledged; then the database is put back to what each of its files was at its last sync, and
//! every acknowledged intent must be there. The same run with synchronous=NORMAL loses some, which
//! proves that this test can fail.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use alpha_arena::domain::record::{Allocation, Proposal, Record, RunKind};
use alpha_arena::domain::{
    Bps, ClOrdId, Ms, OrdType, OrderIntent, Price, Purpose, Qty, RunId, Side, Usd,
};
use alpha_arena::runtime::Pulse;
use alpha_arena::store::{Stamp, Writer};
use rust_decimal::Decimal;

use crate::shim;

/// Intents that one run may write before the power goes.
const INTENTS: u64 = 400;

/// Not a test of its own: the process that loses power. Writes intents, one after the other, and
/// prints each that was acknowledged.
#[test]
fn writes_until_the_power_goes() {
    let Ok(dir) = std::env::var("POWER_DIR") else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let stamp = Stamp {
            mode: "sim".into(),
            uid: "1".into(),
        };
        let (writer, journal) = Writer::open(Path::new(&dir), &stamp, "e", 0).unwrap();
        let _guard = writer.start(Pulse::default().beat("writer", true));
        for n in 0..INTENTS {
            let run_id = RunId(uuid::Uuid::from_u128(u128::from(n) + 1));
            let intent = Arc::new(intent(n, run_id));
            let at = Ms(i64::try_from(n).unwrap());
            let run = Record::Run {
                run_id,
                kind: RunKind::Cycle,
                trigger: "x".into(),
                at,
                caused_by: None,
            };
            journal.post(run).await.unwrap();
            journal
                .post(Record::Snapshot {
                    run_id,
                    as_of: at,
                    body: "{}".into(),
                })
                .await
                .unwrap();
            let proposal = Proposal {
                contender: intent.contender.clone(),
                inst: intent.inst.clone(),
                target: Some(Bps(1)),
                stop: None,
                reason: "x".into(),
                good_for: None,
            };
            journal
                .post(Record::Decisions {
                    run_id,
                    at,
                    proposals: vec![proposal],
                })
                .await
                .unwrap();
            let row = Allocation {
                contender: intent.contender.clone(),
                inst: intent.inst.clone(),
                sleeve: Usd::ZERO,
                weight: Decimal::ZERO,
                current: Qty::ZERO,
                target: Qty::ZERO,
                cl_ord_id: None,
                reason: "x".into(),
            };
            journal
                .post(Record::Allocations {
                    run_id,
                    at,
                    rows: vec![row],
                })
                .await
                .unwrap();
            let receipt = journal
                .intend(Arc::clone(&intent), at, at)
                .await
                .unwrap()
                .unwrap();
            println!("acked {}", receipt.cl_ord_id());
        }
    });
}

fn intent(n: u64, run_id: RunId) -> OrderIntent {
    OrderIntent {
        cl_ord_id: ClOrdId::new(format!("as{n:026}")),
        run_id,
        contender: "x".into(),
        inst: "BTC-USDT".into(),
        side: Side::Buy,
        ord_type: OrdType::Ioc,
        qty: Qty(Decimal::ONE),
        limit: Some(Price(Decimal::ONE)),
        purpose: Purpose::Entry,
        leg: 0,
        attempt: 0,
        reduce_only: false,
        stop: None,
        reference: Price(Decimal::ONE),
        decided_at: Ms(0),
        ttl: None,
        slippage: None,
        moves: None,
        sleeve: Usd::ZERO,
        weight: Decimal::ONE,
        good_for: None,
    }
}

/// One run, cut when so many intents were acknowledged (a few more may be by then); how many were,
/// and how many of them are gone.
fn outage(after: usize, sabotage: &str) -> (usize, usize) {
    let (dir, platter) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "power::writes_until_the_power_goes",
            "--nocapture",
        ])
        .env("POWER_DIR", dir.path())
        .env("ALPHA_ARENA_SABOTAGE", sabotage)
        .envs(shim::disk(&[(
            "SHIM_PLATTER",
            &platter.path().display().to_string(),
        )]))
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    while said.matches("acked ").count() < after && out.read_line(&mut said).unwrap() > 0 {}
    child.kill().unwrap();
    drop(out.read_to_string(&mut said));
    child.wait().unwrap();
    // A line that was cut in the middle was acknowledged to nobody.
    let whole = said.rfind('\n').map_or("", |end| &said[..end]);
    let acked: Vec<&str> = whole
        .lines()
        .filter_map(|line| line.split("acked ").nth(1))
        .collect();
    if !platter.path().join("trading.db").exists() {
        return (acked.len(), acked.len());
    }
    let db = rusqlite::Connection::open(platter.path().join("trading.db")).unwrap();
    let sound: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok", "the database is damaged after the outage");
    let there = |id: &str| {
        db.query_row(
            "SELECT EXISTS (SELECT 1 FROM orders WHERE cl_ord_id = ?1)",
            [id],
            |row| row.get::<_, bool>(0),
        )
    };
    let lost = acked
        .iter()
        .filter(|id| !there(id).unwrap_or(false))
        .count();
    (acked.len(), lost)
}

/// Runs of outages at different moments: (runs, acknowledged, lost).
pub fn outages(runs: u64, sabotage: &str) -> (u64, usize, usize) {
    let (mut acked, mut lost) = (0, 0);
    for run in 0..runs {
        let (a, l) = outage(usize::try_from(1 + run * 37 % 150).unwrap(), sabotage);
        acked += a;
        lost += l;
    }
    (runs, acked, lost)
}

/// With synchronous=FULL nothing is lost; the control run with synchronous=NORMAL must lose
/// something.
#[test]
fn power_loss_loses_no_acknowledged_intent() {
    let runs = std::env::var("POWER_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(8);
    let (runs, acked, lost) = outages(runs, "");
    println!("synchronous=FULL: {runs} outages, {acked} acknowledged intents, {lost} lost");
    let (control, acked_normal, lost_normal) = outages(runs.min(20), "sync");
    println!(
        "synchronous=NORMAL: {control} outages, {acked_normal} acknowledged intents, {lost_normal} lost"
    );
    assert!(acked > 0, "nothing was written: this proves nothing");
    assert_eq!(lost, 0, "acknowledged intents were lost");
    assert!(
        lost_normal > 0,
        "the control lost nothing: this test cannot fail"
    );
}
