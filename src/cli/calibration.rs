//! `calibration`: how often what a model believes comes true.

use std::collections::BTreeMap;

use clap::Args;
use rust_decimal::Decimal;
use serde_json::json;

use super::list::reader;
use super::{Failure, Global, output};
use crate::domain::{Bar, Ms};
use crate::exit::Exit;
use crate::llm::calibration::{Calibration, Ending, calibration, ending};
use crate::llm::plan::TradePlan;
use crate::runtime::wall_ms;
use crate::store::Research;

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena calibration\n  alpha-arena calibration --contender llama --json\n\nAn idea counts as come true if its target was touched before its stop and within its horizon, by the closed bars kept in\nresearch.db. Both in one bar, or neither in time, count against it."
)]
pub(super) struct CalibrationArgs {
    /// Only this contender's ideas.
    #[arg(long, value_name = "ID")]
    contender: Option<String>,
    /// JSON for scripts.
    #[arg(long)]
    json: bool,
}

/// Ideas of one model.
#[derive(Default)]
struct Ideas {
    scored: Vec<(Decimal, Ending)>,
    /// Their horizon is not over, or the bars are not there.
    open: usize,
    /// Ideas that named no target, horizon or probability.
    unsaid: usize,
}

pub(super) fn run(global: &Global, args: &CalibrationArgs) -> Result<Exit, Failure> {
    let config = global.load(None)?;
    let research = Research::open(&global.state_dir(&config), wall_ms())?;
    let mut models: BTreeMap<String, Ideas> = BTreeMap::new();
    for (model, contender, plan) in reader(global)?.ideas()? {
        if args
            .contender
            .as_ref()
            .is_some_and(|only| *only != contender)
        {
            continue;
        }
        let ideas = models.entry(model).or_default();
        let plan: TradePlan = serde_json::from_str(&plan).map_err(|error| {
            Failure::new(
                Exit::Data,
                format!("a plan in the database cannot be read: {error}"),
            )
        })?;
        let (Some(minutes), Some(p), Some(_)) =
            (plan.horizon_min, plan.p_target_first, plan.target)
        else {
            ideas.unsaid += 1;
            continue;
        };
        match scored(&research, &plan, minutes)? {
            Some(found) => ideas.scored.push((p, found)),
            None => ideas.open += 1,
        }
    }
    let told: Vec<(String, Ideas, Calibration)> = models
        .into_iter()
        .map(|(model, ideas)| {
            let found = calibration(&ideas.scored);
            (model, ideas, found)
        })
        .collect();
    if args.json {
        let rows: Vec<_> = told
            .iter()
            .map(|(model, ideas, found)| json!({"model": model, "not_over": ideas.open, "unsaid": ideas.unsaid, "calibration": found}))
            .collect();
        output::say(json!({"schema": "calibration/1", "as_of_ms": wall_ms(), "models": rows}));
        return Ok(Exit::Ok);
    }
    if told.is_empty() {
        output::say("no idea of a model has been acted on yet");
    }
    told.iter()
        .for_each(|(model, ideas, found)| page(model, ideas, found));
    Ok(Exit::Ok)
}

/// Returns the outcome of an idea, by the shortest bars available.
fn scored(research: &Research, plan: &TradePlan, minutes: u32) -> Result<Option<Ending>, Failure> {
    let until = plan.opened.plus(Ms(i64::from(minutes) * 60_000));
    for bar in Bar::ALL {
        if research.find_series(&plan.inst, bar)?.is_none() {
            continue;
        }
        let series = research.history(
            &plan.inst,
            bar,
            plan.opened,
            until.plus(Ms(2 * bar.span().0)),
        )?;
        if let Some(found) = series.and_then(|series| ending(plan, bar, series.candles())) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Fewer ideas than this say next to nothing.
const FEW: u32 = 50;

fn page(model: &str, ideas: &Ideas, found: &Calibration) {
    let shown = |value: Option<Decimal>| {
        value.map_or_else(
            || "-".to_owned(),
            |value| value.round_dp(4).normalize().to_string(),
        )
    };
    output::say(format_args!(
        "{model}: {} ideas scored ({} came true, {} were stopped first, {} did neither in time), {} not over yet, {} without a probability",
        found.ideas, found.target_first, found.stop_first, found.neither, ideas.open, ideas.unsaid
    ));
    let mut table = output::sheet(&[
        "it says",
        "ideas",
        "mean said",
        "came true",
        "95 % interval",
    ]);
    for bin in &found.bins {
        let percent = |value: Decimal| {
            format!(
                "{} %",
                (value * Decimal::ONE_HUNDRED).round_dp(1).normalize()
            )
        };
        table.add_row([
            format!("{} to {}", percent(bin.from), percent(bin.to)),
            bin.ideas.to_string(),
            percent(bin.said),
            percent(bin.came),
            format!("{} to {}", percent(bin.least), percent(bin.most)),
        ]);
    }
    if !found.bins.is_empty() {
        output::say(table);
    }
    output::say(format_args!(
        "Brier score {} (the base rate alone: {}), skill {}",
        shown(found.brier),
        shown(found.reference),
        shown(found.skill)
    ));
    if found.ideas < FEW {
        output::say(format_args!(
            "{} ideas are too few to judge by; below {FEW} an interval is wider than what could be learnt",
            found.ideas
        ));
    }
}
