//! A process that is killed between COMMIT and its event, and the one after it.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use audit::{DetailKeyFile, IntentLog, SEGMENTS};
use auth::account::{self, Candidate};
use auth::login::{Credentials, login};
use auth::session;
use journal::{Journal, JournalId, Options, Reader};
use model::{Actor, Event, EventKind, Intent, Now, Origin, RequestId, Rng, Secret, SessionId, UserUuid};
use protocol::sealed::keyring::Keyring;
use runtime::AuditContext;
use runtime::audit::{Entry, IntentReceipt, Receipt, Recorder};
use serde_json::Value;
use store::Location;
use testkit::Postgres;
use uuid::Uuid;

use super::*;
use crate::tests::{Node, node, node_at};
use crate::{RotateSigningKeys, Step};

const PASSWORD: &str = "a password of some length";

/// Writes down what is announced; of what became of it, nothing from the moment it is killed.
struct Killed {
    auditor: Arc<Auditor>,
    dead: AtomicBool,
}

impl Recorder for Killed {
    fn record(&self, entry: Entry) -> Option<Receipt> {
        if self.dead.load(Ordering::SeqCst) { None } else { self.auditor.record(entry) }
    }

    fn announce(&self, at: Now, intent: &Intent, origin: &Origin, actor: &Actor) -> Option<IntentReceipt> {
        self.auditor.announce(at, intent, origin, actor)
    }

    fn withdraw(&self, number: u64) {
        if !self.dead.load(Ordering::SeqCst) {
            self.auditor.withdraw(number);
        }
    }
}

/// One data directory's audit trail, and the process that has it open.
struct Place {
    folder: tempfile::TempDir,
    keyring: Keyring,
}

impl Place {
    fn new() -> Self {
        let keyring = Keyring::parse(Keyring::generate_line(&Rng::seeded(1)).expose()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), keyring }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn open(&self, node: &Node) -> Arc<Auditor> {
        let (path, clock) = (self.folder.path().join("intents"), node.clock.clone());
        let (begun, _) = Journal::open(&path, SEGMENTS, JournalId([8; 16])).unwrap();
        let intents = IntentLog::start(begun, &path, &clock).unwrap();
        let (journal, _) = Journal::open(&self.journal(), Options::default(), JournalId([7; 16])).unwrap();
        let keys = self.folder.path().join("keys");
        let book = DetailKeyFile::open(&keys, self.keyring.clone(), Rng::seeded(2)).unwrap();
        Arc::new(Auditor::start(journal, intents, book, &self.keyring, clock, Rng::seeded(3)).unwrap())
    }

    fn events(&self) -> Vec<Value> {
        events(&self.journal())
    }

    /// What a kill leaves now.
    fn copy(&self) -> Self {
        let copy = Self { folder: tempfile::tempdir().unwrap(), keyring: self.keyring.clone() };
        for part in ["journal", "intents"] {
            std::fs::create_dir(copy.folder.path().join(part)).unwrap();
            for file in std::fs::read_dir(self.folder.path().join(part)).unwrap() {
                let path = file.unwrap().path();
                let to = copy.folder.path().join(part).join(path.file_name().unwrap());
                std::fs::copy(&path, to).unwrap();
            }
        }
        copy
    }
}

fn events(journal: &Path) -> Vec<Value> {
    let mut reader = Reader::open(journal);
    let mut events = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        if record.kind == journal::Kind::Data {
            events.push(serde_json::from_slice(record.payload).unwrap());
        }
    }
    events
}

/// A process: each verb is a request of its own, a second after the one before.
struct Process<'a> {
    node: &'a Node,
    recorder: Arc<Killed>,
}

impl<'a> Process<'a> {
    fn new(node: &'a Node, auditor: &Arc<Auditor>) -> Self {
        let recorder = Arc::new(Killed { auditor: Arc::clone(auditor), dead: AtomicBool::new(false) });
        Self { node, recorder }
    }

    fn audit(&self, request: &str) -> AuditContext {
        let request_id = Some(RequestId(request.to_owned()));
        let origin = Origin { request_id, ..Origin::http() };
        AuditContext::new(self.recorder.clone(), self.node.clock.clone(), origin)
    }

