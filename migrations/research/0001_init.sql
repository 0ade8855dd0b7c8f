-- research.db: market history and backtests. Short transactions, several writers, never in the way of trading.

CREATE TABLE series (
    series_id INTEGER PRIMARY KEY,
    inst_id   TEXT NOT NULL,
    bar       TEXT NOT NULL,
    bar_s     INTEGER NOT NULL,     -- length of a bar in seconds
    tick      TEXT NOT NULL,        -- prices are whole ticks
    lot       TEXT NOT NULL,        -- volumes are whole lots
    UNIQUE (inst_id, bar)
) STRICT;

-- One closed bar. `key` is series_id × 2^34 + open time in seconds: a whole series is one run of
-- consecutive keys, appended at the end, read in order.
CREATE TABLE candle_rows (
    key    INTEGER PRIMARY KEY,
    open   INTEGER NOT NULL,
    high   INTEGER NOT NULL,
    low    INTEGER NOT NULL,
    close  INTEGER NOT NULL,
    volume INTEGER NOT NULL
) STRICT;

-- The same for people, in the venue's units.
CREATE VIEW candles AS
SELECT s.inst_id, s.bar, (c.key & 17179869183) * 1000 AS ts_ms,
       c.open * CAST(s.tick AS REAL) AS open, c.high * CAST(s.tick AS REAL) AS high,
       c.low * CAST(s.tick AS REAL) AS low, c.close * CAST(s.tick AS REAL) AS close,
       c.volume * CAST(s.lot AS REAL) AS volume
FROM candle_rows c JOIN series s ON s.series_id = c.key >> 34;

CREATE TABLE funding (
    inst_id    TEXT NOT NULL,
    at_ms      INTEGER NOT NULL,
    rate       TEXT NOT NULL,
    PRIMARY KEY (inst_id, at_ms)
) STRICT, WITHOUT ROWID;

CREATE TABLE backtest_batches (
    batch_id    TEXT PRIMARY KEY,
    config_hash TEXT NOT NULL,
    data_hash   TEXT NOT NULL,
    build       TEXT NOT NULL,
    seed        INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE backtest_runs (
    batch_id TEXT NOT NULL REFERENCES backtest_batches (batch_id),
    number   INTEGER NOT NULL,
    params   TEXT NOT NULL,
    result   TEXT,
    PRIMARY KEY (batch_id, number)
) STRICT, WITHOUT ROWID;
