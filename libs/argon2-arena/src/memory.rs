//! Memory for blocks: mapped where supported, with huge pages if the system provides them.

use crate::block::Block;

/// The requested kind of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// The default of the system.
    Usual,
    /// Huge pages (2 MiB). The system accepted the advice; it may still use others.
    Huge,
}

#[cfg(all(target_os = "linux", not(miri)))]
pub(crate) use self::mapped::Memory;
#[cfg(not(all(target_os = "linux", not(miri))))]
pub(crate) use self::owned::Memory;

#[cfg(not(all(target_os = "linux", not(miri))))]
mod owned {
    use super::{Block, Pages};

    /// Memory from the allocator.
    pub(crate) struct Memory(Vec<Block>);

    impl Memory {
        pub(crate) fn new(blocks: usize, _: Pages) -> Option<Self> {
            let mut memory = Vec::new();
            memory.try_reserve_exact(blocks).ok()?;
            memory.resize(blocks, Block::ZERO);
            Some(Self(memory))
        }

        pub(crate) fn pages(&self) -> Pages {
            Pages::Usual
        }

        pub(crate) fn blocks(&mut self) -> &mut [Block] {
            &mut self.0
        }

        pub(crate) fn bytes(&self) -> usize {
            self.0.len() * size_of::<Block>()
        }
    }
}

#[cfg(all(target_os = "linux", not(miri)))]
#[expect(unsafe_code, reason = "a mapping is a pointer and a length")]
mod mapped {
    use std::ffi::c_void;
    use std::ptr::{self, NonNull};
    use std::slice;

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

    use super::{Block, Pages};

    /// The size and alignment of a huge page, on x86-64 and on AArch64 with 4 KiB pages.
    const HUGE: usize = 2 << 20;

    /// The distance from an address to the next huge page boundary, if it is not one.
    pub(super) fn to_boundary(address: usize) -> usize {
        address.wrapping_neg() % HUGE
    }

    /// An anonymous private mapping, owned.
    pub(crate) struct Memory {
        mapping: NonNull<c_void>,
        mapped: usize,
        /// Within the mapping, aligned.
        first: NonNull<Block>,
        blocks: usize,
        pages: Pages,
    }

    // SAFETY: the memory belongs to this value alone, and nothing in it depends on the thread.
    unsafe impl Send for Memory {}
    // SAFETY: a shared reference reads fields only.
    unsafe impl Sync for Memory {}

    impl Memory {
        pub(crate) fn new(blocks: usize, pages: Pages) -> Option<Self> {
            let bytes = blocks.checked_mul(size_of::<Block>()).filter(|&bytes| bytes > 0)?;
            // Less than a huge page does not benefit from one.
            let huge = pages == Pages::Huge && bytes >= HUGE;
            let bytes = if huge { bytes.checked_next_multiple_of(HUGE)? } else { bytes };
            // The parts before the first and after the last huge page are never touched and cost only
            // addresses.
            let mapped = if huge { bytes.checked_add(HUGE)? } else { bytes };
            // SAFETY: a new mapping at an address that the system chooses overlaps nothing.
            let mapping = unsafe {
                mmap_anonymous(ptr::null_mut(), mapped, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
            };
            let mapping = NonNull::new(mapping.ok()?)?;
            let skipped = if huge { to_boundary(mapping.addr().get()) } else { 0 };
            // SAFETY: `skipped` is less than `HUGE`, by which the mapping is longer than the used part.
            let first = unsafe { mapping.byte_add(skipped) };
            let pages =
                if huge && Self::asks_for_huge_pages(first, bytes) { Pages::Huge } else { Pages::Usual };
            let blocks = bytes / size_of::<Block>();
            Some(Self { mapping, mapped, first: first.cast(), blocks, pages })
        }

        fn asks_for_huge_pages(first: NonNull<c_void>, bytes: usize) -> bool {
            // SAFETY: the range was just mapped, and this advice changes none of its contents.
            unsafe { madvise(first.as_ptr(), bytes, Advice::LinuxHugepage) }.is_ok()
        }

        pub(crate) fn pages(&self) -> Pages {
            self.pages
        }

        pub(crate) fn blocks(&mut self) -> &mut [Block] {
            // SAFETY: the range is within the mapping, which is aligned to pages at least, and so to blocks'
            // lines; it holds zeros or blocks, for which all bit patterns are valid; the borrow is exclusive,
            // as `self` is.
            unsafe { slice::from_raw_parts_mut(self.first.as_ptr(), self.blocks) }
        }

        pub(crate) fn bytes(&self) -> usize {
            self.blocks * size_of::<Block>()
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            // SAFETY: exactly the mapping that this value owns; no reference into it outlives the value.
            let _ = unsafe { munmap(self.mapping.as_ptr(), self.mapped) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_impossible_size_allocates_nothing() {
        for pages in [Pages::Usual, Pages::Huge] {
            // More than any address space, and more than can be counted.
            assert!(Memory::new(1 << 52, pages).is_none());
            assert!(Memory::new(usize::MAX, pages).is_none());
        }
    }

    #[test]
    #[cfg(all(target_os = "linux", not(miri)))]
    fn the_first_huge_page_begins_on_a_boundary() {
        let page = 2 << 20;
        for (address, distance) in [(0, 0), (page, 0), (4096, page - 4096), (3 * page - 4096, 4096)] {
            assert_eq!(mapped::to_boundary(address), distance);
        }
    }

    #[test]
    fn huge_pages_are_asked_for_where_one_would_fit() {
        let mut small = Memory::new(8, Pages::Huge).unwrap();
        assert_eq!((small.pages(), small.bytes()), (Pages::Usual, 8 << 10));
        assert_eq!(small.blocks().len(), 8);
        let mut large = Memory::new(2049, Pages::Huge).unwrap();
        if large.pages() == Pages::Huge {
            assert_eq!(large.bytes(), 4 << 20);
            assert!(large.blocks().as_ptr().addr().is_multiple_of(2 << 20));
        }
        // All of it is writable.
        large.blocks().fill(Block([7; 128]));
        assert!(large.blocks().iter().all(|block| block.first() == 7));
    }
}
