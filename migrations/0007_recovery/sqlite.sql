-- What `gatewright recover` leaves: the realm's epoch, and which sessions have accepted a refresh token of the lost state.

-- Access tokens of an older epoch are refused. It is the time of the last recovery in seconds, 0 before the first.
INSERT INTO counters (name, value) VALUES ('epoch', 0);

-- The epoch in which the session accepted a refresh token that the database did not know; 0 for none.
ALTER TABLE sessions ADD COLUMN adopted INTEGER NOT NULL DEFAULT 0;
