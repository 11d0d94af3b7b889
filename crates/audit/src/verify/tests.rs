//! How much of a journal may be unsigned, by the signed times and statements alone.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use journal::{Entry, Hash, Head, Journal, JournalId, Kind, Options, Time};
use model::{Clock, Event, Now, Origin, Rng};
use protocol::sealed::keyring::Keyring;
use runtime::AuditContext;

use super::*;
use crate::{Auditor, DetailKeyFile, IntentLog};

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

/// The data directory of a server, and its clock.
struct Site {
    folder: tempfile::TempDir,
    keyring: Keyring,
    clock: Clock,
}

impl Site {
    fn new() -> Self {
        let keyring = Keyring::parse(Keyring::generate_line(&Rng::seeded(1)).expose()).unwrap();
        let clock = Clock::test(Now::from_seconds(1_767_225_600));
        Self { folder: tempfile::tempdir().unwrap(), keyring, clock }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("journal")
    }

    fn open(&self) -> Journal {
        Journal::open(&self.journal(), Options::default(), JournalId([7; 16])).unwrap().0
    }

    /// A server that records an event and stops.
    fn serve(&self) {
        let intents = self.folder.path().join("intents");
        let (begun, _) = Journal::open(&intents, Options::default(), JournalId([8; 16])).unwrap();
        let begun = IntentLog::start(begun, &intents, &self.clock).unwrap();
        let keys =
            DetailKeyFile::open(&self.folder.path().join("keys"), self.keyring.clone(), Rng::seeded(2))
                .unwrap();
        let (clock, rng) = (self.clock.clone(), Rng::seeded(3));
        let auditor = Auditor::start(self.open(), begun, keys, &self.keyring, clock, rng).unwrap();
        let auditor = Arc::new(auditor);
        // With a detail, so that its key is in the file of keys.
        let origin = Origin { user_agent: Some("agent/1".to_owned()), ..Origin::default() };
        AuditContext::new(auditor.clone(), self.clock.clone(), origin).note(Event::UsersListed {});
        assert!(auditor.stop(Duration::from_secs(10)).finished);
    }

    /// Appends a record without a key, as a forger does, and a process that is killed before it signs; the
    /// record bears the time of the last checkpoint.
    fn append_unsigned(&self) {
        let payload = br#"{"v":1,"kind":"users_listed"}"#;
        let entry = Entry { time: Time(self.clock.now().micros()), kind: Kind::Data, payload };
        let mut journal = self.open();
        assert!(journal.append(entry.time, &[entry]).failure.is_none());
    }

    async fn verify(&self, named: &[Head]) -> (Checked, bool) {
        let signatures = Signatures::of(Some(&self.keyring));
        let known = Known { named: named.to_vec(), kept: Vec::new(), signatures, now: self.clock.now() };
        let checked = files::verify(&[self.journal()], "node", None, &known, &mut |_, _| {}).await.unwrap();
        let [checked] = <[Checked; 1]>::try_from(checked).unwrap();
        let is_right = checked.is_right(&known.signatures);
        (checked, is_right)
    }
}

fn kinds(directory: &Path) -> Vec<String> {
    let mut reader = journal::Reader::open(directory);
    let mut kinds = Vec::new();
    while let Some(record) = reader.read().unwrap() {
        let value: serde_json::Value = serde_json::from_slice(record.payload).unwrap_or_default();
        kinds.extend(value["kind"].as_str().map(str::to_owned));
    }
    kinds
}

#[tokio::test]
async fn a_journal_that_was_closed_verifies_a_year_later() {
    let site = Site::new();
    site.serve();
    site.clock.advance(365 * 24 * HOUR);
    let (checked, is_right) = site.verify(&[]).await;
    assert!(is_right && checked.unvouched.is_empty(), "{checked:?}");
    assert_eq!(checked.notes, [Note::NotCompared]);
}

#[tokio::test]
async fn an_unsigned_end_is_accepted_by_the_time_of_the_last_checkpoint_and_not_by_its_own() {
    // given records behind the last checkpoint that bear its time
    let site = Site::new();
    site.serve();
    site.append_unsigned();

    // then they may be those of a server at work within two minutes
    site.clock.advance(MINUTE);
    let (checked, is_right) = site.verify(&[]).await;
    assert!(is_right && matches!(checked.notes[..], [Note::NotSignedYet(_), _]), "{checked:?}");

    // and not later, whatever they say, unless the operator names their end
    site.clock.advance(2 * MINUTE);
    let (checked, is_right) = site.verify(&[]).await;
    assert!(!is_right && matches!(checked.unvouched[..], [Unvouched::Records(_)]), "{checked:?}");
    assert!(site.verify(&[checked.end.unwrap()]).await.1);
}

#[tokio::test]
async fn a_clock_that_was_set_back_accepts_no_unsigned_end() {
    let mut site = Site::new();
    site.serve();
    site.append_unsigned();
    site.clock = Clock::test(site.clock.now().minus(HOUR));
    assert!(!site.verify(&[]).await.1);
}

#[tokio::test]
async fn a_start_says_that_it_signs_what_it_did_not_write() {
    for (later, is_usual) in [(MINUTE, true), (HOUR, false)] {
        // given an unsigned end, and a server that starts behind it
        let site = Site::new();
        site.serve();
        let first = kinds(&site.journal()).len();
        site.append_unsigned();
        site.clock.advance(later);
        site.serve();

        // then it recorded what it found before anything of its own
        assert_eq!(kinds(&site.journal())[first + 1], "audit_end_adopted");

        // and the signature does not vouch for it, unless a killed server leaves as much by the signed times
        let (checked, is_right) = site.verify(&[]).await;
        assert_eq!(is_right, is_usual, "{checked:?}");
        let found = if is_usual {
            matches!(checked.notes[..], [Note::Adopted(_), _])
        } else {
            matches!(checked.unvouched[..], [Unvouched::Adopted(_)])
        };
        assert!(found, "{checked:?}");

        // and later checkpoints change nothing about that
        site.serve();
        assert_eq!(site.verify(&[]).await.1, is_usual);
        assert!(site.verify(&[checked.end.unwrap()]).await.1, "the operator vouches for it");
    }
}

#[tokio::test]
async fn a_start_behind_a_signed_end_finds_nothing() {
    let site = Site::new();
    site.serve();
    site.clock.advance(HOUR);
    site.serve();
    assert!(!kinds(&site.journal()).contains(&"audit_end_adopted".to_owned()));
    assert!(site.verify(&[]).await.1);
}

#[tokio::test]
async fn a_journal_whose_files_were_removed_does_not_verify() {
    for removed in [true, false] {
        let site = Site::new();
        site.serve();
        std::fs::remove_dir_all(site.journal()).unwrap();
        if !removed {
            std::fs::create_dir(site.journal()).unwrap();
        }
        let (checked, is_right) = site.verify(&[]).await;
        assert!(!is_right, "{checked:?}");
        assert_eq!(checked.finding, Some(Finding::Empty));
    }
}

#[test]
fn a_known_head_is_read_back_as_printed() {
    let head = Head { journal: JournalId([0xab; 16]), sequence: 7, hash: Hash([0x01; 32]) };
    let text = KnownHead(head).to_string();
    assert_eq!(text, format!("{}:{}:{}", head.journal, head.sequence, head.hash));
    assert_eq!(text.parse::<KnownHead>().unwrap().0, head);
    for bad in ["", "a:1:b", &text.replace(":7:", ":x:"), &text[1..], &format!("{text}0")] {
        assert!(bad.parse::<KnownHead>().is_err(), "{bad}");
    }
}
