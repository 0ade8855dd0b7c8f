//! Faults on demand (`/sim/faults`): what networks and venues do on bad days, from a script.
//!
//! A rule names what it strikes, which occurrence of it, and what happens:
//!
//! `{"rules":[{"match":{"path":"POST trade/order","nth":2},"action":"drop_after"}]}`
//!
//! Paths: `trade/order`, `POST trade/order`, `trade/*` (REST); `op order` (an operation over
//! WebSocket); `push orders` (a channel's pushes); `ws private` (frames from clients of that URL);
//! `connect private`. Without `nth` every occurrence is struck.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use crate::domain::Ms;

/// Fault that a rule injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FaultAction {
    /// `ms` pass before the request is looked at (or the push sent).
    Delay,
    /// `ms` pass between the work and its answer.
    DelayReply,
    /// The connection ends; the request was never seen.
    DropBefore,
    /// The connection ends; the request was carried out.
    DropAfter,
    /// `status` (503) with `code` (50001); the request was never seen.
    FailBefore,
    /// `status` (503) with `code` (50001); the request was carried out.
    FailAfter,
    /// A page of HTML instead of JSON, as a proxy answers; the request was carried out.
    Html,
    /// Half of the answer, then the connection ends.
    CutBody,
    /// Every price of a push, or the field that `field` names, is replaced by `text`.
    Spoil,
    /// The request is carried out twice; a push is sent twice.
    Duplicate,
    /// A push waits until the next of its connection was sent.
    Reorder,
    /// Pushes vanish.
    Mute,
    /// A push is sent `ms` times over (1000).
    Flood,
    /// The connection stays open and says nothing more.
    HalfOpen,
    /// The connection is closed.
    Disconnect,
    /// Orders, fills and bills of the past are gone from every list. Happens when the rule is
    /// posted.
    PurgeHistory,
    /// The venue's clock is shown and checked `ms` off. Happens when the rule is posted.
    Skew,
}

impl FaultAction {
    /// True if this fault can happen to what the path names.
    fn happens_to(self, path: &str) -> bool {
        use FaultAction::*;
        match path.split(' ').next().unwrap_or("") {
            _ if matches!(self, PurgeHistory | Skew) => true,
            "push" => {
                matches!(
                    self,
                    Mute | Delay
                        | Duplicate
                        | Flood
                        | Reorder
                        | CutBody
                        | Spoil
                        | HalfOpen
                        | Disconnect
                )
            }
            _ if self == Spoil => false,
            "ws" => matches!(
                self,
                Mute | Delay | DropBefore | DropAfter | HalfOpen | Disconnect
            ),
            "connect" => matches!(self, Delay | DropBefore),
            "op" => !matches!(self, Flood | Reorder | Html),
            _ => !matches!(self, Mute | Flood | Reorder),
        }
    }
}

/// A pushed frame with every price in it replaced by `text`, or one field of every row. A candle
/// has one named field, `ts`.
pub(super) fn spoiled(frame: &str, field: &str, text: &str) -> String {
    const PRICES: [&str; 9] = [
        "last", "askPx", "bidPx", "markPx", "px", "open24h", "high24h", "low24h", "idxPx",
    ];
    let Ok(mut push) = serde_json::from_str::<serde_json::Value>(frame) else {
        return frame.to_owned();
    };
    for row in push["data"].as_array_mut().into_iter().flatten() {
        match row {
            serde_json::Value::Object(row) => {
                let is_meant = |name: &str| {
                    if field.is_empty() {
                        PRICES.contains(&name)
                    } else {
                        name == field
                    }
                };
                let spoilt = row.iter_mut().filter(|(name, _)| is_meant(name));
                spoilt.for_each(|(_, value)| *value = text.into());
            }
            // A candle: time, then four prices.
            serde_json::Value::Array(row) if field == "ts" => {
                row.iter_mut().take(1).for_each(|time| *time = text.into())
            }
            serde_json::Value::Array(row) if field.is_empty() => row
                .iter_mut()
                .skip(1)
                .take(4)
                .for_each(|price| *price = text.into()),
            _ => {}
        }
    }
    push.to_string()
}

/// Occurrences that a rule strikes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Match {
    #[serde(default)]
    path: String,
    /// The n-th occurrence from when the rule was posted, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nth: Option<u64>,
}

/// One line of the script.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(rename = "match", default)]
    on: Match,
    pub(super) action: FaultAction,
    #[serde(default)]
    pub(super) ms: i64,
    #[serde(default)]
    pub(super) code: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) field: String,
    #[serde(default)]
    pub(super) status: u16,
    /// Number of times the rule struck.
    #[serde(default, skip_deserializing)]
    hits: u64,
}

/// A script, as posted.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Script {
    pub(super) rules: Vec<Rule>,
}

/// The script in force and what it has counted.
#[derive(Debug, Default)]
pub(super) struct Faults {
    state: Mutex<(Script, BTreeMap<usize, u64>)>,
    skew_ms: AtomicI64,
    purged_before: AtomicI64,
}

