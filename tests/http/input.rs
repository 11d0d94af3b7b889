//! Malformed requests get the documented 4xx, never a 500, and change nothing.

use axum::body::Body;
use fixtures::{TestApp, on_both};
use http::{Method, Request};
use serde_json::{Value, json};
use store::queries::user::Listed;

use crate::api_calls::{PASSWORD, me, member, path, register, try_log_in, try_register};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// Every path of the endpoints that require a JSON body, with its method.
fn json_routes() -> Vec<(&'static str, &'static web::Mount)> {
    let json = web::ROUTES.iter().filter(|route| route.required_media_type() == Some(JSON));
    json.flat_map(|route| route.endpoint.mounts.iter().map(|mount| (route.endpoint.verb.as_str(), mount)))
        .collect()
}

async fn raw(
    app: &TestApp,
    method: &str,
    path: &str,
    token: &str,
    kind: &str,
    body: impl Into<Body>,
) -> fixtures::Answer {
    let mut request =
        Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    app.send(request.body(body.into()).unwrap()).await
}

async fn users(app: &TestApp) -> Vec<String> {
    let all = app
        .operate(async |ctx| auth::account::list(ctx, &Listed::all(), model::UserId(0), 100).await.unwrap())
        .await;
    all.iter().map(|user| format!("{user:?}")).collect()
}

on_both! {
    bodies_that_are_not_json_are_refused,
    bodies_of_the_wrong_shape_are_refused,
    wrong_content_types_are_refused,
    each_parameter_has_one_source,
    large_and_deep_input_is_refused,
    a_body_with_a_content_coding_is_refused,
    invalid_registrations_are_refused,
    mass_assignment_is_ignored,
    one_of_64_identical_registrations_succeeds,
    spellings_of_one_name_are_one_account,
    passwords_are_compared_whole_and_in_nfc,
    odd_text_in_any_member_is_never_answered_500,
    a_password_is_measured_in_the_form_that_is_hashed,
    a_username_of_digits_is_refused,
    a_reserved_username_and_one_of_mixed_scripts_are_refused,
    sql_in_values_is_stored_as_text,
    every_path_and_method_has_an_answer,
    odd_header_values_are_tolerated,
}

async fn bodies_that_are_not_json_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let before = users(app).await;
    let deep = "[".repeat(100_000);
    let bad: [&[u8]; 12] = [
        b"",
        b"{",
        b"null x",
        b"{\"email\":}",
        b"\xff\xfe",
        b"{\"a\":1,}",
        b"{'a':1}",
        b"nul",
        deep.as_bytes(),
        b"{\"email\":\"a@b.co\",\"email\":\"c@d.co\"}",
        b"\xef\xbb\xbf\xef\xbb\xbf{}",
        b"{\"a\":\"\xff\"}",
    ];

    for (method, mount) in json_routes() {
        for body in bad {
            let body = &body[..body.len().min(60_000)];
            let answer = raw(app, method, mount.path, &pair.access, JSON, body.to_vec()).await;
            answer.expect_problem(400, "malformed_body");
        }
    }

    assert_eq!(users(app).await, before);
}

async fn bodies_of_the_wrong_shape_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let before = users(app).await;
    for (method, mount) in json_routes() {
        for body in ["[]", "7", "\"x\"", "null", "true"] {
            let answer = raw(app, method, mount.path, &pair.access, JSON, body).await.expect(422);
            let json = answer.json();
            let errors = if mount.dialect == web::Dialect::FastApi { "detail" } else { "errors" };
            assert_eq!(json[errors][0]["loc"], json!(["body"]), "{}: {}", mount.path, answer.text);
        }
        if method == "PATCH" {
            continue;
        }
        for body in [
            json!({}),
            json!({"email": 1, "username": [], "password": {}, "refresh_token": false,
                "current_password": 0.5, "new_password": null}),
        ] {
            raw(app, method, mount.path, &pair.access, JSON, body.to_string()).await.expect(422);
        }
    }

    assert_eq!(users(app).await, before);
}

