-- What protects an account from guesses without locking its user out.

-- Failed logins from unknown networks since the last success.
ALTER TABLE credentials ADD COLUMN failures INTEGER NOT NULL DEFAULT 0;

-- The networks from which a user has logged in: keyed hashes, with the time of a login, exact to the day.
CREATE TABLE known_networks (
    user_id INTEGER NOT NULL REFERENCES users (id),
    network BLOB NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, network)
) STRICT, WITHOUT ROWID;
CREATE INDEX known_networks_seen ON known_networks (seen_at);

-- A login asks whether the client was superseded in one of the user's sessions. Few are.
CREATE INDEX sessions_superseded ON sessions (user_id) WHERE superseded IS NOT NULL;
