//! Credentials: currently one password hash per user. Each change of password increments the version.
//!
//! A sealed hash names its pepper in a separate column, so that a pepper in use cannot be removed.

use model::{Email, Now, SessionId, UserId, UserKey, UserUuid, Username};
use protocol::sealed::pepper::StoredText;
use serde_json::{Value as Json, json};

use super::user::User;
use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::{Row, Value};

statements! {
    BY_EMAIL = Stmt::new(
        "credential.by_email",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at, \
         c.data, c.version, c.failures, \
         (SELECT k.seen_at FROM gw.known_networks k WHERE k.user_id = u.id AND k.network = $3), \
         (SELECT k.seen_at FROM gw.known_networks k WHERE k.user_id = u.id AND k.network = $4), \
         (SELECT count(*) FROM gw.sessions s WHERE s.user_id = u.id AND NOT s.revoked AND s.superseded = $2) \
         FROM gw.users u LEFT JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' \
         WHERE u.email_key = $1",
    );
    BY_USERNAME = Stmt::new(
        "credential.by_username",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at, \
         c.data, c.version, c.failures, \
         (SELECT k.seen_at FROM gw.known_networks k WHERE k.user_id = u.id AND k.network = $3), \
         (SELECT k.seen_at FROM gw.known_networks k WHERE k.user_id = u.id AND k.network = $4), \
         (SELECT count(*) FROM gw.sessions s WHERE s.user_id = u.id AND NOT s.revoked AND s.superseded = $2) \
         FROM gw.users u LEFT JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' \
         WHERE u.username_key = $1",
    );
    OF_USER = Stmt::new(
        "credential.of_user",
        "SELECT u.id, u.uuid, u.email, u.username, u.role, u.state, u.profile, u.created_at, u.updated_at, \
         c.data, c.version, c.failures, CAST(NULL AS bigint), CAST(NULL AS bigint), CAST(0 AS bigint) \
         FROM gw.users u LEFT JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' \
         WHERE u.id = $1 AND u.uuid = $2",
    );
    INSERT = Stmt::new(
        "credential.insert",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at) \
         SELECT u.id, 'password', $2, $3, 1, $4 FROM gw.users u WHERE u.uuid = $1 RETURNING version",
    );
    REPLACE = Stmt::new(
        "credential.replace",
        "UPDATE gw.credentials AS c SET data = $4, pepper = $5, version = version + 1, updated_at = $6, \
         failures = 0 \
         WHERE c.user_id = $1 AND c.kind = 'password' AND c.version = $3 \
         AND EXISTS (SELECT 1 FROM gw.users u WHERE u.id = $1 AND u.uuid = $2 AND u.state = 'active') \
         RETURNING version",
    );
    // On PostgreSQL the locked row orders this statement and an erasure: the erasure either waits for the
    // password and removes it, or is visible here.
    SET = Stmt::per_engine(
        "credential.set",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at) \
         SELECT u.id, 'password', $3, $4, 1, $5 FROM gw.users u \
         WHERE u.id = $1 AND u.uuid = $2 AND u.state <> 'erased' FOR SHARE OF u \
         ON CONFLICT (user_id, kind) DO UPDATE SET data = excluded.data, pepper = excluded.pepper, \
         version = credentials.version + 1, updated_at = excluded.updated_at, failures = 0 RETURNING version",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at) \
         SELECT u.id, 'password', $3, $4, 1, $5 FROM gw.users u \
         WHERE u.id = $1 AND u.uuid = $2 AND u.state <> 'erased' \
         ON CONFLICT (user_id, kind) DO UPDATE SET data = excluded.data, pepper = excluded.pepper, \
         version = credentials.version + 1, updated_at = excluded.updated_at, failures = 0 RETURNING version",
    );
    REHASH = Stmt::new(
        "credential.rehash",
        "UPDATE gw.credentials SET data = $4, pepper = $5 \
         WHERE user_id = $1 AND kind = 'password' AND version = $2 AND data = $3 RETURNING version",
    );
    CHANGED_AT = Stmt::new(
        "credential.changed_at",
        "SELECT c.updated_at FROM gw.credentials c WHERE c.user_id = $1 AND c.kind = 'password'",
    );
    LAST = Stmt::new(
        "credential.last",
        "SELECT c.user_id FROM gw.credentials c ORDER BY c.user_id DESC LIMIT 1",
    );
    SAMPLE = Stmt::new(
        "credential.sample",
        "SELECT (SELECT u.uuid FROM gw.users u WHERE u.id = c.user_id), c.data \
         FROM gw.credentials c WHERE c.user_id >= $1 AND c.user_id < $2 AND c.kind = 'password' \
         ORDER BY c.user_id LIMIT $3",
    );
    // Only the index has this order, so a search with few or no matches does not walk the other rows.
    PLAIN = Stmt::new(
        "credential.plain",
        "SELECT c.user_id, (SELECT u.uuid FROM gw.users u WHERE u.id = c.user_id), c.data \
         FROM gw.credentials c WHERE c.pepper IS NULL AND c.kind = 'password' AND c.user_id > $1 \
         ORDER BY c.pepper, c.user_id LIMIT $2",
    );
    SEALED_BEFORE = Stmt::new(
        "credential.sealed_before",
        "SELECT c.user_id, (SELECT u.uuid FROM gw.users u WHERE u.id = c.user_id), c.data \
         FROM gw.credentials c WHERE c.pepper < $1 AND (c.pepper, c.user_id) > ($2, $3) AND c.kind = \
         'password' \
         ORDER BY c.pepper, c.user_id LIMIT $4",
    );
    // Each row of the first parameter: [user id, old text, new text].
    SEAL = Stmt::per_engine(
        "credential.seal",
        "UPDATE gw.credentials AS c SET data = e.value->>2, pepper = $2 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) \
         WHERE c.user_id = CAST(e.value->>0 AS bigint) AND c.kind = 'password' AND c.data = e.value->>1 \
         RETURNING c.version",
        "UPDATE gw.credentials AS c SET data = e.value->>2, pepper = $2 FROM json_each($1) AS e \
         WHERE c.user_id = e.value->>0 AND c.kind = 'password' AND c.data = e.value->>1 RETURNING version",
    );
    // Each row of the parameter: [user id, user uuid in hex, number of failures]. The rows are locked in the
    // order of their ids, so that two nodes do not wait for each other in a circle.
    ADD_FAILURES = Stmt::per_engine(
        "credential.add_failures",
        "UPDATE gw.credentials AS c SET failures = c.failures + e.number FROM \
         (SELECT o.user_id, CAST(v.value->>2 AS bigint) AS number \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS v(value) \
         JOIN gw.users u ON u.id = CAST(v.value->>0 AS bigint) AND u.uuid = CAST(v.value->>1 AS uuid) \
         JOIN gw.credentials o ON o.user_id = u.id AND o.kind = 'password' \
         ORDER BY o.user_id FOR NO KEY UPDATE OF o) AS e \
         WHERE c.user_id = e.user_id AND c.kind = 'password' RETURNING c.version",
        "UPDATE gw.credentials AS c SET failures = c.failures + (e.value->>2) FROM json_each($1) AS e \
         CROSS JOIN gw.users u ON u.id = e.value->>0 AND u.uuid = unhex(e.value->>1) \
         WHERE c.user_id = u.id AND c.kind = 'password' RETURNING version",
    );
    // Selects the user by the session, so that it has no effect when the session was not opened.
    FORGET_FAILURES = Stmt::new(
        "credential.forget_failures",
        "UPDATE gw.credentials SET failures = 0 \
         WHERE user_id = (SELECT s.user_id FROM gw.sessions s WHERE s.id = $1) AND kind = 'password' \
         AND failures > 0 RETURNING version",
    );
    REMOVE = Stmt::new(
        "credential.remove",
        "DELETE FROM gw.credentials \
         WHERE user_id = (SELECT u.id FROM gw.users u WHERE u.id = $1 AND u.uuid = $2) RETURNING version",
    );
}

