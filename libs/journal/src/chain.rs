//! The hash chain, record by record, for records from any source.

use sha2::{Digest, Sha256};

use crate::record::{Entry, Hash, Head, JournalId, Kind, Record, Time};

const GENESIS: &[u8] = b"journal genesis v1\0";

/// A position in the chain of one journal: the next record must fit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chain {
    journal: JournalId,
    last: u64,
    hash: Hash,
}

/// Why a record does not fit the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// A later record is here: those between were removed, or reordered.
    #[error("record {found} stands in its place")]
    Ahead {
        /// The sequence of this record.
        found: u64,
    },
    /// An earlier record is here: it is out of order, or duplicated.
    #[error("record {found} stands in its place, again or out of order")]
    Behind {
        /// The sequence of this record.
        found: u64,
    },
    /// Its hash does not match its content and the previous hash.
    #[error("its content or its hash was changed")]
    Changed,
}

impl Chain {
    /// Before the first record of a journal.
    pub fn new(journal: JournalId) -> Self {
        let hash = Sha256::new().chain_update(GENESIS).chain_update(journal.0).finalize();
        Self { journal, last: 0, hash: Hash(hash.into()) }
    }

    /// After a record that is trusted.
    pub const fn after(head: Head) -> Self {
        Self { journal: head.journal, last: head.sequence, hash: head.hash }
    }

    /// The last record, as a head to store.
    pub const fn head(&self) -> Head {
        Head { journal: self.journal, sequence: self.last, hash: self.hash }
    }

    /// The sequence of the next record.
    pub const fn next_sequence(&self) -> u64 {
        self.last.saturating_add(1)
    }

    /// Advances by a record that was read, if it fits; otherwise stays.
    pub fn check(&mut self, record: &Record<'_>) -> Result<(), Break> {
        let found = record.sequence;
        if found > self.next_sequence() {
            return Err(Break::Ahead { found });
        }
        if found <= self.last {
            return Err(Break::Behind { found });
        }
        if self.hash_of(record.time, record.kind, record.payload) != record.hash {
            return Err(Break::Changed);
        }
        self.last = found;
        self.hash = record.hash;
        Ok(())
    }

    /// Advances by a new record.
    pub fn push<'a>(&mut self, entry: &Entry<'a>) -> Record<'a> {
        let Entry { time, kind, payload } = *entry;
        self.hash = self.hash_of(time, kind, payload);
        self.last = self.next_sequence();
        Record { sequence: self.last, time, kind, payload, hash: self.hash }
    }

    fn hash_of(&self, time: Time, kind: Kind, payload: &[u8]) -> Hash {
        // one call for all fixed fields: each call has a cost
        let mut fixed = [0; 53];
        let parts = self.hash.0.into_iter().chain(self.next_sequence().to_le_bytes());
        let parts = parts.chain(time.0.to_le_bytes()).chain([kind.byte()]);
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        for (place, byte) in fixed.iter_mut().zip(parts.chain(length.to_le_bytes())) {
            *place = byte;
        }
        Hash(Sha256::new().chain_update(fixed).chain_update(payload).finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_covers_what_the_readme_says() {
        let id = JournalId([7; 16]);
        let mut chain = Chain::new(id);
        let before = chain.head().hash;
        let record = chain.push(&Entry { time: Time(-5), kind: Kind::Checkpoint, payload: b"some payload" });
        let mut bytes = before.0.to_vec();
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend((-5_i64).to_le_bytes());
        bytes.push(2);
        bytes.extend(12_u32.to_le_bytes());
        bytes.extend(b"some payload");
        assert_eq!(record.hash.0, <[u8; 32]>::from(Sha256::digest(&bytes)));
        let genesis = [b"journal genesis v1\0".as_slice(), &[7; 16]].concat();
        assert_eq!(before.0, <[u8; 32]>::from(Sha256::digest(&genesis)));
    }

    #[test]
    fn a_record_fits_in_one_place_only() {
        let mut writer = Chain::new(JournalId([7; 16]));
        let entry = |time| Entry { time: Time(time), kind: Kind::Data, payload: b"x" };
        let [one, two, three] = [1, 2, 3].map(|time| writer.push(&entry(time)));
        let mut chain = Chain::new(JournalId([7; 16]));
        assert_eq!(chain.check(&two), Err(Break::Ahead { found: 2 }));
        assert_eq!(chain.check(&one), Ok(()));
        assert_eq!(chain.check(&one), Err(Break::Behind { found: 1 }));
        assert_eq!(chain.check(&three), Err(Break::Ahead { found: 3 }));
        assert_eq!(chain.check(&Record { time: Time(9), ..two }), Err(Break::Changed));
        assert_eq!(chain.check(&Record { kind: Kind::Checkpoint, ..two }), Err(Break::Changed));
        assert_eq!(chain.check(&Record { payload: b"y", ..two }), Err(Break::Changed));
        assert_eq!(chain.check(&two), Ok(()));
        assert_eq!(chain.check(&three), Ok(()));
        assert_eq!(chain, writer);
        assert_eq!(Chain::new(JournalId([8; 16])).check(&one), Err(Break::Changed));
    }
}
