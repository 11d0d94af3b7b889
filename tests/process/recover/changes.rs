//! Each kind of change after a backup, the giving ones as well as the taking ones.

use serde_json::{Value, json};
use testkit::http::Response;

use super::{OTHER, Restorable, log_out};
use crate::node::{Node, PASSWORD, pair};

/// A client's answer to whether a token is active, or that it is refused.
async fn introspect(node: &Node, client: &str, secret: &str, token: &str) -> Response {
    let fields = [("token", token), ("client_id", client), ("client_secret", secret)];
    node.client.post_form(&node.v1("introspect"), &fields).await
}

/// The status of a request with an access token and without a body.
async fn send(node: &Node, method: &str, name: &str, access: &str) -> u16 {
    let bearer = format!("Bearer {access}");
    let headers = [("authorization", bearer.as_str())];
    node.client.request(method, &node.v1(name), &headers, String::new()).await.status
}

impl Restorable {
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.setup.command(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Adds a client, and returns its secret.
    fn add_client(&self, id: &str) -> String {
        self.json(&["client", "add", id, "--name", id])["client_secret"].as_str().unwrap().to_owned()
    }

    fn keys(&self) -> Vec<String> {
        let keys = self.json(&["keys", "list"]);
        keys.as_array().unwrap().iter().map(|key| key["key_id"].as_str().unwrap().to_owned()).collect()
    }
}

/// The clients, each with the answer to its introspection after the recovery.
const AFTERWARDS: [(&str, u16); 5] =
    [("kept", 200), ("gone", 401), ("again", 401), ("rotated", 200), ("narrowed", 403)];

async fn every_kind_of_change_is_in_force_again(mut server: Restorable) {
    // Given a backup with users in several states, and clients.
    let mut node = server.setup.start();
    let everywhere = node.member("everywhere").await;
    let elsewhere = pair(&node.log_in("everywhere").await);
    let ended = node.member("ended").await;
    let off_and_on = node.member("off_and_on").await;
    node.member("off").await;
    let demoted = node.member("demoted").await;
    node.member("steady").await;
    server.setup.command(&["user", "deactivate", "off"]);
    server.setup.command(&["user", "set-role", "demoted", "admin"]);
    let secrets = AFTERWARDS.map(|(id, _)| server.add_client(id));
    let before = server.keys();
    node.server.terminate();
    server.back_up();

    // And changes after it.
    let mut node = server.setup.start();
    assert_eq!(send(&node, "POST", "logout-all", &everywhere.0).await, 204);
    node.log_in("everywhere").await;
    let sessions: Value = node.client.get_with_token(&node.v1("sessions"), &ended.0).await.json();
    let session = format!("sessions/{}", sessions[0]["id"].as_str().unwrap());
    assert_eq!(send(&node, "DELETE", &session, &ended.0).await, 204);
    server.setup.command(&["user", "deactivate", "off_and_on"]);
    server.setup.command(&["user", "activate", "off_and_on"]);
    server.setup.command(&["user", "activate", "off"]);
    server.setup.command(&["user", "set-role", "demoted", "basic_user"]);
    server.setup.command(&["user", "set-role", "steady", "admin"]);
    server.setup.command(&["user", "set-role", "steady", "basic_user"]);
    server.setup.command(&["client", "remove", "gone", "--yes"]);
    server.setup.command(&["client", "remove", "again", "--yes"]);
    server.add_client("again");
    server.setup.command(&["client", "rotate", "rotated"]);
    server.setup.command(&["client", "set-rights", "narrowed", "--allow", "feed"]);
    server.setup.command(&["client", "set-rights", "kept", "--allow", "introspect,feed"]);
    server.setup.command(&["keys", "rotate", "--compromised", "--yes"]);
    node.server.terminate();

    // When the backup is restored and recovered.
    server.restore();
    let done = server.recover(&[]);

    // Then all of it is in force again, and what cannot be is named.
    assert_eq!((&done["activated"], &done["deactivated"], &done["roles"]), (&json!(1), &json!(0), &json!(1)));
    assert_eq!(done["clients"], json!(["again", "gone"]));
    assert_eq!(done["clients_to_rotate"], json!(["rotated"]));
    assert_eq!(done["client_rights"], json!(["narrowed"]), "rights that were given are not given again");
    assert_eq!(done["keys"].as_array().unwrap().len(), before.len(), "{done}");
    assert_eq!(server.user("demoted")["role"], "basic_user");
    assert_eq!(server.user("off_and_on")["state"], "active");
    let mut node = server.setup.start();
    for token in [&everywhere.1, &elsewhere.1, &ended.1, &off_and_on.1] {
        assert_eq!(node.refresh(token).await.status, 401);
    }
    let (access, _) = pair(&node.refresh(&demoted.1).await);
    for name in ["everywhere", "ended", "off_and_on", "off", "steady"] {
        assert_eq!(node.log_in(name).await.status, 200, "{name}");
    }
    for (secret, (id, status)) in AFTERWARDS.into_iter().enumerate() {
        assert_eq!(introspect(&node, id, &secrets[secret], &access).await.status, status, "{id}");
    }
    assert_eq!(introspect(&node, "kept", &secrets[0], &access).await.json()["active"], true);
    let after = server.keys();
    assert!(!after.is_empty() && before.iter().all(|key| !after.contains(key)), "{before:?} {after:?}");

    // And a second recovery changes nothing.
    let added = server.add_client("again");
    node.server.terminate();
    let again = server.recover(&[]);
    for counted in ["sessions", "activated", "deactivated", "roles", "erased"] {
        assert_eq!(again[counted], 0, "{again}");
    }
    assert_eq!((&again["clients"], &again["keys"]), (&json!([]), &json!([])));
    let node = server.setup.start();
    let (access, _) = pair(&node.log_in("steady").await);
    assert_eq!(introspect(&node, "again", &added, &access).await.json()["active"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_change_is_in_force_again_on_sqlite() {
    every_kind_of_change_is_in_force_again(Restorable::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_of_change_is_in_force_again_on_postgres() {
    every_kind_of_change_is_in_force_again(Restorable::postgres()).await;
}

async fn change_password(node: &Node, access: &str) {
    let body = json!({"current_password": PASSWORD, "new_password": OTHER}).to_string();
    let bearer = format!("Bearer {access}");
    let headers = [("content-type", "application/json"), ("authorization", bearer.as_str())];
    let set = node.client.request("POST", &node.v1("password"), &headers, body).await;
    assert!(set.status == 204 || set.status == 200, "{}", set.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_on_an_empty_database_hides_no_change() {
    // Given a backup, and changes after it.
    let mut server = Restorable::sqlite();
    let mut node = server.setup.start();
    let out = node.member("out").await;
    let changed = node.member("changed").await;
    node.member("gone").await;
    node.server.terminate();
    server.back_up();
    let mut node = server.setup.start();
    log_out(&node, &out.1).await;
    change_password(&node, &changed.0).await;
    server.setup.command(&["user", "delete", "gone", "--yes"]);
    node.server.terminate();

    // And a start without the database before the backup is put in, with a user of its own.
    let (file, _) = server.files();
    for rest in ["db", "db-wal", "db-shm"] {
        let _ = std::fs::remove_file(file.with_extension(rest));
    }
    let mut node = server.setup.start();
    node.register("stranger").await;
    log_out(&node, &pair(&node.log_in("stranger").await).1).await;
    server.setup.command(&["user", "deactivate", "stranger"]);
    node.server.terminate();

    // When the backup is put in and recovered.
    server.restore();
    let done = server.recover(&[]);

    // Then the changes are in force again, and what belongs to the other realm is named.
    assert_eq!((&done["sessions"], &done["erased"]), (&json!(3), &json!(1)), "{done}");
    assert_eq!(done["other_realms"].as_array().unwrap().len(), 1, "{done}");
    assert_eq!(done["lost_users"], 1, "{done}");
    let mut node = server.setup.start();
    assert_eq!(node.refresh(&out.1).await.status, 401);
    for name in ["changed", "gone"] {
        assert_eq!(node.log_in(name).await.status, 401, "{name}");
    }
    node.server.terminate();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_node_that_was_first_started_with_a_database_of_its_own_are_in_force_again() {
    // Given a node that was tried alone before it joined, and a backup.
    let mut server = Restorable::postgres();
    let mut node = server.setup.start();
    let mut beside = server.setup.beside();
    let trial = beside.folder.path().join("trial.db");
    beside.set("DATABASE__URL", &format!("sqlite:{}", trial.display()));
    beside.start().server.terminate();
    beside.set("DATABASE__URL", server.database.as_ref().unwrap().url());
    let out = node.member("out").await;
    let changed = node.member("changed").await;
    node.server.terminate();
    server.back_up();

    // When changes through that node are lost, and the backup is recovered.
    let mut node = beside.start();
    log_out(&node, &out.1).await;
    change_password(&node, &changed.0).await;
    node.server.terminate();
    server.restore();
    let there = beside.folder.path().join("gatewright-data");
    let done = server.recover(&["--journal", there.to_str().unwrap()]);

    // Then they are in force again.
    assert_eq!((&done["sessions"], done["passwords"].as_array().unwrap().len()), (&json!(2), 1), "{done}");
    let mut node = server.setup.start();
    assert_eq!(node.refresh(&out.1).await.status, 401);
    assert_eq!(node.log_in("changed").await.status, 401);
    node.server.terminate();
}
