use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::account::{self, Candidate};
use auth::password::pepper;
use auth::{OpContext, Services, Settings};
use hashing::Scheme;
use model::{Clock, Event, Now, Origin, Rng, Secret, SessionId};
use protocol::sealed::keyring::Keyring;
use runtime::audit::{Entry, Receipt, Recorder};
use runtime::{AuditContext, Spawner};
use store::{BackgroundPool, Lease, Location, Store};
use tokio_util::sync::CancellationToken;

use crate::{Cleanup, Job, JobError, PollRevocations, RepepperHashes, RotateSigningKeys, Runner, Runs, Step};

#[derive(Default)]
struct Events(Mutex<Vec<Entry>>);

impl Recorder for Events {
    fn record(&self, entry: Entry) -> Option<Receipt> {
        self.0.lock().unwrap().push(entry);
        None
    }
}

/// A node: services and a runner on a fresh database, with a clock that the test advances.
pub(crate) struct Node {
    pub(crate) runner: Runner,
    pub(crate) services: Arc<Services>,
    pub(crate) background: Arc<BackgroundPool>,
    audit: AuditContext,
    pub(crate) clock: Clock,
    events: Arc<Events>,
    reports: Arc<Mutex<Vec<(&'static str, bool)>>>,
    pub(crate) audit_db: store::audit_db::Audit,
    pub(crate) folder: tempfile::TempDir,
}

fn settings() -> Settings {
    let mut settings = Settings::for_issuer("https://auth.example");
    // The minimum cost, because these tests do not test hashing.
    settings.passwords.hashing = hashing::Settings {
        scheme: Scheme::Argon2id { memory_kib: 8, iterations: 1 },
        threads: 1,
        ..settings.passwords.hashing
    };
    settings
}

pub(crate) fn database(location: Location) -> store::Settings {
    store::Settings {
        location,
        pool_min: 0,
        pool_max: 1,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(5),
        forbid_second_acquire: true,
        ..store::Settings::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's runtime is the owner of its tasks")]
pub(crate) fn spawner() -> Spawner {
    Spawner::new(|_, task| drop(tokio::spawn(task)))
}

pub(crate) async fn node() -> Node {
    node_with(settings()).await
}

async fn node_with(settings: Settings) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("gatewright.db"));
    node_of(settings, location, folder).await
}

/// A node on another database.
pub(crate) async fn node_at(location: Location, folder: tempfile::TempDir) -> Node {
    node_of(settings(), location, folder).await
}

async fn node_of(settings: Settings, location: Location, folder: tempfile::TempDir) -> Node {
    let clock = Clock::test(Now::from_seconds(1_767_225_600));
    let database = database(location);
    store::migrate(&database, clock.now(), &spawner()).await.unwrap();
    let Store { background, .. } = store::open(&database, &spawner()).await.unwrap();
    let background = Arc::new(background);

    let rng = Rng::seeded(7);
    let keyring = Keyring::parse(Keyring::generate_line(&rng).expose()).unwrap();
    let services = Arc::new(Services::new(settings, keyring, rng));
    let events = Arc::<Events>::default();

    let audit = AuditContext::new(events.clone(), clock.clone(), Origin::default());
    let reports = Arc::<Mutex<Vec<_>>>::default();
    let reported = Arc::clone(&reports);
    let report = Arc::new(move |job, works| reported.lock().unwrap().push((job, works)));
    let runner =
        Runner::new(Arc::clone(&background), Arc::clone(&services), audit.clone(), clock.clone(), report);
    let audit_db = store::audit_db::Audit::open(&database, &spawner()).unwrap();
    Node { runner, services, background, audit, clock, events, reports, audit_db, folder }
}

impl Node {
    /// Another node on the same database.
    fn second(&self) -> Runner {
        let report = Arc::new(|_, _| {});
        Runner::new(
            Arc::clone(&self.background),
            Arc::clone(&self.services),
            self.audit.clone(),
            self.clock.clone(),
            report,
        )
    }

    pub(crate) fn lease(&self) -> Lease {
        self.background.lease(self.audit.clone())
    }

    pub(crate) fn ctx<'a>(&'a self, lease: &'a mut Lease) -> OpContext<'a> {
        OpContext { services: &self.services, lease, audit: &self.audit, now: self.clock.now() }
    }

    fn kinds(&self) -> Vec<&'static str> {
        self.events.0.lock().unwrap().iter().map(|entry| entry.event.kind()).collect()
    }

    /// Registers a user and returns the first session.
    pub(crate) async fn register(&self, email: &str) -> SessionId {
        let mut lease = self.lease();
        let mut ctx = self.ctx(&mut lease);
        auth::signing_keys::load(&mut ctx).await.unwrap();
        let password = Secret::new("a password of some length".to_owned());
        let candidate = Candidate::parse(&ctx, email, None, &password, serde_json::Map::new());
        account::register(&mut ctx, candidate.unwrap(), true).await.unwrap();
        let events = self.events.0.lock().unwrap();
        match events.last().map(|entry| &entry.event) {
            Some(Event::UserRegistered { session: Some(session), .. }) => *session,
            other => panic!("{other:?}"),
        }
    }

