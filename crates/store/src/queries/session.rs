//! Sessions: one row each, for any number of refreshes.
//!
//! A rotation advances `generation` and `secret_hash` and prepends the sealed successor to `successors`:
//! entries of fixed width, newest first, kept during the grace period. It changes no indexed column except
//! `expires_at`, once a day.

use model::{Now, SessionId, UserId, UserKey, UserUuid};

use super::user::State;
use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    // An ended session keeps neither address nor user agent: the audit trail has them, sealed with the user's
    // key. On PostgreSQL the locked rows order this statement and a change of password or state: the change
    // either waits for the session and ends it, or is visible here. SQLite has one writer.
    OPEN = Stmt::per_engine(
        "session.open",
        "INSERT INTO gw.sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
         generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked) \
         SELECT $1, u.id, $3, $4, $5, $6, $7, $8, 1, $9, $6, '', 0, 0, FALSE \
         FROM gw.users u JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' \
         WHERE u.id = $2 AND u.uuid = $11 AND u.state = 'active' AND c.version = $10 FOR SHARE OF u, c \
         RETURNING user_id",
        "INSERT INTO gw.sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
         generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked) \
         SELECT $1, u.id, $3, $4, $5, $6, $7, $8, 1, $9, $6, '', 0, 0, FALSE \
         FROM gw.users u JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' \
         WHERE u.id = $2 AND u.uuid = $11 AND u.state = 'active' AND c.version = $10 RETURNING user_id",
    );
    OPEN_REGISTERED = Stmt::new(
        "session.open_registered",
        "INSERT INTO gw.sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
         generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked) \
         SELECT $1, u.id, $3, $4, $5, $6, $7, $8, 1, $9, $6, '', 0, 0, FALSE \
         FROM gw.users u WHERE u.uuid = $2 RETURNING user_id",
    );
    ROTATE = Stmt::new(
        "session.rotate",
        "UPDATE gw.sessions AS s SET generation = $2 + 1, secret_hash = $4, rotated_at = $5, \
         expires_at = CASE WHEN ends_at < $6 THEN ends_at ELSE $6 END, \
         successors = $7 || CASE WHEN rotated_at > $8 THEN substr(successors, 1, CAST($9 AS INTEGER)) ELSE \
         '' END, address = $10, user_agent = $11 \
         WHERE s.id = $1 AND s.generation = $2 AND s.secret_hash = $3 AND NOT s.revoked AND s.ends_at > $5 \
         AND s.rotated_at > $12 \
         AND EXISTS (SELECT 1 FROM gw.users u WHERE u.id = s.user_id AND u.state = 'active') RETURNING \
         user_id",
    );
    FIND = Stmt::new(
        "session.find",
        "SELECT s.id, s.user_id, u.uuid, s.scope, s.address, s.user_agent, s.created_at, s.ends_at, \
         s.generation, s.rotated_at, s.successors, s.late_generation, s.late_replays, s.revoked, u.role, \
         u.state \
         FROM gw.sessions s JOIN gw.users u ON u.id = s.user_id WHERE s.id = $1",
    );
    TRACE = Stmt::new(
        "session.trace",
        "SELECT u.uuid, s.generation, s.rotated_at, s.successors, s.revoked, s.expires_at \
         FROM gw.sessions s JOIN gw.users u ON u.id = s.user_id WHERE s.id = $1",
    );
    OF_USER = Stmt::new(
        "session.of_user",
        "SELECT s.id, s.user_id, u.uuid, s.scope, s.address, s.user_agent, s.created_at, s.ends_at, \
         s.generation, s.rotated_at, s.successors, s.late_generation, s.late_replays, s.revoked, u.role, \
         u.state \
         FROM gw.sessions s JOIN gw.users u ON u.id = s.user_id \
         WHERE s.user_id = $1 AND u.uuid = $2 AND NOT s.revoked AND s.ends_at > $3 AND s.rotated_at > $4 \
         ORDER BY s.created_at DESC, s.id DESC",
    );
    REPLAYED_LATE = Stmt::new(
        "session.replayed_late",
        "UPDATE gw.sessions SET late_generation = $3, late_replays = $4 \
         WHERE id = $1 AND generation = $2 AND NOT revoked RETURNING user_id",
    );
    REVOKE = Stmt::new(
        "session.revoke",
        "UPDATE gw.sessions SET revoked = TRUE, successors = '', address = NULL, user_agent = NULL, \
         expires_at = $3, \
         revocation = (SELECT c.value FROM gw.counters c WHERE c.name = 'revocations') \
         WHERE id = $1 AND user_id = (SELECT u.id FROM gw.users u WHERE u.id = $2 AND u.uuid = $4) \
         AND NOT revoked RETURNING id",
    );
    REVOKE_OF_USER = Stmt::new(
        "session.revoke_of_user",
        "UPDATE gw.sessions SET revoked = TRUE, successors = '', address = NULL, user_agent = NULL, \
         expires_at = $3, \
         revocation = (SELECT c.value FROM gw.counters c WHERE c.name = 'revocations') \
         WHERE user_id = (SELECT u.id FROM gw.users u WHERE u.id = $1 AND u.uuid = $4) \
         AND NOT revoked AND id <> $2 RETURNING id",
    );
    REVOKE_OLDEST = Stmt::new(
        "session.revoke_oldest",
        "UPDATE gw.sessions SET revoked = TRUE, successors = '', address = NULL, user_agent = NULL, \
         expires_at = $2, \
         revocation = (SELECT c.value FROM gw.counters c WHERE c.name = 'revocations') \
         WHERE id IN (SELECT s.id FROM gw.sessions s WHERE s.user_id = $1 AND NOT s.revoked \
         ORDER BY s.created_at DESC, s.id DESC LIMIT 1000 OFFSET $3) RETURNING id",
    );
    DELETE_EXPIRED = Stmt::new(
        "session.delete_expired",
        "DELETE FROM gw.sessions WHERE id IN (SELECT o.id FROM (SELECT s.id FROM gw.sessions s \
         WHERE NOT s.revoked AND s.expires_at <= $1 ORDER BY s.expires_at LIMIT 1000) o LIMIT $2) RETURNING \
         id",
    );
    DELETE_REVOKED = Stmt::new(
        "session.delete_revoked",
        "DELETE FROM gw.sessions WHERE id IN (SELECT o.id FROM (SELECT s.id FROM gw.sessions s \
         WHERE s.revoked AND s.expires_at <= $1 ORDER BY s.expires_at LIMIT 1000) o LIMIT $2) RETURNING id",
    );
}

