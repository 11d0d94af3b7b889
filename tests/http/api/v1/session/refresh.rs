//! A lost response does not end the session, and token theft is detected.

use std::time::Duration;

use fixtures::{Engine, Options, TestApp, on_both};
use futures_util::future::join_all;
use serde_json::json;

use crate::api_calls::{Pair, log_in, me, member, path, refresh, register, try_refresh};

const MINUTE: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);

async fn refused(app: &TestApp, token: &str) {
    try_refresh(app, token).await.expect_problem(401, "refresh_refused");
}

on_both! {
    a_replay_within_the_grace_time_returns_the_same_successor,
    a_replay_within_the_grace_time_is_accepted_after_the_successor_was_used,
    a_late_replay_returns_the_unused_successor,
    late_replays_of_three_generations_in_a_row_are_theft,
    a_timely_generation_resets_the_count_of_late_replays,
    a_late_replay_after_the_successor_was_used_is_theft,
    no_replay_revives_a_session_after_logout,
    sixty_four_concurrent_refreshes_get_one_successor,
    two_tabs_that_refresh_at_once_get_one_successor,
    a_session_ends_when_it_is_idle_and_at_its_end,
    no_replay_extends_an_expiry,
    a_session_over_the_limit_ends_the_oldest,
    a_refresh_only_narrows_the_scope,
    tokens_that_were_never_issued_are_refused,
}

async fn a_replay_within_the_grace_time_returns_the_same_successor(app: &TestApp) {
    let first = member(app, "alice").await;
    let second = refresh(app, &first.refresh).await;
    app.clock.advance(9 * SECOND);
    let again = refresh(app, &first.refresh).await;
    assert_eq!(second.refresh, again.refresh);
    assert_ne!(second.access, again.access, "a new access token");
    me(app, &again.access).await.expect(200);
}

async fn a_replay_within_the_grace_time_is_accepted_after_the_successor_was_used(app: &TestApp) {
    let first = member(app, "alice").await;
    let second = refresh(app, &first.refresh).await;
    let third = refresh(app, &second.refresh).await;
    app.clock.advance(9 * SECOND);
    assert_eq!(refresh(app, &first.refresh).await.refresh, second.refresh);
    assert_eq!(refresh(app, &second.refresh).await.refresh, third.refresh);
    refresh(app, &third.refresh).await;
}

async fn a_late_replay_returns_the_unused_successor(app: &TestApp) {
    let first = member(app, "alice").await;
    let second = refresh(app, &first.refresh).await;
    app.clock.advance(MINUTE);
    app.events();
    assert_eq!(refresh(app, &first.refresh).await.refresh, second.refresh);
    assert_eq!(refresh(app, &first.refresh).await.refresh, second.refresh, "one generation counts once");
    assert_eq!(app.event_kinds(), ["refresh_replayed_late", "refresh_replayed_late"]);
    refresh(app, &second.refresh).await;
}

async fn late_replays_of_three_generations_in_a_row_are_theft(app: &TestApp) {
    let mut pair = member(app, "alice").await;
    for _ in 0..2 {
        let next = refresh(app, &pair.refresh).await;
        app.clock.advance(MINUTE);
        assert_eq!(refresh(app, &pair.refresh).await.refresh, next.refresh);
        pair = next;
    }
    let next = refresh(app, &pair.refresh).await;
    app.clock.advance(MINUTE);
    app.events();
    refused(app, &pair.refresh).await;
    assert_eq!(app.event_kinds(), ["refresh_stolen"]);
    refused(app, &next.refresh).await;
    me(app, &next.access).await.expect_problem(401, "token_invalid");
}

async fn a_timely_generation_resets_the_count_of_late_replays(app: &TestApp) {
    let mut pair = member(app, "alice").await;
    for _ in 0..5 {
        let late = refresh(app, &pair.refresh).await;
        app.clock.advance(MINUTE);
        assert_eq!(refresh(app, &pair.refresh).await.refresh, late.refresh);
        let good = refresh(app, &late.refresh).await;
        pair = refresh(app, &good.refresh).await;
        app.clock.advance(MINUTE);
    }
}

async fn a_late_replay_after_the_successor_was_used_is_theft(app: &TestApp) {
    let first = member(app, "alice").await;
    let second = refresh(app, &first.refresh).await;
    let third = refresh(app, &second.refresh).await;
    app.clock.advance(11 * SECOND);
    app.events();
    refused(app, &first.refresh).await;
    assert_eq!(app.event_kinds(), ["refresh_stolen"]);
    refused(app, &third.refresh).await;
    me(app, &third.access).await.expect_problem(401, "token_invalid");
    log_in(app, "alice").await;
}