async fn wrong_content_types_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let before = users(app).await;

    for (method, mount) in json_routes() {
        for kind in [
            "",
            "text/plain",
            FORM,
            "multipart/form-data; boundary=x",
            "application/xml",
            "application/jsonx",
            "json",
            "application/json; charset=iso-8859-1",
        ] {
            let answer = raw(app, method, mount.path, &pair.access, kind, "{}").await;
            answer.expect_problem(415, "unsupported_media_type");
        }
    }

    for kind in ["", JSON, "text/plain", "application/x-www-form-urlencoded; charset=utf-16"] {
        let answer = raw(app, "POST", &path("token"), &pair.access, kind, "username=a&password=b").await;
        answer.expect_problem(415, "unsupported_media_type");
    }

    for kind in ["application/json; charset=utf-8", "Application/JSON", "application/merge-patch+json"] {
        raw(app, "PATCH", &path("me"), &pair.access, kind, "{}").await.expect(200);
    }

    assert_eq!(users(app).await.len(), before.len());
}

async fn each_parameter_has_one_source(app: &TestApp) {
    register(app, "alice").await;
    let twice = format!("username=alice&password={PASSWORD}&username=bob");
    app.call(Method::POST, &path("token"), None, Some((FORM, twice)))
        .await
        .expect_problem(400, "malformed_body");
    let query = format!("{}?username=alice&password={PASSWORD}", path("token"));
    app.call(Method::POST, &query, None, Some((FORM, String::new())))
        .await
        .expect_problem(422, "validation_failed");
    let hidden =
        Request::get(path("register")).header("x-http-method-override", "POST").header("content-type", JSON);
    let answer =
        app.send(hidden.body(Body::from("{}")).unwrap()).await.expect_problem(405, "method_not_allowed");
    assert_eq!(answer.header("allow"), "POST");
    let body = format!("username=alice&password={PASSWORD}&_method=DELETE&grant_type=password");
    app.call(Method::POST, &path("token"), None, Some((FORM, body))).await.expect(200);
}

async fn a_body_with_a_content_coding_is_refused(app: &TestApp) {
    let body = json!({"email": "a@example.com", "username": "alice", "password": PASSWORD}).to_string();
    let send = async |coding: &str| {
        let request = Request::post(path("register"))
            .header("content-type", JSON)
            .header("content-encoding", coding)
            .body(Body::from(body.clone()));
        app.send(request.unwrap()).await
    };
    for coding in ["gzip", "br", "x-gzip, identity"] {
        send(coding).await.expect_problem(415, "unsupported_media_type");
    }
    send(" Identity ").await.expect(201);
}

async fn large_and_deep_input_is_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let large = "x".repeat(1024 * 1024);
    for (method, mount) in json_routes() {
        let answer = raw(app, method, mount.path, &pair.access, JSON, large.clone()).await;
        answer.expect_problem(413, "body_too_large");
        let chunks = futures_util::stream::iter((0..200).map(|_| Ok::<_, std::io::Error>("y".repeat(1024))));
        let answer = raw(app, method, mount.path, &pair.access, JSON, Body::from_stream(chunks)).await;
        answer.expect_problem(413, "body_too_large");
    }
    let members: String = (0..3000).map(|n| format!("\"m{n}\":{n},")).collect();
    let body = format!(
        "{{{members}\"email\":\"bob@example.com\",\"username\":\"bob\",\"password\":\"{PASSWORD}\"}}"
    );
    raw(app, "POST", &path("register"), "", JSON, body).await.expect(201);
    let fields = "a=1&".repeat(10_000);
    app.call(Method::POST, &path("token"), None, Some((FORM, fields)))
        .await
        .expect_problem(400, "malformed_body");
}

