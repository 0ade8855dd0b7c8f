//! When a provider fails too often it is left alone for a while. Pure.
//!
//! A breaker counts for a provider, by scheme, host and port, whoever asks there. After its rest
//! one question tries it for everybody, of the asker that has waited longest: a model that never
//! works does not shut out its neighbours.

use std::collections::{BTreeMap, VecDeque};

use crate::domain::Ms;

/// Failures in a row, and failures among the last so many, at which it opens.
const IN_A_ROW: usize = 5;
const WINDOW: usize = 50;
const ONE_IN: usize = 5;
/// Fewer outcomes than this say nothing about a share.
const LEAST: usize = 20;

/// Counts what a provider does, whoever asks it.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    last: VecDeque<bool>,
    in_a_row: usize,
    /// Open until then; after that one question may try.
    until: Option<Ms>,
    /// True while the question that tries is in flight.
    trying: bool,
    /// When each asker's question was the one that tried.
    tried: BTreeMap<usize, Ms>,
}

impl Breaker {
    /// Checks whether a question may be put; otherwise returns the reason.
    ///
    /// # Errors
    /// It is open, or the one that tries has not come back.
    pub fn may(&self, now: Ms) -> Result<(), String> {
        match self.until {
            Some(until) if now < until => Err(format!(
                "its provider fails; tried again in {} s",
                until.since(now).0 / 1000 + 1
            )),
            Some(_) if self.trying => {
                Err("its provider has failed, and another question is trying it".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// True if the provider fails too often to be relied on, until a call has worked again.
    pub fn is_open(&self) -> bool {
        self.until.is_some()
    }

    /// A question of this asker is put. After a rest it is the only one: `true`, it tries.
    pub fn asked(&mut self, asker: usize, now: Ms) -> bool {
        if self.until.is_some() {
            self.trying = true;
            self.tried.insert(asker, now);
        }
        self.until.is_some()
    }

    /// When this asker's question tried last: who has waited longest is the next, or one that never
    /// works keeps it shut for all.
    pub fn tried(&self, asker: usize) -> Option<Ms> {
        self.tried.get(&asker).copied()
    }

    /// The question that tries is over, however it went; [`Breaker::note`] is told of each of its
    /// calls.
    pub fn over(&mut self) {
        self.trying = false;
    }

    /// Notes how a call went. `true`: it has opened with this one.
    pub fn note(&mut self, worked: bool, now: Ms, rest: Ms) -> bool {
        if worked {
            self.in_a_row = 0;
            if self.until.take().is_some() {
                // It works again: what was before says nothing about it now.
                self.last.clear();
                self.tried.clear();
            }
        } else {
            self.in_a_row += 1;
        }
        self.last.push_back(worked);
        if self.last.len() > WINDOW {
            self.last.pop_front();
        }
        let failed = self.last.iter().filter(|worked| !**worked).count();
        let too_many = self.last.len() >= LEAST && failed * ONE_IN > self.last.len();
        let open = !worked && (self.in_a_row >= IN_A_ROW || too_many || self.until.is_some());
        let was = self.until.is_some();
        if open {
            self.until = Some(now.plus(rest));
        }
        open && !was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Ms = Ms(60_000);

    /// After its rest one may try; another failure lets it rest again without reporting it as newly
    /// opened.
    #[test]
    fn five_failures_open_success_closes() {
        let mut breaker = Breaker::default();
        let opened: Vec<bool> = (0..5).map(|i| breaker.note(false, Ms(i), REST)).collect();
        assert_eq!(opened, [false, false, false, false, true]);
        assert!(breaker.may(Ms(60_003)).is_err());
        assert!(breaker.may(Ms(60_004)).is_ok(), "one may try");
        assert!(!breaker.note(false, Ms(60_004), REST), "it was open before");
        assert!(breaker.may(Ms(60_005)).is_err(), "and rests again");
        assert!(breaker.is_open());
        breaker.note(true, Ms(130_000), REST);
        assert!(!breaker.is_open() && breaker.may(Ms(130_000)).is_ok());
        assert!(!breaker.note(false, Ms(130_001), REST), "and begins anew");
    }

    /// Only one question at a time probes; its failure rests again, its success lets all through.
    #[test]
    fn one_probe_after_the_rest() {
        let mut breaker = Breaker::default();
        for i in 0..5 {
            breaker.note(false, Ms(i), REST);
        }
        let later = Ms(70_000);
        assert!(breaker.may(later).is_ok());
        assert!(breaker.asked(0, later));
        assert!(breaker.may(later).is_err(), "not a second one beside it");
        breaker.over();
        assert!(
            breaker.may(later).is_ok(),
            "nothing was sent: the next one may"
        );
        assert!(breaker.asked(1, later));
        assert_eq!(
            (breaker.tried(1), breaker.tried(2)),
            (Some(later), None),
            "the third has waited longest"
        );
        breaker.note(false, later, REST);
        breaker.over();
        assert!(breaker.may(later).is_err() && breaker.may(later.plus(REST)).is_ok());
        assert!(breaker.asked(2, later));
        breaker.note(true, later.plus(REST), REST);
        breaker.over();
        assert!(!breaker.asked(0, later), "nothing to try");
        assert!(
            breaker.may(later.plus(REST)).is_ok(),
            "closed: as many as come"
        );
    }

    /// Exactly a fifth of many calls does not.
    #[test]
    fn failure_rate_over_a_fifth_opens() {
        let mut breaker = Breaker::default();
        let opened = (0..50)
            .map(|i| breaker.note(i % 5 != 4, Ms(i), REST))
            .filter(|opened| *opened)
            .count();
        assert_eq!(opened, 0, "a fifth is not more than a fifth");
        let opened = (50..60)
            .map(|i| breaker.note(i % 2 == 0, Ms(i), REST))
            .filter(|opened| *opened)
            .count();
        assert_eq!(opened, 1);
    }
}
