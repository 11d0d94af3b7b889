//! What a refresh and a login mean depends on the client, known by its network and its user agent: no honest
//! client is signed out.

use std::net::SocketAddr;
use std::time::Duration;

use auth::account;
use axum::body::Body;
use fixtures::{Answer, Engine, Options, START, TestApp, TestDatabase, on_both};
use futures_util::future::join_all;
use http::{Request, header};
use model::Secret;
use protocol::sealed::keyring::Keyring;
use serde_json::{Value, json};

use crate::api_calls::{PASSWORD, Pair, find, me, path, register};

const SECOND: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(11);

/// A client of the application, at an address and with a user agent.
struct Client<'a> {
    app: &'a TestApp,
    address: &'static str,
    agent: &'static str,
}

const fn phone(app: &TestApp) -> Client<'_> {
    Client { app, address: "192.0.2.1", agent: "phone/1" }
}

impl Client<'_> {
    async fn post(&self, name: &str, kind: &str, body: String) -> Answer {
        let mut request = Request::post(path(name)).header(header::CONTENT_TYPE, kind);
        if !self.agent.is_empty() {
            request = request.header(header::USER_AGENT, self.agent);
        }
        let mut request = request.body(Body::from(body)).unwrap();
        let peer: std::net::IpAddr = self.address.parse().unwrap();
        request.extensions_mut().insert(SocketAddr::from((peer, 40_000)));
        self.app.send(request).await
    }

    async fn log_in(&self) -> Pair {
        let body = format!("username=alice&password={PASSWORD}");
        Pair::from(&self.post("token", "application/x-www-form-urlencoded", body).await.expect(200))
    }

    async fn try_refresh(&self, token: &str) -> Answer {
        self.post("refresh", "application/json", json!({"refresh_token": token}).to_string()).await
    }

    async fn refresh(&self, token: &str) -> Pair {
        Pair::from(&self.try_refresh(token).await.expect(200))
    }
}

async fn sessions(app: &TestApp, access: &str) -> Vec<Value> {
    app.get(&path("sessions"), Some(access)).await.expect(200).json().as_array().unwrap().clone()
}

on_both! {
    two_processes_of_one_client_share_a_session_for_ever,
    a_phone_that_lost_three_answers_is_not_signed_out,
    a_client_that_used_the_successor_is_refused_and_its_session_lives,
    a_thief_with_another_address_or_user_agent_is_caught,
    another_user_agent_within_the_grace_time_counts,
    a_script_that_logs_in_at_every_run_does_not_sign_the_phone_out,
    the_first_session_to_end_is_one_of_the_clients_own,
    parallel_logins_leave_at_most_100_sessions,
    a_role_that_changes_during_the_hash_is_that_of_the_token,
    a_password_for_an_erased_user_is_not_stored,
}

async fn two_processes_of_one_client_share_a_session_for_ever(app: &TestApp) {
    // Given two processes that keep the token in memory and refresh by turns, later than the grace time.
    register(app, "alice").await;
    let client = phone(app);
    let mut token = client.log_in().await.refresh;
    app.events();
    for _ in 0..10 {
        let first = client.refresh(&token).await;
        app.clock.advance(LATER);
        let second = client.refresh(&token).await;
        let third = client.refresh(&token).await;
        assert_eq!((&second.refresh, &third.refresh), (&first.refresh, &first.refresh));
        me(app, &third.access).await.expect(200);
        token = first.refresh;
    }

    // Then it is audited once a generation, and the list of sessions shows it.
    let kinds = app.event_kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == "refresh_shared").count(), 10, "{kinds:?}");
    let last = client.refresh(&token).await;
    assert_eq!(sessions(app, &last.access).await[0]["shared"], true);
}

async fn a_phone_that_lost_three_answers_is_not_signed_out(app: &TestApp) {
    register(app, "alice").await;
    let client = phone(app);
    let mut token = client.log_in().await.refresh;
    for lost in [1, 3, 4] {
        for _ in 0..lost {
            client.refresh(&token).await;
            app.clock.advance(Duration::from_hours(3));
        }
        token = client.refresh(&token).await.refresh;
    }
    client.refresh(&token).await;
}

