//! `orders`, `fills`, `positions`, `balances`, `decisions`: rows of the database.

use clap::Args;

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
    limit: usize,
    /// JSON for scripts instead of a table for people.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Args)]
#[command(after_help = "Example:\n  alpha-arena orders --open")]
pub(super) struct OrdersArgs {
    /// Only those that may be alive at the venue.
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    list: ListArgs,
}

/// A reader of the state directory, or why there is none.
pub(super) fn reader(global: &Global) -> Result<Reader, Failure> {
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    if !StateDir::trading_db(&dir).exists() {
        let message = format!("there is no database in {}: nothing has run there yet (see --state-dir)", dir.display());
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
    show(global, "orders", args.list.json, |r| r.orders(args.open, args.list.limit))
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

pub(super) fn decisions(global: &Global, args: &ListArgs) -> Result<Exit, Failure> {
    show(global, "decisions", args.json, |r| r.decisions(args.limit))
}
