//! The kernel with AVX-512: the whole block in sixteen registers.
//!
//! A block is eight rows `r` of four quarters `m` of four words `c`. The row round takes its four operands
//! from the four quarters of a row, and then from quarters rotated by 0 to 3 words. The column round takes
//! them from the four pairs of rows, and then from pairs rotated likewise; within a pair of rows and a pair
//! of columns the words count 2 * (r & 1) + (c & 1).
//!
//! Register 4 * (r / 2) + m holds the words with that pair of rows and that quarter: both rounds take their
//! operands from four whole registers, and words move only within a register. There are two arrangements,
//! each suited to two consecutive steps, and one permutation of each register leads from one to the other,
//! instead of one for each rotation and its inverse:
//!
//! * *stored*: rotated within the pairs of rows, by r / 2. Suits the second half of the column round, the
//!   memory, and the first half of the row round.
//! * *inner*: rotated within the quarters, by m. Suits the second half of the row round and the first half of
//!   the column round.

#![expect(unsafe_code, reason = "registers are other views of blocks")]

use std::arch::x86_64::{
    __m512i, _mm_cvtsi128_si64, _mm512_add_epi64, _mm512_castsi512_si128, _mm512_mul_epu32,
    _mm512_permutexvar_epi64, _mm512_ror_epi64, _mm512_xor_si512,
};
use std::ptr;

use crate::block::{Block, Order, WORDS};
use crate::prefetch::{AHEAD, ahead, prefetch};
use crate::stretch::Stretch;

/// Words of a register.
const LANES: usize = 8;

/// First by pairs of rows, then by quarters.
type State = [[__m512i; 4]; 4];

/// The word that a lane of a register holds in the stored arrangement.
const fn stored(register: usize, lane: usize) -> usize {
    let (pair, quarter) = (register / 4, register % 4);
    let turned = (2 * (lane / 4) + lane % 2 + pair) % 4;
    word(2 * pair + turned / 2, quarter, lane / 2 % 2 * 2 + turned % 2)
}

/// The word that it holds in the inner arrangement.
const fn inner(register: usize, lane: usize) -> usize {
    let (pair, quarter) = (register / 4, register % 4);
    word(2 * pair + lane / 4, quarter, (lane + quarter) % 4)
}

const fn word(row: usize, quarter: usize, column: usize) -> usize {
    16 * row + 4 * quarter + column
}

/// The index of each word in a block.
pub(crate) static ORDER: Order = order();
/// For each register, the source lane of each lane.
static TO_INNER: Block = moves(true);
/// The inverse; first by quarters, then by pairs of rows.
static TO_STORED: Block = moves(false);

#[expect(clippy::indexing_slicing, reason = "reckoned by the compiler, which would stop")]
#[expect(clippy::cast_possible_truncation, reason = "there are 128 places")]
const fn order() -> Order {
    let mut order = [0; WORDS];
    let mut place = 0;
    while place < WORDS {
        order[stored(place / LANES, place % LANES)] = place as u8;
        place += 1;
    }
    order
}

#[expect(clippy::indexing_slicing, reason = "reckoned by the compiler, which would stop")]
const fn moves(inwards: bool) -> Block {
    let mut moves = Block::ZERO;
    let mut at = 0;
    while at < WORDS * LANES {
        let (register, to, from) = (at / LANES / LANES, at / LANES % LANES, at % LANES);
        let (fits, place) = if inwards {
            (stored(register, from) == inner(register, to), register)
        } else {
            (stored(register, to) == inner(register, from), register % 4 * 4 + register / 4)
        };
        if fits {
            moves.0[place * LANES + to] = from as u64;
        }
        at += 1;
    }
    moves
}

/// P of RFC 9106 §3.6 on two rows or columns for each group: GB, the words moved, GB. The groups are
/// interleaved, so that the work of one fills the latency of another; a macro, because all registers must be
/// named at once.
macro_rules! round {
    ($([$a:ident $b:ident $c:ident $d:ident: $moves:ident])+) => {
        mix!($([$a $b $c $d])+);
        $([*$a, *$b, *$c, *$d] = moved([$a, $b, $c, $d], $moves);)+
        mix!($([$a $b $c $d])+);
    };
}

/// GB of RFC 9106 §3.6 on each group.
macro_rules! mix {
    ($([$a:ident $b:ident $c:ident $d:ident])+) => {
        $(*$a = add(*$a, *$b);)+
        $(*$d = _mm512_ror_epi64::<32>(_mm512_xor_si512(*$d, *$a));)+
        $(*$c = add(*$c, *$d);)+
        $(*$b = _mm512_ror_epi64::<24>(_mm512_xor_si512(*$b, *$c));)+
        $(*$a = add(*$a, *$b);)+
        $(*$d = _mm512_ror_epi64::<16>(_mm512_xor_si512(*$d, *$a));)+
        $(*$c = add(*$c, *$d);)+
        $(*$b = _mm512_ror_epi64::<63>(_mm512_xor_si512(*$b, *$c));)+
    };
}

