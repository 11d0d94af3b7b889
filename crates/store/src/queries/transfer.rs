//! Users in bulk: the lookups and inserts of an import, and the reads of an export.
//!
//! Many rows travel as one parameter, a JSON array of arrays, so that the statement's text is constant.

use model::{Email, Now, UserId, UserKey, UserUuid, Username, hex};
use protocol::sealed::pepper::StoredText;
use serde_json::{Value as Json, json};

use super::second_factor::SecondFactor;
use super::user::State;
use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    EXPORT = Stmt::new(
        "transfer.export",
        "SELECT u.id, u.uuid, u.email, u.email_verified_at, u.username, u.role, u.state, u.profile, \
         u.created_at, \
         u.updated_at, (SELECT c.data FROM gw.credentials c WHERE c.user_id = u.id AND c.kind = 'password'), \
         u.external_id FROM gw.users u WHERE u.id > $1 ORDER BY u.id LIMIT $2",
    );
    // Each row of the parameter: [id, uuid, email key, username key, external id]. LATERAL with LIMIT makes
    // it one index lookup per row. PostgreSQL would plan a join while the table is empty and then scan the
    // table repeatedly as it fills.
    MATCHES = Stmt::per_engine(
        "transfer.matches",
        "WITH r AS (SELECT e.key - 1 AS place, CAST(e.value->>0 AS bigint) AS id, CAST(e.value->>1 AS uuid) \
         AS uuid, \
         e.value->>2 AS email_key, e.value->>3 AS username_key, e.value->>4 AS external_id \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) WITH ORDINALITY AS e(value, key)), \
         m AS (SELECT r.place, u.id FROM r, LATERAL (SELECT u.id FROM gw.users u WHERE u.id = r.id LIMIT 1) \
         u \
         UNION SELECT r.place, u.id FROM r, LATERAL (SELECT u.id FROM gw.users u WHERE u.uuid = r.uuid \
         LIMIT 1) u \
         UNION SELECT r.place, u.id FROM r, \
         LATERAL (SELECT u.id FROM gw.users u WHERE u.email_key = r.email_key LIMIT 1) u \
         UNION SELECT r.place, u.id FROM r, \
         LATERAL (SELECT u.id FROM gw.users u WHERE u.username_key = r.username_key LIMIT 1) u \
         UNION SELECT r.place, u.id FROM r, \
         LATERAL (SELECT u.id FROM gw.users u WHERE u.external_id = r.external_id LIMIT 1) u) \
         SELECT m.place, u.id, u.uuid, u.email_key, u.username_key, u.external_id, u.email_verified_at, \
         u.state, \
         u.profile, c.data, c.version, c.origin, c.origin_version, \
         (SELECT count(*) FROM gw.second_factors f WHERE f.user_id = m.id) \
         FROM m CROSS JOIN LATERAL (SELECT * FROM gw.users u WHERE u.id = m.id LIMIT 1) u \
         LEFT JOIN LATERAL (SELECT * FROM gw.credentials c WHERE c.user_id = m.id AND c.kind = 'password' \
         LIMIT 1) c ON TRUE ORDER BY m.place, u.id",
        "WITH r AS MATERIALIZED (SELECT e.key AS place, e.value->>0 AS id, unhex(e.value->>1) AS uuid, \
         e.value->>2 AS email_key, e.value->>3 AS username_key, e.value->>4 AS external_id \
         FROM json_each($1) e), \
         m AS MATERIALIZED (SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.id = r.id \
         UNION SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.uuid = r.uuid \
         UNION SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.email_key = r.email_key \
         UNION SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.username_key = r.username_key \
         UNION SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.external_id = r.external_id) \
         SELECT m.place, u.id, u.uuid, u.email_key, u.username_key, u.external_id, u.email_verified_at, \
         u.state, \
         u.profile, c.data, c.version, c.origin, c.origin_version, \
         (SELECT count(*) FROM gw.second_factors f WHERE f.user_id = m.id) \
         FROM m CROSS JOIN gw.users u ON u.id = m.id \
         LEFT JOIN gw.credentials c ON c.user_id = u.id AND c.kind = 'password' ORDER BY m.place, m.id",
    );
    // SQLite's sequence has no row before the first user.
    BEGIN_NUMBERS = Stmt::per_engine(
        "transfer.begin_numbers",
        "SELECT CAST(0 AS bigint) WHERE 1 = 0",
        "INSERT INTO sqlite_sequence (name, seq) SELECT 'users', 0 \
         WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence q WHERE q.name = 'users') RETURNING seq",
    )
    .scanning("the table has one row a table");
    // The sequence does not follow explicit ids on PostgreSQL, nor ids of a database that was restored.
    RAISE = Stmt::per_engine(
        "transfer.raise",
        "SELECT setval(CAST(pg_get_serial_sequence('gw.users', 'id') AS regclass), CAST($1 AS bigint)) \
         WHERE CAST($1 AS bigint) > \
         COALESCE(pg_sequence_last_value(CAST(pg_get_serial_sequence('gw.users', 'id') AS regclass)), 0)",
        "UPDATE sqlite_sequence SET seq = $1 WHERE name = 'users' AND seq < $1 RETURNING seq",
    )
    .scanning("the table has one row a table");
    // Rows with explicit ids come first, so that no generated id collides with them.
    INSERT = Stmt::per_engine(
        "transfer.insert",
        "INSERT INTO gw.users (id, uuid, email, email_key, email_verified_at, username, username_key, role, \
         state, \
         profile, created_at, updated_at, external_id) \
         SELECT COALESCE(CAST(e.value->>0 AS bigint), \
         nextval(CAST(pg_get_serial_sequence('gw.users', 'id') AS regclass))), \
         CAST(e.value->>1 AS uuid), e.value->>2, e.value->>3, CAST(e.value->>4 AS bigint), e.value->>5, \
         e.value->>6, \
         e.value->>7, e.value->>8, e.value->>9, CAST(e.value->>10 AS bigint), CAST(e.value->>11 AS bigint), \
         e.value->>12 \
         FROM (SELECT value, key FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) \
         WITH ORDINALITY AS a(value, key) ORDER BY a.value->>0 IS NULL, a.key) e \
         ON CONFLICT DO NOTHING RETURNING id, uuid",
        "INSERT INTO gw.users (id, uuid, email, email_key, email_verified_at, username, username_key, role, \
         state, \
         profile, created_at, updated_at, external_id) \
         SELECT e.value->>0, unhex(e.value->>1), e.value->>2, e.value->>3, e.value->>4, e.value->>5, \
         e.value->>6, \
         e.value->>7, e.value->>8, e.value->>9, e.value->>10, e.value->>11, e.value->>12 \
         FROM json_each($1) e WHERE TRUE ORDER BY e.value->>0 IS NULL, e.key \
         ON CONFLICT DO NOTHING RETURNING id, uuid",
    );
    // Each row of the parameter: [user id, password hash, pepper, digest of the origin's hash in hex].
    INSERT_PASSWORDS = Stmt::per_engine(
        "transfer.insert_passwords",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at, origin, \
         origin_version) \
         SELECT CAST(e.value->>0 AS bigint), 'password', e.value->>1, CAST(e.value->>2 AS bigint), 1, $2, \
         decode(e.value->>3, 'hex'), 1 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) RETURNING version",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at, origin, \
         origin_version) \
         SELECT e.value->>0, 'password', e.value->>1, e.value->>2, 1, $2, unhex(e.value->>3), 1 \
         FROM json_each($1) e RETURNING version",
    );
    // The locked row orders this statement and an erasure, as in `credential.set`.
    TAKE_PASSWORD = Stmt::per_engine(
        "transfer.take_password",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at, origin, \
         origin_version) \
         SELECT u.id, 'password', $3, $4, 1, $5, $6, 1 FROM gw.users u \
         WHERE u.id = $1 AND u.uuid = $2 AND u.state <> 'erased' FOR SHARE OF u \
         ON CONFLICT (user_id, kind) DO UPDATE SET data = excluded.data, pepper = excluded.pepper, \
         version = credentials.version + 1, updated_at = excluded.updated_at, failures = 0, \
         origin = excluded.origin, origin_version = credentials.version + 1 \
         WHERE credentials.version = $7 RETURNING version",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at, origin, \
         origin_version) \
         SELECT u.id, 'password', $3, $4, 1, $5, $6, 1 FROM gw.users u \
         WHERE u.id = $1 AND u.uuid = $2 AND u.state <> 'erased' \
         ON CONFLICT (user_id, kind) DO UPDATE SET data = excluded.data, pepper = excluded.pepper, \
         version = credentials.version + 1, updated_at = excluded.updated_at, failures = 0, \
         origin = excluded.origin, origin_version = credentials.version + 1 \
         WHERE credentials.version = $7 RETURNING version",
    );
    FILL_IN = Stmt::new(
        "transfer.fill_in",
        "UPDATE gw.users SET username = COALESCE(username, $3), username_key = COALESCE(username_key, $4), \
         external_id = COALESCE(external_id, $5), email_verified_at = COALESCE(email_verified_at, $6), \
         profile = $7, updated_at = $9 \
         WHERE id = $1 AND uuid = $2 AND state <> 'erased' AND profile = $8 RETURNING id",
    );
}

