//! Invalid access tokens (A-08 to A-14), and the limits of valid ones (A-18).

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as B64};
use fixtures::{Engine, Options, TestApp, on_both, stable};
use insta::assert_snapshot;
use model::event::TokenRefusal;
use model::{Event, Rng};
use protocol::sealed::keyring::Keyring;
use protocol::wire::algorithm::Algorithm;
use protocol::wire::jwt::SigningKey;
use serde_json::{Value, json};
use std::time::Duration;

use crate::api_calls::{PASSWORD, log_in, me, member, path};

fn parts(token: &str) -> (Value, Value, String) {
    let mut parts = token.split('.');
    let mut read = || B64.decode(parts.next().unwrap()).unwrap();
    let (header, claims) = (read(), read());
    let signature = token.rsplit('.').next().unwrap().to_owned();
    (serde_json::from_slice(&header).unwrap(), serde_json::from_slice(&claims).unwrap(), signature)
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", B64.encode(header.to_string()), B64.encode(claims.to_string()))
}

/// Checks that every route with a bearer token refuses this one.
async fn refused_everywhere(app: &TestApp, token: &str, why: &str) {
    use http::Method;
    let json = |body: Value| Some(("application/json", body.to_string()));
    let routes = [
        (Method::GET, "me", None),
        (Method::PATCH, "me", json(json!({"country": "FR"}))),
        (Method::DELETE, "me", json(json!({"password": PASSWORD}))),
        (Method::POST, "logout-all", None),
        (Method::GET, "sessions", None),
        (
            Method::POST,
            "password",
            json(json!({"current_password": PASSWORD, "new_password": "another one 9"})),
        ),
    ];
    for (method, name, body) in routes {
        let answer = app.call(method, &path(name), Some(token), body).await;
        assert_eq!(answer.status.as_u16(), 401, "{why} at {name}: {}", answer.text);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{why} at {name}");
    }
}

/// A token with this header type and these claims, signed with the server's key.
fn signed(app: &TestApp, typ: &str, claims: &Value) -> String {
    app.services.keys().signing.as_ref().unwrap().sign(typ, claims).unwrap()
}

on_both! {
    tokens_with_alg_none_are_refused,
    tokens_signed_with_the_public_key_as_secret_are_refused,
    a_kid_is_looked_up_in_memory_only,
    keys_in_the_header_are_not_used,
    tokens_with_invalid_times_are_refused,
    other_kinds_of_tokens_are_refused,
    irregular_jws_are_refused,
    deactivation_erasure_and_password_changes_end_access_at_once,
    a_new_role_is_in_the_next_answer,
    the_claims_are_those_of_rfc_9068,
}

async fn tokens_with_alg_none_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let (mut header, claims, signature) = parts(&pair.access);
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256", "RS256", "ES384"] {
        header["alg"] = alg.into();
        for end in ["", ".", &format!(".{signature}")] {
            refused_everywhere(app, &format!("{}{end}", unsigned(&header, &claims)), alg).await;
        }
    }
    me(app, &pair.access).await.expect(200);
}

async fn tokens_signed_with_the_public_key_as_secret_are_refused(app: &TestApp) {
    use protocol::wire::jwt::SigningKey;
    let pair = member(app, "alice").await;
    let (header, claims, _) = parts(&pair.access);

    let jwks = app.get("/.well-known/jwks.json", None).await.expect(200);
    let key = &jwks.json()["keys"][0];
    let (x, y) = (key["x"].as_str().unwrap(), key["y"].as_str().unwrap());
    let point = [vec![4], B64.decode(x).unwrap(), B64.decode(y).unwrap()].concat();

    let secrets = [
        jwks.text.clone().into_bytes(),
        key.to_string().into_bytes(),
        point.clone(),
        BASE64_STANDARD.encode(&point).into_bytes(),
        format!("{x}{y}").into_bytes(),
    ];

    for secret in secrets {
        let forger = SigningKey::from_private(Algorithm::Hs256, &secret).unwrap();
        let token = forger.sign("at+jwt", &claims).unwrap();
        refused_everywhere(app, &token, "signed with the public key").await;
        let (mut own, _, signature) = parts(&token);
        own["kid"] = header["kid"].clone();
        refused_everywhere(app, &format!("{}.{signature}", unsigned(&own, &claims)), "and its kid").await;
    }
}

