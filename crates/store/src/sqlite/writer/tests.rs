//! Tests of groups, without the writer's thread.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use model::intent::{self, Announced as _};
use model::{Actor, Clock, Intent, Now, Origin};
use runtime::AuditContext;
use runtime::audit::{Entry, IntentReceipt, Recorder};
use tempfile::TempDir;

use super::*;
use crate::queries::registry;
use crate::queries::{client, realm};
use crate::sqlite::Text;

const EVENT: model::event::RowsCleaned =
    model::event::RowsCleaned { sessions: 0, revocations: 0, networks: 0 };

struct File {
    path: PathBuf,
    _folder: TempDir,
}

fn open() -> (Connection, File) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.db");
    super::super::migrate(&path, Now::from_seconds(1), true).unwrap();
    let texts: HashMap<_, _> = registry().map(|stmt| (stmt.name, Text::new(stmt.sqlite()))).collect();
    let connection = Connection::writer(&path, Arc::new(texts), Duration::from_secs(20)).unwrap();
    (connection, File { path, _folder: folder })
}

type Waiting = Answer<(), Error>;

/// A job that inserts a client with a name of `bytes` bytes and then succeeds or fails.
fn job(id: &str, bytes: usize, good: bool) -> (Box<dyn Job>, Waiting, Claim) {
    announced_job(id, bytes, good, None)
}

fn announced_job(
    id: &str,
    bytes: usize,
    good: bool,
    announced: Option<PendingAudit>,
) -> (Box<dyn Job>, Waiting, Claim) {
    let (reply, answer) = oneshot::channel();
    let (id, name) = (model::ClientId::parse(id).unwrap(), "x".repeat(bytes));
    let closure = async move |tx: &mut Tx| {
        tx.one(client::insert(&id, &name, [0; 32], &model::ClientRights::default(), Now::from_seconds(1)))
            .await?;
        if good { Ok((EVENT, ())) } else { Err(Error::Finished) }
    };
    let claim = Claim::default();
    (Box::new(Write::new(closure, announced, reply, claim.clone(), Arc::default())), answer, claim)
}

