//! Checkpoints: the head of the chain under a signature.

use crate::record::{Hash, Head, JournalId, Time};

const CONTEXT: &[u8] = b"journal checkpoint v1\0";
/// Bytes of journal id, sequence, hash and time.
const FIXED: usize = 16 + 8 + 32 + 8;

/// Signs every record up to [`head`](Self::head). The checkpoint is itself the next record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record before the checkpoint.
    pub head: Head,
    /// When it was signed.
    pub time: Time,
    /// The id of the signing key: at most 255 bytes.
    pub key_id: Vec<u8>,
    /// Over [`message`](Self::message): at most 65535 bytes.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// A checkpoint whose message `sign` signs. `None` if it does not sign, or if the key id or the signature
    /// is too long.
    pub fn sign(
        head: Head,
        time: Time,
        key_id: &[u8],
        sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<Self> {
        let mut checkpoint = Self { head, time, key_id: key_id.to_vec(), signature: Vec::new() };
        u8::try_from(key_id.len()).ok()?;
        checkpoint.signature = sign(&checkpoint.message())?;
        u16::try_from(checkpoint.signature.len()).ok()?;
        Some(checkpoint)
    }

    /// The signed bytes: a constant of 22 bytes, and the payload up to and including the key id.
    pub fn message(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(CONTEXT.len() + FIXED + 1 + self.key_id.len());
        bytes.extend_from_slice(CONTEXT);
        self.claim(&mut bytes);
        bytes
    }

    /// The payload of its record.
    pub fn format(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FIXED + 3 + self.key_id.len() + self.signature.len());
        self.claim(&mut bytes);
        let length = u16::try_from(self.signature.len()).unwrap_or(u16::MAX);
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.signature);
        bytes
    }

    /// Parses a payload; `None` if it is not exactly one checkpoint.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let (journal, rest) = payload.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (hash, rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (&length, rest) = rest.split_first()?;
        let (key_id, rest) = rest.split_at_checked(length.into())?;
        let (length, signature) = rest.split_first_chunk()?;
        if signature.len() != usize::from(u16::from_le_bytes(*length)) {
            return None;
        }
        let sequence = u64::from_le_bytes(*sequence);
        Some(Self {
            head: Head { journal: JournalId(*journal), sequence, hash: Hash(*hash) },
            time: Time(i64::from_le_bytes(*time)),
            key_id: key_id.to_vec(),
            signature: signature.to_vec(),
        })
    }

    fn claim(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.head.journal.0);
        bytes.extend_from_slice(&self.head.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.head.hash.0);
        bytes.extend_from_slice(&self.time.0.to_le_bytes());
        bytes.push(u8::try_from(self.key_id.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&self.key_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        let head = Head { journal: JournalId([1; 16]), sequence: 0x0203, hash: Hash([4; 32]) };
        Checkpoint::sign(head, Time(5), b"key", |message| Some(message[..4].to_vec())).expect("short")
    }

    #[test]
    fn the_message_is_what_the_readme_says() {
        let mut expected = b"journal checkpoint v1\0".to_vec();
        expected.extend([1; 16]);
        expected.extend([3, 2, 0, 0, 0, 0, 0, 0]);
        expected.extend([4; 32]);
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(b"\x03key");
        assert_eq!(checkpoint().message(), expected);
        assert_eq!(checkpoint().signature, b"jour");
        assert_eq!(checkpoint().format(), [&expected[22..], b"\x04\x00jour"].concat());
    }

    #[test]
    fn only_what_was_formatted_is_parsed() {
        let payload = checkpoint().format();
        assert_eq!(Checkpoint::parse(&payload), Some(checkpoint()));
        for length in 0..payload.len() {
            assert_eq!(Checkpoint::parse(&payload[..length]), None, "{length}");
        }
        assert_eq!(Checkpoint::parse(&[payload, vec![0]].concat()), None);
    }

    #[test]
    fn a_message_that_is_too_long_is_not_signed() {
        let head = checkpoint().head;
        assert_eq!(Checkpoint::sign(head, Time(5), &[0; 256], |_| Some(Vec::new())), None);
        assert_eq!(Checkpoint::sign(head, Time(5), b"", |_| Some(vec![0; 1 << 16])), None);
        assert_eq!(Checkpoint::sign(head, Time(5), b"", |_| None), None);
    }
}
