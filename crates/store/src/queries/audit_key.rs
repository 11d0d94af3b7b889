//! Keys of the details in the audit trail, sealed by the master key. Erasing a user removes that user's keys.

use model::{Now, UserUuid, hex};
use serde_json::Value as Json;

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    // The first parameter is an array of `[id, user, sealed, master key]`, the first three in hex. On
    // PostgreSQL the row lock makes this statement and an erasure of the same user wait for each other:
    // otherwise a key could arrive after the erasure's last look. SQLite has one writer.
    INSERT = Stmt::per_engine(
        "audit_key.insert",
        "INSERT INTO gw.audit_keys (id, user_uuid, sealed, created_at, master_key) \
         SELECT decode(e.value->>0, 'hex'), CAST(e.value->>1 AS uuid), decode(e.value->>2, 'hex'), $2, \
         e.value->>3 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) \
         WHERE COALESCE((SELECT u.state FROM gw.users u WHERE u.uuid = CAST(e.value->>1 AS uuid) FOR \
         SHARE), '') \
         <> 'erased' ON CONFLICT (id) DO NOTHING RETURNING id",
        "INSERT INTO gw.audit_keys (id, user_uuid, sealed, created_at, master_key) \
         SELECT unhex(e.value->>0), unhex(e.value->>1), unhex(e.value->>2), $2, e.value->>3 \
         FROM json_each($1) e \
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
        "SELECT id, user_uuid, sealed, master_key FROM gw.audit_keys WHERE id = $1",
    );
    // Sealed by another line than $1, or by one that is not noted.
    SEALED_BY_OTHERS = Stmt::new(
        "audit_key.sealed_by_others",
        "SELECT id, user_uuid, sealed, master_key FROM gw.audit_keys \
         WHERE id > $2 AND (master_key <> $1 OR master_key IS NULL) ORDER BY id LIMIT $3",
    )
    .scanning("`keys reseal` goes through all keys");
    // The first parameter is an array of `[id, sealed]` in hex.
    RESEAL = Stmt::per_engine(
        "audit_key.reseal",
        "UPDATE gw.audit_keys AS k SET sealed = decode(e.value->>1, 'hex'), master_key = $2 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) \
         WHERE k.id = decode(e.value->>0, 'hex') RETURNING k.id",
        "UPDATE gw.audit_keys SET sealed = unhex(e.value->>1), master_key = $2 \
         FROM json_each($1) e WHERE audit_keys.id = unhex(e.value->>0) RETURNING audit_keys.id",
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
    /// The id of the master key that sealed it; `None` where the release before has written the row.
    pub master_key: Option<String>,
}

impl AuditKey {
    fn read(mut row: Row) -> Result<Self, Error> {
        let (id, user, sealed, master_key) = (row.next()?, row.next()?, row.next()?, row.next()?);
        Ok(Self { id, user, sealed, master_key })
    }
}

/// Inserts keys at `now`; returns the ids of those that are new and whose users are not erased.
pub fn insert<'a>(keys: impl IntoIterator<Item = &'a AuditKey>, now: Now) -> Call<Vec<u8>> {
    let line = |key: &AuditKey| -> Json {
        let (id, user) = (hex::encode(&key.id), key.user.0.simple().to_string());
        serde_json::json!([id, user, hex::encode(&key.sealed), key.master_key])
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
    Call::new(&FIND, [name.as_slice().into()], AuditKey::read)
}

/// Returns at most `limit` keys after the id `after`, in its order, that another master key than this one has
/// sealed.
pub fn sealed_by_others(master_key: &str, after: &[u8], limit: i64) -> Call<AuditKey> {
    Call::new(&SEALED_BY_OTHERS, [master_key.into(), after.into(), limit.into()], AuditKey::read)
}

/// Stores keys, by id, as sealed again by this master key; returns the ids of those that are still there.
pub fn reseal<'a>(keys: impl IntoIterator<Item = &'a (Vec<u8>, Vec<u8>)>, master_key: &str) -> Call<Vec<u8>> {
    let line = |(id, sealed): &(Vec<u8>, Vec<u8>)| serde_json::json!([hex::encode(id), hex::encode(sealed)]);
    let keys: Json = keys.into_iter().map(line).collect();
    Call::new(&RESEAL, [keys.to_string().into(), master_key.into()], id)
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
