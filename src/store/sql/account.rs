//! Rows of the account, its instruments and its contenders.

use super::*;

pub(super) fn account(db: &Connection, run_id: RunId, view: &AccountView) -> Result<()> {
    let (run, at) = (run_id.to_string(), view.as_of.0);
    execute(db, "DELETE FROM balances", [])?;
    for b in view.balances.values() {
        execute(
            db,
            "INSERT INTO balances VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                b.ccy,
                b.cash.normalize().to_string(),
                b.equity.normalize().to_string(),
                b.available.normalize().to_string(),
                b.frozen.normalize().to_string(),
                b.equity_usd.to_string(),
                at,
                run
            ],
        )?;
    }
    execute(db, "DELETE FROM positions", [])?;
    for p in view.positions.values() {
        let (average, mark) = (
            p.average.map(|x| x.to_string()),
            p.mark.map(|x| x.to_string()),
        );
        let (qty, unrealised) = (p.qty.to_string(), p.unrealised.normalize().to_string());
        execute(
            db,
            "INSERT INTO positions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            params![
                p.inst.as_str(),
                qty,
                average,
                mark,
                unrealised,
                p.leverage.map(|x| x.to_string()),
                p.liquidation.map(|x| x.to_string()),
                at,
                run
            ],
        )?;
        execute(
            db,
            "INSERT INTO position_snapshots VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![run, p.inst.as_str(), qty, average, mark, unrealised, at],
        )?;
    }
    execute(
        db,
        "INSERT INTO equity_snapshots VALUES (?1, ?2, ?3, ?4)",
        params![run, view.equity.to_string(), view.available.to_string(), at],
    )
}

pub(super) fn bill(db: &Connection, b: &Bill) -> Result<()> {
    execute(
        db,
        "INSERT OR IGNORE INTO bills VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            b.bill_id,
            b.kind,
            b.ccy,
            b.change.normalize().to_string(),
            b.inst.as_ref().map(|i| i.as_str()),
            b.venue_id.as_ref().map(|i| i.as_str()),
            b.trade_id.as_ref().map(|i| i.as_str()),
            b.at.0
        ],
    )
}

pub(super) fn instrument(db: &Connection, i: &Instrument, at: Ms) -> Result<()> {
    let state = match &i.state {
        crate::domain::InstState::Live => "live",
        crate::domain::InstState::Other(text) => text,
    };
    let rules = serde_json::to_string(i)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    execute(
        db,
        "INSERT OR REPLACE INTO instruments VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            i.id.as_str(),
            i.kind.okx(),
            i.base,
            i.quote,
            i.tick.to_string(),
            i.lot.to_string(),
            i.min_size.to_string(),
            i.contract_value.normalize().to_string(),
            state,
            rules,
            at.0
        ],
    )
}

pub(super) fn contender(db: &Connection, c: &ContenderRow, at: Ms) -> Result<()> {
    let params = serde_json::to_string(&c.params)
        .map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))?;
    execute(
        db,
        "INSERT OR REPLACE INTO contenders VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            c.id.as_str(),
            c.kind,
            c.strategy,
            c.stage,
            c.weight.to_string(),
            params,
            at.0
        ],
    )
}
