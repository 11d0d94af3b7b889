//! The wire to PostgreSQL cut, slow and silent.

use std::sync::Arc;
use std::time::Duration;

use store::queries::realm;
use store::queries::user::NewUser;
use store::{Error, Store};
use testkit::{Direction, Postgres, Proxy};

use crate::fixtures::{
    World, at_url, email, new_session, new_user, register, register_as, run, settings, spawner, uuid,
};

/// A world behind a proxy.
struct Wire {
    server: testkit::SharedPostgres,
    proxy: Proxy,
}

impl Wire {
    fn lay() -> Self {
        let server = Postgres::shared();
        let authority = server.url().split('@').nth(1).unwrap().split('/').next().unwrap().to_owned();
        Self { proxy: Proxy::start(authority), server }
    }
}

/// F-09: whatever byte is the last to get through, nobody is registered twice, a success is one, and a failure that
/// is not called unknown has changed nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f09_a_reset_after_any_byte_leaves_no_half_and_no_double() {
    let wire = Wire::lay();
    let database = wire.server.fresh_database();
    let mut world = World::at(&wire.proxy.url_for(database.url()));
    world.settings.pool_max = 1;
    world.settings.pool_min = 0;
    let direct = database.url().to_owned();
    run(world, async move |world: Arc<World>| {
        let store = world.open().await;
        let mut n = 0;
        for direction in [Direction::Up, Direction::Down] {
            assert!(register(&mut world.lease(&store), n).await.unwrap().is_some());
            n += 1;
            let before = wire.proxy.bytes(direction);
            assert!(register(&mut world.lease(&store), n).await.unwrap().is_some());
            n += 1;
            let whole = wire.proxy.bytes(direction) - before;
            for bytes in (1..=whole + 2).step_by(if direction == Direction::Up { 11 } else { 5 }) {
                wire.proxy.cut_after(direction, bytes);
                let outcome = register(&mut world.lease(&store), n).await;
                wire.proxy.no_cut();
                judge(&direct, n, bytes, &outcome);
                // Whoever tries again finds himself registered or is now, through the same pool.
                let user = NewUser { uuid: uuid(n + 1_000_000), ..new_user(n) };
                let again = register_as(&mut world.lease(&store), user, new_session(n + 1_000_000)).await;
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
    assert_eq!(testkit::postgres::rows(url, &sql).unwrap().len(), whole, "no half of a user");
    whole
}

fn judge(url: &str, n: u128, bytes: u64, outcome: &Result<Option<model::UserId>, Error>) {
    match outcome {
        Ok(Some(_)) => assert_eq!(count(url, n), 1, "after {bytes} bytes"),
        // The server may still be at it; the second try waits for the same row.
        Err(Error::OutcomeUnknown) => {}
        Err(Error::Unavailable(_)) => assert_eq!(count(url, n), 0, "after {bytes} bytes"),
        other => panic!("after {bytes} bytes: {other:?}"),
    }
}

async fn read(world: &World, store: &Store) -> Result<(), Error> {
    world.lease(store).read().await?.one(realm::find()).await.map(|_| ())
}

/// F-10: a slow wire is slow; a silent one ends at the deadlines, and a new connection serves on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f10_a_slow_wire_works_and_a_silent_one_ends_at_the_deadline() {
    let wire = Wire::lay();
    let database = wire.server.fresh_database();
    let mut world = World::at(&wire.proxy.url_for(database.url()));
    world.settings.pool_max = 1;
    run(world, async move |world: Arc<World>| {
        let store = world.open_with(|settings| settings.statement_timeout = Duration::from_secs(1)).await;
        wire.proxy.latency(Direction::Up, Duration::from_millis(50));
        wire.proxy.latency(Direction::Down, Duration::from_millis(50));
        assert!(register(&mut world.lease(&store), 1).await.unwrap().is_some());
        wire.proxy.latency(Direction::Up, Duration::ZERO);
        wire.proxy.latency(Direction::Down, Duration::ZERO);
        wire.proxy.black_hole(true);
        let silent = tokio::time::timeout(Duration::from_secs(20), read(&world, &store)).await;
        assert!(matches!(silent, Ok(Err(Error::Unavailable(_)))), "{silent:?}");
        wire.proxy.black_hole(false);
        read(&world, &store).await.unwrap();
        assert!(register(&mut world.lease(&store), 2).await.unwrap().is_some());
    })
    .await;
}

/// F-20: whatever byte of a migration is the last to arrive, the next run completes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_f20_a_migration_cut_off_anywhere_runs_again() {
    let wire = Wire::lay();
    let whole = {
        let database = wire.server.fresh_database();
        let ours = settings(at_url(&wire.proxy.url_for(database.url())));
        let before = wire.proxy.bytes(Direction::Up);
        store::migrate(&ours, crate::fixtures::NOON, &spawner()).await.unwrap();
        wire.proxy.bytes(Direction::Up) - before
    };
    for part in 1..12 {
        let database = wire.server.fresh_database();
        let ours = settings(at_url(&wire.proxy.url_for(database.url())));
        wire.proxy.cut_after(Direction::Up, whole * part / 12);
        let cut = store::migrate(&ours, crate::fixtures::NOON, &spawner()).await;
        assert!(matches!(&cut, Err(Error::Unavailable(_))), "{part}: {cut:?}");
        wire.proxy.no_cut();
        store::migrate(&ours, crate::fixtures::NOON, &spawner()).await.unwrap();
        assert!(store::pending(&ours, &spawner()).await.unwrap().is_empty());
        store::open(&ours, &spawner()).await.unwrap();
    }
}
