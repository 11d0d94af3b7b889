//! Users in bulk: the lookups and inserts of an import, and the reads of an export.
//!
//! Many rows travel as one parameter, a JSON array of arrays, so that the statement's text is constant.

use model::{Email, Now, UserId, UserUuid, Username};
use protocol::sealed::pepper::StoredText;
use serde_json::{Value as Json, json};

use super::user::State;
use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    EXPORT = Stmt::new(
        "transfer.export",
        "SELECT u.id, u.uuid, u.email, u.email_verified_at, u.username, u.role, u.state, u.profile, \
         u.created_at, \
         u.updated_at, (SELECT c.data FROM gw.credentials c WHERE c.user_id = u.id AND c.kind = 'password') \
         FROM gw.users u WHERE u.id > $1 ORDER BY u.id LIMIT $2",
    );
    // Each row of the parameter: [id, uuid, email key, username key]. LATERAL with LIMIT makes it one index
    // lookup per row. PostgreSQL would plan a join while the table is empty and then scan the table
    // repeatedly as it fills.
    MATCHES = Stmt::per_engine(
        "transfer.matches",
        "WITH r AS (SELECT e.key - 1 AS place, CAST(e.value->>0 AS bigint) AS id, CAST(e.value->>1 AS uuid) \
         AS uuid, \
         e.value->>2 AS email_key, e.value->>3 AS username_key \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) WITH ORDINALITY AS e(value, key)), \
         m AS (SELECT r.place, u.id FROM r, LATERAL (SELECT u.id FROM gw.users u WHERE u.id = r.id LIMIT 1) \
         u \
         UNION SELECT r.place, u.id FROM r, LATERAL (SELECT u.id FROM gw.users u WHERE u.uuid = r.uuid \
         LIMIT 1) u \
         UNION SELECT r.place, u.id FROM r, \
         LATERAL (SELECT u.id FROM gw.users u WHERE u.email_key = r.email_key LIMIT 1) u \
         UNION SELECT r.place, u.id FROM r, \
         LATERAL (SELECT u.id FROM gw.users u WHERE u.username_key = r.username_key LIMIT 1) u) \
         SELECT m.place, u.id, u.uuid, u.email_key, u.username_key, u.state, \
         (SELECT c.data FROM gw.credentials c WHERE c.user_id = m.id AND c.kind = 'password') \
         FROM m, LATERAL (SELECT * FROM gw.users u WHERE u.id = m.id LIMIT 1) u ORDER BY m.place, u.id",
        "WITH r AS MATERIALIZED (SELECT e.key AS place, e.value->>0 AS id, unhex(e.value->>1) AS uuid, \
         e.value->>2 AS email_key, e.value->>3 AS username_key FROM json_each($1) e), \
         m AS MATERIALIZED (SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.id = r.id \
         UNION SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.uuid = r.uuid \
         UNION SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.email_key = r.email_key \
         UNION SELECT r.place, u.id FROM r CROSS JOIN gw.users u ON u.username_key = r.username_key) \
         SELECT m.place, u.id, u.uuid, u.email_key, u.username_key, u.state, \
         (SELECT c.data FROM gw.credentials c WHERE c.user_id = m.id AND c.kind = 'password') \
         FROM m CROSS JOIN gw.users u ON u.id = m.id ORDER BY m.place, m.id",
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
         profile, created_at, updated_at) \
         SELECT COALESCE(CAST(e.value->>0 AS bigint), \
         nextval(CAST(pg_get_serial_sequence('gw.users', 'id') AS regclass))), \
         CAST(e.value->>1 AS uuid), e.value->>2, e.value->>3, CAST(e.value->>4 AS bigint), e.value->>5, \
         e.value->>6, \
         e.value->>7, e.value->>8, e.value->>9, CAST(e.value->>10 AS bigint), CAST(e.value->>11 AS bigint) \
         FROM (SELECT value, key FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) \
         WITH ORDINALITY AS a(value, key) ORDER BY a.value->>0 IS NULL, a.key) e \
         ON CONFLICT DO NOTHING RETURNING id, uuid",
        "INSERT INTO gw.users (id, uuid, email, email_key, email_verified_at, username, username_key, role, \
         state, \
         profile, created_at, updated_at) \
         SELECT e.value->>0, unhex(e.value->>1), e.value->>2, e.value->>3, e.value->>4, e.value->>5, \
         e.value->>6, \
         e.value->>7, e.value->>8, e.value->>9, e.value->>10, e.value->>11 \
         FROM json_each($1) e WHERE TRUE ORDER BY e.value->>0 IS NULL, e.key \
         ON CONFLICT DO NOTHING RETURNING id, uuid",
    );
    // Each row of the parameter: [user id, password hash, pepper].
    INSERT_PASSWORDS = Stmt::per_engine(
        "transfer.insert_passwords",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at) \
         SELECT CAST(e.value->>0 AS bigint), 'password', e.value->>1, CAST(e.value->>2 AS bigint), 1, $2 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) RETURNING version",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at) \
         SELECT e.value->>0, 'password', e.value->>1, e.value->>2, 1, $2 FROM json_each($1) e RETURNING \
         version",
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
    /// The email address; none for a tombstone.
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
    /// Whether the user may log in.
    pub state: State,
    /// The stored password hash, if any.
    pub hash: Option<StoredText>,
}

/// Finds every user that shares a value with one of these identities.
pub fn matches<'a>(wanted: impl IntoIterator<Item = Identity<'a>>) -> Call<Match> {
    let row = |wanted: Identity<'_>| {
        let (email, username) = (wanted.email.map(Email::key), wanted.username.map(Username::key));
        json!([wanted.id, wanted.uuid.map(simple), email, username])
    };
    let rows: Vec<Json> = wanted.into_iter().map(row).collect();
    Call::new(&MATCHES, [Json::Array(rows).to_string().into()], |mut row| {
        Ok(Match {
            place: row.next()?,
            id: row.next()?,
            uuid: row.next()?,
            email_key: row.next()?,
            username_key: row.next()?,
            state: State::read(&mut row)?,
            hash: row.next()?,
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
        ])
    };
    let rows: Vec<Json> = users.iter().map(row).collect();
    Call::new(&INSERT, [Json::Array(rows).to_string().into()], |mut row| Ok((row.next()?, row.next()?)))
}

/// Sets the passwords of users inserted in the same transaction.
pub fn insert_passwords(hashes: &[(UserId, &StoredText)], at: Now) -> Call<i64> {
    let rows: Vec<Json> = hashes.iter().map(|(id, hash)| json!([id, hash.as_str(), hash.pepper()])).collect();
    let params = [Json::Array(rows).to_string().into(), at.into()];
    Call::new(&INSERT_PASSWORDS, params, |mut row: Row| -> Result<i64, Error> { row.next() })
}

/// Formats a UUID as 32 hexadecimal digits, which both engines read.
fn simple(uuid: UserUuid) -> String {
    uuid.0.simple().to_string()
}
