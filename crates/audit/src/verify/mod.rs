//! Verifies the audit trail: recomputes the chain of hashes, in the files of a journal or in the database,
//! and compares it with signed checkpoints and with records that are known from elsewhere.
//!
//! It names the first record that was changed, removed or reordered, and changes nothing itself.

mod coverage;
pub mod database;
pub mod files;
mod finding;
pub mod heads;
mod set_aside;
mod stated;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use journal::{Checkpoint, Hash, Head, JournalId, ReadError};
use model::{Now, hex};
use protocol::sealed::checkpoint::{Succession, TrustedCheckpointKeys};
use protocol::sealed::keyring::Keyring;
use protocol::sealed::purpose::Purpose;

pub use self::finding::{Checked, Finding, Note, RowFault, SetAside, Source, Unsigned, Unvouched};
pub use self::set_aside::DeadLetters;

/// What a verification compares the trail with.
#[derive(Debug)]
pub struct Known {
    /// Heads that the operator names: a verification finds each of them, or says that its journal is missing.
    pub named: Vec<Head>,
    /// Heads that sinks kept. They are of every node, so those of another node's journal say nothing about
    /// files.
    pub kept: Vec<Head>,
    /// The signatures that count.
    pub signatures: Signatures,
    /// The time of the verification.
    pub now: Now,
}

/// The signatures of checkpoints, and the keys that tell which are right.
#[derive(Debug)]
pub struct Signatures {
    keys: TrustedCheckpointKeys,
    /// Whether what has no signature is accepted.
    unsigned_allowed: bool,
}

impl Signatures {
    /// Signatures by the keys of `keyring`; without one every signature counts as right.
    pub fn of(keyring: Option<&Keyring>) -> Self {
        Self { keys: keyring.map(TrustedCheckpointKeys::of).unwrap_or_default(), unsigned_allowed: false }
    }

    /// Accepts what has no signature; wrong signatures stay wrong.
    #[must_use]
    pub fn allow_unsigned(self, allowed: bool) -> Self {
        Self { unsigned_allowed: allowed, ..self }
    }

    /// Whether what has no signature is a finding.
    pub fn are_required(&self) -> bool {
        self.are_checked() && !self.unsigned_allowed
    }

    /// Whether one of the keys made this statement.
    fn confirm(&self, purpose: Purpose, claim: &[u8], statement: &[u8]) -> bool {
        self.keys.confirm_statement(purpose, claim, statement)
    }

    /// Adds the keys of lines that are not in the key file any more, for which a known key vouches.
    pub fn accept(&mut self, successions: &[Succession]) {
        self.keys.accept(successions);
    }

    /// Whether there are keys to check signatures with.
    pub fn are_checked(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether the signature of `checkpoint` is right; true where there is no key to tell.
    pub fn are_right(&self, checkpoint: &Checkpoint) -> bool {
        let (id, signature) = (&checkpoint.key_id, &checkpoint.signature);
        self.keys.is_empty() || self.keys.confirm(id, &checkpoint.message(), signature)
    }
}

/// A head as text: `JOURNAL:SEQUENCE:HASH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownHead(pub Head);

impl fmt::Display for KnownHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Head { journal, sequence, hash } = self.0;
        write!(f, "{journal}:{sequence}:{hash}")
    }
}

impl FromStr for KnownHead {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (journal, rest) = text.split_once(':')?;
            let (sequence, hash) = rest.split_once(':')?;
            Some(Head {
                journal: JournalId(hex::decode_array(journal.replace('-', ""))?),
                sequence: sequence.parse().ok()?,
                hash: Hash(hex::decode_array(hash)?),
            })
        };
        parse().map(Self).ok_or("a head is JOURNAL:SEQUENCE:HASH: 32 digits, a number, 64 digits")
    }
}

/// Why a verification could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database did not answer.
    #[error("{0}")]
    Store(#[from] store::Error),
    /// A file of heads or of dead letters cannot be read.
    #[error("{0} cannot be read: {1}")]
    File(PathBuf, #[source] io::Error),
    /// The first segment of this directory cannot be read.
    #[error("the journal in {0} cannot be read: {1}")]
    Journal(PathBuf, #[source] ReadError),
    /// The segments of this directory cannot be read.
    #[error("{0}: {1}")]
    Directory(PathBuf, #[source] io::Error),
    /// The checkpoint on this line of a file of heads has a wrong signature, or is none.
    #[error("{0}, line {1}: the signature is wrong")]
    Signature(PathBuf, u64),
    /// This file of heads has no line as the sinks write them.
    #[error("{0} has no line of a sink")]
    NoHeads(PathBuf),
}

#[cfg(test)]
mod tests;
