//! The first 128 bytes of a segment.

use crate::crc32c;
use crate::record::{Hash, Head, JournalId, Time};

/// Bytes of a segment before its first record.
pub(crate) const LENGTH: usize = 128;
/// The same, as an offset: a file that is not longer has no record.
pub const END: u64 = 128;
/// The version of the format that this crate writes, and the only one that it reads.
pub const VERSION: u16 = 1;

const MAGIC: [u8; 8] = *b"\x89JOURNAL";
/// Bytes before the checksum, and with it.
const BEFORE_SUM: usize = 12;
const RESERVED: usize = 40;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Its number: 1 for the first of a journal.
    pub(crate) number: u64,
    /// The last record before the segment.
    pub(crate) before: Head,
    /// When it was begun.
    pub(crate) created: Time,
}

/// Why bytes are not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    /// Truncated, or changed.
    Damaged,
    /// Complete, but of an unknown version.
    Version(u16),
}

impl Header {
    /// The sequence of the segment's first record.
    pub(crate) const fn first(&self) -> u64 {
        self.before.sequence.saturating_add(1)
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(LENGTH);
        body.extend_from_slice(&self.before.journal.0);
        body.extend_from_slice(&self.number.to_le_bytes());
        body.extend_from_slice(&self.first().to_le_bytes());
        body.extend_from_slice(&self.created.0.to_le_bytes());
        body.extend_from_slice(&self.before.hash.0);
        body.extend_from_slice(&[0; RESERVED]);
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&128_u16.to_le_bytes());
        let sum = crc32c::extend(crc32c::extend(0, &bytes), &body);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes.extend_from_slice(&body);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; LENGTH]) -> Result<Self, NoHeader> {
        let (start, rest) = bytes.split_at_checked(BEFORE_SUM).ok_or(NoHeader::Damaged)?;
        let (sum, body) = rest.split_first_chunk().ok_or(NoHeader::Damaged)?;
        let version = start.strip_prefix(&MAGIC).and_then(<[u8]>::first_chunk);
        let version = u16::from_le_bytes(*version.ok_or(NoHeader::Damaged)?);
        if crc32c::extend(crc32c::extend(0, start), body) != u32::from_le_bytes(*sum) {
            return Err(NoHeader::Damaged);
        }
        if version != VERSION {
            return Err(NoHeader::Version(version));
        }
        Self::fields(bytes).ok_or(NoHeader::Damaged)
    }

    /// The fields without regard to the checksum: a guess for recovery.
    pub(crate) fn fields(bytes: &[u8; LENGTH]) -> Option<Self> {
        let (journal, rest) = bytes.get(BEFORE_SUM + 4..)?.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (first, rest) = rest.split_first_chunk()?;
        let (created, rest) = rest.split_first_chunk()?;
        let hash = Hash(*rest.first_chunk()?);
        let sequence = u64::from_le_bytes(*first).checked_sub(1)?;
        Some(Self {
            number: u64::from_le_bytes(*number),
            before: Head { journal: JournalId(*journal), sequence, hash },
            created: Time(i64::from_le_bytes(*created)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let before = Head { journal: JournalId([1; 16]), sequence: 41, hash: Hash([5; 32]) };
        Header { number: 3, before, created: Time(7) }
    }

    #[test]
    fn the_layout_is_as_documented_in_the_readme() {
        let bytes = header().encode();
        let mut expected = b"\x89JOURNAL\x01\x00\x80\x00".to_vec();
        expected.extend(&bytes[12..16]);
        expected.extend([1; 16]);
        expected.extend([3, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5; 32]);
        expected.extend([0; 40]);
        assert_eq!(bytes, expected);
        assert_eq!(Header::decode(bytes.first_chunk().expect("128 bytes")), Ok(header()));
    }

    #[test]
    fn every_bit_is_guarded() {
        for bit in 0..LENGTH * 8 {
            let mut bytes = header().encode();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let damaged = Header::decode(bytes.first_chunk().expect("128 bytes"));
            assert_eq!(damaged, Err(NoHeader::Damaged), "bit {bit}");
        }
    }

    #[test]
    fn another_version_is_not_taken_for_damage() {
        let mut bytes = header().encode();
        bytes[8] = 2;
        let sum = crc32c::extend(crc32c::extend(0, &bytes[..12]), &bytes[16..]);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Header::decode(bytes.first_chunk().expect("128 bytes")), Err(NoHeader::Version(2)));
    }
}
