-- trading.db: everything the daemon saw, thought and did. Never edited after it has landed.
-- Money and sizes are TEXT decimals; times are UTC epoch milliseconds on the venue's clock.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE config_versions (
    id    INTEGER PRIMARY KEY,
    hash  TEXT NOT NULL,
    body  TEXT NOT NULL,
    at_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE instruments (
    inst_id        TEXT PRIMARY KEY,
    kind           TEXT NOT NULL,
    base_ccy       TEXT NOT NULL,
    quote_ccy      TEXT NOT NULL,
    tick           TEXT NOT NULL,
    lot            TEXT NOT NULL,
    min_size       TEXT NOT NULL,
    contract_value TEXT NOT NULL,
    state          TEXT NOT NULL,
    rules          TEXT NOT NULL,   -- the whole instrument as JSON
    updated_ms     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE contenders (
    contender_id TEXT PRIMARY KEY,
    kind         TEXT NOT NULL,
    strategy     TEXT NOT NULL,
    stage        TEXT NOT NULL,
    weight       TEXT NOT NULL,
    params       TEXT NOT NULL,
    updated_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per cycle, command, sweep or start; all that it caused points here.
CREATE TABLE runs (
    run_id    TEXT PRIMARY KEY,
    kind      TEXT NOT NULL,
    trigger   TEXT NOT NULL,
    caused_by TEXT REFERENCES runs (run_id),
    at_ms     INTEGER NOT NULL,
    prev_hash BLOB NOT NULL,
    row_hash  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE snapshots (
    run_id    TEXT PRIMARY KEY REFERENCES runs (run_id),
    as_of_ms  INTEGER NOT NULL,
    body_hash BLOB NOT NULL,
    prev_hash BLOB NOT NULL,
    row_hash  BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Bulky, so apart: may be pruned while the hash above stays. With a rowid, because a page holds two
-- such rows then, where a WITHOUT ROWID table would give each an overflow page of its own.
CREATE TABLE snapshot_bodies (
    id     INTEGER PRIMARY KEY,
    run_id TEXT NOT NULL UNIQUE REFERENCES snapshots (run_id),
    body   TEXT NOT NULL
) STRICT;

CREATE TABLE decisions (
    run_id       TEXT NOT NULL REFERENCES snapshots (run_id),
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    target_bps   INTEGER,           -- NULL: no opinion, keep
    stop_px      TEXT,
    reason       TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    prev_hash    BLOB NOT NULL,
    row_hash     BLOB NOT NULL,
    PRIMARY KEY (run_id, contender_id, inst_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE llm_calls (
    id            INTEGER PRIMARY KEY,
    run_id        TEXT NOT NULL REFERENCES snapshots (run_id),
    contender_id  TEXT NOT NULL,
    attempt       INTEGER NOT NULL,
    provider      TEXT NOT NULL,
    model         TEXT NOT NULL,
    request_hash  BLOB NOT NULL,
    reply_hash    BLOB,
    outcome       TEXT NOT NULL,
    detail        TEXT NOT NULL,
    sent_ms       INTEGER NOT NULL,
    done_ms       INTEGER,
    prev_hash     BLOB NOT NULL,
    row_hash      BLOB NOT NULL
) STRICT;

CREATE TABLE allocations (
    run_id       TEXT NOT NULL,
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    sleeve_usd   TEXT NOT NULL,
    weight       TEXT NOT NULL,
    current_qty  TEXT NOT NULL,
    target_qty   TEXT NOT NULL,
    cl_ord_id    TEXT,
    reason       TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    prev_hash    BLOB NOT NULL,
    row_hash     BLOB NOT NULL,
    PRIMARY KEY (run_id, contender_id, inst_id),
    FOREIGN KEY (run_id, contender_id, inst_id) REFERENCES decisions (run_id, contender_id, inst_id)
) STRICT, WITHOUT ROWID;

-- Where each order is now; derived from its events, kept for reading.
CREATE TABLE orders (
    order_id     TEXT PRIMARY KEY,
    cl_ord_id    TEXT UNIQUE,       -- NULL for an order that is ours by descent
    venue_id     TEXT,
    parent_id    TEXT REFERENCES orders (order_id),
    run_id       TEXT NOT NULL REFERENCES runs (run_id),
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    side         TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    ord_type     TEXT NOT NULL,
    purpose      TEXT NOT NULL,
    qty          TEXT NOT NULL,
    limit_px     TEXT,
    reference_px TEXT NOT NULL,
    reduce_only  INTEGER NOT NULL,
    sleeve_usd   TEXT NOT NULL,
    weight       TEXT NOT NULL,
    leg          INTEGER NOT NULL,
    attempt      INTEGER NOT NULL,
    ttl_ms       INTEGER,
    stop_px      TEXT,
    state        TEXT NOT NULL REFERENCES order_states (state),
    filled       TEXT NOT NULL,
    average_px   TEXT,
    created_ms   INTEGER NOT NULL,
    expires_ms   INTEGER,
    updated_ms   INTEGER NOT NULL,
    FOREIGN KEY (run_id, contender_id, inst_id) REFERENCES allocations (run_id, contender_id, inst_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX orders_open ON orders (state) WHERE state IN
    ('intended', 'sent', 'unknown', 'acked', 'partially_filled', 'cancel_requested');
CREATE INDEX orders_by_time ON orders (created_ms);

CREATE TABLE order_states (
    state    TEXT PRIMARY KEY,
    is_final INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO order_states VALUES
    ('created', 0), ('suppressed', 1), ('blocked', 1), ('intended', 0), ('sent', 0), ('unknown', 0), ('acked', 0),
    ('partially_filled', 0), ('cancel_requested', 0), ('filled', 1), ('canceled', 1), ('rejected', 1), ('expired', 1);

CREATE TABLE order_transitions (
    from_state TEXT NOT NULL REFERENCES order_states (state),
    to_state   TEXT NOT NULL REFERENCES order_states (state),
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;
INSERT INTO order_transitions VALUES
    ('created', 'suppressed'), ('created', 'blocked'), ('created', 'intended'), ('created', 'expired'),
    ('intended', 'sent'), ('intended', 'unknown'), ('intended', 'suppressed'), ('intended', 'acked'),
    ('intended', 'partially_filled'), ('intended', 'cancel_requested'), ('intended', 'filled'),
    ('intended', 'canceled'), ('intended', 'rejected'), ('intended', 'expired'),
    ('sent', 'acked'), ('sent', 'partially_filled'), ('sent', 'cancel_requested'), ('sent', 'filled'),
    ('sent', 'canceled'), ('sent', 'rejected'), ('sent', 'unknown'), ('sent', 'expired'),
    ('unknown', 'acked'), ('unknown', 'partially_filled'), ('unknown', 'cancel_requested'), ('unknown', 'filled'),
    ('unknown', 'canceled'), ('unknown', 'rejected'), ('unknown', 'expired'),
    ('acked', 'partially_filled'), ('acked', 'filled'), ('acked', 'cancel_requested'), ('acked', 'canceled'),
    ('acked', 'unknown'),
    ('partially_filled', 'filled'), ('partially_filled', 'cancel_requested'), ('partially_filled', 'canceled'),
    ('partially_filled', 'unknown'),
    ('cancel_requested', 'acked'), ('cancel_requested', 'partially_filled'), ('cancel_requested', 'filled'),
    ('cancel_requested', 'canceled'), ('cancel_requested', 'unknown');

CREATE TABLE order_lifecycle_events (
    seq        INTEGER PRIMARY KEY,
    order_id   TEXT NOT NULL REFERENCES orders (order_id),
    run_id     TEXT NOT NULL REFERENCES runs (run_id),
    from_state TEXT,
    to_state   TEXT NOT NULL REFERENCES order_states (state),
    cause      TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    venue_id   TEXT,
    filled     TEXT NOT NULL,
    average_px TEXT,
    at_ms      INTEGER NOT NULL,
    prev_hash  BLOB NOT NULL,
    row_hash   BLOB NOT NULL
) STRICT;
CREATE INDEX events_of_order ON order_lifecycle_events (order_id);

-- An illegal step cannot be written, whatever the program believes. A row with the same state on
-- both sides is news within a state (more filled), never a move.
CREATE TRIGGER order_lifecycle_legal BEFORE INSERT ON order_lifecycle_events
WHEN NEW.from_state IS NOT NULL AND NEW.from_state <> NEW.to_state AND NOT EXISTS
    (SELECT 1 FROM order_transitions WHERE from_state = NEW.from_state AND to_state = NEW.to_state)
BEGIN SELECT RAISE(ABORT, 'illegal order transition'); END;
CREATE TRIGGER order_state_legal BEFORE UPDATE OF state ON orders
WHEN OLD.state <> NEW.state AND NOT EXISTS
    (SELECT 1 FROM order_transitions WHERE from_state = OLD.state AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'illegal order transition'); END;

CREATE TABLE fills (
    inst_id      TEXT NOT NULL,
    trade_id     TEXT NOT NULL,
    order_id     TEXT NOT NULL REFERENCES orders (order_id),
    venue_id     TEXT NOT NULL,
    run_id       TEXT NOT NULL REFERENCES runs (run_id),
    contender_id TEXT NOT NULL,
    side         TEXT NOT NULL CHECK (side IN ('buy', 'sell')),
    price        TEXT NOT NULL,
    qty          TEXT NOT NULL,
    fee          TEXT NOT NULL,
    fee_ccy      TEXT NOT NULL,
    liquidity    TEXT NOT NULL,
    at_ms        INTEGER NOT NULL,
    seq          INTEGER NOT NULL,
    prev_hash    BLOB NOT NULL,
    row_hash     BLOB NOT NULL,
    PRIMARY KEY (inst_id, trade_id, order_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX fills_of_order ON fills (order_id);
CREATE UNIQUE INDEX fills_by_seq ON fills (seq);

CREATE TABLE algo_orders (
    algo_id      TEXT PRIMARY KEY,  -- our algoClOrdId
    venue_id     TEXT,
    parent_id    TEXT NOT NULL REFERENCES orders (order_id),
    run_id       TEXT NOT NULL REFERENCES runs (run_id),
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    trigger_px   TEXT NOT NULL,
    state        TEXT NOT NULL,
    child_id     TEXT REFERENCES orders (order_id),
    created_ms   INTEGER NOT NULL,
    updated_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The venue's word on the account: the newest complete read, and its history.
CREATE TABLE balances (
    ccy        TEXT PRIMARY KEY,
    cash       TEXT NOT NULL,
    equity     TEXT NOT NULL,
    available  TEXT NOT NULL,
    frozen     TEXT NOT NULL,
    equity_usd TEXT NOT NULL,
    as_of_ms   INTEGER NOT NULL,
    run_id     TEXT NOT NULL REFERENCES runs (run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE positions (
    inst_id    TEXT PRIMARY KEY,
    qty        TEXT NOT NULL,
    average_px TEXT,
    mark_px    TEXT,
    unrealised TEXT NOT NULL,
    leverage   TEXT,
    liq_px     TEXT,
    as_of_ms   INTEGER NOT NULL,
    run_id     TEXT NOT NULL REFERENCES runs (run_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE position_snapshots (
    run_id     TEXT NOT NULL REFERENCES runs (run_id),
    inst_id    TEXT NOT NULL,
    qty        TEXT NOT NULL,
    average_px TEXT,
    mark_px    TEXT,
    unrealised TEXT NOT NULL,
    as_of_ms   INTEGER NOT NULL,
    PRIMARY KEY (run_id, inst_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE equity_snapshots (
    run_id    TEXT PRIMARY KEY REFERENCES runs (run_id),
    equity    TEXT NOT NULL,
    available TEXT NOT NULL,
    as_of_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX equity_by_time ON equity_snapshots (as_of_ms);

-- Lines of the venue's ledger that are not trades: transfers, funding, liquidation fees.
CREATE TABLE bills (
    bill_id  TEXT PRIMARY KEY,
    kind     TEXT NOT NULL,
    ccy      TEXT NOT NULL,
    change   TEXT NOT NULL,
    inst_id  TEXT,
    venue_id TEXT,
    trade_id TEXT,
    at_ms    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sleeve_ledger (
    id           INTEGER PRIMARY KEY,
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    kind         TEXT NOT NULL,     -- fill, funding, transfer
    ref          TEXT NOT NULL,     -- the fill, bill or run it books
    ccy          TEXT NOT NULL,
    change       TEXT NOT NULL,
    qty_change   TEXT NOT NULL,
    at_ms        INTEGER NOT NULL
) STRICT;

CREATE TABLE risk_events (
    id        INTEGER PRIMARY KEY,
    run_id    TEXT NOT NULL REFERENCES runs (run_id),
    order_id  TEXT REFERENCES orders (order_id),
    scope     TEXT NOT NULL,
    code      TEXT NOT NULL,
    bound     TEXT NOT NULL,
    value     TEXT NOT NULL,
    at_ms     INTEGER NOT NULL,
    prev_hash BLOB NOT NULL,
    row_hash  BLOB NOT NULL
) STRICT;

CREATE TABLE trading_state_events (
    id         INTEGER PRIMARY KEY,
    run_id     TEXT NOT NULL REFERENCES runs (run_id),
    scope      TEXT NOT NULL,
    from_state TEXT NOT NULL,
    to_state   TEXT NOT NULL,
    who        TEXT NOT NULL,
    why        TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    prev_hash  BLOB NOT NULL,
    row_hash   BLOB NOT NULL
) STRICT;

-- Append-only tables stay as written.
CREATE TRIGGER runs_keep BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER runs_stay BEFORE DELETE ON runs BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER snapshots_keep BEFORE UPDATE ON snapshots BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER snapshots_stay BEFORE DELETE ON snapshots BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER decisions_keep BEFORE UPDATE ON decisions BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER decisions_stay BEFORE DELETE ON decisions BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_calls_keep BEFORE UPDATE ON llm_calls BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_calls_stay BEFORE DELETE ON llm_calls BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER allocations_keep BEFORE UPDATE ON allocations BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER allocations_stay BEFORE DELETE ON allocations BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER events_keep BEFORE UPDATE ON order_lifecycle_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER events_stay BEFORE DELETE ON order_lifecycle_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER fills_keep BEFORE UPDATE ON fills BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER fills_stay BEFORE DELETE ON fills BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER risk_events_keep BEFORE UPDATE ON risk_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER risk_events_stay BEFORE DELETE ON risk_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER states_keep BEFORE UPDATE ON trading_state_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER states_stay BEFORE DELETE ON trading_state_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
