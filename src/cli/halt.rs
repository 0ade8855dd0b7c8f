//! `halt`, `resume`: the kill switch, and the only way back.

use clap::Args;
use serde_json::{Value, json};

use super::{Failure, Global, output};
use crate::daemon::resume as release;
use crate::exit::Exit;
use crate::ops::control::ControlClient;
use crate::ops::killfile;
use crate::runtime::wall_ms;
use crate::store::StateDir;

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena halt --reason 'odd fills'\n  alpha-arena halt --flatten\n\nStops trading at once, cancels every order of ours and, if asked, makes every position flat; verifies that against the\nvenue and says what is left. It stays halted over restarts until `alpha-arena resume` is said while the daemon is stopped.\nWithout a daemon the file HALT is left in the state directory: a daemon that runs but does not answer finds it within a\nsecond, another at its start. SIGUSR1 halts too.\n\nWithout --flatten nothing is closed. With it exit code 0 means that the account is flat as the venue says: no position in any\ninstrument, ours or not (--ours-only: of ours), no coins in a sleeve.\n\nExit codes: 0 halted and verified; 1 something is left, or nobody answered and the file was left; 69 nothing may leave\n(trading is off): halted, but nothing was cancelled."
)]
pub(super) struct HaltArgs {
    /// Make every position flat, too.
    #[arg(long)]
    flatten: bool,
    /// With --flatten: what is not ours may stand, and is no reason for exit code 1.
    #[arg(long, requires = "flatten", conflicts_with = "everything")]
    ours_only: bool,
    /// With --flatten: close what is not ours in our instruments, too.
    #[arg(long, requires = "flatten")]
    everything: bool,
    /// Why; it is kept with the halt.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "asked for on the command line"
    )]
    reason: String,
    /// JSON for scripts instead of words for people.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena resume                        what is restricted, and by what\n  alpha-arena resume system/kill\n  alpha-arena resume contender:trend/repeats --reason 'checked the feed'\n  alpha-arena resume --all\n\nThe daemon must be stopped: what may trade again is decided by a person and a start, never at run time. A released\ndrawdown is counted from the equity of now, a released daily loss for the rest of the day, repeats from zero.\n\nExit codes: 0 done, or nothing is restricted; 1 something still is; 64 there is no such restriction; 75 a daemon runs."
)]
pub(super) struct ResumeArgs {
    /// The restriction to end, as `resume` without one and `status` name it.
    #[arg(value_name = "RESTRICTION", conflicts_with = "all")]
    restriction: Option<String>,
    /// End all of them.
    #[arg(long)]
    all: bool,
    /// Why; it is kept.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "asked for on the command line"
    )]
    reason: String,
    /// JSON for scripts instead of words for people.
    #[arg(long)]
    json: bool,
}

pub(super) async fn halt(global: &Global, args: HaltArgs) -> Result<Exit, Failure> {
    // A configuration that has become wrong since must not stand in the way.
    let dir = global.state_dir_anyhow()?;
    let body = json!({"flatten": args.flatten, "ours_only": args.ours_only, "everything": args.everything,
        "why": args.reason, "who": "halt"});
    let answer = match ControlClient::of(&StateDir::socket(&dir)) {
        Some(client) => client.ask("halt", &body).await,
        None => None,
    };
    match answer.clone() {
        Some(Ok(report)) if report["latched"] == true => {
            let state = report["state"]
                .as_str()
                .unwrap_or("it did not answer in time")
                .to_owned();
            if args.json {
                output::say(
                    json!({"schema": "halt/1", "as_of_ms": wall_ms(), "done": false, "latched": true, "state": state}),
                );
            } else {
                output::say(format_args!("halted: latched by the file HALT ({state})"));
                output::say(
                    "nothing was cancelled or verified yet: look at `alpha-arena status` and at the venue's page",
                );
            }
            Ok(Exit::Warn)
        }
        Some(Ok(report)) => Ok(print_report("halt", report, args.json)),
        // It has heard, and nothing may leave.
        Some(Err((_, why))) if why.starts_with("halted") => {
            Err(Failure::new(Exit::Unavailable, why))
        }
        None | Some(Err(_)) => {
            killfile::leave(&dir, args.flatten, &args.reason).map_err(|error| {
                Failure::new(
                    Exit::Io,
                    format!("{}: {error}", killfile::path(&dir).display()),
                )
            })?;
            let file = killfile::path(&dir);
            if args.json {
                output::say(
                    json!({"schema": "halt/1", "as_of_ms": wall_ms(), "done": false, "file": file}),
                );
            } else {
                let heard = match &answer {
                    Some(Err((_, why))) => format!("the daemon could not do it ({why})"),
                    _ => "no daemon answered".to_owned(),
                };
                output::say(format_args!("{heard}; left {} for it", file.display()));
                output::say(
                    "nothing was cancelled or verified: look at the venue's page if positions are open",
                );
            }
            Ok(Exit::Warn)
        }
    }
}

