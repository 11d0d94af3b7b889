//! The file system as the writer uses it: a seam for tests with a disk that is full, broken or hangs.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// The directory to which segments are written. Readers do not use it.
pub trait Disk: Debug + Send {
    /// Opens a segment for writing; creates it, readable for its owner only, if it is missing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Segment>>;
    /// Opens an existing segment for writing.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Segment>>;
    /// Removes a segment.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Syncs creations and removals in a directory.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// A segment that is open for writing.
pub trait Segment: Debug + Send {
    /// Writes some of `bytes` at `offset`, and returns how many.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Truncates the file, or extends it with zeros.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
    /// The length of the file in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|bytes| bytes == 0)
    }
    /// Reads some bytes at `offset`, and returns how many.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Whether this path names the file.
    fn is_at(&self, path: &Path) -> io::Result<bool>;
    /// Syncs the file.
    fn sync(&mut self) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileSystem;

impl Disk for FileSystem {
    fn create(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Ok(Box::new(options.open(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        Ok(Box::new(OpenOptions::new().read(true).write(true).open(path)?))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

impl Segment for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(self, bytes, offset)
    }

    fn set_len(&mut self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, bytes, offset)
    }

    fn is_at(&self, path: &Path) -> io::Result<bool> {
        is_file_at(self, path)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether a path names an open file.
pub(crate) fn is_file_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The number of bytes written, and the error if not all were.
pub(crate) fn write_all(segment: &mut dyn Segment, bytes: &[u8], offset: u64) -> (usize, Option<io::Error>) {
    let mut done = 0;
    while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
        match segment.write_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => return (done, Some(io::ErrorKind::WriteZero.into())),
            Ok(written) => done = done.saturating_add(written).min(bytes.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}
