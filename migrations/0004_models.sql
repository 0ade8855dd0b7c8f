-- Models as contenders: what was asked, what came back as it came, what of it was acted on, what it cost.

-- Content-addressed: a body is kept once, however often it is sent. zstd; the hash is of what is inside.
CREATE TABLE blobs (
    hash BLOB PRIMARY KEY,
    size INTEGER NOT NULL,           -- bytes, unpacked
    body BLOB NOT NULL
) STRICT;

-- Nothing has written to it before.
DROP TABLE llm_calls;

CREATE TABLE llm_questions (
    run_id        TEXT PRIMARY KEY REFERENCES runs (run_id),
    contender_id  TEXT NOT NULL,
    mode          TEXT NOT NULL CHECK (mode IN ('single', 'portfolio')),
    inst_id       TEXT,              -- NULL: all of the contender's
    model         TEXT NOT NULL,     -- the configuration's word for it
    template      TEXT NOT NULL,
    template_hash TEXT NOT NULL,
    prompt_hash   TEXT NOT NULL,
    snap          TEXT NOT NULL,     -- what the answer must echo
    data_hash     BLOB NOT NULL REFERENCES blobs (hash),
    at_ms         INTEGER NOT NULL,
    prev_hash     BLOB NOT NULL,
    row_hash      BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE llm_calls (
    id             INTEGER PRIMARY KEY,
    run_id         TEXT NOT NULL REFERENCES llm_questions (run_id),
    contender_id   TEXT NOT NULL,
    attempt        INTEGER NOT NULL,
    model          TEXT NOT NULL,
    format         TEXT NOT NULL,
    request_hash   BLOB NOT NULL REFERENCES blobs (hash),
    reply_hash     BLOB REFERENCES blobs (hash),
    status         INTEGER,
    outcome        TEXT NOT NULL,    -- accepted, or the code of what is wrong
    detail         TEXT NOT NULL,
    model_returned TEXT,
    fingerprint    TEXT,
    finish_reason  TEXT,
    tokens_prompt     INTEGER,       -- NULL: the server did not count
    tokens_cached     INTEGER,
    tokens_completion INTEGER,
    tokens_reasoning  INTEGER,
    cost_usd       TEXT NOT NULL,
    price_version  TEXT NOT NULL,
    sent_ms        INTEGER NOT NULL,
    first_byte_ms  INTEGER,          -- wall time after it was sent
    done_ms        INTEGER,
    prev_hash      BLOB NOT NULL,
    row_hash       BLOB NOT NULL
) STRICT;
CREATE INDEX calls_of_run ON llm_calls (run_id);

-- One row for each item of an answer, or one with an empty inst_id for a question that got none.
CREATE TABLE llm_items (
    id             INTEGER PRIMARY KEY,
    run_id         TEXT NOT NULL REFERENCES llm_questions (run_id),
    ordinal        INTEGER NOT NULL,
    contender_id   TEXT NOT NULL,
    inst_id        TEXT NOT NULL,
    action         TEXT NOT NULL,
    code           TEXT NOT NULL,
    detail         TEXT NOT NULL,
    said           TEXT NOT NULL,    -- JSON
    plan           TEXT,             -- JSON; the one that holds from now on
    evidence_true  INTEGER NOT NULL,
    evidence_all   INTEGER NOT NULL,
    at_ms          INTEGER NOT NULL,
    prev_hash      BLOB NOT NULL,
    row_hash       BLOB NOT NULL,
    UNIQUE (run_id, ordinal)
) STRICT;
CREATE INDEX items_of_contender ON llm_items (contender_id, inst_id, id) WHERE plan IS NOT NULL;

-- Written before a request leaves, at its worst; corrected when the server has counted.
CREATE TABLE llm_spent (
    contender_id TEXT NOT NULL,
    utc_day      INTEGER NOT NULL,
    calls        INTEGER NOT NULL,
    tokens       INTEGER NOT NULL,
    cost_usd     TEXT NOT NULL,
    PRIMARY KEY (contender_id, utc_day)
) STRICT, WITHOUT ROWID;

CREATE TABLE llm_trades (
    id           INTEGER PRIMARY KEY,
    run_id       TEXT NOT NULL,      -- that opened it
    contender_id TEXT NOT NULL,
    inst_id      TEXT NOT NULL,
    r_multiple   TEXT,
    held_min     INTEGER NOT NULL,
    reason       TEXT NOT NULL,
    at_ms        INTEGER NOT NULL
) STRICT;
CREATE INDEX trades_of_contender ON llm_trades (contender_id, inst_id, at_ms);

-- What each decision was made from (CBOR) and what came of it (JSON): enough to make it again and compare.
CREATE TABLE run_inputs (
    id          INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL REFERENCES runs (run_id),
    stage       TEXT NOT NULL CHECK (stage IN ('answer', 'allocation', 'gate')),
    subject     TEXT NOT NULL,       -- the order it was about; empty: the run as a whole
    build       TEXT NOT NULL,       -- another build may decide otherwise
    seen_hash   BLOB NOT NULL REFERENCES blobs (hash),
    output_hash BLOB NOT NULL REFERENCES blobs (hash),
    at_ms       INTEGER NOT NULL,
    prev_hash   BLOB NOT NULL,
    row_hash    BLOB NOT NULL
) STRICT;
CREATE INDEX inputs_of_run ON run_inputs (run_id);

CREATE TRIGGER llm_questions_keep BEFORE UPDATE ON llm_questions BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_questions_stay BEFORE DELETE ON llm_questions BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_calls_keep BEFORE UPDATE ON llm_calls BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_calls_stay BEFORE DELETE ON llm_calls BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_items_keep BEFORE UPDATE ON llm_items BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_items_stay BEFORE DELETE ON llm_items BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER run_inputs_keep BEFORE UPDATE ON run_inputs BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER run_inputs_stay BEFORE DELETE ON run_inputs BEGIN SELECT RAISE(ABORT, 'append-only'); END;
-- A body may be pruned; it cannot become another.
CREATE TRIGGER blobs_keep BEFORE UPDATE ON blobs BEGIN SELECT RAISE(ABORT, 'append-only'); END;
