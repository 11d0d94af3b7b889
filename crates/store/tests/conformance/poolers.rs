//! Poolers between the store and PostgreSQL: PgBouncer 1.18 of Debian, which keeps no prepared statements in
//! transaction mode, and one that keeps them, as newer ones do.

use std::ops::Range;
use std::sync::Arc;

use store::queries::{session, user};
use store::{Error, Location, PreparedStatements, Store};
use testkit::postgres::rows_at_once;
use testkit::{PgBouncer, PoolerSettings, Postgres, TransactionPooler};
use tokio::task::JoinSet;

use crate::fixtures::{NOON, TestDb, new_session, register, settings, spawner};

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

/// Writes and reads of each number, all at once, in turn by each store.
async fn work(db: &Arc<TestDb>, stores: &[Arc<Store>], numbers: Range<u128>) {
    let mut tasks = JoinSet::new();
    for (n, store) in numbers.zip(stores.iter().cycle()) {
        let (db, store) = (Arc::clone(db), Arc::clone(store));
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
}

/// A plain client of the same pool sees the defaults of the server, on every server connection.
fn sees_no_setting(url: &str, connections: usize) {
    let asks = [
        ("transaction_isolation", "read committed"),
        ("transaction_read_only", "off"),
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_read_only", "off"),
        ("statement_timeout", "0"),
        ("lock_timeout", "0"),
        ("idle_in_transaction_session_timeout", "0"),
        ("search_path", "\"$user\", public"),
    ];
    let texts = asks.map(|(setting, _)| format!("current_setting('{setting}')")).join(", ");
    let expected = asks.map(|(_, value)| Some(value.to_owned()));
    for answer in rows_at_once(url, &format!("SELECT {texts}"), connections).unwrap() {
        assert_eq!(answer, [&expected]);
    }
}

/// The numbers of prepared statements of the server connections.
fn prepared(url: &str, connections: usize) -> Vec<usize> {
    let asks = "SELECT name FROM pg_prepared_statements WHERE name LIKE 'POOLER%'";
    rows_at_once(url, asks, connections).unwrap().iter().map(Vec::len).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_that_loses_prepared_statements_is_worked_through_and_keeps_no_setting() {
    let server = Postgres::start();
    server.database("app");
    let bouncer = PgBouncer::start(&server, "transaction", 4);
    let url = bouncer.url("app");
    crate::fixtures::run(TestDb::at(&url), async move |db: Arc<TestDb>| {
        let store = Arc::new(db.open_with(|settings| settings.pool_max = 12).await);
        work(&db, &[store], 0..60).await;
        assert_eq!((db.count("users"), db.count("sessions")), (60, 120));
        let audit = store::audit_db::Audit::open(&db.settings, &spawner()).unwrap();
        audit.prepare(&[NOON]).await.unwrap();
        assert_eq!(audit.journals().await.unwrap(), []);

        sees_no_setting(db.url(), 4);
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

async fn statements_stay_prepared_behind(pooler: PoolerSettings) {
    // Given two nodes behind one pooler.
    let mut server = Postgres::start();
    server.database("app");
    let bouncer = TransactionPooler::start(&server, "app", pooler);
    let db = Arc::new(TestDb::at(bouncer.url()));
    db.migrate().await.unwrap();
    let open =
        async |setting| Arc::new(db.open_with(|settings| settings.prepared_statements = setting).await);
    let stores = [open(PreparedStatements::Auto).await, open(PreparedStatements::On).await];
    let is_kept = || {
        let found = prepared(bouncer.url(), pooler.connections);
        assert!(found.iter().all(|found| (1..=pooler.statements).contains(found)), "{found:?}");
    };

    // When more clients than server connections work at once, then statements are used by name.
    work(&db, &stores, 0..40).await;
    is_kept();
    let connections =
        "SELECT 1 FROM pg_stat_activity WHERE datname = 'app' AND backend_type = 'client backend'";
    assert_eq!(server.sql(connections).len(), pooler.connections);
    sees_no_setting(bouncer.url(), pooler.connections);

    // When the server forgets them, its connections end, or it restarts, then they are prepared again.
    rows_at_once(bouncer.url(), "DEALLOCATE ALL", pooler.connections).unwrap();
    work(&db, &stores, 40..80).await;
    is_kept();
    server.sql("SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = 'app'");
    work(&db, &stores, 80..120).await;
    is_kept();
    server.restart();
    work(&db, &stores, 120..160).await;
    is_kept();
    assert_eq!((db.count("users"), db.count("sessions")), (160, 320));
    sees_no_setting(bouncer.url(), pooler.connections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_stay_prepared_behind_a_pooler_that_gives_every_transaction_the_next_connection() {
    for connections in [2, 3] {
        statements_stay_prepared_behind(PoolerSettings { connections, ..PoolerSettings::default() }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_stay_prepared_behind_a_pooler_that_gives_out_the_connection_used_last() {
    for statements in [200, 20] {
        let pooler = PoolerSettings { round_robin: false, statements, ..PoolerSettings::default() };
        statements_stay_prepared_behind(pooler).await;
    }
}
