//! The chain as the files of this node have it.

use std::fs;
use std::path::{Path, PathBuf};

use journal::{Checkpoint, Hash, Head, JournalId, Report};
use store::audit_db::Audit;

use super::coverage::{Coverage, follow};
use super::finding::{Checked, Finding, Note, Source};
use super::stated::Stated;
use super::{Known, VerifyError, database};

/// Verifies the journals in `directories`, the server's first.
///
/// What the latest signed checkpoint of one of them states of another one has to be there. With a database,
/// the files are compared with what the node of the name `node` shipped there, and a stated journal that is
/// neither in the files nor there is missing. `progress` gets the bytes that are done and those of the whole
/// journal.
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
    let mut stated = Stated::default();
    for directory in directories {
        // A directory that cannot be read is a finding below.
        let _ = stated.read(directory, &known.signatures);
    }

    for directory in directories {
        let Some(start) = beginning(directory)? else {
            if directory.exists() || had_journal(directory) {
                all.push(unidentified(directory, known, progress)?);
            }
            continue;
        };
        let journal = start.journal;
        let mut heads: Vec<Head> =
            known.kept.iter().filter(|head| head.journal == journal).copied().collect();
        for (head, met) in known.named.iter().zip(&mut met).filter(|(head, _)| head.journal == journal) {
            heads.push(*head);
            *met = true;
        }
        heads.extend(stated.of(journal));
        if let Some(audit) = audit {
            heads.extend(database::known_heads(audit, journal, &known.signatures).await?);
        }

        let mut checked = one(directory, start.sequence, &heads, known, progress)?;
        if audit.is_none() {
            checked.notes.push(Note::NotCompared);
        }
        all.push(checked);
    }

    let missed = known.named.iter().zip(met).filter(|(_, met)| !met);
    all.extend(missed.map(|(head, _)| Checked::missing(*head, Source::Elsewhere)));
    // The first directory is the server's. Where it has no journal, every one of this node that only the
    // database knows of counts as missing.
    let is_first = |one: &Checked| {
        let place = directories.first().map(|directory| Source::Directory(directory.clone()));
        one.journal.is_some() && Some(&one.source) == place.as_ref()
    };
    if let (Some(audit), false) = (audit, all.iter().any(is_first)) {
        let missing = shipped_by(audit, node).await?;
        let is_there = |journal| all.iter().any(|one: &Checked| one.journal == journal);
        let missing: Vec<_> = missing.into_iter().filter(|one| !is_there(one.journal)).collect();
        all.extend(missing);
    }
    stated.compare_files(audit, &mut all).await?;
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

/// The record before the first one in a directory; `None` where it has no journal.
fn beginning(directory: &Path) -> Result<Option<Head>, VerifyError> {
    // What may not be looked at is an error, and not absent.
    let is_there = directory.try_exists();
    if !is_there.map_err(|why| VerifyError::Directory(directory.to_owned(), why))? {
        return Ok(None);
    }
    let mut reader = journal::Reader::open(directory);
    reader.read_up_to(0).map_err(|why| VerifyError::Journal(directory.to_owned(), why))?;
    Ok(reader.position())
}

/// A directory whose first segment does not say which journal it is of: it is not there, empty, or damaged.
fn unidentified(
    directory: &Path,
    known: &Known,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, VerifyError> {
    let had_one = had_journal(directory);
    let mut checked = if directory.exists() {
        one(directory, 0, &[], known, progress)?
    } else {
        Checked::new(None, Source::Directory(directory.to_owned()))
    };
    match checked.finding {
        Some(_) => {}
        None if had_one => checked.finding = Some(Finding::Empty),
        None => checked.notes.push(Note::Empty),
    }
    Ok(checked)
}

/// Whether the files beside the directory of a journal say that it had records: intents and detail keys are
/// written with them, and dead letters are about them. Files without content are made before any record.
fn had_journal(directory: &Path) -> bool {
    let Some(place) = directory.parent() else { return false };
    let has_more = |path: &Path, bytes: u64| fs::metadata(path).is_ok_and(|file| file.len() > bytes);
    let mut intents = fs::read_dir(place.join("intents")).into_iter().flatten().flatten();
    let has_intents = intents.any(|file| {
        let path = file.path();
        path.extension().is_some_and(|it| it == "journal") && has_more(&path, journal::HEADER_BYTES)
    });
    has_intents || ["keys", "dead-letter.jsonl"].iter().any(|name| has_more(&place.join(name), 0))
}

fn one(
    directory: &Path,
    start: u64,
    heads: &[Head],
    known: &Known,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, VerifyError> {
    let told = |at: journal::Progress| progress(at.done, at.total);
    let mut coverage = Coverage::behind(start);
    let is_right = |checkpoint: &Checkpoint| follow(&known.signatures, &mut coverage, checkpoint);
    let report = journal::verify(directory, None, heads, is_right, told);
    let report = report.map_err(|why| VerifyError::Directory(directory.to_owned(), why))?;
    let mut checked = Checked::of_report(directory, &report);
    checked.cover(&report.unsigned, coverage, known);
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
