//! sd_notify and the watchdog. WATCHDOG=1 is sent only while every critical actor makes progress of
//! its own; when one does not for too long, the process ends itself, with or without systemd.

use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{error, warn};

use crate::exit::Exit;
use crate::runtime::{Beat, Pulse};

/// Messages to systemd.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// Reconciled and trading as configured.
    Ready,
    Watchdog,
    Stopping,
}

/// Says something to the supervisor above us, if there is one. Never waits: a thread of its own
/// does the sending, and what does not fit into its short queue is dropped.
pub fn tell(word: Word) {
    static MOUTH: OnceLock<SyncSender<Word>> = OnceLock::new();
    let mouth = MOUTH.get_or_init(|| {
        let (tx, words) = sync_channel(16);
        let speak = move || {
            for word in words {
                let said = match word {
                    Word::Ready => sd_notify::notify(&[
                        NotifyState::Ready,
                        NotifyState::Status("reconciled with the venue"),
                    ]),
                    Word::Watchdog => sd_notify::notify(&[NotifyState::Watchdog]),
                    Word::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
                };
                if let Err(error) = said {
                    warn!(event = "notify_failed", %error, "systemd could not be told");
                }
            }
        };
        std::thread::Builder::new()
            .name("notify".into())
            .spawn(speak)
            .expect("the system can start one more thread");
        tx
    });
    // Full or gone: whoever listens there has other troubles.
    mouth.try_send(word).ok();
}

/// Starts the watchdog's thread. It is a plain thread on purpose: a stalled runtime must not stall
/// it.
pub fn start_watchdog(pulse: Pulse, freeze: Duration) {
    let period =
        sd_notify::watchdog_enabled().map_or(freeze / 4, |usec| (usec / 3).min(freeze / 4));
    let watch = move || loop {
        std::thread::sleep(period.max(Duration::from_millis(20)));
        let age_ms = |beat: &Beat| u64::try_from(beat.age().as_millis()).unwrap_or(u64::MAX);
        // The supervisor restarts or ends a frozen task by itself. An actor that blocks its thread
        // cannot be ended that way, restartable or not: then the process ends, and starting
        // recovers.
        if let Some(beat) = pulse.stalled(freeze + freeze / 2, false) {
            let age_ms = age_ms(&beat);
            error!(
                event = "actor_frozen",
                actor = beat.name,
                age_ms,
                "frozen; ending the process"
            );
            crate::telemetry::finish();
            std::process::exit(i32::from(Exit::Software.code()));
        }
        match pulse.stalled(freeze / 2, true) {
            None => tell(Word::Watchdog),
            Some(beat) => {
                let age_ms = age_ms(&beat);
                warn!(
                    event = "actor_stalled",
                    actor = beat.name,
                    age_ms,
                    "no progress; the watchdog is not fed"
                );
            }
        }
    };
    std::thread::Builder::new()
        .name("watchdog".into())
        .spawn(watch)
        .expect("the system can start one more thread");
}
