//! Headers, CORS, caching, health, the OpenAPI document, legacy routes and key rotation.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::body::Body;
use fixtures::{Engine, Options, TestApp, on_both};
use http::{Method, Request};
use serde_json::{Value, json};

use crate::people::{PASSWORD, log_in, me, member, path, refresh};

fn with_origin(method: Method, path: &str, origin: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("origin", origin)
}

on_both! {
    a_54_nothing_with_a_token_is_cached,
    security_headers_are_on_every_answer,
    every_documented_operation_is_routed,
    legacy_routes_name_their_successor,
    health_answers_what_the_seeds_document,
    a_62_keys_rotate_with_overlap_and_at_once,
    a_request_id_is_ours_unless_a_trusted_proxy_gives_one,
}

async fn a_54_nothing_with_a_token_is_cached(app: &TestApp) {
    let pair = member(app, "alice").await;
    for answer in [
        me(app, &pair.access).await,
        crate::people::try_refresh(app, &pair.refresh).await,
        me(app, "x").await,
        app.get("/nothing", None).await,
    ] {
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("etag"), "");
    }
}

async fn security_headers_are_on_every_answer(app: &TestApp) {
    for route in [
        "/health/liveness",
        "/nothing",
        "/docs",
        "/openapi.json",
        "/api/v1/auth/me",
        "/.well-known/jwks.json",
    ] {
        let answer = app.get(route, None).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{route}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{route}");
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{route}");
        assert!(answer.header("strict-transport-security").contains("max-age=31536000"), "{route}");
        assert!(!answer.header("x-request-id").is_empty(), "{route}");
        for leak in ["server", "x-powered-by"] {
            assert_eq!(answer.header(leak), "", "{route}");
        }
    }
}

async fn every_documented_operation_is_routed(app: &TestApp) {
    let document = app.get("/openapi.json", None).await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");

    let mut documented = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let concrete = path.replace("{id}", &uuid::Uuid::nil().to_string());
            let answer = app.call(method.to_uppercase().parse().unwrap(), &concrete, None, None).await;
            assert!(!matches!(answer.status.as_u16(), 405 | 500), "{method} {path}: {}", answer.text);
            assert_ne!(answer.json()["code"], "not_found", "{method} {path}");
            assert!(
                item[method]["responses"].as_object().unwrap().contains_key(answer.status.as_str())
                    || answer.status == 401,
                "{method} {path} answers {}",
                answer.status
            );
            documented.insert(format!("{} {path}", method.to_uppercase()));
        }
    }

    // Every method that a documented path allows is documented.
    for path in document["paths"].as_object().unwrap().keys() {
        let concrete = path.replace("{id}", &uuid::Uuid::nil().to_string());
        let allow = app.call(Method::TRACE, &concrete, None, None).await.expect(405);
        for method in allow.header("allow").split(',').filter(|method| *method != "HEAD") {
            assert!(documented.contains(&format!("{method} {path}")), "{method} {path}");
        }
    }
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

    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let page = tower::ServiceExt::oneshot(app.operations.clone(), request).await.unwrap();
    let page = http_body_util::BodyExt::collect(page.into_body()).await.unwrap().to_bytes();
    let page = String::from_utf8(page.to_vec()).unwrap();
    for (name, _) in names {
        assert!(page.contains(&format!("legacy_route_requests_total{{route=\"{name}\"}} 1\n")), "{page}");
    }

    for name in ["refresh", "logout", "me", "sessions", "password", "logout-all"] {
        let answer = app.get(&format!("/api/auth/{name}"), None).await;
        assert_ne!(answer.status.as_u16(), 404, "{name}");
    }
}

async fn health_answers_what_the_seeds_document(app: &TestApp) {
    assert_eq!(app.get("/health/liveness", None).await.expect(200).text, "{\"status\":\"alive\"}");
    assert_eq!(app.get("/health/readiness", None).await.expect(200).text, "{\"status\":\"ready\"}");
    app.get("/health/startup", None).await.expect(200);
}

