//! The chain with all that is known of it from outside, record by record, wherever the records come from.

use crate::chain::Chain;
use crate::checkpoint::Checkpoint;
use crate::fault::Fault;
use crate::record::{Head, Kind, Record};

/// Checks records in order: their chain, what known heads say, checkpoints and their signatures.
///
/// Records may come from files or from a table of a database that holds sequence, time, kind, payload and hash.
#[derive(Debug)]
pub struct Checker<F> {
    chain: Chain,
    /// Known heads that are still to come, the next one last.
    heads: Vec<Head>,
    counts: Counts,
    check_signature: F,
}

/// What a check went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records that fit, checkpoints among them.
    pub records: u64,
    /// Checkpoints that fit, and whose signatures are right.
    pub checkpoints: u64,
    /// Known heads that were met.
    pub heads: u64,
    /// Known heads from before where the check began, or of records that were lost, which say nothing.
    pub heads_before: u64,
}

impl<F: FnMut(&Checkpoint) -> bool> Checker<F> {
    /// Begins at a place in the chain that is taken for true, where no known head says otherwise.
    ///
    /// All heads must be of that journal. `check_signature` tells whether [`Checkpoint::signature`] is right.
    pub fn new(start: Chain, heads: &[Head], check_signature: F) -> Result<Self, Fault> {
        let at = start.head();
        if heads.iter().any(|head| head.journal != at.journal) {
            return Err(Fault::ForeignJournal { found: at.journal });
        }
        let mut heads = heads.to_vec();
        heads.sort_unstable_by_key(|head| std::cmp::Reverse(head.sequence));
        let mut checker = Self { chain: start, heads, counts: Counts::default(), check_signature };
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

    /// What was gone through so far.
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes the next record. After a fault the place is before it.
    pub fn check(&mut self, record: &Record<'_>) -> Result<(), Fault> {
        let before = self.chain;
        let result = self.chain.check(record).map_err(Fault::from);
        let result = result.and_then(|()| self.meet()).and_then(|()| match record.kind {
            Kind::Data => Ok(()),
            Kind::Checkpoint => self.checkpoint(&before, record.payload),
        });
        match result {
            Ok(()) => self.counts.records += 1,
            Err(_) => self.chain = before,
        }
        result
    }

    /// Goes on after a record that is taken for true: those before it were lost, and what is known of them is not met.
    ///
    /// # Errors
    /// [`Fault`] where the record is before the place, of another journal, or not the known one; the place stays.
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
        self.chain = Chain::after(at);
        self.meet()
    }

    /// After the last record: whether a known head is missing.
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

    fn checkpoint(&mut self, before: &Chain, payload: &[u8]) -> Result<(), Fault> {
        let checkpoint = Checkpoint::parse(payload).filter(|checkpoint| checkpoint.head == before.head());
        let checkpoint = checkpoint.ok_or(Fault::Checkpoint)?;
        if !(self.check_signature)(&checkpoint) {
            return Err(Fault::Signature { key_id: checkpoint.key_id });
        }
        self.counts.checkpoints += 1;
        Ok(())
    }
}
