//! Users in bulk: what an import looks for and inserts, and what an export reads.
//!
//! Many rows travel as one parameter, a JSON array of arrays, so that a statement stays one text.

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
        "SELECT u.id, u.uuid, u.email, u.email_verified_at, u.username, u.role, u.state, u.profile, u.created_at, \
         u.updated_at, (SELECT c.data FROM gw.credentials c WHERE c.user_id = u.id AND c.kind = 'password') \
         FROM gw.users u WHERE u.id > $1 ORDER BY u.id LIMIT $2",
    );
    // Each row of the parameter: [number, uuid, email key, username key]. LATERAL with LIMIT is one look into an index
    // a row. A join would be planned while the table is empty, and then walk it again and again while it fills.
    MATCHES = Stmt::per_engine(
        "transfer.matches",
        "WITH r AS (SELECT e.key - 1 AS place, CAST(e.value->>0 AS bigint) AS id, CAST(e.value->>1 AS uuid) AS uuid, \
         e.value->>2 AS email_key, e.value->>3 AS username_key \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) WITH ORDINALITY AS e(value, key)), \
         m AS (SELECT r.place, u.id FROM r, LATERAL (SELECT u.id FROM gw.users u WHERE u.id = r.id LIMIT 1) u \
         UNION SELECT r.place, u.id FROM r, LATERAL (SELECT u.id FROM gw.users u WHERE u.uuid = r.uuid LIMIT 1) u \
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
    // PostgreSQL's generator knows nothing of numbers that were given; SQLite's AUTOINCREMENT does.
    RAISE = Stmt::per_engine(
        "transfer.raise",
        "SELECT setval(CAST(pg_get_serial_sequence('gw.users', 'id') AS regclass), CAST($1 AS bigint)) \
         WHERE CAST($1 AS bigint) > \
         COALESCE(pg_sequence_last_value(CAST(pg_get_serial_sequence('gw.users', 'id') AS regclass)), 0)",
        "SELECT $1 WHERE 1 = 0",
    );
    // Numbers that are given come first, so that none that is made up is in their way.
    INSERT = Stmt::per_engine(
        "transfer.insert",
        "INSERT INTO gw.users (id, uuid, email, email_key, email_verified_at, username, username_key, role, state, \
         profile, created_at, updated_at) \
         SELECT COALESCE(CAST(e.value->>0 AS bigint), \
         nextval(CAST(pg_get_serial_sequence('gw.users', 'id') AS regclass))), \
         CAST(e.value->>1 AS uuid), e.value->>2, e.value->>3, CAST(e.value->>4 AS bigint), e.value->>5, e.value->>6, \
         e.value->>7, e.value->>8, e.value->>9, CAST(e.value->>10 AS bigint), CAST(e.value->>11 AS bigint) \
         FROM (SELECT value, key FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) \
         WITH ORDINALITY AS a(value, key) ORDER BY a.value->>0 IS NULL, a.key) e \
         ON CONFLICT DO NOTHING RETURNING id, uuid",
        "INSERT INTO gw.users (id, uuid, email, email_key, email_verified_at, username, username_key, role, state, \
         profile, created_at, updated_at) \
         SELECT e.value->>0, unhex(e.value->>1), e.value->>2, e.value->>3, e.value->>4, e.value->>5, e.value->>6, \
         e.value->>7, e.value->>8, e.value->>9, e.value->>10, e.value->>11 \
         FROM json_each($1) e WHERE TRUE ORDER BY e.value->>0 IS NULL, e.key \
         ON CONFLICT DO NOTHING RETURNING id, uuid",
    );
    // Each row of the parameter: [number, password hash, pepper].
    INSERT_PASSWORDS = Stmt::per_engine(
        "transfer.insert_passwords",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at) \
         SELECT CAST(e.value->>0 AS bigint), 'password', e.value->>1, CAST(e.value->>2 AS bigint), 1, $2 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) RETURNING version",
        "INSERT INTO gw.credentials (user_id, kind, data, pepper, version, updated_at) \
         SELECT e.value->>0, 'password', e.value->>1, e.value->>2, 1, $2 FROM json_each($1) e RETURNING version",
    );
}

/// One user with everything that is kept of him.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// His number.
    pub id: UserId,
    /// His other name.
    pub uuid: UserUuid,
    /// His address; none for a tombstone.
    pub email: Option<String>,
    /// When he proved that the address is his.
    pub email_verified_at: Option<Now>,
    /// His username, if he has one.
    pub username: Option<String>,
    /// His role.
    pub role: String,
    /// Whether he may log in.
    pub state: State,
    /// His profile attributes, as JSON.
    pub profile: String,
    /// When he registered.
    pub created_at: Now,
    /// When the row last changed.
    pub updated_at: Now,
    /// The stored password hash, if he has one.
    pub hash: Option<StoredText>,
}

/// At most `limit` users after `after`, by number, with everything.
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

/// A user to be inserted, with everything.
#[derive(Clone, Debug)]
pub struct Imported {
    /// His number; made up when there is none.
    pub id: Option<UserId>,
    /// His other name.
    pub uuid: UserUuid,
    /// His address; none for a tombstone.
    pub email: Option<Email>,
    /// When he proved that the address is his.
    pub email_verified_at: Option<Now>,
    /// His username, if he has one.
    pub username: Option<Username>,
    /// His role.
    pub role: String,
    /// Whether he may log in.
    pub state: State,
    /// His profile attributes, as JSON.
    pub profile: String,
    /// When he registered.
    pub created_at: Now,
    /// When the row last changed.
    pub updated_at: Now,
}

/// What identifies a user: whoever has one of these is in the way of another who has it.
#[derive(Clone, Debug)]
pub struct Identity<'a> {
    /// His number.
    pub id: Option<UserId>,
    /// His other name.
    pub uuid: Option<UserUuid>,
    /// His address.
    pub email: Option<&'a Email>,
    /// His username.
    pub username: Option<&'a Username>,
}

/// Somebody who has a number, uuid, email or username that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Which of the identities asked for, from 0.
    pub place: i64,
    /// His number.
    pub id: UserId,
    /// His other name.
    pub uuid: UserUuid,
    /// The key of his address.
    pub email_key: Option<String>,
    /// The key of his username.
    pub username_key: Option<String>,
    /// Whether he may log in.
    pub state: State,
    /// The stored password hash, if he has one.
    pub hash: Option<StoredText>,
}

/// Everybody who has something of these identities.
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

/// Moves the generator of numbers up to `highest`, never down. Goes before an insert of such numbers.
pub fn raise(highest: UserId) -> Call<i64> {
    Call::new(&RAISE, [highest.into()], |mut row| row.next())
}

/// Inserts users; those with a number, uuid, email or username that somebody has are left out. Number and uuid of
/// each who was inserted.
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

/// Gives users who were inserted in the same transaction their passwords.
pub fn insert_passwords(hashes: &[(UserId, &StoredText)], at: Now) -> Call<i64> {
    let rows: Vec<Json> = hashes.iter().map(|(id, hash)| json!([id, hash.as_str(), hash.pepper()])).collect();
    let params = [Json::Array(rows).to_string().into(), at.into()];
    Call::new(&INSERT_PASSWORDS, params, |mut row: Row| -> Result<i64, Error> { row.next() })
}

/// 32 hexadecimal digits, which both engines read.
fn simple(uuid: UserUuid) -> String {
    uuid.0.simple().to_string()
}
