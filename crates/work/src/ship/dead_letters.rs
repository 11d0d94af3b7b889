//! What could not be shipped, with its reason: JSON Lines.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Hash, JournalId, Skipped};
use serde_json::{Value, json};
use store::audit::Record;

/// One line.
pub(super) struct Letter {
    /// How many records it stands for.
    pub(super) records: u64,
    value: Value,
}

/// A record that the sink will never take.
pub(super) fn refused(record: &Record, why: &str) -> Letter {
    let value = json!({
        "journal": JournalId(record.journal).to_string(),
        "sequence": record.sequence,
        "time": record.at.micros(),
        "record_kind": record.record_kind,
        "payload": STANDARD.encode(&record.payload),
        "hash": Hash(record.hash).to_string(),
        "reason": why,
    });
    Letter { records: 1, value }
}

/// Records that cannot be read.
pub(super) fn unreadable(journal: JournalId, skipped: Skipped, why: &str) -> Letter {
    // Where the next one follows at once, it is what stands between them that is no record.
    let records = skipped.to.saturating_sub(skipped.from);
    let value = json!({
        "journal": journal.to_string(),
        "from": skipped.from,
        "to": skipped.to.saturating_sub(1),
        "reason": why,
    });
    Letter { records, value }
}

/// The journal is not what it was when it was last read.
pub(super) fn lost(journal: JournalId, last: u64, records: u64, why: &str) -> Letter {
    let value = json!({ "journal": journal.to_string(), "shipped": last, "reason": why });
    Letter { records, value }
}

/// The file.
pub(super) struct DeadLetters<'a>(&'a Path);

impl<'a> DeadLetters<'a> {
    pub(super) fn new(path: &'a Path) -> Self {
        Self(path)
    }

    /// Appends lines, and has them on disk before it goes on: nothing else has what they hold.
    pub(super) fn write(&self, letters: &[Letter]) -> io::Result<()> {
        let mut text = String::new();
        for letter in letters {
            tracing::error!(letter = %letter.value, "an audit record could not be shipped and was set aside");
            text.push_str(&letter.value.to_string());
            text.push('\n');
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(self.0)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}
