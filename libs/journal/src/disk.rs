//! What a writer asks of the file system: a seam, so that a disk that is full, broken or hangs can be had in a test.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Where segments are written. Reading does not go through it.
pub trait Disk: Debug + Send {
    /// Opens a segment for writing; makes it, for its owner only, where there is none.
    fn create(&self, path: &Path) -> io::Result<Box<dyn Segment>>;
    /// Opens a segment for writing that exists.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Segment>>;
    /// Removes a segment.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes what was created and removed in a directory last.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;
}

/// A segment that is open for writing.
pub trait Segment: Debug + Send {
    /// Writes some of `bytes` at `offset`, and tells how many.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts the file, or lengthens it by zeros.
    fn set_len(&mut self, bytes: u64) -> io::Result<()>;
    /// The length of the file in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether nothing is in the file.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|bytes| bytes == 0)
    }
    /// Whether the file still has a name.
    fn is_linked(&self) -> io::Result<bool>;
    /// Makes what was written last.
    fn sync(&mut self) -> io::Result<()>;
}

/// The file system as it is.
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

    fn is_linked(&self) -> io::Result<bool> {
        self.metadata().map(|metadata| metadata.nlink() > 0)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// How many bytes were written, and why not all.
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
