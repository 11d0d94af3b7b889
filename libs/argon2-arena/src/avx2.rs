//! The kernel with AVX2: a pair of rows, or a pair of columns' worth of words, in eight of sixteen registers.
//!
//! As in the kernel with AVX-512, a block is eight rows `r` of four quarters `m` of four words `c`; the row
//! round rotates the words of a quarter, the column round those of a pair of rows and a pair of columns,
//! which count 2 * (r & 1) + (c & 1). Here the lower bit of that count says which of two registers a word is
//! in, so that a rotation takes the other register or swaps lanes, and again there is one move from one
//! arrangement to the other:
//!
//! * *stored*: rotated within the pairs of rows, by r / 2;
//! * *inner*: rotated within the quarters, by m.
#![expect(unsafe_code, reason = "registers are other views of blocks")]

use std::arch::x86_64::{
    __m256i, _mm256_add_epi64, _mm256_mul_epu32, _mm256_permute4x64_epi64, _mm256_setr_epi8,
    _mm256_shuffle_epi8, _mm256_shuffle_epi32, _mm256_srli_epi64, _mm256_xor_si256,
};
use std::ptr;

use crate::block::{Block, Order, WORDS};
use crate::prefetch::{AHEAD, ahead, prefetch};
use crate::stretch::Stretch;

/// Two registers: the words with an even count, and those with an odd one.
type Two = [__m256i; 2];
/// A pair of rows by quarters, or a quarter by pairs of rows.
type Round = [Two; 4];
/// A block: first by pairs of rows, then by quarters.
type State = [Round; 4];

/// The index of each word in a block.
pub(crate) static ORDER: Order = order();

#[expect(clippy::indexing_slicing, reason = "reckoned by the compiler, which would stop")]
#[expect(clippy::cast_possible_truncation, reason = "there are 128 places")]
const fn order() -> Order {
    let mut order = [0; WORDS];
    let mut place = 0;
    while place < WORDS {
        let (pair, quarter, odd) = (place / 32, place / 8 % 4, place / 4 % 2);
        let (row, columns) = (place / 2 % 2, place % 2);
        let turned = (2 * row + odd + pair) % 4;
        order[16 * (2 * pair + turned / 2) + 4 * quarter + 2 * columns + turned % 2] = place as u8;
        place += 1;
    }
    order
}

#[target_feature(enable = "avx2")]
pub(crate) fn fill(memory: &mut [Block], stretch: &Stretch<'_>) {
    let mut previous = stretch.previous();
    let Some(before) = memory.get(previous) else { return };
    let mut reference = stretch.reference(0, before.first());

    for (offset, current) in (0..stretch.length).zip(stretch.start()..) {
        prefetch(memory, current + AHEAD);
        let (Some(before), Some(referred)) = (memory.get(previous), memory.get(reference)) else { return };
        let ([x0, x1, x2, x3], [y0, y1, y2, y3]) = (registers(before), registers(referred));
        let input = [xor(x0, y0), xor(x1, y1), xor(x2, y2), xor(x3, y3)];
        let Some(slot) = memory.get_mut(current) else { return };
        let [z0, z1, z2, z3] = registers_mut(slot);
        let [i0, i1, i2, i3] = &input;
        // The block's own memory holds the value that is xored in at the end.
        if stretch.mixes {
            [*z0, *z1, *z2, *z3] = [xor(z0, i0), xor(z1, i1), xor(z2, i2), xor(z3, i3)];
        } else {
            [*z0, *z1, *z2, *z3] = input;
        }
        let [a, b, c, d] = [row::<0>(*i0), row::<1>(*i1), row::<2>(*i2), row::<3>(*i3)];
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (a, b);
        let ([c0, c1, c2, c3], [d0, d1, d2, d3]) = (c, d);
        // The columns with the first word come first: it determines the next referenced block.
        let [za, zb, zc, zd] = [z0, z1, z2, z3];
        add_column::<0>([a0, b0, c0, d0], [&mut za[0], &mut zb[0], &mut zc[0], &mut zd[0]]);
        let Some(slot) = memory.get(current) else { return };
        reference = stretch.reference(offset + 1, slot.first());
        prefetch(memory, ahead(stretch, offset, reference));
        let Some(slot) = memory.get_mut(current) else { return };
        let [za, zb, zc, zd] = registers_mut(slot);
        add_column::<1>([a1, b1, c1, d1], [&mut za[1], &mut zb[1], &mut zc[1], &mut zd[1]]);
        add_column::<2>([a2, b2, c2, d2], [&mut za[2], &mut zb[2], &mut zc[2], &mut zd[2]]);
        add_column::<3>([a3, b3, c3, d3], [&mut za[3], &mut zb[3], &mut zc[3], &mut zd[3]]);
        previous = current;
    }
}

/// The row round of a pair of rows: from the stored arrangement to the inner one.
#[inline]
#[target_feature(enable = "avx2")]
fn row<const PAIR: usize>(words: Round) -> Round {
    let [a, b, c, d] = mix(words);
    mix([inwards::<PAIR, 0>(a), inwards::<PAIR, 1>(b), inwards::<PAIR, 2>(c), inwards::<PAIR, 3>(d)])
}

