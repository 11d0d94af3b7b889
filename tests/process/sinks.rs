//! The audit sinks of a server process besides the database.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use testkit::process::{self, Finished, Server};
use testkit::{Client, Redis};

use crate::node::{Node, PASSWORD, Setup, until};

const PATIENCE: Duration = Duration::from_secs(30);
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The requests that the webhook and the collector received.
#[derive(Clone, Default)]
struct Got {
    hooks: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    logs: Arc<Mutex<Vec<Value>>>,
    keys: Arc<Mutex<BTreeSet<String>>>,
    down: Arc<Mutex<bool>>,
}

/// A receiver for the webhook and the collector.
#[expect(clippy::disallowed_methods, reason = "a test's runtime is the owner of its tasks")]
async fn receiver() -> (String, Got) {
    let (got, listener) = (Got::default(), tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (hooks, logs) = (got.clone(), got.clone());
    let hook = async move |headers: HeaderMap, body: Bytes| {
        if *hooks.down.lock().unwrap() {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        hooks.hooks.lock().unwrap().push((headers, String::from_utf8(body.to_vec()).unwrap()));
        StatusCode::NO_CONTENT
    };
    let log = async move |headers: HeaderMap, body: Bytes| {
        let key = headers.get("x-api-key").map(|key| key.to_str().unwrap().to_owned());
        logs.keys.lock().unwrap().extend(key);
        logs.logs.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
        "{}"
    };
    let router = Router::new().route("/hook", post(hook)).route("/v1/logs", post(log));
    drop(tokio::spawn(async move { axum::serve(listener, router).await }));
    (url, got)
}

impl Setup {
    /// Runs a command, or a server that is expected to end.
    fn finish(&self, arguments: &[&str]) -> Finished {
        let mut builder = Server::builder(process::gatewright()).args(arguments).folder(self.folder.path());
        for (name, value) in &self.env {
            builder = builder.env(name, value);
        }
        builder.run(PASSWORD)
    }

    /// The journal and the sequence of every record in the database.
    fn trail(&self) -> BTreeSet<(String, u64)> {
        let exported = self.finish(&["audit", "export", "--sealed", "--checkpoints"]);
        assert!(exported.status.success(), "{}", exported.stderr);
        places(exported.stdout.lines())
    }
}

fn place(line: &str) -> (String, u64) {
    let value: Value = serde_json::from_str(line).unwrap();
    (value["journal"].as_str().unwrap().to_owned(), value["sequence"].as_u64().unwrap())
}

/// The journals and sequences of lines, which must be unique.
fn places<'a>(lines: impl Iterator<Item = &'a str>) -> BTreeSet<(String, u64)> {
    let mut places = BTreeSet::new();
    for line in lines {
        assert!(places.insert(place(line)), "twice: {line}");
    }
    places
}

/// The lines of the sink on standard output.
fn printed(node: &Node) -> Vec<String> {
    node.server.stdout().lines().filter(|line| line.starts_with("{\"journal\"")).map(str::to_owned).collect()
}

fn hooked(got: &Got) -> Vec<String> {
    got.hooks
        .lock()
        .unwrap()
        .iter()
        .flat_map(|(_, body)| body.lines().map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

fn logged(got: &Got) -> Vec<String> {
    let logs = got.logs.lock().unwrap();
    let records = logs
        .iter()
        .flat_map(|body| body["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap().clone());
    records.map(|record| record["body"]["stringValue"].as_str().unwrap().to_owned()).collect()
}

/// The lines of the Redis stream.
fn streamed(redis: &Redis) -> Vec<String> {
    use std::io::{Read as _, Write as _};
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", redis.port())).unwrap();
    socket.write_all(b"XRANGE trail - +\r\nQUIT\r\n").unwrap();
    let mut text = String::new();
    socket.read_to_string(&mut text).unwrap();
    text.lines().filter(|line| line.starts_with("{\"journal\"")).map(str::to_owned).collect()
}

/// Checks the signature of the first webhook request.
fn is_signed(got: &Got) {
    let (headers, body) = got.hooks.lock().unwrap()[0].clone();
    let header = |name: &str| headers[name].to_str().unwrap();
    let secrets = audit::sinks::WebhookSecrets::parse(SECRET).unwrap();
    let timestamp = header("webhook-timestamp").parse().unwrap();
    let signature = secrets.signature(header("webhook-id"), timestamp, body.as_bytes());
    assert_eq!(header("webhook-signature"), signature);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sink_receives_every_record_also_after_an_outage() {
    let (url, got) = receiver().await;
    let redis = Redis::start();
    let mut setup = Setup::sqlite();
    let secret = setup.folder.path().join("secret");
    testkit::write_secret(&secret, format!("{SECRET}\n"));
    let headers = setup.folder.path().join("headers");
    testkit::write_secret(&headers, "\nX-Api-Key: collector key\n");
    let operations = format!("127.0.0.1:{}", testkit::free_port());
    for (name, value) in [
        ("AUDIT__STDOUT", "true"),
        ("AUDIT__REDIS_STREAM", "trail"),
        ("REDIS__URL", &redis.url()),
        ("AUDIT__WEBHOOK_URL", &format!("{url}/hook")),
        ("AUDIT__WEBHOOK_SECRET_FILE", secret.to_str().unwrap()),
        ("AUDIT__OTLP_ENDPOINT", &url),
        ("AUDIT__OTLP_HEADERS_FILE", headers.to_str().unwrap()),
        ("SERVER__OPS_LISTEN", &operations),
    ] {
        setup.set(name, value);
    }

    let node = setup.start();
    node.member("ada").await;
    setup.command(&["user", "set-role", "ada", "admin"]);
    let metrics = async || Client::new().get(&format!("http://{operations}/metrics")).await.text();
    let journals =
        |trail: &BTreeSet<(String, u64)>| trail.iter().map(|(id, _)| id.clone()).collect::<BTreeSet<_>>();
    let all = async |what: &str, least: usize| {
        until(PATIENCE, what, async || {
            let trail = setup.trail();
            if trail.len() < least || journals(&trail).len() < 2 {
                return false;
            }
            let lines = [printed(&node), hooked(&got), logged(&got), streamed(&redis)];
            lines.iter().all(|lines| places(lines.iter().map(String::as_str)) == trail)
        })
        .await;
    };
    all("every sink has every record once", 4).await;
    assert_eq!(*got.keys.lock().unwrap(), BTreeSet::from(["collector key".to_owned()]));
    let before = setup.trail().len();
    is_signed(&got);

    // The webhook is down: logins succeed, the server is ready, and metrics and one log line report it.
    *got.down.lock().unwrap() = true;
    for _ in 0..3 {
        assert_eq!(node.log_in("ada").await.status, 200);
    }
    until(PATIENCE, "metrics show it", async || {
        let page = metrics().await;
        page.contains("\naudit_sink_failing{sink=\"webhook\"} 1\n")
            && !page.contains("\naudit_sink_backlog_events{sink=\"webhook\"} 0\n")
            && page.contains("\naudit_sink_backlog_events{sink=\"stdout\"} 0\n")
    })
    .await;
    let ready = node.client.get(&node.url("/health/readiness")).await.json();
    assert_eq!(ready["degraded"], Value::Null, "{ready}");
    assert_eq!(node.server.stderr().matches("ship_audit_webhook").count(), 1, "{}", node.server.stderr());
    *got.down.lock().unwrap() = false;
    all("the webhook receives the missed records", before + 3).await;
    until(PATIENCE, "metrics show the end of it", async || {
        metrics().await.contains("\naudit_sink_failing{sink=\"webhook\"} 0\n")
    })
    .await;
    assert!(!node.server.stderr().contains(SECRET) && !metrics().await.contains("ada"));
}

#[test]
fn a_sink_that_cannot_be_used_is_refused_at_the_start_in_one_sentence() {
    let refused = |settings: &[(&str, &str)], why: &str| {
        let mut setup = Setup::sqlite();
        let short = setup.folder.path().join("short");
        testkit::write_secret(&short, "whsec_c2hvcnQ=\n");
        setup.set("SERVER__LISTEN", &format!("127.0.0.1:{}", testkit::free_port()));
        setup.set("SERVER__OPS_LISTEN", "");
        for (name, value) in settings {
            setup.set(name, value);
        }
        let finished = setup.finish(&["serve"]);
        assert_eq!(finished.status.code(), Some(2), "{settings:?}: {}", finished.stderr);
        assert!(finished.stderr.contains(why), "{settings:?}: {}", finished.stderr);
    };

    let url = ("AUDIT__WEBHOOK_URL", "http://127.0.0.1:1/x");
    refused(&[url], "audit.webhook_secret_file is required with it");
    refused(&[url, ("AUDIT__WEBHOOK_SECRET_FILE", "missing")], "it cannot be read");
    refused(&[url, ("AUDIT__WEBHOOK_SECRET_FILE", "short")], "line 1 is not `whsec_` and 24 to 64 bytes");
    refused(&[("AUDIT__WEBHOOK_SECRET_FILE", "short")], "allowed only with audit.webhook_url");
    refused(&[("AUDIT__REDIS_STREAM", "x")], "redis.url is required with it");
    refused(
        &[("AUDIT__REDIS_STREAM", "x"), ("REDIS__URL", "redis://h:port")],
        "it is not of the form redis://",
    );

    refused(&[("AUDIT__OTLP_ENDPOINT", "collector:4318")], "audit.otlp_endpoint");
    let otlp = ("AUDIT__OTLP_ENDPOINT", "http://127.0.0.1:1");
    refused(&[otlp, ("AUDIT__OTLP_HEADERS_FILE", "short")], "line 1 is not a header");
    refused(&[("AUDIT__OTLP_HEADERS_FILE", "short")], "allowed only with audit.otlp_endpoint");
    let tls = [("AUDIT__OTLP_ENDPOINT", "https://localhost:1"), ("AUDIT__SINK_CA_FILE", "short")];
    refused(&tls, "audit.sink_ca_file");
    refused(&[("AUDIT__SINK_TIMEOUT", "1h")], "audit.sink_timeout");
}

/// Copies a data directory that is not in use.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// Records that a sink has kept reveal a truncated journal, in the files and in the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_kept_by_a_sink_reveal_a_truncated_journal() {
    let mut setup = Setup::sqlite();
    setup.set("AUDIT__STDOUT", "true");
    let data: PathBuf = setup.folder.path().join("gatewright-data");

    let mut first = setup.start();
    first.member("ada").await;
    until(PATIENCE, "it is printed, and in the database", async || {
        let (lines, trail) = (printed(&first), setup.trail());
        let is_there = |line: &String| line.contains("login_succeeded") && trail.contains(&place(line));
        lines.iter().any(is_there)
    })
    .await;

    assert!(first.server.terminate().success());
    let before = setup.folder.path().join("before");
    copy(&data, &before);

    // The second server sends the checkpoint that the first one signed at its end.
    let mut second = setup.start();
    assert_eq!(second.log_in("ada").await.status, 200);
    let mut kept = Vec::new();
    until(PATIENCE, "a checkpoint and the login are printed, and all in the database", async || {
        kept = printed(&second);
        let trail = setup.trail();
        let has = |kind: &str| kept.iter().any(|line| line.contains(kind));
        has("audit_checkpoint")
            && has("login_succeeded")
            && kept.iter().all(|line| trail.contains(&place(line)))
    })
    .await;
    assert!(second.server.terminate().success());

    let lines = [printed(&first), kept].concat().join("\n");
    let file = setup.folder.path().join("kept.jsonl");
    let verify = |lines: &str, more: &[&str]| {
        std::fs::write(&file, format!("a line of something else\n{lines}\n")).unwrap();
        let finished =
            setup.finish(&[&["audit", "verify", "--heads", file.to_str().unwrap()], more].concat());
        (finished.status.code(), format!("{}{}", finished.stdout, finished.stderr))
    };

    let foreign =
        format!("{{\"journal\":\"{}\",\"sequence\":7,\"hash\":\"{}\"}}", "ab".repeat(16), "cd".repeat(32));

    for more in [&["--offline"][..], &[], &["--database"]] {
        let (status, text) = verify(&lines, more);
        assert_eq!(status, Some(0), "{text}");
        let (status, text) = verify(&lines.replacen("\"signature\":\"", "\"signature\":\"AAAA", 1), more);
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains("the signature is wrong"), "{text}");
        assert_eq!(verify("", more).0, Some(1));
        // Only the database must contain the journals of other nodes.
        let (status, text) = verify(&format!("{lines}\n{foreign}"), more);
        let is_missing = more == ["--database"];
        assert_eq!(status, Some(i32::from(is_missing)), "{text}");
        assert_eq!(text.contains("nothing of its journal is there"), is_missing, "{text}");
    }

    // The restored directory is consistent and signed, but its end is missing.
    std::fs::remove_dir_all(&data).unwrap();
    copy(&before, &data);
    for more in [&["--offline"][..], &[], &["--database"]] {
        let finished = setup.finish(&[&["audit", "verify"], more].concat());
        assert!(finished.status.success(), "the directory alone does not reveal it: {}", finished.stderr);
        let (status, text) = verify(&lines, more);
        assert_eq!(status, Some(1), "{text}");
        assert!(text.contains("the tail was cut; record"), "{text}");
        let is_hinted = text.contains("was cut off, or has not come from the node yet");
        assert_eq!(is_hinted, more == ["--database"], "{text}");
    }
}