async fn a_kid_is_looked_up_in_memory_only(app: &TestApp) {
    let pair = member(app, "alice").await;
    let (mut header, claims, signature) = parts(&pair.access);

    let before = app.meter.trips();
    let kids = [
        json!("../../dev/null"),
        json!("' OR 1=1 --"),
        json!("k".repeat(1_000_000)),
        json!(null),
        json!([]),
        json!({}),
        json!(7),
        json!(""),
        json!("\u{0}"),
    ];

    for kid in kids {
        header["kid"] = kid;
        refused_everywhere(app, &format!("{}.{signature}", unsigned(&header, &claims)), "kid").await;
    }
    assert_eq!(app.meter.trips(), before, "no I/O by kid");

    header.as_object_mut().unwrap().remove("kid");
    refused_everywhere(app, &format!("{}.{signature}", unsigned(&header, &claims)), "no kid").await;
}

async fn keys_in_the_header_are_not_used(app: &TestApp) {
    let pair = member(app, "alice").await;
    let (header, claims, _) = parts(&pair.access);

    let (forger, _) = SigningKey::generate(Algorithm::Es256, &Rng::system()).unwrap();
    let jwk = json!(forger.verifying_key().jwk());
    let token = forger.sign("at+jwt", &claims).unwrap();
    refused_everywhere(app, &token, "another key").await;

    let (_, _, signature) = parts(&token);
    for (name, value) in [
        ("jwk", jwk),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/")),
        ("x5c", json!(["AAAA"])),
    ] {
        let mut header = header.clone();
        header[name] = value;
        refused_everywhere(app, &format!("{}.{signature}", unsigned(&header, &claims)), name).await;
    }
}

async fn tokens_with_invalid_times_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let (_, claims, _) = parts(&pair.access);
    let now = app.clock.now().seconds();
    let wrong = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };

    let mut bad =
        vec![wrong("exp", json!(now - 60)), wrong("nbf", json!(now + 61)), wrong("iat", json!(now + 61))];
    for name in ["exp", "iat", "nbf"] {
        for value in [json!(-1), json!("1"), json!(1.5), json!(1e300), json!([]), json!({}), json!(u64::MAX)]
        {
            bad.push(wrong(name, value));
        }
    }

    for name in ["exp", "iat", "sub", "iss", "sid", "aud"] {
        let mut claims = claims.clone();
        claims.as_object_mut().unwrap().remove(name);
        bad.push(claims);
    }

    for claims in bad {
        refused_everywhere(app, &signed(app, "at+jwt", &claims), &claims.to_string()).await;
    }

    for good in [wrong("exp", json!(now - 59)), wrong("nbf", json!(now + 59)), wrong("iat", json!(now + 59))]
    {
        me(app, &signed(app, "at+jwt", &good)).await.expect(200);
    }
}

async fn other_kinds_of_tokens_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let (_, claims, _) = parts(&pair.access);
    refused_everywhere(app, &pair.refresh, "a refresh token").await;

    for typ in ["logout+jwt", "dpop+jwt", "", "at+jwt+x"] {
        refused_everywhere(app, &signed(app, typ, &claims), typ).await;
    }

    for (name, value) in
        [("iss", "https://other.example"), ("iss", "https://auth.example/"), ("aud", "https://other.example")]
    {
        let mut claims = claims.clone();
        claims[name] = value.into();
        refused_everywhere(app, &signed(app, "at+jwt", &claims), value).await;
    }

    let answer = app.post(&path("refresh"), None, json!({"refresh_token": pair.access})).await;
    answer.expect_problem(401, "refresh_refused");
}

