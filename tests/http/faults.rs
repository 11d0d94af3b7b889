//! F-34: the n-th call fails, for every n. A flow runs repeatedly; each time a different acquire, database
//! call or write of the audit journal fails, and the data stays consistent.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use audit::{Auditor, DetailKeyFile, IntentLog};
use fixtures::{Answer, Engine, Options, TestApp};
use http::Method;
use journal::disk::{Disk, FileSystem, Segment};
use journal::{Journal, JournalId};
use model::event::Outcome;
use model::{Clock, Rng, SessionId};
use serde_json::{Value, json};
use store::queries::{credential, session, user};
use store::{Failure, Faults};

use crate::api_calls::{PASSWORD, path};

const NEXT_PASSWORD: &str = "another fine one";
/// More calls than the flow can have.
const MOST: i64 = 500;

/// Makes one call fail: the one that brings the count to zero while the trap is armed.
#[derive(Default)]
struct Trap {
    armed: AtomicBool,
    left: AtomicI64,
    after: AtomicBool,
}

impl Trap {
    fn springs(&self) -> bool {
        self.armed.load(Ordering::SeqCst) && self.left.fetch_sub(1, Ordering::SeqCst) == 1
    }

    fn set(&self, n: i64, failure: Failure) {
        self.left.store(n, Ordering::SeqCst);
        self.after.store(failure == Failure::After, Ordering::SeqCst);
    }

    /// Whether a call has failed.
    fn has_sprung(&self) -> bool {
        self.left.load(Ordering::SeqCst) <= 0
    }

    fn faults(self: &Arc<Self>) -> Faults {
        let trap = Arc::clone(self);
        Faults::new(move |_| {
            let how = if trap.after.load(Ordering::SeqCst) { Failure::After } else { Failure::Before };
            trap.springs().then_some(how)
        })
    }
}

/// The rows of one user, in which each change is visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Rows {
    state: String,
    password: Option<i64>,
    sessions: BTreeMap<SessionId, i64>,
}

async fn rows(app: &TestApp, email: &str) -> Rows {
    app.operate(async |ctx| {
        let email = model::Email::parse(email).unwrap();
        let mut read = ctx.lease.read().await.unwrap();
        let Some(found) = read.one(user::find_by_email(&email)).await.unwrap() else {
            return Rows::default();
        };
        let login = read.one(credential::of_user(found.key())).await.unwrap();
        let live = read
            .all(session::of_user(found.key(), ctx.now, model::Now::from_seconds(0), ctx.now))
            .await
            .unwrap();
        Rows {
            state: format!("{:?}", found.state),
            password: login.map(|login| login.version),
            sessions: live.into_iter().map(|row| (row.id, row.generation)).collect(),
        }
    })
    .await
}

/// One user in the flow.
struct Person<'a> {
    app: &'a TestApp,
    trap: &'a Trap,
    name: String,
    access: String,
    refresh: String,
    /// The number of changes that the audit trail records as `outcome_unknown`.
    unknown: usize,
}

const STEPS: [&str; 7] = ["register", "login", "refresh", "logout", "login again", "password", "erase"];

