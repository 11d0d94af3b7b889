//! A-41: text in logged or audited fields cannot add a line or a record.

use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::http::Response;
use testkit::process::Signal;
use testkit::raw::RawConnection;

use crate::node::{Node, Setup, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// Texts that try to forge a line or a record, or to control a terminal.
fn evil() -> Vec<String> {
    let record = r#"{"v":1,"kind":"login_succeeded","user":"forged","via":"http","request_id":"forged"}"#;
    let line =
        r#"{"timestamp":"2026-01-01T00:00:00Z","level":"INFO","message":"request","request_id":"forged"}"#;
    vec![
        format!("x\r\n{record}\r\n{line}\r\n"),
        format!("x\n2026-01-01T00:00:00Z  INFO forged: request\n{line}\n"),
        "\u{1b}[2J\u{1b}[1;31mforged\u{1b}]0;forged\u{7}\u{8}\u{8}".to_owned(),
        format!("x\u{2028}{record}\u{2029}\u{85}{line}"),
        "\u{202e}degrof\u{200b}\u{feff}".to_owned(),
        "x\0forged\u{7f}\u{9b}31m".to_owned(),
        format!("\"}},{record},{{\"x\":\""),
        record.to_owned(),
        "f".repeat(64 << 10),
    ]
}

/// Sends raw bytes; returns `None` without an HTTP response.
async fn send(node: &Node, head: &str, headers: &[(&str, &[u8])], body: &str) -> Option<Response> {
    // Each from a network of its own, so that no event is only counted.
    static SENT: AtomicU16 = AtomicU16::new(0);
    let [high, low] = SENT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let mut bytes = format!("{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("X-Forwarded-For: 10.0.{high}.{low}\r\n").as_bytes());
    bytes.extend_from_slice(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    let mut socket = RawConnection::open(node.address).await;
    // The server may close the connection before the whole request is sent.
    let _ = socket.send(&bytes).await;
    socket.response().await.ok()
}

/// Sends every text in every field of every route; returns the ids of all answers and of those with an event.
async fn attack(node: &Node) -> (Vec<String>, Vec<String>) {
    let (mut answered, mut owed) = (Vec::new(), Vec::new());
    let (form, object) = ("application/x-www-form-urlencoded", "application/json");

    for word in evil() {
        let short: String = word.chars().take(12 << 10).collect();
        let form_body = testkit::http::form(&[("username", &word), ("password", &word)]);
        let register = json!({"email": format!("{word}@example.org"), "username": word, "password": word});
        let cut = json!({"email": "a@example.org", "username": short, "password": "password123"});
        let login = json!({"email": word, "password": word});
        let refresh = json!({"refresh_token": word});

        for (route, kind, body) in [
            ("POST /api/v1/auth/token", form, form_body.as_str()),
            ("POST /api/v1/auth/register", object, &register.to_string()),
            ("POST /api/v1/auth/register", object, &cut.to_string()),
            ("POST /api/auth/login", object, &login.to_string()),
            ("POST /api/v1/auth/refresh", object, &refresh.to_string()),
            ("GET /x%0d%0aforged%1b[31m?forged%0a", object, ""),
        ] {
            for field in
                ["User-Agent", "X-Request-Id", "Traceparent", "X-Forwarded-For", "Authorization", "Origin"]
            {
                let headers = [("Content-Type", kind.as_bytes()), (field, short.as_bytes())];
                let Some(answer) = send(node, route, &headers, body).await else { continue };
                assert!(answer.status < 500, "{route} {field}: {}", answer.text());
                let Some(id) = answer.header("x-request-id") else { continue };
                answered.push(id.to_owned());
                // A request that is too long or malformed has no event.
                let tried = matches!(answer.status, 401 | 422) && route.starts_with("POST");
                owed.extend(tried.then(|| id.to_owned()));
            }
        }
    }

    answered.sort();
    owed.sort();
    assert!(answered.len() > 100 && owed.len() > 50, "{} {}", answered.len(), owed.len());
    (answered, owed)
}

fn has_control(text: &str) -> bool {
    text.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}'))
}

fn ids(all: &[Value]) -> Vec<String> {
    let mut ids: Vec<_> =
        all.iter().filter_map(|one| one["request_id"].as_str().map(str::to_owned)).collect();
    ids.sort();
    ids
}

/// A server behind a trusted proxy, which may set the request id.
fn setup(format: &str) -> Setup {
    let mut setup = Setup::sqlite();
    setup.set("SERVER__TRUSTED_PROXIES", "127.0.0.0/8");
    setup.set("TELEMETRY__LOG_FORMAT", format);
    setup.set("TELEMETRY__LOG_LEVEL", "trace");
    setup
}

fn stop(node: &mut Node) -> String {
    node.server.signal(Signal::TERM);
    assert!(node.server.wait().success());
    node.server.stderr()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_line_of_json_and_one_record() {
    let setup = setup("json");
    let mut node = setup.start();
    let (answered, owed) = attack(&node).await;
    let last = owed.len();
    let read = |arguments: &[&str]| setup.command(&[&["audit", "tail", "-n", "10000"], arguments].concat());
    until(PATIENCE, "all events are in the database", async || {
        let all: Vec<Value> =
            read(&["--json"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        all.iter().filter(|event| event["via"] == "http").count() >= last
    })
    .await;
    let log = stop(&mut node);

    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line:?}"))).collect();
    assert!(!has_control(&log));
    let requests = lines.iter().filter(|line| line["message"] == "request");
    let ours: Vec<Value> =
        requests.filter(|line| !line["route"].as_str().unwrap().starts_with("/health")).cloned().collect();
    assert_eq!(ids(&ours), answered, "one line per request");

    let place = setup.folder.path().join("gatewright-data/audit/journal");
    let mut reader = journal::Reader::open(&place);
    let mut records = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if record.kind == journal::Kind::Data {
            let text = std::str::from_utf8(record.payload).unwrap();
            assert!(!has_control(text) && !text.contains('\n'), "{text:?}");
            assert!(text.len() < 2048, "{} bytes", text.len());
            records.push(serde_json::from_str::<Value>(text).unwrap());
        }
    }
    let of_http: Vec<Value> = records.into_iter().filter(|event| event["via"] == "http").collect();
    assert_eq!(ids(&of_http), owed, "one record per attempt");
    assert!(of_http.iter().all(|event| event["kind"] != "login_succeeded" && event["user"] != "forged"));

    let (programs, people) = (read(&["--json", "--kind", "login_failed"]), read(&["--kind", "login_failed"]));
    let failed = of_http.iter().filter(|event| event["kind"] == "login_failed").count();
    assert_eq!((programs.lines().count(), people.lines().count()), (failed, failed));
    for text in [&programs, &people] {
        assert!(!has_control(text), "{text:?}");
    }
    let table = setup.command(&["audit", "export", "--format", "csv", "--kind", "login_failed"]);
    assert_eq!(table.lines().count(), failed + 1, "one row per event, and the header");
    assert!(!has_control(&table.replace("\r\n", "\n")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_line_of_the_pretty_log() {
    let mut node = setup("pretty").start();
    let (answered, _) = attack(&node).await;
    let log = stop(&mut node);

    assert!(!has_control(&log));
    let begins =
        |line: &str| line.starts_with("20") && line.split_once(' ').is_some_and(|(at, _)| at.ends_with('Z'));
    for line in log.lines() {
        assert!(begins(line), "{line:?}");
    }
    let is_request = |line: &&str| line.contains(": request ") && !line.contains("route=\"/health");
    assert_eq!(log.lines().filter(is_request).count(), answered.len(), "one line per request");
}
