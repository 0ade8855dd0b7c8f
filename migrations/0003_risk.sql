-- The risk gate's memory: what is restricted, and what a unit of the account was worth each day. Stops that stand alone.

-- What is restricted now and why; trading_state_events has the history.
CREATE TABLE restrictions (
    scope    TEXT NOT NULL,          -- system, contender:ID, instrument:ID
    cause    TEXT NOT NULL,          -- a rule's code, or kill
    state    TEXT NOT NULL CHECK (state IN ('reduce_only', 'halted')),
    why      TEXT NOT NULL,
    since_ms INTEGER NOT NULL,
    until_ms INTEGER,                -- NULL: until a person resumes it
    flatten  INTEGER NOT NULL,       -- 1: positions are to be closed and were not seen closed yet; 2: they were
    run_id   TEXT NOT NULL REFERENCES runs (run_id),
    PRIMARY KEY (scope, cause)
) STRICT, WITHOUT ROWID;

-- Equity in units: transfers buy and sell units, profit and loss move their value. The last row is the gate's memory.
CREATE TABLE equity_days (
    utc_day    INTEGER PRIMARY KEY,  -- days since the epoch
    open_nav   TEXT NOT NULL,
    low_nav    TEXT NOT NULL,
    high_nav   TEXT NOT NULL,
    nav        TEXT NOT NULL,
    peak_nav   TEXT NOT NULL,
    units      TEXT NOT NULL,
    flows      TEXT NOT NULL,        -- JSON: [transfers booked so far by currency, what each was worth last]
    updated_ms INTEGER NOT NULL
) STRICT;

-- A stop that stands alone has a size and stands for its sleeve's newest entry.
ALTER TABLE algo_orders ADD COLUMN qty TEXT;
ALTER TABLE algo_orders ADD COLUMN standalone INTEGER NOT NULL DEFAULT 0;
-- NULL in rows of before: the opposite of its order's.
ALTER TABLE algo_orders ADD COLUMN side TEXT;
