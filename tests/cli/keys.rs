use testkit::process::gatewright;
use testkit::{Postgres, Server};

use super::{PHRASE, Place};

#[test]
fn signing_keys_are_listed_and_rotated() {
    let place = Place::new();
    place.good(&["client", "add", "api", "--name", "API"], "");
    assert_eq!(place.json(&["keys", "list"], ""), serde_json::json!([]), "the server creates the first one");
    let first = place.json(&["keys", "rotate"], "")["key_id"].clone();
    let second = place.json(&["keys", "rotate", "--now"], "")["key_id"].clone();
    let states = || -> Vec<(serde_json::Value, serde_json::Value)> {
        let keys = place.json(&["keys", "list"], "");
        keys.as_array().unwrap().iter().map(|key| (key["key_id"].clone(), key["state"].clone())).collect()
    };
    assert_eq!(states(), [(first, "retiring".into()), (second, "active".into())]);
    let third = place.json(&["keys", "rotate", "--compromised", "--yes"], "")["key_id"].clone();
    assert_eq!(states(), [(third, "active".into())]);
}

#[test]
fn a_pepper_is_created_rotated_and_removed_again() {
    let place = Place::new();
    let on = ["--set", "passwords.pepper=true"];
    let with = |args: &[&str]| place.json(&[args, &on].concat(), PHRASE);
    with(&["user", "add", "a@example.org", "--password-file", "-"]);
    let states = || -> Vec<(serde_json::Value, serde_json::Value)> {
        let rows = place.json(&["keys", "list", "--pepper"], "");
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| (row["pepper_version"].clone(), row["state"].clone()))
            .collect()
    };
    assert_eq!(states(), [(1.into(), "active".into())]);
    assert_eq!(with(&["keys", "rotate", "--pepper"])["pepper_version"], 2);
    assert_eq!(states(), [(1.into(), "retiring".into()), (2.into(), "active".into())]);
    assert_eq!(with(&["keys", "reseal"])["keys"], 2, "both versions; there is no signing key yet");
    let exported = || place.good(&["user", "export", "--with-hashes", "-"], "");
    assert!(exported().contains("$argon2id$"));

    assert!(place.bad(2, &["keys", "rotate", "--pepper"], "").contains("passwords.pepper is off"));
    let sentence = place.bad(2, &[&["passwords", "unseal"], &on[..]].concat(), "");
    assert!(sentence.contains("turn it off"), "{sentence}");
    place.good(&["passwords", "unseal"], "");
    assert!(exported().contains("$argon2id$"));
}

#[test]
fn a_confirmation_is_only_asked_on_a_terminal() {
    let place = Place::new();
    place.good(&["client", "add", "api", "--name", "API"], "");
    for args in [&["keys", "rotate", "--compromised"][..], &["client", "remove", "api"]] {
        // In its own session the command has no terminal, whatever runs the tests, and it does not ask on
        // standard input.
        let alone = Server::builder("setsid").folder(place.path()).arg("--wait").arg(gatewright());
        let ended = alone.args(args).run("yes\n");
        assert_eq!(ended.status.code(), Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains("no terminal") && ended.stderr.contains("--yes"), "{}", ended.stderr);
    }
}

#[test]
fn the_master_key_is_created_once_and_changed_by_resealing() {
    let place = Place::new();
    let made = place.json(&["keys", "init"], "");
    let old = made["master_key_id"].as_str().unwrap();
    assert!(place.bad(1, &["keys", "init"], "").contains("stays as it is"));
    place.good(&["user", "add", "a@example.org", "--password-file", "-"], PHRASE);
    place.good(&["keys", "rotate"], "");

    let next = place.json(&["keys", "init", "--set", "master_key_file=next.key"], "");
    let new = next["master_key_id"].as_str().unwrap();
    let wrong = place.bad(1, &["keys", "list", "--set", "master_key_file=next.key"], "");
    assert!(wrong.contains(old) && wrong.contains(new), "{wrong}");
    let [file, next_file] = ["gatewright-data/master.key", "next.key"].map(|name| place.path().join(name));
    let both = std::fs::read_to_string(&next_file).unwrap() + &std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, both).unwrap();
    let resealed = place.json(&["keys", "reseal"], "");
    assert_eq!((&resealed["keys"], &resealed["master_key_id"]), (&1.into(), &new.into()));
    // The old key is not needed any more.
    place.good(&["keys", "list", "--set", "master_key_file=next.key"], "");
}

#[test]
fn postgresql_is_migrated_and_given_a_key_by_command() {
    let place = Place::new();
    let server = Postgres::shared();
    let database = server.fresh_database();
    std::fs::write(place.path().join("gatewright.toml"), format!("database.url = \"{}\"\n", database.url()))
        .unwrap();
    let add = ["user", "add", "a@example.org", "--password-file", "-"];
    assert!(place.bad(1, &add, PHRASE).contains("gatewright keys init"));
    place.good(&["keys", "init"], "");
    assert!(place.bad(1, &add, PHRASE).contains("gatewright migrate"));
    let plan = place.json(&["migrate", "--plan"], "");
    assert_eq!((&plan["plan"], &plan["migrations"][0]), (&true.into(), &"0001_accounts".into()));
    assert_eq!(place.json(&["migrate"], "")["migrations"], plan["migrations"]);
    assert!(place.good(&["migrate"], "").contains("up to date"));
    place.good(&add, PHRASE);
    assert_eq!(place.json(&["user", "list"], "")[0]["email"], "a@example.org");
}

#[test]
fn a_dry_run_of_migrate_creates_nothing() {
    let place = Place::new();
    assert!(place.good(&["migrate", "--plan"], "").contains("would apply: 0001_accounts"));
    assert!(!place.path().join("gatewright-data").exists());
}
