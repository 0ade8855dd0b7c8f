//! Heartbeats: each actor's own mark of progress, on the wall's monotonic time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

static START: OnceLock<Instant> = OnceLock::new();

fn millis() -> u64 {
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// One actor's mark. The actor ticks it each time round its loop, and only then.
#[derive(Clone, Debug)]
pub struct Beat {
    pub name: &'static str,
    /// A critical actor that stops stops the process; the others may be restarted.
    pub critical: bool,
    last: Arc<AtomicU64>,
    restarts: Arc<AtomicU64>,
    retired: Arc<AtomicBool>,
}

impl Beat {
    /// I am alive and got round.
    pub fn tick(&self) {
        self.last.store(millis(), Ordering::Relaxed);
    }
    /// Time since the last tick.
    pub fn age(&self) -> Duration {
        Duration::from_millis(millis().saturating_sub(self.last.load(Ordering::Relaxed)))
    }
    /// Returns the number of times the actor was restarted.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }
    /// Marks the actor as ended in good order; nothing waits for it any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
    pub(super) fn count_restart(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
        self.tick();
    }
    /// Ticks while something that has its own time limit is waited for: waiting is not freezing.
    pub async fn while_waiting<T>(&self, work: impl Future<Output = T>) -> T {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                _ = tick.tick() => self.tick(),
            }
        }
    }
    /// Resolves once nothing has ticked for `limit`.
    pub async fn frozen(&self, limit: Duration) {
        loop {
            let age = self.age();
            if age >= limit {
                return;
            }
            tokio::time::sleep(limit - age).await;
        }
    }
}

/// All heartbeats of the process.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<Mutex<Vec<Beat>>>);

impl Pulse {
    /// A new mark, alive as of now.
    pub fn beat(&self, name: &'static str, critical: bool) -> Beat {
        let beat = Beat {
            name,
            critical,
            last: Arc::default(),
            restarts: Arc::default(),
            retired: Arc::default(),
        };
        beat.tick();
        self.0
            .lock()
            .expect("no holder of this lock can panic")
            .push(beat.clone());
        beat
    }
    /// All of them.
    pub fn all(&self) -> Vec<Beat> {
        self.0
            .lock()
            .expect("no holder of this lock can panic")
            .clone()
    }
    /// The actor that has been quiet the longest, if longer than `limit`.
    pub fn stalled(&self, limit: Duration, only_critical: bool) -> Option<Beat> {
        let alive = |beat: &Beat| {
            !beat.retired.load(Ordering::Relaxed) && (beat.critical || !only_critical)
        };
        self.all()
            .into_iter()
            .filter(|beat| alive(beat) && beat.age() > limit)
            .max_by_key(Beat::age)
    }
}
