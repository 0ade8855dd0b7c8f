//! Promises broken on purpose, to prove that the harness would notice. Compiled to nothing without
//! the `sabotage` feature, which no release build has; with it `ALPHA_ARENA_SABOTAGE=p1,p4`
//! chooses.

/// A promise of the design, and how it is broken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The receipt comes before the intent is written.
    P1,
    /// A create without a clear answer is sent again.
    P2,
    /// No clear answer counts as a reject.
    P3,
    /// A failed read counts as an empty one.
    P4,
    /// Commits are acknowledged before the disk has them (synchronous=NORMAL): the control of the
    /// power-loss proof.
    Sync,
    /// The last look at latch and readiness is skipped, and so is the gate's.
    P5,
}

/// True if this promise is to be broken.
#[cfg(feature = "sabotage")]
pub fn breaks(promise: Promise) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<String> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| {
        std::env::var("ALPHA_ARENA_SABOTAGE")
            .unwrap_or_default()
            .to_lowercase()
    });
    chosen
        .split(',')
        .any(|name| name == format!("{promise:?}").to_lowercase())
}

/// True if this promise is to be broken; never without the feature.
#[cfg(not(feature = "sabotage"))]
pub const fn breaks(_: Promise) -> bool {
    false
}