impl Person<'_> {
    fn email(&self) -> String {
        format!("{}@example.com", self.name)
    }

    async fn send(&self, step: &str) -> Answer {
        let app = self.app;
        let json = |body: Value| Some(("application/json", body.to_string()));
        let post = async |name: &str, token, body| app.call(Method::POST, &path(name), token, body).await;
        match step {
            "register" => {
                let body = json!({"email": self.email(), "username": self.name, "password": PASSWORD});
                post("register", None, json(body)).await
            }
            "refresh" | "logout" => post(step, None, json(json!({"refresh_token": self.refresh}))).await,
            "password" => {
                let body = json!({"current_password": PASSWORD, "new_password": NEXT_PASSWORD});
                post(step, Some(&self.access), json(body)).await
            }
            "erase" => {
                let body = json!({"password": NEXT_PASSWORD});
                app.call(Method::DELETE, &path("me"), Some(&self.access), json(body)).await
            }
            _ => app.form(&path("token"), &[("username", &self.name), ("password", PASSWORD)]).await,
        }
    }

    /// Tries a step once; checks its response, its rows and its events.
    async fn attempt(&mut self, step: &str) -> (Answer, Rows) {
        let before = rows(self.app, &self.email()).await;
        self.app.events();
        let sprung = self.trap.has_sprung();
        self.trap.armed.store(true, Ordering::SeqCst);
        let answer = tokio::time::timeout(Duration::from_secs(30), self.send(step)).await.unwrap();
        self.trap.armed.store(false, Ordering::SeqCst);
        let failed_here = !sprung && self.trap.has_sprung();
        let after = rows(self.app, &self.email()).await;

        let events = self.app.events();
        let claims = |kind: &str| !matches!(kind, "refresh_replayed" | "outcome_unknown");
        let recorded =
            events.iter().any(|entry| entry.event.outcome() == Outcome::Done && claims(entry.event.kind()));
        let unknown = events.iter().any(|entry| entry.event.kind() == "outcome_unknown");
        let changed = before != after;
        let at = format!("{step} of {}: {} {events:?}", self.name, answer.status);

        assert!(!recorded || changed, "{at}: an event without its rows");
        assert!(!answer.status.is_success() || recorded || !changed, "{at}: success without an event");
        assert!(!changed || recorded || unknown, "{at}: rows without their event");
        // An outcome is unknown only if the database's answer was lost.
        let lost = failed_here && self.trap.after.load(Ordering::SeqCst);
        assert!(!unknown || lost, "{at}: unknown, although no answer was lost");
        self.unknown += usize::from(unknown);
        assert!(answer.status.is_success() || failed_here || sprung, "{at}: nothing had failed");
        if failed_here && !answer.status.is_success() {
            assert_eq!(answer.status, 503, "{at}: {}", answer.text);
            assert!(!answer.header("retry-after").is_empty(), "{at}");
        }

        // The writer may still be finishing; a request cannot leak its connection.
        for pool in self.app.store_metrics.pools().iter().filter(|pool| pool.pool != "writer") {
            assert_eq!(pool.used, 0, "{at}: a connection of {} is leaked", pool.pool);
        }

        (answer, after)
    }

    async fn step(&mut self, step: &str) {
        let first = rows(self.app, &self.email()).await;
        let (mut answer, mut now) = self.attempt(step).await;
        if !answer.status.is_success() {
            let done = first != now;
            (answer, now) = self.attempt(step).await;
            // The retry of a change that was made may be refused; any other retry succeeds.
            let refused = done && answer.status.is_client_error();
            assert!(answer.status.is_success() || refused, "{step} again: {}", answer.text);
        }

        assert_ne!(first, now, "{step} of {}: {} and no rows", self.name, answer.status);
        let json = answer.json();
        if let (Some(access), Some(refresh)) = (json["access_token"].as_str(), json["refresh_token"].as_str())
        {
            (self.access, self.refresh) = (access.to_owned(), refresh.to_owned());
        }
    }
}

/// Makes every call fail in turn; returns the number of calls and of unknown outcomes.
async fn every_call(app: &TestApp, trap: &Trap, failure: Failure) -> (i64, usize) {
    let mut unknown = 0;
    for n in 1..MOST {
        trap.set(n, failure);
        let name = format!("{failure:?}{n}").to_lowercase();
        let (access, refresh) = (String::new(), String::new());
        let mut person = Person { app, trap, name, access, refresh, unknown: 0 };
        for step in STEPS {
            person.step(step).await;
        }
        unknown += person.unknown;
        if !trap.has_sprung() {
            return (n - 1, unknown);
        }
    }
    panic!("the flow has more than {MOST} calls");
}

