//! A program on the schema of a later version: it runs after an additive migration, and is refused after one
//! that it cannot live with. The migrations are the test's own.

use crate::node::{Setup, database};
use crate::tampering::Place;

/// Every command that opens the database, and one that changes it.
const COMMANDS: [&[&str]; 8] = [
    &["user", "list"],
    &["user", "show", "alice"],
    &["user", "set-role", "alice", "admin"],
    &["client", "list"],
    &["keys", "list"],
    &["audit", "tail"],
    &["migrate"],
    &["migrate", "--plan"],
];

const SERVE: [&str; 5] = ["serve", "--set", "server.listen=127.0.0.1:0", "--set", "server.ops_listen="];

async fn rolls_back(setup: Setup, place: Place) {
    let mut node = setup.start();
    node.member("alice").await;
    node.server.terminate();

    // given what a later version adds
    let later = |number: i64, name: &str, lowest: &str| {
        place.run(&format!(
            "INSERT INTO gw.migrations (number, name, checksum, lowest_version, applied_at) \
             VALUES ({number}, '{name}', 'of a later version', '{lowest}', 0)"
        ))
    };
    place.run("ALTER TABLE gw.users ADD COLUMN shoe_size INTEGER NOT NULL DEFAULT 0");
    place.run("CREATE TABLE gw.shoes (id BIGINT PRIMARY KEY)");
    later(9001, "9001_shoes", "0.1.0");

    // then this version goes on, with old and new users
    let mut node = setup.start();
    assert_eq!(node.log_in("alice").await.status, 200);
    node.member("bob").await;
    node.server.terminate();
    for command in COMMANDS {
        setup.command(command);
    }

    // when a later version changes what this one needs
    later(9002, "9002_names", "7.8.9");

    // then nothing of it starts, and each says with what it goes on
    for command in COMMANDS.into_iter().chain([&SERVE[..]]) {
        let ended = setup.ask(command);
        assert_eq!(ended.status.code(), Some(1), "{command:?}: {}", ended.stdout);
        for word in ["9002_names", "7.8.9", env!("CARGO_PKG_VERSION"), "backup"] {
            assert!(ended.stderr.contains(word), "{command:?}: {word}: {}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn an_older_program_runs_on_a_newer_schema_or_says_why_not_on_sqlite() {
    let setup = Setup::sqlite();
    let main = setup.folder.path().join("gatewright-data/gatewright.db");
    rolls_back(setup, Place::Sqlite(main)).await;
}

#[tokio::test]
async fn an_older_program_runs_on_a_newer_schema_or_says_why_not_on_postgres() {
    let database = database();
    let setup = Setup::postgres(database.url());
    rolls_back(setup, Place::Postgres(database.url().to_owned())).await;
}
