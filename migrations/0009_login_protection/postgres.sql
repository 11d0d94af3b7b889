-- What protects an account from guesses without locking its user out.

-- Failed logins from unknown networks since the last success.
ALTER TABLE gw.credentials ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;

-- The networks from which a user has logged in: keyed hashes, with the time of a login, exact to the day.
CREATE TABLE gw.known_networks (
    user_id BIGINT NOT NULL REFERENCES gw.users (id),
    network BYTEA NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, network)
);
CREATE INDEX known_networks_seen ON gw.known_networks (seen_at);

-- A login asks whether the client was superseded in one of the user's sessions. Few are.
CREATE INDEX sessions_superseded ON gw.sessions (user_id) WHERE superseded IS NOT NULL;
