//! The exchange as any OKX client meets it, through our own client and through bad imitations of
//! it.

use std::sync::Arc;
use std::time::Duration;

use alpha_arena::domain::{
    Bar, InstKind, Instrument, Ms, OrdType, OrderIntent, Price, Purpose, RunId, Side, Usd,
};
use alpha_arena::exchange::{Engine, EngineConfig, ServerAddress, ServerConfig, serve};
use alpha_arena::runtime::{Clock, Shutdown};
use alpha_arena::venue::{
    CancelOutcome, CandlePage, CreateOutcome, Secrets, Signer, Stream, StreamConfig, StreamEvent,
    Subscription, Trading, Venue, VenueConfig,
};
use rust_decimal::Decimal;

struct World {
    engine: Engine,
    endpoint: ServerAddress,
    venue: Venue,
    trading: Trading,
    stop: Shutdown,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn signer(endpoint: &ServerAddress) -> Signer {
    let key = &endpoint.credentials;
    Signer::new(Secrets {
        api_key: key.api_key.clone().into(),
        secret: key.secret.clone().into(),
        passphrase: key.passphrase.clone().into(),
    })
}

fn client(endpoint: &ServerAddress, signer: Signer, clock: Clock, demo: bool) -> Venue {
    // A hundred days are made of their seconds: in an unoptimised build on a busy machine that
    // takes its time.
    let timeout = Duration::from_secs(60);
    let config = VenueConfig {
        rest: endpoint.rest.clone(),
        timeout,
        demo,
    };
    Venue::new(config, Some(signer), clock).unwrap()
}

async fn world() -> World {
    world_at(1.0).await
}

/// An exchange whose clock runs at `speed`.
async fn world_at(speed: f64) -> World {
    drop(rustls::crypto::ring::default_provider().install_default());
    let engine = Engine::start(&EngineConfig {
        speed,
        ..Default::default()
    })
    .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stop = Shutdown::new();
    let (endpoint, server) = serve(
        engine.clone(),
        ServerConfig::default(),
        listener,
        stop.clone(),
    )
    .unwrap();
    tokio::spawn(server);
    let venue = client(&endpoint, signer(&endpoint), engine.clock.clone(), false);
    World {
        engine,
        endpoint,
        trading: Trading::over(venue.clone()),
        venue,
        stop,
    }
}

async fn swap(world: &World) -> Arc<Instrument> {
    let all = world.venue.instruments(InstKind::Swap).await.unwrap();
    Arc::new(
        all.into_iter()
            .find(|i| i.id.as_str() == "BTC-USDT-SWAP")
            .unwrap(),
    )
}

fn intent(inst: &Instrument, id: &str, side: Side, qty: &str, limit: Option<Price>) -> OrderIntent {
    OrderIntent {
        cl_ord_id: id.into(),
        run_id: RunId(uuid::Uuid::nil()),
        contender: "test".into(),
        inst: inst.id.clone(),
        side,
        ord_type: if limit.is_some() {
            OrdType::Limit
        } else {
            OrdType::Market
        },
        qty: qty.parse().unwrap(),
        limit,
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

fn rejected(outcome: CreateOutcome) -> String {
    match outcome {
        CreateOutcome::Rejected { code, .. } => code,
        other => panic!("{other:?}"),
    }
}

/// Wrong key, secret, passphrase or environment; a clock that is off is put right once.
#[tokio::test]
async fn wrong_credentials_get_okx_codes() {
    let w = world().await;
    let refused = |signer: Signer, clock: Clock, demo: bool| {
        let venue = client(&w.endpoint, signer, clock, demo);
        async move { venue.account().await.unwrap_err().to_string() }
    };
    let clock = || w.engine.clock.clone();
    let with = |change: fn(&mut Secrets)| {
        let key = &w.endpoint.credentials;
        let mut secrets = Secrets {
            api_key: key.api_key.clone().into(),
            secret: key.secret.clone().into(),
            passphrase: key.passphrase.clone().into(),
        };
        change(&mut secrets);
        Signer::new(secrets)
    };
    assert!(
        refused(with(|s| s.api_key = "x".into()), clock(), false)
            .await
            .contains("50111")
    );
    assert!(
        refused(with(|s| s.secret = "x".into()), clock(), false)
            .await
            .contains("50113")
    );
    assert!(
        refused(with(|s| s.passphrase = "x".into()), clock(), false)
            .await
            .contains("50105")
    );
    assert!(
        refused(signer(&w.endpoint), clock(), true)
            .await
            .contains("50101")
    );
    // A clock that is off is set right once, from the venue, and the request passes.
    let late = client(
        &w.endpoint,
        signer(&w.endpoint),
        Clock::start(Ms(0), 1.0),
        false,
    );
    late.account().await.unwrap();
}

/// On every bar size older pages join the newest, and history reaches years back.
#[tokio::test]
async fn history_is_deep_and_pages_join() {
    let w = world().await;
    let inst = swap(&w).await;
    for bar in Bar::ALL {
        let page = |after, history| CandlePage {
            after,
            before: None,
            limit: 100,
            history,
        };
        let newest = w
            .venue
            .candles(&inst.id, bar, page(None, false))
            .await
            .unwrap();
        assert_eq!(newest.len(), 100, "{bar}");
        assert!(
            !newest[0].1 && newest[1..].iter().all(|(_, confirmed)| *confirmed),
            "{bar}: only the first one forms"
        );
        let older = w
            .venue
            .candles(&inst.id, bar, page(Some(newest[99].0.ts), true))
            .await
            .unwrap();
        assert_eq!(
            older[0].0.ts.plus(bar.span()),
            newest[99].0.ts,
            "{bar}: pages join"
        );
        assert_eq!(older[0].0.close, newest[99].0.open, "{bar}: prices join");
    }
    let far = CandlePage {
        after: Some(Ms(1_672_531_200_000)),
        before: None,
        limit: 3,
        history: true,
    };
    assert_eq!(
        w.venue.candles(&inst.id, Bar::D1, far).await.unwrap().len(),
        3
    );
}

/// A good order lives from create to cancel.
#[tokio::test]
async fn every_wrong_order_gets_its_code() {
    let w = world().await;
    let inst = swap(&w).await;
    let quote = w.venue.quote(&inst.id).await.unwrap();
    let far = Price(inst.floor_tick(Price(quote.bid.0 * Decimal::new(97, 2))).0);
    let expiry = w.engine.clock.now().plus(Ms::secs(60));
    let resting = intent(&inst, "aresting", Side::Buy, "1", Some(far));
    assert!(matches!(
        w.trading.create(&resting, &inst, expiry).await,
        CreateOutcome::Accepted(_)
    ));
    // 51016: it is there already. Not a refusal: an answer to be looked into.
    assert!(matches!(
        w.trading.create(&resting, &inst, expiry).await,
        CreateOutcome::Unknown(_)
    ));
    assert_eq!(w.venue.orders_pending().await.unwrap().len(), 1);
    assert_eq!(
        w.trading.cancel(&inst.id, "aresting").await,
        CancelOutcome::Accepted
    );
    assert!(matches!(
        w.trading.cancel(&inst.id, "aresting").await,
        CancelOutcome::Ask(_)
    ));
    assert!(
        w.venue
            .order(&inst.id, &"anever".into())
            .await
            .unwrap_err()
            .is_not_found()
    );

    let send = async |o: OrderIntent, at| rejected(w.trading.create(&o, &inst, at).await);
    assert_eq!(
        send(intent(&inst, "a1", Side::Buy, "0.001", Some(far)), expiry).await,
        "51121"
    );
    assert_eq!(
        send(
            intent(
                &inst,
                "a2",
                Side::Buy,
                "1",
                Some(Price(far.0 + Decimal::new(1, 3)))
            ),
            expiry
        )
        .await,
        "51000"
    );
    assert_eq!(
        send(intent(&inst, "a-3", Side::Buy, "1", Some(far)), expiry).await,
        "51000"
    );
    assert_eq!(
        send(intent(&inst, "a4", Side::Buy, "99999", Some(far)), expiry).await,
        "51008"
    );
    let high = Price(inst.ceil_tick(Price(quote.ask.0 * Decimal::TWO)).0);
    assert_eq!(
        send(intent(&inst, "a5", Side::Buy, "1", Some(high)), expiry).await,
        "51006"
    );
    assert_eq!(
        send(intent(&inst, "a6", Side::Buy, "1", Some(far)), Ms(1)).await,
        "50036"
    );
    let reduce = OrderIntent {
        reduce_only: true,
        ..intent(&inst, "a7", Side::Sell, "1", Some(high))
    };
    assert_eq!(send(reduce, expiry).await, "51170");
    let crossing = OrderIntent {
        ord_type: OrdType::PostOnly,
        ..intent(
            &inst,
            "a8",
            Side::Buy,
            "1",
            Some(inst.floor_tick(Price(quote.ask.0 * Decimal::new(101, 2)))),
        )
    };
    assert!(matches!(
        w.trading.create(&crossing, &inst, expiry).await,
        CreateOutcome::Accepted(_)
    ));
    let found = w.venue.order(&inst.id, &"a8".into()).await.unwrap();
    assert_eq!(
        found.report.cancel_source.as_deref(),
        Some("31"),
        "accepted, then cancelled: it would have taken"
    );
}

/// It fills in parts at rising prices, and its attached stop closes it.
#[tokio::test]
async fn large_order_walks_the_book() {
    let w = world().await;
    let inst = swap(&w).await;
    let quote = w.venue.quote(&inst.id).await.unwrap();
    let expiry = w.engine.clock.now().plus(Ms::secs(60));
    let trigger = inst.floor_tick(Price(quote.bid.0 * Decimal::new(98, 2)));
    let stop = alpha_arena::domain::StopSpec {
        algo_id: "astop".into(),
        trigger,
        attached: true,
    };
    let big = OrderIntent {
        stop: Some(stop),
        ..intent(&inst, "abig", Side::Buy, "40", None)
    };
    assert!(matches!(
        w.trading.create(&big, &inst, expiry).await,
        CreateOutcome::Accepted(_)
    ));
    let fills = w.venue.fills_since(None).await.unwrap();
    assert!(fills.len() > 1, "one fill only: the book has no end");
    assert!(
        fills.windows(2).all(|f| f[0].fill.price <= f[1].fill.price),
        "a buy walks up"
    );
    assert_eq!(w.venue.algos_pending().await.unwrap().len(), 1);
    // Below the trigger: the stop becomes a market order that closes the position.
    let body = format!(
        r#"{{"instId":"{}","px":"{}"}}"#,
        inst.id,
        inst.floor_tick(Price(trigger.0 * Decimal::new(99, 2)))
    );
    let reply = reqwest::Client::new()
        .post(format!("{}/sim/market", w.endpoint.rest))
        .body(body)
        .send()
        .await
        .unwrap();
    assert!(reply.status().is_success());
    let account = w.venue.account().await.unwrap();
    let left = account
        .positions
        .get(&inst.id)
        .map_or(Decimal::ZERO, |p| p.qty.0);
    let sold: Decimal = w
        .venue
        .fills_since(None)
        .await
        .unwrap()
        .iter()
        .filter(|f| f.side == Side::Sell)
        .map(|f| f.fill.qty.0)
        .sum();
    assert!(
        sold > Decimal::ZERO && left == Decimal::from(40) - sold,
        "sold {sold}, left {left}"
    );
    assert_eq!(w.venue.algos_pending().await.unwrap().len(), 0);
}

/// Of 61 orders within two seconds exactly one is refused, with 50011.
#[tokio::test]
async fn rate_limit_refuses_the_61st_order() {
    // A slow venue clock: sixty-one requests fit into its two seconds on any machine.
    let w = world_at(0.1).await;
    let inst = swap(&w).await;
    let expiry = w.engine.clock.now().plus(Ms::secs(60));
    let mut codes = Vec::new();
    for i in 0..61 {
        let wrong = intent(
            &inst,
            &format!("ar{i}"),
            Side::Buy,
            "0.001",
            Some(Price(Decimal::from(80_000))),
        );
        codes.push(rejected(w.trading.create(&wrong, &inst, expiry).await));
    }
    assert_eq!(
        codes.iter().filter(|c| *c == "50011").count(),
        1,
        "{codes:?}"
    );
}

/// Within our own budget no order is refused for its rate.
#[tokio::test]
async fn request_budget_avoids_the_rate_limit() {
    let w = world().await;
    let inst = swap(&w).await;
    let expiry = w.engine.clock.now().plus(Ms::secs(60));
    for i in 0..80 {
        w.trading.room_to_create(&inst.id).await;
        let wrong = intent(
            &inst,
            &format!("as{i}"),
            Side::Buy,
            "0.001",
            Some(Price(Decimal::from(80_000))),
        );
        assert_eq!(
            rejected(w.trading.create(&wrong, &inst, expiry).await),
            "51121"
        );
    }
}

/// Sizes, prices and times beyond all range are refused, and the exchange lives on.
#[tokio::test]
async fn absurd_numbers_are_refused() {
    let w = world().await;
    let inst = swap(&w).await;
    let expiry = w.engine.clock.now().plus(Ms::secs(60));
    for (qty, px) in [
        ("79228162514264337593543950335", "80000"),
        ("1000000", "10000000000000000000000000"),
        ("0.0000000000000001", "80000"),
    ] {
        let order = intent(&inst, "ahuge", Side::Sell, qty, Some(px.parse().unwrap()));
        assert_eq!(
            rejected(w.trading.create(&order, &inst, expiry).await),
            "51000",
            "{qty} at {px}"
        );
    }
    let far = CandlePage {
        after: Some(Ms(i64::MAX)),
        before: None,
        limit: 3,
        history: true,
    };
    assert!(w.venue.candles(&inst.id, Bar::D1, far).await.is_err());
    w.venue.account().await.unwrap();
}

fn stream(w: &World, kind: &str, subscriptions: Vec<Subscription>, signed: bool) -> Stream {
    let config = StreamConfig {
        url: format!("{}/{kind}", w.endpoint.ws),
        subscriptions,
        signer: signed.then(|| signer(&w.endpoint)),
        ping_after: Duration::from_millis(300),
        answer_within: Duration::from_millis(700),
        silence: Duration::from_secs(5),
        tap: None,
    };
    Stream::open(config, w.engine.clock.clone())
}

/// Pings keep the connection open until then.
#[tokio::test]
async fn private_pushes_report_the_fill() {
    let w = world().await;
    let inst = swap(&w).await;
    let mut private = stream(
        &w,
        "private",
        vec![Subscription::private("orders", "ANY")],
        true,
    );
    assert!(matches!(
        private.next().await,
        Some(StreamEvent::ConnCount { count: 1, .. } | StreamEvent::Up)
    ));
    // Long past several pings: still the same connection.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let expiry = w.engine.clock.now().plus(Ms::secs(60));
    w.trading
        .create(&intent(&inst, "apush", Side::Buy, "1", None), &inst, expiry)
        .await;
    let deadline = tokio::time::sleep(Duration::from_secs(5));
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            () = &mut deadline => panic!("no push told of the fill"),
            event = private.next() => match event.unwrap() {
                StreamEvent::Push { data, .. } if data.get().contains("apush") && data.get().contains("\"filled\"") => break,
                StreamEvent::Down(why) => panic!("the line was lost: {why}"),
                _ => {}
            },
        }
    }
}

/// A wrong login is refused with 60024, a channel on the wrong URL with 64001.
#[tokio::test]
async fn wrong_login_or_channel_is_refused() {
    let w = world().await;
    let wrong = Secrets {
        api_key: w.endpoint.credentials.api_key.clone().into(),
        secret: "x".into(),
        passphrase: "y".into(),
    };
    let config = StreamConfig {
        url: format!("{}/private", w.endpoint.ws),
        subscriptions: vec![Subscription::private("orders", "ANY")],
        signer: Some(Signer::new(wrong)),
        ping_after: Duration::from_secs(10),
        answer_within: Duration::from_secs(2),
        silence: Duration::from_secs(5),
        tap: None,
    };
    let mut stream_of_wrong = Stream::open(config, w.engine.clock.clone());
    assert!(
        matches!(stream_of_wrong.next().await, Some(StreamEvent::Refused { code, .. }) if code == "60024")
    );
    let mut misplaced = stream(
        &w,
        "public",
        vec![Subscription::market("candle1m", "BTC-USDT")],
        false,
    );
    let refused = misplaced.next().await;
    assert!(
        matches!(&refused, Some(StreamEvent::Refused { code, .. }) if code == "64001"),
        "{refused:?}"
    );
}

/// Only final bars are confirmed, and one follows the other.
#[tokio::test]
async fn confirmed_bars_are_contiguous() {
    let w = world().await;
    let mut business = stream(
        &w,
        "business",
        vec![Subscription::market("candle1s", "BTC-USDT")],
        false,
    );
    let mut confirmed: Vec<i64> = Vec::new();
    while confirmed.len() < 3 {
        if let Some(StreamEvent::Push { data, .. }) = business.next().await {
            let rows = alpha_arena::venue::parse_candles(data.get()).unwrap();
            confirmed.extend(
                rows.iter()
                    .filter(|(_, done)| *done)
                    .map(|(candle, _)| candle.ts.0),
            );
        }
    }
    assert!(
        confirmed.windows(2).all(|w| w[1] - w[0] == 1000),
        "{confirmed:?}"
    );
}
