//! Limits of requests and of failed logins, at their boundaries.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use auth::account;
use auth::limits::{Limit, LimitSettings, Rule};
use axum::body::Body;
use fixtures::{Answer, Engine, Options, TestApp, on_both};
use http::{Method, Request, header};
use serde_json::{Value, json};

use crate::api_calls::{PASSWORD, Pair, add_client, find, me, path, refresh, register, try_refresh};

const MINUTE: Duration = Duration::from_mins(1);
const MILLISECOND: Duration = Duration::from_millis(1);
const OWNER: &str = "192.0.2.1";
const STRANGER: &str = "198.51.100.7";

/// The default limits, and no other.
fn only(choose: impl Fn(&mut LimitSettings, LimitSettings)) -> LimitSettings {
    let mut settings = LimitSettings::OFF;
    choose(&mut settings, LimitSettings::default());
    settings
}

async fn send(app: &TestApp, from: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if body.is_some() {
        request = request.header(header::CONTENT_TYPE, "application/json");
    }
    let body = body.map_or(Body::empty(), |body| Body::from(body.to_string()));
    let mut request = request.body(body).unwrap();
    let peer: IpAddr = from.parse().unwrap();
    request.extensions_mut().insert(SocketAddr::from((peer, 40_000)));
    app.send(request).await
}

async fn log_in_as(app: &TestApp, from: &str, name: &str, password: &str) -> Answer {
    let form = format!("username={name}&password={password}");
    let mut request = Request::post(path("token"))
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(header::USER_AGENT, "app/1")
        .body(Body::from(form))
        .unwrap();
    let peer: IpAddr = from.parse().unwrap();
    request.extensions_mut().insert(SocketAddr::from((peer, 40_000)));
    app.send(request).await
}

async fn try_register(app: &TestApp, from: &str, name: &str) -> Answer {
    let body = json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD});
    send(app, from, Method::POST, &path("register"), Some(body)).await
}

async fn try_refresh_from(app: &TestApp, from: &str, token: &str) -> Answer {
    send(app, from, Method::POST, &path("refresh"), Some(json!({"refresh_token": token}))).await
}

/// The seconds of `Retry-After`.
fn retry_after(answer: &Answer) -> u64 {
    answer.header("retry-after").parse().unwrap()
}

fn last_failure(app: &TestApp) -> Value {
    let failed = app.events().into_iter().rev().find(|entry| entry.event.kind() == "login_failed");
    serde_json::to_value(&failed.unwrap().event).unwrap()
}

on_both! {
    the_sixth_registration_of_a_minute_waits_as_long_as_it_is_told,
    the_twenty_first_refresh_of_a_session_waits,
    wrong_passwords_of_strangers_do_not_delay_the_user,
    failures_delay_an_account_that_does_not_exist_alike,
    after_a_hundred_failures_the_password_works_only_from_known_networks,
    a_success_disregards_earlier_failures,
}

async fn the_sixth_registration_of_a_minute_waits_as_long_as_it_is_told(app: &TestApp) {
    app.services.limits.set(only(|to, from| to.register = from.register));
    for n in 1..=5 {
        let answer = try_register(app, OWNER, &format!("user{n}")).await.expect(201);
        assert_eq!(answer.header("ratelimit-policy"), "\"register\";q=5;w=60");
        assert!(answer.header("ratelimit").starts_with(&format!("\"register\";r={};t=", 5 - n)));
        app.clock.advance(Duration::from_secs(2));
    }

    let refused = try_register(app, OWNER, "user6").await.expect_problem(429, "rate_limited");
    assert_eq!(retry_after(&refused), 50);
    assert_eq!(refused.header("ratelimit"), "\"register\";r=0;t=50");
    try_register(app, STRANGER, "user7").await.expect(201);

    app.clock.advance(Duration::from_millis(49_999));
    try_register(app, OWNER, "user6").await.expect_problem(429, "rate_limited");
    app.clock.advance(MILLISECOND);
    try_register(app, OWNER, "user6").await.expect(201);
}

