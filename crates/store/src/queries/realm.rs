//! The realm: the identity of this database, and the master key that seals its secrets.

use model::Now;
use uuid::Uuid;

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    FIND = Stmt::new(
        "realm.find",
        "SELECT uuid, master_key_id, created_at, sealed_key FROM gw.realm WHERE id = 1",
    );
    INSERT = Stmt::new(
        "realm.insert",
        "INSERT INTO gw.realm (id, uuid, master_key_id, created_at, sealed_key) VALUES (1, $1, $2, $3, $4) \
         ON CONFLICT DO NOTHING RETURNING uuid",
    );
    RESEAL = Stmt::new(
        "realm.reseal",
        "UPDATE gw.realm SET master_key_id = $1, sealed_key = $2 WHERE id = 1 RETURNING uuid",
    );
    SET_KEY = Stmt::new(
        "realm.set_key",
        "UPDATE gw.realm SET sealed_key = $1 WHERE id = 1 AND sealed_key IS NULL RETURNING uuid",
    );
}

/// The one realm of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// Its unique identifier, created once.
    pub uuid: Uuid,
    /// The current master key.
    pub master_key_id: String,
    /// When it was created.
    pub created_at: Now,
    /// The realm's own key, sealed; none in a realm that an older release created.
    pub sealed_key: Option<Vec<u8>>,
}

/// Finds the realm; no row before it is created.
pub fn find() -> Call<Realm> {
    Call::new(&FIND, [], |mut row: Row| {
        Ok(Realm {
            uuid: row.next()?,
            master_key_id: row.next()?,
            created_at: row.next()?,
            sealed_key: row.next()?,
        })
    })
}

/// Creates the realm; no row when it exists.
pub fn insert(realm: &Realm) -> Call<Uuid> {
    let (key_id, sealed) = (realm.master_key_id.as_str().into(), realm.sealed_key.clone().into());
    Call::new(&INSERT, [realm.uuid.into(), key_id, realm.created_at.into(), sealed], uuid)
}

/// Stores the id of the new master key, and the realm's own key sealed with it.
pub fn reseal(master_key_id: &str, sealed_key: Vec<u8>) -> Call<Uuid> {
    Call::new(&RESEAL, [master_key_id.into(), sealed_key.into()], uuid)
}

/// Stores the realm's own key; no row when it has one.
pub fn set_key(sealed_key: Vec<u8>) -> Call<Uuid> {
    Call::new(&SET_KEY, [sealed_key.into()], uuid)
}

fn uuid(mut row: Row) -> Result<Uuid, Error> {
    row.next()
}
