//! The gate's limits as configured: a number for each rule, and what a breach leads to.

use rust_decimal::Decimal;

use super::reader::Section;
use crate::domain::{BreachAction, Limit, Limits, Reach, Release, Rule};
use crate::risk::ProtectForeign;

/// Settings for protecting positions.
#[derive(Clone, Debug)]
pub struct ProtectionSettings {
    /// Stop distance from the entry for a strategy that names none, as a share.
    pub stop_default: Decimal,
    /// Time a position may be without a stop before it is closed, wall time.
    pub unprotected_max: std::time::Duration,
    /// Protection of positions in our instruments that are not ours.
    pub foreign: ProtectForeign,
}

/// `[risk]`: every rule's number under its key, then `[risk.actions]` and `[risk.releases]` by
/// code.
pub(super) fn read_limits(s: &mut Section<'_>) -> (Limits, ProtectionSettings) {
    let numbers: Vec<(Rule, Decimal)> = Rule::ALL
        .iter()
        .map(|rule| {
            let spec = rule.spec();
            let (least, most) = (Decimal::from(spec.bounds.0), Decimal::from(spec.bounds.1));
            (*rule, s.decimal(spec.key, least, most))
        })
        .collect();
    let actions: Vec<BreachAction> = s.table("actions", |s| {
        Rule::ALL
            .iter()
            .map(|rule| {
                let default = Some(format!("\"{}\"", rule.spec().action));
                s.note(rule.as_str(), "block, reduce_only, halt or flatten", default);
                let action = s.parse_or(rule.as_str(), rule.spec().action);
                if action == BreachAction::Flatten && rule.spec().reach == Reach::Contender {
                    let why = "cannot be flatten: a close takes the venue's position, which is everybody's; use halt";
                    s.problem(rule.as_str(), why);
                }
                action
            })
            .collect()
    });
    let releases: Vec<Release> = s.table("releases", |s| {
        Rule::ALL
            .iter()
            .map(|rule| {
                let default = Some(format!("\"{}\"", rule.spec().release));
                s.note(rule.as_str(), "next_utc_day or manual", default);
                s.parse_or(rule.as_str(), rule.spec().release)
            })
            .collect()
    });
    let protection = s.table("protection", |s| ProtectionSettings {
        stop_default: s.decimal("stop_default_pct", Decimal::new(1, 1), Decimal::from(50))
            / Decimal::ONE_HUNDRED,
        unprotected_max: std::time::Duration::from_millis(
            s.int("unprotected_ms_max", 1000, 600_000).unsigned_abs(),
        ),
        foreign: s.parse("foreign", ProtectForeign::Protect),
    });
    let mut each = numbers.into_iter().zip(actions).zip(releases);
    let limits = Limits::from_each(|_| {
        let (((_, value), action), release) = each.next().expect("one of each for each rule");
        Limit {
            value,
            action,
            release,
        }
    });
    (limits, protection)
}
