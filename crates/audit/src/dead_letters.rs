//! What could not be shipped, with its reason: JSON Lines, one dead letter each.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Hash, JournalId, Kind, Record, Skipped, Time};
use model::{Now, hex};
use serde_json::{Value, json};
use store::audit_db;

/// The kind of the row that stands in the trail for a record whose own row was refused.
pub const SET_ASIDE: &str = "audit_set_aside";
/// Its record kind, which no record of a journal has: its payload is a dead letter.
const LETTER: i64 = 0;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeadLetter {
    /// A record that was refused, whole.
    Refused(Refused),
    /// Records that cannot be read: what they held is lost.
    Unreadable {
        /// Whose.
        journal: JournalId,
        /// The first of them; the next one that was read where they are none.
        from: u64,
        /// The last of them.
        to: u64,
        /// Why.
        reason: String,
    },
    /// The journal is not what it was when it was last read.
    Lost {
        /// Which.
        journal: JournalId,
        /// The last record that had been shipped.
        shipped: u64,
        /// How many are missing, as far as is known. Not in the file.
        records: u64,
        /// What was found instead.
        reason: String,
    },
}

/// A record with why it was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Whose.
    pub journal: JournalId,
    /// Its sequence.
    pub sequence: u64,
    /// Its time.
    pub time: Time,
    /// The journal's byte for what it is.
    pub record_kind: u8,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The chain up to and with it.
    pub hash: Hash,
    /// Why.
    pub reason: String,
}

impl Refused {
    /// The dead letter of a row.
    pub(super) fn of(row: &audit_db::Record, why: &str) -> Self {
        Self {
            journal: JournalId(row.journal),
            sequence: row.sequence.unsigned_abs(),
            time: Time(row.at.micros()),
            record_kind: u8::try_from(row.record_kind).unwrap_or_default(),
            payload: row.payload.clone(),
            hash: Hash(row.hash),
            reason: why.to_owned(),
        }
    }

    /// The row that stands for it in the trail: the dead letter is its payload, so that nothing is
    /// missing there.
    pub(super) fn row(&self, now: Now) -> audit_db::Record {
        audit_db::Record {
            at: now,
            journal: self.journal.0,
            sequence: crate::record::row::signed(self.sequence),
            kind: SET_ASIDE.to_owned(),
            user: None,
            request_id: None,
            record_kind: LETTER,
            payload: self.value().to_string().into_bytes(),
            hash: self.hash.0,
        }
    }

    /// The dead letter in a row that stands for a record; `None` where the row is a record itself, or is no
    /// such row.
    pub fn in_row(row: &audit_db::Record) -> Option<Self> {
        let is_letter = row.record_kind == LETTER && row.kind == SET_ASIDE;
        let bare = row.user.is_none() && row.request_id.is_none();
        let Some(DeadLetter::Refused(letter)) = DeadLetter::parse(&row.payload).filter(|_| is_letter && bare)
        else {
            return None;
        };
        let is_its =
            letter.journal.0 == row.journal && crate::record::row::signed(letter.sequence) == row.sequence;
        is_its.then_some(letter)
    }

    /// The record itself; `None` where no journal has such a kind.
    pub fn record(&self) -> Option<Record<'_>> {
        let kind = Kind::from_byte(self.record_kind)?;
        Some(Record {
            sequence: self.sequence,
            time: self.time,
            kind,
            payload: &self.payload,
            hash: self.hash,
        })
    }

    fn value(&self) -> Value {
        json!({
            "journal": self.journal.to_string(),
            "sequence": self.sequence,
            "time": self.time.0,
            "record_kind": self.record_kind,
            "payload": STANDARD.encode(&self.payload),
            "hash": self.hash.to_string(),
            "reason": self.reason,
        })
    }
}

impl DeadLetter {
    /// Records that cannot be read.
    pub(super) fn unreadable(journal: JournalId, skipped: Skipped, why: &str) -> Self {
        // Where the next one follows at once, it is what stands between them that is no record.
        Self::Unreadable {
            journal,
            from: skipped.from,
            to: skipped.to.saturating_sub(1),
            reason: why.to_owned(),
        }
    }

    /// How many records it stands for.
    pub(super) fn records(&self) -> u64 {
        match self {
            Self::Refused(_) => 1,
            Self::Unreadable { from, to, .. } => to.saturating_add(1).saturating_sub(*from),
            Self::Lost { records, .. } => *records,
        }
    }

    /// Reads a line; `None` where it is no dead letter.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let journal = JournalId(hex::decode_array(text("journal")?)?);
        let reason = text("reason")?.to_owned();
        if let (Some(from), Some(to)) = (number("from"), number("to")) {
            return Some(Self::Unreadable { journal, from, to, reason });
        }
        if let Some(shipped) = number("shipped") {
            return Some(Self::Lost { journal, shipped, records: 0, reason });
        }
        Some(Self::Refused(Refused {
            journal,
            sequence: number("sequence")?,
            time: Time(value.get("time")?.as_i64()?),
            record_kind: u8::try_from(number("record_kind")?).ok()?,
            payload: STANDARD.decode(text("payload")?).ok()?,
            hash: Hash(hex::decode_array(text("hash")?)?),
            reason,
        }))
    }

    fn value(&self) -> Value {
        match self {
            Self::Refused(refused) => refused.value(),
            Self::Unreadable { journal, from, to, reason } => {
                json!({ "journal": journal.to_string(), "from": from, "to": to, "reason": reason })
            }
            Self::Lost { journal, shipped, reason, .. } => {
                json!({ "journal": journal.to_string(), "shipped": shipped, "reason": reason })
            }
        }
    }
}

/// Appends dead letters to a file, and has them on disk before it goes on: nothing else may have what they
/// hold.
pub(super) fn write(path: &Path, letters: &[DeadLetter]) -> io::Result<()> {
    let mut text = String::new();
    for letter in letters {
        let value = letter.value();
        tracing::error!(letter = %value, "an audit record could not be shipped and was set aside");
        text.push_str(&value.to_string());
        text.push('\n');
    }
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}
