//! The feed of revocations, for applications that verify access tokens offline.

use std::time::Duration;

use auth::recover::Plan;
use fixtures::{Answer, TestApp, on_both};
use model::ClientRight;
use serde_json::{Value, json};

use crate::api_calls::{Pair, add_client, log_in, member, path, register};

on_both! {
    the_feed_lists_ended_sessions_in_order_and_resumes,
    a_call_that_waits_holds_no_connection_and_ends_with_the_next_logout,
    a_number_of_removed_revocations_is_gone,
    a_number_that_the_database_never_had_is_gone,
    a_recovery_leaves_no_number_of_before_valid,
    only_a_client_with_the_right_reads_the_feed,
}

const READER: &str = "reader";

async fn read(app: &TestApp, secret: &str, query: &str) -> Answer {
    app.get_as_client(&format!("/api/v1/revocations{query}"), READER, secret).await
}

async fn reader(app: &TestApp) -> String {
    add_client(app, READER).await.expose().clone()
}

fn sid(pair: &Pair) -> String {
    use base64::Engine as _;
    let claims = pair.access.split('.').nth(1).unwrap();
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["sid"].as_str().unwrap().to_owned()
}

async fn log_out(app: &TestApp, pair: &Pair) {
    app.post(&path("logout"), None, json!({"refresh_token": pair.refresh})).await.expect(204);
}

fn sids(page: &Value) -> Vec<&str> {
    page["revocations"].as_array().unwrap().iter().map(|one| one["sid"].as_str().unwrap()).collect()
}

async fn the_feed_lists_ended_sessions_in_order_and_resumes(app: &TestApp) {
    // Given a realm without revocations.
    let secret = reader(app).await;
    let empty = read(app, &secret, "").await.expect(200).json();
    assert_eq!(empty, json!({"revocations": [], "next": 0, "newest": 0, "epoch": 0}));

    // When two sessions end one after the other, and then two more together.
    register(app, "alice").await;
    let mut pairs = Vec::new();
    for _ in 0..4 {
        pairs.push(log_in(app, "alice").await);
    }
    log_out(app, &pairs[2]).await;
    log_out(app, &pairs[0]).await;
    app.call(http::Method::POST, &path("logout-all"), Some(&pairs[1].access), None).await.expect(204);

    // Then the feed has them in this order, with numbers, and until when they matter.
    let whole = read(app, &secret, "?after=0").await.expect(200).json();
    assert_eq!(sids(&whole)[..2], [sid(&pairs[2]), sid(&pairs[0])]);
    assert_eq!((sids(&whole).len(), &whole["next"], &whole["newest"]), (4, &json!(3), &json!(3)));
    let numbers: Vec<_> = whole["revocations"].as_array().unwrap().iter().map(|one| &one["number"]).collect();
    assert_eq!(numbers, [1, 2, 3, 3]);
    let at = |name: &str| whole["revocations"][0][name].as_str().and_then(model::Now::parse).unwrap();
    assert_eq!(at("revoked_at"), app.clock.now());
    assert!(at("until") >= app.clock.now().plus(Duration::from_mins(30)), "longer than any of its tokens");

    // And a reader goes on after a number that it has; at the newest one there is nothing more.
    let rest = read(app, &secret, "?after=2").await.expect(200).json();
    assert_eq!((sids(&rest).len(), &rest["next"]), (2, &json!(3)));
    let none = read(app, &secret, "?after=3").await.expect(200).json();
    assert_eq!((sids(&none).len(), &none["next"]), (0, &json!(3)));
    assert_eq!(read(app, &secret, "?after=0&wait=30").await.expect(200).json(), whole, "without a wait");
}

