//! Funding rates that were paid.

use rusqlite::params;
use rust_decimal::Decimal;

use super::Research;
use crate::domain::{InstId, Ms};
use crate::store::StoreError;

impl Research {
    /// Keeps rates by the time they were paid; one that is there already is replaced. One
    /// transaction.
    pub fn put_funding(
        &mut self,
        inst: &InstId,
        rates: &[(Ms, Decimal)],
    ) -> Result<(), StoreError> {
        let failed = || StoreError::sql("writing funding rates");
        let tx = self.db.transaction().map_err(failed())?;
        {
            let mut insert = tx
                .prepare_cached("INSERT OR REPLACE INTO funding VALUES (?1, ?2, ?3)")
                .map_err(failed())?;
            for (at, rate) in rates {
                insert
                    .execute(params![inst.as_str(), at.0, rate.to_string()])
                    .map_err(failed())?;
            }
        }
        tx.commit().map_err(failed())
    }

    /// Rates paid in `[from, to)`, oldest first.
    pub fn funding(
        &self,
        inst: &InstId,
        from: Ms,
        to: Ms,
    ) -> Result<Vec<(Ms, Decimal)>, StoreError> {
        let failed = || StoreError::sql("reading funding rates");
        let mut query = self
            .db
            .prepare_cached(
                "SELECT at_ms, rate FROM funding WHERE inst_id = ?1 AND at_ms >= ?2 AND at_ms < ?3 ORDER BY at_ms",
            )
            .map_err(failed())?;
        let rows = query
            .query_map(params![inst.as_str(), from.0, to.0], |row| {
                Ok((Ms(row.get(0)?), row.get::<_, String>(1)?))
            })
            .map_err(failed())?;
        rows.map(|row| {
            let (at, text) = row.map_err(failed())?;
            text.parse()
                .map(|rate| (at, rate))
                .map_err(|_| StoreError::Value(text))
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn funding_rates_are_sorted_and_unique() {
        let dir = tempfile::tempdir().unwrap();
        let mut research = Research::open(dir.path(), 0).unwrap();
        let inst = InstId::from("A-USDT-SWAP");
        let rate = |n| Decimal::new(n, 6);
        research
            .put_funding(&inst, &[(Ms(20), rate(2)), (Ms(10), rate(1))])
            .unwrap();
        research.put_funding(&inst, &[(Ms(20), rate(3))]).unwrap();
        assert_eq!(
            research.funding(&inst, Ms(0), Ms(30)).unwrap(),
            [(Ms(10), rate(1)), (Ms(20), rate(3))]
        );
        assert_eq!(research.funding(&inst, Ms(11), Ms(20)).unwrap(), []);
    }
}
