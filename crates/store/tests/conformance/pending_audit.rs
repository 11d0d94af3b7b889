//! What a transaction is about to do is written before it is sent, and whatever becomes of it is told.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Event, EventKind, Intent};
use store::queries::user::NewUser;
use store::queries::{audit_key, job, realm, user};
use store::{Error, Tx};

use crate::fixtures::{Refusal, World, new_session, new_user, register, register_as, uuid};

on_both!(
    it_is_written_before_commit_and_ended_by_its_event,
    what_is_rolled_back_is_withdrawn,
    what_is_refused_after_commit_is_withdrawn,
    what_cannot_be_written_stops_nobody,
    bookkeeping_announces_nothing,
    what_nobody_waits_for_is_told_all_the_same,
    something_else_than_was_announced_is_found_out
);

const EVENT: Event = Event::RowsCleaned { sessions: 0, revocations: 0 };
const INTENT: Intent = Intent::to(EventKind::RowsCleaned);

async fn insert(tx: &mut Tx, n: u128) -> Result<(), Error> {
    tx.one(user::insert(&new_user(n))).await.map(|_| ())
}

/// On PostgreSQL before anything is sent, on SQLite once for all whom the writer commits together.
async fn it_is_written_before_commit_and_ended_by_its_event(world: Arc<World>) {
    let store = world.open().await;
    let (mut lease, sqlite) = (world.lease(&store), world.is_sqlite());
    let events = Arc::clone(&world.events);
    let done: Result<(), Error> = lease
        .transact(INTENT, async move |tx| {
            let told = events.told();
            assert_eq!(told.first().unwrap(), "announced rows_cleaned");
            assert_eq!(told.get(1).is_none(), sqlite);
            insert(tx, 1).await?;
            assert!(events.told().is_empty(), "and nothing is said before COMMIT");
            Ok((EVENT, ()))
        })
        .await;
    done.unwrap();
    let told = world.events.told();
    assert_eq!(told, if sqlite { vec!["written", "rows_cleaned 7"] } else { vec!["rows_cleaned 7"] });
}

async fn what_is_rolled_back_is_withdrawn(world: Arc<World>) {
    let store = world.open().await;
    let failed: Result<(), Refusal> = world
        .lease(&store)
        .transact(INTENT, async |tx| {
            insert(tx, 1).await?;
            Err(Refusal::Taken)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(without_waits(&world), ["announced rows_cleaned", "withdrawn 7"]);
}

/// COMMIT was sent, and the statements say themselves that they did nothing.
async fn what_is_refused_after_commit_is_withdrawn(world: Arc<World>) {
    let store = world.open().await;
    let mut lease = world.lease(&store);
    assert!(register(&mut lease, 1).await.unwrap().is_some());
    world.events.told();
    let again = NewUser { uuid: uuid(2), ..new_user(1) };
    assert!(register_as(&mut lease, again, new_session(2)).await.unwrap().is_none(), "his email is taken");
    assert_eq!(without_waits(&world), ["announced user_registered", "withdrawn 7"]);
}

/// What SQLite never commits waits for nothing.
fn without_waits(world: &World) -> Vec<String> {
    world.events.told().into_iter().filter(|word| word != "written").collect()
}

async fn what_cannot_be_written_stops_nobody(world: Arc<World>) {
    let store = world.open().await;
    world.events.hangs.store(true, Ordering::SeqCst);
    assert!(register(&mut world.lease(&store), 1).await.unwrap().is_some());
    assert_eq!(world.events.told(), ["announced user_registered", "user_registered 7"]);
}

async fn bookkeeping_announces_nothing(world: Arc<World>) {
    let store = world.open().await;
    let mut lease = world.lease(&store);
    let (holder, now) = (uuid::Uuid::from_u128(1), crate::fixtures::NOON);
    assert!(job::claim_lease(&mut lease, "a job", holder, now, now).await.unwrap());
    job::release_lease(&mut lease, "a job", holder, now).await.unwrap();
    audit_key::keep(&mut lease, Vec::new(), now).await.unwrap();
    assert!(world.events.told().is_empty());
}

/// Whoever waits is gone while the transaction is open. PostgreSQL's ends with him, before its COMMIT. SQLite's has
/// begun in the writer's thread, and ends there.
async fn what_nobody_waits_for_is_told_all_the_same(world: Arc<World>) {
    let store = world.open().await;
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let began = std::sync::Mutex::new(Some(began));
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let (mut lease, sqlite) = (world.lease(&store), world.is_sqlite());
    let waiting = tokio::task::spawn(async move {
        let outcome: Result<(), Error> = lease
            .transact(INTENT, async move |tx| {
                insert(tx, 1).await?;
                if let Some(began) = began.lock().unwrap().take() {
                    began.send(()).unwrap();
                }
                if sqlite {
                    gone.lock().unwrap().recv().unwrap();
                } else {
                    std::future::pending::<()>().await;
                }
                Ok((EVENT, ()))
            })
            .await;
        outcome
    });
    has_begun.await.unwrap();
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    // PostgreSQL's never asks.
    let _ = go.send(());
    // SQLite has one writer: what is answered here came after it.
    world.lease(&store).read().await.unwrap().one(realm::find()).await.unwrap();
    assert!(register(&mut world.lease(&store), 2).await.unwrap().is_some());
    let told = world.events.told();
    let end = if world.is_sqlite() { "rows_cleaned 7" } else { "withdrawn 7" };
    assert_eq!(told.iter().filter(|word| *word == end).count(), 1, "{told:?}");
    assert_eq!(world.count("users"), if world.is_sqlite() { 2 } else { 1 });
}

async fn something_else_than_was_announced_is_found_out(world: Arc<World>) {
    let store = world.open().await;
    let mut lease = world.lease(&store);
    let lying = tokio::task::spawn(async move {
        let outcome: Result<(), Error> =
            lease.transact(Intent::to(EventKind::RealmOpened), async |_| Ok((EVENT, ()))).await;
        outcome
    });
    let found = lying.await;
    assert!(found.is_err() || matches!(found, Ok(Err(Error::Database(_)))), "{found:?}");
}
