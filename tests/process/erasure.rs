//! An erased user cannot be read on any node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::DetailKeyFile;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::UserUuid;
use protocol::sealed::keyring::Keyring;
use serde_json::{Value, json};
use testkit::Postgres;
use testkit::postgres::rows;

use crate::node::{Node, PASSWORD, Setup, pair, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// The user agent of the erased user, and that of another user.
const GONE: &str = "canary-agent-gone";
const KEPT: &str = "canary-agent-kept";

impl Setup {
    fn data(&self) -> PathBuf {
        self.folder.path().join("gatewright-data")
    }
}

/// Logs in with this user agent.
async fn log_in(node: &Node, name: &str, agent: &str) -> String {
    let form = testkit::http::form(&[("username", name), ("password", PASSWORD)]);
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("user-agent", agent)];
    pair(&node.client.request("POST", &node.v1("token"), &headers, form).await).0
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// All that the data directories, the database and the master key reveal together: each sealed key is tried
/// on each sealed detail.
fn readable(setups: &[&Setup], url: &str) -> String {
    let keyring =
        Keyring::parse(&std::fs::read_to_string(setups[0].data().join("master.key")).unwrap()).unwrap();

    let mut bytes = Vec::new();
    for file in setups.iter().flat_map(|setup| files(&setup.data())) {
        bytes.extend(std::fs::read(file).unwrap());
        bytes.push(b'\n');
    }

    let sql = "SELECT encode(id, 'hex') || ' ' || user_uuid || ' ' || convert_from(sealed, 'UTF8') \
               FROM gatewright.audit_keys; \
               SELECT convert_from(payload, 'UTF8') FROM gatewright.audit_events WHERE record_kind = 1; \
               SELECT concat(address, ' ', user_agent) FROM gatewright.sessions";
    for row in rows(url, sql).unwrap() {
        bytes.extend(row[0].as_deref().unwrap().bytes());
        bytes.push(b'\n');
    }

    let text = String::from_utf8_lossy(&bytes).into_owned();
    let keys: Vec<_> = text.lines().filter_map(|line| DetailKeyFile::unseal(line, &keyring)).collect();

    let mut plain = text.clone();
    for part in text.split("\"sealed\":\"").skip(1) {
        let Ok(sealed) = STANDARD.decode(part.split('"').next().unwrap_or_default()) else { continue };
        for (user, key) in &keys {
            if let Some(opened) = key.open(*user, &sealed) {
                plain.push_str(&String::from_utf8_lossy(&opened));
            }
        }
    }

    plain
}

fn uuid(setup: &Setup, name: &str) -> UserUuid {
    let shown: Value = serde_json::from_str(&setup.command(&["user", "show", name, "--json"])).unwrap();
    UserUuid(shown["uuid"].as_str().unwrap().parse().unwrap())
}

/// Logs both users in on both nodes, and changes them by a command.
async fn log_in_both_users(setup: &Setup, left: &Node, right: &Node) -> String {
    let mut access = String::new();
    for (name, agent) in [("doomed", GONE), ("other", KEPT)] {
        left.register(name).await;
        for node in [left, right] {
            let token = log_in(node, name, agent).await;
            if name == "doomed" {
                access = token;
            }
        }
        setup.command(&["user", "set-role", name, "admin"]);
    }
    access
}

/// The user agents of the logins that a command shows.
fn agents(setup: &Setup) -> Vec<String> {
    let shown = setup.ask(&["audit", "tail", "--json", "-n", "1000", "--kind", "login_succeeded"]);
    assert!(shown.status.success(), "{}", shown.stderr);
    let events = shown.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter_map(|event| event["detail"]["user_agent"].as_str().map(str::to_owned)).collect()
}

async fn erased_everywhere(by_command: bool) {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let setup = Setup::postgres(database.url());
    let beside = setup.beside();
    let (left, right) = (setup.start(), beside.start());

    let access = log_in_both_users(&setup, &left, &right).await;
    let doomed = uuid(&setup, "doomed").to_string();
    until(PATIENCE, "all logins are in the database and readable", async || {
        let agents = agents(&setup);
        agents.iter().filter(|agent| *agent == GONE).count() >= 2
            && agents.iter().filter(|agent| *agent == KEPT).count() >= 2
    })
    .await;

    assert!(readable(&[&setup, &beside], database.url()).contains(GONE), "the test finds existing data");
    if by_command {
        setup.command(&["user", "delete", "doomed", "--yes"]);
    } else {
        let headers = [
            ("authorization", &*format!("Bearer {access}")),
            ("content-type", "application/json"),
            ("user-agent", GONE),
        ];
        let body = json!({ "password": PASSWORD }).to_string();
        let answer = left.client.request("DELETE", &left.v1("me"), &headers, body).await;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    // The job runs at the start and every hour.
    drop((left, right));
    let (left, right) = (setup.start(), beside.start());

    let holds_key = |setup: &Setup| {
        let keys = ["audit/keys", "audit/cli/keys"].map(|name| setup.data().join(name));
        keys.iter().any(|path| std::fs::read_to_string(path).unwrap_or_default().contains(&doomed))
    };
    until(PATIENCE, "no file has a key of the user", async || !holds_key(&setup) && !holds_key(&beside))
        .await;
    until(PATIENCE, "the erasure is in the database", async || {
        !setup.ask(&["audit", "tail", "--json", "--kind", "user_erased"]).stdout.is_empty()
    })
    .await;
    drop((left, right));

    let left_over = readable(&[&setup, &beside], database.url());
    assert!(!left_over.contains(GONE) && !left_over.contains("doomed@example.com"));
    assert!(left_over.contains(KEPT), "other users are still readable");
    for setup in [&setup, &beside] {
        let exported = setup.ask(&["audit", "export"]).stdout;
        let told = setup.ask(&["audit", "tail", "-n", "1000"]).stdout;
        for text in [&exported, &told] {
            assert!(!text.contains(GONE) && text.contains(KEPT) && text.contains(&doomed), "{text}");
            assert!(!text.contains("doomed@example.com"));
        }
        for arguments in [&["audit", "verify"][..], &["audit", "verify", "--database"]] {
            let finished = setup.ask(arguments);
            assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);
        }
    }
}

/// SQLite keeps no data of an erased user in the pages of its files.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_page_of_sqlite_contains_an_erased_user() {
    let setup = Setup::sqlite();
    let mut node = setup.start();
    for (name, agent) in [("doomed", GONE), ("other", KEPT)] {
        node.register(name).await;
        for _ in 0..30 {
            log_in(&node, name, agent).await;
        }
    }

    let (access, _) = pair(&node.log_in("doomed").await);
    let headers = [("authorization", &*format!("Bearer {access}")), ("content-type", "application/json")];
    let body = json!({ "password": PASSWORD }).to_string();
    let answer = node.client.request("DELETE", &node.v1("me"), &headers, body).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    node.server.terminate();

    let bytes: Vec<u8> = files(&setup.data())
        .iter()
        .flat_map(|file| [std::fs::read(file).unwrap(), vec![b'\n']].concat())
        .collect();
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(KEPT) && text.contains("other@example.com"), "the test finds existing data");
    assert!(!text.contains(GONE) && !text.contains("doomed@example.com"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_by_the_user_reaches_the_other_node() {
    erased_everywhere(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erasure_by_command_reaches_every_node() {
    erased_everywhere(true).await;
}
