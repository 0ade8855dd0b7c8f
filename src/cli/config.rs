//! `config check` and `config show`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Global, output};
use crate::daemon::remembered;
use crate::exit::Exit;

#[derive(Clone, Debug, Subcommand)]
pub(super) enum ConfigVerb {
    /// Check it: a line and 0, or every problem with its key and 78.
    #[command(
        after_help = "Examples:\n  alpha-arena config check\n  alpha-arena --config new.toml config check --against-db   what a restart with it would change"
    )]
    Check {
        /// Also compare with what the state directory's database remembers: what is different, and
        /// what follows.
        #[arg(long)]
        against_db: bool,
        /// JSON for scripts instead of a table for people.
        #[arg(long)]
        json: bool,
    },
    /// Show the effective configuration and where each value came from. Secrets are never in it.
    Show {
        /// JSON for scripts instead of a table for people.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(global: &Global, verb: &ConfigVerb) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    match verb {
        ConfigVerb::Check { against_db, json } => {
            let changes = match against_db {
                true => remembered(&global.state_dir(&config))?.changes(&config),
                false => Vec::new(),
            };
            if *json {
                output::say(
                    json!({"schema": "config check/1", "mode": config.mode.as_str(), "ok": true, "changes": changes}),
                );
                return Ok(Exit::Ok);
            }
            output::say(format_args!(
                "ok: mode {}, {} contenders",
                config.mode,
                config.contenders.len()
            ));
            if *against_db && changes.is_empty() {
                output::say("nothing is different from the last start");
            } else if *against_db {
                let mut table = output::sheet(&["what a start would change", "effect"]);
                for change in changes {
                    table.add_row([change.what, change.effect]);
                }
                output::say(table);
            }
        }
        ConfigVerb::Show { json: true } => {
            output::say(
                json!({"schema": "config/1", "config": config.layers.tree, "sources": config.layers.sources}),
            );
        }
        ConfigVerb::Show { json: false } => {
            let mut table = output::sheet(&["key", "value", "from"]);
            for (key, source) in &config.layers.sources {
                let value = key
                    .split('.')
                    .fold(&config.layers.tree, |at, part| &at[part]);
                for (key, shown) in leaves(key, value) {
                    table.add_row([key.as_str(), &shown, source]);
                }
            }
            output::say(table);
        }
    }
    Ok(Exit::Ok)
}

/// A list of tables as one line for each of its values: `contender[0].weight`.
fn leaves(key: &str, value: &Value) -> Vec<(String, String)> {
    match value {
        Value::Array(rows) if rows.iter().any(Value::is_object) => rows
            .iter()
            .enumerate()
            .flat_map(|(i, row)| leaves(&format!("{key}[{i}]"), row))
            .collect(),
        Value::Object(map) => map
            .iter()
            .flat_map(|(name, value)| leaves(&format!("{key}.{name}"), value))
            .collect(),
        Value::String(text) => vec![(key.to_owned(), text.clone())],
        other => vec![(key.to_owned(), other.to_string())],
    }
}
