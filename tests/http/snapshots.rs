//! Whole bodies and whole events, compared with the files in `snapshots/`. Both engines answer the same.
//!
//! A test fails when a body changes; `INSTA_UPDATE=always cargo nextest run -p tests` writes the new files.

use fixtures::{Engine, TestApp, on_both, stable};
use http::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::api_calls::{PASSWORD, Pair, add_client, path, try_log_in, try_refresh, try_register};

on_both! {
    the_bodies_of_a_session,
    a_problem_in_each_dialect,
}

async fn the_bodies_of_a_session(app: &TestApp) {
    let registered = try_register(app, "alice").await;
    let logged_in = try_log_in(app, "alice", PASSWORD).await;
    let refreshed = try_refresh(app, &Pair::from(&logged_in).refresh).await;
    let access = Pair::from(&refreshed).access;
    let me = app.get(&path("me"), Some(&access)).await;
    let sessions = app.get(&path("sessions"), Some(&access)).await;
    let client = add_client(app, "api").await;
    let introspected = app
        .form(
            &path("introspect"),
            &[("token", &access), ("client_id", "api"), ("client_secret", client.expose())],
        )
        .await;
    let logged_out = app.call(Method::POST, &path("logout"), Some(&access), None).await;

    assert_snapshot!("register", registered.shown());
    assert_snapshot!("log_in", logged_in.shown());
    assert_snapshot!("refresh", refreshed.shown());
    assert_snapshot!("me", me.shown());
    assert_snapshot!("sessions", sessions.shown());
    assert_snapshot!("introspect", introspected.shown());
    assert_snapshot!("log_out", logged_out.shown());
}

/// Problem details (RFC 9457), FastAPI's bodies, and OAuth errors (RFC 6749 §5.2).
async fn a_problem_in_each_dialect(app: &TestApp) {
    let empty = json!({"email": "", "username": "", "password": ""});
    let details = app.post(&path("register"), None, empty.clone()).await;
    let unknown = try_log_in(app, "unknown", PASSWORD).await;
    let fastapi = app.post("/api/auth/register", None, empty).await;
    let fastapi_unknown =
        app.post("/api/auth/login", None, json!({"email": "a@b.co", "password": PASSWORD})).await;
    let oauth = app.form(&path("introspect"), &[("token", "x")]).await;

    assert_snapshot!("problem_details_validation", details.shown());
    assert_snapshot!("problem_details_credentials", unknown.shown());
    assert_snapshot!("fastapi_validation", fastapi.shown());
    assert_snapshot!("fastapi_credentials", fastapi_unknown.shown());
    assert_snapshot!("oauth_client", oauth.shown());
}

/// The lines that the main operations leave in the journal, in their order.
#[tokio::test]
async fn the_events_of_the_main_operations() {
    let app = TestApp::start(Engine::Sqlite).await;
    try_register(&app, "alice").await.expect(201);
    try_log_in(&app, "alice", "a wrong password").await.expect(401);
    let pair = Pair::from(&try_log_in(&app, "alice", PASSWORD).await.expect(200));
    let pair = Pair::from(&try_refresh(&app, &pair.refresh).await.expect(200));
    let change = json!({"current_password": PASSWORD, "new_password": "another fine one"});
    let changed = app.post(&path("password"), Some(&pair.access), change).await.expect(200);
    let pair = Pair::from(&changed);
    app.call(Method::POST, &path("logout"), Some(&pair.access), None).await.expect(204);
    let pair = Pair::from(&try_log_in(&app, "alice", "another fine one").await.expect(200));
    let erase = json!({"password": "another fine one"}).to_string();
    let json = Some(("application/json", erase));
    app.call(Method::DELETE, &path("me"), Some(&pair.access), json).await.expect(204);

    let lines = app.close_and_read_journal().await;

    let lines: Vec<Value> = lines.iter().map(stable).collect();
    assert_snapshot!("events", serde_json::to_string_pretty(&lines).unwrap());
}
