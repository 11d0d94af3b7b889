//! Sessions: one row each, for any number of refreshes.
//!
//! A rotation advances `generation` and `secret_hash` and prepends the sealed successor to `successors`:
//! entries of fixed width, newest first, of the last generations. It changes no indexed column except
//! `expires_at`, once a day.

use model::{Now, SessionId, UserId, UserKey, UserUuid};

use super::user::{State, User};
use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    // An ended session keeps neither address nor user agent: the audit trail has them, sealed with the user's
    // key. On PostgreSQL the locked rows order this statement and a change of the user, password or state:
    // the change either waits for the session and ends it, or is visible here. A user whose row another
    // transaction has locked gets no session from it, so that two never count the sessions at once.
    // SQLite has one writer.
    OPEN = Stmt::per_engine(
        "session.open",
        "INSERT INTO gw.sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
         generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked, client, \
         tokens_end) SELECT $1, u.id, $3, $4, $5, $6, $7, $8, 1, $9, $6, '', 0, 0, FALSE, $10, $11 \
         FROM gw.users u JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' \
         WHERE u.id = $2 AND u.uuid = $13 AND u.state = 'active' AND c.version = $12 \
         AND (u.role = $15 AND u.updated_at = $16 OR $15 IS NULL) \
         AND (SELECT count(*) FROM gw.sessions s WHERE s.user_id = u.id AND NOT s.revoked) < $14 \
         FOR NO KEY UPDATE OF u SKIP LOCKED FOR SHARE OF c \
         RETURNING user_id",
        "INSERT INTO gw.sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
         generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked, client, \
         tokens_end) SELECT $1, u.id, $3, $4, $5, $6, $7, $8, 1, $9, $6, '', 0, 0, FALSE, $10, $11 \
         FROM gw.users u JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' \
         WHERE u.id = $2 AND u.uuid = $13 AND u.state = 'active' AND c.version = $12 \
         AND (u.role = $15 AND u.updated_at = $16 OR $15 IS NULL) \
         AND (SELECT count(*) FROM gw.sessions s WHERE s.user_id = u.id AND NOT s.revoked) < $14 \
         RETURNING user_id",
    );
    OPEN_REGISTERED = Stmt::new(
        "session.open_registered",
        "INSERT INTO gw.sessions (id, user_id, scope, address, user_agent, created_at, ends_at, expires_at, \
         generation, secret_hash, rotated_at, successors, late_generation, late_replays, revoked, client, \
         tokens_end) SELECT $1, u.id, $3, $4, $5, $6, $7, $8, 1, $9, $6, '', 0, 0, FALSE, $10, $11 \
         FROM gw.users u WHERE u.uuid = $2 RETURNING user_id",
    );
    ROTATE = Stmt::new(
        "session.rotate",
        "UPDATE gw.sessions AS s SET generation = $2 + 1, secret_hash = $4, rotated_at = $5, \
         expires_at = CASE WHEN ends_at < $6 THEN ends_at ELSE $6 END, \
         successors = $7 || substr(successors, 1, CAST($8 AS INTEGER)), address = $9, user_agent = $10, \
         client = $11, tokens_end = CASE WHEN tokens_end > $12 THEN tokens_end ELSE $12 END \
         WHERE s.id = $1 AND s.generation = $2 AND s.secret_hash = $3 AND NOT s.revoked AND s.ends_at > $5 \
         AND s.rotated_at > $13 AND s.created_at <= $14 \
         AND EXISTS (SELECT 1 FROM gw.users u WHERE u.id = s.user_id AND u.state = 'active') RETURNING \
         user_id",
    );
    ADOPT = Stmt::new(
        "session.adopt",
        "UPDATE gw.sessions AS s SET generation = $2 + 1, secret_hash = $3, rotated_at = $4, \
         expires_at = CASE WHEN ends_at < $5 THEN ends_at ELSE $5 END, successors = $6, address = $7, \
         user_agent = $8, client = $9, tokens_end = CASE WHEN tokens_end > $10 THEN tokens_end ELSE $10 END, \
         adopted = $11 \
         WHERE s.id = $1 AND s.generation < $2 AND s.adopted < $11 AND NOT s.revoked AND s.ends_at > $4 \
         AND s.rotated_at > $12 AND s.created_at <= $13 \
         AND EXISTS (SELECT 1 FROM gw.users u WHERE u.id = s.user_id AND u.state = 'active') RETURNING \
         user_id",
    );
    FIND = Stmt::new(
        "session.find",
        "SELECT s.id, s.user_id, u.uuid, s.scope, s.address, s.user_agent, s.created_at, s.ends_at, \
         s.generation, s.rotated_at, s.successors, s.late_generation, s.late_replays, s.revoked, \
         s.shared_generation, s.superseded, s.adopted, u.role, u.state \
         FROM gw.sessions s JOIN gw.users u ON u.id = s.user_id WHERE s.id = $1",
    );
    TRACE = Stmt::new(
        "session.trace",
        "SELECT u.uuid, s.generation, s.rotated_at, s.successors, s.revoked_at \
         FROM gw.sessions s JOIN gw.users u ON u.id = s.user_id WHERE s.id = $1",
    );
    OF_USER = Stmt::new(
        "session.of_user",
        "SELECT s.id, s.user_id, u.uuid, s.scope, s.address, s.user_agent, s.created_at, s.ends_at, \
         s.generation, s.rotated_at, s.successors, s.late_generation, s.late_replays, s.revoked, \
         s.shared_generation, s.superseded, s.adopted, u.role, u.state \
         FROM gw.sessions s JOIN gw.users u ON u.id = s.user_id \
         WHERE s.user_id = $1 AND u.uuid = $2 AND NOT s.revoked AND s.ends_at > $3 AND s.rotated_at > $4 \
         AND s.created_at <= $5 \
         ORDER BY s.created_at DESC, s.id DESC",
    );
    REPLAYED_LATE = Stmt::new(
        "session.replayed_late",
        "UPDATE gw.sessions SET late_generation = $3, late_replays = $4, \
         tokens_end = CASE WHEN tokens_end > $5 THEN tokens_end ELSE $5 END \
         WHERE id = $1 AND generation = $2 AND NOT revoked RETURNING user_id",
    );
    SHARED = Stmt::new(
        "session.shared",
        "UPDATE gw.sessions SET \
         shared_generation = CASE WHEN shared_generation > $3 THEN shared_generation ELSE $3 END, \
         tokens_end = CASE WHEN tokens_end > $4 THEN tokens_end ELSE $4 END \
         WHERE id = $1 AND generation = $2 AND NOT revoked RETURNING user_id",
    );
    SUPERSEDED = Stmt::new(
        "session.superseded",
        "UPDATE gw.sessions SET superseded = $2 WHERE id = $1 AND NOT revoked RETURNING user_id",
    );
    REVOKE = Stmt::new(
        "session.revoke",
        "UPDATE gw.sessions SET revoked = TRUE, successors = '', address = NULL, user_agent = NULL, \
         client = NULL, superseded = NULL, revoked_at = $4, \
         expires_at = CASE WHEN tokens_end > $5 THEN tokens_end ELSE $5 END, \
         revocation = (SELECT c.value FROM gw.counters c WHERE c.name = 'revocations') \
         WHERE id = $1 AND user_id = (SELECT u.id FROM gw.users u WHERE u.id = $2 AND u.uuid = $3) \
         AND NOT revoked RETURNING id, expires_at",
    );
    REVOKE_OF_USER = Stmt::new(
        "session.revoke_of_user",
        "UPDATE gw.sessions SET revoked = TRUE, successors = '', address = NULL, user_agent = NULL, \
         client = NULL, superseded = NULL, revoked_at = $4, \
         expires_at = CASE WHEN tokens_end > $5 THEN tokens_end ELSE $5 END, \
         revocation = (SELECT c.value FROM gw.counters c WHERE c.name = 'revocations') \
         WHERE user_id = (SELECT u.id FROM gw.users u WHERE u.id = $1 AND u.uuid = $2) \
         AND NOT revoked AND id <> $3 RETURNING id, expires_at",
    );
    REVOKE_SOME = Stmt::new(
        "session.revoke_some",
        "UPDATE gw.sessions SET revoked = TRUE, successors = '', address = NULL, user_agent = NULL, \
         client = NULL, superseded = NULL, revoked_at = $1, \
         expires_at = CASE WHEN tokens_end > $2 THEN tokens_end ELSE $2 END, \
         revocation = (SELECT c.value FROM gw.counters c WHERE c.name = 'revocations') \
         WHERE id IN (SELECT o.id FROM (SELECT s.id FROM gw.sessions s \
         WHERE NOT s.revoked AND s.expires_at > 0 ORDER BY s.expires_at LIMIT 100) o) \
         RETURNING id, expires_at",
    );
    // The sessions above the maximum, and those of which the client had to log in again. The order is of
    // those to keep: active ones, those of other clients, refreshed ones, those refreshed last.
    MAKE_ROOM = Stmt::new(
        "session.make_room",
        "UPDATE gw.sessions SET revoked = TRUE, successors = '', address = NULL, user_agent = NULL, \
         client = NULL, superseded = NULL, revoked_at = $3, \
         expires_at = CASE WHEN tokens_end > $4 THEN tokens_end ELSE $4 END, \
         revocation = (SELECT c.value FROM gw.counters c WHERE c.name = 'revocations') \
         WHERE EXISTS (SELECT 1 FROM gw.sessions n WHERE n.id = $1) \
         AND id IN (SELECT s.id FROM (SELECT o.id FROM gw.sessions o \
         WHERE o.user_id = $2 AND NOT o.revoked AND o.id <> $1 \
         ORDER BY CASE WHEN o.ends_at > $3 AND o.rotated_at > $5 THEN 0 ELSE 1 END, \
         CASE WHEN o.client = $6 THEN 1 ELSE 0 END, CASE WHEN o.generation = 1 THEN 1 ELSE 0 END, \
         o.rotated_at DESC, o.id DESC LIMIT 1000 OFFSET $8) s \
         UNION SELECT p.id FROM gw.sessions p \
         WHERE p.user_id = $2 AND NOT p.revoked AND p.id <> $1 AND p.superseded = $7) \
         RETURNING id, expires_at",
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
    /// The newest generation that one client used again after the grace period; 0 for none.
    pub shared_generation: i64,
    /// The mark of a client whose token was superseded, and which must log in again.
    pub superseded: Option<Vec<u8>>,
    /// The realm's epoch in which it accepted a refresh token that the database did not know; 0 for none.
    pub adopted: i64,
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
            shared_generation: row.next()?,
            superseded: row.next()?,
            adopted: row.next()?,
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
    /// The mark of the client, if it can be recognised.
    pub client: Option<Vec<u8>>,
    /// No access token of the session is accepted after this.
    pub tokens_end: Now,
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

/// Opens a session if the user is active and the credential has this version; otherwise no row. The user must
/// have been locked by [`super::user::lock`] in the same transaction.
pub fn open(user: UserKey, version: i64, new: &NewSession) -> Call<OpenedSession> {
    opened(user, version, new, i64::MAX, None)
}

/// Opens a session if the user is as it was read, and has fewer than `few` sessions, and no other transaction
/// has locked it; otherwise no row. Sessions that others are opening meanwhile are not counted.
pub fn open_beside_few(user: &User, version: i64, new: &NewSession, few: i64) -> Call<OpenedSession> {
    opened(user.key(), version, new, few, Some(user))
}

fn opened(
    user: UserKey,
    version: i64,
    new: &NewSession,
    few: i64,
    seen: Option<&User>,
) -> Call<OpenedSession> {
    let mut params = new.params(user.id.into());
    let (role, updated_at) = (seen.map(|seen| seen.role.as_str()), seen.map(|seen| seen.updated_at));
    params.extend([version.into(), user.uuid.into(), few.into(), role.into(), updated_at.into()]);
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
            self.client.clone().into(),
            self.tokens_end.into(),
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
    /// The rotation fails when the session was created after this: a wrong clock did it.
    pub created_by: Now,
    /// How many characters of older entries to keep.
    pub kept_chars: i64,
    /// The day by which the session has certainly expired.
    pub expires_at: Now,
    /// The client's address.
    pub address: Option<String>,
    /// The client's user agent.
    pub user_agent: Option<String>,
    /// The mark of the client, if it can be recognised.
    pub client: Option<Vec<u8>>,
    /// No access token of the session is accepted after this.
    pub tokens_end: Now,
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
        step.kept_chars.into(),
        step.address.as_deref().into(),
        step.user_agent.as_deref().into(),
        step.client.clone().into(),
        step.tokens_end.into(),
        step.idle_since.into(),
        step.created_by.into(),
    ];
    Call::new(&ROTATE, params, user_id)
}

