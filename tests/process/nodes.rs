//! Two processes on one PostgreSQL database.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::node::{Node, Setup, database, pair, until};

struct Two {
    left: Node,
    right: Node,
    setup: Setup,
    _database: testkit::postgres::Database,
}

fn two() -> Two {
    let database = database();
    let setup = Setup::postgres(database.url());
    Two { left: setup.start(), right: setup.beside().start(), setup, _database: database }
}

#[tokio::test]
async fn sixty_four_refreshes_on_two_nodes_get_one_successor() {
    let two = two();
    let (_, mut token) = two.left.member("alice").await;
    for _ in 0..5 {
        let both = [&two.left, &two.right];
        let answers = join_all((0..64).map(|index| both[index % 2].refresh(&token))).await;
        let successors: Vec<_> = answers.iter().map(|answer| pair(answer).1).collect();
        assert!(successors.iter().all(|successor| *successor == successors[0]));
        token.clone_from(&successors[0]);
    }
}

#[tokio::test]
async fn the_same_registration_on_two_nodes_succeeds_once() {
    let two = two();
    let both = [&two.left, &two.right];
    let answers = join_all((0..64).map(|index| both[index % 2].register("alice"))).await;
    let count = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((count(201), count(409)), (1, 63));
}

#[tokio::test]
async fn a_revocation_on_one_node_reaches_the_other_within_a_second() {
    let two = two();
    let second = Duration::from_secs(1);
    let (access, refresh) = two.left.member("alice").await;
    assert_eq!(two.right.me(&access).await.status, 200);
    let out = two.left.client.post_json(&two.left.v1("logout"), &json!({"refresh_token": refresh})).await;
    assert_eq!(out.status, 204);
    until(second, "refused on the other node", async || two.right.me(&access).await.status == 401).await;

    let (access, _) = pair(&two.right.log_in("alice").await);
    assert_eq!(two.left.me(&access).await.status, 200);
    two.setup.command(&["user", "deactivate", "alice"]);
    for node in [&two.left, &two.right] {
        until(second, "refused after the command line", async || node.me(&access).await.status == 401).await;
    }
}

#[tokio::test]
async fn a_key_rotated_by_command_is_used_and_accepted_by_both() {
    let two = two();
    let (access, _) = two.left.member("alice").await;
    let keys = async |node: &Node| {
        let jwks = node.client.get(&node.url("/.well-known/jwks.json")).await.json();
        jwks["keys"].as_array().unwrap().len()
    };

    two.setup.command(&["keys", "rotate", "--now"]);
    for node in [&two.left, &two.right] {
        until(Duration::from_secs(2), "the new key is published", async || keys(node).await == 2).await;
        assert_eq!(node.me(&access).await.status, 200, "the old key still verifies");
    }

    let (newer, _) = pair(&two.left.log_in("alice").await);
    assert_eq!(two.right.me(&newer).await.status, 200);
}

#[test]
fn a_wrong_master_key_refuses_to_start_and_names_both() {
    let database = database();
    let right = Setup::postgres(database.url());
    let node = right.start();
    drop(node);

    let mut wrong = Setup::sqlite();
    wrong.set("DATABASE__URL", database.url());
    wrong.command(&["keys", "init"]);
    let mut builder = testkit::process::Server::builder(testkit::process::gatewright());
    builder = builder.arg("serve").folder(wrong.folder.path());
    for (name, value) in &wrong.env {
        builder = builder.env(name, value);
    }

    let port = testkit::free_port().to_string();
    let finished = builder
        .env("GATEWRIGHT_SERVER__LISTEN", format!("127.0.0.1:{port}"))
        .env("GATEWRIGHT_SERVER__OPS_LISTEN", "")
        .run("");

    assert!(!finished.status.success());
    let id = |setup: &Setup| {
        let text = std::fs::read_to_string(setup.folder.path().join("gatewright-data/master.key")).unwrap();
        let line = text.lines().find(|line| !line.starts_with('#') && !line.trim().is_empty()).unwrap();
        line.split_whitespace().next().unwrap().to_owned()
    };
    for key in [id(&right), id(&wrong)] {
        assert!(finished.stderr.contains(&key), "{key} is named in {}", finished.stderr);
    }
}
