//! `sync-account`: read balances and positions now. Through the daemon if one runs; otherwise it
//! takes the state directory's lock and does it itself. A failed read leaves the rows as they are.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tracing::error;

use super::{Failure, Global, duration, output};
use crate::config::Config;
use crate::daemon::{StartError, open_store, reach};
use crate::domain::AccountView;
use crate::exit::Exit;
use crate::ops::control::ControlClient;
use crate::runtime::{Pulse, RunIds};
use crate::store::StateDir;
use crate::telemetry;
use crate::tracking::{BillBook, keep_account, sync_once};

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena sync-account\n  alpha-arena sync-account --every 60s\n  alpha-arena sync-account --json | jq .equity\n\nExit codes: 0 read and kept; 69 the venue cannot be reached; 75 another verb holds the state directory; 77 the key is refused."
)]
pub(super) struct SyncArgs {
    /// Again after each pause, until stopped: 60s, 15m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    every: Option<Duration>,
    /// JSON for scripts instead of a table for people.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(global: &Global, args: SyncArgs) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    telemetry::init();
    let Some(pause) = args.every else {
        print(&once(&config, &dir).await?, args.json);
        return Ok(Exit::Ok);
    };
    loop {
        match once(&config, &dir).await {
            Ok(account) => print(&account, args.json),
            // What a person must mend ends it; the rest may pass.
            Err(failure)
                if matches!(failure.exit, Exit::NoPermission | Exit::Config | Exit::Data) =>
            {
                return Err(failure);
            }
            Err(failure) => {
                error!(event = "sync_failed", why = %failure.message, "the account could not be read; the rows stay as they are")
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Ok),
        }
    }
}

async fn once(config: &Config, dir: &Path) -> Result<Value, Failure> {
    if let Some(client) = ControlClient::of(&StateDir::socket(dir))
        && let Some(answer) = client.sync().await
    {
        return match answer {
            Ok(body) => Ok(body["account"].clone()),
            Err(why) => Err(Failure::new(
                Exit::Unavailable,
                format!("the daemon could not read the account: {why}"),
            )),
        };
    }
    let account = alone(config, dir).await?;
    serde_json::to_value(&account).map_err(|error| Failure::new(Exit::Software, error.to_string()))
}

/// Without a daemon: hold the directory, read, write, let go.
async fn alone(config: &Config, dir: &Path) -> Result<AccountView, StartError> {
    let held = StateDir::hold(dir)?;
    let reached = reach(config, dir, &[], Duration::ZERO).await?;
    let mut store = open_store(config, &reached, dir, Pulse::default().beat("writer", true))?;
    let mut book = BillBook::of(&store.opened);
    let (view, bills) = sync_once(&reached.venue, &book).await?;
    let view = Arc::new(view);
    let run_id = RunIds::random().next(reached.clock.now());
    keep_account(
        &store.journal,
        run_id,
        "sync-account",
        &view,
        bills,
        &mut book,
    )
    .await?;
    drop(store.journal);
    store
        .guard
        .ended()
        .await
        .map_err(crate::runtime::StageError::Store)?;
    drop(held);
    Ok(Arc::unwrap_or_clone(view))
}

fn print(account: &Value, as_json: bool) {
    if as_json {
        let mut body = account.clone();
        body["schema"] = json!("sync-account/1");
        body["as_of_ms"] = account["as_of"].clone();
        output::say(body);
        return;
    }
    let text = |value: &Value| {
        value.as_str().map_or_else(
            || {
                if value.is_null() {
                    String::new()
                } else {
                    value.to_string()
                }
            },
            str::to_owned,
        )
    };
    output::say(format_args!(
        "equity {} USD, available {} USD",
        text(&account["equity"]),
        text(&account["available"])
    ));
    let mut balances = output::sheet(&["currency", "cash", "equity", "available", "frozen", "USD"]);
    for row in account["balances"]
        .as_object()
        .into_iter()
        .flat_map(|m| m.values())
    {
        balances.add_row(
            ["ccy", "cash", "equity", "available", "frozen", "equity_usd"]
                .map(|name| text(&row[name])),
        );
    }
    output::say(balances);
    let mut positions = output::sheet(&[
        "instrument",
        "size",
        "entry",
        "mark",
        "unrealised",
        "leverage",
    ]);
    let rows = account["positions"].as_object();
    for row in rows.into_iter().flat_map(|m| m.values()) {
        positions.add_row(
            ["inst", "qty", "average", "mark", "unrealised", "leverage"]
                .map(|name| text(&row[name])),
        );
    }
    match rows.is_none_or(serde_json::Map::is_empty) {
        true => output::say(format_args!("no swap positions")),
        false => output::say(positions),
    }
}
