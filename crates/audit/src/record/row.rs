//! Converts a record of the journal to a row.

use journal::{Checkpoint, Kind};
use model::{Now, UserUuid};
use serde_json::Value;
use store::audit_db;
use uuid::Uuid;

/// The kind of a checkpoint.
pub(crate) const CHECKPOINT: &str = "audit_checkpoint";
/// The kind of a record without a kind. It is shipped all the same, so that the chain stays complete.
const UNKNOWN: &str = "unknown";

/// The row of a record; its columns are read from the payload.
pub fn of(journal: [u8; 16], record: &journal::Record<'_>) -> audit_db::Record {
    let value = match record.kind {
        Kind::Data => serde_json::from_slice(record.payload).unwrap_or(Value::Null),
        Kind::Checkpoint => Value::Null,
    };
    let text = |name: &str| value.get(name).and_then(Value::as_str);
    let kind = match record.kind {
        Kind::Data => text("kind").unwrap_or(UNKNOWN),
        Kind::Checkpoint => CHECKPOINT,
    };
    audit_db::Record {
        at: Now::from_micros(record.time.0),
        journal,
        sequence: signed(record.sequence),
        kind: kind.to_owned(),
        user: text("user").and_then(|user| Uuid::try_parse(user).ok()).map(UserUuid),
        request_id: text("request_id").map(str::to_owned),
        record_kind: record.kind.byte().into(),
        payload: record.payload.to_vec(),
        hash: record.hash.0,
    }
}

/// The head that a checkpoint signs.
pub(crate) fn head(record: &journal::Record<'_>) -> Option<audit_db::Head> {
    let checkpoint = Checkpoint::parse(record.payload)?;
    Some(audit_db::Head {
        journal: checkpoint.head.journal.0,
        sequence: signed(checkpoint.head.sequence),
        hash: checkpoint.head.hash.0,
        checkpoint: record.payload.to_vec(),
        at: Now::from_micros(record.time.0),
    })
}

/// A sequence as a signed integer, for databases.
pub(crate) fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
