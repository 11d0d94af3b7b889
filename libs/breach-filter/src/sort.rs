//! Sorting more hashes than fit into memory: runs in files, and a merge of them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Hashes in any order, with a bound on the number in memory.
#[derive(Debug)]
pub struct Sorter {
    folder: PathBuf,
    most: usize,
    pending: Vec<u64>,
    runs: Vec<File>,
}

/// One sorted sequence of hashes.
type Run = Box<dyn Iterator<Item = io::Result<u64>>>;

impl Sorter {
    /// Sorts `most` hashes at a time, of eight bytes each, and keeps sorted runs in unnamed files in
    /// `folder`.
    pub fn new(folder: &Path, most: usize) -> Self {
        Self { folder: folder.to_owned(), most: most.max(1), pending: Vec::new(), runs: Vec::new() }
    }

    /// Adds a hash.
    ///
    /// # Errors
    /// If a file cannot be created or written.
    pub fn push(&mut self, hash: u64) -> io::Result<()> {
        self.pending.push(hash);
        if self.pending.len() >= self.most {
            self.spill()?;
        }
        Ok(())
    }

    /// All hashes in ascending order, with duplicates.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn finish(mut self) -> io::Result<Merge<Run>> {
        self.pending.sort_unstable();
        let mut runs: Vec<Run> = vec![Box::new(self.pending.into_iter().map(Ok))];
        for mut file in self.runs {
            file.seek(SeekFrom::Start(0))?;
            let mut from = BufReader::with_capacity(1 << 18, file);
            runs.push(Box::new(std::iter::from_fn(move || {
                let mut bytes = [0; 8];
                match from.read_exact(&mut bytes) {
                    Ok(()) => Some(Ok(u64::from_le_bytes(bytes))),
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
                    Err(error) => Some(Err(error)),
                }
            })));
        }
        Merge::new(runs)
    }

    fn spill(&mut self) -> io::Result<()> {
        self.pending.sort_unstable();
        let name = format!(".hashes-{}-{}", std::process::id(), self.runs.len());
        let path = self.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        // The file is removed when it is closed, in every case.
        std::fs::remove_file(&path)?;
        let mut to = BufWriter::with_capacity(1 << 18, file);
        for hash in self.pending.drain(..) {
            to.write_all(&hash.to_le_bytes())?;
        }
        self.runs.push(to.into_inner().map_err(io::IntoInnerError::into_error)?);
        Ok(())
    }
}

/// Several sorted sequences as one.
pub struct Merge<I> {
    heap: BinaryHeap<Reverse<(u64, usize)>>,
    runs: Vec<I>,
}

impl<I: Iterator<Item = Result<u64, E>>, E> Merge<I> {
    /// Merges `runs`; the output is sorted only if each of them is.
    ///
    /// # Errors
    /// The error of the first element of a run.
    pub fn new(mut runs: Vec<I>) -> Result<Self, E> {
        let mut heap = BinaryHeap::with_capacity(runs.len());
        for (at, run) in runs.iter_mut().enumerate() {
            if let Some(first) = run.next() {
                heap.push(Reverse((first?, at)));
            }
        }
        Ok(Self { heap, runs })
    }
}

impl<I: Iterator<Item = Result<u64, E>>, E> Iterator for Merge<I> {
    type Item = Result<u64, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut least = self.heap.peek_mut()?;
        let Reverse((hash, at)) = *least;
        match self.runs.get_mut(at).and_then(Iterator::next) {
            Some(Ok(next)) => *least = Reverse((next, at)),
            Some(Err(error)) => return Some(Err(error)),
            None => {
                PeekMut::pop(least);
            }
        }
        Some(Ok(hash))
    }
}

impl<I> std::fmt::Debug for Merge<I> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Merge").field("runs", &self.runs.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_in_files_come_back_sorted_and_leave_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), 100);
        let mut all: Vec<u64> = (0..1050_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) % 1000).collect();
        for hash in &all {
            sorter.push(*hash).unwrap();
        }
        assert_eq!(sorter.runs.len(), 10);
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        let sorted: Vec<u64> = sorter.finish().unwrap().map(Result::unwrap).collect();
        all.sort_unstable();
        assert_eq!(sorted, all);
    }

    #[test]
    fn none_and_few_are_sorted_without_a_file() {
        assert_eq!(Sorter::new(Path::new("/nowhere"), 9).finish().unwrap().count(), 0);
        let mut sorter = Sorter::new(Path::new("/nowhere"), 9);
        for hash in [3, 1, 2] {
            sorter.push(hash).unwrap();
        }
        assert_eq!(sorter.finish().unwrap().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 3]);
    }
}
