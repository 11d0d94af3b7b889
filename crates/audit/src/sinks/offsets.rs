//! The offsets of the journals, in a file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use journal::{Hash, JournalId};
use model::hex;
use store::audit_db::Place;

/// The file: one journal per line, `JOURNAL SEQUENCE HASH`.
#[derive(Clone, Debug)]
pub(super) struct Offsets(PathBuf);

impl Offsets {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// The offset of a journal; `None` where there is none.
    pub(super) fn get(&self, journal: [u8; 16]) -> io::Result<Option<Place>> {
        Ok(self.read()?.get(&JournalId(journal)).copied())
    }

    /// Stores an offset.
    pub(super) fn set(&self, journal: [u8; 16], place: Place) -> io::Result<()> {
        let mut places = self.read()?;
        places.insert(JournalId(journal), place);
        let line = |(journal, place): (&JournalId, &Place)| {
            format!("{journal} {} {}\n", place.sequence, Hash(place.hash))
        };
        write(&self.0, &places.iter().map(line).collect::<String>())
    }

    fn read(&self) -> io::Result<BTreeMap<JournalId, Place>> {
        let text = match fs::read_to_string(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, format!("{} is damaged", self.0.display()));
        text.lines().map(|line| parse(line).ok_or_else(damaged)).collect()
    }
}

fn parse(line: &str) -> Option<(JournalId, Place)> {
    let mut words = line.split(' ');
    let journal = words.next()?;
    let sequence = words.next()?.parse().ok()?;
    let hash = words.next()?;
    Some((JournalId(hex::decode_array(journal)?), Place { sequence, hash: hex::decode_array(hash)? }))
}

/// Replaces the file atomically.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&next, path)
}
