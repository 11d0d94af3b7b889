//! The caller's own account and sessions, and clients that introspect.

use fixtures::{Engine, Options, TestApp, on_both};
use http::Method;
use serde_json::{Value, json};

use crate::people::{PASSWORD, Pair, log_in, me, member, path, refresh, register, try_log_in, try_refresh};

async fn patch(app: &TestApp, token: &str, body: Value) -> fixtures::Answer {
    app.call(Method::PATCH, &path("me"), Some(token), Some(("application/json", body.to_string()))).await
}

async fn delete(app: &TestApp, token: &str, password: &str) -> fixtures::Answer {
    let body = json!({"password": password}).to_string();
    app.call(Method::DELETE, &path("me"), Some(token), Some(("application/json", body))).await
}

async fn client(app: &TestApp) -> String {
    let secret = app.operate(async |ctx| auth::client::add(ctx, "api", "An API").await.unwrap()).await;
    secret.expose().clone()
}

async fn introspect(app: &TestApp, secret: &str, token: &str) -> fixtures::Answer {
    app.form(&path("introspect"), &[("token", token), ("client_id", "api"), ("client_secret", secret)]).await
}

on_both! {
    profile_attributes_are_set_and_removed,
    an_erased_account_leaves_a_tombstone,
    a_new_password_ends_every_other_session,
    logout_is_idempotent_and_takes_either_token,
    a_50_only_the_owner_lists_and_ends_sessions,
    introspection_sees_revocation_at_once,
    a_56_a_client_authenticates_with_one_method,
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

    let rows = app.operate(async |ctx| auth::account::page(ctx, model::UserId(0), 10).await.unwrap()).await;
    assert_eq!(
        (rows[0].email.as_deref(), rows[0].username.as_deref(), rows[0].profile.as_str()),
        (None, None, "{}")
    );
}

async fn a_new_password_ends_every_other_session(app: &TestApp) {
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

    change(PASSWORD, "quite another 1").await.expect(204);
    me(app, &here.access).await.expect(200);
    refresh(app, &here.refresh).await;
    me(app, &there.access).await.expect_problem(401, "token_invalid");
    try_refresh(app, &there.refresh).await.expect(401);
    try_log_in(app, "alice", PASSWORD).await.expect(401);
    try_log_in(app, "alice", "quite another 1").await.expect(200);
}

async fn logout_is_idempotent_and_takes_either_token(app: &TestApp) {
    let pair = member(app, "alice").await;
    let logout = async |token: Option<&str>, body: Option<Value>| {
        let body = body.map(|body| ("application/json", body.to_string()));
        app.call(Method::POST, &path("logout"), token, body).await
    };

    logout(None, None).await.expect_problem(401, "token_missing");
    logout(Some("garbage"), None).await.expect_problem(401, "token_invalid");
    logout(None, Some(json!({"refresh_token": 7}))).await.expect_problem(422, "validation_failed");
    logout(None, Some(json!({"refresh_token": "garbage"}))).await.expect(204);

    let other = log_in(app, "alice").await;
    logout(Some(&other.access), Some(json!({"refresh_token": "garbage"}))).await.expect(204);
    me(app, &other.access).await.expect_problem(401, "token_invalid");

    logout(Some("garbage"), Some(json!({"refresh_token": pair.refresh}))).await.expect(204);
    logout(None, Some(json!({"refresh_token": pair.refresh}))).await.expect(204);
    logout(Some(&pair.access), None).await.expect(204);

    let pair = log_in(app, "alice").await;
    app.clock.advance(std::time::Duration::from_hours(2));
    me(app, &pair.access).await.expect(401);
    logout(Some(&pair.access), None).await.expect(204);
    try_refresh(app, &pair.refresh).await.expect(401);
}

async fn a_50_only_the_owner_lists_and_ends_sessions(app: &TestApp) {
    let (one, two) = (member(app, "alice").await, log_in(app, "alice").await);
    let other = member(app, "bob").await;

    let list = app.get(&path("sessions"), Some(&one.access)).await.expect(200).json();
    let list = list.as_array().unwrap();
    assert_eq!(list.iter().filter(|session| session["current"] == true).count(), 1);
    assert_eq!(list.len(), 2);
    let elsewhere = list.iter().find(|session| session["current"] == false).unwrap()["id"].as_str().unwrap();

    let end = async |token: &str, id: &str| {
        app.call(Method::DELETE, &format!("{}/{id}", path("sessions")), Some(token), None).await
    };

    end(&other.access, elsewhere).await.expect_problem(404, "session_not_found");
    end(&one.access, "not-a-uuid").await.expect_problem(404, "session_not_found");
    end(&one.access, &uuid::Uuid::nil().to_string()).await.expect_problem(404, "session_not_found");
    end(&one.access, elsewhere).await.expect(204);
    end(&one.access, elsewhere).await.expect_problem(404, "session_not_found");

    me(app, &two.access).await.expect(401);
    me(app, &one.access).await.expect(200);

    app.call(Method::POST, &path("logout-all"), Some(&one.access), None).await.expect(204);
    me(app, &one.access).await.expect(401);
    me(app, &other.access).await.expect(200);
}

