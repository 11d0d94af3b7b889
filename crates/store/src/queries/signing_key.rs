//! Signing keys, sealed by the master key.

use model::{KeyId, Now};

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    ALL = Stmt::new(
        "signing_key.all",
        "SELECT id, algorithm, state, sealed, created_at, changed_at, signs_at FROM gw.keys \
         ORDER BY created_at, id",
    )
    .scanning("every key is wanted; there are a handful");
    INSERT = Stmt::new(
        "signing_key.insert",
        "INSERT INTO gw.keys (id, algorithm, state, sealed, created_at, changed_at, signs_at) \
         VALUES ($1, $2, $3, $4, $5, $5, $6) ON CONFLICT DO NOTHING RETURNING id",
    );
    SIGN_FROM = Stmt::new(
        "signing_key.sign_from",
        "UPDATE gw.keys SET signs_at = $2 WHERE id = $1 AND state = 'next' RETURNING id",
    );
    SET_STATE = Stmt::new(
        "signing_key.set_state",
        "UPDATE gw.keys SET state = $3, changed_at = $4 WHERE id = $1 AND state = $2 RETURNING id",
    );
    SET_SEALED = Stmt::new(
        "signing_key.set_sealed",
        "UPDATE gw.keys SET sealed = $2 WHERE id = $1 RETURNING id",
    );
    REMOVE = Stmt::new("signing_key.remove", "DELETE FROM gw.keys WHERE id = $1 RETURNING id");
    CORRECT_TIMES = Stmt::new(
        "signing_key.correct_times",
        "UPDATE gw.keys SET created_at = CASE WHEN created_at > $1 THEN $1 ELSE created_at END, \
         changed_at = CASE WHEN changed_at > $1 THEN $1 ELSE changed_at END, \
         signs_at = CASE WHEN signs_at > $2 THEN NULL ELSE signs_at END \
         WHERE created_at > $1 OR changed_at > $1 OR signs_at > $2 RETURNING id",
    )
    .scanning("there are a handful");
    REMOVE_OTHERS =
        Stmt::new("signing_key.remove_others", "DELETE FROM gw.keys WHERE id <> $1 RETURNING id")
            .scanning("there are a handful");
    BUMP = Stmt::new(
        "signing_key.bump",
        "UPDATE gw.counters SET value = value + 1 WHERE name = 'keys' RETURNING name",
    );
}

/// The state of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Published so that verifiers know the key before it signs.
    Next,
    /// Signs.
    Active,
    /// Does not sign; published until the last token it signed has expired.
    Retiring,
}

impl State {
    /// The stored text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Active => "active",
            Self::Retiring => "retiring",
        }
    }
}

/// One signing key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The `kid`.
    pub id: KeyId,
    /// The `alg`.
    pub algorithm: String,
    /// The state.
    pub state: State,
    /// The sealed private key.
    pub sealed: Vec<u8>,
    /// When it was created.
    pub created_at: Now,
    /// When its state last changed.
    pub changed_at: Now,
    /// When a published key begins to sign; `None` once it has.
    pub signs_at: Option<Now>,
}

impl Key {
    fn read(mut row: Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.next()?,
            algorithm: row.next()?,
            state: match row.next::<String>()?.as_str() {
                "next" => State::Next,
                "active" => State::Active,
                "retiring" => State::Retiring,
                other => return Err(Error::Corrupt(format!("keys.state is {other:?}"))),
            },
            sealed: row.next()?,
            created_at: row.next()?,
            changed_at: row.next()?,
            signs_at: row.next()?,
        })
    }
}

/// Lists every key, oldest first.
pub fn all() -> Call<Key> {
    Call::new(&ALL, [], Key::read)
}

/// Adds a key; no row when it exists.
pub fn insert(key: &Key) -> Call<KeyId> {
    let params = [
        (&key.id).into(),
        key.algorithm.as_str().into(),
        key.state.as_str().into(),
        key.sealed.clone().into(),
        key.created_at.into(),
        key.signs_at.into(),
    ];
    Call::new(&INSERT, params, id)
}

/// Moves a key from one state to another; no row when it is in another state.
pub fn set_state(key: &KeyId, from: State, to: State, at: Now) -> Call<KeyId> {
    Call::new(&SET_STATE, [key.into(), from.as_str().into(), to.as_str().into(), at.into()], id)
}

/// Stores the private key sealed again.
pub fn set_sealed(key: &KeyId, sealed: Vec<u8>) -> Call<KeyId> {
    Call::new(&SET_SEALED, [key.into(), sealed.into()], id)
}

/// Sets when a published key begins to sign; no row when it is not published only.
pub fn sign_from(key: &KeyId, at: Now) -> Call<KeyId> {
    Call::new(&SIGN_FROM, [key.into(), at.into()], id)
}

/// Removes every other key; returns those that were there.
pub fn remove_others(key: &KeyId) -> Call<KeyId> {
    Call::new(&REMOVE_OTHERS, [key.into()], id)
}

/// Removes a key.
pub fn remove(key: &KeyId) -> Call<KeyId> {
    Call::new(&REMOVE, [key.into()], id)
}

/// Sets times after `now` to `now`.
pub(crate) fn correct_times(now: Now, limit: Now) -> Call<KeyId> {
    Call::new(&CORRECT_TIMES, [now.into(), limit.into()], id)
}

/// Increments the key counter, from which every node learns that the keys have changed.
pub fn bump() -> Call<String> {
    Call::new(&BUMP, [], |mut row| row.next())
}

fn id(mut row: Row) -> Result<KeyId, Error> {
    row.next()
}
