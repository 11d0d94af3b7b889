//! Reads the members of a record of the journal, and converts the record to a row.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Checkpoint, Kind};
use model::{Now, UserUuid, hex};
use protocol::sealed::detail::DetailKeyId;
use serde_json::{Map, Value};
use store::audit_db;
use uuid::Uuid;

/// The kind of a checkpoint.
pub const CHECKPOINT: &str = "audit_checkpoint";
/// The kind of a record without a kind. It is shipped all the same, so that the chain stays complete.
const UNKNOWN: &str = "unknown";

/// The member that holds the sealed personal details.
pub(crate) const DETAIL: &str = "detail";

/// The members of a record, by name; one that is absent or has another shape is `None`.
#[derive(Default)]
pub(crate) struct Members(Value);

impl Members {
    /// The members of a payload; a payload that is not JSON has none.
    pub(crate) fn of(payload: &[u8]) -> Self {
        Self(serde_json::from_slice(payload).unwrap_or_default())
    }

    pub(crate) fn get(&self, member: &str) -> Option<&Value> {
        self.0.get(member)
    }

    pub(crate) fn kind(&self) -> Option<&str> {
        self.0.get("kind")?.as_str()
    }

    pub(crate) fn user(&self) -> Option<UserUuid> {
        Uuid::try_parse(self.0.get("user")?.as_str()?).ok().map(UserUuid)
    }

    pub(crate) fn request_id(&self) -> Option<&str> {
        self.0.get("request_id")?.as_str()
    }

    pub(crate) fn trace_id(&self) -> Option<&str> {
        self.0.get("trace_id")?.as_str()
    }

    /// The id of the detail key, and the sealed text.
    pub(crate) fn detail(&self) -> Option<(DetailKeyId, Vec<u8>)> {
        let detail = self.0.get(DETAIL)?;
        let id = hex::decode_array(detail.get("key")?.as_str()?)?;
        Some((id, STANDARD.decode(detail.get("sealed")?.as_str()?).ok()?))
    }

    /// All members; `None` where the payload is not an object.
    pub(crate) fn into_object(self) -> Option<Map<String, Value>> {
        match self.0 {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }
}

/// The row of a record; its columns are read from the payload.
pub fn of(journal: [u8; 16], record: &journal::Record<'_>) -> audit_db::Record {
    let members = match record.kind {
        Kind::Data => Members::of(record.payload),
        Kind::Checkpoint => Members::default(),
    };
    let kind = match record.kind {
        Kind::Data => members.kind().unwrap_or(UNKNOWN),
        Kind::Checkpoint => CHECKPOINT,
    };
    audit_db::Record {
        at: Now::from_micros(record.time.0),
        journal,
        sequence: signed(record.sequence),
        kind: kind.to_owned(),
        user: members.user(),
        request_id: members.request_id().map(str::to_owned),
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
