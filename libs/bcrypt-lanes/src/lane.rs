//! One password's Blowfish state, and the parts of bcrypt that are not worth doing in lock-step.

use zeroize::Zeroize;

use crate::pi;

/// The four substitution boxes.
pub(crate) type Boxes = [[u32; 256]; 4];

/// The bytes of a password or a salt as the eighteen words that are mixed into the subkeys.
pub(crate) type KeyWords = [u32; 18];

/// One password's subkeys and substitution boxes.
///
/// The assembler kernel relies on this layout: lanes lie side by side; a lane is a whole number of cache
/// lines; the boxes follow the subkeys without a gap, so that one sweep writes both; and boxes begin at a
/// cache line.
#[repr(C, align(64))]
#[derive(Clone)]
pub(crate) struct Lane {
    /// Puts the end of `p` at the end of a cache line.
    pad: [u32; 14],
    pub(crate) p: [u32; 18],
    pub(crate) s: Boxes,
}

impl Lane {
    pub(crate) const EMPTY: Self = Self { pad: [0; 14], p: [0; 18], s: [[0; 256]; 4] };

    /// The state before any key: the digits of pi.
    pub(crate) fn reset(&mut self) {
        self.p = pi::P;
        self.s = pi::S;
    }

    /// Mixes key words into the subkeys.
    pub(crate) fn mix(&mut self, words: &KeyWords) {
        for (p, word) in self.p.iter_mut().zip(words) {
            *p ^= word;
        }
    }

    /// The first, salted expansion. It runs once where the unsalted one runs thousands of times.
    pub(crate) fn expand_salted(&mut self, key: &KeyWords, salt: &KeyWords) {
        self.mix(key);
        let [s0, s1, s2, s3, ..] = *salt;
        let halves = [(s0, s1), (s2, s3)];
        let mut salts = halves.iter().cycle();
        let mut block = (0, 0);
        for at in 0..9 + 512 {
            if let Some(&(left, right)) = salts.next() {
                block = self.encrypt((block.0 ^ left, block.1 ^ right));
            }
            self.put(at, block);
        }
    }

    /// Writes a pair of words: the first nine pairs are the subkeys, the others the boxes.
    fn put(&mut self, at: usize, (left, right): (u32, u32)) {
        let words = if at < 9 {
            self.p.as_chunks_mut::<2>().0.get_mut(at)
        } else {
            self.s.as_flattened_mut().as_chunks_mut::<2>().0.get_mut(at - 9)
        };
        if let Some(words) = words {
            *words = [left, right];
        }
    }

    /// One block through the sixteen rounds.
    pub(crate) fn encrypt(&self, (mut left, mut right): (u32, u32)) -> (u32, u32) {
        let [first, middle @ .., last] = &self.p;
        left ^= first;
        for [odd, even] in middle.as_chunks::<2>().0 {
            right ^= scramble(&self.s, left) ^ odd;
            left ^= scramble(&self.s, right) ^ even;
        }
        (right ^ last, left)
    }

    /// The end of bcrypt: the three magic blocks, each encrypted 64 times.
    pub(crate) fn finish(&self) -> [u8; 24] {
        // "OrpheanBeholderScryDoubt"
        let mut blocks = [(0x4f72_7068, 0x6561_6e42), (0x6568_6f6c, 0x6465_7253), (0x6372_7944, 0x6f75_6274)];
        let mut digest = [0; 24];
        for (block, bytes) in blocks.iter_mut().zip(digest.as_chunks_mut::<8>().0) {
            for _ in 0..64 {
                *block = self.encrypt(*block);
            }
            *bytes = ((u64::from(block.0) << 32) | u64::from(block.1)).to_be_bytes();
        }
        digest
    }
}

impl Zeroize for Lane {
    fn zeroize(&mut self) {
        self.p.zeroize();
        self.s.as_flattened_mut().zeroize();
    }
}

/// Blowfish's function F.
#[expect(clippy::indexing_slicing, reason = "a byte is always below 256, and the compiler knows")]
#[inline]
pub(crate) fn scramble(boxes: &Boxes, word: u32) -> u32 {
    let [a, b, c, d] = word.to_be_bytes();
    let sum = boxes[0][usize::from(a)].wrapping_add(boxes[1][usize::from(b)]);
    (sum ^ boxes[2][usize::from(c)]).wrapping_add(boxes[3][usize::from(d)])
}

/// Repeats the bytes over eighteen big-endian words.
pub(crate) fn key_words(bytes: impl Iterator<Item = u8> + Clone) -> KeyWords {
    let mut bytes = bytes.cycle();
    [(); 18].map(|()| (0..4).fold(0, |word, _| (word << 8) | u32::from(bytes.next().unwrap_or(0))))
}
