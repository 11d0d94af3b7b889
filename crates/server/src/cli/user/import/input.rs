//! The file of an import, which is read more than once: to see its shape, to check it whole, and to import
//! it.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use super::super::super::Failure;
use crate::app::file_owner::as_operator;

const BUFFER: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// How files of other kinds begin, and what they are.
const OTHER_KINDS: [(&[u8], &str); 9] = [
    (b"\xff\xfe", "it is UTF-16: save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16: save it as UTF-8"),
    (b"\x1f\x8b", "it is compressed with gzip: unpack it"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd: unpack it"),
    (b"PK\x03\x04", "it is a ZIP archive or a spreadsheet: unpack it, or save it as CSV"),
    (b"SQLite format 3\0", "it is a database of SQLite: export its table of users as CSV or JSON"),
    (b"PGDMP", "it is a dump of pg_dump in its own format: export the table of users as CSV"),
    (b"--", "it is a dump in SQL: export the table of users as CSV or JSON"),
    (b"<?xml", "it is XML: export the users as CSV or JSON"),
];

/// A file that can be opened again. Standard input is copied into a file without a name first.
pub(super) struct Input {
    file: File,
    /// Its name, for messages.
    pub(super) name: String,
    /// Its size in bytes.
    pub(super) size: u64,
}

impl Input {
    /// Opens the file, or reads standard input to its end.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let name = path.display().to_string();
        let unreadable = |why: io::Error| Failure::unreadable(&name, &why);
        let file = if path == Path::new("-") {
            spooled().map_err(unreadable)?
        } else {
            let file = as_operator(|| File::open(path)).map_err(unreadable)?;
            let is_file = file.metadata().map_err(unreadable)?.is_file();
            if is_file { file } else { copied(file).map_err(unreadable)? }
        };
        let size = file.metadata().map_err(unreadable)?.len();
        Ok(Self { file, name, size })
    }

    /// Reads from the beginning, behind a byte order mark.
    ///
    /// # Errors
    /// When it cannot be read, or is a file of another kind; the text says of which.
    pub(super) fn reader(&self) -> Result<Box<dyn BufRead>, String> {
        let open = || {
            let mut file = self.file.try_clone()?;
            file.rewind()?;
            let mut first = Vec::new();
            io::Read::by_ref(&mut file).take(16).read_to_end(&mut first)?;
            file.rewind()?;
            Ok::<_, io::Error>((file, first))
        };
        let (mut file, first) = open().map_err(|why| why.to_string())?;
        if let Some((_, what)) = OTHER_KINDS.iter().find(|(start, _)| first.starts_with(start)) {
            return Err((*what).to_owned());
        }
        if first.contains(&0) {
            return Err("it is not text in UTF-8 (UTF-16 or UTF-32, perhaps): save it as UTF-8".to_owned());
        }
        if first.starts_with(BYTE_ORDER_MARK) {
            file.seek(io::SeekFrom::Start(BYTE_ORDER_MARK.len() as u64)).map_err(|why| why.to_string())?;
        }
        Ok(Box::new(BufReader::with_capacity(BUFFER, file)))
    }
}

fn spooled() -> io::Result<File> {
    copied(io::stdin().lock())
}

/// Copies into a file that only this process can read and that ends with it.
fn copied(mut from: impl io::Read) -> io::Result<File> {
    let folder = std::env::temp_dir();
    let path = (0..u32::MAX).map(|at| folder.join(format!("gatewright-import-{}-{at}", std::process::id())));
    for path in path {
        let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path);
        let mut file = match made {
            Err(why) if why.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        };
        std::fs::remove_file(&path)?;
        io::copy(&mut from, &mut file)?;
        file.flush()?;
        return Ok(file);
    }
    Err(io::Error::other("no name is free in the folder of temporary files"))
}
