-- The lines of the master key file that this database has seen, and which of them each audit detail key needs.

CREATE TABLE gw.master_keys (
    id             TEXT COLLATE "C" PRIMARY KEY,
    -- The public key of its checkpoints, and the statement by which a newer line's key vouches for it.
    checkpoint_key BYTEA  NOT NULL,
    succession     BYTEA,
    first_seen     BIGINT NOT NULL,
    -- When `keys reseal` moved away from it.
    resealed_at    BIGINT
);

-- The line that sealed the key; NULL where the release before has written it.
ALTER TABLE gw.audit_keys ADD COLUMN master_key TEXT COLLATE "C";
CREATE INDEX audit_keys_master_key ON gw.audit_keys (master_key);

-- The signed statement that the records up to `kept_sequence` were removed by retention, or were never here.
ALTER TABLE gw.audit_journals ADD COLUMN kept_proof BYTEA;

-- When a key that is published begins to sign.
ALTER TABLE gw.keys ADD COLUMN signs_at BIGINT;
