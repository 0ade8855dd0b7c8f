//! `data list`: what is stored.

use serde_json::json;

use super::super::{Failure, Global, output};
use crate::exit::Exit;
use crate::runtime::wall_ms;

pub(super) fn run(global: &Global, json_wanted: bool) -> Result<Exit, Failure> {
    let all = super::research(global)?.all_series()?;
    if json_wanted {
        let rows: Vec<_> = all
            .iter()
            .map(|s| {
                json!({"inst": s.inst, "bar": s.bar, "rows": s.rows, "first_ms": s.first.map(|t| t.0),
                    "last_ms": s.last.map(|t| t.0), "missing": s.missing, "tick": s.tick, "lot": s.lot})
            })
            .collect();
        output::say(json!({"schema": "data list/1", "as_of_ms": wall_ms(), "rows": rows}));
        return Ok(Exit::Ok);
    }
    if all.is_empty() {
        output::say("no series is stored yet; see `alpha-arena data download --help`");
        return Ok(Exit::Ok);
    }
    let mut table = output::sheet(&[
        "inst", "bar", "rows", "first", "last", "missing", "tick", "lot",
    ]);
    for s in all {
        let at = |t: Option<crate::domain::Ms>| t.map_or_else(String::new, |t| t.iso());
        table.add_row([
            s.inst,
            s.bar,
            s.rows.to_string(),
            at(s.first),
            at(s.last),
            s.missing.to_string(),
            s.tick,
            s.lot,
        ]);
    }
    output::say(table);
    Ok(Exit::Ok)
}
