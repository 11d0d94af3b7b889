//! What every test of the store stands on: an engine with a database of its own, a recorder, and rows to insert.

use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use model::trail::{Entry, Promise, Receipt, Recorder};
use model::{
    Clock, Email, Event, Intent, Now, Origin, SessionId, Spawner, Trail, UserId, UserUuid, Username,
};
use protocol::pepper::StoredText;
use store::noun::session::NewSession;
use store::noun::user::NewUser;
use store::noun::{credential, session, user};
use store::{Error, Lease, Location, Settings, Store};
use tempfile::TempDir;
use testkit::postgres::{Database, rows};
use testkit::{Postgres, SharedPostgres};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub const NOON: Now = Now::from_seconds(1_700_000_000);

/// A stored text that no pepper has sealed.
pub fn stored(hash: &str) -> StoredText {
    StoredText::from_row(hash.to_owned())
}

/// The tests' tasks end with their runtime.
pub fn spawner() -> Spawner {
    Spawner::new(|_, task| drop(tokio::task::spawn(task)))
}

/// Runs `test` with an opened world in a task of its own: only tasks are watched for second acquires.
pub async fn run<F>(world: World, test: impl FnOnce(Arc<World>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    world.migrate().await.unwrap();
    tokio::task::spawn(test(Arc::new(world))).await.unwrap();
}

/// An engine, a database of the test's own on it, and what its transactions have noted.
pub struct World {
    pub settings: Settings,
    pub events: Arc<Events>,
    database: Option<Database>,
    _server: Option<SharedPostgres>,
    pub folder: TempDir,
}

#[derive(Default)]
pub struct Events {
    noted: Mutex<Vec<Event>>,
    /// In order, in words: what was announced, when that was written, and how it went.
    told: Arc<Mutex<Vec<String>>>,
    /// What is announced is never written.
    pub hangs: AtomicBool,
}

impl Recorder for Events {
    fn record(&self, entry: Entry) -> Option<Receipt> {
        let number = entry.intent.map_or_else(String::new, |number| format!(" {number}"));
        say(&self.told, format!("{}{number}", entry.event.kind()));
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).push(entry.event);
        None
    }

    fn announce(&self, _: Now, intent: &Intent, _: &Origin) -> Option<Promise> {
        say(&self.told, format!("announced {}", intent.kind));
        let (told, hangs) = (Arc::clone(&self.told), self.hangs.load(Ordering::SeqCst));
        let written: Receipt = Box::pin(async move {
            // As long as a thread's turn takes.
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            if hangs {
                std::future::pending::<()>().await;
            }
            say(&told, "written".to_owned());
        });
        Some(Promise { number: 7, written: Some(written) })
    }

    fn withdraw(&self, number: u64) {
        say(&self.told, format!("withdrawn {number}"));
    }
}

fn say(told: &Mutex<Vec<String>>, word: String) {
    told.lock().unwrap_or_else(PoisonError::into_inner).push(word);
}

impl Events {
    pub fn all(&self) -> Vec<Event> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it was told since the last time.
    pub fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pub fn settings(location: Location) -> Settings {
    Settings {
        location,
        pool_min: 1,
        pool_max: 8,
        // Long enough for a loaded machine; tests of deadlines set their own.
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
        forbid_second_acquire: true,
        faults: None,
    }
}

pub fn at_url(url: &str) -> Location {
    Location::Postgres { url: url.to_owned(), schema: "gatewright".to_owned(), tls_ca_file: None }
}

impl World {
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gatewright.db");
        Self::of(Location::Sqlite(path), None, None, folder)
    }

    pub fn postgres() -> Self {
        let server = Postgres::shared();
        let database = server.fresh_database();
        let location = at_url(database.url());
        Self::of(location, Some(server), Some(database), tempfile::tempdir().unwrap())
    }

    /// At a server that the test keeps to itself.
    pub fn at(url: &str) -> Self {
        Self::of(at_url(url), None, None, tempfile::tempdir().unwrap())
    }

    fn of(
        location: Location,
        server: Option<SharedPostgres>,
        database: Option<Database>,
        folder: TempDir,
    ) -> Self {
        let events = Arc::default();
        Self { settings: settings(location), events, database, _server: server, folder }
    }

    pub async fn migrate(&self) -> Result<Vec<store::Step>, Error> {
        store::migrate(&self.settings, NOON, &spawner()).await
    }

    pub async fn open(&self) -> Store {
        store::open(&self.settings, &spawner()).await.unwrap()
    }

    /// The same database through a pool of other measures.
    pub async fn open_with(&self, change: impl FnOnce(&mut Settings)) -> Store {
        let mut settings = self.settings.clone();
        change(&mut settings);
        store::open(&settings, &spawner()).await.unwrap()
    }

    pub fn trail(&self) -> Trail {
        Trail::new(Arc::clone(&self.events) as _, Clock::test(NOON), Origin::default())
    }

