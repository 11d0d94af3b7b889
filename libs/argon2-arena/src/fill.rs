//! The passes over the memory (RFC 9106 §3.2).

use zeroize::{Zeroize, Zeroizing};

use crate::blake::{self, DIGEST_BYTES};
use crate::block::{BLOCK_BYTES, Block, WORDS};
use crate::stretch::{References, SLICES, Segment, Shape, Stretch};
use crate::{Error, Kernel, Kind, Params, Version};

/// Blocks whose references one block of addresses holds.
const ADDRESSES: u32 = 128;

/// Writes the first two blocks of each lane.
pub(crate) fn begin(
    kernel: Kernel,
    memory: &mut [Block],
    shape: &Shape,
    first: &[u8; DIGEST_BYTES],
) -> Result<(), Error> {
    let mut bytes = Zeroizing::new([0; BLOCK_BYTES]);
    for (lane, blocks) in (0_u32..).zip(memory.chunks_exact_mut(shape.lane_length as usize)) {
        for (column, block) in (0_u32..2).zip(blocks) {
            blake::long(&[first, &column.to_le_bytes(), &lane.to_le_bytes()], bytes.as_mut_slice())?;
            *block = Block::from_bytes(&bytes, kernel.order());
        }
    }
    Ok(())
}

/// All passes.
pub(crate) fn passes(kernel: Kernel, memory: &mut [Block], shape: Shape, params: &Params) {
    for pass in 0..params.iterations {
        for slice in 0..SLICES {
            for lane in 0..shape.lanes {
                fill_segment(kernel, memory, Segment { shape, pass, slice, lane }, params);
            }
        }
    }
}

fn fill_segment(kernel: Kernel, memory: &mut [Block], segment: Segment, params: &Params) {
    let independent = match params.kind {
        Kind::D => false,
        Kind::I => true,
        Kind::Id => segment.pass == 0 && segment.slice < SLICES / 2,
    };

    let mixes = segment.pass > 0 && params.version == Version::V13;
    let mut block = segment.first();
    let end = segment.shape.segment_length;
    if !independent {
        let references = References::Dependent;
        return kernel.fill(memory, &Stretch { segment, block, length: end - block, references, mixes });
    }

    let mut addresses = Addresses::new(kernel, &segment, params);
    while block < end {
        let list = addresses.next(block);
        let skipped = block % ADDRESSES;
        let length = (ADDRESSES - skipped).min(end - block);
        let mut references = [0; ADDRESSES as usize];
        for ((offset, reference), random) in
            (0..length).zip(&mut references).zip(list.iter().skip(skipped as usize))
        {
            *reference = segment.reference(block + offset, *random);
        }
        let references = References::Given(&references);
        kernel.fill(memory, &Stretch { segment, block, length, references, mixes });
        block += length;
    }
}

/// The random words of a data-independent segment. They depend on nothing secret.
struct Addresses {
    kernel: Kernel,
    input: Block,
}

impl Addresses {
    fn new(kernel: Kernel, segment: &Segment, params: &Params) -> Self {
        let blocks = segment.shape.lanes * segment.shape.lane_length;
        let words =
            [segment.pass, segment.lane, segment.slice, blocks, params.iterations, params.kind.number()];
        let mut input = Block::ZERO;
        for (word, place) in words.into_iter().zip(kernel.order()) {
            input.set(*place, word.into());
        }
        Self { kernel, input }
    }

    /// The addresses around `block`.
    fn next(&mut self, block: u32) -> [u64; WORDS] {
        let order = self.kernel.order();
        if let Some(counter) = order.get(6) {
            self.input.set(*counter, u64::from(block / ADDRESSES) + 1);
        }
        let addresses = self.kernel.compress(&self.kernel.compress(&self.input));
        let mut words = [0; WORDS];
        for (word, place) in words.iter_mut().zip(order) {
            *word = addresses.get(*place);
        }
        words
    }
}

/// The tag, from the last blocks of the lanes; then clears the data from which it could be computed without
/// the work.
pub(crate) fn end(kernel: Kernel, memory: &mut [Block], shape: &Shape, tag: &mut [u8]) -> Result<(), Error> {
    let mut last = Zeroizing::new(Block::ZERO);
    for lane in memory.chunks_exact_mut(shape.lane_length as usize) {
        if let Some(block) = lane.last_mut() {
            last.mix(block);
            block.zeroize();
        }
        for block in lane.iter_mut().take(2) {
            block.zeroize();
        }
    }
    let bytes = Zeroizing::new(last.bytes(kernel.order()));
    blake::long(&[bytes.as_slice()], tag)
}
