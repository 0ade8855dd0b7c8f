//! Faults of a series of candles, row by row, and which of them can be mended without inventing
//! anything.

use std::collections::BTreeMap;
use std::fmt;

use super::Row;
use crate::domain::{Bar, Candle, Ms};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CandleFault {
    /// Bars are missing before this row.
    Gap { missing: i64 },
    /// The same time again: with the same values, or with others.
    Duplicate { same: bool, first_line: u64 },
    /// Older than the row before it.
    OutOfOrder,
    /// Not at a multiple of the bar's length.
    OffGrid,
    /// Impossible: which rule it breaks.
    Impossible(&'static str),
    /// Not six numbers.
    Unreadable(String),
}

impl CandleFault {
    /// True if the fault can be mended without inventing a value.
    pub fn is_mendable(&self) -> bool {
        matches!(
            self,
            CandleFault::OutOfOrder | CandleFault::Duplicate { same: true, .. }
        )
    }
}

impl fmt::Display for CandleFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CandleFault::Gap { missing: 1 } => f.write_str("gap: the bar before it is missing"),
            CandleFault::Gap { missing } => write!(f, "gap: {missing} bars before it are missing"),
            CandleFault::Duplicate {
                same: true,
                first_line,
            } => write!(f, "duplicate of line {first_line}"),
            CandleFault::Duplicate {
                same: false,
                first_line,
            } => {
                write!(f, "same time as line {first_line} with other values")
            }
            CandleFault::OutOfOrder => f.write_str("out of order: older than the row before it"),
            CandleFault::OffGrid => f.write_str("off the grid: not at a multiple of the bar"),
            CandleFault::Impossible(rule) => write!(f, "impossible: {rule}"),
            CandleFault::Unreadable(why) => write!(f, "unreadable: {why}"),
        }
    }
}

/// A fault and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandleFinding {
    pub line: u64,
    pub ts: Ms,
    pub fault: CandleFault,
}

/// The bar whose length is the commonest step between rows that follow each other.
pub fn infer_bar(rows: &[Row]) -> Option<Bar> {
    let mut steps: BTreeMap<i64, usize> = BTreeMap::new();
    for pair in rows.windows(2) {
        *steps
            .entry(pair[1].candle.ts.0 - pair[0].candle.ts.0)
            .or_default() += 1;
    }
    // Of steps as common as each other the shortest: the others are its gaps.
    let known = steps.into_iter().filter(|(step, _)| *step > 0);
    let (step, _) = known.max_by_key(|(step, count)| (*count, std::cmp::Reverse(*step)))?;
    Bar::ALL.into_iter().find(|bar| bar.span().0 == step)
}

fn impossible(c: &Candle) -> Option<&'static str> {
    let zero = crate::domain::Price::ZERO;
    if c.low <= zero {
        Some("a price is not positive")
    } else if c.high < c.low {
        Some("high is below low")
    } else if c.high < c.open.max(c.close) {
        Some("high is below open or close")
    } else if c.low > c.open.min(c.close) {
        Some("low is above open or close")
    } else if c.volume < crate::domain::Qty::ZERO {
        Some("volume is negative")
    } else {
        None
    }
}

/// Everything that is wrong with `rows` as a series of `bar`, in the order of the rows.
pub fn check(rows: &[Row], bar: Bar) -> Vec<CandleFinding> {
    let span = bar.span();
    let mut found = Vec::new();
    let mut first_at: BTreeMap<Ms, &Row> = BTreeMap::new();
    let mut before: Option<Ms> = None;
    let mut newest: Option<Ms> = None;
    for row in rows {
        let ts = row.candle.ts;
        let mut note = |fault| {
            found.push(CandleFinding {
                line: row.line,
                ts,
                fault,
            })
        };
        if let Some(rule) = impossible(&row.candle) {
            note(CandleFault::Impossible(rule));
        }
        if ts.floor(span) != ts {
            note(CandleFault::OffGrid);
        }
        match first_at.get(&ts) {
            Some(first) => {
                note(CandleFault::Duplicate {
                    same: first.candle == row.candle,
                    first_line: first.line,
                });
            }
            None => {
                first_at.insert(ts, row);
                if before.is_some_and(|before| ts < before) {
                    note(CandleFault::OutOfOrder);
                }
            }
        }
        before = Some(ts);
        newest = Some(newest.map_or(ts, |newest| newest.max(ts)));
    }
    // Gaps are a matter of which times there are, not of the order they came in.
    let mut last: Option<Ms> = None;
    for (ts, row) in first_at {
        if let Some(last) = last
            && ts > last.plus(span)
        {
            let missing = (ts.since(last).0 - 1) / span.0;
            found.push(CandleFinding {
                line: row.line,
                ts,
                fault: CandleFault::Gap { missing },
            });
        }
        last = Some(ts);
    }
    found.sort_by_key(|finding| finding.line);
    found
}

/// A series that was mended, and what could not be.
#[derive(Clone, Debug, Default)]
pub struct Repaired {
    /// Ascending, one row per time, each possible and on the grid.
    pub candles: Vec<Candle>,
    /// Lines that were left out, with why.
    pub dropped: Vec<CandleFinding>,
    /// Missing bars that remain: nothing is invented in their place.
    pub gaps: Vec<CandleFinding>,
}

