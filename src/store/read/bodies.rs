//! Bodies under their hashes, whole again.

use std::collections::VecDeque;

use rusqlite::{Connection, OptionalExtension};
use sha2::{Digest, Sha256};

use super::decode::ReadFail;
use crate::store::pack::unpack;

/// Bodies that were read last: the next one is usually told by one of them.
const KNOWN: usize = 64;

/// Reads bodies, and remembers the last.
pub(super) struct Bodies<'a> {
    db: &'a Connection,
    known: VecDeque<(Vec<u8>, Vec<u8>)>,
    /// Databases of before bodies were told by others have no such column.
    sql: &'static str,
}

impl<'a> Bodies<'a> {
    pub(super) fn of(db: &'a Connection) -> Result<Self, ReadFail> {
        let told = db.query_row(
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info('blobs') WHERE name = 'base')",
            [],
            |row| row.get::<_, bool>(0),
        )?;
        let sql = match told {
            true => "SELECT body, size, base FROM blobs WHERE hash = ?1",
            false => "SELECT body, size, NULL FROM blobs WHERE hash = ?1",
        };
        Ok(Self {
            db,
            known: VecDeque::new(),
            sql,
        })
    }

    /// The body under this hash; one that is gone, or is not what its hash says, is an error.
    pub(super) fn get(&mut self, hash: &[u8]) -> Result<Vec<u8>, ReadFail> {
        let damaged = |why: String| {
            ReadFail::Value(format!(
                "blob {}: {why}",
                data_encoding::HEXLOWER.encode(hash)
            ))
        };
        // From the body that is asked for back to one that is known or whole.
        let mut layers: Vec<(Vec<u8>, Vec<u8>, usize)> = Vec::new();
        let mut wanted = Some(hash.to_vec());
        let mut below: Option<Vec<u8>> = None;
        let mut query = self.db.prepare_cached(self.sql)?;
        while let Some(next) = wanted {
            if let Some((_, body)) = self.known.iter().find(|(known, _)| *known == next) {
                below = Some(body.clone());
                break;
            }
            if layers.iter().any(|(seen, ..)| *seen == next) {
                return Err(damaged("it is told by itself".into()));
            }
            let row = query
                .query_row([&next], |row| {
                    Ok((
                        row.get(0)?,
                        row.get::<_, i64>(1)?,
                        row.get::<_, Option<Vec<u8>>>(2)?,
                    ))
                })
                .optional()?;
            let Some((body, size, base)) = row else {
                return Err(damaged(match layers.is_empty() {
                    true => "it is gone".into(),
                    false => "it is gone: what it is told by is".into(),
                }));
            };
            let size = usize::try_from(size).map_err(|_| damaged("its size is negative".into()))?;
            layers.push((next, body, size));
            wanted = base;
        }
        drop(query);
        while let Some((of, packed, size)) = layers.pop() {
            let body = unpack(&packed, size, below.as_deref())
                .map_err(|error| damaged(error.to_string()))?;
            if Sha256::digest(&body)[..] != of[..] {
                return Err(damaged("its content is not what its hash says".into()));
            }
            if self.known.len() == KNOWN {
                self.known.pop_front();
            }
            self.known.push_back((of, body.clone()));
            below = Some(body);
        }
        below.ok_or_else(|| damaged("it is gone".into()))
    }

    /// The same as text.
    pub(super) fn text(&mut self, hash: &[u8]) -> Result<String, ReadFail> {
        self.get(hash)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }
}
