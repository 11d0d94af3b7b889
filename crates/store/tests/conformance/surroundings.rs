//! A PostgreSQL whose defaults are unusual, and databases that cannot work.

use std::sync::Arc;
use std::time::Duration;

use model::{UserId, UserKey};
use store::queries::session::Ending;
use store::queries::{credential, revocation, session, user};
use store::{Error, Location, Store, registry};
use testkit::Postgres;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls};

use crate::fixtures::{NOON, TestDb, new_session, register, settings, spawner, stored};

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const ENDING: Ending = Ending { at: NOON, keep: NOON };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

/// A database whose defaults are all unusual.
fn odd(isolation: &str) -> TestDb {
    let db = TestDb::postgres();
    let name = db.sql("SELECT current_database()")[0][0].clone().unwrap();
    let quoted = format!("'{isolation}'");
    for (setting, value) in [
        ("default_transaction_isolation", quoted.as_str()),
        ("default_transaction_deferrable", "on"),
        ("search_path", "nowhere, public"),
        ("row_security", "off"),
        ("statement_timeout", "'30ms'"),
        ("lock_timeout", "'1ms'"),
        ("idle_in_transaction_session_timeout", "'1ms'"),
        ("datestyle", "'German, DMY'"),
        ("bytea_output", "escape"),
        ("standard_conforming_strings", "off"),
        ("timezone", "'Pacific/Chatham'"),
        ("extra_float_digits", "-15"),
    ] {
        db.sql(&format!("ALTER DATABASE \"{name}\" SET {setting} TO {value}"));
    }
    db
}

