-- What each client may do. Those of before introspect tokens, and nothing else.
ALTER TABLE gw.clients ADD COLUMN rights TEXT NOT NULL DEFAULT 'introspect';
ALTER TABLE gw.clients ADD COLUMN rights_at BIGINT NOT NULL DEFAULT 0;
UPDATE gw.clients SET rights_at = created_at;

-- The highest number of a revocation that a reader of the feed may have missed: a cleanup has removed it, or
-- a recovery lies between.
INSERT INTO gw.counters (name, value) VALUES ('revocations_gone', 0);
