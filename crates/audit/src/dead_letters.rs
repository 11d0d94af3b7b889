//! Dead letters: records that could not be shipped, with the reason, as JSON Lines.

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

use crate::statement::Voucher;

/// The kind of the row that replaces a refused record in the database.
pub const SET_ASIDE: &str = "audit_set_aside";
/// The record kind of that row; no journal record has it. Its payload is a dead letter.
const LETTER: i64 = 0;

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DeadLetter {
    /// A whole record that was refused.
    Refused(Refused),
    /// Records that cannot be read: their contents are lost.
    Unreadable {
        /// The journal.
        journal: JournalId,
        /// The first of them; the next readable record if there are none.
        from: u64,
        /// The last of them.
        to: u64,
        /// The reason.
        reason: String,
        /// What the node signed about it, in hexadecimal digits.
        signature: Option<String>,
    },
    /// The journal differs from its state when it was last read.
    Lost {
        /// The journal.
        journal: JournalId,
        /// The last record that had been shipped.
        shipped: u64,
        /// How many records are missing, as far as is known. Not in the file.
        records: u64,
        /// What was found instead.
        reason: String,
    },
}

/// A refused record and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The journal.
    pub journal: JournalId,
    /// Its sequence.
    pub sequence: u64,
    /// Its time.
    pub time: Time,
    /// The journal's kind byte.
    pub record_kind: u8,
    /// Its payload.
    pub payload: Vec<u8>,
    /// The hash of the chain including the record.
    pub hash: Hash,
    /// The reason.
    pub reason: String,
}

impl DeadLetter {
    /// What the log says of records that are lost; `None` where they are whole.
    pub(crate) fn loss(&self) -> Option<String> {
        match self {
            Self::Refused(_) => None,
            Self::Unreadable { journal, from, to, reason, .. } => Some(format!(
                "records {from} to {to} of the audit journal {journal} cannot be read and are lost, because \
                 its file was damaged or changed: {reason}"
            )),
            Self::Lost { journal, shipped, reason, .. } => Some(format!(
                "the files of the audit journal {journal} are not those of which record {shipped} was \
                 shipped: {reason}"
            )),
        }
    }
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

    /// The row that replaces the record in the database: the letter is its payload, so that no sequence is
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

    /// The dead letter in such a row; `None` for any other row.
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

    /// The record itself; `None` where no journal has its kind.
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
        // When the next record follows directly, the bytes between the two are the damage.
        Self::Unreadable {
            journal,
            from: skipped.from,
            to: skipped.to.saturating_sub(1),
            reason: why.to_owned(),
            signature: None,
        }
    }

    /// The letter, signed where it says that records are lost.
    pub(super) fn signed(mut self, voucher: &Voucher) -> Self {
        let signed = voucher.lost(&self);
        if let Self::Unreadable { signature, .. } = &mut self {
            *signature = signed;
        }
        self
    }

    /// What a node signs about records that it could not read.
    pub(super) fn claim(&self) -> Option<Vec<u8>> {
        match self {
            Self::Unreadable { journal, from, to, reason, .. } => Some(
                [&journal.0, from.to_be_bytes().as_slice(), &to.to_be_bytes(), reason.as_bytes()].concat(),
            ),
            Self::Refused(_) | Self::Lost { .. } => None,
        }
    }

    /// How many records the letter represents.
    pub(super) fn records(&self) -> u64 {
        match self {
            Self::Refused(_) => 1,
            Self::Unreadable { from, to, .. } => to.saturating_add(1).saturating_sub(*from),
            Self::Lost { records, .. } => *records,
        }
    }

    /// Parses a line; `None` where it is not a dead letter.
    pub(crate) fn parse(line: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(line).ok()?;
        let number = |name: &str| value.get(name).and_then(Value::as_u64);
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let journal = JournalId(hex::decode_array(text("journal")?)?);
        let reason = text("reason")?.to_owned();
        if let (Some(from), Some(to)) = (number("from"), number("to")) {
            let signature = text("signature").map(str::to_owned);
            return Some(Self::Unreadable { journal, from, to, reason, signature });
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
            Self::Unreadable { journal, from, to, reason, signature } => json!({
                "journal": journal.to_string(),
                "from": from,
                "to": to,
                "reason": reason,
                "signature": signature,
            }),
            Self::Lost { journal, shipped, reason, .. } => {
                json!({ "journal": journal.to_string(), "shipped": shipped, "reason": reason })
            }
        }
    }
}

/// Appends letters to a file and syncs it before shipping continues, because their contents may be stored
/// nowhere else.
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
