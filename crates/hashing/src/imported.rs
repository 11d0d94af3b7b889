//! Hashes of other systems, checked by the rules of their origin on the calling thread.
//!
//! Each computes the whole of its hash whatever the password is, and compares in constant time.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::pbkdf2;
use protocol::wire::password_hash::{
    Digest, FirebaseHash, Pbkdf2Hash, SHA_CRYPT_PASSWORD_BYTES, ScryptCost, ScryptHash, ShaCryptHash,
    ShaCryptTag,
};
use zeroize::Zeroizing;

/// What scrypt may need beside its three buffers, in bytes: their rounding to pages, and small change.
const PROBE_SLACK: usize = 64 * 1024;

/// PBKDF2: any length, and NUL is a byte.
pub(crate) fn pbkdf2(hash: &Pbkdf2Hash, password: &[u8]) -> bool {
    let algorithm = match hash.digest {
        Digest::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        Digest::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        Digest::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
    };
    pbkdf2::verify(algorithm, hash.iterations, &hash.salt, password, &hash.tag).is_ok()
}

/// scrypt: any length, and NUL is a byte. Its memory is taken for each check, within the cap of the format; None when
/// there is none.
pub(crate) fn scrypt(hash: &ScryptHash, password: &[u8]) -> Option<bool> {
    let mut output = Zeroizing::new(vec![0; hash.tag.len()]);
    let computed = derive(hash.cost, password, &hash.salt, &mut output)?;
    Some(computed && verify_slices_are_equal(&output, &hash.tag).is_ok())
}

/// Firebase's scrypt: the key stream of AES-256 in counter mode, from counter zero, under 32 bytes of scrypt.
/// None when there is no memory.
pub(crate) fn firebase(hash: &FirebaseHash, password: &[u8]) -> Option<bool> {
    let mut key = Zeroizing::new([0; 32]);
    let mut stream = Zeroizing::new(vec![0; hash.tag.len()]);
    let computed = derive(hash.cost, password, &hash.salt, key.as_mut_slice())?;
    let encrypt = |stream: &mut [u8]| {
        let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, key.as_slice()).ok()?).ok()?;
        key.less_safe_encrypt(stream, EncryptionContext::Iv128(FixedLength::from([0; 16]))).ok()
    };
    let encrypted = computed && encrypt(&mut stream).is_some();
    Some(encrypted && verify_slices_are_equal(&stream, &hash.tag).is_ok())
}

