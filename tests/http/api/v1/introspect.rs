//! Introspection (RFC 7662) and how its clients authenticate.

use fixtures::{TestApp, on_both};
use model::ClientRight;
use serde_json::json;

use crate::api_calls::{add_client, member, path, refresh};

on_both! {
    introspection_sees_revocation_at_once,
    a_client_authenticates_with_exactly_one_method,
    a_client_without_the_right_introspects_nothing,
}

pub(super) async fn client(app: &TestApp) -> String {
    add_client(app, "api").await.expose().clone()
}

pub(super) async fn introspect(app: &TestApp, secret: &str, token: &str) -> fixtures::Answer {
    app.form(&path("introspect"), &[("token", token), ("client_id", "api"), ("client_secret", secret)]).await
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

async fn a_client_authenticates_with_exactly_one_method(app: &TestApp) {
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
        assert_eq!(answer.json()["code"], "invalid_client", "{}", answer.text);
    }

    let rotated = app.operate(async |ctx| auth::client::rotate(ctx, "api").await.unwrap()).await;
    introspect(app, &secret, &pair.access).await.expect(401);
    introspect(app, rotated.expose(), &pair.access).await.expect(200);
    app.operate(async |ctx| auth::client::remove(ctx, "api").await.unwrap()).await;
    introspect(app, rotated.expose(), &pair.access).await.expect(401);
}

async fn a_client_without_the_right_introspects_nothing(app: &TestApp) {
    // Given a client that may only read the feed.
    let (secret, pair) = (client(app).await, member(app, "alice").await);
    let set = async |right| {
        let rights = [right].into_iter().collect();
        app.operate(async |ctx| auth::client::set_rights(ctx, "api", rights).await.unwrap()).await;
    };
    set(ClientRight::Feed).await;
    app.events();

    // When it introspects, then it is refused in the dialect of OAuth, and the event says why.
    let answer = introspect(app, &secret, &pair.access).await.expect(403);
    assert_eq!(answer.json()["error"], "unauthorized_client");
    let reason = model::event::Reason::NoRight;
    let client = model::ClientId::parse("api");
    let events: Vec<_> = app.events().into_iter().map(|entry| entry.event).collect();
    assert_eq!(events, [model::Event::ClientRefused { client, reason }]);

    // With the wrong secret it does not learn which rights it has; with the right, it is served again.
    introspect(app, "wrong", &pair.access).await.expect(401);
    set(ClientRight::Introspect).await;
    introspect(app, &secret, &pair.access).await.expect(200);
}
