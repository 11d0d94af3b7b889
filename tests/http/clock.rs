//! Clocks that jump, and two nodes with different clocks.

use std::time::Duration;

use fixtures::{Engine, Options, START, TestApp, TestDatabase};
use http::Method;
use protocol::sealed::keyring::Keyring;
use serde_json::json;

use crate::api_calls::{
    PASSWORD, add_client, log_in, me, member, path, refresh, register, try_log_in, try_refresh,
};

const MINUTE: Duration = Duration::from_mins(1);
const DAY: Duration = Duration::from_hours(24);

/// An application with its own clock on a shared database and master key.
async fn node(database: &TestDatabase, key: &str, start: model::Now) -> TestApp {
    let keyring = Some(Keyring::parse(key).unwrap());
    TestApp::on(database.clone(), Options { start, keyring, ..Options::default() }).await
}

/// As [`node`], with lifetimes of access tokens and sessions.
async fn node_of(
    database: &TestDatabase,
    key: &str,
    start: model::Now,
    lifetimes: [(&'static str, &str); 2],
) -> TestApp {
    let keyring = Some(Keyring::parse(key).unwrap());
    TestApp::on(database.clone(), Options { start, keyring, ..Options::of(lifetimes) }).await
}

#[tokio::test]
async fn a_clock_jump_neither_revives_nor_ends_a_session() {
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
async fn nodes_accept_tokens_from_a_clock_within_the_leeway() {
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

#[tokio::test]
async fn an_access_token_ends_with_its_session() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let lifetimes =
            [("tokens.refresh_ttl", "30m"), ("tokens.session_ttl", "40m"), ("tokens.refresh_grace", "5m")];
        let app = TestApp::with(engine, Options::of(lifetimes)).await;
        register(&app, "alice").await;
        let first = try_log_in(&app, "alice", PASSWORD).await.expect(200);
        assert_eq!(first.json()["expires_in"], 1800);
        let client = add_client(&app, "api").await;
        let is_active = async |token: &str| {
            let fields = [("token", token), ("client_id", "api"), ("client_secret", client.expose())];
            app.form(&path("introspect"), &fields).await.expect(200).json()["active"] == true
        };

        // A refresh, and its repetition within the grace time, 20 minutes before the end.
        app.clock.advance(20 * MINUTE);
        let second = try_refresh(&app, &first.string("refresh_token")).await.expect(200);
        assert_eq!(second.json()["expires_in"], 1200);
        app.clock.advance(4 * MINUTE);
        let again = try_refresh(&app, &first.string("refresh_token")).await.expect(200);
        assert_eq!(again.json()["expires_in"], 960);
        app.clock.advance(15 * MINUTE);
        assert!(is_active(&again.string("access_token")).await);

        // At the end, nothing of it is active; with the leeway, nothing is accepted.
        app.clock.advance(MINUTE);
        assert!(!is_active(&again.string("access_token")).await);
        try_refresh(&app, &second.string("refresh_token")).await.expect_problem(401, "refresh_refused");
        app.clock.advance(MINUTE);
        me(&app, &again.string("access_token")).await.expect_problem(401, "token_invalid");
        app.close().await;
    }
}

#[tokio::test]
async fn a_revocation_outlives_the_tokens_that_other_settings_made() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given tokens that live for an hour, on a node that makes tokens for a minute now.
        let (database, key) = (TestDatabase::new(engine), fixtures::new_keyring().to_text().expose().clone());
        let long = [("tokens.access_ttl", "1h"), ("tokens.refresh_ttl", "1h")];
        let before = node_of(&database, &key, START, long).await;
        let (one, two) = (member(&before, "alice").await, log_in(&before, "alice").await);
        before.close().await;
        let short = [("tokens.access_ttl", "1m"), ("tokens.refresh_ttl", "1h")];
        let node = node_of(&database, &key, START, short).await;

        // When both are logged out, and nearly an hour passes with cleanups and polls.
        node.call(Method::POST, &path("logout"), Some(&one.access), None).await.expect(204);
        let body = json!({"refresh_token": two.refresh});
        node.post(&path("logout"), None, body).await.expect(204);
        for _ in 0..5 {
            node.clock.advance(11 * MINUTE);
            node.settle("cleanup").await;
            node.settle("poll_revocations").await;
        }

        // Then they are refused, here and on a node that starts now.
        let started = node_of(&database, &key, node.clock.now(), short).await;
        for app in [&node, &started] {
            for pair in [&one, &two] {
                me(app, &pair.access).await.expect_problem(401, "token_invalid");
            }
        }
        node.close().await;
        started.close().await;
    }
}

