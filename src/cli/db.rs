//! `db`: the record as a whole.

use clap::{Args, Subcommand};
use serde_json::json;

use super::{Failure, Global, output};
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::{StateDir, adopt};

#[derive(Clone, Debug, Subcommand)]
pub(super) enum DbVerb {
    /// Take what is in the state directory as the record from now on, after a loss; trading stays
    /// halted until `resume`.
    Adopt(AdoptArgs),
}

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Example:\n  alpha-arena db adopt --reason 'disk lost, database of last night put back'\n\nA state directory remembers beside its database how far that has come and what is latched. A database that is missing, empty,\nolder or another one is therefore refused at a start (exit code 65). If the right one cannot be put back, this says that the one\nthat is there, or the new one that the next start makes, counts. Orders get names that were never used, what the venue holds\nis compared at the start as always, and trading is halted until `alpha-arena resume system/kill`.\n\nExit codes: 0 adopted; 74 the directory cannot be written; 75 a daemon runs here."
)]
pub(super) struct AdoptArgs {
    /// Why; it is kept with the halt.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// JSON for scripts instead of words for people.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(global: &Global, verb: &DbVerb) -> Result<Exit, Failure> {
    let DbVerb::Adopt(args) = verb;
    let dir = global.state_dir_anyhow()?;
    let _held = StateDir::hold(&dir)?;
    let adopted = adopt(&dir, &args.reason)?;
    if args.json {
        let latched: Vec<_> = adopted
            .latched
            .iter()
            .map(|l| json!({"name": l.name, "why": l.why}))
            .collect();
        output::say(
            json!({"schema": "db-adopt/1", "as_of_ms": wall_ms(), "database": adopted.database, "latched": latched}),
        );
        return Ok(Exit::Ok);
    }
    match adopted.database {
        true => output::say("adopted: the database that is here is the record from now on"),
        false => output::say("adopted: there is no database here; the next start makes a new one"),
    }
    for latch in &adopted.latched {
        output::say(format_args!(
            "was latched before: {} ({})",
            latch.name, latch.why
        ));
    }
    output::say(
        "trading is halted at the next start; `alpha-arena resume system/kill` ends that while the daemon is stopped",
    );
    Ok(Exit::Ok)
}