/// One user with all stored data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The internal id.
    pub id: UserId,
    /// The public identifier.
    pub uuid: UserUuid,
    /// The email address; none for a tombstone.
    pub email: Option<String>,
    /// When the email address was verified.
    pub email_verified_at: Option<Now>,
    /// The username, if any.
    pub username: Option<String>,
    /// The role.
    pub role: String,
    /// Whether the user may log in.
    pub state: State,
    /// The profile attributes, as JSON.
    pub profile: String,
    /// When the user registered.
    pub created_at: Now,
    /// When the row last changed.
    pub updated_at: Now,
    /// The stored password hash, if any.
    pub hash: Option<StoredText>,
    /// The identifier in the system that the user came from.
    pub external_id: Option<String>,
    /// The second factors; none until they are read, too.
    pub second_factors: Vec<SecondFactor>,
}

/// Reads at most `limit` users with ids after `after`, by id, with all stored data.
pub fn export(after: UserId, limit: i64) -> Call<Exported> {
    Call::new(&EXPORT, [after.into(), limit.into()], |mut row| {
        Ok(Exported {
            id: row.next()?,
            uuid: row.next()?,
            email: row.next()?,
            email_verified_at: row.next()?,
            username: row.next()?,
            role: row.next()?,
            state: State::read(&mut row)?,
            profile: row.next()?,
            created_at: row.next()?,
            updated_at: row.next()?,
            hash: row.next()?,
            external_id: row.next()?,
            second_factors: Vec::new(),
        })
    })
}

