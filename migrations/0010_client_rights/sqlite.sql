-- What each client may do. Those of before introspect tokens, and nothing else.
ALTER TABLE clients ADD COLUMN rights TEXT NOT NULL DEFAULT 'introspect';
ALTER TABLE clients ADD COLUMN rights_at INTEGER NOT NULL DEFAULT 0;
UPDATE clients SET rights_at = created_at;

-- The highest number of a revocation that a reader of the feed may have missed: a cleanup has removed it, or
-- a recovery lies between.
INSERT INTO counters (name, value) VALUES ('revocations_gone', 0);
