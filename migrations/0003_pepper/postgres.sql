-- Keys that seal stored password hashes, and which of them each hash needs: the database itself refuses to lose one.

CREATE TABLE gw.peppers (
    version    BIGINT PRIMARY KEY CHECK (version > 0),
    state      TEXT   NOT NULL CHECK (state IN ('active', 'retiring')),
    sealed     BYTEA  NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL
);

ALTER TABLE gw.credentials ADD COLUMN pepper BIGINT REFERENCES gw.peppers (version)
    CHECK ((substr(data, 1, 7) = 'pepper:') = (pepper IS NOT NULL));
CREATE INDEX credentials_pepper ON gw.credentials (pepper, user_id);
