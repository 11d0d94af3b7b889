//! What is looked at before a database of PostgreSQL is used: what cannot work is refused, all reasons at
//! once, and what may surprise the operator is returned as warnings.

use std::collections::BTreeSet;

use tokio_postgres::types::{ToSql, Type};

use super::address::Address;
use super::connection::Conn;
use super::error::sort;
use crate::statement::Stmt;
use crate::{Error, audit_db, queries};

/// Begins a transaction for looking at the database, whatever its defaults are.
pub(super) const BEGIN_LOOK: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; \
     SET LOCAL lock_timeout = '10s'; SET LOCAL statement_timeout = '10s'; \
     SET LOCAL idle_in_transaction_session_timeout = '30s'";

/// What may surprise the operator, a sentence each.
pub(crate) type Found = Vec<String>;

const SERVER: &str = "SELECT pg_catalog.current_setting('server_encoding'), pg_catalog.pg_is_in_recovery(), \
     pg_catalog.current_setting('default_transaction_read_only') = 'on'";

/// Refuses a server or database in which no table of Gatewright can work.
///
/// # Errors
/// [`Error::Refused`] with every reason; [`Error::Unavailable`] when the server does not answer.
pub(crate) async fn check_server(conn: &Conn) -> Result<(), Error> {
    let Some(row) = rows(conn, SERVER, &[]).await?.into_iter().next() else { return Ok(()) };
    let (encoding, standby, read_only): (String, bool, bool) = (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);

    let mut reasons = Vec::new();
    if encoding != "UTF8" {
        reasons.push(format!(
            "its encoding is {encoding} and not UTF8, so it cannot store every name; create it with \
             ENCODING 'UTF8' TEMPLATE template0"
        ));
    }
    if standby {
        reasons.push(
            "its server is a hot standby, which accepts no writes; name the primary, or every server with \
             target_session_attrs=read-write"
                .to_owned(),
        );
    } else if read_only {
        reasons.push(
            "it is read-only (default_transaction_read_only is on): writes were stopped by an operator, or \
             by the provider because the disk is full"
                .to_owned(),
        );
    }
    refuse(&reasons)
}

fn refuse(reasons: &[String]) -> Result<(), Error> {
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Error::Refused(format!("the database of database.url cannot be used: {}", reasons.join("; and "))))
}

/// A privilege, and the table that some statement needs it for.
type Need = (String, &'static str);

/// The privileges that the registered statements, and those of the audit trail, need.
fn needs() -> BTreeSet<Need> {
    let mut needs =
        BTreeSet::from([("migrations".to_owned(), "SELECT"), ("audit_events".to_owned(), "INSERT")]);
    for stmt in queries::registry().chain(audit_db::statements()) {
        add_needs(stmt, &mut needs);
    }
    needs
}

/// What requests need, as one text for the health probe: `table PRIVILEGE`, separated by commas. A trail that
/// cannot be shipped degrades the server and is no reason to take it out of service.
pub(crate) fn needs_text() -> String {
    let mut needs = BTreeSet::new();
    queries::registry().for_each(|stmt| add_needs(stmt, &mut needs));
    let words: Vec<_> = needs.iter().map(|(table, privilege)| format!("{table} {privilege}")).collect();
    words.join(",")
}

fn add_needs(stmt: &Stmt, needs: &mut BTreeSet<Need>) {
    let text = stmt.postgres("gw");
    let mut before = "";
    for (at, piece) in text.split("gw.").enumerate() {
        let table: String = piece.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if at > 0 && !table.is_empty() {
            let verb = match before.trim_end() {
                text if text.ends_with("INSERT INTO") => Some("INSERT"),
                text if text.ends_with("UPDATE") => Some("UPDATE"),
                text if text.ends_with("DELETE FROM") => Some("DELETE"),
                _ => None,
            };
            needs.extend(verb.map(|verb| (table.clone(), verb)));
            if verb == Some("INSERT") && text.contains("DO UPDATE") {
                needs.insert((table.clone(), "UPDATE"));
            }
            needs.insert((table, "SELECT"));
        }
        before = piece;
    }
}

/// The lacking privileges; a table that is not there lacks none. A privilege on every column is as
/// good as one on the table; one on some columns is not.
const LACKING: &str = "SELECT t.privilege || ' on ' || t.name FROM unnest($1, $2) \
     AS t (name, privilege) JOIN pg_catalog.pg_class c ON c.relname = t.name \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = $3 \
     WHERE NOT pg_catalog.has_table_privilege(c.oid, t.privilege) AND CASE WHEN t.privilege = 'DELETE' \
     THEN TRUE ELSE EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
     AND a.attnum > 0 AND NOT a.attisdropped \
     AND NOT pg_catalog.has_column_privilege(c.oid, a.attnum, t.privilege)) END \
     ORDER BY t.name, t.privilege";
