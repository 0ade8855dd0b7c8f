//! Timings for settling doubts: those of DESIGN's order truth, as configured.

use rust_decimal::Decimal;

use super::reader::Section;
use crate::domain::Ms;

/// Settings for settling doubts about orders and positions, and for calling a person.
#[derive(Clone, Debug)]
pub struct TruthSettings {
    /// First questions about an unknown order, wall time after it became one; then `ask_every`.
    pub ask_at: Vec<Ms>,
    pub ask_every: Ms,
    /// Venue time past an order's expiry before "not found" counts.
    pub absent_after: Ms,
    /// Venue time between the two passes of a proof, of absence or of a difference.
    pub passes_apart: Ms,
    /// Venue time after which an unknown order is a case for a person.
    pub unknown_max: Ms,
    /// Instruments with an unknown order, beyond which nothing opens.
    pub unknown_instruments_max: usize,
    /// Comparisons that may end in disagreement before a start is given up.
    pub rounds_max: u32,
    /// Wall time for which another listener may be a dead connection of our own.
    pub rival_max: Ms,
    /// Dollars of a currency that may be unexplained.
    pub cash_tolerance: Decimal,
    /// The dead man's switch: venue time after which the venue cancels, and between two renewals.
    /// `None`: not used.
    pub deadman: Option<(Ms, Ms)>,
}

pub(super) fn read_truth(s: &mut Section<'_>) -> TruthSettings {
    let texts = s.texts("ask_at_ms");
    let ask_at: Vec<Ms> = texts
        .iter()
        .filter_map(|text| text.parse().ok().map(Ms))
        .collect();
    if ask_at.len() != texts.len() || ask_at.iter().any(|ms| !(50..=60_000).contains(&ms.0)) {
        s.problem(
            "ask_at_ms",
            "must be milliseconds between 50 and 60000, as texts",
        );
    }
    let after = s.int("deadman_ms", 0, 120_000);
    if after != 0 && after < 10_000 {
        s.problem(
            "deadman_ms",
            "must be 0 (off) or between 10000 and 120000: what the venue takes",
        );
    }
    let every = s.int("deadman_renew_ms", 1000, 60_000);
    if after != 0 && every * 3 > after {
        s.problem(
            "deadman_renew_ms",
            "must fit three times into deadman_ms: one lost renewal must not cancel anything",
        );
    }
    TruthSettings {
        ask_at,
        ask_every: Ms(s.int("ask_every_ms", 50, 60_000)),
        absent_after: Ms(s.int("absent_after_ms", 500, 600_000)),
        passes_apart: Ms(s.int("passes_apart_ms", 100, 600_000)),
        unknown_max: Ms(s.int("unknown_ms_max", 1000, 86_400_000)),
        unknown_instruments_max: s.int("unknown_instruments_max", 0, 100).unsigned_abs() as usize,
        rounds_max: u32::try_from(s.int("rounds_max", 2, 10_000)).unwrap_or(u32::MAX),
        rival_max: Ms(s.int("rival_ms_max", 0, 600_000)),
        cash_tolerance: s.decimal("cash_tolerance_usd", Decimal::ZERO, Decimal::from(1000)),
        deadman: (after != 0).then_some((Ms(after), Ms(every))),
    }
}
