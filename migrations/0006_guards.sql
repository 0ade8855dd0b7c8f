-- Facts that were told wrongly first. The fill stays as it was written; the newest row here stands over it.

CREATE TABLE fill_corrections (
    id        INTEGER PRIMARY KEY,
    inst_id   TEXT NOT NULL,
    trade_id  TEXT NOT NULL,
    order_id  TEXT NOT NULL,
    run_id    TEXT NOT NULL REFERENCES runs (run_id),
    price     TEXT NOT NULL,
    qty       TEXT NOT NULL,
    fee       TEXT NOT NULL,
    fee_ccy   TEXT NOT NULL,
    fill_ms   INTEGER NOT NULL,
    price_was TEXT NOT NULL,
    qty_was   TEXT NOT NULL,
    fee_was   TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    prev_hash BLOB NOT NULL,
    row_hash  BLOB NOT NULL,
    FOREIGN KEY (inst_id, trade_id, order_id) REFERENCES fills (inst_id, trade_id, order_id)
) STRICT;
CREATE INDEX corrections_of ON fill_corrections (inst_id, trade_id, order_id);
CREATE TRIGGER corrections_keep BEFORE UPDATE ON fill_corrections BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER corrections_stay BEFORE DELETE ON fill_corrections BEGIN SELECT RAISE(ABORT, 'append-only'); END;

-- Fills as they are believed now.
CREATE VIEW fills_now AS
SELECT f.inst_id, f.trade_id, f.order_id, f.venue_id, f.run_id, f.contender_id, f.side,
    COALESCE(c.price, f.price) AS price, COALESCE(c.qty, f.qty) AS qty, COALESCE(c.fee, f.fee) AS fee,
    COALESCE(c.fee_ccy, f.fee_ccy) AS fee_ccy, f.liquidity, COALESCE(c.fill_ms, f.at_ms) AS at_ms, f.seq,
    c.id AS correction
FROM fills f LEFT JOIN fill_corrections c ON c.id =
    (SELECT MAX(id) FROM fill_corrections l WHERE l.inst_id = f.inst_id AND l.trade_id = f.trade_id AND l.order_id = f.order_id);

-- A refusal that is repeated is one order, in `orders`, and a count here: what was refused again in the same way (contender,
-- instrument, side and every rule the same) since then, without a row of its own.
CREATE TABLE refusals (
    order_id     TEXT PRIMARY KEY REFERENCES orders (order_id),
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    side         TEXT NOT NULL,
    again        INTEGER NOT NULL,
    first_ms     INTEGER NOT NULL,
    last_ms      INTEGER NOT NULL,
    last_run_id  TEXT NOT NULL REFERENCES runs (run_id)
) STRICT, WITHOUT ROWID;

-- Bodies of a kind that follow each other (snapshots, what decisions were made on and what came of them) are nearly the same: each is
-- packed with the one before it as zstd's dictionary, every 32nd is whole. `snapshot_bodies` keeps as text, besides, those that an
-- order was decided on.
ALTER TABLE blobs ADD COLUMN base BLOB;  -- the hash of the body that this one is told by; NULL: none