/// A session and the token claims of its user.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The user.
    pub user: UserKey,
    /// The granted scope.
    pub scope: String,
    /// The client address of the last refresh.
    pub address: Option<String>,
    /// The user agent of the last refresh.
    pub user_agent: Option<String>,
    /// When the user logged in.
    pub created_at: Now,
    /// When it ends, regardless of use.
    pub ends_at: Now,
    /// The generation of the newest refresh token; the first is 1.
    pub generation: i64,
    /// When that token was issued.
    pub rotated_at: Now,
    /// Sealed successors, newest first.
    pub successors: String,
    /// The newest generation that was replayed after the grace period.
    pub late_generation: i64,
    /// The number of consecutive generations replayed late.
    pub late_replays: i64,
    /// Whether it has ended.
    pub revoked: bool,
    /// The user's role.
    pub role: String,
    /// Whether the user may log in.
    pub state: State,
}

impl Session {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.next()?,
            user: UserKey { id: row.next()?, uuid: row.next()? },
            scope: row.next()?,
            address: row.next()?,
            user_agent: row.next()?,
            created_at: row.next()?,
            ends_at: row.next()?,
            generation: row.next()?,
            rotated_at: row.next()?,
            successors: row.next()?,
            late_generation: row.next()?,
            late_replays: row.next()?,
            revoked: row.next()?,
            role: row.next()?,
            state: State::read(&mut row)?,
        })
    }
}

/// A session to insert.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// Its id.
    pub id: SessionId,
    /// The granted scope.
    pub scope: String,
    /// The client's address.
    pub address: Option<String>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// When it begins.
    pub at: Now,
    /// When it ends, regardless of use.
    pub ends_at: Now,
    /// The day by which it has certainly expired if it is never refreshed.
    pub expires_at: Now,
    /// The hash of the first refresh token's secret.
    pub secret_hash: [u8; 32],
}

/// The proof that a session was inserted for an active user. Only the statements that insert one return it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OpenedSession {
    /// The user.
    pub user: UserId,
}

impl OpenedSession {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self { user: row.next()? })
    }
}

/// Opens a session if the user is active and the credential has this version; otherwise no row.
pub fn open(user: UserKey, version: i64, new: &NewSession) -> Call<OpenedSession> {
    let mut params = new.params(user.id.into());
    params.extend([version.into(), user.uuid.into()]);
    Call::new(&OPEN, params, OpenedSession::read)
}

/// Opens a session for a user inserted in the same transaction; no row when the user was not inserted.
pub fn open_registered(user: UserUuid, new: &NewSession) -> Call<OpenedSession> {
    Call::new(&OPEN_REGISTERED, new.params(user.into()), OpenedSession::read)
}

impl NewSession {
    fn params(&self, user: crate::value::Value) -> Vec<crate::value::Value> {
        vec![
            self.id.into(),
            user,
            self.scope.as_str().into(),
            self.address.as_deref().into(),
            self.user_agent.as_deref().into(),
            self.at.into(),
            self.ends_at.into(),
            self.expires_at.into(),
            self.secret_hash.into(),
        ]
    }
}

