//! The user's own account: profile, password, erasure.

use std::time::Duration;

use auth::account::Candidate;
use fixtures::{Engine, Log, Options, TestApp, on_both};
use http::Method;
use serde_json::{Map, Value, json};
use store::queries::user::Listed;

use super::introspect::{client, introspect};
use crate::api_calls::{
    PASSWORD, Pair, log_in, me, member, path, refresh, register, try_log_in, try_refresh,
};

on_both! {
    white_space_around_a_name_is_no_part_of_it,
    what_a_patch_cannot_change_is_refused_with_the_reason,
    a_username_is_cleared_by_null,
    an_account_is_erased_by_post_too,
    times_have_three_digits_of_a_second,
    profile_attributes_are_set_and_removed,
    an_erased_account_leaves_a_tombstone,
    a_new_password_ends_every_session_and_opens_a_new_one,
}

async fn patch(app: &TestApp, token: &str, body: Value) -> fixtures::Answer {
    app.call(Method::PATCH, &path("me"), Some(token), Some(("application/json", body.to_string()))).await
}

async fn delete(app: &TestApp, token: &str, password: &str) -> fixtures::Answer {
    let body = json!({"password": password}).to_string();
    app.call(Method::DELETE, &path("me"), Some(token), Some(("application/json", body))).await
}

async fn profile_attributes_are_set_and_removed(app: &TestApp) {
    let body = json!({"email": "a@example.com", "password": PASSWORD,
        "country": "us", "annual_income": 50000.5, "timezone": "europe/berlin"});
    let answer = app.post("/api/auth/register", None, body).await.expect(201);

    let pair = Pair::from(&answer);
    let user = &answer.json()["user"];
    assert_eq!(
        (
            user["country"].as_str(),
            user["annual_income"].as_f64(),
            user["timezone"].as_str(),
            &user["username"]
        ),
        (Some("US"), Some(50000.5), Some("Europe/Berlin"), &Value::Null)
    );
    assert_eq!(me(app, &pair.access).await.expect(200).json(), *user);

    let changed =
        patch(app, &pair.access, json!({"username": "anna", "country": null, "annual_income": "75000.50"}))
            .await
            .expect(200)
            .json();
    assert_eq!(
        (&changed["username"], changed.get("country"), &changed["annual_income"]),
        (&json!("anna"), None, &json!("75000.50"))
    );
    assert_eq!(me(app, &pair.access).await.expect(200).json(), changed);

    patch(app, &pair.access, json!({})).await.expect(200);
    try_log_in(app, "anna", PASSWORD).await.expect(200);

    register(app, "taken").await;
    patch(app, &pair.access, json!({"username": "TAKEN"})).await.expect_problem(409, "username_taken");
    patch(app, &pair.access, json!({"username": "a@b", "country": 7}))
        .await
        .expect_problem(422, "validation_failed");
    assert_eq!(me(app, &pair.access).await.expect(200).json(), changed);
}

async fn an_erased_account_leaves_a_tombstone(app: &TestApp) {
    let pair = member(app, "alice").await;
    delete(app, &pair.access, "Wrong guess 1").await.expect_problem(403, "password_wrong");
    me(app, &pair.access).await.expect(200);

    app.events();
    delete(app, &pair.access, PASSWORD).await.expect(204);
    assert_eq!(app.event_kinds(), ["user_erased"]);
    me(app, &pair.access).await.expect_problem(401, "token_invalid");
    try_refresh(app, &pair.refresh).await.expect_problem(401, "refresh_refused");
    try_log_in(app, "alice", PASSWORD).await.expect_problem(401, "invalid_credentials");
    delete(app, &pair.access, PASSWORD).await.expect_problem(401, "token_invalid");

    let again = register(app, "alice").await;
    assert_eq!(again["id"], 2, "an id is never reused");

    let rows = app
        .operate(async |ctx| auth::account::list(ctx, &Listed::all(), model::UserId(0), 10).await.unwrap())
        .await;
    assert_eq!(
        (rows[0].email.as_deref(), rows[0].username.as_deref(), rows[0].profile.as_str()),
        (None, None, "{}")
    );
}

