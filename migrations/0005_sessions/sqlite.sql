-- What a session remembers of its clients and of its last access token, and the newest time that a node believes.

-- `client` is the keyed mark of the client that used the session last, `superseded` that of a client that must log in
-- again. `shared_generation` is the newest generation that one client used twice. No access token of the session is
-- accepted after `tokens_end`.
ALTER TABLE sessions ADD COLUMN client BLOB;
ALTER TABLE sessions ADD COLUMN superseded BLOB;
ALTER TABLE sessions ADD COLUMN shared_generation INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN tokens_end INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN revoked_at INTEGER;

-- Entries have another width now.
UPDATE sessions SET successors = '' WHERE successors <> '';

ALTER TABLE revocations ADD COLUMN revoked_at INTEGER NOT NULL DEFAULT 0;

INSERT INTO counters (name, value) VALUES ('clock', 0);