async fn the_twenty_first_refresh_of_a_session_waits(app: &TestApp) {
    register(app, "alice").await;
    let first = Pair::from(&log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200));
    let mut pair = first.clone();
    let other = Pair::from(&log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200));
    app.services.limits.set(LimitSettings::default());

    for _ in 0..20 {
        pair = refresh(app, &pair.refresh).await;
    }
    let refused = try_refresh(app, &pair.refresh).await.expect_problem(429, "rate_limited");
    assert_eq!(retry_after(&refused), 60);
    refresh(app, &other.refresh).await;

    // Tokens that were never issued count by network, and do not stop a session of that network.
    for _ in 0..20 {
        try_refresh(app, "gwr_unknown").await.expect_problem(401, "refresh_refused");
    }
    try_refresh(app, "gwr_unknown").await.expect_problem(429, "rate_limited");
    refresh(
        app,
        &refresh(app, &log_in_as(app, OWNER, "alice", PASSWORD).await.string("refresh_token")).await.refresh,
    )
    .await;

    app.clock.advance(MINUTE);
    refresh(app, &pair.refresh).await;
}

async fn wrong_passwords_of_strangers_do_not_delay_the_user(app: &TestApp) {
    register(app, "alice").await;
    log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200);
    app.services.limits.set(only(|to, from| to.account_login = from.account_login));

    for n in 1..=5 {
        log_in_as(app, &format!("198.51.100.{n}"), "alice", "wrong").await.expect(401);
    }
    let mut waited = Vec::new();
    for n in 6..=12 {
        let refused = log_in_as(app, &format!("198.51.100.{n}"), "alice", PASSWORD).await;
        waited.push(retry_after(&refused.expect_problem(429, "rate_limited")));
        app.clock.advance(Duration::from_secs(*waited.last().unwrap()));
        log_in_as(app, &format!("198.51.100.{n}"), "ALICE@example.com", "wrong").await.expect(401);
        log_in_as(app, &format!("198.51.100.{n}"), "Alice", "wrong").await.expect(401);
    }
    assert_eq!(waited, [1, 2, 4, 8, 16, 30, 30]);
    assert_eq!(last_failure(app)["reason"], "wrong_password");

    // The network of the user has a budget of its own.
    log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200);
    log_in_as(app, STRANGER, "alice", PASSWORD).await.expect_problem(429, "rate_limited");
    assert_eq!(last_failure(app)["reason"], "limited");
}

async fn failures_delay_an_account_that_does_not_exist_alike(app: &TestApp) {
    register(app, "alice").await;
    app.services.limits.set(only(|to, from| to.account_login = from.account_login));
    let mut told = Vec::new();
    for name in ["alice", "unknown"] {
        let mut answers = Vec::new();
        for _ in 0..7 {
            let answer = log_in_as(app, STRANGER, name, "wrong").await;
            answers.push((
                answer.status,
                answer.json()["detail"].clone(),
                answer.headers.get("retry-after").cloned(),
            ));
        }
        told.push(answers);
    }
    assert_eq!(told[0], told[1]);
    assert_eq!(told[0][5].0, 429);
}

async fn after_a_hundred_failures_the_password_works_only_from_known_networks(app: &TestApp) {
    register(app, "alice").await;
    let session = Pair::from(&log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200));
    app.services.limits.set(only(|to, from| to.account_login = from.account_login));
    for n in 0..100 {
        app.clock.advance(Duration::from_mins(15));
        log_in_as(app, &format!("198.51.100.{n}"), "alice", "wrong").await.expect(401);
        if n == 50 {
            app.settle("store_logins").await;
        }
    }
    app.clock.advance(Duration::from_mins(15));

    // The right password looks like a wrong one, before and after the failures are stored.
    log_in_as(app, STRANGER, "alice", PASSWORD).await.expect_problem(401, "invalid_credentials");
    assert_eq!(last_failure(app)["reason"], "closed");
    app.settle("store_logins").await;
    log_in_as(app, STRANGER, "alice", PASSWORD).await.expect_problem(401, "invalid_credentials");

    // Known: the session, and the network.
    let access = refresh(app, &session.refresh).await.access;
    let change = json!({"current_password": PASSWORD, "new_password": "another fine one"});
    app.post(&path("password"), Some(&access), change).await.expect(200);

    // A change of the password is a reset.
    log_in_as(app, STRANGER, "alice", "another+fine+one").await.expect(200);
}