async fn a_new_password_ends_every_session_and_opens_a_new_one(app: &TestApp) {
    let (here, there) = (member(app, "alice").await, log_in(app, "alice").await);
    let change = async |current: &str, new: &str| {
        app.post(
            &path("password"),
            Some(&here.access),
            json!({"current_password": current, "new_password": new}),
        )
        .await
    };

    change("Wrong guess 1", "quite another 1").await.expect_problem(403, "password_wrong");
    for weak in ["short", "password123", "alice", "alice@example.com"] {
        let answer = change(PASSWORD, weak).await.expect_problem(422, "validation_failed");
        assert_eq!(answer.json()["errors"][0]["loc"], json!(["body", "new_password"]));
    }

    let new = Pair::from(&change(PASSWORD, "quite another 1").await.expect(200));
    me(app, &new.access).await.expect(200);
    let sessions = app.get(&path("sessions"), Some(&new.access)).await.expect(200).json();
    assert_eq!(sessions.as_array().unwrap().len(), 1, "{sessions}");
    refresh(app, &new.refresh).await;
    me(app, &here.access).await.expect_problem(401, "token_invalid");
    try_refresh(app, &here.refresh).await.expect_problem(401, "refresh_refused");
    me(app, &there.access).await.expect_problem(401, "token_invalid");
    try_refresh(app, &there.refresh).await.expect(401);
    try_log_in(app, "alice", PASSWORD).await.expect(401);
    try_log_in(app, "alice", "quite another 1").await.expect(200);
}

/// Concurrent changes of different attributes are all stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_do_not_overwrite_each_other() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let app = TestApp::with(engine, Options::of([("database.pool_max", "8")])).await;
        let pair = member(&app, "alice").await;

        for round in 0..10 {
            let (name, income) = (format!("alice{round}"), json!(round));
            let (left, middle, right) = tokio::join!(
                patch(&app, &pair.access, json!({"username": name})),
                patch(&app, &pair.access, json!({"annual_income": income})),
                patch(
                    &app,
                    &pair.access,
                    json!({"timezone": if round % 2 == 0 { "UTC" } else { "Asia/Tokyo" }})
                ),
            );

            for answer in [left, middle, right] {
                answer.expect(200);
            }

            let user = me(&app, &pair.access).await.expect(200).json();
            assert_eq!((&user["username"], &user["annual_income"]), (&json!(name), &income), "{user}");
            assert_eq!(user["timezone"], if round % 2 == 0 { "UTC" } else { "Asia/Tokyo" });
        }
        app.close().await;
    }
}

/// A lower role removes its former scopes, also from existing sessions.
#[tokio::test]
async fn a_lower_role_loses_its_scopes() {
    let options = Options::of([("accounts.scopes", "basic_user=read,admin=read admin:all")]);
    let app = TestApp::with(Engine::Sqlite, options).await;

    register(&app, "alice").await;
    let user = app.operate(async |ctx| auth::account::find(ctx, "alice").await.unwrap()).await;
    app.operate(async |ctx| auth::account::set_role(ctx, &user, "admin").await.unwrap()).await;
    let secret = client(&app).await;
    let pair = log_in(&app, "alice").await;

    let narrow = json!({"refresh_token": pair.refresh, "scope": "nothing"});
    app.post(&path("refresh"), None, narrow).await.expect_problem(400, "invalid_scope");

    app.clock.advance(Duration::from_mins(1));
    app.events();
    let narrow = json!({"refresh_token": pair.refresh, "scope": "read"});
    assert_eq!(app.post(&path("refresh"), None, narrow).await.expect(200).string("scope"), "read");
    assert_eq!(app.event_kinds(), ["session_refreshed"], "the refused request did not consume the token");

    let pair = log_in(&app, "alice").await;
    app.operate(async |ctx| auth::account::set_role(ctx, &user, "basic_user").await.unwrap()).await;
    let seen = introspect(&app, &secret, &pair.access).await.expect(200).json();
    assert_eq!((seen["role"].as_str(), seen["scope"].as_str()), (Some("basic_user"), Some("read")));

    let next = try_refresh(&app, &pair.refresh).await.expect(200);
    assert_eq!(next.string("scope"), "read");
    app.close().await;
}

