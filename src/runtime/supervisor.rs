//! Lifetimes. A task ends in one of four named ways; a restartable actor is begun afresh within its
//! budget, anything else that ends by itself takes the process down, which recovers by the ordinary
//! start.

use std::any::Any;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::JoinSet;
use tracing::{Instrument, error, info, warn};

use super::{Beat, Shutdown};
use crate::exit::Exit;

/// Why a stage cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The stage after this one is gone.
    #[error("{0} is gone")]
    Gone(&'static str),
    /// The store cannot be trusted to hold what it was given.
    #[error("the store failed: {0}")]
    Store(String),
    /// Work that was handed to a task of its own is lost.
    #[error("{0}")]
    Lost(String),
    /// The venue said something that no retry will change.
    #[error("the venue refuses us: {0}")]
    Refused(String),
    /// The venue cannot be reached or made sense of; a fresh start may.
    #[error("{0}")]
    Venue(String),
    /// Two statements about our orders cannot both be true.
    #[error("{0}")]
    Contradiction(String),
}

impl StageError {
    /// Returns the exit code of a process that this error ends.
    pub fn exit(&self) -> Exit {
        match self {
            StageError::Store(_) => Exit::Io,
            StageError::Refused(_) => Exit::NoPermission,
            StageError::Venue(_) => Exit::Unavailable,
            StageError::Gone(_) | StageError::Lost(_) | StageError::Contradiction(_) => {
                Exit::Software
            }
        }
    }
}

/// Ways in which a task ends.
#[derive(Debug)]
pub enum ActorEnd {
    Finished,
    Failed(StageError),
    Panicked(String),
    /// No tick for longer than allowed.
    Frozen,
}

impl ActorEnd {
    fn exit(&self) -> Exit {
        match self {
            ActorEnd::Finished => Exit::Ok,
            ActorEnd::Failed(error) => error.exit(),
            ActorEnd::Panicked(_) | ActorEnd::Frozen => Exit::Software,
        }
    }
}

/// A stage that owns its ports and can be begun again after it failed: `run` starts from fresh
/// state.
pub trait Actor: Send + 'static {
    /// Works until `stop`, the end of its input, or an error.
    fn run(&mut self, stop: Shutdown) -> impl Future<Output = Result<(), StageError>> + Send;
}

/// Limits on how often, and how patiently, an actor is restarted.
#[derive(Clone, Copy, Debug)]
pub struct RestartPolicy {
    /// Restarts allowed within `window`; zero: never restarted alone.
    pub most: usize,
    pub window: Duration,
    pub backoff: Duration,
    /// Without a tick for this long it counts as frozen.
    pub freeze: Duration,
}

impl RestartPolicy {
    /// For market, account and decision: three in a minute, then the process exits.
    pub fn restartable(freeze: Duration) -> Self {
        Self {
            most: 3,
            window: Duration::from_secs(60),
            backoff: Duration::from_millis(200),
            freeze,
        }
    }
    /// For writer, executor, tracker and gate.
    pub fn critical(freeze: Duration) -> Self {
        Self {
            most: 0,
            ..Self::restartable(freeze)
        }
    }
}

/// Starts actors and hears how they end.
#[derive(Debug, Default)]
pub struct Supervisor {
    tasks: JoinSet<(&'static str, ActorEnd)>,
}

impl Supervisor {
    /// Starts an actor under its policy.
    pub fn start(
        &mut self,
        mut actor: impl Actor,
        beat: Beat,
        policy: RestartPolicy,
        stop: Shutdown,
    ) {
        let life = async move {
            let mut restarts: VecDeque<Instant> = VecDeque::new();
            loop {
                let ended = once(&mut actor, &beat, policy.freeze, stop.clone()).await;
                // While stopping, a neighbour that has gone before us is the normal end.
                let gone =
                    matches!(ended, ActorEnd::Failed(StageError::Gone(_))) && stop.is_cancelled();
                let ended = if gone { ActorEnd::Finished } else { ended };
                if matches!(ended, ActorEnd::Finished) || stop.is_cancelled() {
                    beat.retire();
                    return (beat.name, ended);
                }
                let now = Instant::now();
                restarts.retain(|at| now.duration_since(*at) < policy.window);
                if restarts.len() >= policy.most {
                    return (beat.name, ended);
                }
                restarts.push_back(now);
                let attempt = restarts.len() as u32;
                warn!(actor = beat.name, event = "actor_restart", attempt, most = policy.most, how = ?ended, "an actor ended by itself; starting it afresh");
                tokio::time::sleep(policy.backoff * 2u32.pow(attempt - 1)).await;
                beat.count_restart();
            }
        };
        self.tasks.spawn(life.in_current_span());
    }

    /// Starts an actor that carries its own beat.
    pub fn start_with<A: Actor>(
        &mut self,
        actor: A,
        beat: impl Fn(&A) -> Beat,
        policy: RestartPolicy,
        stop: &Shutdown,
    ) {
        let beat = beat(&actor);
        self.start(actor, beat, policy, stop.clone());
    }

    /// Runs until `stop` or until something ends by itself; then lets the rest drain for `grace`
    /// and names whoever is late.
    pub async fn run(mut self, stop: Shutdown, grace: Duration) -> Exit {
        let mut exit = Exit::Ok;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            ended = self.tasks.join_next() => {
                exit = match ended {
                    // A stage whose work is simply over (`--cycles`) ends the run in good order.
                    Some(Ok((name, ActorEnd::Finished))) => {
                        info!(actor = name, event = "actor_finished", "an actor has finished");
                        Exit::Ok
                    }
                    Some(Ok((name, how))) => {
                        error!(actor = name, event = "actor_ended", ?how, "an actor that must not end has ended; the process stops");
                        how.exit()
                    }
                    Some(Err(error)) => {
                        error!(%error, event = "actor_ended", "a task was lost; the process stops");
                        Exit::Software
                    }
                    None => return exit,
                };
                stop.cancel();
            }
        }
        let drained = tokio::time::timeout(grace, async {
            while let Some(ended) = self.tasks.join_next().await {
                match ended {
                    Ok((name, ActorEnd::Finished)) => {
                        info!(actor = name, event = "actor_finished", "stopped")
                    }
                    Ok((name, how)) => {
                        warn!(
                            actor = name,
                            event = "actor_ended",
                            ?how,
                            "stopped in disorder"
                        );
                        exit = exit.worse(how.exit());
                    }
                    Err(error) => warn!(%error, "a task was lost while stopping"),
                }
            }
        })
        .await;
        if drained.is_err() {
            error!(
                event = "shutdown_late",
                late = self.tasks.len(),
                "some actors did not stop in time; they are dropped"
            );
            self.tasks.abort_all();
            exit = exit.worse(Exit::Software);
        }
        exit
    }
}

async fn once(actor: &mut impl Actor, beat: &Beat, freeze: Duration, stop: Shutdown) -> ActorEnd {
    tokio::select! {
        biased;
        result = AssertUnwindSafe(actor.run(stop)).catch_unwind() => match result {
            Ok(Ok(())) => ActorEnd::Finished,
            Ok(Err(error)) => ActorEnd::Failed(error),
            Err(panic) => ActorEnd::Panicked(words(panic.as_ref())),
        },
        () = beat.frozen(freeze) => ActorEnd::Frozen,
    }
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
