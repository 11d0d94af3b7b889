//! Commands that root runs beside the data of another user. Without root there is nothing to try.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use testkit::unprivileged::{User, give};
use testkit::{Server, free_port};

use super::{PHRASE, Place};

/// A folder of the server's user, and that user.
fn of_another() -> Option<(Place, User)> {
    let user = User::to_drop_to()?;
    let place = Place::new();
    give(place.path(), Some(user));
    Some((place, user))
}

/// Every file and folder below, with its owner.
fn owners(folder: &Path, found: &mut Vec<(String, u32)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        found.push((path.display().to_string(), path.symlink_metadata().unwrap().uid()));
        if path.is_dir() {
            owners(&path, found);
        }
    }
}

#[track_caller]
fn assert_all_of(place: &Place, user: User) {
    let mut found = Vec::new();
    owners(&place.path().join("gatewright-data"), &mut found);
    let others: Vec<_> = found.iter().filter(|(_, uid)| *uid != user.uid).collect();
    assert!(!found.is_empty() && others.is_empty(), "{others:?}");
}

#[test]
fn what_root_does_beside_a_server_of_another_user_belongs_to_that_user() {
    let Some((place, user)) = of_another() else { return };
    let (public, operations) = (free_port(), free_port());
    let listen = format!("server.listen=127.0.0.1:{public}");
    let ops = format!("server.ops_listen=127.0.0.1:{operations}");
    let address = format!("127.0.0.1:{operations}").parse().unwrap();
    let mut server = place
        .builder(&["serve", "--set", &listen, "--set", &ops])
        .run_as(Some(user))
        .ready_when_healthy(address)
        .start();

    // when root runs each kind of command
    place.good(&["user", "add", "root@example.org", "--role", "admin", "--password-file", "-"], PHRASE);
    place.good(&["user", "list"], "");
    place.good(&["user", "deactivate", "root@example.org"], "");
    place.good(&["client", "add", "api", "--name", "API"], "");
    place.good(&["keys", "rotate"], "");
    place.good(&["migrate"], "");
    let file = tempfile::tempdir().unwrap();
    let rows = file.path().join("users.jsonl");
    std::fs::write(&rows, "{\"email\":\"b@example.org\"}\n").unwrap();
    let named = |name: &str| file.path().join(name).display().to_string();
    place.good(&["user", "import", &named("users.jsonl"), "--report", &named("report.jsonl")], "");
    place.good(&["audit", "tail"], "");

    // then all of it is the server's user's, and what root has named is root's
    assert_all_of(&place, user);
    place.good(&["user", "export", &named("all.csv")], "");
    place.good(&["audit", "export", "--out", &named("trail.jsonl")], "");
    for name in ["report.jsonl", "all.csv", "trail.jsonl"] {
        assert_eq!(file.path().join(name).metadata().unwrap().uid(), 0, "{name}");
    }

    // and the server is not degraded, and its user can go on
    let ready = Server::builder("curl").args(["-s", &format!("http://{address}/health/readiness")]).run("");
    assert_eq!(ready.stdout, "{\"status\":\"ready\"}", "{}", server.stderr());
    let own = place.builder(&["user", "activate", "root@example.org"]).run_as(Some(user)).run("");
    assert!(own.status.success(), "{}", own.stderr);
    assert!(server.terminate().success());
    assert!(!server.stderr().contains("Permission denied"), "{}", server.stderr());
    assert_all_of(&place, user);
    // A record names who has run the command, and not as whom its files were made.
    assert!(place.audit().contains("\"uid\":0"), "{}", place.audit());
}

#[test]
fn the_first_command_of_root_in_a_folder_of_another_user_makes_data_of_that_user() {
    for first in [
        &["user", "add", "root@example.org", "--password-file", "-"][..],
        &["client", "add", "api", "--name", "API"],
        &["keys", "init"],
        &["migrate"],
    ] {
        let Some((place, user)) = of_another() else { return };
        place.good(first, PHRASE);
        assert_all_of(&place, user);
        let next = ["user", "add", "b@example.org", "--password-file", "-"];
        let own = place.builder(&next).run_as(Some(user)).run(PHRASE);
        assert!(own.status.success(), "{first:?}: {}", own.stderr);
    }
}

#[test]
fn a_master_key_where_only_root_may_write_is_made_for_the_user_of_the_data() {
    let Some((place, user)) = of_another() else { return };
    place.good(&["migrate"], "");
    let folder = tempfile::tempdir().unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    let key = folder.path().join("master.key");
    let set = format!("master_key_file={}", key.display());
    place.good(&["keys", "init", "--set", &set], "");
    assert_eq!((key.metadata().unwrap().uid(), key.metadata().unwrap().mode() & 0o777), (user.uid, 0o600));
}

#[test]
fn a_server_that_root_starts_on_data_of_another_user_is_refused_with_the_way_out() {
    let Some((place, user)) = of_another() else { return };
    place.good(&["migrate"], "");
    assert_all_of(&place, user);
    let refused = place.bad(1, &["serve", "--set", "server.listen=127.0.0.1:0"], "");
    assert!(refused.contains("sudo -u ") && refused.contains("belongs to the user"), "{refused}");
    assert_all_of(&place, user);
}

#[test]
fn what_another_user_may_not_read_is_not_absent() {
    let Some(user) = User::to_drop_to() else { return };
    let place = Place::new();
    place.good(&["user", "add", "root@example.org", "--password-file", "-"], PHRASE);
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), open).unwrap();

    for command in [
        &["user", "list"][..],
        &["audit", "tail"],
        &["keys", "list"],
        &["migrate"],
        &["migrate", "--dry-run"],
        &["client", "add", "api", "--name", "API"],
        &["audit", "verify"],
        &["recover", "--plan"],
    ] {
        let ended = place.builder(command).run_as(Some(user)).run("");
        assert_eq!(ended.status.code(), Some(1), "{command:?}: {}{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("Permission denied"), "{command:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("there is no"), "{command:?}: {}", ended.stderr);
    }
}
