-- What rules were seated on (stage 'seating', under the run of the start; its subject counts the tables of one process),
-- what they heard in each cycle ('rules'), and what further tries were made from ('working'), so that these can be made again
-- too. The table is made afresh because SQLite does not change a CHECK; rows, their order and their hashes stay.
CREATE TABLE run_inputs_5 (
    id          INTEGER PRIMARY KEY,
    run_id      TEXT NOT NULL REFERENCES runs (run_id),
    stage       TEXT NOT NULL CHECK (stage IN ('seating', 'rules', 'answer', 'allocation', 'working', 'gate')),
    subject     TEXT NOT NULL,       -- the order it was about; empty: the run as a whole
    build       TEXT NOT NULL,       -- another build may decide otherwise
    seen_hash   BLOB NOT NULL REFERENCES blobs (hash),
    output_hash BLOB NOT NULL REFERENCES blobs (hash),
    at_ms       INTEGER NOT NULL,
    prev_hash   BLOB NOT NULL,
    row_hash    BLOB NOT NULL
) STRICT;
INSERT INTO run_inputs_5 SELECT * FROM run_inputs;
DROP TABLE run_inputs;
ALTER TABLE run_inputs_5 RENAME TO run_inputs;
CREATE INDEX inputs_of_run ON run_inputs (run_id);
CREATE INDEX runs_by_cause ON runs (caused_by);

-- A request to a model, written before it leaves: one that has no row in llm_calls was under way when its process ended.
CREATE TABLE llm_requests (
    run_id       TEXT NOT NULL REFERENCES llm_questions (run_id),
    attempt      INTEGER NOT NULL,
    contender_id TEXT NOT NULL,
    model        TEXT NOT NULL,
    format       TEXT NOT NULL,
    request_hash BLOB NOT NULL REFERENCES blobs (hash),
    price_version TEXT NOT NULL,
    sent_ms      INTEGER NOT NULL,
    prev_hash    BLOB NOT NULL,
    row_hash     BLOB NOT NULL,
    PRIMARY KEY (run_id, attempt)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER llm_requests_keep BEFORE UPDATE ON llm_requests BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER llm_requests_stay BEFORE DELETE ON llm_requests BEGIN SELECT RAISE(ABORT, 'append-only'); END;

CREATE TRIGGER run_inputs_keep BEFORE UPDATE ON run_inputs BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER run_inputs_stay BEFORE DELETE ON run_inputs BEGIN SELECT RAISE(ABORT, 'append-only'); END;
