//! Finds the highest user number that a journal names.

use std::path::Path;

use journal::{ReadError, Reader};
use model::{EventKind, UserId};
use serde_json::Value;
use uuid::Uuid;

use crate::record::row::Members;
use crate::statement::latest_statement;

/// The highest number of a user of `realm` that was registered or imported through the journal in
/// `directory`; `None` if the journal names no user. Blocks the thread.
///
/// Numbers grow, so the newest segment that names a user has the highest one. The segment before it is read
/// as well: two registrations at once may be recorded in either order. Retention may have removed the
/// segments that name users; the latest checkpoint states the highest number all the same.
///
/// # Errors
/// [`ReadError`]. A damaged record ends the search in its segment.
pub fn highest_user(directory: &Path, realm: Uuid) -> Result<Option<UserId>, ReadError> {
    let mut highest = None;
    let mut before = u64::MAX;
    let mut found = 0;
    let mut stated = latest_statement(directory).map_err(ReadError::Io)?;
    while before > 0 && found < 2 {
        let segment = match read_segment(directory, before, realm) {
            Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => break,
            segment => segment?,
        };
        highest = highest.max(segment.highest);
        if segment.is_first_of_realm {
            // Checkpoints may know the numbers of the realm before.
            stated = None;
            break;
        }
        found += u32::from(segment.highest.is_some());
        // The segment after `first` was read; the one before it ends there.
        before = if segment.first < before { segment.first } else { 0 };
    }
    Ok(highest.max(stated.and_then(|stated| stated.max_user_id)).map(UserId))
}

struct Segment {
    /// The sequence of the record before its first one.
    first: u64,
    highest: Option<i64>,
    /// Whether the realm begins in it; what is before belongs to another database.
    is_first_of_realm: bool,
}

/// Reads the segment with the record of sequence `last`, up to that record.
fn read_segment(directory: &Path, last: u64, realm: Uuid) -> Result<Segment, ReadError> {
    let mut reader = Reader::near(directory, last);
    reader.read_up_to(0)?;
    let first = reader.position().map_or(0, |head| head.sequence);
    let mut segment = Segment { first, highest: None, is_first_of_realm: false };

    loop {
        let record = match reader.read_up_to(last) {
            Ok(Some(record)) => record,
            Ok(None) | Err(ReadError::Damaged(_)) => return Ok(segment),
            Err(error) => return Err(error),
        };
        let members = Members::of(record.payload);
        let member = match members.kind() {
            Some(kind) if kind == EventKind::UserRegistered.as_str() => "number",
            Some(kind) if kind == EventKind::UsersImported.as_str() => "highest",
            Some(kind) if kind == EventKind::RealmOpened.as_str() => {
                if members.get("realm").and_then(Value::as_str) == Some(realm.to_string().as_str()) {
                    segment.highest = None;
                    segment.is_first_of_realm = true;
                }
                continue;
            }
            _ => continue,
        };
        segment.highest = segment.highest.max(members.get(member).and_then(Value::as_i64));
    }
}
