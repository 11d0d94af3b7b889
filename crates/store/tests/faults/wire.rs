//! A connection to PostgreSQL that is cut, slow or silent.

use std::sync::Arc;
use std::time::Duration;

use store::queries::realm;
use store::queries::user::NewUser;
use store::{Error, Location, Store};
use testkit::{Direction, Postgres, Proxy};

use crate::fixtures::{
    TestDb, email, new_session, new_user, register, register_as, run, settings, spawner, uuid,
};

/// A PostgreSQL server behind a proxy.
struct ProxiedServer {
    server: testkit::SharedPostgres,
    proxy: Proxy,
}

impl ProxiedServer {
    fn start() -> Self {
        let server = Postgres::shared();
        let authority = server.url().split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { proxy: Proxy::start(authority), server }
    }
}

/// F-09: with the connection cut after any byte, no user is registered twice, a success is in the database,
/// and a failure other than `OutcomeUnknown` has changed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_reset_after_any_byte_leaves_no_partial_or_duplicate_user() {
    let wire = ProxiedServer::start();
    let database = wire.server.fresh_database();
    let mut db = TestDb::at(&wire.proxy.url_for(database.url()));
    db.settings.pool_max = 1;
    db.settings.pool_min = 0;
    let direct = database.url().to_owned();
    run(db, async move |db: Arc<TestDb>| {
        let store = db.open().await;
        let mut n = 0;

        for direction in [Direction::Up, Direction::Down] {
            assert!(register(&mut db.lease(&store), n).await.unwrap().is_some());
            n += 1;
            let before = wire.proxy.bytes(direction);
            assert!(register(&mut db.lease(&store), n).await.unwrap().is_some());
            n += 1;
            let whole = wire.proxy.bytes(direction) - before;

            for bytes in (1..=whole + 2).step_by(if direction == Direction::Up { 11 } else { 5 }) {
                wire.proxy.cut_after(direction, bytes);
                let outcome = register(&mut db.lease(&store), n).await;
                wire.proxy.no_cut();
                judge(&direct, n, bytes, &outcome);

                // A retry through the same pool either finds the user registered or registers the user.
                let user = NewUser { uuid: uuid(n + 1_000_000), ..new_user(n) };
                let again = register_as(&mut db.lease(&store), user, new_session(n + 1_000_000)).await;
                assert!(again.is_ok(), "{direction:?} {bytes}: {again:?}");
                assert_eq!(count(&direct, n), 1);
                n += 1;
            }
        }
    })
    .await;
}

fn count(url: &str, n: u128) -> usize {
    let sql = format!(
        "SELECT 1 FROM gatewright.users u JOIN gatewright.credentials c ON c.user_id = u.id \
         JOIN gatewright.sessions s ON s.user_id = u.id WHERE u.email_key = '{}'",
        email(n).key()
    );
    let whole = testkit::postgres::rows(url, &sql).unwrap().len();
    let sql = format!("SELECT 1 FROM gatewright.users WHERE email_key = '{}'", email(n).key());
    assert_eq!(testkit::postgres::rows(url, &sql).unwrap().len(), whole, "no partial user");
    whole
}

fn judge(url: &str, n: u128, bytes: u64, outcome: &Result<Option<model::UserKey>, Error>) {
    match outcome {
        Ok(Some(_)) => assert_eq!(count(url, n), 1, "after {bytes} bytes"),
        // The server may still run the transaction; the retry waits for the same row.
        Err(Error::OutcomeUnknown) => {}
        Err(Error::Unavailable(_) | Error::Unreached { .. }) => {
            assert_eq!(count(url, n), 0, "after {bytes} bytes");
        }
        other => panic!("after {bytes} bytes: {other:?}"),
    }
}

async fn read(db: &TestDb, store: &Store) -> Result<(), Error> {
    db.lease(store).read().await?.one(realm::find()).await.map(|_| ())
}

/// F-10: a slow connection works; a silent one fails at the deadline, and a new one replaces it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_slow_connection_works_and_a_silent_one_ends_at_the_deadline() {
    let wire = ProxiedServer::start();
    let database = wire.server.fresh_database();
    let mut db = TestDb::at(&wire.proxy.url_for(database.url()));
    db.settings.pool_max = 1;
    run(db, async move |db: Arc<TestDb>| {
        let store = db.open_with(|settings| settings.statement_timeout = Duration::from_secs(1)).await;
        wire.proxy.latency(Direction::Up, Duration::from_millis(50));
        wire.proxy.latency(Direction::Down, Duration::from_millis(50));
        assert!(register(&mut db.lease(&store), 1).await.unwrap().is_some());
        wire.proxy.latency(Direction::Up, Duration::ZERO);
        wire.proxy.latency(Direction::Down, Duration::ZERO);
        wire.proxy.black_hole(true);
        let silent = tokio::time::timeout(Duration::from_secs(20), read(&db, &store)).await;
        assert!(matches!(silent, Ok(Err(Error::Unavailable(_) | Error::Unreached { .. }))), "{silent:?}");
        wire.proxy.black_hole(false);
        read(&db, &store).await.unwrap();
        assert!(register(&mut db.lease(&store), 2).await.unwrap().is_some());
    })
    .await;
}

/// F-20: with the connection cut after any byte of a migration, the next run completes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_migration_cut_off_anywhere_runs_again() {
    let wire = ProxiedServer::start();
    let whole = {
        let database = wire.server.fresh_database();
        let ours = settings(Location::postgres(&wire.proxy.url_for(database.url())));
        let before = wire.proxy.bytes(Direction::Up);
        store::migrate(&ours, crate::fixtures::NOON, &spawner()).await.unwrap();
        wire.proxy.bytes(Direction::Up) - before
    };
    for part in 1..12 {
        let database = wire.server.fresh_database();
        let ours = settings(Location::postgres(&wire.proxy.url_for(database.url())));
        wire.proxy.cut_after(Direction::Up, whole * part / 12);
        let cut = store::migrate(&ours, crate::fixtures::NOON, &spawner()).await;
        assert!(matches!(&cut, Err(Error::Unavailable(_) | Error::Unreached { .. })), "{part}: {cut:?}");
        wire.proxy.no_cut();
        store::migrate(&ours, crate::fixtures::NOON, &spawner()).await.unwrap();
        assert!(store::pending(&ours, &spawner()).await.unwrap().is_empty());
        store::open(&ours, &spawner()).await.unwrap();
    }
}
