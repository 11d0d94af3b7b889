//! Authenticated encryption: AES-256-GCM (NIST SP 800-38D) under a key derived by HKDF-SHA-256 (RFC 5869).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, hmac};
use model::Rng;
use zeroize::Zeroizing;

use crate::sealed::purpose::Purpose;

/// The overhead of sealing, in bytes: the nonce before the plaintext and the tag after it.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_LEN + 16;

/// A key of 32 bytes that is overwritten when dropped.
pub(crate) type Key = Zeroizing<[u8; 32]>;

/// HKDF-SHA-256 of `secret` for a purpose: no two purposes share a key.
pub(crate) fn derive(secret: &[u8], salt: &[u8], purpose: Purpose) -> Key {
    expand(secret, salt, purpose.label())
}

#[expect(clippy::expect_used, reason = "HKDF refuses only outputs above 8160 bytes; this one has 32")]
fn expand(secret: &[u8], salt: &[u8], info: &[u8]) -> Key {
    let mut key = Zeroizing::new([0; 32]);
    let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(secret);
    prk.expand(&[info], hmac::HMAC_SHA256)
        .and_then(|okm| okm.fill(key.as_mut()))
        .expect("32 bytes are derived");
    key
}

/// `nonce | ciphertext | tag`, with a random nonce of 96 bits.
#[expect(clippy::expect_used, reason = "AES-GCM refuses only texts above 64 GiB, which no caller holds")]
pub(crate) fn seal(key: &Key, aad: &[u8], plain: &[u8], rng: &Rng) -> Vec<u8> {
    let nonce = rng.bytes::<NONCE_LEN>();
    let mut text = Zeroizing::new(plain.to_vec());
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), text.as_mut_slice())
        .expect("a text of this length is sealed");
    let mut out = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&text);
    out.extend_from_slice(tag.as_ref());
    out
}

/// Opens the output of [`seal`]; `None` if key, data or text differ.
pub(crate) fn open(key: &Key, aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = cipher(key)
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), text.as_mut_slice())
        .ok()?
        .len();
    text.truncate(length);
    Some(text)
}

#[expect(clippy::expect_used, reason = "AES-256 refuses only keys that do not have 32 bytes; this one has")]
fn cipher(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_slice()).expect("32 bytes are an AES-256 key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869 appendix A.1, first 32 bytes of its output.
    #[test]
    fn derives_as_rfc_5869() {
        let salt: Vec<u8> = (0..=0x0c).collect();
        let info: Vec<u8> = (0xf0..=0xf9).collect();
        let key = expand(&[0x0b; 22], &salt, &info);
        assert_eq!(key[..8], [0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a]);
        assert_eq!(key[24..], [0x5d, 0xb0, 0x2d, 0x56, 0xec, 0xc4, 0xc5, 0xbf]);
    }

    #[test]
    fn every_changed_bit_is_refused() {
        let key = derive(b"secret", b"salt", Purpose::Pepper);
        let sealed = seal(&key, b"row 1", b"plain", &Rng::seeded(1));
        assert_eq!(sealed.len(), 5 + OVERHEAD_BYTES);
        assert_eq!(open(&key, b"row 1", &sealed).unwrap().as_slice(), b"plain");
        assert!(open(&key, b"row 2", &sealed).is_none());
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert!(open(&key, b"row 1", &changed).is_none());
            assert!(open(&key, b"row 1", &sealed[..index]).is_none());
        }
    }
}