#[tokio::test]
async fn a_clock_that_jumps_and_is_put_right_revives_no_token() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let (database, key) = (TestDatabase::new(engine), fixtures::new_keyring().to_text().expose().clone());
        let [app, other] = [node(&database, &key, START).await, node(&database, &key, START).await];
        let pair = member(&app, "alice").await;
        app.call(Method::POST, &path("logout"), Some(&pair.access), None).await.expect(204);
        other.settle("poll_revocations").await;

        for ahead in [35 * MINUTE, 6 * DAY, 5000 * DAY] {
            for app in [&app, &other] {
                app.clock.jump_to(START.plus(ahead));
                app.settle("poll_revocations").await;
                app.settle("cleanup").await;
                app.clock.jump_to(START);
                app.settle("poll_revocations").await;
            }
        }

        let started = node(&database, &key, START).await;
        for app in [app, other, started] {
            me(&app, &pair.access).await.expect_problem(401, "token_invalid");
            app.close().await;
        }
    }
}

#[tokio::test]
async fn a_clock_that_jumps_between_two_looks_removes_nothing_and_refuses_no_session_for_good() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // given sessions, and a look at the clock a moment ago
        let app = TestApp::start(engine).await;
        let alice = member(&app, "alice").await;
        app.settle("ship_audit").await;
        app.settle("poll_revocations").await;

        // when the clock jumps, and jobs and requests run before the next look
        app.clock.jump_to(START.plus(1000 * DAY));
        app.settle("cleanup").await;
        app.settle("ship_audit").await;
        app.settle("keep_clock").await;
        try_refresh(&app, &alice.refresh).await.expect_problem(503, "unavailable");

        // then everything is there when it is right again
        app.clock.jump_to(START);
        app.settle("poll_revocations").await;
        assert!(!app.event_kinds().contains(&"rows_cleaned"));
        let next = refresh(&app, &alice.refresh).await;
        me(&app, &next.access).await.expect(200);
        app.close().await;
    }
}

#[tokio::test]
async fn a_start_with_the_clock_of_2040_deletes_nothing_and_stops_nothing() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given a node that has stored its time.
        let (database, key) = (TestDatabase::new(engine), fixtures::new_keyring().to_text().expose().clone());
        let today = node(&database, &key, START).await;
        today.settle("keep_clock").await;
        let kept = member(&today, "alice").await;

        // When one starts in 2040, runs every job, and is killed while it holds one.
        let wrong = node(&database, &key, START.plus(5000 * DAY)).await;
        for job in ["poll_revocations", "keep_clock", "rotate_signing_keys", "cleanup", "repepper_hashes"] {
            wrong.settle(job).await;
        }
        let ready = wrong.operator_get("/health/readiness").await.expect(200).json();
        assert_eq!(ready["degraded"], json!(["clock"]));
        assert!(wrong.operator_get("/metrics").await.text.contains("gatewright_clock_believed 0"));
        let now = wrong.clock.now();
        wrong
            .operate(async |ctx| {
                let until = now.plus(MINUTE);
                assert!(ctx.lease.claim_job("cleanup", uuid::Uuid::nil(), until, now).await.unwrap());
            })
            .await;
        assert!(wrong.event_kinds().is_empty(), "nothing was removed or rotated");
        wrong.close().await;

        // Then the session lives, no clock is doubted, and cleanup runs today.
        today.settle("poll_revocations").await;
        assert!(today.services.clock_watch.is_believed());
        let kept = refresh(&today, &kept.refresh).await;
        me(&today, &kept.access).await.expect(200);
        let ended = log_in(&today, "alice").await;
        today.call(Method::POST, &path("logout"), Some(&ended.access), None).await.expect(204);
        today.clock.advance(Duration::from_hours(1));
        today.events();
        today.settle("cleanup").await;
        assert_eq!(today.event_kinds(), ["rows_cleaned"]);
        today.close().await;
    }
}

