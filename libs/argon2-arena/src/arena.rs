//! The arena: memory for hashes, and hashing in it.

use std::hint::black_box;

use crate::block::Block;
use crate::memory::Memory;
use crate::stretch::Shape;
use crate::{Error, Input, Kernel, Pages, Params, blake, fill};

/// The memory of one thread for Argon2, reused from hash to hash.
///
/// It holds nothing before the first hash, grows to what a hash needs, and never shrinks by itself.
pub struct Arena {
    kernel: Kernel,
    asked: Pages,
    memory: Option<Memory>,
}

impl Default for Arena {
    fn default() -> Self {
        Self::new()
    }
}

impl Arena {
    /// An arena with the fastest kernel of this processor, and huge pages if the system provides them.
    pub fn new() -> Self {
        Self::with(Kernel::detect(), Pages::Huge)
    }

    /// An arena with the given kernel and pages, for comparisons.
    pub fn with(kernel: Kernel, pages: Pages) -> Self {
        Self { kernel, asked: pages, memory: None }
    }

    /// Hashes a password with a salt; the tag is as long as `tag`.
    ///
    /// # Errors
    /// [`Error`]; `tag` is then unchanged.
    pub fn hash(
        &mut self,
        params: &Params,
        password: &[u8],
        salt: &[u8],
        tag: &mut [u8],
    ) -> Result<(), Error> {
        self.hash_input(params, &Input::new(password, salt), tag)
    }

    /// As [`Self::hash`], with an optional secret and associated data.
    ///
    /// # Errors
    /// [`Error`]; `tag` is then unchanged.
    pub fn hash_input(&mut self, params: &Params, input: &Input<'_>, tag: &mut [u8]) -> Result<(), Error> {
        params.check()?;
        input.check()?;
        let tag_bytes = u32::try_from(tag.len()).map_err(|_| Error::TagLength)?;
        if tag.len() < Params::MIN_TAG_BYTES {
            return Err(Error::TagLength);
        }
        let shape = Shape::new(params.memory_kib, params.parallelism);
        let kernel = self.kernel;
        let memory = self.grown(shape.blocks())?;
        let Some(memory) = memory.blocks().get_mut(..shape.blocks()) else { return Err(Error::OutOfMemory) };
        let first = blake::first(params, input, tag_bytes)?;
        fill::begin(kernel, memory, &shape, &first)?;
        fill::passes(kernel, memory, shape, params);
        fill::end(kernel, memory, &shape, tag)
    }

    /// Memory of at least this many blocks. Its content does not matter: a hash reads only what it has
    /// written.
    fn grown(&mut self, blocks: usize) -> Result<&mut Memory, Error> {
        let kept = self.memory.take_if(|memory| memory.blocks().len() >= blocks);
        // The old memory is freed first, so that both never exist together.
        self.memory = None;
        let memory = kept.or_else(|| Memory::new(blocks, self.asked)).ok_or(Error::OutOfMemory)?;
        Ok(self.memory.insert(memory))
    }

    /// Overwrites all the memory with zeros, and keeps it. The README describes what earlier hashes leave in
    /// it otherwise.
    pub fn wipe(&mut self) {
        if let Some(memory) = &mut self.memory {
            let blocks = memory.blocks();
            blocks.fill(Block::ZERO);
            // Keeps the compiler from removing the writes.
            black_box(blocks);
        }
    }

    /// Returns the memory to the system; the next hash allocates again.
    pub fn release(&mut self) {
        self.memory = None;
    }

    /// The reserved address space, in bytes; the resident memory may be less.
    pub fn reserved_bytes(&self) -> usize {
        self.memory.as_ref().map_or(0, Memory::bytes)
    }

    /// The requested kind of pages; `None` while there is no memory.
    pub fn pages(&self) -> Option<Pages> {
        self.memory.as_ref().map(Memory::pages)
    }

    /// The kernel in use.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashed(kernel: Kernel) -> Arena {
        let mut arena = Arena::with(kernel, Pages::Huge);
        let params = Params { parallelism: 2, ..Params::argon2id(64, 1) };
        arena.hash(&params, b"password", b"salt and pepper", &mut [0; 32]).unwrap();
        arena
    }

    fn is_clear(block: &Block) -> bool {
        block.0.iter().all(|word| *word == 0)
    }

    #[test]
    fn blocks_that_would_shorten_a_guess_are_cleared() {
        for kernel in Kernel::all() {
            let mut arena = hashed(kernel);
            let blocks = &arena.memory.as_mut().unwrap().blocks()[..64];
            let clear: Vec<_> = (0..64).filter(|&index| is_clear(&blocks[index])).collect();
            assert_eq!(clear, [0, 1, 31, 32, 33, 63]);
        }
    }

    #[test]
    fn a_wiped_arena_is_clear_and_a_released_one_holds_nothing() {
        for kernel in Kernel::all() {
            let mut arena = hashed(kernel);
            assert!(arena.reserved_bytes() >= 64 << 10);
            arena.wipe();
            assert!(arena.memory.as_mut().unwrap().blocks().iter().all(is_clear));
            arena.release();
            assert_eq!((arena.reserved_bytes(), arena.pages()), (0, None));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "some hours")]
    fn a_smaller_hash_keeps_the_memory_and_a_larger_one_takes_more() {
        let mut arena = Arena::new();
        let mut sizes = Vec::new();
        for memory_kib in [4096, 8, 8192] {
            arena.hash(&Params::argon2id(memory_kib, 1), b"", b"saltsalt", &mut [0; 4]).unwrap();
            sizes.push(arena.reserved_bytes() >> 20);
        }
        assert_eq!(sizes, [4, 4, 8]);
    }

    #[test]
    fn an_arena_may_change_threads() {
        fn needs<T: Send + Sync>(_: &T) {}
        needs(&Arena::new());
    }
}