async fn the_nth_call_fails(engine: Engine) {
    let trap = Arc::<Trap>::default();
    trap.set(0, Failure::Before);
    let app = TestApp::with(engine, Options { faults: Some(trap.faults()), ..Options::default() }).await;
    for failure in [Failure::Before, Failure::After] {
        let (sites, unknown) = every_call(&app, &trap, failure).await;
        println!("{engine:?}, {failure:?}: covered {sites} of {sites} sites; {unknown} outcomes are unknown");
        assert!(sites >= 20, "{sites}");
    }
    app.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_database_call_loses_nothing_on_sqlite() {
    the_nth_call_fails(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_database_call_loses_nothing_on_postgres() {
    the_nth_call_fails(Engine::Postgres).await;
}

/// A disk on which one call fails, once.
#[derive(Clone, Debug)]
struct Full {
    left: Arc<AtomicI64>,
}

#[derive(Debug)]
struct FullSegment {
    segment: Box<dyn Segment>,
    disk: Full,
}

impl Full {
    fn wrap(&self, segment: io::Result<Box<dyn Segment>>) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(FullSegment { segment: segment?, disk: self.clone() }))
    }

    fn refuse(&self) -> io::Result<()> {
        let refuses = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if refuses { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

impl Disk for Full {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        self.refuse()?;
        self.wrap(FileSystem.create(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        self.wrap(FileSystem.open(path))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        FileSystem.remove(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.refuse()?;
        FileSystem.sync_directory(path)
    }
}

impl Segment for FullSegment {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.disk.refuse()?;
        self.segment.write_at(bytes, offset)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        self.disk.refuse()?;
        self.segment.set_len(bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.segment.len()
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.segment.read_at(bytes, offset)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        self.segment.is_at(path)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.disk.refuse()?;
        self.segment.sync()
    }
}

/// Events of the start, and notices of the journal about its disk and about an end that it could not sign.
const OF_THE_START: [&str; 6] = [
    "realm_opened",
    "master_key_added",
    "key_created",
    "key_activated",
    "audit_unsynced",
    "audit_end_adopted",
];

/// The n-th call of the journals' disk fails: every request succeeds, the journal contains every event once
/// and in order, and the chain is intact.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_journal_write_loses_nothing() {
    let disk = Full { left: Arc::default() };
    let folder = tempfile::tempdir().unwrap();
    let keyring = fixtures::new_keyring();
    let open = || {
        let id = JournalId([7; 16]);
        let journal = |name: &str| {
            let place = folder.path().join(name);
            Journal::open_on(Box::new(disk.clone()), &place, journal::Options::default(), id).unwrap().0
        };
        let clock = Clock::system();
        let intents = IntentLog::start(journal("intents"), &folder.path().join("intents"), &clock).unwrap();
        let book = DetailKeyFile::open(&folder.path().join("keys"), keyring.clone(), Rng::seeded(2)).unwrap();
        let rng = Rng::seeded(3);
        Arc::new(Auditor::start(journal("journal"), intents, book, &keyring, clock, rng).unwrap())
    };

    let trap = Trap::default();
    let mut noted = Vec::new();
    for n in 1.. {
        assert!(n < MOST, "the flow has more than {MOST} writes");

        disk.left.store(0, Ordering::SeqCst);
        let auditor = open();
        disk.left.store(n, Ordering::SeqCst);
        let options = Options { recorder: Some(auditor.clone()), ..Options::default() };
        let app = TestApp::with(Engine::Sqlite, options).await;

        let name = format!("journal{n}");
        let (access, refresh) = (String::new(), String::new());
        let mut person = Person { app: &app, trap: &trap, name, access, refresh, unknown: 0 };
        for step in STEPS {
            // A journal that cannot be written does not stop requests.
            person.step(step).await;
        }

        drop(person);
        app.close().await;
        let stopped = auditor.stop(Duration::from_secs(20));
        assert!(stopped.finished && stopped.state.dropped == 0, "{n}: {stopped:?}");
        drop(auditor);
        let sprung = disk.left.load(Ordering::SeqCst) <= 0;

        noted.push(n);
        let mut reader = journal::Reader::open(&folder.path().join("journal"));
        let mut kinds = Vec::new();
        while let Some(record) = reader.read().unwrap() {
            if record.kind == journal::Kind::Data {
                let event: Value = serde_json::from_slice(record.payload).unwrap();
                kinds.push(event["kind"].as_str().unwrap().to_owned());
            }
        }

        kinds.retain(|kind| !OF_THE_START.contains(&kind.as_str()));
        let whole = [
            "user_registered",
            "login_succeeded",
            "session_refreshed",
            "session_revoked",
            "login_succeeded",
            "password_changed",
            "user_erased",
        ];
        assert_eq!(kinds, whole.repeat(noted.len()), "after a refusal of call {n}");

        if !sprung {
            println!("covered {} of {} calls of the journals' disk", n - 1, n - 1);
            assert!(n > 5);
            break;
        }
    }

    let report = journal::verify(&folder.path().join("journal"), None, &[], |_| true, |_| {}).unwrap();
    assert_eq!(report.finding, None);
}
