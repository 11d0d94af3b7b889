//! Tests with a process that is killed between COMMIT and its event, and with its successor.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use audit::{Auditor, DetailKeyFile, IntentLog, SEGMENTS};
use auth::OpContext;
use auth::account::{self, Candidate};
use auth::login::{Credentials, login};
use auth::session;
use fixtures::{Engine, Options as Choices};
use jobs::{ReconcileIntents, Step};
use journal::{Journal, JournalId, Options, Reader};
use model::intent::{self, Announced as _};
use model::{Actor, Event, EventKind, Intent, Now, Origin, RequestId, Rng, Secret, SessionId, UserUuid};
use protocol::sealed::keyring::Keyring;
use runtime::AuditContext;
use runtime::audit::{Entry, IntentReceipt, Receipt, Recorder};
use serde_json::Value;
use uuid::Uuid;

use crate::node::{Node, node, node_with};

const PASSWORD: &str = "a password of some length";

/// A recorder that writes intents; once `dead`, it records no outcome.
struct KillableRecorder {
    auditor: Arc<Auditor>,
    dead: AtomicBool,
}

impl Recorder for KillableRecorder {
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

/// The audit trail of one data directory.
struct AuditDirectory {
    folder: tempfile::TempDir,
    keyring: Keyring,
}

impl AuditDirectory {
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
        let detail_keys = DetailKeyFile::open(&keys, self.keyring.clone(), Rng::seeded(2)).unwrap();
        Arc::new(Auditor::start(journal, intents, detail_keys, &self.keyring, clock, Rng::seeded(3)).unwrap())
    }

    fn events(&self) -> Vec<Value> {
        events(&self.journal())
    }

    /// Copies the files, as a kill at this moment would leave them.
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

/// A process: each operation is a separate request, one second after the previous one.
struct Process<'a> {
    node: &'a Node,
    recorder: Arc<KillableRecorder>,
}

impl<'a> Process<'a> {
    fn new(node: &'a Node, auditor: &Arc<Auditor>) -> Self {
        let recorder =
            Arc::new(KillableRecorder { auditor: Arc::clone(auditor), dead: AtomicBool::new(false) });
        Self { node, recorder }
    }

    fn audit(&self, request: &str) -> AuditContext {
        let request_id = RequestId::parse(request);
        let origin = Origin { request_id, ..Origin::http() };
        AuditContext::new(self.recorder.clone(), self.node.clock.clone(), origin)
    }

