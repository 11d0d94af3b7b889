//! The kernel in safe Rust, for every machine: it is what Miri checks and what the assembler is tested
//! against.

use crate::lane::{Lane, scramble};

/// Expands the lanes' keys, in lock-step: the subkeys, then the boxes, are overwritten by the running block.
///
/// Returns `false`, without any effect, if there are no lanes or more than eight.
pub(crate) fn sweep(lanes: &mut [Lane]) -> bool {
    match lanes.len() {
        1 => of::<1>(lanes),
        2 => of::<2>(lanes),
        3 => of::<3>(lanes),
        4 => of::<4>(lanes),
        5 => of::<5>(lanes),
        6 => of::<6>(lanes),
        7 => of::<7>(lanes),
        8 => of::<8>(lanes),
        _ => false,
    }
}

fn of<const N: usize>(lanes: &mut [Lane]) -> bool {
    let Ok(lanes) = <&mut [Lane; N]>::try_from(lanes) else { return false };
    expand(lanes);
    true
}

/// The running blocks, as left and right halves.
type Blocks<const N: usize> = ([u32; N], [u32; N]);

#[expect(clippy::indexing_slicing, reason = "constant bounds: the compiler removes the checks")]
fn expand<const N: usize>(lanes: &mut [Lane; N]) {
    let mut blocks = ([0; N], [0; N]);
    for at in (0..18).step_by(2) {
        encrypt(lanes, &mut blocks);
        for (k, lane) in lanes.iter_mut().enumerate() {
            lane.p[at] = blocks.0[k];
            lane.p[at + 1] = blocks.1[k];
        }
    }
    for b in 0..4 {
        for at in (0..256).step_by(2) {
            encrypt(lanes, &mut blocks);
            for (k, lane) in lanes.iter_mut().enumerate() {
                lane.s[b][at] = blocks.0[k];
                lane.s[b][at + 1] = blocks.1[k];
            }
        }
    }
}

/// One block of every lane through the sixteen rounds; a round of each lane in turn.
#[expect(clippy::indexing_slicing, reason = "constant bounds: the compiler removes the checks")]
#[inline(always)]
#[expect(clippy::inline_always, reason = "the halves stay in registers from one block to the next")]
fn encrypt<const N: usize>(lanes: &[Lane; N], (left, right): &mut Blocks<N>) {
    for k in 0..N {
        left[k] ^= lanes[k].p[0];
    }
    for i in (1..17).step_by(2) {
        for k in 0..N {
            right[k] ^= scramble(&lanes[k].s, left[k]) ^ lanes[k].p[i];
        }
        for k in 0..N {
            left[k] ^= scramble(&lanes[k].s, right[k]) ^ lanes[k].p[i + 1];
        }
    }
    for k in 0..N {
        (left[k], right[k]) = (right[k] ^ lanes[k].p[17], left[k]);
    }
}
