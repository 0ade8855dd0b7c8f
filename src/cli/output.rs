//! Tables for people, JSON for scripts.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table as Drawn};
use serde_json::{Map, Value, json};

use crate::domain::Ms;
use crate::store::Table;

/// First error that kept output from being printed.
static FAILED: Mutex<Option<std::io::Error>> = Mutex::new(None);

/// Prints a line. What cannot be written (a full disk, a reader that has gone) is remembered, and
/// is how the process ends: see [`failure`].
pub(super) fn say(line: impl std::fmt::Display) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        FAILED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }
}

/// Why not everything was printed, if something was not.
pub(super) fn failure() -> Option<std::io::Error> {
    FAILED.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Prints rows as a table, or as `{"schema", "as_of_ms", "rows": […]}`.
pub(super) fn print(rows: &Table, verb: &str, json_wanted: bool, as_of: Ms) {
    if json_wanted {
        say(json!({"schema": format!("{verb}/1"), "as_of_ms": as_of.0, "rows": objects(rows)}));
        return;
    }
    if rows.rows.is_empty() {
        say(format_args!("no {verb} yet"));
        return;
    }
    table(rows);
}

/// Rows as JSON objects.
pub(super) fn objects(rows: &Table) -> Value {
    let object = |row: &Vec<Value>| {
        rows.columns
            .iter()
            .cloned()
            .zip(row.iter().cloned())
            .collect::<Map<_, _>>()
    };
    rows.rows
        .iter()
        .map(|row| Value::Object(object(row)))
        .collect()
}

/// Prints rows as a table.
pub(super) fn table(table: &Table) {
    let heads: Vec<String> = table
        .columns
        .iter()
        .map(|c| c.trim_end_matches("_ms").replace('_', " "))
        .collect();
    let mut drawn = sheet(&heads);
    for row in &table.rows {
        let cells = row
            .iter()
            .zip(&table.columns)
            .map(|(value, column)| shown(column, value));
        drawn.add_row(cells.collect::<Vec<_>>());
    }
    for (index, column) in table.columns.iter().enumerate() {
        let text = [
            "contender",
            "inst",
            "side",
            "type",
            "state",
            "reason",
            "allocation",
            "ccy",
            "purpose",
        ];
        if !text.contains(&column.as_str()) && !column.ends_with("_id") && !column.ends_with("_ms")
        {
            drawn
                .column_mut(index)
                .expect("one per column")
                .set_cell_alignment(CellAlignment::Right);
        }
    }
    say(drawn);
}

/// An empty table with these heads.
pub(super) fn sheet(heads: &[impl AsRef<str>]) -> Drawn {
    let mut drawn = Drawn::new();
    drawn
        .load_preset(UTF8_FULL_CONDENSED)
        .set_header(heads.iter().map(AsRef::as_ref));
    let arrangement = if std::io::stdout().is_terminal() {
        ContentArrangement::Dynamic
    } else {
        ContentArrangement::Disabled
    };
    drawn.set_content_arrangement(arrangement);
    drawn
}

fn shown(column: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Number(n) if column.ends_with("_ms") => {
            n.as_i64().map_or(n.to_string(), |ms| Ms(ms).iso())
        }
        Value::String(text) if column == "run_id" => text
            .get(text.len().saturating_sub(8)..)
            .unwrap_or(text)
            .to_owned(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// Text that others wrote, without what a terminal would act on: control characters are shown by
/// their names, and so is what turns the direction of writing.
pub(super) fn plain(text: &str) -> String {
    let acts = |c: char| {
        c.is_control() && c != '\n' && c != '\t'
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .flat_map(|c| {
            if acts(c) {
                c.escape_unicode().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Escape sequences, carriage returns and bidi overrides are shown as text; newlines, tabs and
    /// other Unicode stay.
    #[test]
    fn terminal_controls_are_escaped() {
        assert_eq!(
            plain("a\x1b]0;owned\x07\r\nb\tc"),
            "a\\u{1b}]0;owned\\u{7}\\u{d}\nb\tc"
        );
        assert_eq!(plain("\u{202e}txt"), "\\u{202e}txt");
        assert_eq!(plain("häuser — 日本"), "häuser — 日本");
    }
}
