-- The audit trail. Times are microseconds UTC.

-- Sealed keys of the details in the audit trail. An erased user has none.
CREATE TABLE gw.audit_keys (
    id         BYTEA  PRIMARY KEY,
    user_uuid  UUID   NOT NULL,
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX audit_keys_user ON gw.audit_keys (user_uuid);

-- How far each node's journal is here. `kept` is the last record that is not: retention has removed it, or it was gone
-- before the journal was first seen.
CREATE TABLE gw.audit_journals (
    id               UUID   PRIMARY KEY,
    node             TEXT   NOT NULL,
    first_seen       BIGINT NOT NULL,
    shipped_sequence BIGINT NOT NULL,
    shipped_hash     BYTEA  NOT NULL,
    kept_sequence    BIGINT NOT NULL,
    kept_hash        BYTEA  NOT NULL
);

CREATE TABLE gw.audit_heads (
    journal    UUID   NOT NULL,
    sequence   BIGINT NOT NULL,
    hash       BYTEA  NOT NULL,
    checkpoint BYTEA  NOT NULL,
    at         BIGINT NOT NULL,
    PRIMARY KEY (journal, sequence)
);
CREATE INDEX audit_heads_at ON gw.audit_heads (at);

-- One partition a month, made ahead by the shipper: `audit_events_YYYY_MM`.
CREATE TABLE gw.audit_events (
    at          BIGINT NOT NULL,
    journal     UUID   NOT NULL,
    sequence    BIGINT NOT NULL,
    kind        TEXT   NOT NULL,
    user_uuid   UUID,
    request_id  TEXT,
    record_kind BIGINT NOT NULL,
    payload     BYTEA  NOT NULL,
    hash        BYTEA  NOT NULL,
    PRIMARY KEY (at, journal, sequence)
) PARTITION BY RANGE (at);
CREATE INDEX audit_events_chain ON gw.audit_events (journal, sequence, at);
CREATE INDEX audit_events_user ON gw.audit_events (user_uuid, at);
CREATE INDEX audit_events_kind ON gw.audit_events (kind, at);