/// Rotates from a refresh token of a generation that the database does not know, because it was restored to
/// an older state, if session and user are active; otherwise, or when the session has done so in `epoch`,
/// no row.
pub fn adopt(step: &Rotation, epoch: i64) -> Call<UserId> {
    let params = [
        step.session.into(),
        step.generation.into(),
        step.successor_hash.into(),
        step.at.into(),
        step.expires_at.into(),
        step.successor.as_str().into(),
        step.address.as_deref().into(),
        step.user_agent.as_deref().into(),
        step.client.clone().into(),
        step.tokens_end.into(),
        epoch.into(),
        step.idle_since.into(),
        step.created_by.into(),
    ];
    Call::new(&ADOPT, params, user_id)
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
    /// When it was ended.
    pub revoked_at: Option<Now>,
}

/// Reads the trace of the session with this id.
pub fn trace(id: SessionId) -> Call<Trace> {
    Call::new(&TRACE, [id.into()], |mut row| {
        Ok(Trace {
            user: row.next()?,
            generation: row.next()?,
            rotated_at: row.next()?,
            successors: row.next()?,
            revoked_at: row.next()?,
        })
    })
}

/// Lists a user's active sessions, newest first.
pub fn of_user(user: UserKey, now: Now, idle_since: Now, created_by: Now) -> Call<Session> {
    let params = [user.id.into(), user.uuid.into(), now.into(), idle_since.into(), created_by.into()];
    Call::new(&OF_USER, params, Session::read)
}

