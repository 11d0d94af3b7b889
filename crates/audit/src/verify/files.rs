//! The chain as the files of this node have it.

use std::path::{Path, PathBuf};

use journal::{Hash, Head, JournalId, Report};
use store::audit_db::Audit;

use super::finding::{Checked, Finding, Note, Source};
use super::{Known, Signatures, VerifyError, database};

/// Verifies the journals in `directories`.
///
/// With a database, the files are compared with what the node of the name `node` shipped there. `progress`
/// gets the bytes that are done and those of the whole journal.
///
/// # Errors
/// When files cannot be read, or the database does not answer.
pub async fn verify(
    directories: &[PathBuf],
    node: &str,
    audit: Option<&Audit>,
    known: &Known,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Checked>, VerifyError> {
    let mut met = vec![false; known.named.len()];
    let mut all = Vec::new();

    for directory in directories {
        let Some(journal) = identity(directory)? else {
            all.push(unidentified(directory, &known.signatures, progress)?);
            continue;
        };
        let mut heads: Vec<Head> =
            known.kept.iter().filter(|head| head.journal == journal).copied().collect();
        for (head, met) in known.named.iter().zip(&mut met).filter(|(head, _)| head.journal == journal) {
            heads.push(*head);
            *met = true;
        }
        if let Some(audit) = audit {
            heads.extend(database::known_heads(audit, journal, &known.signatures).await?);
        }

        let mut checked = one(directory, &heads, &known.signatures, progress)?;
        if audit.is_none() {
            checked.notes.push(Note::NotCompared);
        }
        all.push(checked);
    }

    let missed = known.named.iter().zip(met).filter(|(_, met)| !met);
    all.extend(missed.map(|(head, _)| Checked::missing(*head, Source::Elsewhere)));
    if let (Some(audit), true) = (audit, all.iter().all(|one| one.journal.is_none())) {
        all.extend(shipped_by(audit, node).await?);
    }
    Ok(all)
}

/// The journals that a node shipped, as missing: where no file is left, only the database knows of them.
async fn shipped_by(audit: &Audit, node: &str) -> Result<Vec<Checked>, VerifyError> {
    let known = audit.journals().await?;
    let ours = known.iter().filter(|known| known.node == node);
    let missing = ours.map(|known| {
        let head = Head {
            journal: JournalId(known.id),
            sequence: known.shipped.sequence.unsigned_abs(),
            hash: Hash(known.shipped.hash),
        };
        Checked::missing(head, Source::Elsewhere)
    });
    Ok(missing.collect())
}

/// The journal of a directory; `None` where it has none.
fn identity(directory: &Path) -> Result<Option<JournalId>, VerifyError> {
    let mut reader = journal::Reader::open(directory);
    reader.read_up_to(0).map_err(|why| VerifyError::Journal(directory.to_owned(), why))?;
    Ok(reader.position().map(|head| head.journal))
}

/// A directory whose first segment does not say which journal it is of: it is empty, or damaged.
fn unidentified(
    directory: &Path,
    signatures: &Signatures,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, VerifyError> {
    let mut checked = one(directory, &[], signatures, progress)?;
    if checked.finding.is_none() {
        checked.notes.push(Note::Empty);
    }
    Ok(checked)
}

fn one(
    directory: &Path,
    heads: &[Head],
    signatures: &Signatures,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, VerifyError> {
    let told = |at: journal::Progress| progress(at.done, at.total);
    let report = journal::verify(directory, None, heads, |checkpoint| signatures.are_right(checkpoint), told);
    let report = report.map_err(|why| VerifyError::Directory(directory.to_owned(), why))?;
    let mut checked = Checked::of_report(directory, &report);
    checked.cover(&report.unsigned, signatures);
    Ok(checked)
}

impl Checked {
    fn of_report(directory: &Path, report: &Report) -> Self {
        let mut notes = Vec::new();
        if let Some(torn) = &report.torn {
            notes.push(Note::Torn { bytes: torn.bytes });
        }
        if report.start.is_some_and(|start| start.sequence > 0) {
            notes.push(Note::SegmentsRemoved);
        }

        let finding = report.finding.clone().map(|finding| {
            let file = segment(directory, finding.segment);
            Finding::Segment { finding, file }
        });
        Self {
            counts: report.counts,
            start: report.start,
            end: report.end,
            notes,
            finding,
            ..Self::new(report.journal, Source::Directory(directory.to_owned()))
        }
    }
}

/// The file of a segment.
fn segment(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{number:010}.journal"))
}
