//! Sessions: login, refresh, list and logout.

mod clients;
mod login;
mod refresh;
mod token;

use fixtures::{TestApp, on_both};
use http::Method;
use serde_json::{Value, json};

use crate::api_calls::{log_in, me, member, path, try_refresh};

on_both! {
    logout_is_idempotent_and_takes_either_token,
    only_the_owner_lists_and_ends_sessions,
    a_logout_whose_session_has_no_row_is_recorded,
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

async fn only_the_owner_lists_and_ends_sessions(app: &TestApp) {
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

async fn a_logout_whose_session_has_no_row_is_recorded(app: &TestApp) {
    // Given a session of which only the access token is left.
    for name in ["alice", "bob"] {
        let pair = member(app, name).await;
        let far = app.clock.now().plus(std::time::Duration::from_hours(24 * 400));
        app.operate(async |ctx| {
            let removed: Result<(), store::Error> = ctx
                .lease
                .transact(model::intent::RowsCleaned {}, async move |tx| {
                    let gone = tx.all(store::queries::session::delete_expired(far, 10)).await?;
                    let sessions = gone.len() as u64;
                    Ok((model::event::RowsCleaned { sessions, revocations: 0, networks: 0 }, ()))
                })
                .await;
            removed.unwrap();
        })
        .await;
        me(app, &pair.access).await.expect(200);
        app.events();

        // When it logs out, once or everywhere, and does so again.
        let route = if name == "alice" { "logout" } else { "logout-all" };
        app.call(Method::POST, &path(route), Some(&pair.access), None).await.expect(204);
        app.call(Method::POST, &path("logout"), Some(&pair.access), None).await.expect(204);

        // Then the end of its session is recorded once, and the token is refused.
        assert_eq!(app.event_kinds().len(), 1);
        me(app, &pair.access).await.expect_problem(401, "token_invalid");
    }
}
