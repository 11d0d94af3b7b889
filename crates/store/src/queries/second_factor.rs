//! Second factors that came with imported accounts: kept sealed, and not used yet.

use model::{Now, UserId, UserKey, hex};
use serde_json::{Value as Json, json};
use uuid::Uuid;

use crate::statement::{Call, Stmt, statements};

statements! {
    // Each row of the parameter: [id, user id, kind, sealed in hex].
    INSERT = Stmt::per_engine(
        "second_factor.insert",
        "INSERT INTO gw.second_factors (id, user_id, kind, sealed, created_at) \
         SELECT CAST(e.value->>0 AS uuid), CAST(e.value->>1 AS bigint), e.value->>2, \
         decode(e.value->>3, 'hex'), $2 \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) RETURNING user_id",
        "INSERT INTO gw.second_factors (id, user_id, kind, sealed, created_at) \
         SELECT unhex(e.value->>0), e.value->>1, e.value->>2, unhex(e.value->>3), $2 \
         FROM json_each($1) e RETURNING user_id",
    );
    // The users of one page of an export, in their order.
    PAGE = Stmt::new(
        "second_factor.page",
        "SELECT f.id, f.user_id, f.kind, f.sealed FROM gw.second_factors f \
         WHERE f.user_id >= $1 AND f.user_id <= $2 ORDER BY f.user_id, f.created_at, f.id",
    );
    REMOVE_OF_USER = Stmt::new(
        "second_factor.remove_of_user",
        "DELETE FROM gw.second_factors \
         WHERE user_id = (SELECT u.id FROM gw.users u WHERE u.id = $1 AND u.uuid = $2) RETURNING user_id",
    );
}

/// A second factor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    /// Its id, to which the seal is bound.
    pub id: Uuid,
    /// The user.
    pub user: UserId,
    /// What it is.
    pub kind: String,
    /// Its data, sealed.
    pub sealed: Vec<u8>,
}

/// Inserts second factors of users who exist.
pub fn insert(factors: &[SecondFactor], at: Now) -> Call<UserId> {
    let row = |factor: &SecondFactor| {
        json!([factor.id.simple().to_string(), factor.user, factor.kind, hex::encode(&factor.sealed)])
    };
    let rows: Vec<Json> = factors.iter().map(row).collect();
    Call::new(&INSERT, [Json::Array(rows).to_string().into(), at.into()], |mut row| row.next())
}

/// Reads the second factors of users by number, from the first to the last.
pub fn page(first: UserId, last: UserId) -> Call<SecondFactor> {
    Call::new(&PAGE, [first.into(), last.into()], |mut row| {
        Ok(SecondFactor { id: row.next()?, user: row.next()?, kind: row.next()?, sealed: row.next()? })
    })
}

/// Removes every second factor of a user.
pub fn remove_of_user(user: UserKey) -> Call<UserId> {
    Call::new(&REMOVE_OF_USER, [user.id.into(), user.uuid.into()], |mut row| row.next())
}
