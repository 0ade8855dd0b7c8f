//! The candle barrier: a cycle begins when every bar that closes at that instant has closed, or
//! when the wait is over, and then it says who was late.

use std::collections::BTreeSet;

use crate::domain::{Bar, InstId, Ms};

/// One instrument's bars of one size.
pub type Series = (InstId, Bar);

/// A cycle may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarRelease {
    /// Open time of the base bar.
    pub ts: Ms,
    /// Series whose bar has not come.
    pub late: Vec<Series>,
}

/// Waits for one instant at a time.
#[derive(Clone, Debug)]
pub struct Barrier {
    all: BTreeSet<Series>,
    /// The bar that instants are counted in.
    base: Bar,
    patience: Ms,
    /// The instant waited for, until when, and what has come.
    waiting: Option<(Ms, Ms, BTreeSet<Series>)>,
    /// The last instant that was released; bars that closed then or before come too late.
    done: Option<Ms>,
}

impl Barrier {
    /// A barrier over these series that waits at most `patience` after the first bar of an instant.
    pub fn new(all: impl IntoIterator<Item = Series>, base: Bar, patience: Ms) -> Self {
        Self {
            all: all.into_iter().collect(),
            base,
            patience,
            waiting: None,
            done: None,
        }
    }

    /// A bar that opened at `ts` has closed: releases an older instant that still waits, before
    /// anybody is told of the new bar.
    pub fn overtake(&mut self, series: &Series, ts: Ms) -> Option<BarRelease> {
        let close = ts.plus(series.1.span());
        let older = self
            .waiting
            .as_ref()
            .is_some_and(|(waiting, ..)| *waiting < close);
        if older { self.release() } else { None }
    }

    /// Notes the bar, after [`Barrier::overtake`]. Releases its instant if it is the last.
    pub fn arrive(&mut self, series: Series, ts: Ms, now: Ms) -> Option<BarRelease> {
        let close = ts.plus(series.1.span());
        if self.done.is_some_and(|done| close <= done) {
            return None;
        }
        // Older than what is waited for, yet not released: its instant went by without a base bar.
        if self
            .waiting
            .as_ref()
            .is_some_and(|(waiting, ..)| *waiting > close)
        {
            return None;
        }
        let (_, _, arrived) = self
            .waiting
            .get_or_insert_with(|| (close, now.plus(self.patience), BTreeSet::new()));
        arrived.insert(series);
        if self.missing().is_empty() {
            self.release()
        } else {
            None
        }
    }

    /// Time has passed: releases the waiting instant once the wait is over.
    pub fn elapse(&mut self, now: Ms) -> Option<BarRelease> {
        self.waiting
            .as_ref()
            .filter(|(_, deadline, _)| now >= *deadline)?;
        self.release()
    }

    /// When the wait will be over.
    pub fn deadline(&self) -> Option<Ms> {
        self.waiting.as_ref().map(|(_, deadline, _)| *deadline)
    }

    /// Series with a bar that closes at the waiting instant and has not come.
    fn missing(&self) -> Vec<Series> {
        let Some((close, _, arrived)) = &self.waiting else {
            return Vec::new();
        };
        let closes = |(_, bar): &&Series| close.floor(bar.span()) == *close;
        self.all
            .iter()
            .filter(closes)
            .filter(|series| !arrived.contains(*series))
            .cloned()
            .collect()
    }

    fn release(&mut self) -> Option<BarRelease> {
        let late = self.missing();
        let (close, ..) = self.waiting.take()?;
        self.done = Some(close);
        Some(BarRelease {
            ts: Ms(close.0 - self.base.span().0),
            late,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;

    fn barrier(more: &[(&str, Bar)]) -> Barrier {
        let more = more.iter().map(|(inst, bar)| (InstId::from(*inst), *bar));
        Barrier::new(
            [("A".into(), Bar::M1), ("B".into(), Bar::M1)]
                .into_iter()
                .chain(more),
            Bar::M1,
            Ms(500),
        )
    }

    fn shown(releases: Vec<BarRelease>) -> String {
        let name = |(inst, bar): &Series| format!("{inst} {bar}");
        let one = |r: &BarRelease| {
            format!(
                "{} late {:?}",
                r.ts.0 / MINUTE,
                r.late.iter().map(name).collect::<Vec<_>>()
            )
        };
        releases.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// Bar `bar` of `inst` that opened at `minute` arrives at `now`.
    fn arrive(b: &mut Barrier, inst: &str, bar: Bar, minute: i64, now: i64) -> String {
        let (series, ts) = ((InstId::from(inst), bar), Ms(minute * MINUTE));
        let older = b.overtake(&series, ts);
        shown(
            older
                .into_iter()
                .chain(b.arrive(series, ts, Ms(now)))
                .collect(),
        )
    }

    /// With every bar there, the cycle is released at once and nobody is late.
    #[test]
    fn last_bar_releases_the_cycle() {
        let mut b = barrier(&[]);
        assert_eq!(arrive(&mut b, "A", Bar::M1, 1, 0), "");
        assert_eq!(arrive(&mut b, "B", Bar::M1, 1, 3), "1 late []");
    }

    /// When it arrives after all, it does not release the cycle again.
    #[test]
    fn late_bar_is_named_after_timeout() {
        let mut b = barrier(&[]);
        arrive(&mut b, "A", Bar::M1, 1, 0);
        assert_eq!(b.elapse(Ms(499)), None);
        assert_eq!(
            shown(b.elapse(Ms(500)).into_iter().collect()),
            r#"1 late ["B 1m"]"#
        );
        assert_eq!(arrive(&mut b, "B", Bar::M1, 1, 600), "");
    }

    /// The older cycle goes first and names the missing bar as late.
    #[test]
    fn newer_bar_releases_the_older_cycle() {
        let mut b = barrier(&[]);
        arrive(&mut b, "A", Bar::M1, 1, 0);
        assert_eq!(arrive(&mut b, "A", Bar::M1, 2, 10), r#"1 late ["B 1m"]"#);
        assert_eq!(arrive(&mut b, "B", Bar::M1, 2, 11), "2 late []");
    }

    /// Between its closes the cycle does not wait for it, and a repeated bar releases nothing.
    #[test]
    fn longer_bar_is_awaited_at_its_close() {
        let mut b = barrier(&[("A", Bar::M5)]);
        arrive(&mut b, "A", Bar::M1, 3, 0);
        assert_eq!(arrive(&mut b, "B", Bar::M1, 3, 0), "3 late []");
        arrive(&mut b, "A", Bar::M1, 4, 0);
        assert_eq!(
            arrive(&mut b, "B", Bar::M1, 4, 0),
            "",
            "the five minutes end here too"
        );
        assert_eq!(arrive(&mut b, "A", Bar::M5, 0, 0), "4 late []");
        assert_eq!(arrive(&mut b, "A", Bar::M5, 0, 0), "", "once");
    }
}