async fn introspection_sees_revocation_at_once(app: &TestApp) {
    let (secret, pair) = (client(app).await, member(app, "alice").await);
    let access = introspect(app, &secret, &pair.access).await.expect(200).json();
    assert_eq!(
        (access["active"].as_bool(), access["sub"].as_str(), access["token_type"].as_str()),
        (Some(true), Some("1"), Some("Bearer"))
    );

    let session = introspect(app, &secret, &pair.refresh).await.expect(200).json();
    assert_eq!((session["active"].as_bool(), &session["sid"]), (Some(true), &access["sid"]));

    let next = refresh(app, &pair.refresh).await;
    app.post(&path("logout"), None, json!({"refresh_token": next.refresh})).await.expect(204);
    for token in [&pair.access, &pair.refresh, &next.access, &next.refresh, "garbage", ""] {
        let answer = introspect(app, &secret, token).await.expect(200);
        assert_eq!(answer.text, "{\"active\":false}", "{token}");
    }
}

async fn a_56_a_client_authenticates_with_one_method(app: &TestApp) {
    use base64::Engine as _;
    let (secret, pair) = (client(app).await, member(app, "alice").await);

    let basic = |id: &str, secret: &str| {
        format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(format!("{id}:{secret}")))
    };
    let send = async |authorization: Option<String>, body: String| {
        let mut request = http::Request::post(path("introspect"))
            .header("content-type", "application/x-www-form-urlencoded");
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        app.send(request.body(axum::body::Body::from(body)).unwrap()).await
    };

    let token = format!("token={}", pair.access);
    send(Some(basic("api", &secret)), token.clone()).await.expect(200);
    let both = format!("{token}&client_id=api&client_secret={secret}");
    assert_eq!(send(Some(basic("api", &secret)), both).await.expect(400).json()["error"], "invalid_request");
    assert_eq!(
        send(Some(basic("api", &secret)), String::new()).await.expect(400).json()["error"],
        "invalid_request"
    );

    for wrong in [
        None,
        Some(basic("api", "wrong")),
        Some(basic("other", &secret)),
        Some(basic("", "")),
        Some(format!("Bearer {}", pair.access)),
        Some("Basic !".to_owned()),
    ] {
        let answer = send(wrong, token.clone()).await.expect(401);
        assert_eq!(answer.json()["error"], "invalid_client", "{}", answer.text);
        assert!(
            answer.header("www-authenticate").starts_with("Basic"),
            "{}",
            answer.header("www-authenticate")
        );
        assert!(!answer.text.contains("urn:gatewright"), "the error body is not problem details");
    }

    let rotated = app.operate(async |ctx| auth::client::rotate(ctx, "api").await.unwrap()).await;
    introspect(app, &secret, &pair.access).await.expect(401);
    introspect(app, rotated.expose(), &pair.access).await.expect(200);
    app.operate(async |ctx| auth::client::remove(ctx, "api").await.unwrap()).await;
    introspect(app, rotated.expose(), &pair.access).await.expect(401);
}

/// Concurrent changes of different attributes are all stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_do_not_overwrite_each_other() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let app = TestApp::with(engine, Options { pool_max: 8, ..Options::default() }).await;
        let pair = member(&app, "alice").await;

        for round in 0..10 {
            let (name, income) = (format!("alice{round}"), json!(round));
            let (left, middle, right) = futures_util::join!(
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
async fn a_18_a_lower_role_removes_its_scopes() {
    let mut options = Options::default();
    let scope = |text| protocol::wire::scope::Scope::parse(text).unwrap();
    options.auth.scopes =
        [("basic_user".to_owned(), scope("read")), ("admin".to_owned(), scope("read admin:all"))].into();
    let app = TestApp::with(Engine::Sqlite, options).await;

    register(&app, "alice").await;
    let user = app.operate(async |ctx| auth::account::find(ctx, "alice").await.unwrap()).await;
    app.operate(async |ctx| auth::account::set_role(ctx, &user, "admin").await.unwrap()).await;
    let secret = client(&app).await;
    let pair = log_in(&app, "alice").await;

    let narrow = json!({"refresh_token": pair.refresh, "scope": "nothing"});
    app.post(&path("refresh"), None, narrow).await.expect_problem(400, "invalid_scope");

    app.clock.advance(std::time::Duration::from_mins(1));
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
