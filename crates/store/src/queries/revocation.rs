//! Revocations: the ended sessions, in commit order.
//!
//! Each revocation takes its number from one counter row. The transaction that increments the counter holds
//! the row lock until COMMIT, so a node that has seen number n has seen every number below it.

use model::{Now, SessionId, UserKey};

use super::session::{Ending, Room};
use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    BUMP = Stmt::new(
        "revocation.bump",
        "UPDATE gw.counters SET value = value + 1 WHERE name = 'revocations' RETURNING value",
    );
    // A login takes a number only when it ends sessions, so that logins do not wait for each other here.
    BUMP_FOR_ROOM = Stmt::new(
        "revocation.bump_for_room",
        "UPDATE gw.counters SET value = value + 1 WHERE name = 'revocations' \
         AND EXISTS (SELECT 1 FROM gw.sessions n WHERE n.id = $1) \
         AND ($3 OR (SELECT count(*) FROM gw.sessions s WHERE s.user_id = $2 AND NOT s.revoked) > $4) \
         RETURNING value",
    );
    RECORD = Stmt::new(
        "revocation.record",
        "INSERT INTO gw.revocations (number, session_id, expires_at, revoked_at) \
         SELECT c.value, s.id, s.expires_at, $2 FROM gw.counters c \
         JOIN gw.sessions s ON s.user_id = $1 AND s.revoked AND s.revocation = c.value \
         WHERE c.name = 'revocations' ON CONFLICT DO NOTHING RETURNING number",
    );
    RECORD_MISSING = Stmt::new(
        "revocation.record_missing",
        "INSERT INTO gw.revocations (number, session_id, expires_at, revoked_at) \
         SELECT c.value, $1, $2, $3 FROM gw.counters c WHERE c.name = 'revocations' \
         AND $6 AND NOT EXISTS (SELECT 1 FROM gw.sessions s WHERE s.id = $1) \
         AND EXISTS (SELECT 1 FROM gw.users u WHERE u.id = $4 AND u.uuid = $5) RETURNING number",
    );
    RECORD_UNKNOWN = Stmt::new(
        "revocation.record_unknown",
        "INSERT INTO gw.revocations (number, session_id, expires_at, revoked_at) \
         SELECT c.value, $1, $2, $3 FROM gw.counters c WHERE c.name = 'revocations' \
         AND NOT EXISTS (SELECT 1 FROM gw.sessions s WHERE s.id = $1) RETURNING number",
    );
    // The time of PostgreSQL's server, which all nodes follow. An embedded database has no clock of its own.
    HEADS = Stmt::per_engine(
        "revocation.heads",
        "SELECT name, value FROM gw.counters UNION ALL \
         SELECT 'database', CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
        "SELECT name, value FROM gw.counters",
    )
    .scanning("the table has one row a counter");
    EPOCH = Stmt::new("revocation.epoch", "SELECT value FROM gw.counters WHERE name = 'epoch'");
    RAISE_EPOCH = Stmt::new(
        "revocation.raise_epoch",
        "UPDATE gw.counters SET value = CASE WHEN value < $1 THEN $1 ELSE value + 1 END \
         WHERE name = 'epoch' RETURNING value",
    );
    // Higher than every number that the database, or a later state that was lost, has ever had.
    RENUMBER = Stmt::new(
        "revocation.renumber",
        "UPDATE gw.revocations SET number = number + $1 RETURNING number",
    )
    .scanning("a recovery gives every revocation a new number");
    RAISE = Stmt::new(
        "revocation.raise",
        "UPDATE gw.counters SET value = CASE WHEN name = 'revocations' THEN value + $1 ELSE $2 END \
         WHERE name IN ('revocations', 'revocations_gone') RETURNING value",
    );
    NOTE_GONE = Stmt::new(
        "revocation.note_gone",
        "UPDATE gw.counters SET value = $1 WHERE name = 'revocations_gone' AND value < $1 RETURNING value",
    );
    KEEP_CLOCK = Stmt::new(
        "revocation.keep_clock",
        "UPDATE gw.counters SET value = $1 WHERE name = 'clock' RETURNING value",
    );
    AFTER = Stmt::new(
        "revocation.after",
        "SELECT number, session_id, expires_at, revoked_at FROM gw.revocations \
         WHERE (number, session_id) > ($1, $2) \
         ORDER BY number, session_id LIMIT $3",
    );
    LAST_AT = Stmt::new(
        "revocation.last_at",
        "SELECT session_id FROM gw.revocations WHERE number = $1 ORDER BY session_id DESC LIMIT 1",
    );
    DELETE_EXPIRED = Stmt::new(
        "revocation.delete_expired",
        "DELETE FROM gw.revocations WHERE (number, session_id) IN (SELECT o.number, o.session_id \
         FROM (SELECT r.number, r.session_id FROM gw.revocations r WHERE r.expires_at <= $1 \
         ORDER BY r.expires_at LIMIT 1000) o LIMIT $2) RETURNING number",
    );
}

/// One ended session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its position in commit order.
    pub number: i64,
    /// The session.
    pub session: SessionId,
    /// No access token of it is accepted after this.
    pub expires_at: Now,
    /// When it was ended; `expires_at` counts by the same clock.
    pub revoked_at: Now,
}

