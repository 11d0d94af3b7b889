//! The throwaway PostgreSQL keeps its promises.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::Path;
use std::process::{Command, Stdio};

use testkit::postgres::rows;
use testkit::{Postgres, SharedPostgres};

fn one(url: &str, sql: &str) -> String {
    rows(url, sql).unwrap().remove(0).remove(0).unwrap()
}

#[test]
fn a_server_answers_and_is_gone_when_dropped() {
    let postgres = Postgres::builder().fsync(true).setting("max_connections", "10").start();
    let url = postgres.database("app");
    assert_eq!(postgres.sql("SHOW max_connections"), [[Some("10".to_owned())]]);
    assert_eq!(one(&postgres.url(), "SHOW fsync"), "on");
    assert_eq!(one(&url, "SELECT current_database()"), "app");

    let pid = postgres.pid();
    let folder = one(&postgres.url(), "SHOW data_directory");
    drop(postgres);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    assert!(!Path::new(&folder).exists());
}

#[test]
fn a_paused_server_keeps_a_query_waiting_until_it_is_resumed() {
    let postgres = Postgres::start();
    let url = postgres.url();
    postgres.pause();
    let query = std::thread::spawn(move || rows(&url, "SELECT 'late'"));
    let state = std::fs::read_to_string(format!("/proc/{}/stat", postgres.pid())).unwrap();
    assert!(state.contains(") T "), "{state}");
    assert!(!query.is_finished());
    postgres.resume();
    assert_eq!(query.join().unwrap().unwrap(), [[Some("late".to_owned())]]);
}

#[test]
fn a_killed_server_comes_back_on_its_port_with_what_was_committed() {
    let mut postgres = Postgres::builder().fsync(true).start();
    let port = postgres.port();
    postgres.sql("CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')");
    postgres.kill();
    assert!(rows(&postgres.url(), "SELECT 1").is_err());
    postgres.restart();
    assert_eq!(postgres.port(), port);
    assert_eq!(one(&postgres.url(), "SELECT word FROM kept"), "still here");
    assert!(postgres.log().contains("database system was not properly shut down"), "{}", postgres.log());

    postgres.pause();
    postgres.stop_fast();
    assert!(rows(&postgres.url(), "SELECT 1").is_err());
    postgres.restart();
    postgres.restart();
    assert_eq!(one(&postgres.url(), "SELECT word FROM kept"), "still here");
}

#[test]
fn databases_on_a_shared_server_are_apart_and_go_with_their_handle() {
    let shared: SharedPostgres = Postgres::shared();
    let (a, b) = (shared.fresh_database(), shared.fresh_database());
    assert_ne!(a.name(), b.name());
    assert_eq!(one(a.url(), "SELECT current_database()"), a.name());
    rows(a.url(), "CREATE TABLE only_here ()").unwrap();
    assert!(rows(b.url(), "SELECT * FROM only_here").unwrap_err().contains("does not exist"));

    let url = a.url().to_owned();
    drop(a);
    assert!(rows(&url, "SELECT 1").is_err());
}

#[test]
fn an_error_carries_the_words_of_postgresql() {
    let shared = Postgres::shared();
    let error = rows(shared.url(), "SELECT nonsense").unwrap_err();
    assert!(error.contains("nonsense"), "{error}");
}

/// Not a separate test: `a_killed_test_leaves_no_server` runs this one in a process that it kills.
#[test]
fn victim_of_the_watchdog_test() {
    if std::env::args().any(|argument| argument == "--exact") && std::env::var_os(VICTIM).is_some() {
        let postgres = Postgres::start();
        println!("pid={} folder={}", postgres.pid(), one(&postgres.url(), "SHOW data_directory"));
        loop {
            std::thread::park();
        }
    }
}

const VICTIM: &str = "TESTKIT_WATCHDOG_VICTIM";

#[test]
fn a_killed_test_leaves_no_server() {
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim_of_the_watchdog_test", "--nocapture"])
        .env(VICTIM, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(test.stdout.take().unwrap());
    let line =
        std::io::BufRead::lines(output).map(Result::unwrap).find(|line| line.contains("pid=")).unwrap();
    let (pid, folder) = line.split_once("pid=").unwrap().1.split_once(" folder=").unwrap();
    let process = format!("/proc/{pid}/stat");
    assert!(Path::new(&process).exists());

    test.kill().unwrap();
    test.wait().unwrap();
    // The watchdog removes the folder last.
    while Path::new(folder).exists() {
        std::thread::yield_now();
    }
    let left = std::fs::read_to_string(&process);
    assert!(left.as_ref().map_or(true, |stat| stat.contains(") Z ")), "{left:?}");
}
