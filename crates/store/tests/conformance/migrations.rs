//! Migrations run once, in order, and never on a database of another program.

use std::sync::Arc;

use store::{Error, Location, PostgresEnvironment, Settings};
use testkit::Postgres;
use testkit::postgres::rows;

use crate::fixtures::{TestDb, settings, spawner};

on_both!(
    migrations_are_idempotent,
    an_edited_step_is_refused,
    a_later_additive_migration_is_run_on_and_a_breaking_one_is_refused,
    two_migrators_at_once_both_succeed
);

async fn migrations_are_idempotent(db: Arc<TestDb>) {
    assert_eq!(db.migrate().await.unwrap(), []);
    assert_eq!(store::pending(&db.settings, &spawner()).await.unwrap(), []);
    db.open().await;
    assert_eq!(db.migrate().await.unwrap(), []);
}

async fn an_edited_step_is_refused(db: Arc<TestDb>) {
    db.sql("UPDATE gw.migrations SET checksum = 'edited' WHERE number = 1");
    assert_refused(&db.settings, "differs").await;
}

/// Two migrations of a later version: one that this version may run on, and one that it may not.
async fn a_later_additive_migration_is_run_on_and_a_breaking_one_is_refused(db: Arc<TestDb>) {
    // given a column and a table more
    db.sql("ALTER TABLE gw.users ADD COLUMN shoe_size INTEGER NOT NULL DEFAULT 0");
    db.sql("CREATE TABLE gw.shoes (id BIGINT PRIMARY KEY)");
    db.sql(
        "INSERT INTO gw.migrations (number, name, checksum, lowest_version, applied_at) \
         VALUES (9001, '9001_shoes', 'x', '0.1.0', 0)",
    );
    // then this version runs, and has nothing to migrate
    assert_eq!(db.migrate().await.unwrap(), []);
    db.open().await;

    // when the column that it writes is gone
    db.sql("ALTER TABLE gw.users DROP COLUMN profile");
    db.sql(
        "INSERT INTO gw.migrations (number, name, checksum, lowest_version, applied_at) \
         VALUES (9002, '9002_profiles', 'x', '2.3.4', 0)",
    );
    // then it is refused with both versions and what to do
    for word in ["9002_profiles", "2.3.4", env!("CARGO_PKG_VERSION"), "restore the backup"] {
        assert_refused(&db.settings, word).await;
    }
}

async fn assert_refused(settings: &Settings, word: &str) {
    let pending = store::pending(settings, &spawner()).await.map(|_| ());
    let opened = store::open(settings, &spawner()).await.map(|_| ());
    let migrated = store::migrate(settings, crate::fixtures::NOON, &spawner()).await.map(|_| ());
    for refused in [pending, opened, migrated] {
        assert!(matches!(&refused, Err(Error::Refused(why)) if why.contains(word)), "{refused:?}");
    }
}

async fn two_migrators_at_once_both_succeed(db: Arc<TestDb>) {
    let fresh = if db.is_sqlite() {
        settings(Location::Sqlite(db.folder.path().join("fresh.db")))
    } else {
        settings(Location::Postgres {
            url: db.url().into(),
            schema: "fresh".into(),
            tls_ca_file: None,
            environment: PostgresEnvironment::default(),
        })
    };
    let mut migrators = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let fresh = fresh.clone();
        migrators.spawn(async move { store::migrate(&fresh, crate::fixtures::NOON, &spawner()).await });
    }
    let applied: usize = migrators.join_all().await.into_iter().map(|steps| steps.unwrap().len()).sum();
    let all = db.count("migrations");
    assert_eq!(i64::try_from(applied).unwrap(), all, "each step once");
}

