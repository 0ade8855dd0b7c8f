-- What models have answered while a backtest asked them: by the request, word for word, and how often it was asked.
CREATE TABLE model_replies (
    request_hash BLOB NOT NULL,      -- SHA-256 of the body: model, parameters and prompt are in it
    sample       INTEGER NOT NULL,   -- 0: the first answer to it
    model        TEXT NOT NULL,
    reply        BLOB NOT NULL,      -- zstd
    size         INTEGER NOT NULL,   -- bytes, unpacked
    asked_ms     INTEGER NOT NULL,
    PRIMARY KEY (request_hash, sample)
) STRICT, WITHOUT ROWID;
