//! A record as bytes in a segment.

use crate::crc32c;
use crate::record::{Hash, JournalId, Kind, PAYLOAD_MAX, Record, Time};

/// Bytes of length, checksum, sequence, time and kind.
const PREFIX: usize = 4 + 4 + 8 + 8 + 1;
/// Bytes of a frame that are not payload.
pub(crate) const OVERHEAD: usize = PREFIX + 32;

/// The start of some bytes, classified.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A complete record of this many bytes.
    Whole(usize),
    /// Possibly the beginning of a record: this many bytes are needed to decide.
    Short(usize),
    /// Not a record.
    Bad,
}

/// The seed of a journal's checksums, so that records of another journal, or inside a payload, do not verify.
pub(crate) fn seed(journal: JournalId) -> u32 {
    crc32c::extend(0, &journal.0)
}

pub(crate) fn encode(buffer: &mut Vec<u8>, seed: u32, record: &Record<'_>) {
    let length = u32::try_from(record.payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    let sequence = record.sequence.to_le_bytes();
    let time = record.time.0.to_le_bytes();
    let kind = [record.kind.byte()];
    let parts: [&[u8]; 5] = [&sequence, &time, &kind, record.payload, &record.hash.0];
    buffer.extend_from_slice(&length);
    let place = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    let start = buffer.len();
    for part in parts {
        buffer.extend_from_slice(part);
    }
    let body = buffer.get(start..).unwrap_or_default();
    let sum = crc32c::extend(crc32c::extend(seed, &length), body).to_le_bytes();
    if let Some(place) = buffer.get_mut(place..start) {
        place.copy_from_slice(&sum);
    }
}

pub(crate) fn decode(seed: u32, bytes: &[u8]) -> Frame {
    let Some(size) = size(bytes) else {
        return if bytes.len() < 4 { Frame::Short(4) } else { Frame::Bad };
    };
    let Some(bytes) = bytes.get(..size) else { return Frame::Short(size) };
    let is_sound = sum_is_right(seed, bytes) && decode_again(bytes).is_some();
    if is_sound { Frame::Whole(size) } else { Frame::Bad }
}

/// The record in a frame that was verified before.
pub(crate) fn decode_again(frame: &[u8]) -> Option<Record<'_>> {
    let (sequence, rest) = frame.get(8..)?.split_first_chunk()?;
    let (time, rest) = rest.split_first_chunk()?;
    let (&kind, rest) = rest.split_first()?;
    let (payload, hash) = rest.split_last_chunk()?;
    Some(Record {
        sequence: u64::from_le_bytes(*sequence),
        time: Time(i64::from_le_bytes(*time)),
        kind: Kind::from_byte(kind)?,
        payload,
        hash: Hash(*hash),
    })
}

/// The sequence in a possible frame, read before its checksum is computed.
pub(crate) fn claimed_sequence(bytes: &[u8]) -> Option<u64> {
    bytes.get(8..)?.first_chunk().map(|sequence| u64::from_le_bytes(*sequence))
}

/// The size of a possible frame, in bytes; `None` if it is not one, or if its first four bytes are missing.
fn size(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(u32::from_le_bytes(*bytes.first_chunk()?)).ok()?;
    (length <= PAYLOAD_MAX).then_some(OVERHEAD + length)
}

fn sum_is_right(seed: u32, frame: &[u8]) -> bool {
    let Some((length, rest)) = frame.split_first_chunk::<4>() else { return false };
    let Some((sum, body)) = rest.split_first_chunk() else { return false };
    crc32c::extend(crc32c::extend(seed, length), body) == u32::from_le_bytes(*sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_as_documented_in_the_readme() {
        let seed = seed(JournalId([9; 16]));
        let record = Record {
            sequence: 0x0102,
            time: Time(3),
            kind: Kind::Data,
            payload: b"abc",
            hash: Hash([4; 32]),
        };

        let mut bytes = Vec::new();
        encode(&mut bytes, seed, &record);
        let mut body = vec![2, 1, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 1];
        body.extend(b"abc");
        body.extend([4; 32]);
        assert_eq!(bytes[..4], [3, 0, 0, 0]);
        assert_eq!(bytes[8..], body);
        let sum = crc32c::extend(0, &[&[9; 16], &bytes[..4], &bytes[8..]].concat());
        assert_eq!(bytes[4..8], sum.to_le_bytes());
        assert!(matches!(decode(seed, &bytes), Frame::Whole(60)));
        assert_eq!(decode_again(&bytes), Some(record));
        assert!(matches!(decode(seed ^ 1, &bytes), Frame::Bad));
        assert!(matches!(decode(seed, &bytes[..3]), Frame::Short(4)));
        assert!(matches!(decode(seed, &bytes[..59]), Frame::Short(60)));
        assert!(matches!(decode(seed, &[0xff; 80]), Frame::Bad));
    }
}
