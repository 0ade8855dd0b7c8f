//! Answers of models that backtests have asked for.

use rusqlite::{OptionalExtension, params};

use super::Research;
use crate::store::StoreError;

impl Research {
    /// Keeps an answer to a request; one that is there stays.
    pub fn keep_reply(
        &self,
        request: [u8; 32],
        sample: u32,
        model: &str,
        reply: &[u8],
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let packed = zstd::bulk::compress(reply, 3).map_err(|error| StoreError::Value(error.to_string()))?;
        let size = i64::try_from(reply.len()).unwrap_or(i64::MAX);
        self.db
            .execute(
                "INSERT OR IGNORE INTO model_replies VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![request, sample, model, packed, size, at_ms],
            )
            .map(drop)
            .map_err(StoreError::sql("keeping a reply"))
    }

    /// The answer to a request, if it was asked before.
    pub fn reply(&self, request: [u8; 32], sample: u32) -> Result<Option<String>, StoreError> {
        let found: Option<(Vec<u8>, i64)> = self
            .db
            .query_row(
                "SELECT reply, size FROM model_replies WHERE request_hash = ?1 AND sample = ?2",
                params![request, sample],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(StoreError::sql("reading a reply"))?;
        let Some((packed, size)) = found else { return Ok(None) };
        let bytes = zstd::bulk::decompress(&packed, usize::try_from(size).unwrap_or_default())
            .map_err(|error| StoreError::Value(format!("a stored reply: {error}")))?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}
