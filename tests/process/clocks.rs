//! Starts with a wrong clock, and nodes whose clocks differ.

use std::time::Duration;

use serde_json::{Value, json};

use testkit::postgres::{Database, rows};

use crate::node::{Node, Setup, database, pair, until};

const PATIENCE: Duration = Duration::from_mins(1);

/// Starts a server whose clock differs from the machine's by `offset`, as `libfaketime` writes it. Monotonic
/// time is the machine's.
pub(crate) fn start_at(setup: &Setup, offset: &str) -> Node {
    let script = format!(
        "export FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME='{offset}'; \
         LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketimeMT.so.1); export LD_PRELOAD"
    );
    setup.start_after(&script, "")
}

async fn metrics(operations: &str, node: &Node) -> String {
    node.client.get(&format!("{operations}/metrics")).await.text()
}

/// A start in another year, for as long as the jobs need to run once, between two starts at the right time.
async fn loses_nothing(offset: &str) {
    let mut setup = Setup::sqlite();
    let operations = format!("127.0.0.1:{}", testkit::free_port());
    setup.set("SERVER__OPS_LISTEN", &operations);
    let operations = format!("http://{operations}");
    let mut first = setup.start();
    let (_, refresh) = first.member("ann").await;
    assert!(first.server.terminate().success());

    let mut wrong = start_at(&setup, offset);
    until(PATIENCE, "the jobs have run with the wrong clock", async || {
        metrics(&operations, &wrong).await.contains("job_runs_total{job=\"cleanup\",outcome=\"done\"}")
    })
    .await;
    let ready: Value = wrong.client.get(&wrong.url("/health/readiness")).await.json();
    assert!(ready["degraded"].to_string().contains("clock"), "{ready}");
    assert!(wrong.server.stderr().contains("the clock is doubted"), "{}", wrong.server.stderr());
    assert!(wrong.server.terminate().success());

    // The session and the events are there, and the jobs run.
    let mut last = setup.start();
    let (access, _) = pair(&last.refresh(&refresh).await);
    assert_eq!(last.me(&access).await.status, 200);
    let events = setup.command(&["audit", "export"]);
    assert!(events.contains("user_registered") && events.contains("login_succeeded"), "{events}");
    for job in ["cleanup", "rotate_signing_keys"] {
        let done = format!("job_runs_total{{job=\"{job}\",outcome=\"done\"}}");
        until(PATIENCE, &done, async || metrics(&operations, &last).await.contains(&done)).await;
    }
    assert!(last.server.terminate().success());
}

#[tokio::test]
async fn a_start_with_a_clock_years_ahead_deletes_nothing_and_stops_no_job() {
    loses_nothing("+5000d").await;
}

#[tokio::test]
async fn a_start_with_a_clock_years_behind_deletes_nothing_and_stops_no_job() {
    loses_nothing("-400d").await;
}

/// Two nodes on one database; the clock of the second differs by `offset`.
fn two(offset: &str) -> (Node, Node, Database) {
    let database = database();
    let setup = Setup::postgres(database.url());
    let left = setup.start();
    (left, start_at(&setup.beside(), offset), database)
}

/// The database's time, in microseconds.
fn now(database: &Database) -> i64 {
    let asked = rows(database.url(), "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT");
    asked.unwrap()[0][0].as_ref().unwrap().parse().unwrap()
}

/// Refreshes as a client with this user agent.
async fn refresh(node: &Node, token: &str, agent: &[(&str, &str)]) -> (String, String) {
    let headers = [&[("content-type", "application/json")], agent].concat();
    let body = json!({"refresh_token": token}).to_string();
    pair(&node.client.request("POST", &node.v1("refresh"), &headers, body).await)
}

/// Refreshes in turn by both nodes, each answer lost once; returns the last access token.
async fn refresh_in_turn(left: &Node, right: &Node, mut token: String, agent: &[(&str, &str)]) -> String {
    let mut access = String::new();
    for turn in 0..6 {
        let (one, other) = if turn % 2 == 0 { (right, left) } else { (left, right) };
        let lost = refresh(one, &token, agent).await;
        let again = refresh(other, &token, agent).await;
        assert_eq!(lost.1, again.1, "a lost answer is repeated by the other node");
        assert_eq!(one.me(&lost.0).await.status, 200);
        assert_eq!(other.me(&again.0).await.status, 200);
        (access, token) = lost;
    }
    access
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_whose_clocks_differ_by_up_to_a_minute_refresh_a_session_in_turn() {
    for offset in ["-15s", "+15s", "-60s", "+60s"] {
        // Given a session of the node whose clock differs.
        let (left, right, database) = two(offset);
        left.register("ann").await;
        let before = now(&database);
        let (_, token) = pair(&right.log_in("ann").await);
        let after = now(&database);

        // Then it has the database's time, as well as a busy machine tells it.
        let began = rows(database.url(), "SELECT created_at FROM gatewright.sessions").unwrap();
        let began: i64 = began[0][0].as_ref().unwrap().parse().unwrap();
        assert!(
            (before - 2_000_000..after + 2_000_000).contains(&began),
            "{offset}: {before} {began} {after}"
        );

        // When both refresh in turn, then each accepts the tokens of the other.
        let access = refresh_in_turn(&left, &right, token, &[]).await;
        for node in [&left, &right] {
            assert_eq!(node.me(&access).await.status, 200, "{offset}");
            let sessions: Value = node.client.get_with_token(&node.v1("sessions"), &access).await.json();
            assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
            assert!(sessions[0]["shared"] != true, "{offset}: {sessions}");
            let ready: Value = node.client.get(&node.url("/health/readiness")).await.json();
            assert!(!ready["degraded"].to_string().contains("clock"), "{offset}: {ready}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_clock_is_more_than_two_minutes_behind_says_so_and_ends_no_session() {
    // Given a node that does not follow the database's clock, because it differs by too much.
    let (left, right, _database) = two("-125s");
    let (access, token) = left.member("ann").await;
    let ready: Value = right.client.get(&right.url("/health/readiness")).await.json();
    assert!(ready["degraded"].to_string().contains("clock"), "{ready}");
    assert!(right.server.stderr().contains("the clock is doubted"), "{}", right.server.stderr());

    // When a session is used on both, then a token of the future is refused, and the session of a client that
    // is recognised lives: a lost answer is repeated after the grace time.
    assert_eq!(right.me(&access).await.status, 401);
    let access = refresh_in_turn(&left, &right, token, &[("user-agent", "app/1")]).await;
    assert_eq!(left.me(&access).await.status, 200);
}
