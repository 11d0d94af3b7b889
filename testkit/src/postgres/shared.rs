//! One server for many tests, each in its own database.

use std::sync::Arc;

use super::client;
use super::server::Postgres;
use crate::random;

const VARIABLE: &str = "GATEWRIGHT_TEST_POSTGRES";

/// A server that other tests may also use: create a separate database, and do not pause or kill it.
#[derive(Debug)]
pub struct SharedPostgres {
    url: String,
    /// Held for its `Drop`.
    own: Option<Arc<Postgres>>,
}

impl SharedPostgres {
    pub(super) fn from_environment() -> Self {
        if let Ok(url) = std::env::var(VARIABLE) {
            return Self { url, own: None };
        }
        let own = Postgres::start();
        Self { url: own.url(), own: Some(Arc::new(own)) }
    }

    /// The URL of the server's own database. The user there may create databases.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A new empty database with a unique name; dropped with the handle.
    pub fn fresh_database(&self) -> Database {
        let name = random::name("gw");
        run(&self.url, &format!("CREATE DATABASE {}", client::quoted(&name)));
        let url = client::with_database(&self.url, &name);
        Database { url, server: self.url.clone(), name, _own: self.own.clone() }
    }
}

/// A database of one test.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    url: String,
    /// Declared last: the handle's `Drop` needs it.
    _own: Option<Arc<Postgres>>,
}

impl Database {
    /// Where to connect, as the user of the server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name, for callers that need no URL.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Best effort: a server of this test alone is removed as a whole.
        let statement = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", client::quoted(&self.name));
        drop(client::rows(&self.server, &statement));
    }
}

fn run(url: &str, sql: &str) {
    if let Err(error) = client::rows(url, sql) {
        panic!("{sql}: {error}");
    }
}
