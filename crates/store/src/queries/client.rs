//! Clients with their own credentials, such as an API that introspects tokens.

use model::{ClientId, ClientRights, Now};

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

macro_rules! columns {
    () => {
        "id, name, secret_hash, rights, created_at, rotated_at, rights_at"
    };
}

statements! {
    INSERT = Stmt::new(
        "client.insert",
        "INSERT INTO gw.clients (id, name, secret_hash, rights, created_at, rotated_at, rights_at) \
         VALUES ($1, $2, $3, $4, $5, $5, $5) ON CONFLICT DO NOTHING RETURNING id",
    );
    FIND = Stmt::new(
        "client.find",
        concat!("SELECT ", columns!(), " FROM gw.clients WHERE id = $1"),
    );
    ALL = Stmt::new(
        "client.all",
        concat!("SELECT ", columns!(), " FROM gw.clients ORDER BY id"),
    )
    .scanning("an operator lists them all; there are as many as there are applications");
    ROTATE = Stmt::new(
        "client.rotate",
        "UPDATE gw.clients SET secret_hash = $2, rotated_at = $3 WHERE id = $1 RETURNING id",
    );
    SET_RIGHTS = Stmt::new(
        "client.set_rights",
        "UPDATE gw.clients SET rights = $2, rights_at = $3 WHERE id = $1 RETURNING id",
    );
    REMOVE = Stmt::new(
        "client.remove",
        concat!("DELETE FROM gw.clients WHERE id = $1 RETURNING ", columns!()),
    );
}

/// One client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its `client_id`.
    pub id: ClientId,
    /// Its display name.
    pub name: String,
    /// SHA-256 of its random secret.
    pub secret_hash: [u8; 32],
    /// What it may do.
    pub rights: ClientRights,
    /// When it was added.
    pub created_at: Now,
    /// When its secret was last replaced.
    pub rotated_at: Now,
    /// When it got its rights.
    pub rights_at: Now,
}

impl Client {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.next()?,
            name: row.next()?,
            secret_hash: row.next()?,
            rights: row.next()?,
            created_at: row.next()?,
            rotated_at: row.next()?,
            rights_at: row.next()?,
        })
    }
}

/// Adds a client; no row when the id is taken.
pub fn insert(
    id: &ClientId,
    name: &str,
    secret_hash: [u8; 32],
    rights: &ClientRights,
    at: Now,
) -> Call<ClientId> {
    Call::new(&INSERT, [id.into(), name.into(), secret_hash.into(), rights.into(), at.into()], self::id)
}

/// Finds the client with this id.
pub fn find(id: &ClientId) -> Call<Client> {
    Call::new(&FIND, [id.into()], Client::read)
}

/// Lists every client, by id.
pub fn all() -> Call<Client> {
    Call::new(&ALL, [], Client::read)
}

/// Replaces a client's secret; no row for an unknown id.
pub fn rotate(id: &ClientId, secret_hash: [u8; 32], at: Now) -> Call<ClientId> {
    Call::new(&ROTATE, [id.into(), secret_hash.into(), at.into()], self::id)
}

/// Replaces a client's rights; no row for an unknown id.
pub fn set_rights(id: &ClientId, rights: &ClientRights, at: Now) -> Call<ClientId> {
    Call::new(&SET_RIGHTS, [id.into(), rights.into(), at.into()], self::id)
}

/// Removes a client; no row for an unknown id.
pub fn remove(id: &ClientId) -> Call<Client> {
    Call::new(&REMOVE, [id.into()], Client::read)
}

fn id(mut row: Row) -> Result<ClientId, Error> {
    row.next()
}
