//! `backtest lookahead` and `backtest warmup`.

use clap::Args;
use serde_json::json;

use super::super::output::{say, sheet};
use super::super::{Failure, Global};
use super::contender::{params, spec};
use super::market::{CostArgs, HistoryArgs, market};
use crate::backtest::checks::Subject;
use crate::domain::Ms;
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::strategy::{self, StrategySpec};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena backtest lookahead --strategy all --inst BTC-USDT-SWAP\n  alpha-arena backtest warmup --strategy ema_cross -p slow=200 --candles btc-1m.csv.gz\n\nExit codes: 0 nothing found, 65 something was."
)]
pub(in crate::cli) struct HonestyArgs {
    /// A strategy, or all of them.
    #[arg(long, value_name = "NAME", default_value = "all")]
    strategy: String,
    /// A parameter of it, e.g. fast=20. May be repeated.
    #[arg(long = "param", short = 'p', value_name = "NAME=VALUE")]
    params: Vec<String>,
    #[command(flatten)]
    history: HistoryArgs,
    /// Number of histories that are cut off, or begun later.
    #[arg(long, value_name = "N", default_value_t = 20)]
    cuts: usize,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

fn specs(args: &HonestyArgs) -> Result<Vec<&'static StrategySpec>, Failure> {
    match args.strategy.as_str() {
        "all" if !args.params.is_empty() => Err(Failure::new(
            Exit::Usage,
            "--param is for one strategy; name it with --strategy",
        )),
        "all" => Ok(strategy::all().to_vec()),
        name => Ok(vec![spec(name)?]),
    }
}

pub(super) fn lookahead(global: &Global, args: &HonestyArgs) -> Result<Exit, Failure> {
    let of = market(
        global,
        &global.load(None)?,
        &args.history,
        &CostArgs::default(),
    )?;
    let (mut table, mut rows) = (
        sheet(&["strategy", "cuts", "compared", "differ", "first"]),
        Vec::new(),
    );
    let (mut clean, mut checked) = (true, true);
    for spec in specs(args)? {
        let params = params(spec, &args.params)?;
        let subject = Subject {
            spec,
            params: &params,
            long_only: !of.is_swap(),
        };
        let found = subject.lookahead(&of.columns, args.cuts.clamp(1, 10_000));
        clean &= found.differ.is_empty();
        checked &= found.compared > 0;
        let first = found
            .differ
            .first()
            .map(|index| Ms(of.columns.ts[*index]).iso());
        rows.push(json!({"strategy": spec.name, "params": params, "cuts": found.cuts, "compared": found.compared,
            "differ": found.differ.len(), "first": first}));
        table.add_row([
            spec.name.to_owned(),
            found.cuts.to_string(),
            found.compared.to_string(),
            found.differ.len().to_string(),
            first.unwrap_or_default(),
        ]);
    }
    if args.json {
        say(
            json!({"schema": "backtest lookahead/1", "as_of_ms": wall_ms(), "rows": rows, "clean": clean, "checked": checked}),
        );
    } else {
        say(table);
        say(if clean {
            "nothing that was said depends on what came later"
        } else {
            "what differs was said with knowledge of the future"
        });
    }
    if !checked {
        crate::telemetry::tell(format_args!(
            "alpha-arena: where nothing was compared nothing was checked: the history is too short for the warm-up"
        ));
    }
    Ok(if clean && checked {
        Exit::Ok
    } else {
        Exit::Data
    })
}

pub(super) fn warmup(global: &Global, args: &HonestyArgs) -> Result<Exit, Failure> {
    let of = market(
        global,
        &global.load(None)?,
        &args.history,
        &CostArgs::default(),
    )?;
    let heads = [
        "strategy",
        "warm-up",
        "beginnings",
        "compared",
        "differ",
        "last after",
        "silent",
    ];
    let (mut table, mut rows, mut clean, mut checked) = (sheet(&heads), Vec::new(), true, true);
    for spec in specs(args)? {
        let params = params(spec, &args.params)?;
        let subject = Subject {
            spec,
            params: &params,
            long_only: !of.is_swap(),
        };
        let found = subject.warmup(&of.columns, args.cuts.clamp(1, 10_000));
        clean &= found.differ == 0;
        checked &= found.compared > 0;
        rows.push(json!({"strategy": spec.name, "params": params, "found": found}));
        table.add_row([
            spec.name.to_owned(),
            found.declared.to_string(),
            found.starts.to_string(),
            found.compared.to_string(),
            found.differ.to_string(),
            found
                .longest
                .map_or_else(String::new, |bars| format!("{bars} bars")),
            found.silent.to_string(),
        ]);
    }
    if args.json {
        say(
            json!({"schema": "backtest warmup/1", "as_of_ms": wall_ms(), "rows": rows, "clean": clean, "checked": checked}),
        );
    } else {
        say(table);
        say(if clean {
            "after its warm-up every strategy says what it says with all of history behind it, or nothing yet"
        } else {
            "where it differs the declared warm-up is too short"
        });
    }
    if !checked {
        crate::telemetry::tell(format_args!(
            "alpha-arena: where nothing was compared nothing was checked: the history is too short for the warm-up"
        ));
    }
    Ok(if clean && checked {
        Exit::Ok
    } else {
        Exit::Data
    })
}
