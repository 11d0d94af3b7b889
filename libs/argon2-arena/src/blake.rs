//! The hash around the memory: H0 and H' of RFC 9106 §3.2 and §3.3, both of them BLAKE2b.

use blake2::Blake2bVarCore;
use blake2::digest::Output;
use blake2::digest::block_api::{UpdateCore, VariableOutputCore};
use blake2::digest::block_buffer::LazyBuffer;
use zeroize::{Zeroize, Zeroizing};

use crate::{Error, Input, Params};

/// Bytes of the longest BLAKE2b digest, and of H0.
pub(crate) const DIGEST_BYTES: usize = 64;

/// H0: the digest of all inputs.
pub(crate) fn first(
    params: &Params,
    input: &Input<'_>,
    tag_bytes: u32,
) -> Result<Zeroizing<[u8; DIGEST_BYTES]>, Error> {
    let length =
        |part: &[u8]| u32::try_from(part.len()).map(u32::to_le_bytes).map_err(|_| Error::InputLength);
    let lengths =
        [length(input.password)?, length(input.salt)?, length(input.secret)?, length(input.associated)?];
    let [password, salt, secret, associated] = &lengths;
    let mut digest = Zeroizing::new([0; DIGEST_BYTES]);

    blake(
        &[
            &params.parallelism.to_le_bytes(),
            &tag_bytes.to_le_bytes(),
            &params.memory_kib.to_le_bytes(),
            &params.iterations.to_le_bytes(),
            &params.version.number().to_le_bytes(),
            &params.kind.number().to_le_bytes(),
            password,
            input.password,
            salt,
            input.salt,
            secret,
            input.secret,
            associated,
            input.associated,
        ],
        digest.as_mut_slice(),
    )?;
    Ok(digest)
}

/// H': a digest of any length.
pub(crate) fn long(parts: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
    let length = u32::try_from(out.len()).map_err(|_| Error::TagLength)?.to_le_bytes();
    let mut all: [&[u8]; 4] = [&length, &[], &[], &[]];
    for (slot, part) in all.iter_mut().skip(1).zip(parts) {
        *slot = part;
    }
    if out.len() <= DIGEST_BYTES {
        return blake(&all, out);
    }
    // Halves of digests, each the digest of the one before; the last digest has the remaining length.
    let mut digest = Zeroizing::new([0; DIGEST_BYTES]);
    blake(&all, digest.as_mut_slice())?;
    let mut rest = out;
    while let Some((half, after)) = rest.split_at_mut_checked(DIGEST_BYTES / 2) {
        half.copy_from_slice(digest.first_chunk::<{ DIGEST_BYTES / 2 }>().map_or(&[], |half| half));
        rest = after;
        if rest.len() <= DIGEST_BYTES {
            return blake(&[digest.as_slice()], rest);
        }
        let before = digest.clone();
        blake(&[before.as_slice()], digest.as_mut_slice())?;
    }
    Ok(())
}

/// BLAKE2b of the concatenated parts; the digest has the length of `out`, 1 to 64 bytes.
fn blake(parts: &[&[u8]], out: &mut [u8]) -> Result<(), Error> {
    let mut core = Blake2bVarCore::new(out.len()).map_err(|_| Error::TagLength)?;
    let mut buffer = LazyBuffer::default();
    for part in parts {
        buffer.digest_blocks(part, |blocks| core.update_blocks(blocks));
    }
    let mut digest = Output::<Blake2bVarCore>::default();
    core.finalize_variable_core(&mut buffer, &mut digest);
    for (byte, digest) in out.iter_mut().zip(&digest) {
        *byte = *digest;
    }
    digest.as_mut_slice().zeroize();
    Ok(())
}
