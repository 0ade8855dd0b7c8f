//! `decisions`: what contenders wanted; `decisions show`: one run from what it saw to what was
//! filled.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::list::{ListArgs, reader};
use super::{Failure, Global, output};
use crate::domain::{Ms, RunId};
use crate::exit::Exit;
use crate::runtime::wall_ms;
use crate::store::{RunStory, Table};

#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  alpha-arena decisions\n  alpha-arena decisions show 0190…   one run: snapshot, prompt, reply, verdicts, orders, fills",
    args_conflicts_with_subcommands = true
)]
pub(super) struct DecisionsArgs {
    #[command(subcommand)]
    verb: Option<DecisionsVerb>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Clone, Debug, Subcommand)]
enum DecisionsVerb {
    /// One run: what was seen, asked and answered, what became of it.
    Show {
        /// The run's id.
        run_id: String,
        /// The whole prompt and snapshot instead of their outlines.
        #[arg(long)]
        full: bool,
        /// JSON for scripts instead of a page for people.
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(global: &Global, args: &DecisionsArgs) -> Result<Exit, Failure> {
    match &args.verb {
        None => {
            let table = reader(global)?.decisions(args.list.limit)?;
            output::print(&table, "decisions", args.list.json, Ms(wall_ms()));
            Ok(Exit::Ok)
        }
        Some(DecisionsVerb::Show { run_id, full, json }) => show(global, run_id, *full, *json),
    }
}

fn show(global: &Global, id: &str, full: bool, json_wanted: bool) -> Result<Exit, Failure> {
    let story = match uuid::Uuid::parse_str(id) {
        Ok(uuid) => reader(global)?.run_story(RunId(uuid))?,
        Err(_) => None,
    };
    let Some(story) = story else {
        let why = format!("there is no run '{id}'; see the last column of `alpha-arena decisions`");
        return Err(Failure::new(Exit::Usage, why));
    };
    if json_wanted {
        output::say(as_json(&story));
    } else {
        page(&story, full);
    }
    Ok(Exit::Ok)
}

fn as_json(story: &RunStory) -> Value {
    let parsed = |text: &Option<String>| {
        text.as_ref()
            .and_then(|text| serde_json::from_str::<Value>(text).ok())
    };
    let bodies: Vec<Value> = story
        .bodies
        .iter()
        .map(|(request, reply)| json!({"request": parsed(&Some(request.clone())), "reply": reply}))
        .collect();
    json!({
        "schema": "decisions show/1", "as_of_ms": wall_ms(), "run": output::objects(&story.run)[0],
        "snapshot": parsed(&story.snapshot), "question": output::objects(&story.question)[0], "data": parsed(&story.data),
        "calls": output::objects(&story.calls), "bodies": bodies, "items": output::objects(&story.items),
        "decisions": output::objects(&story.decisions), "allocations": output::objects(&story.allocations),
        "orders": output::objects(&story.orders), "risk_events": output::objects(&story.risk),
        "fills": output::objects(&story.fills),
    })
}

fn page(story: &RunStory, full: bool) {
    facts("run", &story.run);
    if let Some(text) = &story.snapshot {
        snapshot(text, full);
    }
    facts("question", &story.question);
    if let Some(text) = &story.data {
        output::say(if full { text.clone() } else { outline(text) });
    }
    section("calls", &story.calls);
    for (index, (request, reply)) in story.bodies.iter().enumerate() {
        let request: Value = serde_json::from_str(request).unwrap_or_default();
        if full || index > 0 {
            for message in request["messages"]
                .as_array()
                .into_iter()
                .flatten()
                .skip(if full { 0 } else { 2 })
            {
                let part = |name: &str| message[name].as_str().unwrap_or_default();
                output::say(format_args!(
                    "\n--- {} ---\n{}",
                    part("role"),
                    output::plain(part("content"))
                ));
            }
        }
        if let Some(reply) = reply {
            output::say(format_args!(
                "\n--- reply {} ---\n{}",
                index + 1,
                output::plain(&said(reply))
            ));
        }
    }
    section("items of the answer", &without(&story.items, "said"));
    section("decisions", &story.decisions);
    section("allocations", &story.allocations);
    section("orders", &story.orders);
    section("what the gate refused", &story.risk);
    section("fills", &story.fills);
}

/// A table without one of its columns.
fn without(table: &Table, column: &str) -> Table {
    let kept: Vec<usize> = (0..table.columns.len())
        .filter(|at| table.columns[*at] != column)
        .collect();
    let row = |row: &Vec<Value>| kept.iter().map(|at| row[*at].clone()).collect();
    Table {
        columns: kept.iter().map(|at| table.columns[*at].clone()).collect(),
        rows: table.rows.iter().map(row).collect(),
    }
}

/// One row, a line a column.
fn facts(title: &str, table: &Table) {
    let Some(row) = table.rows.first() else {
        return;
    };
    let mut sheet = output::sheet(&[title, ""]);
    for (name, value) in table
        .columns
        .iter()
        .zip(row)
        .filter(|(_, value)| !value.is_null())
    {
        let value = match value.as_i64().filter(|_| name.ends_with("_ms")) {
            Some(ms) => Ms(ms).iso(),
            None => value
                .as_str()
                .map_or_else(|| value.to_string(), output::plain),
        };
        sheet.add_row([name.trim_end_matches("_ms").replace('_', " "), value]);
    }
    output::say(sheet);
}

fn section(title: &str, table: &Table) {
    if !table.rows.is_empty() {
        output::say(format_args!("\n{title}"));
        output::table(table);
    }
}

/// The text of a completion; the body itself, if it is none.
fn said(reply: &str) -> String {
    let body: Value = serde_json::from_str(reply).unwrap_or_default();
    let text = body["choices"][0]["message"]["content"].as_str();
    text.map_or_else(|| reply.chars().take(2000).collect(), str::to_owned)
}

fn snapshot(text: &str, full: bool) {
    if full {
        output::say(format_args!("\nsnapshot\n{text}"));
        return;
    }
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let mut sheet = output::sheet(&["instrument", "bar closed at", "bid", "ask", "last"]);
    for (inst, shown) in body["market"].as_object().into_iter().flatten() {
        let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let quote = &shown["quote"];
        sheet.add_row([
            inst.clone(),
            word(&shown["bar"]["close"]),
            word(&quote["bid"]),
            word(&quote["ask"]),
            word(&quote["last"]),
        ]);
    }
    output::say(format_args!(
        "\nsnapshot: equity {} USD",
        body["equity"].as_str().unwrap_or("-")
    ));
    output::say(sheet);
}

/// Summarises a prompt's data in a few lines.
fn outline(text: &str) -> String {
    let data: Value = serde_json::from_str(text).unwrap_or_default();
    let mut out = String::new();
    for key in ["meta", "limits", "account", "positions", "orders", "market"] {
        out.push_str(&format!("{key}: {}\n", data[key]));
    }
    let series: Vec<String> = data["series"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(inst, bars)| {
            let bars: Vec<&str> = bars
                .as_object()
                .into_iter()
                .flatten()
                .map(|(bar, _)| bar.as_str())
                .collect();
            format!("{inst} {}", bars.join(" "))
        })
        .collect();
    out.push_str(&format!(
        "series: {} (--full shows all of it)",
        series.join(", ")
    ));
    out
}