/// Whether `output` was filled: not with a cost that nothing is computed with. None when there is no memory for it.
fn derive(cost: ScryptCost, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<bool> {
    let Ok(params) = scrypt::Params::new(cost.log_n, cost.r, cost.p) else { return Some(false) };
    probe(cost)?;
    Some(scrypt::scrypt(password, salt, &params, output).is_ok())
}

/// Whether the memory of one check can be had now: asked for in one piece, and given back.
///
/// The library takes no memory of its caller's and aborts the process where it gets none, so it is called only after
/// this. What is left is a race: between giving back and taking again, another thread can take what was there, and the
/// library aborts after all. And a system that promises more than it has (overcommit) can break the promise later, as
/// with any other memory.
fn probe(cost: ScryptCost) -> Option<()> {
    let block = usize::try_from(cost.r).ok()?.checked_mul(128)?;
    let table = 1_usize.checked_shl(cost.log_n.into())?.checked_mul(block)?;
    let lanes = usize::try_from(cost.p).ok()?.checked_mul(block)?;
    let bytes = table.checked_add(lanes)?.checked_add(block)?.checked_add(PROBE_SLACK)?;
    let mut memory = Vec::<u8>::new();
    memory.try_reserve_exact(bytes).ok()?;
    // Memory that nobody looks at may be left out by the compiler, and with it the question.
    std::hint::black_box(&mut memory);
    Some(())
}

/// SHA-crypt: a C string, so the password ends before a NUL; libxcrypt refuses more than 511 bytes.
pub(crate) fn sha_crypt(hash: &ShaCryptHash, password: &[u8]) -> bool {
    let nul = password.iter().position(|&byte| byte == 0).unwrap_or(password.len());
    let password = password.get(..nul).unwrap_or(password);
    // What is too long costs what the longest costs, and no more.
    let cut = password.get(..SHA_CRYPT_PASSWORD_BYTES).unwrap_or(password);
    let Ok(params) = sha_crypt::Params::new(hash.rounds) else { return false };
    let salt = hash.salt.as_bytes();
    let same = match &hash.tag {
        ShaCryptTag::Sha256(tag) => {
            verify_slices_are_equal(&*Zeroizing::new(sha_crypt::sha256_crypt(cut, salt, params)), tag)
        }
        ShaCryptTag::Sha512(tag) => {
            verify_slices_are_equal(&*Zeroizing::new(sha_crypt::sha512_crypt(cut, salt, params)), tag)
        }
    };
    same.is_ok() && cut.len() == password.len()
}

#[cfg(test)]
mod tests {
    use protocol::wire::password_hash::{FirebaseHash, ScryptCost, ScryptHash, StoredHash};
    use unicode_normalization::UnicodeNormalization as _;

    use super::{firebase, scrypt};
    use crate::scheme::{WorkerBuffers, verify};

    /// Texts that the real programs wrote: kind, text, and the password in JSON.
    const VECTORS: &str = include_str!("../../../testkit/data/password-hashes.tsv");

    fn vectors() -> impl Iterator<Item = (&'static str, &'static str, String)> {
        VECTORS.lines().map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            (columns[0], columns[1], serde_json::from_str(columns[2]).unwrap())
        })
    }

    fn matches(text: &str, password: &str) -> bool {
        let stored = StoredHash::parse(&format!("import:{text}")).unwrap();
        verify(&stored, password.as_bytes(), &mut WorkerBuffers::default()).unwrap()
    }

    /// As received: neither normalised nor, but by bcrypt, cut.
    #[test]
    fn a_37_every_format_takes_its_password_as_received() {
        for (kind, text, password) in vectors() {
            assert!(matches(text, &password), "{kind} {text} {password:?}");
            let nfc: String = password.nfc().collect();
            assert!(nfc == password || !matches(text, &nfc), "{kind} {text} in NFC");
            assert!(!matches(text, &format!("x{password}")), "{kind} {text} x");
            assert!(password.is_empty() || !matches(text, ""), "{kind} {text} empty");
        }
    }

    #[test]
    fn a_37_only_bcrypt_cuts_a_password_after_72_bytes() {
        let long = vectors().filter(|(_, _, password)| password.len() > 72);
        for (kind, text, password) in long {
            assert_eq!(matches(text, &password[..72]), kind == "bcrypt", "{kind} {text}");
            assert_eq!(matches(text, &format!("{password}x")), kind == "bcrypt", "{kind} {text}");
            assert!(!matches(text, &password[..71]), "{kind} {text}");
        }
    }

    /// A password of ours was never longer than 72 bytes, so a longer one is not it.
    #[test]
    fn a_37_ours_is_never_cut() {
        let (_, text, password) = vectors().find(|(_, _, password)| password.len() > 72).unwrap();
        let stored = StoredHash::parse(text).unwrap();
        assert_eq!(verify(&stored, password.as_bytes(), &mut WorkerBuffers::default()), Some(false));
        assert_eq!(verify(&stored, &password.as_bytes()[..72], &mut WorkerBuffers::default()), Some(true));
    }

    #[test]
    fn a_37_a_nul_ends_the_passwords_of_c_programs_only() {
        for (kind, text, password) in vectors().filter(|(_, _, password)| password.len() == 28) {
            let c = kind.starts_with("sha") || text.starts_with("$2y$");
            assert_eq!(matches(text, &format!("{password}\0x")), c, "{kind} {text}");
        }
    }

    #[test]
    fn memory_that_is_not_there_is_said_and_not_died_of() {
        // More than any address space: no system hands it out, however generous.
        let cost = ScryptCost { log_n: 50, r: 8, p: 1 };
        let (salt, tag) = (b"salt".to_vec(), vec![0; 32]);
        let hash = ScryptHash { cost, salt: salt.clone(), tag: tag.clone() };
        assert_eq!(scrypt(&hash, b"password"), None);
        assert_eq!(firebase(&FirebaseHash { cost, salt, tag }, b"password"), None);
    }

    #[test]
    fn sha_crypt_refuses_what_its_origin_refuses() {
        // crypt(3) of 511 letters.
        let text = "$5$rounds=1000$salt$f6BM3YXHXEzaPBwQyLT.dESUtZVeD6IX.pL.Uiplfb0";
        assert!(matches(text, &"x".repeat(511)));
        assert!(!matches(text, &"x".repeat(512)));
    }
}
