//! Keys of the details in the audit trail, sealed by the master key. Erasing a user removes his.

use model::{Now, UserUuid};
use serde_json::Value as Json;

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    // PostgreSQL waits for whoever is just erasing the user, and makes him wait for this: else a key might come after
    // the last look at them. SQLite has one writer.
    INSERT = Stmt::each(
        "audit_key.insert",
        "INSERT INTO gw.audit_keys (id, user_uuid, sealed, created_at) SELECT $1, $2, $3, $4 \
         WHERE COALESCE((SELECT u.state FROM gw.users u WHERE u.uuid = $2 FOR SHARE), '') <> 'erased' \
         ON CONFLICT (id) DO NOTHING RETURNING id",
        "INSERT INTO gw.audit_keys (id, user_uuid, sealed, created_at) SELECT $1, $2, $3, $4 \
         WHERE NOT EXISTS (SELECT 1 FROM gw.users u WHERE u.uuid = $2 AND u.state = 'erased') \
         ON CONFLICT (id) DO NOTHING RETURNING id",
    );
    // The parameter is an array of UUIDs. LATERAL with LIMIT is one look into an index each.
    ERASED = Stmt::each(
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
        "SELECT id, user_uuid, sealed, created_at FROM gw.audit_keys WHERE id = $1",
    );
    REMOVE_OF_USER = Stmt::new(
        "audit_key.remove_of_user",
        "DELETE FROM gw.audit_keys WHERE user_uuid = $1 RETURNING id",
    );
}

/// A key, sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditKey {
    /// Its name in the details that it opens: 8 bytes.
    pub id: Vec<u8>,
    /// Whose details; the nil UUID where there is no user.
    pub user: UserUuid,
    /// The key, as the node that made it keeps it.
    pub sealed: Vec<u8>,
    /// When it came here.
    pub created_at: Now,
}

/// Keeps a key; no row when it is here already, or its user was erased.
pub fn insert(key: &AuditKey) -> Call<Vec<u8>> {
    let sealed = key.sealed.as_slice();
    let params = [key.id.as_slice().into(), key.user.into(), sealed.into(), key.created_at.into()];
    Call::new(&INSERT, params, id)
}

/// The key of this name.
pub fn find(name: &[u8; 8]) -> Call<AuditKey> {
    Call::new(&FIND, [name.as_slice().into()], |mut row| {
        Ok(AuditKey { id: row.next()?, user: row.next()?, sealed: row.next()?, created_at: row.next()? })
    })
}

/// Those of these users who are erased.
pub fn erased<'a>(users: impl IntoIterator<Item = &'a UserUuid>) -> Call<UserUuid> {
    let users: Json = users.into_iter().map(|user| user.0.simple().to_string()).collect();
    Call::new(&ERASED, [users.to_string().into()], |mut row| row.next())
}

/// Removes every key of a user: nobody reads his details any more.
pub fn remove_of_user(user: UserUuid) -> Call<Vec<u8>> {
    Call::new(&REMOVE_OF_USER, [user.into()], id)
}

fn id(mut row: Row) -> Result<Vec<u8>, Error> {
    row.next()
}
