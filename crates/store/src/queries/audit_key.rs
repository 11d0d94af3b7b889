//! Keys of the details in the audit trail, sealed by the master key. Erasing a user removes that user's keys.

use model::{Now, UserUuid, hex};
use serde_json::Value as Json;

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    // The first parameter is an array of `[id, user, sealed]`, all in hex. On PostgreSQL the row lock makes
    // this statement and an erasure of the same user wait for each other: otherwise a key could arrive after
    // the erasure's last look. SQLite has one writer.
    INSERT = Stmt::per_engine(
        "audit_key.insert",
        "INSERT INTO gw.audit_keys (id, user_uuid, sealed, created_at) \
         SELECT decode(e.value->>0, 'hex'), CAST(e.value->>1 AS uuid), decode(e.value->>2, 'hex'), $2 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) \
         WHERE COALESCE((SELECT u.state FROM gw.users u WHERE u.uuid = CAST(e.value->>1 AS uuid) FOR \
         SHARE), '') \
         <> 'erased' ON CONFLICT (id) DO NOTHING RETURNING id",
        "INSERT INTO gw.audit_keys (id, user_uuid, sealed, created_at) \
         SELECT unhex(e.value->>0), unhex(e.value->>1), unhex(e.value->>2), $2 FROM json_each($1) e \
         WHERE NOT EXISTS (SELECT 1 FROM gw.users u WHERE u.uuid = unhex(e.value->>1) AND u.state = \
         'erased') \
         ON CONFLICT (id) DO NOTHING RETURNING id",
    );
    // The parameter is an array of ids in hex.
    MISSING = Stmt::per_engine(
        "audit_key.missing",
        "SELECT decode(e.value, 'hex') FROM jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS \
         e(value) \
         WHERE NOT EXISTS (SELECT 1 FROM gw.audit_keys k WHERE k.id = decode(e.value, 'hex'))",
        "SELECT unhex(e.value) FROM json_each($1) e \
         WHERE NOT EXISTS (SELECT 1 FROM gw.audit_keys k WHERE k.id = unhex(e.value))",
    );
    // The parameter is an array of UUIDs. LATERAL with LIMIT makes it one index lookup each.
    ERASED = Stmt::per_engine(
        "audit_key.erased",
        "SELECT u.uuid FROM (SELECT CAST(e.value AS uuid) AS uuid \
         FROM jsonb_array_elements_text(CAST(CAST($1 AS text) AS jsonb)) AS e(value)) r, \
         LATERAL (SELECT u.uuid, u.state FROM gw.users u WHERE u.uuid = r.uuid LIMIT 1) u \
         WHERE u.state = 'erased'",
        "SELECT u.uuid FROM json_each($1) e CROSS JOIN gw.users u ON u.uuid = unhex(e.value) \
         WHERE u.state = 'erased'",
    );
    FIND = Stmt::new(
        "audit_key.find",
        "SELECT id, user_uuid, sealed FROM gw.audit_keys WHERE id = $1",
    );
    REMOVE_OF_USER = Stmt::new(
        "audit_key.remove_of_user",
        "DELETE FROM gw.audit_keys WHERE user_uuid = $1 RETURNING id",
    );
}

/// A sealed key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditKey {
    /// The id that sealed details name: 8 bytes.
    pub id: Vec<u8>,
    /// The user whose details it opens; the nil UUID where there is no user.
    pub user: UserUuid,
    /// The sealed key, byte for byte as on the node that created it.
    pub sealed: Vec<u8>,
}

/// Inserts keys at `now`; returns the ids of those that are new and whose users are not erased.
pub fn insert<'a>(keys: impl IntoIterator<Item = &'a AuditKey>, now: Now) -> Call<Vec<u8>> {
    let line = |key: &AuditKey| -> Json {
        [hex::encode(&key.id), key.user.0.simple().to_string(), hex::encode(&key.sealed)]
            .into_iter()
            .collect()
    };
    let keys: Json = keys.into_iter().map(line).collect();
    Call::new(&INSERT, [keys.to_string().into(), now.into()], id)
}

/// Returns those of the ids that have no key.
pub fn missing<'a>(ids: impl IntoIterator<Item = &'a [u8]>) -> Call<Vec<u8>> {
    let ids: Json = ids.into_iter().map(hex::encode).collect();
    Call::new(&MISSING, [ids.to_string().into()], id)
}

/// Finds the key with this id.
pub fn find(name: &[u8; 8]) -> Call<AuditKey> {
    Call::new(&FIND, [name.as_slice().into()], |mut row| {
        Ok(AuditKey { id: row.next()?, user: row.next()?, sealed: row.next()? })
    })
}

/// Returns those of the users that are erased.
pub fn erased<'a>(users: impl IntoIterator<Item = &'a UserUuid>) -> Call<UserUuid> {
    let users: Json = users.into_iter().map(|user| user.0.simple().to_string()).collect();
    Call::new(&ERASED, [users.to_string().into()], |mut row| row.next())
}

/// Removes every key of a user: the user's details become unreadable.
pub fn remove_of_user(user: UserUuid) -> Call<Vec<u8>> {
    Call::new(&REMOVE_OF_USER, [user.into()], id)
}

fn id(mut row: Row) -> Result<Vec<u8>, Error> {
    row.next()
}
