//! The audit directory is removed, moved away or cut while the server runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::audit::degraded;
use crate::node::{Setup, until};
use crate::tampering::Place;

const PATIENCE: Duration = Duration::from_secs(30);

fn audit(setup: &Setup) -> PathBuf {
    setup.folder.path().join("gatewright-data/audit")
}

async fn nothing_is_lost(what: &str, change: impl Fn(&Path)) {
    // given a server at work
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    setup.wait_for("login_succeeded", 1);

    // when its files are gone, and it is used at once and after it has noticed
    change(&audit(&setup));
    assert_eq!(node.log_in("alice").await.status, 200);
    let segment = audit(&setup).join("journal/0000000001.journal");
    until(PATIENCE, "the journal is there again", async || segment.exists()).await;
    until(PATIENCE, "the keys are there again", async || audit(&setup).join("keys").exists()).await;
    assert_eq!(node.log_in("alice").await.status, 200);
    setup.wait_for("login_succeeded", 3);
    until(PATIENCE, "nothing is degraded", async || degraded(&node).await == Value::Null).await;
    assert!(node.server.stderr().contains("were removed or moved away"), "{what}");
    node.server.terminate();

    // then every event is in the files and in the database, after a restart too
    let mut node = setup.start();
    for arguments in [&["audit", "verify"][..], &["audit", "verify", "--database"]] {
        setup.command(arguments);
    }
    let shown = setup.command(&["audit", "tail", "--json", "-n", "100", "--kind", "login_succeeded"]);
    assert_eq!(shown.matches("127.0.0.1").count(), 3, "{what}: details are opened with their keys: {shown}");
    node.server.terminate();
}

#[tokio::test]
async fn an_audit_directory_that_is_removed_while_the_server_runs_loses_nothing() {
    nothing_is_lost("removed", |audit| fs::remove_dir_all(audit).unwrap()).await;
}

#[tokio::test]
async fn an_audit_directory_that_is_moved_while_the_server_runs_loses_nothing() {
    nothing_is_lost("moved", |audit| fs::rename(audit, audit.with_extension("moved")).unwrap()).await;
}

#[tokio::test]
async fn records_that_are_cut_off_while_the_server_runs_are_told_as_lost() {
    // given a server at work
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    setup.wait_for("login_succeeded", 1);

    // when its journal is emptied
    fs::write(audit(&setup).join("journal/0000000001.journal"), "").unwrap();

    // then it says so without being used, and goes on
    setup.wait_for("audit_records_lost", 1);
    assert_eq!(node.log_in("alice").await.status, 200);
    setup.wait_for("login_succeeded", 2);
    until(PATIENCE, "nothing is degraded", async || degraded(&node).await == Value::Null).await;
    node.server.terminate();
}

#[tokio::test]
async fn a_trails_database_that_is_removed_while_the_server_runs_is_noticed_and_written_again() {
    for (removed, moved) in
        [(&["", "-wal", "-shm"][..], false), (&[""], false), (&["-wal"], false), (&[""], true)]
    {
        // given a server at work
        let setup = Setup::sqlite();
        let mut node = setup.start();
        node.member("alice").await;
        setup.wait_for("login_succeeded", 1);
        setup.command(&["user", "set-role", "alice@example.com", "admin"]);
        setup.wait_for("role_changed", 1);
        let trail = store::audit_db::trail_path(&setup.folder.path().join("gatewright-data/gatewright.db"));
        // It has looked at the log once.
        until(PATIENCE, "nothing is degraded", async || degraded(&node).await == Value::Null).await;

        // when files of the trail in the database are gone
        for rest in removed {
            let path = PathBuf::from(format!("{}{rest}", trail.display()));
            let to = path.with_extension("moved");
            if moved { fs::rename(path, to) } else { fs::remove_file(path) }.unwrap();
        }

        // then the server says so without being used, and ships again what its journals have
        node.server.wait_for_line("the file of the audit trail was removed or replaced");
        setup.wait_for("login_succeeded", 1);
        setup.wait_for("role_changed", 1);
        assert_eq!(node.log_in("alice").await.status, 200);
        setup.wait_for("login_succeeded", 2);
        until(PATIENCE, "nothing is degraded", async || degraded(&node).await == Value::Null).await;
        node.server.terminate();
        for arguments in [&["audit", "verify"][..], &["audit", "verify", "--database"]] {
            setup.command(arguments);
        }
    }
}

#[tokio::test]
async fn a_trail_that_was_removed_as_a_whole_is_missed_by_the_next_start() {
    // given a realm that has been served for long
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    node.server.terminate();
    let main = setup.folder.path().join("gatewright-data/gatewright.db");
    Place::Sqlite(main.clone()).run(
        "UPDATE gw.realm SET created_at = created_at - 3600000000; \
         UPDATE gw.counters SET value = CAST(strftime('%s', 'now') AS INTEGER) * 1000000 \
         WHERE name = 'clock'",
    );

    // when all of its trail is removed, in the files and in the database, and the server starts
    fs::remove_dir_all(audit(&setup)).unwrap();
    let trail = store::audit_db::trail_path(&main);
    for rest in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{rest}", trail.display()));
    }
    let mut node = setup.start();
    setup.wait_for("audit_past_missing", 1);
    node.server.terminate();

    // then each verification reports it, and no other start hides it
    setup.start().server.terminate();
    for arguments in [&["audit", "verify"][..], &["audit", "verify", "--database"]] {
        let refused = setup.ask(arguments);
        let told = format!("{}{}", refused.stdout, refused.stderr);
        assert!(!refused.status.success() && told.contains("the realm was not new"), "{told}");

        // and the operator can vouch for what there is
        let ends = refused.stdout.lines().filter_map(|line| line.trim().strip_prefix("the end: "));
        let heads = ends.flat_map(|end| ["--head", end]);
        setup.command(&arguments.iter().copied().chain(heads).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_first_command_that_is_refused_leaves_a_trail_that_verifies() {
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    assert!(!setup.ask(&["user", "show", "nosuch"]).status.success());
    setup.command(&["audit", "verify"]);
    node.server.terminate();
    setup.command(&["audit", "verify"]);
}