    async fn ctx<T>(&self, request: &str, verb: impl AsyncFnOnce(&mut OpContext<'_>) -> T) -> T {
        self.node.clock.advance(Duration::from_secs(1));
        let audit = self.audit(request);
        let mut lease = self.node.background.lease(audit.clone());
        let now = self.node.clock.now();
        verb(&mut OpContext { services: &self.node.services, lease: &mut lease, audit: &audit, now }).await
    }

    /// Registers somebody with a session, and gives its refresh token.
    async fn register(&self, request: &str, email: &str) -> Secret<String> {
        self.ctx(request, async |ctx| {
            let password = Secret::new(PASSWORD.to_owned());
            let candidate = Candidate::parse(ctx, email, None, &password, serde_json::Map::new());
            let registered = account::register(ctx, candidate.unwrap(), true).await.unwrap();
            registered.tokens.unwrap().refresh_token
        })
        .await
    }

    async fn refresh(&self, request: &str, token: &Secret<String>) -> Secret<String> {
        self.ctx(request, async |ctx| session::refresh(ctx, token, None).await.unwrap().refresh_token).await
    }

    async fn log_in(&self, request: &str, email: &str) -> Secret<String> {
        self.ctx(request, async |ctx| {
            let given = Credentials {
                identifier: email.to_owned(),
                password: Secret::new(PASSWORD.to_owned()),
                scope: None,
            };
            login(ctx, &given).await.unwrap().0.refresh_token
        })
        .await
    }

    async fn log_out(&self, request: &str, token: &Secret<String>) {
        self.ctx(request, async |ctx| session::logout_with_refresh_token(ctx, token).await.unwrap()).await;
    }

    /// Announces what never comes to the database.
    async fn only_announce(&self, request: &str, intent: Intent) {
        let mut announced = self.audit(request).announce(intent);
        let written = announced.written();
        written.unwrap().await;
        drop(announced);
    }
}

async fn sqlite() -> Node {
    node().await
}

async fn postgres() -> (Node, testkit::postgres::Database, testkit::SharedPostgres) {
    let server = Postgres::shared();
    let database = server.fresh_database();
    let location = Location::Postgres {
        url: database.url().to_owned(),
        schema: "gatewright".to_owned(),
        tls_ca_file: None,
    };
    (node_at(location, tempfile::tempdir().unwrap()).await, database, server)
}

/// The same session refreshed by somebody else, and what left no trace.
async fn announce_what_never_happens(process: &Process<'_>, place: &Place) {
    let said = events(&place.journal());
    let (user, session) = (&said[0]["user"], &said[0]["session"]);
    let user = UserUuid(Uuid::parse_str(user.as_str().unwrap()).unwrap());
    let session = SessionId(Uuid::parse_str(session.as_str().unwrap()).unwrap());
    let now = process.node.clock.now();
    let refreshed = Intent::to(EventKind::SessionRefreshed).session(session).stamp(now);
    for (request, intent) in [
        ("n-refreshed-elsewhere", refreshed.generation(3)),
        ("n-refreshed-never", refreshed.generation(9)),
        ("n-registered", Intent::to(EventKind::UserRegistered).user(UserUuid(Uuid::from_u128(1)))),
        ("n-login", Intent::to(EventKind::LoginSucceeded).user(user).session(SessionId(Uuid::from_u128(1)))),
        ("n-logout", Intent::to(EventKind::SessionRevoked).user(user).session(session).stamp(now)),
    ] {
        process.only_announce(request, intent).await;
    }
}

async fn whatever_was_killed_is_found_out(node: Node) {
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    let place = Place::new();
    let auditor = place.open(&node);
    let process = Process::new(&node, &auditor);
    process.ctx("keys", async |ctx| auth::signing_keys::load(ctx).await.unwrap()).await;
    let first = process.register("said-1", "a@example.org").await;
    let second = process.refresh("said-2", &first).await;
    // From here on nobody hears of anything.
    process.recorder.dead.store(true, Ordering::SeqCst);
    process.register("r-registered", "b@example.org").await;
    let mine = process.log_in("r-login", "a@example.org").await;
    let third = process.refresh("r-refreshed-1", &second).await;
    process.refresh("r-refreshed-2", &third).await;
    process.log_out("r-logout", &mine).await;
    process
        .ctx("r-patch", async |ctx| {
            let user = account::find(ctx, "b@example.org").await.unwrap();
            account::set_password(ctx, &user, &Secret::new("quite another one".to_owned())).await.unwrap();
        })
        .await;
    announce_what_never_happens(&process, &place).await;
    let now = node.clock.now();
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    assert_eq!(place.events().len(), 2, "the others were never written");
    let auditor = place.open(&node);
    let job = ReconcileIntents::new(Arc::clone(&auditor), place.journal());
    assert_eq!(auditor.unresolved().len(), 11, "{:?}", auditor.unresolved());
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Idle);
    // A transaction may outlive its process at PostgreSQL, so what is not there yet may come.
    node.clock.advance(Duration::from_secs(11));
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Idle);
    assert_eq!(auditor.unresolved(), []);
    while auditor.state().queued > 0 {
        tokio::task::yield_now().await;
    }
    let killed = place.copy();
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    let settled = place.events().split_off(2);
    let words = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(event["settled"], true, "{event}");
        assert!(event["at"].as_str().unwrap() < now.plus(Duration::from_secs(1)).to_string().as_str());
        (text("request_id"), text("kind"))
    };
    let found: Vec<_> = settled.iter().map(words).collect();
    let expected = [
        ("r-registered", "user_registered"),
        ("r-login", "login_succeeded"),
        ("r-refreshed-1", "session_refreshed"),
        ("r-refreshed-2", "session_refreshed"),
        ("r-logout", "session_revoked"),
        ("r-patch", "outcome_unknown"),
    ];
    assert_eq!(found, expected.map(|(request, kind)| (request.to_owned(), kind.to_owned())));
    assert_eq!((&settled[2]["generation"], &settled[3]["generation"]), (&3.into(), &4.into()));
    assert_eq!(settled[2]["user"], events(&place.journal())[0]["user"], "whose it is says the database");
    assert_eq!(settled[5]["intended"], "password_changed");

    // Whoever comes after this one, or after one that was killed before it had said that it was done, does nothing.
    for place in [place, killed] {
        let before = place.events().len();
        let auditor = place.open(&node);
        let job = ReconcileIntents::new(Arc::clone(&auditor), place.journal());
        node.runner.step(&job).await.unwrap();
        assert_eq!(auditor.unresolved(), []);
        assert!(auditor.stop(Duration::from_secs(10)).finished);
        assert_eq!(place.events().len(), before, "each is settled once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_killed_is_found_out_on_sqlite() {
    whatever_was_killed_is_found_out(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_killed_is_found_out_on_postgres() {
    let (node, _database, _server) = postgres().await;
    whatever_was_killed_is_found_out(node).await;
}

/// What was removed a while ago may have been there.
#[tokio::test]
async fn after_a_long_time_that_there_is_no_trace_says_nothing() {
    let node = node().await;
    let place = Place::new();
    let auditor = place.open(&node);
    let process = Process::new(&node, &auditor);
    process.recorder.dead.store(true, Ordering::SeqCst);
    let login = Intent::to(EventKind::LoginSucceeded).session(SessionId(Uuid::from_u128(1)));
    process.only_announce("r-1", login).await;
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    node.clock.advance(Duration::from_hours(1));
    let auditor = place.open(&node);
    node.runner.step(&ReconcileIntents::new(Arc::clone(&auditor), place.journal())).await.unwrap();
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    assert_eq!(place.events()[0]["kind"], "outcome_unknown");
}

/// An answer that is lost is no kill: the event says at once that nobody knows, and the next start has nothing to do.
#[tokio::test]
async fn what_was_called_unknown_stays_so() {
    let node = node().await;
    let place = Place::new();
    let auditor = place.open(&node);
    let process = Process::new(&node, &auditor);
    let mut announced = process.audit("r-1").announce(Intent::to(EventKind::UserRegistered));
    announced.sent();
    drop(announced);
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    assert_eq!(
        place.events()[0]["kind"],
        Event::OutcomeUnknown { intended: EventKind::UserRegistered, user: None, session: None }.kind()
    );
    assert_eq!(place.open(&node).unresolved(), []);
}