    /// Deactivates a user from another node: the memory of this one does not change.
    async fn deactivate_elsewhere(&self, email: &str) {
        let services = Services::new(settings(), self.services.keyring.clone(), Rng::seeded(9));
        let mut lease = self.lease();
        let mut ctx = OpContext { services: &services, ..self.ctx(&mut lease) };
        let user = account::find(&mut ctx, email).await.unwrap();
        account::set_state(&mut ctx, &user, false).await.unwrap();
    }

    /// Deactivates a user on this node.
    async fn deactivate(&self, email: &str) {
        let mut lease = self.lease();
        let mut ctx = self.ctx(&mut lease);
        let user = account::find(&mut ctx, email).await.unwrap();
        account::set_state(&mut ctx, &user, false).await.unwrap();
    }
}

#[tokio::test]
async fn a_session_ended_on_this_node_is_revoked_at_once() {
    let node = node().await;
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    let session = node.register("a@example.org").await;

    node.deactivate("a@example.org").await;

    assert!(node.services.revocations.has(session));
}

#[tokio::test]
async fn a_revocation_is_seen_at_the_next_step() {
    let node = node().await;
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    let job = PollRevocations::default();
    assert_eq!(node.services.revocations.age(), None);
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Idle);
    assert!(node.services.revocations.age().is_some() && node.services.keys().signing.is_some());

    let [first, second] = [node.register("a@example.org").await, node.register("b@example.org").await];
    node.deactivate_elsewhere("a@example.org").await;
    assert!(
        !node.services.revocations.has(first),
        "another node's change is not in memory before the next poll"
    );
    node.runner.step(&job).await.unwrap();
    assert!(node.services.revocations.has(first) && !node.services.revocations.has(second));

    // A revocation that no token can name any more is forgotten.
    node.clock.advance(Duration::from_hours(1));
    node.runner.step(&job).await.unwrap();
    assert!(!node.services.revocations.has(first));
}

#[tokio::test]
async fn a_restarted_node_reads_every_revocation() {
    let node = node().await;
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    let session = node.register("a@example.org").await;
    node.deactivate_elsewhere("a@example.org").await;
    node.runner.step(&PollRevocations::default()).await.unwrap();
    assert!(node.services.revocations.has(session));
}

#[tokio::test]
async fn a_new_key_is_loaded_when_the_counter_moves() {
    let node = node().await;
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    let job = PollRevocations::default();
    node.runner.step(&job).await.unwrap();
    let first = node.services.keys().signing.as_ref().unwrap().kid().to_owned();
    let mut lease = node.lease();
    let next = auth::signing_keys::rotate_now(&mut node.ctx(&mut lease)).await.unwrap();
    drop(lease);
    assert_eq!(node.services.keys().signing.as_ref().unwrap().kid(), first);
    node.runner.step(&job).await.unwrap();
    assert_eq!(node.services.keys().signing.as_ref().unwrap().kid(), next.0);
    assert_eq!(node.services.keys().verifying.len(), 2);
}

#[tokio::test]
async fn a_new_pepper_is_loaded_when_the_counter_moves_and_seals_stored_hashes() {
    let mut peppered = settings();
    peppered.passwords.pepper = true;
    let node = node_with(peppered).await;
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    let mut lease = node.lease();
    pepper::open(&mut node.ctx(&mut lease)).await.unwrap();
    drop(lease);
    for user in 0..3 {
        node.register(&format!("user{user}@example.org")).await;
    }
    let follow = PollRevocations::default();
    node.runner.step(&follow).await.unwrap();

    // Another node creates the second one.
    let mut lease = node.lease();
    let mut ctx = node.ctx(&mut lease);
    let mut same = settings();
    same.passwords.pepper = true;
    let other = Services::new(same, node.services.keyring.clone(), Rng::seeded(9));
    let mut elsewhere = OpContext { services: &other, lease: ctx.lease, audit: ctx.audit, now: ctx.now };
    pepper::open(&mut elsewhere).await.unwrap();
    assert_eq!(pepper::rotate(&mut elsewhere).await.unwrap(), 2);
    ctx = OpContext {
        services: &node.services,
        lease: elsewhere.lease,
        audit: elsewhere.audit,
        now: elsewhere.now,
    };
    let uuid = model::UserUuid(uuid::Uuid::nil());
    assert_eq!(ctx.services.peppers.store(uuid, "hash").pepper(), Some(1), "not polled yet");

    drop(lease);
    node.runner.step(&follow).await.unwrap();
    assert_eq!(node.services.peppers.store(uuid, "hash").pepper(), Some(2));

    let job = RepepperHashes::default();
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Again);
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Idle);
    node.clock.advance(Duration::from_hours(2));
    node.runner.settle(&job).await.unwrap();
    assert_eq!(
        node.kinds()[node.kinds().len() - 3..],
        ["pepper_created", "passwords_sealed", "pepper_removed"]
    );
}

