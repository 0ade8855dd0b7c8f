//! Sequence numbers of book channels: is this frame the next one?
//!
//! Rules of OKX's order book page: an update's `prevSeqId` is the last frame's `seqId`; -1 (or no
//! `prevSeqId`, on channels that always send the whole book) starts afresh; equal numbers with no
//! change are a keep-alive; `seqId` below `prevSeqId` happens once when the venue resets.

/// Meaning of a frame for the keeper of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceVerdict {
    /// A whole book, or the next change: use it.
    Apply,
    /// Keep-alive: nothing new.
    Keep,
    /// Older than what we have: ignore it.
    Stale,
    /// Missing frames in between: drop the book and subscribe again.
    Gap,
}

/// The last sequence number of one instrument's channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sequence {
    last: Option<i64>,
}

impl Sequence {
    /// Judges the next frame and remembers it.
    pub fn next(&mut self, prev: Option<i64>, seq: i64) -> SequenceVerdict {
        let verdict = match (self.last, prev.filter(|p| *p >= 0)) {
            (Some(last), None) if prev.is_none() && seq < last => return SequenceVerdict::Stale,
            (_, None) => SequenceVerdict::Apply,
            (None, Some(_)) => return SequenceVerdict::Gap,
            (Some(last), Some(prev)) if prev == last && seq == last => SequenceVerdict::Keep,
            (Some(last), Some(prev)) if prev == last => SequenceVerdict::Apply,
            (Some(last), Some(_)) if seq <= last => return SequenceVerdict::Stale,
            (Some(_), Some(_)) => {
                self.last = None;
                return SequenceVerdict::Gap;
            }
        };
        self.last = Some(seq);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(frames: &[(i64, i64)], expected: &[SequenceVerdict]) {
        let mut sequence = Sequence::default();
        let got: Vec<SequenceVerdict> = frames
            .iter()
            .map(|(prev, seq)| sequence.next(Some(*prev), *seq))
            .collect();
        assert_eq!(got, expected, "{frames:?}");
    }

    /// Frames that chain are applied; after a gap only a snapshot helps.
    #[test]
    fn sequence_gap_asks_for_a_snapshot() {
        use SequenceVerdict::*;
        check(
            &[(-1, 10), (10, 15), (15, 15), (15, 18)],
            &[Apply, Apply, Keep, Apply],
        );
        check(&[(-1, 10), (12, 15), (15, 16)], &[Apply, Gap, Gap]);
        check(&[(5, 10)], &[Gap]);
        check(&[(-1, 10), (10, 15), (10, 15)], &[Apply, Apply, Stale]);
        check(&[(-1, 10), (10, 3), (3, 5)], &[Apply, Apply, Apply]);
    }

    #[test]
    fn whole_books_only_move_forward() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.next(None, 5), SequenceVerdict::Apply);
        assert_eq!(sequence.next(None, 4), SequenceVerdict::Stale);
        assert_eq!(sequence.next(None, 6), SequenceVerdict::Apply);
    }
}
