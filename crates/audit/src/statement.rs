//! What this node signs about the trail: the statement of each checkpoint, where the rows of a journal begin,
//! and that records could not be read.
//!
//! Each checkpoint states the journals that this process knows of, with the last record of each in the
//! database, and the highest user number: a journal that is removed, or cut, is missed by every other one,
//! and a restored database by each.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use journal::{Checkpoint, Hash, Head, JournalId};
use model::hex;
use protocol::sealed::checkpoint::CheckpointKey;
use protocol::sealed::purpose::Purpose;
use serde_json::{Value, json};
use store::audit_db::{self, Place};

use crate::dead_letters::DeadLetter;

/// The statement of a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// The highest number of a user that is known, erased users included.
    pub max_user_id: Option<i64>,
    /// The last record of each journal that is known to be in the database.
    pub journals: Vec<Head>,
    /// The sequence of the last record that was there when the process that signs began: it wrote those
    /// behind it, and none up to it.
    pub found: u64,
    /// Whether the records of before are gone: the process began its journal in a realm that is not new, and
    /// the database had no journal.
    pub past_missing: bool,
}

impl Statement {
    /// The statement in these bytes; `None` where they are none.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let journals = value.get("journals")?.as_array()?.iter().map(head);
        Some(Self {
            max_user_id: value.get("max_user_id").and_then(Value::as_i64),
            journals: journals.collect::<Option<_>>()?,
            found: value.get("found")?.as_u64()?,
            past_missing: value.get("past_missing")?.as_bool()?,
        })
    }

    fn format(&self) -> Vec<u8> {
        let journals = self.journals.iter().map(|head| {
            json!({
                "journal": head.journal.to_string(),
                "sequence": head.sequence,
                "hash": head.hash.to_string(),
            })
        });
        let journals: Vec<_> = journals.collect();
        let (user, found, past_missing) = (self.max_user_id, self.found, self.past_missing);
        json!({ "max_user_id": user, "journals": journals, "found": found, "past_missing": past_missing })
            .to_string()
            .into_bytes()
    }
}

fn head(value: &Value) -> Option<Head> {
    let text = |name: &str| value.get(name)?.as_str();
    Some(Head {
        journal: JournalId(hex::decode_array(text("journal")?)?),
        sequence: value.get("sequence")?.as_u64()?,
        hash: Hash(hex::decode_array(text("hash")?)?),
    })
}

/// The latest checkpoint of the journal in a directory; `None` where there is none. Its signature is not
/// checked.
pub(crate) fn latest_checkpoint(directory: &Path) -> io::Result<Option<Checkpoint>> {
    match journal::latest_checkpoint(directory, |_| {}) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        latest => latest,
    }
}

/// What the latest checkpoint of the journal in a directory states; `None` where there is none. Its signature
/// is not checked. Blocks the thread.
///
/// # Errors
/// The error of the disk.
pub fn latest_statement(directory: &Path) -> io::Result<Option<Statement>> {
    Ok(latest_checkpoint(directory)?.and_then(|checkpoint| Statement::parse(&checkpoint.statement)))
}

/// Signs with the checkpoint key of the first line, and collects what the next checkpoint states.
pub struct Voucher {
    key: Option<CheckpointKey>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    max_user_id: Option<i64>,
    journals: BTreeMap<JournalId, Place>,
    found: u64,
    past_missing: bool,
}

impl Voucher {
    /// Signs with this key; without one it signs nothing.
    pub fn new(key: Option<CheckpointKey>) -> Self {
        Self { key, known: Mutex::default() }
    }

    /// Notes that the records of a journal up to this one are in the database.
    pub fn arrived(&self, journal: [u8; 16], place: Place) {
        let mut known = self.known();
        let last = known.journals.entry(JournalId(journal)).or_insert(place);
        if last.sequence < place.sequence {
            *last = place;
        }
    }

    /// Notes the journals that the database has.
    pub fn seen(&self, journals: &[audit_db::Journal]) {
        for journal in journals {
            self.arrived(journal.id, journal.shipped);
        }
    }

    /// Notes what another process of this node has stated.
    pub fn repeat(&self, statement: &Statement) {
        for head in &statement.journals {
            let sequence = i64::try_from(head.sequence).unwrap_or(i64::MAX);
            self.arrived(head.journal.0, Place { sequence, hash: head.hash.0 });
        }
        statement.max_user_id.into_iter().for_each(|number| self.user(number));
    }

    /// Notes the last record of the journal that was there before this process wrote any.
    pub fn found(&self, sequence: u64) {
        self.known().found = sequence;
    }

    /// Whether the journal had no record before this process.
    pub fn is_first(&self) -> bool {
        self.known().found == 0
    }

    /// Notes that the records of before this journal are gone.
    pub fn past_is_missing(&self) {
        self.known().past_missing = true;
    }

    /// Notes the number of a user.
    pub fn user(&self, number: i64) {
        let mut known = self.known();
        known.max_user_id = known.max_user_id.max(Some(number));
    }

    /// The statement of the next checkpoint.
    pub fn statement(&self) -> Vec<u8> {
        let known = self.known();
        let head = |(journal, place): (&JournalId, &Place)| Head {
            journal: *journal,
            sequence: place.sequence.unsigned_abs(),
            hash: Hash(place.hash),
        };
        let journals = known.journals.iter().map(head).collect();
        let Known { max_user_id, found, past_missing, .. } = *known;
        Statement { max_user_id, journals, found, past_missing }.format()
    }

    /// The signed statement that the records of a journal up to this one are not in the database: retention
    /// has removed them, or they were not there at first.
    pub fn kept(&self, journal: [u8; 16], place: Place) -> Option<Vec<u8>> {
        Some(self.key.as_ref()?.state(Purpose::AuditKept, &kept_claim(journal, place)))
    }

    /// The signed statement that records could not be read, in hexadecimal digits.
    pub(crate) fn lost(&self, letter: &DeadLetter) -> Option<String> {
        let claim = letter.claim()?;
        Some(hex::encode(&self.key.as_ref()?.state(Purpose::AuditDeadLetter, &claim)))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What [`Voucher::kept`] signs.
pub(crate) fn kept_claim(journal: [u8; 16], place: Place) -> Vec<u8> {
    [journal.as_slice(), &place.sequence.to_be_bytes(), &place.hash].concat()
}

impl std::fmt::Debug for Voucher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Voucher").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_names_the_furthest_record_of_each_journal_and_the_highest_user() {
        let voucher = Voucher::new(None);
        let place = |sequence: i64| Place { sequence, hash: [7; 32] };
        for sequence in [3, 9, 4] {
            voucher.arrived([1; 16], place(sequence));
            voucher.user(sequence);
        }
        voucher.arrived([2; 16], place(1));

        voucher.found(5);
        let stated = Statement::parse(&voucher.statement()).unwrap();
        let found: Vec<_> = stated.journals.iter().map(|head| (head.journal.0[0], head.sequence)).collect();
        assert_eq!((stated.max_user_id, found), (Some(9), vec![(1, 9), (2, 1)]));
        assert_eq!(stated.found, 5);
        assert_eq!(Statement::parse(b"{}"), None);
        assert_eq!(voucher.kept([1; 16], place(1)), None, "it has no key");
    }
}