async fn white_space_around_a_name_is_no_part_of_it(app: &TestApp) {
    for (at, space) in
        ["  ", "\t", "\r\n", "\u{a0}", "\u{3000}", "\u{2028}", "\u{85}"].into_iter().enumerate()
    {
        let (email, name) = (format!("user{at}@example.com"), format!("user{at}"));
        let around = |text: &str| format!("{space}{text}{space}");

        let body = json!({"email": around(&email), "username": around(&name), "password": PASSWORD});
        let user = app.post(&path("register"), None, body.clone()).await.expect(201).json();
        assert_eq!((user["email"].as_str(), user["username"].as_str()), (Some(&*email), Some(&*name)));
        app.post(&path("register"), None, body).await.expect_problem(409, "email_taken");

        for identifier in [&email, &name, &around(&email), &around(&name)] {
            try_log_in(app, identifier, PASSWORD).await.expect(200);
        }
        let body = json!({"email": around(&email), "password": PASSWORD});
        app.post("/api/auth/login", None, body).await.expect(200);
        let body = json!({"email": email, "password": around(PASSWORD)});
        app.post("/api/auth/login", None, body).await.expect_problem(401, "invalid_credentials");
    }

    let pair = log_in(app, "user0").await;
    let changed = patch(app, &pair.access, json!({"username": "\u{2003}renamed "})).await.expect(200);
    assert_eq!(changed.string("username"), "renamed");
    let inside = json!({"email": "a b@example.com", "username": "a b", "password": PASSWORD});
    app.post(&path("register"), None, inside).await.expect_problem(422, "validation_failed");
}

#[tokio::test]
async fn a_conflict_with_another_constraint_is_no_taken_name_and_is_logged() {
    let app = &TestApp::start(Engine::Postgres).await;
    let alice = member(app, "alice").await;
    let bob = member(app, "bob").await;
    patch(app, &alice.access, json!({"country": "CH"})).await.expect(200);
    let unique = "CREATE UNIQUE INDEX odd ON gatewright.users (profile) WHERE profile LIKE '%\"CH\"%'";
    testkit::postgres::rows(&app.database.url, unique).unwrap();

    let log = Log::default();
    let logging = tracing::subscriber::set_default(log.subscriber());
    let body = json!({"email": "c@example.com", "password": PASSWORD, "country": "CH"});
    app.post("/api/auth/register", None, body).await.expect_problem(503, "unavailable");
    patch(app, &bob.access, json!({"country": "CH", "username": "robert"}))
        .await
        .expect_problem(503, "unavailable");
    drop(logging);
    assert_eq!(log.lines("ERROR").len(), 2, "{:?}", log.lines(""));

    let body = json!({"email": "bob@example.com", "password": PASSWORD, "country": "CH"});
    app.post("/api/auth/register", None, body).await.expect_problem(400, "email_taken");
    patch(app, &bob.access, json!({"country": "CH", "username": "alice"}))
        .await
        .expect_problem(409, "username_taken");
    patch(app, &bob.access, json!({"country": "DE", "username": "robert"})).await.expect(200);
}

async fn what_a_patch_cannot_change_is_refused_with_the_reason(app: &TestApp) {
    let pair = member(app, "alice").await;
    for (member, value) in [
        ("email", json!("other@example.com")),
        ("email", json!(null)),
        ("email", json!(7)),
        ("password", json!("another fine one")),
        ("role", json!("admin")),
        ("id", json!(7)),
        ("is_active", json!(false)),
        ("created_at", json!("2000-01-01T00:00:00.000Z")),
    ] {
        let answer = patch(app, &pair.access, json!({"country": "CH", member: value})).await.expect(422);
        let error = &answer.json()["errors"][0];
        assert_eq!(error["loc"], json!(["body", member]), "{}", answer.text);
        assert!(error["msg"].as_str().unwrap().contains("not changed here"), "{}", answer.text);
    }
    let own = patch(app, &pair.access, json!({"email": "ALICE@example.com"})).await.expect(200).json();
    assert_eq!((own["email"].as_str(), own.get("country")), (Some("alice@example.com"), None));

    // What no account has means nothing.
    patch(app, &pair.access, json!({"is_superuser": true, "permissions": ["all"]})).await.expect(200);

    // A whole account that is sent back as it was read changes nothing.
    let whole = me(app, &pair.access).await.expect(200).json();
    assert_eq!(patch(app, &pair.access, whole.clone()).await.expect(200).json(), whole);
}

