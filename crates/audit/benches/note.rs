//! The cost of announcing a transaction and of recording its event: the calls themselves, without waiting for
//! the files; and the wait for an announcement, which the transaction does perform.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audit::{Auditor, DetailKeyFile, IntentLog, SEGMENTS};
use journal::{Journal, JournalId, Options};
use model::event::LoginMethod;
use model::intent::{self, Announced as _};
use model::{Clock, Event, Origin, RequestId, Rng, SessionId, UserUuid};
use protocol::sealed::keyring::Keyring;
use runtime::AuditContext;
use uuid::Uuid;

const EVENTS: u128 = 100_000;
/// Users in turn; their keys are created before the measurement.
const PEOPLE: u128 = 1000;
/// Events recorded between two checks of the queue, so that it never fills.
const BURST: u128 = 500;

#[expect(clippy::disallowed_methods, reason = "a benchmark uses the machine's clock, and waits for a thread")]
fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (clock, rng) = (Clock::system(), Rng::system());
    let keyring = Keyring::parse(Keyring::generate_line(&rng).expose())?;
    let (journal, _) = Journal::open(folder.path(), Options::default(), JournalId(rng.bytes()))?;
    let path = folder.path().join("intents");
    let (begun, _) = Journal::open(&path, SEGMENTS, JournalId(rng.bytes()))?;
    let intents = IntentLog::start(begun, &path, &clock)?;
    let detail_keys = DetailKeyFile::open(&folder.path().join("keys"), keyring.clone(), rng.clone())?;
    let auditor = Arc::new(Auditor::start(journal, intents, detail_keys, &keyring, clock.clone(), rng)?);

    let origin = Origin {
        request_id: RequestId::parse("0192d3b0-0000-7000-8000-000000000000"),
        address: Some("192.0.2.1".parse()?),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0".to_owned()),
        ..Origin::http()
    };

    let audit = AuditContext::new(Arc::<Auditor>::clone(&auditor), clock, origin);
    let (mut announcing, mut noting) = (Vec::new(), Vec::new());
    for number in 0..PEOPLE + EVENTS {
        let user = UserUuid(Uuid::from_u128(number % PEOPLE));
        let session = SessionId(Uuid::from_u128(number));
        let intent = intent::LoginSucceeded { user, session }.intent();
        let begun = Instant::now();
        let mut announced = audit.announce(intent);
        let took = begun.elapsed();
        announced.committed(Event::LoginSucceeded { user, session, method: LoginMethod::Password });
        let begun = Instant::now();
        drop(announced);
        if number >= PEOPLE {
            announcing.push(took);
            noting.push(begun.elapsed());
        }
        while number.is_multiple_of(BURST) && (auditor.state().queued > 0 || auditor.intents().queued > 0) {
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    let mut waiting = Vec::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        for _ in 0..EVENTS / 10 {
            let begun = Instant::now();
            let mut announced = audit.announce(intent::RowsCleaned {}.intent());
            let written = announced.written();
            if let Some(written) = written {
                written.await;
            }
            waiting.push(begun.elapsed());
            drop(announced);
        }
    });

    let dropped = auditor.stop(Duration::from_secs(5)).state.dropped;
    for (what, mut took) in [
        ("announce", announcing),
        ("announce, and wait until it is written, one at a time", waiting),
        ("note, with an encrypted detail", noting),
    ] {
        took.sort();
        let at = |part: usize| took.get(took.len() * part / 1000).copied().unwrap_or_default();
        println!("{what}: median {:?}, 99 % {:?}, 99.9 % {:?}", at(500), at(990), at(999));
    }

    println!("{EVENTS} events, {dropped} not written");
    Ok(())
}