const SCHEMA: &str = "SELECT pg_catalog.has_schema_privilege(n.oid, 'USAGE'), \
     pg_catalog.has_schema_privilege(n.oid, 'CREATE'), CAST(current_user AS TEXT) \
     FROM pg_catalog.pg_namespace n WHERE n.nspname = $1";
const HIDDEN: &str = "SELECT CAST(c.relname AS TEXT) FROM pg_catalog.pg_class c \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relkind IN ('r', \
     'p') AND pg_catalog.row_security_active(c.oid) ORDER BY 1";

/// Refuses a role that lacks privileges on existing tables, or from which rows are hidden.
///
/// # Errors
/// [`Error::Refused`] with every reason; [`Error::Unavailable`] when the server does not answer.
pub(crate) async fn check_rights(conn: &Conn, schema: &str) -> Result<Found, Error> {
    let schema_param: [(&(dyn ToSql + Sync), Type); 1] = [(&schema, Type::TEXT)];
    let Some(row) = rows(conn, SCHEMA, &schema_param).await?.into_iter().next() else {
        return Ok(Vec::new());
    };
    let (usage, create, role): (bool, bool, String) = (get(&row, 0)?, get(&row, 1)?, get(&row, 2)?);

    let mut lacking = Vec::new();
    if !usage {
        lacking.push(format!("USAGE on the schema {schema}"));
    }
    let (tables, privileges): (Vec<String>, Vec<&str>) = needs().into_iter().unzip();
    let params: [(&(dyn ToSql + Sync), Type); 3] =
        [(&tables, Type::TEXT_ARRAY), (&privileges, Type::TEXT_ARRAY), (&schema, Type::TEXT)];
    for row in rows(conn, LACKING, &params).await? {
        lacking.push(get(&row, 0)?);
    }

    let mut reasons = Vec::new();
    if !lacking.is_empty() {
        reasons.push(format!("the role {role} lacks {}", lacking.join(", ")));
    }
    let hidden: Vec<String> =
        rows(conn, HIDDEN, &schema_param).await?.iter().map(|row| get(row, 0)).collect::<Result<_, _>>()?;
    if !hidden.is_empty() {
        reasons.push(format!("row level security hides rows of {} from the role {role}", hidden.join(", ")));
    }
    refuse(&reasons)?;

    let cannot_create = format!(
        "the role {role} may not create tables in the schema {schema}: the monthly partitions of \
         audit_events must be created by another role"
    );
    Ok(if create { Vec::new() } else { vec![cannot_create] })
}

const SEQUENCE: &str = "SELECT pg_catalog.pg_get_serial_sequence($1, 'id')";

/// What is known of the sequence of `users.id`.
enum Sequence {
    /// It is past the largest number of the table.
    Good,
    /// The role may not look, as the sentence says.
    Unknown(String),
    /// It is behind: the statement that moves it, and what to tell the operator.
    Behind(String, String),
}

