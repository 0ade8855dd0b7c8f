//! Health as one verdict: ok, warn or fail, each finding with its reason. Pure.

use rust_decimal::Decimal;
use serde::Serialize;
use serde_json::Value;

use crate::exit::Exit;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub check: &'static str,
    pub verdict: HealthVerdict,
    pub detail: String,
}

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthVerdict {
    Ok,
    Warn,
    Fail,
}

impl HealthVerdict {
    /// The exit code of `health` and `preflight`.
    pub fn exit(self) -> Exit {
        match self {
            HealthVerdict::Ok => Exit::Ok,
            HealthVerdict::Warn => Exit::Warn,
            HealthVerdict::Fail => Exit::Fail,
        }
    }
}

/// Time a bar may be later than due, in milliseconds.
const BAR_GRACE_MS: i64 = 15_000;

/// Oldest read of the account, for a daemon that does not tell its limit.
const ACCOUNT_AGE_MS: i64 = 120_000;

/// A feed that has told a time of the future is shown for so long.
const TIME_AHEAD_SHOWN_MS: i64 = 600_000;

/// Judges the database's summary and, if a daemon answered, its status.
pub fn judge(database: &str, summary: Option<&Value>, status: Option<&Value>) -> Vec<Finding> {
    let finding = |check, verdict, detail: String| Finding {
        check,
        verdict,
        detail,
    };
    let mut out = vec![match database {
        "ok" => finding("database", HealthVerdict::Ok, "integrity ok".into()),
        wrong => finding("database", HealthVerdict::Fail, wrong.to_owned()),
    }];
    match status {
        Some(status) => {
            let state = status["trading_state"].as_str().unwrap_or("unknown");
            let verdict = match state {
                "active" => HealthVerdict::Ok,
                "halted" => HealthVerdict::Fail,
                _ => HealthVerdict::Warn,
            };
            let why = status["trading_state_why"].as_str().unwrap_or("");
            out.push(finding(
                "daemon",
                HealthVerdict::Ok,
                format!("running, pid {}", status["pid"]),
            ));
            out.push(finding(
                "trading state",
                verdict,
                format!("{state} {why}").trim().to_owned(),
            ));
            for case in status["halts"].as_array().into_iter().flatten() {
                let text = |name: &str| case[name].as_str().unwrap_or("").to_owned();
                let detail = format!(
                    "{}: {}; `alpha-arena reconcile` tells what ends it",
                    text("case"),
                    text("why")
                );
                out.push(finding("halt", HealthVerdict::Fail, detail));
            }
            for row in status["restrictions"].as_array().into_iter().flatten() {
                let text = |name: &str| row[name].as_str().unwrap_or("").to_owned();
                let detail = format!(
                    "{} {}: {}; ends {}",
                    text("restriction"),
                    text("state"),
                    text("why"),
                    text("ends")
                );
                let verdict = if text("state") == "halted" {
                    HealthVerdict::Fail
                } else {
                    HealthVerdict::Warn
                };
                out.push(finding("restricted", verdict, detail));
            }
            judge_protection(status, &mut out);
            let enabled = status["trading_enabled"].as_bool().unwrap_or(false);
            let verdict = if enabled {
                HealthVerdict::Ok
            } else {
                HealthVerdict::Warn
            };
            out.push(finding(
                "trading enabled",
                verdict,
                if enabled {
                    "on".into()
                } else {
                    "off: orders are recorded as suppressed".into()
                },
            ));
            let age = status["account_age_ms"].as_i64();
            // As old as the gate allows: no order leaves on an older one.
            let most = status["account_age_ms_max"]
                .as_i64()
                .unwrap_or(ACCOUNT_AGE_MS);
            let verdict = if age.is_some_and(|age| age <= most) {
                HealthVerdict::Ok
            } else {
                HealthVerdict::Fail
            };
            out.push(finding(
                "last sync",
                verdict,
                age.map_or("never".into(), |age| format!("{} s ago", age / 1000)),
            ));
            for feed in status["feeds"].as_array().into_iter().flatten() {
                let age = feed["quote_age_ms"].as_i64();
                let verdict = if age.is_some_and(|age| age <= 15_000) {
                    HealthVerdict::Ok
                } else {
                    HealthVerdict::Fail
                };
                let detail = age.map_or("no quote yet".into(), |age| format!("quote {age} ms old"));
                let inst = feed["inst"].as_str().unwrap_or("?");
                out.push(finding("feed", verdict, format!("{inst}: {detail}")));
                if let Some(age) = feed["time_ahead_age_ms"]
                    .as_i64()
                    .filter(|age| *age <= TIME_AHEAD_SHOWN_MS)
                {
                    let detail = format!(
                        "{inst}: {} times ahead of the venue's clock were refused, the last {} s ago",
                        feed["times_ahead"],
                        age / 1000
                    );
                    out.push(finding("feed", HealthVerdict::Warn, detail));
                }
                // A bar is due each span; one that is late by another and then some will not come
                // by itself.
                for series in feed["bars"].as_array().into_iter().flatten() {
                    let (bar, span) = (
                        series["bar"].as_str().unwrap_or("?"),
                        series["span_ms"].as_i64().unwrap_or(0),
                    );
                    match series["age_ms"].as_i64() {
                        Some(age) if age <= 2 * span + BAR_GRACE_MS => {}
                        Some(age) => out.push(finding(
                            "feed",
                            HealthVerdict::Fail,
                            format!("{inst}: the last {bar} bar closed {} s ago", age / 1000),
                        )),
                        None => out.push(finding(
                            "feed",
                            HealthVerdict::Fail,
                            format!("{inst}: no {bar} bar yet"),
                        )),
                    }
                }
            }
            let unknown = status["unknown_orders"].as_u64().unwrap_or(0);
            let verdict = if unknown == 0 {
                HealthVerdict::Ok
            } else {
                HealthVerdict::Warn
            };
            out.push(finding("unknown orders", verdict, unknown.to_string()));
        }
        None => {
            out.push(finding(
                "daemon",
                HealthVerdict::Warn,
                "not running: no answer on the control socket".into(),
            ));
            if let Some(summary) = summary {
                let state = summary["trading_state"].as_str().unwrap_or("none recorded");
                let verdict = if state == "halted" {
                    HealthVerdict::Fail
                } else {
                    HealthVerdict::Warn
                };
                out.push(finding(
                    "trading state",
                    verdict,
                    format!("{state} when it last ran"),
                ));
            }
        }
    }
    if let Some(summary) = summary {
        let last = summary["last_fill_ms"]
            .as_i64()
            .map_or("none yet".into(), |ms| crate::domain::Ms(ms).iso());
        out.push(finding("last trade", HealthVerdict::Ok, last));
    }
    out
}

