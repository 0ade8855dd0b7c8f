//! `config check` and `config show`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::{Failure, Global, output};
use crate::config;
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
    /// List every key with its default, what it accepts and what it means.
    #[command(
        after_help = "Examples:\n  alpha-arena config keys\n  alpha-arena config keys risk.daily   those whose name begins so"
    )]
    Keys {
        /// Only keys whose dotted name begins with this.
        prefix: Option<String>,
        /// A page in Markdown, all keys: docs/configuration.md.
        #[arg(long, conflicts_with_all = ["prefix", "json"])]
        markdown: bool,
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
    if let ConfigVerb::Keys {
        prefix,
        markdown,
        json,
    } = verb
    {
        return list_keys(prefix.as_deref().unwrap_or_default(), *markdown, *json);
    }
    let config = global.load(None)?;
    match verb {
        ConfigVerb::Keys { .. } => {}
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

/// Shows the keys that begin with `prefix`; no configuration is read for it.
fn list_keys(prefix: &str, markdown: bool, json: bool) -> Result<Exit, Failure> {
    if markdown {
        output::say(config::page().trim_end());
        return Ok(Exit::Ok);
    }
    let keys: Vec<_> = config::keys()
        .into_iter()
        .filter(|key| key.path.starts_with(prefix))
        .collect();
    if keys.is_empty() {
        return Err(Failure::new(
            Exit::Usage,
            format!("no key begins with '{prefix}'; `alpha-arena config keys` lists all"),
        ));
    }
    if json {
        let rows: Vec<Value> = keys
            .iter()
            .map(|key| json!({"key": key.path, "default": key.default, "accepts": key.accepts, "meaning": key.meaning}))
            .collect();
        output::say(json!({"schema": "config keys/1", "rows": rows}));
        return Ok(Exit::Ok);
    }
    let mut table = output::sheet(&["key", "default", "accepts", "meaning"]);
    for key in keys {
        table.add_row([
            key.path,
            key.default.unwrap_or_default(),
            key.accepts,
            key.meaning,
        ]);
    }
    output::say(table);
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
