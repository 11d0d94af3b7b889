//! The token endpoint and revocation, as libraries of OAuth 2.0 use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use auth::limits::LimitSettings;
use fixtures::{Answer, Engine, Options, TestApp, on_both};
use http::Method;

use crate::api_calls::{PASSWORD, Pair, log_in, me, member, path, refresh, register, try_refresh};

const FORM: &str = "application/x-www-form-urlencoded";

on_both! {
    errors_carry_the_members_of_oauth_beside_those_of_the_problem,
    a_refresh_at_the_token_endpoint_is_a_refresh,
    grant_types_other_than_password_and_refresh_token_are_unsupported,
    an_empty_scope_is_left_out_of_token_answer_and_introspection,
    a_multipart_form_logs_in,
    a_revoked_token_of_either_kind_ends_its_session,
    revoking_an_unknown_token_is_answered_like_any_other,
}

async fn form(app: &TestApp, fields: &[(&str, &str)]) -> Answer {
    app.form(&path("token"), fields).await
}

#[track_caller]
fn assert_oauth(answer: &Answer, status: u16, error: &str, code: &str) {
    let json = answer.json();
    let about = &answer.text;
    assert_eq!(answer.status.as_u16(), status, "{about}");
    assert_eq!(answer.header("content-type"), "application/json", "{about}");
    assert_eq!((json["error"].as_str(), json["code"].as_str()), (Some(error), Some(code)), "{about}");
    assert_eq!(json["error_description"], json["detail"], "{about}");
    assert_eq!(json["status"], status, "{about}");
    assert_eq!(json["instance"].as_str(), Some(answer.header("x-request-id")), "{about}");
    assert_eq!(answer.header("cache-control"), "no-store", "{about}");
}

async fn errors_carry_the_members_of_oauth_beside_those_of_the_problem(app: &TestApp) {
    register(app, "alice").await;
    let wrong = form(app, &[("username", "alice"), ("password", "not-this-one")]).await;
    assert_oauth(&wrong, 401, "invalid_grant", "invalid_credentials");
    assert_eq!(wrong.header("www-authenticate"), "Bearer");

    let unnamed = form(app, &[]).await;
    assert_oauth(&unnamed, 422, "invalid_request", "validation_failed");
    let missing: Vec<_> =
        unnamed.json()["errors"].as_array().unwrap().iter().map(|e| e["loc"][1].clone()).collect();
    assert_eq!(missing, ["username", "password"]);

    let scope = form(app, &[("username", "alice"), ("password", PASSWORD), ("scope", "root")]).await;
    assert_oauth(&scope, 400, "invalid_scope", "invalid_scope");

    for name in ["token", "revoke", "introspect"] {
        let json = Some(("application/json", "{}".to_owned()));
        let wrong_type = app.call(Method::POST, &path(name), None, json).await;
        assert_oauth(&wrong_type, 415, "invalid_request", "unsupported_media_type");
        let wrong_method = app.get(&path(name), None).await;
        assert_oauth(&wrong_method, 405, "invalid_request", "method_not_allowed");
    }
    assert_oauth(&app.form(&path("revoke"), &[]).await, 400, "invalid_request", "validation_failed");
}

async fn a_refresh_at_the_token_endpoint_is_a_refresh(app: &TestApp) {
    let first = member(app, "alice").await;
    app.events();
    let at_token = |token: String| async move {
        form(app, &[("grant_type", "refresh_token"), ("refresh_token", &token), ("client_id", "spa")]).await
    };

    let second = Pair::from(&at_token(first.refresh.clone()).await.expect(200));
    let again = refresh(app, &first.refresh).await;
    assert_eq!(second.refresh, again.refresh, "both endpoints rotate one session");
    assert_eq!(app.event_kinds(), ["session_refreshed", "refresh_replayed"]);
    me(app, &second.access).await.expect(200);

    for token in ["gwr_none", "", &second.access] {
        let refused = at_token(token.to_owned()).await;
        assert_oauth(&refused, 400, "invalid_grant", "refresh_refused");
    }
    let missing = [("grant_type", "refresh_token"), ("username", "alice"), ("password", PASSWORD)];
    assert_oauth(&form(app, &missing).await, 422, "invalid_request", "validation_failed");
    let wider =
        [("grant_type", "refresh_token"), ("refresh_token", second.refresh.as_str()), ("scope", "root")];
    assert_oauth(&form(app, &wider).await, 400, "invalid_scope", "invalid_scope");
}

