//! The chain as the database has it.

use journal::{Chain, Checker, Checkpoint, Counts, Fault, Hash, Head, JournalId, Kind, Record, Time};
use model::Now;
use serde_json::{Value, json};
use store::audit_db::{self, Audit};

use audit::Refused;

use super::super::progress::Progress;
use super::dead_letters::{Found, Letters};
use super::verify::Signatures;
use super::{Failure, PAGE};

/// What became of one journal.
pub(super) struct Checked {
    pub(super) journal: Option<JournalId>,
    /// Where it is.
    pub(super) source: String,
    pub(super) counts: Counts,
    /// The record before the first that is proved, and the last that is.
    pub(super) start: Option<Head>,
    pub(super) end: Option<Head>,
    pub(super) notes: Vec<String>,
    /// What was set aside when it was shipped.
    pub(super) set_aside: Vec<SetAside>,
    /// The first bad thing, for people and for programs.
    pub(super) bad: Option<(String, Value)>,
}

/// Records that are not there as the others are, and why.
pub(super) struct SetAside {
    from: u64,
    to: u64,
    reason: String,
    /// Their bytes were there, and fit the chain; else they are lost.
    proved: bool,
}

impl SetAside {
    fn value(&self) -> Value {
        json!({"from": self.from, "to": self.to, "reason": self.reason, "proved": self.proved})
    }

    pub(super) fn line(&self) -> String {
        let Self { from, to, reason, proved } = self;
        if *proved {
            format!("record {from} was set aside, and its bytes are proved: {reason}")
        } else {
            format!(
                "records {from} to {to} could not be read and are lost, and the next one is taken as it is: {reason}"
            )
        }
    }
}

impl Checked {
    pub(super) fn empty(
        journal: Option<JournalId>,
        source: String,
        notes: Vec<String>,
        bad: Option<(String, Value)>,
    ) -> Self {
        let (counts, set_aside) = (Counts::default(), Vec::new());
        Self { journal, source, counts, start: None, end: None, notes, set_aside, bad }
    }

    /// What is wrong, in one line.
    pub(super) fn complaint(&self) -> Option<String> {
        let (text, _) = self.bad.as_ref()?;
        let journal = self.journal.map_or_else(|| "a journal".to_owned(), |id| format!("journal {id}"));
        Some(format!("{journal}, {text}"))
    }

    pub(super) fn value(&self) -> Value {
        let head = |head: Head| json!({"sequence": head.sequence, "hash": head.hash.to_string()});
        json!({
            "journal": self.journal.map(|id| id.to_string()),
            "source": self.source,
            "records": self.counts.records,
            "checkpoints": self.counts.checkpoints,
            "heads": self.counts.heads,
            "heads_before": self.counts.heads_before,
            "start": self.start.map(head),
            "end": self.end.map(head),
            "notes": self.notes,
            "set_aside": self.set_aside.iter().map(SetAside::value).collect::<Vec<_>>(),
            "finding": self.bad.as_ref().map(|(_, place)| place.clone()),
        })
    }
}

/// Verifies every journal that the database has.
pub(super) async fn all(
    audit: &Audit,
    known: &[Head],
    signatures: &Signatures,
    letters: &Letters,
) -> Result<Vec<Checked>, Failure> {
    let mut all = Vec::new();
    let journals = audit.journals().await?;
    for journal in &journals {
        all.push(one(audit, journal, known, signatures, letters).await?);
    }
    for head in known.iter().filter(|head| journals.iter().all(|journal| journal.id != head.journal.0)) {
        let text = format!("record {}: it is known, and nothing of its journal is there", head.sequence);
        let place = json!({"sequence": head.sequence, "what": "nothing of the journal is there"});
        all.push(Checked::empty(Some(head.journal), "database".to_owned(), Vec::new(), Some((text, place))));
    }
    Ok(all)
}

/// What the database knows of a journal: its signed heads, as far as their signatures are right, and the last record
/// that came.
pub(super) async fn heads(
    audit: &Audit,
    journal: JournalId,
    signatures: &Signatures,
) -> Result<Vec<Head>, Failure> {
    let mut heads = Vec::new();
    if let Some(known) = audit.journal(journal.0).await? {
        heads.push(head(journal, known.shipped.sequence, known.shipped.hash));
    }
    for signed in signed_heads(audit, journal, 0).await? {
        if let Some(head) = confirmed(&signed, signatures) {
            heads.push(head);
        }
    }
    Ok(heads)
}