/// Checks that every position has its stop at the venue, and tells how long some had none.
fn judge_protection(status: &Value, out: &mut Vec<Finding>) {
    let number = |row: &Value, name: &str| -> Decimal {
        row[name]
            .as_str()
            .and_then(|text| text.parse().ok())
            .unwrap_or_default()
    };
    let (mut bare, mut total, mut longest) = (Vec::new(), 0, 0);
    for (inst, shield) in status["protection"].as_object().into_iter().flatten() {
        if number(shield, "covered") < number(shield, "needed") {
            bare.push(format!(
                "{inst}: {} of {} have a stop",
                shield["covered"], shield["needed"]
            ));
        }
        total += shield["total_ms"].as_i64().unwrap_or(0);
        longest = longest.max(shield["longest_ms"].as_i64().unwrap_or(0));
    }
    // For a moment after a fill that is what it looks like; with trading off nothing will change
    // it.
    let on = status["trading_enabled"].as_bool().unwrap_or(false);
    let verdict = match (bare.is_empty(), on) {
        (true, _) => HealthVerdict::Ok,
        (false, true) => HealthVerdict::Warn,
        (false, false) => HealthVerdict::Fail,
    };
    let seconds = |ms: i64| Decimal::new(ms, 3).round_dp(1);
    let since = format!(
        "since the start {} s without, {} s at the longest",
        seconds(total),
        seconds(longest)
    );
    let detail = if bare.is_empty() {
        since
    } else {
        format!("{}; {since}", bare.join("; "))
    };
    out.push(Finding {
        check: "protection",
        verdict,
        detail,
    });
}

