-- Keys that seal stored password hashes, and which of them each hash needs: the database itself refuses to lose one.

CREATE TABLE peppers (
    version    INTEGER PRIMARY KEY CHECK (version > 0),
    state      TEXT   NOT NULL CHECK (state IN ('active', 'retiring')),
    sealed     BLOB   NOT NULL,
    created_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

ALTER TABLE credentials ADD COLUMN pepper INTEGER REFERENCES peppers (version)
    CHECK ((substr(data, 1, 7) = 'pepper:') = (pepper IS NOT NULL));
CREATE INDEX credentials_pepper ON credentials (pepper, user_id);
