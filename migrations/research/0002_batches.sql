-- Batches of backtests: what was searched, one row per run, and summaries by day and week. The tables of the first
-- migration were never written to.

DROP TABLE backtest_runs;
DROP TABLE backtest_batches;

-- `batch_id` is a hash of spec, data and build: the same search is the same batch, and goes on where it was interrupted.
CREATE TABLE backtest_batches (
    batch_id    TEXT PRIMARY KEY,
    spec        TEXT NOT NULL,          -- JSON: all that was searched, enough to run it again
    config_hash TEXT NOT NULL,
    data_hash   TEXT NOT NULL,
    build       TEXT NOT NULL,
    seed        INTEGER NOT NULL,
    runs        INTEGER NOT NULL,       -- how many there are in all
    created_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `result`: figures as JSON. `returns`: by UTC day, (day, return) as little-endian i32 and f64.
CREATE TABLE backtest_runs (
    batch_id TEXT NOT NULL REFERENCES backtest_batches (batch_id),
    number   INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    params   TEXT NOT NULL,
    inst_id  TEXT NOT NULL,
    bar      TEXT NOT NULL,
    from_ms  INTEGER NOT NULL,
    to_ms    INTEGER NOT NULL,
    result   TEXT NOT NULL,
    returns  BLOB NOT NULL,
    PRIMARY KEY (batch_id, number)
) STRICT, WITHOUT ROWID;

-- What each run made of each day or week, for choosing among strategies.
CREATE TABLE backtest_summaries (
    batch_id TEXT NOT NULL,
    every    TEXT NOT NULL CHECK (every IN ('day', 'week')),
    start_ms INTEGER NOT NULL,
    number   INTEGER NOT NULL,
    ret      REAL NOT NULL,             -- of the period
    total    REAL NOT NULL,             -- since the beginning
    place    INTEGER NOT NULL,          -- 1 is the best of the period
    PRIMARY KEY (batch_id, every, start_ms, number),
    FOREIGN KEY (batch_id, number) REFERENCES backtest_runs (batch_id, number)
) STRICT, WITHOUT ROWID;
