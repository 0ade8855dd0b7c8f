//! Allocations that say the same as the one before them: most of them do, and none of those needs a
//! row of its own.

use std::collections::{HashMap, VecDeque};

use crate::domain::record::Allocation;
use crate::domain::{ContenderId, InstId, Ms, RunId};

/// So many that were not written are remembered for each contender and instrument, for the order
/// that may still come of one.
const REMEMBERED: usize = 64;

/// Allocations of one process, by contender and instrument.
#[derive(Debug, Default)]
pub(super) struct Allocated {
    by: HashMap<(ContenderId, InstId), LastAllocation>,
}

#[derive(Debug, Default)]
struct LastAllocation {
    written: Option<Allocation>,
    /// Those since then, which say the same.
    untold: VecDeque<(RunId, Ms, Allocation)>,
}

impl Allocated {
    /// True if the row that was written last says the same; this one is then remembered.
    pub(super) fn is_told(&mut self, run_id: RunId, at: Ms, row: &Allocation) -> bool {
        let last = self
            .by
            .entry((row.contender.clone(), row.inst.clone()))
            .or_default();
        if !last
            .written
            .as_ref()
            .is_some_and(|written| says_the_same(written, row))
        {
            return false;
        }
        if last.untold.len() == REMEMBERED {
            last.untold.pop_front();
        }
        last.untold.push_back((run_id, at, row.clone()));
        true
    }

    /// This one is written.
    pub(super) fn tell(&mut self, row: &Allocation) {
        let last = self
            .by
            .entry((row.contender.clone(), row.inst.clone()))
            .or_default();
        last.written = Some(row.clone());
    }

    /// The allocation of a run that was not written; from now on it is.
    pub(super) fn untold(
        &mut self,
        run_id: RunId,
        contender: &ContenderId,
        inst: &InstId,
    ) -> Option<(Ms, Allocation)> {
        let last = self.by.get_mut(&(contender.clone(), inst.clone()))?;
        let at = last.untold.iter().position(|(run, ..)| *run == run_id)?;
        last.untold.remove(at).map(|(_, at, row)| (at, row))
    }
}

fn says_the_same(one: &Allocation, other: &Allocation) -> bool {
    let said = |row: &Allocation| (row.sleeve, row.weight, row.current, row.target);
    said(one) == said(other) && one.reason == other.reason
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Qty, Usd};
    use rust_decimal::Decimal;

    fn row(reason: &str) -> Allocation {
        Allocation {
            contender: "a".into(),
            inst: "I".into(),
            sleeve: Usd::ZERO,
            weight: Decimal::ONE,
            current: Qty::ZERO,
            target: Qty::ZERO,
            cl_ord_id: None,
            reason: reason.into(),
        }
    }

    /// An allocation equal to the last is not written; an order that follows from it gets it back,
    /// once.
    #[test]
    fn repeated_row_is_kept_for_orders() {
        let run = |n: u128| RunId(uuid::Uuid::from_u128(n));
        let mut all = Allocated::default();
        assert!(
            !all.is_told(run(1), Ms(1), &row("keep")),
            "the first is written"
        );
        all.tell(&row("keep"));
        for n in 2..100 {
            assert!(all.is_told(run(n), Ms(2), &row("keep")));
        }
        assert!(
            !all.is_told(run(100), Ms(3), &row("entry")),
            "another is written"
        );
        assert!(all.untold(run(99), &"a".into(), &"I".into()).is_some());
        assert!(
            all.untold(run(99), &"a".into(), &"I".into()).is_none(),
            "once"
        );
        assert!(
            all.untold(run(2), &"a".into(), &"I".into()).is_none(),
            "long ago"
        );
        assert!(all.untold(run(99), &"b".into(), &"I".into()).is_none());
    }
}
