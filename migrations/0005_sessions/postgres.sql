-- What a session remembers of its clients and of its last access token, and the newest time that a node believes.

-- `client` is the keyed mark of the client that used the session last, `superseded` that of a client that must log in
-- again. `shared_generation` is the newest generation that one client used twice. No access token of the session is
-- accepted after `tokens_end`.
ALTER TABLE gw.sessions ADD COLUMN client BYTEA;
ALTER TABLE gw.sessions ADD COLUMN superseded BYTEA;
ALTER TABLE gw.sessions ADD COLUMN shared_generation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gw.sessions ADD COLUMN tokens_end BIGINT NOT NULL DEFAULT 0;
ALTER TABLE gw.sessions ADD COLUMN revoked_at BIGINT;

-- Entries have another width now.
UPDATE gw.sessions SET successors = '' WHERE successors <> '';

ALTER TABLE gw.revocations ADD COLUMN revoked_at BIGINT NOT NULL DEFAULT 0;

INSERT INTO gw.counters (name, value) VALUES ('clock', 0);
