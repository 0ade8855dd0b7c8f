//! `reconcile`, `close`, `cancel`: what a person does about orders and positions. The daemon does
//! it; without one there is nobody who may.
//!
//! A person's `close` is a decision like any other: a run with a snapshot, a decision, an
//! allocation of `_system`, and an order that carries a permit. Its fills are handed down to the
//! sleeves whose position they closed, as rows of their own.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::{Value, json};

use super::halt::print_report;
use super::list::reader;
use super::{Failure, Global, output};
use crate::domain::Ms;
use crate::exit::Exit;
use crate::ops::control::ControlClient;
use crate::runtime::wall_ms;
use crate::store::StateDir;

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena reconcile                                  what is halted, why, and what ends it\n  alpha-arena reconcile --accept position:BTC-USDT-SWAP  take the venue's position as it is\n\nExit codes: 0 done, or nothing is halted; 1 something is halted; 64 there is no such case; 69 no daemon runs here, or not now."
)]
pub(super) struct ReconcileArgs {
    /// Accept this case; what that means is in its cure.
    #[arg(long, value_name = "CASE")]
    accept: Option<String>,
    /// Compare orders, fills and the account with the venue now.
    #[arg(long)]
    now: bool,
    /// JSON for scripts instead of a table for people.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena close BTC-USDT-SWAP\n  alpha-arena close --all --json\n\nCancels what works there, waits until nothing does, reads the account, sends what makes it flat (reduce-only on swaps)\nand reads again, until the venue says flat; it may leave while trading is halted.\n\nExit codes: 0 flat, as the venue says; 1 something is left; 64 nothing named; 69 no daemon runs here, or not now."
)]
pub(super) struct CloseArgs {
    /// The instrument to make flat.
    #[arg(value_name = "INSTRUMENT", conflicts_with = "all")]
    inst: Option<String>,
    /// Every instrument that holds anything.
    #[arg(long)]
    all: bool,
    /// Positions that are not ours may stand, and are no reason for exit code 1.
    #[arg(long, conflicts_with = "everything")]
    ours_only: bool,
    /// Close what is not ours, too.
    #[arg(long)]
    everything: bool,
    /// JSON for scripts instead of a table for people.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena cancel asXY…            one order, by our id\n  alpha-arena cancel --inst BTC-USDT  all of ours in an instrument\n  alpha-arena cancel --all\n\nExit codes: 0 none is left; 1 some are; 64 no such order or instrument; 69 no daemon runs here, or not now."
)]
pub(super) struct CancelArgs {
    /// The order, by our id (see `orders --open`).
    #[arg(value_name = "ORDER")]
    order: Option<String>,
    /// All of ours in this instrument.
    #[arg(long, value_name = "INSTRUMENT", conflicts_with = "order")]
    inst: Option<String>,
    /// All of ours.
    #[arg(long, conflicts_with_all = ["order", "inst"])]
    all: bool,
    /// JSON for scripts instead of words for people.
    #[arg(long)]
    json: bool,
}

/// Time `cancel` waits for what it has begun.
const PATIENCE: Duration = Duration::from_secs(30);

async fn ask(global: &Global, what: &str, body: Value) -> Result<Value, Failure> {
    let config = global.load(None)?;
    let dir = global.state_dir(&config);
    let answer = match ControlClient::of(&StateDir::socket(&dir)) {
        Some(client) => client.ask(what, &body).await,
        None => None,
    };
    match answer {
        Some(Ok(reply)) => Ok(reply),
        Some(Err((unnamed, why))) => Err(Failure::new(
            if unnamed {
                Exit::Usage
            } else {
                Exit::Unavailable
            },
            why,
        )),
        None => {
            let why = format!(
                "no daemon runs on {}; start it (a start reconciles and stays up while halted), then ask again",
                dir.display()
            );
            Err(Failure::new(Exit::Unavailable, why))
        }
    }
}

pub(super) async fn reconcile(global: &Global, args: ReconcileArgs) -> Result<Exit, Failure> {
    let body = match &args.accept {
        Some(case) => json!({"accept": case}),
        None => json!({"compare": args.now}),
    };
    let mut reply = ask(global, "reconcile", body).await?;
    reply["schema"] = json!("reconcile/1");
    reply["as_of_ms"] = json!(wall_ms());
    let open = reply["halts"].as_array().map_or(0, Vec::len);
    let exit = if open == 0 { Exit::Ok } else { Exit::Warn };
    if args.json {
        output::say(reply);
        return Ok(exit);
    }
    if let Some(case) = reply["accepted"].as_str() {
        output::say(format_args!(
            "accepted {case} (run {})",
            reply["run_id"].as_str().unwrap_or("?")
        ));
        return Ok(Exit::Ok);
    }
    if open == 0 {
        output::say("nothing is halted");
        return Ok(Exit::Ok);
    }
    for case in reply["halts"].as_array().into_iter().flatten() {
        let text = |name: &str| case[name].as_str().unwrap_or("everything").to_owned();
        let since = case["opened_ms"]
            .as_i64()
            .map_or(String::new(), |ms| Ms(ms).iso());
        output::say(format_args!(
            "{}  ({} halted since {since})",
            text("case"),
            text("inst")
        ));
        output::say(format_args!("    {}", text("why")));
        output::say(format_args!("    {}\n", text("cure")));
    }
    Ok(exit)
}

pub(super) async fn close(global: &Global, args: CloseArgs) -> Result<Exit, Failure> {
    if args.inst.is_none() && !args.all {
        return Err(Failure::new(
            Exit::Usage,
            "name an instrument, or say --all",
        ));
    }
    let report = ask(
        global,
        "close",
        json!({"inst": args.inst, "ours_only": args.ours_only, "everything": args.everything}),
    )
    .await?;
    Ok(print_report("close", report, args.json))
}

pub(super) async fn cancel(global: &Global, args: CancelArgs) -> Result<Exit, Failure> {
    if args.order.is_none() && args.inst.is_none() && !args.all {
        return Err(Failure::new(
            Exit::Usage,
            "name an order or an instrument, or say --all",
        ));
    }
    let mut reply = ask(
        global,
        "cancel",
        json!({"order": args.order, "inst": args.inst}),
    )
    .await?;
    let asked: Vec<String> = reply["asked"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    let reader = reader(global)?;
    let began = Instant::now();
    let left = loop {
        let open = reader.open_order_ids()?;
        let left: Vec<&String> = asked.iter().filter(|id| open.contains(*id)).collect();
        if left.is_empty() || began.elapsed() > PATIENCE {
            break left.into_iter().cloned().collect::<Vec<_>>();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let exit = if left.is_empty() {
        Exit::Ok
    } else {
        Exit::Warn
    };
    if args.json {
        reply["left"] = json!(left);
        reply["schema"] = json!("cancel/1");
        reply["as_of_ms"] = json!(wall_ms());
        output::say(reply);
    } else if left.is_empty() {
        output::say(format_args!(
            "{} cancelled, or filled before it could be",
            asked.len()
        ));
    } else {
        output::say(format_args!("still open: {}", left.join(", ")));
    }
    Ok(exit)
}