/// Records that generation `late` was replayed late, as the `replays`-th in a row, while `generation` is the
/// newest, and that an access token was issued that is not accepted after `tokens_end`.
pub fn replayed_late(
    id: SessionId,
    generation: i64,
    late: i64,
    replays: i64,
    tokens_end: Now,
) -> Call<UserId> {
    let params = [id.into(), generation.into(), late.into(), replays.into(), tokens_end.into()];
    Call::new(&REPLAYED_LATE, params, user_id)
}

/// Records that one client used generation `shared` again, while `generation` is the newest, and that an
/// access token was issued that is not accepted after `tokens_end`.
pub fn shared(id: SessionId, generation: i64, shared: i64, tokens_end: Now) -> Call<UserId> {
    Call::new(&SHARED, [id.into(), generation.into(), shared.into(), tokens_end.into()], user_id)
}

/// Records that the client with this mark must log in again.
pub fn superseded(id: SessionId, client: &[u8]) -> Call<UserId> {
    Call::new(&SUPERSEDED, [id.into(), client.into()], user_id)
}

/// When sessions are ended, and how long their rows and revocations are kept at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Now.
    pub at: Now,
    /// At least until this; longer if an access token of the session may be accepted longer.
    pub keep: Now,
}

/// A session that was ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ended {
    /// Its id.
    pub session: SessionId,
    /// No access token of it is accepted after this.
    pub expires_at: Now,
}