/// A user with the password hash that a login is verified against.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user.
    pub user: User,
    /// The stored hash, if the user has a password.
    pub hash: Option<StoredText>,
    /// The version of the credential; a write after the verification repeats it. 0 without a password.
    pub version: i64,
    /// Failed logins from unknown networks since the last success, as far as they are stored.
    pub failures: i64,
    /// When the user has logged in from the client's network, exact to a day; `None` for an unknown network.
    pub network_seen_at: Option<Now>,
    /// The number of the user's sessions in which the client that asks was superseded.
    pub superseded: i64,
}

impl Login {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            user: User::read(&mut row)?,
            hash: row.next()?,
            version: row.next::<Option<i64>>()?.unwrap_or(0),
            failures: row.next::<Option<i64>>()?.unwrap_or(0),
            network_seen_at: row.next::<Option<Now>>()?.max(row.next()?),
            superseded: row.next()?,
        })
    }
}

/// The client that asks for a login.
#[derive(Clone, Debug, Default)]
pub struct AskingClient {
    /// The mark that its sessions have, if it can be recognised.
    pub mark: Option<Vec<u8>>,
    /// The marks of its network, under the newest lines of the keyring.
    pub networks: [Option<[u8; 8]>; 2],
}

impl AskingClient {
    fn params(&self, key: &str) -> [Value; 4] {
        let [newest, older] = &self.networks;
        let bytes = |network: &Option<[u8; 8]>| Value::from(network.map(|network| network.to_vec()));
        [key.into(), self.mark.clone().into(), bytes(newest), bytes(older)]
    }
}

/// Finds the login of the user with this email, for a client.
pub fn by_email(email: &Email, client: &AskingClient) -> Call<Login> {
    Call::new(&BY_EMAIL, client.params(email.key()), Login::read)
}

/// Finds the login of the user with this username, for a client.
pub fn by_username(username: &Username, client: &AskingClient) -> Call<Login> {
    Call::new(&BY_USERNAME, client.params(username.key()), Login::read)
}

