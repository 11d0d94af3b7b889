-- The lines of the master key file that this database has seen, and which of them each audit detail key needs.

CREATE TABLE master_keys (
    id             TEXT    NOT NULL PRIMARY KEY,
    -- The public key of its checkpoints, and the statement by which a newer line's key vouches for it.
    checkpoint_key BLOB    NOT NULL,
    succession     BLOB,
    first_seen     INTEGER NOT NULL,
    -- When `keys reseal` moved away from it.
    resealed_at    INTEGER
) STRICT;

-- The line that sealed the key; NULL where the release before has written it.
ALTER TABLE audit_keys ADD COLUMN master_key TEXT;
CREATE INDEX audit_keys_master_key ON audit_keys (master_key);

-- When a key that is published begins to sign.
ALTER TABLE keys ADD COLUMN signs_at INTEGER;