async fn invalid_registrations_are_refused(app: &TestApp) {
    let good = json!({"email": "bob@example.com", "username": "bob", "password": PASSWORD});
    let cases = [
        ("email", json!("")),
        ("email", json!("bob")),
        ("email", json!("bob@")),
        ("email", json!("@x.co")),
        ("email", json!("a b@x.co")),
        ("email", json!("a@x.co\u{0}")),
        ("email", json!("a\r\nb@x.co")),
        ("email", json!(format!("{}@example.com", "a".repeat(300)))),
        ("email", json!(null)),
        ("email", json!(7)),
        ("email", json!("<script>@x.co")),
        ("email", json!("a@b@c.co")),
        ("username", json!("ab")),
        ("username", json!("a".repeat(65))),
        ("username", json!("bob@example.com")),
        ("username", json!("bo b")),
        ("username", json!("bo\u{0}b")),
        ("username", json!("")),
        ("username", json!([])),
        ("username", json!("\u{202e}evil")),
        ("username", json!(null)),
        ("password", json!("short")),
        ("password", json!("a".repeat(1025))),
        ("password", json!("password123")),
        ("password", json!("PASSWORD123")),
        ("password", json!("bob@example.com")),
        ("password", json!(null)),
        ("password", json!("TestPass\u{0}123!")),
        ("password", json!("gatewright")),
        ("password", json!("auth.example")),
        ("country", json!("USA")),
        ("country", json!("xx")),
        ("country", json!(1)),
        ("annual_income", json!(-1)),
        ("annual_income", json!("x")),
        ("annual_income", json!("1e9")),
        ("timezone", json!("Mars/Olympus")),
        ("timezone", json!(0)),
    ];

    for (member, value) in cases {
        let mut body = good.clone();
        body[member] = value.clone();
        let answer =
            app.post(&path("register"), None, body.clone()).await.expect_problem(422, "validation_failed");
        let errors = answer.json()["errors"].clone();
        assert!(
            errors.as_array().unwrap().iter().any(|error| error["loc"] == json!(["body", member])),
            "{body}: {}",
            answer.text
        );
        // The other API dialect reports the same errors in FastAPI's format; there a username may be null.
        if (member, &value) == ("username", &Value::Null) {
            continue;
        }
        let answer = app.post("/api/auth/register", None, body).await.expect(422);
        assert_eq!(answer.json(), json!({"detail": errors}));
        assert_eq!(answer.header("content-type"), "application/json");
    }

    let many = json!({"email": "x", "username": "y", "password": "z", "country": "?"});
    let answer = app.post(&path("register"), None, many).await.expect(422);
    assert_eq!(answer.json()["errors"].as_array().unwrap().len(), 4, "all at once: {}", answer.text);
    assert!(users(app).await.is_empty());
}

async fn mass_assignment_is_ignored(app: &TestApp) {
    let extra = json!({
        "email": "eve@example.com", "username": "eve", "password": PASSWORD, "role": "admin",
        "is_active": false, "is_superuser": true, "is_verified": true, "email_verified": true, "id": 777,
        "uuid": "x", "state": "inactive", "created_at": "2000-01-01T00:00:00Z", "scope": "admin",
        "tenant_id": 3, "unknown": {"a": [1]},
    });

    let user = app.post(&path("register"), None, extra).await.expect(201).json();
    assert_eq!(
        (user["id"].as_i64(), user["role"].as_str(), user["is_active"].as_bool()),
        (Some(1), Some("basic_user"), Some(true))
    );
    assert_eq!(user["created_at"], "2026-01-01T00:00:00.000Z");
    let names: Vec<_> = user.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["created_at", "email", "id", "is_active", "role", "username"]);

    let pair = crate::api_calls::log_in(app, "eve").await;
    let body = json!({"role": "admin", "id": 5, "email": "Eve@Example.com", "is_active": false,
        "uuid": "y", "scope": "admin"});
    app.call(Method::PATCH, &path("me"), Some(&pair.access), Some((JSON, body.to_string())))
        .await
        .expect_problem(422, "validation_failed");
    assert_eq!(app.get(&path("me"), Some(&pair.access)).await.expect(200).json(), user);

    for fields in [vec![("scope", "admin")], vec![("scope", "read \"x")]] {
        let mut all = vec![("username", "eve"), ("password", PASSWORD)];
        all.extend(fields);
        app.form(&path("token"), &all).await.expect_problem(400, "invalid_scope");
    }

    app.form(
        &path("token"),
        &[
            ("username", "eve"),
            ("password", PASSWORD),
            ("role", "admin"),
            ("grant_type", "client_credentials"),
        ],
    )
    .await
    .expect_problem(400, "unsupported_grant_type");
}

async fn one_of_64_identical_registrations_succeeds(app: &TestApp) {
    use futures_util::future::join_all;
    let answers = join_all((0..64).map(|_| try_register(app, "alice"))).await;
    let count = |status| answers.iter().filter(|answer| answer.status.as_u16() == status).count();

    assert_eq!((count(201), count(409)), (1, 63));

    let body = json!({"email": "Bob@Example.COM", "password": PASSWORD});
    let answers = join_all((0..64).map(|_| app.post("/api/auth/register", None, body.clone()))).await;
    let count = |status| answers.iter().filter(|answer| answer.status.as_u16() == status).count();
    assert_eq!((count(201), count(400)), (1, 63));
    let taken = app.post("/api/auth/register", None, body).await.expect(400);
    assert_eq!(taken.json()["detail"], "Email already exists");

    assert_eq!(users(app).await.len(), 2);
}