async fn a_call_that_waits_holds_no_connection_and_ends_with_the_next_logout(app: &TestApp) {
    // Given a call that waits. The application has one connection, and a test allows no second one.
    let (secret, pair) = (reader(app).await, member(app, "alice").await);
    let waiting = async {
        let answer = read(app, &secret, "?after=0&wait=30").await.expect(200).json();
        assert_eq!(sids(&answer), [sid(&pair)]);
    };

    // When the session ends and the node polls, then the call is answered.
    let ending = async {
        while app.services.feed.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        log_out(app, &pair).await;
        app.step("poll_revocations").await;
    };
    tokio::join!(waiting, ending);
    assert_eq!(app.services.feed.waiting(), 0);

    // And a wait without news ends by itself.
    let answer = read(app, &secret, "?after=1&wait=1").await.expect(200).json();
    assert_eq!((sids(&answer).len(), &answer["next"]), (0, &json!(1)));
}

async fn a_number_of_removed_revocations_is_gone(app: &TestApp) {
    let secret = reader(app).await;
    register(app, "alice").await;
    for _ in 0..3 {
        log_out(app, &log_in(app, "alice").await).await;
    }
    app.clock.advance(Duration::from_hours(2));
    log_out(app, &log_in(app, "alice").await).await;
    app.settle("cleanup").await;

    for gone in 1..3 {
        let answer = read(app, &secret, &format!("?after={gone}&wait=30")).await;
        answer.expect_problem(410, "revocations_gone");
    }
    for (present, entries) in [(0, 1), (3, 1), (4, 0)] {
        let answer = read(app, &secret, &format!("?after={present}")).await.expect(200).json();
        assert_eq!((sids(&answer).len(), &answer["next"]), (entries, &json!(4)), "{present}");
    }
    assert_eq!(read(app, &secret, "").await.expect(200).json()["next"], 4);
}

async fn a_number_that_the_database_never_had_is_gone(app: &TestApp) {
    let (secret, pair) = (reader(app).await, member(app, "alice").await);
    log_out(app, &pair).await;
    read(app, &secret, "?after=1").await.expect(200);
    read(app, &secret, "?after=2&wait=30").await.expect_problem(410, "revocations_gone");
}

async fn a_recovery_leaves_no_number_of_before_valid(app: &TestApp) {
    // Given a reader of four revocations, two of which the database has lost since.
    let (secret, pair) = (reader(app).await, member(app, "alice").await);
    log_out(app, &pair).await;
    log_out(app, &log_in(app, "alice").await).await;

    // When it is recovered, and numbers are given again.
    app.operate(async |ctx| auth::recover::recover(ctx, &Plan::default(), false).await.unwrap()).await;
    for _ in 0..3 {
        log_out(app, &log_in(app, "alice").await).await;
    }

    // Then every number of before is gone, and the list is whole, with an epoch by which older tokens end.
    for old in 1..=5 {
        read(app, &secret, &format!("?after={old}")).await.expect_problem(410, "revocations_gone");
    }
    let whole = read(app, &secret, "").await.expect(200).json();
    assert_eq!((sids(&whole).len(), sids(&whole)[0]), (5, sid(&pair).as_str()));
    assert_eq!(whole["epoch"], app.clock.now().seconds());
    assert!(whole["next"].as_i64().unwrap() < 1 << 53, "JSON holds it exactly");
    let first = whole["revocations"][0]["number"].as_i64().unwrap();
    let rest = read(app, &secret, &format!("?after={first}")).await.expect(200).json();
    assert_eq!((sids(&rest).len(), &rest["next"]), (4, &whole["next"]));
}

async fn only_a_client_with_the_right_reads_the_feed(app: &TestApp) {
    let secret = reader(app).await;
    read(app, "gwc_wrong", "").await.expect_problem(401, "invalid_client");
    app.get("/api/v1/revocations", None).await.expect_problem(401, "invalid_client");
    let pair = member(app, "alice").await;
    app.get("/api/v1/revocations", Some(&pair.access)).await.expect_problem(401, "invalid_client");
    for wrong in ["?after=-1", "?after=x", "?after=1&after=2", "?wait=1.5", "?after="] {
        read(app, &secret, wrong).await.expect_problem(400, "malformed_query");
    }

    let rights = || [ClientRight::Introspect].into_iter().collect();
    app.operate(async |ctx| auth::client::set_rights(ctx, READER, rights()).await.unwrap()).await;
    read(app, &secret, "").await.expect_problem(403, "client_not_allowed");
}
