//! Layers: headers, caching, CORS, request ids and the client's address.

use std::net::IpAddr;

use axum::body::Body;
use fixtures::{Engine, Options, TestApp, on_both};
use http::{Method, Request, Version};

use crate::api_calls::{me, member, path};

on_both! {
    answers_with_tokens_are_not_cached,
    security_headers_are_on_every_answer,
    a_trailing_slash_and_the_public_path_change_nothing,
    a_byte_order_mark_before_json_is_skipped,
    a_body_that_is_not_read_is_not_waited_for,
    a_request_names_one_host,
    a_request_id_is_ours_unless_a_trusted_proxy_gives_one,
}

fn with_origin(method: Method, path: &str, origin: &str) -> http::request::Builder {
    Request::builder().method(method).uri(path).header("origin", origin)
}

async fn answers_with_tokens_are_not_cached(app: &TestApp) {
    let pair = member(app, "alice").await;
    for answer in [
        me(app, &pair.access).await,
        crate::api_calls::try_refresh(app, &pair.refresh).await,
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
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{route}");
        assert_eq!(answer.header("cross-origin-resource-policy"), "same-origin", "{route}");
        assert!(answer.header("permissions-policy").contains("camera=()"), "{route}");
        assert!(!answer.header("x-request-id").is_empty(), "{route}");
        for leak in ["server", "x-powered-by"] {
            assert_eq!(answer.header(leak), "", "{route}");
        }
    }
}

async fn a_trailing_slash_and_the_public_path_change_nothing(app: &TestApp) {
    let pair = member(app, "alice").await;
    for route in ["me/", "sessions/", "sessions/00000000-0000-0000-0000-000000000000/"] {
        let method = if route.len() > 20 { Method::DELETE } else { Method::GET };
        let slashed = app.call(method.clone(), &path(route), Some(&pair.access), None).await;
        let bare = app.call(method, path(route).trim_end_matches('/'), Some(&pair.access), None).await;
        assert_eq!(
            (slashed.status, slashed.json()["code"].clone()),
            (bare.status, bare.json()["code"].clone())
        );
    }
    app.form("/api/v1/auth/token/", &[("username", "alice"), ("password", crate::api_calls::PASSWORD)])
        .await
        .expect(200);
    app.get("/health/liveness/", None).await.expect(200);
    app.get("/docs/", None).await.expect(200);
    app.get("/api/v1/auth/me//", None).await.expect_problem(404, "not_found");
}

async fn a_byte_order_mark_before_json_is_skipped(app: &TestApp) {
    let body = format!(
        "\u{feff}{{\"email\":\"bom@example.com\",\"username\":\"bom\",\"password\":\"{}\"}}",
        crate::api_calls::PASSWORD
    );
    app.call(Method::POST, &path("register"), None, Some(("application/json", body))).await.expect(201);
}

async fn a_body_that_is_not_read_is_not_waited_for(app: &TestApp) {
    let pair = member(app, "alice").await;
    for (method, route, status) in [
        (Method::GET, path("me"), 200),
        (Method::GET, "/health/liveness".to_owned(), 200),
        (Method::GET, "/nothing".to_owned(), 404),
        (Method::DELETE, path("sessions/x"), 404),
        (Method::POST, path("logout-all"), 204),
    ] {
        let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let request = Request::builder().method(method).uri(&route).header("content-length", "5");
        let request = request.header("authorization", format!("Bearer {}", pair.access));
        app.send(request.body(never).unwrap()).await.expect(status);
    }
}

async fn a_request_names_one_host(app: &TestApp) {
    use tower::ServiceExt as _;

    for (version, hosts, status) in [
        (Version::HTTP_11, &[][..], 400),
        (Version::HTTP_11, &["a", "a"], 400),
        (Version::HTTP_11, &["a/b@c"], 400),
        (Version::HTTP_11, &["a b"], 400),
        (Version::HTTP_11, &["user@a"], 400),
        (Version::HTTP_11, &["a, b"], 400),
        (Version::HTTP_11, &["auth.example:8080"], 200),
        (Version::HTTP_11, &["[::1]:8080"], 200),
        (Version::HTTP_10, &[], 200),
        (Version::HTTP_10, &["a", "b"], 400),
        (Version::HTTP_2, &[], 200),
    ] {
        for router in [&app.public, &app.operations] {
            let mut request = Request::get("/health/liveness").version(version);
            for host in hosts {
                request = request.header("host", *host);
            }
            let response = router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(response.status(), status, "{version:?} {hosts:?}");
        }
    }
}

