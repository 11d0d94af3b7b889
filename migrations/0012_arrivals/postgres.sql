-- What is remembered of accounts that come from other systems, and of people who were erased.

-- The identifier in the other system.
ALTER TABLE gw.users ADD COLUMN external_id TEXT COLLATE "C";
CREATE UNIQUE INDEX users_external_id ON gw.users (external_id);

-- A keyed digest of the hash as the other system had it, and the version of the credential that it came with.
ALTER TABLE gw.credentials ADD COLUMN origin BYTEA;
ALTER TABLE gw.credentials ADD COLUMN origin_version BIGINT;

-- A random key of the realm, sealed by the master key: what is made with its keys outlives a rotation.
ALTER TABLE gw.realm ADD COLUMN sealed_key BYTEA;

-- Keyed digests of the emails of erased accounts.
CREATE TABLE gw.erased_emails (
    digest    BYTEA  PRIMARY KEY,
    erased_at BIGINT NOT NULL
);

-- Second factors of other systems, sealed. Nothing uses them yet.
CREATE TABLE gw.second_factors (
    id         UUID   PRIMARY KEY,
    user_id    BIGINT NOT NULL REFERENCES gw.users (id),
    kind       TEXT   COLLATE "C" NOT NULL,
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX second_factors_user ON gw.second_factors (user_id);
