//! What the health probe asks: whether the tables are there, and whether they can be written.

use crate::statement::{Call, Stmt, statements};

statements! {
    // $1 lists what is needed as `table PRIVILEGE`, separated by commas. A default of the database or role
    // counts only for new sessions, so the stored one is read as well: of several, the most specific.
    LOOK = Stmt::per_engine(
        "health.look",
        "SELECT (SELECT count(*) FROM gw.realm) >= 0, pg_catalog.pg_is_in_recovery(), \
         pg_catalog.current_setting('transaction_read_only') = 'on' OR COALESCE( \
         (SELECT lower(split_part(c.entry, '=', 2)) IN ('on', 'true', 'yes', '1') \
         FROM pg_catalog.pg_db_role_setting s CROSS JOIN LATERAL unnest(s.setconfig) AS c(entry) \
         WHERE split_part(c.entry, '=', 1) = 'default_transaction_read_only' AND s.setdatabase IN (0, \
         (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())) \
         AND s.setrole IN (0, (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)) \
         ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1), FALSE), \
         (SELECT string_agg(n.privilege || ' on ' || n.name, ', ' ORDER BY n.name, n.privilege) FROM \
         (SELECT split_part(t.need, ' ', 1) AS name, split_part(t.need, ' ', 2) AS privilege \
         FROM unnest(string_to_array(CAST($1 AS TEXT), ',')) AS t(need)) n \
         JOIN pg_catalog.pg_class k ON k.relname = n.name AND k.relnamespace = \
         (SELECT r.relnamespace FROM pg_catalog.pg_class r \
         WHERE r.oid = CAST('gw.realm' AS pg_catalog.regclass)) \
         WHERE NOT pg_catalog.has_table_privilege(k.oid, n.privilege) \
         AND CASE WHEN n.privilege = 'DELETE' THEN TRUE ELSE EXISTS \
         (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.oid AND a.attnum > 0 \
         AND NOT a.attisdropped \
         AND NOT pg_catalog.has_column_privilege(k.oid, a.attnum, n.privilege)) END), \
         (SELECT count(*) FROM pg_catalog.pg_class k WHERE k.relnamespace = \
         (SELECT r.relnamespace FROM pg_catalog.pg_class r \
         WHERE r.oid = CAST('gw.realm' AS pg_catalog.regclass)) \
         AND position(',' || k.relname || ' ' IN ',' || CAST($1 AS TEXT)) > 0), \
         (SELECT string_agg(CAST(k.relname AS TEXT), ', ' ORDER BY k.relname) FROM pg_catalog.pg_class k \
         WHERE k.relnamespace = (SELECT r.relnamespace FROM pg_catalog.pg_class r \
         WHERE r.oid = CAST('gw.realm' AS pg_catalog.regclass)) \
         AND position(',' || k.relname || ' ' IN ',' || CAST($1 AS TEXT)) > 0 \
         AND pg_catalog.row_security_active(k.oid))",
        "SELECT (SELECT count(*) FROM gw.realm) >= 0, FALSE, FALSE, NULL, \
         (SELECT count(*) FROM sqlite_schema k WHERE k.type = 'table' \
         AND instr(',' || $1, ',' || k.name || ' ') > 0), NULL",
    )
    .scanning("it reads catalogs and a table of one row");
    // Takes the locks of writes and changes no row. On SQLite a lock is on the whole file.
    TOUCH = Stmt::per_engine(
        "health.touch",
        "WITH a AS (UPDATE gw.users SET updated_at = updated_at WHERE FALSE RETURNING 1), \
         b AS (DELETE FROM gw.credentials WHERE FALSE RETURNING 1), \
         c AS (DELETE FROM gw.sessions WHERE FALSE RETURNING 1), \
         d AS (UPDATE gw.counters SET value = value WHERE FALSE RETURNING 1), \
         e AS (DELETE FROM gw.revocations WHERE FALSE RETURNING 1), \
         f AS (DELETE FROM gw.known_networks WHERE FALSE RETURNING 1) SELECT CAST(1 AS BIGINT)",
        "SELECT 1",
    )
    .scanning("it reads no row");
    FILL = Stmt::new(
        "health.fill",
        "INSERT INTO gw.health_probes (id, filler) \
         WITH RECURSIVE n (i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n.i + 1 FROM n WHERE n.i < 128) \
         SELECT n.i, $1 FROM n WHERE TRUE ON CONFLICT (id) DO UPDATE SET filler = $1 RETURNING id",
    );
    EMPTY = Stmt::new("health.empty", "DELETE FROM gw.health_probes WHERE id > 0 RETURNING id")
        .scanning("there are 128 rows at most");
}

/// What keeps the database from being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The server is a hot standby.
    pub standby: bool,
    /// Transactions are read-only, or will be in new sessions.
    pub read_only: bool,
    /// The privileges that the role lacks.
    pub lacking: Option<String>,
    /// How many of the tables are there.
    pub tables: i64,
    /// The tables of which row level security hides rows from the role.
    pub hidden: Option<String>,
}

/// Looks at the database without changing it; `needs` lists `table PRIVILEGE`, separated by commas.
pub fn look(needs: &str) -> Call<Look> {
    Call::new(&LOOK, [needs.into()], |mut row| {
        let _there: bool = row.next()?;
        Ok(Look {
            standby: row.next()?,
            read_only: row.next()?,
            lacking: row.next()?,
            tables: row.next()?,
            hidden: row.next()?,
        })
    })
}

/// Takes the locks on tables that the writes of requests take.
pub fn touch() -> Call<i64> {
    Call::new(&TOUCH, [], |mut row| row.next())
}

/// Characters of one row of [`fill`]: fewer than PostgreSQL would compress.
const FILLER: usize = 1_900;

/// Writes 240 KiB, more than many requests write, so that a disk with a few free pages does not pass for one
/// with room.
pub fn fill() -> Call<i64> {
    Call::new(&FILL, ["x".repeat(FILLER).into()], |mut row| row.next())
}

/// Removes what [`fill`] has written.
pub fn empty() -> Call<i64> {
    Call::new(&EMPTY, [], |mut row| row.next())
}
