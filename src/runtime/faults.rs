//! Named points where a test may make an actor panic or freeze, or kill the process. Compiled to
//! nothing without the `faults` feature, which no release build has.
//!
//! `ALPHA_ARENA_FAULT=decision=panic@3,executor=freeze`: the third pass of `decision` panics, the
//! first of `executor` never returns; `kill` is `kill -9`; `hold` waits as long as the file named
//! by `ALPHA_ARENA_FAULT_HOLD` is there, and writes the point's name into it; `@always` means every
//! pass. With `once:` in front the fault happens only while the file named by
//! `ALPHA_ARENA_FAULT_ONCE` does not exist, and makes it: so that a restarted process gets through.

/// Passes a point in an async actor.
#[cfg(feature = "faults")]
pub async fn point(name: &'static str) {
    match imp::due(name) {
        Some(imp::InjectedFault::Panic) => panic!("fault injected at {name}"),
        Some(imp::InjectedFault::Freeze) => std::future::pending().await,
        Some(imp::InjectedFault::Hold) => {
            while imp::is_held(name) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
        Some(imp::InjectedFault::Kill) => imp::kill(),
        None => {}
    }
}

/// Passes a point in a blocking thread.
#[cfg(feature = "faults")]
pub fn point_blocking(name: &'static str) {
    match imp::due(name) {
        Some(imp::InjectedFault::Panic) => panic!("fault injected at {name}"),
        Some(imp::InjectedFault::Freeze) => loop {
            std::thread::park();
        },
        Some(imp::InjectedFault::Hold) => {
            while imp::is_held(name) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
        Some(imp::InjectedFault::Kill) => imp::kill(),
        None => {}
    }
}

/// Passes a point: nothing without the feature.
#[cfg(not(feature = "faults"))]
pub async fn point(_: &'static str) {}

/// Passes a point: nothing without the feature.
#[cfg(not(feature = "faults"))]
pub fn point_blocking(_: &'static str) {}

#[cfg(feature = "faults")]
mod imp {
    use std::collections::HashMap;
    use std::sync::{Mutex, OnceLock};

    #[derive(Clone, Copy)]
    pub enum InjectedFault {
        Panic,
        Freeze,
        /// Waits as long as the file `ALPHA_ARENA_FAULT_HOLD` names is there.
        Hold,
        /// SIGKILL to ourselves: nothing is flushed, nothing unwinds.
        Kill,
    }

    struct FaultPlan {
        fault: InjectedFault,
        /// Which pass; `None`: every one.
        pass: Option<u64>,
        once: bool,
        seen: u64,
    }

    fn plans() -> &'static Mutex<HashMap<String, FaultPlan>> {
        static PLANS: OnceLock<Mutex<HashMap<String, FaultPlan>>> = OnceLock::new();
        PLANS.get_or_init(|| {
            let text = std::env::var("ALPHA_ARENA_FAULT").unwrap_or_default();
            let parse = |item: &str| {
                let (once, item) = item
                    .strip_prefix("once:")
                    .map_or((false, item), |rest| (true, rest));
                let (name, what) = item.split_once('=')?;
                let (what, pass) = what.split_once('@').unwrap_or((what, "1"));
                let fault = match what {
                    "panic" => InjectedFault::Panic,
                    "kill" => InjectedFault::Kill,
                    "hold" => InjectedFault::Hold,
                    _ => InjectedFault::Freeze,
                };
                Some((
                    name.to_owned(),
                    FaultPlan {
                        fault,
                        pass: (pass != "always").then(|| pass.parse().ok()).flatten(),
                        once,
                        seen: 0,
                    },
                ))
            };
            Mutex::new(text.split(',').filter_map(parse).collect())
        })
    }

    /// Ends this process as `kill -9` does.
    pub fn kill() -> ! {
        let ended =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        unreachable!("alive after SIGKILL: {ended:?}")
    }

    /// True while the point must still wait. Notes in the hold file that the point is reached.
    pub fn is_held(name: &str) -> bool {
        let file = std::env::var("ALPHA_ARENA_FAULT_HOLD").unwrap_or_default();
        let file = std::fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(file);
        file.and_then(|mut file| std::io::Write::write_all(&mut file, name.as_bytes()))
            .is_ok()
    }

    pub fn due(name: &str) -> Option<InjectedFault> {
        let mut plans = plans()
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let plan = plans.get_mut(name)?;
        plan.seen += 1;
        if plan.pass.is_some_and(|pass| plan.seen != pass) {
            return None;
        }
        if plan.once {
            let mark = std::env::var("ALPHA_ARENA_FAULT_ONCE").ok()?;
            if std::path::Path::new(&mark).exists() {
                return None;
            }
            std::fs::write(&mark, name).ok()?;
        }
        Some(plan.fault)
    }
}
