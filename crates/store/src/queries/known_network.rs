//! The networks from which a user has logged in, by keyed hash.

use model::{Now, SessionId, UserKey};

use crate::Error;
use crate::statement::{Call, Stmt, statements};
use crate::value::Row;

statements! {
    // Selects the user by the session, so that it has no effect when the session was not opened.
    RECORD = Stmt::new(
        "known_network.record",
        "INSERT INTO gw.known_networks (user_id, network, seen_at) \
         SELECT s.user_id, $2, $3 FROM gw.sessions s WHERE s.id = $1 AND CAST($2 AS bytea) IS NOT NULL \
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

/// Records that the user of this session has logged in from `network`; no row when there is no such session,
/// or the network is not known.
pub fn record(session: SessionId, network: Option<&[u8]>, at: Now) -> Call<i64> {
    Call::new(&RECORD, [session.into(), network.into(), at.into()], user)
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
