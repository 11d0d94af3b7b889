//! Behaviour of a single engine: SQLite's writer thread, which must not wait, and cancelled statements on
//! PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use model::{Event, UserId};
use store::queries::{realm, user};
use store::{Error, Location, Store};
use testkit::Postgres;
use tokio_postgres::{Client, NoTls};

use crate::fixtures::{NOON, TestDb, new_user, register, session_id, settings, spawner, uuid};

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

#[tokio::test]
async fn sqlite_refuses_a_closure_that_awaits_something_else() {
    crate::fixtures::run(TestDb::sqlite(), async |db: Arc<TestDb>| {
        let store = db.open().await;
        for wait in 0..3 {
            let slow: Result<(), Error> = db
                .lease(&store)
                .transact(INTENT, async move |tx| {
                    tx.one(user::insert(&new_user(1))).await?;
                    match wait {
                        0 => std::future::pending().await,
                        1 => tokio::task::yield_now().await,
                        // A timer would panic on a thread outside the runtime.
                        _ => {
                            let limit = Duration::from_secs(1);
                            tokio::time::timeout(limit, std::future::pending::<()>()).await.ok();
                        }
                    }
                    Ok((EVENT, ()))
                })
                .await;

            assert!(matches!(slow, Err(Error::Slow)), "{wait}: {slow:?}");
            assert_eq!(db.count("users"), 0);
        }
        assert!(register(&mut db.lease(&store), 1).await.unwrap().is_some());
    })
    .await;
}

/// A client that has locked the table of users.
struct Locker(Client);

impl Locker {
    async fn lock(db: &TestDb) -> Self {
        let (client, connection) = tokio_postgres::connect(db.url(), NoTls).await.unwrap();
        tokio::task::spawn(connection);
        client.batch_execute("BEGIN; LOCK TABLE gatewright.users IN ACCESS EXCLUSIVE MODE").await.unwrap();
        Self(client)
    }

    /// Returns once `wanted` connections of the store wait for the lock.
    async fn waiting(&self, wanted: &str) {
        // Inside a transaction the view is cached until its snapshot is cleared.
        let sql = "SELECT pg_stat_clear_snapshot(); \
                   SELECT count(*) AS count FROM pg_stat_activity WHERE application_name = 'gatewright' \
                   AND datname = current_database() AND wait_event_type = 'Lock'";
        loop {
            let found = self.0.simple_query(sql).await.unwrap();
            let count = found.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.try_get("count").ok().flatten(),
                _ => None,
            });
            if count == Some(wanted) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn unlock(self) {
        self.0.batch_execute("ROLLBACK").await.unwrap();
    }
}

async fn one_connection(db: &TestDb) -> Arc<Store> {
    Arc::new(db.open_with(|settings| settings.pool_max = 1).await)
}

#[tokio::test]
async fn a_cancelled_statement_does_not_delay_the_next_lease() {
    crate::fixtures::run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = one_connection(&db).await;
        let locker = Locker::lock(&db).await;

        for writes in [false, true] {
            let (shared, cloned_db) = (Arc::clone(&store), Arc::clone(&db));

            let stuck = tokio::task::spawn(async move {
                let mut lease = cloned_db.lease(&shared);
                if writes {
                    register(&mut lease, 1).await.map(|_| ())
                } else {
                    lease.read().await?.one(user::find_by_number(UserId(1))).await.map(|_| ())
                }
            });

            locker.waiting("1").await;
            stuck.abort();
            assert!(stuck.await.unwrap_err().is_cancelled());

            // The table is still locked and the pool has one connection: this runs at once on a new one.
            db.lease(&store).read().await.unwrap().one(realm::find()).await.unwrap();
            // The server has cancelled the statement of the client that is gone.
            locker.waiting("0").await;
        }

        locker.unlock().await;
        assert_eq!(db.count("users"), 0);
        assert!(register(&mut db.lease(&store), 1).await.unwrap().is_some());
    })
    .await;
}

