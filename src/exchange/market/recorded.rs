//! A market that plays recorded candles. The bars are exactly those of the recording; what happens
//! inside a bar is drawn from its open over its nearer extreme and the other one to its close.
//!
//! A recorded market keeps its bars to the last digit and makes up the path inside them; an
//! instrument gets a finer tick if the file needs it.

use super::candles::RawCandle;
use crate::domain::Bar;

/// Recorded bars of one instrument, ascending, in whole ticks and lots.
#[derive(Debug)]
pub struct RecordedMarket {
    span: i64,
    bars: Vec<RawCandle>,
}

impl RecordedMarket {
    /// A recording of `bars`, which must ascend and lie on the grid of `bar`; `None` if there are
    /// none.
    pub fn new(bar: Bar, bars: Vec<RawCandle>) -> Option<Self> {
        let span = bar.span().0 / 1000;
        let sound = bars.windows(2).all(|w| w[0].second < w[1].second)
            && bars.iter().all(|b| b.second.rem_euclid(span) == 0);
        debug_assert!(sound, "the reader of candle files checks order and grid");
        (!bars.is_empty() && sound).then_some(Self { span, bars })
    }

    /// Seconds of one recorded bar.
    pub fn span(&self) -> i64 {
        self.span
    }

    /// First second of the recording, and the one after its last.
    pub fn range(&self) -> (i64, i64) {
        (
            self.bars[0].second,
            self.bars[self.bars.len() - 1].second + self.span,
        )
    }

    /// The bar that spans `second`. In a gap it is a flat one at the last close, as OKX shows a
    /// time without trades; before the recording it is the first open, after it the last close.
    fn bar_at(&self, second: i64) -> RawCandle {
        let open = second.div_euclid(self.span) * self.span;
        let next = self.bars.partition_point(|b| b.second <= second);
        match next.checked_sub(1).map(|i| self.bars[i]) {
            Some(bar) if bar.second == open => bar,
            Some(before) => flat(open, before.close),
            None => flat(open, self.bars[0].open),
        }
    }

    /// Price in ticks at `second`.
    pub fn ticks_at(&self, second: i64) -> i64 {
        inside(&self.bar_at(second), self.span, second)
    }

    /// Lots of the first (0) or last (1) trade of a second: the bar's volume in equal parts.
    pub fn lots(&self, second: i64, which: u64) -> i64 {
        let bar = self.bar_at(second);
        let part = (second - bar.second) * 2 + which as i64;
        let upto =
            |n: i64| (i128::from(bar.lots) * i128::from(n) / i128::from(2 * self.span)) as i64;
        upto(part + 1) - upto(part)
    }

    /// Bars of any size with `from <= open < to` that lie inside the recording.
    pub fn candles(&self, bar: Bar, from: i64, to: i64) -> Vec<RawCandle> {
        let span = bar.span().0 / 1000;
        let (first, end) = self.range();
        let mut open = from.max(first.div_euclid(span) * span);
        let mut out = Vec::new();
        while open < to.min(end) {
            let parts: Vec<RawCandle> = if span >= self.span {
                let seconds = (open..open + span).step_by(self.span as usize);
                seconds
                    .filter(|s| (first..end).contains(s))
                    .map(|s| self.bar_at(s))
                    .collect()
            } else {
                let second = |s| {
                    let ticks = self.ticks_at(s);
                    RawCandle {
                        second: s,
                        open: ticks,
                        high: ticks,
                        low: ticks,
                        close: ticks,
                        lots: self.lots(s, 0) + self.lots(s, 1),
                    }
                };
                (open..open + span).map(second).collect()
            };
            out.extend(fold(open, &parts));
            open += span;
        }
        out
    }
}

fn flat(second: i64, ticks: i64) -> RawCandle {
    RawCandle {
        second,
        open: ticks,
        high: ticks,
        low: ticks,
        close: ticks,
        lots: 0,
    }
}

/// One bar of its parts.
pub fn fold(second: i64, parts: &[RawCandle]) -> Option<RawCandle> {
    let (first, last) = (parts.first()?, parts.last()?);
    Some(RawCandle {
        second,
        open: first.open,
        high: parts.iter().map(|c| c.high).max()?,
        low: parts.iter().map(|c| c.low).min()?,
        close: last.close,
        lots: parts.iter().map(|c| c.lots).sum(),
    })
}

/// Returns a bar's price at `second`: straight lines from the open to the extreme on the other side
/// of the close, to the other extreme, to the close in its last second.
fn inside(bar: &RawCandle, span: i64, second: i64) -> i64 {
    let at = second - bar.second;
    if span < 4 {
        return bar.close;
    }
    let (one, two) = if bar.close >= bar.open {
        (bar.low, bar.high)
    } else {
        (bar.high, bar.low)
    };
    let knots = [
        (0, bar.open),
        (span / 3, one),
        (2 * span / 3, two),
        (span - 1, bar.close),
    ];
    let right = knots.iter().position(|(t, _)| at <= *t).unwrap_or(3).max(1);
    let ((t0, p0), (t1, p1)) = (knots[right - 1], knots[right]);
    p0 + (p1 - p0) * (at - t0) / (t1 - t0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(second: i64, open: i64, high: i64, low: i64, close: i64, lots: i64) -> RawCandle {
        RawCandle {
            second,
            open,
            high,
            low,
            close,
            lots,
        }
    }

    fn recording() -> RecordedMarket {
        let bars = vec![
            bar(60, 100, 130, 90, 120, 601),
            bar(120, 121, 125, 80, 81, 7),
            bar(240, 90, 90, 90, 90, 2),
        ];
        RecordedMarket::new(Bar::M1, bars).unwrap()
    }

    /// The generated seconds of each minute fold into the recorded bar.
    #[test]
    fn recorded_bars_come_back_exactly() {
        let r = recording();
        assert_eq!(r.candles(Bar::M1, 60, 180), r.bars[..2]);
        for whole in &r.bars[..2] {
            let seconds = r.candles(Bar::S1, whole.second, whole.second + 60);
            assert_eq!(
                fold(whole.second, &seconds),
                Some(*whole),
                "seconds of {}",
                whole.second
            );
        }
    }

    /// At the last close. There are no bars before or after the recording.
    #[test]
    fn gap_is_flat_without_volume() {
        let r = recording();
        assert_eq!(r.candles(Bar::M1, 180, 240), [flat(180, 81)]);
        assert_eq!(
            r.candles(Bar::M1, 0, 120),
            r.bars[..1],
            "nothing before the recording"
        );
        assert_eq!(
            r.candles(Bar::M1, 240, 600),
            r.bars[2..],
            "nothing after it"
        );
    }

    #[test]
    fn long_bars_fold_short_ones() {
        let all = recording().candles(Bar::M5, 0, 300);
        assert_eq!(all, [bar(0, 100, 130, 80, 90, 610)]);
    }
}