async fn irregular_jws_are_refused(app: &TestApp) {
    let pair = member(app, "alice").await;
    let (header, claims, signature) = parts(&pair.access);
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
    ] {
        let mut header = header.clone();
        header[name] = value;
        refused_everywhere(app, &format!("{}.{signature}", unsigned(&header, &claims)), name).await;
    }

    let token = &pair.access;
    let padded = format!("{token}=");
    let (protected, payload) = (token.split('.').next(), token.split('.').nth(1));
    let json_form = json!({"payload": payload, "protected": protected, "signature": signature}).to_string();
    let twice = format!("{{\"alg\":\"none\",{}", &header.to_string()[1..]);
    let doubled = format!("{}.{}.{signature}", B64.encode(twice), B64.encode(claims.to_string()));

    for odd in [
        padded.as_str(),
        &token.replace('.', ".."),
        &format!("{token}.{token}"),
        &format!("a.{token}"),
        &json_form,
        &doubled,
        "..",
        ".",
        "a.b.c",
        &"a".repeat(16_000),
    ] {
        let answer = app.get(&path("me"), Some(odd)).await;
        assert_eq!(answer.status.as_u16(), 401, "{odd:.60}");
    }

    for value in ["Bearer", "Bearer ", "bearer", "Basic YTpi", "Token x", "Bearer a b", ""] {
        let request =
            http::Request::get(path("me")).header("authorization", value).body(axum::body::Body::empty());
        assert_eq!(app.send(request.unwrap()).await.status.as_u16(), 401, "{value:?}");
    }

    let both = http::Request::get(path("me"))
        .header("authorization", format!("Bearer {token}"))
        .header("authorization", "Bearer x");
    assert_eq!(
        app.send(both.body(axum::body::Body::empty()).unwrap()).await.status.as_u16(),
        401,
        "two authorization headers"
    );

    app.get(&format!("{}?access_token={token}", path("me")), None).await.expect_problem(401, "token_missing");
}

async fn deactivation_erasure_and_password_changes_end_access_at_once(app: &TestApp) {
    use auth::account;
    use model::Secret;
    for change in ["deactivate", "delete", "set-password", "logout-all", "password"] {
        let name = format!("u-{change}");
        let pair = member(app, &name).await;

        let user = app.operate(async |ctx| account::find(ctx, &name).await.unwrap()).await;
        match change {
            "deactivate" => {
                app.operate(async |ctx| account::set_state(ctx, &user, false).await.unwrap()).await
            }
            "delete" => app.operate(async |ctx| account::delete(ctx, &user).await.unwrap()).await,
            "set-password" => {
                let password = Secret::new("quite another 1".to_owned());
                app.operate(async |ctx| account::set_password(ctx, &user, &password).await.unwrap()).await;
            }
            "logout-all" => drop(
                app.call(http::Method::POST, &path("logout-all"), Some(&pair.access), None).await.expect(204),
            ),
            _ => {
                let other = log_in(app, &name).await;
                let body = json!({"current_password": PASSWORD, "new_password": "quite another 1"});
                let changed = app.post(&path("password"), Some(&other.access), body).await.expect(200);
                me(app, &changed.string("access_token")).await.expect(200);
                me(app, &other.access).await.expect_problem(401, "token_invalid");
            }
        }

        let refused = app.post(&path("refresh"), None, json!({"refresh_token": pair.refresh})).await;
        refused.expect_problem(401, "refresh_refused");
        // The server sees an operator's change with its next poll of revocations.
        app.settle("poll_revocations").await;
        me(app, &pair.access).await.expect_problem(401, "token_invalid");
    }
}

async fn a_new_role_is_in_the_next_answer(app: &TestApp) {
    let pair = member(app, "alice").await;
    let user = app.operate(async |ctx| auth::account::find(ctx, "alice").await.unwrap()).await;
    app.operate(async |ctx| auth::account::set_role(ctx, &user, "admin").await.unwrap()).await;
    assert_eq!(me(app, &pair.access).await.expect(200).string("role"), "admin");
    let next = crate::api_calls::refresh(app, &pair.refresh).await;
    assert_eq!(parts(&next.access).1["role"], "admin");
}

