//! Two contenders on one instrument in the four combinations of signs, each larger than the other
//! in turn, a stop hit in each: sleeves, the venue's position and the venue's stops are right each
//! time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alpha_arena::domain::record::Proposal;
use alpha_arena::domain::{Bps, ContenderId, InstId, Price, Readiness};
use alpha_arena::exchange::core::AlgoStatus;
use alpha_arena::runtime::Clock;
use alpha_arena::store::{MemoryStore, Stamp};
use rust_decimal::Decimal;

use crate::daemon::Daemon;
use crate::world::{BEGIN, Venue, Weather, World};

const INST: &str = "BTC-USDT-SWAP";

struct Stage {
    venue: Venue,
    daemon: Daemon,
}

impl Stage {
    async fn set() -> Self {
        let stamp = Stamp {
            mode: "sim".into(),
            uid: "1".into(),
        };
        let store = MemoryStore::new(&stamp, "epoch").unwrap();
        let clock = Clock::start(BEGIN, 1.0);
        let mut world = World::new(11, store.clone(), clock.clone(), false);
        world.weather = Weather::default();
        let venue = Venue(Arc::new(Mutex::new(world)));
        tokio::spawn(venue.clone().live());
        let daemon = Daemon::start(&venue, &store, &clock, 7, (true, false)).await;
        daemon.trades.send_replace(false);
        let stage = Self { venue, daemon };
        stage
            .wait("ready", |s| {
                *s.daemon.readiness.borrow() == Readiness::Ready
            })
            .await;
        stage
    }

    async fn wait(&self, what: &str, met: impl Fn(&Self) -> bool) {
        for _ in 0..400 {
            if met(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        panic!("waited in vain for {what}: {}", self.shown());
    }

    fn last(&self) -> Decimal {
        self.venue.lock().exchange.last(INST)
    }

    fn net(&self) -> Decimal {
        self.venue
            .lock()
            .exchange
            .ledger
            .positions
            .get(INST)
            .map_or(Decimal::ZERO, |p| p.qty)
    }

    fn sleeve(&self, who: &str) -> Decimal {
        let key = (ContenderId::from(who), InstId::from(INST));
        self.daemon
            .view
            .borrow()
            .holdings
            .get(&key)
            .map_or(Decimal::ZERO, |h| h.qty.0)
    }

    /// Returns the signed change that the venue's stops would make to the position.
    fn stops(&self) -> Decimal {
        let world = self.venue.lock();
        let live = world
            .exchange
            .ledger
            .algos
            .values()
            .filter(|a| a.inst == INST && a.status == AlgoStatus::Live);
        live.map(|a| {
            if a.side == alpha_arena::domain::Side::Buy {
                a.size
            } else {
                -a.size
            }
        })
        .sum()
    }

    fn shown(&self) -> String {
        format!(
            "last {}, net {}, a {}, b {}, stops {}",
            self.last(),
            self.net(),
            self.sleeve("ioc"),
            self.sleeve("market"),
            self.stops()
        )
    }

    /// Sleeves make the venue's position, and its stops are the opposite of it.
    fn is_right(&self) -> bool {
        self.net() == self.sleeve("ioc") + self.sleeve("market") && self.stops() == -self.net()
    }

    async fn settle(&self, what: &str, met: impl Fn(&Self) -> bool) {
        self.wait(what, |s| {
            met(s) && s.is_right() && s.daemon.view.borrow().open.is_empty()
        })
        .await;
        // And it stays so.
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(
            met(self) && self.is_right(),
            "{what} did not last: {}",
            self.shown()
        );
    }

    fn move_to(&self, price: Decimal) {
        self.venue.lock().exchange.set_price(INST, price).unwrap();
    }
}

fn proposal(who: &str, target: i32, stop: Decimal) -> Proposal {
    let stop = Some(Price(stop.round_dp(1)));
    Proposal {
        contender: who.into(),
        inst: INST.into(),
        target: Some(Bps(target)),
        stop,
        reason: "script".into(),
        good_for: None,
    }
}

/// `a` is stopped one percent away and `b` three, each against its own sign.
async fn play(a: i32, b: i32) {
    let stage = Stage::set().await;
    let begin = stage.last();
    let away = |target: i32, percent: i64| {
        begin * (Decimal::ONE - Decimal::new(percent * i64::from(target.signum()), 2))
    };
    let script = vec![
        proposal("ioc", a, away(a, 1)),
        proposal("market", b, away(b, 3)),
    ];
    stage.daemon.script.send(script).await.unwrap();
    let sign =
        |who: &str, target: i32, s: &Stage| s.sleeve(who) * Decimal::from(target) > Decimal::ZERO;
    stage
        .settle("both hold and are protected", |s| {
            sign("ioc", a, s) && sign("market", b, s)
        })
        .await;
    let held = stage.sleeve("market");
    // Past a's stop, short of b's.
    stage.move_to(away(a, 2));
    stage
        .settle("a is out, b as before", |s| {
            s.sleeve("ioc").is_zero() && s.sleeve("market") == held
        })
        .await;
    stage.move_to(away(b, 4));
    stage
        .settle("both are out", |s| {
            s.sleeve("market").is_zero() && s.net().is_zero()
        })
        .await;
    let violations = stage.venue.lock().violations.clone();
    assert!(violations.is_empty(), "{violations:?}");
}

/// A stop is hit in each of two sleeves, in every combination of their signs.
#[test]
fn stop_hits_leave_other_sleeve_right() {
    for (a, b) in [(10_000, 4_000), (4_000, 10_000), (10_000, 10_000)] {
        for (sign_a, sign_b) in [(1, 1), (1, -1), (-1, 1), (-1, -1)] {
            println!("a {}, b {}", a * sign_a, b * sign_b);
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(play(a * sign_a, b * sign_b));
        }
    }
}
