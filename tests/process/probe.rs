//! `gatewright probe refresh` against the built server, with other settings, and against other dialects.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use testkit::process::{self, Finished, Server};

use crate::node::{PASSWORD, Setup};

/// Runs the command with JSON as output.
async fn probe(arguments: &[&str]) -> (Finished, Value) {
    let probe = Server::builder(process::gatewright()).args(["--json", "probe", "refresh"]).args(arguments);
    let finished = tokio::task::spawn_blocking(|| probe.run(PASSWORD)).await.unwrap();
    let report = serde_json::from_str(&finished.stdout).unwrap_or_default();
    (finished, report)
}

/// The names of the scenarios with this outcome.
fn with_outcome<'a>(report: &'a Value, outcome: &str) -> Vec<&'a str> {
    let scenarios = report["scenarios"].as_array().unwrap().iter();
    let found = scenarios.filter(|scenario| scenario["outcome"] == outcome);
    found.map(|scenario| scenario["scenario"].as_str().unwrap()).collect()
}

const CONTROLLED: [&str; 3] = ["clock-skew", "several-nodes", "restored-database"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_scenario_of_the_probe_signs_an_honest_client_out_and_thefts_are_caught() {
    // Given a server with its default settings.
    let setup = Setup::sqlite();
    let node = setup.start();

    // When the probe registers a user of its own, then every scenario passes.
    let (finished, report) = probe(&["--url", &node.url("")]).await;
    assert_eq!(finished.status.code(), Some(0), "{report:#}{}", finished.stderr);
    assert_eq!(with_outcome(&report, "passed").len(), 11, "{report:#}");
    assert_eq!(with_outcome(&report, "needs control"), CONTROLLED);

    // Then its user is erased.
    let users = setup.command(&["--json", "user", "list"]);
    assert!(!users.contains("probe-"), "{users}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_every_late_replay_for_theft_fails_the_probe() {
    let mut setup = Setup::sqlite();
    setup.set("TOKENS__REFRESH_REUSE", "revoke");
    setup.set("TOKENS__REFRESH_GRACE", "1s");
    let node = setup.start();
    let only = ["--only", "lost-answer", "--only", "late-retry", "--only", "suspended-phone"];
    let (finished, report) = probe(&[&["--url", &node.url(""), "--grace", "1"], &only[..]].concat()).await;
    assert_eq!(finished.status.code(), Some(1), "{report:#}");
    assert_eq!(with_outcome(&report, "failed"), ["late-retry", "suspended-phone"], "{report:#}");
    assert_eq!(with_outcome(&report, "passed"), ["lost-answer"], "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_waits_where_the_server_limits_logins() {
    let mut setup = Setup::sqlite();
    setup.set("RATE_LIMITS__LOGIN", "1/second");
    let node = setup.start();
    let (finished, report) = probe(&["--url", &node.url(""), "--quick"]).await;
    assert_eq!(finished.status.code(), Some(0), "{report:#}{}", finished.stderr);
    assert_eq!(with_outcome(&report, "passed").len(), 3, "{report:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_speaks_oauth_and_quick_leaves_out_what_waits() {
    // Given a server with metadata, and a user.
    let (mut setup, port) = (Setup::sqlite(), testkit::free_port());
    setup.set("SERVER__PUBLIC_URL", &format!("http://127.0.0.1:{port}"));
    let node = setup.start_on(port);
    assert_eq!(node.register("ann").await.status, 201);
    let url = node.url("");
    let user = ["--email", "ann@example.com", "--password-file", "-"];
    let oauth = [&["--url", &url, "--dialect", "oauth", "--quick"], &user[..]].concat();

    // Then its token endpoint is found, and what needs no wait passes.
    let (finished, report) = probe(&oauth).await;
    assert_eq!(finished.status.code(), Some(0), "{report:#}{}", finished.stderr);
    assert_eq!(with_outcome(&report, "passed"), ["two-tabs", "lost-answer", "three-lost-answers"]);
    assert_eq!(with_outcome(&report, "left out").len(), 8, "{report:#}");

    // Then a refused login, an unknown scenario and a server that is not there are told apart.
    for (arguments, status, why) in [
        (["--email", "ann@example.org", "--password-file", "-"], 2, "the login is answered 401"),
        (["--email", "ann@example.com", "--only", "theft"], 2, "there is no scenario `theft`"),
        (["--url", "ftp://127.0.0.1", "--email", "ann@example.com"], 2, "--url"),
        (["--url", "http://127.0.0.1:1", "--dialect", "oauth"], 1, "127.0.0.1:1"),
    ] {
        let url: &[&str] = if arguments.contains(&"--url") { &[] } else { &["--url", &url] };
        let (finished, _) = probe(&[url, &arguments].concat()).await;
        assert_eq!(finished.status.code(), Some(status), "{arguments:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(why), "{arguments:?}: {}", finished.stderr);
    }
}

/// A server with GoTrue's routes that ends a session when any token comes twice.
#[derive(Default)]
struct Strict {
    /// The session of each token, and whether it was used.
    tokens: HashMap<String, (usize, bool)>,
    ended: Vec<usize>,
    sessions: usize,
}

type Shared = Arc<Mutex<Strict>>;

impl Strict {
    fn issue(&mut self, session: usize) -> (StatusCode, Json<Value>) {
        let token = format!("token {}", self.tokens.len());
        self.tokens.insert(token.clone(), (session, false));
        (StatusCode::OK, Json(json!({"access_token": format!("of {token}"), "refresh_token": token})))
    }
}

async fn token(
    State(shared): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> (StatusCode, Json<Value>) {
    let mut strict = shared.lock().unwrap();
    assert_eq!(headers["apikey"], "the key");

    if uri.query() == Some("grant_type=password") {
        strict.sessions += 1;
        let session = strict.sessions;
        return strict.issue(session);
    }
    let sent = body["refresh_token"].as_str().unwrap();
    let (session, used) = strict.tokens[sent];
    if used || strict.ended.contains(&session) {
        strict.ended.push(session);
        let body = json!({"code": 400, "error_code": "refresh_token_already_used"});
        return (StatusCode::BAD_REQUEST, Json(body));
    }
    strict.tokens.insert(sent.to_owned(), (session, true));
    strict.issue(session)
}

#[expect(clippy::disallowed_methods, reason = "a test's runtime is the owner of its tasks")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_probe_speaks_gotrue_and_finds_a_server_that_ends_sessions_of_honest_clients() {
    let router = Router::new()
        .route("/auth/v1/signup", post(async || Json(json!({}))))
        .route("/auth/v1/token", post(token))
        .route("/auth/v1/user", get(async || Json(json!({}))))
        .with_state(Shared::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/auth/v1/", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await });
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    std::fs::write(&key, "the key\n").unwrap();

    let key = ["--api-key-file", key.to_str().unwrap(), "--grace", "0"];
    let (finished, report) = probe(&[&["--url", &url, "--dialect", "gotrue"], &key[..]].concat()).await;
    assert_eq!(finished.status.code(), Some(1), "{report:#}{}", finished.stderr);
    let caught = ["theft-of-a-used-token", "theft-of-the-newest-token"];
    assert_eq!(with_outcome(&report, "passed"), caught, "{report:#}");
    assert_eq!(with_outcome(&report, "failed").len(), 9, "{report:#}");
    let first = &report["scenarios"][0]["what"];
    assert!(first.as_str().unwrap().contains("400 refresh_token_already_used"), "{first}");
}