async fn no_replay_revives_a_session_after_logout(app: &TestApp) {
    let first = member(app, "alice").await;
    let second = refresh(app, &first.refresh).await;
    app.post(&path("logout"), None, json!({"refresh_token": first.refresh})).await.expect(204);
    for token in [&first.refresh, &second.refresh] {
        refused(app, token).await;
    }
}

async fn sixty_four_concurrent_refreshes_get_one_successor(app: &TestApp) {
    let first = member(app, "alice").await;
    let answers = join_all((0..64).map(|_| refresh(app, &first.refresh))).await;
    let successor = &answers[0].refresh;
    assert!(answers.iter().all(|pair| pair.refresh == *successor));
    assert!(answers.iter().all(|pair| pair.access != first.access));
    refresh(app, successor).await;
}

/// How often two tabs refresh at once: 200 times, or `GATEWRIGHT_TEST_PAIRS` times.
#[expect(clippy::disallowed_methods, reason = "the environment selects the long form of the test")]
fn pairs() -> u32 {
    std::env::var("GATEWRIGHT_TEST_PAIRS").ok().and_then(|text| text.parse().ok()).unwrap_or(200)
}

async fn two_tabs_that_refresh_at_once_get_one_successor(app: &TestApp) {
    let mut pair = member(app, "alice").await;
    for round in 0..pairs() {
        let (left, right) = tokio::join!(refresh(app, &pair.refresh), refresh(app, &pair.refresh));
        assert_eq!(left.refresh, right.refresh, "round {round}");
        pair = left;
        app.clock.advance(if round % 3 == 0 { 20 * MINUTE } else { SECOND });
    }
}

async fn a_session_ends_when_it_is_idle_and_at_its_end(app: &TestApp) {
    let idle = member(app, "alice").await;
    app.clock.advance(Duration::from_hours(24 * 30));
    refused(app, &idle.refresh).await;
    let mut pair = log_in(app, "alice").await;
    for _ in 0..4 {
        app.clock.advance(Duration::from_hours(24 * 20));
        pair = refresh(app, &pair.refresh).await;
    }
    app.clock.advance(Duration::from_hours(24 * 10));
    refused(app, &pair.refresh).await;
}

async fn no_replay_extends_an_expiry(app: &TestApp) {
    let first = member(app, "alice").await;
    refresh(app, &first.refresh).await;
    app.clock.advance(Duration::from_hours(24 * 29));
    refresh(app, &first.refresh).await;
    app.clock.advance(Duration::from_hours(25));
    refused(app, &first.refresh).await;
}

async fn a_session_over_the_limit_ends_the_oldest(app: &TestApp) {
    register(app, "alice").await;
    let mut pairs: Vec<Pair> = Vec::new();
    for _ in 0..101 {
        app.clock.advance(SECOND);
        pairs.push(log_in(app, "alice").await);
    }
    me(app, &pairs[0].access).await.expect_problem(401, "token_invalid");
    refused(app, &pairs[0].refresh).await;
    me(app, &pairs[1].access).await.expect(200);
    let listed = app.get(&path("sessions"), Some(&pairs[100].access)).await.expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 100);
}

async fn a_refresh_only_narrows_the_scope(app: &TestApp) {
    let first = member(app, "alice").await;
    let body = json!({"refresh_token": first.refresh, "scope": "admin"});
    app.post(&path("refresh"), None, body).await.expect_problem(400, "invalid_scope");
}

async fn tokens_that_were_never_issued_are_refused(app: &TestApp) {
    let first = member(app, "alice").await;
    let mut changed = first.refresh.clone();
    let last = changed.pop().unwrap();
    changed.push(if last == 'A' { 'B' } else { 'A' });
    for token in
        [changed.as_str(), "", "gwr_", "gwr_AAAA", "x", &first.access, "gwr_\u{0}", &"g".repeat(5000)]
    {
        refused(app, token).await;
    }
    refresh(app, &first.refresh).await;
}

#[tokio::test]
async fn with_revoke_every_late_replay_is_theft() {
    let options = Options::of([("tokens.refresh_reuse", "revoke")]);
    let app = TestApp::with(Engine::Sqlite, options).await;
    let first = member(&app, "alice").await;
    let second = refresh(&app, &first.refresh).await;
    app.clock.advance(11 * SECOND);
    refused(&app, &first.refresh).await;
    refused(&app, &second.refresh).await;
    app.close().await;
}
