//! The promises of a transaction: all or nothing, and one event for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::UserId;
use store::queries::credential::AskingClient;
use store::queries::{credential, realm, session, user};
use store::{Error, Tx};

use crate::fixtures::{
    NOON, Refusal, TestDb, email, new_session, new_user, register, registered, stored, uuid,
};

on_both!(
    an_error_rolls_back,
    a_panic_rolls_back,
    a_dropped_transaction_rolls_back,
    a_failed_statement_poisons,
    a_failed_statement_in_a_batch_poisons,
    a_statement_after_the_last_one_is_refused,
    commit_with_accepts_a_batch_or_a_single_statement,
    an_event_is_recorded_once_and_only_after_commit,
    a_transaction_without_statements_records_its_event,
    a_race_for_a_username_has_one_winner,
    fault_a_damaged_row_is_reported_as_corrupt
);

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };
const INTENT: model::intent::RowsCleaned = model::intent::RowsCleaned {};

async fn insert(tx: &mut Tx, n: u128) -> Result<UserId, Error> {
    Ok(tx.one(user::insert(&new_user(n))).await?.unwrap())
}

async fn an_error_rolls_back(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let failed: Result<(), Refusal> = lease
        .transact(INTENT, async |tx| {
            insert(tx, 1).await?;
            Err(Refusal::Taken)
        })
        .await;
    assert!(matches!(failed, Err(Refusal::Taken)));
    assert_eq!((db.count("users"), db.events.all()), (0, vec![]));
    assert!(register(&mut lease, 1).await.unwrap().is_some(), "the connection still works");
}

async fn a_panic_rolls_back(db: Arc<TestDb>) {
    let store = db.open_with(|settings| settings.pool_max = 1).await;
    let mut lease = db.lease(&store);
    let panicking = tokio::task::spawn(async move {
        let outcome: Result<(), Error> = lease
            .transact(INTENT, async |tx| {
                insert(tx, 1).await?;
                panic!("in a transaction")
            })
            .await;
        outcome
    });
    // On PostgreSQL the closure runs in the caller's task, on SQLite in the writer's thread, which must
    // survive.
    let panicked = panicking.await;
    assert!(panicked.is_err() || matches!(panicked, Ok(Err(Error::Database(_)))), "{panicked:?}");
    assert_eq!((db.count("users"), db.events.all()), (0, vec![]));
    let mut lease = db.lease(&store);
    assert!(register(&mut lease, 1).await.unwrap().is_some(), "the connection still works");
}

/// SQLite's writer runs a started job to its end; on PostgreSQL the transaction ends with its caller.
async fn a_dropped_transaction_rolls_back(db: Arc<TestDb>) {
    let store = db.open_with(|settings| settings.pool_max = 1).await;
    let mut lease = db.lease(&store);
    let (inserted, wait) = tokio::sync::oneshot::channel();
    let inserted = std::sync::Mutex::new(Some(inserted));

    let stuck = tokio::task::spawn(async move {
        let outcome: Result<(), Error> = lease
            .transact(INTENT, async move |tx| {
                insert(tx, 1).await?;
                if let Some(inserted) = inserted.lock().unwrap().take() {
                    inserted.send(()).unwrap();
                }
                std::future::pending().await
            })
            .await;
        outcome
    });

    wait.await.unwrap();
    if db.is_sqlite() {
        assert!(matches!(stuck.await.unwrap(), Err(Error::Slow)));
    } else {
        stuck.abort();
        assert!(stuck.await.unwrap_err().is_cancelled());
    }

    let mut lease = db.lease(&store);
    assert!(register(&mut lease, 1).await.unwrap().is_some(), "the email is free");
    assert_eq!(db.count("users"), 1);
}

async fn a_failed_statement_poisons(db: Arc<TestDb>) {
    let store = db.open().await;
    refuse_bad_credentials(&db);
    let mut lease = db.lease(&store);
    let poisoned: Result<(), Error> = lease
        .transact(INTENT, async |tx| {
            insert(tx, 1).await?;
            let failed = tx.one(credential::insert(uuid(1), &stored("bad"), NOON)).await;
            let named = |why: &str| why.contains("credential.insert");
            assert!(matches!(failed, Err(Error::Database(why) | Error::Conflict(why)) if named(&why)));
            assert!(matches!(tx.one(realm::find()).await, Err(Error::Poisoned)));
            Ok((EVENT, ()))
        })
        .await;
    assert!(matches!(poisoned, Err(Error::Poisoned)), "{poisoned:?}");
    assert_eq!((db.count("users"), db.events.all()), (0, vec![]));
    assert!(register(&mut lease, 1).await.unwrap().is_some(), "the connection still works");
}

