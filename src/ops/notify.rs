//! sd_notify and the watchdog. WATCHDOG=1 is sent only while every critical actor makes progress of
//! its own; when one does not for too long, the process ends itself, with or without systemd.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::{error, warn};

use crate::exit::Exit;
use crate::runtime::Pulse;

/// Says something to the supervisor above us, if there is one.
pub fn tell(states: &[NotifyState<'_>]) {
    // No socket, no supervisor: nothing to tell.
    if let Err(error) = sd_notify::notify(states) {
        warn!(event = "notify_failed", %error, "systemd could not be told");
    }
}

/// Starts the watchdog's thread. It is a plain thread on purpose: a stalled runtime must not stall it.
pub fn start_watchdog(pulse: Pulse, freeze: Duration) {
    let period = sd_notify::watchdog_enabled().map_or(freeze / 4, |usec| (usec / 3).min(freeze / 4));
    let watch = move || loop {
        std::thread::sleep(period.max(Duration::from_millis(20)));
        match pulse.stalled(freeze / 2) {
            None => tell(&[NotifyState::Watchdog]),
            Some(beat) => {
                let age_ms = u64::try_from(beat.age().as_millis()).unwrap_or(u64::MAX);
                warn!(event = "actor_stalled", actor = beat.name, age_ms, "no progress; the watchdog is not fed");
                // The supervisor ends a frozen task by itself; if even that does not run, this does.
                if beat.age() > freeze + freeze / 2 {
                    error!(
                        event = "actor_frozen",
                        actor = beat.name,
                        age_ms,
                        "frozen; ending the process, which recovers by starting again"
                    );
                    std::process::exit(i32::from(Exit::Software.code()));
                }
            }
        }
    };
    std::thread::Builder::new().name("watchdog".into()).spawn(watch).expect("the system can start one more thread");
}
