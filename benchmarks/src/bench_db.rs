//! A migrated database of either engine, and the server's operations reduced to their statements.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model::{Clock, Email, Now, Origin, SessionId, UserId, UserKey, UserUuid};
use protocol::sealed::pepper::StoredText;
use runtime::{AuditContext, NoopRecorder, Spawner};
use store::queries::credential::{self, AskingClient};
use store::queries::session::{NewSession, Rotation};
use store::queries::user::NewUser;
use store::queries::{session, user};
use store::{Error, Lease, Location, Settings, Store, Tx};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::Outcome;

pub(super) const NOON: Now = Now::from_seconds(1_700_000_000);
/// The intent of every write of a benchmark.
const INTENT: model::intent::UserRegistered =
    model::intent::UserRegistered { user: UserUuid(Uuid::nil()), session: None };
const DAY: Duration = Duration::from_hours(24);

/// A stored text without a pepper.
fn stored(hash: &str) -> StoredText {
    StoredText::from_row(hash.to_owned())
}

/// An open store, and a counter of unused numbers.
#[derive(Clone)]
pub(super) struct BenchDb {
    pub(super) store: Arc<Store>,
    next: Arc<AtomicU64>,
}

/// Spawns on the runtime of the benchmark, which ends the tasks.
#[expect(clippy::disallowed_methods, reason = "the runtime owns them, and it ends with the benchmark")]
pub(super) fn spawner() -> Spawner {
    Spawner::new(|_, task| drop(tokio::task::spawn(task)))
}

pub(super) fn at_path(path: &Path) -> Location {
    Location::Sqlite(path.to_owned())
}

fn settings(location: Location, pool_max: usize) -> Settings {
    Settings {
        location,
        pool_min: 1,
        pool_max,
        acquire_timeout: Duration::from_secs(30),
        statement_timeout: Duration::from_secs(30),
        ..Settings::default()
    }
}

pub(super) async fn migrate(location: Location) -> Outcome<()> {
    store::migrate(&settings(location, 1), NOON, &spawner()).await?;
    Ok(())
}

impl BenchDb {
    /// Numbers begin at `first`, so that two instances on one database do not collide.
    pub(super) async fn open(location: Location, pool_max: usize, first: u64) -> Outcome<Self> {
        let store = store::open(&settings(location, pool_max), &spawner()).await?;
        Ok(Self { store: Arc::new(store), next: Arc::new(AtomicU64::new(first)) })
    }

    pub(super) fn lease(&self) -> Lease {
        let audit = AuditContext::new(Arc::new(NoopRecorder), Clock::test(NOON), Origin::default());
        self.store.requests.lease(CancellationToken::new(), audit)
    }

    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Registers a new user in one batch, as the server does.
    pub(super) async fn register(&self) -> Result<(UserId, u64), String> {
        let n = self.number();
        let (user, session) = (new_user(n)?, new_session(n));
        let done: Result<_, Error> = self
            .lease()
            .transact(INTENT, async move |tx| {
                let calls = (
                    user::insert(&user),
                    credential::insert(user.uuid, &stored("hash"), user.at),
                    session::open_registered(user.uuid, &session),
                );
                Ok((event(n), tx.commit_with(calls).await?.0))
            })
            .await;
        let ids = done.map_err(|error| error.to_string())?;
        ids.first().map(|id| (*id, n)).ok_or_else(|| format!("user {n} is taken"))
    }

    /// Registers a user in four round trips: BEGIN with the first statement, two more, COMMIT.
    pub(super) async fn register_in_four_trips(&self) -> Result<(), String> {
        let n = self.number();
        let (user, session) = (new_user(n)?, new_session(n));
        let done: Result<_, Error> = self
            .lease()
            .transact(INTENT, async move |tx: &mut Tx| {
                tx.one(user::insert(&user)).await?;
                tx.one(credential::insert(user.uuid, &stored("hash"), user.at)).await?;
                tx.one(session::open_registered(user.uuid, &session)).await?;
                Ok((event(n), ()))
            })
            .await;
        done.map_err(|error| error.to_string())
    }

