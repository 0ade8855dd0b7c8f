//! `tape ls`.

use serde_json::json;

use super::super::{Failure, Global, output};
use crate::domain::Ms;
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::tape::{self, TapeVerdict};

pub(super) fn run(global: &Global, json_wanted: bool) -> Result<Exit, Failure> {
    let mut rows = Vec::new();
    for path in super::chosen(global, &[])? {
        let size = path.metadata().map_or(0, |m| m.len());
        // One bad segment does not hide the others.
        let verdict = tape::verify(&path).unwrap_or_else(|error| TapeVerdict {
            lines: 0,
            vouched: 0,
            lost: 0,
            first: None,
            last: None,
            closed: false,
            wrong: Some(error.to_string()),
        });
        rows.push((path, size, verdict));
    }
    if json_wanted {
        let rows: Vec<_> = rows
            .iter()
            .map(|(path, size, v)| {
                json!({"path": path, "bytes": size, "messages": v.lines, "first_ms": v.first.map(|t| t.0),
                    "last_ms": v.last.map(|t| t.0), "lost": v.lost, "closed": v.closed, "wrong": v.wrong})
            })
            .collect();
        output::say(json!({"schema": "tape ls/1", "as_of_ms": wall_ms(), "rows": rows}));
        return Ok(Exit::Ok);
    }
    let mut table = output::sheet(&[
        "segment", "KiB", "messages", "first", "last", "lost", "closed",
    ]);
    let at = |t: Option<Ms>| t.map_or_else(String::new, |t| t.iso());
    for (path, size, v) in rows {
        table.add_row([
            path.file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            (size / 1024).to_string(),
            v.lines.to_string(),
            at(v.first),
            at(v.last),
            v.lost.to_string(),
            match (&v.wrong, v.closed) {
                (Some(_), _) => "BROKEN".into(),
                (None, true) => "yes".into(),
                (None, false) => "no".into(),
            },
        ]);
    }
    output::say(table);
    Ok(Exit::Ok)
}
