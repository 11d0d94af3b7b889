//! PostgreSQL killed, stopped, paused, full and read-only.

use std::sync::Arc;
use std::time::Duration;

use model::UserId;
use store::queries::{realm, user};
use store::{Error, Store};
use testkit::Postgres;
use testkit::postgres::rows;
use tokio_postgres::NoTls;

use crate::fixtures::{World, new_session, register, run};

const PATIENCE: Duration = Duration::from_secs(20);

async fn read(world: &World, store: &Store) -> Result<(), Error> {
    world.lease(store).read().await?.one(realm::find()).await.map(|_| ())
}

/// Opens connections until `count` are idle in the pool.
async fn fill_pool(world: &World, store: &Store, count: usize) {
    let mut leases: Vec<_> = (0..count).map(|_| world.lease(store)).collect();
    let reads = leases.iter_mut().map(async |lease| {
        lease.read().await.unwrap().one(realm::find()).await.unwrap();
    });
    futures_util::future::join_all(reads).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f01_the_first_requests_after_a_kill_and_restart_succeed() {
    died_and_came_back(Postgres::kill).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f02_the_first_requests_after_a_fast_stop_and_restart_succeed() {
    died_and_came_back(Postgres::stop_fast).await;
}

async fn died_and_came_back(end: fn(&mut Postgres)) {
    let mut server = Postgres::start();
    let mut world = World::at(&server.url());
    world.settings.forbid_second_acquire = false;
    run(world, async move |world: Arc<World>| {
        let store = world.open().await;
        let mut lease = world.lease(&store);
        for n in 0..20 {
            assert!(register(&mut lease, n).await.unwrap().is_some());
        }
        drop(lease);
        fill_pool(&world, &store, 4).await;
        end(&mut server);
        assert!(matches!(read(&world, &store).await, Err(Error::Unavailable(_))));
        let written = register(&mut world.lease(&store), 100).await;
        assert!(matches!(written, Err(Error::Unavailable(_) | Error::OutcomeUnknown)), "{written:?}");
        assert!(store.probe.check(PATIENCE).await.is_err());
        server.restart();
        read(&world, &store).await.unwrap();
        assert!(register(&mut world.lease(&store), 101).await.unwrap().is_some());
        store.probe.check(PATIENCE).await.unwrap();
        assert_eq!(world.count("users"), 21, "what was acknowledged is there, and nothing else");
        // Now with a pool of connections that die between two requests.
        fill_pool(&world, &store, 4).await;
        end(&mut server);
        server.restart();
        read(&world, &store).await.unwrap();
        assert!(register(&mut world.lease(&store), 102).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f03_a_server_that_hangs_costs_deadlines_and_nothing_else() {
    let server = Postgres::start();
    let mut world = World::at(&server.url());
    world.settings.pool_max = 2;
    run(world, async move |world: Arc<World>| {
        let store = world
            .open_with(|settings| {
                settings.statement_timeout = Duration::from_millis(300);
                settings.acquire_timeout = Duration::from_millis(300);
            })
            .await;
        assert!(register(&mut world.lease(&store), 1).await.unwrap().is_some());
        server.pause();
        assert!(matches!(read(&world, &store).await, Err(Error::Unavailable(_))));
        assert!(store.probe.check(Duration::from_millis(100)).await.is_err());
        // The pool's connection was thrown away, and no other can be made.
        let written = register(&mut world.lease(&store), 2).await;
        assert!(matches!(written, Err(Error::Unavailable(_))), "{written:?}");
        // Nor can one be made at the start of another process, which must say so and not hang.
        assert!(matches!(world.migrate().await, Err(Error::Unavailable(_))));
        server.resume();
        while let Err(error) = read(&world, &store).await {
            assert!(error.is_unavailable(), "{error}");
        }
        while let Err(error) = register(&mut world.lease(&store), 2).await {
            assert!(error.is_unavailable(), "{error}");
        }
        while store.probe.check(PATIENCE).await.is_err() {}
        assert_eq!(world.count("users"), 2, "no effect came twice");
        // What was given up is given up on the server too: front, back and probe are all that is left.
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gatewright'";
        while world.sql(sql)[0][0].as_ref().unwrap().parse::<u32>().unwrap() > 5 {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f05_a_server_without_free_connections_is_unavailable_at_once() {
    let server = Postgres::builder()
        .setting("max_connections", "8")
        .setting("superuser_reserved_connections", "0")
        .start();
    run(World::at(&server.url()), async move |world: Arc<World>| {
        let store = world.open_with(|settings| settings.pool_min = 0).await;
        let mut holders = Vec::new();
        while let Ok((client, connection)) = tokio_postgres::connect(&server.url(), NoTls).await {
            tokio::task::spawn(connection);
            holders.push(client);
        }
        let refused = tokio::time::timeout(Duration::from_secs(10), read(&world, &store)).await;
        assert!(matches!(refused, Ok(Err(Error::Unavailable(_)))), "{refused:?}");
        drop(holders);
        while let Err(error) = read(&world, &store).await {
            assert!(error.is_unavailable(), "{error}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f08_a_server_that_becomes_read_only_is_unavailable_for_writes() {
    let server = Postgres::start();
    run(World::at(&server.url()), async move |world: Arc<World>| {
        let store = world.open().await;
        assert!(register(&mut world.lease(&store), 1).await.unwrap().is_some());
        read_only(&server, "on");
        let written = register(&mut world.lease(&store), 2).await;
        assert!(matches!(written, Err(Error::Unavailable(_))), "nothing was done, surely: {written:?}");
        read(&world, &store).await.unwrap();
        read_only(&server, "off");
        assert!(register(&mut world.lease(&store), 2).await.unwrap().is_some());
        assert_eq!(world.count("users"), 2);
    })
    .await;
}

fn read_only(server: &Postgres, switch: &str) {
    rows(&server.url(), &format!("ALTER SYSTEM SET default_transaction_read_only = {switch}")).unwrap();
    server.sql("SELECT pg_reload_conf()");
    while server.sql("SHOW default_transaction_read_only")[0][0].as_deref() != Some(switch) {}
}

/// A connection that is ended by the server while it lies in the pool is replaced before anybody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f02_an_ended_backend_is_replaced() {
    let server = Postgres::start();
    run(World::at(&server.url()), async move |world: Arc<World>| {
        let store = world.open_with(|settings| settings.pool_max = 1).await;
        let mut lease = world.lease(&store);
        for n in 0..10 {
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatewright'",
            );
            // In hand, in the pool; by a read, by a transaction of several trips.
            lease.read().await.unwrap().one(user::find(UserId(1))).await.unwrap();
            server.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatewright'",
            );
            lease.park();
            let opened: Result<_, Error> = lease
                .transact(model::Intent::to(model::EventKind::UserRegistered), async move |tx| {
                    let new = crate::fixtures::new_user(n);
                    let id = tx.one(user::insert(&new)).await?.unwrap();
                    tx.one(store::queries::session::open_registered(new.uuid, &new_session(n))).await?;
                    Ok((crate::fixtures::registered(n), id))
                })
                .await;
            opened.unwrap();
        }
        assert_eq!((world.count("users"), world.events.all().len()), (10, 10));
    })
    .await;
}
