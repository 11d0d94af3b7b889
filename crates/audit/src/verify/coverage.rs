//! Which records the signed checkpoints of one journal vouch for.
//!
//! How much may be unsigned rests on what a forger without a key cannot write: the times and statements of
//! signed checkpoints, the time of the verification itself, and heads that the operator names.

use std::time::Duration;

use journal::{Checkpoint, Head, Stretch};
use model::Now;

use super::finding::{Checked, Note, Unsigned, Unvouched};
use super::{Known, Signatures};
use crate::statement::Statement;

/// The longest time that records of a working journal stay without a checkpoint, which comes every minute;
/// and their greatest number, since a checkpoint comes after every 8192 records, and a queue holds as many.
const UNSIGNED_TIME: Duration = Duration::from_mins(2);
const UNSIGNED_RECORDS: u64 = 20_000;

/// Follows the signed checkpoints of a journal.
#[derive(Debug)]
pub(super) struct Coverage {
    /// The sequence and the time of the last one; no time where it is not there.
    last: (u64, Option<Now>),
    /// What checkpoints cover that the process which signed them did not write.
    adopted: Vec<Unsigned>,
    /// The first record of a process that began the journal in a realm whose earlier records were gone.
    past_missing: Option<u64>,
}

impl Coverage {
    /// Of a journal whose records begin behind this sequence.
    pub(super) fn behind(sequence: u64) -> Self {
        Self { last: (sequence, None), adopted: Vec::new(), past_missing: None }
    }

    /// Takes the next checkpoint, whose signature is right.
    pub(super) fn take(&mut self, checkpoint: &Checkpoint) {
        let (covered, since) = self.last;
        let covered = covered.max(checkpoint.previous);
        let until = Now::from_micros(checkpoint.time.0);
        let statement = Statement::parse(&checkpoint.statement).unwrap_or_default();
        let found = statement.found;
        if statement.past_missing {
            self.past_missing.get_or_insert(found.saturating_add(1));
        }
        if found > covered {
            let from = covered.saturating_add(1);
            self.adopted.push(Unsigned { from, to: found, since, until });
        }
        self.last = (checkpoint.head.sequence.saturating_add(1), Some(until));
    }
}

impl Unsigned {
    /// Without the records up to one that the operator vouches for; `None` where none is left.
    fn behind(self, named: u64) -> Option<Self> {
        let from = self.from.max(named.saturating_add(1));
        (from <= self.to).then_some(Self { from, ..self })
    }

    /// Whether a writer that signs each minute leaves as much behind its last checkpoint.
    fn is_usual(&self) -> bool {
        let between = |since: Now| self.until.since(since) + since.since(self.until);
        let records = self.to.saturating_sub(self.from).saturating_add(1);
        self.since.is_some_and(|since| between(since) <= UNSIGNED_TIME) && records <= UNSIGNED_RECORDS
    }
}

impl Checked {
    /// Notes the records that no checkpoint covers, and those that one covers which did not write them: as
    /// unvouched for where they are more than a writer that is killed leaves, by the signed times around
    /// them; else as a note. A verification is the end of the time of the last ones.
    pub(super) fn cover(&mut self, unsigned: &[Stretch], coverage: Coverage, known: &Known) {
        if !known.signatures.are_checked() {
            return self.notes.push(Note::NothingVouched);
        }
        let named = self.named(known);
        let end = self.end.map_or(0, |end| end.sequence);
        if coverage.past_missing.is_some_and(|first| first > named) {
            self.unvouched.push(Unvouched::Past);
        }
        for found in coverage.adopted.into_iter().filter_map(|found| found.behind(named)) {
            if found.is_usual() {
                self.notes.push(Note::Adopted(found));
            } else {
                self.unvouched.push(Unvouched::Adopted(found));
            }
        }

        let (_, since) = coverage.last;
        for stretch in unsigned {
            let records = Unsigned { from: stretch.from, to: stretch.to, since, until: known.now };
            let Some(records) = records.behind(named) else { continue };
            if records.to >= end && records.is_usual() {
                self.notes.push(Note::NotSignedYet(records));
            } else {
                self.unvouched.push(Unvouched::Records(records));
            }
        }
    }

    /// The last record of this journal that the operator vouches for, as every record before it is proved by
    /// the chain; 0 where there is none, or where the chain has a hole.
    fn named(&self, known: &Known) -> u64 {
        let is_whole = self.set_aside.iter().all(|one| one.proved) && self.finding.is_none();
        let heads = known.named.iter().chain(&known.kept);
        let ours = heads.filter(|head: &&Head| is_whole && Some(head.journal) == self.journal);
        ours.map(|head| head.sequence).max().unwrap_or(0)
    }
}

/// Checks the signature of a checkpoint, and follows those that are right.
pub(super) fn follow(signatures: &Signatures, coverage: &mut Coverage, checkpoint: &Checkpoint) -> bool {
    let is_right = signatures.are_right(checkpoint);
    if is_right {
        coverage.take(checkpoint);
    }
    is_right
}