async fn spellings_of_one_name_are_one_account(app: &TestApp) {
    let register = async |email: &str, username: &str| {
        app.post(&path("register"), None, json!({"email": email, "username": username, "password": PASSWORD}))
            .await
    };

    register("Jos\u{e9}.Smith@B\u{fc}cher.example", "Jos\u{e9}Smith").await.expect(201);
    for email in [
        "jose\u{301}.smith@xn--bcher-kva.example",
        "JOS\u{c9}.SMITH@B\u{dc}CHER.EXAMPLE",
        "jos\u{e9}.smith@b\u{fc}cher.example",
    ] {
        register(email, "somebodyelse").await.expect_problem(409, "email_taken");
    }
    for username in ["jos\u{e9}smith", "JOSE\u{301}SMITH", "josesmith\u{301}"] {
        let answer = register("other@example.com", username).await;
        if username == "josesmith\u{301}" {
            answer.expect(201)
        } else {
            answer.expect_problem(409, "username_taken")
        };
    }

    register("jos\u{e9}.smith+tag@b\u{fc}cher.example", "tagged").await.expect(201);
    for identifier in ["jos\u{e9}.smith@b\u{fc}cher.example", "JOS\u{c9}SMITH"] {
        try_log_in(app, identifier, PASSWORD).await.expect(200);
    }
    // An identifier with an @ is only looked up as an email.
    try_log_in(app, "josesmith@", PASSWORD).await.expect_problem(401, "invalid_credentials");
}

async fn passwords_are_compared_whole_and_in_nfc(app: &TestApp) {
    let long = "p".repeat(72);
    let body = |name: &str, password: &str| {
        let email = format!("{name}@example.com");
        json!({"email": email, "username": name, "password": password})
    };

    app.post(&path("register"), None, body("n06", &format!("{long}A"))).await.expect(201);
    try_log_in(app, "n06", &format!("{long}B")).await.expect(401);
    try_log_in(app, "n06", &format!("{long}A")).await.expect(200);

    app.post(&path("register"), None, body("n07", "caf\u{e9} society")).await.expect(201);
    try_log_in(app, "n07", "cafe\u{301} society").await.expect(200);

    app.post(&path("register"), None, body("n07b", "the \u{fb01}nest one")).await.expect(201);
    try_log_in(app, "n07b", "the finest one").await.expect(401);

    for chars in [8, 64, 128, 1024] {
        let name = format!("len{chars}");
        let password = "\u{1f512}".repeat(chars);
        app.post(&path("register"), None, body(&name, &password)).await.expect(201);
        try_log_in(app, &name, &password).await.expect(200);
    }
    app.post(&path("register"), None, body("len7", &"\u{1f512}".repeat(7))).await.expect(422);
}

/// The names of the members of a body, from the document.
fn members(document: &Value, schema: &Value) -> Vec<String> {
    let named = schema["$ref"].as_str().and_then(|at| document.pointer(at.trim_start_matches('#')));
    let properties = named.unwrap_or(schema)["properties"].as_object();
    properties.map(|properties| properties.keys().cloned().collect()).unwrap_or_default()
}

/// A body of this kind whose members are `x`, but one is `odd`.
fn body_with(kind: &str, names: &[String], at: &str, odd: &str) -> String {
    let fields = names.iter().map(|name| (name.as_str(), if name == at { odd } else { "x" }));
    if kind == FORM {
        return form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    }
    Value::Object(fields.map(|(name, value)| (name.to_owned(), json!(value))).collect()).to_string()
}

async fn odd_text_in_any_member_is_never_answered_500(app: &TestApp) {
    let document = app.get("/openapi.json", None).await.expect(200).json();
    let mut bodies = Vec::new();
    for (route, verbs) in document["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            let content = operation["requestBody"]["content"].as_object();
            for (kind, media) in content.into_iter().flatten() {
                bodies.push((verb.to_uppercase(), route, kind, members(&document, &media["schema"])));
            }
        }
    }
    assert!(bodies.len() > 10);

    for (verb, route, kind, names) in &bodies {
        for odd in ["a\0b", "\0", "\u{feff}", "\u{10ffff}", &"\u{202e}".repeat(300)] {
            for name in names {
                let answer = raw(app, verb, route, "x", kind, body_with(kind, names, name, odd)).await;
                let status = answer.status.as_u16();
                assert!(status < 500, "{verb} {route} {name} {odd:?}: {}", answer.text);
            }
        }
    }
}