async fn a_success_disregards_earlier_failures(app: &TestApp) {
    register(app, "alice").await;
    log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200);
    app.services.limits.set(only(|to, from| to.account_login = from.account_login));
    for stored in [true, false, true] {
        for n in 0..99 {
            app.clock.advance(Duration::from_mins(15));
            log_in_as(app, &format!("198.51.100.{n}"), "alice", "wrong").await.expect(401);
        }
        if stored {
            app.settle("store_logins").await;
        }
        app.clock.advance(Duration::from_mins(15));
        log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200);
    }
    log_in_as(app, STRANGER, "alice", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn a_known_network_ends_after_90_days_and_with_the_user() {
    let app = &TestApp::start(Engine::Postgres).await;
    let known_networks = |app: &TestApp| {
        let counted =
            testkit::postgres::rows(&app.database.url, "SELECT count(*) FROM gatewright.known_networks");
        counted.unwrap()[0][0].clone().unwrap()
    };
    register(app, "alice").await;
    log_in_as(app, OWNER, "alice", PASSWORD).await.expect(200);
    app.settle("store_logins").await;
    assert_eq!(known_networks(app), "2", "that of the registration, and that of the login");
    let user = find(app, "alice").await;
    app.operate(async |ctx| account::delete(ctx, &user).await.unwrap()).await;
    assert_eq!(known_networks(app), "0");

    register(app, "bob").await;
    log_in_as(app, OWNER, "bob", PASSWORD).await.expect(200);
    log_in_as(app, STRANGER, "bob", PASSWORD).await.expect(200);
    app.settle("store_logins").await;
    app.clock.advance(Duration::from_hours(80 * 24));
    log_in_as(app, OWNER, "bob", PASSWORD).await.expect(200);
    app.settle("store_logins").await;
    app.clock.advance(Duration::from_hours(11 * 24));
    app.settle("cleanup").await;
    assert_eq!(known_networks(app), "1", "that of the last 90 days stays");
}

#[tokio::test]
async fn health_checks_keys_and_refreshes_do_not_count_and_everything_else_does() {
    let app = TestApp::start(Engine::Sqlite).await;
    register(&app, "alice").await;
    let mut pair = Pair::from(&log_in_as(&app, OWNER, "alice", PASSWORD).await);
    app.services.limits.set(only(|to, _| to.global = Some(Rule { most: 3, window: MINUTE })));

    for _ in 0..5 {
        for uncounted in
            ["/health/liveness", "/health/readiness", "/health/startup", "/.well-known/jwks.json"]
        {
            let answer = send(&app, OWNER, Method::GET, uncounted, None).await.expect(200);
            assert!(!answer.headers.contains_key("ratelimit"));
        }
        pair = refresh(&app, &pair.refresh).await;
    }
    send(&app, OWNER, Method::GET, "/no/such/path", None).await.expect_problem(404, "not_found");
    let wrong_method = send(&app, OWNER, Method::DELETE, &path("token"), None).await;
    assert_eq!(wrong_method.expect_problem(405, "method_not_allowed").header("allow"), "POST");
    send(&app, OWNER, Method::GET, &path("me"), None).await.expect(401);

    for (method, path) in
        [(Method::GET, path("me")), (Method::GET, "/no/such/path".to_owned()), (Method::PUT, path("token"))]
    {
        send(&app, OWNER, method, &path, None).await.expect_problem(429, "rate_limited");
    }
    send(&app, STRANGER, Method::GET, &path("me"), None).await.expect(401);
    send(&app, OWNER, Method::GET, "/health/liveness", None).await.expect(200);
    app.close().await;
}

#[tokio::test]
async fn calls_of_a_client_with_right_credentials_do_not_count() {
    let app = TestApp::start(Engine::Sqlite).await;
    let secret = add_client(&app, "api").await;
    app.services.limits.set(only(|to, _| to.global = Some(Rule { most: 2, window: MINUTE })));
    let introspect = async |secret: &str| {
        let form = [("token", "x"), ("client_id", "api"), ("client_secret", secret)];
        app.form(&path("introspect"), &form).await
    };

    for _ in 0..3 {
        introspect(secret.expose()).await.expect(200);
    }
    introspect("wrong").await.expect(401);
    introspect("wrong").await.expect(401);
    introspect("wrong").await.expect(429);
    introspect(secret.expose()).await.expect(200);
    app.close().await;
}

#[tokio::test]
async fn refused_calls_of_uncounted_operations_count() {
    let app = TestApp::start(Engine::Sqlite).await;
    app.services.limits.set(only(|to, _| to.global = Some(Rule { most: 2, window: MINUTE })));
    let bad = [json!({}), json!({"refresh_token": 1}), json!({"refresh_token": "x"}), json!([])];
    let mut statuses = Vec::new();
    for body in bad {
        let answer = send(&app, OWNER, Method::POST, &path("refresh"), Some(body)).await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [422, 422, 429, 429]);
    app.close().await;
}

#[tokio::test]
async fn a_legacy_route_that_is_not_served_counts() {
    let app = TestApp::with(Engine::Sqlite, Options::of([("legacy.enabled", "false")])).await;
    app.services.limits.set(only(|to, _| to.global = Some(Rule { most: 2, window: MINUTE })));
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = send(&app, OWNER, Method::POST, "/flutter-login", Some(json!({}))).await;
        statuses.push(answer.status.as_u16());
    }
    assert_eq!(statuses, [410, 410, 429]);
    app.close().await;
}