async fn a_failed_statement_in_a_batch_poisons(db: Arc<TestDb>) {
    let store = db.open().await;
    refuse_bad_credentials(&db);
    let mut lease = db.lease(&store);
    let poisoned: Result<(), Error> = lease
        .transact(INTENT, async |tx| {
            let user = new_user(1);
            let calls =
                (user::insert(&user), credential::insert(uuid(1), &stored("bad"), NOON), realm::find());
            assert!(tx.commit_with(calls).await.is_err());
            Ok((EVENT, ()))
        })
        .await;
    assert!(matches!(poisoned, Err(Error::Poisoned)), "{poisoned:?}");
    assert_eq!((db.count("users"), db.events.all()), (0, vec![]));
    assert!(register(&mut lease, 1).await.unwrap().is_some(), "the connection still works");
}

/// Makes either engine refuse credentials with the data `bad`.
fn refuse_bad_credentials(db: &TestDb) {
    if !db.is_sqlite() {
        db.sql("ALTER TABLE gw.credentials ADD CONSTRAINT broken CHECK (data <> 'bad')");
        return;
    }
    let connection = rusqlite::Connection::open(db.path()).unwrap();
    let trigger = "CREATE TRIGGER broken BEFORE INSERT ON credentials WHEN NEW.data = 'bad' \
                   BEGIN SELECT RAISE(ABORT, 'broken'); END";
    connection.execute_batch(trigger).unwrap();
}

async fn a_statement_after_the_last_one_is_refused(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let done: Result<(), Error> = lease
        .transact(INTENT, async |tx| {
            insert(tx, 1).await?;
            tx.commit_with((realm::find(),)).await?;
            assert!(matches!(tx.one(realm::find()).await, Err(Error::Finished)));
            assert!(matches!(tx.commit_with((realm::find(),)).await, Err(Error::Finished)));
            Ok((EVENT, ()))
        })
        .await;
    done.unwrap();
    assert_eq!(db.count("users"), 1);
}

async fn commit_with_accepts_a_batch_or_a_single_statement(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let before = store.requests.meter().trips();
    assert!(register(&mut lease, 1).await.unwrap().is_some());
    let lone: Result<_, Error> = lease
        .transact(INTENT, async |tx| {
            let user = new_user(2);
            Ok((EVENT, tx.commit_with((user::insert(&user),)).await?.0))
        })
        .await;
    assert_eq!(lone.unwrap().len(), 1);
    assert_eq!(store.requests.meter().trips() - before, 2, "each is one round trip");
    assert_eq!(db.count("users"), 2);
    lease.read().await.unwrap().batch((user::find_by_number(UserId(1)), realm::find())).await.unwrap();
    assert_eq!(store.requests.meter().trips() - before, 3, "a batch of reads is one too");
}

async fn an_event_is_recorded_once_and_only_after_commit(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let events = Arc::clone(&db.events);
    let done: Result<(), Error> = lease
        .transact(crate::fixtures::registering(1), async move |tx| {
            insert(tx, 1).await?;
            assert_eq!(events.all(), []);
            Ok((registered(1), ()))
        })
        .await;
    done.unwrap();
    assert_eq!(db.events.all(), [registered(1).into()]);
}

async fn a_transaction_without_statements_records_its_event(db: Arc<TestDb>) {
    let store = db.open().await;
    let done: Result<i32, Error> = db.lease(&store).transact(INTENT, async |_| Ok((EVENT, 7))).await;
    assert_eq!((done.unwrap(), db.events.all()), (7, vec![EVENT.into()]));
}

async fn a_race_for_a_username_has_one_winner(db: Arc<TestDb>) {
    let store = Arc::new(db.open().await);
    for round in 0..10_u128 {
        let mut racers = Vec::new();
        for racer in 0..2 {
            let (db, store) = (Arc::clone(&db), Arc::clone(&store));
            racers.push(tokio::task::spawn(async move {
                let mut lease = db.lease(&store);
                let id = register(&mut lease, round * 10 + racer).await.unwrap().unwrap();
                let name = model::Username::parse(&format!("wanted{round}")).unwrap();
                let set: Result<_, Error> = lease
                    .transact(INTENT, async move |tx| {
                        let old = tx.one(user::find(id)).await?.unwrap();
                        Ok((
                            EVENT,
                            tx.commit_with((user::set_profile(&old, Some(&name), "{}", NOON),)).await?.0,
                        ))
                    })
                    .await;
                set.unwrap().len()
            }));
        }

        let mut won = 0;
        for racer in racers {
            won += racer.await.unwrap();
        }
        assert_eq!(won, 1, "round {round}");
    }
}

