//! Every key of the configuration: read by the code that reads a configuration, explained by the
//! comments of the files that come with it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::check::Config;
use super::layers::{DEFAULTS, Layers};
use super::reader::ReadNotes;

/// A file whose comments explain the keys of models.
const MODELS: &str = include_str!("../../config/models.toml");

/// A configuration that uses each kind of contender and each way of working an order, so that
/// reading it asks for every key.
const SPECIMEN: &str = r#"
[[instrument]] # Each instrument that is followed and may be traded.
id = "BTC-USDT" # OKX's name of a spot pair or a USDT-margined linear swap
[[instrument]]
id = "BTC-USDT-SWAP"
[[model]] # An OpenAI-compatible endpoint; its key comes from the environment.
id = "local"
base_url = "http://127.0.0.1:1/v1"
model = "m"
max_tokens_key = "max_tokens" # max_tokens or max_completion_tokens: the name of the limit in a request
listen_ms = 120000 # wall time for which a late reply is still listened to, to be kept
price_version = "unnamed" # a name for these prices, recorded with each cost
[[contender]] # A contender trades its own sleeve, the weight times equity.
id = "a" # its name in orders, tables and reports
kind = "rule" # rule or llm
strategy = "buy_and_hold" # of a rule: `alpha-arena strategies` lists them
stage = "live" # off or live
weight = "0.1" # its sleeve's share of equity; live weights add up to 1 at most
instruments = ["BTC-USDT"] # what it trades; its sleeve is split evenly among them
bar = "1m" # the bar its strategy sees; without it `market.bar`
[contender.execution] # Each try is a new intent that passes the gate.
policy = "ioc_limit" # ioc_limit, post_only or market
collar_bps = 5 # limit beyond the touch, for ioc_limit and for a cross after post_only
tries = 1 # attempts at what one decision left unfilled
[[contender]]
id = "b"
kind = "rule"
strategy = "buy_and_hold"
stage = "live"
weight = "0.1"
instruments = ["BTC-USDT"]
[contender.execution]
policy = "post_only"
ttl_ms = 20000 # venue time for which a post-only order rests
then = "cancel" # what follows: cancel, reprice or cross; without it cancel
[[contender]]
id = "c"
kind = "llm"
model = "local" # of an llm: the `id` of a [[model]]
stage = "live"
weight = "0.1"
instruments = ["BTC-USDT-SWAP"]
least_ms = 30000 # venue time between two questions, at least
[contender.rule_fallback] # A rule that decides while the provider of the model fails.
strategy = "buy_and_hold" # the rule that decides while the model's provider fails
may_open = false # true: it may open positions too
[contender.execution]
policy = "market"
slippage_bps = 50 # 1 to 500: how far from the touch a market order may fill; without it no limit
"#;

/// One key with everything that is known about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHelp {
    /// Dotted, lists as `contender[].weight`.
    pub path: String,
    /// Value without a configuration file; `None`: it must be given.
    pub default: Option<String>,
    /// Accepted values, in words.
    pub accepts: String,
    /// Comment beside the key in the files that come with the program.
    pub meaning: String,
}

/// Every key, in the order in which they are read.
pub fn keys() -> Vec<KeyHelp> {
    let defaults = Layers::of(&[DEFAULTS]);
    let mut notes = ReadNotes::default();
    Config::read(Layers::of(&[DEFAULTS, SPECIMEN]), &mut notes);
    let meanings = comments(&[SPECIMEN, DEFAULTS, MODELS]);
    let known = notes
        .keys
        .into_iter()
        .filter(|key| !key.path.contains(".params"));
    known
        .map(|key| KeyHelp {
            default: default(&defaults.tree, &key.path).or(key.otherwise),
            meaning: meanings.get(&key.path).cloned().unwrap_or_default(),
            accepts: key.accepts,
            path: key.path,
        })
        .collect()
}

/// Value of the built-in defaults, as TOML has it; keys of lists have none.
fn default(tree: &Value, path: &str) -> Option<String> {
    if path.contains("[]") {
        return None;
    }
    match path.split('.').fold(tree, |at, part| &at[part]) {
        Value::Null => None,
        value => Some(value.to_string()),
    }
}