#[tokio::test]
async fn revocations_are_loaded_without_a_signing_key() {
    let node = node().await;
    let job = PollRevocations::default();
    assert!(matches!(node.runner.step(&job).await, Err(JobError::Keys(_))));
    assert!(node.services.revocations.age().is_some());
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    node.runner.step(&job).await.unwrap();
    assert!(node.services.keys().signing.is_some());
}

#[tokio::test]
async fn keys_are_published_a_day_ahead_then_sign_then_are_removed() {
    let node = node().await;
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    assert_eq!(node.kinds(), ["key_activated"]);
    node.clock.advance(Duration::from_hours(89 * 24));
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    node.clock.advance(Duration::from_hours(24));
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    node.clock.advance(Duration::from_hours(1));
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    assert_eq!(node.kinds(), ["key_activated", "key_created", "key_activated", "key_removed"]);
}

#[tokio::test]
async fn cleanup_removes_expired_rows_and_records_it_once() {
    let node = node().await;
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    let job = Cleanup::every(Duration::from_hours(1));
    node.register("a@example.org").await;
    node.register("b@example.org").await;
    node.deactivate("a@example.org").await;
    let before = node.kinds().len();
    assert_eq!(node.runner.step(&job).await.unwrap(), Step::Idle);
    assert_eq!(node.kinds().len(), before, "nothing was removed, so there is no event");

    node.clock.advance(Duration::from_hours(1));
    node.runner.settle(&job).await.unwrap();
    node.clock.advance(Duration::from_hours(91 * 24));
    node.runner.settle(&job).await.unwrap();
    node.runner.settle(&job).await.unwrap();
    let cleaned: Vec<_> = node.events.0.lock().unwrap().iter().map(|entry| entry.event.clone()).collect();
    let first = Event::RowsCleaned { sessions: 1, revocations: 1 };
    let second = Event::RowsCleaned { sessions: 1, revocations: 0 };
    assert_eq!(cleaned.get(before..).unwrap(), [first, second]);
}

#[tokio::test]
async fn one_node_holds_a_job_until_it_releases_it_or_dies() {
    struct Endless;
    impl Job for Endless {
        fn name(&self) -> &'static str {
            "endless"
        }
        fn period(&self) -> Duration {
            Duration::from_secs(1)
        }
        fn runs(&self) -> Runs {
            Runs::OneNode(Duration::from_mins(1))
        }
        async fn step(&self, _: &mut OpContext<'_>) -> Result<Step, JobError> {
            Ok(Step::Again)
        }
    }

    let node = node().await;
    let other = node.second();

    assert_eq!(node.runner.step(&Endless).await.unwrap(), Step::Again);
    assert_eq!(other.step(&Endless).await.unwrap(), Step::Idle, "another node holds it");
    node.clock.advance(Duration::from_mins(2));
    assert_eq!(other.step(&Endless).await.unwrap(), Step::Again, "the lease of the dead node has expired");
    assert_eq!(node.runner.step(&Endless).await.unwrap(), Step::Idle);
    assert!(node.kinds().is_empty(), "a lease leaves no event");

    // An idle step releases the job.
    node.runner.settle(&RotateSigningKeys).await.unwrap();
    other.settle(&RotateSigningKeys).await.unwrap();
    let mut lease = node.lease();
    let (until, now) = (node.clock.now().plus(Duration::from_secs(1)), node.clock.now());
    assert!(lease.claim_job(RotateSigningKeys.name(), uuid::Uuid::nil(), until, now).await.unwrap());
}

/// Fails the given number of times, then stops its runner.
struct Failing {
    left: Mutex<u32>,
    stop: CancellationToken,
}

impl Job for Failing {
    fn name(&self) -> &'static str {
        "failing"
    }

    fn period(&self) -> Duration {
        Duration::ZERO
    }

    fn runs(&self) -> Runs {
        Runs::EveryNode
    }

    async fn step(&self, _: &mut OpContext<'_>) -> Result<Step, JobError> {
        let mut left = self.left.lock().unwrap();
        if *left == 0 {
            self.stop.cancel();
            return Ok(Step::Idle);
        }
        *left -= 1;
        Err(store::Error::Unavailable("gone".into()).into())
    }
}

#[tokio::test]
async fn an_outage_is_reported_once_and_so_is_its_end() {
    let node = node().await;
    let stop = CancellationToken::new();
    let job = Failing { left: Mutex::new(5), stop: stop.clone() };
    node.runner.clone().run(Arc::new(job), stop).await.unwrap();
    assert_eq!(*node.reports.lock().unwrap(), [("failing", false), ("failing", true)]);
    assert!(node.folder.path().exists());
}
