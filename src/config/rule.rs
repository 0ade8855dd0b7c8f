//! A rule strategy by its name, with its parameters.

use std::collections::BTreeMap;

use super::reader::Section;
use crate::strategy::{self, Params, StrategySpec};

/// A strategy by its name, and its parameters.
pub(super) fn read_rule(s: &mut Section<'_>) -> Option<(&'static StrategySpec, Params)> {
    let name = s.text("strategy");
    let spec = strategy::find(&name);
    if spec.is_none() {
        let all: Vec<&str> = strategy::all().iter().map(|spec| spec.name).collect();
        s.problem(
            "strategy",
            format!("no strategy '{name}'; there are: {}", all.join(", ")),
        );
    }
    let params = match spec {
        Some(spec) => s.table("params", |s| {
            let mut params = BTreeMap::new();
            for p in spec.params {
                let given = s.take(p.name);
                let value = if given.is_null() {
                    Some(p.default)
                } else {
                    given.as_f64().or_else(|| given.as_str()?.parse().ok())
                };
                match value {
                    Some(value) if value.is_finite() && value >= p.min && value <= p.max => {
                        params.insert(p.name.to_owned(), value);
                    }
                    _ => s.problem(
                        p.name,
                        format!("must be between {} and {}, is {given}", p.min, p.max),
                    ),
                }
            }
            params
        }),
        None => {
            s.take("params");
            BTreeMap::new()
        }
    };
    if let (Some(spec), true) = (spec, !params.is_empty())
        && let Err(why) = (spec.validate)(&params)
    {
        s.problem("params", why);
    }
    Some((spec?, params))
}
