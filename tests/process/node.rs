//! A server process and its client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::{Client, Response};
use testkit::postgres::{Database, Postgres};
use testkit::process::{self, Finished, Server, ServerBuilder};

/// A password that is on no blocklist.
pub(crate) const PASSWORD: &str = "TestPass123!";

/// The folder and the environment of a server.
pub(crate) struct Setup {
    pub(crate) folder: Arc<tempfile::TempDir>,
    pub(crate) env: Vec<(String, String)>,
}

impl Setup {
    /// The embedded database, created at the first start, without other configuration.
    pub(crate) fn sqlite() -> Self {
        Self { folder: Arc::new(tempfile::tempdir().unwrap()), env: Vec::new() }
    }

    /// The migrated database of this URL, with a master key.
    pub(crate) fn postgres(url: &str) -> Self {
        let mut setup = Self::sqlite();
        setup.set("DATABASE__URL", url);
        // The tests share one server and its connections.
        setup.set("DATABASE__POOL_MIN", "1");
        setup.set("DATABASE__POOL_MAX", "12");
        setup.command(&["keys", "init"]);
        setup.command(&["migrate"]);
        setup
    }

    /// Another node with the same database and master key, and its own data directory.
    pub(crate) fn beside(&self) -> Self {
        let mut beside = Self::sqlite();
        beside.env.clone_from(&self.env);
        let key = self.folder.path().join("gatewright-data/master.key");
        beside.set("MASTER_KEY_FILE", key.to_str().unwrap());
        beside
    }

    /// Sets a setting by its environment name without the prefix.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.env.push((format!("GATEWRIGHT_{name}"), value.to_owned()));
    }

    /// Switches the default limits on.
    pub(crate) fn with_default_limits(&mut self) {
        for (name, limit) in [
            ("GLOBAL", "200/minute"),
            ("REGISTER", "5/minute"),
            ("LOGIN", "10/minute"),
            ("REFRESH", "20/minute"),
        ] {
            self.set(&format!("RATE_LIMITS__{name}"), limit);
        }
    }

    /// Runs a command that must succeed; returns its output.
    pub(crate) fn command(&self, arguments: &[&str]) -> String {
        let finished = self.ask(arguments);
        assert!(finished.status.success(), "{arguments:?}: {}{}", finished.stdout, finished.stderr);
        finished.stdout
    }

    /// Runs a command that may fail.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Finished {
        let mut builder = Server::builder(process::gatewright()).args(arguments).folder(self.folder.path());
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        builder.run(PASSWORD)
    }

    /// Runs a shell script to its end; `$0` is the binary.
    pub(crate) fn in_shell(&self, script: &str) -> Finished {
        let mut shell = Server::builder("sh").args(["-c", script]).arg(process::gatewright());
        for (name, value) in &self.env {
            shell = shell.env(name, value);
        }
        shell.folder(self.folder.path()).run("")
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn start(&self) -> Node {
        self.start_on(testkit::free_port())
    }

    /// Starts a server on this port.
    pub(crate) fn start_on(&self, port: u16) -> Node {
        self.serve(port, Server::builder(process::gatewright()))
    }

    /// Starts a server from a shell that has run `script`; `redirections` are its outputs, as the shell
    /// writes them.
    pub(crate) fn start_after(&self, script: &str, redirections: &str) -> Node {
        let script = format!("{script}; exec \"$0\" \"$@\" {redirections}");
        let shell = Server::builder("sh").args(["-c", &script]).arg(process::gatewright());
        self.serve(testkit::free_port(), shell)
    }

    fn serve(&self, port: u16, builder: ServerBuilder) -> Node {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut builder = builder
            .arg("serve")
            .folder(self.folder.path())
            .without_limits()
            .env("GATEWRIGHT_SERVER__LISTEN", address.to_string())
            .env("GATEWRIGHT_SERVER__OPS_LISTEN", "")
            .env("GATEWRIGHT_SERVER__PUBLIC_URL", "http://gatewright.test")
            .env("GATEWRIGHT_SERVER__SHUTDOWN_DELAY", "0s")
            .env("GATEWRIGHT_PASSWORDS__ARGON2_MEMORY", "1MiB")
            .env("GATEWRIGHT_PASSWORDS__ARGON2_ITERATIONS", "1");

        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        let server = builder.ready_when_healthy(address).start();
        Node { server, address, client: Client::new(), _folder: Arc::clone(&self.folder) }
    }
}

/// A new database on the shared server.
pub(crate) fn database() -> Database {
    Postgres::shared().fresh_database()
}

/// A running server.
pub(crate) struct Node {
    pub(crate) server: Server,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    _folder: Arc<tempfile::TempDir>,
}

impl Node {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn v1(&self, name: &str) -> String {
        self.url(&format!("/api/v1/auth/{name}"))
    }

    pub(crate) async fn register(&self, name: &str) -> Response {
        let body = json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD});
        self.client.post_json(&self.v1("register"), &body).await
    }

    pub(crate) async fn log_in(&self, name: &str) -> Response {
        self.client.post_form(&self.v1("token"), &[("username", name), ("password", PASSWORD)]).await
    }

    /// A registration that returns `None` if the server does not answer.
    pub(crate) async fn try_register(&self, name: &str) -> Option<Response> {
        let body = json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD});
        let kind = [("content-type", "application/json")];
        self.client.try_request("POST", &self.v1("register"), &kind, body.to_string()).await.ok()
    }

    /// A login that returns `None` if the server does not answer.
    pub(crate) async fn try_log_in(&self, name: &str) -> Option<Response> {
        let form = testkit::http::form(&[("username", name), ("password", PASSWORD)]);
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        self.client.try_request("POST", &self.v1("token"), &kind, form).await.ok()
    }

    /// Registers and logs in; returns the access and the refresh token.
    pub(crate) async fn member(&self, name: &str) -> (String, String) {
        let registered = self.register(name).await;
        assert_eq!(registered.status, 201, "{}", registered.text());
        pair(&self.log_in(name).await)
    }

    pub(crate) async fn refresh(&self, token: &str) -> Response {
        self.client.post_json(&self.v1("refresh"), &json!({"refresh_token": token})).await
    }

    pub(crate) async fn me(&self, token: &str) -> Response {
        self.client.get_with_token(&self.v1("me"), token).await
    }

    pub(crate) async fn readiness(&self) -> u16 {
        self.client.get(&self.url("/health/readiness")).await.status
    }
}

/// The access and the refresh token of a response.
pub(crate) fn pair(answer: &Response) -> (String, String) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let json: Value = answer.json();
    let token = |name: &str| json[name].as_str().unwrap().to_owned();
    (token("access_token"), token("refresh_token"))
}

/// Repeats `ask` until it returns true; panics after `patience`.
pub(crate) async fn until(patience: Duration, what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + patience;
    while !ask().await {
        assert!(tokio::time::Instant::now() < end, "not within {patience:?}: {what}");
        tokio::task::yield_now().await;
    }
}

/// A number of the short form of a test, or the one of the long form in the environment:
/// `GATEWRIGHT_TEST_` and its name.
#[expect(clippy::disallowed_methods, reason = "the environment selects the long form of the test")]
pub(crate) fn long_form<T: std::str::FromStr>(name: &str, short: T) -> T {
    let long = std::env::var(format!("GATEWRIGHT_TEST_{name}"));
    long.ok().and_then(|text| text.parse().ok()).unwrap_or(short)
}