async fn grant_types_other_than_password_and_refresh_token_are_unsupported(app: &TestApp) {
    register(app, "alice").await;
    for grant in ["client_credentials", "authorization_code", "Password", "refresh_token ", "x"] {
        for fields in [vec![], vec![("username", "alice"), ("password", PASSWORD)]] {
            let fields = [vec![("grant_type", grant)], fields].concat();
            assert_oauth(&form(app, &fields).await, 400, "unsupported_grant_type", "unsupported_grant_type");
        }
    }
    for grant in ["", "password"] {
        form(app, &[("grant_type", grant), ("username", "alice"), ("password", PASSWORD)]).await.expect(200);
    }
}

async fn an_empty_scope_is_left_out_of_token_answer_and_introspection(app: &TestApp) {
    let secret = crate::api_calls::add_client(app, "api").await;
    register(app, "alice").await;
    let answer = form(app, &[("username", "alice"), ("password", PASSWORD), ("scope", "")]).await.expect(200);
    assert!(answer.json().get("scope").is_none(), "{}", answer.text);
    for token in ["access_token", "refresh_token"] {
        let token = answer.string(token);
        let fields = [("token", token.as_str()), ("client_id", "api"), ("client_secret", secret.expose())];
        let seen = app.form(&path("introspect"), &fields).await.expect(200).json();
        assert!(seen["active"] == true && seen.get("scope").is_none(), "{seen}");
    }
}

