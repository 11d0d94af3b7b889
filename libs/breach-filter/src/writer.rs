//! Writes a filter from sorted hashes.

use std::fmt;
use std::io::{self, Seek, SeekFrom, Write};

use crate::bits::{BitWriter, length};
use crate::{BLOCK, BLOCK_HEAD, HEADER, Header, MOST_BITS, crc, value_of};

/// The most pending values: no block holds more.
const PENDING: usize = 8192;

/// Writes a filter of hashes that come in ascending order.
pub struct Writer<W> {
    to: W,
    header: Header,
    pending: Vec<u64>,
    last: Option<u64>,
    fences: Vec<u64>,
}

/// Why a filter was not written.
#[derive(Debug)]
pub enum WriteError {
    /// A hash was smaller than the one before.
    Order,
    /// The bits of a value are not 8 to [`MOST_BITS`].
    Bits,
    /// The output failed.
    Io(io::Error),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order => f.write_str("the hashes are not sorted"),
            Self::Bits => write!(f, "a value has 8 to {MOST_BITS} bits"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a filter of hashes of a `kind`, of which the first `bits` are kept.
    ///
    /// # Errors
    /// [`WriteError::Bits`], [`WriteError::Io`].
    pub fn new(mut to: W, kind: u8, bits: u8) -> Result<Self, WriteError> {
        if !(8..=MOST_BITS).contains(&bits) {
            return Err(WriteError::Bits);
        }
        // The header is written last: an unfinished file is not a filter.
        to.write_all(&[0; BLOCK])?;
        let header = Header { kind, bits, count: 0, blocks: 0 };
        Ok(Self { to, header, pending: Vec::with_capacity(PENDING), last: None, fences: Vec::new() })
    }

    /// Adds a hash; one that equals the previous one in the kept bits is skipped.
    ///
    /// # Errors
    /// [`WriteError::Order`], [`WriteError::Io`].
    pub fn push(&mut self, hash: u64) -> Result<(), WriteError> {
        let value = value_of(hash, self.header.bits);
        match self.last {
            Some(last) if value < last => return Err(WriteError::Order),
            Some(last) if value == last => return Ok(()),
            _ => self.last = Some(value),
        }
        self.header.count += 1;
        self.pending.push(value);
        if self.pending.len() == PENDING {
            self.block()?;
        }
        Ok(())
    }

    /// Writes the pending values and the header. Returns the number of hashes, and the output.
    ///
    /// # Errors
    /// [`WriteError::Io`].
    pub fn finish(mut self) -> Result<(u64, W), WriteError> {
        while !self.pending.is_empty() {
            self.block()?;
        }
        for fences in self.fences.chunks(BLOCK) {
            let bytes: Vec<u8> = fences.iter().flat_map(|fence| fence.to_le_bytes()).collect();
            self.to.write_all(&bytes)?;
        }
        self.to.seek(SeekFrom::Start(0))?;
        self.to.write_all(&self.header.bytes())?;
        self.to.flush()?;
        Ok((self.header.count, self.to))
    }

    /// Writes as many of the pending values as fit into a block.
    fn block(&mut self) -> io::Result<()> {
        let Some(&first) = self.pending.first() else { return Ok(()) };
        let (entries, k) = best(&self.pending);
        let mut bits = BitWriter::default();
        differences(&self.pending).take(entries - 1).for_each(|difference| bits.rice(difference, k));
        let mut block = Vec::with_capacity(BLOCK);
        block.extend_from_slice(&[0; 4]);
        block.extend_from_slice(&u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes());
        block.extend_from_slice(&[k, 0]);
        block.extend_from_slice(&first.to_le_bytes());
        block.extend_from_slice(&bits.finish());
        block.resize(BLOCK, 0);
        let checksum = crc::of(block.get(4..).unwrap_or_default());
        block.splice(..4, checksum.to_le_bytes());
        self.to.write_all(&block)?;
        self.fences.push(first);
        self.header.blocks += 1;
        self.pending.drain(..entries);
        Ok(())
    }
}

impl<W> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("header", &self.header).finish_non_exhaustive()
    }
}

/// The differences of consecutive values, each less one.
fn differences(values: &[u64]) -> impl Iterator<Item = u64> {
    values.iter().zip(values.iter().skip(1)).map(|(one, next)| next - one - 1)
}

/// The parameter with which the most values fit into a block, and their number.
fn best(values: &[u64]) -> (usize, u8) {
    let near = values.len().min(1024);
    let span = match (values.first(), values.get(near - 1)) {
        (Some(first), Some(last)) => last - first,
        _ => 0,
    };
    let mean = span / (near as u64).max(1);
    let guess = u8::try_from(64 - mean.leading_zeros()).unwrap_or_default();
    let candidates = (guess.saturating_sub(2)..=guess + 1).filter(|k| *k <= MOST_BITS);
    let fitting = candidates.map(|k| (fit(values, k), k));
    fitting.max_by_key(|(entries, _)| *entries).unwrap_or((1, 0))
}

/// The number of values that fit into a block with the parameter `k`, including the first one in its header.
fn fit(values: &[u64], k: u8) -> usize {
    let mut room = ((BLOCK - BLOCK_HEAD) * 8) as u64;
    let fitting = differences(values).map_while(|difference| {
        room = room.checked_sub(length(difference, k))?;
        Some(())
    });
    1 + fitting.count()
}

const _: () = assert!(HEADER + 4 <= BLOCK && PENDING <= u16::MAX as usize);
