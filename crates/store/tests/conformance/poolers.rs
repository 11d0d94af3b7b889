//! PgBouncer between the store and PostgreSQL. Debian's 1.18 keeps no prepared statements in transaction
//! mode.

use std::sync::Arc;

use store::queries::{session, user};
use store::{Error, Location, PreparedStatements};
use testkit::postgres::rows;
use testkit::{PgBouncer, Postgres};
use tokio::task::JoinSet;

use crate::fixtures::{NOON, TestDb, new_session, register, settings, spawner};

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_loses_prepared_statements_is_worked_through_and_keeps_no_setting() {
    let server = Postgres::start();
    server.database("app");
    let bouncer = PgBouncer::start(&server, "transaction", 4);
    let url = bouncer.url("app");
    crate::fixtures::run(TestDb::at(&url), async move |db: Arc<TestDb>| {
        let store = Arc::new(db.open_with(|settings| settings.pool_max = 12).await);
        let mut tasks = JoinSet::new();
        for n in 0..60 {
            let (db, store) = (Arc::clone(&db), Arc::clone(&store));
            tasks.spawn(async move {
                let mut lease = db.lease(&store);
                let id = register(&mut lease, n).await.unwrap().unwrap();
                assert!(lease.read().await.unwrap().one(user::find(id)).await.unwrap().is_some());
                let new = new_session(n + 1000);
                let opened: Result<_, Error> = lease
                    .transact(INTENT, async move |tx| {
                        Ok((EVENT, tx.commit_with((session::open(id, 1, &new),)).await?.0))
                    })
                    .await;
                assert_eq!(opened.unwrap().len(), 1);
            });
        }
        tasks.join_all().await;
        assert_eq!((db.count("users"), db.count("sessions")), (60, 120));
        let audit = store::audit_db::Audit::open(&db.settings, &spawner()).unwrap();
        audit.prepare(&[NOON]).await.unwrap();
        assert_eq!(audit.journals().await.unwrap(), []);

        // Plain connections of the same pool occupy every server connection at once.
        let asks = "SELECT pg_sleep(0.2), current_setting('statement_timeout'), \
                    current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'), \
                    current_setting('search_path'), (SELECT count(*) FROM pg_prepared_statements)";
        let plain: Vec<_> = (0..4)
            .map(|_| {
                let url = db.url().to_owned();
                tokio::task::spawn_blocking(move || rows(&url, asks).unwrap())
            })
            .collect();
        for answer in plain {
            let answer = answer.await.unwrap().remove(0).into_iter().skip(1).map(Option::unwrap);
            let unset = ["0", "0", "0", "\"$user\", public", "0"];
            // The look for the pooler leaves one statement behind at most.
            let seen: Vec<String> = answer.collect();
            assert_eq!(seen[..4], unset[..4]);
        }
    })
    .await;
    drop(bouncer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_pooler_cannot_do_is_refused_with_a_sentence() {
    let server = Postgres::start();
    server.database("app");
    let transactions = PgBouncer::start(&server, "transaction", 2);
    let mut ours = settings(Location::postgres(&transactions.url("app")));
    store::migrate(&ours, NOON, &spawner()).await.unwrap();
    ours.prepared_statements = PreparedStatements::On;
    let refused = store::open(&ours, &spawner()).await.map(|_| ());
    assert!(
        matches!(&refused, Err(Error::Refused(why)) if why.contains("prepared_statements")),
        "{refused:?}"
    );
    for setting in [PreparedStatements::Auto, PreparedStatements::Off] {
        ours.prepared_statements = setting;
        store::open(&ours, &spawner()).await.unwrap();
    }

    let statements = PgBouncer::start(&server, "statement", 4);
    let ours = settings(Location::postgres(&statements.url("app")));
    let refused = store::open(&ours, &spawner()).await.map(|_| ());
    assert!(matches!(&refused, Err(Error::Refused(why)) if why.contains("pool_mode")), "{refused:?}");

    // A server process of its own for each connection keeps prepared statements.
    let sessions = PgBouncer::start(&server, "session", 10);
    let mut ours = settings(Location::postgres(&sessions.url("app")));
    ours.prepared_statements = PreparedStatements::On;
    store::open(&ours, &spawner()).await.unwrap();
}
