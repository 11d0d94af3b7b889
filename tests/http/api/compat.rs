//! Legacy routes.

use fixtures::{Engine, Options, TestApp, on_both};
use serde_json::{Value, json};

use crate::api_calls::PASSWORD;

on_both! {
    legacy_routes_name_their_successor,
}

async fn legacy_routes_name_their_successor(app: &TestApp) {
    let body = json!({"email": "flutter@example.com", "password": PASSWORD,
        "country": "US", "annual_income": 1, "timezone": "UTC"});

    let names = [
        ("/flutter-register", "/api/auth/register"),
        ("/flutter-login", "/api/auth/login"),
        ("/api/auth/emergency-register", "/api/auth/register"),
        ("/api/auth/emergency-register-legacy", "/api/auth/register"),
    ];

    for (index, (name, successor)) in names.into_iter().enumerate() {
        let answer = app.post(name, None, body.clone()).await;
        let status = if index == 0 {
            201
        } else if index == 1 {
            200
        } else {
            400
        };
        let answer = answer.expect(status);
        assert_eq!(answer.header("deprecation"), "@1767225600");
        assert_eq!(answer.header("link"), format!("<{successor}>; rel=\"successor-version\""));
        assert_eq!(answer.header("sunset"), "");
        if status < 300 {
            let json = answer.json();
            assert_eq!(
                (json["token_type"].as_str(), json["user"]["email"].as_str()),
                (Some("bearer"), Some("flutter@example.com"))
            );
        }
    }

    let page = app.operator_get("/metrics").await.text;
    for (name, _) in names {
        assert!(page.contains(&format!("legacy_route_requests_total{{route=\"{name}\"}} 1\n")), "{page}");
    }

    for name in ["refresh", "logout", "me", "sessions", "password", "logout-all"] {
        let answer = app.get(&format!("/api/auth/{name}"), None).await;
        assert_ne!(answer.status.as_u16(), 404, "{name}");
    }
}

#[tokio::test]
async fn legacy_routes_can_be_switched_off_and_dated() {
    let options = Options::of([("legacy.enabled", "false"), ("legacy.sunset", "2027-01-01")]);
    let app = TestApp::with(Engine::Sqlite, options).await;
    let answer = app.post("/flutter-login", None, Value::Null).await.expect_problem(410, "legacy_gone");
    assert_eq!(answer.header("sunset"), "Fri, 01 Jan 2027 00:00:00 GMT");
    app.get("/flutter-login", None).await.expect_problem(410, "legacy_gone");
    app.post("/api/auth/login", None, json!({"email": "a@b.co", "password": "x"})).await.expect(401);
    app.close().await;
}
