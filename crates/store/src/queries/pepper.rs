//! Peppers: the keys that seal stored password hashes, sealed by the master key.

use model::Now;

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    ALL = Stmt::new(
        "pepper.all",
        "SELECT version, state, sealed, created_at, changed_at FROM gw.peppers ORDER BY version",
    )
    .scanning("every version is wanted; there are a handful");
    INSERT = Stmt::new(
        "pepper.insert",
        "INSERT INTO gw.peppers (version, state, sealed, created_at, changed_at) VALUES ($1, 'active', $2, \
         $3, $3) \
         ON CONFLICT DO NOTHING RETURNING version",
    );
    RETIRE_OLDER = Stmt::new(
        "pepper.retire_older",
        "UPDATE gw.peppers SET state = 'retiring', changed_at = $2 WHERE version < $1 AND state = 'active' \
         RETURNING version",
    )
    .scanning("there are a handful");
    SET_SEALED = Stmt::new(
        "pepper.set_sealed",
        "UPDATE gw.peppers SET sealed = $2 WHERE version = $1 RETURNING version",
    );
    CORRECT_TIMES = Stmt::new(
        "pepper.correct_times",
        "UPDATE gw.peppers SET created_at = CASE WHEN created_at > $1 THEN $1 ELSE created_at END, \
         changed_at = CASE WHEN changed_at > $1 THEN $1 ELSE changed_at END \
         WHERE created_at > $1 OR changed_at > $1 RETURNING version",
    )
    .scanning("there are a handful");
    REMOVE_UNUSED = Stmt::new(
        "pepper.remove_unused",
        "DELETE FROM gw.peppers WHERE version = $1 AND state = 'retiring' \
         AND NOT EXISTS (SELECT 1 FROM gw.credentials c WHERE c.pepper = $1) RETURNING version",
    );
}

/// One version of the pepper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pepper {
    /// The version number, from 1.
    pub version: i64,
    /// Whether it seals new hashes; an older version only opens.
    pub is_active: bool,
    /// The sealed key.
    pub sealed: Vec<u8>,
    /// When it was created.
    pub created_at: Now,
    /// When its state last changed.
    pub changed_at: Now,
}

impl Pepper {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            version: row.next()?,
            is_active: match row.next::<String>()?.as_str() {
                "active" => true,
                "retiring" => false,
                other => return Err(Error::Corrupt(format!("peppers.state is {other:?}"))),
            },
            sealed: row.next()?,
            created_at: row.next()?,
            changed_at: row.next()?,
        })
    }
}

/// Lists every version, oldest first.
pub fn all() -> Call<Pepper> {
    Call::new(&ALL, [], Pepper::read)
}

/// Adds an active version; no row when it exists.
pub fn insert(version: i64, sealed: Vec<u8>, at: Now) -> Call<i64> {
    Call::new(&INSERT, [version.into(), sealed.into(), at.into()], number)
}

/// Retires every version before this one, so that it only opens.
pub fn retire_older(version: i64, at: Now) -> Call<i64> {
    Call::new(&RETIRE_OLDER, [version.into(), at.into()], number)
}

/// Stores the key sealed again.
pub fn set_sealed(version: i64, sealed: Vec<u8>) -> Call<i64> {
    Call::new(&SET_SEALED, [version.into(), sealed.into()], number)
}

/// Sets times after `now` to `now`.
pub(crate) fn correct_times(now: Now) -> Call<i64> {
    Call::new(&CORRECT_TIMES, [now.into()], number)
}

/// Removes a retiring version that no credential uses; no row when it stays.
pub fn remove_unused(version: i64) -> Call<i64> {
    Call::new(&REMOVE_UNUSED, [version.into()], number)
}

fn number(mut row: Row) -> Result<i64, Error> {
    row.next()
}
