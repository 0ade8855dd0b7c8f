//! The dead man's switch: the venue cancels our resting orders unless we say again and again that
//! we live. The word is given only while every critical actor makes progress, by the same look that
//! feeds the watchdog.
//!
//! The dead man's switch is its own small actor, but it renews by the same look at the pulse that
//! feeds the watchdog.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::domain::Departure;
use crate::domain::Ms;
use crate::risk::{Command, PermissionWatch};
use crate::runtime::{Actor, Beat, Clock, Pulse, Shutdown, StageError};
use crate::venue::Trading;

/// Renews cancel-all-after under our tag. Left armed at a stop: what rests must not outlive us for
/// long.
pub struct DeadMan {
    pub line: Trading,
    /// Off: what rests is nobody's to renew.
    pub permission: PermissionWatch,
    pub clock: Clock,
    pub pulse: Pulse,
    /// Venue time after which the venue acts, 10 to 120 s.
    pub after: Ms,
    /// Venue time between two renewals.
    pub every: Ms,
    /// Half of what makes an actor frozen.
    pub patience: Duration,
    /// Halts if the venue goes on refusing: what rests would outlive us.
    pub commands: mpsc::Sender<Command>,
    pub beat: Beat,
}

/// Renewals no faster than this, wall time: one a second is what the venue takes.
const PAUSE: Duration = Duration::from_millis(1100);

impl Actor for DeadMan {
    async fn run(&mut self, stop: Shutdown) -> Result<(), StageError> {
        let every = self.clock.wall_span(self.every).max(PAUSE);
        // Too fast a clock leaves no room for two renewals: then the switch would cancel by itself.
        if self.clock.wall_span(self.after) < every * 3 {
            info!(
                event = "deadman_off",
                rate = self.clock.rate(),
                "the venue's clock is too fast for a dead man's switch"
            );
            while !stop.is_cancelled() {
                self.beat.tick();
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            return Ok(());
        }
        let mut next = Instant::now();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut armed = false;
        let mut refused: Option<Instant> = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                _ = tick.tick() => self.beat.tick(),
            }
            if !self.permission.lets(Departure::Cancel) {
                refused = None;
                continue;
            }
            if Instant::now() < next {
                continue;
            }
            if let Some(stalled) = self.pulse.stalled(self.patience, true) {
                warn!(
                    event = "deadman_starved",
                    actor = stalled.name,
                    "no progress; the dead man's switch is not renewed"
                );
                next = Instant::now() + PAUSE;
                continue;
            }
            next = Instant::now() + every;
            let seconds = self.after.0 / 1000;
            match self
                .beat
                .clone()
                .while_waiting(self.line.cancel_all_after(seconds))
                .await
            {
                Ok(at) if !armed => {
                    (armed, refused) = (true, None);
                    info!(
                        event = "deadman_armed",
                        after_s = seconds,
                        trigger_ms = at.0,
                        "the venue cancels what rests if we fall silent"
                    );
                }
                Ok(_) => refused = None,
                // Not reached is no refusal: then the switch that is armed does its work.
                Err(error) if error.is_reject() || error.needs_person() => {
                    warn!(event = "deadman_refused", %error, "the venue refuses to renew the dead man's switch");
                    let since = *refused.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.clock.wall_span(self.after) {
                        let why = format!(
                            "the venue has refused the dead man's switch for {seconds} s: {error}"
                        );
                        let halt = Command::Restrict {
                            cause: "deadman".to_owned(),
                            why,
                        };
                        self.commands
                            .send(halt)
                            .await
                            .map_err(|_| StageError::Gone("the gate"))?;
                        refused = None;
                    }
                }
                Err(error) => {
                    refused = None;
                    warn!(event = "deadman_failed", %error, "the dead man's switch could not be renewed");
                }
            }
        }
    }
}
