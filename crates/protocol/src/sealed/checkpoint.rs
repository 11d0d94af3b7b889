//! The keys that sign checkpoints of the audit trail: Ed25519 (RFC 8032), derived from the master keys.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::sealed::keyring::Keyring;

const PURPOSE: &str = "audit checkpoint signing";

/// Signs checkpoints of the audit trail.
pub struct CheckpointKey {
    id: [u8; 8],
    pair: Ed25519KeyPair,
}

impl CheckpointKey {
    /// The keys of a keyring, one for each master key; the first signs, all of them verify.
    pub fn all(keyring: &Keyring) -> Vec<Self> {
        let key = |seed: [u8; 32]| {
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).ok()?;
            let id = *pair.public_key().as_ref().first_chunk()?;
            Some(Self { id, pair })
        };
        keyring.derive(PURPOSE).into_iter().filter_map(key).collect()
    }

    /// Its name: the first 8 bytes of the public key.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// A signature of 64 bytes.
    pub fn attest(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(message).as_ref().to_vec()
    }

    /// Whether one of `keys` has this name and made this signature.
    pub fn confirms(keys: &[Self], id: &[u8], message: &[u8], signature: &[u8]) -> bool {
        keys.iter().filter(|key| key.id == id).any(|key| {
            let public = UnparsedPublicKey::new(&ED25519, key.pair.public_key().as_ref());
            public.verify(message, signature).is_ok()
        })
    }
}

impl std::fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use model::Rng;

    use super::*;

    #[test]
    fn a_rotated_master_key_still_confirms_what_the_old_one_signed() {
        let line = |seed| Keyring::generate_line(&Rng::seeded(seed)).expose().clone();
        let old = CheckpointKey::all(&Keyring::parse(&line(1)).unwrap());
        let both = CheckpointKey::all(&Keyring::parse(&format!("{}\n{}", line(2), line(1))).unwrap());
        let signature = old[0].attest(b"head");
        let confirms = |keys: &[CheckpointKey], message: &[u8], signature: &[u8]| {
            CheckpointKey::confirms(keys, &old[0].id(), message, signature)
        };
        assert!(confirms(&old, b"head", &signature) && confirms(&both, b"head", &signature));
        assert!(!confirms(&old, b"tail", &signature) && !confirms(&old, b"head", &signature[1..]));
        assert!(!confirms(&both[..1], b"head", &signature), "another key");
    }
}
