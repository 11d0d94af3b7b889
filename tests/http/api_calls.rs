//! Users for tests.

use fixtures::{Answer, TestApp};
use model::{ClientRight, Secret};
use protocol::sealed::pepper::StoredText;
use serde_json::{Value, json};
use store::queries::credential;

/// The prefix of the routes of `/api/v1/auth`.
pub(crate) const V1: &str = "/api/v1/auth";
/// A password that is on no blocklist.
pub(crate) const PASSWORD: &str = "TestPass123!";

/// An access token and a refresh token.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) access: String,
    pub(crate) refresh: String,
}

impl From<&Answer> for Pair {
    fn from(answer: &Answer) -> Self {
        Self { access: answer.string("access_token"), refresh: answer.string("refresh_token") }
    }
}

pub(crate) fn path(name: &str) -> String {
    format!("{V1}/{name}")
}

/// Adds a client with every right; returns its secret.
pub(crate) async fn add_client(app: &TestApp, id: &str) -> Secret<String> {
    let rights = ClientRight::ALL.into_iter().collect();
    app.operate(async |ctx| auth::client::add(ctx, id, "An API", rights).await.unwrap()).await
}

pub(crate) async fn try_register(app: &TestApp, name: &str) -> Answer {
    let body = json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD});
    app.post(&path("register"), None, body).await
}

pub(crate) async fn register(app: &TestApp, name: &str) -> Value {
    try_register(app, name).await.expect(201).json()
}

pub(crate) async fn try_log_in(app: &TestApp, name: &str, password: &str) -> Answer {
    app.form(&path("token"), &[("username", name), ("password", password)]).await
}

pub(crate) async fn log_in(app: &TestApp, name: &str) -> Pair {
    Pair::from(&try_log_in(app, name, PASSWORD).await.expect(200))
}

/// Registers and logs in.
pub(crate) async fn member(app: &TestApp, name: &str) -> Pair {
    register(app, name).await;
    log_in(app, name).await
}

pub(crate) async fn try_refresh(app: &TestApp, token: &str) -> Answer {
    app.post(&path("refresh"), None, json!({"refresh_token": token})).await
}

pub(crate) async fn refresh(app: &TestApp, token: &str) -> Pair {
    Pair::from(&try_refresh(app, token).await.expect(200))
}

pub(crate) async fn me(app: &TestApp, token: &str) -> Answer {
    app.get(&path("me"), Some(token)).await
}

pub(crate) async fn find(app: &TestApp, name: &str) -> store::queries::user::User {
    app.operate(async |ctx| auth::account::find(ctx, name).await.unwrap()).await
}

/// What a login finds in the database.
pub(crate) async fn find_login(app: &TestApp, name: &str) -> credential::Login {
    let email = model::Email::parse(&format!("{name}@example.com")).unwrap();
    let call = credential::by_email(&email, &credential::AskingClient::default());
    app.operate(async |ctx| ctx.lease.read().await.unwrap().one(call).await.unwrap().unwrap()).await
}

/// Replaces a stored hash, as an import or a damaged row would.
pub(crate) async fn set_hash(app: &TestApp, name: &str, hash: &str) {
    let (user, hash) = (find(app, name).await, StoredText::from_row(hash.to_owned()));
    let event = model::event::PasswordChanged { user: user.uuid, sessions: 0, changed_at: app.clock.now() };
    let now = app.clock.now();
    app.operate(async |ctx| {
        let set: Result<(), store::Error> = ctx
            .lease
            .transact(model::intent::PasswordChanged { user: user.uuid, stamp: now }, async move |tx| {
                tx.commit_with((credential::set(user.key(), &hash, now),)).await?;
                Ok((event.clone(), ()))
            })
            .await;
        set.unwrap();
    })
    .await;
}