/// A user to insert, with all data.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The internal id; generated if `None`.
    pub id: Option<UserId>,
    /// The public identifier.
    pub uuid: UserUuid,
    /// The identifier in the system that the user comes from.
    pub external_id: Option<String>,
    /// The email address; none for a tombstone, or for a user with a username alone.
    pub email: Option<Email>,
    /// When the email address was verified.
    pub email_verified_at: Option<Now>,
    /// The username, if any.
    pub username: Option<Username>,
    /// The role.
    pub role: String,
    /// Whether the user may log in.
    pub state: State,
    /// The profile attributes, as JSON.
    pub profile: String,
    /// When the user registered.
    pub created_at: Now,
    /// When the row last changed.
    pub updated_at: Now,
}

/// The unique values of a user: a stored user with one of them conflicts with an import that has it too.
#[derive(Clone, Debug)]
pub struct Identity<'a> {
    /// The internal id.
    pub id: Option<UserId>,
    /// The public identifier.
    pub uuid: Option<UserUuid>,
    /// The email address.
    pub email: Option<&'a Email>,
    /// The username.
    pub username: Option<&'a Username>,
    /// The identifier in the system that the user comes from.
    pub external_id: Option<&'a str>,
}

/// A stored user with an id, uuid, email or username that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The index of the identity in the lookup, from 0.
    pub place: i64,
    /// The internal id.
    pub id: UserId,
    /// The public identifier.
    pub uuid: UserUuid,
    /// The key of the email address.
    pub email_key: Option<String>,
    /// The key of the username.
    pub username_key: Option<String>,
    /// The identifier in the system that the user came from.
    pub external_id: Option<String>,
    /// When the email address was verified.
    pub email_verified_at: Option<Now>,
    /// Whether the user may log in.
    pub state: State,
    /// The profile attributes, as JSON.
    pub profile: String,
    /// The stored password hash, if any.
    pub hash: Option<StoredText>,
    /// The version of the credential; 0 without one.
    pub version: i64,
    /// The digest of the hash of the system that the user came from.
    pub origin: Option<Vec<u8>>,
    /// The version of the credential that came with it; another one was set here.
    pub origin_version: Option<i64>,
    /// Number of second factors.
    pub second_factors: i64,
}

