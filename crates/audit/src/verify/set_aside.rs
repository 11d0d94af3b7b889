//! What shippers set aside, as their dead letters tell it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use journal::JournalId;
use model::hex;
use protocol::sealed::purpose::Purpose;

use super::finding::Note;
use super::{Signatures, VerifyError};
use crate::dead_letters::{DeadLetter, Refused};

/// The dead letters of some files.
#[derive(Debug, Default)]
pub struct DeadLetters {
    refused: HashMap<(JournalId, u64), Refused>,
    unreadable: Vec<Unreadable>,
    losses: Vec<(JournalId, Note)>,
}

/// Records that could not be read, first and last.
#[derive(Debug)]
pub(super) struct Unreadable {
    journal: JournalId,
    from: u64,
    pub(super) to: u64,
    pub(super) reason: String,
    claim: Vec<u8>,
    signature: Option<String>,
}

impl Unreadable {
    /// Whether the node has signed it.
    pub(super) fn is_signed(&self, signatures: &Signatures) -> bool {
        let signature = self.signature.as_deref().and_then(hex::decode);
        signature.is_some_and(|made| signatures.confirm(Purpose::AuditDeadLetter, &self.claim, &made))
    }
}

/// What is known of a record that is missing.
pub(super) enum Found<'a> {
    /// It is whole.
    Refused(&'a Refused),
    /// It was lost, and others with it.
    Unreadable(&'a Unreadable),
}

impl DeadLetters {
    /// Reads files; one that is not there has no dead letters. Lines that are none are left out.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(paths: &[PathBuf]) -> Result<Self, VerifyError> {
        let mut letters = Self::default();
        for path in paths {
            letters.add(path).map_err(|why| VerifyError::File(path.clone(), why))?;
        }
        Ok(letters)
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        for line in BufReader::new(file).split(b'\n') {
            let letter = DeadLetter::parse(&line?);
            let claim = letter.as_ref().and_then(DeadLetter::claim).unwrap_or_default();
            match letter {
                Some(DeadLetter::Refused(refused)) => {
                    self.refused.insert((refused.journal, refused.sequence), refused);
                }
                Some(DeadLetter::Unreadable { journal, from, to, reason, signature }) if from <= to => {
                    self.unreadable.push(Unreadable { journal, from, to, reason, claim, signature });
                }
                Some(DeadLetter::Lost { journal, shipped, reason, .. }) => {
                    self.losses.push((journal, Note::FilesChanged { shipped, reason }));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The times at which a shipper found other files of a journal than those that it had shipped from.
    pub(super) fn losses(&self, journal: JournalId) -> impl Iterator<Item = &Note> {
        self.losses.iter().filter(move |(of, _)| *of == journal).map(|(_, note)| note)
    }

    /// What they say of a record.
    pub(super) fn find(&self, journal: JournalId, sequence: u64) -> Option<Found<'_>> {
        if let Some(refused) = self.refused.get(&(journal, sequence)) {
            return Some(Found::Refused(refused));
        }
        let is_it = |one: &&Unreadable| one.journal == journal && (one.from..=one.to).contains(&sequence);
        self.unreadable.iter().find(is_it).map(Found::Unreadable)
    }
}
