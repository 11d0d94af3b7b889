//! Checks the chain together with known heads and checkpoints, record by record, for records from any source.

use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::fault::Fault;
use crate::record::{Head, Kind, Record};

/// Checks records in order: their chain, known heads, checkpoints and their signatures.
///
/// Records may come from files or from a table of a database that holds sequence, time, kind, payload and
/// hash.
#[derive(Debug)]
pub struct Checker<F> {
    chain: Chain,
    /// Known heads not reached yet, the next one last.
    heads: Vec<Head>,
    counts: Counts,
    /// The sequence of the last checkpoint; `None` where it is not known.
    checkpoint: Option<u64>,
    /// Records that no checkpoint will cover any more, because records behind them were lost.
    unsigned: Vec<Stretch>,
    /// Records since the last checkpoint.
    tail: Option<Stretch>,
    check_signature: F,
}

/// Consecutive records that no checkpoint covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The sequence of the first of them.
    pub from: u64,
    /// The sequence of the last of them.
    pub to: u64,
}

/// The counts of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that fit, checkpoints among them.
    pub records: u64,
    /// Checkpoints that fit, with valid signatures.
    pub checkpoints: u64,
    /// Known heads that were confirmed.
    pub heads: u64,
    /// Known heads from before the start of the check, or of lost records, which prove nothing.
    pub heads_before: u64,
}

impl<F: FnMut(&Checkpoint) -> bool> Checker<F> {
    /// Begins at a position in the chain that is trusted, unless a known head says otherwise.
    ///
    /// All heads must be of that journal. `check_signature` returns whether [`Checkpoint::signature`] is
    /// valid.
    pub fn new(start: Chain, heads: &[Head], check_signature: F) -> Result<Self, Fault> {
        let at = start.head();
        if heads.iter().any(|head| head.journal != at.journal) {
            return Err(Fault::ForeignJournal { found: at.journal });
        }
        let mut heads = heads.to_vec();
        heads.sort_unstable_by_key(|head| std::cmp::Reverse(head.sequence));
        let mut checker = Self {
            chain: start,
            heads,
            counts: Counts::default(),
            checkpoint: (at.sequence == 0).then_some(0),
            unsigned: Vec::new(),
            tail: None,
            check_signature,
        };
        while checker.heads.pop_if(|head| head.sequence < at.sequence).is_some() {
            checker.counts.heads_before += 1;
        }
        checker.meet()?;
        Ok(checker)
    }

    /// The last record that fits.
    pub const fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The counts so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// The records that no checkpoint with a valid signature covers: a checkpoint covers every record before
    /// it, as far as the chain leads back.
    pub fn unsigned(&self) -> Vec<Stretch> {
        self.unsigned.iter().copied().chain(self.tail).collect()
    }

    /// Checks the next record. After a fault the position is before it.
    pub fn check(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let before = self.chain;
        let result = self.chain.check(record).map_err(Fault::from);
        let result = result.and_then(|()| self.meet()).and_then(|()| match record.kind {
            Kind::Data => Ok(()),
            Kind::Checkpoint => self.checkpoint(&before, record),
        });
        match result {
            Ok(()) => {
                self.counts.records += 1;
                self.tail = match record.kind {
                    Kind::Data => {
                        let from = self.tail.map_or(record.sequence, |tail| tail.from);
                        Some(Stretch { from, to: record.sequence })
                    }
                    Kind::Checkpoint => None,
                };
            }
            Err(_) => self.chain = before,
        }
        result
    }

    /// Continues after a record that is trusted: the records before it were lost, and known heads among them
    /// are not confirmed.
    ///
    /// # Errors
    /// [`Fault`] if the record is before the position, of another journal, or not the known one; the position
    /// stays.
    pub fn resume(&mut self, at: Head) -> Result<(), Fault> {
        let here = self.chain.head();
        if at.journal != here.journal {
            return Err(Fault::ForeignJournal { found: at.journal });
        }
        if at.sequence <= here.sequence {
            return Err(Fault::Reordered { found: at.sequence });
        }
        let known = self.heads.iter().find(|head| head.sequence == at.sequence);
        if known.is_some_and(|known| known.hash != at.hash) {
            return Err(Fault::Rewritten);
        }
        while self.heads.pop_if(|head| head.sequence < at.sequence).is_some() {
            self.counts.heads_before += 1;
        }
        self.unsigned.extend(self.tail.take());
        self.checkpoint = None;
        self.chain = Chain::after(at);
        self.meet()
    }

    /// After the last record: checks that no known head is missing.
    pub fn finish(&self) -> Result<(), Fault> {
        match self.heads.first() {
            Some(furthest) => Err(Fault::CutTail { known: furthest.sequence }),
            None => Ok(()),
        }
    }

    fn meet(&mut self) -> Result<(), Fault> {
        let here = self.chain.head();
        while let Some(known) = self.heads.pop_if(|head| head.sequence == here.sequence) {
            if known.hash != here.hash {
                return Err(Fault::Rewritten);
            }
            self.counts.heads += 1;
        }
        Ok(())
    }

    fn checkpoint(&mut self, before: &Chain, record: &Record<'_>) -> Result<(), Fault> {
        let checkpoint = Checkpoint::parse(record.payload);
        let checkpoint = checkpoint.filter(|checkpoint| checkpoint.head == before.head());
        let checkpoint = checkpoint.ok_or(Fault::Checkpoint)?;
        let previous = checkpoint.previous;
        if previous != 0 && self.checkpoint.is_some_and(|last| last != previous) {
            return Err(Fault::CheckpointMissing { previous });
        }
        if !(self.check_signature)(&checkpoint) {
            return Err(Fault::Signature { key_id: checkpoint.key_id });
        }
        self.counts.checkpoints += 1;
        self.checkpoint = Some(record.sequence);
        Ok(())
    }
}