/// Finds every user that shares a value with one of these identities.
pub fn matches<'a>(wanted: impl IntoIterator<Item = Identity<'a>>) -> Call<Match> {
    let row = |wanted: Identity<'_>| {
        let (email, username) = (wanted.email.map(Email::key), wanted.username.map(Username::key));
        json!([wanted.id, wanted.uuid.map(simple), email, username, wanted.external_id])
    };

    let rows: Vec<Json> = wanted.into_iter().map(row).collect();
    Call::new(&MATCHES, [Json::Array(rows).to_string().into()], |mut row| {
        Ok(Match {
            place: row.next()?,
            id: row.next()?,
            uuid: row.next()?,
            email_key: row.next()?,
            username_key: row.next()?,
            external_id: row.next()?,
            email_verified_at: row.next()?,
            state: State::read(&mut row)?,
            profile: row.next()?,
            hash: row.next()?,
            version: row.next::<Option<i64>>()?.unwrap_or(0),
            origin: row.next()?,
            origin_version: row.next()?,
            second_factors: row.next()?,
        })
    })
}

/// Prepares the sequence of ids; [`raise`] follows in the same batch.
pub fn begin_numbers() -> Call<i64> {
    Call::new(&BEGIN_NUMBERS, [], |mut row| row.next())
}

/// Raises the sequence of ids to `highest`, never lowers it; no row if it is there already. Runs before an
/// insert of explicit ids.
pub fn raise(highest: UserId) -> Call<i64> {
    Call::new(&RAISE, [highest.into()], |mut row| row.next())
}

/// Inserts users, except those whose id, uuid, email or username is taken. Returns the id and uuid of each
/// inserted user.
pub fn insert(users: &[Imported]) -> Call<(UserId, UserUuid)> {
    let row = |user: &Imported| {
        json!([
            user.id,
            simple(user.uuid),
            user.email.as_ref().map(Email::address),
            user.email.as_ref().map(Email::key),
            user.email_verified_at.map(Now::micros),
            user.username.as_ref().map(Username::name),
            user.username.as_ref().map(Username::key),
            user.role,
            user.state.as_str(),
            user.profile,
            user.created_at.micros(),
            user.updated_at.micros(),
            user.external_id,
        ])
    };
    let rows: Vec<Json> = users.iter().map(row).collect();
    Call::new(&INSERT, [Json::Array(rows).to_string().into()], |mut row| Ok((row.next()?, row.next()?)))
}

/// A hash of another system.
#[derive(Clone, Debug)]
pub struct OriginHash {
    /// The text to store.
    pub stored: StoredText,
    /// The digest by which it is recognised.
    pub digest: [u8; 32],
}

/// Sets the passwords of users inserted in the same transaction.
pub fn insert_passwords(hashes: &[(UserId, &OriginHash)], at: Now) -> Call<i64> {
    let row = |(id, hash): &(UserId, &OriginHash)| {
        json!([id, hash.stored.as_str(), hash.stored.pepper(), hex::encode(&hash.digest)])
    };
    let rows: Vec<Json> = hashes.iter().map(row).collect();
    Call::new(&INSERT_PASSWORDS, [Json::Array(rows).to_string().into(), at.into()], version)
}

/// Sets the password of a user as another system has it, if the version of the credential is still
/// `expected`, 0 for none; returns the new version.
pub fn take_password(user: UserKey, expected: i64, hash: &OriginHash, at: Now) -> Call<i64> {
    let (id, uuid, origin) = (user.id.into(), user.uuid.into(), hash.digest.to_vec().into());
    let (text, pepper) = ((&hash.stored).into(), hash.stored.pepper().into());
    Call::new(&TAKE_PASSWORD, [id, uuid, text, pepper, at.into(), origin, expected.into()], version)
}

/// What an account lacks.
#[derive(Clone, Debug)]
pub struct Missing {
    /// The username.
    pub username: Option<Username>,
    /// The identifier in the system that the user came from.
    pub external_id: Option<String>,
    /// When the email address was verified.
    pub email_verified_at: Option<Now>,
    /// The whole profile, as JSON.
    pub profile: String,
    /// The profile as it was read.
    pub old_profile: String,
}

/// Sets what an account lacks; no row for a tombstone, or when the profile has changed.
pub fn fill_in(user: UserKey, missing: &Missing, at: Now) -> Call<UserId> {
    let params = [
        user.id.into(),
        user.uuid.into(),
        missing.username.as_ref().map(Username::name).into(),
        missing.username.as_ref().map(Username::key).into(),
        missing.external_id.as_deref().into(),
        missing.email_verified_at.into(),
        missing.profile.as_str().into(),
        missing.old_profile.as_str().into(),
        at.into(),
    ];
    Call::new(&FILL_IN, params, |mut row| row.next())
}

fn version(mut row: Row) -> Result<i64, Error> {
    row.next()
}

/// Formats a UUID as 32 hexadecimal digits, which both engines read.
fn simple(uuid: UserUuid) -> String {
    uuid.0.simple().to_string()
}
