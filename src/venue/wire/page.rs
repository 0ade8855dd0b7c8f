//! A page of rows of which some may not be believable: those are named and left out, the others
//! count.

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Malformed;
use crate::domain::InstId;

/// A row that cannot be what the venue means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// A noun for people: order, fill, position.
    pub what: &'static str,
    /// The instrument or currency it is about; empty: the row does not say.
    pub subject: String,
    /// The venue's name of the row.
    pub id: String,
    /// Field and value.
    pub why: String,
}

impl RefusedRow {
    /// The instrument it is about.
    pub fn inst(&self) -> InstId {
        InstId::from(self.subject.as_str())
    }
}

impl std::fmt::Display for RefusedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} of {}: {}",
            self.what, self.id, self.subject, self.why
        )
    }
}

/// The rows of one answer.
#[derive(Clone, Debug, Default)]
pub struct Page<T> {
    pub rows: Vec<T>,
    pub refused: Vec<RefusedRow>,
}

impl<T> Page<T> {
    /// All rows, if all could be read.
    ///
    /// # Errors
    /// The first that could not.
    pub fn whole(self) -> Result<Vec<T>, Malformed> {
        match self.refused.into_iter().next() {
            None => Ok(self.rows),
            Some(row) => Err(Malformed {
                what: row.what,
                why: row.why,
            }),
        }
    }
}

/// Fields where a kind of row keeps its name and its subject.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowKind {
    pub what: &'static str,
    pub id: &'static str,
    pub subject: &'static str,
}

/// Reads each row by itself. `None` of `convert`: a row that is none of ours to read.
///
/// # Errors
/// When the answer is not a list.
pub(super) fn read_page<R: DeserializeOwned, T>(
    kind: RowKind,
    data: &Value,
    convert: impl Fn(R) -> Result<Option<T>, String>,
) -> Result<Page<T>, Malformed> {
    let rows = data.as_array().ok_or_else(|| Malformed {
        what: kind.what,
        why: "data is not a list".into(),
    })?;
    let mut page = Page {
        rows: Vec::with_capacity(rows.len()),
        refused: Vec::new(),
    };
    for row in rows {
        let read = serde_path_to_error::deserialize::<_, R>(row).map_err(|error| {
            let path = error.path().to_string();
            if path == "." {
                error.inner().to_string()
            } else {
                format!("{path}: {}", error.inner())
            }
        });
        match read.and_then(&convert) {
            Ok(Some(value)) => page.rows.push(value),
            Ok(None) => {}
            Err(why) => {
                let text = |name: &str| {
                    row[name]
                        .as_str()
                        .unwrap_or_default()
                        .chars()
                        .take(64)
                        .collect()
                };
                page.refused.push(RefusedRow {
                    what: kind.what,
                    subject: text(kind.subject),
                    id: text(kind.id),
                    why,
                });
            }
        }
    }
    Ok(page)
}