/// A rotation from a refresh token to its successor.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The session.
    pub session: SessionId,
    /// The generation of the used token.
    pub generation: i64,
    /// The hash of the used token's secret.
    pub secret_hash: [u8; 32],
    /// The hash of the successor's secret.
    pub successor_hash: [u8; 32],
    /// The entry of fixed width to prepend to `successors`.
    pub successor: String,
    /// When it happens.
    pub at: Now,
    /// The rotation fails when the last one was at or before this: the session was idle for too long.
    pub idle_since: Now,
    /// Older entries are kept only if the last rotation was after this.
    pub grace_since: Now,
    /// How many characters of older entries to keep.
    pub kept_chars: i64,
    /// The day by which the session has certainly expired.
    pub expires_at: Now,
    /// The client's address.
    pub address: Option<String>,
    /// The client's user agent.
    pub user_agent: Option<String>,
}

/// Rotates if session and user are active and the token is still the newest; otherwise no row.
pub fn rotate(step: &Rotation) -> Call<UserId> {
    let params = [
        step.session.into(),
        step.generation.into(),
        step.secret_hash.into(),
        step.successor_hash.into(),
        step.at.into(),
        step.expires_at.into(),
        step.successor.as_str().into(),
        step.grace_since.into(),
        step.kept_chars.into(),
        step.address.as_deref().into(),
        step.user_agent.as_deref().into(),
        step.idle_since.into(),
    ];
    Call::new(&ROTATE, params, user_id)
}

/// Finds the session with this id, in any state.
pub fn find(id: SessionId) -> Call<Session> {
    Call::new(&FIND, [id.into()], Session::read)
}

/// The columns of a session that show which operations took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The user's public identifier.
    pub user: UserUuid,
    /// The generation of the newest refresh token.
    pub generation: i64,
    /// When that token was issued.
    pub rotated_at: Now,
    /// Sealed successors, newest first.
    pub successors: String,
    /// Whether it has ended.
    pub revoked: bool,
    /// The day by which it has certainly expired; for an ended session, how long its row is kept.
    pub expires_at: Now,
}

/// Reads the trace of the session with this id.
pub fn trace(id: SessionId) -> Call<Trace> {
    Call::new(&TRACE, [id.into()], |mut row| {
        Ok(Trace {
            user: row.next()?,
            generation: row.next()?,
            rotated_at: row.next()?,
            successors: row.next()?,
            revoked: row.next()?,
            expires_at: row.next()?,
        })
    })
}

/// Lists a user's active sessions, newest first.
pub fn of_user(user: UserKey, now: Now, idle_since: Now) -> Call<Session> {
    let params = [user.id.into(), user.uuid.into(), now.into(), idle_since.into()];
    Call::new(&OF_USER, params, Session::read)
}

/// Records that generation `late` was replayed late, as the `replays`-th in a row, while `generation` is the
/// newest.
pub fn replayed_late(id: SessionId, generation: i64, late: i64, replays: i64) -> Call<UserId> {
    Call::new(&REPLAYED_LATE, [id.into(), generation.into(), late.into(), replays.into()], user_id)
}

/// Ends one session of a user; cleanup may delete the row at `keep_until`. Follows
/// [`super::revocation::bump`].
pub fn revoke(id: SessionId, user: UserKey, keep_until: Now) -> Call<SessionId> {
    let params = [id.into(), user.id.into(), keep_until.into(), user.uuid.into()];
    Call::new(&REVOKE, params, session_id)
}

/// Ends every session of a user except `except`. Follows [`super::revocation::bump`].
pub fn revoke_of_user(user: UserKey, except: Option<SessionId>, keep_until: Now) -> Call<SessionId> {
    let except = except.unwrap_or(SessionId(uuid::Uuid::nil()));
    let params = [user.id.into(), except.into(), keep_until.into(), user.uuid.into()];
    Call::new(&REVOKE_OF_USER, params, session_id)
}

/// Ends all but the `keep` newest sessions of a user. Follows [`super::revocation::bump`].
pub fn revoke_oldest(user: UserKey, keep: i64, keep_until: Now) -> Call<SessionId> {
    Call::new(&REVOKE_OLDEST, [user.id.into(), keep_until.into(), keep.into()], session_id)
}

/// Deletes at most `limit` expired sessions, and at most 1000.
///
/// The constant bound is for PostgreSQL's planner: for `LIMIT $2` alone it expects a tenth of the table and
/// would walk all of it.
pub fn delete_expired(now: Now, limit: i64) -> Call<SessionId> {
    Call::new(&DELETE_EXPIRED, [now.into(), limit.into()], session_id)
}

/// Deletes at most `limit` revoked sessions, and at most 1000, whose last access token has expired.
pub fn delete_revoked(now: Now, limit: i64) -> Call<SessionId> {
    Call::new(&DELETE_REVOKED, [now.into(), limit.into()], session_id)
}

fn user_id(mut row: Row) -> Result<UserId, Error> {
    row.next()
}

fn session_id(mut row: Row) -> Result<SessionId, Error> {
    row.next()
}