/// The column round of a quarter: from the inner arrangement to the stored one, mixed into the block.
#[inline]
#[target_feature(enable = "avx2")]
fn add_column<const QUARTER: usize>(words: Round, into: [&mut Two; 4]) {
    let [a, b, c, d] = mix(words);
    let words = mix([
        outwards::<0, QUARTER>(a),
        outwards::<1, QUARTER>(b),
        outwards::<2, QUARTER>(c),
        outwards::<3, QUARTER>(d),
    ]);
    let ([w0, w1, w2, w3], [i0, i1, i2, i3]) = (&words, into);
    [*i0, *i1, *i2, *i3] = [xor_two(i0, w0), xor_two(i1, w1), xor_two(i2, w2), xor_two(i3, w3)];
}

/// From the stored arrangement to the inner one.
#[inline]
#[target_feature(enable = "avx2")]
fn inwards<const PAIR: usize, const QUARTER: usize>([even, odd]: Two) -> Two {
    let [even, odd] = if (PAIR + QUARTER).is_multiple_of(2) { [even, odd] } else { [odd, even] };
    [swap(even, const { swapped(PAIR, QUARTER, 0) }), swap(odd, const { swapped(PAIR, QUARTER, 1) })]
}

/// From the inner arrangement to the stored one.
#[inline]
#[target_feature(enable = "avx2")]
fn outwards<const PAIR: usize, const QUARTER: usize>([even, odd]: Two) -> Two {
    let even = swap(even, const { swapped(PAIR, QUARTER, 0) });
    let odd = swap(odd, const { swapped(PAIR, QUARTER, 1) });
    if (PAIR + QUARTER).is_multiple_of(2) { [even, odd] } else { [odd, even] }
}

/// The bits by which the lane of a word differs between the arrangements: 2 for its row, 1 for its columns.
/// `odd` is that of the inner arrangement.
const fn swapped(pair: usize, quarter: usize, odd: usize) -> usize {
    let stored = (odd + quarter + pair) % 2;
    ((stored + pair) >> 1 & 1) << 1 | ((odd + quarter) >> 1 & 1)
}

/// Swaps lanes whose numbers differ by these bits.
#[inline]
#[target_feature(enable = "avx2")]
fn swap(words: __m256i, bits: usize) -> __m256i {
    match bits {
        0 => words,
        1 => _mm256_shuffle_epi32::<0b01_00_11_10>(words),
        2 => _mm256_permute4x64_epi64::<0b01_00_11_10>(words),
        _ => _mm256_permute4x64_epi64::<0b00_01_10_11>(words),
    }
}

/// GB of RFC 9106 §3.6, eight times.
#[inline]
#[target_feature(enable = "avx2")]
fn mix([a, b, c, d]: Round) -> Round {
    let a = add(a, b);
    let [d0, d1] = xor_two(&d, &a);
    let d = [_mm256_shuffle_epi32::<0b10_11_00_01>(d0), _mm256_shuffle_epi32::<0b10_11_00_01>(d1)];
    let c = add(c, d);
    let [b0, b1] = xor_two(&b, &c);
    let b = [turn_24(b0), turn_24(b1)];
    let a = add(a, b);
    let [d0, d1] = xor_two(&d, &a);
    let d = [turn_16(d0), turn_16(d1)];
    let c = add(c, d);
    let [b0, b1] = xor_two(&b, &c);
    [a, [turn_left(b0), turn_left(b1)], c, d]
}

/// The sums, and twice the products of the lower halves.
#[inline]
#[target_feature(enable = "avx2")]
fn add([x0, x1]: Two, [y0, y1]: Two) -> Two {
    let (p0, p1) = (_mm256_mul_epu32(x0, y0), _mm256_mul_epu32(x1, y1));
    [
        _mm256_add_epi64(_mm256_add_epi64(x0, y0), _mm256_add_epi64(p0, p0)),
        _mm256_add_epi64(_mm256_add_epi64(x1, y1), _mm256_add_epi64(p1, p1)),
    ]
}

/// Rotates each word right by two bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_16(words: __m256i) -> __m256i {
    let from = _mm256_setr_epi8(
        2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15, 8, 9, 2, 3, 4, 5, 6, 7, 0, 1, 10, 11, 12, 13, 14, 15,
        8, 9,
    );
    _mm256_shuffle_epi8(words, from)
}

/// Rotates each word right by three bytes.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_24(words: __m256i) -> __m256i {
    let from = _mm256_setr_epi8(
        3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8, 9, 10, 3, 4, 5, 6, 7, 0, 1, 2, 11, 12, 13, 14, 15, 8,
        9, 10,
    );
    _mm256_shuffle_epi8(words, from)
}

/// Rotates each word left by one bit.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_left(words: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_srli_epi64::<63>(words), _mm256_add_epi64(words, words))
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor([x0, x1, x2, x3]: &Round, [y0, y1, y2, y3]: &Round) -> Round {
    [xor_two(x0, y0), xor_two(x1, y1), xor_two(x2, y2), xor_two(x3, y3)]
}

#[inline]
#[target_feature(enable = "avx2")]
fn xor_two([x0, x1]: &Two, [y0, y1]: &Two) -> Two {
    [_mm256_xor_si256(*x0, *y0), _mm256_xor_si256(*x1, *y1)]
}

/// A block, as registers.
#[inline]
fn registers(block: &Block) -> &State {
    // SAFETY: both are 1 KiB, a block is aligned to 64 bytes and registers to 32, and all bit patterns are
    // valid for both.
    unsafe { &*ptr::from_ref(block).cast() }
}

/// A block, as registers.
#[inline]
fn registers_mut(block: &mut Block) -> &mut State {
    // SAFETY: as in `registers`; the borrow is exclusive as before.
    unsafe { &mut *ptr::from_mut(block).cast() }
}