/// Takes the next number; the revoking statements follow in the same batch.
pub fn bump() -> Call<i64> {
    Call::new(&BUMP, [], number)
}

/// Takes the next number if [`super::session::make_room`] will end sessions. Follows the login's own session.
pub fn bump_for_room(room: &Room) -> Call<i64> {
    let params = [room.opened.into(), room.user.id.into(), room.ends_superseded.into(), room.most.into()];
    Call::new(&BUMP_FOR_ROOM, params, number)
}

/// Records the sessions of `user` that this transaction revoked at `revoked_at`. If it took no number, those
/// of the newest number are recorded already.
pub fn record(user: UserKey, revoked_at: Now) -> Call<i64> {
    Call::new(&RECORD, [user.id.into(), revoked_at.into()], number)
}

/// Records the end of a session that has no row, for a user that has one; nothing for no session.
/// Follows [`bump`].
pub fn record_missing(session: Option<SessionId>, user: UserKey, ending: Ending) -> Call<i64> {
    let (at, keep) = (ending.at.into(), ending.keep.into());
    let id = session.unwrap_or(SessionId(uuid::Uuid::nil())).into();
    let params = [id, keep, at, user.id.into(), user.uuid.into(), session.is_some().into()];
    Call::new(&RECORD_MISSING, params, number)
}

/// Records the end of a session that has no row, by a refresh token of it. Follows [`bump`].
pub fn record_unknown(session: SessionId, ending: Ending) -> Call<i64> {
    Call::new(&RECORD_UNKNOWN, [session.into(), ending.keep.into(), ending.at.into()], number)
}

/// The counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heads {
    /// The newest number of a revocation.
    pub revocations: i64,
    /// The highest number that a cleanup has removed, or that lies before a recovery.
    pub revocations_gone: i64,
    /// The number of changes of keys.
    pub keys: i64,
    /// The realm's epoch: see [`epoch`].
    pub epoch: i64,
    /// The newest time that a node whose clock is believed has stored.
    pub clock: Option<Now>,
    /// The time of the database's server, if it has a clock of its own.
    pub database: Option<Now>,
}

impl Heads {
    /// The heads in the rows of [`heads`].
    pub fn of(rows: &[(String, i64)]) -> Self {
        let of = |name| rows.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        Self {
            revocations: of("revocations").unwrap_or(0),
            revocations_gone: of("revocations_gone").unwrap_or(0),
            keys: of("keys").unwrap_or(0),
            epoch: of("epoch").unwrap_or(0),
            clock: of("clock").filter(|micros| *micros > 0).map(Now::from_micros),
            database: of("database").map(Now::from_micros),
        }
    }
}

/// Reads the counters, for [`Heads::of`].
pub fn heads() -> Call<(String, i64)> {
    Call::new(&HEADS, [], |mut row| Ok((row.next()?, row.next()?)))
}

/// Reads the realm's epoch: the time of the last recovery of the database, in seconds since 1970, 0 before
/// the first. Access tokens of an older epoch are refused.
pub fn epoch() -> Call<i64> {
    Call::new(&EPOCH, [], number)
}

/// Raises the realm's epoch to `at_least`, or by one if it is there already; returns the new one.
pub fn raise_epoch(at_least: i64) -> Call<i64> {
    Call::new(&RAISE_EPOCH, [at_least.into()], number)
}

/// Adds `shift` to the number of every revocation and to the newest one: no number that was known before is
/// of the list any more. All up to `gone` count as removed.
pub fn renumber(shift: i64, gone: i64) -> (Call<i64>, Call<i64>) {
    let raise = Call::new(&RAISE, [shift.into(), gone.into()], number);
    (Call::new(&RENUMBER, [shift.into()], number), raise)
}

/// Notes that revocations up to this number were removed.
pub fn note_gone(highest: i64) -> Call<i64> {
    Call::new(&NOTE_GONE, [highest.into()], number)
}

/// Stores the time of a node whose clock is believed.
pub(crate) fn keep_clock(now: Now) -> Call<i64> {
    Call::new(&KEEP_CLOCK, [now.into()], number)
}

/// Reads at most `limit` revocations after the pair `(number, session)`, in order.
pub fn after(number: i64, session: SessionId, limit: i64) -> Call<Revocation> {
    Call::new(&AFTER, [number.into(), session.into(), limit.into()], |mut row| {
        Ok(Revocation {
            number: row.next()?,
            session: row.next()?,
            expires_at: row.next()?,
            revoked_at: row.next()?,
        })
    })
}

/// Finds the last session of a number; no row where none was ended with it, or all were removed.
pub fn last_at(number: i64) -> Call<SessionId> {
    Call::new(&LAST_AT, [number.into()], |mut row| row.next())
}

/// Deletes at most `limit` revocations, and at most 1000, whose last access token has expired.
pub fn delete_expired(now: Now, limit: i64) -> Call<i64> {
    Call::new(&DELETE_EXPIRED, [now.into(), limit.into()], number)
}

fn number(mut row: Row) -> Result<i64, Error> {
    row.next()
}