fn stored(file: &File) -> Vec<String> {
    let reader = rusqlite::Connection::open(&file.path).unwrap();
    let mut statement = reader.prepare("SELECT id FROM clients ORDER BY id").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[test]
fn an_endless_run_of_failing_jobs_does_not_delay_the_commit_of_a_good_one() {
    let (connection, file) = open();
    let (good, mut answer, _) = job("good", 1, true);
    let mut asked = 0;
    group(connection, good, || {
        asked += 1;
        assert!(asked < 10 * GROUP, "the group has no end");
        Some(job("bad", 1, false).0)
    });
    assert!(answer.try_recv().unwrap().1.is_ok());
    assert_eq!(stored(&file), ["good"]);
}

#[test]
fn a_failure_that_may_reveal_a_change_is_answered_after_its_commit() {
    let (connection, file) = open();
    let (early, mut early_answer, _) = job("e", 1, false);
    let connection = group(connection, early, || {
        assert!(matches!(early_answer.try_recv(), Ok((_, Err(Error::Finished)))), "answered at once");
        None
    });

    let (first, mut first_answer, _) = job("a", 1, true);
    let (bad, mut bad_answer, _) = job("b", 1, false);
    let (last, mut last_answer, _) = job("c", 1, true);
    let mut left = vec![last, bad];
    group(connection, first, || {
        if left.is_empty() {
            assert!(first_answer.try_recv().is_err() && last_answer.try_recv().is_err());
            assert!(bad_answer.try_recv().is_err(), "it has seen what the first has done");
            assert!(stored(&file).is_empty());
        }
        left.pop()
    });

    assert!(first_answer.try_recv().unwrap().1.is_ok() && last_answer.try_recv().unwrap().1.is_ok());
    assert!(matches!(bad_answer.try_recv(), Ok((_, Err(Error::Finished)))));
    assert_eq!(stored(&file), ["a", "c"]);
}

/// A recorder whose receipt completes only after it has seen that nothing is committed yet.
struct Slow(PathBuf);

impl Recorder for Slow {
    fn record(&self, _: Entry) -> Option<Receipt> {
        None
    }

    fn announce(&self, _: Now, _: &Intent, _: &Origin, _: &Actor) -> Option<IntentReceipt> {
        let (path, mut polled) = (self.0.clone(), false);
        let written = std::future::poll_fn(move |context: &mut Context<'_>| {
            let other = rusqlite::Connection::open(&path).unwrap();
            let clients: i64 = other.query_row("SELECT count(*) FROM clients", [], |row| row.get(0)).unwrap();
            assert_eq!(clients, 0, "committed before the intent was written");
            if std::mem::replace(&mut polled, true) {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            thread::spawn(move || waker.wake());
            Poll::Pending
        });
        Some(IntentReceipt { number: 1, written: Some(Box::pin(written)) })
    }
}

#[test]
fn nothing_is_committed_before_its_intent_is_written() {
    let (connection, file) = open();
    let slow = Arc::new(Slow(file.path.clone()));
    let trail = AuditContext::new(slow, Clock::test(Now::from_seconds(1)), Origin::default());
    let announced = || Some(trail.announce(intent::RowsCleaned {}.intent()));
    let (first, mut first_answer, _) = announced_job("a", 1, true, announced());
    let (second, mut second_answer, _) = announced_job("b", 1, true, announced());

    let mut more = vec![second];
    group(connection, first, || more.pop());
    assert!(first_answer.try_recv().unwrap().1.is_ok() && second_answer.try_recv().unwrap().1.is_ok());
    assert_eq!(stored(&file), ["a", "b"]);
}

/// F-15: the disk is full for one member, and not for the others.
#[test]
fn fault_a_full_disk_fails_only_the_writes_that_do_not_fit() {
    let (connection, file) = open();
    let pages: i64 = connection.inner.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    connection.inner.pragma_update(None, "max_page_count", pages + 3).unwrap();

    let (first, mut first_answer, _) = job("a", 10, true);
    let (large, mut large_answer, _) = job("b", 100_000, true);
    let (last, mut last_answer, _) = job("c", 10, true);
    let mut left = vec![last, large];
    let connection = group(connection, first, || left.pop());

    // If SQLite rolled back the whole group, the jobs that were not in it yet run next.
    let connection = left.into_iter().fold(connection, |connection, job| group(connection, job, || None));

    assert!(matches!(large_answer.try_recv(), Ok((_, Err(Error::Unavailable(_))))));
    assert!(first_answer.try_recv().unwrap().1.is_ok() && last_answer.try_recv().unwrap().1.is_ok());
    assert_eq!(stored(&file), ["a", "c"]);
    assert!(!connection.in_transaction());
}

#[test]
fn fault_a_file_that_became_read_only_is_unavailable() {
    let (connection, file) = open();
    connection.inner.pragma_update(None, "query_only", true).unwrap();
    let (write, mut answer, _) = job("a", 1, true);
    let connection = group(connection, write, || None);
    assert!(matches!(answer.try_recv(), Ok((_, Err(Error::Unavailable(_))))));
    connection.inner.pragma_update(None, "query_only", false).unwrap();
    let (write, mut answer, _) = job("a", 1, true);
    group(connection, write, || None);
    assert!(answer.try_recv().unwrap().1.is_ok());
    assert_eq!(stored(&file), ["a"]);
}

/// A transaction that was left open must not block the writer.
#[test]
fn a_transaction_left_open_is_rolled_back_before_the_next() {
    let (connection, file) = open();
    connection.execute("BEGIN IMMEDIATE").unwrap();
    let (write, mut answer, _) = job("a", 1, true);
    group(connection, write, || None);
    assert!(answer.try_recv().unwrap().1.is_ok());
    assert_eq!(stored(&file), ["a"]);
}

#[test]
fn a_withdrawn_job_never_runs_and_one_that_has_begun_cannot_be_withdrawn() {
    let (connection, file) = open();
    let (first, _answer, first_claim) = job("a", 1, true);
    let (withdrawn, mut withdrawn_answer, claim) = job("b", 1, true);
    assert!(claim.withdraw());
    assert!(!withdrawn.is_wanted());
    let mut left = vec![withdrawn];
    group(connection, first, || left.pop());
    assert!(!first_claim.withdraw());
    assert!(withdrawn_answer.try_recv().is_err());
    assert_eq!(stored(&file), ["a"]);
}

#[test]
fn background_jobs_run_after_a_bounded_number_of_request_jobs() {
    let mut lanes = Lanes::default();
    for n in 0..REQUESTS_IN_A_ROW * 3 {
        lanes.request.push_back(job(&n.to_string(), 1, true).0);
    }
    for n in 0..2 {
        lanes.background.push_back(job(&format!("back{n}"), 1, true).0);
    }

    let mut turns = Vec::new();
    for turn in 0.. {
        let before = lanes.background.len();
        if lanes.pop().is_none() {
            break;
        }
        if lanes.background.len() < before {
            turns.push(turn);
        }
    }
    assert_eq!(turns, [REQUESTS_IN_A_ROW, 2 * REQUESTS_IN_A_ROW + 1]);
}

#[test]
fn a_waiter_learns_that_the_thread_has_ended() {
    let (connection, _file) = open();
    let writer = Writer::start(connection).unwrap();
    assert!(writer.lives());
    drop(Ended(Arc::clone(&writer.queue)));
    assert!(!writer.lives());
    let (mut answer, claim) = writer.submit(Lane::Request, None, async |tx: &mut Tx| {
        Ok::<_, Error>((EVENT, drop(tx.one(realm::find()).await?)))
    });
    assert!(matches!(answer.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert!(claim.withdraw());
}
