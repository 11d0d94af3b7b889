-- Accounts, sessions, clients and keys. Times are microseconds UTC.

CREATE TABLE realm (
    id            INTEGER PRIMARY KEY CHECK (id = 1),
    uuid          BLOB   NOT NULL,
    master_key_id TEXT   NOT NULL,
    created_at    INTEGER NOT NULL
) STRICT;

CREATE TABLE users (
    id                INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid              BLOB   NOT NULL UNIQUE,
    email             TEXT,
    email_key         TEXT   UNIQUE,
    email_verified_at INTEGER,
    username          TEXT,
    username_key      TEXT   UNIQUE,
    role              TEXT   NOT NULL,
    state             TEXT   NOT NULL CHECK (state IN ('active', 'inactive', 'erased')),
    profile           TEXT   NOT NULL,
    created_at        INTEGER NOT NULL,
    updated_at        INTEGER NOT NULL
) STRICT;
CREATE INDEX users_state ON users (state);

CREATE TABLE credentials (
    user_id    INTEGER NOT NULL REFERENCES users (id),
    kind       TEXT   NOT NULL,
    data       TEXT   NOT NULL,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, kind)
) STRICT;

CREATE TABLE sessions (
    id              BLOB    PRIMARY KEY,
    user_id         INTEGER  NOT NULL REFERENCES users (id),
    scope           TEXT    NOT NULL,
    address         TEXT,
    user_agent      TEXT,
    created_at      INTEGER  NOT NULL,
    -- The absolute end; `expires_at` is the day by which the row is surely over, and moves at most once a day.
    ends_at         INTEGER  NOT NULL,
    expires_at      INTEGER  NOT NULL,
    generation      INTEGER  NOT NULL,
    secret_hash     BLOB   NOT NULL,
    rotated_at      INTEGER  NOT NULL,
    successors      TEXT    NOT NULL,
    late_generation INTEGER  NOT NULL,
    late_replays    INTEGER  NOT NULL,
    revoked         INTEGER NOT NULL,
    -- The number of the revocation that ended it.
    revocation      INTEGER
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id, revoked);
CREATE INDEX sessions_expiry ON sessions (expires_at) WHERE NOT revoked;
CREATE INDEX sessions_revoked ON sessions (expires_at) WHERE revoked;

CREATE TABLE counters (
    name  TEXT   PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;
INSERT INTO counters (name, value) VALUES ('revocations', 0), ('keys', 0);

CREATE TABLE revocations (
    number     INTEGER NOT NULL,
    session_id BLOB   NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (number, session_id)
) STRICT;
CREATE INDEX revocations_expiry ON revocations (expires_at);

CREATE TABLE clients (
    id          TEXT   PRIMARY KEY,
    name        TEXT   NOT NULL,
    secret_hash BLOB  NOT NULL,
    created_at  INTEGER NOT NULL,
    rotated_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    id           TEXT   PRIMARY KEY,
    algorithm    TEXT   NOT NULL,
    state        TEXT   NOT NULL CHECK (state IN ('next', 'active', 'retiring')),
    sealed       BLOB  NOT NULL,
    created_at   INTEGER NOT NULL,
    changed_at   INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
    name        TEXT   PRIMARY KEY,
    holder      BLOB   NOT NULL,
    lease_until INTEGER NOT NULL
) STRICT;