/// The worst of them.
pub fn overall(findings: &[Finding]) -> HealthVerdict {
    findings
        .iter()
        .map(|f| f.verdict)
        .max()
        .unwrap_or(HealthVerdict::Fail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn running(change: impl Fn(&mut Value)) -> Value {
        let mut status = json!({"pid": 1, "trading_state": "active", "trading_enabled": true, "account_age_ms": 1000,
            "feeds": [{"inst": "A", "quote_age_ms": 10, "bars": [{"bar": "1m", "span_ms": 60_000, "age_ms": 70_000}]}],
            "unknown_orders": 0});
        change(&mut status);
        status
    }

    #[track_caller]
    fn check(database: &str, status: Option<Value>, expected: HealthVerdict) {
        let summary = json!({"last_fill_ms": 0, "trading_state": "active"});
        assert_eq!(
            overall(&judge(database, Some(&summary), status.as_ref())),
            expected
        );
    }

    #[test]
    fn each_thing_that_is_wrong_shows() {
        check("ok", Some(running(|_| {})), HealthVerdict::Ok);
        check("row 3 missing", Some(running(|_| {})), HealthVerdict::Fail);
        check("ok", None, HealthVerdict::Warn);
        check(
            "ok",
            Some(running(|s| s["trading_state"] = "halted".into())),
            HealthVerdict::Fail,
        );
        check(
            "ok",
            Some(running(|s| s["trading_state"] = "reconciling".into())),
            HealthVerdict::Warn,
        );
        check(
            "ok",
            Some(running(|s| s["trading_enabled"] = false.into())),
            HealthVerdict::Warn,
        );
        check(
            "ok",
            Some(running(|s| s["account_age_ms"] = 120_001.into())),
            HealthVerdict::Fail,
        );
        // A daemon that reads its account once an hour is sound.
        let hourly = |age: i64| {
            running(|s| {
                s["account_age_ms"] = age.into();
                s["account_age_ms_max"] = 3_600_000.into();
            })
        };
        check("ok", Some(hourly(3_600_000)), HealthVerdict::Ok);
        check("ok", Some(hourly(3_600_001)), HealthVerdict::Fail);
        check(
            "ok",
            Some(running(|s| s["account_age_ms"] = Value::Null)),
            HealthVerdict::Fail,
        );
        check(
            "ok",
            Some(running(|s| s["feeds"][0]["quote_age_ms"] = 20_000.into())),
            HealthVerdict::Fail,
        );
        check(
            "ok",
            Some(running(|s| {
                s["feeds"][0]["bars"][0]["age_ms"] = 140_000.into()
            })),
            HealthVerdict::Fail,
        );
        check(
            "ok",
            Some(running(|s| {
                s["feeds"][0]["bars"][0]["age_ms"] = Value::Null
            })),
            HealthVerdict::Fail,
        );
        check(
            "ok",
            Some(running(|s| s["unknown_orders"] = 1.into())),
            HealthVerdict::Warn,
        );
        check(
            "ok",
            Some(running(|s| {
                s["feeds"][0]["time_ahead_age_ms"] = 1000.into()
            })),
            HealthVerdict::Warn,
        );
        check(
            "ok",
            Some(running(|s| {
                s["feeds"][0]["time_ahead_age_ms"] = 700_000.into()
            })),
            HealthVerdict::Ok,
        );
        let bare = json!({"A": {"needed": "5", "covered": "3", "total_ms": 1, "longest_ms": 1}});
        check(
            "ok",
            Some(running(|s| s["protection"] = bare.clone())),
            HealthVerdict::Warn,
        );
        let off = |s: &mut Value| {
            s["protection"] = bare.clone();
            s["trading_enabled"] = false.into();
        };
        check("ok", Some(running(off)), HealthVerdict::Fail);
        let restricted =
            |state: &str| json!([{"restriction": "system/x", "state": state, "why": "w"}]);
        check(
            "ok",
            Some(running(|s| s["restrictions"] = restricted("reduce_only"))),
            HealthVerdict::Warn,
        );
        check(
            "ok",
            Some(running(|s| s["restrictions"] = restricted("halted"))),
            HealthVerdict::Fail,
        );
        check(
            "ok",
            Some(running(|s| {
                s["halts"] = json!([{"case": "position:A", "why": "x"}])
            })),
            HealthVerdict::Fail,
        );
    }
}