#[tokio::test]
async fn a_limit_with_another_window_counts_anew() {
    let app = TestApp::start(Engine::Sqlite).await;
    let limit = |window| only(|to, _| to.global = Some(Rule { most: 1, window }));
    let status = async || send(&app, OWNER, Method::GET, "/docs", None).await.status.as_u16();
    app.services.limits.set(limit(Duration::from_hours(1)));
    assert_eq!([status().await, status().await], [200, 429]);
    app.services.limits.set(limit(MINUTE));
    assert_eq!([status().await, status().await], [200, 429]);
    app.clock.advance(MINUTE);
    assert_eq!(status().await, 200);
    app.close().await;
}

/// What one client can write in a minute, and afterwards, without an account.
#[tokio::test]
async fn junk_of_one_network_leaves_few_records_and_hides_nothing_about_a_user() {
    let app = TestApp::start(Engine::Sqlite).await;
    register(&app, "alice").await;
    app.services.limits.set(LimitSettings::default());
    for n in 0..5_000 {
        try_refresh_from(&app, STRANGER, &format!("gwr_junk{n}")).await;
        send(&app, STRANGER, Method::POST, &path("introspect"), Some(json!({}))).await;
        send(&app, STRANGER, Method::POST, &path("register"), Some(json!({"email": n}))).await;
        log_in_as(&app, STRANGER, &format!("unknown{n}"), "wrong").await;
        if n % 1_000 == 0 {
            log_in_as(&app, OWNER, "alice", "wrong").await.expect(401);
        }
    }
    app.clock.advance(MINUTE);
    app.settle("record_repeated").await;

    let records = app.close_and_read_journal().await;
    let of_kind = |kind: &str| records.iter().filter(|record| record["kind"] == kind).collect::<Vec<_>>();
    let of_alice = of_kind("login_failed").into_iter().filter(|record| !record["user"].is_null()).count();
    assert_eq!(of_alice, 5);
    assert!(records.len() < 40, "{}", records.len());
    let repeated: u64 =
        of_kind("events_repeated").iter().map(|record| record["count"].as_u64().unwrap()).sum();
    assert!(repeated > 14_000, "{repeated}");
}

#[tokio::test]
async fn a_stranger_with_ten_thousand_guesses_from_a_thousand_networks_delays_no_user() {
    let app = TestApp::start(Engine::Sqlite).await;
    register(&app, "alice").await;
    log_in_as(&app, OWNER, "alice", PASSWORD).await.expect(200);
    app.services.limits.set(LimitSettings::default());
    let begun = app.services.hasher.counts().totals().begun;
    for n in 0..10_000_u32 {
        let from = format!("198.18.{}.{}", n % 1_000 / 250, n % 250);
        let status = log_in_as(&app, &from, "alice", "wrong").await.status;
        assert!(status == 401 || status == 429, "{status}");
    }
    assert_eq!(app.services.hasher.counts().totals().begun - begun, 5, "passwords that were checked");
    log_in_as(&app, OWNER, "alice", PASSWORD).await.expect(200);
    app.close().await;
}