    async fn ctx<T>(&self, request: &str, operation: impl AsyncFnOnce(&mut OpContext<'_>) -> T) -> T {
        self.node.clock.advance(Duration::from_secs(1));
        let audit = self.audit(request);
        let mut lease = self.node.background.lease(audit.clone());
        let now = self.node.clock.now();
        operation(&mut OpContext { services: &self.node.services, lease: &mut lease, audit: &audit, now })
            .await
    }

    /// Registers a user with a session and returns its refresh token.
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

    /// Announces an intent whose transaction is never sent.
    async fn only_announce(&self, request: &str, intent: Intent) {
        let mut announced = self.audit(request).announce(intent);
        let written = announced.written();
        written.unwrap().await;
        drop(announced);
    }
}

/// Announces a refresh of the same session by another client, and intents without any effect.
async fn announce_without_effect(process: &Process<'_>, directory: &AuditDirectory) {
    let recorded = events(&directory.journal());
    let (user, session) = (&recorded[0]["user"], &recorded[0]["session"]);
    let user = UserUuid(Uuid::parse_str(user.as_str().unwrap()).unwrap());
    let session = SessionId(Uuid::parse_str(session.as_str().unwrap()).unwrap());
    let now = process.node.clock.now();
    let refreshed = |generation| intent::SessionRefreshed { session, generation, stamp: now }.intent();
    let (no_user, no_session) = (UserUuid(Uuid::from_u128(1)), SessionId(Uuid::from_u128(1)));

    for (request, intent) in [
        ("n-refreshed-elsewhere", refreshed(3)),
        ("n-refreshed-never", refreshed(9)),
        ("n-registered", intent::UserRegistered { user: no_user, session: None }.intent()),
        ("n-login", intent::LoginSucceeded { user, session: no_session }.intent()),
        ("n-logout", intent::SessionRevoked { user: Some(user), session, stamp: now }.intent()),
    ] {
        process.only_announce(request, intent).await;
    }
}

async fn killed_transactions_are_resolved(node: Node) {
    let directory = AuditDirectory::new();
    let auditor = directory.open(&node);
    let process = Process::new(&node, &auditor);

    let first = process.register("recorded-1", "a@example.org").await;
    let second = process.refresh("recorded-2", &first).await;
    // From here on no outcome is recorded.
    process.recorder.dead.store(true, Ordering::SeqCst);
    process.register("r-registered", "b@example.org").await;
    let own_session = process.log_in("r-login", "a@example.org").await;
    let third = process.refresh("r-refreshed-1", &second).await;
    process.refresh("r-refreshed-2", &third).await;
    process.log_out("r-logout", &own_session).await;
    process
        .ctx("r-patch", async |ctx| {
            let user = account::find(ctx, "b@example.org").await.unwrap();
            account::set_password(ctx, &user, &Secret::new("quite another one".to_owned())).await.unwrap();
        })
        .await;
    announce_without_effect(&process, &directory).await;

    let now = node.clock.now();
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    assert_eq!(directory.events().len(), 2, "the other outcomes were never written");
    let auditor = directory.open(&node);

    let job = ReconcileIntents::new(Arc::clone(&auditor), directory.journal());
    assert_eq!(auditor.unresolved().len(), 11, "{:?}", auditor.unresolved());
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Idle);
    // On PostgreSQL a transaction may outlive its process, so a missing effect may still appear.
    node.clock.advance(Duration::from_secs(11));
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Idle);
    assert_eq!(auditor.unresolved(), []);
    while auditor.state().queued > 0 {
        tokio::task::yield_now().await;
    }
    let killed = directory.copy();
    assert!(auditor.stop(Duration::from_secs(10)).finished);

    let resolved = directory.events().split_off(2);
    let words = |event: &Value| {
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(event["settled"], true, "{event}");
        assert!(event["at"].as_str().unwrap() < now.plus(Duration::from_secs(1)).to_string().as_str());
        (text("request_id"), text("kind"))
    };

    let found: Vec<_> = resolved.iter().map(words).collect();
    let expected = [
        ("r-registered", "user_registered"),
        ("r-login", "login_succeeded"),
        ("r-refreshed-1", "session_refreshed"),
        ("r-refreshed-2", "session_refreshed"),
        ("r-logout", "session_revoked"),
        ("r-patch", "outcome_unknown"),
    ];
    assert_eq!(found, expected.map(|(request, kind)| (request.to_owned(), kind.to_owned())));
    assert_eq!((&resolved[2]["generation"], &resolved[3]["generation"]), (&3.into(), &4.into()));
    assert_eq!(resolved[2]["user"], events(&directory.journal())[0]["user"], "the database names the user");
    assert_eq!(resolved[5]["intended"], "password_changed");

    // Neither the next process nor a successor of one killed before it marked its work as done repeats
    // anything.
    // A start after a kill also records that it adopts what is not signed yet.
    let outcomes = |directory: &AuditDirectory| {
        directory.events().into_iter().filter(|event| event["kind"] != "audit_end_adopted").count()
    };
    for directory in [directory, killed] {
        let before = outcomes(&directory);
        let auditor = directory.open(&node);
        let job = ReconcileIntents::new(Arc::clone(&auditor), directory.journal());
        node.runner.step(&job).await.unwrap();
        assert_eq!(auditor.unresolved(), []);
        assert!(auditor.stop(Duration::from_secs(10)).finished);
        assert_eq!(outcomes(&directory), before, "each is resolved once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_transactions_are_resolved_on_sqlite() {
    killed_transactions_are_resolved(node().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_transactions_are_resolved_on_postgres() {
    killed_transactions_are_resolved(node_with(Engine::Postgres, Choices::default()).await).await;
}

/// Rows that cleanup has removed meanwhile may have existed.
#[tokio::test]
async fn an_old_intent_without_effect_is_unknown() {
    let node = node().await;
    let directory = AuditDirectory::new();
    let auditor = directory.open(&node);
    let process = Process::new(&node, &auditor);
    process.recorder.dead.store(true, Ordering::SeqCst);
    let (user, session) = (UserUuid(Uuid::from_u128(1)), SessionId(Uuid::from_u128(1)));
    process.only_announce("r-1", intent::LoginSucceeded { user, session }.intent()).await;
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    node.clock.advance(Duration::from_hours(1));
    let auditor = directory.open(&node);
    node.runner.step(&ReconcileIntents::new(Arc::clone(&auditor), directory.journal())).await.unwrap();
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    assert_eq!(directory.events()[0]["kind"], "outcome_unknown");
}

/// A lost answer is recorded as unknown at once, so the next start has nothing to resolve.
#[tokio::test]
async fn an_outcome_recorded_as_unknown_stays_unknown() {
    let node = node().await;
    let directory = AuditDirectory::new();
    let auditor = directory.open(&node);
    let process = Process::new(&node, &auditor);
    let user = UserUuid(Uuid::from_u128(1));
    let mut announced =
        process.audit("r-1").announce(intent::UserRegistered { user, session: None }.intent());
    announced.sent();
    drop(announced);
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    assert_eq!(
        directory.events()[0]["kind"],
        Event::OutcomeUnknown { intended: EventKind::UserRegistered, user: Some(user), session: None }.kind()
    );
    assert_eq!(directory.open(&node).unresolved(), []);
}
