-- Order truth: stops get a lifecycle of their own, halts and what is not ours are remembered.

CREATE TABLE algo_states (
    state    TEXT PRIMARY KEY,
    is_final INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO algo_states VALUES ('intended', 0), ('live', 0), ('effective', 1), ('canceled', 1), ('order_failed', 1),
    ('partially_failed', 1), ('unborn', 1);

CREATE TABLE algo_transitions (
    from_state TEXT NOT NULL REFERENCES algo_states (state),
    to_state   TEXT NOT NULL REFERENCES algo_states (state),
    PRIMARY KEY (from_state, to_state)
) STRICT, WITHOUT ROWID;
INSERT INTO algo_transitions VALUES
    ('intended', 'live'), ('intended', 'effective'), ('intended', 'canceled'), ('intended', 'order_failed'),
    ('intended', 'partially_failed'), ('intended', 'unborn'),
    ('live', 'effective'), ('live', 'canceled'), ('live', 'order_failed'), ('live', 'partially_failed');

CREATE TABLE algo_order_events (
    seq        INTEGER PRIMARY KEY,
    algo_id    TEXT NOT NULL REFERENCES algo_orders (algo_id),
    run_id     TEXT NOT NULL REFERENCES runs (run_id),
    from_state TEXT,
    to_state   TEXT NOT NULL REFERENCES algo_states (state),
    cause      TEXT NOT NULL,
    evidence   TEXT NOT NULL,
    venue_id   TEXT,
    child_id   TEXT,
    at_ms      INTEGER NOT NULL,
    prev_hash  BLOB NOT NULL,
    row_hash   BLOB NOT NULL
) STRICT;
CREATE INDEX algo_events_of ON algo_order_events (algo_id);

CREATE TRIGGER algo_lifecycle_legal BEFORE INSERT ON algo_order_events
WHEN NEW.from_state IS NOT NULL AND NEW.from_state <> NEW.to_state AND NOT EXISTS
    (SELECT 1 FROM algo_transitions WHERE from_state = NEW.from_state AND to_state = NEW.to_state)
BEGIN SELECT RAISE(ABORT, 'illegal transition of a stop'); END;
CREATE TRIGGER algo_state_legal BEFORE UPDATE OF state ON algo_orders
WHEN OLD.state <> NEW.state AND NOT EXISTS
    (SELECT 1 FROM algo_transitions WHERE from_state = OLD.state AND to_state = NEW.state)
BEGIN SELECT RAISE(ABORT, 'illegal transition of a stop'); END;
CREATE TRIGGER algo_events_keep BEFORE UPDATE ON algo_order_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER algo_events_stay BEFORE DELETE ON algo_order_events BEGIN SELECT RAISE(ABORT, 'append-only'); END;

-- What is halted now and why; trading_state_events has the history.
CREATE TABLE halts (
    kind      TEXT NOT NULL,
    subject   TEXT NOT NULL,
    scope     TEXT,                 -- the instrument; NULL: everything
    why       TEXT NOT NULL,
    run_id    TEXT NOT NULL REFERENCES runs (run_id),
    opened_ms INTEGER NOT NULL,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;

-- What the venue holds that is not ours: a position by instrument, cash by currency.
CREATE TABLE baselines (
    subject TEXT PRIMARY KEY,
    amount  TEXT NOT NULL,
    at_ms   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Moves in and out of sleeves that no trade of their contender made.
CREATE TABLE sleeve_adjustments (
    id           INTEGER PRIMARY KEY,
    after_fill   INTEGER NOT NULL,  -- the last fill booked before it
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    qty          TEXT NOT NULL,
    price        TEXT NOT NULL,
    kind         TEXT NOT NULL,
    reference    TEXT NOT NULL,
    run_id       TEXT NOT NULL REFERENCES runs (run_id),
    at_ms        INTEGER NOT NULL,
    prev_hash    BLOB NOT NULL,
    row_hash     BLOB NOT NULL
) STRICT;
CREATE TRIGGER adjustments_keep BEFORE UPDATE ON sleeve_adjustments BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER adjustments_stay BEFORE DELETE ON sleeve_adjustments BEGIN SELECT RAISE(ABORT, 'append-only'); END;
