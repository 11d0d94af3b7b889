//! The choice of instructions.

use crate::block::{Block, Order};
use crate::portable;
use crate::stretch::Stretch;
#[cfg(all(target_arch = "x86_64", not(miri)))]
use crate::{avx2, avx512};

/// The instructions that fill the memory. All kernels give the same tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel(Choice);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Portable,
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Avx2,
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    Avx512,
}

impl Kernel {
    /// Plain Rust, for any processor.
    pub const PORTABLE: Self = Self(Choice::Portable);

    /// The fastest kernel of this processor.
    pub fn detect() -> Self {
        Self::all().last().unwrap_or(Self::PORTABLE)
    }

    /// All kernels of this processor, the fastest last.
    pub fn all() -> impl Iterator<Item = Self> {
        let choices = [
            Some(Choice::Portable),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            is_x86_feature_detected!("avx2").then_some(Choice::Avx2),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            is_x86_feature_detected!("avx512f").then_some(Choice::Avx512),
        ];
        choices.into_iter().flatten().map(Self)
    }

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self.0 {
            Choice::Portable => "portable",
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Choice::Avx2 => "AVX2",
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Choice::Avx512 => "AVX-512",
        }
    }

    /// The order of words in its blocks.
    pub(crate) fn order(self) -> &'static Order {
        match self.0 {
            Choice::Portable => &portable::ORDER,
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Choice::Avx2 => &avx2::ORDER,
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            Choice::Avx512 => &avx512::ORDER,
        }
    }

    /// Fills a stretch of the memory.
    #[cfg_attr(
        all(target_arch = "x86_64", not(miri)),
        expect(unsafe_code, reason = "only here it is known what the processor has")
    )]
    pub(crate) fn fill(self, memory: &mut [Block], stretch: &Stretch<'_>) {
        match self.0 {
            Choice::Portable => portable::fill(memory, stretch),
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            // SAFETY: `all` returns this kernel only after it has detected that the processor has AVX2.
            Choice::Avx2 => unsafe { avx2::fill(memory, stretch) },
            #[cfg(all(target_arch = "x86_64", not(miri)))]
            // SAFETY: `all` returns this kernel only after it has detected that the processor has AVX-512 F.
            Choice::Avx512 => unsafe { avx512::fill(memory, stretch) },
        }
    }

    /// The compression function G of RFC 9106 §3.5 with a block of zeros.
    pub(crate) fn compress(self, block: &Block) -> Block {
        // The shortest matrix: block 2 is filled from the blocks 1 and 0.
        let mut memory = [Block::ZERO, *block, Block::ZERO];
        self.fill(&mut memory, &Stretch::THIRD);
        let [.., third] = memory;
        third
    }
}
