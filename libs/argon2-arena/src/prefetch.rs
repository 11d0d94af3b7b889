//! Prefetching of blocks.

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
use std::ptr;

use crate::block::Block;
use crate::stretch::{References, Stretch};

/// The prefetch distance in blocks, if the address is known that early.
pub(crate) const AHEAD: usize = 2;

/// Prefetches a block that will be read or written soon; ignores an index out of range.
#[inline]
#[target_feature(enable = "sse")]
pub(crate) fn prefetch(memory: &[Block], index: usize) {
    let Some(block) = memory.get(index) else { return };
    // Eight words are a cache line.
    for line in block.0.as_chunks::<8>().0 {
        _mm_prefetch::<_MM_HINT_T0>(ptr::from_ref(line).cast());
    }
}

/// The block to prefetch while the one at `offset` is filled: `next`, which the following block references,
/// or a later one if all references are known.
#[inline]
pub(crate) fn ahead(stretch: &Stretch<'_>, offset: u32, next: usize) -> usize {
    match stretch.references {
        References::Dependent => next,
        References::Given(list) => list.get(offset as usize + AHEAD).map_or(next, |&index| index as usize),
    }
}
