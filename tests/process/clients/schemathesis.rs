//! Requests that schemathesis makes by the OpenAPI document, and against it: no answer may be another than
//! the document says, and nothing that it refuses may be accepted. The configuration in
//! `tests/clients/schemathesis.toml` says which valid requests may be refused.

use std::time::Duration;

use serde_json::Value;

use super::Scripts;
use crate::node::{Setup, database, long_form};

fn finds_nothing(setup: &Setup) {
    let node = setup.start();
    let rights = ["--allow", "introspect", "--allow", "feed"];
    let added =
        setup.command(&[&["--json", "client", "add", "shop", "--name", "Shop"], &rights[..]].concat());
    let added: Value = serde_json::from_str(&added).unwrap();

    let seconds: u64 = long_form("SCHEMATHESIS", 12);
    let scripts = Scripts::new();
    let run = scripts
        .python("schemathesis")
        .args(["run", &node.url("/openapi.json"), "--checks", "all", "--continue-on-failure"])
        .args(["--max-time", &seconds.to_string(), "--generation-database", "none"])
        .env("SCHEMATHESIS_HOOKS", "schemathesis_hooks")
        .env("PROBED_URL", node.url(""))
        .env("CLIENT_SECRET", added["client_secret"].as_str().unwrap());
    let finished = run.run_within(Duration::from_secs(seconds + 100), "");
    assert!(finished.status.success(), "{}{}", finished.stdout, finished.stderr);
    // A run that tried nothing finds nothing.
    assert!(finished.stdout.contains("Test cases:"), "{}{}", finished.stdout, finished.stderr);
    println!("{}", finished.stdout);
}

#[test]
fn schemathesis_finds_nothing_on_sqlite() {
    finds_nothing(&Setup::sqlite());
}

#[test]
fn schemathesis_finds_nothing_on_postgres() {
    let database = database();
    finds_nothing(&Setup::postgres(database.url()));
}
