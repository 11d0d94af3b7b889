//! Readiness says whether writes can succeed, and becomes true again by itself.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::queries::user;
use store::{Location, NotReady};
use testkit::Postgres;
use testkit::postgres::rows;

use crate::fixtures::{NOON, TestDb, email, register, run, settings, spawner, uuid};

const PATIENCE: Duration = Duration::from_secs(20);
/// The deadline of statements that are to miss it.
const SHORT: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_becomes_read_only_is_not_ready_until_it_can_be_written() {
    run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = db.open().await;
        store.probe.check(PATIENCE).await.unwrap();
        let name = db.sql("SELECT current_database()")[0][0].clone().unwrap();
        db.sql(&format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = on"));
        assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::ReadOnly));
        // The role's own setting wins.
        let write = |sql: String| rows(db.url(), &format!("BEGIN READ WRITE; {sql}; COMMIT")).unwrap();
        let role = format!("ALTER ROLE CURRENT_USER IN DATABASE \"{name}\"");
        write(format!("{role} SET default_transaction_read_only = off"));
        store.probe.check(PATIENCE).await.unwrap();
        write(format!("{role} RESET default_transaction_read_only"));
        assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::ReadOnly));
        write(format!("ALTER DATABASE \"{name}\" RESET default_transaction_read_only"));
        store.probe.check(PATIENCE).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_loses_a_privilege_and_a_dropped_schema_are_not_ready_and_answered_503() {
    let (_server, owner, app) = owner_and_app().await;
    let store = app.open().await;
    store.probe.check(PATIENCE).await.unwrap();

    owner.sql("REVOKE INSERT ON gw.users FROM app");
    assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Privileges));
    let refused = register(&mut app.lease(&store), 1).await.unwrap_err();
    assert!(refused.is_unavailable(), "{refused}");
    owner.sql("GRANT INSERT ON gw.users TO app");
    store.probe.check(PATIENCE).await.unwrap();
    register(&mut app.lease(&store), 1).await.unwrap().unwrap();

    owner.sql("DROP SCHEMA gatewright CASCADE");
    assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Tables));
    let gone = register(&mut app.lease(&store), 2).await.unwrap_err();
    assert!(gone.is_unavailable(), "{gone}");
}

/// A server with a migrated database, and a role that is not its owner: the database as either sees it.
async fn owner_and_app() -> (Postgres, TestDb, TestDb) {
    let server = Postgres::start();
    let url = server.database("app");
    let owner = TestDb::at(&url);
    owner.migrate().await.unwrap();
    owner.sql(
        "CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA gatewright TO app; \
               GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gatewright TO app",
    );
    let app = TestDb::at(&url.replace("postgres@", "app@"));
    (server, owner, app)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_privilege_on_some_columns_is_not_one_on_the_table_and_on_each_it_is() {
    let (_server, owner, app) = owner_and_app().await;
    let store = app.open().await;
    store.probe.check(PATIENCE).await.unwrap();

    owner.sql(
        "REVOKE SELECT, INSERT, UPDATE ON gw.sessions FROM app; \
         GRANT SELECT (id), INSERT (id), UPDATE (id) ON gw.sessions TO app",
    );
    assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Privileges));
    let refused = store::open(&app.settings, &spawner()).await.err().unwrap().to_string();
    for part in ["SELECT on sessions", "INSERT on sessions", "UPDATE on sessions"] {
        assert!(refused.contains(part), "{part}: {refused}");
    }

    let columns = "SELECT string_agg(quote_ident(attname), ', ') FROM pg_attribute \
                   WHERE attrelid = 'gw.sessions'::regclass AND attnum > 0 AND NOT attisdropped";
    let columns = owner.sql(columns)[0][0].clone().unwrap();
    owner.sql(&format!(
        "GRANT SELECT ({columns}), INSERT ({columns}), UPDATE ({columns}) ON gw.sessions TO app"
    ));
    store.probe.check(PATIENCE).await.unwrap();
    store::open(&app.settings, &spawner()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn row_level_security_that_begins_while_the_server_runs_is_not_ready_and_answered_503() {
    let (_server, owner, app) = owner_and_app().await;
    let store = app.open().await;
    register(&mut app.lease(&store), 1).await.unwrap().unwrap();
    let find = async || {
        let mut lease = app.lease(&store);
        let mut read = lease.read().await.unwrap();
        read.one(user::find_by_email(&email(1))).await.map(|found| found.is_some())
    };
    assert!(find().await.unwrap());

    for table in ["sessions", "credentials", "users"] {
        owner.sql(&format!("ALTER TABLE gw.{table} ENABLE ROW LEVEL SECURITY"));
        assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Hidden), "{table}");
        if table == "users" {
            // What is hidden is not answered as if it were not there.
            let hidden = find().await.unwrap_err();
            assert!(hidden.is_unavailable(), "{hidden}");
            let refused = register(&mut app.lease(&store), 2).await.unwrap_err();
            assert!(refused.is_unavailable(), "{refused}");
        }
        owner.sql(&format!("ALTER TABLE gw.{table} DISABLE ROW LEVEL SECURITY"));
        store.probe.check(PATIENCE).await.unwrap();
    }
    assert!(find().await.unwrap());
    register(&mut app.lease(&store), 2).await.unwrap().unwrap();
}