async fn fault_a_damaged_row_is_reported_as_corrupt(db: Arc<TestDb>) {
    let store = db.open().await;
    let mut lease = db.lease(&store);
    let one = register(&mut lease, 1).await.unwrap().unwrap();
    let two = register(&mut lease, 2).await.unwrap().unwrap();

    let short = if db.is_sqlite() { "x'0102'" } else { "'\\x0102'::bytea" };
    let at = NOON.micros();
    db.sql(&format!("INSERT INTO gw.clients VALUES ('bad', 'b', {short}, {at}, {at}, 'feed', {at})"));
    let bad = store::queries::client::find(&model::ClientId::parse("bad").unwrap());
    let mut read = lease.read().await.unwrap();
    assert!(matches!(read.one(bad).await, Err(Error::Corrupt(_))));

    if db.is_sqlite() {
        // PostgreSQL cannot store a text that is not UTF-8.
        db.sql("UPDATE gw.users SET profile = CAST(x'ff' AS TEXT) WHERE id = 1");
        assert!(matches!(read.one(user::find(one)).await, Err(Error::Corrupt(_))));
        assert!(matches!(
            read.one(credential::by_email(&email(1), &AskingClient::default())).await,
            Err(Error::Corrupt(_))
        ));
    }

    assert!(read.one(user::find(two)).await.unwrap().is_some(), "other rows are readable");
    let corrupt: Result<(), Error> = lease
        .transact(INTENT, async |tx| {
            insert(tx, 3).await?;
            let bad = store::queries::client::find(&model::ClientId::parse("bad").unwrap());
            assert!(matches!(tx.one(bad).await, Err(Error::Corrupt(_))));
            Ok((EVENT, ()))
        })
        .await;
    assert!(matches!(corrupt, Err(Error::Poisoned)));
    assert_eq!(db.count("users"), 2);
}

/// Two transactions lock two rows in opposite order: PostgreSQL aborts one, which runs again (F-07).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_deadlock_ends_with_both_transactions_committed() {
    crate::fixtures::run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = Arc::new(db.open().await);
        let mut lease = db.lease(&store);
        let one = register(&mut lease, 1).await.unwrap().unwrap();
        let two = register(&mut lease, 2).await.unwrap().unwrap();
        drop(lease);

        let runs = Arc::new(AtomicUsize::new(0));
        let meet = Arc::new(tokio::sync::Barrier::new(2));
        let mut tasks = Vec::new();
        for (first, second) in [(one, two), (two, one)] {
            let (db, store) = (Arc::clone(&db), Arc::clone(&store));
            let (runs, meet) = (Arc::clone(&runs), Arc::clone(&meet));
            tasks.push(tokio::task::spawn(async move {
                let once = Arc::new(AtomicUsize::new(0));
                let done: Result<(), Error> = db
                    .lease(&store)
                    .transact(INTENT, async move |tx| {
                        runs.fetch_add(1, Ordering::SeqCst);
                        tx.one(user::set_role(first, "ADMIN", NOON)).await?;
                        if once.fetch_add(1, Ordering::SeqCst) == 0 {
                            meet.wait().await;
                        }
                        tx.one(user::set_role(second, "ADMIN", NOON)).await?;
                        Ok((EVENT, ()))
                    })
                    .await;
                done
            }));
        }

        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        let recorded = db.events.all().into_iter().filter(|event| *event == EVENT.into()).count();
        assert_eq!(recorded, 2, "one each, although one ran twice");
    })
    .await;
}

/// A conflict that the closure swallows is not committed, and one of an earlier run does not repeat a later
/// call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_of_the_closure_does_not_run_it_again() {
    crate::fixtures::run(TestDb::postgres(), async |db: Arc<TestDb>| {
        let store = db.open().await;
        let mut lease = db.lease(&store);
        let id = register(&mut lease, 1).await.unwrap().unwrap();
        let runs = Arc::new(AtomicUsize::new(0));

        let counted = Arc::clone(&runs);
        let refused: Result<(), Refusal> = lease
            .transact(INTENT, async move |tx| {
                counted.fetch_add(1, Ordering::SeqCst);
                // The same session id twice is a unique violation, which asks for a retry.
                let twice = tx.one(session::open(id, 1, &new_session(1))).await;
                assert!(matches!(twice, Err(Error::Conflict(_))));
                Err(Refusal::Taken)
            })
            .await;
        assert!(matches!(refused, Err(Refusal::Taken)));
        assert_eq!(runs.swap(0, Ordering::SeqCst), 4);

        let counted = Arc::clone(&runs);
        let refused: Result<(), Refusal> = lease
            .transact(INTENT, async move |_| {
                counted.fetch_add(1, Ordering::SeqCst);
                Err(Refusal::Taken)
            })
            .await;
        assert!(matches!(refused, Err(Refusal::Taken)));
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    })
    .await;
}
