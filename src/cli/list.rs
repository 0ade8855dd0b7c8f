//! `orders`, `fills`, `positions`, `balances`, `decisions`: rows of the database.

use clap::{Args, Subcommand};

use super::{Failure, Global, output};
use crate::domain::Ms;
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::{Reader, StateDir, StoreError, Table};

#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Example:\n  alpha-arena fills --limit 5 --json")]
pub(super) struct ListArgs {
    /// At most this many rows.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(super) limit: usize,
    /// JSON for scripts instead of a table for people.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena orders --open\n  alpha-arena orders show asXYZ…   one order from intent to end",
    args_conflicts_with_subcommands = true
)]
pub(super) struct OrdersArgs {
    #[command(subcommand)]
    verb: Option<OrdersVerb>,
    /// Only those that may be alive at the venue.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum OrdersVerb {
    /// One order: its transitions with times, causes and evidence, its fills and its stop.
    Show {
        /// Our id or the venue's; the first six letters of ours are enough.
        id: String,
        /// JSON for scripts instead of tables for people.
        #[arg(long)]
        json: bool,
    },
}

/// A reader of the state directory, or why there is none.
pub(super) fn reader(global: &Global) -> Result<Reader, Failure> {
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    if !StateDir::trading_db(&dir).exists() {
        let message = format!(
            "there is no database in {}: nothing has run there yet (see --state-dir)",
            dir.display()
        );
        return Err(Failure::new(Exit::Unavailable, message));
    }
    Ok(Reader::open(&dir)?)
}

fn show(
    global: &Global,
    verb: &str,
    json: bool,
    read: impl FnOnce(&Reader) -> Result<Table, StoreError>,
) -> Result<Exit, Failure> {
    let table = read(&reader(global)?)?;
    output::print(&table, verb, json, Ms(wall_ms()));
    Ok(Exit::Ok)
}

pub(super) fn orders(global: &Global, args: &OrdersArgs) -> Result<Exit, Failure> {
    match &args.verb {
        Some(OrdersVerb::Show { id, json }) => show_order(global, id, *json),
        None => show(global, "orders", args.list.json, |r| {
            r.orders(args.open, args.list.limit)
        }),
    }
}

fn show_order(global: &Global, id: &str, json: bool) -> Result<Exit, Failure> {
    let Some(story) = reader(global)?.order(id)? else {
        let why = format!(
            "there is no order '{id}', or more than one begins so; see `alpha-arena orders`"
        );
        return Err(Failure::new(Exit::Usage, why));
    };
    if json {
        output::say(
            serde_json::json!({"schema": "orders show/1", "as_of_ms": wall_ms(), "order": output::objects(&story.order)[0],
            "events": output::objects(&story.events), "fills": output::objects(&story.fills),
            "stops": output::objects(&story.stops)}),
        );
        return Ok(Exit::Ok);
    }
    let mut facts = output::sheet(&["order", ""]);
    for (name, value) in story.order.columns.iter().zip(&story.order.rows[0]) {
        if !value.is_null() {
            let value = match value
                .as_i64()
                .filter(|_| matches!(name.as_str(), "created_ms" | "expires_ms"))
            {
                Some(ms) => Ms(ms).iso(),
                None => value
                    .as_str()
                    .map_or_else(|| value.to_string(), str::to_owned),
            };
            facts.add_row([name.trim_end_matches("_ms").replace('_', " "), value]);
        }
    }
    output::say(facts);
    output::say("transitions");
    output::table(&story.events);
    for (title, rows) in [("fills", &story.fills), ("its stop", &story.stops)] {
        if !rows.rows.is_empty() {
            output::say(title);
            output::table(rows);
        }
    }
    Ok(Exit::Ok)
}

pub(super) fn fills(global: &Global, args: &ListArgs) -> Result<Exit, Failure> {
    show(global, "fills", args.json, |r| r.fills(args.limit))
}

pub(super) fn positions(global: &Global, json: bool) -> Result<Exit, Failure> {
    show(global, "positions", json, Reader::positions)
}

pub(super) fn balances(global: &Global, json: bool) -> Result<Exit, Failure> {
    show(global, "balances", json, Reader::balances)
}