/// Looks whether the sequence of `users.id` is past the largest number of the table; a restore, a logical
/// replication or an insert by hand may leave it behind.
///
/// # Errors
/// [`Error::Refused`] when the role may not move it; [`Error::Unavailable`] when the server does not answer.
async fn look_at_sequence(conn: &Conn, quoted: &str) -> Result<Sequence, Error> {
    let users = format!("{quoted}.users");
    let name = rows(conn, SEQUENCE, &[(&users, Type::TEXT)]).await?;
    let Some(sequence) = name.first().map(|row| get::<Option<String>>(row, 0)).transpose()?.flatten() else {
        return Ok(Sequence::Good);
    };

    let rights = "SELECT pg_catalog.has_sequence_privilege($1, 'SELECT'), \
                  pg_catalog.has_sequence_privilege($1, 'UPDATE')";
    let rights = rows(conn, rights, &[(&sequence, Type::TEXT)]).await?;
    let Some(row) = rights.first() else { return Ok(Sequence::Good) };
    let (readable, movable): (bool, bool) = (get(row, 0)?, get(row, 1)?);
    if !readable {
        return Ok(Sequence::Unknown(format!(
            "the role may not read the sequence {sequence}, so it is not known whether it is behind the \
             numbers of {users}: GRANT SELECT, UPDATE ON SEQUENCE {sequence}"
        )));
    }

    let behind = format!(
        "FROM (SELECT pg_catalog.max(id) AS id FROM {users}) m, {sequence} s \
         WHERE m.id >= s.last_value + CAST(s.is_called AS INTEGER)"
    );
    let found = rows(conn, &format!("SELECT m.id, s.last_value {behind}"), &[]).await?;
    let Some(row) = found.first() else { return Ok(Sequence::Good) };
    let (highest, last): (i64, i64) = (get(row, 0)?, get(row, 1)?);
    if !movable {
        refuse(&[format!(
            "the sequence {sequence} is at {last}, behind users.id {highest}, and new users would get \
             numbers that are taken; GRANT UPDATE ON SEQUENCE {sequence}, or run \
             SELECT setval('{sequence}', {highest}) as its owner"
        )])?;
    }

    // Another node may move it too, and must not move it back.
    let text = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout \
         = '5s'; SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('gatewright.sequence'), 0); \
         SELECT pg_catalog.setval('{}', m.id) {behind}; COMMIT",
        sequence.replace('\'', "''")
    );
    let told = format!(
        "the sequence of users.id was at {last}, behind the highest number {highest}, and was moved past \
         it: the database was restored or copied without its sequences"
    );
    Ok(Sequence::Behind(text, told))
}

const FACTS: &str = "SELECT CAST(pg_catalog.current_setting('max_connections') AS INTEGER) \
     - CAST(pg_catalog.current_setting('superuser_reserved_connections') AS INTEGER), \
     (SELECT r.rolconnlimit FROM pg_catalog.pg_roles r WHERE r.rolname = current_user), d.datconnlimit, \
     pg_catalog.current_setting('synchronous_commit') = 'off', \
     CAST(pg_catalog.current_schemas(true) AS TEXT[]), \
     CAST(pg_catalog.current_setting('server_version_num') AS INTEGER) \
     FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";
const COLLATION: &str = "SELECT d.datcollversion, pg_catalog.pg_database_collation_actual_version(d.oid) \
     FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()";

/// Looks for what works and may surprise: too few connections for the `connections` of this node, commits
/// that a crash of the server loses, a collation of another version.
async fn check_surroundings(conn: &Conn, connections: usize) -> Result<Found, Error> {
    let facts = rows(conn, FACTS, &[]).await?;
    let Some(row) = facts.first() else { return Ok(Vec::new()) };
    let mut found = Vec::new();

    let limits: [(i32, &str); 3] = [
        (get(row, 0)?, "the server accepts"),
        (get::<Option<i32>>(row, 1)?.unwrap_or(-1), "the role may open"),
        (get(row, 2)?, "the database accepts"),
    ];
    for (limit, who) in limits {
        if usize::try_from(limit).is_ok_and(|limit| limit < connections) {
            found.push(format!(
                "this node opens up to {connections} connections (database.pool_max, and {OTHERS} for jobs, \
                 health checks and the audit trail), and {who} {limit}: lower database.pool_max"
            ));
        }
    }

    if get(row, 3)? {
        found.push(
            "synchronous_commit is off: a crash of the server may lose changes that were answered".to_owned(),
        );
    }

    let schemas: Vec<String> = get(row, 4)?;
    if schemas.iter().find(|name| !name.starts_with("pg_temp")).is_some_and(|name| name != "pg_catalog") {
        found.push(
            "search_path names a schema before pg_catalog, whose functions replace those of PostgreSQL"
                .to_owned(),
        );
    }

    let version: i32 = get(row, 5)?;
    if version >= 150_000 {
        for row in rows(conn, COLLATION, &[]).await? {
            let versions: (Option<String>, Option<String>) = (get(&row, 0)?, get(&row, 1)?);
            if let (Some(stored), Some(actual)) = versions
                && stored != actual
            {
                found.push(format!(
                    "the database was made with version {stored} of its collation, and the system has \
                     {actual}: indexes of text may be wrong. Gatewright's keys do not depend on it; for \
                     other tables, REINDEX and ALTER DATABASE … REFRESH COLLATION VERSION"
                ));
            }
        }
    }
    Ok(found)
}