#[tokio::test]
async fn what_the_listener_refuses_has_body_and_headers_like_any_other() {
    let app = TestApp::start(Engine::Sqlite).await;
    let other = app.get("/nothing", None).await;
    for (status, code) in [(431, "headers_too_large"), (408, "body_timeout")] {
        let response = (app.refusal)(http::StatusCode::from_u16(status).unwrap());
        for name in other.headers.keys().filter(|name| !name.as_str().starts_with("ratelimit")) {
            assert!(response.headers().contains_key(name) || name == "content-length", "{name}");
        }
        let bytes = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((body["code"].as_str(), body["status"].as_u64()), (Some(code), Some(u64::from(status))));
        assert!(body["instance"].is_string(), "{body}");
    }
    app.close().await;
}

async fn a_request_id_is_ours_unless_a_trusted_proxy_gives_one(app: &TestApp) {
    let request =
        Request::get("/nothing").header("x-request-id", "client-made-7").body(Body::empty()).unwrap();
    let answer = app.send(request).await.expect_problem(404, "not_found");
    assert_ne!(answer.header("x-request-id"), "client-made-7");
    assert_eq!(uuid::Uuid::parse_str(answer.header("x-request-id")).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn cors_allows_only_listed_origins_and_never_null() {
    let options = Options::of([("server.cors_allowed_origins", "https://app.example")]);
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
async fn a_trusted_proxys_request_id_and_address_are_taken() {
    let options =
        Options::of([("server.trusted_proxies", "127.0.0.0/8"), ("server.trust_request_id", "true")]);
    let app = TestApp::with(Engine::Sqlite, options).await;
    let request = Request::post(path("token"))
        .header("x-request-id", "edge-42")
        .header("x-forwarded-for", "203.0.113.7, 127.0.0.9")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = app.send(request.body(Body::from("username=x&password=y")).unwrap()).await.expect(401);
    assert_eq!(answer.header("x-request-id"), "edge-42");
    let origin = &app.events()[0].origin;
    assert_eq!(origin.address, Some("203.0.113.7".parse().unwrap()));
    assert_eq!(origin.request_id.as_ref().unwrap().as_str(), "edge-42");
    app.close().await;
}

/// A login through a trusted proxy with these headers: the address that its event names.
async fn address_through_a_proxy(app: &TestApp, headers: &[(&str, &str)]) -> IpAddr {
    let mut request = Request::post(path("token"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    app.send(request.body(Body::from("username=x&password=y")).unwrap()).await.expect(401);
    app.events().last().unwrap().origin.address.unwrap()
}

#[tokio::test]
async fn a_header_that_the_proxies_only_pass_on_does_not_name_the_client() {
    let forged = "198.51.100.77";
    for (named, of_the_proxy, other, forged) in [
        ("x-forwarded-for", ("x-forwarded-for", "203.0.113.7"), "forwarded", format!("for={forged}")),
        ("forwarded", ("forwarded", "for=203.0.113.7"), "x-forwarded-for", forged.to_owned()),
    ] {
        let options =
            Options::of([("server.trusted_proxies", "127.0.0.0/8"), ("server.forwarded_header", named)]);
        let app = TestApp::with(Engine::Sqlite, options).await;
        let client: IpAddr = "203.0.113.7".parse().unwrap();
        let own = (of_the_proxy.0, format!("{forged}, {}", of_the_proxy.1));
        let own = (own.0, own.1.as_str());
        let agreeing = if other == "forwarded" { "for=203.0.113.7" } else { "203.0.113.7" };

        let alone = address_through_a_proxy(&app, &[own]).await;
        let disagreeing = address_through_a_proxy(&app, &[(other, &forged), own]).await;
        let agreeing = address_through_a_proxy(&app, &[(other, agreeing), own]).await;
        let missing = address_through_a_proxy(&app, &[(other, &forged)]).await;

        assert_eq!([alone, disagreeing, agreeing], [client; 3], "{named}");
        assert_eq!(missing, IpAddr::from([127, 0, 0, 1]), "{named}");
        app.close().await;
    }
}

#[tokio::test]
async fn a_request_id_that_the_proxies_only_pass_on_is_the_clients() {
    let options = Options::of([("server.trusted_proxies", "127.0.0.0/8")]);
    let app = TestApp::with(Engine::Sqlite, options).await;
    let request = Request::post(path("token"))
        .header("x-request-id", "chosen-by-the-client")
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = app.send(request.body(Body::from("username=x&password=y")).unwrap()).await.expect(401);

    let origin = &app.events()[0].origin;
    assert_eq!(origin.request_id.as_ref().unwrap().as_str(), answer.header("x-request-id"));
    assert_ne!(answer.header("x-request-id"), "chosen-by-the-client");
    assert_eq!(origin.client_request_id.as_deref(), Some("chosen-by-the-client"));
    app.close().await;
}

#[tokio::test]
async fn cors_allows_web_views_extensions_and_local_ports_that_are_listed() {
    let listed = "capacitor://localhost,ionic://localhost,chrome-extension://abcdefgh,http://localhost:*";
    let app = TestApp::with(Engine::Sqlite, Options::of([("server.cors_allowed_origins", listed)])).await;
    for (origin, is_allowed) in [
        ("capacitor://localhost", true),
        ("ionic://localhost", true),
        ("chrome-extension://abcdefgh", true),
        ("http://localhost", true),
        ("http://localhost:5173", true),
        ("https://localhost:5173", false),
        ("http://localhost:", false),
        ("http://localhost:80a", false),
        ("http://localhost.evil.example", false),
        ("http://127.0.0.1:5173", false),
        ("tauri://localhost", false),
        ("chrome-extension://other", false),
        ("null", false),
    ] {
        let request = with_origin(Method::GET, "/health/liveness", origin).body(Body::empty()).unwrap();
        let expected = if is_allowed { origin } else { "" };
        assert_eq!(app.send(request).await.header("access-control-allow-origin"), expected, "{origin}");
    }
    app.close().await;
}

#[tokio::test]
async fn strict_transport_security_covers_subdomains_unless_told_otherwise() {
    for (settings, value) in [
        (vec![], "max-age=31536000; includeSubDomains"),
        (vec![("server.hsts_include_subdomains", "false".to_owned())], "max-age=31536000"),
        (vec![("server.public_url", "http://auth.example".to_owned())], ""),
    ] {
        let app = TestApp::with(Engine::Sqlite, Options { settings, ..Options::default() }).await;
        assert_eq!(app.get("/nothing", None).await.header("strict-transport-security"), value);
        app.close().await;
    }
}

#[tokio::test]
async fn a_public_url_with_a_path_works_everywhere() {
    let options = Options::of([("server.public_url", "https://example.org/id/")]);
    let app = TestApp::with(Engine::Sqlite, options).await;

    // with a proxy that removes the path, and with one that does not
    for prefix in ["", "/id"] {
        let page = app.get(&format!("{prefix}/docs"), None).await.expect(200).text;
        let links: Vec<_> = page.split('"').filter(|text| text.starts_with('/')).collect();
        assert!(links.len() >= 3, "{page}");
        for link in links {
            let path = link.strip_prefix("/id").unwrap_or_else(|| panic!("{link} has no path of the URL"));
            app.get(&format!("{prefix}{path}"), None).await.expect(200);
        }
        let script = app.get(&format!("{prefix}/docs/page.js"), None).await.expect(200).text;
        assert!(!script.contains("fetch('/"), "the script names no path from the root");
        let document = app.get(&format!("{prefix}/openapi.json"), None).await.expect(200).json();
        assert_eq!(document["servers"][0]["url"], "https://example.org/id");
        let legacy = app.get(&format!("{prefix}/flutter-login"), None).await.expect(405);
        assert_eq!(legacy.header("link"), "</id/api/auth/login>; rel=\"successor-version\"");
        app.get(&format!("{prefix}/health/readiness"), None).await.expect(200);
    }
    app.get("/idea", None).await.expect(404);
    app.close().await;
}
