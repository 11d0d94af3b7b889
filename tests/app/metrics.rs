//! The metrics page after some requests, on both engines: its grammar, its families, and secrets that it must
//! not contain.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::body::Body;
use fixtures::{Engine, Options, TestApp};
use http::{Method, Request, header};
use serde_json::{Value, json};
use testkit::process::{Finished, Server};

/// A configured sink, for the metrics of sinks.
const SINK: (&str, &str) = ("audit.stdout", "true");
/// A Redis that does not answer, for the metrics of Redis.
const REDIS: (&str, &str) = ("redis.url", "redis://127.0.0.1:1");

const CLIENT: &str = "203.0.113.77:4711";
const PASSWORD: &str = "canary-password-7f3a";

/// Every documented family: name, type, labels.
const PROMISED: [(&str, &str, &[&str]); 20] = [
    (
        "http_server_request_duration_seconds",
        "histogram",
        &["http_request_method", "http_route", "http_response_status_code"],
    ),
    ("http_layer_duration_seconds", "histogram", &["layer"]),
    ("auth_operations_total", "counter", &["operation", "outcome"]),
    ("db_pool_connections", "gauge", &["pool", "state"]),
    ("db_pool_wait_seconds", "histogram", &["pool"]),
    ("db_connection_held_seconds", "histogram", &["pool"]),
    ("db_statement_duration_seconds", "histogram", &["statement"]),
    ("password_hash_duration_seconds", "histogram", &["algorithm"]),
    ("password_hash_queue_wait_seconds", "histogram", &[]),
    ("password_hash_queue_depth", "gauge", &[]),
    ("password_hash_shed_total", "counter", &["reason"]),
    ("password_hash_capacity_per_second", "gauge", &["algorithm"]),
    ("audit_events_total", "counter", &["kind"]),
    ("audit_backlog_events", "gauge", &[]),
    ("audit_ship_duration_seconds", "histogram", &[]),
    ("job_runs_total", "counter", &["job", "outcome"]),
    ("job_last_success_timestamp_seconds", "gauge", &["job"]),
    ("legacy_route_requests_total", "counter", &["route"]),
    ("revocation_lag_seconds", "gauge", &[]),
    ("gatewright_build_info", "gauge", &["version"]),
];

type Labels = BTreeMap<String, String>;

/// A family as a scraper reads it.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    help: String,
    samples: Vec<(String, Labels, f64)>,
}

fn is_name(text: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(first) && text.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// Parses `{a="b",c="d"}`; returns the rest of the line and the labels.
fn labels(text: &str) -> (&str, Labels) {
    let Some(mut rest) = text.strip_prefix('{') else { return (text, Labels::new()) };
    let mut labels = Labels::new();
    loop {
        let (name, after) = rest.split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(is_name(name), "{text}");
        let end = after.find('"').unwrap();
        assert!(!after[..end].contains(['\\', '\n']), "a label that would have to be escaped: {text}");
        assert_eq!(labels.insert(name.to_owned(), after[..end].to_owned()), None, "{text}");
        rest = &after[end + 1..];
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (rest.strip_prefix('}').unwrap_or_else(|| panic!("{text}")), labels),
        }
    }
}

/// Parses a page strictly by the text format 0.0.4; families are in the order in which they begin.
fn parse(page: &str) -> Vec<(String, Family)> {
    assert!(page.ends_with('\n') && !page.contains('\r'));
    let mut families: Vec<(String, Family)> = Vec::new();
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (word, name, text) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            assert!(is_name(name) && !text.is_empty(), "{line}");
            match word {
                "HELP" => {
                    assert!(families.iter().all(|(known, _)| known != name), "{name} begins twice");
                    families.push((name.to_owned(), Family { help: text.to_owned(), ..Family::default() }));
                }
                "TYPE" => {
                    let (known, family) = families.last_mut().unwrap();
                    assert!(known == name && family.kind.is_empty() && family.samples.is_empty(), "{line}");
                    assert!(["counter", "gauge", "histogram"].contains(&text), "{line}");
                    text.clone_into(&mut family.kind);
                }
                other => panic!("{other} is not part of the format"),
            }
            continue;
        }
        let end = line.find(['{', ' ']).unwrap_or_else(|| panic!("{line}"));
        let (rest, labels) = labels(&line[end..]);
        let value = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        let (family, last) = families.last_mut().unwrap_or_else(|| panic!("{line}"));
        let suffix =
            line[..end].strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} in {family}"));
        let suffixes: &[&str] = if last.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(suffixes.contains(&suffix), "{line} in {family}");
        let twice = last.samples.iter().any(|(of, with, _)| of == suffix && *with == labels);
        assert!(!twice, "{line} occurs twice");
        last.samples.push((suffix.to_owned(), labels, value));
    }

    families
}

