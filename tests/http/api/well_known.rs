//! The published keys and their rotation.

use std::time::Duration;

use fixtures::{Engine, Options, TestApp, on_both};
use serde_json::json;

use crate::api_calls::{log_in, me, member, refresh};

on_both! {
    the_metadata_names_endpoints_that_exist,
    signing_keys_rotate_with_overlap_and_at_once,
    a_key_that_an_operator_rotates_signs_once_no_cache_lacks_it,
    replacing_compromised_keys_is_one_event_that_names_them,
}

const METADATA: &str = "/.well-known/oauth-authorization-server";

async fn the_metadata_names_endpoints_that_exist(app: &TestApp) {
    let answer = app.get(METADATA, None).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    let metadata = answer.json();
    assert_eq!(metadata["issuer"], "https://auth.example");
    assert_eq!(metadata["response_types_supported"], json!([]));
    assert_eq!(metadata["grant_types_supported"], json!(["refresh_token"]));
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["none"]));
    for member in ["token_endpoint", "revocation_endpoint", "introspection_endpoint"] {
        let path = metadata[member].as_str().unwrap().strip_prefix("https://auth.example").unwrap();
        assert_eq!(app.form(path, &[]).await.json()["error"], "invalid_request", "{member}");
    }
    let jwks = metadata["jwks_uri"].as_str().unwrap().strip_prefix("https://auth.example").unwrap();
    app.get(jwks, None).await.expect(200);
    app.get(&format!("{METADATA}/id"), None).await.expect_problem(404, "not_found");
}

#[tokio::test]
async fn the_metadata_of_an_issuer_with_a_path_is_found_by_insertion() {
    let app =
        TestApp::with(Engine::Sqlite, Options::of([("server.public_url", "https://auth.example/id")])).await;
    for path in
        [METADATA.to_owned(), format!("{METADATA}/id"), format!("/id{METADATA}"), format!("{METADATA}/id/")]
    {
        let metadata = app.get(&path, None).await.expect(200).json();
        assert_eq!(metadata["issuer"], "https://auth.example/id", "{path}");
        assert_eq!(metadata["token_endpoint"], "https://auth.example/id/api/v1/auth/token", "{path}");
    }
    app.get(&format!("{METADATA}/other"), None).await.expect_problem(404, "not_found");
    app.close().await;
}

#[tokio::test]
async fn an_issuer_that_is_neither_https_nor_loopback_has_no_metadata() {
    for (issuer, status) in [
        ("http://auth.example", 404),
        ("http://127.0.0.1:8081", 200),
        ("http://[::1]:8080", 200),
        ("http://localhost", 200),
    ] {
        let app = TestApp::with(Engine::Sqlite, Options::of([("tokens.issuer", issuer)])).await;
        app.get(METADATA, None).await.expect(status);
        app.close().await;
    }
}

async fn signing_keys_rotate_with_overlap_and_at_once(app: &TestApp) {
    let first = member(app, "alice").await;
    let kids = async || {
        let jwks = app.get("/.well-known/jwks.json", None).await.expect(200).json();
        jwks["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    let steps = async || {
        app.operate(async |ctx| {
            while auth::signing_keys::step(ctx).await.unwrap() != auth::signing_keys::Rotated::Nothing {}
            auth::signing_keys::load(ctx).await.unwrap();
        })
        .await
    };

    let old = kids().await;
    app.clock.advance(Duration::from_hours(24 * 89));
    steps().await;
    let both = kids().await;
    assert_eq!(both.len(), 2, "the next key is published a day before it signs");

    app.clock.advance(Duration::from_hours(24) + Duration::from_secs(1));
    let before = log_in(app, "alice").await;
    steps().await;

    let after = log_in(app, "alice").await;
    me(app, &before.access).await.expect(200);
    me(app, &after.access).await.expect(200);
    assert_eq!(kids().await.len(), 2, "the old key verifies until its tokens have ended");

    app.clock.advance(Duration::from_mins(33));
    steps().await;
    assert!(!kids().await.contains(&old[0]));
    me(app, &first.access).await.expect(401);

    let current = refresh(app, &after.refresh).await;
    app.operate(async |ctx| {
        auth::signing_keys::remove_compromised(ctx).await.unwrap();
        auth::signing_keys::load(ctx).await.unwrap();
    })
    .await;

    me(app, &current.access).await.expect_problem(401, "token_invalid");
    let next = refresh(app, &current.refresh).await;
    me(app, &next.access).await.expect(200);
    assert_eq!(kids().await.len(), 1);
}

/// Runs the schedule until nothing is due, as the running server does.
async fn steps(app: &TestApp) {
    app.operate(async |ctx| {
        while auth::signing_keys::step(ctx).await.unwrap() != auth::signing_keys::Rotated::Nothing {}
        auth::signing_keys::load(ctx).await.unwrap();
    })
    .await;
}

/// The key that signs, and the number of published keys.
fn signing(app: &TestApp) -> (String, usize) {
    let keys = app.services.keys();
    (keys.signing.as_ref().unwrap().kid().to_owned(), keys.verifying.len())
}

async fn a_key_that_an_operator_rotates_signs_once_no_cache_lacks_it(app: &TestApp) {
    // given a key that signs
    let before = member(app, "alice").await;
    let (old, _) = signing(app);

    // when an operator rotates
    let scheduled = app.operate(async |ctx| auth::signing_keys::rotate(ctx).await.unwrap()).await;
    steps(app).await;

    // then the new key is published, and the old one signs until no cached key set lacks the new one
    assert_eq!(signing(app), (old.clone(), 2));
    assert!(scheduled.signs_at > app.clock.now().plus(auth::signing_keys::KEY_SET_MAX_AGE));
    app.clock.advance(auth::signing_keys::KEY_SET_MAX_AGE);
    steps(app).await;
    assert_eq!(signing(app).0, old);
    app.clock.advance(auth::signing_keys::PUBLISHED_BEFORE_ROTATION);
    steps(app).await;
    assert_eq!(signing(app), (scheduled.key.0, 2));
    me(app, &before.access).await.expect(200);

    // and a key that the schedule has published signs sooner, but not before caches have it
    app.clock.advance(Duration::from_hours(24 * 89));
    steps(app).await;
    let scheduled = app.operate(async |ctx| auth::signing_keys::rotate(ctx).await.unwrap()).await;
    assert_eq!(scheduled.signs_at, app.clock.now().plus(auth::signing_keys::PUBLISHED_BEFORE_ROTATION));
    app.clock.advance(auth::signing_keys::PUBLISHED_BEFORE_ROTATION);
    steps(app).await;
    assert_eq!(signing(app).0, scheduled.key.0);
}

async fn replacing_compromised_keys_is_one_event_that_names_them(app: &TestApp) {
    // given a key that signs and one that is published
    let (old, _) = signing(app);
    let next = app.operate(async |ctx| auth::signing_keys::rotate(ctx).await.unwrap()).await.key;
    app.events();

    // when an operator replaces them
    let new = app.operate(async |ctx| auth::signing_keys::remove_compromised(ctx).await.unwrap()).await;

    // then one event names what is gone and what signs
    let events = app.events();
    let [entry] = events.as_slice() else { panic!("{events:?}") };
    let model::Event::KeysReplaced { key, removed } = &entry.event else { panic!("{entry:?}") };
    let mut removed: Vec<_> = removed.iter().map(|key| key.0.clone()).collect();
    removed.sort();
    let mut gone = vec![old, next.0];
    gone.sort();
    assert_eq!((key, removed), (&new, gone));
    steps(app).await;
    assert_eq!(signing(app), (new.0, 1));
}
