-- The orders that an incident is about, as a JSON list; empty in rows from before.

ALTER TABLE halts ADD COLUMN orders TEXT NOT NULL DEFAULT '[]';