fn ended(mut row: Row) -> Result<Ended, Error> {
    Ok(Ended { session: row.next()?, expires_at: row.next()? })
}

/// Ends one session of a user. Follows [`super::revocation::bump`].
pub fn revoke(id: SessionId, user: UserKey, ending: Ending) -> Call<Ended> {
    let params = [id.into(), user.id.into(), user.uuid.into(), ending.at.into(), ending.keep.into()];
    Call::new(&REVOKE, params, ended)
}

/// Ends every session of a user except `except`. Follows [`super::revocation::bump`].
pub fn revoke_of_user(user: UserKey, except: Option<SessionId>, ending: Ending) -> Call<Ended> {
    let except = except.unwrap_or(SessionId(uuid::Uuid::nil()));
    let params = [user.id.into(), user.uuid.into(), except.into(), ending.at.into(), ending.keep.into()];
    Call::new(&REVOKE_OF_USER, params, ended)
}

/// Ends at most 100 sessions of any users; no row when none is left.
pub fn revoke_some(ending: Ending) -> Call<Ended> {
    Call::new(&REVOKE_SOME, [ending.at.into(), ending.keep.into()], ended)
}

/// What a login ends: see [`make_room`].
#[derive(Clone, Debug)]
pub struct Room {
    /// The session of the login; nothing is ended when it was not opened.
    pub opened: SessionId,
    /// The user.
    pub user: UserKey,
    /// When, and how long the rows are kept.
    pub ending: Ending,
    /// A session that was not refreshed since this is not active.
    pub idle_since: Now,
    /// The mark of the client that logs in.
    pub client: Option<Vec<u8>>,
    /// Whether sessions in which this client was superseded end as well.
    pub ends_superseded: bool,
    /// How many sessions remain at most, with the new one.
    pub most: i64,
}

/// Ends the sessions of a user above the maximum, after the new one was opened: inactive ones first, then
/// those of the client that logs in, those never refreshed, and the one refreshed longest ago. Follows
/// [`super::revocation::bump_for_room`].
pub fn make_room(room: &Room) -> Call<Ended> {
    let params = [
        room.opened.into(),
        room.user.id.into(),
        room.ending.at.into(),
        room.ending.keep.into(),
        room.idle_since.into(),
        room.client.clone().into(),
        room.client.clone().filter(|_| room.ends_superseded).into(),
        room.most.saturating_sub(1).into(),
    ];
    Call::new(&MAKE_ROOM, params, ended)
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
