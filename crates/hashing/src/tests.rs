//! Tests of the engine with its threads.

use std::net::Ipv4Addr;

use super::*;

const LONG: Duration = Duration::from_mins(10);

fn settings(scheme: Scheme) -> Settings {
    Settings { scheme, threads: 1, queue_deadline: LONG, ..Settings::default() }
}

fn hasher(scheme: Scheme) -> PasswordHasher {
    PasswordHasher::start(&settings(scheme), &Rng::seeded(7))
}

const BCRYPT: Scheme = Scheme::Bcrypt { cost: 4 };
const ARGON2: Scheme = Scheme::Argon2id { memory_kib: 8, iterations: 1 };

fn bytes(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

impl PasswordHasher {
    async fn ask(&self, requester: Requester, task: Task, password: &str) -> Result<Answer, Refusal> {
        self.submit(&CancellationToken::new(), Priority::Login, requester, task, bytes(password)).await
    }

    async fn make(&self, password: &str) -> StoredHash {
        let made = self.ask(Requester::default(), Task::Hash(self.scheme), password).await;
        let Ok(Answer::Hash(Some(text))) = made else { panic!("no hash") };
        StoredHash::parse(&text).unwrap()
    }

    async fn is(&self, stored: &StoredHash, password: &str) -> bool {
        let task = Task::Verify(Box::new(stored.clone()));
        matches!(self.ask(Requester::default(), task, password).await, Ok(Answer::Verdict(true)))
    }

    fn totals(&self) -> HashingMetrics {
        self.counts().totals()
    }
}

fn from(last: u8) -> Requester {
    Requester {
        address: Some(Ipv4Addr::new(192, 0, 2, last).into()),
        account: Some(format!("account {last}")),
    }
}

#[tokio::test]
async fn hashes_contain_salt_and_cost_and_verify() {
    for scheme in [BCRYPT, ARGON2] {
        let hasher = hasher(scheme);
        let (one, other) = (hasher.make("correct horse").await, hasher.make("correct horse").await);
        assert_ne!(one, other, "salted");
        assert_eq!(one.cost_class(), scheme.class(), "the cost is stored with the hash");
        assert!(hasher.is(&one, "correct horse").await && hasher.is(&other, "correct horse").await);
        assert!(!hasher.is(&one, "Correct horse").await);
        assert!(!hasher.should_rehash(&one, "correct horse"));
    }
    assert!(hasher(ARGON2).should_rehash(&hasher(BCRYPT).make("correct horse").await, "correct horse"));
}

#[tokio::test]
async fn passwords_with_a_common_beginning_do_not_match() {
    for (scheme, lengths) in [(ARGON2, vec![64, 72, 128, 1000]), (BCRYPT, vec![64, 71])] {
        let hasher = hasher(scheme);
        for length in lengths {
            let beginning = "b".repeat(length);
            let stored = hasher.make(&(beginning.clone() + "1")).await;
            assert!(!hasher.is(&stored, &(beginning.clone() + "2")).await, "{scheme:?} {length}");
            assert!(!hasher.is(&stored, &beginning).await, "{scheme:?} {length}");
        }
    }
    // bcrypt reads 72 bytes. A password that is longer than the stored one is a different password.
    let hasher = hasher(BCRYPT);
    let stored = hasher.make(&"b".repeat(72)).await;
    assert!(hasher.is(&stored, &"b".repeat(72)).await);
    assert!(!hasher.is(&stored, &"b".repeat(73)).await);
    let long = hasher.ask(Requester::default(), Task::Hash(BCRYPT), &"b".repeat(73)).await;
    assert!(matches!(long, Ok(Answer::Hash(None))), "never truncated");
}

#[tokio::test]
async fn a_batch_returns_each_answer_to_its_own_caller() {
    let hasher = hasher(BCRYPT);
    let stored = hasher.make("right").await;
    let checks = (0..40).map(|number| {
        let task = Task::Verify(Box::new(stored.clone()));
        hasher.ask(from(number), task, if number % 3 == 0 { "right" } else { "wrong" })
    });
    let answers = futures_util::future::join_all(checks).await;
    for (number, answer) in answers.into_iter().enumerate() {
        assert!(matches!(answer, Ok(Answer::Verdict(same)) if same == (number % 3 == 0)), "{number}");
    }
    assert_eq!(hasher.totals().done, 41);
}

/// A hasher that accepts jobs and hashes only after `wake`.
fn asleep(scheme: Scheme) -> PasswordHasher {
    let settings = Settings { queue_deadline: Duration::from_secs(5), ..settings(scheme) };
    let hasher = PasswordHasher::asleep(&settings, &Rng::seeded(7));
    // As if a hash took a second.
    hasher.engine.lock().capacity.measured(&scheme.class(), 1, Duration::from_secs(1));
    hasher
}

#[tokio::test]
async fn a_client_that_disconnects_in_the_queue_costs_no_hash() {
    let (hasher, gone) = (asleep(ARGON2), CancellationToken::new());
    let asked = (0..5).map(|number| {
        hasher.submit(&gone, Priority::Login, from(number), Task::Hash(ARGON2), bytes("a password"))
    });
    let stays = hasher.ask(from(9), Task::Hash(ARGON2), "a password");
    let hang_up = async {
        gone.cancel();
        // They leave the queue without a worker.
        while hasher.queue_depth() > 1 {
            tokio::task::yield_now().await;
        }
        hasher.wake(1);
    };
    let (left, stayed, ()) = tokio::join!(futures_util::future::join_all(asked), stays, hang_up);
    assert!(left.iter().all(|answer| matches!(answer, Err(Refusal::Gone))));
    assert!(stayed.is_ok());
    let totals = hasher.totals();
    assert_eq!((totals.cancelled, totals.begun, totals.done), (5, 1, 1), "{totals:?}");
}

#[tokio::test]
async fn a_dropped_caller_leaves_the_queue() {
    let hasher = asleep(ARGON2);
    let mut asked = Box::pin(hasher.ask(from(1), Task::Hash(ARGON2), "a password"));
    assert!(futures_util::poll!(&mut asked).is_pending());
    assert_eq!(hasher.queue_depth(), 1);
    drop(asked);
    assert_eq!((hasher.queue_depth(), hasher.totals().cancelled), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_job_is_refused_at_its_deadline() {
    let hasher = asleep(ARGON2);
    let begun = Instant::now();
    let answer = hasher.ask(from(1), Task::Hash(ARGON2), "a password").await;
    assert!(matches!(answer, Err(Refusal::Busy(_))));
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!((hasher.queue_depth(), hasher.totals().shed), (0, 1));
}

#[tokio::test]
async fn a_job_that_would_wait_too_long_is_refused_at_once_with_a_retry_time() {
    let hasher = asleep(ARGON2);
    let burst = (0..20_u8).map(|number| hasher.ask(from(number), Task::Hash(ARGON2), "a password"));
    let wake = async {
        tokio::task::yield_now().await;
        // Six seconds of work are accepted: five until the deadline, and the job in progress.
        assert_eq!((hasher.queue_depth(), hasher.totals().shed), (6, 14));
        hasher.wake(1);
    };
    let (answers, ()) = tokio::join!(futures_util::future::join_all(burst), wake);
    let after = |answer| match answer {
        Err(Refusal::Busy(after)) => Some(Duration::as_secs(&after)),
        Ok(_) | Err(Refusal::Gone) => None,
    };
    let refused: Vec<_> = answers.into_iter().filter_map(after).collect();
    assert_eq!(refused.len(), 14);
    assert!(refused.is_sorted() && refused.iter().all(|after| (1..=120).contains(after)), "{refused:?}");
    assert!(refused.iter().max() > refused.iter().min(), "each gets its own slot: {refused:?}");
    assert_eq!(hasher.totals().done, 6);
}

#[tokio::test]
async fn an_address_that_floods_the_queue_is_refused_before_another_one() {
    let hasher = asleep(ARGON2);
    let flood = |number: u8| {
        let requester = Requester { address: from(1).address, account: Some(format!("account {number}")) };
        hasher.ask(requester, Task::Hash(ARGON2), "a password")
    };
    let flood = futures_util::future::join_all((0..20).map(flood));
    let other = hasher.ask(from(2), Task::Hash(ARGON2), "a password");
    let wake = async { hasher.wake(1) };
    let (flood, other, ()) = tokio::join!(flood, other, wake);
    assert!(other.is_ok(), "a requester without other jobs is accepted");
    assert_eq!(flood.iter().filter(|answer| answer.is_ok()).count(), 5);
}

#[tokio::test]
async fn at_most_64_passwords_are_rehashed_in_the_background() {
    let hasher = PasswordHasher::asleep(&settings(ARGON2), &Rng::seeded(7));
    let old = self::hasher(BCRYPT).make("a password").await;
    let ticket = RehashTicket {
        user: UserId(1),
        uuid: UserUuid(model::id::uuid_v7(model::Now::from_seconds(1), &Rng::seeded(1))),
        version: 3,
        old: StoredText::from_row(old.to_string()),
    };

    for _ in 0..100 {
        hasher.rehash(ticket.clone(), bytes("a password"));
    }
    assert_eq!(hasher.queue_depth(), 64);
    hasher.wake(1);

    let mut results = Vec::new();
    while results.len() < 64 {
        results.extend(hasher.rehashed());
        tokio::task::yield_now().await;
    }

    assert!(hasher.rehashed().is_none());
    let Rehashed { ticket: RehashTicket { version, old: was, .. }, new, .. } = results.swap_remove(0);
    assert_eq!((version, was), (3, StoredText::from_row(old.to_string())));
    assert!(hasher.is(&StoredHash::parse(&new).unwrap(), "a password").await);
}

#[tokio::test]
async fn capacity_is_measured_for_the_kinds_that_users_have() {
    let hasher = hasher(ARGON2);
    hasher.resemble(vec![self::hasher(BCRYPT).make("x").await]);
    let lease = CancellationToken::new();
    let found = hasher.measure_until(&lease).await.unwrap();
    let classes: Vec<_> = found.iter().map(|(class, _)| *class).collect();
    assert_eq!(classes, [BCRYPT.class(), ARGON2.class()]);
    assert!(found.iter().all(|(_, capacity)| *capacity > 0.0));
    assert_eq!(hasher.measure_until(&lease).await.unwrap(), [], "each is returned once");
    let algorithms: Vec<_> = hasher.capacity().into_iter().map(|(algorithm, _)| algorithm).collect();
    assert_eq!(algorithms, ["argon2id", "bcrypt"]);
}

#[tokio::test]
async fn characters_that_the_origin_ignored_do_not_become_part_of_the_password() {
    let (argon2, bcrypt) = (hasher(ARGON2), hasher(BCRYPT));
    let imported = |text: &str| StoredHash::from_origin(text, Rules::Imported).unwrap();
    let short = imported(&bcrypt.make("correct horse").await.to_string());
    assert!(argon2.should_rehash(&short, "correct horse"));
    let long = imported(&bcrypt.make(&"b".repeat(72)).await.to_string());
    assert!(argon2.should_rehash(&long, &"b".repeat(72)));
    assert!(!argon2.should_rehash(&long, &"b".repeat(73)), "bcrypt ignored the end");
    assert!(!argon2.should_rehash(&short, "correct horse\0anything"));
    // A password that the configured scheme cannot cover keeps its hash.
    let argon2_hash = imported(&argon2.make("whatever").await.to_string());
    assert!(bcrypt.should_rehash(&argon2_hash, &"b".repeat(72)));
    assert!(!bcrypt.should_rehash(&argon2_hash, &"b".repeat(73)));
}

#[tokio::test]
async fn an_unmeasured_kind_is_predicted_by_its_cost() {
    let hasher = asleep(BCRYPT);
    // A check of this kind takes 64 seconds: 64 times as much work as the measured one.
    let expensive = || Task::Verify(Box::new(StoredHash::parse(&bcrypt_text(10)).unwrap()));
    let mut first = Box::pin(hasher.ask(from(1), expensive(), "a password"));
    assert!(futures_util::poll!(&mut first).is_pending(), "the queue was empty");
    let second = hasher.ask(from(2), expensive(), "a password").await;
    assert!(matches!(second, Err(Refusal::Busy(after)) if after > Duration::from_secs(5)), "refused at once");
    assert_eq!((hasher.queue_depth(), hasher.totals().shed), (1, 1));
}

fn bcrypt_text(cost: u8) -> String {
    protocol::wire::password_hash::BcryptHash::new(cost, [1; 16], [2; 23]).to_string()
}