/// Sorts, drops repeats and what is impossible, and says what is then missing. Sound rows of one
/// time with different values are all dropped: nobody can say which is true.
pub fn repair(rows: &[Row], bar: Bar) -> Repaired {
    let mut out = Repaired::default();
    let mut by_time: BTreeMap<Ms, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        let ts = row.candle.ts;
        let mut drop = |fault| {
            out.dropped.push(CandleFinding {
                line: row.line,
                ts,
                fault,
            })
        };
        match impossible(&row.candle) {
            Some(rule) => drop(CandleFault::Impossible(rule)),
            None if ts.floor(bar.span()) != ts => drop(CandleFault::OffGrid),
            None => by_time.entry(ts).or_default().push(row),
        }
    }
    let mut kept: Vec<Row> = Vec::with_capacity(by_time.len());
    for (ts, same_time) in by_time {
        let first = same_time[0];
        let same = same_time.iter().all(|row| row.candle == first.candle);
        let doubtful = if same {
            &same_time[1..]
        } else {
            &same_time[..]
        };
        for row in doubtful {
            // Of rows that contradict each other the first is as doubtful as the others.
            let other = if row.line == first.line {
                same_time[1].line
            } else {
                first.line
            };
            out.dropped.push(CandleFinding {
                line: row.line,
                ts,
                fault: CandleFault::Duplicate {
                    same,
                    first_line: other,
                },
            });
        }
        if same {
            kept.push(*first);
        }
    }
    out.dropped.sort_by_key(|finding| finding.line);
    out.gaps = check(&kept, bar)
        .into_iter()
        .filter(|f| matches!(f.fault, CandleFault::Gap { .. }))
        .collect();
    out.candles = kept.into_iter().map(|row| row.candle).collect();
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Price, Qty};
    use rust_decimal::Decimal;

    /// Minutes with (open minute, high, low); open and close are 10.
    fn rows(spec: &[(i64, i64, i64)]) -> Vec<Row> {
        let p = |v: i64| Price(Decimal::from(v));
        let row = |(i, (minute, high, low)): (usize, &(i64, i64, i64))| Row {
            line: i as u64 + 2,
            candle: Candle {
                ts: Ms(minute * 60_000),
                open: p(10),
                high: p(*high),
                low: p(*low),
                close: p(10),
                volume: Qty::ZERO,
            },
        };
        spec.iter().enumerate().map(row).collect()
    }

    #[track_caller]
    fn found(spec: &[(i64, i64, i64)], expected: &[&str]) {
        let got: Vec<String> = check(&rows(spec), Bar::M1)
            .iter()
            .map(|f| format!("{} {}", f.line, f.fault))
            .collect();
        assert_eq!(got, expected);
    }

    /// Gaps, duplicates, conflicting rows, wrong order and impossible prices.
    #[test]
    fn each_fault_names_its_line() {
        found(&[(1, 11, 9), (2, 11, 9)], &[]);
        found(
            &[(1, 11, 9), (4, 11, 9)],
            &["3 gap: 2 bars before it are missing"],
        );
        found(&[(1, 11, 9), (1, 11, 9)], &["3 duplicate of line 2"]);
        found(
            &[(1, 11, 9), (1, 12, 9)],
            &["3 same time as line 2 with other values"],
        );
        found(
            &[(2, 11, 9), (1, 11, 9)],
            &["3 out of order: older than the row before it"],
        );
        found(&[(1, 8, 12)], &["2 impossible: high is below low"]);
        found(&[(1, 9, 9)], &["2 impossible: high is below open or close"]);
        found(
            &[(1, 12, 11)],
            &["2 impossible: low is above open or close"],
        );
        found(&[(1, 12, 0)], &["2 impossible: a price is not positive"]);
    }

    /// Every row is either kept or listed as dropped, and a gap stays a gap.
    #[test]
    fn repair_sorts_drops_and_invents_nothing() {
        let broken = rows(&[
            (1, 11, 9),
            (3, 11, 9),
            (2, 11, 9),
            (2, 11, 9),
            (5, 8, 12),
            (6, 11, 9),
            (6, 12, 9),
            (7, 11, 9),
        ]);
        let mended = repair(&broken, Bar::M1);
        let minutes: Vec<i64> = mended.candles.iter().map(|c| c.ts.0 / 60_000).collect();
        assert_eq!(minutes, [1, 2, 3, 7]);
        assert_eq!(
            mended.dropped.iter().map(|f| f.line).collect::<Vec<_>>(),
            [5, 6, 7, 8]
        );
        assert_eq!(mended.candles.len() + mended.dropped.len(), broken.len());
        assert_eq!(mended.gaps.len(), 1);
        assert_eq!(mended.gaps[0].fault, CandleFault::Gap { missing: 3 });
    }

    #[test]
    fn the_bar_is_the_commonest_step() {
        assert_eq!(
            infer_bar(&rows(&[(1, 11, 9), (2, 11, 9), (3, 11, 9), (9, 11, 9)])),
            Some(Bar::M1)
        );
        assert_eq!(infer_bar(&rows(&[(5, 11, 9), (10, 11, 9)])), Some(Bar::M5));
        assert_eq!(
            infer_bar(&rows(&[(1, 11, 9), (2, 11, 9), (5, 11, 9)])),
            Some(Bar::M1),
            "a gap is as common"
        );
        assert_eq!(infer_bar(&rows(&[(7, 11, 9)])), None);
    }
}