async fn a_username_is_cleared_by_null(app: &TestApp) {
    let pair = member(app, "alice").await;
    let cleared = patch(app, &pair.access, json!({"username": null})).await.expect(200).json();
    assert_eq!(cleared["username"], Value::Null);
    try_log_in(app, "alice", PASSWORD).await.expect(401);
    try_log_in(app, "alice@example.com", PASSWORD).await.expect(200);
    assert_eq!(me(app, &pair.access).await.expect(200).json()["username"], Value::Null);
    patch(app, &pair.access, json!({"username": "alice"})).await.expect(200);
    try_log_in(app, "alice", PASSWORD).await.expect(200);
}

async fn an_account_is_erased_by_post_too(app: &TestApp) {
    for (name, prefix) in [("alice", "/api/v1/auth"), ("bob", "/api/auth")] {
        let pair = member(app, name).await;
        let route = format!("{prefix}/me/delete");
        app.post(&route, Some(&pair.access), json!({"password": "wrong"}))
            .await
            .expect_problem(403, "password_wrong");
        app.post(&route, Some(&pair.access), json!({})).await.expect(422);
        app.post(&route, Some(&pair.access), json!({"password": PASSWORD})).await.expect(204);
        me(app, &pair.access).await.expect(401);
    }
}

async fn times_have_three_digits_of_a_second(app: &TestApp) {
    let is_exact = |time: &Value| {
        let text = time.as_str().unwrap();
        text.len() == "2026-01-01T00:00:00.000Z".len() && text.ends_with('Z') && text.as_bytes()[19] == b'.'
    };
    for step in [0, 1, 999, 100_000, 123_456] {
        app.clock.advance(Duration::from_micros(step));
        let name = format!("user{step}");
        let user = register(app, &name).await;
        assert!(is_exact(&user["created_at"]), "{user}");
        let pair = log_in(app, &name).await;
        let sessions = app.get(&path("sessions"), Some(&pair.access)).await.expect(200).json();
        for member in ["created_at", "last_seen_at", "expires_at"] {
            assert!(is_exact(&sessions[0][member]), "{sessions}");
        }
    }
}

#[tokio::test]
async fn closed_registration_is_403_on_every_route_and_an_operator_still_adds_users() {
    let app = TestApp::with(Engine::Sqlite, Options::of([("registration.enabled", "false")])).await;
    let registering = web::ROUTES.iter().filter(|route| route.endpoint.operation == "register");
    let paths: Vec<_> = registering.flat_map(|route| route.endpoint.mounts).map(|mount| mount.path).collect();
    assert!(paths.len() >= 5, "{paths:?}");
    for path in paths {
        for body in [json!({}), json!({"email": "a@example.com", "username": "alice", "password": PASSWORD})]
        {
            app.post(path, None, body).await.expect_problem(403, "registration_closed");
            assert_eq!(app.event_kinds(), ["registration_refused"], "{path}");
        }
    }

    app.operate(async |ctx| {
        let (email, password) = ("alice@example.com", model::Secret::new(PASSWORD.to_owned()));
        let candidate = Candidate::parse(ctx, email, None, &password, Map::new()).unwrap();
        auth::account::add(ctx, candidate, "basic_user").await.unwrap();
    })
    .await;
    try_log_in(&app, "alice@example.com", PASSWORD).await.expect(200);
    app.close().await;
}
