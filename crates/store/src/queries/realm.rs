//! The realm: the identity of this database, and the master key that seals its secrets.

use model::Now;
use uuid::Uuid;

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    FIND = Stmt::new("realm.find", "SELECT uuid, master_key_id, created_at FROM gw.realm WHERE id = 1");
    INSERT = Stmt::new(
        "realm.insert",
        "INSERT INTO gw.realm (id, uuid, master_key_id, created_at) VALUES (1, $1, $2, $3) \
         ON CONFLICT DO NOTHING RETURNING uuid",
    );
    RESEAL = Stmt::new("realm.reseal", "UPDATE gw.realm SET master_key_id = $1 WHERE id = 1 RETURNING uuid");
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
}

/// Finds the realm; no row before it is created.
pub fn find() -> Call<Realm> {
    Call::new(&FIND, [], |mut row: Row| {
        Ok(Realm { uuid: row.next()?, master_key_id: row.next()?, created_at: row.next()? })
    })
}

/// Creates the realm; no row when it exists.
pub fn insert(realm: &Realm) -> Call<Uuid> {
    let params = [realm.uuid.into(), realm.master_key_id.as_str().into(), realm.created_at.into()];
    Call::new(&INSERT, params, uuid)
}

/// Stores the id of the new master key.
pub fn reseal(master_key_id: &str) -> Call<Uuid> {
    Call::new(&RESEAL, [master_key_id.into()], uuid)
}

fn uuid(mut row: Row) -> Result<Uuid, Error> {
    row.next()
}
