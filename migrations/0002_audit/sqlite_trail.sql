-- The audit trail of an embedded database: a file of its own, so that no request waits for its writes.

CREATE TABLE audit_journals (
    id               BLOB    NOT NULL PRIMARY KEY,
    node             TEXT    NOT NULL,
    first_seen       INTEGER NOT NULL,
    shipped_sequence INTEGER NOT NULL,
    shipped_hash     BLOB    NOT NULL,
    kept_sequence    INTEGER NOT NULL,
    kept_hash        BLOB    NOT NULL
) STRICT;

CREATE TABLE audit_heads (
    journal    BLOB    NOT NULL,
    sequence   INTEGER NOT NULL,
    hash       BLOB    NOT NULL,
    checkpoint BLOB    NOT NULL,
    at         INTEGER NOT NULL,
    PRIMARY KEY (journal, sequence)
) STRICT;
CREATE INDEX audit_heads_at ON audit_heads (at);

CREATE TABLE audit_events (
    at          INTEGER NOT NULL,
    journal     BLOB    NOT NULL,
    sequence    INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    user_uuid   BLOB,
    request_id  TEXT,
    record_kind INTEGER NOT NULL,
    payload     BLOB    NOT NULL,
    hash        BLOB    NOT NULL,
    PRIMARY KEY (at, journal, sequence)
) STRICT;
CREATE INDEX audit_events_chain ON audit_events (journal, sequence, at);
CREATE INDEX audit_events_user ON audit_events (user_uuid, at);
CREATE INDEX audit_events_kind ON audit_events (kind, at);

PRAGMA user_version = 1;
