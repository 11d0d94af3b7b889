//! When jobs run, on which node, and what they change there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use auth::OpContext;
use auth::password::pepper;
use fixtures::{Engine, Options, TestApp, TestDatabase, new_keyring};
use jobs::{Job, JobError, PollRevocations, RotateSigningKeys, Runs, Step};
use model::{Event, KeyId, UserUuid};
use protocol::sealed::keyring::Keyring;
use store::queries::signing_key;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::node::{Node, node};

const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

/// A node on a database that it shares with others of the same master key.
async fn another(database: &TestDatabase, key: &str, pepper: &str) -> Node {
    let keyring = Some(Keyring::parse(key).unwrap());
    let options = Options { keyring, ..Options::of([("passwords.pepper", pepper)]) };
    Node::of(TestApp::on(database.clone(), options).await)
}

/// Two nodes on one database.
async fn two_nodes(pepper: &str) -> [Node; 2] {
    let (database, key) = (TestDatabase::new(Engine::Sqlite), new_keyring().to_text().expose().clone());
    [another(&database, &key, pepper).await, another(&database, &key, pepper).await]
}

/// The identifier of the key that signs.
fn signing(node: &Node) -> String {
    node.services.keys().signing.as_ref().unwrap().kid().to_owned()
}

#[tokio::test]
async fn a_session_ended_on_this_node_is_revoked_at_once() {
    let node = node().await;
    let session = node.register("a@example.org").await;

    node.deactivate("a@example.org").await;

    assert!(node.services.revocations.has(session));
}

#[tokio::test]
async fn a_revocation_is_seen_at_the_next_step() {
    let [node, elsewhere] = two_nodes("off").await;
    let [first, second] = [node.register("a@example.org").await, node.register("b@example.org").await];

    elsewhere.deactivate("a@example.org").await;
    assert!(
        !node.services.revocations.has(first),
        "another node's change is not in memory before the next poll"
    );
    node.settle("poll_revocations").await;
    assert!(node.services.revocations.has(first) && !node.services.revocations.has(second));

    // A revocation that no token can name any more is forgotten.
    node.clock.advance(HOUR);
    node.settle("poll_revocations").await;
    assert!(!node.services.revocations.has(first));
}

#[tokio::test]
async fn a_node_that_starts_reads_every_revocation() {
    let (database, key) = (TestDatabase::new(Engine::Sqlite), new_keyring().to_text().expose().clone());
    let before = another(&database, &key, "off").await;
    let session = before.register("a@example.org").await;
    before.deactivate("a@example.org").await;

    let started = another(&database, &key, "off").await;

    assert!(started.services.revocations.has(session));
}

#[tokio::test]
async fn a_new_key_is_loaded_when_the_counter_moves() {
    let [node, elsewhere] = two_nodes("off").await;
    let first = signing(&node);

    let next = elsewhere.operate(async |ctx| auth::signing_keys::rotate_now(ctx).await.unwrap()).await;
    assert_eq!(signing(&node), first);
    node.settle("poll_revocations").await;

    assert_eq!(signing(&node), next.0);
    assert_eq!(node.services.keys().verifying.len(), 2);
}

#[tokio::test]
async fn a_new_pepper_is_loaded_when_the_counter_moves_and_seals_stored_hashes() {
    let [node, elsewhere] = two_nodes("on").await;
    for user in 0..3 {
        node.register(&format!("user{user}@example.org")).await;
    }

    assert_eq!(elsewhere.operate(async |ctx| pepper::rotate(ctx).await.unwrap()).await, 2);
    let uuid = UserUuid(Uuid::nil());
    assert_eq!(node.services.peppers.store(uuid, "hash").pepper(), Some(1), "not polled yet");
    node.settle("poll_revocations").await;
    assert_eq!(node.services.peppers.store(uuid, "hash").pepper(), Some(2));

    assert_eq!(node.step("repepper_hashes").await, Step::Again);
    assert_eq!(node.step("repepper_hashes").await, Step::Idle);
    node.clock.advance(2 * HOUR);
    node.settle("repepper_hashes").await;
    assert_eq!(node.event_kinds(), ["passwords_sealed", "pepper_removed"]);
}