#[tokio::test]
async fn a_session_of_the_future_is_not_valid_once_the_clock_is_right() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        // Given a login while the clock said 2040, and one while it was ahead by an hour.
        let (database, key) = (TestDatabase::new(engine), fixtures::new_keyring().to_text().expose().clone());
        let wrong = node(&database, &key, START.plus(5000 * DAY)).await;
        let far = member(&wrong, "alice").await;
        wrong.close().await;
        let ahead = node(&database, &key, START.plus(60 * MINUTE)).await;
        let near = log_in(&ahead, "alice").await;
        ahead.close().await;

        // Then the first has neither a refresh nor an access token, and is in no list.
        let app = node(&database, &key, START).await;
        app.events();
        try_refresh(&app, &far.refresh).await.expect_problem(401, "refresh_refused");
        let refused = serde_json::to_value(&app.events()[0].event).unwrap();
        assert_eq!(refused["reason"], "in_the_future", "{refused}");
        me(&app, &far.access).await.expect_problem(401, "token_invalid");

        // And the second lives.
        let near = refresh(&app, &near.refresh).await;
        me(&app, &near.access).await.expect(200);
        let listed =
            app.call(Method::GET, &path("sessions"), Some(&near.access), None).await.expect(200).json();
        assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
        app.close().await;
    }
}

#[tokio::test]
async fn keys_of_the_future_do_not_stop_the_schedule() {
    // Given a first start in 2040: its key is of 2040, and so is the stored time.
    let (database, key) =
        (TestDatabase::new(Engine::Sqlite), fixtures::new_keyring().to_text().expose().clone());
    let wrong = node(&database, &key, START.plus(5000 * DAY)).await;
    wrong.settle("keep_clock").await;
    wrong.close().await;

    // When the clock is right again.
    let app = node(&database, &key, START).await;
    assert!(!app.services.clock_watch.is_believed());
    app.clock.advance(Duration::from_hours(1));
    app.settle("poll_revocations").await;
    assert!(app.services.clock_watch.is_believed());
    app.settle("keep_clock").await;
    app.settle("rotate_signing_keys").await;
    app.events();

    // Then the schedule goes on from today, and the next start believes its clock.
    for _ in 0..92 {
        app.clock.advance(DAY);
        app.settle("rotate_signing_keys").await;
    }
    assert_eq!(app.event_kinds(), ["key_created", "key_activated", "key_removed"]);
    app.settle("keep_clock").await;
    let next = node(&database, &key, app.clock.now()).await;
    assert!(next.services.clock_watch.is_believed());
    next.close().await;
    app.close().await;
}

#[tokio::test]
async fn a_rotation_in_the_future_is_not_within_the_grace_time() {
    // Given a rotation by a node that is an hour ahead, twice.
    let (database, key) =
        (TestDatabase::new(Engine::Sqlite), fixtures::new_keyring().to_text().expose().clone());
    let ahead = node(&database, &key, START.plus(Duration::from_hours(1))).await;
    let first = member(&ahead, "alice").await;
    let second = refresh(&ahead, &first.refresh).await;
    refresh(&ahead, &second.refresh).await;
    ahead.close().await;

    // When its token is used again here, where that time is in the future.
    let app = node(&database, &key, START).await;
    try_refresh(&app, &first.refresh).await.expect_problem(401, "refresh_refused");

    assert_eq!(app.event_kinds(), ["refresh_stolen"]);
    app.close().await;
}