async fn a_client_that_used_the_successor_is_refused_and_its_session_lives(app: &TestApp) {
    // Given a process that sleeps while another one of the same client goes on.
    register(app, "alice").await;
    let client = phone(app);
    let asleep = client.log_in().await;
    let second = client.refresh(&asleep.refresh).await;
    let third = client.refresh(&second.refresh).await;
    app.clock.advance(LATER);
    app.events();

    // When it wakes up, twice.
    for _ in 0..2 {
        client.try_refresh(&asleep.refresh).await.expect_problem(401, "refresh_superseded");
    }

    // Then it is audited, and the session lives.
    assert_eq!(app.event_kinds(), ["refresh_superseded", "refresh_superseded"]);
    me(app, &third.access).await.expect(200);
    let fourth = client.refresh(&third.refresh).await;

    // When another client logs in, nothing ends; when this one does, the old session ends.
    let elsewhere = Client { address: "192.0.2.9", ..phone(app) }.log_in().await;
    me(app, &fourth.access).await.expect(200);
    let new = client.log_in().await;
    me(app, &fourth.access).await.expect_problem(401, "token_invalid");
    client.try_refresh(&fourth.refresh).await.expect_problem(401, "refresh_refused");
    me(app, &elsewhere.access).await.expect(200);
    assert_eq!(sessions(app, &new.access).await.len(), 2);
}

async fn a_thief_with_another_address_or_user_agent_is_caught(app: &TestApp) {
    register(app, "alice").await;
    let owner = phone(app);
    for thief in [
        Client { address: "198.51.100.7", ..phone(app) },
        Client { agent: "thief/1", ..phone(app) },
        Client { agent: "", ..phone(app) },
        Client { address: "2001:db8::1", ..phone(app) },
    ] {
        // The owner has used the successor.
        let first = owner.log_in().await;
        let second = owner.refresh(&first.refresh).await;
        let third = owner.refresh(&second.refresh).await;
        app.clock.advance(LATER);
        app.events();
        thief.try_refresh(&first.refresh).await.expect_problem(401, "refresh_refused");
        assert_eq!(app.event_kinds(), ["refresh_stolen"], "{} {}", thief.address, thief.agent);
        me(app, &third.access).await.expect_problem(401, "token_invalid");

        // The thief was first, and both go on.
        let stolen = owner.log_in().await;
        let mut token = stolen.refresh;
        for generation in 1..=3 {
            let next = thief.refresh(&token).await;
            app.clock.advance(LATER);
            let answer = owner.try_refresh(&token).await;
            if generation == 3 {
                answer.expect_problem(401, "refresh_refused");
                me(app, &next.access).await.expect_problem(401, "token_invalid");
            } else {
                assert_eq!(Pair::from(&answer.expect(200)).refresh, next.refresh);
            }
            token = next.refresh;
        }
    }
}

async fn another_user_agent_within_the_grace_time_counts(app: &TestApp) {
    register(app, "alice").await;
    let (owner, thief) = (phone(app), Client { agent: "thief/1", ..phone(app) });
    let mut token = owner.log_in().await.refresh;
    for generation in 1..=3 {
        let next = owner.refresh(&token).await;
        app.clock.advance(SECOND);
        let answer = thief.try_refresh(&token).await;
        if generation == 3 {
            answer.expect_problem(401, "refresh_refused");
            me(app, &next.access).await.expect_problem(401, "token_invalid");
        } else {
            answer.expect(200);
        }
        token = next.refresh;
        app.clock.advance(LATER);
    }
}

#[tokio::test]
async fn nodes_whose_clocks_differ_sign_no_client_out() {
    let database = TestDatabase::new(Engine::Sqlite);
    let key = fixtures::new_keyring().to_text().expose().clone();
    let node = async |ahead: Duration| {
        let keyring = Some(Keyring::parse(&key).unwrap());
        let options = Options { start: START.plus(ahead), keyring, ..Options::default() };
        TestApp::on(database.clone(), options).await
    };

    for ahead in [15, 59] {
        let (behind, ahead) = (node(Duration::ZERO).await, node(Duration::from_secs(ahead)).await);
        if crate::api_calls::try_register(&behind, "alice").await.status != 201 {
            assert_eq!(find(&behind, "alice").await.username.as_deref(), Some("alice"));
        }
        let mut token = phone(&behind).log_in().await.refresh;
        for round in 0..8 {
            let (first, second) = if round % 2 == 0 { (&behind, &ahead) } else { (&ahead, &behind) };
            let one = phone(first).refresh(&token).await;
            let other = phone(second).refresh(&token).await;
            assert_eq!(one.refresh, other.refresh);
            token = one.refresh;
        }
        behind.close().await;
        ahead.close().await;
    }
}

