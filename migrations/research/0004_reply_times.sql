-- How long a model took, by the clock on the wall: what came after its deadline is no answer. Before this was kept nobody knows.
ALTER TABLE model_replies ADD COLUMN done_ms INTEGER;
-- SHA-256 of the reply: a byte that has changed is found.
ALTER TABLE model_replies ADD COLUMN reply_hash BLOB;