    /// Runs the read of a login.
    pub(super) async fn find_login(&self, email: &Email) -> Result<credential::Login, String> {
        let mut lease = self.lease();
        let mut read = lease.read().await.map_err(|error| error.to_string())?;
        let found = read
            .one(credential::by_email(email, &AskingClient::default()))
            .await
            .map_err(|error| error.to_string())?;
        found.ok_or_else(|| format!("no user has the email {}", email.address()))
    }

    /// Runs the write of a login.
    pub(super) async fn open_session(&self, user: UserKey) -> Result<(), String> {
        let n = self.number();
        let row = new_session(n);
        let done: Result<_, Error> = self
            .lease()
            .transact(INTENT, async move |tx| {
                Ok((event(n), tx.commit_with((session::open(user, 1, &row),)).await?.0))
            })
            .await;
        one(&done.map_err(|error| error.to_string())?)
    }

    /// Runs a refresh with the `generation` and `secret` of a token.
    pub(super) async fn refresh(
        &self,
        id: SessionId,
        generation: i64,
        secret: [u8; 32],
    ) -> Result<(), String> {
        let step = Rotation {
            session: id,
            generation,
            secret_hash: secret,
            successor_hash: secret,
            successor: "e".repeat(123),
            at: NOON,
            idle_since: NOON.minus(DAY * 30),
            created_by: Now::from_micros(i64::MAX),
            kept_chars: 861,
            expires_at: NOON.plus(DAY * 30),
            address: Some("192.0.2.1".into()),
            user_agent: Some("bench/1".into()),
            client: Some(vec![7; 16]),
            tokens_end: NOON.plus(DAY),
        };

        let done: Result<_, Error> = self
            .lease()
            .transact(INTENT, async move |tx| {
                Ok((event(0), tx.commit_with((session::rotate(&step),)).await?.0))
            })
            .await;
        one(&done.map_err(|error| error.to_string())?)
    }

    /// Runs one batch of the cleanup; fails unless it removes `limit` rows.
    pub(super) async fn clean(&self, until: Now, limit: i64) -> Result<(), String> {
        let done: Result<_, Error> = self
            .lease()
            .transact(INTENT, async move |tx| {
                Ok((event(0), tx.commit_with((session::delete_expired(until, limit),)).await?.0))
            })
            .await;
        let removed = done.map_err(|error| error.to_string())?.len();
        if i64::try_from(removed) == Ok(limit) { Ok(()) } else { Err(format!("{removed} rows removed")) }
    }
}

fn one<T>(rows: &[T]) -> Result<(), String> {
    if rows.len() == 1 { Ok(()) } else { Err(format!("{} rows instead of one", rows.len())) }
}

fn event(n: u64) -> model::event::UserRegistered {
    model::event::UserRegistered {
        role: "basic_user".to_owned(),
        user: UserUuid(uuid(n)),
        number: UserId(1),
        session: Some(SessionId(uuid(n))),
    }
}

/// Ordered like UUIDs of version 7.
pub(super) fn uuid(n: u64) -> Uuid {
    Uuid::from_u128(u128::from(n))
}

pub(super) fn email(n: u64) -> Result<Email, String> {
    Email::parse(&format!("user{n}@example.com")).map_err(|error| error.to_string())
}

pub(super) fn new_user(n: u64) -> Result<NewUser, String> {
    Ok(NewUser {
        uuid: UserUuid(uuid(n)),
        email: email(n)?,
        username: None,
        role: "BASIC_USER".into(),
        profile: "{}".into(),
        at: NOON,
    })
}

fn new_session(n: u64) -> NewSession {
    NewSession {
        id: SessionId(uuid(n)),
        scope: "profile".into(),
        address: Some("192.0.2.1".into()),
        user_agent: Some("bench/1".into()),
        at: NOON,
        ends_at: NOON.plus(DAY * 90),
        expires_at: NOON.plus(DAY * 30),
        secret_hash: [0; 32],
        client: Some(vec![7; 16]),
        tokens_end: NOON.plus(DAY),
    }
}
