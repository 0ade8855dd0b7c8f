//! Small actors that watch: the writer's thread, the embedded exchange, the disk; and who tells the
//! world that we are ready, or us that it is time to stop.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tracing::{info, warn};

use crate::domain::record::Record;
use crate::domain::{AccountView, MarketView, Ms, Readiness, Restrictions};
use crate::ops::killfile::{self, HaltRequest};
use crate::ops::notify;
use crate::risk::{Command, Flatten};
use crate::runtime::{Actor, Beat, Clock, Shutdown, StageError};
use crate::store::{Journal, WriterGuard};

/// Views that readiness is judged by.
pub(super) struct Views {
    pub market: watch::Receiver<MarketView>,
    pub account: watch::Receiver<Option<Arc<AccountView>>>,
    pub readiness: watch::Receiver<Readiness>,
    pub restrictions: watch::Receiver<Restrictions>,
}

/// Stands for the writer's thread among the actors: it ends after the last journal is dropped, or
/// when the disk fails.
pub(super) struct WriterWatch {
    pub guard: WriterGuard,
}

impl Actor for WriterWatch {
    async fn run(&mut self, _stop: Shutdown) -> Result<(), StageError> {
        self.guard.ended().await.map_err(StageError::Store)
    }
}

/// Stands for the embedded exchange among the actors: when its ledger cannot be written it ends,
/// and we with it. When the recording it plays is over, the run is over, in good order.
pub(super) struct ExchangeWatch {
    pub ended: Shutdown,
    pub market_ends: Option<Ms>,
    pub clock: Clock,
    pub beat: Beat,
}

impl Actor for ExchangeWatch {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let mut tick = tokio::time::interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                () = self.ended.cancelled() => return Err(StageError::Store("the embedded exchange has ended".into())),
                _ = tick.tick() => self.beat.tick(),
            }
            if self.market_ends.is_some_and(|end| self.clock.now() >= end) {
                info!(
                    event = "recording_over",
                    "the recording is played to its end"
                );
                return Ok(());
            }
        }
    }
}

/// A real commit each second, so that the writer's progress can be seen even when nobody trades.
pub(super) struct Probe {
    pub journal: Journal,
    pub clock: Clock,
    pub beat: Beat,
}

impl Actor for Probe {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = tick.tick() => self.journal.append(Record::Probe { at: self.clock.now() }).await?,
            }
            self.beat.tick();
        }
    }
}

/// Tells systemd and the log when everything is in place: reconciled, history complete, account
/// known; and the log again when a halt that it came up with has ended.
pub(super) async fn announce_ready(mut views: Views, began: Instant, clock: Clock) {
    let mut told = false;
    loop {
        let ready = async {
            // Halted is a state to stay up in, not a failed start.
            let waits =
                |r: &Readiness| matches!(r, Readiness::Reconciling(_)) || (told && is_halted(r));
            views.readiness.wait_for(|r| !waits(r)).await.ok()?;
            views.market.wait_for(|m| m.live).await.ok()?;
            views.account.wait_for(Option::is_some).await.ok()?;
            Some(())
        };
        if ready.await.is_none() {
            return;
        }
        let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let halted = is_halted(&views.readiness.borrow());
        match &*views.readiness.borrow() {
            Readiness::Halted(why) => {
                warn!(event = "ready", after_ms = ms, %why, "up, but halted: nothing opens")
            }
            _ if !views.restrictions.borrow().0.is_empty() => {
                let restricted: Vec<String> = views
                    .restrictions
                    .borrow()
                    .0
                    .iter()
                    .map(|r| format!("{} {}", r.id(), r.state))
                    .collect();
                warn!(
                    event = "ready",
                    after_ms = ms,
                    restricted = restricted.join(", "),
                    "ready: reconciled, but restricted"
                );
            }
            _ => {
                let venue_time = clock.now().iso();
                info!(
                    event = "ready",
                    after_ms = ms,
                    venue_time,
                    "ready: reconciled and trading as configured"
                );
            }
        }
        if !told {
            notify::tell(notify::Word::Ready);
        }
        told = true;
        if !halted {
            return;
        }
    }
}

fn is_halted(readiness: &Readiness) -> bool {
    matches!(readiness, Readiness::Halted(_))
}

/// The kill switch besides the control socket: SIGUSR1, and the file HALT in the state directory.
pub(super) struct KillWatch {
    pub dir: PathBuf,
    pub commands: mpsc::Sender<Command>,
    /// Caught since the process began: it would end it otherwise.
    pub usr1: Option<tokio::signal::unix::Signal>,
    /// Halt request found at the last look; a file is obeyed once.
    pub seen: Option<HaltRequest>,
    pub beat: Beat,
}

/// SIGUSR1, from now on.
pub(super) fn catch_usr1() -> Option<tokio::signal::unix::Signal> {
    let caught = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::user_defined1());
    caught
        .inspect_err(|error| warn!(event = "signals", %error, "SIGUSR1 cannot be heard; use `halt` or the file HALT"))
        .ok()
}

async fn heard(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Between looks for the file.
const KILL_LOOK: Duration = Duration::from_millis(250);

impl Actor for KillWatch {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let mut tick = tokio::time::interval(KILL_LOOK);
        loop {
            let halt = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                // Its handler has left a mark by now; a signal whose mark went where nobody finds
                // it is obeyed all the same.
                () = heard(&mut self.usr1) => self.look().or_else(|| Some((HaltRequest::by_signal(), "signal"))),
                _ = tick.tick() => self.look(),
            };
            self.beat.tick();
            if let Some((HaltRequest { flatten, why, .. }, who)) = halt {
                let scope = Flatten::default();
                let halt = Command::Halt {
                    flatten,
                    scope,
                    who: who.into(),
                    why,
                    done: None,
                };
                self.commands
                    .send(halt)
                    .await
                    .map_err(|_| StageError::Gone("the gate"))?;
            }
        }
    }
}

impl KillWatch {
    /// Returns the halt request that was not there at the last look, and its source.
    fn look(&mut self) -> Option<(HaltRequest, &'static str)> {
        let found = killfile::asked(&self.dir);
        let before = std::mem::replace(&mut self.seen, found.clone());
        let new = found.filter(|asked| before.as_ref() != Some(asked))?;
        let signals = before.map_or(0, |asked| asked.signals);
        let who = if new.signals > signals {
            "signal"
        } else {
            "file"
        };
        Some((new, who))
    }
}

/// Stops on SIGTERM, Ctrl-C or when the time is up.
pub(super) async fn hear_signals(stop: Shutdown, duration: Option<Duration>) {
    use tokio::signal::unix::{SignalKind, signal};
    // A terminal that closes is no wish to stop: positions are open, and `SIGTERM` is how it is
    // said.
    if let Ok(mut hangup) = signal(SignalKind::hangup()) {
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                warn!(
                    event = "hangup",
                    "the terminal is gone; trading goes on, SIGTERM stops it"
                );
            }
        });
    }
    let (Ok(mut term), Ok(mut int)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        warn!(
            event = "signals",
            "signals cannot be heard; stop with the control of your system"
        );
        return;
    };
    let why = tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "Ctrl-C",
        () = tokio::time::sleep(duration.unwrap_or(Duration::MAX)), if duration.is_some() => "the time is up",
    };
    info!(
        event = "stopping",
        why, "stopping: no new decisions; what is on its way is brought to an end"
    );
    stop.cancel();
    notify::tell(notify::Word::Stopping);
}