#[target_feature(enable = "avx512f")]
pub(crate) fn fill(memory: &mut [Block], stretch: &Stretch<'_>) {
    let Some(before) = memory.get(stretch.previous()) else { return };
    let mut reference = stretch.reference(0, before.first());
    let mut state = *registers(before);
    for (offset, current) in (0..stretch.length).zip(stretch.start()..) {
        let Some(referred) = memory.get(reference) else { return };
        state = xor(&state, registers(referred));
        let Some(slot) = memory.get_mut(current) else { return };
        let slot = registers_mut(slot);
        // The block's own memory holds the value that is xored in at the end.
        *slot = if stretch.mixes { xor(slot, &state) } else { state };
        let [[mixed, ..], ..] = *slot;
        prefetch(memory, current + AHEAD);

        let [[a0, a1, a2, a3], [b0, b1, b2, b3], [c0, c1, c2, c3], [d0, d1, d2, d3]] = &mut state;
        let [moves_a, moves_b, moves_c, moves_d] = registers(&TO_INNER);
        round!([a0 a1 a2 a3: moves_a] [b0 b1 b2 b3: moves_b] [c0 c1 c2 c3: moves_c] [d0 d1 d2 d3: moves_d]);
        // The columns with the first word come first: it determines the next referenced block.
        let [moves0, moves1, moves2, moves3] = registers(&TO_STORED);
        round!([a0 b0 c0 d0: moves0]);
        let first = _mm_cvtsi128_si64(_mm512_castsi512_si128(_mm512_xor_si512(*a0, mixed)));
        reference = stretch.reference(offset + 1, first.cast_unsigned());
        prefetch(memory, ahead(stretch, offset, reference));
        round!([a1 b1 c1 d1: moves1] [a2 b2 c2 d2: moves2] [a3 b3 c3 d3: moves3]);

        let Some(slot) = memory.get_mut(current) else { return };
        let slot = registers_mut(slot);
        state = xor(slot, &state);
        *slot = state;
    }
}

/// The words of four registers, permuted between lanes.
#[inline]
#[target_feature(enable = "avx512f")]
fn moved([a, b, c, d]: [&__m512i; 4], [move_a, move_b, move_c, move_d]: &[__m512i; 4]) -> [__m512i; 4] {
    [
        _mm512_permutexvar_epi64(*move_a, *a),
        _mm512_permutexvar_epi64(*move_b, *b),
        _mm512_permutexvar_epi64(*move_c, *c),
        _mm512_permutexvar_epi64(*move_d, *d),
    ]
}

/// The sum, and twice the product of the lower halves.
#[inline]
#[target_feature(enable = "avx512f")]
fn add(x: __m512i, y: __m512i) -> __m512i {
    let product = _mm512_mul_epu32(x, y);
    // The product is added last: two sums are ready before it.
    _mm512_add_epi64(_mm512_add_epi64(x, y), _mm512_add_epi64(product, product))
}

/// The sums without carry. Unrolled: a loop over registers would spill them to memory.
#[inline]
#[target_feature(enable = "avx512f")]
fn xor([x0, x1, x2, x3]: &State, [y0, y1, y2, y3]: &State) -> State {
    [xor_four(x0, y0), xor_four(x1, y1), xor_four(x2, y2), xor_four(x3, y3)]
}

#[inline]
#[target_feature(enable = "avx512f")]
fn xor_four([x0, x1, x2, x3]: &[__m512i; 4], [y0, y1, y2, y3]: &[__m512i; 4]) -> [__m512i; 4] {
    [
        _mm512_xor_si512(*x0, *y0),
        _mm512_xor_si512(*x1, *y1),
        _mm512_xor_si512(*x2, *y2),
        _mm512_xor_si512(*x3, *y3),
    ]
}

/// A block, as registers.
#[inline]
fn registers(block: &Block) -> &State {
    // SAFETY: both are 1 KiB, a block is aligned to 64 bytes as registers are, and all bit patterns are valid
    // for both.
    unsafe { &*ptr::from_ref(block).cast() }
}

/// A block, as registers.
#[inline]
fn registers_mut(block: &mut Block) -> &mut State {
    // SAFETY: as in `registers`; the borrow is exclusive as before.
    unsafe { &mut *ptr::from_mut(block).cast() }
}