#[tokio::test]
async fn revocations_are_loaded_without_a_signing_key() {
    let [node, elsewhere] = two_nodes("off").await;
    let session = node.register("a@example.org").await;
    elsewhere.deactivate("a@example.org").await;
    let key = KeyId(signing(&elsewhere));
    let remove = async move |tx: &mut store::Tx| {
        tx.one(signing_key::remove(&key)).await?;
        tx.commit_with((signing_key::bump(),)).await?;
        Ok::<_, store::Error>((model::event::KeyRemoved { key: key.clone() }, ()))
    };
    node.lease().transact(model::intent::KeyRemoved {}, remove).await.unwrap();

    let job = PollRevocations::default();
    assert!(matches!(node.runner.step(&job).await, Err(JobError::Keys(_))));
    assert!(node.services.revocations.has(session));

    node.settle("rotate_signing_keys").await;
    node.runner.step(&job).await.unwrap();
    assert_ne!(signing(&node), signing(&elsewhere));
}

#[tokio::test]
async fn keys_are_published_a_day_ahead_then_sign_then_are_removed() {
    let node = node().await;

    node.clock.advance(89 * DAY);
    node.settle("rotate_signing_keys").await;
    node.clock.advance(DAY);
    node.settle("rotate_signing_keys").await;
    node.clock.advance(HOUR);
    node.settle("rotate_signing_keys").await;

    assert_eq!(node.event_kinds(), ["key_created", "key_activated", "key_removed"]);
}

#[tokio::test]
async fn cleanup_removes_expired_rows_and_records_it_once() {
    let node = node().await;
    node.register("a@example.org").await;
    node.register("b@example.org").await;
    node.deactivate("a@example.org").await;
    node.events();

    assert_eq!(node.step("cleanup").await, Step::Idle);
    assert!(node.event_kinds().is_empty(), "nothing was removed, so there is no event");
    node.clock.advance(HOUR);
    node.settle("cleanup").await;
    node.clock.advance(91 * DAY);
    node.settle("cleanup").await;
    node.settle("cleanup").await;

    let cleaned: Vec<_> = node.events().into_iter().map(|entry| entry.event).collect();
    let first = Event::RowsCleaned { sessions: 1, revocations: 1, networks: 0 };
    let second = Event::RowsCleaned { sessions: 1, revocations: 0, networks: 0 };
    assert_eq!(cleaned, [first, second]);
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
    let other = node.second_runner(Arc::new(|_, _| {}));

    assert_eq!(node.runner.step(&Endless).await.unwrap(), Step::Again);
    assert_eq!(other.step(&Endless).await.unwrap(), Step::Idle, "another node holds it");
    node.clock.advance(Duration::from_mins(2));
    assert_eq!(other.step(&Endless).await.unwrap(), Step::Again, "the lease of the dead node has expired");
    assert_eq!(node.runner.step(&Endless).await.unwrap(), Step::Idle);
    assert!(node.event_kinds().is_empty(), "a lease leaves no event");

    // An idle step releases the job.
    node.settle("rotate_signing_keys").await;
    other.settle(&RotateSigningKeys).await.unwrap();
    let mut lease = node.lease();
    let (until, now) = (node.clock.now().plus(Duration::from_secs(1)), node.clock.now());
    assert!(lease.claim_job(RotateSigningKeys.name(), Uuid::nil(), until, now).await.unwrap());
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
    let reports = Arc::<Mutex<Vec<_>>>::default();
    let reported = Arc::clone(&reports);
    let runner = node.second_runner(Arc::new(move |job, works| reported.lock().unwrap().push((job, works))));
    let stop = CancellationToken::new();
    let job = Failing { left: Mutex::new(5), stop: stop.clone() };

    runner.run(Arc::new(job), stop).await.unwrap();

    assert_eq!(*reports.lock().unwrap(), [("failing", false), ("failing", true)]);
}