/// Connections beside those of `database.pool_max`.
pub(crate) const OTHERS: usize = crate::store::BACKGROUND + 2;

/// Every check of a migrated database.
///
/// # Errors
/// [`Error::Refused`], [`Error::Unavailable`] as for the single checks.
pub(crate) async fn check(conn: &Conn, address: &Address, pool_max: usize) -> Result<Found, Error> {
    begin_look(conn).await?;
    let mut found = check_rights(conn, &address.schema_name()).await?;
    found.extend(check_surroundings(conn, pool_max + OTHERS).await?);
    let sequence = look_at_sequence(conn, &address.schema).await?;
    run(conn, "COMMIT").await?;

    match sequence {
        Sequence::Good => {}
        Sequence::Unknown(why) => found.push(why),
        Sequence::Behind(text, told) => {
            run(conn, &text).await?;
            found.push(told);
        }
    }
    Ok(found)
}

/// Begins a look at the database.
///
/// # Errors
/// [`Error::Refused`] when a pooler allows no transactions.
pub(super) async fn begin_look(conn: &Conn) -> Result<(), Error> {
    conn.client.batch_execute(BEGIN_LOOK).await.map_err(|error| {
        let why = error.as_db_error().map_or("", tokio_postgres::error::DbError::message);
        if why.contains("statement pooling") {
            Error::Refused(
                "the pooler in front of PostgreSQL pools statements, and Gatewright needs transactions: set \
                 its pool_mode to transaction or session"
                    .into(),
            )
        } else {
            sort(&error)
        }
    })
}

async fn run(conn: &Conn, text: &str) -> Result<(), Error> {
    conn.client.batch_execute(text).await.map_err(|error| sort(&error))
}

async fn rows(
    conn: &Conn,
    text: &str,
    params: &[(&(dyn ToSql + Sync), Type)],
) -> Result<Vec<tokio_postgres::Row>, Error> {
    conn.client.query_typed(text, params).await.map_err(|error| sort(&error))
}

fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a tokio_postgres::Row,
    column: usize,
) -> Result<T, Error> {
    row.try_get(column).map_err(|error| sort(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_needs_what_its_verbs_say() {
        let mut needs = BTreeSet::new();
        add_needs(
            &Stmt::new("a.b", "DELETE FROM gw.sessions WHERE id IN (SELECT s.id FROM gw.users s)"),
            &mut needs,
        );
        add_needs(&Stmt::new("a.c", "UPDATE gw.jobs SET x = 1"), &mut needs);
        add_needs(
            &Stmt::new("a.d", "INSERT INTO gw.jobs (x) VALUES (1) ON CONFLICT (x) DO NOTHING"),
            &mut needs,
        );
        let words: Vec<String> = needs.iter().map(|(table, verb)| format!("{verb} {table}")).collect();
        assert_eq!(
            words,
            [
                "INSERT jobs",
                "SELECT jobs",
                "UPDATE jobs",
                "DELETE sessions",
                "SELECT sessions",
                "SELECT users"
            ]
        );
    }
}
