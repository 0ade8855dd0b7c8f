//! `status`: what the running daemon is doing.

use serde_json::Value;

use super::{Failure, Global, output};
use crate::exit::Exit;
use crate::ops::control::ControlClient;
use crate::store::StateDir;

/// The daemon's answer, if one runs on this state directory.
pub(super) async fn ask(global: &Global) -> Result<Option<Value>, Failure> {
    let config = global.load(None)?;
    let socket = StateDir::socket(&global.state_dir(&config));
    match ControlClient::of(&socket) {
        Some(client) => Ok(client.status().await),
        None => Ok(None),
    }
}

pub(super) async fn run(global: &Global, json: bool) -> Result<Exit, Failure> {
    let Some(status) = ask(global).await? else {
        let message = "no daemon answers on this state directory's control socket; `alpha-arena health` reads the database without one";
        return Err(Failure::new(Exit::Unavailable, message));
    };
    if json {
        output::say(status);
        return Ok(Exit::Ok);
    }
    let mut table = output::sheet(&["", ""]);
    let text = |name: &str| match &status[name] {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    for (label, name) in [
        ("mode", "mode"),
        ("account", "uid"),
        ("state directory", "state_dir"),
        ("pid", "pid"),
        ("uptime (s)", "uptime_s"),
        ("trading state", "trading_state"),
        ("", "trading_state_why"),
        ("trading enabled", "trading_enabled"),
        ("equity (USD)", "equity"),
        ("account read (ms ago)", "account_age_ms"),
        ("open orders", "open_orders"),
        ("unknown orders", "unknown_orders"),
    ] {
        let value = text(name);
        if !value.is_empty() {
            table.add_row([label, &value]);
        }
    }
    for row in status["restrictions"].as_array().into_iter().flatten() {
        let text = |name: &str| row[name].as_str().unwrap_or("").to_owned();
        table.add_row([
            text("restriction"),
            format!("{}: {}; ends {}", text("state"), text("why"), text("ends")),
        ]);
    }
    for (inst, shield) in status["protection"].as_object().into_iter().flatten() {
        let text = |name: &str| shield[name].as_str().unwrap_or("?").to_owned();
        let told = format!(
            "{} of {} covered, {} ms without in all",
            text("covered"),
            text("needed"),
            shield["total_ms"]
        );
        table.add_row([format!("stops {inst}"), told]);
    }
    for feed in status["feeds"].as_array().into_iter().flatten() {
        let label = format!("feed {}", feed["inst"].as_str().unwrap_or("?"));
        table.add_row([label, format!("quote {} ms old", feed["quote_age_ms"])]);
    }
    for actor in status["actors"].as_array().into_iter().flatten() {
        let label = format!("actor {}", actor["actor"].as_str().unwrap_or("?"));
        table.add_row([
            label,
            format!(
                "{} ms ago, {} restarts",
                actor["beat_age_ms"], actor["restarts"]
            ),
        ]);
    }
    output::say(table);
    Ok(Exit::Ok)
}
