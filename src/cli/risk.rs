//! `risk`: the gate's rules as configured, and what they have blocked.

use clap::Subcommand;
use serde_json::json;

use super::list::{ListArgs, reader};
use super::{Failure, Global, OutputArgs, output};
use crate::domain::{Ms, Rule};
use crate::exit::Exit;
use crate::runtime::wall_ms;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum RiskVerb {
    /// Every rule: its limit, what a breach leads to, and what it is compared with.
    Rules(OutputArgs),
    /// Orders denied and restrictions latched, newest first.
    #[command(after_help = "Example:\n  alpha-arena risk events --limit 5 --json")]
    Events(ListArgs),
    /// Changes of the trading state, newest first.
    States(ListArgs),
}

pub(super) fn run(global: &Global, verb: &RiskVerb) -> Result<Exit, Failure> {
    match verb {
        RiskVerb::Rules(args) => rules(global, args.json),
        RiskVerb::Events(args) => {
            output::print(
                &reader(global)?.risk_events(args.limit)?,
                "risk events",
                args.json,
                Ms(wall_ms()),
            );
            Ok(Exit::Ok)
        }
        RiskVerb::States(args) => {
            output::print(
                &reader(global)?.trading_states(args.limit)?,
                "risk states",
                args.json,
                Ms(wall_ms()),
            );
            Ok(Exit::Ok)
        }
    }
}

fn rules(global: &Global, json_wanted: bool) -> Result<Exit, Failure> {
    let limits = global.load(None)?.risk;
    if json_wanted {
        let rows: Vec<_> = Rule::ALL
            .iter()
            .map(|rule| {
                let (spec, limit) = (rule.spec(), limits.of(*rule));
                json!({"code": rule.as_str(), "key": format!("risk.{}", spec.key), "limit": limit.value.to_string(),
                    "unit": spec.unit.as_str(), "action": limit.action, "release": limit.release, "reach": spec.reach,
                    "least": spec.bounds.0, "most": spec.bounds.1, "about": spec.about})
            })
            .collect();
        output::say(json!({"schema": "risk rules/1", "as_of_ms": wall_ms(), "rows": rows}));
        return Ok(Exit::Ok);
    }
    let mut table = output::sheet(&[
        "rule", "limit", "at most", "leads to", "ends", "of", "compares",
    ]);
    for rule in Rule::ALL {
        let (spec, limit) = (rule.spec(), limits.of(*rule));
        let ends = if limit.action == crate::domain::BreachAction::Block {
            ""
        } else {
            limit.release.as_str()
        };
        table.add_row([
            rule.as_str(),
            format!("{} {}", limit.value.normalize(), spec.unit).trim(),
            &spec.bounds.1.to_string(),
            limit.action.as_str(),
            ends,
            spec.reach.as_str(),
            spec.about,
        ]);
    }
    output::say(table);
    Ok(Exit::Ok)
}
