//! `gatewright recover`: what happened after a backup is in force again after the backup was restored.

mod changes;
mod journals;

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::http::Response;
use testkit::postgres::{Database, rows};

use crate::node::{Node, PASSWORD, Setup, database, pair, until};
use crate::tampering::Place;

const OTHER: &str = "Another-Fine-Pass-7";

/// A server whose database can be backed up and restored.
struct Restorable {
    setup: Setup,
    database: Option<Database>,
}

impl Restorable {
    fn sqlite() -> Self {
        Self { setup: Setup::sqlite(), database: None }
    }

    fn postgres() -> Self {
        let database = database();
        Self { setup: Setup::postgres(database.url()), database: Some(database) }
    }

    fn files(&self) -> (PathBuf, PathBuf) {
        let folder = self.setup.folder.path();
        (folder.join("gatewright-data/gatewright.db"), folder.join("backup.db"))
    }

    fn copy_name(database: &Database) -> String {
        format!("{}_copy", database.name())
    }

    /// Copies the database of a server that has stopped.
    fn back_up(&self) {
        if let Some(database) = &self.database {
            let (name, copy) = (database.name(), Self::copy_name(database));
            rows(
                testkit::Postgres::shared().url(),
                &format!("CREATE DATABASE \"{copy}\" TEMPLATE \"{name}\""),
            )
            .unwrap();
        } else {
            let (from, to) = self.files();
            std::fs::copy(from, to).unwrap();
        }
    }

    /// Puts the copy in the place of the database of a server that has stopped.
    fn restore(&mut self) {
        if let Some(database) = &self.database {
            let url = database.url().replace(database.name(), &Self::copy_name(database));
            self.setup.set("DATABASE__URL", &url);
        } else {
            let (to, from) = self.files();
            std::fs::copy(from, &to).unwrap();
            for rest in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(to.with_extension(format!("db{rest}")));
            }
        }
    }

    fn recover(&self, arguments: &[&str]) -> Value {
        let text = self.setup.command(&[&["recover", "--json"], arguments].concat());
        serde_json::from_str(&text).unwrap()
    }

    fn user(&self, name: &str) -> Value {
        serde_json::from_str(&self.setup.command(&["user", "show", name, "--json"])).unwrap()
    }
}

impl Drop for Restorable {
    fn drop(&mut self) {
        if let Some(database) = &self.database {
            let copy = Self::copy_name(database);
            let drop = format!("DROP DATABASE IF EXISTS \"{copy}\" WITH (FORCE)");
            let _ = rows(testkit::Postgres::shared().url(), &drop);
        }
    }
}

async fn log_in_with(node: &Node, name: &str, password: &str) -> Response {
    node.client.post_form(&node.v1("token"), &[("username", name), ("password", password)]).await
}

async fn log_out(node: &Node, token: &str) {
    let out = node.client.post_json(&node.v1("logout"), &json!({"refresh_token": token})).await;
    assert_eq!(out.status, 204);
}

/// The successor of a refresh token.
async fn next(node: &Node, token: &str) -> String {
    pair(&node.refresh(token).await).1
}