async fn the_claims_are_those_of_rfc_9068(app: &TestApp) {
    let pair = member(app, "alice").await;
    let (header, claims, _) = parts(&pair.access);
    let token = json!({"header": header, "claims": claims});
    assert_snapshot!("access_token", serde_json::to_string_pretty(&stable(&token)).unwrap());

    app.clock.advance(Duration::from_mins(10));
    let next = crate::api_calls::refresh(app, &pair.refresh).await;
    let (_, later, _) = parts(&next.access);
    assert_eq!((&later["auth_time"], &later["sid"]), (&claims["auth_time"], &claims["sid"]));
}

#[tokio::test]
async fn every_algorithm_signs_and_verifies_and_only_public_halves_are_published() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256] {
        let options = Options::of([("tokens.algorithm", algorithm.as_str())]);
        let app = TestApp::with(Engine::Sqlite, options).await;
        let pair = member(&app, "alice").await;
        me(&app, &pair.access).await.expect(200);
        let jwks = app.get("/.well-known/jwks.json", None).await.expect(200);
        assert_eq!(jwks.header("access-control-allow-origin"), "*");
        let key = jwks.json()["keys"][0].clone();
        assert_eq!(
            (key["alg"].as_str(), &key["kid"]),
            (Some(algorithm.as_str()), &parts(&pair.access).0["kid"])
        );
        for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        app.close().await;
    }
}

#[tokio::test]
async fn an_empty_audience_leaves_aud_out_and_uuid_may_be_the_subject() {
    let options = Options::of([("tokens.audience", ""), ("tokens.subject", "uuid")]);
    let app = TestApp::with(Engine::Sqlite, options).await;
    let pair = member(&app, "alice").await;
    let (_, claims, _) = parts(&pair.access);
    assert_eq!((claims.get("aud"), &claims["sub"]), (None, &claims["uuid"]));
    me(&app, &pair.access).await.expect(200);
    app.call(http::Method::POST, &path("logout-all"), Some(&pair.access), None).await.expect(204);
    me(&app, &pair.access).await.expect_problem(401, "token_invalid");
    app.close().await;
}

/// The files of the crates whose code, without unit tests, has this text.
fn files_with(text: &str) -> Vec<String> {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");
    let mut found = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(crates)];

    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(crates).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") && !name.contains("/tests/") {
                let code = std::fs::read_to_string(&path).unwrap();
                if code.split("#[cfg(test)]").next().unwrap().contains(text) {
                    found.push(name);
                }
            }
        }
    }

    found.sort_unstable();
    found
}

/// Only the mint issues tokens; no other code calls the signer.
#[test]
fn only_the_mint_reaches_the_signer() {
    let callers: Vec<_> =
        files_with(".sign(").into_iter().filter(|name| !name.starts_with("protocol/")).collect();
    // Webhooks are signed by their own MAC, with a secret that the receiver shares.
    assert_eq!(callers, ["audit/src/sinks/webhook_signature.rs", "auth/src/token/mint.rs"]);
}

/// Login, password change and erasure: each guess of a password passes the same function.
#[test]
fn every_password_is_checked_by_one_function() {
    assert_eq!(files_with("hasher.verify("), ["auth/src/password/check.rs"]);
}

