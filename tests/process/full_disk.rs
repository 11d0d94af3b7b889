//! A simulated full disk: the server's files cannot grow beyond the end of the audit journal.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use testkit::postgres::Database;
use testkit::process::Server;

use crate::audit::{degraded, events, id};
use crate::node::{Node, Setup, database, pair, until};

const PATIENCE: Duration = Duration::from_secs(30);
/// Less than the size of any record.
const SOME_BYTES: u64 = 20;

/// The journal of events, and the journal of announced changes.
const EVENTS: &str = "journal";
const INTENTS: &str = "intents";

/// A server whose disk can be filled, and its database.
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

    /// Starts a server and logs a user in; returns the ids of the recorded requests.
    async fn start(&self) -> (Node, Vec<String>) {
        let node = self.setup.start();
        let ids = vec![id(&node.register("alice").await), id(&node.log_in("alice").await)];
        self.wait_for(&ids).await;
        assert_eq!(degraded(&node).await, Value::Null);
        (node, ids)
    }

    async fn metrics(&self, node: &Node) -> String {
        node.client.get(&format!("http://{}/metrics", self.operations)).await.text()
    }

    /// The length of a journal's only segment.
    fn end(&self, journal: &str) -> u64 {
        let audit = self.setup.folder.path().join("gatewright-data/audit");
        std::fs::metadata(audit.join(journal).join("0000000001.journal")).unwrap().len()
    }

    /// Leaves no room for another event in this journal. A shorter journal can still grow.
    fn fill(&self, node: &Node, journal: &str) {
        limit(node, &(self.end(journal) + SOME_BYTES).to_string());
    }

    /// The request ids of the events in the journal, in order.
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

    /// The number of missing records in each `audit_gap` of the journal.
    fn gaps(&self) -> Vec<u64> {
        let events = events(&self.setup);
        let gaps = events.iter().filter(|event| event["kind"] == "audit_gap");
        gaps.map(|event| event["records"].as_u64().unwrap()).collect()
    }
}

/// Sets the maximum file size of a running server.
fn limit(node: &Node, bytes: &str) {
    let limited = Server::builder("prlimit")
        .arg(format!("--pid={}", node.server.pid()))
        .arg(format!("--fsize={bytes}:unlimited"))
        .run("");
    assert!(limited.status.success(), "{}", limited.stderr);
}

/// Sends a wrong password: an event that is not announced, because it changes nothing. Returns the id.
async fn wrong_password(node: &Node) -> String {
    let wrong = [("username", "alice"), ("password", "not it at all")];
    let refused = node.client.post_form(&node.v1("token"), &wrong).await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    id(&refused)
}

/// Sends rounds of a wrong password, a login and a refresh, which are answered as usual. Returns the ids.
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
async fn a_full_disk_does_not_stop_logins_and_loses_no_event() {
    let place = Place::new();
    let (mut node, mut ids) = place.start().await;
    place.fill(&node, EVENTS);

    // The first login is announced before the journal of events is known to be full.
    let first = node.log_in("alice").await;
    pair(&first);
    ids.push(id(&first));

    until(PATIENCE, "readiness names the audit trail", async || {
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
    until(PATIENCE, "the journal recovers", async || degraded(&node).await == Value::Null).await;
    assert!(place.metrics(&node).await.contains("\naudit_journal_failing 0\n"));
    ids.extend(requests(&node, 1).await);
    place.wait_for(&ids).await;

    assert_eq!(node.server.terminate().code(), Some(0));
    node = place.setup.start();
    assert_eq!(place.written(), ids, "each event once and in order");
    assert_eq!(place.gaps(), [0_u64; 0]);
    assert_eq!(node.server.terminate().code(), Some(0));
    place.setup.command(&["audit", "verify"]);
}

/// After an end on a full disk, the next process reports the right number of missing events. `own` is the
/// number of events that the server itself records at its end.
async fn missing_events_are_counted(end: impl Fn(&mut Node), own: u64) {
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

        // A login is announced only until the server detects that the disk is full.
        let mut lost = vec![if announces { login(&node).await } else { wrong_password(&node).await }];

        until(PATIENCE, "readiness names the audit trail", async || degraded(&node).await != Value::Null)
            .await;
        lost.extend(requests(&node, 5).await);
        // The next start settles an announced change, so it is not missing.
        let found = (full == EVENTS && announces).then(|| lost.remove(0));
        end(&mut node);

        node = place.setup.start();
        there.extend(found.clone());
        there.push(login(&node).await);
        place.wait_for(&there).await;
        assert_eq!(place.written(), there, "each event once, and nothing else");
        expected.push(lost.len() as u64 + own);
        assert_eq!(place.gaps(), expected);
        if let Some(found) = found {
            let events = events(&place.setup);
            let event = events.iter().find(|event| event["request_id"] == found.as_str()).unwrap();
            assert_eq!(event["settled"], true, "{event}");
        }
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
async fn kill_9_on_a_full_disk_counts_the_missing_events() {
    missing_events_are_counted(|node| node.server.kill(), 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_on_a_full_disk_counts_the_missing_events() {
    let end = |node: &mut Node| {
        assert_eq!(node.server.terminate().code(), Some(0));
        assert!(node.server.stderr().contains("events are missing from the audit journal"));
    };
    // The server records its stop too.
    missing_events_are_counted(end, 1).await;
}
