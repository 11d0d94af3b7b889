//! A set of hashes as a compressed, sorted list, with lookups directly in memory or in a file.
//!
//! Of each 64-bit hash the first `value bits` are kept. A hash that is in the set is always found; for one
//! that is not, the false positive rate is `count / 2^bits`.
//!
//! # Format, version 1
//!
//! Numbers are little endian. Three parts, each of whole blocks of 4096 bytes except the last:
//!
//! ```text
//! header   magic "GWFILTER" 8 | version u32 | kind u8 | value bits u8 | zero 2 | count u64 | blocks u64
//!          | zeros up to byte 60 | CRC-32 of those 60 bytes u32 | zeros up to byte 4096
//! block    CRC-32 of the rest u32 | entries u16 | Rice parameter k u8 | zero 1 | first value u64 | bits
//! fences   first value of each block, u64 each
//! ```
//!
//! The bits of a block are the differences of its values, each less one, in Golomb-Rice code: as many zeros
//! as `difference >> k`, a one, and the low `k` bits; the lowest bit of a byte comes first. A block holds as
//! many entries as fit, with the best `k` for them: neither their number nor their distribution must be known
//! in advance. A value costs about `bits - log2(count) + 1.6` bits.
//!
//! A lookup reads 4096 bytes of fences around the expected position of an evenly distributed value, and one
//! block. For other distributions it bisects, so it never reads more than about `log2(blocks / 512) + 2`
//! times. In memory this takes about 7 µs, most of it for the checksum of the block.
//!
//! `kind` identifies the hash function and its input: a number defined by the program.

mod bits;
mod crc;
mod reader;
mod sort;
mod writer;

#[cfg(test)]
mod tests;

pub use reader::{Filter, OpenError, ReadAt};
pub use sort::{Merge, Sorter};
pub use writer::{WriteError, Writer};

/// The version that is written and read.
pub const VERSION: u32 = 1;
/// Most bits of a hash that are kept.
pub const MOST_BITS: u8 = 56;

const MAGIC: [u8; 8] = *b"GWFILTER";
/// Bytes of a block, and of the header.
const BLOCK: usize = 4096;
/// Used bytes of the header, without their checksum.
const HEADER: usize = 60;
/// Bytes of a block before its bits.
const BLOCK_HEAD: usize = 16;
/// Bytes of a fence.
const FENCE: usize = 8;

/// The fields of the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    kind: u8,
    bits: u8,
    count: u64,
    blocks: u64,
}

impl Header {
    fn bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.kind, self.bits, 0, 0]);
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.resize(HEADER, 0);
        out.extend_from_slice(&crc::of(&out).to_le_bytes());
        out.resize(BLOCK, 0);
        out
    }

    /// The length of the whole filter, in bytes.
    fn length(self) -> Option<u64> {
        let blocks = self.blocks.checked_mul((BLOCK + FENCE) as u64)?;
        blocks.checked_add(BLOCK as u64)
    }
}

/// The part of a 64-bit hash that is kept.
fn value_of(hash: u64, bits: u8) -> u64 {
    hash >> (64 - u32::from(bits))
}

/// The number at an offset of `bytes`; missing bytes count as zeros.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest.first_chunk() {
        Some(chunk) => u64::from_le_bytes(*chunk),
        None => rest.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    }
}

/// The number at an offset of `bytes`; missing bytes count as zeros.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::try_from(u64_at(bytes, at) & 0xFFFF_FFFF).unwrap_or_default()
}