async fn a_62_keys_rotate_with_overlap_and_at_once(app: &TestApp) {
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

async fn a_request_id_is_ours_unless_a_trusted_proxy_gives_one(app: &TestApp) {
    let request =
        Request::get("/nothing").header("x-request-id", "client-made-7").body(Body::empty()).unwrap();
    let answer = app.send(request).await.expect_problem(404, "not_found");
    assert_ne!(answer.header("x-request-id"), "client-made-7");
    assert_eq!(uuid::Uuid::parse_str(answer.header("x-request-id")).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn a_55_only_listed_origins_and_never_null() {
    let mut options = Options::default();
    options.web.cors_allowed_origins = vec!["https://app.example".to_owned()];
    let app = TestApp::with(Engine::Sqlite, options).await;

    let allowed = "https://app.example";
    for (method, route, status) in [
        (Method::GET, "/api/v1/auth/me", 401),
        (Method::GET, "/nothing", 404),
        (Method::GET, "/health/liveness", 200),
    ] {
        let answer =
            app.send(with_origin(method, route, allowed).body(Body::empty()).unwrap()).await.expect(status);
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert_eq!(
            answer.header("access-control-expose-headers"),
            "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id"
        );
        assert_eq!(answer.header("vary"), "Origin");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
    }

    for origin in [
        "null",
        "https://evil.example",
        "https://app.example.evil.example",
        "http://app.example",
        "https://app.example:8443",
        "HTTPS://APP.EXAMPLE",
        "",
    ] {
        let answer =
            app.send(with_origin(Method::GET, "/health/liveness", origin).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.header("access-control-allow-origin"), "", "{origin}");
    }

    let preflight =
        with_origin(Method::OPTIONS, &path("token"), allowed).header("access-control-request-method", "POST");
    let answer = app.send(preflight.body(Body::empty()).unwrap()).await.expect(204);
    assert!(answer.header("access-control-allow-headers").contains("Authorization"));

    let foreign = with_origin(Method::OPTIONS, &path("token"), "https://evil.example")
        .header("access-control-request-method", "POST");
    assert_eq!(
        app.send(foreign.body(Body::empty()).unwrap()).await.header("access-control-allow-origin"),
        ""
    );

    let jwks = with_origin(Method::GET, "/.well-known/jwks.json", "https://evil.example")
        .body(Body::empty())
        .unwrap();
    assert_eq!(app.send(jwks).await.header("access-control-allow-origin"), "*");
    app.close().await;
}

#[tokio::test]
async fn legacy_routes_can_be_switched_off_and_dated() {
    let mut options = Options::default();
    options.web.legacy_enabled = false;
    options.web.legacy_sunset = Some(model::Now::from_seconds(1_798_761_600));
    let app = TestApp::with(Engine::Sqlite, options).await;
    let answer = app.post("/flutter-login", None, Value::Null).await.expect_problem(410, "legacy_gone");
    assert_eq!(answer.header("sunset"), "Fri, 01 Jan 2027 00:00:00 GMT");
    app.post("/api/auth/login", None, json!({"email": "a@b.co", "password": "x"})).await.expect(401);
    app.close().await;
}

#[tokio::test]
async fn a_trusted_proxys_request_id_and_address_are_taken() {
    let mut options = Options::default();
    options.web.trusted_proxies = protocol::wire::forwarded::TrustedProxies::parse(["127.0.0.0/8"]).unwrap();
    let app = TestApp::with(Engine::Sqlite, options).await;
    let request = Request::post(path("token"))
        .header("x-request-id", "edge-42")
        .header("x-forwarded-for", "203.0.113.7, 127.0.0.9")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = app.send(request.body(Body::from("username=x&password=y")).unwrap()).await.expect(401);
    assert_eq!(answer.header("x-request-id"), "edge-42");
    let origin = &app.events()[0].origin;
    assert_eq!(origin.address, Some("203.0.113.7".parse().unwrap()));
    assert_eq!(origin.request_id.as_ref().unwrap().0, "edge-42");
    app.close().await;
}

/// Only the mint issues tokens; no other code calls the signer.
#[test]
fn only_the_mint_reaches_the_signer() {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");
    let mut callers = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(crates)];

    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs")
                && !path
                    .strip_prefix(crates)
                    .unwrap()
                    .components()
                    .any(|part| part.as_os_str() == "protocol" || part.as_os_str() == "tests")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                if code.contains(".sign(") {
                    callers.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
    }

    callers.sort_unstable();
    // Webhooks are signed by their own MAC, with a secret that the receiver shares.
    assert_eq!(callers, ["mint.rs", "webhook_signature.rs"]);
}