/// Requests that have no answer, as many as make the database unwritable.
async fn have_no_answer(db: &TestDb, store: &store::Store) {
    for n in 0..3 {
        let hung = register(&mut db.lease(store), 100 + n).await.unwrap_err();
        assert!(hung.is_unavailable(), "{hung}");
    }
}

/// Another client, which holds a lock on a table until it rolls back.
async fn lock(db: &TestDb, table: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(db.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::task::spawn(connection);
    client.batch_execute("BEGIN").await.unwrap();
    client.batch_execute(&format!("LOCK TABLE gatewright.{table}")).await.unwrap();
    client
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_that_wait_for_a_standby_that_is_not_there_are_not_ready_until_they_do_not() {
    let server = Postgres::start();
    let db = TestDb::at(&server.database("app"));
    db.migrate().await.unwrap();
    let store = db.open_with(|settings| settings.statement_timeout = SHORT).await;
    register(&mut db.lease(&store), 1).await.unwrap().unwrap();

    db.sql("ALTER SYSTEM SET synchronous_standby_names = 'missing'");
    db.sql("SELECT pg_reload_conf()");
    // The server takes the setting up when one of its processes has read it.
    for number in 1000.. {
        if register(&mut db.lease(&store), number).await.is_err() {
            break;
        }
    }
    have_no_answer(&db, &store).await;
    assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Unwritable));
    // A second and more later: what is tried hangs too.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert_eq!(store.probe.check(SHORT).await, Err(NotReady::Unwritable));
    }

    db.sql("ALTER SYSTEM RESET synchronous_standby_names");
    db.sql("SELECT pg_reload_conf()");
    while store.probe.check(PATIENCE).await.is_err() {}
    register(&mut db.lease(&store), 2).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_locked_are_not_ready_until_they_are_free() {
    run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = db.open_with(|settings| settings.statement_timeout = SHORT).await;
        for table in ["users", "credentials"] {
            let locker = lock(&db, table).await;

            have_no_answer(&db, &store).await;
            assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Unwritable), "{table}");
            // Jobs write other tables, and say nothing about requests.
            let mut job = store.background.lease(db.trail());
            assert!(job.claim_job(table, uuid(1).0, NOON, NOON).await.unwrap());
            drop(job);
            assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Unwritable), "{table}");
            locker.batch_execute("ROLLBACK").await.unwrap();
            while store.probe.check(PATIENCE).await.is_err() {}
        }

        // A request that succeeds says that others do.
        let locker = lock(&db, "users").await;
        have_no_answer(&db, &store).await;
        locker.batch_execute("ROLLBACK").await.unwrap();
        register(&mut db.lease(&store), 2).await.unwrap().unwrap();
        store.probe.check(PATIENCE).await.unwrap();
    })
    .await;
}