async fn what_happened_after_the_backup_is_in_force_again(mut server: Restorable) {
    // Given a backup with users and their sessions.
    let mut node = server.setup.start();
    let keeper = node.member("keeper").await;
    let out = node.member("out").await;
    let changed = node.member("changed").await;
    let off = node.member("off").await;
    node.member("boss").await;
    node.member("gone").await;
    node.server.terminate();
    server.back_up();

    // And changes after it.
    let mut node = server.setup.start();
    let lost: Value = node.register("lost").await.json();
    let newer = next(&node, &next(&node, &keeper.1).await).await;
    log_out(&node, &out.1).await;
    let body = json!({"current_password": PASSWORD, "new_password": OTHER}).to_string();
    let bearer = format!("Bearer {}", changed.0);
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let set = node.client.request("POST", &node.v1("password"), &headers, body).await;
    assert!(set.status == 204 || set.status == 200, "{}", set.text());
    server.setup.command(&["user", "deactivate", "off"]);
    server.setup.command(&["user", "set-role", "boss", "admin"]);
    server.setup.command(&["user", "delete", "gone", "--yes"]);

    // When a running server is recovered, then it is refused.
    let refused = server.setup.ask(&["recover"]);
    assert!(!refused.status.success() && refused.stderr.contains("stop it first"), "{}", refused.stderr);

    // When the backup is restored and recovered.
    node.server.terminate();
    server.restore();
    assert_eq!(server.user("gone")["state"], "active", "the backup is older");
    let plan = server.recover(&["--plan"]);
    let done = server.recover(&[]);

    // Then every change is in force again.
    for told in [&plan, &done] {
        assert_eq!(told["passwords"].as_array().unwrap().len(), 1, "{told}");
        assert_eq!(
            (&told["deactivated"], &told["roles"], &told["erased"]),
            (&json!(1), &json!(1), &json!(1))
        );
        assert_eq!(told["lost_users"], 0, "the lost user has only a number: {told}");
        assert_eq!(told["highest"], lost["id"]);
    }
    assert!(plan["epoch"].is_null() && done["epoch"].as_i64().unwrap() > 0);
    assert_eq!(server.user("boss")["role"], "admin");
    let mut node = server.setup.start();
    assert_eq!(node.me(&keeper.0).await.status, 401, "access tokens of before are refused");
    for token in [&out.1, &changed.1, &off.1] {
        assert_eq!(node.refresh(token).await.status, 401);
    }
    for (name, password) in [("changed", PASSWORD), ("changed", OTHER), ("off", PASSWORD), ("gone", PASSWORD)]
    {
        assert_eq!(log_in_with(&node, name, password).await.status, 401, "{name}");
    }
    let next_id = node.register("next").await.json()["id"].as_i64().unwrap();
    assert!(next_id > lost["id"].as_i64().unwrap(), "{next_id}");

    // And a client that has refreshed since goes on with its newer token.
    let answer = pair(&node.refresh(&newer).await);
    assert_eq!(node.me(&answer.0).await.status, 200);
    assert_eq!(pair(&node.refresh(&newer).await).1, answer.1, "a lost answer is repeated");
    next(&node, &answer.1).await;

    // And an operator sets a new password, which a second recovery leaves.
    server.setup.command(&["user", "set-password", "changed", "--password-file", "-"]);
    node.server.terminate();
    let again = server.recover(&[]);
    for counted in ["sessions", "activated", "deactivated", "roles", "erased"] {
        assert_eq!(again[counted], 0, "{again}");
    }
    assert_eq!(again["passwords"], json!([]));
    assert!(again["epoch"].as_i64() > done["epoch"].as_i64());
    let node = server.setup.start();
    assert_eq!(node.log_in("changed").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_after_the_backup_is_in_force_again_on_sqlite() {
    what_happened_after_the_backup_is_in_force_again(Restorable::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_after_the_backup_is_in_force_again_on_postgres() {
    what_happened_after_the_backup_is_in_force_again(Restorable::postgres()).await;
}

async fn a_second_newer_refresh_token_ends_the_session(mut server: Restorable) {
    // Given a session that was refreshed twice after the backup, and both tokens with different clients.
    let mut node = server.setup.start();
    let (_, first) = node.member("alice").await;
    let (_, other) = node.member("bob").await;
    node.server.terminate();
    server.back_up();
    let mut node = server.setup.start();
    let stolen = next(&node, &first).await;
    let newest = next(&node, &stolen).await;
    let newer = next(&node, &other).await;

    // When the database is restored without a recovery, then no newer token is accepted.
    node.server.terminate();
    server.restore();
    let mut node = server.setup.start();
    assert_eq!(node.refresh(&newer).await.status, 401);
    node.server.terminate();

    // When it is recovered, then the session goes on from one of them, and the other one ends it.
    server.recover(&[]);
    let node = server.setup.start();
    let successor = next(&node, &stolen).await;
    assert_eq!(node.refresh(&newest).await.status, 401);
    assert_eq!(node.refresh(&successor).await.status, 401, "the session has ended");
    let still = next(&node, &newer).await;
    next(&node, &still).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_newer_refresh_token_ends_the_session_on_sqlite() {
    a_second_newer_refresh_token_ends_the_session(Restorable::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_newer_refresh_token_ends_the_session_on_postgres() {
    a_second_newer_refresh_token_ends_the_session(Restorable::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_journal_is_not_given_stops_the_recovery() {
    // Given two nodes whose journals the database knows.
    let database = database();
    let setup = Setup::postgres(database.url());
    let beside = setup.beside();
    let (mut left, mut right) = (setup.start(), beside.start());
    let (access, refresh) = left.member("alice").await;
    assert_eq!(right.me(&access).await.status, 200);
    let known = "SELECT node FROM gatewright.audit_journals";
    let is_known = async || rows(database.url(), known).unwrap().len() >= 2;
    until(std::time::Duration::from_secs(20), "both journals are shipped", is_known).await;
    left.server.terminate();
    right.server.terminate();

    // When the journal of one is not given, then the recovery names it.
    let refused = setup.ask(&["recover"]);
    assert!(!refused.status.success() && refused.stderr.contains("it was not given"), "{}", refused.stderr);

    // When it is given, then the sessions live.
    let there = beside.folder.path().join("gatewright-data");
    setup.command(&["recover", "--journal", there.to_str().unwrap()]);
    let mut left = setup.start();
    assert_eq!(left.me(&access).await.status, 401);
    let refresh = next(&left, &refresh).await;
    left.server.terminate();

    // When the node is left out by name, then every session ends.
    let words: Vec<_> = refused.stderr.split_whitespace().collect();
    let at = words.iter().position(|word| *word == "journal").unwrap();
    setup.command(&["recover", "--without-journal", words[at + 1]]);
    let left = setup.start();
    assert_eq!(left.refresh(&refresh).await.status, 401);
    assert_eq!(left.log_in("alice").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_of_a_machine_without_a_server_are_in_force_again_however_their_folder_is_named() {
    // Given a machine on which only commands run, beside a node.
    let database = database();
    let mut server = Restorable { setup: Setup::postgres(database.url()), database: Some(database) };
    let beside = server.setup.beside();
    let mut node = server.setup.start();
    node.member("alice").await;
    node.server.terminate();
    server.back_up();
    beside.command(&["user", "deactivate", "alice@example.com"]);

    // When the backup is restored, then each name of the folder gives its journal.
    server.restore();
    let data = beside.folder.path().join("gatewright-data");
    for folder in [data.clone(), data.join("audit"), data.join("audit/cli")] {
        let done = server.recover(&["--plan", "--journal", folder.to_str().unwrap()]);
        assert_eq!(done["deactivated"], 1, "{}: {done}", folder.display());
    }
    let other = server.setup.ask(&["recover", "--journal", beside.folder.path().to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(2), "{}", other.stderr);
    assert!(other.stderr.contains("neither a data directory nor"), "{}", other.stderr);
}

#[tokio::test]
async fn a_clock_behind_the_newest_time_of_the_database_stops_the_recovery() {
    // Given a database whose newest time is ten minutes ahead of the clock.
    let server = Restorable::sqlite();
    let mut node = server.setup.start();
    node.member("alice").await;
    node.server.terminate();
    Place::Sqlite(server.files().0).run(
        "UPDATE gw.counters SET value = (CAST(strftime('%s', 'now') AS INTEGER) + 600) * 1000000 \
         WHERE name = 'clock'",
    );

    // Then the recovery is refused, and the operator can say that the clock is right.
    let refused = server.setup.ask(&["recover"]);
    assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("the clock of this machine is doubted"), "{}", refused.stderr);
    assert!(server.recover(&["--clock-is-right"])["epoch"].is_number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_that_no_user_can_have_is_taken_over_from_no_journal_and_an_end_of_the_sequence_is_503() {
    // Given a journal that names a user number above 2^52.
    let database = database();
    let setup = Setup::postgres(database.url());
    let mut node = setup.start();
    node.member("alice").await;
    node.server.terminate();
    let directory = setup.folder.path().join("gatewright-data/audit/journal");
    let (mut journal, _) =
        journal::Journal::open(&directory, journal::Options::default(), journal::JournalId([7; 16])).unwrap();
    let payload = br#"{"v":1,"kind":"user_registered","number":4503599627370497}"#;
    let entry = journal::Entry { time: journal::Time(1), kind: journal::Kind::Data, payload };
    assert!(journal.append(entry.time, &[entry]).failure.is_none());
    drop(journal);

    // Then the server starts, and goes on with its numbers.
    let node = setup.start();
    let bob: Value = node.register("bob").await.json();
    assert_eq!(bob["id"], 2, "{bob}");

    // When the sequence is at its end, then a registration says that the database is the reason.
    let end = "SELECT setval(pg_get_serial_sequence('gatewright.users', 'id'), 9007199254740991)";
    rows(database.url(), end).unwrap();
    let refused = node.register("carol").await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["code"], "unavailable");
    assert_eq!(node.log_in("alice").await.status, 200);
}
