//! What shippers have set aside, as their dead letters tell it.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use audit::{DeadLetter, Refused};
use journal::JournalId;

use super::Failure;

/// The letters of some files.
#[derive(Default)]
pub(super) struct Letters {
    refused: HashMap<(JournalId, u64), Refused>,
    unreadable: Vec<Unreadable>,
    lost: Vec<(JournalId, String)>,
}

/// Records that could not be read, first and last.
pub(super) struct Unreadable {
    journal: JournalId,
    from: u64,
    pub(super) to: u64,
    pub(super) reason: String,
}

/// What is known of a record that is missing.
pub(super) enum Found<'a> {
    /// It is whole.
    Refused(&'a Refused),
    /// It was lost, and others with it.
    Unreadable(&'a Unreadable),
}

impl Letters {
    /// Reads files; one that is not there has none. Lines that are no letters are gone over.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut letters = Self::default();
        for path in paths {
            let unreadable =
                |why: io::Error| Failure::failed(format!("{} cannot be read: {why}", path.display()));
            letters.add(path).map_err(unreadable)?;
        }
        Ok(letters)
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        for line in BufReader::new(file).split(b'\n') {
            match DeadLetter::parse(&line?) {
                Some(DeadLetter::Refused(refused)) => {
                    self.refused.insert((refused.journal, refused.sequence), refused);
                }
                Some(DeadLetter::Unreadable { journal, from, to, reason }) if from <= to => {
                    self.unreadable.push(Unreadable { journal, from, to, reason });
                }
                Some(DeadLetter::Lost { journal, shipped, reason, .. }) => {
                    self.lost.push((
                        journal,
                        format!("after record {shipped} the files were other ones: {reason}"),
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// When the files of a journal were not what had been shipped: put back from a copy, or short of their end.
    pub(super) fn losses(&self, journal: JournalId) -> impl Iterator<Item = &String> {
        self.lost.iter().filter(move |(of, _)| *of == journal).map(|(_, what)| what)
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