async fn multipart(app: &TestApp, boundary: &str, fields: &[(&str, &str)]) -> Answer {
    let part = |(name, value): &(&str, &str)| {
        format!("--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = fields.iter().map(part).chain([format!("--{boundary}--\r\n")]).collect::<String>();
    let kind = format!("multipart/form-data; boundary=\"{boundary}\"");
    app.call(Method::POST, &path("token"), None, Some((&kind, body))).await
}

async fn a_multipart_form_logs_in(app: &TestApp) {
    register(app, "alice").await;
    let fields = [("grant_type", "password"), ("username", "alice"), ("password", PASSWORD)];
    let pair = Pair::from(&multipart(app, "----WebKitFormBoundary7MA4", &fields).await.expect(200));
    let fields = [("grant_type", "refresh_token"), ("refresh_token", pair.refresh.as_str())];
    multipart(app, "x", &fields).await.expect(200);

    let wrong = multipart(app, "x", &[("username", "alice"), ("password", "wrong one")]).await;
    assert_oauth(&wrong, 401, "invalid_grant", "invalid_credentials");
    let twice = [("username", "alice"), ("username", "bob"), ("password", PASSWORD)];
    assert_oauth(&multipart(app, "x", &twice).await, 400, "invalid_request", "malformed_body");
    let unbounded = Some(("multipart/form-data", "--x--".to_owned()));
    let answer = app.call(Method::POST, &path("token"), None, unbounded).await;
    assert_oauth(&answer, 400, "invalid_request", "malformed_body");
}

async fn a_revoked_token_of_either_kind_ends_its_session(app: &TestApp) {
    register(app, "alice").await;
    for hint in ["refresh_token", "access_token", "no_such_hint"] {
        for kind in ["access", "refresh", "an expired access"] {
            // given a session
            let pair = log_in(app, "alice").await;
            app.events();
            if kind == "an expired access" {
                app.clock.advance(Duration::from_hours(2));
            }

            // when its token is revoked, with a right hint or a wrong one
            let token = if kind == "refresh" { &pair.refresh } else { &pair.access };
            let fields = [("token", token.as_str()), ("token_type_hint", hint)];
            let answer = app.form(&path("revoke"), &fields).await.expect(200);

            // then the session is over, for both tokens
            assert_eq!(answer.text, "", "{kind}");
            assert_eq!(app.event_kinds(), ["session_revoked"], "{kind}");
            me(app, &pair.access).await.expect(401);
            try_refresh(app, &pair.refresh).await.expect_problem(401, "refresh_refused");
            app.form(&path("revoke"), &fields).await.expect(200);
        }
    }
}

async fn revoking_an_unknown_token_is_answered_like_any_other(app: &TestApp) {
    let pair = member(app, "alice").await;
    let changed = format!("{}x", pair.refresh);
    for token in ["x", "gwr_none", "a.b.c", changed.as_str(), &"t".repeat(9000)] {
        let answer = app.form(&path("revoke"), &[("token", token)]).await.expect(200);
        assert_eq!(answer.text, "", "{token}");
    }
    me(app, &pair.access).await.expect(200);
}

#[tokio::test]
async fn a_refresh_at_the_token_endpoint_counts_by_session_and_a_login_by_network() {
    // given the default limits
    let app = TestApp::start(Engine::Sqlite).await;
    let first = member(&app, "alice").await;
    app.services.limits.set(LimitSettings::default());
    let login = async |name: &str| form(&app, &[("username", name), ("password", "not-this-one")]).await;

    // when a network has used up its logins
    for at in 0..10 {
        login(&format!("user{at}")).await.expect(401);
    }
    let refused = login("alice").await;
    assert_oauth(&refused, 429, "temporarily_unavailable", "rate_limited");
    assert!(!refused.header("retry-after").is_empty());
    let body = "grant_type=refresh_token&grant_type=password&username=alice&password=x".to_owned();
    let disguised = app.call(Method::POST, &path("token"), None, Some((FORM, body))).await;
    assert_eq!(disguised.status.as_u16(), 429, "what is not readable counts as a login");

    // then refreshes go on, up to the limit of the session
    let mut token = first.refresh;
    for _ in 0..20 {
        let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
        token = form(&app, &fields).await.expect(200).string("refresh_token");
    }
    let fields = [("grant_type", "refresh_token"), ("refresh_token", token.as_str())];
    assert_oauth(&form(&app, &fields).await, 429, "temporarily_unavailable", "rate_limited");

    // and refused ones count in the limit of all requests of the network
    app.clock.advance(Duration::from_mins(2));
    let mut last = 0;
    for _ in 0..30 {
        last = form(&app, &[("grant_type", "refresh_token"), ("refresh_token", "x")]).await.status.as_u16();
    }
    assert_eq!(last, 429, "tokens that were never issued count by network");
    app.close().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_503_for_a_refresh_and_a_revocation() {
    let is_away = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&is_away);
    let faults = store::Faults::new(move |_| asked.load(Ordering::SeqCst).then_some(store::Failure::Before));
    let app = TestApp::with(Engine::Sqlite, Options { faults: Some(faults), ..Options::default() }).await;
    let pair = member(&app, "alice").await;

    is_away.store(true, Ordering::SeqCst);
    let fields = [("grant_type", "refresh_token"), ("refresh_token", pair.refresh.as_str())];
    assert_oauth(&form(&app, &fields).await, 503, "temporarily_unavailable", "unavailable");
    for token in [&pair.refresh, &pair.access] {
        let answer = app.form(&path("revoke"), &[("token", token)]).await;
        assert_oauth(&answer, 503, "temporarily_unavailable", "unavailable");
    }

    is_away.store(false, Ordering::SeqCst);
    form(&app, &fields).await.expect(200);
    app.close().await;
}
