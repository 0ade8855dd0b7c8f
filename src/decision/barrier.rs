//! The candle barrier: a cycle begins when every instrument's bar of that instant has closed, or when
//! the wait is over, and then it says who was late.

use std::collections::BTreeSet;

use crate::domain::{InstId, Ms};

/// A cycle may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Open time of the bar.
    pub ts: Ms,
    /// Instruments whose bar has not come.
    pub late: Vec<InstId>,
}

/// Waits for one instant at a time.
#[derive(Clone, Debug)]
pub struct Barrier {
    all: BTreeSet<InstId>,
    patience: Ms,
    waiting: Option<(Ms, Ms, BTreeSet<InstId>)>,
    /// The last instant that was released; bars of it or before come too late.
    done: Option<Ms>,
}

impl Barrier {
    /// A barrier over these instruments that waits at most `patience` after the first bar.
    pub fn new(all: impl IntoIterator<Item = InstId>, patience: Ms) -> Self {
        Self { all: all.into_iter().collect(), patience, waiting: None, done: None }
    }

    /// A bar closed. Releases the instant before it, if that still waited, and its own, if it is the last.
    pub fn arrive(&mut self, inst: &InstId, ts: Ms, now: Ms) -> Vec<Release> {
        let mut out = Vec::new();
        if self.done.is_some_and(|done| ts <= done) {
            return out;
        }
        if let Some((waiting, ..)) = &self.waiting
            && *waiting < ts
        {
            out.extend(self.release());
        }
        let (_, _, arrived) = self.waiting.get_or_insert_with(|| (ts, now.plus(self.patience), BTreeSet::new()));
        arrived.insert(inst.clone());
        if *arrived == self.all {
            out.extend(self.release());
        }
        out
    }

    /// Time has passed: releases the waiting instant once the wait is over.
    pub fn elapse(&mut self, now: Ms) -> Option<Release> {
        self.waiting.as_ref().filter(|(_, deadline, _)| now >= *deadline)?;
        self.release()
    }

    /// When the wait will be over.
    pub fn deadline(&self) -> Option<Ms> {
        self.waiting.as_ref().map(|(_, deadline, _)| *deadline)
    }

    fn release(&mut self) -> Option<Release> {
        let (ts, _, arrived) = self.waiting.take()?;
        self.done = Some(ts);
        Some(Release { ts, late: self.all.difference(&arrived).cloned().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn barrier() -> Barrier {
        Barrier::new(["A".into(), "B".into()], Ms(500))
    }

    fn shown(releases: Vec<Release>) -> String {
        let one = |r: &Release| format!("{} late {:?}", r.ts.0, r.late.iter().map(InstId::as_str).collect::<Vec<_>>());
        releases.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn the_last_bar_releases_the_cycle_with_nobody_late() {
        let mut b = barrier();
        assert_eq!(shown(b.arrive(&"A".into(), Ms(1), Ms(0))), "");
        assert_eq!(shown(b.arrive(&"B".into(), Ms(1), Ms(3))), "1 late []");
    }

    #[test]
    fn when_the_wait_is_over_the_late_one_is_named_and_not_waited_for_again() {
        let mut b = barrier();
        b.arrive(&"A".into(), Ms(1), Ms(0));
        assert_eq!(b.elapse(Ms(499)), None);
        assert_eq!(shown(b.elapse(Ms(500)).into_iter().collect()), r#"1 late ["B"]"#);
        assert_eq!(shown(b.arrive(&"B".into(), Ms(1), Ms(600))), "");
    }

    #[test]
    fn a_newer_bar_releases_the_older_instant_first() {
        let mut b = barrier();
        b.arrive(&"A".into(), Ms(1), Ms(0));
        assert_eq!(shown(b.arrive(&"A".into(), Ms(2), Ms(10))), r#"1 late ["B"]"#);
        assert_eq!(shown(b.arrive(&"B".into(), Ms(2), Ms(11))), "2 late []");
    }
}
