//! A disk that is full, as far as a server can tell: its files may not grow behind the end of the audit journal.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testkit::postgres::Database;
use testkit::process::Server;

use crate::audit::{degraded, events, id};
use crate::node::{Node, Setup, database, pair, until};

const PATIENCE: Duration = Duration::from_secs(30);
/// Less than any record has.
const SOME_BYTES: u64 = 20;

/// The journal of what happened, and that of what was about to.
const EVENTS: &str = "journal";
const INTENTS: &str = "intents";

/// A server whose disk can be full, and the database that is elsewhere.
struct Place {
    setup: Setup,
    operations: String,
    _database: Database,
}

impl Place {
    fn new() -> Self {
        let database = database();
        let mut setup = Setup::postgres(database.url());
        let operations = format!("127.0.0.1:{}", testkit::free_port());
        setup.set("SERVER__OPS_LISTEN", &operations);
        Self { setup, operations, _database: database }
    }

    /// A server with somebody who has logged in, and the ids of the requests that left an event.
    async fn start(&self) -> (Node, Vec<String>) {
        let node = self.setup.start_to_be_limited();
        let ids = vec![id(&node.register("alice").await), id(&node.log_in("alice").await)];
        self.wait_for(&ids).await;
        assert_eq!(degraded(&node).await, Value::Null);
        (node, ids)
    }

    async fn metrics(&self, node: &Node) -> String {
        node.client.get(&format!("http://{}/metrics", self.operations)).await.text()
    }

    /// Where the only segment of a journal ends.
    fn end(&self, journal: &str) -> u64 {
        let audit = self.setup.folder.path().join("gatewright-data/audit");
        std::fs::metadata(audit.join(journal).join("0000000001.journal")).unwrap().len()
    }

    /// From now on no whole event has room, behind the end of this journal. The one with less in it goes on longer.
    fn fill(&self, node: &Node, journal: &str) {
        limit(node, &(self.end(journal) + SOME_BYTES).to_string());
    }

    /// The ids of the requests whose events are in the journal, in its order.
    fn written(&self) -> Vec<String> {
        let events = events(&self.setup);
        events.iter().filter_map(|event| event["request_id"].as_str().map(str::to_owned)).collect()
    }

    async fn wait_for(&self, ids: &[String]) {
        until(PATIENCE, "every answer has its event", async || {
            let written = BTreeSet::from_iter(self.written());
            ids.iter().all(|id| written.contains(id))
        })
        .await;
    }

    /// What each `audit_gap` of the journal says how many are missing.
    fn gaps(&self) -> Vec<u64> {
        let events = events(&self.setup);
        let gaps = events.iter().filter(|event| event["kind"] == "audit_gap");
        gaps.map(|event| event["records"].as_u64().unwrap()).collect()
    }
}

/// Sets how far the files of a running server may grow.
fn limit(node: &Node, bytes: &str) {
    let limited = Server::builder("prlimit")
        .arg(format!("--pid={}", node.server.pid()))
        .arg(format!("--fsize={bytes}:unlimited"))
        .run("");
    assert!(limited.status.success(), "{}", limited.stderr);
}

/// What leaves an event and is never announced, because it changes nothing. The id.
async fn wrong_password(node: &Node) -> String {
    let wrong = [("username", "alice"), ("password", "not it at all")];
    let refused = node.client.post_form(&node.v1("token"), &wrong).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    id(&refused)
}

