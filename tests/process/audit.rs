//! The audit journal of a server process: its contents after kill -9, and requests while it cannot be
//! written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use testkit::http::Response;
use testkit::process::{self, Server};

use crate::node::{Node, Setup, database, long_form, pair, until};

const PATIENCE: Duration = Duration::from_secs(30);
/// The number of concurrent clients.
const LANES: usize = 8;

pub(crate) fn journal(setup: &Setup) -> PathBuf {
    setup.folder.path().join("gatewright-data/audit/journal")
}

/// The events of the server's journal, oldest first.
pub(crate) fn events(setup: &Setup) -> Vec<Value> {
    events_in(&journal(setup))
}

/// The events of the journal in a directory, oldest first.
fn events_in(directory: &Path) -> Vec<Value> {
    let mut reader = journal::Reader::open(directory);
    let mut events = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if record.kind == journal::Kind::Data {
            events.push(serde_json::from_slice(record.payload).unwrap());
        }
    }
    events
}

/// Kills the server repeatedly during registrations and logins. The journal contains an event for every
/// answered request, and the chain is intact.
async fn every_answer_has_its_event(setup: &Setup) {
    for round in 0..long_form("KILLS", 5) {
        let node = Arc::new(setup.start());
        let answered = Arc::new(Mutex::new(Vec::new()));
        let count = Arc::new(AtomicUsize::new(0));
        let lane = |lane: usize| {
            let (node, answered, count) = (Arc::clone(&node), Arc::clone(&answered), Arc::clone(&count));
            async move {
                for number in 0.. {
                    let name = format!("u{round}-{lane}-{number}");
                    for answer in [node.try_register(&name).await, node.try_log_in(&name).await] {
                        let Some(answer) = answer else { return };
                        answered.lock().unwrap().push((answer.status, id(&answer)));
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        };

        let enough = 20 + 7 * round;
        let kill = async {
            while count.load(Ordering::SeqCst) < enough {
                tokio::task::yield_now().await;
            }
            node.server.signal(process::Signal::KILL);
        };
        tokio::join!(join_all((0..LANES).map(lane)), kill);
        drop(node);

        let written: BTreeSet<String> = events(setup)
            .iter()
            .filter_map(|event| event["request_id"].as_str().map(str::to_owned))
            .collect();
        let answered = answered.lock().unwrap();
        assert!(answered.len() >= enough);
        for (status, id) in &*answered {
            assert!(written.contains(id), "round {round}: {id} was answered {status} and has no event");
        }
    }

    let report = journal::verify(&journal(setup), None, &[], |_| true, |_| {}).unwrap();
    assert_eq!(report.finding, None);
}

pub(crate) fn id(answer: &Response) -> String {
    answer.header("x-request-id").unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_before_kill_9_are_in_the_journal_on_sqlite() {
    every_answer_has_its_event(&Setup::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_before_kill_9_are_in_the_journal_on_postgres() {
    let database = database();
    every_answer_has_its_event(&Setup::postgres(database.url())).await;
}

/// The components that readiness names as degraded.
pub(crate) async fn degraded(node: &Node) -> Value {
    let answer = node.client.get(&node.url("/health/readiness")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["degraded"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unwritable_journal_does_not_stop_logins_and_is_reported() {
    let mut setup = Setup::sqlite();
    let operations = format!("127.0.0.1:{}", testkit::free_port());
    setup.set("SERVER__OPS_LISTEN", &operations);
    let node = setup.start();
    node.member("alice").await;
    assert_eq!(degraded(&node).await, Value::Null);

    // The journal cannot make its directory again where a file is.
    let place = journal(&setup);
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, "").unwrap();
    until(PATIENCE, "readiness names the audit trail", async || {
        pair(&node.log_in("alice").await);
        degraded(&node).await == serde_json::json!(["audit"])
    })
    .await;

    let metrics = async || node.client.get(&format!("http://{operations}/metrics")).await.text();
    assert!(metrics().await.contains("\naudit_journal_failing 1\n"));
    let told = "events cannot be written to the audit journal";
    until(PATIENCE, "the log says so", async || node.server.stderr().contains(told)).await;

    for _ in 0..10 {
        assert_eq!(node.log_in("alice").await.status, 200, "logins still succeed");
    }

    std::fs::remove_file(&place).unwrap();
    until(PATIENCE, "the journal recovers", async || degraded(&node).await == Value::Null).await;
    assert!(metrics().await.contains("\naudit_journal_failing 0\n"));

    let last = id(&node.log_in("alice").await);
    let written = events(&setup);
    assert!(written.iter().any(|event| event["request_id"] == last.as_str()), "{written:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_audit_refuses_changes_without_a_journal() {
    let mut setup = Setup::sqlite();
    setup.set("AUDIT__REQUIRED", "true");
    let node = setup.start();
    let (access, _) = node.member("alice").await;

    let place = journal(&setup);
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::write(&place, "").unwrap();

    until(PATIENCE, "a login is refused", async || node.log_in("alice").await.status == 503).await;
    let refused = node.log_in("alice").await;
    assert_eq!(refused.json()["code"], "audit_unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(node.register("bob").await.status, 503);
    assert_eq!(node.me(&access).await.status, 200, "requests without an event still succeed");
    assert_eq!(node.readiness().await, 200);

    std::fs::remove_file(&place).unwrap();
    until(PATIENCE, "a login succeeds", async || node.log_in("alice").await.status == 200).await;
}

/// Starts, stops, reloads and reads by the operator are recorded.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_stops_reloads_and_reads_are_recorded() {
    let setup = Setup::sqlite();
    let file = setup.folder.path().join("gatewright.toml");
    std::fs::write(&file, "[telemetry]\nlog_level = \"info\"\n").unwrap();
    let mut node = setup.start();
    node.member("alice").await;
    let of_kind = |kind: &str| events(&setup).into_iter().find(|event| event["kind"] == kind);
    for (text, kind) in [
        ("[telemetry]\nlog_levle = 7\n", "configuration_refused"),
        ("[telemetry]\nlog_level = \"debug\"\n[server]\nmax_connections = 99\n", "configuration_reloaded"),
    ] {
        std::fs::write(&file, text).unwrap();
        node.server.signal(process::Signal::HUP);
        until(PATIENCE, kind, async || of_kind(kind).is_some()).await;
    }

    node.server.signal(process::Signal::TERM);
    assert!(node.server.wait().success());
    let started = of_kind("server_started").unwrap();
    let server = serde_json::json!({ "type": "server" });
    assert_eq!(started["actor"], server, "{started}");

    for kind in ["configuration_refused", "configuration_reloaded", "server_stopped"] {
        let event = of_kind(kind).unwrap();
        assert_eq!(event["v"], 2, "{event}");
        assert_eq!(event["via"], "server", "{event}");
        assert_eq!(event["actor"], server, "{event}");
        assert_eq!(event["node"], started["node"], "{event}");
        assert_eq!(event["version"], started["version"], "{event}");
        assert_eq!(event["request_id"], Value::Null);
    }

    assert_eq!(of_kind("configuration_refused").unwrap()["mistakes"], 1);
    let reloaded = of_kind("configuration_reloaded").unwrap();
    assert_eq!(reloaded["applied"], serde_json::json!(["telemetry.log_level"]));
    assert_eq!(reloaded["need_restart"], serde_json::json!(["server.max_connections"]));
    assert_eq!(events(&setup).last().unwrap()["kind"], "server_stopped");

    setup.command(&["user", "list"]);
    let shown: Value = serde_json::from_str(&setup.command(&["user", "show", "alice", "--json"])).unwrap();
    let mut commands = journal::Reader::open(&setup.folder.path().join("gatewright-data/audit/cli/journal"));
    let mut seen = Vec::new();
    while let Some(record) = commands.read().unwrap() {
        if record.kind == journal::Kind::Data {
            let event: Value = serde_json::from_slice(record.payload).unwrap();
            seen.push((event["kind"].as_str().unwrap().to_owned(), event["user"].clone()));
        }
    }
    assert_eq!(seen, [("users_listed".into(), Value::Null), ("user_shown".into(), shown["uuid"].clone())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_data_directory_has_one_server() {
    let setup = Setup::sqlite();
    let node = setup.start();
    let port = testkit::free_port().to_string();
    let second = Server::builder(process::gatewright())
        .arg("serve")
        .folder(setup.folder.path())
        .env("GATEWRIGHT_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env("GATEWRIGHT_SERVER__OPS_LISTEN", "")
        .run("");
    assert!(!second.status.success());
    assert!(second.stderr.contains("another server writes there"), "{}", second.stderr);
    assert_eq!(node.readiness().await, 200);
}

#[test]
fn a_command_that_cannot_record_its_change_changes_nothing() {
    let setup = Setup::sqlite();
    setup.command(&["user", "add", "alice@example.com", "--password-file", "-"]);
    // A directory in the place of the file has the effect of a full disk.
    let room = setup.folder.path().join("gatewright-data/audit/cli/room");
    std::fs::create_dir(&room).unwrap();

    for refused in [["user", "set-role", "alice@example.com", "admin"].as_slice(), &["keys", "rotate"]] {
        let finished = setup.ask(refused);
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stdout);
        assert!(finished.stderr.contains("nothing was done"), "{}", finished.stderr);
    }

    assert!(!setup.command(&["user", "show", "alice@example.com"]).contains("admin"));
    std::fs::remove_dir(&room).unwrap();
    setup.command(&["user", "set-role", "alice@example.com", "admin"]);
    assert!(setup.command(&["user", "show", "alice@example.com"]).contains("admin"));
}

/// The event of a command contains its user id, the name of that id and the user id for which `sudo` ran
/// it. Names from the environment are ignored.
#[test]
fn a_command_is_recorded_with_its_user_id_and_not_with_the_name_of_its_environment() {
    let setup = Setup::sqlite();
    let forged = Server::builder(process::gatewright())
        .args(["client", "add", "app", "--name", "App"])
        .folder(setup.folder.path())
        .env("USER", "another-user")
        .env("LOGNAME", "another-user")
        .env("SUDO_UID", "1234")
        .run("");
    assert!(forged.status.success(), "{}", forged.stderr);

    let commands = setup.folder.path().join("gatewright-data/audit/cli/journal");
    let added = events_in(&commands).into_iter().find(|event| event["kind"] == "client_added").unwrap();

    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    assert_eq!(added["via"], "cli", "{added}");
    assert_eq!(added["actor"]["type"], "command_line", "{added}");
    assert_eq!(added["actor"]["uid"], uid, "{added}");
    assert_eq!(added["actor"]["sudo_uid"], 1234, "{added}");
    assert_ne!(added["actor"]["name"], "another-user", "{added}");
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
    let own = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()));
    if let Some(name) = own.and_then(|line| line.split(':').next()) {
        assert_eq!(added["actor"]["name"], name, "{added}");
    }
}
