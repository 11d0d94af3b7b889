//! Golomb-Rice code, the lowest bit of a byte first.

use crate::u64_at;

/// The number of bits of `number` with the parameter `k`.
pub(crate) fn length(number: u64, k: u8) -> u64 {
    (number >> k) + 1 + u64::from(k)
}

/// Writes numbers into bytes.
#[derive(Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    filled: u32,
}

impl BitWriter {
    /// Appends a number.
    pub(crate) fn rice(&mut self, number: u64, k: u8) {
        for _ in 0..number >> k {
            self.put(0, 1);
        }
        self.put(1, 1);
        self.put(number & ((1 << k) - 1), u32::from(k));
    }

    /// All bytes; the last one is padded with zeros.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.put(0, 7);
        self.bytes
    }

    /// Appends up to 56 bits.
    fn put(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.filled;
        self.filled += count;
        while self.filled >= 8 {
            let [low, ..] = self.pending.to_le_bytes();
            self.bytes.push(low);
            self.pending >>= 8;
            self.filled -= 8;
        }
    }
}

/// Reads numbers from bytes. Bytes beyond the end count as zeros.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next number; `None` if the bytes end before it.
    pub(crate) fn rice(&mut self, k: u8) -> Option<u64> {
        let mut quotient: u64 = 0;
        loop {
            if self.at >= self.bytes.len() * 8 {
                return None;
            }
            let (window, valid) = self.window();
            let zeros = window.trailing_zeros();
            if zeros < valid {
                quotient += u64::from(zeros);
                self.at += zeros as usize + 1;
                break;
            }
            quotient += u64::from(valid);
            self.at += valid as usize;
        }
        let (window, _) = self.window();
        self.at += usize::from(k);
        let low = window & ((1 << k) - 1);
        (self.at <= self.bytes.len() * 8).then_some(())?;
        quotient.checked_mul(1 << k)?.checked_add(low)
    }

    /// The next bits, and their number: at least 57.
    fn window(&self) -> (u64, u32) {
        let skipped = u32::try_from(self.at % 8).unwrap_or_default();
        (u64_at(self.bytes, self.at / 8) >> skipped, 64 - skipped)
    }
}
