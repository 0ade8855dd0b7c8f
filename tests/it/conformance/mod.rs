//! Conformance of the exchange with the captured venue, and of the client with what was captured.

mod client;
mod served;

use std::path::PathBuf;

use serde_json::Value;

/// The captured messages, where they are at hand.
fn fixtures() -> Option<PathBuf> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/okx/fixtures");
    if dir.join("INDEX.md").exists() {
        return Some(dir);
    }
    println!("skipped: the captured messages (../shared/okx/fixtures) are not here");
    None
}

/// Data rows of a file, whatever they are wrapped in: an envelope, a frame, frames line by line, or
/// nothing.
fn rows(text: &str, by_line: bool) -> Vec<Value> {
    if by_line {
        return text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .flat_map(|line| rows(line, false))
            .collect();
    }
    let whole: Value = serde_json::from_str(text).expect("a fixture is JSON");
    match whole {
        Value::Object(ref fields) if fields.contains_key("data") => {
            whole["data"].as_array().cloned().unwrap_or_default()
        }
        Value::Array(frames) => frames
            .into_iter()
            .flat_map(|frame| match frame["data"].as_array() {
                Some(rows) => rows.clone(),
                None => vec![frame],
            })
            .collect(),
        other => vec![other],
    }
}

/// (file, endpoint) of each line of the fixtures' index.
fn index(dir: &std::path::Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(dir.join("INDEX.md")).unwrap();
    text.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let file = cells
                .get(1)
                .filter(|file| file.ends_with(".json") || file.ends_with(".jsonl"))?;
            Some(((*file).to_owned(), (*cells.get(2)?).to_owned()))
        })
        .collect()
}
