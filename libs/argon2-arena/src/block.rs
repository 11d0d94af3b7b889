//! Blocks, and the order of the words in them.

use zeroize::Zeroize;

/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = 1024;
/// Words of a block.
pub(crate) const WORDS: usize = 128;

/// A block of memory: 1 KiB, aligned to cache lines. Its words are in the kernel's order; the first word is
/// first in every order.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Block(pub(crate) [u64; WORDS]);

/// The index of each word in a block: `order[word]` is less than [`WORDS`].
pub(crate) type Order = [u8; WORDS];

impl Block {
    pub(crate) const ZERO: Self = Self([0; WORDS]);

    /// The word that determines a data-dependent reference.
    #[inline]
    pub(crate) fn first(&self) -> u64 {
        let [first, ..] = self.0;
        first
    }

    /// Decodes little-endian words into this order (RFC 9106 §3.2).
    pub(crate) fn from_bytes(bytes: &[u8; BLOCK_BYTES], order: &Order) -> Self {
        let mut block = Self::ZERO;
        for (word, place) in bytes.as_chunks().0.iter().zip(order) {
            block.set(*place, u64::from_le_bytes(*word));
        }
        block
    }

    /// The inverse.
    pub(crate) fn bytes(&self, order: &Order) -> [u8; BLOCK_BYTES] {
        let mut bytes = [0; BLOCK_BYTES];
        for (word, place) in bytes.as_chunks_mut().0.iter_mut().zip(order) {
            *word = self.get(*place).to_le_bytes();
        }
        bytes
    }

    /// The word at an index.
    pub(crate) fn get(&self, place: u8) -> u64 {
        self.0.get(usize::from(place)).copied().unwrap_or_default()
    }

    /// Writes the word at an index.
    pub(crate) fn set(&mut self, place: u8, word: u64) {
        if let Some(slot) = self.0.get_mut(usize::from(place)) {
            *slot = word;
        }
    }

    /// Xors another block in, word by word.
    pub(crate) fn mix(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word ^= other;
        }
    }
}

impl Zeroize for Block {
    fn zeroize(&mut self) {
        self.0.zeroize();
    }
}