/// Finds the login of this user.
pub fn of_user(user: UserKey) -> Call<Login> {
    Call::new(&OF_USER, [user.id.into(), user.uuid.into()], Login::read)
}

/// Sets the first password of a user inserted in the same transaction; no row when the user was not inserted.
pub fn insert(user: UserUuid, hash: &StoredText, at: Now) -> Call<i64> {
    Call::new(&INSERT, [user.into(), hash.into(), hash.pepper().into(), at.into()], version)
}

/// Changes an active user's password if the version is still `expected`; returns the new version.
pub fn replace(user: UserKey, expected: i64, hash: &StoredText, at: Now) -> Call<i64> {
    let (id, uuid) = (user.id.into(), user.uuid.into());
    let params = [id, uuid, expected.into(), hash.into(), hash.pepper().into(), at.into()];
    Call::new(&REPLACE, params, version)
}

/// Sets a password without regard to the old one; returns the new version, and no row for a tombstone or an
/// unknown user.
pub fn set(user: UserKey, hash: &StoredText, at: Now) -> Call<i64> {
    let (id, uuid) = (user.id.into(), user.uuid.into());
    Call::new(&SET, [id, uuid, hash.into(), hash.pepper().into(), at.into()], version)
}

/// Replaces a hash by another of the same password, if `old` is still stored. The version stays, so
/// concurrent logins with the password succeed. So does the time: the password is the same.
pub fn rehash(user: UserId, version: i64, old: &StoredText, new: &StoredText) -> Call<i64> {
    let params = [user.into(), version.into(), old.into(), new.into(), new.pepper().into()];
    Call::new(&REHASH, params, self::version)
}

/// Reads when the password of a user was set; no row without a password.
pub fn changed_at(user: UserKey) -> Call<Now> {
    Call::new(&CHANGED_AT, [user.id.into()], |mut row| row.next())
}

/// Finds the highest user id that has a credential.
pub fn last() -> Call<UserId> {
    Call::new(&LAST, [], |mut row| row.next())
}

/// Reads at most `limit` stored hashes and their users, of users from `from` (inclusive) to `before`
/// (exclusive).
pub fn sample(from: UserId, before: UserId, limit: i64) -> Call<(UserUuid, StoredText)> {
    Call::new(&SAMPLE, [from.into(), before.into(), limit.into()], |mut row| Ok((row.next()?, row.next()?)))
}

/// A stored hash and its user.
#[derive(Clone, Debug)]
pub struct Owned {
    /// The user's id.
    pub user: UserId,
    /// The user's public identifier.
    pub uuid: UserUuid,
    /// The stored hash.
    pub hash: StoredText,
}

impl Owned {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self { user: row.next()?, uuid: row.next()?, hash: row.next()? })
    }
}

/// Reads at most `limit` unsealed hashes of users after `after`.
pub fn plain(after: UserId, limit: i64) -> Call<Owned> {
    Call::new(&PLAIN, [after.into(), limit.into()], Owned::read)
}

/// Reads at most `limit` hashes sealed with a pepper before `version`, after the pair of a version and a user
/// id.
pub fn sealed_before(version: i64, after: (i64, UserId), limit: i64) -> Call<Owned> {
    let params = [version.into(), after.0.into(), after.1.into(), limit.into()];
    Call::new(&SEALED_BEFORE, params, Owned::read)
}

/// Stores hashes sealed again, all with the same pepper or with none, where the old text is still stored.
/// Nothing else about a credential changes, so concurrent logins succeed.
pub fn seal<'a>(
    pepper: Option<i64>,
    hashes: impl IntoIterator<Item = (UserId, &'a StoredText, &'a StoredText)>,
) -> Call<i64> {
    let row =
        |(user, old, new): (UserId, &StoredText, &StoredText)| json!([user, old.as_str(), new.as_str()]);
    let rows: Vec<Json> = hashes.into_iter().map(row).collect();
    Call::new(&SEAL, [Json::Array(rows).to_string().into(), pepper.into()], version)
}

/// Adds failed logins to those of users, by user and number.
pub fn add_failures(failures: &[(UserKey, i64)]) -> Call<i64> {
    let row = |(user, number): &(UserKey, i64)| json!([user.id, user.uuid.0.simple().to_string(), number]);
    let rows = failures.iter().map(row).collect();
    Call::new(&ADD_FAILURES, [Json::Array(rows).to_string().into()], version)
}

/// Forgets the failed logins of the user of this session; no row when there were none, or no such session.
pub fn forget_failures(session: SessionId) -> Call<i64> {
    Call::new(&FORGET_FAILURES, [session.into()], version)
}

/// Removes every credential of a user.
pub fn remove(user: UserKey) -> Call<i64> {
    Call::new(&REMOVE, [user.id.into(), user.uuid.into()], version)
}

fn version(mut row: Row) -> Result<i64, Error> {
    row.next()
}
