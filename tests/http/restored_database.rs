//! A database that was restored from a backup gives the numbers of lost users again. A token of a lost user
//! is refused on every route and changes nothing, and its number is not given to another user.
//!
//! Two databases with the same secret of HS256 stand for the two states of one: a token of either is genuine.

use std::io::Write as _;

use fixtures::{Engine, Options, TestApp};
use http::Method;
use serde_json::{Value, json};
use web::{Caller, Verb};

use crate::api_calls::{PASSWORD, Pair, add_client, log_in, me, member, path, refresh, register};

fn options(secret: &tempfile::NamedTempFile, subject: &'static str) -> Options {
    let file = secret.path().to_str().unwrap().to_owned();
    Options {
        settings: vec![
            ("tokens.algorithm", "HS256".to_owned()),
            ("tokens.hs256_secret_file", file),
            ("tokens.subject", subject.to_owned()),
        ],
        ..Options::default()
    }
}

fn secret() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[b'k'; 48]).unwrap();
    file
}

/// The token of a user that only the lost state has, with the number that the newcomer has.
async fn lost_user(engine: Engine, options: Options) -> Pair {
    let before = TestApp::with(engine, options).await;
    // The other state has other random numbers.
    let _: [u8; 32] = before.services.rng.bytes();
    register(&before, "kept").await;
    let lost = member(&before, "lost").await;
    assert_eq!(me(&before, &lost.access).await.expect(200).json()["id"], 2);
    before.close().await;
    lost
}

/// Sends a request to every route that takes an access token.
async fn send_everywhere(app: &TestApp, token: &str, session: &str) -> Vec<(String, u16)> {
    let body = json!({
        "username": "stolen", "password": PASSWORD, "current_password": PASSWORD,
        "new_password": "another fine one",
    });
    let mut answers = Vec::new();
    for route in web::ROUTES {
        if !matches!(route.caller(), Caller::Bearer | Caller::BearerOrRefreshToken) {
            continue;
        }
        for mount in route.endpoint.mounts {
            let path = mount.path.replace("{id}", session);
            let method: Method = route.endpoint.verb.as_str().parse().unwrap();
            let given = (route.endpoint.verb != Verb::Get && route.caller() == Caller::Bearer)
                .then(|| ("application/json", body.to_string()));
            let answer = app.call(method.clone(), &path, Some(token), given).await;
            answers.push((format!("{method} {path}"), answer.status.as_u16()));
        }
    }
    answers
}

async fn a_lost_users_token_is_refused_everywhere_and_changes_nothing(engine: Engine) {
    for subject in ["id", "uuid"] {
        let secret = secret();
        let lost = lost_user(engine, options(&secret, subject)).await;
        let app = TestApp::with(engine, options(&secret, subject)).await;
        register(&app, "kept").await;
        let newcomer = member(&app, "newcomer").await;
        let profile = me(&app, &newcomer.access).await.expect(200);
        assert_eq!(profile.json()["id"], 2, "the number is given again");
        let sessions = app.get(&path("sessions"), Some(&newcomer.access)).await.json();
        let session = sessions[0]["id"].as_str().unwrap();
        app.events();

        let answers = send_everywhere(&app, &lost.access, session).await;

        assert!(answers.len() > 10);
        let refused = |(_, status): &&(String, u16)| *status != 401;
        assert_eq!(answers.iter().find(refused), None, "{subject}");
        assert_eq!(me(&app, &newcomer.access).await.expect(200).text, profile.text);
        let newer = refresh(&app, &newcomer.refresh).await;
        me(&app, &newer.access).await.expect(200);
        log_in(&app, "newcomer").await;
        let kinds = app.event_kinds();
        let outdated = kinds.iter().filter(|kind| **kind == "database_outdated").count();
        assert_eq!(outdated, 0, "the sequence is at that number already: {kinds:?}");
        app.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_users_token_is_refused_everywhere_and_changes_nothing_on_sqlite() {
    Box::pin(a_lost_users_token_is_refused_everywhere_and_changes_nothing(Engine::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_users_token_is_refused_everywhere_and_changes_nothing_on_postgres() {
    Box::pin(a_lost_users_token_is_refused_everywhere_and_changes_nothing(Engine::Postgres)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_a_lost_user_is_not_given_to_another_user() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given a token of a number that the database has not reached, and one that it has not even begun.
        let secret = secret();
        let lost = lost_user(engine, options(&secret, "id")).await;
        let app = TestApp::with(engine, options(&secret, "id")).await;
        app.events();

        // When the token is used, and used again.
        me(&app, &lost.access).await.expect_problem(401, "token_invalid");
        me(&app, &lost.access).await.expect_problem(401, "token_invalid");

        // Then the next user has a higher number, and readiness says why once an operator looks.
        assert_eq!(app.event_kinds(), ["database_outdated"]);
        assert_eq!(register(&app, "next").await["id"], 3);
        app.settle("poll_revocations").await;
        let ready = app.operator_get("/health/readiness").await.expect(200).json();
        assert_eq!(ready["degraded"], json!(["outdated_database"]));

        // When the journal names a higher number.
        let highest = model::UserId(40);
        app.operate(async |ctx| auth::account::raise_numbers(ctx, highest).await.unwrap()).await;
        app.operate(async |ctx| auth::account::raise_numbers(ctx, highest).await.unwrap()).await;

        // Then the next number is above it, and it is reported once.
        let kinds: Vec<_> = app.event_kinds().into_iter().filter(|kind| kind.starts_with("data")).collect();
        assert_eq!(kinds, ["database_outdated"]);
        assert_eq!(register(&app, "another").await["id"], 41);
        app.close().await;
    }
}

#[tokio::test]
async fn introspection_compares_number_and_uuid() {
    let secret = secret();
    let lost = lost_user(Engine::Sqlite, options(&secret, "id")).await;
    let app = TestApp::with(Engine::Sqlite, options(&secret, "id")).await;
    register(&app, "kept").await;
    let newcomer = member(&app, "newcomer").await;
    let client = add_client(&app, "api").await;
    let active = async |token: &str| -> Value {
        let fields = [("token", token), ("client_id", "api"), ("client_secret", client.expose())];
        app.form(&path("introspect"), &fields).await.expect(200).json()["active"].clone()
    };
    assert_eq!(active(&lost.access).await, false);
    assert_eq!(active(&newcomer.access).await, true);
    app.close().await;
}

#[tokio::test]
async fn a_logout_that_finds_no_session_is_recorded() {
    // Given a user of both states, and a session of the lost one.
    let secret = secret();
    let (given, keyring) = (options(&secret, "id"), fixtures::new_keyring().to_text().expose().clone());
    let keyring = || Some(protocol::sealed::keyring::Keyring::parse(&keyring).unwrap());
    let before = TestApp::with(Engine::Sqlite, Options { keyring: keyring(), ..given }).await;
    let _: [u8; 32] = before.services.rng.bytes();
    let pair = member(&before, "alice").await;
    before.close().await;
    let app = TestApp::with(Engine::Sqlite, Options { keyring: keyring(), ..options(&secret, "id") }).await;
    app.events();

    // When the refresh token of that session logs out, twice.
    for _ in 0..2 {
        let body = json!({"refresh_token": pair.refresh});
        app.post(&path("logout"), None, body).await.expect(204);
    }

    // Then its access tokens are refused here, and on every node that polls.
    assert_eq!(app.event_kinds(), ["session_revoked"]);
    me(&app, &pair.access).await.expect_problem(401, "token_invalid");
    assert_eq!(app.event_kinds(), ["token_refused"], "the session is known to have ended");
    app.close().await;
}