/// Comments of a TOML file by key: what stands behind a value and goes on below it, else the lines
/// above it. Keys that are commented out count.
fn comments(files: &[&str]) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for text in files {
        let (mut section, mut above, mut last) = (String::new(), String::new(), None::<String>);
        for line in text.lines() {
            let bare = line.trim_start_matches("# ").trim_end();
            if let Some(name) = header(bare) {
                let parent = name.split_once('.').filter(|(list, _)| {
                    found
                        .keys()
                        .any(|key| key.starts_with(&format!("{list}[]")))
                });
                let name = parent.map_or(name.clone(), |(list, rest)| format!("{list}[].{rest}"));
                let behind = bare.split_once("# ").map_or("", |(_, comment)| comment);
                let meaning = if behind.is_empty() {
                    above.trim()
                } else {
                    behind
                };
                found
                    .entry(name.clone())
                    .or_insert_with(|| meaning.to_owned());
                (section, last) = (name, None);
                above.clear();
            } else if let Some((key, comment)) = pair(bare) {
                let path = match section.is_empty() {
                    true => key,
                    false => format!("{section}.{key}"),
                };
                let meaning = if comment.is_empty() {
                    above.trim()
                } else {
                    comment
                };
                let slot = found.entry(path.clone()).or_default();
                if slot.is_empty() {
                    meaning.clone_into(slot);
                }
                last = Some(path);
                above.clear();
            } else if let Some(more) = line.trim_start().strip_prefix('#') {
                match &last {
                    // Indented: it goes on with the comment above.
                    Some(path) if line.starts_with("    ") => {
                        let slot = found.entry(path.clone()).or_default();
                        *slot = format!("{slot} {}", more.trim());
                    }
                    _ => {
                        let _ = write!(above, " {}", more.trim());
                    }
                }
            } else {
                above.clear();
            }
        }
    }
    found
}

/// `[name]` or `[[name]]` at the start of a line.
fn header(line: &str) -> Option<String> {
    let inner = line.strip_prefix('[')?;
    match inner.strip_prefix('[') {
        Some(list) => list.split_once("]]").map(|(name, _)| format!("{name}[]")),
        None => inner.split_once(']').map(|(name, _)| name.to_owned()),
    }
}

/// Key of `key = value`, and the comment behind it.
fn pair(line: &str) -> Option<(String, &str)> {
    let (key, rest) = line.split_once(" = ")?;
    let is_key = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let comment = rest
        .split_once(" # ")
        .map_or("", |(_, comment)| comment.trim());
    is_key.then(|| (key.to_owned(), comment))
}

/// The table of all keys as a page in Markdown: `docs/configuration.md`.
pub fn page() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         Every key, by section. This page is what `alpha-arena config keys --markdown` prints: the \
         keys, bounds and defaults come from the code that reads a configuration.\n\n\
         Values come from the built-in defaults (`config/default.toml`), then the file given with \
         `--config`, then `.env`, then the environment (`ALPHA_ARENA__RISK__ORDER_NOTIONAL_MAX=500`). \
         Lists are replaced whole; an unknown key is an error. Amounts and shares are decimals in \
         quotes. A key without a default must be given. Parameters of strategies (`params`) are \
         listed by `alpha-arena strategies`.\n",
    );
    let all = keys();
    let head = |key: &KeyHelp| {
        key.path
            .rsplit_once('.')
            .map_or(String::new(), |(head, _)| head.to_owned())
    };
    let mut sections: Vec<String> = Vec::new();
    for section in all.iter().map(head) {
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    let meanings = comments(&[SPECIMEN, DEFAULTS, MODELS]);
    for section in sections {
        let title = match section.as_str() {
            "" => "Top level".to_owned(),
            list if list.ends_with("[]") => format!("`[[{}]]`", &list[..list.len() - 2]),
            table => format!("`[{}]`", table.replace("[]", "")),
        };
        let _ = write!(out, "\n## {title}\n\n");
        if let Some(meaning) = meanings.get(&section).filter(|meaning| !meaning.is_empty()) {
            let _ = write!(out, "{meaning}\n\n");
        }
        out.push_str("| key | default | accepts | meaning |\n| --- | --- | --- | --- |\n");
        for key in all.iter().filter(|key| head(key) == section) {
            let name = key.path.rsplit('.').next().unwrap_or_default();
            let default = key
                .default
                .as_ref()
                .map_or(String::new(), |value| format!("`{value}`"));
            let cells = [&default, &key.accepts, &key.meaning].map(|text| text.replace('|', "\\|"));
            let _ = writeln!(out, "| `{name}` | {} |", cells.join(" | "));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_explained_or_bounded() {
        let keys = keys();
        assert!(keys.len() > 150, "{}", keys.len());
        let bare: Vec<&str> = keys
            .iter()
            .filter(|key| key.accepts.is_empty() && key.meaning.is_empty())
            .map(|key| key.path.as_str())
            .collect();
        assert!(bare.is_empty(), "{bare:?}");
    }

    /// `cargo run -- config keys --markdown > docs/configuration.md` mends it.
    #[test]
    fn configuration_page_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == page(),
            "docs/configuration.md is old: cargo run -- config keys --markdown > docs/configuration.md"
        );
    }
}
