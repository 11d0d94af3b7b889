//! Many tasks share few connections: their waits, their order, and what each sees.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{Now, SessionId};
use store::queries::{realm, revocation, session, user};
use store::{Error, Settings, Store};
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::fixtures::{NOON, TestDb, new_session, new_user, register, session_id, uuid};

on_both!(
    a_parked_lease_gives_its_connection_back,
    a_second_acquire_in_one_task_panics,
    a_wait_for_a_connection_has_a_deadline,
    one_of_many_registers_an_email,
    revocations_appear_in_commit_order,
    an_answered_write_is_committed,
    background_writes_run_among_requests
);

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

fn one_connection(settings: &mut Settings) {
    settings.pool_max = 1;
}

async fn a_parked_lease_gives_its_connection_back(db: Arc<TestDb>) {
    let store = Arc::new(db.open_with(one_connection).await);
    let mut lease = db.lease(&store);
    lease.read().await.unwrap().one(realm::find()).await.unwrap();
    let parked = lease.park();
    let (other, shared) = (Arc::clone(&db), Arc::clone(&store));
    let task = tokio::task::spawn(async move { register(&mut other.lease(&shared), 1).await });
    assert!(task.await.unwrap().unwrap().is_some());
    assert!(!parked.gone().is_cancelled());
    lease.read().await.unwrap().one(realm::find()).await.unwrap();
    // One lease reads and writes on the same connection.
    assert!(register(&mut lease, 2).await.unwrap().is_some());
}

async fn a_second_acquire_in_one_task_panics(db: Arc<TestDb>) {
    let store = db.open().await;
    let (mut first, mut second) = (db.lease(&store), db.lease(&store));
    let mut background = store.background.lease(db.trail());
    first.read().await.unwrap();
    for lease in [&mut second, &mut background] {
        let acquire = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(lease.read()));
        let panicked = acquire.await.map(|_| ()).unwrap_err();
        let text = panicked.downcast_ref::<String>().unwrap();
        assert!(text.contains("second connection") && text.contains("a_second_acquire"), "{text}");
    }
    first.park();
    second.read().await.unwrap();
}

async fn a_wait_for_a_connection_has_a_deadline(db: Arc<TestDb>) {
    let store = db
        .open_with(|settings| {
            one_connection(settings);
            settings.acquire_timeout = Duration::from_millis(500);
        })
        .await;
    let mut holder = db.lease(&store);
    holder.read().await.unwrap();
    let (db, shared) = (Arc::clone(&db), Arc::new(store));
    let other = tokio::task::spawn({
        let shared = Arc::clone(&shared);
        async move { db.lease(&shared).read().await.map(|_| ()) }
    });
    assert!(matches!(other.await.unwrap(), Err(Error::Unavailable(_))));
    holder.read().await.unwrap().one(realm::find()).await.unwrap();
}

async fn one_of_many_registers_an_email(db: Arc<TestDb>) {
    let store = Arc::new(db.open().await);
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let (db, store) = (Arc::clone(&db), Arc::clone(&store));
        tasks.spawn(async move {
            let user = user::NewUser { uuid: uuid(n), username: None, ..new_user(0) };
            crate::fixtures::register_as(&mut db.lease(&store), user, new_session(n)).await.unwrap()
        });
    }
    let won = tasks.join_all().await.into_iter().flatten().count();
    assert_eq!((won, db.count("users"), db.count("sessions")), (1, 1, 1));
    assert_eq!(db.events.all().len(), 1);
}

/// A poller that remembers the newest number it has seen never misses a later commit.
async fn revocations_appear_in_commit_order(db: Arc<TestDb>) {
    const WRITERS: u128 = 16;
    const EACH: u128 = 10;
    let store = Arc::new(db.open_with(|settings| settings.pool_max = 16).await);
    let mut writers = JoinSet::new();

    for writer in 0..WRITERS {
        let (db, store) = (Arc::clone(&db), Arc::clone(&store));
        writers.spawn(async move {
            let mut lease = db.lease(&store);
            let user = register(&mut lease, writer * 1000).await.unwrap().unwrap();
            for n in 1..EACH {
                let ending = session::Ending { at: NOON, keep: NOON };
                let (new, id) = (new_session(writer * 1000 + n), session_id(writer * 1000 + n));
                let opened: Result<_, Error> = lease
                    .transact(INTENT, async move |tx| {
                        let opened = tx.one(session::open(user, 1, &new)).await?;
                        tx.commit_with((
                            revocation::bump(),
                            session::revoke(id, user, ending),
                            revocation::record(user, NOON),
                        ))
                        .await?;
                        Ok((EVENT, opened))
                    })
                    .await;
                opened.unwrap().unwrap();
            }
        });
    }

    let expected = usize::try_from(WRITERS * (EACH - 1)).unwrap();
    let polled = tokio::task::spawn(poll(Arc::clone(&db), Arc::clone(&store), expected));
    writers.join_all().await;
    let seen = tokio::time::timeout(Duration::from_mins(1), polled).await.unwrap().unwrap();
    assert_eq!(seen.len(), expected);
}

async fn poll(db: Arc<TestDb>, store: Arc<Store>, expected: usize) -> BTreeSet<SessionId> {
    let mut lease = store.background.lease(db.trail());
    let mut newest = (0, SessionId(Uuid::nil()));
    let mut seen = BTreeSet::new();
    while seen.len() < expected {
        let rows = lease.read().await.unwrap().all(revocation::after(newest.0, newest.1, 7)).await.unwrap();
        for row in rows {
            newest = (row.number, row.session);
            assert!(seen.insert(row.session));
        }
        tokio::task::yield_now().await;
    }
    seen
}

async fn an_answered_write_is_committed(db: Arc<TestDb>) {
    let store = Arc::new(db.open().await);
    let mut tasks = JoinSet::new();
    for n in 0..64 {
        let (db, store) = (Arc::clone(&db), Arc::clone(&store));
        tasks.spawn(async move {
            let id = register(&mut db.lease(&store), n).await.unwrap().unwrap();
            // A separate connection sees only committed data.
            let found = tokio::task::spawn_blocking(move || {
                db.sql(&format!("SELECT count(*) FROM gw.users WHERE id = {}", id.id.0))
            });
            assert_eq!(found.await.unwrap()[0][0].as_deref(), Some("1"));
        });
    }
    tasks.join_all().await;
}

/// The background lane has lower priority and never starves.
async fn background_writes_run_among_requests(db: Arc<TestDb>) {
    let store = Arc::new(db.open().await);
    let stop = tokio_util::sync::CancellationToken::new();

    let mut requests = JoinSet::new();
    for n in 0..16 {
        let (db, store, stop) = (Arc::clone(&db), Arc::clone(&store), stop.clone());
        requests.spawn(async move {
            let mut lease = db.lease(&store);
            let mut round = 0;
            while !stop.is_cancelled() {
                round += 1;
                register(&mut lease, n + round * 100).await.unwrap();
            }
        });
    }

    let mut lease = store.background.lease(db.trail());
    for _ in 0..20 {
        let cleaned: Result<_, Error> = lease
            .transact(INTENT, async |tx| {
                Ok((EVENT, tx.commit_with((session::delete_expired(Now::from_micros(0), 10),)).await?))
            })
            .await;
        cleaned.unwrap();
    }

    stop.cancel();
    requests.join_all().await;
}