#[tokio::test]
async fn a_refused_token_and_a_foreign_session_leave_an_event_with_the_reason_and_a_count() {
    // Given two users, one of whom has logged out.
    let app = TestApp::start(Engine::Sqlite).await;
    let (alice, bob) = (member(&app, "alice").await, member(&app, "bob").await);
    let gone = log_in(&app, "alice").await;
    app.post(&path("logout"), None, json!({"refresh_token": gone.refresh})).await.expect(204);
    let (head, rest) = bob.access.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let forged = format!("{head}.{body}.{}", alice.access.rsplit('.').next().unwrap());
    let other_key = B64.encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"none"}"#);
    let other_key = format!("{other_key}.{body}.{signature}");
    app.events();

    // When tokens are refused, then each leaves its reason, and the user only by a valid signature.
    let refused = async |token: &str, reason: TokenRefusal, is_named: bool| {
        let before = app.services.refused_tokens.of(reason);
        app.get(&path("me"), Some(token)).await.expect_problem(401, "token_invalid");
        let events: Vec<_> = app.events().into_iter().map(|entry| entry.event).collect();
        let [Event::TokenRefused { user, session, reason: why }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!((*why, user.is_some(), session.is_some()), (reason, is_named, is_named));
        assert_eq!(app.services.refused_tokens.of(reason), before + 1);
    };
    refused("junk", TokenRefusal::Malformed, false).await;
    refused(&other_key, TokenRefusal::UnknownKey, false).await;
    refused(&forged, TokenRefusal::Signature, false).await;
    refused(&gone.access, TokenRefusal::Revoked, true).await;

    // When a user names another user's session, then it lives, and the event names who asked.
    let sessions = app.get(&path("sessions"), Some(&bob.access)).await.expect(200).json();
    let theirs = path(&format!("sessions/{}", sessions[0]["id"].as_str().unwrap()));
    app.events();
    let answer = app.call(http::Method::DELETE, &theirs, Some(&alice.access), None).await;
    answer.expect_problem(404, "session_not_found");
    assert_eq!(app.event_kinds(), ["session_not_found"]);
    app.get(&path("me"), Some(&bob.access)).await.expect(200);

    // And an expired one names its user.
    app.clock.advance(Duration::from_hours(1));
    refused(&alice.access, TokenRefusal::Expired, true).await;
    app.close().await;
}

#[tokio::test]
async fn refused_tokens_are_counted_when_they_repeat() {
    let app = TestApp::start(Engine::Sqlite).await;
    let pair = member(&app, "alice").await;
    app.post(&path("logout"), None, json!({"refresh_token": pair.refresh})).await.expect(204);
    for _ in 0..500 {
        app.get(&path("me"), Some("junk")).await.expect(401);
        app.get(&path("me"), Some(&pair.access)).await.expect(401);
    }
    app.clock.advance(Duration::from_mins(1));
    app.settle("record_repeated").await;

    let records = app.close_and_read_journal().await;
    let singly = records.iter().filter(|record| record["kind"] == "token_refused").count();
    assert_eq!(singly, 10);
    let counted = records.iter().filter(|record| record["of"] == "token_refused");
    assert_eq!(counted.map(|record| record["count"].as_u64().unwrap()).sum::<u64>(), 990);
}

#[tokio::test]
async fn tokens_of_both_types_are_accepted_whichever_is_issued() {
    let database = fixtures::TestDatabase::new(Engine::Sqlite);
    let keyring = fixtures::new_keyring();
    let mut tokens = Vec::new();
    for typ in ["at+jwt", "JWT"] {
        let options = Options {
            keyring: Some(Keyring::parse(keyring.to_text().expose()).unwrap()),
            ..Options::of([("tokens.typ", typ)])
        };
        let app = TestApp::on(database.clone(), options).await;
        let pair = if tokens.is_empty() { member(&app, "alice").await } else { log_in(&app, "alice").await };
        let header = B64.decode(pair.access.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["typ"], typ);
        tokens.push(pair.access);
        for token in &tokens {
            me(&app, token).await.expect(200);
        }
        app.close().await;
    }
}

#[tokio::test]
async fn a_token_says_that_it_was_issued_some_seconds_ago_and_ends_from_now() {
    for (setting, seconds) in [(None, 5), (Some("0s"), 0), (Some("60s"), 60)] {
        let settings = setting.map(|value| ("tokens.backdate", value.to_owned())).into_iter().collect();
        let app = TestApp::with(Engine::Sqlite, Options { settings, ..Options::default() }).await;
        let pair = member(&app, "alice").await;
        let payload = B64.decode(pair.access.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&payload).unwrap();
        let now = app.clock.now().seconds();
        assert_eq!(claims["iat"], now - seconds);
        assert_eq!(claims["auth_time"], now - seconds);
        assert_eq!(claims["exp"], now + 1800);
        me(&app, &pair.access).await.expect(200);
        app.close().await;
    }
}