async fn a_password_is_measured_in_the_form_that_is_hashed(app: &TestApp) {
    // 500 syllables: 1,500 bytes in NFC, 4,500 in NFD.
    let composed = "\u{ac01}".repeat(500);
    let decomposed = "\u{1100}\u{1161}\u{11a8}".repeat(500);
    assert!(decomposed.len() > 4096);
    let body = json!({"email": "nfd@example.com", "username": "nfd", "password": decomposed});
    app.post(&path("register"), None, body).await.expect(201);
    try_log_in(app, "nfd", &decomposed).await.expect(200);
    try_log_in(app, "nfd", &composed).await.expect(200);

    let too_long = "\u{1100}\u{1161}\u{11a8}".repeat(1025);
    let body = json!({"email": "long@example.com", "username": "long", "password": too_long});
    app.post(&path("register"), None, body).await.expect(422);
}

async fn a_username_of_digits_is_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    for name in ["100", "\u{967}\u{968}\u{969}"] {
        let body = json!({"email": "digits@example.com", "username": name, "password": PASSWORD});
        let refused = app.post(&path("register"), None, body).await.expect(422);
        assert!(refused.text.contains("not a number"), "{}", refused.text);
        let changed = json!({"username": name});
        app.call(Method::PATCH, &path("me"), Some(&pair.access), Some((JSON, changed.to_string())))
            .await
            .expect(422);
    }
    assert_eq!(me(app, &pair.access).await.expect(200).string("username"), "alice");
}

async fn a_reserved_username_and_one_of_mixed_scripts_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    for name in ["Admin", " root ", "ｓｕｐｐｏｒｔ", "аlice"] {
        let body = json!({ "email": "bob@example.com", "username": name, "password": PASSWORD });
        let refused = app.post("/api/v1/auth/register", None, body).await.expect(422);
        assert_eq!(refused.json()["errors"][0]["loc"], json!(["body", "username"]), "{}", refused.text);
        let call = app.call(
            Method::PATCH,
            "/api/v1/auth/me",
            Some(&pair.access),
            Some((JSON, json!({ "username": name }).to_string())),
        );
        call.await.expect(422);
    }
}

async fn sql_in_values_is_stored_as_text(app: &TestApp) {
    let pair = member(app, "alice").await;
    for text in ["' OR '1'='1", "alice'--", "\"; DROP TABLE users; --", "alice\\", "%", "_lice", "alice\u{0}"]
    {
        try_log_in(app, text, PASSWORD).await.expect_problem(401, "invalid_credentials");
        let id = text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let answer =
            app.call(Method::DELETE, &format!("{}/{id}", path("sessions")), Some(&pair.access), None).await;
        answer.expect_problem(404, "session_not_found");
    }
    me(app, &pair.access).await.expect(200);
}

async fn every_path_and_method_has_an_answer(app: &TestApp) {
    for path in [
        "/",
        "/api",
        "/api/v1/auth",
        "/api/v1/auth/",
        "/api/v1/auth/nothing",
        "/admin",
        "/metrics",
        "/api/v1/auth/me/x",
        "//",
        "/%00",
        "/..%2f..",
        "/api/v2/auth/me",
    ] {
        app.get(path, None).await.expect_problem(404, "not_found");
    }

    for (method, route, allow) in [
        ("GET", "token", "POST"),
        ("DELETE", "register", "POST"),
        ("PUT", "me", "GET,HEAD,PATCH,DELETE"),
        ("TRACE", "refresh", "POST"),
        ("OPTIONS", "token", "POST"),
    ] {
        let answer = app
            .call(method.parse().unwrap(), &path(route), None, None)
            .await
            .expect_problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{route}");
    }

    let head = app.call(Method::HEAD, "/health/liveness", None, None).await.expect(200);
    assert_eq!(head.text, "");
}

async fn odd_header_values_are_tolerated(app: &TestApp) {
    for (name, value) in [
        ("x-request-id", "a b\u{1}"),
        ("x-request-id", ""),
        ("traceparent", "zz"),
        ("forwarded", "for=;;;\"\\"),
        ("x-forwarded-for", "a"),
        ("accept", "image/png"),
        ("expect", "x"),
        ("user-agent", "\u{1}x\t"),
    ] {
        let Ok(value) = http::HeaderValue::from_bytes(value.as_bytes()) else { continue };
        let request = Request::get("/health/liveness").header(name, value).body(Body::empty()).unwrap();
        let answer = app.send(request).await.expect(200);
        assert!(uuid::Uuid::parse_str(answer.header("x-request-id")).is_ok());
    }
}
