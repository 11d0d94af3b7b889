//! PostgreSQL killed, stopped, paused, without free connections and read-only.

use std::sync::Arc;
use std::time::Duration;

use model::UserId;
use store::queries::{realm, user};
use store::{Error, Store};
use testkit::Postgres;
use testkit::postgres::rows;
use tokio_postgres::NoTls;

use crate::fixtures::{TestDb, new_session, register, run};

const PATIENCE: Duration = Duration::from_secs(20);

async fn read(db: &TestDb, store: &Store) -> Result<(), Error> {
    db.lease(store).read().await?.one(realm::find()).await.map(|_| ())
}

/// Opens connections until `count` are idle in the pool.
async fn fill_pool(db: &TestDb, store: &Store, count: usize) {
    let mut leases: Vec<_> = (0..count).map(|_| db.lease(store)).collect();
    let reads = leases.iter_mut().map(async |lease| {
        lease.read().await.unwrap().one(realm::find()).await.unwrap();
    });
    futures_util::future::join_all(reads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_the_first_requests_after_a_kill_and_restart_succeed() {
    requests_succeed_after_a_restart(Postgres::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_the_first_requests_after_a_fast_stop_and_restart_succeed() {
    requests_succeed_after_a_restart(Postgres::stop_fast).await;
}

async fn requests_succeed_after_a_restart(end: fn(&mut Postgres)) {
    let mut server = Postgres::start();
    let mut db = TestDb::at(&server.url());
    db.settings.forbid_second_acquire = false;
    run(db, async move |db: Arc<TestDb>| {
        let store = db.open().await;
        let mut lease = db.lease(&store);
        for n in 0..20 {
            assert!(register(&mut lease, n).await.unwrap().is_some());
        }

        drop(lease);
        fill_pool(&db, &store, 4).await;

        end(&mut server);
        assert!(matches!(read(&db, &store).await, Err(Error::Unavailable(_) | Error::Unreached { .. })));
        let written = register(&mut db.lease(&store), 100).await;
        assert!(
            matches!(written, Err(Error::Unavailable(_) | Error::Unreached { .. } | Error::OutcomeUnknown)),
            "{written:?}"
        );
        assert!(store.probe.check(PATIENCE).await.is_err());

        server.restart();
        read(&db, &store).await.unwrap();
        assert!(register(&mut db.lease(&store), 101).await.unwrap().is_some());
        store.probe.check(PATIENCE).await.unwrap();
        assert_eq!(db.count("users"), 21, "every acknowledged write is present, and no other");

        // The pooled connections die between two requests.
        fill_pool(&db, &store, 4).await;
        end(&mut server);
        server.restart();
        read(&db, &store).await.unwrap();
        assert!(register(&mut db.lease(&store), 102).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_hung_server_delays_requests_only_until_their_deadlines() {
    let server = Postgres::start();
    let mut db = TestDb::at(&server.url());
    db.settings.pool_max = 2;
    run(db, async move |db: Arc<TestDb>| {
        let store = db
            .open_with(|settings| {
                settings.statement_timeout = Duration::from_millis(300);
                settings.acquire_timeout = Duration::from_millis(300);
            })
            .await;
        assert!(register(&mut db.lease(&store), 1).await.unwrap().is_some());

        server.pause();
        assert!(matches!(read(&db, &store).await, Err(Error::Unavailable(_) | Error::Unreached { .. })));
        assert!(store.probe.check(Duration::from_millis(100)).await.is_err());
        // The pooled connection was closed, and the server accepts no new one.
        let written = register(&mut db.lease(&store), 2).await;
        assert!(matches!(written, Err(Error::Unavailable(_) | Error::Unreached { .. })), "{written:?}");
        // Another process cannot connect at startup either; it must fail and not hang.
        assert!(matches!(db.migrate().await, Err(Error::Unavailable(_) | Error::Unreached { .. })));

        server.resume();
        while let Err(error) = read(&db, &store).await {
            assert!(error.is_unavailable(), "{error}");
        }
        while let Err(error) = register(&mut db.lease(&store), 2).await {
            assert!(error.is_unavailable(), "{error}");
        }
        while store.probe.check(PATIENCE).await.is_err() {}

        assert_eq!(db.count("users"), 2, "no write took effect twice");
        // The server has closed abandoned connections too: only those of the three pools remain.
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gatewright'";
        while db.sql(sql)[0][0].as_ref().unwrap().parse::<u32>().unwrap() > 5 {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_server_without_free_connections_is_unavailable_at_once() {
    let server = Postgres::builder()
        .setting("max_connections", "8")
        .setting("superuser_reserved_connections", "0")
        .start();
    run(TestDb::at(&server.url()), async move |db: Arc<TestDb>| {
        let store = db.open_with(|settings| settings.pool_min = 0).await;
        let mut holders = Vec::new();
        while let Ok((client, connection)) = tokio_postgres::connect(&server.url(), NoTls).await {
            tokio::task::spawn(connection);
            holders.push(client);
        }
        let refused = tokio::time::timeout(Duration::from_secs(10), read(&db, &store)).await;
        assert!(matches!(refused, Ok(Err(Error::Unavailable(_) | Error::Unreached { .. }))), "{refused:?}");
        drop(holders);
        while let Err(error) = read(&db, &store).await {
            assert!(error.is_unavailable(), "{error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_server_that_becomes_read_only_is_unavailable_for_writes() {
    let server = Postgres::start();
    run(TestDb::at(&server.url()), async move |db: Arc<TestDb>| {
        let store = db.open().await;
        assert!(register(&mut db.lease(&store), 1).await.unwrap().is_some());
        read_only(&server, "on");
        let written = register(&mut db.lease(&store), 2).await;
        assert!(
            matches!(written, Err(Error::Unavailable(_) | Error::Unreached { .. })),
            "nothing was written: {written:?}"
        );
        read(&db, &store).await.unwrap();
        read_only(&server, "off");
        assert!(register(&mut db.lease(&store), 2).await.unwrap().is_some());
        assert_eq!(db.count("users"), 2);
    })
    .await;
}

fn read_only(server: &Postgres, switch: &str) {
    rows(&server.url(), &format!("ALTER SYSTEM SET default_transaction_read_only = {switch}")).unwrap();
    server.sql("SELECT pg_reload_conf()");
    while server.sql("SHOW default_transaction_read_only")[0][0].as_deref() != Some(switch) {}
}

/// A pooled connection that the server has closed is replaced transparently.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_an_ended_backend_is_replaced() {
    let terminate =
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatewright'";
    let server = Postgres::start();
    run(TestDb::at(&server.url()), async move |db: Arc<TestDb>| {
        let store = db.open_with(|settings| settings.pool_max = 1).await;
        let mut lease = db.lease(&store);
        for n in 0..10 {
            server.sql(terminate);
            // Connections die while leased and while pooled; a read and a transaction of several round trips
            // follow.
            lease.read().await.unwrap().one(user::find_by_number(UserId(1))).await.unwrap();
            server.sql(terminate);

            lease.park();
            let opened: Result<_, Error> = lease
                .transact(crate::fixtures::registering(n), async move |tx| {
                    let new = crate::fixtures::new_user(n);
                    let id = tx.one(user::insert(&new)).await?.unwrap();
                    tx.one(store::queries::session::open_registered(new.uuid, &new_session(n))).await?;
                    Ok((crate::fixtures::registered(n), id))
                })
                .await;
            opened.unwrap();
        }

        assert_eq!((db.count("users"), db.events.all().len()), (10, 10));
    })
    .await;
}
