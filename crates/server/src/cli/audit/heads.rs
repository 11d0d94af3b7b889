//! Heads that are known from elsewhere: what a sink has kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Checkpoint, Hash, Head, JournalId, Time};
use serde_json::Value;

use super::Failure;
use super::verify::{Signatures, bytes};

/// The heads in a file of JSON Lines as the sinks write them: of every checkpoint, whose signature must be right, and
/// of the last record of each journal.
///
/// # Errors
/// Where the file cannot be read, a signature is wrong, or no line is one of a sink.
pub(super) fn read(path: &Path, signatures: &Signatures) -> Result<Vec<Head>, Failure> {
    let unreadable =
        |why: std::io::Error| Failure::failed(format!("{} cannot be read: {why}", path.display()));
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut heads, mut last) = (Vec::new(), BTreeMap::<JournalId, Head>::new());
    for (number, line) in (1..).zip(file.split(b'\n')) {
        let Ok(value) = serde_json::from_slice::<Value>(&line.map_err(unreadable)?) else { continue };
        let Some(head) = head(&value) else { continue };
        if last.get(&head.journal).is_none_or(|known| known.sequence < head.sequence) {
            last.insert(head.journal, head);
        }
        let Some(signed) = value.get("head").filter(|head| !head.is_null()) else { continue };
        let checkpoint = checkpoint(signed).filter(|checkpoint| signatures.are_right(checkpoint));
        let wrong = || Failure::failed(format!("{}, line {number}: the signature is wrong", path.display()));
        heads.push(checkpoint.ok_or_else(wrong)?.head);
    }
    if last.is_empty() {
        return Err(Failure::failed(format!("{} has no line of a sink", path.display())));
    }
    heads.extend(last.into_values());
    Ok(heads)
}

/// What a line or a head names.
fn head(value: &Value) -> Option<Head> {
    let text = |name: &str| value.get(name)?.as_str();
    Some(Head {
        journal: JournalId(bytes(text("journal")?)?),
        sequence: value.get("sequence")?.as_u64()?,
        hash: Hash(bytes(text("hash")?)?),
    })
}

fn checkpoint(value: &Value) -> Option<Checkpoint> {
    let text = |name: &str| value.get(name)?.as_str();
    let key = text("key")?;
    let digits = (0..key.len()).step_by(2).map(|at| u8::from_str_radix(key.get(at..at + 2)?, 16).ok());
    Some(Checkpoint {
        head: head(value)?,
        time: Time(value.get("time")?.as_i64()?),
        key_id: digits.collect::<Option<_>>()?,
        signature: STANDARD.decode(text("signature")?).ok()?,
    })
}
