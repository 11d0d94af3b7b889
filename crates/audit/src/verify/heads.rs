//! Heads that are known from elsewhere: what a sink kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::{Checkpoint, Hash, Head, JournalId, Time};
use model::hex;
use serde_json::Value;

use super::{Signatures, VerifyError};

/// The heads in a file of JSON Lines as the sinks write them.
///
/// These are the heads of every checkpoint, whose signature must be right, of the last record of each
/// journal, and of every record behind which a journal went back: what comes again must be the same.
///
/// # Errors
/// When the file cannot be read, a signature is wrong, or no line is one of a sink.
pub fn read(path: &Path, signatures: &Signatures) -> Result<Vec<Head>, VerifyError> {
    let unreadable = |why: io::Error| VerifyError::File(path.to_owned(), why);
    let file = BufReader::new(File::open(path).map_err(unreadable)?);
    let (mut heads, mut last) = (Vec::new(), BTreeMap::<JournalId, Head>::new());

    for (number, line) in (1..).zip(file.split(b'\n')) {
        let Ok(value) = serde_json::from_slice::<Value>(&line.map_err(unreadable)?) else { continue };
        let Some(head) = head(&value) else { continue };
        match last.get(&head.journal) {
            Some(known) if head.sequence <= known.sequence => {
                if heads.last() != Some(known) {
                    heads.push(*known);
                }
            }
            _ => {
                last.insert(head.journal, head);
            }
        }

        let Some(signed) = value.get("head").filter(|head| !head.is_null()) else { continue };
        let checkpoint = checkpoint(signed).filter(|checkpoint| signatures.are_right(checkpoint));
        let wrong = || VerifyError::Signature(path.to_owned(), number);
        heads.push(checkpoint.ok_or_else(wrong)?.head);
    }

    if last.is_empty() {
        return Err(VerifyError::NoHeads(path.to_owned()));
    }
    heads.extend(last.into_values());
    Ok(heads)
}

/// What a line or a head names.
fn head(value: &Value) -> Option<Head> {
    let text = |name: &str| value.get(name)?.as_str();
    Some(Head {
        journal: JournalId(hex::decode_array(text("journal")?)?),
        sequence: value.get("sequence")?.as_u64()?,
        hash: Hash(hex::decode_array(text("hash")?)?),
    })
}

fn checkpoint(value: &Value) -> Option<Checkpoint> {
    let text = |name: &str| value.get(name)?.as_str();
    Some(Checkpoint {
        head: head(value)?,
        previous: value.get("previous")?.as_u64()?,
        time: Time(value.get("time")?.as_i64()?),
        statement: STANDARD.decode(text("statement")?).ok()?,
        key_id: hex::decode(text("key")?)?,
        signature: STANDARD.decode(text("signature")?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn the_last_record_before_a_journal_went_back_is_a_head() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for (sequence, hash) in [(1, "a"), (2, "a"), (3, "a"), (2, "b"), (3, "b"), (4, "b")] {
            let (journal, hash) = ("0".repeat(32), hash.repeat(64));
            writeln!(file, r#"{{"journal":"{journal}","sequence":{sequence},"hash":"{hash}"}}"#).unwrap();
        }
        let heads = read(file.path(), &Signatures::of(None)).unwrap();
        let found: Vec<_> = heads.iter().map(|head| (head.sequence, head.hash.0[0])).collect();
        assert_eq!(found, [(3, 0xaa), (4, 0xbb)]);
    }
}
