//! Clocks that jump, and two nodes with different clocks.

use std::time::Duration;

use fixtures::{Engine, Options, START, TestApp, TestDatabase};
use protocol::sealed::keyring::Keyring;

use crate::api_calls::{log_in, me, member, refresh, try_refresh};

/// An application with its own clock on a shared database and master key.
async fn node(database: &TestDatabase, key: &str, start: model::Now) -> TestApp {
    let keyring = Some(Keyring::parse(key).unwrap());
    TestApp::on(database.clone(), Options { start, keyring, ..Options::default() }).await
}

#[tokio::test]
async fn f_21_a_clock_that_jumps() {
    let database = TestDatabase::new(Engine::Sqlite);
    let key = fixtures::new_keyring().to_text().expose().clone();
    let today = node(&database, &key, START).await;
    let (ended, kept) = (member(&today, "alice").await, log_in(&today, "alice").await);
    let logout = serde_json::json!({"refresh_token": ended.refresh});
    today.post("/api/v1/auth/logout", None, logout).await.expect(204);

    // A day ahead: access tokens have expired, and refresh still works.
    let tomorrow = node(&database, &key, START.plus(Duration::from_hours(24))).await;
    me(&tomorrow, &kept.access).await.expect_problem(401, "token_invalid");
    let kept = refresh(&tomorrow, &kept.refresh).await;
    me(&tomorrow, &kept.access).await.expect(200);

    // An hour back: ended sessions stay ended, and access tokens from the future are refused.
    let before = node(&database, &key, START.minus(Duration::from_hours(1))).await;
    before.settle("poll_revocations").await;
    for access in [&ended.access, &kept.access] {
        me(&before, access).await.expect_problem(401, "token_invalid");
    }
    try_refresh(&before, &ended.refresh).await.expect_problem(401, "refresh_refused");
    let kept = refresh(&before, &kept.refresh).await;
    me(&before, &kept.access).await.expect(200);
    for app in [today, tomorrow, before] {
        app.close().await;
    }
}

#[tokio::test]
async fn f_22_two_nodes_whose_clocks_disagree() {
    let database = TestDatabase::new(Engine::Sqlite);
    let key = fixtures::new_keyring().to_text().expose().clone();
    let left = node(&database, &key, START).await;
    for (skew, status) in [(59, 200), (90, 401)] {
        let ahead = node(&database, &key, START.plus(Duration::from_secs(skew))).await;
        let name = format!("skew{skew}");
        let mut pair = member(&ahead, &name).await;
        // The leeway is one minute: beyond it, a token from the future is refused, and refresh still works.
        me(&left, &pair.access).await.expect(status);
        for _ in 0..5 {
            pair = refresh(&left, &pair.refresh).await;
            me(&ahead, &pair.access).await.expect(200);
            pair = refresh(&ahead, &pair.refresh).await;
        }
        ahead.close().await;
    }
    left.close().await;
}
