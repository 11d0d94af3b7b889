//! Refused logins have one response and one cost; a change during hashing refuses the login.

use std::time::Duration;

use auth::account;
use fixtures::{Engine, Options, TestApp, on_both};
use futures_util::future::join_all;
use model::Secret;
use serde_json::json;

use crate::api_calls::{PASSWORD, find, member, path, register, set_hash, try_log_in};

/// A hash that takes long enough for a change while it is computed.
const SLOW: &str =
    "$argon2id$v=19$m=262144,t=3,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

on_both! {
    refused_logins_look_and_cost_alike,
    a_wrong_current_password_costs_one_trip_and_one_hash,
    an_unusable_hash_fails_like_a_wrong_password,
    a_change_during_hashing_refuses_the_login,
    no_answer_and_no_event_contains_a_secret,
}

async fn refused_logins_look_and_cost_alike(app: &TestApp) {
    register(app, "known").await;
    register(app, "inactive").await;
    let user = find(app, "inactive").await;
    app.operate(async |ctx| account::set_state(ctx, &user, false).await.unwrap()).await;
    register(app, "erased").await;
    let user = find(app, "erased").await;
    app.operate(async |ctx| account::delete(ctx, &user).await.unwrap()).await;

    let mut seen = Vec::new();
    for name in ["known", "unknown", "inactive", "erased", "known@example.com", "unknown@example.com"] {
        let (trips, hashes) = (app.meter.trips(), app.services.hasher.counts().totals().done);
        let password = if name == "inactive" { PASSWORD } else { "Wrong guess 1" };
        let answer = try_log_in(app, name, password).await.expect_problem(401, "invalid_credentials");
        let id = answer.header("x-request-id").to_owned();
        let mut headers: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value:?}").replace(&id, "ID"))
            .collect();
        headers.sort();
        let cost = (app.meter.trips() - trips, app.services.hasher.counts().totals().done - hashes);
        seen.push((name, answer.text.replace(&id, "ID"), headers, cost));
    }

    for (name, text, headers, cost) in &seen {
        assert_eq!((text, headers, *cost), (&seen[0].1, &seen[0].2, (1, 1)), "{name}");
    }

    let json = app
        .post("/api/auth/login", None, json!({"email": "known@example.com", "password": "Wrong guess 1"}))
        .await
        .expect(401);
    assert_eq!(json.json()["detail"], "Incorrect username or password");
    assert_eq!(json.header("www-authenticate"), "Bearer");
}

async fn a_wrong_current_password_costs_one_trip_and_one_hash(app: &TestApp) {
    let pair = member(app, "alice").await;
    for (trips, hashes, body) in
        [(1, 1, json!({"current_password": "Wrong guess 1", "new_password": "another one 1"}))]
    {
        let before = (app.meter.trips(), app.services.hasher.counts().totals().done);
        app.post(&path("password"), Some(&pair.access), body).await.expect_problem(403, "password_wrong");
        assert_eq!(
            (app.meter.trips() - before.0, app.services.hasher.counts().totals().done - before.1),
            (trips, hashes)
        );
    }
}

async fn an_unusable_hash_fails_like_a_wrong_password(app: &TestApp) {
    for (index, hash) in [
        "",
        "garbage",
        "$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA",
        "$2b$31$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "$2b$12$\u{e9}",
        "$argon2id$v=19$m=8",
    ]
    .iter()
    .enumerate()
    {
        let name = format!("poisoned{index}");
        register(app, &name).await;
        set_hash(app, &name, hash).await;
        app.events();
        let hashes = app.services.hasher.counts().totals().done;
        try_log_in(app, &name, PASSWORD).await.expect_problem(401, "invalid_credentials");
        assert_eq!(app.services.hasher.counts().totals().done - hashes, 1);
        assert_eq!(app.event_kinds(), ["login_failed"]);
    }
    member(app, "others-are-fine").await;
}

async fn a_change_during_hashing_refuses_the_login(app: &TestApp) {
    for change in ["deactivate", "erase", "set-password"] {
        let name = format!("u-{change}");
        register(app, &name).await;
        let user = find(app, &name).await;
        // A hash of the right password that is slow to verify.
        let slow = set_slow_hash(app, &name).await;

        app.events();
        let begun = app.services.hasher.counts().totals().begun;

        let login = try_log_in(app, &name, PASSWORD);
        let change = async {
            while app.services.hasher.counts().totals().begun == begun {
                tokio::task::yield_now().await;
            }
            match change {
                "deactivate" => {
                    app.operate(async |ctx| account::set_state(ctx, &user, false).await.unwrap()).await
                }
                "erase" => app.operate(async |ctx| account::delete(ctx, &user).await.unwrap()).await,
                _ => {
                    let hash = slow.replace("$v=19$m=262144", "$v=19$m=262145");
                    set_hash(app, &name, &hash).await;
                }
            }
        };

        let (answer, ()) = tokio::join!(login, change);
        answer.expect_problem(401, "invalid_credentials");

        let sessions = app
            .operate(async |ctx| {
                let call = store::queries::session::of_user(
                    user.key(),
                    ctx.now,
                    ctx.now.minus(Duration::from_secs(1)),
                    ctx.now,
                );
                ctx.lease.read().await.unwrap().all(call).await.unwrap().len()
            })
            .await;
        assert_eq!(sessions, 0, "{name}");

        let failed = app.events().into_iter().find(|entry| entry.event.kind() == "login_failed").unwrap();
        assert!(format!("{failed:?}").contains("Changed"), "{failed:?}");
    }
}

