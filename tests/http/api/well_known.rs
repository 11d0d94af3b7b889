//! The published keys and their rotation.

use std::time::Duration;

use fixtures::{TestApp, on_both};

use crate::api_calls::{log_in, me, member, refresh};

on_both! {
    signing_keys_rotate_with_overlap_and_at_once,
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