/// Five thousand accounts from fifty networks: the limits bound how many passwords are checked, the attack is
/// reported, and a user from a known network logs in meanwhile.
#[tokio::test]
async fn spraying_and_stuffing_are_bounded_and_reported() {
    let app = TestApp::start(Engine::Sqlite).await;
    register(&app, "alice").await;
    log_in_as(&app, OWNER, "alice", PASSWORD).await.expect(200);
    app.services.limits.set(LimitSettings::default());
    let checked = || app.services.hasher.counts().totals().begun;
    let before = checked();
    app.events();

    for n in 0..5_000 {
        log_in_as(&app, &format!("198.51.100.{}", n % 50), &format!("user{n}"), "Summer2026%21").await;
    }
    assert_eq!(checked() - before, 500, "ten of each network");
    app.settle("watch_logins").await;
    app.settle("watch_logins").await;
    let found: Vec<Value> =
        app.events().iter().map(|entry| serde_json::to_value(&entry.event).unwrap()).collect();
    let attacks: Vec<_> = found.iter().filter(|event| event["kind"] == "login_attack_suspected").collect();
    let kinds: Vec<_> = attacks.iter().map(|event| event["attack"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["credential_stuffing", "password_spraying"]);
    assert_eq!(
        (&attacks[0]["failed"], &attacks[0]["accounts"], &attacks[0]["networks"]),
        (&500.into(), &500.into(), &50.into())
    );
    let page = app.operator_get("/metrics").await.text;
    assert!(page.contains("auth_suspicious_logins_total{kind=\"password_spraying\"} 481"), "{page}");

    log_in_as(&app, OWNER, "alice", PASSWORD).await.expect(200);
    app.close().await;
}

#[tokio::test]
async fn ten_thousand_addresses_of_one_slash_64_are_one_client() {
    let app = TestApp::start(Engine::Sqlite).await;
    app.services.limits.set(LimitSettings::default());
    let mut admitted = 0;
    for n in 0..10_000_u32 {
        let from = format!("2001:db8:1:2:{:x}:{:x}::1", n / 256, n % 256);
        admitted += u32::from(send(&app, &from, Method::GET, "/docs", None).await.status == 200);
    }
    assert_eq!(admitted, 200);
    send(&app, "2001:db8:1:3::1", Method::GET, "/docs", None).await.expect(200);
    app.close().await;
}

#[tokio::test]
async fn headers_of_an_untrusted_peer_name_no_other_client() {
    let app = TestApp::start(Engine::Sqlite).await;
    app.services.limits.set(only(|to, _| to.global = Some(Rule { most: 1, window: MINUTE })));
    let long = "192.0.2.1, ".repeat(900);
    let forged = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "a"),
        ("x-forwarded-for", ""),
        ("x-forwarded-for", long.as_str()),
        ("x-forwarded-for", "fe80::1%eth0"),
        ("forwarded", "for=\"203.0.113.9\""),
        ("x-real-ip", "203.0.113.9"),
        ("true-client-ip", "203.0.113.9"),
    ];
    for (n, (name, value)) in forged.into_iter().enumerate() {
        let mut request = Request::get("/docs").header(name, value).body(Body::empty()).unwrap();
        request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 40_000)));
        assert_eq!(app.send(request).await.status, if n == 0 { 200 } else { 429 }, "{name}");
    }
    app.close().await;
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_in_one_header_only() {
    let settings = [("server.trusted_proxies", "192.0.2.0/24")];
    let app = TestApp::with(Engine::Sqlite, Options::of(settings)).await;
    app.services.limits.set(only(|to, _| to.global = Some(Rule { most: 1, window: MINUTE })));
    let status = async |headers: &[(&str, &str)]| {
        let mut request = Request::get("/docs");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        request.extensions_mut().insert(SocketAddr::from(([192, 0, 2, 1], 40_000)));
        app.send(request).await.status.as_u16()
    };

    assert_eq!(status(&[("x-forwarded-for", "203.0.113.9")]).await, 200);
    assert_eq!(status(&[("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.10")]).await, 429);
    assert_eq!(status(&[("x-forwarded-for", "198.51.100.1, 203.0.113.9")]).await, 429);
    assert_eq!(status(&[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9")]).await, 429);
    assert_eq!(status(&[("x-forwarded-for", "203.0.113.10")]).await, 200);
    assert_eq!(status(&[("forwarded", "for=203.0.113.11")]).await, 200, "the proxy itself");
    assert_eq!(status(&[("x-forwarded-for", "a")]).await, 429, "unreadable: the proxy itself");
    app.close().await;
}

#[tokio::test]
async fn a_password_that_could_not_be_checked_leaves_an_event_and_no_failure() {
    let app = TestApp::start(Engine::Postgres).await;
    register(&app, "alice").await;
    app.services.limits.set(only(|to, from| to.account_login = from.account_login));
    let server = app.database.url.clone();
    testkit::postgres::rows(&server, "ALTER TABLE gatewright.users RENAME TO away").unwrap();
    for _ in 0..20 {
        log_in_as(&app, STRANGER, "alice", PASSWORD).await.expect(503);
    }
    assert_eq!(last_failure(&app)["reason"], "unavailable");
    testkit::postgres::rows(&server, "ALTER TABLE gatewright.away RENAME TO users").unwrap();
    log_in_as(&app, STRANGER, "alice", PASSWORD).await.expect(200);
    app.close().await;
}

/// The names of the members of a request, in the OpenAPI document.
fn members(document: &Value, path: &str, verb: &str) -> Vec<String> {
    let contents = document["paths"][path][verb]["requestBody"]["content"].as_object();
    let schemas = contents.into_iter().flatten().map(|(_, content)| &content["schema"]);
    let resolved = schemas.map(|schema| match schema["$ref"].as_str() {
        Some(name) => document.pointer(name.trim_start_matches('#')).unwrap(),
        None => schema,
    });
    resolved
        .filter_map(|schema| schema["properties"].as_object())
        .flat_map(|all| all.keys().cloned())
        .collect()
}

#[test]
fn every_call_that_takes_a_password_counts_as_a_login_or_a_registration() {
    let document = web::openapi_document("https://auth.example");
    let page = include_str!("../../docs/security/passwords.md");
    let mut found = Vec::new();
    for route in web::ROUTES.iter().filter(|route| route.endpoint.documented) {
        let (path, verb) = (route.endpoint.mounts[0].path, route.endpoint.verb.as_str().to_lowercase());
        let takes_password = members(&document, path, &verb).iter().any(|name| name.contains("password"));
        let is_limited =
            route.endpoint.limits.iter().any(|limit| matches!(limit, Limit::Login | Limit::Register));
        assert_eq!(takes_password, is_limited, "{}", route.endpoint.operation);
        found.extend(takes_password.then_some(route.endpoint.operation));
        let is_named = |mount: &web::Mount| page.contains(&format!("{}`", mount.path));
        assert!(!takes_password || route.endpoint.mounts.iter().all(is_named), "{path} is not on the page");
    }
    assert!(found.len() >= 6, "{found:?}");
}

#[tokio::test]
async fn a_password_change_and_an_erasure_are_guesses_of_their_session() {
    let app = TestApp::start(Engine::Sqlite).await;
    register(&app, "alice").await;
    let pair = Pair::from(&log_in_as(&app, OWNER, "alice", PASSWORD).await.expect(200));
    let other = Pair::from(&log_in_as(&app, OWNER, "alice", PASSWORD).await.expect(200));
    app.services.limits.set(only(|to, from| to.account_login = from.account_login));
    let change = json!({"current_password": "wrong", "new_password": "another fine one"});
    for _ in 0..4 {
        app.post(&path("password"), Some(&pair.access), change.clone()).await.expect(403);
    }
    let erase = async |access: &str| {
        let body = json!({"password": "wrong"}).to_string();
        app.call(Method::DELETE, &path("me"), Some(access), Some(("application/json", body))).await
    };
    erase(&pair.access).await.expect(403);
    erase(&pair.access).await.expect_problem(429, "rate_limited");
    app.post(&path("password"), Some(&pair.access), change).await.expect_problem(429, "rate_limited");
    erase(&other.access).await.expect(403);
    me(&app, &pair.access).await.expect(200);
    app.close().await;
}
