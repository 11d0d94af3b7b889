//! The file of the details' keys, followed into the database.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use auth::Visit;
use model::UserUuid;
use store::noun::audit_key::AuditKey;
use uuid::Uuid;

use super::blocking;
use crate::job::JobError;

/// Keys in one transaction.
const KEYS: usize = 200;

/// The file, and how far it was read. Each line is `KEYID USERUUID SEALED`.
pub(super) struct KeyFile {
    path: PathBuf,
    place: Place,
    /// Those that were shipped: a file written anew, as each erasure does, holds most of them again.
    shipped: HashSet<u64>,
}

/// How far: another file of this name is read from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    inode: u64,
    offset: u64,
}

/// A line: who, and the sealed key as it stands there.
pub(crate) struct Line {
    id: u64,
    pub(crate) user: UserUuid,
    sealed: Vec<u8>,
}

impl KeyFile {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), place: Place::default(), shipped: HashSet::new() }
    }

    /// Ships what is new: called after a batch was read, so that every key in it is in the file.
    pub(super) async fn ship(&mut self, visit: &mut Visit<'_>) -> Result<(), JobError> {
        loop {
            let (path, place) = (self.path.clone(), self.place);
            let read = blocking(move || read(&path, place, KEYS)).await?;
            let (place, mut lines) = read.map_err(|error| JobError::Audit(format!("the keys: {error}")))?;
            lines.retain(|line| !self.shipped.contains(&line.id));
            if !lines.is_empty() {
                let (now, ids) = (visit.now, lines.iter().map(|line| line.id).collect::<Vec<_>>());
                let keys = lines.into_iter().map(|line| {
                    let Line { id, user, sealed } = line;
                    AuditKey { id: id.to_be_bytes().to_vec(), user, sealed, created_at: now }
                });
                visit.lease.keep_audit_keys(keys.collect()).await?;
                self.shipped.extend(ids);
            }
            // Only now: what was not kept is read again.
            let is_through = place == self.place;
            self.place = place;
            if is_through {
                return Ok(());
            }
        }
    }
}

/// At most so many lines behind a place. A line without an end is not whole yet; one that is no key is gone over.
pub(crate) fn read(path: &Path, mut place: Place, most: usize) -> io::Result<(Place, Vec<Line>)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((place, Vec::new())),
        file => file?,
    };
    let about = file.metadata()?;
    if about.ino() != place.inode || about.len() < place.offset {
        place = Place { inode: about.ino(), offset: 0 };
    }
    file.seek(SeekFrom::Start(place.offset))?;
    let mut file = BufReader::new(file);
    let mut lines = Vec::new();
    let mut text = Vec::new();
    while lines.len() < most {
        text.clear();
        let length = file.read_until(b'\n', &mut text)?;
        if text.last() != Some(&b'\n') {
            break;
        }
        place.offset = place.offset.saturating_add(length as u64);
        if let Some(line) = parse(&text) {
            lines.push(line);
        } else {
            tracing::warn!(path = %path.display(), "a line of the audit keys is none");
        }
    }
    Ok((place, lines))
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let (id, user, sealed) = (words.next()?, words.next()?, words.next()?);
    let id = (id.len() == 16).then(|| u64::from_str_radix(id, 16).ok())??;
    let user = UserUuid(Uuid::try_parse(user).ok()?);
    let is_whole = words.next().is_none();
    is_whole.then(|| Line { id, user, sealed: sealed.as_bytes().to_vec() })
}
