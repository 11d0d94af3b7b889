//! `gatewright audit tail --follow` shows each event once and in order until its output is closed.

use std::time::Duration;

use serde_json::Value;
use testkit::process::{self, Server, Signal};

use crate::audit::id;
use crate::node::{Node, Setup, database, pair, until};

const PATIENCE: Duration = Duration::from_secs(30);

/// Starts `audit tail --follow` under a program; waits for a line with the text `first` unless it is empty.
fn follow(setup: &Setup, program: &[&str], arguments: &[&str], first: &str) -> Server {
    let binary = process::gatewright();
    let whole = [program, &[binary.to_str().unwrap(), "audit", "tail", "--follow"], arguments].concat();
    let mut builder = Server::builder(whole[0]).args(&whole[1..]).folder(setup.folder.path());
    for (name, value) in &setup.env {
        builder = builder.env(name, value);
    }
    if first.is_empty() { builder.start() } else { builder.ready_on_line(first).start() }
}

/// The events that were shown as JSON.
fn shown(tail: &Server) -> Vec<Value> {
    tail.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The request ids of the events that were shown.
fn requests(tail: &Server) -> Vec<String> {
    shown(tail).iter().filter_map(|event| event["request_id"].as_str().map(str::to_owned)).collect()
}

async fn log_in(node: &Node, name: &str) -> String {
    let answer = node.log_in(name).await;
    pair(&answer);
    id(&answer)
}

/// Follows all events, and those of one kind and one user.
async fn each_event_is_shown_once_and_in_order(setup: &Setup) {
    let node = setup.start();
    let mut ids = Vec::new();
    for name in ["alice", "bob"] {
        ids.extend([id(&node.register(name).await), log_in(&node, name).await]);
    }

    let mut of_alice = vec![ids[1].clone()];
    let user = setup.wait_for("login_succeeded", 2)[0]["user"].as_str().unwrap().to_owned();

    let all = follow(setup, &[], &["--json", "-n", "1000"], &ids[3]);
    let filter = ["--json", "--kind", "login_succeeded", "--user", &user];
    let few = follow(setup, &[], &filter, &of_alice[0]);
    let people = follow(setup, &[], &["-n", "1", "--kind", "login_succeeded", "--user", &user], &of_alice[0]);

    for round in 0..3 {
        for _ in 0..5 {
            of_alice.push(log_in(&node, "alice").await);
            ids.extend([of_alice.last().cloned().unwrap(), log_in(&node, "bob").await]);
            let wrong = [("username", "alice"), ("password", "not it at all")];
            ids.push(id(&node.client.post_form(&node.v1("token"), &wrong).await));
        }
        until(PATIENCE, &format!("round {round} is shown"), async || {
            requests(&all).len() >= ids.len() && requests(&few).len() >= of_alice.len()
        })
        .await;
        assert_eq!(requests(&all), ids);
        assert_eq!(requests(&few), of_alice);
    }

    let is_asked_for = |event: &Value| event["kind"] == "login_succeeded" && event["user"] == user.as_str();
    assert!(shown(&few).iter().all(is_asked_for), "{}", few.stdout());

    let last = of_alice.last().unwrap();
    until(PATIENCE, "the text output shows it too", async || people.stdout().contains(last)).await;

    let lines = people.stdout();
    let lines: Vec<_> = lines.lines().collect();
    assert!(lines.iter().all(|line| line.contains(&format!("user={user}"))), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("  login_succeeded  ")), "{lines:?}");
    assert_eq!(lines.len(), of_alice.len(), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_shown_once_and_in_order_on_sqlite() {
    each_event_is_shown_once_and_in_order(&Setup::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_event_is_shown_once_and_in_order_on_postgres() {
    let database = database();
    each_event_is_shown_once_and_in_order(&Setup::postgres(database.url())).await;
}

/// A signal ends the command as usual, and a closed pipe is no error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_ends_on_a_signal_and_on_a_closed_pipe() {
    let setup = Setup::sqlite();
    let node = setup.start();
    node.member("alice").await;
    let first = setup.wait_for("login_succeeded", 1)[0]["request_id"].as_str().unwrap().to_owned();
    let one = ["--json", "--kind", "login_succeeded", "-n", "1"];
    for signal in [Signal::INT, Signal::TERM] {
        let mut tail = follow(&setup, &[], &one, &first);
        tail.signal(signal);
        assert_eq!(tail.wait().code(), Some(128 + signal.as_raw()));
        assert_eq!((requests(&tail), tail.stderr().as_str()), (vec![first.clone()], ""));
    }
    // The command detects the closed pipe at the next event.
    let script = "{ timeout 60 \"$0\" \"$@\"; echo \"ended with $?\" >&2; } | head -n 1";
    let mut tail = follow(&setup, &["sh", "-c", script], &one, &first);
    log_in(&node, "alice").await;

    tail.wait_for_line("ended with ");
    assert!(tail.wait().success());
    assert_eq!((requests(&tail), tail.stderr().as_str()), (vec![first], "ended with 0\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_skips_older_events_and_shows_late_ones() {
    let database = database();
    let setup = Setup::postgres(database.url());
    let node = setup.start();
    node.member("alice").await;
    let before = [log_in(&node, "alice").await, log_in(&node, "alice").await];
    setup.wait_for("login_succeeded", 3);
    let kind = ["--json", "--kind", "login_succeeded"];
    let one = follow(&setup, &[], &[&kind[..], &["-n", "1"]].concat(), &before[1]);

    // An older event of another node arrives later.
    let late = "INSERT INTO gatewright.audit_events \
                SELECT at - 1, gen_random_uuid(), sequence, kind, user_uuid, 'late', record_kind, \
                convert_to(replace(convert_from(payload, 'UTF8'), request_id, 'late'), 'UTF8'), \
                hash FROM gatewright.audit_events WHERE request_id = $$ID$$ RETURNING 1";
    let inserted = testkit::postgres::rows(database.url(), &late.replace("ID", &before[1])).unwrap();
    assert_eq!(inserted.len(), 1);

    until(PATIENCE, "it is shown", async || requests(&one).len() > 1).await;
    assert_eq!(requests(&one), [before[1].as_str(), "late"]);

    let mut none = follow(&setup, &[], &[&kind[..], &["-n", "0"]].concat(), "");
    let mut after = Vec::new();
    until(PATIENCE, "something is shown", async || {
        after.push(log_in(&node, "alice").await);
        !none.stdout().is_empty()
    })
    .await;
    none.kill();
    let shown = requests(&none);
    assert!(!shown.is_empty() && shown.iter().all(|id| after.contains(id)), "{shown:?}");
}
