//! A SQLite file locked by another process, and processes that are killed while they write.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use store::{Error, Location};

use crate::fixtures::{NOON, TestDb, register, run, settings, spawner};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_wait_for_a_locked_file_has_a_deadline() {
    run(TestDb::sqlite(), async |db: Arc<TestDb>| {
        let store = Arc::new(
            db.open_with(|settings| {
                settings.acquire_timeout = Duration::from_millis(200);
                settings.statement_timeout = Duration::from_millis(200);
            })
            .await,
        );

        let other = rusqlite::Connection::open(db.path()).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut waiting = tokio::task::JoinSet::new();
        for n in 0..32 {
            let (db, store) = (Arc::clone(&db), Arc::clone(&store));
            waiting.spawn(async move { register(&mut db.lease(&store), n).await });
        }

        // Jobs at the end of the queue that never started are answered by their own deadline too.
        let answers = tokio::time::timeout(Duration::from_secs(10), waiting.join_all()).await.unwrap();
        for answer in answers {
            assert!(matches!(answer, Err(Error::Unavailable(_))), "{answer:?}");
        }

        other.execute_batch("COMMIT").unwrap();
        assert!(register(&mut db.lease(&store), 100).await.unwrap().is_some());
        assert_eq!(db.count("users"), 1, "the refused writes changed nothing");
    })
    .await;
}

const CHILD: &str = "STORE_TEST_CHILD";

/// Starts this test program again as the process to kill, with `folder` as its data directory.
fn child(name: &str, folder: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("writer::{name}"), "--nocapture", "--test-threads=1"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn folder_of_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

/// Reads the child's output until `enough` is true, then kills it and reads the rest.
fn kill_after(mut child: Child, mut enough: impl FnMut(&str) -> bool) -> Vec<String> {
    let mut output = Vec::new();
    let mut killed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        output.push(line);
        if !killed && enough(output.last().unwrap()) {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(killed, "the child ended by itself: {output:?}");
    output
}

/// Writes from eight tasks until it is killed, and prints each acknowledged write. Does nothing without
/// [`CHILD`].
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes() {
    let Some(folder) = folder_of_child() else { return };
    let ours = settings(Location::Sqlite(folder.join("gatewright.db")));
    let store = Arc::new(store::open(&ours, &spawner()).await.unwrap());
    let db = Arc::new(TestDb::sqlite());
    let start: u128 = std::process::id().into();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..8 {
        let (store, db) = (Arc::clone(&store), Arc::clone(&db));
        writers.spawn(async move {
            for n in 0.. {
                let n = start * 1_000_000 + writer * 100_000 + n;
                if register(&mut db.lease(&store), n).await.unwrap().is_some() {
                    println!("acknowledged {n}");
                }
            }
        });
    }
    writers.join_all().await;
}

#[tokio::test]
async fn fault_a_killed_process_loses_nothing_that_it_acknowledged() {
    let mut db = TestDb::sqlite();
    db.settings.pool_max = 8;
    db.migrate().await.unwrap();
    for round in 1..=10 {
        let mut left = 50 * round;
        let output = kill_after(child("child_that_writes", db.folder.path()), |line| {
            left -= i32::from(line.starts_with("acknowledged"));
            left <= 0
        });

        let integrity = db.sql("PRAGMA integrity_check");
        assert_eq!(integrity, [[Some("ok".to_owned())]]);
        let stored: std::collections::HashSet<String> = db
            .sql("SELECT email FROM gw.users")
            .into_iter()
            .map(|mut row| row.pop().unwrap().unwrap())
            .collect();

        let acknowledged = output.iter().filter_map(|line| line.strip_prefix("acknowledged "));
        let mut count = 0;
        for n in acknowledged {
            count += 1;
            assert!(stored.contains(&format!("user{n}@example.com")), "round {round}: {n} is lost");
        }
        assert!(count >= 50 * round);

        let halves = "SELECT count(*) FROM gw.users u WHERE NOT EXISTS \
                      (SELECT 1 FROM gw.sessions s WHERE s.user_id = u.id)";
        assert_eq!(db.sql(halves)[0][0].as_deref(), Some("0"), "no user without a session");
    }
}

/// Migrates one file after the other until it is killed. Does nothing without [`CHILD`].
#[tokio::test]
async fn child_that_migrates() {
    let Some(folder) = folder_of_child() else { return };
    for n in 0.. {
        println!("begins {n}");
        let fresh = settings(Location::Sqlite(folder.join(format!("{n}.db"))));
        store::migrate(&fresh, NOON, &spawner()).await.unwrap();
    }
}

#[tokio::test]
async fn fault_a_migration_killed_midway_runs_again() {
    for round in 1..=10 {
        let folder = tempfile::tempdir().unwrap();
        let mut left = round;
        let output = kill_after(child("child_that_migrates", folder.path()), |line| {
            left -= i32::from(line.starts_with("begins"));
            left <= 0
        });
        let begun = output.iter().filter(|line| line.starts_with("begins")).count();
        // The interrupted migration and the one before it, which is complete.
        for n in begun.saturating_sub(2)..=begun {
            let ours = settings(Location::Sqlite(folder.path().join(format!("{n}.db"))));
            store::migrate(&ours, NOON, &spawner()).await.unwrap();
            store::open(&ours, &spawner()).await.unwrap();
        }
    }
}
