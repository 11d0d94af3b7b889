//! Checkpoints: the head of the chain under a signature.

use crate::record::{Hash, Head, JournalId, PAYLOAD_MAX, Time};

const CONTEXT: &[u8] = b"journal checkpoint v2\0";
/// Bytes of journal id, sequence, hash, sequence of the checkpoint before, time and length of the statement.
const FIXED: usize = 16 + 8 + 32 + 8 + 8 + 4;

/// Signs every record up to [`head`](Self::head). The checkpoint is itself the next record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record before the checkpoint.
    pub head: Head,
    /// The sequence of the checkpoint before; 0 for the first, and where the writer does not know it.
    pub previous: u64,
    /// When it was signed.
    pub time: Time,
    /// What the caller states: signed along, and of no meaning to this crate.
    pub statement: Vec<u8>,
    /// The id of the signing key: at most 255 bytes.
    pub key_id: Vec<u8>,
    /// Over [`message`](Self::message): at most 65535 bytes.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// The checkpoint with the signature that `sign` makes of its message. `None` if it does not sign, or if
    /// statement, key id or signature is too long for a record.
    pub fn signed(mut self, sign: impl FnOnce(&[u8]) -> Option<Vec<u8>>) -> Option<Self> {
        u8::try_from(self.key_id.len()).ok()?;
        self.signature = sign(&self.message())?;
        u16::try_from(self.signature.len()).ok()?;
        (self.format().len() <= PAYLOAD_MAX).then_some(self)
    }

    /// The signed bytes: a constant of 22 bytes, and the payload up to and including the key id.
    pub fn message(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(CONTEXT.len() + FIXED + 1 + self.statement.len() + self.key_id.len());
        bytes.extend_from_slice(CONTEXT);
        self.claim(&mut bytes);
        bytes
    }

    /// The payload of its record.
    pub fn format(&self) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(FIXED + 3 + self.statement.len() + self.key_id.len() + self.signature.len());
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
        let (previous, rest) = rest.split_first_chunk()?;
        let (time, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (statement, rest) = rest.split_at_checked(length)?;

        let (&length, rest) = rest.split_first()?;
        let (key_id, rest) = rest.split_at_checked(length.into())?;
        let (length, signature) = rest.split_first_chunk()?;
        if signature.len() != usize::from(u16::from_le_bytes(*length)) {
            return None;
        }

        let sequence = u64::from_le_bytes(*sequence);
        Some(Self {
            head: Head { journal: JournalId(*journal), sequence, hash: Hash(*hash) },
            previous: u64::from_le_bytes(*previous),
            time: Time(i64::from_le_bytes(*time)),
            statement: statement.to_vec(),
            key_id: key_id.to_vec(),
            signature: signature.to_vec(),
        })
    }

    fn claim(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.head.journal.0);
        bytes.extend_from_slice(&self.head.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.head.hash.0);
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.time.0.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(self.statement.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend_from_slice(&self.statement);
        bytes.push(u8::try_from(self.key_id.len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(&self.key_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bare(head: Head) -> Checkpoint {
        Checkpoint {
            head,
            previous: 0x0102,
            time: Time(5),
            statement: b"said".to_vec(),
            key_id: b"key".to_vec(),
            signature: Vec::new(),
        }
    }

    fn checkpoint() -> Checkpoint {
        let head = Head { journal: JournalId([1; 16]), sequence: 0x0203, hash: Hash([4; 32]) };
        bare(head).signed(|message| Some(message[..4].to_vec())).expect("short")
    }

    #[test]
    fn the_message_is_what_the_readme_says() {
        let mut expected = b"journal checkpoint v2\0".to_vec();
        expected.extend([1; 16]);
        expected.extend([3, 2, 0, 0, 0, 0, 0, 0]);
        expected.extend([4; 32]);
        expected.extend([2, 1, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend(b"\x04\0\0\0said");
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
        let long = Checkpoint { key_id: vec![0; 256], ..bare(head) };
        assert_eq!(long.signed(|_| Some(Vec::new())), None);
        let long = Checkpoint { statement: vec![0; PAYLOAD_MAX], ..bare(head) };
        assert_eq!(long.signed(|_| Some(Vec::new())), None);
        assert_eq!(bare(head).signed(|_| Some(vec![0; 1 << 16])), None);
        assert_eq!(bare(head).signed(|_| None), None);
    }
}
