//! `strategies`: what can be named in the configuration.

use serde_json::json;

use super::{Failure, output};
use crate::exit::Exit;
use crate::strategy;

pub(super) fn run(as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        let rows: Vec<_> = strategy::all()
            .iter()
            .map(|spec| {
                let params: Vec<_> = spec
                    .params
                    .iter()
                    .map(
                        |p| json!({"name": p.name, "default": p.default, "min": p.min, "max": p.max, "about": p.about}),
                    )
                    .collect();
                json!({"name": spec.name, "about": spec.about, "warmup_bars": warmup(spec), "params": params})
            })
            .collect();
        output::say(json!({"schema": "strategies/1", "rows": rows}));
        return Ok(Exit::Ok);
    }
    for spec in strategy::all() {
        output::say(format_args!(
            "{}\n  {}\n  warm-up at the defaults: {} bars",
            spec.name,
            spec.about,
            warmup(spec)
        ));
        let mut table = output::sheet(&["parameter", "default", "min", "max", ""]);
        for p in spec.params {
            table.add_row([
                p.name,
                &p.default.to_string(),
                &p.min.to_string(),
                &p.max.to_string(),
                p.about,
            ]);
        }
        output::say(format_args!("{table}\n"));
    }
    Ok(Exit::Ok)
}

/// Bars it needs before it speaks, every parameter at its default.
fn warmup(spec: &strategy::StrategySpec) -> usize {
    (spec.build)(&spec.defaults(), false).warmup()
}