/// A foreign file is refused before a byte of it changes, its journal mode included.
#[tokio::test]
async fn a_foreign_file_is_left_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let foreign = [
        ("users.db", "CREATE TABLE users (id INTEGER); CREATE TABLE refresh_tokens (id INTEGER);"),
        ("tool.db", "CREATE TABLE users (id INTEGER); CREATE TABLE migrations (version TEXT);"),
        (
            "twin.db",
            "CREATE TABLE users (id INTEGER); CREATE TABLE migrations (number BIGINT PRIMARY KEY, \
                     name TEXT NOT NULL, checksum TEXT NOT NULL, lowest_version TEXT NOT NULL, \
                     applied_at BIGINT NOT NULL);",
        ),
    ];

    let mut paths = Vec::new();
    for (name, sql) in foreign {
        let path = folder.path().join(name);
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        paths.push(path);
    }
    let letter = folder.path().join("letter.txt");
    std::fs::write(&letter, "Dear reader, this is no database at all. ".repeat(100)).unwrap();
    paths.push(letter);

    for path in paths {
        let before = std::fs::read(&path).unwrap();
        assert_refused(&settings(Location::Sqlite(path.clone())), "of its own").await;
        assert_eq!(std::fs::read(&path).unwrap(), before, "{}", path.display());
    }
}

#[tokio::test]
async fn a_missing_file_is_created_readable_by_its_owner_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new.db");
    let new = settings(Location::Sqlite(path.clone()));
    assert!(!store::pending(&new, &spawner()).await.unwrap().is_empty());
    let opened = store::open(&new, &spawner()).await.map(|_| ());
    assert!(matches!(opened, Err(Error::Refused(why)) if why.contains("migrate")));
    assert!(!path.exists(), "reading the pending migrations creates nothing");
    store::migrate(&new, crate::fixtures::NOON, &spawner()).await.unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

/// A database whose schema `public` belongs to another application.
#[tokio::test]
async fn a_foreign_schema_is_left_unchanged() {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let sql = "CREATE TABLE users (id int, email text); CREATE TABLE refresh_tokens (id int); \
               INSERT INTO users VALUES (1, 'a@b.c'); \
               CREATE SCHEMA tool; CREATE TABLE tool.users (id int); \
               CREATE TABLE tool.migrations (version text)";
    rows(database.url(), sql).unwrap();

    let look = || {
        let tables = "SELECT table_schema, table_name, column_name FROM information_schema.columns \
                      WHERE table_schema IN ('public', 'tool') ORDER BY 1, 2, 3";
        rows(database.url(), tables).unwrap()
    };

    let before = look();
    for schema in ["public", "tool"] {
        let location = Location::Postgres {
            url: database.url().into(),
            schema: schema.into(),
            tls_ca_file: None,
            environment: PostgresEnvironment::default(),
        };
        assert_refused(&settings(location), "of its own").await;
    }

    let ours = settings(Location::postgres(database.url()));
    assert!(!store::migrate(&ours, crate::fixtures::NOON, &spawner()).await.unwrap().is_empty());
    store::open(&ours, &spawner()).await.unwrap();
    assert_eq!(look(), before);
    assert_eq!(rows(database.url(), "SELECT email FROM users").unwrap(), [[Some("a@b.c".to_owned())]]);
}

/// Quotes, capitals and spaces are part of the name, and a role without the right to create schemas can fill
/// one.
#[tokio::test]
async fn a_schema_of_any_name_works_without_the_right_to_make_it() {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let sql = "CREATE ROLE gw_plain LOGIN; CREATE SCHEMA \"My \"\"Schema\"\"\" AUTHORIZATION gw_plain";
    // The role belongs to the server, which other tests may share.
    rows(database.url(), "DROP ROLE IF EXISTS gw_plain").ok();
    rows(database.url(), sql).unwrap();
    let url = database.url().replacen("postgres@", "gw_plain@", 1);
    let named = settings(Location::Postgres {
        url,
        schema: "My \"Schema\"".into(),
        tls_ca_file: None,
        environment: PostgresEnvironment::default(),
    });
    assert!(!store::migrate(&named, crate::fixtures::NOON, &spawner()).await.unwrap().is_empty());
    let store = store::open(&named, &spawner()).await.unwrap();
    store.probe.check(std::time::Duration::from_secs(20)).await.unwrap();
    drop(store);
    rows(database.url(), "DROP OWNED BY gw_plain; DROP ROLE gw_plain").unwrap();
}
