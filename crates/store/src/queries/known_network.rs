//! The networks from which a user has logged in, by keyed hash.

use model::{Now, UserKey, hex};
use serde_json::{Value as Json, json};

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    // Each row of the parameter: [user id, user uuid, network, time], the middle ones in hex. On PostgreSQL
    // the row lock makes this statement and an erasure of the same user wait for each other: otherwise a
    // network could arrive after the erasure's last look. SQLite has one writer.
    RECORD = Stmt::per_engine(
        "known_network.record",
        "INSERT INTO gw.known_networks (user_id, network, seen_at) \
         SELECT u.id, decode(e.value->>2, 'hex'), CAST(e.value->>3 AS bigint) \
         FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) AS e(value) \
         JOIN gw.users u ON u.id = CAST(e.value->>0 AS bigint) AND u.uuid = CAST(e.value->>1 AS uuid) \
         WHERE u.state = 'active' ORDER BY u.id FOR SHARE OF u \
         ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at RETURNING user_id",
        "INSERT INTO gw.known_networks (user_id, network, seen_at) \
         SELECT u.id, unhex(e.value->>2), e.value->>3 FROM json_each($1) e \
         CROSS JOIN gw.users u ON u.id = e.value->>0 AND u.uuid = unhex(e.value->>1) \
         WHERE u.state = 'active' \
         ON CONFLICT (user_id, network) DO UPDATE SET seen_at = excluded.seen_at RETURNING user_id",
    );
    REMOVE_OF_USER = Stmt::new(
        "known_network.remove_of_user",
        "DELETE FROM gw.known_networks \
         WHERE user_id = (SELECT u.id FROM gw.users u WHERE u.id = $1 AND u.uuid = $2) RETURNING user_id",
    );
    DELETE_OLD = Stmt::new(
        "known_network.delete_old",
        "DELETE FROM gw.known_networks WHERE (user_id, network) IN \
         (SELECT o.user_id, o.network FROM (SELECT k.user_id, k.network FROM gw.known_networks k \
         WHERE k.seen_at < $1 ORDER BY k.seen_at LIMIT 1000) o LIMIT $2) RETURNING user_id",
    );
}

/// A network from which a user has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenNetwork {
    /// The user.
    pub user: UserKey,
    /// The keyed hash of the network.
    pub network: [u8; 8],
    /// When.
    pub at: Now,
}

/// Records networks from which users have logged in, each pair of user and network once; none of a user who
/// is not active.
pub fn record(seen: &[SeenNetwork]) -> Call<i64> {
    let row = |seen: &SeenNetwork| {
        let (uuid, network) = (seen.user.uuid.0.simple().to_string(), hex::encode(&seen.network));
        json!([seen.user.id, uuid, network, seen.at.micros()])
    };
    let rows = seen.iter().map(row).collect();
    Call::new(&RECORD, [Json::Array(rows).to_string().into()], user)
}

/// Removes every network of a user.
pub fn remove_of_user(user: UserKey) -> Call<i64> {
    Call::new(&REMOVE_OF_USER, [user.id.into(), user.uuid.into()], self::user)
}

/// Removes at most `limit` networks that were not seen since `before`.
pub fn delete_old(before: Now, limit: i64) -> Call<i64> {
    Call::new(&DELETE_OLD, [before.into(), limit.into()], user)
}

fn user(mut row: Row) -> Result<i64, Error> {
    row.next()
}