/// A trigger that raises with the default state, with another, and one that is broken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trigger_that_raises_is_answered_503_as_a_constraint_is() {
    run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = db.open().await;
        for raises in
            ["RAISE 'no'", "RAISE 'no' USING ERRCODE = 'ZZ001'", "PERFORM 1 / 0", "PERFORM nothing()"]
        {
            db.sql(&format!(
                "CREATE OR REPLACE FUNCTION gw.refuse() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN {raises}; RETURN NEW; END $$; \
                 CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON gw.users FOR EACH ROW \
                 EXECUTE FUNCTION gw.refuse()"
            ));
            let refused = register(&mut db.lease(&store), 1).await.unwrap_err();
            assert!(matches!(refused, store::Error::Conflict(_)), "{raises}: {refused:?}");
        }
        db.sql("DROP TRIGGER refuse ON gw.users");
        register(&mut db.lease(&store), 1).await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_refused_at_the_start_and_not_ready_until_it_is_promoted() {
    let mut primary = Postgres::start();
    let url = primary.database("app");
    TestDb::at(&url).migrate().await.unwrap();
    let standby = primary.standby();
    let there = url.replace(&primary.port().to_string(), &standby.port().to_string());
    let refused = store::open(&settings(Location::postgres(&there)), &spawner()).await.err().unwrap();
    assert!(refused.to_string().contains("hot standby"), "{refused}");

    // The driver passes over a standby, and finds the server that has been promoted.
    let both = url.replace("127.0.0.1", &format!("127.0.0.1:{},127.0.0.1", standby.port()));
    let app = TestDb::at(&format!("{both}?target_session_attrs=read-write"));
    let store = app.open().await;
    store.probe.check(PATIENCE).await.unwrap();
    register(&mut app.lease(&store), 1).await.unwrap().unwrap();

    let here = TestDb::at(&there);
    while here.sql("SELECT 1 FROM gw.users").is_empty() {}
    drop(primary);
    standby.promote();
    while store.probe.check(PATIENCE).await.is_err() {}
    while register(&mut app.lease(&store), 2).await.is_err() {}
    assert_eq!(here.count("users"), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_or_replaced_file_is_not_ready() {
    run(TestDb::sqlite(), async |db: Arc<TestDb>| {
        let store = db.open().await;
        store.probe.check(PATIENCE).await.unwrap();
        let (path, aside) = (db.path(), db.folder.path().join("aside"));
        std::fs::rename(&path, &aside).unwrap();
        assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Moved));
        std::fs::write(&path, "another file").unwrap();
        assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Moved));
        std::fs::rename(&aside, &path).unwrap();
        store.probe.check(PATIENCE).await.unwrap();

        // Without its log the file lacks what was committed last.
        let log = path.with_file_name(format!("{}-wal", path.file_name().unwrap().to_str().unwrap()));
        std::fs::rename(&log, &aside).unwrap();
        assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Moved));
        std::fs::rename(&aside, &log).unwrap();
        store.probe.check(PATIENCE).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_probe_without_a_connection_of_its_own_asks_through_an_idle_one() {
    let server = Postgres::start();
    let url = server.database("app");
    let owner = TestDb::at(&url);
    owner.migrate().await.unwrap();
    owner.sql(
        "CREATE ROLE app LOGIN CONNECTION LIMIT 3; GRANT USAGE ON SCHEMA gatewright TO app; \
               GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gatewright TO app",
    );
    let app = TestDb::at(&url.replace("postgres@", "app@"));
    let store = app
        .open_with(|settings| {
            settings.pool_min = 2;
            settings.pool_max = 2;
        })
        .await;
    owner.sql("ALTER ROLE app CONNECTION LIMIT 2");
    let probe = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app' \
                 ORDER BY backend_start DESC LIMIT 1";
    owner.sql(probe);
    let left = "SELECT 1 FROM pg_stat_activity WHERE usename = 'app'";
    while owner.sql(left).len() != 2 {}
    store.probe.check(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_missing_is_not_ready_and_answered_503() {
    for db in [TestDb::postgres(), TestDb::sqlite()] {
        run(db, async |db: Arc<TestDb>| {
            let store = db.open().await;
            store.probe.check(PATIENCE).await.unwrap();
            register(&mut db.lease(&store), 1).await.unwrap().unwrap();
            db.sql("ALTER TABLE gw.credentials RENAME TO gone");
            assert_eq!(store.probe.check(PATIENCE).await, Err(NotReady::Tables));
            let refused = register(&mut db.lease(&store), 2).await.unwrap_err();
            assert!(refused.is_unavailable(), "{refused}");
            db.sql("ALTER TABLE gw.gone RENAME TO credentials");
            store.probe.check(PATIENCE).await.unwrap();
            register(&mut db.lease(&store), 2).await.unwrap().unwrap();
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_wait_for_a_connection_where_the_server_has_no_more() {
    let server = Postgres::start();
    let url = server.database("app");
    let owner = TestDb::at(&url);
    owner.migrate().await.unwrap();
    owner.sql(
        "CREATE ROLE app LOGIN CONNECTION LIMIT 6; GRANT USAGE ON SCHEMA gatewright TO app; \
               GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA gatewright TO app",
    );
    let app = Arc::new(TestDb::at(&url.replace("postgres@", "app@")));
    let store = Arc::new(
        app.open_with(|settings| {
            settings.pool_max = 50;
            settings.acquire_timeout = PATIENCE;
        })
        .await,
    );

    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let (app, store) = (Arc::clone(&app), Arc::clone(&store));
        tasks.spawn(async move { register(&mut app.lease(&store), n).await.map(drop) });
    }
    for outcome in tasks.join_all().await {
        outcome.unwrap();
    }
    store.probe.check(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_above_the_minimum_are_closed() {
    run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = db
            .open_with(|settings| {
                settings.pool_min = 2;
                settings.pool_idle = Duration::ZERO;
                settings.forbid_second_acquire = false;
            })
            .await;

        let mut leases: Vec<_> = (0..8).map(|_| db.lease(&store)).collect();
        let reads = leases.iter_mut().map(async |lease| {
            let mut read = lease.read().await.unwrap();
            read.one(store::queries::realm::find()).await.unwrap();
        });
        futures_util::future::join_all(reads).await;

        let requests = |store: &store::Store| {
            let pools = store.metrics.pools();
            let pool = pools.into_iter().find(|pool| pool.pool == "requests").unwrap();
            (pool.used, pool.idle)
        };
        assert_eq!(requests(&store), (8, 0));
        drop(leases);
        assert_eq!(requests(&store), (0, 8));
        // Jobs run all the time, and close what is surplus.
        drop(store.background.lease(db.trail()));
        assert_eq!(requests(&store), (0, 2));
    })
    .await;
}
