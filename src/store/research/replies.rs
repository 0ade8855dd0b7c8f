//! Answers of models that backtests have asked for.

use rusqlite::{OptionalExtension, params};
use sha2::{Digest, Sha256};

use super::Research;
use crate::store::StoreError;

/// An answer that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredReply {
    /// As it came.
    pub body: Vec<u8>,
    /// Wall time from sending to the last byte; `None`: not noted.
    pub done_ms: Option<i64>,
}

impl Research {
    /// Keeps an answer to a request; one that is there stays.
    pub fn keep_reply(
        &self,
        (request, sample): ([u8; 32], u32),
        model: &str,
        reply: &StoredReply,
        at_ms: i64,
    ) -> Result<(), StoreError> {
        let packed = zstd::bulk::compress(&reply.body, 3)
            .map_err(|error| StoreError::Value(error.to_string()))?;
        let size = i64::try_from(reply.body.len()).unwrap_or(i64::MAX);
        let hash: [u8; 32] = Sha256::digest(&reply.body).into();
        self.db
            .execute(
                "INSERT OR IGNORE INTO model_replies VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    request,
                    sample,
                    model,
                    packed,
                    size,
                    at_ms,
                    reply.done_ms,
                    hash
                ],
            )
            .map(drop)
            .map_err(StoreError::sql("keeping a reply"))
    }

    /// The answer to a request, if it was asked before.
    ///
    /// # Errors
    /// Besides those of the database: its bytes are not those that were kept.
    pub fn reply(&self, request: [u8; 32], sample: u32) -> Result<Option<StoredReply>, StoreError> {
        type Row = (Vec<u8>, i64, Option<i64>, Option<Vec<u8>>);
        let found: Option<Row> = self
            .db
            .query_row(
                "SELECT reply, size, done_ms, reply_hash FROM model_replies WHERE request_hash = ?1 AND sample = ?2",
                params![request, sample],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .optional()
            .map_err(StoreError::sql("reading a reply"))?;
        let Some((packed, size, done_ms, hash)) = found else {
            return Ok(None);
        };
        let body = zstd::bulk::decompress(&packed, usize::try_from(size).unwrap_or_default())
            .map_err(|error| StoreError::Value(format!("a stored reply: {error}")))?;
        if hash.is_some_and(|hash| hash[..] != Sha256::digest(&body)[..]) {
            return Err(StoreError::Value(
                "a stored reply: its bytes are not those that were kept".to_owned(),
            ));
        }
        Ok(Some(StoredReply { body, done_ms }))
    }
}