/// COMMIT is sent with the statements, so a cancelled caller cannot know the outcome; the trail records that.
#[tokio::test]
async fn a_transaction_cancelled_after_commit_was_sent_is_recorded_as_unknown() {
    crate::fixtures::run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = one_connection(&db).await;
        register(&mut db.lease(&store), 1).await.unwrap();
        let locker = Locker::lock(&db).await;
        db.events.log();
        let (shared, cloned_db) = (Arc::clone(&store), Arc::clone(&db));
        let stuck = tokio::task::spawn(async move { register(&mut cloned_db.lease(&shared), 2).await });
        locker.waiting("1").await;
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
        assert_eq!(db.events.log(), ["announced user_registered", "written", "outcome_unknown 7"]);
        locker.unlock().await;
    })
    .await;
}

#[tokio::test]
async fn a_lease_works_after_a_cancelled_statement() {
    crate::fixtures::run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = one_connection(&db).await;
        let locker = Locker::lock(&db).await;
        let mut lease = db.lease(&store);
        assert!(lease.read().await.unwrap().one(user::find_by_number(UserId(1))).now_or_never().is_none());
        lease.read().await.unwrap().one(realm::find()).await.unwrap();
        let poisoned: Result<(), Error> = lease
            .transact(INTENT, async |tx| {
                tx.one(realm::find()).await?;
                assert!(tx.one(user::find_by_number(UserId(1))).now_or_never().is_none());
                Ok((EVENT, ()))
            })
            .await;
        assert!(matches!(poisoned, Err(Error::Poisoned)));
        lease.read().await.unwrap().one(realm::find()).await.unwrap();
        assert_eq!(db.events.all(), []);
        locker.unlock().await;
    })
    .await;
}

/// F-06: a locked table delays only its own statements, up to their deadline.
#[tokio::test]
async fn fault_a_statement_past_its_deadline_is_given_up() {
    crate::fixtures::run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = db
            .open_with(|settings| {
                settings.pool_max = 1;
                settings.statement_timeout = Duration::from_millis(100);
            })
            .await;

        let locker = Locker::lock(&db).await;
        let mut lease = db.lease(&store);
        let at_the_end = register(&mut lease, 1).await;
        assert!(matches!(at_the_end, Err(Error::OutcomeUnknown)), "COMMIT was sent: {at_the_end:?}");
        let late = lease.read().await.unwrap().one(user::find_by_number(UserId(1))).await;
        assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
        lease.read().await.unwrap().one(realm::find()).await.unwrap();

        let in_the_middle: Result<(), Error> = lease
            .transact(INTENT, async |tx| {
                tx.one(user::set_role(model::UserKey { id: UserId(1), uuid: uuid(1) }, "ADMIN", NOON))
                    .await?;
                Ok((EVENT, ()))
            })
            .await;
        assert!(matches!(in_the_middle, Err(Error::Unavailable(_))), "{in_the_middle:?}");

        let prepared = register(&mut lease, 1).await;
        assert!(matches!(prepared, Err(Error::Unavailable(_))), "nothing was sent: {prepared:?}");
        lease.read().await.unwrap().one(realm::find()).await.unwrap();
        locker.waiting("0").await;
        locker.unlock().await;

        let (user, session) = (Some(uuid(1)), Some(session_id(1)));
        let unknown = Event::OutcomeUnknown { intended: model::EventKind::UserRegistered, user, session };
        assert_eq!(db.events.all(), [unknown], "only where COMMIT was sent");
    })
    .await;
}

/// A Unix socket has no host name for TLS to verify; without TLS none is needed.
#[tokio::test]
async fn the_server_may_listen_on_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let server = Postgres::builder().setting("unix_socket_directories", &path).start();
    let url = format!("postgres://postgres@{}:{}/postgres", path.replace('/', "%2F"), server.port());
    let settings = settings(Location::postgres(&url));
    store::migrate(&settings, NOON, &spawner()).await.unwrap();
    let store = store::open(&settings, &spawner()).await.unwrap();
    store.probe.check(Duration::from_secs(20)).await.unwrap();
}
