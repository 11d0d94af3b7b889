-- The audit trail's keys. The trail itself is a file of its own: see sqlite_trail.sql.

-- Sealed keys of the details in the audit trail. An erased user has none.
CREATE TABLE audit_keys (
    id         BLOB    NOT NULL PRIMARY KEY,
    user_uuid  BLOB    NOT NULL,
    sealed     BLOB    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX audit_keys_user ON audit_keys (user_uuid);
