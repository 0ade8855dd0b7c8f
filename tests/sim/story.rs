//! One seed's story: a storm with crashes, cuts and a switch, then calm, then the reckoning.

use std::collections::BTreeMap;
use std::time::Duration;

use alpha_arena::domain::{IncidentKind, OrderState, Readiness};
use alpha_arena::risk::{Command, Flatten};
use alpha_arena::runtime::Clock;
use alpha_arena::store::{MemoryStore, Stamp};
use alpha_arena::tracking::{PrivateFeed, TruthAsk};

use crate::checks;
use crate::daemon::Daemon;
use crate::world::{BEGIN, Chance, Venue, Weather, World};

/// Result of a seed.
pub struct Outcome {
    pub counts: BTreeMap<String, u64>,
    pub waits: Vec<u64>,
    /// Every read was answered, and the daemon never died.
    pub calm: bool,
    pub violations: Vec<String>,
    pub trace: Vec<String>,
    pub digest: u64,
    /// Milliseconds that a position was longest without a stop.
    pub bare_longest: i64,
}

/// Plays a seed from beginning to end.
pub fn play(seed: u64, trace: bool) -> Outcome {
    run(seed, trace, None)
}

/// Plays a seed in this weather, without crashes, cuts and halts, with an eye on positions without
/// a stop.
pub fn play_in(seed: u64, weather: Weather, bare_max: i64) -> Outcome {
    run(seed, false, Some((weather, bare_max)))
}

fn run(seed: u64, trace: bool, given: Option<(Weather, i64)>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(story(seed, trace, given))
}

/// A person goes on with orders that were enlarged.
async fn accept_by_hand(daemon: &Daemon) {
    let open: Vec<String> = daemon
        .view
        .borrow()
        .halts
        .iter()
        .filter(|case| case.kind == IncidentKind::Enlarged)
        .map(|case| case.id())
        .collect();
    for case in open {
        let (done, _) = tokio::sync::oneshot::channel();
        // A daemon that has ended is told of elsewhere.
        drop(daemon.truth.send(TruthAsk::Accept { case, done }).await);
    }
}

async fn story(seed: u64, trace: bool, given: Option<(Weather, i64)>) -> Outcome {
    let stamp = Stamp {
        mode: "sim".into(),
        uid: "1".into(),
    };
    let store = MemoryStore::new(&stamp, "epoch").unwrap();
    let clock = Clock::start(BEGIN, 1.0);
    let mut world = World::new(seed, store.clone(), clock.clone(), trace);
    let peaceful = given.is_some();
    if let Some((weather, bare_max)) = given {
        (world.weather, world.bare_max) = (weather, Some(bare_max));
    }
    let venue = Venue(std::sync::Arc::new(std::sync::Mutex::new(world)));
    tokio::spawn(venue.clone().live());
    let mut fate = Chance::new(seed ^ 0xfa7e);
    let mut life = 0;
    let mut enabled = true;
    let mut daemon = Daemon::start(&venue, &store, &clock, seed * 100, (enabled, false)).await;
    let storm = 60 + fate.below(60);
    for second in 0..storm {
        // Not on the second: crashes come at any moment.
        tokio::time::sleep(fate.ms(500, 1500)).await;
        if let Some(how) = daemon.ended() {
            venue.lock().violation(how);
            break;
        }
        if peaceful {
            continue;
        }
        if fate.hits(1) {
            let (flatten, why) = (fate.hits(50), "a whim".to_owned());
            venue.lock().note(format!("halt, flatten: {flatten}"));
            venue.lock().count("halts");
            let halt = Command::Halt {
                flatten,
                scope: Flatten::default(),
                who: "story".into(),
                why,
                done: None,
            };
            daemon.commands.send(halt).await.unwrap();
        }
        if fate.hits(2) {
            venue.lock().enlarge();
        }
        accept_by_hand(&daemon).await;
        if fate.hits(2) {
            venue.cut(if fate.hits(70) {
                PrivateFeed::Orders
            } else {
                PrivateFeed::Stops
            });
        }
        if fate.hits(2) {
            life += 1;
            venue.lock().note("kill -9".into());
            venue.lock().count("crashes");
            daemon.kill(&venue).await;
            tokio::time::sleep(fate.ms(0, 8000)).await;
            daemon = Daemon::start(
                &venue,
                &store,
                &clock,
                seed * 100 + life,
                (enabled, fate.hits(60)),
            )
            .await;
        }
        if enabled && second > storm / 2 && fate.below(1000) < 2 {
            venue.lock().note("the latch goes off".into());
            venue.lock().count("latches off");
            enabled = false;
            daemon.switch.off();
        }
    }
    // Calm: no faults, no new decisions; everything must come to rest and be known.
    // Reads are answered, each with an answer of its own.
    let calm = life == 0 && {
        let weather = venue.lock().weather;
        weather.read_fails == 0 && weather.mistaken == 0
    };
    venue.lock().weather = Weather::default();
    daemon.trades.send_replace(false);
    let (mut quiet, mut told) = (0, 0);
    for _ in 0..400 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        if let Some(how) = daemon.ended() {
            venue.lock().violation(how);
            break;
        }
        accept_by_hand(&daemon).await;
        // A stop may go off at the venue at any time; what has just happened there needs a moment
        // to become known.
        let newest = venue.lock().exchange.ledger.next_id;
        let silent = std::mem::replace(&mut told, newest) == newest;
        let settled = silent && {
            let view = daemon.view.borrow();
            let rests = |state| matches!(state, OrderState::Acked | OrderState::PartiallyFilled);
            let still = view
                .open
                .values()
                .all(|o| rests(o.state) && (!enabled || o.cancel_after.is_none()));
            still && *daemon.readiness.borrow() == Readiness::Ready
        };
        quiet = if settled { quiet + 1 } else { 0 };
        if quiet == 40 {
            break;
        }
    }
    if quiet < 40 && venue.lock().violations.is_empty() {
        let readiness = daemon.readiness.borrow().clone();
        let open: Vec<String> = daemon
            .view
            .borrow()
            .open
            .values()
            .map(|o| format!("{} {}", o.id, o.state))
            .collect();
        venue.lock().violation(format!(
            "it never came to rest: {readiness:?}, open: {}",
            open.join(", ")
        ));
    }
    let view = daemon.view.borrow().clone();
    let restrictions = daemon.restrictions.borrow().clone();
    daemon.kill(&venue).await;
    checks::reckon(&venue, &store, &view);
    checks::protected(&venue, &view, &restrictions, enabled);
    checks::creates(&venue, &store);
    let mut world = venue.lock();
    let longest = world.bare_longest;
    Outcome {
        bare_longest: longest,
        counts: std::mem::take(&mut world.counts),
        waits: std::mem::take(&mut world.waits),
        calm,
        violations: std::mem::take(&mut world.violations),
        trace: world.trace.take().unwrap_or_default(),
        digest: world.digest,
    }
}
