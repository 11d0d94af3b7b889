//! Tests of recording: events in the journal, and which of their parts can be read.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Checkpoint, Journal, JournalId, Kind, Options, Reader};
use model::event::{LoginMethod, Reason};
use model::{Clock, Event, Now, Origin, RequestId, Rng, SessionId, UserUuid};
use protocol::sealed::checkpoint::TrustedCheckpointKeys;
use protocol::sealed::keyring::Keyring;
use runtime::AuditContext;
use serde_json::Value;
use uuid::Uuid;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    keyring: Keyring,
}

impl Place {
    fn new() -> Self {
        let keyring = Keyring::parse(Keyring::generate_line(&Rng::seeded(1)).expose()).unwrap();
        Self { folder: tempfile::tempdir().unwrap(), keyring }
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    fn open(&self) -> Arc<Auditor> {
        let (journal, _) = Journal::open(self.folder.path(), Options::default(), JournalId([7; 16])).unwrap();
        let intents = self.intents(Options::default());
        let detail_keys =
            DetailKeyFile::open(&self.path("keys"), self.keyring.clone(), Rng::seeded(2)).unwrap();
        let clock = Clock::test(Now::from_seconds(1_767_225_600));
        Arc::new(Auditor::start(journal, intents, detail_keys, &self.keyring, clock, Rng::seeded(3)).unwrap())
    }

    fn intents(&self, options: Options) -> IntentLog {
        let path = self.path("intents");
        let (journal, _) = Journal::open(&path, options, JournalId([8; 16])).unwrap();
        IntentLog::start(journal, &path, &Clock::test(Now::from_seconds(1_767_225_600))).unwrap()
    }

    fn keys(&self) -> std::collections::HashMap<[u8; 8], (UserUuid, protocol::sealed::detail::DetailKey)> {
        DetailKeyFile::read(&self.path("keys"), &self.keyring).unwrap()
    }

    /// The detail of a record, if its key still exists.
    fn detail(&self, record: &Value) -> Option<Value> {
        let detail = record.get("detail")?;
        let id = u64::from_str_radix(detail["key"].as_str()?, 16).ok()?.to_be_bytes();
        let keys = self.keys();
        let (user, key) = keys.get(&id)?;
        let sealed = STANDARD.decode(detail["sealed"].as_str()?).ok()?;
        serde_json::from_slice(&key.open(*user, &sealed)?).ok()
    }
}

fn trail(auditor: &Arc<Auditor>) -> AuditContext {
    let origin = Origin {
        request_id: RequestId::parse("r-1"),
        client_request_id: Some("theirs".to_owned()),
        address: "198.51.100.23".parse().ok(),
        user_agent: Some("curl/8.0 canary".to_owned()),
        ..Origin::http()
    };
    AuditContext::new(auditor.clone(), Clock::test(Now::from_seconds(1_767_225_601)), origin)
}

fn user(number: u128) -> UserUuid {
    UserUuid(Uuid::from_u128(number))
}

/// Every event in a journal, as JSON, and its checkpoints.
fn read(folder: &Path) -> (Vec<Value>, Vec<Checkpoint>) {
    let mut reader = Reader::open(folder);
    let (mut events, mut checkpoints) = (Vec::new(), Vec::new());
    while let Some(record) = reader.read().unwrap() {
        match record.kind {
            Kind::Data => events.push(serde_json::from_slice(record.payload).unwrap()),
            Kind::Checkpoint => checkpoints.push(Checkpoint::parse(record.payload).unwrap()),
        }
    }
    (events, checkpoints)
}

/// Whether any file of a directory contains these bytes.
fn holds(folder: &Path, bytes: &str) -> bool {
    std::fs::read_dir(folder).unwrap().any(|file| {
        let content = std::fs::read(file.unwrap().path()).unwrap_or_default();
        content.windows(bytes.len()).any(|window| window == bytes.as_bytes())
    })
}

#[tokio::test]
async fn an_event_names_its_user_and_only_the_detail_key_opens_the_address() {
    let place = Place::new();
    let auditor = place.open();
    let event = Event::LoginSucceeded {
        user: user(1),
        session: SessionId(Uuid::from_u128(2)),
        method: LoginMethod::Password,
    };

    trail(&auditor).note(event);
    let failed = Event::LoginFailed {
        user: None,
        identifier: "d1ge57".to_owned(),
        reason: Reason::UnknownUser,
        method: LoginMethod::Password,
    };

    trail(&auditor).note(failed);
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    let (events, checkpoints) = read(place.folder.path());
    assert_eq!(events.len(), 2);
    let [known, unknown] = [&events[0], &events[1]];
    for (member, value) in [
        ("kind", "login_succeeded"),
        ("user", &user(1).to_string()),
        ("via", "http"),
        ("request_id", "r-1"),
        ("at", "2026-01-01T00:00:01Z"),
    ] {
        assert_eq!(known[member], value, "{known}");
    }

    assert_eq!((&unknown["kind"], &unknown["user"]), (&"login_failed".into(), &Value::Null));
    for record in &events {
        let detail = place.detail(record).unwrap();
        assert_eq!(detail["address"], "198.51.100.23");
        assert_eq!(detail["user_agent"], "curl/8.0 canary");
        assert_eq!(detail["client_request_id"], "theirs");
    }

    for secret in ["198.51.100.23", "canary", "theirs"] {
        assert!(!holds(place.folder.path(), secret), "{secret}");
    }

    // The checkpoint is signed with this server's key, and no other key verifies it.
    let checkpoint = checkpoints.last().unwrap();
    let confirms = |keyring: &Keyring| {
        let keys = TrustedCheckpointKeys::of(keyring);
        keys.confirm(&checkpoint.key_id, &checkpoint.message(), &checkpoint.signature)
    };

    // Another one may stand between the two events.
    assert!((2..=3).contains(&checkpoint.head.sequence));
    assert!(confirms(&place.keyring) && !confirms(&another()));
    assert_eq!(auditor.kinds(), [("login_failed", 1), ("login_succeeded", 1)]);
}

fn another() -> Keyring {
    Keyring::parse(Keyring::generate_line(&Rng::seeded(99)).expose()).unwrap()
}

#[tokio::test]
async fn details_of_an_erased_user_are_unreadable_and_the_chain_verifies() {
    let place = Place::new();
    let auditor = place.open();
    let trail = trail(&auditor);
    for who in [1, 2] {
        trail.note(Event::ProfileChanged { user: user(who) });
    }
    trail.note(Event::UserErased { user: user(1), sessions: 0 });
    // Keys are stored and destroyed in order: when this one is stored, the others are destroyed.
    auditor.detail_keys().key_of(user(3)).unwrap().kept.unwrap().await.unwrap();
    assert!(auditor.stop(Duration::from_secs(10)).finished);
    let (events, _) = read(place.folder.path());
    assert!(events[0].get("detail").is_some() && place.detail(&events[0]).is_none(), "{}", events[0]);
    assert_eq!(place.detail(&events[1]).unwrap()["address"], "198.51.100.23");
    assert_eq!(events[2]["kind"], "user_erased");
    assert!(events[2].get("detail").is_none(), "{}", events[2]);
    let keys = TrustedCheckpointKeys::of(&place.keyring);
    let check = |checkpoint: &Checkpoint| {
        keys.confirm(&checkpoint.key_id, &checkpoint.message(), &checkpoint.signature)
    };
    let report = journal::verify(place.folder.path(), None, &[], check, |_| {}).unwrap();
    assert_eq!(report.finding, None);
    assert_eq!(report.counts.records - report.counts.checkpoints, 3, "three events");
    assert!(report.unsigned.is_empty(), "{report:?}");
}

#[tokio::test]
async fn events_noted_before_the_stop_are_in_the_journal() {
    let place = Place::new();
    for round in 0..3_u128 {
        let auditor = place.open();
        let receipts = runtime::audit::Receipts::default();
        let trail = trail(&auditor).gathering(receipts.clone());
        trail.note(Event::ProfileChanged { user: user(round) });
        let gathered = receipts.take();
        assert_eq!(gathered.len(), 1);
        for receipt in gathered {
            receipt.await;
        }
        // The receipt says that the record is written: a reader sees it now, before the writer stops.
        assert_eq!(read(place.folder.path()).0.len(), usize::try_from(round).unwrap() + 1);
        assert!(auditor.stop(Duration::from_secs(10)).finished);
        assert_eq!(auditor.condition(), Condition::Failing, "a stopped writer records nothing");
    }
}

#[test]
fn the_highest_user_number_of_the_realm_is_found_in_a_journal() {
    let realm = Uuid::from_u128(1);
    let folder = tempfile::tempdir().unwrap();
    // Small segments, so that the search walks several of them.
    let options = Options { segment_bytes: 4096, ..Options::default() };
    let (mut journal, _) = Journal::open(folder.path(), options, JournalId([7; 16])).unwrap();
    let mut write = |line: Value| {
        let (time, payload) = (journal::Time(1), line.to_string());
        let entry = journal::Entry { time, kind: Kind::Data, payload: payload.as_bytes() };
        assert!(journal.append(time, &[entry]).failure.is_none());
    };
    write(serde_json::json!({"kind": "user_registered", "number": 900}));
    write(serde_json::json!({"kind": "realm_opened", "realm": realm}));
    for number in 1..=30 {
        write(serde_json::json!({"kind": "user_registered", "number": number}));
    }
    write(serde_json::json!({"kind": "users_imported", "highest": 70}));
    for _ in 0..500 {
        write(serde_json::json!({"kind": "login_failed", "number": 999}));
    }
    assert_eq!(highest_user(folder.path(), realm).unwrap(), Some(model::UserId(70)));
    assert_eq!(highest_user(&folder.path().join("none"), realm).unwrap(), None);
}
