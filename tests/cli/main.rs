//! The built binary, as people and scripts use it: output, messages, exit statuses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failure to set a test up fails it")]

mod accounts;
mod configuration;
mod keys;
mod owners;
mod passwords;
mod postgres;
mod prompts;
mod serving;
mod transfer;

use std::path::Path;

use serde_json::Value;
use testkit::Server;
use testkit::process::{Finished, ServerBuilder, gatewright};

/// A directory to run commands in, isolated from the user's configuration.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// The contents of the commands' audit journal.
    fn audit(&self) -> String {
        let mut reader = journal::Reader::open(&self.path().join("gatewright-data/audit/cli/journal"));
        let mut audit = String::new();
        while let Some(record) = reader.read().unwrap() {
            audit.push_str(&String::from_utf8_lossy(record.payload));
        }
        audit
    }

    fn builder(&self, args: &[&str]) -> ServerBuilder {
        // Hashes of minimum cost, because these tests do not test hashing.
        let cheap = [("PASSWORDS__ARGON2_MEMORY", "8KiB"), ("PASSWORDS__ARGON2_ITERATIONS", "1")];
        let builder = Server::builder(gatewright()).folder(self.path()).args(args);
        cheap
            .into_iter()
            .fold(builder, |builder, (name, value)| builder.env(format!("GATEWRIGHT_{name}"), value))
    }

    fn run(&self, args: &[&str], input: &str) -> Finished {
        self.builder(args).run(input)
    }

    /// Runs a command that must succeed; returns its output.
    #[track_caller]
    fn good(&self, args: &[&str], input: &str) -> String {
        let ended = self.run(args, input);
        assert_eq!(ended.status.code(), Some(0), "{args:?}: {}", ended.stderr);
        ended.stdout
    }

    /// Runs a command that must succeed; returns its JSON output.
    #[track_caller]
    fn json(&self, args: &[&str], input: &str) -> Value {
        let text = self.good(&[&["--json"], args].concat(), input);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Runs a command that must fail with this status; returns the last line of standard error.
    #[track_caller]
    fn bad(&self, status: i32, args: &[&str], input: &str) -> String {
        let ended = self.run(args, input);
        assert_eq!(ended.status.code(), Some(status), "{args:?}: {} {}", ended.stdout, ended.stderr);
        ended.stderr.lines().last().unwrap_or_default().to_owned()
    }
}

const PHRASE: &str = "a fine long phrase\n";
