//! Lookup of a hash.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::bits::BitReader;
use crate::{
    BLOCK, BLOCK_HEAD, FENCE, HEADER, Header, MAGIC, MOST_BITS, VERSION, crc, u32_at, u64_at, value_of,
};

/// Fences that are read at once: one block.
const FENCES: u64 = (BLOCK / FENCE) as u64;

/// Random access to bytes.
pub trait ReadAt {
    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    /// If there are fewer bytes, or they cannot be read.
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// If the length cannot be determined.
    fn length(&self) -> io::Result<u64>;
}

impl ReadAt for &[u8] {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let place =
            usize::try_from(offset).ok().and_then(|from| self.get(from..from.checked_add(buffer.len())?));
        buffer.copy_from_slice(place.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

impl ReadAt for File {
    fn fill(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// A filter opened for lookups.
#[derive(Debug)]
pub struct Filter<R> {
    from: R,
    header: Header,
}

/// Why a filter cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The magic bytes are missing.
    NotOne,
    /// It is of another version.
    Version(u32),
    /// It has another kind of hashes.
    Kind(u8),
    /// It was changed, or truncated.
    Damaged(&'static str),
    /// It cannot be read.
    Io(io::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOne => f.write_str("it is not a filter of hashes, or one that was not finished"),
            Self::Version(version) => {
                write!(
                    f,
                    "it is a filter of version {version}, and this program reads version {VERSION}; \
                     make it anew"
                )
            }
            Self::Kind(kind) => write!(f, "it is a filter of other hashes (kind {kind})"),
            Self::Damaged(part) => write!(f, "it is damaged: {part}; make it anew"),
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::NotOne,
            _ => Self::Io(error),
        }
    }
}

impl<R: ReadAt> Filter<R> {
    /// Opens a filter of hashes of a `kind`: reads its header, and checks its length.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(from: R, kind: u8) -> Result<Self, OpenError> {
        let mut head = [0; HEADER + 4];
        from.fill(&mut head, 0)?;
        if !head.starts_with(&MAGIC) {
            return Err(OpenError::NotOne);
        }
        let version = u32_at(&head, 8);
        if version != VERSION {
            return Err(OpenError::Version(version));
        }
        if crc::of(head.get(..HEADER).unwrap_or_default()) != u32_at(&head, HEADER) {
            return Err(OpenError::Damaged("its header"));
        }

        let [found, bits, ..] = u32_at(&head, 12).to_le_bytes();
        let header = Header { kind: found, bits, count: u64_at(&head, 16), blocks: u64_at(&head, 24) };
        if found != kind {
            return Err(OpenError::Kind(found));
        }
        if !(8..=MOST_BITS).contains(&bits) {
            return Err(OpenError::Damaged("its header"));
        }
        if header.length() != Some(from.length()?) {
            return Err(OpenError::Damaged("its length"));
        }
        Ok(Self { from, header })
    }

    /// The number of hashes.
    pub fn count(&self) -> u64 {
        self.header.count
    }

    /// The number of bits of each hash that it keeps.
    pub fn bits(&self) -> u8 {
        self.header.bits
    }

    /// Whether it contains `hash`. Makes a few blocking reads.
    ///
    /// # Errors
    /// If it cannot be read, or the block is damaged ([`io::ErrorKind::InvalidData`]).
    pub fn contains(&self, hash: u64) -> io::Result<bool> {
        let value = value_of(hash, self.header.bits);
        match self.block_of(value)? {
            None => Ok(false),
            Some(block) => self.is_in(block, value),
        }
    }

    /// The block that would contain a value: the last that begins with it or before.
    fn block_of(&self, value: u64) -> io::Result<Option<u64>> {
        let (mut from, mut to) = (0, self.header.blocks);
        let spread = (u128::from(value) * u128::from(to)) >> self.header.bits;
        let mut place = u64::try_from(spread).unwrap_or_default();
        // Blocks before `from` begin too early or fit; those from `to` on begin too late.
        let mut found = None;

        while from < to {
            let start = place.saturating_sub(FENCES / 2).clamp(from, to.saturating_sub(FENCES).max(from));
            let count = FENCES.min(to - start);
            let mut bytes = [0; BLOCK];
            let bytes =
                bytes.get_mut(..usize::try_from(count).unwrap_or_default() * FENCE).unwrap_or_default();
            let fences = (BLOCK as u64) * (self.header.blocks + 1);
            self.from.fill(bytes, fences + start * FENCE as u64)?;
            let (fences, _) = bytes.as_chunks::<FENCE>();
            let fitting = fences.partition_point(|fence| u64::from_le_bytes(*fence) <= value) as u64;
            if fitting == 0 {
                to = start;
            } else {
                found = Some(start + fitting - 1);
                from = start + fitting;
                if fitting < count {
                    break;
                }
            }
            place = from.midpoint(to);
        }
        Ok(found)
    }

    fn is_in(&self, block: u64, value: u64) -> io::Result<bool> {
        let mut bytes = [0; BLOCK];
        self.from.fill(&mut bytes, (block + 1) * BLOCK as u64)?;
        let damaged =
            || io::Error::new(io::ErrorKind::InvalidData, format!("block {block} of the filter is damaged"));
        if crc::of(bytes.get(4..).unwrap_or_default()) != u32_at(&bytes, 0) {
            return Err(damaged());
        }
        let [low, high, k, _] = u32_at(&bytes, 4).to_le_bytes();
        let mut at = u64_at(&bytes, 8);
        if k > MOST_BITS {
            return Err(damaged());
        }
        let mut reader = BitReader::new(bytes.get(BLOCK_HEAD..).unwrap_or_default());
        for _ in 1..u16::from_le_bytes([low, high]) {
            if at >= value {
                break;
            }
            let difference = reader.rice(k).ok_or_else(damaged)?;
            at = at.checked_add(difference).and_then(|at| at.checked_add(1)).ok_or_else(damaged)?;
        }
        Ok(at == value)
    }
}
