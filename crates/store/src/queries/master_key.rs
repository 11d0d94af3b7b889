//! The lines of the master key file that this database has seen, and what hangs on each.

use model::Now;

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    ALL = Stmt::new(
        "master_key.all",
        "SELECT id, checkpoint_key, succession, first_seen, resealed_at FROM gw.master_keys \
         ORDER BY first_seen, id",
    )
    .scanning("every line is wanted; there are a handful");
    INSERT = Stmt::new(
        "master_key.insert",
        "INSERT INTO gw.master_keys (id, checkpoint_key, first_seen) VALUES ($1, $2, $3) \
         ON CONFLICT DO NOTHING RETURNING id",
    );
    VOUCH = Stmt::new(
        "master_key.vouch",
        "UPDATE gw.master_keys SET succession = $2 WHERE id = $1 RETURNING id",
    );
    LEAVE_OTHERS = Stmt::new(
        "master_key.leave_others",
        "UPDATE gw.master_keys SET resealed_at = $2 WHERE id <> $1 AND resealed_at IS NULL RETURNING id",
    )
    .scanning("there are a handful");
    RETURN_TO = Stmt::new(
        "master_key.return_to",
        "UPDATE gw.master_keys SET resealed_at = NULL WHERE id = $1 RETURNING id",
    );
    DETAIL_KEYS = Stmt::new(
        "master_key.detail_keys",
        "SELECT count(*) FROM gw.audit_keys WHERE master_key = $1",
    );
    DETAIL_KEYS_OF_NONE = Stmt::new(
        "master_key.detail_keys_of_none",
        "SELECT count(*) FROM gw.audit_keys WHERE master_key IS NULL",
    );
    SESSIONS = Stmt::new(
        "master_key.sessions",
        "SELECT count(*), max(ends_at) FROM gw.sessions \
         WHERE NOT revoked AND created_at <= $1 AND ends_at > $2 AND expires_at > $2",
    )
    .scanning("it runs at the start of a server whose master key file lacks a line, and for `keys list`");
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterKey {
    /// The id of the key.
    pub id: String,
    /// The public key of its checkpoints.
    pub checkpoint_key: Vec<u8>,
    /// The statement by which the checkpoint key of a newer line vouches for this one.
    pub succession: Option<Vec<u8>>,
    /// When a server or command first had it.
    pub first_seen: Now,
    /// When everything that can be was sealed again under another line.
    pub resealed_at: Option<Now>,
}

/// Lists every line, oldest first.
pub fn all() -> Call<MasterKey> {
    Call::new(&ALL, [], |mut row: Row| {
        Ok(MasterKey {
            id: row.next()?,
            checkpoint_key: row.next()?,
            succession: row.next()?,
            first_seen: row.next()?,
            resealed_at: row.next()?,
        })
    })
}

/// Adds a line; no row when it is known.
pub fn insert(key_id: &str, checkpoint_key: &[u8], now: Now) -> Call<String> {
    Call::new(&INSERT, [key_id.into(), checkpoint_key.into(), now.into()], id)
}

/// Stores by which statement another line vouches for this one; no row when there is one.
pub fn vouch(key_id: &str, succession: &[u8]) -> Call<String> {
    Call::new(&VOUCH, [key_id.into(), succession.into()], id)
}

/// Notes for every other line that everything was sealed again under this one.
pub fn leave_others(key_id: &str, now: Now) -> Call<String> {
    Call::new(&LEAVE_OTHERS, [key_id.into(), now.into()], id)
}

/// Notes that this line seals again.
pub fn return_to(key_id: &str) -> Call<String> {
    Call::new(&RETURN_TO, [key_id.into()], id)
}

/// Counts the detail keys that a line has sealed; with `None`, those whose line is not noted.
pub fn detail_keys(key_id: Option<&str>) -> Call<i64> {
    let read = |mut row: Row| row.next();
    match key_id {
        Some(key_id) => Call::new(&DETAIL_KEYS, [key_id.into()], read),
        None => Call::new(&DETAIL_KEYS_OF_NONE, [], read),
    }
}

/// Counts the sessions that began by `until` and are live at `now`, and returns the end of the last of them:
/// only those can have refresh tokens that were made by then.
pub fn sessions(until: Now, now: Now) -> Call<(i64, Option<Now>)> {
    Call::new(&SESSIONS, [until.into(), now.into()], |mut row: Row| Ok((row.next()?, row.next()?)))
}

fn id(mut row: Row) -> Result<String, Error> {
    row.next()
}
