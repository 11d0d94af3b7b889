-- What is remembered of accounts that come from other systems, and of people who were erased.

-- The identifier in the other system.
ALTER TABLE users ADD COLUMN external_id TEXT;
CREATE UNIQUE INDEX users_external_id ON users (external_id);

-- A keyed digest of the hash as the other system had it, and the version of the credential that it came with.
ALTER TABLE credentials ADD COLUMN origin BLOB;
ALTER TABLE credentials ADD COLUMN origin_version INTEGER;

-- A random key of the realm, sealed by the master key: what is made with its keys outlives a rotation.
ALTER TABLE realm ADD COLUMN sealed_key BLOB;

-- Keyed digests of the emails of erased accounts.
CREATE TABLE erased_emails (
    digest    BLOB    PRIMARY KEY,
    erased_at INTEGER NOT NULL
) STRICT;

-- Second factors of other systems, sealed. Nothing uses them yet.
CREATE TABLE second_factors (
    id         BLOB    PRIMARY KEY,
    user_id    INTEGER NOT NULL REFERENCES users (id),
    kind       TEXT    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX second_factors_user ON second_factors (user_id);