    pub fn lease(&self, store: &Store) -> Lease {
        store.front.lease(CancellationToken::new(), self.trail())
    }

    pub fn path(&self) -> PathBuf {
        match &self.settings.location {
            Location::Sqlite(path) => path.clone(),
            Location::Postgres { .. } => panic!("no file"),
        }
    }

    /// The audit trail of an embedded database, as a world of its own.
    pub async fn audit_file(&self) -> Self {
        store::audit::Audit::open(&self.settings, &spawner()).unwrap().journals().await.unwrap();
        let path = store::audit::trail_path(&self.path());
        Self::of(Location::Sqlite(path), None, None, tempfile::tempdir().unwrap())
    }

    pub fn is_sqlite(&self) -> bool {
        matches!(self.settings.location, Location::Sqlite(_))
    }

    pub fn url(&self) -> &str {
        match (&self.database, &self.settings.location) {
            (Some(database), _) => database.url(),
            (None, Location::Postgres { url, .. }) => url,
            (None, Location::Sqlite(_)) => panic!("no URL"),
        }
    }

    /// Runs SQL behind the store's back, in the house dialect, and gives back its rows as text.
    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        if !self.is_sqlite() {
            return rows(self.url(), &sql.replace("gw.", "gatewright.")).unwrap();
        }
        let connection = rusqlite::Connection::open(self.path()).unwrap();
        let sql = sql.replace("gw.", "");
        let mut out = Vec::new();
        for statement in sql.split(';').filter(|statement| !statement.trim().is_empty()) {
            let mut statement = connection.prepare(statement).unwrap();
            let columns = statement.column_count();
            // EXPLAIN needs no parameters.
            let mut found = statement.raw_query();
            while let Some(row) = found.next().unwrap() {
                out.push((0..columns).map(|at| text(row.get_ref(at).unwrap())).collect());
            }
        }
        out
    }

    pub fn count(&self, table: &str) -> i64 {
        let rows = self.sql(&format!("SELECT count(*) FROM gw.{table}"));
        rows[0][0].as_ref().unwrap().parse().unwrap()
    }
}

fn text(value: rusqlite::types::ValueRef<'_>) -> Option<String> {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => None,
        ValueRef::Integer(n) => Some(n.to_string()),
        ValueRef::Real(n) => Some(n.to_string()),
        ValueRef::Text(text) | ValueRef::Blob(text) => Some(String::from_utf8_lossy(text).into_owned()),
    }
}

pub fn uuid(n: u128) -> UserUuid {
    UserUuid(Uuid::from_u128(n))
}

pub fn session_id(n: u128) -> SessionId {
    SessionId(Uuid::from_u128(n))
}

pub fn email(n: u128) -> Email {
    Email::parse(&format!("user{n}@example.com")).unwrap()
}

pub fn username(n: u128) -> Username {
    Username::parse(&format!("user{n}")).unwrap()
}

pub fn new_user(n: u128) -> NewUser {
    NewUser {
        uuid: uuid(n),
        email: email(n),
        username: Some(username(n)),
        role: "BASIC_USER".into(),
        profile: "{}".into(),
        at: NOON,
    }
}

pub fn new_session(n: u128) -> NewSession {
    NewSession {
        id: session_id(n),
        scope: "profile".into(),
        address: Some("192.0.2.1".to_owned()),
        user_agent: Some("test/1".into()),
        at: NOON,
        ends_at: NOON.plus(Duration::from_hours(24)),
        expires_at: NOON.plus(Duration::from_hours(24)),
        secret_hash: [7; 32],
    }
}

pub fn registered(n: u128) -> Event {
    Event::UserRegistered { user: uuid(n), session: Some(session_id(n)) }
}

/// Registers user `n` as the server does: one batch, the last of its transaction. None when he is taken.
pub async fn register(lease: &mut Lease, n: u128) -> Result<Option<UserId>, Error> {
    register_as(lease, new_user(n), new_session(n)).await
}

pub async fn register_as(
    lease: &mut Lease,
    user: NewUser,
    session: NewSession,
) -> Result<Option<UserId>, Error> {
    let outcome = lease
        .transact(
            Intent::to(model::Kind::UserRegistered).user(user.uuid).session(session.id),
            async move |tx| {
                let calls = (
                    user::insert(&user),
                    credential::insert(user.uuid, &stored("hash"), user.at),
                    session::open_registered(user.uuid, &session),
                );
                let (ids, ..) = tx.last(calls).await?;
                let id = ids.into_iter().next().ok_or(Refusal::Taken)?;
                Ok((Event::UserRegistered { user: user.uuid, session: Some(session.id) }, id))
            },
        )
        .await;
    match outcome {
        Ok(id) => Ok(Some(id)),
        Err(Refusal::Taken) => Ok(None),
        Err(Refusal::Store(error)) => Err(error),
    }
}

#[derive(Debug)]
pub enum Refusal {
    Taken,
    Store(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}
