//! Ships the file of the detail keys to the database.

use std::fs::{File, Metadata};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use model::{UserUuid, hex};
use protocol::sealed::detail::stored;
use store::queries::audit_key::{self, AuditKey};
use uuid::Uuid;

use super::{ShipContext, ShipError};
use crate::blocking;

/// Keys in one transaction.
const KEYS: usize = 500;
/// Bytes of about as many keys.
const KEYS_BYTES: u64 = 64 * 1024;

/// The file and the shipped position. Each line is `KEYID USERUUID SEALED`.
pub(super) struct KeyFileReader {
    path: PathBuf,
    /// None where it is not known: at the start, after a failure, and after the file was rewritten, as each
    /// erasure does.
    place: Option<KeyFilePosition>,
}

/// A position in one particular file: a new file of the same name is read from its beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyFilePosition {
    file: FileId,
    offset: u64,
}

/// Identifies the file: the inode numbers of removed files are reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FileId {
    inode: u64,
    created: Option<SystemTime>,
}

impl FileId {
    fn of(about: &Metadata) -> Self {
        Self { inode: about.ino(), created: about.created().ok() }
    }
}

/// A line: the user, and the sealed key as in the file.
pub struct Line {
    id: [u8; 8],
    /// The user whose details the key opens; nil for the key of unknown users.
    pub user: UserUuid,
    sealed: Vec<u8>,
}

impl KeyFileReader {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), place: None }
    }

    /// Ships the whole file with the next batch, because the database was replaced.
    pub(super) fn begin_again(&mut self) {
        self.place = Some(KeyFilePosition::default());
    }

    /// Asks the database again which keys it has: it may have been restored during an outage.
    pub(super) fn look_again(&mut self) {
        self.place = None;
    }

    /// Ships new keys. Called after a batch was read, so that every key of the batch is in the file.
    pub(super) async fn ship(&mut self, ctx: &mut ShipContext<'_>) -> Result<(), ShipError> {
        loop {
            let place = match self.place {
                None => self.behind_shipped(ctx).await?,
                Some(place) => place,
            };

            let path = self.path.clone();
            let (next, lines) =
                blocking(move || read(&path, place, KEYS)).await?.map_err(|error| unread(&error))?;
            let is_known = next.file == place.file || place == KeyFilePosition::default();
            if !is_known {
                if self.place.take().is_none() {
                    return Err(ShipError::Other("the keys: the file changes at each attempt".to_owned()));
                }
                continue;
            }

            let keys: Vec<_> = lines.into_iter().map(Line::key).collect();
            if !keys.is_empty() {
                ctx.lease.keep_audit_keys(keys, ctx.now).await?;
            }

            // Set only after success: keys that were not stored are read again.
            self.place = Some(next);
            if next == place {
                return Ok(());
            }
        }
    }

    /// The position of the first key that the database does not have. Keys are stored in the order of the
    /// file, so everything before a run of stored keys is stored too.
    async fn behind_shipped(&self, ctx: &mut ShipContext<'_>) -> Result<KeyFilePosition, ShipError> {
        let mut end = KeyFilePosition { offset: u64::MAX, ..KeyFilePosition::default() };
        loop {
            let path = self.path.clone();
            let (begin, last, lines) =
                blocking(move || read_back(&path, end)).await?.map_err(|error| unread(&error))?;
            if !lines.is_empty() {
                let missing = audit_key::missing(lines.iter().map(|line| line.id.as_slice()));
                let missing = ctx.lease.read().await?.all(missing).await;
                ctx.lease.park();
                if missing?.is_empty() {
                    return Ok(last);
                }
            }
            if begin.offset == 0 {
                return Ok(begin);
            }
            end = begin;
        }
    }
}

impl Line {
    fn key(self) -> AuditKey {
        let master_key = stored::sealed_by(&self.sealed).ok();
        AuditKey { id: self.id.to_vec(), user: self.user, sealed: self.sealed, master_key }
    }
}

fn unread(error: &io::Error) -> ShipError {
    ShipError::Other(format!("the keys: {error}"))
}

/// The whole lines of the part of a file that ends at a position: begin of the first, end of the last, and
/// the lines.
fn read_back(path: &Path, end: KeyFilePosition) -> io::Result<(KeyFilePosition, KeyFilePosition, Vec<Line>)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok((KeyFilePosition::default(), KeyFilePosition::default(), Vec::new()));
        }
        file => file?,
    };
    let about = file.metadata()?;
    let end = if FileId::of(&about) == end.file { end.offset.min(about.len()) } else { about.len() };
    let begin = end.saturating_sub(KEYS_BYTES);
    file.seek(SeekFrom::Start(begin))?;
    let mut part = Vec::new();
    file.take(end - begin).read_to_end(&mut part)?;
    // A part that does not begin with the file begins within a line.
    let cut = if begin == 0 { 0 } else { part.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
    let whole = part.iter().rposition(|byte| *byte == b'\n').map_or(cut, |at| at + 1);
    let place =
        |at: usize| KeyFilePosition { file: FileId::of(&about), offset: begin.saturating_add(at as u64) };
    let lines =
        part.get(cut..whole).unwrap_or_default().split(|byte| *byte == b'\n').filter_map(parse).collect();
    // A line longer than the part is invalid and skipped.
    Ok((place(if cut == whole { 0 } else { cut }), place(whole), lines))
}

/// At most that many lines after a position. A line without an end is not complete yet; an invalid line is
/// skipped.
pub fn read(
    path: &Path,
    mut place: KeyFilePosition,
    most: usize,
) -> io::Result<(KeyFilePosition, Vec<Line>)> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((place, Vec::new())),
        file => file?,
    };

    let about = file.metadata()?;
    let id = FileId::of(&about);
    if id != place.file || about.len() < place.offset {
        place = KeyFilePosition { file: id, offset: 0 };
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
            tracing::warn!(path = %path.display(), "a line of the audit key file is invalid");
        }
    }

    Ok((place, lines))
}

fn parse(line: &[u8]) -> Option<Line> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace();
    let id = words.next()?;
    let user = words.next()?;
    let sealed = words.next()?;
    let user = UserUuid(Uuid::try_parse(user).ok()?);
    let is_whole = words.next().is_none();
    is_whole.then_some(Line { id: hex::decode_array(id)?, user, sealed: sealed.as_bytes().to_vec() })
}