/// What is answered as ever and leaves an event: a wrong password, a login and a refresh, so many times. The ids.
async fn requests(node: &Node, rounds: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..rounds {
        ids.push(wrong_password(node).await);
        let answer = node.log_in("alice").await;
        let (_, token) = pair(&answer);
        let refreshed = node.refresh(&token).await;
        assert_eq!(refreshed.status, 200, "{}", refreshed.text());
        ids.extend([id(&answer), id(&refreshed)]);
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_23_a_full_disk_stops_nobody_and_nothing_is_missing_once_there_is_room() {
    let place = Place::new();
    let (mut node, mut ids) = place.start().await;
    place.fill(&node, EVENTS);
    // Of the first one it was written down what it was about to do.
    let first = node.log_in("alice").await;
    pair(&first);
    ids.push(id(&first));
    until(PATIENCE, "readiness names the trail", async || {
        degraded(&node).await == serde_json::json!(["audit"])
    })
    .await;
    assert!(place.metrics(&node).await.contains("\naudit_journal_failing 1\n"));
    let told = "events cannot be written to the audit journal";
    until(PATIENCE, "the log says so", async || node.server.stderr().contains(told)).await;
    let before = place.written();
    ids.extend(requests(&node, 10).await);
    assert_eq!(place.written(), before, "there is no room");
    assert_eq!(degraded(&node).await, serde_json::json!(["audit"]));

    limit(&node, "unlimited");
    until(PATIENCE, "it is written again by itself", async || degraded(&node).await == Value::Null).await;
    assert!(place.metrics(&node).await.contains("\naudit_journal_failing 0\n"));
    ids.extend(requests(&node, 1).await);
    place.wait_for(&ids).await;
    assert_eq!(node.server.terminate().code(), Some(0));
    node = place.setup.start();
    assert_eq!(place.written(), ids, "each once and in order");
    assert_eq!(place.gaps(), [0_u64; 0]);
    assert_eq!(node.server.terminate().code(), Some(0));
    place.setup.command(&["audit", "verify"]);
}

/// What the next process says is missing, after an end while there is no room, is what is missing. `own` is how many
/// events of its own the server has at its end.
async fn what_is_missing_is_counted(end: impl Fn(&mut Node), own: u64) {
    let place = Place::new();
    let (mut node, mut there) = place.start().await;
    for _ in 0..10 {
        there.push(wrong_password(&node).await);
    }
    place.wait_for(&there).await;
    let mut expected = Vec::new();
    for (full, announces) in [(EVENTS, false), (EVENTS, true), (INTENTS, true)] {
        assert!(place.end(INTENTS) + 1000 < place.end(EVENTS));
        place.fill(&node, full);
        // Once it is known that there is no room nothing is announced any more: until then a login may be.
        let mut lost = vec![if announces { login(&node).await } else { wrong_password(&node).await }];
        until(PATIENCE, "readiness names the trail", async || degraded(&node).await != Value::Null).await;
        lost.extend(requests(&node, 5).await);
        // What was written of before it happened is found out at the next start, and is not missing.
        let found = (full == EVENTS && announces).then(|| lost.remove(0));
        // Whoever was answered is counted.
        end(&mut node);

        node = place.setup.start_to_be_limited();
        there.extend(found.clone());
        there.push(login(&node).await);
        place.wait_for(&there).await;
        assert_eq!(place.written(), there, "each once, and nothing else");
        expected.push(lost.len() as u64 + own);
        assert_eq!(place.gaps(), expected);
        let settled = events(&place.setup).into_iter().rfind(|event| event["settled"] == true);
        let settled = settled.map(|event| event["request_id"].as_str().unwrap().to_owned());
        assert!(found.is_none() || settled == found, "{settled:?} {found:?}");
    }
    assert_eq!(node.server.terminate().code(), Some(0));
    place.setup.command(&["audit", "verify"]);
    place.setup.command(&["audit", "verify", "--database"]);
}

async fn login(node: &Node) -> String {
    let answer = node.log_in("alice").await;
    pair(&answer);
    id(&answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_23_a_full_disk_and_kill_9_and_what_is_missing_is_counted() {
    what_is_missing_is_counted(|node| node.server.kill(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f_23_a_full_disk_and_an_orderly_end_and_what_is_missing_is_counted() {
    let end = |node: &mut Node| {
        assert_eq!(node.server.terminate().code(), Some(0));
        assert!(node.server.stderr().contains("events are missing from the audit journal"));
    };
    // That the server stops is an event too.
    what_is_missing_is_counted(end, 1).await;
}
