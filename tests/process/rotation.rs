//! Rotating the master key loses nothing, and a line that is needed cannot be taken out.

use std::path::PathBuf;

use model::Rng;
use protocol::sealed::keyring::Keyring;
use testkit::process::{self, Server};

use crate::node::{Node, PASSWORD, Setup, database, pair};

/// A master key file whose lines the test rewrites.
struct KeyFile {
    path: PathBuf,
    old: String,
    new: String,
}

impl KeyFile {
    fn of(setup: &Setup) -> Self {
        let path = setup.folder.path().join("gatewright-data/master.key");
        let old = std::fs::read_to_string(&path).unwrap().trim().to_owned();
        let new = Keyring::generate_line(&Rng::system()).expose().clone();
        Self { path, old, new }
    }

    fn write(&self, lines: &[&str]) {
        std::fs::write(&self.path, lines.join("\n")).unwrap();
    }

    fn retired(&self) -> String {
        format!("{} retired", self.old)
    }

    fn old_id(&self) -> &str {
        self.old.split(' ').next().unwrap()
    }
}

/// Starts a server that refuses, and returns what it says.
fn refused(setup: &Setup) -> String {
    let mut builder = Server::builder(process::gatewright()).arg("serve").folder(setup.folder.path());
    for (name, value) in &setup.env {
        builder = builder.env(name, value);
    }
    let port = testkit::free_port().to_string();
    let listen = format!("127.0.0.1:{port}");
    let finished =
        builder.env("GATEWRIGHT_SERVER__LISTEN", listen).env("GATEWRIGHT_SERVER__OPS_LISTEN", "").run("");
    assert_eq!(finished.status.code(), Some(1), "{}{}", finished.stdout, finished.stderr);
    finished.stderr
}

/// Logs in with a user agent, and returns the refresh token.
async fn log_in_as(node: &Node, name: &str, agent: &str) -> String {
    let form = testkit::http::form(&[("username", name), ("password", PASSWORD)]);
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("user-agent", agent)];
    pair(&node.client.request("POST", &node.v1("token"), &headers, form).await).1
}

/// Whether the trail shows this user agent, decrypted.
fn shows(setup: &Setup, agent: &str) -> bool {
    setup.command(&["audit", "tail", "--json", "-n", "1000"]).contains(agent)
}

fn verified(setup: &Setup) {
    for arguments in
        [&["audit", "verify"][..], &["audit", "verify", "--offline"], &["audit", "verify", "--database"]]
    {
        let finished = setup.ask(arguments);
        assert!(finished.status.success(), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
    }
}

async fn rotates(setup: Setup) {
    // given a server with a session, and an event whose detail is sealed
    let mut node = setup.start();
    node.member("alice").await;
    let kept = log_in_as(&node, "alice", "agent-of-before").await;
    setup.wait_for("login_succeeded", 2);
    node.server.terminate();
    let keys = KeyFile::of(&setup);

    // when a new line is first: without resealing, the old one can neither be retired nor taken out
    keys.write(&[&keys.new, &keys.retired()]);
    assert!(refused(&setup).contains("keys reseal"), "{}", refused(&setup));
    keys.write(&[&keys.new]);
    let why = refused(&setup);
    for needed in
        [keys.old_id(), "1 signing key", "1 audit detail key", "checkpoints", "refresh tokens until 20"]
    {
        assert!(why.contains(needed), "{needed}: {why}");
    }
    keys.write(&[&keys.new, &keys.old]);
    let mut node = setup.start();
    setup.command(&["keys", "reseal"]);
    assert!(shows(&setup, "agent-of-before"));
    verified(&setup);
    node.server.terminate();

    // then the old line may be retired: details open, the trail verifies, the old refresh token works
    keys.write(&[&keys.new, &keys.retired()]);
    let mut node = setup.start();
    assert!(shows(&setup, "agent-of-before"));
    verified(&setup);
    let refreshed = node.refresh(&kept).await;
    assert_eq!(refreshed.status, 200, "{}", refreshed.text());
    let listed = setup.command(&["keys", "list", "--master", "--json"]);
    assert!(listed.contains("refresh tokens until") && listed.contains("retired"), "{listed}");
    node.server.terminate();

    // and it cannot be taken out while a session of before lives
    keys.write(&[&keys.new]);
    let why = refused(&setup);
    assert!(why.contains("refresh tokens until 20") && why.contains("`retired`"), "{why}");

    // when that session is over
    keys.write(&[&keys.new, &keys.retired()]);
    setup.command(&["user", "deactivate", "alice@example.com"]);

    // then the line can be taken out, and the trail of before still verifies and opens
    keys.write(&[&keys.new]);
    let mut node = setup.start();
    verified(&setup);
    assert!(shows(&setup, "agent-of-before"));
    node.server.terminate();
    verified(&setup);
}

#[tokio::test]
async fn rotating_the_master_key_loses_nothing_with_sqlite() {
    rotates(Setup::sqlite()).await;
}

#[tokio::test]
async fn rotating_the_master_key_loses_nothing_with_postgresql() {
    let database = database();
    rotates(Setup::postgres(database.url())).await;
}

/// A line waits behind the first one before it becomes the first, and a third one follows it.
#[tokio::test]
async fn the_trail_verifies_through_two_rotations_whose_lines_have_waited() {
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    node.server.terminate();
    let keys = KeyFile::of(&setup);
    let third = Keyring::generate_line(&Rng::system()).expose().clone();
    let (retired, next_retired) = (keys.retired(), format!("{} retired", keys.new));

    for (lines, reseals) in [
        (&[keys.old.as_str(), &keys.new][..], false),
        (&[&keys.new, &keys.old], true),
        (&[&keys.new, &retired], false),
        (&[&keys.new, &retired, &third], false),
        (&[&third, &keys.new, &retired], true),
        (&[&third, &next_retired, &retired], false),
    ] {
        keys.write(lines);
        let mut node = setup.start();
        if reseals {
            setup.command(&["keys", "reseal"]);
        }
        assert_eq!(node.log_in("alice").await.status, 200);
        verified(&setup);
        node.server.terminate();
        verified(&setup);
    }
}
