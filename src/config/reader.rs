//! Reads values out of the merged tree, noting every problem with its key instead of stopping at
//! the first.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde_json::{Map, Value};

/// One thing wrong, with the key it is wrong at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub key: String,
    pub what: String,
}

impl Problem {
    /// A problem at a key.
    pub fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            what: what.into(),
        }
    }
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// A key that the configuration knows, as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Dotted, lists as `contender[].weight`.
    pub path: String,
    /// Accepted values, in words; empty where the reader looks at the raw value.
    pub accepts: String,
    /// Value if it is absent, for keys that may be.
    pub otherwise: Option<String>,
}

/// Results of reading a tree besides its values.
#[derive(Debug, Default)]
pub(super) struct ReadNotes {
    pub(super) problems: Vec<Problem>,
    pub(super) keys: Vec<Key>,
}

/// One table of the tree; keys that nobody asks for are unknown.
pub(super) struct Section<'a> {
    path: String,
    map: Map<String, Value>,
    asked: Vec<&'static str>,
    notes: &'a mut ReadNotes,
}

impl<'a> Section<'a> {
    pub(super) fn new(path: impl Into<String>, value: Value, notes: &'a mut ReadNotes) -> Self {
        let path = path.into();
        let map = match value {
            Value::Object(map) => map,
            Value::Null => Map::new(),
            other => {
                let what = format!("must be a table, is {other}");
                notes.problems.push(Problem::new(&path, what));
                Map::new()
            }
        };
        Self {
            path,
            map,
            asked: Vec::new(),
            notes,
        }
    }

    fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }

    pub(super) fn problem(&mut self, name: &str, what: impl Into<String>) {
        let key = self.key(name);
        self.notes.problems.push(Problem::new(key, what));
    }

    /// ReadNotes down a key with what it accepts, once.
    pub(super) fn note(
        &mut self,
        name: &str,
        accepts: impl Into<String>,
        otherwise: Option<String>,
    ) {
        let path = self.key(name);
        let mut plain = String::new();
        let mut index = false;
        for c in path.chars() {
            index = (index || c == '[') && c != ']';
            if !index || c == '[' {
                plain.push(c);
            }
        }
        if self.notes.keys.iter().all(|known| known.path != plain) {
            let accepts = accepts.into();
            self.notes.keys.push(Key {
                path: plain,
                accepts,
                otherwise,
            });
        }
    }

    /// No problem so far, in this table or before it?
    pub(super) fn is_sound(&self) -> bool {
        self.notes.problems.is_empty()
    }

    /// The raw value, whatever it is.
    pub(super) fn take(&mut self, name: &'static str) -> Value {
        self.note(name, "", None);
        self.take_noted(name)
    }

    fn take_noted(&mut self, name: &'static str) -> Value {
        self.asked.push(name);
        self.map.remove(name).unwrap_or(Value::Null)
    }

    /// A table inside this one, read by `read`.
    pub(super) fn table<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let value = self.take_noted(name);
        let mut section = Section::new(self.key(name), value, self.notes);
        let result = read(&mut section);
        section.finish();
        result
    }

    /// Each table of a list, with its place in the key: `contender[2].weight`.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        mut read: impl FnMut(&mut Section<'_>) -> T,
    ) -> Vec<T> {
        let rows = match self.take_noted(name) {
            Value::Array(rows) => rows,
            Value::Null => Vec::new(),
            other => {
                self.problem(name, format!("must be a list, is {other}"));
                Vec::new()
            }
        };
        let base = self.key(name);
        let mut out = Vec::new();
        for (index, row) in rows.into_iter().enumerate() {
            let mut section = Section::new(format!("{base}[{index}]"), row, self.notes);
            out.push(read(&mut section));
            section.finish();
        }
        out
    }

    pub(super) fn text(&mut self, name: &'static str) -> String {
        self.note(name, "text", None);
        match self.take(name) {
            Value::String(text) => text,
            Value::Null => {
                self.problem(name, "is missing");
                String::new()
            }
            Value::Number(n) => n.to_string(),
            other => {
                self.problem(name, format!("must be text, is {other}"));
                String::new()
            }
        }
    }

    pub(super) fn texts(&mut self, name: &'static str) -> Vec<String> {
        self.note(name, "list of texts", None);
        match self.take(name) {
            Value::Array(items) if items.iter().all(Value::is_string) => items
                .into_iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect(),
            Value::Null => Vec::new(),
            other => {
                self.problem(name, format!("must be a list of names, is {other}"));
                Vec::new()
            }
        }
    }

    pub(super) fn truth(&mut self, name: &'static str) -> bool {
        self.note(name, "true or false", None);
        match self.take(name) {
            Value::Bool(truth) => truth,
            Value::String(text) if text == "true" => true,
            Value::String(text) if text == "false" => false,
            other => {
                self.problem(name, format!("must be true or false, is {other}"));
                false
            }
        }
    }

    /// Reads a value whose type parses itself from text, such as a bar or a mode.
    pub(super) fn parse<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &'static str,
        otherwise: T,
    ) -> T {
        let text = self.text(name);
        text.parse().unwrap_or_else(|error: T::Err| {
            self.problem(name, error.to_string());
            otherwise
        })
    }

    /// The same for something that may be absent.
    pub(super) fn parse_or<T: FromStr<Err: fmt::Display>>(
        &mut self,
        name: &'static str,
        otherwise: T,
    ) -> T {
        if self.map.get(name).is_none_or(Value::is_null) {
            self.take(name);
            return otherwise;
        }
        self.parse(name, otherwise)
    }

    pub(super) fn int(&mut self, name: &'static str, least: i64, most: i64) -> i64 {
        self.note(name, format!("whole number, {least} to {most}"), None);
        let value = match self.take(name) {
            Value::Number(n) => n.as_i64(),
            Value::String(text) => text.parse().ok(),
            Value::Null => {
                self.problem(name, "is missing");
                return least;
            }
            _ => None,
        };
        match value {
            Some(value) if (least..=most).contains(&value) => value,
            Some(value) => {
                self.problem(
                    name,
                    format!("must be between {least} and {most}, is {value}"),
                );
                least
            }
            None => {
                self.problem(
                    name,
                    format!("must be a whole number between {least} and {most}"),
                );
                least
            }
        }
    }

    /// A whole number that may be absent.
    pub(super) fn int_or(
        &mut self,
        name: &'static str,
        otherwise: i64,
        least: i64,
        most: i64,
    ) -> i64 {
        let default = Some(otherwise.to_string());
        self.note(name, format!("whole number, {least} to {most}"), default);
        if self.map.get(name).is_none_or(Value::is_null) {
            self.take(name);
            return otherwise;
        }
        self.int(name, least, most)
    }

    /// True if a value is given under this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// A truth that may be absent.
    pub(super) fn truth_or(&mut self, name: &'static str, otherwise: bool) -> bool {
        self.note(name, "true or false", Some(otherwise.to_string()));
        if self.has(name) {
            return self.truth(name);
        }
        self.take(name);
        otherwise
    }

    /// Text that may be absent.
    pub(super) fn text_or(&mut self, name: &'static str, otherwise: &str) -> String {
        self.note(name, "text", Some(format!("\"{otherwise}\"")));
        if self.map.get(name).is_none_or(Value::is_null) {
            self.take(name);
            return otherwise.to_owned();
        }
        self.text(name)
    }

    /// A decimal that may be absent.
    pub(super) fn decimal_or(
        &mut self,
        name: &'static str,
        otherwise: Decimal,
        least: Decimal,
        most: Decimal,
    ) -> Decimal {
        let default = Some(format!("\"{}\"", otherwise.normalize()));
        self.note(name, format!("decimal, {least} to {most}"), default);
        if self.map.get(name).is_none_or(Value::is_null) {
            self.take(name);
            return otherwise;
        }
        self.decimal(name, least, most)
    }

    pub(super) fn float(&mut self, name: &'static str, least: f64, most: f64) -> f64 {
        self.note(name, format!("number, {least} to {most}"), None);
        let value = match self.take(name) {
            Value::Number(n) => n.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        match value {
            Some(value) if value.is_finite() && (least..=most).contains(&value) => value,
            _ => {
                self.problem(name, format!("must be a number between {least} and {most}"));
                least
            }
        }
    }

    pub(super) fn decimal(&mut self, name: &'static str, least: Decimal, most: Decimal) -> Decimal {
        self.note(name, format!("decimal, {least} to {most}"), None);
        let text = match self.take(name) {
            Value::String(text) => text,
            Value::Number(n) => n.to_string(),
            Value::Null => {
                self.problem(name, "is missing");
                return least;
            }
            other => other.to_string(),
        };
        match text.parse::<Decimal>() {
            Ok(value) if value >= least && value <= most => value,
            Ok(value) => {
                self.problem(
                    name,
                    format!("must be between {least} and {most}, is {value}"),
                );
                least
            }
            Err(_) => {
                self.problem(
                    name,
                    format!("must be a decimal number between {least} and {most}, is '{text}'"),
                );
                least
            }
        }
    }

    /// Reports keys nobody asked for, with the nearest one that exists.
    pub(super) fn finish(self) {
        for key in self.map.keys() {
            let near = self
                .asked
                .iter()
                .map(|known| (strsim::jaro_winkler(known, key), *known))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(score, _)| *score > 0.75);
            let hint = match near {
                Some((_, known)) => format!("; did you mean '{known}'?"),
                None => format!("; known here are: {}", self.asked.join(", ")),
            };
            let path = if self.path.is_empty() {
                key.clone()
            } else {
                format!("{}.{key}", self.path)
            };
            self.notes
                .problems
                .push(Problem::new(path, format!("unknown key{hint}")));
        }
    }
}
