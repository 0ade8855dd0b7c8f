//! `health`: one verdict, whether the daemon runs or not.

use serde_json::{Map, Value, json};

use super::{Failure, Global, list, output, status};
use crate::domain::TradingState;
use crate::exit::Exit;
use crate::ops::health::{Finding, HealthVerdict, judge, overall};
use crate::runtime::wall_ms;

pub(super) async fn run(global: &Global, json: bool) -> Result<Exit, Failure> {
    // A configuration that cannot be read is a finding like another.
    let running = match status::ask(global).await {
        Ok(running) => running,
        Err(failure) => {
            let finding = Finding {
                check: "configuration",
                verdict: HealthVerdict::Fail,
                detail: failure.message,
            };
            return Ok(show(&[finding], None, None, json));
        }
    };
    let (database, summary) = match list::reader(global) {
        Ok(reader) => match (reader.quick_check(), reader.summary()) {
            (Ok(verdict), Ok(table)) => (
                verdict,
                table.rows.first().map(|row| {
                    Value::Object(
                        table
                            .columns
                            .iter()
                            .cloned()
                            .zip(row.iter().cloned())
                            .collect::<Map<_, _>>(),
                    )
                }),
            ),
            (Err(error), _) | (_, Err(error)) => (error.to_string(), None),
        },
        Err(failure) => (failure.message, None),
    };
    let mut findings = judge(&database, summary.as_ref(), running.as_ref());
    if running.is_none()
        && let Ok(restricted) = list::reader(global).and_then(|reader| Ok(reader.restrictions()?))
    {
        for r in restricted {
            let verdict = if r.state == TradingState::Halted {
                HealthVerdict::Fail
            } else {
                HealthVerdict::Warn
            };
            let detail = format!("{} {}: {}; `resume` ends it", r.id(), r.state, r.why);
            findings.push(Finding {
                check: "restricted",
                verdict,
                detail,
            });
        }
    }
    Ok(show(&findings, running.as_ref(), summary.as_ref(), json))
}

fn show(
    findings: &[Finding],
    running: Option<&Value>,
    summary: Option<&Value>,
    json: bool,
) -> Exit {
    let verdict = overall(findings);
    if json {
        let body = json!({"schema": "health/1", "as_of_ms": wall_ms(), "verdict": verdict, "findings": findings,
            "daemon_running": running.is_some(), "summary": summary});
        output::say(body);
    } else {
        let mut table = output::sheet(&["check", "verdict", "detail"]);
        for finding in findings {
            table.add_row([
                finding.check,
                &format!("{:?}", finding.verdict).to_lowercase(),
                &finding.detail,
            ]);
        }
        output::say(table);
    }
    verdict.exit()
}