async fn signed_heads(audit: &Audit, journal: JournalId, after: i64) -> Result<Vec<audit_db::Head>, Failure> {
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

async fn one(
    audit: &Audit,
    journal: &audit_db::Journal,
    known: &[Head],
    signatures: &Signatures,
    letters: &Letters,
) -> Result<Checked, Failure> {
    let id = JournalId(journal.id);
    let start = match journal.kept.sequence {
        0 => Chain::new(id),
        sequence => Chain::after(head(id, sequence, journal.kept.hash)),
    };
    let mut checked = Checked::empty(Some(id), format!("database, node {}", journal.node), Vec::new(), None);
    checked.start = Some(start.head());
    if journal.kept.sequence > 0 {
        checked.notes.push("older records were removed, and what they held is not proved".to_owned());
    }
    checked.notes.extend(letters.losses(id).cloned());
    let mut heads: Vec<Head> = known.iter().filter(|head| head.journal == id).copied().collect();
    heads.push(head(id, journal.shipped.sequence, journal.shipped.hash));
    for row in signed_heads(audit, id, journal.kept.sequence.saturating_sub(1)).await? {
        let Some(head) = confirmed(&row, signatures) else {
            let what = "the signed head of it was changed, or its signature is wrong";
            checked.bad = Some(found(row.sequence, Some(row.at), what));
            return Ok(checked);
        };
        heads.push(head);
    }
    let checker = Checker::new(start, &heads, |checkpoint| signatures.are_right(checkpoint));
    let checker = match checker {
        Ok(checker) => checker,
        Err(fault) => {
            checked.bad = Some(found(journal.kept.sequence, None, &fault.to_string()));
            return Ok(checked);
        }
    };
    let mut walk = Walk { journal: id, checker, letters, trusts: None, set_aside: Vec::new() };
    checked.bad = records(audit, journal, &mut walk).await?;
    if checked.bad.is_none() {
        let last = u64::try_from(journal.shipped.sequence).unwrap_or(0);
        let finished = walk.fill(last.saturating_add(1)).and_then(|()| walk.checker.finish());
        if let Err(Fault::CutTail { known }) = &finished
            && *known > last
        {
            let note = format!(
                "it was told of {last} records: what is behind them was cut off, or has not come from the node yet"
            );
            checked.notes.push(note);
        }
        checked.bad = finished.err().map(|fault| found(signed(walk.next()), None, &fault.to_string()));
    }
    checked.counts = walk.checker.counts();
    checked.end = Some(walk.checker.chain().head());
    checked.set_aside = walk.set_aside;
    Ok(checked)
}

type Bad = (String, Value);

/// Goes along the chain, over what was set aside.
struct Walk<'a, F> {
    journal: JournalId,
    checker: Checker<F>,
    letters: &'a Letters,
    /// What comes before this record was lost: it is taken as it is.
    trusts: Option<u64>,
    set_aside: Vec<SetAside>,
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

    /// Goes over what was set aside before this record, as far as the dead letters tell; what they do not tell is
    /// missing, and shows with that record.
    fn fill(&mut self, before: u64) -> Result<(), Fault> {
        let letters = self.letters;
        while self.next() < before {
            match letters.find(self.journal, self.next()) {
                Some(Found::Refused(letter)) => self.take_aside(letter)?,
                Some(Found::Unreadable(lost)) if lost.to < before => {
                    let (from, to, reason) = (self.next(), lost.to, lost.reason.clone());
                    self.set_aside.push(SetAside { from, to, reason, proved: false });
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
) -> Result<Option<Bad>, Failure> {
    let total = journal.shipped.sequence.saturating_sub(journal.kept.sequence);
    let mut progress = Progress::begin(u64::try_from(total).ok());
    // What is up to the place where the journal begins now may be there still, and proves nothing.
    let mut after = (journal.kept.sequence, Now::from_micros(i64::MAX));
    loop {
        let page = audit.chain(journal.id, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(None) };
        after = (last.sequence, last.at);
        for (at, row) in page.iter().enumerate() {
            if let Err((sequence, what)) = one_row(journal, walk, row, page.get(at..).unwrap_or_default()) {
                return Ok(Some(found(signed(sequence), Some(row.at), &what)));
            }
        }
        let done = after.0.saturating_sub(journal.kept.sequence);
        progress.show(done.unsigned_abs(), &format!("{} records", walk.checker.counts().records));
    }
}

/// One row, with those behind it; else where what is wrong.
fn one_row<F: FnMut(&Checkpoint) -> bool>(
    journal: &audit_db::Journal,
    walk: &mut Walk<'_, F>,
    row: &audit_db::Record,
    rest: &[audit_db::Record],
) -> Result<(), (u64, String)> {
    let filled = walk.fill(u64::try_from(row.sequence).unwrap_or(0));
    let next = walk.next();
    let other = |fault| format!("it was set aside, but not as it stood in the journal: {fault}");
    filled.map_err(|fault| (next, other(fault)))?;
    if let Some(letter) = Refused::in_row(row) {
        return walk.take_aside(&letter).map_err(|fault| (next, fault.to_string()));
    }
    let record =
        record(row, row.sequence).ok_or_else(|| (next, "it is no record of a journal".to_owned()))?;
    walk.take(&record).map_err(|fault| match fault {
        Fault::Changed => (next, moved(walk.checker.chain(), rest).unwrap_or(fault).to_string()),
        other => (next, other.to_string()),
    })?;
    if audit::row(journal.id, &record) != *row {
        return Err((next, "its columns do not say what its payload says".to_owned()));
    }
    Ok(())
}

/// A sequence as databases count.
fn signed(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
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

fn found(sequence: i64, at: Option<Now>, what: &str) -> Bad {
    let row = at.map_or_else(String::new, |at| format!(" (the row of {at})"));
    let place = json!({"sequence": sequence, "at": at, "what": what});
    (format!("record {sequence}{row}: {what}"), place)
}
