//! An intent is written before its transaction is sent, and every outcome is reported.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::intent;
use store::queries::user::NewUser;
use store::queries::{realm, user};
use store::{Error, Tx};

use crate::fixtures::{Refusal, TestDb, new_session, new_user, register, register_as, uuid};

on_both!(
    an_intent_is_written_before_commit_and_ended_by_its_event,
    the_intent_of_a_rolled_back_write_is_withdrawn,
    the_intent_of_a_write_refused_after_commit_is_withdrawn,
    an_intent_that_cannot_be_written_blocks_no_write,
    bookkeeping_announces_nothing,
    a_cancelled_write_still_reports_its_outcome
);

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: intent::RowsCleaned = intent::RowsCleaned {};

async fn insert(tx: &mut Tx, n: u128) -> Result<(), Error> {
    tx.one(user::insert(&new_user(n))).await.map(|_| ())
}

/// On PostgreSQL the intent is written before anything is sent; on SQLite once for all members of a group.
async fn an_intent_is_written_before_commit_and_ended_by_its_event(db: Arc<TestDb>) {
    let store = db.open().await;
    let (mut lease, sqlite) = (db.lease(&store), db.is_sqlite());
    let events = Arc::clone(&db.events);
    let done: Result<(), Error> = lease
        .transact(INTENT, async move |tx| {
            let log = events.log();
            assert_eq!(log.first().unwrap(), "announced rows_cleaned");
            assert_eq!(log.get(1).is_none(), sqlite);
            insert(tx, 1).await?;
            assert!(events.log().is_empty(), "nothing is recorded before COMMIT");
            Ok((EVENT, ()))
        })
        .await;
    done.unwrap();
    let log = db.events.log();
    assert_eq!(log, if sqlite { vec!["written", "rows_cleaned 7"] } else { vec!["rows_cleaned 7"] });
}

async fn the_intent_of_a_rolled_back_write_is_withdrawn(db: Arc<TestDb>) {
    let store = db.open().await;
    let failed: Result<(), Refusal> = db
        .lease(&store)
        .transact(INTENT, async |tx| {
            insert(tx, 1).await?;
            Err(Refusal::Taken)
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(without_waits(&db), ["announced rows_cleaned", "withdrawn 7"]);
}

/// COMMIT was sent, and the statements report that they changed nothing.
async fn the_intent_of_a_write_refused_after_commit_is_withdrawn(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    assert!(register(&mut lease, 1).await.unwrap().is_some());
    db.events.log();
    let again = NewUser { uuid: uuid(2), ..new_user(1) };
    assert!(register_as(&mut lease, again, new_session(2)).await.unwrap().is_none(), "the email is taken");
    assert_eq!(without_waits(&db), ["announced user_registered", "withdrawn 7"]);
}

/// Without the entries for written intents: SQLite does not wait for them if it never commits.
fn without_waits(db: &TestDb) -> Vec<String> {
    db.events.log().into_iter().filter(|word| word != "written").collect()
}

async fn an_intent_that_cannot_be_written_blocks_no_write(db: Arc<TestDb>) {
    let store = db.open().await;
    db.events.hangs.store(true, Ordering::SeqCst);
    assert!(register(&mut db.lease(&store), 1).await.unwrap().is_some());
    assert_eq!(db.events.log(), ["announced user_registered", "user_registered 7"]);
}

async fn bookkeeping_announces_nothing(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let (holder, now) = (uuid::Uuid::from_u128(1), crate::fixtures::NOON);
    assert!(lease.claim_job("a job", holder, now, now).await.unwrap());
    lease.release_job("a job", holder).await.unwrap();
    lease.keep_audit_keys(Vec::new(), now).await.unwrap();
    assert!(db.events.log().is_empty());
}

/// The caller is cancelled while the transaction is open. On PostgreSQL the transaction ends with it, before
/// COMMIT. On SQLite it has started on the writer's thread and runs to its end there.
async fn a_cancelled_write_still_reports_its_outcome(db: Arc<TestDb>) {
    let store = db.open().await;
    let (began, has_begun) = tokio::sync::oneshot::channel();
    let began = std::sync::Mutex::new(Some(began));
    let (go, gone) = std::sync::mpsc::channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let mut lease = db.lease(&store);
    let sqlite = db.is_sqlite();

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
    // The PostgreSQL closure never receives it.
    let _ = go.send(());

    // SQLite has one writer, so this answer comes after the cancelled write.
    db.lease(&store).read().await.unwrap().one(realm::find()).await.unwrap();
    assert!(register(&mut db.lease(&store), 2).await.unwrap().is_some());

    let log = db.events.log();
    let end = if db.is_sqlite() { "rows_cleaned 7" } else { "withdrawn 7" };
    assert_eq!(log.iter().filter(|word| *word == end).count(), 1, "{log:?}");
    assert_eq!(db.count("users"), if db.is_sqlite() { 2 } else { 1 });
}