async fn a_script_that_logs_in_at_every_run_does_not_sign_the_phone_out(app: &TestApp) {
    register(app, "alice").await;
    let mut owner = phone(app).log_in().await;
    owner = phone(app).refresh(&owner.refresh).await;
    let script = Client { address: "192.0.2.50", agent: "curl/8", ..phone(app) };
    let bare = Client { address: "192.0.2.51", agent: "", ..phone(app) };
    for _ in 0..110 {
        app.clock.advance(SECOND);
        script.log_in().await;
    }
    for _ in 0..110 {
        app.clock.advance(SECOND);
        bare.log_in().await;
    }
    me(app, &owner.access).await.expect(200);
    owner = phone(app).refresh(&owner.refresh).await;
    assert_eq!(sessions(app, &owner.access).await.len(), 100);
}

async fn the_first_session_to_end_is_one_of_the_clients_own(app: &TestApp) {
    // Given 99 clients that never refreshed, and one of the script that did.
    register(app, "alice").await;
    let others = join_all((0..99).map(|n| {
        let address = Box::leak(format!("198.51.100.{n}").into_boxed_str());
        async move { Client { address, ..phone(app) }.log_in().await }
    }))
    .await;
    let script = Client { address: "192.0.2.50", agent: "curl/8", ..phone(app) };
    let own = script.log_in().await;
    let own = script.refresh(&own.refresh).await;

    let newest = script.log_in().await;

    me(app, &own.access).await.expect_problem(401, "token_invalid");
    for other in &others {
        me(app, &other.access).await.expect(200);
    }
    me(app, &newest.access).await.expect(200);
}

async fn parallel_logins_leave_at_most_100_sessions(app: &TestApp) {
    register(app, "alice").await;
    let client = phone(app);
    for _ in 0..5 {
        join_all((0..32).map(|_| client.log_in())).await;
    }
    assert_eq!(sessions(app, &client.log_in().await.access).await.len(), 100);
}

/// The claims of an access token.
fn claims(access: &str) -> Value {
    use base64::Engine as _;
    let payload = access.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

async fn a_role_that_changes_during_the_hash_is_that_of_the_token(app: &TestApp) {
    register(app, "alice").await;
    let user = find(app, "alice").await;
    app.operate(async |ctx| account::set_role(ctx, &user, "admin").await.unwrap()).await;
    super::login::set_slow_hash(app, "alice").await;
    let begun = app.services.hasher.counts().totals().begun;

    let client = phone(app);
    let demote = async {
        while app.services.hasher.counts().totals().begun == begun {
            tokio::task::yield_now().await;
        }
        app.operate(async |ctx| account::set_role(ctx, &user, "basic_user").await.unwrap()).await;
    };
    let (pair, ()) = tokio::join!(client.log_in(), demote);

    assert_eq!(claims(&pair.access)["role"], "basic_user");
}

async fn a_password_for_an_erased_user_is_not_stored(app: &TestApp) {
    // Given a user who is erased after the operator's command has found them.
    register(app, "alice").await;
    let user = find(app, "alice").await;
    app.operate(async |ctx| account::delete(ctx, &user).await.unwrap()).await;

    let password = Secret::new("another fine one".to_owned());
    let set = app.operate(async |ctx| account::set_password(ctx, &user, &password).await).await;

    assert!(matches!(set, Err(account::AdminError::Unknown)), "{set:?}");
    let stored = app
        .operate(async |ctx| {
            let call = store::queries::credential::of_user(user.key());
            ctx.lease.read().await.unwrap().one(call).await.unwrap().unwrap()
        })
        .await;
    assert!(stored.hash.is_none(), "no personal data after the erasure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_logins_on_many_connections_leave_at_most_100_sessions() {
    let app = TestApp::with(Engine::Postgres, Options::of([("database.pool_max", "16")])).await;
    register(&app, "alice").await;
    let client = phone(&app);
    for _ in 0..10 {
        join_all((0..16).map(|_| client.log_in())).await;
    }
    let counted = testkit::postgres::rows(
        &app.database.url,
        "SELECT count(*) FROM gatewright.sessions WHERE NOT revoked",
    );
    assert_eq!(counted.unwrap()[0][0].as_deref(), Some("100"));
    app.close().await;
}
