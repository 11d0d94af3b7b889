//! The kernel in plain Rust.

use crate::block::{Block, Order, WORDS};
use crate::stretch::Stretch;

/// The words in the order of the RFC.
pub(crate) static ORDER: Order = order();

#[expect(clippy::cast_possible_truncation, reason = "there are 128 words")]
const fn order() -> Order {
    let mut order = [0; WORDS];
    let mut word = 0;
    while word < WORDS {
        #[expect(clippy::indexing_slicing, reason = "reckoned by the compiler, which would stop")]
        {
            order[word] = word as u8;
        }
        word += 1;
    }
    order
}

pub(crate) fn fill(memory: &mut [Block], stretch: &Stretch<'_>) {
    let mut previous = stretch.previous();
    for (offset, current) in (0..stretch.length).zip(stretch.start()..) {
        let Some(before) = memory.get(previous) else { return };
        let reference = stretch.reference(offset, before.first());
        let mut input = *before;
        let Some(reference) = memory.get(reference) else { return };
        input.mix(reference);
        let mut output = input;
        permute(&mut output);
        output.mix(&input);
        let Some(slot) = memory.get_mut(current) else { return };
        if stretch.mixes {
            slot.mix(&output);
        } else {
            *slot = output;
        }
        previous = current;
    }
}

/// The permutation P on the eight rows, then on the eight columns (RFC 9106 §3.5).
fn permute(block: &mut Block) {
    for row in block.0.as_chunks_mut::<16>().0 {
        round(row);
    }
    for column in 0..8 {
        let mut words = [0; 16];
        // A column is two words wide.
        for (pair, row) in words.as_chunks_mut::<2>().0.iter_mut().zip(block.0.as_chunks::<16>().0) {
            if let Some(two) = row.as_chunks().0.get(column) {
                *pair = *two;
            }
        }
        round(&mut words);
        for (pair, row) in words.as_chunks::<2>().0.iter().zip(block.0.as_chunks_mut::<16>().0) {
            if let Some(two) = row.as_chunks_mut().0.get_mut(column) {
                *two = *pair;
            }
        }
    }
}

/// P of RFC 9106 §3.6: a round of BLAKE2b with multiplications.
#[inline]
fn round(v: &mut [u64; 16]) {
    mix(v, 0, 4, 8, 12);
    mix(v, 1, 5, 9, 13);
    mix(v, 2, 6, 10, 14);
    mix(v, 3, 7, 11, 15);
    mix(v, 0, 5, 10, 15);
    mix(v, 1, 6, 11, 12);
    mix(v, 2, 7, 8, 13);
    mix(v, 3, 4, 9, 14);
}

/// GB of RFC 9106 §3.6.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the places are known only where it is called")]
#[expect(clippy::many_single_char_names, reason = "as in the RFC")]
fn mix(v: &mut [u64; 16], a: usize, b: usize, c: usize, d: usize) {
    let [va, vb, vc, vd] = [a, b, c, d].map(|place| v.get(place).copied().unwrap_or_default());
    let va = add(va, vb);
    let vd = (vd ^ va).rotate_right(32);
    let vc = add(vc, vd);
    let vb = (vb ^ vc).rotate_right(24);
    let va = add(va, vb);
    let vd = (vd ^ va).rotate_right(16);
    let vc = add(vc, vd);
    let vb = (vb ^ vc).rotate_right(63);
    for (place, word) in [(a, va), (b, vb), (c, vc), (d, vd)] {
        if let Some(slot) = v.get_mut(place) {
            *slot = word;
        }
    }
}

/// The sum, and twice the product of the lower halves.
#[inline]
fn add(x: u64, y: u64) -> u64 {
    let product = (x & 0xffff_ffff).wrapping_mul(y & 0xffff_ffff);
    x.wrapping_add(y).wrapping_add(product.wrapping_mul(2))
}