/// Checks that buckets are cumulative and end with the count, that there is a sum, and that counters are not
/// negative.
fn check(name: &str, family: &Family) {
    assert!(!family.kind.is_empty() && family.help.ends_with('.'), "{name}: {family:?}");
    if family.kind == "counter" {
        assert!(name.ends_with("_total") && family.samples.iter().all(|(.., value)| *value >= 0.0), "{name}");
    }
    if family.kind != "histogram" {
        return;
    }

    let mut sets: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
    for (_, labels, value) in family.samples.iter().filter(|(suffix, ..)| suffix == "_bucket") {
        let mut labels = labels.clone();
        let bound: f64 = labels.remove("le").unwrap().parse().unwrap();
        sets.entry(labels).or_default().push((bound, *value));
    }

    for (labels, buckets) in sets {
        let one = |suffix: &str| {
            let found = family.samples.iter().find(|(of, with, _)| of == suffix && *with == labels);
            found.unwrap_or_else(|| panic!("{name}{suffix} of {labels:?}")).2
        };
        let rising = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        assert!(buckets.windows(2).all(rising), "{name} {labels:?}: {buckets:?}");
        let (bound, all) = *buckets.last().unwrap();
        assert!(bound.is_infinite() && (all - one("_count")).abs() < 0.5, "{name} {labels:?}");
        assert!(one("_sum") >= 0.0);
    }
}

async fn send(app: &TestApp, request: http::request::Builder, body: Body) -> (u16, String) {
    let mut request = request.body(body).unwrap();
    request.extensions_mut().insert(CLIENT.parse::<SocketAddr>().unwrap());
    let answer = app.send(request).await;
    (answer.status.as_u16(), answer.text)
}

async fn post(app: &TestApp, path: &str, body: Value) -> (u16, Value) {
    let request = Request::builder().method(Method::POST).uri(path);
    let request =
        request.header(header::CONTENT_TYPE, "application/json").header(header::USER_AGENT, "canary-agent");
    let (status, text) = send(app, request, Body::from(body.to_string())).await;
    (status, serde_json::from_str(&text).unwrap_or_default())
}

/// Some requests; returns values that no label may contain.
async fn flow(app: &TestApp) -> Vec<String> {
    let email = "canary-7f3a@example.org";
    let account = json!({ "email": email, "username": "canary7f3a", "password": PASSWORD, "country": "CH" });
    assert_eq!(post(app, "/api/auth/register", account.clone()).await.0, 201);
    assert_eq!(post(app, "/flutter-register", account).await.0, 400);
    let credentials = |password: &str| json!({ "email": email, "password": password });
    assert_eq!(post(app, "/api/auth/login", credentials("wrong")).await.0, 401);

    let (status, tokens) = post(app, "/api/auth/login", credentials(PASSWORD)).await;
    assert_eq!(status, 200);
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    let (access, refresh) = (word(&tokens["access_token"]), word(&tokens["refresh_token"]));
    let (status, next) = post(app, "/api/v1/auth/refresh", json!({ "refresh_token": refresh })).await;
    assert_eq!(status, 200);

    let me = Request::get("/api/v1/auth/me").header(header::AUTHORIZATION, format!("Bearer {access}"));
    assert_eq!(send(app, me, Body::empty()).await.0, 200);
    assert_eq!(send(app, Request::get("/canary-path?canary=query"), Body::empty()).await.0, 404);
    let newest = word(&next["refresh_token"]);
    assert_eq!(post(app, "/api/v1/auth/logout", json!({ "refresh_token": newest })).await.0, 204);
    for job in ["cleanup", "rotate_signing_keys", "poll_revocations"] {
        app.step(job).await;
    }
    app.settle("learn_hash_mix").await;

    let seen = [email, "canary", PASSWORD, "203.0.113.77", &access, &refresh, &newest];
    seen.into_iter().map(str::to_owned).collect()
}

async fn page_after_a_flow(engine: Engine) -> (String, Vec<String>) {
    let app = TestApp::with(engine, Options::of([SINK, REDIS])).await;
    let seen = flow(&app).await;
    let page = app.operator_get("/metrics").await.expect(200).text;
    app.close().await;
    (page, seen)
}

async fn the_page_is_what_is_promised(engine: Engine) {
    let (page, seen) = page_after_a_flow(engine).await;
    let families = parse(&page);
    for (name, family) in &families {
        check(name, family);
    }

    for (name, kind, labels) in PROMISED {
        let (_, family) =
            families.iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(family.kind, kind, "{name}");
        assert!(!family.samples.is_empty(), "{name} has no sample");
        for (suffix, with, _) in &family.samples {
            let mut wanted: BTreeSet<&str> = labels.iter().copied().collect();
            if suffix == "_bucket" {
                wanted.insert("le");
            }
            assert_eq!(with.keys().map(String::as_str).collect::<BTreeSet<_>>(), wanted, "{name}{suffix}");
        }
    }

    for secret in &seen {
        assert!(!page.contains(secret.as_str()), "{secret} is on the page");
    }
    let at = |line: &str| assert!(page.lines().any(|found| found.starts_with(line)), "{line}\n{page}");
    at("auth_operations_total{operation=\"login\",outcome=\"refused\"} 1");
    at("http_layer_duration_seconds_count{layer=\"handler\"} 7");
    at("http_layer_duration_seconds_count{layer=\"origin\"} 8");
    at("job_runs_total{job=\"cleanup\",outcome=\"done\"} 1");
    at("job_last_success_timestamp_seconds{job=\"rotate_signing_keys\"} 1767225600");
    at("db_statement_duration_seconds_count{statement=\"session.rotate\"} 1");

    at("db_pool_connections{pool=\"requests\",state=\"used\"} 0");
    at("db_pool_connections{pool=\"requests\",state=\"idle\"} 1");
}