impl Faults {
    /// Replaces the script; counting starts afresh. A purge stays.
    ///
    /// # Errors
    /// A rule whose action cannot happen to what it names: nothing is silently without effect.
    pub(super) fn post(&self, script: Script, now: Ms) -> Result<(), String> {
        for rule in &script.rules {
            if !rule.action.happens_to(&rule.on.path) {
                return Err(format!(
                    "{:?} cannot happen to '{}'",
                    rule.action, rule.on.path
                ));
            }
            if rule.action == FaultAction::Flood && rule.ms > 10_000 {
                return Err("a flood is at most 10000 times".into());
            }
        }
        let skew = script
            .rules
            .iter()
            .filter(|r| r.action == FaultAction::Skew)
            .map(|r| r.ms)
            .sum();
        self.skew_ms.store(skew, Ordering::Relaxed);
        if script
            .rules
            .iter()
            .any(|r| r.action == FaultAction::PurgeHistory)
        {
            self.purged_before.store(now.0, Ordering::Relaxed);
        }
        *self.lock() = (script, BTreeMap::new());
        Ok(())
    }

    /// The script with its hits, for people and tests.
    pub(super) fn show(&self) -> String {
        serde_json::to_string(&self.lock().0).expect("a script is plain data")
    }

    /// Counts an occurrence of `path` and returns the rule that strikes it, if any. The first rule
    /// that fits decides.
    pub(super) fn strike(&self, path: &str) -> Option<Rule> {
        let mut state = self.lock();
        if state.0.rules.is_empty() {
            return None;
        }
        let (script, counts) = &mut *state;
        let mut struck = None;
        for (number, rule) in script.rules.iter_mut().enumerate() {
            let immediate = matches!(rule.action, FaultAction::Skew | FaultAction::PurgeHistory);
            if immediate || !fits(&rule.on.path, path) {
                continue;
            }
            let count = counts.entry(number).or_default();
            *count += 1;
            if struck.is_none() && rule.on.nth.is_none_or(|nth| nth == *count) {
                rule.hits += 1;
                struck = Some(rule.clone());
            }
        }
        struck
    }

    /// Returns `now` as clients see it, shifted by the skew of the venue's clock.
    pub(super) fn skewed(&self, now: Ms) -> Ms {
        now.plus(Ms(self.skew_ms.load(Ordering::Relaxed)))
    }

    /// Returns the time before which no list has any entry.
    pub(super) fn purged_before(&self) -> Ms {
        Ms(self.purged_before.load(Ordering::Relaxed))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Script, BTreeMap<usize, u64>)> {
        self.state.lock().expect("no holder of this lock can panic")
    }
}

/// `POST trade/order` fits `trade/order`, `POST trade/order` and `trade/*`.
fn fits(pattern: &str, path: &str) -> bool {
    let bare = path
        .strip_prefix("GET ")
        .or_else(|| path.strip_prefix("POST "))
        .unwrap_or(path);
    match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start) || bare.starts_with(start),
        None => pattern == path || pattern == bare,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rules: &str) -> Faults {
        let faults = Faults::default();
        faults
            .post(serde_json::from_str(rules).unwrap(), Ms(7))
            .unwrap();
        faults
    }

    /// Other paths do not match, and the hit is counted.
    #[test]
    fn rule_strikes_only_its_nth_match() {
        let f =
            faults(r#"{"rules":[{"match":{"path":"trade/order","nth":2},"action":"drop_after"}]}"#);
        let struck: Vec<bool> = (0..4)
            .map(|_| f.strike("POST trade/order").is_some())
            .collect();
        assert_eq!(struck, [false, true, false, false]);
        assert!(f.strike("POST trade/orders-pending").is_none());
        assert!(f.show().contains(r#""hits":1"#));
    }

    #[test]
    fn patterns_name_methods_and_families() {
        for (pattern, path, expected) in [
            ("trade/*", "POST trade/order", true),
            ("POST trade/*", "GET trade/order", false),
            ("GET trade/order", "GET trade/order", true),
            ("push orders", "push orders-algo", false),
            ("*", "op order", true),
        ] {
            assert_eq!(fits(pattern, path), expected, "{pattern} on {path}");
        }
    }

    /// A new script ends the clock skew; history already purged stays purged.
    #[test]
    fn skew_and_purge_follow_the_script() {
        let f = faults(r#"{"rules":[{"action":"skew","ms":-500},{"action":"purge_history"}]}"#);
        assert_eq!((f.skewed(Ms(1000)), f.purged_before()), (Ms(500), Ms(7)));
        f.post(Script::default(), Ms(9)).unwrap();
        assert_eq!((f.skewed(Ms(1000)), f.purged_before()), (Ms(1000), Ms(7)));
    }

    /// Each kind of path (push, request, operation, connection) takes only the actions that can
    /// happen to it.
    #[test]
    fn action_must_fit_its_path() {
        for (path, action, fits) in [
            ("push orders", "mute", true),
            ("push orders", "fail_after", false),
            ("POST trade/order", "reorder", false),
            ("op order", "fail_before", true),
            ("op order", "flood", false),
            ("connect private", "half_open", false),
        ] {
            let rules =
                format!(r#"{{"rules":[{{"match":{{"path":"{path}"}},"action":"{action}"}}]}}"#);
            let posted = Faults::default().post(serde_json::from_str(&rules).unwrap(), Ms(0));
            assert_eq!(posted.is_ok(), fits, "{action} on {path}");
        }
    }

    /// An unknown action and an unknown match key.
    #[test]
    fn unknown_script_words_are_refused() {
        assert!(serde_json::from_str::<Script>(r#"{"rules":[{"action":"explode"}]}"#).is_err());
        assert!(
            serde_json::from_str::<Script>(r#"{"rules":[{"action":"mute","match":{"pth":"x"}}]}"#)
                .is_err()
        );
    }
}