async fn no_answer_and_no_event_contains_a_secret(app: &TestApp) {
    let canary = "C4nary-passw0rd-7f3a";

    let body = json!({"email": "canary-mail@example.com", "username": "canaryname", "password": canary});
    let mut seen = vec![app.post(&path("register"), None, body.clone()).await];
    seen.push(app.post(&path("register"), None, body).await);

    let login = try_log_in(app, "canaryname", canary).await.expect(200);
    let pair = crate::api_calls::Pair::from(&login);
    seen.push(try_log_in(app, canary, "C4nary-wr0ng").await);
    seen.push(app.get(&path("me"), Some(&pair.access)).await);
    seen.push(app.get(&path("sessions"), Some(&pair.access)).await);
    seen.push(
        app.post(
            &path("password"),
            Some(&pair.access),
            json!({"current_password": "C4nary-wr0ng", "new_password": "C4nary-new-7"}),
        )
        .await,
    );

    seen.push(app.post(&path("refresh"), None, json!({"refresh_token": "gwr_C4nary"})).await);
    seen.push(app.get("/openapi.json", None).await);
    seen.push(app.get("/.well-known/jwks.json", None).await);

    for answer in &seen {
        for secret in ["C4nary", "argon2", pair.refresh.as_str(), "SELECT", "gw."] {
            assert!(!answer.text.contains(secret), "{secret} in {}", answer.text);
        }
    }

    let events = app.events();
    assert!(events.len() >= 5);
    let text = format!("{events:?} {}", serde_json::to_string(&events).unwrap());
    for secret in ["C4nary", "canary-mail", "canaryname", pair.refresh.as_str(), pair.access.as_str()] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }

    let user = find(app, "canaryname").await.key();
    let stored = app
        .operate(async |ctx| {
            let found = ctx.lease.read().await.unwrap().one(store::queries::credential::of_user(user)).await;
            format!("{:?}", found.unwrap())
        })
        .await;
    assert!(!stored.contains(canary), "only a hash is stored");
    assert_eq!(format!("{:?}", Secret::new(canary.to_owned())), "[secret]");
}

/// Logins run at the same time as a password change: no session of the old password survives the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_login_with_the_old_password_survives_its_change() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let app = TestApp::with(engine, Options::of([("database.pool_max", "16")])).await;
        let mut current = PASSWORD.to_owned();
        register(&app, "alice").await;
        for round in 0..12 {
            let next = format!("another passphrase {round}");
            let pair = crate::api_calls::Pair::from(&try_log_in(&app, "alice", &current).await.expect(200));
            let logins = join_all((0..24).map(|_| try_log_in(&app, "alice", &current)));
            let body = json!({"current_password": current, "new_password": next});
            let route = path("password");
            let change = app.post(&route, Some(&pair.access), body);

            let (logins, changed) = tokio::join!(logins, change);
            changed.expect(200);
            for login in logins.iter().filter(|login| login.status == 200) {
                let answer = crate::api_calls::try_refresh(&app, &login.string("refresh_token")).await;
                answer.expect_problem(401, "refresh_refused");
            }
            current = next;
        }
        app.close().await;
    }
}

/// Stores a hash of [`PASSWORD`] that takes long enough for a change while it is computed.
pub(super) async fn set_slow_hash(app: &TestApp, name: &str) -> String {
    let slow = slow_hash_of_the_password();
    set_hash(app, name, &slow).await;
    slow
}

/// The hash of [`PASSWORD`] at the cost of [`SLOW`].
fn slow_hash_of_the_password() -> String {
    use std::sync::OnceLock;
    static HASH: OnceLock<String> = OnceLock::new();
    HASH.get_or_init(|| {
        let stored = protocol::wire::password_hash::StoredHash::parse(SLOW).unwrap();
        let protocol::wire::password_hash::Format::Argon2(mut hash) = stored.format().clone() else {
            unreachable!()
        };
        let params = argon2::Params::new(hash.memory, hash.iterations, 1, Some(hash.tag.len())).unwrap();
        let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
        argon2.hash_password_into(PASSWORD.as_bytes(), &hash.salt, &mut hash.tag).unwrap();
        hash.to_string()
    })
    .clone()
}