/// Says what a close or a halt came to. Not done is exit code 1.
pub(super) fn print_report(verb: &str, mut report: Value, json_wanted: bool) -> Exit {
    let done = report["done"].as_bool().unwrap_or(false);
    let exit = if done { Exit::Ok } else { Exit::Warn };
    if json_wanted {
        report["schema"] = json!(format!("{verb}/1"));
        report["as_of_ms"] = json!(wall_ms());
        output::say(report);
        return exit;
    }
    let number = |name: &str| report[name].as_i64().unwrap_or(0);
    if verb == "halt" {
        output::say("halted; `alpha-arena resume` ends it while the daemon is stopped");
    }
    output::say(format_args!(
        "{} cancelled, {} closing orders, {} ms (run {})",
        number("cancelled"),
        number("closes"),
        number("took_ms"),
        report["run_id"].as_str().unwrap_or("?")
    ));
    let mut table = output::sheet(&["inst", "held", "whose", "still working", "tries", ""]);
    let left: Vec<&Value> = report["left"].as_array().into_iter().flatten().collect();
    for row in &left {
        let text = |name: &str| {
            row[name]
                .as_str()
                .map_or_else(|| row[name].to_string(), str::to_owned)
        };
        let working = row["working"].as_array().map_or(0, Vec::len).to_string();
        let whose = if row["ours"] == false {
            "not ours"
        } else {
            "ours"
        };
        table.add_row([
            text("inst"),
            text("held"),
            whose.to_owned(),
            working,
            text("tries"),
            text("why"),
        ]);
    }
    if !left.is_empty() {
        output::say(table);
    }
    if !done {
        output::say(
            "the account is not flat: what the table names stands; do it again, and look at the venue's own page",
        );
    }
    exit
}

pub(super) async fn resume(global: &Global, args: ResumeArgs) -> Result<Exit, Failure> {
    let dir = global.state_dir_anyhow()?;
    let wanted = match (&args.restriction, args.all) {
        (Some(id), _) => release::Wanted::Named(id.clone()),
        (None, true) => release::Wanted::All,
        (None, false) => release::Wanted::Nothing,
    };
    let found = release::resume(&dir, &wanted, &args.reason).await?;
    let open: Vec<Value> = found
        .left
        .iter()
        .map(|r| json!({"restriction": r.id(), "why": r.why}))
        .collect();
    let exit = if open.is_empty() {
        Exit::Ok
    } else {
        Exit::Warn
    };
    if args.json {
        let ended: Vec<String> = found.ended.iter().map(|r| r.id()).collect();
        output::say(
            json!({"schema": "resume/1", "as_of_ms": wall_ms(), "resumed": ended, "restricted": open,
            "halt_file_removed": found.file_removed}),
        );
        return Ok(exit);
    }
    for restriction in &found.ended {
        output::say(format_args!("resumed {}", restriction.id()));
    }
    if found.file_removed {
        output::say("the file HALT is gone");
    }
    for restriction in &found.left {
        let until = restriction.until.map_or("until resumed".to_owned(), |at| {
            format!("until {}", at.iso())
        });
        output::say(format_args!(
            "{}  {} {until}: {}",
            restriction.id(),
            restriction.state,
            restriction.why
        ));
    }
    if found.ended.is_empty() && found.left.is_empty() {
        output::say("nothing is restricted");
    }
    Ok(exit)
}
