//! The chain as the database has it.

use std::path::PathBuf;

use journal::{Chain, Checker, Checkpoint, Fault, Hash, Head, JournalId, Kind, Record, Time};
use model::Now;
use protocol::sealed::purpose::Purpose;
use store::audit_db::{self, Audit};

use super::coverage::{Coverage, follow};
use super::finding::{Checked, Finding, Note, RowFault, SetAside, Source, Unvouched};
use super::set_aside::{DeadLetters, Found};
use super::stated::Stated;
use super::{Known, Signatures, VerifyError};
use crate::dead_letters::Refused;
use crate::record::row::{self, signed};
use crate::statement::kept_claim;

/// Rows that are read at once.
const PAGE: i64 = 500;

/// Verifies every journal that the database has, and that it has each record of which a signed checkpoint
/// says that it was there: a checkpoint among the rows, or one of `local`, the journals of this node.
/// `progress` gets the records that are done and those of the whole journal; 0 where that is not known.
///
/// # Errors
/// When the database does not answer.
pub async fn verify(
    audit: &Audit,
    known: &Known,
    letters: &DeadLetters,
    local: &[PathBuf],
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<Checked>, VerifyError> {
    let heads = [known.named.as_slice(), &known.kept].concat();
    let mut all = Vec::new();
    let journals = audit.journals().await?;
    let mut stated = Stated::default();
    for journal in &journals {
        let mut checked = one(audit, journal, (&heads, known), letters, &mut stated, progress).await?;
        begin(&mut checked, journal, &known.signatures);
        all.push(checked);
    }
    for directory in local {
        stated.read(directory, &known.signatures)?;
    }
    stated.compare(audit, &journals, &mut all).await?;

    let is_there = |head: &Head| journals.iter().any(|journal| journal.id == head.journal.0);
    let missed = heads.into_iter().filter(|head| !is_there(head));
    all.extend(missed.map(|head| Checked::missing(head, Source::Database)));
    Ok(all)
}

/// What the database knows of a journal: its signed heads, as far as their signatures are right, and the last
/// record that came.
pub(super) async fn known_heads(
    audit: &Audit,
    journal: JournalId,
    signatures: &Signatures,
) -> Result<Vec<Head>, VerifyError> {
    let mut heads = Vec::new();
    if let Some(known) = audit.journal(journal.0).await? {
        heads.push(head(journal, known.shipped.sequence, known.shipped.hash));
    }
    let signed = signed_heads(audit, journal, 0).await?;
    heads.extend(signed.iter().filter_map(|row| confirmed(row, signatures)));
    Ok(heads)
}

async fn signed_heads(
    audit: &Audit,
    journal: JournalId,
    after: i64,
) -> Result<Vec<audit_db::Head>, VerifyError> {
    let (mut all, mut after) = (Vec::new(), after);
    loop {
        let page = audit.heads(journal.0, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = last.sequence;
        all.extend(page);
    }
}

/// What a row of heads vouches for, if its checkpoint says the same and is signed.
fn confirmed(row: &audit_db::Head, signatures: &Signatures) -> Option<Head> {
    let known = head(JournalId(row.journal), row.sequence, row.hash);
    let checkpoint = Checkpoint::parse(&row.checkpoint)?;
    (checkpoint.head == known && signatures.are_right(&checkpoint)).then_some(known)
}

fn head(journal: JournalId, sequence: i64, hash: [u8; 32]) -> Head {
    Head { journal, sequence: u64::try_from(sequence).unwrap_or(0), hash: Hash(hash) }
}

/// Checks where the rows of a journal begin: behind what retention removed, if a signed statement says so.
fn begin(checked: &mut Checked, journal: &audit_db::Journal, signatures: &Signatures) {
    if journal.kept.sequence == 0 {
        return;
    }
    let claim = kept_claim(journal.id, journal.kept);
    let proof = journal.kept_proof.as_deref().unwrap_or_default();
    if signatures.are_checked() && !signatures.confirm(Purpose::AuditKept, &claim, proof) {
        checked.unvouched.push(Unvouched::Kept(journal.kept.sequence.unsigned_abs()));
    }
}

/// The heads of a journal that are known from elsewhere, its last record, and its signed heads; else the
/// first signed head that is wrong.
async fn heads_of(
    audit: &Audit,
    journal: &audit_db::Journal,
    known: &[Head],
    signatures: &Signatures,
) -> Result<Result<Vec<Head>, Finding>, VerifyError> {
    let id = JournalId(journal.id);
    let mut heads: Vec<Head> = known.iter().filter(|head| head.journal == id).copied().collect();
    heads.push(head(id, journal.shipped.sequence, journal.shipped.hash));
    for row in signed_heads(audit, id, journal.kept.sequence.saturating_sub(1)).await? {
        let Some(head) = confirmed(&row, signatures) else {
            return Ok(Err(found(row.sequence, Some(row.at), RowFault::SignedHead)));
        };
        heads.push(head);
    }
    Ok(Ok(heads))
}

async fn one(
    audit: &Audit,
    journal: &audit_db::Journal,
    (heads, known): (&[Head], &Known),
    letters: &DeadLetters,
    stated: &mut Stated,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Checked, VerifyError> {
    let signatures = &known.signatures;
    let id = JournalId(journal.id);
    let start = match journal.kept.sequence {
        0 => Chain::new(id),
        sequence => Chain::after(head(id, sequence, journal.kept.hash)),
    };
    let mut checked = Checked::new(Some(id), Source::Node(journal.node.clone()));
    checked.start = Some(start.head());
    if journal.kept.sequence > 0 {
        checked.notes.push(Note::RowsRemoved);
    }
    checked.notes.extend(letters.losses(id).cloned());

    let heads = match heads_of(audit, journal, heads, signatures).await? {
        Ok(heads) => heads,
        Err(finding) => {
            checked.finding = Some(finding);
            return Ok(checked);
        }
    };
    let mut coverage = Coverage::behind(journal.kept.sequence.unsigned_abs());
    let is_right = |checkpoint: &Checkpoint| {
        let is_right = follow(signatures, &mut coverage, checkpoint);
        if is_right {
            stated.take(checkpoint);
        }
        is_right
    };
    let checker = match Checker::new(start, &heads, is_right) {
        Ok(checker) => checker,
        Err(fault) => {
            checked.finding = Some(found(journal.kept.sequence, None, RowFault::Chain(fault)));
            return Ok(checked);
        }
    };

    let (set_aside, lost) = (Vec::new(), Vec::new());
    let mut walk = Walk { journal: id, checker, letters, signatures, trusts: None, set_aside, lost };
    checked.finding = records(audit, journal, &mut walk, progress).await?;
    if checked.finding.is_none() {
        let last = journal.shipped.sequence.unsigned_abs();
        let finished = walk.finish(last);
        if matches!(finished, Err(Fault::CutTail { known }) if known > last) {
            checked.notes.push(Note::Behind { last });
        }
        let failed = |fault| found(signed(walk.next()), None, RowFault::Chain(fault));
        checked.finding = finished.err().map(failed);
    }
    checked.counts = walk.checker.counts();
    checked.end = Some(walk.checker.chain().head());
    checked.set_aside = walk.set_aside;
    checked.unvouched = walk.lost;
    let unsigned = walk.checker.unsigned();
    drop(walk.checker);
    if checked.finding.is_none() {
        checked.cover(&unsigned, coverage, known);
    }
    Ok(checked)
}

/// Goes along the chain, over what was set aside.
struct Walk<'a, F> {
    journal: JournalId,
    checker: Checker<F>,
    letters: &'a DeadLetters,
    signatures: &'a Signatures,
    /// What comes before this record was lost: it is taken as it is.
    trusts: Option<u64>,
    set_aside: Vec<SetAside>,
    /// The ranges of dead letters that no node has signed.
    lost: Vec<Unvouched>,
}

impl<F: FnMut(&Checkpoint) -> bool> Walk<'_, F> {
    /// The sequence of the record that comes next.
    fn next(&self) -> u64 {
        self.trusts.unwrap_or_else(|| self.checker.chain().next_sequence())
    }

    /// Takes a record.
    fn take(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        if self.trusts != Some(record.sequence) {
            return self.checker.check(record);
        }
        self.trusts = None;
        self.checker.resume(Head { journal: self.journal, sequence: record.sequence, hash: record.hash })
    }

    /// Takes a record that was set aside whole.
    fn take_aside(&mut self, letter: &Refused) -> Result<(), Fault> {
        let record = letter.record().ok_or(Fault::Changed)?;
        self.take(&record)?;
        let (from, to) = (letter.sequence, letter.sequence);
        self.set_aside.push(SetAside { from, to, reason: letter.reason.clone(), proved: true });
        Ok(())
    }

    /// Goes over what was set aside up to the last record, and checks that no known head is missing.
    fn finish(&mut self, last: u64) -> Result<(), Fault> {
        self.fill(last.saturating_add(1))?;
        self.checker.finish()
    }

    /// Goes over what was set aside before this record, as far as the dead letters tell; what they do not
    /// tell is missing, and the check of that record finds it.
    fn fill(&mut self, before: u64) -> Result<(), Fault> {
        let letters = self.letters;
        while self.next() < before {
            match letters.find(self.journal, self.next()) {
                Some(Found::Refused(letter)) => self.take_aside(letter)?,
                Some(Found::Unreadable(lost)) if lost.to < before => {
                    let from = self.next();
                    let to = lost.to;
                    let reason = lost.reason.clone();
                    self.set_aside.push(SetAside { from, to, reason, proved: false });
                    if self.signatures.are_checked() && !lost.is_signed(self.signatures) {
                        self.lost.push(Unvouched::DeadLetter { from, to });
                    }
                    self.trusts = Some(to.saturating_add(1));
                }
                _ => break,
            }
        }
        Ok(())
    }
}

/// Goes through the rows, to the first bad one.
async fn records<F: FnMut(&Checkpoint) -> bool>(
    audit: &Audit,
    journal: &audit_db::Journal,
    walk: &mut Walk<'_, F>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Option<Finding>, VerifyError> {
    let total = journal.shipped.sequence.saturating_sub(journal.kept.sequence);
    let total = u64::try_from(total).unwrap_or(0);
    // What is up to the place where the journal begins now may be there still, and proves nothing.
    let mut after = (journal.kept.sequence, Now::from_micros(i64::MAX));

    loop {
        let page = audit.chain(journal.id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = (last.sequence, last.at);
        for (at, row) in page.iter().enumerate() {
            let rest = page.get(at..).unwrap_or_default();
            if let Err((sequence, fault)) = one_row(journal, walk, row, rest) {
                return Ok(Some(found(signed(sequence), Some(row.at), fault)));
            }
        }
        progress(after.0.saturating_sub(journal.kept.sequence).unsigned_abs(), total);
    }
}

/// Checks one row, with those behind it; else where what is wrong.
fn one_row<F: FnMut(&Checkpoint) -> bool>(
    journal: &audit_db::Journal,
    walk: &mut Walk<'_, F>,
    row: &audit_db::Record,
    rest: &[audit_db::Record],
) -> Result<(), (u64, RowFault)> {
    let filled = walk.fill(u64::try_from(row.sequence).unwrap_or(0));
    let next = walk.next();
    filled.map_err(|fault| (next, RowFault::SetAside(fault)))?;
    if let Some(letter) = Refused::in_row(row) {
        return walk.take_aside(&letter).map_err(|fault| (next, RowFault::Chain(fault)));
    }

    let record = record(row, row.sequence).ok_or((next, RowFault::NoRecord))?;
    walk.take(&record).map_err(|fault| {
        let fault = match fault {
            Fault::Changed => moved(walk.checker.chain(), rest).unwrap_or(fault),
            other => other,
        };
        (next, RowFault::Chain(fault))
    })?;
    if row::of(journal.id, &record) != *row {
        return Err((next, RowFault::Columns));
    }
    Ok(())
}

/// A row as a record of this sequence.
fn record(row: &audit_db::Record, sequence: i64) -> Option<Record<'_>> {
    Some(Record {
        sequence: u64::try_from(sequence).ok()?,
        time: Time(row.at.micros()),
        kind: Kind::from_byte(u8::try_from(row.record_kind).ok()?)?,
        payload: &row.payload,
        hash: Hash(row.hash),
    })
}

/// Whether the record that belongs in the next place stands further on, under another number.
fn moved(chain: &Chain, rest: &[audit_db::Record]) -> Option<Fault> {
    let next = i64::try_from(chain.next_sequence()).ok()?;
    let fits = |row: &&audit_db::Record| {
        record(row, next).is_some_and(|record| {
            let mut chain = *chain;
            chain.check(&record).is_ok()
        })
    };
    let stray = rest.iter().skip(1).find(fits)?;
    Some(Fault::Reordered { found: u64::try_from(stray.sequence).ok()? })
}

fn found(sequence: i64, at: Option<Now>, fault: RowFault) -> Finding {
    Finding::Row { sequence, at, fault }
}
