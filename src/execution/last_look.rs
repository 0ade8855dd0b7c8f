//! The last look, just before the bytes. Pure: what has changed since the gate approved it?

use crate::domain::{Ms, Readiness};

/// Why an approved order must not leave after all; `None`: send it.
pub fn reason_not_to_send(
    trading_on: bool,
    readiness: &Readiness,
    opening: bool,
    now: Ms,
    expires_at: Ms,
) -> Option<String> {
    if !trading_on {
        return Some("trading was switched off".to_owned());
    }
    match readiness {
        Readiness::Halted(why) => return Some(format!("halted: {why}")),
        Readiness::Reconciling(why) if opening => return Some(format!("not reconciled: {why}")),
        Readiness::Reconciling(_) | Readiness::Ready => {}
    }
    (now >= expires_at).then(|| "its time was over before there was room to send it".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(on: bool, readiness: Readiness, opening: bool, now: i64, expected: Option<&str>) {
        let reason = reason_not_to_send(on, &readiness, opening, Ms(now), Ms(100));
        match expected {
            None => assert_eq!(reason, None),
            Some(words) => assert!(reason.unwrap().contains(words)),
        }
    }

    #[test]
    fn what_changed_since_the_gate_stops_the_bytes() {
        check(true, Readiness::Ready, true, 99, None);
        check(false, Readiness::Ready, false, 99, Some("switched off"));
        check(true, Readiness::Halted("x".into()), false, 99, Some("halted"));
        check(true, Readiness::Reconciling("x".into()), true, 99, Some("not reconciled"));
        check(true, Readiness::Reconciling("x".into()), false, 99, None);
        check(true, Readiness::Ready, true, 100, Some("time was over"));
    }
}