async fn client(db: &TestDb) -> Client {
    let (client, connection) = tokio_postgres::connect(db.url(), NoTls).await.unwrap();
    tokio::task::spawn(connection);
    let limits = "SET lock_timeout = 0; SET statement_timeout = 0; \
                  SET idle_in_transaction_session_timeout = 0";
    client.batch_execute(limits).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_password_leaves_no_session_whatever_isolation_is_the_default() {
    for isolation in ["repeatable read", "serializable", "read committed"] {
        crate::fixtures::run(odd(isolation), async |db: Arc<TestDb>| {
            let store = Arc::new(db.open().await);
            let user = register(&mut db.lease(&store), 1).await.unwrap().unwrap();
            // The credential's row is locked, so that the login and the change wait, in this order.
            let mut locker = client(&db).await;
            let transaction = locker.transaction().await.unwrap();
            transaction.query("SELECT 1 FROM gatewright.credentials FOR UPDATE", &[]).await.unwrap();

            let login = tokio::task::spawn(log_in(Arc::clone(&db), Arc::clone(&store), user));
            waiting(&db, 1).await;
            let change = tokio::task::spawn(set_password(Arc::clone(&db), Arc::clone(&store), user));
            waiting(&db, 2).await;
            transaction.commit().await.unwrap();

            login.await.unwrap().unwrap();
            change.await.unwrap().unwrap();
            let live = db.sql("SELECT count(*) FROM gw.sessions WHERE NOT revoked");
            assert_eq!(live[0][0].as_deref(), Some("0"));
        })
        .await;
    }
}

async fn log_in(db: Arc<TestDb>, store: Arc<Store>, user: UserKey) -> Result<(), Error> {
    let opened: Result<_, Error> = db
        .lease(&store)
        .transact(INTENT, async move |tx| {
            Ok((EVENT, tx.commit_with((session::open(user, 1, &new_session(2)),)).await?.0))
        })
        .await;
    opened.map(|_| ())
}

async fn set_password(db: Arc<TestDb>, store: Arc<Store>, user: UserKey) -> Result<(), Error> {
    let set: Result<(), Error> = db
        .lease(&store)
        .transact(INTENT, async move |tx| {
            tx.one(credential::set(user, &stored("new"), NOON)).await?;
            let calls = (
                revocation::bump(),
                session::revoke_of_user(user, None, ENDING),
                revocation::record(user, NOON),
            );
            tx.commit_with(calls).await?;
            Ok((EVENT, ()))
        })
        .await;
    set
}

/// Waits until so many connections of the store wait for a lock.
async fn waiting(db: &Arc<TestDb>, count: usize) {
    let sql = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
               AND datname = current_database()";
    let asked = async || {
        let db = Arc::clone(db);
        // A blocked thread of the runtime would keep the tasks that it has just started.
        let asked = tokio::task::spawn_blocking(move || testkit::postgres::rows(db.url(), sql));
        asked.await.unwrap().map_or(0, |rows| rows.len())
    };
    while asked().await < count {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unusual_defaults_stop_no_statement() {
    crate::fixtures::run(odd("serializable"), async |db: Arc<TestDb>| {
        let store = Arc::new(db.open().await);
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..32 {
            let (db, store) = (Arc::clone(&db), Arc::clone(&store));
            tasks.spawn(async move {
                let id = register(&mut db.lease(&store), n).await.unwrap().unwrap();
                let mut lease = db.lease(&store);
                let found = lease.read().await.unwrap().one(user::find(id)).await.unwrap();
                assert_eq!(found.unwrap().profile, "{}");
            });
        }
        tasks.join_all().await;
        store.probe.check(Duration::from_secs(20)).await.unwrap();
        assert_eq!(db.count("users"), 32);
    })
    .await;
}

/// Without prepared statements the server learns the types from the values.
#[tokio::test]
async fn every_statement_can_be_sent_with_the_types_of_its_values() {
    let db = TestDb::postgres();
    db.migrate().await.unwrap();
    let client = client(&db).await;
    for stmt in registry() {
        let text = stmt.postgres("gatewright");
        let prepared = client.prepare(&text).await.unwrap();
        let types: Vec<Type> = prepared
            .params()
            .iter()
            .map(|ty| match *ty {
                Type::INT4 => Type::INT8,
                Type::INT8 | Type::TEXT | Type::BYTEA | Type::BOOL | Type::UUID => ty.clone(),
                _ => panic!("{}: no value has the type {ty}", stmt.name),
            })
            .collect();
        let typed = client.prepare_typed(&text, &types).await;
        assert!(typed.is_ok(), "{}: {:?}", stmt.name, typed.err());
    }
}

#[tokio::test]
async fn keys_are_sorted_by_their_bytes() {
    let db = TestDb::postgres();
    db.migrate().await.unwrap();
    let wrong = db.sql(
        "SELECT t.relname, a.attname, c.collname FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
         JOIN pg_namespace n ON n.oid = t.relnamespace AND n.nspname = 'gatewright' \
         CROSS JOIN LATERAL unnest(i.indkey) AS k (number) \
         JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number \
         JOIN pg_collation c ON c.oid = a.attcollation WHERE c.collname <> 'C'",
    );
    assert!(wrong.is_empty(), "indexed columns with the system's collation: {wrong:?}");
    let keys = db.sql(
        "SELECT count(*) FROM information_schema.columns WHERE table_schema = 'gatewright' \
         AND column_name IN ('email_key', 'username_key') AND collation_name = 'C'",
    );
    assert_eq!(keys[0][0].as_deref(), Some("2"));
}

/// The sentence with which a database is refused, by `migrate` and `open`.
async fn refusal(url: &str) -> String {
    let ours = settings(Location::postgres(url));
    let sentence = |outcome: Result<(), Error>| match outcome {
        Err(Error::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let opened = sentence(store::open(&ours, &spawner()).await.map(|_| ()));
    let migrated = store::migrate(&ours, NOON, &spawner()).await.map(|_| ());
    if let Err(Error::Refused(why)) = migrated {
        assert_eq!(why, opened);
    }
    opened
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused() {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let name = format!("{}_latin", database.name());
    let create = format!("CREATE DATABASE \"{name}\" ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    testkit::postgres::rows(server.url(), &create).unwrap();
    let url = database.url().replace(database.name(), &name);
    let why = refusal(&url).await;
    assert!(why.contains("LATIN1") && why.contains("UTF8"), "{why}");
    testkit::postgres::rows(server.url(), &format!("DROP DATABASE \"{name}\" WITH (FORCE)")).unwrap();
}

#[tokio::test]
async fn a_read_only_database_is_refused() {
    let db = TestDb::postgres();
    db.migrate().await.unwrap();
    let name = db.sql("SELECT current_database()")[0][0].clone().unwrap();
    db.sql(&format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on"));
    let why = refusal(db.url()).await;
    assert!(why.contains("default_transaction_read_only"), "{why}");
}

#[tokio::test]
async fn a_role_without_privileges_is_refused_with_their_names() {
    let server = Postgres::start();
    let url = server.database("app");
    let db = TestDb::at(&url);
    db.migrate().await.unwrap();
    db.sql(
        "CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA gatewright TO reader; \
            GRANT SELECT ON ALL TABLES IN SCHEMA gatewright TO reader",
    );
    let reader = url.replace("postgres@", "reader@");
    let why = refusal(&reader).await;
    for part in ["reader", "INSERT on users", "UPDATE on sessions", "DELETE on revocations"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    assert!(!why.contains("SELECT on"), "{why}");

    // With everything that statements need it works; it is not the owner.
    db.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gatewright TO reader");
    let ours = settings(Location::postgres(&reader));
    let store = store::open(&ours, &spawner()).await.unwrap();
    store.probe.check(Duration::from_secs(20)).await.unwrap();

    db.sql("ALTER TABLE gw.users ENABLE ROW LEVEL SECURITY");
    let why = refusal(&reader).await;
    assert!(why.contains("row level security") && why.contains("users"), "{why}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_behind_its_table_is_moved_at_the_start() {
    crate::fixtures::run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = db.open().await;
        for n in 0..5 {
            register(&mut db.lease(&store), n).await.unwrap().unwrap();
        }
        db.sql("SELECT setval(pg_get_serial_sequence('gw.users', 'id'), 1, false)");
        let store = db.open().await;
        let id = register(&mut db.lease(&store), 100).await.unwrap();
        assert_eq!(id.map(|user| user.id), Some(UserId(6)));

        // A sequence that is ahead stays where it is, also before its first use.
        db.sql("SELECT setval(pg_get_serial_sequence('gw.users', 'id'), 1000, false)");
        let store = db.open().await;
        let next = register(&mut db.lease(&store), 101).await.unwrap();
        assert_eq!(next.map(|user| user.id), Some(UserId(1000)));
    })
    .await;
}

/// No text of the store sets anything for longer than a transaction, and every transaction states its
/// isolation.
#[test]
fn every_transaction_states_what_it_needs_and_no_setting_outlives_it() {
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.components().any(|part| part.as_os_str() == "sqlite") {
                judge_text(&std::fs::read_to_string(&path).unwrap(), &path);
            }
        }
    }
}

fn judge_text(text: &str, path: &std::path::Path) {
    let file = path.display();
    assert!(!text.contains("\"BEGIN\"") && !text.contains("\"BEGIN;"), "{file}: BEGIN states nothing");
    for (at, _) in text.match_indices("SET ") {
        let rest = text.get(at + 4..).unwrap_or_default();
        let names = ["lock_timeout", "statement_timeout", "idle_", "row_security", "search_path", "SESSION"];
        let is_setting = names.iter().any(|name| rest.starts_with(name));
        assert!(!is_setting, "{file}: a setting outlives its transaction");
    }
}
