//! At most once, proven on the wire: a server that closes at every moment of a create counts how
//! often it was asked.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use alpha_arena::domain::{Ms, OrdType, OrderIntent, Price, Purpose, Qty, RunId, Side, Usd};
use alpha_arena::exchange::market::SimMarket;
use alpha_arena::runtime::Clock;
use alpha_arena::venue::{
    CreateOutcome, Secrets, Signer, Trading, Venue, VenueConfig, install_tls,
};
use rust_decimal::Decimal;

use crate::harness::wait_for;

/// When the server hangs up.
const MOMENTS: [&str; 6] = [
    "at once",
    "in the head",
    "in the body",
    "before the answer",
    "in the answer's head",
    "in the answer's body",
];

fn intent(n: usize) -> OrderIntent {
    OrderIntent {
        cl_ord_id: format!("as{n:026}").as_str().into(),
        run_id: RunId(uuid::Uuid::nil()),
        contender: "x".into(),
        inst: "BTC-USDT-SWAP".into(),
        side: Side::Buy,
        ord_type: OrdType::Ioc,
        qty: Qty(Decimal::ONE),
        limit: Some(Price(Decimal::from(100))),
        purpose: Purpose::Entry,
        leg: 0,
        attempt: 0,
        reduce_only: false,
        stop: None,
        reference: Price(Decimal::from(100)),
        decided_at: Ms(0),
        ttl: None,
        slippage: None,
        moves: None,
        sleeve: Usd::ZERO,
        weight: Decimal::ONE,
        good_for: None,
    }
}

/// Answers like the venue, except that it hangs up at its moment. Counts connections, and creates
/// by name.
fn serve(
    moment: &'static str,
    connections: Arc<Mutex<usize>>,
    creates: Arc<Mutex<BTreeMap<String, usize>>>,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            *connections.lock().unwrap() += 1;
            client
                .set_read_timeout(Some(Duration::from_millis(300)))
                .unwrap();
            let limit = match moment {
                "at once" => 0,
                "in the head" => 40,
                "in the body" => 500,
                _ => usize::MAX,
            };
            let (mut request, mut chunk) = (Vec::new(), [0u8; 4096]);
            while request.len() < limit {
                let room = chunk.len().min(limit - request.len());
                match client.read(&mut chunk[..room]) {
                    Ok(n) if n > 0 => request.extend(&chunk[..n]),
                    _ => break,
                }
                let text = String::from_utf8_lossy(&request);
                if text
                    .split_once("\r\n\r\n")
                    .is_some_and(|(_, body)| body.ends_with('}'))
                {
                    break;
                }
            }
            let text = String::from_utf8_lossy(&request).into_owned();
            if let Some((_, rest)) = text.split_once("\"clOrdId\":\"") {
                let id = rest.split('"').next().unwrap_or("").to_owned();
                *creates.lock().unwrap().entry(id).or_default() += 1;
            }
            let answer = match moment {
                "in the answer's head" => "HTTP/1.1 200 OK\r\nContent-Le",
                "in the answer's body" => {
                    "HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n{\"code\":\"0\",\"data\":[{"
                }
                _ => "",
            };
            drop(client.write_all(answer.as_bytes()));
            drop(client.shutdown(Shutdown::Both));
        }
    });
    url
}

/// Whenever the connection ends, the order is on the wire once and its outcome unknown.
#[test]
fn create_is_sent_once() {
    install_tls();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let inst = SimMarket::new(1)
        .get("BTC-USDT-SWAP")
        .unwrap()
        .listing
        .inst
        .clone();
    for moment in MOMENTS {
        let (connections, creates) = (Arc::default(), Arc::default());
        let url = serve(moment, Arc::clone(&connections), Arc::clone(&creates));
        let secrets = Secrets {
            api_key: "k".to_owned().into(),
            secret: "s".to_owned().into(),
            passphrase: "p".to_owned().into(),
        };
        let config = VenueConfig {
            rest: url,
            timeout: Duration::from_secs(2),
            demo: false,
        };
        let clock = Clock::start(Ms(1_760_000_000_000), 1.0);
        let venue = Venue::new(config, Some(Signer::new(secrets)), clock).unwrap();
        let trading = Trading::over(venue);
        const CREATES: usize = 8;
        for n in 0..CREATES {
            let outcome =
                runtime.block_on(trading.create(&intent(n), &inst, Ms(1_760_000_005_000)));
            assert!(
                matches!(outcome, CreateOutcome::Unknown(_)),
                "cut {moment}: {outcome:?}"
            );
        }
        assert_eq!(
            *connections.lock().unwrap(),
            CREATES,
            "cut {moment}: somebody tried again"
        );
        let seen = creates.lock().unwrap();
        assert!(
            seen.values().all(|times| *times == 1),
            "cut {moment}: {seen:?}"
        );
        let whole = moment.contains("answer");
        assert!(!whole || seen.len() == CREATES, "cut {moment}: {seen:?}");
    }
}

/// Over REST and WebSocket: the venue rejects what arrives after its deadline (50036).
#[test]
fn every_create_and_amend_has_a_deadline() {
    // Held up for twenty seconds of the venue's time, past the four that each has.
    for (transport, create, amend) in [
        ("rest", "POST trade/order", "POST trade/amend-order"),
        ("websocket", "op order", "op amend-order"),
    ] {
        let scene = super::scene::Scene::new(&[])
            .with("ALPHA_ARENA__VENUE__ORDER_TRANSPORT", transport)
            .with("ALPHA_ARENA__VENUE__ORDER_EXPIRY_MS", "4000");
        let daemon = scene.start();
        scene.wait_for_fill();
        let hold = |path: &str| {
            scene.faults(&format!(
                r#"{{"match":{{"path":"{path}"}},"action":"delay","ms":1000}}"#
            ))
        };
        hold(create);
        let late = "to_state = 'rejected' AND evidence LIKE '50036%'";
        wait_for("a create that comes too late", || scene.steps(late) > 0);
        hold(amend);
        let late = |log: &str| {
            log.lines()
                .any(|l| l.contains("asked the venue to move") && l.contains("50036"))
        };
        wait_for("a move that comes too late", || late(&daemon.log()));
        scene.faults("");
        daemon.kill();
        scene.is_whole();
    }
}

#[test]
fn working_orders_follow_their_policies() {
    let scene = super::scene::Scene::new(&[]);
    let daemon = scene.start();
    let any = |what: &str| crate::harness::count(scene.dir.path(), what) > 0;
    for (what, statement) in [
        (
            "an immediate order tried again",
            "SELECT COUNT(*) FROM orders WHERE ord_type = 'ioc' AND attempt > 0 AND contender_id = 'fast' AND venue_id IS NOT NULL",
        ),
        (
            "a resting order moved to the touch",
            "SELECT COUNT(*) FROM order_lifecycle_events WHERE evidence LIKE 'rests at%'",
        ),
        (
            "a resting order that crossed",
            "SELECT COUNT(*) FROM orders WHERE ord_type = 'ioc' AND attempt > 0 AND contender_id = 'crosser' AND venue_id IS NOT NULL",
        ),
        (
            "a reduce-only exit",
            "SELECT COUNT(*) FROM orders WHERE reduce_only = 1 AND purpose = 'exit' AND filled <> '0'",
        ),
    ] {
        wait_for(what, || any(statement));
    }
    let creates = scene.exchange.ledger()["creates"].to_string();
    assert!(
        creates.contains("\"slippagePct\":\"0.005\""),
        "market orders carry their limit"
    );
    daemon.kill();
    scene.is_whole();
}