#[tokio::test]
async fn the_metrics_page_has_the_documented_metrics_on_sqlite() {
    the_page_is_what_is_promised(Engine::Sqlite).await;
}

#[tokio::test]
async fn the_metrics_page_has_the_documented_metrics_on_postgres() {
    the_page_is_what_is_promised(Engine::Postgres).await;
}

/// A metric of the log's writer, which the application under test does not have.
const OF_THE_LOG: &str = "log_lines_dropped_total";
const RULES: &str = include_str!("../../ops/prometheus/gatewright.rules.yml");

/// Runs promtool in the folder of the rules.
fn promtool(arguments: &[&str], input: &str) -> Finished {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../ops/prometheus");
    Server::builder("promtool").args(arguments).folder(folder).run(input)
}

#[test]
fn each_alert_fires_in_its_case_and_has_a_section_of_what_to_do() {
    for arguments in [
        ["check", "config", "prometheus.yml"].as_slice(),
        &["test", "rules", "gatewright.rules.test.yml", "gatewright.rules.month.test.yml"],
    ] {
        let done = promtool(arguments, "");
        assert!(done.status.success(), "{arguments:?}: {}{}", done.stdout, done.stderr);
    }

    let cases = concat!(
        include_str!("../../ops/prometheus/gatewright.rules.test.yml"),
        include_str!("../../ops/prometheus/gatewright.rules.month.test.yml"),
    );
    let page = include_str!("../../docs/operations/alerts.md");
    let alerts: BTreeSet<&str> =
        RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    for alert in &alerts {
        assert!(cases.contains(&format!("      - alertname: {alert}\n")), "{alert} is never seen to fire");
        let runbook = format!("runbook: docs/operations/alerts.md#{}", alert.to_lowercase());
        assert_eq!(RULES.matches(&format!("{runbook}\n")).count(), 1, "{alert}");
    }
    let sections: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    assert_eq!(sections, alerts);
}

#[tokio::test]
async fn promtool_has_nothing_to_say_about_the_page() {
    let (page, _) = page_after_a_flow(Engine::Sqlite).await;
    let checked = promtool(&["check", "metrics"], &page);
    assert!(checked.status.success() && checked.stderr.is_empty(), "{}{}", checked.stdout, checked.stderr);
}

/// Checks that the alert rules name only metrics of the page.
#[tokio::test]
async fn alert_rules_name_existing_metrics() {
    let (page, _) = page_after_a_flow(Engine::Sqlite).await;
    let families: BTreeSet<String> = parse(&page).into_iter().map(|(name, _)| name).collect();
    let mut named = BTreeSet::new();
    for (at, _) in RULES.match_indices("expr:") {
        let rest = &RULES[at + "expr:".len()..];
        let end =
            ["\n        for:", "\n        labels:"].iter().filter_map(|next| rest.find(next)).min().unwrap();
        // Text in quotes or braces is labels.
        let mut depth = 0_u32;
        let outside = rest[..end].chars().map(|c| {
            depth = if c == '{' { depth + 1 } else { depth };
            let kept = if depth == 0 { c } else { ' ' };
            depth = if c == '}' { depth - 1 } else { depth };
            kept
        });
        let outside: String = outside.collect();
        let words = outside.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        let others = ["histogram_quantile", "exported_job", "http_route", "http_response_status_code"];
        for word in words.filter(|word| word.contains('_') && !others.contains(word)) {
            let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| word.strip_suffix(end));
            let plain = plain.unwrap_or(word);
            let is_there = families.contains(plain) || plain == OF_THE_LOG;
            assert!(is_there, "{plain} is in the rules but not on the page");
            named.insert(plain.to_owned());
        }
    }

    assert!(named.len() >= 11, "{named:?}");
}

/// Random paths, methods and clients make no series.
#[tokio::test]
async fn clients_choose_no_label_of_a_metric() {
    let app = TestApp::start(Engine::Sqlite).await;
    let junk = async |number: usize| {
        app.get(&format!("/random/{number}"), None).await.expect(404);
        let method = Method::from_bytes(format!("M{number}").as_bytes()).unwrap();
        app.call(method, "/docs", None, None).await.expect(405);
        let client = format!("client{number}");
        let form = [("token", "x"), ("client_id", client.as_str()), ("client_secret", "x")];
        app.form("/api/v1/auth/introspect", &form).await.expect(401);
    };
    let series = async || app.operator_get("/metrics").await.expect(200).text.lines().count();

    junk(0).await;
    let before = series().await;
    for number in 1..2_000 {
        junk(number).await;
    }
    assert_eq!(series().await, before);
    app.close().await;
}
