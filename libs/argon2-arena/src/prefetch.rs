//! Asking for memory before it is needed.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ptr;

use crate::block::Block;
use crate::stretch::{References, Stretch};

/// How many blocks ahead memory is asked for, where it is known so early what will be needed.
pub(crate) const AHEAD: usize = 2;

/// Asks for a block that will be read or written soon; one that is not there is not asked for.
#[inline]
#[target_feature(enable = "sse")]
pub(crate) fn prefetch(memory: &[Block], index: usize) {
    let Some(block) = memory.get(index) else { return };
    // Eight words are a line of the cache.
    for line in block.0.as_chunks::<8>().0 {
        _mm_prefetch::<_MM_HINT_T0>(ptr::from_ref(line).cast());
    }
}

/// Which block to ask for while the one at `offset` is filled: `next`, which the one after that refers to, or a later
/// one where all are known.
#[inline]
pub(crate) fn ahead(stretch: &Stretch<'_>, offset: u32, next: usize) -> usize {
    match stretch.references {
        References::Dependent => next,
        References::Given(list) => list.get(offset as usize + AHEAD).map_or(next, |&index| index as usize),
    }
}
