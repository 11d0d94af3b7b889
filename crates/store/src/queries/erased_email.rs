//! Keyed digests of the emails of erased accounts: an import does not create such an account again.

use model::{Now, hex};
use serde_json::{Value as Json, json};

use crate::statement::{Call, Stmt, statements};

statements! {
    RECORD = Stmt::per_engine(
        "erased_email.record",
        "INSERT INTO gw.erased_emails (digest, erased_at) \
         SELECT CAST($1 AS bytea), CAST($2 AS bigint) WHERE CAST($1 AS bytea) IS NOT NULL \
         ON CONFLICT (digest) DO UPDATE SET erased_at = excluded.erased_at RETURNING erased_at",
        "INSERT INTO gw.erased_emails (digest, erased_at) SELECT $1, $2 WHERE $1 IS NOT NULL \
         ON CONFLICT (digest) DO UPDATE SET erased_at = excluded.erased_at RETURNING erased_at",
    );
    // Each row of the parameter is a digest in hex. LATERAL with LIMIT makes it one index lookup per row.
    AMONG = Stmt::per_engine(
        "erased_email.among",
        "SELECT e.key - 1 FROM jsonb_array_elements(CAST(CAST($1 AS text) AS jsonb)) \
         WITH ORDINALITY AS e(value, key), \
         LATERAL (SELECT d.digest FROM gw.erased_emails d WHERE d.digest = decode(e.value->>0, 'hex') \
         LIMIT 1) d",
        "SELECT e.key FROM json_each($1) e \
         CROSS JOIN gw.erased_emails d ON d.digest = unhex(e.value->>0)",
    );
}

/// Records the digest of an erased account's email; nothing for an account without one.
pub fn record(digest: Option<&[u8; 32]>, at: Now) -> Call<Now> {
    Call::new(&RECORD, [digest.map(|digest| digest.to_vec()).into(), at.into()], |mut row| row.next())
}

/// Finds those of the digests that are recorded, by their places from 0.
pub fn among(digests: &[Option<[u8; 32]>]) -> Call<i64> {
    let row = |digest: &Option<[u8; 32]>| json!([digest.map(|digest| hex::encode(&digest))]);
    let rows: Vec<Json> = digests.iter().map(row).collect();
    Call::new(&AMONG, [Json::Array(rows).to_string().into()], |mut row| row.next())
}
